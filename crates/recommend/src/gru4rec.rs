//! What comes next, by a gated recurrent layer over the history.
//!
//! ```text
//! items of a history ─→ vectors ─→ GRU, one event after the other ─→ h after each event
//! ```
//!
//! Hidasi et al., *Session-based recommendations with recurrent neural networks*, ICLR 2016, with one table of vectors for
//! what comes in and what is told and a loss over many items (Hidasi & Karatzoglou, *Recurrent neural networks with top-k
//! gains for session-based recommendations*, CIKM 2018). An answer costs one step of the layer for each event, which suits
//! short sessions. The rest is that of all sequential networks.

use crate::fitted::{Model, build, load};
use crate::sequential::{self, Budget, Reader, Sequence, Sequential, Settings, specs};
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, RecommenderEntry, Result, Run};
use tradewind_nn::burn::tensor::Device;
use tradewind_nn::recurrent::{Recurrence, RecurrentParams};

/// What trains on some ten thousand users within two minutes on two cores.
const BUDGET: Budget = Budget { rounds: 30, steps: 6000 };

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "gru4rec",
    summary: "What comes next, by a recurrent network that reads a history event by event.",
    summary_zh: "循环网络逐个读取历史行为，预测下一件商品。",
    source: "Hidasi et al., Session-based recommendations with recurrent neural networks, ICLR 2016",
    params: &[
        specs::width("64"),
        specs::layers("1"),
        specs::length("100"),
        specs::dropout("0.2"),
        specs::epochs(
            "Times that all histories are gone over, at most; 0: 30, fewer where these take over 6000 steps, at least 5.",
        ),
        specs::patience("5"),
        specs::batch("64"),
        specs::learning_rate("0.002"),
        specs::decay("0"),
        specs::negatives("0"),
        specs::attributes(),
    ],
    ordered: true,
    build: build::<Gru4Rec>,
    load: load::<Gru4Rec>,
};

/// What comes next, by a recurrent network that reads a history event by event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gru4Rec {
    /// Numbers in each vector and units of the layer.
    pub width: usize,
    /// Layers, one upon the other.
    pub layers: usize,
    /// Last events of a history that are looked at.
    pub length: usize,
    /// The share that is left out while training.
    pub dropout: f64,
    /// Times that all histories are gone over, at most; 0: 30, fewer where these take over 6000 steps, at least 5.
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

impl Default for Gru4Rec {
    fn default() -> Self {
        Self {
            width: 64,
            layers: 1,
            length: 100,
            dropout: 0.2,
            epochs: 0,
            patience: 5,
            batch: 64,
            learning_rate: 0.002,
            decay: 0.0,
            negatives: 0,
            attributes: false,
        }
    }
}

impl Gru4Rec {
    fn memory(&self) -> RecurrentParams {
        RecurrentParams {
            hidden: self.width,
            layers: self.layers,
            dropout: self.dropout,
            ..RecurrentParams::new(Recurrence::Gru, self.width)
        }
    }
}

impl Sequential for Gru4Rec {
    fn settings(&self) -> Settings {
        Settings {
            width: self.width,
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
        Ok(Reader::Memory(self.memory().init(device, &mut run.rng(72))?))
    }
}

impl Model for Gru4Rec {
    type Learnt = Sequence;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Sequence> {
        sequential::learn(self, run, data)
    }

    fn restore(&self, learnt: &mut Sequence, known: &Interactions) -> Result<()> {
        sequential::restore(self, learnt, known)
    }
}
