//! Excel and OpenDocument workbooks.
//!
//! A sheet has at most 1,048,576 rows, so it is cut into columns of text at once; limits on packed size, claimed
//! unpacked size and cells keep memory bounded. Larger data belong in CSV or Parquet.

use crate::error::{IngestError, Result};
use crate::input::Input;
use crate::parquet_file::guarded;
use crate::source::{
    BATCH_ROWS_MAX, RawBatch, RawFault, ReadSettings, Reason, Source, TextColumn, distinct_names,
};
use calamine::{Data, DataRef, ExcelDateTime, Reader, Sheets, open_workbook_auto_from_rs};
use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

/// The largest workbook as it lies on disk.
const WORKBOOK_BYTES_MAX: u64 = 256 << 20;
/// The largest workbook unpacked, as its directory claims.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// The most cells with something in them.
const CELLS_MAX: usize = 30_000_000;
/// The most columns; Excel's own limit.
const COLUMNS_MAX: u32 = 16_384;
/// The most sheets looked at.
const SHEETS_MAX: usize = 256;

/// Opens a workbook: the first sheet that holds something and all sheets with the same header, or the sheet asked for.
pub(crate) fn open(input: &Input, settings: &ReadSettings) -> Result<Box<dyn Source>> {
    let too_large =
        |what: &str, limit: String| IngestError::TooLarge { file: input.name(), what: what.into(), limit };
    let bytes = input.whole()?;
    if bytes.len() as u64 > WORKBOOK_BYTES_MAX {
        return Err(too_large("its size", format!("{} MiB", WORKBOOK_BYTES_MAX >> 20)));
    }
    if claimed_bytes(&bytes) > UNPACKED_BYTES_MAX {
        return Err(too_large("its unpacked size", format!("{} MiB", UNPACKED_BYTES_MAX >> 20)));
    }
    let mut book = guarded(input, || open_workbook_auto_from_rs(Cursor::new(bytes)))?;
    let names = book.sheet_names();
    let wanted: Vec<String> = match &settings.sheet {
        Some(name) if names.contains(name) => vec![name.clone()],
        Some(name) => {
            return Err(IngestError::UnknownFormat {
                file: input.name(),
                why: format!("it has no sheet `{name}`; it has: {}", names.join(", ")),
            });
        }
        None => names.into_iter().take(SHEETS_MAX).collect(),
    };
    let mut columns: Option<Vec<String>> = None;
    let (mut batches, mut notes, mut parts) = (VecDeque::new(), vec![], 0);
    let mut cells_left = CELLS_MAX;
    for name in wanted {
        let sheet = match read_sheet(input, &mut book, &name, &mut cells_left) {
            Ok(Some(sheet)) => sheet,
            Ok(None) => continue,
            // Of several sheets a broken one is named, and the others are read.
            Err(e @ IngestError::Damaged { .. }) if columns.is_some() => {
                notes.push(format!("sheet `{name}` was left out: {e}"));
                continue;
            }
            Err(e) => return Err(e),
        };
        match &columns {
            Some(first) if *first != sheet.columns => {
                notes.push(format!("sheet `{name}` has another header and was left out; name it to read it"));
                continue;
            }
            Some(_) => {}
            None => columns = Some(sheet.columns),
        }
        parts += 1;
        let part: Arc<str> = name.into();
        for mut batch in sheet.batches {
            batch.part = Some(part.clone());
            batches.push_back(batch);
        }
    }
    let columns = columns.ok_or_else(|| IngestError::UnknownFormat {
        file: input.name(),
        why: "no sheet holds a header and rows".into(),
    })?;
    if parts < 2 {
        for batch in &mut batches {
            batch.part = None;
        }
    }
    Ok(Box::new(Excel { wanted: vec![true; columns.len()], columns, batches, notes, parts }))
}

/// What the directory at the end of a zip file claims its members have unpacked, in bytes.
fn claimed_bytes(zip: &[u8]) -> u64 {
    let mut total = 0_u64;
    let mut at = 0;
    let u32_at =
        |i: usize| zip.get(i..i + 4).map_or(0, |b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    // Signatures inside packed data only make the estimate larger, never smaller.
    while let Some(k) = zip.get(at..).and_then(|rest| rest.windows(4).position(|w| w == b"PK\x01\x02")) {
        total = total.saturating_add(u32_at(at + k + 24));
        at += k + 4;
    }
    total
}

struct Sheet {
    columns: Vec<String>,
    batches: Vec<RawBatch>,
}

fn read_sheet(
    input: &Input,
    book: &mut Sheets<Cursor<bytes::Bytes>>,
    name: &str,
    cells_left: &mut usize,
) -> Result<Option<Sheet>> {
    let mut rows = Rows::new(input, cells_left);
    match book {
        Sheets::Xlsx(book) => {
            let mut cells = guarded(input, || book.worksheet_cells_reader(name))?;
            while let Some(cell) = guarded(input, || cells.next_cell())? {
                let (row, column) = cell.get_position();
                rows.cell(row, column, &text_of_ref(cell.get_value()))?;
            }
        }
        other => {
            let range = guarded(input, || other.worksheet_range(name))?;
            let (row_0, column_0) = range.start().unwrap_or((0, 0));
            for (row, column, value) in range.used_cells() {
                let (row, column) = (row_0 as usize + row, column_0 as usize + column);
                rows.cell(
                    u32::try_from(row).unwrap_or(u32::MAX),
                    u32::try_from(column).unwrap_or(u32::MAX),
                    &text_of(value),
                )?;
            }
        }
    }
    Ok(rows.finish())
}

/// Gathers cells in reading order into rows, and rows into pieces. The first row with something in it is the header.
struct Rows<'a> {
    input: &'a Input,
    cells_left: &'a mut usize,
    row: Option<u32>,
    cells: Vec<(u32, String)>,
    first_column: u32,
    columns: Option<Vec<String>>,
    builders: Vec<TextColumn>,
    batch: RawBatch,
    batches: Vec<RawBatch>,
}

