//! What versions answer over HTTP: every kind, swapped while it is asked, with events that count at once and are there
//! after the server was killed.

use super::{Served, ServedShop, json, problem};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tradewind::demo::{self, DemoSettings};
use tradewind::ops::registry::{CHAMPION, Change, Expect, NewVersion, Reference, Registry};
use tradewind::serving::{
    ForecastsRequest, LearnRequest, PricesRequest, RecommendationsRequest, Request, TrendsRequest, make,
};
use tradewind::trends::By;
use tradewind::{Run, Shop, TrendSettings};

/// Versions are made once for all tests: their files, and what the registry wants to know.
fn versions() -> &'static (tempfile::TempDir, Vec<(NewVersion, std::path::PathBuf)>) {
    static MADE: std::sync::OnceLock<(tempfile::TempDir, Vec<(NewVersion, std::path::PathBuf)>)> =
        std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let settings = DemoSettings { n_products: 24, days: 220, ..DemoSettings::default() };
        let (shop, _) = demo::make(&Run::new(5), &dir.path().join("shop"), &settings).unwrap();
        let params = |v: Value| v.as_object().cloned().unwrap();
        let requests = [
            (
                "trends",
                Request::Trends(TrendsRequest {
                    by: vec![By::Product, By::Category],
                    settings: TrendSettings { horizon: 14, ..TrendSettings::default() },
                }),
            ),
            (
                "forecasts",
                Request::Forecasts(ForecastsRequest {
                    model: "theta".into(),
                    horizon: 7,
                    coverages: vec![0.8],
                    by: vec![By::Product],
                    ..ForecastsRequest::default()
                }),
            ),
            (
                "prices",
                Request::Prices(PricesRequest {
                    params: params(json!({ "n_rounds": 10, "max_rows": 2000, "epochs": 2 })),
                    horizon: 7,
                    ..PricesRequest::default()
                }),
            ),
            (
                "recommendations",
                Request::Recommendations(RecommendationsRequest {
                    model: "item_knn".into(),
                    ..RecommendationsRequest::default()
                }),
            ),
            (
                "units",
                Request::Learn(LearnRequest {
                    query: "SELECT s.product_id, p.category, max(p.price) AS price, count(*) AS n_lines, \
                        sum(s.quantity) AS units FROM sales s JOIN products p ON s.product_id = p.product_id \
                        GROUP BY s.product_id, p.category"
                        .into(),
                    target: Some("units".into()),
                    ignore: vec!["product_id".into()],
                    params: params(json!({ "n_rounds": 20, "min_child_samples": 2 })),
                    ..LearnRequest::default()
                }),
            ),
        ];
        let mut out = Vec::new();
        for (name, request) in requests {
            for seed in [1, 2] {
                let folder = dir.path().join(format!("{name}-{seed}"));
                let made = make(&Run::new(seed), &shop, &request, &folder).unwrap();
                let mut new = NewVersion::new(name, made.kind);
                new.data_fingerprint = made.data_fingerprint;
                new.params = serde_json::to_value(&made.request).unwrap();
                (new.seed, new.metrics) = (made.seed, made.metrics);
                out.push((new, folder));
            }
        }
        (dir, out)
    })
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

async fn registry(shop: &Path) -> Registry {
    let shop = shop.to_owned();
    let shop = tokio::task::spawn_blocking(move || Shop::open(&shop).unwrap()).await.unwrap();
    let database = tradewind::operations::open_state(&shop).await.unwrap();
    let registry = tradewind::operations::open_registry(&shop, &database).await.unwrap();
    // The shop's own runtime ends where blocking is allowed.
    tokio::task::spawn_blocking(move || drop(shop)).await.unwrap();
    registry
}

/// Makes a version the champion.
fn promote(shop: &Path, reference: &str) {
    wait(async {
        let registry = registry(shop).await;
        let reference: Reference = reference.parse().unwrap();
        registry
            .promote(&reference, CHAMPION, Expect::Anybody, &Change::new("test", "a test"))
            .await
            .unwrap();
    });
}

/// A shop with two versions of every model in its registry, the first of each the champion.
fn shop(settings: &str) -> (ServedShop, String) {
    let mut served = ServedShop::new(settings);
    let folder = served.path().join("shop");
    wait(async {
        let registry = registry(&folder).await;
        for (new, files) in &versions().1 {
            let first = new.seed == 1;
            let version = registry.register(new.clone(), files).await.unwrap();
            if first {
                let change = Change::new("test", "the first");
                registry.promote(&version.reference(), CHAMPION, Expect::Nobody, &change).await.unwrap();
            }
        }
    });
    let key = served.key("admin", &[]);
    (served, key)
}

