//! The networks: what reads the steps before an origin, and what makes a forecast of it and of a row.

use super::Kind;
use super::samples::Batch;
use rand::Rng;
use tradewind_core::{Result, Run};
use tradewind_nn::Noise;
use tradewind_nn::burn;
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::{Device, Tensor};
use tradewind_nn::convolution::Causal;
use tradewind_nn::dense::Dense;
use tradewind_nn::recurrent::{Recurrence, Recurrent, RecurrentParams};
use tradewind_nn::transformer::{Activation, Encoder, EncoderParams, Packed};

/// Steps that a filter sees.
const KERNEL: usize = 3;
/// Numbers of a category's vector at most.
const EMBEDDING_MAX: usize = 16;
/// Heads of attention.
const HEADS: usize = 4;

/// Sizes of a network.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) kind: Kind,
    pub(crate) numbers: usize,
    /// Words of each column of categories.
    pub(crate) words: Vec<usize>,
    pub(crate) input: usize,
    pub(crate) channels: usize,
    /// Steps of a patch.
    pub(crate) patch: usize,
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) dropout: f64,
}

/// A network: numbers of a row, vectors of its categories and what the body says of the steps before go through dense layers
/// that add up (He et al. 2016), and a straight line from the numbers goes past them (Cheng et al. 2016).
#[derive(Module, Debug)]
pub(crate) struct Network {
    embeddings: Vec<Param<Tensor<2>>>,
    first: Dense,
    body: Option<Body>,
    context: Option<Dense>,
    inner: Vec<Dense>,
    last: Dense,
    straight: Dense,
    dropout: f64,
}

/// Networks that differ by the chance of their training alone; what they say is averaged (Hansen and Salamon 1990).
#[derive(Module, Debug)]
pub(crate) struct Networks {
    pub(crate) all: Vec<Network>,
}

/// What reads the steps before an origin.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has one of them")]
enum Body {
    Recurrent(Recurrent),
    ConvolvedRecurrent(ConvolvedRecurrent),
    Temporal(Temporal),
    Patches(Patches),
}

/// Filters, then a recurrent layer over what they found.
#[derive(Module, Debug)]
struct ConvolvedRecurrent {
    filters: Vec<Causal>,
    memory: Recurrent,
}

/// Filters ever wider apart, each block added to what it came from.
#[derive(Module, Debug)]
struct Temporal {
    enter: Causal,
    blocks: Vec<Causal>,
    dropout: f64,
}

/// Attention among patches of steps.
#[derive(Module, Debug)]
struct Patches {
    enter: Dense,
    places: Param<Tensor<2>>,
    encoder: Encoder,
    patch: usize,
}

impl Sizes {
    /// The first weights of so many networks.
    pub(crate) fn networks(&self, n: usize, device: &Device, run: &Run) -> Result<Networks> {
        Ok(Networks { all: (0..n).map(|_| self.network(device, run)).collect::<Result<_>>()? })
    }

    /// The network with its first weights.
    pub(crate) fn network(&self, device: &Device, run: &Run) -> Result<Network> {
        let rng = &mut run.rng(91);
        let width = self.width;
        let embeddings: Vec<_> = self
            .words
            .iter()
            .map(|words| {
                let wide = ((*words as f64).sqrt().ceil() as usize).clamp(2, EMBEDDING_MAX);
                tradewind_nn::normal([words + 1, wide], 0.05, device, rng)
            })
            .collect();
        let all = self.numbers + embeddings.iter().map(|e| e.dims()[1]).sum::<usize>();
        let body = self.body(device, rng)?;
        Ok(Network {
            first: Dense::new(all, width, device, rng),
            context: body.as_ref().map(|_| Dense::new(width, width, device, rng)),
            body,
            inner: (0..self.layers).map(|_| Dense::new(width, width, device, rng)).collect(),
            last: Dense::zero(width, 1, device),
            straight: Dense::zero(self.numbers, 1, device),
            embeddings,
            dropout: self.dropout,
        })
    }

