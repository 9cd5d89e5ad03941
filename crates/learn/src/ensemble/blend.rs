//! A weighted average of models.

use super::greedy::Greedy;
use super::member::{Candidate, Member, combine};
use super::{BLEND, folds_for};
use crate::crossval::{Split, gather, predict_folds};
use crate::lbfgs;
use crate::learner::{FittedLearner, Learner, Task, save};
use crate::matrix::{Dataset, Matrix};
use crate::measure::Measure;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, Result, Run, TrainingCurve};

/// How the members' weights are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// All weigh the same.
    #[default]
    Average,
    /// The weights, not negative and together 1, that make the answers for rows not seen best: least squares for
    /// numbers, log loss for classes (Breiman 1996). See [`simplex_weights`].
    Validation,
    /// Greedy selection by a measure; see [`Greedy`].
    Greedy(Greedy),
}

/// How the members' answers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// Their weighted average.
    #[default]
    Linear,
    /// Probabilities proportional to the weighted product of theirs, which is the average of log odds (Genest and Zidek
    /// 1986). Members of different kinds that are sure for different reasons help each other more this way. For classes
    /// only; numbers are averaged.
    Logarithmic,
}

/// The smallest probability of a member that counts, so that one that is wholly sure leaves the others a say.
const LEAST: f64 = 1e-9;

/// An ensemble whose answer is the weighted average of its members' answers.
///
/// Weights come from answers out of fold: each member is fitted on all folds but one and asked about that one. Members
/// that have a weight are then fitted on all rows.
#[derive(Debug)]
pub struct Blend {
    /// The members.
    pub members: Vec<Candidate>,
    /// What is learnt.
    pub task: Task,
    /// How weights are found.
    pub combine: Combine,
    /// What greedy selection goes by.
    pub measure: Measure,
    /// Folds for the answers out of fold, 2 to 1000.
    pub n_folds: usize,
}

/// What [`Blend`] learnt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedBlend {
    members: Vec<Member>,
    weights: Vec<f64>,
    #[serde(default)]
    pool: Pool,
}

impl FittedBlend {
    /// Fitted members with their weights; those of weight 0 are left out. Fails on negative weights, and unless they
    /// come to 1.
    pub fn new(members: Vec<Member>, weights: Vec<f64>) -> Result<Self> {
        let total: f64 = weights.iter().sum();
        if members.len() != weights.len() || !weights.iter().all(|w| *w >= 0.0) || (total - 1.0).abs() > 1e-9
        {
            return Err(Error::Invalid(format!(
                "an ensemble needs one weight per member, not negative and together 1; {} members have {weights:?}",
                members.len()
            )));
        }
        let (members, weights) = members.into_iter().zip(weights).filter(|(_, w)| *w > 0.0).unzip();
        Ok(Self { members, weights, pool: Pool::Linear })
    }

    /// The same members and weights, put together in this way.
    pub fn with_pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Their weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }
}

impl Blend {
    /// Fits on folds of the task's kind: classes keep their shares.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedBlend> {
        match self.combine {
            Combine::Average => self.fit_on(run, data, &[]),
            _ => self.fit_on(run, data, &folds_for(run, self.task, data, self.n_folds)?),
        }
    }

    /// Fits with these splits for the answers out of fold.
    pub fn fit_on(&self, run: &Run, data: &Dataset, splits: &[Split]) -> Result<FittedBlend> {
        let n = self.members.len();
        if n == 0 {
            return Err(Error::NotEnoughData {
                what: "an ensemble (members counted)".into(),
                needed: 1,
                got: 0,
            });
        }
        let weights = match self.combine {
            Combine::Average => vec![1.0 / n as f64; n],
            _ => {
                let (answers, rows) = out_of_fold(run, &self.members, data, splits)?;
                let seen = data.select_rows(&rows)?;
                match self.combine {
                    Combine::Greedy(greedy) => {
                        greedy
                            .choose(run, self.task, self.measure, &answers, seen.y(), seen.weight())?
                            .weights
                    }
                    _ => simplex_weights(run, self.task, &answers, &seen)?,
                }
            }
        };
        let inner = run.quiet().with_threads(0);
        let fitted: Vec<Result<Option<Member>>> = run.install(|| {
            let fit = |(m, w): (&Candidate, &f64)| match *w > 0.0 {
                true => m.fit(&inner, data).map(Some),
                false => Ok(None),
            };
            self.members.par_iter().zip(&weights).with_max_len(1).map(fit).collect()
        });
        let fitted = fitted.into_iter().collect::<Result<Vec<_>>>()?;
        let (members, weights) = fitted.into_iter().zip(weights).filter_map(|(m, w)| Some((m?, w))).unzip();
        FittedBlend::new(members, weights)
    }
}

/// Every member's answers for the rows of the splits' test parts, by models that had not seen them, and these rows.
pub(crate) fn out_of_fold(
    run: &Run,
    members: &[Candidate],
    data: &Dataset,
    splits: &[Split],
) -> Result<(Vec<Matrix>, Vec<usize>)> {
    let mut answers = Vec::with_capacity(members.len());
    let mut rows = Vec::new();
    for member in members {
        let folds = predict_folds(run, data, splits, |run, train, _| member.learner.fit(run, train))?;
        let (all, predicted) = gather(data.n_rows(), splits, &folds)?;
        answers.push(all.select_rows(&predicted));
        rows = predicted;
    }
    Ok((answers, rows))
}

