//! What goes into a network: rows of steps ahead, and the steps before their origin.

use crate::draws::{mix, unit};
use crate::global::rows::{Member, Members, Plan};
use crate::global::spread::Spread;
use crate::global::{WARM_UP, level_of};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Panel, Result};
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::train::Task;
use tradewind_nn::{Noise, losses, values};

use super::body::{Network, Networks};
use super::events::EventTable;

/// Steps ahead that are asked about at each origin while training.
const ASKED: usize = 8;
/// Numbers stay within this many deviations, and steps within so many times the level.
const FAR: f32 = 6.0;
const FAR_STEPS: f64 = 12.0;
/// Rows that the means of columns are taken over, about.
const ROWS_SCALED: usize = 20_000;
/// The share of blocks of origins that are held out, and origins held out at most.
const HELD_SHARE: f64 = 0.1;
const HELD_MAX: usize = 2_000;
/// The share of origins whose series is hidden while training, so that series of no name are known too.
const NAMELESS: f64 = 0.1;

/// Means and deviations of the numbers in a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaler {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Scaler {
    pub(crate) fn is_sound(&self, columns: usize) -> bool {
        let finite = |v: &[f64]| v.len() == columns && v.iter().all(|v| v.is_finite());
        finite(&self.means) && finite(&self.deviations) && self.deviations.iter().all(|d| *d > 0.0)
    }

    /// The number of a column in deviations from its mean, within `far` of them; zero where it is not known.
    pub(crate) fn scaled(&self, column: usize, v: f64, far: f32) -> f32 {
        let v = (v - self.means[column]) / self.deviations[column];
        if v.is_finite() { (v as f32).clamp(-far, far) } else { 0.0 }
    }

    /// Of rows of `columns` numbers.
    pub(crate) fn of(rows: &[f64], columns: usize) -> Self {
        let mut out = Self { means: vec![0.0; columns], deviations: vec![1.0; columns] };
        for c in 0..columns {
            let column = || rows.chunks_exact(columns).map(move |r| r[c]).filter(|v| v.is_finite());
            let n = column().count() as f64;
            if n < 2.0 {
                continue;
            }
            // What is or is not stays so: in deviations the rare would be huge, and networks learn it by heart.
            if column().all(|v| v == 0.0 || v == 1.0) {
                continue;
            }
            let mean = column().sum::<f64>() / n;
            let deviation = (column().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
            out.means[c] = mean;
            out.deviations[c] = if deviation > 1e-9 * (1.0 + mean.abs()) { deviation } else { 1.0 };
        }
        out
    }
}

/// An origin of a series, and the steps ahead that are asked about.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) series: usize,
    pub(super) at: usize,
    pub(super) ahead: Vec<usize>,
    /// Whether its series is hidden.
    pub(super) nameless: bool,
}

/// Reads series for a network.
#[derive(Clone, Debug)]
pub(super) struct Reading<'a> {
    pub(super) plan: &'a Plan,
    pub(super) members: &'a Members,
    pub(super) events: &'a EventTable,
    pub(super) scaler: &'a Scaler,
    /// Steps that a body reads; none without one.
    pub(super) input: usize,
}

/// What is read of one origin.
struct Read {
    numbers: Vec<f32>,
    codes: Vec<i64>,
    past: Vec<f32>,
    level: f64,
    effects: Vec<f64>,
}

/// What a network is given.
#[derive(Debug)]
pub(crate) struct Batch {
    /// `[rows, numbers]`.
    pub(crate) numbers: Tensor<2>,
    /// For each column of categories, the code of each row, 0 where unknown.
    pub(crate) codes: Vec<Tensor<1, Int>>,
    /// `[origins, steps, channels]`; none without a body.
    pub(crate) past: Option<Tensor<3>>,
    /// The origin of each row.
    pub(crate) owner: Tensor<1, Int>,
    /// The level of each origin.
    pub(crate) levels: Vec<f64>,
    /// What events do to each row, the logarithm of a factor.
    pub(crate) effects: Vec<f64>,
}

/// How many numbers a row has, and how many words each column of categories.
pub(super) fn columns(plan: &Plan, series: usize) -> (usize, Vec<usize>) {
    let numbers = plan.categories.iter().filter(|c| !**c).count();
    let mut words: Vec<usize> = plan.statics.iter().filter_map(|(_, w)| w.as_ref().map(Vec::len)).collect();
    if plan.by_series {
        words.push(series);
    }
    (numbers, words)
}

