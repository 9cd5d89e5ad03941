//! Factorisation machines: users, items, histories and attributes as features, each with a vector, all pairs of which
//! count.
//!
//! ```text
//! score(u, i) = Σ_f x_f w_f + Σ_{f<g} x_f x_g v_f·v_g
//! ```
//!
//! The features of a user are the user, their terms, and the items of the history at `1/√n` each; those of an item are
//! the item and its terms. What is of the user alone does not change the order and is left out, so that
//! `score = b_i + p_u·q_i` with `p` and `q` the sums of the vectors of either side. Learnt on pairs of an item taken and
//! one not taken, drawn at random: `−ln σ(score(u,i) − score(u,j))`, with AdaGrad; the item itself is left out of the
//! history then. (Rendle, *Factorization machines*, ICDM 2010; Rendle et al., *BPR: Bayesian personalized ranking from
//! implicit feedback*, UAI 2009.) Weights of events do not count, but for those at or below zero, which are left out.
//!
//! Pairs are gone through one after the other on one thread, so that the result does not depend on threads.
//! [`RowMachine`] is the same on plain rows of features.

mod machine;

pub use machine::{FittedRowMachine, RowMachine};

use crate::content::{Content, Features, tf_idf};
use crate::fitted::{Learnt, Model, build, load};
use crate::ials::as_row;
use crate::wide::{LANES, Panels, add_scaled, dot};
use machine::{Block, Pace, sigmoid};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "factorisation_machine",
    summary: "Users, items, histories and attributes as features with vectors, all pairs of which count.",
    summary_zh: "因子分解机：用户、商品、历史与属性特征两两交互。",
    source: "Rendle, Factorization machines, ICDM 2010",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "32",
            summary: "Numbers in each vector.",
        },
        ParamSpec {
            name: "rounds",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "20",
            summary: "Times all events are gone through.",
        },
        ParamSpec {
            name: "learning_rate",
            kind: ParamKind::Number { min: 1e-6, max: 1.0 },
            default: "0.1",
            summary: "The size of steps.",
        },
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 0.0, max: 1000.0 },
            default: "0.002",
            summary: "How much weights and vectors are drawn to 0 at every step.",
        },
        ParamSpec {
            name: "history",
            kind: ParamKind::Flag,
            default: "true",
            summary: "Whether the items of the history are features of the user.",
        },
    ],
    ordered: false,
    build: build::<FactorisationMachine>,
    load: load::<FactorisationMachine>,
};

/// A factorisation machine over users, items and their attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactorisationMachine {
    /// Numbers in each vector.
    pub factors: usize,
    /// Times all events are gone through.
    pub rounds: usize,
    /// The size of steps.
    pub learning_rate: f64,
    /// How much weights and vectors are drawn to 0 at every step.
    pub regularization: f64,
    /// Whether the items of the history are features of the user.
    pub history: bool,
}

impl Default for FactorisationMachine {
    fn default() -> Self {
        Self { factors: 32, rounds: 20, learning_rate: 0.1, regularization: 0.002, history: true }
    }
}

/// Vectors of all features.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    params: FactorisationMachine,
    users: Block,
    user_terms: Block,
    /// Items as parts of a history.
    history: Block,
    /// Items, and behind them their terms.
    items: Block,
    item_terms: Block,
    /// Terms of items and of users, as features.
    #[serde(skip)]
    sides: Sides,
    /// `q` of every item, and at its end `b`.
    #[serde(skip)]
    panels: Panels,
}

/// Rows of terms.
#[derive(Clone, Debug, Default)]
struct Sides {
    of_items: SparseRows,
    of_users: SparseRows,
}

impl Sides {
    fn of(run: &Run, data: &Interactions) -> Result<Self> {
        let content = Content { items_min: 1, ..Content::default() };
        let of_items = Features::joined(&content.learn(run, data)?);
        let none = || SparseRows::from_entries(data.users().len(), 0, vec![]);
        let of_users = data.user_attributes().map_or_else(none, |a| tf_idf(a, data.users(), 1, 1.0));
        Ok(Self { of_items, of_users })
    }
}

/// The pairs of one user while they are gone through.
struct Room {
    user: Vec<f32>,
    from: Vec<f32>,
    good: Vec<f32>,
    bad: Vec<f32>,
    /// The slope on the user's own features, summed over pairs.
    total: Vec<f32>,
    slope: Vec<f32>,
}

impl Machine {
    fn width(&self) -> usize {
        self.items.width
    }

    fn pace(&self) -> Pace {
        Pace {
            learning_rate: self.params.learning_rate as f32,
            regularization: self.params.regularization as f32,
        }
    }

    /// `q` of an item into `sum`; gives `b`.
    fn item(&self, i: usize, sum: &mut [f32]) -> f32 {
        let (terms, values) = self.sides.of_items.row(i);
        let own = self.items.vector(i);
        let of_terms = machine::of_row(&self.item_terms, terms, values, sum);
        let pairs = dot(sum, own);
        add_scaled(sum, 1.0, own);
        self.items.weights[i] + of_terms + pairs
    }

