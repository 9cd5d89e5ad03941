//! Pieces of a source turned into rows of a canonical table.

use crate::bind::{BoundColumn, Rule, Test, Value};
use crate::cells::{Ambiguous, Marks, Styles, adjusted, numbers, repeated, texts, times};
use crate::date::{DateOrder, day_ms};
use crate::mapping::{ColumnMapping, Lookup};
use crate::source::Reason;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, StringBuilder,
    TimestampMillisecondArray, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Float64Type;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_core::tables::{ColumnSpec, ColumnType};

/// Lookup tables by what they were read from.
pub(crate) type Lookups = HashMap<String, HashMap<String, String>>;

/// The name under which a lookup's table is kept.
pub(crate) fn lookup_key(lookup: &Lookup) -> String {
    format!("{}\u{0}{:?}\u{0}{:?}", lookup.file, lookup.key.0, lookup.value.0)
}

/// Columns of a piece, with the pseudo-columns of a melt behind them.
pub(crate) struct Rows<'a> {
    pub(crate) columns: &'a [Option<ArrayRef>],
    pub(crate) n: usize,
}

impl Rows<'_> {
    fn column(&self, c: usize) -> ArrayRef {
        match self.columns.get(c) {
            Some(Some(array)) => array.clone(),
            _ => Arc::new(StringArray::new_null(self.n)),
        }
    }

    /// A value as text, for reports.
    pub(crate) fn text(&self, c: usize, row: usize) -> String {
        let array = self.column(c);
        if row >= array.len() || array.is_null(row) {
            return String::new();
        }
        let text = texts(&array.slice(row, 1));
        if text.is_valid(0) { text.value(0).to_owned() } else { String::new() }
    }
}

/// What a rule made of some rows.
pub(crate) struct Converted {
    /// The rows that passed, as rows of the table.
    pub(crate) batch: RecordBatch,
    /// Which rows passed.
    pub(crate) kept: Vec<bool>,
    /// Which rows do not concern the table.
    pub(crate) skipped: Vec<bool>,
    /// What is wrong with the others.
    pub(crate) marks: Marks,
}

/// Turns rows into rows of the rule's table. `broken` rows were marked by the reader.
///
/// # Errors
/// When a date column could be day-first or month-first.
pub(crate) fn convert(
    rule: &Rule,
    rows: &Rows<'_>,
    broken: Marks,
    styles: &mut Styles,
    orders: &HashMap<usize, DateOrder>,
    lookups: &Lookups,
) -> Result<Converted, Ambiguous> {
    let n = rows.n;
    let mut marks = broken;
    let mut skipped = vec![false; n];
    for test in &rule.skip {
        for (row, holds) in holding(test, rows).into_iter().enumerate() {
            skipped[row] |= holds;
        }
    }
    for (test, reason) in &rule.reject {
        for (row, _) in holding(test, rows).into_iter().enumerate().filter(|(_, holds)| *holds) {
            marks.mark(row, test.column, reason);
        }
    }
    let mut arrays: Vec<Option<ArrayRef>> = vec![None; rule.spec.columns.len()];
    let mut signs: Option<Vec<Option<&'static str>>> = None;
    for column in &rule.columns {
        let array = fill(column, rows, styles, orders, lookups, &mut marks, &mut signs)?;
        if column.required && array.null_count() > 0 {
            let from = column.value.columns().first().copied().unwrap_or(usize::MAX - column.position);
            for row in (0..n).filter(|r| array.is_null(*r)) {
                marks.mark(row, from, &Reason::Missing);
            }
        }
        arrays[column.position] = Some(array);
    }
    complete(rule, &mut arrays, signs, n);
    let kept: Vec<bool> = (0..n).map(|r| !skipped[r] && !marks.is_bad(r)).collect();
    let schema = rule.spec.schema();
    // Rows that go are gone before the schema's promise of no nulls is checked.
    let arrays: Vec<ArrayRef> = arrays
        .into_iter()
        .zip(schema.fields())
        .map(|(array, field)| array.unwrap_or_else(|| new_null_array(field.data_type(), n)))
        .collect();
    let loose = arrow::datatypes::Schema::new(
        schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    );
    let batch =
        RecordBatch::try_new(Arc::new(loose), arrays).expect("one array of the schema's type a column");
    let batch = if kept.iter().all(|k| *k) {
        batch
    } else {
        filter_record_batch(&batch, &BooleanArray::from(kept.clone())).expect("a filter as long as the rows")
    };
    let batch =
        RecordBatch::try_new(schema, batch.columns().to_vec()).expect("required columns have no nulls left");
    Ok(Converted { batch, kept, skipped, marks })
}

