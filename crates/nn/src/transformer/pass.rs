//! One layer of a Transformer over sequences that lie one after the other, forward and back, on plain slices.
//!
//! ```text
//! before:  y = x + drop(attend(norm x))        z = y + drop(feed(norm y))
//! after:   y = norm(x + drop(attend x))        z = norm(y + drop(feed y))
//! feed v = drop(act(v W₁ᵀ + b₁)) W₂ᵀ + b₂
//! ```
//!
//! Padding never enters. Parts of whole sequences go through the layer by themselves, on as many threads as there are;
//! their gradients of the weights are summed in lanes, whose number the batch decides and not the threads, so threads
//! change no bit. What attention has weighed is not kept but worked out again on the way back.

use super::Shape;
use super::attention::{self, Among, Heads};
use super::rows::{self, Dropout, Norm};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Tokens from which on a part is full.
pub(super) const PART: usize = 384;
/// Gradients of the weights that are summed side by side, at most.
pub(super) const LANES: usize = 8;

/// How a layer goes over a batch.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    /// Where each sequence begins, and the end of the last.
    pub(super) offsets: Arc<[usize]>,
    /// The share that is left out, and what decides which.
    pub(super) dropout: Dropout,
}

impl Plan {
    pub(super) fn tokens(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Whole sequences that go together, as positions in `offsets`.
    fn parts(&self) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        let mut first = 0;
        for s in 1..self.offsets.len() {
            if self.offsets[s] - self.offsets[first] >= PART || s + 1 == self.offsets.len() {
                out.push(first..s);
                first = s;
            }
        }
        out
    }

    fn tokens_of(&self, part: &Range<usize>) -> Range<usize> {
        self.offsets[part.start]..self.offsets[part.end]
    }
}

/// The weights of a layer, one after the other as [`Shape::parts`] has them.
#[derive(Clone, Copy)]
struct Weights<'a> {
    qkv: &'a [f32],
    qkv_bias: &'a [f32],
    out: &'a [f32],
    out_bias: &'a [f32],
    up: &'a [f32],
    up_bias: &'a [f32],
    down: &'a [f32],
    down_bias: &'a [f32],
    norm1: Norm<'a>,
    norm2: Norm<'a>,
}

impl<'a> Weights<'a> {
    fn of(flat: &'a [f32], shape: &Shape) -> Self {
        let mut rest = flat;
        let [qkv, qkv_bias, out, out_bias, up, up_bias, down, down_bias, g1, b1, g2, b2] =
            shape.parts().map(|n| {
                let (part, after) = rest.split_at(n);
                rest = after;
                part
            });
        Self {
            qkv,
            qkv_bias,
            out,
            out_bias,
            up,
            up_bias,
            down,
            down_bias,
            norm1: Norm { scale: g1, shift: b1 },
            norm2: Norm { scale: g2, shift: b2 },
        }
    }
}

/// What the way back needs of a forward pass, `[tokens, …]` each.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What the first normalisation took; empty where that is the layer's input.
    first: Vec<f32>,
    /// What the second took.
    second: Vec<f32>,
    qkv: Vec<f32>,
    /// What attention gave, before it is projected.
    attended: Vec<f32>,
    /// The logarithm of each row's sum of exponentials, for each head.
    sums: Vec<f32>,
    /// What the activation took.
    up: Vec<f32>,
}

pub(super) fn matrix(of: &[f32], columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(of, of.len() / columns, columns)
}

pub(super) fn matrix_mut(of: &mut [f32], columns: usize) -> MatMut<'_, f32> {
    let rows = of.len() / columns;
    MatMut::from_row_major_slice_mut(of, rows, columns)
}

/// `out = x wᵀ + bias`; `w` has a row for each column of `out`.
pub(super) fn dense(out: &mut [f32], x: &[f32], w: &[f32], bias: &[f32]) {
    let (to, from) = (bias.len(), w.len() / bias.len());
    out.chunks_exact_mut(to).for_each(|row| row.copy_from_slice(bias));
    matmul(matrix_mut(out, to), Accum::Add, matrix(x, from), matrix(w, from).transpose(), 1.0, Par::Seq);
}

