//! Calendar features: one definition for training and prediction.

use super::dates::{is_weekend, plus};
use super::{Calendar, Kind, Occurrence, YEARS};
use crate::freq::{self, DAY, Freq, Stamp, Unit};
use chrono::{Datelike, NaiveDate};
use std::sync::Arc;

/// Beyond so many days an event is out of sight: its closeness is 0.
const SIGHT_DAYS: i64 = 60;

/// The features of one stamp, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct CalendarFeatures {
    names: Arc<[String]>,
    values: Vec<f64>,
}

impl CalendarFeatures {
    /// The names, in the order of the values.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The values; all are finite and lie from −1 to 1.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.names.iter().position(|n| n == name).and_then(|i| self.values.get(i).copied())
    }
}

/// The features of `n` stamps in a row, made once and read by millions of rows.
///
/// A stamp stands for a period: the day of it, the 7 days from it on for weeks, the month from it on for months, the
/// month up to it for month ends. Of that period a row tells
///
/// | name | is |
/// |---|---|
/// | `day_…`, `week_…`, `month_…`, `quarter_…`, `year_…` | where its first moment lies in the day, week, month, quarter, year: `position` from 0 to 1, and `sin`, `cos` of it as an angle; only those longer than the period |
/// | `n_days` | its days ÷ 31, for months |
/// | `weekend`, `holiday`, `workday`, `workday_adjusted`, `festival`, `run_up` | the share of its days that are so (averaged over the regions for holidays and workdays) |
/// | `KEY:to` | closeness of the next day of the event KEY: exp(−days ÷ τ), 1 when inside the period, 0 beyond 60 days |
/// | `KEY:since` | the same for the last one |
/// | `KEY:during`, `KEY:ahead` | the share of its days that lie in the event, in its run-up |
///
/// with τ = 7 days for days and shorter periods, 14 for weeks and 30 for months. Counted stamps have no features.
///
/// ```
/// use tradewind_core::{Freq, calendar::{Calendar, CalendarTable, Region}, freq::parse_stamp};
/// let calendar = Calendar::new(&[Region::Cn]);
/// let first = parse_stamp("2024-11-10").unwrap();
/// let table = CalendarTable::new(&calendar, Freq::DAILY, first, 3);
/// let during = table.names().iter().position(|n| n == "double_11:during").unwrap();
/// assert_eq!([0, 1, 2].map(|i| table.row(i)[during]), [1.0, 1.0, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub struct CalendarTable {
    names: Arc<[String]>,
    freq: Freq,
    first: Stamp,
    n: usize,
    values: Vec<f64>,
}

impl CalendarTable {
    /// The features of `first` and the `n` − 1 stamps after it.
    pub fn new(calendar: &Calendar, freq: Freq, first: Stamp, n: usize) -> Self {
        let names: Arc<[String]> = names(calendar, freq).into();
        let mut table = Self { names, freq, first, n, values: Vec::new() };
        if table.names.is_empty() || n == 0 {
            return table;
        }
        let from = period(freq, table.stamp(0)).0;
        let to = period(freq, table.stamp(n - 1)).1;
        let days = DayTable::new(calendar, from.min(to), to.max(from));
        table.values.reserve_exact(n.saturating_mul(table.names.len()));
        for i in 0..n {
            let stamp = table.stamp(i);
            days.push_row(freq, stamp, &mut table.values);
        }
        table
    }

    /// The names of the columns; none for counted stamps.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many stamps it has.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether it has no stamp.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The features of the `i`th stamp; empty beyond the last.
    pub fn row(&self, i: usize) -> &[f64] {
        let w = self.names.len();
        i.checked_mul(w).and_then(|at| self.values.get(at..at.checked_add(w)?)).unwrap_or(&[])
    }

    /// The features of a stamp; `None` when it is not on this table's grid.
    pub fn at(&self, stamp: Stamp) -> Option<&[f64]> {
        let i = usize::try_from(self.freq.steps(self.first, stamp)?).ok()?;
        (i < self.n).then(|| self.row(i))
    }

