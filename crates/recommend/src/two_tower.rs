//! Two towers: items from what they are, users from what they took, met by an angle.
//!
//! ```text
//! item   a_i = Σ_t f_it e_t + id_i          y_i = unit(a_i + network(a_i))
//! user   m_u = mean of y_i over the history  x_u = unit(m_u + network(m_u))
//! score(u, i) = x_u · y_i / temperature
//! ```
//!
//! `f` are the terms and vectors of [`content`](crate::content), and the numbers (such as prices) in eight bands. While
//! training, the vector `id` of an item is left out of what is told with the chance `id_dropout` (Volkovs, Yu & Poutanen,
//! *DropoutNet: Addressing cold start in recommender systems*, NIPS 2017), so that attributes alone find an item that
//! nobody has taken yet; it then stands in the same space as all others, and so does somebody new.
//!
//! An event is told from the others of its user, against the items of the other events of the step and `negatives` more that
//! are drawn evenly (Yang et al., *Mixed negative sampling for learning two-tower neural networks in recommendations*, WWW
//! 2020). Each item of a step counts by the logarithm of its chance to be there less (Yi et al., *Sampling-bias-corrected
//! neural modeling for large corpus item recommendations*, RecSys 2019); an item that comes several times counts once, with
//! the chance to come at all, so where all items are there the loss is the exact one.
//!
//! Some events are held back; training ends when they are told no better for `patience` rounds, half of them without ids.

use crate::fitted::{Learnt, Model, build, load};
use crate::ials::as_row;
use crate::item_features::ItemFeatures;
use crate::sequential::specs;
use crate::wide::{Panels, add_scaled, dot, times};
use rand::RngExt;
use rand::seq::{SliceRandom, index};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows, TrainingCurve,
};
use tradewind_nn::burn;
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::activation::relu;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::dense::Dense;
use tradewind_nn::graph::{Neighbours, propagate};
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Noise, Weights, vocabulary};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "two_tower",
    summary: "Items from their attributes, users from their histories, in one space; new items and new users too.",
    summary_zh: "双塔召回：商品由属性、用户由历史行为得到同一空间的向量，新商品与新用户亦可（冷启动）。",
    source: "Yi et al., Sampling-bias-corrected neural modeling for large corpus item recommendations, RecSys 2019",
    params: &[
        specs::width("64"),
        ParamSpec {
            name: "hidden",
            kind: ParamKind::Integer { min: 0, max: 4096 },
            default: "64",
            summary: "Numbers inside the network of each tower; 0: no network.",
        },
        ParamSpec {
            name: "id_dropout",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.5",
            summary: "How often an item is told by its attributes alone while training; 1: always, also afterwards.",
        },
        ParamSpec {
            name: "temperature",
            kind: ParamKind::Number { min: 0.01, max: 10.0 },
            default: "0.1",
            summary: "What angles are divided by: the smaller, the surer.",
        },
        ParamSpec {
            name: "length",
            kind: ParamKind::Integer { min: 1, max: 4096 },
            default: "30",
            summary: "Items of a history that a step looks at, drawn evenly.",
        },
        ParamSpec {
            name: "epochs",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "5",
            summary: "Times that all events are gone over, at most.",
        },
        specs::patience("2"),
        ParamSpec {
            name: "batch",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "1024",
            summary: "Events of a step.",
        },
        specs::learning_rate("0.003"),
        specs::decay("0"),
        ParamSpec {
            name: "negatives",
            kind: ParamKind::Integer { min: 0, max: 1_000_000 },
            default: "512",
            summary: "Items drawn evenly for each step, beside those of its events.",
        },
        ParamSpec {
            name: "items_min",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "2",
            summary: "Items that a term must have to count.",
        },
    ],
    ordered: false,
    build: build::<TwoTower>,
    load: load::<TwoTower>,
};

