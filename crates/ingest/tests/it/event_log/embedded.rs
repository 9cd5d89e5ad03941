//! What the embedded log has of its own: files that are torn, damaged, too old, too many.

use super::backend::Backend;
use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use tradewind_ingest::event_log::{EmbeddedLog, EventLogSettings, Fsync, repair};

fn settings() -> EventLogSettings {
    EventLogSettings::default()
}

/// The folder as a crash now would leave it.
fn crashed(log: &Path, into: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(into);
    copy(log, into);
    into.to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    files.sort();
    files
}

/// Changes one byte of a file.
fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(file, bytes).unwrap();
}

async fn all(log: &EmbeddedLog, group: &str) -> Vec<usize> {
    let mut member = log.join(group, Start::Earliest).await.unwrap();
    let mut out = vec![];
    loop {
        let batch = member.read(1000, Duration::ZERO).await.unwrap();
        if batch.is_empty() {
            return out;
        }
        out.extend(batch.iter().map(number));
        member.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_off_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = EmbeddedLog::open(&settings(), &path).await.unwrap();
    let mut ends = vec![];
    for i in 0..10 {
        append(&log, i * 3..i * 3 + 3, 3).await;
        ends.push(std::fs::metadata(&segments(&path)[0]).unwrap().len());
    }
    let copied = folder.path().join("copy");
    let (before, whole) = (ends[8], ends[9]);
    for (cut, frames) in [(whole, 30), (whole - 1, 27), (before + 1, 27), (before + 30, 27), (before, 27)] {
        let copied = crashed(&path, &copied);
        let file = std::fs::OpenOptions::new().write(true).open(&segments(&copied)[0]).unwrap();
        file.set_len(cut).unwrap();
        let log = EmbeddedLog::open(&settings(), &copied).await.unwrap();
        let torn = if cut == whole { 0 } else { cut - before };
        assert_eq!(log.recovery().torn_bytes, torn);
        if torn > 0 {
            let kept = std::fs::metadata(log.recovery().torn_file.as_ref().unwrap()).unwrap();
            assert_eq!(kept.len(), torn);
        }
        assert_eq!(all(&log, "g").await, (0..frames).collect::<Vec<_>>(), "cut at {cut}");
        // Whoever was not acknowledged tries again; the log goes on, also after another crash.
        let again: Vec<Event> = (24..33).map(|i| event(i, i % 3)).collect();
        let appended = log.append(&again).await.unwrap();
        assert_eq!(appended, Appended { written: 33 - frames, duplicates: frames - 24 });
        drop(log);
        let log = EmbeddedLog::open(&settings(), &copied).await.unwrap();
        assert_eq!(all(&log, "h").await, (0..33).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_the_end_is_named_and_repaired_with_a_list_of_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = EmbeddedLog::open(&settings(), &path).await.unwrap();
    let mut ends = vec![];
    for i in 0..10 {
        append(&log, i * 3..i * 3 + 3, 3).await;
        ends.push(std::fs::metadata(&segments(&path)[0]).unwrap().len() as usize);
    }
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    assert_eq!(read_n(&mut *member, 5).await.len(), 5);
    member.commit().await.unwrap();
    let copied = crashed(&path, &folder.path().join("copy"));
    let file = segments(&copied)[0].clone();
    for at in [ends[3] + 60, ends[3] + 2, ends[3] + 5] {
        flip(&file, at);
    }
    let e = EmbeddedLog::open(&settings(), &copied).await.err().expect("damage");
    assert_eq!(
        e.to_string(),
        format!("{}: damaged at byte {}: no frame begins here", file.display(), ends[3])
    );
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
    assert!(e.hint().unwrap().contains("repair"));

    let report = repair(&copied).unwrap();
    assert_eq!((report.segments, report.events, report.lost.len()), (1, 27, 1));
    let lost = &report.lost[0];
    assert_eq!((lost.offset as usize, lost.bytes as usize), (ends[3], ends[4] - ends[3]));
    assert_eq!((lost.first, lost.next, &lost.file), (12, 15, &file));
    assert!(report.set_aside[0].exists());
    let log = EmbeddedLog::open(&settings(), &copied).await.unwrap();
    let expected: Vec<usize> = (5..12).chain(15..30).collect();
    assert_eq!(lag(&log, "g").await, 22);
    assert_eq!(all(&log, "g").await, expected);
    assert_eq!(lag(&log, "g").await, 0);
    assert_eq!(repair(&path).expect_err("in use").kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_in_the_middle_is_named_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let small = EventLogSettings { segment_bytes: 1 << 16, dedup_events: 0, ..settings() };
    let log = EmbeddedLog::open(&small, &path).await.unwrap();
    for i in 0..300 {
        let events: Vec<Event> =
            (i * 5..i * 5 + 5).map(|n| Event { payload: vec![1; 200].into(), ..event(n, n % 3) }).collect();
        log.append(&events).await.unwrap();
    }
    log.close().await.unwrap();
    let files = segments(&path);
    assert!(files.len() > 4, "{files:?}");
    let length = std::fs::metadata(&files[2]).unwrap().len() as usize;
    flip(&files[2], length / 2);
    let log = EmbeddedLog::open(&small, &path).await.unwrap();
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    let mut got = vec![];
    let e = loop {
        match member.read(100, Duration::ZERO).await {
            Ok(batch) => {
                assert!(!batch.is_empty(), "the damage was passed over");
                got.extend(batch.iter().map(number));
                member.commit().await.unwrap();
            }
            Err(e) => break e,
        }
    };
    let EventLogError::Damaged { path: named, offset, .. } = &e else { panic!("{e}") };
    assert_eq!(named, &files[2]);
    assert!((*offset as usize) <= length / 2 && got == (0..got.len()).collect::<Vec<_>>());
    // Appending goes on meanwhile.
    append(&log, 1500..1503, 3).await;
    drop(member);
    log.close().await.unwrap();

    let report = repair(&path).unwrap();
    assert_eq!((report.lost.len(), report.lost[0].next - report.lost[0].first), (1, 5));
    // A whole file that is gone is noticed and told too.
    std::fs::remove_file(&files[3]).unwrap();
    let e = EmbeddedLog::open(&small, &path).await.err().expect("a gap");
    assert!(matches!(&e, EventLogError::Damaged { path, .. } if *path == files[4]), "{e}");
    let second = repair(&path).unwrap();
    assert_eq!((second.lost.len(), second.lost[0].bytes), (1, 0));
    let log = EmbeddedLog::open(&small, &path).await.unwrap();
    let missing = [&report.lost[0], &second.lost[0]];
    let expected: Vec<usize> =
        (0..1503).filter(|n| missing.iter().all(|l| !(l.first..l.next).contains(&(*n as u64)))).collect();
    assert_eq!(all(&log, "h").await, expected);
    got.extend(all(&log, "g").await);
    assert_eq!(got, expected);
    assert_eq!(lag(&log, "g").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_close_in_order_a_shorter_file_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = EmbeddedLog::open(&settings(), &path).await.unwrap();
    append(&log, 0..3, 3).await;
    append(&log, 3..6, 3).await;
    drop(log);
    let file = segments(&path)[0].clone();
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 1).unwrap();
    let e = EmbeddedLog::open(&settings(), &path).await.err().expect("damage");
    assert!(e.to_string().contains(&format!("the log was closed with {length} bytes here")), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_and_the_partitions_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(&settings(), folder.path()).await.unwrap();
    let e = EmbeddedLog::open(&settings(), folder.path()).await.err().expect("in use");
    assert!(matches!(e, EventLogError::InUse { .. }), "{e}");
    log.close().await.unwrap();
    let other = EventLogSettings { partitions: 8, ..settings() };
    let e = EmbeddedLog::open(&other, folder.path()).await.err().expect("other partitions");
    assert!(e.to_string().contains("partitions is 8; allowed: 4"), "{e}");
    drop(EmbeddedLog::open(&settings(), folder.path()).await.unwrap());
    let e = EventLogSettings { address: "ftp://u:secret@x".into(), ..settings() }.check().expect_err("ftp");
    assert!(!e.to_string().contains("secret"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_waits_for_groups_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let small = EventLogSettings { segment_bytes: 1 << 16, retention_bytes: 1 << 20, ..settings() };
    let log = EmbeddedLog::open(&small, folder.path()).await.unwrap();
    let mut slow = log.join("slow", Start::Earliest).await.unwrap();
    let fill = async |from: usize, n: usize| {
        let events: Vec<Event> =
            (from..from + n).map(|i| Event { payload: vec![7; 1000].into(), ..event(i, i) }).collect();
        for chunk in events.chunks(50) {
            log.append(chunk).await.unwrap();
        }
    };
    fill(0, 1500).await;
    assert_eq!(log.retain().await.unwrap(), 0, "the group has read nothing yet");
    assert_eq!(read_n(&mut *slow, 1500).await.len(), 1500);
    slow.commit().await.unwrap();
    log.retain().await.unwrap();
    let bytes = log.metrics().await.unwrap().bytes;
    assert!(bytes <= (1 << 20) + (1 << 17), "{bytes}");

    // Now it falls behind by more than twice what is kept.
    fill(1500, 4000).await;
    log.retain().await.unwrap();
    assert!(log.metrics().await.unwrap().bytes <= (2 << 20) + (1 << 17));
    let before = lag(&log, "slow").await;
    let mut told = BTreeSet::new();
    let mut got = vec![];
    loop {
        match slow.read(1000, Duration::ZERO).await {
            Ok(batch) if batch.is_empty() => break,
            Ok(batch) => got.extend(batch),
            Err(EventLogError::Lost { partition, .. }) => assert!(told.insert(partition), "told twice"),
            Err(e) => panic!("{e}"),
        }
    }
    slow.commit().await.unwrap();
    assert_eq!(told.len(), 4);
    assert!(got.len() < 4000 && before == 4000, "{} of {before}", got.len());
    let numbers = numbers(&got);
    assert_eq!(numbers, (5500 - got.len()..5500).collect());
    assert_eq!(lag(&log, "slow").await, 0);
    assert_eq!(log.metrics().await.unwrap().events, got.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_go_when_all_have_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let short = EventLogSettings { segment_bytes: 1 << 16, retention_ms: 1000, ..settings() };
    let log = EmbeddedLog::open(&short, folder.path()).await.unwrap();
    let events: Vec<Event> =
        (0..200).map(|i| Event { payload: vec![7; 1000].into(), ..event(i, i) }).collect();
    for chunk in events.chunks(20) {
        log.append(chunk).await.unwrap();
    }
    assert_eq!(log.retain().await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(log.retain().await.unwrap() >= 2);
    // What is being written stays.
    append(&log, 200..203, 3).await;
    assert!(all(&log, "g").await.ends_with(&[200, 201, 202]));
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_dropped_within_the_window_and_its_bounds_hold_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bounded = EventLogSettings { dedup_events: 10, ..settings() };
    for restart in [false, true] {
        let path = folder.path().join(format!("{restart}"));
        let mut log = EmbeddedLog::open(&bounded, &path).await.unwrap();
        append(&log, 0..20, 3).await;
        if restart {
            drop(log);
            log = EmbeddedLog::open(&bounded, &path).await.unwrap();
        }
        let again: Vec<Event> = (10..20).map(|i| event(i, i % 3)).collect();
        assert_eq!(log.append(&again).await.unwrap().duplicates, 10, "restart: {restart}");
        assert_eq!(log.append(&[event(9, 0)]).await.unwrap().written, 1, "restart: {restart}");
    }
    let brief = EventLogSettings { dedup_ms: 100, ..settings() };
    let log = EmbeddedLog::open(&brief, &folder.path().join("brief")).await.unwrap();
    append(&log, 0..1, 1).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    append(&log, 1..2, 1).await;
    assert_eq!(log.append(&[event(0, 0)]).await.unwrap().written, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_interval_events_are_shown_once_they_are_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let lazy = EventLogSettings { fsync: Fsync::Every { ms: 400 }, ..settings() };
    let log = EmbeddedLog::open(&lazy, folder.path()).await.unwrap();
    let mut member = log.join("g", Start::Earliest).await.unwrap();
    append(&log, 0..10, 3).await;
    assert!(member.read(10, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(read_n(&mut *member, 10).await.len(), 10);
    append(&log, 10..20, 3).await;
    drop(member);
    drop(log);
    let log = EmbeddedLog::open(&lazy, folder.path()).await.unwrap();
    assert_eq!(all(&log, "g").await, (0..20).collect::<Vec<_>>());
}

/// A file system of one mebibyte that really fills up. Where none can be mounted the tests in `writer.rs`, whose disk
/// is told to be full, stand alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_the_log_goes_on_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(folder.path())
        .output()
        .is_ok_and(|o| o.status.success());
    if !mounted {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let outcome = tokio::spawn({
        let path = folder.path().to_owned();
        async move {
            let log = EmbeddedLog::open(&settings(), &path.join("log")).await.unwrap();
            let ballast = path.join("ballast");
            std::fs::write(&ballast, vec![0; 400_000]).unwrap();
            let big = |i: usize| Event { payload: vec![7; 50_000].into(), ..event(i, i) };
            let mut kept = vec![];
            let e = loop {
                match log.append(&[big(kept.len())]).await {
                    Ok(appended) => {
                        assert_eq!(appended.written, 1);
                        kept.push(kept.len());
                    }
                    Err(e) => break e,
                }
            };
            assert!(matches!(e, EventLogError::DiskFull { .. }), "{e}");
            assert_eq!(e.kind(), ErrorKind::Unavailable);
            assert!(kept.len() > 5);
            assert!(log.append(&[big(kept.len())]).await.is_err());
            std::fs::remove_file(&ballast).unwrap();
            assert_eq!(log.append(&[big(kept.len())]).await.unwrap(), Appended { written: 1, duplicates: 0 });
            kept.push(kept.len());
            assert_eq!(all(&log, "g").await, kept);
            drop(log);
            let log = EmbeddedLog::open(&settings(), &path.join("log")).await.unwrap();
            assert_eq!(log.recovery().torn_bytes, 0);
            assert_eq!(all(&log, "h").await, kept);
        }
    })
    .await;
    let _ = std::process::Command::new("umount").arg("-l").arg(folder.path()).status();
    outcome.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens to the bytes of a log: never a panic, never a record that was not written, and never one at
    /// another place than its own.
    #[test]
    fn damage_anywhere_never_yields_a_wrong_event(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255u8), 0..5),
        cut in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let small = EventLogSettings { segment_bytes: 1 << 16, ..settings() };
            let log = EmbeddedLog::open(&small, &path).await.unwrap();
            let wide = |i: usize| Event { payload: vec![i as u8; 700].into(), ..event(i, i % 5) };
            for i in 0..20 {
                log.append(&(i * 15..i * 15 + 15).map(wide).collect::<Vec<_>>()).await.unwrap();
            }
            let copied = crashed(&path, &folder.path().join("copy"));
            drop(log);
            let mut files: Vec<PathBuf> = std::fs::read_dir(&copied).unwrap().map(|e| e.unwrap().path()).collect();
            files.retain(|f| f.is_file() && f.metadata().unwrap().len() > 0);
            files.sort();
            for (file, at, mask) in &flips {
                let file = &files[file.index(files.len())];
                let mut bytes = std::fs::read(file).unwrap();
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
                std::fs::write(file, bytes).unwrap();
            }
            if let Some((file, at)) = cut {
                let file = &files[file.index(files.len())];
                let bytes = std::fs::read(file).unwrap();
                std::fs::write(file, &bytes[..at.index(bytes.len())]).unwrap();
            }
            for repaired in [false, true] {
                if repaired && repair(&copied).is_err() {
                    continue;
                }
                let Ok(log) = EmbeddedLog::open(&small, &copied).await else { continue };
                let mut member = log.join("g", Start::Earliest).await.unwrap();
                while let Ok(batch) = member.read(64, Duration::ZERO).await {
                    if batch.is_empty() {
                        break;
                    }
                    for delivery in batch {
                        let n = delivery.position.offset as usize;
                        assert_eq!(delivery.event, wide(n));
                    }
                    member.commit().await.unwrap();
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_end_that_the_settings_name_is_opened() {
    let backend = Backend::embedded();
    let log = backend.open().await;
    append(&*log, 0..1, 1).await;
    assert!(backend.folder.path().join("log/log.json").exists());
    #[cfg(not(feature = "kafka"))]
    {
        let settings = EventLogSettings { address: "kafka://127.0.0.1:1".into(), ..settings() };
        let e = event_log::open(&settings, backend.folder.path()).await.err().expect("not built");
        assert!(e.hint().unwrap().contains("`kafka`"), "{e}");
    }
    let settings = EventLogSettings { address: "nats://127.0.0.1:1".into(), ..settings() };
    let e = event_log::open(&settings, backend.folder.path()).await.err().expect("nobody there");
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
}
