//! A convolution as one operation of the graph, with its own way back.

use super::pass::Plan;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;

/// The operation; shapes of `x`, the weight and the answer are those of the [`Plan`], the bias is `[output]`.
#[backend_extension(Flex, Autodiff)]
pub(super) trait ConvolutionOps: Backend {
    /// The answer.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

/// The way back, on backends whose values can be read.
pub(super) trait ConvolutionPass: Backend {
    /// The gradients that are asked for of what goes in.
    fn convolution_back(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        outer: FloatTensor<Self>,
        plan: &Plan,
        asked: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3];
}

type FlexTensor = FloatTensor<Flex>;

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

impl ConvolutionOps for Flex {
    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, plan: Plan) -> FlexTensor {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let told = plan.forward(values(&x), values(&weight), values(&bias));
        FlexTensor::from_data(TensorData::new(told, plan.told()))
    }
}

impl ConvolutionPass for Flex {
    fn convolution_back(
        x: FlexTensor,
        weight: FlexTensor,
        outer: FlexTensor,
        plan: &Plan,
        asked: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let (x, weight, outer) = (x.to_contiguous(), weight.to_contiguous(), outer.to_contiguous());
        let told = plan.backward(values(&x), values(&weight), values(&outer), asked);
        let tensor = |asked: bool, values: Vec<f32>, shape: Vec<usize>| {
            asked.then(|| FlexTensor::from_data(TensorData::new(values, shape)))
        };
        [
            tensor(asked[0], told.x, x.shape().to_vec()),
            tensor(asked[1], told.weight, weight.shape().to_vec()),
            tensor(asked[2], told.bias, vec![weight.shape()[0]]),
        ]
    }
}

#[derive(Debug)]
struct ConvolutionBack;

impl<B: ConvolutionPass> Backward<B, 3> for ConvolutionBack {
    type State = (FloatTensor<B>, FloatTensor<B>, Plan);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (x, weight, plan) = ops.state;
        let asked = std::array::from_fn(|k| ops.parents[k].is_some());
        let of = B::convolution_back(x, weight, outer, &plan, asked);
        for (parent, grad) in ops.parents.into_iter().zip(of) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: ConvolutionPass + ConvolutionOps, C: CheckpointStrategy> ConvolutionOps for Autodiff<B, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        let told = B::convolution(x.clone(), weight.clone(), bias, plan);
        match ConvolutionBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, plan), told),
            OpsKind::UnTracked(prep) => prep.finish(told),
        }
    }
}
