//! Networks for clicks: scores and gradients as PyTorch has them (the script is tests/reference/click.py), and what is learnt.

use rand::RngExt;
use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::{Result, Run};
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::click::{Architecture, Click, ClickParams};
use tradewind_nn::optimise::{Collected, OptimiserParams};
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Noise, Weights, losses};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    architecture: Architecture,
    rank: usize,
    codes: Vec<usize>,
    numbers: Vec<f32>,
    truth: Vec<f32>,
    score: Vec<f32>,
    loss: f64,
    weights: BTreeMap<String, Vec<f32>>,
    d_weights: BTreeMap<String, Vec<f32>>,
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

/// The path of ours as the script names it.
fn theirs(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    match parts[..] {
        ["vectors" | "weights"] => format!("{path}.weight"),
        ["deep", ref rest @ ..] => rest.join("."),
        ["crosses", k, "down"] => format!("down.{k}.weight"),
        ["crosses", k, "up", name] => format!("up.{k}.{name}"),
        _ => path.to_owned(),
    }
}

#[test]
fn networks_for_clicks_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/click.json")).unwrap();
    assert_eq!(reference.cases.len(), 6);
    let device = Device::flex().autodiff();
    for case in &reference.cases {
        let what = format!("{:?} of rank {}", case.architecture, case.rank);
        let params = ClickParams {
            numbers: 2,
            width: 3,
            hidden: vec![6, 4],
            crosses: 2,
            rank: case.rank,
            dropout: 0.0,
            ..ClickParams::new(case.architecture, vec![4, 3, 5])
        };
        let network = params.init(&device, &mut Run::new(1).rng(0)).unwrap();
        let mut weights = Weights::of(&network);
        let paths: Vec<String> = weights.paths().map(str::to_owned).collect();
        assert_eq!(paths.len(), case.weights.len(), "{what}: {paths:?}");
        for path in &paths {
            weights.set(path, case.weights[&theirs(path)].clone()).unwrap();
        }
        let network = weights.put_into(network).unwrap();
        let rows = case.truth.len();
        let of = |values: &[f32], width| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, width]), &device)
        };
        let score = network.forward(&case.codes, Some(of(&case.numbers, 2)), &mut Noise::none()).unwrap();
        near(&what, &tradewind_nn::values(score.clone()), &case.score);
        let loss = losses::bce(score, of(&case.truth, 1), None);
        assert!((losses::value(&loss) - case.loss).abs() < 1e-5, "{what}");
        let slopes = Collected::of(&network, loss.backward());
        for path in &paths {
            near(&format!("{what}, {path}"), slopes.get(path).unwrap(), &case.d_weights[&theirs(path)]);
        }
    }
}

/// Clicks that depend on two fields together and on neither alone, a third field and a number that say nothing.
struct Together {
    codes: Vec<usize>,
    numbers: Vec<f32>,
    truth: Vec<f32>,
    /// Rows that training sees; the others are held out.
    seen: usize,
}

impl Together {
    fn new(rows: usize, seen: usize) -> Self {
        let mut rng = Run::new(4).rng(0);
        let (mut codes, mut numbers, mut truth) = (vec![], vec![], vec![]);
        for _ in 0..rows {
            let (a, b, c) =
                (rng.random_range(0..6_usize), rng.random_range(0..8_usize), rng.random_range(0..5_usize));
            let odds: f64 = if (a < 3) == (b < 4) { 0.95 } else { 0.05 };
            codes.extend([a, b, c]);
            numbers.push(rng.random_range(-1.0..1.0));
            truth.push(f32::from(u8::from(rng.random_bool(odds))));
        }
        Self { codes, numbers, truth, seen }
    }

    fn loss_of(
        &self,
        network: &Click,
        rows: &[usize],
        noise: &mut Noise,
        device: &Device,
    ) -> Result<Tensor<1>> {
        let codes: Vec<usize> = rows.iter().flat_map(|r| &self.codes[r * 3..r * 3 + 3]).copied().collect();
        let of = |values: &[f32]| {
            let values: Vec<f32> = rows.iter().map(|r| values[*r]).collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows.len(), 1]), device)
        };
        Ok(losses::bce(network.forward(&codes, Some(of(&self.numbers)), noise)?, of(&self.truth), None))
    }
}

impl Task for Together {
    type Network = Click;

    fn rows(&self) -> usize {
        self.seen
    }

    fn loss(&self, network: &Click, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        self.loss_of(network, rows, noise, &Device::flex().autodiff())
    }

    fn validate(&self, network: &Click) -> Result<Option<f64>> {
        let held: Vec<usize> = (self.seen..self.truth.len()).collect();
        let loss = self.loss_of(&network.plain(), &held, &mut Noise::none(), &Device::flex())?;
        Ok(Some(losses::value(&loss)))
    }
}

#[test]
fn what_two_fields_do_together_is_learnt_by_each() {
    let data = Together::new(2400, 2000);
    // What is left of a coin that is right 19 times of 20, and a coin that knows nothing.
    let (floor, blind) = (0.1985, std::f64::consts::LN_2);
    for architecture in Architecture::ALL {
        let params = ClickParams {
            numbers: 1,
            hidden: vec![32, 16],
            dropout: 0.1,
            ..ClickParams::new(architecture, vec![6, 8, 5])
        };
        let network = params.init(&Device::flex().autodiff(), &mut Run::new(2).rng(0)).unwrap();
        let training = TrainParams {
            epochs: 20,
            batch: 100,
            optimiser: OptimiserParams { rate: 0.02, ..OptimiserParams::default() },
            ..TrainParams::default()
        };
        let trained = train(&Run::new(2), &data, network, &training, None, &mut |_| Ok(true)).unwrap();
        let told = trained.curve[trained.best].validation.unwrap();
        assert!(told < floor + 0.08 && told < 0.5 * blind, "{architecture:?}: {told}");
    }
}

#[test]
fn rows_that_do_not_fit_are_told() {
    let params = ClickParams { numbers: 1, ..ClickParams::new(Architecture::DcnV2, vec![4, 3]) };
    let network = params.init(&Device::flex(), &mut Run::new(1).rng(0)).unwrap();
    let z = |rows| Some(Tensor::<2>::zeros([rows, 1], &Device::flex()));
    let fault = |codes: &[usize], z| {
        network.forward(codes, z, &mut Noise::none()).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(fault(&[0, 2, 4, 0], z(2)), "row 1 has word 4 in field 0, which has 4");
    assert!(fault(&[0, 2], None).contains("2 words and 1 numbers a row"));
    assert!(fault(&[0, 2, 1], z(2)).contains("3 words"));
    assert_eq!(network.forward(&[], z(0), &mut Noise::none()).unwrap().dims(), [0, 1]);
    for bad in [
        ClickParams { words: vec![3, 0], ..params.clone() },
        ClickParams { width: 0, ..params.clone() },
        ClickParams { hidden: vec![0], ..params.clone() },
        ClickParams { dropout: 1.0, ..params.clone() },
        ClickParams { words: vec![], numbers: 0, ..params },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
