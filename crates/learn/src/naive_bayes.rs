//! Naive Bayes: the probability of each class if the columns were independent within it.
//!
//! | entry | a column is | the class's part for `x` |
//! |---|---|---|
//! | `gaussian_nb` | a measurement | `−½ Σ (ln 2πσ² + (x − μ)²/σ²)` |
//! | `multinomial_nb` | a count, not negative | `Σ x ln((n_j + alpha) / (n + alpha p))` |
//! | `complement_nb` | a count, not negative | the counts of all other classes, taken against it (Rennie et al. 2003) |
//! | `bernoulli_nb` | present (above `threshold`) or absent | `Σ ln q` of present and `ln(1 − q)` of absent columns |
//!
//! The class's share in the rows stands beside it as prior. All are learnt in one pass from sums, so new rows can be
//! added at any time ([`FittedNaiveBayes::update`]); the answer is that of all rows at once. Numbers agree with
//! scikit-learn's classes of the same names.

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::logistic::softmax;
use crate::matrix::{Dataset, Matrix, column_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Rows between two looks at whether to stop.
const CHECK_ROWS: usize = 4096;

/// What the columns are taken to be, with the parameters of each form.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NaiveBayes {
    /// Measurements with a normal distribution in each class.
    Gaussian(Gaussian),
    /// Counts.
    Multinomial(Counts),
    /// Counts, learnt from the other classes.
    Complement(Complement),
    /// Present or absent.
    Bernoulli(Bernoulli),
}

/// Parameters of the Gaussian form.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `var_smoothing` | 1e-9 | 0 to 1 | share of the largest variance of a column that is added to all variances |
/// | `fit_prior` | true | | whether the classes' shares are learnt; else all are equal |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gaussian {
    /// Share of the largest variance added to all.
    pub var_smoothing: f64,
    /// Whether the classes' shares are learnt.
    pub fit_prior: bool,
}

impl Default for Gaussian {
    fn default() -> Self {
        Self { var_smoothing: 1e-9, fit_prior: true }
    }
}

/// Parameters of the multinomial form.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 1 | above 0 | count added to every column of every class (Laplace) |
/// | `fit_prior` | true | | whether the classes' shares are learnt; else all are equal |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// Count added to every column.
    pub alpha: f64,
    /// Whether the classes' shares are learnt.
    pub fit_prior: bool,
}

impl Default for Counts {
    fn default() -> Self {
        Self { alpha: 1.0, fit_prior: true }
    }
}

/// Parameters of the complement form. It has no prior: the classes' shares are what it corrects for.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 1 | above 0 | count added to every column of every class |
/// | `norm` | false | | whether each class's weights are divided by their sum, against long rows |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Complement {
    /// Count added to every column.
    pub alpha: f64,
    /// Whether weights are divided by their sum.
    pub norm: bool,
}

impl Default for Complement {
    fn default() -> Self {
        Self { alpha: 1.0, norm: false }
    }
}

/// Parameters of the Bernoulli form.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 1 | above 0 | rows with and without the column added to every class |
/// | `threshold` | 0 | any | a column above it is present |
/// | `fit_prior` | true | | whether the classes' shares are learnt; else all are equal |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bernoulli {
    /// Rows added to every class.
    pub alpha: f64,
    /// Above it a column is present.
    pub threshold: f64,
    /// Whether the classes' shares are learnt.
    pub fit_prior: bool,
}

impl Default for Bernoulli {
    fn default() -> Self {
        Self { alpha: 1.0, threshold: 0.0, fit_prior: true }
    }
}

/// What [`NaiveBayes`] learnt.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, naive_bayes::{Counts, NaiveBayes}};
/// let x = Matrix::from_rows(&[[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0, 0.0, 1.0], vec![]).unwrap();
/// let mut model = NaiveBayes::Multinomial(Counts::default()).fit(&Run::new(0), &data).unwrap();
/// let p = model.predict_proba(&Matrix::from_rows(&[[0.0, 2.0]]).unwrap()).unwrap();
/// assert!(p.get(0, 1) > 0.6);
/// model.update(&Run::new(0), &data).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedNaiveBayes {
    form: NaiveBayes,
    names: Vec<String>,
    /// The weight of each class.
    mass: Vec<f64>,
    /// Gaussian: the mean of each class and column; else the sum of (present) columns.
    first: Matrix,
    /// Gaussian: the sum of squares around the mean.
    second: Matrix,
}

