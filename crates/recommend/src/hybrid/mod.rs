//! One answer of several models: their scores, put on one scale, weighted as serves best on events held back.
//!
//! `score(u, i) = Σ_m w_m z_m(u, i)`, `z` being a member's scores of one user less their mean, over their standard
//! deviation. A part of the training events is held back, the members are fitted on the rest, and the weights are
//! found by coordinate search on NDCG at 10: each in turn is tried at a few sizes, while it pays. Then the members are
//! fitted again on everything.
//!
//! In place of scores their ranks may be added up (Cormack, Clarke & Büttcher, *Reciprocal rank fusion outperforms
//! Condorcet and individual rank learning methods*, SIGIR 2009; Borda's count); items of the history get no place then,
//! unless `repeats` is set.
//!
//! The search over the measure itself is that of Metzler & Croft, *Linear feature-based models for information
//! retrieval*, Information Retrieval 10, 2007.

pub(crate) mod weights;

use crate::evaluate::{Held, Split, by_time, leave_last_out, random};
use crate::fitted::{AnyLearnt, AnyModel, Learnt, Model, load};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Params, Past, Recommender, RecommenderEntry, Result, Run,
    TrainingCurve,
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
            name: "fusion",
            kind: ParamKind::Choice(&["scores", "reciprocal_ranks", "borda"]),
            default: "scores",
            summary: "What of each member is added up: its scores, or the places of its 1000 best, as 60 / (60 + place) \
                      or as 1 - place / 1000.",
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

/// What of each member is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Its scores, less their mean, over their standard deviation.
    #[default]
    Scores,
    /// The places of its best, as `60 / (60 + place)`.
    ReciprocalRanks,
    /// The places of its best, the last of them at nearly 0.
    Borda,
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
    /// What of each member is added up.
    pub fusion: Scale,
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
            fusion: Scale::Scores,
            users_max: 4000,
        }
    }
}

const ORDERED: &str = "transitions,slit,ease,item_knn";
const UNORDERED: &str = "ease,ials,item_knn,user_knn";

/// Parameters without the names of models, which are read apart, since no list of words could hold them.
pub(crate) fn models_apart(name: &str, params: &Params) -> Result<(Params, Option<String>)> {
    let mut others = params.clone();
    let models = others.shift_remove("models").filter(|v| !v.is_null());
    others.insert("models".into(), "default".into());
    let text = |v: Value| match v {
        Value::String(text) => Ok(text),
        _ => Err(Error::Invalid(format!("{name}: `models` is a text of names with commas between"))),
    };
    Ok((others, models.map(text).transpose()?))
}

fn build_hybrid(params: &Params) -> Result<Box<dyn Recommender>> {
    let (others, models) = models_apart(ENTRY.name, params)?;
    let mut model: Hybrid = ENTRY.read(&others)?;
    model.models = models.unwrap_or(model.models);
    model.check()?;
    Ok(Box::new(crate::fitted::Method(model)))
}

/// One member before fitting.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) params: Params,
    pub(crate) model: Box<dyn AnyModel>,
}

/// `name`, `name {json}`, with commas between.
pub(crate) fn members(text: &str) -> Result<Vec<Member>> {
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
        if [ENTRY.name, crate::ranker::ENTRY.name].contains(&name) {
            return Err(Error::Invalid(format!("{name}: a model of models cannot be a member of another")));
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
    /// Whose members they are.
    params: Hybrid,
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
    #[serde(default)]
    params: Hybrid,
    members: Vec<(String, Params)>,
    weights: Vec<f32>,
    ndcg: f64,
    states: Vec<Value>,
}

impl From<RawFusion> for Fusion {
    fn from(raw: RawFusion) -> Self {
        Self {
            params: raw.params,
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
            params: self.params.clone(),
            members: self.names.clone(),
            weights: self.weights.clone(),
            ndcg: self.ndcg,
            states,
        }
        .serialize(to)
    }
}

/// Whether some history has more than one time.
pub(crate) fn has_order(data: &Interactions) -> bool {
    data.histories().any(|h| h.ds.first() != h.ds.last())
}

impl Hybrid {
    pub(crate) fn list(&self, ordered: bool) -> &str {
        match (self.models.as_str(), ordered) {
            ("default", true) => ORDERED,
            ("default", false) => UNORDERED,
            (named, _) => named,
        }
    }

    pub(crate) fn split(&self, run: &Run, data: &Interactions, ordered: bool) -> Split {
        match (self.held_back, ordered) {
            (HeldBack::Last, _) | (HeldBack::Auto, true) => leave_last_out(run, data, 3),
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
                Ok(self.cases(&learnt, &train, held))
            })
            .collect::<Result<Vec<_>>>()?;
        let cases: Vec<Case> = cases.into_iter().flatten().collect();
        Ok(weights::search(&cases, members.len()))
    }
}

