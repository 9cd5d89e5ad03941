//! Steps on numbers: filling gaps, capping, the power transform of Yeo and Johnson.

use crate::prepare::{Bound, Fill};
use crate::transform::{mean_sd, quantile_sorted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::{Error, Result};

/// The values that are there.
pub(super) fn present(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|v| !v.is_nan()).collect()
}

/// What fills the gaps of these values; 0 when none is there.
fn fill_of(with: Fill, values: &[f64]) -> Option<f64> {
    let mut there = present(values);
    if let Fill::Constant(v) = with {
        return Some(v);
    }
    if there.is_empty() {
        return None;
    }
    match with {
        Fill::Mean => Some(there.iter().sum::<f64>() / there.len() as f64),
        Fill::Median => {
            there.sort_by(f64::total_cmp);
            Some(quantile_sorted(&there, 0.5))
        }
        Fill::Mode => {
            there.sort_by(f64::total_cmp);
            let mut best = (0, f64::NAN);
            for run in there.chunk_by(|a, b| a == b) {
                if run.len() > best.0 {
                    best = (run.len(), run[0]);
                }
            }
            Some(best.1)
        }
        Fill::Constant(v) => Some(v),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FittedImpute {
    all: f64,
    by: BTreeMap<String, f64>,
    pub(super) mark: bool,
}

impl FittedImpute {
    /// Learns from the values; `group` is each row's category, where there are groups.
    pub(super) fn fit(with: Fill, values: &[f64], group: Option<&[Option<String>]>, mark: bool) -> Self {
        let mut of_group: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (v, g) in values.iter().zip(group.unwrap_or_default()) {
            if let Some(g) = g {
                of_group.entry(g).or_default().push(*v);
            }
        }
        let by = of_group
            .into_iter()
            .filter_map(|(g, values)| Some((g.to_owned(), fill_of(with, &values)?)))
            .collect();
        let mark = mark && values.iter().any(|v| v.is_nan());
        Self { all: fill_of(with, values).unwrap_or(0.0), by, mark }
    }

    pub(super) fn apply(&self, values: &mut [f64], group: Option<&[Option<String>]>) {
        for (i, v) in values.iter_mut().enumerate().filter(|(_, v)| v.is_nan()) {
            let own = group.and_then(|g| g[i].as_deref()).and_then(|g| self.by.get(g));
            *v = own.copied().unwrap_or(self.all);
        }
    }
}

/// The two bounds of values that are there; wide open where none is.
pub(super) fn bounds(bound: Bound, values: &[f64]) -> (f64, f64) {
    let mut there = present(values);
    if there.is_empty() {
        return (f64::MIN, f64::MAX);
    }
    there.sort_by(f64::total_cmp);
    match bound {
        Bound::Quantiles(low, high) => (quantile_sorted(&there, low), quantile_sorted(&there, high)),
        Bound::Iqr(k) => {
            let (q1, q3) = (quantile_sorted(&there, 0.25), quantile_sorted(&there, 0.75));
            (q1 - k * (q3 - q1), q3 + k * (q3 - q1))
        }
        Bound::Mad(k) => {
            let middle = quantile_sorted(&there, 0.5);
            let mut away: Vec<f64> = there.iter().map(|v| (v - middle).abs()).collect();
            away.sort_by(f64::total_cmp);
            // 1 / Φ⁻¹(3/4).
            let spread = 1.482_602_218_505_602 * quantile_sorted(&away, 0.5);
            (middle - k * spread, middle + k * spread)
        }
    }
}

/// The value of Yeo and Johnson's transform (2000) for a given lambda.
///
/// `((x + 1)^λ − 1)/λ` for `x ≥ 0`, `−((1 − x)^{2−λ} − 1)/(2 − λ)` below, and their limits `ln(x + 1)`, `−ln(1 − x)`.
///
/// ```
/// assert!((tradewind_learn::prepare::yeo_johnson(-3.5, 1.0) + 3.5).abs() < 1e-12);
/// ```
pub fn yeo_johnson(x: f64, lambda: f64) -> f64 {
    // expm1(λ·ln) keeps the digits near the limits.
    let power = |log: f64, l: f64| if l.abs() < 1e-12 { log } else { (l * log).exp_m1() / l };
    if x >= 0.0 { power(x.ln_1p(), lambda) } else { -power((-x).ln_1p(), 2.0 - lambda) }
}

/// A lambda, and the mean and deviation of what it makes of the training values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedYeoJohnson {
    /// The power, −10 to 10.
    pub lambda: f64,
    /// The mean after the power.
    pub mean: f64,
    /// The standard deviation after the power, or 1 where there is none.
    pub sd: f64,
}

impl FittedYeoJohnson {
    /// The likeliest lambda of a normal column; NaN values do not count. A column without spread keeps lambda 1. Fails
    /// where values are too large to be transformed.
    pub fn fit(values: &[f64]) -> Result<Self> {
        let there = present(values);
        let (mean, sd) = mean_sd(&there);
        if sd <= 0.0 {
            return Ok(Self { lambda: 1.0, mean: if there.is_empty() { 0.0 } else { mean }, sd: 1.0 });
        }
        let n = there.len() as f64;
        // The sum of sign(x)·ln(1 + |x|), the logarithm of the transform's slope over λ − 1.
        let slope: f64 = there.iter().map(|x| x.signum() * x.abs().ln_1p()).sum();
        let loss = |lambda: f64| {
            let z: Vec<f64> = there.iter().map(|x| yeo_johnson(*x, lambda)).collect();
            let (_, sd) = mean_sd(&z);
            let loss = n * sd.ln() - (lambda - 1.0) * slope;
            if loss.is_finite() { loss } else { f64::INFINITY }
        };
        // A grid finds the valley, golden sections its bottom.
        let grid: Vec<f64> = (0..=80).map(|i| -10.0 + 0.25 * f64::from(i)).collect();
        let at: Vec<f64> = grid.iter().map(|l| loss(*l)).collect();
        let best = (0..at.len()).min_by(|a, b| at[*a].total_cmp(&at[*b])).unwrap_or(44);
        let (mut low, mut high) = (grid[best.saturating_sub(1)], grid[(best + 1).min(grid.len() - 1)]);
        let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
        let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
        let (mut fa, mut fb) = (loss(a), loss(b));
        while high - low > 1e-9 {
            if fa <= fb {
                (high, b, fb) = (b, a, fa);
                a = high - golden * (high - low);
                fa = loss(a);
            } else {
                (low, a, fa) = (a, b, fb);
                b = low + golden * (high - low);
                fb = loss(b);
            }
        }
        let lambda = 0.5 * (low + high);
        let z: Vec<f64> = there.iter().map(|x| yeo_johnson(*x, lambda)).collect();
        let (mean, sd) = mean_sd(&z);
        if !(mean.is_finite() && sd.is_finite()) {
            return Err(Error::Invalid(
                "the values are too large for Yeo-Johnson; scale or cap them first".into(),
            ));
        }
        Ok(Self { lambda, mean, sd: if sd > 0.0 { sd } else { 1.0 } })
    }

    /// The standardised value; NaN stays NaN.
    pub fn transform(&self, x: f64) -> f64 {
        (yeo_johnson(x, self.lambda) - self.mean) / self.sd
    }
}
