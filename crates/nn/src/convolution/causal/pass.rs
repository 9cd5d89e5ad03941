//! Convolution over steps, forward and back, on plain slices.
//!
//! Rows of some sequences go together: what each step sees is laid beside it, and one product with the weights answers
//! them all. What was laid out is not kept but laid out again on the way back. Sequences go on as many threads as there are;
//! gradients of the weights are summed in lanes, whose number the batch decides and not the threads, so threads change no
//! bit.

use crate::transformer::rows;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Numbers that are laid out at once, about: what stays in a core's cache.
const LAID_OUT: usize = 1 << 15;
/// Gradients of the weights that are summed side by side, at most.
const LANES: usize = 8;

/// How a convolution goes over a batch of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) dilation: usize,
}

impl Plan {
    /// Numbers that a step sees.
    fn seen(&self) -> usize {
        self.kernel * self.input
    }

    /// Steps from a step back to what its tap sees.
    fn back(&self, tap: usize) -> usize {
        (self.kernel - 1 - tap) * self.dilation
    }

    /// Sequences that go together.
    fn together(&self) -> usize {
        (LAID_OUT / (self.seen() * self.steps).max(1)).clamp(1, self.batch.max(1))
    }

    /// Calls `each` for every tap of every step: where it lies among what is laid out, and where in the sequences it sees, if
    /// it sees any step.
    #[inline(always)]
    fn each_tap(&self, sequences: usize, mut each: impl FnMut(usize, Option<usize>)) {
        for row in 0..sequences * self.steps {
            let step = row % self.steps;
            for tap in 0..self.kernel {
                let back = self.back(tap);
                let from = (back <= step).then(|| (row - back) * self.input);
                each((row * self.kernel + tap) * self.input, from);
            }
        }
    }

    /// Lays beside each step of whole sequences what it sees: `[rows, kernel, input]`.
    fn lay_out<'a>(&self, x: &[f32], room: &'a mut [f32]) -> MatRef<'a, f32> {
        let n = x.len() / self.input;
        let room = &mut room[..n * self.seen()];
        self.each_tap(n / self.steps, |to, from| {
            let to = &mut room[to..to + self.input];
            match from {
                Some(from) => to.copy_from_slice(&x[from..from + self.input]),
                None => to.fill(0.0),
            }
        });
        MatRef::from_row_major_slice(room, n, self.seen())
    }

    /// The way back of [`Plan::lay_out`]: adds to `dx` what was laid out of it.
    fn gather(&self, laid_out: &[f32], dx: &mut [f32]) {
        let n = dx.len() / self.input;
        self.each_tap(n / self.steps, |of, to| {
            if let Some(to) = to {
                let of = &laid_out[of..of + self.input];
                dx[to..to + self.input].iter_mut().zip(of).for_each(|(d, v)| *d += v);
            }
        });
    }

    /// The weights `[output, input, kernel]` in the order of what is laid out, `[output, kernel, input]`.
    fn in_order(&self, weight: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(weight.len());
        for of in weight.chunks_exact(self.seen()) {
            for tap in 0..self.kernel {
                out.extend(of.iter().skip(tap).step_by(self.kernel));
            }
        }
        out
    }

    /// The way back of [`Plan::in_order`].
    fn as_given(&self, in_order: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(in_order.len());
        for of in in_order.chunks_exact(self.seen()) {
            for input in 0..self.input {
                out.extend(of.iter().skip(input).step_by(self.input));
            }
        }
        out
    }
}

fn row_major_mut(of: &mut [f32], rows: usize, columns: usize) -> MatMut<'_, f32> {
    MatMut::from_row_major_slice_mut(of, rows, columns)
}

/// Forward: `[batch, steps, output]`. Nothing of the plan is zero.
pub(super) fn forward(plan: &Plan, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (together, seen) = (plan.together(), plan.seen());
    let weight = plan.in_order(weight);
    let weight = MatRef::from_row_major_slice(&weight, plan.output, seen).transpose();
    let mut out = vec![0.0; plan.batch * plan.steps * plan.output];
    let given = x.par_chunks(together * plan.steps * plan.input);
    let told = out.par_chunks_mut(together * plan.steps * plan.output);
    told.zip(given).for_each_init(
        || vec![0.0; together * plan.steps * seen],
        |room, (out, x)| {
            let laid_out = plan.lay_out(x, room);
            out.chunks_exact_mut(plan.output).for_each(|row| row.copy_from_slice(bias));
            let out = row_major_mut(out, laid_out.nrows(), plan.output);
            matmul(out, Accum::Add, laid_out, weight, 1.0, Par::Seq);
        },
    );
    out
}

/// What the way back gives: each is empty where it was not asked for.
#[derive(Debug, Default)]
pub(super) struct Slopes {
    pub(super) x: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// Back, from the gradient `d` of the answer; `asked` says which gradients are wanted: of the steps, the weights, the bias.
pub(super) fn backward(plan: &Plan, x: &[f32], weight: &[f32], d: &[f32], asked: [bool; 3]) -> Slopes {
    let (together, seen) = (plan.together(), plan.seen());
    let [of_x, of_weight, of_bias] = asked;
    let in_order = plan.in_order(weight);
    let ordered = MatRef::from_row_major_slice(&in_order, plan.output, seen);
    let mut slopes = Slopes { x: vec![0.0; if of_x { x.len() } else { 0 }], ..Slopes::default() };
    let units = plan.batch.div_ceil(together);
    // Lanes of neighbouring units, which one after the other add to the lane's gradients.
    let each = units.div_ceil(LANES) * together * plan.steps;
    let lanes = (plan.batch * plan.steps).div_ceil(each);
    let mut dx: Vec<&mut [f32]> = slopes.x.chunks_mut(each * plan.input).collect();
    dx.resize_with(lanes, Default::default);
    let of_lanes: Vec<(Vec<f32>, Vec<f32>)> = dx
        .into_par_iter()
        .zip(x.par_chunks(each * plan.input))
        .zip(d.par_chunks(each * plan.output))
        .map(|((dx, x), d)| {
            let mut dweight = vec![0.0; if of_weight { weight.len() } else { 0 }];
            let mut dbias = vec![0.0; if of_bias { plan.output } else { 0 }];
            let mut room = vec![0.0; together * plan.steps * seen];
            if of_bias {
                rows::add_rows(&mut dbias, d);
            }
            let unit = together * plan.steps;
            for (k, (x, d)) in x.chunks(unit * plan.input).zip(d.chunks(unit * plan.output)).enumerate() {
                let n = d.len() / plan.output;
                let d = MatRef::from_row_major_slice(d, n, plan.output);
                if of_weight {
                    let laid_out = plan.lay_out(x, &mut room);
                    let to = row_major_mut(&mut dweight, plan.output, seen);
                    matmul(to, Accum::Add, d.transpose(), laid_out, 1.0, Par::Seq);
                }
                if of_x {
                    let room = &mut room[..n * seen];
                    matmul(row_major_mut(room, n, seen), Accum::Replace, d, ordered, 1.0, Par::Seq);
                    let from = k * unit * plan.input;
                    plan.gather(room, &mut dx[from..from + n * plan.input]);
                }
            }
            (dweight, dbias)
        })
        .collect();
    let (weights, biases): (Vec<_>, Vec<_>) = of_lanes.into_iter().unzip();
    if of_weight {
        slopes.weight = plan.as_given(&rows::summed(weights, weight.len()));
    }
    if of_bias {
        slopes.bias = rows::summed(biases, plan.output);
    }
    slopes
}
