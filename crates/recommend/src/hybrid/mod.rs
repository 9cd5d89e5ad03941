//! One answer of several models: their scores, put on one scale, weighted as serves best on events held back.
//!
//! `score(u, i) = Σ_m w_m z_m(u, i)`, `z` being a member's scores of one user less their mean, over their standard
//! deviation. A part of the training events is held back, the members are fitted on the rest, and the weights are
//! found by coordinate search on NDCG at 10: each in turn is tried at a few sizes, while it pays. Then the members are
//! fitted again on everything.
//!
//! The search over the measure itself is that of Metzler & Croft, *Linear feature-based models for information
//! retrieval*, Information Retrieval 10, 2007.

mod weights;

use crate::evaluate::{Held, Split, by_time, leave_last_out, random};
use crate::fitted::{AnyLearnt, AnyModel, Learnt, Model, load};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Params, Past, Recommender, RecommenderEntry, Result, Run,
};
use weights::Case;

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "hybrid",
    summary: "Several models in one, weighted as serves best on events held back.",
    summary_zh: "多模型融合，权重由留出事件上的效果决定。",
    source: "Metzler & Croft, Linear feature-based models for information retrieval, 2007",
    params: &[
        ParamSpec {
            name: "models",
            kind: ParamKind::Choice(&["default"]),
            default: "default",
            summary: "Names of models with commas between; default: transitions,slit,ease,item_knn for histories with \
                      an order, ease,ials,item_knn,user_knn for others.",
        },
        ParamSpec {
            name: "held_back",
            kind: ParamKind::Choice(&["auto", "last", "random", "period"]),
            default: "auto",
            summary: "Events the weights are found on: the last of each user, a tenth at random, the last period; \
                      auto: the last, or at random where histories have no order.",
        },
        ParamSpec {
            name: "period",
            kind: ParamKind::Number { min: 0.0, max: 1e15 },
            default: "0",
            summary: "Length of the last period in units of ds; 0: a tenth of all time.",
        },
        ParamSpec {
            name: "repeats",
            kind: ParamKind::Flag,
            default: "false",
            summary: "Whether items of a user's own history count when weights are found.",
        },
        ParamSpec {
            name: "users_max",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "4000",
            summary: "Users on whom the weights are found, drawn at random where there are more.",
        },
    ],
    ordered: true,
    build: build_hybrid,
    load: load::<Hybrid>,
};

/// Which events the weights are found on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBack {
    /// The last of each user, or at random where histories have no order.
    #[default]
    Auto,
    /// The last of each user.
    Last,
    /// A tenth at random.
    Random,
    /// The last period.
    Period,
}

/// The fusion of models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hybrid {
    /// Names of models with commas between, or `default`. In the library a name may carry parameters, as
    /// `ease {"regularization":500},ials`.
    pub models: String,
    /// Which events the weights are found on.
    pub held_back: HeldBack,
    /// Length of the last period in units of `ds`; 0: a tenth of all time.
    pub period: f64,
    /// Whether items of a user's own history count when weights are found.
    pub repeats: bool,
    /// Users on whom the weights are found.
    pub users_max: usize,
}

impl Default for Hybrid {
    fn default() -> Self {
        Self {
            models: "default".into(),
            held_back: HeldBack::Auto,
            period: 0.0,
            repeats: false,
            users_max: 4000,
        }
    }
}

const ORDERED: &str = "transitions,slit,ease,item_knn";
const UNORDERED: &str = "ease,ials,item_knn,user_knn";

/// The names of models are read apart from the other parameters, since no list of words could hold them.
fn build_hybrid(params: &Params) -> Result<Box<dyn Recommender>> {
    let mut others = params.clone();
    let models = others.shift_remove("models").filter(|v| !v.is_null());
    others.insert("models".into(), "default".into());
    let mut model: Hybrid = ENTRY.read(&others)?;
    if let Some(models) = models {
        model.models = models
            .as_str()
            .ok_or_else(|| Error::Invalid("hybrid: `models` is a text of names with commas between".into()))?
            .to_owned();
    }
    model.check()?;
    Ok(Box::new(crate::fitted::Method(model)))
}

/// One member before fitting.
struct Member {
    name: String,
    params: Params,
    model: Box<dyn AnyModel>,
}

