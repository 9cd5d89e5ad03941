//! STL: seasonal and trend decomposition by local regression (loess).
//!
//! [`decompose`] splits a series into trend, season and remainder that add up to it. Unlike classical decomposition the
//! season may change slowly, the trend reaches both ends, and outliers can be held off (`robust`). Each inner turn
//! smooths the values of one season position over the years, takes the low frequencies out of the result, and smooths
//! what the season leaves into the trend; each outer turn lowers the weight of observations with a large remainder
//! (Cleveland, Cleveland, McRae & Terpenning 1990, *Journal of Official Statistics* 6).
//!
//! To forecast, the last season is repeated and trend and remainder are carried on by the method `rest`. A series
//! without two whole seasons is carried on by `rest` alone. Unknown observations are interpolated.

use crate::classical::{Decomposed, REST};
use crate::local::{self, LocalModel, SEASON_LENGTH, cut_off, filled, filled_at_least, season_of};
use crate::seasonality::{FittedAdjusted, Pattern, Rest};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamCheck, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "stl",
    summary: "STL decomposition; the last season repeated, trend and remainder carried on by a method of their own.",
    summary_zh: "STL 分解（局部回归）：重复最近的季节，趋势与余项另行预测。",
    source: "Cleveland, Cleveland, McRae & Terpenning (1990), Journal of Official Statistics 6",
    params: &[
        SEASON_LENGTH,
        ParamSpec {
            name: "season_window",
            kind: ParamKind::Integer { min: 3, max: 9_999 },
            default: "13",
            summary: "seasons over which the season may change; odd, larger is steadier (an even one counts as the next)",
        },
        ParamSpec {
            name: "robust",
            kind: ParamKind::Flag,
            default: "false",
            summary: "whether outliers are held off",
        },
        REST,
    ],
    needs: Needs { min_observations: 4, min_seasons: 2, positive: false, uses_covariates: false },
    build: local::build::<StlForecast>,
    load: local::load::<StlForecast>,
};

/// STL as a forecaster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StlForecast {
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// Seasons over which the season may change; at least 3.
    pub season_window: usize,
    /// Whether outliers are held off.
    pub robust: bool,
    /// The method for trend and remainder.
    pub rest: Rest,
}

impl Default for StlForecast {
    fn default() -> Self {
        Self { season_length: None, season_window: 13, robust: false, rest: Rest::default() }
    }
}

impl LocalModel for StlForecast {
    type Fitted = Decomposed;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<Decomposed> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let in_sample = cut_off(in_sample, first);
        let m = season_of(self.season_length, &series);
        let n = y.len();
        if m < 2 || n < 2 * m {
            return Ok(Decomposed(FittedAdjusted::fit(&y, Pattern::none(), self.rest, in_sample, |v, _| v)));
        }
        // Long windows move slowly, so not every point is worth its own regression.
        let params = StlParams::new(m).with_season_window(self.season_window | 1).with_robust(self.robust);
        let parts = decompose(&y, &StlParams { jump: (m / 10).max(1), ..params })?;
        let z: Vec<f64> = y.iter().zip(&parts.season).map(|(v, s)| v - s).collect();
        let mut indices = vec![0.0; m];
        (n - m..n).for_each(|t| indices[t % m] = parts.season[t]);
        let season = &parts.season;
        let pattern = Pattern { multiplicative: false, indices };
        Ok(Decomposed(FittedAdjusted::fit(&z, pattern, self.rest, in_sample, |v, t| v + season[t])))
    }
}

/// Parameters of [`decompose`].
///
/// | field | default | meaning |
/// | --- | --- | --- |
/// | `season_length` | – | steps of a season, at least 2 |
/// | `season_window` | 7 | seasons in the smoothing of one season position; odd, at least 3 |
/// | `trend_window` | smallest odd from `1.5 m / (1 − 1.5 / season_window)` on | steps in the smoothing of the trend; odd |
/// | `low_pass_window` | smallest odd above `m` | steps in the low-pass filter; odd |
/// | `season_degree`, `trend_degree`, `low_pass_degree` | 1 | degree of the local regressions, 0 or 1 |
/// | `jump` | 1 | regressions at every `jump`-th point, straight lines between |
/// | `inner`, `outer` | 5 and 0; robust 2 and 15 | turns |
#[derive(Clone, Debug, PartialEq)]
pub struct StlParams {
    /// Steps of a season.
    pub season_length: usize,
    /// Seasons in the smoothing of one season position.
    pub season_window: usize,
    /// Steps in the smoothing of the trend.
    pub trend_window: usize,
    /// Steps in the low-pass filter.
    pub low_pass_window: usize,
    /// Degree of the season's regressions.
    pub season_degree: usize,
    /// Degree of the trend's regressions.
    pub trend_degree: usize,
    /// Degree of the low-pass filter's regressions.
    pub low_pass_degree: usize,
    /// Regressions at every so many points.
    pub jump: usize,
    /// Inner turns.
    pub inner: usize,
    /// Outer turns that lower the weight of outliers.
    pub outer: usize,
}

