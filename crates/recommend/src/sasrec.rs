//! What comes next, by self-attention over the history.
//!
//! ```text
//! items of a history ─→ vectors + places ─→ layers of causal self-attention ─→ h after each event
//! score(j | first t events) = h_t · e_j + b_j        trained at every event to tell the next one
//! ```
//!
//! Kang & McAuley, *Self-attentive sequential recommendation*, ICDM 2018, with the loss over all items in place of one drawn
//! for each event, which is what made it fall behind BERT4Rec (Klenitskiy & Vasilev, *Turning dross into gold loss: is
//! BERT4Rec really better than SASRec?*, RecSys 2023). With `negatives` the loss goes over so many items drawn for each step
//! by how often they are taken, corrected for it: for catalogues of a hundred thousand items and more.
//!
//! The last event of some users is held back; training ends when it is told no better for `patience` rounds, and the
//! weights of the best round are kept.

use crate::fitted::{Learnt, Model, build, load};
use crate::wide::{LANES, Panels, dot};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{
    Error, History, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run,
};
use tradewind_nn::burn::{self, module::{Module, Param}};
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::transformer::{Encoder, EncoderParams, Packed};
use tradewind_nn::vocabulary::{self, Candidates};
use tradewind_nn::{Noise, Weights};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "sasrec",
    summary: "What comes next, by a network that attends to the whole order of a history.",
    summary_zh: "自注意力网络根据历史行为的完整顺序预测下一件商品。",
    source: "Kang & McAuley, Self-attentive sequential recommendation, ICDM 2018",
    params: &[
        ParamSpec {
            name: "width",
            kind: ParamKind::Integer { min: 4, max: 1024 },
            default: "64",
            summary: "Numbers in each vector, rounded up to a multiple of `heads`.",
        },
        ParamSpec {
            name: "layers",
            kind: ParamKind::Integer { min: 1, max: 24 },
            default: "2",
            summary: "Layers of attention.",
        },
        ParamSpec {
            name: "heads",
            kind: ParamKind::Integer { min: 1, max: 64 },
            default: "2",
            summary: "Heads of a layer.",
        },
        ParamSpec {
            name: "length",
            kind: ParamKind::Integer { min: 1, max: 4096 },
            default: "100",
            summary: "Last events of a history that are looked at.",
        },
        ParamSpec {
            name: "dropout",
            kind: ParamKind::Number { min: 0.0, max: 0.9 },
            default: "0.2",
            summary: "The share that is left out while training.",
        },
        ParamSpec {
            name: "epochs",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "30",
            summary: "Times that all histories are gone over, at most.",
        },
        ParamSpec {
            name: "patience",
            kind: ParamKind::Integer { min: 0, max: 10_000 },
            default: "5",
            summary: "Rounds without gain on events held back after which training ends; 0: never.",
        },
        ParamSpec {
            name: "batch",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "64",
            summary: "Histories of a step.",
        },
        ParamSpec {
            name: "learning_rate",
            kind: ParamKind::Number { min: 1e-6, max: 0.1 },
            default: "0.001",
            summary: "Length of the steps at their longest.",
        },
        ParamSpec {
            name: "decay",
            kind: ParamKind::Number { min: 0.0, max: 10.0 },
            default: "0",
            summary: "How much weights fade with each step, times its length.",
        },
        ParamSpec {
            name: "negatives",
            kind: ParamKind::Integer { min: 0, max: 1_000_000 },
            default: "0",
            summary: "Items drawn for each step that stand for all others; 0: all.",
        },
    ],
    ordered: true,
    build: build::<SasRec>,
    load: load::<SasRec>,
};

/// Self-attentive sequential recommendation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SasRec {
    /// Numbers in each vector, rounded up to a multiple of `heads`.
    pub width: usize,
    /// Layers of attention.
    pub layers: usize,
    /// Heads of a layer.
    pub heads: usize,
    /// Last events of a history that are looked at.
    pub length: usize,
    /// The share that is left out while training.
    pub dropout: f64,
    /// Times that all histories are gone over, at most.
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
}

