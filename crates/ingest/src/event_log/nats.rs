//! The event log in NATS JetStream (server 2.9 or newer).
//!
//! ```text
//! stream <name>         subjects <name>.e.<partition>                  events; file storage, retention, Nats-Msg-Id
//! stream <name>-places  subjects <name>.place.<group>.<partition>      where groups are, and who has which partition
//!                                <name>.member.<group>.<member>        members that are alive
//! stream <name>-dead    subjects <name>.dead.<group>                   dead letters
//! ```
//!
//! An event is its payload with the headers `Tradewind-Id`, `Tradewind-Key` (both percent-encoded) and `Tradewind-Time`,
//! so that other programs can read it. `Nats-Msg-Id` is a hash of the id: the server drops what it has seen within
//! [`EventLogSettings::dedup_ms`].
//!
//! The server acknowledges what is in its file; when it asks its disk to keep it is the server's `sync_interval` (two
//! minutes, unless set to `always`) and the number of replicas.
//!
//! Members pull each partition from its committed place and commit by comparing and setting that place. JetStream's own
//! acknowledgements are not used for it: they let new events overtake those that come again, which would break the order
//! within a key, and they let a member that was thought dead acknowledge what another has in hand.
//!
//! Within one append events are on their way at the same time. Should the connection break just then, a later event of
//! the batch may be in the log and an earlier one not: appending the batch again puts it behind.

use super::broker::Broker;
use super::error::{EventLogError, Result};
use super::nats_places::{NatsMember, Place, member_prefix, place_prefix};
use super::settings::EventLogSettings;
use super::{
    Appended, DeadLetter, Event, GroupMetrics, LogMetrics, Member, Position, Start, id_hash, partition_of,
};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{Context, ContextBuilder, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, Stream};
use async_nats::{HeaderMap, ServerAddr};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Events on their way to the server at the same time, of one append.
const IN_FLIGHT_MAX: usize = 512;
/// How long the server may take to answer.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(10);
const ID: &str = "Tradewind-Id";
const KEY: &str = "Tradewind-Key";
const TIME: &str = "Tradewind-Time";
/// The only group that is meant.
const ONLY_FOR: &str = "Tradewind-Group";
const PLACE: &str = "Tradewind-Place";
const FAILURES: &str = "Tradewind-Failures";
const REASON: &str = "Tradewind-Reason";
const DEAD_MS: &str = "Tradewind-Dead";

/// A log in NATS JetStream: see the [module](super).
pub struct NatsLog {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: EventLogSettings,
    address: String,
    client: async_nats::Client,
    pub(crate) context: Context,
    pub(crate) events: Stream,
    pub(crate) places: Stream,
    dead: Stream,
    appended: AtomicU64,
    duplicates: AtomicU64,
    closed: AtomicBool,
}

impl NatsLog {
    /// Connects, makes the streams that are not there, and sets retention of those that are.
    ///
    /// # Errors
    /// When the server does not answer or has no JetStream, or a stream of this name is something else.
    pub async fn connect(settings: &EventLogSettings) -> Result<Self> {
        settings.check()?;
        let address = settings.shown_address();
        let fault = |action, e: &dyn Display| EventLogError::Broker {
            system: "NATS",
            address: address.clone(),
            action,
            // The client's texts may hold the address as it was given.
            why: plain(&e.to_string(), &settings.address),
        };
        let scheme = if settings.address.starts_with("tls://") { "tls://" } else { "nats://" };
        let servers = settings
            .address
            .split(',')
            .map(|s| if s.contains("://") { s.parse() } else { format!("{scheme}{s}").parse() })
            .collect::<std::result::Result<Vec<ServerAddr>, _>>()
            .map_err(|_| fault("reading the address", &"it is no address of a server"))?;
        let client = async_nats::ConnectOptions::new()
            .name("tradewind")
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(ANSWER_WAIT))
            .connect(servers)
            .await
            .map_err(|e| fault("connecting", &e))?;
        let context = ContextBuilder::new()
            .timeout(ANSWER_WAIT)
            .ack_timeout(ANSWER_WAIT)
            .backpressure_on_inflight(true)
            .build(client.clone());

