//! What comes next, by self-attention over the history.
//!
//! ```text
//! items of a history ─→ vectors + places ─→ layers of causal self-attention ─→ h after each event
//! ```
//!
//! Kang & McAuley, *Self-attentive sequential recommendation*, ICDM 2018, with the loss over all items in place of one drawn
//! for each event, which is what made it fall behind BERT4Rec (Klenitskiy & Vasilev, *Turning dross into gold loss: is
//! BERT4Rec really better than SASRec?*, RecSys 2023). The rest is that of all sequential networks.

use crate::fitted::{Model, build, load};
use crate::sequential::{self, Attention, Budget, Reader, Sequence, Sequential, Settings, specs};
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, RecommenderEntry, Result, Run};
use tradewind_nn::burn::tensor::Device;
use tradewind_nn::transformer::EncoderParams;

/// What trains on some ten thousand users within two minutes on two cores.
const BUDGET: Budget = Budget { rounds: 30, steps: 4000 };

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "sasrec",
    summary: "What comes next, by a network that attends to the whole order of a history.",
    summary_zh: "自注意力网络根据历史行为的完整顺序预测下一件商品。",
    source: "Kang & McAuley, Self-attentive sequential recommendation, ICDM 2018",
    params: &[
        specs::width("64"),
        specs::layers("2"),
        specs::heads("2"),
        specs::length("100"),
        specs::dropout("0.2"),
        specs::epochs(
            "Times that all histories are gone over, at most; 0: 30, fewer where these take over 4000 steps, at least 5.",
        ),
        specs::patience("5"),
        specs::batch("64"),
        specs::learning_rate("0.001"),
        specs::decay("0"),
        specs::negatives("0"),
        specs::attributes(),
    ],
    ordered: true,
    build: build::<SasRec>,
    load: load::<SasRec>,
};

/// What comes next, by a network that attends to the whole order of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SasRec {
    /// Numbers in each vector, rounded up to a multiple of `heads`.
    pub width: usize,
    /// Layers, one upon the other.
    pub layers: usize,
    /// Heads of a layer.
    pub heads: usize,
    /// Last events of a history that are looked at.
    pub length: usize,
    /// The share that is left out while training.
    pub dropout: f64,
    /// Times that all histories are gone over, at most; 0: 30, fewer where these take over 4000 steps, at least 5.
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

impl Default for SasRec {
    fn default() -> Self {
        Self {
            width: 64,
            layers: 2,
            heads: 2,
            length: 100,
            dropout: 0.2,
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

impl SasRec {
    fn encoder(&self) -> EncoderParams {
        EncoderParams {
            heads: self.heads,
            layers: self.layers,
            causal: true,
            dropout: self.dropout,
            ..EncoderParams::new(self.width.next_multiple_of(self.heads))
        }
    }
}

impl Sequential for SasRec {
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
            hidden: None,
        }
    }

    fn reader(&self, device: &Device, run: &Run) -> Result<Reader> {
        let (encoder, width) = (self.encoder().init(device, &mut run.rng(72))?, self.settings().width);
        Ok(Reader::Attention(Attention::new(encoder, width, self.length, device, run)))
    }
}

impl Model for SasRec {
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
