//! Holt's method: a level and a slope that follow the series, the slope damped if asked.
//!
//! `ŷ(n+h) = ℓ + (φ + … + φ^h) b` with `φ = 1` for the plain line; recursions and standard deviations as told in
//! Hyndman, Koehler, Ord & Snyder (2008), table 6.1, classes A,A and A,Ad (Holt 1957; Gardner & McKenzie 1985). Weights minimise
//! the squared errors one step ahead; the starting states are solved by least squares. Unknown observations are
//! interpolated.

use crate::ets::{self, Given, SeasonForm, TrendForm};
use crate::local::{self, LocalModel, cut_off, filled_at_least};
use crate::ses::{ALPHA, Smoothed};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "holt",
    summary: "Holt's linear trend: a level and a slope that follow the series, damped if asked.",
    summary_zh: "霍尔特线性趋势：随数据变化的水平与斜率，可选阻尼。",
    source: "Holt (1957), reprinted in International Journal of Forecasting 20 (2004); Gardner & McKenzie (1985)",
    params: &[
        ParamSpec {
            name: "damped",
            kind: ParamKind::Flag,
            default: "false",
            summary: "whether the slope fades out; safer over long horizons",
        },
        ALPHA,
        BETA,
        PHI,
    ],
    needs: Needs { min_observations: 5, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Holt>,
    load: local::load::<Holt>,
};

/// How fast the slope follows the level.
pub(crate) const BETA: ParamSpec = ParamSpec {
    name: "beta",
    kind: ParamKind::Number { min: 0.0, max: 1.0 },
    default: "",
    summary: "share of each change of the level that the slope takes up; estimated when not given",
};

/// The damping.
pub(crate) const PHI: ParamSpec = ParamSpec {
    name: "phi",
    kind: ParamKind::Number { min: 0.0, max: 1.0 },
    default: "",
    summary: "what a damped slope keeps in each step; estimated between 0.8 and 0.98 when not given",
};

/// Holt's method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holt {
    /// Whether the slope fades out.
    pub damped: bool,
    /// How fast the level follows, 0 to 1; estimated when `None`.
    pub alpha: Option<f64>,
    /// Share of a change of the level that the slope takes up, 0 to 1; estimated when `None`.
    pub beta: Option<f64>,
    /// What a damped slope keeps in each step, 0 to 1; estimated when `None`.
    pub phi: Option<f64>,
}

impl LocalModel for Holt {
    type Fitted = Smoothed;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<Smoothed> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let in_sample = cut_off(in_sample, first);
        let trend = if self.damped { TrendForm::Damped } else { TrendForm::Additive };
        let given = Given { alpha: self.alpha, beta: self.beta, gamma: None, phi: self.phi };
        Ok(Smoothed(ets::fit_least_squares(&y, &[trend], &[SeasonForm::None], 1, given, in_sample)))
    }
}
