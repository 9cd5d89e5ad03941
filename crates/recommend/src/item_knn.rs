//! What is liked together: neighbours of items.
//!
//! Two items are alike when the same users have both ([`similarity`](crate::similarity)); each keeps its `k` nearest.
//! `score(j) = Σ_i w_i s(i, j)` over the items `i` of the history, with `w_i` the weight of the event, halved for every
//! `half_life_events` events of the user that came after it.
//!
//! Sarwar, Karypis, Konstan & Riedl, *Item-based collaborative filtering recommendation algorithms*, WWW 2001;
//! Aiolli, *Efficient top-N recommendation for very large scale binary rated datasets*, RecSys 2013.

use crate::fitted::{Learnt, Model, build, load};
use crate::similarity::{Measure, SIMILARITIES, Similarity};
use crate::top::best_of_few;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, History, Interactions, ItemSet, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "item_knn",
    summary: "Items that the same people take as those in the history.",
    summary_zh: "与历史商品常被同一批人选择的商品（物品近邻）。",
    source: "Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW 2001",
    params: &[
        ParamSpec {
            name: "similarity",
            kind: ParamKind::Choice(SIMILARITIES),
            default: "cosine",
            summary: "How items are compared.",
        },
        ParamSpec {
            name: "k",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "100",
            summary: "Neighbours that each item keeps.",
        },
        ParamSpec {
            name: "shrink",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "20",
            summary: "Added to the denominator: rare items are less sure of their neighbours.",
        },
        ParamSpec {
            name: "source_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.3",
            summary: "Asymmetric: how much a popular item of the history counts less.",
        },
        ParamSpec {
            name: "target_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.3",
            summary: "Asymmetric: how much a popular item is held back in the answer.",
        },
        ParamSpec {
            name: "meeting_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.5",
            summary: "How much users with long histories count less.",
        },
        ParamSpec {
            name: "k1",
            kind: ParamKind::Number { min: 0.0, max: 10_000.0 },
            default: "1.2",
            summary: "BM25: where repeated events stop counting more.",
        },
        ParamSpec {
            name: "b",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.75",
            summary: "BM25: how much popular items are held back.",
        },
        ParamSpec {
            name: "half_life_events",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "0",
            summary: "Later events of the user after which an event counts half; 0: all count alike.",
        },
    ],
    ordered: false,
    build: build::<ItemKnn>,
    load: load::<ItemKnn>,
};

/// Neighbours of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnn {
    /// How items are compared.
    pub similarity: Similarity,
    /// Neighbours that each item keeps.
    pub k: usize,
    /// Added to the denominator.
    pub shrink: f64,
    /// Asymmetric: how much a popular item of the history counts less.
    pub source_power: f64,
    /// Asymmetric: how much a popular item is held back in the answer.
    pub target_power: f64,
    /// How much users with long histories count less.
    pub meeting_power: f64,
    /// BM25: where repeated events stop counting more.
    pub k1: f64,
    /// BM25: how much popular items are held back.
    pub b: f64,
    /// Later events of the user after which an event counts half; 0: all count alike.
    pub half_life_events: f64,
}

impl Default for ItemKnn {
    fn default() -> Self {
        Self {
            similarity: Similarity::Cosine,
            k: 100,
            shrink: 20.0,
            source_power: 0.3,
            target_power: 0.3,
            meeting_power: 0.5,
            k1: 1.2,
            b: 0.75,
            half_life_events: 0.0,
        }
    }
}

/// The neighbours of every item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Neighbours {
    params: ItemKnn,
    neighbours: SparseRows,
}

impl ItemKnn {
    /// The nearest items of every item, with how alike they are.
    pub fn neighbours(&self, run: &Run, data: &Interactions) -> Result<SparseRows> {
        let users = data.matrix();
        let measure = Measure {
            kind: self.similarity,
            shrink: self.shrink as f32,
            source_power: self.source_power as f32,
            target_power: self.target_power as f32,
            meeting_power: self.meeting_power as f32,
            k1: self.k1 as f32,
            b: self.b as f32,
            k: self.k,
        };
        measure.neighbours(run, &users.transposed(), &users)
    }
}

