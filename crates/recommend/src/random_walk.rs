//! Walks on the graph of users and items that again and again start anew at the history.
//!
//! A walk stands on a vertex, ends there with the chance `restart`, and otherwise goes on along one of the vertex's
//! edges, by their weights. `p_i` is the chance to end at item `i` when it starts at the items of the history, by their
//! weights: PageRank that starts anew at one's own items (Page et al. 1999; for users and items, Gori & Pucci, *ItemRank*,
//! IJCAI 2007). `score_i = p_i / d_i^popularity_power`, with `d_i` the item's sum of weights.
//!
//! `p` is found by forward pushes (Andersen, Chung & Lang, *Local graph partitioning using PageRank vectors*, FOCS
//! 2006): while a vertex has a residual above its number of edges × `t`, a share `restart` of it becomes `p` and the
//! rest goes to the neighbours. `t = tolerance × (1 − restart) / |edges|`: with a `tolerance` of 1 only vertices are
//! followed that the walk reaches more often than it would reach them by chance. So the walk keeps to those who are
//! near, which ranks better than the whole graph does, and costs less: the work is bounded by `1 / (t × restart)`
//! edges. With a small `tolerance` `p` is exact. The defaults suit dense data; where histories are short, a
//! `popularity_power` of 0.2 and less is better, and other methods are better still. Vertices are pushed in rounds in
//! the order of their positions, so that sums have one order.

use crate::fitted::{Learnt, Model, build, load};
use crate::ials::as_row;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "random_walk",
    summary: "Walks on the graph of users and items that start anew at the history (PageRank with restart).",
    summary_zh: "在用户—商品图上从历史商品出发的带重启随机游走（个性化 PageRank）。",
    source: "Gori & Pucci, ItemRank: a random-walk based scoring algorithm for recommender engines, IJCAI 2007",
    params: &[
        ParamSpec {
            name: "restart",
            kind: ParamKind::Number { min: 0.01, max: 0.99 },
            default: "0.3",
            summary: "The chance, at each step, that the walk ends where it stands.",
        },
        ParamSpec {
            name: "popularity_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.6",
            summary: "How much a popular item is held back in the answer.",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-6, max: 10.0 },
            default: "0.4",
            summary: "Share of the chance that an edge has by itself below which a walk is not followed.",
        },
    ],
    ordered: false,
    build: build::<RandomWalk>,
    load: load::<RandomWalk>,
};

/// The walk with restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomWalk {
    /// The chance, at each step, that the walk ends where it stands.
    pub restart: f64,
    /// How much a popular item is held back in the answer.
    pub popularity_power: f64,
    /// Share of the chance that an edge has by itself below which a walk is not followed.
    pub tolerance: f64,
}

impl Default for RandomWalk {
    fn default() -> Self {
        Self { restart: 0.3, popularity_power: 0.6, tolerance: 0.4 }
    }
}

/// The graph. It is made of the known interactions, so nothing of it is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Graph {
    params: RandomWalk,
    /// The residual for each edge from which on a vertex is pushed.
    #[serde(skip)]
    threshold: f32,
    #[serde(skip)]
    users: Side,
    #[serde(skip)]
    items: Side,
}

/// The vertices of one side.
#[derive(Clone, Debug)]
struct Side {
    edges: SparseRows,
    /// Sum of weights of each.
    sums: Vec<f32>,
}

impl Default for Side {
    fn default() -> Self {
        Self::of(SparseRows::with_capacity(0, 0, 0))
    }
}

impl Side {
    fn of(edges: SparseRows) -> Self {
        let sums = (0..edges.n_rows()).map(|r| edges.row(r).1.iter().sum()).collect();
        Self { edges, sums }
    }
}

/// Residuals of one side, with the vertices that have one.
struct Residuals {
    left: Vec<f32>,
    waiting: Vec<u32>,
}

impl Residuals {
    fn new(n: usize) -> Self {
        Self { left: vec![0.0; n], waiting: Vec::new() }
    }

