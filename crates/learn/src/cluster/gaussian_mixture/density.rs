//! The parameters of a mixture and the two steps of EM on them.

use super::Covariance;
use crate::matrix::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result};

/// Rows per chunk of the sums; fixed, since the rounding of the result depends on it.
const CHUNK_ROWS: usize = 1024;

/// Weights, means and covariances of the parts, and the roots of the covariances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(crate) share: Vec<f64>,
    pub(crate) means: Matrix,
    pub(crate) shape: Covariance,
    /// Full: one `d × d` block per part; tied: one block; diagonal: one row per part; spherical: one number per part.
    pub(crate) covariance: Vec<f64>,
    /// The lower Cholesky factors of the blocks, or the square roots of the numbers.
    pub(crate) root: Vec<f64>,
}

/// What one E-step gives.
pub(crate) struct Expected {
    /// The probability of each part, row after row.
    pub(crate) share: Vec<f64>,
    /// The weighted sum of log densities.
    pub(crate) log_likelihood: f64,
}

impl Parts {
    /// Parts and columns.
    fn size(&self) -> (usize, usize) {
        (self.share.len(), self.means.n_cols())
    }

    /// The best parameters given each row's share in every part (the M-step).
    pub(crate) fn from_shares(
        x: &Matrix,
        weight: Option<&[f64]>,
        share: &[f64],
        k: usize,
        shape: Covariance,
        floor: f64,
    ) -> Result<Self> {
        let d = x.n_cols();
        // A part without rows keeps a mass that is not zero, as in scikit-learn.
        let tiny = 10.0 * f64::EPSILON;
        let sums = chunked(x.n_rows(), k * (d + 1), |i, sums| {
            let w = weight.map_or(1.0, |w| w[i]);
            for (c, s) in sums.chunks_exact_mut(d + 1).enumerate() {
                let w = w * share[i * k + c];
                for (s, v) in s.iter_mut().zip(x.row(i)) {
                    *s += w * v;
                }
                s[d] += w;
            }
        });
        let mass: Vec<f64> = sums.chunks_exact(d + 1).map(|s| s[d] + tiny).collect();
        let mut means = Matrix::zeros(k, d);
        for (c, s) in sums.chunks_exact(d + 1).enumerate() {
            means.row_mut(c).iter_mut().zip(s).for_each(|(m, s)| *m = s / mass[c]);
        }
        let total: f64 = mass.iter().sum();
        let covariance = covariances(x, weight, share, &mass, &means, shape, floor);
        let root = roots(&covariance, shape, d)?;
        Ok(Self { share: mass.iter().map(|m| m / total).collect(), means, shape, covariance, root })
    }

    /// The log density of `row` in every part plus the log of the part's weight.
    pub(crate) fn log_joint(&self, row: &[f64], gap: &mut [f64], out: &mut [f64]) {
        let (_, d) = self.size();
        let constant = d as f64 * (2.0 * std::f64::consts::PI).ln();
        for (c, out) in out.iter_mut().enumerate() {
            gap.iter_mut().zip(row).zip(self.means.row(c)).for_each(|((g, v), m)| *g = v - m);
            let (log_det, square) = match self.shape {
                Covariance::Full => whitened(&self.root[c * d * d..(c + 1) * d * d], gap),
                Covariance::Tied => whitened(&self.root, gap),
                Covariance::Diagonal => {
                    let root = &self.root[c * d..(c + 1) * d];
                    let square = gap.iter().zip(root).map(|(g, r)| (g / r) * (g / r)).sum::<f64>();
                    (root.iter().map(|r| r.ln()).sum::<f64>(), square)
                }
                Covariance::Spherical => {
                    let r = self.root[c];
                    (d as f64 * r.ln(), gap.iter().map(|g| (g / r) * (g / r)).sum::<f64>())
                }
            };
            *out = -0.5 * (constant + square) - log_det + self.share[c].ln();
        }
    }

    /// Each row's share in every part, and the log likelihood (the E-step).
    pub(crate) fn expect(&self, x: &Matrix, weight: Option<&[f64]>) -> Expected {
        let (k, d) = self.size();
        let mut share = vec![0.0; x.n_rows() * k];
        let parts: Vec<f64> = share
            .par_chunks_mut(CHUNK_ROWS * k)
            .enumerate()
            .map(|(c, share)| {
                let (mut gap, mut sum) = (vec![0.0; d], 0.0);
                for (r, out) in share.chunks_exact_mut(k).enumerate() {
                    let i = c * CHUNK_ROWS + r;
                    self.log_joint(x.row(i), &mut gap, out);
                    let log_density = to_shares(out);
                    let w = weight.map_or(1.0, |w| w[i]);
                    if w > 0.0 {
                        sum += w * log_density;
                    }
                }
                sum
            })
            .collect();
        Expected { share, log_likelihood: parts.iter().sum() }
    }
}

/// Turns log densities into shares that sum to 1, and gives the log of their sum (log-sum-exp).
pub(crate) fn to_shares(log: &mut [f64]) -> f64 {
    let top = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        // Every density is zero to the last bit: all parts alike.
        let even = 1.0 / log.len() as f64;
        log.fill(even);
        return f64::MIN;
    }
    let mut sum = 0.0;
    for v in log.iter_mut() {
        *v = (*v - top).exp();
        sum += *v;
    }
    log.iter_mut().for_each(|v| *v /= sum);
    top + sum.ln()
}

