//! The rounds of boosting.

use super::objective::{Loss, Problem, Scores, get, percentile, put};
use super::{Boosting, FittedBoosting, Sampling};
use crate::learner::Task;
use crate::matrix::{ColumnKind, Dataset, Matrix};
use crate::tree::Ensemble;
use crate::tree::bins::{BinParams, Binned};
use crate::tree::grow::{self, Grower, Grown, Sums};
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use std::sync::atomic::AtomicU64;
use tradewind_core::{Error, Result, Run};

impl Boosting {
    pub(super) fn loss(&self, task: Task, classes: usize) -> Result<Loss> {
        use super::Objective as O;
        Ok(match (task, self.objective) {
            (Task::Regression, O::Auto | O::Squared) => Loss::Squared,
            (Task::Regression, O::Absolute) => Loss::Pinball(vec![0.5]),
            (Task::Regression, O::Huber) => Loss::Huber(self.alpha),
            (Task::Regression, O::Quantile) => Loss::Pinball(vec![self.alpha]),
            (Task::Regression, O::Quantiles) => Loss::Pinball(self.quantiles.clone()),
            (Task::Regression, O::Poisson) => Loss::Poisson,
            (Task::Regression, O::Tweedie) => Loss::Tweedie(self.tweedie_power),
            (Task::Binary, O::Auto) => Loss::Logistic,
            (Task::Multiclass, O::Auto) => Loss::Softmax(classes),
            (Task::Ranking, O::Auto) => Loss::LambdaRank(self.ranking_top),
            (task, objective) => {
                return Err(Error::Invalid(format!(
                    "boosting learns {task} with the objective `auto` only, not {objective:?}"
                )));
            }
        })
    }

    /// Row weights with those of classes multiplied in.
    fn row_weights(
        &self,
        task: Task,
        data: &Dataset,
        labels: Option<&(Vec<usize>, usize)>,
    ) -> Option<Vec<f64>> {
        let mut weight = data.weight().map(<[f64]>::to_vec);
        let Some((label, k)) = labels else { return weight };
        let mut factor = vec![1.0; *k];
        if self.balanced {
            let mut mass = vec![0.0; *k];
            let mut total = 0.0;
            for (i, c) in label.iter().enumerate() {
                let w = weight.as_ref().map_or(1.0, |w| w[i]);
                mass[*c] += w;
                total += w;
            }
            factor.iter_mut().zip(&mass).for_each(|(f, m)| *f = total / (*k as f64 * m));
        }
        if task == Task::Binary && *k > 1 {
            factor[1] *= self.scale_pos_weight;
        }
        if factor.iter().any(|f| *f != 1.0) {
            let w = weight.get_or_insert_with(|| vec![1.0; label.len()]);
            w.iter_mut().zip(label).for_each(|(w, c)| *w *= factor[*c]);
        }
        weight
    }

    pub(super) fn run_rounds(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        validation: Option<&Dataset>,
        earlier: Option<&FittedBoosting>,
    ) -> Result<FittedBoosting> {
        self.check()?;
        data.need_rows("boosting", if task.is_classes() { 2 } else { 1 })?;
        run.check()?;
        self.check_columns(data)?;
        let work = || {
            let mut answer = Err(Error::Interrupted);
            // On a worker thread, from where parallel parts start without waiting.
            rayon::scope(|_| answer = self.rounds_inside(run, task, data, validation, earlier));
            answer
        };
        run.install(work)
    }

    fn check_columns(&self, data: &Dataset) -> Result<()> {
        let p = data.x().n_cols();
        for (name, n) in [("monotone", self.monotone.len()), ("interaction", self.interaction.len())] {
            if n != 0 && n != p {
                return Err(Error::Invalid(format!(
                    "`{name}` names {n} columns and the data have {p}; give one number per column"
                )));
            }
        }
        let both = |j: &usize| {
            data.kinds()[*j] == ColumnKind::Category && self.monotone.get(*j).is_some_and(|m| *m != 0)
        };
        if let Some(j) = (0..p).find(both) {
            return Err(Error::Invalid(format!(
                "column `{}` holds categories, which have no order; its `monotone` must be 0",
                data.names()[j]
            )));
        }
        Ok(())
    }