/// For which rows a condition holds.
fn holding(test: &Test, rows: &Rows<'_>) -> Vec<bool> {
    let condition = &test.condition;
    let array = rows.column(test.column);
    let mut holds = vec![true; rows.n];
    if let Some(empty) = condition.empty {
        for (row, h) in holds.iter_mut().enumerate() {
            *h &= array.is_null(row) == empty;
        }
    }
    if !condition.equals.is_empty() || condition.starts_with.is_some() {
        let text = texts(&array);
        let words = &condition.equals.0;
        for (row, h) in holds.iter_mut().enumerate() {
            let t = if text.is_valid(row) { text.value(row) } else { "" };
            *h &= words.is_empty() || words.iter().any(|w| w == t);
            if let Some(start) = &condition.starts_with {
                *h &= t.starts_with(start.as_str());
            }
        }
    }
    if condition.below.is_some() || condition.above.is_some() {
        let mut ignored = Marks::new(rows.n);
        let how = ColumnMapping::default();
        let values = numbers(&array, test.column, &how, &mut Styles::default(), &mut ignored).values;
        for (row, h) in holds.iter_mut().enumerate() {
            let v = if values.is_valid(row) { values.value(row) } else { f64::NAN };
            *h &= condition.below.is_none_or(|b| v < b) && condition.above.is_none_or(|a| v > a);
        }
    }
    if condition.not {
        holds.iter_mut().for_each(|h| *h = !*h);
    }
    holds
}

/// One canonical column.
fn fill(
    column: &BoundColumn,
    rows: &Rows<'_>,
    styles: &mut Styles,
    orders: &HashMap<usize, DateOrder>,
    lookups: &Lookups,
    marks: &mut Marks,
    signs: &mut Option<Vec<Option<&'static str>>>,
) -> Result<ArrayRef, Ambiguous> {
    let how = &column.how;
    let none = ColumnMapping::default();
    let mut number = |c: usize, marks: &mut Marks| numbers(&rows.column(c), c, how, styles, marks);
    let computed: Option<Float64Array> = match &column.value {
        Value::Multiply(columns) => {
            columns.iter().map(|c| number(*c, marks).values).reduce(|a, b| both(&a, &b, |x, y| Some(x * y)))
        }
        Value::Divide(a, b) => {
            let (a, b) = (number(*a, marks).values, number(*b, marks).values);
            Some(both(&a, &b, |x, y| (y != 0.0).then(|| x / y)))
        }
        Value::Sum(columns) => columns.iter().map(|c| number(*c, marks).values).reduce(|a, b| {
            a.iter().zip(&b).map(|(x, y)| x.or(y).map(|_| x.unwrap_or(0.0) + y.unwrap_or(0.0))).collect()
        }),
        _ => None,
    };
    if let Some(values) = computed {
        return Ok(Arc::new(scaled(values, how.scale)));
    }
    // Computed or fixed texts are no column of the source and share no style with one.
    let (source, at, how): (ArrayRef, usize, &ColumnMapping) = match &column.value {
        Value::Column(c) => (rows.column(*c), *c, how),
        Value::Constant(text) => (repeated(text, rows.n), usize::MAX - column.position, &none),
        Value::Join(columns, between) => (joined(columns, between, rows), usize::MAX - column.position, how),
        Value::Json(columns) => (objects(columns, rows), usize::MAX - column.position, &none),
        _ => (Arc::new(StringArray::new_null(rows.n)), usize::MAX - column.position, how),
    };
    let source = match &how.lookup {
        Some(lookup) => looked_up(&source, at, lookup, lookups, marks),
        None => source,
    };
    // What a lookup gives is written in the other file's way, not in this column's.
    let at = if how.lookup.is_some() { usize::MAX - 64 - column.position } else { at };
    Ok(match column.spec.kind {
        ColumnType::Text => {
            let text = adjusted(texts(&source), how);
            Arc::new(if column.cases.is_empty() { text } else { cased(&column.cases, &text, rows) })
        }
        ColumnType::Number => {
            let read = numbers(&source, at, how, styles, marks);
            if column.spec.unit == "currency"
                && let Some(seen) = read.signs
            {
                signs.get_or_insert(seen);
            }
            Arc::new(scaled(read.values, how.scale))
        }
        ColumnType::Time => {
            let mut ms = match &how.count_from {
                Some(count) => {
                    let first = tradewind_core::freq::parse_stamp(&count.date).unwrap_or(0) * 1000;
                    counted(&numbers(&source, at, how, styles, marks).values, first, count.days, at, marks)
                }
                None => times(&source, at, how, styles, orders.get(&at).copied(), marks)?,
            };
            if let Some(days) = how.add_days {
                ms = ms.unary(|v| v.saturating_add(days.saturating_mul(86_400_000)));
            }
            Arc::new(ms.reinterpret_cast::<arrow::datatypes::TimestampMillisecondType>()) as ArrayRef
        }
    })
}

fn both(a: &Float64Array, b: &Float64Array, f: impl Fn(f64, f64) -> Option<f64>) -> Float64Array {
    a.iter().zip(b).map(|(x, y)| x.zip(y).and_then(|(x, y)| f(x, y)).filter(|v| v.is_finite())).collect()
}

fn scaled(values: Float64Array, scale: Option<f64>) -> Float64Array {
    match scale {
        Some(by) => values.unary(|v| v * by),
        None => values,
    }
}

