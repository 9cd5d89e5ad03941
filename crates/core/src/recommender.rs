//! What a recommender is, and how a list of recommenders tells about itself.

use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::interactions::{History, Interactions};
use crate::model::{ParamSpec, Params, read_params};
use crate::run::Run;
use crate::training_curve::TrainingCurve;
use serde_json::Value;

/// A set of items, one bit each.
///
/// ```
/// use tradewind_core::{Ids, ItemSet};
/// let mut items = Ids::new();
/// ["tea", "cup"].iter().for_each(|i| { items.insert(i); });
/// let hot = ItemSet::of(&items, |name| name == "tea");
/// assert!(hot.contains(0) && !hot.contains(1) && !hot.contains(900));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemSet(Vec<u64>);

impl ItemSet {
    /// The items for whose name `within` says yes.
    pub fn of(items: &Ids, within: impl Fn(&str) -> bool) -> Self {
        let mut bits = vec![0; items.len().div_ceil(64)];
        for (i, name) in items.iter().enumerate() {
            bits[i / 64] |= u64::from(within(name)) << (i % 64);
        }
        Self(bits)
    }

    /// None of the first `n` items.
    pub fn none(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    /// The first `n` items.
    pub fn all(n: usize) -> Self {
        let mut bits = vec![u64::MAX; n.div_ceil(64)];
        if let Some(last) = bits.last_mut().filter(|_| !n.is_multiple_of(64)) {
            *last = (1 << (n % 64)) - 1;
        }
        Self(bits)
    }

    /// Whether the item at this position is in the set.
    pub fn contains(&self, item: u32) -> bool {
        self.0.get(item as usize / 64).is_some_and(|word| word >> (item % 64) & 1 == 1)
    }

    /// Puts the item in.
    pub fn insert(&mut self, item: u32) {
        let word = item as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (item % 64);
    }

    /// Takes the item out.
    pub fn remove(&mut self, item: u32) {
        if let Some(word) = self.0.get_mut(item as usize / 64) {
            *word &= !(1 << (item % 64));
        }
    }

    /// Keeps what is in the other set too.
    pub fn keep(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    /// How many items are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The items in the order of positions.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(w, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(w as u32 * 64 + bit)
            })
        })
    }
}

/// What a list of items is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Items a list; at least 1.
    pub n: usize,
    /// Whether items of the user's own history may come back: yes for what is bought again and again.
    pub allow_seen: bool,
    /// Only these items, when given: in stock, within a price range, of a category.
    pub among: Option<&'a ItemSet>,
}

impl<'a> Ask<'a> {
    /// The `n` best unseen items of all.
    pub fn new(n: usize) -> Self {
        Self { n, allow_seen: false, among: None }
    }

    /// The same with seen items allowed or not.
    pub fn with_seen(self, allow_seen: bool) -> Self {
        Self { allow_seen, ..self }
    }

    /// The same among these items only.
    pub fn among(self, items: &'a ItemSet) -> Self {
        Self { among: Some(items), ..self }
    }
}

/// Lists of items, best first: one for every user, history or item that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    offsets: Vec<usize>,
    items: Vec<u32>,
    scores: Vec<f32>,
    by_model: Vec<usize>,
}

/// One list of a [`Ranking`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked<'a> {
    /// Positions of the items, best first.
    pub items: &'a [u32],
    /// Their scores; they compare within one list and one step only.
    pub scores: &'a [f32],
    /// So many of them are the model's own answer; the others are the most popular ones that fill the list up.
    pub by_model: usize,
}

impl Ranking {
    /// No list yet.
    pub fn new() -> Self {
        Self { offsets: vec![0], ..Self::default() }
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.by_model.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_model.is_empty()
    }

    /// One more list, of which the first `by_model` are the model's own.
    pub fn push(&mut self, list: &[(u32, f32)], by_model: usize) {
        self.items.extend(list.iter().map(|e| e.0));
        self.scores.extend(list.iter().map(|e| e.1));
        self.offsets.push(self.items.len());
        self.by_model.push(by_model.min(list.len()));
    }

    /// The lists of `other` behind these.
    pub fn extend(&mut self, other: &Self) {
        let base = self.items.len();
        self.items.extend(&other.items);
        self.scores.extend(&other.scores);
        self.offsets.extend(other.offsets.iter().skip(1).map(|o| base + o));
        self.by_model.extend(&other.by_model);
    }

    /// List `i`. Panics, as a slice would, when there is no such list.
    pub fn list(&self, i: usize) -> Ranked<'_> {
        let part = self.offsets[i]..self.offsets[i + 1];
        Ranked { items: &self.items[part.clone()], scores: &self.scores[part], by_model: self.by_model[i] }
    }

    /// All lists in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Ranked<'_>> + '_ {
        (0..self.len()).map(|i| self.list(i))
    }
}

/// Whose list is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past<'a> {
    /// The position of a known user whose history this is, exactly as it is known.
    pub user: Option<u32>,
    /// The history.
    pub history: History<'a>,
}

/// A way to recommend, with its parameters, before it has seen data.
pub trait Recommender: Send + Sync {
    /// The name in the catalogue.
    fn name(&self) -> &str;
    /// Learns from the interactions. Fitting twice forgets the first time.
    fn fit(&self, run: &Run, data: &Interactions) -> Result<Box<dyn FittedRecommender>>;
}