    pub(super) fn into_features(self, i: usize) -> CalendarFeatures {
        CalendarFeatures { values: self.row(i).to_vec(), names: self.names }
    }

    fn stamp(&self, i: usize) -> Stamp {
        // Beyond the years that have events, and far within what fits a date.
        const FAR: i64 = 1000 * 366 * DAY;
        let steps = i64::try_from(i).unwrap_or(i64::MAX).min(FAR);
        let first = self.first.clamp(-FAR, FAR);
        self.freq.add(first, steps.min(FAR / i64::from(self.freq.n.max(1)))).clamp(-FAR, FAR)
    }
}

fn is_monthly(freq: Freq) -> bool {
    matches!(freq.unit, Unit::Month | Unit::MonthEnd)
}

/// The positions a frequency has: those in a longer time than its own.
fn positions(freq: Freq) -> &'static [&'static str] {
    match freq.unit {
        Unit::Step => &[],
        Unit::Minute | Unit::Hour => &["day", "week", "month", "quarter", "year"],
        Unit::Day if freq.n < 7 => &["week", "month", "quarter", "year"],
        Unit::Day | Unit::Week => &["month", "quarter", "year"],
        Unit::Month | Unit::MonthEnd => match freq.n {
            ..3 => &["quarter", "year"],
            3..12 => &["year"],
            _ => &[],
        },
    }
}

fn names(calendar: &Calendar, freq: Freq) -> Vec<String> {
    if !freq.is_dated() {
        return Vec::new();
    }
    let mut out = Vec::new();
    for p in positions(freq) {
        out.extend(["position", "sin", "cos"].map(|s| format!("{p}_{s}")));
    }
    if is_monthly(freq) {
        out.push("n_days".into());
    }
    out.extend(["weekend", "holiday", "workday", "workday_adjusted", "festival", "run_up"].map(String::from));
    for key in calendar.keys() {
        out.extend(["to", "since", "during", "ahead"].map(|s| format!("{key}:{s}")));
    }
    out
}

/// The first and last day of the period that a stamp stands for.
fn period(freq: Freq, stamp: Stamp) -> (NaiveDate, NaiveDate) {
    let day = freq::date(stamp);
    match freq.unit {
        Unit::Step | Unit::Minute | Unit::Hour => (day, day),
        Unit::Day | Unit::Week | Unit::Month => (day, plus(freq::date(freq.add(stamp, 1)), -1).max(day)),
        Unit::MonthEnd => (plus(freq::date(freq.add(stamp, -1)), 1).min(day), day),
    }
}

fn ce(day: NaiveDate) -> i64 {
    i64::from(day.num_days_from_ce())
}

/// One event's days, as numbers.
struct EventDays {
    /// The days it is named after, sorted.
    days: Vec<i64>,
    /// First and last day, and days of run-up.
    spans: Vec<(i64, i64, i64)>,
}

/// What each day is, and each event's days, over the time of a table.
struct DayTable {
    first: i64,
    /// Sums over the days before, so that a period's share is one subtraction: weekend, holiday, workday, adjusted
    /// workday, festival, run-up.
    sums: Vec<[f64; 6]>,
    events: Vec<EventDays>,
}