impl Default for SasRec {
    fn default() -> Self {
        Self {
            width: 64,
            layers: 2,
            heads: 2,
            length: 100,
            dropout: 0.2,
            epochs: 30,
            patience: 5,
            batch: 64,
            learning_rate: 1e-3,
            decay: 0.0,
            negatives: 0,
        }
    }
}

/// Users whose last event is held back, at most, and the share of all that they may be.
const HELD: usize = 2_000;
const HELD_SHARE: usize = 4;
/// Steps of a round at least: batches are smaller where histories are few.
const STEPS_MIN: usize = 16;

/// The network.
#[derive(Module, Debug)]
struct Network {
    items: Param<Tensor<2>>,
    places: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    encoder: Encoder,
}

impl Network {
    /// What it makes of histories (none of them empty): `[events of all, width]`.
    fn encode(&self, histories: &[&[u32]], noise: &mut Noise, dropout: f64) -> Result<Tensor<2>> {
        let device = self.items.val().device();
        let whole = |of: Vec<i64>| {
            let n = of.len();
            Tensor::<1, Int>::from_data(TensorData::new(of, [n]), &device)
        };
        let ids = histories.iter().flat_map(|h| h.iter().map(|i| i64::from(*i))).collect();
        let places = histories.iter().flat_map(|h| 0..h.len() as i64).collect();
        let x = self.items.val().select(0, whole(ids)) + self.places.val().select(0, whole(places));
        let lengths: Vec<usize> = histories.iter().map(|h| h.len()).collect();
        self.encoder.forward(noise.dropout(x, dropout), &Packed::of_lengths(&lengths), noise)
    }

    /// The rows after the last event of each history.
    fn last(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let told = self.encode(histories, &mut Noise::none(), 0.0)?;
        let mut end = 0;
        let ends: Vec<i64> = histories
            .iter()
            .map(|h| {
                end += h.len() as i64;
                end - 1
            })
            .collect();
        let n = ends.len();
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [n]), &told.device());
        Ok(tradewind_nn::values(told.select(0, ends)))
    }
}

/// The items of a history, oldest first.
fn items_of(history: History<'_>) -> Vec<u32> {
    history.items.iter().zip(history.weights).filter(|(_, w)| **w > 0.0).map(|(i, _)| *i).collect()
}

/// The last `n`.
fn tail(of: &[u32], n: usize) -> &[u32] {
    &of[of.len().saturating_sub(n)..]
}

/// Telling the next event of each history.
struct Next<'a> {
    params: &'a SasRec,
    sequences: Vec<Vec<u32>>,
    /// Histories with the item that followed.
    held: Vec<(Vec<u32>, u32)>,
    /// How often each item is drawn, and items as often as that.
    chances: Vec<f64>,
    draws: Vec<u32>,
}

impl Task for Next<'_> {
    type Network = Network;

    fn rows(&self) -> usize {
        self.sequences.len()
    }

    fn loss(&self, network: &Network, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let mut targets: Vec<u32> = Vec::new();
        let mut candidates = None;
        let longest = self.params.length;
        let mut histories: Vec<&[u32]> = Vec::with_capacity(rows.len());
        for row in rows {
            let of = &self.sequences[*row];
            // Of a long history half the time the end, where the last events are, half the time a part anywhere.
            let spare = of.len().saturating_sub(longest + 1);
            let from = match noise.rng() {
                Some(rng) if spare > 0 => rng.random_range(0..2 * spare).min(spare),
                _ => spare,
            };
            let part = &of[from..of.len().min(from + longest + 1)];
            histories.push(&part[..part.len() - 1]);
            targets.extend(&part[1..]);
        }
        if self.params.negatives > 0
            && let Some(rng) = noise.rng()
        {
            let ids = (0..self.params.negatives)
                .map(|_| self.draws[rng.random_range(0..self.draws.len())])
                .collect();
            candidates = Some(Candidates::new(ids, &self.chances));
        }
        let told = network.encode(&histories, noise, self.params.dropout)?;
        vocabulary::loss(told, network.items.val(), network.bias.val(), &targets, candidates.as_ref())
    }

    fn validate(&self, network: &Network) -> Result<Option<f64>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let network = Scorer::of(&Weights::of(network), self.params)?;
        let n = network.n_items();
        let mut loss = 0.0;
        for part in self.held.chunks(64) {
            let histories: Vec<&[u32]> = part.iter().map(|h| &h.0[..]).collect();
            let mut scores = vec![0.0; part.len() * n];
            network.score(&histories, &mut scores)?;
            for ((_, target), row) in part.iter().zip(scores.chunks_exact(n)) {
                let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = row.iter().map(|s| (s - top).exp()).sum();
                loss += f64::from(top + sum.ln() - row[*target as usize]);
            }
        }
        Ok(Some(loss / self.held.len() as f64))
    }

    fn length(&self, row: usize) -> usize {
        self.sequences[row].len().min(self.params.length)
    }
}