        let name = &settings.name;
        let max_bytes = match settings.retention_bytes {
            0 => -1,
            bytes => i64::try_from(bytes).unwrap_or(i64::MAX),
        };
        let max_age = Duration::from_millis(settings.retention_ms);
        let mut duplicate_window = Duration::from_millis(settings.dedup_ms);
        if !max_age.is_zero() {
            duplicate_window = duplicate_window.min(max_age);
        }
        let base = || stream::Config {
            storage: stream::StorageType::File,
            retention: stream::RetentionPolicy::Limits,
            discard: stream::DiscardPolicy::Old,
            num_replicas: 1,
            ..stream::Config::default()
        };
        let events = stream::Config {
            name: name.clone(),
            description: Some("events of Tradewind".to_owned()),
            subjects: (0..settings.partitions).map(|p| event_subject(name, p)).collect(),
            max_bytes,
            max_age,
            duplicate_window,
            ..base()
        };
        let places = stream::Config {
            name: format!("{name}-places"),
            description: Some("where groups of Tradewind's events are".to_owned()),
            subjects: vec![format!("{name}.place.>"), format!("{name}.member.>")],
            max_messages_per_subject: 1,
            ..base()
        };
        let dead = stream::Config {
            name: format!("{name}-dead"),
            description: Some("events that groups gave up".to_owned()),
            subjects: vec![format!("{name}.dead.*")],
            ..base()
        };
        let mut streams = Vec::with_capacity(3);
        for config in [events, places, dead] {
            streams.push(ready(&context, config, &address, &fault).await?);
        }
        let (Some(dead), Some(places), Some(events)) = (streams.pop(), streams.pop(), streams.pop()) else {
            return Err(EventLogError::Closed);
        };
        Ok(Self {
            inner: Arc::new(Inner {
                settings: settings.clone(),
                address,
                client,
                context,
                events,
                places,
                dead,
                appended: AtomicU64::new(0),
                duplicates: AtomicU64::new(0),
                closed: AtomicBool::new(false),
            }),
        })
    }
}

