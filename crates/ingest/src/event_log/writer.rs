//! The one thread that writes the embedded log.
//!
//! It takes all requests that wait, writes them as frames with one call, syncs once, and answers them: under load many
//! appends share one sync. What could not be written or synced is cut off again, so that the file never holds an event
//! that was refused and is not known to be whole.

use super::embedded::Shared;
use super::error::{EventLogError, Result};
use super::frame::{FrameBuilder, Frames};
use super::segment::Segment;
use super::settings::Fsync;
use super::window::Window;
use super::{Appended, Event, id_hash, partition_of};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Bytes of requests that are written and synced together.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Bytes written and not synced, at which a sync is due before its time.
const UNSYNCED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Time between two looks at what may be removed.
const RETENTION_EVERY: Duration = Duration::from_secs(10);

/// What the writer is asked.
pub(crate) enum Request {
    Append {
        events: Vec<Event>,
        /// The group that is meant, of events replayed: their ids have been seen, and they are written all the same.
        only_for: String,
        reply: oneshot::Sender<Result<Appended>>,
        _room: Option<OwnedSemaphorePermit>,
    },
    /// Looks now at what may be removed.
    Retain {
        reply: oneshot::Sender<Result<usize>>,
    },
    Close {
        reply: oneshot::Sender<Result<()>>,
    },
}

/// The file being written. In tests it can be told to fail.
pub(crate) struct Disk {
    file: File,
    #[cfg(test)]
    pub(crate) faults: Arc<Faults>,
}

/// What a test makes the disk do.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Faults {
    /// Bytes that still find room, if bounded.
    pub(crate) room: parking_lot::Mutex<Option<usize>>,
    /// Syncs that fail from now on.
    pub(crate) failing_syncs: std::sync::atomic::AtomicUsize,
}

impl Disk {
    pub(crate) fn open(path: &Path, shared: &Shared) -> Result<Self> {
        let file =
            OpenOptions::new().write(true).open(path).map_err(|e| EventLogError::file(path, "open", e))?;
        let _ = shared;
        Ok(Self {
            file,
            #[cfg(test)]
            faults: shared.faults.clone(),
        })
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        #[cfg(test)]
        if let Some(room) = self.faults.room.lock().as_mut() {
            let fits = bytes.len().min(*room);
            *room -= fits;
            self.file.write_all(&bytes[..fits])?;
            if fits < bytes.len() {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            return Ok(());
        }
        self.file.write_all(bytes)
    }

    fn sync(&self) -> std::io::Result<()> {
        #[cfg(test)]
        {
            let left = &self.faults.failing_syncs;
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                return Err(std::io::Error::other("a sync that fails"));
            }
        }
        self.file.sync_data()
    }

    fn cut(&self, bytes: u64) -> std::io::Result<()> {
        self.file.set_len(bytes)
    }
}

/// Everything only the writing thread touches.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Disk,
    pub(crate) segment: Arc<Segment>,
    pub(crate) window: Window,
    /// Events of each partition so far, those not yet on disk included.
    pub(crate) totals: Vec<u64>,
    /// The number of the next event.
    pub(crate) next: u64,
    /// Append times never fall, whatever the clock does.
    pub(crate) last_ms: i64,
    /// Written and not known to be on disk.
    pub(crate) unsynced: Unsynced,
    pub(crate) tail: Tail,
}

/// Whether the file ends as it should.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// It does.
    Right,
    /// A write that failed may have left bytes behind what is wanted.
    Longer,
    /// A sync failed: nobody knows what is on disk behind what was.
    Unknown,
}

/// What was written since the last sync.
#[derive(Default)]
pub(crate) struct Unsynced {
    bytes: Vec<u8>,
    frames: Vec<(u64, u64)>,
    since: Option<Instant>,
}

type Waiting = (oneshot::Sender<Result<Appended>>, Appended);