    fn rounds_inside(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        validation: Option<&Dataset>,
        earlier: Option<&FittedBoosting>,
    ) -> Result<FittedBoosting> {
        let held;
        let (data, validation) = match validation {
            None if self.patience > 0 && self.validation_fraction > 0.0 && data.n_rows() > 1 => {
                held = hold_out(run, data, self.validation_fraction)?;
                (&held.0, Some(&held.1))
            }
            other => (data, other),
        };
        let labels = match earlier {
            None if task.is_classes() => Some(data.classes("boosting")?),
            _ => None,
        };
        if let (Task::Binary, Some((_, k @ 3..))) = (task, &labels) {
            return Err(Error::Invalid(format!("a binary target holds 0 and 1; this one holds {k} classes")));
        }
        let classes = match (earlier, &labels) {
            (Some(e), _) => e.ensemble.n_outputs.max(2),
            (None, Some((_, k))) => *k,
            _ => 0,
        };
        let loss = self.loss(task, classes)?;
        let labels = match (earlier, task.is_classes()) {
            (Some(_), true) => Some((class_labels(data, classes)?, classes)),
            _ => labels,
        };
        if task == Task::Ranking {
            check_grades(data)?;
        }
        let k = loss.outputs();
        let weight = self.row_weights(task, data, labels.as_ref());
        let problem = Problem::new(loss.clone(), data, weight)?;
        let n = data.n_rows();
        let bins =
            BinParams { max_bins: self.max_bins, min_rows: self.min_data_in_bin, ..BinParams::default() };
        let binned = Binned::new(run, data, &bins)?;
        let start = match (earlier, self.boost_from_average) {
            (Some(e), _) => e.ensemble.base.clone(),
            (None, true) => problem.start(),
            (None, false) => vec![0.0; k],
        };
        let mut ensemble = match earlier {
            Some(e) => e.ensemble.clone(),
            None => Ensemble {
                n_features: data.x().n_cols(),
                n_outputs: k,
                base: start,
                trees: Vec::new(),
                output: Vec::new(),
                mean: false,
            },
        };
        let first = ensemble.trees.len();
        let scores: Vec<Scores> = if earlier.is_some() {
            let s = ensemble.scores(data.x())?;
            (0..k).map(|o| (0..n).map(|i| AtomicU64::new(s.get(i, o).to_bits())).collect()).collect()
        } else {
            ensemble.base.iter().map(|b| (0..n).map(|_| AtomicU64::new(b.to_bits())).collect()).collect()
        };
        let mut watch = match validation.filter(|_| self.patience > 0) {
            Some(v) => {
                v.x().check_width(data.x().n_cols(), "the validation part")?;
                if task.is_classes() {
                    class_labels(v, classes)?;
                }
                let problem = Problem::new(loss.clone(), v, v.weight().map(<[f64]>::to_vec))?;
                Some(Watch {
                    problem,
                    x: v.x(),
                    scores: ensemble.scores(v.x())?,
                    best: f64::INFINITY,
                    at: first,
                })
            }
            None => None,
        };
        let mut grower = Grower::new(&binned, self.grow_params());
        let mut words = vec![0_i64; n];
        let mut bag: Option<Vec<u32>> = None;
        let mut out_of_bag: Vec<u32> = Vec::new();
        let p = data.x().n_cols();
        run.progress().begin("boosting", self.n_rounds as u64);
        for round in 0..self.n_rounds {
            run.check()?;
            let stream = (first + round) as u64 + 1;
            let mut rng = run.rng(0xb005_0000 + stream);
            let dropped = self.drop_trees(&mut rng, &ensemble, first);
            self.shift(&ensemble, &dropped, data.x(), &scores, -1.0);
            let shared = problem.shared(&scores);
            if self.sampling == Sampling::Bagging
                && self.bagging_fraction < 1.0
                && round % self.bagging_freq == 0
            {
                let mut drawn = Vec::with_capacity(n);
                out_of_bag.clear();
                for i in 0..n as u32 {
                    let list = if rng.random::<f64>() < self.bagging_fraction {
                        &mut drawn
                    } else {
                        &mut out_of_bag
                    };
                    list.push(i);
                }
                bag = (!drawn.is_empty()).then_some(drawn);
                if bag.is_none() {
                    out_of_bag.clear();
                }
            }
            let used = used_columns(&mut rng, p, self.feature_fraction);
            let mut grew = false;
            let begin = ensemble.trees.len();
            for output in 0..k {
                problem.fill(&scores[output], &shared, output, &mut words);
                if self.sampling == Sampling::Goss && round as f64 >= 1.0 / self.learning_rate {
                    let drawn = self.goss(&mut rng, &mut words);
                    out_of_bag = complement(n, &drawn);
                    bag = Some(drawn);
                }
                let constant = problem.is_constant() && self.sampling != Sampling::Goss;
                let sums: Sums =
                    grow::quantise(&mut words, constant, stream.wrapping_mul(0x51_7CC1_B727) << 20);
                let stream = stream * k as u64 + output as u64;
                let mut grown = grower.grow(run, &words, sums, bag.as_deref(), &used, stream)?;
                grew |= !grown.tree.nodes.is_empty();
                self.renew(&problem, output, &mut grown, grower.rows(), &scores[output]);
                let share = self.learning_rate / (dropped.len() / k + 1) as f64;
                grown.tree.leaves.iter_mut().for_each(|v| *v *= share);
                add(&grown, grower.rows(), &scores[output]);
                if bag.is_some() {
                    let leaves = &grown.tree.leaves;
                    grow::leaves_of(&binned, &grown, &out_of_bag, |_, i, leaf| {
                        let score = &scores[output][i as usize];
                        put(score, get(score) + leaves[leaf]);
                    });
                }
                ensemble.trees.push(grown.tree);
                ensemble.output.push(output as u32);
            }
            if !dropped.is_empty() {
                let keep = dropped.len() as f64 / k as f64;
                for t in &dropped {
                    ensemble.trees[*t].leaves.iter_mut().for_each(|v| *v *= keep / (keep + 1.0));
                }
                self.shift(&ensemble, &dropped, data.x(), &scores, 1.0);
            }
            run.progress().advance(1);
            if !grew && self.sampling == Sampling::All && self.feature_fraction >= 1.0 && dropped.is_empty() {
                // Nothing is left to split; every further round would be the same.
                if ensemble.trees.len() > k {
                    ensemble.trees.truncate(begin);
                    ensemble.output.truncate(begin);
                }
                break;
            }
            if let Some(watch) = &mut watch
                && watch.add(&ensemble, begin, self.patience * k)
            {
                break;
            }
        }
        run.progress().end();
        if let Some(watch) = watch {
            ensemble.trees.truncate(watch.at.max(first));
            ensemble.output.truncate(watch.at.max(first));
        }
        Ok(FittedBoosting {
            params: self.clone(),
            task,
            link: loss.link(),
            sorts: matches!(&loss, Loss::Pinball(levels) if levels.len() > 1),
            names: data.names().to_vec(),
            categories: data.kinds().iter().map(|k| *k == ColumnKind::Category).collect(),
            ensemble,
        })
    }