impl StlParams {
    /// The defaults for a season of `season_length` steps.
    pub fn new(season_length: usize) -> Self {
        Self {
            season_length,
            season_window: 7,
            trend_window: 3,
            low_pass_window: odd_from(season_length as f64 + 1.0),
            season_degree: 1,
            trend_degree: 1,
            low_pass_degree: 1,
            jump: 1,
            inner: 5,
            outer: 0,
        }
        .with_season_window(7)
    }

    /// Another season window, with the trend window that belongs to it.
    pub fn with_season_window(mut self, window: usize) -> Self {
        self.season_window = window;
        self.trend_window = odd_from(1.5 * self.season_length as f64 / (1.0 - 1.5 / window.max(3) as f64));
        self
    }

    /// With or without the outer turns that hold off outliers.
    pub fn with_robust(mut self, robust: bool) -> Self {
        (self.inner, self.outer) = if robust { (2, 15) } else { (5, 0) };
        self
    }

    fn check(&self) -> Result<()> {
        let odd = |w: usize| w >= 3 && w % 2 == 1;
        let mut check = ParamCheck::new();
        check
            .require(self.season_length >= 2, "season_length", self.season_length, "2 and more")
            .require(odd(self.season_window), "season_window", self.season_window, "odd, 3 and more")
            .require(odd(self.trend_window), "trend_window", self.trend_window, "odd, 3 and more")
            .require(odd(self.low_pass_window), "low_pass_window", self.low_pass_window, "odd, 3 and more")
            .require(self.season_degree <= 1, "season_degree", self.season_degree, "0 or 1")
            .require(self.trend_degree <= 1, "trend_degree", self.trend_degree, "0 or 1")
            .require(self.low_pass_degree <= 1, "low_pass_degree", self.low_pass_degree, "0 or 1")
            .require(self.jump >= 1, "jump", self.jump, "1 and more")
            .require(self.inner >= 1, "inner", self.inner, "1 and more");
        check.finish()
    }
}

/// The parts of a series: they add up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stl {
    /// The slow movement.
    pub trend: Vec<f64>,
    /// The season.
    pub season: Vec<f64>,
    /// What is left; NaN where the observation is unknown.
    pub remainder: Vec<f64>,
    /// The weight of each observation in the last turn: 1, or less for an outlier where outer turns are made.
    pub weights: Vec<f64>,
}

/// Splits a series into trend, season and remainder. Unknown values are interpolated for the first two.
///
/// Errors: parameters out of range, nothing known, fewer than two seasons.
///
/// ```
/// use tradewind_forecast::stl::{StlParams, decompose};
/// let y: Vec<f64> = (0..70).map(|t| 0.5 * t as f64 + [4.0, 0.0, -1.0, -3.0, 0.0, 2.0, -2.0][t % 7]).collect();
/// let parts = decompose(&y, &StlParams::new(7)).unwrap();
/// assert!((parts.season[35] - 4.0).abs() < 0.01 && (parts.trend[35] - 17.5).abs() < 0.01);
/// ```
pub fn decompose(y: &[f64], params: &StlParams) -> Result<Stl> {
    params.check()?;
    let (p, n) = (params.season_length, y.len());
    if n < 2 * p {
        return Err(Error::NotEnoughData { what: "STL".into(), needed: 2 * p, got: n });
    }
    let Some((first, known)) = filled(y) else {
        return Err(Error::NotEnoughData { what: "STL".into(), needed: 2 * p, got: 0 });
    };
    // Unknown values in front take the first known one, so that all parts stand beside the series.
    let mut full = vec![known[0]; first];
    full.extend(known.iter());
    let mut work = Work::new(params, n);
    let mut weights = vec![1.0; n];
    let (mut season, mut trend) = (vec![0.0; n], vec![0.0; n]);
    for turn in 0..=params.outer {
        for _ in 0..params.inner {
            work.inner_turn(&full, &weights, turn > 0, &mut season, &mut trend);
        }
        if turn < params.outer {
            bisquare(&full, &season, &trend, &mut weights);
        }
    }
    let remainder = (0..n).map(|t| y[t] - trend[t] - season[t]).collect();
    Ok(Stl { trend, season, remainder, weights })
}

