//! Linear regression: ordinary least squares with its coefficient table, and ridge.
//!
//! Both minimise `Σ wᵢ (yᵢ − b − xᵢ·β)²`, ridge with `alpha · |β|²` added; the intercept `b` is never penalised.
//! Columns are centred and scaled inside and the problem is solved by QR (never by `XᵀX`), so that nearly equal columns
//! and large offsets keep their digits. Coefficients are given back on the scale of the data.

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, NoParams, Task, load, one_column, save};
use crate::matrix::{Dataset, Matrix};
use crate::qr;
use crate::student::two_sided_p;
use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Ordinary least squares.
///
/// Columns that depend on earlier ones (duplicates, constants) get the coefficient 0 and no entry in the table, as in
/// R's `lm`; the predictions are those of the full model. Needs at least one row.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, linear::Ols};
/// let x = Matrix::from_columns(&[[1.0, 2.0, 3.0, 4.0]]).unwrap();
/// let data = Dataset::new(x, vec![3.1, 4.9, 7.1, 8.9], vec!["price".into()]).unwrap();
/// let model = Ols.fit(&Run::new(0), &data).unwrap();
/// assert!((model.coef()[0] - 1.96).abs() < 1e-12);
/// assert!(model.table()[1].p.unwrap() < 0.01);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ols;

/// One line of the coefficient table of [`Ols`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The column, or `intercept`.
    pub name: String,
    /// The estimate.
    pub value: f64,
    /// Its standard error; absent when no degree of freedom is left.
    pub std_error: Option<f64>,
    /// Estimate over standard error; absent also where the error is zero (a perfect fit).
    pub t: Option<f64>,
    /// The two-sided probability of a `t` as large by chance.
    pub p: Option<f64>,
}

/// What [`Ols`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedOls {
    line: Line,
    table: Vec<Coefficient>,
    df_resid: usize,
    rss: f64,
    r_squared: f64,
}

impl Ols {
    /// Fits by QR. Fails on no rows. `run` gives threads and cancellation.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedOls> {
        data.need_numbers("least squares")?;
        data.need_rows("least squares", 1)?;
        run.check()?;
        let scaled = Scaled::of(data)?;
        let r = run.install(|| scaled.triangle(data));
        let p = data.x().n_cols();
        let solution = qr::solve(&r, p, true);
        let line = scaled.unscale(&solution.coef);
        let n = data.weight().map_or(data.n_rows(), |w| w.iter().filter(|w| **w > 0.0).count());
        let df_resid = n.saturating_sub(solution.used.len() + 1);
        let sigma2 = (df_resid > 0).then(|| solution.rss / df_resid as f64);
        let rank = solution.used.len();
        let covariance = |a: usize, b: usize| solution.inverse[a * rank + b];
        // The intercept at x = 0: Var(b) = σ² (1/Σw + m' C m) with m the means on the scaled axes.
        let m: Vec<f64> = solution.used.iter().map(|&j| scaled.means[j] / scaled.sds[j]).collect();
        let mut of_intercept = 1.0 / scaled.total;
        for a in 0..rank {
            of_intercept += m[a] * (0..rank).map(|b| covariance(a, b) * m[b]).sum::<f64>();
        }
        let entry = |name: String, value: f64, variance: f64| {
            let std_error = sigma2.map(|s| (s * variance).sqrt());
            let t = std_error.filter(|s| *s > 0.0).map(|s| value / s);
            Coefficient { name, value, std_error, t, p: t.map(|t| two_sided_p(t, df_resid as f64)) }
        };
        let mut table = vec![entry("intercept".into(), line.intercept, of_intercept)];
        for (k, &j) in solution.used.iter().enumerate() {
            let sd = scaled.sds[j];
            table.push(entry(data.names()[j].clone(), line.coef[j], covariance(k, k) / (sd * sd)));
        }
        let tss = scaled.tss;
        let r_squared = if tss > 0.0 { 1.0 - solution.rss / tss } else { 0.0 };
        Ok(FittedOls { line, table, df_resid, rss: solution.rss, r_squared })
    }
}

