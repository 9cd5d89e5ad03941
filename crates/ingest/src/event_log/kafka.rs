//! The event log in Kafka.
//!
//! ```text
//! topic <name>        events; key, payload, headers `tradewind-id`, `tradewind-time`
//! topic <name>-dead   dead letters by key `group/partition/offset`, compacted: a letter deleted is an empty message
//! ```
//!
//! Appends are acknowledged by all replicas in sync, from a producer that is idempotent: it does not write twice what it
//! sends twice. What a program appends again after it was killed is written again, since Kafka knows no ids: members ask
//! [`super::Idempotent`]. Members commit by hand. How often an event failed is remembered by the process.
//!
//! Topics that are not there are made with the brokers' own number of replicas. Retention of a topic that is there stays
//! as it is.

use super::broker::Broker;
use super::error::{EventLogError, Result};
use super::kafka_member::KafkaMember;
use super::settings::EventLogSettings;
use super::{Appended, DeadLetter, Event, GroupMetrics, LogMetrics, Member, Position, Start, partition_of};
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long brokers may take to answer.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Events on their way at the same time, of one append.
const IN_FLIGHT_MAX: usize = 5000;
const ID: &str = "tradewind-id";
const TIME: &str = "tradewind-time";
const ONLY_FOR: &str = "tradewind-group";
const KEY: &str = "tradewind-key";
const FAILURES: &str = "tradewind-failures";
const REASON: &str = "tradewind-reason";
const DEAD_MS: &str = "tradewind-dead";

/// A log in Kafka: see the [module](super).
pub struct KafkaLog {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: EventLogSettings,
    address: String,
    producer: FutureProducer,
    /// Groups joined by this process.
    pub(crate) groups: Mutex<BTreeSet<String>>,
    /// The event at which a group failed last in a partition, and how often.
    pub(crate) failures: Mutex<HashMap<(String, u32), (u64, u32)>>,
    appended: AtomicU64,
    closed: AtomicBool,
}

impl KafkaLog {
    /// Connects, and makes the topics that are not there.
    ///
    /// # Errors
    /// When no broker answers, or the topic has another number of partitions.
    pub async fn connect(settings: &EventLogSettings) -> Result<Self> {
        settings.check()?;
        let address = settings.shown_address();
        let fault = |action, e: &dyn Display| EventLogError::Broker {
            system: "Kafka",
            address: address.clone(),
            action,
            why: e.to_string(),
        };
        let config = client_config(settings);
        ready(&config, settings, &address).await?;
        let producer = config
            .clone()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", "1048576")
            .set("delivery.timeout.ms", "30000")
            .set("linger.ms", "2")
            .create()
            .map_err(|e| fault("making a producer", &e))?;
        Ok(Self {
            inner: Arc::new(Inner {
                settings: settings.clone(),
                address,
                producer,
                groups: Mutex::default(),
                failures: Mutex::default(),
                appended: AtomicU64::new(0),
                closed: AtomicBool::new(false),
            }),
        })
    }
}

fn client_config(settings: &EventLogSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.address.trim_start_matches("kafka://"))
        .set("client.id", "tradewind");
    config
}

