#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use crate::values;
use burn::tensor::{Device, TensorData};
use rand::RngExt;
use tradewind_core::Run;

fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Run::new(5).rng(stream);
    (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
}

/// The answer and the gradient of a weighted sum of it.
fn told<const D: usize>(dims: [usize; 4], pool: impl Fn(Tensor<4>) -> Tensor<D>) -> [Vec<f32>; 2] {
    let device = Device::flex().autodiff();
    let x = TensorData::new(numbers(dims.iter().product(), 1), dims);
    let x = Tensor::<4>::from_data(x, &device).require_grad();
    let y = pool(x.clone());
    let weights = TensorData::new(numbers(y.dims().iter().product(), 2), y.dims());
    let slopes = (y.clone() * Tensor::from_data(weights, &device)).sum().backward();
    [values(y.inner()), values(x.grad(&slopes).unwrap())]
}

fn near([a, da]: &[Vec<f32>; 2], [b, db]: &[Vec<f32>; 2], what: &str) {
    for (a, b) in [(a, b), (da, db)] {
        assert_eq!(a.len(), b.len(), "{what}");
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{what}: {a:?} {b:?}");
    }
}

#[test]
fn pools_and_their_slopes_are_those_of_burn() {
    let window = |size, stride, padding| Window { size, stride, padding };
    for (dims, window) in [
        ([3, 5, 8, 6], Window::square(2)),
        ([2, 3, 7, 9], Window::square(2)),
        ([2, 3, 9, 8], window([3, 2], [2, 1], [1, 1])),
        ([2, 2, 9, 9], window([2, 3], [4, 5], [1, 0])),
        ([2, 2, 4, 4], window([4, 4], [1, 1], [0, 0])),
        ([2, 3, 1, 1], window([1, 1], [3, 3], [0, 0])),
    ] {
        for take in [Take::Largest, Take::Mean] {
            let plan = window.plan(dims, take).unwrap();
            let ours = told(dims, |x| pool(x, &window, take).unwrap());
            near(&ours, &told(dims, |x| by_operations(x, &plan)), &format!("{take:?} {dims:?} {window:?}"));
        }
    }
    for dims in [[3, 2, 5, 4], [1, 1, 1, 1], [2, 3, 300, 2]] {
        let flat = |x: Tensor<4>| x.reshape([dims[0] * dims[1], dims[2] * dims[3]]);
        let shape = [dims[0], dims[1]];
        let mean = |x| flat(x).mean_dim(1).reshape(shape);
        near(&told(dims, |x| global_mean(x).unwrap()), &told(dims, mean), "mean of all");
        let largest = |x| flat(x).max_dim(1).reshape(shape);
        near(&told(dims, |x| global_largest(x).unwrap()), &told(dims, largest), "largest of all");
    }
}

#[test]
fn the_first_of_like_ones_counts_and_what_is_no_number_is_seen() {
    let device = Device::flex().autodiff();
    let dims = [1, 1, 2, 4];
    for window in [Window::square(2), Window { size: [2, 2], stride: [1, 2], padding: [0, 0] }] {
        let x = vec![1.0, 1.0, 2.0, 3.0, 1.0, 0.0, f32::NAN, 4.0];
        let x = Tensor::<4>::from_data(TensorData::new(x, dims), &device).require_grad();
        let y = largest(x.clone(), &window).unwrap();
        let slopes = y.clone().sum().backward();
        let y = values(y.inner());
        assert!(y[0] == 1.0 && y[1].is_nan(), "{y:?}");
        assert_eq!(values(x.grad(&slopes).unwrap()), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }
}

#[test]
fn threads_change_no_bit() {
    let dims = [50, 6, 32, 34];
    let overlapping = Window { size: [3, 3], stride: [2, 2], padding: [1, 1] };
    for window in [Window::square(2), overlapping] {
        let all = |threads| {
            Run::new(1).with_threads(threads).install(|| {
                [
                    told(dims, |x| largest(x, &window).unwrap()),
                    told(dims, |x| mean(x, &window).unwrap()),
                    told(dims, |x| global_mean(x).unwrap()),
                ]
            })
        };
        assert_eq!(all(1), all(3));
    }
}

#[test]
fn what_cannot_be_is_told() {
    let device = Device::flex();
    let bad = Window { size: [300, 2], stride: [0, 1], padding: [0, 2] };
    let told = bad.check().unwrap_err().to_string();
    assert!(["size", "stride", "padding"].iter().all(|name| told.contains(name)), "{told}");
    let x = |dims| Tensor::<4>::zeros(dims, &device);
    let told = largest(x([1, 1, 1, 4]), &Window::square(2)).unwrap_err().to_string();
    assert!(told.contains("1 by 4") && told.contains("smaller window"), "{told}");
    assert!(mean(x([1, 1, 4, 4]), &bad).is_err());
    assert_eq!(largest(x([0, 3, 4, 6]), &Window::square(2)).unwrap().dims(), [0, 3, 2, 3]);
    assert_eq!(global_mean(x([0, 3, 4, 6])).unwrap().dims(), [0, 3]);
    assert_eq!(global_largest(x([0, 3, 4, 6])).unwrap().dims(), [0, 3]);
    assert!(global_mean(x([2, 3, 0, 6])).is_err() && global_largest(x([2, 3, 0, 6])).is_err());
}
