//! Jobs when things break: processes killed, leases lapsed, databases away.

use crate::databases;
use crate::jobs::{diamond, in_time, is_empty, plain, quick, until};
use parking_lot::Mutex;
use sqlx::{AnyConnection, Connection, Executor};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tradewind_core::ErrorKind;
use tradewind_ops::jobs::{
    Blocking, Context, Fingerprint, Jobs, NewRun, Pipeline, State, StepFault, Stop, Worker, WorkerSettings,
    Works,
};
use tradewind_ops::{Clock, Database};

/// Notes in a file of the folder, so that the death of this process does not undo it.
fn note(folder: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("notes")).unwrap();
    // One write: steps that run side by side note at the same time.
    file.write_all(format!("{text}\n").as_bytes()).unwrap();
    file.sync_all().unwrap();
}

fn notes(folder: &Path) -> Vec<String> {
    std::fs::read_to_string(folder.join("notes")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Kills this process as the system's out-of-memory killer would, once for each place.
fn die_here(folder: &Path, place: &str) {
    if std::env::var("TRADEWIND_TEST_DIE").is_ok_and(|wanted| wanted == place) {
        if std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(folder.join(format!("died {place}")))
            .is_err()
        {
            return;
        }
        let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn works(pipeline: &Pipeline, folder: &Path, pause: Duration) -> Works {
    let mut works = Works::default();
    for step in &pipeline.steps {
        let (one, two) = (folder.to_path_buf(), folder.to_path_buf());
        works.add(
            &pipeline.name,
            &step.name,
            Arc::new(Blocking::new(
                move |context: &Context| {
                    die_here(&one, &format!("{}:inputs", context.step()));
                    Ok(Fingerprint::of_bytes(b"the same"))
                },
                move |context: &Context| {
                    let step = context.step();
                    note(&two, &format!("{} {step}", context.run()));
                    die_here(&two, &format!("{step}:begin"));
                    std::thread::sleep(pause);
                    let made = plain(context)?;
                    die_here(&two, &format!("{step}:end"));
                    Ok(made)
                },
            )),
        );
    }
    works
}

/// Not a test: a worker in a process of its own, started by the tests below.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_alone() {
    let Ok(url) = std::env::var("TRADEWIND_TEST_STATE") else { return };
    let folder = std::env::var("TRADEWIND_TEST_FOLDER").unwrap();
    let folder = Path::new(&folder);
    let pause = std::env::var("TRADEWIND_TEST_PAUSE_MS").map_or(0, |ms| ms.parse().unwrap());
    let database = Database::open(&url, Clock::system()).await.unwrap();
    let jobs = Jobs::new(database, folder.join("results"));
    let works = works(&diamond("shop"), folder, Duration::from_millis(pause));
    Worker::new(jobs, works).with(quick()).run_until_idle().await.unwrap();
}

fn process(url: &str, folder: &Path, die: &str, pause_ms: u64) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "jobs_faults::a_worker_alone", "--test-threads=1"])
        .env("TRADEWIND_TEST_STATE", url)
        .env("TRADEWIND_TEST_FOLDER", folder)
        .env("TRADEWIND_TEST_DIE", die)
        .env("TRADEWIND_TEST_PAUSE_MS", pause_ms.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn fingerprints(jobs: &Jobs, run: i64) -> Vec<String> {
    jobs.steps(run).await.unwrap().into_iter().map(|step| step.output).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_every_step_in_turn_a_run_ends_as_one_left_alone() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
        let jobs = Jobs::new(database, folder.join("results"));
        jobs.define(&diamond("shop")).await.unwrap();
        let order = NewRun { seed: 11, fresh: true, ..NewRun::of("shop") };
        let alone = jobs.enqueue(order.clone()).await.unwrap();
        let mut child = process(&fresh.url, folder, "", 0);
        assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
        let expected = fingerprints(&jobs, alone).await;
        assert!(expected.iter().all(|output| !output.is_empty()));

        let points: &[&str] =
            if fresh.url.starts_with("sqlite") { &["inputs", "begin", "end"] } else { &["end"] };
        for step in ["a", "b", "c", "d"] {
            for point in points {
                let run = jobs.enqueue(order.clone()).await.unwrap();
                let place = format!("{step}:{point}");
                let mut child = process(&fresh.url, folder, &place, 0);
                let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
                assert!(!status.success(), "{place}: it was to be killed");
                let committed = jobs.states(run).await.unwrap();
                // Resumed at once, long before the lease has lapsed: the process is seen to be gone.
                let began = Instant::now();
                let mut child = process(&fresh.url, folder, "", 0);
                assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
                assert!(began.elapsed() < quick().lease, "{place}: waited for the lease");
                assert_eq!(jobs.run(run).await.unwrap().state, State::Succeeded, "{place}");
                assert_eq!(fingerprints(&jobs, run).await, expected, "{place}");
                // What was committed did not run again; what was not ran at most once more.
                let ran = notes(folder);
                for name in ["a", "b", "c", "d"] {
                    let times = ran.iter().filter(|line| **line == format!("{run} {name}")).count();
                    let most = if committed[name].is_success() { 1 } else { 2 };
                    assert!((1..=most).contains(&times), "{place}: {name} ran {times} times");
                }
                let steps = jobs.steps(run).await.unwrap();
                let lost = steps.iter().find(|s| s.step == step).unwrap();
                assert_eq!(lost.losses, 1, "{place}");
                assert_eq!(jobs.attempts(run, step).await.unwrap()[0].ending, "lost", "{place}");
            }
        }
        assert!(is_empty(&folder.join("results/.unfinished")), "something unfinished is left");
        jobs.database().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_a_run_ends_as_one_left_alone() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
        let jobs = Jobs::new(database, folder.join("results"));
        jobs.define(&diamond("shop")).await.unwrap();
        let order = NewRun { seed: 5, fresh: true, ..NewRun::of("shop") };
        let mut expected: Option<Vec<String>> = None;
        let mut kills = 0;
        // How long a process takes that is left alone: the first round's.
        let mut life = Duration::from_secs(60);
        for round in 0..4_u32 {
            let run = jobs.enqueue(order.clone()).await.unwrap();
            for n in 0..4_u32 {
                let began = Instant::now();
                let mut child = process(&fresh.url, folder, "", 15);
                // Spread over the life of a process; the first round is left alone.
                let wait =
                    if round == 0 { life } else { life.mul_f64(0.12 * f64::from((round * 3 + n * 2) % 7)) };
                let until = began + wait;
                let ended = loop {
                    if let Some(status) = child.try_wait().unwrap() {
                        break Some(status);
                    }
                    if Instant::now() >= until {
                        break None;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                };
                if ended.is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                }
                if jobs.run(run).await.unwrap().state.is_final() {
                    life = if round == 0 { began.elapsed() } else { life };
                    break;
                }
            }
            let mut child = process(&fresh.url, folder, "", 0);
            assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
            let record = jobs.run(run).await.unwrap();
            assert_eq!(record.state, State::Succeeded, "{}", record.error);
            let outputs = fingerprints(&jobs, run).await;
            assert_eq!(&outputs, expected.get_or_insert(outputs.clone()));
            // Every run of a step beyond the first belongs to an attempt that was lost.
            for step in jobs.steps(run).await.unwrap() {
                let times =
                    notes(folder).iter().filter(|line| **line == format!("{run} {}", step.step)).count();
                assert!(
                    times as u32 <= step.losses + 1,
                    "{}: {times} times, {} losses",
                    step.step,
                    step.losses
                );
            }
        }
        assert!(kills > 0, "no process was killed");
        jobs.database().close().await;
    }
}

/// Two workers in two processes, both alive: each step runs once.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_work_and_take_no_step_twice() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
        let jobs = Jobs::new(database, folder.join("results"));
        let mut pipeline = diamond("shop");
        pipeline.runs_at_once = 8;
        jobs.define(&pipeline).await.unwrap();
        for seed in 0..6 {
            jobs.enqueue(NewRun { seed, ..NewRun::of("shop") }).await.unwrap();
        }
        let children: Vec<_> = (0..2).map(|_| process(&fresh.url, folder, "", 30)).collect();
        for mut child in children {
            assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
        }
        let mut ran = notes(folder);
        assert_eq!(ran.len(), 24);
        ran.sort();
        ran.dedup();
        assert_eq!(ran.len(), 24);
        let workers = jobs.workers().await.unwrap();
        assert_eq!((workers.len(), workers.iter().all(|worker| worker.ended)), (2, true));
        jobs.database().close().await;
    }
}