struct Work<'a> {
    params: &'a StlParams,
    n: usize,
    detrended: Vec<f64>,
    cycle: Vec<f64>,
    low: Vec<f64>,
    averaged: Vec<f64>,
    one: Vec<f64>,
    one_weights: Vec<f64>,
    one_smooth: Vec<f64>,
}

impl<'a> Work<'a> {
    fn new(params: &'a StlParams, n: usize) -> Self {
        let longer = n + 2 * params.season_length;
        let one = n / params.season_length + 3;
        Self {
            params,
            n,
            detrended: vec![0.0; n],
            cycle: vec![0.0; longer],
            low: vec![0.0; longer],
            averaged: vec![0.0; longer],
            one: Vec::with_capacity(one),
            one_weights: Vec::with_capacity(one),
            one_smooth: vec![0.0; one],
        }
    }

    fn inner_turn(
        &mut self,
        y: &[f64],
        weights: &[f64],
        weighted: bool,
        season: &mut [f64],
        trend: &mut [f64],
    ) {
        let (p, n) = (self.params.season_length, self.n);
        for t in 0..n {
            self.detrended[t] = y[t] - trend[t];
        }
        self.smooth_cycles(weights, weighted);
        // Three moving averages take the season out of the smoothed cycles; a loess evens what is left.
        moving(&self.cycle, p, &mut self.averaged);
        let k = n + p + 1;
        moving(&self.averaged[..k], p, &mut self.low);
        moving(&self.low[..n + 2], 3, &mut self.averaged);
        let degree = self.params.low_pass_degree;
        loess(
            &self.averaged[..n],
            None,
            self.params.low_pass_window,
            degree,
            self.params.jump,
            &mut self.low[..n],
        );
        for t in 0..n {
            season[t] = self.cycle[p + t] - self.low[t];
            self.detrended[t] = y[t] - season[t];
        }
        let weights = weighted.then_some(weights);
        loess(
            &self.detrended,
            weights,
            self.params.trend_window,
            self.params.trend_degree,
            self.params.jump,
            trend,
        );
    }

    /// Smooths the values of each season position and goes one season beyond both ends.
    fn smooth_cycles(&mut self, weights: &[f64], weighted: bool) {
        let (p, n) = (self.params.season_length, self.n);
        let (window, degree) = (self.params.season_window, self.params.season_degree);
        for j in 0..p {
            self.one.clear();
            self.one.extend(self.detrended[j..n].iter().step_by(p));
            self.one_weights.clear();
            if weighted {
                self.one_weights.extend(weights[j..n].iter().step_by(p));
            }
            let w = weighted.then_some(&self.one_weights[..]);
            let k = self.one.len();
            loess(&self.one, w, window, degree, self.params.jump.min(k), &mut self.one_smooth[1..=k]);
            let right = window.min(k);
            self.one_smooth[0] =
                regress(&self.one, w, window, degree, -1.0, 0, right).unwrap_or(self.one_smooth[1]);
            let left = k - window.min(k);
            self.one_smooth[k + 1] =
                regress(&self.one, w, window, degree, k as f64, left, k).unwrap_or(self.one_smooth[k]);
            for i in 0..k + 2 {
                self.cycle[j + i * p] = self.one_smooth[i];
            }
        }
    }
}

/// Loess of even points: the regression at every `jump`-th of them and at the last, straight lines between.
fn loess(y: &[f64], weights: Option<&[f64]>, window: usize, degree: usize, jump: usize, out: &mut [f64]) {
    let n = y.len();
    if n < 2 {
        out.copy_from_slice(y);
        return;
    }
    let jump = jump.min(n - 1);
    let q = window.min(n);
    let half = window.div_ceil(2);
    let (mut at, mut last) = (0_usize, 0_usize);
    loop {
        // The nearest `window` points; near the ends the window stops, and with a window beyond the series it is all.
        let left = if window >= n { 0 } else { (at + 1).saturating_sub(half).min(n - q) };
        out[at] = regress(y, weights, window, degree, at as f64, left, left + q).unwrap_or(y[at]);
        let step = (out[at] - out[last]) / (at - last).max(1) as f64;
        for k in last + 1..at {
            out[k] = out[last] + step * (k - last) as f64;
        }
        if at == n - 1 {
            return;
        }
        last = at;
        at = (at + jump).min(n - 1);
    }
}

