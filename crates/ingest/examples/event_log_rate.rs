//! How many events a second the embedded log takes: `event_log_rate [folder] [seconds for each line]`.
//!
//! Producers wait for each batch before they send the next, as servers do; events have 150 bytes of payload. With
//! `always` an append returns when its events are on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tradewind_ingest::event_log::{EmbeddedLog, Event, EventLog, EventLogSettings, Fsync};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = arguments.next().map_or(3.0, |s| s.parse().expect("seconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lines = [
        (Fsync::Always, 1, 1),
        (Fsync::Always, 64, 1),
        (Fsync::Always, 1, 100),
        (Fsync::Always, 8, 100),
        (Fsync::Always, 1, 1000),
        (Fsync::Always, 8, 1000),
        (Fsync::Every { ms: 100 }, 1, 1),
        (Fsync::Every { ms: 100 }, 8, 100),
        (Fsync::Every { ms: 100 }, 8, 1000),
    ];
    for (fsync, producers, batch) in lines {
        let rate = runtime.block_on(rate(&folder, fsync, producers, batch, seconds));
        let policy = match fsync {
            Fsync::Always => "always".to_owned(),
            Fsync::Every { ms } => format!("interval {ms} ms"),
        };
        let text =
            format!("{policy:16} {producers:3} producers, batches of {batch:4}: {rate:9.0} events/s\n");
        std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).expect("a terminal");
    }
}

async fn rate(folder: &std::path::Path, fsync: Fsync, producers: usize, batch: usize, seconds: f64) -> f64 {
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    let settings = EventLogSettings { fsync, ..EventLogSettings::default() };
    let log = Arc::new(EmbeddedLog::open(&settings, folder.path()).await.expect("a log"));
    let written = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..producers)
        .map(|producer| {
            let (log, written) = (log.clone(), written.clone());
            tokio::spawn(async move {
                let mut next = 0;
                while Instant::now() < until {
                    let events: Vec<Event> = (next..next + batch)
                        .map(|i| {
                            Event::new(format!("{producer}-{i}"), format!("{}", i % 1000), 0, vec![b'x'; 150])
                        })
                        .collect();
                    next += batch;
                    log.append(&events).await.expect("an append");
                    written.fetch_add(batch as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a producer");
    }
    written.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
