//! Where groups are in a log in NATS, and which member has which partition.
//!
//! A place is one message, changed by comparing and setting: it holds the next event, the owner and its failures. A member
//! that takes a partition over changes the place, so the commit of the one that had it fails. An owner is thought dead when its
//! sign of life has not changed for a lease, by the clock of whoever looks: clocks need not agree.

use super::error::{EventLogError, Result};
use super::nats::{ANSWER_WAIT, Inner, all_members, event_of, is_wrong_sequence};
use super::{DeadLetter, Delivery, Failed, Member, Position, Start, now_ms, plain_reason};
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two looks into partitions without news.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// Longest time between two looks at the other members.
const BALANCE_EVERY_MAX: Duration = Duration::from_secs(5);
/// Most events asked for at once.
const FETCH_EVENTS_MAX: usize = 2000;

/// Where a group is in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The first number of the stream that is not done with.
    pub(crate) next: u64,
    owner: Option<String>,
    failed_at: u64,
    failures: u32,
    /// Counts changes, so that a change whose answer was lost is known again.
    changes: u64,
}

impl Place {
    /// The place with its sequence.
    pub(crate) async fn read(log: &Inner, group: &str, partition: u32) -> Result<Option<(Self, u64)>> {
        let subject = place_subject(log, group, partition);
        match log.places.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => {
                let place = serde_json::from_slice(&message.payload)
                    .map_err(|_| log.fault("reading a group's place", "it holds something else"))?;
                Ok(Some((place, message.sequence)))
            }
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(e) => Err(log.fault("reading a group's place", e)),
        }
    }

    /// Sets the place if it is still at `sequence` (0: not there). The new sequence; `None` if somebody was faster.
    async fn set(&self, log: &Inner, group: &str, partition: u32, sequence: u64) -> Result<Option<u64>> {
        let action = "keeping a group's place";
        let payload = serde_json::to_vec(self).map_err(|e| log.fault(action, e))?;
        let message =
            PublishMessage::build().payload(payload.into()).expected_last_subject_sequence(sequence);
        let sent = log.context.send_publish(place_subject(log, group, partition), message).await;
        match sent.map_err(|e| log.fault(action, e))?.await {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(e) if is_wrong_sequence(e.kind()) => {
                // Ours may have arrived, and only the answer was lost.
                let there = Self::read(log, group, partition).await?;
                Ok(there.filter(|(place, _)| place == self && self.owner.is_some()).map(|(_, at)| at))
            }
            Err(e) => Err(log.fault(action, e)),
        }
    }
}

/// Subjects of the members of a group begin so.
pub(crate) fn member_prefix(name: &str, group: &str) -> String {
    format!("{name}.member.{group}.")
}

/// Subjects of places begin so; without a group, those of all groups.
pub(crate) fn place_prefix(name: &str, group: &str) -> String {
    if group.is_empty() { format!("{name}.place.") } else { format!("{name}.place.{group}.") }
}

fn place_subject(log: &Inner, group: &str, partition: u32) -> String {
    format!("{}{partition}", place_prefix(&log.settings.name, group))
}

/// A partition that this member has.
struct Held {
    place: Place,
    sequence: u64,
    /// When the place was last written.
    written: Instant,
    reader: Option<Reader>,
    /// Behind the last event read.
    read: u64,
    /// Events read and not committed, by number.
    handed: BTreeMap<u64, super::Event>,
}

struct Reader {
    consumer: Consumer<pull::Config>,
    /// Deliveries of this consumer so far; a gap means that some were lost on the way.
    delivered: u64,
}

/// A member of a group in NATS.
pub(crate) struct NatsMember {
    log: Arc<Inner>,
    group: String,
    id: String,
    held: BTreeMap<u32, Held>,
    /// Other members: the sequence of their last sign of life, and since when it stands.
    signs: HashMap<String, (u64, Instant)>,
    balanced: Option<Instant>,
    /// Which partition is looked into first.
    turn: u32,
}

