//! Vectors that go over the graph of who took what before they are compared.
//!
//! ```text
//! x_u^(k+1) = Σ_{i of u} y_i^(k) / √(n_u n_i)       y_i^(k+1) = Σ_{u of i} x_u^(k) / √(n_u n_i)
//! x_u = mean of x_u^(0) … x_u^(layers)              score(u, i) = x_u · y_i
//! ```
//!
//! Only the vectors before the first layer are learnt, so that for each event `(u, i)` with an item `j` that is not in the
//! history `ln σ(score(u, i) − score(u, j)) − regularization / 2 × (|x_u^(0)|² + |y_i^(0)|² + |y_j^(0)|²)` grows (He et al.,
//! *LightGCN: Simplifying and powering graph convolution network for recommendation*, SIGIR 2020). `j` is the one that now
//! stands highest of `negatives` items drawn evenly, as in [`bpr`](crate::bpr); with 1 it is the paper's.
//!
//! The layers are linear and their matrix is its own mirror image, so the gradient goes the same way back: a step is one
//! walk over the graph for the scores and one for the gradient, then Adam. Steps take many events at once, and each takes a
//! part of every long history: what walks cost does not hang on how many.
//!
//! Somebody new is where the items of the history would put a user without a vector of their own; after an update all goes
//! over the new graph, and who or what is new begins at nothing.

use crate::fitted::{Learnt, Model, build, load};
use crate::ials::as_row;
use crate::wide::{Panels, add_scaled, dot, times, wide};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "light_gcn",
    summary: "Vectors that go over the graph of who took what, so that neighbours of neighbours count (LightGCN).",
    summary_zh: "轻量图卷积：向量在用户与商品的关系图上传播，邻居的邻居也起作用（LightGCN）。",
    source: "He et al., LightGCN: Simplifying and powering graph convolution network for recommendation, SIGIR 2020",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "64",
            summary: "Numbers in each vector.",
        },
        ParamSpec {
            name: "layers",
            kind: ParamKind::Integer { min: 1, max: 8 },
            default: "2",
            summary: "Steps over the graph.",
        },
        ParamSpec {
            name: "learning_rate",
            kind: ParamKind::Number { min: 1e-6, max: 1.0 },
            default: "0.02",
            summary: "Length of the steps at their longest.",
        },
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 0.0, max: 10.0 },
            default: "0.003",
            summary: "Penalty on the squares of all numbers before the first layer.",
        },
        ParamSpec {
            name: "negatives",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "8",
            summary: "Items not taken among which the one that stands highest is used.",
        },
        ParamSpec {
            name: "batch",
            kind: ParamKind::Integer { min: 1, max: 100_000_000 },
            default: "65536",
            summary: "Events of a step, at most.",
        },
        ParamSpec {
            name: "iterations",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "30",
            summary: "Rounds over all events.",
        },
    ],
    ordered: false,
    build: build::<LightGcn>,
    load: load::<LightGcn>,
};

/// Vectors that go over the graph of who took what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LightGcn {
    /// Numbers in each vector.
    pub factors: usize,
    /// Steps over the graph.
    pub layers: usize,
    /// Length of the steps at their longest.
    pub learning_rate: f64,
    /// Penalty on the squares of all numbers before the first layer.
    pub regularization: f64,
    /// Items not taken among which the one that stands highest is used.
    pub negatives: usize,
    /// Events of a step, at most.
    pub batch: usize,
    /// Rounds over all events.
    pub iterations: usize,
}

impl Default for LightGcn {
    fn default() -> Self {
        Self {
            factors: 64,
            layers: 2,
            learning_rate: 0.02,
            regularization: 3e-3,
            negatives: 8,
            batch: 65_536,
            iterations: 30,
        }
    }
}

/// Steps of a round at least: few events at once are no saving where there are few in all.
const STEPS_MIN: usize = 16;
/// Deviation of first numbers, by the paper.
const DEVIATION: f32 = 0.1;
/// Draws that look for an item not taken before an event is left out.
const DRAWS: usize = 50;
/// Users whose events are drawn and summed together.
const TOGETHER: usize = 64;
/// Numbers that a step changes at once.
const PART: usize = 16_384;
/// The streams of chance: first numbers; items not taken.
const FIRST: u64 = 54;
const OTHERS: u64 = 1 << 42;

/// The memories of Adam (Kingma & Ba 2015), and what keeps it from dividing by nothing.
const BETA: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Vectors of users and of items.
type Both = (Vec<f32>, Vec<f32>);

