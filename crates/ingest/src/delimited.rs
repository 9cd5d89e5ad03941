//! Text tables: comma, tab, semicolon or pipe between fields, quotes around them or not.
//!
//! The cutter is our own rather than the `csv` crate's: it bounds the length of a row (a quote that is never closed
//! must not swallow a file larger than memory), knows the line of every row also after quoted line ends, and writes
//! fields straight into columns.

use crate::decode::Decoder;
use crate::error::{IngestError, Result};
use crate::input::Input;
use crate::source::{
    BATCH_BYTES_MAX, BATCH_CELLS_MAX, BATCH_ROWS_MAX, COLUMNS_MAX, ROW_BYTES_MAX, RawBatch, RawFault,
    ReadSettings, Reason, Source, TextColumn, distinct_names,
};
use encoding_rs::Encoding;

/// Bytes looked at to find out delimiter and quoting.
const SAMPLE_BYTES: usize = 1 << 16;
/// Rows looked at.
const SAMPLE_ROWS: usize = 200;

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Opens a text table.
pub(crate) fn open(input: &Input, settings: &ReadSettings) -> Result<Box<dyn Source>> {
    let forced = forced_encoding(settings, input)?;
    let mut decoder = Decoder::new(input.reader()?, forced);
    let mut buf = Vec::new();
    while buf.len() < SAMPLE_BYTES && decoder.more(&mut buf).map_err(|e| input.read_fault(e))? {}
    let eof = buf.len() < SAMPLE_BYTES;
    if buf.iter().take(SAMPLE_BYTES).filter(|b| **b == 0).count() > 0 {
        return Err(IngestError::UnknownFormat { file: input.name(), why: "it holds binary data".into() });
    }
    let wanted = match settings.delimiter {
        Some(c) if c.is_ascii() => Some(c as u8),
        Some(c) => {
            return Err(IngestError::UnknownFormat {
                file: input.name(),
                why: format!("the delimiter `{c}` is not one ASCII character"),
            });
        }
        None => None,
    };
    let (delimiter, quote) = sniff(&buf[..buf.len().min(SAMPLE_BYTES)], eof, wanted);
    let mut source = Delimited {
        input: input.clone(),
        decoder,
        buf,
        at: 0,
        eof: false,
        line: 1,
        delimiter,
        quote,
        columns: vec![],
        wanted: vec![],
        builders: vec![],
        fields: vec![],
    };
    source.read_header()?;
    Ok(Box::new(source))
}

pub(crate) fn forced_encoding(settings: &ReadSettings, input: &Input) -> Result<Option<&'static Encoding>> {
    settings
        .encoding
        .as_deref()
        .map(|name| {
            Encoding::for_label(name.as_bytes()).ok_or_else(|| IngestError::UnknownFormat {
                file: input.name(),
                why: format!("`{name}` is no encoding that is known; use utf-8, gb18030, gbk, big5, utf-16le, windows-1252 or another name of the web's list"),
            })
        })
        .transpose()
}

/// A field of the row at hand: where it lies, and whether doubled quotes in it stand for one.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: usize,
    end: usize,
    escaped: bool,
}

enum Cut {
    /// A row, its end, and the line ends inside and after it.
    Row { next: usize, lines: u64 },
    /// The text ends inside a row; more is needed.
    More,
    /// The text ends inside quotes, and there is no more.
    OpenQuote,
}

