//! Profiles of many columns: made, merged, written and read.

use super::{Column, wrong};
use crate::error::{Error, Result};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericStringArray, OffsetSizeTrait,
    PrimitiveArray, RecordBatch,
};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Read;
use tradewind_core::{ErrorKind, Run};

/// The version of the written form; older ones keep opening.
pub const PROFILE_FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"TWPROFIL";
const COLUMNS_MAX: usize = 4_096;
/// Of a written profile, unpacked.
const BYTES_MAX: u64 = 512 << 20;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// Numbers, and times as seconds since 1970.
    Number,
    /// Names: texts, codes, yes and no.
    Category,
}

impl ValueKind {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Category => "category",
        }
    }

    /// What an Arrow type is taken for; nothing for nested types and raw bytes.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => {
                Some(Self::Category)
            }
            DataType::Dictionary(_, value) => Self::of(value).filter(|kind| *kind == Self::Category),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Decimal128(..) => {
                Some(Self::Number)
            }
            numeric
                if numeric.is_primitive()
                    && numeric.is_numeric()
                    && !matches!(numeric, DataType::Float16) =>
            {
                Some(Self::Number)
            }
            _ => None,
        }
    }
}

/// A column that shall be profiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// What its values shall be; others are counted as faults.
    pub kind: ValueKind,
}

impl ColumnSpec {
    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ValueKind::Number }
    }

    /// A column of names.
    pub fn category(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ValueKind::Category }
    }

    /// The columns of a schema that can be profiled: all but nested ones and raw bytes.
    pub fn of(schema: &Schema) -> Vec<Self> {
        let fields = schema.fields().iter();
        fields
            .filter_map(|f| Some(Self { name: f.name().clone(), kind: ValueKind::of(f.data_type())? }))
            .collect()
    }
}

/// Sizes of the sketches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileSettings {
    /// `k` of [`super::Quantiles`], 16 to 65,536 (1024: ranks to half a percent).
    pub quantile_size: usize,
    /// Counters of [`super::Frequent`], 16 to 65,536 (512).
    pub frequent_room: usize,
}

impl Default for ProfileSettings {
    fn default() -> Self {
        Self { quantile_size: 1024, frequent_room: 512 }
    }
}

/// Makes a [`Profile`] in one pass over batches or columns. Memory is that of the profile, whatever the rows.
///
/// ```
/// use tradewind_ops::monitor::sketch::{ColumnSpec, ProfileSettings, Profiler};
/// let columns = vec![ColumnSpec::number("price"), ColumnSpec::category("city")];
/// let mut profiler = Profiler::new(columns, ProfileSettings::default()).unwrap();
/// profiler.push_numbers("price", &[9.5, 12.0, f64::NAN]).unwrap();
/// profiler.push_texts("city", [Some("Berlin"), None, Some("上海")]).unwrap();
/// let profile = profiler.finish();
/// assert_eq!(profile.column("price").unwrap().missing, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Profiler {
    profile: Profile,
}

