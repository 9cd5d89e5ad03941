//! Batch normalisation as one operation of the graph, with its own way back, on plain slices.
//!
//! A channel of an image is a plane. Planes are summed up by themselves, on as many threads as there are, and their sums are
//! put together in their order, so threads change no bit. Where planes are tiny (`[batch, channels]` has planes of one
//! number), channels are laid side by side first.

use crate::transformer::rows::sum_of;
use crate::vector::vectorised;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// Numbers that a thread works on at once, about.
const PART: usize = 1 << 14;
/// Numbers of a plane from which on it is worked on as it lies.
const PLANE: usize = 16;

/// What each channel is normalised by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) mean: Vec<f32>,
    /// The mean square off the mean.
    pub(super) variance: Vec<f32>,
}

/// How a normalisation goes over a batch.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) images: usize,
    pub(super) channels: usize,
    /// Numbers of a plane.
    pub(super) inner: usize,
    pub(super) epsilon: f32,
    /// Whether what is below zero becomes zero.
    pub(super) rectify: bool,
    /// Whether the moments are the batch's own.
    pub(super) of_batch: bool,
    /// Given, or worked out on the way.
    pub(super) moments: Arc<OnceLock<Moments>>,
}

/// The operation: `x` is `[images, channels, …]`, the others `[channels]`.
#[backend_extension(Flex, Autodiff)]
pub(super) trait BatchNormOps: Backend {
    fn normalise_batch(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

/// The way back, on backends whose values can be read.
pub(super) trait BatchNormPass: Backend {
    fn normalise_batch_back(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        outer: FloatTensor<Self>,
        plan: &Plan,
    ) -> [FloatTensor<Self>; 3];
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.shape()))
}

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

/// Changes all values of a tensor: where they are if nobody else has them, and else from those that are given first.
fn changed(of: FlexTensor, f: impl FnOnce(Option<&[f32]>, &mut [f32])) -> FlexTensor {
    let mut of = if of.as_slice::<f32>().is_some() { of } else { of.to_contiguous() };
    let n = values(&of).len();
    if let Some(all) = of.try_storage_mut::<f32>()
        && all.len() == n
    {
        f(None, all);
        return of;
    }
    let mut own = vec![0.0; n];
    f(Some(values(&of)), &mut own);
    tensor(own, &of)
}

impl BatchNormOps for Flex {
    fn normalise_batch(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, plan: Plan) -> FlexTensor {
        let (scale, shift) = (scale.to_contiguous(), shift.to_contiguous());
        let (scale, shift) = (values(&scale), values(&shift));
        changed(x, |from, x| match plan.turned() {
            None => forward(&plan, from, x, scale, shift),
            Some(flat) => {
                let mut turned = plan.turn(from.unwrap_or(x));
                forward(&flat, None, &mut turned, scale, shift);
                plan.turn_back(&turned, x);
            }
        })
    }
}

impl BatchNormPass for Flex {
    fn normalise_batch_back(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        outer: FlexTensor,
        plan: &Plan,
    ) -> [FlexTensor; 3] {
        let [x, scale, shift] = [x, scale, shift].map(|of| of.to_contiguous());
        let mut told = Default::default();
        let dx = changed(outer, |from, d| match plan.turned() {
            None => {
                if let Some(from) = from {
                    d.copy_from_slice(from);
                }
                told = backward(plan, values(&x), values(&scale), values(&shift), d);
            }
            Some(flat) => {
                let (x, mut turned) = (plan.turn(values(&x)), plan.turn(from.unwrap_or(d)));
                told = backward(&flat, &x, values(&scale), values(&shift), &mut turned);
                plan.turn_back(&turned, d);
            }
        });
        let [dscale, dshift] = told;
        [dx, tensor(dscale, &scale), tensor(dshift, &shift)]
    }
}

#[derive(Debug)]
struct BatchNormBack;

