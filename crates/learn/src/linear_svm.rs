//! Linear support vector machines for many rows, by dual coordinate descent.
//!
//! Minimises `½ |w|² + Σ C_i loss(x_i)`, where the loss of a class is `max(0, 1 − y w·x)` (`l1`) or its square (`l2`), and
//! that of a number the part of the error above `epsilon` or its square. The intercept is the coefficient of a column
//! of ones and is penalised like the others, as in liblinear, so columns should be brought to one scale first. Several
//! classes are told apart one against the rest.
//!
//! One coefficient of the dual is set to its best value at a time, in random order, with those that stay at a bound set
//! aside (Hsieh et al. 2008 for classes; Ho and Lin 2012 for numbers). A sweep costs one look at every value, so the
//! time grows with the rows and not with their square, as it does for [`crate::svm`].

use crate::calibrate::{FittedPlatt, Platt};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::{Coefficient, Line, moments};
use crate::matrix::{Dataset, Matrix};
use crate::svm::{balance, class_factors, summed};
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Parts of the inner cross-validation for probabilities.
const FOLDS: usize = 5;

/// Steps smaller than this are none.
const TINY: f64 = 1e-12;

/// How errors are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// As they are.
    L1,
    /// Squared.
    #[default]
    L2,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `loss` | l2 | l1, l2 | errors as they are or squared |
/// | `c` | 1 | above 0 | weight of the errors against the penalty |
/// | `epsilon` | 0.1 | 0 and more | numbers: errors up to this cost nothing |
/// | `intercept` | true | | whether there is one |
/// | `tolerance` | 1e-4 | above 0, below 1 | violation of optimality at the end; for numbers per violation at the start |
/// | `max_iter` | 10,000 | 1 to 10,000,000 | sweeps before giving up |
/// | `probability` | true | | learn probabilities by an inner 5-fold cross-validation, which costs five more fits; without it the chosen class has probability 1 |
/// | `class_weight` | none | above 0 each | factor on `c` of each class, in the order of the classes; of several, of the one against the rest |
/// | `balanced` | false | | factor on `c` inverse to the share of the class |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, linear_svm::LinearSvm};
/// let x = Matrix::from_columns(&[[-2.0, -1.0, 1.0, 2.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0, 0.0, 1.0, 1.0], vec![]).unwrap();
/// let svm = LinearSvm { probability: false, ..LinearSvm::default() };
/// let model = svm.fit_classes(&Run::new(0), &data).unwrap();
/// assert_eq!(model.predict_class(data.x()).unwrap(), [0, 0, 1, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSvm {
    /// How errors are counted.
    pub loss: Loss,
    /// Weight of the errors.
    pub c: f64,
    /// Errors that cost nothing, for numbers.
    pub epsilon: f64,
    /// Whether there is an intercept.
    pub intercept: bool,
    /// Where the search ends.
    pub tolerance: f64,
    /// Sweeps before giving up.
    pub max_iter: usize,
    /// Whether probabilities are learnt.
    pub probability: bool,
    /// Factor on `c` of each class; empty for ones.
    pub class_weight: Vec<f64>,
    /// Factor on `c` inverse to the share of the class.
    pub balanced: bool,
}

impl Default for LinearSvm {
    fn default() -> Self {
        Self {
            loss: Loss::L2,
            c: 1.0,
            epsilon: 0.1,
            intercept: true,
            tolerance: 1e-4,
            max_iter: 10_000,
            probability: true,
            class_weight: vec![],
            balanced: false,
        }
    }
}

/// What [`LinearSvm`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedLinearSvm {
    /// One for numbers and for two classes (positive for class 1), else one per class.
    lines: Vec<Line>,
    /// 0 for numbers.
    n_classes: usize,
    platt: Vec<FittedPlatt>,
    n_iter: usize,
    converged: bool,
}

/// The rows of a fit: values, targets (a side, or a number) and bounds.
struct Problem<'a> {
    x: &'a Matrix,
    rows: Vec<usize>,
    y: Vec<f64>,
    c: Vec<f64>,
}

struct Solution {
    w: Vec<f64>,
    intercept: f64,
    n_iter: usize,
    converged: bool,
}

