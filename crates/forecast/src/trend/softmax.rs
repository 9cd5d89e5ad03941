//! The learner: multinomial logistic regression of three classes, and ridge regression on the same design.
//!
//! The design has a few hundred columns that lean on each other (splines of levels over many windows), where
//! quasi-Newton methods need hundreds of passes. Newton's method with the Hessian of a part of the rows (Byrd, Chin,
//! Neveitt and Nocedal, *On the use of stochastic Hessian information*, SIAM J. Optim. 21, 2011) needs about ten: the
//! gradient is always that of all rows, so the answer does not depend on the part.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result, Run};
use tradewind_learn::Matrix;

/// Rows of a chunk. Sums run over chunks of this size and are added in order, for any number of threads.
const CHUNK: usize = 2_048;

/// Logits of the classes 0 and 2 against class 1, linear in the columns of a design (the first is the intercept).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Softmax {
    pub(crate) low: Vec<f64>,
    pub(crate) high: Vec<f64>,
}

/// Probabilities of logits.
pub(crate) fn softmax(z: [f64; 3]) -> [f64; 3] {
    let m = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e = z.map(|v| (v - m).exp());
    let s: f64 = e.iter().sum();
    e.map(|v| v / s)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four partial sums, so that the processor need not wait for each addition.
    let mut s = [0.0; 4];
    let n = a.len() / 4 * 4;
    for (x, y) in a[..n].chunks_exact(4).zip(b[..n].chunks_exact(4)) {
        for k in 0..4 {
            s[k] += x[k] * y[k];
        }
    }
    let rest: f64 = a[n..].iter().zip(&b[n..]).map(|(x, y)| x * y).sum();
    (s[0] + s[1]) + (s[2] + s[3]) + rest
}

impl Softmax {
    /// Learns from the rows of `x` with classes 0, 1, 2 and weights, under the penalty
    /// `½ Σ penalty_j Σ_c (b_cj − mean_c b_cj)²`.
    pub(crate) fn fit(run: &Run, x: &Matrix, class: &[u8], weight: &[f64], penalty: &[f64]) -> Result<Self> {
        let p = x.n_cols();
        let total: f64 = weight.iter().sum();
        let mut b = vec![0.0; 2 * p];
        let share = |c: u8| {
            let w: f64 = class.iter().zip(weight).filter(|(k, _)| **k == c).map(|(_, w)| w).sum();
            (w + 0.5) / (total + 1.5)
        };
        b[0] = (share(0) / share(1)).ln();
        b[p] = (share(2) / share(1)).ln();
        // At least 16 rows for each coefficient, spread evenly.
        let stride = (x.n_rows() / (32 * p).max(8_192)).max(1);
        let (mut value, mut gradient) = objective(x, class, weight, penalty, &b);
        let mut factor = Vec::new();
        for iteration in 0..30 {
            run.check()?;
            if matches!(iteration, 0..=2 | 4 | 8 | 16) {
                factor = hessian(x, weight, penalty, &b, stride, total);
                cholesky(&mut factor, 2 * p)?;
            }
            let step = solve(&factor, 2 * p, &gradient);
            let decrement = dot(&step, &gradient);
            if decrement < 1e-7 * total {
                break;
            }
            let mut length = 1.0;
            let mut moved = false;
            for _ in 0..8 {
                let trial: Vec<f64> = b.iter().zip(&step).map(|(v, s)| v - length * s).collect();
                let (v, g) = objective(x, class, weight, penalty, &trial);
                if v <= value - 1e-4 * length * decrement {
                    (b, value, gradient, moved) = (trial, v, g, true);
                    break;
                }
                length /= 2.0;
            }
            if !moved {
                break;
            }
        }
        let high = b.split_off(p);
        Ok(Self { low: b, high })
    }

    /// The logits of one row of the design.
    pub(crate) fn logits(&self, row: &[f64]) -> [f64; 3] {
        [dot(row, &self.low), 0.0, dot(row, &self.high)]
    }
}

/// Starts of the chunks of `n` rows.
fn chunks(n: usize) -> Vec<(usize, usize)> {
    (0..n).step_by(CHUNK).map(|a| (a, (a + CHUNK).min(n))).collect()
}