/// Members' candidates for the weights: so many of each.
const CANDIDATES: usize = 100;

impl Hybrid {
/// The cases of a few users: the best items of every member with the scores of all.
fn cases(&self, learnt: &[Box<dyn AnyLearnt>], train: &Interactions, held: &[Held]) -> Vec<Case> {
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
            for (row, past) in out.chunks_exact_mut(n.max(1)).zip(&pasts) {
                self.scale(row, past.history.items);
            }
            out
        })
        .collect();
    let mut out = Vec::with_capacity(pasts.len());
    for (k, (past, held)) in pasts.iter().zip(held).enumerate() {
        let mut candidates: Vec<u32> = Vec::new();
        let mut seen = vec![false; n];
        if !self.repeats {
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
}

/// Places that count where ranks are added up.
const PLACES: usize = 1000;

impl Hybrid {
    /// Puts a member's scores of one user on the scale that all share.
    fn scale(&self, scores: &mut [f32], history: &[u32]) {
        if self.fusion == Scale::Scores {
            return standardise(scores);
        }
        // What has the lowest score has no place: it is what a member has no opinion of.
        let floor = scores.iter().copied().fold(f32::INFINITY, f32::min);
        if !self.repeats {
            history.iter().for_each(|i| scores[*i as usize] = f32::NEG_INFINITY);
        }
        let best = crate::top::best(scores, PLACES, floor);
        scores.fill(0.0);
        for (place, (i, _)) in best.into_iter().enumerate() {
            scores[i as usize] = match self.fusion {
                Scale::Borda => 1.0 - place as f32 / PLACES as f32,
                _ => 60.0 / (60.0 + (place + 1) as f32),
            };
        }
    }
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
        let mut out = Fusion { params: self.clone(), names: vec![], weights: vec![], ndcg, learnt: vec![], saved: vec![] };
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

    fn training_curves(&self) -> Vec<TrainingCurve> {
        let members = self.names.iter().zip(&self.learnt);
        members.flat_map(|((name, _), m)| m.curves_any().into_iter().map(move |c| c.within(name))).collect()
    }

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        let mut scores = vec![0.0; out.len()];
        for (member, weight) in self.learnt.iter().zip(&self.weights) {
            scores.fill(0.0);
            member.score_any(known, pasts, &mut scores);
            let rows = scores.chunks_exact_mut(n.max(1)).zip(out.chunks_exact_mut(n.max(1)));
            for ((row, out), past) in rows.zip(pasts) {
                self.params.scale(row, past.history.items);
                crate::wide::add_scaled(out, *weight, row);
            }
        }
    }

    fn similar(&self, known: &Interactions, item: u32, out: &mut [f32]) {
        let mut scores = vec![0.0; out.len()];
        for (member, weight) in self.learnt.iter().zip(&self.weights) {
            scores.fill(0.0);
            member.similar_any(known, item, &mut scores);
            self.params.scale(&mut scores, &[]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_formulas() {
        let scores = [3.0, 0.0, 9.0, 5.0, 0.0];
        let scaled = |fusion, history: &[u32]| {
            let mut row = scores;
            Hybrid { fusion, ..Hybrid::default() }.scale(&mut row, history);
            row
        };
        let ranks = scaled(Scale::ReciprocalRanks, &[]);
        assert_eq!(ranks, [60.0 / 63.0, 0.0, 60.0 / 61.0, 60.0 / 62.0, 0.0]);
        assert_eq!(scaled(Scale::ReciprocalRanks, &[2]), [60.0 / 62.0, 0.0, 0.0, 60.0 / 61.0, 0.0]);
        assert_eq!(scaled(Scale::Borda, &[]), [0.998, 0.0, 1.0, 0.999, 0.0]);
        let of_scores = scaled(Scale::Scores, &[2]);
        assert!(of_scores.iter().sum::<f32>().abs() < 1e-6 && of_scores[2] > of_scores[3]);
    }
}
