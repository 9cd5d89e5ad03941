//! What sequential networks share: histories of items in, the next item told, one table of vectors for what comes in and what
//! is told.
//!
//! ```text
//! items of a history ─→ vectors ─→ a reader (attention, a recurrent layer) ─→ h after each event
//! score(j | first t events) = h_t · e_j + b_j
//! ```
//!
//! The loss goes over all items or, with `negatives`, over so many drawn for each step by how often they are taken,
//! corrected for it (Jean et al. 2015): for catalogues of a hundred thousand items and more.
//!
//! With `attributes` an item's vector is that of its id and those of what it is made of, `e_j + Σ_t f_jt a_t`: its terms, the
//! bands of its numbers and the vectors of its texts or pictures as [`two_tower`](crate::two_tower) has them. Items of one
//! kind then learn from each other, and one that came after the fit stands where its attributes put it; so that these alone
//! can stand for an item, every fourth id is left out of a step (Volkovs, Yu & Poutanen, NIPS 2017).
//!
//! The last event of some users is held back; training ends when it is told no better for `patience` rounds, and the
//! weights of the best round are kept. A method is a file with its parameters that says how histories are read
//! ([`Sequential`]).

use crate::fitted::{Learnt, Model};
use crate::item_features::ItemFeatures;
use crate::ties::InOrder;
use crate::wide::{LANES, Panels, dot};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use tradewind_core::{Error, Interactions, ParamKind, ParamSpec, Past, Result, Run, TrainingCurve};
use tradewind_nn::burn;
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::graph::{Neighbours, propagate};
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::recurrent::Recurrent;
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::transformer::{Encoder, Packed};
use tradewind_nn::vocabulary::{self, Candidates};
use tradewind_nn::{Noise, Weights};

/// Parameters that all of them have; each has its own defaults.
pub(crate) mod specs {
    use super::{ParamKind, ParamSpec};

    const fn spec(
        name: &'static str,
        kind: ParamKind,
        default: &'static str,
        summary: &'static str,
    ) -> ParamSpec {
        ParamSpec { name, kind, default, summary }
    }

    pub(crate) const fn width(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Integer { min: 4, max: 1024 };
        spec(
            "width",
            kind,
            default,
            "Numbers in each vector, rounded up to a multiple of `heads` where there are heads.",
        )
    }

    pub(crate) const fn layers(default: &'static str) -> ParamSpec {
        spec("layers", ParamKind::Integer { min: 1, max: 24 }, default, "Layers, one upon the other.")
    }

    pub(crate) const fn heads(default: &'static str) -> ParamSpec {
        spec("heads", ParamKind::Integer { min: 1, max: 64 }, default, "Heads of a layer.")
    }

    pub(crate) const fn length(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Integer { min: 1, max: 4096 };
        spec("length", kind, default, "Last events of a history that are looked at.")
    }

    pub(crate) const fn dropout(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Number { min: 0.0, max: 0.9 };
        spec("dropout", kind, default, "The share that is left out while training.")
    }

    /// 0 stands for a [`Budget`](super::Budget), which the summary tells.
    pub(crate) const fn epochs(summary: &'static str) -> ParamSpec {
        spec("epochs", ParamKind::Integer { min: 0, max: 10_000 }, "0", summary)
    }

    pub(crate) const fn patience(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Integer { min: 0, max: 10_000 };
        spec(
            "patience",
            kind,
            default,
            "Rounds without gain on events held back after which training ends; 0: never.",
        )
    }

    pub(crate) const fn batch(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Integer { min: 1, max: 100_000 };
        spec("batch", kind, default, "Histories of a step.")
    }

    pub(crate) const fn learning_rate(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Number { min: 1e-6, max: 0.1 };
        spec("learning_rate", kind, default, "Length of the steps at their longest.")
    }

    pub(crate) const fn decay(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Number { min: 0.0, max: 10.0 };
        spec("decay", kind, default, "How much weights fade with each step, times its length.")
    }

    pub(crate) const fn attributes() -> ParamSpec {
        spec("attributes", ParamKind::Flag, "false", "Whether items are told by their attributes too.")
    }