/// Cuts the row that begins at `at` into `fields`.
fn cut(buf: &[u8], at: usize, eof: bool, delimiter: u8, quote: Option<u8>, fields: &mut Vec<Field>) -> Cut {
    fields.clear();
    let n = buf.len();
    let mut i = at;
    let mut lines = 0;
    loop {
        let mut field = Field { start: i, end: i, escaped: false };
        if quote.is_some() && i < n && Some(buf[i]) == quote {
            let q = buf[i];
            field.start = i + 1;
            i += 1;
            loop {
                match buf[i..].iter().position(|b| *b == q || *b == b'\n') {
                    None if eof => return Cut::OpenQuote,
                    None => return Cut::More,
                    Some(k) if buf[i + k] == b'\n' => {
                        lines += 1;
                        i += k + 1;
                    }
                    Some(k) => {
                        i += k;
                        match buf.get(i + 1) {
                            None if !eof => return Cut::More,
                            Some(b) if *b == q => {
                                field.escaped = true;
                                i += 2;
                            }
                            _ => break,
                        }
                    }
                }
            }
            field.end = i;
            i += 1;
            // What stands between the closing quote and the delimiter belongs to no field; blanks are common there.
            let rest = i;
            while i < n && buf[i] != delimiter && buf[i] != b'\n' && buf[i] != b'\r' {
                i += 1;
            }
            if !buf[rest..i].trim_ascii().is_empty() {
                // `"5" screen"` and its like: taken as written, quotes and all.
                field = Field { start: field.start - 1, end: i, escaped: false };
            }
        } else {
            while i < n && buf[i] != delimiter && buf[i] != b'\n' && buf[i] != b'\r' {
                i += 1;
            }
            field.end = i;
        }
        fields.push(field);
        if i >= n {
            return if eof { Cut::Row { next: n, lines: lines + 1 } } else { Cut::More };
        }
        match buf[i] {
            b'\n' => return Cut::Row { next: i + 1, lines: lines + 1 },
            b'\r' => match buf.get(i + 1) {
                Some(b'\n') => return Cut::Row { next: i + 2, lines: lines + 1 },
                None if !eof => return Cut::More,
                _ => return Cut::Row { next: i + 1, lines: lines + 1 },
            },
            _ => i += 1,
        }
    }
}

/// Delimiter and quoting: the pair under which most sampled rows have the header's number of fields, and more than
/// one; of equals, the one with more fields.
fn sniff(sample: &[u8], eof: bool, delimiter: Option<u8>) -> (u8, Option<u8>) {
    let mut best = (0.0, 0_usize, delimiter.unwrap_or(b','), Some(b'"'));
    let mut fields = Vec::new();
    for &d in DELIMITERS.iter().filter(|d| delimiter.is_none_or(|forced| forced == **d)).chain(&delimiter) {
        for quote in [Some(b'"'), None] {
            let (mut at, mut rows, mut same, mut width) = (0, 0, 0, 0);
            while rows < SAMPLE_ROWS && at < sample.len() {
                match cut(sample, at, eof, d, quote, &mut fields) {
                    Cut::Row { next, .. } => {
                        at = next;
                        if is_blank(sample, &fields) {
                            continue;
                        }
                        rows += 1;
                        if rows == 1 {
                            width = fields.len();
                        }
                        same += usize::from(fields.len() == width);
                    }
                    Cut::OpenQuote => {
                        rows += 1;
                        break;
                    }
                    Cut::More => break,
                }
            }
            let share = if rows == 0 || width < 2 { 0.0 } else { same as f64 / rows as f64 };
            // A quarter more agreement outweighs any number of fields; below that, more fields win.
            let better = share > best.0 + 0.25 || (share > best.0 - 0.25 && share > 0.0 && width > best.1);
            if better {
                best = (share, width, d, quote);
            }
        }
    }
    (best.2, best.3)
}

fn is_blank(buf: &[u8], fields: &[Field]) -> bool {
    fields.len() == 1 && buf[fields[0].start..fields[0].end].trim_ascii().is_empty()
}

struct Delimited {
    input: Input,
    decoder: Decoder,
    buf: Vec<u8>,
    at: usize,
    eof: bool,
    line: u64,
    delimiter: u8,
    quote: Option<u8>,
    columns: Vec<String>,
    wanted: Vec<bool>,
    builders: Vec<TextColumn>,
    fields: Vec<Field>,
}

enum Next {
    Row { line: u64 },
    Broken { line: u64 },
    End,
}