impl NatsMember {
    pub(crate) async fn join(log: Arc<Inner>, group: &str, start: Start) -> Result<Self> {
        let state = log.events.get_info().await.map_err(|e| log.fault("joining a group", e))?.state;
        let next = match start {
            Start::Earliest => state.first_sequence.max(1),
            Start::Latest => state.last_sequence + 1,
        };
        for partition in 0..log.settings.partitions {
            if Place::read(&log, group, partition).await?.is_none() {
                // Somebody else may be faster; then theirs holds.
                Place { next, ..Place::default() }.set(&log, group, partition, 0).await?;
            }
        }
        let mut member = Self {
            group: group.to_owned(),
            id: super::embedded::fresh_name(),
            held: BTreeMap::new(),
            signs: HashMap::new(),
            balanced: None,
            turn: 0,
            log,
        };
        member.balance().await?;
        Ok(member)
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.log.settings.lease_ms)
    }

    /// Gives a sign of life, looks who else is there, and takes or gives partitions so that each has its share.
    async fn balance(&mut self) -> Result<()> {
        let log = self.log.clone();
        let every = (self.lease() / 4).min(BALANCE_EVERY_MAX);
        if self.balanced.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        self.balanced = Some(Instant::now());
        let prefix = member_prefix(&log.settings.name, &self.group);
        let sign = PublishMessage::build().payload(now_ms().to_string().into());
        let fault = |e| log.fault("giving a sign of life", e);
        let sent = log.context.send_publish(format!("{prefix}{}", self.id), sign).await.map_err(fault)?;
        sent.await.map_err(fault)?;

        let mut alive = 1;
        let subjects = log.subjects(&log.places, all_members(&log.settings.name, &self.group)).await?;
        self.signs.retain(|id, _| subjects.contains_key(&format!("{prefix}{id}")));
        for subject in subjects.keys() {
            let Some(id) = subject.strip_prefix(&prefix).filter(|id| *id != self.id) else { continue };
            let Some(sign) = self.sign_of(id).await? else { continue };
            let seen = self.signs.entry(id.to_owned()).or_insert((sign, Instant::now()));
            if seen.0 != sign {
                *seen = (sign, Instant::now());
            }
            if seen.1.elapsed() < self.lease() {
                alive += 1;
            } else {
                let _ = log.places.purge().filter(subject.clone()).await;
            }
        }

        let share = (log.settings.partitions as usize).div_ceil(alive);
        let idle: Vec<u32> = self.held.iter().filter(|(_, h)| h.handed.is_empty()).map(|(p, _)| *p).collect();
        for partition in idle.into_iter().take(self.held.len().saturating_sub(share)) {
            self.give(partition).await?;
        }
        for partition in 0..log.settings.partitions {
            if self.held.len() < share && !self.held.contains_key(&partition) {
                self.take(partition).await?;
            }
        }
        self.renew().await
    }

    /// Takes a partition if nobody alive has it.
    async fn take(&mut self, partition: u32) -> Result<()> {
        let Some((found, sequence)) = Place::read(&self.log, &self.group, partition).await? else {
            return Ok(());
        };
        if let Some(owner) = found.owner.as_ref().filter(|o| **o != self.id) {
            // Who is not listed has gone, was found dead before, or came after the look around.
            if !self.signs.contains_key(owner)
                && let Some(sign) = self.sign_of(owner).await?
            {
                self.signs.insert(owner.clone(), (sign, Instant::now()));
            }
            let lease = self.lease();
            if self.signs.get(owner).is_some_and(|(_, since)| since.elapsed() < lease) {
                return Ok(());
            }
        }
        let place = Place { owner: Some(self.id.clone()), changes: found.changes + 1, ..found };
        if let Some(sequence) = place.set(&self.log, &self.group, partition, sequence).await? {
            let (read, written) = (place.next, Instant::now());
            let handed = BTreeMap::new();
            self.held.insert(partition, Held { place, sequence, written, reader: None, read, handed });
        }
        Ok(())
    }

    /// The sequence of a member's last sign of life.
    async fn sign_of(&self, id: &str) -> Result<Option<u64>> {
        let subject = format!("{}{id}", member_prefix(&self.log.settings.name, &self.group));
        match self.log.places.get_last_raw_message_by_subject(&subject).await {
            Ok(sign) => Ok(Some(sign.sequence)),
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(e) => Err(self.log.fault("looking for another member", e)),
        }
    }

    /// Gives a partition back as it is committed.
    async fn give(&mut self, partition: u32) -> Result<()> {
        if let Some(held) = self.held.remove(&partition) {
            let place = Place { owner: None, changes: held.place.changes + 1, ..held.place };
            place.set(&self.log, &self.group, partition, held.sequence).await?;
        }
        Ok(())
    }

    /// Moves places of partitions without news on, so that retention of other partitions' events is not taken for a
    /// loss.
    async fn renew(&mut self) -> Result<()> {
        let due = self.lease() / 3;
        let idle = |h: &Held| h.handed.is_empty() && h.written.elapsed() > due;
        let partitions: Vec<u32> = self.held.iter().filter(|(_, h)| idle(h)).map(|(p, _)| *p).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let log = self.log.clone();
        let fault = |e: &dyn std::fmt::Display| log.fault("looking for news", e);
        let last = log.events.get_info().await.map_err(|e| fault(&e))?.state.last_sequence;
        for partition in partitions {
            let Some(held) = self.held.get_mut(&partition) else { continue };
            if let Some(reader) = &mut held.reader
                && let Ok(info) = reader.consumer.info().await
                && info.num_pending == 0
                && info.delivered.consumer_sequence == reader.delivered
            {
                held.read = held.read.max(last + 1);
            }
            held.written = Instant::now();
            let (next, kept) = (held.read, held.place.next);
            if next > kept {
                match self.set_place(partition, |place| place.next = next).await {
                    // Nothing of it was in hand.
                    Ok(()) | Err(EventLogError::TakenOver { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Changes the place of a partition; it is lost to this member if another has taken it.
    async fn set_place(&mut self, partition: u32, change: impl FnOnce(&mut Place)) -> Result<()> {
        let taken = || EventLogError::TakenOver { group: self.group.clone(), partition };
        let Some(held) = self.held.get_mut(&partition) else { return Err(taken()) };
        let mut place = held.place.clone();
        change(&mut place);
        place.changes += 1;
        match place.set(&self.log, &self.group, partition, held.sequence).await? {
            Some(sequence) => {
                (held.place, held.sequence, held.written) = (place, sequence, Instant::now());
                Ok(())
            }
            None => {
                let e = taken();
                self.held.remove(&partition);
                Err(e)
            }
        }
    }

    /// What is there now, of all partitions held.
    async fn look(&mut self, events_max: usize) -> Result<Vec<Delivery>> {
        self.turn = self.turn.wrapping_add(1);
        let mut partitions: Vec<u32> = self.held.keys().copied().collect();
        if !partitions.is_empty() {
            let n = self.turn as usize % partitions.len();
            partitions.rotate_left(n);
        }
        let mut out = Vec::new();
        for partition in partitions {
            if out.len() >= events_max {
                break;
            }
            let Some(held) = self.held.get_mut(&partition) else { continue };
            let looked = held.look(&self.log, &self.group, partition, events_max - out.len(), &mut out).await;
            if let Err(e) = looked {
                // What broke is made anew, from behind the last event that arrived.
                held.reader = None;
                if out.is_empty() {
                    return Err(e);
                }
                break;
            }
        }
        Ok(out)
    }
}

impl Held {
    async fn look(
        &mut self,
        log: &Inner,
        group: &str,
        partition: u32,
        events_max: usize,
        out: &mut Vec<Delivery>,
    ) -> Result<()> {
        if self.reader.is_none() {
            let state = log.events.get_info().await.map_err(|e| log.fault("reading", e))?.state;
            if state.first_sequence > self.read {
                // The stream has no numbers of its own for a partition: that one was unread is told although only
                // events of others may be gone.
                self.read = state.first_sequence;
                let (group, next) = (group.to_owned(), self.read);
                return Err(EventLogError::Lost { group, partition, next });
            }
            self.reader = Some(Reader { consumer: log.reader(partition, self.read).await?, delivered: 0 });
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let lease = Duration::from_millis(log.settings.lease_ms);
        let fault = |e: &dyn std::fmt::Display| log.fault("reading", e);
        let mut left = events_max.min(FETCH_EVENTS_MAX);
        // What is there now comes, and then word that this was all. With an expiry the server would keep a request
        // that finds nothing until then: a member would stand at its first empty partition, and the others would
        // think it dead. Should the word be lost on the way, the wait ends here.
        let until = Instant::now() + ANSWER_WAIT.min(lease);
        let mut batch = reader.consumer.fetch().max_messages(left).messages().await.map_err(|e| fault(&e))?;
        while left > 0 {
            let Some(message) = log.next_of(&mut batch, until, "reading").await? else { break };
            let (sequence, delivered, published_ms) = {
                let info = message.info().map_err(|e| fault(&e))?;
                let ms = info.published.unix_timestamp_nanos() / 1_000_000;
                (info.stream_sequence, info.consumer_sequence, i64::try_from(ms).unwrap_or(0))
            };
            if delivered != reader.delivered + 1 {
                return Err(fault(&"events were lost on the way; they are asked for again"));
            }
            reader.delivered = delivered;
            left -= 1;
            self.read = sequence + 1;
            let headers = message.headers.clone().unwrap_or_default();
            let (event, only_for) = event_of(&headers, message.payload.clone(), sequence, published_ms);
            if !only_for.is_empty() && only_for != group {
                continue;
            }
            let failures = if self.place.failed_at == sequence { self.place.failures } else { 0 };
            self.handed.insert(sequence, event.clone());
            out.push(Delivery { position: Position { partition, offset: sequence }, failures, event });
        }
        Ok(())
    }
}

impl Member for NatsMember {
    fn read(&mut self, events_max: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let until = Instant::now() + wait;
            loop {
                self.log.check_open()?;
                self.balance().await?;
                let out = self.look(events_max.max(1)).await?;
                let left = until.saturating_duration_since(Instant::now());
                if !out.is_empty() || left.is_zero() {
                    return Ok(out);
                }
                tokio::time::sleep(LOOK_EVERY.min(left)).await;
            }
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.log.check_open()?;
            let partitions: Vec<u32> = self.held.keys().copied().collect();
            let mut taken = None;
            for partition in partitions {
                let Some(held) = self.held.get_mut(&partition) else { continue };
                if held.handed.is_empty() {
                    continue;
                }
                let next = held.read;
                let done = self
                    .set_place(partition, |place| {
                        place.next = next;
                        if place.failed_at < next {
                            (place.failed_at, place.failures) = (0, 0);
                        }
                    })
                    .await;
                match done {
                    Ok(()) => {
                        if let Some(held) = self.held.get_mut(&partition) {
                            held.handed.clear();
                        }
                    }
                    // The others are committed all the same.
                    Err(e @ EventLogError::TakenOver { .. }) => taken = Some(e),
                    Err(e) => return Err(e),
                }
            }
            taken.map_or(Ok(()), Err)
        })
    }

    fn fail<'a>(&'a mut self, position: Position, reason: &'a str) -> BoxFuture<'a, Result<Failed>> {
        Box::pin(async move {
            self.log.check_open()?;
            let Position { partition, offset } = position;
            let held = self.held.get(&partition);
            let Some((held, event)) = held.and_then(|h| Some((h, h.handed.get(&offset)?.clone()))) else {
                let group = self.group.clone();
                return Err(EventLogError::NotDelivered { group, partition, offset });
            };
            let known = if held.place.failed_at == offset { held.place.failures } else { 0 };
            let failures = known.saturating_add(1);
            let dead = failures >= self.log.settings.deliveries_max;
            if dead {
                let letter = DeadLetter {
                    number: 0,
                    group: self.group.clone(),
                    position,
                    failures,
                    reason: plain_reason(reason),
                    dead_ms: now_ms(),
                    event,
                };
                self.log.bury(&letter).await?;
            }
            let next = offset + u64::from(dead);
            self.set_place(partition, |place| {
                place.next = next;
                (place.failed_at, place.failures) = if dead { (0, 0) } else { (offset, failures) };
            })
            .await?;
            if let Some(held) = self.held.get_mut(&partition) {
                (held.reader, held.read) = (None, next);
                held.handed.clear();
            }
            Ok(if dead { Failed::Dead } else { Failed::Again { failures } })
        })
    }
}

impl Drop for NatsMember {
    fn drop(&mut self) {
        // Without a runtime the lease ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (log, group, id) = (self.log.clone(), self.group.clone(), self.id.clone());
        let held = std::mem::take(&mut self.held);
        runtime.spawn(async move {
            for (partition, held) in held {
                let place = Place { owner: None, changes: held.place.changes + 1, ..held.place };
                let _ = place.set(&log, &group, partition, held.sequence).await;
            }
            let subject = format!("{}{id}", member_prefix(&log.settings.name, &group));
            let _ = log.places.purge().filter(subject).await;
        });
    }
}
