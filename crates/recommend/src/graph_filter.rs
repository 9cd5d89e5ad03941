//! A filter on the graph of users and items, without training (GF-CF).
//!
//! With `R̃_ui = r_ui / √(d_u d_i)` and `Ū` its leading `factors` directions on the side of items,
//!
//! ```text
//! score = x (S + alpha × D^(−½) Ū Ūᵀ D^(½)),   S = R̃ᵀ R̃, of which each row keeps its `k` largest places
//! ```
//!
//! for the row `x` of weights of a history: what light graph convolution over one step does, and over endlessly many
//! (Shen et al., *How powerful is graph convolution for recommendation?*, CIKM 2021). The directions come from randomised
//! subspace iteration instead of a full decomposition. `popularity_power` is the power of `D` at the target in the second
//! part, ½ in the paper.

use crate::fitted::{Learnt, Model, build, load};
use crate::gram;
use crate::ials::as_row;
use crate::item_knn::fits;
use crate::spectral::{Leading, leading, orthonormalise, over_root};
use crate::top::keep_largest;
use crate::wide::{Panels, add_scaled};
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "graph_filter",
    summary: "A low-pass filter on the graph of users and items, without training (GF-CF).",
    summary_zh: "用户—商品图上的低通滤波推荐，无需训练（GF-CF）。",
    source: "Shen et al., How powerful is graph convolution for recommendation?, CIKM 2021",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "64",
            summary: "Leading directions that pass the filter.",
        },
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.0, max: 100.0 },
            default: "1",
            summary: "What the leading directions count beside the nearest neighbours.",
        },
        ParamSpec {
            name: "popularity_power",
            kind: ParamKind::Number { min: -2.0, max: 2.0 },
            default: "0.5",
            summary: "How much the leading directions favour popular items.",
        },
        ParamSpec {
            name: "k",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "1000",
            summary: "Neighbours that each item keeps.",
        },
    ],
    ordered: false,
    build: build::<GraphFilter>,
    load: load::<GraphFilter>,
};

/// The graph filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphFilter {
    /// Leading directions that pass the filter.
    pub factors: usize,
    /// What the leading directions count beside the nearest neighbours.
    pub alpha: f64,
    /// How much the leading directions favour popular items.
    pub popularity_power: f64,
    /// Neighbours that each item keeps.
    pub k: usize,
}

impl Default for GraphFilter {
    fn default() -> Self {
        Self { factors: 64, alpha: 1.0, popularity_power: 0.5, k: 1000 }
    }
}

/// Neighbours and directions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Filter {
    params: GraphFilter,
    neighbours: SparseRows,
    width: usize,
    /// `Ū`, item after item.
    #[serde(with = "tradewind_core::packed")]
    directions: Vec<f32>,
    /// `d_i`.
    #[serde(with = "tradewind_core::packed")]
    sums: Vec<f32>,
    /// From the directions: `alpha d^popularity_power Ū`.
    #[serde(skip)]
    panels: Panels,
    #[serde(skip)]
    of_sources: Vec<f32>,
}

/// Products that lead to the directions.
const TURNS: usize = 9;

impl GraphFilter {
    fn filter(&self, run: &Run, data: &Interactions) -> Result<Filter> {
        let users = data.matrix();
        let items = users.transposed();
        let Leading { width, items: mut directions, item_sums: sums } =
            leading(run, &users, &items, self.factors, TURNS)?;
        orthonormalise(&mut directions, width);
        let user_weight: Vec<f32> = (0..users.n_rows())
            .map(|u| 1.0 / users.row(u).1.iter().sum::<f32>().max(f32::MIN_POSITIVE))
            .collect();
        let over = over_root(&sums);
        let lists = gram::rows(run, &users, &items, Some(&user_weight), |i, products, met| {
            let mut kept: Vec<(u32, f32)> = met
                .iter()
                .map(|j| (*j, products[*j as usize] * over[i as usize] * over[*j as usize]))
                .filter(|e| e.1 > 0.0)
                .collect();
            keep_largest(&mut kept, self.k);
            kept.sort_unstable_by_key(|e| e.0);
            kept
        })?;
        let neighbours = gram::sparse(lists);
        let params = self.clone();
        let mut out =
            Filter { params, neighbours, width, directions, sums, panels: Panels::default(), of_sources: vec![] };
        out.prepare();
        Ok(out)
    }
}

impl Filter {
    fn prepare(&mut self) {
        self.of_sources = over_root(&self.sums);
        let mut scaled = self.directions.clone();
        let (alpha, power) = (self.params.alpha as f32, self.params.popularity_power as f32);
        for (row, sum) in scaled.chunks_exact_mut(self.width).zip(&self.sums) {
            let factor = if *sum > 0.0 { alpha * sum.powf(power) } else { 0.0 };
            row.iter_mut().for_each(|v| *v *= factor);
        }
        self.panels = Panels::new(&scaled, self.width);
    }

    fn add(&self, sources: &[(u32, f32)], row: &mut [f32]) {
        let mut x = vec![0.0; self.width];
        for (i, weight) in sources {
            let at = *i as usize * self.width;
            add_scaled(&mut x, weight * self.of_sources[*i as usize], &self.directions[at..at + self.width]);
        }
        let mut smooth = vec![0.0; row.len()];
        self.panels.products(&x, &mut smooth);
        row.iter_mut().zip(smooth).for_each(|(r, s)| *r += s);
        for (i, weight) in sources {
            let (columns, values) = self.neighbours.row(*i as usize);
            columns.iter().zip(values).for_each(|(j, s)| row[*j as usize] += weight * s);
        }
    }
}

impl Model for GraphFilter {
    type Learnt = Filter;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Filter> {
        self.filter(run, data)
    }

    fn restore(&self, learnt: &mut Filter, known: &Interactions) -> Result<()> {
        fits(&learnt.neighbours, known)?;
        let n = known.items().len();
        if learnt.sums.len() != n || learnt.width == 0 || learnt.directions.len() != n * learnt.width {
            return Err(Error::Invalid("saved directions do not fit their items".into()));
        }
        learnt.prepare();
        Ok(())
    }
}

impl Learnt for Filter {
    const SPARSE: bool = false;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let (items, weights) = as_row(past.history);
            let sources: Vec<(u32, f32)> = items.into_iter().zip(weights).collect();
            self.add(&sources, row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        self.add(&[(item, 1.0)], out);
    }

    /// The filter is made anew, so that the answer is that of a new fit.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        *self = self.params.filter(run, known)?;
        Ok(())
    }
}