    /// The trees that DART leaves out of this round (Rashmi and Gilad-Bachrach 2015): whole rounds.
    fn drop_trees(&self, rng: &mut impl RngExt, ensemble: &Ensemble, first: usize) -> Vec<usize> {
        if !self.dart || rng.random::<f64>() < self.skip_drop {
            return Vec::new();
        }
        let k = ensemble.n_outputs;
        let rounds = (ensemble.trees.len() - first) / k;
        let chosen: Vec<usize> =
            (0..rounds).filter(|_| rng.random::<f64>() < self.drop_rate).take(self.max_drop).collect();
        chosen.iter().flat_map(|r| (0..k).map(move |o| first + r * k + o)).collect()
    }

    fn shift(&self, ensemble: &Ensemble, trees: &[usize], x: &Matrix, scores: &[Scores], sign: f64) {
        for t in trees {
            let tree = &ensemble.trees[*t];
            scores[ensemble.output[*t] as usize].par_iter().enumerate().with_min_len(1024).for_each(
                |(i, s)| {
                    put(s, get(s) + sign * tree.leaves[tree.leaf_of(x.row(i))]);
                },
            );
        }
    }

    /// One-side sampling (Ke et al. 2017): all rows of large gradient, and some others that count for more.
    fn goss(&self, rng: &mut impl RngExt, pairs: &mut [i64]) -> Vec<u32> {
        let parts = |p: i64| (f32::from_bits((p >> 32) as u32), f32::from_bits(p as u32));
        let size = |p: i64| {
            let (g, h) = parts(p);
            (g * h).abs()
        };
        let n = pairs.len();
        let n_top = ((n as f64 * self.top_rate) as usize).clamp(1, n);
        let mut sizes: Vec<f32> = pairs.iter().map(|p| size(*p)).collect();
        let bar = *sizes.select_nth_unstable_by(n_top - 1, |a, b| b.total_cmp(a)).1;
        let chance = self.other_rate / (1.0 - self.top_rate);
        let factor = (1.0 / chance) as f32;
        let mut kept = Vec::new();
        for (i, p) in pairs.iter_mut().enumerate() {
            if size(*p) >= bar {
                kept.push(i as u32);
            } else if rng.random::<f64>() < chance {
                let (g, h) = parts(*p);
                *p = grow::pair(g * factor, h * factor);
                kept.push(i as u32);
            }
        }
        kept
    }