    pub(crate) const fn negatives(default: &'static str) -> ParamSpec {
        let kind = ParamKind::Integer { min: 0, max: 1_000_000 };
        spec("negatives", kind, default, "Items drawn for each step that stand for all others; 0: all.")
    }
}

/// A method of this kind: its parameters, and how it reads a history.
pub(crate) trait Sequential: Model<Learnt = Sequence> {
    /// How it is trained.
    fn settings(&self) -> Settings;

    /// The network that reads, of vectors as wide as the settings say.
    fn reader(&self, device: &Device, run: &Run) -> Result<Reader>;
}

/// How a method is trained and asked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) width: usize,
    pub(crate) length: usize,
    pub(crate) dropout: f64,
    /// Rounds at most; 0: by the budget.
    pub(crate) epochs: usize,
    pub(crate) budget: Budget,
    pub(crate) patience: usize,
    pub(crate) batch: usize,
    pub(crate) learning_rate: f64,
    pub(crate) decay: f64,
    pub(crate) negatives: usize,
    pub(crate) attributes: bool,
    /// The share of events that are hidden and told from both sides; without it, each event tells the next one.
    pub(crate) hidden: Option<f64>,
}

/// How long a method is trained where nothing is said: few histories need many rounds, many teach as much in fewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Rounds at most.
    pub(crate) rounds: usize,
    /// Steps of all rounds, which are [`ROUNDS_MIN`] at least.
    pub(crate) steps: usize,
}

impl Budget {
    /// Rounds of so many steps each.
    fn epochs(self, steps_of_a_round: usize) -> usize {
        (self.steps / steps_of_a_round.max(1)).clamp(ROUNDS_MIN, self.rounds)
    }
}

/// What reads the vectors of a history.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has one of them")]
pub(crate) enum Reader {
    Attention(Attention),
    Memory(Recurrent),
}

/// Attention, which needs to be told the places.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    places: Param<Tensor<2>>,
    encoder: Encoder,
    from_the_end: bool,
}

impl Attention {
    /// Of histories of up to `length` events, whose places are counted from the first.
    pub(crate) fn new(encoder: Encoder, width: usize, length: usize, device: &Device, run: &Run) -> Self {
        let places = tradewind_nn::normal([length, width], 0.02, device, &mut run.rng(74));
        Self { places, encoder, from_the_end: false }
    }

    /// Places are counted from the last event back: what is asked about then stands where something has stood in training,
    /// however long a history is.
    pub(crate) fn counting_back(self) -> Self {
        Self { from_the_end: true, ..self }
    }

    /// The place of each event of histories that follow each other.
    fn places_of(&self, lengths: &[usize]) -> Vec<i64> {
        let place = |n: usize, k: usize| if self.from_the_end { n - 1 - k } else { k };
        lengths.iter().flat_map(|n| (0..*n).map(move |k| place(*n, k) as i64)).collect()
    }
}

impl Reader {
    /// `[events of all, width]`, before and after; the vectors of each history lie one after the other.
    fn read(&self, x: Tensor<2>, lengths: &[usize], dropout: f64, noise: &mut Noise) -> Result<Tensor<2>> {
        let device = x.device();
        match self {
            Self::Attention(attention) => {
                let Attention { places, encoder, .. } = attention;
                let x = x + places.val().select(0, whole(attention.places_of(lengths), &device));
                encoder.forward(noise.dropout(x, dropout), &Packed::of_lengths(lengths), noise)
            }
            Self::Memory(memory) => {
                let [tokens, width] = x.dims();
                let (batch, steps) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
                let mut first = 0;
                let (mut padded, mut back) = (Vec::with_capacity(batch * steps), Vec::with_capacity(tokens));
                for (row, n) in lengths.iter().enumerate() {
                    // What stands beyond the end of a row is not looked at.
                    padded.extend((0..steps).map(|t| (first + t.min(n.saturating_sub(1))) as i64));
                    back.extend((0..*n).map(|t| (row * steps + t) as i64));
                    first += n;
                }
                let x = noise.dropout(x, dropout).select(0, whole(padded, &device));
                let told = memory.forward(x.reshape([batch, steps, width]), Some(lengths), None, noise)?.y;
                let wide = told.dims()[2];
                Ok(noise
                    .dropout(told.reshape([batch * steps, wide]).select(0, whole(back, &device)), dropout))
            }
        }
    }

