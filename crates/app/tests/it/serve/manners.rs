//! How answers look: problems, headers, forms, compression, caching, metrics, the log, the description.

use super::{ServedShop, json, problem};
use serde_json::Value;
use std::path::Path;

#[test]
fn mistakes_are_problems_that_name_the_field() {
    let mut shop = ServedShop::new("[serve]\nbody_kib_max = 4\n");
    let admin = shop.key("admin", &[]);
    let server = shop.serve();
    let post = |body: &str| server.post("/v1/keys", &admin, body);
    let told = problem(post("{\"name\": \"a\",\n \"role\": }"), 400, "malformed");
    assert!(told["detail"].as_str().unwrap().contains("line 2, column 10"), "{told}");
    problem(post(""), 400, "malformed");
    problem(post("{\"name\": \"a\", \"role\": \"viewer\"} {}"), 400, "malformed");
    let told = problem(post("{\"name\": \"a\", \"role\": \"viewer\", \"rolle\": 1}"), 422, "invalid_input");
    assert_eq!(told["errors"][0]["field"], "rolle", "{told}");
    let told = problem(post("{\"role\": \"viewer\"}"), 422, "invalid_input");
    assert_eq!(told["errors"][0]["field"], "name", "{told}");
    let told = problem(post("{\"name\": \"a\", \"role\": \"root\"}"), 422, "invalid_input");
    assert_eq!(told["errors"][0]["field"], "role", "{told}");
    let told = problem(
        post("{\"name\": \"a\", \"role\": \"viewer\", \"scopes\": [\"all\"]}"),
        422,
        "invalid_params",
    );
    assert_eq!(told["errors"][0]["field"], "scopes", "{told}");
    let told = problem(
        post("{\"name\": \"a\", \"role\": \"viewer\", \"expires_at\": \"soon\"}"),
        422,
        "invalid_params",
    );
    assert_eq!(told["errors"][0]["field"], "expires_at", "{told}");
    problem(post("{\"name\": \"\", \"role\": \"viewer\"}"), 422, "invalid_params");
    problem(
        post(&format!("{{\"name\": \"{}\", \"role\": \"viewer\"}}", "a".repeat(9_000))),
        413,
        "too_large",
    );
    let deep = "[".repeat(3_000);
    problem(post(&deep), 400, "malformed");
    problem(post("\u{feff}{}"), 400, "malformed");

    let typed = |t: Option<&str>| {
        let mut request =
            server.client.post(format!("{}/v1/keys", server.url)).bearer_auth(&admin).body("{}");
        if let Some(t) = t {
            request = request.header("content-type", t);
        }
        request.send().unwrap()
    };
    for media_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("\u{e9}")] {
        problem(typed(media_type), 415, "unsupported_media_type");
    }
    problem(typed(Some("application/json; charset=utf-8")), 422, "invalid_input");

    let told = problem(server.get("/v1/audit?limt=3", &admin).send().unwrap(), 422, "invalid_params");
    assert_eq!(told["errors"][0]["field"], "limt", "{told}");
    let told = problem(server.get("/v1/audit?limit=many", &admin).send().unwrap(), 422, "invalid_params");
    assert_eq!(told["errors"][0]["field"], "limit", "{told}");
    problem(server.get("/v1/audit?limit=0", &admin).send().unwrap(), 422, "invalid_params");
    problem(server.get("/v1/audit?outcome=maybe", &admin).send().unwrap(), 422, "invalid_params");
    problem(server.get("/v1/audit?actor=%00", &admin).send().unwrap(), 422, "invalid_params");
    problem(server.get("/v1/audit/verify?head=12", &admin).send().unwrap(), 422, "invalid_params");

    problem(server.get("/v1/nothing", &admin).send().unwrap(), 404, "not_found");
    let response = server.client.put(format!("{}/v1/keys", server.url)).bearer_auth(&admin).send().unwrap();
    let allow = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST") && !allow.contains("PUT"), "{allow}");
    problem(response, 405, "method_not_allowed");
    problem(
        server.get(&format!("/v1/me?{}", "a".repeat(9_000)), &admin).send().unwrap(),
        414,
        "uri_too_long",
    );
    let wide = server.get("/v1/me", &admin).header("x-wide", "a".repeat(33_000)).send().unwrap();
    problem(wide, 431, "headers_too_large");
}

#[test]
fn every_answer_has_its_id_and_safe_headers() {
    let mut shop = ServedShop::new("");
    let key = shop.key("viewer", &[]);
    let server = shop.serve();
    let with_id = |id: &str| server.get("/v1/me", &key).header("x-request-id", id).send().unwrap();
    assert_eq!(with_id("order-17.a_b").headers()["x-request-id"], "order-17.a_b");
    let long = "a".repeat(65);
    for bad in ["a b", "a;b", "<b>", &long] {
        assert_ne!(with_id(bad).headers()["x-request-id"], bad);
    }
    for path in ["/v1/me", "/livez", "/nothing", "/v1/openapi.json"] {
        let response = server.get(path, &key).send().unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"),
            "{path}"
        );
        assert!(headers.contains_key("cache-control") && !headers.contains_key("server"), "{path}");
    }
    assert_eq!(server.get("/v1/me", &key).send().unwrap().headers()["cache-control"], "no-store");
}

