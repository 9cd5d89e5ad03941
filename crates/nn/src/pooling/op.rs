//! Pooling as an operation of the graph with its own way back, on plain slices.
//!
//! Of the largest its place in the window is kept, so that what came in can be forgotten.

use super::Window;
use crate::transformer::rows;
use crate::vector::vectorised;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::TensorData;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Numbers that a thread works on at once, about.
const PART: usize = 1 << 14;

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Largest,
    Mean,
}

/// How pooling goes over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) take: Take,
    /// Images, and channels of each.
    pub(super) planes: [usize; 2],
    pub(super) size: [usize; 2],
    pub(super) told: [usize; 2],
    pub(super) window: Window,
}

/// The operation: `x` is `[batch, channels, rows, columns]`.
#[backend_extension(Flex, Autodiff)]
pub(super) trait PoolingOps: Backend {
    fn pool(x: FloatTensor<Self>, plan: Plan) -> FloatTensor<Self>;
}

/// The halves of it, on backends whose values can be read.
pub(super) trait PoolingPass: Backend {
    /// The answer, and the places of the largest.
    fn pool_pass(x: FloatTensor<Self>, plan: &Plan) -> (FloatTensor<Self>, Vec<u16>);

    /// The gradient of what goes in.
    fn pool_back(outer: FloatTensor<Self>, places: &[u16], plan: &Plan) -> FloatTensor<Self>;
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, plan: &Plan, [rows, columns]: [usize; 2]) -> FlexTensor {
    let [batch, channels] = plan.planes;
    FlexTensor::from_data(TensorData::new(values, [batch, channels, rows, columns]))
}

impl PoolingOps for Flex {
    fn pool(x: FlexTensor, plan: Plan) -> FlexTensor {
        let x = x.to_contiguous();
        let (told, _) = forward(&plan, x.as_slice().unwrap_or_default(), false);
        tensor(told, &plan, plan.told)
    }
}

impl PoolingPass for Flex {
    fn pool_pass(x: FlexTensor, plan: &Plan) -> (FlexTensor, Vec<u16>) {
        let x = x.to_contiguous();
        let (told, places) = forward(plan, x.as_slice().unwrap_or_default(), true);
        (tensor(told, plan, plan.told), places)
    }

    fn pool_back(outer: FlexTensor, places: &[u16], plan: &Plan) -> FlexTensor {
        let outer = outer.to_contiguous();
        tensor(backward(plan, outer.as_slice().unwrap_or_default(), places), plan, plan.size)
    }
}

#[derive(Debug)]
struct PoolingBack;

impl<B: PoolingPass> Backward<B, 1> for PoolingBack {
    type State = (Arc<[u16]>, Plan);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (places, plan) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::pool_back(outer, &places, &plan));
        }
    }
}

impl<B: PoolingPass + PoolingOps, C: CheckpointStrategy> PoolingOps for Autodiff<B, C> {
    fn pool(x: FloatTensor<Self>, plan: Plan) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        match PoolingBack.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (told, places) = B::pool_pass(x, &plan);
                prep.finish((places.into(), plan), told)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::pool(x, plan)),
        }
    }
}

