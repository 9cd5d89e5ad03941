//! How widely values scatter around what was expected: counts by a negative binomial law, others by a normal one.

use super::expected::median;
use crate::normal::quantile;
use tradewind_learn::student::incomplete_beta;

/// From this share of zeros on, values that are no whole numbers (money) are counted in units of a small sale.
const ZEROS_OF_COUNTS: f64 = 0.2;
/// The least overdispersion: with less, the law is that of Poisson.
const ALPHA_MIN: f64 = 1e-5;
/// Within so many standard deviations nothing is beyond any rate that can be asked for, and need not be worked out.
const PLAIN: f64 = 1.5;
/// Scores are held within this.
const SCORE_MAX: f64 = 37.0;

/// The law of a series' values around their means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spread {
    /// Counts, in units: the variance of the mean `μ` is `μ + α μ²`.
    Count { unit: f64, alpha: f64 },
    /// Numbers whose scatter grows with their mean.
    Share { sd: f64 },
    /// Numbers that scatter alike everywhere.
    Plain { sd: f64 },
}

impl Spread {
    /// The kind of law that the values of a series have, before anything is learnt of it.
    pub(super) fn of(y: &[f64]) -> Self {
        let known = || y.iter().copied().filter(|v| v.is_finite());
        let n = known().count().max(1) as f64;
        if known().any(|v| v < 0.0) {
            return Self::Plain { sd: 0.0 };
        }
        if known().all(|v| v.fract() == 0.0) {
            return Self::Count { unit: 1.0, alpha: 0.0 };
        }
        let zeros = known().filter(|v| *v == 0.0).count() as f64;
        if zeros < ZEROS_OF_COUNTS * n {
            return Self::Share { sd: 0.0 };
        }
        let mut sales: Vec<f64> = known().filter(|v| *v > 0.0).collect();
        sales.sort_unstable_by(f64::total_cmp);
        Self::Count { unit: sales.get(sales.len() / 4).copied().unwrap_or(1.0), alpha: 0.0 }
    }

    /// Learns how wide it is from the values used, but for the share `trim` of them that lies furthest out: before it is
    /// known what stands out, a single great value would pass for a wide law.
    pub(super) fn learn(&mut self, y: &[f64], mean: &[f64], used: &[bool], trim: f64) {
        let at = || (0..y.len()).filter(|t| used[*t] && mean[*t].is_finite());
        match self {
            Self::Count { unit, alpha } => {
                let mut parts: Vec<(f64, f64, f64)> = at()
                    .map(|t| (y[t] / *unit, mean[t] / *unit))
                    .map(|(v, m)| ((v - m) * (v - m) / m.max(1e-6), (v - m) * (v - m) - m, m * m))
                    .collect();
                parts.sort_by(|a, b| a.0.total_cmp(&b.0));
                parts.truncate(kept(parts.len(), trim));
                let (more, squares) = parts.iter().fold((0.0, 0.0), |(a, b), p| (a + p.1, b + p.2));
                let found = if squares > 0.0 { more / squares } else { 0.0 };
                *alpha = if found.is_finite() { found.clamp(ALPHA_MIN, 1e3) } else { ALPHA_MIN };
            }
            Self::Share { sd } => {
                *sd = width(at().filter(|t| mean[*t] > 0.0).map(|t| y[t] / mean[t] - 1.0), trim);
            }
            Self::Plain { sd } => *sd = width(at().map(|t| y[t] - mean[t]), trim),
        }
    }

    /// How far a value lies from its mean, as the normal score of the same chance: exact where it may be beyond `rate`,
    /// nearly so within.
    pub(super) fn score(&self, y: f64, mean: f64, rate: f64) -> f64 {
        if !(y.is_finite() && mean.is_finite()) {
            return f64::NAN;
        }
        let score = match *self {
            Self::Count { unit, alpha } => {
                let (v, m) = (y / unit, (mean / unit).max(1e-6));
                let rough = (v - m) / (m + alpha * m * m).sqrt();
                if rough.abs() < PLAIN && rate < 0.05 {
                    return rough;
                }
                let r = 1.0 / alpha;
                let (sold, not) = (m / (r + m), r / (r + m));
                if v > m {
                    -quantile(incomplete_beta(sold, not, v, r).max(1e-300))
                } else {
                    quantile(incomplete_beta(not, sold, r, v + 1.0).max(1e-300))
                }
            }
            Self::Share { sd } if mean > 0.0 => (y / mean - 1.0) / sd.max(1e-12),
            Self::Share { .. } => 0.0,
            Self::Plain { sd } => (y - mean) / sd.max(1e-12),
        };
        if score.is_nan() { 0.0 } else { score.clamp(-SCORE_MAX, SCORE_MAX) }
    }