/// What a [`Recommender`] has learnt.
///
/// There is always an answer: a user who is not known, or has no history, gets the most popular items, and so does a
/// list that the model cannot fill. [`Ranked::by_model`] tells where they begin. Equal scores stand in the order of
/// the items' positions.
pub trait FittedRecommender: Send + Sync {
    /// The name in the catalogue.
    fn name(&self) -> &str;
    /// What is known, histories included; positions in answers are those of its items.
    fn known(&self) -> &Interactions;
    /// One list for each of these users, in their order.
    fn recommend(&self, run: &Run, users: &[&str], ask: &Ask<'_>) -> Result<Ranking>;
    /// One list for each of these histories, of people who are not known or have gone on since. Items are positions
    /// of the known ones.
    fn recommend_next(&self, run: &Run, histories: &[History<'_>], ask: &Ask<'_>) -> Result<Ranking>;
    /// For each of these items the most similar ones, without the item itself. An unknown item gets an empty list.
    fn similar_items(&self, run: &Run, items: &[&str], ask: &Ask<'_>) -> Result<Ranking>;
    /// Takes in newer interactions without learning anew: they are seen in the next answer.
    fn update(&mut self, run: &Run, newer: &Interactions) -> Result<()>;
    /// The state as JSON; the catalogue's `load` reads it back.
    fn save(&self) -> Result<Value>;
    /// How each part that is trained in rounds (a network) went; empty where nothing is. They are part of the saved state.
    fn training_curves(&self) -> Vec<TrainingCurve> {
        Vec::new()
    }
    /// Writes the model's own scores of all items for each past, one row each, into `out`, on the caller's thread.
    /// Larger is better; 0 means no opinion where the model is one that knows few items of each user.
    fn scores(&self, pasts: &[Past<'_>], out: &mut [f32]) -> Result<()>;

    /// The model's `n` best items for one past, on the caller's thread: for answers one at a time, where
    /// [`FittedRecommender::recommend`] is for many. Items of the history come back too, unless `among` leaves them
    /// out; nothing is filled up, and no opinion is an empty list.
    fn top_for(&self, past: &Past<'_>, n: usize, among: Option<&ItemSet>) -> Result<Vec<(u32, f32)>> {
        let mut scores = vec![0.0; self.known().items().len()];
        self.scores(std::slice::from_ref(past), &mut scores)?;
        let silent = scores.iter().all(|s| *s == scores[0]);
        let mut list: Vec<(u32, f32)> = scores
            .into_iter()
            .enumerate()
            .map(|(i, s)| (i as u32, s))
            .filter(|e| !silent && among.is_none_or(|a| a.contains(e.0)))
            .collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list.truncate(n);
        Ok(list)
    }

    /// The `n` items most similar to one known item, without it, on the caller's thread.
    fn top_similar(&self, item: u32, n: usize, among: Option<&ItemSet>) -> Result<Vec<(u32, f32)>> {
        if item as usize >= self.known().items().len() || n == 0 {
            return Ok(vec![]);
        }
        let ask = Ask { n, allow_seen: true, among };
        let name = self.known().items().name(item);
        let ranking = self.similar_items(&Run::new(0).with_threads(1), &[name], &ask)?;
        let list = ranking.list(0);
        Ok(list.items.iter().copied().zip(list.scores.iter().copied()).collect())
    }

    /// The model's scores of these items for one past, on the caller's thread.
    fn scores_of(&self, past: &Past<'_>, items: &[u32]) -> Result<Vec<f32>> {
        let mut scores = vec![0.0; self.known().items().len()];
        self.scores(std::slice::from_ref(past), &mut scores)?;
        Ok(items.iter().map(|i| scores.get(*i as usize).copied().unwrap_or(0.0)).collect())
    }

    /// How much each event of the history speaks for each of these items: one row for every item, as long as the
    /// history. Empty where the model cannot tell.
    fn contributions(&self, _past: &Past<'_>, _items: &[u32]) -> Result<Vec<f32>> {
        Ok(vec![])
    }

    /// How alike two known items are, from -1 to 1, where the model can tell: a positive semidefinite measure.
    fn alike(&self, _a: u32, _b: u32) -> Option<f32> {
        None
    }
}

/// One entry of a catalogue of recommenders.
#[derive(Clone, Copy)]
pub struct RecommenderEntry {
    /// The name, as typed by people.
    pub name: &'static str,
    /// One sentence in English.
    pub summary: &'static str,
    /// One sentence in Chinese.
    pub summary_zh: &'static str,
    /// The paper or book.
    pub source: &'static str,
    /// The parameters.
    pub params: &'static [ParamSpec],
    /// Whether the order of a history matters to it.
    pub ordered: bool,
    /// Makes it from parameters (those not given have their default) and checks them.
    pub build: fn(&Params) -> Result<Box<dyn Recommender>>,
    /// Reads back what [`FittedRecommender::save`] gave.
    pub load: fn(Value) -> Result<Box<dyn FittedRecommender>>,
}

impl std::fmt::Debug for RecommenderEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecommenderEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RecommenderEntry {
    /// Reads this method's parameter struct; see [`read_params`]. For use in `build`.
    pub fn read<P: serde::de::DeserializeOwned + Default>(&self, params: &Params) -> Result<P> {
        read_params(self.name, self.params, params)
    }

    /// The error of saved state that cannot be read.
    pub fn unreadable(&self, source: serde_json::Error) -> Error {
        Error::Saved { what: self.name.to_owned(), source }
    }
}
