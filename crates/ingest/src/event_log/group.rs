//! Groups of the embedded log: where each is, and who has which partition.

use super::embedded::{Shared, blocking, write_json};
use super::error::{EventLogError, Result};
use super::{DeadLetter, Delivery, Failed, Member, Position, now_ms, partition_of, plain_reason};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A group of one log.
pub(crate) struct Group {
    pub(crate) name: String,
    path: PathBuf,
    places: Mutex<Places>,
    members: AtomicU64,
    /// A partition became free.
    freed: Notify,
}

struct Places {
    of: Vec<Place>,
    /// Where the last read ended: number, segment, byte of its frame.
    hint: Option<(u64, u64, u64)>,
}

/// Where the group is in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    kept: Kept,
    /// The next event to hand out, and how many of the partition are before it.
    read: u64,
    read_count: u64,
    /// The member whose events are not committed yet.
    owner: Option<u64>,
}

/// What is kept of a place on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The number of the next event; all before it are done with.
    next: u64,
    /// Events of this partition before it, since the log was made.
    count: u64,
    /// The event that failed last, and how often.
    failed_at: u64,
    failures: u32,
}

#[derive(Serialize, Deserialize)]
struct GroupFile {
    partitions: Vec<Kept>,
    /// Of the numbers above: a wrong one would pass over events.
    checksum: String,
}

impl GroupFile {
    fn of(partitions: Vec<Kept>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for kept in &partitions {
            for number in [kept.next, kept.count, kept.failed_at, kept.failures.into()] {
                hasher.update(&number.to_le_bytes());
            }
        }
        let checksum = hasher.finalize().to_hex()[..32].to_owned();
        Self { partitions, checksum }
    }
}

impl Group {
    /// A new group that begins at an event.
    pub(crate) fn new(folder: &Path, name: &str, next: u64, counts: &[u64]) -> Result<Self> {
        let kept = counts.iter().map(|&count| Kept { next, count, ..Kept::default() });
        let group = Self::of(folder, name, kept.collect());
        group.save(&group.places.lock())?;
        Ok(group)
    }

    fn of(folder: &Path, name: &str, kept: Vec<Kept>) -> Self {
        let of =
            kept.into_iter().map(|kept| Place { read: kept.next, read_count: kept.count, kept, owner: None });
        Self {
            name: name.to_owned(),
            path: folder.join(format!("{name}.json")),
            places: Mutex::new(Places { of: of.collect(), hint: None }),
            members: AtomicU64::new(0),
            freed: Notify::new(),
        }
    }

