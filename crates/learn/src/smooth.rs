//! Smooth convex losses of one or several weighted sums of the columns: value, gradient and curvature over the rows.
//!
//! Logistic regression and the generalised linear models are sums over rows of a loss of `z·β + b`. What differs
//! between them is a [`RowLoss`]; the passes over the rows are the same. Columns are centred and scaled on the way, so
//! no second copy of the table is made. Sums run over chunks of fixed size and are added in order, so that the number
//! of threads changes nothing.

use crate::cholesky::Cholesky;
use crate::faer_call::faer_call;
use crate::linear::Scaled;
use crate::matrix::{Dataset, Matrix};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows per chunk of a gradient.
const CHUNK_ROWS: usize = 1024;

/// Rows per block of a product of columns; a block of 50 columns fits the second-level cache.
const BLOCK_ROWS: usize = 512;

/// Rows worked on together, and running sums of one product.
pub(crate) const LANES: usize = 4;

/// A table seen on scaled axes: columns of mean 0 and deviation 1, those without spread all zero.
pub(crate) struct Design<'a> {
    x: &'a Matrix,
    means: &'a [f64],
    /// One over the deviation; 0 for columns left out.
    pub(crate) inverse: Vec<f64>,
}

impl<'a> Design<'a> {
    pub(crate) fn new(x: &'a Matrix, scaled: &'a Scaled) -> Self {
        let inverse = scaled.sds.iter().zip(&scaled.live).map(|(s, live)| if *live { 1.0 / s } else { 0.0 });
        Self { x, means: &scaled.means, inverse: inverse.collect() }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    pub(crate) fn n_cols(&self) -> usize {
        self.x.n_cols()
    }

    /// Writes row `i` on the scaled axes.
    #[inline]
    pub(crate) fn fill(&self, i: usize, out: &mut [f64]) {
        let columns = self.x.row(i).iter().zip(self.means).zip(&self.inverse);
        for (o, ((x, m), s)) in out.iter_mut().zip(columns) {
            *o = (x - m) * s;
        }
    }
}

/// What a row costs as a function of its logits (its weighted sums of the columns).
pub(crate) trait RowLoss: Sync {
    /// Sums per row.
    fn n_logits(&self) -> usize {
        1
    }

    /// The weight of row `i`.
    fn weight(&self, i: usize) -> f64;

    /// Turns the logits of row `i`, which stand in lane `r`, into the loss's derivatives by them, and gives the loss;
    /// both times the weight of the row.
    fn slopes(&self, i: usize, r: usize, logits: &mut [[f64; LANES]]) -> f64;

    /// Writes the weighted second derivatives of row `i`: of one logit the one, which must not be negative; of several
    /// logits, which must be those of a softmax, `w p_a p_b` for each pair `a < b`.
    fn curvatures(&self, i: usize, logits: &mut [f64], out: &mut [f64]);
}

/// The mean loss of the rows and half the penalty `Σ penalty_j β_j²` of every logit's coefficients, as a function of
/// one block per logit: the coefficients on the scaled axes, then the value at the means.
pub(crate) struct Smooth<'a, L> {
    pub(crate) design: Design<'a>,
    pub(crate) loss: L,
    pub(crate) penalty: Vec<f64>,
}

