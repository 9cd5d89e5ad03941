//! Least squares by orthogonal triangles, in chunks of rows.
//!
//! The triangle `R` of a tall matrix is found chunk by chunk and merged in order, so that memory stays small, chunks
//! run in parallel, and the result does not depend on the number of threads. Columns that depend on earlier ones are
//! found on the small triangle and set aside, as R's `lm` does.

use crate::faer_call::faer_call;
use faer::Mat;
use rayon::prelude::*;

/// Rows per chunk; fixed, since the rounding of the result depends on it.
const CHUNK_ROWS: usize = 2048;

/// A column whose part at right angles to the earlier columns is below this share of it counts as dependent (R's `lm`
/// uses the same 1e-7).
const DEPENDENT: f64 = 1e-7;

/// The triangle of a matrix of `n_rows × n_cols` given row by row: `write(i, out)` fills row `i`.
pub(crate) fn triangle(n_rows: usize, n_cols: usize, write: impl Fn(usize, &mut [f64]) + Sync) -> Mat<f64> {
    let chunk_rows = CHUNK_ROWS.max(2 * n_cols);
    let n_chunks = n_rows.div_ceil(chunk_rows);
    let parts: Vec<Mat<f64>> = (0..n_chunks)
        .into_par_iter()
        .map(|c| {
            let (from, to) = (c * chunk_rows, ((c + 1) * chunk_rows).min(n_rows));
            let mut block = Mat::zeros(to - from, n_cols);
            let mut row = vec![0.0; n_cols];
            for i in from..to {
                write(i, &mut row);
                for j in 0..n_cols {
                    block[(i - from, j)] = row[j];
                }
            }
            upper(block)
        })
        .collect();
    parts.into_iter().reduce(|above, below| stack(&above, &below)).unwrap_or_else(|| Mat::zeros(0, n_cols))
}

/// The triangle of two matrices, one above the other.
pub(crate) fn stack(above: &Mat<f64>, below: &Mat<f64>) -> Mat<f64> {
    let n_above = above.nrows();
    upper(Mat::from_fn(n_above + below.nrows(), above.ncols(), |i, j| {
        if i < n_above { above[(i, j)] } else { below[(i - n_above, j)] }
    }))
}

fn upper(block: Mat<f64>) -> Mat<f64> {
    if block.nrows() == 0 || block.ncols() == 0 {
        return block;
    }
    let qr = faer_call(|| block.qr());
    let r = qr.thin_R();
    Mat::from_fn(r.nrows(), r.ncols(), |i, j| if i <= j { r[(i, j)] } else { 0.0 })
}

/// The least squares solution of `[A | b]` given its triangle.
pub(crate) struct Solution {
    /// One coefficient per column; 0 where the column depends on earlier ones.
    pub(crate) coef: Vec<f64>,
    /// The columns used, in order.
    pub(crate) used: Vec<usize>,
    /// The sum of squared residuals.
    pub(crate) rss: f64,
    /// `(AᵀA)⁻¹` of the columns used, row after row.
    pub(crate) inverse: Vec<f64>,
}

/// Solves from the triangle of `[A | b]`, where `A` has `n_cols` columns and `b` stands last.
pub(crate) fn solve(r: &Mat<f64>, n_cols: usize, want_inverse: bool) -> Solution {
    let n_rows = r.nrows();
    let mut columns: Vec<Vec<f64>> = (0..=n_cols).map(|j| (0..n_rows).map(|i| r[(i, j)]).collect()).collect();
    let length: Vec<f64> = columns.iter().map(|c| norm(c)).collect();
    let mut used: Vec<usize> = Vec::with_capacity(n_cols);
    for j in 0..n_cols {
        let top = used.len();
        if top >= n_rows {
            break;
        }
        let rest = norm(&columns[j][top..]);
        if rest <= DEPENDENT * length[j] || rest == 0.0 {
            continue;
        }
        // A Householder reflection that brings column j to `alpha` at `top` and zero below.
        let alpha = if columns[j][top] > 0.0 { -rest } else { rest };
        let mut v = columns[j][top..].to_vec();
        v[0] -= alpha;
        let vv: f64 = v.iter().map(|a| a * a).sum();
        for column in columns.iter_mut().skip(j) {
            let dot: f64 = v.iter().zip(&column[top..]).map(|(a, b)| a * b).sum();
            let scale = 2.0 * dot / vv;
            for (c, a) in column[top..].iter_mut().zip(&v) {
                *c -= scale * a;
            }
        }
        columns[j][top] = alpha;
        columns[j][top + 1..].fill(0.0);
        used.push(j);
    }
    let rank = used.len();
    let b = &columns[n_cols];
    let rss: f64 = b[rank..].iter().map(|v| v * v).sum();
    let at = |i: usize, k: usize| columns[used[k]][i];
    let mut x = vec![0.0; rank];
    for i in (0..rank).rev() {
        let known: f64 = (i + 1..rank).map(|k| at(i, k) * x[k]).sum();
        x[i] = (b[i] - known) / at(i, i);
    }
    let mut coef = vec![0.0; n_cols];
    for (k, &j) in used.iter().enumerate() {
        coef[j] = x[k];
    }
    let inverse = if want_inverse { gram_inverse(rank, at) } else { Vec::new() };
    Solution { coef, used, rss, inverse }
}

/// `(RᵀR)⁻¹ = R⁻¹ R⁻ᵀ` of an upper triangle.
fn gram_inverse(rank: usize, at: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut inv = vec![0.0; rank * rank];
    for k in 0..rank {
        inv[k * rank + k] = 1.0 / at(k, k);
        for i in (0..k).rev() {
            let sum: f64 = (i + 1..=k).map(|m| at(i, m) * inv[m * rank + k]).sum();
            inv[i * rank + k] = -sum / at(i, i);
        }
    }
    let mut out = vec![0.0; rank * rank];
    for i in 0..rank {
        for j in i..rank {
            let sum: f64 = (j..rank).map(|m| inv[i * rank + m] * inv[j * rank + m]).sum();
            out[i * rank + j] = sum;
            out[j * rank + i] = sum;
        }
    }
    out
}

/// The length of a vector, safe from overflow.
fn norm(v: &[f64]) -> f64 {
    let top = v.iter().fold(0.0_f64, |m, a| m.max(a.abs()));
    if top == 0.0 || !top.is_finite() {
        return top;
    }
    top * v.iter().map(|a| (a / top) * (a / top)).sum::<f64>().sqrt()
}