/// Who took what, each place `1 / √(n_u n_i)`, from both sides.
#[derive(Debug)]
struct Graph {
    of_users: SparseRows,
    of_items: SparseRows,
}

impl Graph {
    fn new(matrix: &SparseRows) -> Self {
        let of_items: Vec<f32> = matrix.column_counts().iter().map(|n| *n as f32).collect();
        let mut of_users =
            SparseRows::with_capacity(matrix.n_columns(), matrix.n_rows(), matrix.n_values());
        for u in 0..matrix.n_rows() {
            let columns = matrix.row(u).0;
            let n = columns.len() as f32;
            of_users.push(columns.iter().map(|i| (*i, 1.0 / (n * of_items[*i as usize]).sqrt())));
        }
        let of_items = of_users.transposed();
        Self { of_users, of_items }
    }

    /// The mean over all layers; the same way goes the gradient. `each` is given every layer of the items but the last.
    fn walk(&self, first: Both, layers: usize, width: usize, mut each: impl FnMut(&[f32])) -> Both {
        let mut now = (first.0.clone(), first.1.clone());
        let mut sums = first;
        for _ in 0..layers {
            each(&now.1);
            now = (times(&self.of_users, &now.1, width), times(&self.of_items, &now.0, width));
            add_scaled(&mut sums.0, 1.0, &now.0);
            add_scaled(&mut sums.1, 1.0, &now.1);
        }
        let share = 1.0 / (layers + 1) as f32;
        sums.0.iter_mut().chain(&mut sums.1).for_each(|v| *v *= share);
        sums
    }
}

/// Vectors before the first layer, and what the graph makes of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Walked {
    params: LightGcn,
    #[serde(with = "tradewind_core::packed")]
    users: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    items: Vec<f32>,
    /// After all layers.
    #[serde(skip)]
    told: Both,
    /// What each item brings to a user who has it, but for the length of the history.
    #[serde(skip)]
    brings: Vec<f32>,
    #[serde(skip)]
    panels: Panels,
}

/// Item, user, and how much of the user's vector goes into the item's gradient.
type Pull = (u32, u32, f32);

/// First and second moments.
struct Moments(Both, Both);

wide! {
    /// A step of Adam.
    fn step(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], rate: f32, up: (f32, f32)) {
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m.iter_mut()).zip(v.iter_mut()) {
            *m = BETA.0 * *m + (1.0 - BETA.0) * g;
            *v = BETA.1 * *v + (1.0 - BETA.1) * g * g;
            *w -= rate * (*m * up.0) / ((*v * up.1).sqrt() + EPSILON);
        }
    }
}