#[test]
fn answers_are_compressed_and_known_ones_not_sent_again() {
    let mut shop = ServedShop::new("");
    let key = shop.key("viewer", &[]);
    let server = shop.serve();
    let plain = server.get("/v1/openapi.json", &key).send().unwrap();
    let tag = plain.headers()["etag"].to_str().unwrap().to_owned();
    assert!(plain.headers()["cache-control"].to_str().unwrap().starts_with("private"), "one key's answer");
    let size = plain.bytes().unwrap().len();
    for encoding in ["gzip", "zstd"] {
        let packed = server.get("/v1/openapi.json", &key).header("accept-encoding", encoding).send().unwrap();
        assert_eq!(packed.headers()["content-encoding"], encoding);
        assert_eq!(packed.headers()["etag"].to_str().unwrap(), tag);
        let packed = packed.bytes().unwrap().len();
        assert!(packed * 3 < size, "{encoding}: {packed} of {size}");
    }
    let again = server.get("/v1/openapi.json", &key).header("if-none-match", &tag).send().unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()));
    assert!(again.bytes().unwrap().is_empty());
    let head =
        server.client.head(format!("{}/v1/openapi.json", server.url)).bearer_auth(&key).send().unwrap();
    assert_eq!(head.status(), 200);
}

#[test]
fn metrics_need_a_key_or_an_address_of_their_own() {
    let mut shop = ServedShop::new("[serve]\nmetrics_listen = \"127.0.0.1:0\"\n");
    let (viewer, other) = (shop.key("viewer", &[]), shop.key("admin", &["--scopes", "events"]));
    let server = shop.serve();
    server.get("/v1/me", &viewer).send().unwrap();
    server.get("/a/path/nobody/has", &viewer).send().unwrap();
    let metrics = server.get("/metrics", &viewer).send().unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = metrics.text().unwrap();
    for part in [
        "tradewind_http_requests_total{method=\"GET\",route=\"/v1/me\",status=\"200\"} 1",
        "route=\"(none)\",status=\"404\"",
        "tradewind_http_request_seconds_bucket{route=\"/v1/me\",le=\"0.5\"}",
        "tradewind_http_in_flight",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("nobody"), "paths are not labels");
    problem(server.get("/metrics", &other).send().unwrap(), 403, "denied");
    let beside = format!("http://{}/metrics", server.told["metrics"].as_str().unwrap());
    assert!(
        server.client.get(&beside).send().unwrap().text().unwrap().contains("tradewind_http_requests_total")
    );
    let elsewhere = beside.replace("/metrics", "/v1/me");
    assert_eq!(server.client.get(elsewhere).bearer_auth(&viewer).send().unwrap().status(), 404);
}

#[test]
fn the_log_is_json_when_asked_and_names_routes_not_paths() {
    let mut shop = ServedShop::new("[serve]\nlog = \"json\"\n");
    let admin = shop.key("admin", &[]);
    let server = shop.serve();
    server.get("/v1/keys/user-anna-42", &admin).header("x-request-id", "find-me").send().unwrap();
    server.get("/anna?email=anna@example.org", &admin).send().unwrap();
    let log = server.log();
    let lines: Vec<Value> =
        log.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect();
    let line = lines.iter().find(|l| l["span"]["id"] == "find-me").unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (line["route"].as_str(), line["status"].as_i64()),
        (Some("/v1/keys/{id}"), Some(404)),
        "{line}"
    );
    assert_eq!(line["key"].as_str(), Some(&admin[3..15]));
    assert!(line["ms"].is_number() && line["code"] == "not_found", "{line}");
    assert!(!log.contains("anna"), "{log}");
}

#[test]
fn the_description_is_fresh_and_complete() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let dir = tempfile::tempdir().unwrap();
    let made = super::ok(dir.path(), &["reference", "openapi"]);
    let kept = std::fs::read_to_string(kept).unwrap_or_default();
    assert!(kept == made, "docs/reference/openapi.json is stale: run `cargo xtask tidy --write`");
    let api: Value = serde_json::from_str(&made).unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    // Every reference leads somewhere.
    for piece in made.split("\"#/components/schemas/").skip(1) {
        let name = piece.split('"').next().unwrap();
        assert!(api["components"]["schemas"][name].is_object(), "{name}");
    }
    let mut shop = ServedShop::new("");
    let key = shop.key("viewer", &[]);
    let server = shop.serve();
    assert_eq!(json(server.get("/v1/openapi.json", &key).send().unwrap()), api);
}

#[test]
fn the_container_contract_is_answered_only_when_set() {
    for (settings, status) in [("", 404), ("[serve]\nsagemaker = true\n", 200)] {
        let mut shop = ServedShop::new(settings);
        let server = shop.serve();
        assert_eq!(server.client.get(format!("{}/ping", server.url)).send().unwrap().status(), status);
    }
}
