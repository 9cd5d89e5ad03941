//! Recurrent layers: plain, GRU and LSTM, stacked, in one direction or both.
//!
//! ```text
//! plain  h = tanh(W x + b + U h + b')
//! GRU    r, z = σ(W x + b + U h + b')   n = tanh(W x + b + r ⊙ (U h + b'))   h = (1 - z) ⊙ n + z ⊙ h
//! LSTM   i, f, o = σ(W x + b + U h + b')   g = tanh(…)   c = f ⊙ c + i ⊙ g   h = o ⊙ tanh c
//! ```
//!
//! Weights lie as PyTorch's do (`weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`), so weights go from one to the other. On
//! the CPU all steps are one operation with a way back of its own, and few rows that nobody learns from go through all
//! layers at once, each layer on a thread of its own; elsewhere the steps are put together from the backend's operations.

mod cell;
mod op;
mod pass;
mod stack;
#[cfg(test)]
mod tests;

use crate::noise::Noise;
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use op::{Kind, OfLayer, Ordered, Plan, RecurrentOps};
use rand::Rng;
use std::sync::Arc;
use tradewind_core::{Error, ParamCheck, Result};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recurrence {
    /// The plain recurrent layer (Elman 1990).
    Plain,
    /// Gated recurrent unit (Cho et al. 2014), in the form of cuDNN and PyTorch.
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber 1997), with a forget gate (Gers et al. 2000).
    Lstm,
}

impl Recurrence {
    fn kind(self) -> Kind {
        match self {
            Self::Plain => Kind::Elman,
            Self::Gru => Kind::Gru,
            Self::Lstm => Kind::Lstm,
        }
    }
}

/// How a recurrent network is made.
///
/// ```
/// use burn::tensor::{Device, Tensor, TensorData};
/// use tradewind_core::Run;
/// use tradewind_nn::Noise;
/// use tradewind_nn::recurrent::{Recurrence, RecurrentParams};
/// let (device, mut rng) = (Device::flex(), Run::new(1).rng(0));
/// let params = RecurrentParams { hidden: 8, layers: 2, ..RecurrentParams::new(Recurrence::Lstm, 3) };
/// let network = params.init(&device, &mut rng).unwrap();
/// let x = Tensor::<3>::ones([4, 10, 3], &device);
/// let told = network.forward(x, None, None, &mut Noise::none()).unwrap();
/// assert_eq!(told.y.dims(), [4, 10, 8]);
/// assert_eq!(told.states.len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RecurrentParams {
    /// What a step does.
    pub recurrence: Recurrence,
    /// Numbers of a step.
    pub input: usize,
    /// Units of a layer, 64.
    pub hidden: usize,
    /// Layers, 1.
    pub layers: usize,
    /// Whether each layer also goes from the last step to the first; answers of both stand side by side.
    pub bidirectional: bool,
    /// The share of values left out between layers while training, 0.
    pub dropout: f64,
}

impl RecurrentParams {
    /// One layer of 64 units.
    pub fn new(recurrence: Recurrence, input: usize) -> Self {
        Self { recurrence, input, hidden: 64, layers: 1, bidirectional: false, dropout: 0.0 }
    }

    /// With weights evenly between `-1/√hidden` and `1/√hidden`.
    ///
    /// # Errors
    /// Sizes of zero, a dropout outside 0 to 1.
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Result<Recurrent> {
        let mut check = ParamCheck::new();
        check.require(self.input > 0, "input", self.input, "at least 1");
        check.require(self.hidden > 0, "hidden", self.hidden, "at least 1");
        check.require(self.layers > 0, "layers", self.layers, "at least 1");
        check.require((0.0..1.0).contains(&self.dropout), "dropout", self.dropout, "0 to below 1");
        check.finish()?;
        let wide = self.recurrence.kind().gates() * self.hidden;
        let end = 1.0 / (self.hidden as f32).sqrt();
        let directions = 1 + usize::from(self.bidirectional);
        let mut layers = Vec::new();
        for k in 0..self.layers {
            let input = if k == 0 { self.input } else { self.hidden * directions };
            for direction in 0..directions {
                layers.push(Layer {
                    weight_ih: crate::init::even([wide, input], end, device, rng),
                    weight_hh: crate::init::even([wide, self.hidden], end, device, rng),
                    bias_ih: crate::init::even([wide], end, device, rng),
                    bias_hh: crate::init::even([wide], end, device, rng),
                    reverse: direction == 1,
                });
            }
        }
        let (dropout, recurrence) = (self.dropout, self.recurrence);
        Ok(Recurrent { layers, dropout, recurrence, directions, ordered: Ordered::default() })
    }
}

/// One layer in one direction.
#[derive(Module, Debug)]
struct Layer {
    weight_ih: Param<Tensor<2>>,
    weight_hh: Param<Tensor<2>>,
    bias_ih: Param<Tensor<1>>,
    bias_hh: Param<Tensor<1>>,
    reverse: bool,
}

