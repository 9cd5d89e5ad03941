//! Recurrent layers over all steps at once, forward and back, on plain slices.
//!
//! ```text
//! x [batch, steps, input] ──┐ step by step: b + x · Wᵀ + h · Uᵀ in one sum, activate
//! h [batch, hidden] ────────┴─→ gates [batch, G·hidden] ─→ h ─→ y [batch, steps, hidden]
//! ```
//!
//! Rows of a batch do not know of each other, so parts of [`ROWS`] rows go through all steps by themselves, on as many
//! threads as there are; sums over parts are taken in their order, so the number of threads changes no bit.

use super::cell::Cell;
use crate::product::{Panels, Rows, add_product, sum};
use crate::vector::vectorised;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of a batch that go together.
pub(super) const ROWS: usize = 32;

/// The sizes of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) input: usize,
    pub(super) hidden: usize,
    /// From the last step to the first.
    pub(super) reverse: bool,
}

/// The weights, rows of `G · hidden` gates: for the input, for the hidden state, and the two biases.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) input: &'a [f32],
    pub(super) hidden: &'a [f32],
    pub(super) bias_input: &'a [f32],
    pub(super) bias_hidden: &'a [f32],
}

/// Where a pass begins: `[batch, hidden]` each; `c` is empty for cells without a cell state.
#[derive(Clone, Copy)]
pub(super) struct States<'a> {
    pub(super) h: &'a [f32],
    pub(super) c: &'a [f32],
}

/// What a forward pass gives and what the way back needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// The answer, `[batch, rows, hidden]`: the steps, zero beyond the length of a row, and behind them the last states
    /// where there is room for them.
    pub(super) y: Vec<f32>,
    /// The last states, `[batch, hidden]`.
    pub(super) h: Vec<f32>,
    pub(super) c: Vec<f32>,
    /// Activated gates, `[batch, steps, G · hidden]`.
    pub(super) gates: Vec<f32>,
    /// Cell states, `[batch, steps, hidden]`; empty for cells without.
    pub(super) cells: Vec<f32>,
    /// The last gate's product with the hidden state; empty where it is not needed.
    pub(super) apart: Vec<f32>,
}

/// Gradients with regard to all that went in.
#[derive(Clone, Debug, Default)]
pub(super) struct Gradients {
    pub(super) x: Vec<f32>,
    pub(super) input: Vec<f32>,
    pub(super) hidden: Vec<f32>,
    pub(super) bias_input: Vec<f32>,
    pub(super) bias_hidden: Vec<f32>,
    pub(super) h: Vec<f32>,
    pub(super) c: Vec<f32>,
}

fn rows(of: &[f32], rows: usize, columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(of, rows, columns)
}

fn rows_mut(of: &mut [f32], rows: usize, columns: usize) -> MatMut<'_, f32> {
    MatMut::from_row_major_slice_mut(of, rows, columns)
}

fn of_rows(slice: &[f32], (first, n): (usize, usize), each: usize) -> &[f32] {
    if slice.is_empty() { slice } else { &slice[first * each..][..n * each] }
}

/// Parts of [`ROWS`] rows of what has `each` values a row; where it has none, a nothing for each part.
fn parts_mut(of: &mut [f32], each: usize, parts: usize) -> Vec<&mut [f32]> {
    if each == 0 { (0..parts).map(|_| &mut [][..]).collect() } else { of.chunks_mut(ROWS * each).collect() }
}

/// The weights in the order in which steps take them, and the biases that their sums begin with.
pub(super) struct Ready {
    /// Of all gates, or of all but the last where that one's product with the hidden state is needed by itself.
    input: Panels,
    hidden: Panels,
    bias: Vec<f32>,
    /// Of the last gate by itself, and its two biases.
    last: Option<Last>,
}

struct Last {
    input: Panels,
    hidden: Panels,
    bias_input: Vec<f32>,
    bias_hidden: Vec<f32>,
}

