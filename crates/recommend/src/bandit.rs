//! Bandits: what to show when showing is also the way to learn.
//!
//! Each arm (an item, a banner, a list) has a linear model of the reward in a context `x`, to which a constant is added:
//! with `A = regularization × I + Σ x xᵀ` and `b = Σ r x` over the times when the arm was shown, `θ = A⁻¹ b`.
//!
//! | policy | the arm shown |
//! |---|---|
//! | `epsilon_greedy` | the largest `θ·x`; with the chance `epsilon` any, evenly |
//! | `lin_ucb` | the largest `θ·x + width √(xᵀ A⁻¹ x)` (Li, Chu, Langford & Schapire, WWW 2010) |
//! | `thompson` | the largest draw from `N(θ·x, width² xᵀ A⁻¹ x)` (Agrawal & Goyal, ICML 2013; arms apart, so that one number an arm is drawn instead of a vector) |
//!
//! It is a policy, not a recommender of the catalogue: it learns from rewards of what it showed, one after the other.
//! [`Bandit::propensities`] tells the chances of each arm, to be kept in the log for
//! [`off_policy`](crate::evaluate::off_policy).
//!
//! ```
//! use tradewind_core::Run;
//! use tradewind_recommend::bandit::{Bandit, BanditParams};
//! let mut bandit = Bandit::new(BanditParams::default(), 1).unwrap();
//! let mut rng = Run::new(1).rng(1);
//! for _ in 0..50 {
//!     let shown = bandit.choose(&mut rng, &[0.0], &["tea", "cup"]).unwrap();
//!     bandit.update(&[0.0], ["tea", "cup"][shown], if shown == 1 { 1.0 } else { 0.0 }).unwrap();
//! }
//! assert_eq!(bandit.choose(&mut rng, &[0.0], &["tea", "cup"]).unwrap(), 1);
//! ```

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::{Error, ParamCheck, Result};

/// How a bandit explores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The best arm, and now and then any.
    EpsilonGreedy,
    /// The arm that may be the best.
    #[default]
    LinUcb,
    /// Each arm as often as it is likely to be the best.
    Thompson,
}

/// The parameters of a bandit.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `policy` | `lin_ucb` | | `epsilon_greedy`, `lin_ucb` or `thompson` |
/// | `epsilon` | 0.1 | 0 to 1 | `epsilon_greedy`: share of times when any arm is shown |
/// | `width` | 0.5 | 0 to 1000 | `lin_ucb`, `thompson`: how far what is unsure is tried, in units of the reward |
/// | `regularization` | 1 | 1e-6 to 1e6 | how strongly an arm's model is held at 0 |
/// | `arms_max` | 100000 | 1 to 10000000 | arms that are remembered; more are an error |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BanditParams {
    /// How it explores.
    pub policy: Policy,
    /// Share of times when any arm is shown.
    pub epsilon: f64,
    /// How far what is unsure is tried, in units of the reward.
    pub width: f64,
    /// How strongly an arm's model is held at 0.
    pub regularization: f64,
    /// Arms that are remembered.
    pub arms_max: usize,
}

impl Default for BanditParams {
    fn default() -> Self {
        Self { policy: Policy::LinUcb, epsilon: 0.1, width: 0.5, regularization: 1.0, arms_max: 100_000 }
    }
}

impl BanditParams {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((0.0..=1.0).contains(&self.epsilon), "epsilon", self.epsilon, "0 to 1")
            .require((0.0..=1000.0).contains(&self.width), "width", self.width, "0 to 1000")
            .require(
                (1e-6..=1e6).contains(&self.regularization),
                "regularization",
                self.regularization,
                "1e-6 to 1e6",
            )
            .require((1..=10_000_000).contains(&self.arms_max), "arms_max", self.arms_max, "1 to 10000000")
            .finish()
    }
}

/// The largest context and reward; beyond, sums of squares would lose what is small.
const SIZE_MAX: f64 = 1e6;

