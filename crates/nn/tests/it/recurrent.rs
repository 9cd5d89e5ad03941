//! Answers, last states and gradients as PyTorch has them; the script is tests/reference/recurrent.py.

use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::Run;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::optimise::Collected;
use tradewind_nn::recurrent::{Recurrence, RecurrentParams, State};
use tradewind_nn::{Noise, Weights};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    recurrence: Recurrence,
    layers: usize,
    bidirectional: bool,
    lengths: Option<Vec<usize>>,
    x: Vec<f32>,
    h: Vec<f32>,
    c: Option<Vec<f32>>,
    weight: Vec<f32>,
    weights: BTreeMap<String, Vec<f32>>,
    y: Vec<f32>,
    last_h: Vec<f32>,
    last_c: Option<Vec<f32>>,
    d_x: Vec<f32>,
    d_h: Vec<f32>,
    d_c: Option<Vec<f32>>,
    d_weights: BTreeMap<String, Vec<f32>>,
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn recurrent_networks_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/recurrent.json")).unwrap();
    assert_eq!(reference.cases.len(), 9);
    let device = Device::flex().autodiff();
    for case in &reference.cases {
        let of = |values: &[f32], shape: &[usize]| TensorData::new(values.to_vec(), shape.to_vec());
        let params = RecurrentParams {
            hidden: 5,
            layers: case.layers,
            bidirectional: case.bidirectional,
            ..RecurrentParams::new(case.recurrence, 3)
        };
        let network = params.init(&device, &mut Run::new(1).rng(0)).unwrap();
        // Layer k, backward: ours is the second of the pair, theirs has a suffix.
        let directions = 1 + usize::from(case.bidirectional);
        let path = |name: &str, at: usize| {
            let suffix = if at % directions == 1 { "_reverse" } else { "" };
            (format!("layers.{at}.{name}"), format!("{name}_l{}{suffix}", at / directions))
        };
        let pairs: Vec<(String, String)> = (0..case.layers * directions)
            .flat_map(|at| ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| path(name, at)))
            .collect();
        let mut weights = Weights::of(&network);
        for (ours, theirs) in &pairs {
            weights.set(ours, case.weights[theirs].clone()).unwrap();
        }
        let network = weights.put_into(network).unwrap();
        let x = Tensor::<3>::from_data(of(&case.x, &[3, 6, 3]), &device).require_grad();
        let state = |all: &[f32], at: usize| {
            Tensor::<2>::from_data(of(&all[at * 15..(at + 1) * 15], &[3, 5]), &device).require_grad()
        };
        let states: Vec<State> = (0..case.layers * directions)
            .map(|at| State { h: state(&case.h, at), c: case.c.as_ref().map(|c| state(c, at)) })
            .collect();
        let told =
            network.forward(x.clone(), case.lengths.as_deref(), Some(&states), &mut Noise::none()).unwrap();
        let weight = Tensor::<3>::from_data(of(&case.weight, &[3, 6, 5 * directions]), &device);
        let mut loss = (told.y.clone() * weight).sum();
        for last in &told.states {
            loss = loss + (last.h.clone() * last.h.clone()).sum() * 0.5;
            if let Some(c) = &last.c {
                loss = loss + c.clone().sum();
            }
        }
        let name = format!("{:?} {} {:?}", case.recurrence, case.layers, case.lengths);
        near(&format!("{name}: y"), &values(told.y), &case.y);
        let joined = |of: Vec<Tensor<2>>| of.into_iter().flat_map(values).collect::<Vec<f32>>();
        near(&format!("{name}: h"), &joined(told.states.iter().map(|s| s.h.clone()).collect()), &case.last_h);
        if let Some(last_c) = &case.last_c {
            near(
                &format!("{name}: c"),
                &joined(told.states.iter().filter_map(|s| s.c.clone()).collect()),
                last_c,
            );
        }
        let gradients = loss.backward();
        near(&format!("{name}: dx"), &values(x.grad(&gradients).unwrap()), &case.d_x);
        let dh = states.iter().map(|s| s.h.grad(&gradients).unwrap()).collect();
        near(&format!("{name}: dh"), &joined(dh), &case.d_h);
        if let Some(d_c) = &case.d_c {
            let dc = states.iter().filter_map(|s| s.c.as_ref()?.grad(&gradients)).collect();
            near(&format!("{name}: dc"), &joined(dc), d_c);
        }
        let collected = Collected::of(&network, gradients);
        for (ours, theirs) in &pairs {
            near(&format!("{name}: {theirs}"), collected.get(ours).unwrap(), &case.d_weights[theirs]);
        }
    }
}