impl FittedOls {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients in the order of the columns.
    pub fn coef(&self) -> &[f64] {
        &self.line.coef
    }

    /// The intercept.
    pub fn intercept(&self) -> f64 {
        self.line.intercept
    }

    /// Estimates with standard errors, t and p: the intercept, then each column that does not depend on earlier ones.
    pub fn table(&self) -> &[Coefficient] {
        &self.table
    }

    /// Degrees of freedom left.
    pub fn df_resid(&self) -> usize {
        self.df_resid
    }

    /// The weighted sum of squared residuals.
    pub fn rss(&self) -> f64 {
        self.rss
    }

    /// The share of variance explained; 0 for a constant target.
    pub fn r_squared(&self) -> f64 {
        self.r_squared
    }

    /// What each column adds to the prediction of a row, from the training mean; see [`Line::contributions`].
    pub fn contributions(&self, row: &[f64]) -> Result<Vec<f64>> {
        self.line.contributions(row)
    }
}

/// Ridge regression (Hoerl and Kennard 1970): least squares with `alpha · |β|²`, as scikit-learn counts it.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 1 | 0 and more | weight of the penalty against the sum of squares |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ridge {
    /// Weight of the penalty.
    pub alpha: f64,
}

impl Default for Ridge {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

/// What [`Ridge`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedRidge {
    line: Line,
}

impl Ridge {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let ok = self.alpha.is_finite() && self.alpha >= 0.0;
        ParamCheck::new().require(ok, "alpha", self.alpha, "0 and more").finish()
    }

    /// Fits by QR of the data above the penalty. Fails on no rows.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedRidge> {
        self.check()?;
        data.need_numbers("ridge")?;
        data.need_rows("ridge", 1)?;
        run.check()?;
        let scaled = Scaled::of(data)?;
        let p = data.x().n_cols();
        let mut r = run.install(|| scaled.triangle(data));
        if self.alpha > 0.0 {
            // On the scaled axes β = v / sd, so the penalty of v is alpha / sd².
            let root = self.alpha.sqrt();
            let penalty =
                Mat::from_fn(
                    p,
                    p + 1,
                    |i, j| if i == j && scaled.live[j] { root / scaled.sds[j] } else { 0.0 },
                );
            r = qr::stack(&r, &penalty);
        }
        Ok(FittedRidge { line: scaled.unscale(&qr::solve(&r, p, false).coef) })
    }
}

impl FittedRidge {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients in the order of the columns.
    pub fn coef(&self) -> &[f64] {
        &self.line.coef
    }

    /// The intercept.
    pub fn intercept(&self) -> f64 {
        self.line.intercept
    }

    /// What each column adds to the prediction of a row, from the training mean; see [`Line::contributions`].
    pub fn contributions(&self, row: &[f64]) -> Result<Vec<f64>> {
        self.line.contributions(row)
    }
}

/// A fitted line: what all linear regressions share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub(crate) coef: Vec<f64>,
    pub(crate) intercept: f64,
    pub(crate) means: Vec<f64>,
    pub(crate) names: Vec<String>,
}

impl Line {
    /// Coefficients in the order of the columns.
    pub fn coef(&self) -> &[f64] {
        &self.coef
    }

    /// The intercept.
    pub fn intercept(&self) -> f64 {
        self.intercept
    }

