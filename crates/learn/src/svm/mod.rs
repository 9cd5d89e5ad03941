//! Support vector machines with kernels, for classes and for numbers.
//!
//! For two classes the machine minimises `½|w|² + Σ C_i ξ_i` under `y_i (w·φ(x_i) − rho) ≥ 1 − ξ_i` in the space of the
//! kernel (Cortes and Vapnik 1995); the answer depends on the rows at or inside the margin alone, the support vectors.
//! The nu form bounds the share of rows inside the margin instead of weighing them (Schölkopf et al. 2000). More than
//! two classes are told apart pair by pair. For numbers the loss is the part of the error outside a tube of half
//! width `epsilon` (Vapnik 1995).
//!
//! The solver is libsvm's (Chang and Lin 2011), step by step, with kernel rows formed for 16 rows side by side.
//! Where we differ: the columns are centred for the Gaussian kernel, which changes nothing but keeps digits, and a
//! class is told with probabilities unless they are turned off.

mod entry;
mod kernel;
mod probability;
mod smo;
mod wide;

pub use entry::ENTRY;
pub use kernel::Kernel;

use crate::calibrate::{FittedPlatt, Platt};
use crate::matrix::{Dataset, Matrix, column_name};
use kernel::{Form, Gram, Panels};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use smo::{Limits, Programme, solve};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// Parts of the inner cross-validation for probabilities.
const FOLDS: usize = 5;

/// Rows predicted by one piece of work.
const CHUNK_ROWS: usize = 64;

/// Pairwise probabilities are kept this far from 0 and 1, as in libsvm.
const P_MIN: f64 = 1e-7;

/// Which machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// C-SVC for classes, epsilon-SVR for numbers.
    #[default]
    Standard,
    /// nu-SVC for classes, nu-SVR for numbers.
    Nu,
}

/// How `gamma` follows from the data when it is not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GammaRule {
    /// One over the number of columns times the variance of all values.
    #[default]
    Scale,
    /// One over the number of columns.
    Auto,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `kind` | standard | standard, nu | C-SVC and epsilon-SVR, or nu-SVC and nu-SVR |
/// | `kernel` | rbf | rbf, linear, poly, sigmoid | how alike two rows are |
/// | `c` | 1 | above 0 | weight of the errors against the width of the margin (not used by nu-SVC) |
/// | `nu` | 0.5 | above 0, to 1 | nu form: share of rows that may lie inside the margin or outside the tube |
/// | `epsilon` | 0.1 | 0 and more | numbers, standard form: errors up to this cost nothing |
/// | `gamma` | from the data | above 0 | how fast likeness falls with distance |
/// | `gamma_rule` | scale | scale, auto | `gamma` when it is not given: `1/(columns · variance)` or `1/columns` |
/// | `degree` | 3 | 1 to 20 | power of the polynomial kernel |
/// | `coef0` | 0 | any | constant in the polynomial and sigmoid kernels |
/// | `tolerance` | 1e-3 | above 0, below 1 | largest violation of optimality at the end |
/// | `shrinking` | true | | set variables aside that stay at a bound; changes the time alone |
/// | `cache_mb` | 200 | 1 to 1,000,000 | memory for kernel rows, megabytes |
/// | `probability` | true | | learn probabilities by an inner 5-fold cross-validation, which costs five more fits; without it the chosen class has probability 1 |
/// | `class_weight` | none | above 0 each | factor on `c` of each class, in the order of the classes |
/// | `balanced` | false | | factor on `c` inverse to the share of the class |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, svm::Svm};
/// let x = Matrix::from_columns(&[[-1.0, 1.0, -1.0, 1.0], [-1.0, 1.0, 1.0, -1.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0, 0.0, 1.0, 1.0], vec![]).unwrap();
/// let svm = Svm { c: 10.0, probability: false, ..Svm::default() };
/// let model = svm.fit_classes(&Run::new(0), &data).unwrap();
/// assert_eq!(model.predict_class(data.x()).unwrap(), [0, 0, 1, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Svm {
    /// Which machine.
    pub kind: Kind,
    /// How alike two rows are.
    pub kernel: Kernel,
    /// Weight of the errors.
    pub c: f64,
    /// Share of rows inside the margin, for the nu form.
    pub nu: f64,
    /// Half width of the tube, for numbers.
    pub epsilon: f64,
    /// How fast likeness falls with distance; from the data when absent.
    pub gamma: Option<f64>,
    /// How `gamma` follows from the data.
    pub gamma_rule: GammaRule,
    /// Power of the polynomial kernel.
    pub degree: u32,
    /// Constant in the polynomial and sigmoid kernels.
    pub coef0: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Whether variables are set aside.
    pub shrinking: bool,
    /// Memory for kernel rows, megabytes.
    pub cache_mb: f64,
    /// Whether probabilities are learnt.
    pub probability: bool,
    /// Factor on `c` of each class; empty for ones.
    pub class_weight: Vec<f64>,
    /// Factor on `c` inverse to the share of the class.
    pub balanced: bool,
}

