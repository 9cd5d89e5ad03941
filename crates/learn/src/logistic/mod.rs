//! Logistic regression, binary and multinomial, with penalties on squares and on absolute values.
//!
//! Minimises `Σ wᵢ · (−ln p(yᵢ | xᵢ)) + l2/2 · Σ β² + l1 · Σ |β|`, where `p` is the logistic function for two classes and
//! the softmax for more; intercepts are not penalised. scikit-learn's `C` and `l1_ratio` are `l1 = l1_ratio / C` and
//! `l2 = (1 − l1_ratio) / C`. For more than two classes and no `l1` the coefficients are those that sum to zero over the
//! classes, which the penalty itself chooses.
//!
//! Columns are centred and scaled inside (the penalty is carried over, so the answer is that of the raw columns). The
//! search runs by Newton's method on a part of the rows and from there by L-BFGS on all of them, in the metric of the
//! part's curvature; with `l1` by proximal Newton steps. Sums run in parallel over chunks of fixed size and are added in
//! order, so the number of threads changes nothing.
//!
//! Without a penalty the table has standard errors, from the inverse of the second derivatives at the answer.

mod fit;

use crate::lbfgs::dot;
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::linear::Coefficient;
use crate::matrix::{Dataset, Matrix};
use crate::student::two_sided_normal_p;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// How much the rows of each class count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// As much as their weights say.
    #[default]
    None,
    /// So that all classes count alike: a row of class `k` of `K` counts `Σw / (K · Σ w of class k)` times its weight.
    Balanced,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `l2` | 1 | 0 and more | weight of half the squares against the sum of losses; scikit-learn's `1/C` |
/// | `l1` | 0 | 0 and more | weight of the absolute values against the sum of losses |
/// | `class_weight` | none | none, balanced | whether all classes count alike |
/// | `tolerance` | 1e-6 | above 0, below 1 | largest part of the gradient per unit of weight, columns scaled, at the end |
/// | `max_iter` | 500 | 1 to 100,000 | steps before giving up |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, logistic::Logistic};
/// let x = Matrix::from_columns(&[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0, 0.0, 1.0, 1.0, 2.0, 2.0], vec![]).unwrap();
/// let model = Logistic { l2: 0.1, ..Logistic::default() }.fit(&Run::new(0), &data).unwrap();
/// let p = model.predict_proba(&Matrix::from_rows(&[[5.0]]).unwrap()).unwrap();
/// assert!(p.get(0, 2) > 0.9 && model.converged());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logistic {
    /// Weight of half the squares.
    pub l2: f64,
    /// Weight of the absolute values.
    pub l1: f64,
    /// How much the rows of each class count.
    pub class_weight: ClassWeight,
    /// Where the search ends.
    pub tolerance: f64,
    /// Steps before giving up.
    pub max_iter: usize,
}

impl Default for Logistic {
    fn default() -> Self {
        Self { l2: 1.0, l1: 0.0, class_weight: ClassWeight::None, tolerance: 1e-6, max_iter: 500 }
    }
}

/// What one fit is given beside the parameters.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, logistic::{Extras, Logistic}};
/// let x = Matrix::from_columns(&[[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 1.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0, 1.0, 0.0, 1.0], vec![]).unwrap();
/// // The second column is free, the first is held ten times as hard.
/// let extras = Extras { penalty_factor: Some(&[10.0, 0.0]), ..Extras::default() };
/// let model = Logistic::default().fit_with(&Run::new(0), &data, &extras).unwrap();
/// assert!(model.coef().get(0, 0).abs() < 0.2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// How many times the penalties count for each column; 0 leaves a column free. None means once for all.
    pub penalty_factor: Option<&'a [f64]>,
    /// Where the search starts, for data that are nearly those of another fit. It changes the time, and the answer
    /// only within the tolerance.
    pub start: Option<&'a FittedLogistic>,
}

/// What [`Logistic`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedLogistic {
    /// One row per logit: one for two classes, else one per class.
    coef: Matrix,
    intercept: Vec<f64>,
    means: Vec<f64>,
    names: Vec<String>,
    n_classes: usize,
    converged: bool,
    n_iter: usize,
    /// Of every logit the intercept's and then the columns'; those of columns left out are missing.
    #[serde(default)]
    std_error: Option<Vec<Option<f64>>>,
}

impl Logistic {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.l2.is_finite() && self.l2 >= 0.0, "l2", self.l2, "0 and more");
        check.require(self.l1.is_finite() && self.l1 >= 0.0, "l1", self.l1, "0 and more");
        check.require(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "tolerance",
            self.tolerance,
            "above 0, below 1",
        );
        check.require((1..=100_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 100000");
        check.finish()
    }

    /// Fits; the target holds classes as 0, 1, 2, …
    ///
    /// Fails on fewer than two classes or a class without rows. Not reaching the tolerance is no error but the flag
    /// [`FittedLogistic::converged`], since such a model still predicts; classes that a line parts perfectly have
    /// no finite answer without a penalty, and the search then ends where the gradient has all but vanished. Without
    /// a penalty, columns that depend on earlier ones get the coefficient 0. With `l1`, columns times logits may be
    /// 4,096 at most.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedLogistic> {
        self.fit_with(run, data, &Extras::default())
    }

    /// [`Logistic::fit`] with penalties for each column, or from another start. Fails also when these do not fit the
    /// data.
    pub fn fit_with(&self, run: &Run, data: &Dataset, extras: &Extras<'_>) -> Result<FittedLogistic> {
        self.check()?;
        data.need_numbers("logistic regression")?;
        let (label, n_classes) = data.classes("logistic regression")?;
        run.install(|| fit::fit(self, run, data, &label, n_classes, extras))
    }
}

