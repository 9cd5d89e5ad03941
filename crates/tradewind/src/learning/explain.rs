//! What a model goes by, and how right it is on these rows, as plain data that pages and machines read.

use super::{Measured, Model, Target, likeliest, measures};
use crate::error::{Error, Result};
use serde::Serialize;
use tradewind_core::metrics::class::{CalibrationBin, calibration};
use tradewind_core::{Run, TrainingCurve};
use tradewind_learn::explain::{
    Dependence, DependenceParams, OutputSummary, PermutationParams, Waterfall, dependence,
    permutation_importance, summary, waterfall,
};
use tradewind_learn::frame::Frame;
use tradewind_learn::linear::Coefficient;
use tradewind_learn::measure::Measure;
use tradewind_learn::prepare::Reading;
use tradewind_learn::{ColumnKind, Dataset, Task};

/// Columns whose dependence is shown.
const DEPENDENCES: usize = 6;
/// Points of a column's swarm.
const POINTS: usize = 250;
/// Columns named one by one in a waterfall; the others are one step.
const STEPS: usize = 12;
/// Bins of a calibration curve.
const BINS: usize = 10;

/// How much one column matters.
#[derive(Clone, Debug, Serialize)]
pub struct Importance {
    /// The prepared column.
    pub name: String,
    /// Its share; all shares sum to 1.
    pub share: f64,
    /// Between −1 and 1: whether the score rises or falls with the column's value; 0 where that is not known.
    pub direction: f64,
}

/// Where the importances come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceKind {
    /// Mean size of the column's part in the score (SHAP or coefficients).
    Contributions,
    /// How much worse the measure gets when the column is shuffled.
    Permutation,
    /// The estimator's own measure, as gain.
    Own,
}

/// All that is told of a model on some rows.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Rows looked at.
    pub rows: usize,
    /// Where the importances come from.
    pub kind: ImportanceKind,
    /// The prepared columns.
    pub columns: Vec<PreparedColumn>,
    /// The columns, those that matter most first.
    pub importance: Vec<Importance>,
    /// For each output (score or class) what every column adds; empty where there is no exact split.
    pub outputs: Vec<OutputSummary>,
    /// The names of the outputs.
    pub output_names: Vec<String>,
    /// How the answer moves with the columns that matter most.
    pub dependence: Vec<Dependence>,
    /// The row taken apart.
    pub row: usize,
    /// Why that row has its answer.
    pub waterfall: Option<Waterfall>,
    /// The output of the waterfall.
    pub waterfall_output: usize,
    /// Coefficients, of linear models.
    pub coefficients: Option<Vec<Coefficient>>,
    /// Measures on these rows; empty when the target is not among the columns.
    pub measures: Vec<Measured>,
    /// True classes down, said ones across.
    pub confusion: Option<Vec<Vec<usize>>>,
    /// For each class what was said and what happened.
    pub calibration: Vec<Calibration>,
    /// How its networks were trained; empty where it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<TrainingCurve>,
}

/// A prepared column and how its numbers are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreparedColumn {
    /// Its name, as `price` or `kind=red`.
    pub name: String,
    /// What its numbers stand for: themselves, or the words of categories.
    pub reading: Reading,
}

impl Explanation {
    /// How the numbers of the prepared column of this name are read.
    pub fn reading(&self, name: &str) -> &Reading {
        self.columns.iter().find(|c| c.name == name).map_or(&Reading::Number, |c| &c.reading)
    }
}

/// The calibration curve of one class.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// The class.
    pub class: String,
    /// Said, happened and cases, bin by bin.
    pub bins: Vec<(f64, f64, usize)>,
}

