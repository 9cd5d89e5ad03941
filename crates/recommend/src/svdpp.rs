//! SVD++: factors for ratings, in which what somebody rated tells of the taste as well as how.
//!
//! ```text
//! r̂_ui = μ + b_u + b_i + q_i · (p_u + |N_u|^(−½) Σ_{j ∈ N_u} y_j)
//! ```
//!
//! with `N_u` the items that the user has rated; learnt by gradient steps on `(r − r̂)² + regularization × (b_u² + b_i² +
//! |q_i|² + |p_u|² + Σ_j |y_j|²)` of one rating after the other (Koren, *Factorization meets the neighborhood: a
//! multifaceted collaborative filtering model*, KDD 2008). The weights of events are the ratings, and scores are
//! predicted ratings; [`evaluate::ratings`](crate::evaluate::ratings) measures them.
//!
//! A step for one rating moves every `y_j` of the user in the same way, so the steps of all of a user's ratings are taken
//! on their sum and handed to the `y_j` at the end: the same numbers, but for rounding, in a time that grows with the
//! number of ratings and not with its square. Steps follow one another, on one thread; their order is drawn from the
//! seed.

use crate::fitted::{Learnt, Model, build, load};
use crate::wide::{LANES, Panels, add_scaled, dot};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, History, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "svdpp",
    summary: "Predicted ratings by factors of users, of items and of what was rated (SVD++).",
    summary_zh: "评分预测：结合隐式反馈的矩阵分解（SVD++）。",
    source: "Koren, Factorization meets the neighborhood, KDD 2008",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "20",
            summary: "Numbers in each vector.",
        },
        ParamSpec {
            name: "learning_rate",
            kind: ParamKind::Number { min: 1e-6, max: 1.0 },
            default: "0.007",
            summary: "Length of the steps.",
        },
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 0.0, max: 10.0 },
            default: "0.02",
            summary: "Penalty on the squares of all numbers.",
        },
        ParamSpec {
            name: "iterations",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "20",
            summary: "Rounds over all ratings.",
        },
    ],
    ordered: false,
    build: build::<SvdPp>,
    load: load::<SvdPp>,
};

/// Factors for ratings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SvdPp {
    /// Numbers in each vector.
    pub factors: usize,
    /// Length of the steps.
    pub learning_rate: f64,
    /// Penalty on the squares of all numbers.
    pub regularization: f64,
    /// Rounds over all ratings.
    pub iterations: usize,
}

impl Default for SvdPp {
    fn default() -> Self {
        Self { factors: 20, learning_rate: 0.007, regularization: 0.02, iterations: 20 }
    }
}

/// Steps beyond which numbers are taken for runaways: a residual is cut to so many units of the ratings' range.
const RESIDUAL_MAX: f32 = 4.0;
/// Rounds over a history when only its user's numbers are sought.
const FOLD_ROUNDS: usize = 20;

/// Everything that predicts a rating.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratings {
    params: SvdPp,
    width: usize,
    /// Mean of the ratings and their standard deviation, in which everything else is measured.
    mean: f32,
    unit: f32,
    #[serde(with = "tradewind_core::packed")]
    user_bias: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    item_bias: Vec<f32>,
    /// `p`, user after user.
    #[serde(with = "tradewind_core::packed")]
    users: Vec<f32>,
    /// `q`, item after item.
    #[serde(with = "tradewind_core::packed")]
    items: Vec<f32>,
    /// `y`, item after item.
    #[serde(with = "tradewind_core::packed")]
    rated: Vec<f32>,
    #[serde(skip)]
    panels: Panels,
}

/// One user's numbers while steps are taken.
struct Own {
    bias: f32,
    /// `p_u`.
    vector: Vec<f32>,
    /// `|N|^(−½) Σ y_j`.
    rated: Vec<f32>,
    /// What each `y_j` gets at the end, and what is left of it.
    gain: Vec<f32>,
    kept: f32,
    taste: Vec<f32>,
}

impl Ratings {
    fn own(&self, user: Option<usize>, history: History<'_>) -> Own {
        let width = self.width;
        let mut rated = vec![0.0; width];
        let share = 1.0 / (history.len().max(1) as f32).sqrt();
        for j in history.items {
            add_scaled(&mut rated, share, &self.rated[*j as usize * width..(*j as usize + 1) * width]);
        }
        Own {
            bias: user.map_or(0.0, |u| self.user_bias[u]),
            vector: user.map_or_else(|| vec![0.0; width], |u| self.users[u * width..(u + 1) * width].to_vec()),
            rated,
            gain: vec![0.0; width],
            kept: 1.0,
            taste: vec![0.0; width],
        }
    }

