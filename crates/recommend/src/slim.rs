//! SLIM: each item foretold from a few others, by a linear model with few links, none below zero.
//!
//! For every item `j`, with `X` the users × items and `G = XᵀX`,
//!
//! ```text
//! w_j = argmin ½ |x_j − X w|² + ½ l2 |w|² + l1 |w|₁   with w ≥ 0, w_jj = 0
//! ```
//!
//! (Ning & Karypis, *SLIM: sparse linear methods for top-N recommender systems*, ICDM 2011), by coordinate descent on `G`:
//! `w_i ← max(0, G_ij − Σ_{k≠i} G_ik w_k − l1) / (G_ii + l2)` in turn until no link moves. Only the `candidates` items
//! that are nearest to `j` by the angle may have a link (fsSLIM of the same paper), so the time of an item does not grow
//! with the catalogue. `score = x W` for the row `x` of weights of the history.
//!
//! `G` takes 4 bytes × items², so only the `items_max` most popular items take part, as in EASE.

use crate::ease::{ITEMS_MAX, most_popular};
use crate::fitted::{Learnt, Model, build, load};
use crate::gram;
use crate::ials::as_row;
use crate::item_knn::fits;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "slim",
    summary: "Each item foretold from a few others by links that are not below zero (SLIM).",
    summary_zh: "用少数其他商品的非负稀疏线性关系预测每个商品（SLIM）。",
    source: "Ning & Karypis, SLIM: sparse linear methods for top-N recommender systems, ICDM 2011",
    params: &[
        ParamSpec {
            name: "l1",
            kind: ParamKind::Number { min: 0.0, max: 1e9 },
            default: "0.5",
            summary: "Penalty on the sizes of the links: the larger, the fewer there are.",
        },
        ParamSpec {
            name: "l2",
            kind: ParamKind::Number { min: 0.0, max: 1e9 },
            default: "50",
            summary: "Penalty on the squares of the links.",
        },
        ParamSpec {
            name: "candidates",
            kind: ParamKind::Integer { min: 1, max: 60_000 },
            default: "200",
            summary: "Nearest items among which each item's links are sought.",
        },
        ParamSpec {
            name: "iterations",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "50",
            summary: "Rounds over the links of an item at most.",
        },
        ITEMS_MAX,
    ],
    ordered: false,
    build: build::<Slim>,
    load: load::<Slim>,
};

/// The sparse linear model of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slim {
    /// Penalty on the sizes of the links.
    pub l1: f64,
    /// Penalty on the squares of the links.
    pub l2: f64,
    /// Nearest items among which each item's links are sought.
    pub candidates: usize,
    /// Rounds over the links of an item at most.
    pub iterations: usize,
    /// Only so many of the most popular items take part.
    pub items_max: usize,
}

impl Default for Slim {
    fn default() -> Self {
        Self { l1: 0.5, l2: 50.0, candidates: 200, iterations: 50, items_max: 20_000 }
    }
}

/// The links, source after source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SparseLinks {
    links: SparseRows,
}

/// Rounds end when no link has moved by more.
const MOVED: f32 = 1e-5;

/// The links into item `j` of the `n × n` square: sources ascending, with weights above zero.
fn solve(square: &[f32], n: usize, j: usize, near: &[u32], params: &Slim) -> Vec<(u32, f32)> {
    let (l1, l2) = (params.l1 as f32, params.l2 as f32);
    let m = near.len();
    // The square of the candidates alone lies in the nearest cache.
    let own: Vec<f32> = near
        .iter()
        .flat_map(|i| {
            let line = &square[*i as usize * n..(*i as usize + 1) * n];
            near.iter().map(move |k| line[*k as usize])
        })
        .collect();
    // What each candidate still explains: G_ij − Σ_k G_ik w_k, kept up to date as links move.
    let mut left: Vec<f32> = near.iter().map(|i| square[j * n + *i as usize]).collect();
    let mut weights = vec![0.0_f32; m];
    for _ in 0..params.iterations {
        let mut moved = 0.0_f32;
        for i in 0..m {
            let line = &own[i * m..(i + 1) * m];
            let stiff = line[i] + l2;
            if stiff <= 0.0 {
                continue;
            }
            let better = ((left[i] + line[i] * weights[i] - l1) / stiff).max(0.0);
            let step = better - weights[i];
            if step != 0.0 {
                weights[i] = better;
                moved = moved.max(step.abs());
                crate::wide::add_scaled(&mut left, -step, line);
            }
        }
        if moved < MOVED {
            break;
        }
    }
    near.iter().copied().zip(weights).filter(|e| e.1 > 0.0).collect()
}

