//! The loops: sums and softmaxes over the neighbours of each node, and their ways back.
//!
//! Each number is summed by one thread in the order of the edges, so the number of threads changes no bit.

use super::neighbours::Lists;
use crate::activation::exp;
use crate::vector::vectorised;
use rayon::prelude::*;

/// Rows, and edges, that are worked on together.
const ROWS: usize = 64;
const EDGES: usize = 1024;

/// How wide what is summed is: `heads` parts of `width` numbers, each with a value of its own for an edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub(super) heads: usize,
    pub(super) width: usize,
}

/// For each list, the sum over its edges of their values times the vectors of their other ends. `edge` tells the edge at a
/// place of the lists, `ends` the other end of an edge.
fn gather(
    starts: &[usize],
    edge: impl Fn(usize) -> usize + Sync,
    ends: &[u32],
    values: &[f32],
    x: &[f32],
    Heads { heads, width }: Heads,
) -> Vec<f32> {
    let whole = heads * width;
    let mut out = vec![0.0; (starts.len() - 1) * whole];
    out.par_chunks_mut(ROWS * whole).enumerate().for_each(|(part, out)| {
        vectorised!({
            for (row, out) in (part * ROWS..).zip(out.chunks_exact_mut(whole)) {
                for place in starts[row]..starts[row + 1] {
                    let e = edge(place);
                    let from = &x[ends[e] as usize * whole..][..whole];
                    let parts = out.chunks_exact_mut(width).zip(from.chunks_exact(width));
                    for ((out, from), v) in parts.zip(&values[e * heads..][..heads]) {
                        out.iter_mut().zip(from).for_each(|(o, f)| *o += v * f);
                    }
                }
            }
        });
    });
    out
}

/// `out_i = Σ_j v_ij x_j`: `values` are `[edges, heads]`, `x` is `[columns, heads · width]`.
pub(super) fn sum(graph: &Lists, values: &[f32], x: &[f32], by: Heads) -> Vec<f32> {
    gather(&graph.starts, |e| e, &graph.sources, values, x, by)
}

/// The gradient of `x`: `dx_j = Σ_i v_ij dout_i`.
pub(super) fn sum_back_x(graph: &Lists, values: &[f32], outer: &[f32], by: Heads) -> Vec<f32> {
    gather(&graph.back_starts, |place| graph.back[place] as usize, &graph.targets, values, outer, by)
}

/// The gradient of the values: `dv_ij = dout_i · x_j`.
pub(super) fn sum_back_values(graph: &Lists, x: &[f32], outer: &[f32], by: Heads) -> Vec<f32> {
    let Heads { heads, width } = by;
    let whole = heads * width;
    let mut out = vec![0.0; graph.sources.len() * heads];
    out.par_chunks_mut(EDGES * heads).enumerate().for_each(|(part, out)| {
        vectorised!({
            for (e, out) in (part * EDGES..).zip(out.chunks_exact_mut(heads)) {
                let from = &x[graph.sources[e] as usize * whole..][..whole];
                let to = &outer[graph.targets[e] as usize * whole..][..whole];
                for ((out, from), to) in
                    out.iter_mut().zip(from.chunks_exact(width)).zip(to.chunks_exact(width))
                {
                    *out = crate::transformer::rows::dot(from, to);
                }
            }
        });
    });
    out
}

/// The edges of some rows, cut out of what has one row an edge.
fn by_rows<'a>(graph: &Lists, mut of: &'a mut [f32], heads: usize) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(graph.rows().div_ceil(ROWS));
    for first in (0..graph.rows()).step_by(ROWS) {
        let end = graph.rows().min(first + ROWS);
        let (part, rest) = of.split_at_mut((graph.starts[end] - graph.starts[first]) * heads);
        parts.push(part);
        of = rest;
    }
    parts
}

/// `e^s_ij / Σ_k e^s_ik` over whom `i` hears, each head for itself.
pub(super) fn softmax(graph: &Lists, scores: &[f32], heads: usize) -> Vec<f32> {
    let mut out = scores.to_vec();
    by_rows(graph, &mut out, heads).into_par_iter().enumerate().for_each(|(part, out)| {
        vectorised!({
            let first = part * ROWS;
            let base = graph.starts[first];
            for row in first..graph.rows().min(first + ROWS) {
                let own =
                    &mut out[(graph.starts[row] - base) * heads..(graph.starts[row + 1] - base) * heads];
                let n = own.len();
                for head in 0..heads {
                    let of = || (head..n).step_by(heads);
                    let top = of().map(|k| own[k]).fold(f32::NEG_INFINITY, f32::max);
                    let mut sum = 0.0;
                    for k in of() {
                        own[k] = exp(own[k] - top);
                        sum += own[k];
                    }
                    of().for_each(|k| own[k] /= sum);
                }
            }
        });
    });
    out
}

/// The gradient of the scores: `ds_ij = p_ij (dp_ij - Σ_k p_ik dp_ik)`.
pub(super) fn softmax_back(graph: &Lists, told: &[f32], outer: &[f32], heads: usize) -> Vec<f32> {
    let mut out = outer.to_vec();
    by_rows(graph, &mut out, heads).into_par_iter().enumerate().for_each(|(part, out)| {
        let first = part * ROWS;
        let base = graph.starts[first];
        for row in first..graph.rows().min(first + ROWS) {
            let edges = graph.starts[row] * heads..graph.starts[row + 1] * heads;
            let own = &mut out[edges.start - base * heads..edges.end - base * heads];
            let told = &told[edges];
            for head in 0..heads {
                let of = || (head..told.len()).step_by(heads);
                let sum: f32 = of().map(|k| told[k] * own[k]).sum();
                of().for_each(|k| own[k] = told[k] * (own[k] - sum));
            }
        }
    });
    out
}