    /// The step of one rating; items stay as they are where only the user's numbers are sought.
    fn step(&mut self, own: &mut Own, item: usize, rating: f32, n: usize, items_too: bool) {
        let width = self.width;
        let (rate, penalty) = (self.params.learning_rate as f32, self.params.regularization as f32);
        let q = &mut self.items[item * width..(item + 1) * width];
        own.taste.iter_mut().zip(&own.vector).zip(&own.rated).for_each(|((t, p), z)| *t = p + z);
        let predicted = own.bias + self.item_bias[item] + dot(q, &own.taste);
        let residual = ((rating - self.mean) / self.unit - predicted).clamp(-RESIDUAL_MAX, RESIDUAL_MAX);
        own.bias += rate * (residual - penalty * own.bias);
        if items_too {
            self.item_bias[item] += rate * (residual - penalty * self.item_bias[item]);
        }
        let share = 1.0 / (n as f32).sqrt();
        let fade = 1.0 - rate * penalty;
        for k in 0..width {
            let (before, step) = (q[k], rate * residual * q[k]);
            if items_too {
                q[k] += rate * (residual * own.taste[k] - penalty * before);
                own.rated[k] = own.rated[k] * fade + step;
                own.gain[k] = own.gain[k] * fade + step * share;
            }
            own.vector[k] = own.vector[k] * fade + step;
        }
        own.kept *= fade;
    }

    /// Hands what the steps did to the user's numbers and to the `y_j`.
    fn settle(&mut self, own: &Own, user: usize, history: History<'_>) {
        let width = self.width;
        self.user_bias[user] = own.bias;
        self.users[user * width..(user + 1) * width].copy_from_slice(&own.vector);
        for j in history.items {
            let y = &mut self.rated[*j as usize * width..(*j as usize + 1) * width];
            y.iter_mut().zip(&own.gain).for_each(|(y, g)| *y = *y * own.kept + g);
        }
    }

    /// The numbers of someone with this history, all else given.
    fn fold(&mut self, history: History<'_>) -> Own {
        let mut own = self.own(None, history);
        for _ in 0..FOLD_ROUNDS {
            for (item, rating) in history.items.iter().zip(history.weights) {
                self.step(&mut own, *item as usize, *rating, history.len(), false);
            }
        }
        own
    }

    fn prepare(&mut self) {
        self.panels = Panels::new(&self.items, self.width);
    }
}

impl SvdPp {
    fn fit(&self, run: &Run, data: &Interactions) -> Result<Ratings> {
        let width = self.factors.div_ceil(LANES) * LANES;
        let (n_users, n_items) = (data.users().len(), data.items().len());
        let n = data.len().max(1) as f64;
        let all = || data.histories().flat_map(|h| h.weights.iter().map(|w| f64::from(*w)));
        let mean = all().sum::<f64>() / n;
        let variance = all().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
        let mut rng = run.rng(41);
        // As wide as normal numbers of 0.1, which is where the usual rates of learning come from.
        let mut drawn = |rows: usize| {
            let mut out = vec![0.0; rows * width];
            for row in out.chunks_exact_mut(width) {
                row[..self.factors].iter_mut().for_each(|v| *v = rng.random_range(-0.173_f32..0.173));
            }
            out
        };
        let mut out = Ratings {
            params: self.clone(),
            width,
            mean: mean as f32,
            unit: if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 },
            user_bias: vec![0.0; n_users],
            item_bias: vec![0.0; n_items],
            users: drawn(n_users),
            items: drawn(n_items),
            rated: drawn(n_items),
            panels: Panels::default(),
        };
        let mut order: Vec<usize> = (0..n_users).collect();
        let mut places = Vec::new();
        run.progress().begin(ENTRY.name, self.iterations as u64);
        for _ in 0..self.iterations {
            order.shuffle(&mut rng);
            for (k, u) in order.iter().enumerate() {
                if k % 256 == 0 {
                    run.check()?;
                }
                let history = data.history(*u as u32);
                if history.is_empty() {
                    continue;
                }
                places.clear();
                places.extend(0..history.len());
                places.shuffle(&mut rng);
                let mut own = out.own(Some(*u), history);
                for p in &places {
                    let (item, rating) = (history.items[*p] as usize, history.weights[*p]);
                    out.step(&mut own, item, rating, history.len(), true);
                }
                out.settle(&own, *u, history);
            }
            run.progress().advance(1);
        }
        run.progress().end();
        out.prepare();
        Ok(out)
    }
}

impl Model for SvdPp {
    type Learnt = Ratings;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Ratings> {
        self.fit(run, data)
    }

    fn restore(&self, learnt: &mut Ratings, known: &Interactions) -> Result<()> {
        let width = self.factors.div_ceil(LANES) * LANES;
        let (n_users, n_items) = (known.users().len(), known.items().len());
        let fits = learnt.width == width
            && learnt.user_bias.len() == n_users
            && learnt.item_bias.len() == n_items
            && learnt.users.len() == n_users * width
            && learnt.items.len() == n_items * width
            && learnt.rated.len() == n_items * width;
        if !fits {
            return Err(Error::Invalid("saved factors do not fit their users and items".into()));
        }
        learnt.prepare();
        Ok(())
    }
}

