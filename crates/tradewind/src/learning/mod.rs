//! Learning from tables: a file in, a model's folder out; new rows in, predictions out.
//!
//! ```text
//! file or query ─ read ─→ Frame ─ recipe ─→ Dataset ─ learner ─→ Model ─ write ─→ folder
//!                                             new Frame ─────────── predict ─┴──→ table
//! ```

mod explain;
mod folder;
mod read;
mod target;
mod tuning;

pub use explain::{Calibration, Explanation, Importance, ImportanceKind, PreparedColumn, explain};
pub(crate) use read::read_query_if_any;
pub use read::{read_frame, read_query};
pub use target::Target;
pub use tuning::{AutoRequest, TrialFile, TuneRequest, Tuned, fit_auto, tune};

use crate::error::{Error, Result};
use arrow::array::{ArrayRef, Float64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use target::number_column;
use tradewind_core::{Params, Run, TrainingCurve};
use tradewind_learn::crossval::{GroupKFold, KFold, StratifiedKFold};
use tradewind_learn::frame::Frame;
use tradewind_learn::measure::Measure;
use tradewind_learn::prepare::{self, FittedRecipe, Prepared, Recipe};
use tradewind_learn::{Dataset, FittedLearner, Matrix, Task};

/// What is to be fitted, and on which columns.
#[derive(Clone, Debug, Default)]
pub struct FitRequest {
    /// The estimator's name in the catalogue.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// What is to be learnt; found from the target when not said.
    pub task: Option<Task>,
    /// The column to learn; none for clustering and anomalies.
    pub target: Option<String>,
    /// The column of weights.
    pub weight: Option<String>,
    /// The column that tells which rows are ranked together.
    pub group: Option<String>,
    /// The column that orders the rows in time; validation rows are then the latest.
    pub time: Option<String>,
    /// Columns that are not looked at (identifiers, what is known only afterwards).
    pub ignore: Vec<String>,
    /// The share of rows held out to stop early and to measure, 0 for none.
    pub validation: f64,
    /// What to prepare and how; the usual preparation for the estimator when not said.
    pub recipe: Option<Recipe>,
}

/// One measure of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The measure's name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// What a model's folder says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the folder.
    pub format: u32,
    /// The version of Tradewind that fitted it.
    pub version: String,
    /// The estimator.
    pub model: String,
    /// Its parameters, those that were given.
    pub params: Params,
    /// What it learnt.
    pub task: Task,
    /// The column learnt.
    pub target: Option<String>,
    /// The names of the classes, in the order of the probabilities.
    pub classes: Vec<String>,
    /// The columns it reads.
    pub columns: Vec<String>,
    /// The prepared columns.
    pub features: Vec<String>,
    /// Rows it was fitted on.
    pub rows: usize,
    /// The seed.
    pub seed: u64,
    /// Seconds of the fit alone.
    pub fit_seconds: f64,
    /// Measures on the rows held out; empty when none were.
    pub validation: Vec<Measured>,
    /// Fingerprint of the data fitted on.
    pub data_hash: String,
    /// Fingerprint of the fitted preparation.
    pub recipe_hash: String,
    /// Fingerprint of what was learnt.
    pub learner_hash: String,
}

/// A fitted estimator with its preparation.
pub struct Model {
    /// What it says of itself.
    pub manifest: Manifest,
    recipe: FittedRecipe,
    learner: Box<dyn FittedLearner>,
}

/// A request laid over a table: what is learnt from what.
pub struct Material {
    /// What is learnt.
    pub task: Task,
    y: Vec<f64>,
    classes: Vec<String>,
    /// The columns to learn from.
    inputs: Frame,
    weight: Option<Vec<f64>>,
    /// Which rows belong together, and the column that says so.
    groups: Option<(String, Vec<u64>)>,
    /// When each row was known.
    time: Option<Vec<i64>>,
}

