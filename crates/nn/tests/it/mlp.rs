//! Multilayer perceptrons: scores as PyTorch has them (the script is tests/reference/mlp.py), and the two ways to answer.

use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::Run;
use tradewind_nn::burn::tensor::Device;
use tradewind_nn::mlp::{Frozen, Mlp, MlpParams};
use tradewind_nn::optimise::Collected;
use tradewind_nn::transformer::Activation;
use tradewind_nn::{Noise, Weights, values};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    activation: Activation,
    norm: bool,
    codes: Vec<usize>,
    numbers: Vec<f32>,
    scores: Vec<f32>,
    weights: BTreeMap<String, Vec<f32>>,
    /// Of the mean of squares of all scores.
    d_weights: BTreeMap<String, Vec<f32>>,
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

fn params(activation: Activation, norm: bool) -> MlpParams {
    MlpParams {
        words: vec![(4, 3), (9, 2)],
        hidden: vec![6, 5],
        activation,
        norm,
        dropout: 0.0,
        ..MlpParams::new(3, 2)
    }
}

fn drawn(params: &MlpParams) -> Mlp {
    let network = params.init(&Device::flex(), &mut Run::new(4).rng(0)).unwrap();
    // The last layer begins with zeros, which would answer nothing.
    let mut weights = Weights::of(&network);
    let n = weights.get("last.weight").unwrap().len();
    weights.set("last.weight", (0..n).map(|i| (i as f32 * 0.7).sin()).collect()).unwrap();
    weights.put_into(network).unwrap()
}

#[test]
fn perceptrons_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/mlp.json")).unwrap();
    assert_eq!(reference.cases.len(), 4);
    let device = Device::flex().autodiff();
    for case in &reference.cases {
        let what = format!("{:?}, normalised: {}", case.activation, case.norm);
        let params = params(case.activation, case.norm);
        let network = params.init(&device, &mut Run::new(0).rng(0)).unwrap();
        let mut weights = Weights::of(&network);
        let paths: Vec<String> = weights.paths().map(str::to_owned).collect();
        assert_eq!(paths, case.weights.keys().cloned().collect::<Vec<_>>(), "{what}");
        for (path, values) in &case.weights {
            weights.set(path, values.clone()).unwrap();
        }
        let network = weights.put_into(network).unwrap();
        let scores = network.forward(&case.numbers, &case.codes, &mut Noise::none()).unwrap();
        near(&what, &values(scores.clone()), &case.scores);
        near(&what, &network.frozen().unwrap().scores(&case.numbers, &case.codes).unwrap(), &case.scores);
        let gradients = Collected::of(&network, (scores.clone() * scores).mean().backward());
        for (path, theirs) in &case.d_weights {
            near(&format!("{what} {path}"), gradients.get(path).unwrap(), theirs);
        }
    }
}

#[test]
fn a_frozen_row_does_not_depend_on_its_company() {
    for (activation, norm) in [(Activation::Relu, false), (Activation::Gelu, true), (Activation::Silu, false)]
    {
        let network = drawn(&params(activation, norm));
        let frozen = network.frozen().unwrap();
        let n = 331;
        let numbers: Vec<f32> = (0..3 * n).map(|i| (i as f32 * 0.37).sin() * 2.0).collect();
        let codes: Vec<usize> = (0..n).flat_map(|i| [i % 4, i * 7 % 9]).collect();
        let all = frozen.scores(&numbers, &codes).unwrap();
        let told = values(network.forward(&numbers, &codes, &mut Noise::none()).unwrap());
        near("both ways", &all, &told);
        let one = Run::new(0).with_threads(1).install(|| frozen.scores(&numbers, &codes).unwrap());
        assert_eq!(one, all);
        for row in [0, 1, 63, 64, 330] {
            let own = frozen.scores(&numbers[row * 3..][..3], &codes[row * 2..][..2]).unwrap();
            assert_eq!(own, all[row * 2..][..2], "{activation:?} {row}");
        }
    }
}

#[test]
fn what_does_not_fit_a_network_is_told() {
    let sizes = params(Activation::Relu, false);
    let network = drawn(&sizes);
    let frozen = network.frozen().unwrap();
    assert!(frozen.scores(&[], &[]).unwrap().is_empty());
    assert_eq!(network.forward(&[], &[], &mut Noise::none()).unwrap().dims(), [0, 2]);
    for (numbers, codes, word) in [
        (vec![0.0; 3], vec![0, 9], "row 0 has word 9 in field 1"),
        (vec![0.0; 4], vec![0, 0], "not whole rows"),
        (vec![0.0; 3], vec![0, 0, 0], "not whole rows"),
    ] {
        let fault = frozen.scores(&numbers, &codes).unwrap_err().to_string();
        assert!(fault.contains(word), "{fault}");
        let fault = network.forward(&numbers, &codes, &mut Noise::none()).unwrap_err().to_string();
        assert!(fault.contains(word), "{fault}");
    }
    for bad in [
        MlpParams { words: vec![], ..MlpParams::new(0, 1) },
        MlpParams { words: vec![(3, 0)], ..sizes.clone() },
        MlpParams { hidden: vec![0], ..sizes.clone() },
        MlpParams { outputs: 0, ..sizes.clone() },
        MlpParams { dropout: 1.0, ..sizes.clone() },
    ] {
        assert!(bad.init(&Device::flex(), &mut Run::new(0).rng(0)).is_err(), "{bad:?}");
    }
    let weights = Weights::of(&network);
    for other in [
        MlpParams { norm: true, ..sizes.clone() },
        MlpParams { hidden: vec![6], ..sizes.clone() },
        MlpParams { outputs: 3, ..sizes.clone() },
        MlpParams { words: vec![(4, 3)], numbers: 5, ..sizes.clone() },
    ] {
        let fault = Frozen::of(&other, &weights).unwrap_err().to_string();
        assert!(fault.contains("another network"), "{fault}");
    }
    // Without numbers, or without hidden layers.
    let words = MlpParams { numbers: 0, hidden: vec![], ..sizes };
    let frozen = drawn(&words).frozen().unwrap();
    assert_eq!(frozen.scores(&[], &[0, 1, 2, 3, 3, 8]).unwrap().len(), 6);
}
