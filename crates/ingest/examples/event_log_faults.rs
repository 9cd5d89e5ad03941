//! Producers and consumers killed with -9 at random:
//! `event_log_faults <events> <kills> [embedded | nats://host:port | kafka://host:port | kafka] [pace]`; `kafka`, with or
//! without an address, with the feature of that name, and without one on librdkafka's mock cluster in this process, which
//! keeps five megabytes of a partition: enough for some 50,000 events.
//!
//! `pace` is how many milliseconds a producer rests after each batch of 500 (0), to leave time for all kills. Streams in
//! NATS are deleted at the end, topics of a Kafka that stood before stay.
//!
//! Prints what came out, and ends with 1 if an acknowledged event was lost, counted twice or out of order.

#![expect(clippy::print_stderr, reason = "it tells how the run goes")]

#[path = "../tests/it/event_log/fault_run.rs"]
mod fault_run;

use fault_run::{Plan, child, run};
use std::process::Command;

fn main() {
    if child() {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize, usual: usize| arguments.get(i).map_or(usual, |a| a.parse().expect("a number"));
    let (events, kills) = (number(1, 1_000_000), number(2, 60));
    let backend = arguments.get(3).map_or("embedded", String::as_str);
    let plan = Plan {
        events,
        kills,
        batch: 500,
        pace_ms: number(4, 0) as u64,
        kill_ms: 500..3000,
        seed: u64::from(std::process::id()),
    };
    let name = format!("tw-faults-{}", std::process::id());
    let folder = tempfile::tempdir().expect("a folder");
    let process = || Command::new(std::env::current_exe().expect("this program"));
    let outcome = match backend {
        "embedded" => run(&plan, "", &name, folder.path(), &process),
        "kafka" => on_kafka(&plan, &name, folder.path(), &process),
        address => run(&plan, address, &name, folder.path(), &process),
    };
    if backend.starts_with("nats://") {
        delete_streams(backend, &name);
    }
    let text = format!("{backend}: {events} events, batches of {}: {outcome:?}\n", plan.batch);
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).expect("a terminal");
    if (outcome.lost, outcome.twice, outcome.disordered) != (0, 0, 0) {
        std::process::exit(1);
    }
}

fn delete_streams(address: &str, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(address).await.expect("a connection"));
        for stream in [name.to_owned(), format!("{name}-places"), format!("{name}-dead")] {
            let _ = context.delete_stream(stream).await;
        }
    });
}

#[cfg(feature = "kafka")]
fn on_kafka(
    plan: &Plan,
    name: &str,
    folder: &std::path::Path,
    process: &dyn Fn() -> Command,
) -> fault_run::Outcome {
    let cluster = rdkafka::mocking::MockCluster::new(3).expect("a cluster");
    cluster.create_topic(name, 4, 3).expect("a topic");
    cluster.create_topic(&format!("{name}-dead"), 1, 3).expect("a topic");
    run(plan, &format!("kafka://{}", cluster.bootstrap_servers()), name, folder, process)
}

#[cfg(not(feature = "kafka"))]
fn on_kafka(_: &Plan, _: &str, _: &std::path::Path, _: &dyn Fn() -> Command) -> fault_run::Outcome {
    panic!("build with --features kafka")
}
