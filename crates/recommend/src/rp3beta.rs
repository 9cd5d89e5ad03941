//! A walk of three steps over the graph of users and items: item → user → item.
//!
//! `score(j) = Σ_i w_i Σ_v p(v|i)^alpha p(j|v)^alpha / n_j^beta` over the items `i` of the history, with `p(v|i) = 1/n_i`
//! and `p(j|v) = 1/n_v` shared by weight. `beta` holds popular items back, which a walk reaches too easily.
//!
//! Paudel, Christoffel, Newell & Bernstein, *Updatable, accurate, diverse, and scalable recommendations for interactive
//! applications*, ACM TiiS 7, 2017. Each item keeps its `k` best targets.

use crate::fitted::{Learnt, Model, build, load};
use crate::gram;
use crate::item_knn::{add_rows, added_by_rows, best_by_rows, fits, sources};
use crate::top::keep_largest;
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, ItemSet, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "rp3beta",
    summary: "A walk of three steps over the graph of users and items, popular items held back.",
    summary_zh: "用户-商品图上的三步随机游走，抑制热门商品（RP3β）。",
    source: "Paudel et al., Updatable, accurate, diverse, and scalable recommendations, ACM TiiS 7, 2017",
    params: &[
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.0, max: 4.0 },
            default: "0.8",
            summary: "Power of each step's probability.",
        },
        ParamSpec {
            name: "beta",
            kind: ParamKind::Number { min: 0.0, max: 4.0 },
            default: "0.3",
            summary: "How much popular items are held back.",
        },
        ParamSpec {
            name: "k",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "200",
            summary: "Targets that each item keeps.",
        },
    ],
    ordered: false,
    build: build::<Rp3Beta>,
    load: load::<Rp3Beta>,
};

/// The walk of three steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rp3Beta {
    /// Power of each step's probability.
    pub alpha: f64,
    /// How much popular items are held back.
    pub beta: f64,
    /// Targets that each item keeps.
    pub k: usize,
}

impl Default for Rp3Beta {
    fn default() -> Self {
        Self { alpha: 0.8, beta: 0.3, k: 200 }
    }
}

/// Where the walk from each item ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    params: Rp3Beta,
    ends: SparseRows,
}

/// Each row's values over their sum, to a power.
fn probabilities(rows: &SparseRows, power: f32) -> SparseRows {
    let mut out = SparseRows::with_capacity(rows.n_columns(), rows.n_rows(), rows.n_values());
    for r in 0..rows.n_rows() {
        let (columns, values) = rows.row(r);
        let total: f32 = values.iter().sum();
        out.push(columns.iter().zip(values).map(|(c, v)| (*c, (v / total).powf(power))));
    }
    out
}

impl Rp3Beta {
    fn walk(&self, run: &Run, data: &Interactions) -> Result<SparseRows> {
        let users = data.matrix();
        let items = users.transposed();
        let hold: Vec<f32> =
            items_sums(&items).into_iter().map(|s| s.max(f32::MIN_POSITIVE).powf(-self.beta as f32)).collect();
        let (to_users, to_items) =
            (probabilities(&items, self.alpha as f32), probabilities(&users, self.alpha as f32));
        let lists = gram::rows(run, &to_items, &to_users, None, |i, sums, met| {
            let mut kept: Vec<(u32, f32)> = met
                .iter()
                .filter(|j| **j != i)
                .map(|j| (*j, sums[*j as usize] * hold[*j as usize]))
                .collect();
            keep_largest(&mut kept, self.k);
            kept.sort_unstable_by_key(|e| e.0);
            kept
        })?;
        Ok(gram::sparse(lists))
    }
}

fn items_sums(items: &SparseRows) -> Vec<f32> {
    (0..items.n_rows()).map(|i| items.row(i).1.iter().sum()).collect()
}

impl Model for Rp3Beta {
    type Learnt = Ends;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Ends> {
        Ok(Ends { params: self.clone(), ends: self.walk(run, data)? })
    }

    fn restore(&self, learnt: &mut Ends, known: &Interactions) -> Result<()> {
        fits(&learnt.ends, known)
    }
}

impl Learnt for Ends {
    const SPARSE: bool = true;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = self.ends.n_rows();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            add_rows(past.history, 0.0, &self.ends, row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let (columns, values) = self.ends.row(item as usize);
        columns.iter().zip(values).for_each(|(j, s)| out[*j as usize] += s);
    }

    /// The walks are counted anew, so that the answer is that of a new fit.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.ends = self.params.walk(run, known)?;
        Ok(())
    }

    fn contributions(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        added_by_rows(past.history, 0.0, &self.ends, items)
    }

    fn top(
        &self,
        _known: &Interactions,
        past: &Past<'_>,
        n: usize,
        among: Option<&ItemSet>,
    ) -> Option<Vec<(u32, f32)>> {
        Some(best_by_rows(sources(past.history, 0.0), &self.ends, n, among))
    }
}