/// Sees that the topics are there with the right partitions.
async fn ready(config: &ClientConfig, settings: &EventLogSettings, address: &str) -> Result<()> {
    let fault = |action, e: &dyn Display| EventLogError::Broker {
        system: "Kafka",
        address: address.to_owned(),
        action,
        why: e.to_string(),
    };
    let dead = format!("{}-dead", settings.name);
    let wanted = [(settings.name.clone(), settings.partitions as usize), (dead, 1)];
    let topics = {
        let client: BaseConsumer = config.create().map_err(|e| fault("connecting", &e))?;
        blocking(move || {
            let metadata = client.fetch_metadata(None, ANSWER_WAIT)?;
            let topics = metadata.topics().iter().filter(|t| t.error().is_none());
            Ok(topics.map(|t| (t.name().to_owned(), t.partitions().len())).collect::<HashMap<_, _>>())
        })
        .await
        .map_err(|e| fault("asking for topics", &e))?
    };
    let (bytes, ms) = (settings.retention_bytes, settings.retention_ms);
    let each = (bytes / u64::from(settings.partitions)).to_string();
    let bytes = if bytes == 0 { "-1".to_owned() } else { each };
    let ms = if ms == 0 { "-1".to_owned() } else { ms.to_string() };
    for (i, (topic, partitions)) in wanted.iter().enumerate() {
        match topics.get(topic) {
            Some(found) if found == partitions => {}
            Some(found) => {
                return Err(EventLogError::Unfit {
                    system: "Kafka",
                    address: address.to_owned(),
                    what: format!("topic {topic}"),
                    why: format!("has {found} partitions, not {partitions}"),
                });
            }
            None => {
                let admin: AdminClient<DefaultClientContext> =
                    config.create().map_err(|e| fault("making topics", &e))?;
                let mut new = NewTopic::new(topic, *partitions as i32, TopicReplication::Fixed(-1));
                new = if i == 0 {
                    new.set("retention.bytes", &bytes).set("retention.ms", &ms)
                } else {
                    new.set("cleanup.policy", "compact")
                };
                let options = AdminOptions::new().operation_timeout(Some(ANSWER_WAIT));
                let made =
                    admin.create_topics([&new], &options).await.map_err(|e| fault("making topics", &e))?;
                for result in made {
                    match result {
                        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                        Err((_, code)) => return Err(fault("making topics", &code)),
                    }
                }
            }
        }
    }
    Ok(())
}

/// Runs what waits for a broker where it does not hold up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, KafkaError> + Send + 'static,
) -> std::result::Result<T, KafkaError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(KafkaError::Canceled))
}