impl Profiler {
    /// A profiler of these columns.
    ///
    /// # Errors
    /// No column, two of one name, too many, sizes outside their range.
    pub fn new(columns: Vec<ColumnSpec>, settings: ProfileSettings) -> Result<Self> {
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            return Err(wrong(
                format!("a profile of {} columns", columns.len()),
                format!("name 1 to {COLUMNS_MAX} columns"),
            ));
        }
        let mut out = Vec::with_capacity(columns.len());
        for spec in &columns {
            if out.iter().any(|c: &Column| c.name == spec.name) {
                return Err(wrong(
                    format!("two columns named {}", spec.name),
                    "give each column a name of its own",
                ));
            }
            out.push(Column::new(&spec.name, spec.kind, &settings)?);
        }
        Ok(Self { profile: Profile { format: PROFILE_FORMAT, columns: out } })
    }

    /// A profiler of all columns of a schema that can be profiled.
    ///
    /// # Errors
    /// As [`Profiler::new`].
    pub fn of_schema(schema: &Schema, settings: ProfileSettings) -> Result<Self> {
        Self::new(ColumnSpec::of(schema), settings)
    }

    /// Takes a batch in, its columns in parallel on the run's threads. A column that the batch lacks has all its rows
    /// missing; columns that are not profiled are passed over.
    ///
    /// # Errors
    /// The run was cancelled.
    pub fn push_batch(&mut self, run: &Run, batch: &RecordBatch) -> Result<()> {
        run.check()
            .map_err(|_| Error::asked(ErrorKind::Interrupted, "interrupted", "begin the profile again"))?;
        let columns = &mut self.profile.columns;
        run.install(|| {
            columns.par_iter_mut().for_each(|column| match batch.column_by_name(&column.name) {
                Some(array) => push_array(column, array),
                None => column.push_missing(batch.num_rows() as u64),
            });
        });
        Ok(())
    }

    /// Takes rows of one column in, NaN for a missing number.
    ///
    /// # Errors
    /// A column that is not profiled.
    pub fn push_numbers(&mut self, column: &str, numbers: &[f64]) -> Result<()> {
        self.column(column)?.push_numbers(numbers);
        Ok(())
    }

    /// Takes rows of one column in, nothing for a missing text.
    ///
    /// # Errors
    /// A column that is not profiled.
    pub fn push_texts<'a>(
        &mut self,
        column: &str,
        texts: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Result<()> {
        let column = self.column(column)?;
        texts.into_iter().for_each(|text| column.push_text(text));
        Ok(())
    }

    /// The profile so far, which may be read while the pass goes on.
    pub fn so_far(&self) -> &Profile {
        &self.profile
    }

    /// The profile.
    pub fn finish(self) -> Profile {
        self.profile
    }

    fn column(&mut self, name: &str) -> Result<&mut Column> {
        self.profile.columns.iter_mut().find(|c| c.name == name).ok_or_else(|| {
            Error::asked(
                ErrorKind::NotFound,
                format!("the profile has no column {name}"),
                "name the columns when the profiler is made",
            )
        })
    }
}

/// What is known of the columns of a table after one pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    format: u32,
    columns: Vec<Column>,
}

impl Profile {
    /// The columns in the order in which they were named.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The largest number of rows of any column.
    pub fn rows(&self) -> u64 {
        self.columns.iter().map(|c| c.rows).max().unwrap_or(0)
    }

    /// Adds what another profile of the same columns saw: as one pass over both, within the sketches' stated errors.
    ///
    /// # Errors
    /// Other columns; then nothing is changed.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut merged = self.columns.clone();
        if merged.len() != other.columns.len() {
            return Err(wrong(
                format!("profiles of {} and {} columns", merged.len(), other.columns.len()),
                "merge profiles that were made with the same columns",
            ));
        }
        for (mine, theirs) in merged.iter_mut().zip(&other.columns) {
            mine.merge(theirs)?;
        }
        self.columns = merged;
        Ok(())
    }

    /// The written form: a mark, then JSON packed by zstd. Some 20 KiB a column of numbers.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bug = |e: String| {
            Error::asked(
                ErrorKind::Internal,
                format!("a profile cannot be written: {e}"),
                "report this as a bug",
            )
        };
        let json = serde_json::to_vec(self).map_err(|e| bug(e.to_string()))?;
        let packed = zstd::bulk::compress(&json, 9).map_err(|e| bug(e.to_string()))?;
        Ok([&MAGIC[..], &packed].concat())
    }

    /// Reads what [`Profile::to_bytes`] wrote, of this or an earlier version.
    ///
    /// # Errors
    /// Something else, a newer format, a damaged profile.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let bad = |what: String| {
            Error::asked(ErrorKind::InvalidInput, format!("no profile: {what}"), "make the profile again")
        };
        let packed =
            bytes.strip_prefix(MAGIC).ok_or_else(|| bad("the mark at the beginning is missing".into()))?;
        let mut json = Vec::new();
        let reader = zstd::Decoder::new(packed).map_err(|e| bad(e.to_string()))?;
        reader.take(BYTES_MAX + 1).read_to_end(&mut json).map_err(|e| bad(e.to_string()))?;
        if json.len() as u64 > BYTES_MAX {
            return Err(bad(format!("more than {BYTES_MAX} bytes")));
        }
        let head: Head = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
        if head.format > PROFILE_FORMAT {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!(
                    "a profile of format {}; this Tradewind reads formats up to {PROFILE_FORMAT}",
                    head.format
                ),
                "update tradewind",
            ));
        }
        let profile: Self = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
        let whole = !profile.columns.is_empty()
            && profile.columns.len() <= COLUMNS_MAX
            && profile.columns.iter().all(Column::is_whole);
        if whole { Ok(profile) } else { Err(bad("its counts do not agree".into())) }
    }
}

