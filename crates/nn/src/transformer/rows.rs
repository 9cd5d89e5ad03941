//! What is done to rows of numbers between the products: normalisation, activation, softmax, dropout.
//!
//! Loops run over arrays of fixed length where they sum up, so that the compiler can keep many sums at once.

use super::Activation;
use crate::activation::{exp, sigmoid};
use crate::vector::vectorised;
use rayon::prelude::*;

/// Sums that are kept at once.
const LANES: usize = 16;
/// What keeps a variance away from zero, as PyTorch's.
const EPSILON: f32 = 1e-5;

#[inline(always)]
fn total(parts: [f32; LANES]) -> f32 {
    let mut parts = parts;
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for k in 0..n {
            parts[k] += parts[k + n];
        }
    }
    parts[0]
}

/// `Σ f(a, b)`.
#[inline(always)]
pub(crate) fn sum_of(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [0.0; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole.iter().zip(whole_b) {
        for k in 0..LANES {
            parts[k] += f(a[k], b[k]);
        }
    }
    for (k, (a, b)) in rest.iter().zip(rest_b).enumerate() {
        parts[k] += f(*a, *b);
    }
    total(parts)
}

/// `Σ a b`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    vectorised!({ sum_of(a, b, |a, b| a * b) })
}

/// `Σ a`.
pub(crate) fn sum(a: &[f32]) -> f32 {
    vectorised!({ sum_of(a, a, |a, _| a) })
}

/// `to += of`.
pub(crate) fn add(to: &mut [f32], of: &[f32]) {
    vectorised!({ to.iter_mut().zip(of).for_each(|(t, v)| *t += v) });
}

/// Adds each row of `of` to `to`.
pub(crate) fn add_rows(to: &mut [f32], of: &[f32]) {
    vectorised!({
        for row in of.chunks_exact(to.len()) {
            to.iter_mut().zip(row).for_each(|(t, v)| *t += v);
        }
    });
}

/// The sum of lanes of `n` values, in their order.
pub(crate) fn summed(lanes: Vec<Vec<f32>>, n: usize) -> Vec<f32> {
    let mut lanes = lanes.into_iter();
    let mut out = lanes.next().unwrap_or_else(|| vec![0.0; n]);
    let others: Vec<Vec<f32>> = lanes.collect();
    const PART: usize = 16_384;
    out.par_chunks_mut(PART).enumerate().for_each(|(k, out)| {
        for lane in &others {
            add(out, &lane[k * PART..][..out.len()]);
        }
    });
    out
}

/// Layer normalisation (Ba, Kiros and Hinton 2016): `(x - mean) / √(variance + 1e-5) · scale + shift`.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) scale: &'a [f32],
    pub(crate) shift: &'a [f32],
}

/// Mean and one over the deviation.
#[inline(always)]
fn moments(row: &[f32]) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum_of(row, row, |v, _| v) / n;
    let variance = sum_of(row, row, |v, _| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

/// Normalises rows of `x` into `out`.
pub(crate) fn norm(out: &mut [f32], x: &[f32], by: Norm<'_>) {
    let n = by.scale.len();
    vectorised!({
        for (out, x) in out.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
            let (mean, over) = moments(x);
            for (((o, x), s), b) in out.iter_mut().zip(x).zip(by.scale).zip(by.shift) {
                *o = (x - mean) * over * s + b;
            }
        }
    });
}

/// Normalises rows where they are.
pub(crate) fn norm_in_place(x: &mut [f32], by: Norm<'_>) {
    let n = by.scale.len();
    vectorised!({
        for x in x.chunks_exact_mut(n) {
            let (mean, over) = moments(x);
            for ((x, s), b) in x.iter_mut().zip(by.scale).zip(by.shift) {
                *x = (*x - mean) * over * s + b;
            }
        }
    });
}

/// The way back of [`norm`]: `dx` (added if `add`), `dscale +=`, `dshift +=`.
pub(crate) fn norm_back(
    dx: &mut [f32],
    add: bool,
    d: &[f32],
    x: &[f32],
    by: Norm<'_>,
    dscale: &mut [f32],
    dshift: &mut [f32],
) {
    let n = by.scale.len();
    let mut scaled = vec![0.0; n];
    vectorised!({
        for ((dx, d), x) in dx.chunks_exact_mut(n).zip(d.chunks_exact(n)).zip(x.chunks_exact(n)) {
            let (mean, over) = moments(x);
            for ((((t, d), x), (ds, db)), s) in
                scaled.iter_mut().zip(d).zip(x).zip(dscale.iter_mut().zip(dshift.iter_mut())).zip(by.scale)
            {
                *t = d * s;
                *ds += d * (x - mean) * over;
                *db += d;
            }
            let straight = sum_of(&scaled, x, |t, _| t) / n as f32;
            let along = sum_of(&scaled, x, |t, x| t * (x - mean) * over) / n as f32;
            for ((dx, t), x) in dx.iter_mut().zip(&scaled).zip(x) {
                let new = (t - straight - (x - mean) * over * along) * over;
                *dx = if add { *dx + new } else { new };
            }
        }
    });
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut parts = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for part in whole {
        for k in 0..LANES {
            parts[k] = if part[k] > parts[k] { part[k] } else { parts[k] };
        }
    }
    rest.iter().chain(&parts).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Makes scores to shares that sum to one; gives the logarithm of the sum of their exponentials.
pub(crate) fn softmax(row: &mut [f32]) -> f32 {
    vectorised!({
        let top = largest(row);
        for v in row.iter_mut() {
            *v = exp(*v - top);
        }
        let sum = sum_of(row, row, |v, _| v);
        let over = 1.0 / sum;
        row.iter_mut().for_each(|v| *v *= over);
        top + sum.ln()
    })
}

/// The way back of [`softmax`]: `scores` come as they were and go as the shares; `d` comes as the gradient of the shares
/// and goes as that of the scores. `sum` is what [`softmax`] gave, `told` is `Σ share · d`.
pub(crate) fn softmax_back(scores: &mut [f32], d: &mut [f32], sum: f32, told: f32) {
    vectorised!({
        for (s, d) in scores.iter_mut().zip(d) {
            let share = exp(*s - sum);
            *d = share * (*d - told);
            *s = share;
        }
    });
}

/// What is left out while training: decided by a hash of the place, so that the way back leaves out the same without its
/// having been kept, whatever part of a batch is worked on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    /// Places whose hash is below it are left out.
    limit: u32,
    /// What the others are multiplied by.
    kept: f32,
    seed: u64,
}

