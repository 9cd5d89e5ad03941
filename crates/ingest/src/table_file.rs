//! A file as a table of typed columns, for learning: numbers, times and texts, found out from the values.

use crate::cells::{Marks, Styles, numbers, texts, times};
use crate::error::{IngestError, Result};
use crate::input::Input;
use crate::mapping::{ColumnMapping, folded};
use crate::open_source;
use crate::source::{RawBatch, ReadSettings};
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use std::collections::HashMap;
use std::path::Path;
use tradewind_core::Run;

/// Words that stand for a missing value in any column, as other tools write them.
const MISSING_WORDS: &[&str] = &["NA", "N/A", "n/a", "#N/A", "nan", "NaN", "NAN", "null", "NULL"];
/// Words that stand for a missing value where the rest are numbers or times.
const MISSING_AMONG_NUMBERS: &[&str] = &["-", "--", "?", "None", "none", "无", "未知"];
/// Share of the first values that must be numbers (or times) for the column to be one of numbers (or times). The
/// others are then faults and do not silently make the column a text.
const TYPE_SHARE: f64 = 0.9;
/// The code of a missing text.
pub const MISSING_TEXT: u32 = u32::MAX;

/// The values of one column, one a row.
#[derive(Clone, Debug, PartialEq)]
pub enum TypedValues {
    /// Numbers; NaN where missing. Yes and no are 1 and 0.
    Number(Vec<f64>),
    /// Milliseconds since 1970 (UTC).
    Time(Vec<Option<i64>>),
    /// Texts as codes into a list of distinct ones, in order of appearance; [`MISSING_TEXT`] where missing.
    Text {
        /// One code a row.
        codes: Vec<u32>,
        /// The texts.
        words: Vec<String>,
    },
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedColumn {
    /// Its name in the file.
    pub name: String,
    /// Its values.
    pub values: TypedValues,
}

/// A table of typed columns.
///
/// Invariant: every column has `n_rows` values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TypedTable {
    /// The columns, in the order of the file.
    pub columns: Vec<TypedColumn>,
    /// How many rows.
    pub n_rows: usize,
}

/// How a table is read.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// Columns that are texts (codes, post codes, identifiers) though their values look like numbers.
    pub text: Vec<String>,
    /// The columns wanted; all when empty.
    pub columns: Vec<String>,
    /// How to read the file.
    pub settings: ReadSettings,
}

/// Reads a file of any format of [`crate::CATALOG`] as typed columns.
///
/// Columns of typed formats keep their type. In texts a column holds numbers or times when at least nine in ten of its
/// first values do; a later value that is none is then an error, unless the column is named in
/// [`TableOptions::text`]. Empty cells and `NA`, `NaN`, `null` and the like are missing.
///
/// # Errors
/// A file that cannot be read, a column asked for that is not there, a value of another type than its column (with
/// line, column and value).
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_ingest::{Input, TableOptions, TypedValues, read_table_input};
/// let csv = "brand,price,since\n信风,9.5,2024-01-02\nMistral,NA,2024-02-01\n";
/// let table = read_table_input(&Run::new(0), &Input::bytes("t.csv", csv), &TableOptions::default()).unwrap();
/// assert_eq!(table.n_rows, 2);
/// let TypedValues::Number(price) = &table.columns[1].values else { panic!() };
/// assert!(price[0] == 9.5 && price[1].is_nan());
/// ```
pub fn read_table(run: &Run, path: &Path, options: &TableOptions) -> Result<TypedTable> {
    read_table_input(run, &Input::File(path.to_owned()), options)
}

/// The names of a file's columns, as [`read_table`] finds them: to know which of them to name in
/// [`TableOptions::text`].
///
/// # Errors
/// A file that cannot be read.
pub fn table_columns(path: &Path, settings: &ReadSettings) -> Result<Vec<String>> {
    Ok(open_source(&Input::File(path.to_owned()), settings)?.columns().to_vec())
}

