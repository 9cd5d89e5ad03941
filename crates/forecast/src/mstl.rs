//! MSTL: several seasons taken out one after the other by STL.
//!
//! The seasons are found by turns, the shortest first: each is decomposed out of what the others leave (Bandara, Hyndman
//! & Bergmeir 2021), with longer seasons held steadier (window `7 + 4 i`). To forecast, the last turn of every season is
//! repeated and the rest carried on by the method `rest`. Seasons of which the series has not two turns are left out;
//! without any the series is carried on by `rest` alone. Unknown observations are interpolated.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `seasons` | by frequency | steps of each season: day and week for hours and minutes, week and year for days, else the one season | 2 to 10000 each |
//! | `rest` | `theta` | the method for trend and remainder | naive, ses, holt, damped, theta |
//! | `transform` | `auto` | logarithms while seasons are taken out; `auto` where all is above zero | auto, none, log |
//! | `robust` | false | whether outliers are held off | |

use crate::classical::REST;
use crate::local::{self, FittedSeries, LocalModel, Steps, cut_off, filled_at_least};
use crate::seasonality::{FittedAdjusted, Pattern, Rest};
use crate::stl::{StlParams, decompose as stl};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Freq, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "mstl",
    summary: "Several seasons taken out by STL and repeated, the rest carried on by a method of its own.",
    summary_zh: "多重季节 STL 分解：各季节成分重复，其余部分另行预测。",
    source: "Bandara, Hyndman & Bergmeir (2021), MSTL: a seasonal-trend decomposition algorithm for time series with multiple seasonal patterns",
    params: &[
        SEASONS,
        REST,
        TRANSFORM,
        ParamSpec {
            name: "robust",
            kind: ParamKind::Flag,
            default: "false",
            summary: "whether outliers are held off",
        },
    ],
    needs: Needs { min_observations: 4, min_seasons: 2, positive: false, uses_covariates: false },
    build: local::build::<Mstl>,
    load: local::load::<Mstl>,
};

/// The parameter of methods with several seasons.
pub(crate) const SEASONS: ParamSpec = ParamSpec {
    name: "seasons",
    kind: ParamKind::Numbers { min: 2.0, max: 10_000.0 },
    default: "",
    summary: "steps of each season; by the frequency when not given (24 and 168 for hours)",
};

/// The parameter of methods that may take logarithms.
pub(crate) const TRANSFORM: ParamSpec = ParamSpec {
    name: "transform",
    kind: ParamKind::Choice(&["auto", "none", "log"]),
    default: "auto",
    summary: "whether the method works on logarithms; auto where every observation is above zero",
};

/// Whether a method works on logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Where every observation is above zero.
    #[default]
    Auto,
    /// No.
    None,
    /// Yes, where every observation is above zero.
    Log,
}

impl Transform {
    /// Whether logarithms are taken of a history.
    pub(crate) fn takes_logarithms(self, y: &[f64]) -> bool {
        self != Self::None && y.iter().all(|v| *v > 0.0)
    }
}

/// The seasons in steps, ascending: as asked, else those that the frequency usually has.
pub(crate) fn seasons_of(asked: Option<&[f64]>, freq: Freq) -> Vec<usize> {
    let mut seasons = match asked {
        Some(list) => list.iter().map(|s| s.round().max(0.0) as usize).collect(),
        None => {
            let short = freq.season_length();
            // Days and weeks of what is shorter than a day; a year of days.
            let year = freq.steps_per_year().unwrap_or(0.0);
            match year {
                y if y > 400.0 => vec![short, 7 * short],
                y if y > 300.0 => vec![short, 365],
                _ => vec![short],
            }
        }
    };
    seasons.retain(|m| *m > 1);
    seasons.sort_unstable();
    seasons.dedup();
    seasons
}

/// MSTL as a forecaster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mstl {
    /// Steps of each season; by the frequency when `None`.
    pub seasons: Option<Vec<f64>>,
    /// The method for trend and remainder.
    pub rest: Rest,
    /// Whether logarithms are taken.
    pub transform: Transform,
    /// Whether outliers are held off.
    pub robust: bool,
}

/// What [`Mstl`] keeps: one pattern a season, and the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedMstl {
    logarithms: bool,
    patterns: Vec<Pattern>,
    n: usize,
    rest: FittedAdjusted,
}

/// The parts of a series; trend, seasons and remainder add up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeveralSeasons {
    /// The slow movement.
    pub trend: Vec<f64>,
    /// The season lengths that were taken out, each with its part.
    pub seasons: Vec<(usize, Vec<f64>)>,
    /// What is left.
    pub remainder: Vec<f64>,
}

/// Turns over all seasons.
const TURNS: usize = 2;

