//! What writes a sequence after another was read.

mod op;
mod pass;
#[cfg(test)]
mod tests;

use super::operations::{self, Attend, activate, dense, flat, split};
use super::rows::Dropout;
use super::{Activation, LayerNorm, Packed, Shape};
use crate::init;
use crate::noise::Noise;
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use op::DecoderOps;
use pass::Plan;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// How a Transformer decoder (Vaswani et al. 2017) is made.
///
/// A token attends to itself and those before it, then to all tokens of what was read, the memory: mostly an
/// [`Encoder`](super::Encoder)'s answer.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::Noise;
/// use tradewind_nn::transformer::{DecoderParams, Packed};
/// let (device, mut rng) = (Device::flex(), Run::new(1).rng(0));
/// let decoder = DecoderParams { heads: 2, layers: 2, ..DecoderParams::new(16) }.init(&device, &mut rng).unwrap();
/// // Two sequences are written, of three tokens and of one; those that were read have two and five.
/// let (written, read) = (Packed::of_lengths(&[3, 1]), Packed::of_lengths(&[2, 5]));
/// let (x, memory) = (Tensor::<2>::ones([4, 16], &device), Tensor::<2>::ones([7, 16], &device));
/// let told = decoder.forward(x, &written, memory, &read, &mut Noise::none()).unwrap();
/// assert_eq!(told.dims(), [4, 16]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderParams {
    /// Numbers of a token, and of one of the memory.
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
    /// The share that is left out while training: of attention's weights, of the inner layer, and of each branch; 0.1.
    pub dropout: f64,
}

impl DecoderParams {
    /// Two layers of two heads for tokens of `width` numbers.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            heads: 2,
            layers: 2,
            inner: 4 * width,
            activation: Activation::Gelu,
            norm_before: true,
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

