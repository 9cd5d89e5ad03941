//! Source columns read as texts, numbers and times.

use crate::date::{DateOrder, DateStyle, Decision, decide};
use crate::mapping::ColumnMapping;
use crate::number::{DecimalMark, Parsed, mark_of, parse, plain};
use crate::source::Reason;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, Int64Builder, StringArray,
    StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// Values looked at to settle how a column writes its dates and numbers.
const SAMPLE_VALUES: usize = 4_096;

/// What is settled about the columns of one file.
#[derive(Default)]
pub(crate) struct Styles {
    marks: HashMap<(usize, bool), DecimalMark>,
    dates: HashMap<usize, DateStyle>,
}

/// Dates of a column that could be day-first or month-first, with an example.
pub(crate) struct Ambiguous {
    pub(crate) column: usize,
    pub(crate) example: String,
}

/// The first thing wrong with each row.
pub(crate) struct Marks {
    /// One entry a row: zero is right, otherwise a position in `kinds` plus one.
    rows: Vec<u32>,
    kinds: Vec<(usize, Reason)>,
}

impl Marks {
    pub(crate) fn new(n: usize) -> Self {
        Self { rows: vec![0; n], kinds: vec![] }
    }

    /// Marks a row, unless something was wrong with it before. `column` is a column of the source.
    pub(crate) fn mark(&mut self, row: usize, column: usize, reason: &Reason) {
        if self.rows.get(row) != Some(&0) {
            return;
        }
        let known = self.kinds.iter().position(|(c, r)| *c == column && r == reason);
        let kind = known.unwrap_or_else(|| {
            self.kinds.push((column, reason.clone()));
            self.kinds.len() - 1
        });
        self.rows[row] = u32::try_from(kind + 1).unwrap_or(u32::MAX);
    }

    pub(crate) fn is_bad(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|k| *k != 0)
    }

    pub(crate) fn get(&self, row: usize) -> Option<&(usize, Reason)> {
        let kind = *self.rows.get(row)? as usize;
        self.kinds.get(kind.checked_sub(1)?)
    }

    pub(crate) fn any(&self) -> bool {
        !self.kinds.is_empty()
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() }).ok()
}

/// A column as text; types without a text form are empty.
pub(crate) fn texts(array: &ArrayRef) -> StringArray {
    match array.data_type() {
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            // Typed files may hold empty texts where others hold nothing; both mean nothing here.
            if (0..text.len()).any(|i| text.value_length(i) == 0 && text.is_valid(i)) {
                text.iter().map(|t| t.filter(|t| !t.is_empty())).collect()
            } else {
                text.clone()
            }
        }
        DataType::Float32 | DataType::Float64 | DataType::Float16 => {
            let Some(numbers) = cast(array, &DataType::Float64) else {
                return StringArray::new_null(array.len());
            };
            let mut out = StringBuilder::with_capacity(array.len(), array.len() * 8);
            for v in numbers.as_primitive::<Float64Type>() {
                match v {
                    Some(v) if v.fract() == 0.0 && v.abs() < 1e15 => out.append_value((v as i64).to_string()),
                    Some(v) if !v.is_nan() => out.append_value(v.to_string()),
                    _ => out.append_null(),
                }
            }
            out.finish()
        }
        _ => match cast(array, &DataType::Utf8) {
            Some(text) => text.as_string::<i32>().clone(),
            None => StringArray::new_null(array.len()),
        },
    }
}

/// Texts replaced by the mapping's words, and whole numbers freed of `.0`.
pub(crate) fn adjusted(texts: StringArray, how: &ColumnMapping) -> StringArray {
    if how.words.is_empty() && !how.trim_decimal {
        return texts;
    }
    texts
        .iter()
        .map(|t| {
            t.map(|t| {
                let t = if how.trim_decimal { t.strip_suffix(".0").unwrap_or(t) } else { t };
                how.words.get(t).map_or(t, String::as_str)
            })
        })
        .collect()
}

/// A column as numbers, with the currency signs seen beside them if there were any.
pub(crate) struct Numbers {
    pub(crate) values: Float64Array,
    pub(crate) signs: Option<Vec<Option<&'static str>>>,
}