/// Adds, for every event of the history, its weight times what `of` gives for its item.
pub(crate) fn add_rows(history: History<'_>, half_life_events: f64, rows: &SparseRows, out: &mut [f32]) {
    for k in 0..history.len() {
        let weight = history.weights[k] * faded(history.len() - 1 - k, half_life_events);
        let (columns, values) = rows.row(history.items[k] as usize);
        columns.iter().zip(values).for_each(|(j, s)| out[*j as usize] += weight * s);
    }
    // Events that speak against an item may leave sums below zero, which would mean less than no opinion.
    if history.weights.iter().any(|w| *w < 0.0) {
        out.iter_mut().for_each(|s| *s = s.max(0.0));
    }
}

/// The best sums of weighted rows.
pub(crate) fn best_by_rows(
    sources: impl Iterator<Item = (u32, f32)>,
    rows: &SparseRows,
    n: usize,
    among: Option<&ItemSet>,
) -> Vec<(u32, f32)> {
    best_of_few(rows.n_columns(), n, among, |add| {
        for (item, weight) in sources {
            let (columns, values) = rows.row(item as usize);
            columns.iter().zip(values).for_each(|(j, s)| add(*j, weight * s));
        }
    })
}

/// The items of a history with their weights, faded.
pub(crate) fn sources(history: History<'_>, half_life_events: f64) -> impl Iterator<Item = (u32, f32)> {
    (0..history.len()).map(move |k| {
        (history.items[k], history.weights[k] * faded(history.len() - 1 - k, half_life_events))
    })
}

/// What every event of the history adds to each item: its weight, faded, times what the row of its item gives.
pub(crate) fn added_by_rows(
    history: History<'_>,
    half_life_events: f64,
    rows: &SparseRows,
    items: &[u32],
) -> Vec<f32> {
    let weight = |k: usize| history.weights[k] * faded(history.len() - 1 - k, half_life_events);
    let places = || 0..history.len();
    items.iter().flat_map(|j| places().map(|k| weight(k) * entry(rows, history.items[k], *j))).collect()
}

/// The entry of a row and a column.
pub(crate) fn entry(rows: &SparseRows, row: u32, column: u32) -> f32 {
    let (columns, values) = rows.row(row as usize);
    columns.binary_search(&column).map_or(0.0, |at| values[at])
}

/// What an event counts when `later` events of the user came after it.
pub(crate) fn faded(later: usize, half_life_events: f64) -> f32 {
    if half_life_events > 0.0 { (-(later as f64) / half_life_events).exp2() as f32 } else { 1.0 }
}

impl Model for ItemKnn {
    type Learnt = Neighbours;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Neighbours> {
        Ok(Neighbours { params: self.clone(), neighbours: self.neighbours(run, data)? })
    }

    fn restore(&self, learnt: &mut Neighbours, known: &Interactions) -> Result<()> {
        fits(&learnt.neighbours, known)
    }
}

/// An error where a square of items is not one of these items.
pub(crate) fn fits(square: &SparseRows, known: &Interactions) -> Result<()> {
    let n = known.items().len();
    match square.n_rows() == n && square.n_columns() == n {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "saved neighbours of {} items do not fit {n} items",
            square.n_rows()
        ))),
    }
}

impl Learnt for Neighbours {
    const SPARSE: bool = true;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = self.neighbours.n_rows();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            add_rows(past.history, self.params.half_life_events, &self.neighbours, row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let (columns, values) = self.neighbours.row(item as usize);
        columns.iter().zip(values).for_each(|(j, s)| out[*j as usize] += s);
    }

    /// All neighbours are counted anew, so that the answer is that of a new fit.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.neighbours = self.params.neighbours(run, known)?;
        Ok(())
    }

    fn contributions(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        added_by_rows(past.history, self.params.half_life_events, &self.neighbours, items)
    }

    fn top(
        &self,
        _known: &Interactions,
        past: &Past<'_>,
        n: usize,
        among: Option<&ItemSet>,
    ) -> Option<Vec<(u32, f32)>> {
        let sources = sources(past.history, self.params.half_life_events);
        Some(best_by_rows(sources, &self.neighbours, n, among))
    }
}