impl DayTable {
    fn new(calendar: &Calendar, from: NaiveDate, to: NaiveDate) -> Self {
        let low = NaiveDate::from_ymd_opt(*YEARS.start(), 1, 1).unwrap_or_default();
        let high = NaiveDate::from_ymd_opt(*YEARS.end(), 12, 31).unwrap_or_default();
        let (from, to) = (from.clamp(low, high), to.clamp(low, high));
        let occurrences = calendar.occurrences(plus(from, -SIGHT_DAYS - 31), plus(to, SIGHT_DAYS + 31));
        let first = ce(from);
        let n = usize::try_from(ce(to) - first + 1).unwrap_or(0);
        let n_regions = calendar.regions().len().max(1);
        // Bits by region: off, worked in exchange, closed. All regions at once for own events without one.
        let everywhere = (1u32 << n_regions) - 1;
        let bits = |o: &Occurrence| match o.regions.as_slice() {
            [] => everywhere,
            some => some
                .iter()
                .filter_map(|r| calendar.regions().iter().position(|q| q == r))
                .fold(0, |b, i| b | 1 << i),
        };
        let mut off = vec![0u32; n];
        let mut worked = vec![0u32; n];
        let mut closed = vec![0u32; n];
        let mut festival = vec![false; n];
        let mut run_up = vec![false; n];
        let clip = |a: i64, b: i64| {
            let start = usize::try_from((a - first).max(0)).unwrap_or(0).min(n);
            let end = usize::try_from((b - first + 1).max(0)).unwrap_or(0).clamp(start, n);
            start..end
        };
        for o in &occurrences {
            let days = clip(ce(o.first), ce(o.last));
            let marks = match o.kind {
                Kind::Holiday => Some(&mut off),
                Kind::Workday => Some(&mut worked),
                Kind::Closed => Some(&mut closed),
                Kind::Festival | Kind::Event => None,
            };
            match marks {
                Some(marks) => marks[days].iter_mut().for_each(|m| *m |= bits(o)),
                None => festival[days].fill(true),
            }
            run_up[clip(ce(o.first) - i64::from(o.run_up_days), ce(o.first) - 1)].fill(true);
        }
        let mut sums = vec![[0.0; 6]];
        let mut sum = [0.0; 6];
        for i in 0..n {
            let weekend = is_weekend(plus(from, i64::try_from(i).unwrap_or(0)));
            let weekdays = if weekend { 0 } else { everywhere };
            let working = (worked[i] | weekdays & !off[i]) & !closed[i];
            let share = |bits: u32| f64::from((bits & everywhere).count_ones()) / n_regions as f64;
            let of_day = [
                f64::from(weekend),
                share(off[i]),
                share(working),
                share(worked[i]),
                f64::from(festival[i]),
                f64::from(run_up[i]),
            ];
            for (s, d) in sum.iter_mut().zip(of_day) {
                *s += d;
            }
            sums.push(sum);
        }
        let events = calendar
            .keys()
            .iter()
            .map(|key| {
                let of_key = || occurrences.iter().filter(|o| o.key == *key && !o.observed);
                let mut days: Vec<i64> = of_key().map(|o| ce(o.day)).collect();
                days.sort_unstable();
                days.dedup();
                let spans = of_key().map(|o| (ce(o.first), ce(o.last), i64::from(o.run_up_days))).collect();
                EventDays { days, spans }
            })
            .collect();
        Self { first, sums, events }
    }

    fn push_row(&self, freq: Freq, stamp: Stamp, out: &mut Vec<f64>) {
        let (from, to) = period(freq, stamp);
        let moment = if freq.unit == Unit::MonthEnd { freq::stamp(from) } else { stamp };
        for p in positions(freq) {
            let x = position(p, moment);
            let angle = x * std::f64::consts::TAU;
            out.extend([x, angle.sin(), angle.cos()]);
        }
        let (a, b) = (ce(from), ce(to));
        let n_days = (b - a + 1) as f64;
        if is_monthly(freq) {
            out.push((n_days / 31.0).min(1.0));
        }
        let last = self.sums.len() - 1;
        let at = |day: i64| usize::try_from(day - self.first).unwrap_or(0).min(last);
        let (low, high) = (self.sums[at(a)], self.sums[at(b + 1)]);
        out.extend(low.iter().zip(high).map(|(l, h)| (h - l) / n_days));
        let tau = match freq.unit {
            Unit::Month | Unit::MonthEnd => 30.0,
            Unit::Week => 14.0,
            _ => 7.0,
        };
        let closeness = |days: Option<i64>| match days {
            Some(d) if d <= SIGHT_DAYS => (-(d as f64) / tau).exp(),
            _ => 0.0,
        };
        for e in &self.events {
            let next = e.days.partition_point(|d| *d < a);
            let since = e.days.partition_point(|d| *d <= b);
            out.push(closeness(e.days.get(next).map(|d| (d - b).max(0))));
            out.push(closeness(since.checked_sub(1).and_then(|i| e.days.get(i)).map(|d| (a - d).max(0))));
            let overlap = |first: i64, last: i64| (last.min(b) - first.max(a) + 1).max(0);
            let (mut during, mut ahead) = (0, 0);
            for (first, last, run_up) in &e.spans {
                during += overlap(*first, *last);
                ahead += overlap(first - run_up, first - 1);
            }
            out.push((during as f64 / n_days).min(1.0));
            out.push((ahead as f64 / n_days).min(1.0));
        }
    }
}

