//! Logistic regression, binary and multinomial, with an L2 penalty or none.
//!
//! Minimises `Σ wᵢ · (−ln p(yᵢ | xᵢ)) + l2/2 · Σ β²`, where `p` is the logistic function for two classes and the softmax
//! for more; intercepts are not penalised. `l2` is scikit-learn's `1/C`. For more than two classes the coefficients
//! are those that sum to zero over the classes, which the penalty itself chooses.
//!
//! Columns are centred and scaled inside (the penalty is carried over, so the answer is that of the raw columns). The
//! search is L-BFGS, started from the class shares and preconditioned by the curvature there,
//! `c_k · XᵀWX + l2` with `c_k = p̄_k (1 − p̄_k)` (compare the bound of Böhning 1992), which makes nearly equal columns,
//! such as a spline basis, as quick as independent ones. Gradients run in parallel over chunks of fixed size and are
//! added in order, so the number of threads changes nothing.

use crate::faer_call::faer_call;
use crate::lbfgs::{dot, minimise};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::linear::{Coefficient, Scaled};
use crate::matrix::{Dataset, Matrix};
use faer::linalg::matmul::matmul;
use faer::prelude::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Rows per chunk of the gradient; fixed, since the rounding of the result depends on it.
const CHUNK_ROWS: usize = 1024;

/// Rows worked on together, and running sums of one product.
const LANES: usize = 4;

/// Rows that the preconditioner looks at; more do not improve it.
const CURVATURE_ROWS: usize = 20_000;

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `l2` | 1 | 0 and more | weight of the penalty against the sum of losses; scikit-learn's `1/C` |
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
    /// Weight of the penalty.
    pub l2: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Steps before giving up.
    pub max_iter: usize,
}

impl Default for Logistic {
    fn default() -> Self {
        Self { l2: 1.0, tolerance: 1e-6, max_iter: 500 }
    }
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
}

