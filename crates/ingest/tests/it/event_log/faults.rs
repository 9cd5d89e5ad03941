//! Processes killed at random: 30,000 events here; `examples/event_log_faults.rs` takes any number.

use super::backend::{Backend, nats_address};
use super::fault_run::{Outcome, Plan, child as work, run};
use std::process::{Command, Stdio};

fn plan() -> Plan {
    Plan { events: 30_000, kills: 8, batch: 300, pace_ms: 60, kill_ms: 150..700, seed: 42 }
}

/// This test program again, as one of the processes that are killed.
fn process() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "event_log::faults::a_process_that_is_killed", "--nocapture"])
        .stdout(Stdio::null());
    command
}

#[test]
fn a_process_that_is_killed() {
    work();
}

fn check(outcome: &Outcome) {
    assert_eq!((outcome.lost, outcome.twice, outcome.disordered), (0, 0, 0), "{outcome:?}");
    assert!(outcome.kills >= 3, "{outcome:?}");
}

#[test]
fn killed_at_random_the_embedded_log_loses_nothing_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    check(&run(&plan(), "", "faults", folder.path(), &process));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_nats_loses_nothing_and_counts_nothing_twice() {
    let Some(backend) = Backend::nats().await else { return };
    let folder = backend.folder.path();
    check(&run(&plan(), &nats_address(), &backend.settings.name, folder, &process));
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_kafka_loses_nothing_and_counts_nothing_twice() {
    let backend = Backend::kafka();
    let (address, name) = (backend.settings.address.clone(), backend.settings.name.clone());
    // Each kill of a member costs the group a session's time.
    let plan = Plan { kills: 3, kill_ms: 1000..2000, ..plan() };
    check(&run(&plan, &address, &name, backend.folder.path(), &process));
}
