//! Two versions of forecasts on the same days: what a new one is worth beside the one before it.

use crate::error::Result;
use crate::forecasts::panel_of_shop;
use crate::large::Job;
use crate::serving::weeks::steps_of_week;
use crate::serving::{ForecastQuery, Forecasts, ForecastsRequest, Loaded, TargetKind};
use crate::trends::By;
use std::collections::BTreeMap;
use tradewind_core::{Panel, Run, Stamp};
use tradewind_forecast::Options;
use tradewind_ops::monitor::gate::{GateSettings, Judgement, PairedLoss, SegmentLoss, judge};
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::Target;

const TARGET: TargetKind = TargetKind::Units;
const BY: By = By::Product;

/// What a version's forecasts earned: the error that the forecasts of the version before it would have had on the same
/// days, less its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Earned {
    /// The version.
    pub version: u64,
    /// The one before it.
    pub before: u64,
    /// The first and last day that both told beforehand.
    pub days: Option<(Stamp, Stamp)>,
    /// Its sum of absolute errors, in units.
    pub actual: f64,
    /// That of the version before it.
    pub expected: f64,
    /// The comparison, series by series; none where no day was told by both.
    pub judgement: Option<Judgement>,
}

/// The absolute errors of a series' forecasts on days, with how many there were.
fn loss(forecasts: &Forecasts, panel: &Panel, id: &str, days: (Stamp, Stamp)) -> Option<(f64, usize)> {
    let series = panel.series(panel.position(id)?);
    let query = ForecastQuery { target: TARGET, by: BY, id, horizon: None, levels: Some(&[]) };
    let told = forecasts.series(&query).ok()?;
    let (mut sum, mut n) = (0.0, 0);
    for step in told.steps.iter().filter(|s| s.ds > days.0 && s.ds <= days.1) {
        let at = usize::try_from(series.freq.steps(series.start, step.ds)?).ok()?;
        let Some(actual) = series.y.get(at).filter(|v| v.is_finite()) else { continue };
        sum += (step.mean - actual).abs();
        n += 1;
    }
    (n > 0).then_some((sum, n))
}

fn category(forecasts: &Forecasts, id: &str) -> String {
    let query = ForecastQuery { target: TARGET, by: BY, id, horizon: Some(1), levels: Some(&[]) };
    let told = forecasts.series(&query).ok().and_then(|s| s.category.map(str::to_owned));
    format!("category={}", told.unwrap_or_default())
}

/// Pairs of losses by series, judged; with the sums of both.
fn judged(cases: Vec<(String, PairedLoss)>) -> Result<(Judgement, f64, f64)> {
    let mut segments: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (segment, pair) in &cases {
        let sums = segments.entry(segment.clone()).or_default();
        sums.0 += pair.champion;
        sums.1 += pair.challenger;
    }
    let segments: Vec<SegmentLoss> = segments
        .into_iter()
        .map(|(segment, (champion, challenger))| SegmentLoss { segment, champion, challenger })
        .collect();
    let pairs: Vec<PairedLoss> = cases.into_iter().map(|(_, pair)| pair).collect();
    let judgement = judge(&pairs, &segments, &GateSettings::default())?;
    let sums = pairs.iter().fold((0.0, 0.0), |s, p| (s.0 + p.champion, s.1 + p.challenger));
    Ok((judgement, sums.0, sums.1))
}

