//! What every connector gives: rows of named columns, piece by piece.

use crate::error::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use std::sync::Arc;

/// Rows in one piece at most.
pub const BATCH_ROWS_MAX: usize = 65_536;
/// Cells in one piece at most, so that wide tables stay small too.
pub(crate) const BATCH_CELLS_MAX: usize = 4 << 20;
/// Bytes of one column in one piece at most.
pub(crate) const BATCH_BYTES_MAX: usize = 32 << 20;
/// The longest row; a longer one most likely has a quote that is never closed.
pub(crate) const ROW_BYTES_MAX: usize = 8 << 20;
/// The most columns a table may have.
pub(crate) const COLUMNS_MAX: usize = 16_384;

/// Why a row was left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A required value is missing.
    Missing,
    /// The value is not a number.
    NotANumber,
    /// The value is not a date in the column's format.
    NotADate,
    /// The row has more or fewer fields than the header.
    Ragged,
    /// The bytes are not text in the file's encoding.
    NotText,
    /// A quote is opened and never closed.
    OpenQuote,
    /// The line is not a JSON object.
    NotJson,
    /// The value does not appear in the file it is looked up in.
    NotFound,
    /// The mapping sets such rows aside, in its own words.
    Excluded(String),
}

impl Reason {
    /// A stable word for counts and JSON.
    pub fn code(&self) -> &str {
        match self {
            Self::Missing => "missing",
            Self::NotANumber => "not_a_number",
            Self::NotADate => "not_a_date",
            Self::Ragged => "ragged",
            Self::NotText => "not_text",
            Self::OpenQuote => "open_quote",
            Self::NotJson => "not_json",
            Self::NotFound => "not_found",
            Self::Excluded(_) => "excluded",
        }
    }

    /// The reason in English.
    pub fn en(&self) -> &str {
        match self {
            Self::Missing => "is required but empty",
            Self::NotANumber => "is not a number",
            Self::NotADate => "is not a date in the column's format",
            Self::Ragged => "the row has more or fewer fields than the header",
            Self::NotText => "is not text in the file's encoding",
            Self::OpenQuote => "a quote is opened and never closed",
            Self::NotJson => "the line is not a JSON object",
            Self::NotFound => "is not in the file it is looked up in",
            Self::Excluded(why) => why,
        }
    }

    /// The reason in Chinese.
    pub fn zh(&self) -> &str {
        match self {
            Self::Missing => "必填但为空",
            Self::NotANumber => "不是数字",
            Self::NotADate => "不是该列格式的日期",
            Self::Ragged => "字段数与表头不符",
            Self::NotText => "不是该文件编码的文本",
            Self::OpenQuote => "引号未闭合",
            Self::NotJson => "不是 JSON 对象",
            Self::NotFound => "在对照文件中找不到",
            Self::Excluded(why) => why,
        }
    }
}

/// A row that a connector could not cut into fields, or a field it could not read.
#[derive(Clone, Debug)]
pub struct RawFault {
    /// The row of the piece it is in; none when the row is not in the piece at all.
    pub row: Option<usize>,
    /// The line, counted from 1 with the header.
    pub line: u64,
    /// The column; empty when it is about the whole row.
    pub column: String,
    /// Why.
    pub reason: Reason,
}

/// Some rows of a source.
#[derive(Clone, Debug, Default)]
pub struct RawBatch {
    /// One array a column of the source; none for those not wanted. Text formats give `Utf8` with null for empty.
    pub columns: Vec<Option<ArrayRef>>,
    /// The line of each row: in texts the line its first character is on, otherwise the row counted from 1. The
    /// header counts as a line where there is one.
    pub lines: Vec<u64>,
    /// The part of the file (a sheet) they are from, when there are several.
    pub part: Option<Arc<str>>,
    /// What could not be read.
    pub faults: Vec<RawFault>,
}

impl RawBatch {
    /// How many rows it has.
    pub fn n_rows(&self) -> usize {
        self.lines.len()
    }
}

