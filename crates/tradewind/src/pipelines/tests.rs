//! The pipeline of a small demo shop: killed in every step in turn, repeated, promoted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use crate::demo::{self, DemoSettings};
use crate::serving::{ForecastsRequest, RecommendationsRequest, Request, TargetKind, TrendsRequest};
use crate::trends::By;
use futures::future::BoxFuture;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::jobs::{
    Fingerprint, Made, Outputs, State, StepFault, StepRun, Work, Worker, WorkerSettings,
};
use tradewind_ops::registry::Reference;
use tradewind_warehouse::Shop;

fn quick() -> WorkerSettings {
    WorkerSettings { poll: Duration::from_millis(50), ..WorkerSettings::default() }
}

/// A shop small enough to be fitted many times.
fn shop(dir: &Path) -> Shop {
    let settings = DemoSettings { n_products: 12, days: 150, future_days: 0, ..DemoSettings::default() };
    demo::make(&Run::new(7), dir, &settings).unwrap().0
}

fn order() -> Order {
    Order {
        kinds: vec![Kind::Trends, Kind::Forecasts, Kind::Recommendations],
        requests: vec![
            Request::Trends(TrendsRequest { by: vec![By::Product], ..TrendsRequest::default() }),
            Request::Forecasts(forecasts("seasonal_naive")),
            Request::Recommendations(RecommendationsRequest {
                model: "popularity".into(),
                ..RecommendationsRequest::default()
            }),
        ],
        ..Order::default()
    }
}

fn forecasts(model: &str) -> ForecastsRequest {
    ForecastsRequest {
        model: model.into(),
        horizon: 7,
        targets: vec![TargetKind::Units],
        by: vec![By::Product],
        ..ForecastsRequest::default()
    }
}

/// Work that kills its process once, before or after it was done.
struct Deadly {
    inner: Arc<dyn Work>,
    marker: std::path::PathBuf,
    before: bool,
}

impl Deadly {
    fn die(&self) {
        if std::fs::OpenOptions::new().write(true).create_new(true).open(&self.marker).is_ok() {
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

impl Work for Deadly {
    fn inputs<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<Fingerprint, StepFault>> {
        self.inner.inputs(context)
    }

    fn run<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<Made, StepFault>> {
        Box::pin(async move {
            if self.before {
                self.die();
            }
            let made = self.inner.run(context).await;
            self.die();
            made
        })
    }

    fn still_there<'a>(
        &'a self,
        context: &'a Context,
        earlier: &'a Outputs,
    ) -> BoxFuture<'a, Result<bool, StepFault>> {
        self.inner.still_there(context, earlier)
    }
}

async fn work(operations: &Operations, deadly: Option<(&str, bool)>) {
    let marker = operations.shop.root().join("died");
    let works = works(operations, &Run::new(0).with_threads(1)).around(|_, step, inner| match deadly {
        Some((wanted, before)) if wanted == step => {
            Arc::new(Deadly { inner, marker: marker.clone(), before })
        }
        _ => inner,
    });
    Worker::new(operations.jobs.clone(), works).with(quick()).run_until_idle().await.unwrap();
}

/// Not a test: a worker in a process of its own, started by the test below.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_alone() {
    let Ok(dir) = std::env::var("TRADEWIND_TEST_SHOP") else { return };
    let shop = Shop::open(Path::new(&dir)).unwrap();
    let operations = Operations::open(&shop).await.unwrap();
    let step = std::env::var("TRADEWIND_TEST_STEP").unwrap_or_default();
    let before = std::env::var("TRADEWIND_TEST_BEFORE").is_ok();
    work(&operations, Some((&step, before))).await;
}

fn process(dir: &Path, step: &str, before: bool) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "pipelines::tests::a_worker_alone", "--test-threads=1"])
        .env("TRADEWIND_TEST_SHOP", dir)
        .env("TRADEWIND_TEST_STEP", step)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if before {
        command.env("TRADEWIND_TEST_BEFORE", "1");
    }
    command.status().unwrap().success()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What must be the same: hashes and champions in the registry, and the fingerprints of all results.
