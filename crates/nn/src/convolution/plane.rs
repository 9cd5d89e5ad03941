//! Convolution of images.

use super::op::ConvolutionOps;
use super::pass::{Plan, Plane};
use crate::init;
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// How a convolution of images is made (LeCun et al. 1989). Pairs are of rows and columns.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::convolution::Conv2dParams;
/// let device = Device::flex();
/// let params = Conv2dParams { stride: [2, 2], padding: [1, 1], ..Conv2dParams::new(3, 8, [3, 3]) };
/// let layer = params.init(&device, &mut Run::new(1).rng(0)).unwrap();
/// // Five images of three channels, 32 by 20.
/// let x = Tensor::<4>::ones([5, 3, 32, 20], &device);
/// assert_eq!(layer.forward(x).unwrap().dims(), [5, 8, 16, 10]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2dParams {
    /// Channels that come in.
    pub input: usize,
    /// Channels that go out.
    pub output: usize,
    /// Rows and columns that a place sees.
    pub kernel: [usize; 2],
    /// How far places lie apart, 1.
    pub stride: [usize; 2],
    /// Zeros on each side of the image, 0.
    pub padding: [usize; 2],
    /// How far what a place sees lies apart, 1.
    pub dilation: [usize; 2],
    /// Parts of the channels that do not see each other, 1; as many as channels come in: each is filtered by itself.
    pub groups: usize,
    /// Whether a number is added to each channel; without use where a batch normalisation follows.
    pub bias: bool,
}

impl Conv2dParams {
    /// From `input` to `output` channels, each place seeing `kernel` rows and columns.
    pub fn new(input: usize, output: usize, kernel: [usize; 2]) -> Self {
        Self {
            input,
            output,
            kernel,
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
            bias: true,
        }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let divides = |n: usize| self.groups > 0 && n > 0 && n.is_multiple_of(self.groups);
        check.require(divides(self.input), "input", self.input, "a multiple of the groups, at least 1");
        check.require(divides(self.output), "output", self.output, "a multiple of the groups, at least 1");
        check.require(self.groups > 0, "groups", self.groups, "at least 1");
        for (name, of) in [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)] {
            let told = format!("{} by {}", of[0], of[1]);
            let sound = of.iter().all(|n| (1..=LARGEST).contains(n));
            check.require(sound, name, told, "1 to 65,536");
        }
        let told = format!("{} by {}", self.padding[0], self.padding[1]);
        check.require(self.padding.iter().all(|p| *p <= LARGEST), "padding", told, "at most 65,536");
        check.finish()?;
        Ok(())
    }

    /// The layer with its first weights, evenly between `-1/√n` and its opposite, `n` being the numbers that a place sees.
    ///
    /// # Errors
    /// As of [`Conv2dParams::check`].
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Result<Conv2d> {
        self.check()?;
        let ([rows, columns], input) = (self.kernel, self.input / self.groups);
        let end = 1.0 / ((input * rows * columns) as f32).sqrt();
        Ok(Conv2d {
            weight: init::even([self.output, input, rows, columns], end, device, rng),
            bias: self.bias.then(|| init::even([self.output], end, device, rng)),
            params: self.clone(),
        })
    }
}

/// The largest side of a kernel, a stride, a dilation or a padding.
const LARGEST: usize = 1 << 16;

/// A convolution of images; made by [`Conv2dParams::init`]. The weight lies as PyTorch's `Conv2d`,
/// `[output, input / groups, rows, columns]`.
#[derive(Module, Debug)]
pub struct Conv2d {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    params: Conv2dParams,
}

impl Conv2d {
    /// `[batch, input, rows, columns]` to `[batch, output, …]`, each side `(n + 2 padding - dilation (kernel - 1) - 1) / stride
    /// + 1` long.
    ///
    /// # Errors
    /// Another number of channels, an image smaller than what a place sees.
    pub fn forward(&self, x: Tensor<4>) -> Result<Tensor<4>> {
        let plan = self.plan(x.dims())?;
        if plan.batch == 0 {
            let [rows, columns] = plan.told;
            return Ok(Tensor::zeros([0, plan.output, rows, columns], &x.device()));
        }
        if !crate::is_cpu(&x.device()) {
            return Ok(self.by_operations(x));
        }
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([plan.output], &x.device()),
        };
        let told = <Dispatch as ConvolutionOps>::convolution(
            x.into_dispatch(),
            self.weight.val().into_dispatch(),
            bias.into_dispatch(),
            Plan::Plane(plan),
        );
        Ok(Tensor::from_dispatch(told))
    }

    /// The same from burn's operation.
    pub(super) fn by_operations(&self, x: Tensor<4>) -> Tensor<4> {
        let p = &self.params;
        let options = ConvOptions::new(p.stride, p.padding, p.dilation, p.groups);
        conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), options)
    }

    fn plan(&self, dims: [usize; 4]) -> Result<Plane> {
        let [batch, channels, height, width] = dims;
        let p = &self.params;
        let side = |k: usize, n: usize| {
            let seen = p.dilation[k] * (p.kernel[k] - 1) + 1;
            Some((n + 2 * p.padding[k]).checked_sub(seen)? / p.stride[k] + 1)
        };
        let told = match (side(0, height), side(1, width)) {
            (Some(rows), Some(columns)) if channels == p.input && height > 0 && width > 0 => [rows, columns],
            _ => {
                return Err(Error::Invalid(format!(
                    "a convolution of {} channels, {} by {} places apart by {} and {} with {} and {} zeros around, got images \
                     of {channels} channels, {height} by {width}: give larger images or more padding",
                    p.input,
                    p.kernel[0],
                    p.kernel[1],
                    p.dilation[0],
                    p.dilation[1],
                    p.padding[0],
                    p.padding[1],
                )));
            }
        };
        Ok(Plane {
            batch,
            input: p.input,
            output: p.output,
            groups: p.groups,
            size: [height, width],
            told,
            kernel: p.kernel,
            stride: p.stride,
            padding: p.padding,
            dilation: p.dilation,
        })
    }
}
