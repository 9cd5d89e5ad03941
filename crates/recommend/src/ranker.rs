//! Candidates of several models, put in order by trees.
//!
//! ```text
//! members ─→ best `candidates` of each ─→ features ─→ boosted trees (LambdaRank) ─→ order
//! ```
//!
//! As in [`hybrid`](crate::hybrid) a part of the events is held back and the members are fitted on the rest; of every
//! user the candidates that were held back are the right answers. Features of a candidate are each member's score and
//! place, their weighted sum and how many members name it; of the user the length of the history, how popular its items
//! are and how long ago it ended; of the item its popularity, how long ago it was last taken and its price, where
//! attributes tell one; of both the price against the history's and the share of the history that has the item's terms.
//! No feature of a user has seen the events held back. A fifth of the users stops the boosting and decides whether the
//! trees are better than the weighted sum; where they are not, that is the answer. Then the members are fitted again on
//! everything.
//!
//! Burges, *From RankNet to LambdaRank to LambdaMART: an overview*, 2010; candidates and a ranker as in Covington, Adams
//! & Sargin, *Deep neural networks for YouTube recommendations*, RecSys 2016.

use crate::evaluate::{Held, Split};
use crate::fitted::{AnyLearnt, Learnt, Method, Model, load};
use crate::hybrid::weights::{self, Case};
use crate::hybrid::{HeldBack, Hybrid, Member, has_order, members, models_apart, standardise};
use crate::top;
use crate::wide::add_scaled;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Params, Past, Recommender, RecommenderEntry, Result, Run,
    SparseRows, TrainingCurve,
};
use tradewind_learn::boosting::{Boosting, FittedBoosting};
use tradewind_learn::{Dataset, Matrix, Task};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "ranker",
    summary: "Candidates of several models, put in order by trees over features of user, item and both.",
    summary_zh: "多模型召回候选，再由用户、商品与交叉特征的提升树排序（LambdaRank）。",
    source: "Burges, From RankNet to LambdaRank to LambdaMART, 2010",
    params: &[
        ParamSpec {
            name: "models",
            kind: ParamKind::Choice(&["default"]),
            default: "default",
            summary: "Names of models with commas between; default: as hybrid.",
        },
        ParamSpec {
            name: "held_back",
            kind: ParamKind::Choice(&["auto", "last", "random", "period"]),
            default: "auto",
            summary: "Events the order is learnt on, as in hybrid.",
        },
        ParamSpec {
            name: "repeats",
            kind: ParamKind::Flag,
            default: "false",
            summary: "Whether items of a user's own history are candidates.",
        },
        ParamSpec {
            name: "candidates",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "30",
            summary: "Best items of each model that are put in order.",
        },
        ParamSpec {
            name: "rounds",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "200",
            summary: "Trees at most.",
        },
        ParamSpec {
            name: "users_max",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "30000",
            summary: "Users on whom the order is learnt, drawn at random where there are more.",
        },
    ],
    ordered: true,
    build: build_ranker,
    load: load::<Ranker>,
};

/// A ranker over candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ranker {
    /// Names of models with commas between, with or without parameters, or `default`.
    pub models: String,
    /// Which events the order is learnt on.
    pub held_back: HeldBack,
    /// Whether items of a user's own history are candidates.
    pub repeats: bool,
    /// Best items of each model that are put in order.
    pub candidates: usize,
    /// Trees at most.
    pub rounds: usize,
    /// Users on whom the order is learnt.
    pub users_max: usize,
}

impl Default for Ranker {
    fn default() -> Self {
        Self {
            models: "default".into(),
            held_back: HeldBack::Auto,
            repeats: false,
            candidates: 30,
            rounds: 200,
            users_max: 30_000,
        }
    }
}

fn build_ranker(params: &Params) -> Result<Box<dyn Recommender>> {
    let (others, models) = models_apart(ENTRY.name, params)?;
    let mut model: Ranker = ENTRY.read(&others)?;
    model.models = models.unwrap_or(model.models);
    model.check()?;
    Ok(Box::new(Method(model)))
}

/// Features beside two for each member.
const OTHERS: usize = 11;
/// Users with a right answer among their candidates that trees need.
const USERS_MIN: usize = 50;