/// A worker that stands still (its process lives) loses its steps once its lease has lapsed, and what it then says does not
/// count.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_lease_lapsed_cannot_commit() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = diamond("shop");
        let clock = Clock::at(1_000_000);
        let database = Database::open(&fresh.url, clock.clone()).await.unwrap();
        let jobs = Jobs::new(database, dir.path());
        jobs.define(&pipeline).await.unwrap();
        let run = jobs.enqueue(NewRun::of("shop")).await.unwrap();
        let settings = WorkerSettings { lease: Duration::from_millis(1_500), ..quick() };
        let frozen = Arc::new(AtomicBool::new(true));
        let stands = Arc::new(AtomicBool::new(false));
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let works = |who: &'static str, jobs: Jobs| {
            let mut works = Works::default();
            for step in &pipeline.steps {
                let (frozen, stands, said) = (frozen.clone(), stands.clone(), said.clone());
                works.add(
                    "shop",
                    &step.name,
                    Arc::new(Blocking::new(
                        |_| Ok(Fingerprint::of_bytes(b"")),
                        move |context| {
                            while who == "first" && frozen.load(Ordering::Relaxed) {
                                stands.store(true, Ordering::Relaxed);
                                std::thread::sleep(Duration::from_millis(5));
                            }
                            said.lock().push(format!("{who} {}", context.step()));
                            std::fs::write(context.folder()?.join("who.txt"), who)
                                .map_err(|e| StepFault::new(ErrorKind::Internal, e.to_string()))?;
                            plain(context)
                        },
                    )),
                );
            }
            Worker::new(jobs, works).with(settings)
        };
        // The first takes `a` on a runtime of its own, which then stops for good but for the step's thread; so its
        // connections are its own.
        let stuck =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (url, time) = (fresh.url.clone(), clock.clone());
        let own = stuck.spawn(async move { Database::open(&url, time).await.unwrap() }).await.unwrap();
        let first = works("first", Jobs::new(own, dir.path()));
        let handle = stuck.spawn(async move { first.run(&Stop::default()).await });
        // Not as soon as the database has it as running: the step is begun after that.
        until("the first stands in a", async || stands.load(Ordering::Relaxed)).await;
        handle.abort();
        // The wall clock jumps a day on, and a day back: no lease lapses by that.
        let second = works("second", jobs.clone());
        let stop = Stop::default();
        let control = async {
            for at in [1_000_000 + 86_400_000, 1_000_000 - 86_400_000] {
                clock.set(at);
                tokio::time::sleep(Duration::from_millis(60)).await;
                assert_eq!(jobs.steps(run).await.unwrap()[0].losses, 0, "too early");
            }
            in_time("a run ends", jobs.wait(run)).await.unwrap();
            stop.stop();
        };
        let (worked, ()) = tokio::join!(second.run(&stop), control);
        worked.unwrap();
        assert_eq!(jobs.run(run).await.unwrap().state, State::Succeeded);
        assert_eq!(jobs.steps(run).await.unwrap()[0].losses, 1);
        let before = jobs.steps(run).await.unwrap();
        frozen.store(false, Ordering::Relaxed);
        until("the first is through a", async || said.lock().iter().any(|text| text == "first a")).await;
        stuck.shutdown_background();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(jobs.steps(run).await.unwrap(), before);
        let a = jobs.outputs(run, "a").await.unwrap().unwrap();
        assert_eq!(a.read("who.txt").unwrap(), b"second");
        jobs.database().close().await;
    }
}

