//! Shares of traffic that follow what is learnt: Thompson sampling (1933; Chapelle and Li 2011) over arms.
//!
//! An arm's share is the chance that it is the best, with a floor that keeps every arm measurable. Shares and conversions
//! have Beta posteriors with a uniform prior, other figures normal ones. A bandit earns more while it runs and tells less
//! afterwards: its p-values are not shown, the chance of being best is.

use super::{Estimate, MetricKind, Sums};
use crate::error::{Error, Result};
use rand_distr::{Beta, Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use tradewind_core::{ErrorKind, Run};

/// How a bandit deals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bandit {
    /// The least share of each arm, 0.05; at most one over the number of arms.
    pub floor: f64,
    /// Units that each arm needs before shares move, 100.
    pub units_min: u64,
    /// Draws from the posteriors, 20,000.
    pub draws: u32,
}

impl Default for Bandit {
    fn default() -> Self {
        Self { floor: 0.05, units_min: 100, draws: 20_000 }
    }
}

/// What a bandit says of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chance {
    /// The chance that it is the best arm.
    pub best: f64,
    /// What is lost on average by choosing it, in the unit of the metric.
    pub regret: f64,
    /// The share of traffic that it should get.
    pub share: f64,
}

impl Bandit {
    /// The chances of arms, in their order; the same seed gives the same chances. Equal shares while an arm has too few
    /// units.
    ///
    /// # Errors
    /// Settings outside their range; no arm.
    pub fn chances(
        &self,
        run: &Run,
        kind: MetricKind,
        higher_is_better: bool,
        arms: &[Sums],
    ) -> Result<Vec<Chance>> {
        let k = arms.len();
        if k == 0
            || !(0.0..=1.0 / k as f64).contains(&self.floor)
            || !(100..=10_000_000).contains(&self.draws)
        {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("a bandit of {k} arms with the floor {} and {} draws", self.floor, self.draws),
                "give a floor of 0 to one over the number of arms, and 100 to 10,000,000 draws",
            ));
        }
        let equal = Chance { best: 1.0 / k as f64, regret: 0.0, share: 1.0 / k as f64 };
        if arms.iter().any(|a| a.n() < self.units_min.max(2)) {
            return Ok(vec![equal; k]);
        }
        let laws: Vec<Law> = arms.iter().map(|sums| Law::of(kind, sums)).collect();
        let mut rng = run.rng(0x0062_616e_6469_7400);
        let (mut wins, mut regrets) = (vec![0_u32; k], vec![0.0; k]);
        let mut drawn = vec![0.0; k];
        for _ in 0..self.draws {
            for (value, law) in drawn.iter_mut().zip(&laws) {
                let sign = if higher_is_better { 1.0 } else { -1.0 };
                *value = sign
                    * match law {
                        Law::Beta(beta) => beta.sample(&mut rng),
                        Law::Normal(mean, error) => {
                            let z: f64 = StandardNormal.sample(&mut rng);
                            mean + error * z
                        }
                    };
            }
            let best = (0..k).max_by(|a, b| drawn[*a].total_cmp(&drawn[*b])).unwrap_or(0);
            wins[best] += 1;
            regrets.iter_mut().zip(&drawn).for_each(|(r, v)| *r += drawn[best] - v);
        }
        let draws = f64::from(self.draws);
        let free = 1.0 - self.floor * k as f64;
        Ok(wins
            .into_iter()
            .zip(regrets)
            .map(|(wins, regret)| {
                let best = f64::from(wins) / draws;
                Chance { best, regret: regret / draws, share: self.floor + free * best }
            })
            .collect())
    }
}

/// What is believed of an arm's figure.
enum Law {
    Beta(Beta<f64>),
    Normal(f64, f64),
}

impl Law {
    fn of(kind: MetricKind, sums: &Sums) -> Self {
        let estimate = Estimate::raw(sums);
        if kind == MetricKind::Conversion {
            let yes = estimate.value * estimate.n as f64;
            if let Ok(beta) = Beta::new(1.0 + yes, 1.0 + estimate.n as f64 - yes) {
                return Self::Beta(beta);
            }
        }
        Self::Normal(estimate.value, estimate.variance.max(0.0).sqrt())
    }
}

/// Shares as hundredths of a percent that sum to a whole, the largest remainders rounded up.
pub(super) fn weights(shares: &[f64]) -> Vec<u32> {
    let whole = f64::from(crate::traffic::WHOLE);
    let mut out: Vec<u32> = shares.iter().map(|s| (s * whole).floor() as u32).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order
        .sort_by(|a, b| (shares[*b] * whole).fract().total_cmp(&(shares[*a] * whole).fract()).then(a.cmp(b)));
    let left = crate::traffic::WHOLE.saturating_sub(out.iter().sum());
    for i in order.into_iter().cycle().take(left as usize) {
        out[i] += 1;
    }
    out
}
