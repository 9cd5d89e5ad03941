//! What the shop's own data say over HTTP, planners' figures, and the pages.

use super::{ServedShop, json, problem};
use serde_json::{Value, json};

#[test]
fn the_shops_figures_agree_with_each_other() {
    let mut shop = ServedShop::simulated();
    let key = shop.key("viewer", &["--scopes", "shop,monitor"]);
    let other = shop.key("admin", &["--scopes", "trends"]);
    let server = shop.serve();
    let get = |path: &str| json(server.get(path, &key).send().unwrap());

    let told = get("/v1/overview?days=28&horizon=7");
    let of = |name: &str| -> Value {
        told["measures"].as_array().unwrap().iter().find(|m| m["name"] == name).unwrap().clone()
    };
    for name in ["revenue", "units", "orders", "visitors", "conversion", "average_order"] {
        let m = of(name);
        assert_eq!(
            (m["values"].as_array().unwrap().len(), m["expected"].as_array().unwrap().len()),
            (28, 7),
            "{name}"
        );
        assert!(m["total"].as_f64().unwrap() > 0.0 && m["before"].is_number(), "{name}");
    }
    let whole = get("/v1/history");
    assert_eq!(whole["as_of"], told["as_of"]);
    let sum = |list: &Value| {
        list.as_array().unwrap().iter().rev().take(28).map(|v| v.as_f64().unwrap()).sum::<f64>()
    };
    let units = of("units")["total"].as_f64().unwrap();
    assert!((sum(&whole["units"]) - units).abs() < 1e-6 * units);

    let catalogue = get("/v1/products?limit=1000");
    let products = catalogue["products"].as_array().unwrap();
    assert_eq!(products.len(), 12);
    let id = products[0]["id"].as_str().unwrap();
    let found = get(&format!("/v1/products?q={}", id.to_lowercase()));
    assert_eq!(found["products"][0]["id"], id);
    let one = get(&format!("/v1/history?by=product&id={id}&from=2020-01-01"));
    assert_eq!(one["units"].as_array().unwrap().len(), one["price"].as_array().unwrap().len());
    let category = catalogue["categories"][0]["name"].as_str().unwrap();
    assert!(!get(&format!("/v1/history?by=category&id={category}"))["units"].as_array().unwrap().is_empty());

    let first = server.get("/v1/quality", &key).send().unwrap();
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let quality = json(first);
    assert!(quality["tables"].as_array().unwrap().iter().any(|t| t["name"] == "sales"));
    assert!(quality["findings"][0]["remedy"]["zh"].is_string(), "{quality}");
    let customers = quality.to_string().matches("C0000").count();
    assert_eq!(customers, 0, "the report names customers");
    assert_eq!(server.get("/v1/quality", &key).header("if-none-match", tag).send().unwrap().status(), 304);

    for (path, status, code) in [
        ("/v1/overview?days=0", 422, "invalid_params"),
        ("/v1/overview?weeks=1", 422, "invalid_params"),
        ("/v1/history?by=product", 422, "invalid_params"),
        ("/v1/history?id=x", 422, "invalid_params"),
        ("/v1/history?by=product&id=it%27s", 404, "not_found"),
        ("/v1/history?by=store&id=no&from=soon", 422, "invalid_params"),
        ("/v1/products?limit=0", 422, "invalid_params"),
    ] {
        problem(server.get(path, &key).send().unwrap(), status, code);
    }
    problem(server.get("/v1/overview", &other).send().unwrap(), 403, "denied");

    // The newest month beside those before: columns the worst first, none of a person and none of names.
    let drift = get("/v1/monitor/drift?table=sales&days=28&reference_days=150");
    assert_eq!(drift["until"], told["as_of"]);
    let columns = drift["columns"].as_array().unwrap();
    let severity: Vec<f64> = columns.iter().map(|c| c["severity"].as_f64().unwrap()).collect();
    assert!(columns.len() >= 3 && drift["current_rows"].as_u64().unwrap() > 100, "{drift}");
    let known: Vec<f64> =
        columns.iter().zip(&severity).filter(|(c, _)| c["verdict"] != "too_few").map(|(_, s)| *s).collect();
    assert!(!known.is_empty(), "{drift}");
    assert!(columns.iter().all(|c| c["column"] != "customer_id" && c["column"] != "product_id"), "{drift}");
    let refused = server.get("/v1/monitor/drift?table=products", &key).send().unwrap();
    assert!(refused.status().is_client_error(), "{}", refused.status());
    problem(server.get("/v1/monitor/drift?days=0", &key).send().unwrap(), 422, "invalid_params");
}