/// `name`, `name {json}`, with commas between.
fn members(text: &str) -> Result<Vec<Member>> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    let mut out: Vec<Member> = Vec::new();
    for part in parts {
        let (name, given) = part.split_at(part.find('{').unwrap_or(part.len()));
        let name = name.trim();
        let params: Params = match given.is_empty() {
            true => Params::new(),
            false => serde_json::from_str(given)
                .map_err(|e| Error::Invalid(format!("hybrid: parameters of `{name}`: {e}")))?,
        };
        if name == ENTRY.name {
            return Err(Error::Invalid("hybrid: a hybrid cannot be a member of a hybrid".into()));
        }
        let model = crate::model(name, &params)?;
        out.push(Member { name: name.to_owned(), params, model });
    }
    Ok(out)
}

/// The members with their weights.
#[derive(Deserialize)]
#[serde(from = "RawFusion")]
pub(crate) struct Fusion {
    names: Vec<(String, Params)>,
    weights: Vec<f32>,
    /// NDCG at 10 on the events held back.
    ndcg: f64,
    learnt: Vec<Box<dyn AnyLearnt>>,
    /// What was read and is not made whole yet.
    saved: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct RawFusion {
    members: Vec<(String, Params)>,
    weights: Vec<f32>,
    ndcg: f64,
    states: Vec<Value>,
}

impl From<RawFusion> for Fusion {
    fn from(raw: RawFusion) -> Self {
        Self {
            names: raw.members,
            weights: raw.weights,
            ndcg: raw.ndcg,
            learnt: Vec::new(),
            saved: raw.states,
        }
    }
}

impl Serialize for Fusion {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let states = self
            .learnt
            .iter()
            .map(|l| l.state())
            .collect::<serde_json::Result<_>>()
            .map_err(serde::ser::Error::custom)?;
        RawFusion {
            members: self.names.clone(),
            weights: self.weights.clone(),
            ndcg: self.ndcg,
            states,
        }
        .serialize(to)
    }
}

/// Whether some history has more than one time.
fn has_order(data: &Interactions) -> bool {
    data.histories().any(|h| h.ds.first() != h.ds.last())
}

impl Hybrid {
    fn list(&self, ordered: bool) -> &str {
        match (self.models.as_str(), ordered) {
            ("default", true) => ORDERED,
            ("default", false) => UNORDERED,
            (named, _) => named,
        }
    }

    fn split(&self, run: &Run, data: &Interactions, ordered: bool) -> Split {
        match (self.held_back, ordered) {
            (HeldBack::Last, _) | (HeldBack::Auto, true) => leave_last_out(data, 3),
            (HeldBack::Random, _) | (HeldBack::Auto, false) => random(run, data, 0.1),
            (HeldBack::Period, _) => {
                let all = data.histories().flat_map(|h| h.ds.first().copied());
                let (start, end) = (all.min().unwrap_or(0), data.end().unwrap_or(0));
                let period = match self.period > 0.0 {
                    true => self.period,
                    false => (end as f64 - start as f64) / 10.0,
                };
                by_time(data, end.saturating_sub(period as i64).saturating_add(1))
            }
        }
    }

    /// Weights by search on what is held back, with the NDCG they reach there.
    fn weigh(&self, run: &Run, data: &Interactions, members: &[Member], ordered: bool) -> Result<(Vec<f32>, f64)> {
        let Split { train, mut held } = self.split(run, data, ordered);
        let mut rng = run.rng(21);
        for k in 0..held.len().min(self.users_max) {
            let other = rng.random_range(k..held.len());
            held.swap(k, other);
        }
        held.truncate(self.users_max);
        if held.is_empty() || members.len() < 2 {
            return Ok((vec![1.0; members.len()], 0.0));
        }
        let mut learnt = Vec::with_capacity(members.len());
        for member in members {
            learnt.push(member.model.learn_any(&run.quiet(), &train)?);
            run.check()?;
        }
        let cases = held
            .par_chunks(16)
            .map(|held| {
                run.check()?;
                Ok(cases(&learnt, &train, held, self.repeats))
            })
            .collect::<Result<Vec<_>>>()?;
        let cases: Vec<Case> = cases.into_iter().flatten().collect();
        Ok(weights::search(&cases, members.len()))
    }
}

/// Members' candidates for the weights: so many of each.
const CANDIDATES: usize = 100;