/// Makes a stream, or takes the one that is there if it fits.
async fn ready(
    context: &Context,
    mut wanted: stream::Config,
    address: &str,
    fault: &dyn Fn(&'static str, &dyn Display) -> EventLogError,
) -> Result<Stream> {
    let stream =
        context.get_or_create_stream(wanted.clone()).await.map_err(|e| fault("making the stream", &e))?;
    let found = &stream.cached_info().config;
    let unfit = |why: String| EventLogError::Unfit {
        system: "NATS",
        address: address.to_owned(),
        what: format!("stream {}", wanted.name),
        why,
    };
    if found.subjects != wanted.subjects {
        return Err(unfit(format!(
            "has the subjects {}, not {}; the number of partitions cannot change",
            found.subjects.join(" "),
            wanted.subjects.join(" ")
        )));
    }
    if found.storage != wanted.storage || found.retention != wanted.retention || found.no_ack || found.sealed
    {
        return Err(unfit("is not kept in files until its limits, or takes no messages".to_owned()));
    }
    let differs = found.max_bytes != wanted.max_bytes
        || found.max_age != wanted.max_age
        || (found.duplicate_window != wanted.duplicate_window && !wanted.duplicate_window.is_zero());
    if differs {
        // Replicas and the like may have been set by hand: only what the settings say changes.
        let mut config = found.clone();
        config.max_bytes = wanted.max_bytes;
        config.max_age = wanted.max_age;
        config.duplicate_window = std::mem::take(&mut wanted.duplicate_window);
        context.update_stream(config).await.map_err(|e| fault("setting the stream's limits", &e))?;
    }
    Ok(stream)
}

impl Inner {
    pub(crate) fn fault(&self, action: &'static str, e: impl Display) -> EventLogError {
        let why = plain(&e.to_string(), &self.settings.address);
        EventLogError::Broker { system: "NATS", address: self.address.clone(), action, why }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(EventLogError::Closed) } else { Ok(()) }
    }

    /// Publishes events and waits for all acknowledgements.
    async fn publish(&self, events: &[Event], only_for: &str) -> Result<Appended> {
        let mut appended = Appended::default();
        for chunk in events.chunks(IN_FLIGHT_MAX) {
            let mut waiting = Vec::with_capacity(chunk.len());
            for event in chunk {
                let mut headers = event_headers(event);
                if only_for.is_empty() {
                    headers.insert("Nats-Msg-Id", format!("{:032x}", id_hash(&event.id)));
                } else {
                    headers.insert(ONLY_FOR, only_for);
                }
                let subject =
                    event_subject(&self.settings.name, partition_of(&event.key, self.settings.partitions));
                let message = PublishMessage::build().payload(event.payload.clone()).headers(headers);
                waiting.push(
                    self.context
                        .send_publish(subject, message)
                        .await
                        .map_err(|e| self.fault("appending", e))?,
                );
            }
            for ack in waiting {
                if ack.await.map_err(|e| self.fault("appending", e))?.duplicate {
                    appended.duplicates += 1;
                } else {
                    appended.written += 1;
                }
            }
        }
        self.appended.fetch_add(appended.written as u64, Ordering::Relaxed);
        self.duplicates.fetch_add(appended.duplicates as u64, Ordering::Relaxed);
        Ok(appended)
    }

    /// Keeps an event that a group gave up; the same one again is one.
    pub(crate) async fn bury(&self, letter: &DeadLetter) -> Result<()> {
        let mut headers = event_headers(&letter.event);
        let Position { partition, offset } = letter.position;
        headers.insert("Nats-Msg-Id", format!("{}/{partition}/{offset}", letter.group));
        headers.insert(PLACE, format!("{partition}/{offset}"));
        headers.insert(FAILURES, letter.failures.to_string());
        headers.insert(REASON, encode(&letter.reason));
        headers.insert(DEAD_MS, letter.dead_ms.to_string());
        let message = PublishMessage::build().payload(letter.event.payload.clone()).headers(headers);
        let subject = dead_subject(&self.settings.name, &letter.group);
        let fault = |e| self.fault("keeping a dead letter", e);
        self.context.send_publish(subject, message).await.map_err(fault)?.await.map_err(fault)?;
        Ok(())
    }

    /// A dead letter by its number, if it is one of this group.
    async fn letter(&self, group: &str, number: u64) -> Result<Option<DeadLetter>> {
        if number == 0 || number > i64::MAX as u64 {
            return Ok(None);
        }
        match self.dead.get_raw_message(number).await {
            Ok(m) if m.subject.as_str() == dead_subject(&self.settings.name, group) => {
                Ok(letter_of(group, number, &m.headers, m.payload))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(e) => Err(self.fault("reading a dead letter", e)),
        }
    }

    /// Subjects of a stream that fit a filter, and how many messages each has.
    pub(crate) async fn subjects(&self, stream: &Stream, filter: String) -> Result<BTreeMap<String, usize>> {
        let fault = |e: &dyn Display| self.fault("listing subjects", e);
        let info = stream.info_with_subjects(filter).await.map_err(|e| fault(&e))?;
        info.try_collect().await.map_err(|e| fault(&e))
    }

    /// A consumer of one partition from a place on. It keeps nothing at the server and goes when it is not used.
    pub(crate) async fn reader(
        &self,
        partition: u32,
        next: u64,
    ) -> Result<async_nats::jetstream::consumer::Consumer<pull::Config>> {
        let filter = event_subject(&self.settings.name, partition);
        self.consumer(&self.events, filter, next).await
    }

    async fn consumer(
        &self,
        stream: &Stream,
        filter_subject: String,
        next: u64,
    ) -> Result<async_nats::jetstream::consumer::Consumer<pull::Config>> {
        let config = pull::Config {
            deliver_policy: match next {
                0 | 1 => DeliverPolicy::All,
                start_sequence => DeliverPolicy::ByStartSequence { start_sequence },
            },
            ack_policy: AckPolicy::None,
            filter_subject,
            inactive_threshold: Duration::from_secs(60),
            memory_storage: true,
            ..pull::Config::default()
        };
        stream.create_consumer(config).await.map_err(|e| self.fault("making a consumer", e))
    }

    /// The next message of a batch; none when the server said that this was all.
    pub(crate) async fn next_of(
        &self,
        batch: &mut pull::Batch,
        until: Instant,
        action: &'static str,
    ) -> Result<Option<jetstream::Message>> {
        match tokio::time::timeout_at(until.into(), batch.next()).await {
            Ok(next) => next.transpose().map_err(|e| self.fault(action, e)),
            Err(_) => Err(self.fault(action, "the server does not answer")),
        }
    }

    /// Events of a partition from a place on.
    async fn pending(&self, partition: u32, next: u64, last: u64) -> Result<u64> {
        if next > last {
            return Ok(0);
        }
        let consumer = self.reader(partition, next).await?;
        let info = consumer.cached_info();
        let pending = info.num_pending;
        // It would go by itself; not to pile up, it goes now.
        let _ = self.events.delete_consumer(&info.name).await;
        Ok(pending)
    }
}

impl Broker for NatsLog {
    fn check_open(&self) -> Result<()> {
        self.inner.check_open()
    }

    async fn publish(&self, events: &[Event], only_for: &str) -> Result<Appended> {
        self.inner.publish(events, only_for).await
    }

    async fn member(&self, group: &str, start: Start) -> Result<Box<dyn Member>> {
        Ok(Box::new(NatsMember::join(self.inner.clone(), group, start).await?))
    }

    async fn letters(&self, group: &str, letters_max: usize) -> Result<Vec<DeadLetter>> {
        let inner = &self.inner;
        let consumer = inner.consumer(&inner.dead, dead_subject(&inner.settings.name, group), 0).await?;
        let mut letters = Vec::new();
        let mut left = consumer.cached_info().num_pending.min(letters_max as u64) as usize;
        while left > 0 {
            let action = "reading dead letters";
            let fault = |e: &dyn Display| inner.fault(action, e);
            let mut batch =
                consumer.fetch().max_messages(left.min(256)).messages().await.map_err(|e| fault(&e))?;
            let (before, until) = (left, Instant::now() + ANSWER_WAIT);
            while let Some(message) = inner.next_of(&mut batch, until, action).await? {
                let number = message.info().map_err(|e| fault(&e))?.stream_sequence;
                let headers = message.headers.clone().unwrap_or_default();
                letters.extend(letter_of(group, number, &headers, message.payload.clone()));
                left -= 1;
            }
            if left == before {
                break;
            }
        }
        let _ = inner.dead.delete_consumer(&consumer.cached_info().name).await;
        Ok(letters)
    }

    async fn numbered(&self, group: &str, numbers: &[u64]) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for number in numbers {
            letters.extend(self.inner.letter(group, *number).await?);
        }
        Ok(letters)
    }

    async fn remove(&self, letter: &DeadLetter) -> Result<()> {
        let deleted = self.inner.dead.delete_message(letter.number).await;
        deleted.map(|_| ()).map_err(|e| self.inner.fault("deleting a dead letter", e))
    }

    async fn sizes(&self) -> Result<LogMetrics> {
        let inner = &self.inner;
        let state = inner.events.get_info().await.map_err(|e| inner.fault("asking for sizes", e))?.state;
        let prefix = place_prefix(&inner.settings.name, "");
        let mut groups: BTreeMap<String, GroupMetrics> = BTreeMap::new();
        for subject in inner.subjects(&inner.places, format!("{}.place.>", inner.settings.name)).await?.keys()
        {
            let named = subject.strip_prefix(&prefix).and_then(|rest| rest.rsplit_once('.'));
            let Some((group, Ok(partition))) = named.map(|(g, p)| (g, p.parse::<u32>())) else {
                continue;
            };
            let Some((place, _)) = Place::read(inner, group, partition).await? else { continue };
            let lag = inner.pending(partition, place.next, state.last_sequence).await?;
            let metrics = groups.entry(group.to_owned()).or_insert_with(|| GroupMetrics {
                group: group.to_owned(),
                lag: 0,
                dead_letters: 0,
            });
            metrics.lag += lag;
        }
        let dead_prefix = dead_subject(&inner.settings.name, "");
        for (subject, count) in inner.subjects(&inner.dead, format!("{dead_prefix}*")).await? {
            let group = subject.strip_prefix(&dead_prefix).unwrap_or_default();
            if let Some(metrics) = groups.get_mut(group) {
                metrics.dead_letters = count as u64;
            }
        }
        Ok(LogMetrics {
            events: state.messages,
            bytes: state.bytes,
            appended: inner.appended.load(Ordering::Relaxed),
            duplicates: inner.duplicates.load(Ordering::Relaxed),
            groups: groups.into_values().collect(),
        })
    }

    async fn leave(&self) -> Result<()> {
        if !self.inner.closed.swap(true, Ordering::SeqCst) {
            // Every append has waited for its acknowledgement; what is left are members that let go.
            let _ = tokio::time::timeout(ANSWER_WAIT, self.inner.client.flush()).await;
        }
        Ok(())
    }
}

