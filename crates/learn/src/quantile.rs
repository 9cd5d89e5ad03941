//! Linear quantile regression (Koenker and Bassett 1978): the line that a given share of the outcomes lies below.
//!
//! Minimises `Σ wᵢ ρ(yᵢ − b − xᵢ·β)` with the pinball loss `ρ(r) = r · (level − [r < 0])`. No penalty. The problem is a
//! linear programme and is solved by the primal-dual interior point method of Portnoy and Koenker (1997), with each
//! Newton step a weighted least squares problem solved by QR. It ends when the gap between primal and dual, which bounds
//! the distance to the best loss, is below `tolerance` times the mean loss around the plain quantile.

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::{Coefficient, Line, Scaled};
use crate::matrix::{Dataset, Matrix};
use crate::qr;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// How near a step may come to the wall, as a share of the way.
const NEAR_WALL: f64 = 0.99995;

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `level` | 0.5 | above 0, below 1 | the share of outcomes below the line |
/// | `tolerance` | 1e-9 | above 0, below 1 | the gap at the end, relative to the loss |
/// | `max_iter` | 200 | 1 to 10,000 | Newton steps before giving up |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, quantile::Quantile};
/// let x = Matrix::from_columns(&[[1.0, 2.0, 3.0, 4.0, 5.0]]).unwrap();
/// let data = Dataset::new(x, vec![2.0, 4.0, 6.0, 8.0, 100.0], vec![]).unwrap();
/// let median = Quantile::default().fit(&Run::new(0), &data).unwrap();
/// assert!((median.line().coef()[0] - 2.0).abs() < 1e-6); // the outlier does not turn it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantile {
    /// The share of outcomes below the line.
    pub level: f64,
    /// The gap at the end.
    pub tolerance: f64,
    /// Newton steps before giving up.
    pub max_iter: usize,
}

impl Default for Quantile {
    fn default() -> Self {
        Self { level: 0.5, tolerance: 1e-9, max_iter: 200 }
    }
}

/// What [`Quantile`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedQuantile {
    line: Line,
    level: f64,
    n_iter: usize,
}