/// One table that is read piece by piece. A connector is whatever makes one of these.
pub trait Source: Send {
    /// The names of its columns.
    fn columns(&self) -> &[String];
    /// Says before the first piece which columns are wanted, so that others need not be built.
    fn select(&mut self, wanted: &[bool]);
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the source cannot be read on. Rows that are wrong by themselves are faults of the piece instead.
    fn next_batch(&mut self) -> Result<Option<RawBatch>>;
    /// How it is being read, in a few words (`CSV, comma, gb18030`), for the summary.
    fn describe(&self) -> String;
    /// Things the user should know, such as a column that was seen too late.
    fn notes(&self) -> Vec<String> {
        vec![]
    }
}

/// How to read, where it shall not be found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadSettings {
    /// The encoding by its usual name (`gb18030`, `utf-8`, `windows-1252`); found out when empty.
    pub encoding: Option<String>,
    /// The character between fields; found out when empty.
    pub delimiter: Option<char>,
    /// The sheet of a workbook; when empty, the first and those with the same header.
    pub sheet: Option<String>,
}

/// Builds one text column.
#[derive(Debug)]
pub(crate) struct TextColumn {
    values: Vec<u8>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
    any_null: bool,
}

impl TextColumn {
    pub(crate) fn new() -> Self {
        Self { values: vec![], offsets: vec![0], valid: vec![], any_null: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.values.len()
    }

    /// Appends a value without the blanks around it; null when nothing remains.
    pub(crate) fn push(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        self.values.extend_from_slice(value);
        self.close(!value.is_empty() && value != b"\\N");
    }

    /// Appends a value whose doubled quotes stand for one.
    pub(crate) fn push_unescaped(&mut self, value: &[u8], quote: u8) {
        let mut rest = value;
        let from = self.values.len();
        while let Some(at) = rest.iter().position(|b| *b == quote) {
            self.values.extend_from_slice(&rest[..=at]);
            rest = &rest[at + 1..];
            if rest.first() == Some(&quote) {
                rest = &rest[1..];
            }
        }
        self.values.extend_from_slice(rest);
        self.close(!self.values[from..].trim_ascii().is_empty());
    }

    pub(crate) fn push_null(&mut self) {
        self.close(false);
    }

    fn close(&mut self, valid: bool) {
        if !valid {
            let from = self.offsets.last().copied().unwrap_or(0);
            self.values.truncate(usize::try_from(from).unwrap_or(0));
            self.any_null = true;
        }
        self.valid.push(valid);
        // Pieces end long before 2 GiB, see BATCH_BYTES_MAX and ROW_BYTES_MAX.
        self.offsets.push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
    }

    /// The column, and the rows whose bytes are not UTF-8 (null in the column).
    pub(crate) fn finish(&mut self) -> (ArrayRef, Vec<usize>) {
        let rows = self.valid.len();
        let values = std::mem::take(&mut self.values);
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let valid = std::mem::take(&mut self.valid);
        self.values.reserve(values.len() + values.len() / 8);
        self.offsets.reserve(rows);
        self.valid.reserve(rows);
        let nulls = std::mem::take(&mut self.any_null).then(|| NullBuffer::from(valid.clone()));
        let buffer = Buffer::from_vec(values);
        let built = StringArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(offsets.clone())),
            buffer.clone(),
            nulls,
        );
        match built {
            Ok(array) => (Arc::new(array), vec![]),
            Err(_) => {
                let mut bad = Vec::new();
                let repaired: StringArray = (0..rows)
                    .map(|i| {
                        let bytes =
                            buffer.get(offsets[i] as usize..offsets[i + 1] as usize).unwrap_or_default();
                        match std::str::from_utf8(bytes) {
                            Ok(text) if valid[i] => Some(text),
                            Ok(_) => None,
                            Err(_) => {
                                bad.push(i);
                                None
                            }
                        }
                    })
                    .collect();
                (Arc::new(repaired), bad)
            }
        }
    }
}

/// Names that are empty or given twice are made distinct, so that a column can always be called by its name.
pub(crate) fn distinct_names(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut next = std::collections::HashMap::new();
    names
        .into_iter()
        .enumerate()
        .map(|(i, name)| {
            let base =
                if name.trim().is_empty() { format!("column_{}", i + 1) } else { name.trim().to_owned() };
            let mut name = base.clone();
            while !seen.insert(name.clone()) {
                let k = next.entry(base.clone()).or_insert(1_usize);
                *k += 1;
                name = format!("{base}_{k}");
            }
            name
        })
        .collect()
}
