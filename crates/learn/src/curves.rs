//! Learning and validation curves, with a verdict in words.
//!
//! A learning curve tells what more rows would bring: it fits on growing parts of the training rows. A validation curve
//! tells what one parameter does. Both measure on the rows fitted and on held-out rows of every split.
//!
//! The verdict goes by stated rules on the last point of a learning curve. Let `t` and `v` be the losses on training and
//! held-out rows (errors as they are, scores as the distance from 1), `e` the loss of an answer that tells nothing (the
//! mean, the classes' shares), all means over the splits:
//!
//! | rule, the first that holds | verdict |
//! |---|---|
//! | `v ≥ 0.9 e` and `t ≥ 0.8 e` | underfitting: even on the rows it has seen it is hardly better than nothing |
//! | the gap `v − t` is above 0.3 `v`, and `v` still falls by over 2 % when the rows grow by the last step | more data would help |
//! | the gap is above 0.3 `v` | overfitting |
//! | `v` still falls by over 2 % | more data would help |
//! | else | balanced |

use crate::crossval::Split;
use crate::learner::{Learner, LearnerEntry, Task};
use crate::matrix::{Dataset, Matrix};
use crate::measure::Measure;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, Params, Result, Run};

/// The random stream of the order in which rows are added.
const STREAM: u64 = 0x6375_7276;
/// The share of the held-out loss above which the gap is wide.
const GAP: f64 = 0.3;
/// The relative fall of the loss that is worth more rows.
const FALL: f64 = 0.02;

/// What a curve says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Too simple, or the columns tell nothing.
    Underfitting,
    /// Knows the training rows by heart.
    Overfitting,
    /// More rows would make it better.
    MoreData,
    /// Neither.
    Balanced,
}

impl Verdict {
    /// In English.
    pub fn english(self) -> &'static str {
        match self {
            Self::Underfitting => {
                "underfitting: even on the rows it has seen the model is hardly better than a constant answer; give it \
                 better columns, a more flexible model or less regularisation"
            }
            Self::Overfitting => {
                "overfitting: much better on the rows it has seen than on new ones; regularise more, choose a simpler model \
                 or fewer columns"
            }
            Self::MoreData => "more data would help: the error on new rows still falls as rows are added",
            Self::Balanced => {
                "balanced: about as good on new rows as on those it has seen; more rows would bring little"
            }
        }
    }

    /// In Chinese.
    pub fn chinese(self) -> &'static str {
        match self {
            Self::Underfitting => {
                "欠拟合：即使在训练数据上也只比常数预测好一点；请增加有用的特征、换更灵活的模型或减弱正则化"
            }
            Self::Overfitting => "过拟合：训练数据上远好于新数据；请加强正则化、换更简单的模型或减少特征",
            Self::MoreData => "更多数据会有帮助：随着数据增加，新数据上的误差仍在下降",
            Self::Balanced => "拟合适中：新数据与训练数据上的表现接近，再增加数据收益不大",
        }
    }
}

/// One point of a curve: the measure on every split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Training rows (the mean over the splits), or the place of the parameter's value from 0.
    pub at: f64,
    /// The parameter's value; absent in learning curves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// On the rows fitted, a number per split.
    pub train: Vec<f64>,
    /// On the held-out rows, a number per split.
    pub validation: Vec<f64>,
}

impl Point {
    /// The mean over the splits on the rows fitted.
    pub fn train_mean(&self) -> f64 {
        mean(&self.train)
    }

    /// The mean over the splits on the held-out rows.
    pub fn validation_mean(&self) -> f64 {
        mean(&self.validation)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Scores against the number of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// What was measured.
    pub measure: Measure,
    /// From few rows to all.
    pub points: Vec<Point>,
    /// The measure of an answer that tells nothing, on the held-out rows.
    pub nothing: f64,
    /// What it says.
    pub verdict: Verdict,
}

/// Scores against one parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationCurve {
    /// What was measured.
    pub measure: Measure,
    /// The parameter.
    pub parameter: String,
    /// One per value, in the order given.
    pub points: Vec<Point>,
    /// The place of the value that is best on held-out rows.
    pub best: usize,
    /// How each value fits: underfitting where both sides are worse than at the best value, overfitting where the rows
    /// fitted are better and the held-out ones worse, balanced within 2 % of the best.
    pub verdicts: Vec<Verdict>,
}