pub(crate) fn event_subject(name: &str, partition: u32) -> String {
    format!("{name}.e.{partition}")
}

fn dead_subject(name: &str, group: &str) -> String {
    format!("{name}.dead.{group}")
}

fn event_headers(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ID, encode(&event.id));
    headers.insert(KEY, encode(&event.key));
    headers.insert(TIME, event.time_ms.to_string());
    headers
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|v| v.as_str())
}

/// The event of a message, and the only group that is meant. What another program published without our headers has
/// its place in the stream for an id.
pub(crate) fn event_of(
    headers: &HeaderMap,
    payload: Bytes,
    sequence: u64,
    published_ms: i64,
) -> (Event, String) {
    let id = text(headers, ID).and_then(decode).or_else(|| text(headers, "Nats-Msg-Id").map(str::to_owned));
    let event = Event {
        id: id.unwrap_or_else(|| format!("sequence-{sequence}")),
        key: text(headers, KEY).and_then(decode).unwrap_or_default(),
        time_ms: text(headers, TIME).and_then(|t| t.parse().ok()).unwrap_or(published_ms),
        payload,
    };
    (event, text(headers, ONLY_FOR).unwrap_or_default().to_owned())
}

fn letter_of(group: &str, number: u64, headers: &HeaderMap, payload: Bytes) -> Option<DeadLetter> {
    let (event, _) = event_of(headers, payload, number, 0);
    let (partition, offset) = text(headers, PLACE)?.split_once('/')?;
    Some(DeadLetter {
        number,
        group: group.to_owned(),
        position: Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? },
        failures: text(headers, FAILURES)?.parse().ok()?,
        reason: decode(text(headers, REASON)?)?,
        dead_ms: text(headers, DEAD_MS)?.parse().ok()?,
        event,
    })
}