impl Delimited {
    fn text(&self, field: Field) -> String {
        let bytes = self.buf.get(field.start..field.end).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes).into_owned();
        match self.quote {
            Some(q) if field.escaped => text.replace(&format!("{0}{0}", q as char), &(q as char).to_string()),
            _ => text,
        }
    }

    fn read_header(&mut self) -> Result<()> {
        let why = match self.next_row()? {
            Next::End => Some("it is empty".to_owned()),
            Next::Broken { line } => {
                Some(format!("its header on line {line} has a quote that is never closed"))
            }
            Next::Row { .. } => None,
        };
        if let Some(why) = why {
            return Err(IngestError::UnknownFormat { file: self.input.name(), why });
        }
        if self.fields.len() > COLUMNS_MAX {
            return Err(IngestError::TooLarge {
                file: self.input.name(),
                what: "its number of columns".into(),
                limit: COLUMNS_MAX.to_string(),
            });
        }
        let mut names: Vec<String> = self.fields.iter().map(|f| self.text(*f)).collect();
        // A delimiter at the end of the header is no column.
        while names.len() > 1 && names.last().is_some_and(|n| n.trim().is_empty()) {
            names.pop();
        }
        self.columns = distinct_names(names);
        self.wanted = vec![true; self.columns.len()];
        self.builders = self.columns.iter().map(|_| TextColumn::new()).collect();
        Ok(())
    }

    /// Cuts the next row that is not blank into `self.fields`.
    fn next_row(&mut self) -> Result<Next> {
        loop {
            if self.at >= self.buf.len() {
                if self.eof {
                    return Ok(Next::End);
                }
                self.fill()?;
                continue;
            }
            match cut(&self.buf, self.at, self.eof, self.delimiter, self.quote, &mut self.fields) {
                Cut::Row { next, lines } => {
                    let line = self.line;
                    self.at = next;
                    self.line += lines;
                    if !is_blank(&self.buf, &self.fields) {
                        return Ok(Next::Row { line });
                    }
                }
                Cut::More if self.buf.len() - self.at <= ROW_BYTES_MAX => self.fill()?,
                // Too long, or open to the end: only its first line is given up, the next may be whole again.
                Cut::More | Cut::OpenQuote => {
                    let line = self.line;
                    let rest = &self.buf[self.at..];
                    match rest.iter().position(|b| *b == b'\n') {
                        Some(k) => {
                            self.at += k + 1;
                            self.line += 1;
                        }
                        None => {
                            self.at = self.buf.len();
                            // The remains of an endless line are thrown away piece by piece.
                            while !self.eof {
                                self.fill()?;
                                match self.buf.iter().position(|b| *b == b'\n') {
                                    Some(k) => {
                                        self.at = k + 1;
                                        break;
                                    }
                                    None => self.at = self.buf.len(),
                                }
                            }
                            self.line += 1;
                        }
                    }
                    return Ok(Next::Broken { line });
                }
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        if self.at > 0 {
            self.buf.drain(..self.at);
            self.at = 0;
        }
        if !self.decoder.more(&mut self.buf).map_err(|e| self.input.read_fault(e))? {
            self.eof = true;
        }
        Ok(())
    }
}

impl Source for Delimited {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn select(&mut self, wanted: &[bool]) {
        self.wanted = wanted.to_vec();
        self.wanted.resize(self.columns.len(), false);
    }

    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        let n_columns = self.columns.len();
        let rows_max = (BATCH_CELLS_MAX / n_columns.max(1)).clamp(64, BATCH_ROWS_MAX);
        let mut batch = RawBatch { lines: Vec::with_capacity(rows_max), ..RawBatch::default() };
        let mut more = true;
        // Faults are bounded as rows are: a file of nothing but broken rows must not gather in memory.
        while batch.lines.len() < rows_max && batch.faults.len() < rows_max {
            let line = match self.next_row()? {
                Next::End => {
                    more = false;
                    break;
                }
                Next::Broken { line } => {
                    batch.faults.push(RawFault {
                        row: None,
                        line,
                        column: String::new(),
                        reason: Reason::OpenQuote,
                    });
                    continue;
                }
                Next::Row { line } => line,
            };
            let fits = self.fields.len() == n_columns
                || (self.fields.len() > n_columns
                    && self.fields[n_columns..]
                        .iter()
                        .all(|f| self.buf[f.start..f.end].trim_ascii().is_empty()));
            if !fits {
                batch.faults.push(RawFault {
                    row: None,
                    line,
                    column: String::new(),
                    reason: Reason::Ragged,
                });
                continue;
            }
            let mut full = false;
            for ((field, builder), wanted) in self.fields.iter().zip(&mut self.builders).zip(&self.wanted) {
                if *wanted {
                    let bytes = &self.buf[field.start..field.end];
                    match self.quote {
                        Some(q) if field.escaped => builder.push_unescaped(bytes, q),
                        _ => builder.push(bytes),
                    }
                    full |= builder.len_bytes() >= BATCH_BYTES_MAX;
                }
            }
            batch.lines.push(line);
            if full {
                break;
            }
        }
        if !more && batch.lines.is_empty() && batch.faults.is_empty() {
            return Ok(None);
        }
        for (c, (builder, wanted)) in self.builders.iter_mut().zip(&self.wanted).enumerate() {
            batch.columns.push(wanted.then(|| {
                let (array, bad) = builder.finish();
                for row in bad {
                    let line = batch.lines.get(row).copied().unwrap_or(0);
                    let column = self.columns[c].clone();
                    batch.faults.push(RawFault { row: Some(row), line, column, reason: Reason::NotText });
                }
                array
            }));
        }
        Ok(Some(batch))
    }

    fn describe(&self) -> String {
        let between = match self.delimiter {
            b',' => "comma",
            b'\t' => "tab",
            b';' => "semicolon",
            b'|' => "pipe",
            _ => "own delimiter",
        };
        format!("text, {between}, {}", self.decoder.encoding())
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, ReadSettings, Reason, open};
    use arrow::array::{Array, AsArray};
    use proptest::prelude::*;

    /// Cells, lines of the rows, faults by line.
    type Cut = (Vec<Vec<Option<String>>>, Vec<u64>, Vec<(u64, Reason)>);

    fn rows(text: &str) -> Cut {
        let mut source = open(&Input::bytes("t.csv", text), &ReadSettings::default()).expect("a table");
        let (mut rows, mut lines, mut faults) = (vec![], vec![], vec![]);
        while let Some(batch) = source.next_batch().expect("memory reads") {
            for r in 0..batch.n_rows() {
                rows.push(
                    batch
                        .columns
                        .iter()
                        .map(|c| {
                            let c = c.as_ref().expect("wanted").as_string::<i32>();
                            c.is_valid(r).then(|| c.value(r).to_owned())
                        })
                        .collect(),
                );
            }
            lines.extend(&batch.lines);
            faults.extend(batch.faults.into_iter().map(|f| (f.line, f.reason)));
        }
        (rows, lines, faults)
    }

    #[test]
    fn lines_are_right_after_quoted_line_ends_and_blank_lines() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "1,\"x", "y\"\"z\"", "", "2,", "3", "4,5,6", "7,8,,", "\"9\" ,10"].join(end);
            let (rows, lines, faults) = rows(&text);
            assert_eq!(lines, [2, 5, 8, 9]);
            assert_eq!(rows[0][1].as_deref(), Some(format!("x{end}y\"z").as_str()));
            assert_eq!(rows[1], [Some("2".to_owned()), None]);
            assert_eq!(rows[3][0].as_deref(), Some("9"));
            assert_eq!(faults, [(6, Reason::Ragged), (7, Reason::Ragged)]);
        }
    }

    #[test]
    fn a_quote_open_to_the_end_costs_one_line_only() {
        let (rows, lines, faults) = rows("a,b\n\"1,1\",2\n\"3,3\",4\n\"5,6\n7,8\n9,10\n");
        assert_eq!((rows.len(), lines), (4, vec![2, 3, 5, 6]));
        assert_eq!(faults, [(4, Reason::OpenQuote)]);
    }

    #[test]
    fn quotes_that_only_break_rows_are_text() {
        let (rows, _, faults) = rows("a,b\n1,2\n\"3,4\n5,6\n");
        assert_eq!((rows.len(), rows[1][0].as_deref(), faults.len()), (3, Some("\"3"), 0));
    }
    proptest! {
        #[test]
        fn cuts_as_the_csv_crate(cells in proptest::collection::vec(proptest::collection::vec("[a-z,;\"\n\r é]{0,6}", 3), 1..20)) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(vec![]);
            writer.write_record(["a", "b", "c"]).expect("memory");
            for row in &cells {
                writer.write_record(row).expect("memory");
            }
            let text = String::from_utf8(writer.into_inner().expect("memory")).expect("UTF-8");
            let (got, _, faults) = rows(&text);
            let want: Vec<Vec<Option<String>>> = cells
                .iter()
                .map(|r| r.iter().map(|c| {
                    let c = c.trim_matches([' ', '\n', '\r']).to_owned();
                    (!c.is_empty()).then_some(c)
                }).collect())
                .collect();
            let got: Vec<Vec<Option<String>>> = got.into_iter()
                .map(|r| r.into_iter().map(|c| c.map(|c| c.trim_matches([' ', '\n', '\r']).to_owned()).filter(|c| !c.is_empty())).collect())
                .collect();
            prop_assert!(faults.is_empty());
            prop_assert_eq!(got, want);
        }
    }
}