impl Ready {
    pub(super) fn of<C: Cell>(Sizes { input, hidden, .. }: Sizes, weights: Weights<'_>) -> Self {
        let main = if C::APART { C::GATES - 1 } else { C::GATES } * hidden;
        let panels = |of: &[f32], k: usize| Panels::of_transposed(of, k);
        let (main_input, last_input) = weights.input.split_at(main * input);
        let (main_hidden, last_hidden) = weights.hidden.split_at(main * hidden);
        let biases = weights.bias_input.iter().zip(weights.bias_hidden);
        Self {
            input: panels(main_input, input),
            hidden: panels(main_hidden, hidden),
            bias: biases.take(main).map(|(i, h)| i + h).collect(),
            last: C::APART.then(|| Last {
                input: panels(last_input, input),
                hidden: panels(last_hidden, hidden),
                bias_input: weights.bias_input[main..].to_vec(),
                bias_hidden: weights.bias_hidden[main..].to_vec(),
            }),
        }
    }

    /// Gates of `n` rows before they are activated, those of a row `apart` from those of the next; where the last gate's
    /// product is needed by itself it goes to `of_last`, rows of `hidden`.
    fn gates(
        &self,
        (gates, apart): (&mut [f32], usize),
        (of_last, hidden): (&mut [f32], usize),
        [x, h]: [Rows<'_>; 2],
        n: usize,
        back: bool,
    ) {
        let arch = pulp::Arch::new();
        let main = self.bias.len();
        let pairs = [(x, &self.input), (h, &self.hidden)];
        sum(arch, (&mut *gates, apart), Some(&self.bias), pairs, n, back);
        if let Some(last) = &self.last {
            sum(arch, (&mut gates[main..], apart), Some(&last.bias_input), [(x, &last.input)], n, back);
            sum(arch, (of_last, hidden), Some(&last.bias_hidden), [(h, &last.hidden)], n, back);
        }
    }

    /// The part of the input alone in the gates of `n` rows, with all biases but that of the last gate's product.
    fn inputs(&self, gates: &mut [f32], apart: usize, x: Rows<'_>, n: usize) {
        let arch = pulp::Arch::new();
        sum(arch, (&mut *gates, apart), Some(&self.bias), [(x, &self.input)], n, false);
        if let Some(last) = &self.last {
            let main = self.bias.len();
            sum(arch, (&mut gates[main..], apart), Some(&last.bias_input), [(x, &last.input)], n, false);
        }
    }

    /// The same as [`Ready::gates`] where the part of the input stands there already.
    fn hiddens(&self, gates: &mut [f32], of_last: &mut [f32], h: &[f32], back: bool) {
        let arch = pulp::Arch::new();
        let h = Rows { values: h, apart: h.len() };
        sum(arch, (gates, 0), None, [(h, &self.hidden)], 1, back);
        if let Some(last) = &self.last {
            sum(arch, (of_last, 0), Some(&last.bias_hidden), [(h, &last.hidden)], 1, back);
        }
    }
}

/// What a part of a forward pass writes.
struct PartMut<'a> {
    y: &'a mut [f32],
    h: &'a mut [f32],
    c: &'a mut [f32],
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    apart: &'a mut [f32],
}

