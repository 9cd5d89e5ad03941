//! Sums and softmaxes over neighbours as operations of the graph of gradients, with their own ways back.

use super::neighbours::Neighbours;
use super::pass::{self, Heads};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;

/// The operations. `values` and `scores` are `[edges, heads]`, `x` is `[columns, heads · width]`.
#[backend_extension(Flex, Autodiff)]
pub(super) trait GraphOps: Backend {
    /// The sum of what each node hears, `[rows, heads · width]`.
    fn neighbours_sum(
        values: FloatTensor<Self>,
        x: FloatTensor<Self>,
        graph: Neighbours,
    ) -> FloatTensor<Self>;

    /// The share of each edge among those of its node, `[edges, heads]`.
    fn neighbours_softmax(scores: FloatTensor<Self>, graph: Neighbours) -> FloatTensor<Self>;
}

/// The ways back, on backends whose values can be read.
pub(super) trait GraphPass: Backend {
    /// The gradients of the values and of `x`, where they are wanted.
    fn neighbours_sum_back(
        values: FloatTensor<Self>,
        x: FloatTensor<Self>,
        graph: &Neighbours,
        outer: FloatTensor<Self>,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2];

    /// The gradient of the scores.
    fn neighbours_softmax_back(
        told: FloatTensor<Self>,
        graph: &Neighbours,
        outer: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn values_of(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

fn heads_of(values: &FlexTensor, x: &FlexTensor) -> Heads {
    let heads = values.shape()[1];
    Heads { heads, width: x.shape()[1] / heads }
}

impl GraphOps for Flex {
    fn neighbours_sum(values: FlexTensor, x: FlexTensor, graph: Neighbours) -> FlexTensor {
        let (values, x) = (values.to_contiguous(), x.to_contiguous());
        let told = pass::sum(graph.lists(), values_of(&values), values_of(&x), heads_of(&values, &x));
        tensor(told, [graph.rows(), x.shape()[1]])
    }

    fn neighbours_softmax(scores: FlexTensor, graph: Neighbours) -> FlexTensor {
        let (scores, heads) = (scores.to_contiguous(), scores.shape()[1]);
        tensor(pass::softmax(graph.lists(), values_of(&scores), heads), [graph.edges(), heads])
    }
}

impl GraphPass for Flex {
    fn neighbours_sum_back(
        values: FlexTensor,
        x: FlexTensor,
        graph: &Neighbours,
        outer: FlexTensor,
        [of_values, of_x]: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (values, x, outer) = (values.to_contiguous(), x.to_contiguous(), outer.to_contiguous());
        let (by, lists) = (heads_of(&values, &x), graph.lists());
        let (slopes, shape) = (values_of(&outer), [graph.columns(), x.shape()[1]]);
        [
            of_values.then(|| {
                tensor(pass::sum_back_values(lists, values_of(&x), slopes, by), [graph.edges(), by.heads])
            }),
            of_x.then(|| tensor(pass::sum_back_x(lists, values_of(&values), slopes, by), shape)),
        ]
    }

    fn neighbours_softmax_back(told: FlexTensor, graph: &Neighbours, outer: FlexTensor) -> FlexTensor {
        let (told, outer, heads) = (told.to_contiguous(), outer.to_contiguous(), told.shape()[1]);
        let of = pass::softmax_back(graph.lists(), values_of(&told), values_of(&outer), heads);
        tensor(of, [graph.edges(), heads])
    }
}

#[derive(Debug)]
struct SumBack;

impl<B: GraphPass> Backward<B, 2> for SumBack {
    type State = (FloatTensor<B>, FloatTensor<B>, Neighbours);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (values, x, graph) = ops.state;
        let wanted = [ops.parents[0].is_some(), ops.parents[1].is_some()];
        let of = B::neighbours_sum_back(values, x, &graph, outer, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(of) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct SoftmaxBack;

impl<B: GraphPass> Backward<B, 1> for SoftmaxBack {
    type State = (FloatTensor<B>, Neighbours);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let (told, graph) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::neighbours_softmax_back(told, &graph, outer));
        }
    }
}

impl<B: GraphPass + GraphOps, C: CheckpointStrategy> GraphOps for Autodiff<B, C> {
    fn neighbours_sum(
        values: FloatTensor<Self>,
        x: FloatTensor<Self>,
        graph: Neighbours,
    ) -> FloatTensor<Self> {
        let nodes = [values.node(), x.node()];
        let (values, x) = (values.into_primitive(), x.into_primitive());
        let told = B::neighbours_sum(values.clone(), x.clone(), graph.clone());
        match SumBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((values, x, graph), told),
            OpsKind::UnTracked(prep) => prep.finish(told),
        }
    }

    fn neighbours_softmax(scores: FloatTensor<Self>, graph: Neighbours) -> FloatTensor<Self> {
        let nodes = [scores.node()];
        let told = B::neighbours_softmax(scores.into_primitive(), graph.clone());
        match SoftmaxBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((told.clone(), graph), told),
            OpsKind::UnTracked(prep) => prep.finish(told),
        }
    }
}
