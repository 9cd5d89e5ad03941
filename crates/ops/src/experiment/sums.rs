//! What is kept of millions of users: one row each goes in, means and products come out, and parts merge.

use serde::{Deserialize, Serialize};

/// What one unit (a user) did from its first exposure on, for one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// What is counted: 1 or 0 for a conversion, an amount, clicks, the sum of stars.
    pub value: f64,
    /// What it is divided by: 1 for a conversion or an amount, impressions, the number of ratings.
    pub weight: f64,
    /// The same user's value from before the experiment, for CUPED; 0 where nothing is known. It must not be touched by
    /// the experiment.
    pub before: f64,
}

impl Unit {
    /// A unit with a value of its own.
    pub fn value(value: f64) -> Self {
        Self { value, weight: 1.0, before: 0.0 }
    }

    /// A unit with something to divide by.
    pub fn ratio(value: f64, weight: f64) -> Self {
        Self { value, weight, before: 0.0 }
    }

    /// The same with its value from before.
    #[must_use]
    pub fn with_before(mut self, before: f64) -> Self {
        self.before = before;
        self
    }
}

/// Count, means and sums of products about the means of value, weight and earlier value: all that the tests need, in 10
/// numbers, whatever the number of units. Merged parts equal one pass to rounding (Chan, Golub and LeVeque 1983).
///
/// ```
/// use tradewind_ops::experiment::{Sums, Unit};
/// let mut sums = Sums::default();
/// for amount in [0.0, 0.0, 30.0] {
///     sums.push(Unit::value(amount));
/// }
/// assert_eq!((sums.n(), sums.mean()), (3, 10.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    n: u64,
    /// Means of value, weight, before.
    mean: [f64; 3],
    /// Σ of products about the means: value², weight², before², value·weight, value·before, weight·before.
    product: [f64; 6],
}

const PAIRS: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];

impl Sums {
    /// Takes a unit in. A unit that is not finite is left out and answered with false.
    pub fn push(&mut self, unit: Unit) -> bool {
        let row = [unit.value, unit.weight, unit.before];
        if row.iter().any(|v| !v.is_finite()) {
            return false;
        }
        self.n += 1;
        let n = self.n as f64;
        let step: [f64; 3] = std::array::from_fn(|i| row[i] - self.mean[i]);
        for (product, (a, b)) in self.product.iter_mut().zip(PAIRS) {
            *product += step[a] * step[b] * ((n - 1.0) / n);
        }
        for (mean, step) in self.mean.iter_mut().zip(step) {
            *mean += step / n;
        }
        true
    }

    /// Takes units in that did nothing: value 0, weight 1, nothing from before.
    pub fn push_idle(&mut self, units: u64) {
        self.merge(&Self { n: units, mean: [0.0, 1.0, 0.0], product: [0.0; 6] });
    }

    /// Takes units in that are given by their sums, as a database adds them up: of value and value squared, each with
    /// weight 1. Loses digits where the spread is small against the mean.
    pub fn push_totals(&mut self, units: u64, sum: f64, sum_of_squares: f64) {
        if units == 0 {
            return;
        }
        let mean = sum / units as f64;
        let squares = (sum_of_squares - sum * mean).max(0.0);
        self.merge(&Self { n: units, mean: [mean, 1.0, 0.0], product: [squares, 0.0, 0.0, 0.0, 0.0, 0.0] });
    }

    /// Adds the units of another part; no unit may be in both.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (n, m) = (self.n as f64, other.n as f64);
        let all = n + m;
        let step: [f64; 3] = std::array::from_fn(|i| other.mean[i] - self.mean[i]);
        for (i, (a, b)) in PAIRS.into_iter().enumerate() {
            self.product[i] += other.product[i] + step[a] * step[b] * (n * (m / all));
        }
        for (mean, step) in self.mean.iter_mut().zip(step) {
            *mean += step * (m / all);
        }
        self.n += other.n;
    }

    /// Units.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean value over the mean weight: the mean of an amount, the share of a conversion, the ratio of two sums.
    pub fn mean(&self) -> f64 {
        self.mean[0] / self.mean[1]
    }

    /// The mean of the values from before.
    pub fn mean_before(&self) -> f64 {
        self.mean[2]
    }

    /// The mean weight.
    pub fn mean_weight(&self) -> f64 {
        self.mean[1]
    }

    /// The standard deviation of the value among units; NaN below two.
    pub fn deviation(&self) -> f64 {
        self.covariance(0).sqrt()
    }

    fn covariance(&self, pair: usize) -> f64 {
        if self.n < 2 { f64::NAN } else { self.product[pair] / (self.n - 1) as f64 }
    }

    /// The variance among units of `value − r·weight` with `r` the ratio: what the delta method needs (Deng, Knoblich and
    /// Lu 2018). For weights of 1 it is the variance of the value.
    pub(super) fn variance_of_rest(&self) -> f64 {
        let r = self.mean();
        (self.covariance(0) - 2.0 * r * self.covariance(3) + r * r * self.covariance(1)).max(0.0)
    }

    /// The covariance among units of `value − r·weight` with what was before.
    pub(super) fn covariance_before(&self) -> f64 {
        self.covariance(4) - self.mean() * self.covariance(5)
    }

    /// The variance among units of what was before.
    pub(super) fn variance_before(&self) -> f64 {
        self.covariance(2)
    }

    /// Whether what was read from outside can be sums.
    pub(super) fn is_whole(&self) -> bool {
        self.mean.iter().chain(&self.product).all(|v| v.is_finite())
            && self.product[..3].iter().all(|v| *v >= 0.0)
            && (self.n > 0 || *self == Self::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_parts_equal_one_pass() {
        let unit = |i: u64| {
            let x = (crate::monitor::sketch::mixed(i) >> 40) as f64 / 1e4;
            Unit { value: 1e6 + x, weight: (i % 7 + 1) as f64, before: x * 0.5 + (i % 3) as f64 }
        };
        let (mut one, mut merged) = (Sums::default(), Sums::default());
        for part in 0..10 {
            let mut own = Sums::default();
            for i in part * 100..part * 100 + part * 7 {
                one.push(unit(i));
                own.push(unit(i));
            }
            merged.merge(&own);
        }
        assert_eq!(one.n(), merged.n());
        for (a, b) in one.mean.iter().chain(&one.product).zip(merged.mean.iter().chain(&merged.product)) {
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{a} {b}");
        }
        assert!(!one.push(Unit::value(f64::NAN)));
        let mut idle = Sums::default();
        idle.push(Unit::value(4.0));
        idle.push_idle(3);
        assert_eq!((idle.mean(), idle.n()), (1.0, 4));
        let mut totals = Sums::default();
        totals.push_totals(4, 4.0, 16.0);
        assert!((totals.deviation() - idle.deviation()).abs() < 1e-12);
    }
}
