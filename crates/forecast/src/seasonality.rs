//! Whether a series has a season, its pattern by moving averages, and series with the pattern taken out.

use crate::ets::{self, FittedForm, Given, SeasonForm, TrendForm};
use crate::local::{FittedSeries, Steps};
use crate::theta::{self, FittedLine, Variant};
use serde::{Deserialize, Serialize};

/// A pattern that repeats: one index a step of the season.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// Whether the indices are factors about 1 rather than additions about 0.
    pub multiplicative: bool,
    /// The indices; the first one belongs to the first observation of the history.
    pub indices: Vec<f64>,
}

impl Pattern {
    /// No season.
    pub fn none() -> Self {
        Self { multiplicative: false, indices: vec![0.0] }
    }

    /// The index of observation `t`.
    pub fn at(&self, t: usize) -> f64 {
        self.indices[t % self.indices.len()]
    }

    /// The observation at `t` without its season.
    pub fn remove(&self, y: f64, t: usize) -> f64 {
        if self.multiplicative { y / self.at(t) } else { y - self.at(t) }
    }

    /// A value without season with the season of `t`.
    pub fn apply(&self, z: f64, t: usize) -> f64 {
        if self.multiplicative { z * self.at(t) } else { z + self.at(t) }
    }
}

/// Whether the autocorrelation at lag `m` is significant at 90 % by Bartlett's formula: the test before the Theta
/// method (Assimakopoulos & Nikolopoulos 2000; Fiorucci et al. 2016). A series needs two whole seasons.
pub fn is_seasonal(y: &[f64], m: usize) -> bool {
    let n = y.len();
    if m < 2 || n < 2 * m {
        return false;
    }
    let mean = y.iter().sum::<f64>() / n as f64;
    let total: f64 = y.iter().map(|v| (v - mean) * (v - mean)).sum();
    if !(total.is_finite() && total > n as f64 * (1e-12 * mean) * (1e-12 * mean)) {
        return false;
    }
    let r = |lag: usize| (lag..n).map(|t| (y[t] - mean) * (y[t - lag] - mean)).sum::<f64>() / total;
    let before: f64 = (1..m).map(|lag| r(lag) * r(lag)).sum();
    r(m).abs() > 1.644_853_626_951_472_2 * ((1.0 + 2.0 * before) / n as f64).sqrt()
}

/// The centred moving average over a season, half weights at both ends for even seasons; NaN where it does not fit.
pub fn centred_average(y: &[f64], m: usize) -> Vec<f64> {
    let n = y.len();
    let half = m / 2;
    let mut out = vec![f64::NAN; n];
    for t in half..n.saturating_sub(half) {
        let window = &y[t - half..=t + half];
        let sum: f64 = window.iter().sum();
        let ends = if m.is_multiple_of(2) { 0.5 * (window[0] + window[2 * half]) } else { 0.0 };
        out[t] = (sum - ends) / m as f64;
    }
    out
}

/// The pattern of classical decomposition: the mean of each step of the season over what the centred moving average
/// leaves, brought to mean 1 (multiplicative) or 0. `None` for fewer than two seasons, or where a factor is not above
/// one hundredth.
pub fn classical_pattern(y: &[f64], m: usize, multiplicative: bool) -> Option<Pattern> {
    if m < 2 || y.len() < 2 * m {
        return None;
    }
    let trend = centred_average(y, m);
    let mut sums = vec![(0.0, 0usize); m];
    for (t, (v, level)) in y.iter().zip(&trend).enumerate() {
        let off = if multiplicative { v / level } else { v - level };
        if level.is_finite() && off.is_finite() {
            sums[t % m].0 += off;
            sums[t % m].1 += 1;
        }
    }
    if sums.iter().any(|s| s.1 == 0) {
        return None;
    }
    let mut indices: Vec<f64> = sums.iter().map(|(s, n)| s / *n as f64).collect();
    let mean = indices.iter().sum::<f64>() / m as f64;
    indices.iter_mut().for_each(|i| if multiplicative { *i /= mean } else { *i -= mean });
    let fits = indices.iter().all(|i| i.is_finite() && (!multiplicative || *i > 0.01));
    fits.then_some(Pattern { multiplicative, indices })
}

