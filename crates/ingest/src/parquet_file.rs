//! Parquet, read in columns and pieces.

use crate::error::{IngestError, Result};
use crate::input::{Input, Packing};
use crate::source::{
    BATCH_CELLS_MAX, BATCH_ROWS_MAX, COLUMNS_MAX, RawBatch, ReadSettings, Source, distinct_names,
};
use arrow::array::RecordBatchReader;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::ChunkReader;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a decoder that may panic on damaged files, and makes an error of it: the file is a stranger's, the decoder
/// not ours.
pub(crate) fn guarded<T, E: std::fmt::Display>(
    input: &Input,
    what: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(IngestError::Damaged { file: input.name(), why: e.to_string() }),
        Err(_) => Err(IngestError::Damaged { file: input.name(), why: "its decoder gave up on it".into() }),
    }
}

/// Opens a Parquet file. A packed one (`.parquet.gz`) is unpacked into memory within a limit.
pub(crate) fn open(input: &Input, _settings: &ReadSettings) -> Result<Box<dyn Source>> {
    let pending = match input {
        Input::File(path) if input.packing()? == Packing::None => {
            let file = File::open(path).map_err(|e| input.read_fault(e))?;
            guarded(input, || ParquetRecordBatchReaderBuilder::try_new(file))
                .and_then(|b| prepared(input, b, Pending::File))
        }
        _ => {
            let bytes = input.whole()?;
            guarded(input, || ParquetRecordBatchReaderBuilder::try_new(bytes))
                .and_then(|b| prepared(input, b, Pending::Bytes))
        }
    }?;
    Ok(Box::new(pending))
}

enum Pending {
    File(ParquetRecordBatchReaderBuilder<File>),
    Bytes(ParquetRecordBatchReaderBuilder<bytes::Bytes>),
}

struct ParquetFile {
    input: Input,
    columns: Vec<String>,
    wanted: Vec<bool>,
    pending: Option<Pending>,
    reader: Option<ParquetRecordBatchReader>,
    next_row: u64,
}

fn prepared<R: ChunkReader + 'static>(
    input: &Input,
    builder: ParquetRecordBatchReaderBuilder<R>,
    keep: impl FnOnce(ParquetRecordBatchReaderBuilder<R>) -> Pending,
) -> Result<ParquetFile> {
    let columns = distinct_names(builder.schema().fields().iter().map(|f| f.name().clone()).collect());
    if columns.len() > COLUMNS_MAX {
        return Err(IngestError::TooLarge {
            file: input.name(),
            what: "its number of columns".into(),
            limit: COLUMNS_MAX.to_string(),
        });
    }
    check_sizes(input, &builder)?;
    Ok(ParquetFile {
        input: input.clone(),
        wanted: vec![true; columns.len()],
        columns,
        pending: Some(keep(builder)),
        reader: None,
        next_row: 1,
    })
}

/// Column chunks that claim more bytes than the file has are a sign of damage, and would be allocated.
fn check_sizes<R: ChunkReader + 'static>(
    input: &Input,
    builder: &ParquetRecordBatchReaderBuilder<R>,
) -> Result<()> {
    let file = match input.packing()? {
        Packing::None => input.len().unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    for group in builder.metadata().row_groups() {
        let rows_claimed = u64::try_from(group.num_rows()).ok();
        for chunk in group.columns() {
            let packed = u64::try_from(chunk.compressed_size()).ok();
            if rows_claimed.is_none() || packed.is_none_or(|n| n > file) {
                return Err(IngestError::Damaged {
                    file: input.name(),
                    why: "a column claims more bytes than the file has".into(),
                });
            }
        }
    }
    Ok(())
}

impl ParquetFile {
    fn start<R: ChunkReader + 'static>(
        &self,
        builder: ParquetRecordBatchReaderBuilder<R>,
    ) -> Result<ParquetRecordBatchReader> {
        let roots: Vec<usize> = (0..self.columns.len()).filter(|i| self.wanted[*i]).collect();
        let rows = (BATCH_CELLS_MAX / roots.len().max(1)).clamp(64, BATCH_ROWS_MAX);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        guarded(&self.input, || builder.with_projection(mask).with_batch_size(rows).build())
    }
}

impl Source for ParquetFile {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn select(&mut self, wanted: &[bool]) {
        self.wanted = wanted.to_vec();
        self.wanted.resize(self.columns.len(), false);
    }

    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        if let Some(pending) = self.pending.take() {
            self.reader = Some(match pending {
                Pending::File(b) => self.start(b)?,
                Pending::Bytes(b) => self.start(b)?,
            });
        }
        let Some(reader) = self.reader.as_mut() else { return Ok(None) };
        let read: Result<Option<RecordBatch>> = guarded(&self.input, || reader.next().transpose());
        let Some(rows) = read.inspect_err(|_| self.reader = None)? else { return Ok(None) };
        let mut arrays = rows.columns().iter();
        let n = rows.num_rows() as u64;
        let batch = RawBatch {
            columns: self.wanted.iter().map(|w| if *w { arrays.next().cloned() } else { None }).collect(),
            lines: (self.next_row..self.next_row.saturating_add(n)).collect(),
            ..RawBatch::default()
        };
        self.next_row = self.next_row.saturating_add(n);
        Ok(Some(batch))
    }

    fn describe(&self) -> String {
        let fields = self.reader.as_ref().map_or(self.columns.len(), |r| r.schema().fields().len());
        format!("Parquet, {fields} of {} columns", self.columns.len())
    }
}
