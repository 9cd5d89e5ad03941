//! Lasso and elastic net: linear regression that leaves columns out (Tibshirani 1996; Zou and Hastie 2005).
//!
//! Minimises `1/(2 Σw) Σ wᵢ (yᵢ − b − xᵢ·β)² + alpha · (l1_ratio · |β|₁ + (1 − l1_ratio)/2 · |β|₂²)`, as scikit-learn counts
//! it; `l1_ratio` 1 is the lasso. Columns are centred, the intercept is not penalised. The method is cyclic coordinate
//! descent on products of columns, with steps over the active columns and warm starts along a falling path of `alpha`
//! (Friedman, Hastie and Tibshirani 2010). Products of columns are formed once from the QR triangle, so memory grows
//! with the square of the columns and a step does not depend on the rows.

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::{Coefficient, Line, Scaled};
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 1 | above 0 | weight of the penalty against half the mean square |
/// | `l1_ratio` | 1 | 0 to 1 | the lasso's share of the penalty |
/// | `tolerance` | 1e-9 | above 0, below 1 | how far each column's optimality may be missed, per deviation of the target |
/// | `max_iter` | 100,000 | 1 to 10,000,000 | sweeps over the columns before giving up |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, elastic_net::ElasticNet};
/// let x = Matrix::from_rows(&[[1.0, 2.0], [2.0, -1.0], [3.0, 1.0], [4.0, -2.0]]).unwrap();
/// let data = Dataset::new(x, vec![1.0, 2.0, 3.0, 4.0], vec![]).unwrap();
/// let model = ElasticNet { alpha: 0.1, ..ElasticNet::default() }.fit(&Run::new(0), &data).unwrap();
/// assert_eq!(model.line().coef()[1], 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticNet {
    /// Weight of the penalty.
    pub alpha: f64,
    /// The lasso's share of the penalty.
    pub l1_ratio: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Sweeps before giving up.
    pub max_iter: usize,
}

impl Default for ElasticNet {
    fn default() -> Self {
        Self { alpha: 1.0, l1_ratio: 1.0, tolerance: 1e-9, max_iter: 100_000 }
    }
}

/// What [`ElasticNet`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedElasticNet {
    line: Line,
    alpha: f64,
}

impl ElasticNet {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.alpha.is_finite() && self.alpha > 0.0, "alpha", self.alpha, "above 0");
        check.require((0.0..=1.0).contains(&self.l1_ratio), "l1_ratio", self.l1_ratio, "0 to 1");
        check.require(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "tolerance",
            self.tolerance,
            "above 0, below 1",
        );
        check.require((1..=10_000_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 10000000");
        check.finish()
    }

    /// Fits for this `alpha`. Fails on no rows, and when the search does not end in `max_iter` sweeps.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedElasticNet> {
        let mut path = self.path(run, data, &[self.alpha])?;
        path.pop().ok_or_else(|| Error::Invalid("the elastic net was given no alpha".into()))
    }

    /// Fits for each of `alphas` in the order given, each started from the one before; falling order is quickest.
    /// This struct's own `alpha` is not used.
    pub fn path(&self, run: &Run, data: &Dataset, alphas: &[f64]) -> Result<Vec<FittedElasticNet>> {
        for &alpha in alphas {
            Self { alpha, ..*self }.check()?;
        }
        data.need_numbers("the elastic net")?;
        data.need_rows("the elastic net", 1)?;
        let scaled = Scaled::of(data)?;
        let products = run.install(|| Products::of(data, &scaled));
        let mut v = vec![0.0; data.x().n_cols()];
        let mut out = Vec::with_capacity(alphas.len());
        for &alpha in alphas {
            self.descend(run, &products, &scaled, alpha, &mut v)?;
            let on_scale: Vec<f64> = v.iter().map(|v| v * products.y_scale).collect();
            out.push(FittedElasticNet { line: scaled.line(&on_scale, scaled.y_mean), alpha });
        }
        Ok(out)
    }

    fn descend(
        &self,
        run: &Run,
        products: &Products,
        scaled: &Scaled,
        alpha: f64,
        v: &mut [f64],
    ) -> Result<()> {
        let p = v.len();
        // On the scaled axes (column and target of deviation 1) the penalties become those of β = v · sd_y / sd_x.
        let l1: Vec<f64> =
            scaled.sds.iter().map(|s| alpha * self.l1_ratio / (s * products.y_scale)).collect();
        let l2: Vec<f64> = scaled.sds.iter().map(|s| alpha * (1.0 - self.l1_ratio) / (s * s)).collect();
        // What is left of each column's product with the target.
        let mut left: Vec<f64> = (0..p)
            .map(|j| products.with_target[j] - (0..p).map(|k| products.gram[j * p + k] * v[k]).sum::<f64>())
            .collect();
        let mut only_active = false;
        for _ in 0..self.max_iter {
            run.check()?;
            let mut moved = 0.0_f64;
            for j in 0..p {
                if !scaled.live[j] || (only_active && v[j] == 0.0) {
                    continue;
                }
                let own = products.gram[j * p + j];
                let pull = left[j] + own * v[j];
                let new = soft(pull, l1[j]) / (own + l2[j]);
                let step = new - v[j];
                if step != 0.0 {
                    v[j] = new;
                    let column = &products.gram[j * p..(j + 1) * p];
                    left.iter_mut().zip(column).for_each(|(l, g)| *l -= g * step);
                    moved = moved.max(step.abs() * (own + l2[j]));
                }
            }
            if moved <= self.tolerance {
                // The active columns are at rest; a sweep over all tells whether others want to join.
                if !only_active {
                    return Ok(());
                }
                only_active = false;
            } else {
                only_active = true;
            }
        }
        Err(Error::NotConverged { what: "the elastic net".into(), iterations: self.max_iter })
    }
}