    /// Whether histories of like length should go together.
    fn pads(&self) -> bool {
        matches!(self, Self::Memory(_))
    }
}

fn whole(of: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = of.len();
    Tensor::from_data(TensorData::new(of, [n]), device)
}

/// Users whose last event is held back, at most, and the share of all that they may be.
const HELD: usize = 2_000;
const HELD_SHARE: usize = 4;
/// Steps of a round at least: batches are smaller where histories are few.
const STEPS_MIN: usize = 16;
/// Rounds at least where the budget is spent earlier.
const ROUNDS_MIN: usize = 5;
/// One id in so many is left out of a step where items are told by their attributes too.
const IDS: u32 = 4;
/// Items that a term must have to count.
const ITEMS_MIN: usize = 2;
/// One history in so many has its last event alone hidden.
const LAST_ALONE: u32 = 10;

/// The network. Where events are hidden, the last vector stands for what is hidden.
#[derive(Module, Debug)]
struct Network {
    items: Param<Tensor<2>>,
    /// Of what items are made of.
    features: Option<Param<Tensor<2>>>,
    bias: Param<Tensor<1>>,
    reader: Reader,
}

impl Network {
    fn new<M: Sequential>(
        model: &M,
        rows: usize,
        features: usize,
        device: &Device,
        run: &Run,
    ) -> Result<Self> {
        let width = model.settings().width;
        let of_features = || tradewind_nn::normal([features, width], 0.02, device, &mut run.rng(75));
        Ok(Self {
            items: tradewind_nn::normal([rows, width], 0.02, device, &mut run.rng(71)),
            features: (features > 0).then(of_features),
            bias: Param::from_tensor(Tensor::zeros([rows], device)),
            reader: model.reader(device, run)?,
        })
    }

    /// The vectors of items from those of their ids and what they are made of.
    fn with_features(&self, ids: Tensor<2>, made_of: Option<&Neighbours>) -> Result<Tensor<2>> {
        match (&self.features, made_of) {
            (Some(features), Some(made_of)) => Ok(ids + propagate(features.val(), made_of)?),
            _ => Ok(ids),
        }
    }

    /// What it makes of histories (none of them empty) of items with these vectors: `[events of all, width]`.
    fn encode(
        &self,
        table: Tensor<2>,
        histories: &[&[u32]],
        dropout: f64,
        noise: &mut Noise,
    ) -> Result<Tensor<2>> {
        let ids = histories.iter().flat_map(|h| h.iter().map(|i| i64::from(*i))).collect();
        let device = table.device();
        let x = table.select(0, whole(ids, &device));
        let lengths: Vec<usize> = histories.iter().map(|h| h.len()).collect();
        self.reader.read(x, &lengths, dropout, noise)
    }

    /// The rows after the last event of each history.
    fn last(&self, table: &Tensor<2>, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let told = self.encode(table.clone(), histories, 0.0, &mut Noise::none())?;
        let mut end = 0;
        let ends = histories
            .iter()
            .map(|h| {
                end += h.len() as i64;
                end - 1
            })
            .collect();
        let ends = whole(ends, &told.device());
        Ok(tradewind_nn::values(told.select(0, ends)))
    }
}

/// The last `n`.
fn tail(of: &[u32], n: usize) -> &[u32] {
    &of[of.len().saturating_sub(n)..]
}

/// Telling the next event of each history, or those that are hidden.
struct Next {
    settings: Settings,
    /// What items are made of, where that is told.
    made_of: Option<Neighbours>,
    /// How often each item is drawn, and items as often as that.
    chances: Vec<f64>,
    draws: Vec<u32>,
    sequences: Vec<InOrder>,
    /// Histories with the item that followed.
    held: Vec<(Vec<u32>, u32)>,
}