/// Splits a series into a trend, several seasons (those of which it has two turns) and a remainder.
///
/// # Errors
/// No season of two turns, a value that is not finite.
///
/// ```
/// use tradewind_forecast::mstl::decompose;
/// let y: Vec<f64> = (0..240).map(|t| [3.0, -1.0, -2.0][t % 3] + [0.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0][t % 7]).collect();
/// let parts = decompose(&y, &[3, 7], false).unwrap();
/// assert_eq!(parts.seasons.len(), 2);
/// assert!((parts.seasons[0].1[120] - 3.0).abs() < 0.2);
/// ```
pub fn decompose(y: &[f64], seasons: &[usize], robust: bool) -> Result<SeveralSeasons> {
    let n = y.len();
    let mut able: Vec<usize> = seasons.iter().copied().filter(|m| *m > 1 && 2 * m <= n).collect();
    able.sort_unstable();
    able.dedup();
    if able.is_empty() {
        let needed = 2 * seasons.iter().copied().filter(|m| *m > 1).min().unwrap_or(2);
        return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed, got: n });
    }
    if y.iter().any(|v| !v.is_finite()) {
        return Err(Error::Invalid("MSTL needs finite observations".into()));
    }
    let mut parts: Vec<(usize, Vec<f64>)> = able.iter().map(|m| (*m, vec![0.0; n])).collect();
    let mut left = y.to_vec();
    let mut trend = vec![0.0; n];
    for _ in 0..if parts.len() > 1 { TURNS } else { 1 } {
        for (i, (m, part)) in parts.iter_mut().enumerate() {
            left.iter_mut().zip(part.iter()).for_each(|(l, s)| *l += s);
            let params = StlParams::new(*m).with_season_window(11 + 4 * i).with_robust(robust);
            let found = stl(&left, &StlParams { jump: (*m / 10).max(1), ..params })?;
            (*part, trend) = (found.season, found.trend);
            left.iter_mut().zip(part.iter()).for_each(|(l, s)| *l -= s);
        }
    }
    let remainder = left.iter().zip(&trend).map(|(l, t)| l - t).collect();
    Ok(SeveralSeasons { trend, seasons: parts, remainder })
}

impl LocalModel for Mstl {
    type Fitted = FittedMstl;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedMstl> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let in_sample = cut_off(in_sample, first);
        let logarithms = self.transform.takes_logarithms(&y);
        let z: Vec<f64> = y.iter().map(|v| if logarithms { v.ln() } else { *v }).collect();
        let n = z.len();
        let seasons = seasons_of(self.seasons.as_deref(), series.freq);
        let parts = if seasons.iter().any(|m| 2 * m <= n) {
            decompose(&z, &seasons, self.robust)?.seasons
        } else {
            vec![]
        };
        let season: Vec<f64> = (0..n).map(|t| parts.iter().map(|(_, s)| s[t]).sum()).collect();
        let adjusted: Vec<f64> = z.iter().zip(&season).map(|(v, s)| v - s).collect();
        let patterns = parts
            .iter()
            .map(|(m, part)| {
                let mut indices = vec![0.0; *m];
                (n - m..n).for_each(|t| indices[t % m] = part[t]);
                Pattern { multiplicative: false, indices }
            })
            .collect();
        let back = |v: f64| if logarithms { v.min(EXPONENT_MAX).exp() } else { v };
        let rest = FittedAdjusted::fit(&adjusted, Pattern::none(), self.rest, in_sample, |v, t| back(v + season[t]));
        Ok(FittedMstl { logarithms, patterns, n, rest })
    }
}

/// Logarithms above this one are not raised back.
pub(crate) const EXPONENT_MAX: f64 = 700.0;

/// Mean and standard deviation of what has this normal logarithm: its median stands for the mean, as everywhere where
/// absolute errors count.
pub(crate) fn from_logarithm(mean: f64, sd: f64) -> (f64, f64) {
    let median = mean.min(EXPONENT_MAX).exp();
    let variance = (sd * sd).min(1.0);
    (median, median * (0.5 * variance).exp() * variance.exp_m1().sqrt())
}

impl FittedSeries for FittedMstl {
    fn predict(&self, horizon: usize) -> Steps {
        let rest = self.rest.predict(horizon);
        Steps::of(horizon, |h| {
            let season: f64 = self.patterns.iter().map(|p| p.at(self.n + h - 1)).sum();
            let (mean, sd) = (rest.mean[h - 1] + season, rest.sd[h - 1]);
            if self.logarithms { from_logarithm(mean, sd) } else { (mean, sd) }
        })
    }

    fn update(&mut self, y: &[f64]) {
        let z: Vec<f64> = y
            .iter()
            .enumerate()
            .map(|(k, v)| {
                // A value without a logarithm is taken as the smallest that has one.
                let v = if self.logarithms && !v.is_nan() { v.max(f64::MIN_POSITIVE).ln() } else { *v };
                v - self.patterns.iter().map(|p| p.at(self.n + k)).sum::<f64>()
            })
            .collect();
        self.rest.update(&z);
        self.n += y.len();
    }
}
