//! One layer of a decoder, forward and back, on plain slices: three branches on a stream of tokens.
//!
//! ```text
//! branches: attend to themselves (those before), attend to memory, feed
//! before:  y_b = y_{b-1} + drop(branch_b(norm_b y_{b-1}))       t_b = y_{b-1}        y_0 = x
//! after:   y_b = norm_b(y_{b-1} + drop(branch_b y_{b-1}))       t_b = y_{b-1} + …
//! ```
//!
//! Of the stream only `t_b` is kept, what each normalisation took; all else follows from it. Parts and lanes are as those of
//! the [encoder](super::super::pass).

use super::super::Shape;
use super::super::attention::{self, Among, Heads};
use super::super::pass::{LANES, ON_ATTENDED, ON_FED, ON_INNER, ON_WEIGHTS, PART};
use super::super::pass::{cut, dense, dense_back};
use super::super::rows::{self, Dropout, Norm};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// How a layer goes over a batch.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    /// Where each sequence begins, and the end of the last: of the tokens, and of what they are told by.
    pub(super) offsets: Arc<[usize]>,
    pub(super) memory: Arc<[usize]>,
    /// The share that is left out, and what decides which.
    pub(super) dropout: Dropout,
    /// The same of the attention to memory.
    pub(super) across: Dropout,
}