impl FittedLogistic {
    /// The probability of every class, one row per row of `x`. Fails on another width and on NaN or infinite values.
    pub fn predict_proba(&self, x: &Matrix) -> Result<Matrix> {
        let mut out = Matrix::zeros(x.n_rows(), self.n_classes);
        let logits = self.logits(x)?;
        for i in 0..x.n_rows() {
            let row = out.row_mut(i);
            row.copy_from_slice(logits.row(i));
            softmax(row);
        }
        Ok(out)
    }

    /// The logit of every class (before the softmax). For two classes the first is 0 and the second the log odds.
    pub fn logits(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.means.len(), "the logistic regression")?;
        x.check_finite(&self.names)?;
        let mut out = Matrix::zeros(x.n_rows(), self.n_classes);
        let first = self.n_classes - self.intercept.len();
        for i in 0..x.n_rows() {
            for (k, b) in self.intercept.iter().enumerate() {
                // Kept finite, so that extreme rows give 0 and 1 and not NaN.
                out.row_mut(i)[first + k] = (b + dot(x.row(i), self.coef.row(k))).clamp(-1e300, 1e300);
            }
        }
        Ok(out)
    }

    /// Coefficients: one row per logit (one for two classes, else one per class), one column per feature.
    pub fn coef(&self) -> &Matrix {
        &self.coef
    }

    /// Intercepts, one per logit.
    pub fn intercept(&self) -> &[f64] {
        &self.intercept
    }

    /// How many classes there are.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Whether the tolerance was reached.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// Steps made.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// What each feature adds to the logit of each class, seen from the training mean: row `k` holds
    /// `β_kj (x_j − mean_j)`. With the logit at the training means (the average row) they sum to the logit of the row.
    /// Always one row per class; for two classes the first is zero.
    pub fn contributions(&self, row: &[f64]) -> Result<Matrix> {
        if row.len() != self.means.len() {
            let (needed, got) = (self.means.len(), row.len());
            let text = format!("the logistic regression was fitted on {needed} columns and was given {got}");
            return Err(Error::Invalid(text));
        }
        let first = self.n_classes - self.intercept.len();
        let mut out = Matrix::zeros(self.n_classes, row.len());
        for k in 0..self.intercept.len() {
            for (j, o) in out.row_mut(first + k).iter_mut().enumerate() {
                *o = self.coef.get(k, j) * (row[j] - self.means[j]);
            }
        }
        Ok(out)
    }

    /// What each feature adds to each log odds of every row, with the log odds at the training means behind them: one
    /// block for two classes, else one block per class.
    pub fn all_contributions(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.means.len(), "the logistic regression")?;
        x.check_finite(&self.names)?;
        let p = self.means.len();
        let mut out = Matrix::zeros(x.n_rows(), self.intercept.len() * (p + 1));
        for i in 0..x.n_rows() {
            let row = x.row(i);
            for (k, parts) in out.row_mut(i).chunks_exact_mut(p + 1).enumerate() {
                let coef = self.coef.row(k);
                (0..p).for_each(|j| parts[j] = coef[j] * (row[j] - self.means[j]));
                parts[p] = self.intercept[k] + dot(coef, &self.means);
            }
        }
        Ok(out)
    }

    /// The coefficients as a table; for more than two classes the class stands behind the name, as `price@2`. Standard
    /// errors, z (in the place of t) and p are there where no penalty and no class weights were used.
    pub fn table(&self) -> Vec<Coefficient> {
        let mut table = Vec::new();
        let width = self.names.len() + 1;
        for (k, intercept) in self.intercept.iter().enumerate() {
            let named = |j: usize, name: &str, value: f64| {
                let std_error = self.std_error.as_ref().and_then(|s| s[k * width + j]);
                let z = std_error.filter(|s| *s > 0.0).map(|s| value / s);
                Coefficient {
                    name: if self.intercept.len() == 1 { name.to_owned() } else { format!("{name}@{k}") },
                    value,
                    std_error,
                    t: z,
                    p: z.map(two_sided_normal_p),
                }
            };
            table.push(named(0, "intercept", *intercept));
            let columns = self.names.iter().zip(self.coef.row(k)).enumerate();
            table.extend(columns.map(|(j, (name, c))| named(j + 1, name, *c)));
        }
        table
    }
}

/// Turns logits into probabilities, in place.
pub(crate) fn softmax(row: &mut [f64]) {
    let top = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let mut sum = 0.0;
    for v in row.iter_mut() {
        *v = (*v - top).exp();
        sum += *v;
    }
    row.iter_mut().for_each(|v| *v /= sum);
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "logistic",
    summary: "Class probabilities from a weighted sum of the columns.",
    summary_zh: "逻辑回归：由各列加权求和得出类别概率。",
    source: "Cox 1958; Byrd et al. 2011; Friedman, Hastie and Tibshirani 2010",
    tasks: &[Task::Binary, Task::Multiclass],
    params: &[
        ParamSpec {
            name: "l2",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "1",
            summary: "weight of half the squares against the sum of losses; 1/C of scikit-learn",
        },
        ParamSpec {
            name: "l1",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "0",
            summary: "weight of absolute values against the sum of losses; sets weak coefficients to zero",
        },
        ParamSpec {
            name: "class_weight",
            kind: ParamKind::Choice(&["none", "balanced"]),
            default: "none",
            summary: "balanced lets rare classes count as much as common ones",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-15, max: 0.5 },
            default: "1e-6",
            summary: "where the search ends",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "500",
            summary: "steps before giving up",
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
    build: |_, params| {
        let params: Logistic = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedLogistic>("logistic", saved),
};

impl Learner for Logistic {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedLogistic {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict_proba(x)
    }

    fn save(&self) -> Result<Value> {
        save("logistic", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.table())
    }
}
