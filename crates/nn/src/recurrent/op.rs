//! The recurrent pass as one operation of the graph, with its own way back.
//!
//! Left to automatic differentiation each step's slice of the gates would fill a whole tensor of zeros on the way back.

use super::cell::{Cell, ElmanCell, GruCell, LstmCell};
use super::pass::{self, Passed, Seen, Sizes, States, Weights};
use super::stack;
use crate::product::Rows;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use std::sync::{Arc, Mutex, PoisonError};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Elman,
    Gru,
    Lstm,
}

impl Kind {
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Elman => ElmanCell::GATES,
            Self::Gru => GruCell::GATES,
            Self::Lstm => LstmCell::GATES,
        }
    }

    pub(super) fn has_cell(self) -> bool {
        self == Self::Lstm
    }
}

/// How the pass goes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// From the last step to the first.
    pub(super) reverse: bool,
    /// Whether the last states follow the steps in the answer.
    pub(super) states: bool,
    /// The steps of each row that count; all, where not said.
    pub(super) lengths: Option<Arc<[usize]>>,
}

/// The recurrent pass. Weights have a row for each gate of each unit; `c` is as large as `h` for cells with a cell state
/// and of no elements for the others.
///
/// The answer is `[batch, steps, hidden]`, with `states` one row more for the hidden state and another for the cell state.
#[backend_extension(Flex, Autodiff)]
pub(super) trait RecurrentOps: Backend {
    /// The answer.
    #[allow(clippy::too_many_arguments, reason = "each is a tensor of its own")]
    fn recurrent(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        bias_input: FloatTensor<Self>,
        bias_hidden: FloatTensor<Self>,
        h: FloatTensor<Self>,
        c: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

/// The two halves of it, on backends whose values can be read.
pub(super) trait RecurrentPass: Backend {
    /// The answer, with what the way back needs: gates, cell states, the product of the last gate.
    #[expect(clippy::too_many_arguments, reason = "each is a tensor of its own")]
    fn recurrent_pass(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        bias_input: FloatTensor<Self>,
        bias_hidden: FloatTensor<Self>,
        h: FloatTensor<Self>,
        c: FloatTensor<Self>,
        plan: Plan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of all seven that go in.
    #[expect(clippy::too_many_arguments, clippy::type_complexity, reason = "each is a tensor of its own")]
    fn recurrent_back(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        bias_input: FloatTensor<Self>,
        bias_hidden: FloatTensor<Self>,
        h: FloatTensor<Self>,
        c: FloatTensor<Self>,
        answer: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        apart: FloatTensor<Self>,
        outer: FloatTensor<Self>,
        plan: Plan,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

fn sizes(x: &FlexTensor, h: &FlexTensor, plan: &Plan) -> Sizes {
    let (x, h) = (x.shape(), h.shape());
    Sizes { batch: x[0], steps: x[1], input: x[2], hidden: h[1], reverse: plan.reverse }
}

fn forward(sizes: Sizes, x: Rows<'_>, weights: Weights<'_>, states: States<'_>, plan: &Plan) -> Passed {
    let (rows, lengths) = (rows_of_answer(plan, sizes.steps), plan.lengths.as_deref());
    match plan.kind {
        Kind::Elman => pass::forward::<ElmanCell>(sizes, rows, x, weights, states, lengths),
        Kind::Gru => pass::forward::<GruCell>(sizes, rows, x, weights, states, lengths),
        Kind::Lstm => pass::forward::<LstmCell>(sizes, rows, x, weights, states, lengths),
    }
}

/// The rows of an answer: steps, and the last states where they are asked for.
fn rows_of_answer(plan: &Plan, steps: usize) -> usize {
    steps + if plan.states { 1 + usize::from(plan.kind.has_cell()) } else { 0 }
}

/// `[batch, steps, input]` whose steps follow each other; rows may lie apart, as those of an answer with its states do.
fn rows_of_steps(x: FlexTensor) -> FlexTensor {
    let fits = match x.layout().strides() {
        [rows, steps, 1] => {
            let (across, input) = (x.shape()[1] * x.shape()[2], x.shape()[2]);
            *steps == input as isize && *rows >= across as isize
        }
        _ => false,
    };
    if fits { x } else { x.to_contiguous() }
}

/// The steps of what [`rows_of_steps`] gives.
fn steps_of(x: &FlexTensor) -> Rows<'_> {
    Rows {
        values: x.storage::<f32>().get(x.layout().start_offset()..).unwrap_or_default(),
        apart: usize::try_from(x.layout().strides()[0]).unwrap_or_default(),
    }
}

/// The tensors of a layer in a stack, and of where it begins.
pub(super) struct OfLayer {
    /// For the input and for the hidden state.
    pub(super) weights: [Tensor<2>; 2],
    pub(super) biases: [Tensor<1>; 2],
    pub(super) h: Tensor<2>,
    pub(super) c: Option<Tensor<2>>,
}

/// The weights of a stack in order, kept from one answer to the next for as long as they are the same.
#[derive(Clone, Default)]
pub(super) struct Ordered(Arc<Mutex<Option<InOrder>>>);

/// Tensors are held so that nobody writes where they lie: who changes one that is held gets another place.
struct InOrder {
    of: Vec<[FlexTensor; 4]>,
    ready: Arc<Vec<pass::Ready>>,
}

impl std::fmt::Debug for Ordered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ordered(..)")
    }
}

impl Ordered {
    fn in_order(
        &self,
        of: Vec<[FlexTensor; 4]>,
        order: impl Fn(&[FlexTensor; 4]) -> pass::Ready,
    ) -> Arc<Vec<pass::Ready>> {
        let same = |a: &FlexTensor, b: &FlexTensor| {
            a.layout() == b.layout() && std::ptr::eq(a.storage::<f32>(), b.storage::<f32>())
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && kept.of.len() == of.len()
            && kept.of.iter().flatten().zip(of.iter().flatten()).all(|(a, b)| same(a, b))
        {
            return Arc::clone(&kept.ready);
        }
        let ready = Arc::new(of.iter().map(order).collect::<Vec<_>>());
        *kept = Some(InOrder { of, ready: Arc::clone(&ready) });
        ready
    }
}

/// All layers of a stack at once; nothing where the values are not the processor's own or somebody learns from them.
pub(super) fn stacked(
    x: &Tensor<3>,
    layers: Vec<OfLayer>,
    kind: Kind,
    lengths: Option<&[usize]>,
    kept: &Ordered,
) -> Option<stack::Answer> {
    match kind {
        Kind::Elman => stacked_of::<ElmanCell>(x, layers, lengths, kept),
        Kind::Gru => stacked_of::<GruCell>(x, layers, lengths, kept),
        Kind::Lstm => stacked_of::<LstmCell>(x, layers, lengths, kept),
    }
}

fn own<const D: usize>(of: Tensor<D>) -> Option<FlexTensor> {
    Some(of.try_into_primitive::<Flex>().ok()?.to_contiguous())
}

fn stacked_of<C: Cell>(
    x: &Tensor<3>,
    layers: Vec<OfLayer>,
    lengths: Option<&[usize]>,
    kept: &Ordered,
) -> Option<stack::Answer> {
    let x = rows_of_steps(x.clone().try_into_primitive::<Flex>().ok()?);
    let (mut weights, mut states) = (Vec::with_capacity(layers.len()), Vec::with_capacity(layers.len()));
    for OfLayer { weights: [input, hidden], biases: [bias_input, bias_hidden], h, c } in layers {
        weights.push([own(input)?, own(hidden)?, own(bias_input)?, own(bias_hidden)?]);
        let c = match c {
            Some(c) => Some(own(c)?),
            None => None,
        };
        states.push((own(h)?, c));
    }
    let (shape, hidden) = (x.shape(), states.first()?.0.shape()[1]);
    let sizes = Sizes { batch: shape[0], steps: shape[1], input: shape[2], hidden, reverse: false };
    let ready = kept.in_order(weights, |[input, hidden, bias_input, bias_hidden]| {
        let sizes = Sizes { input: input.shape()[1], ..sizes };
        let weights = Weights {
            input: values(input),
            hidden: values(hidden),
            bias_input: values(bias_input),
            bias_hidden: values(bias_hidden),
        };
        pass::Ready::of::<C>(sizes, weights)
    });
    let layers: Vec<stack::Layer<'_>> = ready
        .iter()
        .zip(&states)
        .map(|(ready, (h, c))| {
            let states = States { h: values(h), c: c.as_ref().map_or(&[], values) };
            stack::Layer { ready, states }
        })
        .collect();
    Some(stack::answer::<C>(sizes, steps_of(&x), &layers, lengths))
}

impl RecurrentOps for Flex {
    fn recurrent(
        x: FlexTensor,
        input: FlexTensor,
        hidden: FlexTensor,
        bias_input: FlexTensor,
        bias_hidden: FlexTensor,
        h: FlexTensor,
        c: FlexTensor,
        plan: Plan,
    ) -> FlexTensor {
        let sizes = sizes(&x, &h, &plan);
        let [input, hidden, bias_input, bias_hidden, h, c] =
            [input, hidden, bias_input, bias_hidden, h, c].map(|t| t.to_contiguous());
        let x = rows_of_steps(x);
        let steps = steps_of(&x);
        let weights = Weights {
            input: values(&input),
            hidden: values(&hidden),
            bias_input: values(&bias_input),
            bias_hidden: values(&bias_hidden),
        };
        let states = States { h: values(&h), c: values(&c) };
        let (rows, lengths) = (rows_of_answer(&plan, sizes.steps), plan.lengths.as_deref());
        let answer = match plan.kind {
            Kind::Elman => pass::answer::<ElmanCell>(sizes, rows, steps, weights, states, lengths),
            Kind::Gru => pass::answer::<GruCell>(sizes, rows, steps, weights, states, lengths),
            Kind::Lstm => pass::answer::<LstmCell>(sizes, rows, steps, weights, states, lengths),
        };
        tensor(answer, &[sizes.batch, rows, sizes.hidden])
    }
}

impl RecurrentPass for Flex {
    fn recurrent_pass(
        x: FlexTensor,
        input: FlexTensor,
        hidden: FlexTensor,
        bias_input: FlexTensor,
        bias_hidden: FlexTensor,
        h: FlexTensor,
        c: FlexTensor,
        plan: Plan,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let sizes = sizes(&x, &h, &plan);
        let [input, hidden, bias_input, bias_hidden, h, c] =
            [input, hidden, bias_input, bias_hidden, h, c].map(|t| t.to_contiguous());
        let x = rows_of_steps(x);
        let weights = Weights {
            input: values(&input),
            hidden: values(&hidden),
            bias_input: values(&bias_input),
            bias_hidden: values(&bias_hidden),
        };
        let states = States { h: values(&h), c: values(&c) };
        let passed = forward(sizes, steps_of(&x), weights, states, &plan);
        let Sizes { batch, steps, hidden, .. } = sizes;
        let rows = rows_of_answer(&plan, steps);
        let flat = |values: Vec<f32>| {
            let n = values.len();
            tensor(values, &[n])
        };
        (tensor(passed.y, &[batch, rows, hidden]), flat(passed.gates), flat(passed.cells), flat(passed.apart))
    }

    fn recurrent_back(
        x: FlexTensor,
        input: FlexTensor,
        hidden: FlexTensor,
        bias_input: FlexTensor,
        bias_hidden: FlexTensor,
        h: FlexTensor,
        c: FlexTensor,
        answer: FlexTensor,
        gates: FlexTensor,
        cells: FlexTensor,
        apart: FlexTensor,
        outer: FlexTensor,
        plan: Plan,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let sizes = sizes(&x, &h, &plan);
        let [x, input, hidden, bias_input, bias_hidden, h, c, answer, outer] =
            [x, input, hidden, bias_input, bias_hidden, h, c, answer, outer].map(|t| t.to_contiguous());
        let weights = Weights {
            input: values(&input),
            hidden: values(&hidden),
            bias_input: values(&bias_input),
            bias_hidden: values(&bias_hidden),
        };
        let states = States { h: values(&h), c: values(&c) };
        let (n, steps) = (sizes.hidden, sizes.steps);
        let rows = rows_of_answer(&plan, steps);
        // Nobody else needs the gates any more, so they are taken and not copied.
        let gates = gates.into_data().try_into_vec::<f32>().unwrap_or_default();
        let seen = Seen { y: values(&answer), gates, cells: values(&cells), apart: values(&apart) };
        let outer = values(&outer);
        let lengths = plan.lengths.as_deref();
        let x_values = values(&x);
        let back = match plan.kind {
            Kind::Elman => {
                pass::backward::<ElmanCell>(sizes, rows, x_values, weights, states, lengths, seen, outer)
            }
            Kind::Gru => {
                pass::backward::<GruCell>(sizes, rows, x_values, weights, states, lengths, seen, outer)
            }
            Kind::Lstm => {
                pass::backward::<LstmCell>(sizes, rows, x_values, weights, states, lengths, seen, outer)
            }
        };
        let wide = plan.kind.gates() * n;
        let cell = if plan.kind.has_cell() { sizes.batch } else { 0 };
        (
            tensor(back.x, &[sizes.batch, steps, sizes.input]),
            tensor(back.input, &[wide, sizes.input]),
            tensor(back.hidden, &[wide, n]),
            tensor(back.bias_input, &[wide]),
            tensor(back.bias_hidden, &[wide]),
            tensor(back.h, &[sizes.batch, n]),
            tensor(back.c, &[cell, n]),
        )
    }
}

/// What the way back remembers: the seven that went in, the answer, and what was kept of the pass.
type Kept<B> = ([FloatTensor<B>; 7], FloatTensor<B>, [FloatTensor<B>; 3], Plan);

#[derive(Debug)]
struct RecurrentBack;

impl<B: RecurrentPass> Backward<B, 7> for RecurrentBack {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Self::State, 7>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        let ([x, input, hidden, bias_input, bias_hidden, h, c], answer, [gates, cells, apart], plan) =
            ops.state;
        let (x, input, hidden, bias_input, bias_hidden, h, c) = B::recurrent_back(
            x,
            input,
            hidden,
            bias_input,
            bias_hidden,
            h,
            c,
            answer,
            gates,
            cells,
            apart,
            outer,
            plan,
        );
        for (parent, grad) in ops.parents.into_iter().zip([x, input, hidden, bias_input, bias_hidden, h, c]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: RecurrentOps + RecurrentPass, C: CheckpointStrategy> RecurrentOps for Autodiff<B, C> {
    fn recurrent(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        bias_input: FloatTensor<Self>,
        bias_hidden: FloatTensor<Self>,
        h: FloatTensor<Self>,
        c: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let all = [x, input, hidden, bias_input, bias_hidden, h, c];
        let guards = all.each_ref().map(|t| t.node());
        let all = all.map(|t| t.into_primitive());
        let [x, input, hidden, bias_input, bias_hidden, h, c] = all.clone();
        match RecurrentBack.prepare::<C>(guards).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (answer, gates, cells, apart) =
                    B::recurrent_pass(x, input, hidden, bias_input, bias_hidden, h, c, plan.clone());
                prep.finish((all, answer.clone(), [gates, cells, apart], plan), answer)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::recurrent(x, input, hidden, bias_input, bias_hidden, h, c, plan))
            }
        }
    }
}
