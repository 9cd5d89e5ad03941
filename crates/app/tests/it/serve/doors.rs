//! Who is let in where: every route with every role, guesses, scopes, revocation, rates.

use super::{Served, ServedShop, json, problem};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const ROLES: [&str; 4] = ["viewer", "analyst", "operator", "admin"];

/// A route of the description, with names in its path that nothing has.
struct Route {
    method: String,
    pattern: String,
    path: String,
    role: Option<String>,
    scope: Option<String>,
}

fn routes(api: &Value) -> Vec<Route> {
    let mut out = Vec::new();
    for (pattern, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut path = String::new();
            for piece in pattern.split('/').skip(1) {
                path.push('/');
                path.push_str(if piece.starts_with('{') { "nosuchthing0" } else { piece });
            }
            let word = |name: &str| operation[name].as_str().map(str::to_owned);
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            let (role, scope) = (word("x-role"), word("x-scope"));
            assert_eq!(role.is_none(), open, "{method} {pattern}: a role or open, not both");
            out.push(Route { method: method.to_uppercase(), pattern: pattern.clone(), path, role, scope });
        }
    }
    out
}

fn ask(server: &Served, route: &Route, key: Option<&str>) -> u16 {
    let method = reqwest::Method::from_bytes(route.method.as_bytes()).unwrap();
    let mut request = server.client.request(method, format!("{}{}", server.url, route.path));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    request.send().unwrap().status().as_u16()
}