/// How a series without its season is carried on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// The last value.
    Naive,
    /// Simple exponential smoothing.
    Ses,
    /// Holt's linear trend.
    Holt,
    /// Holt's linear trend, damped.
    Damped,
    /// The dynamic optimised Theta method.
    #[default]
    Theta,
}

impl Rest {
    /// The words of the parameter.
    pub const WORDS: &'static [&'static str] = &["naive", "ses", "holt", "damped", "theta"];
}

/// A series split into a pattern that repeats and a rest with its own method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedAdjusted {
    pattern: Pattern,
    n: usize,
    rest: FittedRest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FittedRest {
    Smoothed(FittedForm),
    Theta(FittedLine),
}

impl FittedAdjusted {
    /// Fits `rest` to the adjusted series `z`, whose season `pattern` was taken out of. The forecasts one step ahead
    /// are written into `in_sample`, with the season of `season(t)`, if given.
    pub(crate) fn fit(
        z: &[f64],
        pattern: Pattern,
        rest: Rest,
        in_sample: Option<&mut Vec<f64>>,
        season: impl Fn(f64, usize) -> f64,
    ) -> Self {
        let mut inside = Vec::new();
        let sink = in_sample.is_some().then_some(&mut inside);
        let smooth = |trend, given, sink| {
            FittedRest::Smoothed(ets::fit_least_squares(z, &[trend], &[SeasonForm::None], 1, given, sink))
        };
        let rest = match rest {
            Rest::Naive => smooth(TrendForm::None, Given { alpha: Some(1.0), ..Given::default() }, sink),
            Rest::Ses => smooth(TrendForm::None, Given::default(), sink),
            Rest::Holt => smooth(TrendForm::Additive, Given::default(), sink),
            Rest::Damped => smooth(TrendForm::Damped, Given::default(), sink),
            Rest::Theta => FittedRest::Theta(theta::fit_line(z, Variant::Dotm, None, None, sink)),
        };
        if let Some(out) = in_sample {
            out.extend(inside.iter().enumerate().map(|(t, v)| season(*v, t)));
        }
        Self { pattern, n: z.len(), rest }
    }

    /// Forecasts.
    pub(crate) fn predict(&self, horizon: usize) -> Steps {
        let mut steps = match &self.rest {
            FittedRest::Smoothed(f) => f.predict(horizon),
            FittedRest::Theta(f) => f.predict(horizon),
        };
        for h in 0..horizon {
            let t = self.n + h;
            steps.mean[h] = self.pattern.apply(steps.mean[h], t);
            if self.pattern.multiplicative {
                steps.sd[h] *= self.pattern.at(t);
            }
        }
        steps
    }

    /// Moves the rest on; the pattern stays.
    pub(crate) fn update(&mut self, y: &[f64]) {
        for v in y {
            let z = [self.pattern.remove(*v, self.n)];
            match &mut self.rest {
                FittedRest::Smoothed(f) => f.update(&z),
                FittedRest::Theta(f) => f.update(&z),
            }
            self.n += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_again() {
        let factors = [0.5, 1.0, 1.5, 1.0];
        let y: Vec<f64> = (0..24).map(|t| (10.0 + t as f64) * factors[t % 4]).collect();
        assert!(is_seasonal(&y, 4));
        let p = classical_pattern(&y, 4, true).expect("six seasons");
        assert!(p.indices.iter().zip(factors).all(|(a, b)| (a - b).abs() < 0.06), "{p:?}");
        let line: Vec<f64> = (0..24).map(|t| t as f64 * 3.0).collect();
        let p = classical_pattern(&line, 4, false).expect("six seasons");
        assert!(p.indices.iter().all(|i| i.abs() < 1e-12));
        assert!(!is_seasonal(&[1.0; 24], 4));
        assert!(classical_pattern(&[0.0; 24], 4, true).is_none());
        assert!(centred_average(&[1.0], 4)[0].is_nan());
    }
}