/// A worker that others ended while it lives (they thought it dead) throws its result away and goes on under another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_living_worker_that_was_ended_begins_anew() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = diamond("shop");
        let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
        let jobs = Jobs::new(database, dir.path());
        jobs.define(&pipeline).await.unwrap();
        let run = jobs.enqueue(NewRun::of("shop")).await.unwrap();
        let (begun, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut works = Works::default();
        for step in &pipeline.steps {
            let (begun, stopped) = (begun.clone(), stopped.clone());
            works.add(
                "shop",
                &step.name,
                Arc::new(Blocking::new(
                    |_| Ok(Fingerprint::of_bytes(b"")),
                    move |context| {
                        // The first attempt at a goes on until it is told to stop.
                        while (context.step(), context.attempt()) == ("a", 1) {
                            begun.store(true, Ordering::Relaxed);
                            if context.cancelled() {
                                stopped.store(true, Ordering::Relaxed);
                                break;
                            }
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        plain(context)
                    },
                )),
            );
        }
        let settings = WorkerSettings { lease: Duration::from_millis(2_000), ..quick() };
        let worker = Worker::new(jobs.clone(), works).with(settings);
        let control = async {
            until("a has begun", async || begun.load(Ordering::Relaxed)).await;
            // As another worker would: end it, let go of its step.
            for statement in [
                "UPDATE jobs_worker SET ended = 1",
                "UPDATE jobs_step SET state = 'queued', owner = '', fence = fence + 1 WHERE state = 'running'",
            ] {
                sqlx::query(statement).execute(jobs.database().pool()).await.unwrap();
            }
        };
        let (worked, ()) = tokio::join!(worker.run_until_idle(), control);
        worked.unwrap();
        assert!(stopped.load(Ordering::Relaxed));
        assert_eq!(jobs.run(run).await.unwrap().state, State::Succeeded);
        let a = &jobs.steps(run).await.unwrap()[0];
        assert_eq!(a.attempt, 2);
        assert!(a.folder.ends_with(".3"), "the second holder's folder: {}", a.folder);
        jobs.database().close().await;
    }
}