/// The weights, not negative and together 1, for which the weighted average of `answers` has the least squared error
/// (numbers) or log loss (classes) on the rows of `data`. Both are convex in the weights; they are written as a softmax
/// and found by L-BFGS from equal weights.
pub fn simplex_weights(run: &Run, task: Task, answers: &[Matrix], data: &Dataset) -> Result<Vec<f64>> {
    let m = answers.len();
    let width = answers.iter().map(Matrix::n_cols).max().unwrap_or(0);
    if let Some(odd) = answers.iter().find(|a| a.n_rows() != data.n_rows()) {
        return Err(Error::Invalid(format!("{} answers for {} rows", odd.n_rows(), data.n_rows())));
    }
    let classes = task.is_classes();
    // What each member says where it counts: the number, or the probability of what happened.
    let column = |a: &Matrix, i: usize| -> f64 {
        match classes {
            true => a.row(i).get(data.y()[i] as usize).copied().unwrap_or(0.0),
            false => a.row(i).first().copied().unwrap_or(0.0),
        }
    };
    if !classes && width != 1 {
        return Err(Error::Invalid(format!("weights are found for one number per row, not {width}")));
    }
    let said: Vec<Vec<f64>> =
        answers.iter().map(|a| (0..data.n_rows()).map(|i| column(a, i)).collect()).collect();
    let w = data.weights();
    let total: f64 = w.iter().sum();
    let y = data.y();
    let mean = y.iter().zip(&w).map(|(y, w)| y * w).sum::<f64>() / total;
    let spread = y.iter().zip(&w).map(|(y, w)| w * (y - mean) * (y - mean)).sum::<f64>() / total;
    let spread = if spread > 0.0 { spread } else { 1.0 };
    let objective = |theta: &[f64], g: &mut [f64]| -> f64 {
        let p = softmax(theta);
        let mut value = 0.0;
        let mut slope = vec![0.0; m];
        for i in 0..y.len() {
            let mixed: f64 = (0..m).map(|k| p[k] * said[k][i]).sum();
            let by_mixed = if classes {
                let held = mixed.max(1e-6);
                value -= w[i] / total * held.ln();
                if mixed > 1e-6 { -w[i] / total / held } else { 0.0 }
            } else {
                let e = mixed - y[i];
                value += w[i] / total / spread * e * e;
                2.0 * w[i] / total / spread * e
            };
            (0..m).for_each(|k| slope[k] += by_mixed * said[k][i]);
        }
        let mean: f64 = (0..m).map(|k| p[k] * slope[k]).sum();
        (0..m).for_each(|k| g[k] = p[k] * (slope[k] - mean));
        value
    };
    let end = lbfgs::minimise(run, vec![0.0; m], 1e-7, 500, objective, |_| {})?;
    let mut weights = softmax(&end.x);
    // What rounding left is nothing.
    weights.iter_mut().for_each(|w| *w = if *w < 1e-4 { 0.0 } else { *w });
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    Ok(weights)
}

fn softmax(theta: &[f64]) -> Vec<f64> {
    let most = theta.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = theta.iter().map(|t| (t - most).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|e| e / sum).collect()
}

impl Learner for Blend {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedBlend {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        let mut answers: Vec<Matrix> =
            self.members.iter().map(|m| m.model.predict(x)).collect::<Result<_>>()?;
        let width = answers.iter().map(Matrix::n_cols).max().unwrap_or(0);
        if self.pool == Pool::Logarithmic && width > 1 {
            for a in &mut answers {
                a.values_mut().iter_mut().for_each(|p| *p = p.max(LEAST).ln());
                // A class the member never saw is as good as impossible to it.
                let rest = Matrix::new(
                    a.n_rows(),
                    width - a.n_cols(),
                    vec![LEAST.ln(); a.n_rows() * (width - a.n_cols())],
                )?;
                *a = a.beside(&rest)?;
            }
            let mut sum = combine(answers.iter().zip(self.weights.iter().copied()), x.n_rows())?;
            for i in 0..sum.n_rows() {
                let p = softmax(sum.row(i));
                sum.row_mut(i).copy_from_slice(&p);
            }
            return Ok(sum);
        }
        combine(answers.iter().zip(self.weights.iter().copied()), x.n_rows())
    }

    fn save(&self) -> Result<Value> {
        save(BLEND, self)
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.members.iter().flat_map(Member::training_curves).collect()
    }

    /// The weighted mean of the members' importances, each brought to a sum of 1; absent where one has none.
    fn importance(&self) -> Option<Vec<f64>> {
        let mut sum: Vec<f64> = Vec::new();
        for (member, weight) in self.members.iter().zip(&self.weights) {
            let own = member.model.importance()?;
            let total: f64 = own.iter().sum();
            sum.resize(own.len(), 0.0);
            sum.iter_mut()
                .zip(&own)
                .for_each(|(s, v)| *s += if total > 0.0 { weight * v / total } else { 0.0 });
        }
        Some(sum)
    }
}
