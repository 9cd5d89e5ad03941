//! The embedded log: segment files in a folder.
//!
//! ```text
//! log/
//!   log.json                      format, partitions
//!   lock                          held by the one process that has the log open
//!   00000000000000000000.log      events 0 … with their .index once full
//!   groups/<group>.json           where a group is, in each partition
//!   dead/<group>/<number>.letter  dead letters
//!   torn/                         tails cut off after a crash, kept to look at
//!   closed                        the length of the last segment, after a close in order
//! ```
//!
//! Events have one numbering; the partition of an event is computed from its key. One thread writes; members read the
//! files themselves, up to what is on disk.

use super::dead::DeadLetters;
use super::error::{EventLogError, Result};
use super::frame::{self, HEAD_BYTES};
use super::group::{Group, GroupMember};
use super::segment::{Extent, Segment, sync_folder, write_whole};
use super::settings::EventLogSettings;
use super::window::Window;
use super::writer::{Disk, Request, Tail, Unsynced, Writer};
use super::{
    Appended, DeadLetter, Event, EventLog, GroupMetrics, LogMetrics, Member, Start, check, check_group,
    id_hash, now_ms, partition_of,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Requests that wait for the writer.
const REQUESTS_MAX: usize = 4096;
/// Bytes of events that wait for the writer; more appends wait outside.
const WAITING_KIB_MAX: u32 = 128 * 1024;

/// What was found when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes cut off behind the last whole frame: a write that a crash interrupted, never acknowledged.
    pub torn_bytes: u64,
    /// Where they were kept.
    pub torn_file: Option<PathBuf>,
    /// Segments whose index was made anew.
    pub indexes_made: usize,
}

/// What the writer, the members and the callers share.
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) settings: EventLogSettings,
    pub(crate) partitions: u32,
    /// From the oldest to the one being written; never empty.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    /// Events of each partition that are on disk, since the log was made.
    pub(crate) totals: Mutex<Vec<u64>>,
    /// The number behind the last event on disk.
    next: watch::Sender<u64>,
    pub(crate) groups: Mutex<BTreeMap<String, Arc<Group>>>,
    pub(crate) dead: DeadLetters,
    pub(crate) appended: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    closed: AtomicBool,
    lock: Mutex<Option<FolderLock>>,
    #[cfg(test)]
    pub(crate) faults: Arc<super::writer::Faults>,
}

impl Shared {
    pub(crate) fn on_disk(&self) -> u64 {
        *self.next.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Lets members see what is on disk now.
    pub(crate) fn show(&self, totals: &[u64], next: u64) {
        self.totals.lock().copy_from_slice(totals);
        self.next.send_replace(next);
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(EventLogError::Closed) } else { Ok(()) }
    }

    /// Lets go of the folder.
    pub(crate) fn let_go(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.lock.lock().take();
        self.next.send_modify(|_| ());
    }

    /// Notes that the log ends in order.
    pub(crate) fn mark_closed(&self, segment: &Segment) -> Result<()> {
        let closed = Closed { segment: segment.base, bytes: segment.extent.read().bytes };
        write_json(&self.folder.join("closed"), &closed)
    }

    /// Events written before `number`, of each partition, as far as segments begin there: used where groups begin.
    pub(crate) fn oldest(&self) -> (u64, Vec<u64>) {
        let segments = self.segments.read();
        segments.first().map_or((0, vec![0; self.partitions as usize]), |s| (s.base, s.counts.clone()))
    }

