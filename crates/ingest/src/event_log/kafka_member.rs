//! A member of a consumer group of Kafka.

use super::error::{EventLogError, Result};
use super::kafka::{ANSWER_WAIT, Inner, blocking, event_of};
use super::{DeadLetter, Delivery, Event, Failed, Member, Position, Start, now_ms, plain_reason};
use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts how often partitions were given or taken.
struct Turns(Arc<AtomicU64>);

impl ClientContext for Turns {}

impl ConsumerContext for Turns {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A member of a group in Kafka.
pub(crate) struct KafkaMember {
    log: Arc<Inner>,
    group: String,
    consumer: Option<Arc<StreamConsumer<Turns>>>,
    turns: Arc<AtomicU64>,
    /// The turn in which `handed` was read.
    turn: u64,
    /// Events read and not committed, by partition and offset.
    handed: HashMap<u32, BTreeMap<u64, Event>>,
    /// Behind the last message read of each partition.
    read: HashMap<u32, u64>,
    /// A partition's place was not there any more.
    removed: bool,
}

impl KafkaMember {
    pub(crate) async fn join(log: Arc<Inner>, group: &str, start: Start) -> Result<Self> {
        let turns = Arc::new(AtomicU64::new(0));
        let session_ms = log.settings.lease_ms.clamp(6000, 300_000);
        let mut config = log.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A place that is not there any more is a loss to be told, not to be passed over.
            .set("auto.offset.reset", "error")
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 4).to_string());
        let (seen, work) = (turns.clone(), log.clone());
        let consumer = blocking(move || {
            let consumer: StreamConsumer<Turns> = config.create_with_context(Turns(seen))?;
            begin(&consumer, &work, start)?;
            consumer.subscribe(&[&work.settings.name])?;
            Ok(consumer)
        })
        .await
        .map_err(|e| log.fault("joining a group", e))?;
        log.groups.lock().insert(group.to_owned());
        Ok(Self {
            log,
            group: group.to_owned(),
            consumer: Some(Arc::new(consumer)),
            turns,
            turn: 0,
            handed: HashMap::new(),
            read: HashMap::new(),
            removed: false,
        })
    }

    fn consumer(&self) -> Result<Arc<StreamConsumer<Turns>>> {
        self.log.check_open()?;
        self.consumer.clone().ok_or(EventLogError::Closed)
    }

    /// Whether partitions changed hands since the last look; then nothing is in hand any more.
    fn turned(&mut self) -> bool {
        let turn = self.turns.load(Ordering::SeqCst);
        let turned = turn != self.turn;
        if turned {
            self.turn = turn;
            self.handed.clear();
            self.read.clear();
        }
        turned
    }

    /// Moves on to the oldest events that are kept, and tells the first partition that lost some.
    async fn skip_removed(&mut self) -> Result<()> {
        let (consumer, log, read) = (self.consumer()?, self.log.clone(), self.read.clone());
        let topic = log.settings.name.clone();
        let moved = blocking(move || {
            let mut moved = Vec::new();
            let assigned = consumer.assignment()?;
            // A partition whose place is not there has stopped, and what has stopped cannot seek: all begin again, the
            // others where they are.
            let mut places = TopicPartitionList::new();
            let committed = consumer.committed_offsets(assigned, ANSWER_WAIT)?;
            for place in committed.elements_for_topic(&topic) {
                let (low, high) = consumer.fetch_watermarks(&topic, place.partition(), ANSWER_WAIT)?;
                let partition = place.partition() as u32;
                let read = read.get(&partition).and_then(|next| i64::try_from(*next).ok());
                let next = match read.map_or(place.offset(), Offset::Offset) {
                    Offset::Offset(at) if (low..=high).contains(&at) => at,
                    gone => {
                        let next = if matches!(gone, Offset::Offset(at) if at > high) { high } else { low };
                        moved.push((partition, u64::try_from(next).unwrap_or(0)));
                        next
                    }
                };
                places.add_partition_offset(&topic, place.partition(), Offset::Offset(next))?;
            }
            consumer.assign(&places)?;
            Ok(moved)
        })
        .await
        .map_err(|e| self.log.fault("looking for the oldest events", e))?;
        self.removed = false;
        let Some((partition, next)) = moved.first().copied() else { return Ok(()) };
        self.keep(&moved).await?;
        for (partition, next) in moved {
            self.handed.remove(&partition);
            self.read.insert(partition, next);
        }
        Err(EventLogError::Lost { group: self.group.clone(), partition, next })
    }

    async fn keep(&self, places: &[(u32, u64)]) -> Result<()> {
        let fault = |e: KafkaError| match e.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::FencedInstanceId,
            ) => EventLogError::TakenOver {
                group: self.group.clone(),
                partition: places.first().map_or(0, |p| p.0),
            },
            _ => self.log.fault("committing", e),
        };
        let mut list = TopicPartitionList::new();
        for (partition, next) in places {
            let next = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.log.settings.name, *partition as i32, next).map_err(fault)?;
        }
        let consumer = self.consumer()?;
        blocking(move || consumer.commit(&list, CommitMode::Sync)).await.map_err(fault)
    }
}

