#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::cell::{Cell, ElmanCell, GruCell, LstmCell};
use super::pass::{Passed, Ready, Seen, Sizes, States, Weights, backward, forward};
use super::*;
use crate::product::Rows;
use burn::tensor::TensorData;
use rand::RngExt;
use std::ops::Range;
use tradewind_core::Run;

/// All that goes into a pass, at random.
#[derive(Clone)]
struct Given {
    sizes: Sizes,
    /// x, input, hidden, bias of each, h, c.
    parts: [Vec<f32>; 7],
    lengths: Option<Vec<usize>>,
}

fn given<C: Cell>(sizes: Sizes, lengths: Option<Vec<usize>>) -> Given {
    let Sizes { batch, steps, input, hidden, .. } = sizes;
    let wide = C::GATES * hidden;
    let mut rng = Run::new(7).rng(3);
    let counts = [
        batch * steps * input,
        wide * input,
        wide * hidden,
        wide,
        wide,
        batch * hidden,
        if C::CELL { batch * hidden } else { 0 },
    ];
    let parts = counts.map(|n| (0..n).map(|_| rng.random_range(-0.8_f32..0.8)).collect());
    Given { sizes, parts, lengths }
}

/// Rows of an answer with its last states.
fn rows_of<C: Cell>(steps: usize) -> usize {
    steps + 1 + usize::from(C::CELL)
}

impl Given {
    fn weights(&self) -> Weights<'_> {
        let [_, input, hidden, bias_input, bias_hidden, ..] = &self.parts;
        Weights { input, hidden, bias_input, bias_hidden }
    }

    fn states(&self) -> States<'_> {
        States { h: &self.parts[5], c: &self.parts[6] }
    }

    fn forward<C: Cell>(&self) -> Passed {
        let x = Rows { values: &self.parts[0], apart: self.sizes.steps * self.sizes.input };
        let rows = rows_of::<C>(self.sizes.steps);
        forward::<C>(self.sizes, rows, x, self.weights(), self.states(), self.lengths.as_deref())
    }
}

/// A weighted sum of all that a pass answers, with weights of both signs.
fn score(passed: &Passed) -> f64 {
    outer(passed).iter().zip(&passed.y).map(|(w, v)| f64::from(*w) * f64::from(*v)).sum()
}

fn outer(passed: &Passed) -> Vec<f32> {
    (0..passed.y.len()).map(|k| ((k * 37) % 19) as f32 / 9.0 - 1.0).collect()
}

fn gradients_are_slopes<C: Cell>() {
    for (reverse, lengths) in
        [(false, None), (true, None), (false, Some(vec![5, 2, 0])), (true, Some(vec![1, 5, 3]))]
    {
        let sizes = Sizes { batch: 3, steps: 5, input: 3, hidden: 4, reverse };
        let given = given::<C>(sizes, lengths);
        let passed = given.forward::<C>();
        let outer = outer(&passed);
        let gates = passed.gates.clone();
        let seen = Seen { y: &passed.y, gates, cells: &passed.cells, apart: &passed.apart };
        let back = backward::<C>(
            sizes,
            rows_of::<C>(sizes.steps),
            &given.parts[0],
            given.weights(),
            given.states(),
            given.lengths.as_deref(),
            seen,
            &outer,
        );
        let told =
            [&back.x, &back.input, &back.hidden, &back.bias_input, &back.bias_hidden, &back.h, &back.c];
        for (p, told) in told.into_iter().enumerate() {
            assert_eq!(told.len(), given.parts[p].len());
            for (k, told) in told.iter().enumerate() {
                let moved = |by: f32| {
                    let mut given = given.clone();
                    given.parts[p][k] += by;
                    score(&given.forward::<C>())
                };
                let slope = (moved(0.01) - moved(-0.01)) / 0.02;
                let off = (slope - f64::from(*told)).abs();
                assert!(off < 2e-3 * (1.0 + slope.abs()), "part {p}, {k}: {told} and {slope}, {reverse}");
            }
        }
    }
}

#[test]
fn gradients_of_the_plain_layer_are_slopes() {
    gradients_are_slopes::<ElmanCell>();
}

#[test]
fn gradients_of_the_gru_are_slopes() {
    gradients_are_slopes::<GruCell>();
}

#[test]
fn gradients_of_the_lstm_are_slopes() {
    gradients_are_slopes::<LstmCell>();
}

