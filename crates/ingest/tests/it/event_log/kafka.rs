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
    // One event in each of ten keys: those in other partitions than that of key 0 stay.
    let few: Vec<Event> = (0..10).map(|key| event(1000 + key, key)).collect();
    log.append(&few).await.unwrap();
    let mut bystander = log.join("bystander", Start::Earliest).await.unwrap();
    let seen = read_n(&mut *bystander, 10).await;
    let full = seen.iter().find(|d| number(d) == 1000).expect("all ten").position.partition;
    let stay: BTreeSet<usize> = seen.iter().filter(|d| d.position.partition != full).map(number).collect();
    assert!(!stay.is_empty());
    for i in 0..20 {
        let events: Vec<Event> =
            (0..10).map(|j| Event { payload: vec![7; 100_000].into(), ..event(i * 10 + j, 0) }).collect();
        log.append(&events).await.unwrap();
    }
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    let (mut told, mut got) = (0, vec![]);
    let until = std::time::Instant::now() + 2 * LATE;
    while !got.contains(&199) || !stay.iter().all(|n| got.contains(n)) {
        assert!(std::time::Instant::now() < until, "told {told}, read {}", got.len());
        match member.read(1000, SOON).await {
            Ok(batch) => got.extend(batch.iter().map(number)),
            Err(EventLogError::Lost { .. }) => told += 1,
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(told, 1);
    // Whatever was read beside the loss is handed over.
    let (others, got): (Vec<usize>, Vec<usize>) = got.into_iter().partition(|n| *n >= 1000);
    assert_eq!(others.into_iter().collect::<BTreeSet<_>>(), stay);
    assert!(got.len() < 200 && got == (200 - got.len()..200).collect::<Vec<_>>());
}