impl Inner {
    pub(crate) fn fault(&self, action: &'static str, e: impl Display) -> EventLogError {
        EventLogError::Broker { system: "Kafka", address: self.address.clone(), action, why: e.to_string() }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(EventLogError::Closed) } else { Ok(()) }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        client_config(&self.settings)
    }

    fn dead_topic(&self) -> String {
        format!("{}-dead", self.settings.name)
    }

    /// All partitions of the topic of events.
    pub(crate) fn partitions(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.settings.name, 0, self.settings.partitions as i32 - 1);
        list
    }

    async fn publish(&self, events: &[Event], only_for: &str) -> Result<Appended> {
        for chunk in events.chunks(IN_FLIGHT_MAX) {
            let mut waiting = Vec::with_capacity(chunk.len());
            for event in chunk {
                let time = event.time_ms.to_string();
                let mut headers = OwnedHeaders::new_with_capacity(3)
                    .insert(Header { key: ID, value: Some(&event.id) })
                    .insert(Header { key: TIME, value: Some(&time) });
                if !only_for.is_empty() {
                    headers = headers.insert(Header { key: ONLY_FOR, value: Some(only_for) });
                }
                let mut record = FutureRecord::<[u8], [u8]>::to(&self.settings.name)
                    .partition(partition_of(&event.key, self.settings.partitions) as i32)
                    .key(event.key.as_bytes())
                    .payload(&event.payload)
                    .headers(headers);
                // A full queue empties as brokers answer.
                let until = Instant::now() + ANSWER_WAIT;
                loop {
                    match self.producer.send_result(record) {
                        Ok(answer) => break waiting.push(answer),
                        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                            if Instant::now() < until =>
                        {
                            record = back;
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        Err((e, _)) => return Err(self.fault("appending", e)),
                    }
                }
            }
            for answer in waiting {
                match answer.await {
                    Ok(Ok(_)) => {}
                    Ok(Err((e, _))) => return Err(self.fault("appending", e)),
                    Err(_) => return Err(EventLogError::Closed),
                }
            }
        }
        self.appended.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(Appended { written: events.len(), duplicates: 0 })
    }

    /// Keeps an event that a group gave up.
    pub(crate) async fn bury(&self, letter: &DeadLetter) -> Result<()> {
        let (time, failures, dead) =
            (letter.event.time_ms.to_string(), letter.failures.to_string(), letter.dead_ms.to_string());
        let headers = OwnedHeaders::new_with_capacity(6)
            .insert(Header { key: ID, value: Some(&letter.event.id) })
            .insert(Header { key: KEY, value: Some(&letter.event.key) })
            .insert(Header { key: TIME, value: Some(&time) })
            .insert(Header { key: FAILURES, value: Some(&failures) })
            .insert(Header { key: REASON, value: Some(&letter.reason) })
            .insert(Header { key: DEAD_MS, value: Some(&dead) });
        let Position { partition, offset } = letter.position;
        let key = format!("{}/{partition}/{offset}", letter.group);
        let topic = self.dead_topic();
        let record = FutureRecord::<[u8], [u8]>::to(&topic)
            .key(key.as_bytes())
            .payload(&letter.event.payload)
            .headers(headers);
        self.producer
            .send(record, ANSWER_WAIT)
            .await
            .map_err(|(e, _)| self.fault("keeping a dead letter", e))?;
        Ok(())
    }

    /// The letters of a group that are not deleted, by number.
    async fn letters(self: &Arc<Self>, group: &str) -> Result<BTreeMap<u64, DeadLetter>> {
        let (inner, group) = (self.clone(), group.to_owned());
        let read = move || {
            let mut config = inner.config();
            config.set("group.id", "tradewind-dead-letters").set("enable.auto.commit", "false");
            let consumer: BaseConsumer = config.create()?;
            let topic = inner.dead_topic();
            let (low, high) = consumer.fetch_watermarks(&topic, 0, ANSWER_WAIT)?;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, 0, Offset::Offset(low))?;
            consumer.assign(&list)?;
            let mut letters: BTreeMap<Vec<u8>, DeadLetter> = BTreeMap::new();
            let mut next = low;
            let mut heard = Instant::now();
            while next < high {
                let Some(message) = consumer.poll(Duration::from_millis(200)) else {
                    // Compaction may have taken the last ones; the consumer's position passes them.
                    let position = consumer.position()?.find_partition(&topic, 0).map(|p| p.offset());
                    if let Some(Offset::Offset(at)) = position {
                        next = next.max(at);
                    }
                    if heard.elapsed() > ANSWER_WAIT {
                        return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                    }
                    continue;
                };
                let message = message?;
                heard = Instant::now();
                next = message.offset() + 1;
                let key = message.key().unwrap_or_default().to_vec();
                letters.remove(&key);
                letters.extend(letter_of(&group, &key, &message).map(|letter| (key, letter)));
            }
            Ok(letters.into_values().map(|letter| (letter.number, letter)).collect())
        };
        blocking(read).await.map_err(|e| self.fault("reading dead letters", e))
    }

    async fn remove_letter(&self, letter: &DeadLetter) -> Result<()> {
        let Position { partition, offset } = letter.position;
        let key = format!("{}/{partition}/{offset}", letter.group);
        let topic = self.dead_topic();
        let record = FutureRecord::<[u8], [u8]>::to(&topic).key(key.as_bytes());
        self.producer
            .send(record, ANSWER_WAIT)
            .await
            .map_err(|(e, _)| self.fault("deleting a dead letter", e))?;
        Ok(())
    }
}

impl Broker for KafkaLog {
    fn check_open(&self) -> Result<()> {
        self.inner.check_open()
    }

    async fn publish(&self, events: &[Event], only_for: &str) -> Result<Appended> {
        self.inner.publish(events, only_for).await
    }

    async fn member(&self, group: &str, start: Start) -> Result<Box<dyn Member>> {
        Ok(Box::new(KafkaMember::join(self.inner.clone(), group, start).await?))
    }

    async fn letters(&self, group: &str, letters_max: usize) -> Result<Vec<DeadLetter>> {
        Ok(self.inner.letters(group).await?.into_values().take(letters_max).collect())
    }