impl Learnt for Ratings {
    const SPARSE: bool = false;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = self.item_bias.len();
        let mut tastes = vec![0.0; pasts.len() * self.width];
        let mut biases = vec![0.0; pasts.len()];
        let mut stranger: Option<Self> = None;
        for (k, past) in pasts.iter().enumerate().filter(|e| !e.1.history.is_empty()) {
            let own = match past.user {
                Some(u) => self.own(Some(u as usize), past.history),
                None => stranger.get_or_insert_with(|| self.clone()).fold(past.history),
            };
            biases[k] = own.bias;
            let taste = &mut tastes[k * self.width..(k + 1) * self.width];
            taste.iter_mut().zip(&own.vector).zip(&own.rated).for_each(|((t, p), z)| *t = p + z);
        }
        self.panels.products(&tastes, out);
        for ((past, bias), row) in pasts.iter().zip(biases).zip(out.chunks_exact_mut(n.max(1))) {
            if !past.history.is_empty() {
                let biases = row.iter_mut().zip(&self.item_bias);
                biases.for_each(|(s, b)| *s = self.mean + self.unit * (*s + bias + b));
            }
        }
    }

    /// The angle between the vectors.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        let of = |i: usize| &self.items[i * self.width..(i + 1) * self.width];
        let own = of(item as usize);
        for (i, out) in out.iter_mut().enumerate() {
            let lengths = (dot(own, own) * dot(of(i), of(i))).sqrt();
            *out = if lengths > 0.0 { dot(own, of(i)) / lengths } else { 0.0 };
        }
    }

    /// Users of the newer ratings are found anew given the items; new items are as the mean until the next fit.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        users: &[u32],
    ) -> Result<()> {
        let (n_users, n_items) = (known.users().len(), known.items().len());
        self.user_bias.resize(n_users, 0.0);
        self.users.resize(n_users * self.width, 0.0);
        self.item_bias.resize(n_items, 0.0);
        self.items.resize(n_items * self.width, 0.0);
        self.rated.resize(n_items * self.width, 0.0);
        for u in users {
            run.check()?;
            let own = self.fold(known.history(*u));
            self.user_bias[*u as usize] = own.bias;
            let at = *u as usize * self.width;
            self.users[at..at + self.width].copy_from_slice(&own.vector);
        }
        self.prepare();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::{EventSettings, Interaction};

    /// The steps of the paper, each `y_j` moved at every rating, in double precision.
    fn plainly(start: &Ratings, user: usize, history: History<'_>) -> (Vec<f64>, Vec<f64>, Vec<f64>, f64) {
        let f = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let w = start.width;
        let (mut p, mut q, mut y) =
            (f(&start.users[user * w..(user + 1) * w]), f(&start.items), f(&start.rated));
        let (mut b, mut bi) = (f64::from(start.user_bias[user]), f(&start.item_bias));
        let (rate, penalty) = (start.params.learning_rate, start.params.regularization);
        let share = 1.0 / (history.len() as f64).sqrt();
        for (i, r) in history.items.iter().zip(history.weights) {
            let i = *i as usize;
            let z: Vec<f64> =
                (0..w).map(|k| share * history.items.iter().map(|j| y[*j as usize * w + k]).sum::<f64>()).collect();
            let product: f64 = (0..w).map(|k| q[i * w + k] * (p[k] + z[k])).sum();
            let e = (f64::from(*r) - f64::from(start.mean)) / f64::from(start.unit) - b - bi[i] - product;
            b += rate * (e - penalty * b);
            bi[i] += rate * (e - penalty * bi[i]);
            for k in 0..w {
                let before = q[i * w + k];
                q[i * w + k] += rate * (e * (p[k] + z[k]) - penalty * before);
                p[k] += rate * (e * before - penalty * p[k]);
                for j in history.items {
                    let y = &mut y[*j as usize * w + k];
                    *y += rate * (e * share * before - penalty * *y);
                }
            }
        }
        (p, q, y, b)
    }

    #[test]
    fn steps_on_the_sum_are_the_steps_on_each() {
        let names: Vec<String> = (0..12).map(|i| format!("i{i:02}")).collect();
        let rows = (0..12).map(|i| Interaction {
            weight: 1.0 + f64::from(i * 7 % 5),
            ..Interaction::plain("u", &names[i as usize], i64::from(i))
        });
        let data = Interactions::build(rows, &EventSettings::default()).expect("plain rows");
        let params = SvdPp { learning_rate: 0.05, regularization: 0.1, iterations: 1, factors: 5 };
        let start = params.fit(&Run::new(3), &data).expect("not cancelled");
        let history = data.history(0);
        let mut fast = start.clone();
        let mut own = fast.own(Some(0), history);
        for (i, r) in history.items.iter().zip(history.weights) {
            fast.step(&mut own, *i as usize, *r, history.len(), true);
        }
        fast.settle(&own, 0, history);
        let (p, q, y, b) = plainly(&start, 0, history);
        let close = |got: &[f32], expected: &[f64]| {
            got.iter().zip(expected).for_each(|(g, e)| assert!((f64::from(*g) - e).abs() < 2e-6, "{g}, not {e}"));
        };
        close(&fast.users, &p);
        close(&fast.items, &q);
        close(&fast.rated, &y);
        close(&fast.user_bias, &[b]);
        assert!(fast.rated.iter().zip(&start.rated).any(|(a, b)| (a - b).abs() > 1e-3), "something moved");
    }
}