/// The answer without a way back is that of the pass with one.
fn the_answer_alone_is_the_same<C: Cell>() {
    for (reverse, batch) in [(false, 1), (true, 70), (false, 33)] {
        let (steps, hidden) = (6, 80);
        let sizes = Sizes { batch, steps, input: 5, hidden, reverse };
        let given = given::<C>(sizes, (batch > 1).then(|| (0..batch).map(|r| r % 7).collect()));
        let passed = given.forward::<C>();
        let rows = steps + 1 + usize::from(C::CELL);
        let (x, lengths) = (&given.parts[0], given.lengths.as_deref());
        let x = Rows { values: x, apart: steps * sizes.input };
        let told = pass::answer::<C>(sizes, rows, x, given.weights(), given.states(), lengths);
        for (row, told) in told.chunks_exact(rows * hidden).enumerate() {
            let expected = &passed.y[row * rows * hidden..][..rows * hidden];
            let of = |all: &[f32]| all.get(row * hidden..(row + 1) * hidden).unwrap_or_default().to_vec();
            assert_eq!([of(&passed.h), of(&passed.c)].concat(), expected[steps * hidden..]);
            assert!(told.iter().zip(expected).all(|(a, b)| (a - b).abs() < 3e-5), "{row} {reverse} {batch}");
        }
    }
}

#[test]
fn answers_need_no_way_back() {
    the_answer_alone_is_the_same::<ElmanCell>();
    the_answer_alone_is_the_same::<GruCell>();
    the_answer_alone_is_the_same::<LstmCell>();
}

/// Layers beside each other give the bits of layers one after the other, on any number of threads.
fn a_stack_is_its_layers<C: Cell>() {
    for (batch, steps) in [(1, 19), (1, 1), (3, 16), (32, 9), (33, 5), (71, 19)] {
        let hidden = 20;
        let first = Sizes { batch, steps, input: 5, hidden, reverse: false };
        let lengths = (batch > 1).then(|| (0..batch).map(|r| r % (steps + 1)).collect::<Vec<_>>());
        let given: Vec<Given> = [5, hidden, hidden]
            .map(|input| given::<C>(Sizes { input, ..first }, lengths.clone()))
            .into_iter()
            .collect();
        let (mut x, mut states) = (given[0].parts[0].clone(), vec![]);
        let rows = rows_of::<C>(steps);
        for layer in &given {
            let apart = x.len() / batch;
            let from = Rows { values: &x, apart };
            let (weights, begin) = (layer.weights(), layer.states());
            let told = pass::answer::<C>(layer.sizes, rows, from, weights, begin, lengths.as_deref());
            let part = |at: Range<usize>| {
                let of =
                    told.chunks_exact(rows * hidden).flat_map(|row| &row[at.start * hidden..at.end * hidden]);
                of.copied().collect::<Vec<f32>>()
            };
            x = part(0..steps);
            states.push([part(steps..steps + 1), part(steps + 1..rows)]);
        }
        let ready: Vec<Ready> = given.iter().map(|l| Ready::of::<C>(l.sizes, l.weights())).collect();
        let layers: Vec<stack::Layer<'_>> =
            ready.iter().zip(&given).map(|(ready, l)| stack::Layer { ready, states: l.states() }).collect();
        let from = Rows { values: &given[0].parts[0], apart: steps * 5 };
        let expected = stack::Answer { y: x, states };
        for threads in [1, 2, 4] {
            let told = Run::new(1)
                .with_threads(threads)
                .install(|| stack::answer::<C>(first, from, &layers, lengths.as_deref()));
            assert_eq!(told, expected, "{batch} rows, {steps} steps, {threads} threads");
        }
        assert_eq!(stack::answer::<C>(first, from, &layers, lengths.as_deref()), expected);
    }
}

/// One division for several gates is within what rounding does, for gates and cells of any size.
#[test]
fn an_lstm_that_only_answers_says_what_one_does_that_learns() {
    let sizes =
        [-1e30, -200.0, -30.0, -19.0, -3.0, -0.5, 0.0, 1e-3, 0.7, 5.0, 21.0, 90.0, 1e30, f32::INFINITY];
    let mut worst = 0.0_f32;
    for (k, i) in sizes.into_iter().enumerate() {
        for (f, g) in sizes.into_iter().flat_map(|f| sizes.map(|g| (f, g))) {
            let o = sizes[(k * 5 + 3) % sizes.len()];
            for before in [-400.0_f32, -1.5, 0.0, 0.3, 60.0] {
                let (mut h, mut c) = ([0.0], [before]);
                LstmCell::forward(&mut [i, f, g, o], &[], &mut h, &mut c);
                let (mut told_h, mut told_c) = ([0.0], [before]);
                LstmCell::answer(&mut [i, f, g, o], &[], &mut told_h, &mut told_c);
                let off = ((told_c[0] - c[0]) / (1.0 + before.abs())).abs().max((told_h[0] - h[0]).abs());
                assert!(off < 1e-6, "{i} {f} {g} {o} {before}: {told_c:?} {told_h:?} for {c:?} {h:?}");
                worst = worst.max(off);
            }
        }
    }
    assert!(worst > 0.0, "the two are the same");
    let (mut h, mut c) = ([0.0], [0.0]);
    LstmCell::answer(&mut [0.0, f32::NAN, 0.0, 0.0], &[], &mut h, &mut c);
    assert!(h[0].is_nan() && c[0].is_nan());
}