impl NaiveBayes {
    fn what(self) -> &'static str {
        match self {
            Self::Gaussian(_) => "Gaussian naive Bayes",
            Self::Multinomial(_) => "multinomial naive Bayes",
            Self::Complement(_) => "complement naive Bayes",
            Self::Bernoulli(_) => "Bernoulli naive Bayes",
        }
    }

    fn counts_only(self) -> bool {
        matches!(self, Self::Multinomial(_) | Self::Complement(_))
    }

    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let above_0 = |v: f64| v.is_finite() && v > 0.0;
        match *self {
            Self::Gaussian(p) => {
                check.require(
                    (0.0..=1.0).contains(&p.var_smoothing),
                    "var_smoothing",
                    p.var_smoothing,
                    "0 to 1",
                );
            }
            Self::Multinomial(Counts { alpha, .. }) | Self::Complement(Complement { alpha, .. }) => {
                check.require(above_0(alpha), "alpha", alpha, "above 0");
            }
            Self::Bernoulli(p) => {
                check.require(above_0(p.alpha), "alpha", p.alpha, "above 0");
                check.require(p.threshold.is_finite(), "threshold", p.threshold, "a finite number");
            }
        }
        check.finish()
    }

    /// Fits in one pass.
    ///
    /// Fails on fewer than two classes, on a class without rows and, for the two forms of counts, on a negative value,
    /// naming its column and row.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedNaiveBayes> {
        self.check()?;
        data.need_numbers(self.what())?;
        let (label, k) = data.classes(self.what())?;
        let p = data.x().n_cols();
        let mut fitted = FittedNaiveBayes {
            form: *self,
            names: data.names().to_vec(),
            mass: vec![0.0; k],
            first: Matrix::zeros(k, p),
            second: Matrix::zeros(k, p),
        };
        fitted.add(run, data, &label)?;
        Ok(fitted)
    }
}

impl FittedNaiveBayes {
    /// Adds rows that were not seen before. Classes must be among those of the first rows.
    ///
    /// Fails as [`NaiveBayes::fit`] does, and on another width or a class that is new; the model is then as before.
    pub fn update(&mut self, run: &Run, newer: &Dataset) -> Result<()> {
        newer.x().check_width(self.names.len(), self.form.what())?;
        newer.need_numbers(self.form.what())?;
        let k = self.mass.len();
        let mut label = Vec::with_capacity(newer.n_rows());
        for (i, &y) in newer.y().iter().enumerate() {
            if !(y >= 0.0 && y < k as f64 && y.fract() == 0.0) {
                return Err(Error::Invalid(format!(
                    "row {i} has class {y}; the model knows the classes 0 to {}; fit it anew to add one",
                    k - 1
                )));
            }
            label.push(y as usize);
        }
        let mut next = self.clone();
        next.add(run, newer, &label)?;
        *self = next;
        Ok(())
    }

    fn add(&mut self, run: &Run, data: &Dataset, label: &[usize]) -> Result<()> {
        let weight = data.weights();
        if self.form.counts_only() {
            check_counts(self.form.what(), data.x(), data.names())?;
        }
        for (i, row) in data.x().rows().enumerate() {
            if i.is_multiple_of(CHECK_ROWS) {
                run.check()?;
            }
            let (c, w) = (label[i], weight[i]);
            if w == 0.0 {
                continue;
            }
            self.mass[c] += w;
            let first = self.first.row_mut(c);
            match self.form {
                NaiveBayes::Gaussian(_) => {
                    // Welford's update, which keeps the digits of columns far from zero.
                    let (share, second) = (w / self.mass[c], self.second.row_mut(c));
                    for ((m, s), v) in first.iter_mut().zip(second).zip(row) {
                        let d = v - *m;
                        *m += share * d;
                        *s += w * d * (v - *m);
                    }
                }
                NaiveBayes::Bernoulli(p) => {
                    first.iter_mut().zip(row).filter(|(_, v)| **v > p.threshold).for_each(|(f, _)| *f += w);
                }
                _ => first.iter_mut().zip(row).for_each(|(f, v)| *f += w * v),
            }
        }
        let finite = |m: &Matrix| m.values().iter().all(|v| v.is_finite());
        if !(finite(&self.first) && finite(&self.second)) {
            return Err(Error::Invalid(format!(
                "{} met values too large to be summed; give the columns in larger units",
                self.form.what()
            )));
        }
        Ok(())
    }

