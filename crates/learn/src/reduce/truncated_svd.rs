//! Truncated singular value decomposition: the first directions of a table that is not centred, as for counts of words
//! (latent semantic analysis, Deerwester and others 1990).

use super::Solver;
use super::pca::{ready, too_large};
use super::randomised::{self, exact};
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_components` | 2 | 1 to the smaller of rows and columns | directions kept |
/// | `solver` | auto | auto, exact, randomised | how they are found |
/// | `n_power` | 5 | 0 to 100 | products that sharpen the randomised directions |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, reduce::truncated_svd::TruncatedSvd};
/// let x = Matrix::from_rows(&[[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 3], vec![]).unwrap();
/// let svd = TruncatedSvd { n_components: 1, ..TruncatedSvd::default() }.fit(&Run::new(0), &data).unwrap();
/// assert!((svd.singular_values()[0] - 3.0).abs() < 1e-12);
/// assert_eq!(svd.transform(data.x()).unwrap().column(0), [3.0, 0.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TruncatedSvd {
    /// Directions kept.
    pub n_components: usize,
    /// How they are found.
    pub solver: Solver,
    /// Products that sharpen the randomised directions.
    pub n_power: usize,
}

impl Default for TruncatedSvd {
    fn default() -> Self {
        Self { n_components: 2, solver: Solver::Auto, n_power: 5 }
    }
}

/// What [`TruncatedSvd`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedTruncatedSvd {
    components: Matrix,
    singular_values: Vec<f64>,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    names: Vec<String>,
}

/// The random stream of the directions.
const DIRECTIONS: u64 = 0x0073_7664;

impl TruncatedSvd {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let (k, allowed) = (self.n_components, "1 to the smaller of rows and columns");
        check.require(k >= 1, "n_components", k, allowed);
        check.require(self.n_power <= 100, "n_power", self.n_power, "0 to 100");
        check.finish()
    }

    /// Fits. Weights of rows are not used. Fails on no rows or columns, on missing values and categories, and on more
    /// components than the smaller of rows and columns.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedTruncatedSvd> {
        self.check()?;
        let k = self.n_components;
        let x = ready(run, data, "truncated SVD", 1, Some(k))?;
        let (n, p) = (x.n_rows(), x.n_cols());
        if !x.values().iter().map(|v| v * v).sum::<f64>().is_finite() {
            return Err(too_large(x, data.names()));
        }
        run.install(|| {
            let zero = vec![0.0; p];
            let mut right = match self.solver.is_randomised(n, p, k) {
                true => randomised::randomised(run, x, &zero, k, self.n_power, &mut run.rng(DIRECTIONS))?,
                false => exact(x, &zero)?,
            };
            right.values.truncate(k);
            let mut fitted = FittedTruncatedSvd {
                components: right.vectors.select_rows(&(0..right.values.len()).collect::<Vec<_>>()),
                singular_values: right.values,
                explained_variance: Vec::new(),
                explained_variance_ratio: Vec::new(),
                names: data.names().to_vec(),
            };
            fitted.explained_variance = variances(&fitted.transform(x)?);
            let total: f64 = variances(x).iter().sum();
            fitted.explained_variance_ratio =
                fitted.explained_variance.iter().map(|v| if total > 0.0 { v / total } else { 0.0 }).collect();
            Ok(fitted)
        })
    }
}

/// The variance of every column (`n` in the denominator, as scikit-learn counts it here).
fn variances(x: &Matrix) -> Vec<f64> {
    let (n, means) = (x.n_rows() as f64, crate::cluster::means(x, None));
    let mut sums = vec![0.0; x.n_cols()];
    for row in x.rows() {
        sums.iter_mut().zip(row).zip(&means).for_each(|((s, v), m)| *s += (v - m) * (v - m));
    }
    sums.iter().map(|s| s / n).collect()
}

impl FittedTruncatedSvd {
    /// The directions, one per row, the one with the largest singular value first.
    pub fn components(&self) -> &Matrix {
        &self.components
    }

    /// The singular values.
    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }

    /// The variance of the rows along each direction.
    pub fn explained_variance(&self) -> &[f64] {
        &self.explained_variance
    }

    /// The same as a share of the variance of all columns; 0 where there is none.
    pub fn explained_variance_ratio(&self) -> &[f64] {
        &self.explained_variance_ratio
    }

    /// The rows along the directions. Fails on another width, and on NaN or infinite values.
    pub fn transform(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.names.len(), "the truncated SVD")?;
        x.check_finite(&self.names)?;
        let k = self.components.n_rows();
        let mut out = Matrix::zeros(x.n_rows(), k);
        for i in 0..x.n_rows() {
            for c in 0..k {
                out.row_mut(i)[c] = x.row(i).iter().zip(self.components.row(c)).map(|(v, c)| v * c).sum();
            }
        }
        Ok(out)
    }

    /// The rows that these places along the directions stand for. Fails on another number of directions.
    pub fn inverse(&self, z: &Matrix) -> Result<Matrix> {
        let k = self.components.n_rows();
        if z.n_cols() != k {
            return Err(Error::Invalid(format!("there are {k} components and {} columns", z.n_cols())));
        }
        let mut out = Matrix::zeros(z.n_rows(), self.components.n_cols());
        for i in 0..z.n_rows() {
            for c in 0..k {
                let (v, row) = (z.get(i, c), out.row_mut(i));
                row.iter_mut().zip(self.components.row(c)).for_each(|(o, w)| *o += v * w);
            }
        }
        Ok(out)
    }
}
