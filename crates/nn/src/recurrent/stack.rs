//! Layers one upon the other while nothing is learnt: each on a thread of its own, a few steps behind the one below.
//!
//! ```text
//! layer 1   ▇▇▇▇ ▇▇▇▇ ▇▇▇▇ ▇▇▇▇
//! layer 2        ▇▇▇▇ ▇▇▇▇ ▇▇▇▇ ▇▇▇▇    ─→ time
//! ```
//!
//! The steps of few rows cannot be shared among threads, as each needs the one before; those of layers can (Appleyard,
//! Kočiský & Blunsom, *Optimizing performance of recurrent neural networks on GPUs*, 2016). A thread also finds the weights
//! of its layer near to it. Many rows are shared among threads instead, and each part of them goes through all layers a few
//! steps at a time, so that what a layer tells is near when the next takes it. Either way each layer takes the steps in their
//! order, so the answer is that of one layer after the other.

use super::cell::Cell;
use super::pass::{ROWS, Ready, Sizes, States, Walk};
use crate::product::Rows;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// Steps that are handed on together.
const STEPS: usize = 8;
/// How often a layer looks whether the other is done before it sleeps.
const SPINS: usize = 2_000;

/// A layer, and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) ready: &'a Ready,
    pub(super) states: States<'a>,
}

/// What a stack answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// The last layer at each step, `[batch, steps, hidden]`.
    pub(super) y: Vec<f32>,
    /// The last states of each layer, `[batch, hidden]` each; the second is empty for cells without a cell state.
    pub(super) states: Vec<[Vec<f32>; 2]>,
}

