//! The faults of the event log.

use std::path::{Path, PathBuf};
use tradewind_core::{ErrorKind, Fault};

/// What can go wrong with an event log. Neither payloads, ids nor keys of events are in its texts, nor are passwords of
/// brokers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// An event that breaks a limit.
    #[error("event {index} of the batch: {why}")]
    Event {
        /// Its place in the batch, from 0.
        index: usize,
        /// What is wrong.
        why: String,
    },
    /// A setting or name outside its range.
    #[error("event log: {name} is {got}; allowed: {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The value received.
        got: String,
        /// The allowed range in words.
        allowed: String,
    },
    /// A file or folder could not be read or written.
    #[error("{}: cannot {action}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as `write`.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No space is left. What was acknowledged is kept; nothing of this batch was.
    #[error("{}: the disk is full: {source}", .path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the log open.
    #[error("{}: another process writes this event log", .path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// Bytes that were written once are not what they were.
    #[error("{}: damaged at byte {offset}: {why}", .path.display())]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where the first damaged frame begins.
        offset: u64,
        /// What was found.
        why: String,
    },
    /// Retention took events away before the group had read them. Told once; the next read goes on behind the gap.
    #[error(
        "group {group}: partition {partition}: events before {next} were removed by retention before they were read"
    )]
    Lost {
        /// The group.
        group: String,
        /// The partition.
        partition: u32,
        /// The first event that is still there.
        next: u64,
    },
    /// Another member of the group has taken the partition over; what was not committed comes again, to that member.
    #[error("group {group}: partition {partition} was taken over by another member")]
    TakenOver {
        /// The group.
        group: String,
        /// The partition.
        partition: u32,
    },
    /// A position that this member was not handed, or has committed already.
    #[error("group {group}: {partition}/{offset} is not among the events read and not yet committed")]
    NotDelivered {
        /// The group.
        group: String,
        /// The partition.
        partition: u32,
        /// The position asked for.
        offset: u64,
    },
    /// Too many dead letters are kept.
    #[error("group {group} has {kept} dead letters, as many as are kept")]
    DeadLettersFull {
        /// The group.
        group: String,
        /// How many there are.
        kept: usize,
    },
    /// The broker did not answer or refused.
    #[error("{system} ({address}): {action} failed: {why}")]
    Broker {
        /// NATS or Kafka.
        system: &'static str,
        /// Where it is, without user and password.
        address: String,
        /// What was tried.
        action: &'static str,
        /// Why.
        why: String,
    },
    /// The broker's stream or topic is not as it must be.
    #[error("{system} ({address}): {what} {why}")]
    Unfit {
        /// NATS or Kafka.
        system: &'static str,
        /// Where it is, without user and password.
        address: String,
        /// The stream or topic.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// This build has no such back end.
    #[error("this build has no event log in {system}")]
    NotBuilt {
        /// The back end.
        system: &'static str,
        /// The cargo feature that has it.
        feature: &'static str,
    },
    /// The log was closed, or its writer stopped.
    #[error("the event log is closed")]
    Closed,
}

impl EventLogError {
    /// A fault of the file at `path`; a full disk is told apart.
    pub(crate) fn file(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match source.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
                Self::DiskFull { path: path.to_owned(), source }
            }
            _ => Self::File { path: path.to_owned(), action, source },
        }
    }

    /// The same fault for another waiter: causes cannot be copied, their texts can.
    pub(crate) fn again(&self) -> Self {
        let copy = |e: &std::io::Error| match e.raw_os_error() {
            Some(code) => std::io::Error::from_raw_os_error(code),
            None => std::io::Error::new(e.kind(), e.to_string()),
        };
        match self {
            Self::File { path, action, source } => {
                Self::File { path: path.clone(), action, source: copy(source) }
            }
            Self::DiskFull { path, source } => Self::DiskFull { path: path.clone(), source: copy(source) },
            _ => Self::Closed,
        }
    }
}

impl Fault for EventLogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Event { .. } | Self::Damaged { .. } => ErrorKind::InvalidInput,
            Self::Setting { .. } | Self::NotBuilt { .. } | Self::Unfit { .. } => ErrorKind::InvalidParams,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::NotDelivered { .. } => ErrorKind::NotFound,
            Self::InUse { .. } | Self::TakenOver { .. } | Self::DeadLettersFull { .. } => ErrorKind::Conflict,
            Self::File { .. }
            | Self::DiskFull { .. }
            | Self::Lost { .. }
            | Self::Broker { .. }
            | Self::Closed => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::DiskFull { .. } => "free space and append the batch again; the log goes on by itself",
            Self::InUse { .. } => "stop the other process, or send events to it",
            Self::Damaged { .. } => {
                "copy the folder, then repair the log: the damaged frames are set aside and told, the rest is kept"
            }
            Self::Lost { .. } => "raise retention in [events], or add members to the group",
            Self::TakenOver { .. } => "read again; commit within the lease",
            Self::DeadLettersFull { .. } => "replay or delete dead letters of this group",
            Self::Broker { .. } => {
                "see whether the broker runs and the setting [events] address names it rightly"
            }
            Self::Unfit { .. } => "change the settings of [events] to match, or give another name",
            Self::NotBuilt { feature, .. } => {
                return Some(format!("build with the cargo feature `{feature}`"));
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// The result of the event log's functions.
pub type Result<T, E = EventLogError> = std::result::Result<T, E>;