/// What is known of users and items beside scores.
#[derive(Clone, Debug, Default)]
struct Context {
    /// `ln(1 + events)` of every item.
    popularity: Vec<f32>,
    /// Since the last event of every item, as a share of all time.
    age: Vec<f32>,
    /// Not a number where it is not known.
    price: Vec<f32>,
    /// Items × terms.
    terms: SparseRows,
    start: f64,
    span: f64,
}

impl Context {
    fn of(data: &Interactions) -> Self {
        let n = data.items().len();
        let start = data.histories().filter_map(|h| h.ds.first().copied()).min().unwrap_or(0) as f64;
        let span = (data.end().unwrap_or(0) as f64 - start).max(1.0);
        let (mut counts, mut last) = (vec![0.0_f32; n], vec![start; n]);
        for history in data.histories() {
            for (i, ds) in history.items.iter().zip(history.ds) {
                counts[*i as usize] += 1.0;
                last[*i as usize] = last[*i as usize].max(*ds as f64);
            }
        }
        let attributes = data.item_attributes();
        let price = |name: &str| {
            let of = |a: &tradewind_core::Attributes| a.number("price", a.find(name)?);
            attributes.and_then(of).unwrap_or(f32::NAN)
        };
        Self {
            popularity: counts.iter().map(|c| c.ln_1p()).collect(),
            age: last.iter().map(|l| (1.0 - (l - start) / span) as f32).collect(),
            price: data.items().iter().map(price).collect(),
            terms: attributes
                .map_or_else(|| SparseRows::from_entries(n, 0, vec![]), |a| a.aligned(data.items())),
            start,
            span,
        }
    }
}

/// The mean of what is known; not a number where nothing is.
fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, n) = values.filter(|v| !v.is_nan()).fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    sum / n
}

/// The candidates of one history.
struct Candidates {
    items: Vec<u32>,
    /// Candidate after candidate, one standardised score a member.
    scores: Vec<f32>,
    /// Likewise their places, the first 0; those behind the best of a member share one.
    places: Vec<usize>,
}

impl Ranker {
    fn hybrid(&self) -> Hybrid {
        let Self { models, held_back, repeats, users_max, .. } = self.clone();
        Hybrid { models, held_back, repeats, users_max, ..Hybrid::default() }
    }

    /// The best of each member, whose scores of all items are the rows of `scores`.
    fn candidates(&self, scores: &[&[f32]], past: &Past<'_>) -> Candidates {
        let best: Vec<Vec<(u32, f32)>> = scores
            .iter()
            .map(|row| {
                let mut row = row.to_vec();
                if !self.repeats {
                    past.history.items.iter().for_each(|i| row[*i as usize] = f32::NEG_INFINITY);
                }
                top::best(&row, self.candidates, f32::NEG_INFINITY)
            })
            .collect();
        let mut items: Vec<u32> = best.iter().flatten().map(|e| e.0).collect();
        items.sort_unstable();
        items.dedup();
        let m = scores.len();
        let mut places = vec![self.candidates; items.len() * m];
        for (k, best) in best.iter().enumerate() {
            for (place, (item, _)) in best.iter().enumerate() {
                if let Ok(at) = items.binary_search(item) {
                    places[at * m + k] = place;
                }
            }
        }
        let scores = items.iter().flat_map(|i| scores.iter().map(|row| row[*i as usize])).collect();
        Candidates { items, scores, places }
    }

