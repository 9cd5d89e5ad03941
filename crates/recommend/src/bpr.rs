//! Bayesian personalised ranking: vectors by which what was taken stands before what was not.
//!
//! For a user `u`, an item `i` of the history and one `j` that is not, with `x_uij = b_i − b_j + x_u · (y_i − y_j)`,
//! gradient steps raise `ln σ(x_uij) − regularization / 2 × (|x_u|² + |y_i|² + |y_j|² + b_i² + b_j²)` (Rendle et al.,
//! *BPR: Bayesian personalized ranking from implicit feedback*, UAI 2009). Events are drawn by chance; `j` is the one that
//! now stands highest of `negatives` items drawn evenly from those not taken (Zhang et al., *Optimizing top-n
//! collaborative filtering via dynamic negative item sampling*, SIGIR 2013); with 1 it is plain BPR.
//!
//! Steps follow one another, on one thread, in an order drawn from the seed, so that equal seeds give equal bits.

use crate::fitted::{Learnt, Model, build, load};
use crate::ials::as_row;
use crate::wide::{LANES, Panels, dot, wide};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "bpr",
    summary: "Vectors by which what was taken stands before what was not (BPR).",
    summary_zh: "贝叶斯个性化排序：让已选商品排在未选商品之前（BPR）。",
    source: "Rendle et al., BPR: Bayesian personalized ranking from implicit feedback, UAI 2009",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "64",
            summary: "Numbers in each vector.",
        },
        ParamSpec {
            name: "learning_rate",
            kind: ParamKind::Number { min: 1e-6, max: 1.0 },
            default: "0.02",
            summary: "Length of the steps.",
        },
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 0.0, max: 10.0 },
            default: "0.02",
            summary: "Penalty on the squares of all numbers.",
        },
        ParamSpec {
            name: "negatives",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "4",
            summary: "Items not taken among which the one that stands highest is used.",
        },
        ParamSpec {
            name: "iterations",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "30",
            summary: "Rounds of as many steps as there are events.",
        },
    ],
    ordered: false,
    build: build::<Bpr>,
    load: load::<Bpr>,
};

/// Bayesian personalised ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bpr {
    /// Numbers in each vector.
    pub factors: usize,
    /// Length of the steps.
    pub learning_rate: f64,
    /// Penalty on the squares of all numbers.
    pub regularization: f64,
    /// Items not taken among which the one that stands highest is used.
    pub negatives: usize,
    /// Rounds of as many steps as there are events.
    pub iterations: usize,
}

impl Default for Bpr {
    fn default() -> Self {
        Self { factors: 64, learning_rate: 0.02, regularization: 0.02, negatives: 4, iterations: 30 }
    }
}

/// Rounds over a history when only one vector is sought.
const FOLD_ROUNDS: usize = 30;
/// Draws that look for an item not taken before a step is left out.
const DRAWS: usize = 50;

/// The vectors; the last but one number of an item's vector meets a one in every user's: it is the item's bias.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Vectors {
    params: Bpr,
    seed: u64,
    /// Numbers in a vector with the bias, filled up with zeros to whole lanes.
    width: usize,
    #[serde(with = "tradewind_core::packed")]
    users: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    items: Vec<f32>,
    #[serde(skip)]
    panels: Panels,
}

wide! {
    /// One step: all three vectors towards `y_i` before `y_j`. `bias` is the place of the bias, which in `x` stays 1.
    fn step(x: &mut [f32], i: &mut [f32], j: &mut [f32], bias: usize, rate: f32, penalty: f32) {
        let ahead = dot(x, i) - dot(x, j);
        let pull = rate / (1.0 + ahead.exp());
        let fade = 1.0 - rate * penalty;
        for ((x, i), j) in x.iter_mut().zip(i.iter_mut()).zip(j.iter_mut()) {
            let (own, apart) = (*x, *i - *j);
            *x = own * fade + pull * apart;
            *i = *i * fade + pull * own;
            *j = *j * fade - pull * own;
        }
        x[bias] = 1.0;
    }
}