fn push_array(column: &mut Column, array: &ArrayRef) {
    const SECOND_MS: f64 = 1e3;
    match array.data_type() {
        DataType::Float64 => push_primitive::<Float64Type>(column, array, |v| v),
        DataType::Float32 => push_primitive::<Float32Type>(column, array, f64::from),
        DataType::Int8 => push_primitive::<Int8Type>(column, array, f64::from),
        DataType::Int16 => push_primitive::<Int16Type>(column, array, f64::from),
        DataType::Int32 => push_primitive::<Int32Type>(column, array, f64::from),
        DataType::Int64 => push_primitive::<Int64Type>(column, array, |v| v as f64),
        DataType::UInt8 => push_primitive::<UInt8Type>(column, array, f64::from),
        DataType::UInt16 => push_primitive::<UInt16Type>(column, array, f64::from),
        DataType::UInt32 => push_primitive::<UInt32Type>(column, array, f64::from),
        DataType::UInt64 => push_primitive::<UInt64Type>(column, array, |v| v as f64),
        DataType::Date32 => push_primitive::<Date32Type>(column, array, |v| f64::from(v) * 86_400.0),
        DataType::Date64 => push_primitive::<Date64Type>(column, array, |v| v as f64 / SECOND_MS),
        DataType::Decimal128(_, scale) => {
            let unit = 10_f64.powi(i32::from(*scale));
            push_primitive::<Decimal128Type>(column, array, |v| v as f64 / unit);
        }
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => push_primitive::<TimestampSecondType>(column, array, |v| v as f64),
            TimeUnit::Millisecond => {
                push_primitive::<TimestampMillisecondType>(column, array, |v| v as f64 / 1e3)
            }
            TimeUnit::Microsecond => {
                push_primitive::<TimestampMicrosecondType>(column, array, |v| v as f64 / 1e6)
            }
            TimeUnit::Nanosecond => {
                push_primitive::<TimestampNanosecondType>(column, array, |v| v as f64 / 1e9)
            }
        },
        DataType::Utf8 => push_strings(column, array.as_string::<i32>()),
        DataType::LargeUtf8 => push_strings(column, array.as_string::<i64>()),
        DataType::Utf8View => array.as_string_view().iter().for_each(|text| column.push_text(text)),
        DataType::Boolean => push_booleans(column, array.as_boolean()),
        DataType::Dictionary(..) => push_dictionary(column, array),
        _ => push_faults(column, array),
    }
}

fn push_faults(column: &mut Column, array: &ArrayRef) {
    let missing = array.logical_null_count();
    column.push_missing(missing as u64);
    column.push_fault((array.len() - missing) as u64);
}

fn push_primitive<T: ArrowPrimitiveType>(
    column: &mut Column,
    array: &ArrayRef,
    number: impl Fn(T::Native) -> f64,
) {
    let array: &PrimitiveArray<T> = array.as_primitive();
    let mut numbers = [0.0_f64; 1024];
    let mut at = 0;
    while at < array.len() {
        let end = (at + numbers.len()).min(array.len());
        let values = &array.values()[at..end];
        for (to, from) in numbers.iter_mut().zip(values) {
            *to = number(*from);
        }
        if array.null_count() > 0 {
            for (i, to) in numbers[..end - at].iter_mut().enumerate() {
                if array.is_null(at + i) {
                    *to = f64::NAN;
                }
            }
        }
        column.push_numbers(&numbers[..end - at]);
        at = end;
    }
}

