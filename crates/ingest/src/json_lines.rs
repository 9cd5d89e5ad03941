//! JSON Lines: one object a line.

use crate::decode::Decoder;
use crate::delimited::forced_encoding;
use crate::error::{IngestError, Result};
use crate::input::Input;
use crate::source::{
    BATCH_BYTES_MAX, BATCH_CELLS_MAX, BATCH_ROWS_MAX, COLUMNS_MAX, ROW_BYTES_MAX, RawBatch, RawFault,
    ReadSettings, Reason, Source, TextColumn,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// Bytes looked at to find the columns.
const SAMPLE_BYTES: usize = 4 << 20;
/// Columns seen too late that are remembered for the notes.
const LATE_COLUMNS_MAX: usize = 20;

/// Opens JSON Lines. The columns are the keys of the objects in the first 4 MiB, in the order they are met.
pub(crate) fn open(input: &Input, settings: &ReadSettings) -> Result<Box<dyn Source>> {
    let mut source = JsonLines {
        input: input.clone(),
        decoder: Decoder::new(input.reader()?, forced_encoding(settings, input)?),
        buf: vec![],
        at: 0,
        eof: false,
        line: 1,
        columns: vec![],
        positions: HashMap::new(),
        wanted: vec![],
        builders: vec![],
        late: BTreeMap::new(),
    };
    while source.buf.len() < SAMPLE_BYTES && !source.eof {
        source.fill()?;
    }
    let mut objects = 0;
    for line in source.buf.split(|b| *b == b'\n').take(100_000) {
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(line.trim_ascii()) else { continue };
        objects += 1;
        for key in object.keys() {
            if !source.positions.contains_key(key) && source.columns.len() < COLUMNS_MAX {
                source.positions.insert(key.clone(), source.columns.len());
                source.columns.push(key.clone());
            }
        }
    }
    if objects == 0 || source.columns.is_empty() {
        return Err(IngestError::UnknownFormat {
            file: input.name(),
            why: "it looks like JSON, but no line is an object with columns; one object a line is read"
                .into(),
        });
    }
    source.wanted = vec![true; source.columns.len()];
    source.builders = source.columns.iter().map(|_| TextColumn::new()).collect();
    Ok(Box::new(source))
}

struct JsonLines {
    input: Input,
    decoder: Decoder,
    buf: Vec<u8>,
    at: usize,
    eof: bool,
    line: u64,
    columns: Vec<String>,
    positions: HashMap<String, usize>,
    wanted: Vec<bool>,
    builders: Vec<TextColumn>,
    late: BTreeMap<String, u64>,
}

impl JsonLines {
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

    /// The bounds of the next line; `None` at the end.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            let from = self.at + searched;
            match self.buf.get(from..).unwrap_or_default().iter().position(|b| *b == b'\n') {
                Some(k) => {
                    let bounds = (self.at, from + k);
                    self.at = from + k + 1;
                    return Ok(Some(bounds));
                }
                None if self.eof => {
                    let bounds = (self.at, self.buf.len());
                    self.at = self.buf.len();
                    return Ok((bounds.0 < bounds.1).then_some(bounds));
                }
                None if self.buf.len() - self.at > ROW_BYTES_MAX => {
                    return Err(IngestError::TooLarge {
                        file: self.input.name(),
                        what: format!("line {}", self.line),
                        limit: format!("{} MiB", ROW_BYTES_MAX >> 20),
                    });
                }
                None => {
                    searched = self.buf.len() - self.at;
                    self.fill()?;
                }
            }
        }
    }
}

impl Source for JsonLines {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn select(&mut self, wanted: &[bool]) {
        self.wanted = wanted.to_vec();
        self.wanted.resize(self.columns.len(), false);
    }

    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        let rows_max = (BATCH_CELLS_MAX / self.columns.len().max(1)).clamp(64, BATCH_ROWS_MAX);
        let mut batch = RawBatch::default();
        let mut more = true;
        let mut bytes = 0;
        while batch.lines.len() < rows_max && batch.faults.len() < rows_max && bytes < BATCH_BYTES_MAX {
            let Some((start, end)) = self.next_line()? else {
                more = false;
                break;
            };
            let line = self.line;
            self.line += 1;
            let text = self.buf[start..end].trim_ascii();
            if text.is_empty() {
                continue;
            }
            bytes += text.len();
            let Ok(object) = serde_json::from_slice::<Map<String, Value>>(text) else {
                batch.faults.push(RawFault {
                    row: None,
                    line,
                    column: String::new(),
                    reason: Reason::NotJson,
                });
                continue;
            };
            let row = batch.lines.len();
            batch.lines.push(line);
            for (key, value) in &object {
                let Some(&position) = self.positions.get(key) else {
                    if self.late.len() < LATE_COLUMNS_MAX && !value.is_null() {
                        self.late.entry(key.clone()).or_insert(line);
                    }
                    continue;
                };
                if !self.wanted[position] {
                    continue;
                }
                let builder = &mut self.builders[position];
                match value {
                    Value::Null => builder.push_null(),
                    Value::String(text) => builder.push(text.as_bytes()),
                    other => builder.push(other.to_string().as_bytes()),
                }
            }
            for (builder, wanted) in self.builders.iter_mut().zip(&self.wanted) {
                if *wanted && builder.len() == row {
                    builder.push_null();
                }
            }
        }
        if !more && batch.lines.is_empty() && batch.faults.is_empty() {
            return Ok(None);
        }
        for (builder, wanted) in self.builders.iter_mut().zip(&self.wanted) {
            batch.columns.push(wanted.then(|| builder.finish().0));
        }
        Ok(Some(batch))
    }

    fn describe(&self) -> String {
        format!("JSON Lines, {}", self.decoder.encoding())
    }

    fn notes(&self) -> Vec<String> {
        self.late
            .iter()
            .map(|(key, line)| format!("column `{key}` first appears on line {line}, after the columns were settled; it was not read"))
            .collect()
    }
}