impl Default for Svm {
    fn default() -> Self {
        Self {
            kind: Kind::Standard,
            kernel: Kernel::Rbf,
            c: 1.0,
            nu: 0.5,
            epsilon: 0.1,
            gamma: None,
            gamma_rule: GammaRule::Scale,
            degree: 3,
            coef0: 0.0,
            tolerance: 1e-3,
            shrinking: true,
            cache_mb: 200.0,
            probability: true,
            class_weight: vec![],
            balanced: false,
        }
    }
}

/// What [`Svm`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedSvm {
    form: Form,
    /// Subtracted from every row first.
    shift: Vec<f64>,
    names: Vec<String>,
    /// 0 for numbers.
    n_classes: usize,
    support: Vec<usize>,
    /// How many support vectors of each class, in the order of `support`.
    n_support: Vec<usize>,
    /// The support vectors, shifted.
    vectors: Matrix,
    dual: Matrix,
    rho: Vec<f64>,
    platt: Vec<FittedPlatt>,
    n_iter: usize,
    converged: bool,
}

/// One machine between two sides, or one tube.
struct Machine {
    /// One per row given.
    coef: Vec<f64>,
    rho: f64,
    n_iter: usize,
    converged: bool,
}

impl Svm {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let above_0 = |v: f64| v.is_finite() && v > 0.0;
        let mut check = ParamCheck::new();
        check.require(above_0(self.c), "c", self.c, "above 0");
        check.require(self.nu > 0.0 && self.nu <= 1.0, "nu", self.nu, "above 0, to 1");
        let tube = self.epsilon.is_finite() && self.epsilon >= 0.0;
        check.require(tube, "epsilon", self.epsilon, "0 and more");
        let gamma = self.gamma.unwrap_or(1.0);
        check.require(above_0(gamma), "gamma", gamma, "above 0");
        check.require((1..=20).contains(&self.degree), "degree", self.degree, "1 to 20");
        check.require(self.coef0.is_finite(), "coef0", self.coef0, "a finite number");
        let tolerance = self.tolerance > 0.0 && self.tolerance < 1.0;
        check.require(tolerance, "tolerance", self.tolerance, "above 0, below 1");
        let cache = (1.0..=1e6).contains(&self.cache_mb);
        check.require(cache, "cache_mb", self.cache_mb, "1 to 1000000");
        for w in self.class_weight.iter().filter(|w| !above_0(**w)) {
            check.require(false, "class_weight", w, "above 0 each");
        }
        check.finish()
    }

    /// Learns classes, numbered 0, 1, 2, …
    ///
    /// Fails on fewer than two classes, on a class without rows, on values too large to be squared, and where the nu form
    /// asks for more rows than the smaller class has.
    pub fn fit_classes(&self, run: &Run, data: &Dataset) -> Result<FittedSvm> {
        self.check()?;
        data.need_numbers("the support vector machine")?;
        let (label, k) = data.classes("the support vector machine")?;
        run.check()?;
        run.install(|| self.classes(run, data, &label, k))
    }

    /// Learns numbers. Fails on no rows and on values too large to be squared.
    pub fn fit_numbers(&self, run: &Run, data: &Dataset) -> Result<FittedSvm> {
        self.check()?;
        data.need_numbers("the support vector machine")?;
        data.need_rows("the support vector machine", 1)?;
        run.check()?;
        run.install(|| self.numbers(run, data))
    }

    fn classes(&self, run: &Run, data: &Dataset, label: &[usize], k: usize) -> Result<FittedSvm> {
        let (form, shift, x) = self.prepare(data)?;
        let weight = data.weights();
        let factor = self.factors(label, &weight, k)?;
        let mut members = vec![Vec::new(); k];
        for i in (0..label.len()).filter(|&i| weight[i] > 0.0) {
            members[label[i]].push(i);
        }
        let pairs: Vec<(usize, usize)> = (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b))).collect();
        let works: Vec<Pair> = pairs
            .iter()
            .map(|&(a, b)| {
                let rows: Vec<usize> = members[a].iter().chain(&members[b]).copied().collect();
                let y = rows.iter().map(|&i| if label[i] == a { 1.0 } else { -1.0 }).collect();
                // The nu form knows weights of rows alone.
                let scale = |i: usize| match self.kind {
                    Kind::Standard => self.c * factor[label[i]],
                    Kind::Nu => 1.0,
                };
                let c = rows.iter().map(|&i| scale(i) * weight[i]).collect();
                Pair { rows, y, c }
            })
            .collect();
        // The whole machine of a pair and those of its folds are all independent; the pieces share the cache.
        let folds = if self.probability { FOLDS } else { 0 };
        let tasks: Vec<(usize, usize)> =
            (0..works.len()).flat_map(|w| (0..=folds).map(move |fold| (w, fold))).collect();
        let at_once = rayon::current_num_threads().clamp(1, tasks.len());
        let cache = self.cache_mb / at_once as f64;
        let orders: Vec<Vec<usize>> = works.iter().enumerate().map(|(w, pair)| pair.order(run, w)).collect();
        let done: Vec<Result<Done>> = tasks
            .par_iter()
            .map(|&(w, fold)| {
                let pair = &works[w];
                match fold {
                    0 => Ok((Some(self.machine(run, &x, form, pair, cache)?), vec![])),
                    _ => Ok((None, self.held_out(run, &x, form, pair, &orders[w], fold - 1, cache)?)),
                }
            })
            .collect();
        let mut machines = Vec::with_capacity(works.len());
        let mut scores: Vec<Vec<f64>> = works.iter().map(|pair| vec![0.0; pair.rows.len()]).collect();
        for ((w, _), done) in tasks.iter().zip(done) {
            let (machine, held_out) = done?;
            machines.extend(machine);
            held_out.into_iter().for_each(|(at, score)| scores[*w][at] = score);
        }
        let mut platt = Vec::new();
        if self.probability {
            for (pair, scores) in works.iter().zip(&scores) {
                let happened: Vec<bool> = pair.y.iter().map(|y| *y > 0.0).collect();
                platt.push(Platt.fit(run, scores, &happened)?);
            }
        }
        // A row supports when any of its machines leans on it.
        let mut leans = vec![false; label.len()];
        for (pair, machine) in works.iter().zip(&machines) {
            for (&i, coef) in pair.rows.iter().zip(&machine.coef) {
                leans[i] |= *coef != 0.0;
            }
        }
        let support: Vec<usize> = members.iter().flatten().copied().filter(|&i| leans[i]).collect();
        let n_support = members.iter().map(|m| m.iter().filter(|&&i| leans[i]).count()).collect();
        let mut place = vec![usize::MAX; label.len()];
        support.iter().enumerate().for_each(|(s, &i)| place[i] = s);
        let mut dual = Matrix::zeros(k - 1, support.len());
        for ((&(a, b), pair), machine) in pairs.iter().zip(&works).zip(&machines) {
            for (&i, coef) in pair.rows.iter().zip(&machine.coef) {
                if place[i] != usize::MAX {
                    dual.row_mut(if label[i] == a { b - 1 } else { a })[place[i]] = *coef;
                }
            }
        }
        Ok(FittedSvm {
            form,
            shift,
            names: data.names().to_vec(),
            n_classes: k,
            vectors: x.select_rows(&support),
            support,
            n_support,
            dual,
            rho: machines.iter().map(|m| m.rho).collect(),
            platt,
            n_iter: machines.iter().map(|m| m.n_iter).sum(),
            converged: machines.iter().all(|m| m.converged),
        })
    }

    fn numbers(&self, run: &Run, data: &Dataset) -> Result<FittedSvm> {
        let (form, shift, x) = self.prepare(data)?;
        let weight = data.weights();
        let rows: Vec<usize> = (0..data.n_rows()).filter(|&i| weight[i] > 0.0).collect();
        let n = rows.len();
        let nu = self.kind == Kind::Nu;
        let tube = if nu { 0.0 } else { self.epsilon };
        let half: Vec<f64> = rows.iter().map(|&i| self.c * weight[i]).collect();
        let c: Vec<f64> = half.iter().chain(&half).copied().collect();
        let mut start = vec![0.0; 2 * n];
        if nu {
            let mut left = self.nu * half.iter().sum::<f64>() / 2.0;
            for k in 0..n {
                let part = left.min(half[k]).max(0.0);
                (start[k], start[k + n]) = (part, part);
                left -= part;
            }
        }
        let y_of = |k: usize| data.y()[rows[k]];
        let programme = Programme {
            y: (0..2 * n).map(|k| if k < n { 1.0 } else { -1.0 }).collect(),
            linear: (0..2 * n).map(|k| if k < n { tube - y_of(k) } else { tube + y_of(k - n) }).collect(),
            c,
            start,
            nu,
        };
        let mut gram = Gram::new(form, &x, &rows, self.cache_mb, true);
        let found = solve(run, &mut gram, programme, &self.limits())?;
        let coef: Vec<f64> = (0..n).map(|k| found.alpha[k] - found.alpha[k + n]).collect();
        check_machine(&coef, found.rho)?;
        let kept: Vec<usize> = (0..n).filter(|&k| coef[k] != 0.0).collect();
        let support: Vec<usize> = kept.iter().map(|&k| rows[k]).collect();
        Ok(FittedSvm {
            form,
            shift,
            names: data.names().to_vec(),
            n_classes: 0,
            vectors: x.select_rows(&support),
            n_support: vec![support.len()],
            support,
            dual: Matrix::new(1, kept.len(), kept.iter().map(|&k| coef[k]).collect())?,
            rho: vec![found.rho],
            platt: vec![],
            n_iter: found.n_iter,
            converged: found.converged,
        })
    }

    fn limits(&self) -> Limits {
        Limits { tolerance: self.tolerance, shrinking: self.shrinking }
    }

    /// The kernel, what is subtracted from every row, and the rows after that.
    fn prepare(&self, data: &Dataset) -> Result<(Form, Vec<f64>, Matrix)> {
        let (n, p) = (data.n_rows(), data.x().n_cols());
        let mut x = data.x().clone();
        let mut shift = Vec::new();
        if self.kernel == Kernel::Rbf {
            shift = vec![0.0; p];
            for row in x.rows() {
                shift.iter_mut().zip(row).for_each(|(s, v)| *s += v / n as f64);
            }
        }
        subtract(&mut x, &shift);
        for (i, row) in x.rows().enumerate() {
            if !row.iter().map(|v| v * v).sum::<f64>().is_finite() {
                let widest = (0..p).fold(0, |best, j| if row[j].abs() > row[best].abs() { j } else { best });
                return Err(Error::Invalid(format!(
                    "column `{}` has {} in row {i}, too large to be squared; bring the columns to one scale first",
                    column_name(data.names(), widest),
                    data.x().get(i, widest)
                )));
            }
        }
        let gamma = self.gamma.unwrap_or_else(|| {
            let columns = p.max(1) as f64;
            match self.gamma_rule {
                GammaRule::Auto => 1.0 / columns,
                GammaRule::Scale => {
                    let values = data.x().values();
                    let count = values.len().max(1) as f64;
                    let mean = values.iter().map(|v| v / count).sum::<f64>();
                    let variance = values.iter().map(|v| (v - mean) * (v - mean) / count).sum::<f64>();
                    let gamma = 1.0 / (columns * variance);
                    if variance > 0.0 && gamma.is_finite() { gamma } else { 1.0 }
                }
            }
        });
        Ok((Form { kernel: self.kernel, gamma, degree: self.degree, coef0: self.coef0 }, shift, x))
    }

    fn factors(&self, label: &[usize], weight: &[f64], k: usize) -> Result<Vec<f64>> {
        let mut factor = class_factors(&self.class_weight, k)?;
        if self.balanced {
            balance(&mut factor, label, weight);
        }
        Ok(factor)
    }

    /// The machine between the two sides of a pair.
    fn machine(&self, run: &Run, x: &Matrix, form: Form, pair: &Pair, cache_mb: f64) -> Result<Machine> {
        let n = pair.rows.len();
        let nu = self.kind == Kind::Nu;
        let mut start = vec![0.0; n];
        if nu {
            let total: f64 = pair.c.iter().sum();
            let of = |side: f64| (0..n).filter(|&k| pair.y[k] == side).map(|k| pair.c[k]).sum::<f64>();
            let most = 2.0 * of(1.0).min(of(-1.0)) / total;
            // Rounding of the sums must not refuse classes of equal size at nu = 1.
            if self.nu > most * (1.0 + 1e-12) {
                return Err(Error::Invalid(format!(
                    "nu = {} asks for more rows than the smaller class has; choose nu at most {most:.6}",
                    self.nu
                )));
            }
            let mut left = [self.nu * total / 2.0; 2];
            for k in 0..n {
                let left = &mut left[usize::from(pair.y[k] < 0.0)];
                start[k] = pair.c[k].min(*left).max(0.0);
                *left -= start[k];
            }
        }
        let programme = Programme {
            y: pair.y.clone(),
            linear: vec![if nu { 0.0 } else { -1.0 }; n],
            c: pair.c.clone(),
            start,
            nu,
        };
        let mut gram = Gram::new(form, x, &pair.rows, cache_mb, false);
        let found = solve(run, &mut gram, programme, &self.limits())?;
        let r = if nu { found.r } else { 1.0 };
        let coef: Vec<f64> = found.alpha.iter().zip(&pair.y).map(|(a, y)| a * y / r).collect();
        let rho = found.rho / r;
        check_machine(&coef, rho)?;
        Ok(Machine { coef, rho, n_iter: found.n_iter, converged: found.converged })
    }

    /// The decisions on one fold of a pair by a machine that has not seen it, with the places of the rows in the pair.
    fn held_out(
        &self,
        run: &Run,
        x: &Matrix,
        form: Form,
        pair: &Pair,
        order: &[usize],
        fold: usize,
        cache_mb: f64,
    ) -> Result<Vec<(usize, f64)>> {
        let n = order.len();
        let fold = fold * n / FOLDS..(fold + 1) * n / FOLDS;
        let test = &order[fold.clone()];
        let rest = order[..fold.start].iter().chain(&order[fold.end..]).copied();
        let train = Pair {
            rows: rest.clone().map(|k| pair.rows[k]).collect(),
            y: rest.clone().map(|k| pair.y[k]).collect(),
            c: rest.map(|k| pair.c[k]).collect(),
        };
        let has = |side: f64| train.y.contains(&side);
        if !(has(1.0) && has(-1.0)) {
            let only = f64::from(i8::from(has(1.0)) - i8::from(has(-1.0)));
            return Ok(test.iter().map(|&k| (k, only)).collect());
        }
        let machine = self.machine(run, x, form, &train, cache_mb)?;
        let kept: Vec<usize> = (0..train.rows.len()).filter(|&k| machine.coef[k] != 0.0).collect();
        let rows: Vec<usize> = kept.iter().map(|&k| train.rows[k]).collect();
        let coef: Vec<f64> = kept.iter().map(|&k| machine.coef[k]).collect();
        let panels = Panels::new(x, &rows);
        let mut kernels = Vec::new();
        Ok(test
            .iter()
            .map(|&k| {
                panels.kernels(&form, x.row(pair.rows[k]), 0, panels.len(), &mut kernels);
                (k, summed(&coef, &kernels) - machine.rho)
            })
            .collect())
    }
}

