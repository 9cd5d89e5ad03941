//! Mappings: which columns of a source fill which columns of the canonical tables. Data, written in TOML.
//!
//! ```
//! use tradewind_ingest::Mapping;
//! let mapping = Mapping::from_toml("mine", r#"
//!     name = "mine"
//!     [[table]]
//!     table = "sales"
//!     [table.columns]
//!     product_id = ["sku", "商品ID"]           # the first of these names that the file has
//!     ds         = { from = "date", date_order = "dmy" }
//!     quantity   = "qty"
//!     unit_price = "price"
//!     currency   = { constant = "CNY" }
//! "#).unwrap();
//! assert_eq!(mapping.tables[0].table, "sales");
//! ```

use crate::date::DateOrder;
use crate::error::{IngestError, Result};
use crate::number::DecimalMark;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tradewind_core::tables::{ColumnType, TABLES, TableSpec};

/// A mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Its name.
    pub name: String,
    /// Raised whenever its result changes; part of the identity of an import.
    #[serde(default = "one")]
    pub version: u32,
    /// What it is for.
    #[serde(default)]
    pub summary: Summary,
    /// Which of the tables that fit a file are filled.
    #[serde(default)]
    pub choose: Choose,
    /// The tables it fills. A file feeds every one whose columns it has.
    #[serde(rename = "table", default)]
    pub tables: Vec<TableMapping>,
}

fn one() -> u32 {
    1
}

/// A sentence in both languages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Summary {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// Which of the tables that fit a file are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choose {
    /// All of them.
    #[default]
    All,
    /// Only the one that uses most of the file's columns.
    Best,
}

/// How one canonical table is filled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableMapping {
    /// The canonical table.
    pub table: String,
    /// Columns the file must have beside those that fill required columns.
    pub needs: Vec<Names>,
    /// Columns the file must not have, to tell like files apart.
    pub lacks: Vec<Names>,
    /// Every canonical column not named in `columns` is filled from the column of its own name, if there is one.
    pub same_names: bool,
    /// A table filled by the way: rows that do not fit are passed over without being rejected.
    pub aside: bool,
    /// One row a key of the table: of several readings of a key the most frequent, of equals the first.
    pub once_per_key: bool,
    /// Rows that do not concern this table.
    pub skip: Vec<Condition>,
    /// Rows that are set aside with a reason (`reason` of the condition).
    pub reject: Vec<Condition>,
    /// Columns that are turned into rows before all else.
    pub melt: Option<Melt>,
    /// `n` of the row is the increase of a cumulative count since the row before, see [`Increase`].
    pub increase: Option<Increase>,
    /// How the columns are filled.
    pub columns: BTreeMap<String, ColumnMapping>,
}

/// Names of a source column, in the order they are tried. Capitals, blanks, `_`, `-` and `.` do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names(pub Vec<String>);

/// How one canonical column is filled. In the text form a name alone, or a list of names, stands for `from`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ColumnMapping {
    /// The source column.
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub from: Names,
    /// A fixed value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<String>,
    /// Columns whose texts are joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<Names>,
    /// What stands between joined texts; `_` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Columns multiplied with one another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub multiply: Vec<Names>,
    /// Two columns, the first divided by the second; empty where the second is zero.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub divide: Vec<Names>,
    /// Columns added up; empty ones count as zero, columns the file lacks are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sum: Vec<Names>,
    /// Columns written as one JSON object under their own names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json: Vec<Names>,
    /// The value of the first case that holds, otherwise empty (or what `from` gives).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<Condition>,
    /// Values replaced by others, before they are read as numbers or dates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub words: BTreeMap<String, String>,
    /// The value is looked up in another file beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Lookup>,
    /// How dates are written, in the way of `strftime`; found out when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Day or month first, where the file itself does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_order: Option<DateOrder>,
    /// The value counts periods: 1 is this date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_from: Option<CountFrom>,
    /// Days added to the date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_days: Option<i64>,
    /// The decimal mark; found out when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalMark>,
    /// A factor for the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// `17850.0` is the text `17850`, as tables with gaps write whole numbers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trim_decimal: bool,
    /// The table needs this column although it is not a required one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// A question about a row. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// The source column.
    pub column: Names,
    /// The text is one of these.
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub equals: Names,
    /// The text begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<String>,
    /// The number is below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// The number is above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The value is empty (or, when false, is not).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
    /// The condition holds when the rest does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
    /// For `cases`: the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// For `reject`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Columns turned into rows: each row of the file becomes one row a melted column, with the pseudo-columns `@name`