/// A recurrent network; made by [`RecurrentParams::init`].
#[derive(Module, Debug)]
pub struct Recurrent {
    layers: Vec<Layer>,
    dropout: f64,
    #[module(skip)]
    recurrence: Recurrence,
    directions: usize,
    #[module(skip)]
    ordered: Ordered,
}

/// The states of a layer in one direction.
#[derive(Clone, Debug)]
pub struct State {
    /// The hidden state, `[batch, hidden]`.
    pub h: Tensor<2>,
    /// The cell state of an LSTM, `[batch, hidden]`.
    pub c: Option<Tensor<2>>,
}

/// What a recurrent network answers.
#[derive(Clone, Debug)]
pub struct Told {
    /// The last layer at each step, `[batch, steps, hidden · directions]`; zero beyond the length of a row.
    pub y: Tensor<3>,
    /// The states after the last step that counts: layer by layer, forward before backward.
    pub states: Vec<State>,
}

impl Recurrent {
    /// Answers each step of `x`, `[batch, steps, input]`. `lengths` are the steps of each row that count, where rows are
    /// padded at their ends; `states` is where to begin, in the order of [`Told::states`], and zero where not said.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn forward(
        &self,
        x: Tensor<3>,
        lengths: Option<&[usize]>,
        states: Option<&[State]>,
        noise: &mut Noise,
    ) -> Result<Told> {
        let [batch, steps, input] = x.dims();
        let expected = self.layers.first().map_or(0, |l| l.weight_ih.dims()[1]);
        let fits = input == expected
            && batch > 0
            && steps > 0
            && lengths.is_none_or(|l| l.len() == batch && l.iter().all(|l| *l <= steps))
            && states.is_none_or(|s| s.len() == self.layers.len() && s.iter().all(|s| self.begins(s, batch)));
        if !fits {
            return Err(Error::Invalid(format!(
                "a recurrent network of {expected} numbers a step and {} states got [{batch}, {steps}, {input}] with {} lengths and {} states",
                self.layers.len(),
                lengths.map_or(0, <[usize]>::len),
                states.map_or(0, <[State]>::len)
            )));
        }
        if let Some(told) = self.at_once(&x, lengths, states, noise) {
            return Ok(told);
        }
        let lengths: Option<Arc<[usize]>> = lengths.map(Into::into);
        let (mut y, mut last) = (x, Vec::with_capacity(self.layers.len()));
        for (k, layers) in self.layers.chunks(self.directions).enumerate() {
            if k > 0 {
                y = noise.dropout(y, self.dropout);
            }
            let mut answers = Vec::with_capacity(self.directions);
            for (d, layer) in layers.iter().enumerate() {
                let begin = states.and_then(|s| s.get(k * self.directions + d));
                let (answer, state) = layer.forward(self.recurrence, y.clone(), lengths.clone(), begin);
                answers.push(answer);
                last.push(state);
            }
            y = if answers.len() == 1 { answers.remove(0) } else { Tensor::cat(answers, 2) };
        }
        Ok(Told { y, states: last })
    }

    /// Whether a layer can begin at a state.
    fn begins(&self, state: &State, batch: usize) -> bool {
        let hidden = self.layers.first().map_or(0, |l| l.weight_hh.dims()[1]);
        state.h.dims() == [batch, hidden] && state.c.as_ref().is_none_or(|c| c.dims() == [batch, hidden])
    }

    /// The same bits from all layers at once, where nothing is learnt.
    fn at_once(
        &self,
        x: &Tensor<3>,
        lengths: Option<&[usize]>,
        states: Option<&[State]>,
        noise: &Noise,
    ) -> Option<Told> {
        let [batch, steps, _] = x.dims();
        let device = x.device();
        if self.directions != 1 || !crate::is_cpu(&device) || noise.is_training() {
            return None;
        }
        let kind = self.recurrence.kind();
        let layers = self.layers.iter().enumerate().map(|(k, layer)| {
            let begin = layer.begin(kind, batch, &device, states.and_then(|s| s.get(k)));
            OfLayer {
                weights: [layer.weight_ih.val(), layer.weight_hh.val()],
                biases: [layer.bias_ih.val(), layer.bias_hh.val()],
                h: begin.h,
                c: begin.c,
            }
        });
        let stack::Answer { y, states } = op::stacked(x, layers.collect(), kind, lengths, &self.ordered)?;
        let hidden = y.len() / (batch * steps);
        let state = |of: Vec<f32>| Tensor::from_data(TensorData::new(of, [batch, hidden]), &device);
        let states =
            states.into_iter().map(|[h, c]| State { h: state(h), c: kind.has_cell().then(|| state(c)) });
        let states = states.collect();
        Some(Told { y: Tensor::from_data(TensorData::new(y, [batch, steps, hidden]), &device), states })
    }
}

