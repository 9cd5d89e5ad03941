//! The learning rate over the steps of a training.

use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Result};

/// How the learning rate goes. Shares are of all steps of the training, 0 to 1.
///
/// ```
/// use tradewind_nn::schedule::Schedule;
/// let schedule = Schedule::Cosine { warm_up: 0.1, floor: 0.0 };
/// assert!((schedule.share(5, 100) - 0.6).abs() < 1e-12); // the sixth of ten steps of warm-up
/// assert!((schedule.share(55, 100) - 0.5).abs() < 0.01); // half-way down
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "schedule")]
pub enum Schedule {
    /// Always the same after the warm-up.
    Constant {
        /// The share of steps over which the rate rises evenly from zero.
        warm_up: f64,
    },
    /// Smaller by a factor every so many steps.
    Step {
        /// The share of all steps after which the rate falls, again and again.
        every: f64,
        /// By which it is multiplied.
        factor: f64,
    },
    /// Down along half a cosine (Loshchilov and Hutter 2017).
    Cosine {
        /// The share of steps over which the rate rises evenly from zero.
        warm_up: f64,
        /// The last rate as a share of the first.
        floor: f64,
    },
    /// Up and down along half cosines (Smith 2018): from a 25th to the rate, and on to nothing.
    OneCycle {
        /// The share of steps on the way up.
        rise: f64,
    },
    /// Smaller by a factor when the validation loss has not improved for some epochs.
    Plateau {
        /// Epochs without improvement.
        patience: usize,
        /// By which it is multiplied.
        factor: f64,
    },
}

impl Schedule {
    /// The rate of step `step` (from 0) of `steps` as a share of the one asked for. That of [`Schedule::Plateau`] depends on
    /// the losses seen: see [`Plateau`].
    pub fn share(&self, step: u64, steps: u64) -> f64 {
        let (step, steps) = (step.min(steps.saturating_sub(1)) as f64, (steps as f64).max(1.0));
        let half_cosine = |t: f64| 0.5 * (1.0 + (std::f64::consts::PI * t.clamp(0.0, 1.0)).cos());
        let rising = |share: f64| {
            let n = share * steps;
            (step < n).then(|| (step + 1.0) / n.max(1.0)).map(|r| r.min(1.0))
        };
        match *self {
            Self::Constant { warm_up } => rising(warm_up).unwrap_or(1.0),
            Self::Step { every, factor } => factor.powf((step / (every * steps).max(1.0)).floor()),
            Self::Cosine { warm_up, floor } => rising(warm_up).unwrap_or_else(|| {
                let t = (step - warm_up * steps) / ((1.0 - warm_up) * steps).max(1.0);
                floor + (1.0 - floor) * half_cosine(t)
            }),
            Self::OneCycle { rise } => {
                let t = step / steps;
                if t < rise {
                    0.04 + 0.96 * (1.0 - half_cosine(t / rise))
                } else {
                    half_cosine((t - rise) / (1.0 - rise))
                }
            }
            Self::Plateau { .. } => 1.0,
        }
    }

    pub(crate) fn check(&self, check: &mut ParamCheck) {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        match *self {
            Self::Constant { warm_up } => {
                check.require(share(warm_up), "warm_up", warm_up, "0 to 1");
            }
            Self::Step { every, factor } => {
                check.require(every > 0.0 && every <= 1.0, "every", every, "above 0 to 1");
                check.require(factor > 0.0 && factor <= 1.0, "factor", factor, "above 0 to 1");
            }
            Self::Cosine { warm_up, floor } => {
                check.require(share(warm_up), "warm_up", warm_up, "0 to 1");
                check.require(share(floor), "floor", floor, "0 to 1");
            }
            Self::OneCycle { rise } => {
                check.require(rise > 0.0 && rise < 1.0, "rise", rise, "between 0 and 1");
            }
            Self::Plateau { factor, patience } => {
                check.require(factor > 0.0 && factor < 1.0, "factor", factor, "between 0 and 1");
                check.require(patience > 0, "patience", patience, "at least 1");
            }
        }
    }

    /// # Errors
    /// Shares and factors out of range.
    pub fn checked(self) -> Result<Self> {
        let mut check = ParamCheck::new();
        self.check(&mut check);
        check.finish()?;
        Ok(self)
    }
}

/// What [`Schedule::Plateau`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// None before the first loss, and with other schedules: JSON knows no infinity.
    best: Option<f64>,
    waited: usize,
    /// The rate as a share of the one asked for.
    pub share: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { best: None, waited: 0, share: 1.0 }
    }
}

impl Plateau {
    /// Takes the loss of an epoch in.
    pub fn observe(&mut self, schedule: &Schedule, loss: f64) {
        let Schedule::Plateau { patience, factor } = *schedule else { return };
        // What is no number is no better, whatever came before.
        if loss.is_finite() && self.best.is_none_or(|best| loss < best) {
            (self.best, self.waited) = (Some(loss), 0);
            return;
        }
        self.waited += 1;
        if self.waited >= patience {
            (self.share, self.waited) = (self.share * factor, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn rates_go_as_their_formulas_say() {
        let at = |s: Schedule, step: u64| s.checked().unwrap().share(step, 1000);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 2e-3, "{a} and {b}");
        near(at(Schedule::Constant { warm_up: 0.0 }, 0), 1.0);
        near(at(Schedule::Constant { warm_up: 0.1 }, 49), 0.5);
        near(at(Schedule::Step { every: 0.25, factor: 0.1 }, 760), 1e-3);
        let cosine = Schedule::Cosine { warm_up: 0.2, floor: 0.1 };
        near(at(cosine, 99), 0.5);
        near(at(cosine, 600), 0.1 + 0.9 * 0.5);
        near(at(cosine, 999), 0.1);
        let cycle = Schedule::OneCycle { rise: 0.3 };
        near(at(cycle, 0), 0.04);
        near(at(cycle, 300), 1.0);
        near(at(cycle, 999), 0.0);
        // One beyond the end is the end.
        assert_eq!(at(cycle, 5000), at(cycle, 999));
        assert!(Schedule::OneCycle { rise: 1.0 }.checked().is_err());
    }

    #[test]
    fn a_plateau_begins_with_the_first_number() {
        let schedule = Schedule::Plateau { patience: 1, factor: 0.5 };
        let mut seen = Plateau::default();
        let shares: Vec<f64> = [f64::NAN, 1.0, 0.9, 0.8]
            .into_iter()
            .map(|loss| {
                seen.observe(&schedule, loss);
                seen.share
            })
            .collect();
        assert_eq!(shares, [0.5; 4]);
        assert_eq!(seen.best, Some(0.8));
    }

    #[test]
    fn a_plateau_halves_the_rate_after_patience() {
        let schedule = Schedule::Plateau { patience: 2, factor: 0.5 };
        let mut seen = Plateau::default();
        let shares: Vec<f64> = [1.0, 0.9, 0.95, 0.91, 0.92, 0.8, 0.81, f64::NAN]
            .into_iter()
            .map(|loss| {
                seen.observe(&schedule, loss);
                seen.share
            })
            .collect();
        assert_eq!(shares, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]);
    }
}
