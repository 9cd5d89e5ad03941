//! What the log in NATS has of its own: its streams, and a server that goes and comes back.

use super::backend::Backend;
use super::*;
use std::process::{Child, Command, Stdio};
use tradewind_ingest::event_log::{EventLogSettings, NatsLog};

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_made_once_and_refused_when_they_do_not_fit() {
    let Some(backend) = Backend::nats().await else { return };
    let log = NatsLog::connect(&backend.settings).await.unwrap();
    append(&log, 0..10, 3).await;
    let other = EventLogSettings { partitions: 8, ..backend.settings.clone() };
    let e = NatsLog::connect(&other).await.err().expect("other partitions");
    assert!(matches!(e, EventLogError::Unfit { .. }), "{e}");
    assert_eq!(e.kind(), ErrorKind::InvalidParams);

    // Limits follow the settings; the events stay.
    let shorter = EventLogSettings { retention_ms: 3_600_000, dedup_ms: 60_000, ..backend.settings.clone() };
    let again = NatsLog::connect(&shorter).await.unwrap();
    assert_eq!(again.metrics().await.unwrap().events, 10);
    let context = async_nats::jetstream::new(async_nats::connect(&backend.settings.address).await.unwrap());
    let config = context.get_stream(&backend.settings.name).await.unwrap().cached_info().config.clone();
    assert_eq!(config.max_age, Duration::from_secs(3600));
    assert_eq!(config.duplicate_window, Duration::from_secs(60));
    assert_eq!(config.storage, async_nats::jetstream::stream::StorageType::File);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_dropped_before_it_was_read_is_told_once() {
    let Some(backend) = Backend::nats().await else { return };
    let log = NatsLog::connect(&backend.settings).await.unwrap();
    append(&log, 0..20, 1).await;
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    assert_eq!(read_n(&mut *member, 5).await.len(), 5);
    member.commit().await.unwrap();
    drop(member);
    let context = async_nats::jetstream::new(async_nats::connect(&backend.settings.address).await.unwrap());
    context.get_stream(&backend.settings.name).await.unwrap().purge().sequence(16).await.unwrap();
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    let (mut told, mut got) = (BTreeSet::new(), vec![]);
    let until = std::time::Instant::now() + LATE;
    while got.len() < 5 && std::time::Instant::now() < until {
        match member.read(100, SOON).await {
            Ok(batch) => got.extend(batch.iter().map(number)),
            Err(EventLogError::Lost { partition, next, .. }) => assert!(told.insert(partition) && next == 16),
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(got, (15..20).collect::<Vec<_>>());
    assert!(!told.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_programs_can_be_read() {
    let Some(backend) = Backend::nats().await else { return };
    let log = NatsLog::connect(&backend.settings).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(&backend.settings.address).await.unwrap());
    let subject = format!("{}.e.2", backend.settings.name);
    context.publish(subject, "{}".into()).await.unwrap().await.unwrap();
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    let got = read_n(&mut *member, 1).await;
    assert_eq!((&*got[0].event.id, &*got[0].event.payload), ("sequence-1", b"{}".as_slice()));
    assert!(got[0].event.time_ms > 1_700_000_000_000);
}

/// A server of our own, killed when this value goes.
struct Server(Child);

impl Server {
    fn start(port: u16, folder: &std::path::Path) -> Option<Self> {
        let mut command = Command::new("nats-server");
        command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(folder);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok().map(Self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_has_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(server) = Server::start(port, folder.path()) else {
        eprintln!("skipped: there is no nats-server here");
        return;
    };
    let settings = EventLogSettings {
        address: format!("nats://127.0.0.1:{port}"),
        retention_bytes: 64 << 20,
        lease_ms: 1000,
        ..EventLogSettings::default()
    };
    let until = std::time::Instant::now() + LATE;
    let log = loop {
        match NatsLog::connect(&settings).await {
            Ok(log) => break log,
            Err(e) => assert!(std::time::Instant::now() < until, "{e}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    append(&log, 0..100, 5).await;
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    assert_eq!(read_n(&mut *member, 60).await.len(), 60);
    member.commit().await.unwrap();
    drop(server);
    let next: Vec<Event> = (100..120).map(|i| event(i, i % 5)).collect();
    let e = log.append(&next).await.expect_err("nobody there");
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");

    let _server = Server::start(port, folder.path()).unwrap();
    let until = std::time::Instant::now() + 2 * LATE;
    while let Err(e) = log.append(&next).await {
        assert!(std::time::Instant::now() < until, "{e}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The same member goes on, over whatever its connection has gone through.
    let (mut got, mut faults) = (vec![], vec![]);
    let until = std::time::Instant::now() + 4 * LATE;
    while got.len() < 60 {
        assert!(std::time::Instant::now() < until, "{} of 60: {faults:?}", got.len());
        match member.read(100, SOON).await {
            Ok(batch) => got.extend(batch.iter().map(number)),
            Err(e) => faults.push(e.to_string()),
        }
    }
    got.sort_unstable();
    assert_eq!(got.len(), 60);
    assert!(got.ends_with(&(100..120).collect::<Vec<_>>()));
    member.commit().await.unwrap();
    assert_eq!(lag(&log, "g").await, 0);
}
