//! What all recommenders share: histories, filters, the best of the scores, filling up, saving.
//!
//! A method is a [`Model`] (its parameters) with a [`Learnt`] (what it keeps), which gives every item a score for a few
//! histories at a time. [`Fitted`] makes a [`FittedRecommender`] of it.

use crate::top;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{
    Ask, FittedRecommender, History, Interactions, ItemSet, ParamCheck, Params, Past, Ranking, Recommender,
    RecommenderEntry, Result, Run, TrainingCurve,
};

/// A method with its parameters.
pub(crate) trait Model:
    Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static
{
    /// What it keeps.
    type Learnt: Learnt;

    /// Its place in the catalogue.
    fn entry() -> &'static RecommenderEntry;

    /// Rules between parameters, beyond the ranges in the entry.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Learns from the interactions, which may be empty.
    fn learn(&self, run: &Run, data: &Interactions) -> Result<Self::Learnt>;

    /// Makes what is kept whole again after loading, or says what does not fit the items.
    fn restore(&self, _learnt: &mut Self::Learnt, _known: &Interactions) -> Result<()> {
        Ok(())
    }
}

/// What a method keeps.
pub(crate) trait Learnt: Send + Sync + Serialize + DeserializeOwned + 'static {
    /// Whether a score of 0 means no opinion, and scores are never below it.
    const SPARSE: bool;

    /// Adds the scores of all items for each past to `out`, one row each, which comes filled with zeros.
    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]);

    /// Adds how alike each item is to `item`.
    fn similar(&self, known: &Interactions, item: u32, out: &mut [f32]);

    /// Takes in `newer`, which `known` already holds; `users` are the positions of its users in `known`.
    fn update(&mut self, run: &Run, known: &Interactions, newer: &Interactions, users: &[u32]) -> Result<()>;

    /// The `n` best of one past among these items, where there is a quicker way than to score all.
    fn top(
        &self,
        _known: &Interactions,
        _past: &Past<'_>,
        _n: usize,
        _among: Option<&ItemSet>,
    ) -> Option<Vec<(u32, f32)>> {
        None
    }

    /// The `n` items most alike, without the item, where there is a quicker way than to compare all.
    fn top_similar(&self, _item: u32, _n: usize, _among: Option<&ItemSet>) -> Option<Vec<(u32, f32)>> {
        None
    }

    /// The scores of these items for one past, where there is a quicker way than to score all.
    fn scores_of(&self, _known: &Interactions, _past: &Past<'_>, _items: &[u32]) -> Option<Vec<f32>> {
        None
    }

    /// How much each event of the history speaks for each item, row after row. Where a method does not say it itself,
    /// an event speaks as its item is similar.
    fn contributions(&self, known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        let history = past.history;
        let mut out = Vec::with_capacity(items.len() * history.len());
        let mut row = vec![0.0; known.items().len()];
        for item in items {
            row.fill(0.0);
            self.similar(known, *item, &mut row);
            out.extend(history.items.iter().zip(history.weights).map(|(i, w)| w * row[*i as usize]));
        }
        out
    }

    /// See [`FittedRecommender::training_curves`].
    fn training_curves(&self) -> Vec<TrainingCurve> {
        Vec::new()
    }

    /// How alike two items are, from -1 to 1, by a positive semidefinite measure.
    fn alike(&self, _a: u32, _b: u32) -> Option<f32> {
        None
    }
}

/// A [`Model`] behind a pointer, for methods that are made of others.
pub(crate) trait AnyModel: Send + Sync {
    /// Learns from the interactions.
    fn learn_any(&self, run: &Run, data: &Interactions) -> Result<Box<dyn AnyLearnt>>;
    /// Reads back what [`AnyLearnt::state`] gave.
    fn restore_any(&self, state: Value, known: &Interactions) -> Result<Box<dyn AnyLearnt>>;
}

impl<M: Model> AnyModel for M {
    fn learn_any(&self, run: &Run, data: &Interactions) -> Result<Box<dyn AnyLearnt>> {
        Ok(Box::new(self.learn(run, data)?))
    }

    fn restore_any(&self, state: Value, known: &Interactions) -> Result<Box<dyn AnyLearnt>> {
        let mut learnt: M::Learnt = serde_json::from_value(state).map_err(|e| M::entry().unreadable(e))?;
        self.restore(&mut learnt, known)?;
        Ok(Box::new(learnt))
    }
}

