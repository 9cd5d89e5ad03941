//! The faults of this crate.

use std::path::PathBuf;
use tradewind_core::{ErrorKind, Fault};

/// What can go wrong with the life of a model. Texts name the thing and the remedy, never a secret: no key, no password
/// of a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database did not answer or refused.
    #[error("the state ({database}): {action} failed: {source}")]
    Database {
        /// The database, without user and password.
        database: String,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// The database was written by a newer Tradewind.
    #[error("the state ({database}) has format {found}; this Tradewind reads formats up to {known}")]
    NewerFormat {
        /// The database, without user and password.
        database: String,
        /// Its format.
        found: i64,
        /// The newest format that can be read.
        known: i64,
    },
    /// The database holds something that this crate did not write.
    #[error("the state ({database}): {message}")]
    Content {
        /// The database, without user and password.
        database: String,
        /// What is wrong.
        message: String,
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
    /// The store of artifacts did not answer or refused.
    #[error("the registry's store ({place}): cannot {action} it: {reason}")]
    Store {
        /// The folder or address, without credentials.
        place: String,
        /// What was tried, as `read`.
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// A file of a version is missing or is not the one that was registered.
    #[error("{version}: the file {file} is {problem} in {place}")]
    Corrupt {
        /// The version, as `trends@3`.
        version: String,
        /// The file's path inside the version.
        file: String,
        /// `missing` or `damaged`.
        problem: &'static str,
        /// Where it lies.
        place: String,
    },
    /// What was asked is not possible as it was asked.
    #[error("{text}")]
    Asked {
        /// What kind of fault it is.
        kind: ErrorKind,
        /// What is wrong, with the value received.
        text: String,
        /// What to do.
        hint: String,
    },
}

impl Error {
    /// A question that cannot be answered as it was asked.
    pub fn asked(kind: ErrorKind, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Asked { kind, text: text.into(), hint: hint.into() }
    }
}

impl Fault for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database { .. } | Self::File { .. } | Self::Store { .. } => ErrorKind::Unavailable,
            Self::NewerFormat { .. } | Self::Content { .. } | Self::Corrupt { .. } => ErrorKind::InvalidInput,
            Self::Asked { kind, .. } => *kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Database { .. } => {
                Some("see whether the database runs and the setting [ops] state names it rightly".to_owned())
            }
            Self::NewerFormat { .. } => Some("update tradewind".to_owned()),
            Self::Store { .. } => {
                Some("see whether the store answers, and for S3 the AWS_… variables of the environment".to_owned())
            }
            Self::Corrupt { .. } => Some(
                "register the same files again (the store is mended from them) or import the version from an export; \
                 until then roll back to another version"
                    .to_owned(),
            ),
            Self::Content { .. } | Self::File { .. } => None,
            Self::Asked { hint, .. } => Some(hint.clone()),
        }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
