//! What a feature view is: the one definition that training and serving share.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest span: a thousand years and some. Times far outside saturate, so no arithmetic can overflow.
const SPAN_MS_MAX: i64 = 400_000 * DAY_MS;

pub(crate) const DAY_MS: i64 = 86_400_000;

/// The units of a span, largest first.
const UNITS: &[(&str, i64)] =
    &[("w", 7 * DAY_MS), ("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time in whole milliseconds, from 0 to 400,000 days, written as `7d`, `12h`, `30m`, `45s`, `2w` or `1ms`.
///
/// ```
/// use tradewind_warehouse::features::Span;
/// let week: Span = "7d".parse()?;
/// assert_eq!(week, Span::days(7));
/// assert_eq!(week.to_string(), "1w");
/// assert!("7 dogs".parse::<Span>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    ms: i64,
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self { ms: 0 };

    /// So many days, at most 400,000.
    pub const fn days(n: u32) -> Self {
        Self::clipped(n as i64 * DAY_MS)
    }

    /// So many hours.
    pub const fn hours(n: u32) -> Self {
        Self::clipped(n as i64 * 3_600_000)
    }

    /// So many milliseconds.
    pub const fn millis(n: u32) -> Self {
        Self::clipped(n as i64)
    }

    /// The span in milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.ms
    }

    const fn clipped(ms: i64) -> Self {
        Self { ms: if ms > SPAN_MS_MAX { SPAN_MS_MAX } else { ms } }
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "`{text}` is no span; write a whole number and a unit (w, d, h, m, s, ms), as \"7d\", up to 400000d"
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| fault())?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?;
        let ms = number.checked_mul(*size).filter(|ms| *ms <= SPAN_MS_MAX).ok_or_else(fault)?;
        Ok(Self { ms })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let (name, size) = UNITS.iter().find(|(_, size)| self.ms % size == 0).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", self.ms / size)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// The rows a feature looks at: those of a span that ends at the asked time, or all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Window {
    /// The last span: for a week that ends at `t`, rows known after `t - 7d`, up to and with `t`.
    Last(Span),
    /// Everything known.
    All,
}

impl Window {
    /// The width in milliseconds, if there is an end.
    pub(crate) fn width(self) -> Option<i64> {
        match self {
            Self::Last(span) => Some(span.as_millis()),
            Self::All => None,
        }
    }
}

impl std::str::FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.parse().map(Self::Last).map_err(|e: String| format!("{e}, or \"all\""))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(span) => span.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

/// How the rows of a window become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The value of the newest row, numbers or text; null when that row has none.
    Last,
    /// Rows, or rows with a value where there is an expression; 0 for an empty window.
    Count,
    /// The sum; 0 for an empty window.
    Sum,
    /// The mean; null for an empty window.
    Mean,
    /// The smallest value; null for an empty window.
    Min,
    /// The largest value; null for an empty window.
    Max,
    /// How many different values, numbers or text; 0 for an empty window.
    DistinctCount,
}

impl Aggregation {
    /// All of them, in the order of the documentation.
    pub const ALL: &[Self] =
        &[Self::Last, Self::Count, Self::Sum, Self::Mean, Self::Min, Self::Max, Self::DistinctCount];

    /// The word in `features.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::DistinctCount => "distinct_count",
        }
    }

    /// Whether it needs numbers.
    pub(crate) fn numbers_only(self) -> bool {
        matches!(self, Self::Sum | Self::Mean | Self::Min | Self::Max)
    }
}

/// Where the rows of a view come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A canonical table of the shop.
    Table(String),
    /// A read-only query over the shop's tables.
    Sql(String),
}

/// One value of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name, unique in the view: small letters, digits and single `_`, beginning with a letter.
    pub name: String,
    /// What is aggregated, a SQL expression over the columns of the source. Only `count` can do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// How.
    pub aggregation: Aggregation,
    /// Over which rows.
    pub window: Window,
}

impl Feature {
    /// A feature over an expression.
    pub fn new(name: &str, aggregation: Aggregation, expression: &str, window: Window) -> Self {
        Self { name: name.into(), expression: Some(expression.into()), aggregation, window }
    }

    /// How many rows there are in the window.
    pub fn count(name: &str, window: Window) -> Self {
        Self { name: name.into(), expression: None, aggregation: Aggregation::Count, window }
    }
}

/// Features of one kind of thing from one source: the definition that the training frame and the online store share.
///
/// A row with event time `t` is *known* from `t + available_after` on. A value asked for at `T` is made of the rows that
/// are known at `T`, that is with `t + available_after ≤ T`, and of no others. Times are whole milliseconds, so
/// `available_after = "1ms"` asks for rows strictly before `T`. A window of width `w` holds the rows with
/// `T - w < t + available_after ≤ T`. When the newest known row is older than `ttl` (`T - t > ttl`), or there is none,
/// all features are null.
///
/// Of rows with one event time the *newest* is the one with the largest `tie_break`, then the largest values of what
/// `last` features ask for, in their order, nulls first; so the order in which rows come does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureView {
    /// Its name: small letters, digits and single `_`, beginning with a letter.
    pub name: String,
    /// The columns that name the thing the features are about, as `product_id`. Labels have columns of these names.
    pub entity: Vec<String>,
    /// Where rows come from.
    pub source: Source,
    /// The column of event time: a date, or a timestamp without zone.
    pub time: String,
    /// How old the newest row may be. `None`: any age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// How long after its event time a row is known, as a day for tables that are loaded at night.
    #[serde(default)]
    pub available_after: Span,
    /// How long after its event time a row may still come to be taken into the online store; the training frame takes
    /// every row.
    #[serde(default)]
    pub lateness: Span,
    /// A number by which one of several rows of one time is chosen, a SQL expression; the largest wins. Tables without
    /// one take the number of the import, so that the later import wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie_break: Option<String>,
    /// The features, in the order of the vector.
    pub features: Vec<Feature>,
}

impl FeatureView {
    /// A view of a canonical table with all rows known at once and no time to live.
    pub fn of_table(name: &str, entity: &[&str], table: &str, time: &str, features: Vec<Feature>) -> Self {
        Self {
            name: name.into(),
            entity: entity.iter().map(|e| (*e).to_owned()).collect(),
            source: Source::Table(table.into()),
            time: time.into(),
            ttl: None,
            available_after: Span::ZERO,
            lateness: Span::ZERO,
            tie_break: None,
            features,
        }
    }

    /// The name of a feature's column in a training frame: `view__feature`.
    pub fn column(&self, feature: &str) -> String {
        format!("{}__{feature}", self.name)
    }

    /// A fingerprint of the definition, in hex. Whatever changes a value changes it.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).expect("plain data are JSON");
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

/// Whether a name may stand in columns and keys.
pub(crate) fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    first && rest && name.len() <= 64 && !name.contains("__") && !name.ends_with('_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, ms, written) in [
            ("7d", 7 * DAY_MS, "1w"),
            ("28d", 28 * DAY_MS, "4w"),
            ("36h", 36 * 3_600_000, "36h"),
            ("90m", 90 * 60_000, "90m"),
            ("1ms", 1, "1ms"),
            ("0d", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_millis(), span.to_string().as_str()), (ms, written), "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        for text in ["", "d", "7", "-1d", "1.5d", "7D", "7 d", "400001d", "99999999999999999999d"] {
            assert!(text.parse::<Span>().unwrap_err().contains("no span"), "{text}");
        }
        assert_eq!("all".parse::<Window>().unwrap(), Window::All);
        assert!("ever".parse::<Window>().unwrap_err().contains("or \"all\""));
    }
}
