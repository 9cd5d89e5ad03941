//! The convolution over steps as one operation of the graph, with its own way back.

use super::pass::{self, Plan};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;

/// The operation: `x` is `[batch, steps, input]`, `weight` `[output, input, kernel]`, `bias` `[output]`.
#[backend_extension(Flex, Autodiff)]
pub(super) trait CausalOps: Backend {
    /// The answer, `[batch, steps, output]`.
    fn causal(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

/// The way back, on backends whose values can be read.
pub(super) trait CausalPass: Backend {
    /// The gradients that are asked for of what goes in.
    fn causal_back(
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

impl CausalOps for Flex {
    fn causal(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, plan: Plan) -> FlexTensor {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let told = pass::forward(&plan, values(&x), values(&weight), values(&bias));
        FlexTensor::from_data(TensorData::new(told, [plan.batch, plan.steps, plan.output]))
    }
}

impl CausalPass for Flex {
    fn causal_back(
        x: FlexTensor,
        weight: FlexTensor,
        outer: FlexTensor,
        plan: &Plan,
        asked: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let (x, weight, outer) = (x.to_contiguous(), weight.to_contiguous(), outer.to_contiguous());
        let told = pass::backward(plan, values(&x), values(&weight), values(&outer), asked);
        let tensor = |asked: bool, values: Vec<f32>, shape: Vec<usize>| {
            asked.then(|| FlexTensor::from_data(TensorData::new(values, shape)))
        };
        [
            tensor(asked[0], told.x, x.shape().to_vec()),
            tensor(asked[1], told.weight, weight.shape().to_vec()),
            tensor(asked[2], told.bias, vec![plan.output]),
        ]
    }
}

#[derive(Debug)]
struct CausalBack;

impl<B: CausalPass> Backward<B, 3> for CausalBack {
    type State = (FloatTensor<B>, FloatTensor<B>, Plan);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (x, weight, plan) = ops.state;
        let asked = std::array::from_fn(|k| ops.parents[k].is_some());
        let of = B::causal_back(x, weight, outer, &plan, asked);
        for (parent, grad) in ops.parents.into_iter().zip(of) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: CausalPass + CausalOps, C: CheckpointStrategy> CausalOps for Autodiff<B, C> {
    fn causal(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        let told = B::causal(x.clone(), weight.clone(), bias, plan);
        match CausalBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, plan), told),
            OpsKind::UnTracked(prep) => prep.finish(told),
        }
    }
}