/// The way back of [`dense`]: `dx = d w` (added if `add`), `dw += dᵀ x`, `dbias += Σ d`.
pub(super) fn dense_back(
    dx: &mut [f32],
    add: bool,
    d: &[f32],
    x: &[f32],
    w: &[f32],
    dw: &mut [f32],
    dbias: &mut [f32],
) {
    let (to, from) = (dbias.len(), w.len() / dbias.len());
    let accum = if add { Accum::Add } else { Accum::Replace };
    matmul(matrix_mut(dx, from), accum, matrix(d, to), matrix(w, from), 1.0, Par::Seq);
    matmul(matrix_mut(dw, from), Accum::Add, matrix(d, to).transpose(), matrix(x, from), 1.0, Par::Seq);
    rows::add_rows(dbias, d);
}

/// Cuts `of` where the parts end; it has `each` values a token.
pub(super) fn cut<'a>(mut of: &'a mut [f32], parts: &[usize], each: usize) -> Vec<&'a mut [f32]> {
    parts
        .iter()
        .map(|tokens| {
            let (part, rest) = std::mem::take(&mut of).split_at_mut(tokens * each);
            of = rest;
            part
        })
        .collect()
}

/// The streams of dropout within a layer.
pub(super) const ON_WEIGHTS: u32 = 0;
pub(super) const ON_ATTENDED: u32 = 1;
pub(super) const ON_INNER: u32 = 2;
pub(super) const ON_FED: u32 = 3;

/// Forward; `keep` says whether the way back will be asked for.
pub(super) fn forward(plan: &Plan, x: &[f32], flat: &[f32], keep: bool) -> (Vec<f32>, Kept) {
    let (shape, w) = (&plan.shape, Weights::of(flat, &plan.shape));
    let (d, inner, n) = (shape.width, shape.inner, plan.tokens());
    let parts = plan.parts();
    let sizes: Vec<usize> = parts.iter().map(|p| plan.tokens_of(p).len()).collect();
    let kept_first = if shape.norm_before { 0 } else { n * d };
    let mut z = vec![0.0; n * d];
    let mut kept = Kept::default();
    if keep {
        kept = Kept {
            first: vec![0.0; kept_first],
            second: vec![0.0; n * d],
            qkv: vec![0.0; n * 3 * d],
            attended: vec![0.0; n * d],
            sums: vec![0.0; n * shape.heads],
            up: vec![0.0; n * inner],
        };
    }
    /// What a part writes: the answer, and what is kept (nothing, where the way back will not be asked for).
    struct Part<'a> {
        sequences: Range<usize>,
        z: &'a mut [f32],
        kept: [&'a mut [f32]; 6],
    }
    let mut columns: Vec<_> = {
        let widths = [if kept_first > 0 { d } else { 0 }, d, 3 * d, d, shape.heads, inner];
        let all = [
            &mut kept.first,
            &mut kept.second,
            &mut kept.qkv,
            &mut kept.attended,
            &mut kept.sums,
            &mut kept.up,
        ];
        all.into_iter()
            .zip(widths)
            .map(|(of, each)| cut(of, &sizes, if keep { each } else { 0 }).into_iter())
            .collect()
    };
    let work: Vec<Part<'_>> = parts
        .into_iter()
        .zip(cut(&mut z, &sizes, d))
        .map(|(sequences, z)| Part {
            sequences,
            z,
            kept: std::array::from_fn(|k| columns[k].next().unwrap_or_default()),
        })
        .collect();
    work.into_par_iter().for_each(|Part { sequences, z, kept }| {
        let tokens = plan.tokens_of(&sequences);
        let n = tokens.len();
        let x = &x[tokens.start * d..tokens.end * d];
        let drop = |values: &mut [f32], stream: u32, each: usize| {
            plan.dropout.apply(values, stream, tokens.start * each);
        };
        let mut own: [Vec<f32>; 5] = Default::default();
        let [first, second, qkv, attended, sums, up] = kept;
        let [second, qkv, attended, sums, up] = if keep {
            [second, qkv, attended, sums, up]
        } else {
            let widths = [d, 3 * d, d, shape.heads, inner];
            own.iter_mut().zip(widths).for_each(|(own, each)| *own = vec![0.0; n * each]);
            own.each_mut().map(|own| &mut own[..])
        };
        let mut v = vec![0.0; n * d];
        if shape.norm_before {
            rows::norm(&mut v, x, w.norm1);
            dense(qkv, &v, w.qkv, w.qkv_bias);
        } else {
            dense(qkv, x, w.qkv, w.qkv_bias);
        }
        let heads = Heads::of(shape, plan.dropout, ON_WEIGHTS);
        for s in sequences.clone() {
            let here = plan.offsets[s] - tokens.start..plan.offsets[s + 1] - tokens.start;
            attention::forward(&heads, &Among::themselves(here, tokens.start), qkv, qkv, attended, sums);
        }
        // The branch's end, and where it joins.
        dense(&mut v, attended, w.out, w.out_bias);
        drop(&mut v, ON_ATTENDED, d);
        rows::add(&mut v, x);
        if !shape.norm_before {
            if keep {
                first.copy_from_slice(&v);
            }
            rows::norm_in_place(&mut v, w.norm1);
        }
        // `v` is y from here on.
        if shape.norm_before {
            rows::norm(z, &v, w.norm2);
            dense(up, z, w.up, w.up_bias);
        } else {
            dense(up, &v, w.up, w.up_bias);
        }
        let mut active = vec![0.0; n * inner];
        shape.activation.forward(&mut active, up);
        drop(&mut active, ON_INNER, inner);
        dense(z, &active, w.down, w.down_bias);
        drop(z, ON_FED, d);
        rows::add(z, &v);
        if shape.norm_before {
            if keep {
                second.copy_from_slice(&v);
            }
        } else {
            if keep {
                second.copy_from_slice(z);
            }
            rows::norm_in_place(z, w.norm2);
        }
    });
    (z, kept)
}

