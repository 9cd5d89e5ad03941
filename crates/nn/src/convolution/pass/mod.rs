//! Convolutions, forward and back, on plain slices.

mod plane;
mod steps;

use crate::transformer::rows;
pub(super) use plane::Plan as Plane;
use rayon::prelude::*;
use std::ops::Range;
pub(super) use steps::Plan as Steps;

/// Gradients of the weights that are summed side by side, at most.
const LANES: usize = 8;

/// How a convolution goes over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Of sequences: `x` is `[batch, steps, input]`, the weight `[output, input, kernel]`.
    Steps(Steps),
    /// Of images: `x` is `[batch, input, rows, columns]`, the weight `[output, input / groups, rows, columns]`.
    Plane(Plane),
}

impl Plan {
    /// The shape of the answer: `[batch, steps, output]` or `[batch, output, rows, columns]`.
    pub(super) fn told(&self) -> Vec<usize> {
        match self {
            Self::Steps(p) => vec![p.batch, p.steps, p.output],
            Self::Plane(p) => vec![p.batch, p.output, p.told[0], p.told[1]],
        }
    }

    /// The answer.
    pub(super) fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        match self {
            Self::Steps(plan) => steps::forward(plan, x, weight, bias),
            Self::Plane(plan) => plane::forward(plan, x, weight, bias),
        }
    }

    /// Back, from the gradient `d` of the answer; `asked` says which gradients are wanted: of `x`, the weight, the bias.
    pub(super) fn backward(&self, x: &[f32], weight: &[f32], d: &[f32], asked: [bool; 3]) -> Slopes {
        match self {
            Self::Steps(plan) => steps::backward(plan, x, weight, d, asked),
            Self::Plane(plan) => plane::backward(plan, x, weight, d, asked),
        }
    }
}

/// What the way back gives, in the order of the tensors; each is empty where it was not asked for.
#[derive(Debug, Default)]
pub(super) struct Slopes {
    pub(super) x: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Slopes {
    /// Goes over lanes of neighbouring units of `together` members of a batch, which one after the other add to the lane's
    /// gradients, and sums those of the lanes. `sizes` are the numbers of `x`, the weight and the bias; `back` is given its
    /// members and room for the gradients, empty where they are not asked for.
    fn in_lanes(
        batch: usize,
        together: usize,
        sizes: [usize; 3],
        asked: [bool; 3],
        back: impl Fn(Range<usize>, Room<'_>) + Sync,
    ) -> Self {
        let [n_x, n_weight, n_bias] = std::array::from_fn(|k| if asked[k] { sizes[k] } else { 0 });
        let mut x = vec![0.0; n_x];
        let each = batch.div_ceil(together).div_ceil(LANES).max(1) * together;
        let mut of_x: Vec<&mut [f32]> = x.chunks_mut((each * (n_x / batch.max(1))).max(1)).collect();
        of_x.resize_with(batch.div_ceil(each), Default::default);
        let lanes: Vec<(Vec<f32>, Vec<f32>)> = of_x
            .into_par_iter()
            .enumerate()
            .map(|(lane, x)| {
                let (mut weight, mut bias) = (vec![0.0; n_weight], vec![0.0; n_bias]);
                let members = lane * each..batch.min((lane + 1) * each);
                back(members, Room { x, weight: &mut weight, bias: &mut bias });
                (weight, bias)
            })
            .collect();
        let (weights, biases): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        Self { x, weight: rows::summed(weights, n_weight), bias: rows::summed(biases, n_bias) }
    }
}

/// Where a lane adds its gradients.
struct Room<'a> {
    x: &'a mut [f32],
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}
