//! The covariance of base forecast errors, as a diagonal with or without a few factors.

use super::reconcile::Covariance;
use super::{Hierarchy, Residuals};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use tradewind_core::{Error, Result, Run};
use tradewind_learn::faer_call::faer_call;

/// W = diag(`diagonal`) + ZᵀZ with the rows of Z in `factors`.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// Above zero.
    pub(super) diagonal: Vec<f64>,
    pub(super) factors: Factors,
}

/// Row-major, one value a node in each row.
#[derive(Clone, Debug, Default)]
pub(super) struct Factors {
    pub(super) n_rows: usize,
    pub(super) values: Vec<f64>,
}

impl Factors {
    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact((self.values.len() / self.n_rows.max(1)).max(1))
    }

    /// `out` plus Zᵀ `f` times `sign`.
    pub(super) fn add_transposed(&self, f: &[f64], sign: f64, out: &mut [f64]) {
        let rows: Vec<&[f64]> = self.rows().collect();
        // Four rows at once, so that `out` is read and written less often.
        for (rows, f) in rows.chunks(4).zip(f.chunks(4)) {
            if let ([a, b, c, d], [fa, fb, fc, fd]) = (rows, f) {
                let (fa, fb, fc, fd) = (fa * sign, fb * sign, fc * sign, fd * sign);
                for ((((o, a), b), c), d) in out.iter_mut().zip(*a).zip(*b).zip(*c).zip(*d) {
                    *o += (fa * a + fb * b) + (fc * c + fd * d);
                }
            } else {
                for (row, f) in rows.iter().zip(f) {
                    out.iter_mut().zip(*row).for_each(|(o, z)| *o += f * sign * z);
                }
            }
        }
    }

    /// Z `v`.
    pub(super) fn times(&self, v: &[f64]) -> Vec<f64> {
        self.rows().map(|row| dot(row, v)).collect()
    }
}

/// Variances below this part of the mean variance are lifted to it, so that a series that never errs is held fast
/// without a division by zero.
const VARIANCE_MIN: f64 = 1e-8;
/// The least weight of the diagonal in the shrunk covariance; without any it cannot be inverted.
const INTENSITY_MIN: f64 = 1e-4;
/// The most values of Z: 256 MiB. Of longer pasts the latest steps are taken.
const FACTOR_VALUES_MAX: usize = 1 << 25;

impl Weights {
    /// The diagonal of W.
    pub(super) fn variances(&self) -> Vec<f64> {
        let mut out = self.diagonal.clone();
        for row in self.factors.rows() {
            out.iter_mut().zip(row).for_each(|(v, z)| *v += z * z);
        }
        out
    }

    pub(super) fn new(
        run: &Run,
        h: &Hierarchy,
        covariance: Covariance,
        residuals: Option<&Residuals>,
    ) -> Result<Self> {
        let diagonal = match covariance {
            Covariance::Ols => vec![1.0; h.len()],
            Covariance::Structure => h.sizes().map(|n| n as f64).collect(),
            Covariance::Variance | Covariance::Shrinkage => {
                let residuals = residuals.filter(|r| r.n_steps() > 0).ok_or_else(|| {
                    Error::Invalid(format!("{covariance} needs residuals of the base forecasts; give them, or take mint_structure"))
                })?;
                let variances = variances(h, residuals);
                if covariance == Covariance::Shrinkage {
                    return shrunk(run, h, residuals, variances);
                }
                variances
            }
        };
        Ok(Self { diagonal, factors: Factors::default() })
    }
}

/// The variances of all nodes, above zero. A node without a residual gets the mean of the others' variance a member.
fn variances(h: &Hierarchy, residuals: &Residuals) -> Vec<f64> {
    let told: Vec<Option<f64>> = (0..h.len()).map(|i| residuals.variance(i)).collect();
    let known = || told.iter().flatten().filter(|v| v.is_finite() && **v > 0.0);
    let n = known().count();
    if n == 0 {
        return h.sizes().map(|n| n as f64).collect();
    }
    // Divided first, since the sum of very large numbers is none.
    let least = known().map(|v| v / n as f64).sum::<f64>() * VARIANCE_MIN;
    let per_member = told
        .iter()
        .zip(h.sizes())
        .filter_map(|(v, size)| Some(v.filter(|v| v.is_finite() && *v > 0.0)? / size as f64 / n as f64))
        .sum::<f64>();
    let lift = |(v, size): (&Option<f64>, usize)| match v {
        Some(v) if v.is_finite() => v.max(least),
        _ => (per_member * size as f64).max(least),
    };
    told.iter().zip(h.sizes()).map(lift).collect()
}