    /// `p` of a user without the history; `None` is somebody unknown.
    fn user(&self, user: Option<u32>, sum: &mut [f32]) {
        sum.fill(0.0);
        let Some(u) = user.map(|u| u as usize) else { return };
        add_scaled(sum, 1.0, self.users.vector(u));
        let (terms, values) = self.sides.of_users.row(u);
        terms.iter().zip(values).for_each(|(t, x)| add_scaled(sum, *x, self.user_terms.vector(*t as usize)));
    }

    /// One step of the item's features, `way` being −1 for the item taken and 1 for the other, times the slope.
    fn step_item(&mut self, i: usize, way: f32, user: &[f32], sum: &[f32], slope: &mut [f32]) {
        let pace = self.pace();
        let of = |x: f32, v: &[f32], slope: &mut [f32]| {
            for k in 0..slope.len() {
                slope[k] = way * x * (user[k] + sum[k] - x * v[k]);
            }
        };
        of(1.0, self.items.vector(i), slope);
        self.items.step(i, way, slope, pace);
        let (terms, values) = self.sides.of_items.row(i);
        for (t, x) in terms.iter().zip(values) {
            of(*x, self.item_terms.vector(*t as usize), slope);
            self.item_terms.step(*t as usize, way * x, slope, pace);
        }
    }

    /// Goes through the pairs of one user once.
    fn go(&mut self, user: u32, taken: &[u32], drawn_from: &[u32], rng: &mut impl RngExt, room: &mut Room) {
        let pace = self.pace();
        let n = taken.len();
        let with_history = self.params.history && n > 1;
        let scale = 1.0 / ((n.max(2) - 1) as f32).sqrt();
        self.user(Some(user), &mut room.user);
        let mut of_history = vec![0.0; self.width()];
        if with_history {
            taken.iter().for_each(|i| add_scaled(&mut of_history, 1.0, self.history.vector(*i as usize)));
        }
        room.total.fill(0.0);
        let mut slopes: Vec<f32> = vec![0.0; if with_history { n * self.width() } else { 0 }];
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(rng);
        for k in order {
            let good = taken[k] as usize;
            // A few draws find one that was not taken; who has nearly everything learns less.
            let bad = (0..10)
                .map(|_| drawn_from[rng.random_range(0..drawn_from.len())])
                .find(|i| taken.binary_search(i).is_err());
            let Some(bad) = bad.map(|i| i as usize) else { continue };
            room.from.copy_from_slice(&room.user);
            if with_history {
                add_scaled(&mut room.from, scale, &of_history);
                add_scaled(&mut room.from, -scale, self.history.vector(good));
            }
            let ahead = self.item(good, &mut room.good) - self.item(bad, &mut room.bad)
                + dot(&room.from, &room.good)
                - dot(&room.from, &room.bad);
            let wrong = sigmoid(-ahead);
            let mut slope = std::mem::take(&mut room.slope);
            for t in 0..slope.len() {
                slope[t] = wrong * (room.bad[t] - room.good[t]);
            }
            add_scaled(&mut room.total, 1.0, &slope);
            if with_history {
                let width = self.width();
                slopes[k * width..(k + 1) * width].copy_from_slice(&slope);
            }
            self.step_item(good, -wrong, &room.from, &room.good, &mut slope);
            self.step_item(bad, wrong, &room.from, &room.bad, &mut slope);
            room.slope = slope;
        }
        // The user's own features move once for all pairs, by the mean slope.
        let over = 1.0 / n.max(1) as f32;
        let mean: Vec<f32> = room.total.iter().map(|t| t * over).collect();
        self.users.step(user as usize, 0.0, &mean, pace);
        let (terms, values) = self.sides.of_users.row(user as usize);
        for (t, x) in terms.iter().zip(values) {
            let slope: Vec<f32> = mean.iter().map(|m| m * x).collect();
            self.user_terms.step(*t as usize, 0.0, &slope, pace);
        }
        if with_history {
            let width = self.width();
            for (k, i) in taken.iter().enumerate() {
                let own = &slopes[k * width..(k + 1) * width];
                let slope: Vec<f32> =
                    room.total.iter().zip(own).map(|(t, o)| (t - o) * scale * over).collect();
                self.history.step(*i as usize, 0.0, &slope, pace);
            }
        }
    }