/// A network that answers.
#[derive(Debug)]
struct Scorer {
    network: Network,
    panels: Panels,
    /// Vectors with the bias behind them, filled up to whole lanes.
    items: Vec<f32>,
    width: usize,
}

impl Scorer {
    fn of(weights: &Weights, params: &SasRec) -> Result<Self> {
        let (items, bias) = (weights.get("items"), weights.get("bias"));
        let (Some(items), Some(bias)) = (items, bias) else {
            return Err(Error::Invalid("saved weights are not those of sasrec".into()));
        };
        let network = weights.clone().put_into(params.network(bias.len(), &Device::flex(), &Run::new(0))?)?;
        let d = params.wide();
        let width = (d + 1).div_ceil(LANES) * LANES;
        let mut rows = vec![0.0; bias.len() * width];
        for ((row, item), b) in rows.chunks_exact_mut(width).zip(items.chunks_exact(d)).zip(bias) {
            row[..d].copy_from_slice(item);
            row[d] = *b;
        }
        Ok(Self { network, panels: Panels::new(&rows, width), items: rows, width })
    }

    fn n_items(&self) -> usize {
        self.items.len() / self.width
    }

    /// The scores of all items after each history; none of them is empty.
    fn score(&self, histories: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let told = self.network.last(histories)?;
        let d = told.len() / histories.len().max(1);
        let mut x = vec![0.0; histories.len() * self.width];
        for (x, h) in x.chunks_exact_mut(self.width).zip(told.chunks_exact(d)) {
            x[..d].copy_from_slice(h);
            x[d] = 1.0;
        }
        self.panels.products(&x, out);
        Ok(())
    }
}

/// The weights, and the network that they make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attentive {
    params: SasRec,
    /// As safetensors; empty where there was nothing to learn from.
    #[serde(with = "tradewind_core::packed")]
    weights: Vec<u8>,
    #[serde(skip)]
    scorer: Option<Scorer>,
}

impl SasRec {
    fn encoder(&self) -> EncoderParams {
        EncoderParams {
            heads: self.heads,
            layers: self.layers,
            causal: true,
            dropout: self.dropout,
            ..EncoderParams::new(self.wide())
        }
    }

    fn wide(&self) -> usize {
        self.width.next_multiple_of(self.heads)
    }

    fn network(&self, n_items: usize, device: &Device, run: &Run) -> Result<Network> {
        let mut rng = run.rng(71);
        let mut drawn = |rows: usize| tradewind_nn::normal([rows, self.wide()], 0.02, device, &mut rng);
        Ok(Network {
            items: drawn(n_items),
            places: drawn(self.length),
            bias: Param::from_tensor(Tensor::zeros([n_items], device)),
            encoder: self.encoder().init(device, &mut run.rng(72))?,
        })
    }

