//! What another policy would have earned, from the log of the one that ran.
//!
//! The log holds, for each decision, the chance `p` with which the action was taken and the reward `r` it brought. With
//! `e` the chance that the policy asked about takes the same action there, `w = e / p`, and a model's guesses `q` of the
//! reward of the action taken and `q̄ = Σ_a e(a) q(a)` of the policy's own:
//!
//! | estimate | formula | |
//! |---|---|---|
//! | direct | `mean q̄` | as wrong as the model |
//! | IPS | `mean w r` | without bias where `p` is right and covers what the policy does; wide |
//! | SNIPS | `Σ w r / Σ w` | a little bias, much narrower; what is added to all rewards is added to it |
//! | DR | `mean (q̄ + w (r − q))` | without bias where `p` or the model is right |
//!
//! Horvitz & Thompson 1952; Swaminathan & Joachims, *The self-normalized estimator for counterfactual learning*, NIPS
//! 2015; Dudík, Langford & Li, *Doubly robust policy evaluation and learning*, ICML 2011. `weight_max` cuts large
//! weights (Ionides 2008): less noise, more bias. For a policy without chance and a log of even chance, SNIPS is the
//! replay of Li et al. 2011: the mean reward where both would have done the same.

use super::Estimate;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// One decision of the log, with what the policy asked about would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// What the action brought.
    pub reward: f64,
    /// The chance with which the log's policy took the action, above 0.
    pub propensity: f64,
    /// The chance with which the policy asked about takes it.
    pub target: f64,
    /// A model's guess of the reward of this action; 0 without a model.
    pub predicted: f64,
    /// The model's guesses of all actions, weighted by the chances of the policy asked about; 0 without a model.
    pub predicted_target: f64,
}

/// The estimates of one policy's mean reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OffPolicy {
    /// Decisions in the log.
    pub n: usize,
    /// The model alone.
    pub direct: Estimate,
    /// Inverse propensities.
    pub ips: Estimate,
    /// Inverse propensities over the sum of the weights.
    pub snips: Estimate,
    /// The model, corrected by inverse propensities.
    pub dr: Estimate,
    /// Mean of the weights after cutting: far from 1, the propensities or the policy's chances are wrong, or weights
    /// were cut.
    pub weight_mean: f64,
    /// The number of decisions of the policy itself that would tell as much: `(Σ w)² / Σ w²`.
    pub effective_n: f64,
    /// Share of decisions whose weight was cut.
    pub cut: f64,
}

/// All estimates, with intervals of 95 % (normal approximation; for SNIPS by the delta method). `weight_max` cuts
/// larger weights; infinity cuts none.
///
/// ```
/// use tradewind_recommend::evaluate::{Logged, off_policy};
/// // Two buttons shown with even chance; the second one, which the new policy always shows, earns 1 each time.
/// let of = |reward, target| Logged { reward, propensity: 0.5, target, ..Logged::default() };
/// let log = [of(0.0, 0.0), of(1.0, 1.0), of(1.0, 1.0), of(0.0, 0.0)];
/// let told = off_policy(&log, f64::INFINITY).unwrap();
/// assert_eq!((told.ips.mean, told.snips.mean, told.effective_n), (1.0, 1.0, 2.0));
/// ```
pub fn off_policy(log: &[Logged], weight_max: f64) -> Result<OffPolicy> {
    ParamCheck::new().require(weight_max > 0.0, "weight_max", weight_max, "above 0").finish()?;
    if log.is_empty() {
        return Err(Error::Invalid("a log without decisions tells nothing of a policy".into()));
    }
    let mut weights = Vec::with_capacity(log.len());
    let mut n_cut = 0_usize;
    for (i, d) in log.iter().enumerate() {
        if !(d.propensity > 0.0 && d.propensity <= 1.0) {
            return Err(fault(i, "propensity", d.propensity, "above 0 and up to 1"));
        }
        if !(0.0..=1.0).contains(&d.target) {
            return Err(fault(i, "target", d.target, "0 to 1"));
        }
        for (name, value) in
            [("reward", d.reward), ("predicted", d.predicted), ("predicted_target", d.predicted_target)]
        {
            if !value.is_finite() {
                return Err(fault(i, name, value, "a finite number"));
            }
        }
        let weight = d.target / d.propensity;
        n_cut += usize::from(weight > weight_max);
        weights.push(weight.min(weight_max));
    }
    let n = log.len() as f64;
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    let with = |of: &dyn Fn(&Logged, f64) -> f64| {
        let values: Vec<f64> = log.iter().zip(&weights).map(|(d, w)| of(d, *w)).collect();
        Estimate::of(&values)
    };
    Ok(OffPolicy {
        n: log.len(),
        direct: with(&|d, _| d.predicted_target),
        ips: with(&|d, w| w * d.reward),
        snips: snips(log, &weights, sum),
        dr: with(&|d, w| d.predicted_target + w * (d.reward - d.predicted)),
        weight_mean: sum / n,
        effective_n: if squares > 0.0 { sum * sum / squares } else { 0.0 },
        cut: n_cut as f64 / n,
    })
}

/// Where the log never does what the policy would, there is no estimate: 0 with an endless interval.
fn snips(log: &[Logged], weights: &[f64], sum: f64) -> Estimate {
    if sum <= 0.0 {
        return Estimate { mean: 0.0, half_width: f64::INFINITY };
    }
    let mean = log.iter().zip(weights).map(|(d, w)| w * d.reward).sum::<f64>() / sum;
    let spread: f64 = log.iter().zip(weights).map(|(d, w)| (w * (d.reward - mean)).powi(2)).sum();
    Estimate { mean, half_width: 1.96 * spread.sqrt() / sum }
}

fn fault(i: usize, what: &str, got: f64, allowed: &str) -> Error {
    Error::Invalid(format!("decision {}: {what} {got} is not {allowed}", i + 1))
}