impl Material {
    /// Takes the target, the weight and so on out of the table; what is left is learnt from.
    ///
    /// # Errors
    /// A column that is not there or of the wrong type, a target that does not fit the task.
    pub fn of(mut frame: Frame, request: &FitRequest) -> Result<Self> {
        let (task, y, classes) = match (&request.target, request.task) {
            (None, Some(task)) if !task.has_target() => (task, vec![0.0; frame.n_rows()], vec![]),
            (None, _) => {
                return Err(Error::asked(
                    "no target is named",
                    "name the column to learn with --target, or choose --task anomaly or clustering",
                ));
            }
            (Some(name), task) => {
                let t = Target::of(&frame, name, task)?;
                (t.task, t.y, t.classes)
            }
        };
        let weight = request
            .weight
            .as_deref()
            .map(|w| number_column(&frame, w, "weight").map(<[f64]>::to_vec))
            .transpose()?;
        let groups = request
            .group
            .as_deref()
            .map(|g| target::column(&frame, g, "group").map(|c| (g.to_owned(), read::group_keys(c))))
            .transpose()?;
        let time = request
            .time
            .as_deref()
            .map(|t| read::times(t, target::column(&frame, t, "time")?))
            .transpose()?;
        for name in &request.ignore {
            target::column(&frame, name, "columns to ignore")?;
        }
        let mut aside: Vec<&String> = request
            .ignore
            .iter()
            .chain(&request.target)
            .chain(&request.weight)
            .chain(&request.group)
            .chain(&request.time)
            .collect();
        aside.sort();
        aside.dedup();
        for name in aside {
            frame.take(name)?;
        }
        if frame.columns().is_empty() {
            return Err(Error::asked(
                "no column is left to learn from",
                "the table needs columns beside the target, the weight and those ignored",
            ));
        }
        Ok(Self { task, y, classes, inputs: frame, weight, groups, time })
    }

    fn n_rows(&self) -> usize {
        self.inputs.n_rows()
    }

    /// Some rows as the recipe, fitted on them, leaves them.
    fn fitted(&self, run: &Run, recipe: &Recipe, rows: Option<&[usize]>) -> Result<(FittedRecipe, Dataset)> {
        let y: Vec<f64> = match rows {
            None => self.y.clone(),
            Some(rows) => rows.iter().map(|&i| self.y[i]).collect(),
        };
        let target = self.task.has_target().then_some(prepare::Target { task: self.task, y: &y });
        let (fitted, prepared) = match rows {
            None => recipe.fit_transform(run, &self.inputs, target)?,
            Some(rows) => recipe.fit_transform(run, &self.inputs.select_rows(rows)?, target)?,
        };
        Ok((fitted, self.dataset(prepared, y, rows)?))
    }

    /// Some rows as a fitted recipe leaves them.
    fn prepared(&self, recipe: &FittedRecipe, rows: &[usize]) -> Result<Dataset> {
        let prepared = recipe.transform(&self.inputs.select_rows(rows)?)?;
        self.dataset(prepared, rows.iter().map(|&i| self.y[i]).collect(), Some(rows))
    }

    fn dataset(&self, prepared: Prepared, y: Vec<f64>, rows: Option<&[usize]>) -> Result<Dataset> {
        let mut data = prepared.dataset(y)?;
        if let Some(weight) = &self.weight {
            data = data.with_weight(match rows {
                None => weight.clone(),
                Some(rows) => rows.iter().map(|&i| weight[i]).collect(),
            })?;
        }
        if let (Some((name, keys)), Task::Ranking) = (&self.groups, self.task) {
            let keys: Vec<u64> = match rows {
                None => keys.clone(),
                Some(rows) => rows.iter().map(|&i| keys[i]).collect(),
            };
            data = data.with_groups(read::group_sizes(name, &keys)?)?;
        }
        Ok(data)
    }
}