/// `(½ ln det, gᵀ C⁻¹ g)` by the lower root of `C`; `gap` is used up.
fn whitened(root: &[f64], gap: &mut [f64]) -> (f64, f64) {
    let d = gap.len();
    let (mut log_det, mut square) = (0.0, 0.0);
    for i in 0..d {
        let row = &root[i * d..i * d + i + 1];
        let known: f64 = row[..i].iter().zip(&gap[..i]).map(|(r, g)| r * g).sum();
        gap[i] = (gap[i] - known) / row[i];
        square += gap[i] * gap[i];
        log_det += row[i].ln();
    }
    (log_det, square)
}

fn covariances(
    x: &Matrix,
    weight: Option<&[f64]>,
    share: &[f64],
    mass: &[f64],
    means: &Matrix,
    shape: Covariance,
    floor: f64,
) -> Vec<f64> {
    let (k, d) = (mass.len(), x.n_cols());
    let blocks = matches!(shape, Covariance::Full | Covariance::Tied);
    let width = if blocks { d * d } else { d };
    let mut sums = chunked(x.n_rows(), k * width, |i, sums| {
        let w = weight.map_or(1.0, |w| w[i]);
        let row = x.row(i);
        for c in 0..k {
            let w = w * share[i * k + c];
            // Rows far from a part have a share of exactly zero and are most of them.
            if w == 0.0 {
                continue;
            }
            let (mean, sums) = (means.row(c), &mut sums[c * width..(c + 1) * width]);
            for a in 0..d {
                let gap = w * (row[a] - mean[a]);
                if blocks {
                    for b in 0..=a {
                        sums[a * d + b] += gap * (row[b] - mean[b]);
                    }
                } else {
                    sums[a] += gap * (row[a] - mean[a]);
                }
            }
        }
    });
    match shape {
        Covariance::Full => {
            sums.chunks_exact_mut(d * d).zip(mass).for_each(|(s, m)| finish_block(s, d, *m, floor));
            sums
        }
        Covariance::Tied => {
            let mut total = vec![0.0; d * d];
            for s in sums.chunks_exact(d * d) {
                total.iter_mut().zip(s).for_each(|(t, v)| *t += v);
            }
            finish_block(&mut total, d, mass.iter().sum(), floor);
            total
        }
        Covariance::Diagonal => {
            for (s, m) in sums.chunks_exact_mut(d).zip(mass) {
                s.iter_mut().for_each(|v| *v = *v / m + floor);
            }
            sums
        }
        Covariance::Spherical => (0..k)
            .map(|c| {
                let s = &sums[c * d..(c + 1) * d];
                s.iter().map(|v| v / mass[c] + floor).sum::<f64>() / d as f64
            })
            .collect(),
    }
}

/// Divides a lower triangle, adds the floor to the diagonal, and fills the upper half.
fn finish_block(block: &mut [f64], d: usize, mass: f64, floor: f64) {
    for a in 0..d {
        for b in 0..=a {
            let v = block[a * d + b] / mass + if a == b { floor } else { 0.0 };
            (block[a * d + b], block[b * d + a]) = (v, v);
        }
    }
}

/// The roots of the covariances. Fails when one is not positive.
pub(crate) fn roots(covariance: &[f64], shape: Covariance, d: usize) -> Result<Vec<f64>> {
    let flat = || {
        Error::Invalid(
            "a part of the mixture has shrunk to fewer dimensions than the data; raise `floor`, take fewer parts, or \
             use diagonal or spherical covariances"
                .into(),
        )
    };
    match shape {
        Covariance::Diagonal | Covariance::Spherical => {
            if covariance.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
                return Err(flat());
            }
            Ok(covariance.iter().map(|v| v.sqrt()).collect())
        }
        Covariance::Full | Covariance::Tied => {
            let mut out = vec![0.0; covariance.len()];
            for (c, l) in covariance.chunks_exact(d * d).zip(out.chunks_exact_mut(d * d)) {
                for i in 0..d {
                    for j in 0..=i {
                        let dot: f64 = (0..j).map(|m| l[i * d + m] * l[j * d + m]).sum();
                        let rest = c[i * d + j] - dot;
                        l[i * d + j] = if i != j {
                            rest / l[j * d + j]
                        } else if rest.is_finite() && rest > 0.0 {
                            rest.sqrt()
                        } else {
                            return Err(flat());
                        };
                    }
                }
            }
            Ok(out)
        }
    }
}

/// Sums of `width` numbers over the rows, chunk by chunk and in order.
fn chunked(n_rows: usize, width: usize, add: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    // Wide sums over many chunks would take more memory than the data.
    let rows = if width <= 4096 { CHUNK_ROWS } else { CHUNK_ROWS.max(n_rows.div_ceil(32)) };
    let parts: Vec<Vec<f64>> = (0..n_rows.div_ceil(rows))
        .into_par_iter()
        .map(|c| {
            let mut sums = vec![0.0; width];
            (c * rows..((c + 1) * rows).min(n_rows)).for_each(|i| add(i, &mut sums));
            sums
        })
        .collect();
    let mut total = vec![0.0; width];
    for part in &parts {
        total.iter_mut().zip(part).for_each(|(t, v)| *t += v);
    }
    total
}