/// Fits `learner` on growing `shares` (as 0.1, 0.3, 1.0; rising, above 0 to 1) of each split's training rows, added in an
/// order dealt by the run's seed, the smaller part within the larger.
///
/// Fails on no splits, on groups (a ranking's rows cannot be dealt singly), and with the error of a fit that fails: begin
/// with a larger share when the smallest part lacks a class.
pub fn learning_curve(
    run: &Run,
    learner: &dyn Learner,
    task: Task,
    data: &Dataset,
    splits: &[Split],
    shares: &[f64],
    measure: Measure,
) -> Result<LearningCurve> {
    let rising = shares.windows(2).all(|w| w[0] < w[1]);
    let ok = !shares.is_empty() && rising && shares.iter().all(|s| *s > 0.0 && *s <= 1.0);
    ParamCheck::new().require(ok, "shares", format!("{shares:?}"), "rising numbers above 0 to 1").finish()?;
    check_splits(splits, data)?;
    if data.groups().is_some() {
        return Err(Error::Invalid("a learning curve cannot deal the rows of a ranking singly".into()));
    }
    let mut points: Vec<Point> = Vec::new();
    run.progress().begin("learning curve", (shares.len() * splits.len()) as u64);
    for share in shares {
        let mut point = Point { at: 0.0, value: None, train: Vec::new(), validation: Vec::new() };
        for (s, split) in splits.iter().enumerate() {
            let mut order = split.train.clone();
            order.shuffle(&mut run.rng(STREAM + s as u64));
            let n = ((share * order.len() as f64).round() as usize).clamp(1, order.len());
            let mut rows = order[..n].to_vec();
            // In the order of the data, as the whole part would be.
            rows.sort_unstable();
            let (train, validation) = fit_and_score(run, learner, task, data, &rows, &split.test, measure)?;
            point.at += n as f64 / splits.len() as f64;
            point.train.push(train);
            point.validation.push(validation);
            run.progress().advance(1);
        }
        points.push(point);
    }
    run.progress().end();
    let mut nothing = 0.0;
    for split in splits {
        nothing += score_of_nothing(task, data, split, measure)? / splits.len() as f64;
    }
    let verdict = judge(measure, &points, nothing);
    Ok(LearningCurve { measure, points, nothing, verdict })
}

/// The loss of a value: errors as they are, scores as the distance from 1.
fn loss(measure: Measure, value: f64) -> f64 {
    if measure.higher_is_better() { 1.0 - value } else { value }
}

fn judge(measure: Measure, points: &[Point], nothing: f64) -> Verdict {
    let Some(last) = points.last() else { return Verdict::Balanced };
    let (t, v) = (loss(measure, last.train_mean()), loss(measure, last.validation_mean()));
    let e = loss(measure, nothing);
    let falls = points.len() > 1 && {
        let before = loss(measure, points[points.len() - 2].validation_mean());
        before - v > FALL * before.abs()
    };
    let wide = v - t > GAP * v.abs();
    match () {
        () if v >= 0.9 * e && t >= 0.8 * e && e > 0.0 => Verdict::Underfitting,
        () if wide && !falls => Verdict::Overfitting,
        () if falls => Verdict::MoreData,
        () => Verdict::Balanced,
    }
}

