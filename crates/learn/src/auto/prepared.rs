//! An estimator with the preparation that it needs.

use crate::ensemble::{Member, PREPARED};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, save};
use crate::linear::Coefficient;
use crate::matrix::{ColumnKind, Dataset, Matrix};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tradewind_core::{Error, Params, Result, Run, TrainingCurve};

/// The random stream of the rows kept for early stopping.
const STREAM: u64 = 0x7072_6570;
/// Categories of a column that get a mark of their own; the others are all unmarked.
pub const CATEGORIES_MAX: usize = 100;

/// An estimator of the catalogue that is handed columns it can use.
///
/// What the entry says it cannot bear is taken from it: missing numbers become the mean, with a mark in a column of its
/// own; categories become one column of 0 and 1 each (the [`CATEGORIES_MAX`] most frequent; missing and unknown ones are
/// all 0); numbers are brought to mean 0 and deviation 1. All of this is learnt from the rows that are fitted.
///
/// Estimators that are to stop early (those with a `patience` above 0) are given a share of the rows to watch.
pub struct Prepared {
    entry: &'static LearnerEntry,
    learner: Box<dyn Learner>,
    task: Task,
    stops_early: bool,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("entry", &self.entry.name)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// What becomes of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// It stays.
    Keep,
    /// `(value − centre) / scale`, missing ones as `fill` first, where there is one; `mark` adds a column that is 1
    /// where it is missing.
    Number { fill: Option<f64>, centre: f64, scale: f64, mark: bool },
    /// One column for each of these codes.
    OneHot { codes: Vec<u32> },
}

impl Step {
    fn width(&self) -> usize {
        match self {
            Self::Keep => 1,
            Self::Number { mark, .. } => 1 + usize::from(*mark),
            Self::OneHot { codes } => codes.len(),
        }
    }
}

/// What [`Prepared`] learnt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedPrepared {
    steps: Vec<Step>,
    names: Vec<String>,
    member: Member,
}

impl Prepared {
    /// The catalogue's estimator of that name with these parameters.
    pub fn of(name: &str, task: Task, params: &Params) -> Result<Self> {
        let entry = crate::entry(name)?;
        let stops_early = params.get("patience").and_then(serde_json::Value::as_f64).is_some_and(|p| p > 0.0);
        Ok(Self { entry, learner: entry.learner(task, params)?, task, stops_early })
    }

    /// Fits the preparation and the estimator on these rows.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedPrepared> {
        let watched = if self.stops_early { self.watched(run, data) } else { None };
        let Some((fitted_rows, watched_rows)) = watched else {
            let steps = steps(self.entry.bears, data)?;
            let prepared = prepare_dataset(&steps, data)?;
            return self.finish(steps, data, self.learner.fit(run, &prepared)?);
        };
        let train = data.select_rows(&fitted_rows)?;
        let steps = steps(self.entry.bears, &train)?;
        let (train, watch) =
            (prepare_dataset(&steps, &train)?, prepare_dataset(&steps, &data.select_rows(&watched_rows)?)?);
        let model = self.learner.fit_validated(run, &train, &watch)?;
        self.finish(steps, data, model)
    }

    fn finish(
        &self,
        steps: Vec<Step>,
        data: &Dataset,
        model: Box<dyn FittedLearner>,
    ) -> Result<FittedPrepared> {
        let member = Member { name: self.entry.name.to_owned(), model };
        Ok(FittedPrepared { steps, names: data.names().to_vec(), member })
    }

    /// One row in eight to watch, of each class; none where there are too few rows, or a class would be missing.
    fn watched(&self, run: &Run, data: &Dataset) -> Option<(Vec<usize>, Vec<usize>)> {
        const EVERY: usize = 8;
        let n = data.n_rows();
        if n < 100 || data.groups().is_some() {
            return None;
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut run.rng(STREAM));
        if self.task.is_classes() {
            order.sort_by(|&a, &b| data.y()[a].total_cmp(&data.y()[b]));
        }
        let (mut watched, mut rest) = (Vec::new(), Vec::new());
        for (at, i) in order.into_iter().enumerate() {
            if at % EVERY == EVERY / 2 { watched.push(i) } else { rest.push(i) }
        }
        watched.sort_unstable();
        rest.sort_unstable();
        if self.task.is_classes() {
            let classes = |rows: &[usize]| {
                let mut c: Vec<usize> = rows.iter().map(|&i| data.y()[i].max(0.0) as usize).collect();
                c.sort_unstable();
                c.dedup();
                c
            };
            if classes(&rest) != classes(&watched) {
                return None;
            }
        }
        Some((rest, watched))
    }
}