/// Commits where a new group begins, so that it has a lag from the first moment.
fn begin(consumer: &StreamConsumer<Turns>, log: &Inner, start: Start) -> std::result::Result<(), KafkaError> {
    let committed = consumer.committed_offsets(log.partitions(), ANSWER_WAIT)?;
    let mut list = TopicPartitionList::new();
    for place in committed.elements() {
        if !matches!(place.offset(), Offset::Offset(_)) {
            let (low, high) =
                consumer.fetch_watermarks(&log.settings.name, place.partition(), ANSWER_WAIT)?;
            let at = if start == Start::Earliest { low } else { high };
            list.add_partition_offset(&log.settings.name, place.partition(), Offset::Offset(at))?;
        }
    }
    if list.count() == 0 {
        return Ok(());
    }
    match consumer.commit(&list, CommitMode::Sync) {
        // Members that are there already have begun.
        Err(e)
            if matches!(
                e.rdkafka_error_code(),
                Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

impl Member for KafkaMember {
    fn read(&mut self, events_max: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let consumer = self.consumer()?;
            let until = Instant::now() + wait;
            let mut out: Vec<Delivery> = Vec::new();
            if self.removed {
                self.skip_removed().await?;
            }
            while out.len() < events_max.max(1) {
                let left = until.saturating_duration_since(Instant::now());
                let received = if out.is_empty() {
                    match tokio::time::timeout(left, consumer.recv()).await {
                        Ok(received) => received,
                        Err(_) => break,
                    }
                } else {
                    match consumer.recv().now_or_never() {
                        Some(received) => received,
                        None => break,
                    }
                };
                let message = match received {
                    Ok(message) => message,
                    Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                        // What was read before is handed over before the loss is told.
                        self.removed = true;
                        if out.is_empty() {
                            self.skip_removed().await?;
                            continue;
                        }
                        break;
                    }
                    Err(_) if !out.is_empty() => break,
                    Err(e) => return Err(self.log.fault("reading", e)),
                };
                if self.turned() {
                    out.clear();
                }
                let (Ok(partition), Ok(offset)) =
                    (u32::try_from(message.partition()), u64::try_from(message.offset()))
                else {
                    continue;
                };
                let (event, only_for) = event_of(&message);
                self.read.insert(partition, offset + 1);
                let handed = self.handed.entry(partition).or_default();
                if !only_for.is_empty() && only_for != self.group {
                    continue;
                }
                handed.insert(offset, event.clone());
                let known = self.log.failures.lock().get(&(self.group.clone(), partition)).copied();
                let failures = known.filter(|(at, _)| *at == offset).map_or(0, |(_, n)| n);
                out.push(Delivery { position: Position { partition, offset }, failures, event });
            }
            if self.turned() {
                out.clear();
            }
            Ok(out)
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.log.check_open()?;
            let in_hand = self.handed.values().any(|events| !events.is_empty());
            if self.turned() && in_hand {
                return Err(EventLogError::TakenOver { group: self.group.clone(), partition: 0 });
            }
            let places: Vec<(u32, u64)> =
                self.handed.keys().filter_map(|p| Some((*p, *self.read.get(p)?))).collect();
            if !places.is_empty() {
                self.keep(&places).await?;
                self.handed.clear();
            }
            Ok(())
        })
    }

    fn fail<'a>(&'a mut self, position: Position, reason: &'a str) -> BoxFuture<'a, Result<Failed>> {
        Box::pin(async move {
            self.log.check_open()?;
            self.turned();
            let Position { partition, offset } = position;
            let Some(event) = self.handed.get(&partition).and_then(|h| h.get(&offset)).cloned() else {
                return Err(EventLogError::NotDelivered { group: self.group.clone(), partition, offset });
            };
            let key = (self.group.clone(), partition);
            let known = self.log.failures.lock().get(&key).copied();
            let failures = known.filter(|(at, _)| *at == offset).map_or(0, |(_, n)| n).saturating_add(1);
            let dead = failures >= self.log.settings.deliveries_max;
            if dead {
                self.log
                    .bury(&DeadLetter {
                        number: 0,
                        group: self.group.clone(),
                        position,
                        failures,
                        reason: plain_reason(reason),
                        dead_ms: now_ms(),
                        event,
                    })
                    .await?;
            }
            let next = offset + u64::from(dead);
            self.keep(&[(partition, next)]).await?;
            let consumer = self.consumer()?;
            let topic = self.log.settings.name.clone();
            let at = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
            blocking(move || consumer.seek(&topic, partition as i32, at, ANSWER_WAIT))
                .await
                .map_err(|e| self.log.fault("going back", e))?;
            self.handed.remove(&partition);
            self.read.insert(partition, next);
            let mut known = self.log.failures.lock();
            if dead {
                known.remove(&key);
                return Ok(Failed::Dead);
            }
            known.insert(key, (offset, failures));
            Ok(Failed::Again { failures })
        })
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // Leaving a group waits for the brokers.
        let consumer = self.consumer.take();
        let _ = std::thread::Builder::new().name("event-log-leave".to_owned()).spawn(move || drop(consumer));
    }
}