    /// Removes the oldest segments as retention says. How many.
    pub(crate) fn retain(&self, now: i64) -> Result<usize> {
        let settings = &self.settings;
        let age_max = i64::try_from(settings.retention_ms).unwrap_or(i64::MAX);
        let mut removed = 0;
        loop {
            let segments = self.segments.read().clone();
            let [oldest, _, ..] = &segments[..] else { break };
            let bytes: u64 = segments.iter().map(|s| s.extent.read().bytes).sum();
            let (last_ms, behind) = {
                let extent = oldest.extent.read();
                (extent.last_ms, extent.next)
            };
            let too_many = settings.retention_bytes > 0 && bytes > settings.retention_bytes;
            let too_old = settings.retention_ms > 0 && now.saturating_sub(last_ms) > age_max;
            if !too_many && !too_old {
                break;
            }
            // A group that lags holds the log back, but not for ever.
            let must = settings.retention_bytes > 0 && bytes / 2 > settings.retention_bytes;
            let read_by_all = self.groups.lock().values().all(|g| g.committed_min() >= behind);
            if !must && !read_by_all {
                break;
            }
            self.segments.write().retain(|s| s.base != oldest.base);
            std::fs::remove_file(&oldest.path).map_err(|e| EventLogError::file(&oldest.path, "remove", e))?;
            let _ = std::fs::remove_file(oldest.index_path());
            removed += 1;
        }
        Ok(removed)
    }
}

/// A log in a folder of this machine: see the [module](super).
pub struct EmbeddedLog {
    pub(crate) shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    recovery: Recovery,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    partitions: u32,
}

#[derive(Serialize, Deserialize)]
struct Closed {
    segment: u64,
    bytes: u64,
}

impl EmbeddedLog {
    /// Opens the log in `folder`, and makes it if there is none. A tail that a crash left half written is cut off.
    ///
    /// # Errors
    /// When another process has it open, its partitions differ from the settings, or what was acknowledged is damaged.
    pub async fn open(settings: &EventLogSettings, folder: &Path) -> Result<Self> {
        settings.check()?;
        let (settings, folder) = (settings.clone(), folder.to_owned());
        tokio::task::spawn_blocking(move || Self::open_now(settings, folder))
            .await
            .unwrap_or(Err(EventLogError::Closed))
    }

    fn open_now(settings: EventLogSettings, folder: PathBuf) -> Result<Self> {
        for folder in [folder.clone(), folder.join("groups"), folder.join("dead")] {
            std::fs::create_dir_all(&folder).map_err(|e| EventLogError::file(&folder, "make", e))?;
        }
        let lock = lock(&folder)?;
        let description = describe(&folder, &settings)?;
        let closed = take_closed(&folder)?;
        let mut recovery = Recovery::default();
        let segments = load_segments(&folder, description.partitions, closed.as_ref(), &mut recovery)?;
        let dead = DeadLetters::new(folder.join("dead"), settings.dead_letters_max);

        let mut active = segments.last().cloned();
        let mut totals =
            active.as_ref().map_or(vec![0; description.partitions as usize], |s| s.counts.clone());
        if let Some(segment) = &active {
            let to = segment.extent.read().bytes;
            segment.scan(segment.first_byte(), to, &mut |met| {
                for record in &met.records {
                    totals[partition_of(&record.event.key, description.partitions) as usize] += 1;
                }
                ControlFlow::Continue(())
            })?;
        }
        let shared_groups = Group::load_all(&folder.join("groups"), description.partitions)?;
        // A group can only be beyond the end if the end was lost with the disk; numbers must not be used twice then.
        let beyond = shared_groups.iter().map(Group::committed_max).max().unwrap_or(0);
        let next = active.as_ref().map_or(0, |s| s.extent.read().next).max(beyond);
        if let Some(segment) = &active {
            leave_gap(segment, next)?;
        }

        let mut segments = segments;
        let last_ms = active.as_ref().map_or_else(now_ms, |s| s.extent.read().last_ms.max(s.created_ms));
        let segment = match active.take() {
            Some(segment) => segment,
            None => {
                let segment = Arc::new(Segment::create(&folder, next, last_ms, &totals)?);
                segments.push(segment.clone());
                segment
            }
        };
        let mut window = Window::new(settings.dedup_events, settings.dedup_ms);
        fill(&mut window, &segments, &settings)?;

        let groups = shared_groups.into_iter().map(|g| (g.name.clone(), Arc::new(g))).collect();
        let shared = Arc::new(Shared {
            folder,
            partitions: description.partitions,
            segments: RwLock::new(segments),
            totals: Mutex::new(totals.clone()),
            next: watch::Sender::new(next),
            groups: Mutex::new(groups),
            dead,
            appended: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
            settings,
            #[cfg(test)]
            faults: Arc::default(),
        });
        let writer = Writer {
            disk: Disk::open(&segment.path, &shared)?,
            shared: shared.clone(),
            segment,
            window,
            totals,
            next,
            last_ms,
            unsynced: Unsynced::default(),
            tail: Tail::Right,
        };
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let thread = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|e| EventLogError::file(&shared.folder, "start the writer of", e))?;
        Ok(Self {
            shared,
            requests,
            room: Arc::new(Semaphore::new(WAITING_KIB_MAX as usize)),
            recovery,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// What was found when the log was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Removes now what retention lets go; it is done every ten seconds anyway. How many segments went.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn retain(&self) -> Result<usize> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Retain { reply }).await.map_err(|_| EventLogError::Closed)?;
        answer.await.unwrap_or(Err(EventLogError::Closed))
    }

    async fn write(&self, events: Vec<Event>, only_for: String) -> Result<Appended> {
        self.shared.check_open()?;
        if events.is_empty() {
            return Ok(Appended::default());
        }
        let kib = events.iter().map(Event::bytes).sum::<usize>() / 1024 + 1;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).min(WAITING_KIB_MAX);
        let room = self.room.clone().acquire_many_owned(kib).await.map_err(|_| EventLogError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Append { events, only_for, reply, _room: Some(room) };
        self.requests.send(request).await.map_err(|_| EventLogError::Closed)?;
        answer.await.unwrap_or(Err(EventLogError::Closed))
    }
}

impl EventLog for EmbeddedLog {
    fn append<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Result<Appended>> {
        Box::pin(async move {
            check(events)?;
            self.write(events.to_vec(), String::new()).await
        })
    }

