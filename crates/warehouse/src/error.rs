//! The faults of this crate.

use std::path::{Path, PathBuf};
use tradewind_core::{ErrorKind, Fault};

/// What can go wrong with a shop.
///
/// Texts name the file, table or key and the remedy; they never hold values of rows, which may be personal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// No shop lies in the folder.
    #[error("{}: no shop here (there is no tradewind.toml)", .0.display())]
    NoShop(PathBuf),
    /// A shop cannot be made here, since something else lies in the folder.
    #[error("{}: the folder is not empty and no shop", .0.display())]
    NotEmpty(PathBuf),
    /// A shop lies in the folder already.
    #[error("{}: there is a shop here already", .0.display())]
    ShopExists(PathBuf),
    /// The shop was written by a newer Tradewind.
    #[error("{}: {what} has format {found}; this Tradewind reads formats up to {known}", .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// What is too new.
        what: String,
        /// Its format.
        found: i64,
        /// The newest format that can be read.
        known: i64,
    },
    /// A settings file that is not valid.
    #[error("{}:{line}: {message}", .path.display())]
    Settings {
        /// The settings file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the key and the allowed values.
        message: String,
    },
    /// Definitions of features that are not valid.
    #[error(transparent)]
    Definitions(crate::features::DefinitionFaults),
    /// The online store of features failed.
    #[error("{}: {action} failed: {source}", .path.display())]
    Online {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// Features were asked for at a time of which the online store keeps too little.
    #[error("view `{view}`: the online store answers from {oldest_ms} on (milliseconds since 1970)")]
    TooEarly {
        /// The view.
        view: String,
        /// The earliest time that can be asked for.
        oldest_ms: i64,
    },
    /// Another import is being written.
    #[error("{}: another import is being written into this shop", .0.display())]
    Busy(PathBuf),
    /// The database of the shop's state failed.
    #[error("{}: {action} failed: {source}", .path.display())]
    State {
        /// The database.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// The database of the shop's state holds something that this crate did not write.
    #[error("{}: {message}", .path.display())]
    StateContent {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A Parquet file of the shop or an output failed.
    #[error("{}: {source}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<parquet::errors::ParquetError>,
    },
    /// A query failed.
    #[error("query failed: {0}")]
    Query(#[source] Box<datafusion::error::DataFusionError>),
    /// Rows handed to a table do not fit it.
    #[error("table `{table}`: {message}")]
    Rows {
        /// The table.
        table: String,
        /// What does not fit, with the column.
        message: String,
    },
    /// A named thing is not there.
    #[error("no {what} `{name}`{}", if .known.is_empty() { String::new() } else { format!("; there are: {}", .known) })]
    NotFound {
        /// What sort of thing.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// An output whose name ends in nothing known.
    #[error("{}: the ending is none of .parquet, .csv, .tsv, .jsonl, .ndjson", .0.display())]
    UnknownOutput(PathBuf),
    /// The data are right but too few, or none.
    #[error("{0}")]
    NotEnough(String),
    /// Values that break a rule of core.
    #[error(transparent)]
    Core(#[from] tradewind_core::Error),
    /// Arrow could not do what was asked of it.
    #[error("{what}: {source}")]
    Arrow {
        /// What was done.
        what: String,
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The machine refused a resource, as threads.
    #[error("cannot {action}: {source}")]
    Machine {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A fault of ours.
    #[error("unexpected: {0}")]
    Unexpected(String),
}

impl Error {
    /// A fault of a file, for `map_err`.
    pub fn file(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, action, source }
    }

    /// A fault of Arrow, for `map_err`.
    pub fn arrow(what: impl Into<String>) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        let what = what.into();
        move |source| Self::Arrow { what, source }
    }

    /// A fault of writing Parquet, for `map_err`. What the disk refused is told as a fault of the file.
    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |source| match source {
            parquet::errors::ParquetError::External(e) => match e.downcast::<std::io::Error>() {
                Ok(source) => Self::File { path, action: "write", source: *source },
                Err(e) => {
                    Self::Parquet { path, source: Box::new(parquet::errors::ParquetError::External(e)) }
                }
            },
            source => Self::Parquet { path, source: Box::new(source) },
        }
    }

    pub(crate) fn state(path: &Path, action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::State { path, action, source: Box::new(source) }
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(e: datafusion::error::DataFusionError) -> Self {
        Self::Query(Box::new(e))
    }
}

impl Fault for Error {
    fn kind(&self) -> ErrorKind {
        use datafusion::error::DataFusionError as Df;
        match self {
            Self::File { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Unavailable,
            },
            Self::NoShop(_) | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotEmpty(_) | Self::ShopExists(_) | Self::Busy(_) => ErrorKind::Conflict,
            Self::NewerFormat { .. } | Self::StateContent { .. } | Self::Parquet { .. } => {
                ErrorKind::InvalidInput
            }
            Self::Rows { .. } => ErrorKind::InvalidInput,
            Self::Settings { .. } | Self::UnknownOutput(_) | Self::Definitions(_) => ErrorKind::InvalidParams,
            Self::State { .. } | Self::Machine { .. } => ErrorKind::Unavailable,
            Self::Online { source, .. } => match source.as_ref() {
                redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => ErrorKind::InvalidInput,
                _ => ErrorKind::Unavailable,
            },
            Self::TooEarly { .. } => ErrorKind::InvalidInput,
            Self::Query(e) => match e.find_root() {
                Df::Plan(_) | Df::SQL(..) | Df::SchemaError(..) => ErrorKind::InvalidInput,
                Df::ResourcesExhausted(_) | Df::IoError(_) | Df::ObjectStore(_) => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
            Self::NotEnough(_) => ErrorKind::NotEnoughData,
            Self::Core(e) => e.kind(),
            Self::Arrow { .. } | Self::Unexpected(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        use datafusion::error::DataFusionError as Df;
        match self {
            Self::NoShop(_) => Some("make one with `tradewind init FOLDER`, or name one with --shop".into()),
            Self::NotEmpty(_) => Some("choose an empty or new folder".into()),
            Self::ShopExists(_) => Some("use it as it is, or choose another folder".into()),
            Self::NewerFormat { .. } => Some("update Tradewind".into()),
            Self::Busy(_) => Some("wait until it has ended and try again".into()),
            Self::Settings { .. } => Some("leave the key out to get its default".into()),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("make room on the disk and try again; the shop is as it was".into())
            }
            Self::Query(e) if matches!(e.find_root(), Df::ResourcesExhausted(_)) => {
                Some("raise storage.memory_mib in tradewind.toml".into())
            }
            Self::Online { source, .. } => match source.as_ref() {
                redb::Error::DatabaseAlreadyOpen => Some("end the other process that has it open".into()),
                redb::Error::Corrupted(_) => Some("remove the file and materialise again".into()),
                _ => None,
            },
            Self::TooEarly { .. } => {
                Some("ask for a later time, or build a training frame, which answers at any time".into())
            }
            Self::Core(e) => e.hint(),
            _ => None,
        }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
