//! What people of like taste take: neighbours of users.
//!
//! The history is compared with those of all users (`similarity` as in [`similarity`](crate::similarity), the history
//! being the source); `score(j) = Σ_v s(u, v) w_vj` over the `k` nearest users `v`. Nothing is fitted: the comparison is
//! made when it is asked for, so that every answer knows the newest events.
//!
//! Herlocker, Konstan, Borchers & Riedl, *An algorithmic framework for performing collaborative filtering*, SIGIR 1999;
//! Aiolli, RecSys 2013 for the asymmetric form.

use crate::fitted::{Learnt, Model, build, load};
use crate::ials::as_row;
use crate::similarity::Similarity;
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "user_knn",
    summary: "Items of the people whose histories are most alike.",
    summary_zh: "历史最相似的用户所选择的商品（用户近邻）。",
    source: "Herlocker et al., An algorithmic framework for performing collaborative filtering, SIGIR 1999",
    params: &[
        ParamSpec {
            name: "similarity",
            kind: ParamKind::Choice(&["cosine", "asymmetric", "jaccard"]),
            default: "cosine",
            summary: "How users are compared.",
        },
        ParamSpec {
            name: "k",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "200",
            summary: "Neighbours that are asked.",
        },
        ParamSpec {
            name: "shrink",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "0",
            summary: "Added to the denominator: short histories are less sure of their neighbours.",
        },
        ParamSpec {
            name: "source_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.5",
            summary: "Asymmetric: power of the asking history's length; it does not change the order.",
        },
        ParamSpec {
            name: "target_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.5",
            summary: "Asymmetric: how much people with long histories are held back.",
        },
        ParamSpec {
            name: "meeting_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.5",
            summary: "How much a meeting in a popular item counts less.",
        },
    ],
    ordered: false,
    build: build::<UserKnn>,
    load: load::<UserKnn>,
};

/// Neighbours of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserKnn {
    /// How users are compared; BM25 is not offered.
    pub similarity: Similarity,
    /// Neighbours that are asked.
    pub k: usize,
    /// Added to the denominator.
    pub shrink: f64,
    /// Asymmetric: power of the asking history's length.
    pub source_power: f64,
    /// Asymmetric: how much people with long histories are held back.
    pub target_power: f64,
    /// How much a meeting in a popular item counts less.
    pub meeting_power: f64,
}

impl Default for UserKnn {
    fn default() -> Self {
        Self {
            similarity: Similarity::Cosine,
            k: 200,
            shrink: 0.0,
            source_power: 0.5,
            target_power: 0.5,
            meeting_power: 0.5,
        }
    }
}

/// The histories both ways, made anew from what is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct People {
    params: UserKnn,
    #[serde(skip)]
    histories: Option<Sides>,
}

#[derive(Clone, Debug)]
struct Sides {
    users: SparseRows,
    items: SparseRows,
    /// What each user brings into the denominator.
    scale: Vec<f32>,
    /// What a meeting in each item counts.
    meeting: Vec<f32>,
}

impl People {
    fn prepare(&mut self, known: &Interactions) {
        let users = known.matrix();
        let items = users.transposed();
        let scale =
            (0..users.n_rows()).map(|u| self.params.scale(users.row(u).1, self.params.target_power)).collect();
        let meeting = (0..items.n_rows())
            .map(|i| (items.row(i).0.len().max(1) as f32).powf(-self.params.meeting_power as f32))
            .collect();
        self.histories = Some(Sides { users, items, scale, meeting });
    }
}

impl UserKnn {
    fn scale(&self, values: &[f32], power: f64) -> f32 {
        let squares: f32 = values.iter().map(|v| v * v).sum();
        match self.similarity {
            Similarity::Jaccard => values.len() as f32,
            Similarity::Asymmetric => squares.powf(power as f32),
            Similarity::Cosine | Similarity::Bm25 => squares.sqrt(),
        }
    }
}

impl Model for UserKnn {
    type Learnt = People;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, _run: &Run, data: &Interactions) -> Result<People> {
        let mut people = People { params: self.clone(), histories: None };
        people.prepare(data);
        Ok(people)
    }

    fn restore(&self, learnt: &mut People, known: &Interactions) -> Result<()> {
        learnt.prepare(known);
        Ok(())
    }
}

impl Learnt for People {
    const SPARSE: bool = true;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let (n, Some(sides)) = (known.items().len(), &self.histories) else { return };
        let jaccard = self.params.similarity == Similarity::Jaccard;
        let mut shared = vec![0.0_f32; sides.users.n_rows()];
        let mut met: Vec<u32> = Vec::new();
        for (past, out) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let (items, weights) = as_row(past.history);
            let own = self.params.scale(&weights, self.params.source_power);
            for (item, weight) in items.iter().zip(&weights) {
                let (users, values) = sides.items.row(*item as usize);
                let meeting = if jaccard { 1.0 } else { weight * sides.meeting[*item as usize] };
                for (v, value) in users.iter().zip(values) {
                    if shared[*v as usize] == 0.0 {
                        met.push(*v);
                    }
                    shared[*v as usize] += if jaccard { 1.0 } else { meeting * value };
                }
            }
            let mut near: Vec<(u32, f32)> = met
                .drain(..)
                .map(|v| {
                    let c = std::mem::take(&mut shared[v as usize]);
                    let scale = sides.scale[v as usize];
                    let under = if jaccard { own + scale - c } else { own * scale };
                    (v, c / (under + self.params.shrink as f32))
                })
                .filter(|e| Some(e.0) != past.user)
                .collect();
            let by_nearness = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            if near.len() > self.params.k {
                near.select_nth_unstable_by(self.params.k - 1, by_nearness);
                near.truncate(self.params.k);
            }
            // Sums are added up in one order whatever the order of meeting.
            near.sort_unstable_by_key(|e| e.0);
            for (v, similarity) in near {
                let (items, values) = sides.users.row(v as usize);
                items.iter().zip(values).for_each(|(j, w)| out[*j as usize] += similarity * w);
            }
        }
    }

    /// The angle between the items' users.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let Some(sides) = &self.histories else { return };
        let length = |i: usize| sides.items.row(i).1.iter().map(|v| v * v).sum::<f32>().sqrt();
        let (users, values) = sides.items.row(item as usize);
        for (u, value) in users.iter().zip(values) {
            let (items, weights) = sides.users.row(*u as usize);
            items.iter().zip(weights).for_each(|(j, w)| out[*j as usize] += value * w);
        }
        let own = length(item as usize);
        for (i, out) in out.iter_mut().enumerate().filter(|(_, o)| **o > 0.0) {
            *out /= own * length(i);
        }
    }

    fn update(
        &mut self,
        _run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.prepare(known);
        Ok(())
    }
}
