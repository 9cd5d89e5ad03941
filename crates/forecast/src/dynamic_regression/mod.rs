//! Dynamic regression: what outside columns explain, and any other method for the rest.
//!
//! ```text
//! y(t) = Σ βⱼ xⱼ(t) + n(t),   n(t) by the method `errors`
//! ```
//!
//! The columns `x` are those known ahead (prices, promotions, weather), a country's holidays and festivals, and waves
//! for a long season that the method of the errors cannot carry itself (a year of days or weeks, a week of hours). So
//! every method of one series takes in regressors; with `auto_arima` for the errors it is a regression with ARIMA errors
//! (ARIMAX, Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., chapter 10), with waves a
//! dynamic harmonic regression.
//!
//! Coefficients are found for each series by least squares of what an autoregression leaves (of an order chosen by AIC, in
//! turn until both settle), of differences where the errors wander and of levels else, with a small ridge penalty; how
//! many waves there are is chosen by AICc on the same.
//! A column that hardly ever moved in a series' history has no effect on it.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `errors` | `ets` | the method of what the columns leave | the methods listed |
//! | `season_length` | by frequency | season of the method of the errors | 1 to 10000 |
//! | `long_season` | by frequency | steps of a season told by waves, may be a fraction; 0 for none | 0 to 1e6 |
//! | `harmonics` | by AICc | pairs of waves | 0 to 50 |
//! | `calendar` | `plain` | days that count: none, plain (weekends in weeks and months), a country's holidays and festivals | none, plain, CN, US, GB, DE, JP, FR |
//! | `penalty` | 1 | ridge penalty on coefficients of columns in units of their spread | 0 to 1e9 |
//! | `transform` | `none` | effects add (none) or multiply (log1p, for values that are never negative) | none, log1p |
//!
//! Intervals are those of the method of the errors: that the coefficients are uncertain is not in them.
//!
//! ```
//! use tradewind_core::{Ahead, Covariate, Freq, Panel, Run};
//! use tradewind_forecast::dynamic_regression::DynamicRegression;
//! // A promotion every ninth day sells 30 more; one is planned for the second day ahead.
//! let on = |t: usize| f64::from(u8::from(t % 9 == 4));
//! let y: Vec<f64> = (0..90).map(|t| 50.0 + 30.0 * on(t) + (t * 7 % 5) as f64).collect();
//! let plan = Covariate { name: "promo".into(), known_ahead: true, offsets: vec![0, 97], values: (0..97).map(on).collect() };
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap().with_covariate(plan).unwrap();
//! let run = Run::new(1);
//! let fitted = DynamicRegression::default().fit_panel(&run, &panel).unwrap();
//! let ahead = Ahead::new(7, &[]);
//! let parts = fitted.explain(&ahead, 0);
//! assert!((parts[0].1[4] - parts[0].1[3] - 30.0).abs() < 3.0);
//! ```

mod design;
mod fitted;
mod least_squares;

use crate::entry;
use crate::local::{SEASON_LENGTH, filled, map_series, season_of};
use crate::regression::CALENDAR;
use design::Design;
pub use fitted::FittedDynamicRegression;
use fitted::Effects;
use least_squares::Regression;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tradewind_core::freq::Unit;
use tradewind_core::{
    Error, FittedForecaster, Forecaster, ForecasterEntry, Freq, Needs, Panel, ParamKind, ParamSpec, Params, Result, Run,
};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "dynamic_regression",
    summary: "Regressors, holidays and long seasons for any method: a regression whose errors that method forecasts.",
    summary_zh: "动态回归：为任意单序列方法加入回归变量、节假日与长季节，残差由该方法预测。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., ch. 10; Young, Pedregal & Tych (1999)",
    params: &[
        ParamSpec {
            name: "errors",
            kind: ParamKind::Choice(ERRORS),
            default: "ets",
            summary: "the method of what the columns leave",
        },
        SEASON_LENGTH,
        ParamSpec {
            name: "long_season",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "",
            summary: "steps of a season told by waves; a year of days or weeks, a week of hours when not given; 0 for none",
        },
        ParamSpec {
            name: "harmonics",
            kind: ParamKind::Integer { min: 0, max: 50 },
            default: "",
            summary: "pairs of waves; by AICc when not given",
        },
        CALENDAR,
        ParamSpec {
            name: "penalty",
            kind: ParamKind::Number { min: 0.0, max: 1e9 },
            default: "1",
            summary: "ridge penalty on coefficients of columns in units of their spread",
        },
        ParamSpec {
            name: "transform",
            kind: ParamKind::Choice(&["none", "log1p"]),
            default: "none",
            summary: "whether effects add (none) or multiply (log1p)",
        },
    ],
    needs: Needs { min_observations: 8, min_seasons: 0, positive: false, uses_covariates: true },
    build: |params| Ok(Box::new(ENTRY.read::<DynamicRegression>(params)?)),
    load: FittedDynamicRegression::load,
};

/// Methods that look at one series and at nothing else.
const ERRORS: &[&str] = &[
    "ets",
    "auto_arima",
    "arima",
    "theta",
    "ces",
    "stl",
    "mstl",
    "autoregression",
    "holt_winters",
    "holt",
    "ses",
    "seasonal_naive",
    "naive",
    "drift",
    "mean",
    "moving_average",
];

