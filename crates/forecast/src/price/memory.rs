//! A network that remembers: long short-term memory over the steps before an origin, beside the row that the trees see.
//!
//! Each step before an origin is its price and the group's from the present level, the promotions that ran, and the
//! columns that are known only up to the origin: competitors' prices and other figures of the market. While training the
//! steps are jittered, scaled and hidden here and there, so that few series teach more than they say (Iwana and Uchida
//! 2021).

use super::reversion::{Reversion, Way};
use super::rows::{Layout, Members};
use crate::deep::Kind;
use crate::deep::body::{Network, Sizes};
use crate::deep::samples::{Batch, Scaler};
use crate::draws::{mix, unit};
use crate::local::map_series;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{Result, Run, TrainingCurve};
use tradewind_nn::augment::series;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Noise, Weights, losses, values};

/// Steps that are remembered.
const INPUT: usize = 52;
/// Units of the memory and of the layers after it.
const WIDTH: usize = 32;
/// Origins that are learnt from at most, and steps ahead asked about at each.
const ORIGINS: usize = 6_000;
const ASKED: usize = 8;
/// Fewest origins worth training for.
const ORIGINS_MIN: usize = 60;
/// The share of blocks of origins by which training ends.
const HELD: f64 = 0.1;
/// Numbers stay within this many deviations, prices within so many times the level.
const FAR: f32 = 6.0;
const FAR_PRICE: f64 = 3.0;
/// Deviations of what is added to the numbers of a step and of what all steps are multiplied by, and the share of steps that
/// are hidden, in blocks of so many.
const JITTER: f64 = 0.01;
const SCALING: f64 = 0.05;
const HIDDEN: f64 = 0.05;
const HIDDEN_STEPS: usize = 2;

/// A trained network.
#[derive(Serialize, Deserialize)]
pub(super) struct Memory {
    scaler: Scaler,
    /// Words of each column of categories.
    words: Vec<usize>,
    /// Numbers of a step.
    channels: usize,
    /// As safetensors.
    #[serde(with = "tradewind_core::packed")]
    weights: Vec<u8>,
    /// How the training went.
    pub(super) curve: Option<TrainingCurve>,
}

/// What is read of an origin.
struct Read {
    /// Rows of numbers, one for each step asked about.
    numbers: Vec<f32>,
    codes: Vec<i64>,
    /// `[steps, channels]`.
    past: Vec<f32>,
    /// What came, in units of the level from the anchor; NaN where nothing is known.
    truth: Vec<f32>,
}

/// Rows of a panel as a network reads them.
struct Reader<'a> {
    members: &'a Members,
    categories: Vec<bool>,
    words: &'a [usize],
    scaler: &'a Scaler,
}

impl Reader<'_> {
    fn raw(&self, i: usize, o: usize, asked: &[usize]) -> Vec<f64> {
        let (way, mut out) = (Way::of(Reversion::USUAL, self.members, i, o), Vec::new());
        asked.iter().for_each(|ahead| self.members.row(i, o, *ahead, &way, &mut out));
        out
    }

    fn read(&self, i: usize, o: usize, asked: &[usize]) -> Read {
        let m = &self.members.all[i];
        let (mut numbers, mut codes) = (Vec::new(), Vec::new());
        for row in self.raw(i, o, asked).chunks_exact(self.categories.len()) {
            let (mut column, mut words) = (0, self.words.iter());
            for (v, category) in row.iter().zip(&self.categories) {
                if *category {
                    // A word or series that came later has no vector of its own.
                    let known = v.is_finite() && words.next().is_some_and(|n| *v < *n as f64);
                    codes.push(if known { *v as i64 + 1 } else { 0 });
                } else {
                    numbers.push(self.scaler.scaled(column, *v, FAR));
                    column += 1;
                }
            }
        }
        let (anchor, scale) = (m.anchor(o), m.scale(o));
        let truth = asked.iter().map(|a| {
            let y = m.y.get(o + a - 1).copied().unwrap_or(f64::NAN);
            (((y - anchor) / scale).clamp(-FAR_PRICE, FAR_PRICE)) as f32
        });
        Read { numbers, codes, past: self.members.past(i, o, INPUT, FAR_PRICE), truth: truth.collect() }
    }
}

