//! First weights, drawn on the host so that a seed gives the same ones everywhere.

use crate::noise;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

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
