//! A training step of networks for clicks: 2,048 rows of 26 fields of 10,000 words and 13 numbers.
//!
//! `cargo run --release -p tradewind-nn --example click_bench ARCHITECTURE` prints milliseconds (the median of many) and the
//! peak of memory; `docs/benchmarks/click.sh` runs PyTorch beside it.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use rand::RngExt;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::click::{Architecture, ClickParams};
use tradewind_nn::optimise::{Collected, Optimiser, OptimiserParams};
use tradewind_nn::{Noise, losses};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

const ROWS: usize = 2_048;
const FIELDS: usize = 26;
const WORDS: usize = 10_000;
const NUMBERS: usize = 13;

fn main() -> Answer<()> {
    let given = std::env::args().nth(1).ok_or("usage: click_bench fm|dnn|deep_fm|dcn_v2|cnn")?;
    let architecture: Architecture = serde_json::from_value(given.into())?;
    let device = Device::flex().autodiff();
    let mut rng = Run::new(1).rng(0);
    let params = ClickParams {
        numbers: NUMBERS,
        width: 16,
        hidden: vec![400, 400],
        ..ClickParams::new(architecture, vec![WORDS; FIELDS])
    };
    let mut network = params.init(&device, &mut rng)?;
    let mut optimiser = Optimiser::new(OptimiserParams { clip: None, ..OptimiserParams::default() })?;
    let codes: Vec<usize> = (0..ROWS * FIELDS).map(|_| rng.random_range(0..WORDS)).collect();
    let mut numbers = |width: usize, of: fn(f32) -> f32| {
        let values = (0..ROWS * width).map(|_| of(rng.random_range(-1.0..1.0))).collect::<Vec<f32>>();
        Tensor::<2>::from_data(TensorData::new(values, [ROWS, width]), &device)
    };
    let (z, truth) = (numbers(NUMBERS, |v| v), numbers(1, |v| f32::from(u8::from(v > 0.5))));
    let mut took = Vec::new();
    for k in 0..40 {
        let begun = Instant::now();
        let mut noise = Noise::of(Run::new(1).rng(k));
        let loss = losses::bce(network.forward(&codes, Some(z.clone()), &mut noise)?, truth.clone(), None);
        let gradients = Collected::of(&network, loss.backward());
        (network, _) = optimiser.step(network, gradients, 1.0)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut took = took.split_off(10);
    took.sort_by(f64::total_cmp);
    println!("  Tradewind: training step {:.1} ms, {}", took[took.len() / 2], peak()?);
    Ok(())
}

fn peak() -> Answer<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(format!("{:.0} MiB", kib / 1024.0))
}
