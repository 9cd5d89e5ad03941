//! Singular values and right vectors of a tall table, exactly by triangles or from random directions.

use crate::faer_call::faer_call;
use crate::matrix::Matrix;
use crate::qr;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use tradewind_core::{Error, Result, Run};

/// Rows per chunk of the products; fixed, since the rounding of the result depends on it.
const CHUNK_ROWS: usize = 1024;

/// Directions beyond those asked for; they make the last ones asked for good.
const OVERSAMPLE: usize = 10;

/// The largest singular values, falling, and their right vectors as rows, each with its largest part positive.
pub(super) struct Right {
    pub(super) values: Vec<f64>,
    pub(super) vectors: Matrix,
}

fn failed() -> Error {
    Error::NotConverged { what: "singular value decomposition".into(), iterations: 0 }
}

/// All singular values of the rows less `shift`, by the triangle of the rows (so that nothing is squared).
pub(super) fn exact(x: &Matrix, shift: &[f64]) -> Result<Right> {
    let p = x.n_cols();
    let r = qr::triangle(x.n_rows(), p, |i, out| {
        out.iter_mut().zip(x.row(i)).zip(shift).for_each(|((o, v), s)| *o = v - s);
    });
    right_of(&r)
}

fn right_of(a: &Mat<f64>) -> Result<Right> {
    let svd = faer_call(|| a.thin_svd()).map_err(|_| failed())?;
    let (v, s) = (svd.V(), svd.S());
    let n = a.nrows().min(a.ncols());
    let values: Vec<f64> = (0..n).map(|i| s[i]).collect();
    if values.iter().any(|v| !v.is_finite()) {
        return Err(failed());
    }
    let mut vectors = Matrix::zeros(n, a.ncols());
    for i in 0..n {
        (0..a.ncols()).for_each(|j| vectors.row_mut(i)[j] = v[(j, i)]);
        largest_positive(vectors.row_mut(i));
    }
    Ok(Right { values, vectors })
}

/// Turns the vector so that its part of largest size (the first of equals) is positive.
fn largest_positive(row: &mut [f64]) {
    let at = (0..row.len()).fold(0, |b, j| if row[j].abs() > row[b].abs() { j } else { b });
    if row.get(at).is_some_and(|v| *v < 0.0) {
        row.iter_mut().for_each(|v| *v = -*v);
    }
}

/// The first `k` singular values of the rows less `shift`, from `k + 10` random directions that are sharpened by
/// `n_power` products with the matrix and back (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1).
pub(super) fn randomised(
    run: &Run,
    x: &Matrix,
    shift: &[f64],
    k: usize,
    n_power: usize,
    rng: &mut impl Rng,
) -> Result<Right> {
    let (n, p) = (x.n_rows(), x.n_cols());
    let width = (k + OVERSAMPLE).min(n.min(p));
    let mut directions = Mat::zeros(p, width);
    for j in 0..width {
        (0..p).for_each(|i| directions[(i, j)] = gaussian(rng));
    }
    for _ in 0..n_power {
        run.check()?;
        let image = times(x, shift, &directions);
        directions = orthogonal(back(x, shift, &orthogonal_rows(&image, n, width)));
    }
    run.check()?;
    let basis = orthogonal_rows(&times(x, shift, &directions), n, width);
    // B = Qᵀ A is width × p; its right vectors are those of A.
    let b = back(x, shift, &basis);
    let small = Mat::from_fn(width, p, |i, j| b[(j, i)]);
    let mut right = right_of(&small)?;
    right.values.truncate(k);
    right.vectors = right.vectors.select_rows(&(0..right.values.len()).collect::<Vec<_>>());
    Ok(right)
}

/// A normal number by the polar method of Marsaglia, without its twin.
fn gaussian(rng: &mut impl Rng) -> f64 {
    loop {
        let (a, b) = (2.0 * rng.random::<f64>() - 1.0, 2.0 * rng.random::<f64>() - 1.0);
        let s = a * a + b * b;
        if s > 0.0 && s < 1.0 {
            return a * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

/// The rows of a chunk less `shift`.
fn centred(x: &Matrix, shift: &[f64], from: usize, to: usize) -> Vec<f64> {
    (from..to).flat_map(|i| x.row(i).iter().zip(shift).map(|(v, s)| v - s)).collect()
}

/// `A D`, row after row.
fn times(x: &Matrix, shift: &[f64], d: &Mat<f64>) -> Vec<f64> {
    let (n, p, width) = (x.n_rows(), x.n_cols(), d.ncols());
    let mut out = vec![0.0; n * width];
    out.par_chunks_mut((CHUNK_ROWS * width).max(1)).enumerate().for_each(|(c, out)| {
        let (from, rows) = (c * CHUNK_ROWS, out.len() / width);
        let a = centred(x, shift, from, from + rows);
        let mut product = Mat::zeros(rows, width);
        let a = MatRef::from_row_major_slice(&a, rows, p);
        faer_call(|| matmul(product.as_mut(), Accum::Replace, a, d.as_ref(), 1.0, Par::Seq));
        for i in 0..rows {
            (0..width).for_each(|j| out[i * width + j] = product[(i, j)]);
        }
    });
    out
}

/// `Aᵀ Q` for `Q` given row after row.
fn back(x: &Matrix, shift: &[f64], q: &[f64]) -> Mat<f64> {
    let (n, p) = (x.n_rows(), x.n_cols());
    let width = q.len() / n;
    let parts: Vec<Mat<f64>> = (0..n.div_ceil(CHUNK_ROWS))
        .into_par_iter()
        .map(|c| {
            let (from, to) = (c * CHUNK_ROWS, ((c + 1) * CHUNK_ROWS).min(n));
            let a = centred(x, shift, from, to);
            let a = MatRef::from_row_major_slice(&a, to - from, p);
            let q = MatRef::from_row_major_slice(&q[from * width..to * width], to - from, width);
            let mut product = Mat::zeros(p, width);
            faer_call(|| matmul(product.as_mut(), Accum::Replace, a.transpose(), q, 1.0, Par::Seq));
            product
        })
        .collect();
    let mut total = Mat::zeros(p, width);
    for part in &parts {
        for j in 0..width {
            (0..p).for_each(|i| total[(i, j)] += part[(i, j)]);
        }
    }
    total
}

/// An orthogonal basis of the columns.
fn orthogonal(a: Mat<f64>) -> Mat<f64> {
    faer_call(|| a.qr().compute_thin_Q())
}

/// An orthogonal basis of a tall matrix given row after row.
fn orthogonal_rows(a: &[f64], n: usize, width: usize) -> Vec<f64> {
    let q = orthogonal(MatRef::from_row_major_slice(a, n, width).to_owned());
    (0..n).flat_map(|i| (0..width).map(move |j| (i, j))).map(|at| q[at]).collect()
}