    /// The logarithm of the probability of every class, up to one constant per row.
    ///
    /// Fails on another width, on NaN or infinite values and, for the forms of counts, on negative values.
    pub fn joint_log_likelihood(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.names.len(), self.form.what())?;
        x.check_finite(&self.names)?;
        if self.form.counts_only() {
            check_counts(self.form.what(), x, &self.names)?;
        }
        let (k, p) = (self.mass.len(), self.names.len());
        let total: f64 = self.mass.iter().sum();
        let learnt = match self.form {
            NaiveBayes::Gaussian(g) => g.fit_prior,
            NaiveBayes::Multinomial(c) => c.fit_prior,
            NaiveBayes::Bernoulli(b) => b.fit_prior,
            NaiveBayes::Complement(_) => false,
        };
        let prior: Vec<f64> = match self.form {
            NaiveBayes::Complement(_) => vec![0.0; k],
            _ if learnt => self.mass.iter().map(|m| (m / total).ln()).collect(),
            _ => vec![-(k as f64).ln(); k],
        };
        let tables = self.tables();
        let mut out = Matrix::zeros(x.n_rows(), k);
        for i in 0..x.n_rows() {
            let row = x.row(i);
            for (c, out) in out.row_mut(i).iter_mut().enumerate() {
                let (a, b) = (tables.0.row(c), tables.1.row(c));
                let part: f64 = match self.form {
                    NaiveBayes::Gaussian(_) => {
                        let squares = (0..p).map(|j| (row[j] - a[j]) * (row[j] - a[j]) / b[j]).sum::<f64>();
                        let logs = b.iter().map(|v| (2.0 * std::f64::consts::PI * v).ln()).sum::<f64>();
                        -0.5 * (logs + squares)
                    }
                    NaiveBayes::Bernoulli(f) => {
                        (0..p).map(|j| if row[j] > f.threshold { a[j] } else { b[j] }).sum()
                    }
                    _ => row.iter().zip(a).map(|(v, a)| v * a).sum(),
                };
                // Kept finite, so that extreme rows give 0 and 1 and not NaN.
                *out = (prior[c] + part).clamp(-1e300, 1e300);
            }
        }
        Ok(out)
    }

    /// The numbers of each class and column: mean and variance, or the weights of present and of absent columns.
    fn tables(&self) -> (Matrix, Matrix) {
        let (k, p) = (self.mass.len(), self.names.len());
        let (mut a, mut b) = (self.first.clone(), self.second.clone());
        match self.form {
            NaiveBayes::Gaussian(g) => {
                let added = g.var_smoothing * self.largest_variance();
                for c in 0..k {
                    for v in b.row_mut(c) {
                        // Without any spread the class is told by its mean alone.
                        *v = (*v / self.mass[c] + added).max(f64::MIN_POSITIVE);
                    }
                }
            }
            NaiveBayes::Multinomial(f) => {
                for c in 0..k {
                    let row = a.row_mut(c);
                    row.iter_mut().for_each(|v| *v += f.alpha);
                    let sum = row.iter().sum::<f64>().ln();
                    row.iter_mut().for_each(|v| *v = v.ln() - sum);
                }
            }
            NaiveBayes::Complement(f) => {
                let all: Vec<f64> = (0..p).map(|j| (0..k).map(|c| self.first.get(c, j)).sum()).collect();
                for c in 0..k {
                    let row = a.row_mut(c);
                    row.iter_mut().zip(&all).for_each(|(v, all)| *v = all + f.alpha - *v);
                    let sum = row.iter().sum::<f64>().ln();
                    row.iter_mut().for_each(|v| *v = v.ln() - sum);
                    let whole = row.iter().sum::<f64>();
                    // Divided by a sum of logarithms, all below zero, the sign turns by itself.
                    let scale = if f.norm && whole < 0.0 { 1.0 / whole } else { -1.0 };
                    row.iter_mut().for_each(|v| *v *= scale);
                }
            }
            NaiveBayes::Bernoulli(f) => {
                for c in 0..k {
                    let rows = self.mass[c] + 2.0 * f.alpha;
                    for j in 0..p {
                        let q = (self.first.get(c, j) + f.alpha) / rows;
                        a.row_mut(c)[j] = q.ln();
                        b.row_mut(c)[j] = (1.0 - q).ln();
                    }
                }
            }
        }
        (a, b)
    }

    /// The largest variance of a column over all rows, put together from the classes.
    fn largest_variance(&self) -> f64 {
        let total: f64 = self.mass.iter().sum();
        let share: Vec<f64> = self.mass.iter().map(|m| m / total).collect();
        let of = |j: usize| -> f64 {
            let mean: f64 = share.iter().enumerate().map(|(c, s)| s * self.first.get(c, j)).sum();
            share
                .iter()
                .enumerate()
                .map(|(c, s)| {
                    let d = self.first.get(c, j) - mean;
                    s * d * d + self.second.get(c, j) / total
                })
                .sum()
        };
        (0..self.names.len()).map(of).fold(0.0, f64::max)
    }

    /// The probability of every class, one row per row of `x`. Fails as
    /// [`FittedNaiveBayes::joint_log_likelihood`] does.
    pub fn predict_proba(&self, x: &Matrix) -> Result<Matrix> {
        let mut out = self.joint_log_likelihood(x)?;
        (0..out.n_rows()).for_each(|i| softmax(out.row_mut(i)));
        Ok(out)
    }

    /// The weight of the rows of each class.
    pub fn class_mass(&self) -> &[f64] {
        &self.mass
    }
}