    fn body(&self, device: &Device, rng: &mut impl Rng) -> Result<Option<Body>> {
        let (width, channels) = (self.width, self.channels);
        let memory = |recurrence, input, rng: &mut _| {
            let params = RecurrentParams {
                hidden: width,
                layers: self.layers,
                dropout: self.dropout,
                ..RecurrentParams::new(recurrence, input)
            };
            params.init(device, rng)
        };
        Ok(Some(match self.kind {
            Kind::Mlp => return Ok(None),
            Kind::Lstm => Body::Recurrent(memory(Recurrence::Lstm, channels, rng)?),
            Kind::Gru => Body::Recurrent(memory(Recurrence::Gru, channels, rng)?),
            Kind::CnnGru => Body::ConvolvedRecurrent(ConvolvedRecurrent {
                filters: (0..2)
                    .map(|k| {
                        Causal::new(if k == 0 { channels } else { width }, width, KERNEL, 1, device, rng)
                    })
                    .collect(),
                memory: memory(Recurrence::Gru, width, rng)?,
            }),
            Kind::Tcn => {
                // As many blocks as it takes to see all steps.
                let far = |blocks: u32| 1 + (KERNEL - 1) * ((1 << (blocks + 1)) - 1);
                let blocks = (1..12).find(|b| far(*b) >= self.input).unwrap_or(12);
                let block =
                    |k: u32, rng: &mut _| Causal::new(width, width, KERNEL, 1_usize << k, device, rng);
                Body::Temporal(Temporal {
                    enter: Causal::new(channels, width, KERNEL, 1, device, rng),
                    blocks: (1..=blocks).map(|k| block(k, rng)).collect(),
                    dropout: self.dropout,
                })
            }
            Kind::PatchTransformer => {
                let params = EncoderParams {
                    heads: HEADS,
                    layers: self.layers,
                    inner: 2 * width,
                    dropout: self.dropout,
                    ..EncoderParams::new(width)
                };
                Body::Patches(Patches {
                    enter: Dense::new(self.patch * channels, width, device, rng),
                    places: tradewind_nn::normal([self.input / self.patch, width], 0.02, device, rng),
                    encoder: params.init(device, rng)?,
                    patch: self.patch,
                })
            }
        }))
    }
}

/// The last step of each row.
fn last_step(x: Tensor<3>) -> Tensor<2> {
    let [batch, steps, width] = x.dims();
    x.slice([0..batch, steps - 1..steps, 0..width]).reshape([batch, width])
}

impl Body {
    /// `[origins, steps, channels]` to `[origins, width]`.
    fn forward(&self, x: Tensor<3>, noise: &mut Noise) -> Result<Tensor<2>> {
        let remember = |memory: &Recurrent, x, noise: &mut Noise| {
            let told = memory.forward(x, None, None, noise)?;
            Ok(told.states.last().map_or_else(|| last_step(told.y.clone()), |s| s.h.clone()))
        };
        match self {
            Self::Recurrent(memory) => remember(memory, x, noise),
            Self::ConvolvedRecurrent(ConvolvedRecurrent { filters, memory }) => {
                let x = filters.iter().fold(x, |x, f| Activation::Relu.of(f.forward(x)));
                remember(memory, x, noise)
            }
            Self::Temporal(Temporal { enter, blocks, dropout }) => {
                let x = blocks.iter().fold(Activation::Relu.of(enter.forward(x)), |x, block| {
                    let branch = noise.dropout(Activation::Relu.of(block.forward(x.clone())), *dropout);
                    x + branch
                });
                Ok(last_step(x))
            }
            Self::Patches(Patches { enter, places, encoder, patch }) => {
                let [batch, steps, channels] = x.dims();
                let n = steps / patch;
                let tokens = enter.forward(x.reshape([batch * n, patch * channels]));
                let width = tokens.dims()[1];
                let placed = tokens.reshape([batch, n, width]) + places.val().unsqueeze();
                let packed = Packed::of_lengths(&vec![n; batch]);
                let told = encoder.forward(placed.reshape([batch * n, width]), &packed, noise)?;
                Ok(told.reshape([batch, n, width]).mean_dim(1).reshape([batch, width]))
            }
        }
    }
}

impl Network {
    /// The same weights where nothing is differentiated.
    pub(crate) fn plain(&self) -> Self {
        self.valid()
    }

    /// One number for each row, `[rows, 1]`: the step in units of the level, or the logarithm of that. It begins at the level.
    pub(crate) fn forward(&self, batch: &Batch, noise: &mut Noise) -> Result<Tensor<2>> {
        let mut parts = vec![batch.numbers.clone()];
        for (vectors, codes) in self.embeddings.iter().zip(&batch.codes) {
            parts.push(vectors.val().select(0, codes.clone()));
        }
        let mut x = self.first.forward(Tensor::cat(parts, 1));
        if let (Some(body), Some(context), Some(past)) = (&self.body, &self.context, &batch.past) {
            let context = context.forward(body.forward(past.clone(), noise)?);
            x = x + context.select(0, batch.owner.clone());
        }
        x = Activation::Gelu.of(x);
        for layer in &self.inner {
            let branch = noise.dropout(Activation::Gelu.of(layer.forward(x.clone())), self.dropout);
            x = x + branch;
        }
        Ok(self.last.forward(x) + self.straight.forward(batch.numbers.clone()))
    }
}