/// A [`Learnt`] behind a pointer.
pub(crate) trait AnyLearnt: Send + Sync {
    /// See [`Learnt::score`].
    fn score_any(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]);
    /// See [`Learnt::similar`].
    fn similar_any(&self, known: &Interactions, item: u32, out: &mut [f32]);
    /// See [`Learnt::update`].
    fn update_any(
        &mut self,
        run: &Run,
        known: &Interactions,
        newer: &Interactions,
        users: &[u32],
    ) -> Result<()>;
    /// See [`Learnt::contributions`].
    fn contributions_any(&self, known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32>;
    /// See [`Learnt::training_curves`].
    fn curves_any(&self) -> Vec<TrainingCurve>;
    /// The state as JSON.
    fn state(&self) -> serde_json::Result<Value>;
}

impl<L: Learnt> AnyLearnt for L {
    fn score_any(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        self.score(known, pasts, out);
    }

    fn similar_any(&self, known: &Interactions, item: u32, out: &mut [f32]) {
        self.similar(known, item, out);
    }

    fn update_any(
        &mut self,
        run: &Run,
        known: &Interactions,
        newer: &Interactions,
        users: &[u32],
    ) -> Result<()> {
        self.update(run, known, newer, users)
    }

    fn contributions_any(&self, known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        self.contributions(known, past, items)
    }

    fn curves_any(&self) -> Vec<TrainingCurve> {
        self.training_curves()
    }

    fn state(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }
}

/// Makes a [`Recommender`] of a [`Model`].
#[derive(Clone, Debug)]
pub(crate) struct Method<M>(pub(crate) M);

impl<M: Model> Recommender for Method<M> {
    fn name(&self) -> &str {
        M::entry().name
    }

    fn fit(&self, run: &Run, data: &Interactions) -> Result<Box<dyn FittedRecommender>> {
        let learnt = run.install(|| self.0.learn(run, data))?;
        Ok(Box::new(Fitted::of(self.0.clone(), learnt, data.clone())))
    }
}

/// A method behind a pointer, with parameters read and checked.
pub(crate) fn any<M: Model>(params: &Params) -> Result<Box<dyn AnyModel>> {
    let model: M = M::entry().read(params)?;
    model.check()?;
    Ok(Box::new(model))
}

/// For `build` of an entry: reads, checks and wraps a method.
pub(crate) fn build<M: Model>(params: &Params) -> Result<Box<dyn Recommender>> {
    let model: M = M::entry().read(params)?;
    model.check()?;
    Ok(Box::new(Method(model)))
}

