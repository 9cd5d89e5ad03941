//! What may go wrong: processes killed at any moment, files damaged, disks full, garbage collected beside registrations.

use crate::databases;
use crate::registry::{artifact, assert_sound, change, new, open};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::registry::{Expect, Page, Registry, Store, VersionFilter};
use tradewind_ops::{Clock, Database, Error};

/// What a child process does: `worker`'s arguments, joined by `|`.
const CHILD: &str = "TRADEWIND_TEST_REGISTRY_CHILD";

/// A process of its own that registers and promotes until it is killed or has done `times`; a line for each thing done.
fn child(url: &str, dir: &Path, name: &str, times: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "registry_faults::worker", "--nocapture"])
        .env(CHILD, format!("{url}|{}|{name}|{times}", dir.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The child: it does nothing in the test program itself.
#[test]
#[expect(clippy::print_stdout, reason = "what it did is told to the process that started it")]
fn worker() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [url, dir, name, times] = told.split('|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = Path::new(dir);
        let registry = open(url, dir, Clock::system()).await;
        println!("\nready");
        let work = tempfile::tempdir_in(dir).unwrap();
        for n in 0..times.parse::<u32>().unwrap() {
            let folder = artifact(work.path(), &format!("{name}-{n}"));
            let version = registry.register(new("weekly"), &folder).await.unwrap();
            println!("\nregistered {}", version.number);
            match n % 4 {
                3 => drop(registry.roll_back("weekly", "champion", Expect::Anybody, &change()).await),
                _ => {
                    let line = registry
                        .promote(&version.reference(), "champion", Expect::Anybody, &change())
                        .await
                        .unwrap();
                    println!("\npromoted {}", line.sequence);
                }
            }
            if n % 5 == 4 {
                registry.collect_garbage(Duration::ZERO).await.unwrap();
            }
        }
    });
}

/// What a child said it had done.
fn acknowledged(text: &str, what: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
}

async fn fetch_all(registry: &Registry) -> Vec<u64> {
    let mut page = Page { after: None, limit: 1000 };
    let filter = VersionFilter { kind: None, archived: true };
    let mut out = Vec::new();
    loop {
        let part = match registry.versions("weekly", filter, &page).await {
            Ok(part) => part,
            Err(e) if e.kind() == ErrorKind::NotFound => return out,
            Err(e) => panic!("{e}"),
        };
        for version in &part.items {
            registry.fetch(version).await.unwrap();
            out.push(version.number);
        }
        page.after = part.next;
        if page.after.is_none() {
            out.reverse();
            return out;
        }
    }
}

