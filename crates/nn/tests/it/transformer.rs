//! Answers and gradients as PyTorch has them; the script is tests/reference/transformer.py.

use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::Run;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::optimise::Collected;
use tradewind_nn::transformer::{Activation, EncoderParams, Packed};
use tradewind_nn::{Noise, Weights};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    norm_before: bool,
    causal: bool,
    activation: Activation,
    lengths: Vec<usize>,
    x: Vec<f32>,
    weight: Vec<f32>,
    y: Vec<f32>,
    d_x: Vec<f32>,
    weights: BTreeMap<String, Vec<f32>>,
    d_weights: BTreeMap<String, Vec<f32>>,
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 5e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

/// The path of ours as PyTorch names it.
fn theirs(path: &str) -> String {
    path.replace("in_proj", "self_attn.in_proj")
        .replace("out_proj_", "self_attn.out_proj.")
        .replace("linear1_", "linear1.")
        .replace("linear2_", "linear2.")
}

#[test]
fn transformer_encoders_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/transformer.json")).unwrap();
    assert_eq!(reference.cases.len(), 4);
    let device = Device::flex().autodiff();
    for case in &reference.cases {
        let params = EncoderParams {
            inner: 10,
            norm_before: case.norm_before,
            causal: case.causal,
            activation: case.activation,
            dropout: 0.0,
            ..EncoderParams::new(6)
        };
        let encoder = params.init(&device, &mut Run::new(1).rng(0)).unwrap();
        let mut weights = Weights::of(&encoder);
        let paths: Vec<String> = weights.paths().map(str::to_owned).collect();
        assert_eq!(paths.len(), case.weights.len());
        for path in &paths {
            weights.set(path, case.weights[&theirs(path)].clone()).unwrap();
        }
        let encoder = weights.put_into(encoder).unwrap();
        let packed = Packed::of_lengths(&case.lengths);
        let of = |values: &[f32]| TensorData::new(values.to_vec(), [packed.tokens(), 6]);
        let x = Tensor::<2>::from_data(of(&case.x), &device).require_grad();
        let y = encoder.forward(x.clone(), &packed, &mut Noise::none()).unwrap();
        near("y", &tradewind_nn::values(y.clone()), &case.y);
        let slopes = (y * Tensor::<2>::from_data(of(&case.weight), &device)).sum().backward();
        near("d_x", &tradewind_nn::values(x.grad(&slopes).unwrap()), &case.d_x);
        let slopes = Collected::of(&encoder, slopes);
        for path in &paths {
            near(path, slopes.get(path).unwrap(), &case.d_weights[&theirs(path)]);
        }
    }
}