/// Penalised negative log likelihood and its gradient.
fn objective(x: &Matrix, class: &[u8], weight: &[f64], penalty: &[f64], b: &[f64]) -> (f64, Vec<f64>) {
    let p = x.n_cols();
    let parts: Vec<(f64, Vec<f64>)> = chunks(x.n_rows())
        .into_par_iter()
        .map(|(from, to)| {
            let (mut value, mut g) = (0.0, vec![0.0; 2 * p]);
            for i in from..to {
                let row = x.row(i);
                let q = softmax([dot(row, &b[..p]), 0.0, dot(row, &b[p..])]);
                let (w, c) = (weight[i], class[i]);
                value -= w * q[usize::from(c)].max(1e-300).ln();
                let (low, high) = (w * (q[0] - f64::from(c == 0)), w * (q[2] - f64::from(c == 2)));
                let (g0, g2) = g.split_at_mut(p);
                for ((a, c), v) in g0.iter_mut().zip(g2).zip(row) {
                    *a += low * v;
                    *c += high * v;
                }
            }
            (value, g)
        })
        .collect();
    let (mut value, mut g) = (0.0, vec![0.0; 2 * p]);
    for (v, part) in parts {
        value += v;
        g.iter_mut().zip(part).for_each(|(a, b)| *a += b);
    }
    for j in 0..p {
        let (l, h) = (b[j], b[p + j]);
        let mean = (l + h) / 3.0;
        value += 0.5 * penalty[j] * (l * l + h * h - 3.0 * mean * mean);
        g[j] += penalty[j] * (l - mean);
        g[p + j] += penalty[j] * (h - mean);
    }
    (value, g)
}

/// The Hessian from every `stride`th row, scaled to all.
fn hessian(x: &Matrix, weight: &[f64], penalty: &[f64], b: &[f64], stride: usize, total: f64) -> Vec<f64> {
    let p = x.n_cols();
    let rows: Vec<usize> = (0..x.n_rows()).step_by(stride).collect();
    let seen: f64 = rows.iter().map(|i| weight[*i]).sum();
    let scale = if seen > 0.0 { total / seen } else { 1.0 };
    let parts: Vec<[Vec<f64>; 3]> = chunks(rows.len())
        .into_par_iter()
        .map(|(from, to)| {
            let picked = &rows[from..to];
            let mut plain = Vec::with_capacity(picked.len() * p);
            let mut v = [const { Vec::new() }; 3];
            for &i in picked {
                let row = x.row(i);
                plain.extend_from_slice(row);
                let q = softmax([dot(row, &b[..p]), 0.0, dot(row, &b[p..])]);
                let w = weight[i] * scale;
                v[0].push(w * q[0] * (1.0 - q[0]));
                v[1].push(-w * q[0] * q[2]);
                v[2].push(w * q[2] * (1.0 - q[2]));
            }
            v.map(|v| gram(&plain, p, &v))
        })
        .collect();
    let mut sums = [vec![0.0; p * p], vec![0.0; p * p], vec![0.0; p * p]];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            sum.iter_mut().zip(part).for_each(|(a, b)| *a += b);
        }
    }
    let n = 2 * p;
    let mut h = vec![0.0; n * n];
    for i in 0..p {
        for j in 0..p {
            let k = i * p + j;
            h[i * n + j] = sums[0][k];
            h[i * n + p + j] = sums[1][k];
            h[(p + i) * n + j] = sums[1][k];
            h[(p + i) * n + p + j] = sums[2][k];
        }
        let pen = penalty[i];
        h[i * n + i] += pen * 2.0 / 3.0;
        h[(p + i) * n + p + i] += pen * 2.0 / 3.0;
        h[i * n + p + i] -= pen / 3.0;
        h[(p + i) * n + i] -= pen / 3.0;
    }
    h
}

/// `Xᵀ diag(v) X` of rows of length `p`.
fn gram(rows: &[f64], p: usize, v: &[f64]) -> Vec<f64> {
    let n = v.len();
    let scaled: Vec<f64> =
        rows.chunks_exact(p).zip(v).flat_map(|(r, v)| r.iter().map(move |x| x * v)).collect();
    let mut out = vec![0.0; p * p];
    // The product is symmetric, so the order in which it is stored does not matter.
    matmul(
        MatMut::from_column_major_slice_mut(&mut out, p, p),
        Accum::Replace,
        MatRef::from_row_major_slice(&scaled, n, p).transpose(),
        MatRef::from_row_major_slice(rows, n, p),
        1.0,
        Par::Seq,
    );
    out
}

