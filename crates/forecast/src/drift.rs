//! The line from the first to the last observation, carried on.
//!
//! `ŷ(n+h) = y(n) + h (y(n) − y(1)) / (n−1)`, with standard deviation `σ √(h (1 + h/(n−1)))`, where `σ²` is the variance
//! of the one-step changes (Hyndman & Athanasopoulos, section 5.2). Unknown observations inside are passed over.

use crate::local::{self, FittedSeries, LocalModel, Steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "drift",
    summary: "The line from the first to the last observation, carried on.",
    summary_zh: "延长首尾观测值之间的直线。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2",
    params: &[],
    needs: Needs { min_observations: 2, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Drift>,
    load: local::load::<Drift>,
};

/// The drift method; it has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drift {}

/// What [`Drift`] keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedDrift {
    first: f64,
    last: f64,
    /// Steps from the first observation to the last known one, and unknown steps after it.
    steps: u64,
    unknown: u64,
    changes: u64,
    squares: f64,
}

impl FittedDrift {
    fn slope(&self) -> f64 {
        // Each term apart, since the difference of two huge values may overflow.
        self.last / self.steps.max(1) as f64 - self.first / self.steps.max(1) as f64
    }
}

impl LocalModel for Drift {
    type Fitted = FittedDrift;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedDrift> {
        let too_few = |got| Error::NotEnoughData { what: ENTRY.name.into(), needed: 2, got };
        let first = series.y.iter().position(|v| v.is_finite()).ok_or_else(|| too_few(0))?;
        let last = series.y[first];
        let mut fitted = FittedDrift { first: last, last, steps: 0, unknown: 0, changes: 0, squares: 0.0 };
        fitted.update(&series.y[first + 1..]);
        if fitted.steps == 0 {
            return Err(too_few(1));
        }
        if let Some(out) = in_sample {
            // One step ahead with the slope of the whole history, as the residuals are defined there.
            let slope = fitted.slope();
            out.clear();
            out.resize(first + 1, f64::NAN);
            let mut ahead = last;
            for y in &series.y[first + 1..] {
                ahead += slope;
                out.push(ahead);
                if y.is_finite() {
                    ahead = *y;
                }
            }
        }
        Ok(fitted)
    }
}

impl FittedSeries for FittedDrift {
    fn predict(&self, horizon: usize) -> Steps {
        let slope = self.slope();
        let n = self.steps.max(1) as f64;
        let variance = if self.changes > 1 {
            ((self.squares - slope * slope * n) / (self.changes - 1) as f64).max(0.0)
        } else {
            0.0
        };
        Steps::of(horizon, |h| {
            let h = h as f64 + self.unknown as f64;
            (self.last + h * slope, (variance * h * (1.0 + h / n)).sqrt())
        })
    }

    fn update(&mut self, y: &[f64]) {
        for y in y {
            self.unknown += 1;
            if y.is_finite() {
                // A change over a gap is spread evenly over its steps.
                let square = (y - self.last) * (y - self.last) / self.unknown as f64;
                self.squares = (self.squares + square).min(f64::MAX);
                self.changes += 1;
                self.steps += self.unknown;
                self.unknown = 0;
                self.last = *y;
            }
        }
    }
}