impl Layer {
    /// Where it begins: zero where not said.
    fn begin(&self, kind: Kind, batch: usize, device: &Device, begin: Option<&State>) -> State {
        let zeros = || Tensor::<2>::zeros([batch, self.weight_hh.dims()[1]], device);
        State {
            h: begin.map_or_else(zeros, |s| s.h.clone()),
            c: kind.has_cell().then(|| begin.and_then(|s| s.c.clone()).unwrap_or_else(zeros)),
        }
    }

    fn forward(
        &self,
        recurrence: Recurrence,
        x: Tensor<3>,
        lengths: Option<Arc<[usize]>>,
        begin: Option<&State>,
    ) -> (Tensor<3>, State) {
        let device = x.device();
        let kind = recurrence.kind();
        let ([batch, steps, _], [_, hidden]) = (x.dims(), self.weight_hh.dims());
        let State { h, c } = self.begin(kind, batch, &device, begin);
        if !crate::is_cpu(&device) {
            return self.by_steps(recurrence, x, lengths.as_deref(), h, c);
        }
        let plan = Plan { kind, reverse: self.reverse, states: true, lengths };
        let none = Tensor::<2>::zeros([0, hidden], &device);
        let answer = <Dispatch as RecurrentOps>::recurrent(
            x.into_dispatch(),
            self.weight_ih.val().into_dispatch(),
            self.weight_hh.val().into_dispatch(),
            self.bias_ih.val().into_dispatch(),
            self.bias_hh.val().into_dispatch(),
            h.into_dispatch(),
            c.unwrap_or(none).into_dispatch(),
            plan,
        );
        let answer = Tensor::<3>::from_dispatch(answer);
        let row = |k: usize| answer.clone().slice([0..batch, k..k + 1, 0..hidden]).squeeze_dim::<2>(1);
        let state = State { h: row(steps), c: kind.has_cell().then(|| row(steps + 1)) };
        (answer.slice([0..batch, 0..steps, 0..hidden]), state)
    }

    /// The same from operations of the backend, one step after the other.
    fn by_steps(
        &self,
        recurrence: Recurrence,
        x: Tensor<3>,
        lengths: Option<&[usize]>,
        mut h: Tensor<2>,
        mut c: Option<Tensor<2>>,
    ) -> (Tensor<3>, State) {
        let device = x.device();
        let ([batch, steps, input], [wide, hidden]) = (x.dims(), self.weight_hh.dims());
        let flat = x.reshape([batch * steps, input]).matmul(self.weight_ih.val().transpose());
        let part = (flat + self.bias_ih.val().unsqueeze()).reshape([batch, steps, wide]);
        let turned = self.weight_hh.val().transpose();
        let mut answers = Vec::with_capacity(steps);
        for k in 0..steps {
            let t = if self.reverse { steps - 1 - k } else { k };
            let of_input = part.clone().slice([0..batch, t..t + 1, 0..wide]).squeeze_dim::<2>(1);
            let product = h.clone().matmul(turned.clone()) + self.bias_hh.val().unsqueeze();
            let gate = |of: &Tensor<2>, k: usize| of.clone().slice([0..batch, k * hidden..(k + 1) * hidden]);
            let (new, cell) = match recurrence {
                Recurrence::Plain => (tanh(of_input + product), None),
                Recurrence::Gru => {
                    let r = sigmoid(gate(&of_input, 0) + gate(&product, 0));
                    let z = sigmoid(gate(&of_input, 1) + gate(&product, 1));
                    let n = tanh(gate(&of_input, 2) + r * gate(&product, 2));
                    (n.clone() + z * (h.clone() - n), None)
                }
                Recurrence::Lstm => {
                    let all = of_input + product;
                    let (i, f) = (sigmoid(gate(&all, 0)), sigmoid(gate(&all, 1)));
                    let (g, o) = (tanh(gate(&all, 2)), sigmoid(gate(&all, 3)));
                    let before = c.clone().unwrap_or_else(|| Tensor::zeros([batch, hidden], &device));
                    let cell = f * before + i * g;
                    (o * tanh(cell.clone()), Some(cell))
                }
            };
            // Rows that have ended keep their states and answer zero.
            let alive: Option<Tensor<2>> = lengths.map(|l| {
                let of: Vec<f32> = l.iter().map(|l| f32::from(u8::from(t < *l))).collect();
                Tensor::<1>::from_floats(of.as_slice(), &device).unsqueeze_dim::<2>(1)
            });
            let kept = |new: Tensor<2>, old: Tensor<2>| match &alive {
                Some(alive) => old.clone() + alive.clone() * (new - old),
                None => new,
            };
            let shown = match &alive {
                Some(alive) => new.clone() * alive.clone(),
                None => new.clone(),
            };
            answers.push((t, shown.unsqueeze_dim::<3>(1)));
            h = kept(new, h);
            c = match (cell, c) {
                (Some(new), Some(old)) => Some(kept(new, old)),
                (_, old) => old,
            };
        }
        answers.sort_by_key(|(t, _)| *t);
        let y = Tensor::cat(answers.into_iter().map(|(_, y)| y).collect(), 1);
        (y, State { h, c })
    }
}