/// Explains a model on at most `rows_max` rows of a table, evenly spread, and takes the answer of `row` apart.
///
/// # Errors
/// A column that the model reads is not there; no such row.
pub fn explain(run: &Run, model: &Model, frame: &Frame, rows_max: usize, row: usize) -> Result<Explanation> {
    let n = frame.n_rows();
    if row >= n {
        return Err(Error::asked(
            format!("there is no row {row}"),
            format!("the table has {n} rows, from 0"),
        ));
    }
    let m = &model.manifest;
    let kept: Vec<usize> = (0..n.min(rows_max)).map(|i| i * n / n.min(rows_max)).collect();
    let part = frame.select_rows(&kept)?;
    let prepared = model.prepared(&part)?;
    let names = prepared.names.clone();
    let truth = match &m.target {
        Some(name) if frame.column(name).is_ok() => Some(Target::known(&part, name, m.task, &m.classes)?.y),
        _ => None,
    };
    let columns = names
        .iter()
        .cloned()
        .zip(model.recipe.readings())
        .map(|(name, reading)| PreparedColumn { name, reading })
        .collect();
    let data = Dataset::with_missing(
        prepared.x,
        truth.clone().unwrap_or_else(|| vec![0.0; kept.len()]),
        prepared.names,
    )?
    .with_kinds(prepared.kinds)?;
    let answers = model.learner().predict(data.x())?;
    let outputs = match model.learner().contributions(run, data.x()) {
        Some(parts) => summary(data.x(), &parts?, &names, POINTS)?,
        None => vec![],
    };
    let (kind, mut importance) = importance(run, model, &data, &outputs, truth.is_some())?;
    importance.sort_by(|a, b| b.share.total_cmp(&a.share));
    let params = DependenceParams { rows: 500, individuals: 0, ..DependenceParams::default() };
    let shown: Vec<Dependence> = importance
        .iter()
        .filter(|i| i.share > 0.0)
        .take(DEPENDENCES)
        .filter_map(|i| names.iter().position(|name| *name == i.name))
        .map(|column| dependence(run, model.learner(), &data, column, &params))
        .collect::<Result<_, _>>()?;

    let one = model.prepared(&frame.select_rows(&[row])?)?;
    let said = model.learner().predict(&one.x)?;
    let waterfall_output = if outputs.len() > 1 { likeliest(said.row(0)) } else { 0 };
    let fall = match model.learner().contributions(run, &one.x) {
        Some(parts) => Some(waterfall(&one.x, &parts?, &names, 0, waterfall_output, STEPS)?),
        None => None,
    };
    let measures = match &truth {
        Some(y) => measures(m.task, y, &answers, None, None),
        None => vec![],
    };
    let (mut confusion, mut curves) = (None, vec![]);
    if let (Some(y), true) = (&truth, m.task.is_classes()) {
        let k = m.classes.len();
        let mut counts = vec![vec![0; k]; k];
        for (i, truth) in y.iter().enumerate() {
            counts[*truth as usize][likeliest(answers.row(i))] += 1;
        }
        confusion = Some(counts);
        let first = usize::from(m.task == Task::Binary);
        for (class, name) in m.classes.iter().enumerate().skip(first) {
            let happened: Vec<bool> = y.iter().map(|t| *t as usize == class).collect();
            let bins: Vec<CalibrationBin> = calibration(&happened, &answers.column(class), BINS);
            let bins = bins.iter().map(|b| (b.said, b.happened, b.n)).collect();
            curves.push(Calibration { class: name.clone(), bins });
        }
    }
    let output_names = if outputs.len() == m.classes.len() {
        m.classes.clone()
    } else {
        outputs
            .iter()
            .enumerate()
            .map(|(o, _)| m.classes.last().filter(|_| o == 0).cloned().unwrap_or_default())
            .collect()
    };
    Ok(Explanation {
        rows: kept.len(),
        kind,
        columns,
        importance,
        outputs,
        output_names,
        dependence: shown,
        row,
        waterfall: fall,
        waterfall_output,
        coefficients: model.learner().coefficients(),
        measures,
        confusion,
        calibration: curves,
        training: model.training_curves(),
    })
}

fn importance(
    run: &Run,
    model: &Model,
    data: &Dataset,
    outputs: &[OutputSummary],
    has_truth: bool,
) -> Result<(ImportanceKind, Vec<Importance>)> {
    let names = data.names();
    let (kind, raw, direction) = if !outputs.is_empty() {
        let (mut raw, mut direction) = (vec![0.0; names.len()], vec![0.0; names.len()]);
        for output in outputs {
            for column in &output.columns {
                raw[column.column] += column.mean_abs;
                // The order of codes means nothing.
                if outputs.len() == 1 && data.kinds()[column.column] == ColumnKind::Number {
                    direction[column.column] = column.direction.unwrap_or(0.0);
                }
            }
        }
        (ImportanceKind::Contributions, raw, direction)
    } else if let Some(measure) = Measure::default_for(model.manifest.task).filter(|_| has_truth) {
        let score = |d: &Dataset, answers: &tradewind_learn::Matrix| {
            measure.score(model.manifest.task, d.y(), answers, d.weight(), d.groups())
        };
        let params = PermutationParams {
            repeats: 3,
            higher_is_better: measure.higher_is_better(),
            ..PermutationParams::default()
        };
        let found = permutation_importance(run, model.learner(), data, &score, &params)?;
        let mut raw = vec![0.0; names.len()];
        for f in &found {
            f.columns.iter().for_each(|c| raw[*c] = f.mean.max(0.0));
        }
        (ImportanceKind::Permutation, raw, vec![0.0; names.len()])
    } else {
        let raw = model.learner().importance().unwrap_or_else(|| vec![0.0; names.len()]);
        (ImportanceKind::Own, raw, vec![0.0; names.len()])
    };
    let total: f64 = raw.iter().sum();
    let share = |v: f64| if total > 0.0 { v / total } else { 0.0 };
    let all = names.iter().zip(raw).zip(direction);
    Ok((
        kind,
        all.map(|((name, v), direction)| Importance { name: name.clone(), share: share(v), direction })
            .collect(),
    ))
}
