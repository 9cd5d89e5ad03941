//! What most people take, of late above all: the yardstick of every other method.
//!
//! `score(i) = Σ weight × 2^(−age / half_life)` over the events of item `i`, age counted back from the last event of
//! all. With `distinct` a user counts once an item, by the last event.

use crate::fitted::{Learnt, Model, build, load};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "popularity",
    summary: "What most people take, of late above all; the same for everybody.",
    summary_zh: "近来最受欢迎的商品；人人相同。",
    source: "the yardstick of every comparison",
    params: &[
        ParamSpec {
            name: "half_life",
            kind: ParamKind::Number { min: 0.0, max: 1e15 },
            default: "0",
            summary: "Age, in units of ds, at which an event counts half; 0: age does not matter.",
        },
        ParamSpec {
            name: "distinct",
            kind: ParamKind::Flag,
            default: "true",
            summary: "Whether a user counts once an item.",
        },
    ],
    ordered: false,
    build: build::<Popularity>,
    load: load::<Popularity>,
};

/// Decayed counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Popularity {
    /// Age, in units of `ds`, at which an event counts half; 0: age does not matter.
    pub half_life: f64,
    /// Whether a user counts once an item.
    pub distinct: bool,
}

impl Default for Popularity {
    fn default() -> Self {
        Self { half_life: 0.0, distinct: true }
    }
}

/// The counts at the time of the last event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    params: Popularity,
    #[serde(with = "tradewind_core::packed")]
    counts: Vec<f32>,
}

/// The decayed counts of all items.
pub(crate) fn counts(params: &Popularity, data: &Interactions) -> Vec<f32> {
    let mut sums = vec![0.0_f64; data.items().len()];
    let end = data.end().unwrap_or(0) as f64;
    let mut last: Vec<(u32, f64)> = Vec::new();
    for history in data.histories() {
        last.clear();
        for k in 0..history.len() {
            let age = end - history.ds[k] as f64;
            let decay = if params.half_life > 0.0 { (-age / params.half_life).exp2() } else { 1.0 };
            last.push((history.items[k], f64::from(history.weights[k]) * decay));
        }
        if params.distinct {
            // Stable: of an item's events the last one, which stands behind, is kept.
            last.reverse();
            last.sort_by_key(|e| e.0);
            last.dedup_by_key(|e| e.0);
        }
        last.iter().for_each(|(i, v)| sums[*i as usize] += v);
    }
    sums.into_iter().map(|v| v.max(0.0) as f32).collect()
}

impl Model for Popularity {
    type Learnt = Counts;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, _run: &Run, data: &Interactions) -> Result<Counts> {
        Ok(Counts { params: self.clone(), counts: counts(self, data) })
    }

    fn restore(&self, learnt: &mut Counts, known: &Interactions) -> Result<()> {
        match learnt.counts.len() == known.items().len() {
            true => Ok(()),
            false => Err(Error::Invalid("saved popularity does not fit its items".into())),
        }
    }
}

impl Learnt for Counts {
    const SPARSE: bool = true;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        for row in out.chunks_exact_mut(self.counts.len().max(1)).take(pasts.len()) {
            row.copy_from_slice(&self.counts);
        }
    }

    fn similar(&self, _known: &Interactions, _item: u32, out: &mut [f32]) {
        out.copy_from_slice(&self.counts);
    }

    fn update(
        &mut self,
        _run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.counts = counts(&self.params, known);
        Ok(())
    }

    /// No history speaks for what is popular.
    fn contributions(&self, _known: &Interactions, _past: &Past<'_>, _items: &[u32]) -> Vec<f32> {
        vec![]
    }
}