impl<L: RowLoss> Smooth<'_, L> {
    /// How many numbers are sought.
    pub(crate) fn n_dims(&self) -> usize {
        self.loss.n_logits() * (self.design.n_cols() + 1)
    }

    /// The weight of every `stride`-th row together.
    fn mass(&self, stride: usize) -> f64 {
        let sum: f64 = (0..self.design.n_rows()).step_by(stride).map(|i| self.loss.weight(i)).sum();
        if sum > 0.0 { sum } else { 1.0 }
    }

    /// The value at `v` over every `stride`-th row; the gradient is left in `g`.
    pub(crate) fn value(&self, v: &[f64], g: &mut [f64], stride: usize) -> f64 {
        let n = self.design.n_rows().div_ceil(stride);
        let parts: Vec<(f64, Vec<f64>)> = (0..n.div_ceil(CHUNK_ROWS))
            .into_par_iter()
            .map(|c| {
                let mut g = vec![0.0; v.len()];
                let rows = c * CHUNK_ROWS..((c + 1) * CHUNK_ROWS).min(n);
                (self.chunk(v, rows, stride, &mut g), g)
            })
            .collect();
        let mut value = 0.0;
        g.fill(0.0);
        for (part, part_g) in &parts {
            value += part;
            g.iter_mut().zip(part_g).for_each(|(g, part)| *g += part);
        }
        let mass = self.mass(stride);
        value /= mass;
        g.iter_mut().for_each(|g| *g /= mass);
        let width = self.penalty.len() + 1;
        for (v, g) in v.chunks_exact(width).zip(g.chunks_exact_mut(width)) {
            for ((v, g), penalty) in v.iter().zip(g).zip(&self.penalty) {
                value += 0.5 * penalty * v * v;
                *g += penalty * v;
            }
        }
        value
    }

    fn chunk(&self, v: &[f64], rows: std::ops::Range<usize>, stride: usize, g: &mut [f64]) -> f64 {
        let (p, width) = (self.design.n_cols(), self.design.n_cols() + 1);
        let mut loss = 0.0;
        let mut logits = vec![[0.0; LANES]; self.loss.n_logits()];
        let mut buffer = vec![0.0; LANES * p];
        let mut at = rows.start;
        while at < rows.end {
            // Four rows at a time, so that each coefficient is loaded once for four; past the end the rows are
            // zeros and their slopes too.
            let live = LANES.min(rows.end - at);
            if p > 0 {
                for (r, out) in buffer.chunks_exact_mut(p).enumerate() {
                    match r < live {
                        true => self.design.fill((at + r) * stride, out),
                        false => out.fill(0.0),
                    }
                }
            }
            let four: [&[f64]; LANES] = std::array::from_fn(|r| &buffer[r * p..(r + 1) * p]);
            for (k, out) in logits.iter_mut().enumerate() {
                let block = &v[k * width..(k + 1) * width];
                *out = dots(four, &block[..p]).map(|d| d + block[p]);
            }
            for r in 0..live {
                loss += self.loss.slopes((at + r) * stride, r, &mut logits);
            }
            for (k, slope) in logits.iter_mut().enumerate() {
                slope[live..].fill(0.0);
                let block = &mut g[k * width..(k + 1) * width];
                let [a, b, c, d] = four;
                let sums = block[..p].iter_mut().zip(a).zip(b).zip(c).zip(d);
                for ((((g, a), b), c), d) in sums {
                    *g += (slope[0] * a + slope[1] * b) + (slope[2] * c + slope[3] * d);
                }
                block[p] += (slope[0] + slope[1]) + (slope[2] + slope[3]);
            }
            at += LANES;
        }
        loss
    }

    /// The second derivatives at `v` over every `stride`-th row, the penalty among them.
    pub(crate) fn hessian(&self, v: &[f64], stride: usize) -> Mat<f64> {
        self.curvature(v, stride, |i, logits, out| self.loss.curvatures(i, logits, out))
    }

    /// The mean products of the columns, with a column of ones behind them, over every `stride`-th row.
    pub(crate) fn gram(&self, stride: usize) -> Mat<f64> {
        let p = self.design.n_cols();
        let n = self.design.n_rows().div_ceil(stride);
        let sums = products(n, p + 1, 1, |at, row, weight| {
            self.design.fill(at * stride, &mut row[..p]);
            row[p] = 1.0;
            weight[0] = self.loss.weight(at * stride);
        });
        &sums[0] * faer::Scale(1.0 / self.mass(stride))
    }

    /// [`Smooth::hessian`] with other second derivatives of the rows, such as their expectations.
    pub(crate) fn curvature(
        &self,
        v: &[f64],
        stride: usize,
        rows: impl Fn(usize, &mut [f64], &mut [f64]) + Sync,
    ) -> Mat<f64> {
        let (p, width, k) = (self.design.n_cols(), self.design.n_cols() + 1, self.loss.n_logits());
        let n = self.design.n_rows().div_ceil(stride);
        let n_pairs = if k == 1 { 1 } else { k * (k - 1) / 2 };
        let sums = products(n, width, n_pairs, |at, row, pairs| {
            let i = at * stride;
            self.design.fill(i, &mut row[..p]);
            row[p] = 1.0;
            let mut few = [0.0; 8];
            let mut many = Vec::new();
            let logits = if k <= few.len() {
                &mut few[..k]
            } else {
                many.resize(k, 0.0);
                &mut many[..]
            };
            for (l, block) in logits.iter_mut().zip(v.chunks_exact(width)) {
                *l = crate::lbfgs::dot(row, block);
            }
            rows(i, logits, pairs);
        });
        let mass = self.mass(stride);
        let mut h = Mat::zeros(k * width, k * width);
        if k == 1 {
            h = &sums[0] * faer::Scale(1.0 / mass);
        } else {
            let pairs = (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b)));
            for ((a, b), sum) in pairs.zip(&sums) {
                for j in 0..width {
                    for i in 0..width {
                        let s = sum[(i, j)] / mass;
                        h[(a * width + i, a * width + j)] += s;
                        h[(b * width + i, b * width + j)] += s;
                        h[(a * width + i, b * width + j)] -= s;
                        h[(b * width + i, a * width + j)] -= s;
                    }
                }
            }
        }
        for block in 0..k {
            for (j, penalty) in self.penalty.iter().enumerate() {
                h[(block * width + j, block * width + j)] += penalty;
            }
        }
        h
    }
}

