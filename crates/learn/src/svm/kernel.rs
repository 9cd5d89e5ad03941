//! Kernels, and the rows of products that the solver asks for again and again.

use super::wide::{self, LANES};
use crate::matrix::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Products in a row from which on several threads work on it.
const PARALLEL_PRODUCTS: usize = 1 << 19;

/// How alike two rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// `exp(−gamma |a − b|²)`.
    #[default]
    Rbf,
    /// `a·b`.
    Linear,
    /// `(gamma a·b + coef0)^degree`.
    Poly,
    /// `tanh(gamma a·b + coef0)`.
    Sigmoid,
}

impl Kernel {
    /// The words, as typed by people.
    pub const WORDS: &'static [&'static str] = &["rbf", "linear", "poly", "sigmoid"];
}

/// A kernel with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Form {
    pub(super) kernel: Kernel,
    pub(super) gamma: f64,
    pub(super) degree: u32,
    pub(super) coef0: f64,
}

/// Rows in panels of [`LANES`], column by column inside a panel, with their squared lengths. The last panel is filled
/// with zeros.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    p: usize,
    values: Vec<f64>,
    norms: Vec<f64>,
}

impl Panels {
    pub(super) fn new(x: &Matrix, rows: &[usize]) -> Self {
        let p = x.n_cols();
        let padded = rows.len().div_ceil(LANES) * LANES;
        let mut values = vec![0.0; padded * p];
        let mut norms = vec![0.0; padded];
        for (k, &i) in rows.iter().enumerate() {
            let base = k / LANES * LANES * p + k % LANES;
            // Summed as products are, so that the distance of a row from itself is zero.
            let mut norm = 0.0;
            for (j, &v) in x.row(i).iter().enumerate() {
                values[base + j * LANES] = v;
                norm += v * v;
            }
            norms[k] = norm;
        }
        Self { p, values, norms }
    }

    /// Rows, those of zeros at the end included.
    pub(super) fn len(&self) -> usize {
        self.norms.len()
    }

    fn row(&self, k: usize) -> Vec<f64> {
        let base = k / LANES * LANES * self.p + k % LANES;
        (0..self.p).map(|j| self.values[base + j * LANES]).collect()
    }

    fn swap(&mut self, a: usize, b: usize) {
        let base = |k: usize| k / LANES * LANES * self.p + k % LANES;
        let (base_a, base_b) = (base(a), base(b));
        for j in 0..self.p {
            self.values.swap(base_a + j * LANES, base_b + j * LANES);
        }
        self.norms.swap(a, b);
    }

    /// The kernel of `q` with the rows of whole panels from row `from` to row `to`, both multiples of [`LANES`].
    pub(super) fn kernels(&self, form: &Form, q: &[f64], from: usize, to: usize, out: &mut Vec<f64>) {
        out.clear();
        out.resize(to - from, 0.0);
        let q_norm = q.iter().fold(0.0, |sum, v| sum + v * v);
        let part = |from: usize, out: &mut [f64]| {
            let to = from + out.len();
            wide::products(&self.values[from * self.p..to * self.p], q, out);
            form.finish(out, &self.norms[from..to], q_norm);
        };
        let chunk = (PARALLEL_PRODUCTS / 8 / self.p.max(1)).div_ceil(LANES) * LANES;
        if (to - from) * self.p < PARALLEL_PRODUCTS {
            part(from, out);
        } else {
            out.par_chunks_mut(chunk).enumerate().for_each(|(c, out)| part(from + c * chunk, out));
        }
    }
}

impl Form {
    /// From products to kernels.
    fn finish(&self, products: &mut [f64], norms: &[f64], q_norm: f64) {
        match self.kernel {
            Kernel::Linear => {}
            Kernel::Rbf => wide::gaussians(products, norms, q_norm, self.gamma),
            Kernel::Poly => {
                let degree = self.degree as i32;
                products.iter_mut().for_each(|v| *v = (self.gamma * *v + self.coef0).powi(degree));
            }
            Kernel::Sigmoid => {
                products.iter_mut().for_each(|v| *v = (self.gamma * *v + self.coef0).tanh());
            }
        }
    }

    /// The kernel of a row with itself.
    fn own(&self, norm: f64) -> f64 {
        let mut one = [norm];
        self.finish(&mut one, &[norm], norm);
        one[0]
    }
}