    /// All groups of a folder.
    pub(crate) fn load_all(folder: &Path, partitions: u32) -> Result<Vec<Self>> {
        let fault = |e| EventLogError::file(folder, "list", e);
        let mut groups = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let Some(name) = path.file_stem().and_then(|n| n.to_str()) else { continue };
            if path.extension().is_none_or(|e| e != "json") || super::check_group(name).is_err() {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|e| EventLogError::file(&path, "read", e))?;
            let kept: Option<GroupFile> = serde_json::from_slice(&bytes).ok();
            let right = |f: &GroupFile| {
                f.partitions.len() == partitions as usize
                    && f.checksum == GroupFile::of(f.partitions.clone()).checksum
            };
            let Some(kept) = kept.filter(right) else {
                let why = format!(
                    "this is no place of a group in a log of {partitions} partitions; without the file the group \
                     begins anew"
                );
                return Err(EventLogError::Damaged { path, offset: 0, why });
            };
            groups.push(Self::of(folder, name, kept.partitions));
        }
        Ok(groups)
    }

    pub(crate) fn committed_min(&self) -> u64 {
        self.places.lock().of.iter().map(|p| p.kept.next).min().unwrap_or(0)
    }

    pub(crate) fn committed_max(&self) -> u64 {
        self.places.lock().of.iter().map(|p| p.kept.next).max().unwrap_or(0)
    }

    /// Events not committed, given how many there are of each partition.
    pub(crate) fn lag(&self, totals: &[u64]) -> u64 {
        self.places.lock().of.iter().zip(totals).map(|(p, total)| total.saturating_sub(p.kept.count)).sum()
    }

    fn save(&self, places: &Places) -> Result<()> {
        let partitions = places.of.iter().map(|p| p.kept.clone()).collect();
        write_json(&self.path, &GroupFile::of(partitions))
    }

    /// Changes what is kept, on disk and here, or neither.
    fn change<T>(&self, places: &mut Places, change: impl FnOnce(&mut Vec<Place>) -> T) -> Result<T> {
        let before = places.of.clone();
        let out = change(&mut places.of);
        let changed = before.iter().zip(&places.of).any(|(a, b)| a.kept != b.kept);
        if changed && let Err(e) = self.save(places) {
            places.of = before;
            return Err(e);
        }
        Ok(out)
    }

    /// The next events for a member. Reading and marking are one step, so a partition is never with two members.
    fn read(
        &self,
        shared: &Shared,
        member: u64,
        events_max: usize,
        handed: &mut Vec<Handed>,
    ) -> Result<Vec<Delivery>> {
        shared.check_open()?;
        let mut places = self.places.lock();
        let mine: Vec<bool> = places.of.iter().map(|p| p.owner.is_none_or(|o| o == member)).collect();
        self.skip_removed(shared, &mut places, &mine)?;
        let places = &mut *places;
        let next = shared.on_disk();
        let open = places.of.iter().zip(&mine).filter(|(p, mine)| **mine && p.read < next);
        let Some(start) = open.map(|(p, _)| p.read).min() else { return Ok(vec![]) };

        let segments = shared.segments.read().clone();
        let first = segments.partition_point(|s| s.base <= start).saturating_sub(1);
        let mut out = Vec::new();
        let mut reached = start;
        for segment in &segments[first..] {
            let (bytes, segment_next) = {
                let extent = segment.extent.read();
                (extent.bytes, extent.next)
            };
            if reached <= segment.base {
                // All before this segment was gone through, so the counts can be set right, should a repair have taken
                // events away.
                for (p, place) in places.of.iter_mut().enumerate() {
                    if mine[p] && place.read <= segment.base {
                        (place.read, place.read_count) = (segment.base, segment.counts[p]);
                    }
                }
                reached = segment.base;
            }
            let from = match places.hint {
                Some((number, base, byte)) if number == reached && base == segment.base => byte,
                _ => segment.byte_of(reached),
            };
            let mut full = false;
            let mut hint = None;
            let scanned = segment.scan(from, bytes, &mut |met| {
                for (number, record) in (met.head.first..).zip(met.records) {
                    let p = partition_of(&record.event.key, shared.partitions) as usize;
                    let place = &mut places.of[p];
                    if number >= reached && mine[p] && number >= place.read {
                        let wanted = record.only_for.is_empty() || record.only_for == self.name;
                        if wanted && out.len() >= events_max {
                            (full, hint) = (true, Some((number, segment.base, met.at)));
                            reached = number;
                            return ControlFlow::Break(());
                        }
                        let position = Position { partition: p as u32, offset: number };
                        if wanted {
                            handed.push(Handed { position, count: place.read_count });
                            let failed = place.kept.failed_at == number;
                            let failures = if failed { place.kept.failures } else { 0 };
                            out.push(Delivery { position, failures, event: record.event });
                            place.owner = Some(member);
                        }
                        (place.read, place.read_count) = (number + 1, place.read_count + 1);
                    }
                }
                reached = reached.max(met.head.first + u64::from(met.head.records));
                hint = Some((reached, segment.base, met.end));
                ControlFlow::Continue(())
            });
            if hint.is_some() {
                places.hint = hint;
            }
            if let Err(e) = scanned {
                if out.is_empty() {
                    return Err(e);
                }
                break;
            }
            if full {
                break;
            }
            reached = reached.max(segment_next);
        }
        for (place, _) in places.of.iter_mut().zip(&mine).filter(|(_, mine)| **mine) {
            place.read = place.read.max(reached);
            if place.owner.is_none() {
                // Nothing of this partition was on the way. It is written down with the next commit.
                (place.kept.next, place.kept.count) = (place.read, place.read_count);
            }
        }
        Ok(out)
    }

    /// Moves on to the oldest event that is kept, and tells it once for each partition that lost events.
    fn skip_removed(&self, shared: &Shared, places: &mut Places, mine: &[bool]) -> Result<()> {
        let (oldest, counts) = shared.oldest();
        for p in 0..places.of.len() {
            if !mine[p] || places.of[p].read >= oldest {
                continue;
            }
            let lost = places.of[p].read_count < counts[p];
            self.change(places, |of| {
                let kept = Kept { next: oldest, count: counts[p], ..Kept::default() };
                of[p] = Place { kept, read: oldest, read_count: counts[p], owner: None };
            })?;
            if lost {
                let (group, partition) = (self.name.clone(), p as u32);
                return Err(EventLogError::Lost { group, partition, next: oldest });
            }
        }
        Ok(())
    }

    fn commit(&self, member: u64) -> Result<()> {
        self.change(&mut self.places.lock(), |of| {
            for place in of.iter_mut().filter(|p| p.owner == Some(member)) {
                (place.kept.next, place.kept.count, place.owner) = (place.read, place.read_count, None);
                if place.kept.failed_at < place.kept.next {
                    (place.kept.failed_at, place.kept.failures) = (0, 0);
                }
            }
        })
    }

    fn fail(&self, shared: &Shared, member: u64, handed: &Handed, reason: &str) -> Result<Failed> {
        let Handed { position, count } = *handed;
        let mut places = self.places.lock();
        let p = position.partition as usize;
        let place = &places.of[p];
        if place.owner != Some(member) || position.offset < place.kept.next || position.offset >= place.read {
            return Err(self.not_delivered(position));
        }
        let known = if place.kept.failed_at == position.offset { place.kept.failures } else { 0 };
        let failures = known.saturating_add(1);
        let dead = failures >= shared.settings.deliveries_max;
        if dead {
            let event = event_at(shared, position.offset)?.ok_or_else(|| self.not_delivered(position))?;
            shared.dead.add(&DeadLetter {
                number: position.offset,
                group: self.name.clone(),
                position,
                failures,
                reason: plain_reason(reason),
                dead_ms: now_ms(),
                event,
            })?;
        }
        let behind = u64::from(dead);
        self.change(&mut places, |of| {
            let kept = Kept {
                next: position.offset + behind,
                count: count + behind,
                failed_at: if dead { 0 } else { position.offset },
                failures: if dead { 0 } else { failures },
            };
            of[p] = Place { read: kept.next, read_count: kept.count, kept, owner: None };
        })?;
        Ok(if dead { Failed::Dead } else { Failed::Again { failures } })
    }

    fn release(&self, member: u64) {
        for place in self.places.lock().of.iter_mut().filter(|p| p.owner == Some(member)) {
            (place.read, place.read_count, place.owner) = (place.kept.next, place.kept.count, None);
        }
        self.freed.notify_waiters();
    }

    fn not_delivered(&self, position: Position) -> EventLogError {
        let Position { partition, offset } = position;
        EventLogError::NotDelivered { group: self.name.clone(), partition, offset }
    }
}

