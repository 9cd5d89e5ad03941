//! What can go wrong while data come in.

use std::path::PathBuf;
use tradewind_core::{ErrorKind, Fault};

/// A fault of the import. Values of personal columns are never in it.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A file or folder that is not there.
    #[error("{} does not exist", .path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder without a file that can be read.
    #[error("{} holds no file that can be imported", .path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// The disk or the decompressor did not deliver.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file whose format cannot be told.
    #[error("{file} is not a table that can be read: {why}")]
    UnknownFormat {
        /// The file.
        file: String,
        /// What was seen.
        why: String,
    },
    /// A file that breaks the rules of its format.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The file.
        file: String,
        /// What the decoder said.
        why: String,
    },
    /// A file beyond the limits that keep memory bounded.
    #[error("{file} is too large to read as it is: {what} is over the limit of {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// What is too large.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// A file none of whose columns fit the mapping.
    #[error("{file} fits no table of the mapping `{mapping}`: {needed}; the file has: {columns}")]
    NoTable {
        /// The file.
        file: String,
        /// The mapping.
        mapping: String,
        /// What the nearest table lacks.
        needed: String,
        /// The columns of the file.
        columns: String,
    },
    /// Dates that could be day-first or month-first.
    #[error("{file}, column `{column}`: dates such as `{example}` could be day-first or month-first")]
    AmbiguousDates {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// One of the values.
        example: String,
    },
    /// A mapping that cannot be used.
    #[error("mapping `{name}`: {why}")]
    Mapping {
        /// Its name or path.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A preset that does not exist.
    #[error("no preset named `{name}`; there are: {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// More rows were rejected than the limit allows.
    #[error("{rejected} of {lines} rows were rejected, more than {limit} allowed; most often: {most}")]
    TooManyRejects {
        /// Rows rejected.
        rejected: u64,
        /// Rows read so far.
        lines: u64,
        /// The limit.
        limit: String,
        /// The commonest reason, with its column.
        most: String,
    },
    /// One wrong value where no row may be left out.
    #[error("{file}, line {line}, column `{column}`: `{value}` {reason}")]
    Value {
        /// The file.
        file: String,
        /// The line, counted from 1 with the header.
        line: u64,
        /// The column.
        column: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A panel file without one of its three columns.
    #[error("{file} has no column for {what}; looked for: {looked_for}; the file has: {columns}")]
    NoColumn {
        /// The file.
        file: String,
        /// Which role lacks a column.
        what: &'static str,
        /// The names tried.
        looked_for: String,
        /// The columns of the file.
        columns: String,
    },
    /// A fault of the values built (off the grid, given twice, interrupted).
    #[error("{}{source}", if .file.is_empty() { String::new() } else { format!("{}: ", .file) })]
    Core {
        /// The file; empty when it is not about one.
        file: String,
        /// The fault.
        #[source]
        source: tradewind_core::Error,
    },
    /// Whoever takes the rows failed.
    #[error("{0}")]
    Sink(Box<dyn Fault>),
}

impl Fault for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoFiles { .. } => ErrorKind::NotFound,
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                // Decompressors tell broken streams in these words.
                std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::InvalidInput
                | std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::Other => ErrorKind::InvalidInput,
                _ => ErrorKind::Unavailable,
            },
            Self::Mapping { .. } | Self::UnknownPreset { .. } => ErrorKind::InvalidParams,
            Self::Core { source, .. } => source.kind(),
            Self::Sink(fault) => fault.kind(),
            _ => ErrorKind::InvalidInput,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFiles { .. } => {
                Some("files end in .csv, .tsv, .txt, .jsonl, .ndjson, .parquet, .xlsx, .xls or .ods, each also with .gz or .zst".into())
            }
            Self::UnknownFormat { .. } => {
                Some("give CSV, TSV, JSON Lines, Parquet or Excel, plain or packed with gzip or zstd".into())
            }
            Self::Damaged { .. } => Some("fetch or export the file again".into()),
            Self::TooLarge { .. } => Some("export the data as CSV or Parquet, which are read piece by piece".into()),
            Self::NoTable { .. } => Some("choose another --preset, or write a mapping file and give it with --mapping".into()),
            Self::AmbiguousDates { .. } => {
                Some("say it in the mapping with date_order = \"dmy\" or \"mdy\", or give --date-order".into())
            }
            Self::TooManyRejects { .. } => Some("look into the reject file, mend the mapping, or raise --max-rejects".into()),
            Self::NoColumn { .. } => Some("rename the column, or name it with the options for id, date and value".into()),
            Self::Core { source, .. } => source.hint(),
            Self::Sink(fault) => fault.hint(),
            _ => None,
        }
    }
}

impl From<tradewind_core::Error> for IngestError {
    fn from(source: tradewind_core::Error) -> Self {
        Self::Core { file: String::new(), source }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = IngestError> = std::result::Result<T, E>;