/// `Σ_i w_i row_i row_iᵀ` of `n` rows for several lists of weights: `fill(i, row, weights)` writes row `i` and its weight
/// in each list.
pub(crate) fn products(
    n: usize,
    width: usize,
    n_lists: usize,
    fill: impl Fn(usize, &mut [f64], &mut [f64]) + Sync,
) -> Vec<Mat<f64>> {
    // Each group of blocks keeps its own sums; fewer groups where the sums are large, so that they stay within 64 MiB.
    // The number depends on the shape alone, since the rounding depends on it.
    let n_blocks = n.div_ceil(BLOCK_ROWS);
    let size = (width * width * n_lists).max(1);
    let n_groups = ((1 << 23) / size).clamp(8, 64).min(n_blocks.max(1));
    let per_group = n_blocks.div_ceil(n_groups);
    let parts: Vec<Vec<f64>> = (0..n_groups)
        .into_par_iter()
        .map(|group| {
            let mut sums = vec![0.0; size];
            let mut block = vec![0.0; BLOCK_ROWS * width];
            let mut scaled = vec![0.0; BLOCK_ROWS * width];
            let mut weights = vec![0.0; BLOCK_ROWS * n_lists];
            for b in group * per_group..((group + 1) * per_group).min(n_blocks) {
                let from = b * BLOCK_ROWS;
                let rows = BLOCK_ROWS.min(n - from);
                for r in 0..rows {
                    let weights = &mut weights[r * n_lists..(r + 1) * n_lists];
                    fill(from + r, &mut block[r * width..(r + 1) * width], weights);
                }
                let of = MatRef::from_row_major_slice(&block[..rows * width], rows, width);
                for (list, sum) in sums.chunks_exact_mut(width * width).enumerate() {
                    for r in 0..rows {
                        let w = weights[r * n_lists + list];
                        let row = &block[r * width..(r + 1) * width];
                        scaled[r * width..(r + 1) * width].iter_mut().zip(row).for_each(|(s, v)| *s = w * v);
                    }
                    let by = MatRef::from_row_major_slice(&scaled[..rows * width], rows, width);
                    let sum = MatMut::from_column_major_slice_mut(sum, width, width);
                    faer_call(|| matmul(sum, Accum::Add, of.transpose(), by, 1.0, Par::Seq));
                }
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; size];
    for part in &parts {
        sums.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    (0..n_lists)
        .map(|list| {
            let sum = &sums[list * width * width..(list + 1) * width * width];
            // The product is symmetric but for rounding; one half stands for both.
            Mat::from_fn(width, width, |i, j| sum[i.max(j) + i.min(j) * width])
        })
        .collect()
}

/// Marks columns that depend on earlier ones as without spread, so that their coefficient is 0.
pub(crate) fn leave_out_dependent(data: &Dataset, weight: &[f64], scaled: &mut Scaled) {
    struct Weights<'a>(&'a [f64]);
    impl RowLoss for Weights<'_> {
        fn weight(&self, i: usize) -> f64 {
            self.0[i]
        }
        fn slopes(&self, _: usize, _: usize, _: &mut [[f64; LANES]]) -> f64 {
            0.0
        }
        fn curvatures(&self, i: usize, _: &mut [f64], out: &mut [f64]) {
            out[0] = self.0[i];
        }
    }
    let p = data.x().n_cols();
    let kept = {
        let design = Design::new(data.x(), scaled);
        let gram = Smooth { design, loss: Weights(weight), penalty: vec![0.0; p] }.gram(1);
        Cholesky::new(&gram).kept
    };
    let mut live = vec![false; p];
    kept.into_iter().filter(|j| *j < p).for_each(|j| live[j] = true);
    scaled.live = live;
}

/// The standard errors of the intercept and the coefficients of every logit, on the scale of the data.
pub(crate) fn standard_errors(
    scaled: &Scaled,
    kept: &[usize],
    covariance: &[f64],
    logits: usize,
) -> Vec<Option<f64>> {
    let width = scaled.sds.len() + 1;
    let rank = kept.len();
    let mut out = vec![None; logits * width];
    for k in 0..logits {
        let own: Vec<usize> = (0..rank).filter(|&a| kept[a] / width == k).collect();
        // The intercept at zero is the value at the means less Σ mean_j / sd_j times the scaled coefficient.
        let pull = |a: usize| match kept[a] % width {
            j if j + 1 == width => 1.0,
            j => -scaled.means[j] / scaled.sds[j],
        };
        let mut of_intercept = 0.0;
        for &a in &own {
            of_intercept += pull(a) * own.iter().map(|&b| covariance[a * rank + b] * pull(b)).sum::<f64>();
            let j = kept[a] % width;
            if j + 1 < width {
                out[k * width + j + 1] = Some(covariance[a * rank + a].max(0.0).sqrt() / scaled.sds[j]);
            }
        }
        out[k * width] = Some(of_intercept.max(0.0).sqrt());
    }
    out
}

/// The products of four rows with `v`, each as four running sums that the processor can hold side by side.
fn dots(rows: [&[f64]; LANES], v: &[f64]) -> [f64; LANES] {
    let mut sums = [[0.0; LANES]; LANES];
    let whole = v.len() / LANES * LANES;
    let [a, b, c, d] = rows.map(|row| row[..whole].chunks_exact(LANES));
    for ((((v, a), b), c), d) in v[..whole].chunks_exact(LANES).zip(a).zip(b).zip(c).zip(d) {
        for l in 0..LANES {
            sums[0][l] += v[l] * a[l];
            sums[1][l] += v[l] * b[l];
            sums[2][l] += v[l] * c[l];
            sums[3][l] += v[l] * d[l];
        }
    }
    std::array::from_fn(|r| {
        let rest: f64 = v[whole..].iter().zip(&rows[r][whole..]).map(|(v, z)| v * z).sum();
        (sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3]) + rest
    })
}
