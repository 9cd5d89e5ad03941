//! Producers and consumers as processes of their own, killed with -9 at random. At the end every event that was
//! acknowledged has its effect exactly once, and effects of a key are in order. Shared by the tests and the example.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tradewind_ingest::event_log::{
    self, Delivery, Event, EventLog, EventLogError, EventLogSettings, Idempotent, Position, Start,
};

/// How much of what.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) events: usize,
    pub(crate) kills: usize,
    pub(crate) batch: usize,
    /// Milliseconds a producer rests after each batch, so that there is time for kills.
    pub(crate) pace_ms: u64,
    /// Milliseconds between two kills.
    pub(crate) kill_ms: std::ops::Range<u64>,
    pub(crate) seed: u64,
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) kills: usize,
    /// Events without an effect.
    pub(crate) lost: usize,
    /// Events with more than one.
    pub(crate) twice: usize,
    /// Effects that came before an earlier one of their key.
    pub(crate) disordered: usize,
    /// Deliveries that had their effect already: how often it mattered.
    pub(crate) repeated: u64,
    pub(crate) seconds: u64,
}

const PRODUCERS: usize = 2;
const CONSUMERS: usize = 2;
const KEYS: usize = 50;
const SEEN_MAX: usize = 400_000;
/// Longest time without any effect before a run is given up.
const STUCK: Duration = Duration::from_secs(120);

/// Settings as processes are told them.
fn settings_of(address: &str, name: &str) -> EventLogSettings {
    EventLogSettings {
        address: address.to_owned(),
        name: name.to_owned(),
        deliveries_max: 1000,
        dedup_events: 300_000,
        retention_bytes: if address.is_empty() { 0 } else { 1 << 30 },
        segment_bytes: 8 << 20,
        lease_ms: 3000,
        ..EventLogSettings::default()
    }
}