/// Items from their attributes and users from their histories, in one space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwoTower {
    /// Numbers in each vector.
    pub width: usize,
    /// Numbers inside the network of each tower; 0: no network.
    pub hidden: usize,
    /// How often an item is told by its attributes alone while training; 1: always, also afterwards.
    pub id_dropout: f64,
    /// What angles are divided by: the smaller, the surer.
    pub temperature: f64,
    /// Items of a history that a step looks at, drawn evenly.
    pub length: usize,
    /// Times that all events are gone over, at most.
    pub epochs: usize,
    /// Rounds without gain on events held back after which training ends; 0: never.
    pub patience: usize,
    /// Events of a step.
    pub batch: usize,
    /// Length of the steps at their longest.
    pub learning_rate: f64,
    /// How much weights fade with each step, times its length.
    pub decay: f64,
    /// Items drawn evenly for each step, beside those of its events.
    pub negatives: usize,
    /// Items that a term must have to count.
    pub items_min: usize,
}

impl Default for TwoTower {
    fn default() -> Self {
        Self {
            width: 64,
            hidden: 64,
            id_dropout: 0.5,
            temperature: 0.1,
            length: 30,
            epochs: 5,
            patience: 2,
            batch: 1024,
            learning_rate: 3e-3,
            decay: 0.0,
            negatives: 512,
            items_min: 2,
        }
    }
}

/// Events that are held back, at most, and the share of all that they may be.
const HELD: usize = 2_000;
const HELD_SHARE: usize = 10;
/// Steps of a round at least: they are smaller where events are few.
const STEPS_MIN: usize = 16;
/// Keeps lengths from zero.
const TINY: f64 = 1e-12;

/// A network beside a straight way: `x + W' max(W x + b, 0) + b'`, nothing at first.
#[derive(Module, Debug)]
struct Beside {
    up: Dense,
    down: Dense,
}