    /// The decoder with its first weights, drawn from a normal distribution of deviation 0.02.
    ///
    /// # Errors
    /// As of [`DecoderParams::check`].
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Result<Decoder> {
        self.check()?;
        let (d, f) = (self.width, self.inner);
        let bias = |n| Param::from_tensor(Tensor::<1>::zeros([n], device));
        let layers = (0..self.layers)
            .map(|_| {
                let mut weight = |shape| init::normal(shape, 0.02, device, rng);
                let mut projections = || Projections {
                    in_proj_weight: weight([3 * d, d]),
                    in_proj_bias: bias(3 * d),
                    out_proj_weight: weight([d, d]),
                    out_proj_bias: bias(d),
                };
                let (self_attn, multihead_attn) = (projections(), projections());
                Layer {
                    self_attn,
                    multihead_attn,
                    linear1_weight: weight([f, d]),
                    linear1_bias: bias(f),
                    linear2_weight: weight([d, f]),
                    linear2_bias: bias(d),
                    norm1: LayerNorm::new(d, device),
                    norm2: LayerNorm::new(d, device),
                    norm3: LayerNorm::new(d, device),
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
            causal: true,
        };
        Ok(Decoder { layers, norm, shape, dropout: self.dropout })
    }
}

/// What an attention goes in and out through.
#[derive(Module, Debug)]
struct Projections {
    in_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj_weight: Param<Tensor<2>>,
    out_proj_bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Layer {
    self_attn: Projections,
    multihead_attn: Projections,
    linear1_weight: Param<Tensor<2>>,
    linear1_bias: Param<Tensor<1>>,
    linear2_weight: Param<Tensor<2>>,
    linear2_bias: Param<Tensor<1>>,
    norm1: LayerNorm,
    norm2: LayerNorm,
    norm3: LayerNorm,
}

/// A Transformer decoder; made by [`DecoderParams::init`].
#[derive(Module, Debug)]
pub struct Decoder {
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    shape: Shape,
    dropout: f64,
}

impl Decoder {
    /// Answers each token of `x`, `[tokens, width]`, from those before it in its sequence of `packed` and from the sequence of
    /// `read` at the same place, whose tokens are `memory`.
    ///
    /// # Errors
    /// Sizes that do not fit; a sequence with nothing to attend to.
    pub fn forward(
        &self,
        x: Tensor<2>,
        packed: &Packed,
        memory: Tensor<2>,
        read: &Packed,
        noise: &mut Noise,
    ) -> Result<Tensor<2>> {
        let (dims, width) = (x.dims(), self.shape.width);
        let fits = dims == [packed.tokens(), width] && packed.tokens() > 0 && packed.len() == read.len();
        if !fits || memory.dims() != [read.tokens(), width] {
            return Err(Error::Invalid(format!(
                "a decoder of width {width} got {dims:?} for {} sequences of {} tokens together and a memory of {:?} for {} of {}",
                packed.len(),
                packed.tokens(),
                memory.dims(),
                read.len(),
                read.tokens()
            )));
        }
        let empty = |packed: &Packed, s: usize| packed.offsets()[s] == packed.offsets()[s + 1];
        if let Some(s) = (0..packed.len()).find(|s| !empty(packed, *s) && empty(read, *s)) {
            return Err(Error::Invalid(format!(
                "sequence {s} of a decoder has no memory to attend to: leave it out, or give its memory one token"
            )));
        }
        let fused = crate::is_cpu(&x.device());
        let mut x = x;
        for layer in &self.layers {
            x = if fused {
                let mut dropout =
                    || noise.rng().map_or(Dropout::NONE, |r| Dropout::new(self.dropout, r.random()));
                let plan = Plan {
                    shape: self.shape,
                    offsets: packed.0.clone(),
                    memory: read.0.clone(),
                    dropout: dropout(),
                    across: dropout(),
                };
                let answer = <Dispatch as DecoderOps>::decoder_layer(
                    x.into_dispatch(),
                    memory.clone().into_dispatch(),
                    layer.flat().into_dispatch(),
                    plan,
                );
                Tensor::from_dispatch(answer)
            } else {
                layer.by_operations(x, memory.clone(), [packed, read], &self.shape, self.dropout, noise)
            };
        }
        Ok(match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        })
    }
}

impl Layer {
    /// All weights, in the order of [`pass::parts_of`].
    fn flat(&self) -> Tensor<1> {
        let (own, across) = (&self.self_attn, &self.multihead_attn);
        let parts = vec![
            flat(&own.in_proj_weight),
            own.in_proj_bias.val(),
            flat(&own.out_proj_weight),
            own.out_proj_bias.val(),
            flat(&self.linear1_weight),
            self.linear1_bias.val(),
            flat(&self.linear2_weight),
            self.linear2_bias.val(),
            self.norm1.weight.val(),
            self.norm1.bias.val(),
            self.norm2.weight.val(),
            self.norm2.bias.val(),
            flat(&across.in_proj_weight),
            across.in_proj_bias.val(),
            flat(&across.out_proj_weight),
            across.out_proj_bias.val(),
            self.norm3.weight.val(),
            self.norm3.bias.val(),
        ];
        Tensor::cat(parts, 0)
    }

    /// The same from operations of the backend, with sequences padded to the longest.
    fn by_operations(
        &self,
        x: Tensor<2>,
        memory: Tensor<2>,
        [packed, read]: [&Packed; 2],
        shape: &Shape,
        dropout: f64,
        noise: &mut Noise,
    ) -> Tensor<2> {
        let d = shape.width;
        let how = |causal| Attend { heads: shape.heads, causal, dropout };
        let out = |told: Tensor<2>, of: &Projections, noise: &mut Noise| {
            noise.dropout(dense(told, of.out_proj_weight.val(), of.out_proj_bias.val()), dropout)
        };
        let attend = |x: Tensor<2>, noise: &mut Noise| {
            let own = &self.self_attn;
            let qkv = dense(x, own.in_proj_weight.val(), own.in_proj_bias.val());
            let told = operations::attend(split(qkv, d), packed, packed, how(true), noise);
            out(told, own, noise)
        };
        let look = |x: Tensor<2>, noise: &mut Noise| {
            let across = &self.multihead_attn;
            let (w, b) = (across.in_proj_weight.val(), across.in_proj_bias.val());
            let q = dense(x, w.clone().slice([0..d, 0..d]), b.clone().narrow(0, 0, d));
            let kv = dense(memory.clone(), w.slice([d..3 * d, 0..d]), b.narrow(0, d, 2 * d));
            let [k, v] = split(kv, d);
            let told = operations::attend([q, k, v], packed, read, how(false), noise);
            out(told, across, noise)
        };
        let feed = |x: Tensor<2>, noise: &mut Noise| {
            let up = dense(x, self.linear1_weight.val(), self.linear1_bias.val());
            let active = noise.dropout(activate(up, shape.activation), dropout);
            noise.dropout(dense(active, self.linear2_weight.val(), self.linear2_bias.val()), dropout)
        };
        if shape.norm_before {
            let x = x.clone() + attend(self.norm1.by_operations(x), noise);
            let x = x.clone() + look(self.norm2.by_operations(x), noise);
            x.clone() + feed(self.norm3.by_operations(x), noise)
        } else {
            let x = self.norm1.by_operations(x.clone() + attend(x, noise));
            let x = self.norm2.by_operations(x.clone() + look(x, noise));
            self.norm3.by_operations(x.clone() + feed(x, noise))
        }
    }
}