/// For `load` of an entry: reads back what a wrapped method saved.
pub(crate) fn load<M: Model>(state: Value) -> Result<Box<dyn FittedRecommender>> {
    let saved: Saved<M> = serde_json::from_value(state).map_err(|e| M::entry().unreadable(e))?;
    let Saved { params, known, mut learnt } = saved;
    params.restore(&mut learnt, &known)?;
    Ok(Box::new(Fitted::of(params, learnt, known)))
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct Saved<M: Model> {
    params: M,
    known: Interactions,
    learnt: M::Learnt,
}

/// What a [`Model`] has learnt of the interactions, with the interactions.
#[derive(Serialize)]
#[serde(bound = "")]
struct Fitted<M: Model> {
    params: M,
    known: Interactions,
    learnt: M::Learnt,
    /// All items, the one with most users first.
    #[serde(skip)]
    popular: Vec<u32>,
}

/// Histories whose scores are made together.
const BLOCK: usize = 32;
/// The most items a list may be asked for.
const N_MAX: usize = 1_000_000;

impl<M: Model> Fitted<M> {
    fn of(params: M, learnt: M::Learnt, known: Interactions) -> Self {
        let popular = by_popularity(&known);
        Self { params, known, learnt, popular }
    }

    /// One list for each question; `struck` tells what must not come back, `fill` whether popular items fill it up.
    fn lists<Q: Sync>(
        &self,
        run: &Run,
        questions: &[Q],
        ask: &Ask<'_>,
        score: impl Fn(&[Q], &mut [f32]) + Sync,
        struck: impl for<'q> Fn(&'q Q) -> &'q [u32] + Sync,
        fill: bool,
    ) -> Result<Ranking> {
        let mut check = ParamCheck::new();
        check.require((1..=N_MAX).contains(&ask.n), "n", ask.n, "1 to 1000000").finish()?;
        let n_items = self.known.items().len();
        let blocks: Vec<Ranking> = run.install(|| {
            questions
                .par_chunks(BLOCK)
                .map_init(Vec::new, |scores: &mut Vec<f32>, block| {
                    run.check()?;
                    scores.clear();
                    scores.resize(block.len() * n_items, 0.0);
                    score(block, scores);
                    let mut out = Ranking::new();
                    for (k, question) in block.iter().enumerate() {
                        let row = &mut scores[k * n_items..(k + 1) * n_items];
                        // The same score for everything, as of an empty history, is no answer.
                        let silent = !M::Learnt::SPARSE && row.iter().all(|s| *s == row[0]);
                        struck(question).iter().for_each(|i| row[*i as usize] = f32::NEG_INFINITY);
                        if let Some(among) = ask.among {
                            row.iter_mut()
                                .enumerate()
                                .filter(|(i, _)| !among.contains(*i as u32))
                                .for_each(|(_, s)| *s = f32::NEG_INFINITY);
                        }
                        let floor = if M::Learnt::SPARSE { 0.0 } else { f32::NEG_INFINITY };
                        let mut list = if silent { vec![] } else { top::best(row, ask.n, floor) };
                        let by_model = list.len();
                        if fill && by_model < ask.n {
                            list.iter().for_each(|e| row[e.0 as usize] = f32::NEG_INFINITY);
                            let left = self.popular.iter().filter(|i| row[**i as usize] > f32::NEG_INFINITY);
                            list.extend(left.take(ask.n - by_model).map(|i| (*i, 0.0)));
                        }
                        out.push(&list, by_model);
                    }
                    Ok(out)
                })
                .collect::<Result<_>>()
        })?;
        let mut out = Ranking::new();
        blocks.iter().for_each(|b| out.extend(b));
        Ok(out)
    }

    /// The best of the scores of all items that `score` writes.
    fn dense(&self, n: usize, among: Option<&ItemSet>, score: impl FnOnce(&mut [f32])) -> Vec<(u32, f32)> {
        with_row(self.known.items().len(), |row| {
            score(row);
            // As in `lists`: the same score for everything is no answer.
            if !M::Learnt::SPARSE && row.iter().all(|s| *s == row[0]) {
                return vec![];
            }
            let floor = if M::Learnt::SPARSE { 0.0 } else { f32::NEG_INFINITY };
            top::best_among(row, n, floor, among)
        })
    }

    fn answer(&self, run: &Run, pasts: &[Past<'_>], ask: &Ask<'_>) -> Result<Ranking> {
        self.lists(
            run,
            pasts,
            ask,
            |pasts, out| self.learnt.score(&self.known, pasts, out),
            |past| if ask.allow_seen { &[] } else { past.history.items },
            true,
        )
    }
}

impl<M: Model> FittedRecommender for Fitted<M> {
    fn name(&self) -> &str {
        M::entry().name
    }

    fn known(&self) -> &Interactions {
        &self.known
    }

    fn recommend(&self, run: &Run, users: &[&str], ask: &Ask<'_>) -> Result<Ranking> {
        let pasts: Vec<Past<'_>> = users
            .iter()
            .map(|name| {
                let user = self.known.users().find(name);
                Past { user, history: user.map_or_else(History::default, |u| self.known.history(u)) }
            })
            .collect();
        self.answer(run, &pasts, ask)
    }

    fn recommend_next(&self, run: &Run, histories: &[History<'_>], ask: &Ask<'_>) -> Result<Ranking> {
        let pasts: Vec<Past<'_>> = histories.iter().map(|h| Past { user: None, history: *h }).collect();
        check_pasts(&pasts, &self.known)?;
        self.answer(run, &pasts, ask)
    }

    fn similar_items(&self, run: &Run, items: &[&str], ask: &Ask<'_>) -> Result<Ranking> {
        let questions: Vec<Vec<u32>> =
            items.iter().map(|name| self.known.items().find(name).into_iter().collect()).collect();
        let n_items = self.known.items().len();
        let ranking = self.lists(
            run,
            &questions,
            ask,
            |block, out| {
                for (k, item) in block.iter().enumerate() {
                    let row = &mut out[k * n_items..(k + 1) * n_items];
                    match item.first() {
                        Some(item) => self.learnt.similar(&self.known, *item, row),
                        None => row.fill(f32::NEG_INFINITY),
                    }
                }
            },
            |item| item,
            false,
        )?;
        Ok(ranking)
    }

    fn update(&mut self, run: &Run, newer: &Interactions) -> Result<()> {
        // What is known stays as it is until all has gone well.
        let known = self.known.appended(newer)?;
        let users: Vec<u32> = newer.users().iter().filter_map(|u| known.users().find(u)).collect();
        run.check()?;
        // Once begun it is not interrupted: what is learnt would be half old and half new.
        let calm = Run::new(run.seed).with_threads(run.threads);
        run.install(|| self.learnt.update(&calm, &known, newer, &users))?;
        self.popular = by_popularity(&known);
        self.known = known;
        Ok(())
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.learnt.training_curves()
    }

    fn save(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| M::entry().unreadable(e))
    }

    fn scores(&self, pasts: &[Past<'_>], out: &mut [f32]) -> Result<()> {
        let n_items = self.known.items().len();
        check_pasts(pasts, &self.known)?;
        if out.len() != pasts.len() * n_items {
            return Err(tradewind_core::Error::Invalid(format!(
                "room for {} scores where {} histories of {n_items} items need {}",
                out.len(),
                pasts.len(),
                pasts.len() * n_items
            )));
        }
        out.fill(0.0);
        self.learnt.score(&self.known, pasts, out);
        Ok(())
    }

    fn top_for(&self, past: &Past<'_>, n: usize, among: Option<&ItemSet>) -> Result<Vec<(u32, f32)>> {
        check_pasts(std::slice::from_ref(past), &self.known)?;
        if let Some(list) = self.learnt.top(&self.known, past, n, among) {
            return Ok(list);
        }
        Ok(self.dense(n, among, |row| self.learnt.score(&self.known, std::slice::from_ref(past), row)))
    }

    fn top_similar(&self, item: u32, n: usize, among: Option<&ItemSet>) -> Result<Vec<(u32, f32)>> {
        if item as usize >= self.known.items().len() {
            return Ok(vec![]);
        }
        if let Some(list) = self.learnt.top_similar(item, n, among) {
            return Ok(list);
        }
        Ok(self.dense(n, among, |row| {
            self.learnt.similar(&self.known, item, row);
            row[item as usize] = f32::NEG_INFINITY;
        }))
    }

    fn scores_of(&self, past: &Past<'_>, items: &[u32]) -> Result<Vec<f32>> {
        check_pasts(std::slice::from_ref(past), &self.known)?;
        check_items(items, &self.known)?;
        if let Some(scores) = self.learnt.scores_of(&self.known, past, items) {
            return Ok(scores);
        }
        Ok(with_row(self.known.items().len(), |row| {
            self.learnt.score(&self.known, std::slice::from_ref(past), row);
            items.iter().map(|i| row[*i as usize]).collect()
        }))
    }

    fn contributions(&self, past: &Past<'_>, items: &[u32]) -> Result<Vec<f32>> {
        check_pasts(std::slice::from_ref(past), &self.known)?;
        check_items(items, &self.known)?;
        Ok(self.learnt.contributions(&self.known, past, items))
    }

    fn alike(&self, a: u32, b: u32) -> Option<f32> {
        let n = self.known.items().len() as u32;
        (a < n && b < n).then(|| self.learnt.alike(a, b)).flatten()
    }
}

/// Gives `work` a row of zeros that the thread keeps for the next time.
fn with_row<T>(n: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local! {
        static ROW: std::cell::Cell<Vec<f32>> = const { std::cell::Cell::new(Vec::new()) };
    }
    // Taken out while in use, so that a model made of models may come back here.
    let mut row = ROW.take();
    row.clear();
    row.resize(n, 0.0);
    let out = work(&mut row);
    ROW.set(row);
    out
}

fn check_items(items: &[u32], known: &Interactions) -> Result<()> {
    let n_items = known.items().len();
    match items.iter().find(|i| **i as usize >= n_items) {
        Some(i) => Err(tradewind_core::Error::Invalid(format!("item {i}, but there are {n_items} items"))),
        None => Ok(()),
    }
}

/// An error where a past names a user or an item that does not exist, or its columns differ in length.
fn check_pasts(pasts: &[Past<'_>], known: &Interactions) -> Result<()> {
    let n_items = known.items().len();
    for (k, Past { user, history: h }) in pasts.iter().enumerate() {
        if let Some(user) = user.filter(|u| *u as usize >= known.users().len()) {
            return Err(tradewind_core::Error::Invalid(format!(
                "history {k} is of user {user}, but there are {} users",
                known.users().len()
            )));
        }
        if let Some(item) = h.items.iter().find(|i| **i as usize >= n_items) {
            return Err(tradewind_core::Error::Invalid(format!(
                "history {k} names item {item}, but there are {n_items} items"
            )));
        }
        if [h.ds.len(), h.weights.len(), h.events.len()].iter().any(|n| *n != h.items.len()) {
            return Err(tradewind_core::Error::Invalid(format!(
                "history {k} has columns of different lengths"
            )));
        }
    }
    Ok(())
}

/// All items, the one with most users first, then in the order of positions.
fn by_popularity(known: &Interactions) -> Vec<u32> {
    let counts = known.matrix().column_counts();
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_by_key(|i| std::cmp::Reverse(counts[*i as usize]));
    order
}