impl LinearSvm {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let above_0 = |v: f64| v.is_finite() && v > 0.0;
        let mut check = ParamCheck::new();
        check.require(above_0(self.c), "c", self.c, "above 0");
        let tube = self.epsilon.is_finite() && self.epsilon >= 0.0;
        check.require(tube, "epsilon", self.epsilon, "0 and more");
        let tolerance = self.tolerance > 0.0 && self.tolerance < 1.0;
        check.require(tolerance, "tolerance", self.tolerance, "above 0, below 1");
        check.require((1..=10_000_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 10000000");
        for w in self.class_weight.iter().filter(|w| !above_0(**w)) {
            check.require(false, "class_weight", w, "above 0 each");
        }
        check.finish()
    }

    /// Learns classes, numbered 0, 1, 2, … Not reaching the tolerance is no error but the flag
    /// [`FittedLinearSvm::converged`].
    ///
    /// Fails on fewer than two classes, on a class without rows and on values too large to be squared.
    pub fn fit_classes(&self, run: &Run, data: &Dataset) -> Result<FittedLinearSvm> {
        self.check()?;
        data.need_numbers("the linear support vector machine")?;
        let (label, k) = data.classes("the linear support vector machine")?;
        run.check()?;
        check_size(data)?;
        let weight = data.weights();
        let mut factor = class_factors(&self.class_weight, k)?;
        if self.balanced {
            balance(&mut factor, &label, &weight);
        }
        let rows: Vec<usize> = (0..label.len()).filter(|&i| weight[i] > 0.0).collect();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut run.rng(0x4C53_0000));
        let targets: Vec<usize> = if k == 2 { vec![1] } else { (0..k).collect() };
        // One against the rest, as liblinear does: the factor of the class; the rest has none.
        let factor_of =
            |class: usize, target: usize| if k == 2 || class == target { factor[class] } else { 1.0 };
        let problem = |target: usize, kept: &[usize]| {
            let rows: Vec<usize> = kept.iter().map(|&at| rows[at]).collect();
            Problem {
                x: data.x(),
                y: rows.iter().map(|&i| if label[i] == target { 1.0 } else { -1.0 }).collect(),
                c: rows.iter().map(|&i| self.c * factor_of(label[i], target) * weight[i]).collect(),
                rows,
            }
        };
        // The whole fit of a class and those of its folds are all independent.
        let folds = if self.probability { FOLDS } else { 0 };
        let tasks: Vec<(usize, usize)> =
            (0..targets.len()).flat_map(|t| (0..=folds).map(move |fold| (t, fold))).collect();
        let part = |fold: usize| fold * rows.len() / FOLDS..(fold + 1) * rows.len() / FOLDS;
        let fit = |&(t, fold): &(usize, usize)| {
            let mut kept: Vec<usize> = match fold {
                0 => (0..rows.len()).collect(),
                _ => {
                    let out = part(fold - 1);
                    order[..out.start].iter().chain(&order[out.end..]).copied().collect()
                }
            };
            kept.sort_unstable();
            self.sides(run, &problem(targets[t], &kept), t as u64)
        };
        let done: Vec<Result<Solution>> = run.install(|| tasks.par_iter().map(fit).collect());
        let means = moments(data.x(), &weight).0;
        let mut lines = Vec::with_capacity(targets.len());
        let mut scores = vec![vec![0.0; rows.len()]; targets.len()];
        let (mut n_iter, mut converged) = (0, true);
        for (&(t, fold), solution) in tasks.iter().zip(done) {
            let solution = solution?;
            if fold == 0 {
                n_iter += solution.n_iter;
                converged &= solution.converged;
                lines.push(solution.line(&means, data.names()));
            } else {
                for &at in &order[part(fold - 1)] {
                    scores[t][at] = summed(&solution.w, data.x().row(rows[at])) + solution.intercept;
                }
            }
        }
        let mut platt = Vec::new();
        if self.probability {
            for (target, scores) in targets.iter().zip(&scores) {
                let happened: Vec<bool> = rows.iter().map(|&i| label[i] == *target).collect();
                platt.push(Platt.fit(run, scores, &happened)?);
            }
        }
        Ok(FittedLinearSvm { lines, n_classes: k, platt, n_iter, converged })
    }

    /// Learns numbers. Fails on no rows and on values too large to be squared.
    pub fn fit_numbers(&self, run: &Run, data: &Dataset) -> Result<FittedLinearSvm> {
        self.check()?;
        data.need_numbers("the linear support vector machine")?;
        data.need_rows("the linear support vector machine", 1)?;
        run.check()?;
        check_size(data)?;
        let weight = data.weights();
        let rows: Vec<usize> = (0..data.n_rows()).filter(|&i| weight[i] > 0.0).collect();
        let problem = Problem {
            x: data.x(),
            y: rows.iter().map(|&i| data.y()[i]).collect(),
            c: rows.iter().map(|&i| self.c * weight[i]).collect(),
            rows,
        };
        let solution = self.numbers(run, &problem)?;
        let means = moments(data.x(), &weight).0;
        Ok(FittedLinearSvm {
            lines: vec![solution.line(&means, data.names())],
            n_classes: 0,
            platt: vec![],
            n_iter: solution.n_iter,
            converged: solution.converged,
        })
    }

