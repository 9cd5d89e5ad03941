//! How a network is trained: layers, their gradients, and the road from data to weights.
//!
//! Networks stand on [burn](https://burn.dev), whose version is pinned here and nowhere else. Where its general operations
//! are slow on the CPU and it matters, an operation of our own with its own way back takes their place; the same code runs
//! on a GPU through burn's operations.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod activation;
pub mod augment;
pub mod batch_norm;
mod checkpoint;
pub mod click;
pub mod convolution;
pub mod dense;
pub mod device;
pub mod graph;
mod init;
pub mod losses;
pub mod mlp;
mod noise;
pub mod optimise;
pub mod pooling;
mod product;
pub mod recurrent;
pub mod schedule;
pub mod train;
pub mod transformer;
mod vector;
pub mod vocabulary;
mod weights;

pub use burn;
pub use checkpoint::Checkpoint;
pub use init::normal;
pub use noise::Noise;
pub use weights::Weights;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// The values of a tensor, row by row.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Parameters and gradients are single floats wherever they lie.
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().unwrap_or_default()
}

/// Whether tensors of a device lie in the memory of the processor.
pub(crate) fn is_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Autodiff(inner) => matches!(inner.clone().inner(), DispatchDevice::Flex(_)),
        #[allow(unreachable_patterns, reason = "without a GPU's feature there is no other device")]
        _ => false,
    }
}