    fn join<'a>(&'a self, group: &'a str, start: Start) -> BoxFuture<'a, Result<Box<dyn Member>>> {
        Box::pin(async move {
            check_group(group)?;
            self.shared.check_open()?;
            let (shared, name) = (self.shared.clone(), group.to_owned());
            let member = blocking(move || {
                let mut groups = shared.groups.lock();
                let group = match groups.get(&name) {
                    Some(group) => group.clone(),
                    None => {
                        let (next, counts) = match start {
                            Start::Earliest => shared.oldest(),
                            Start::Latest => {
                                let totals = shared.totals.lock();
                                (shared.on_disk(), totals.clone())
                            }
                        };
                        let group =
                            Arc::new(Group::new(&shared.folder.join("groups"), &name, next, &counts)?);
                        groups.insert(name, group.clone());
                        group
                    }
                };
                drop(groups);
                Ok(GroupMember::new(shared, group))
            })
            .await?;
            Ok(Box::new(member) as Box<dyn Member>)
        })
    }

    fn dead_letters<'a>(
        &'a self,
        group: &'a str,
        letters_max: usize,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            check_group(group)?;
            let (shared, group) = (self.shared.clone(), group.to_owned());
            blocking(move || shared.dead.list(&group, letters_max)).await
        })
    }

    fn replay<'a>(&'a self, group: &'a str, numbers: &'a [u64]) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            check_group(group)?;
            let mut replayed = 0;
            // One by one: a letter is removed when its event is in the log, so a crash between repeats one at most.
            for number in numbers {
                let (shared, name, number) = (self.shared.clone(), group.to_owned(), *number);
                let Some(letter) = blocking(move || shared.dead.read(&name, number)).await? else { continue };
                self.write(vec![letter.event], group.to_owned()).await?;
                let (shared, name) = (self.shared.clone(), group.to_owned());
                blocking(move || shared.dead.delete(&name, number)).await?;
                replayed += 1;
            }
            Ok(replayed)
        })
    }

    fn delete_dead_letters<'a>(&'a self, group: &'a str, numbers: &'a [u64]) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            check_group(group)?;
            let (shared, group, numbers) = (self.shared.clone(), group.to_owned(), numbers.to_vec());
            blocking(move || {
                let mut deleted = 0;
                for number in numbers {
                    deleted += usize::from(shared.dead.delete(&group, number)?);
                }
                Ok(deleted)
            })
            .await
        })
    }

    fn metrics(&self) -> BoxFuture<'_, Result<LogMetrics>> {
        Box::pin(async move {
            let shared = self.shared.clone();
            blocking(move || {
                let groups: Vec<_> = shared.groups.lock().values().cloned().collect();
                let totals = shared.totals.lock().clone();
                let (_, before) = shared.oldest();
                let sum = |counts: &[u64]| counts.iter().sum::<u64>();
                Ok(LogMetrics {
                    events: sum(&totals).saturating_sub(sum(&before)),
                    bytes: shared.segments.read().iter().map(|s| s.extent.read().bytes).sum(),
                    appended: shared.appended.load(Ordering::Relaxed),
                    duplicates: shared.duplicates.load(Ordering::Relaxed),
                    groups: groups
                        .into_iter()
                        .map(|g| {
                            let dead_letters = shared.dead.count(&g.name)? as u64;
                            Ok(GroupMetrics { group: g.name.clone(), lag: g.lag(&totals), dead_letters })
                        })
                        .collect::<Result<_>>()?,
                })
            })
            .await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            if self.requests.send(Request::Close { reply }).await.is_err() {
                return Ok(());
            }
            answer.await.unwrap_or(Ok(()))
        })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // The writer ends when nobody can ask any more; it writes out and lets go of the folder.
        let (gone, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, gone));
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

