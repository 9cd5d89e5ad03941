//! The method of Holt and Winters: level, slope and season that follow the series.
//!
//! The season is added, or multiplied where everything is above zero; `auto` fits both and takes the one of the lower
//! corrected AIC. The trend may be absent, linear or damped. Recursions as in Winters (1960) and Hyndman, Koehler, Ord &
//! Snyder (2008); weights minimise the squared errors one step ahead. A series without two whole seasons (and four
//! observations more) is fitted without season. Unknown observations are interpolated.
//!
//! Seasons up to 60 steps get their starting states by least squares; longer ones keep those of classical
//! decomposition.

use crate::ets::{self, Given, SeasonForm, TrendForm};
use crate::holt::{BETA, PHI};
use crate::local::{self, LocalModel, SEASON_LENGTH, cut_off, filled_at_least, season_of};
use crate::ses::{ALPHA, Smoothed};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "holt_winters",
    summary: "Level, trend and season that follow the series; season added or multiplied, trend damped.",
    summary_zh: "霍尔特-温特斯：水平、趋势、季节三重平滑，加法或乘法季节，可阻尼。",
    source: "Winters (1960), Management Science 6; Hyndman, Koehler, Ord & Snyder (2008)",
    params: &[
        SEASON_LENGTH,
        ParamSpec {
            name: "season",
            kind: ParamKind::Choice(&["auto", "additive", "multiplicative"]),
            default: "auto",
            summary: "whether the season is added or multiplied; auto by corrected AIC",
        },
        ParamSpec {
            name: "trend",
            kind: ParamKind::Choice(&["none", "additive", "damped", "auto"]),
            default: "damped",
            summary: "the form of the trend; auto by corrected AIC",
        },
        ALPHA,
        BETA,
        ParamSpec {
            name: "gamma",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "",
            summary: "how fast the season follows; estimated when not given",
        },
        PHI,
    ],
    needs: Needs { min_observations: 5, min_seasons: 2, positive: false, uses_covariates: false },
    build: local::build::<HoltWinters>,
    load: local::load::<HoltWinters>,
};

/// How the season is joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeasonChoice {
    /// By corrected AIC.
    #[default]
    Auto,
    /// Added.
    Additive,
    /// Multiplied; added where an observation is not above zero.
    Multiplicative,
}

/// The form of the trend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendChoice {
    /// None.
    None,
    /// A line.
    Additive,
    /// A line that flattens.
    #[default]
    Damped,
    /// By corrected AIC.
    Auto,
}

/// The method of Holt and Winters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HoltWinters {
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// How the season is joined.
    pub season: SeasonChoice,
    /// The form of the trend.
    pub trend: TrendChoice,
    /// How fast the level follows, 0 to 1; estimated when `None`.
    pub alpha: Option<f64>,
    /// Share of a change of the level that the slope takes up, 0 to 1; estimated when `None`.
    pub beta: Option<f64>,
    /// How fast the season follows, 0 to 1; estimated when `None`.
    pub gamma: Option<f64>,
    /// What a damped slope keeps in each step, 0 to 1; estimated when `None`.
    pub phi: Option<f64>,
}

impl LocalModel for HoltWinters {
    type Fitted = Smoothed;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<Smoothed> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let in_sample = cut_off(in_sample, first);
        let m = season_of(self.season_length, &series);
        let trends: &[TrendForm] = match self.trend {
            TrendChoice::None => &[TrendForm::None],
            TrendChoice::Additive => &[TrendForm::Additive],
            TrendChoice::Damped => &[TrendForm::Damped],
            TrendChoice::Auto => &[TrendForm::None, TrendForm::Additive, TrendForm::Damped],
        };
        let positive = y.iter().all(|v| *v > 0.0);
        let seasons: &[SeasonForm] = match self.season {
            _ if m < 2 || y.len() < 2 * m + 4 => &[SeasonForm::None],
            SeasonChoice::Auto if positive => &[SeasonForm::Additive, SeasonForm::Multiplicative],
            SeasonChoice::Multiplicative if positive => &[SeasonForm::Multiplicative],
            _ => &[SeasonForm::Additive],
        };
        let given = Given { alpha: self.alpha, beta: self.beta, gamma: self.gamma, phi: self.phi };
        Ok(Smoothed(ets::fit_least_squares(&y, trends, seasons, m, given, in_sample)))
    }
}
