//! What comes next: transitions between items that follow one another in histories.
//!
//! ```text
//! T_ij = Σ decay^(lag − 1) over all events of i followed by one of j, lag ≤ window steps later
//! score(j) = Σ_i history_decay^back_i × T_ij / (Σ_k T_ik + shrink) / (√n_j + 1)^target_power
//! ```
//!
//! over the last `history` steps, `back_i` of them before the last one; `n_j` is the number of events of `j`. With
//! `gap_half_life` a pair counts half when so much time lies between its events. `backward` counts the reverse
//! direction too, which is right where the order within a day is an accident. Events of equal `ds` are one step: they
//! follow one another both ways.
//!
//! It is the Markov chain of Rendle, Freudenthaler & Schmidt-Thieme (*Factorizing personalized Markov chains*, WWW
//! 2010) without factors, with skips (He, Kang & McAuley, *Translation-based recommendation*, RecSys 2017, compare it).

use crate::fitted::{Learnt, Model, build, load};
use crate::gram;
use crate::item_knn::{best_by_rows, entry, fits};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    History, Interactions, ItemSet, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "transitions",
    summary: "What follows the last items of a history in the histories of others.",
    summary_zh: "他人历史中紧随最近商品之后出现的商品（衰减转移）。",
    source: "Rendle, Freudenthaler & Schmidt-Thieme, Factorizing personalized Markov chains, WWW 2010 (the chain)",
    params: &[
        ParamSpec {
            name: "window",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "10",
            summary: "Steps after an event within which another follows it.",
        },
        ParamSpec {
            name: "decay",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.8",
            summary: "What a pair counts for each further step between its events.",
        },
        ParamSpec {
            name: "history",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "10",
            summary: "Last steps of a history that are looked at.",
        },
        ParamSpec {
            name: "history_decay",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.7",
            summary: "What an event counts for each step after it.",
        },
        ParamSpec {
            name: "gap_half_life",
            kind: ParamKind::Number { min: 0.0, max: 1e15 },
            default: "0",
            summary: "Time, in units of ds, between two events at which their pair counts half; 0: any.",
        },
        ParamSpec {
            name: "backward",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0",
            summary: "What a pair counts in the reverse direction.",
        },
        ParamSpec {
            name: "shrink",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "1",
            summary: "Added to what an item's transitions are divided by: rare items are less sure.",
        },
        ParamSpec {
            name: "target_power",
            kind: ParamKind::Number { min: 0.0, max: 4.0 },
            default: "0.3",
            summary: "How much popular items are held back.",
        },
    ],
    ordered: true,
    build: build::<Transitions>,
    load: load::<Transitions>,
};

/// Decayed transitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transitions {
    /// Steps after an event within which another follows it.
    pub window: usize,
    /// What a pair counts for each further step between its events.
    pub decay: f64,
    /// Last steps of a history that are looked at.
    pub history: usize,
    /// What an event counts for each step after it.
    pub history_decay: f64,
    /// Time, in units of `ds`, between two events at which their pair counts half; 0: any.
    pub gap_half_life: f64,
    /// What a pair counts in the reverse direction.
    pub backward: f64,
    /// Added to what an item's transitions are divided by.
    pub shrink: f64,
    /// How much popular items are held back.
    pub target_power: f64,
}

impl Default for Transitions {
    fn default() -> Self {
        Self {
            window: 10,
            decay: 0.8,
            history: 10,
            history_decay: 0.7,
            gap_half_life: 0.0,
            backward: 0.0,
            shrink: 1.0,
            target_power: 0.3,
        }
    }
}

/// The transitions of every item, divided as scores need them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chain {
    params: Transitions,
    transitions: SparseRows,
}

/// Pairs of one event at most, so that a step of thousands of events cannot take forever.
const PAIRS_MAX: usize = 2_000;

/// The step of every event: events of equal `ds` share one.
pub(crate) fn steps(ds: &[i64]) -> Vec<u32> {
    let mut step = 0;
    (0..ds.len())
        .map(|k| {
            step += u32::from(k > 0 && ds[k] != ds[k - 1]);
            step
        })
        .collect()
}

/// The last steps of a history, newest first: item, weight and how many steps lie behind it.
pub(crate) fn recent<'a>(
    history: History<'a>,
    steps_max: usize,
) -> impl Iterator<Item = (u32, f32, usize)> + 'a {
    let mut back = 0;
    let n = history.len();
    (0..n)
        .rev()
        .map(move |k| {
            back += usize::from(k + 1 < n && history.ds[k] != history.ds[k + 1]);
            (history.items[k], history.weights[k], back)
        })
        .take_while(move |e| e.2 < steps_max)
        .take(PAIRS_MAX)
}

