//! Answers and gradients as PyTorch has them; the script is tests/reference/convolution.py.

use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::Run;
use tradewind_nn::batch_norm::{BatchNorm, BatchNormParams};
use tradewind_nn::burn::module::Module;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::convolution::Conv2dParams;
use tradewind_nn::optimise::Collected;
use tradewind_nn::pooling::{self, Window};
use tradewind_nn::{Noise, Weights, values};

#[derive(Deserialize)]
struct Reference {
    convolutions: Vec<Convolution>,
    norms: Vec<Norm>,
    pools: Vec<Pool>,
}

/// What was given and told.
#[derive(Deserialize)]
struct Told {
    dims: Vec<usize>,
    x: Vec<f32>,
    told: Vec<usize>,
    y: Vec<f32>,
    weight: Vec<f32>,
    d_x: Vec<f32>,
    d_weights: BTreeMap<String, Vec<f32>>,
}

#[derive(Deserialize)]
struct Convolution {
    #[serde(flatten)]
    told: Told,
    output: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    weights: BTreeMap<String, Vec<f32>>,
}

#[derive(Deserialize)]
struct Norm {
    weights: BTreeMap<String, Vec<f32>>,
    training: Told,
    running: [Vec<f32>; 2],
    predicting: Told,
}

#[derive(Deserialize)]
struct Pool {
    #[serde(flatten)]
    told: Told,
    take: String,
    size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/convolution.json")).unwrap()
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

/// Answers and gradients of `answer` are those that were told.
fn check<const D: usize, M: Module>(
    what: &str,
    told: &Told,
    layer: &M,
    answer: impl Fn(Tensor<D>) -> Tensor<D>,
) {
    let device = Device::flex().autodiff();
    let tensor = |of: &[f32], dims: &[usize]| {
        Tensor::<D>::from_data(TensorData::new(of.to_vec(), dims.to_vec()), &device)
    };
    let x = tensor(&told.x, &told.dims).require_grad();
    let y = answer(x.clone());
    assert_eq!(y.dims()[..], told.told[..], "{what}");
    near(&format!("{what}: y"), &values(y.clone().inner()), &told.y);
    let slopes = (y * tensor(&told.weight, &told.told)).sum().backward();
    near(&format!("{what}: d_x"), &values(x.grad(&slopes).unwrap()), &told.d_x);
    let slopes = Collected::of(layer, slopes);
    for (path, theirs) in &told.d_weights {
        near(&format!("{what}: {path}"), slopes.get(path).unwrap(), theirs);
    }
}

fn with<M: Module>(layer: M, of: &BTreeMap<String, Vec<f32>>) -> M {
    let mut weights = Weights::of(&layer);
    for (path, values) in of {
        weights.set(path, values.clone()).unwrap();
    }
    weights.put_into(layer).unwrap()
}

#[test]
fn convolutions_are_those_of_pytorch() {
    let of = reference().convolutions;
    assert_eq!(of.len(), 7);
    let device = Device::flex().autodiff();
    for case in &of {
        let params = Conv2dParams {
            stride: case.stride,
            padding: case.padding,
            dilation: case.dilation,
            groups: case.groups,
            bias: case.weights.contains_key("bias"),
            ..Conv2dParams::new(case.told.dims[1], case.output, case.kernel)
        };
        let layer = with(params.init(&device, &mut Run::new(1).rng(0)).unwrap(), &case.weights);
        check::<4, _>(&format!("{params:?}"), &case.told, &layer, |x| layer.forward(x).unwrap());
    }
}

#[test]
fn batch_normalisations_are_those_of_pytorch() {
    fn normalised<const D: usize>(case: &Norm) {
        let device = Device::flex().autodiff();
        let params = BatchNormParams { momentum: 0.3, ..BatchNormParams::new(case.training.dims[1]) };
        let layer = with(params.init(&device).unwrap(), &case.weights);
        let what = format!("{:?}", case.training.dims);
        let training = Noise::of(Run::new(1).rng(0));
        check::<D, _>(&what, &case.training, &layer, |x| layer.forward(x, &training).unwrap());
        for (path, theirs) in ["running_mean", "running_var"].iter().zip(&case.running) {
            near(&format!("{what}: {path}"), Weights::of(&layer).get(path).unwrap(), theirs);
        }
        check::<D, _>(&what, &case.predicting, &layer, |x| layer.forward(x, &Noise::none()).unwrap());
    }
    let of = reference().norms;
    assert_eq!(of.len(), 3);
    for case in &of {
        match case.training.dims.len() {
            2 => normalised::<2>(case),
            3 => normalised::<3>(case),
            _ => normalised::<4>(case),
        }
    }
}

#[test]
fn pools_are_those_of_pytorch() {
    let of = reference().pools;
    assert_eq!(of.len(), 10);
    // Pooling has no weights.
    let nothing: Option<BatchNorm> = None;
    for case in &of {
        let window = Window { size: case.size, stride: case.stride, padding: case.padding };
        let what = format!("{} {window:?}", case.take);
        check::<4, _>(&what, &case.told, &nothing, |x| match case.take.as_str() {
            "mean" => pooling::mean(x, &window).unwrap(),
            _ => pooling::largest(x, &window).unwrap(),
        });
    }
}