#[test]
fn layers_beside_each_other_change_no_bit() {
    a_stack_is_its_layers::<ElmanCell>();
    a_stack_is_its_layers::<GruCell>();
    a_stack_is_its_layers::<LstmCell>();
}

/// A network that nobody learns from answers as one that is trained.
#[test]
fn a_network_at_rest_answers_as_one_that_learns() {
    for recurrence in [Recurrence::Plain, Recurrence::Gru, Recurrence::Lstm] {
        let params = RecurrentParams { hidden: 12, layers: 3, ..RecurrentParams::new(recurrence, 4) };
        let answer = |device: &Device| {
            let network = params.init(device, &mut Run::new(4).rng(0)).unwrap();
            let mut rng = Run::new(4).rng(1);
            let x = tensor(&mut rng, [5, 11, 4], device);
            let state = |rng: &mut _| State {
                h: tensor(rng, [5, 12], device),
                c: (recurrence == Recurrence::Lstm).then(|| tensor(rng, [5, 12], device)),
            };
            let begin: Vec<State> = (0..3).map(|_| state(&mut rng)).collect();
            let lengths = [11, 4, 0, 9, 1];
            let told = network.forward(x, Some(&lengths), Some(&begin), &mut Noise::none()).unwrap();
            let mut all = crate::values(told.y);
            for state in told.states {
                all.extend(crate::values(state.h));
                all.extend(state.c.map(crate::values).unwrap_or_default());
            }
            all
        };
        let (rest, learning) = (answer(&Device::flex()), answer(&Device::flex().autodiff()));
        assert_eq!(rest.len(), learning.len());
        assert!(rest.iter().zip(&learning).all(|(a, b)| (a - b).abs() < 1e-5), "{recurrence:?}");
    }
}

/// Weights that are put into a network change its answers, whatever it has kept of those before.
#[test]
fn other_weights_give_other_answers() {
    let (device, params) =
        (Device::flex(), RecurrentParams { layers: 2, ..RecurrentParams::new(Recurrence::Lstm, 4) });
    let network = |seed: u64| params.init(&device, &mut Run::new(seed).rng(0)).unwrap();
    let x = tensor(&mut Run::new(1).rng(1), [2, 9, 4], &device);
    let answer =
        |of: &Recurrent| crate::values(of.forward(x.clone(), None, None, &mut Noise::none()).unwrap().y);
    let (one, other) = (network(1), network(2));
    let (of_one, of_other) = (answer(&one), answer(&other));
    assert_ne!(of_one, of_other);
    let copy = one.clone();
    let changed = crate::Weights::of(&other).put_into(one).unwrap();
    assert_eq!(answer(&changed), of_other);
    assert_eq!(answer(&copy), of_one);
    // In place, with nobody else to hold the values.
    let mut alone = copy;
    drop(changed);
    let doubled = |of: Tensor<2>| of * 2.0;
    let before = alone.layers[1].weight_hh.val();
    alone.layers[1].weight_hh = alone.layers[1].weight_hh.clone().map(doubled);
    let with_doubled = answer(&alone);
    assert_ne!(with_doubled, of_one);
    alone.layers[1].weight_hh = Param::from_tensor(before);
    assert_eq!(answer(&alone), of_one);
}

