//! Jobs on real databases: order, cache, retries, times, limits, repeats, schedules, changes.

use crate::databases;
use chrono::NaiveDate;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::jobs::{
    Backfill, Backoff, Blocking, Context, Fingerprint, Jobs, Level, Made, Missed, NewRun, NewSchedule,
    Pipeline, Rerun, RunFilter, State, Step, StepFault, Stop, Worker, WorkerSettings, Works,
};
use tradewind_ops::{Clock, Database};

/// Quick enough for tests, slow enough for a busy machine.
pub(crate) fn quick() -> WorkerSettings {
    WorkerSettings {
        slots: 4,
        lease: Duration::from_secs(20),
        poll: Duration::from_millis(50),
        grace: Duration::from_millis(500),
        ..WorkerSettings::default()
    }
}

/// The answer, if it comes in two minutes: a test that waits for ever tells nobody what it waits for.
pub(crate) async fn in_time<T>(what: &str, comes: impl Future<Output = T>) -> T {
    let limit = tokio::time::timeout(Duration::from_secs(120), comes);
    limit.await.unwrap_or_else(|_| panic!("still waiting: {what}"))
}

/// Waits for what must come to pass.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) fn step(name: &str, after: &[&str]) -> Step {
    let backoff = Backoff { first_s: 0.02, factor: 2.0, max_s: 0.1, jitter: 0.5 };
    Step { retries: 0, backoff, timeout_s: 0.0, ..Step::new(name, after) }
}

/// a → (b, c) → d
pub(crate) fn diamond(name: &str) -> Pipeline {
    Pipeline::new(name, vec![step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["b", "c"])])
}

/// What ran, in order.
pub(crate) type Ran = Arc<Mutex<Vec<String>>>;

type Does = Arc<dyn Fn(&Context) -> Result<Made, StepFault> + Send + Sync>;

/// Every step notes that it ran and does `does`; its inputs are `inputs`.
fn works(pipeline: &Pipeline, ran: &Ran, inputs: &Arc<Mutex<BTreeMap<String, String>>>, does: Does) -> Works {
    let mut works = Works::default();
    for step in &pipeline.steps {
        let (ran, inputs, does) = (ran.clone(), inputs.clone(), does.clone());
        works.add(
            &pipeline.name,
            &step.name,
            Arc::new(Blocking::new(
                move |context| {
                    Ok(Fingerprint::of_parts([inputs
                        .lock()
                        .get(context.step())
                        .cloned()
                        .unwrap_or_default()]))
                },
                move |context| {
                    ran.lock().push(context.step().to_owned());
                    does(context)
                },
            )),
        );
    }
    works
}

/// A result made of the inputs of the step and the results before it, with a file.
pub(crate) fn plain(context: &Context) -> Result<Made, StepFault> {
    let before: Vec<&str> = context.before().values().map(|outputs| outputs.fingerprint.as_str()).collect();
    let text = format!("{} of {} after {}", context.step(), context.seed(), before.join(","));
    std::fs::write(context.folder()?.join("result.txt"), &text)
        .map_err(|e| StepFault::new(ErrorKind::Unavailable, e.to_string()))?;
    Ok(Made::data(json!({"length": text.len()})))
}

struct House {
    jobs: Jobs,
    ran: Ran,
    inputs: Arc<Mutex<BTreeMap<String, String>>>,
    _results: tempfile::TempDir,
    _fresh: databases::Fresh,
}

impl House {
    /// The same on every database, side by side: they wait for disks more than they work.
    async fn each(check: impl AsyncFn(Self)) {
        let houses = databases::every().await.into_iter().map(|fresh| Self::on(fresh, Clock::system()));
        let houses = futures::future::join_all(houses).await;
        futures::future::join_all(houses.into_iter().map(|house| check(house))).await;
    }

    async fn on(fresh: databases::Fresh, clock: Clock) -> Self {
        let results = tempfile::tempdir().unwrap();
        let database = Database::open(&fresh.url, clock).await.unwrap();
        let jobs = Jobs::new(database, results.path());
        Self { jobs, ran: Ran::default(), inputs: Arc::default(), _results: results, _fresh: fresh }
    }