/// (the melted column's name) and `@value` (its value).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Melt {
    /// Columns whose names begin so and go on with digits only.
    pub prefix: Option<String>,
    /// Columns by name.
    pub columns: Vec<String>,
}

/// Another file beside the one that is read, in which a value is looked up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Its name without ending: `calendar` finds `calendar.csv` and `calendar.parquet`.
    pub file: String,
    /// The column that holds the value at hand.
    pub key: Names,
    /// The column whose first value for that key is taken.
    pub value: Names,
    /// A beginning taken off the value at hand when it is not found with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<String>,
}

/// Counted periods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountFrom {
    /// The date of period 1.
    pub date: String,
    /// Days of a period.
    pub days: i64,
}

/// A cumulative count turned into what happened between two readings.
///
/// Readings of one key are put in the order of `ds` over all files of the import; of each but the first the increase
/// since the one before is given, dated at the later reading. A count that does not grow (withdrawn orders, a counter
/// set back) gives no row. The first reading of a key tells nothing about time and gives none either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Increase {
    /// The canonical column that holds the count and receives the increase.
    pub of: String,
    /// The canonical column that names the counter.
    pub by: String,
}

impl Names {
    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Names {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a list of names")
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Names, E> {
        Ok(Names::from(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NamesVisitor)
    }
}

/// The full text form of a [`ColumnMapping`].
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ColumnText {
    from: Names,
    constant: Option<Scalar>,
    join: Vec<Names>,
    separator: Option<String>,
    multiply: Vec<Names>,
    divide: Vec<Names>,
    sum: Vec<Names>,
    json: Vec<Names>,
    cases: Vec<Condition>,
    words: BTreeMap<String, String>,
    lookup: Option<Lookup>,
    format: Option<String>,
    date_order: Option<DateOrder>,
    count_from: Option<CountFrom>,
    add_days: Option<i64>,
    decimal: Option<DecimalMark>,
    scale: Option<f64>,
    trim_decimal: bool,
    required: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Whole(i64),
    Number(f64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(v) => f.write_str(v),
            Self::Whole(v) => write!(f, "{v}"),
            Self::Number(v) => write!(f, "{v}"),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnMapping {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ColumnVisitor;
        impl<'de> Visitor<'de> for ColumnVisitor {
            type Value = ColumnMapping;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, a list of names, or a table that says how to fill the column")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<ColumnMapping, E> {
                Ok(ColumnMapping { from: Names::from(v), ..ColumnMapping::default() })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<ColumnMapping, A::Error> {
                Ok(ColumnMapping { from: NamesVisitor.visit_seq(seq)?, ..ColumnMapping::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnMapping, A::Error> {
                let t = ColumnText::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ColumnMapping {
                    from: t.from,
                    constant: t.constant.map(|c| c.to_string()),
                    join: t.join,
                    separator: t.separator,
                    multiply: t.multiply,
                    divide: t.divide,
                    sum: t.sum,
                    json: t.json,
                    cases: t.cases,
                    words: t.words,
                    lookup: t.lookup,
                    format: t.format,
                    date_order: t.date_order,
                    count_from: t.count_from,
                    add_days: t.add_days,
                    decimal: t.decimal,
                    scale: t.scale,
                    trim_decimal: t.trim_decimal,
                    required: t.required,
                })
            }
        }
        d.deserialize_any(ColumnVisitor)
    }
}

impl Mapping {
    /// Reads a mapping from its text form; `name` is used in messages.
    ///
    /// # Errors
    /// When the text is no mapping, or names a table or column that does not exist; all such names are told at once.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let fault = |why: String| IngestError::Mapping { name: name.to_owned(), why };
        let mapping: Self = toml::from_str(text).map_err(|e| fault(e.to_string().trim_end().to_owned()))?;
        let faults = mapping.faults();
        if faults.is_empty() { Ok(mapping) } else { Err(fault(faults.join("; "))) }
    }

    /// Its text form, which reads back to the same mapping.
    ///
    /// # Errors
    /// Never for a mapping that was read; kept since writing TOML may fail.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| IngestError::Mapping { name: self.name.clone(), why: e.to_string() })
    }

    /// The same mapping for one table only.
    pub fn only(mut self, table: &str) -> Result<Self> {
        self.tables.retain(|t| t.table == table);
        if self.tables.is_empty() {
            return Err(IngestError::Mapping {
                name: self.name,
                why: format!("it does not fill a table `{table}`"),
            });
        }
        Ok(self)
    }

    /// A number that changes whenever the mapping does.
    pub fn hash(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        blake3::hash(text.as_bytes()).to_hex().as_str()[..16].to_owned()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.tables.is_empty() {
            faults.push("it fills no table".to_owned());
        }
        for t in &self.tables {
            let Some(spec) = TableSpec::named(&t.table) else {
                let known: Vec<_> = TABLES.iter().map(|t| t.name).collect();
                faults.push(format!("there is no table `{}`; there are: {}", t.table, known.join(", ")));
                continue;
            };
            for (name, column) in &t.columns {
                match spec.column(name) {
                    None => {
                        let known: Vec<_> = spec.columns.iter().map(|c| c.name).collect();
                        faults.push(format!(
                            "`{}` has no column `{name}`; it has: {}",
                            t.table,
                            known.join(", ")
                        ));
                    }
                    Some(c) => faults.extend(column.faults(name, c.kind)),
                }
            }
            if let Some(increase) = &t.increase {
                for (role, name) in [("of", &increase.of), ("by", &increase.by)] {
                    let kind = if role == "of" { ColumnType::Number } else { ColumnType::Text };
                    if spec.column(name).is_none_or(|c| c.kind != kind) || spec.time.is_none() {
                        faults
                            .push(format!("increase.{role} = `{name}` does not fit the table `{}`", t.table));
                    }
                }
            }
            if t.once_per_key && spec.key.is_empty() {
                faults.push(format!("`{}` has no key, so `once_per_key` means nothing", t.table));
            }
            if let Some(melt) = &t.melt
                && melt.prefix.is_none() == melt.columns.is_empty()
            {
                faults.push("melt takes either `prefix` or `columns`".into());
            }
            faults.extend(
                t.reject
                    .iter()
                    .filter(|c| c.reason.is_none())
                    .map(|_| "a `reject` condition lacks its `reason`".into()),
            );
            let all = t.skip.iter().chain(&t.reject).chain(t.columns.values().flat_map(|c| &c.cases));
            faults
                .extend(all.filter(|c| c.column.is_empty()).map(|_| "a condition lacks its `column`".into()));
        }
        faults
    }
}

impl ColumnMapping {
    fn faults(&self, name: &str, kind: ColumnType) -> Vec<String> {
        let mut faults = Vec::new();
        let ways = [
            !self.from.is_empty(),
            self.constant.is_some(),
            !self.join.is_empty(),
            !self.multiply.is_empty(),
            !self.divide.is_empty(),
            !self.sum.is_empty(),
            !self.json.is_empty(),
        ];
        let n = ways.iter().filter(|w| **w).count();
        if n > 1 || (n == 0 && self.cases.is_empty()) {
            faults.push(format!(
                "`{name}` takes exactly one of from, constant, join, multiply, divide, sum, json (or cases alone)"
            ));
        }
        let arithmetic = ways[3] || ways[4] || ways[5];
        if arithmetic && kind != ColumnType::Number {
            faults.push(format!("`{name}` is no number, so it cannot be computed"));
        }
        if (ways[2] || ways[6] || !self.cases.is_empty()) && kind != ColumnType::Text {
            faults.push(format!("`{name}` is no text, so join, json and cases do not fit it"));
        }
        if !self.divide.is_empty() && self.divide.len() != 2 {
            faults.push(format!("`{name}`: divide takes two columns"));
        }
        if let Some(c) = &self.count_from
            && (tradewind_core::freq::parse_stamp(&c.date).is_none() || !(1..=3660).contains(&c.days))
        {
            faults.push(format!("`{name}`: count_from takes a date such as 2024-01-01 and 1 to 3660 days"));
        }
        if self.scale.is_some_and(|s| !s.is_finite()) || self.add_days.is_some_and(|d| d.abs() > 36_600) {
            faults.push(format!("`{name}`: scale must be a finite number, add_days at most a hundred years"));
        }
        if let Some(f) = &self.format
            && chrono::format::StrftimeItems::new(f).any(|i| i == chrono::format::Item::Error)
        {
            faults.push(format!("`{name}`: `{f}` is no date format; write it as %d/%m/%Y"));
        }
        faults.extend(
            self.cases
                .iter()
                .filter(|c| c.value.is_none())
                .map(|_| format!("a case of `{name}` lacks its `value`")),
        );
        faults
    }
}

/// A column's name as it is compared: without capitals, blanks and the signs that stand for blanks.
pub(crate) fn folded(name: &str) -> String {
    name.trim_start_matches('\u{feff}')
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}