/// Reads one event again.
fn event_at(shared: &Shared, number: u64) -> Result<Option<super::Event>> {
    let segments = shared.segments.read().clone();
    let at = segments.partition_point(|s| s.base <= number);
    let Some(segment) = at.checked_sub(1).map(|i| &segments[i]) else { return Ok(None) };
    let mut found = None;
    let to = segment.extent.read().bytes;
    segment.scan(segment.byte_of(number), to, &mut |met| {
        if met.head.first + u64::from(met.head.records) <= number {
            return ControlFlow::Continue(());
        }
        let index = number.checked_sub(met.head.first);
        found = index.and_then(|i| met.records.into_iter().nth(i as usize)).map(|r| r.event);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// An event that a member has in hand, and how many of its partition were before it.
#[derive(Clone, Copy)]
struct Handed {
    position: Position,
    count: u64,
}

/// A member of a group of the embedded log.
pub(crate) struct GroupMember {
    shared: Arc<Shared>,
    group: Arc<Group>,
    member: u64,
    handed: Arc<Mutex<Vec<Handed>>>,
}

impl GroupMember {
    pub(crate) fn new(shared: Arc<Shared>, group: Arc<Group>) -> Self {
        let member = group.members.fetch_add(1, Ordering::Relaxed);
        Self { shared, group, member, handed: Arc::default() }
    }
}

impl Member for GroupMember {
    fn read(&mut self, events_max: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let until = Instant::now() + wait;
            let mut grown = self.shared.watch();
            loop {
                grown.borrow_and_update();
                let mut freed = std::pin::pin!(self.group.freed.notified());
                freed.as_mut().enable();
                let (shared, group, member) = (self.shared.clone(), self.group.clone(), self.member);
                let handed = self.handed.clone();
                let events_max = events_max.max(1);
                let out = blocking(move || {
                    let mut handed = handed.lock();
                    let before = handed.len();
                    let out = group.read(&shared, member, events_max, &mut handed);
                    if out.is_err() {
                        handed.truncate(before);
                    }
                    out
                })
                .await?;
                if !out.is_empty() || Instant::now() >= until {
                    return Ok(out);
                }
                tokio::select! {
                    _ = grown.changed() => {}
                    () = freed => {}
                    () = tokio::time::sleep_until(until) => {}
                }
            }
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.shared.check_open()?;
            let (group, member) = (self.group.clone(), self.member);
            blocking(move || group.commit(member)).await?;
            self.handed.lock().clear();
            self.group.freed.notify_waiters();
            Ok(())
        })
    }

    fn fail<'a>(&'a mut self, position: Position, reason: &'a str) -> BoxFuture<'a, Result<Failed>> {
        Box::pin(async move {
            self.shared.check_open()?;
            let handed = self.handed.lock().iter().find(|h| h.position == position).copied();
            let handed = handed.ok_or_else(|| self.group.not_delivered(position))?;
            let (shared, group, member) = (self.shared.clone(), self.group.clone(), self.member);
            let reason = reason.to_owned();
            let failed = blocking(move || group.fail(&shared, member, &handed, &reason)).await?;
            self.handed.lock().retain(|h| h.position.partition != position.partition);
            self.group.freed.notify_waiters();
            Ok(failed)
        })
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.group.release(self.member);
    }
}