/// Numbers of a step that a body reads.
pub(super) fn channels(plan: &Plan) -> usize {
    2 + plan.covariates.len()
}

impl Reading<'_> {
    /// The steps before place `o` of a series.
    fn past(&self, m: &Member, o: usize, scale: f64, out: &mut Vec<f32>) {
        let usual = |v: f64| if v.is_finite() { v.clamp(-FAR_STEPS, FAR_STEPS) as f32 } else { 0.0 };
        for back in (1..=self.input).rev() {
            let Some(t) = o.checked_sub(back) else {
                out.extend(std::iter::repeat_n(0.0, 2 + m.covariates.len()));
                continue;
            };
            out.extend([usual(m.history.values()[t] / scale), 1.0]);
            for (values, mean) in m.covariates.iter().zip(&m.usual) {
                let size = if mean.abs() > 1e-12 { mean.abs() } else { 1.0 };
                out.push(usual((values.get(t).copied().unwrap_or(f64::NAN) - mean) / size));
            }
        }
    }

    /// What a network is given of some origins.
    pub(super) fn batch(&self, origins: &[Origin], device: &Device) -> Batch {
        let Self { plan, members, scaler, .. } = self;
        // Columns that lead stand behind the series.
        let series = plan.categories.iter().rposition(|c| *c).filter(|_| plan.by_series);
        let read: Vec<Read> = origins
            .par_iter()
            .map(|origin| {
                let m = &members.all[origin.series];
                let scale = level_of(plan, &m.history, origin.at);
                let (mut row, mut numbers, mut codes, mut past) = (vec![], vec![], vec![], vec![]);
                let mut effects = Vec::with_capacity(origin.ahead.len());
                for ahead in &origin.ahead {
                    row.clear();
                    members.row(plan, origin.series, origin.at, *ahead, scale, None, &mut row);
                    effects.push(self.events.at(plan.freq.add(m.start, (origin.at + ahead - 1) as i64)));
                    let mut column = 0;
                    for (k, (v, category)) in row.iter().zip(&plan.categories).enumerate() {
                        if *category {
                            let hidden = origin.nameless && Some(k) == series;
                            codes.push(if v.is_finite() && !hidden { *v as i64 + 1 } else { 0 });
                        } else {
                            numbers.push(scaler.scaled(column, *v, FAR));
                            column += 1;
                        }
                    }
                }
                self.past(m, origin.at, scale, &mut past);
                Read { numbers, codes, past, level: scale, effects }
            })
            .collect();
        let (columns, words) = columns(plan, members.all.len());
        let rows: usize = origins.iter().map(|o| o.ahead.len()).sum();
        let codes: Vec<i64> = read.iter().flat_map(|r| r.codes.iter().copied()).collect();
        let whole = |of: Vec<i64>| Tensor::from_data(TensorData::new(of, [rows]), device);
        let codes =
            (0..words.len()).map(|w| whole(codes.iter().skip(w).step_by(words.len()).copied().collect()));
        let owner =
            origins.iter().enumerate().flat_map(|(k, o)| o.ahead.iter().map(move |_| k as i64)).collect();
        let numbers: Vec<f32> = read.iter().flat_map(|r| r.numbers.iter().copied()).collect();
        let past = (self.input > 0).then(|| {
            let all: Vec<f32> = read.iter().flat_map(|r| r.past.iter().copied()).collect();
            let shape = [origins.len(), self.input, channels(plan)];
            Tensor::from_data(TensorData::new(all, shape), device)
        });
        Batch {
            codes: codes.collect(),
            owner: whole(owner),
            numbers: Tensor::from_data(TensorData::new(numbers, [rows, columns]), device),
            past,
            levels: read.iter().map(|r| r.level).collect(),
            effects: read.iter().flat_map(|r| r.effects.iter().copied()).collect(),
        }
    }
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Objective {
    Squared,
    Absolute,
    Poisson,
}

impl Objective {
    /// What it makes small, in words.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Squared => "squared error",
            Self::Absolute => "absolute error",
            Self::Poisson => "Poisson loss",
        }
    }

    /// What a network says, so that zero stands for the level: 1, or the logarithm of 1.
    fn centred(self, told: Tensor<2>) -> Tensor<2> {
        if self == Self::Poisson { told } else { told + 1.0 }
    }

    /// The same on days of event; `effects` are the logarithms of factors.
    fn with_effects(self, told: Tensor<2>, effects: Tensor<2>) -> Tensor<2> {
        let told = self.centred(told);
        if self == Self::Poisson { told + effects } else { told * effects.exp() }
    }
}

