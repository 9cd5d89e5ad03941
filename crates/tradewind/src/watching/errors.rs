//! The error of forecasts as what they were about comes in.
//!
//! For each day the forecast that counts is that of the newest version that was ever champion and did not know the day:
//! what a shop that follows the registry would have acted on. Errors are summed by week; an alarm with a stated rate of
//! false alarms holds the weeks of the version in production against those of its backtest.
//!
//! What has not come yet is judged by the width of intervals: where they are wider than those of the weeks that have come,
//! the error will be larger, as long as they hold what they promise.

use crate::error::Result;
use crate::forecasts::panel_of_shop;
use crate::serving::weeks::{COVERAGE, steps_of_week, week_of};
use crate::serving::{ForecastQuery, Loaded, TargetKind};
use crate::trends::By;
use std::collections::{BTreeMap, HashMap};
use tradewind_core::{Freq, Run, Stamp};
use tradewind_ops::monitor::error_watch::{
    Alarm, AlarmSettings, AlarmStep, ErrorReport, ErrorSums, Expected, FitSettings, FitVerdict, Outcome,
    SegmentedErrors, estimate_intervals, fit_verdict,
};
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::Target;

/// Weeks that are looked at.
const WEEKS_MAX: i64 = 53;
/// The newest weeks whose error is held against the usual one.
const RECENT: usize = 4;

/// A week of forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct WeekError {
    /// Its first stamp.
    pub from: Stamp,
    /// Its last stamp.
    pub until: Stamp,
    /// The version whose forecasts they were; of several, that of the last day.
    pub version: u64,
    /// The errors.
    pub sums: ErrorSums,
    /// What the alarm makes of it; none for weeks of versions before.
    pub step: Option<AlarmStep>,
}

/// How the forecasts of products' units did.
#[derive(Clone, Debug, PartialEq)]
pub struct ForecastErrors {
    /// The spacing of the steps.
    pub freq: Freq,
    /// The version in production.
    pub version: u64,
    /// The last stamp that it knew.
    pub cutoff: Stamp,
    /// Whole weeks, oldest first.
    pub weeks: Vec<WeekError>,
    /// What is usual for the version in production, by its backtest.
    pub expected: Option<Expected>,
    /// The newest weeks of the version in production, by category.
    pub recent: Option<ErrorReport>,
    /// Whether the alarm rang in one of these weeks.
    pub alarm: bool,
    /// What is to be expected of the steps that have not come; none before a whole week of the version has.
    pub coming: Option<Coming>,
    /// Whether the version in production learnt enough, and whether that still holds.
    pub fit: FitVerdict,
    /// What cannot be said yet, and why.
    pub note: Option<String>,
}

/// The error that is to be expected of steps that have not come, by the width of their intervals against those of the
/// version's newest weeks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coming {
    /// The first step.
    pub from: Stamp,
    /// The last step.
    pub until: Stamp,
    /// Forecasts.
    pub n: u64,
    /// The sum of absolute errors over the sum of what will come, as expected.
    pub wape: f64,
    /// The mean width of intervals of 80 % over that of the weeks compared with: 1.3 says that the version is 30 % less sure.
    pub ratio: f64,
}

impl ForecastErrors {
    /// The error of the newest weeks over the usual one; none where one of them is not known.
    pub fn ratio(&self) -> Option<f64> {
        self.recent.as_ref().map(|r| r.all.ratio).filter(|r| r.is_finite())
    }
}