#[test]
fn every_route_with_every_role() {
    let mut shop = ServedShop::new("");
    let keys: Vec<String> = ROLES.iter().map(|r| shop.key(r, &[])).collect();
    let bare = shop.key("admin", &["--scopes", "events"]);
    let server = shop.serve();
    let api = json(server.get("/v1/openapi.json", &keys[0]).send().unwrap());
    let routes = routes(&api);
    assert!(routes.len() >= 14, "{}", routes.len());
    let open: BTreeSet<&str> =
        routes.iter().filter(|r| r.role.is_none()).map(|r| r.pattern.as_str()).collect();
    assert_eq!(
        open,
        BTreeSet::from(["/livez", "/readyz", "/startupz", "/v2/health/live", "/v2/health/ready"]),
        "open without a key"
    );
    let mut tried = 0;
    for route in &routes {
        let name = format!("{} {}", route.method, route.pattern);
        let Some(role) = &route.role else {
            assert_eq!(ask(&server, route, None), 200, "{name}");
            continue;
        };
        assert_eq!(ask(&server, route, None), 401, "{name} without a key");
        let needed = ROLES.iter().position(|r| r == role).unwrap();
        for (n, key) in keys.iter().enumerate() {
            let status = ask(&server, route, Some(key));
            let may = n >= needed;
            assert_eq!(status != 403, may, "{name} needs {role}; {} got {status}", ROLES[n]);
            assert!(status != 401 && status != 500, "{name} as {}: {status}", ROLES[n]);
            tried += 1;
        }
        let status = ask(&server, route, Some(&bare));
        let scope_missing = route.scope.as_deref().is_some_and(|s| s != "events");
        assert_eq!(status == 403, scope_missing, "{name} with the scope events alone: {status}");
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn guesses_are_slowed_and_a_known_key_goes_on() {
    let mut shop = ServedShop::new("");
    let key = shop.key("viewer", &[]);
    let server = shop.serve();
    json(server.get("/v1/me", &key).send().unwrap());
    let wrong = |n: u32| format!("tw_{}_{:032}", &key[3..15], n);
    let mut refused = 0;
    for n in 0..40 {
        let response = server.get("/v1/me", &wrong(n)).send().unwrap();
        if response.status() == 429 {
            let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
            problem(response, 429, "rate_limited");
            refused += 1;
        } else {
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"tradewind\"");
            problem(response, 401, "unauthorized");
        }
    }
    assert!(refused >= 25, "{refused} of 40 guesses were held up");
    json(server.get("/v1/me", &key).send().unwrap());
    let log = server.log();
    assert!(log.contains("too many wrong keys"), "{log}");
    assert!(!log.contains(&format!("{:032}", 7)), "a guess is in the log");
}

#[test]
fn a_key_in_the_wrong_way_is_none() {
    let mut shop = ServedShop::new("");
    let key = shop.key("viewer", &[]);
    let server = shop.serve();
    let send = |lines: &[(&str, String)]| {
        let mut request = server.client.get(format!("{}/v1/me", server.url));
        for (name, value) in lines {
            request = request.header(*name, value);
        }
        request.send().unwrap()
    };
    let bearer = format!("Bearer {key}");
    assert_eq!(send(&[("authorization", bearer.clone())]).status(), 200);
    assert_eq!(send(&[("x-api-key", key.clone())]).status(), 200);
    problem(send(&[("authorization", bearer.clone()), ("x-api-key", key.clone())]), 401, "unauthorized");
    problem(send(&[("authorization", bearer.clone()), ("authorization", bearer)]), 401, "unauthorized");
    problem(send(&[("authorization", format!("Basic {key}"))]), 401, "unauthorized");
    problem(send(&[("authorization", key.clone())]), 401, "unauthorized");
    problem(send(&[("cookie", format!("key={key}"))]), 401, "unauthorized");
    let in_query = server.client.get(format!("{}/v1/me?key={key}&api_key={key}", server.url)).send().unwrap();
    problem(in_query, 401, "unauthorized");
    // The page alone takes a browser's password.
    let page = server.client.get(format!("{}/docs", server.url)).basic_auth("me", Some(&key)).send().unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'nonce-") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().unwrap().contains("/v1/keys"));
    let other =
        server.client.get(format!("{}/v1/me", server.url)).basic_auth("me", Some(&key)).send().unwrap();
    problem(other, 401, "unauthorized");
}

#[test]
fn keys_are_made_replaced_and_revoked_over_http_and_everything_is_in_the_log_of_changes() {
    let mut shop = ServedShop::new("");
    let admin = shop.key("admin", &[]);
    let mut server = shop.serve();
    let asked = r#"{"name": "till 1", "role": "analyst", "scopes": ["events", "forecasts"]}"#;
    let response = server.post("/v1/keys", &admin, asked);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let made = json(response);
    let (id, secret) =
        (made["key"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    server.note_secret(&secret);
    assert_eq!(location, format!("/v1/keys/{id}"));
    let me = json(server.get("/v1/me", &secret).send().unwrap());
    assert_eq!((me["role"].as_str(), me["scopes"][0].as_str()), (Some("analyst"), Some("forecasts")));
    let shown = server.get(&location, &admin).send().unwrap().text().unwrap();
    assert!(!shown.contains(secret.rsplit('_').next().unwrap()) && !shown.contains("argon2"), "{shown}");

    let next = json(server.post(&format!("{location}/rotate"), &admin, r#"{"overlap_seconds": 3600}"#));
    let next_secret = next["secret"].as_str().unwrap().to_owned();
    server.note_secret(&next_secret);
    for key in [&secret, &next_secret] {
        json(server.get("/v1/me", key).send().unwrap());
    }
    problem(server.post(&format!("{location}/rotate"), &admin, r#"{"overlap_seconds": 1}"#), 409, "conflict");

    let revoked = json(server.delete(&location, &admin));
    assert_eq!(revoked["state"], "revoked");
    let refused = problem(server.get("/v1/me", &secret).send().unwrap(), 401, "unauthorized");
    assert!(refused["detail"].as_str().unwrap().contains("revoked"), "{refused}");
    json(server.get("/v1/me", &next_secret).send().unwrap());

    // On the command line, by another process: taken within two seconds and a little.
    let next_id = next["key"]["id"].as_str().unwrap();
    super::ok(shop.path(), &["keys", "revoke", next_id]);
    let begun = Instant::now();
    while server.get("/v1/me", &next_secret).send().unwrap().status() == 200 {
        assert!(begun.elapsed() < Duration::from_secs(4), "still let in");
        std::thread::sleep(Duration::from_millis(50));
    }

    problem(server.delete("/v1/keys/nosuchthing0", &admin), 404, "not_found");
    problem(
        server.get("/v1/keys/%00%00%00%00%00%00%00%00%00%00%00%00", &admin).send().unwrap(),
        404,
        "not_found",
    );
    problem(server.get("/v1/keys", &next_secret).send().unwrap(), 401, "unauthorized");
    let viewer = json(server.post("/v1/keys", &admin, r#"{"name": "v", "role": "viewer"}"#));
    let viewer_secret = viewer["secret"].as_str().unwrap().to_owned();
    server.note_secret(&viewer_secret);
    problem(server.get("/v1/keys", &viewer_secret).send().unwrap(), 403, "denied");

    let mut page = json(server.get("/v1/keys?limit=1", &admin).send().unwrap());
    let mut listed = 1;
    while let Some(next) = page["next"].as_str() {
        page = json(server.get(&format!("/v1/keys?limit=1&after={next}"), &admin).send().unwrap());
        listed += page["keys"].as_array().unwrap().len();
    }
    assert_eq!(listed, 4);

    let log = json(server.get("/v1/audit?limit=1000", &admin).send().unwrap());
    let actions: Vec<&str> =
        log["rows"].as_array().unwrap().iter().rev().map(|r| r["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "keys.create",
            "keys.create",
            "keys.rotate",
            "keys.revoke",
            "keys.revoke",
            "keys.create",
            "access.denied"
        ]
    );
    assert!(!log.to_string().contains(next_secret.rsplit('_').next().unwrap()));
    let some = json(server.get("/v1/audit?action=keys.&outcome=done&limit=2", &admin).send().unwrap());
    assert_eq!((some["rows"].as_array().unwrap().len(), some["next"].is_i64()), (2, true));
    let checked = json(server.get("/v1/audit/verify", &admin).send().unwrap());
    assert_eq!((checked["whole"].as_bool(), checked["rows"].as_i64()), (Some(true), Some(7)));
    let told = super::ok(shop.path(), &["audit", "verify", "--head", checked["head"].as_str().unwrap()]);
    assert!(told.contains("whole"), "{told}");
}

#[test]
fn a_key_that_asks_too_often_waits() {
    let mut shop = ServedShop::new("[serve]\nrate_per_second = 1\nrate_burst = 5\n");
    let (busy, quiet) = (shop.key("viewer", &[]), shop.key("viewer", &[]));
    let server = shop.serve();
    let statuses: Vec<u16> =
        (0..12).map(|_| server.get("/v1/version", &busy).send().unwrap().status().as_u16()).collect();
    assert_eq!(statuses[..5], [200; 5], "{statuses:?}");
    assert!(statuses.iter().filter(|s| **s == 429).count() >= 4, "{statuses:?}");
    let response = server.get("/v1/version", &busy).send().unwrap();
    if response.status() == 429 {
        assert_eq!(response.headers()["retry-after"], "1");
        problem(response, 429, "rate_limited");
    }
    json(server.get("/v1/version", &quiet).send().unwrap());
    std::thread::sleep(Duration::from_millis(1_100));
    json(server.get("/v1/version", &busy).send().unwrap());
}

#[test]
fn keys_and_log_live_in_postgresql_when_the_settings_say_so() {
    let admin = std::env::var("TRADEWIND_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432".to_owned());
    let name = format!("tw_serve_{}", std::process::id());
    let psql = |statement: &str| {
        std::process::Command::new("psql")
            .args([&format!("{admin}/postgres"), "-q", "-c", statement])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !psql(&format!("CREATE DATABASE {name}")) {
        println!("skipped: no PostgreSQL answers psql at {admin}");
        return;
    }
    let address = format!("{admin}/{name}");
    let environment = [("TRADEWIND_TEST_STATE", address.as_str())];
    let mut shop = ServedShop::new("[ops]\nstate = \"env:TRADEWIND_TEST_STATE\"\n");
    let mut create = super::command(shop.path(), &["keys", "create", "--role", "viewer"]);
    let unset = create.output().unwrap();
    let complaint = String::from_utf8_lossy(&unset.stderr).into_owned();
    assert!(!unset.status.success() && complaint.contains("TRADEWIND_TEST_STATE"), "{complaint}");
    let made = create.envs(environment).output().unwrap();
    let secret = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    shop.secrets.push(secret.clone());
    {
        let server = shop.serve_with(&environment);
        assert_eq!(json(server.get("/v1/me", &secret).send().unwrap())["role"], "viewer");
    }
    assert!(!shop.path().join("shop/ops.db").exists());
    assert!(psql(&format!("DROP DATABASE {name} WITH (FORCE)")));
}
