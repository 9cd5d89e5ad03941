//! Whether the arms got the shares of units that they should: the check of the sample ratio (Fabijan and others 2019).

use serde::{Deserialize, Serialize};
use tradewind_core::distribution::chi_square_p;

/// Below this p-value the figures of an experiment are not shown.
pub const RATIO_P_MIN: f64 = 0.001;

/// Units of each arm against their shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioCheck {
    /// Units expected of each arm, in the order given.
    pub expected: Vec<f64>,
    /// Pearson's χ².
    pub statistic: f64,
    /// How likely at least such a deviation is by chance.
    pub p: f64,
    /// Whether it is too unlikely: units are lost or counted twice in one arm, and every figure is suspect.
    pub mismatch: bool,
}

/// Checks the units of each arm against the weights of the split, which need not sum to one. Arms of weight 0 must be
/// empty.
///
/// ```
/// use tradewind_ops::experiment::ratio_check;
/// assert!(!ratio_check(&[5_000, 5_080], &[1.0, 1.0]).mismatch);
/// assert!(ratio_check(&[5_000, 5_400], &[1.0, 1.0]).mismatch);
/// ```
pub fn ratio_check(units: &[u64], weights: &[f64]) -> RatioCheck {
    let n = units.iter().sum::<u64>() as f64;
    let whole: f64 = weights.iter().sum();
    let expected: Vec<f64> = weights.iter().map(|w| n * w / whole).collect();
    let strayed = units.iter().zip(weights).any(|(n, w)| *w <= 0.0 && *n > 0);
    let live = expected.iter().filter(|e| **e > 0.0).count();
    let terms = units.iter().zip(&expected).filter(|(_, e)| **e > 0.0);
    let statistic: f64 = terms.map(|(n, e)| (*n as f64 - e).powi(2) / e).sum();
    let p = match live {
        _ if strayed => 0.0,
        0 | 1 => 1.0,
        _ => chi_square_p(statistic, live as f64 - 1.0),
    };
    RatioCheck { expected, statistic, p, mismatch: p < RATIO_P_MIN }
}
