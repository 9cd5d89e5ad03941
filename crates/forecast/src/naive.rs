//! The last observation, carried on. The yardstick of every other method.
//!
//! `ŷ(n+h) = y(n)`, with standard deviation `σ √h` where `σ²` is the mean squared one-step change (Hyndman &
//! Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., section 5.2). Unknown observations are skipped: the
//! last known one counts.

use crate::local::{self, FittedSeries, LocalModel, Steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "naive",
    summary: "The last observation, carried on.",
    summary_zh: "沿用最近一次的观测值。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2",
    params: &[],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Naive>,
    load: local::load::<Naive>,
};

/// The naive method; it has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Naive {}

/// What [`Naive`] keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedNaive {
    last: f64,
    changes: u64,
    squares: f64,
}

impl LocalModel for Naive {
    type Fitted = FittedNaive;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedNaive> {
        let Some(first) = series.y.iter().position(|v| v.is_finite()) else {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 1, got: 0 });
        };
        let last = series.y[first];
        let mut fitted = FittedNaive { last, changes: 0, squares: 0.0 };
        if let Some(out) = in_sample {
            out.clear();
            out.resize(first + 1, f64::NAN);
            for y in &series.y[first + 1..] {
                out.push(fitted.last);
                fitted.update(&[*y]);
            }
        } else {
            fitted.update(&series.y[first + 1..]);
        }
        Ok(fitted)
    }
}

impl FittedSeries for FittedNaive {
    fn predict(&self, horizon: usize) -> Steps {
        let variance = self.squares / self.changes.max(1) as f64;
        Steps::of(horizon, |h| (self.last, (variance * h as f64).sqrt()))
    }

    fn update(&mut self, y: &[f64]) {
        for y in y.iter().filter(|y| y.is_finite()) {
            // A finite number even where the square overflows, since the state is saved as JSON.
            self.squares = (self.squares + (y - self.last) * (y - self.last)).min(f64::MAX);
            self.changes += 1;
            self.last = *y;
        }
    }
}