/// Runs what waits for the disk where it does not hold up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(EventLogError::Closed))
}

/// The right to have the log open, until it is dropped.
#[derive(Debug)]
pub(crate) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that another thread has just forked holds the file until it runs its
        // program.
        let _ = self.0.unlock();
    }
}

/// Holds the folder for this process.
pub(crate) fn lock(folder: &Path) -> Result<FolderLock> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| EventLogError::file(&path, "open", e))?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(EventLogError::InUse { path }),
        Err(std::fs::TryLockError::Error(e)) => Err(EventLogError::file(&path, "lock", e)),
    }
}

/// Reads what the log says of itself, or says it of a new one.
fn describe(folder: &Path, settings: &EventLogSettings) -> Result<Description> {
    let path = folder.join("log.json");
    let damaged = |why: String| EventLogError::Damaged { path: path.clone(), offset: 0, why };
    match std::fs::read(&path) {
        Ok(bytes) => {
            let found: Description = serde_json::from_slice(&bytes)
                .map_err(|_| damaged("this describes no event log".to_owned()))?;
            if found.format != 1 {
                return Err(damaged(format!(
                    "format {} is unknown; this Tradewind reads format 1",
                    found.format
                )));
            }
            if found.partitions != settings.partitions {
                return Err(EventLogError::Setting {
                    name: "partitions",
                    got: settings.partitions.to_string(),
                    allowed: format!(
                        "{}, with which the log in {} was made",
                        found.partitions,
                        folder.display()
                    ),
                });
            }
            Ok(found)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if !segment_files(folder)?.is_empty() {
                return Err(damaged("it is missing beside segments".to_owned()));
            }
            let description = Description { format: 1, partitions: settings.partitions };
            write_json(&path, &description)?;
            Ok(description)
        }
        Err(e) => Err(EventLogError::file(&path, "read", e)),
    }
}