/// From the first step to the last through all layers. Rows of `x` may lie apart; `lengths`, where given, are the steps of
/// each row that count.
pub(super) fn answer<C: Cell>(
    sizes: Sizes,
    x: Rows<'_>,
    layers: &[Layer<'_>],
    lengths: Option<&[usize]>,
) -> Answer {
    let mut out = Answer {
        y: vec![0.0; sizes.batch * sizes.steps * sizes.hidden],
        states: vec![Default::default(); layers.len()],
    };
    if sizes.batch > ROWS {
        in_parts::<C>(sizes, x, layers, lengths, &mut out);
    } else {
        side_by_side::<C>(sizes, x, layers, lengths, &mut out);
    }
    out
}

/// Parts of [`ROWS`] rows, each by itself.
fn in_parts<C: Cell>(
    sizes: Sizes,
    x: Rows<'_>,
    layers: &[Layer<'_>],
    lengths: Option<&[usize]>,
    Answer { y, states }: &mut Answer,
) {
    let Sizes { steps, hidden, .. } = sizes;
    let part = |k: usize, y: &mut [f32]| -> Vec<[Vec<f32>; 2]> {
        let (first, n) = (k * ROWS, y.len() / (steps * hidden));
        let lengths = lengths.map(|l| &l[first..]);
        let mut input = sizes.input;
        let mut walks: Vec<Walk<'_, C>> = layers
            .iter()
            .map(|layer| {
                let sizes = Sizes { input, ..sizes };
                input = hidden;
                Walk::new(sizes, layer.ready, layer.states, (first, n))
            })
            .collect();
        let mut told = [(); 2].map(|()| vec![0.0; n * STEPS.min(steps) * hidden]);
        for from in (0..steps).step_by(STEPS) {
            let now = from..steps.min(from + STEPS);
            let count = now.len();
            let (last, above) = (walks.len() - 1, count * hidden);
            for (layer, walk) in walks.iter_mut().enumerate() {
                let [below, own] = &mut told;
                let given = match layer {
                    0 => Rows { values: &x.values[first * x.apart + from * sizes.input..], apart: x.apart },
                    _ => Rows { values: below, apart: above },
                };
                if layer == last {
                    walk.go(given, now.clone(), lengths, (&mut y[from * hidden..], steps));
                    continue;
                }
                if lengths.is_some() {
                    // Rows that have ended are not written.
                    own.fill(0.0);
                }
                walk.go(given, now.clone(), lengths, (own, count));
                told.swap(0, 1);
            }
        }
        walks.into_iter().map(|walk| [walk.h, walk.c]).collect()
    };
    let each = ROWS * steps * hidden;
    let mut ends = vec![vec![]; y.len().div_ceil(each)];
    let (n, done) = (ends.len(), AtomicUsize::new(0));
    let run = |k: usize, y: &mut [f32], end: &mut Vec<[Vec<f32>; 2]>| {
        *end = part(k, y);
        done.fetch_add(1, Ordering::Relaxed);
    };
    // The first part goes at once, on this thread: the others have to be woken for theirs.
    rayon::in_place_scope(|scope| {
        let mut parts = y.chunks_mut(each).zip(&mut ends).enumerate();
        let first = parts.next();
        for (k, (y, end)) in parts {
            let run = &run;
            scope.spawn(move |_| run(k, y, end));
        }
        if let Some((k, (y, end))) = first {
            run(k, y, end);
        }
        for _ in 0..SPINS {
            if done.load(Ordering::Relaxed) == n {
                break;
            }
            std::hint::spin_loop();
        }
    });
    for (to, of) in ends.into_iter().flat_map(|of| of.into_iter().enumerate()) {
        for (to, of) in states[to].iter_mut().zip(of) {
            to.extend(of);
        }
    }
}

/// Few rows: layers on threads of their own.
fn side_by_side<C: Cell>(
    sizes: Sizes,
    x: Rows<'_>,
    layers: &[Layer<'_>],
    lengths: Option<&[usize]>,
    Answer { y, states }: &mut Answer,
) {
    let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    rayon::in_place_scope(|scope| {
        let count = [&begun, &done];
        go::<C>(scope, Part { sizes, below: Below::Input(x), layers, lengths, y, states, count });
        // Those above end a moment later where they have begun.
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        for _ in 0..SPINS {
            if of(&begun) < layers.len() || of(&done) == layers.len() {
                break;
            }
            std::hint::spin_loop();
        }
    });
}

/// Where the steps of a layer come from.
enum Below<'a> {
    Input(Rows<'a>),
    Layer(Receiver<Vec<f32>>),
}

/// The layers of a stack that are still to be gone through, the first of them on this thread.
struct Part<'a> {
    sizes: Sizes,
    below: Below<'a>,
    layers: &'a [Layer<'a>],
    lengths: Option<&'a [usize]>,
    y: &'a mut [f32],
    states: &'a mut [[Vec<f32>; 2]],
    /// How many layers have begun, and how many are done.
    count: [&'a AtomicUsize; 2],
}

/// The next steps of the layer below, which are there within microseconds where both have a core of their own: to be woken
/// from sleep would take longer than that.
fn next_of(below: &Receiver<Vec<f32>>) -> Option<Vec<f32>> {
    for _ in 0..SPINS {
        match below.try_recv() {
            Ok(steps) => return Some(steps),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    below.recv().ok()
}

/// A layer waits for the one below alone, which has begun before and waits for none above: with a single thread they go
/// one after the other.
fn go<'a, C: Cell>(scope: &rayon::Scope<'a>, part: Part<'a>) {
    let Part { sizes, below, layers, lengths, y, states, count } = part;
    let [begun, done] = count;
    begun.fetch_add(1, Ordering::Relaxed);
    let (Some((layer, above)), Some((last, of_above))) = (layers.split_first(), states.split_first_mut())
    else {
        return;
    };
    let (mut to_above, mut answer): (Option<Sender<Vec<f32>>>, Option<&mut [f32]>) = (None, None);
    if above.is_empty() {
        answer = Some(y);
    } else {
        let (to, from) = channel();
        to_above = Some(to);
        let sizes = Sizes { input: sizes.hidden, ..sizes };
        let below = Below::Layer(from);
        let above = Part { sizes, below, layers: above, lengths, y, states: of_above, count };
        scope.spawn(move |scope| go::<C>(scope, above));
    }
    let Sizes { batch, steps, input, hidden, .. } = sizes;
    let mut walk = Walk::<C>::new(sizes, layer.ready, layer.states, (0, batch));
    for first in (0..steps).step_by(STEPS) {
        let now = first..steps.min(first + STEPS);
        let n = now.len();
        let received;
        let x = match &below {
            Below::Input(x) => Rows { values: &x.values[first * input..], apart: x.apart },
            Below::Layer(from) => {
                // It only ends before its last step when it panics, which the scope hands on.
                let Some(of_below) = next_of(from) else { return };
                received = of_below;
                Rows { values: &received, apart: n * input }
            }
        };
        if let Some(y) = &mut answer {
            walk.go(x, now, lengths, (&mut y[first * hidden..], steps));
        } else if let Some(to) = &to_above {
            let mut told = vec![0.0; batch * n * hidden];
            walk.go(x, now, lengths, (&mut told, n));
            // Who is not there any more has panicked.
            let _ = to.send(told);
        }
    }
    *last = [walk.h, walk.c];
    done.fetch_add(1, Ordering::Relaxed);
}