impl Bpr {
    fn width(&self) -> usize {
        (self.factors + 1).div_ceil(LANES) * LANES
    }

    /// An item that is not in the row: of a few the one that stands highest. None where all draws were taken.
    fn other(&self, rng: &mut impl Rng, row: &[u32], x: &[f32], items: &[f32], width: usize) -> Option<usize> {
        let n = items.len() / width;
        let mut best: Option<(f32, usize)> = None;
        for _ in 0..self.negatives {
            let drawn = (0..DRAWS).map(|_| rng.random_range(0..n as u32)).find(|j| row.binary_search(j).is_err());
            let j = drawn? as usize;
            if self.negatives == 1 {
                return Some(j);
            }
            let score = dot(x, &items[j * width..(j + 1) * width]);
            if best.is_none_or(|b| score > b.0) {
                best = Some((score, j));
            }
        }
        best.map(|b| b.1)
    }

    fn fit(&self, run: &Run, data: &Interactions) -> Result<Vectors> {
        let (width, bias) = (self.width(), self.factors);
        let matrix = data.matrix();
        let mut rng = run.rng(51);
        let scale = 0.5 / (self.factors as f32).sqrt();
        let mut drawn = |rows: usize, at_bias: f32| {
            let mut out = vec![0.0; rows * width];
            for row in out.chunks_exact_mut(width) {
                row[..bias].iter_mut().for_each(|v| *v = rng.random_range(-scale..scale));
                row[bias] = at_bias;
            }
            out
        };
        let mut users = drawn(matrix.n_rows(), 1.0);
        let mut items = drawn(matrix.n_columns(), 0.0);
        let events: Vec<(u32, u32)> = (0..matrix.n_rows())
            .flat_map(|u| matrix.row(u).0.iter().map(move |i| (u as u32, *i)))
            .collect();
        let (rate, penalty) = (self.learning_rate as f32, self.regularization as f32);
        run.progress().begin(ENTRY.name, self.iterations as u64);
        for _ in 0..self.iterations {
            for k in 0..events.len() {
                if k % 4096 == 0 {
                    run.check()?;
                }
                let (u, i) = events[rng.random_range(0..events.len())];
                let x = &mut users[u as usize * width..(u as usize + 1) * width];
                let row = matrix.row(u as usize).0;
                if let Some(j) = self.other(&mut rng, row, x, &items, width) {
                    let (i, j) = two(&mut items, i as usize, j, width);
                    step(x, i, j, bias, rate, penalty);
                }
            }
            run.progress().advance(1);
        }
        run.progress().end();
        run.check()?;
        let mut out =
            Vectors { params: self.clone(), seed: run.seed, width, users, items, panels: Panels::default() };
        out.prepare();
        Ok(out)
    }
}

/// Two different vectors, to be changed.
fn two(vectors: &mut [f32], a: usize, b: usize, width: usize) -> (&mut [f32], &mut [f32]) {
    let (low, high) = (a.min(b), a.max(b));
    let (before, from) = vectors.split_at_mut(high * width);
    let (low, high) = (&mut before[low * width..(low + 1) * width], &mut from[..width]);
    if a < b { (low, high) } else { (high, low) }
}

impl Vectors {
    fn prepare(&mut self) {
        self.panels = Panels::new(&self.items, self.width);
    }

    /// The vector of a history, from nothing, by steps in which items stay.
    fn fold(&self, columns: &[u32], x: &mut [f32]) {
        let (width, bias) = (self.width, self.params.factors);
        let (rate, penalty) = (self.params.learning_rate as f32, self.params.regularization as f32);
        x.fill(0.0);
        if columns.is_empty() {
            return;
        }
        x[bias] = 1.0;
        let mut rng = Run::new(self.seed).rng(52);
        let (mut own_i, mut own_j) = (vec![0.0; width], vec![0.0; width]);
        for _ in 0..FOLD_ROUNDS {
            for i in columns {
                if let Some(j) = self.params.other(&mut rng, columns, x, &self.items, width) {
                    let i = *i as usize;
                    own_i.copy_from_slice(&self.items[i * width..(i + 1) * width]);
                    own_j.copy_from_slice(&self.items[j * width..(j + 1) * width]);
                    step(x, &mut own_i, &mut own_j, bias, rate, penalty);
                }
            }
        }
    }

