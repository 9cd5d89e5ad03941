//! A training step and the inference of a two-layer LSTM: 56 steps of 16 numbers, 64 units.
//!
//! `cargo run --release -p tradewind-nn --example recurrent_bench [lstm|gru|plain]` prints milliseconds (the median of
//! many) and the peak of memory; `docs/benchmarks/networks.sh` runs PyTorch beside it.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use rand::RngExt;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::optimise::{Collected, Optimiser, OptimiserParams};
use tradewind_nn::recurrent::{Recurrence, Recurrent, RecurrentParams};
use tradewind_nn::{Noise, losses};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEPS: usize = 56;
const INPUT: usize = 16;
const HIDDEN: usize = 64;

#[derive(Module, Debug)]
struct Network {
    memory: Recurrent,
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Network {
    fn answer(&self, x: Tensor<3>) -> tradewind_core::Result<Tensor<2>> {
        let told = self.memory.forward(x, None, None, &mut Noise::none())?;
        let last = told.states.last().map(|s| s.h.clone());
        let last = last.ok_or_else(|| tradewind_core::Error::Invalid("no layer".into()))?;
        Ok(last.matmul(self.weight.val()) + self.bias.val().unsqueeze())
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recurrence = match std::env::args().nth(1).as_deref() {
        Some("gru") => Recurrence::Gru,
        Some("plain") => Recurrence::Plain,
        _ => Recurrence::Lstm,
    };
    let mut rng = Run::new(1).rng(0);
    let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect() };
    let (x, y, ends) = (numbers(64 * STEPS * INPUT), numbers(64), numbers(HIDDEN));
    let params = RecurrentParams { hidden: HIDDEN, layers: 2, ..RecurrentParams::new(recurrence, INPUT) };
    let network_on = |device: &Device| -> tradewind_core::Result<Network> {
        Ok(Network {
            memory: params.init(device, &mut Run::new(1).rng(1))?,
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(ends.clone(), [HIDDEN, 1]), device)),
            bias: Param::from_tensor(Tensor::zeros([1], device)),
        })
    };
    let device = Device::flex().autodiff();
    let mut network = network_on(&device)?;
    let mut optimiser = Optimiser::new(OptimiserParams { clip: None, ..OptimiserParams::default() })?;
    let inputs = Tensor::<3>::from_data(TensorData::new(x.clone(), [64, STEPS, INPUT]), &device);
    let truth = Tensor::<2>::from_data(TensorData::new(y, [64, 1]), &device);
    let mut took = Vec::new();
    for _ in 0..80 {
        let begun = Instant::now();
        let loss = losses::mse(network.answer(inputs.clone())?, truth.clone(), None);
        let gradients = Collected::of(&network, loss.backward());
        (network, _) = optimiser.step(network, gradients, 1.0)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    println!("training step: {:.2} ms", median(took.split_off(20)));
    let device = Device::flex();
    let network = network_on(&device)?;
    for batch in [1, 64] {
        let part = x[..batch * STEPS * INPUT].to_vec();
        let inputs = Tensor::<3>::from_data(TensorData::new(part, [batch, STEPS, INPUT]), &device);
        let mut took = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            let answer = network.answer(inputs.clone())?.into_data();
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            assert_eq!(answer.num_elements(), batch);
        }
        println!("inference, batch {batch}: {:.3} ms", median(took.split_off(50)));
    }
    if let Some(peak) = peak_mib() {
        println!("peak memory {peak:.0} MiB");
    }
    Ok(())
}