/// Forward over all steps, to an answer of `rows` rows, at least as many as steps. Rows of `x` may lie apart. `lengths`,
/// where given, are the steps of each row that count; after them its states stay.
pub(super) fn forward<C: Cell>(
    sizes: Sizes,
    rows: usize,
    x: Rows<'_>,
    weights: Weights<'_>,
    states: States<'_>,
    lengths: Option<&[usize]>,
) -> Passed {
    let Sizes { batch, steps, input, hidden, .. } = sizes;
    let wide = C::GATES * hidden;
    let ready = Ready::of::<C>(sizes, weights);
    let only = |wanted: bool, each: usize| if wanted { each } else { 0 };
    let (cell, of_cells, of_apart) =
        (only(C::CELL, hidden), only(C::CELL, steps * hidden), only(C::APART, steps * hidden));
    let mut out = Passed {
        y: vec![0.0; batch * rows * hidden],
        h: states.h.to_vec(),
        c: if C::CELL { states.c.to_vec() } else { vec![] },
        gates: vec![0.0; batch * steps * wide],
        cells: vec![0.0; batch * of_cells],
        apart: vec![0.0; batch * of_apart],
    };
    let n_parts = batch.div_ceil(ROWS);
    let mut c = parts_mut(&mut out.c, cell, n_parts).into_iter();
    let mut cells = parts_mut(&mut out.cells, of_cells, n_parts).into_iter();
    let mut apart = parts_mut(&mut out.apart, of_apart, n_parts).into_iter();
    let parts: Vec<PartMut<'_>> = parts_mut(&mut out.y, rows * hidden, n_parts)
        .into_iter()
        .zip(parts_mut(&mut out.h, hidden, n_parts))
        .zip(parts_mut(&mut out.gates, steps * wide, n_parts))
        .map(|((y, h), gates)| PartMut {
            y,
            h,
            gates,
            c: c.next().unwrap_or_default(),
            cells: cells.next().unwrap_or_default(),
            apart: apart.next().unwrap_or_default(),
        })
        .collect();
    parts.into_par_iter().enumerate().for_each(|(part, to)| {
        let (first, n) = (part * ROWS, to.h.len() / hidden);
        let alive = |row: usize, t: usize| lengths.is_none_or(|l| t < l[first + row]);
        for k in 0..steps {
            let t = if sizes.reverse { steps - 1 - k } else { k };
            let now = Rows { values: &x.values[first * x.apart + t * input..], apart: x.apart };
            let before = Rows { values: to.h, apart: hidden };
            let of_last = if C::APART { &mut to.apart[t * hidden..] } else { &mut [][..] };
            let gates = (&mut to.gates[t * wide..], steps * wide);
            ready.gates(gates, (of_last, steps * hidden), [now, before], n, k % 2 == 1);
            vectorised!({
                for row in 0..n {
                    if !alive(row, t) {
                        continue;
                    }
                    let at = row * steps + t;
                    let gates = &mut to.gates[at * wide..][..wide];
                    let h = &mut to.h[row * hidden..][..hidden];
                    let c = if C::CELL { &mut to.c[row * hidden..][..hidden] } else { &mut [][..] };
                    let apart = if C::APART { &to.apart[at * hidden..][..hidden] } else { &[][..] };
                    C::forward(gates, apart, h, c);
                    to.y[(row * rows + t) * hidden..][..hidden].copy_from_slice(h);
                    if C::CELL {
                        to.cells[at * hidden..][..hidden].copy_from_slice(c);
                    }
                }
            });
        }
        states_behind(to.y, rows, sizes, [to.h, to.c]);
    });
    out
}

/// Puts the last states behind the steps of an answer of `rows` rows, where there is room for them.
fn states_behind(answer: &mut [f32], rows: usize, Sizes { steps, hidden, .. }: Sizes, [h, c]: [&[f32]; 2]) {
    for (row, answer) in answer.chunks_exact_mut(rows * hidden).enumerate() {
        let after = answer[steps * hidden..].chunks_exact_mut(hidden);
        for (to, of) in after.zip([h, c]) {
            to.copy_from_slice(&of[row * hidden..][..hidden]);
        }
    }
}