impl Logistic {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.l2.is_finite() && self.l2 >= 0.0, "l2", self.l2, "0 and more");
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
    /// no finite answer without a penalty, and the search then ends where the gradient has all but vanished.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedLogistic> {
        self.check()?;
        data.need_numbers("logistic regression")?;
        let (label, n_classes) = data.classes("logistic regression")?;
        run.install(|| self.fit_classes(run, data, &label, n_classes))
    }

    fn fit_classes(
        &self,
        run: &Run,
        data: &Dataset,
        label: &[usize],
        n_classes: usize,
    ) -> Result<FittedLogistic> {
        let weight = data.weights();
        let scaled = Scaled::weighted(data, &weight)?;
        let (n, p) = (data.n_rows(), data.x().n_cols());
        let logits = if n_classes == 2 { 1 } else { n_classes };
        let z = standardise(data.x(), &scaled);
        let total: f64 = weight.iter().sum();
        let mut share = vec![0.0; n_classes];
        for (&c, w) in label.iter().zip(&weight) {
            share[c] += w / total;
        }
        // All in terms of the mean loss, so that the tolerance means the same for any number of rows.
        let penalty: Vec<f64> = scaled.sds.iter().map(|s| self.l2 / total / (s * s)).collect();
        let problem = Problem { z: &z, p, n, label, weight: &weight, total, logits, penalty: &penalty };
        let steps = Preconditioner::new(&problem, &share)?;
        // One block per logit: p coefficients, then the intercept.
        let mut start = vec![0.0; logits * (p + 1)];
        for k in 0..logits {
            start[k * (p + 1) + p] = if logits == 1 { (share[1] / share[0]).ln() } else { share[k].ln() };
        }
        let evaluate = |v: &[f64], g: &mut [f64]| problem.loss(v, g);
        let found = minimise(run, start, self.tolerance, self.max_iter, evaluate, |g| steps.apply(g))?;
        let mut x = found.x;
        if logits > 1 {
            // Adding one vector to all classes leaves the probabilities; zero sums are the ones with least penalty.
            for j in 0..=p {
                let mean = (0..logits).map(|k| x[k * (p + 1) + j]).sum::<f64>() / logits as f64;
                (0..logits).for_each(|k| x[k * (p + 1) + j] -= mean);
            }
        }
        let mut coef = Matrix::zeros(logits, p);
        let mut intercept = Vec::with_capacity(logits);
        for (k, block) in x.chunks_exact(p + 1).enumerate() {
            let mut at_zero = block[p];
            for j in 0..p {
                let c = if scaled.live[j] { block[j] / scaled.sds[j] } else { 0.0 };
                coef.row_mut(k)[j] = c;
                at_zero -= c * scaled.means[j];
            }
            intercept.push(at_zero);
        }
        if !coef.values().iter().chain(&intercept).all(|c| c.is_finite()) {
            return Err(Error::NotConverged { what: "logistic regression".into(), iterations: found.n_iter });
        }
        Ok(FittedLogistic {
            coef,
            intercept,
            means: scaled.means,
            names: data.names().to_vec(),
            n_classes,
            converged: found.converged,
            n_iter: found.n_iter,
        })
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

    /// The coefficients as a table, without standard errors; for more than two classes the class stands behind the
    /// name, as `price@2`.
    pub fn table(&self) -> Vec<Coefficient> {
        let mut table = Vec::new();
        for (k, intercept) in self.intercept.iter().enumerate() {
            let named = |name: &str, value: f64| Coefficient {
                name: if self.intercept.len() == 1 { name.to_owned() } else { format!("{name}@{k}") },
                value,
                std_error: None,
                t: None,
                p: None,
            };
            table.push(named("intercept", *intercept));
            table.extend(self.names.iter().zip(self.coef.row(k)).map(|(name, c)| named(name, *c)));
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

fn standardise(x: &Matrix, scaled: &Scaled) -> Vec<f64> {
    let p = x.n_cols();
    let mut z = vec![0.0; x.n_rows() * p];
    if p > 0 {
        z.par_chunks_mut(p).zip(x.values().par_chunks(p)).for_each(|(z, x)| {
            for j in 0..p {
                z[j] = scaled.scale(j, x[j]);
            }
        });
    }
    z
}

struct Problem<'a> {
    z: &'a [f64],
    p: usize,
    n: usize,
    label: &'a [usize],
    weight: &'a [f64],
    total: f64,
    logits: usize,
    penalty: &'a [f64],
}

impl Problem<'_> {
    /// The mean loss with its penalty, and the gradient.
    fn loss(&self, v: &[f64], g: &mut [f64]) -> f64 {
        let parts: Vec<(f64, Vec<f64>)> = (0..self.n.div_ceil(CHUNK_ROWS))
            .into_par_iter()
            .map(|c| {
                let (from, to) = (c * CHUNK_ROWS, ((c + 1) * CHUNK_ROWS).min(self.n));
                let mut g = vec![0.0; v.len()];
                (self.chunk(v, from, to, &mut g), g)
            })
            .collect();
        let mut loss = 0.0;
        g.fill(0.0);
        for (part, part_g) in &parts {
            loss += part;
            g.iter_mut().zip(part_g).for_each(|(g, part)| *g += part);
        }
        loss /= self.total;
        g.iter_mut().for_each(|g| *g /= self.total);
        for (v, g) in v.chunks_exact(self.p + 1).zip(g.chunks_exact_mut(self.p + 1)) {
            for j in 0..self.p {
                loss += 0.5 * self.penalty[j] * v[j] * v[j];
                g[j] += self.penalty[j] * v[j];
            }
        }
        loss
    }

    fn chunk(&self, v: &[f64], from: usize, to: usize, g: &mut [f64]) -> f64 {
        let (p, width) = (self.p, self.p + 1);
        let mut loss = 0.0;
        let mut logits = vec![[0.0; LANES]; self.logits];
        let mut i = from;
        while i < to {
            // Four rows at a time, so that each coefficient is loaded once for four; past the end the last row is
            // repeated with no weight.
            let at: [usize; LANES] = std::array::from_fn(|r| (i + r).min(to - 1));
            let w: [f64; LANES] = std::array::from_fn(|r| if i + r < to { self.weight[at[r]] } else { 0.0 });
            let rows: [&[f64]; LANES] = std::array::from_fn(|r| &self.z[at[r] * p..(at[r] + 1) * p]);
            for (k, out) in logits.iter_mut().enumerate() {
                let block = &v[k * width..(k + 1) * width];
                *out = dots(rows, &block[..p]).map(|d| d + block[p]);
            }
            for r in 0..LANES {
                loss += residuals(&mut logits, r, self.label[at[r]], w[r]);
            }
            for (k, res) in logits.iter().enumerate() {
                let block = &mut g[k * width..(k + 1) * width];
                let [a, b, c, d] = rows;
                let sums = block[..p].iter_mut().zip(a).zip(b).zip(c).zip(d);
                for ((((g, a), b), c), d) in sums {
                    *g += (res[0] * a + res[1] * b) + (res[2] * c + res[3] * d);
                }
                block[p] += (res[0] + res[1]) + (res[2] + res[3]);
            }
            i += LANES;
        }
        loss
    }
}

/// Turns the logits of row `r` into the loss's derivative by them, and gives the loss. One logit means two classes.
fn residuals(logits: &mut [[f64; LANES]], r: usize, label: usize, w: f64) -> f64 {
    if let [only] = logits {
        // ln(1 + e^t) without overflow, with t the logit against the row's own class.
        let sign = if label == 1 { -1.0 } else { 1.0 };
        let t = sign * only[r];
        let small = (-t.abs()).exp();
        let p_wrong = if t > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
        only[r] = sign * w * p_wrong;
        return w * (t.max(0.0) + small.ln_1p());
    }
    let top = logits.iter().fold(f64::NEG_INFINITY, |m, v| m.max(v[r]));
    let own = logits[label][r];
    let mut sum = 0.0;
    for v in logits.iter_mut() {
        v[r] = (v[r] - top).exp();
        sum += v[r];
    }
    logits.iter_mut().for_each(|v| v[r] *= w / sum);
    logits[label][r] -= w;
    w * (sum.ln() + top - own)
}

/// The products of four rows with `v`, each as four running sums that the processor can hold side by side.
fn dots(rows: [&[f64]; LANES], v: &[f64]) -> [f64; LANES] {
    let mut sums = [[0.0; LANES]; LANES];
    let whole = v.len() / LANES * LANES;
    let [a, b, c, d] = rows.map(|row| row[..whole].chunks_exact(LANES));
    for ((((v, a), b), c), d) in v[..whole].chunks_exact(LANES).zip(a).zip(b).zip(c).zip(d) {
        for l in 0..LANES {
            sums[0][l] += v[l] * a[l];
            sums[1][l] += v[l] * b[l];
            sums[2][l] += v[l] * c[l];
            sums[3][l] += v[l] * d[l];
        }
    }
    std::array::from_fn(|r| {
        let rest: f64 = v[whole..].iter().zip(&rows[r][whole..]).map(|(v, z)| v * z).sum();
        (sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3]) + rest
    })
}

