//! A shop whose demand and prices change, and one where nothing does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use crate::pipelines;
use crate::serving::{ForecastsRequest, Kind, Request, TargetKind};
use crate::trends::By;
use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::Run;
use tradewind_core::tables::TableSpec;
use tradewind_ops::jobs::{NewRun, State, Worker, WorkerSettings};
use tradewind_ops::monitor::alerts::{LineKind, Message};
use tradewind_ops::monitor::gate::Gate;
use tradewind_ops::registry::{Change, Expect, NewVersion, Version};
use tradewind_warehouse::{Begun, ImportSource};

const FIRST_DAY: i64 = 20_000;
/// Enough for the gate to judge by.
const PRODUCTS: u64 = 22;

fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Units of a product on a day: level, days of the week, noise.
fn units(product: u64, day: i64, change: f64) -> f64 {
    let level = 20.0 + 6.0 * product as f64;
    let week = [1.0, 0.9, 0.9, 1.0, 1.2, 1.6, 1.4][day.rem_euclid(7) as usize];
    let chance = 0.7 + 0.6 * noise(product << 32 | day as u64);
    // Half of the shop loses what the other half gains.
    let turn = if product.is_multiple_of(2) { 1.0 + change } else { 1.0 / (1.0 + change) };
    (level * week * chance * turn).round()
}

fn sell(shop: &Shop, days: std::ops::Range<i64>, change: f64, dearer: f64) {
    let name = format!("days-{}", days.start);
    let source =
        ImportSource { name: name.clone(), fingerprint: name, preset: "test".into(), mapping: String::new() };
    let Begun::New(mut import) = shop.begin_import(&source).unwrap() else { panic!("it is new") };
    let rows: Vec<(i64, u64)> = days.flat_map(|d| (0..PRODUCTS).map(move |p| (d, p))).collect();
    let ds: TimestampMillisecondArray =
        rows.iter().map(|(d, _)| Some((FIRST_DAY + d) * 86_400_000)).collect();
    let ids: StringArray = rows.iter().map(|(_, p)| Some(format!("p{p:02}"))).collect();
    let quantity: Float64Array = rows.iter().map(|(d, p)| Some(units(*p, *d, change))).collect();
    let price: Float64Array = rows
        .iter()
        .map(|(d, p)| Some((10.0 + *p as f64) * dearer * (0.95 + 0.1 * noise((*d as u64) << 8 | p))))
        .collect();
    let batch = RecordBatch::try_from_iter([
        ("ds", Arc::new(ds) as ArrayRef),
        ("product_id", Arc::new(ids) as ArrayRef),
        ("quantity", Arc::new(quantity) as ArrayRef),
        ("unit_price", Arc::new(price) as ArrayRef),
    ])
    .unwrap();
    import.append(TableSpec::named("sales").unwrap(), batch).unwrap();
    import.commit(serde_json::json!({})).unwrap();
}

fn shop(dir: &Path) -> Shop {
    shop_with(dir, "")
}

fn shop_with(dir: &Path, more: &str) -> Shop {
    Shop::init(dir).unwrap();
    let settings = format!(
        "[monitor]\ntables = [\"sales\"]\nreference_days = 180\ncool_down_hours = 0\nretrain_days = 0\n{more}"
    );
    std::fs::write(dir.join("tradewind.toml"), settings).unwrap();
    Shop::open(dir).unwrap()
}

fn request(horizon: usize) -> ForecastsRequest {
    ForecastsRequest {
        model: "theta".into(),
        horizon,
        targets: vec![TargetKind::Units],
        by: vec![By::Product],
        ..ForecastsRequest::default()
    }
}

/// A version of today's data, in production.
async fn train(operations: &Operations, dir: &Path, horizon: usize) -> u64 {
    let request = Request::Forecasts(request(horizon));
    let _ = std::fs::remove_dir_all(dir);
    let made = serving::make(&Run::new(1), &operations.shop, &request, dir).unwrap();
    let mut new = NewVersion::new(MODEL, Kind::Forecasts);
    new.data_fingerprint = made.data_fingerprint;
    new.params = serde_json::json!(made.request);
    new.code_version = made.code_version;
    new.created_by = "test".to_owned();
    let version = operations.registry.register(new, dir).await.unwrap();
    let reference = Reference::number(MODEL, version.number).unwrap();
    let change = Change::new("test", "newer data");
    operations.registry.promote(&reference, CHAMPION, Expect::Anybody, &change).await.unwrap();
    version.number
}

