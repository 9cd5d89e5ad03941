//! The mean of all observations: for series that wander about one level.
//!
//! `ŷ(n+h) = ȳ`, with standard deviation `s √(1 + 1/n)` (Hyndman & Athanasopoulos, section 5.2). Unknown observations
//! are skipped. A series without any known observation is forecast as zero: this is the method that all others fall
//! back to.

use crate::local::{self, FittedSeries, LocalModel, Steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "mean",
    summary: "The mean of all observations.",
    summary_zh: "全部历史观测值的平均。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2",
    params: &[],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Mean>,
    load: local::load::<Mean>,
};

/// The mean method; it has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mean {}

/// What [`Mean`] keeps: count, mean and squared deviations, moved on by Welford's recursion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FittedMean {
    n: u64,
    mean: f64,
    squares: f64,
}

impl FittedMean {
    /// Of any history, also one without a known observation.
    pub fn of(y: &[f64]) -> Self {
        let mut fitted = Self::default();
        fitted.update(y);
        fitted
    }
}

impl LocalModel for Mean {
    type Fitted = FittedMean;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedMean> {
        let mut fitted = FittedMean::default();
        if let Some(out) = in_sample {
            out.clear();
            for y in series.y {
                out.push(if fitted.n == 0 { f64::NAN } else { fitted.mean });
                fitted.update(&[*y]);
            }
        } else {
            fitted.update(series.y);
        }
        if fitted.n == 0 {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 1, got: 0 });
        }
        Ok(fitted)
    }
}

impl FittedSeries for FittedMean {
    fn predict(&self, horizon: usize) -> Steps {
        let n = self.n.max(1) as f64;
        let sd = (self.squares / (n - 1.0).max(1.0) * (1.0 + 1.0 / n)).sqrt();
        Steps::of(horizon, |_| (self.mean, sd))
    }

    fn update(&mut self, y: &[f64]) {
        for y in y.iter().filter(|y| y.is_finite()) {
            self.n += 1;
            let off = y - self.mean;
            self.mean += off / self.n as f64;
            // A finite number even where the square overflows, since the state is saved as JSON.
            self.squares = (self.squares + off * (y - self.mean)).min(f64::MAX);
        }
    }
}