/// The local regression at `x`, weighted by tricube distance over the points `left..right`. `None` where all weights
/// vanish.
fn regress(
    y: &[f64],
    weights: Option<&[f64]>,
    window: usize,
    degree: usize,
    x: f64,
    left: usize,
    right: usize,
) -> Option<f64> {
    let n = y.len();
    let mut reach = (x - left as f64).max((right - 1) as f64 - x);
    if window > n {
        reach += ((window - n) / 2) as f64;
    }
    // The tricube is cut off near its ends, as in the authors' program.
    let (near, far) = (0.001 * reach, 0.999 * reach);
    let weight = |j: usize| {
        let r = (j as f64 - x).abs();
        let w = if r > far {
            0.0
        } else if r <= near {
            1.0
        } else {
            let u = r / reach;
            let v = 1.0 - u * u * u;
            v * v * v
        };
        weights.map_or(w, |given| w * given[j])
    };
    let (mut sum, mut sum_x, mut sum_xx, mut sum_y, mut sum_xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for j in left..right {
        let w = weight(j);
        let d = j as f64 - x;
        sum += w;
        sum_x += w * d;
        sum_xx += w * d * d;
        sum_y += w * y[j];
        sum_xy += w * d * y[j];
    }
    if sum <= 0.0 {
        return None;
    }
    let mean = sum_y / sum;
    let centre = sum_x / sum;
    let spread = sum_xx / sum - centre * centre;
    if degree == 0 || spread.max(0.0).sqrt() <= 0.001 * (n as f64 - 1.0) {
        return Some(mean);
    }
    let slope = (sum_xy / sum - centre * mean) / spread;
    Some(mean - slope * centre)
}

/// Moving averages over `len` values; the first `x.len() - len + 1` places of `out` are filled.
fn moving(x: &[f64], len: usize, out: &mut [f64]) {
    let mut sum: f64 = x[..len].iter().sum();
    out[0] = sum / len as f64;
    for i in len..x.len() {
        sum += x[i] - x[i - len];
        out[i - len + 1] = sum / len as f64;
    }
}

/// The weights that hold off outliers: Tukey's bisquare of the remainder over six times its median.
fn bisquare(y: &[f64], season: &[f64], trend: &[f64], weights: &mut [f64]) {
    let n = y.len();
    let off: Vec<f64> = (0..n).map(|t| (y[t] - season[t] - trend[t]).abs()).collect();
    let mut sorted = off.clone();
    sorted.sort_by(f64::total_cmp);
    let limit = 3.0 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    for (w, r) in weights.iter_mut().zip(off) {
        *w = if r <= 0.001 * limit {
            1.0
        } else if r <= 0.999 * limit {
            let u = r / limit;
            (1.0 - u * u) * (1.0 - u * u)
        } else {
            0.0
        };
    }
}

/// The smallest odd whole number that is not below `x`; at least 3.
fn odd_from(x: f64) -> usize {
    let k = x.ceil().clamp(3.0, 1e9) as usize;
    k + usize::from(k.is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_outliers_are_held_off() {
        let mut y: Vec<f64> =
            (0..96).map(|t| 20.0 + [3.0, 1.0, -4.0, 0.0][t % 4] + 0.1 * ((t * 37) % 7) as f64).collect();
        y[50] += 40.0;
        let plain = decompose(&y, &StlParams::new(4)).expect("long enough");
        let robust = decompose(&y, &StlParams::new(4).with_robust(true)).expect("long enough");
        for s in [&plain, &robust] {
            assert!((0..96).all(|t| (s.trend[t] + s.season[t] + s.remainder[t] - y[t]).abs() < 1e-9));
        }
        assert!((robust.trend[50] - 20.3).abs() < 0.3 && (plain.trend[50] - 20.3).abs() > 1.0);
        assert_eq!(robust.weights[50], 0.0);
    }

    #[test]
    fn wrong_parameters_and_short_series_are_refused() {
        let all = StlParams { season_window: 4, jump: 0, inner: 0, ..StlParams::new(7) };
        match decompose(&[1.0; 30], &all) {
            Err(Error::Params(faults)) => assert_eq!(faults.len(), 3),
            other => panic!("{other:?}"),
        }
        assert!(decompose(&[1.0; 13], &StlParams::new(7)).is_err());
        assert!(decompose(&[f64::NAN; 30], &StlParams::new(7)).is_err());
        let mut holes = vec![2.0; 30];
        holes[0] = f64::NAN;
        holes[12] = f64::NAN;
        let s = decompose(&holes, &StlParams::new(7)).expect("two gaps");
        assert!(s.remainder[0].is_nan() && s.remainder[12].is_nan() && (s.trend[12] - 2.0).abs() < 1e-9);
    }
}
