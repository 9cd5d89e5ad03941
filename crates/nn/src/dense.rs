//! Dense layers: `y = x Wᵀ + b`.

use crate::init;
use crate::product::{Panels, Rows, add_product};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// A dense layer. The weight lies as PyTorch's, `[output, input]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::dense::Dense;
/// let device = Device::flex();
/// let layer = Dense::new(3, 5, &device, &mut Run::new(1).rng(0));
/// assert_eq!(layer.forward(Tensor::<2>::ones([4, 3], &device)).dims(), [4, 5]);
/// ```
#[derive(Module, Debug)]
pub struct Dense {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Dense {
    /// From `input` to `output` numbers, with weights evenly between `-1/√input` and `1/√input`.
    pub fn new(input: usize, output: usize, device: &Device, rng: &mut impl Rng) -> Self {
        let end = 1.0 / (input.max(1) as f32).sqrt();
        Self {
            weight: init::even([output, input], end, device, rng),
            bias: init::even([output], end, device, rng),
        }
    }

    /// Of these weights, `[output, input]` and `[output]`.
    pub(crate) fn of(weight: Param<Tensor<2>>, bias: Param<Tensor<1>>) -> Self {
        Self { weight, bias }
    }

    /// Where its weights lie.
    pub(crate) fn device(&self) -> Device {
        self.weight.device()
    }

    /// The same with all weights zero: what a branch begins with that should add nothing at first.
    pub fn zero(input: usize, output: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([output, input], device)),
            bias: Param::from_tensor(Tensor::zeros([output], device)),
        }
    }

    /// `[rows, input]` to `[rows, output]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }
}

/// A dense layer that is trained no more: a row's answer does not depend on the rows beside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fixed {
    /// `[input, output]`, the other way round than a layer has it.
    weight: Panels,
    bias: Vec<f32>,
}

impl Fixed {
    /// Of `[output, input]` and `[output]`.
    pub(crate) fn new(weight: &[f32], bias: Vec<f32>) -> Self {
        Self { weight: Panels::of_transposed(weight, weight.len() / bias.len().max(1)), bias }
    }

    /// `x W + b` of so many rows.
    pub(crate) fn forward(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let to = self.bias.len();
        let mut out = self.bias.repeat(rows);
        let x = Rows { values: x, apart: x.len() / rows.max(1) };
        add_product(pulp::Arch::new(), (&mut out, to), x, rows, &self.weight);
        out
    }
}