async fn ends(operations: &Operations, run: i64) -> (Vec<(String, String)>, Vec<(String, String)>) {
    let record = operations.jobs.run(run).await.unwrap();
    assert_eq!(record.state, State::Succeeded, "{}", record.error);
    let mut versions = Vec::new();
    for kind in order().kinds {
        let champion =
            operations.registry.version(&Reference::alias(kind.name(), "champion").unwrap()).await.unwrap();
        versions.push((format!("{kind}@{}", champion.number), champion.artifact_hash));
    }
    let steps = operations.jobs.steps(run).await.unwrap();
    // The report names its run, which is the first in each of these shops.
    (versions, steps.into_iter().map(|step| (step.step, step.output)).collect())
}

async fn ask(operations: &Operations, order: &Order) -> i64 {
    let new = order.new_run(&operations.shop).unwrap();
    operations.jobs.enqueue(new).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_every_step_in_turn_it_ends_with_the_same_artifacts() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    drop(shop(&base));

    let alone = dir.path().join("alone");
    copy(&base, &alone);
    let operations = Operations::open(&Shop::open(&alone).unwrap()).await.unwrap();
    let run = ask(&operations, &order()).await;
    work(&operations, None).await;
    let expected = ends(&operations, run).await;
    assert_eq!(expected.0.len(), 3);

    for step in definition().steps {
        // Where something outside the step's folder is written, dying before and after differ.
        for before in [false, true] {
            if before && !matches!(step.name.as_str(), "register" | "promote") {
                continue;
            }
            let place = format!("{}, {}", step.name, if before { "before" } else { "after" });
            let dir = dir.path().join(format!("{}-{before}", step.name));
            copy(&base, &dir);
            let operations = Operations::open(&Shop::open(&dir).unwrap()).await.unwrap();
            let run = ask(&operations, &order()).await;
            assert!(!process(&dir, &step.name, before), "{place}: it was to be killed");
            let committed: Vec<StepRun> = operations.jobs.steps(run).await.unwrap();
            let resumed = process(&dir, "", false);
            assert!(resumed, "{place}");
            assert_eq!(ends(&operations, run).await, expected, "{place}");
            let steps = operations.jobs.steps(run).await.unwrap();
            for (was, is) in committed.iter().zip(&steps) {
                if was.state.is_success() {
                    assert_eq!(
                        (was.attempt, is.attempt, is.losses),
                        (1, 1, 0),
                        "{place}: {} ran again",
                        is.step
                    );
                }
                if was.step == step.name {
                    assert_eq!((is.attempt, is.losses), (2, 1), "{place}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_is_cached_better_is_promoted_and_worse_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(&dir.path().join("shop"));
    let operations = Operations::open(&shop).await.unwrap();
    let only = |model: &str| Order {
        kinds: vec![Kind::Forecasts],
        requests: vec![Request::Forecasts(forecasts(model))],
        ..Order::default()
    };
    let finish = async |order: &Order| {
        let run = ask(&operations, order).await;
        work(&operations, None).await;
        let record = operations.jobs.run(run).await.unwrap();
        assert!(record.state.is_success(), "{}", record.error);
        operations.jobs.steps(run).await.unwrap()
    };
    let outcome = |steps: &[StepRun]| {
        let of = |name: &str| steps.iter().find(|step| step.step == name).unwrap().data["forecasts"].clone();
        (
            of("evaluate")["outcome"].as_str().unwrap().to_owned(),
            of("promote")["alias"].as_str().unwrap().to_owned(),
        )
    };
    let naive = finish(&only("naive")).await;
    assert_eq!(outcome(&naive), ("first".into(), "champion".into()));

    // Nothing changed: all but what looks at the registry comes from the cache.
    let again = finish(&only("naive")).await;
    for step in &again {
        let expected = match step.step.as_str() {
            // There is a champion now, so the verdict is another, and what follows it looks again.
            "evaluate" | "register" | "promote" | "report" => State::Succeeded,
            _ => State::Cached,
        };
        assert_eq!(step.state, expected, "{}", step.step);
    }
    assert_eq!(outcome(&again), ("same".into(), "champion".into()));
    for step in finish(&only("naive")).await {
        let looks = matches!(step.step.as_str(), "promote" | "report");
        assert_eq!(step.state, if looks { State::Succeeded } else { State::Cached }, "{}", step.step);
    }

    // Of two ways, the one that did better on the newest window is the champion, whichever came last.
    let measure = |steps: &[StepRun]| {
        let evaluate = steps.iter().find(|step| step.step == "evaluate").unwrap();
        evaluate.data["forecasts"]["new"].as_f64().unwrap()
    };
    let other = finish(&only("seasonal_naive")).await;
    let better = measure(&other) < measure(&naive);
    let expected = if better { ("better", "champion") } else { ("worse", "challenger") };
    assert_eq!(outcome(&other), (expected.0.to_owned(), expected.1.to_owned()));
    let back = finish(&only("naive")).await;
    let expected = if better { ("worse", "challenger") } else { ("same", "champion") };
    assert_eq!(outcome(&back), (expected.0.to_owned(), expected.1.to_owned()));

    let told = std::fs::read_to_string(shop.root().join("reports/pipeline.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["models"]["forecasts"]["verdict"]["outcome"], expected.0);
    assert_eq!(told["models"]["trends"]["left_out"], "it was not asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_end_a_run_where_that_is_asked_and_orders_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let shop = shop(&dir.path().join("shop"));
    let operations = Operations::open(&shop).await.unwrap();
    let report = tradewind_warehouse::quality::check(&Run::new(1), &shop).unwrap();
    let warned = report.count(tradewind_warehouse::quality::Severity::Warning)
        + report.count(tradewind_warehouse::quality::Severity::Error);
    let strict = Order { fail_on: FailOn::Warning, kinds: vec![Kind::Recommendations], ..order() };
    let run = ask(&operations, &strict).await;
    work(&operations, None).await;
    let states = operations.jobs.states(run).await.unwrap();
    let expected = if warned > 0 { State::Failed } else { State::Succeeded };
    assert_eq!(states["check"], expected, "{warned} warnings");

    let none = Order { kinds: vec![], ..Order::default() };
    assert_eq!(none.new_run(&shop).unwrap_err().kind(), ErrorKind::InvalidParams);
    let foreign = Order { kinds: vec![Kind::Learn], ..Order::default() };
    assert!(foreign.new_run(&shop).unwrap_err().to_string().contains("learn"));

    // A file that is not there is told and not tried again.
    let missing = Order { import: vec![dir.path().join("none.csv")], ..order() };
    let run = ask(&operations, &missing).await;
    work(&operations, None).await;
    let import = &operations.jobs.steps(run).await.unwrap()[0];
    assert_eq!((import.state, import.attempt), (State::Failed, 1));
    assert!(import.error.contains("none.csv"), "{}", import.error);
}

#[tokio::test]
async fn a_state_in_a_variable_that_is_not_set_is_told_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("shop");
    drop(Shop::init(&root).unwrap());
    std::fs::write(root.join("tradewind.toml"), "[ops]\nstate = \"env:TRADEWIND_TEST_NOWHERE\"\n").unwrap();
    let fault = Operations::open(&Shop::open(&root).unwrap()).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::InvalidParams);
    assert!(fault.to_string().contains("TRADEWIND_TEST_NOWHERE"), "{fault}");
}

#[test]
fn the_definition_has_no_fault() {
    assert_eq!(definition().faults(), Vec::<String>::new());
}