impl Writer {
    /// Serves until everybody who could ask is gone, or someone closes.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        let mut retained = Instant::now();
        loop {
            let pause = match (self.shared.settings.fsync, self.unsynced.since) {
                (Fsync::Every { ms }, Some(since)) => {
                    Duration::from_millis(ms).saturating_sub(since.elapsed())
                }
                _ => RETENTION_EVERY.saturating_sub(retained.elapsed()),
            };
            let mut request =
                match runtime.block_on(async { tokio::time::timeout(pause, requests.recv()).await }) {
                    Ok(Some(request)) => Some(request),
                    Ok(None) => break,
                    Err(_) => None,
                };
            if let Some(first @ Request::Append { .. }) = request {
                request = self.serve(first, &mut requests);
            }
            match request {
                Some(Request::Close { reply }) => {
                    requests.close();
                    let done = self.finish();
                    self.shared.let_go();
                    let _ = reply.send(done);
                    return;
                }
                Some(Request::Retain { reply }) => {
                    let now = self.now_ms();
                    let _ = reply.send(self.shared.retain(now));
                }
                _ => {}
            }
            if let (Fsync::Every { ms }, Some(since)) = (self.shared.settings.fsync, self.unsynced.since) {
                let due = since.elapsed() >= Duration::from_millis(ms)
                    || self.unsynced.bytes.len() > UNSYNCED_BYTES_MAX;
                if due && let Err(e) = self.sync() {
                    tracing::error!(error = %e, "events written are not on disk yet; it is tried again");
                    self.unsynced.since = Some(Instant::now());
                }
            }
            if retained.elapsed() >= RETENTION_EVERY {
                retained = Instant::now();
                let now = self.now_ms();
                if let Err(e) = self.shared.retain(now) {
                    tracing::warn!(error = %e, "old events could not be removed");
                }
            }
        }
        if let Err(e) = self.finish() {
            tracing::error!(error = %e, "the event log could not be closed in order");
        }
        self.shared.let_go();
    }

    /// Takes the appends that wait, writes them, answers them. What else was asked is given back.
    fn serve(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
        let mut waiting = Vec::new();
        let mut rooms = Vec::new();
        let mut other = None;
        let mut frames = FrameBuilder::new(self.next, self.now_ms(), self.shared.on_disk());
        let (mut bytes, mut ids) = (0, 0);
        let before = self.totals.clone();
        let mut request = Some(first);
        while let Some(Request::Append { events, only_for, reply, _room }) = request {
            let mut appended = Appended::default();
            for event in &events {
                if only_for.is_empty() && self.shared.settings.dedup_events > 0 {
                    let id = id_hash(&event.id);
                    if self.window.holds(id) {
                        appended.duplicates += 1;
                        continue;
                    }
                    self.window.insert(id, self.last_ms);
                    ids += 1;
                }
                frames.push(event, &only_for);
                let partition = partition_of(&event.key, self.shared.partitions);
                self.totals[partition as usize] += 1;
                bytes += event.bytes();
                appended.written += 1;
            }
            waiting.push((reply, appended));
            rooms.push(_room);
            request = if bytes < GROUP_BYTES { requests.try_recv().ok() } else { None };
            if !matches!(request, Some(Request::Append { .. })) {
                other = request.take();
            }
        }
        match self.write(&frames.finish()) {
            Ok(()) => self.answer(waiting),
            Err(e) => {
                self.window.take_back(ids);
                self.totals = before;
                for (reply, _) in waiting {
                    let _ = reply.send(Err(e.again()));
                }
            }
        }
        drop(rooms);
        other
    }

    fn answer(&self, waiting: Vec<Waiting>) {
        for (reply, appended) in waiting {
            self.shared.appended.fetch_add(appended.written as u64, Ordering::Relaxed);
            self.shared.duplicates.fetch_add(appended.duplicates as u64, Ordering::Relaxed);
            let _ = reply.send(Ok(appended));
        }
    }

    /// Writes frames behind what is there; with `always` they are on disk afterwards.
    fn write(&mut self, Frames { bytes, starts, next }: &Frames) -> Result<()> {
        self.restore()?;
        self.roll_if_full()?;
        let always = self.shared.settings.fsync == Fsync::Always;
        if bytes.is_empty() {
            // Duplicates alone: they may wait for the sync of their first copy.
            return Ok(());
        }
        let at = self.segment.extent.read().bytes + self.unsynced.bytes.len() as u64;
        if let Err(e) = self.disk.write_at(at, bytes) {
            self.tail = if self.tail == Tail::Right { Tail::Longer } else { self.tail };
            // What it holds too much is cut off now if that is possible, before the next write if not.
            let _ = self.restore();
            return Err(EventLogError::file(&self.segment.path, "write", e));
        }
        let kept = (self.unsynced.bytes.len(), self.unsynced.frames.len(), self.next);
        self.unsynced.frames.extend(starts.iter().map(|(first, start)| (*first, at + *start as u64)));
        self.unsynced.bytes.extend_from_slice(bytes);
        self.unsynced.since.get_or_insert_with(Instant::now);
        self.next = *next;
        if always && let Err(e) = self.sync() {
            self.unsynced.bytes.truncate(kept.0);
            self.unsynced.frames.truncate(kept.1);
            self.unsynced.since = None;
            self.next = kept.2;
            let _ = self.restore();
            return Err(e);
        }
        Ok(())
    }

    /// Asks the disk to keep what was written, then shows it to members.
    fn sync(&mut self) -> Result<()> {
        self.restore()?;
        if self.unsynced.bytes.is_empty() {
            self.unsynced.since = None;
            return Ok(());
        }
        if let Err(e) = self.disk.sync() {
            // After a failed sync the system may believe that pages are on disk which are not: they are written again.
            self.tail = Tail::Unknown;
            return Err(EventLogError::file(&self.segment.path, "sync", e));
        }
        let bytes = self.segment.extent.read().bytes + self.unsynced.bytes.len() as u64;
        self.segment.grow(&self.unsynced.frames, bytes, self.next, self.last_ms);
        self.unsynced = Unsynced::default();
        self.shared.show(&self.totals, self.next);
        Ok(())
    }

    /// Cuts off what should not be there and writes again what may not be.
    fn restore(&mut self) -> Result<()> {
        let bytes = self.segment.extent.read().bytes;
        let fault = |e| EventLogError::file(&self.segment.path, "write", e);
        match self.tail {
            Tail::Right => return Ok(()),
            Tail::Longer => self.disk.cut(bytes + self.unsynced.bytes.len() as u64).map_err(fault)?,
            Tail::Unknown => {
                self.disk.cut(bytes).map_err(fault)?;
                self.disk.write_at(bytes, &self.unsynced.bytes).map_err(fault)?;
                self.disk.sync().map_err(fault)?;
            }
        }
        self.tail = Tail::Right;
        Ok(())
    }

    /// Begins another segment when this one is full.
    fn roll_if_full(&mut self) -> Result<()> {
        let bytes = self.segment.extent.read().bytes + self.unsynced.bytes.len() as u64;
        if bytes < self.shared.settings.segment_bytes {
            return Ok(());
        }
        self.sync()?;
        self.segment.save_index()?;
        let base = self.next.max(self.segment.base + 1);
        // Totals of the group that is being written are not in here: it goes into the new segment.
        let totals = self.shared.totals.lock().clone();
        let segment = Arc::new(Segment::create(&self.shared.folder, base, self.last_ms, &totals)?);
        self.disk = Disk::open(&segment.path, &self.shared)?;
        self.shared.segments.write().push(segment.clone());
        self.segment = segment;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.sync()?;
        self.shared.mark_closed(&self.segment)
    }

    fn now_ms(&mut self) -> i64 {
        self.last_ms = self.last_ms.max(super::now_ms());
        self.last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EmbeddedLog, Event, EventLog, EventLogError, EventLogSettings, Fsync, Start};
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn event(i: usize) -> Event {
        Event::new(format!("e{i}"), format!("{}", i % 3), 0, vec![i as u8; 500])
    }

    async fn all(log: &EmbeddedLog, group: &str) -> Vec<String> {
        let mut member = log.join(group, Start::Earliest).await.unwrap();
        let batch = member.read(10_000, Duration::from_secs(2)).await.unwrap();
        batch.into_iter().map(|d| d.event.id).collect()
    }

    fn ids(range: impl IntoIterator<Item = usize>) -> Vec<String> {
        range.into_iter().map(|i| format!("e{i}")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_fills_up_anywhere_in_a_write_leaves_the_log_as_it_was() {
        for fsync in [Fsync::Always, Fsync::Every { ms: 20 }] {
            let folder = tempfile::tempdir().unwrap();
            let settings = EventLogSettings { fsync, segment_bytes: 1 << 16, ..EventLogSettings::default() };
            let log = EmbeddedLog::open(&settings, folder.path()).await.unwrap();
            let faults = log.shared.faults.clone();
            let mut kept = 0;
            for room in (0..60_000).step_by(3571) {
                *faults.room.lock() = Some(room);
                let mut refused = 0;
                while refused < 2 {
                    match log.append(&[event(kept), event(kept + 1)]).await {
                        Ok(appended) => {
                            assert_eq!(appended.written, 2);
                            kept += 2;
                        }
                        Err(EventLogError::DiskFull { .. }) => refused += 1,
                        Err(e) => panic!("{e}"),
                    }
                }
                *faults.room.lock() = None;
                assert_eq!(log.append(&[event(kept)]).await.unwrap().written, 1);
                kept += 1;
            }
            assert!(log.shared.segments.read().len() > 1);
            log.close().await.unwrap();
            drop(log);
            let log = EmbeddedLog::open(&settings, folder.path()).await.unwrap();
            assert_eq!(log.recovery().torn_bytes, 0);
            assert_eq!(all(&log, "g").await, ids(0..kept), "{fsync:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sync_that_fails_acknowledges_nothing_with_always_and_loses_nothing_with_an_interval() {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&EventLogSettings::default(), &folder.path().join("a")).await.unwrap();
        log.append(&[event(0)]).await.unwrap();
        log.shared.faults.failing_syncs.store(1, Ordering::SeqCst);
        assert!(matches!(log.append(&[event(1)]).await, Err(EventLogError::File { .. })));
        // Its id was not remembered, its bytes were cut off.
        assert_eq!(log.append(&[event(1), event(2)]).await.unwrap().written, 2);
        assert_eq!(all(&log, "g").await, ids(0..3));

        let lazy = EventLogSettings { fsync: Fsync::Every { ms: 30 }, ..EventLogSettings::default() };
        let log = EmbeddedLog::open(&lazy, &folder.path().join("b")).await.unwrap();
        log.shared.faults.failing_syncs.store(3, Ordering::SeqCst);
        for i in 0..3 {
            assert_eq!(log.append(&[event(i)]).await.unwrap().written, 1);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let mut member = log.join("g", Start::Earliest).await.unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            let batch = member.read(10, Duration::from_secs(5)).await.unwrap();
            assert!(!batch.is_empty());
            got.extend(batch.into_iter().map(|d| d.event.id));
        }
        assert_eq!(got, ids(0..3));
        assert_eq!(log.shared.faults.failing_syncs.load(Ordering::SeqCst), 0);
    }
}
