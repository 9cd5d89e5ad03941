//! An experiment from its draft to its decision: users are dealt to arms, what they do is counted, and the reading says
//! which arm is better.

use super::{ServedShop, json, problem};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tradewind::Shop;

#[test]
fn an_experiment_is_drafted_started_read_stopped_and_decided() {
    let mut shop = ServedShop::new("[events]\ncollect_seconds = 1\n");
    let key = shop.key("operator", &[]);
    let server = shop.serve();
    let post = |path: &str, body: Value| server.post(path, &key, &body.to_string());
    let get = |path: &str| json(server.get(path, &key).send().unwrap());

    let plan = json!({
        "name": "checkout", "hypothesis": "fewer fields, more orders", "judged": "sequential", "users": 1000,
        "arms": [{ "name": "control", "percent": 50.0 },
                 { "name": "short_form", "percent": 50.0, "settings": { "fields": 3 } }],
        "metrics": [{ "name": "conversion", "purpose": "primary" }, { "name": "click_through", "purpose": "secondary" }],
        "reason": "agreed on Monday",
    });
    let mut wrong = plan.clone();
    wrong["metrics"][0]["name"] = json!("happiness");
    let told = problem(post("/v1/experiments", wrong), 422, "invalid_params");
    assert_eq!(told["errors"][0]["field"], "metrics[0].name");
    let draft = post("/v1/experiments", plan.clone());
    assert_eq!(draft.status(), 201);
    assert_eq!(json(draft)["state"], "draft");
    problem(post("/v1/experiments", plan), 409, "conflict");
    problem(post("/v1/experiments/checkout/looks", json!({})), 409, "conflict");
    let names: Vec<String> = get("/v1/experiments/metrics")
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"revenue".to_owned()), "{names:?}");

    // Nobody is dealt to a draft.
    let assign = |user: &str| json(post("/v1/experiments/assign", json!({ "user_id": user })));
    assert_eq!(assign("somebody")["arms"], json!([]));
    assert_eq!(json(post("/v1/experiments/checkout/start", json!({ "reason": "go" })))["state"], "running");
    std::thread::sleep(Duration::from_millis(2_100));

    let mut arms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for n in 0..600 {
        let user = format!("u{n}");
        let told = assign(&user);
        let arm = told["arms"][0]["arm"].as_str().unwrap().to_owned();
        assert_eq!(told["arms"][0]["settings"].is_null(), arm == "control", "{told}");
        arms.entry(arm).or_default().push(user);
    }
    assert!(arms.values().all(|users| users.len() > 240), "{:?}", arms.values().map(Vec::len));
    for (arm, users) in &arms {
        assert_eq!(assign(&users[0])["arms"][0]["arm"], json!(arm), "an arm is kept");
    }
    problem(post("/v1/experiments/assign", json!({ "user_id": "" })), 422, "invalid_input");

    // One in ten of the control's users buys, four in ten of the others.
    let mut events = Vec::new();
    for (arm, users) in &arms {
        let of_ten = if arm == "control" { 1 } else { 4 };
        for (n, user) in users.iter().enumerate().filter(|(n, _)| n % 10 < of_ten) {
            events.push(json!({
                "event_id": format!("{arm}-{n}"), "event": "purchase", "user_id": user, "product_id": "tea",
            }));
        }
    }
    let bought = events.len() as u64;
    let told = json(post("/v1/events", json!({ "events": events })));
    assert_eq!(told["accepted"], bought);
    let folder = shop.path().join("shop");
    let rows = || -> u64 {
        let imports = Shop::open(&folder).unwrap().imports().unwrap();
        imports.iter().flat_map(|i| &i.tables).map(|t| t.rows).sum()
    };
    let begun = Instant::now();
    while rows() < 600 + bought {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}: {}", rows(), server.log());
        std::thread::sleep(Duration::from_millis(200));
    }

    let look = post("/v1/experiments/checkout/looks", json!({}));
    assert_eq!(look.status(), 201);
    let look = json(look);
    let reading = &look["reading"];
    let units: u64 = reading["units"].as_array().unwrap().iter().map(|u| u[1].as_u64().unwrap()).sum();
    assert_eq!((units, look["crossed"].as_u64()), (600, Some(0)), "{look}");
    assert_eq!(reading["blocked"], false);
    assert_eq!(reading["advice"], json!({ "advice": "take", "arm": "short_form" }), "{look}");
    assert!(look["en"][0].as_str().unwrap().contains("short_form"), "{look}");
    assert!(look["zh"][0].as_str().unwrap().contains("short_form"), "{look}");
    assert_eq!(get("/v1/experiments/checkout/looks")["looks"][0]["look"], 1);

    let stopped = json(post("/v1/experiments/checkout/stop", json!({ "reason": "settled" })));
    assert_eq!(stopped["state"], "stopped");
    let decided = post("/v1/experiments/checkout/decide", json!({ "arm": "short_form", "reason": "better" }));
    assert_eq!(json(decided)["decision"], "short_form");
    let steps = get("/v1/experiments/checkout/history");
    let steps: Vec<&str> =
        steps["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["decide", "stop", "start", "draft"]);
    assert_eq!(get("/v1/experiments?state=decided")["experiments"][0]["name"], "checkout");
}
