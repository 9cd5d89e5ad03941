//! The event log seen from outside: one battery for all back ends, then what each has of its own.

mod backend;
mod embedded;
pub(crate) mod fault_run;
mod faults;
#[cfg(feature = "kafka")]
mod kafka;
mod nats;

use backend::Backend;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ingest::event_log::{
    self, Appended, Delivery, Event, EventLog, EventLogError, Failed, Idempotent, Member, Start,
};

const SOON: Duration = Duration::from_millis(300);
/// Long enough for a member of Kafka to be given its partitions, or for a lease to end.
const LATE: Duration = Duration::from_secs(15);

fn event(id: usize, key: usize) -> Event {
    Event::new(
        format!("event-{id}"),
        format!("key {key} 茶"),
        1_700_000_000_000 + id as i64,
        format!("payload {id}"),
    )
}

fn number(delivery: &Delivery) -> usize {
    delivery.event.id.strip_prefix("event-").unwrap().parse().unwrap()
}

/// Reads until `n` events are there, or nothing comes for long.
async fn read_n(member: &mut dyn Member, n: usize) -> Vec<Delivery> {
    let mut out = Vec::new();
    while out.len() < n {
        let batch = member.read(n - out.len(), LATE).await.unwrap();
        if batch.is_empty() {
            break;
        }
        out.extend(batch);
    }
    out
}

fn numbers(deliveries: &[Delivery]) -> BTreeSet<usize> {
    deliveries.iter().map(number).collect()
}

async fn append(log: &dyn EventLog, events: std::ops::Range<usize>, keys: usize) {
    let events: Vec<Event> = events.map(|i| event(i, i % keys)).collect();
    let appended = log.append(&events).await.unwrap();
    assert_eq!(appended, Appended { written: events.len(), duplicates: 0 });
}

