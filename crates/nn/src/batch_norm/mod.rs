//! Batch normalisation: each channel with the mean and the variance that it has over a batch, or has had while training.
//!
//! ```text
//! y = (x - mean) / √(variance + ε) · weight + bias
//! training: of the batch, and running ← (1 - momentum) running + momentum · (mean, variance of n - 1)
//! predicting: the running ones
//! ```
//!
//! Ioffe and Szegedy, *Batch normalization*, ICML 2015. Weights and statistics lie as PyTorch's `BatchNorm1d` and
//! `BatchNorm2d` have them.

mod op;
mod running;
#[cfg(test)]
mod tests;

use crate::noise::Noise;
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use op::{BatchNormOps, Moments, Plan};
use running::Running;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use tradewind_core::{Error, ParamCheck, Result};

/// How a batch normalisation is made.
///
/// ```
/// use burn::tensor::{Device, Tensor, TensorData};
/// use tradewind_core::Run;
/// use tradewind_nn::Noise;
/// use tradewind_nn::batch_norm::BatchNormParams;
/// let device = Device::flex();
/// let layer = BatchNormParams::new(1).init(&device).unwrap();
/// // Two rows of one channel: 1 and 5 have the mean 3 and the variance 4.
/// let x = Tensor::<2>::from_data(TensorData::new(vec![1.0_f32, 5.0], [2, 1]), &device);
/// let training = Noise::of(Run::new(1).rng(0));
/// let told = tradewind_nn::values(layer.forward(x.clone(), &training).unwrap());
/// assert!((told[0] + 1.0).abs() < 1e-5 && (told[1] - 1.0).abs() < 1e-5);
/// // Then the running statistics are 0.3 and 0.9 + 0.8.
/// let told = tradewind_nn::values(layer.forward(x, &Noise::none()).unwrap());
/// assert!((told[1] - 4.7 / 1.7_f32.sqrt()).abs() < 1e-4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNormParams {
    /// Channels.
    pub channels: usize,
    /// How much of a batch's statistics goes into the running ones, 0 to 1; 0.1.
    pub momentum: f64,
    /// What keeps a variance away from zero, 1e-5.
    pub epsilon: f64,
}

impl BatchNormParams {
    /// Of so many channels.
    pub fn new(channels: usize) -> Self {
        Self { channels, momentum: 0.1, epsilon: 1e-5 }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.channels > 0, "channels", self.channels, "at least 1");
        check.require((0.0..=1.0).contains(&self.momentum), "momentum", self.momentum, "0 to 1");
        let small = self.epsilon > 0.0 && self.epsilon <= 1.0;
        check.require(small, "epsilon", self.epsilon, "above 0, at most 1");
        check.finish()?;
        Ok(())
    }

    /// The layer: nothing is scaled or shifted yet, and the running statistics are mean 0 and variance 1.
    ///
    /// # Errors
    /// As of [`BatchNormParams::check`].
    pub fn init(&self, device: &Device) -> Result<BatchNorm> {
        self.check()?;
        Ok(BatchNorm {
            weight: Param::from_tensor(Tensor::ones([self.channels], device)),
            bias: Param::from_tensor(Tensor::zeros([self.channels], device)),
            running_mean: Running::new(Tensor::zeros([self.channels], device)),
            running_var: Running::new(Tensor::ones([self.channels], device)),
            params: *self,
        })
    }
}

/// A batch normalisation; made by [`BatchNormParams::init`].
#[derive(Module, Debug)]
pub struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Running,
    running_var: Running,
    #[module(skip)]
    params: BatchNormParams,
}