#[test]
fn a_shop_without_sales_says_so() {
    let mut shop = ServedShop::new("");
    let key = shop.key("viewer", &[]);
    let server = shop.serve();
    problem(server.get("/v1/overview", &key).send().unwrap(), 422, "not_enough_data");
    problem(server.get("/v1/history", &key).send().unwrap(), 422, "not_enough_data");
    let quality = json(server.get("/v1/quality", &key).send().unwrap());
    assert_eq!(quality["findings"][0]["code"], "no_sales");
    assert_eq!(json(server.get("/v1/products", &key).send().unwrap())["products"], json!([]));
}

#[test]
fn planners_figures_are_kept_told_and_taken_back() {
    let mut shop = ServedShop::simulated();
    let analyst = shop.key("analyst", &["--name", "Li Wei"]);
    let viewer = shop.key("viewer", &[]);
    let server = shop.serve();
    let as_of =
        json(server.get("/v1/history", &viewer).send().unwrap())["as_of"].as_str().unwrap().to_owned();
    let id = json(server.get("/v1/products?limit=1", &viewer).send().unwrap())["products"][0]["id"].clone();
    let asked = json!({ "id": id, "first": "2099-01-01", "last": "2099-01-07", "factor": 1.5, "note": "a tour group" });
    problem(server.post("/v1/overrides", &viewer, &asked.to_string()), 403, "denied");
    let kept = json(server.post("/v1/overrides", &analyst, &asked.to_string()));
    assert_eq!(
        (&kept["author"], &kept["factor"], &kept["value"]),
        (&json!("Li Wei"), &json!(1.5), &Value::Null)
    );
    let mut past = asked.clone();
    (past["first"], past["last"]) = (json!(as_of), json!(as_of));
    problem(server.post("/v1/overrides", &analyst, &past.to_string()), 422, "invalid_params");
    let mut both = asked.clone();
    both["value"] = json!(3);
    problem(server.post("/v1/overrides", &analyst, &both.to_string()), 422, "invalid_params");

    let number = kept["number"].as_i64().unwrap();
    let path = format!("/v1/overrides/{number}/withdraw");
    let gone = json(server.post(&path, &analyst, r#"{"note": "it was cancelled"}"#));
    assert_eq!(gone["withdrawn_note"], "it was cancelled");
    problem(server.post(&path, &analyst, r#"{"note": "again"}"#), 404, "not_found");
    let list = |query: &str| {
        let told = json(server.get(&format!("/v1/overrides{query}"), &viewer).send().unwrap());
        told["overrides"].as_array().unwrap().len()
    };
    assert_eq!((list(""), list("?withdrawn=true"), list("?withdrawn=true&id=x")), (0, 1, 0));
}

#[test]
fn pages_need_no_key_and_hold_no_data() {
    let mut shop = ServedShop::new("");
    let server = shop.serve();
    let get = |path: &str, accept: &str| {
        server.client.get(format!("{}{path}", server.url)).header("accept", accept).send().unwrap()
    };
    for path in ["/", "/trends", "/models/forecasts"] {
        let page = get(path, "text/html");
        assert_eq!(page.status(), 200, "{path}");
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(page.text().unwrap().contains("Tradewind"));
    }
    problem(get("/trends", "application/json"), 404, "not_found");
    problem(get("/v1/nothing", "text/html"), 404, "not_found");
    problem(get("/assets/nothing.js", "*/*"), 404, "not_found");
}