/// The machine of a whole pair, or the decisions on one of its folds.
type Done = (Option<Machine>, Vec<(usize, f64)>);

/// The rows of two classes, the first class first, with their sides and bounds.
struct Pair {
    rows: Vec<usize>,
    y: Vec<f64>,
    c: Vec<f64>,
}

impl Pair {
    /// The rows' places in random order, for the folds.
    fn order(&self, run: &Run, stream: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.shuffle(&mut run.rng(0x5356_4D00 + stream as u64));
        order
    }
}

/// The factors on `c` that were given, or ones.
pub(crate) fn class_factors(given: &[f64], k: usize) -> Result<Vec<f64>> {
    match given.len() {
        0 => Ok(vec![1.0; k]),
        n if n == k => Ok(given.to_vec()),
        n => Err(Error::Invalid(format!("class_weight has {n} numbers where the target has {k} classes"))),
    }
}

/// Multiplies each class's factor by the mean weight of a class over its own.
pub(crate) fn balance(factor: &mut [f64], label: &[usize], weight: &[f64]) {
    let mut mass = vec![0.0; factor.len()];
    label.iter().zip(weight).for_each(|(&c, w)| mass[c] += w);
    let mean = mass.iter().sum::<f64>() / mass.len() as f64;
    factor.iter_mut().zip(&mass).for_each(|(f, m)| *f *= mean / m);
}