/// Holds forecasts against what came. `versions` are those that were champion, in any order; none: there are none.
///
/// # Errors
/// Faults of the disk and of queries; cancellation.
pub fn forecast_errors(
    run: &Run,
    shop: &Shop,
    versions: &[Loaded],
    settings: AlarmSettings,
) -> Result<Option<ForecastErrors>> {
    let (target, by) = (TargetKind::Units, By::Product);
    let mut known = Vec::new();
    for version in versions {
        let Some(forecasts) = version.forecasts() else { continue };
        if let Ok(Some(cutoff)) = forecasts.cutoff(target, by) {
            known.push((cutoff, version.identity.version, forecasts));
        }
    }
    known.sort_by_key(|(cutoff, number, _)| (*cutoff, *number));
    let Some(&(cutoff, version, newest)) = known.last() else { return Ok(None) };
    let freq = newest.freq();
    known.retain(|(_, _, f)| f.freq() == freq);
    let panel = panel_of_shop(run, shop, by, Target::Units, freq)?;
    let Some(last) = panel.last_stamp() else { return Ok(None) };
    let steps = steps_of_week(freq);
    let earliest = freq.add(week_of(freq, last), -WEEKS_MAX * steps as i64);

    let mut sums: BTreeMap<Stamp, ErrorSums> = BTreeMap::new();
    let mut days: BTreeMap<Stamp, u64> = BTreeMap::new();
    let mut of_newest: BTreeMap<Stamp, Vec<(String, Outcome)>> = BTreeMap::new();
    let (mut ahead, mut means, mut intervals) = (BTreeMap::<Stamp, u64>::new(), vec![], vec![]);
    for (i, (origin, number, forecasts)) in known.iter().enumerate() {
        let end = known.get(i + 1).map_or(last, |(next, _, _)| (*next).min(last));
        let held = |level: f64| {
            forecasts.levels().first().is_some_and(|l| *l <= level)
                && forecasts.levels().last().is_some_and(|l| *l >= level)
        };
        let ends = [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0];
        let levels: &[f64] = if held(ends[0]) && held(ends[1]) { &ends } else { &[] };
        for id in forecasts.ids(target, by)? {
            run.check()?;
            let Some(s) = panel.position(id).map(|p| panel.series(p)) else { continue };
            let query = ForecastQuery { target, by, id, horizon: None, levels: Some(levels) };
            let told = forecasts.series(&query)?;
            let category = told.category.map_or_else(|| "category=".to_owned(), |c| format!("category={c}"));
            for step in &told.steps {
                if i + 1 == known.len()
                    && step.ds > last
                    && let [low, high] = step.quantiles[..]
                {
                    means.push(step.mean);
                    intervals.push((low, high));
                    *ahead.entry(step.ds).or_default() += 1;
                }
                if step.ds <= *origin || step.ds > end || step.ds < earliest {
                    continue;
                }
                let at = freq.steps(s.start, step.ds).and_then(|k| usize::try_from(k).ok());
                let Some(actual) = at.and_then(|k| s.y.get(k)).copied().filter(|v| v.is_finite()) else {
                    continue;
                };
                let interval = match step.quantiles[..] {
                    [low, high] => Some((low, high)),
                    _ => None,
                };
                let outcome = Outcome { actual, forecast: step.mean, interval };
                let week = week_of(freq, step.ds);
                sums.entry(week).or_default().push(outcome);
                days.insert(step.ds, *number);
                if i + 1 == known.len() {
                    of_newest.entry(week).or_default().push((category.clone(), outcome));
                }
            }
        }
    }
    let whole: Vec<(Stamp, Stamp, u64)> = sums
        .keys()
        .filter_map(|week| {
            let end = freq.add(*week, steps as i64);
            let mut of = days.range(*week..end);
            let (until, number) = of.next_back()?;
            (1 + of.count() == steps).then_some((*week, *until, *number))
        })
        .collect();

    let usual: Vec<f64> = newest.usual().iter().map(|u| u.wape).collect();
    let coverage: Vec<f64> = newest.usual().iter().filter_map(|u| u.coverage).collect();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let expected = (!usual.is_empty()).then(|| Expected { wape: mean(&usual), coverage: mean(&coverage) });
    let (mut alarm, note) = match Alarm::new(settings, &usual) {
        Ok(alarm) => (Some(alarm), None),
        Err(e) => (None, Some(format!("no alarm over the error yet: {e}"))),
    };
    let mut weeks = Vec::with_capacity(whole.len());
    let mut rang = false;
    for (from, until, number) in &whole {
        let sum = sums.get(from).copied().unwrap_or_default();
        let mut step = None;
        // Weeks in which the version in production began belong to the one before in part.
        if *number == version
            && *from > cutoff
            && let Some(alarm) = &mut alarm
            && sum.wape().is_finite()
        {
            let told = alarm.push(sum.wape())?;
            rang |= told.alarm;
            step = Some(told);
        }
        weeks.push(WeekError { from: *from, until: *until, version: *number, sums: sum, step });
    }
    let own: Vec<Stamp> = whole
        .iter()
        .filter(|(from, _, n)| *n == version && *from > cutoff)
        .map(|(from, _, _)| *from)
        .collect();
    let recent = (!own.is_empty()).then(|| {
        let mut segments = SegmentedErrors::default();
        for (category, outcome) in
            own.iter().rev().take(RECENT).rev().filter_map(|week| of_newest.get(week)).flatten()
        {
            segments.push([category.as_str()], *outcome);
        }
        let expected: HashMap<_, _> = expected.map(|e| ("all".to_owned(), e)).into_iter().collect();
        segments.report(&expected.into_iter().collect())
    });
    let (mut width, mut size) = (0.0, 0.0);
    for (_, outcome) in own.iter().rev().take(RECENT).filter_map(|week| of_newest.get(week)).flatten() {
        if let Some((low, high)) = outcome.interval {
            width += high - low;
            size += outcome.forecast.abs();
        }
    }
    // The backtest's intervals are no measure: it knew less, and its intervals are made another way.
    let compared = recent.as_ref().filter(|_| width > 0.0 && size > 0.0).map(|r| (width / size, r.all.wape));
    let coming = compared.and_then(|compared| {
        let ((from, _), (until, _)) = (ahead.first_key_value()?, ahead.last_key_value()?);
        let told = estimate_intervals(&means, &intervals, compared).ok()?;
        let n = ahead.values().sum();
        Some(Coming { from: *from, until: *until, n, wape: told.wape, ratio: told.ratio })
    });
    let naive: Vec<f64> = newest.usual().iter().filter_map(|u| u.naive_wape).collect();
    let usual_wape = expected.map_or(f64::NAN, |e| e.wape);
    let live = recent.as_ref().map_or((f64::NAN, 0), |r: &ErrorReport| (r.all.wape, r.all.sums.n));
    // Forecasters tell no errors of what they have learnt from: the backtest stands for both.
    let fit = fit_verdict(usual_wape, usual_wape, mean(&naive), live, &FitSettings::default());
    let note = note.or_else(|| {
        recent.is_none().then(|| "no whole week has come since the version in production was made".to_owned())
    });
    let alarm = rang;
    Ok(Some(ForecastErrors { freq, version, cutoff, weeks, expected, recent, alarm, coming, fit, note }))
}