impl Beside {
    fn new(width: usize, hidden: usize, device: &Device, run: &Run, stream: u64) -> Self {
        Self {
            up: Dense::new(width, hidden, device, &mut run.rng(stream)),
            down: Dense::zero(hidden, width, device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.clone() + self.down.forward(relu(self.up.forward(x)))
    }
}

fn unit(x: Tensor<2>) -> Tensor<2> {
    x.clone() / ((x.clone() * x).sum_dim(1) + TINY).sqrt()
}

/// Both towers. The table has a row for the id of each item, and behind them one for each feature.
#[derive(Module, Debug)]
struct Towers {
    table: Param<Tensor<2>>,
    item: Option<Beside>,
    user: Option<Beside>,
}

impl Towers {
    fn new(
        params: &TwoTower,
        ids: usize,
        features: usize,
        by_id: impl Fn(usize) -> bool,
        device: &Device,
        run: &Run,
    ) -> Self {
        let TwoTower { width, hidden, .. } = *params;
        // Terms begin as directions drawn by chance, whose angles are those of the terms themselves, near enough: training
        // starts from likeness by content. So do items that are known by their ids alone; other ids begin at nothing.
        let mut rng = run.rng(81);
        let end = (3.0 / width as f32).sqrt();
        let mut table = vec![0.0; (ids + features) * width];
        for (row, of_row) in table.chunks_exact_mut(width).enumerate() {
            if row >= ids || by_id(row) {
                of_row.iter_mut().for_each(|v| *v = rng.random_range(-end..end));
            }
        }
        let beside = |stream| (hidden > 0).then(|| Beside::new(width, hidden, device, run, stream));
        Self {
            table: Param::from_tensor(Tensor::from_data(TensorData::new(table, [ids + features, width]), device)),
            item: beside(82),
            user: beside(83),
        }
    }

    /// The vectors of items by what each is made of.
    fn items(&self, of: &Neighbours) -> Result<Tensor<2>> {
        let x = propagate(self.table.val(), of)?;
        Ok(unit(self.item.as_ref().map_or(x.clone(), |beside| beside.forward(x))))
    }

    /// The vectors of users by the items of each.
    fn users(&self, items: Tensor<2>, of: &Neighbours) -> Result<Tensor<2>> {
        let x = propagate(items, of)?;
        Ok(unit(self.user.as_ref().map_or(x.clone(), |beside| beside.forward(x))))
    }
}

/// [`Beside`] on plain numbers, the same for one row as for many.
#[derive(Debug)]
struct Straight {
    up: Vec<f32>,
    up_bias: Vec<f32>,
    down: Vec<f32>,
    down_bias: Vec<f32>,
}

impl Straight {
    fn of(weights: &Weights, tower: &str) -> Option<Self> {
        let of = |name: &str| weights.get(&format!("{tower}.{name}")).map(<[f32]>::to_vec);
        Some(Self {
            up: of("up.weight")?,
            up_bias: of("up.bias")?,
            down: of("down.weight")?,
            down_bias: of("down.bias")?,
        })
    }

    fn add(&self, x: &mut [f32]) {
        let inner: Vec<f32> = self
            .up
            .chunks_exact(x.len())
            .zip(&self.up_bias)
            .map(|(row, b)| (dot(row, x) + b).max(0.0))
            .collect();
        let rows = self.down.chunks_exact(inner.len()).zip(&self.down_bias);
        x.iter_mut().zip(rows).for_each(|(x, (row, b))| *x += dot(row, &inner) + b);
    }
}

/// Of a vector the direction; nothing stays nothing.
fn to_unit(x: &mut [f32]) {
    let length = dot(x, x).sqrt();
    if length > 0.0 {
        x.iter_mut().for_each(|v| *v /= length);
    }
}

/// Towers that answer.
#[derive(Debug)]
struct Scorer {
    width: usize,
    user: Option<Straight>,
    /// Of all items; nothing for those of which nothing is known.
    items: Vec<f32>,
    panels: Panels,
}

impl Scorer {
    fn new(weights: &Weights, rows: &SparseRows, width: usize) -> Self {
        let items = items_of(weights, rows, width);
        Self { width, user: Straight::of(weights, "user"), panels: Panels::new(&items, width), items }
    }

    fn of(&self, item: u32) -> &[f32] {
        &self.items[item as usize * self.width..][..self.width]
    }

    /// The vector of a history, nothing where there is none.
    fn user(&self, history: &[u32], x: &mut [f32]) {
        x.fill(0.0);
        history.iter().for_each(|i| add_scaled(x, 1.0, self.of(*i)));
        if x.iter().all(|v| *v == 0.0) {
            return;
        }
        let share = 1.0 / history.len() as f32;
        x.iter_mut().for_each(|v| *v *= share);
        if let Some(user) = &self.user {
            user.add(x);
        }
        to_unit(x);
    }
}

fn items_of(weights: &Weights, rows: &SparseRows, width: usize) -> Vec<f32> {
    let tower = Straight::of(weights, "item");
    let mut items = times(rows, weights.get("table").unwrap_or_default(), width);
    items.par_chunks_exact_mut(width).enumerate().for_each(|(i, x)| {
        // What has no attribute and no id is nowhere, and not where the network puts nothing.
        if rows.row(i).0.is_empty() || x.iter().all(|v| *v == 0.0) {
            x.fill(0.0);
            return;
        }
        if let Some(tower) = &tower {
            tower.add(x);
        }
        to_unit(x);
    });
    items
}

/// The weights, what they go over, and the towers that they make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    params: TwoTower,
    features: ItemFeatures,
    /// Items at the time of the fit, each with an id.
    ids: usize,
    /// As safetensors; empty where there was nothing to learn from.
    #[serde(with = "tradewind_core::packed")]
    weights: Vec<u8>,
    /// How the training went; models of earlier versions have none.
    #[serde(default)]
    curve: Option<TrainingCurve>,
    #[serde(skip)]
    scorer: Option<Scorer>,
}

impl Standing {
    /// What each item is made of, as rows of the table: its id, and its features. What has come in since the fit has no id.
    fn rows(&self, known: &Interactions) -> SparseRows {
        let with_id = self.params.id_dropout < 1.0;
        self.features.rows(known, self.ids, |i| (with_id && i < self.ids).then_some((i as u32, 1.0)))
    }
}

/// Telling events from the other events of their users.
struct Told {
    params: TwoTower,
    rows: SparseRows,
    ids: usize,
    /// The items of each user, but for those held back.
    histories: Vec<Vec<u32>>,
    events: Vec<(u32, u32)>,
    held: Vec<(u32, u32)>,
    /// Items that have events, and the share of events that each item has.
    taken: Vec<u32>,
    shares: Vec<f64>,
}

impl Told {
    fn new(params: &TwoTower, rows: SparseRows, ids: usize, run: &Run, data: &Interactions) -> Self {
        let matrix = data.matrix();
        let mut histories: Vec<Vec<u32>> = (0..matrix.n_rows()).map(|u| matrix.row(u).0.to_vec()).collect();
        // Somebody with one item tells nothing.
        let all = histories.iter().enumerate().filter(|h| h.1.len() > 1);
        let mut events: Vec<(u32, u32)> =
            all.flat_map(|(u, h)| h.iter().map(move |i| (u as u32, *i))).collect();
        events.shuffle(&mut run.rng(84));
        let mut held = events.split_off(events.len() - HELD.min(events.len() / HELD_SHARE));
        // What is held back is not shown beside other events either.
        for (user, item) in &held {
            histories[*user as usize].retain(|i| i != item);
        }
        events.retain(|e| histories[e.0 as usize].len() > 1);
        held.retain(|e| !histories[e.0 as usize].is_empty());
        let mut counts = vec![0.0; matrix.n_columns()];
        events.iter().for_each(|e| counts[e.1 as usize] += 1.0);
        let taken = (0..counts.len() as u32).filter(|i| counts[*i as usize] > 0.0).collect();
        let shares = counts.iter().map(|n| n / events.len().max(1) as f64).collect();
        Self { params: params.clone(), rows, ids, histories, events, held, taken, shares }
    }