    /// The features of all candidates, row after row.
    fn features(&self, c: &Candidates, weights: &[f32], context: &Context, past: &Past<'_>) -> Vec<f64> {
        let m = weights.len();
        let history = past.history;
        let of_history = |of: &[f32]| mean(history.items.iter().map(|i| of[*i as usize]));
        let popularity = of_history(&context.popularity);
        let price = of_history(&context.price);
        let end = history.ds.last().map_or(f64::NAN, |ds| 1.0 - (*ds as f64 - context.start) / context.span);
        let mut with_term = vec![0.0_f32; context.terms.n_columns()];
        for i in history.items {
            context.terms.row(*i as usize).0.iter().for_each(|t| with_term[*t as usize] += 1.0);
        }
        let n = history.len().max(1) as f32;
        let mut out = Vec::with_capacity(c.items.len() * (2 * m + OTHERS));
        for (k, item) in c.items.iter().enumerate() {
            let i = *item as usize;
            let (scores, places) = (&c.scores[k * m..(k + 1) * m], &c.places[k * m..(k + 1) * m]);
            out.extend(scores.iter().map(|s| f64::from(*s)));
            out.extend(places.iter().map(|p| (*p as f64).ln_1p()));
            let terms = context.terms.row(i).0;
            let shares = || terms.iter().map(|t| with_term[*t as usize] / n);
            let relative = context.price[i] / price;
            let others: [f32; OTHERS] = [
                fused(scores, weights),
                places.iter().filter(|p| **p < self.candidates).count() as f32,
                (history.len() as f32).ln_1p(),
                popularity,
                end as f32,
                context.popularity[i],
                context.age[i],
                context.price[i],
                if relative.is_finite() { relative } else { f32::NAN },
                mean(shares()),
                shares().fold(f32::NAN, f32::max),
            ];
            out.extend(others.map(f64::from));
        }
        out
    }

    /// Weights of members and, where they serve better, trees.
    fn order(
        &self,
        run: &Run,
        data: &Interactions,
        members: &[Member],
        ordered: bool,
    ) -> Result<(Vec<f32>, Option<FittedBoosting>)> {
        let Split { train, mut held } = self.hybrid().split(run, data, ordered);
        let mut rng = run.rng(41);
        for k in 0..held.len().min(self.users_max) {
            let other = rng.random_range(k..held.len());
            held.swap(k, other);
        }
        held.truncate(self.users_max);
        let none = vec![1.0; members.len()];
        if held.is_empty() {
            return Ok((none, None));
        }
        let mut learnt = Vec::with_capacity(members.len());
        for member in members {
            learnt.push(member.model.learn_any(&run.quiet(), &train)?);
            run.check()?;
        }
        let groups = held
            .par_chunks(16)
            .map(|held| {
                run.check()?;
                Ok(self.groups(&learnt, &train, held))
            })
            .collect::<Result<Vec<_>>>()?;
        let groups: Vec<Group> = groups.into_iter().flatten().collect();
        let (checking, learning) = groups.split_at(groups.len() / 5);
        let cases: Vec<Case> = learning.iter().map(Group::case).collect();
        let weights = if members.len() > 1 { weights::search(&cases, members.len()).0 } else { none };
        let context = Context::of(&train);
        let Some(table) = self.table(learning, &weights, &context, &train)? else { return Ok((weights, None)) };
        let Some(control) = self.table(checking, &weights, &context, &train)? else {
            return Ok((weights, None));
        };
        let boosting = Boosting {
            n_rounds: self.rounds,
            learning_rate: 0.05,
            n_leaves: 15,
            min_child_samples: 50,
            patience: 30,
            ranking_top: 10,
            ..Boosting::default()
        };
        let trees = boosting
            .fit_validated(run, Task::Ranking, &table, &control)
            .map_err(|e| Error::Invalid(format!("ranker: {e}")))?;
        let by_trees = checking
            .iter()
            .map(|g| {
                let x = self.features(&g.candidates, &weights, &context, &g.past(&train));
                Ok(Case { scores: of_trees(&trees, x, &g.candidates, &weights)?, ..g.case() })
            })
            .collect::<Result<Vec<_>>>()?;
        let by_weights: Vec<Case> = checking.iter().map(Group::case).collect();
        let better = weights::ndcg(&by_trees, &[1.0]) > weights::ndcg(&by_weights, &weights);
        Ok((weights, better.then_some(trees)))
    }