/// Where a moment lies in its day, week (from Monday), month, quarter or year, from 0 to 1.
fn position(of: &str, moment: Stamp) -> f64 {
    let day = freq::date(moment);
    let in_day = moment.rem_euclid(DAY) as f64 / DAY as f64;
    let between = |first: Option<NaiveDate>, next: Option<NaiveDate>| match (first, next) {
        (Some(f), Some(n)) => ((day - f).num_days() as f64 + in_day) / (n - f).num_days() as f64,
        _ => 0.0,
    };
    let months = |first: u32, n: u32| {
        let next = if first + n > 12 { (day.year() + 1, 1) } else { (day.year(), first + n) };
        between(NaiveDate::from_ymd_opt(day.year(), first, 1), NaiveDate::from_ymd_opt(next.0, next.1, 1))
    };
    match of {
        "day" => in_day,
        "week" => (f64::from(day.weekday().num_days_from_monday()) + in_day) / 7.0,
        "month" => months(day.month(), 1),
        "quarter" => months(day.month0() / 3 * 3 + 1, 3),
        _ => months(1, 12),
    }
}

/// An event that falls into a window of time.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowEvent {
    /// The event.
    pub occurrence: Occurrence,
    /// Days of the window that lie in it.
    pub days: i64,
    /// Days of the window that lie in its run-up.
    pub run_up_days: i64,
    /// The share of the window that it touches, a day of run-up counted as half a day; 0 to 1.
    pub share: f64,
}

/// Which events fall into a window, both ends included, largest share first: what "holiday ahead" rests on. Adjusted
/// workdays and days off in place of others are left out.
///
/// ```
/// use chrono::NaiveDate;
/// use tradewind_core::calendar::{Calendar, Region, window_effect};
/// let day = |m, d| NaiveDate::from_ymd_opt(2024, m, d).unwrap();
/// let ahead = window_effect(&Calendar::new(&[Region::Us]), day(11, 24), day(12, 2));
/// assert!(ahead.iter().any(|w| w.occurrence.key == "black_friday" && w.days == 3));
/// ```
pub fn window_effect(calendar: &Calendar, from: NaiveDate, to: NaiveDate) -> Vec<WindowEvent> {
    if to < from {
        return Vec::new();
    }
    // Own events may have any run-up; those of the catalogue are shorter than two months.
    let far =
        i64::from(calendar.own.iter().map(|o| o.run_up_days).max().unwrap_or(0)).clamp(SIGHT_DAYS, 3_660);
    let n_days = (to - from).num_days() + 1;
    let overlap =
        |first: NaiveDate, last: NaiveDate| ((last.min(to) - first.max(from)).num_days() + 1).max(0);
    let mut out: Vec<WindowEvent> = calendar
        .occurrences(from, plus(to, far))
        .into_iter()
        .filter(|o| o.kind != Kind::Workday && !o.observed)
        .filter_map(|o| {
            let days = overlap(o.first, o.last);
            let run_up_days = overlap(plus(o.first, -i64::from(o.run_up_days)), plus(o.first, -1));
            let share = (days as f64 + 0.5 * run_up_days as f64) / n_days as f64;
            (days + run_up_days > 0).then_some(WindowEvent { occurrence: o, days, run_up_days, share })
        })
        .collect();
    out.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.occurrence.key.cmp(&b.occurrence.key)));
    out
}
