//! The chance of training, from a seed: what is left out, and what is added.

use burn::tensor::{Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

/// Where the chance of dropout comes from while training; nothing is left out while predicting.
///
/// It is drawn on the host and not from the device's own generator, which all models of a process share, so a seed gives
/// the same network whatever else is trained.
#[derive(Clone, Debug)]
pub struct Noise(Option<ChaCha8Rng>);

impl Noise {
    /// For predicting: nothing is left out.
    pub fn none() -> Self {
        Self(None)
    }

    /// For training.
    pub fn of(rng: ChaCha8Rng) -> Self {
        Self(Some(rng))
    }

    /// Whether a network is being trained.
    pub fn is_training(&self) -> bool {
        self.0.is_some()
    }

    /// Leaves out values with probability `p` and makes the others larger by `1 / (1 - p)` (Srivastava et al. 2014).
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, p: f64) -> Tensor<D> {
        let Some(rng) = &mut self.0 else { return x };
        if p <= 0.0 {
            return x;
        }
        let shape = x.shape();
        // 24 bits decide; the whole word would need a comparison of 64.
        let (limit, kept) = ((p * f64::from(1 << 24)) as u32, (1.0 / (1.0 - p)) as f32);
        let mut mask = vec![0.0_f32; shape.num_elements()];
        for value in &mut mask {
            *value = if rng.next_u32() >> 8 >= limit { kept } else { 0.0 };
        }
        let device = x.device().without_autodiff();
        x.clone() * Tensor::from_data(TensorData::new(mask, shape), &device)
    }

    /// The generator, for a network that draws more than dropout.
    pub fn rng(&mut self) -> Option<&mut ChaCha8Rng> {
        self.0.as_mut()
    }
}

/// Numbers evenly in `-end` to `end`.
pub(crate) fn even(n: usize, end: f32, rng: &mut impl Rng) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-end..=end)).collect()
}
