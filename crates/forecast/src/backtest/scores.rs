//! From errors to a leaderboard.

use super::{BacktestResult, Window};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Share of the actual value within which a forecast is a hit.
const HIT_TOLERANCE: f64 = 0.1;

/// By what to group the scores of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One row a model.
    All,
    /// By the class of the series: smooth, erratic, intermittent, lumpy.
    Class,
    /// By the step ahead, from 1.
    Step,
    /// By origin, 0 is the oldest.
    Origin,
    /// By series.
    Series,
}

/// How one central interval did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The share of outcomes that it was to hold.
    pub nominal: f64,
    /// The share it held.
    pub coverage: f64,
    /// Its mean width, in units of the series.
    pub width: f64,
}

/// Measures of one model on some windows. A measure that is not defined there is NaN.
///
/// MAE, RMSE, WAPE, bias and the rates weigh every step alike; sMAPE likewise; MASE and RMSSE are means over windows, so
/// that every series weighs alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Windows scored.
    pub n_windows: usize,
    /// Windows of the group that the model gave no forecast for.
    pub n_left_out: usize,
    /// Steps scored.
    pub n_points: usize,
    /// Mean absolute error.
    pub mae: f64,
    /// Root mean squared error.
    pub rmse: f64,
    /// Sum of absolute errors over sum of absolute actuals.
    pub wape: f64,
    /// Symmetric mean absolute percentage error, 0 to 200.
    pub smape: f64,
    /// Mean absolute scaled error.
    pub mase: f64,
    /// Root mean squared scaled error.
    pub rmsse: f64,
    /// Mean error over mean actual; above zero when forecasts are too high.
    pub bias: f64,
    /// Share of forecasts within ± 10 % of the actual value.
    pub hit_rate: f64,
    /// Share of forecasts equal to the actual value to the hundredth.
    pub exact_rate: f64,
    /// Mean pinball loss over all quantile levels.
    pub pinball: f64,
    /// Central intervals, in the order of the settings.
    pub intervals: Vec<Interval>,
}

/// A model's scores in one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeaderboardRow {
    /// The model.
    pub model: String,
    /// The group: empty for [`Group::All`], else the class, step, origin or series.
    pub group: String,
    /// Its scores.
    pub scores: Scores,
}

impl BacktestResult {
    /// The models' scores, by group and best first (by MASE, then by WAPE; models without a score last).
    pub fn leaderboard(&self, group: Group) -> Vec<LeaderboardRow> {
        let h = self.settings.horizon;
        let mut out = Vec::new();
        for m in 0..self.models.len() {
            // Keys sort as people expect: classes and numbers in their own order, not by their text.
            let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
            for (w, window) in self.windows.iter().enumerate() {
                let key = match group {
                    Group::All => 0,
                    Group::Class => self.classes[window.series] as usize,
                    Group::Origin => window.origin,
                    Group::Series => window.series,
                    Group::Step => {
                        for k in 0..h {
                            self.tally(tallies.entry(k).or_default(), m, w, window, k..k + 1);
                        }
                        continue;
                    }
                };
                self.tally(tallies.entry(key).or_default(), m, w, window, 0..h);
            }
            out.extend(
                tallies
                    .into_iter()
                    .map(|(key, t)| (key, m, t.finish(&self.settings.coverages, self.levels.len()))),
            );
        }
        out.sort_by(|a, b| {
            let by = |x: f64, y: f64| match (x.is_nan(), y.is_nan()) {
                (false, false) => x.total_cmp(&y),
                (x, y) => x.cmp(&y),
            };
            a.0.cmp(&b.0)
                .then_with(|| by(a.2.mase, b.2.mase))
                .then_with(|| by(a.2.wape, b.2.wape))
                .then_with(|| if a.1 == b.1 { Ordering::Equal } else { a.1.cmp(&b.1) })
        });
        out.into_iter()
            .map(|(key, m, scores)| LeaderboardRow {
                model: self.models[m].model.clone(),
                group: match group {
                    Group::All => String::new(),
                    Group::Class => super::DemandClass::ALL[key].name().to_owned(),
                    Group::Step => (key + 1).to_string(),
                    Group::Origin => key.to_string(),
                    Group::Series => self.ids[key].clone(),
                },
                scores,
            })
            .collect()
    }