impl Next {
    /// What of a long history a step looks at: half the time its end, where the last events are, half the time a part
    /// anywhere. What is of one time stands in another order each time.
    fn part(&self, row: usize, longest: usize, noise: &mut Noise) -> Cow<'_, [u32]> {
        let told = &self.sequences[row];
        let of = match noise.rng() {
            Some(rng) if told.has_ties() => {
                let mut told = told.clone();
                told.shuffle(rng);
                Cow::Owned(told.items)
            }
            _ => Cow::Borrowed(&told.items[..]),
        };
        let spare = of.len().saturating_sub(longest);
        let from = match noise.rng() {
            Some(rng) if spare > 0 => rng.random_range(0..2 * spare).min(spare),
            _ => spare,
        };
        let part = from..of.len().min(from + longest);
        match of {
            Cow::Borrowed(of) => Cow::Borrowed(&of[part]),
            Cow::Owned(mut of) => {
                of.truncate(part.end);
                of.drain(..part.start);
                Cow::Owned(of)
            }
        }
    }

    /// The vectors of items, some of which are told by what they are made of alone.
    fn table(&self, network: &Network, noise: &mut Noise) -> Result<Tensor<2>> {
        let mut ids = network.items.val();
        let drawn = noise.rng().filter(|_| self.made_of.is_some());
        if let Some(rng) = drawn {
            let rows = ids.dims()[0];
            let items = self.chances.len();
            // What is made of nothing keeps its own, as does what is hidden.
            let made = |i: usize| i < items && self.made_of.as_ref().is_some_and(|m| !m.of(i).0.is_empty());
            let kept = (0..rows).map(|i| if made(i) && rng.random_ratio(1, IDS) { 0.0 } else { 1.0_f32 });
            let kept = TensorData::new(kept.collect::<Vec<_>>(), [rows, 1]);
            let device = ids.device().without_autodiff();
            ids = ids * Tensor::from_data(kept, &device);
        }
        network.with_features(ids, self.made_of.as_ref())
    }

    /// Items that stand for all.
    fn candidates(&self, noise: &mut Noise) -> Result<Option<Candidates>> {
        let n = self.settings.negatives;
        let Some(rng) = noise.rng().filter(|_| n > 0) else { return Ok(None) };
        let ids = (0..n).map(|_| self.draws[rng.random_range(0..self.draws.len())]).collect();
        Candidates::new(ids, &self.chances).map(Some)
    }

    /// A history with some events hidden, and their places: each with the chance `share`, or, one time in
    /// [`LAST_ALONE`], the last alone, which is what is asked later.
    fn hide(&self, part: &[u32], share: f64, noise: &mut Noise) -> (Vec<u32>, Vec<usize>) {
        let last = part.len() - 1;
        let mut places: Vec<usize> = Vec::new();
        if let Some(rng) = noise.rng()
            && rng.random_range(0..LAST_ALONE) > 0
        {
            places.extend((0..part.len()).filter(|_| rng.random_bool(share)));
        }
        if places.is_empty() {
            places.push(last);
        }
        let mut shown = part.to_vec();
        places.iter().for_each(|p| shown[*p] = self.chances.len() as u32);
        (shown, places)
    }
}

impl Task for Next {
    type Network = Network;

    fn rows(&self) -> usize {
        self.sequences.len()
    }

    fn loss(&self, network: &Network, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let Settings { length, dropout, hidden, .. } = self.settings;
        let mut targets: Vec<u32> = Vec::new();
        let table = self.table(network, noise)?;
        let told = if let Some(share) = hidden {
            let (mut shown, mut at, mut first) = (Vec::with_capacity(rows.len()), Vec::new(), 0);
            for row in rows {
                let part = self.part(*row, length, noise);
                let (history, places) = self.hide(&part, share, noise);
                targets.extend(places.iter().map(|p| part[*p]));
                at.extend(places.iter().map(|p| (first + p) as i64));
                first += history.len();
                shown.push(history);
            }
            let shown: Vec<&[u32]> = shown.iter().map(|h| &h[..]).collect();
            let told = network.encode(table.clone(), &shown, dropout, noise)?;
            let at = whole(at, &told.device());
            told.select(0, at)
        } else {
            let parts: Vec<Cow<'_, [u32]>> =
                rows.iter().map(|row| self.part(*row, length + 1, noise)).collect();
            let histories: Vec<&[u32]> = parts.iter().map(|part| &part[..part.len() - 1]).collect();
            parts.iter().for_each(|part| targets.extend(&part[1..]));
            network.encode(table.clone(), &histories, dropout, noise)?
        };
        let candidates = self.candidates(noise)?;
        vocabulary::loss(told, table, network.bias.val(), &targets, candidates.as_ref())
    }