impl Quantile {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.level > 0.0 && self.level < 1.0, "level", self.level, "above 0, below 1");
        check.require(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "tolerance",
            self.tolerance,
            "above 0, below 1",
        );
        check.require((1..=10_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 10000");
        check.finish()
    }

    /// Fits. Columns that depend on earlier ones get the coefficient 0. Fails on no rows, and when the gap does not
    /// close in `max_iter` steps.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedQuantile> {
        self.check()?;
        data.need_numbers("quantile regression")?;
        data.need_rows("quantile regression", 1)?;
        run.install(|| self.solve(run, data))
    }

    fn solve(&self, run: &Run, data: &Dataset) -> Result<FittedQuantile> {
        let weight = data.weights();
        let scaled = Scaled::weighted(data, &weight)?;
        let p_all = data.x().n_cols();
        let used = qr::solve(&scaled.triangle(data), p_all, false).used;
        // A weight scales the row and its target alike, since the loss grows in proportion.
        let heaviest = weight.iter().fold(0.0_f64, |m, w| m.max(*w));
        let rows: Vec<usize> = (0..data.n_rows()).filter(|&i| weight[i] > 0.0).collect();
        let (n, width) = (rows.len(), used.len() + 1);
        let y_scale = rows.iter().map(|&i| (data.y()[i] - scaled.y_mean).abs()).fold(0.0_f64, f64::max);
        let y_scale = if y_scale > 0.0 { y_scale } else { 1.0 };
        let mut a = Vec::with_capacity(n * width);
        let mut c = Vec::with_capacity(n);
        for &i in &rows {
            let w = weight[i] / heaviest;
            a.push(w);
            a.extend(used.iter().map(|&j| w * scaled.scale(j, data.x().get(i, j))));
            c.push(-w * (data.y()[i] - scaled.y_mean) / y_scale);
        }
        let (dual, n_iter) = self.interior_point(run, &a, &c, n, width)?;
        let mut v = vec![0.0; p_all];
        for (k, &j) in used.iter().enumerate() {
            v[j] = -dual[k + 1] * y_scale;
        }
        let line = scaled.line(&v, scaled.y_mean - dual[0] * y_scale);
        Ok(FittedQuantile { line, level: self.level, n_iter })
    }

    /// `min c·x` over `Aᵀx = (1 − level) Aᵀ1`, `0 ≤ x ≤ 1`, with `A` of `n × width`; gives the dual.
    fn interior_point(
        &self,
        run: &Run,
        a: &[f64],
        c: &[f64],
        n: usize,
        width: usize,
    ) -> Result<(Vec<f64>, usize)> {
        let row = |i: usize| &a[i * width..(i + 1) * width];
        let times = |v: &[f64]| -> Vec<f64> {
            (0..n).map(|i| row(i).iter().zip(v).map(|(a, v)| a * v).sum()).collect()
        };
        // min over v of |Q^(1/2) A v − Q^(1/2) r|², that is A'QA v = A'Q r.
        let newton = |q: &[f64], r: &[f64]| -> Vec<f64> {
            let triangle = qr::triangle(n, width + 1, |i, out| {
                let root = q[i].sqrt();
                for (o, a) in out.iter_mut().zip(row(i)) {
                    *o = root * a;
                }
                out[width] = root * r[i];
            });
            qr::solve(&triangle, width, false).coef
        };
        let mut x = vec![1.0 - self.level; n];
        let mut s = vec![self.level; n];
        let mut target = vec![0.0; width];
        for i in 0..n {
            target.iter_mut().zip(row(i)).for_each(|(t, a)| *t += (1.0 - self.level) * a);
        }
        let mut y = newton(&vec![1.0; n], c);
        let fitted = times(&y);
        let (mut z, mut w): (Vec<f64>, Vec<f64>) = (0..n)
            .map(|i| {
                // Both slacks start off the wall, with their difference the residual.
                let r = c[i] - fitted[i];
                (r.max(0.0) + 1e-3, (-r).max(0.0) + 1e-3)
            })
            .unzip();
        // The gap of two feasible points is Σ xz + Σ sw.
        let gap = |x: &[f64], z: &[f64], s: &[f64], w: &[f64]| -> f64 {
            (0..n).map(|i| x[i] * z[i] + s[i] * w[i]).sum()
        };
        let scale = c.iter().map(|c| c.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
        for n_iter in 0..self.max_iter {
            run.check()?;
            let mu = gap(&x, &z, &s, &w);
            if mu <= self.tolerance * scale || mu < 1e-280 {
                return Ok((y, n_iter));
            }
            let q: Vec<f64> = (0..n).map(|i| 1.0 / (z[i] / x[i] + w[i] / s[i])).collect();
            let r: Vec<f64> = (0..n).map(|i| z[i] - w[i]).collect();
            // Predictor: straight towards the solution.
            let mut dy = newton(&q, &r);
            let mut ady = times(&dy);
            let mut dx: Vec<f64> = (0..n).map(|i| q[i] * (ady[i] - r[i])).collect();
            let mut dz: Vec<f64> = (0..n).map(|i| -z[i] * (1.0 + dx[i] / x[i])).collect();
            let mut dw: Vec<f64> = (0..n).map(|i| -w[i] * (1.0 - dx[i] / s[i])).collect();
            let primal =
                |dx: &[f64]| (0..n).fold(1.0_f64, |f, i| f.min(room(x[i], dx[i])).min(room(s[i], -dx[i])));
            let dual = |dz: &[f64], dw: &[f64]| {
                (0..n).fold(1.0_f64, |f, i| f.min(room(z[i], dz[i])).min(room(w[i], dw[i])))
            };
            let (mut fp, mut fd) = (primal(&dx), dual(&dz, &dw));
            if fp.min(fd) < 1.0 {
                // Corrector: centred by as much as the predictor fell short, with its second-order error put right.
                let ahead: f64 = (0..n)
                    .map(|i| {
                        (x[i] + fp * dx[i]) * (z[i] + fd * dz[i]) + (s[i] - fp * dx[i]) * (w[i] + fd * dw[i])
                    })
                    .sum();
                let centre = mu * (ahead / mu).powi(3) / (2.0 * n as f64);
                let push: Vec<f64> = (0..n)
                    .map(|i| {
                        let second = dx[i] * dz[i] / x[i] + dx[i] * dw[i] / s[i];
                        second - centre * (1.0 / x[i] - 1.0 / s[i])
                    })
                    .collect();
                let full: Vec<f64> = (0..n).map(|i| r[i] + push[i]).collect();
                let (dx1, dz1, dw1) = (dx, dz, dw);
                dy = newton(&q, &full);
                ady = times(&dy);
                dx = (0..n).map(|i| q[i] * (ady[i] - full[i])).collect();
                dz = (0..n).map(|i| (centre - dx1[i] * dz1[i]) / x[i] - z[i] - z[i] * dx[i] / x[i]).collect();
                dw = (0..n).map(|i| (centre + dx1[i] * dw1[i]) / s[i] - w[i] + w[i] * dx[i] / s[i]).collect();
                (fp, fd) = (primal(&dx), dual(&dz, &dw));
            }
            for i in 0..n {
                x[i] += fp * dx[i];
                s[i] -= fp * dx[i];
                z[i] += fd * dz[i];
                w[i] += fd * dw[i];
            }
            y.iter_mut().zip(&dy).for_each(|(y, d)| *y += fd * d);
            if !y.iter().all(|v| v.is_finite()) || fp.max(fd) < 1e-12 {
                return Err(Error::NotConverged { what: "quantile regression".into(), iterations: n_iter });
            }
        }
        Err(Error::NotConverged { what: "quantile regression".into(), iterations: self.max_iter })
    }
}

/// The share of a step that keeps a positive value positive.
fn room(value: f64, step: f64) -> f64 {
    if step < 0.0 { NEAR_WALL * value / -step } else { f64::INFINITY }
}

impl FittedQuantile {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients, intercept and contributions.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The share of outcomes below the line.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Newton steps made.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "quantile",
    summary: "Regression of a quantile rather than of the mean.",
    summary_zh: "分位数回归。",
    source: "Koenker and Bassett 1978",
    tasks: &[Task::Regression],
    params: &[
        ParamSpec {
            name: "level",
            kind: ParamKind::Number { min: 0.0001, max: 0.9999 },
            default: "0.5",
            summary: "the quantile",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-15, max: 0.5 },
            default: "1e-9",
            summary: "where the search ends",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "200",
            summary: "steps before giving up",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: true,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let params: Quantile = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedQuantile>("quantile", saved),
};

impl Learner for Quantile {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedQuantile {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("quantile", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.line.coefficients())
    }
}
