//! Linear regression on features, learnt across all series.
//!
//! `ŷ(t+1) = s · (β₀ + β · x(t))`, where `x` are the features of [`crate::features`] (recent values, rolling means, the
//! same phase of past seasons, calendar, columns known ahead), `s` the series' scale and `β` the least squares with a
//! small penalty `penalty · |β|²`, which keeps lags that say the same thing from taking each other's part.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `calendar` | `plain` | calendar features | none, plain, CN, US, GB, DE, JP, FR |
//! | `penalty` | 1 | weight of the penalty against the sum of squares | 0 to 1e9 |
//!
//! Source: Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., chapter 7; Hoerl & Kennard (1970)
//! for the penalty.

use crate::local::SEASON_LENGTH;
use crate::regression::{self, CALENDAR, TableModel};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Run};
use tradewind_learn::linear::{FittedRidge, Ridge};
use tradewind_learn::{Dataset, Matrix};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "linear_regression",
    summary: "A line through past values, season, calendar, prices and promotions, learnt across all series.",
    summary_zh: "线性回归：以历史值、季节、日历、价格与促销为特征，跨序列学习。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., chapter 7",
    params: &[SEASON_LENGTH, CALENDAR, PENALTY],
    needs: Needs { min_observations: 16, min_seasons: 2, positive: false, uses_covariates: true },
    build: regression::build::<LinearRegression>,
    load: regression::load::<LinearRegression>,
};

/// The parameter that all regressions share.
pub(crate) const PENALTY: ParamSpec = ParamSpec {
    name: "penalty",
    kind: ParamKind::Number { min: 0.0, max: 1e9 },
    default: "1",
    summary: "weight of the penalty on coefficients against the sum of squares",
};

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinearRegression {
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Calendar features.
    pub calendar: String,
    /// Weight of the penalty.
    pub penalty: f64,
}

impl Default for LinearRegression {
    fn default() -> Self {
        Self { season_length: None, calendar: "plain".into(), penalty: 1.0 }
    }
}

impl TableModel for LinearRegression {
    type Fitted = FittedRidge;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn season_length(&self) -> Option<usize> {
        self.season_length
    }

    fn calendar(&self) -> &str {
        &self.calendar
    }

    fn learn(&self, run: &Run, data: &Dataset) -> Result<FittedRidge> {
        Ridge { alpha: self.penalty }.fit(run, data)
    }

    fn answer(fitted: &FittedRidge, rows: &Matrix) -> Result<Vec<f64>> {
        fitted.predict(rows)
    }

    fn n_columns(fitted: &FittedRidge) -> usize {
        fitted.coef().len()
    }
}