impl Model for Slim {
    type Learnt = SparseLinks;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<SparseLinks> {
        let (taking_part, users) = most_popular(&data.matrix(), self.items_max);
        let n = taking_part.len();
        let square = gram::square(run, &users, &users.transposed(), None)?;
        let over: Vec<f32> =
            (0..n).map(|i| 1.0 / square[i * n + i].sqrt().max(f32::MIN_POSITIVE)).collect();
        let links = (0..n)
            .into_par_iter()
            .map(|j| {
                if j % 16 == 0 {
                    run.check()?;
                }
                let line = &square[j * n..(j + 1) * n];
                let mut near: Vec<u32> =
                    (0..n as u32).filter(|i| *i as usize != j && line[*i as usize] > self.l1 as f32).collect();
                if near.len() > self.candidates {
                    let angle = |i: &u32| line[*i as usize] * over[*i as usize];
                    near.select_nth_unstable_by(self.candidates - 1, |a, b| {
                        angle(b).total_cmp(&angle(a)).then(a.cmp(b))
                    });
                    near.truncate(self.candidates);
                    near.sort_unstable();
                }
                Ok(solve(&square, n, j, &near, self))
            })
            .collect::<Result<Vec<_>>>()?;
        drop(square);
        // Links are found target by target and used source by source.
        let n_items = data.items().len();
        let mut by_target = SparseRows::with_capacity(n_items, n_items, links.iter().map(Vec::len).sum());
        let mut next = 0;
        for (place, list) in links.into_iter().enumerate() {
            let target = taking_part[place] as usize;
            (next..target).for_each(|_| by_target.push([]));
            by_target.push(list.into_iter().map(|(i, w)| (taking_part[i as usize], w)));
            next = target + 1;
        }
        (next..n_items).for_each(|_| by_target.push([]));
        Ok(SparseLinks { links: by_target.transposed() })
    }

    fn restore(&self, learnt: &mut SparseLinks, known: &Interactions) -> Result<()> {
        // After an update there may be items that are newer than the links.
        learnt.widen(known.items().len());
        fits(&learnt.links, known)
    }
}

impl SparseLinks {
    /// Items that have come since the fit have no link.
    fn widen(&mut self, n_items: usize) {
        let n = self.links.n_rows();
        if n >= n_items {
            return;
        }
        let mut wider = SparseRows::with_capacity(n_items, n_items, self.links.n_values());
        for i in 0..n {
            let (columns, values) = self.links.row(i);
            wider.push(columns.iter().copied().zip(values.iter().copied()));
        }
        (n..n_items).for_each(|_| wider.push([]));
        self.links = wider;
    }
}

impl Learnt for SparseLinks {
    const SPARSE: bool = true;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = self.links.n_rows();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let (items, weights) = as_row(past.history);
            for (item, weight) in items.into_iter().zip(weights) {
                let (columns, values) = self.links.row(item as usize);
                columns.iter().zip(values).for_each(|(j, w)| row[*j as usize] += weight * w);
            }
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let (columns, values) = self.links.row(item as usize);
        columns.iter().zip(values).for_each(|(j, w)| out[*j as usize] += w);
    }

    /// The links stay until the next fit; the answers follow the newer histories at once.
    fn update(
        &mut self,
        _run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.widen(known.items().len());
        Ok(())
    }
}
