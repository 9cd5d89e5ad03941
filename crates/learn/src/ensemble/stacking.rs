//! A model of the answers of models (Wolpert 1992; Breiman 1996).

use super::blend::out_of_fold;
use super::member::{Candidate, Member};
use super::{STACKING, folds_for};
use crate::crossval::Split;
use crate::learner::{FittedLearner, Learner, Task, save};
use crate::matrix::{ColumnKind, Dataset, Matrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, Result, Run, TrainingCurve};

/// Members, and one estimator that learns from their answers out of fold.
///
/// The answers that the upper estimator learns from are only ever those of models that had not seen the row; a member
/// that knows its training rows by heart gains nothing. Afterwards every member is fitted on all rows. Of the class
/// probabilities that of class 0 is left out, since the others tell it.
#[derive(Debug)]
pub struct Stacking {
    /// The members.
    pub members: Vec<Candidate>,
    /// Learns from their answers.
    pub meta: Candidate,
    /// What is learnt.
    pub task: Task,
    /// Folds for the answers out of fold, 2 to 1000.
    pub n_folds: usize,
    /// Whether the upper estimator also sees the columns themselves.
    pub passthrough: bool,
}

/// What [`Stacking`] learnt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedStacking {
    members: Vec<Member>,
    /// How many columns of answers each member has; those that were used begin at `first`.
    widths: Vec<usize>,
    /// 1 for classes, else 0.
    first: usize,
    meta: Member,
    passthrough: bool,
}

impl Stacking {
    /// Fits on folds of the task's kind: classes keep their shares.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedStacking> {
        self.fit_on(run, data, &folds_for(run, self.task, data, self.n_folds)?)
    }

    /// Fits with these splits for the answers out of fold; rows in no test part are not seen by the upper estimator.
    pub fn fit_on(&self, run: &Run, data: &Dataset, splits: &[Split]) -> Result<FittedStacking> {
        if self.members.is_empty() {
            return Err(Error::NotEnoughData {
                what: "stacking (members counted)".into(),
                needed: 1,
                got: 0,
            });
        }
        let (answers, rows) = out_of_fold(run, &self.members, data, splits)?;
        let first = usize::from(self.task.is_classes());
        let widths: Vec<usize> = answers.iter().map(Matrix::n_cols).collect();
        let seen = data.select_rows(&rows)?;
        let names: Vec<&str> = self.members.iter().map(|m| m.name.as_str()).collect();
        let (x, columns, kinds) =
            features(&answers, &widths, first, &names, self.passthrough.then_some(&seen))?;
        let mut upper = Dataset::with_missing(x, seen.y().to_vec(), columns)?.with_kinds(kinds)?;
        if let Some(w) = seen.weight() {
            upper = upper.with_weight(w.to_vec())?;
        }
        let meta = self.meta.fit(run, &upper)?;
        let inner = run.quiet().with_threads(0);
        let fitted: Vec<Result<Member>> =
            run.install(|| self.members.par_iter().with_max_len(1).map(|m| m.fit(&inner, data)).collect());
        let members = fitted.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(FittedStacking { members, widths, first, meta, passthrough: self.passthrough })
    }
}

/// The answers side by side, with the columns themselves behind them where asked for.
fn features(
    answers: &[Matrix],
    widths: &[usize],
    first: usize,
    members: &[&str],
    with: Option<&Dataset>,
) -> Result<(Matrix, Vec<String>, Vec<ColumnKind>)> {
    let n_rows = answers.first().map_or(0, Matrix::n_rows);
    let mut x = Matrix::zeros(n_rows, 0);
    let mut names = Vec::new();
    for (at, (a, width)) in answers.iter().zip(widths).enumerate() {
        // A member fitted on all rows may know one class more, or less, than on the folds.
        let a = if a.n_cols() < *width {
            a.beside(&Matrix::zeros(n_rows, width - a.n_cols()))?
        } else {
            a.clone()
        };
        let used: Vec<usize> = (first.min(width.saturating_sub(1))..*width).collect();
        x = x.beside(&a.select_columns(&used))?;
        names.extend(used.iter().map(|c| format!("{at} {} {c}", members[at])));
    }
    let mut kinds = vec![ColumnKind::Number; names.len()];
    if let Some(data) = with {
        x = x.beside(data.x())?;
        names.extend(data.names().iter().cloned());
        kinds.extend(data.kinds());
    }
    Ok((x, names, kinds))
}

impl FittedStacking {
    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The upper model.
    pub fn meta(&self) -> &Member {
        &self.meta
    }
}

impl Learner for Stacking {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedStacking {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        let answers: Vec<Matrix> = self.members.iter().map(|m| m.model.predict(x)).collect::<Result<_>>()?;
        let names: Vec<&str> = self.members.iter().map(|m| m.name.as_str()).collect();
        let (mut upper, _, _) = features(&answers, &self.widths, self.first, &names, None)?;
        if self.passthrough {
            upper = upper.beside(x)?;
        }
        self.meta.model.predict(&upper)
    }

    fn save(&self) -> Result<Value> {
        save(STACKING, self)
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.members.iter().chain([&self.meta]).flat_map(Member::training_curves).collect()
    }
}
