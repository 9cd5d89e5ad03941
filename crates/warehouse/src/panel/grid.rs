//! The periods of a panel: which days belong to which stamp.

use crate::error::{Error, Result};
use chrono::{Datelike, NaiveDate};
use std::collections::BTreeMap;
use tradewind_core::freq::{DAY, Unit, date, stamp};
use tradewind_core::{Freq, Stamp};

/// Stamps that a regular pattern needs before it is believed to be one.
const PATTERN_DAYS_MIN: usize = 4;

/// A Monday, in days since 1970.
const A_MONDAY: i64 = 4;

/// How far apart the sales themselves are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    Days,
    /// Totals of weeks, always on the same weekday.
    Weeks,
    /// Totals of months, always on the same or the last day of the month.
    Months,
}

impl Spacing {
    pub(super) fn of(days: &BTreeMap<i64, u64>) -> Self {
        let list: Vec<i64> = days.keys().copied().collect();
        if list.len() < PATTERN_DAYS_MIN {
            return Self::Days;
        }
        let dates: Vec<NaiveDate> = list.iter().map(|d| civil(*d)).collect();
        let months = dates.windows(2).all(|w| (w[0].year(), w[0].month()) != (w[1].year(), w[1].month()));
        let same_day = dates.iter().all(|d| d.day() == dates[0].day());
        let last_day = list.iter().all(|d| civil(d + 1).day() == 1);
        if months && (same_day || last_day) {
            Self::Months
        } else if list.windows(2).all(|w| (w[1] - w[0]) % 7 == 0) {
            Self::Weeks
        } else {
            Self::Days
        }
    }
}

/// Days in periods of a frequency. Periods have running numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    freq: Freq,
    anchor: i64,
    /// The first and the last full period.
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Grid {
    /// The full periods of the days that have data. `from` says that the data are whole from then on, though nothing
    /// was sold on the first days.
    pub(super) fn new(
        freq: Freq,
        spacing: Spacing,
        days: &BTreeMap<i64, u64>,
        from: Option<i64>,
    ) -> Result<Self> {
        let (Some((&begin, _)), Some((&end, _))) = (days.first_key_value(), days.last_key_value()) else {
            return Err(Error::NotEnough("no sales lie in the days asked for".into()));
        };
        let wrong = |have: &str, use_: &str| {
            Err(Error::NotEnough(format!(
                "the sales are totals of {have}: ask for the frequency {use_}, not {freq}"
            )))
        };
        match (freq.unit, spacing) {
            (Unit::Step | Unit::Minute | Unit::Hour, _) => {
                return Err(Error::Core(tradewind_core::Error::Invalid(format!(
                    "a shop's panel has days, weeks or months; the frequency {freq} is none of these (use D, W, MS, ME, QS, \
                     QE, YS or YE)"
                ))));
            }
            (Unit::Day, Spacing::Weeks) => return wrong("weeks", "W"),
            (Unit::Day | Unit::Week, Spacing::Months) => return wrong("months", "MS"),
            _ => {}
        }
        let anchor = match (freq.unit, spacing) {
            (Unit::Week, Spacing::Days) => A_MONDAY,
            (Unit::Day | Unit::Week, _) => from.unwrap_or(begin).max(begin - 366),
            _ => 0,
        };
        let mut grid = Self { freq, anchor, first: 0, last: 0 };
        // Totals of months cover their month, wherever in it they stand; totals of weeks cover seven days.
        let (begin, end) = match spacing {
            Spacing::Days => (begin, end),
            Spacing::Weeks => (begin, end + 6),
            Spacing::Months => (month_start(begin), month_start(month_start(end) + 31) - 1),
        };
        let begin = from.map_or(begin, |f| f.max(grid.day(grid.period(begin)))).min(begin);
        grid.first = grid.period(begin);
        if grid.day(grid.first) < begin {
            grid.first += 1;
        }
        grid.last = grid.period(end);
        if grid.day(grid.last + 1) - 1 > end {
            grid.last -= 1;
        }
        if grid.last < grid.first {
            return Err(Error::NotEnough(format!(
                "no full period of the frequency {freq} lies between {} and {}",
                civil(begin),
                civil(end)
            )));
        }
        Ok(grid)
    }

    /// The period of a day.
    pub(super) fn period(&self, day: i64) -> i64 {
        let n = i64::from(self.freq.n);
        match self.freq.unit {
            Unit::Month | Unit::MonthEnd => {
                let d = civil(day);
                (i64::from(d.year()) * 12 + i64::from(d.month0())).div_euclid(n)
            }
            Unit::Week => (day - self.anchor).div_euclid(7 * n),
            _ => (day - self.anchor).div_euclid(n),
        }
    }

    /// The first day of a period.
    pub(super) fn day(&self, period: i64) -> i64 {
        let n = i64::from(self.freq.n);
        match self.freq.unit {
            Unit::Month | Unit::MonthEnd => {
                let months = period.saturating_mul(n);
                let year = i32::try_from(months.div_euclid(12)).unwrap_or(i32::MAX);
                let month = months.rem_euclid(12) as u32 + 1;
                NaiveDate::from_ymd_opt(year, month, 1).map_or(i64::MAX / DAY, |d| stamp(d).div_euclid(DAY))
            }
            Unit::Week => self.anchor + period * 7 * n,
            _ => self.anchor + period * n,
        }
    }

    /// The stamp of a period: its first day, or its last for frequencies that stand on the month's end.
    pub(super) fn stamp(&self, period: i64) -> Stamp {
        match self.freq.unit {
            Unit::MonthEnd => (self.day(period + 1) - 1) * DAY,
            _ => self.day(period) * DAY,
        }
    }
}

