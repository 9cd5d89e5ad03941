//! Losses: their gradients, where they start, and how leaves are renewed.

use super::rank;
use crate::exp::exp;
use crate::matrix::Dataset;
use crate::tree::Link;
use crate::tree::grow::pair;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use tradewind_core::{Error, Result};

/// What is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Squared error, log loss, softmax or LambdaRank, as the task has it.
    #[default]
    Auto,
    /// Squared error; predicts the mean.
    Squared,
    /// Absolute error; predicts the median.
    Absolute,
    /// Squared error near zero, absolute beyond `alpha`.
    Huber,
    /// Pinball loss at level `alpha`.
    Quantile,
    /// Pinball loss at every level of `quantiles`; the answers never cross.
    Quantiles,
    /// Counts, by Poisson deviance.
    Poisson,
    /// Amounts with many zeros, by Tweedie deviance.
    Tweedie,
}

/// An objective with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Loss {
    Squared,
    Huber(f64),
    /// One level per output; the median is the absolute error.
    Pinball(Vec<f64>),
    Poisson,
    Tweedie(f64),
    Logistic,
    Softmax(usize),
    LambdaRank(usize),
}

/// Rows worked on by one task.
pub(super) const CHUNK_ROWS: usize = 8192;

/// Scores that tasks write to; each row belongs to one task at a time.
pub(super) type Scores = Vec<AtomicU64>;

pub(super) fn get(score: &AtomicU64) -> f64 {
    f64::from_bits(score.load(Ordering::Relaxed))
}

pub(super) fn put(score: &AtomicU64, v: f64) {
    score.store(v.to_bits(), Ordering::Relaxed);
}

/// A loss on its rows.
pub(super) struct Problem<'a> {
    pub(super) loss: Loss,
    pub(super) y: &'a [f64],
    pub(super) weight: Option<Vec<f64>>,
    pub(super) groups: Option<&'a [usize]>,
}