/// Back: the gradients of the input and of the weights.
pub(super) fn backward(
    plan: &Plan,
    x: &[f32],
    flat: &[f32],
    kept: &Kept,
    dz: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let shape = &plan.shape;
    let d = shape.width;
    let parts = plan.parts();
    let sizes: Vec<usize> = parts.iter().map(|p| plan.tokens_of(p).len()).collect();
    let mut dx = vec![0.0; plan.tokens() * d];
    let work: Vec<(Range<usize>, &mut [f32])> = parts.into_iter().zip(cut(&mut dx, &sizes, d)).collect();
    // Lanes of neighbouring parts, which one after the other add to the lane's gradients.
    let each = work.len().div_ceil(LANES).max(1);
    let mut lanes: Vec<Vec<(Range<usize>, &mut [f32])>> = Vec::new();
    for (k, part) in work.into_iter().enumerate() {
        if k % each == 0 {
            lanes.push(Vec::new());
        }
        if let Some(lane) = lanes.last_mut() {
            lane.push(part);
        }
    }
    let of_lanes: Vec<Vec<f32>> = lanes
        .into_par_iter()
        .map(|lane| {
            let mut gradient = vec![0.0; flat.len()];
            for (sequences, dx) in lane {
                back_part(plan, x, flat, kept, dz, sequences, dx, &mut gradient);
            }
            gradient
        })
        .collect();
    (dx, rows::summed(of_lanes, flat.len()))
}