    /// One prediction per row. Fails on another width, and on NaN or infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        x.check_width(self.coef.len(), "the linear model")?;
        x.check_finite(&self.names)?;
        Ok(x.rows()
            .map(|row| self.intercept + row.iter().zip(&self.coef).map(|(v, c)| v * c).sum::<f64>())
            .collect())
    }

    /// What each column adds to the prediction of `row`: `βⱼ (xⱼ − meanⱼ)`. Their sum and the prediction at the
    /// training means make the prediction of the row.
    pub fn contributions(&self, row: &[f64]) -> Result<Vec<f64>> {
        if row.len() != self.coef.len() {
            let (needed, got) = (self.coef.len(), row.len());
            return Err(Error::Invalid(format!(
                "the linear model was fitted on {needed} columns and was given {got}"
            )));
        }
        Ok((0..row.len()).map(|j| self.coef[j] * (row[j] - self.means[j])).collect())
    }

    /// [`Line::contributions`] of every row, with the prediction at the training means behind them.
    pub fn all_contributions(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.coef.len(), "the linear model")?;
        x.check_finite(&self.names)?;
        let p = self.coef.len();
        let constant = self.intercept + self.coef.iter().zip(&self.means).map(|(c, m)| c * m).sum::<f64>();
        let mut out = Matrix::zeros(x.n_rows(), p + 1);
        for i in 0..x.n_rows() {
            let (row, parts) = (x.row(i), out.row_mut(i));
            (0..p).for_each(|j| parts[j] = self.coef[j] * (row[j] - self.means[j]));
            parts[p] = constant;
        }
        Ok(out)
    }

    /// The intercept and the coefficients as a table without standard errors.
    pub fn coefficients(&self) -> Vec<Coefficient> {
        let plain = |name: &str, value: f64| Coefficient {
            name: name.to_owned(),
            value,
            std_error: None,
            t: None,
            p: None,
        };
        let mut table = vec![plain("intercept", self.intercept)];
        table.extend(self.names.iter().zip(&self.coef).map(|(name, c)| plain(name, *c)));
        table
    }
}

/// The data's centre and scale, and the way back.
pub(crate) struct Scaled {
    pub(crate) means: Vec<f64>,
    /// 1 for columns without spread.
    pub(crate) sds: Vec<f64>,
    /// False for columns without spread.
    pub(crate) live: Vec<bool>,
    pub(crate) y_mean: f64,
    pub(crate) total: f64,
    tss: f64,
    names: Vec<String>,
}

impl Scaled {
    pub(crate) fn of(data: &Dataset) -> Result<Self> {
        Self::weighted(data, &data.weights())
    }

    pub(crate) fn weighted(data: &Dataset, w: &[f64]) -> Result<Self> {
        let (means, sds) = moments(data.x(), w);
        if let Some(j) = (0..means.len()).find(|&j| !(means[j].is_finite() && sds[j].is_finite())) {
            return Err(too_large(&format!("column `{}`", data.names()[j])));
        }
        let total: f64 = w.iter().sum();
        let y_mean = data.y().iter().zip(w).map(|(y, w)| y * w).sum::<f64>() / total;
        let tss: f64 = data.y().iter().zip(w).map(|(y, w)| w * (y - y_mean) * (y - y_mean)).sum();
        if !(tss.is_finite() && total.is_finite()) {
            return Err(too_large("the target or the weight"));
        }
        let live: Vec<bool> = sds.iter().map(|s| *s > 0.0).collect();
        let sds = sds.iter().map(|s| if *s > 0.0 { *s } else { 1.0 }).collect();
        Ok(Self { means, sds, live, y_mean, total, tss, names: data.names().to_vec() })
    }

    pub(crate) fn triangle(&self, data: &Dataset) -> Mat<f64> {
        let p = data.x().n_cols();
        qr::triangle(data.n_rows(), p + 1, |i, out| {
            let root = data.weight().map_or(1.0, |w| w[i].sqrt());
            for (j, &v) in data.x().row(i).iter().enumerate() {
                out[j] = root * self.scale(j, v);
            }
            out[p] = root * (data.y()[i] - self.y_mean);
        })
    }

    /// A value of column `j` on the scaled axis; 0 for columns without spread.
    pub(crate) fn scale(&self, j: usize, v: f64) -> f64 {
        if self.live[j] { (v - self.means[j]) / self.sds[j] } else { 0.0 }
    }