impl<B: BatchNormPass> Backward<B, 3> for BatchNormBack {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, Plan);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (x, scale, shift, plan) = ops.state;
        let of = B::normalise_batch_back(x, scale, shift, outer, &plan);
        for (parent, grad) in ops.parents.into_iter().zip(of) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: BatchNormPass + BatchNormOps, C: CheckpointStrategy> BatchNormOps for Autodiff<B, C> {
    fn normalise_batch(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let [x, scale, shift] = [x, scale, shift].map(|t| t.into_primitive());
        let told = B::normalise_batch(x.clone(), scale.clone(), shift.clone(), plan.clone());
        match BatchNormBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, scale, shift, plan), told),
            OpsKind::UnTracked(prep) => prep.finish(told),
        }
    }
}

impl Plan {
    /// The same over channels that lie side by side, where planes are tiny.
    fn turned(&self) -> Option<Self> {
        let tiny = self.inner < PLANE && self.images > 1;
        tiny.then(|| Self { images: 1, inner: self.images * self.inner, ..self.clone() })
    }

    fn turn(&self, of: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(of.len());
        for channel in 0..self.channels {
            for image in 0..self.images {
                let at = (image * self.channels + channel) * self.inner;
                out.extend_from_slice(&of[at..at + self.inner]);
            }
        }
        out
    }

    fn turn_back(&self, of: &[f32], to: &mut [f32]) {
        for (plane, to) in to.chunks_exact_mut(self.inner).enumerate() {
            let (image, channel) = (plane / self.channels, plane % self.channels);
            let at = (channel * self.images + image) * self.inner;
            to.copy_from_slice(&of[at..at + self.inner]);
        }
    }

    /// Planes that a thread works on at once.
    fn planes(&self) -> usize {
        (PART / self.inner).max(1)
    }

    /// What is done to a plane.
    #[inline(always)]
    fn at(&self, of: &Moments, plane: usize, scale: &[f32], shift: &[f32]) -> At {
        let channel = plane % self.channels;
        let over = 1.0 / (of.variance[channel] + self.epsilon).sqrt();
        At { channel, mean: of.mean[channel], over, by: over * scale[channel], add: shift[channel] }
    }
}

/// What is done to a plane: the mean is taken off, the rest is multiplied `by` and added to.
struct At {
    channel: usize,
    mean: f32,
    /// One over the deviation.
    over: f32,
    by: f32,
    add: f32,
}

/// The moments of each channel: planes by themselves, then put together (Chan, Golub and LeVeque 1983).
fn moments(plan: &Plan, x: &[f32]) -> Moments {
    let (inner, n) = (plan.inner, plan.inner as f64);
    let mut of_planes = vec![(0.0, 0.0); x.len() / inner];
    let parts = of_planes.par_chunks_mut(plan.planes()).zip(x.par_chunks(plan.planes() * inner));
    parts.for_each(|(of, x)| {
        vectorised!({
            for (of, plane) in of.iter_mut().zip(x.chunks_exact(inner)) {
                let mean = sum_of(plane, plane, |v, _| v) / inner as f32;
                *of = (mean, sum_of(plane, plane, |v, _| (v - mean) * (v - mean)));
            }
        });
    });
    let mut told: Vec<(f64, f64)> = vec![(0.0, 0.0); plan.channels];
    for (image, planes) in of_planes.chunks_exact(plan.channels).enumerate() {
        let before = image as f64;
        for ((mean, squares), (own, own_squares)) in told.iter_mut().zip(planes) {
            let off = f64::from(*own) - *mean;
            *mean += off / (before + 1.0);
            *squares += f64::from(*own_squares) + off * off * n * before / (before + 1.0);
        }
    }
    let all = n * plan.images as f64;
    Moments {
        mean: told.iter().map(|(mean, _)| *mean as f32).collect(),
        variance: told.iter().map(|(_, squares)| (squares / all) as f32).collect(),
    }
}

