//! Simple exponential smoothing: a level that follows the series.
//!
//! `ℓ(t) = α y(t) + (1−α) ℓ(t−1)`, `ŷ(n+h) = ℓ(n)`, with standard deviation `σ √(1 + (h−1) α²)` (Brown 1959; Hyndman,
//! Koehler, Ord & Snyder 2008, chapter 2). `α` (0.0001 to 0.9999) minimises the squared errors one step ahead; the level
//! before the first observation is solved by least squares. Unknown observations are interpolated.

use crate::ets::{self, FittedForm, Given, SeasonForm, TrendForm};
use crate::local::{self, FittedSeries, LocalModel, Steps, cut_off, filled_at_least};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "ses",
    summary: "Simple exponential smoothing: a level that follows the series.",
    summary_zh: "简单指数平滑：随数据变化的水平。",
    source: "Hyndman, Koehler, Ord & Snyder (2008), Forecasting with Exponential Smoothing, chapter 2",
    params: &[ALPHA],
    needs: Needs { min_observations: 3, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Ses>,
    load: local::load::<Ses>,
};

/// How fast the level follows; also a parameter of the methods with trend and season.
pub(crate) const ALPHA: ParamSpec = ParamSpec {
    name: "alpha",
    kind: ParamKind::Number { min: 0.0, max: 1.0 },
    default: "",
    summary: "how fast the level follows: 0 never, 1 at once; estimated when not given",
};

/// Simple exponential smoothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ses {
    /// How fast the level follows, 0 to 1; estimated when `None`.
    pub alpha: Option<f64>,
}

/// What the methods of exponential smoothing keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Smoothed(pub(crate) FittedForm);

impl FittedSeries for Smoothed {
    fn predict(&self, horizon: usize) -> Steps {
        self.0.predict(horizon)
    }

    fn update(&mut self, y: &[f64]) {
        self.0.update(y);
    }
}

impl LocalModel for Ses {
    type Fitted = Smoothed;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<Smoothed> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let in_sample = cut_off(in_sample, first);
        let given = Given { alpha: self.alpha, ..Given::default() };
        Ok(Smoothed(ets::fit_least_squares(&y, &[TrendForm::None], &[SeasonForm::None], 1, given, in_sample)))
    }
}
