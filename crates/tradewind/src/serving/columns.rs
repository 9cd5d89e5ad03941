//! Columns of stored tables, told apart by name and type.

use super::folder::Reader;
use crate::error::Result;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

/// A table of an artifact while it is read.
pub(super) struct Columns<'a> {
    reader: &'a Reader,
    file: &'a str,
    batches: Vec<RecordBatch>,
}

impl<'a> Columns<'a> {
    /// Reads and checks the file.
    pub(super) fn read(reader: &'a Reader, file: &'a str) -> Result<Self> {
        Ok(Self { reader, file, batches: reader.table(file)? })
    }

    /// Its batches.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Numbers; null is not a number.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        self.each(name, |array, out| {
            let values = array.as_primitive_opt::<Float64Type>()?;
            out.extend(values.iter().map(|v| v.unwrap_or(f64::NAN)));
            Some(())
        })
    }

    /// Whole numbers, none of them null.
    pub(super) fn whole(&self, name: &str) -> Result<Vec<i64>> {
        self.each(name, |array, out| {
            let values = array.as_primitive_opt::<Int64Type>()?;
            out.extend(values.iter().collect::<Option<Vec<i64>>>()?);
            Some(())
        })
    }

    /// Texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        self.each(name, |array, out| {
            let values = array.as_string_opt::<i32>()?;
            out.extend(values.iter().map(|v| v.map(str::to_owned)));
            Some(())
        })
    }

    /// Texts, none of them null.
    pub(super) fn names(&self, name: &str) -> Result<Vec<String>> {
        self.texts(name)?.into_iter().collect::<Option<Vec<String>>>().ok_or_else(|| self.unfit(name))
    }

    fn each<T>(
        &self,
        name: &str,
        mut take: impl FnMut(&dyn Array, &mut Vec<T>) -> Option<()>,
    ) -> Result<Vec<T>> {
        let mut out = Vec::with_capacity(self.batches.iter().map(RecordBatch::num_rows).sum());
        for batch in &self.batches {
            let column = batch.column_by_name(name).ok_or_else(|| self.unfit(name))?;
            take(&**column, &mut out).ok_or_else(|| self.unfit(name))?;
        }
        Ok(out)
    }

    fn unfit(&self, name: &str) -> crate::Error {
        self.reader.fault(self.file, &format!("has no column `{name}` of the right type without gaps"))
    }
}