async fn lag(log: &dyn EventLog, group: &str) -> u64 {
    let metrics = log.metrics().await.unwrap();
    metrics.groups.iter().find(|g| g.group == group).expect("a group that was joined").lag
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_out_as_they_went_in_and_in_order_within_a_key() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        for start in (0..1000).step_by(100) {
            append(&*log, start..start + 100, 7).await;
        }
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let got = read_n(&mut *member, 1000).await;
        assert_eq!(got.len(), 1000, "{}", backend.name);
        assert_eq!(numbers(&got), (0..1000).collect(), "{}", backend.name);
        let (mut last, mut partition_of) = (BTreeMap::new(), BTreeMap::new());
        for delivery in &got {
            let n = number(delivery);
            assert_eq!(delivery.event, event(n, n % 7), "{}", backend.name);
            assert_eq!(delivery.failures, 0);
            assert!(last.insert(n % 7, n).is_none_or(|before| before < n), "{}", backend.name);
            let partition = delivery.position.partition;
            assert_eq!(*partition_of.entry(n % 7).or_insert(partition), partition, "{}", backend.name);
        }
        assert!(partition_of.values().collect::<BTreeSet<_>>().len() > 1, "{}", backend.name);
        member.commit().await.unwrap();
        assert!(member.read(10, SOON).await.unwrap().is_empty(), "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_comes_again_and_what_is_does_not() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        append(&*log, 0..50, 5).await;
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let first = read_n(&mut *member, 50).await;
        assert_eq!(first.len(), 50, "{}", backend.name);
        // Read on without a commit: nothing twice.
        assert!(member.read(10, SOON).await.unwrap().is_empty(), "{}", backend.name);
        drop(member);

        let mut member = log.join("orders", Start::Latest).await.unwrap();
        let again = read_n(&mut *member, 50).await;
        assert_eq!(numbers(&again), (0..50).collect(), "{}", backend.name);
        let positions = |d: &[Delivery]| d.iter().map(|d| d.position).collect::<BTreeSet<_>>();
        assert_eq!(positions(&first), positions(&again), "{}", backend.name);
        member.commit().await.unwrap();
        append(&*log, 50..60, 5).await;
        drop(member);

        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let rest = read_n(&mut *member, 10).await;
        assert_eq!(numbers(&rest), (50..60).collect(), "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_opened_again_goes_on_where_it_was() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        append(&*log, 0..40, 4).await;
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        assert_eq!(read_n(&mut *member, 40).await.len(), 40, "{}", backend.name);
        member.commit().await.unwrap();
        append(&*log, 40..55, 4).await;
        drop(member);
        log.close().await.unwrap();
        assert!(matches!(log.append(&[event(1, 1)]).await, Err(EventLogError::Closed)), "{}", backend.name);
        drop(log);

        let log = backend.open().await;
        append(&*log, 55..60, 4).await;
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let rest = read_n(&mut *member, 20).await;
        assert_eq!(numbers(&rest), (40..60).collect(), "{}", backend.name);
        if backend.name != "Kafka" {
            let again = log.append(&[event(57, 1), event(60, 0), event(3, 3)]).await.unwrap();
            assert_eq!(again, Appended { written: 1, duplicates: 2 }, "{}", backend.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_reads_everything_and_its_lag_is_told() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        append(&*log, 0..30, 3).await;
        let mut early = log.join("early", Start::Earliest).await.unwrap();
        let mut late = log.join("late", Start::Latest).await.unwrap();
        // A member of Kafka has its place once it was given partitions.
        assert!(
            late.read(1, if backend.name == "Kafka" { LATE / 3 } else { SOON }).await.unwrap().is_empty()
        );
        late.commit().await.unwrap();
        assert_eq!((lag(&*log, "early").await, lag(&*log, "late").await), (30, 0), "{}", backend.name);
        append(&*log, 30..50, 3).await;
        assert_eq!((lag(&*log, "early").await, lag(&*log, "late").await), (50, 20), "{}", backend.name);
        assert_eq!(numbers(&read_n(&mut *early, 50).await), (0..50).collect(), "{}", backend.name);
        assert_eq!(numbers(&read_n(&mut *late, 20).await), (30..50).collect(), "{}", backend.name);
        assert_eq!(lag(&*log, "early").await, 50, "{}: read is not committed", backend.name);
        early.commit().await.unwrap();
        late.commit().await.unwrap();
        assert_eq!((lag(&*log, "early").await, lag(&*log, "late").await), (0, 0), "{}", backend.name);
        let metrics = log.metrics().await.unwrap();
        assert_eq!((metrics.events, metrics.appended), (50, 50), "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_holds_back_its_partition_then_dies_and_can_be_replayed() {
    for mut backend in Backend::every().await {
        backend.settings.deliveries_max = 3;
        let log = backend.open().await;
        append(&*log, 0..20, 1).await;
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let mut bystander = log.join("reports", Start::Earliest).await.unwrap();
        let got = read_n(&mut *member, 20).await;
        assert_eq!(got.len(), 20, "{}", backend.name);
        let poison = got[5].position;
        assert_eq!(member.fail(poison, "no such\nitem").await.unwrap(), Failed::Again { failures: 1 });
        for failures in 1..3 {
            let got = read_n(&mut *member, 15).await;
            let order: Vec<usize> = got.iter().map(number).collect();
            assert_eq!(order, (5..20).collect::<Vec<_>>(), "{}", backend.name);
            assert_eq!((got[0].position, got[0].failures), (poison, failures), "{}", backend.name);
            let expected =
                if failures == 2 { Failed::Dead } else { Failed::Again { failures: failures + 1 } };
            assert_eq!(member.fail(poison, "no such\nitem").await.unwrap(), expected, "{}", backend.name);
        }
        let got = read_n(&mut *member, 14).await;
        assert_eq!(
            got.iter().map(number).collect::<Vec<_>>(),
            (6..20).collect::<Vec<_>>(),
            "{}",
            backend.name
        );
        member.commit().await.unwrap();
        assert!(matches!(member.fail(poison, "late").await, Err(EventLogError::NotDelivered { .. })));

        let letters = log.dead_letters("orders", 10).await.unwrap();
        assert_eq!(letters.len(), 1, "{}", backend.name);
        let letter = &letters[0];
        assert_eq!((letter.position, letter.failures, &*letter.reason), (poison, 3, "no such item"));
        assert_eq!(letter.event, event(5, 0), "{}", backend.name);
        assert!(log.dead_letters("reports", 10).await.unwrap().is_empty(), "{}", backend.name);
        let metrics = log.metrics().await.unwrap();
        assert_eq!(metrics.groups.iter().find(|g| g.group == "orders").unwrap().dead_letters, 1);

        // Replayed to its group alone, whatever ids were seen.
        assert_eq!(log.replay("orders", &[letter.number, u64::MAX]).await.unwrap(), 1, "{}", backend.name);
        assert!(log.dead_letters("orders", 10).await.unwrap().is_empty(), "{}", backend.name);
        let again = read_n(&mut *member, 1).await;
        assert_eq!((number(&again[0]), again[0].failures), (5, 0), "{}", backend.name);
        member.commit().await.unwrap();
        assert_eq!(lag(&*log, "orders").await, 0, "{}", backend.name);
        let seen = read_n(&mut *bystander, 20).await;
        assert_eq!(
            seen.iter().map(number).collect::<Vec<_>>(),
            (0..20).collect::<Vec<_>>(),
            "{}",
            backend.name
        );
        assert!(bystander.read(10, SOON).await.unwrap().is_empty(), "{}", backend.name);
        bystander.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_can_be_deleted() {
    for mut backend in Backend::every().await {
        backend.settings.deliveries_max = 1;
        let log = backend.open().await;
        append(&*log, 0..3, 1).await;
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        for i in 0..3 {
            let got = read_n(&mut *member, 1).await;
            assert_eq!(number(&got[0]), i, "{}", backend.name);
            assert_eq!(member.fail(got[0].position, "bad").await.unwrap(), Failed::Dead, "{}", backend.name);
        }
        let letters = log.dead_letters("orders", 2).await.unwrap();
        assert_eq!(letters.iter().map(|l| l.event.id.as_str()).collect::<Vec<_>>(), ["event-0", "event-1"]);
        let gone = [letters[0].number, letters[1].number];
        assert_eq!(log.delete_dead_letters("orders", &gone).await.unwrap(), 2, "{}", backend.name);
        assert_eq!(log.delete_dead_letters("orders", &gone).await.unwrap(), 0, "{}", backend.name);
        let left = log.dead_letters("orders", 10).await.unwrap();
        assert_eq!(left.iter().map(|l| l.event.id.as_str()).collect::<Vec<_>>(), ["event-2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_tries_again_does_not_make_an_event_count_twice() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        let events: Vec<Event> = (0..30).map(|i| event(i, i % 3)).collect();
        log.append(&events).await.unwrap();
        let again = log.append(&[&events[10..], &[event(30, 0), event(30, 0)]].concat()).await.unwrap();
        let dropped = if backend.name == "Kafka" { 0 } else { 21 };
        assert_eq!(again, Appended { written: 22 - dropped, duplicates: dropped }, "{}", backend.name);

        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let mut seen = Idempotent::new(1000);
        let mut effects = Vec::new();
        for delivery in read_n(&mut *member, 52 - dropped).await {
            if seen.is_new(&delivery) {
                effects.push(number(&delivery));
                seen.record(&delivery);
            }
        }
        effects.sort_unstable();
        assert_eq!(effects, (0..31).collect::<Vec<_>>(), "{}", backend.name);
        assert_eq!(log.metrics().await.unwrap().duplicates, dropped as u64, "{}", backend.name);
    }
}

/// NATS kept a request that found nothing for five seconds for each empty partition, longer than a lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_finds_nothing_ends_with_its_wait() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        append(&*log, 0..3, 1).await;
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        assert_eq!(read_n(&mut *member, 3).await.len(), 3, "{}", backend.name);
        for _ in 0..2 {
            let began = std::time::Instant::now();
            assert!(member.read(10, SOON).await.unwrap().is_empty(), "{}", backend.name);
            let took = began.elapsed();
            assert!(took >= SOON && took < SOON * 10, "{}: {took:?}", backend.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_work_and_take_over_from_one_that_went() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        append(&*log, 0..200, 20).await;
        let mut members = vec![];
        for _ in 0..3 {
            members.push(log.join("orders", Start::Earliest).await.unwrap());
        }
        let mut seen = Idempotent::new(1000);
        let (mut effects, mut by_key) = (BTreeSet::new(), BTreeMap::new());
        let until = std::time::Instant::now() + Duration::from_secs(40);
        let mut turn = 0;
        while effects.len() < 200 {
            assert!(std::time::Instant::now() < until, "{}: {} of 200", backend.name, effects.len());
            turn += 1;
            // One goes, with what it has in hand.
            if turn == 5 {
                let mut gone = members.remove(0);
                let _ = gone.read(10, SOON).await.unwrap();
            }
            for member in &mut members {
                for delivery in member.read(10, Duration::from_millis(50)).await.unwrap() {
                    if seen.is_new(&delivery) {
                        seen.record(&delivery);
                        let n = number(&delivery);
                        assert!(by_key.insert(n % 20, n).is_none_or(|before| before < n), "{}", backend.name);
                        effects.insert(n);
                    }
                }
                match member.commit().await {
                    Ok(()) | Err(EventLogError::TakenOver { .. }) => {}
                    Err(e) => panic!("{}: {e}", backend.name),
                }
            }
        }
        assert_eq!(effects, (0..200).collect(), "{}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_at_once_lose_nothing() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        let producers: Vec<_> = (0..8)
            .map(|p| {
                let log = log.clone();
                tokio::spawn(async move {
                    for i in 0..20 {
                        let events: Vec<Event> = (0..10).map(|j| event(p * 1000 + i * 10 + j, p)).collect();
                        assert_eq!(log.append(&events).await.unwrap().written, 10);
                    }
                })
            })
            .collect();
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let mut got = vec![];
        while got.len() < 1600 {
            let batch = member.read(100, LATE).await.unwrap();
            assert!(!batch.is_empty(), "{}: {} of 1600", backend.name, got.len());
            got.extend(batch);
            member.commit().await.unwrap();
        }
        for producer in producers {
            producer.await.unwrap();
        }
        assert_eq!(numbers(&got).len(), 1600, "{}", backend.name);
        let mut last = [0; 8];
        for n in got.iter().map(number) {
            assert!(n == n / 1000 * 1000 || n > last[n / 1000], "{}", backend.name);
            last[n / 1000] = n;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_limit_is_refused_whole() {
    for backend in Backend::every().await {
        let log = backend.open().await;
        let long = |n: usize| "x".repeat(n);
        let bad = [
            (Event::new("", "k", 0, ""), "its id is empty"),
            (Event::new(long(257), "k", 0, ""), "its id has 257 bytes"),
            (Event::new("i", long(513), 0, ""), "its key has 513 bytes"),
            (
                Event::new("i", "k", 0, vec![0; event_log::PAYLOAD_BYTES_MAX + 1]),
                "its payload has 1000001 bytes",
            ),
        ];
        for (event, part) in bad {
            let e = log.append(&[Event::new("fine", "k", 0, ""), event]).await.expect_err(part);
            assert!(e.to_string().contains(part) && e.to_string().starts_with("event 1 "), "{e}");
            assert_eq!(e.kind(), ErrorKind::InvalidInput);
        }
        for name in ["", "a b", "../x", "a.b", "a*", &long(65), "茶"] {
            let e = log.join(name, Start::Earliest).await.err().expect("a bad name");
            assert_eq!(e.kind(), ErrorKind::InvalidParams, "{e}");
        }
        assert_eq!(log.append(&[]).await.unwrap(), Appended::default());
        // The longest that is allowed, and texts that brokers might stumble over.
        let fine = [
            Event::new(long(256), long(512), i64::MIN, vec![255; event_log::PAYLOAD_BYTES_MAX]),
            Event::new("a\r\nNats-Msg-Id: b", "\u{0} key%41 茶", i64::MAX, ""),
        ];
        assert_eq!(log.append(&fine).await.unwrap().written, 2, "{}", backend.name);
        let mut member = log.join("orders", Start::Earliest).await.unwrap();
        let got = read_n(&mut *member, 2).await;
        assert_eq!(got.len(), 2, "{}", backend.name);
        assert!(fine.iter().all(|f| got.iter().any(|d| d.event == *f)), "{}", backend.name);
    }
}
