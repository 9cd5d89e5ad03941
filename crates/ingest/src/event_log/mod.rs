//! Events that stream in: a durable log with producers, groups of consumers and dead letters.
//!
//! ```text
//! append (batch) ─→ log: partitions by key ─→ group ─→ member: read → do the work → commit
//!                    │ at once or never          │                        └ fail → again … → dead letter → replay
//!                    └ ids seen lately are dropped └ each group reads everything, from where it committed last
//! ```
//!
//! [`open`] gives one of three back ends behind [`EventLog`]: files in a folder (the default), NATS JetStream, Kafka.
//!
//! # What is promised
//! - An append that returned `Ok` is durable by the policy of the back end: with [`Fsync::Always`] on disk; with
//!   [`Fsync::Every`] written, and on disk after at most that time; with NATS and Kafka acknowledged by the stream, or by
//!   all replicas in sync. An append that failed may have left some of its events: append the batch again, ids make
//!   that harmless.
//! - At least once: what a group has not committed comes again, to the member that takes its partition over.
//! - Order within a key, also when events come again: a partition is with one member at a time, and a failed event
//!   holds back those behind it in its partition.
//! - Counted once: events whose id was seen within the window of [`EventLogSettings`] (a number of events and a time)
//!   are dropped when they are appended. Kafka cannot do that: there, and for events that come again, members ask
//!   [`Idempotent`], which is kept together with the effects.
//! - After [`EventLogSettings::deliveries_max`] failures an event becomes a dead letter with its reason. Deaths of the
//!   process are no failures: an event is only given up when a member said that it failed.
//! - Retention removes the oldest events. A group that lags holds back the embedded log up to twice
//!   [`EventLogSettings::retention_bytes`]; whatever is removed unread is told once as [`EventLogError::Lost`].
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use std::time::Duration;
//! use tradewind_ingest::event_log::{self, Event, EventLogSettings, Start};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let log = event_log::open(&EventLogSettings::default(), folder.path()).await.unwrap();
//! let event = Event::new("order-17", "visitor-4", 1_700_000_000_000, r#"{"item":"tea"}"#);
//! assert_eq!(log.append(&[event.clone()]).await.unwrap().written, 1);
//! assert_eq!(log.append(&[event]).await.unwrap().duplicates, 1);
//!
//! let mut member = log.join("warehouse", Start::Earliest).await.unwrap();
//! let batch = member.read(100, Duration::from_secs(1)).await.unwrap();
//! assert_eq!(batch[0].event.key, "visitor-4");
//! member.commit().await.unwrap();
//! # });
//! ```

mod broker;
mod dead;
mod embedded;
mod error;
mod frame;
mod group;
mod idempotent;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_member;
mod nats;
mod nats_places;
mod repair;
mod segment;
mod settings;
mod window;
mod writer;

pub use embedded::{EmbeddedLog, Recovery};
pub use error::{EventLogError, Result};
pub use idempotent::Idempotent;
#[cfg(feature = "kafka")]
pub use kafka::KafkaLog;
pub use nats::NatsLog;
pub use repair::{LostFrames, RepairReport, repair};
pub use settings::{EventLogSettings, Fsync};

use bytes::Bytes;
use futures::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longest id of an event, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest key of an event, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest payload of an event, in bytes: what NATS and Kafka take by default, less room for id and key.
pub const PAYLOAD_BYTES_MAX: usize = 1_000_000;
/// Most events of one append.
pub const BATCH_EVENTS_MAX: usize = 100_000;
/// Most bytes of one append.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 64;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What makes it this event and no other: 1 to [`ID_BYTES_MAX`] bytes. A producer that tries again sends the same id.
    pub id: String,
    /// Events of one key keep their order: 0 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// When it happened, in milliseconds since 1970, UTC, as the producer says.
    pub time_ms: i64,
    /// What happened; the log does not look into it. At most [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Bytes,
}

impl Event {
    /// An event.
    pub fn new(
        id: impl Into<String>,
        key: impl Into<String>,
        time_ms: i64,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self { id: id.into(), key: key.into(), time_ms, payload: payload.into() }
    }