    /// The loss on what is held back of someone who says how often each item is taken, whoever asks.
    fn by_popularity(&self) -> Option<f64> {
        let least = 1.0 / self.events.len().max(1) as f64;
        let of = |(_, item): &(u32, u32)| -self.shares[*item as usize].max(least).ln();
        (!self.held.is_empty()).then(|| self.held.iter().map(of).sum::<f64>() / self.held.len() as f64)
    }

    /// What an item is made of, without its id where that is left out and something is left.
    fn made_of(&self, item: u32, without_id: bool) -> (&[u32], &[f32]) {
        let (columns, values) = self.rows.row(item as usize);
        let id = columns.len() > 1 && columns[0] as usize == item as usize && (columns[0] as usize) < self.ids;
        let from = usize::from(id && without_id);
        (&columns[from..], &values[from..])
    }
}

/// Places of items in a list of a step, each once.
#[derive(Default)]
struct Listed {
    items: Vec<u32>,
    places: HashMap<u32, u32>,
}

impl Listed {
    fn place(&mut self, item: u32) -> u32 {
        *self.places.entry(item).or_insert_with(|| {
            self.items.push(item);
            self.items.len() as u32 - 1
        })
    }
}

impl Task for Told {
    type Network = Towers;

    fn rows(&self) -> usize {
        self.events.len()
    }