fn ready(served: &Served) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if served.get("/readyz", "").send().unwrap().status().is_success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not ready: {}", served.log());
}

fn get(served: &Served, key: &str, path: &str) -> Value {
    json(served.get(path, key).send().unwrap())
}

fn post(served: &Served, key: &str, path: &str, body: &Value) -> Value {
    json(served.post(path, key, &body.to_string()))
}

#[test]
fn an_empty_registry_says_what_to_do() {
    let mut shop = ServedShop::new("");
    let key = shop.key("admin", &[]);
    let served = shop.serve();
    ready(&served);
    for path in ["/v1/trends", "/v1/trends/x", "/v1/forecasts", "/v1/prices", "/v1/recommendations"] {
        let told = problem(served.get(path, &key).send().unwrap(), 503, "unavailable");
        assert!(told["hint"].as_str().unwrap().contains("promote"), "{told}");
    }
    problem(served.post("/v1/learn/x/predict", &key, "{\"rows\": [{}]}"), 404, "not_found");
    problem(served.get("/v2/models/x", &key).send().unwrap(), 404, "not_found");
    assert_eq!(get(&served, &key, "/v2/health/ready")["ready"], true);
    // Events are kept all the same.
    let event = json!({ "event_id": "e1", "event": "view", "user_id": "u", "product_id": "p" });
    assert_eq!(post(&served, &key, "/v1/events", &event)["accepted"], 1);
}