/// The most pairs of waves that are tried.
const HARMONICS_MAX: usize = 10;
/// How often a long season must have been seen for waves.
const LONG_SEASONS_MIN: f64 = 1.5;
/// Seasons of more steps are told by waves, not by the method of the errors.
const SEASON_MAX: usize = 24;

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DynamicRegression {
    /// The method of the errors.
    pub errors: String,
    /// Its season.
    pub season_length: Option<usize>,
    /// Steps of the season told by waves; 0 for none.
    pub long_season: Option<f64>,
    /// Pairs of waves.
    pub harmonics: Option<usize>,
    /// Days that count.
    pub calendar: String,
    /// Ridge penalty.
    pub penalty: f64,
    /// Whether effects add or multiply.
    pub transform: String,
}

impl Default for DynamicRegression {
    fn default() -> Self {
        Self {
            errors: "ets".into(),
            season_length: None,
            long_season: None,
            harmonics: None,
            calendar: "plain".into(),
            penalty: 1.0,
            transform: "none".into(),
        }
    }
}

impl DynamicRegression {
    /// The season of the errors, and that of the waves (0: none).
    fn seasons(&self, panel: &Panel) -> (usize, f64) {
        let own = panel.iter().next().map_or(1, |s| season_of(self.season_length, &s));
        let long = self.long_season.unwrap_or_else(|| usual_long_season(panel.freq(), own));
        let told_twice = self.season_length.is_none() && (own > SEASON_MAX || (own as f64 - long).abs() < 1.0);
        if told_twice && long > 0.0 { (1, long) } else { (own, long) }
    }

    /// Learns from the panel.
    ///
    /// # Errors
    /// A series with negative values where effects shall multiply; what the method of the errors refuses.
    pub fn fit_panel(&self, run: &Run, panel: &Panel) -> Result<FittedDynamicRegression> {
        let log = self.transform == "log1p";
        if let Some(s) = panel.iter().find(|s| log && !crate::local::never_negative(s.y)) {
            return Err(Error::Invalid(format!(
                "series `{}` has negative values, whose logarithm dynamic_regression cannot take; choose transform none",
                s.id
            )));
        }
        let (season, long) = self.seasons(panel);
        let design = Design::new(panel, long, &self.calendar)?;
        let effects = map_series(run, ENTRY.name, panel.len(), |i| self.effects(&design, panel, i, season, log))?;
        let mut rest = Vec::with_capacity(panel.len());
        for (i, e) in effects.iter().enumerate() {
            let s = panel.series(i);
            let told = e.told(&design, panel, i, None, 0..s.y.len());
            let left = s.y.iter().zip(told).map(|(y, t)| transformed(*y, log) - t).collect();
            rest.push((s.id.to_owned(), s.start, left));
        }
        let rest = Panel::from_series(panel.freq(), rest)?;
        let method = entry(&self.errors)?;
        let mut params = Params::new();
        if method.params.iter().any(|p| p.name == SEASON_LENGTH.name) {
            params.insert(SEASON_LENGTH.name.into(), json!(season));
        }
        let errors = (method.build)(&params)?.fit(run, &rest)?;
        FittedDynamicRegression::new(self.clone(), design, panel, effects, errors)
    }

    /// The coefficients of one series.
    fn effects(&self, design: &Design, panel: &Panel, i: usize, season: usize, log: bool) -> Effects {
        let s = panel.series(i);
        let Some((first, y)) = filled(s.y) else { return Effects::none() };
        let y: Vec<f64> = y.iter().map(|v| transformed(*v, log)).collect();
        let known: Vec<bool> = s.y[first..].iter().map(|v| v.is_finite()).collect();
        let columns = design.columns(panel, i, None, first..s.y.len());
        let seen = y.len() as f64 / design.long_season.max(1e-9);
        let most = match self.harmonics {
            _ if design.long_season <= 1.0 || seen < LONG_SEASONS_MIN => 0,
            Some(k) => k,
            None => HARMONICS_MAX,
        };
        let most = most.min((design.long_season / 2.0) as usize);
        let waves = design.waves(s.start, first..s.y.len(), most);
        let all: Vec<&[f64]> = columns.iter().chain(&waves).map(Vec::as_slice).collect();
        let differenced = Regression::wanders(&y, &known, &all, self.penalty);
        let least = if self.harmonics.is_some() { most } else { 0 };
        // Twice the waves may tell nothing before they do, as with a season that has two humps.
        let mut best: Option<(f64, Effects)> = None;
        let mut worse = 0;
        for k in least..=most {
            let x: Vec<&[f64]> = columns.iter().map(Vec::as_slice).chain(waves.iter().take(2 * k).map(Vec::as_slice)).collect();
            let Some(found) = Regression { penalty: self.penalty, season, differenced }.fit(&y, &known, &x) else { continue };
            if best.as_ref().is_none_or(|b| found.aicc < b.0) {
                let (own, of_waves) = found.beta.split_at(columns.len());
                best = Some((found.aicc, Effects::new(own, of_waves, &found.means[..columns.len()])));
                worse = 0;
            } else {
                worse += 1;
                if worse > 2 {
                    break;
                }
            }
        }
        best.map_or_else(Effects::none, |b| b.1)
    }
}

/// The season told by waves where none is given: a year of days or weeks, a week of hours.
fn usual_long_season(freq: Freq, own: usize) -> f64 {
    let year = freq.steps_per_year().unwrap_or(0.0);
    match freq.unit {
        Unit::Day | Unit::Week if year > 2.0 => year,
        Unit::Hour | Unit::Minute => 7.0 * own as f64,
        _ => 0.0,
    }
}

fn transformed(y: f64, log: bool) -> f64 {
    if log { y.ln_1p() } else { y }
}

impl Forecaster for DynamicRegression {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        Ok(Box::new(self.fit_panel(run, panel)?))
    }
}