/// What a network is given of some origins.
fn batch(reads: &[&Read], (columns, words, channels): (usize, usize, usize), noise: &mut Noise, device: &Device) -> Result<Batch> {
    let rows: usize = reads.iter().map(|r| r.truth.len()).sum();
    let whole = |of: Vec<i64>| Tensor::from_data(TensorData::new(of, [rows]), device);
    let codes: Vec<i64> = reads.iter().flat_map(|r| r.codes.iter().copied()).collect();
    let owner = reads.iter().enumerate().flat_map(|(k, r)| r.truth.iter().map(move |_| k as i64)).collect();
    let numbers: Vec<f32> = reads.iter().flat_map(|r| r.numbers.iter().copied()).collect();
    let mut past = Vec::with_capacity(reads.len() * INPUT * channels);
    for read in reads {
        match noise.rng() {
            Some(rng) => past.extend(varied(&read.past, channels, rng)?),
            None => past.extend_from_slice(&read.past),
        }
    }
    Ok(Batch {
        numbers: Tensor::from_data(TensorData::new(numbers, [rows, columns]), device),
        codes: (0..words).map(|w| whole(codes.iter().skip(w).step_by(words).copied().collect())).collect(),
        past: Some(Tensor::from_data(TensorData::new(past, [reads.len(), INPUT, channels]), device)),
        owner: whole(owner),
        levels: Vec::new(),
        effects: Vec::new(),
    })
}

/// Jittered, scaled, and with some steps hidden.
fn varied(past: &[f32], channels: usize, rng: &mut impl Rng) -> Result<Vec<f32>> {
    let scaled = series::scale(past, channels, SCALING, rng)?;
    let jittered = series::jitter(&scaled, channels, JITTER, rng)?;
    series::mask(&jittered, channels, HIDDEN, HIDDEN_STEPS, 0.0, rng)
}

struct Lessons {
    reads: Vec<Read>,
    held: Vec<Read>,
    sizes: (usize, usize, usize),
    /// Where the network is trained.
    device: Device,
}

impl Lessons {
    fn loss_of(&self, network: &Network, reads: &[&Read], noise: &mut Noise, device: &Device) -> Result<Tensor<1>> {
        let told = network.forward(&batch(reads, self.sizes, noise, device)?, noise)?;
        let truth: Vec<f32> = reads.iter().flat_map(|r| r.truth.iter().copied()).collect();
        let weights = truth.iter().map(|y| f32::from(u8::from(y.is_finite()))).collect();
        let truth = truth.into_iter().map(|y| if y.is_finite() { y } else { 0.0 }).collect();
        let plain = device.clone().without_autodiff();
        let column = |of: Vec<f32>| {
            let n = of.len();
            Tensor::<2>::from_data(TensorData::new(of, [n, 1]), &plain)
        };
        Ok(losses::mae(told, column(truth), Some(column(weights))))
    }
}

impl Task for Lessons {
    type Network = Network;

    fn rows(&self) -> usize {
        self.reads.len()
    }

    fn loss(&self, network: &Network, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let reads: Vec<&Read> = rows.iter().map(|r| &self.reads[*r]).collect();
        self.loss_of(network, &reads, noise, &self.device.clone().autodiff())
    }

    fn validate(&self, network: &Network) -> Result<Option<f64>> {
        let network = network.plain();
        let (mut sum, mut n) = (0.0, 0.0);
        for part in self.held.chunks(256) {
            let reads: Vec<&Read> = part.iter().collect();
            let loss = self.loss_of(&network, &reads, &mut Noise::none(), &self.device)?;
            sum += losses::value(&loss) * part.len() as f64;
            n += part.len() as f64;
        }
        Ok((n > 0.0).then(|| sum / n))
    }
}

impl Memory {
    fn sizes(&self, members: &Members) -> Sizes {
        let columns = members.layout.names().1.iter().filter(|c| !**c).count();
        Sizes {
            kind: Kind::Lstm,
            numbers: columns,
            words: self.words.clone(),
            input: INPUT,
            channels: self.channels,
            patch: 1,
            width: WIDTH,
            layers: 1,
            dropout: 0.1,
        }
    }

