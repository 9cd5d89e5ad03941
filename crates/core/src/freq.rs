//! Time stamps and frequencies.
//!
//! A stamp is a [`Stamp`]: seconds since 1970-01-01 without time zone, or a plain number for series that are only
//! counted. Which of the two it is, the [`Freq`] says.

use crate::error::{Error, Result};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Seconds since 1970-01-01T00:00:00 without a time zone; for [`Unit::Step`] the plain number.
pub type Stamp = i64;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// The unit of a frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Counted, not dated: 1, 2, 3.
    Step,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Weeks, on whatever weekday the data have.
    Week,
    /// Months, on the same day of the month (clamped to its length).
    Month,
    /// Months, on their last day.
    MonthEnd,
}

/// How far apart observations are: `n` units.
///
/// ```
/// use tradewind_core::freq::{Freq, parse_stamp};
/// let f: Freq = "MS".parse().unwrap();
/// let jan = parse_stamp("2024-01-01").unwrap();
/// assert_eq!(f.add(jan, 2), parse_stamp("2024-03-01").unwrap());
/// assert_eq!(f.season_length(), 12);
/// assert_eq!(f.steps(jan, parse_stamp("2025-01-01").unwrap()), Some(12));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Freq {
    /// The unit.
    pub unit: Unit,
    /// How many units a step has; at least 1.
    pub n: u32,
}

impl Freq {
    /// Daily.
    pub const DAILY: Self = Self { unit: Unit::Day, n: 1 };
    /// Weekly.
    pub const WEEKLY: Self = Self { unit: Unit::Week, n: 1 };
    /// Monthly, at the month's start.
    pub const MONTHLY: Self = Self { unit: Unit::Month, n: 1 };
    /// Counted steps.
    pub const STEP: Self = Self { unit: Unit::Step, n: 1 };

    /// The stamp `k` steps after `stamp` (before, when negative).
    pub fn add(self, stamp: Stamp, k: i64) -> Stamp {
        let k = k * i64::from(self.n);
        match self.unit {
            Unit::Step => stamp + k,
            Unit::Minute => stamp + k * 60,
            Unit::Hour => stamp + k * 3600,
            Unit::Day => stamp + k * DAY,
            Unit::Week => stamp + k * 7 * DAY,
            Unit::Month => add_months(stamp, k),
            Unit::MonthEnd => month_end(add_months(month_start(stamp), k)),
        }
    }

    /// How many steps lie from `from` to `to`; `None` when `to` is not on the grid that starts at `from`.
    pub fn steps(self, from: Stamp, to: Stamp) -> Option<i64> {
        let d = to - from;
        let fixed = |len: i64| (d % (len * i64::from(self.n)) == 0).then(|| d / (len * i64::from(self.n)));
        match self.unit {
            Unit::Step => fixed(1),
            Unit::Minute => fixed(60),
            Unit::Hour => fixed(3600),
            Unit::Day => fixed(DAY),
            Unit::Week => fixed(7 * DAY),
            Unit::Month | Unit::MonthEnd => {
                let (a, b) = (date(from), date(to));
                let months =
                    i64::from(b.year() - a.year()) * 12 + i64::from(b.month0()) - i64::from(a.month0());
                let k = months / i64::from(self.n);
                (months % i64::from(self.n) == 0 && self.add(from, k) == to).then_some(k)
            }
        }
    }

    /// The usual season in steps: 7 for days, 52 for weeks, 12 for months, 4 for quarters, 24 for hours, 1 for years
    /// and counted steps.
    pub fn season_length(self) -> usize {
        let n = self.n as usize;
        match self.unit {
            Unit::Step => 1,
            Unit::Minute => (1440 / n).max(1),
            Unit::Hour => (24 / n).max(1),
            Unit::Day => (7 / n).max(1),
            Unit::Week => (52 / n).max(1),
            Unit::Month | Unit::MonthEnd => (12 / n).max(1),
        }
    }

    /// Steps in a year, for anything that looks a year back; `None` for counted steps.
    pub fn steps_per_year(self) -> Option<f64> {
        let n = f64::from(self.n);
        Some(match self.unit {
            Unit::Step => return None,
            Unit::Minute => 525_960.0 / n,
            Unit::Hour => 8_766.0 / n,
            Unit::Day => 365.25 / n,
            Unit::Week => 52.1786 / n,
            Unit::Month | Unit::MonthEnd => 12.0 / n,
        })
    }