fn civil(day: i64) -> NaiveDate {
    date(day.saturating_mul(DAY))
}

fn month_start(day: i64) -> i64 {
    let d = civil(day);
    day - i64::from(d.day0())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::freq::parse_stamp;

    fn day(text: &str) -> i64 {
        parse_stamp(text).expect("a date") / DAY
    }

    fn grid(freq: &str, days: &[&str], from: Option<&str>) -> Result<(String, String, i64)> {
        let freq: Freq = freq.parse().expect("a frequency");
        let days = days.iter().map(|d| (day(d), 1)).collect();
        let g = Grid::new(freq, Spacing::of(&days), &days, from.map(day))?;
        assert_eq!(freq.add(g.stamp(g.first), g.last - g.first), g.stamp(g.last));
        Ok((freq.format(g.stamp(g.first)), freq.format(g.stamp(g.last)), g.last - g.first + 1))
    }

    #[test]
    fn periods_that_are_not_whole_are_left_out() {
        let is = |freq, days: &[&str], from, a: &str, b: &str, n| {
            assert_eq!(
                grid(freq, days, from).expect("a grid"),
                (a.to_owned(), b.to_owned(), n),
                "{freq} {days:?}"
            );
        };
        let retail = ["2010-12-01", "2011-12-09"];
        is("D", &retail, None, "2010-12-01", "2011-12-09", 374);
        is("W", &retail, None, "2010-12-06", "2011-11-28", 52);
        is("MS", &retail, None, "2010-12-01", "2011-11-01", 12);
        is("ME", &retail, None, "2010-12-31", "2011-11-30", 12);
        is("QS", &retail, None, "2011-01-01", "2011-07-01", 3);
        is("2D", &["2024-01-01", "2024-01-05"], None, "2024-01-01", "2024-01-03", 2);
        // Closed on New Year's Day: the first month counts when the caller says that the data begin with it.
        is("MS", &["2024-01-02", "2024-02-29"], None, "2024-02-01", "2024-02-01", 1);
        is("MS", &["2024-01-02", "2024-02-29"], Some("2023-06-01"), "2024-01-01", "2024-02-01", 2);
        assert!(grid("MS", &["2024-01-02", "2024-01-29"], None).is_err());
        assert!(grid("h", &retail, None).is_err());
        assert!(grid("D", &[], None).is_err());
    }

    #[test]
    fn totals_of_weeks_and_months_keep_their_days() {
        let weeks = ["2010-02-05", "2010-02-12", "2010-02-19", "2010-03-05"];
        assert_eq!(grid("W", &weeks, None).expect("weeks"), ("2010-02-05".into(), "2010-03-05".into(), 5));
        assert!(grid("D", &weeks, None).expect_err("too fine").to_string().contains("frequency W"));
        let months = ["2020-01-31", "2020-02-29", "2020-03-31", "2020-05-31"];
        assert_eq!(grid("MS", &months, None).expect("months"), ("2020-01-01".into(), "2020-05-01".into(), 5));
        assert!(grid("W", &months, None).is_err());
    }
}