/// Dates of counted periods.
fn counted(values: &Float64Array, first: i64, days: i64, column: usize, marks: &mut Marks) -> Int64Array {
    let last = day_ms(2199, 12, 31).unwrap_or(i64::MAX);
    let mut out = Vec::with_capacity(values.len());
    for (row, v) in values.iter().enumerate() {
        let ms = v
            .filter(|v| v.fract() == 0.0 && v.abs() < 1e6)
            .map(|v| first + (v as i64 - 1) * days * 86_400_000);
        let ms = ms.filter(|ms| (0..=last).contains(ms));
        if v.is_some() && ms.is_none() {
            marks.mark(row, column, &Reason::NotADate);
        }
        out.push(ms);
    }
    Int64Array::from(out)
}

/// Texts of several columns as one; null when one of them is.
fn joined(columns: &[usize], between: &str, rows: &Rows<'_>) -> ArrayRef {
    let parts: Vec<StringArray> = columns.iter().map(|c| texts(&rows.column(*c))).collect();
    let mut out = StringBuilder::with_capacity(rows.n, rows.n * 12);
    let mut text = String::new();
    for row in 0..rows.n {
        if parts.iter().any(|p| p.is_null(row)) {
            out.append_null();
            continue;
        }
        text.clear();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                text.push_str(between);
            }
            text.push_str(part.value(row));
        }
        out.append_value(&text);
    }
    Arc::new(out.finish())
}

/// Columns as JSON objects; empty ones are left out, and a row without any is null.
fn objects(columns: &[(String, usize)], rows: &Rows<'_>) -> ArrayRef {
    let parts: Vec<(&str, StringArray)> =
        columns.iter().map(|(name, c)| (name.as_str(), texts(&rows.column(*c)))).collect();
    Arc::new(
        (0..rows.n)
            .map(|row| {
                let object: serde_json::Map<String, serde_json::Value> = parts
                    .iter()
                    .filter(|(_, p)| p.is_valid(row))
                    .map(|(name, p)| ((*name).to_owned(), p.value(row).into()))
                    .collect();
                (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string())
            })
            .collect::<StringArray>(),
    )
}

fn cased(cases: &[(Test, String)], otherwise: &StringArray, rows: &Rows<'_>) -> StringArray {
    let holds: Vec<(Vec<bool>, &str)> = cases.iter().map(|(t, v)| (holding(t, rows), v.as_str())).collect();
    (0..rows.n)
        .map(|row| {
            holds
                .iter()
                .find(|(h, _)| h[row])
                .map(|(_, v)| *v)
                .or_else(|| otherwise.is_valid(row).then(|| otherwise.value(row)))
        })
        .collect()
}

fn looked_up(
    source: &ArrayRef,
    at: usize,
    lookup: &Lookup,
    lookups: &Lookups,
    marks: &mut Marks,
) -> ArrayRef {
    let text = texts(source);
    let empty = HashMap::new();
    let table = lookups.get(&lookup_key(lookup)).unwrap_or(&empty);
    let mut out = StringBuilder::with_capacity(text.len(), text.len() * 10);
    let mut last: (&str, Option<&String>) = ("", None);
    for row in 0..text.len() {
        if text.is_null(row) {
            out.append_null();
            continue;
        }
        let t = text.value(row);
        if t != last.0 {
            let bare = lookup.strip.as_deref().and_then(|s| t.strip_prefix(s));
            last = (t, table.get(t).or_else(|| table.get(bare?)));
        }
        if last.1.is_none() {
            marks.mark(row, at, &Reason::NotFound);
        }
        out.append_option(last.1);
    }
    Arc::new(out.finish())
}

/// What follows from the other columns: revenue from quantity and price, currency from a sign beside the price.
fn complete(
    rule: &Rule,
    arrays: &mut [Option<ArrayRef>],
    signs: Option<Vec<Option<&'static str>>>,
    n: usize,
) {
    let at = |name: &str| rule.spec.columns.iter().position(|c: &ColumnSpec| c.name == name);
    if let (Some(signs), Some(currency)) = (signs, at("currency")) {
        let given = arrays[currency].as_ref().map(texts);
        let filled: StringArray = (0..n)
            .map(|row| match &given {
                Some(g) if g.is_valid(row) => Some(g.value(row)),
                _ => signs.get(row).copied().flatten(),
            })
            .collect();
        arrays[currency] = Some(Arc::new(filled));
    }
    if let (Some(revenue), Some(quantity), Some(price)) = (at("revenue"), at("quantity"), at("unit_price"))
        && arrays[revenue].as_ref().is_none_or(|r| r.null_count() > 0)
        && let (Some(q), Some(p)) = (&arrays[quantity], &arrays[price])
    {
        let product =
            both(q.as_primitive::<Float64Type>(), p.as_primitive::<Float64Type>(), |x, y| Some(x * y));
        arrays[revenue] = Some(match &arrays[revenue] {
            Some(given) => {
                let given = given.as_primitive::<Float64Type>();
                Arc::new(given.iter().zip(&product).map(|(g, p)| g.or(p)).collect::<Float64Array>())
            }
            None => Arc::new(product),
        });
    }
}

/// The milliseconds of a time column.
pub(crate) fn milliseconds(array: &ArrayRef) -> Option<&TimestampMillisecondArray> {
    array.as_primitive_opt::<arrow::datatypes::TimestampMillisecondType>()
}