    /// Whether stamps are dates rather than counted steps.
    pub fn is_dated(self) -> bool {
        self.unit != Unit::Step
    }

    /// A stamp as text in this frequency: `2024-03-01`, `2024-03-01T13:00:00` or the plain number.
    pub fn format(self, stamp: Stamp) -> String {
        match self.unit {
            Unit::Step => stamp.to_string(),
            Unit::Minute | Unit::Hour => datetime(stamp).format("%Y-%m-%dT%H:%M:%S").to_string(),
            _ => date(stamp).to_string(),
        }
    }

    /// The frequency that fits sorted, distinct stamps of one series best: the smallest step seen, told as a unit.
    /// `None` for fewer than two stamps.
    pub fn infer(stamps: &[Stamp]) -> Option<Self> {
        let gap = stamps.windows(2).map(|w| w[1] - w[0]).filter(|g| *g > 0).min()?;
        let n = |len: i64| u32::try_from(gap / len).unwrap_or(1).max(1);
        let month_ends = stamps.iter().all(|s| s.rem_euclid(DAY) == 0 && month_end(*s) == *s);
        Some(match gap {
            g if g >= 28 * DAY => {
                let months = ((g as f64) / (30.436_875 * DAY as f64)).round().max(1.0) as u32;
                Self { unit: if month_ends { Unit::MonthEnd } else { Unit::Month }, n: months }
            }
            g if g % (7 * DAY) == 0 => Self { unit: Unit::Week, n: n(7 * DAY) },
            g if g % DAY == 0 => Self { unit: Unit::Day, n: n(DAY) },
            g if g % 3600 == 0 => Self { unit: Unit::Hour, n: n(3600) },
            _ => Self { unit: Unit::Minute, n: n(60) },
        })
    }
}

impl fmt::Display for Freq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, name) = match (self.unit, self.n) {
            (Unit::Step, n) => return write!(f, "{n}"),
            (Unit::Minute, n) => (n, "min"),
            (Unit::Hour, n) => (n, "h"),
            (Unit::Day, n) => (n, "D"),
            (Unit::Week, n) => (n, "W"),
            (Unit::Month, n) if n % 12 == 0 => (n / 12, "YS"),
            (Unit::Month, n) if n % 3 == 0 => (n / 3, "QS"),
            (Unit::Month, n) => (n, "MS"),
            (Unit::MonthEnd, n) if n % 12 == 0 => (n / 12, "YE"),
            (Unit::MonthEnd, n) if n % 3 == 0 => (n / 3, "QE"),
            (Unit::MonthEnd, n) => (n, "ME"),
        };
        if n == 1 { f.write_str(name) } else { write!(f, "{n}{name}") }
    }
}

impl From<Freq> for String {
    fn from(f: Freq) -> Self {
        f.to_string()
    }
}

impl TryFrom<String> for Freq {
    type Error = Error;
    fn try_from(s: String) -> Result<Self> {
        s.parse()
    }
}

impl FromStr for Freq {
    type Err = Error;

    /// Reads pandas-like names: `D`, `W`, `W-MON`, `MS`, `M`/`ME`, `QS`, `Q`/`QE`, `YS`, `Y`/`YE`/`A`, `h`/`H`,
    /// `min`/`T`, each with a number before it, or a plain number for counted steps.
    fn from_str(s: &str) -> Result<Self> {
        let s = s.trim();
        let digits = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (num, name) = s.split_at(digits);
        let bad = || {
            Error::Invalid(format!(
                "`{s}` is no frequency; use min, h, D, W, MS (month start), ME (month end), QS, QE, YS, YE, each with an \
                 optional number before it, or a plain number for counted steps"
            ))
        };
        let n: u32 = if num.is_empty() { 1 } else { num.parse().map_err(|_| bad())? };
        if n == 0 || n > 100_000 {
            return Err(bad());
        }
        let base = name.split('-').next().unwrap_or(name);
        let (unit, k) = match base {
            "" if !num.is_empty() => (Unit::Step, 1),
            "min" | "T" => (Unit::Minute, 1),
            "h" | "H" => (Unit::Hour, 1),
            "d" | "D" => (Unit::Day, 1),
            "w" | "W" => (Unit::Week, 1),
            "MS" => (Unit::Month, 1),
            "M" | "ME" => (Unit::MonthEnd, 1),
            "QS" => (Unit::Month, 3),
            "Q" | "QE" => (Unit::MonthEnd, 3),
            "YS" | "AS" => (Unit::Month, 12),
            "Y" | "YE" | "A" => (Unit::MonthEnd, 12),
            _ => return Err(bad()),
        };
        Ok(Self { unit, n: n * k })
    }
}

