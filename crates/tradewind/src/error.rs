//! The one error that leaves the facade.

use std::path::PathBuf;
use tradewind_core::{ErrorKind, Fault};

/// What went wrong, whoever found it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value, a model or its parameters.
    #[error(transparent)]
    Core(#[from] tradewind_core::Error),
    /// A file that comes in.
    #[error(transparent)]
    Ingest(#[from] tradewind_ingest::IngestError),
    /// The log of events.
    #[error(transparent)]
    EventLog(#[from] tradewind_ingest::event_log::EventLogError),
    /// The shop's folder.
    #[error(transparent)]
    Warehouse(#[from] tradewind_warehouse::Error),
    /// The state of operations: registry, jobs, access.
    #[error(transparent)]
    Ops(#[from] tradewind_ops::Error),
    /// A file or folder that could not be reached.
    #[error("{}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A version's artifact that is not whole.
    #[error("{} {what}", .path.display())]
    Artifact {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// What was asked does not go together; the text says what does.
    #[error("{text}")]
    Asked {
        /// What is wrong.
        text: String,
        /// What to do.
        hint: String,
    },
}

impl Error {
    /// A file or folder that could not be reached.
    pub fn file(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { path: path.into(), source }
    }

    /// A question that cannot be answered as it was asked.
    pub fn asked(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Asked { text: text.into(), hint: hint.into() }
    }
}

impl Fault for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Core(e) => e.kind(),
            Self::Ingest(e) => e.kind(),
            Self::EventLog(e) => e.kind(),
            Self::Warehouse(e) => e.kind(),
            Self::Ops(e) => e.kind(),
            Self::Artifact { .. } => ErrorKind::InvalidInput,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::File { .. } => ErrorKind::Unavailable,
            Self::Asked { .. } => ErrorKind::InvalidParams,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(e) => e.hint(),
            Self::Ingest(e) => e.hint(),
            Self::EventLog(e) => e.hint(),
            Self::Warehouse(e) => e.hint(),
            Self::Ops(e) => e.hint(),
            Self::Artifact { .. } => {
                Some("fetch the version from the registry again, or make it anew".to_owned())
            }
            Self::File { .. } => None,
            Self::Asked { hint, .. } => Some(hint.clone()),
        }
    }
}

/// The result of the facade's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