/// Makes numbers to their answers, where they are, or those given `from`.
fn forward(plan: &Plan, from: Option<&[f32]>, x: &mut [f32], scale: &[f32], shift: &[f32]) {
    let of = plan.moments.get_or_init(|| moments(plan, from.unwrap_or(x)));
    let each = plan.planes();
    let floor = if plan.rectify { 0.0 } else { f32::NEG_INFINITY };
    x.par_chunks_mut(each * plan.inner).enumerate().for_each(|(k, x)| {
        if let Some(from) = from {
            x.copy_from_slice(&from[k * each * plan.inner..][..x.len()]);
        }
        vectorised!({
            for (j, x) in x.chunks_exact_mut(plan.inner).enumerate() {
                let at = plan.at(of, k * each + j, scale, shift);
                for x in x {
                    let y = (*x - at.mean) * at.by + at.add;
                    // What is not a number stays so.
                    *x = if y < floor { floor } else { y };
                }
            }
        });
    });
}

/// The gradients of the scale and the shift; that of the answer, `d`, becomes that of the input.
fn backward(plan: &Plan, x: &[f32], scale: &[f32], shift: &[f32], d: &mut [f32]) -> [Vec<f32>; 2] {
    let of = plan.moments.get_or_init(|| moments(plan, x));
    let (each, inner) = (plan.planes(), plan.inner);
    // Whether a number went through.
    let floor = if plan.rectify { 0.0 } else { f32::NEG_INFINITY };
    let mut of_planes = vec![(0.0, 0.0); x.len() / inner];
    let parts = x.par_chunks(each * inner).zip(d.par_chunks(each * inner));
    of_planes.par_chunks_mut(each).zip(parts).enumerate().for_each(|(k, (sums, (x, d)))| {
        vectorised!({
            let planes = x.chunks_exact(inner).zip(d.chunks_exact(inner));
            for (j, (sum, (x, d))) in sums.iter_mut().zip(planes).enumerate() {
                let at = plan.at(of, k * each + j, scale, shift);
                let straight = sum_of(
                    x,
                    d,
                    #[inline(always)]
                    |x, d| if (x - at.mean) * at.by + at.add > floor { d } else { 0.0 },
                );
                let along = sum_of(
                    x,
                    d,
                    #[inline(always)]
                    |x, d| {
                        let off = x - at.mean;
                        if off * at.by + at.add > floor { d * off } else { 0.0 }
                    },
                );
                *sum = (straight, along * at.over);
            }
        });
    });
    let mut sums: Vec<(f64, f64)> = vec![(0.0, 0.0); plan.channels];
    for planes in of_planes.chunks_exact(plan.channels) {
        for (sum, own) in sums.iter_mut().zip(planes) {
            sum.0 += f64::from(own.0);
            sum.1 += f64::from(own.1);
        }
    }
    let n = (plan.images * inner) as f64;
    d.par_chunks_mut(each * inner).zip(x.par_chunks(each * inner)).enumerate().for_each(|(k, (d, x))| {
        let planes = d.chunks_exact_mut(inner).zip(x.chunks_exact(inner));
        vectorised!({
            for (j, (d, x)) in planes.enumerate() {
                let at = plan.at(of, k * each + j, scale, shift);
                // What goes through the batch's own mean and variance.
                let (straight, along) = if plan.of_batch {
                    let (straight, along) = sums[at.channel];
                    ((straight / n) as f32, (along / n) as f32 * at.over)
                } else {
                    (0.0, 0.0)
                };
                for (d, x) in d.iter_mut().zip(x) {
                    let off = x - at.mean;
                    let through = if off * at.by + at.add > floor { *d } else { 0.0 };
                    *d = (through - straight - off * along) * at.by;
                }
            }
        });
    });
    let (dscale, dshift) = sums.iter().map(|(straight, along)| (*along as f32, *straight as f32)).unzip();
    [dscale, dshift]
}