/// The curvature at the start, ready to be divided by: one Cholesky factor per logit. Intercepts stand apart, since
/// the columns are centred.
struct Preconditioner {
    factors: Vec<faer::linalg::solvers::Llt<f64>>,
    curvature: Vec<f64>,
    p: usize,
}

impl Preconditioner {
    fn new(problem: &Problem<'_>, share: &[f64]) -> Result<Self> {
        let p = problem.p;
        let gram = gram(problem);
        // With more classes than two the logits share a direction; (1 − 1/K) keeps the step of one class apart from
        // the others' answer to it from overshooting.
        let curvature: Vec<f64> = if problem.logits == 1 {
            vec![share[0] * share[1]]
        } else {
            share.iter().map(|s| (s * (1.0 - s)).max(1e-12)).collect()
        };
        let mut factors = Vec::with_capacity(problem.logits);
        for &c in &curvature {
            // A trace of ridge keeps dependent columns invertible; it changes the path, not the answer.
            let h = Mat::from_fn(p, p, |i, j| {
                c * gram[(i, j)] + if i == j { problem.penalty[j] + c * 1e-8 } else { 0.0 }
            });
            let h = Mat::from_fn(p, p, |i, j| if i == j && h[(i, j)] <= c * 2e-8 { c } else { h[(i, j)] });
            let factor = faer_call(|| h.llt(Side::Lower)).map_err(|_| Error::NotConverged {
                what: "logistic regression (its columns' products cannot be factored)".into(),
                iterations: 0,
            })?;
            factors.push(factor);
        }
        Ok(Self { factors, curvature, p })
    }

    fn apply(&self, g: &mut [f64]) {
        for ((block, factor), c) in g.chunks_exact_mut(self.p + 1).zip(&self.factors).zip(&self.curvature) {
            if self.p > 0 {
                let solved = faer_call(|| factor.solve(Mat::from_fn(self.p, 1, |j, _| block[j])));
                (0..self.p).for_each(|j| block[j] = solved[(j, 0)]);
            }
            block[self.p] /= c;
        }
    }
}

/// `ZᵀWZ / Σw` of evenly spaced rows, at most [`CURVATURE_ROWS`] of them.
fn gram(problem: &Problem<'_>) -> Mat<f64> {
    let p = problem.p;
    let stride = problem.n.div_ceil(CURVATURE_ROWS).max(1);
    let rows: Vec<usize> = (0..problem.n).step_by(stride).collect();
    let parts: Vec<(Mat<f64>, f64)> = rows
        .par_chunks(CHUNK_ROWS)
        .map(|rows| {
            let mut block = Vec::with_capacity(rows.len() * p);
            let mut total = 0.0;
            for &i in rows {
                let root = problem.weight[i].sqrt();
                total += problem.weight[i];
                block.extend(problem.z[i * p..(i + 1) * p].iter().map(|v| v * root));
            }
            let block = MatRef::from_row_major_slice(&block, rows.len(), p);
            let mut product = Mat::zeros(p, p);
            faer_call(|| matmul(product.as_mut(), Accum::Replace, block.transpose(), block, 1.0, Par::Seq));
            (product, total)
        })
        .collect();
    let mut sum = Mat::zeros(p, p);
    let mut total = 0.0;
    for (part, w) in parts {
        sum += part;
        total += w;
    }
    let total = if total > 0.0 { total } else { 1.0 };
    Mat::from_fn(p, p, |i, j| sum[(i, j)] / total)
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "logistic",
    summary: "Class probabilities from a weighted sum of the columns.",
    summary_zh: "逻辑回归：由各列加权求和得出类别概率。",
    source: "Cox 1958; Böhning 1992",
    tasks: &[Task::Binary, Task::Multiclass],
    params: &[
        ParamSpec {
            name: "l2",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "1",
            summary: "weight of the penalty against the sum of losses; 1/C of scikit-learn",
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
    bears: Bears { missing: false, categories: false, any_scale: false, weights: true },
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
