//! A step of masked language modelling: 4 layers of width 256 with 4 heads, 32 texts of 64 tokens, 15 % of them to be told
//! from a vocabulary of 21,128.
//!
//! `cargo run --release -p tradewind-nn --example transformer_bench` prints milliseconds (the median of many) and the peak
//! of memory; `docs/benchmarks/networks.sh` runs PyTorch beside it.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use rand::RngExt;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::optimise::{Collected, Optimiser, OptimiserParams};
use tradewind_nn::transformer::{Encoder, EncoderParams, Packed};
use tradewind_nn::{Noise, vocabulary};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TEXTS: usize = 32;
const TOKENS: usize = 64;
const WIDTH: usize = 256;
const VOCABULARY: usize = 21_128;

#[derive(Module, Debug)]
struct Network {
    words: Param<Tensor<2>>,
    places: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    encoder: Encoder,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex().autodiff();
    let mut rng = Run::new(1).rng(0);
    let mut network = Network {
        words: tradewind_nn::normal([VOCABULARY, WIDTH], 0.02, &device, &mut rng),
        places: tradewind_nn::normal([TOKENS, WIDTH], 0.02, &device, &mut rng),
        bias: Param::from_tensor(Tensor::zeros([VOCABULARY], &device)),
        encoder: EncoderParams { layers: 4, heads: 4, norm_before: false, ..EncoderParams::new(WIDTH) }
            .init(&device, &mut rng)?,
    };
    let mut optimiser = Optimiser::new(OptimiserParams { clip: None, ..OptimiserParams::default() })?;
    let whole = |of: Vec<i64>| {
        let n = of.len();
        Tensor::<1, Int>::from_data(TensorData::new(of, [n]), &device)
    };
    let n = TEXTS * TOKENS;
    let ids: Vec<i64> = (0..n).map(|_| rng.random_range(0..VOCABULARY as i64)).collect();
    let masked: Vec<i64> = (0..n as i64).filter(|_| rng.random_bool(0.15)).collect();
    let targets: Vec<u32> = masked.iter().map(|k| ids[*k as usize] as u32).collect();
    let places = (0..n).map(|k| (k % TOKENS) as i64).collect();
    let (ids, masked, places) = (whole(ids), whole(masked), whole(places));
    let packed = Packed::of_lengths(&[TOKENS; TEXTS]);
    let mut took = Vec::new();
    for k in 0..16 {
        let begun = Instant::now();
        let mut noise = Noise::of(Run::new(1).rng(k));
        let x = network.words.val().select(0, ids.clone()) + network.places.val().select(0, places.clone());
        let told = network.encoder.forward(noise.dropout(x, 0.1), &packed, &mut noise)?;
        let told = told.select(0, masked.clone());
        let loss = vocabulary::loss(told, network.words.val(), network.bias.val(), &targets, None)?;
        let gradients = Collected::of(&network, loss.backward());
        (network, _) = optimiser.step(network, gradients, 1.0)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut took = took.split_off(4);
    took.sort_by(f64::total_cmp);
    println!("masked-LM step: {:.1} ms", took[took.len() / 2]);
    let status = std::fs::read_to_string("/proc/self/status")?;
    if let Some(line) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Ok(())
}