#[test]
fn every_kind_answers_and_names_its_version() {
    let (mut shop, key) = shop("[serve]\nsagemaker = true\n");
    let served = shop.serve();
    ready(&served);

    let trends = get(&served, &key, "/v1/trends?limit=5&reason=true&lang=zh");
    assert_eq!((&trends["model"]["name"], &trends["model"]["version"]), (&json!("trends"), &json!(1)));
    assert_eq!((trends["total"].as_u64(), trends["next"].as_u64()), (Some(24), Some(5)));
    assert!(trends["items"][0]["reason"].as_str().unwrap().contains("可能"));
    let id = trends["items"][0]["id"].as_str().unwrap().to_owned();
    let one = get(&served, &key, &format!("/v1/trends/{id}"));
    assert!(one["trend"]["reason"].is_string() && one["trend"]["drivers"].is_array());
    problem(served.get("/v1/trends?limit=0", &key).send().unwrap(), 422, "invalid_params");
    problem(served.get("/v1/trends?colour=red", &key).send().unwrap(), 422, "invalid_params");
    problem(served.get("/v1/trends/nothing", &key).send().unwrap(), 404, "not_found");

    let path = format!("/v1/forecasts?id={id}&levels=0.5");
    let first = served.get(&path, &key).send().unwrap();
    assert_eq!(first.headers()["x-tradewind-model"], "forecasts@1");
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let forecast = json(first);
    assert_eq!(forecast["items"][0]["steps"].as_array().unwrap().len(), 7);
    assert_eq!(forecast["levels"], json!([0.5]));
    let again = served.get(&path, &key).header("if-none-match", tag).send().unwrap();
    assert_eq!(again.status().as_u16(), 304);
    assert_eq!(get(&served, &key, &path), forecast);
    problem(served.get("/v1/forecasts?horizon=8", &key).send().unwrap(), 422, "invalid_params");

    let given = json!({
        "series": [{ "id": "a", "start": "2026-01-01", "values": (0..60).map(|t| t % 7).collect::<Vec<_>>() }],
        "horizon": 3, "method": "seasonal_naive",
    });
    let fitted = post(&served, &key, "/v1/forecasts", &given);
    assert_eq!(fitted["items"][0]["steps"][0]["ds"], "2026-03-02");
    assert_eq!(fitted["items"][0]["steps"][0]["mean"], 4.0);
    let mut slow = given.clone();
    slow["method"] = json!("auto");
    problem(served.post("/v1/forecasts", &key, &slow.to_string()), 422, "invalid_params");

    let prices = get(&served, &key, &format!("/v1/prices?id={id}&horizon=2"));
    assert!(prices["items"][0]["steps"][1]["likeliest"].as_f64().unwrap() > 0.0);

    let popular = get(&served, &key, "/v1/recommendations?n=3&reason=true");
    assert_eq!(popular["items"].as_array().unwrap().len(), 3);
    assert!(popular["items"][0]["reason"]["text"].is_string(), "{popular}");
    for surface in ["similar", "bought-together", "session", "trending", "cart", "rank", "search"] {
        let answer = get(&served, &key, &format!("/v1/recommendations/{surface}?items={id}&n=2"));
        assert_eq!(answer["model"]["version"], 1, "{surface}");
    }
    let batch = json!({ "users": ["a", "b"], "request": { "n": 2, "filters": { "rule": "price > 0" } } });
    let lists = post(&served, &key, "/v1/recommendations/batch", &batch);
    assert_eq!(lists["lists"].as_array().unwrap().len(), 2);
    let bad = json!({ "filters": { "rule": "price >" } });
    problem(served.post("/v1/recommendations", &key, &bad.to_string()), 422, "invalid_input");

    let rows = json!({ "rows": [{ "category": "x", "price": 3.5, "n_lines": 10 }, ["y", null, 99]], "reason": true });
    let predicted = post(&served, &key, "/v1/learn/units/predict", &rows);
    assert_eq!(
        (&predicted["model"]["name"], predicted["predictions"].as_array().unwrap().len()),
        (&json!("units"), 2)
    );
    assert!(predicted["reasons"][0]["steps"].is_array(), "{predicted}");
    let of_csv = served
        .client
        .post(format!("{}/v1/learn/units/predict", served.url))
        .bearer_auth(&key)
        .header("content-type", "text/csv")
        .body("n_lines,category,price\n10,x,3.5\n99,y,\n")
        .send()
        .unwrap();
    assert_eq!(json(of_csv)["predictions"], predicted["predictions"]);
    problem(
        served.post("/v1/learn/units/predict", &key, "{\"rows\": [{\"price\": \"x\"}]}"),
        422,
        "invalid_params",
    );
    assert_eq!(get(&served, &key, "/v1/learn/units")["inputs"].as_array().unwrap().len(), 3);

    let meta = get(&served, &key, "/v2/models/units");
    assert_eq!((&meta["name"], &meta["versions"]), (&json!("units"), &json!(["1"])));
    let tensors = json!({ "id": "7", "inputs": [
        { "name": "category", "shape": [2], "datatype": "BYTES", "data": ["x", "y"] },
        { "name": "price", "shape": [2, 1], "datatype": "FP64", "data": [3.5, null] },
        { "name": "n_lines", "shape": [2], "datatype": "INT64", "data": [10, 99] },
    ] });
    let inferred = post(&served, &key, "/v2/models/units/versions/1/infer", &tensors);
    let expected: Vec<&Value> =
        predicted["predictions"].as_array().unwrap().iter().map(|p| &p["prediction"]).collect();
    assert_eq!(inferred["outputs"][0]["data"].as_array().unwrap().iter().collect::<Vec<_>>(), expected);
    assert_eq!((&inferred["id"], &inferred["outputs"][0]["shape"]), (&json!("7"), &json!([2])));
    let ids = json!({ "inputs": [{ "name": "id", "shape": [1], "datatype": "BYTES", "data": [id] }] });
    let inferred = post(&served, &key, "/v2/models/forecasts/infer", &ids);
    assert_eq!(inferred["outputs"][1]["shape"], json!([1, 7]));
    problem(served.get("/v2/models/units/versions/9", &key).send().unwrap(), 404, "not_found");
    problem(served.post("/v2/models/trends/infer", &key, &ids.to_string()), 422, "invalid_params");

    let invoked = served
        .client
        .post(format!("{}/invocations", served.url))
        .bearer_auth(&key)
        .header("content-type", "text/csv")
        .header("accept", "application/jsonlines")
        .body("x,3.5,10\ny,,99\n")
        .send()
        .unwrap();
    let lines: Vec<Value> =
        invoked.text().unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(json!(lines), predicted["predictions"]);
}