/// What is known of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Arm {
    /// Times shown.
    n: u64,
    /// `A⁻¹`, row after row.
    inverse: Vec<f64>,
    /// `b`.
    rewards: Vec<f64>,
    /// `θ`.
    theta: Vec<f64>,
}

/// A bandit that learns from every reward.
///
/// Invariant: every arm's columns are of `n_features + 1` numbers, its square of their square.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBandit")]
pub struct Bandit {
    params: BanditParams,
    n_features: usize,
    arms: BTreeMap<String, Arm>,
}

#[derive(Deserialize)]
struct RawBandit {
    params: BanditParams,
    n_features: usize,
    arms: BTreeMap<String, Arm>,
}

impl TryFrom<RawBandit> for Bandit {
    type Error = Error;

    fn try_from(raw: RawBandit) -> Result<Self> {
        let mut out = Self::new(raw.params, raw.n_features)?;
        let d = raw.n_features + 1;
        for (name, arm) in &raw.arms {
            let finite = arm.inverse.iter().chain(&arm.rewards).chain(&arm.theta).all(|v| v.is_finite());
            if !finite || arm.inverse.len() != d * d || arm.rewards.len() != d || arm.theta.len() != d {
                return Err(Error::Invalid(format!(
                    "saved arm `{name}` does not fit {} features",
                    raw.n_features
                )));
            }
        }
        out.arms = raw.arms;
        Ok(out)
    }
}

/// What an arm promises in a context.
struct Promise {
    mean: f64,
    /// `√(xᵀ A⁻¹ x)`.
    unsure: f64,
    n: u64,
}

impl Bandit {
    /// A bandit that knows nothing, for contexts of `n_features` numbers (0: no context), at most 1000.
    pub fn new(params: BanditParams, n_features: usize) -> Result<Self> {
        params.check()?;
        ParamCheck::new().require(n_features <= 1000, "n_features", n_features, "0 to 1000").finish()?;
        Ok(Self { params, n_features, arms: BTreeMap::new() })
    }

    /// The parameters.
    pub fn params(&self) -> &BanditParams {
        &self.params
    }

    /// How often an arm was shown.
    pub fn n_shown(&self, arm: &str) -> u64 {
        self.arms.get(arm).map_or(0, |a| a.n)
    }

    /// The reward that is expected of an arm; 0 of one never shown.
    pub fn expected(&self, context: &[f64], arm: &str) -> Result<f64> {
        Ok(self.promise(&self.with_constant(context)?, arm).mean)
    }

    /// The place, among `arms`, of the one to show. Of equals the one shown least, then the first.
    pub fn choose(&self, rng: &mut impl Rng, context: &[f64], arms: &[&str]) -> Result<usize> {
        let promises = self.promises(context, arms)?;
        if self.params.policy == Policy::EpsilonGreedy && rng.random_range(0.0..1.0) < self.params.epsilon {
            return Ok(rng.random_range(0..arms.len()));
        }
        Ok(self.best(rng, &promises))
    }

    /// The chance with which [`Bandit::choose`] shows each arm now. For `thompson` it is found by `draws`, each arm
    /// counted once more than it was drawn, so that no chance is 0.
    pub fn propensities(
        &self,
        rng: &mut impl Rng,
        context: &[f64],
        arms: &[&str],
        draws: usize,
    ) -> Result<Vec<f64>> {
        let promises = self.promises(context, arms)?;
        let n = arms.len() as f64;
        Ok(match self.params.policy {
            Policy::Thompson => {
                let mut counts = vec![1.0; arms.len()];
                (0..draws).for_each(|_| counts[self.best(rng, &promises)] += 1.0);
                counts.into_iter().map(|c| c / (draws as f64 + n)).collect()
            }
            policy => {
                let epsilon = if policy == Policy::EpsilonGreedy { self.params.epsilon } else { 0.0 };
                let mut out = vec![epsilon / n; arms.len()];
                out[self.best(rng, &promises)] += 1.0 - epsilon;
                out
            }
        })
    }