/// What a network is trained on.
pub(super) struct Samples<'a> {
    pub(super) reading: Reading<'a>,
    panel: &'a Panel,
    objective: Objective,
    /// Origins of a round.
    round: usize,
    /// Series and places that are learnt from, and those held out.
    origins: Vec<(usize, usize)>,
    pub(super) held: Vec<Origin>,
    mean_level: f64,
    /// Where networks are trained.
    device: Device,
}

/// Places of all series that can be learnt from: within the last `history` steps, with something known ahead.
pub(super) fn places(plan: &Plan, members: &Members, panel: &Panel, history: usize) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    for (i, m) in members.all.iter().enumerate() {
        let (n, skip) = (m.history.len(), panel.series(i).y.len() - m.history.len());
        let first = if history == 0 { WARM_UP } else { n.saturating_sub(history).max(WARM_UP) };
        let known = &panel.series(i).y[skip..];
        out.extend(
            (first..n)
                .filter(|o| known[*o..n.min(o + plan.horizon)].iter().any(|v| v.is_finite()))
                .map(|o| (i, o)),
        );
    }
    out
}

/// The scaler of rows at some of these places.
pub(super) fn scaler(plan: &Plan, members: &Members, places: &[(usize, usize)]) -> Scaler {
    let every = places.len().div_ceil(ROWS_SCALED).max(1);
    let rows: Vec<f64> = places
        .par_iter()
        .step_by(every)
        .flat_map_iter(|(i, o)| {
            let (m, mut row) = (&members.all[*i], Vec::new());
            let ahead = 1 + (mix((*i as u64) << 32 | *o as u64) % plan.horizon as u64) as usize;
            members.row(plan, *i, *o, ahead, level_of(plan, &m.history, *o), None, &mut row);
            let numbers = row.into_iter().zip(&plan.categories).filter(|(_, c)| !**c).map(|(v, _)| v);
            numbers.collect::<Vec<_>>()
        })
        .collect();
    Scaler::of(&rows, columns(plan, members.all.len()).0)
}

impl<'a> Samples<'a> {
    pub(super) fn new(
        reading: Reading<'a>,
        panel: &'a Panel,
        objective: Objective,
        round: usize,
        seed: u64,
        device: Device,
        places: Vec<(usize, usize)>,
    ) -> Self {
        let mut out = Self {
            reading,
            panel,
            objective,
            round,
            origins: Vec::new(),
            held: Vec::new(),
            mean_level: 1.0,
            device,
        };
        let horizon = out.reading.plan.horizon;
        let mut held = Vec::new();
        for (i, o) in places {
            let block = (i as u64) << 32 | (o / (2 * horizon)) as u64;
            let chosen = unit(mix(seed ^ mix(block))) < HELD_SHARE;
            if chosen { held.push((i, o)) } else { out.origins.push((i, o)) }
        }
        // As many as are enough, spread evenly over all.
        let every = held.len().div_ceil(HELD_MAX).max(1);
        for (i, o) in held.into_iter().step_by(every) {
            let dice = mix(seed ^ mix((i as u64) << 32 | o as u64));
            let furthest = out.furthest(i, o);
            let asked = ASKED.min(furthest);
            // One of each part of the horizon.
            let ahead = (0..asked).map(|k| {
                let (from, to) = (k * furthest / asked, (k + 1) * furthest / asked);
                1 + from + (mix(dice ^ k as u64) % (to - from).max(1) as u64) as usize
            });
            let origin = Origin { series: i, at: o, ahead: ahead.collect(), nameless: false };
            out.held.push(origin);
        }
        let plan = out.reading.plan;
        let step = out.origins.len().div_ceil(ROWS_SCALED).max(1);
        let levels: Vec<f64> = out
            .origins
            .iter()
            .step_by(step)
            .map(|(i, o)| level_of(plan, &out.reading.members.all[*i].history, *o))
            .collect();
        out.mean_level = levels.iter().sum::<f64>() / levels.len().max(1) as f64;
        out
    }

    /// Whether there is anything to learn from.
    pub(super) fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// The furthest step ahead that has come.
    fn furthest(&self, series: usize, at: usize) -> usize {
        self.reading.plan.horizon.min(self.reading.members.all[series].history.len() - at).max(1)
    }

    /// What came at the steps ahead of an origin.
    pub(super) fn truth<'b>(&'b self, origin: &'b Origin) -> impl Iterator<Item = f64> + 'b {
        let (y, m) = (self.panel.series(origin.series).y, &self.reading.members.all[origin.series]);
        let skip = y.len() - m.history.len();
        origin.ahead.iter().map(move |a| y.get(skip + origin.at + a - 1).copied().unwrap_or(f64::NAN))
    }