fn check_counts(what: &str, x: &Matrix, names: &[String]) -> Result<()> {
    match x.values().iter().position(|v| *v < 0.0) {
        None => Ok(()),
        Some(at) => {
            let (row, j) = (at / x.n_cols(), at % x.n_cols());
            Err(Error::Invalid(format!(
                "column `{}` has {} in row {row}; {what} needs counts, 0 and more; use gaussian_nb for such columns",
                column_name(names, j),
                x.values()[at]
            )))
        }
    }
}

const ALPHA: ParamSpec = ParamSpec {
    name: "alpha",
    kind: ParamKind::Number { min: 1e-10, max: 1e12 },
    default: "1",
    summary: "count added to every column of every class",
};

const FIT_PRIOR: ParamSpec = ParamSpec {
    name: "fit_prior",
    kind: ParamKind::Flag,
    default: "true",
    summary: "whether the classes' shares are learnt",
};

const TASKS: &[Task] = &[Task::Binary, Task::Multiclass];

const BEARS: Bears = Bears {
    missing: false,
    categories: false,
    any_scale: true,
    weights: true,
    negative: true,
    many_categories: false,
};

/// The catalogue entry of the Gaussian form.
pub const GAUSSIAN: LearnerEntry = LearnerEntry {
    name: "gaussian_nb",
    summary: "Naive Bayes for measurements: a normal distribution per class and column.",
    summary_zh: "高斯朴素贝叶斯：每类每列服从正态分布。",
    source: "Maron 1961; Chan, Golub and LeVeque 1979 (sums)",
    tasks: TASKS,
    params: &[
        ParamSpec {
            name: "var_smoothing",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "1e-9",
            summary: "share of the largest variance added to all variances",
        },
        FIT_PRIOR,
    ],
    bears: BEARS,
    build: |_, params| build(NaiveBayes::Gaussian(GAUSSIAN.read(params)?)),
    load: |saved| load::<FittedNaiveBayes>("gaussian_nb", saved),
};

/// The catalogue entry of the multinomial form.
pub const MULTINOMIAL: LearnerEntry = LearnerEntry {
    name: "multinomial_nb",
    summary: "Naive Bayes for counts, such as words.",
    summary_zh: "多项式朴素贝叶斯：用于词频等计数。",
    source: "McCallum and Nigam 1998",
    tasks: TASKS,
    params: &[ALPHA, FIT_PRIOR],
    bears: Bears { negative: false, ..BEARS },
    build: |_, params| build(NaiveBayes::Multinomial(MULTINOMIAL.read(params)?)),
    load: |saved| load::<FittedNaiveBayes>("multinomial_nb", saved),
};

/// The catalogue entry of the complement form.
pub const COMPLEMENT: LearnerEntry = LearnerEntry {
    name: "complement_nb",
    summary: "Naive Bayes for counts with classes of unequal size.",
    summary_zh: "补集朴素贝叶斯：用于类别不均衡的计数数据。",
    source: "Rennie et al. 2003",
    tasks: TASKS,
    params: &[
        ALPHA,
        ParamSpec {
            name: "norm",
            kind: ParamKind::Flag,
            default: "false",
            summary: "whether each class's weights are divided by their sum",
        },
    ],
    bears: Bears { negative: false, ..BEARS },
    build: |_, params| build(NaiveBayes::Complement(COMPLEMENT.read(params)?)),
    load: |saved| load::<FittedNaiveBayes>("complement_nb", saved),
};

/// The catalogue entry of the Bernoulli form.
pub const BERNOULLI: LearnerEntry = LearnerEntry {
    name: "bernoulli_nb",
    summary: "Naive Bayes for columns that are present or absent.",
    summary_zh: "伯努利朴素贝叶斯：用于有无型特征。",
    source: "McCallum and Nigam 1998",
    tasks: TASKS,
    params: &[
        ALPHA,
        ParamSpec {
            name: "threshold",
            kind: ParamKind::Number { min: -1e300, max: 1e300 },
            default: "0",
            summary: "a column above it is present",
        },
        FIT_PRIOR,
    ],
    bears: BEARS,
    build: |_, params| build(NaiveBayes::Bernoulli(BERNOULLI.read(params)?)),
    load: |saved| load::<FittedNaiveBayes>("bernoulli_nb", saved),
};

fn build(form: NaiveBayes) -> Result<Box<dyn Learner>> {
    form.check()?;
    Ok(Box::new(form))
}

impl Learner for NaiveBayes {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedNaiveBayes {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict_proba(x)
    }

    fn save(&self) -> Result<Value> {
        save("naive Bayes", self)
    }

    fn update(&mut self, run: &Run, newer: &Dataset) -> Result<()> {
        self.update(run, newer)
    }
}