/// Products of the scaled columns with one another and with the scaled target.
struct Products {
    gram: Vec<f64>,
    with_target: Vec<f64>,
    y_scale: f64,
}

impl Products {
    fn of(data: &Dataset, scaled: &Scaled) -> Self {
        let p = data.x().n_cols();
        let r = scaled.triangle(data);
        let sd = scaled.y_sd();
        let y_scale = if sd > 0.0 { sd } else { 1.0 };
        let product = |a: usize, b: usize| -> f64 {
            (0..r.nrows().min(a.min(b) + 1)).map(|i| r[(i, a)] * r[(i, b)]).sum::<f64>() / scaled.total
        };
        let mut gram = vec![0.0; p * p];
        for a in 0..p {
            for b in a..p {
                let g = product(a, b);
                gram[a * p + b] = g;
                gram[b * p + a] = g;
            }
        }
        let with_target = (0..p).map(|a| product(a, p) / y_scale).collect();
        Self { gram, with_target, y_scale }
    }
}

fn soft(value: f64, threshold: f64) -> f64 {
    if value > threshold {
        value - threshold
    } else if value < -threshold {
        value + threshold
    } else {
        0.0
    }
}

impl FittedElasticNet {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients, intercept and contributions.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The weight of the penalty.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "elastic_net",
    summary: "Least squares that sets weak coefficients to zero; lasso with l1_ratio 1.",
    summary_zh: "弹性网回归：将弱系数压为零；l1_ratio 为 1 时即 Lasso。",
    source: "Zou and Hastie 2005",
    tasks: &[Task::Regression],
    params: &[
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 1e-12, max: 1e12 },
            default: "1",
            summary: "weight of the penalty",
        },
        ParamSpec {
            name: "l1_ratio",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "1",
            summary: "share of the penalty on absolute values",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-15, max: 0.5 },
            default: "1e-9",
            summary: "where the search ends",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 10_000_000 },
            default: "100000",
            summary: "steps before giving up",
        },
    ],
    bears: Bears { missing: false, categories: false, any_scale: false, weights: true },
    build: |_, params| {
        let params: ElasticNet = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedElasticNet>("elastic_net", saved),
};

impl Learner for ElasticNet {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedElasticNet {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("elastic_net", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.line.coefficients())
    }
}