/// The answer alone, where no way back follows: `[batch, rows, hidden]` with `rows` at least as many as steps, the last
/// states after the steps where there is room for them. Rows of `x` may lie apart. Nothing as long as the steps is written
/// but the answer.
pub(super) fn answer<C: Cell>(
    sizes: Sizes,
    rows: usize,
    x: Rows<'_>,
    weights: Weights<'_>,
    states: States<'_>,
    lengths: Option<&[usize]>,
) -> Vec<f32> {
    let Sizes { batch, steps, hidden, .. } = sizes;
    let ready = Ready::of::<C>(sizes, weights);
    let mut out = vec![0.0; batch * rows * hidden];
    out.par_chunks_mut(ROWS * rows * hidden).enumerate().for_each(|(part, out)| {
        let (first, n) = (part * ROWS, out.len() / (rows * hidden));
        let mut walk = Walk::<C>::new(sizes, &ready, states, (first, n));
        let x = Rows { values: &x.values[first * x.apart..], apart: x.apart };
        let lengths = lengths.map(|l| &l[first..]);
        walk.go(x, 0..steps, lengths, (&mut *out, rows));
        states_behind(out, rows, sizes, [&walk.h, &walk.c]);
    });
    out
}

/// Rows of a batch on their way through the steps of a layer.
pub(super) struct Walk<'a, C> {
    ready: &'a Ready,
    sizes: Sizes,
    n: usize,
    /// The states, `[n, hidden]`.
    pub(super) h: Vec<f32>,
    pub(super) c: Vec<f32>,
    gates: Vec<f32>,
    of_last: Vec<f32>,
    cell: PhantomData<C>,
}

impl<'a, C: Cell> Walk<'a, C> {
    /// Of `n` rows from `first` on, which begin at their `states`.
    pub(super) fn new(
        sizes: Sizes,
        ready: &'a Ready,
        states: States<'_>,
        (first, n): (usize, usize),
    ) -> Self {
        let hidden = sizes.hidden;
        let of_last = vec![0.0; if C::APART { n * hidden } else { 0 }];
        let h = of_rows(states.h, (first, n), hidden).to_vec();
        let c = if C::CELL { of_rows(states.c, (first, n), hidden).to_vec() } else { vec![] };
        Self { ready, sizes, n, h, c, gates: vec![], of_last, cell: PhantomData }
    }

    /// Through these steps, of which `x` holds no others; the first of them is the first of each row of `out`, which holds
    /// `rows` of them.
    pub(super) fn go(
        &mut self,
        x: Rows<'_>,
        part: Range<usize>,
        lengths: Option<&[usize]>,
        (out, rows): (&mut [f32], usize),
    ) {
        let Self { ready, n, sizes: Sizes { input, hidden, reverse, .. }, h, c, gates, of_last, .. } = self;
        let (n, input, hidden, steps) = (*n, *input, *hidden, part.len());
        let wide = C::GATES * hidden;
        let alive = |row: usize, t: usize| lengths.is_none_or(|l| part.start + t < l[row]);
        // Of a row alone the weights are read for nothing but it: those of the input once for all steps together.
        let alone = n == 1;
        gates.resize(if alone { steps * wide } else { n * wide }, 0.0);
        if alone {
            ready.inputs(gates, wide, Rows { values: x.values, apart: input }, steps);
        }
        for k in 0..steps {
            let t = if *reverse { steps - 1 - k } else { k };
            let gates = if alone { &mut gates[t * wide..][..wide] } else { &mut gates[..] };
            if alone {
                ready.hiddens(gates, of_last, h, k % 2 == 1);
            } else {
                let now = Rows { values: &x.values[t * input..], apart: x.apart };
                let before = Rows { values: h, apart: hidden };
                ready.gates((&mut *gates, wide), (&mut *of_last, hidden), [now, before], n, k % 2 == 1);
            }
            vectorised!({
                for row in 0..n {
                    if !alive(row, t) {
                        continue;
                    }
                    let gates = &mut gates[row * wide..][..wide];
                    let h = &mut h[row * hidden..][..hidden];
                    let c = if C::CELL { &mut c[row * hidden..][..hidden] } else { &mut [][..] };
                    let apart = if C::APART { &of_last[row * hidden..][..hidden] } else { &[][..] };
                    C::answer(gates, apart, h, c);
                    out[(row * rows + t) * hidden..][..hidden].copy_from_slice(h);
                }
            });
        }
    }
}

