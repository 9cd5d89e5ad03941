//! A decoder's layer as an operation of the graph with its own way back.

use super::pass::{self, Kept, Plan};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;
use std::sync::Arc;

/// The operation: `x` is `[tokens, width]`, `memory` `[memory tokens, width]`, `weights` are all of the layer's, one after the
/// other.
#[backend_extension(Flex, Autodiff)]
pub(super) trait DecoderOps: Backend {
    fn decoder_layer(
        x: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

/// The halves of it, on backends whose values can be read.
pub(super) trait DecoderPass: Backend {
    /// The answer and what the way back needs.
    fn decoder_layer_pass(
        x: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        plan: &Plan,
    ) -> (FloatTensor<Self>, Kept);

    /// The gradients of what goes in.
    fn decoder_layer_back(
        of: [FloatTensor<Self>; 3],
        kept: &Kept,
        outer: FloatTensor<Self>,
        plan: &Plan,
    ) -> [FloatTensor<Self>; 3];
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.shape()))
}

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

impl DecoderOps for Flex {
    fn decoder_layer(x: FlexTensor, memory: FlexTensor, weights: FlexTensor, plan: Plan) -> FlexTensor {
        let [x, memory, weights] = [x, memory, weights].map(|of| of.to_contiguous());
        let (z, _) = pass::forward(&plan, values(&x), values(&memory), values(&weights), false);
        tensor(z, &x)
    }
}

impl DecoderPass for Flex {
    fn decoder_layer_pass(
        x: FlexTensor,
        memory: FlexTensor,
        weights: FlexTensor,
        plan: &Plan,
    ) -> (FlexTensor, Kept) {
        let [x, memory, weights] = [x, memory, weights].map(|of| of.to_contiguous());
        let (z, kept) = pass::forward(plan, values(&x), values(&memory), values(&weights), true);
        (tensor(z, &x), kept)
    }

    fn decoder_layer_back(
        of: [FlexTensor; 3],
        kept: &Kept,
        outer: FlexTensor,
        plan: &Plan,
    ) -> [FlexTensor; 3] {
        let [x, memory, weights] = of.map(|of| of.to_contiguous());
        let outer = outer.to_contiguous();
        let [dx, dmemory, dweights] =
            pass::backward(plan, values(&x), values(&memory), values(&weights), kept, values(&outer));
        [tensor(dx, &x), tensor(dmemory, &memory), tensor(dweights, &weights)]
    }
}

#[derive(Debug)]
struct DecoderBack;

impl<B: DecoderPass> Backward<B, 3> for DecoderBack {
    type State = ([FloatTensor<B>; 3], Arc<Kept>, Plan);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (of, kept, plan) = ops.state;
        let of = B::decoder_layer_back(of, &kept, outer, &plan);
        for (parent, grad) in ops.parents.into_iter().zip(of) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: DecoderPass + DecoderOps, C: CheckpointStrategy> DecoderOps for Autodiff<B, C> {
    fn decoder_layer(
        x: FloatTensor<Self>,
        memory: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), memory.node(), weights.node()];
        let [x, memory, weights] = [x, memory, weights].map(|t| t.into_primitive());
        match DecoderBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (told, kept) = B::decoder_layer_pass(x.clone(), memory.clone(), weights.clone(), &plan);
                prep.finish(([x, memory, weights], Arc::new(kept), plan), told)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::decoder_layer(x, memory, weights, plan)),
        }
    }
}