/// As [`read_table`], from an input that need not be a file.
///
/// # Errors
/// As [`read_table`].
pub fn read_table_input(run: &Run, input: &Input, options: &TableOptions) -> Result<TypedTable> {
    let mut source = open_source(input, &options.settings)?;
    let names = source.columns().to_vec();
    let place = |asked: &String| {
        names.iter().position(|c| folded(c) == folded(asked)).ok_or_else(|| IngestError::NoColumn {
            file: input.name(),
            what: "columns asked for",
            looked_for: asked.clone(),
            columns: names.iter().take(40).cloned().collect::<Vec<_>>().join(", "),
        })
    };
    let text: Vec<usize> = options.text.iter().map(place).collect::<Result<_>>()?;
    let mut wanted = vec![options.columns.is_empty(); names.len()];
    for asked in &options.columns {
        wanted[place(asked)?] = true;
    }
    source.select(&wanted);
    let mut reader = Reader {
        file: input.name(),
        columns: (0..names.len())
            .filter(|c| wanted[*c])
            .map(|at| Column {
                at,
                text: text.contains(&at),
                values: None,
                seen: HashMap::new(),
                name: names[at].clone(),
            })
            .collect(),
        styles: Styles::default(),
        n_rows: 0,
    };
    run.progress().begin("read", 0);
    let read = loop {
        if let Err(e) = run.check() {
            break Err(e.into());
        }
        match source.next_batch() {
            Ok(Some(batch)) => {
                run.progress().advance(batch.n_rows() as u64);
                if let Err(e) = reader.add(&batch) {
                    break Err(e);
                }
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    run.progress().end();
    read?;
    Ok(reader.table())
}

struct Column {
    at: usize,
    name: String,
    /// Whether it was said to be text.
    text: bool,
    /// None until the first value is seen; may be shorter than the rows when the last ones are missing.
    values: Option<TypedValues>,
    /// Codes of the texts seen.
    seen: HashMap<String, u32>,
}

struct Reader {
    file: String,
    columns: Vec<Column>,
    styles: Styles,
    n_rows: usize,
}

/// A column that is neither number nor time, nor text with a form.
enum Piece {
    Number(Vec<f64>),
    Time(Vec<Option<i64>>),
    Text(StringArray),
}

impl Reader {
    fn add(&mut self, batch: &RawBatch) -> Result<()> {
        if let Some(fault) = batch.faults.first() {
            return Err(IngestError::Value {
                file: self.file.clone(),
                line: fault.line,
                column: fault.column.clone(),
                value: String::new(),
                reason: fault.reason.en().to_owned(),
            });
        }
        let before = self.n_rows;
        let mut columns = std::mem::take(&mut self.columns);
        for column in &mut columns {
            let Some(Some(array)) = batch.columns.get(column.at) else { continue };
            if array.null_count() < array.len() {
                let piece = self.piece(column, array, batch)?;
                column.push(piece, before);
            }
        }
        self.columns = columns;
        self.n_rows += batch.n_rows();
        Ok(())
    }

    fn piece(&mut self, column: &Column, array: &ArrayRef, batch: &RawBatch) -> Result<Piece> {
        if column.text {
            return Ok(Piece::Text(without(texts(array), MISSING_WORDS)));
        }
        match array.data_type() {
            kind if kind.is_numeric() || *kind == DataType::Boolean => {
                match (&column.values, cast(array, &DataType::Float64)) {
                    (None | Some(TypedValues::Number(_)), Ok(cast)) => {
                        let values = cast.as_primitive::<Float64Type>();
                        Ok(Piece::Number(values.iter().map(|v| v.unwrap_or(f64::NAN)).collect()))
                    }
                    // A sheet whose column holds texts first and numbers later.
                    _ => self.by_values(column, texts(array), batch),
                }
            }
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => self.times(column, array, batch),
            _ => self.by_values(column, texts(array), batch),
        }
    }

    /// What the values of a text column are: settled by its first piece, asked of the later ones.
    fn by_values(&mut self, column: &Column, text: StringArray, batch: &RawBatch) -> Result<Piece> {
        let text = without(text, MISSING_WORDS);
        let known = text.len() - text.null_count();
        if known == 0 || matches!(column.values, Some(TypedValues::Text { .. })) {
            return Ok(Piece::Text(text));
        }
        let bare: ArrayRef = std::sync::Arc::new(without(text.clone(), MISSING_AMONG_NUMBERS));
        let left = bare.len() - bare.null_count();
        let mostly = |wrong: usize| left > 0 && (left - wrong) as f64 >= TYPE_SHARE * left as f64;
        let count = |marks: &Marks| (0..bare.len()).filter(|r| marks.is_bad(*r)).count();
        if !matches!(column.values, Some(TypedValues::Time(_))) {
            let mut marks = Marks::new(bare.len());
            let how = flags();
            let values = numbers(&bare, column.at, &how, &mut self.styles, &mut marks).values;
            if marks.any() {
                let settled = column.values.is_some();
                if settled || mostly(count(&marks)) {
                    return Err(self.wrong(
                        column,
                        &bare,
                        batch,
                        &marks,
                        "is not a number, as the others are",
                    ));
                }
            } else {
                return Ok(Piece::Number(values.iter().map(|v| v.unwrap_or(f64::NAN)).collect()));
            }
        }
        let looks_like_times = {
            let mut marks = Marks::new(bare.len());
            let how = ColumnMapping::default();
            match times(&bare, column.at, &how, &mut Styles::default(), None, &mut marks) {
                Ok(_) => mostly(count(&marks)),
                Err(_) => true,
            }
        };
        if looks_like_times || column.values.is_some() {
            return self.times(column, &bare, batch);
        }
        Ok(Piece::Text(text))
    }

    fn times(&mut self, column: &Column, array: &ArrayRef, batch: &RawBatch) -> Result<Piece> {
        let mut marks = Marks::new(array.len());
        let how = ColumnMapping::default();
        let values = times(array, column.at, &how, &mut self.styles, None, &mut marks).map_err(|a| {
            IngestError::AmbiguousDates {
                file: self.file.clone(),
                column: column.name.clone(),
                example: a.example,
            }
        })?;
        if marks.any() {
            return Err(self.wrong(column, array, batch, &marks, "is not a date, as the others are"));
        }
        Ok(Piece::Time(values.iter().collect()))
    }

    fn wrong(
        &self,
        column: &Column,
        array: &ArrayRef,
        batch: &RawBatch,
        marks: &Marks,
        why: &str,
    ) -> IngestError {
        let row = (0..array.len()).find(|r| marks.is_bad(*r)).unwrap_or(0);
        let value = texts(&array.slice(row, 1.min(array.len() - row)));
        IngestError::Value {
            file: self.file.clone(),
            line: batch.lines.get(row).copied().unwrap_or(0),
            column: column.name.clone(),
            value: value.iter().flatten().next().map_or(String::new(), |v| v.chars().take(200).collect()),
            reason: format!("{why}; leave the cell empty where it is unknown, or read the column as text"),
        }
    }

    fn table(self) -> TypedTable {
        let n = self.n_rows;
        let columns = self
            .columns
            .into_iter()
            .map(|mut column| {
                column.fill(n);
                // A column without any value: numbers, all missing.
                let values = column.values.unwrap_or_else(|| TypedValues::Number(vec![f64::NAN; n]));
                TypedColumn { name: column.name, values }
            })
            .collect();
        TypedTable { columns, n_rows: n }
    }
}

impl Column {
    /// Appends a piece that begins at row `first`; rows since the last value are missing.
    fn push(&mut self, piece: Piece, first: usize) {
        self.fill(first);
        match (&mut self.values, piece) {
            (Some(TypedValues::Number(all)), Piece::Number(values)) => all.extend(values),
            (Some(TypedValues::Time(all)), Piece::Time(values)) => all.extend(values),
            (slot @ None, Piece::Number(values)) => {
                let mut all = vec![f64::NAN; first];
                all.extend(values);
                *slot = Some(TypedValues::Number(all));
            }
            (slot @ None, Piece::Time(values)) => {
                let mut all = vec![None; first];
                all.extend(values);
                *slot = Some(TypedValues::Time(all));
            }
            // A piece of missing words only says nothing about the type.
            (None, Piece::Text(text)) if text.null_count() == text.len() && !self.text => {}
            (slot, Piece::Text(text)) => {
                if slot.is_none() {
                    *slot = Some(TypedValues::Text { codes: vec![MISSING_TEXT; first], words: vec![] });
                }
                match slot {
                    Some(TypedValues::Text { codes, words }) => {
                        for value in text.iter() {
                            codes.push(value.map_or(MISSING_TEXT, |v| code(&mut self.seen, words, v)));
                        }
                    }
                    // Missing words only, in a column of numbers or times.
                    _ => self.fill(first + text.len()),
                }
            }
            // Types are settled by the first piece; the reader hands over no other.
            _ => {}
        }
    }

    fn fill(&mut self, n: usize) {
        match &mut self.values {
            Some(TypedValues::Number(all)) => all.resize(n, f64::NAN),
            Some(TypedValues::Time(all)) => all.resize(n, None),
            Some(TypedValues::Text { codes, .. }) => codes.resize(n, MISSING_TEXT),
            None => {}
        }
    }
}

fn code(seen: &mut HashMap<String, u32>, words: &mut Vec<String>, value: &str) -> u32 {
    if let Some(code) = seen.get(value) {
        return *code;
    }
    let code = u32::try_from(words.len()).unwrap_or(MISSING_TEXT);
    words.push(value.to_owned());
    seen.insert(value.to_owned(), code);
    code
}

fn without(text: StringArray, words: &[&str]) -> StringArray {
    if !text.iter().flatten().any(|t| words.contains(&t)) {
        return text;
    }
    text.iter().map(|t| t.filter(|t| !words.contains(t))).collect()
}

/// Numbers, with yes and no as programs write them.
fn flags() -> ColumnMapping {
    let mut how = ColumnMapping::default();
    for (word, value) in
        [("true", "1"), ("false", "0"), ("True", "1"), ("False", "0"), ("TRUE", "1"), ("FALSE", "0")]
    {
        how.words.insert(word.into(), value.into());
    }
    how
}