    /// Takes in the reward of an arm that was shown.
    pub fn update(&mut self, context: &[f64], arm: &str, reward: f64) -> Result<()> {
        let x = self.with_constant(context)?;
        if reward.is_nan() || reward.abs() > SIZE_MAX {
            return Err(Error::Invalid(format!("reward {reward} is not a number from -1e6 to 1e6")));
        }
        let d = x.len();
        if !self.arms.contains_key(arm) && self.arms.len() >= self.params.arms_max {
            return Err(Error::Invalid(format!(
                "arm `{arm}` would be one more than the {} that are remembered; forget one or raise `arms_max`",
                self.params.arms_max
            )));
        }
        let regularization = self.params.regularization;
        let known = self.arms.entry(arm.to_owned()).or_insert_with(|| {
            let mut inverse = vec![0.0; d * d];
            (0..d).for_each(|k| inverse[k * d + k] = 1.0 / regularization);
            Arm { n: 0, inverse, rewards: vec![0.0; d], theta: vec![0.0; d] }
        });
        // (A + x xᵀ)⁻¹ = A⁻¹ − (A⁻¹ x)(A⁻¹ x)ᵀ / (1 + xᵀ A⁻¹ x), Sherman & Morrison 1950.
        let image = times(&known.inverse, &x);
        let over = 1.0 / (1.0 + product(&x, &image));
        for (line, a) in known.inverse.chunks_exact_mut(d).zip(&image) {
            line.iter_mut().zip(&image).for_each(|(v, b)| *v -= a * b * over);
        }
        known.rewards.iter_mut().zip(&x).for_each(|(b, x)| *b += reward * x);
        known.theta = times(&known.inverse, &known.rewards);
        known.n += 1;
        Ok(())
    }

    /// Forgets an arm that is shown no more.
    pub fn forget(&mut self, arm: &str) {
        self.arms.remove(arm);
    }

    fn with_constant(&self, context: &[f64]) -> Result<Vec<f64>> {
        if context.len() != self.n_features {
            return Err(Error::Invalid(format!(
                "a context of {} numbers for a bandit of {}",
                context.len(),
                self.n_features
            )));
        }
        if let Some(x) = context.iter().find(|x| x.is_nan() || x.abs() > SIZE_MAX) {
            return Err(Error::Invalid(format!("{x} in a context is not a number from -1e6 to 1e6")));
        }
        Ok(context.iter().copied().chain([1.0]).collect())
    }

    fn promises(&self, context: &[f64], arms: &[&str]) -> Result<Vec<Promise>> {
        if arms.is_empty() {
            return Err(Error::Invalid("there is no arm to choose from".into()));
        }
        let x = self.with_constant(context)?;
        Ok(arms.iter().map(|arm| self.promise(&x, arm)).collect())
    }

    fn promise(&self, x: &[f64], arm: &str) -> Promise {
        match self.arms.get(arm) {
            Some(arm) => Promise {
                mean: product(x, &arm.theta),
                unsure: product(x, &times(&arm.inverse, x)).max(0.0).sqrt(),
                n: arm.n,
            },
            None => Promise { mean: 0.0, unsure: (product(x, x) / self.params.regularization).sqrt(), n: 0 },
        }
    }

    fn best(&self, rng: &mut impl Rng, promises: &[Promise]) -> usize {
        let width = self.params.width;
        let mut best = (f64::NEG_INFINITY, u64::MAX, 0);
        for (k, p) in promises.iter().enumerate() {
            let value = match self.params.policy {
                Policy::EpsilonGreedy => p.mean,
                Policy::LinUcb => p.mean + width * p.unsure,
                Policy::Thompson => p.mean + width * p.unsure * normal(rng),
            };
            if value > best.0 || (value == best.0 && p.n < best.1) {
                best = (value, p.n, k);
            }
        }
        best.2
    }
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(square: &[f64], x: &[f64]) -> Vec<f64> {
    square.chunks_exact(x.len()).map(|line| product(line, x)).collect()
}

/// A number from the standard normal distribution (Box & Muller 1958).
fn normal(rng: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random_range(0.0..1.0));
    (-2.0 * radius.ln()).sqrt() * (2.0 * std::f64::consts::PI * angle).cos()
}
