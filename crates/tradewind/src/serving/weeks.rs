//! Weeks: the stretches over which errors of forecasts are summed. Where a step is a week or more, each step is its own.

use super::forecasts::Usual;
use tradewind_core::{Freq, Stamp};
use tradewind_forecast::backtest::BacktestResult;
use tradewind_ops::monitor::error_watch::{ErrorSums, Outcome};

const DAY_S: i64 = 86_400;
const WEEK_S: i64 = 7 * DAY_S;
/// Day 0 of 1970 was a Thursday, the fourth day of a week that begins on Monday.
const BEFORE_1970_S: i64 = 3 * DAY_S;
/// The central interval whose coverage is watched.
pub(crate) const COVERAGE: f64 = 0.8;

/// Steps of a week.
pub(crate) fn steps_of_week(freq: Freq) -> usize {
    let steps = if freq.is_dated() { freq.steps(0, WEEK_S) } else { None };
    steps.and_then(|n| usize::try_from(n).ok()).map_or(1, |n| n.max(1))
}

/// The first moment of the week of a stamp.
pub(crate) fn week_of(freq: Freq, ds: Stamp) -> Stamp {
    match steps_of_week(freq) {
        1 => ds,
        _ => (ds + BEFORE_1970_S).div_euclid(WEEK_S) * WEEK_S - BEFORE_1970_S,
    }
}

/// The errors of whole weeks of a backtest's first model, oldest first; `naive` is a backtest of a simple method on the same
/// windows.
pub(super) fn usual(result: &BacktestResult, naive: Option<&BacktestResult>, freq: Freq) -> Vec<Usual> {
    let simple = naive.map(|naive| sums_of(naive, freq)).unwrap_or_default();
    let simple = |k: usize| simple.get(k).map(ErrorSums::wape).filter(|w| w.is_finite());
    let sums = sums_of(result, freq);
    let known = sums.iter().enumerate().filter(|(_, s)| s.n > 0 && s.wape().is_finite());
    known
        .map(|(k, s)| Usual {
            wape: s.wape(),
            bias: s.bias(),
            coverage: Some(s.coverage()).filter(|c| c.is_finite()),
            naive_wape: simple(k),
        })
        .collect()
}

/// The errors of each week of each origin.
fn sums_of(result: &BacktestResult, freq: Freq) -> Vec<ErrorSums> {
    let steps = steps_of_week(freq);
    let levels = result.levels();
    let place = |level: f64| levels.iter().position(|l| (l - level).abs() < 1e-9);
    let ends = place((1.0 - COVERAGE) / 2.0).zip(place((1.0 + COVERAGE) / 2.0));
    let (horizon, n_origins) = (result.settings().horizon, result.settings().n_origins);
    let weeks = horizon / steps;
    let mut sums = vec![ErrorSums::default(); weeks * n_origins];
    for (w, window) in result.windows().iter().enumerate() {
        let (actual, mean) = (result.actual(w), result.mean(0, w));
        for k in 0..weeks * steps {
            let quantiles = result.quantiles(0, w, k);
            let interval = ends.map(|(low, high)| (quantiles[low], quantiles[high]));
            let interval = interval.filter(|(low, high)| low.is_finite() && high.is_finite());
            let outcome = Outcome { actual: actual[k], forecast: mean[k], interval };
            sums[window.origin * weeks + k / steps].push(outcome);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_long_steps_are_their_own() {
        let monday = 4 * DAY_S; // 1970-01-05
        for day in 0..7 {
            assert_eq!(week_of(Freq::DAILY, monday + day * DAY_S), monday);
        }
        assert_eq!(week_of(Freq::DAILY, monday - DAY_S), monday - WEEK_S);
        assert_eq!(steps_of_week(Freq::DAILY), 7);
        let monthly: Freq = "MS".parse().unwrap_or(Freq::DAILY);
        assert_eq!((steps_of_week(monthly), week_of(monthly, 31 * DAY_S)), (1, 31 * DAY_S));
    }
}
