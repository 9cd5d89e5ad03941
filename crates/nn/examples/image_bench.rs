//! A training step of a small network of images: 64 of 3 channels, 32 by 32, through three blocks of 3 × 3 filters (32, 64 and
//! 128 of them), batch normalisation, rectifier and the largest of two by two; then the mean of each channel and ten classes.
//!
//! `cargo run --release -p tradewind-nn --example image_bench` prints milliseconds (the median of many) and the peak of memory;
//! `docs/benchmarks/networks.sh` runs PyTorch beside it.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use rand::RngExt;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_nn::batch_norm::{BatchNorm, BatchNormParams};
use tradewind_nn::burn::module::Module;
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::convolution::{Conv2d, Conv2dParams};
use tradewind_nn::dense::Dense;
use tradewind_nn::optimise::{Collected, Optimiser, OptimiserParams};
use tradewind_nn::pooling::{self, Window};
use tradewind_nn::{Noise, losses};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

const BATCH: usize = 64;
const SIDE: usize = 32;
const CLASSES: usize = 10;

#[derive(Module, Debug)]
struct Block {
    filters: Conv2d,
    norm: BatchNorm,
}

#[derive(Module, Debug)]
struct Network {
    blocks: Vec<Block>,
    head: Dense,
}

impl Network {
    fn new(device: &Device) -> Answer<Self> {
        let mut rng = Run::new(1).rng(0);
        let mut blocks = Vec::new();
        for (input, output) in [(3, 32), (32, 64), (64, 128)] {
            let filters = Conv2dParams { padding: [1, 1], ..Conv2dParams::new(input, output, [3, 3]) };
            blocks.push(Block {
                filters: filters.init(device, &mut rng)?,
                norm: BatchNormParams::new(output).init(device)?,
            });
        }
        Ok(Self { blocks, head: Dense::new(128, CLASSES, device, &mut rng) })
    }

    fn forward(&self, x: Tensor<4>, noise: &Noise) -> Answer<Tensor<2>> {
        let mut x = x;
        for block in &self.blocks {
            x = block.norm.rectified(block.filters.forward(x)?, noise)?;
            x = pooling::largest(x, &Window::square(2))?;
        }
        Ok(self.head.forward(pooling::global_mean(x)?))
    }
}

fn main() -> Answer<()> {
    let device = Device::flex().autodiff();
    let mut network = Network::new(&device)?;
    let mut optimiser = Optimiser::new(OptimiserParams { clip: None, ..OptimiserParams::default() })?;
    let mut rng = Run::new(2).rng(0);
    let x: Vec<f32> = (0..BATCH * 3 * SIDE * SIDE).map(|_| rng.random_range(-1.0..1.0)).collect();
    let x = Tensor::<4>::from_data(TensorData::new(x, [BATCH, 3, SIDE, SIDE]), &device);
    let classes: Vec<i64> = (0..BATCH).map(|_| rng.random_range(0..CLASSES as i64)).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [BATCH]), &device);
    let mut took = Vec::new();
    for k in 0..50 {
        let begun = Instant::now();
        let noise = Noise::of(Run::new(1).rng(k));
        let loss = losses::cross_entropy(network.forward(x.clone(), &noise)?, classes.clone(), 0.0);
        let gradients = Collected::of(&network, loss.backward());
        (network, _) = optimiser.step(network, gradients, 1.0)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    println!("  Tradewind: training step {:.1} ms", median(took.split_off(10)));
    let plain = network.valid();
    for batch in [1, BATCH] {
        let x = x.clone().inner().slice([0..batch, 0..3, 0..SIDE, 0..SIDE]);
        let mut took = Vec::new();
        for _ in 0..60 {
            let begun = Instant::now();
            plain.forward(x.clone(), &Noise::none())?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        println!("  Tradewind: inference, batch {batch}: {:.3} ms", median(took.split_off(10)));
    }
    println!("  Tradewind: peak memory {}", peak()?);
    Ok(())
}

fn median(mut took: Vec<f64>) -> f64 {
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn peak() -> Answer<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(format!("{:.0} MiB", kib / 1024.0))
}
