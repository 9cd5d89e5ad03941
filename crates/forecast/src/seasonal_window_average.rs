//! The mean of the same place in the last few seasons. Steadier than the last season alone, where noise is large.
//!
//! `ŷ(n+h) = (1/k) Σ y(n+h−m(⌈h/m⌉+i))`, `i = 0 … k−1`, over those of the `k` values that are known (statsforecast's
//! `SeasonalWindowAverage`). Its standard deviation is that of one-step errors, the same at every step: a season ahead
//! is no less known than a step ahead, since nothing is carried forward.

use crate::local::{self, FittedSeries, LocalModel, SEASON_LENGTH, Steps, season_of};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "seasonal_window_average",
    summary: "The mean of the same place in the last few seasons.",
    summary_zh: "最近几个季节周期同一位置的平均值。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2; statsforecast",
    params: &[
        SEASON_LENGTH,
        ParamSpec {
            name: "window_seasons",
            kind: ParamKind::Integer { min: 1, max: 1_000 },
            default: "3",
            summary: "how many last seasons are averaged",
        },
    ],
    needs: Needs { min_observations: 1, min_seasons: 1, positive: false, uses_covariates: false },
    build: local::build::<SeasonalWindowAverage>,
    load: local::load::<SeasonalWindowAverage>,
};

/// The seasonal window average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeasonalWindowAverage {
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// Seasons averaged.
    pub window_seasons: usize,
}

impl Default for SeasonalWindowAverage {
    fn default() -> Self {
        Self { season_length: None, window_seasons: 3 }
    }
}

/// What [`SeasonalWindowAverage`] keeps: the last values of every place in the season.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedSeasonalWindowAverage {
    window: usize,
    /// By place in the season, the latest last.
    places: Vec<VecDeque<f64>>,
    next: usize,
    errors: u64,
    squares: f64,
}

impl FittedSeasonalWindowAverage {
    fn at(&self, place: usize) -> Option<f64> {
        let known = &self.places[place];
        // Divided first, so that the largest numbers can be averaged.
        (!known.is_empty()).then(|| known.iter().map(|v| v / known.len() as f64).sum())
    }

    /// Takes in a value, and gives what was said of it.
    fn add(&mut self, y: f64) -> Option<f64> {
        let said = self.at(self.next);
        if y.is_finite() {
            if let Some(said) = said {
                self.squares = (self.squares + (y - said) * (y - said)).min(f64::MAX);
                self.errors += 1;
            }
            let known = &mut self.places[self.next];
            known.push_back(y);
            if known.len() > self.window {
                known.pop_front();
            }
        }
        self.next = (self.next + 1) % self.places.len();
        said
    }
}

impl LocalModel for SeasonalWindowAverage {
    type Fitted = FittedSeasonalWindowAverage;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(
        &self,
        series: Series<'_>,
        in_sample: Option<&mut Vec<f64>>,
    ) -> Result<FittedSeasonalWindowAverage> {
        let m = season_of(self.season_length, &series);
        let mut fitted = FittedSeasonalWindowAverage {
            window: self.window_seasons.max(1),
            places: vec![VecDeque::new(); m],
            next: 0,
            errors: 0,
            squares: 0.0,
        };
        let said: Vec<f64> = series.y.iter().map(|y| fitted.add(*y).unwrap_or(f64::NAN)).collect();
        if let Some(out) = in_sample {
            *out = said;
        }
        if fitted.places.iter().all(VecDeque::is_empty) {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 1, got: 0 });
        }
        Ok(fitted)
    }
}

impl FittedSeries for FittedSeasonalWindowAverage {
    fn predict(&self, horizon: usize) -> Steps {
        let m = self.places.len();
        let sd = (self.squares / self.errors.max(1) as f64).sqrt();
        let said: Vec<Option<f64>> = (0..m).map(|place| self.at(place)).collect();
        let known = said.iter().flatten().count().max(1) as f64;
        let mean: f64 = said.iter().flatten().map(|v| v / known).sum();
        Steps::of(horizon, |h| (said[(self.next + h - 1) % m].unwrap_or(mean), sd))
    }

    fn update(&mut self, y: &[f64]) {
        y.iter().for_each(|v| {
            self.add(*v);
        });
    }
}