    fn worker(
        &self,
        pipeline: &Pipeline,
        does: impl Fn(&Context) -> Result<Made, StepFault> + Send + Sync + 'static,
    ) -> Worker {
        Worker::new(self.jobs.clone(), works(pipeline, &self.ran, &self.inputs, Arc::new(does))).with(quick())
    }

    fn ran(&self) -> Vec<String> {
        let mut ran = std::mem::take(&mut *self.ran.lock());
        ran.sort();
        ran
    }

    async fn states(&self, run: i64) -> Vec<&'static str> {
        self.jobs.steps(run).await.unwrap().iter().map(|step| step.state.code()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_in_order_and_equal_successes_are_taken_from_the_cache() {
    House::each(async |house| {
        let pipeline = diamond("shop");
        house.jobs.define(&pipeline).await.unwrap();
        house.jobs.define(&pipeline).await.unwrap();
        let worker = house.worker(&pipeline, plain);
        let first = house.jobs.enqueue(NewRun { seed: 7, ..NewRun::of("shop") }).await.unwrap();
        worker.run_until_idle().await.unwrap();
        let ran = house.ran.lock().clone();
        assert_eq!((ran[0].as_str(), ran[3].as_str(), ran.len()), ("a", "d", 4), "{ran:?}");
        house.ran();
        assert_eq!(house.jobs.run(first).await.unwrap().state, State::Succeeded);
        let d = house.jobs.outputs(first, "d").await.unwrap().unwrap();
        assert!(String::from_utf8(d.read("result.txt").unwrap()).unwrap().starts_with("d of 7 after "));

        // Nothing changed: nothing runs, and the results are the same.
        let again = house.jobs.enqueue(NewRun { seed: 7, ..NewRun::of("shop") }).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert!(house.ran().is_empty());
        assert_eq!(house.jobs.run(again).await.unwrap().state, State::Cached);
        assert_eq!(house.jobs.outputs(again, "d").await.unwrap().unwrap(), d);
        assert_eq!(house.jobs.steps(again).await.unwrap()[3].taken_from, first);

        // Other inputs of one step: it runs; its result is as before, so what follows it does not.
        house.inputs.lock().insert("b".into(), "new".into());
        let other = house.jobs.enqueue(NewRun { seed: 7, ..NewRun::of("shop") }).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["b"]);
        assert_eq!(house.states(other).await, ["cached", "succeeded", "cached", "cached"]);

        // Another seed, other parameters, the order to run anyway, another version: everything runs.
        for (seed, parameter, fresh) in [(8, 0, false), (7, 1, false), (7, 0, true)] {
            let mut new = NewRun { seed, fresh, ..NewRun::of("shop") };
            if parameter > 0 {
                new.parameters.insert("n".into(), Value::from(parameter));
            }
            house.jobs.enqueue(new).await.unwrap();
            worker.run_until_idle().await.unwrap();
            assert_eq!(house.ran(), ["a", "b", "c", "d"], "{seed} {parameter} {fresh}");
        }

        // A file that is gone is made again; what follows sees the same result.
        let a = house.jobs.outputs(again, "a").await.unwrap().unwrap();
        let newest = house
            .jobs
            .outputs(house.jobs.runs(&RunFilter::default()).await.unwrap()[0].id, "a")
            .await
            .unwrap()
            .unwrap();
        for outputs in [a, newest] {
            std::fs::remove_dir_all(outputs.folder.unwrap()).unwrap();
        }
        house.jobs.enqueue(NewRun { seed: 7, ..NewRun::of("shop") }).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["a"]);

        // Another version of a definition.
        let mut newer = pipeline.clone();
        newer.steps[2].version = 2;
        house.jobs.define(&newer).await.unwrap();
        house.jobs.enqueue(NewRun { seed: 7, ..NewRun::of("shop") }).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["c"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    House::each(async |house| {
        let mut pipeline = diamond("shop");
        for step in &mut pipeline.steps {
            step.retries = 2;
        }
        house.jobs.define(&pipeline).await.unwrap();
        let worker = house.worker(&pipeline, |context| {
            context.log(Level::Info, &format!("attempt {}", context.attempt()));
            match (context.step(), context.attempt()) {
                ("a", 1 | 2) => Err(StepFault::new(
                    ErrorKind::Unavailable,
                    "postgres://me:s3cret@host/db does not answer",
                )),
                ("b", 1) => panic!("a fault of the program"),
                ("c", _) => Err(StepFault::new(ErrorKind::InvalidInput, "the file is broken")),
                _ => plain(context),
            }
        });
        let run = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["a", "a", "a", "b", "b", "c"]);
        assert_eq!(house.states(run).await, ["succeeded", "succeeded", "failed", "skipped"]);
        let record = house.jobs.run(run).await.unwrap();
        assert_eq!((record.state, record.error.as_str()), (State::Failed, "c: the file is broken"));
        let attempts = house.jobs.attempts(run, "a").await.unwrap();
        let endings: Vec<&str> = attempts.iter().map(|a| a.ending.as_str()).collect();
        assert_eq!(endings, ["failed", "failed", "succeeded"]);
        assert!(attempts[0].error.contains("does not answer") && !attempts[0].error.contains("s3cret"));
        assert!(house.jobs.attempts(run, "b").await.unwrap()[0].error.contains("panicked"));
        let lines = house.jobs.lines(run, "a", 0, 100).await.unwrap();
        assert_eq!(
            lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(),
            ["attempt 1", "attempt 2", "attempt 3"]
        );
        assert_eq!(lines.iter().map(|l| l.attempt).collect::<Vec<_>>(), [1, 2, 3]);

        // The rest is done once the cause is gone; what succeeded is taken over.
        let mended = house.worker(&pipeline, plain);
        let again = house.jobs.rerun(&Rerun { run, ..Rerun::default() }).await.unwrap();
        mended.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["c", "d"]);
        assert_eq!(house.states(again).await, ["cached", "cached", "succeeded", "succeeded"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_out_of_time_and_a_cancelled_run_end() {
    House::each(async |house| {
        let mut pipeline = diamond("shop");
        pipeline.steps[1].timeout_s = 0.1;
        house.jobs.define(&pipeline).await.unwrap();
        let worker = house.worker(&pipeline, |context| {
            let until = Instant::now() + Duration::from_secs(30);
            // b looks at its flag; c does only when it is asked by a person.
            while matches!(context.step(), "b" | "c") && Instant::now() < until {
                context.check()?;
                context.progress(3, 10, "halfway");
                std::thread::sleep(Duration::from_millis(5));
            }
            plain(context)
        });
        let run = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        let began = Instant::now();
        let (jobs, stop) = (house.jobs.clone(), Stop::default());
        let control = {
            let stop = stop.clone();
            async move {
                // Seen from outside: b runs out of time, c tells how far it is.
                until("b out of time, c on its way", async || {
                    let steps = jobs.steps(run).await.unwrap();
                    steps[1].state == State::Failed && steps[2].done == 3
                })
                .await;
                let c = &jobs.steps(run).await.unwrap()[2];
                assert_eq!((c.total, c.message.as_str()), (10, "halfway"));
                jobs.cancel(run).await.unwrap();
                in_time("a run ends", jobs.wait(run)).await.unwrap();
                stop.stop();
            }
        };
        let (worked, ()) = tokio::join!(worker.run(&stop), control);
        worked.unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(house.states(run).await, ["succeeded", "failed", "cancelled", "skipped"]);
        assert!(house.jobs.steps(run).await.unwrap()[1].error.contains("longer than 0.1 s"));
        let fault = house.jobs.cancel(run).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Conflict);

        // One that waits needs no worker to be cancelled.
        let waiting = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        house.jobs.cancel(waiting).await.unwrap();
        assert_eq!(house.states(waiting).await, ["cancelled"; 4]);
        assert_eq!(house.jobs.run(waiting).await.unwrap().state, State::Cancelled);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_two_workers_and_the_urgent_go_first() {
    House::each(async |house| {
        let mut pipeline = Pipeline::new("wide", (0..4).map(|n| step(&format!("s{n}"), &[])).collect());
        pipeline.runs_at_once = 2;
        pipeline.groups.insert("gpu".into(), 1);
        for step in &mut pipeline.steps[..2] {
            step.group = Some("gpu".into());
        }
        house.jobs.define(&pipeline).await.unwrap();
        let now: Arc<Mutex<Vec<(i64, String)>>> = Arc::default();
        let worst = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0)]);
        let does = {
            let worst = worst.clone();
            move |context: &Context| {
                let me = (context.run(), context.step().to_owned());
                {
                    let mut now = now.lock();
                    assert!(!now.contains(&me), "taken twice at once: {me:?}");
                    now.push(me.clone());
                    let runs: std::collections::BTreeSet<i64> = now.iter().map(|(run, _)| *run).collect();
                    let gpu = now.iter().filter(|(_, step)| step == "s0" || step == "s1").count();
                    for (worst, value) in worst.iter().zip([now.len(), runs.len(), gpu]) {
                        worst.fetch_max(value, Ordering::SeqCst);
                    }
                }
                std::thread::sleep(Duration::from_millis(15));
                now.lock().retain(|other| *other != me);
                plain(context)
            }
        };
        let mut last = 0;
        for n in 0..4 {
            last = house
                .jobs
                .enqueue(NewRun { seed: n, priority: i64::from(n == 3) * 10, ..NewRun::of("wide") })
                .await
                .unwrap();
        }
        let settings = WorkerSettings { steps_at_once: 3, ..quick() };
        let one = house.worker(&pipeline, does.clone()).with(settings);
        let two = house.worker(&pipeline, does).with(settings);
        let (first, second) = tokio::join!(one.run_until_idle(), two.run_until_idle());
        first.unwrap();
        second.unwrap();
        let worst: Vec<usize> = worst.iter().map(|w| w.load(Ordering::SeqCst)).collect();
        assert!(worst[0] <= 3 && worst[1] <= 2 && worst[2] <= 1, "steps, runs, group at once: {worst:?}");
        assert_eq!(house.ran().len(), 16);
        let runs = house.jobs.runs(&RunFilter::default()).await.unwrap();
        assert!(runs.iter().all(|run| run.state == State::Succeeded));
        let first_to_begin = runs.iter().min_by_key(|run| (run.started_ms, -run.priority)).unwrap();
        assert_eq!(first_to_begin.id, last);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_done_again_as_runs_of_their_own() {
    House::each(async |house| {
        let pipeline = diamond("shop");
        house.jobs.define(&pipeline).await.unwrap();
        let worker = house.worker(&pipeline, plain);
        let run = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        let fault = house.jobs.rerun(&Rerun { run, ..Rerun::default() }).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Conflict, "it has not ended: {fault}");
        worker.run_until_idle().await.unwrap();
        house.ran();
        let rerun = |from: &str, only: bool| Rerun { run, from: from.into(), only, ..Rerun::default() };

        let from_b = house.jobs.rerun(&rerun("b", false)).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["b", "d"]);
        assert_eq!(house.states(from_b).await, ["cached", "succeeded", "cached", "succeeded"]);
        assert_eq!(house.jobs.run(from_b).await.unwrap().origin, run);

        let only_b = house.jobs.rerun(&rerun("b", true)).await.unwrap();
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran(), ["b"]);
        assert_eq!(house.states(only_b).await, ["cached", "succeeded", "cached", "cached"]);

        for (bad, kind) in
            [(rerun("nowhere", false), ErrorKind::NotFound), (rerun("", false), ErrorKind::Conflict)]
        {
            assert_eq!(house.jobs.rerun(&bad).await.unwrap_err().kind(), kind, "{bad:?}");
        }
        let unknown = Rerun { run: 999, ..rerun("b", false) };
        assert_eq!(house.jobs.rerun(&unknown).await.unwrap_err().kind(), ErrorKind::NotFound);

        // A run for each date; asked again, only what is missing.
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let mut backfill = Backfill {
            run: NewRun::of("shop"),
            from: date("2026-02-27"),
            to: date("2026-03-01"),
            every_days: 1,
            name: "spring".into(),
        };
        let runs = house.jobs.backfill(&backfill).await.unwrap();
        backfill.to = date("2026-03-02");
        let more = house.jobs.backfill(&backfill).await.unwrap();
        assert_eq!((runs.len(), more.len(), &more[..3]), (3, 4, &runs[..]));
        worker.run_until_idle().await.unwrap();
        assert_eq!(house.ran().len(), 16);
        let dates: Vec<String> = futures::future::join_all(more.iter().map(|&run| house.jobs.run(run)))
            .await
            .into_iter()
            .map(|run| run.unwrap().parameters["date"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(dates, ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]);
        backfill.from = date("1900-01-01");
        assert_eq!(house.jobs.backfill(&backfill).await.unwrap_err().kind(), ErrorKind::InvalidParams);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_follows_others_once_each_time() {
    House::each(async |house| {
        let mut reports = Pipeline::new("report", vec![step("r", &[])]);
        reports.after = vec!["left".into(), "right".into()];
        let pipelines = [
            Pipeline::new("left", vec![step("l", &[])]),
            Pipeline::new("right", vec![step("x", &[])]),
            reports,
        ];
        let mut works = Works::default();
        for pipeline in &pipelines {
            house.jobs.define(pipeline).await.unwrap();
            let step = &pipeline.steps[0].name;
            works.add(
                &pipeline.name,
                step,
                Arc::new(Blocking::new(|_| Ok(Fingerprint::of_bytes(b"")), plain)),
            );
        }
        let mut circle = pipelines[0].clone();
        circle.after = vec!["report".into()];
        let fault = house.jobs.define(&circle).await.unwrap_err();
        assert!(fault.to_string().contains("left, report"), "{fault}");

        let worker = Worker::new(house.jobs.clone(), works).with(quick());
        let count = async |expected: usize| {
            worker.run_until_idle().await.unwrap();
            let filter = RunFilter { pipeline: "report".into(), ..RunFilter::default() };
            let runs = house.jobs.runs(&filter).await.unwrap();
            assert_eq!(runs.len(), expected);
            runs
        };
        let mut left = NewRun::of("left");
        left.parameters.insert("date".into(), "2026-05-01".into());
        house.jobs.enqueue(left.clone()).await.unwrap();
        count(0).await;
        house.jobs.enqueue(left.clone()).await.unwrap();
        count(0).await;
        let mut right = NewRun::of("right");
        right.parameters.insert("date".into(), "2026-05-01".into());
        house.jobs.enqueue(right.clone()).await.unwrap();
        let runs = count(1).await;
        assert_eq!(runs[0].parameters["date"], "2026-05-01");
        assert_eq!((runs[0].state, runs[0].asked_by.as_str()), (State::Succeeded, "pipeline right"));
        house.jobs.enqueue(right).await.unwrap();
        count(1).await;
        house.jobs.enqueue(left).await.unwrap();
        count(2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_fire_once_whatever_the_clock_does() {
    let minute = 60_000_i64;
    let start = "2026-03-28T12:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_millis();
    for fresh in databases::every().await {
        let clock = Clock::at(start);
        let house = House::on(fresh, clock.clone()).await;
        house.jobs.define(&Pipeline::new("shop", vec![step("a", &[])])).await.unwrap();
        let new = |name: &str, cron: &str, missed: Missed| NewSchedule {
            name: name.into(),
            pipeline: "shop".into(),
            cron: cron.into(),
            zone: "Europe/Berlin".into(),
            missed,
            ..NewSchedule::default()
        };
        house.jobs.schedule(&new("nightly", "30 2 * * *", Missed::Once)).await.unwrap();
        house.jobs.schedule(&new("strict", "30 2 * * *", Missed::Skip)).await.unwrap();
        // Runs that wait hold a schedule back; here they are ended at once.
        let fire = async |at: i64| {
            clock.set(at);
            let (one, two) = tokio::join!(house.jobs.fire_due(), house.jobs.fire_due());
            let mut fired: Vec<String> = Vec::new();
            for run in one.unwrap().into_iter().chain(two.unwrap()) {
                fired.push(house.jobs.run(run).await.unwrap().asked_by.replace("schedule ", ""));
                house.jobs.cancel(run).await.unwrap();
            }
            fired.sort();
            fired
        };
        let gap = start + 13 * 60 * minute; // 01:00Z, the end of the gap
        assert!(fire(gap - 1).await.is_empty());
        assert_eq!(fire(gap).await, ["nightly", "strict"]);
        assert!(fire(gap + minute).await.is_empty());
        // Set back by an hour, and on again: no second time.
        assert!(fire(gap - 60 * minute).await.is_empty());
        assert!(fire(gap - minute).await.is_empty());
        assert!(fire(gap).await.is_empty());
        assert!(fire(gap + minute).await.is_empty());
        // Three days away: the newest is made up for, where that is wanted.
        assert_eq!(fire(gap + 3 * 1440 * minute + 30 * minute).await, ["nightly"]);
        // A year ahead by mistake, and back: the days in between fire.
        assert_eq!(fire(gap + 368 * 1440 * minute).await, ["nightly"]);
        let back = gap + 4 * 1440 * minute - 60 * minute;
        assert!(fire(back).await.is_empty());
        assert_eq!(fire(back + 30 * minute + 10).await, ["nightly", "strict"]);
        // At rest; then from now on.
        house.jobs.pause("nightly", true).await.unwrap();
        assert_eq!(fire(back + (1440 + 30) * minute + 10).await, ["strict"]);
        assert_eq!(house.jobs.schedules().await.unwrap()[0].next_ms, 0);
        house.jobs.pause("nightly", false).await.unwrap();
        assert!(fire(back + (1440 + 40) * minute).await.is_empty());
        house.jobs.unschedule("strict").await.unwrap();
        assert_eq!(fire(back + (2880 + 30) * minute + 10).await, ["nightly"]);
        let schedules = house.jobs.schedules().await.unwrap();
        assert_eq!(schedules.len(), 1);
        assert_eq!(schedules[0].next_ms, back + (4320 + 30) * minute);
        assert!(schedules[0].last_run > 0);

        // While its run waits, a schedule does not pile up more.
        clock.set(back + (4320 + 30) * minute);
        assert_eq!(house.jobs.fire_due().await.unwrap().len(), 1);
        clock.set(back + (5760 + 30) * minute);
        assert!(house.jobs.fire_due().await.unwrap().is_empty());

        for bad in [
            new("Bad Name", "30 2 * * *", Missed::Once),
            new("x", "30 25 * * *", Missed::Once),
            NewSchedule { zone: "Moon/Crater".into(), ..new("x", "30 2 * * *", Missed::Once) },
            NewSchedule { pipeline: "none".into(), ..new("x", "30 2 * * *", Missed::Once) },
        ] {
            assert!(house.jobs.schedule(&bad).await.is_err(), "{bad:?}");
        }
        assert_eq!(house.jobs.unschedule("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_followed_from_this_process_and_from_others() {
    House::each(async |house| {
        let pipeline = diamond("shop");
        house.jobs.define(&pipeline).await.unwrap();
        // Another process has another bell.
        let database = Database::open(&house._fresh.url, Clock::system()).await.unwrap();
        let elsewhere = Jobs::new(database, house.jobs.results());
        let since = elsewhere.newest_change().await.unwrap();
        let run = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        let other = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        let follow = async |jobs: Jobs| {
            let mut watch = jobs.watch(since, Some(run));
            let (mut seq, mut newest) = (since, BTreeMap::new());
            while newest.get("").is_none_or(|state: &State| !state.is_final()) {
                for change in watch.next().await.unwrap() {
                    assert!(change.seq >= seq && change.run == run, "{change:?}");
                    seq = change.seq;
                    newest.insert(change.step.clone(), change.state);
                }
            }
            newest
        };
        let worker = house.worker(&pipeline, |context| {
            context.progress(1, 1, "done");
            plain(context)
        });
        let (here, there, worked) =
            tokio::join!(follow(house.jobs.clone()), follow(elsewhere.clone()), worker.run_until_idle());
        worked.unwrap();
        assert_eq!(here, there);
        assert_eq!(here.len(), 5);
        assert!(here.values().all(|state| state.is_success()), "{here:?}");
        // All of a large order, in pieces.
        let backfill = Backfill {
            run: NewRun::of("shop"),
            from: "2020-01-01".parse().unwrap(),
            to: "2020-07-30".parse().unwrap(),
            every_days: 1,
            name: "all".into(),
        };
        let since = house.jobs.newest_change().await.unwrap();
        let runs = house.jobs.backfill(&backfill).await.unwrap();
        let (mut watch, mut seen) = (elsewhere.watch(since, None), std::collections::BTreeSet::new());
        while seen.len() < runs.len() * 5 {
            seen.extend(watch.next().await.unwrap().into_iter().map(|change| (change.run, change.step)));
        }
        assert!(!seen.iter().any(|(run, _)| *run == other));
        elsewhere.database().close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_checked_and_named_orders_given_once() {
    House::each(async |house| {
        house.jobs.define(&diamond("shop")).await.unwrap();
        let fault = house.jobs.enqueue(NewRun::of("shoe")).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::NotFound);
        assert!(fault.hint().unwrap().contains("shop"));
        let order = NewRun { once: "deploy-17".into(), ..NewRun::of("shop") };
        let ids = futures::future::join_all((0..6).map(|_| house.jobs.enqueue(order.clone()))).await;
        let ids: Vec<i64> = ids.into_iter().map(Result::unwrap).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let mut long = NewRun::of("shop");
        long.parameters.insert("x".into(), "y".repeat(70_000).into());
        for bad in [long, NewRun { priority: 2_000, ..NewRun::of("shop") }] {
            assert_eq!(house.jobs.enqueue(bad).await.unwrap_err().kind(), ErrorKind::InvalidParams);
        }
        let mut broken = diamond("shop");
        broken.steps[0].after.push("d".into());
        assert_eq!(house.jobs.define(&broken).await.unwrap_err().kind(), ErrorKind::InvalidParams);
        assert_eq!(house.jobs.runs(&RunFilter::default()).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_bounded_and_old_things_are_swept() {
    House::each(async |house| {
        let pipeline = Pipeline::new("shop", vec![step("a", &[])]);
        house.jobs.define(&pipeline).await.unwrap();
        let worker = house.worker(&pipeline, |context| {
            for n in 0..3_000 {
                context.log(Level::Info, &format!("line {n}"));
            }
            plain(context)
        });
        let old = house.jobs.enqueue(NewRun::of("shop")).await.unwrap();
        worker.run_until_idle().await.unwrap();
        let lines = house.jobs.lines(old, "a", 0, 10_000).await.unwrap();
        assert!(lines.len() <= 1_000, "{}", lines.len());
        assert_eq!(lines.last().unwrap().text, "line 2999");
        assert!(lines.iter().any(|line| line.text.contains("lines were left out")));

        let folder = house.jobs.outputs(old, "a").await.unwrap().unwrap().folder.unwrap();
        let orphan = house.jobs.results().join("shop/a/77.1");
        std::fs::create_dir_all(&orphan).unwrap();
        let left = house.jobs.results().join(".unfinished/77.a.2");
        std::fs::create_dir_all(&left).unwrap();
        // The run is new: only what nobody names goes.
        let swept = house.jobs.sweep(0).await.unwrap();
        assert_eq!((swept.runs, swept.folders), (0, 2));
        assert!(folder.exists() && !orphan.exists() && !left.exists());
        let swept = house.jobs.sweep(i64::MAX).await.unwrap();
        assert_eq!((swept.runs, swept.folders), (1, 1));
        assert!(!folder.exists());
        assert_eq!(house.jobs.run(old).await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}

/// Whether a path holds any file; for tests of faults.
pub(crate) fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
