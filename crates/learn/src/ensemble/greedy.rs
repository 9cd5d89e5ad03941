//! Choosing an ensemble greedily (Caruana, Niculescu-Mizil, Crew and Ksikes 2004).

use super::member::combine;
use crate::learner::Task;
use crate::matrix::Matrix;
use crate::measure::Measure;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The random stream of the bags.
const STREAM: u64 = 0x6772_6564;

/// Greedy selection with replacement: beginning with nothing, the member is added, again and again, that makes the
/// average of those chosen so far best on the validation rows. A member's weight is how often it was chosen.
///
/// Each bag sees a random part of the members, which guards against fitting the validation rows; the bags' weights are
/// averaged. Whatever comes out is compared with every bag and with the best single member, and the best of them is
/// taken: on the validation rows the choice is never worse than the best member.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_rounds` | 50 | 1 to 10000 | members chosen, with replacement |
/// | `n_bags` | 10 | 1 to 1000 | random parts of the members; 1 sees them all |
/// | `bag_share` | 0.5 | above 0 to 1 | share of the members in each bag |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Greedy {
    /// Members chosen, with replacement.
    pub n_rounds: usize,
    /// Random parts of the members.
    pub n_bags: usize,
    /// Share of the members in each bag.
    pub bag_share: f64,
}

impl Default for Greedy {
    fn default() -> Self {
        Self { n_rounds: 50, n_bags: 10, bag_share: 0.5 }
    }
}

/// What greedy selection chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GreedyChoice {
    /// The weight of every member; not negative, together 1.
    pub weights: Vec<f64>,
    /// The score of the weighted average on the validation rows.
    pub score: f64,
}

impl Greedy {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((1..=10_000).contains(&self.n_rounds), "n_rounds", self.n_rounds, "1 to 10000")
            .require((1..=1000).contains(&self.n_bags), "n_bags", self.n_bags, "1 to 1000")
            .require(
                self.bag_share > 0.0 && self.bag_share <= 1.0,
                "bag_share",
                self.bag_share,
                "above 0 to 1",
            )
            .finish()
    }

    /// Chooses by the members' `answers` for the same rows, which none of them has seen in fitting.
    pub fn choose(
        &self,
        run: &Run,
        task: Task,
        measure: Measure,
        answers: &[Matrix],
        truth: &[f64],
        weight: Option<&[f64]>,
    ) -> Result<GreedyChoice> {
        self.check()?;
        if answers.is_empty() {
            return Err(Error::NotEnoughData {
                what: "greedy selection (members counted)".into(),
                needed: 1,
                got: 0,
            });
        }
        let n = truth.len();
        let score = |weights: &[f64]| -> Result<f64> {
            let mixed = combine(answers.iter().zip(weights.iter().copied()), n)?;
            measure.score(task, truth, &mixed, weight, None)
        };
        let alone = |m: usize| {
            let mut weights = vec![0.0; answers.len()];
            weights[m] = 1.0;
            weights
        };
        let mut best: Option<GreedyChoice> = None;
        let offer = |best: &mut Option<GreedyChoice>, weights: Vec<f64>| -> Result<()> {
            let score = score(&weights)?;
            if best.as_ref().is_none_or(|b| measure.loss(score) < measure.loss(b.score)) {
                *best = Some(GreedyChoice { weights, score });
            }
            Ok(())
        };
        for m in 0..answers.len() {
            offer(&mut best, alone(m))?;
        }
        let bags: Vec<Vec<usize>> = (0..self.n_bags)
            .map(|bag| {
                let mut members: Vec<usize> = (0..answers.len()).collect();
                if self.n_bags > 1 {
                    members.shuffle(&mut run.rng(STREAM + bag as u64));
                    members.truncate(((answers.len() as f64 * self.bag_share).ceil() as usize).max(1));
                    members.sort_unstable();
                }
                members
            })
            .collect();
        let chosen: Vec<Result<Vec<f64>>> = run.install(|| {
            bags.par_iter().map(|bag| self.one_bag(run, task, measure, answers, truth, weight, bag)).collect()
        });
        let mut mean = vec![0.0; answers.len()];
        for weights in chosen {
            let weights = weights?;
            mean.iter_mut().zip(&weights).for_each(|(m, w)| *m += w / self.n_bags as f64);
            offer(&mut best, weights)?;
        }
        offer(&mut best, mean)?;
        best.ok_or_else(|| Error::Invalid("greedy selection found no member".into()))
    }

    fn one_bag(
        &self,
        run: &Run,
        task: Task,
        measure: Measure,
        answers: &[Matrix],
        truth: &[f64],
        weight: Option<&[f64]>,
        bag: &[usize],
    ) -> Result<Vec<f64>> {
        let n = truth.len();
        let mut sum = Matrix::zeros(n, answers.iter().map(Matrix::n_cols).max().unwrap_or(0));
        let mut counts = vec![0_usize; answers.len()];
        // The counts after the round that was best so far: later rounds may make it worse.
        let mut best: Option<(f64, Vec<usize>)> = None;
        for round in 1..=self.n_rounds {
            run.check()?;
            let mut step: Option<(f64, usize)> = None;
            for &m in bag {
                let mut mixed = sum.clone();
                super::member::add_weighted(&mut mixed, &answers[m], 1.0)?;
                mixed.values_mut().iter_mut().for_each(|v| *v /= round as f64);
                let loss = measure.loss(measure.score(task, truth, &mixed, weight, None)?);
                if step.is_none_or(|(b, _)| loss < b) {
                    step = Some((loss, m));
                }
            }
            let Some((loss, m)) = step else { break };
            super::member::add_weighted(&mut sum, &answers[m], 1.0)?;
            counts[m] += 1;
            if best.as_ref().is_none_or(|(b, _)| loss < *b) {
                best = Some((loss, counts.clone()));
            }
        }
        let counts = best.map_or(counts, |(_, counts)| counts);
        let total = counts.iter().sum::<usize>().max(1) as f64;
        Ok(counts.into_iter().map(|c| c as f64 / total).collect())
    }
}
