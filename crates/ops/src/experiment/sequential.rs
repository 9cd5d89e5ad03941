//! Tests that may be looked at every day: asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and
//! Ramdas 2024), which are the mixture sequential probability ratio test (Robbins 1970; Johari, Pekelis and Walsh 2017)
//! with estimated variances.
//!
//! With the difference `d`, its variance `V`, `n` units in all and the mixture's variance `τ² = ρ² n V`:
//!
//! ```text
//! Λ = √(V/(V + τ²)) · exp(τ² d² / (2 V (V + τ²)))        p = min over looks of 1/Λ
//! interval: d ± √(V (V + τ²)/τ² · (2 ln(1/α) + ln((V + τ²)/V)))
//! ρ² = (−2 ln α + ln(1 − 2 ln α)) / planned units
//! ```
//!
//! The chance that any look, however many there are, calls an effect that is not there is at most α as units grow; looks
//! before [`Sequential::units_min`] units an arm are not told, for the law is one of large numbers. The interval is
//! narrowest at the planned number of units, where it is some 40 % wider than that of one look.

use super::Interval;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tradewind_core::ErrorKind;

/// How a sequence of looks is judged; fixed before the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequential {
    /// The chance of a false alarm over all looks, as 0.05.
    pub alpha: f64,
    /// Units of both arms together for which the interval shall be narrowest.
    pub planned_units: u64,
    /// Units that each arm needs before a look is told, 100.
    pub units_min: u64,
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The interval that holds for all looks at once.
    pub interval: Interval,
    /// The p-value of this look alone.
    pub p_now: f64,
    /// The always valid p-value: the least of all looks until now.
    pub p: f64,
}

impl Sequential {
    /// Judges a plan of looks.
    ///
    /// # Errors
    /// A level outside 0 to 0.5, no planned units.
    pub fn new(alpha: f64, planned_units: u64, units_min: u64) -> Result<Self> {
        if !(alpha > 0.0 && alpha < 0.5) || planned_units == 0 {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("a sequential test at level {alpha} for {planned_units} units"),
                "give a level above 0 and below 0.5, and the units that you expect in all",
            ));
        }
        Ok(Self { alpha, planned_units, units_min })
    }

    /// Judges a difference of `variance` from `units` of both arms; `before` is the p-value of the looks until now, 1 at
    /// the first. Nothing where it is too early.
    ///
    /// ```
    /// use tradewind_ops::experiment::Sequential;
    /// let plan = Sequential::new(0.05, 10_000, 100).unwrap();
    /// let look = plan.look(0.03, 1e-4, 10_000, 5_000, 1.0).unwrap();
    /// assert!(look.p > 0.05 && look.interval.low < 0.0); // z = 3 would not have been enough
    /// assert!(plan.look(0.04, 1e-4, 10_000, 5_000, look.p).unwrap().p < 0.05);
    /// ```
    pub fn look(
        &self,
        difference: f64,
        variance: f64,
        units: u64,
        smaller_arm: u64,
        before: f64,
    ) -> Option<Look> {
        if smaller_arm < self.units_min.max(2)
            || variance.is_nan()
            || variance <= 0.0
            || !difference.is_finite()
        {
            return None;
        }
        let log = -2.0 * self.alpha.ln();
        let rho2 = (log + (1.0 + log).ln()) / self.planned_units as f64;
        let mix = rho2 * units as f64 * variance;
        let all = variance + mix;
        let likelihood = 0.5 * (variance / all).ln() + mix * difference * difference / (2.0 * variance * all);
        let half = (variance * all / mix * (log + (all / variance).ln())).sqrt();
        let p_now = (-likelihood).exp().min(1.0);
        Some(Look { interval: Interval::around(difference, half), p_now, p: p_now.min(before) })
    }
}