/// The date of a stamp. Stamps beyond the calendar's range give its ends.
pub fn date(stamp: Stamp) -> NaiveDate {
    datetime(stamp).date()
}

/// The date and time of a stamp. Stamps beyond the calendar's range give its ends.
pub fn datetime(stamp: Stamp) -> NaiveDateTime {
    DateTime::from_timestamp(stamp, 0)
        .map_or(if stamp < 0 { NaiveDateTime::MIN } else { NaiveDateTime::MAX }, |d| d.naive_utc())
}

/// The stamp at midnight of a date.
pub fn stamp(date: NaiveDate) -> Stamp {
    date.and_hms_opt(0, 0, 0).map_or(0, |d| d.and_utc().timestamp())
}

/// Reads `2024-03-01`, `2024-03-01 13:00[:00]`, `2024-03-01T13:00:00`, `2024/3/1` or `20240301`. Day-first and
/// month-first dates are not guessed here: the reader of a file decides them for the whole column.
pub fn parse_stamp(text: &str) -> Option<Stamp> {
    let t = text.trim().trim_end_matches('Z');
    for f in ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d"] {
        if let Ok(d) = NaiveDate::parse_from_str(t, f) {
            return Some(stamp(d));
        }
    }
    for f in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y/%m/%d %H:%M:%S",
        "%Y/%m/%d %H:%M",
    ] {
        if let Ok(d) = NaiveDateTime::parse_from_str(t, f) {
            return Some(d.and_utc().timestamp());
        }
    }
    None
}

fn add_months(s: Stamp, k: i64) -> Stamp {
    let d = datetime(s);
    let shift = Months::new(u32::try_from(k.unsigned_abs()).unwrap_or(u32::MAX));
    let moved = if k >= 0 { d.checked_add_months(shift) } else { d.checked_sub_months(shift) };
    moved.map_or(s, |d| d.and_utc().timestamp())
}

fn month_start(s: Stamp) -> Stamp {
    let d = date(s);
    stamp(d.with_day(1).unwrap_or(d))
}

fn month_end(s: Stamp) -> Stamp {
    let first = date(month_start(s));
    let last = first.checked_add_months(Months::new(1)).and_then(|d| d.checked_sub_days(Days::new(1)));
    stamp(last.unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for s in ["min", "15min", "h", "D", "2D", "W", "MS", "ME", "QS", "QE", "YS", "YE", "1", "24"] {
            assert_eq!(s.parse::<Freq>().expect("a frequency").to_string(), s);
        }
        for s in ["", "X", "0D", "-1D", "DD", "9999999999D"] {
            assert!(s.parse::<Freq>().is_err(), "{s}");
        }
        assert_eq!("W-MON".parse::<Freq>().expect("weekly"), Freq::WEEKLY);
    }

    #[test]
    fn steps_undo_add() {
        for f in ["D", "W", "MS", "ME", "QE", "YS", "h", "15min", "1", "3"] {
            let f: Freq = f.parse().expect("a frequency");
            let from =
                if f.unit == Unit::MonthEnd { parse_stamp("2024-02-29") } else { parse_stamp("2024-02-01") };
            let from = from.expect("a date");
            for k in [-30, -1, 0, 1, 2, 17] {
                assert_eq!(f.steps(from, f.add(from, k)), Some(k), "{f} {k}");
            }
        }
    }

    #[test]
    fn frequency_is_found_from_stamps() {
        let of =
            |d: &[&str]| Freq::infer(&d.iter().map(|d| parse_stamp(d).expect("date")).collect::<Vec<_>>());
        assert_eq!(of(&["2024-01-01", "2024-01-02", "2024-01-05"]), Some(Freq::DAILY));
        assert_eq!(of(&["2024-01-05", "2024-01-12", "2024-01-26"]), Some(Freq::WEEKLY));
        assert_eq!(of(&["2024-01-01", "2024-02-01", "2024-03-01"]), Some(Freq::MONTHLY));
        assert_eq!(of(&["2024-01-31", "2024-02-29"]).map(|f| f.to_string()), Some("ME".into()));
        assert_eq!(of(&["2024-01-01", "2024-04-01"]).map(|f| f.to_string()), Some("QS".into()));
        assert_eq!(of(&["2024-01-01"]), None);
    }
}