    fn bytes(&self) -> usize {
        self.id.len() + self.key.len() + self.payload.len() + 32
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Events that are in the log now and were not before.
    pub written: usize,
    /// Events dropped because their id was seen within the window.
    pub duplicates: usize,
}

/// Where an event is. Within a partition offsets grow; they may have gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition, from 0.
    pub partition: u32,
    /// The place in it.
    pub offset: u64,
}

/// An event handed to a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it is.
    pub position: Position,
    /// How often the group has failed at it, as far as is known.
    pub failures: u32,
    /// The event.
    pub event: Event,
}

/// What became of an event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It will come again, with all behind it in its partition.
    Again {
        /// Failures so far.
        failures: u32,
    },
    /// It is a dead letter now; the group goes on behind it.
    Dead,
}

/// Where a group begins that never was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event that is kept.
    #[default]
    Earliest,
    /// With the next event appended.
    Latest,
}

/// An event that a group gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it when it is replayed or deleted.
    pub number: u64,
    /// The group that gave it up.
    pub group: String,
    /// Where it was.
    pub position: Position,
    /// How often it failed.
    pub failures: u32,
    /// Why it failed last, as the member said; at most 1,000 bytes.
    pub reason: String,
    /// When it was given up, in milliseconds since 1970, UTC.
    pub dead_ms: i64,
    /// The event.
    pub event: Event,
}

/// A group and how far it is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetrics {
    /// Its name.
    pub group: String,
    /// Events in the log that it has not committed.
    pub lag: u64,
    /// Dead letters of the group.
    pub dead_letters: u64,
}

/// What there is to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMetrics {
    /// Events kept.
    pub events: u64,
    /// Bytes kept; what a broker does not tell is 0.
    pub bytes: u64,
    /// Events appended by this process since it opened the log.
    pub appended: u64,
    /// Duplicates dropped by this process since it opened the log.
    pub duplicates: u64,
    /// Every group known to the back end, by name. Kafka: those this process has joined.
    pub groups: Vec<GroupMetrics>,
}

/// A durable log of events. Copies share it; all its calls may come from many tasks at once.
pub trait EventLog: Send + Sync {
    /// Appends a batch and returns when it is durable by the policy. Order within a key is that of the batch.
    ///
    /// # Errors
    /// When an event breaks a limit (then nothing was appended), or the log could not take it: then append the same
    /// batch again.
    fn append<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Result<Appended>>;

    /// Becomes a member of a group; `start` counts when the group is new. Names are 1 to [`GROUP_BYTES_MAX`] of
    /// `a-z A-Z 0-9 _ -`.
    ///
    /// # Errors
    /// When the name is out of range or the back end does not answer.
    fn join<'a>(&'a self, group: &'a str, start: Start) -> BoxFuture<'a, Result<Box<dyn Member>>>;

    /// Dead letters of a group, oldest first, at most `letters_max`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn dead_letters<'a>(
        &'a self,
        group: &'a str,
        letters_max: usize,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>>;

    /// Hands dead letters to their group again, behind everything there is, and to no other group; they are dead
    /// letters no more. Numbers that are not there are left out. How many were replayed.
    ///
    /// # Errors
    /// When they cannot be read or appended; replaying again is harmless to members that ask [`Idempotent`].
    fn replay<'a>(&'a self, group: &'a str, numbers: &'a [u64]) -> BoxFuture<'a, Result<usize>>;

    /// Deletes dead letters. How many were there.
    ///
    /// # Errors
    /// When they cannot be deleted.
    fn delete_dead_letters<'a>(&'a self, group: &'a str, numbers: &'a [u64]) -> BoxFuture<'a, Result<usize>>;

    /// Sizes and lags now.
    ///
    /// # Errors
    /// When the back end does not answer.
    fn metrics(&self) -> BoxFuture<'_, Result<LogMetrics>>;

    /// Writes out what is left and lets go of the log. Later calls give [`EventLogError::Closed`].
    ///
    /// # Errors
    /// When the last events could not be written out.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

