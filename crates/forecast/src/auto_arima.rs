//! ARIMA with orders found by itself.
//!
//! Whether to difference over the season is decided by the season's strength (Wang, Smith & Hyndman 2006), how often to
//! difference by the test of Kwiatkowski, Phillips, Schmidt & Shin (1992) at 5 %. The other orders are those of the
//! lowest corrected AIC that the stepwise search of Hyndman & Khandakar (2008, *Journal of Statistical Software* 27)
//! meets: from four plain models to the neighbours of the best one, until none is better. All are compared by their
//! exact likelihood, each begun at the best one's coefficients; see [`crate::arima`] for the model.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `d`, `seasonal_d` | by tests | differences | 0 to 2, 0 to 1 |
//! | `p_max`, `q_max` | 5, 5 | most lags | 0 to 12 |
//! | `seasonal_p_max`, `seasonal_q_max` | 2, 2 | most lags in seasons | 0 to 3 |
//! | `constant` | true | whether a constant is tried; never after two differences | |
//! | `criterion` | `aicc` | what is minimised | aicc, aic, bic |
//!
//! Unknown observations are interpolated while orders are compared, and left out exactly in the model that is kept.

use crate::arima::search::{self, Limits};
use crate::arima::{FittedArima, Known};
use crate::local::{self, LocalModel, SEASON_LENGTH, cut_off, season_of};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

pub use crate::arima::search::Criterion;

const fn at_most(name: &'static str, max: i64, default: &'static str, summary: &'static str) -> ParamSpec {
    ParamSpec { name, kind: ParamKind::Integer { min: 0, max }, default, summary }
}

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "auto_arima",
    summary: "ARIMA with a season; orders by tests and stepwise search, exact likelihood.",
    summary_zh: "自动定阶的（季节性）ARIMA：检验定差分，逐步搜索定阶，精确极大似然估计。",
    source: "Hyndman & Khandakar (2008), Journal of Statistical Software 27",
    params: &[
        SEASON_LENGTH,
        at_most("d", 2, "", "differences; by a test of stationarity when not given"),
        at_most("seasonal_d", 1, "", "differences over a season; by the season's strength when not given"),
        at_most("p_max", 12, "5", "most autoregressive lags"),
        at_most("q_max", 12, "5", "most moving average lags"),
        at_most("seasonal_p_max", 3, "2", "most autoregressive lags in seasons"),
        at_most("seasonal_q_max", 3, "2", "most moving average lags in seasons"),
        ParamSpec {
            name: "constant",
            kind: ParamKind::Flag,
            default: "true",
            summary: "whether a mean or drift is tried",
        },
        ParamSpec {
            name: "criterion",
            kind: ParamKind::Choice(&["aicc", "aic", "bic"]),
            default: "aicc",
            summary: "what is minimised",
        },
    ],
    needs: Needs { min_observations: 5, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<AutoArima>,
    load: local::load::<AutoArima>,
};

/// ARIMA with orders found by itself, as the table above tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoArima {
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// Differences; by a test when `None`.
    pub d: Option<usize>,
    /// Differences over a season; by the season's strength when `None`.
    pub seasonal_d: Option<usize>,
    /// Most autoregressive lags.
    pub p_max: usize,
    /// Most moving average lags.
    pub q_max: usize,
    /// Most autoregressive lags in seasons.
    pub seasonal_p_max: usize,
    /// Most moving average lags in seasons.
    pub seasonal_q_max: usize,
    /// Whether a constant is tried.
    pub constant: bool,
    /// What is minimised.
    pub criterion: Criterion,
}

impl Default for AutoArima {
    fn default() -> Self {
        Self {
            season_length: None,
            d: None,
            seasonal_d: None,
            p_max: 5,
            q_max: 5,
            seasonal_p_max: 2,
            seasonal_q_max: 2,
            constant: true,
            criterion: Criterion::Aicc,
        }
    }
}

impl LocalModel for AutoArima {
    type Fitted = FittedArima;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedArima> {
        let known = Known::of(series.y)?;
        let needed = ENTRY.needs.min_observations;
        if known.y.len() < needed {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed, got: known.y.len() });
        }
        let limits = Limits {
            d: self.d,
            seasonal_d: self.seasonal_d,
            p_max: self.p_max,
            q_max: self.q_max,
            seasonal_p_max: self.seasonal_p_max,
            seasonal_q_max: self.seasonal_q_max,
            constant: self.constant,
            criterion: self.criterion,
        };
        let first = known.first();
        search::fit(&known, season_of(self.season_length, &series), &limits, cut_off(in_sample, first))
    }
}