    /// Learns from the values up to `held` steps before each series' end; none where there are too few.
    pub(super) fn fit(run: &Run, members: &Members, horizon: usize, held: usize, epochs: usize) -> Result<Option<Self>> {
        let usable = |i: usize| members.all[i].y.len().saturating_sub(held);
        let places: Vec<(usize, usize)> = (0..members.all.len())
            .flat_map(|i| {
                let m = &members.all[i];
                let known = &m.known[..m.count(usable(i))];
                known.iter().skip(super::WARM_UP).map(move |o| (i, *o))
            })
            .collect();
        if places.len() < ORIGINS_MIN {
            return Ok(None);
        }
        let share = ORIGINS as f64 / places.len() as f64;
        let dice = |i: usize, o: usize| mix(run.seed ^ mix((i as u64) << 32 | o as u64) ^ 0xfeed);
        let places: Vec<(usize, usize)> = places.into_iter().filter(|(i, o)| unit(dice(*i, *o)) < share).collect();
        let asked = |i: usize, o: usize| -> Vec<usize> {
            let furthest = horizon.min(usable(i) - o).max(1);
            let n = ASKED.min(furthest);
            (0..n).map(|k| 1 + k * furthest / n + (mix(dice(i, o) ^ k as u64) % (furthest / n) as u64) as usize).collect()
        };
        let categories = members.layout.names().1;
        let columns = categories.iter().filter(|c| !**c).count();
        let every = places.len().div_ceil(1_000);
        let unscaled = Scaler::default();
        let words = members.words();
        let reader = Reader { members, categories: categories.clone(), words: &words, scaler: &unscaled };
        let some: Vec<(usize, usize)> = places.iter().step_by(every).copied().collect();
        let rows: Vec<f64> = map_series(&run.quiet(), "price", some.len(), |k| {
            let (i, o) = some[k];
            let row = reader.raw(i, o, &asked(i, o)[..1]);
            row.into_iter().zip(&categories).filter(|(_, c)| !**c).map(|(v, _)| v).collect::<Vec<f64>>()
        })?
        .concat();
        let scaler = Scaler::of(&rows, columns);
        let reader = Reader { members, categories, words: &words, scaler: &scaler };
        let reads = map_series(&run.quiet(), "price", places.len(), |k| {
            let (i, o) = places[k];
            reader.read(i, o, &asked(i, o))
        })?;
        let channels = members.layout.channels();
        let sizes = (columns, words.len(), channels);
        let mut lessons = Lessons { reads: Vec::new(), held: Vec::new(), sizes, device: tradewind_nn::device::of(run)? };
        for ((i, o), read) in places.iter().zip(reads) {
            let block = mix(run.seed ^ mix((*i as u64) << 32 | (o / (2 * horizon)) as u64));
            if unit(block) < HELD { lessons.held.push(read) } else { lessons.reads.push(read) }
        }
        if lessons.reads.is_empty() {
            return Ok(None);
        }
        let mut out = Self { scaler: scaler.clone(), words, channels, weights: Vec::new(), curve: None };
        let network = out.sizes(members).network(&lessons.device.clone().autodiff(), run)?;
        let training = TrainParams {
            epochs,
            batch: 64,
            patience: 3,
            optimiser: OptimiserParams { rate: 3e-3, decay: 0.01, ..OptimiserParams::default() },
            ..TrainParams::default()
        };
        let trained = run.install(|| train(run, &lessons, network, &training, None, &mut |_| Ok(true)))?;
        out.curve = Some(trained.told("network", "absolute error in units of the level", None));
        out.weights = Weights::of(&trained.network).to_safetensors(&HashMap::new())?;
        Ok(Some(out))
    }

    /// Whether what was read back fits together.
    pub(super) fn is_sound(&self, layout: &Layout) -> bool {
        let (_, categories) = layout.names();
        let words = categories.iter().filter(|c| **c).count();
        self.scaler.is_sound(categories.len() - words)
            && self.words.len() == words
            && self.channels == layout.channels()
    }

    /// What it says of the steps 1 to `horizon` after the first `o(series)` steps of every series: how far from the anchor,
    /// in units of the level.
    pub(super) fn answers(&self, run: &Run, members: &Members, horizon: usize, o: impl Fn(usize) -> usize + Sync) -> Result<Vec<Vec<f64>>> {
        let (weights, _) = Weights::from_safetensors(&self.weights)?;
        let network = weights.put_into(self.sizes(members).network(&Device::flex(), &Run::new(0))?)?;
        let categories = members.layout.names().1;
        let columns = categories.iter().filter(|c| !**c).count();
        let reader = Reader { members, categories, words: &self.words, scaler: &self.scaler };
        let steps: Vec<usize> = (1..=horizon).collect();
        let all: Vec<usize> = (0..members.all.len()).collect();
        let mut out = Vec::with_capacity(all.len());
        for part in all.chunks((4_096 / horizon).max(1)) {
            let reads = map_series(&run.quiet(), "price", part.len(), |k| reader.read(part[k], o(part[k]), &steps))?;
            let reads: Vec<&Read> = reads.iter().collect();
            let given = batch(&reads, (columns, self.words.len(), self.channels), &mut Noise::none(), &Device::flex())?;
            let told = values(run.install(|| network.forward(&given, &mut Noise::none()))?);
            out.extend(told.chunks_exact(horizon).map(|t| t.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>()));
        }
        Ok(out)
    }
}