/// A member of a group. Dropping it gives its partitions back uncommitted.
pub trait Member: Send {
    /// The next events, at most `events_max` (at least one is asked for): waits up to `wait` for the first one and
    /// returns an empty list when there is none. Events read before and not committed are not read twice.
    ///
    /// # Errors
    /// When events were lost to retention, are damaged, or the back end does not answer.
    fn read(&mut self, events_max: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>>>;

    /// Says that all events read so far are done with: they do not come again.
    ///
    /// # Errors
    /// When this cannot be kept: the events may come again.
    fn commit(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Says that the event at `position` failed and those read before it in its partition are done with. It comes
    /// again, and all behind it in its partition, until it has failed [`EventLogSettings::deliveries_max`] times.
    ///
    /// # Errors
    /// When `position` was not read or is committed, or this cannot be kept.
    fn fail<'a>(&'a mut self, position: Position, reason: &'a str) -> BoxFuture<'a, Result<Failed>>;
}

/// Opens the log that the settings name; `folder` is where the embedded log lies.
///
/// # Errors
/// When a setting is out of range, the log is in use or damaged, or the broker does not answer.
pub async fn open(settings: &EventLogSettings, folder: &Path) -> Result<Arc<dyn EventLog>> {
    settings.check()?;
    let address = settings.address.as_str();
    if address.is_empty() {
        return Ok(Arc::new(EmbeddedLog::open(settings, folder).await?));
    }
    if address.starts_with("nats://") || address.starts_with("tls://") {
        return Ok(Arc::new(NatsLog::connect(settings).await?));
    }
    #[cfg(feature = "kafka")]
    return Ok(Arc::new(KafkaLog::connect(settings).await?));
    #[cfg(not(feature = "kafka"))]
    Err(EventLogError::NotBuilt { system: "Kafka", feature: "kafka" })
}

/// Refuses a batch that breaks a limit.
fn check(events: &[Event]) -> Result<()> {
    if events.len() > BATCH_EVENTS_MAX {
        return Err(EventLogError::Setting {
            name: "events of one batch",
            got: events.len().to_string(),
            allowed: format!("at most {BATCH_EVENTS_MAX}"),
        });
    }
    let bytes: usize = events.iter().map(Event::bytes).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(EventLogError::Setting {
            name: "bytes of one batch",
            got: bytes.to_string(),
            allowed: format!("at most {BATCH_BYTES_MAX}"),
        });
    }
    for (index, event) in events.iter().enumerate() {
        let limits = [
            ("id", event.id.len(), ID_BYTES_MAX),
            ("key", event.key.len(), KEY_BYTES_MAX),
            ("payload", event.payload.len(), PAYLOAD_BYTES_MAX),
        ];
        if event.id.is_empty() {
            return Err(EventLogError::Event { index, why: "its id is empty".to_owned() });
        }
        if let Some((what, got, most)) = limits.into_iter().find(|(_, got, most)| got > most) {
            return Err(EventLogError::Event {
                index,
                why: format!("its {what} has {got} bytes; allowed: at most {most}"),
            });
        }
    }
    Ok(())
}

/// Refuses a name that could not be a file, a subject or a topic.
fn check_group(group: &str) -> Result<()> {
    let fits = !group.is_empty()
        && group.len() <= GROUP_BYTES_MAX
        && group.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits {
        return Ok(());
    }
    Err(EventLogError::Setting {
        name: "the name of a group",
        got: format!("{:?}", group.chars().take(80).collect::<String>()),
        allowed: format!("1 to {GROUP_BYTES_MAX} of a-z, A-Z, 0-9, _ and -"),
    })
}

/// A reason as it is kept: one line of at most 1,000 bytes.
fn plain_reason(reason: &str) -> String {
    let mut end = reason.len().min(1000);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The 16 bytes by which an id is remembered.
fn id_hash(id: &str) -> u128 {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(out)
}

/// The partition of a key. Part of the format: events lie and positions count by it.
fn partition_of(key: &str, partitions: u32) -> u32 {
    let mut out = [0; 8];
    out.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..8]);
    (u64::from_le_bytes(out) % u64::from(partitions.max(1))) as u32
}

/// Milliseconds since 1970, UTC.
fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
