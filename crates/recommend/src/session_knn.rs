//! Neighbours of the moment: histories that share the last items, and what came after them there.
//!
//! ```text
//! s(v) = Σ_i history_decay^back_i × n_i^(−meeting_power) over the last `history` steps' items i that v has too
//! score(j) = Σ_v s(v) Σ_{j at q} decay^(|q − p| − 1), at most `window` steps from p, the place in v of the newest shared item
//! ```
//!
//! over the `k` nearest histories `v`; places before `p` count `backward` times as much. It is STAN (Garg, Gupta, Malhotra,
//! Vig & Shroff, *Sequence and time aware neighborhood for session-based recommendations*, SIGIR 2019) with the decay of the
//! place where a history is entered, and without that of the session's age. Nothing is fitted; every answer knows the
//! newest events.

use crate::fitted::{Learnt, Model, build, load};
use crate::transitions::{recent, steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "session_knn",
    summary: "What came next in the histories that share the last items.",
    summary_zh: "与最近商品相同的历史中接下来出现的商品（会话近邻）。",
    source: "Garg et al., Sequence and time aware neighborhood for session-based recommendations, SIGIR 2019",
    params: &[
        ParamSpec {
            name: "k",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "500",
            summary: "Histories that are asked.",
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
            name: "window",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "10",
            summary: "Steps from the shared item within which a neighbour's items count.",
        },
        ParamSpec {
            name: "decay",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.8",
            summary: "What a neighbour's item counts for each further step from the shared one.",
        },
        ParamSpec {
            name: "backward",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0",
            summary: "What items before the shared one count.",
        },
        ParamSpec {
            name: "meeting_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0.5",
            summary: "How much a meeting in a popular item counts less.",
        },
    ],
    ordered: true,
    build: build::<SessionKnn>,
    load: load::<SessionKnn>,
};

/// Neighbours of the moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionKnn {
    /// Histories that are asked.
    pub k: usize,
    /// Last steps of a history that are looked at.
    pub history: usize,
    /// What an event counts for each step after it.
    pub history_decay: f64,
    /// Steps from the shared item within which a neighbour's items count.
    pub window: usize,
    /// What a neighbour's item counts for each further step from the shared one.
    pub decay: f64,
    /// What items before the shared one count.
    pub backward: f64,
    /// How much a meeting in a popular item counts less.
    pub meeting_power: f64,
}

impl Default for SessionKnn {
    fn default() -> Self {
        Self {
            k: 500,
            history: 10,
            history_decay: 0.7,
            window: 10,
            decay: 0.8,
            backward: 0.0,
            meeting_power: 0.5,
        }
    }
}

/// Where each item's events are, made anew from what is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Moments {
    params: SessionKnn,
    /// Users and places of every item, by user and place.
    #[serde(skip)]
    places: Vec<Vec<(u32, u32)>>,
    #[serde(skip)]
    steps: Vec<Vec<u32>>,
}

impl Moments {
    fn prepare(&mut self, known: &Interactions) {
        self.places = vec![Vec::new(); known.items().len()];
        self.steps = known.histories().map(|h| steps(h.ds)).collect();
        for (u, history) in known.histories().enumerate() {
            for (k, item) in history.items.iter().enumerate().filter(|(k, _)| history.weights[*k] > 0.0) {
                self.places[*item as usize].push((u as u32, k as u32));
            }
        }
    }
}

impl Model for SessionKnn {
    type Learnt = Moments;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, _run: &Run, data: &Interactions) -> Result<Moments> {
        let mut out = Moments { params: self.clone(), places: vec![], steps: vec![] };
        out.prepare(data);
        Ok(out)
    }

    fn restore(&self, learnt: &mut Moments, known: &Interactions) -> Result<()> {
        learnt.prepare(known);
        Ok(())
    }
}

/// What one history shares with another.
#[derive(Clone, Copy)]
struct Near {
    user: u32,
    nearness: f32,
    /// The place of the newest shared item.
    place: u32,
}

impl Moments {
    /// The histories that share the last items, by user.
    fn near(&self, past: &Past<'_>, of_user: &mut [u32]) -> Vec<Near> {
        let mut met: Vec<Near> = Vec::new();
        for (item, weight, back) in recent(past.history, self.params.history) {
            let places = &self.places[item as usize];
            if weight <= 0.0 || places.is_empty() {
                continue;
            }
            let factor = self.params.history_decay.powi(back as i32)
                * (places.len() as f64).powf(-self.params.meeting_power);
            for (u, place) in places.iter().filter(|p| Some(p.0) != past.user) {
                // `of_user` holds places in `met` plus one. Newer items come first, so the place found first stays,
                // and of several places of one item the last.
                match of_user[*u as usize] {
                    0 => {
                        met.push(Near { user: *u, nearness: factor as f32, place: *place });
                        of_user[*u as usize] = met.len() as u32;
                    }
                    at => met[at as usize - 1].nearness += factor as f32,
                }
            }
        }
        met.iter().for_each(|n| of_user[n.user as usize] = 0);
        if met.len() > self.params.k {
            met.select_nth_unstable_by(self.params.k - 1, |a, b| {
                b.nearness.total_cmp(&a.nearness).then(a.user.cmp(&b.user))
            });
            met.truncate(self.params.k);
        }
        met.sort_unstable_by_key(|n| n.user);
        met
    }
}

impl Learnt for Moments {
    const SPARSE: bool = true;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        let window = self.params.window as u32;
        let by_lag: Vec<f32> =
            (0..=window).map(|l| self.params.decay.powi(l.saturating_sub(1) as i32) as f32).collect();
        let mut of_user = vec![0; known.users().len()];
        for (past, out) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            for near in self.near(past, &mut of_user) {
                let (history, steps) = (known.history(near.user), &self.steps[near.user as usize]);
                let (place, step) = (near.place as usize, steps[near.place as usize]);
                for q in place + 1..history.len() {
                    let lag = steps[q] - step;
                    if lag > window {
                        break;
                    }
                    if history.weights[q] > 0.0 {
                        out[history.items[q] as usize] += near.nearness * by_lag[lag as usize];
                    }
                }
                for q in (0..place).rev() {
                    let lag = step - steps[q];
                    if lag > window || (lag > 0 && self.params.backward == 0.0) {
                        break;
                    }
                    if history.weights[q] > 0.0 {
                        let direction = if lag == 0 { 1.0 } else { self.params.backward as f32 };
                        out[history.items[q] as usize] += direction * near.nearness * by_lag[lag as usize];
                    }
                }
            }
        }
    }

    /// What comes after the item alone.
    fn similar(&self, known: &Interactions, item: u32, out: &mut [f32]) {
        let history = tradewind_core::History { items: &[item], ds: &[0], weights: &[1.0], events: &[0] };
        self.score(known, &[Past { user: None, history }], out);
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
