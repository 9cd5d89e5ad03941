//! What an estimator is, and how the list of estimators tells about itself.

use crate::linear::Coefficient;
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamSpec, Params, Result, Run, TrainingCurve};

/// What is to be learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A number.
    Regression,
    /// One of two classes, 0 and 1.
    Binary,
    /// One of several classes, 0, 1, 2, …
    Multiclass,
    /// The order of rows within their group; the target is the grade of relevance, 0 to 31.
    Ranking,
    /// How unusual a row is; without a target.
    Anomaly,
    /// Which group a row belongs to; without a target.
    Clustering,
}

impl Task {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Regression, Self::Binary, Self::Multiclass, Self::Ranking, Self::Anomaly, Self::Clustering];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Ranking => "ranking",
            Self::Anomaly => "anomaly",
            Self::Clustering => "clustering",
        }
    }

    /// Whether the target holds classes.
    pub fn is_classes(self) -> bool {
        matches!(self, Self::Binary | Self::Multiclass)
    }

    /// Whether there is a target at all.
    pub fn has_target(self) -> bool {
        !matches!(self, Self::Anomaly | Self::Clustering)
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Task {
    type Err = Error;
    fn from_str(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.word() == word).ok_or_else(|| Error::NotFound {
            what: "task",
            name: word.to_owned(),
            known: Self::ALL.map(Self::word).join(", "),
        })
    }
}

/// An estimator with its parameters, before it has seen data.
pub trait Learner: Send + Sync {
    /// Learns from the rows. Fitting twice forgets the first time.
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>>;

    /// Learns from `data` and watches `validation` to stop early, where the estimator can; the others look at `data`
    /// alone.
    fn fit_validated(
        &self,
        run: &Run,
        data: &Dataset,
        validation: &Dataset,
    ) -> Result<Box<dyn FittedLearner>> {
        let _ = validation;
        self.fit(run, data)
    }
}

/// What a [`Learner`] has learnt.
pub trait FittedLearner: Send + Sync {
    /// One row of answers per row of `x`:
    ///
    /// | task | columns |
    /// |---|---|
    /// | regression | the prediction (or one column per quantile level asked for) |
    /// | binary | the probabilities of class 0 and of class 1 |
    /// | multiclass | the probability of every class |
    /// | ranking | the score; higher comes first |
    /// | anomaly | the score; higher is more unusual |
    /// | clustering | the cluster as 0, 1, 2, …, −1 for none; soft clusterings give one probability column per cluster |
    ///
    /// Fails on another width than was fitted, and on missing values where the estimator cannot use them.
    fn predict(&self, x: &Matrix) -> Result<Matrix>;

    /// The state as JSON; the catalogue's `load` reads it back bit for bit.
    fn save(&self) -> Result<Value>;

    /// How each part that is trained in rounds (a network) went; empty where nothing is. They are part of the saved state.
    fn training_curves(&self) -> Vec<TrainingCurve> {
        Vec::new()
    }

    /// How much each column matters, not negative, in the order of the columns; absent where the estimator has no own
    /// measure (permutation importance always works).
    fn importance(&self) -> Option<Vec<f64>> {
        None
    }

    /// What each column adds to the raw score of each row: for every output the columns' parts and then the constant,
    /// so `n_outputs * (n_cols + 1)` numbers a row, whose sum over one output is its raw score. Absent where there is no
    /// exact split.
    fn contributions(&self, run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        let _ = (run, x);
        None
    }

    /// The table of coefficients, of linear models.
    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        None
    }

    /// Goes on learning from rows that were not seen before, where the estimator can.
    fn update(&mut self, run: &Run, newer: &Dataset) -> Result<()> {
        let _ = (run, newer);
        Err(Error::Invalid("this model cannot be updated with new rows; fit it anew on all of them".into()))
    }
}

/// What an estimator can bear. Callers ask before they fit, and prepare the columns accordingly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bears {
    /// Missing values (NaN) in features.
    pub missing: bool,
    /// Columns of category codes.
    pub categories: bool,
    /// Columns of any scale; where false, columns should be brought to one scale first.
    pub any_scale: bool,
    /// Weights of rows.
    pub weights: bool,
    /// Values below zero; where false, columns must be counts.
    pub negative: bool,
    /// Columns of any number of categories, which it would rather have as they are than as means of the target.
    pub many_categories: bool,
}

/// One entry of the catalogue of estimators.
#[derive(Clone, Copy)]
pub struct LearnerEntry {
    /// The name, as typed by people.
    pub name: &'static str,
    /// One sentence in English.
    pub summary: &'static str,
    /// One sentence in Chinese.
    pub summary_zh: &'static str,
    /// The paper or book.
    pub source: &'static str,
    /// What it can learn.
    pub tasks: &'static [Task],
    /// The parameters.
    pub params: &'static [ParamSpec],
    /// What it can bear.
    pub bears: Bears,
    /// Makes it from parameters (those not given have their default) and checks them.
    pub build: fn(Task, &Params) -> Result<Box<dyn Learner>>,
    /// Reads back what [`FittedLearner::save`] gave.
    pub load: fn(Value) -> Result<Box<dyn FittedLearner>>,
}

impl std::fmt::Debug for LearnerEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LearnerEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LearnerEntry {
    /// Reads this estimator's parameter struct; all faults are told at once. For use in `build`.
    pub fn read<P: serde::de::DeserializeOwned + Default>(&self, params: &Params) -> Result<P> {
        tradewind_core::read_params(self.name, self.params, params)
    }

    /// Makes it for `task`; fails when it cannot learn that.
    pub fn learner(&self, task: Task, params: &Params) -> Result<Box<dyn Learner>> {
        if !self.tasks.contains(&task) {
            let can = self.tasks.iter().map(|t| t.word()).collect::<Vec<_>>().join(", ");
            return Err(Error::Invalid(format!("{} does not learn {task}; it learns: {can}", self.name)));
        }
        (self.build)(task, params)
    }
}

/// The parameters of an estimator that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoParams {}

/// Reads saved state; for use in `load`.
pub(crate) fn load<T: serde::de::DeserializeOwned + FittedLearner + 'static>(
    what: &str,
    saved: Value,
) -> Result<Box<dyn FittedLearner>> {
    match serde_json::from_value::<T>(saved) {
        Ok(fitted) => Ok(Box::new(fitted)),
        Err(source) => Err(Error::Saved { what: what.to_owned(), source }),
    }
}

/// State as JSON; for use in `save`.
pub(crate) fn save<T: Serialize>(what: &str, fitted: &T) -> Result<Value> {
    serde_json::to_value(fitted).map_err(|source| Error::Saved { what: what.to_owned(), source })
}

/// One column of answers as a matrix.
pub(crate) fn one_column(values: Vec<f64>) -> Result<Matrix> {
    Matrix::new(values.len(), 1, values)
}
