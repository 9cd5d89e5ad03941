//! Least squares with autoregressive errors, of levels or differences, by whitening (Cochrane & Orcutt 1949).

use crate::arima::unit_root::kpss;
use tradewind_core::Run;
use tradewind_learn::linear::Ridge;
use tradewind_learn::{Dataset, Matrix};

/// Rounds of coefficients and autoregression in turn, at most.
const ROUNDS: usize = 12;
/// Rounds end when no coefficient moves what it tells by more than this share of what is left.
const SETTLED: f64 = 1e-3;
/// The longest autoregression.
const ORDER_MAX: usize = 30;
/// Errors whose autoregression comes to more than this may as well wander.
const PERSISTENT: f64 = 0.9;
/// A column must have moved so often.
const MOVES_MIN: usize = 2;

/// How coefficients are found.
pub(super) struct Regression {
    pub(super) penalty: f64,
    /// The autoregression reaches two steps beyond it.
    pub(super) season: usize,
    /// Whether the errors wander, so that differences are looked at.
    pub(super) differenced: bool,
}

/// What was found.
pub(super) struct Found {
    /// One coefficient a column; 0 for those that hardly moved.
    pub(super) beta: Vec<f64>,
    /// The columns' means.
    pub(super) means: Vec<f64>,
    pub(super) aicc: f64,
}

impl Regression {
    /// Whether what columns leave of a series in levels wanders: by the test of Kwiatkowski, Phillips, Schmidt & Shin (1992)
    /// at 5 %, or by an autoregression whose coefficients come near 1 together.
    pub(super) fn wanders(y: &[f64], known: &[bool], columns: &[&[f64]], penalty: f64) -> bool {
        let levels = Self { penalty, season: 0, differenced: false };
        let Some(found) = levels.fit(y, known, columns) else { return true };
        let left: Vec<f64> = (0..y.len())
            .map(|t| {
                let told = columns.iter().zip(&found.means).zip(&found.beta);
                y[t] - told.map(|((c, m), b)| if c[t].is_finite() { b * (c[t] - m) } else { 0.0 }).sum::<f64>()
            })
            .collect();
        let persistence: f64 = autoregression(&left, ORDER_MAX.min(left.len() / 5)).iter().sum();
        persistence > PERSISTENT || kpss(&left, (3.0 * (left.len() as f64).sqrt() / 13.0) as usize) > 0.463
    }