/// Reads a column as numbers; rows that are none are marked.
pub(crate) fn numbers(
    array: &ArrayRef,
    column: usize,
    how: &ColumnMapping,
    styles: &mut Styles,
    marks: &mut Marks,
) -> Numbers {
    let is_text = matches!(
        array.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    if !is_text && how.words.is_empty() {
        let values = match cast(array, &DataType::Float64) {
            Some(v) => v.as_primitive::<Float64Type>().clone(),
            None => {
                for row in (0..array.len()).filter(|r| array.is_valid(*r)) {
                    marks.mark(row, column, &Reason::NotANumber);
                }
                Float64Array::new_null(array.len())
            }
        };
        // NaN is how many tools write a missing number.
        let values = if values.iter().flatten().any(|v| !v.is_finite()) {
            values
                .iter()
                .enumerate()
                .map(|(row, v)| {
                    if v.is_some_and(f64::is_infinite) {
                        marks.mark(row, column, &Reason::NotANumber);
                    }
                    v.filter(|v| v.is_finite())
                })
                .collect()
        } else {
            values
        };
        return Numbers { values, signs: None };
    }
    let text = adjusted(texts(array), how);
    let mark = *styles
        .marks
        .entry((column, how.decimal.is_some()))
        .or_insert_with(|| how.decimal.unwrap_or_else(|| mark_of(text.iter().flatten().take(SAMPLE_VALUES))));
    let mut out = Float64Builder::with_capacity(text.len());
    let mut signs: Option<Vec<Option<&'static str>>> = None;
    for row in 0..text.len() {
        if text.is_null(row) {
            out.append_null();
            continue;
        }
        let t = text.value(row);
        if mark == DecimalMark::Dot
            && let Some(v) = plain(t.as_bytes())
        {
            out.append_value(v);
            continue;
        }
        match parse(t, mark) {
            Parsed::Value(v, sign) => {
                out.append_value(v);
                if sign.is_some() {
                    signs.get_or_insert_with(|| vec![None; text.len()])[row] = sign;
                }
            }
            Parsed::Null => out.append_null(),
            Parsed::Bad => {
                marks.mark(row, column, &Reason::NotANumber);
                out.append_null();
            }
        }
    }
    Numbers { values: out.finish(), signs }
}

/// Reads a column as milliseconds since 1970; rows that are no dates are marked.
///
/// # Errors
/// When day and month cannot be told apart and nothing says which comes first.
pub(crate) fn times(
    array: &ArrayRef,
    column: usize,
    how: &ColumnMapping,
    styles: &mut Styles,
    order: Option<DateOrder>,
    marks: &mut Marks,
) -> Result<Int64Array, Ambiguous> {
    if matches!(array.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
        let range = crate::date::day_ms(1900, 1, 1).unwrap_or(i64::MIN)
            ..crate::date::day_ms(2199, 12, 31).unwrap_or(i64::MAX);
        let ms = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))
            .and_then(|a| cast(&a, &DataType::Int64));
        let values =
            ms.map_or_else(|| Int64Array::new_null(array.len()), |a| a.as_primitive::<Int64Type>().clone());
        let wild = values.iter().flatten().any(|v| !range.contains(&v));
        for row in 0..array.len() {
            if array.is_valid(row) && (values.is_null(row) || (wild && !range.contains(&values.value(row)))) {
                marks.mark(row, column, &Reason::NotADate);
            }
        }
        return Ok(values);
    }
    let text = adjusted(texts(array), how);
    if !styles.dates.contains_key(&column) || how.format.is_some() {
        let style = match &how.format {
            Some(pattern) => Some(DateStyle::Pattern(pattern.clone())),
            None => match decide(spread(&text), how.date_order.or(order)) {
                Decision::Style(style) => Some(style),
                Decision::Ambiguous(example) => return Err(Ambiguous { column, example }),
                Decision::Unknown => None,
            },
        };
        if let Some(style) = style {
            styles.dates.insert(column, style);
        }
    }
    // A column in which nothing is a date yet gets the commonest style, so that its rows are rejected by it.
    let style = styles.dates.get(&column).cloned().unwrap_or(DateStyle::YearFirst);
    let mut out = Int64Builder::with_capacity(text.len());
    let mut last: (&str, Option<i64>) = ("", None);
    for row in 0..text.len() {
        if text.is_null(row) {
            out.append_null();
            continue;
        }
        let t = text.value(row);
        if t != last.0 {
            last = (t, style.parse(t));
        }
        if last.1.is_none() {
            marks.mark(row, column, &Reason::NotADate);
        }
        out.append_option(last.1);
    }
    Ok(out.finish())
}

/// Values from all over the piece rather than from its beginning: rows sorted by date tell more that way.
fn spread(text: &StringArray) -> impl Iterator<Item = &str> {
    let step = (text.len() / SAMPLE_VALUES).max(1);
    (0..text.len()).step_by(step).filter(|i| text.is_valid(*i)).map(|i| text.value(i))
}

/// Whether the dates of this piece say what comes first.
pub(crate) fn order_in(array: &ArrayRef) -> Option<DateOrder> {
    match decide(spread(&texts(array)), None) {
        Decision::Style(DateStyle::DayFirst) => Some(DateOrder::DayFirst),
        Decision::Style(DateStyle::MonthFirst) => Some(DateOrder::MonthFirst),
        _ => None,
    }
}

/// A text array of one value.
pub(crate) fn repeated(value: &str, n: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, n)))
}