impl Transitions {
    fn count(&self, run: &Run, data: &Interactions) -> Result<SparseRows> {
        let n = data.items().len();
        // Where each item's events are: user and place in the history.
        let mut places: Vec<Vec<(u32, u32)>> = vec![Vec::new(); n];
        let all_steps: Vec<Vec<u32>> = data.histories().map(|h| steps(h.ds)).collect();
        let mut events = vec![0_u32; n];
        for (u, history) in data.histories().enumerate() {
            for (k, item) in history.items.iter().enumerate() {
                events[*item as usize] += 1;
                if history.weights[k] > 0.0 {
                    places[*item as usize].push((u as u32, k as u32));
                }
            }
        }
        let by_lag: Vec<f64> = (0..=self.window).map(|l| self.decay.powi(l.saturating_sub(1) as i32)).collect();
        let hold: Vec<f64> =
            events.iter().map(|n| (f64::from(*n).sqrt() + 1.0).powf(-self.target_power)).collect();
        let rows: Vec<Vec<(u32, f32)>> = places
            .par_chunks(16)
            .map_init(
                || (vec![0.0_f64; n], Vec::<u32>::new()),
                |(sums, met), chunk| {
                    run.check()?;
                    Ok(chunk
                        .iter()
                        .map(|places| {
                            for (u, k) in places {
                                let (history, steps) = (data.history(*u), &all_steps[*u as usize]);
                                self.follow(history, steps, *k as usize, &by_lag, &mut |j, w| {
                                    if sums[j as usize] == 0.0 {
                                        met.push(j);
                                    }
                                    sums[j as usize] += w;
                                });
                            }
                            met.sort_unstable();
                            met.dedup();
                            let total: f64 = met.iter().map(|j| sums[*j as usize]).sum();
                            let over = 1.0 / (total + self.shrink);
                            met
                                .drain(..)
                                .map(|j| {
                                    let sum = std::mem::take(&mut sums[j as usize]);
                                    (j, (sum * over * hold[j as usize]) as f32)
                                })
                                .filter(|e| e.1 > 0.0)
                                .collect()
                        })
                        .collect::<Vec<Vec<(u32, f32)>>>())
                },
            )
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        Ok(gram::sparse(rows))
    }

    /// Hands over what follows event `k`, and with `backward` what it follows.
    fn follow(
        &self,
        history: History<'_>,
        steps: &[u32],
        k: usize,
        by_lag: &[f64],
        take: &mut impl FnMut(u32, f64),
    ) {
        let gap = |a: i64, b: i64| match self.gap_half_life > 0.0 {
            true => (-((b as f64 - a as f64).abs()) / self.gap_half_life).exp2(),
            false => 1.0,
        };
        let own = history.items[k];
        let after = (k + 1..history.len()).take(PAIRS_MAX);
        for q in after.take_while(|q| (steps[*q] - steps[k]) as usize <= self.window) {
            if history.items[q] != own && history.weights[q] > 0.0 {
                let lag = (steps[q] - steps[k]) as usize;
                take(history.items[q], by_lag[lag] * gap(history.ds[k], history.ds[q]));
            }
        }
        for q in (0..k).rev().take(PAIRS_MAX) {
            let lag = (steps[k] - steps[q]) as usize;
            if lag > self.window || (lag > 0 && self.backward == 0.0) {
                break;
            }
            if history.items[q] != own && history.weights[q] > 0.0 {
                let direction = if lag == 0 { 1.0 } else { self.backward };
                take(history.items[q], direction * by_lag[lag] * gap(history.ds[q], history.ds[k]));
            }
        }
    }
}

impl Model for Transitions {
    type Learnt = Chain;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Chain> {
        Ok(Chain { params: self.clone(), transitions: self.count(run, data)? })
    }

    fn restore(&self, learnt: &mut Chain, known: &Interactions) -> Result<()> {
        fits(&learnt.transitions, known)
    }
}

impl Learnt for Chain {
    const SPARSE: bool = true;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = self.transitions.n_rows();
        let decay: Vec<f32> =
            (0..self.params.history).map(|b| self.params.history_decay.powi(b as i32) as f32).collect();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            for (item, weight, back) in recent(past.history, self.params.history) {
                if weight > 0.0 {
                    let (columns, values) = self.transitions.row(item as usize);
                    let factor = decay[back];
                    columns.iter().zip(values).for_each(|(j, t)| row[*j as usize] += factor * t);
                }
            }
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let (columns, values) = self.transitions.row(item as usize);
        columns.iter().zip(values).for_each(|(j, t)| out[*j as usize] += t);
    }

    /// All transitions are counted anew, so that the answer is that of a new fit.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.transitions = self.params.count(run, known)?;
        Ok(())
    }

    fn contributions(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        let n = past.history.len();
        let mut out = vec![0.0; items.len() * n];
        for (row, item) in out.chunks_exact_mut(n.max(1)).zip(items) {
            let newest_first = recent(past.history, self.params.history);
            for (k, (from, weight, back)) in (0..n).rev().zip(newest_first) {
                if weight > 0.0 {
                    row[k] = self.params.history_decay.powi(back as i32) as f32
                        * entry(&self.transitions, from, *item);
                }
            }
        }
        out
    }

    fn top(
        &self,
        _known: &Interactions,
        past: &Past<'_>,
        n: usize,
        among: Option<&ItemSet>,
    ) -> Option<Vec<(u32, f32)>> {
        let decay = |back: usize| self.params.history_decay.powi(back as i32) as f32;
        let last = recent(past.history, self.params.history);
        let sources = last.filter(|e| e.1 > 0.0).map(|(item, _, back)| (item, decay(back)));
        Some(best_by_rows(sources, &self.transitions, n, among))
    }
}