    fn validate(&self, network: &Network) -> Result<Option<f64>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let network = Scorer::of(network.clone().valid(), &self.settings, self.made_of.as_ref())?;
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
        self.sequences[row].items.len().min(self.settings.length)
    }
}

/// A network that answers.
#[derive(Debug)]
struct Scorer {
    network: Network,
    /// The vectors of items, and behind them that of what is hidden.
    table: Tensor<2>,
    panels: Panels,
    /// Vectors with the bias behind them, filled up to whole lanes.
    items: Vec<f32>,
    /// Numbers of a row of `items`, and those of a vector.
    width: usize,
    wide: usize,
    length: usize,
    /// What is appended to a history where the next event is a hidden one.
    hidden: Option<u32>,
}

impl Scorer {
    /// Of a network with an id for each item that it has seen; `made_of` may have more items, which have come since, but has
    /// what is hidden last.
    fn of(network: Network, settings: &Settings, made_of: Option<&Neighbours>) -> Result<Self> {
        let (d, hidden) = (settings.width, usize::from(settings.hidden.is_some()));
        let mut items = tradewind_nn::values(network.items.val());
        let mut bias = tradewind_nn::values(network.bias.val());
        let seen = bias.len() - hidden;
        let later = made_of.map_or(0, |m| m.rows().saturating_sub(seen + hidden));
        if later > 0 {
            let mut usual = bias[..seen].to_vec();
            usual.sort_by(f32::total_cmp);
            let usual = usual.get(seen / 2).copied().unwrap_or_default();
            items.splice(seen * d..seen * d, std::iter::repeat_n(0.0, later * d));
            bias.splice(seen..seen, std::iter::repeat_n(usual, later));
        }
        let rows = items.len() / d;
        let ids = Tensor::<2>::from_data(TensorData::new(items, [rows, d]), &network.items.device());
        let table = network.with_features(ids, made_of)?;
        let items = tradewind_nn::values(table.clone());
        let n = seen + later;
        let width = (d + 1).div_ceil(LANES) * LANES;
        let mut rows = vec![0.0; n * width];
        for ((row, item), b) in rows.chunks_exact_mut(width).zip(items.chunks_exact(d)).zip(bias) {
            row[..d].copy_from_slice(item);
            row[d] = b;
        }
        Ok(Self {
            network,
            table,
            panels: Panels::new(&rows, width),
            items: rows,
            width,
            wide: d,
            length: settings.length,
            hidden: settings.hidden.map(|_| n as u32),
        })
    }

    fn n_items(&self) -> usize {
        self.items.len() / self.width
    }

