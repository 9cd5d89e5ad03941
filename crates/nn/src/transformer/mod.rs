//! Transformer layers over sequences of any lengths that lie one after the other: an [`Encoder`], a [`Decoder`] that writes
//! one sequence after another was read, and what tells a token its place ([`Positions`]).
//!
//! ```text
//! tokens of all sequences [Σ lengths, width] ─→ layer ─→ … ─→ layer ─→ (normalisation) ─→ [Σ lengths, width]
//! offsets                 0 ─ 5 ─ 9 ─ …           each sequence attends to itself alone
//! ```
//!
//! Padding never enters, so a batch costs what its tokens cost. On the CPU a layer is one operation with a way back of its
//! own; elsewhere sequences are padded and the layer is put together from the backend's operations. Weights lie as those of
//! PyTorch's `TransformerEncoderLayer` and `TransformerDecoderLayer` do.

mod activate;
mod attention;
mod decoder;
mod op;
mod operations;
mod pass;
mod positions;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, DecoderParams};
pub use positions::Positions;

use crate::init;
use crate::noise::Noise;
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use op::TransformerOps;
use operations::{Attend, activate, dense, flat, split};
use pass::Plan;
use rand::{Rng, RngExt};
use rows::Dropout;
use std::sync::Arc;
use tradewind_core::{Error, ParamCheck, Result};

/// What the inner layer of a Transformer does to each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)` (Hendrycks and Gimpel 2016).
    #[default]
    Gelu,
    /// `x σ(x)` (Elfwing et al. 2018).
    Silu,
}

/// The sizes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    pub(crate) norm_before: bool,
    pub(crate) causal: bool,
}

impl Shape {
    /// How many numbers each weight has: query, key and value with bias; what they go out through; up and down again; the
    /// two normalisations' scale and shift.
    pub(crate) fn parts(&self) -> [usize; 12] {
        let (d, f) = (self.width, self.inner);
        [3 * d * d, 3 * d, d * d, d, f * d, f, d * f, d, d, d, d, d]
    }
}

/// How a Transformer encoder is made.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::Noise;
/// use tradewind_nn::transformer::{EncoderParams, Packed};
/// let (device, mut rng) = (Device::flex(), Run::new(1).rng(0));
/// let encoder = EncoderParams { heads: 2, layers: 2, causal: true, ..EncoderParams::new(16) };
/// let encoder = encoder.init(&device, &mut rng).unwrap();
/// // Two sequences, of three tokens and of five.
/// let packed = Packed::of_lengths(&[3, 5]);
/// let x = Tensor::<2>::ones([8, 16], &device);
/// assert_eq!(encoder.forward(x, &packed, &mut Noise::none()).unwrap().dims(), [8, 16]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EncoderParams {
    /// Numbers of a token.
    pub width: usize,
    /// Heads of attention, 2; they share the width.
    pub heads: usize,
    /// Layers, 2.
    pub layers: usize,
    /// Numbers of the inner layer, four times the width.
    pub inner: usize,
    /// What the inner layer does to each number.
    pub activation: Activation,
    /// Whether branches are normalised where they begin (and what comes out at the end), and not where they join.
    pub norm_before: bool,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
    /// The share that is left out while training: of attention's weights, of the inner layer, and of each branch; 0.1.
    pub dropout: f64,
}

impl EncoderParams {
    /// Two layers of two heads for tokens of `width` numbers.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            heads: 2,
            layers: 2,
            inner: 4 * width,
            activation: Activation::Gelu,
            norm_before: true,
            causal: false,
            dropout: 0.1,
        }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.width > 0, "width", self.width, "at least 1");
        check.require(self.layers > 0, "layers", self.layers, "at least 1");
        check.require(self.inner > 0, "inner", self.inner, "at least 1");
        let fits = self.heads > 0 && self.width.is_multiple_of(self.heads);
        check.require(fits, "heads", self.heads, "a divisor of the width");
        check.require((0.0..1.0).contains(&self.dropout), "dropout", self.dropout, "0 to below 1");
        check.finish()?;
        Ok(())
    }

    /// The encoder with its first weights, drawn from a normal distribution of deviation 0.02 (Devlin et al. 2019).
    ///
    /// # Errors
    /// As of [`EncoderParams::check`].
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Result<Encoder> {
        self.check()?;
        let (d, f) = (self.width, self.inner);
        let layers = (0..self.layers)
            .map(|_| {
                let mut weight = |shape| init::normal(shape, 0.02, device, rng);
                let [in_proj_weight, out_proj_weight] = [weight([3 * d, d]), weight([d, d])];
                let [linear1_weight, linear2_weight] = [weight([f, d]), weight([d, f])];
                let bias = |n| Param::from_tensor(Tensor::<1>::zeros([n], device));
                Layer {
                    in_proj_weight,
                    in_proj_bias: bias(3 * d),
                    out_proj_weight,
                    out_proj_bias: bias(d),
                    linear1_weight,
                    linear1_bias: bias(f),
                    linear2_weight,
                    linear2_bias: bias(d),
                    norm1: LayerNorm::new(d, device),
                    norm2: LayerNorm::new(d, device),
                }
            })
            .collect();
        let norm = self.norm_before.then(|| LayerNorm::new(d, device));
        let shape = Shape {
            width: d,
            heads: self.heads,
            inner: f,
            activation: self.activation,
            norm_before: self.norm_before,
            causal: self.causal,
        };
        Ok(Encoder { layers, norm, shape, dropout: self.dropout })
    }
}