/// The matrix of kernels as the solver sees it: rows are formed when asked for and kept, the longest unused going
/// first, up to a number of bytes.
///
/// For regression every row stands twice (`index`), once for each side of the tube; rows are then kept by point and
/// copied out in the solver's order.
pub(super) struct Gram {
    form: Form,
    panels: Panels,
    /// Points.
    n: usize,
    rows: Vec<Vec<f32>>,
    stamps: Vec<u64>,
    clock: u64,
    held: usize,
    limit: usize,
    index: Option<Vec<usize>>,
    copies: [Vec<f32>; 2],
    at: [usize; 2],
    buffer: Vec<f64>,
}

impl Gram {
    pub(super) fn new(form: Form, x: &Matrix, rows: &[usize], cache_mb: f64, twice: bool) -> Self {
        let n = rows.len();
        // At least two rows, which one step needs at a time.
        let limit = ((cache_mb * 1_048_576.0 / 4.0) as usize).max(2 * (n + LANES));
        Self {
            form,
            panels: Panels::new(x, rows),
            n,
            rows: vec![Vec::new(); n],
            stamps: vec![0; n],
            clock: 0,
            held: 0,
            limit,
            index: twice.then(|| (0..n).chain(0..n).collect()),
            copies: [Vec::new(), Vec::new()],
            at: [usize::MAX; 2],
            buffer: Vec::new(),
        }
    }

    /// The kernels of every position with itself.
    pub(super) fn diagonal(&self) -> Vec<f64> {
        let own: Vec<f64> = self.panels.norms[..self.n].iter().map(|n| self.form.own(*n)).collect();
        match &self.index {
            None => own,
            Some(index) => index.iter().map(|&i| own[i]).collect(),
        }
    }

    /// Makes the first `len` kernels of position `i` ready in `slot` 0 or 1; the other slot stays ready.
    pub(super) fn load(&mut self, slot: usize, i: usize, len: usize) {
        let Some(index) = self.index.take() else {
            self.at[slot] = i;
            self.ready(i, len, self.at[1 - slot]);
            return;
        };
        let point = index[i];
        self.ready(point, self.n, usize::MAX);
        let copy = &mut self.copies[slot];
        copy.clear();
        let row = &self.rows[point];
        copy.extend(index[..len].iter().map(|&k| row[k]));
        self.index = Some(index);
    }

    /// What was made ready in `slot`.
    pub(super) fn get(&self, slot: usize) -> &[f32] {
        if self.index.is_some() { &self.copies[slot] } else { &self.rows[self.at[slot]] }
    }

    fn ready(&mut self, i: usize, len: usize, keep: usize) {
        self.clock += 1;
        self.stamps[i] = self.clock;
        let have = self.rows[i].len();
        if have >= len {
            return;
        }
        // Whole panels; the lanes behind `len` are right too.
        let to = len.div_ceil(LANES) * LANES;
        while self.held + to - have > self.limit {
            let oldest = (0..self.n)
                .filter(|&k| k != i && k != keep && !self.rows[k].is_empty())
                .min_by_key(|&k| self.stamps[k]);
            let Some(oldest) = oldest else { break };
            self.drop_row(oldest);
        }
        let q = self.panels.row(i);
        self.panels.kernels(&self.form, &q, have, to, &mut self.buffer);
        let row = &mut self.rows[i];
        row.resize(to, 0.0);
        wide::shorten(&self.buffer, &mut row[have..]);
        self.held += to - have;
    }

    fn drop_row(&mut self, k: usize) {
        self.held -= self.rows[k].len();
        self.rows[k] = Vec::new();
    }

    /// Lets two positions change places.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if let Some(index) = &mut self.index {
            index.swap(a, b);
            return;
        }
        let (a, b) = (a.min(b), a.max(b));
        self.panels.swap(a, b);
        self.rows.swap(a, b);
        self.stamps.swap(a, b);
        for k in 0..self.n {
            let len = self.rows[k].len();
            if len > b {
                self.rows[k].swap(a, b);
            } else if len > a {
                // It holds one of the two only; forming it again is cheaper than finding the other.
                self.drop_row(k);
            }
        }
    }
}
