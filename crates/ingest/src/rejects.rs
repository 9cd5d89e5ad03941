//! Rows that were left out: how they are told, counted and limited.

use crate::source::Reason;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::str::FromStr;
use tradewind_core::Error;

/// A row that was left out. Values of personal columns are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The file, with `#sheet` behind it for workbooks of several sheets.
    pub file: String,
    /// The line, counted from 1 with the header; in Parquet the row, counted from 1.
    pub line: u64,
    /// The table it was meant for; empty when the row could not be read at all.
    pub table: String,
    /// The source column at fault; empty when it is the whole row.
    pub column: String,
    /// Its value, at most 200 characters; `***` where it is personal.
    pub value: String,
    /// Why.
    pub reason: Reason,
}

/// How often a column was at fault for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The source column; empty when it is the whole row.
    pub column: String,
    /// Why.
    #[serde(serialize_with = "by_code")]
    pub reason: Reason,
    /// The reason in English.
    pub en: String,
    /// The reason in Chinese.
    pub zh: String,
    /// How many rows.
    pub rows: u64,
}

fn by_code<S: serde::Serializer>(reason: &Reason, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(reason.code())
}

impl ReasonCount {
    pub(crate) fn sorted(counts: BTreeMap<(String, Reason), u64>) -> Vec<Self> {
        let mut all: Vec<Self> = counts
            .into_iter()
            .map(|((column, reason), rows)| Self {
                column,
                en: reason.en().to_owned(),
                zh: reason.zh().to_owned(),
                reason,
                rows,
            })
            .collect();
        // A stable sort keeps equal counts in the order of column and reason.
        all.sort_by_key(|r| std::cmp::Reverse(r.rows));
        all
    }
}

impl fmt::Display for ReasonCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.column.is_empty() {
            write!(f, "`{}` ", self.column)?;
        }
        write!(f, "{} ({} rows)", self.en, self.rows)
    }
}

/// How many rows may be rejected: `100`, or `5%` of those read.
///
/// ```
/// use tradewind_ingest::RejectLimit;
/// assert_eq!("5%".parse::<RejectLimit>().unwrap(), RejectLimit::Share(0.05));
/// assert_eq!("100".parse::<RejectLimit>().unwrap(), RejectLimit::Rows(100));
/// assert!("-1".parse::<RejectLimit>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RejectLimit {
    /// At most so many rows.
    Rows(u64),
    /// At most this share of the rows read, 0 to 1.
    Share(f64),
}

/// A share is judged before the end only when so many rows were read, since a few bad rows at the top prove nothing.
const SHARE_ROWS_MIN: u64 = 10_000;

impl RejectLimit {
    pub(crate) fn is_exceeded(self, rejected: u64, lines: u64, end: bool) -> bool {
        match self {
            Self::Rows(most) => rejected > most,
            Self::Share(most) => (end || lines >= SHARE_ROWS_MIN) && rejected as f64 > most * lines as f64,
        }
    }
}

impl FromStr for RejectLimit {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        let bad = || {
            Error::Invalid(format!(
                "`{s}` is no limit of rejects; use a number such as 100 or a share such as 5%"
            ))
        };
        match s.trim().strip_suffix('%') {
            Some(share) => {
                let share: f64 = share.trim().parse().map_err(|_| bad())?;
                if (0.0..=100.0).contains(&share) { Ok(Self::Share(share / 100.0)) } else { Err(bad()) }
            }
            None => s.trim().parse().map(Self::Rows).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for RejectLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(n) => write!(f, "{n} rows"),
            Self::Share(s) => write!(f, "{} %", s * 100.0),
        }
    }
}

/// Writes rejected rows as CSV: `file,line,table,column,value,reason`.
///
/// Values that a spreadsheet would run as a formula get an apostrophe in front.
pub struct RejectWriter<W: Write> {
    writer: csv::Writer<W>,
    rows: u64,
}

impl<W: Write> RejectWriter<W> {
    /// A writer; the header is written with the first row.
    pub fn new(to: W) -> Self {
        Self { writer: csv::Writer::from_writer(to), rows: 0 }
    }

    /// Writes one row, its reason in Chinese or English.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, reject: &Reject, chinese: bool) -> std::io::Result<()> {
        if self.rows == 0 {
            self.writer.write_record(["file", "line", "table", "column", "value", "reason"])?;
        }
        self.rows += 1;
        let mut value = reject.value.clone();
        if value.starts_with(['=', '+', '@', '\t'])
            || (value.starts_with('-') && value.parse::<f64>().is_err())
        {
            value.insert(0, '\'');
        }
        let reason = if chinese { reject.reason.zh() } else { reject.reason.en() };
        self.writer.write_record([
            &reject.file,
            &reject.line.to_string(),
            &reject.table,
            &reject.column,
            &value,
            reason,
        ])?;
        Ok(())
    }

    /// How many rows were written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what is still held back, and gives the target.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> std::io::Result<W> {
        self.writer.into_inner().map_err(|e| std::io::Error::new(e.error().kind(), e.to_string()))
    }
}