/// Runs the plan on the log at `address` (empty: embedded, in `folder`). `process` starts this program again so that it
/// calls [`child`].
pub(crate) fn run(
    plan: &Plan,
    address: &str,
    name: &str,
    folder: &Path,
    process: &dyn Fn() -> Command,
) -> Outcome {
    let began = Instant::now();
    let start = |role: &str| -> Child {
        process()
            .env("TRADEWIND_FAULT_ROLE", role)
            .env("TRADEWIND_FAULT_FOLDER", folder)
            .env("TRADEWIND_FAULT_ADDRESS", address)
            .env("TRADEWIND_FAULT_NAME", name)
            .env("TRADEWIND_FAULT_EVENTS", plan.events.to_string())
            .env("TRADEWIND_FAULT_BATCH", plan.batch.to_string())
            .env("TRADEWIND_FAULT_PACE", plan.pace_ms.to_string())
            .spawn()
            .expect("a process")
    };
    // The embedded log has one process for everything.
    let roles: &[&str] = if address.is_empty() { &["all"] } else { &["0", "1", "consume", "consume"] };
    let mut children: Vec<(&str, Option<Child>)> = roles.iter().map(|r| (*r, Some(start(r)))).collect();
    let mut random = plan.seed | 1;
    let mut outcome = Outcome::default();
    let mut next_kill = Instant::now();
    let (mut effects, mut moved) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(20));
        for (role, child) in &mut children {
            if let Some(status) = child.as_mut().and_then(|c| c.try_wait().expect("a child")) {
                assert!(status.success(), "{role} ended by itself with {status}");
                *child = None;
            }
        }
        if outcome.kills < plan.kills && Instant::now() >= next_kill {
            let ms = plan.kill_ms.start + draw(&mut random) % (plan.kill_ms.end - plan.kill_ms.start);
            next_kill = Instant::now() + Duration::from_millis(ms);
            let n = draw(&mut random) as usize % children.len();
            let (role, slot) = &mut children[n];
            if let Some(child) = slot {
                child.kill().expect("a kill");
                child.wait().expect("its end");
                outcome.kills += 1;
                *slot = Some(start(role));
            }
        }
        let now = effect_bytes(folder);
        if now != effects {
            (effects, moved) = (now, Instant::now());
        }
        let producing = !(0..PRODUCERS).all(|p| acknowledged(folder, p) >= share(plan.events, p));
        let done = !producing && moved.elapsed() > Duration::from_secs(1) && {
            let (counts, _) = count(folder, plan.events);
            counts.iter().all(|c| *c > 0)
        };
        if done || moved.elapsed() > STUCK {
            break;
        }
    }
    // Whatever is still on its way may come now, and must not count again.
    std::fs::write(folder.join("stop"), "").expect("a file");
    for (_, child) in &mut children {
        if let Some(mut child) = child.take() {
            let until = Instant::now() + Duration::from_secs(60);
            while child.try_wait().expect("a child").is_none() {
                if Instant::now() > until {
                    child.kill().expect("a kill");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    let (counts, disordered) = count(folder, plan.events);
    outcome.lost = counts.iter().filter(|c| **c == 0).count();
    outcome.twice = counts.iter().filter(|c| **c > 1).count();
    outcome.disordered = disordered;
    outcome.repeated = std::fs::read(folder.join("repeated")).map_or(0, |b| b.len() as u64);
    outcome.seconds = began.elapsed().as_secs();
    outcome
}

fn share(events: usize, producer: usize) -> usize {
    (events + PRODUCERS - 1 - producer) / PRODUCERS
}

fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

/// What a started process does: its role stands in the environment. False if there is none.
pub(crate) fn child() -> bool {
    let Ok(role) = std::env::var("TRADEWIND_FAULT_ROLE") else { return false };
    let get = |name: &str| std::env::var(name).expect("a variable");
    let folder = PathBuf::from(get("TRADEWIND_FAULT_FOLDER"));
    let events: usize = get("TRADEWIND_FAULT_EVENTS").parse().expect("a number");
    let batch: usize = get("TRADEWIND_FAULT_BATCH").parse().expect("a number");
    let pace = Duration::from_millis(get("TRADEWIND_FAULT_PACE").parse().expect("a number"));
    let settings = settings_of(&get("TRADEWIND_FAULT_ADDRESS"), &get("TRADEWIND_FAULT_NAME"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let log = loop {
            match event_log::open(&settings, &folder.join("log")).await {
                Ok(log) => break log,
                Err(e @ EventLogError::Broker { .. }) => {
                    eprintln!("{role}: {e}");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                Err(e) => panic!("{role}: {e}"),
            }
        };
        match role.as_str() {
            "all" => {
                let mut tasks = tokio::task::JoinSet::new();
                for producer in 0..PRODUCERS {
                    let (log, folder) = (log.clone(), folder.clone());
                    tasks.spawn(async move { produce(&*log, &folder, producer, events, batch, pace).await });
                }
                for _ in 0..CONSUMERS {
                    let (log, folder) = (log.clone(), folder.clone());
                    tasks.spawn(async move { consume(&*log, &folder).await });
                }
                while let Some(done) = tasks.join_next().await {
                    done.expect("a task");
                }
            }
            "consume" => consume(&*log, &folder).await,
            producer => {
                let producer = producer.parse().expect("a number");
                produce(&*log, &folder, producer, events, batch, pace).await;
            }
        }
        log.close().await.expect("a close");
    });
    true
}

/// Event `number` of all: producers take turns, and each has its own keys.
fn event(number: usize) -> Event {
    let (producer, n) = (number % PRODUCERS, number / PRODUCERS);
    let payload = format!("{number:08}").repeat(12);
    Event::new(format!("f-{number}"), format!("{producer}-{}", n % KEYS), n as i64, payload)
}

fn acknowledged(folder: &Path, producer: usize) -> usize {
    let bytes = std::fs::read(folder.join(format!("acknowledged-{producer}"))).unwrap_or_default();
    bytes.try_into().map_or(0, |b| u64::from_le_bytes(b) as usize)
}

async fn produce(
    log: &dyn EventLog,
    folder: &Path,
    producer: usize,
    events: usize,
    batch: usize,
    pace: Duration,
) {
    let path = folder.join(format!("acknowledged-{producer}"));
    let mut note = OpenOptions::new().create(true).truncate(false).write(true).open(path).expect("a file");
    // What was acknowledged last may have been noted or not; a producer that is careful sends it again.
    let mut next = acknowledged(folder, producer).saturating_sub(2 * batch);
    let share = share(events, producer);
    while next < share {
        let end = (next + batch).min(share);
        let batch: Vec<Event> = (next..end).map(|n| event(n * PRODUCERS + producer)).collect();
        match log.append(&batch).await {
            Ok(_) => {
                next = end;
                if next > acknowledged(folder, producer) {
                    note.seek(SeekFrom::Start(0)).expect("a file");
                    note.write_all(&(next as u64).to_le_bytes()).expect("a file");
                }
                tokio::time::sleep(pace).await;
            }
            Err(e) => {
                eprintln!("producer {producer}: {e}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn consume(log: &dyn EventLog, folder: &Path) {
    let mut effects: HashMap<u32, Effects> = HashMap::new();
    let mut random = u64::from(std::process::id()) << 20 | 1;
    loop {
        let mut member = match log.join("effects", Start::Earliest).await {
            Ok(member) => member,
            Err(e) => {
                eprintln!("consumer: {e}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        loop {
            let batch = match member.read(2000, Duration::from_millis(300)).await {
                Ok(batch) => batch,
                Err(e @ (EventLogError::Lost { .. } | EventLogError::Damaged { .. })) => panic!("{e}"),
                Err(e) => {
                    eprintln!("consumer: {e}");
                    break;
                }
            };
            if batch.is_empty() && folder.join("stop").exists() {
                return;
            }
            let mut by_partition: BTreeMap<u32, Vec<Delivery>> = BTreeMap::new();
            for delivery in batch {
                by_partition.entry(delivery.position.partition).or_default().push(delivery);
            }
            let mut failed = Vec::new();
            for (partition, mut deliveries) in by_partition {
                // Now and then one fails: it comes again with all behind it.
                let n = draw(&mut random) as usize % 20_000;
                if deliveries.get(n).is_some_and(|d| d.failures == 0) {
                    failed.push(deliveries[n].position);
                    deliveries.truncate(n);
                }
                effects
                    .entry(partition)
                    .or_insert_with(|| Effects::new(folder, partition))
                    .apply(&deliveries);
            }
            let mut done = Ok(());
            for position in failed {
                done = done.and(member.fail(position, "chance").await.map(|_| ()));
            }
            if let Err(e) = done.and(member.commit().await) {
                eprintln!("consumer: {e}");
            }
        }
    }
}

/// The effects of one partition: the numbers of its events, in a file to which chunks are appended, each with a
/// checksum. Ids and effects are one, so they are kept together. Who died is a process and not the machine, so what was
/// written is there, but a chunk may be torn.
struct Effects {
    file: File,
    repeated: File,
    seen: Idempotent,
    known_bytes: u64,
}

impl Effects {
    fn new(folder: &Path, partition: u32) -> Self {
        let open = |name: String| {
            OpenOptions::new().create(true).read(true).append(true).open(folder.join(name)).expect("a file")
        };
        let (file, repeated) = (open(format!("effects-{partition}")), open("repeated".to_owned()));
        Self { file, repeated, seen: Idempotent::new(SEEN_MAX), known_bytes: 0 }
    }

    /// Applies what has no effect yet. The lock makes one step of it for a member that was thought dead, too.
    fn apply(&mut self, deliveries: &[Delivery]) {
        self.file.lock().expect("a lock");
        if self.file.metadata().expect("a file").len() != self.known_bytes {
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(0)).expect("a file");
            self.file.read_to_end(&mut bytes).expect("a file");
            let (numbers, whole) = chunks(&bytes);
            self.file.set_len(whole as u64).expect("a file");
            self.known_bytes = whole as u64;
            self.seen = Idempotent::new(SEEN_MAX);
            for number in numbers {
                let position = Position { partition: 0, offset: 0 };
                self.seen.record(&Delivery { position, failures: 0, event: event(number as usize) });
            }
        }
        let mut chunk = vec![0; 4];
        for delivery in deliveries {
            if self.seen.is_new(delivery) {
                let number: u32 = delivery.event.id[2..].parse().expect("a number");
                assert_eq!(delivery.event, event(number as usize));
                chunk.extend_from_slice(&number.to_le_bytes());
                self.seen.record(delivery);
            } else {
                self.repeated.write_all(b".").expect("a file");
            }
        }
        if chunk.len() > 4 {
            let count = (chunk.len() / 4 - 1) as u32;
            chunk[..4].copy_from_slice(&count.to_le_bytes());
            let sum = checksum(&chunk);
            chunk.extend_from_slice(&sum);
            self.file.write_all(&chunk).expect("a file");
            self.known_bytes += chunk.len() as u64;
        }
        self.file.unlock().expect("a lock");
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    sum.to_le_bytes()
}

/// The numbers in whole chunks, and where the last whole chunk ends.
fn chunks(bytes: &[u8]) -> (Vec<u32>, usize) {
    let (mut numbers, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 4) {
        let count = u32::from_le_bytes(head.try_into().expect("four")) as usize;
        let end = at + 4 + 4 * count;
        let (Some(chunk), Some(sum)) = (bytes.get(at..end), bytes.get(end..end + 8)) else { break };
        if checksum(chunk) != sum {
            break;
        }
        numbers.extend(chunk[4..].chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four"))));
        at = end + 8;
    }
    (numbers, at)
}

fn effect_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    entries.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("effects-"))).collect()
}

fn effect_bytes(folder: &Path) -> u64 {
    effect_files(folder).iter().map(|p| p.metadata().map_or(0, |m| m.len())).sum()
}

/// How often each event had its effect, and how many came before an earlier one of their key.
fn count(folder: &Path, events: usize) -> (Vec<u32>, usize) {
    let mut counts = vec![0; events];
    let mut disordered = 0;
    for path in effect_files(folder) {
        let mut last: HashMap<(usize, usize), usize> = HashMap::new();
        for number in chunks(&std::fs::read(path).expect("a file")).0 {
            let number = number as usize;
            counts[number] += 1;
            let (producer, n) = (number % PRODUCERS, number / PRODUCERS);
            if last.insert((producer, n % KEYS), n).is_some_and(|before| before >= n) {
                disordered += 1;
            }
        }
    }
    (counts, disordered)
}