    /// The dual of two sides: `0 ≤ α_i ≤ U`, `w = Σ α_i y_i x_i`.
    fn sides(&self, run: &Run, problem: &Problem<'_>, stream: u64) -> Result<Solution> {
        let n = problem.rows.len();
        let (extra, bound) = self.dual(&problem.c);
        let squares = problem.squares(self.intercept);
        let mut rng = run.rng(0x4C53_0001 + stream);
        let (mut w, mut b) = (vec![0.0; problem.x.n_cols()], 0.0);
        let mut alpha = vec![0.0; n];
        let mut left: Vec<usize> = (0..n).collect();
        let mut active = n;
        let (mut most_old, mut least_old) = (f64::INFINITY, f64::NEG_INFINITY);
        for n_iter in 1..=self.max_iter {
            run.check()?;
            let (mut most, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
            for s in 0..active {
                left.swap(s, rng.random_range(s..active));
            }
            let mut s = 0;
            while s < active {
                let i = left[s];
                let (row, y) = (problem.x.row(problem.rows[i]), problem.y[i]);
                let g = y * (summed(&w, row) + b) - 1.0 + alpha[i] * extra[i];
                let aside = (alpha[i] == 0.0 && g > most_old) || (alpha[i] == bound[i] && g < least_old);
                if aside {
                    active -= 1;
                    left.swap(s, active);
                    continue;
                }
                let projected = if alpha[i] == 0.0 {
                    g.min(0.0)
                } else if alpha[i] == bound[i] {
                    g.max(0.0)
                } else {
                    g
                };
                most = most.max(projected);
                least = least.min(projected);
                if projected.abs() > TINY {
                    let old = alpha[i];
                    alpha[i] = (old - g / (squares[i] + extra[i])).max(0.0).min(bound[i]);
                    let d = (alpha[i] - old) * y;
                    w.iter_mut().zip(row).for_each(|(w, v)| *w += d * v);
                    if self.intercept {
                        b += d;
                    }
                }
                s += 1;
            }
            let violated = most - least > self.tolerance;
            if !violated {
                if active == n {
                    return Ok(Solution { w, intercept: b, n_iter, converged: true });
                }
                active = n;
                (most_old, least_old) = (f64::INFINITY, f64::NEG_INFINITY);
                continue;
            }
            most_old = if most > 0.0 { most } else { f64::INFINITY };
            least_old = if least < 0.0 { least } else { f64::NEG_INFINITY };
        }
        Ok(Solution { w, intercept: b, n_iter: self.max_iter, converged: false })
    }

    /// The dual of numbers: `|β_i| ≤ U`, `w = Σ β_i x_i`.
    fn numbers(&self, run: &Run, problem: &Problem<'_>) -> Result<Solution> {
        let n = problem.rows.len();
        let (extra, bound) = self.dual(&problem.c);
        let squares = problem.squares(self.intercept);
        let mut rng = run.rng(0x4C53_0002);
        let (mut w, mut b) = (vec![0.0; problem.x.n_cols()], 0.0);
        let mut beta = vec![0.0; n];
        let mut left: Vec<usize> = (0..n).collect();
        let mut active = n;
        let (mut most_old, mut start) = (f64::INFINITY, -1.0);
        for n_iter in 1..=self.max_iter {
            run.check()?;
            let (mut most, mut total) = (0.0f64, 0.0);
            for s in 0..active {
                left.swap(s, rng.random_range(s..active));
            }
            let mut s = 0;
            while s < active {
                let i = left[s];
                let row = problem.x.row(problem.rows[i]);
                let g = summed(&w, row) + b - problem.y[i] + extra[i] * beta[i];
                let h = squares[i] + extra[i];
                let (above, below) = (g + self.epsilon, g - self.epsilon);
                let mut aside = false;
                let violation = if beta[i] == 0.0 {
                    aside = above > most_old && below < -most_old;
                    (-above).max(below).max(0.0)
                } else if beta[i] >= bound[i] {
                    aside = above < -most_old;
                    above.max(0.0)
                } else if beta[i] <= -bound[i] {
                    aside = below > most_old;
                    (-below).max(0.0)
                } else if beta[i] > 0.0 {
                    above.abs()
                } else {
                    below.abs()
                };
                if aside && violation == 0.0 {
                    active -= 1;
                    left.swap(s, active);
                    continue;
                }
                most = most.max(violation);
                total += violation;
                let d = if above < h * beta[i] {
                    -above / h
                } else if below > h * beta[i] {
                    -below / h
                } else {
                    -beta[i]
                };
                if d.abs() >= TINY {
                    let old = beta[i];
                    beta[i] = (old + d).min(bound[i]).max(-bound[i]);
                    let d = beta[i] - old;
                    w.iter_mut().zip(row).for_each(|(w, v)| *w += d * v);
                    if self.intercept {
                        b += d;
                    }
                }
                s += 1;
            }
            if start < 0.0 {
                start = total;
            }
            let violated = total > self.tolerance * start;
            if !violated {
                if active == n {
                    return Ok(Solution { w, intercept: b, n_iter, converged: true });
                }
                active = n;
                most_old = f64::INFINITY;
                continue;
            }
            most_old = most;
        }
        Ok(Solution { w, intercept: b, n_iter: self.max_iter, converged: false })
    }

    /// What the loss adds to the curvature of each dual coefficient, and its bound.
    fn dual(&self, c: &[f64]) -> (Vec<f64>, Vec<f64>) {
        match self.loss {
            Loss::L1 => (vec![0.0; c.len()], c.to_vec()),
            Loss::L2 => (c.iter().map(|c| 0.5 / c).collect(), vec![f64::INFINITY; c.len()]),
        }
    }
}

impl Problem<'_> {
    fn squares(&self, intercept: bool) -> Vec<f64> {
        let one = f64::from(u8::from(intercept));
        let square = |&i: &usize| one + self.x.row(i).iter().map(|v| v * v).sum::<f64>();
        // A row of zeros without an intercept changes nothing; 1 keeps its step finite.
        self.rows.iter().map(square).map(|s| if s > 0.0 { s } else { 1.0 }).collect()
    }
}