/// Fits the estimator of `entry` once for each of `values` of `parameter`, the other parameters as given.
///
/// Fails on no splits or values, on a parameter that the estimator does not have, and with the error of a fit that fails.
pub fn validation_curve(
    run: &Run,
    entry: &LearnerEntry,
    task: Task,
    params: &Params,
    (parameter, values): (&str, &[Value]),
    data: &Dataset,
    splits: &[Split],
    measure: Measure,
) -> Result<ValidationCurve> {
    ParamCheck::new().require(!values.is_empty(), "values", 0, "one or more").finish()?;
    check_splits(splits, data)?;
    let mut points = Vec::new();
    run.progress().begin("validation curve", (values.len() * splits.len()) as u64);
    for (at, value) in values.iter().enumerate() {
        let mut own = params.clone();
        own.insert(parameter.to_owned(), value.clone());
        let learner = entry.learner(task, &own)?;
        let mut point =
            Point { at: at as f64, value: Some(value.clone()), train: Vec::new(), validation: Vec::new() };
        for split in splits {
            let (train, validation) =
                fit_and_score(run, &*learner, task, data, &split.train, &split.test, measure)?;
            point.train.push(train);
            point.validation.push(validation);
            run.progress().advance(1);
        }
        points.push(point);
    }
    run.progress().end();
    let mut best = 0;
    for (at, point) in points.iter().enumerate() {
        if measure.is_better(point.validation_mean(), points[best].validation_mean()) {
            best = at;
        }
    }
    let (t0, v0) = (loss(measure, points[best].train_mean()), loss(measure, points[best].validation_mean()));
    let verdicts = points
        .iter()
        .map(|p| {
            let (t, v) = (loss(measure, p.train_mean()), loss(measure, p.validation_mean()));
            match () {
                () if v - v0 <= FALL * v0.abs() => Verdict::Balanced,
                () if t > t0 => Verdict::Underfitting,
                () => Verdict::Overfitting,
            }
        })
        .collect();
    Ok(ValidationCurve { measure, parameter: parameter.to_owned(), points, best, verdicts })
}

fn check_splits(splits: &[Split], data: &Dataset) -> Result<()> {
    if splits.is_empty() {
        return Err(Error::Invalid("a curve needs at least one split".into()));
    }
    for split in splits {
        if split.train.is_empty() || split.test.is_empty() {
            return Err(Error::Invalid("a split has no training or no test rows".into()));
        }
        if let Some(i) = split.train.iter().chain(&split.test).find(|i| **i >= data.n_rows()) {
            return Err(Error::Invalid(format!("a split names row {i} of {} rows", data.n_rows())));
        }
    }
    Ok(())
}

fn fit_and_score(
    run: &Run,
    learner: &dyn Learner,
    task: Task,
    data: &Dataset,
    train: &[usize],
    test: &[usize],
    measure: Measure,
) -> Result<(f64, f64)> {
    run.check()?;
    let (train, test) = (data.select_rows(train)?, data.select_rows(test)?);
    let fitted = learner.fit(&run.quiet(), &train)?;
    let score = |d: &Dataset| measure.score(task, d.y(), &fitted.predict(d.x())?, d.weight(), d.groups());
    Ok((score(&train)?, score(&test)?))
}

/// The measure of the training mean, or of the training shares of the classes, on the test rows.
fn score_of_nothing(task: Task, data: &Dataset, split: &Split, measure: Measure) -> Result<f64> {
    let (train, test) = (data.select_rows(&split.train)?, data.select_rows(&split.test)?);
    let weight = train.weights();
    let total: f64 = weight.iter().sum();
    let answer = match task {
        Task::Binary | Task::Multiclass => {
            let k = data.y().iter().fold(1.0, |m, y| f64::max(m, *y)) as usize + 1;
            let mut share = vec![0.0; k];
            train.y().iter().zip(&weight).for_each(|(y, w)| share[*y as usize] += w / total);
            share
        }
        _ => vec![train.y().iter().zip(&weight).map(|(y, w)| y * w).sum::<f64>() / total],
    };
    let rows: Vec<f64> = (0..test.n_rows()).flat_map(|_| answer.iter().copied()).collect();
    measure.score(task, test.y(), &Matrix::new(test.n_rows(), answer.len(), rows)?, test.weight(), None)
}