fn subtract(x: &mut Matrix, shift: &[f64]) {
    if !shift.is_empty() {
        for i in 0..x.n_rows() {
            x.row_mut(i).iter_mut().zip(shift).for_each(|(v, s)| *v -= s);
        }
    }
}

fn check_machine(coef: &[f64], rho: f64) -> Result<()> {
    if rho.is_finite() && coef.iter().all(|c| c.is_finite()) {
        return Ok(());
    }
    Err(Error::Invalid(
        "the kernel's values are too large to work with; bring the columns to one scale or choose smaller gamma, \
         degree or c"
            .into(),
    ))
}

/// The sum of products, with eight running sums.
pub(crate) fn summed(a: &[f64], b: &[f64]) -> f64 {
    const SUMS: usize = 8;
    let n = a.len().min(b.len());
    let whole = n / SUMS * SUMS;
    let mut sums = [0.0; SUMS];
    for (a, b) in a[..whole].chunks_exact(SUMS).zip(b[..whole].chunks_exact(SUMS)) {
        for l in 0..SUMS {
            sums[l] += a[l] * b[l];
        }
    }
    let rest: f64 = a[whole..n].iter().zip(&b[whole..n]).map(|(a, b)| a * b).sum();
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}

impl FittedSvm {
    /// The raw decisions, one row per row of `x`: for numbers the prediction; for two classes one column, positive for
    /// class 1; for more one column per pair of classes (0 and 1, 0 and 2, …, 1 and 2, …), positive for the first.
    ///
    /// Fails on another width, on NaN or infinite values, and on values too large for the kernel.
    pub fn decision(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.names.len(), "the support vector machine")?;
        x.check_finite(&self.names)?;
        let panels = Panels::new(&self.vectors, &(0..self.vectors.n_rows()).collect::<Vec<_>>());
        let width = self.rho.len();
        let mut out = Matrix::zeros(x.n_rows(), width);
        out.values_mut().par_chunks_mut(width * CHUNK_ROWS).enumerate().for_each(|(chunk, out)| {
            let (mut row, mut kernels) = (Vec::new(), Vec::new());
            for (r, out) in out.chunks_exact_mut(width).enumerate() {
                row.clear();
                row.extend_from_slice(x.row(chunk * CHUNK_ROWS + r));
                row.iter_mut().zip(&self.shift).for_each(|(v, s)| *v -= s);
                panels.kernels(&self.form, &row, 0, panels.len(), &mut kernels);
                self.decide(&kernels, out);
            }
        });
        if let Some(at) = out.values().iter().position(|v| !v.is_finite()) {
            return Err(Error::Invalid(format!(
                "row {} has values too large for the kernel; bring the columns to the scale of the training rows",
                at / width
            )));
        }
        Ok(out)
    }

    fn decide(&self, kernels: &[f64], out: &mut [f64]) {
        let k = self.n_classes;
        if k == 0 {
            out[0] = summed(self.dual.row(0), kernels) - self.rho[0];
            return;
        }
        let mut starts = vec![0];
        self.n_support.iter().for_each(|n| starts.push(starts[starts.len() - 1] + n));
        let mut pair = 0;
        for a in 0..k {
            for b in a + 1..k {
                let (of_a, of_b) = (starts[a]..starts[a + 1], starts[b]..starts[b + 1]);
                let sum = summed(&self.dual.row(b - 1)[of_a.clone()], &kernels[of_a])
                    + summed(&self.dual.row(a)[of_b.clone()], &kernels[of_b]);
                out[pair] = sum - self.rho[pair];
                pair += 1;
            }
        }
        if k == 2 {
            out[0] = -out[0];
        }
    }

    /// The class that wins most pairs; of equals the lowest. Fails as [`FittedSvm::decision`] does, and for numbers.
    pub fn predict_class(&self, x: &Matrix) -> Result<Vec<usize>> {
        self.need_classes()?;
        Ok(self.decision(x)?.rows().map(|row| self.voted(row)).collect())
    }

    fn voted(&self, decision: &[f64]) -> usize {
        let k = self.n_classes;
        if k == 2 {
            return usize::from(decision[0] >= 0.0);
        }
        let mut votes = vec![0usize; k];
        let pairs = (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b)));
        for ((a, b), d) in pairs.zip(decision) {
            votes[if *d > 0.0 { a } else { b }] += 1;
        }
        (0..k).fold(0, |best, c| if votes[c] > votes[best] { c } else { best })
    }

    /// The probability of every class; 1 for the class chosen and 0 for the others where probabilities were not learnt.
    pub fn predict_proba(&self, x: &Matrix) -> Result<Matrix> {
        self.need_classes()?;
        let (k, decision) = (self.n_classes, self.decision(x)?);
        let mut out = Matrix::zeros(x.n_rows(), k);
        let mut against = vec![0.0; k * k];
        for i in 0..x.n_rows() {
            let (decision, out) = (decision.row(i), out.row_mut(i));
            if self.platt.is_empty() {
                out[self.voted(decision)] = 1.0;
                continue;
            }
            if k == 2 {
                let p = self.platt[0].predict(&[-decision[0]])[0].clamp(P_MIN, 1.0 - P_MIN);
                (out[0], out[1]) = (p, 1.0 - p);
                continue;
            }
            let pairs = (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b)));
            for (((a, b), d), platt) in pairs.zip(decision).zip(&self.platt) {
                let p = platt.predict(&[*d])[0].clamp(P_MIN, 1.0 - P_MIN);
                (against[a * k + b], against[b * k + a]) = (p, 1.0 - p);
            }
            probability::couple(k, &against, out);
        }
        Ok(out)
    }

    /// One prediction per row, for numbers. Fails as [`FittedSvm::decision`] does, and for classes.
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

    /// The numbers of the support vectors' rows, class after class.
    pub fn support(&self) -> &[usize] {
        &self.support
    }

    /// How many support vectors each class has (one number in all for regression).
    pub fn n_support(&self) -> &[usize] {
        &self.n_support
    }

    /// The support vectors' coefficients, laid out as libsvm does: for a pair of classes `a < b`, those of class `a`
    /// stand in row `b − 1` and those of class `b` in row `a`. Positive means class `a`.
    pub fn dual(&self) -> &Matrix {
        &self.dual
    }

    /// The offset of every pair (one for regression), which is subtracted from the sum.
    pub fn rho(&self) -> &[f64] {
        &self.rho
    }

    /// The `gamma` that was used.
    pub fn gamma(&self) -> f64 {
        self.form.gamma
    }

    /// Steps made, over all pairs.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// Whether every search reached the tolerance.
    pub fn converged(&self) -> bool {
        self.converged
    }
}