    fn loss(&self, network: &Towers, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let TwoTower { id_dropout, temperature, length, negatives, .. } = self.params;
        let mut asked = Listed::default();
        let targets: Vec<u32> = rows.iter().map(|r| asked.place(self.events[*r].1)).collect();
        let mut others = Listed::default();
        let mut drawn: Vec<Vec<u32>> = Vec::with_capacity(rows.len());
        let (mut entries, mut starts, mut weights) = (Vec::new(), vec![0], Vec::new());
        if let Some(rng) = noise.rng() {
            for _ in 0..negatives {
                asked.place(self.taken[rng.random_range(0..self.taken.len())]);
            }
            for row in rows {
                let (user, target) = self.events[*row];
                let history = &self.histories[user as usize];
                let own = history.binary_search(&target).unwrap_or(history.len());
                // Places of the history without the one that is told.
                let n = history.len() - usize::from(own < history.len());
                let places = if n > length { index::sample(rng, n, length).into_vec() } else { (0..n).collect() };
                let of = places.into_iter().map(|k| others.place(history[k + usize::from(k >= own)]));
                let mut of: Vec<u32> = of.collect();
                of.sort_unstable();
                drawn.push(of);
            }
            let whole = id_dropout >= 1.0;
            let of_asked =
                asked.items.iter().map(|i| self.made_of(*i, whole || rng.random_bool(id_dropout)));
            let of_others = others.items.iter().map(|i| self.made_of(*i, whole));
            for (columns, values) in of_asked.chain(of_others) {
                entries.extend_from_slice(columns);
                weights.extend_from_slice(values);
                starts.push(entries.len());
            }
        }
        let items = network.items(&Neighbours::new(self.rows.n_columns(), starts, entries, weights)?)?;
        let (m, all) = (asked.items.len(), asked.items.len() + others.items.len());
        let mut starts = vec![0];
        let (mut heard, mut shares) = (Vec::new(), Vec::new());
        for of in &drawn {
            heard.extend(of.iter().map(|place| place + m as u32));
            shares.extend(std::iter::repeat_n(1.0 / of.len().max(1) as f32, of.len()));
            starts.push(heard.len());
        }
        let users = network.users(items.clone(), &Neighbours::new(all, starts, heard, shares)?)?;
        let corrections: Vec<f32> = asked
            .items
            .iter()
            .map(|i| {
                let absent = rows.len() as f64 * (-self.shares[*i as usize]).ln_1p()
                    + negatives as f64 * (-1.0 / self.taken.len() as f64).ln_1p();
                -(-absent.exp_m1()).max(TINY).ln() as f32
            })
            .collect();
        let corrections = Tensor::from_data(TensorData::new(corrections, [m]), &items.device());
        vocabulary::loss(users / temperature, items.narrow(0, 0, m), corrections, &targets, None)
    }

    /// The loss of events held back against all items that have events, every other one without ids.
    fn validate(&self, network: &Towers) -> Result<Option<f64>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let (weights, width) = (Weights::of(network), self.params.width);
        let scorer = Scorer::new(&weights, &self.rows, width);
        let mut bare = SparseRows::with_capacity(self.rows.n_columns(), self.rows.n_rows(), self.rows.n_values());
        for i in 0..self.rows.n_rows() {
            let (columns, values) = self.made_of(i as u32, true);
            bare.push(columns.iter().copied().zip(values.iter().copied()));
        }
        let bare = Panels::new(&items_of(&weights, &bare, width), width);
        let n = self.rows.n_rows();
        let losses: Vec<f64> = self
            .held
            .par_chunks(32)
            .map(|part| {
                let (mut x, mut scores, mut loss) = (vec![0.0; width], vec![0.0; n], 0.0);
                for (k, (user, target)) in part.iter().enumerate() {
                    scorer.user(&self.histories[*user as usize], &mut x);
                    let panels = if k % 2 == 0 { &scorer.panels } else { &bare };
                    panels.products(&x, &mut scores);
                    let raised = |i: u32| f64::from(scores[i as usize]) / self.params.temperature;
                    let top = self.taken.iter().map(|i| raised(*i)).fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = self.taken.iter().map(|i| (raised(*i) - top).exp()).sum();
                    loss += top + sum.ln() - raised(*target);
                }
                loss
            })
            .collect();
        Ok(Some(losses.iter().sum::<f64>() / self.held.len() as f64))
    }
}