impl Loss {
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Pinball(levels) => levels.len(),
            Self::Softmax(k) => *k,
            _ => 1,
        }
    }

    pub(super) fn link(&self) -> Link {
        match self {
            Self::Poisson | Self::Tweedie(_) => Link::Exp,
            Self::Logistic => Link::Logistic,
            Self::Softmax(_) => Link::Softmax,
            _ => Link::Identity,
        }
    }

    fn constant_hessian(&self) -> bool {
        matches!(self, Self::Squared | Self::Huber(_) | Self::Pinball(_))
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(loss: Loss, data: &'a Dataset, weight: Option<Vec<f64>>) -> Result<Self> {
        let y = data.y();
        if matches!(loss, Loss::Poisson | Loss::Tweedie(_)) {
            if let Some(i) = y.iter().position(|y| *y < 0.0) {
                return Err(Error::Invalid(format!(
                    "counts and amounts must not be negative; the target of row {i} is {}; use another objective",
                    y[i]
                )));
            }
            if y.iter().all(|y| *y == 0.0) {
                return Err(Error::Invalid(
                    "the target is zero in every row; there is nothing to learn".into(),
                ));
            }
        }
        if let Some(i) = y.iter().position(|y| y.abs() > 1e30) {
            return Err(Error::Invalid(format!(
                "the target of row {i} is {}, too large to be summed; give it in larger units",
                y[i]
            )));
        }
        Ok(Self { loss, y, weight, groups: data.groups() })
    }

    fn weight_of(&self, i: usize) -> f64 {
        self.weight.as_ref().map_or(1.0, |w| w[i])
    }

    /// Whether all rows have one hessian.
    pub(super) fn is_constant(&self) -> bool {
        self.loss.constant_hessian() && self.weight.is_none()
    }

    fn mean(&self) -> f64 {
        let total: f64 = (0..self.y.len()).map(|i| self.weight_of(i)).sum();
        (0..self.y.len()).map(|i| self.weight_of(i) * self.y[i]).sum::<f64>() / total
    }

    /// The best constant score of each output.
    pub(super) fn start(&self) -> Vec<f64> {
        match &self.loss {
            Loss::Squared | Loss::Huber(_) => vec![self.mean()],
            Loss::Pinball(levels) => {
                let mut all: Vec<(f64, f64)> =
                    (0..self.y.len()).map(|i| (self.y[i], self.weight_of(i))).collect();
                levels.iter().map(|level| percentile(&mut all, *level, self.weight.is_some())).collect()
            }
            Loss::Poisson | Loss::Tweedie(_) => vec![self.mean().ln()],
            Loss::Logistic => {
                let p = self.mean().clamp(1e-15, 1.0 - 1e-15);
                vec![(p / (1.0 - p)).ln()]
            }
            Loss::Softmax(k) => {
                let mut share = vec![0.0; *k];
                (0..self.y.len()).for_each(|i| share[self.y[i] as usize] += self.weight_of(i));
                let total: f64 = share.iter().sum();
                share.iter().map(|s| (s / total).max(1e-15).ln()).collect()
            }
            Loss::LambdaRank(_) => vec![0.0],
        }
    }

    /// The level at which leaves of this output are renewed from the residuals.
    pub(super) fn renewal(&self, output: usize) -> Option<f64> {
        match &self.loss {
            Loss::Pinball(levels) => Some(levels[output]),
            _ => None,
        }
    }

    /// What all outputs of a round share: class probabilities (row after row), or the pairs of ranking.
    pub(super) fn shared(&self, scores: &[Scores]) -> Shared {
        match &self.loss {
            Loss::Softmax(k) => {
                let k = *k;
                let mut p = vec![0.0_f32; self.y.len() * k];
                p.par_chunks_mut(CHUNK_ROWS * k).enumerate().for_each(|(c, p)| {
                    // The exponential is most of the work, so each is taken once, and those of a chunk together.
                    let mut e: Vec<f64> = Vec::with_capacity(p.len());
                    for i in c * CHUNK_ROWS..c * CHUNK_ROWS + p.len() / k {
                        let top = scores.iter().map(|s| get(&s[i])).fold(f64::MIN, f64::max);
                        e.extend(scores.iter().map(|s| get(&s[i]) - top));
                    }
                    exp(&mut e);
                    for (p, e) in p.chunks_exact_mut(k).zip(e.chunks_exact(k)) {
                        let total: f64 = e.iter().sum();
                        p.iter_mut().zip(e).for_each(|(p, e)| *p = (e / total) as f32);
                    }
                });
                Shared::Classes(p)
            }
            Loss::LambdaRank(top) => {
                let one = [self.y.len()];
                let groups = self.groups.unwrap_or(&one);
                Shared::Pairs(rank::lambdas(self.y, groups, &scores[0], *top))
            }
            _ => Shared::Nothing,
        }
    }

    /// Gradient and hessian of every row for one output.
    pub(super) fn fill(&self, scores: &Scores, shared: &Shared, output: usize, out: &mut [i64]) {
        match &self.loss {
            Loss::Squared => self.each(scores, out, |s, y| (s - y, 1.0)),
            Loss::Huber(delta) => self.each(scores, out, |s, y| ((s - y).clamp(-delta, *delta), 1.0)),
            Loss::Pinball(levels) => {
                let level = levels[output];
                self.each(scores, out, |s, y| (if s >= y { 1.0 - level } else { -level }, 1.0));
            }
            // As in LightGBM, a larger hessian keeps the steps of the exponential small.
            Loss::Poisson => self.each(scores, out, |s, y| (s.exp() - y, (s + 0.7).exp())),
            Loss::Tweedie(power) => {
                let (a, b) = (1.0 - power, 2.0 - power);
                self.each(scores, out, |s, y| {
                    let (u, v) = ((a * s).exp(), (b * s).exp());
                    (v - y * u, b * v - a * y * u)
                });
            }
            Loss::Logistic => self.each(scores, out, |s, y| {
                let p = 1.0 / (1.0 + (-s).exp());
                (p - y, p * (1.0 - p))
            }),
            Loss::Softmax(k) => {
                let Shared::Classes(p) = shared else { return };
                let (k, factor) = (*k, *k as f64 / (*k as f64 - 1.0));
                self.rows(out, |i| {
                    let p = f64::from(p[i * k + output]);
                    (p - f64::from(u8::from(self.y[i] as usize == output)), factor * p * (1.0 - p))
                });
            }
            Loss::LambdaRank(_) => {
                let Shared::Pairs(pairs) = shared else { return };
                self.rows(out, |i| pairs[i]);
            }
        }
    }

    fn each(&self, scores: &Scores, out: &mut [i64], f: impl Fn(f64, f64) -> (f64, f64) + Sync) {
        self.rows(out, |i| f(get(&scores[i]), self.y[i]));
    }

    fn rows(&self, out: &mut [i64], f: impl Fn(usize) -> (f64, f64) + Sync) {
        out.par_chunks_mut(CHUNK_ROWS).enumerate().for_each(|(c, out)| {
            for (k, out) in out.iter_mut().enumerate() {
                let i = c * CHUNK_ROWS + k;
                let (g, h) = f(i);
                let w = self.weight_of(i);
                *out = pair((g * w) as f32, (h * w) as f32);
            }
        });
    }

    /// The mean loss of scores (`outputs` a row, base included), for early stopping; lower is better.
    pub(super) fn measure(&self, scores: &[f64]) -> f64 {
        if let Loss::LambdaRank(_) = self.loss {
            let one = [self.y.len()];
            return -rank::ndcg(self.y, self.groups.unwrap_or(&one), scores, 10);
        }
        let k = self.loss.outputs();
        let (mut sum, mut total) = (0.0, 0.0);
        for (i, s) in scores.chunks_exact(k).enumerate() {
            let (y, w) = (self.y[i], self.weight_of(i));
            let loss = match &self.loss {
                Loss::Squared => (s[0] - y).powi(2),
                Loss::Huber(delta) => {
                    let d = (s[0] - y).abs();
                    if d <= *delta { d * d / 2.0 } else { delta * (d - delta / 2.0) }
                }
                Loss::Pinball(levels) => {
                    let pinball = |s: f64, l: f64| if y >= s { l * (y - s) } else { (l - 1.0) * (y - s) };
                    s.iter().zip(levels).map(|(s, l)| pinball(*s, *l)).sum()
                }
                Loss::Poisson => s[0].exp() - y * s[0],
                Loss::Tweedie(p) => {
                    ((2.0 - p) * s[0]).exp() / (2.0 - p) - y * ((1.0 - p) * s[0]).exp() / (1.0 - p)
                }
                Loss::Logistic => s[0].max(0.0) - s[0] * y + (-s[0].abs()).exp().ln_1p(),
                Loss::Softmax(_) => {
                    let top = s.iter().copied().fold(f64::MIN, f64::max);
                    top + s.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - s[y as usize]
                }
                Loss::LambdaRank(_) => 0.0,
            };
            sum += w * loss;
            total += w;
        }
        sum / total
    }
}

/// What the outputs of one round share.
pub(super) enum Shared {
    Nothing,
    Classes(Vec<f32>),
    Pairs(Vec<(f64, f64)>),
}

/// A percentile of (value, weight); without weights it lies between neighbours as LightGBM has it.
pub(super) fn percentile(values: &mut [(f64, f64)], level: f64, weighted: bool) -> f64 {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n = values.len();
    if n == 0 {
        return 0.0;
    }
    if weighted {
        let total: f64 = values.iter().map(|v| v.1).sum();
        let mut sum = 0.0;
        for (v, w) in values.iter() {
            sum += w;
            if sum >= level * total {
                return *v;
            }
        }
        return values[n - 1].0;
    }
    // Counted from the largest value down, between neighbours.
    let place = (1.0 - level).clamp(0.0, 1.0) * (n - 1) as f64;
    let at = (place as usize).min(n - 1);
    let (upper, lower) = (values[n - 1 - at].0, values[n - 1 - (at + 1).min(n - 1)].0);
    upper - (upper - lower) * (place - at as f64)
}