impl Plan {
    fn tokens(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Whole sequences that go together.
    fn parts(&self) -> Vec<Range<usize>> {
        let size = |s: usize| self.offsets[s] + self.memory[s];
        let mut out = Vec::new();
        let mut first = 0;
        for s in 1..self.offsets.len() {
            if size(s) - size(first) >= PART || s + 1 == self.offsets.len() {
                out.push(first..s);
                first = s;
            }
        }
        out
    }

    fn tokens_of(&self, part: &Range<usize>) -> Range<usize> {
        self.offsets[part.start]..self.offsets[part.end]
    }

    fn memory_of(&self, part: &Range<usize>) -> Range<usize> {
        self.memory[part.start]..self.memory[part.end]
    }

    /// Where the tokens of a sequence and its memory lie among those of its part.
    fn within(&self, part: &Range<usize>, sequence: usize) -> (Range<usize>, Range<usize>) {
        let (tokens, memory) = (self.offsets[part.start], self.memory[part.start]);
        let own = self.offsets[sequence] - tokens..self.offsets[sequence + 1] - tokens;
        let seen = self.memory[sequence] - memory..self.memory[sequence + 1] - memory;
        (own, seen)
    }
}

/// How many numbers each weight of a layer has: the encoder's, then attention to memory and the third normalisation.
pub(super) fn parts_of(shape: &Shape) -> [usize; 18] {
    let d = shape.width;
    let [a, b, c, e, f, g, h, i, j, k, l, m] = shape.parts();
    [a, b, c, e, f, g, h, i, j, k, l, m, 3 * d * d, 3 * d, d * d, d, d, d]
}

/// The weights of a layer, one after the other as [`parts_of`] has them.
struct Weights<'a> {
    qkv: &'a [f32],
    qkv_bias: &'a [f32],
    out: [&'a [f32]; 2],
    out_bias: [&'a [f32]; 2],
    up: &'a [f32],
    up_bias: &'a [f32],
    down: &'a [f32],
    down_bias: &'a [f32],
    /// Of attention to memory: the query, then key and value.
    query: &'a [f32],
    query_bias: &'a [f32],
    kv: &'a [f32],
    kv_bias: &'a [f32],
    norms: [Norm<'a>; 3],
}

impl<'a> Weights<'a> {
    fn of(flat: &'a [f32], shape: &Shape) -> Self {
        let d = shape.width;
        let mut rest = flat;
        let [
            qkv,
            qkv_bias,
            o1,
            ob1,
            up,
            up_bias,
            down,
            down_bias,
            g1,
            b1,
            g2,
            b2,
            across,
            across_bias,
            o2,
            ob2,
            g3,
            b3,
        ] = parts_of(shape).map(|n| {
            let (part, after) = rest.split_at(n);
            rest = after;
            part
        });
        let ((query, kv), (query_bias, kv_bias)) = (across.split_at(d * d), across_bias.split_at(d));
        let norms = [(g1, b1), (g2, b2), (g3, b3)].map(|(scale, shift)| Norm { scale, shift });
        Self {
            qkv,
            qkv_bias,
            out: [o1, o2],
            out_bias: [ob1, ob2],
            up,
            up_bias,
            down,
            down_bias,
            query,
            query_bias,
            kv,
            kv_bias,
            norms,
        }
    }
}

/// What the way back needs of a forward pass, part by part.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<Part>);

/// Of some sequences, `[tokens, …]` each.
#[derive(Debug, Default)]
struct Part {
    /// What each normalisation took; the first is empty where that is the layer's input.
    taken: [Vec<f32>; 3],
    qkv: Vec<f32>,
    query: Vec<f32>,
    /// `[memory tokens, 2 · width]`.
    kv: Vec<f32>,
    /// What each attention gave, before it is projected.
    attended: [Vec<f32>; 2],
    /// The logarithm of each row's sum of exponentials, for each head.
    sums: [Vec<f32>; 2],
    /// What the activation took.
    up: Vec<f32>,
}

/// Forward; `keep` says whether the way back will be asked for.
pub(super) fn forward(plan: &Plan, x: &[f32], memory: &[f32], flat: &[f32], keep: bool) -> (Vec<f32>, Kept) {
    let d = plan.shape.width;
    let parts = plan.parts();
    let sizes: Vec<usize> = parts.iter().map(|p| plan.tokens_of(p).len()).collect();
    let mut z = vec![0.0; plan.tokens() * d];
    let work: Vec<_> = parts.into_iter().zip(cut(&mut z, &sizes, d)).collect();
    let kept = work.into_par_iter().map(|(sequences, z)| {
        let part = forward_part(plan, x, memory, flat, &sequences, z);
        if keep { part } else { Part::default() }
    });
    let kept = Kept(kept.collect());
    (z, kept)
}

fn forward_part(
    plan: &Plan,
    x: &[f32],
    memory: &[f32],
    flat: &[f32],
    sequences: &Range<usize>,
    y: &mut [f32],
) -> Part {
    let (shape, w) = (&plan.shape, Weights::of(flat, &plan.shape));
    let (d, tokens, seen) = (shape.width, plan.tokens_of(sequences), plan.memory_of(sequences));
    let (n, m) = (tokens.len(), seen.len());
    let memory = &memory[seen.start * d..seen.end * d];
    let mut kept = Part {
        qkv: vec![0.0; n * 3 * d],
        query: vec![0.0; n * d],
        kv: vec![0.0; m * 2 * d],
        attended: [vec![0.0; n * d], vec![0.0; n * d]],
        sums: [vec![0.0; n * shape.heads], vec![0.0; n * shape.heads]],
        up: vec![0.0; n * shape.inner],
        ..Part::default()
    };
    y.copy_from_slice(&x[tokens.start * d..tokens.end * d]);
    // What goes into a branch, and what comes out of it.
    let (mut v, mut told) = (vec![0.0; n * d], vec![0.0; n * d]);
    for branch in 0..3 {
        if shape.norm_before {
            rows::norm(&mut v, y, w.norms[branch]);
            if branch > 0 {
                kept.taken[branch] = y.to_vec();
            }
        } else {
            v.copy_from_slice(y);
        }
        if branch == 2 {
            dense(&mut kept.up, &v, w.up, w.up_bias);
            let mut active = vec![0.0; n * shape.inner];
            shape.activation.forward(&mut active, &kept.up);
            plan.dropout.apply(&mut active, ON_INNER, tokens.start * shape.inner);
            dense(&mut told, &active, w.down, w.down_bias);
            plan.dropout.apply(&mut told, ON_FED, tokens.start * d);
        } else {
            let heads = heads(plan, branch);
            if branch == 0 {
                dense(&mut kept.qkv, &v, w.qkv, w.qkv_bias);
            } else {
                dense(&mut kept.query, &v, w.query, w.query_bias);
                dense(&mut kept.kv, memory, w.kv, w.kv_bias);
            }
            let (attended, sums) = (&mut kept.attended[branch], &mut kept.sums[branch]);
            for s in sequences.clone() {
                let (own, seen) = plan.within(sequences, s);
                if branch == 0 {
                    let among = Among::themselves(own, tokens.start);
                    attention::forward(&heads, &among, &kept.qkv, &kept.qkv, attended, sums);
                } else {
                    let among = Among { queries: own, keys: seen, first: tokens.start };
                    attention::forward(&heads, &among, &kept.query, &kept.kv, attended, sums);
                }
            }
            dense(&mut told, attended, w.out[branch], w.out_bias[branch]);
            dropout(plan, branch).apply(&mut told, ON_ATTENDED, tokens.start * d);
        }
        rows::add(y, &told);
        if !shape.norm_before {
            kept.taken[branch] = y.to_vec();
            rows::norm_in_place(y, w.norms[branch]);
        }
    }
    kept
}

fn dropout(plan: &Plan, branch: usize) -> Dropout {
    if branch == 0 { plan.dropout } else { plan.across }
}

fn heads(plan: &Plan, branch: usize) -> Heads {
    let of = if branch == 0 { Heads::of } else { Heads::across };
    of(&plan.shape, dropout(plan, branch), ON_WEIGHTS)
}

/// Back: the gradients of the input, of the memory and of the weights.
pub(super) fn backward(
    plan: &Plan,
    x: &[f32],
    memory: &[f32],
    flat: &[f32],
    kept: &Kept,
    dz: &[f32],
) -> [Vec<f32>; 3] {
    let d = plan.shape.width;
    let parts = plan.parts();
    let sizes: Vec<usize> = parts.iter().map(|p| plan.tokens_of(p).len()).collect();
    let seen: Vec<usize> = parts.iter().map(|p| plan.memory_of(p).len()).collect();
    let (mut dx, mut dmemory) = (vec![0.0; x.len()], vec![0.0; memory.len()]);
    let slopes = cut(&mut dx, &sizes, d).into_iter().zip(cut(&mut dmemory, &seen, d));
    let mut work: Vec<_> = parts.into_iter().zip(&kept.0).zip(slopes).collect();
    // Lanes of neighbouring parts, which one after the other add to the lane's gradients.
    let each = work.len().div_ceil(LANES).max(1);
    let of_lanes: Vec<Vec<f32>> = work
        .par_chunks_mut(each)
        .map(|lane| {
            let mut gradient = vec![0.0; flat.len()];
            for ((sequences, kept), (dx, dmemory)) in lane {
                dx.copy_from_slice(&dz[plan.offsets[sequences.start] * d..plan.offsets[sequences.end] * d]);
                back_part(plan, x, memory, flat, kept, sequences, dx, dmemory, &mut gradient);
            }
            gradient
        })
        .collect();
    drop(work);
    [dx, dmemory, rows::summed(of_lanes, flat.len())]
}

/// `dy` comes as the gradient of the answer and goes as that of the input.
#[expect(clippy::too_many_arguments, reason = "each is a slice of its own")]
fn back_part(
    plan: &Plan,
    x: &[f32],
    memory: &[f32],
    flat: &[f32],
    kept: &Part,
    sequences: &Range<usize>,
    dy: &mut [f32],
    dmemory: &mut [f32],
    gradient: &mut [f32],
) {
    let (shape, w) = (&plan.shape, Weights::of(flat, &plan.shape));
    let (d, tokens, seen) = (shape.width, plan.tokens_of(sequences), plan.memory_of(sequences));
    let n = tokens.len();
    let (x, memory) = (&x[tokens.start * d..tokens.end * d], &memory[seen.start * d..seen.end * d]);
    let mut rest = gradient;
    let [
        dqkv_w,
        dqkv_b,
        do1,
        dob1,
        dup_w,
        dup_b,
        ddown_w,
        ddown_b,
        dg1,
        db1,
        dg2,
        db2,
        dacross,
        dacross_b,
        do2,
        dob2,
        dg3,
        db3,
    ] = parts_of(shape).map(|n| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(n);
        rest = after;
        part
    });
    let (mut dout, mut dout_b) = ([do1, do2], [dob1, dob2]);
    let mut dnorms = [(dg1, db1), (dg2, db2), (dg3, db3)];
    let taken = |branch: usize| match &kept.taken[branch] {
        taken if taken.is_empty() => x,
        taken => taken,
    };
    // What went into a branch, its gradient, and that of what came out.
    let (mut v, mut dv, mut told) = (vec![0.0; n * d], vec![0.0; n * d], vec![0.0; n * d]);
    for branch in (0..3).rev() {
        if shape.norm_before {
            rows::norm(&mut v, taken(branch), w.norms[branch]);
            told.copy_from_slice(dy);
        } else {
            if branch == 0 {
                v.copy_from_slice(x);
            } else {
                rows::norm(&mut v, taken(branch - 1), w.norms[branch - 1]);
            }
            let (dg, db) = &mut dnorms[branch];
            rows::norm_back(&mut told, false, dy, taken(branch), w.norms[branch], dg, db);
            dy.copy_from_slice(&told);
        }
        if branch == 2 {
            plan.dropout.apply(&mut told, ON_FED, tokens.start * d);
            let mut active = vec![0.0; n * shape.inner];
            shape.activation.forward(&mut active, &kept.up);
            plan.dropout.apply(&mut active, ON_INNER, tokens.start * shape.inner);
            let mut dup = vec![0.0; n * shape.inner];
            dense_back(&mut dup, false, &told, &active, w.down, ddown_w, ddown_b);
            plan.dropout.apply(&mut dup, ON_INNER, tokens.start * shape.inner);
            shape.activation.backward(&mut dup, &kept.up);
            dense_back(&mut dv, false, &dup, &v, w.up, dup_w, dup_b);
        } else {
            dropout(plan, branch).apply(&mut told, ON_ATTENDED, tokens.start * d);
            let (attended, sums) = (&kept.attended[branch], &kept.sums[branch]);
            let mut dattended = vec![0.0; n * d];
            let (dw, db) = (&mut dout[branch], &mut dout_b[branch]);
            dense_back(&mut dattended, false, &told, attended, w.out[branch], dw, db);
            let heads = heads(plan, branch);
            if branch == 0 {
                let mut dqkv = vec![0.0; n * 3 * d];
                let qkv = &kept.qkv;
                for s in sequences.clone() {
                    let among = Among::themselves(plan.within(sequences, s).0, tokens.start);
                    attention::backward(
                        &heads, &among, qkv, qkv, attended, sums, &dattended, &mut dqkv, None,
                    );
                }
                dense_back(&mut dv, false, &dqkv, &v, w.qkv, dqkv_w, dqkv_b);
            } else {
                let (mut dq, mut dkv) = (vec![0.0; n * d], vec![0.0; kept.kv.len()]);
                let (q, kv) = (&kept.query, &kept.kv);
                for s in sequences.clone() {
                    let (own, seen) = plan.within(sequences, s);
                    let among = Among { queries: own, keys: seen, first: tokens.start };
                    attention::backward(
                        &heads,
                        &among,
                        q,
                        kv,
                        attended,
                        sums,
                        &dattended,
                        &mut dq,
                        Some(&mut dkv),
                    );
                }
                let ((dq_w, dkv_w), (dq_b, dkv_b)) = (dacross.split_at_mut(d * d), dacross_b.split_at_mut(d));
                dense_back(&mut dv, false, &dq, &v, w.query, dq_w, dq_b);
                dense_back(dmemory, false, &dkv, memory, w.kv, dkv_w, dkv_b);
            }
        }
        if shape.norm_before {
            let (dg, db) = &mut dnorms[branch];
            rows::norm_back(dy, true, &dv, taken(branch), w.norms[branch], dg, db);
        } else {
            rows::add(dy, &dv);
        }
    }
}
