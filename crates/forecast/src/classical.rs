//! Classical decomposition: a centred moving average, the mean season about it, and what is left.
//!
//! The trend is the moving average over one season; the season is the mean of each step over what the trend leaves
//! (added or as a factor), the same in every year; the remainder is the rest (Hyndman & Athanasopoulos, section 3.4).
//! To forecast, the season is repeated and the series without it carried on by the method `rest`. `auto` multiplies
//! where every observation is above zero and the factors leave a smaller relative remainder. A series without two whole
//! seasons is carried on by `rest` alone. Unknown observations are interpolated.

use crate::local::{
    self, FittedSeries, LocalModel, SEASON_LENGTH, Steps, cut_off, filled_at_least, season_of,
};
use crate::seasonality::{FittedAdjusted, Pattern, Rest, centred_average, classical_pattern};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "classical",
    summary: "Classical seasonal decomposition; the season repeated, the rest carried on by a method of its own.",
    summary_zh: "经典季节分解：季节成分重复，其余部分另行预测。",
    source: "Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 3.4",
    params: &[
        SEASON_LENGTH,
        ParamSpec {
            name: "season",
            kind: ParamKind::Choice(&["auto", "additive", "multiplicative"]),
            default: "auto",
            summary: "whether the season is added or multiplied",
        },
        REST,
    ],
    needs: Needs { min_observations: 4, min_seasons: 2, positive: false, uses_covariates: false },
    build: local::build::<Classical>,
    load: local::load::<Classical>,
};

/// The method for the series without its season.
pub(crate) const REST: ParamSpec = ParamSpec {
    name: "rest",
    kind: ParamKind::Choice(Rest::WORDS),
    default: "theta",
    summary: "the method that carries on trend and remainder",
};

/// How the season is joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeasonKind {
    /// By the size of the remainder.
    #[default]
    Auto,
    /// Added.
    Additive,
    /// Multiplied; added where an observation is not above zero.
    Multiplicative,
}

/// Classical decomposition as a forecaster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Classical {
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// How the season is joined.
    pub season: SeasonKind,
    /// The method for trend and remainder.
    pub rest: Rest,
}

/// The parts of a series. Added up, or multiplied, they give it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposition {
    /// The moving average; NaN for half a season at both ends.
    pub trend: Vec<f64>,
    /// The season of each observation.
    pub season: Vec<f64>,
    /// What is left; NaN where the trend is.
    pub remainder: Vec<f64>,
}

/// Splits a series with season `m` into trend, season and remainder.
///
/// Errors: fewer than two seasons, a value that is not finite, or factors asked of values that are not above zero.
///
/// ```
/// use tradewind_forecast::classical::decompose;
/// let y: Vec<f64> = (0..24).map(|t| t as f64 + [3.0, -1.0, -2.0][t % 3]).collect();
/// let parts = decompose(&y, 3, false).unwrap();
/// assert!((parts.season[0] - 3.0).abs() < 1e-9 && (parts.trend[5] - 5.0).abs() < 1e-9);
/// ```
pub fn decompose(y: &[f64], m: usize, multiplicative: bool) -> Result<Decomposition> {
    if m < 2 || y.len() < 2 * m {
        return Err(Error::NotEnoughData {
            what: "classical decomposition".into(),
            needed: 2 * m.max(2),
            got: y.len(),
        });
    }
    if y.iter().any(|v| !v.is_finite() || (multiplicative && *v <= 0.0)) {
        let rule = if multiplicative { "above zero" } else { "known" };
        return Err(Error::Invalid(format!("classical decomposition wants every observation {rule}")));
    }
    let pattern = classical_pattern(y, m, multiplicative)
        .ok_or_else(|| Error::Invalid("the season's factors are not above one hundredth".into()))?;
    let trend = centred_average(y, m);
    let season: Vec<f64> = (0..y.len()).map(|t| pattern.at(t)).collect();
    let remainder = (0..y.len()).map(|t| {
        let z = pattern.remove(y[t], t);
        if multiplicative { z / trend[t] } else { z - trend[t] }
    });
    Ok(Decomposition { remainder: remainder.collect(), trend, season })
}

impl Classical {
    fn pattern(&self, y: &[f64], m: usize) -> Pattern {
        let additions = || classical_pattern(y, m, false);
        let factors = || classical_pattern(y, m, true).filter(|_| y.iter().all(|v| *v > 0.0));
        // Both remainders in the unit of the series, so that they can be compared.
        let roughness = |p: &Pattern| {
            let trend = centred_average(y, m);
            (0..y.len())
                .filter(|t| trend[*t].is_finite())
                .map(|t| (y[t] - p.apply(trend[t], t)).abs())
                .sum::<f64>()
        };
        match self.season {
            SeasonKind::Additive => additions(),
            SeasonKind::Multiplicative => factors().or_else(additions),
            SeasonKind::Auto => match (factors(), additions()) {
                (Some(f), Some(a)) => Some(if roughness(&f) <= roughness(&a) { f } else { a }),
                (f, a) => f.or(a),
            },
        }
        .unwrap_or_else(Pattern::none)
    }
}

/// What a decomposition keeps: the season's pattern and the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decomposed(pub(crate) FittedAdjusted);

impl FittedSeries for Decomposed {
    fn predict(&self, horizon: usize) -> Steps {
        self.0.predict(horizon)
    }

    fn update(&mut self, y: &[f64]) {
        self.0.update(y);
    }
}

impl LocalModel for Classical {
    type Fitted = Decomposed;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<Decomposed> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let pattern = self.pattern(&y, season_of(self.season_length, &series));
        let z: Vec<f64> = y.iter().enumerate().map(|(t, v)| pattern.remove(*v, t)).collect();
        let in_sample = cut_off(in_sample, first);
        let season = pattern.clone();
        Ok(Decomposed(FittedAdjusted::fit(&z, pattern, self.rest, in_sample, |v, t| season.apply(v, t))))
    }
}