    /// The vector of a new item, from nothing, by steps in which users and other items stay.
    fn place(&mut self, item: usize, of_item: &[u32], matrix: &SparseRows) {
        let (width, bias) = (self.width, self.params.factors);
        let (rate, penalty) = (self.params.learning_rate as f32, self.params.regularization as f32);
        let mut rng = Run::new(self.seed).rng(53);
        let (mut own, mut x, mut own_j) = (vec![0.0; width], vec![0.0; width], vec![0.0; width]);
        for _ in 0..FOLD_ROUNDS {
            for u in of_item {
                let u = *u as usize;
                x.copy_from_slice(&self.users[u * width..(u + 1) * width]);
                if let Some(j) = self.params.other(&mut rng, matrix.row(u).0, &x, &self.items, width) {
                    own_j.copy_from_slice(&self.items[j * width..(j + 1) * width]);
                    step(&mut x, &mut own, &mut own_j, bias, rate, penalty);
                }
            }
        }
        self.items[item * width..(item + 1) * width].copy_from_slice(&own);
    }
}

impl Model for Bpr {
    type Learnt = Vectors;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Vectors> {
        self.fit(run, data)
    }

    fn restore(&self, learnt: &mut Vectors, known: &Interactions) -> Result<()> {
        let width = self.width();
        let fits = learnt.width == width
            && learnt.items.len() == known.items().len() * width
            && learnt.users.len() == known.users().len() * width;
        if !fits {
            return Err(Error::Invalid("saved vectors do not fit their users and items".into()));
        }
        learnt.prepare();
        Ok(())
    }
}

impl Learnt for Vectors {
    const SPARSE: bool = false;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let width = self.width;
        let mut x = vec![0.0; pasts.len() * width];
        for (past, x) in pasts.iter().zip(x.chunks_exact_mut(width)) {
            let (columns, _) = as_row(past.history);
            match past.user {
                // Somebody without a history has no taste: the biases alone would be no answer of the model's.
                _ if columns.is_empty() => {}
                Some(u) => x.copy_from_slice(&self.users[u as usize * width..(u as usize + 1) * width]),
                None => self.fold(&columns, x),
            }
        }
        self.panels.products(&x, out);
    }

    /// The angle between the vectors, without the biases.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let of = |i: usize| &self.items[i * self.width..i * self.width + self.params.factors];
        let own = of(item as usize);
        for (i, out) in out.iter_mut().enumerate() {
            let lengths = (dot(own, own) * dot(of(i), of(i))).sqrt();
            *out = if lengths > 0.0 { dot(own, of(i)) / lengths } else { 0.0 };
        }
    }

    /// Users of the newer events are found anew given the items, and new items given the users.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        newer: &Interactions,
        users: &[u32],
    ) -> Result<()> {
        let width = self.width;
        let known_items = self.items.len() / width;
        self.users.resize(known.users().len() * width, 0.0);
        self.items.resize(known.items().len() * width, 0.0);
        let matrix = known.matrix();
        let solve_users = |vectors: &mut Self| -> Result<()> {
            for u in users {
                run.check()?;
                let mut x = vec![0.0; width];
                vectors.fold(matrix.row(*u as usize).0, &mut x);
                vectors.users[*u as usize * width..(*u as usize + 1) * width].copy_from_slice(&x);
            }
            Ok(())
        };
        solve_users(self)?;
        let fresh: Vec<usize> = newer
            .items()
            .iter()
            .filter_map(|i| known.items().find(i))
            .map(|i| i as usize)
            .filter(|i| *i >= known_items)
            .collect();
        if !fresh.is_empty() {
            let of_items = matrix.transposed();
            for item in fresh {
                run.check()?;
                self.place(item, of_items.row(item).0, &matrix);
            }
            solve_users(self)?;
        }
        self.prepare();
        Ok(())
    }
}