/// What each column needs for an estimator that bears so much.
fn steps(bears: Bears, data: &Dataset) -> Result<Vec<Step>> {
    let w = data.weights();
    (0..data.x().n_cols())
        .map(|j| {
            let column = data.x().column(j);
            if data.kinds()[j] == ColumnKind::Category {
                if bears.categories {
                    return Ok(Step::Keep);
                }
                let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
                column
                    .iter()
                    .filter(|v| !v.is_nan())
                    .for_each(|v| *counts.entry(*v as u32).or_default() += 1);
                let mut codes: Vec<(u32, usize)> = counts.into_iter().collect();
                codes.sort_by_key(|&(code, n)| (std::cmp::Reverse(n), code));
                codes.truncate(CATEGORIES_MAX);
                let mut codes: Vec<u32> = codes.into_iter().map(|(code, _)| code).collect();
                codes.sort_unstable();
                return Ok(Step::OneHot { codes });
            }
            if bears.missing && bears.any_scale {
                return Ok(Step::Keep);
            }
            let known = || column.iter().zip(&w).filter(|(v, _)| !v.is_nan());
            let total: f64 = known().map(|(_, w)| w).sum();
            let (mut mean, mut sd) = (0.0, 1.0);
            if total > 0.0 {
                mean = known().map(|(v, w)| v * w).sum::<f64>() / total;
                sd = (known().map(|(v, w)| w * (v - mean) * (v - mean)).sum::<f64>() / total).sqrt();
            }
            if !(mean.is_finite() && sd.is_finite()) {
                let name = &data.names()[j];
                return Err(Error::Invalid(format!(
                    "column `{name}` has values too large to be squared and summed; give it in larger units"
                )));
            }
            // A spread that is only rounding is none.
            let scale = if sd > 1e-13 * mean.abs() { sd } else { 1.0 };
            let (centre, scale) = if bears.any_scale { (0.0, 1.0) } else { (mean, scale) };
            // Where missing values are borne they stay.
            let mark = !bears.missing && column.iter().any(|v| v.is_nan());
            Ok(Step::Number { fill: (!bears.missing).then_some(mean), centre, scale, mark })
        })
        .collect()
}

fn prepare(steps: &[Step], x: &Matrix) -> Result<Matrix> {
    let width = steps.iter().map(Step::width).sum();
    let mut out = Matrix::zeros(x.n_rows(), width);
    for i in 0..x.n_rows() {
        let (row, to) = (x.row(i), out.row_mut(i));
        let mut at = 0;
        for (step, &v) in steps.iter().zip(row) {
            match step {
                Step::Keep => to[at] = v,
                Step::Number { fill, centre, scale, mark } => {
                    let known = if v.is_nan() { fill.unwrap_or(v) } else { v };
                    to[at] = (known - centre) / scale;
                    if *mark {
                        to[at + 1] = f64::from(u8::from(v.is_nan()));
                    }
                }
                Step::OneHot { codes } => {
                    if let Some(c) = codes.iter().position(|c| f64::from(*c) == v) {
                        to[at + c] = 1.0;
                    }
                }
            }
            at += step.width();
        }
    }
    Ok(out)
}

fn prepare_dataset(steps: &[Step], data: &Dataset) -> Result<Dataset> {
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    for ((step, name), kind) in steps.iter().zip(data.names()).zip(data.kinds()) {
        match step {
            Step::Keep => {
                names.push(name.clone());
                kinds.push(*kind);
            }
            Step::Number { mark, .. } => {
                names.push(name.clone());
                kinds.push(ColumnKind::Number);
                if *mark {
                    names.push(format!("{name} is missing"));
                    kinds.push(ColumnKind::Number);
                }
            }
            Step::OneHot { codes } => {
                names.extend(codes.iter().map(|c| format!("{name} = {c}")));
                kinds.resize(names.len(), ColumnKind::Number);
            }
        }
    }
    let mut out =
        Dataset::with_missing(prepare(steps, data.x())?, data.y().to_vec(), names)?.with_kinds(kinds)?;
    if let Some(w) = data.weight() {
        out = out.with_weight(w.to_vec())?;
    }
    if let Some(sizes) = data.groups() {
        out = out.with_groups(sizes.to_vec())?;
    }
    Ok(out)
}

impl FittedPrepared {
    /// The estimator's name.
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// The fitted estimator, which sees the prepared columns.
    pub fn model(&self) -> &dyn FittedLearner {
        &*self.member.model
    }

    fn prepare(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.steps.len(), "the model")?;
        x.check_not_infinite(&self.names)?;
        prepare(&self.steps, x)
    }
}

impl Learner for Prepared {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedPrepared {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.member.model.predict(&self.prepare(x)?)
    }

    fn save(&self) -> Result<Value> {
        save(PREPARED, self)
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.member.training_curves()
    }

    /// Of the columns as they were given: the sum over what became of each.
    fn importance(&self) -> Option<Vec<f64>> {
        let own = self.member.model.importance()?;
        let mut at = 0;
        Some(
            self.steps
                .iter()
                .map(|step| {
                    let from = at;
                    at += step.width();
                    own[from..at].iter().sum()
                })
                .collect(),
        )
    }

    /// Of the columns as they were given: the sum over what became of each.
    fn contributions(&self, run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        let prepared = match self.prepare(x) {
            Ok(prepared) => prepared,
            Err(fault) => return Some(Err(fault)),
        };
        let width = prepared.n_cols() + 1;
        Some(self.member.model.contributions(run, &prepared)?.map(|parts| {
            let n_outputs = parts.n_cols() / width;
            let to_width = self.steps.len() + 1;
            let mut out = Matrix::zeros(parts.n_rows(), n_outputs * to_width);
            for i in 0..parts.n_rows() {
                let (from, to) = (parts.row(i), out.row_mut(i));
                for o in 0..n_outputs {
                    let mut at = o * width;
                    for (j, step) in self.steps.iter().enumerate() {
                        to[o * to_width + j] = from[at..at + step.width()].iter().sum();
                        at += step.width();
                    }
                    to[o * to_width + self.steps.len()] = from[at];
                }
            }
            out
        }))
    }

    /// Of the prepared columns.
    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        self.member.model.coefficients()
    }
}
