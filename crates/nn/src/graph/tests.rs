#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use rand::RngExt;
use tradewind_core::Run;

fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Run::new(5).rng(stream);
    (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
}

fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// More rows than a part has, of which every eleventh hears nobody and one hears all.
fn graph(rows: usize, columns: usize) -> Neighbours {
    let mut rng = Run::new(3).rng(1);
    let mut edges = Vec::new();
    for i in 0..rows {
        let n = if i == 5 { columns } else { rng.random_range(0..9) * usize::from(i % 11 > 0) };
        edges.extend((0..n).map(|k| {
            let j = if i == 5 { k } else { rng.random_range(0..columns) };
            (i as u32, j as u32, rng.random_range(0.1_f32..2.0))
        }));
    }
    Neighbours::from_edges(rows, columns, &edges).unwrap()
}

/// Values, and the gradients of values and vectors, of a weighted sum of what an operation tells.
fn slopes(
    graph: &Neighbours,
    heads: usize,
    width: usize,
    operation: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
) -> [Vec<f32>; 3] {
    let device = Device::flex().autodiff();
    let values = tensor(&numbers(graph.edges() * heads, 1), [graph.edges(), heads], &device).require_grad();
    let x = numbers(graph.columns() * heads * width, 2);
    let x = tensor(&x, [graph.columns(), heads * width], &device).require_grad();
    let told = operation(values.clone(), x.clone());
    let outer = tensor(&numbers(told.shape().num_elements(), 3), told.dims(), &device);
    let out = crate::values(told.clone());
    let slopes = (told * outer).sum().backward();
    let of = |t: &Tensor<2>| t.grad(&slopes).map(crate::values).unwrap_or_default();
    [out, of(&values), of(&x)]
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

#[test]
fn sums_and_softmaxes_and_their_slopes_are_those_of_burns_operations() {
    let graph = graph(200, 150);
    for (heads, width) in [(1, 7), (3, 4), (2, 1)] {
        let own = slopes(&graph, heads, width, |v, x| sum(v, x, &graph).unwrap());
        let plain = slopes(&graph, heads, width, |v, x| sum_by_operations(v, x, &graph));
        let shares = slopes(&graph, heads, width, |v, x| {
            // Scores far apart, as those of a network that is sure.
            sum(softmax(v * 60.0, &graph).unwrap(), x, &graph).unwrap()
        });
        let plain_shares = slopes(&graph, heads, width, |v, x| {
            sum_by_operations(softmax_by_operations(v * 60.0, &graph), x, &graph)
        });
        for (k, name) in ["told", "slopes of values", "slopes of vectors"].iter().enumerate() {
            near(name, &own[k], &plain[k]);
            let (a, b) = (&shares[k], &plain_shares[k]);
            a.iter()
                .zip(b)
                .for_each(|(a, b)| assert!((a - b).abs() < 2e-4 * (1.0 + b.abs()), "{name}: {a} {b}"));
        }
    }
}

#[test]
fn slopes_are_differences() {
    let graph = graph(20, 15);
    let (heads, width) = (2, 3);
    let [_, of_values, of_x] =
        slopes(&graph, heads, width, |v, x| sum(softmax(v, &graph).unwrap(), x, &graph).unwrap());
    let (values, x) = (numbers(graph.edges() * heads, 1), numbers(graph.columns() * heads * width, 2));
    let outer = numbers(graph.rows() * heads * width, 3);
    // In double precision, by the definition.
    let told = |values: &[f64], x: &[f64]| {
        let mut out = 0.0;
        let mut first = 0;
        for i in 0..graph.rows() {
            let own = graph.of(i).0;
            for h in 0..heads {
                let raised: Vec<f64> =
                    (0..own.len()).map(|k| values[(first + k) * heads + h].exp()).collect();
                let total: f64 = raised.iter().sum();
                for (j, r) in own.iter().zip(&raised) {
                    for d in 0..width {
                        let weight = f64::from(outer[(i * heads + h) * width + d]);
                        out += weight * r / total * x[(*j as usize * heads + h) * width + d];
                    }
                }
            }
            first += own.len();
        }
        out
    };
    let wide = |of: &[f32]| of.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let (values, x) = (wide(&values), wide(&x));
    let step = 1e-5;
    let moved = |of: &[f64], k: usize, by: f64| {
        let mut of = of.to_vec();
        of[k] += by;
        of
    };
    for (k, slope) in of_values.iter().enumerate() {
        let by = (told(&moved(&values, k, step), &x) - told(&moved(&values, k, -step), &x)) / (2.0 * step);
        assert!((by - f64::from(*slope)).abs() < 1e-5, "value {k}: {by} {slope}");
    }
    for (k, slope) in of_x.iter().enumerate() {
        let by = (told(&values, &moved(&x, k, step)) - told(&values, &moved(&x, k, -step))) / (2.0 * step);
        assert!((by - f64::from(*slope)).abs() < 1e-5, "vector {k}: {by} {slope}");
    }
}

#[test]
fn threads_change_no_bit() {
    let graph = graph(500, 400);
    let of = |threads| {
        Run::new(1)
            .with_threads(threads)
            .install(|| slopes(&graph, 2, 8, |v, x| sum(softmax(v, &graph).unwrap(), x, &graph).unwrap()))
    };
    assert_eq!(of(1), of(3));
}
