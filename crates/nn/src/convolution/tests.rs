#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use crate::optimise::Collected;
use crate::{Weights, values};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use tradewind_core::Run;

fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Run::new(5).rng(stream);
    (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
}

fn tensor(dims: [usize; 4], stream: u64, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(numbers(dims.iter().product(), stream), dims), device)
}

/// Convolutions and what they are given: each way of going over a batch is taken by one of them.
fn cases() -> Vec<(Conv2dParams, [usize; 4])> {
    let of = Conv2dParams::new;
    vec![
        // Many small images together, of which the last are fewer; one after the other; a large one row by row.
        (Conv2dParams { padding: [1, 1], ..of(3, 5, [3, 3]) }, [23, 3, 6, 7]),
        (Conv2dParams { padding: [1, 1], ..of(3, 4, [3, 3]) }, [3, 3, 20, 20]),
        (Conv2dParams { padding: [2, 2], bias: false, ..of(16, 2, [5, 5]) }, [2, 16, 40, 41]),
        // What each place sees is itself: images as they lie, and together; in groups.
        (of(4, 3, [1, 1]), [2, 4, 17, 18]),
        (Conv2dParams { groups: 2, ..of(4, 6, [1, 1]) }, [9, 4, 3, 3]),
        (Conv2dParams { groups: 2, ..of(4, 6, [1, 1]) }, [2, 4, 40, 40]),
        // Strides beyond the kernel, dilation, zeros beyond what is seen, each channel by itself.
        (Conv2dParams { stride: [4, 3], ..of(2, 3, [2, 2]) }, [5, 2, 9, 8]),
        (
            Conv2dParams { stride: [2, 1], padding: [0, 3], dilation: [2, 3], ..of(2, 3, [2, 3]) },
            [4, 2, 7, 6],
        ),
        (Conv2dParams { stride: [5, 5], padding: [3, 3], ..of(1, 2, [3, 3]) }, [2, 1, 2, 2]),
        (Conv2dParams { padding: [1, 1], groups: 6, ..of(6, 6, [3, 3]) }, [3, 6, 8, 8]),
        (of(3, 2, [1, 1]), [2, 3, 1, 1]),
        (of(2, 2, [4, 3]), [1, 2, 4, 3]),
    ]
}

/// The answer and the gradients, of the images, the weight and the bias, of a weighted sum of the answers.
fn told(layer: &Conv2d, dims: [usize; 4], burn: bool) -> Vec<(String, Vec<f32>)> {
    let device = Device::flex().autodiff();
    let x = tensor(dims, 1, &device).require_grad();
    let y = if burn { layer.by_operations(x.clone()) } else { layer.forward(x.clone()).unwrap() };
    let weights = tensor(y.dims(), 2, &device);
    let mut out = vec![("answer".to_owned(), values(y.clone().inner()))];
    let slopes = (y * weights).sum().backward();
    out.push(("images".to_owned(), values(x.grad(&slopes).unwrap())));
    let slopes = Collected::of(layer, slopes);
    for path in Weights::of(layer).paths() {
        out.push((path.to_owned(), slopes.get(path).unwrap().to_vec()));
    }
    out
}

fn near(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)], what: &str) {
    assert_eq!(a.len(), b.len());
    for ((name, a), (_, b)) in a.iter().zip(b) {
        assert_eq!(a.len(), b.len(), "{what} {name}");
        let size = (b.iter().map(|v| v * v).sum::<f32>() / b.len() as f32).sqrt();
        for (k, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= 1e-5 + 1e-5 * (size + b.abs()), "{what} {name} {k}: {a} {b}");
        }
    }
}

#[test]
fn a_convolution_and_its_slopes_are_those_of_burn() {
    let device = Device::flex().autodiff();
    for (params, dims) in cases() {
        let layer = params.init(&device, &mut Run::new(3).rng(0)).unwrap();
        near(&told(&layer, dims, false), &told(&layer, dims, true), &format!("{params:?} {dims:?}"));
    }
}

#[test]
fn slopes_are_those_of_small_steps() {
    let plain = Device::flex();
    for (params, dims) in cases().into_iter().filter(|(_, dims)| dims.iter().product::<usize>() < 500) {
        let layer = params.init(&plain.clone().autodiff(), &mut Run::new(3).rng(0)).unwrap();
        let slopes = told(&layer, dims, false);
        let x = numbers(dims.iter().product(), 1);
        // The answer is straight in each of what goes in, so steps may be long.
        let step = 0.5;
        let of = Weights::of(&layer);
        let score = |weights: &Weights, x: &[f32]| {
            let layer = weights.put_into(params.init(&plain, &mut Run::new(3).rng(0)).unwrap()).unwrap();
            let x = Tensor::<4>::from_data(TensorData::new(x.to_vec(), dims), &plain);
            let y = layer.forward(x).unwrap();
            let by = numbers(y.dims().iter().product(), 2);
            values(y).iter().zip(by).map(|(y, w)| f64::from(*y) * f64::from(w)).sum::<f64>()
        };
        for (name, told) in &slopes[1..] {
            for k in (0..told.len()).step_by(7) {
                let at = |by: f32| {
                    let (mut x, mut of) = (x.clone(), of.clone());
                    match name.as_str() {
                        "images" => x[k] += by,
                        path => of.of.get_mut(path).unwrap().1[k] += by,
                    }
                    score(&of, &x)
                };
                let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
                let told = f64::from(told[k]);
                assert!((slope - told).abs() < 1e-4 * (1.0 + slope.abs()), "{name} {k}: {told} {slope}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let device = Device::flex().autodiff();
    for (params, dims) in cases() {
        let layer = params.init(&device, &mut Run::new(3).rng(0)).unwrap();
        let on = |threads| Run::new(1).with_threads(threads).install(|| told(&layer, dims, false));
        assert_eq!(on(1), on(3), "{params:?} {dims:?}");
    }
}

#[test]
fn gradients_that_nobody_asks_for_are_not_missed() {
    let device = Device::flex().autodiff();
    let layer = Conv2dParams::new(2, 3, [2, 2]).init(&device, &mut Run::new(3).rng(0)).unwrap();
    let whole = told(&layer, [4, 2, 5, 5], false);
    // Images that are data and not weights.
    let x = tensor([4, 2, 5, 5], 1, &device);
    let y = layer.forward(x).unwrap();
    let slopes = Collected::of(&layer, (y.clone() * tensor(y.dims(), 2, &device)).sum().backward());
    for (path, of) in &whole[2..] {
        assert_eq!(slopes.get(path).unwrap(), of, "{path}");
    }
}

#[test]
fn what_cannot_be_is_told() {
    let device = Device::flex();
    let bad =
        Conv2dParams { groups: 2, stride: [0, 1], dilation: [1, 1 << 20], ..Conv2dParams::new(3, 4, [0, 3]) };
    let told = bad.check().unwrap_err().to_string();
    assert!(["input", "stride", "dilation", "kernel"].iter().all(|name| told.contains(name)), "{told}");
    assert!(!told.contains("output"), "{told}");
    let layer = Conv2dParams::new(3, 4, [3, 3]).init(&device, &mut Run::new(3).rng(0)).unwrap();
    let of = |dims| layer.forward(Tensor::zeros(dims, &device));
    let told = of([2, 3, 2, 9]).unwrap_err().to_string();
    assert!(told.contains("2 by 9") && told.contains("larger images"), "{told}");
    assert!(of([2, 4, 5, 5]).unwrap_err().to_string().contains("4 channels"));
    // No image is an answer to none.
    assert_eq!(of([0, 3, 5, 5]).unwrap().dims(), [0, 4, 3, 3]);
}
