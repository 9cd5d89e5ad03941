//! Asking the shop and reading the answers.

use crate::error::{Error, Result};
use crate::shop::Shop;
use crate::store::Snapshot;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use tradewind_core::freq::{DAY, date};

/// Cases that a finding shows.
pub(crate) const EXAMPLES: usize = 5;

/// The first moment that is taken for a real date of a shop: 1990-01-01, in milliseconds.
pub(crate) const OLDEST_MS: i64 = 631_152_000_000;

/// Dates that programs write when they know none: 1899-12-30, 1900-01-01, 1970-01-01, 2099-12-31, 2999-12-31 and
/// 9999-12-31, as days since 1970.
pub(crate) const PLACEHOLDER_DAYS: &[i64] = &[-25_569, -25_567, 0, 47_481, 376_199, 2_932_896];

/// The shop at one moment, and what counts as now.
pub(crate) struct Questions {
    pub(crate) shop: Shop,
    pub(crate) snapshot: Snapshot,
    /// The first moment that lies in the future: tomorrow's midnight.
    pub(crate) future_ms: i64,
}

impl Questions {
    pub(crate) fn new(shop: &Shop, as_of_ms: i64) -> Result<Self> {
        let day_ms = DAY * 1000;
        let future_ms = (as_of_ms.div_euclid(day_ms) + 1).saturating_mul(day_ms);
        Ok(Self { shop: shop.clone(), snapshot: shop.snapshot()?, future_ms })
    }

    pub(crate) fn ask(&self, query: &str) -> Result<Answer> {
        let batches = self.snapshot.sql(query)?;
        let schema =
            batches.first().map(RecordBatch::schema).ok_or_else(|| Error::Unexpected("no answer".into()))?;
        let batch =
            arrow::compute::concat_batches(&schema, &batches).map_err(Error::arrow("reading an answer"))?;
        Ok(Answer { batch })
    }

    /// The condition that `column` holds a date that a shop can have.
    pub(crate) fn plausible(&self, column: &str) -> String {
        format!("({} AND {})", compare(column, ">=", OLDEST_MS), compare(column, "<", self.future_ms))
    }
}

/// The condition that a column of time compares so with a moment. The literal has the column's own type: one of
/// another precision would drag far-off dates over the edge of that precision.
pub(crate) fn compare(column: &str, operator: &str, ms: i64) -> String {
    format!("\"{column}\" {operator} arrow_cast({ms}, 'Timestamp(Millisecond, None)')")
}

/// A column of time as whole days since 1970, for dates after that.
pub(crate) fn day_of(column: &str) -> String {
    format!("(CAST(\"{column}\" AS BIGINT) / 86400000)")
}

/// What a shop answered: a small table.
pub(crate) struct Answer {
    batch: RecordBatch,
}

impl Answer {
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// A whole number; 0 for null.
    pub(crate) fn whole(&self, column: &str, row: usize) -> Result<i64> {
        let array = self.cast(column, &DataType::Int64)?;
        let array = array.as_primitive::<Int64Type>();
        Ok(if array.is_valid(row) { array.value(row) } else { 0 })
    }

    /// A whole column of whole numbers; 0 for null.
    pub(crate) fn wholes(&self, column: &str) -> Result<Vec<i64>> {
        let array = self.cast(column, &DataType::Int64)?;
        Ok(array.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
    }

    /// A whole number that counts something.
    pub(crate) fn count(&self, column: &str, row: usize) -> Result<u64> {
        Ok(u64::try_from(self.whole(column, row)?).unwrap_or(0))
    }

    pub(crate) fn number(&self, column: &str, row: usize) -> Result<Option<f64>> {
        let array = self.cast(column, &DataType::Float64)?;
        let array = array.as_primitive::<Float64Type>();
        Ok(array.is_valid(row).then(|| array.value(row)))
    }

    pub(crate) fn text(&self, column: &str, row: usize) -> Result<Option<String>> {
        let array = self.cast(column, &DataType::Utf8)?;
        let array = array.as_string::<i32>();
        Ok(array.is_valid(row).then(|| shorten(array.value(row))))
    }

    /// Each row as one line made by `line`.
    pub(crate) fn lines(&self, line: impl Fn(&Self, usize) -> Result<String>) -> Result<Vec<String>> {
        (0..self.rows()).map(|row| line(self, row)).collect()
    }

    fn cast(&self, column: &str, to: &DataType) -> Result<arrow::array::ArrayRef> {
        let array = self
            .batch
            .column_by_name(column)
            .ok_or_else(|| Error::Unexpected(format!("an answer has no column `{column}`")))?;
        arrow::compute::cast(array, to).map_err(Error::arrow("reading an answer"))
    }
}

/// Days since 1970 as `2024-03-01`.
pub(crate) fn day_text(day: i64) -> String {
    date(day.saturating_mul(DAY)).to_string()
}

/// Milliseconds since 1970 as `2024-03-01` or `2024-03-01 13:00:00`.
pub(crate) fn moment_text(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    if seconds.rem_euclid(DAY) == 0 {
        date(seconds).to_string()
    } else {
        tradewind_core::freq::datetime(seconds).format("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// A number with at most four digits after the point.
pub(crate) fn number_text(x: f64) -> String {
    let rounded = (x * 1e4).round() / 1e4;
    if rounded.is_finite() { rounded.to_string() } else { x.to_string() }
}

/// Text for one line of a report.
pub(crate) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = text.chars().take(CHARS_MAX).map(clean).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::freq::parse_stamp;

    #[test]
    fn placeholders_are_the_dates_they_should_be() {
        let of = |t: &str| parse_stamp(t).expect("a date") / DAY;
        let expected =
            ["1899-12-30", "1900-01-01", "1970-01-01", "2099-12-31", "2999-12-31", "9999-12-31"].map(of);
        assert_eq!(PLACEHOLDER_DAYS, expected);
        assert_eq!(moment_text(OLDEST_MS), "1990-01-01");
        assert_eq!(moment_text(OLDEST_MS + 3_600_000), "1990-01-01 01:00:00");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("茶\n杯"), "茶 杯");
        assert_eq!(shorten(&"茶".repeat(100)).chars().count(), 81);
    }
}