    fn tally(&self, t: &mut Tally, m: usize, w: usize, window: &Window, steps: std::ops::Range<usize>) {
        let (y, f) = (self.actual(w), self.mean(m, w));
        if f.iter().any(|v| v.is_nan()) {
            t.n_left_out += 1;
            return;
        }
        let (mut n, mut abs, mut squared) = (0_usize, 0.0, 0.0);
        for k in steps {
            if y[k].is_nan() {
                continue;
            }
            let e = f[k] - y[k];
            n += 1;
            abs += e.abs();
            squared += e * e;
            t.error += e;
            t.actual += y[k];
            t.actual_abs += y[k].abs();
            let size = y[k].abs() + f[k].abs();
            t.smape += if size == 0.0 { 0.0 } else { 200.0 * e.abs() / size };
            t.hits += usize::from(e.abs() <= HIT_TOLERANCE * y[k].abs() + 1e-12);
            t.exact += usize::from(e.abs() < 0.005);
            self.tally_quantiles(t, m, w, k, y[k]);
        }
        if n == 0 {
            return;
        }
        t.n_windows += 1;
        t.n_points += n;
        t.abs += abs;
        t.squared += squared;
        if window.scale > 0.0 {
            t.mase.0 += abs / n as f64 / window.scale;
            t.mase.1 += 1;
        }
        if window.scale_squared > 0.0 {
            t.rmsse.0 += (squared / n as f64).sqrt() / window.scale_squared;
            t.rmsse.1 += 1;
        }
    }

    fn tally_quantiles(&self, t: &mut Tally, m: usize, w: usize, k: usize, y: f64) {
        let q = self.quantiles(m, w, k);
        if q.is_empty() || q.iter().any(|v| v.is_nan()) {
            return;
        }
        t.n_quantiles += 1;
        for (level, q) in self.levels.iter().zip(q) {
            t.pinball += if y >= *q { level * (y - q) } else { (1.0 - level) * (q - y) };
        }
        let coverages = &self.settings.coverages;
        t.intervals.resize(coverages.len(), (0, 0.0));
        for (c, interval) in coverages.iter().zip(&mut t.intervals) {
            let at = |level: f64| self.levels.iter().position(|l| (l - level).abs() < 1e-9);
            if let (Some(lower), Some(upper)) = (at(0.5 - c / 2.0), at(0.5 + c / 2.0)) {
                interval.0 += usize::from(q[lower] <= y && y <= q[upper]);
                interval.1 += q[upper] - q[lower];
            }
        }
    }
}

/// Sums, from which scores are made.
#[derive(Default)]
struct Tally {
    n_windows: usize,
    n_left_out: usize,
    n_points: usize,
    n_quantiles: usize,
    abs: f64,
    squared: f64,
    error: f64,
    actual: f64,
    actual_abs: f64,
    smape: f64,
    hits: usize,
    exact: usize,
    mase: (f64, usize),
    rmsse: (f64, usize),
    pinball: f64,
    intervals: Vec<(usize, f64)>,
}

impl Tally {
    fn finish(self, coverages: &[f64], n_levels: usize) -> Scores {
        let per = |sum: f64, n: f64| if n == 0.0 { f64::NAN } else { sum / n };
        let n = self.n_points as f64;
        let nq = self.n_quantiles as f64;
        Scores {
            n_windows: self.n_windows,
            n_left_out: self.n_left_out,
            n_points: self.n_points,
            mae: per(self.abs, n),
            rmse: per(self.squared, n).sqrt(),
            wape: per(self.abs, self.actual_abs),
            smape: per(self.smape, n),
            mase: per(self.mase.0, self.mase.1 as f64),
            rmsse: per(self.rmsse.0, self.rmsse.1 as f64),
            bias: per(self.error, self.actual),
            hit_rate: per(self.hits as f64, n),
            exact_rate: per(self.exact as f64, n),
            pinball: per(self.pinball, nq * n_levels as f64),
            intervals: coverages
                .iter()
                .enumerate()
                .map(|(i, c)| {
                    let (inside, width) = self.intervals.get(i).copied().unwrap_or_default();
                    Interval { nominal: *c, coverage: per(inside as f64, nq), width: per(width, nq) }
                })
                .collect(),
        }
    }
}