    /// Leaf values as percentiles of the residuals.
    fn renew(&self, problem: &Problem<'_>, output: usize, grown: &mut Grown, rows: &[u32], scores: &Scores) {
        let Some(level) = problem.renewal(output) else { return };
        let (ranges, bounds) = (&grown.ranges, &grown.bounds);
        grown.tree.leaves.par_iter_mut().zip(ranges).zip(bounds).for_each(|((leaf, range), bounds)| {
            let mut residuals: Vec<(f64, f64)> = rows[range.clone()]
                .iter()
                .map(|i| *i as usize)
                .map(|i| (problem.y[i] - get(&scores[i]), problem.weight.as_ref().map_or(1.0, |w| w[i])))
                .collect();
            *leaf = bounds.clip(percentile(&mut residuals, level, problem.weight.is_some()));
        });
    }
}

/// Watches the validation part.
struct Watch<'a> {
    problem: Problem<'a>,
    x: &'a Matrix,
    scores: Matrix,
    best: f64,
    /// Trees at the best round.
    at: usize,
}

impl Watch<'_> {
    /// Takes in the trees from `begin` on; whether it is time to stop.
    fn add(&mut self, ensemble: &Ensemble, begin: usize, patience: usize) -> bool {
        let k = ensemble.n_outputs;
        let x = self.x;
        self.scores.values_mut().par_chunks_mut(k).enumerate().with_min_len(512).for_each(|(i, s)| {
            for (tree, output) in ensemble.trees[begin..].iter().zip(&ensemble.output[begin..]) {
                s[*output as usize] += tree.leaves[tree.leaf_of(x.row(i))];
            }
        });
        let loss = self.problem.measure(self.scores.values());
        if loss < self.best {
            (self.best, self.at) = (loss, ensemble.trees.len());
        }
        ensemble.trees.len() >= self.at + patience
    }
}

fn add(grown: &Grown, rows: &[u32], scores: &Scores) {
    grown.ranges.par_iter().zip(&grown.tree.leaves).for_each(|(range, v)| {
        for i in &rows[range.clone()] {
            let score = &scores[*i as usize];
            put(score, get(score) + v);
        }
    });
}

fn used_columns(rng: &mut impl RngExt, p: usize, fraction: f64) -> Vec<bool> {
    if fraction >= 1.0 || p == 0 {
        return vec![true; p];
    }
    let mut order: Vec<usize> = (0..p).collect();
    order.shuffle(rng);
    let mut used = vec![false; p];
    order.iter().take(((p as f64 * fraction).round() as usize).max(1)).for_each(|j| used[*j] = true);
    used
}

fn complement(n: usize, drawn: &[u32]) -> Vec<u32> {
    let mut next = drawn.iter().copied().peekable();
    (0..n as u32).filter(|i| next.next_if_eq(i).is_none()).collect()
}

/// Rows for learning and rows for watching; groups stay whole.
fn hold_out(run: &Run, data: &Dataset, fraction: f64) -> Result<(Dataset, Dataset)> {
    let sizes: Vec<usize> = data.groups().map_or_else(|| vec![1; data.n_rows()], <[usize]>::to_vec);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.shuffle(&mut run.rng(0x7a11));
    let keep =
        ((sizes.len() as f64 * fraction).round() as usize).clamp(1, sizes.len().saturating_sub(1).max(1));
    let mut watched = vec![false; sizes.len()];
    order.iter().take(keep).for_each(|g| watched[*g] = true);
    let (mut train, mut watch, mut at) = (Vec::new(), Vec::new(), 0);
    for (g, n) in sizes.iter().enumerate() {
        if watched[g] { &mut watch } else { &mut train }.extend(at..at + n);
        at += n;
    }
    Ok((data.select_rows(&train)?, data.select_rows(&watch)?))
}

/// Classes that are known already.
fn class_labels(data: &Dataset, classes: usize) -> Result<Vec<usize>> {
    let fault = |i: usize| {
        Error::Invalid(format!(
            "the target of row {i} is {}; this model knows the classes 0 to {}",
            data.y()[i],
            classes - 1
        ))
    };
    let label = |(i, y): (usize, &f64)| {
        let known = *y >= 0.0 && y.fract() == 0.0 && *y < classes as f64;
        if known { Ok(*y as usize) } else { Err(fault(i)) }
    };
    data.y().iter().enumerate().map(label).collect()
}

fn check_grades(data: &Dataset) -> Result<()> {
    let wrong = |y: &f64| !(*y >= 0.0 && *y <= 31.0 && y.fract() == 0.0);
    match data.y().iter().position(wrong) {
        None => Ok(()),
        Some(i) => Err(Error::Invalid(format!(
            "ranking needs grades of relevance, whole numbers from 0 to 31; row {i} has {}",
            data.y()[i]
        ))),
    }
}
