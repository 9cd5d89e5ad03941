//! What can be said only when all rows are seen: one row a key, and increases of cumulative counts.

use crate::bind::{Rule, Value};
use crate::cells::repeated;
use crate::convert::milliseconds;
use crate::mapping::Increase;
use crate::source::BATCH_ROWS_MAX;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, StringArray, TimestampMillisecondArray, new_null_array,
};
use arrow::datatypes::Float64Type;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_core::tables::TableSpec;

/// The most different readings that are kept.
const READINGS_MAX: usize = 20_000_000;

/// One row a key: the most frequent reading, of equals the first.
pub(crate) struct OncePerKey {
    spec: &'static TableSpec,
    rows: RowConverter,
    keys: RowConverter,
    /// Each reading with its key's number and how often it was met, in the order of first meeting.
    readings: Vec<(Box<[u8]>, u32, u64)>,
    by_reading: HashMap<Box<[u8]>, u32>,
    by_key: HashMap<Box<[u8]>, u32>,
    pub(crate) overflow: u64,
}

impl OncePerKey {
    pub(crate) fn new(spec: &'static TableSpec) -> Self {
        let fields = |names: &mut dyn Iterator<Item = &str>| {
            names.filter_map(|n| spec.column(n)).map(|c| SortField::new(c.kind.arrow())).collect::<Vec<_>>()
        };
        let converter = |fields| RowConverter::new(fields).expect("canonical types have row forms");
        Self {
            spec,
            rows: converter(fields(&mut spec.columns.iter().map(|c| c.name))),
            keys: converter(fields(&mut spec.key.iter().copied())),
            readings: vec![],
            by_reading: HashMap::new(),
            by_key: HashMap::new(),
            overflow: 0,
        }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        let key_columns: Vec<ArrayRef> =
            self.spec.key.iter().filter_map(|k| batch.column_by_name(k).cloned()).collect();
        let (Ok(rows), Ok(keys)) =
            (self.rows.convert_columns(batch.columns()), self.keys.convert_columns(&key_columns))
        else {
            return;
        };
        for (row, key) in rows.iter().zip(keys.iter()) {
            if let Some(&at) = self.by_reading.get(row.as_ref()) {
                self.readings[at as usize].2 += 1;
                continue;
            }
            if self.readings.len() >= READINGS_MAX {
                self.overflow += 1;
                continue;
            }
            let n_keys = u32::try_from(self.by_key.len()).unwrap_or(u32::MAX);
            let key = *self.by_key.entry(key.as_ref().into()).or_insert(n_keys);
            let bytes: Box<[u8]> = row.as_ref().into();
            self.by_reading.insert(bytes.clone(), u32::try_from(self.readings.len()).unwrap_or(u32::MAX));
            self.readings.push((bytes, key, 1));
        }
    }

    /// The chosen rows, keys in the order they were first met.
    pub(crate) fn finish(self) -> Vec<RecordBatch> {
        let mut best: Vec<Option<usize>> = vec![None; self.by_key.len()];
        for (at, (_, key, count)) in self.readings.iter().enumerate() {
            let slot = &mut best[*key as usize];
            if slot.is_none_or(|b| self.readings[b].2 < *count) {
                *slot = Some(at);
            }
        }
        let parser = self.rows.parser();
        let chosen: Vec<&[u8]> = best.iter().flatten().map(|at| &*self.readings[*at].0).collect();
        chosen
            .chunks(BATCH_ROWS_MAX)
            .filter_map(|chunk| {
                let columns = self.rows.convert_rows(chunk.iter().map(|b| parser.parse(b))).ok()?;
                RecordBatch::try_new(self.spec.schema(), columns).ok()
            })
            .collect()
    }
}

/// Readings of cumulative counts, turned into increases at the end; see [`Increase`].
pub(crate) struct Increases {
    spec: &'static TableSpec,
    how: Increase,
    constants: HashMap<&'static str, String>,
    ids: HashMap<String, u32>,
    names: Vec<String>,
    readings: Vec<(u32, i64, f64)>,
    pub(crate) overflow: u64,
}

impl Increases {
    pub(crate) fn new(rule: &Rule, how: &Increase) -> Self {
        let constants = rule.columns.iter().filter_map(|c| match &c.value {
            Value::Constant(text) => Some((c.spec.name, text.clone())),
            _ => None,
        });
        Self {
            spec: rule.spec,
            how: how.clone(),
            constants: constants.collect(),
            ids: HashMap::new(),
            names: vec![],
            readings: vec![],
            overflow: 0,
        }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        let time = self.spec.time.and_then(|t| batch.column_by_name(t)).and_then(milliseconds);
        let by = batch.column_by_name(&self.how.by).and_then(|a| a.as_string_opt::<i32>());
        let of = batch.column_by_name(&self.how.of).and_then(|a| a.as_primitive_opt::<Float64Type>());
        let (Some(time), Some(by), Some(of)) = (time, by, of) else { return };
        for row in 0..batch.num_rows() {
            if time.is_null(row) || by.is_null(row) || of.is_null(row) {
                continue;
            }
            if self.readings.len() >= READINGS_MAX {
                self.overflow += 1;
                continue;
            }
            let name = by.value(row);
            let id = match self.ids.get(name) {
                Some(id) => *id,
                None => {
                    let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                    self.ids.insert(name.to_owned(), id);
                    self.names.push(name.to_owned());
                    id
                }
            };
            self.readings.push((id, time.value(row), of.value(row)));
        }
    }

    /// Rows of increases, in the order of time and then of first meeting.
    pub(crate) fn finish(mut self) -> Vec<RecordBatch> {
        self.readings.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut grown: Vec<(i64, u32, f64)> = self
            .readings
            .windows(2)
            .filter(|w| w[0].0 == w[1].0 && w[1].2 > w[0].2)
            .map(|w| (w[1].1, w[1].0, w[1].2 - w[0].2))
            .collect();
        grown.sort_by_key(|g| (g.0, g.1));
        let build = |chunk: &[(i64, u32, f64)]| -> Option<RecordBatch> {
            let columns = self
                .spec
                .columns
                .iter()
                .map(|c| -> ArrayRef {
                    if Some(c.name) == self.spec.time {
                        Arc::new(TimestampMillisecondArray::from_iter_values(chunk.iter().map(|g| g.0)))
                    } else if c.name == self.how.by {
                        let names = chunk.iter().map(|g| &self.names[g.1 as usize]);
                        Arc::new(StringArray::from_iter_values(names))
                    } else if c.name == self.how.of {
                        Arc::new(Float64Array::from_iter_values(chunk.iter().map(|g| g.2)))
                    } else {
                        match self.constants.get(c.name) {
                            Some(text) if c.kind == tradewind_core::tables::ColumnType::Text => {
                                repeated(text, chunk.len())
                            }
                            _ => new_null_array(&c.kind.arrow(), chunk.len()),
                        }
                    }
                })
                .collect();
            RecordBatch::try_new(self.spec.schema(), columns).ok()
        };
        grown.chunks(BATCH_ROWS_MAX).filter_map(build).collect()
    }
}