    /// The loss of a network on some origins.
    fn loss_of(
        &self,
        network: &Network,
        origins: &[Origin],
        noise: &mut Noise,
        device: &Device,
    ) -> Result<Tensor<1>> {
        let batch = self.reading.batch(origins, device);
        let (mut truth, mut weights) = (Vec::new(), Vec::new());
        for (origin, level) in origins.iter().zip(&batch.levels) {
            let weight = if self.objective == Objective::Poisson { level / self.mean_level } else { 1.0 };
            for y in self.truth(origin) {
                let y = y / level;
                truth.push(if y.is_finite() { y as f32 } else { 0.0 });
                weights.push(if y.is_finite() { weight as f32 } else { 0.0 });
            }
        }
        let n = truth.len();
        let plain = device.clone().without_autodiff();
        let column = |of: Vec<f32>| Tensor::<2>::from_data(TensorData::new(of, [n, 1]), &plain);
        let (truth, weights) = (column(truth), Some(column(weights)));
        let effects = column(batch.effects.iter().map(|e| *e as f32).collect());
        let told = self.objective.with_effects(network.forward(&batch, noise)?, effects);
        Ok(match self.objective {
            Objective::Squared => losses::mse(told, truth, weights),
            Objective::Absolute => losses::mae(told, truth, weights),
            Objective::Poisson => losses::poisson(told, truth, weights),
        })
    }

    /// How far the network is off at the origins that were held out.
    pub(super) fn spread(&self, networks: &Networks) -> Result<Spread> {
        let plan = self.reading.plan;
        let mut errors = Spread::builder(plan.horizon);
        for part in self.held.chunks(256) {
            let told = answers(&self.reading, self.objective, networks, part)?;
            let mut told = told.into_iter();
            for origin in part {
                let level =
                    self.reading.members.all[origin.series].history.level(origin.at, plan.recent()).abs();
                let truth: Vec<f64> = self.truth(origin).collect();
                for ((ahead, y), f) in origin.ahead.iter().zip(truth).zip(told.by_ref()) {
                    errors.add(*ahead, f, y, level);
                }
            }
        }
        Ok(errors.finish())
    }
}

/// What networks say at origins, on average, values in the order of the steps asked about.
pub(super) fn answers(
    reading: &Reading<'_>,
    objective: Objective,
    networks: &Networks,
    origins: &[Origin],
) -> Result<Vec<f64>> {
    let batch = reading.batch(origins, &Device::flex());
    let levels = origins.iter().zip(&batch.levels).flat_map(|(o, l)| o.ahead.iter().map(move |_| *l));
    let mut out: Vec<f64> = levels.clone().map(|_| 0.0).collect();
    let share = 1.0 / networks.all.len().max(1) as f64;
    for network in &networks.all {
        let told = values(objective.centred(network.forward(&batch, &mut Noise::none())?));
        for (((to, v), level), effect) in out.iter_mut().zip(told).zip(levels.clone()).zip(&batch.effects) {
            let v = f64::from(v);
            *to += share * level * effect.exp() * if objective == Objective::Poisson { v.exp() } else { v };
        }
    }
    Ok(out)
}

impl Task for Samples<'_> {
    type Network = Network;

    fn rows(&self) -> usize {
        self.round.min(self.origins.len())
    }

    fn loss(&self, network: &Network, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let mut origins = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(rng) = noise.rng() else { continue };
            // Where there are more than a round takes, each round draws others.
            let row =
                if self.origins.len() > self.round { rng.random_range(0..self.origins.len()) } else { *row };
            let (series, at) = self.origins[row];
            let furthest = self.furthest(series, at);
            let ahead = (0..ASKED.min(furthest)).map(|_| rng.random_range(1..=furthest)).collect();
            origins.push(Origin { series, at, ahead, nameless: rng.random_bool(NAMELESS) });
        }
        self.loss_of(network, &origins, noise, &self.device.clone().autodiff())
    }

    fn validate(&self, network: &Network) -> Result<Option<f64>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let network = network.plain();
        let (mut sum, mut n) = (0.0, 0.0);
        for part in self.held.chunks(256) {
            let loss = self.loss_of(&network, part, &mut Noise::none(), &self.device)?;
            sum += losses::value(&loss) * part.len() as f64;
            n += part.len() as f64;
        }
        Ok(Some(sum / n))
    }
}