/// W = D½ (λ I + (1 − λ) R) D½ with the correlations R of the residuals; see [`shrinkage_intensity`].
fn shrunk(run: &Run, h: &Hierarchy, residuals: &Residuals, variances: Vec<f64>) -> Result<Weights> {
    let n = h.len();
    let n_rows = residuals.n_steps().min((FACTOR_VALUES_MAX / n).max(8));
    if n_rows < 3 {
        return Ok(Weights { diagonal: variances, factors: Factors::default() });
    }
    let mut x = standardised(residuals, n_rows);
    run.check()?;
    let intensity = intensity(run, &x, n_rows).max(INTENSITY_MIN);
    if intensity >= 1.0 {
        return Ok(Weights { diagonal: variances, factors: Factors::default() });
    }
    let weight = ((1.0 - intensity) / n_rows as f64).sqrt();
    let sd: Vec<f64> = variances.iter().map(|v| v.sqrt() * weight).collect();
    for row in x.chunks_exact_mut(n) {
        row.iter_mut().zip(&sd).for_each(|(x, sd)| *x *= sd);
    }
    let diagonal = variances.iter().map(|v| v * intensity).collect();
    Ok(Weights { diagonal, factors: Factors { n_rows, values: x } })
}

/// The last `n_rows` residuals with one node a column, each column with a mean square of 1; unknown ones are 0.
fn standardised(residuals: &Residuals, n_rows: usize) -> Vec<f64> {
    let n = residuals.n_nodes();
    let mut x = vec![0.0; n_rows * n];
    for i in 0..n {
        let row = &residuals.of(i)[residuals.n_steps() - n_rows..];
        let sum: f64 = row.iter().filter(|v| !v.is_nan()).map(|v| v * v).sum();
        if sum > 0.0 && sum.is_finite() {
            let scale = (n_rows as f64 / sum).sqrt();
            for (t, v) in row.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                x[t * n + i] = v * scale;
            }
        }
    }
    x
}

/// How far correlations of these residuals are best shrunk towards none: between 0 (not at all) and 1 (wholly), 1 for
/// fewer than three steps.
///
/// λ = Σ Var(rᵢⱼ) / Σ rᵢⱼ² over all i ≠ j, with Var(rᵢⱼ) estimated from the products of standardised residuals (Schäfer &
/// Strimmer 2005; residuals are not centred, as in R's hts). Sums over pairs are had from sums over steps, so that n nodes
/// and T steps take n T² operations and no n × n matrix.
pub fn shrinkage_intensity(run: &Run, residuals: &Residuals) -> f64 {
    let n_rows = residuals.n_steps();
    if n_rows < 3 { 1.0 } else { intensity(run, &standardised(residuals, n_rows), n_rows) }
}

fn intensity(run: &Run, x: &[f64], n_rows: usize) -> f64 {
    let n = x.len() / n_rows;
    let t = n_rows as f64;
    // Σᵢⱼ (Σₜ xₜᵢ xₜⱼ)² is the squared norm of X Xᵀ as well as of Xᵀ X.
    let gram = products(run, x, x, n_rows);
    let squares: f64 = gram.col_iter().map(|c| c.iter().map(|v| v * v).sum::<f64>()).sum();
    let (mut fourth, mut all) = (0.0, 0.0);
    for row in x.chunks_exact(n) {
        let sum: f64 = row.iter().map(|v| v * v).sum();
        all += sum * sum;
        fourth += row.iter().map(|v| v * v * v * v).sum::<f64>();
    }
    // Columns of zeros have no correlations; the others have a sum of squares of T.
    let own = (0..n).filter(|i| (0..n_rows).any(|r| x[r * n + i] != 0.0)).count() as f64 * t * t;
    let pairs = squares - own;
    let variance = ((all - fourth) - pairs / t) / (t * (t - 1.0));
    let strength = pairs / (t * t);
    if strength > 0.0 { (variance / strength).clamp(0.0, 1.0) } else { 1.0 }
}

/// A Bᵀ of two row-major matrices of `n_rows` rows, in blocks of rows on all threads: each number is summed in one order.
pub(super) fn products(run: &Run, a: &[f64], b: &[f64], n_rows: usize) -> Mat<f64> {
    const BLOCK: usize = 64;
    let n = a.len() / n_rows;
    let right = MatRef::from_row_major_slice(b, n_rows, n);
    let blocks: Vec<Mat<f64>> = run.install(|| {
        a.par_chunks(BLOCK * n)
            .map(|part| {
                let left = MatRef::from_row_major_slice(part, part.len() / n, n);
                let mut out = Mat::zeros(left.nrows(), n_rows);
                faer_call(|| matmul(out.as_mut(), Accum::Replace, left, right.transpose(), 1.0, Par::Seq));
                out
            })
            .collect()
    });
    Mat::from_fn(n_rows, n_rows, |i, j| blocks[i / BLOCK][(i % BLOCK, j)])
}

/// The scalar product in eight lanes.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for k in 0..8 {
            lanes[k] += a[k] * b[k];
        }
    }
    lanes.iter().sum::<f64>() + rest
}
