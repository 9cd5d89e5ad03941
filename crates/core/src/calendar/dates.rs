//! Dates by rule: Easter, the third Monday, a year's events as they are gathered.

use super::events::spec;
use super::{Kind, Occurrence, Region};
use chrono::{Datelike, Days, NaiveDate, Weekday};

/// A date of the proleptic Gregorian calendar; the first of 1970 for one that does not exist, which the tables of
/// this module never ask for.
pub(super) fn ymd(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}

/// `days` later (earlier, when negative).
pub(super) fn plus(date: NaiveDate, days: i64) -> NaiveDate {
    let n = Days::new(days.unsigned_abs());
    let moved = if days < 0 { date.checked_sub_days(n) } else { date.checked_add_days(n) };
    moved.unwrap_or(date)
}

/// The `n`th such weekday of a month, counted from 1.
pub(super) fn nth(year: i32, month: u32, weekday: Weekday, n: u8) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, n).unwrap_or_default()
}

/// The last such weekday of a month.
pub(super) fn last(year: i32, month: u32, weekday: Weekday) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, 5)
        .unwrap_or_else(|| nth(year, month, weekday, 4))
}

/// Whether it is a Saturday or Sunday.
pub(super) fn is_weekend(date: NaiveDate) -> bool {
    matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
}

/// Easter Sunday of the Western churches (the anonymous Gregorian algorithm, as in Meeus, Astronomical Algorithms,
/// chapter 8).
///
/// ```
/// use chrono::NaiveDate;
/// assert_eq!(tradewind_core::calendar::easter(2024), NaiveDate::from_ymd_opt(2024, 3, 31).unwrap());
/// ```
pub fn easter(year: i32) -> NaiveDate {
    let a = year.rem_euclid(19);
    let (b, c) = (year.div_euclid(100), year.rem_euclid(100));
    let (d, e) = (b.div_euclid(4), b.rem_euclid(4));
    let f = (b + 8).div_euclid(25);
    let g = (b - f + 1).div_euclid(3);
    let h = (19 * a + b - d - g + 15).rem_euclid(30);
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k).rem_euclid(7);
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    ymd(year, u32::try_from(n / 31).unwrap_or(3), u32::try_from(n % 31 + 1).unwrap_or(31))
}

/// Gathers the events of one region.
pub(super) struct Gather<'a> {
    pub(super) region: Region,
    pub(super) out: &'a mut Vec<Occurrence>,
}

impl Gather<'_> {
    /// An event of one day.
    pub(super) fn on(&mut self, key: &'static str, day: NaiveDate) {
        self.span(key, day, day, day);
    }

    /// An event from `first` to `last` that is named after (or peaks on) `day`.
    pub(super) fn span(&mut self, key: &'static str, first: NaiveDate, last: NaiveDate, day: NaiveDate) {
        let Some(spec) = spec(key) else { return };
        self.out.push(Occurrence {
            key: key.into(),
            name_en: spec.name_en.into(),
            name_zh: spec.name_zh.into(),
            kind: spec.kind,
            regions: vec![self.region],
            day,
            first,
            last,
            run_up_days: spec.run_up_days,
            observed: false,
            estimated: false,
        });
    }

    /// The event pushed last is by rule, not from an announcement.
    pub(super) fn estimated(&mut self) {
        if let Some(o) = self.out.last_mut() {
            o.estimated = true;
        }
    }

    /// The event pushed last has another run-up than usual.
    pub(super) fn run_up(&mut self, days: u32) {
        if let Some(o) = self.out.last_mut() {
            o.run_up_days = days;
        }
    }

    /// A day off in place of a holiday that fell on a weekend.
    pub(super) fn observed(&mut self, key: &'static str, day: NaiveDate) {
        self.on(key, day);
        if let Some(o) = self.out.last_mut() {
            o.observed = true;
            o.run_up_days = 0;
        }
    }

    /// Whether a public holiday gathered so far covers the day.
    pub(super) fn is_off(&self, day: NaiveDate) -> bool {
        self.out.iter().any(|o| o.kind == Kind::Holiday && o.first <= day && day <= o.last)
    }
}
