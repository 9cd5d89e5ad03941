//! Croston's method without its bias, after Syntetos and Boylan: for slow sellers.
//!
//! The forecast of [`croston`](crate::croston) is multiplied by `1 − α/2`, with `α` the smoothing of the intervals: the
//! expectation of `1/p` is larger than one over the expectation of `p`, and this takes most of the difference off
//! (Syntetos & Boylan 2005, *International Journal of Forecasting* 21). Everything else is as there.

use crate::croston::{ALPHA, FittedCroston, OPTIMIZE};
use crate::local::{self, LocalModel};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "sba",
    summary: "Croston's method without its upward bias (Syntetos-Boylan approximation).",
    summary_zh: "SBA 法（间歇需求）：修正 Croston 法的高估偏差。",
    source: "Syntetos & Boylan (2005), International Journal of Forecasting 21",
    params: &[ALPHA, OPTIMIZE],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Sba>,
    load: local::load::<Sba>,
};

/// The Syntetos-Boylan approximation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sba {
    /// How fast sizes and intervals follow, 0.001 to 1.
    pub alpha: f64,
    /// Whether alpha is chosen between 0.1 and 0.3.
    pub optimize: bool,
}

impl Default for Sba {
    fn default() -> Self {
        Self { alpha: 0.1, optimize: false }
    }
}

impl LocalModel for Sba {
    type Fitted = FittedCroston;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedCroston> {
        FittedCroston::fit(&ENTRY, series.y, self.alpha, self.optimize, |alpha| 1.0 - alpha / 2.0, in_sample)
    }
}