impl<'a> Rows<'a> {
    fn new(input: &'a Input, cells_left: &'a mut usize) -> Self {
        Self {
            input,
            cells_left,
            row: None,
            cells: vec![],
            first_column: 0,
            columns: None,
            builders: vec![],
            batch: RawBatch::default(),
            batches: vec![],
        }
    }

    fn cell(&mut self, row: u32, column: u32, text: &str) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        if *self.cells_left == 0 || column >= COLUMNS_MAX {
            return Err(IngestError::TooLarge {
                file: self.input.name(),
                what: if column >= COLUMNS_MAX {
                    "a column's number".into()
                } else {
                    "the number of cells".into()
                },
                limit: if column >= COLUMNS_MAX { COLUMNS_MAX.to_string() } else { CELLS_MAX.to_string() },
            });
        }
        *self.cells_left -= 1;
        if self.row.is_some_and(|r| r > row) {
            return Err(IngestError::Damaged {
                file: self.input.name(),
                why: "its rows are out of order".into(),
            });
        }
        if self.row != Some(row) {
            self.end_row();
            self.row = Some(row);
        }
        self.cells.push((column, text.to_owned()));
        Ok(())
    }

    fn end_row(&mut self) {
        let Some(row) = self.row.take() else { return };
        let line = u64::from(row) + 1;
        let mut cells = std::mem::take(&mut self.cells);
        cells.sort_by_key(|c| c.0);
        let Some(columns) = &self.columns else {
            self.first_column = cells.first().map_or(0, |c| c.0);
            let last = cells.last().map_or(0, |c| c.0);
            let mut names = vec![String::new(); (last - self.first_column) as usize + 1];
            for (column, text) in cells {
                names[(column - self.first_column) as usize] = text;
            }
            self.builders = names.iter().map(|_| TextColumn::new()).collect();
            self.columns = Some(distinct_names(names));
            return;
        };
        let inside = self.first_column..self.first_column + columns.len() as u32;
        if cells.iter().any(|(column, _)| !inside.contains(column)) {
            self.batch.faults.push(RawFault {
                row: None,
                line,
                column: String::new(),
                reason: Reason::Ragged,
            });
            return;
        }
        let at = self.batch.lines.len();
        self.batch.lines.push(line);
        for (column, text) in cells {
            let builder = &mut self.builders[(column - self.first_column) as usize];
            if builder.len() == at {
                builder.push(text.as_bytes());
            }
        }
        for builder in &mut self.builders {
            if builder.len() == at {
                builder.push_null();
            }
        }
        if self.batch.lines.len() >= BATCH_ROWS_MAX {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.columns = self.builders.iter_mut().map(|b| Some(b.finish().0)).collect();
        if !batch.lines.is_empty() || !batch.faults.is_empty() {
            self.batches.push(batch);
        }
    }

    fn finish(mut self) -> Option<Sheet> {
        self.end_row();
        self.end_batch();
        let columns = self.columns?;
        Some(Sheet { columns, batches: self.batches })
    }
}

fn number_text(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{}", value as i64) } else { value.to_string() }
}

fn date_text(value: &ExcelDateTime) -> String {
    if value.is_duration() || !value.as_f64().is_finite() || !(0.0..3_000_000.0).contains(&value.as_f64()) {
        return number_text(value.as_f64());
    }
    let (year, month, day, hour, minute, second, milli) = value.to_ymd_hms_milli();
    if (hour, minute, second, milli) == (0, 0, 0, 0) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}")
    }
}

fn text_of_ref(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(v) => v.to_string(),
        DataRef::Float(v) => number_text(*v),
        DataRef::String(v) => v.clone(),
        DataRef::SharedString(v) => (*v).to_owned(),
        DataRef::Bool(v) => v.to_string(),
        DataRef::DateTime(v) => date_text(v),
        DataRef::DateTimeIso(v) | DataRef::DurationIso(v) => v.clone(),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

fn text_of(value: &Data) -> String {
    match value {
        Data::Int(v) => v.to_string(),
        Data::Float(v) => number_text(*v),
        Data::String(v) => v.clone(),
        Data::Bool(v) => v.to_string(),
        Data::DateTime(v) => date_text(v),
        Data::DateTimeIso(v) | Data::DurationIso(v) => v.clone(),
        Data::Error(_) | Data::Empty => String::new(),
    }
}

struct Excel {
    columns: Vec<String>,
    wanted: Vec<bool>,
    batches: VecDeque<RawBatch>,
    notes: Vec<String>,
    parts: usize,
}

impl Source for Excel {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn select(&mut self, wanted: &[bool]) {
        self.wanted = wanted.to_vec();
        self.wanted.resize(self.columns.len(), false);
    }

    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        let Some(mut batch) = self.batches.pop_front() else { return Ok(None) };
        for (column, wanted) in batch.columns.iter_mut().zip(&self.wanted) {
            if !wanted {
                *column = None;
            }
        }
        Ok(Some(batch))
    }

    fn describe(&self) -> String {
        format!("workbook, {} sheet{}", self.parts, if self.parts == 1 { "" } else { "s" })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