/// Texts as headers may hold them: everything but letters, digits and `-_.~` as `%XX`.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// A text of the client without user and password.
fn plain(text: &str, address: &str) -> String {
    let mut out = text.to_owned();
    for server in address.split(',') {
        let server = server.split_once("://").map_or(server, |(_, rest)| rest);
        if let Some((secret, _)) = server.rsplit_once('@') {
            out = out.replace(secret, "…");
            for part in secret.split(':').filter(|p| p.len() > 2) {
                out = out.replace(part, "…");
            }
        }
    }
    out
}

pub(crate) fn is_wrong_sequence(kind: PublishErrorKind) -> bool {
    kind == PublishErrorKind::WrongLastSequence
}

pub(crate) fn all_members(name: &str, group: &str) -> String {
    format!("{}*", member_prefix(name, group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_come_back(text in "\\PC{0,40}[\\r\\n\\x00%]{0,3}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(decode(&encoded), Some(text));
        }

        #[test]
        fn strange_headers_are_no_panic(text in "\\PC{0,40}") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn secrets_of_the_address_are_in_no_text() {
        let address = "nats://tea:s3cret@a:1,nats://tok3n@b:2";
        let told = plain("cannot reach nats://tea:s3cret@a:1 (tok3n refused)", address);
        assert!(!told.contains("s3cret") && !told.contains("tok3n"), "{told}");
        let settings = EventLogSettings { address: address.to_owned(), ..EventLogSettings::default() };
        assert_eq!(settings.shown_address(), "a:1,b:2");
    }
}