    /// The candidates of a few users held back.
    fn groups(&self, learnt: &[Box<dyn AnyLearnt>], train: &Interactions, held: &[Held]) -> Vec<Group> {
        let known: Vec<(u32, &Held)> =
            held.iter().filter_map(|h| Some((train.users().find(&h.user)?, h))).collect();
        let pasts: Vec<Past<'_>> =
            known.iter().map(|(u, _)| Past { user: Some(*u), history: train.history(*u) }).collect();
        let scores = scores_of(learnt, train, &pasts);
        let n = train.items().len();
        let each = known.iter().zip(&pasts).enumerate();
        each.map(|(k, ((user, held), past))| {
            let rows: Vec<&[f32]> = scores.iter().map(|s| &s[k * n..(k + 1) * n]).collect();
            let candidates = self.candidates(&rows, past);
            let truth: Vec<u32> = held.items.iter().filter_map(|i| train.items().find(i)).collect();
            let relevant = candidates.items.iter().map(|i| truth.contains(i)).collect();
            Group { user: *user, candidates, relevant, n_relevant: held.items.len() }
        })
        .collect()
    }

    /// The rows of those users who have a right and a wrong candidate; `None` where there are too few.
    fn table(
        &self,
        groups: &[Group],
        weights: &[f32],
        context: &Context,
        train: &Interactions,
    ) -> Result<Option<Dataset>> {
        let telling = |g: &&Group| g.relevant.contains(&true) && g.relevant.contains(&false);
        let groups: Vec<&Group> = groups.iter().filter(telling).collect();
        if groups.len() < USERS_MIN {
            return Ok(None);
        }
        let rows: Vec<Vec<f64>> = groups
            .par_iter()
            .map(|g| self.features(&g.candidates, weights, context, &g.past(train)))
            .collect();
        let y: Vec<f64> = groups.iter().flat_map(|g| g.relevant.iter().map(|r| f64::from(u8::from(*r)))).collect();
        let x = Matrix::new(y.len(), 2 * weights.len() + OTHERS, rows.concat())?;
        let sizes = groups.iter().map(|g| g.relevant.len()).collect();
        Dataset::with_missing(x, y, vec![])?.with_groups(sizes).map(Some)
    }
}

/// The weighted sum of members' scores.
fn fused(scores: &[f32], weights: &[f32]) -> f32 {
    scores.iter().zip(weights).map(|(s, w)| s * w).sum()
}

/// The scores of candidates by trees; those that trees hold for equal stand in the order of the weighted sum.
fn of_trees(trees: &FittedBoosting, x: Vec<f64>, c: &Candidates, weights: &[f32]) -> Result<Vec<f32>> {
    let m = weights.len();
    let x = Matrix::new(c.items.len(), 2 * m + OTHERS, x)?;
    let told = trees.predict(&x)?;
    Ok((0..c.items.len())
        .map(|k| told.get(k, 0) as f32 + 1e-4 * fused(&c.scores[k * m..(k + 1) * m], weights))
        .collect())
}

/// Standardised scores of all members: for each the rows of all pasts.
fn scores_of(learnt: &[Box<dyn AnyLearnt>], known: &Interactions, pasts: &[Past<'_>]) -> Vec<Vec<f32>> {
    let n = known.items().len();
    learnt
        .iter()
        .map(|l| {
            let mut out = vec![0.0; pasts.len() * n];
            l.score_any(known, pasts, &mut out);
            out.chunks_exact_mut(n.max(1)).for_each(standardise);
            out
        })
        .collect()
}

/// One user held back.
struct Group {
    user: u32,
    candidates: Candidates,
    relevant: Vec<bool>,
    n_relevant: usize,
}

impl Group {
    fn case(&self) -> Case {
        Case {
            scores: self.candidates.scores.clone(),
            relevant: self.relevant.clone(),
            n_relevant: self.n_relevant,
        }
    }

    fn past<'a>(&self, train: &'a Interactions) -> Past<'a> {
        Past { user: Some(self.user), history: train.history(self.user) }
    }
}

/// Members, their weights and the trees.
#[derive(Deserialize)]
#[serde(from = "RawStack")]
pub(crate) struct Stack {
    params: Ranker,
    names: Vec<(String, Params)>,
    weights: Vec<f32>,
    trees: Option<FittedBoosting>,
    learnt: Vec<Box<dyn AnyLearnt>>,
    /// What was read and is not made whole yet.
    saved: Vec<Value>,
    context: Context,
}

#[derive(Serialize, Deserialize)]
struct RawStack {
    params: Ranker,
    members: Vec<(String, Params)>,
    weights: Vec<f32>,
    trees: Option<FittedBoosting>,
    states: Vec<Value>,
}