    /// Of a series without gaps (`known` tells which values were not filled in) on columns as long; NaN in a column
    /// stands for its mean. `None` where there are too few values.
    pub(super) fn fit(&self, y: &[f64], known: &[bool], columns: &[&[f64]]) -> Option<Found> {
        let n = y.len();
        if n < 8 {
            return None;
        }
        let means: Vec<f64> = columns.iter().map(|c| mean_of_known(c)).collect();
        let step = |v: Vec<f64>| if self.differenced { difference(&v) } else { v };
        let centred = |(c, m): (&&[f64], &f64)| c.iter().map(|v| if v.is_finite() { v - m } else { 0.0 }).collect::<Vec<f64>>();
        let x: Vec<Vec<f64>> = columns.iter().zip(&means).map(|c| step(centred(c))).collect();
        let moves = |j: usize| difference(columns[j]).iter().filter(|v| v.abs() > 1e-9).count();
        let spread: Vec<f64> = x.iter().map(|c| (c.iter().map(|v| v * v).sum::<f64>() / c.len() as f64).sqrt()).collect();
        let live: Vec<usize> = (0..x.len())
            .filter(|j| spread[*j] > 1e-12 && spread[*j].is_finite() && moves(*j) >= MOVES_MIN)
            .collect();
        let dy = step(y.to_vec());
        let whole: Vec<bool> =
            if self.differenced { known.windows(2).map(|w| w[0] && w[1]).collect() } else { known.to_vec() };
        let longest = (self.season + 2).min(ORDER_MAX).min(n / 5);
        let (mut beta, mut left, mut filter) = (vec![0.0; x.len()], dy.clone(), Vec::new());
        let mut aicc = f64::INFINITY;
        for round in 0..=ROUNDS {
            if round > 0 {
                filter = autoregression(&left, longest);
            }
            let before = beta.clone();
            let skip = filter.len();
            let rows: Vec<usize> = (skip..dy.len()).filter(|t| whole[*t]).collect();
            // A coefficient each, the mean, the autoregression and the variance.
            let cost = (live.len() + filter.len() + 2) as f64;
            if (rows.len() as f64) < cost + 3.0 {
                return None;
            }
            let white = |v: &[f64], t: usize| v[t] - filter.iter().enumerate().map(|(k, a)| a * v[t - 1 - k]).sum::<f64>();
            let target: Vec<f64> = rows.iter().map(|t| white(&dy, *t)).collect();
            let fitted: Vec<f64> = if live.is_empty() {
                vec![target.iter().sum::<f64>() / target.len() as f64; target.len()]
            } else {
                let values: Vec<f64> = rows.iter().flat_map(|t| live.iter().map(|j| white(&x[*j], *t) / spread[*j]).collect::<Vec<f64>>()).collect();
                let matrix = Matrix::new(rows.len(), live.len(), values).ok()?;
                let names = (0..live.len()).map(|j| j.to_string()).collect();
                let data = Dataset::new(matrix, target.clone(), names).ok()?;
                let line = Ridge { alpha: self.penalty }.fit(&Run::new(0), &data).ok()?;
                for (j, c) in live.iter().zip(line.coef()) {
                    beta[*j] = c / spread[*j];
                }
                line.predict(data.x()).ok()?
            };
            let moved = live.iter().map(|j| ((beta[*j] - before[*j]) * spread[*j]).abs()).fold(0.0, f64::max);
            let squares: f64 = target.iter().zip(&fitted).map(|(y, f)| (y - f) * (y - f)).sum();
            let m = rows.len() as f64;
            aicc = m * (squares / m).max(1e-300).ln() + 2.0 * cost + 2.0 * cost * (cost + 1.0) / (m - cost - 1.0);
            left = (0..dy.len()).map(|t| dy[t] - live.iter().map(|j| beta[*j] * x[*j][t]).sum::<f64>()).collect();
            if round > 1 && moved < SETTLED * (squares / m).sqrt() {
                break;
            }
        }
        let sound = beta.iter().all(|b| b.is_finite()) && aicc.is_finite();
        sound.then_some(Found { beta, means, aicc })
    }
}

fn difference(v: &[f64]) -> Vec<f64> {
    v.windows(2).map(|w| w[1] - w[0]).collect()
}

pub(super) fn mean_of_known(v: &[f64]) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for v in v.iter().filter(|v| v.is_finite()) {
        n += 1.0;
        sum += (v - sum) / n;
    }
    sum
}

/// The autoregression of a series about its mean, of the order up to `longest` with the least AIC (Levinson & Durbin).
fn autoregression(v: &[f64], longest: usize) -> Vec<f64> {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    let covariance = |k: usize| (k..v.len()).map(|t| (v[t] - mean) * (v[t - k] - mean)).sum::<f64>() / n;
    let mut variance = covariance(0);
    if variance <= 0.0 || !variance.is_finite() {
        return Vec::new();
    }
    let covariances: Vec<f64> = (0..=longest).map(covariance).collect();
    let (mut a, mut best) = (Vec::<f64>::new(), (n * variance.ln(), Vec::new()));
    for k in 1..=longest {
        let told: f64 = a.iter().enumerate().map(|(j, a)| a * covariances[k - 1 - j]).sum();
        let partial = (covariances[k] - told) / variance;
        let next: Vec<f64> = (0..k - 1).map(|j| a[j] - partial * a[k - 2 - j]).chain([partial]).collect();
        a = next;
        variance *= 1.0 - partial * partial;
        if variance <= 0.0 || !variance.is_finite() {
            break;
        }
        let aic = n * variance.ln() + 2.0 * k as f64;
        if aic < best.0 {
            best = (aic, a.clone());
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levinson_finds_an_autoregression() {
        // y(t) = 0.6 y(t − 1) − 0.3 y(t − 2) + e, with e from a fixed linear congruence.
        let (mut seed, mut y) = (7u64, vec![0.0, 0.0]);
        for t in 2..4000 {
            let mut e = -6.0;
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                e += (seed >> 11) as f64 / (1u64 << 53) as f64;
            }
            y.push(0.6 * y[t - 1] - 0.3 * y[t - 2] + e);
        }
        let a = autoregression(&y, 8);
        assert!(a.len() >= 2 && (a[0] - 0.6).abs() < 0.05 && (a[1] + 0.3).abs() < 0.05, "{a:?}");
    }
}