/// Numbers that look random and are the same in every run.
fn scattered(seed: u64) -> u64 {
    let hash = blake3::hash(&seed.to_le_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_whole_versions_or_none() {
    for (number, fresh) in databases::every().await.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::system()).await;
        let began = Instant::now();
        let (mut versions, mut lines) = (Vec::new(), Vec::new());
        let mut rounds = 0;
        while rounds < 12 && (rounds < 4 || began.elapsed() < Duration::from_secs(4)) {
            let mut process = child(&fresh.url, dir.path(), &format!("k{rounds}"), u32::MAX);
            let mut out = BufReader::new(process.stdout.take().unwrap());
            // Every other child first does one or two things, however slow the machine is.
            let mut told = String::new();
            let wanted = if rounds % 2 == 0 { 0 } else { 1 + scattered(rounds) % 2 };
            while !told.contains("ready") || acknowledged(&told, "registered").len() < wanted as usize {
                assert_ne!(out.read_line(&mut told).unwrap(), 0, "the child ended early: {told}");
            }
            let micros = scattered(rounds * 3 + number as u64) % 60_000;
            tokio::time::sleep(Duration::from_micros(micros)).await;
            // SIGKILL: nothing of the child runs any more.
            process.kill().unwrap();
            process.wait().unwrap();
            out.read_to_string(&mut told).unwrap();
            versions.extend(acknowledged(&told, "registered"));
            lines.extend(acknowledged(&told, "promoted"));
            assert_sound(&registry).await;
            rounds += 1;
        }
        let there = fetch_all(&registry).await;
        assert!(versions.iter().all(|v| there.contains(v)), "an acknowledged version is lost");
        assert_eq!(there, (1..=there.len() as u64).collect::<Vec<_>>());
        assert!(!there.is_empty() && rounds > 1);
        let last = registry.history("weekly", None, &Page { after: None, limit: 1 }).await.unwrap().items;
        let last = last.first().map_or(0, |l| l.sequence);
        assert!(lines.iter().all(|&l| l <= last), "an acknowledged promotion is lost");
        // What the dead left goes, what is named stays.
        registry.collect_garbage(Duration::ZERO).await.unwrap();
        let report = registry.verify().await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(fetch_all(&registry).await, there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_register_and_promote_at_once() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::system()).await;
    let children: Vec<Child> = (0..8).map(|n| child(&fresh.url, dir.path(), &format!("p{n}"), 3)).collect();
    let mut numbers = Vec::new();
    let mut lines = Vec::new();
    for process in children {
        let ended = process.wait_with_output().unwrap();
        let told = String::from_utf8(ended.stdout).unwrap();
        assert!(ended.status.success(), "{told}");
        numbers.extend(acknowledged(&told, "registered"));
        lines.extend(acknowledged(&told, "promoted"));
    }
    numbers.sort_unstable();
    lines.sort_unstable();
    assert_eq!(numbers, (1..=24).collect::<Vec<_>>());
    assert_eq!(lines, (1..=24).collect::<Vec<_>>());
    assert_sound(&registry).await;
}

/// Garbage is collected all the time, without any grace, while versions are registered: none loses a file.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_collection_never_takes_what_is_wanted() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::system()).await;
        let collector = {
            let registry = open(&fresh.url, dir.path(), Clock::system()).await;
            tokio::spawn(async move {
                loop {
                    registry.collect_garbage(Duration::ZERO).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        };
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..3 {
            let (registry, folder) = (registry.clone(), dir.path().to_owned());
            tasks.spawn(async move {
                let mut registered = 0;
                for step in 0..5 {
                    let folder = artifact(&folder, &format!("g{n}-{step}"));
                    match registry.register(new("weekly"), &folder).await {
                        Ok(_) => registered += 1,
                        // Eight times in a row the collector was quicker: refused, not broken.
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e}"),
                    }
                }
                registered
            });
        }
        let registered: usize = tasks.join_all().await.into_iter().sum();
        collector.abort();
        let _ = collector.await;
        assert_sound(&registry).await;
        assert_eq!(fetch_all(&registry).await.len(), registered);
        assert!(registered > 0);
    }
}

/// Files in the store, by the version's path of them.
fn blobs(dir: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(dir.join("registry/blobs")).unwrap();
    shelves.flat_map(|s| fs::read_dir(s.unwrap().path()).unwrap()).map(|f| f.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_what_nobody_names() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::at(1_000_000)).await;
        registry.register(new("weekly"), &artifact(dir.path(), "a")).await.unwrap();
        // As a crash between announcing and registering leaves it.
        let database = registry.database();
        let row = database.sql(
            "INSERT INTO registry_blobs (hash, generation, bytes, refs, uses, touched_ms, doomed)
             VALUES (?, 'g', 4, 0, 1, 1000000, 0)",
        );
        let hash = blake3::hash(b"lost").to_hex().to_string();
        sqlx::query(sqlx::AssertSqlSafe(row.into_owned()))
            .bind(hash.clone())
            .execute(database.pool())
            .await
            .unwrap();
        let shelf = dir.path().join("registry/blobs").join(&hash[..2]);
        fs::create_dir_all(&shelf).unwrap();
        fs::write(shelf.join(format!("{hash}-g")), "lost").unwrap();
        assert_eq!(registry.collect_garbage(Duration::from_secs(1)).await.unwrap().files, 0);
        // As a collection that died half way leaves it: doomed, here with the file already gone.
        let doomed = "INSERT INTO registry_blobs (hash, generation, bytes, refs, uses, touched_ms, doomed)
             VALUES ('00', 'g', 7, 0, 1, 9000000, 1)";
        sqlx::query(doomed).execute(database.pool()).await.unwrap();
        let collected = registry.collect_garbage(Duration::from_secs(1)).await.unwrap();
        assert_eq!((collected.files, collected.bytes), (1, 7));
        database.clock().set(1_002_000);
        let collected = registry.collect_garbage(Duration::from_secs(1)).await.unwrap();
        assert_eq!((collected.files, collected.bytes), (1, 4));
        assert_eq!(blobs(dir.path()).len(), 2);
        assert_sound(&registry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_named_and_mended() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::at(1)).await;
    let folder = artifact(dir.path(), "a");
    let version = registry.register(new("weekly"), &folder).await.unwrap();
    let hash = &version.manifest.files[1].blake3;
    let blob = blobs(dir.path()).into_iter().find(|b| b.to_string_lossy().contains(hash.as_str())).unwrap();
    let sound = fs::read(&blob).unwrap();
    let mut flipped = sound.clone();
    flipped[50] ^= 1;
    let damages: [(&str, &dyn Fn()); 4] = [
        ("damaged", &|| fs::write(&blob, &flipped).unwrap()),
        ("damaged", &|| fs::write(&blob, &sound[1..]).unwrap()),
        ("damaged", &|| fs::write(&blob, "").unwrap()),
        ("missing", &|| fs::remove_file(&blob).unwrap()),
    ];
    for (expected, damage) in damages {
        damage();
        let fault = registry.fetch(&version).await.unwrap_err();
        let Error::Corrupt { version: name, file, problem, .. } = &fault else { panic!("{fault}") };
        assert_eq!((name.as_str(), file.as_str(), *problem), ("weekly@1", "trees/own.bin", expected));
        assert!(fault.hint().unwrap().contains("register"), "{fault}");
        let report = registry.verify().await.unwrap();
        assert_eq!(report.findings.len(), 1, "{report:?}");
        assert!(report.findings[0].subject.contains("trees/own.bin"));
        // The same fit again puts the file back.
        assert_eq!(registry.register(new("weekly"), &folder).await.unwrap().number, 1);
        assert_sound(&registry).await;
    }
    registry.fetch(&version).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_cache_is_replaced() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::at(1)).await;
    let version = registry.register(new("weekly"), &artifact(dir.path(), "a")).await.unwrap();
    let folder = registry.fetch(&version).await.unwrap();
    let changes: [&dyn Fn(); 5] = [
        &|| fs::write(folder.join("shared.json"), "[1,2,4]").unwrap(),
        &|| fs::remove_file(folder.join("trees/own.bin")).unwrap(),
        &|| fs::write(folder.join("trees/more.bin"), "x").unwrap(),
        &|| {
            fs::remove_file(folder.join("shared.json")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", folder.join("shared.json")).unwrap();
        },
        &|| {
            fs::remove_dir_all(&folder).unwrap();
            fs::write(&folder, "a file in the way").unwrap();
        },
    ];
    for change in changes {
        change();
        let parts = futures::future::join_all((0..4).map(|_| registry.fetch(&version))).await;
        assert!(parts.into_iter().all(|p| p.unwrap() == folder));
        assert_eq!(fs::read_to_string(folder.join("shared.json")).unwrap(), "[1,2,3]");
        assert_eq!(fs::read_dir(folder.join("trees")).unwrap().count(), 1);
    }
    // Just used: spared. Unused for long: gone, and fetched again when it is wanted.
    registry.trim_cache(0).await.unwrap();
    assert!(folder.is_dir());
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    fs::File::open(&folder).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(registry.trim_cache(0).await.unwrap(), 0);
    assert!(!folder.exists());
    registry.fetch(&version).await.unwrap();
}

/// A small file system in memory; it is unmounted when this value goes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("skipped: this user may not mount a small disk");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let dir = tempfile::tempdir().unwrap();
    for fresh in databases::every().await {
        let place = disk.0.path().join(fresh.url.split(':').next().unwrap());
        let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
        let store = Store::open(place.to_str().unwrap()).unwrap();
        let registry = Registry::open(database, store).await.unwrap().with_cache(dir.path().join("cache"));
        registry.register(new("weekly"), &artifact(dir.path(), "small")).await.unwrap();
        let large = artifact(dir.path(), "large");
        fs::write(large.join("weights.bin"), vec![7; 2 << 20]).unwrap();
        let fault = registry.register(new("weekly"), &large).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Unavailable, "{fault}");
        assert_eq!(fs::read_dir(place.join("incoming")).unwrap().count(), 0, "nothing half written is left");
        assert_sound(&registry).await;
        // Room again once what was begun is collected.
        registry.collect_garbage(Duration::ZERO).await.unwrap();
        let next = registry.register(new("weekly"), &artifact(dir.path(), "next")).await.unwrap();
        assert_eq!(next.number, 2);
        assert_eq!(fetch_all(&registry).await, [1, 2]);
        drop(registry);
        fs::remove_dir_all(place).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_database_loses_no_acknowledged_version() {
    let Some(disk) = SmallDisk::mount("800k") else { return };
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/ops.db", disk.0.path().display());
    let registry = open(&url, dir.path(), Clock::system()).await;
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for n in 0..60 {
        let mut version = new("weekly");
        version.params = serde_json::json!({"long": "x".repeat(20_000)});
        match registry.register(version, &artifact(dir.path(), &format!("d{n}"))).await {
            Ok(version) => {
                acknowledged.push(version.number);
                let promoted =
                    registry.promote(&version.reference(), "champion", Expect::Anybody, &change()).await;
                assert!(promoted.is_ok_and(|p| p.to == Some(version.number)) || n > 0);
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
                refused += 1;
                if refused > 3 {
                    break;
                }
            }
        }
    }
    assert!(refused > 0 && !acknowledged.is_empty(), "{refused} refused of {}", acknowledged.len());
    registry.database().close().await;
    let registry = open(&url, dir.path(), Clock::system()).await;
    assert_sound(&registry).await;
    assert_eq!(fetch_all(&registry).await, acknowledged);
}