impl Plan {
    fn inner(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn places(&self) -> usize {
        self.told[0] * self.told[1]
    }

    /// Planes that a thread works on at once.
    fn planes_at_once(&self) -> usize {
        (PART / self.inner()).max(1)
    }

    /// Whether windows of two by two cover rows and columns side by side.
    fn is_halving(&self) -> bool {
        self.window == Window::square(2)
    }

    /// What of side `k` the window at `place` sees of the image, and how much of the window lies before it.
    fn seen(&self, k: usize, place: usize) -> (Range<usize>, usize) {
        let begin = place * self.window.stride[k];
        let (from, to) = (begin, begin + self.window.size[k]);
        let padding = self.window.padding[k];
        let first = from.saturating_sub(padding);
        let end = to.saturating_sub(padding).min(self.size[k]);
        (first..end.max(first), padding.saturating_sub(from))
    }
}

/// The answer, and for the largest their places in their windows, if they are to be kept.
fn forward(plan: &Plan, x: &[f32], keep: bool) -> (Vec<f32>, Vec<u16>) {
    let (inner, places, each) = (plan.inner(), plan.places(), plan.planes_at_once());
    let n = plan.planes[0] * plan.planes[1] * places;
    let mut out = vec![0.0; n];
    if plan.take == Take::Mean {
        let parts = out.par_chunks_mut(each * places).zip(x.par_chunks(each * inner));
        parts.for_each(|(out, x)| {
            out.chunks_exact_mut(places).zip(x.chunks_exact(inner)).for_each(|(out, x)| mean(plan, out, x));
        });
        return (out, Vec::new());
    }
    let mut at = vec![0_u16; n];
    let parts = out.par_chunks_mut(each * places).zip(at.par_chunks_mut(each * places));
    parts.zip(x.par_chunks(each * inner)).for_each(|((out, at), x)| {
        let planes = out.chunks_exact_mut(places).zip(at.chunks_exact_mut(places));
        for ((out, at), x) in planes.zip(x.chunks_exact(inner)) {
            if plan.is_halving() { halve(plan, out, at, x) } else { largest(plan, out, at, x) }
        }
    });
    if !keep {
        at = Vec::new();
    }
    (out, at)
}

fn mean(plan: &Plan, out: &mut [f32], x: &[f32]) {
    let [_, columns] = plan.told;
    let share = 1.0 / (plan.window.size[0] * plan.window.size[1]) as f32;
    if plan.window.size == plan.size && plan.window.padding == [0, 0] {
        out[0] = rows::sum(x) * share;
        return;
    }
    for (i, out) in out.chunks_exact_mut(columns).enumerate() {
        let (down, _) = plan.seen(0, i);
        for (j, out) in out.iter_mut().enumerate() {
            let (along, _) = plan.seen(1, j);
            let rows = down.clone().map(|row| &x[row * plan.size[1]..][along.clone()]);
            *out = rows.flatten().sum::<f32>() * share;
        }
    }
}

/// The first of the largest counts; what is not a number is the largest of all.
fn largest(plan: &Plan, out: &mut [f32], at: &mut [u16], x: &[f32]) {
    let [_, columns] = plan.told;
    let wide = plan.window.size[1];
    let rows = out.chunks_exact_mut(columns).zip(at.chunks_exact_mut(columns));
    for (i, (out, at)) in rows.enumerate() {
        let (down, above) = plan.seen(0, i);
        for (j, (out, at)) in out.iter_mut().zip(at).enumerate() {
            let (along, before) = plan.seen(1, j);
            let (mut top, mut place) = (f32::NEG_INFINITY, above * wide + before);
            for (k, row) in down.clone().enumerate() {
                for (l, v) in x[row * plan.size[1]..][along.clone()].iter().enumerate() {
                    if *v > top || v.is_nan() {
                        (top, place) = (*v, (above + k) * wide + before + l);
                    }
                }
            }
            // A side has at most 255 places.
            (*out, *at) = (top, place as u16);
        }
    }
}

/// The same of windows of two by two, side by side.
fn halve(plan: &Plan, out: &mut [f32], at: &mut [u16], x: &[f32]) {
    let (columns, width) = (plan.told[1], plan.size[1]);
    let rows = out.chunks_exact_mut(columns).zip(at.chunks_exact_mut(columns));
    vectorised!({
        for ((out, at), x) in rows.zip(x.chunks_exact(2 * width)) {
            let (upper, lower) = x.split_at(width);
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            for ((out, at), ([a, b], [c, d])) in out.iter_mut().zip(at).zip(pairs) {
                let (mut top, mut place) = (*a, 0);
                for (k, v) in [(1, *b), (2, *c), (3, *d)] {
                    let over = (v > top) | v.is_nan();
                    top = if over { v } else { top };
                    place = if over { k } else { place };
                }
                (*out, *at) = (top, place);
            }
        }
    });
}

fn backward(plan: &Plan, d: &[f32], at: &[u16]) -> Vec<f32> {
    let (inner, places, each) = (plan.inner(), plan.places(), plan.planes_at_once());
    let mut dx = vec![0.0; plan.planes[0] * plan.planes[1] * inner];
    if plan.take == Take::Mean {
        let parts = dx.par_chunks_mut(each * inner).zip(d.par_chunks(each * places));
        parts.for_each(|(dx, d)| {
            dx.chunks_exact_mut(inner).zip(d.chunks_exact(places)).for_each(|(dx, d)| mean_back(plan, dx, d));
        });
        return dx;
    }
    let parts = d.par_chunks(each * places).zip(at.par_chunks(each * places));
    dx.par_chunks_mut(each * inner).zip(parts).for_each(|(dx, (d, at))| {
        let planes = d.chunks_exact(places).zip(at.chunks_exact(places));
        for (dx, (d, at)) in dx.chunks_exact_mut(inner).zip(planes) {
            if plan.is_halving() { halve_back(plan, dx, d, at) } else { largest_back(plan, dx, d, at) }
        }
    });
    dx
}

fn mean_back(plan: &Plan, dx: &mut [f32], d: &[f32]) {
    let [_, columns] = plan.told;
    let share = 1.0 / (plan.window.size[0] * plan.window.size[1]) as f32;
    for (i, d) in d.chunks_exact(columns).enumerate() {
        let (down, _) = plan.seen(0, i);
        for (j, d) in d.iter().enumerate() {
            let (along, _) = plan.seen(1, j);
            for row in down.clone() {
                dx[row * plan.size[1]..][along.clone()].iter_mut().for_each(|v| *v += d * share);
            }
        }
    }
}

fn largest_back(plan: &Plan, dx: &mut [f32], d: &[f32], at: &[u16]) {
    let [_, columns] = plan.told;
    let Window { size: [_, wide], stride, padding } = plan.window;
    for (k, (d, at)) in d.iter().zip(at).enumerate() {
        let (i, j, at) = (k / columns, k % columns, usize::from(*at));
        let row = (i * stride[0] + at / wide).saturating_sub(padding[0]);
        let column = (j * stride[1] + at % wide).saturating_sub(padding[1]);
        // A window that sees the edge alone has no largest.
        if row < plan.size[0] && column < plan.size[1] {
            dx[row * plan.size[1] + column] += d;
        }
    }
}

fn halve_back(plan: &Plan, dx: &mut [f32], d: &[f32], at: &[u16]) {
    let (columns, width) = (plan.told[1], plan.size[1]);
    let rows = d.chunks_exact(columns).zip(at.chunks_exact(columns));
    vectorised!({
        for ((d, at), dx) in rows.zip(dx.chunks_exact_mut(2 * width)) {
            let (upper, lower) = dx.split_at_mut(width);
            let pairs = upper.as_chunks_mut::<2>().0.iter_mut().zip(lower.as_chunks_mut::<2>().0);
            for ((d, at), (upper, lower)) in d.iter().zip(at).zip(pairs) {
                let of = |place: u16| if *at == place { *d } else { 0.0 };
                *upper = [of(0), of(1)];
                *lower = [of(2), of(3)];
            }
        }
    });
}
