//! First weights, drawn on the host so that a seed gives the same ones everywhere.

use crate::noise;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// Evenly in `-end` to `end`.
pub(crate) fn even<const D: usize>(
    shape: [usize; D],
    end: f32,
    device: &Device,
    rng: &mut impl Rng,
) -> Param<Tensor<D>> {
    let values = noise::even(shape.iter().product(), end, rng);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// A first weight from a normal distribution of mean 0.
pub fn normal<const D: usize>(
    shape: [usize; D],
    deviation: f32,
    device: &Device,
    rng: &mut impl Rng,
) -> Param<Tensor<D>> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| deviation * rng.sample::<f32, _>(StandardNormal)).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}