/// A name that nothing else has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = blake3::Hasher::new();
    // The address of a fresh allocation and the keys of a fresh hash map differ between processes.
    let keys = std::hash::RandomState::new();
    hasher.update(&std::hash::BuildHasher::hash_one(&keys, now_ms()).to_le_bytes());
    hasher.update(&chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default().to_le_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    hasher.update(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    hasher.finalize().to_hex()[..24].to_owned()
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value)
        .map_err(|e| EventLogError::file(path, "write", std::io::Error::other(e)))?;
    write_whole(path, &bytes)
}

/// What the last close noted; the note is gone afterwards, since the log will be written to.
fn take_closed(folder: &Path) -> Result<Option<Closed>> {
    let path = folder.join("closed");
    match std::fs::read(&path) {
        Ok(bytes) => {
            std::fs::remove_file(&path).map_err(|e| EventLogError::file(&path, "remove", e))?;
            sync_folder(&path)?;
            Ok(serde_json::from_slice(&bytes).ok())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(EventLogError::file(&path, "read", e)),
    }
}

/// The segment files of a folder, oldest first.
pub(crate) fn segment_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let fault = |e| EventLogError::file(folder, "list", e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|e| e == "log") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn load_segments(
    folder: &Path,
    partitions: u32,
    closed: Option<&Closed>,
    recovery: &mut Recovery,
) -> Result<Vec<Arc<Segment>>> {
    let files = segment_files(folder)?;
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(files.len());
    for (i, path) in files.iter().enumerate() {
        let segment = Segment::open(path)?;
        let damaged = |offset: u64, why: &str| EventLogError::Damaged {
            path: path.clone(),
            offset,
            why: why.to_owned(),
        };
        if segment.counts.len() != partitions as usize {
            return Err(damaged(0, "it has another number of partitions than the log"));
        }
        if let Some(next) = segments.last().map(|s| s.extent.read().next)
            && next != segment.base
        {
            let why =
                format!("it begins with event {}; the segment before it ends before {next}", segment.base);
            return Err(damaged(0, &why));
        }
        let length = std::fs::metadata(path).map_err(|e| EventLogError::file(path, "read", e))?.len();
        if i + 1 < files.len() {
            if !segment.load_index() {
                let extent = survey(&segment, length)?;
                *segment.extent.write() = extent;
                segment.save_index()?;
                recovery.indexes_made += 1;
            }
            let written = segment.extent.read().bytes;
            if length != written {
                let why = format!("the file has {length} bytes, {written} were written");
                return Err(damaged(length.min(written), &why));
            }
        } else {
            let closed = closed.filter(|c| c.segment == segment.base).map(|c| c.bytes);
            recover(&segment, length, closed, recovery)?;
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

/// Goes through a whole segment: what it holds.
fn survey(segment: &Segment, length: u64) -> Result<Extent> {
    let found = Segment {
        path: segment.path.clone(),
        base: segment.base,
        created_ms: segment.created_ms,
        counts: segment.counts.clone(),
        extent: RwLock::new(segment.extent.read().clone()),
    };
    segment.scan(segment.first_byte(), length, &mut |met| {
        let next = met.head.first + u64::from(met.head.records);
        found.grow(&[(met.head.first, met.at)], met.end, next, met.head.append_ms);
        ControlFlow::Continue(())
    })?;
    Ok(found.extent.into_inner())
}

/// Finds the end of the last segment. Behind the last whole frame there may be a write that a crash interrupted: it is
/// cut off and kept aside. Anything else that is not right is damage.
fn recover(segment: &Segment, length: u64, closed: Option<u64>, recovery: &mut Recovery) -> Result<()> {
    let path = &segment.path;
    let damage = survey_to_fault(segment, length)?;
    let end = segment.extent.read().bytes;
    let damaged = |why: String| EventLogError::Damaged { path: path.clone(), offset: end, why };
    if let Some(bytes) = closed
        && bytes != end
    {
        return Err(damaged(format!("the log was closed with {bytes} bytes here")));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| EventLogError::file(path, "open", e))?;
    let Some(why) = damage else {
        // What a process that was killed had written may not be on disk yet; from now on it is shown to members.
        return file.sync_all().map_err(|e| EventLogError::file(path, "sync", e));
    };
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(end))
        .and_then(|_| file.read_to_end(&mut rest))
        .map_err(|e| EventLogError::file(path, "read", e))?;
    let rest = Bytes::from(rest);
    // A later frame that was begun when the damaged one was on disk already: no torn write, but lost data.
    let next = segment.extent.read().next;
    let mut from = 0;
    while let Some((at, head)) = frame::next_whole(&rest, from) {
        if head.on_disk > next {
            return Err(damaged(why));
        }
        from = at + HEAD_BYTES;
    }
    let folder = path.with_file_name("torn");
    std::fs::create_dir_all(&folder).map_err(|e| EventLogError::file(&folder, "make", e))?;
    let kept = folder.join(format!("{:020}-{end}-{}.bytes", segment.base, now_ms()));
    write_whole(&kept, &rest)?;
    file.set_len(end).and_then(|()| file.sync_all()).map_err(|e| EventLogError::file(path, "write", e))?;
    tracing::warn!(file = %path.display(), bytes = rest.len(), "a write that was interrupted was cut off the event log");
    recovery.torn_bytes = rest.len() as u64;
    recovery.torn_file = Some(kept);
    Ok(())
}

/// Takes in all frames up to the first that is not right; why it is not.
fn survey_to_fault(segment: &Segment, length: u64) -> Result<Option<String>> {
    let grown = |met: super::segment::Met| {
        let next = met.head.first + u64::from(met.head.records);
        segment.grow(&[(met.head.first, met.at)], met.end, next, met.head.append_ms);
        ControlFlow::Continue(())
    };
    match segment.scan(segment.first_byte(), length, &mut { grown }) {
        Ok(()) => Ok(None),
        Err(EventLogError::Damaged { why, .. }) => Ok(Some(why)),
        Err(e) => Err(e),
    }
}

/// Notes in the segment that numbers before `next` are missing, if they are.
fn leave_gap(segment: &Segment, next: u64) -> Result<()> {
    let (bytes, end, last_ms) = {
        let extent = segment.extent.read();
        (extent.bytes, extent.next, extent.last_ms)
    };
    if next > end {
        let frame = frame::gap(next, last_ms);
        OpenOptions::new()
            .write(true)
            .open(&segment.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(bytes))?;
                file.write_all(&frame)?;
                file.sync_all()
            })
            .map_err(|e| EventLogError::file(&segment.path, "write", e))?;
        segment.grow(&[(next, bytes)], bytes + frame.len() as u64, next, last_ms);
    }
    Ok(())
}

/// Remembers the ids of the last events.
fn fill(window: &mut Window, segments: &[Arc<Segment>], settings: &EventLogSettings) -> Result<()> {
    if settings.dedup_events == 0 {
        return Ok(());
    }
    let age_max = i64::try_from(settings.dedup_ms).unwrap_or(i64::MAX);
    let now = now_ms();
    let end = segments.last().map_or(0, |s| s.extent.read().next);
    let least = end.saturating_sub(settings.dedup_events as u64);
    for segment in segments {
        let (to, next, last_ms) = {
            let extent = segment.extent.read();
            (extent.bytes, extent.next, extent.last_ms)
        };
        if next <= least || now.saturating_sub(last_ms) > age_max {
            continue;
        }
        segment.scan(segment.byte_of(least.max(segment.base)), to, &mut |met| {
            if now.saturating_sub(met.head.append_ms) <= age_max {
                for record in met.records.iter().filter(|r| r.only_for.is_empty()) {
                    window.insert(id_hash(&record.event.id), met.head.append_ms);
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_although_a_forked_child_still_holds_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let childs = held.0.try_clone().unwrap();
        assert!(matches!(lock(folder.path()), Err(EventLogError::InUse { .. })));
        drop(held);
        lock(folder.path()).unwrap();
        drop(childs);
    }
}