    fn add(&mut self, vertex: u32, chance: f32) {
        let left = &mut self.left[vertex as usize];
        if *left == 0.0 {
            self.waiting.push(vertex);
        }
        *left += chance;
    }
}

/// Rounds of two steps at most: at the smallest `restart` a chance of 2e-9 still walks after so many.
const ROUNDS: usize = 1000;

impl Graph {
    fn new(params: &RandomWalk, known: &Interactions) -> Self {
        let users = known.matrix();
        let items = users.transposed();
        let even = (1.0 - params.restart) / users.n_values().max(1) as f64;
        let threshold = (params.tolerance * even) as f32;
        Self { params: params.clone(), threshold, users: Side::of(users), items: Side::of(items) }
    }

    /// Pushes the residuals of one side: `ended` gets what ends there, the other side what goes on.
    fn push(&self, from: &Side, here: &mut Residuals, there: &mut Residuals, ended: Option<&mut [f32]>) {
        let restart = self.params.restart as f32;
        here.waiting.sort_unstable();
        let mut ended = ended;
        let mut kept = 0;
        for k in 0..here.waiting.len() {
            let v = here.waiting[k];
            if !self.is_due(from, here, v) {
                here.waiting[kept] = v;
                kept += 1;
                continue;
            }
            let left = std::mem::take(&mut here.left[v as usize]);
            let (neighbours, weights) = from.edges.row(v as usize);
            if let Some(ended) = ended.as_deref_mut() {
                ended[v as usize] += restart * left;
            }
            let share = (1.0 - restart) * left / from.sums[v as usize];
            neighbours.iter().zip(weights).for_each(|(n, w)| there.add(*n, share * w));
        }
        here.waiting.truncate(kept);
    }

    /// Adds the scores of walks from these items.
    fn walk(&self, start: &[(u32, f32)], room: &mut (Residuals, Residuals), out: &mut [f32]) {
        let (items, users) = room;
        let total: f32 = start.iter().map(|e| e.1).sum();
        if total <= 0.0 || !total.is_finite() {
            return;
        }
        start.iter().for_each(|(i, w)| items.add(*i, w / total));
        for _ in 0..ROUNDS {
            if !items.waiting.iter().any(|v| self.is_due(&self.items, items, *v)) {
                break;
            }
            self.push(&self.items, items, users, Some(out));
            self.push(&self.users, users, items, None);
        }
        for side in [items, users] {
            side.waiting.iter().for_each(|v| side.left[*v as usize] = 0.0);
            side.waiting.clear();
        }
        let power = self.params.popularity_power as f32;
        if power > 0.0 {
            for (score, sum) in out.iter_mut().zip(&self.items.sums).filter(|e| *e.0 > 0.0) {
                *score /= sum.powf(power);
            }
        }
    }

    /// Whether so much is left at a vertex that it is pushed on.
    fn is_due(&self, side: &Side, residuals: &Residuals, v: u32) -> bool {
        let edges = side.edges.row(v as usize).0.len() as f32;
        edges > 0.0 && residuals.left[v as usize] >= self.threshold * edges
    }

    fn room(&self) -> (Residuals, Residuals) {
        (Residuals::new(self.items.edges.n_rows()), Residuals::new(self.users.edges.n_rows()))
    }
}

impl Model for RandomWalk {
    type Learnt = Graph;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Graph> {
        run.check()?;
        Ok(Graph::new(self, data))
    }

    fn restore(&self, learnt: &mut Graph, known: &Interactions) -> Result<()> {
        *learnt = Graph::new(self, known);
        Ok(())
    }
}

impl Learnt for Graph {
    const SPARSE: bool = true;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        let mut room = self.room();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let (items, weights) = as_row(past.history);
            let start: Vec<(u32, f32)> = items.into_iter().zip(weights).collect();
            self.walk(&start, &mut room, row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        self.walk(&[(item, 1.0)], &mut self.room(), out);
    }

    /// The graph is made anew, so that the answer is that of a new fit.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        *self = self.params.learn(run, known)?;
        Ok(())
    }
}