impl Model for TwoTower {
    type Learnt = Standing;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Standing> {
        let mut out = Standing {
            params: self.clone(),
            features: ItemFeatures::learn(self.items_min, run, data)?,
            ids: data.items().len(),
            weights: vec![],
            curve: None,
            scorer: None,
        };
        let rows = out.rows(data);
        let task = Told::new(self, rows, out.ids, run, data);
        if task.events.is_empty() {
            return Ok(out);
        }
        let device = tradewind_nn::device::of(run)?.autodiff();
        let by_id = |i: usize| task.rows.row(i).0.len() == 1;
        let network = Towers::new(self, out.ids, out.features.columns(), by_id, &device, run);
        let params = TrainParams {
            epochs: self.epochs,
            batch: self.batch.min(task.events.len().div_ceil(STEPS_MIN)),
            patience: self.patience,
            optimiser: OptimiserParams {
                rate: self.learning_rate,
                decay: self.decay,
                ..OptimiserParams::default()
            },
            ..TrainParams::default()
        };
        let trained = train(run, &task, network, &params, None, &mut |_| Ok(true))?;
        let weights = Weights::of(&trained.network);
        out.scorer = Some(Scorer::new(&weights, &task.rows, self.width));
        out.weights = weights.to_safetensors(&HashMap::new())?;
        out.curve = Some(trained.told("", "cross-entropy", task.by_popularity()));
        Ok(out)
    }

    fn restore(&self, learnt: &mut Standing, known: &Interactions) -> Result<()> {
        learnt.features.restore(self.items_min, known)?;
        if learnt.weights.is_empty() {
            return Ok(());
        }
        if learnt.params != *self || learnt.ids > known.items().len() {
            return Err(Error::Invalid("saved towers do not fit their items: they are of others".into()));
        }
        let (weights, _) = Weights::from_safetensors(&learnt.weights)?;
        // Takes the weights only if all are there and of the right shape.
        let (ids, features) = (learnt.ids, learnt.features.columns());
        weights.put_into(Towers::new(self, ids, features, |_| false, &Device::flex(), &Run::new(0)))?;
        learnt.scorer = Some(Scorer::new(&weights, &learnt.rows(known), self.width));
        Ok(())
    }
}

impl Learnt for Standing {
    const SPARSE: bool = false;

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.curve.clone().into_iter().collect()
    }

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let Some(scorer) = &self.scorer else { return };
        let mut x = vec![0.0; pasts.len() * scorer.width];
        for (past, x) in pasts.iter().zip(x.chunks_exact_mut(scorer.width)) {
            scorer.user(&as_row(past.history).0, x);
        }
        scorer.panels.products(&x, out);
    }

    /// The angle between the vectors.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        if let Some(scorer) = &self.scorer {
            scorer.panels.products(scorer.of(item), out);
        }
    }

    /// The weights stay until the next fit; new items stand where their attributes put them.
    fn update(&mut self, run: &Run, known: &Interactions, newer: &Interactions, users: &[u32]) -> Result<()> {
        self.features.update(run, known, newer, users)?;
        if self.weights.is_empty() {
            return Ok(());
        }
        let (weights, _) = Weights::from_safetensors(&self.weights)?;
        self.scorer = Some(Scorer::new(&weights, &self.rows(known), self.params.width));
        Ok(())
    }

    fn alike(&self, a: u32, b: u32) -> Option<f32> {
        let scorer = self.scorer.as_ref()?;
        let n = scorer.items.len() / scorer.width;
        ((a as usize) < n && (b as usize) < n).then(|| dot(scorer.of(a), scorer.of(b)))
    }
}
