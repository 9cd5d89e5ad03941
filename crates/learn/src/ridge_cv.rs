//! Ridge regression whose penalty is chosen by leaving each row out in turn, without fitting again.
//!
//! The error of a row that was left out is `eᵢ / (1 − hᵢ)` with its residual `eᵢ` and its leverage `hᵢ` (Allen 1974; Golub,
//! Heath and Wahba 1979). In the axes of the eigenvectors of the columns' products both cost one pass over the rows for
//! all penalties at once. Generalised cross-validation replaces `hᵢ` by its mean.

use crate::faer_call::faer_call;
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::{Coefficient, Line, Scaled};
use crate::matrix::{Dataset, Matrix};
use crate::smooth::products;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Rows worked on together; fixed, since the rounding depends on it.
const BLOCK_ROWS: usize = 512;

/// How many penalties are tried where none are given, and their range relative to the columns' mean sum of squares.
const N_ALPHAS: usize = 41;
const ALPHA_LOW: f64 = 1e-8;
const ALPHA_HIGH: f64 = 1e2;

/// What measures the error of a penalty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RidgeRule {
    /// The weighted mean square of the errors of rows left out.
    #[default]
    LeaveOneOut,
    /// Generalised cross-validation: the same with every leverage at its mean.
    Gcv,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alphas` | empty | above 0 | penalties to try; empty means 41 from 1e-8 to 100 times the columns' mean sum of squares |
/// | `rule` | leave_one_out | leave_one_out, gcv | what measures the error |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, ridge_cv::RidgeCv};
/// let x: Vec<f64> = (0..20).map(f64::from).collect();
/// let y = x.iter().map(|v| 2.0 * v + (v * 1.7).sin()).collect();
/// let data = Dataset::new(Matrix::from_columns(&[x]).unwrap(), y, vec![]).unwrap();
/// let model = RidgeCv { alphas: vec![0.1, 10.0, 1e6], ..RidgeCv::default() }.fit(&Run::new(0), &data).unwrap();
/// assert!(model.alpha() < 1e6 && model.tried().len() == 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RidgeCv {
    /// Penalties to try.
    pub alphas: Vec<f64>,
    /// What measures the error.
    pub rule: RidgeRule,
}

/// One penalty and how it did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RidgeTried {
    /// The weight of the penalty.
    pub alpha: f64,
    /// The mean square error of rows left out.
    pub error: f64,
}

/// What [`RidgeCv`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedRidgeCv {
    line: Line,
    alpha: f64,
    tried: Vec<RidgeTried>,
}

impl RidgeCv {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for alpha in &self.alphas {
            check.require(alpha.is_finite() && *alpha > 0.0, "alphas", alpha, "above 0");
        }
        check.finish()
    }

    /// Fits with the penalty of least error; of equals, the first. Fails on no rows.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedRidgeCv> {
        self.check()?;
        data.need_numbers("ridge")?;
        data.need_rows("ridge", 1)?;
        run.check()?;
        run.install(|| self.search(run, data))
    }

    fn search(&self, run: &Run, data: &Dataset) -> Result<FittedRidgeCv> {
        let weight = data.weights();
        let scaled = Scaled::weighted(data, &weight)?;
        let (n, p) = (data.n_rows(), data.x().n_cols());
        // Columns are centred but keep their scale, as the penalty is one for all.
        let centre = |i: usize, row: &mut [f64]| {
            for (j, (o, x)) in row.iter_mut().zip(data.x().row(i)).enumerate() {
                *o = if scaled.live[j] { x - scaled.means[j] } else { 0.0 };
            }
        };
        let sums = products(n, p + 1, 1, |i, row, w| {
            centre(i, &mut row[..p]);
            row[p] = data.y()[i] - scaled.y_mean;
            w[0] = weight[i];
        });
        let gram = Mat::from_fn(p, p, |i, j| sums[0][(i, j)]);
        let trace: f64 = (0..p).map(|j| gram[(j, j)]).sum();
        if !trace.is_finite() {
            return Err(Error::Invalid(
                "the columns have values too large to be squared; give larger units".into(),
            ));
        }
        let unit = if trace > 0.0 { trace / p as f64 } else { 1.0 };
        let alphas = match self.alphas.is_empty() {
            false => self.alphas.clone(),
            true => (0..N_ALPHAS)
                .map(|k| unit * ALPHA_LOW * (ALPHA_HIGH / ALPHA_LOW).powf(k as f64 / (N_ALPHAS - 1) as f64))
                .collect(),
        };
        let (values, vectors) = if p == 0 {
            (Vec::new(), Mat::zeros(0, 0))
        } else {
            let eigen =
                faer_call(|| gram.self_adjoint_eigen(Side::Lower)).map_err(|_| Error::NotConverged {
                    what: "ridge (the eigenvectors of its columns' products)".into(),
                    iterations: 0,
                })?;
            let values: Vec<f64> = eigen.S().column_vector().iter().map(|v| v.max(0.0)).collect();
            (values, eigen.U().to_owned())
        };
        // The target's products with the columns, along the eigenvectors.
        let along: Vec<f64> =
            (0..p).map(|k| (0..p).map(|j| vectors[(j, k)] * sums[0][(j, p)]).sum()).collect();
        run.check()?;
        let used: Vec<usize> = (0..n).filter(|&i| weight[i] > 0.0).collect();
        let mut errors = vec![0.0; alphas.len()];
        match self.rule {
            RidgeRule::Gcv => {
                for (error, alpha) in errors.iter_mut().zip(&alphas) {
                    let mut rss = sums[0][(p, p)];
                    let mut freedom = 1.0;
                    for k in 0..p {
                        let c = along[k] / (values[k] + alpha);
                        rss += c * (c * values[k] - 2.0 * along[k]);
                        freedom += values[k] / (values[k] + alpha);
                    }
                    let left = 1.0 - freedom / used.len() as f64;
                    *error = if left > 1e-12 {
                        rss.max(0.0) / scaled.total / (left * left)
                    } else {
                        f64::INFINITY
                    };
                }
            }
            RidgeRule::LeaveOneOut => {
                let parts: Vec<Vec<f64>> = used
                    .par_chunks(BLOCK_ROWS)
                    .map(|rows| {
                        let mut block = vec![0.0; rows.len() * p];
                        let mut turned = vec![0.0; rows.len() * p];
                        if p > 0 {
                            for (&i, row) in rows.iter().zip(block.chunks_exact_mut(p)) {
                                centre(i, row);
                            }
                            let of = MatRef::from_row_major_slice(&block, rows.len(), p);
                            let to = MatMut::from_row_major_slice_mut(&mut turned, rows.len(), p);
                            faer_call(|| matmul(to, Accum::Replace, of, &vectors, 1.0, Par::Seq));
                        }
                        let mut sums = vec![0.0; alphas.len()];
                        for (sum, alpha) in sums.iter_mut().zip(&alphas) {
                            let inverse: Vec<f64> = values.iter().map(|v| 1.0 / (v + alpha)).collect();
                            let coef: Vec<f64> = along.iter().zip(&inverse).map(|(a, i)| a * i).collect();
                            for (r, &i) in rows.iter().enumerate() {
                                let row = &turned[r * p..(r + 1) * p];
                                let (mut fitted, mut lever) = (0.0, 1.0 / scaled.total);
                                for ((v, c), inv) in row.iter().zip(&coef).zip(&inverse) {
                                    fitted += v * c;
                                    lever += v * v * inv;
                                }
                                let left = 1.0 - weight[i] * lever;
                                let error = (data.y()[i] - scaled.y_mean - fitted) / left.max(1e-12);
                                *sum += weight[i] * error * error;
                            }
                        }
                        sums
                    })
                    .collect();
                for part in &parts {
                    errors.iter_mut().zip(part).for_each(|(e, p)| *e += p / scaled.total);
                }
            }
        }
        let best = (0..alphas.len()).fold(0, |b, k| if errors[k] < errors[b] { k } else { b });
        let alpha = alphas[best];
        let turned: Vec<f64> = along.iter().zip(&values).map(|(a, v)| a / (v + alpha)).collect();
        let v: Vec<f64> = (0..p)
            .map(|j| scaled.sds[j] * (0..p).map(|k| vectors[(j, k)] * turned[k]).sum::<f64>())
            .collect();
        let line = scaled.line(&v, scaled.y_mean);
        let tried = alphas.iter().zip(&errors).map(|(&alpha, &error)| RidgeTried { alpha, error }).collect();
        Ok(FittedRidgeCv { line, alpha, tried })
    }
}

impl FittedRidgeCv {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients, intercept and contributions.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The penalty chosen.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// All penalties tried, in the order given.
    pub fn tried(&self) -> &[RidgeTried] {
        &self.tried
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "ridge_cv",
    summary: "Ridge regression whose penalty is chosen by leaving rows out.",
    summary_zh: "岭回归，惩罚强度由留一法自动选择。",
    source: "Allen 1974; Golub, Heath and Wahba 1979",
    tasks: &[Task::Regression],
    params: &[
        ParamSpec {
            name: "alphas",
            kind: ParamKind::Numbers { min: 1e-300, max: 1e300 },
            default: "",
            summary: "penalties to try; chosen from the data where not given",
        },
        ParamSpec {
            name: "rule",
            kind: ParamKind::Choice(&["leave_one_out", "gcv"]),
            default: "leave_one_out",
            summary: "what measures the error of a penalty",
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
        let params: RidgeCv = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedRidgeCv>("ridge_cv", saved),
};

impl Learner for RidgeCv {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedRidgeCv {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("ridge_cv", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.line.coefficients())
    }
}