#[expect(clippy::too_many_arguments, reason = "each is a slice of its own")]
fn back_part(
    plan: &Plan,
    x: &[f32],
    flat: &[f32],
    kept: &Kept,
    dz: &[f32],
    sequences: Range<usize>,
    dx: &mut [f32],
    gradient: &mut [f32],
) {
    let (shape, w) = (&plan.shape, Weights::of(flat, &plan.shape));
    let (d, inner) = (shape.width, shape.inner);
    let tokens = plan.tokens_of(&sequences);
    let n = tokens.len();
    let of = |all: &'_ [f32], each: usize| -> Range<usize> {
        debug_assert!(all.len() >= tokens.end * each);
        tokens.start * each..tokens.end * each
    };
    let (x, dz) = (&x[of(x, d)], &dz[of(dz, d)]);
    let (qkv, attended) = (&kept.qkv[of(&kept.qkv, 3 * d)], &kept.attended[of(&kept.attended, d)]);
    let (sums, up) = (&kept.sums[of(&kept.sums, shape.heads)], &kept.up[of(&kept.up, inner)]);
    let second = &kept.second[of(&kept.second, d)];
    let drop = |values: &mut [f32], stream: u32, each: usize| {
        plan.dropout.apply(values, stream, tokens.start * each);
    };
    let mut rest = gradient;
    let [dqkv_w, dqkv_b, dout_w, dout_b, dup_w, dup_b, ddown_w, ddown_b, dg1, db1, dg2, db2] =
        shape.parts().map(|n| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(n);
            rest = after;
            part
        });
    let mut active = vec![0.0; n * inner];
    shape.activation.forward(&mut active, up);
    drop(&mut active, ON_INNER, inner);
    // `dy` gathers the gradient of y, the stream between the two branches.
    let mut dy = vec![0.0; n * d];
    if shape.norm_before {
        dy.copy_from_slice(dz);
    } else {
        rows::norm_back(&mut dy, false, dz, second, w.norm2, dg2, db2);
    }
    let mut fed = dy.clone();
    drop(&mut fed, ON_FED, d);
    let mut dup = vec![0.0; n * inner];
    dense_back(&mut dup, false, &fed, &active, w.down, ddown_w, ddown_b);
    drop(&mut dup, ON_INNER, inner);
    shape.activation.backward(&mut dup, up);
    // The input of the feed-forward branch, and its gradient.
    let mut v = active;
    v.resize(n * d, 0.0);
    v.truncate(n * d);
    let mut branch = fed;
    if shape.norm_before {
        rows::norm(&mut v, second, w.norm2);
        dense_back(&mut branch, false, &dup, &v, w.up, dup_w, dup_b);
        rows::norm_back(&mut dy, true, &branch, second, w.norm2, dg2, db2);
    } else {
        let first = &kept.first[of(&kept.first, d)];
        rows::norm(&mut v, first, w.norm1);
        dense_back(&mut dy, true, &dup, &v, w.up, dup_w, dup_b);
        // `dy` is now the gradient of y; `branch` becomes that of what the first normalisation took.
        rows::norm_back(&mut branch, false, &dy, first, w.norm1, dg1, db1);
        dy.copy_from_slice(&branch);
    }
    dx.copy_from_slice(&dy);
    drop(&mut dy, ON_ATTENDED, d);
    let mut dattended = branch;
    dense_back(&mut dattended, false, &dy, attended, w.out, dout_w, dout_b);
    let mut dqkv = vec![0.0; n * 3 * d];
    let heads = Heads::of(shape, plan.dropout, ON_WEIGHTS);
    for s in sequences {
        let here = plan.offsets[s] - tokens.start..plan.offsets[s + 1] - tokens.start;
        let among = Among::themselves(here, tokens.start);
        attention::backward(&heads, &among, qkv, qkv, attended, sums, &dattended, &mut dqkv, None);
    }
    if shape.norm_before {
        rows::norm(&mut v, x, w.norm1);
        dense_back(&mut dy, false, &dqkv, &v, w.qkv, dqkv_w, dqkv_b);
        rows::norm_back(dx, true, &dy, x, w.norm1, dg1, db1);
    } else {
        dense_back(dx, true, &dqkv, x, w.qkv, dqkv_w, dqkv_b);
    }
}