    /// The scores of all items after each history; none of them is empty.
    fn score(&self, histories: &[&[u32]], out: &mut [f32]) -> Result<()> {
        let told = match self.hidden {
            Some(hidden) => {
                let with: Vec<Vec<u32>> =
                    histories.iter().map(|h| [tail(h, self.length - 1), &[hidden]].concat()).collect();
                self.network.last(&self.table, &with.iter().map(|h| &h[..]).collect::<Vec<_>>())?
            }
            None => self.network.last(&self.table, histories)?,
        };
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
pub(crate) struct Sequence {
    /// As safetensors; empty where there was nothing to learn from.
    #[serde(with = "tradewind_core::packed")]
    weights: Vec<u8>,
    /// How the training went; models of earlier versions have none.
    #[serde(default)]
    curve: Option<TrainingCurve>,
    /// What items are made of, where that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    features: Option<ItemFeatures>,
    /// Whether places were counted from the last event back; earlier versions counted all from the first.
    #[serde(default)]
    from_the_end: bool,
    /// How the network is asked.
    #[serde(skip)]
    settings: Option<Settings>,
    #[serde(skip)]
    scorer: Option<Scorer>,
}

/// What items are made of, and behind them what is hidden, which is made of nothing.
fn made_of(features: &ItemFeatures, known: &Interactions, hidden: bool) -> Result<Neighbours> {
    let rows = features.rows(known, 0, |_| None);
    let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for i in 0..rows.n_rows() {
        let (of, by) = rows.row(i);
        columns.extend_from_slice(of);
        values.extend_from_slice(by);
        starts.push(columns.len());
    }
    if hidden {
        starts.push(columns.len());
    }
    Neighbours::new(features.columns(), starts, columns, values)
}

impl Next {
    fn new(settings: Settings, made_of: Option<Neighbours>, run: &Run, data: &Interactions) -> Self {
        let mut sequences: Vec<InOrder> = data.histories().map(InOrder::of).collect();
        let mut rng = run.rng(73);
        // A history of two is needed to learn from what is left of it.
        let mut long: Vec<usize> = (0..sequences.len()).filter(|u| sequences[*u].items.len() > 2).collect();
        long.shuffle(&mut rng);
        long.truncate(HELD.min(long.len() / HELD_SHARE));
        let mut held = Vec::with_capacity(long.len());
        for u in long {
            sequences[u].shuffle(&mut rng);
            if let Some(target) = sequences[u].pop() {
                held.push((tail(&sequences[u].items, settings.length).to_vec(), target));
            }
        }
        sequences.retain(|s| s.items.len() > 1);
        let draws: Vec<u32> = sequences.iter().flat_map(|s| &s.items).copied().collect();
        let mut taken: HashMap<u32, usize> = HashMap::new();
        draws.iter().for_each(|i| *taken.entry(*i).or_default() += 1);
        let of = |i: usize| taken.get(&(i as u32)).copied().unwrap_or(0).max(1);
        let chances = (0..data.items().len()).map(|i| of(i) as f64 / draws.len().max(1) as f64).collect();
        Self { settings, made_of, sequences, held, chances, draws }
    }

    /// The loss on what is held back of someone who says how often each item is taken, whoever asks.
    fn by_popularity(&self) -> Option<f64> {
        let all: f64 = self.chances.iter().sum();
        let of = |(_, target): &(Vec<u32>, u32)| -(self.chances[*target as usize] / all).ln();
        (!self.held.is_empty()).then(|| self.held.iter().map(of).sum::<f64>() / self.held.len() as f64)
    }
}

/// Trains the network of a method.
pub(crate) fn learn<M: Sequential>(model: &M, run: &Run, data: &Interactions) -> Result<Sequence> {
    let settings = model.settings();
    let features = match settings.attributes {
        true => Some(ItemFeatures::learn(ITEMS_MIN, run, data)?).filter(|f| f.columns() > 0),
        false => None,
    };
    let hidden = settings.hidden.is_some();
    let mut out = Sequence {
        weights: vec![],
        curve: None,
        features,
        from_the_end: hidden,
        settings: Some(settings.clone()),
        scorer: None,
    };
    let made_of = out.features.as_ref().map(|f| made_of(f, data, hidden)).transpose()?;
    let task = Next::new(settings.clone(), made_of, run, data);
    if task.sequences.is_empty() {
        return Ok(out);
    }
    let device = tradewind_nn::device::of(run)?.autodiff();
    let rows = data.items().len() + usize::from(hidden);
    let columns = out.features.as_ref().map_or(0, ItemFeatures::columns);
    let network = Network::new(model, rows, columns, &device, run)?;
    let batch = settings.batch.min(task.sequences.len().div_ceil(STEPS_MIN));
    let params = TrainParams {
        epochs: match settings.epochs {
            0 => settings.budget.epochs(task.sequences.len().div_ceil(batch)),
            n => n,
        },
        batch,
        patience: settings.patience,
        optimiser: OptimiserParams {
            rate: settings.learning_rate,
            decay: settings.decay,
            ..OptimiserParams::default()
        },
        by_length: network.reader.pads(),
        ..TrainParams::default()
    };
    let trained = train(run, &task, network, &params, None, &mut |_| Ok(true))?;
    let weights = Weights::of(&trained.network);
    out.weights = weights.to_safetensors(&HashMap::new())?;
    out.curve = Some(trained.told("", "cross-entropy", task.by_popularity()));
    // The processor answers, wherever was trained.
    let network = weights.put_into(Network::new(model, rows, columns, &Device::flex(), &Run::new(0))?)?;
    out.scorer = Some(Scorer::of(network, &settings, task.made_of.as_ref())?);
    Ok(out)
}

/// Makes a saved network whole again.
pub(crate) fn restore<M: Sequential>(model: &M, learnt: &mut Sequence, known: &Interactions) -> Result<()> {
    let settings = model.settings();
    if let Some(features) = &mut learnt.features {
        features.restore(ITEMS_MIN, known)?;
    }
    learnt.settings = Some(settings.clone());
    if learnt.weights.is_empty() {
        return Ok(());
    }
    let (weights, _) = Weights::from_safetensors(&learnt.weights)?;
    let rows = weights.get("bias").map_or(0, <[f32]>::len);
    let hidden = settings.hidden.is_some();
    if hidden && !learnt.from_the_end {
        return Err(Error::Invalid(
            "this model was trained by a version that counted the places of a history from its beginning; train it again"
                .into(),
        ));
    }
    let items = rows.saturating_sub(usize::from(hidden));
    if items == 0 || items > known.items().len() {
        return Err(Error::Invalid("saved weights do not fit their items".into()));
    }
    let columns = learnt.features.as_ref().map_or(0, ItemFeatures::columns);
    let network = weights.put_into(Network::new(model, rows, columns, &Device::flex(), &Run::new(0))?)?;
    let made_of = learnt.features.as_ref().map(|f| made_of(f, known, hidden)).transpose()?;
    learnt.scorer = Some(Scorer::of(network, &settings, made_of.as_ref())?);
    Ok(())
}

impl Learnt for Sequence {
    const SPARSE: bool = false;

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.curve.clone().into_iter().collect()
    }

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let Some(scorer) = &self.scorer else { return };
        let (n, known_then) = (known.items().len(), scorer.n_items());
        // Items that came later have no vector yet.
        let histories: Vec<Vec<u32>> = pasts
            .iter()
            .map(|past| {
                let mut items = InOrder::of(past.history).items;
                items.retain(|i| (*i as usize) < known_then);
                tail(&items, scorer.length).to_vec()
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

    /// The network stays as it is; newer histories are what it is asked about, and new items stand where their attributes
    /// put them.
    fn update(&mut self, run: &Run, known: &Interactions, newer: &Interactions, users: &[u32]) -> Result<()> {
        let Some(features) = &mut self.features else { return Ok(()) };
        features.update(run, known, newer, users)?;
        if let (Some(scorer), Some(settings)) = (self.scorer.take(), &self.settings) {
            let made_of = made_of(features, known, settings.hidden.is_some())?;
            self.scorer = Some(Scorer::of(scorer.network, settings, Some(&made_of))?);
        }
        Ok(())
    }

    fn alike(&self, a: u32, b: u32) -> Option<f32> {
        let scorer = self.scorer.as_ref()?;
        let of = |i: u32| scorer.items.get(i as usize * scorer.width..)?.get(..scorer.wide);
        let (a, b) = (of(a)?, of(b)?);
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        Some(if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_histories_are_gone_over_often_and_many_less_often() {
        let budget = Budget { rounds: 30, steps: 4000 };
        // Steps of a round, rounds.
        for (steps, rounds) in [(0, 30), (16, 30), (133, 30), (134, 29), (188, 21), (800, 5), (20_000, 5)] {
            assert_eq!(budget.epochs(steps), rounds, "{steps}");
        }
    }
}
