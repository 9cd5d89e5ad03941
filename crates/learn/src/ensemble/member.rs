//! The members of ensembles: fitted models that know the name under which they are loaded.

use crate::learner::{FittedLearner, Learner, Task};
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::Value;
use tradewind_core::{Params, Result, Run, TrainingCurve};

/// An estimator by the name it has in the catalogue.
pub struct Candidate {
    /// The name by which [`load_fitted`](super::load_fitted) finds what it learnt.
    pub name: String,
    /// The estimator.
    pub learner: Box<dyn Learner>,
}

impl Candidate {
    /// The catalogue's estimator of that name with these parameters.
    pub fn of(name: &str, task: Task, params: &Params) -> Result<Self> {
        Ok(Self { name: name.to_owned(), learner: crate::entry(name)?.learner(task, params)? })
    }

    pub(crate) fn fit(&self, run: &Run, data: &Dataset) -> Result<Member> {
        Ok(Member { name: self.name.clone(), model: self.learner.fit(run, data)? })
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A fitted model by the name under which it is loaded. It is saved as that name and the model's own state.
pub struct Member {
    /// The name by which [`load_fitted`](super::load_fitted) finds it.
    pub name: String,
    /// The model.
    pub model: Box<dyn FittedLearner>,
}

impl Member {
    /// The curves of the model, under its name.
    pub(crate) fn training_curves(&self) -> Vec<TrainingCurve> {
        // What prepares columns for a model adds nothing to its name.
        if self.name == super::PREPARED {
            return self.model.training_curves();
        }
        self.model.training_curves().into_iter().map(|c| c.within(&self.name)).collect()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedMember {
    name: String,
    state: Value,
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = self.model.save().map_err(ser::Error::custom)?;
        SavedMember { name: self.name.clone(), state }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = SavedMember::deserialize(deserializer)?;
        let model = super::load_fitted(&saved.name, saved.state).map_err(de::Error::custom)?;
        Ok(Self { name: saved.name, model })
    }
}

/// Adds `weight` times the answers to `sum`; a narrower answer (a member that did not see the highest class) counts as
/// 0 in the columns it lacks.
pub(crate) fn add_weighted(sum: &mut Matrix, answers: &Matrix, weight: f64) -> Result<()> {
    if answers.n_cols() > sum.n_cols() {
        *sum = sum.beside(&Matrix::zeros(sum.n_rows(), answers.n_cols() - sum.n_cols()))?;
    }
    for i in 0..answers.n_rows() {
        for (s, v) in sum.row_mut(i).iter_mut().zip(answers.row(i)) {
            *s += weight * v;
        }
    }
    Ok(())
}

/// The weighted sum of several answers for the same rows.
pub(crate) fn combine<'a>(
    answers: impl IntoIterator<Item = (&'a Matrix, f64)>,
    n_rows: usize,
) -> Result<Matrix> {
    let mut sum = Matrix::zeros(n_rows, 0);
    for (a, w) in answers.into_iter().filter(|(_, w)| *w != 0.0) {
        add_weighted(&mut sum, a, w)?;
    }
    Ok(sum)
}
