//! What is hidden in a history, by self-attention from both sides; the next event is one that is hidden.
//!
//! ```text
//! a ▢ c ▢ e ─→ vectors + places ─→ layers of self-attention, both ways ─→ h at each ▢
//! asked: a b c d e ▢
//! ```
//!
//! Places are counted from the last event back, so what is asked about stands where something has stood in training.
//!
//! Sun et al., *BERT4Rec: sequential recommendation with bidirectional encoder representations from Transformer*,
//! CIKM 2019, after the pre-training of BERT (Devlin et al. 2019). Each event tells less in a round than with
//! [`sasrec`](crate::sasrec), so more rounds are gone over. The rest is that of all sequential networks.

use crate::fitted::{Model, build, load};
use crate::sequential::{self, Attention, Budget, Reader, Sequence, Sequential, Settings, specs};
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, ParamKind, ParamSpec, RecommenderEntry, Result, Run};
use tradewind_nn::burn::tensor::Device;
use tradewind_nn::transformer::EncoderParams;

/// What trains on some ten thousand users within two minutes on two cores.
const BUDGET: Budget = Budget { rounds: 60, steps: 6000 };

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "bert4rec",
    summary: "What comes next, by a network that learns to fill gaps in a history from both sides.",
    summary_zh: "双向自注意力网络从两侧补全被遮盖的行为，以此预测下一件商品。",
    source: "Sun et al., BERT4Rec: sequential recommendation with bidirectional encoder representations from Transformer, CIKM 2019",
    params: &[
        specs::width("64"),
        specs::layers("2"),
        specs::heads("2"),
        ParamSpec {
            name: "length",
            kind: ParamKind::Integer { min: 2, max: 4096 },
            default: "100",
            summary: "Last events of a history that are looked at, with the one that is asked for.",
        },
        specs::dropout("0.2"),
        ParamSpec {
            name: "hidden",
            kind: ParamKind::Number { min: 0.01, max: 0.9 },
            default: "0.2",
            summary: "The share of events that are hidden and told.",
        },
        specs::epochs(
            "Times that all histories are gone over, at most; 0: 60, fewer where these take over 6000 steps, at least 5.",
        ),
        specs::patience("5"),
        specs::batch("64"),
        specs::learning_rate("0.001"),
        specs::decay("0"),
        specs::negatives("0"),
        specs::attributes(),
    ],
    ordered: true,
    build: build::<Bert4Rec>,
    load: load::<Bert4Rec>,
};

/// What comes next, by a network that learns to fill gaps in a history from both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bert4Rec {
    /// Numbers in each vector, rounded up to a multiple of `heads`.
    pub width: usize,
    /// Layers, one upon the other.
    pub layers: usize,
    /// Heads of a layer.
    pub heads: usize,
    /// Last events of a history that are looked at, with the one that is asked for: 2 and more.
    pub length: usize,
    /// The share that is left out while training.
    pub dropout: f64,
    /// The share of events that are hidden and told.
    pub hidden: f64,
    /// Times that all histories are gone over, at most; 0: 60, fewer where these take over 6000 steps, at least 5.
    pub epochs: usize,
    /// Rounds without gain on events held back after which training ends; 0: never.
    pub patience: usize,
    /// Histories of a step.
    pub batch: usize,
    /// Length of the steps at their longest.
    pub learning_rate: f64,
    /// How much weights fade with each step, times its length.
    pub decay: f64,
    /// Items drawn for each step that stand for all others; 0: all.
    pub negatives: usize,
    /// Whether items are told by their attributes too.
    pub attributes: bool,
}

impl Default for Bert4Rec {
    fn default() -> Self {
        Self {
            width: 64,
            layers: 2,
            heads: 2,
            length: 100,
            dropout: 0.2,
            hidden: 0.2,
            epochs: 0,
            patience: 5,
            batch: 64,
            learning_rate: 1e-3,
            decay: 0.0,
            negatives: 0,
            attributes: false,
        }
    }
}

impl Bert4Rec {
    fn encoder(&self) -> EncoderParams {
        EncoderParams {
            heads: self.heads,
            layers: self.layers,
            causal: false,
            dropout: self.dropout,
            ..EncoderParams::new(self.width.next_multiple_of(self.heads))
        }
    }
}

impl Sequential for Bert4Rec {
    fn settings(&self) -> Settings {
        Settings {
            width: self.width.next_multiple_of(self.heads),
            length: self.length,
            dropout: self.dropout,
            epochs: self.epochs,
            budget: BUDGET,
            patience: self.patience,
            batch: self.batch,
            learning_rate: self.learning_rate,
            decay: self.decay,
            negatives: self.negatives,
            attributes: self.attributes,
            hidden: Some(self.hidden),
        }
    }

    fn reader(&self, device: &Device, run: &Run) -> Result<Reader> {
        let (encoder, width) = (self.encoder().init(device, &mut run.rng(72))?, self.settings().width);
        Ok(Reader::Attention(Attention::new(encoder, width, self.length, device, run).counting_back()))
    }
}

impl Model for Bert4Rec {
    type Learnt = Sequence;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn check(&self) -> Result<()> {
        self.encoder().check()
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Sequence> {
        sequential::learn(self, run, data)
    }

    fn restore(&self, learnt: &mut Sequence, known: &Interactions) -> Result<()> {
        sequential::restore(self, learnt, known)
    }
}