impl Solution {
    fn line(&self, means: &[f64], names: &[String]) -> Line {
        Line { coef: self.w.clone(), intercept: self.intercept, means: means.to_vec(), names: names.to_vec() }
    }
}

fn check_size(data: &Dataset) -> Result<()> {
    for (i, row) in data.x().rows().enumerate() {
        if !row.iter().map(|v| v * v).sum::<f64>().is_finite() {
            let j = (0..row.len()).fold(0, |best, j| if row[j].abs() > row[best].abs() { j } else { best });
            return Err(Error::Invalid(format!(
                "column `{}` has {} in row {i}, too large to be squared; bring the columns to one scale first",
                data.names()[j],
                row[j]
            )));
        }
    }
    Ok(())
}

impl FittedLinearSvm {
    /// The raw decisions: one column for numbers (the prediction) and for two classes (positive for class 1), else one
    /// column per class. Fails on another width, on NaN or infinite values and on values too large to be summed.
    pub fn decision(&self, x: &Matrix) -> Result<Matrix> {
        let columns = self.lines.iter().map(|line| line.predict(x)).collect::<Result<Vec<_>>>()?;
        for column in &columns {
            if let Some(i) = column.iter().position(|v| !v.is_finite()) {
                return Err(Error::Invalid(format!(
                    "row {i} has values too large to be summed; bring the columns to one scale first"
                )));
            }
        }
        Matrix::from_columns(&columns)
    }

    /// The class with the largest decision. Fails as [`FittedLinearSvm::decision`] does, and for numbers.
    pub fn predict_class(&self, x: &Matrix) -> Result<Vec<usize>> {
        self.need_classes()?;
        Ok(self.decision(x)?.rows().map(|row| self.chosen(row)).collect())
    }

    fn chosen(&self, decision: &[f64]) -> usize {
        match decision {
            [one] => usize::from(*one > 0.0),
            all => (0..all.len()).fold(0, |best, c| if all[c] > all[best] { c } else { best }),
        }
    }

