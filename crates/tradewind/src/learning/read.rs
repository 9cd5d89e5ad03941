//! Tables from files and from a shop, as frames to learn from.

use crate::error::{Error, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tradewind_core::Run;
use tradewind_ingest::{TableOptions, TypedValues};
use tradewind_learn::frame::{Column, Frame, Words};
use tradewind_warehouse::Shop;

/// Reads a file of any format the import knows as a table to learn from.
///
/// # Errors
/// A file that cannot be read; a value that does not fit its column, with its line.
pub fn read_frame(run: &Run, path: &Path, options: &TableOptions) -> Result<Frame> {
    let table = tradewind_ingest::read_table(run, path, options)?;
    let columns = table
        .columns
        .into_iter()
        .map(|c| {
            let values = match c.values {
                TypedValues::Number(values) => Column::Number(values),
                TypedValues::Time(values) => {
                    Column::Date(values.into_iter().map(|ms| ms.map(|ms| ms.div_euclid(1000))).collect())
                }
                TypedValues::Text { codes, words } => Column::Text(Words::new(codes, words)?),
            };
            Ok((c.name, values))
        })
        .collect::<Result<_>>()?;
    Ok(Frame::new(columns)?)
}

/// The answer of a query over a shop's tables as a table to learn from.
///
/// # Errors
/// A query that is none, or a column type that is neither number, text nor time.
pub fn read_query(shop: &Shop, sql: &str) -> Result<Frame> {
    read_query_if_any(shop, sql)?
        .ok_or_else(|| Error::asked("the query gives no rows", "look at the tables with `tradewind check`"))
}

/// As [`read_query`], with nothing where the query gives no rows.
///
/// # Errors
/// As [`read_query`].
pub(crate) fn read_query_if_any(shop: &Shop, sql: &str) -> Result<Option<Frame>> {
    let batches = shop.sql(sql)?;
    let Some(first) = batches.iter().find(|b| b.num_rows() > 0) else { return Ok(None) };
    let schema = first.schema();
    let columns = (0..schema.fields().len())
        .map(|j| {
            let name = schema.field(j).name().clone();
            let values = frame_column(&name, &batches, j)?;
            Ok((name, values))
        })
        .collect::<Result<_>>()?;
    Ok(Some(Frame::new(columns)?))
}

fn frame_column(name: &str, batches: &[RecordBatch], j: usize) -> Result<Column> {
    let unfit = |kind: &DataType| {
        Error::asked(
            format!("the column `{name}` of the query is of the type {kind}, which cannot be learnt from"),
            "cast it to a number, a text or a timestamp in the query",
        )
    };
    let kind = batches[0].column(j).data_type().clone();
    let to = match &kind {
        k if k.is_numeric() || matches!(k, DataType::Boolean | DataType::Decimal128(..)) => DataType::Float64,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            DataType::Utf8
        }
        other => return Err(unfit(other)),
    };
    let parts: Vec<ArrayRef> =
        batches.iter().map(|b| cast(b.column(j), &to).map_err(|_| unfit(&kind))).collect::<Result<_>>()?;
    Ok(match to {
        DataType::Float64 => Column::Number(
            parts
                .iter()
                .flat_map(|p| p.as_primitive::<Float64Type>().iter().map(|v| v.unwrap_or(f64::NAN)))
                .collect(),
        ),
        DataType::Utf8 => {
            let (mut codes, mut words, mut seen) = (Vec::new(), Vec::new(), HashMap::<String, u32>::new());
            for text in parts.iter().flat_map(|p| p.as_string::<i32>().iter()) {
                codes.push(text.filter(|t| !t.is_empty()).map_or(u32::MAX, |t| match seen.get(t) {
                    Some(code) => *code,
                    None => {
                        let code = u32::try_from(words.len()).unwrap_or(u32::MAX);
                        words.push(t.to_owned());
                        seen.insert(t.to_owned(), code);
                        code
                    }
                }));
            }
            Column::Text(Words::new(codes, words)?)
        }
        _ => Column::Date(
            parts
                .iter()
                .flat_map(|p| p.as_primitive::<TimestampMillisecondType>().iter())
                .map(|ms| ms.map(|ms| ms.div_euclid(1000)))
                .collect(),
        ),
    })
}

/// A column as it is put into an output.
pub(super) fn arrow_column(column: &Column) -> ArrayRef {
    match column {
        Column::Number(values) => {
            Arc::new(Float64Array::from_iter(values.iter().map(|v| (!v.is_nan()).then_some(*v))))
        }
        Column::Text(words) => {
            Arc::new((0..words.codes().len()).map(|i| words.get(i)).collect::<StringArray>())
        }
        Column::Date(values) => Arc::new(TimestampMillisecondArray::from_iter(
            values.iter().map(|s| s.map(|s| s.saturating_mul(1000))),
        )),
        Column::Flag(values) => Arc::new(values.iter().copied().collect::<BooleanArray>()),
    }
}

/// The values of a column that orders rows in time; missing ones come first.
pub(super) fn times(name: &str, column: &Column) -> Result<Vec<i64>> {
    match column {
        Column::Date(values) => Ok(values.iter().map(|v| v.unwrap_or(i64::MIN)).collect()),
        Column::Number(values) => {
            // The order of the numbers, which need not be whole.
            let mut known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            known.sort_by(f64::total_cmp);
            Ok(values
                .iter()
                .map(|v| if v.is_nan() { -1 } else { known.partition_point(|k| k < v) as i64 })
                .collect())
        }
        _ => Err(Error::asked(
            format!("the column `{name}` holds neither times nor numbers"),
            "choose a column that tells when a row was known",
        )),
    }
}

/// What tells the groups of a column apart.
pub(super) fn group_keys(column: &Column) -> Vec<u64> {
    match column {
        Column::Number(values) => values.iter().map(|v| v.to_bits()).collect(),
        Column::Text(words) => words.codes().iter().map(|c| u64::from(*c)).collect(),
        Column::Date(values) => values.iter().map(|v| v.unwrap_or(i64::MIN) as u64).collect(),
        Column::Flag(values) => values.iter().map(|v| v.map_or(2, u64::from)).collect(),
    }
}

/// The sizes of the groups of neighbouring rows with one key.
///
/// # Errors
/// A group whose rows do not stand together.
pub(super) fn group_sizes(name: &str, keys: &[u64]) -> Result<Vec<usize>> {
    let mut sizes: Vec<usize> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (row, key) in keys.iter().enumerate() {
        if row > 0 && keys[row - 1] == *key {
            if let Some(last) = sizes.last_mut() {
                *last += 1;
            }
            continue;
        }
        if !seen.insert(*key) {
            return Err(Error::asked(
                format!("the rows of one group of `{name}` do not stand together (row {row})"),
                "sort the table by the group first",
            ));
        }
        sizes.push(1);
    }
    Ok(sizes)
}
