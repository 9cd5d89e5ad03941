//! What the log in Kafka has of its own.

use super::backend::Backend;
use super::*;
use tradewind_ingest::event_log::{EventLogSettings, KafkaLog};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_partitions_is_refused() {
    let backend = Backend::kafka();
    let other = EventLogSettings { partitions: 8, ..backend.settings.clone() };
    let e = KafkaLog::connect(&other).await.err().expect("other partitions");
    assert!(e.to_string().contains("has 4 partitions, not 8"), "{e}");
}

/// The mock cluster keeps the last five megabytes of a partition.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_topic_dropped_before_it_was_read_is_told() {
    let backend = Backend::kafka();
    let log = KafkaLog::connect(&backend.settings).await.unwrap();
    drop(log.join("g", Start::Earliest).await.unwrap());
    for i in 0..20 {
        let events: Vec<Event> =
            (0..10).map(|j| Event { payload: vec![7; 100_000].into(), ..event(i * 10 + j, 0) }).collect();
        log.append(&events).await.unwrap();
    }
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    let (mut told, mut got) = (0, vec![]);
    let until = std::time::Instant::now() + 2 * LATE;
    while got.last() != Some(&199) {
        assert!(std::time::Instant::now() < until, "told {told}, read {}", got.len());
        match member.read(1000, SOON).await {
            Ok(batch) => got.extend(batch.iter().map(number)),
            Err(EventLogError::Lost { .. }) => told += 1,
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(told, 1);
    assert!(got.len() < 200 && got == (200 - got.len()..200).collect::<Vec<_>>());
}