/// Asks for an end when it goes out of scope.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn champions_change_while_they_are_asked() {
    let (mut shop, key) = shop("");
    let folder = shop.path().join("shop");
    let served = shop.serve();
    ready(&served);
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        for path in ["/v1/forecasts?limit=3", "/v1/recommendations?n=2", "/v1/trends?limit=3"] {
            let (served, key, stop, asked, seen) = (&served, &key, &stop, &asked, &seen);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = get(served, key, path);
                    let model = &answer["model"];
                    let name =
                        (model["name"].as_str().unwrap().to_owned(), model["version"].as_u64().unwrap());
                    seen.lock().unwrap().insert(name);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Those who ask end with what is said here, a fault included.
        let _end = Ends(&stop);
        for number in [2, 1, 2] {
            for model in ["forecasts", "recommendations", "trends"] {
                promote(&folder, &format!("{model}@{number}"));
            }
            let begun = Instant::now();
            while get(&served, &key, "/v1/trends?limit=1")["model"]["version"] != number {
                assert!(begun.elapsed() < Duration::from_secs(30), "{}", served.log());
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 6, "{seen:?} in {} answers", asked.into_inner());
}

#[test]
fn a_corrupt_version_is_refused_and_a_split_keeps_to_its_users() {
    let (mut shop, key) = shop("");
    let folder = shop.path().join("shop");
    let served = shop.serve();
    ready(&served);
    // Every stored file of the second version of prices is spoilt, those of the first stay.
    let (mine, others): (Vec<_>, Vec<_>) =
        versions().1.iter().partition(|(new, _)| new.name == "prices" && new.seed == 2);
    let bytes_of = |dir: &Path| -> Vec<Vec<u8>> {
        std::fs::read_dir(dir).unwrap().map(|e| std::fs::read(e.unwrap().path()).unwrap()).collect()
    };
    let kept: Vec<Vec<u8>> = others.iter().flat_map(|(_, dir)| bytes_of(dir)).collect();
    let spoilt: Vec<Vec<u8>> = bytes_of(&mine[0].1).into_iter().filter(|b| !kept.contains(b)).collect();
    assert!(!spoilt.is_empty());
    let mut open = vec![folder.join("registry")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if spoilt.contains(&std::fs::read(&path).unwrap()) {
            std::fs::write(&path, b"spoilt").unwrap();
        }
    }
    promote(&folder, "prices@2");
    let begun = Instant::now();
    while !served.log().contains("new versions were refused") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", served.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(get(&served, &key, "/v1/prices?limit=1")["model"]["version"], 1);

    // Half of the users to the other version of recommendations; each stays where it is.
    let arm = |name: &str, version: u64, percent: f64| json!({ "name": name, "version": format!("recommendations@{version}"), "percent": percent });
    let split = json!({
        "arms": [arm("stable", 1, 50.0), arm("canary", 2, 50.0)], "expect": 0, "reason": "a canary",
    });
    let put = |route: &str, body: &Value| {
        let url = format!("{}/v1/traffic/{route}", served.url);
        served.client.put(url).bearer_auth(&key).json(body).send().unwrap()
    };
    assert_eq!(json(put("recommendations", &split))["revision"], 1);
    problem(put("recommendations", &split), 409, "conflict");
    let mut wrong = split.clone();
    wrong["expect"] = json!(1);
    wrong["arms"][1]["percent"] = json!(49.999);
    problem(put("recommendations", &wrong), 422, "invalid_params");
    wrong["arms"][1]["percent"] = json!(49.0);
    problem(put("recommendations", &wrong), 422, "invalid_params");
    wrong["arms"][1] = arm("canary", 9, 50.0);
    problem(put("recommendations", &wrong), 404, "not_found");
    problem(served.get("/v1/traffic/trends", &key).send().unwrap(), 404, "not_found");
    let version = |user: usize| {
        get(&served, &key, &format!("/v1/recommendations?n=1&user=u{user}"))["model"]["version"]
            .as_u64()
            .unwrap()
    };
    let begun = Instant::now();
    while !(0..20).any(|u| version(u) == 2) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", served.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let first: Vec<u64> = (0..60).map(version).collect();
    assert_eq!(first, (0..60).map(version).collect::<Vec<_>>());
    let second = first.iter().filter(|v| **v == 2).count();
    assert!((15..=45).contains(&second), "{second}");

    // A ramp moves only users to the arm that grew; an earlier split puts the same users back.
    let settle = |holds: &dyn Fn(&[u64]) -> bool| {
        let begun = Instant::now();
        loop {
            let now: Vec<u64> = (0..60).map(version).collect();
            if holds(&now) {
                return now;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{now:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let ramp = json!({ "arm": "canary", "percent": 90.0, "reason": "it does well" });
    assert_eq!(post(&served, &key, "/v1/traffic/recommendations/ramp", &ramp)["revision"], 2);
    let grown = settle(&|now| now.iter().filter(|v| **v == 2).count() > second);
    assert!(first.iter().zip(&grown).all(|(was, is)| is >= was), "{first:?} {grown:?}");
    let back = json!({ "revision": 1, "reason": "not so well after all" });
    post(&served, &key, "/v1/traffic/recommendations/rollback", &back);
    settle(&|now| now == first);
    assert_eq!(served.delete("/v1/traffic/recommendations?reason=done", &key).status(), 204);
    settle(&|now| now.iter().all(|v| *v == 1));
    let told = get(&served, &key, "/v1/traffic/recommendations/history");
    let revisions: Vec<u64> =
        told["changes"].as_array().unwrap().iter().map(|c| c["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, [4, 3, 2, 1]);
    assert_eq!(told["changes"][0]["split"], Value::Null);
    assert_eq!(told["changes"][2]["reason"], "it does well");
    let audit = get(&served, &key, "/v1/audit?limit=1000").to_string();
    for action in ["traffic.set", "traffic.ramp", "traffic.rollback", "traffic.remove"] {
        assert!(audit.contains(action), "{action}");
    }

    // The command line tells the same.
    let canary = ["traffic", "canary", "recommendations@2", "--percent", "12.5", "--reason", "once more"];
    let told = super::ok(shop.path(), &canary);
    assert!(told.contains("canary") && told.contains("12.5 %") && told.contains("87.5 %"), "{told}");
    assert_eq!(get(&served, &key, "/v1/traffic")["splits"][0]["revision"], 5);
    let told = super::ok(shop.path(), &["traffic", "history", "recommendations"]);
    assert!(told.contains("it does well") && told.contains("taken away"), "{told}");

    // Notes and tags, on the command line and over HTTP.
    let annotate =
        ["registry", "annotate", "trends@1", "--tag", "team=pricing", "--notes", "looked at by hand"];
    let told = super::ok(shop.path(), &annotate);
    assert!(told.contains("team=pricing") && told.contains("looked at by hand"), "{told}");
    let patch = |body: Value| {
        let url = format!("{}/v1/models/trends/versions/1", served.url);
        served.client.patch(url).bearer_auth(&key).json(&body).send().unwrap()
    };
    let told = json(patch(json!({ "tags": { "season": "autumn" }, "untag": ["team"] })));
    assert_eq!(
        (&told["tags"], &told["notes"]),
        (&json!({ "season": "autumn" }), &json!("looked at by hand"))
    );
    problem(patch(json!({ "colour": "red" })), 422, "invalid_input");
    let told = super::ok(shop.path(), &["jobs", "sweep", "--days", "1"]);
    assert!(told.contains("0 runs"), "{told}");
}

#[test]
fn an_arm_is_answered_by_the_version_that_it_names() {
    let (mut shop, key) = shop("[events]\ncollect_seconds = 1\n");
    let served = shop.serve();
    ready(&served);
    let arm =
        |name: &str, version: Option<&str>| json!({ "name": name, "percent": 50.0, "version": version });
    let plan = |version: &str| {
        json!({
            "name": "engines", "judged": "sequential", "users": 1000, "reason": "which is clicked more",
            "arms": [arm("as_now", None), arm("other", Some(version))],
            "metrics": [{ "name": "click_through", "purpose": "primary" }],
        })
    };
    let draft = |version: &str| served.post("/v1/experiments", &key, &plan(version).to_string());
    let told = problem(draft("no version"), 422, "invalid_params");
    assert_eq!(told["errors"][0]["field"], "arms[1].version");
    let told = problem(draft("recommendations@9"), 404, "not_found");
    assert_eq!(told["errors"][0]["field"], "arms[1].version");
    problem(draft("forecasts@2"), 422, "invalid_params");
    assert_eq!(json(draft("recommendations@2"))["arms"][1]["version"], "recommendations@2");
    let version = |user: usize| {
        get(&served, &key, &format!("/v1/recommendations?n=1&user=u{user}"))["model"]["version"]
            .as_u64()
            .unwrap()
    };
    // Nobody is in an experiment that has not started.
    assert!((0..40).all(|user| version(user) == 1));
    post(&served, &key, "/v1/experiments/engines/start", &json!({ "reason": "go" }));
    let begun = Instant::now();
    while !(0..40).any(|user| version(user) == 2) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", served.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(2_100));
    let mut of_other = 0;
    for user in 0..60 {
        let told = post(&served, &key, "/v1/experiments/assign", &json!({ "user_id": format!("u{user}") }));
        let other = told["arms"][0]["arm"] == "other";
        of_other += usize::from(other);
        assert_eq!(version(user), if other { 2 } else { 1 }, "{told}");
    }
    assert!((15..=45).contains(&of_other), "{of_other}");
    // Who is not said to be anybody is in no arm.
    assert_eq!(get(&served, &key, "/v1/recommendations?n=1")["model"]["version"], 1);

    // An answer of the arm's version is an exposure; asked for again it is none. Nobody asked for these users' arms.
    let users: Vec<usize> = (1_000..1_100).filter(|user| version(*user) == 2).collect();
    assert!((25..=75).contains(&users.len()), "{users:?}");
    users.iter().for_each(|user| assert_eq!(version(*user), 2));
    let exposed = || -> u64 {
        let look = post(&served, &key, "/v1/experiments/engines/looks", &json!({}));
        let units = look["reading"]["units"].as_array().unwrap().clone();
        units.iter().find(|u| u[0] == "other").unwrap()[1].as_u64().unwrap()
    };
    let wanted = (of_other + users.len()) as u64;
    let begun = Instant::now();
    let mut seen = exposed();
    // Those who were answered while the start spread may be among them too.
    while seen < wanted {
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen} of {wanted}: {}", served.log());
        std::thread::sleep(Duration::from_millis(500));
        seen = exposed();
    }
    assert_eq!(seen, wanted);
}

#[test]
fn events_count_at_once_and_are_there_after_a_kill() {
    let (mut shop, key) = shop("[events]\ncollect_seconds = 1\n");
    let mut served = shop.serve();
    ready(&served);
    let list = |served: &Served| -> Vec<String> {
        let answer = get(served, &key, "/v1/recommendations?user=newcomer&n=3");
        answer["items"].as_array().unwrap().iter().map(|i| i["item"].as_str().unwrap().to_owned()).collect()
    };
    let before = list(&served);
    let bought = json!({
        "event_id": "order 1", "event": "purchase", "user_id": "newcomer", "product_id": before[0],
    });
    let told = post(&served, &key, "/v1/events", &bought);
    assert_eq!((&told["accepted"], &told["duplicates"]), (&json!(1), &json!(0)));
    let told = post(&served, &key, "/v1/events", &bought);
    assert_eq!((&told["accepted"], &told["duplicates"]), (&json!(0), &json!(1)));
    let after = list(&served);
    assert!(!after.contains(&before[0]), "{before:?} {after:?}");

    // A stream with wrong lines among right ones.
    let lines: Vec<String> = (0..2_500)
        .map(|n| match n % 500 {
            7 => "{ no json".to_owned(),
            8 => json!({ "event_id": format!("s{n}"), "event": "view" }).to_string(),
            _ => json!({ "event_id": format!("s{n}"), "event": "view", "user_id": format!("u{}", n % 9), "product_id": before[1] })
                .to_string(),
        })
        .collect();
    let stream = |served: &Served| -> Value {
        json(
            served
                .client
                .post(format!("{}/v1/events", served.url))
                .bearer_auth(&key)
                .header("content-type", "application/x-ndjson")
                .body(lines.join("\n"))
                .send()
                .unwrap(),
        )
    };
    let told = stream(&served);
    assert_eq!((&told["accepted"], &told["rejected"]), (&json!(2_490), &json!(10)));
    assert_eq!(told["faults"][0]["at"], 8);
    let wrong = json!({ "events": [{ "event_id": "x", "event": "view" }] });
    problem(served.post("/v1/events", &key, &wrong.to_string()), 422, "invalid_input");
    problem(served.post("/v1/events", &key, "{\"event\": 1}"), 422, "invalid_input");

    // Killed without a word, the next server knows what was acknowledged, and counts none of it twice.
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    let again = shop.serve();
    ready(&again);
    assert!(!list(&again).contains(&before[0]));
    let told = stream(&again);
    assert_eq!((&told["accepted"], &told["duplicates"]), (&json!(0), &json!(2_490)));

    // Each of them is a row of the shop once, whichever server took it there.
    let folder = shop.path().join("shop");
    let counted = || -> u64 {
        let imports = Shop::open(&folder).unwrap().imports().unwrap();
        let own = imports.iter().filter(|i| i.name == tradewind::event_log::IMPORT);
        own.flat_map(|i| &i.tables).map(|t| t.rows).sum()
    };
    let begun = Instant::now();
    while counted() < 2_491 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}: {}", counted(), again.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(counted(), 2_491);
}
