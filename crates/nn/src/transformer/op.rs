//! A layer, and a normalisation, as operations of the graph with their own ways back.

use super::pass::{self, Kept, Plan};
use super::rows::{self, Norm};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;
use std::sync::Arc;

/// The operations. `x` is `[tokens, width]`.
#[backend_extension(Flex, Autodiff)]
pub(super) trait TransformerOps: Backend {
    /// A layer; `weights` are all of its weights, one after the other.
    fn layer(x: FloatTensor<Self>, weights: FloatTensor<Self>, plan: Plan) -> FloatTensor<Self>;

    /// Layer normalisation; `weights` are the scale and the shift.
    fn norm_rows(x: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The halves of them, on backends whose values can be read.
pub(super) trait TransformerPass: Backend {
    /// The answer and what the way back needs.
    fn layer_pass(x: FloatTensor<Self>, weights: FloatTensor<Self>, plan: &Plan)
    -> (FloatTensor<Self>, Kept);

    /// The gradients of what goes in.
    fn layer_back(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kept: &Kept,
        outer: FloatTensor<Self>,
        plan: &Plan,
    ) -> [FloatTensor<Self>; 2];

    /// The gradients of what goes into a normalisation.
    fn norm_rows_back(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        outer: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.shape()))
}

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

fn norm_of(weights: &[f32]) -> Norm<'_> {
    let (scale, shift) = weights.split_at(weights.len() / 2);
    Norm { scale, shift }
}

impl TransformerOps for Flex {
    fn layer(x: FlexTensor, weights: FlexTensor, plan: Plan) -> FlexTensor {
        let (x, weights) = (x.to_contiguous(), weights.to_contiguous());
        tensor(pass::forward(&plan, values(&x), values(&weights), false).0, &x)
    }

    fn norm_rows(x: FlexTensor, weights: FlexTensor) -> FlexTensor {
        let (x, weights) = (x.to_contiguous(), weights.to_contiguous());
        let mut out = vec![0.0; values(&x).len()];
        rows::norm(&mut out, values(&x), norm_of(values(&weights)));
        tensor(out, &x)
    }
}

impl TransformerPass for Flex {
    fn layer_pass(x: FlexTensor, weights: FlexTensor, plan: &Plan) -> (FlexTensor, Kept) {
        let (x, weights) = (x.to_contiguous(), weights.to_contiguous());
        let (z, kept) = pass::forward(plan, values(&x), values(&weights), true);
        (tensor(z, &x), kept)
    }

    fn layer_back(
        x: FlexTensor,
        weights: FlexTensor,
        kept: &Kept,
        outer: FlexTensor,
        plan: &Plan,
    ) -> [FlexTensor; 2] {
        let (x, weights, outer) = (x.to_contiguous(), weights.to_contiguous(), outer.to_contiguous());
        let (dx, dw) = pass::backward(plan, values(&x), values(&weights), kept, values(&outer));
        [tensor(dx, &x), tensor(dw, &weights)]
    }

    fn norm_rows_back(x: FlexTensor, weights: FlexTensor, outer: FlexTensor) -> [FlexTensor; 2] {
        let (x, weights, outer) = (x.to_contiguous(), weights.to_contiguous(), outer.to_contiguous());
        let (mut dx, mut dw) = (vec![0.0; values(&x).len()], vec![0.0; values(&weights).len()]);
        let (dscale, dshift) = dw.split_at_mut(values(&weights).len() / 2);
        rows::norm_back(
            &mut dx,
            false,
            values(&outer),
            values(&x),
            norm_of(values(&weights)),
            dscale,
            dshift,
        );
        [tensor(dx, &x), tensor(dw, &weights)]
    }
}

#[derive(Debug)]
struct LayerBack;

impl<B: TransformerPass> Backward<B, 2> for LayerBack {
    type State = (FloatTensor<B>, FloatTensor<B>, Arc<Kept>, Plan);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (x, weights, kept, plan) = ops.state;
        let of = B::layer_back(x, weights, &kept, outer, &plan);
        for (parent, grad) in ops.parents.into_iter().zip(of) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct NormBack;

impl<B: TransformerPass> Backward<B, 2> for NormBack {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (x, weights) = ops.state;
        for (parent, grad) in ops.parents.into_iter().zip(B::norm_rows_back(x, weights, outer)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: TransformerPass + TransformerOps, C: CheckpointStrategy> TransformerOps for Autodiff<B, C> {
    fn layer(x: FloatTensor<Self>, weights: FloatTensor<Self>, plan: Plan) -> FloatTensor<Self> {
        let nodes = [x.node(), weights.node()];
        let (x, weights) = (x.into_primitive(), weights.into_primitive());
        match LayerBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (answer, kept) = B::layer_pass(x.clone(), weights.clone(), &plan);
                prep.finish((x, weights, Arc::new(kept), plan), answer)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::layer(x, weights, plan)),
        }
    }

    fn norm_rows(x: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node(), weights.node()];
        let (x, weights) = (x.into_primitive(), weights.into_primitive());
        let answer = B::norm_rows(x.clone(), weights.clone());
        match NormBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weights), answer),
            OpsKind::UnTracked(prep) => prep.finish(answer),
        }
    }
}
