//! Mean and variance in one pass, merged without loss (Chan, Golub and LeVeque 1983).

use serde::{Deserialize, Serialize};

/// Count, mean, variance, least and largest of finite numbers.
///
/// ```
/// use tradewind_ops::monitor::sketch::Moments;
/// let mut m = Moments::default();
/// m.extend(&[2.0, 4.0, 9.0]);
/// assert_eq!((m.mean, m.variance()), (5.0, 13.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Numbers seen.
    pub n: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// The sum of squared distances from the mean.
    pub squares: f64,
    /// The least; 0 when there are none.
    pub min: f64,
    /// The largest; 0 when there are none.
    pub max: f64,
}

impl Moments {
    /// Takes numbers in; all must be finite.
    pub fn extend(&mut self, values: &[f64]) {
        // Two passes over what lies in the cache anyway: no division for each value, and no loss by cancelling.
        for part in values.chunks(4096) {
            let n = part.len() as f64;
            let mean = part.iter().sum::<f64>() / n;
            let squares = part.iter().map(|v| (v - mean) * (v - mean)).sum();
            let min = part.iter().copied().fold(f64::INFINITY, f64::min);
            let max = part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            self.merge(&Self { n: part.len() as u64, mean, squares, min, max });
        }
    }

    /// Adds what others saw.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let (all, step) = (a + b, other.mean - self.mean);
        self.mean += step * (b / all);
        self.squares += other.squares + step * step * (a * (b / all));
        self.n += other.n;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The variance (divided by `n − 1`); NaN below two numbers.
    pub fn variance(&self) -> f64 {
        if self.n < 2 { f64::NAN } else { self.squares / (self.n - 1) as f64 }
    }

    /// The standard deviation; NaN below two numbers.
    pub fn deviation(&self) -> f64 {
        self.variance().sqrt()
    }

    pub(super) fn is_whole(&self) -> bool {
        [self.mean, self.squares, self.min, self.max].iter().all(|v| v.is_finite())
            && self.squares >= 0.0
            && self.min <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_the_whole_also_far_from_zero() {
        let values: Vec<f64> = (0..50_000).map(|i| 1e9 + f64::from(i % 1_000)).collect();
        let mut one = Moments::default();
        one.extend(&values);
        let mut merged = Moments::default();
        for part in values.chunks(777) {
            let mut m = Moments::default();
            m.extend(part);
            merged.merge(&m);
        }
        for m in [one, merged] {
            assert!((m.mean - 1e9 - 499.5).abs() < 1e-6);
            // The variance of 0 to 999, each as often.
            let exact = (1_000.0 * 1_000.0 - 1.0) / 12.0 * 50_000.0 / 49_999.0;
            assert!((m.variance() / exact - 1.0).abs() < 1e-9, "{}", m.variance());
            assert_eq!((m.n, m.min, m.max), (50_000, 1e9, 1e9 + 999.0));
        }
        assert!(Moments::default().variance().is_nan());
    }
}
