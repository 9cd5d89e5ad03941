//! Activations as one operation of the graph, with their own way back.

use super::Activation;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

/// Numbers that a thread works on at once.
const PART: usize = 1 << 14;

impl Activation {
    /// Each number of a tensor, activated.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use tradewind_nn::transformer::Activation;
    /// let x = Tensor::<1>::from_floats([-1.0, 0.0, 2.0], &Device::flex());
    /// assert_eq!(tradewind_nn::values(Activation::Relu.of(x)), [0.0, 0.0, 2.0]);
    /// ```
    pub fn of<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if crate::is_cpu(&x.device()) {
            return Tensor::from_dispatch(<Dispatch as ActivationOps>::activate(x.into_dispatch(), self));
        }
        super::operations::activate(x, self)
    }
}

/// The operation.
#[backend_extension(Flex, Autodiff)]
trait ActivationOps: Backend {
    fn activate(x: FloatTensor<Self>, by: Activation) -> FloatTensor<Self>;
}

/// Its way back, on backends whose values can be read.
trait ActivationPass: Backend {
    /// The gradient of `x`.
    fn activate_back(x: FloatTensor<Self>, outer: FloatTensor<Self>, by: Activation) -> FloatTensor<Self>;
}

type FlexTensor = FloatTensor<Flex>;

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

impl ActivationOps for Flex {
    fn activate(x: FlexTensor, by: Activation) -> FlexTensor {
        let x = x.to_contiguous();
        let mut out = vec![0.0; values(&x).len()];
        out.par_chunks_mut(PART).zip(values(&x).par_chunks(PART)).for_each(|(out, x)| by.forward(out, x));
        FlexTensor::from_data(TensorData::new(out, x.shape()))
    }
}

impl ActivationPass for Flex {
    fn activate_back(x: FlexTensor, outer: FlexTensor, by: Activation) -> FlexTensor {
        let (x, shape) = (x.to_contiguous(), outer.shape());
        let mut d = outer.into_data().try_into_vec::<f32>().unwrap_or_default();
        d.par_chunks_mut(PART).zip(values(&x).par_chunks(PART)).for_each(|(d, x)| by.backward(d, x));
        FlexTensor::from_data(TensorData::new(d, shape))
    }
}

#[derive(Debug)]
struct ActivationBack;

impl<B: ActivationPass> Backward<B, 1> for ActivationBack {
    type State = (FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (x, by) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::activate_back(x, outer, by));
        }
    }
}

impl<B: ActivationPass + ActivationOps, C: CheckpointStrategy> ActivationOps for Autodiff<B, C> {
    fn activate(x: FloatTensor<Self>, by: Activation) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        match ActivationBack.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let told = B::activate(x.clone(), by);
                prep.finish((x, by), told)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::activate(x, by)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn what_is_not_a_number_stays_so() {
        let device = Device::flex();
        let odd = || Tensor::<1>::from_floats([f32::NAN, -1.0, 2.0], &device);
        for by in [Activation::Relu, Activation::Gelu, Activation::Silu] {
            let told = crate::values(by.of(odd()));
            assert!(told[0].is_nan() && told[1] <= 0.0 && told[2] > 1.7, "{by:?}: {told:?}");
        }
    }

    #[test]
    fn activations_and_their_slopes_are_those_of_burns_operations() {
        let device = Device::flex().autodiff();
        let points: Vec<f32> = (-400..400).map(|i| i as f32 * 0.02 + 0.005).collect();
        for by in [Activation::Relu, Activation::Gelu, Activation::Silu] {
            let told = |fused: bool| {
                let data = TensorData::new(points.clone(), [points.len() / 8, 8]);
                let x = Tensor::<2>::from_data(data, &device).require_grad();
                // The gradient that comes back lies across.
                let y =
                    if fused { by.of(x.clone()) } else { super::super::operations::activate(x.clone(), by) };
                let y = y.swap_dims(0, 1);
                let weights: Vec<f32> = (0..points.len()).map(|i| (i % 7) as f32 - 3.0).collect();
                let weights = TensorData::new(weights, [8, points.len() / 8]);
                let loss = (y.clone() * Tensor::from_data(weights, &device)).sum();
                let slopes = x.grad(&loss.backward()).map(crate::values);
                (crate::values(y), slopes.unwrap())
            };
            let (fused, exact) = (told(true), told(false));
            for (a, b) in fused.0.iter().zip(&exact.0).chain(fused.1.iter().zip(&exact.1)) {
                assert!((a - b).abs() < 3e-6, "{by:?}: {a} {b}");
            }
        }
    }
}