    /// The values that are undercut, and exceeded, with at most the chance `tail`.
    pub(super) fn bounds(&self, mean: f64, tail: f64) -> (f64, f64) {
        let z = -quantile(tail);
        match *self {
            Self::Count { unit, alpha } => {
                let m = (mean / unit).max(1e-6);
                let r = 1.0 / alpha;
                let (sold, not) = (m / (r + m), r / (r + m));
                let above = |k: f64| incomplete_beta(sold, not, k, r);
                let below = |k: f64| incomplete_beta(not, sold, r, k + 1.0);
                let mut high = 1.0;
                while above(high + 1.0) > tail && high < 1e12 {
                    high *= 2.0;
                }
                // The largest count that is no alarm, and the smallest one.
                let upper = last(0.0, high, |k| above(k) > tail);
                let lower =
                    if below(0.0) > tail { 0.0 } else { last(0.0, upper, |k| below(k) <= tail) + 1.0 };
                (lower * unit, upper * unit)
            }
            Self::Share { sd } => ((mean * (1.0 - z * sd)).max(0.0), mean * (1.0 + z * sd)),
            Self::Plain { sd } => (mean - z * sd, mean + z * sd),
        }
    }

    /// The logarithm of the chance of a zero; 0 where zeros have no chance of their own.
    pub(super) fn ln_zero(&self, mean: f64) -> f64 {
        match *self {
            Self::Count { unit, alpha } if mean.is_finite() => {
                -f64::ln_1p(alpha * (mean / unit).max(0.0)) / alpha
            }
            _ => 0.0,
        }
    }
}

/// The largest whole number from `low` on for which `holds` is true, given that it is for `low` and no longer beyond some
/// number up to `high`.
fn last(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (low, high + 1.0);
    while high - low > 1.0 {
        let middle = ((low + high) / 2.0).floor();
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// How many of `n` values are kept when the share `trim` goes, one at least.
fn kept(n: usize, trim: f64) -> usize {
    if trim > 0.0 { n - ((n as f64 * trim).ceil() as usize).min(n) } else { n }
}

/// The standard deviation of errors, by their median size or their squares, whichever is larger: the one where there are
/// a few large ones, the other where most are nothing.
fn width(errors: impl Iterator<Item = f64>, trim: f64) -> f64 {
    let mut sizes: Vec<f64> = errors.map(f64::abs).filter(|e| e.is_finite()).collect();
    let robust = median(&mut sizes) / 0.674_489_750_196_081_7;
    sizes.sort_unstable_by(f64::total_cmp);
    sizes.truncate(kept(sizes.len(), trim));
    let squares = (sizes.iter().map(|e| e * e).sum::<f64>() / sizes.len().max(1) as f64).sqrt();
    if robust.is_finite() { robust.max(squares) } else { squares }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chance of a standard normal number above `z`.
    fn tail(z: f64) -> f64 {
        tradewind_learn::student::two_sided_normal_p(z) / 2.0
    }

    #[test]
    fn counts_are_scored_by_their_tails() {
        // Poisson with mean 2 (scipy 1.17.1): P(Y ≥ 9) = 2.374473e-4, P(Y = 0) = 0.1353353.
        let law = Spread::Count { unit: 1.0, alpha: 1e-9_f64.max(ALPHA_MIN) };
        assert!((tail(law.score(9.0, 2.0, 0.1)) / 2.374_473e-4 - 1.0).abs() < 1e-3);
        assert!((tail(-law.score(0.0, 2.0, 0.1)) / 0.135_335_3 - 1.0).abs() < 1e-3);
        // Negative binomial with mean 4 and variance 12: nbinom.sf(19, 2, 1 / 3), nbinom.isf(0.01, 2, 1 / 3).
        let law = Spread::Count { unit: 1.0, alpha: 0.5 };
        assert!((tail(law.score(20.0, 4.0, 0.1)) / 2.305_586e-3 - 1.0).abs() < 1e-4);
        let (low, high) = law.bounds(4.0, 0.01);
        assert_eq!((low, high), (0.0, 15.0));
        assert!((law.ln_zero(4.0) - (1.0_f64 / 9.0).ln()).abs() < 1e-12);
    }

    #[test]
    fn money_that_comes_seldom_is_counted_in_small_sales() {
        let y: Vec<f64> =
            (0..40).map(|t| if t % 3 == 0 { 19.9 * f64::from(1 + t % 2) } else { 0.0 }).collect();
        assert!(matches!(Spread::of(&y), Spread::Count { unit, .. } if (unit - 19.9).abs() < 1e-9));
        assert!(matches!(Spread::of(&[1.5, 2.5, 3.0]), Spread::Share { .. }));
        assert!(matches!(Spread::of(&[1.5, -2.5]), Spread::Plain { .. }));
        assert!(matches!(Spread::of(&[]), Spread::Count { .. }));
    }
}