/// Fits an estimator.
///
/// # Errors
/// Parameters out of range, columns that the estimator cannot use, too few rows, cancellation.
pub fn fit(run: &Run, material: &Material, request: &FitRequest) -> Result<Model> {
    let entry = tradewind_learn::entry(&request.model)?;
    let task = material.task;
    let learner = entry.learner(task, &request.params)?;
    let recipe = match &request.recipe {
        Some(recipe) => recipe.clone(),
        None => Recipe::standard(&material.inputs, entry.bears, task.has_target()),
    };
    let (train, held_out) = split(run, material, request.validation)?;
    let (recipe, data) = material.fitted(run, &recipe, (!held_out.is_empty()).then_some(&train[..]))?;
    let check = if held_out.is_empty() { None } else { Some(material.prepared(&recipe, &held_out)?) };
    let started = Instant::now();
    let (learner, validation) = match &check {
        None => (learner.fit(run, &data)?, vec![]),
        Some(check) => {
            let fitted = learner.fit_validated(run, &data, check)?;
            let answers = fitted.predict(check.x())?;
            (fitted, measures(task, check.y(), &answers, check.weight(), check.groups()))
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let manifest = manifest(run, request, material, &recipe, &data, seconds, validation);
    Ok(Model { manifest, recipe, learner })
}

fn manifest(
    run: &Run,
    request: &FitRequest,
    material: &Material,
    recipe: &FittedRecipe,
    data: &Dataset,
    fit_seconds: f64,
    validation: Vec<Measured>,
) -> Manifest {
    Manifest {
        format: folder::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: request.model.clone(),
        params: request.params.clone(),
        task: material.task,
        target: request.target.clone(),
        classes: material.classes.clone(),
        columns: recipe.needs().into_iter().map(str::to_owned).collect(),
        features: data.names().to_vec(),
        rows: data.n_rows(),
        seed: run.seed,
        fit_seconds,
        validation,
        data_hash: fingerprint(data),
        recipe_hash: String::new(),
        learner_hash: String::new(),
    }
}

/// The rows to learn from and those held out: the latest, or whole groups, or by chance with every class having its
/// share.
fn split(run: &Run, material: &Material, validation: f64) -> Result<(Vec<usize>, Vec<usize>)> {
    let n = material.n_rows();
    let all: Vec<usize> = (0..n).collect();
    if validation == 0.0 {
        return Ok((all, vec![]));
    }
    if !(validation > 0.0 && validation < 1.0 && material.task.has_target()) {
        return Err(Error::asked(
            format!("a share of {validation} cannot be held out"),
            "give --validation between 0 and 1, with a target to measure against",
        ));
    }
    let held = ((n as f64 * validation).round() as usize).clamp(1, n.saturating_sub(1).max(1));
    let cut = |order: Vec<usize>| {
        let (train, rest) = order.split_at(n.saturating_sub(held));
        let (mut train, mut rest) = (train.to_vec(), rest.to_vec());
        train.sort_unstable();
        rest.sort_unstable();
        (train, rest)
    };
    let folds = (1.0 / validation).round().clamp(2.0, 1000.0) as usize;
    if let Some(time) = &material.time {
        let mut order = all;
        order.sort_by_key(|&i| (time[i], i));
        return Ok(cut(order));
    }
    let splits = if let Some((_, keys)) = &material.groups {
        GroupKFold { n_folds: folds }.split(keys)?
    } else if material.task.is_classes() {
        let label: Vec<usize> = material.y.iter().map(|v| *v as usize).collect();
        StratifiedKFold { n_folds: folds, shuffle: true }.split(run, &label)?
    } else {
        KFold { n_folds: folds, shuffle: true }.split(run, n)?
    };
    splits
        .into_iter()
        .next()
        .map(|s| (s.train, s.test))
        .ok_or_else(|| Error::asked("there are too few rows to hold some out", "leave out --validation"))
}

/// The rows of a table to learn from, and a share of it held out to be measured on: the latest, whole groups, or by
/// chance with every class having its share, as [`fit`] holds out its own.
///
/// # Errors
/// As [`Material::of`]; a share out of range; too few rows.
pub fn hold_out(run: &Run, frame: &Frame, request: &FitRequest, share: f64) -> Result<(Frame, Frame)> {
    let (train, held) = split(run, &Material::of(frame.clone(), request)?, share)?;
    Ok((frame.select_rows(&train)?, frame.select_rows(&held)?))
}

fn fingerprint(data: &Dataset) -> String {
    let mut hasher = blake3::Hasher::new();
    for v in data.x().values().iter().chain(data.y()) {
        hasher.update(&v.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Every measure of the task that these answers have.
pub fn measures(
    task: Task,
    truth: &[f64],
    answers: &Matrix,
    weight: Option<&[f64]>,
    groups: Option<&[usize]>,
) -> Vec<Measured> {
    Measure::all_for(task)
        .into_iter()
        .filter_map(|m| {
            // A measure that is not defined on these rows (one class only, a zero truth) is left out.
            let value = m.score(task, truth, answers, weight, groups).ok()?;
            value.is_finite().then(|| Measured {
                name: m.to_string(),
                value,
                higher_is_better: m.higher_is_better(),
            })
        })
        .collect()
}

impl Model {
    /// The model's answers for the rows of a table, as [`FittedLearner::predict`] gives them.
    ///
    /// # Errors
    /// A column that the model reads is not there or of another type.
    pub fn answers(&self, frame: &Frame) -> Result<Matrix> {
        Ok(self.learner.predict(&self.prepared(frame)?.x)?)
    }

    /// How each part that is trained in rounds (a network) went; empty where nothing is.
    pub fn training_curves(&self) -> Vec<TrainingCurve> {
        self.learner.training_curves()
    }

    /// The fitted preparation.
    pub(crate) fn recipe(&self) -> &FittedRecipe {
        &self.recipe
    }

    /// The rows of a table as the learner reads them.
    pub(crate) fn prepared(&self, frame: &Frame) -> Result<Prepared> {
        for name in &self.manifest.columns {
            target::column(frame, name, "model")?;
        }
        Ok(self.recipe.transform(frame)?)
    }

    /// Answers as a table: `prediction` (for classes the likeliest, then `p_<class>` for each), or `score`, or
    /// `cluster`; `keep` names columns of the input that are put in front.
    ///
    /// # Errors
    /// As [`Model::answers`], and a column to keep that is not there.
    pub fn predict(&self, frame: &Frame, keep: &[String]) -> Result<RecordBatch> {
        let answers = self.answers(frame)?;
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for name in keep {
            columns.push((name.clone(), read::arrow_column(target::column(frame, name, "output")?)));
        }
        let number = |j: usize| -> ArrayRef { Arc::new(Float64Array::from(answers.column(j))) };
        let m = &self.manifest;
        match m.task {
            Task::Binary | Task::Multiclass => {
                let said: StringArray =
                    (0..answers.n_rows()).map(|i| m.classes.get(likeliest(answers.row(i)))).collect();
                columns.push(("prediction".into(), Arc::new(said)));
                for (j, class) in m.classes.iter().enumerate() {
                    columns.push((format!("p_{class}"), number(j)));
                }
            }
            Task::Clustering if answers.n_cols() > 1 => {
                let best =
                    (0..answers.n_rows()).map(|i| likeliest(answers.row(i)) as f64).collect::<Vec<_>>();
                columns.push(("cluster".into(), Arc::new(Float64Array::from(best))));
                (0..answers.n_cols()).for_each(|j| columns.push((format!("p_{j}"), number(j))));
            }
            task => {
                let name = match task {
                    Task::Regression => "prediction",
                    Task::Clustering => "cluster",
                    _ => "score",
                };
                for j in 0..answers.n_cols() {
                    let name = if answers.n_cols() == 1 { name.to_owned() } else { format!("{name}_{j}") };
                    columns.push((name, number(j)));
                }
            }
        }
        let fields: Vec<Field> =
            columns.iter().map(|(name, a)| Field::new(name, a.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|c| c.1).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|e| {
            Error::Core(tradewind_core::Error::Invalid(format!("the answers do not form a table: {e}")))
        })
    }

    /// How right the model is on rows whose target is known.
    ///
    /// # Errors
    /// As [`Model::answers`]; a model without a target; a class the model does not know.
    pub fn evaluate(&self, frame: &Frame, weight: Option<&str>, group: Option<&str>) -> Result<Evaluation> {
        let m = &self.manifest;
        let target = m.target.as_deref().ok_or_else(|| {
            Error::asked(format!("{} models have no target to be measured against", m.task), "use predict")
        })?;
        let truth = Target::known(frame, target, m.task, &m.classes)?;
        let answers = self.answers(frame)?;
        let weight = weight.map(|w| number_column(frame, w, "weight")).transpose()?;
        let groups = group
            .map(|g| read::group_sizes(g, &read::group_keys(target::column(frame, g, "group")?)))
            .transpose()?;
        let measures = measures(m.task, &truth.y, &answers, weight, groups.as_deref());
        Ok(Evaluation { task: m.task, classes: m.classes.clone(), measures, truth: truth.y, answers })
    }

    /// What was learnt.
    pub fn learner(&self) -> &dyn FittedLearner {
        &*self.learner
    }
}

impl Evaluation {
    /// How many rows of each class (row) were said to be of each class (column); none without classes.
    pub fn confusion(&self) -> Option<Vec<Vec<usize>>> {
        if !self.task.is_classes() {
            return None;
        }
        let mut counts = vec![vec![0; self.classes.len()]; self.classes.len()];
        for (i, truth) in self.truth.iter().enumerate() {
            counts[*truth as usize][likeliest(self.answers.row(i))] += 1;
        }
        Some(counts)
    }
}

/// The position of the largest value; the first where several are equal.
pub(crate) fn likeliest(row: &[f64]) -> usize {
    (0..row.len()).fold(0, |best, j| if row[j] > row[best] { j } else { best })
}

/// How right a model was.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// What the model learnt.
    pub task: Task,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// All measures of the task.
    pub measures: Vec<Measured>,
    /// The true value, or the number of the true class, of every row.
    pub truth: Vec<f64>,
    /// The model's answers.
    pub answers: Matrix,
}
