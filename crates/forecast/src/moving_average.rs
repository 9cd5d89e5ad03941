//! The mean of the last few observations.
//!
//! `ŷ(n+h) = (y(n−w+1) + … + y(n)) / w`. Without a given window, each from one step to [`WINDOW_MAX`] (or half the
//! history) forecasts the same part of the history one step ahead, and the one with the least squared error is taken;
//! of equals the shortest. The standard deviation is that of these errors, growing as `√(1 + (h−1)/w)`, which is right
//! for a window of one (a random walk) and nearly flat for long windows. Unknown observations are passed over: the
//! window counts known ones.

use crate::local::{self, FittedSeries, LocalModel, Steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "moving_average",
    summary: "The mean of the last few observations; how many is chosen by the error in sample.",
    summary_zh: "移动平均：最近若干期的平均，窗口可按样本内误差自动选择。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 3.3",
    params: &[ParamSpec {
        name: "window",
        kind: ParamKind::Integer { min: 1, max: 100_000 },
        default: "",
        summary: "observations in the mean; chosen by the error one step ahead when not given",
    }],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<MovingAverage>,
    load: local::load::<MovingAverage>,
};

/// The longest window that is tried.
pub const WINDOW_MAX: usize = 60;

/// The moving average.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovingAverage {
    /// Observations in the mean; chosen when `None`.
    pub window: Option<usize>,
}

/// What [`MovingAverage`] keeps: the last observations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedMovingAverage {
    window: usize,
    last: Vec<f64>,
    variance: f64,
}

impl FittedMovingAverage {
    /// The window used.
    pub fn window(&self) -> usize {
        self.window
    }

    fn mean(&self) -> f64 {
        let n = self.last.len().max(1) as f64;
        self.last.iter().map(|v| v / n).sum()
    }

    fn add(&mut self, y: f64) {
        if self.last.len() == self.window {
            self.last.remove(0);
        }
        self.last.push(y);
    }
}

impl LocalModel for MovingAverage {
    type Fitted = FittedMovingAverage;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedMovingAverage> {
        let known: Vec<f64> = series.y.iter().copied().filter(|v| v.is_finite()).collect();
        let n = known.len();
        if n == 0 {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 1, got: 0 });
        }
        let scale = known.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
        let mut sums = Vec::with_capacity(n + 1);
        sums.push(0.0);
        for v in &known {
            sums.push(sums[sums.len() - 1] + v / scale);
        }
        // Errors of a window from `from` on, scaled; windows not yet full take what there is.
        let error = |w: usize, from: usize| -> f64 {
            (from..n)
                .map(|t| {
                    let w = w.min(t);
                    let e = known[t] / scale - (sums[t] - sums[t - w]) / w as f64;
                    e * e
                })
                .sum()
        };
        let longest = (n / 2).clamp(1, WINDOW_MAX);
        let window = self.window.unwrap_or_else(|| {
            let mut best = (f64::INFINITY, 1);
            for w in 1..=longest {
                let e = error(w, longest);
                if e < best.0 * (1.0 - 1e-12) {
                    best = (e, w);
                }
            }
            best.1
        });
        let from = window.min(longest).min(n - 1).max(1);
        let variance = if n > 1 { error(window, from) / (n - from).max(1) as f64 } else { 0.0 };
        if let Some(out) = in_sample {
            out.clear();
            let mut t = 0;
            for y in series.y {
                let w = window.min(t);
                out.push(if t == 0 { f64::NAN } else { (sums[t] - sums[t - w]) / w as f64 * scale });
                t += usize::from(y.is_finite());
            }
        }
        let last = known[n - window.min(n)..].to_vec();
        Ok(FittedMovingAverage { window, last, variance: (variance * scale * scale).min(f64::MAX) })
    }
}

impl FittedSeries for FittedMovingAverage {
    fn predict(&self, horizon: usize) -> Steps {
        let mean = self.mean();
        Steps::of(horizon, |h| (mean, (self.variance * (1.0 + (h - 1) as f64 / self.window as f64)).sqrt()))
    }

    fn update(&mut self, y: &[f64]) {
        y.iter().filter(|v| v.is_finite()).for_each(|v| self.add(*v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_fits_the_series() {
        let of = |y: &[f64]| MovingAverage::default().fit_series(Series::counted(y)).expect("fits").window();
        // A random walk wants the last value, a week's rhythm a whole week, noise a long window.
        let walk: Vec<f64> = (0..80)
            .scan(0.0, |s, t| {
                *s += f64::from(t * 7919 % 13) - 5.0;
                Some(*s)
            })
            .collect();
        assert_eq!(of(&walk), 1);
        let week: Vec<f64> = (0..84).map(|t| [1.0, 5.0, 2.0, 9.0, 4.0, 0.0, 7.0][t % 7]).collect();
        assert_eq!(of(&week) % 7, 0);
        let noise: Vec<f64> = (0..80).map(|t| f64::from(t * 7919 % 101)).collect();
        assert!(of(&noise) > 10, "{}", of(&noise));
    }
}