impl From<RawStack> for Stack {
    fn from(raw: RawStack) -> Self {
        let RawStack { params, members, weights, trees, states } = raw;
        let context = Context::default();
        Self { params, names: members, weights, trees, learnt: vec![], saved: states, context }
    }
}

impl Serialize for Stack {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let states = self.learnt.iter().map(|l| l.state()).collect::<serde_json::Result<_>>();
        RawStack {
            params: self.params.clone(),
            members: self.names.clone(),
            weights: self.weights.clone(),
            trees: self.trees.clone(),
            states: states.map_err(serde::ser::Error::custom)?,
        }
        .serialize(to)
    }
}

impl Model for Ranker {
    type Learnt = Stack;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn check(&self) -> Result<()> {
        members(self.hybrid().list(true)).map(|_| ())
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Stack> {
        let ordered = has_order(data);
        let members = members(self.hybrid().list(ordered))?;
        let (weights, trees) = self.order(run, data, &members, ordered)?;
        let context = Context::of(data);
        let (params, saved) = (self.clone(), vec![]);
        let mut out = Stack { params, names: vec![], weights, trees, learnt: vec![], saved, context };
        for member in members {
            run.check()?;
            out.learnt.push(member.model.learn_any(&run.quiet(), data)?);
            out.names.push((member.name, member.params));
        }
        Ok(out)
    }

    fn restore(&self, learnt: &mut Stack, known: &Interactions) -> Result<()> {
        let states = std::mem::take(&mut learnt.saved);
        if states.len() != learnt.names.len() || states.len() != learnt.weights.len() {
            return Err(Error::Invalid("saved ranker has members that do not fit together".into()));
        }
        for ((name, params), state) in learnt.names.iter().zip(states) {
            learnt.learnt.push(crate::model(name, params)?.restore_any(state, known)?);
        }
        learnt.context = Context::of(known);
        // Trees of other columns would fail later, in the middle of an answer.
        if let Some(trees) = &learnt.trees {
            trees.predict(&Matrix::zeros(1, 2 * learnt.weights.len() + OTHERS))?;
        }
        Ok(())
    }
}

impl Learnt for Stack {
    const SPARSE: bool = false;

    fn training_curves(&self) -> Vec<TrainingCurve> {
        let members = self.names.iter().zip(&self.learnt);
        members.flat_map(|((name, _), m)| m.curves_any().into_iter().map(move |c| c.within(name))).collect()
    }

    /// Candidates stand before all others, which follow in the order of the weighted sum.
    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        let scores = scores_of(&self.learnt, known, pasts);
        for (k, (past, out)) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))).enumerate() {
            let rows: Vec<&[f32]> = scores.iter().map(|s| &s[k * n..(k + 1) * n]).collect();
            rows.iter().zip(&self.weights).for_each(|(row, w)| add_scaled(out, *w, row));
            let Some(trees) = &self.trees else { continue };
            // No member has an opinion: neither have the trees.
            if rows.iter().all(|row| row.iter().all(|s| *s == 0.0)) {
                continue;
            }
            let c = self.params.candidates(&rows, past);
            let x = self.params.features(&c, &self.weights, &self.context, past);
            let told = of_trees(trees, x, &c, &self.weights).expect("as many columns as were learnt");
            let lowest = told.iter().copied().fold(f32::INFINITY, f32::min);
            let highest = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if !lowest.is_finite() {
                continue;
            }
            out.iter_mut().for_each(|s| *s += lowest - 1.0 - highest);
            c.items.iter().zip(told).for_each(|(i, s)| out[*i as usize] = s);
        }
    }

    fn similar(&self, known: &Interactions, item: u32, out: &mut [f32]) {
        let mut scores = vec![0.0; out.len()];
        for (member, weight) in self.learnt.iter().zip(&self.weights) {
            scores.fill(0.0);
            member.similar_any(known, item, &mut scores);
            standardise(&mut scores);
            add_scaled(out, *weight, &scores);
        }
    }

    fn update(&mut self, run: &Run, known: &Interactions, newer: &Interactions, users: &[u32]) -> Result<()> {
        self.context = Context::of(known);
        self.learnt.iter_mut().try_for_each(|l| l.update_any(run, known, newer, users))
    }
}