/// A worker does all that is asked for.
async fn work(operations: &Operations) {
    let settings = WorkerSettings { poll: Duration::from_millis(50), ..WorkerSettings::default() };
    let worker =
        Worker::new(operations.jobs.clone(), pipelines::works(operations, &Run::new(0))).with(settings);
    worker.run_until_idle().await.unwrap();
}

/// The pipeline trains forecasts, and gives the champion after it.
async fn train_by_pipeline(operations: &Operations, horizon: usize) -> Version {
    let requests = vec![Request::Forecasts(request(horizon))];
    let order = Order { kinds: vec![Kind::Forecasts], requests, ..Order::default() };
    let run = operations.jobs.enqueue(order.new_run(&operations.shop).unwrap()).await.unwrap();
    work(operations).await;
    assert_eq!(operations.jobs.run(run).await.unwrap().state, State::Succeeded);
    champion(operations).await
}

async fn champion(operations: &Operations) -> Version {
    operations.registry.version(&Reference::alias(MODEL, CHAMPION).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_noticed_told_once_and_asks_for_training_which_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(&dir.path().join("shop"));
    sell(&shop, 0..210, 0.0, 1.0);
    let operations = Operations::open(&shop).await.unwrap();
    let run = Run::new(1);
    let first = train_by_pipeline(&operations, 84).await.number;

    // Four weeks as before: nothing to tell.
    sell(&shop, 210..240, 0.0, 1.0);
    let seen = look(&run, &operations).await.unwrap();
    let errors = seen.errors.unwrap();
    assert_eq!(errors.version, first);
    assert!(errors.weeks.len() >= 3 && !errors.alarm, "{errors:?}");
    assert!(errors.ratio().unwrap() < 1.2, "{:?}", errors.ratio());
    assert_eq!(errors.fit, FitVerdict::Sound);
    // 84 days were told, 30 of them have come; the others are told of beforehand, and nothing is unusual about them.
    let coming = errors.coming.unwrap();
    assert_eq!(coming.n, 54 * PRODUCTS);
    assert!((0.8..1.25).contains(&coming.ratio), "{coming:?}");
    assert!(seen.lines.is_empty() && seen.because.is_empty() && seen.run.is_none());

    // The pipeline that looks sees the same, and asks for nothing.
    let asked = operations.jobs.enqueue(NewRun::of(pipelines::WATCH)).await.unwrap();
    work(&operations).await;
    let steps = operations.jobs.steps(asked).await.unwrap();
    let told = &steps[0].data;
    assert_eq!(
        (steps[0].state, told["alarm"].as_bool(), told["run"].as_i64()),
        (State::Succeeded, Some(false), None)
    );
    assert_eq!(told["lines"], 0);

    // Half of the shop sells twice as much, the other half as little, and prices go up.
    sell(&shop, 240..270, 1.0, 1.5);
    let seen = look(&run, &operations).await.unwrap();
    let before = seen.errors.unwrap();
    assert!(before.ratio().unwrap() > 1.5, "{:?}", before.ratio());
    assert!(matches!(before.fit, FitVerdict::Stale { ratio } if ratio > 1.5), "{:?}", before.fit);
    let fired: Vec<&str> =
        seen.lines.iter().filter(|l| l.kind == LineKind::Firing).map(|l| l.rule.as_str()).collect();
    assert!(fired.contains(&"forecast_error") && fired.contains(&"drift"), "{fired:?}");
    assert!(seen.delivered.sent > 0);
    assert!(seen.because.iter().any(|b| matches!(b, Because::Error { .. })), "{:?}", seen.because);
    assert!(seen.because.iter().any(|b| matches!(b, Because::Drift { .. })), "{:?}", seen.because);
    let asked = operations.jobs.run(seen.run.unwrap()).await.unwrap();
    assert_eq!((asked.pipeline.name.as_str(), asked.asked_by.as_str()), ("shop", "system:watch"));
    assert!(asked.reason.contains("times the usual one"), "{}", asked.reason);
    // Nothing new, nothing told again.
    assert!(look(&run, &operations).await.unwrap().lines.is_empty());

    // Forecasting anew would have paid in the newest week already.
    let versions = reigned(&operations.registry).await.unwrap();
    let newest = contest(&run, &shop, &versions[0], &request(84)).unwrap().unwrap();
    assert!(newest.low > 0.0 && newest.pairs == PRODUCTS, "{newest:?}");

    // A worker does what was asked for: the challenger, made the same way of newer data, is better on the newest week,
    // answers from now on, and the history says why.
    work(&operations).await;
    assert_eq!(operations.jobs.run(asked.id).await.unwrap().state, State::Succeeded);
    let second = champion(&operations).await;
    let asked_again = serde_json::json!(Request::Forecasts(request(84)));
    assert_eq!((second.number, second.manifest.params), (first + 1, asked_again));
    let history =
        operations.registry.history(MODEL, Some(CHAMPION), &Page { after: None, limit: 1 }).await.unwrap();
    let why = &history.items[0].change.reason;
    assert!(why.contains("less error on the newest week (p 0.0"), "{why}");
    let second = second.number;

    // Its forecasts are near again, and the alert ends.
    sell(&shop, 270..300, 1.0, 1.5);
    let seen = look(&run, &operations).await.unwrap();
    let after = seen.errors.unwrap();
    assert_eq!(after.version, second);
    assert!(
        seen.lines.iter().any(|l| l.kind == LineKind::Resolved && l.rule == "forecast_error"),
        "{:?}",
        seen.lines
    );
    let wape = |e: &ForecastErrors| e.recent.as_ref().unwrap().all.wape;
    assert!(wape(&after) < 0.7 * wape(&before), "{} and {}", wape(&after), wape(&before));
    let versions = reigned(&operations.registry).await.unwrap();
    let earned = forecasts_earned(&run, &shop, &versions).unwrap();
    assert_eq!((earned.len(), earned[0].version, earned[0].before), (1, second, first));
    assert!(earned[0].actual < 0.7 * earned[0].expected, "{earned:?}");
    assert!(earned[0].judgement.as_ref().unwrap().low > 0.0);

    // Who is taken back is no longer who answers.
    let why = Change::new("test", "a trial");
    operations.registry.roll_back(MODEL, CHAMPION, Expect::Version(second), &why).await.unwrap();
    let seen = look(&run, &operations).await.unwrap();
    assert_eq!(seen.errors.unwrap().version, first);
    operations.registry.remove_alias(MODEL, CHAMPION, Expect::Version(first), &why).await.unwrap();
    assert!(look(&run, &operations).await.unwrap().errors.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_person_decides_what_is_better_waits_for_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop_with(&dir.path().join("shop"), "approval = \"person\"\n");
    sell(&shop, 0..210, 0.0, 1.0);
    let operations = Operations::open(&shop).await.unwrap();
    // There is nobody to be compared with: the first one answers at once.
    let first = train_by_pipeline(&operations, 84).await;
    sell(&shop, 210..240, 1.0, 1.0);
    assert_eq!(train_by_pipeline(&operations, 84).await.number, first.number);
    let gate = Gate::open(operations.registry.clone());
    let questions = gate.questions(Some(MODEL), true).await.unwrap();
    assert_eq!(questions.len(), 1);
    assert!(questions[0].judgement.improvement > 0.0, "{questions:?}");
    gate.approve(&questions[0].id, &Change::new("anna", "seen and approved")).await.unwrap();
    assert_eq!(champion(&operations).await.number, first.number + 1);
    // What is not better is not asked about.
    sell(&shop, 240..247, 1.0, 1.0);
    assert_eq!(train_by_pipeline(&operations, 84).await.number, first.number + 1);
    assert!(gate.questions(Some(MODEL), true).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_weeks_without_a_change_ring_no_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(&dir.path().join("shop"));
    sell(&shop, 0..210, 0.0, 1.0);
    let operations = Operations::open(&shop).await.unwrap();
    let made = dir.path().join("made");
    let run = Run::new(1);
    // Trained anew every twelve weeks, looked at every four: 204 weeks.
    for weeks in (0..204).step_by(4) {
        if weeks % 12 == 0 {
            train(&operations, &made, 84).await;
        }
        let day = 210 + 7 * weeks;
        sell(&shop, day..day + 28, 0.0, 1.0);
        let seen = look(&run, &operations).await.unwrap();
        assert!(seen.lines.is_empty(), "week {weeks}: {:?}", seen.lines);
        assert!(seen.because.is_empty(), "week {weeks}: {:?}", seen.because);
    }
}

/// One alert that began.
fn message() -> Message {
    let line = serde_json::json!({
        "kind": "firing", "rule": "drift", "subject": "sales", "severity": "warning", "value": 1.0,
        "text": "unlike before", "text_zh": "与此前不同", "details": "unit_price", "at_ms": 0,
    });
    let lines = vec![serde_json::from_value(line).unwrap()];
    Message { id: "m1".into(), group: "shop".into(), lines, at_ms: 0 }
}

/// Answers one request with a status, and gives what was asked.
fn answering(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hooks/secret-token", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (mut text, mut part) = (String::new(), [0_u8; 4096]);
        // The body is one object: it has come when its last brace has.
        while !text.trim_end().ends_with('}') {
            let n = socket.read(&mut part).unwrap();
            assert!(n > 0, "the request ended early: {text}");
            text.push_str(&String::from_utf8_lossy(&part[..n]));
        }
        write!(socket, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        text
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_posted_to_and_its_address_is_never_told() {
    let message = message();
    let settings = |webhook: String| {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Shop::init(dir.path()).unwrap().settings().monitor.clone();
        settings.webhook = webhook;
        settings
    };
    assert!(Webhook::of(&settings(String::new()), true).unwrap().is_none());
    assert!(Webhook::of(&settings("ftp://secret-token".into()), true).is_err());
    for (status, taken) in [("204 No Content", true), ("503 Service Unavailable", false)] {
        let (address, asked) = answering(status);
        let webhook = Webhook::of(&settings(address), true).unwrap().unwrap();
        let outcome = webhook.deliver(&message).await;
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /hooks/secret-token ") && asked.contains("与此前不同"), "{asked}");
        assert_eq!(outcome.is_ok(), taken);
        assert!(!outcome.err().unwrap_or_default().contains("secret-token"));
    }
    // Nobody is there.
    let webhook = Webhook::of(&settings("http://127.0.0.1:9/secret-token".into()), false).unwrap().unwrap();
    assert!(!webhook.deliver(&message).await.unwrap_err().contains("secret-token"));
}

/// A mail server for one letter: answers recipients with `answer`, and gives what it was told.
fn post_office(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("smtp://shop:secret-word@{}", listener.local_addr().unwrap());
    let told = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut out = socket.try_clone().unwrap();
        let (mut lines, mut told, mut in_letter) = (BufReader::new(socket).lines(), String::new(), false);
        out.write_all(b"220 ready\r\n").unwrap();
        while let Some(Ok(line)) = lines.next() {
            told.push_str(&line);
            told.push('\n');
            let say = match line.split(' ').next().unwrap_or_default() {
                "." => "250 kept",
                _ if in_letter => continue,
                "EHLO" => "250-here\r\n250 AUTH PLAIN",
                "AUTH" => "235 welcome",
                "RCPT" => answer,
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 yes",
            };
            in_letter = line == "DATA";
            out.write_all(format!("{say}\r\n").as_bytes()).unwrap();
        }
        told
    });
    (address, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_go_by_mail_and_neither_password_nor_people_are_told() {
    let message = message();
    let settings = |server: &str, to: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Shop::init(dir.path()).unwrap().settings().monitor.clone();
        settings.mail_server = server.to_owned();
        settings.mail_from = "Tradewind <tradewind@example.com>".to_owned();
        settings.mail_to = to.to_owned();
        settings
    };
    let people = "anna@example.com, 王小明 <wang@example.com>";
    assert!(Post::of(&settings("", people), false).unwrap().is_none());
    for (server, to) in [("no server", people), ("smtp://127.0.0.1", ""), ("smtp://127.0.0.1", "secret-word")]
    {
        let fault = Post::of(&settings(server, to), false).err().unwrap().to_string();
        assert!(!fault.contains("secret-word"), "{fault}");
    }
    let (server, told) = post_office("250 yes");
    Post::of(&settings(&server, people), false).unwrap().unwrap().deliver(&message).await.unwrap();
    let told = told.join().unwrap();
    for part in ["RCPT TO:<anna@example.com>", "RCPT TO:<wang@example.com>", "Message-ID: <m1@tradewind>"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("unlike before") && told.contains("unit_price"), "{told}");
    // In Chinese the letter is coded, and the text is whole behind it.
    let (server, told) = post_office("250 yes");
    Post::of(&settings(&server, people), true).unwrap().unwrap().deliver(&message).await.unwrap();
    let told = told.join().unwrap();
    assert!(told.contains("charset=utf-8") && !told.contains("unlike before"), "{told}");

    let (server, _) = post_office("550 no wang@example.com here");
    let refused = Post::of(&settings(&server, people), false).unwrap().unwrap().deliver(&message).await;
    assert_eq!(refused.unwrap_err(), "the mail server answered 550");
    let nobody = Post::of(&settings("smtp://shop:secret-word@127.0.0.1:9", people), false).unwrap().unwrap();
    assert_eq!(nobody.deliver(&message).await.unwrap_err(), "the mail server cannot be reached");
}