impl BatchNorm {
    /// Normalises `[batch, channels]`, `[batch, channels, length]` or `[batch, channels, rows, columns]`. With the noise of
    /// training the batch's own statistics are taken, and the running ones follow them.
    ///
    /// # Errors
    /// Another number of channels; a channel with fewer than two numbers while training.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, noise: &Noise) -> Result<Tensor<D>> {
        self.either(x, noise, false)
    }

    /// `max(y, 0)` of what [`BatchNorm::forward`] gives, without keeping both.
    ///
    /// # Errors
    /// As of [`BatchNorm::forward`].
    pub fn rectified<const D: usize>(&self, x: Tensor<D>, noise: &Noise) -> Result<Tensor<D>> {
        self.either(x, noise, true)
    }

    fn either<const D: usize>(&self, x: Tensor<D>, noise: &Noise, rectify: bool) -> Result<Tensor<D>> {
        let (dims, channels) = (x.dims(), self.params.channels);
        if D < 2 || dims[1] != channels {
            return Err(Error::Invalid(format!(
                "a batch normalisation of {channels} channels got {dims:?}: the second side is that of the channels"
            )));
        }
        let each = dims.iter().product::<usize>() / channels;
        if noise.is_training() && each < 2 {
            return Err(Error::Invalid(format!(
                "a batch normalisation has {each} numbers a channel to learn from ({dims:?}): give batches of at least 2 rows"
            )));
        }
        if each == 0 {
            return Ok(x);
        }
        if !crate::is_cpu(&x.device()) {
            return Ok(self.by_operations(x, noise, rectify));
        }
        let moments = Arc::new(OnceLock::new());
        if !noise.is_training() {
            let (mean, variance) = (self.running_mean.values(), self.running_var.values());
            moments.get_or_init(|| Moments { mean, variance });
        }
        let plan = Plan {
            images: dims[0],
            channels,
            inner: dims[2..].iter().product(),
            epsilon: self.params.epsilon as f32,
            rectify,
            of_batch: noise.is_training(),
            moments: moments.clone(),
        };
        let told = <Dispatch as BatchNormOps>::normalise_batch(
            x.into_dispatch(),
            self.weight.val().into_dispatch(),
            self.bias.val().into_dispatch(),
            plan,
        );
        if let (true, Some(of)) = (noise.is_training(), moments.get()) {
            self.follow(&of.mean, &of.variance, each);
        }
        Ok(Tensor::from_dispatch(told))
    }

    /// Lets the running statistics follow those of a batch.
    fn follow(&self, mean: &[f32], variance: &[f32], each: usize) {
        let share = self.params.momentum as f32;
        let unbiased = each as f32 / (each as f32 - 1.0);
        self.running_mean.update(|k, old| (1.0 - share) * old + share * mean[k]);
        self.running_var.update(|k, old| (1.0 - share) * old + share * variance[k] * unbiased);
    }

    /// The same from operations of the backend.
    fn by_operations<const D: usize>(&self, x: Tensor<D>, noise: &Noise, rectify: bool) -> Tensor<D> {
        let (dims, channels, device) = (x.dims(), self.params.channels, x.device());
        let (batch, inner) = (dims[0], dims[2..].iter().product::<usize>());
        let rows = x.reshape([batch, channels, inner]).swap_dims(0, 1).reshape([channels, batch * inner]);
        let told = |of: Vec<f32>| {
            let plain = device.clone().without_autodiff();
            Tensor::<1>::from_data(TensorData::new(of, [channels]), &plain).unsqueeze_dim::<2>(1)
        };
        let (mean, variance) = if noise.is_training() {
            let mean = rows.clone().mean_dim(1);
            let off = rows.clone() - mean.clone();
            (mean, (off.clone() * off).mean_dim(1))
        } else {
            (told(self.running_mean.values()), told(self.running_var.values()))
        };
        if noise.is_training() {
            let (mean, variance) = (crate::values(mean.clone()), crate::values(variance.clone()));
            self.follow(&mean, &variance, batch * inner);
        }
        let normal = (rows - mean) / (variance + self.params.epsilon).sqrt();
        let told = normal * self.weight.val().unsqueeze_dim(1) + self.bias.val().unsqueeze_dim(1);
        let told = if rectify { relu(told) } else { told };
        told.reshape([channels, batch, inner]).swap_dims(0, 1).reshape(dims)
    }
}
