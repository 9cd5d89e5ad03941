//! The last season, repeated. The yardstick for everything with a season.
//!
//! `ŷ(n+h) = y(n+h−m⌈h/m⌉)`, with standard deviation `σ √(k+1)`, `k` whole seasons before the step and `σ²` the mean
//! squared change over a season (Hyndman & Athanasopoulos, section 5.2). Where the last season has an unknown value,
//! the last known one at the same place of the season counts, and the mean of the others where there is none. A
//! season of one step makes it the naive method.

use crate::local::{self, FittedSeries, LocalModel, SEASON_LENGTH, Steps, season_of};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "seasonal_naive",
    summary: "The last season, repeated.",
    summary_zh: "重复最近一个季节周期。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2",
    params: &[SEASON_LENGTH],
    needs: Needs { min_observations: 1, min_seasons: 1, positive: false, uses_covariates: false },
    build: local::build::<SeasonalNaive>,
    load: local::load::<SeasonalNaive>,
};

/// The seasonal naive method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeasonalNaive {
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
}

/// What [`SeasonalNaive`] keeps: the last season.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedSeasonalNaive {
    /// By place in the season; `None` where nothing is known yet.
    last: Vec<Option<f64>>,
    next: usize,
    changes: u64,
    squares: f64,
}

impl FittedSeasonalNaive {
    fn add(&mut self, y: f64) {
        if y.is_finite()
            && let Some(before) = self.last[self.next].replace(y)
        {
            self.squares = (self.squares + (y - before) * (y - before)).min(f64::MAX);
            self.changes += 1;
        }
        self.next = (self.next + 1) % self.last.len();
    }
}

impl LocalModel for SeasonalNaive {
    type Fitted = FittedSeasonalNaive;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedSeasonalNaive> {
        let m = season_of(self.season_length, &series);
        let mut fitted = FittedSeasonalNaive { last: vec![None; m], next: 0, changes: 0, squares: 0.0 };
        let mut inside = Vec::new();
        for y in series.y {
            if in_sample.is_some() {
                inside.push(fitted.last[fitted.next].unwrap_or(f64::NAN));
            }
            fitted.add(*y);
        }
        if let Some(out) = in_sample {
            *out = inside;
        }
        if fitted.last.iter().all(Option::is_none) {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 1, got: 0 });
        }
        Ok(fitted)
    }
}

impl FittedSeries for FittedSeasonalNaive {
    fn predict(&self, horizon: usize) -> Steps {
        let m = self.last.len();
        let variance = self.squares / self.changes.max(1) as f64;
        let (sum, n) = self.last.iter().flatten().fold((0.0, 0), |(s, n), v| (s + v, n + 1));
        let mean = sum / f64::from(n.max(1));
        Steps::of(horizon, |h| {
            let seasons = (h - 1) / m + 1;
            (self.last[(self.next + h - 1) % m].unwrap_or(mean), (variance * seasons as f64).sqrt())
        })
    }

    fn update(&mut self, y: &[f64]) {
        y.iter().for_each(|v| self.add(*v));
    }
}
