//! EASE^R: the linear model that foretells each item from all others.
//!
//! `B = argmin |X − X B|² + λ |B|²` with a zero diagonal. With `P = (XᵀX + λ I)⁻¹` the answer is
//! `B_ij = −P_ij / P_jj` (Steck, *Embarrassingly shallow autoencoders for sparse data*, WWW 2019). `score = x B` for the
//! row `x` of weights of the history.
//!
//! The inverse takes 4 bytes × items² three times over, and time with items³; so only the `items_max` most popular
//! items take part, and the others are without an opinion.

use crate::fitted::{Learnt, Model, build, load};
use crate::gram;
use crate::ials::as_row;
use crate::wide::add_scaled;
use faer::linalg::solvers::{DenseSolveCore, Llt};
use faer::{Mat, MatRef, Side};
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};
use tradewind_learn::faer_call::faer_call;

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "ease",
    summary: "The linear model that foretells each item from all others (EASE^R).",
    summary_zh: "用其他所有商品线性预测每个商品（EASE^R）。",
    source: "Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019",
    params: &[
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 1e-3, max: 1e9 },
            default: "500",
            summary: "Penalty on the squares of the links.",
        },
        ITEMS_MAX,
    ],
    ordered: false,
    build: build::<Ease>,
    load: load::<Ease>,
};

/// The parameter that bounds squares of items.
pub(crate) const ITEMS_MAX: ParamSpec = ParamSpec {
    name: "items_max",
    kind: ParamKind::Integer { min: 1, max: 60_000 },
    default: "20000",
    summary: "Only so many of the most popular items take part; memory grows with the square, time with the cube.",
};

/// The linear model of all items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ease {
    /// Penalty on the squares of the links.
    pub regularization: f64,
    /// Only so many of the most popular items take part.
    pub items_max: usize,
}

impl Default for Ease {
    fn default() -> Self {
        Self { regularization: 500.0, items_max: 20_000 }
    }
}

/// Links between some of the items.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Links {
    n_items: usize,
    /// The items that take part, ascending.
    #[serde(with = "tradewind_core::packed")]
    taking_part: Vec<u32>,
    /// Source after source, one number a target.
    #[serde(with = "tradewind_core::packed")]
    links: Vec<f32>,
}

/// The most popular items, ascending, and the rows of `users` over them.
pub(crate) fn most_popular(users: &SparseRows, items_max: usize) -> (Vec<u32>, SparseRows) {
    let counts = users.column_counts();
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_by_key(|i| std::cmp::Reverse(counts[*i as usize]));
    order.truncate(items_max);
    order.sort_unstable();
    if order.len() == users.n_columns() {
        return (order, users.clone());
    }
    let place = places(&order, users.n_columns());
    let mut out = SparseRows::with_capacity(order.len(), users.n_rows(), users.n_values());
    for r in 0..users.n_rows() {
        let (columns, values) = users.row(r);
        let kept = columns.iter().zip(values).map(|(c, v)| (place[*c as usize], *v));
        out.push(kept.filter(|e| e.0 != u32::MAX));
    }
    (order, out)
}

/// For every item its place among those that take part; `u32::MAX` where it does not.
pub(crate) fn places(taking_part: &[u32], n_items: usize) -> Vec<u32> {
    let mut place = vec![u32::MAX; n_items];
    taking_part.iter().enumerate().for_each(|(p, i)| place[*i as usize] = p as u32);
    place
}

/// The inverse of the symmetric square after `penalty` was added to its diagonal; more is added where the numbers of the
/// square are so large that single precision would not see the penalty.
pub(crate) fn inverse(mut square: Vec<f32>, n: usize, penalty: f32) -> Result<Mat<f32>> {
    let largest = (0..n).map(|i| square[i * n + i]).fold(0.0, f32::max);
    let penalty = penalty.max(1e-5 * largest);
    (0..n).for_each(|i| square[i * n + i] += penalty);
    let factor = faer_call(|| Llt::new(MatRef::from_column_major_slice(&square, n, n), Side::Lower));
    drop(square);
    let factor = factor.map_err(|_| {
        Error::Invalid("the links cannot be solved for; a larger `regularization` makes it possible".into())
    })?;
    Ok(faer_call(|| factor.inverse()))
}

impl Model for Ease {
    type Learnt = Links;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Links> {
        let (taking_part, users) = most_popular(&data.matrix(), self.items_max);
        let n = taking_part.len();
        let square = gram::square(run, &users, &users.transposed(), None)?;
        let p = inverse(square, n, self.regularization as f32)?;
        let over: Vec<f32> = (0..n).map(|j| -1.0 / p[(j, j)]).collect();
        let mut links = Vec::with_capacity(n * n);
        for i in 0..n {
            run.check()?;
            // P is symmetric: its column i, which lies in one piece, is its row.
            let column = p.col_as_slice(i);
            links.extend(column.iter().zip(&over).map(|(p, over)| p * over));
            links[i * n + i] = 0.0;
        }
        Ok(Links { n_items: data.items().len(), taking_part, links })
    }

    fn restore(&self, learnt: &mut Links, known: &Interactions) -> Result<()> {
        learnt.check(known)
    }
}

impl Links {
    pub(crate) fn new(n_items: usize, taking_part: Vec<u32>, links: Vec<f32>) -> Self {
        Self { n_items, taking_part, links }
    }

    /// An error where saved links are not those of these items.
    pub(crate) fn check(&self, known: &Interactions) -> Result<()> {
        let n = self.taking_part.len();
        let fits = self.n_items <= known.items().len()
            && self.links.len() == n * n
            && self.taking_part.windows(2).all(|w| w[0] < w[1])
            && self.taking_part.last().is_none_or(|i| (*i as usize) < self.n_items);
        match fits {
            true => Ok(()),
            false => Err(Error::Invalid("saved links do not fit their items".into())),
        }
    }

    /// The links of a source, when it takes part.
    fn of(&self, item: u32) -> Option<&[f32]> {
        let n = self.taking_part.len();
        let place = self.taking_part.binary_search(&item).ok()?;
        Some(&self.links[place * n..(place + 1) * n])
    }

    /// Adds the weighted links of some sources to the scores of all items.
    pub(crate) fn add(&self, sources: impl Iterator<Item = (u32, f32)>, out: &mut [f32]) {
        if self.taking_part.len() == out.len() {
            for (item, weight) in sources {
                if let Some(links) = self.of(item) {
                    add_scaled(out, weight, links);
                }
            }
            return;
        }
        let mut sums = vec![0.0; self.taking_part.len()];
        for (item, weight) in sources {
            if let Some(links) = self.of(item) {
                add_scaled(&mut sums, weight, links);
            }
        }
        self.taking_part.iter().zip(sums).for_each(|(i, s)| out[*i as usize] += s);
    }
}

impl Learnt for Links {
    const SPARSE: bool = false;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let (items, weights) = as_row(past.history);
            self.add(items.into_iter().zip(weights), row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        self.add(std::iter::once((item, 1.0)), out);
    }

    /// The links stay until the next fit; the answers follow the newer histories at once.
    fn update(
        &mut self,
        _run: &Run,
        _known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        Ok(())
    }

    fn contributions(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        let history = past.history;
        let place = |item: &u32| self.taking_part.binary_search(item).ok();
        let link = |from: &u32, to: Option<usize>| to.zip(self.of(*from)).map_or(0.0, |(to, links)| links[to]);
        let row = |to| history.items.iter().zip(history.weights).map(move |(i, w)| w * link(i, to));
        items.iter().flat_map(|j| row(place(j))).collect()
    }
}