/// In which step of a round an event is taken: evenly, and otherwise from round to round.
fn step_of(event: u64, round: u64, steps: u64) -> u64 {
    // The finaliser of splitmix64.
    let mut z = event.wrapping_add((round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % steps
}

impl LightGcn {
    /// An item that is not in the row: of a few the one that stands highest. None where all draws were taken.
    fn other(&self, rng: &mut impl Rng, row: &[u32], x: &[f32], items: &[f32]) -> Option<u32> {
        let (width, n) = (self.factors, items.len() / self.factors);
        let mut best: Option<(f32, u32)> = None;
        for _ in 0..self.negatives {
            let drawn = (0..DRAWS).map(|_| rng.random_range(0..n as u32)).find(|j| row.binary_search(j).is_err());
            let j = drawn?;
            if self.negatives == 1 {
                return Some(j);
            }
            let score = dot(x, &items[j as usize * width..][..width]);
            if best.is_none_or(|b| score > b.0) {
                best = Some((score, j));
            }
        }
        best.map(|b| b.1)
    }

    /// The gradients, by the vectors after all layers, of the events of a step; and how many pairs each user and item is in.
    fn slopes(&self, run: &Run, matrix: &SparseRows, told: &Both, at: (u64, u64, u64)) -> (Both, Both) {
        let width = self.factors;
        let (round, step, steps) = at;
        let starts: Vec<u64> = (0..matrix.n_rows())
            .scan(0, |sum, u| {
                let start = *sum;
                *sum += matrix.row(u).0.len() as u64;
                Some(start)
            })
            .collect();
        let mut of_users = vec![0.0; told.0.len()];
        let mut pairs_users = vec![0.0_f32; matrix.n_rows()];
        let parts = matrix.n_rows().div_ceil(TOGETHER) as u64;
        let pulls: Vec<Vec<Pull>> = of_users
            .par_chunks_mut(TOGETHER * width)
            .zip(pairs_users.par_chunks_mut(TOGETHER))
            .enumerate()
            .map(|(part, (slopes, pairs))| {
                let mut rng = run.rng(OTHERS + (round * steps + step) * parts + part as u64);
                let mut out = Vec::new();
                for ((u, slope), pairs) in
                    (part * TOGETHER..).zip(slopes.chunks_exact_mut(width)).zip(pairs.iter_mut())
                {
                    let (row, x) = (matrix.row(u).0, &told.0[u * width..][..width]);
                    for (k, i) in row.iter().enumerate() {
                        if step_of(starts[u] + k as u64, round, steps) != step {
                            continue;
                        }
                        let Some(j) = self.other(&mut rng, row, x, &told.1) else { continue };
                        let (y, z) = (&told.1[*i as usize * width..][..width], &told.1[j as usize * width..][..width]);
                        let pull = 1.0 / (1.0 + (dot(x, y) - dot(x, z)).exp());
                        add_scaled(slope, -pull, y);
                        add_scaled(slope, pull, z);
                        *pairs += 1.0;
                        out.push((*i, u as u32, -pull));
                        out.push((j, u as u32, pull));
                    }
                }
                out
            })
            .collect();
        let (of_items, pairs_items) = by_item(&pulls.concat(), matrix.n_columns(), matrix.n_rows());
        ((of_users, times(&of_items, &told.0, width)), (pairs_users, pairs_items))
    }

    fn fit(&self, run: &Run, matrix: &SparseRows) -> Result<Both> {
        let (width, graph) = (self.factors, Graph::new(matrix));
        let mut rng = run.rng(FIRST);
        let mut drawn = |rows: usize| -> Vec<f32> {
            // Evenly with the deviation of the paper's.
            let end = DEVIATION * 3.0_f32.sqrt();
            (0..rows * width).map(|_| rng.random_range(-end..end)).collect()
        };
        let mut first = (drawn(matrix.n_rows()), drawn(matrix.n_columns()));
        let none = || (vec![0.0; matrix.n_rows() * width], vec![0.0; matrix.n_columns() * width]);
        let mut moments = Moments(none(), none());
        let steps = matrix.n_values().div_ceil(self.batch).max(STEPS_MIN).min(matrix.n_values());
        let (mut taken, all) = (0, (steps * self.iterations) as f32);
        run.progress().begin(ENTRY.name, self.iterations as u64);
        for round in 0..self.iterations as u64 {
            for step in 0..steps as u64 {
                run.check()?;
                let told = graph.walk(first.clone(), self.layers, width, |_| {});
                let (slopes, pairs) = self.slopes(run, matrix, &told, (round, step, steps as u64));
                let mut slopes = graph.walk(slopes, self.layers, width, |_| {});
                let penalty = self.regularization as f32;
                for (slopes, first, pairs) in
                    [(&mut slopes.0, &first.0, &pairs.0), (&mut slopes.1, &first.1, &pairs.1)]
                {
                    let rows = slopes.chunks_exact_mut(width).zip(first.chunks_exact(width));
                    rows.zip(pairs).for_each(|((slope, w), n)| add_scaled(slope, penalty * n, w));
                }
                // Half a cosine, so that the last steps settle.
                let share = 0.5 * (1.0 + (std::f32::consts::PI * taken as f32 / all).cos());
                taken += 1;
                let up = (1.0 / (1.0 - BETA.0.powi(taken)), 1.0 / (1.0 - BETA.1.powi(taken)));
                let rate = self.learning_rate as f32 * share;
                let Moments(m, v) = &mut moments;
                for (w, g, m, v) in
                    [(&mut first.0, &slopes.0, &mut m.0, &mut v.0), (&mut first.1, &slopes.1, &mut m.1, &mut v.1)]
                {
                    let parts = w.par_chunks_mut(PART).zip(g.par_chunks(PART));
                    let moments = m.par_chunks_mut(PART).zip(v.par_chunks_mut(PART));
                    parts.zip(moments).for_each(|((w, g), (m, v))| self::step(w, g, m, v, rate, up));
                }
            }
            run.progress().advance(1);
        }
        run.progress().end();
        run.check()?;
        Ok(first)
    }
}

/// The pulls, which come in the order of users, as one row an item, and how many each item has.
fn by_item(pulls: &[Pull], n_items: usize, n_users: usize) -> (SparseRows, Vec<f32>) {
    let mut starts = vec![0; n_items + 1];
    pulls.iter().for_each(|p| starts[p.0 as usize + 1] += 1);
    (0..n_items).for_each(|i| starts[i + 1] += starts[i]);
    let mut sorted = vec![(0, 0.0); pulls.len()];
    let mut next = starts.clone();
    for (item, user, pull) in pulls {
        sorted[next[*item as usize]] = (*user, *pull);
        next[*item as usize] += 1;
    }
    let mut out = SparseRows::with_capacity(n_users, n_items, pulls.len());
    let mut row: Vec<(u32, f32)> = Vec::new();
    for ends in starts.windows(2) {
        row.clear();
        for (user, pull) in &sorted[ends[0]..ends[1]] {
            // An item may be drawn for several events of a user.
            match row.last_mut().filter(|last| last.0 == *user) {
                Some(last) => last.1 += pull,
                None => row.push((*user, *pull)),
            }
        }
        out.push(row.iter().copied());
    }
    let counts = starts.windows(2).map(|ends| (ends[1] - ends[0]) as f32).collect();
    (out, counts)
}

impl Walked {
    /// Goes over the graph of what is known.
    fn walk(&mut self, known: &Interactions) {
        let (width, layers) = (self.params.factors, self.params.layers);
        let matrix = known.matrix();
        let graph = Graph::new(&matrix);
        let mut brings = vec![0.0; self.items.len()];
        let first = (self.users.clone(), self.items.clone());
        self.told = graph.walk(first, layers, width, |of_items| add_scaled(&mut brings, 1.0, of_items));
        for (row, n) in brings.chunks_exact_mut(width).zip(matrix.column_counts()) {
            let share = if n > 0 { 1.0 / ((layers + 1) as f32 * (n as f32).sqrt()) } else { 0.0 };
            row.iter_mut().for_each(|v| *v *= share);
        }
        self.brings = brings;
        self.panels = Panels::new(&self.told.1, width);
    }

    fn of(&self, item: u32) -> &[f32] {
        let width = self.params.factors;
        &self.told.1[item as usize * width..][..width]
    }
}

impl Model for LightGcn {
    type Learnt = Walked;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Walked> {
        let (users, items) = self.fit(run, &data.matrix())?;
        let mut out = Walked {
            params: self.clone(),
            users,
            items,
            told: Both::default(),
            brings: vec![],
            panels: Panels::default(),
        };
        out.walk(data);
        Ok(out)
    }

    fn restore(&self, learnt: &mut Walked, known: &Interactions) -> Result<()> {
        let fits = learnt.params == *self
            && learnt.items.len() == known.items().len() * self.factors
            && learnt.users.len() == known.users().len() * self.factors;
        if !fits {
            return Err(Error::Invalid("saved vectors do not fit their users and items".into()));
        }
        learnt.walk(known);
        Ok(())
    }
}

impl Learnt for Walked {
    const SPARSE: bool = false;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let width = self.params.factors;
        let mut x = vec![0.0; pasts.len() * width];
        for (past, x) in pasts.iter().zip(x.chunks_exact_mut(width)) {
            let (columns, _) = as_row(past.history);
            match past.user {
                _ if columns.is_empty() => {}
                Some(u) => x.copy_from_slice(&self.told.0[u as usize * width..][..width]),
                None => {
                    let share = 1.0 / (columns.len() as f32).sqrt();
                    columns
                        .iter()
                        .for_each(|i| add_scaled(x, share, &self.brings[*i as usize * width..][..width]));
                }
            }
        }
        self.panels.products(&x, out);
    }

    /// The angle between the vectors after all layers.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        self.panels.angles(item as usize, out);
    }

    /// Vectors stay; the walk goes over the graph with the newer events, where who and what is new begins at nothing.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        run.check()?;
        self.users.resize(known.users().len() * self.params.factors, 0.0);
        self.items.resize(known.items().len() * self.params.factors, 0.0);
        self.walk(known);
        Ok(())
    }

    /// The score of somebody without a vector of their own is a sum over the history.
    fn contributions(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        let (width, history) = (self.params.factors, past.history);
        let (columns, values) = as_row(history);
        let share = 1.0 / (columns.len().max(1) as f32).sqrt();
        let mut out = Vec::with_capacity(items.len() * history.items.len());
        for item in items {
            let y = self.of(*item);
            // Several events of one item share what it brings by their weights.
            out.extend(history.items.iter().zip(history.weights).map(|(i, w)| {
                columns.binary_search(i).map_or(0.0, |at| {
                    share * dot(&self.brings[*i as usize * width..][..width], y) * w / values[at]
                })
            }));
        }
        out
    }

    fn alike(&self, a: u32, b: u32) -> Option<f32> {
        let (a, b) = (self.of(a), self.of(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        Some(if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> SparseRows {
        let entries = (0..30 * 20).filter(|k| k * 7919 % 11 < 3).map(|k| ((k / 20) as u32, (k % 20) as u32, 1.0));
        SparseRows::from_entries(30, 20, entries.collect())
    }

    /// The loss of all events by the vectors before the first layer, each with the pairs that the gradient has drawn.
    fn loss(graph: &Graph, first: &Both, layers: usize, width: usize, pulls: &[(usize, usize, usize)]) -> f64 {
        let told = graph.walk(first.clone(), layers, width, |_| {});
        let of = |v: &[f32], r: usize| v[r * width..(r + 1) * width].to_vec();
        let product = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        pulls
            .iter()
            .map(|(u, i, j)| {
                let x = of(&told.0, *u);
                let ahead = product(&x, &of(&told.1, *i)) - product(&x, &of(&told.1, *j));
                (1.0 + (-ahead).exp()).ln()
            })
            .sum()
    }

    #[test]
    fn the_gradient_goes_the_same_way_back() {
        let (matrix, width, layers) = (matrix(), 3, 3);
        let graph = Graph::new(&matrix);
        let number = |k: usize| ((k * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let first: Both =
            ((0..30 * width).map(number).collect(), (0..20 * width).map(|k| number(k + 7000)).collect());
        let pairs: Vec<(usize, usize, usize)> = (0..30)
            .filter_map(|u| {
                let row = matrix.row(u).0;
                let other = (0..20).find(|j| row.binary_search(j).is_err())?;
                Some((u, *row.first()? as usize, other as usize))
            })
            .collect();
        let told = graph.walk(first.clone(), layers, width, |_| {});
        let mut slopes = (vec![0.0; 30 * width], vec![0.0; 20 * width]);
        for (u, i, j) in &pairs {
            let of = |v: &[f32], r: usize| v[r * width..(r + 1) * width].to_vec();
            let (x, y, z) = (of(&told.0, *u), of(&told.1, *i), of(&told.1, *j));
            let pull = 1.0 / (1.0 + (dot(&x, &y) - dot(&x, &z)).exp());
            for k in 0..width {
                slopes.0[u * width + k] -= pull * (y[k] - z[k]);
                slopes.1[i * width + k] -= pull * x[k];
                slopes.1[j * width + k] += pull * x[k];
            }
        }
        let slopes = graph.walk(slopes, layers, width, |_| {});
        let step = 2e-3_f32;
        for k in 0..50 * width {
            let moved = |by: f32| {
                let mut first = first.clone();
                if k < 30 * width { first.0[k] += by } else { first.1[k - 30 * width] += by }
                loss(&graph, &first, layers, width, &pairs)
            };
            let slope = if k < 30 * width { slopes.0[k] } else { slopes.1[k - 30 * width] };
            let by = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            assert!((by - f64::from(slope)).abs() < 2e-3 * (1.0 + by.abs()), "{k}: {by} {slope}");
        }
    }

    #[test]
    fn a_step_sums_what_its_pairs_say() {
        let (matrix, run) = (matrix(), Run::new(3));
        let model = LightGcn { factors: 3, ..LightGcn::default() };
        let number = |k: usize| ((k * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let told: Both = ((0..90).map(number).collect(), (0..60).map(|k| number(k + 7000)).collect());
        let mut events = 0.0;
        for step in 0..4 {
            let ((of_users, of_items), (users, items)) = model.slopes(&run, &matrix, &told, (2, step, 4));
            let (pairs, ends): (f32, f32) = (users.iter().sum(), items.iter().sum());
            assert!((ends - 2.0 * pairs).abs() < 1e-3);
            events += pairs;
            // Items go by user vectors, users by item vectors: both sides make the same sum of products.
            let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let (a, b) = (sum(&of_users, &told.0), sum(&of_items, &told.1));
            assert!((a - b).abs() < 1e-3 * (1.0 + a.abs()), "{a} {b}");
        }
        assert_eq!(events as usize, matrix.n_values(), "each event comes once a round");
    }
}
