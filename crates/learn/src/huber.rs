//! Huber's robust regression: squares for small residuals, absolute values for large ones, with the scale estimated
//! along (Huber, *Robust Statistics*, 1981, 7.7; Owen 2007).
//!
//! Minimises `Σ wᵢ (σ + H(rᵢ/σ) σ) + alpha · |β|²` over line and scale, with `H(z) = z²` up to `epsilon` and
//! `2 epsilon |z| − epsilon²` beyond, as scikit-learn's `HuberRegressor` does. The intercept is not penalised.

use crate::lbfgs::{dot, minimise};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::{Coefficient, Line, Scaled};
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// The least scale, as a share of the target's deviation; a perfect fit would else divide by zero.
const SCALE_MIN: f64 = 1e-9;

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `epsilon` | 1.35 | above 1, to 100 | residuals beyond this many scales count as outliers |
/// | `alpha` | 1e-4 | 0 and more | weight of the penalty against the sum |
/// | `tolerance` | 1e-7 | above 0, below 1 | largest part of the gradient per unit of weight at the end |
/// | `max_iter` | 1000 | 1 to 100,000 | steps before giving up |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, huber::Huber};
/// let column: Vec<f64> = (0..20).map(f64::from).collect();
/// let mut y: Vec<f64> = column.iter().map(|x| 3.0 * x + 0.1 * (x * 7.0).sin()).collect();
/// y[19] = 1000.0;
/// let data = Dataset::new(Matrix::from_columns(&[column]).unwrap(), y, vec![]).unwrap();
/// let model = Huber::default().fit(&Run::new(0), &data).unwrap();
/// assert!((model.line().coef()[0] - 3.0).abs() < 0.05);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Huber {
    /// Residuals beyond this many scales count as outliers.
    pub epsilon: f64,
    /// Weight of the penalty.
    pub alpha: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Steps before giving up.
    pub max_iter: usize,
}

impl Default for Huber {
    fn default() -> Self {
        Self { epsilon: 1.35, alpha: 1e-4, tolerance: 1e-7, max_iter: 1000 }
    }
}

/// What [`Huber`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedHuber {
    line: Line,
    scale: f64,
    n_iter: usize,
}

impl Huber {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(
            self.epsilon > 1.0 && self.epsilon <= 100.0,
            "epsilon",
            self.epsilon,
            "above 1, to 100",
        );
        check.require(self.alpha.is_finite() && self.alpha >= 0.0, "alpha", self.alpha, "0 and more");
        check.require(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "tolerance",
            self.tolerance,
            "above 0, below 1",
        );
        check.require((1..=100_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 100000");
        check.finish()
    }

    /// Fits. Fails on no rows, and when the search does not reach its tolerance.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedHuber> {
        self.check()?;
        data.need_numbers("Huber regression")?;
        data.need_rows("Huber regression", 1)?;
        let weight = data.weights();
        let scaled = Scaled::weighted(data, &weight)?;
        let (n, p) = (data.n_rows(), data.x().n_cols());
        let total = scaled.total;
        let z: Vec<f64> = (0..n)
            .flat_map(|i| (0..p).map(move |j| (i, j)))
            .map(|(i, j)| scaled.scale(j, data.x().get(i, j)))
            .collect();
        let y_sd = scaled.y_sd();
        let y_scale = if y_sd > 0.0 { y_sd } else { 1.0 };
        let y: Vec<f64> = data.y().iter().map(|y| (y - scaled.y_mean) / y_scale).collect();
        let penalty: Vec<f64> = scaled.sds.iter().map(|s| self.alpha * y_scale / (s * s) / total).collect();
        // p coefficients, the value at the means, and the logarithm of the scale above its least.
        let loss = |v: &[f64], g: &mut [f64]| {
            g.fill(0.0);
            let scale = SCALE_MIN + v[p + 1].exp();
            let (mut sum, mut by_scale) = (0.0, 0.0);
            for i in 0..n {
                let (row, w) = (&z[i * p..(i + 1) * p], weight[i] / total);
                let u = (y[i] - v[p] - dot(row, &v[..p])) / scale;
                let slope = if u.abs() <= self.epsilon {
                    sum += w * scale * (1.0 + u * u);
                    by_scale += w * (1.0 - u * u);
                    -2.0 * w * u
                } else {
                    sum += w * scale * (1.0 + 2.0 * self.epsilon * u.abs() - self.epsilon * self.epsilon);
                    by_scale += w * (1.0 - self.epsilon * self.epsilon);
                    -2.0 * w * self.epsilon * u.signum()
                };
                g[..p].iter_mut().zip(row).for_each(|(g, z)| *g += slope * z);
                g[p] += slope;
            }
            for j in 0..p {
                sum += penalty[j] * v[j] * v[j];
                g[j] += 2.0 * penalty[j] * v[j];
            }
            g[p + 1] = by_scale * (scale - SCALE_MIN);
            sum
        };
        let found = minimise(run, vec![0.0; p + 2], self.tolerance, self.max_iter, loss, |_| ())?;
        if !found.converged {
            return Err(Error::NotConverged { what: "Huber regression".into(), iterations: found.n_iter });
        }
        let v: Vec<f64> = found.x[..p].iter().map(|v| v * y_scale).collect();
        let line = scaled.line(&v, scaled.y_mean + found.x[p] * y_scale);
        let scale = (SCALE_MIN + found.x[p + 1].exp()) * y_scale;
        Ok(FittedHuber { line, scale, n_iter: found.n_iter })
    }
}

impl FittedHuber {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients, intercept and contributions.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The scale of the residuals, in the target's units.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Steps made.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "huber",
    summary: "Regression that outliers do not bend.",
    summary_zh: "Huber 稳健回归，不受离群值影响。",
    source: "Huber 1973; Owen 2007",
    tasks: &[Task::Regression],
    params: &[
        ParamSpec {
            name: "epsilon",
            kind: ParamKind::Number { min: 1.0001, max: 100.0 },
            default: "1.35",
            summary: "residuals in units of the scale beyond which the loss grows linearly",
        },
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "0.0001",
            summary: "weight of the penalty",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-15, max: 0.5 },
            default: "1e-7",
            summary: "where the search ends",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "1000",
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
        let params: Huber = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedHuber>("huber", saved),
};

impl Learner for Huber {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedHuber {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("huber", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.line.coefficients())
    }
}