impl Dropout {
    /// Nothing is left out.
    pub(crate) const NONE: Self = Self { limit: 0, kept: 1.0, seed: 0 };

    /// Leaves out a share `p`, 0 to below 1.
    pub(crate) fn new(p: f64, seed: u64) -> Self {
        if p <= 0.0 {
            return Self::NONE;
        }
        Self { limit: (p * 4_294_967_296.0) as u32, kept: (1.0 / (1.0 - p)) as f32, seed }
    }

    /// For values of which the first has the number `first`.
    pub(crate) fn apply(&self, values: &mut [f32], stream: u32, first: usize) {
        // Whole blocks have a beginning of their own, so that the numbers of places do not run out.
        const BLOCK: usize = 1 << 20;
        let (mut at, mut rest) = (first, values);
        while !rest.is_empty() {
            let n = rest.len().min(BLOCK - at % BLOCK);
            let (part, after) = rest.split_at_mut(n);
            self.from(part, self.begin(stream, (at / BLOCK) as u64), (at % BLOCK) as u32);
            (at, rest) = (at + n, after);
        }
    }

    /// For the values of a row.
    pub(crate) fn apply_row(&self, values: &mut [f32], stream: u32, row: u64) {
        self.from(values, self.begin(stream, row), 0);
    }

    fn begin(&self, stream: u32, row: u64) -> u32 {
        // SplitMix64 (Steele, Lea and Flood 2014).
        let mut z = self.seed ^ (row.wrapping_mul(4) + u64::from(stream)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u32
    }

    fn from(&self, values: &mut [f32], begin: u32, first: u32) {
        if self.limit == 0 {
            return;
        }
        let (limit, kept) = (self.limit, self.kept);
        vectorised!({
            for (k, v) in values.iter_mut().enumerate() {
                // The finaliser of MurmurHash3.
                let mut z = begin.wrapping_add((first + k as u32).wrapping_mul(0x9e37_79b9));
                z = (z ^ (z >> 16)).wrapping_mul(0x85eb_ca6b);
                z = (z ^ (z >> 13)).wrapping_mul(0xc2b2_ae35);
                z ^= z >> 16;
                *v *= if z >= limit { kept } else { 0.0 };
            }
        });
    }
}

/// The error function, within 1.5e-7 (Abramowitz and Stegun 7.1.26), with `e^{-x²}`.
#[inline(always)]
fn erf(x: f32) -> (f32, f32) {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let bell = exp(-x * x);
    let series =
        ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t;
    ((1.0 - series * bell).copysign(x), bell)
}

/// `x Φ(x)` and its slope.
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let (erf, bell) = erf(x * std::f32::consts::FRAC_1_SQRT_2);
    let below = 0.5 * (1.0 + erf);
    // 1 / √(2π)
    (x * below, below + x * bell * 0.398_942_3)
}

impl Activation {
    /// `out = f(x)`.
    pub(crate) fn forward(self, out: &mut [f32], x: &[f32]) {
        vectorised!({
            let both = out.iter_mut().zip(x);
            match self {
                // What is not a number stays so, as everywhere.
                Self::Relu => both.for_each(|(o, x)| *o = if *x < 0.0 { 0.0 } else { *x }),
                Self::Gelu => both.for_each(|(o, x)| *o = gelu(*x).0),
                Self::Silu => both.for_each(|(o, x)| *o = x * sigmoid(*x)),
            }
        });
    }

    /// `d *= f'(x)`.
    pub(super) fn backward(self, d: &mut [f32], x: &[f32]) {
        vectorised!({
            let both = d.iter_mut().zip(x);
            match self {
                Self::Relu => both.for_each(|(d, x)| *d = if *x <= 0.0 { 0.0 } else { *d }),
                Self::Gelu => both.for_each(|(d, x)| *d *= gelu(*x).1),
                Self::Silu => both.for_each(|(d, x)| {
                    let s = sigmoid(*x);
                    *d *= s * (1.0 + x * (1.0 - s));
                }),
            }
        });
    }
}