/// Ridge regression: the coefficients of the columns of `x` (the first is the intercept) for each target.
pub(crate) fn ridge(x: &Matrix, target: &[f64], weight: &[f64], penalty: &[f64]) -> Result<Vec<f64>> {
    let p = x.n_cols();
    let parts: Vec<(Vec<f64>, Vec<f64>)> = chunks(x.n_rows())
        .into_par_iter()
        .map(|(from, to)| {
            let a = gram(&x.values()[from * p..to * p], p, &weight[from..to]);
            let mut r = vec![0.0; p];
            for i in from..to {
                let s = weight[i] * target[i];
                r.iter_mut().zip(x.row(i)).for_each(|(r, v)| *r += s * v);
            }
            (a, r)
        })
        .collect();
    let (mut a, mut r) = (vec![0.0; p * p], vec![0.0; p]);
    for (pa, pr) in parts {
        a.iter_mut().zip(pa).for_each(|(a, b)| *a += b);
        r.iter_mut().zip(pr).for_each(|(a, b)| *a += b);
    }
    for j in 0..p {
        a[j * p + j] += penalty[j];
    }
    cholesky(&mut a, p)?;
    Ok(solve(&a, p, &r))
}

/// Cholesky factor in the lower triangle, in place.
fn cholesky(a: &mut [f64], n: usize) -> Result<()> {
    let top = (0..n).map(|i| a[i * n + i]).fold(0.0, f64::max);
    for i in 0..n {
        for j in 0..=i {
            let s = a[i * n + j] - dot(&a[i * n..i * n + j], &a[j * n..j * n + j]);
            if i == j {
                if !s.is_finite() {
                    return Err(Error::Invalid("a feature of the trend model is not finite".into()));
                }
                // A column that others explain wholly gets a pivot that leaves its coefficient at rest.
                a[i * n + i] = s.max(1e-12 * top).max(1e-12).sqrt();
            } else {
                a[i * n + j] = s / a[j * n + j];
            }
        }
    }
    Ok(())
}

/// Solves by the factor that [`cholesky`] made.
fn solve(l: &[f64], n: usize, r: &[f64]) -> Vec<f64> {
    let mut x = r.to_vec();
    for i in 0..n {
        let s = dot(&l[i * n..i * n + i], &x[..i]);
        x[i] = (x[i] - s) / l[i * n + i];
    }
    for i in (0..n).rev() {
        x[i] /= l[i * n + i];
        let v = x[i];
        for j in 0..i {
            x[j] -= v * l[i * n + j];
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Matrix, Vec<u8>) {
        let rows: Vec<[f64; 3]> = (0..600)
            .map(|i| {
                let u = f64::from(i * 37 % 101) / 50.0 - 1.0;
                [1.0, u, f64::from(i * 53 % 97) / 48.0 - 1.0]
            })
            .collect();
        let class = rows
            .iter()
            .enumerate()
            .map(|(i, r)| {
                let s = r[1] * 1.5 - r[2] + ((i * 29 % 31) as f64 / 15.0 - 1.0);
                if s < -0.5 {
                    0
                } else if s > 0.6 {
                    2
                } else {
                    1
                }
            })
            .collect();
        (Matrix::from_rows(&rows).expect("rows"), class)
    }

    #[test]
    fn the_gradient_vanishes_at_the_answer() {
        let (x, class) = data();
        let weight: Vec<f64> = (0..600).map(|i| 0.5 + f64::from(i % 3)).collect();
        let penalty = [1e-3, 2.0, 0.5];
        let m = Softmax::fit(&Run::new(1), &x, &class, &weight, &penalty).expect("fits");
        let b = [m.low, m.high].concat();
        let (_, g) = objective(&x, &class, &weight, &penalty, &b);
        // The stop rule bounds the Newton decrement by 1e-7 of the weight, which is about 1e-4 here.
        assert!(g.iter().all(|v| v.abs() < 0.2), "{g:?}");
        // The gradient is that of the objective.
        for j in 0..6 {
            let at = |d: f64| {
                let mut c = b.clone();
                c[j] += d;
                objective(&x, &class, &weight, &penalty, &c)
            };
            let numeric = (at(1e-5 + 0.1).0 - at(0.1 - 1e-5).0) / 2e-5;
            assert!((numeric - at(0.1).1[j]).abs() < 1e-4, "{j}");
        }
    }

    #[test]
    fn ridge_solves_its_normal_equations() {
        let (x, _) = data();
        let y: Vec<f64> = x.rows().map(|r| 2.0 + 3.0 * r[1] - r[2]).collect();
        let b = ridge(&x, &y, &[1.0; 600], &[0.0; 3]).expect("solves");
        for (got, want) in b.iter().zip([2.0, 3.0, -1.0]) {
            assert!((got - want).abs() < 1e-9);
        }
    }
}