/// Rows answer the same alone, among few and among many, and padding changes nothing.
fn rows_do_not_know_of_each_other<C: Cell>() {
    for reverse in [false, true] {
        let sizes = Sizes { batch: 70, steps: 6, input: 5, hidden: 80, reverse };
        let lengths: Vec<usize> = (0..70).map(|r| r % 7).collect();
        let given = given::<C>(sizes, Some(lengths.clone()));
        let all = given.forward::<C>();
        for row in [0, 6, 33, 40, 69] {
            let take = |of: &[f32]| of[row * of.len() / 70..(row + 1) * of.len() / 70].to_vec();
            let mut parts = given.parts.clone();
            for p in [0, 5, 6] {
                parts[p] = take(&given.parts[p]);
            }
            // Without its padding.
            let steps = lengths[row].max(1);
            parts[0].truncate(steps * 5);
            let lengths = Some(vec![lengths[row]]);
            let alone = Given { sizes: Sizes { batch: 1, steps, ..sizes }, parts, lengths }.forward::<C>();
            let near = |a: &[f32], b: &[f32]| {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "row {row}, {reverse}");
            };
            near(&alone.h, &take(&all.h));
            near(&alone.c, &take(&all.c));
            let whole = take(&all.y);
            near(&alone.y[..steps * 80], &whole);
            assert!(whole[steps * 80..6 * 80].iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn rows_of_a_batch_do_not_know_of_each_other() {
    rows_do_not_know_of_each_other::<ElmanCell>();
    rows_do_not_know_of_each_other::<GruCell>();
    rows_do_not_know_of_each_other::<LstmCell>();
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let sizes = Sizes { batch: 150, steps: 9, input: 7, hidden: 33, reverse: false };
    let given = given::<LstmCell>(sizes, None);
    let pass = |threads: usize| {
        Run::new(1).with_threads(threads).install(|| {
            let passed = given.forward::<LstmCell>();
            let gates = passed.gates.clone();
            let seen = Seen { y: &passed.y, gates, cells: &passed.cells, apart: &passed.apart };
            let outer = outer(&passed);
            let back = backward::<LstmCell>(
                sizes,
                rows_of::<LstmCell>(sizes.steps),
                &given.parts[0],
                given.weights(),
                given.states(),
                None,
                seen,
                &outer,
            );
            (passed.y, back.x, back.hidden, back.bias_input)
        })
    };
    assert_eq!(pass(1), pass(4));
}

fn tensor<const D: usize>(rng: &mut impl Rng, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The operation of our own and burn's operations step by step: the same answers and the same gradients.
#[test]
fn the_operation_agrees_with_its_steps() {
    let device = Device::flex().autodiff();
    for recurrence in [Recurrence::Plain, Recurrence::Gru, Recurrence::Lstm] {
        for lengths in [None, Some(vec![4_usize, 2, 0, 3, 1])] {
            let mut rng = Run::new(2).rng(1);
            let params = RecurrentParams { hidden: 6, ..RecurrentParams::new(recurrence, 3) };
            let network = params.init(&device, &mut rng).unwrap();
            let layer = &network.layers[0];
            let x = tensor(&mut rng, [5, 4, 3], &device).require_grad();
            let state = State {
                h: tensor(&mut rng, [5, 6], &device).require_grad(),
                c: (recurrence == Recurrence::Lstm).then(|| tensor(&mut rng, [5, 6], &device).require_grad()),
            };
            let weight = tensor(&mut rng, [5, 4, 6], &device);
            let answer = |by_steps: bool| {
                let told = if by_steps {
                    layer.by_steps(
                        recurrence,
                        x.clone(),
                        lengths.as_deref(),
                        state.h.clone(),
                        state.c.clone(),
                    )
                } else {
                    let lengths = lengths.clone().map(Into::into);
                    layer.forward(recurrence, x.clone(), lengths, Some(&state))
                };
                let (y, last) = told;
                let mut loss = (y.clone() * weight.clone()).sum() + last.h.clone().sum() * 0.5;
                if let Some(c) = last.c.clone() {
                    loss = loss + (c.clone() * c).sum();
                }
                let gradients = loss.backward();
                let mut told =
                    vec![y.into_data(), last.h.into_data(), x.grad(&gradients).unwrap().into_data()];
                told.push(state.h.grad(&gradients).unwrap().into_data());
                told.extend(state.c.as_ref().map(|c| c.grad(&gradients).unwrap().into_data()));
                told.push(layer.weight_ih.val().grad(&gradients).unwrap().into_data());
                told.push(layer.weight_hh.val().grad(&gradients).unwrap().into_data());
                told.push(layer.bias_ih.val().grad(&gradients).unwrap().into_data());
                told.push(layer.bias_hh.val().grad(&gradients).unwrap().into_data());
                told
            };
            for (k, (ours, steps)) in answer(false).into_iter().zip(answer(true)).enumerate() {
                let (ours, steps) = (ours.try_to_vec::<f32>().unwrap(), steps.try_to_vec::<f32>().unwrap());
                assert_eq!(ours.len(), steps.len());
                for (a, b) in ours.iter().zip(&steps) {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{recurrence:?} {k}: {a} and {b}");
                }
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    let (device, mut rng) = (Device::flex(), Run::new(2).rng(1));
    let network = RecurrentParams::new(Recurrence::Gru, 3).init(&device, &mut rng).unwrap();
    let ask = |shape: [usize; 3], lengths: Option<&[usize]>| {
        network.forward(Tensor::zeros(shape, &device), lengths, None, &mut Noise::none())
    };
    assert!(ask([2, 1, 3], None).is_ok());
    assert!(ask([2, 4, 2], None).is_err() && ask([2, 4, 3], Some(&[4, 5])).is_err());
    let begin = State { h: Tensor::zeros([1, 64], &device), c: None };
    let told = network.forward(Tensor::zeros([2, 4, 3], &device), None, Some(&[begin]), &mut Noise::none());
    assert!(told.is_err());
    assert!(
        RecurrentParams { hidden: 0, ..RecurrentParams::new(Recurrence::Gru, 3) }
            .init(&device, &mut rng)
            .is_err()
    );
}
