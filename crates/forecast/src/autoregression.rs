//! Autoregression over several seasons: the last steps, the same place of the last seasons, and their neighbours.
//!
//! ```text
//! z(t) = c + Σ b_l z(t−l) + ε(t),   l in 1 … m₁+1, 2m₁, 3m₁, … with neighbours, m₂−2 … m₂+2, …
//! ```
//!
//! on logarithms where everything is above zero, standardised, by ridge regression. Where a series has a day in a week
//! or a week in a year, such a regression on chosen lags follows both together, and needs no pattern that stays the same
//! (a subset autoregression, McClave 1975). Steps ahead are found one after the other; their standard deviations are
//! those of the autoregression's weights, `σ² (1 + ψ₁² + …)`.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `seasons` | by frequency | steps of each season: day and week for hours and minutes, week and year for days, else the one season | 2 to 10000 each |
//! | `transform` | `auto` | logarithms; `auto` where all is above zero | auto, none, log |
//! | `ridge` | 0.2 | weight of the squared coefficients, in observations of the standardised series | 0 to 1000000 |
//! | `window` | 40 of the longest season, 2000 at least | latest observations that are learnt from | 10 to 1000000 |
//!
//! On held-out ends of the M4 training data the logarithms with the whole history were best: hours OWA 0.43 (0.47 without
//! logarithms), weeks 0.81.
//!
//! Lags that would leave fewer than twice as many observations as coefficients are left out, the longest first.
//! Forecasts stay within half the range that the series had in its window. Unknown observations are interpolated; in
//! [`FittedSeries::update`] they count as the ones forecast.

use crate::local::{self, FittedSeries, LocalModel, Steps, cut_off, filled_at_least};
use crate::mstl::{SEASONS, TRANSFORM, Transform, from_logarithm, seasons_of};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "autoregression",
    summary: "Ridge regression on the last steps and the same places of the last seasons; strong for hours.",
    summary_zh: "多季节自回归：对近期及各季节同位滞后做岭回归，适合小时级数据。",
    source: "McClave (1975), Journal of the American Statistical Association 70; Hoerl & Kennard (1970)",
    params: &[
        SEASONS,
        TRANSFORM,
        ParamSpec {
            name: "ridge",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "0.2",
            summary: "weight of the squared coefficients, in observations of the standardised series",
        },
        ParamSpec {
            name: "window",
            kind: ParamKind::Integer { min: 10, max: 1_000_000 },
            default: "",
            summary: "latest observations that are learnt from; 40 of the longest season, 2000 at least, when not given",
        },
    ],
    needs: Needs { min_observations: 8, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Autoregression>,
    load: local::load::<Autoregression>,
};

/// The autoregression over several seasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autoregression {
    /// Steps of each season; by the frequency when `None`.
    pub seasons: Option<Vec<f64>>,
    /// Whether logarithms are taken.
    pub transform: Transform,
    /// Weight of the squared coefficients.
    pub ridge: f64,
    /// Latest observations that are learnt from.
    pub window: Option<usize>,
}

impl Default for Autoregression {
    fn default() -> Self {
        Self { seasons: None, transform: Transform::Auto, ridge: 0.2, window: None }
    }
}

/// What [`Autoregression`] keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedAutoregression {
    logarithms: bool,
    centre: f64,
    scale: f64,
    intercept: f64,
    /// Lags, ascending, with their coefficients.
    lags: Vec<(usize, f64)>,
    /// The latest standardised values, as many as the longest lag, the last one last.
    recent: Vec<f64>,
    low: f64,
    high: f64,
    /// Standard deviation of one step, standardised.
    sd: f64,
}

/// The lags that the seasons suggest, ascending.
fn lags_of(seasons: &[usize]) -> Vec<usize> {
    let mut lags: Vec<usize> = vec![1, 2, 3];
    for (i, m) in seasons.iter().copied().enumerate() {
        if i == 0 {
            if m <= NEAR_MAX {
                lags.extend(1..=m + 1);
            } else {
                lags.extend([4, m - 1, m, m + 1]);
            }
            // Multiples below the next season, or the second one where there is none.
            let end = seasons.get(1).copied().unwrap_or(2 * m + 1);
            for k in (2..).map(|k| k * m).take_while(|k| *k < end).take(MULTIPLES_MAX) {
                lags.push(k);
                if k <= 3 * m || k + m >= end {
                    lags.extend([k - 1, k + 1]);
                }
            }
        } else {
            lags.extend(m.saturating_sub(2)..=m + 2);
        }
    }
    lags.retain(|l| *l > 0);
    lags.sort_unstable();
    lags.dedup();
    lags
}

/// A first season up to this many steps has all its lags.
const NEAR_MAX: usize = 30;
/// Multiples of the first season, at most.
const MULTIPLES_MAX: usize = 8;

impl LocalModel for Autoregression {
    type Fitted = FittedAutoregression;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedAutoregression> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let in_sample = cut_off(in_sample, first);
        let logarithms = self.transform.takes_logarithms(&y);
        let mut z: Vec<f64> = y.iter().map(|v| if logarithms { v.ln() } else { *v }).collect();
        let n = z.len();
        let seasons = seasons_of(self.seasons.as_deref(), series.freq);
        let window =
            self.window.unwrap_or_else(|| (40 * seasons.last().copied().unwrap_or(1)).max(2_000)).min(n);
        let part = &z[n - window..];
        let centre = part.iter().map(|v| v / window as f64).sum::<f64>();
        let spread = part.iter().map(|v| (v - centre) * (v - centre) / window as f64).sum::<f64>().sqrt();
        let flat = spread <= 1e-10 * centre.abs() || !spread.is_finite();
        let scale = if flat { 1.0 } else { spread };
        z.iter_mut().for_each(|v| *v = if flat { 0.0 } else { (*v - centre) / scale });

