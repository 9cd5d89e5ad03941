//! Convolution over steps, forward and back, on plain slices.
//!
//! Rows of some sequences go together: what each step sees is laid beside it, and one product with the weights answers
//! them all. What was laid out is not kept but laid out again on the way back. Sequences go on as many threads as there are;
//! gradients of the weights are summed in lanes, whose number the batch decides and not the threads, so threads change no
//! bit.

use super::Slopes;
use crate::transformer::rows;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::ops::Range;

/// Numbers that are laid out at once, about: what stays in a core's cache.
const LAID_OUT: usize = 1 << 15;

/// How a convolution goes over a batch of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::convolution) struct Plan {
    pub(in crate::convolution) batch: usize,
    pub(in crate::convolution) steps: usize,
    pub(in crate::convolution) input: usize,
    pub(in crate::convolution) output: usize,
    pub(in crate::convolution) kernel: usize,
    pub(in crate::convolution) dilation: usize,
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

/// Back; see [`super::Plan::backward`].
pub(super) fn backward(plan: &Plan, x: &[f32], weight: &[f32], d: &[f32], asked: [bool; 3]) -> Slopes {
    let (together, seen) = (plan.together(), plan.seen());
    let in_order = plan.in_order(weight);
    let ordered = MatRef::from_row_major_slice(&in_order, plan.output, seen);
    let sizes = [x.len(), weight.len(), plan.output];
    let mut slopes = Slopes::in_lanes(plan.batch, together, sizes, asked, |sequences, to| {
        let mut room = vec![0.0; together * plan.steps * seen];
        for unit in sequences.clone().step_by(together) {
            let rows = unit * plan.steps..sequences.end.min(unit + together) * plan.steps;
            let (x, d) = (of_rows(x, &rows, plan.input), of_rows(d, &rows, plan.output));
            if !to.bias.is_empty() {
                rows::add_rows(to.bias, d);
            }
            let d = MatRef::from_row_major_slice(d, rows.len(), plan.output);
            if !to.weight.is_empty() {
                let laid_out = plan.lay_out(x, &mut room);
                let to = row_major_mut(to.weight, plan.output, seen);
                matmul(to, Accum::Add, d.transpose(), laid_out, 1.0, Par::Seq);
            }
            if !to.x.is_empty() {
                let room = &mut room[..rows.len() * seen];
                matmul(row_major_mut(room, rows.len(), seen), Accum::Replace, d, ordered, 1.0, Par::Seq);
                let from = (unit - sequences.start) * plan.steps * plan.input;
                plan.gather(room, &mut to.x[from..from + rows.len() * plan.input]);
            }
        }
    });
    slopes.weight = plan.as_given(&slopes.weight);
    slopes
}

fn of_rows<'a>(of: &'a [f32], rows: &Range<usize>, each: usize) -> &'a [f32] {
    &of[rows.start * each..rows.end * each]
}