/// The cases of a few users: the best items of every member with the scores of all.
fn cases(learnt: &[Box<dyn AnyLearnt>], train: &Interactions, held: &[Held], repeats: bool) -> Vec<Case> {
    let n = train.items().len();
    let pasts: Vec<Past<'_>> = held
        .iter()
        .filter_map(|h| train.users().find(&h.user))
        .map(|u| Past { user: Some(u), history: train.history(u) })
        .collect();
    let scores: Vec<Vec<f32>> = learnt
        .iter()
        .map(|l| {
            let mut out = vec![0.0; pasts.len() * n];
            l.score_any(train, &pasts, &mut out);
            out.chunks_exact_mut(n.max(1)).for_each(standardise);
            out
        })
        .collect();
    let mut out = Vec::with_capacity(pasts.len());
    for (k, (past, held)) in pasts.iter().zip(held).enumerate() {
        let mut candidates: Vec<u32> = Vec::new();
        let mut seen = vec![false; n];
        if !repeats {
            past.history.items.iter().for_each(|i| seen[*i as usize] = true);
        }
        for scores in &scores {
            let mut row = scores[k * n..(k + 1) * n].to_vec();
            row.iter_mut().zip(&seen).filter(|(_, s)| **s).for_each(|(r, _)| *r = f32::NEG_INFINITY);
            candidates.extend(crate::top::best(&row, CANDIDATES, f32::NEG_INFINITY).iter().map(|e| e.0));
        }
        candidates.sort_unstable();
        candidates.dedup();
        let truth: Vec<u32> = held.items.iter().filter_map(|i| train.items().find(i)).collect();
        out.push(Case {
            relevant: candidates.iter().map(|i| truth.contains(i)).collect(),
            n_relevant: held.items.len(),
            scores: candidates.iter().flat_map(|i| scores.iter().map(move |s| s[k * n + *i as usize])).collect(),
        });
    }
    out
}

/// Less the mean, over the standard deviation; all zeros where all are alike.
pub(crate) fn standardise(scores: &mut [f32]) {
    let n = scores.len() as f64;
    let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n.max(1.0);
    let variance = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / n.max(1.0);
    let over = if variance > 0.0 && variance.is_finite() { 1.0 / variance.sqrt() } else { 0.0 };
    scores.iter_mut().for_each(|s| *s = ((f64::from(*s) - mean) * over) as f32);
}

impl Model for Hybrid {
    type Learnt = Fusion;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn check(&self) -> Result<()> {
        members(self.list(true)).map(|_| ())
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Fusion> {
        let ordered = has_order(data);
        let members = members(self.list(ordered))?;
        let (weights, ndcg) = self.weigh(run, data, &members, ordered)?;
        let mut out = Fusion { names: vec![], weights: vec![], ndcg, learnt: vec![], saved: vec![] };
        for (member, weight) in members.into_iter().zip(weights).filter(|e| e.1 != 0.0) {
            run.check()?;
            out.learnt.push(member.model.learn_any(&run.quiet(), data)?);
            out.names.push((member.name, member.params));
            out.weights.push(weight);
        }
        Ok(out)
    }

    fn restore(&self, learnt: &mut Fusion, known: &Interactions) -> Result<()> {
        let states = std::mem::take(&mut learnt.saved);
        if states.len() != learnt.names.len() || states.len() != learnt.weights.len() {
            return Err(Error::Invalid("saved hybrid has members that do not fit together".into()));
        }
        for ((name, params), state) in learnt.names.iter().zip(states) {
            learnt.learnt.push(crate::model(name, params)?.restore_any(state, known)?);
        }
        Ok(())
    }
}

impl Learnt for Fusion {
    const SPARSE: bool = false;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        let mut scores = vec![0.0; out.len()];
        for (member, weight) in self.learnt.iter().zip(&self.weights) {
            scores.fill(0.0);
            member.score_any(known, pasts, &mut scores);
            for (row, out) in scores.chunks_exact_mut(n.max(1)).zip(out.chunks_exact_mut(n.max(1))) {
                standardise(row);
                crate::wide::add_scaled(out, *weight, row);
            }
        }
    }

    fn similar(&self, known: &Interactions, item: u32, out: &mut [f32]) {
        let mut scores = vec![0.0; out.len()];
        for (member, weight) in self.learnt.iter().zip(&self.weights) {
            scores.fill(0.0);
            member.similar_any(known, item, &mut scores);
            standardise(&mut scores);
            crate::wide::add_scaled(out, *weight, &scores);
        }
    }

    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        newer: &Interactions,
        users: &[u32],
    ) -> Result<()> {
        self.learnt.iter_mut().try_for_each(|l| l.update_any(run, known, newer, users))
    }

    /// What the members say, each put on the scale of its largest word.
    fn contributions(&self, known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        let mut out = vec![0.0; items.len() * past.history.len()];
        for (member, weight) in self.learnt.iter().zip(&self.weights) {
            let words = member.contributions_any(known, past, items);
            let most = words.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
            if words.len() == out.len() && most > 0.0 {
                crate::wide::add_scaled(&mut out, weight / most, &words);
            }
        }
        out
    }
}