    fn task(&self, run: &Run, data: &Interactions) -> Next<'_> {
        let mut sequences: Vec<Vec<u32>> = data.histories().map(items_of).collect();
        let mut rng = run.rng(73);
        // A history of two is needed to learn from what is left of it.
        let mut long: Vec<usize> = (0..sequences.len()).filter(|u| sequences[*u].len() > 2).collect();
        long.shuffle(&mut rng);
        long.truncate(HELD.min(long.len() / HELD_SHARE));
        let mut held = Vec::with_capacity(long.len());
        for u in long {
            if let Some(target) = sequences[u].pop() {
                held.push((tail(&sequences[u], self.length).to_vec(), target));
            }
        }
        sequences.retain(|s| s.len() > 1);
        let draws: Vec<u32> = sequences.iter().flatten().copied().collect();
        let mut taken: HashMap<u32, usize> = HashMap::new();
        draws.iter().for_each(|i| *taken.entry(*i).or_default() += 1);
        let of = |i: usize| taken.get(&(i as u32)).copied().unwrap_or(0).max(1);
        let chances = (0..data.items().len()).map(|i| of(i) as f64 / draws.len().max(1) as f64).collect();
        Next { params: self, sequences, held, chances, draws }
    }
}

impl Model for SasRec {
    type Learnt = Attentive;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn check(&self) -> Result<()> {
        self.encoder().check()
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Attentive> {
        let mut out = Attentive { params: self.clone(), weights: vec![], scorer: None };
        let task = self.task(run, data);
        if task.sequences.is_empty() {
            return Ok(out);
        }
        let params = TrainParams {
            epochs: self.epochs,
            batch: self.batch.min(task.sequences.len().div_ceil(STEPS_MIN)),
            patience: self.patience,
            optimiser: OptimiserParams {
                rate: self.learning_rate,
                decay: self.decay,
                ..OptimiserParams::default()
            },
            ..TrainParams::default()
        };
        let device = Device::flex().autodiff();
        let network = self.network(data.items().len(), &device, run)?;
        let trained = train(run, &task, network, &params, None, &mut |_| Ok(true))?;
        let weights = Weights::of(&trained.network);
        out.weights = weights.to_safetensors(&HashMap::new())?;
        out.scorer = Some(Scorer::of(&weights, self)?);
        Ok(out)
    }

    fn restore(&self, learnt: &mut Attentive, known: &Interactions) -> Result<()> {
        if learnt.weights.is_empty() {
            return Ok(());
        }
        let (weights, _) = Weights::from_safetensors(&learnt.weights)?;
        let scorer = Scorer::of(&weights, self)?;
        if scorer.n_items() > known.items().len() {
            return Err(Error::Invalid("saved weights do not fit their items".into()));
        }
        learnt.scorer = Some(scorer);
        Ok(())
    }
}

impl Learnt for Attentive {
    const SPARSE: bool = false;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let Some(scorer) = &self.scorer else { return };
        let (n, known_then) = (known.items().len(), scorer.n_items());
        // Items that came later have no vector yet.
        let histories: Vec<Vec<u32>> = pasts
            .iter()
            .map(|past| {
                let mut items = items_of(past.history);
                items.retain(|i| (*i as usize) < known_then);
                tail(&items, self.params.length).to_vec()
            })
            .collect();
        let asked: Vec<usize> = (0..pasts.len()).filter(|k| !histories[*k].is_empty()).collect();
        let with: Vec<&[u32]> = asked.iter().map(|k| &histories[*k][..]).collect();
        let mut scores = vec![0.0; with.len() * known_then];
        if with.is_empty() || scorer.score(&with, &mut scores).is_err() {
            return;
        }
        for (k, row) in asked.into_iter().zip(scores.chunks_exact(known_then)) {
            let out = &mut out[k * n..(k + 1) * n];
            out[..known_then].copy_from_slice(row);
            let least = row.iter().copied().fold(f32::INFINITY, f32::min);
            out[known_then..].fill(least);
        }
    }

    /// The angle between the vectors.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out += self.alike(item, i as u32).unwrap_or(0.0);
        }
    }

    /// The network stays as it is; newer histories are what it is asked about.
    fn update(
        &mut self,
        _run: &Run,
        _known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        Ok(())
    }

    fn alike(&self, a: u32, b: u32) -> Option<f32> {
        let scorer = self.scorer.as_ref()?;
        let of = |i: u32| scorer.items.get(i as usize * scorer.width..)?.get(..self.params.wide());
        let (a, b) = (of(a)?, of(b)?);
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        Some(if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 })
    }
}
