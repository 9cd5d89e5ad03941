#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use crate::optimise::Collected;
use crate::{Weights, values};
use rand::RngExt;
use tradewind_core::Run;

fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Run::new(5).rng(stream);
    (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
}

fn training() -> Noise {
    Noise::of(Run::new(1).rng(0))
}

fn layer(channels: usize, device: &Device) -> BatchNorm {
    let layer = BatchNormParams::new(channels).init(device).unwrap();
    let mut weights = Weights::of(&layer);
    weights.set("weight", numbers(channels, 10).iter().map(|v| v + 1.2).collect()).unwrap();
    weights.set("bias", numbers(channels, 11)).unwrap();
    weights.set("running_mean", numbers(channels, 12)).unwrap();
    weights.set("running_var", numbers(channels, 13).iter().map(|v| v + 1.5).collect()).unwrap();
    weights.put_into(layer).unwrap()
}

/// The answer, the gradients of a weighted sum of it, and the running statistics afterwards.
fn told(layer: &BatchNorm, dims: [usize; 4], noise: &Noise, rectify: bool, plain: bool) -> Vec<Vec<f32>> {
    let layer = layer.clone();
    let device = Device::flex().autodiff();
    let n = dims.iter().product();
    let x: Vec<f32> = numbers(n, 1).iter().map(|v| 3.0 * v + 0.5).collect();
    let x = Tensor::<4>::from_data(TensorData::new(x, dims), &device).require_grad();
    let weights = Tensor::<4>::from_data(TensorData::new(numbers(n, 2), dims), &device);
    let y = if plain {
        layer.by_operations(x.clone(), noise, rectify)
    } else {
        layer.either(x.clone(), noise, rectify).unwrap()
    };
    let mut out = vec![values(y.clone().inner())];
    let slopes = (y * weights).sum().backward();
    out.push(values(x.grad(&slopes).unwrap()));
    let slopes = Collected::of(&layer, slopes);
    out.extend(["weight", "bias"].map(|path| slopes.get(path).unwrap().to_vec()));
    let after = Weights::of(&layer);
    out.extend(["running_mean", "running_var"].map(|path| after.get(path).unwrap().to_vec()));
    out
}

const SHAPES: [[usize; 4]; 5] = [[3, 4, 5, 6], [64, 3, 1, 1], [2, 2, 1, 1], [70, 8, 20, 20], [1, 1, 1, 2]];

#[test]
fn a_normalisation_and_its_slopes_are_those_of_burns_operations() {
    let device = Device::flex().autodiff();
    for dims in SHAPES {
        let layer = layer(dims[1], &device);
        for (noise, rectify) in [(training(), false), (training(), true), (Noise::none(), true)] {
            let ours = told(&layer, dims, &noise, rectify, false);
            let plain = told(&layer, dims, &noise, rectify, true);
            for (k, (a, b)) in ours.iter().zip(&plain).enumerate() {
                let size = (b.iter().map(|v| v * v).sum::<f32>() / b.len() as f32).sqrt();
                for (a, b) in a.iter().zip(b) {
                    assert!(
                        (a - b).abs() <= 2e-4 * (0.1 + size + b.abs()),
                        "{dims:?} {rectify} {k}: {a} {b}"
                    );
                }
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let device = Device::flex().autodiff();
    for dims in SHAPES {
        let layer = layer(dims[1], &device);
        let on = |threads| {
            Run::new(1).with_threads(threads).install(|| told(&layer, dims, &training(), true, false))
        };
        assert_eq!(on(1), on(3), "{dims:?}");
    }
}

#[test]
fn slopes_are_those_of_small_steps() {
    let dims = [3, 2, 2, 3];
    let device = Device::flex().autodiff();
    let layer = layer(2, &device);
    let slopes = told(&layer, dims, &training(), false, false);
    let by = numbers(36, 2);
    let x: Vec<f32> = numbers(36, 1).iter().map(|v| 3.0 * v + 0.5).collect();
    for k in 0..36 {
        let at = |step: f32| {
            let mut x = x.clone();
            x[k] += step;
            let x = Tensor::<4>::from_data(TensorData::new(x, dims), &Device::flex());
            let y = layer.valid().forward(x, &training()).unwrap();
            values(y).iter().zip(&by).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum::<f64>()
        };
        let slope = (at(0.01) - at(-0.01)) / 0.02;
        assert!((slope - f64::from(slopes[1][k])).abs() < 2e-3, "{k}: {slope} {}", slopes[1][k]);
    }
}

#[test]
fn a_clone_keeps_the_statistics_that_it_was_made_with() {
    let device = Device::flex().autodiff();
    let layer = layer(3, &device);
    let (clone, before) = (layer.clone(), Weights::of(&layer));
    let x = Tensor::<2>::from_data(TensorData::new(numbers(30, 1), [10, 3]), &device);
    let _ = layer.forward(x.clone(), &training()).unwrap();
    assert_ne!(Weights::of(&layer), before);
    assert_eq!(Weights::of(&clone), before);
    // Predicting changes nothing, and weights that were saved bring the statistics along.
    let after = Weights::of(&layer);
    let told = values(layer.forward(x.clone(), &Noise::none()).unwrap());
    assert_eq!(Weights::of(&layer), after);
    let again = after.put_into(clone).unwrap();
    assert_eq!(values(again.forward(x.clone(), &Noise::none()).unwrap()), told);
    assert_eq!(values(again.valid().forward(x.inner(), &Noise::none()).unwrap()), told);
}

#[test]
fn large_means_take_no_digits_from_the_variance() {
    let device = Device::flex();
    let layer = BatchNormParams { momentum: 1.0, ..BatchNormParams::new(1) }.init(&device).unwrap();
    let x: Vec<f32> = numbers(4 * 1000, 3).iter().map(|v| 4_096.0 + v).collect();
    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / 4_000.0;
    let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 3_999.0;
    let x = Tensor::<3>::from_data(TensorData::new(x, [4, 1, 1000]), &device);
    let _ = layer.forward(x, &training()).unwrap();
    let told = f64::from(Weights::of(&layer).get("running_var").unwrap()[0]);
    assert!((told - variance).abs() < 1e-3 * variance, "{told} {variance}");
}

#[test]
fn what_cannot_be_is_told() {
    let device = Device::flex();
    let bad = BatchNormParams { channels: 0, momentum: 2.0, epsilon: 0.0 };
    let told = bad.check().unwrap_err().to_string();
    assert!(["channels", "momentum", "epsilon"].iter().all(|name| told.contains(name)), "{told}");
    let layer = layer(3, &device);
    let told = layer.forward(Tensor::<2>::zeros([4, 2], &device), &training()).unwrap_err().to_string();
    assert!(told.contains("3 channels"), "{told}");
    assert!(layer.forward(Tensor::<1>::zeros([3], &device), &training()).is_err());
    let told = layer.forward(Tensor::<2>::zeros([1, 3], &device), &training()).unwrap_err().to_string();
    assert!(told.contains("at least 2 rows"), "{told}");
    assert!(layer.forward(Tensor::<2>::zeros([1, 3], &device), &Noise::none()).is_ok());
    assert!(layer.forward(Tensor::<2>::zeros([0, 3], &device), &training()).is_err());
    assert_eq!(layer.forward(Tensor::<2>::zeros([0, 3], &device), &Noise::none()).unwrap().dims(), [0, 3]);
}
