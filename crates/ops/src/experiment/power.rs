//! How many units a test needs, and what it can see: power of two-sided tests of two arms, by the normal law.
//!
//! The probability that `|Z + δ/σ₁| σ₁ > z σ₀` where `σ₀` and `σ₁` are the errors of the difference without and with the
//! effect, both tails counted. Units are those of the control; the arm has `ratio` times as many. For means it is the
//! `NormalIndPower` of statsmodels, for shares its `power_proportions_2indep`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tradewind_core::ErrorKind;
use tradewind_core::distribution::{normal_cdf, normal_quantile};

/// More units than there are people.
const UNITS_MAX: f64 = 1e10;

/// What is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "metric")]
pub enum Planned {
    /// The share of the control, as 0.04.
    Share {
        /// The control's.
        base: f64,
    },
    /// A mean, with the standard deviation among units; after CUPED the deviation times `√(1 − r²)`.
    Mean {
        /// The control's.
        base: f64,
        /// Among units.
        deviation: f64,
    },
}

/// A test of two arms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is measured.
    pub planned: Planned,
    /// The chance of a false alarm, as 0.05; divide it by the number of arms for several.
    pub alpha: f64,
    /// Units of the arm for each of the control.
    pub ratio: f64,
}

impl Plan {
    fn check(&self) -> Result<()> {
        let (ok, what) = match self.planned {
            Planned::Share { base } => (base > 0.0 && base < 1.0, format!("a share of {base}")),
            Planned::Mean { base, deviation } => (
                base.is_finite() && base != 0.0 && deviation > 0.0 && deviation.is_finite(),
                format!("a mean of {base} with deviation {deviation}"),
            ),
        };
        if ok && self.alpha > 0.0 && self.alpha < 1.0 && self.ratio > 0.0 && self.ratio.is_finite() {
            return Ok(());
        }
        Err(wrong(
            format!("{what} at level {} with ratio {}", self.alpha, self.ratio),
            "give a share between 0 and 1 or a mean other than 0 with a deviation above 0, a level between 0 and 1, a ratio above 0",
        ))
    }

    /// The chance that a lift of the base (0.05: 5 % more) is seen with `units` in the control.
    ///
    /// # Errors
    /// A plan outside its range, a share that the lift takes beyond 1.
    pub fn power(&self, lift: f64, units: f64) -> Result<f64> {
        self.check()?;
        if !lift.is_finite() || units.is_nan() || units <= 0.0 {
            return Err(wrong(
                format!("a lift of {lift} with {units} units"),
                "give a number, and units above 0",
            ));
        }
        let (difference, without, with) = match self.planned {
            Planned::Share { base } => {
                let other = base * (1.0 + lift);
                if !(other > 0.0 && other < 1.0) {
                    return Err(wrong(
                        format!("a lift of {lift} on a share of {base}"),
                        "the share with it must stay between 0 and 1",
                    ));
                }
                let pooled = (base + self.ratio * other) / (1.0 + self.ratio);
                let without = pooled * (1.0 - pooled) * (1.0 + 1.0 / self.ratio);
                (other - base, without, base * (1.0 - base) + other * (1.0 - other) / self.ratio)
            }
            Planned::Mean { base, deviation } => {
                let variance = deviation * deviation * (1.0 + 1.0 / self.ratio);
                (base * lift, variance, variance)
            }
        };
        let z = normal_quantile(1.0 - self.alpha / 2.0) * without.sqrt();
        let shift = difference.abs() * units.sqrt();
        Ok(normal_cdf((shift - z) / with.sqrt()) + normal_cdf((-shift - z) / with.sqrt()))
    }

    /// The units of the control that see a lift with the chance `power` (0.8), rounded up.
    ///
    /// ```
    /// use tradewind_ops::experiment::{Plan, Planned};
    /// let plan = Plan { planned: Planned::Share { base: 0.04 }, alpha: 0.05, ratio: 1.0 };
    /// assert_eq!(plan.units(0.1, 0.8).unwrap(), 39_475);
    /// ```
    ///
    /// # Errors
    /// As [`Plan::power`]; no lift; a power outside the level to 1; more than 10¹⁰ units.
    pub fn units(&self, lift: f64, power: f64) -> Result<u64> {
        if !(power > self.alpha && power < 1.0) {
            return Err(wrong(format!("a power of {power}"), "give more than the level and less than 1"));
        }
        let (mut low, mut high) = (1.0_f64, UNITS_MAX);
        if self.power(lift, high)? < power {
            return Err(wrong(
                format!("a lift of {lift} needs more than {UNITS_MAX} units"),
                "give a lift that can be seen",
            ));
        }
        while high / low > 1.0 + 1e-13 {
            let middle = (low * high).sqrt();
            if self.power(lift, middle)? < power { low = middle } else { high = middle }
        }
        Ok((high - 1e-6).ceil() as u64)
    }

    /// The smallest lift upwards that `units` of the control see with the chance `power`.
    ///
    /// # Errors
    /// As [`Plan::units`]; units that see no lift at all.
    pub fn smallest_lift(&self, units: f64, power: f64) -> Result<f64> {
        if !(power > self.alpha && power < 1.0) {
            return Err(wrong(format!("a power of {power}"), "give more than the level and less than 1"));
        }
        self.check()?;
        let top = match self.planned {
            Planned::Share { base } => (1.0 / base - 1.0) * (1.0 - 1e-9),
            Planned::Mean { .. } => 1e6,
        };
        let (mut low, mut high) = (1e-12_f64, top);
        if self.power(high, units)? < power {
            return Err(wrong(format!("{units} units see no lift"), "give more units"));
        }
        while high / low > 1.0 + 1e-12 {
            let middle = (low * high).sqrt();
            if self.power(middle, units)? < power { low = middle } else { high = middle }
        }
        Ok(high)
    }
}

fn wrong(text: String, hint: &str) -> Error {
    Error::asked(ErrorKind::InvalidParams, text, hint)
}