        let mut lags = lags_of(&seasons);
        // Observations that have all lags and lie in the window.
        let rows = |lags: &[usize]| n - lags.last().copied().unwrap_or(0).max(n - window).min(n);
        while lags.len() > 1 && rows(&lags) < 2 * (lags.len() + 1) {
            lags.pop();
        }
        let begin = n - rows(&lags);
        let b = if flat { vec![0.0; lags.len() + 1] } else { ridge(&z, &lags, begin, self.ridge) };
        let (intercept, b) = (b[lags.len()], &b[..lags.len()]);
        let longest = lags.last().copied().unwrap_or(1);
        let said = |t: usize| intercept + lags.iter().zip(b).map(|(l, b)| b * z[t - l]).sum::<f64>();
        let squares: f64 = (begin..n).map(|t| (z[t] - said(t)) * (z[t] - said(t))).sum();
        let freedom = (n - begin).saturating_sub(lags.len() + 1).max(1) as f64;
        let (low, high) =
            z[n - window..].iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let fitted = FittedAutoregression {
            logarithms,
            centre,
            scale,
            intercept,
            low: low - 0.5 * (high - low),
            high: high + 0.5 * (high - low),
            sd: (squares / freedom).sqrt(),
            lags: lags.iter().copied().zip(b.iter().copied()).collect(),
            recent: z[n.saturating_sub(longest)..].to_vec(),
        };
        if let Some(out) = in_sample {
            out.extend((0..n).map(|t| if t < longest { f64::NAN } else { fitted.back(said(t), 0.0).0 }));
        }
        Ok(fitted)
    }
}

/// Coefficients of the lags and the intercept, the intercept without penalty.
fn ridge(z: &[f64], lags: &[usize], begin: usize, penalty: f64) -> Vec<f64> {
    let (n, k) = (z.len(), lags.len() + 1);
    let mut gram = vec![0.0; k * k];
    let mut right = vec![0.0; k];
    let column = |i: usize| lags.get(i).map(|l| &z[begin - l..n - l]);
    let y = &z[begin..];
    for i in 0..k {
        for j in 0..=i {
            gram[i * k + j] = match (column(i), column(j)) {
                (Some(a), Some(b)) => a.iter().zip(b).map(|(a, b)| a * b).sum(),
                (None, Some(b)) => b.iter().sum(),
                _ => (n - begin) as f64,
            };
        }
        right[i] = column(i).map_or(y.iter().sum(), |a| a.iter().zip(y).map(|(a, b)| a * b).sum());
    }
    // A little is always needed where lags repeat one another exactly.
    let least = 1e-9 * (n - begin) as f64;
    (0..k - 1).for_each(|i| gram[i * k + i] += penalty.max(least));
    gram[k * k - 1] += least;
    match crate::arima::solve(&mut gram, &mut right, k, 0) {
        Some(_) => right,
        None => vec![0.0; k],
    }
}

impl FittedAutoregression {
    /// Mean and standard deviation in the units of the series.
    fn back(&self, z: f64, sd: f64) -> (f64, f64) {
        let (mean, sd) = (self.centre + z * self.scale, sd * self.scale);
        if self.logarithms { from_logarithm(mean, sd) } else { (mean, sd) }
    }

    fn ahead(&self, past: &[f64]) -> f64 {
        let n = past.len();
        let sum: f64 = self.lags.iter().filter(|(l, _)| *l <= n).map(|(l, b)| b * past[n - l]).sum();
        (self.intercept + sum).clamp(self.low, self.high)
    }
}

impl FittedSeries for FittedAutoregression {
    fn predict(&self, horizon: usize) -> Steps {
        let mut past = self.recent.clone();
        let mut psi: Vec<f64> = Vec::with_capacity(horizon);
        let mut sum = 0.0;
        // Weights of an autoregression that explodes are of no use beyond the range of the series.
        let widest = 0.5 * (self.high - self.low);
        Steps::of(horizon, |h| {
            let z = self.ahead(&past);
            past.push(z);
            let j = h - 1;
            let weight = if j == 0 {
                1.0
            } else {
                self.lags.iter().take_while(|(l, _)| *l <= j).map(|(l, b)| b * psi[j - l]).sum::<f64>()
            };
            psi.push(weight.clamp(-1e6, 1e6));
            sum += psi[j] * psi[j];
            self.back(z, (self.sd * f64::sqrt(sum)).min(widest.max(self.sd)))
        })
    }

    fn update(&mut self, y: &[f64]) {
        for v in y {
            let v = if self.logarithms && v.is_finite() { v.max(f64::MIN_POSITIVE).ln() } else { *v };
            let z = if v.is_finite() { (v - self.centre) / self.scale } else { self.ahead(&self.recent) };
            // What has never been seen moves the range, but not beyond all bounds.
            let z = z.clamp(-1e6, 1e6);
            (self.low, self.high) = (self.low.min(z), self.high.max(z));
            if !self.recent.is_empty() {
                self.recent.rotate_left(1);
                let last = self.recent.len() - 1;
                self.recent[last] = z;
            }
        }
    }
}