fn push_strings<O: OffsetSizeTrait>(column: &mut Column, array: &GenericStringArray<O>) {
    array.iter().for_each(|text| column.push_text(text));
}

fn push_booleans(column: &mut Column, array: &BooleanArray) {
    let yes = array.true_count() as u64;
    let missing = array.null_count() as u64;
    column.push_named("true", yes);
    column.push_named("false", array.len() as u64 - yes - missing);
    column.push_missing(missing);
}

/// Counts by code first: a text is hashed once a batch, not once a row.
fn push_dictionary(column: &mut Column, array: &ArrayRef) {
    let Some(coded) = array.as_any_dictionary_opt() else { return push_faults(column, array) };
    let texts: Vec<Option<&str>> = match coded.values().data_type() {
        DataType::Utf8 => coded.values().as_string::<i32>().iter().collect(),
        DataType::LargeUtf8 => coded.values().as_string::<i64>().iter().collect(),
        DataType::Utf8View => coded.values().as_string_view().iter().collect(),
        _ => return push_faults(column, array),
    };
    if texts.is_empty() {
        return column.push_missing(array.len() as u64);
    }
    let mut counts = vec![0_u64; texts.len()];
    let mut missing = 0;
    for (i, code) in coded.normalized_keys().into_iter().enumerate() {
        if array.is_null(i) {
            missing += 1;
        } else {
            counts[code] += 1;
        }
    }
    for (text, count) in texts.into_iter().zip(counts) {
        match text {
            Some(text) => column.push_named(text, count),
            None => missing += count,
        }
    }
    column.push_missing(missing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sketch::Values;
    use arrow::array::{DictionaryArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
    use std::sync::Arc;

    fn batch(from: u64, rows: u64) -> RecordBatch {
        let hash = |i: u64| super::super::mixed(i);
        let price: Float64Array = (from..from + rows)
            .map(|i| if i % 50 == 0 { None } else { Some((hash(i) % 9_973) as f64 / 7.0) })
            .collect();
        let count: Int64Array = (from..from + rows).map(|i| Some((hash(i) % 40) as i64 - 3)).collect();
        let city: StringArray =
            (from..from + rows).map(|i| (i % 11 != 0).then(|| format!("city {}", hash(i) % 97))).collect();
        let names: Vec<String> = (from..from + rows).map(|i| format!("c{}", hash(i ^ 99) % 5)).collect();
        let channel: DictionaryArray<arrow::datatypes::Int32Type> =
            names.iter().map(|n| Some(n.as_str())).collect();
        let paid: BooleanArray = (from..from + rows).map(|i| (i % 13 != 0).then_some(i % 3 == 0)).collect();
        let at = TimestampMillisecondArray::from_iter_values((from..from + rows).map(|i| i as i64 * 1000));
        RecordBatch::try_from_iter([
            ("price", Arc::new(price) as ArrayRef),
            ("count", Arc::new(count)),
            ("city", Arc::new(city)),
            ("channel", Arc::new(channel)),
            ("paid", Arc::new(paid)),
            ("at", Arc::new(at)),
        ])
        .unwrap()
    }

    #[test]
    fn parts_merged_say_what_one_pass_says() {
        let run = Run::new(0);
        let schema = batch(0, 1).schema();
        let mut one = Profiler::of_schema(&schema, ProfileSettings::default()).unwrap();
        let mut merged: Option<Profile> = None;
        for part in 0..20 {
            let batch = batch(part * 3_000, 3_000);
            one.push_batch(&run, &batch).unwrap();
            let mut own = Profiler::of_schema(&schema, ProfileSettings::default()).unwrap();
            own.push_batch(&run.clone().with_threads(1), &batch).unwrap();
            match &mut merged {
                Some(merged) => merged.merge(&own.finish()).unwrap(),
                None => merged = Some(own.finish()),
            }
        }
        let (one, merged) = (one.finish(), merged.unwrap());
        for (a, b) in one.columns().iter().zip(merged.columns()) {
            assert_eq!((a.rows, a.missing, a.faults), (b.rows, b.missing, b.faults), "{}", a.name);
            assert_eq!(a.distinct, b.distinct);
            match (&a.values, &b.values) {
                (Values::Category { frequent: x, .. }, Values::Category { frequent: y, .. }) => {
                    assert_eq!(x, y)
                }
                (
                    Values::Number { moments, quantiles: x, zeros, negatives, .. },
                    Values::Number { moments: m, quantiles: y, zeros: z, negatives: n, .. },
                ) => {
                    assert_eq!((zeros, negatives, moments.n), (z, n, m.n));
                    assert!((moments.mean / m.mean - 1.0).abs() < 1e-12);
                    let (x, y, error) = (x.ranked(), y.ranked(), 2.0 * x.rank_error());
                    for q in [0.01, 0.1, 0.5, 0.9, 0.99] {
                        assert!((x.cdf(y.quantile(q)) - q).abs() < error + 0.03, "{} {q}", a.name);
                    }
                }
                _ => panic!("kinds differ"),
            }
        }
        let city = one.column("city").unwrap();
        assert!((city.distinct.estimate() - 97.0).abs() < 3.0);
        assert_eq!(one.column("paid").unwrap().missing, 60_000_u64.div_ceil(13));
        assert_eq!(one.column("price").unwrap().missing, 1_200);
    }

    #[test]
    fn written_and_read_back_and_refused_when_damaged() {
        let mut profiler = Profiler::of_schema(&batch(0, 1).schema(), ProfileSettings::default()).unwrap();
        profiler.push_batch(&Run::new(0), &batch(0, 30_000)).unwrap();
        let profile = profiler.finish();
        let bytes = profile.to_bytes().unwrap();
        assert!(bytes.len() < 100_000, "{}", bytes.len());
        assert_eq!(Profile::from_bytes(&bytes).unwrap(), profile);
        assert_eq!(profile.to_bytes().unwrap(), bytes);
        for bad in [&bytes[1..], &bytes[..bytes.len() / 2], b"", b"TWPROFIL{}"] {
            assert!(Profile::from_bytes(bad).is_err());
        }
        let mut value = serde_json::to_value(&profile).unwrap();
        value["columns"][0]["rows"] = 7.into();
        let packed = |v: &serde_json::Value| {
            [&MAGIC[..], &zstd::bulk::compress(v.to_string().as_bytes(), 3).unwrap()].concat()
        };
        assert!(Profile::from_bytes(&packed(&value)).unwrap_err().to_string().contains("agree"));
        value["format"] = 9.into();
        assert!(Profile::from_bytes(&packed(&value)).unwrap_err().to_string().contains("format 9"));
    }

    #[test]
    fn wrong_types_and_lacking_columns_are_counted() {
        let columns =
            vec![ColumnSpec::number("price"), ColumnSpec::category("gone"), ColumnSpec::category("code")];
        let mut profiler = Profiler::new(columns, ProfileSettings::default()).unwrap();
        let price = StringArray::from(vec![Some("1.5"), Some("about 2"), None, Some("inf"), Some("NaN")]);
        let code = Int64Array::from(vec![7, 7, 8, 9, 9]);
        let batch = RecordBatch::try_from_iter([
            ("price", Arc::new(price) as ArrayRef),
            ("code", Arc::new(code) as ArrayRef),
        ])
        .unwrap();
        profiler.push_batch(&Run::new(0), &batch).unwrap();
        let profile = profiler.finish();
        let price = profile.column("price").unwrap();
        assert_eq!((price.rows, price.missing, price.faults, price.present()), (5, 2, 1, 2));
        let Values::Number { infinite, .. } = &price.values else { panic!("a number") };
        assert_eq!(*infinite, 1);
        assert_eq!(profile.column("gone").unwrap().missing, 5);
        let Values::Category { frequent, .. } = &profile.column("code").unwrap().values else {
            panic!("names")
        };
        assert_eq!(frequent.count("7"), 2);
        assert!(Profiler::new(vec![], ProfileSettings::default()).is_err());
        let twice = vec![ColumnSpec::number("a"), ColumnSpec::number("a")];
        assert!(Profiler::new(twice, ProfileSettings::default()).is_err());
    }
}
