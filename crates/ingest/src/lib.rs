//! How data come in: sources in, rows of the canonical tables out.
//!
//! ```text
//! files, folders, bytes ─→ Source (one connector, one file) ─→ Mapping ─→ rows of tradewind_core::tables
//!                                                                └─→ rejected rows, with file, line and reason
//! ```
//!
//! [`read`] imports by a [`Mapping`] (its own file, or one of the [`presets`]); [`read_panel`] reads a file of
//! `unique_id, ds, y` straight into a [`tradewind_core::Panel`], [`read_table`] any table as typed columns. Formats, packings, encodings, delimiters, dates and
//! numbers are found out from the bytes. Everything is read in pieces; nothing is guessed that the data do not tell.
//!
//! Events that stream in go to a durable log first: see [`event_log`].
//!
//! What the import refuses to do: it stores nothing, drops no duplicates, and judges no value that is a value; that is the
//! warehouse's work.
//!
//! # Adding a connector
//! 1. A file `src/<source>.rs` with a type that implements [`Source`]: `columns` names the columns once, `select` says
//!    which of them are wanted, `next_batch` gives at most [`BATCH_ROWS_MAX`] rows as Arrow columns (texts as `Utf8`
//!    with null for empty, or the source's own types), with the line of each row. What is wrong with a row is a
//!    [`RawFault`] of the piece, never an error; an error means that nothing more can be read.
//! 2. An `open(&Input, &ReadSettings) -> Result<Box<dyn Source>>` in that file, and one [`ConnectorEntry`] in
//!    [`CATALOG`] with a `fits` that tells the format by the first bytes.
//! 3. Fixtures in `tests/it/formats.rs`: a good one, one cut off in the middle, one with a bad row. The fuzzer
//!    (`examples/fuzz_import.rs`) takes a seed for the new format from `seeds()`.
//!
//! Mapping to the canonical tables is data, not code: a new shop system's export needs a TOML file in `presets/` and
//! its line in `src/preset.rs`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod bind;
mod cells;
mod convert;
mod date;
mod decode;
mod delimited;
mod error;
pub mod event_log;
mod excel;
mod gather;
mod import;
mod input;
mod json_lines;
mod mapping;
mod number;
mod panel_file;
mod parquet_file;
mod preset;
mod rejects;
mod series_rows;
mod source;
mod table_file;

pub use date::DateOrder;
pub use error::{IngestError, Result};
pub use import::{
    FileSummary, Identity, ImportOptions, ImportSummary, RejectSink, Sink, identity, read, read_inputs,
};
pub use input::{EXTENSIONS, Fingerprint, Input, Packing, collect, fingerprint};
pub use mapping::{
    Choose, ColumnMapping, Condition, CountFrom, Increase, Lookup, Mapping, Melt, Names, Summary,
    TableMapping,
};
pub use number::DecimalMark;
pub use panel_file::{PanelOptions, read_panel, read_panel_input};
pub use preset::{Preset, detect, detect_file, preset, presets};
pub use rejects::{ReasonCount, Reject, RejectLimit, RejectWriter};
pub use source::{BATCH_ROWS_MAX, RawBatch, RawFault, ReadSettings, Reason, Source};
pub use table_file::{
    MISSING_TEXT, TableOptions, TypedColumn, TypedTable, TypedValues, read_table, read_table_input,
    table_columns,
};

/// A way to read a kind of source.
pub struct ConnectorEntry {
    /// Its name.
    pub name: &'static str,
    /// What it reads, in one sentence.
    pub summary: &'static str,
    /// Usual endings of file names.
    pub extensions: &'static [&'static str],
    /// Whether the first bytes (unpacked, at most 4 KiB) are its format.
    pub fits: fn(&[u8]) -> bool,
    /// Opens it.
    pub open: fn(&Input, &ReadSettings) -> Result<Box<dyn Source>>,
}

/// All connectors. The first that fits is taken; text tables, which anything may be, come last.
pub const CATALOG: &[ConnectorEntry] = &[
    ConnectorEntry {
        name: "parquet",
        summary: "Parquet files, in columns and pieces",
        extensions: &["parquet", "pq"],
        fits: |head| head.starts_with(b"PAR1"),
        open: parquet_file::open,
    },
    ConnectorEntry {
        name: "excel",
        summary: "workbooks of Excel (.xlsx, .xlsm, .xls) and OpenDocument (.ods)",
        extensions: &["xlsx", "xlsm", "xls", "ods"],
        fits: |head| head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        open: excel::open,
    },
    ConnectorEntry {
        name: "jsonl",
        summary: "JSON Lines: one object a line",
        extensions: &["jsonl", "ndjson", "json"],
        fits: |head| {
            let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
            text.starts_with(b"{") || text.starts_with(b"[{")
        },
        open: json_lines::open,
    },
    ConnectorEntry {
        name: "delimited",
        summary: "text tables with comma, tab, semicolon or pipe between fields",
        extensions: &["csv", "tsv", "tab", "psv", "txt"],
        fits: |_| true,
        open: delimited::open,
    },
];

/// Opens an input with the first connector that fits it.
///
/// # Errors
/// When it cannot be read, or is no table.
pub fn open_source(input: &Input, settings: &ReadSettings) -> Result<Box<dyn Source>> {
    let head = input.head(4096)?;
    if head.is_empty() {
        return Err(IngestError::UnknownFormat { file: input.name(), why: "it is empty".into() });
    }
    let entry = CATALOG.iter().find(|c| (c.fits)(&head)).expect("the last connector fits everything");
    (entry.open)(input, settings)
}