/// Where the sequences of a batch begin and end among its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Arc<[usize]>);

impl Packed {
    /// Sequences of these lengths, one after the other.
    pub fn of_lengths(lengths: &[usize]) -> Self {
        let mut end = 0;
        let ends = lengths.iter().map(|n| {
            end += n;
            end
        });
        Self(std::iter::once(0).chain(ends).collect())
    }

    /// The tokens of all.
    pub fn tokens(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where each sequence begins, and the end of the last.
    pub fn offsets(&self) -> &[usize] {
        &self.0
    }
}

/// Layer normalisation (Ba, Kiros and Hinton 2016): `(x - mean) / √(variance + 1e-5) · weight + bias`.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// For rows of `width` numbers: nothing is scaled or shifted yet.
    pub fn new(width: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([width], device)),
            bias: Param::from_tensor(Tensor::zeros([width], device)),
        }
    }

    /// Normalises rows.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        // Rows of another width are left to burn, which says so.
        if crate::is_cpu(&x.device()) && x.dims()[1] == weight.dims()[0] {
            let weights = Tensor::cat(vec![weight, bias], 0);
            let answer = <Dispatch as TransformerOps>::norm_rows(x.into_dispatch(), weights.into_dispatch());
            return Tensor::from_dispatch(answer);
        }
        self.by_operations(x)
    }

    fn by_operations(&self, x: Tensor<2>) -> Tensor<2> {
        let mean = x.clone().mean_dim(1);
        let off = x - mean;
        let variance = (off.clone() * off.clone()).mean_dim(1);
        off / (variance + 1e-5).sqrt() * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

#[derive(Module, Debug)]
struct Layer {
    in_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj_weight: Param<Tensor<2>>,
    out_proj_bias: Param<Tensor<1>>,
    linear1_weight: Param<Tensor<2>>,
    linear1_bias: Param<Tensor<1>>,
    linear2_weight: Param<Tensor<2>>,
    linear2_bias: Param<Tensor<1>>,
    norm1: LayerNorm,
    norm2: LayerNorm,
}

/// A Transformer encoder; made by [`EncoderParams::init`].
#[derive(Module, Debug)]
pub struct Encoder {
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    shape: Shape,
    dropout: f64,
}

impl Encoder {
    /// Answers each token of `x`, `[tokens, width]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn forward(&self, x: Tensor<2>, packed: &Packed, noise: &mut Noise) -> Result<Tensor<2>> {
        let dims = x.dims();
        if dims != [packed.tokens(), self.shape.width] || packed.tokens() == 0 {
            return Err(Error::Invalid(format!(
                "a Transformer of width {} got {dims:?} for {} sequences of {} tokens together",
                self.shape.width,
                packed.len(),
                packed.tokens()
            )));
        }
        let fused = crate::is_cpu(&x.device());
        let mut x = x;
        for layer in &self.layers {
            x = if fused {
                let dropout = noise.rng().map_or(Dropout::NONE, |r| Dropout::new(self.dropout, r.random()));
                let plan = Plan { shape: self.shape, offsets: packed.0.clone(), dropout };
                let answer = <Dispatch as TransformerOps>::layer(
                    x.into_dispatch(),
                    layer.flat().into_dispatch(),
                    plan,
                );
                Tensor::from_dispatch(answer)
            } else {
                layer.by_operations(x, &self.shape, packed, self.dropout, noise)
            };
        }
        Ok(match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        })
    }
}

impl Layer {
    /// All weights, in the order of [`Shape::parts`].
    fn flat(&self) -> Tensor<1> {
        let parts = vec![
            flat(&self.in_proj_weight),
            self.in_proj_bias.val(),
            flat(&self.out_proj_weight),
            self.out_proj_bias.val(),
            flat(&self.linear1_weight),
            self.linear1_bias.val(),
            flat(&self.linear2_weight),
            self.linear2_bias.val(),
            self.norm1.weight.val(),
            self.norm1.bias.val(),
            self.norm2.weight.val(),
            self.norm2.bias.val(),
        ];
        Tensor::cat(parts, 0)
    }

    /// The same from operations of the backend, with sequences padded to the longest.
    fn by_operations(
        &self,
        x: Tensor<2>,
        shape: &Shape,
        packed: &Packed,
        dropout: f64,
        noise: &mut Noise,
    ) -> Tensor<2> {
        let d = shape.width;
        let how = Attend { heads: shape.heads, causal: shape.causal, dropout };
        let attend = |x: Tensor<2>, noise: &mut Noise| {
            let qkv = dense(x, self.in_proj_weight.val(), self.in_proj_bias.val());
            let told = operations::attend(split(qkv, d), packed, packed, how, noise);
            noise.dropout(dense(told, self.out_proj_weight.val(), self.out_proj_bias.val()), dropout)
        };
        let feed = |x: Tensor<2>, noise: &mut Noise| {
            let up = dense(x, self.linear1_weight.val(), self.linear1_bias.val());
            let active = noise.dropout(activate(up, shape.activation), dropout);
            noise.dropout(dense(active, self.linear2_weight.val(), self.linear2_bias.val()), dropout)
        };
        if shape.norm_before {
            let y = x.clone() + attend(self.norm1.by_operations(x), noise);
            y.clone() + feed(self.norm2.by_operations(y), noise)
        } else {
            let y = self.norm1.by_operations(x.clone() + attend(x, noise));
            self.norm2.by_operations(y.clone() + feed(y, noise))
        }
    }
}