/// What each version but the first earned, oldest first. `versions` are those that were champion, in any order.
///
/// # Errors
/// Faults of the disk and of queries; cancellation.
pub fn forecasts_earned(run: &Run, shop: &Shop, versions: &[Loaded]) -> Result<Vec<Earned>> {
    let mut known: Vec<(Stamp, u64, &Forecasts)> = versions
        .iter()
        .filter_map(|v| {
            let forecasts = v.forecasts()?;
            Some((forecasts.cutoff(TARGET, BY).ok()??, v.identity.version, forecasts))
        })
        .collect();
    known.sort_by_key(|(cutoff, number, _)| (*cutoff, *number));
    let Some((_, _, newest)) = known.last() else { return Ok(vec![]) };
    let freq = newest.freq();
    known.retain(|(_, _, f)| f.freq() == freq);
    let panel = panel_of_shop(run, shop, BY, Target::Units, freq)?;
    let Some(last) = panel.last_stamp() else { return Ok(vec![]) };
    let mut out = Vec::new();
    for (i, pair) in known.windows(2).enumerate() {
        let [(cutoff_before, before, old), (cutoff, version, new)] = pair else { continue };
        run.check()?;
        let end = known.get(i + 2).map_or(last, |(next, _, _)| (*next).min(last));
        let end = end
            .min(freq.add(*cutoff_before, old.horizon() as i64))
            .min(freq.add(*cutoff, new.horizon() as i64));
        let mut cases = Vec::new();
        for id in new.ids(TARGET, BY)? {
            let days = (*cutoff, end);
            if let (Some((champion, n)), Some((challenger, m))) =
                (loss(old, &panel, id, days), loss(new, &panel, id, days))
                && n == m
            {
                cases.push((category(new, id), PairedLoss { champion, challenger }));
            }
        }
        let mut earned = Earned {
            version: *version,
            before: *before,
            days: None,
            actual: 0.0,
            expected: 0.0,
            judgement: None,
        };
        if !cases.is_empty() {
            let (judgement, expected, actual) = judged(cases)?;
            earned.days = Some((freq.add(*cutoff, 1), end));
            (earned.actual, earned.expected, earned.judgement) = (actual, expected, Some(judgement));
        }
        out.push(earned);
    }
    Ok(out)
}

/// Whether forecasting anew pays: the champion's own forecasts of the newest week against those that the request gives
/// from the data before that week. None where the champion did not tell that week beforehand, or knew it.
///
/// # Errors
/// Faults of the disk and of queries; parameters that the method refuses; cancellation.
pub fn contest(
    run: &Run,
    shop: &Shop,
    champion: &Loaded,
    request: &ForecastsRequest,
) -> Result<Option<Judgement>> {
    let Some(old) = champion.forecasts().filter(|f| f.freq() == request.freq) else { return Ok(None) };
    let Ok(Some(cutoff)) = old.cutoff(TARGET, BY) else { return Ok(None) };
    let freq = request.freq;
    let panel = panel_of_shop(run, shop, BY, Target::Units, freq)?;
    let Some(last) = panel.last_stamp() else { return Ok(None) };
    let week = steps_of_week(freq);
    let begin = freq.add(last, -(week as i64));
    if cutoff >= begin || freq.add(cutoff, old.horizon() as i64) < last {
        return Ok(None);
    }
    let head = panel.as_of(begin);
    if head.is_empty() {
        return Ok(None);
    }
    let options = Options::new(week, &[]);
    let models = [request.model.clone()];
    let new = Job::new(&head, &models, &request.params, &options).run(run)?.remove(0);
    let mut cases = Vec::new();
    for (i, id) in new.ids().iter().enumerate() {
        let Some(series) = panel.position(id).map(|p| panel.series(p)) else { continue };
        let Some((champion, n)) = loss(old, &panel, id, (begin, last)) else { continue };
        let (mut challenger, mut m) = (0.0, 0);
        for (k, mean) in new.mean(i).iter().enumerate() {
            let at = freq.steps(series.start, new.ds(i, k)).and_then(|a| usize::try_from(a).ok());
            let Some(actual) = at.and_then(|a| series.y.get(a)).filter(|v| v.is_finite()) else { continue };
            challenger += (mean - actual).abs();
            m += 1;
        }
        if n == m {
            cases.push((category(old, id), PairedLoss { champion, challenger }));
        }
    }
    if cases.is_empty() { Ok(None) } else { Ok(Some(judged(cases)?.0)) }
}