    /// The probability of every class: the sigmoid of each decision, brought to the sum one; 1 for the class chosen
    /// where probabilities were not learnt.
    pub fn predict_proba(&self, x: &Matrix) -> Result<Matrix> {
        self.need_classes()?;
        let decision = self.decision(x)?;
        let k = self.n_classes;
        let mut out = Matrix::zeros(x.n_rows(), k);
        for i in 0..x.n_rows() {
            let (decision, out) = (decision.row(i), out.row_mut(i));
            if self.platt.is_empty() {
                out[self.chosen(decision)] = 1.0;
            } else if k == 2 {
                let p = self.platt[0].predict(decision)[0];
                (out[0], out[1]) = (1.0 - p, p);
            } else {
                let each = decision.iter().zip(&self.platt).map(|(d, platt)| platt.predict(&[*d])[0]);
                out.iter_mut().zip(each).for_each(|(o, p)| *o = p);
                let sum: f64 = out.iter().sum();
                // All classes denied: none is likelier than another.
                out.iter_mut().for_each(|o| *o = if sum > 0.0 { *o / sum } else { 1.0 / k as f64 });
            }
        }
        Ok(out)
    }

    /// One prediction per row, for numbers. Fails as [`FittedLinearSvm::decision`] does, and for classes.
    pub fn predict_number(&self, x: &Matrix) -> Result<Vec<f64>> {
        match self.n_classes {
            0 => Ok(self.decision(x)?.values().to_vec()),
            _ => Err(Error::Invalid("this support vector machine has learnt classes, not numbers".into())),
        }
    }

    fn need_classes(&self) -> Result<()> {
        match self.n_classes {
            0 => Err(Error::Invalid("this support vector machine has learnt numbers, not classes".into())),
            _ => Ok(()),
        }
    }

    /// Coefficients and intercept: one line for numbers and for two classes, else one per class.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Sweeps made, over all lines.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// Whether every search reached the tolerance.
    pub fn converged(&self) -> bool {
        self.converged
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "linear_svm",
    summary: "Linear support vector machine for many rows.",
    summary_zh: "线性支持向量机：适用于大量样本。",
    source: "Hsieh et al. 2008; Ho and Lin 2012 (liblinear)",
    tasks: &[Task::Regression, Task::Binary, Task::Multiclass],
    params: &[
        ParamSpec {
            name: "loss",
            kind: ParamKind::Choice(&["l1", "l2"]),
            default: "l2",
            summary: "errors as they are or squared",
        },
        ParamSpec {
            name: "c",
            kind: ParamKind::Number { min: 1e-12, max: 1e12 },
            default: "1",
            summary: "weight of the errors against the penalty",
        },
        ParamSpec {
            name: "epsilon",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "0.1",
            summary: "numbers: errors up to this cost nothing",
        },
        ParamSpec {
            name: "intercept",
            kind: ParamKind::Flag,
            default: "true",
            summary: "whether there is an intercept",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-15, max: 0.5 },
            default: "1e-4",
            summary: "where the search ends",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 10_000_000 },
            default: "10000",
            summary: "sweeps before giving up",
        },
        ParamSpec {
            name: "probability",
            kind: ParamKind::Flag,
            default: "true",
            summary: "learn probabilities, which costs five more fits",
        },
        ParamSpec {
            name: "class_weight",
            kind: ParamKind::Numbers { min: 1e-12, max: 1e12 },
            default: "",
            summary: "factor on c of each class",
        },
        ParamSpec {
            name: "balanced",
            kind: ParamKind::Flag,
            default: "false",
            summary: "factor on c inverse to the share of the class",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |task, params| {
        let params: LinearSvm = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: |saved| load::<FittedLinearSvm>("linear_svm", saved),
};

struct ForTask {
    task: Task,
    params: LinearSvm,
}

impl Learner for ForTask {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(match self.task.is_classes() {
            true => self.params.fit_classes(run, data)?,
            false => self.params.fit_numbers(run, data)?,
        }))
    }
}

impl FittedLearner for FittedLinearSvm {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        match self.n_classes {
            0 => one_column(self.predict_number(x)?),
            _ => self.predict_proba(x),
        }
    }

    fn save(&self) -> Result<Value> {
        save("linear_svm", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        let mut lines = self.lines.iter();
        let mut all = lines.next()?.all_contributions(x);
        for line in lines {
            all = all.and_then(|all| all.beside(&line.all_contributions(x)?));
        }
        Some(all)
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        let mut table = Vec::new();
        for (c, line) in self.lines.iter().enumerate() {
            for mut entry in line.coefficients() {
                if self.lines.len() > 1 {
                    entry.name = format!("{}@{c}", entry.name);
                }
                table.push(entry);
            }
        }
        Some(table)
    }
}