/// What the way back needs of a forward pass.
pub(super) struct Seen<'a> {
    /// The answer, `[batch, rows, hidden]`.
    pub(super) y: &'a [f32],
    /// They go, and their gradients take their place.
    pub(super) gates: Vec<f32>,
    pub(super) cells: &'a [f32],
    pub(super) apart: &'a [f32],
}

/// Back over all steps from `outer`, the gradient of the answer of `rows` rows.
#[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
pub(super) fn backward<C: Cell>(
    sizes: Sizes,
    rows_of_answer: usize,
    x: &[f32],
    weights: Weights<'_>,
    states: States<'_>,
    lengths: Option<&[usize]>,
    mut seen: Seen<'_>,
    outer: &[f32],
) -> Gradients {
    let Sizes { batch, steps, input, hidden, .. } = sizes;
    let wide = C::GATES * hidden;
    let of_hidden = Panels::of(weights.hidden, hidden);
    let mut done: Vec<Gradients> = Vec::new();
    let mut of_x = vec![0.0; batch * steps * input];
    let n_parts = batch.div_ceil(ROWS);
    let all_gates = parts_mut(&mut seen.gates, steps * wide, n_parts);
    all_gates
        .into_par_iter()
        .zip(parts_mut(&mut of_x, steps * input, n_parts))
        .enumerate()
        .map(|(k, (gates, of_x))| {
            let part = (k * ROWS, gates.len() / (steps * wide));
            let (first, n) = part;
            let alive = |row: usize, t: usize| lengths.is_none_or(|l| t < l[first + row]);
            let mut products = if C::APART { vec![0.0; gates.len()] } else { vec![] };
            let cells = of_rows(seen.cells, part, steps * hidden);
            let apart = of_rows(seen.apart, part, steps * hidden);
            let y = of_rows(seen.y, part, rows_of_answer * hidden);
            let (h0, c0) = (of_rows(states.h, part, hidden), of_rows(states.c, part, hidden));
            let outer = of_rows(outer, part, rows_of_answer * hidden);
            // The gradient of a last state stands behind the steps.
            let begin = |state: usize| {
                let row = |outer: &[f32]| match outer.get((steps + state) * hidden..) {
                    Some(of) if of.len() >= hidden => of[..hidden].to_vec(),
                    _ => vec![0.0; hidden],
                };
                outer.chunks_exact(rows_of_answer * hidden).flat_map(row).collect::<Vec<f32>>()
            };
            let (mut dh, mut dc) = (begin(0), begin(1));
            // The gradient of the last gate's product is its own.
            let mut here = vec![0.0; if C::APART { n * wide } else { 0 }];
            // The hidden state before each step, which the weights' gradient needs in the order of the gates.
            let mut before = vec![0.0; n * steps * hidden];
            for row in 0..n {
                let mut last = &h0[row * hidden..][..hidden];
                for k in 0..steps {
                    let t = if sizes.reverse { steps - 1 - k } else { k };
                    let at = (row * steps + t) * hidden;
                    before[at..at + hidden].copy_from_slice(last);
                    if alive(row, t) {
                        last = &y[(row * rows_of_answer + t) * hidden..][..hidden];
                    }
                }
            }
            let arch = pulp::Arch::new();
            for k in (0..steps).rev() {
                let t = if sizes.reverse { steps - 1 - k } else { k };
                vectorised!({
                    for row in 0..n {
                        let at = row * steps + t;
                        let gates = &mut gates[at * wide..][..wide];
                        let here = if C::APART { &mut here[row * wide..][..wide] } else { &mut [][..] };
                        if !alive(row, t) {
                            gates.fill(0.0);
                            here.fill(0.0);
                            continue;
                        }
                        let dh = &mut dh[row * hidden..][..hidden];
                        let dc = &mut dc[row * hidden..][..hidden];
                        let of_y = &outer[(row * rows_of_answer + t) * hidden..][..hidden];
                        dh.iter_mut().zip(of_y).for_each(|(d, y)| *d += y);
                        let h_before = &before[at * hidden..][..hidden];
                        let (c_before, c) = if C::CELL {
                            let start = if sizes.reverse { t + 1 == steps } else { t == 0 };
                            let earlier = if sizes.reverse { at + 1 } else { at.wrapping_sub(1) };
                            // In reverse a row begins where its padding ends.
                            let start = start || (sizes.reverse && !alive(row, t + 1));
                            let of = if start {
                                &c0[row * hidden..][..hidden]
                            } else {
                                &cells[earlier * hidden..][..hidden]
                            };
                            (of, &cells[at * hidden..][..hidden])
                        } else {
                            (&[][..], &[][..])
                        };
                        let apart = if C::APART { &apart[at * hidden..][..hidden] } else { &[][..] };
                        C::backward(gates, here, dh, dc, h_before, c_before, c, apart);
                        if C::APART {
                            products[at * wide..][..wide].copy_from_slice(here);
                        }
                    }
                });
                let of_products = match C::APART {
                    true => Rows { values: &here, apart: wide },
                    false => Rows { values: &gates[t * wide..], apart: steps * wide },
                };
                add_product(arch, (&mut dh, hidden), of_products, n, &of_hidden);
            }
            let gates = &*gates;
            let product = if C::APART { &products[..] } else { gates };
            let mut out = Gradients {
                x: vec![],
                input: vec![0.0; wide * input],
                hidden: vec![0.0; wide * hidden],
                bias_input: vec![0.0; wide],
                bias_hidden: vec![0.0; wide],
                h: dh,
                c: if C::CELL { dc } else { vec![] },
            };
            let of_gates = rows(gates, n * steps, wide);
            let inputs = rows(of_rows(x, part, steps * input), n * steps, input);
            let over = Accum::Replace;
            let of_input = rows(weights.input, wide, input);
            matmul(rows_mut(of_x, n * steps, input), over, of_gates, of_input, 1.0, Par::Seq);
            matmul(rows_mut(&mut out.input, wide, input), over, of_gates.transpose(), inputs, 1.0, Par::Seq);
            let (of_product, earlier) = (rows(product, n * steps, wide), rows(&before, n * steps, hidden));
            matmul(
                rows_mut(&mut out.hidden, wide, hidden),
                over,
                of_product.transpose(),
                earlier,
                1.0,
                Par::Seq,
            );
            let summed = |to: &mut [f32], of: &[f32]| {
                vectorised!({
                    for row in of.chunks_exact(wide) {
                        to.iter_mut().zip(row).for_each(|(t, v)| *t += v);
                    }
                });
            };
            summed(&mut out.bias_input, gates);
            summed(&mut out.bias_hidden, product);
            out
        })
        .collect_into_vec(&mut done);
    let mut done = done.into_iter();
    let Some(mut all) = done.next() else {
        return Gradients {
            input: vec![0.0; wide * input],
            hidden: vec![0.0; wide * hidden],
            bias_input: vec![0.0; wide],
            bias_hidden: vec![0.0; wide],
            ..Gradients::default()
        };
    };
    for part in done {
        all.h.extend_from_slice(&part.h);
        all.c.extend_from_slice(&part.c);
        for (to, of) in [
            (&mut all.input, &part.input),
            (&mut all.hidden, &part.hidden),
            (&mut all.bias_input, &part.bias_input),
            (&mut all.bias_hidden, &part.bias_hidden),
        ] {
            to.iter_mut().zip(of).for_each(|(t, v)| *t += v);
        }
    }
    all.x = of_x;
    all
}
