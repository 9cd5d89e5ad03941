//! Principal component analysis (Pearson 1901; Hotelling 1933): the directions in which the rows spread most.
//!
//! The centred table is `U S Vᵀ`; the components are the rows of `Vᵀ`, each with its largest part positive, and
//! `S² / (n − 1)` are the variances along them. The exact way goes through the triangle of the rows in chunks and never
//! squares the data; for many columns the first few components come from random directions.

use super::Solver;
use super::randomised::{self, exact};
use crate::cluster::means;
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_components` | all | 1 to the smaller of rows and columns | components kept |
/// | `variance` | none | above 0, up to 1 | instead: as many components as explain this share of the variance |
/// | `whiten` | false | | bring every component to variance 1 |
/// | `solver` | auto | auto, exact, randomised | how the components are found; a share of variance needs exact |
/// | `n_power` | 5 | 0 to 100 | products that sharpen the randomised components |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, reduce::pca::Pca};
/// let x = Matrix::from_rows(&[[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 3], vec![]).unwrap();
/// let pca = Pca { n_components: Some(1), ..Pca::default() }.fit(&Run::new(0), &data).unwrap();
/// assert!((pca.explained_variance_ratio()[0] - 1.0).abs() < 1e-12);
/// let back = pca.inverse(&pca.transform(data.x()).unwrap()).unwrap();
/// assert!((back.get(2, 1) - 6.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pca {
    /// Components kept.
    pub n_components: Option<usize>,
    /// As many components as explain this share of the variance.
    pub variance: Option<f64>,
    /// Bring every component to variance 1.
    pub whiten: bool,
    /// How the components are found.
    pub solver: Solver,
    /// Products that sharpen the randomised components.
    pub n_power: usize,
}

impl Default for Pca {
    fn default() -> Self {
        Self { n_components: None, variance: None, whiten: false, solver: Solver::Auto, n_power: 5 }
    }
}

/// What [`Pca`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPca {
    means: Vec<f64>,
    components: Matrix,
    singular_values: Vec<f64>,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    whiten: bool,
    names: Vec<String>,
}

/// The random stream of the directions.
const DIRECTIONS: u64 = 0x0070_6361;

impl Pca {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        if let Some(k) = self.n_components {
            check.require(k >= 1, "n_components", k, "1 to the smaller of rows and columns");
        }
        if let Some(share) = self.variance {
            let alone = self.n_components.is_none() && self.solver != Solver::Randomised;
            check.require(
                share > 0.0 && share <= 1.0 && alone,
                "variance",
                share,
                "above 0, up to 1, without n_components and not randomised",
            );
        }
        check.require(self.n_power <= 100, "n_power", self.n_power, "0 to 100");
        check.finish()
    }

    /// Fits. Weights of rows are not used. Fails on fewer than two rows, on no columns, on missing values and
    /// categories, and on more components than the smaller of rows and columns.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedPca> {
        self.check()?;
        let x = ready(run, data, "principal components", 2, self.n_components)?;
        let (n, p) = (x.n_rows(), x.n_cols());
        run.install(|| {
            let means = means(x, None);
            let spread: f64 = (0..p)
                .map(|j| x.rows().map(|row| (row[j] - means[j]) * (row[j] - means[j])).sum::<f64>())
                .sum();
            if !spread.is_finite() {
                return Err(too_large(x, data.names()));
            }
            let most = n.min(p);
            let k = self.n_components.unwrap_or(most);
            let randomised = self.variance.is_none() && self.solver.is_randomised(n, p, k);
            let mut right = match randomised {
                true => randomised::randomised(run, x, &means, k, self.n_power, &mut run.rng(DIRECTIONS))?,
                false => exact(x, &means)?,
            };
            let per = (n - 1) as f64;
            let total = spread / per;
            let share = |s: f64| if total > 0.0 { s * s / per / total } else { 0.0 };
            let k = match self.variance {
                None => k.min(right.values.len()),
                Some(wanted) => {
                    let mut sum = 0.0;
                    let enough = right.values.iter().position(|s| {
                        sum += share(*s);
                        // All of the variance is reached up to rounding.
                        sum >= wanted - 1e-12
                    });
                    enough.map_or(right.values.len(), |i| i + 1)
                }
            };
            right.values.truncate(k);
            Ok(FittedPca {
                components: right.vectors.select_rows(&(0..k).collect::<Vec<_>>()),
                explained_variance: right.values.iter().map(|s| s * s / per).collect(),
                explained_variance_ratio: right.values.iter().map(|s| share(*s)).collect(),
                singular_values: right.values,
                means,
                whiten: self.whiten,
                names: data.names().to_vec(),
            })
        })
    }
}

/// The checks that both decompositions share.
pub(super) fn ready<'a>(
    run: &Run,
    data: &'a Dataset,
    what: &str,
    rows: usize,
    n_components: Option<usize>,
) -> Result<&'a Matrix> {
    run.check()?;
    data.need_numbers(what)?;
    let (n, p) = (data.x().n_rows(), data.x().n_cols());
    for (got, needed, thing) in [(p, 1, ": columns"), (n, rows, "")] {
        if got < needed {
            return Err(Error::NotEnoughData { what: format!("{what}{thing}"), needed, got });
        }
    }
    match n_components {
        Some(k) if k > n.min(p) => Err(Error::Invalid(format!(
            "{n} rows of {p} columns have at most {} components; {k} were asked for",
            n.min(p)
        ))),
        _ => Ok(data.x()),
    }
}

/// The fault of squares that are not finite, by the column with the largest value.
pub(super) fn too_large(x: &Matrix, names: &[String]) -> Error {
    let top = |j: usize| x.rows().map(|row| row[j].abs()).fold(0.0, f64::max);
    let j = (0..x.n_cols()).fold(0, |b, j| if top(j) > top(b) { j } else { b });
    Error::Invalid(format!(
        "column `{}` has values too large to be squared and summed; give it in larger units",
        crate::matrix::column_name(names, j)
    ))
}

impl FittedPca {
    /// The components, one per row, the one with the largest variance first.
    pub fn components(&self) -> &Matrix {
        &self.components
    }

    /// The means of the columns.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// The singular values of the centred table.
    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }

    /// The variance along each component (`n − 1` in the denominator).
    pub fn explained_variance(&self) -> &[f64] {
        &self.explained_variance
    }

    /// The share of all variance along each component; 0 where there is none.
    pub fn explained_variance_ratio(&self) -> &[f64] {
        &self.explained_variance_ratio
    }

    /// What a component is divided by.
    fn scale(&self, i: usize) -> f64 {
        let sd = self.explained_variance[i].sqrt();
        // A component without spread has the same value everywhere, which scaling must not make infinite.
        if self.whiten && sd > f64::EPSILON { sd } else { 1.0 }
    }

    /// The rows on the components. Fails on another width, and on NaN or infinite values.
    pub fn transform(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.names.len(), "the principal components")?;
        x.check_finite(&self.names)?;
        let k = self.components.n_rows();
        let mut out = Matrix::zeros(x.n_rows(), k);
        for i in 0..x.n_rows() {
            for c in 0..k {
                let row = x.row(i).iter().zip(&self.means).zip(self.components.row(c));
                out.row_mut(i)[c] = row.map(|((v, m), c)| (v - m) * c).sum::<f64>() / self.scale(c);
            }
        }
        Ok(out)
    }

    /// The rows that these places on the components stand for. Fails on another number of components.
    pub fn inverse(&self, z: &Matrix) -> Result<Matrix> {
        let k = self.components.n_rows();
        if z.n_cols() != k {
            return Err(Error::Invalid(format!("there are {k} components and {} columns", z.n_cols())));
        }
        let mut out = Matrix::zeros(z.n_rows(), self.means.len());
        for i in 0..z.n_rows() {
            let row = out.row_mut(i);
            row.copy_from_slice(&self.means);
            for c in 0..k {
                let v = z.get(i, c) * self.scale(c);
                row.iter_mut().zip(self.components.row(c)).for_each(|(o, w)| *o += v * w);
            }
        }
        Ok(out)
    }
}