    /// The target's standard deviation; 0 when it is only rounding.
    pub(crate) fn y_sd(&self) -> f64 {
        let sd = (self.tss / self.total).sqrt();
        if sd > 1e-13 * self.y_mean.abs() { sd } else { 0.0 }
    }

    fn unscale(&self, v: &[f64]) -> Line {
        self.line(v, self.y_mean)
    }

    /// The line on the scale of the data, given coefficients on the scaled axes and the value at the means.
    pub(crate) fn line(&self, v: &[f64], at_means: f64) -> Line {
        let coef: Vec<f64> = v.iter().zip(&self.sds).map(|(v, s)| v / s).collect();
        let intercept = at_means - coef.iter().zip(&self.means).map(|(c, m)| c * m).sum::<f64>();
        Line { coef, intercept, means: self.means.clone(), names: self.names.clone() }
    }
}

fn too_large(what: &str) -> Error {
    Error::Invalid(format!("{what} has values too large to be squared and summed; give it in larger units"))
}

/// Rows per chunk of a sum over columns.
const SUM_ROWS: usize = 4096;

/// Weighted mean and standard deviation of every column; a spread that is only rounding is given as 0.
pub(crate) fn moments(x: &Matrix, w: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let total: f64 = w.iter().sum();
    let mut means = column_sums(x, w, |sum, row, w| {
        sum.iter_mut().zip(row).for_each(|(m, v)| *m += w * v);
    });
    means.iter_mut().for_each(|m| *m /= total);
    let mut sds = column_sums(x, w, |sum, row, w| {
        for ((s, v), m) in sum.iter_mut().zip(row).zip(&means) {
            *s += w * (v - m) * (v - m);
        }
    });
    for (s, m) in sds.iter_mut().zip(&means) {
        *s = (*s / total).sqrt();
        if *s <= 1e-13 * m.abs() {
            *s = 0.0;
        }
    }
    (means, sds)
}

/// Sums over the rows, one per column, in chunks that are added in order.
fn column_sums(x: &Matrix, w: &[f64], add: impl Fn(&mut [f64], &[f64], f64) + Sync) -> Vec<f64> {
    let p = x.n_cols();
    if p == 0 {
        return Vec::new();
    }
    let parts: Vec<Vec<f64>> = w
        .par_chunks(SUM_ROWS)
        .zip(x.values().par_chunks(SUM_ROWS * p))
        .map(|(w, rows)| {
            let mut sum = vec![0.0; p];
            rows.chunks_exact(p).zip(w).for_each(|(row, w)| add(&mut sum, row, *w));
            sum
        })
        .collect();
    let mut total = vec![0.0; p];
    for part in &parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
    total
}

/// The catalogue entry.
pub const OLS: LearnerEntry = LearnerEntry {
    name: "ols",
    summary: "Least squares with standard errors.",
    summary_zh: "最小二乘法，附标准误差。",
    source: "Gauss 1809; Golub 1965 (by QR)",
    tasks: &[Task::Regression],
    params: &[],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: true,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        OLS.read::<NoParams>(params)?;
        Ok(Box::new(Ols))
    },
    load: |saved| load::<FittedOls>("ols", saved),
};

impl Learner for Ols {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedOls {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("ols", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.table.clone())
    }
}

/// The catalogue entry.
pub const RIDGE: LearnerEntry = LearnerEntry {
    name: "ridge",
    summary: "Least squares with a penalty on large coefficients.",
    summary_zh: "岭回归：惩罚过大系数的最小二乘法。",
    source: "Hoerl and Kennard 1970",
    tasks: &[Task::Regression],
    params: &[ParamSpec {
        name: "alpha",
        kind: ParamKind::Number { min: 0.0, max: 1e12 },
        default: "1",
        summary: "weight of the penalty",
    }],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let params: Ridge = RIDGE.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedRidge>("ridge", saved),
};

impl Learner for Ridge {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedRidge {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("ridge", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.line.coefficients())
    }
}