    /// `rounds` times through the events of these users.
    fn rounds(&mut self, run: &Run, data: &Interactions, users: &[u32], rounds: usize) -> Result<()> {
        let matrix = data.matrix();
        let counts = matrix.column_counts();
        let drawn_from: Vec<u32> =
            (0..counts.len() as u32).filter(|i| counts[*i as usize] > 0).collect();
        let zeros = || vec![0.0; self.width()];
        let (user, from, good, bad) = (zeros(), zeros(), zeros(), zeros());
        let mut room = Room { user, from, good, bad, total: zeros(), slope: zeros() };
        let mut rng = run.rng(32);
        let mut order = users.to_vec();
        for _ in 0..rounds {
            order.shuffle(&mut rng);
            for u in &order {
                run.check()?;
                let (taken, _) = matrix.row(*u as usize);
                if !taken.is_empty() && !drawn_from.is_empty() {
                    self.go(*u, taken, &drawn_from, &mut rng, &mut room);
                }
            }
        }
        let blocks = [&self.users, &self.user_terms, &self.history, &self.items, &self.item_terms];
        // Steps that are too large lead away instead of near.
        if !blocks.iter().all(|b| b.is_finite()) {
            return Err(Error::NotConverged {
                what: "factorisation_machine (a smaller learning_rate may help)".into(),
                iterations: rounds,
            });
        }
        self.prepare();
        Ok(())
    }

    /// Sums up what answers need.
    fn prepare(&mut self) {
        let (n, width) = (self.items.weights.len(), self.width());
        let mut rows = vec![0.0; n * (width + LANES)];
        for i in 0..n {
            let (q, rest) = rows[i * (width + LANES)..(i + 1) * (width + LANES)].split_at_mut(width);
            rest[0] = self.item(i, q);
        }
        self.panels = Panels::new(&rows, width + LANES);
    }
}

impl Model for FactorisationMachine {
    type Learnt = Machine;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Machine> {
        let width = self.factors.div_ceil(LANES) * LANES;
        let sides = Sides::of(run, data)?;
        let mut rng = run.rng(33);
        let mut block = |n: usize| Block::new(n, width, self.factors, &mut rng);
        let (n_users, n_items) = (data.users().len(), data.items().len());
        let mut items = block(n_items);
        let (users, history) = (block(n_users), block(n_items));
        let (user_terms, item_terms) = (block(sides.of_users.n_columns()), block(sides.of_items.n_columns()));
        // An item without events is its terms alone: chance must not speak for it.
        for (i, count) in data.matrix().column_counts().iter().enumerate() {
            if *count == 0 {
                items.vectors[i * width..(i + 1) * width].fill(0.0);
            }
        }
        let panels = Panels::default();
        let mut out =
            Machine { params: self.clone(), users, user_terms, history, items, item_terms, sides, panels };
        let all: Vec<u32> = (0..n_users as u32).collect();
        out.rounds(run, data, &all, self.rounds)?;
        Ok(out)
    }

    fn restore(&self, learnt: &mut Machine, known: &Interactions) -> Result<()> {
        let width = self.factors.div_ceil(LANES) * LANES;
        let sides = Sides::of(&Run::new(0), known)?;
        let fits = learnt.users.fits(known.users().len(), width)
            && learnt.items.fits(known.items().len(), width)
            && learnt.history.fits(known.items().len(), width)
            && learnt.item_terms.fits(sides.of_items.n_columns(), width)
            && learnt.user_terms.fits(sides.of_users.n_columns(), width);
        if !fits {
            return Err(Error::Invalid("saved vectors do not fit their users and items".into()));
        }
        learnt.sides = sides;
        learnt.prepare();
        Ok(())
    }
}

impl Learnt for Machine {
    const SPARSE: bool = false;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let width = self.width();
        let mut x = vec![0.0; pasts.len() * (width + LANES)];
        for (past, row) in pasts.iter().zip(x.chunks_exact_mut(width + LANES)) {
            let (p, rest) = row.split_at_mut(width);
            self.user(past.user, p);
            let (items, _) = as_row(past.history);
            if self.params.history && !items.is_empty() {
                let scale = 1.0 / (items.len() as f32).sqrt();
                items.iter().for_each(|i| add_scaled(p, scale, self.history.vector(*i as usize)));
            }
            // Of somebody of whom nothing is known there is no opinion, and none of the items alone.
            rest[0] = if p.iter().any(|v| *v != 0.0) { 1.0 } else { 0.0 };
        }
        self.panels.products(&x, out);
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let (mut own, mut other) = (vec![0.0; self.width()], vec![0.0; self.width()]);
        self.item(item as usize, &mut own);
        for (i, out) in out.iter_mut().enumerate() {
            self.item(i, &mut other);
            let lengths = (dot(&own, &own) * dot(&other, &other)).sqrt();
            *out = if lengths > 0.0 { dot(&own, &other) / lengths } else { 0.0 };
        }
    }

    /// Goes on learning from the users of the newer events, so many rounds as a fit would.
    fn update(&mut self, run: &Run, known: &Interactions, _newer: &Interactions, users: &[u32]) -> Result<()> {
        self.sides = Sides::of(run, known)?;
        self.users.grow(known.users().len());
        self.items.grow(known.items().len());
        self.history.grow(known.items().len());
        self.item_terms.grow(self.sides.of_items.n_columns());
        self.user_terms.grow(self.sides.of_users.n_columns());
        self.rounds(run, known, users, self.params.rounds)
    }
}