/// PostgreSQL goes away for some seconds in the middle of the work.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_for_a_while_is_waited_for() {
    let Some(fresh) = databases::every().await.into_iter().find(|fresh| fresh.url.starts_with("postgres"))
    else {
        eprintln!("skipped: PostgreSQL does not answer");
        return;
    };
    let (server, name) = fresh.url.rsplit_once('/').unwrap();
    let mut admin = AnyConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut pipeline = diamond("shop");
    pipeline.runs_at_once = 3;
    let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
    let jobs = Jobs::new(database, dir.path().join("results"));
    jobs.define(&pipeline).await.unwrap();
    let mut acknowledged = Vec::new();
    for seed in 0..6 {
        acknowledged.push(jobs.enqueue(NewRun { seed, ..NewRun::of("shop") }).await.unwrap());
    }
    let settings = WorkerSettings { lease: Duration::from_millis(900), ..quick() };
    let works = |n: u32| works(&pipeline, &dir.path().join(n.to_string()), Duration::from_millis(60));
    for n in 0..2 {
        std::fs::create_dir_all(dir.path().join(n.to_string())).unwrap();
    }
    let (one, two) = (
        Worker::new(jobs.clone(), works(0)).with(settings),
        Worker::new(jobs.clone(), works(1)).with(settings),
    );
    let stop = Stop::default();
    let control = async {
        // Twice: in the middle of steps, and longer than a lease.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let allow = |allow: bool| format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allow}");
            admin.execute(sqlx::AssertSqlSafe(allow(false))).await.unwrap();
            let terminate =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
            admin.execute(sqlx::AssertSqlSafe(terminate)).await.unwrap();
            assert!(jobs.runs(&Default::default()).await.is_err(), "the database is still there");
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            admin.execute(sqlx::AssertSqlSafe(allow(true))).await.unwrap();
        }
        for &run in &acknowledged {
            in_time("a run ends", jobs.wait(run)).await.unwrap();
        }
        stop.stop();
    };
    let (first, second, ()) = tokio::join!(one.run(&stop), two.run(&stop), control);
    first.unwrap();
    second.unwrap();
    for run in acknowledged {
        let record = jobs.run(run).await.unwrap();
        assert_eq!(record.state, State::Succeeded, "{}", record.error);
    }
    // Nothing was lost by the workers while they could not speak: each step was begun once, in one of them, unless the answer
    // to the taking itself was lost.
    let ran: Vec<String> = (0..2).flat_map(|n| notes(&dir.path().join(n.to_string()))).collect();
    let mut once = ran.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 24);
    assert!(ran.len() <= 24 + 4, "{} steps ran again", ran.len() - 24);
    jobs.database().close().await;
    admin.close().await.unwrap();
}