    async fn numbered(&self, group: &str, numbers: &[u64]) -> Result<Vec<DeadLetter>> {
        let mut letters = self.inner.letters(group).await?;
        Ok(numbers.iter().filter_map(|number| letters.remove(number)).collect())
    }

    async fn remove(&self, letter: &DeadLetter) -> Result<()> {
        self.inner.remove_letter(letter).await
    }

    async fn sizes(&self) -> Result<LogMetrics> {
        let inner = self.inner.clone();
        let names: Vec<String> = inner.groups.lock().iter().cloned().collect();
        let asked = names.clone();
        let sizes = move || {
            let client: BaseConsumer = inner.config().create()?;
            let topic = &inner.settings.name;
            let mut ends = Vec::new();
            for partition in 0..inner.settings.partitions as i32 {
                ends.push(client.fetch_watermarks(topic, partition, ANSWER_WAIT)?);
            }
            let mut lags = Vec::new();
            for group in asked {
                let client: BaseConsumer = inner.config().set("group.id", &group).create()?;
                let committed = client.committed_offsets(inner.partitions(), ANSWER_WAIT)?;
                let mut lag = 0;
                for place in committed.elements() {
                    let (low, high) = ends.get(place.partition() as usize).copied().unwrap_or_default();
                    let at = match place.offset() {
                        Offset::Offset(at) => at.max(low),
                        _ => low,
                    };
                    lag += u64::try_from(high - at).unwrap_or(0);
                }
                lags.push(lag);
            }
            let events = ends.iter().map(|(low, high)| u64::try_from(high - low).unwrap_or(0)).sum();
            Ok((events, lags))
        };
        let (events, lags): (u64, Vec<u64>) =
            blocking(sizes).await.map_err(|e| self.inner.fault("asking for sizes", e))?;
        let mut groups = Vec::with_capacity(names.len());
        for (group, lag) in names.into_iter().zip(lags) {
            let dead_letters = self.inner.letters(&group).await?.len() as u64;
            groups.push(GroupMetrics { group, lag, dead_letters });
        }
        let appended = self.inner.appended.load(Ordering::Relaxed);
        Ok(LogMetrics { events, bytes: 0, appended, duplicates: 0, groups })
    }

    async fn leave(&self) -> Result<()> {
        if self.inner.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let producer = self.inner.producer.clone();
        blocking(move || producer.flush(ANSWER_WAIT)).await.map_err(|e| self.inner.fault("closing", e))
    }
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let header = message.headers()?.iter().find(|h| h.key == name)?;
    std::str::from_utf8(header.value?).ok()
}

/// The event of a message, and the only group that is meant. What another program wrote has its place for an id.
pub(crate) fn event_of(message: &BorrowedMessage<'_>) -> (Event, String) {
    let written = message.timestamp().to_millis().unwrap_or(0);
    let key = header(message, KEY).map(str::to_owned);
    let event = Event {
        id: header(message, ID).map_or_else(
            || format!("{}/{}/{}", message.topic(), message.partition(), message.offset()),
            str::to_owned,
        ),
        key: key.unwrap_or_else(|| String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned()),
        time_ms: header(message, TIME).and_then(|t| t.parse().ok()).unwrap_or(written),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    };
    (event, header(message, ONLY_FOR).unwrap_or_default().to_owned())
}

fn letter_of(group: &str, key: &[u8], message: &BorrowedMessage<'_>) -> Option<DeadLetter> {
    message.payload()?;
    let place = std::str::from_utf8(key).ok()?.strip_prefix(group)?.strip_prefix('/')?;
    let (partition, offset) = place.split_once('/')?;
    Some(DeadLetter {
        number: u64::try_from(message.offset()).ok()?,
        group: group.to_owned(),
        position: Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? },
        failures: header(message, FAILURES)?.parse().ok()?,
        reason: header(message, REASON)?.to_owned(),
        dead_ms: header(message, DEAD_MS)?.parse().ok()?,
        event: event_of(message).0,
    })
}
