//! SLIT: the linear model that foretells the next item from the last ones.
//!
//! Every place of every history is a case: the last `window` items with weights `decay^back` (`s`), and the item that
//! came next (`t`). `B = (SᵀS + λ I)⁻¹ SᵀT` is ridge regression of the next on the last ones; `score = s B` with the
//! last items of a history, divided by `n_j^target_power`. Unlike transitions it tells apart what an item brings by itself
//! from what its companions bring (Choi, Kim, Lee, Shim & Lee, *Session-aware linear item-item models for
//! session-based recommendation*, WWW 2021).
//!
//! `SᵀS` is summed without writing `S`: the pair of places `p ≤ q` stands in all windows that hold both, and their
//! weights are a geometric sum.

use crate::ease::{ITEMS_MAX, Links, inverse, most_popular, places};
use crate::fitted::{Learnt, Model, build, load};
use crate::ties::InOrder;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run};
use tradewind_learn::faer_call::faer_call;

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "slit",
    summary: "The linear model that foretells the next item from the last ones.",
    summary_zh: "用最近的商品线性预测下一个商品（SLIT）。",
    source: "Choi et al., Session-aware linear item-item models for session-based recommendation, WWW 2021",
    params: &[
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 1e-3, max: 1e9 },
            default: "300",
            summary: "Penalty on the squares of the links.",
        },
        ParamSpec {
            name: "window",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "10",
            summary: "Last items that are looked at.",
        },
        ParamSpec {
            name: "decay",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.8",
            summary: "What an item counts for each one after it.",
        },
        ParamSpec {
            name: "target_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0",
            summary: "How much popular items are held back.",
        },
        ITEMS_MAX,
    ],
    ordered: true,
    build: build::<Slit>,
    load: load::<Slit>,
};

/// The linear model of the next item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slit {
    /// Penalty on the squares of the links.
    pub regularization: f64,
    /// Last items that are looked at.
    pub window: usize,
    /// What an item counts for each one after it.
    pub decay: f64,
    /// How much popular items are held back.
    pub target_power: f64,
    /// Only so many of the most popular items take part.
    pub items_max: usize,
}

impl Default for Slit {
    fn default() -> Self {
        Self { regularization: 300.0, window: 10, decay: 0.8, target_power: 0.0, items_max: 20_000 }
    }
}

/// Links from the last items to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NextLinks {
    params: Slit,
    links: Links,
}

impl Slit {
    /// `SᵀS` and `SᵀT` over the items that take part, column after column.
    fn sums(&self, run: &Run, data: &Interactions, place: &[u32], n: usize) -> (Vec<f32>, Vec<f32>) {
        let (mut squares, mut next) = (vec![0.0_f32; n * n], vec![0.0_f32; n * n]);
        let power: Vec<f32> = (0..=self.window).map(|l| self.decay.powi(l as i32) as f32).collect();
        // series[m] = Σ_{s<m} decay^(2 s)
        let series: Vec<f32> = (0..=self.window)
            .map(|m| (0..m).map(|s| self.decay.powi(2 * s as i32)).sum::<f64>() as f32)
            .collect();
        let mut items: Vec<usize> = Vec::new();
        let mut rng = run.rng(76);
        for history in data.histories() {
            let mut told = InOrder::of(history);
            told.shuffle(&mut rng);
            items.clear();
            let places = told.items.iter().map(|i| place[*i as usize]);
            items.extend(places.filter(|p| *p != u32::MAX).map(|p| p as usize));
            // The last item has no next one and is in no window.
            let cases = items.len().saturating_sub(1);
            for q in 0..cases {
                for p in (q + 1).saturating_sub(self.window)..=q {
                    // Windows that hold both end at q or later, at most `window` items behind p.
                    let lag = q - p;
                    let windows = (self.window - lag).min(cases - q);
                    let sum = power[lag] * series[windows];
                    squares[items[p] * n + items[q]] += sum;
                    if p != q {
                        squares[items[q] * n + items[p]] += sum;
                    }
                    next[items[q + 1] * n + items[p]] += power[lag];
                }
            }
        }
        (squares, next)
    }
}

impl Model for Slit {
    type Learnt = NextLinks;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<NextLinks> {
        let users = data.matrix();
        let counts = users.column_counts();
        let (taking_part, _) = most_popular(&users, self.items_max);
        drop(users);
        let n = taking_part.len();
        let (squares, next) = self.sums(run, data, &places(&taking_part, data.items().len()), n);
        run.check()?;
        let p = inverse(squares, n, self.regularization as f32)?;
        run.check()?;
        // Row after row of B is column after column of its transpose: nextᵀ P.
        let next = Mat::from_fn(n, n, |i, j| next[j * n + i]);
        let mut b = Mat::<f32>::zeros(n, n);
        faer_call(|| matmul(&mut b, Accum::Replace, next.transpose(), &p, 1.0, Par::Seq));
        let hold: Vec<f32> = taking_part
            .iter()
            .map(|i| (counts[*i as usize] as f32 + 1.0).powf(-self.target_power as f32))
            .collect();
        let mut links = Vec::with_capacity(n * n);
        for i in 0..n {
            links.extend(b.col_as_slice(i).iter().zip(&hold).map(|(b, h)| b * h));
        }
        Ok(NextLinks { params: self.clone(), links: Links::new(data.items().len(), taking_part, links) })
    }

    fn restore(&self, learnt: &mut NextLinks, known: &Interactions) -> Result<()> {
        learnt.links.check(known)
    }
}

impl Learnt for NextLinks {
    const SPARSE: bool = false;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let history = past.history;
            let last = (0..history.len()).rev().filter(|k| history.weights[*k] > 0.0).take(self.params.window);
            let sources =
                last.enumerate().map(|(back, k)| (history.items[k], self.params.decay.powi(back as i32) as f32));
            self.links.add(sources, row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        self.links.add(std::iter::once((item, 1.0)), out);
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
}
