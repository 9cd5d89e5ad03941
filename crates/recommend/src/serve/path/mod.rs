//! The way of a request: candidates, step after step until the list is full, then weights, mixing and reasons.

mod mixing;

use super::items::{Items, NO_CATEGORY};
use super::reasons::Reason;
use super::request::{Answer, Request, Shown, Step, Surface};
use super::rules::quoted;
use super::{Engine, Serving};
use crate::live::{Kept, Row, merged};
use std::collections::HashMap;
use tradewind_core::{Error, History, ItemSet, Past, Result};

/// What put an item into the list.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    /// The model, from the history.
    History,
    /// Transitions counted from this item, so often at least.
    After(u32, f32),
    /// Purchases counted with this item, so often at least.
    Together(u32, f32),
    /// The model finds it like this item.
    Like(u32),
    Rising,
    Popular,
    New,
    Found,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    item: u32,
    score: f32,
    step: Step,
    /// The stage of the chain, counted from 0.
    stage: u32,
    cause: Cause,
}

/// "Often" is said from so many times on.
const OFTEN: f32 = 2.0;
/// Last events that transitions are looked up for, and what each counts less than the next.
const RECENT: usize = 10;
const RECENT_DECAY: f32 = 0.7;
/// Candidates at most.
const POOL_MAX: usize = 2000;
/// Events of a history that reasons are looked for in.
const CAUSES_MAX: usize = 100;

/// A history in the model's positions, of one's own or lent by the model.
enum Taste<'a> {
    Known(u32, History<'a>),
    Own { items: Vec<u32>, ds: Vec<i64>, weights: Vec<f32>, events: Vec<u8> },
}

impl Taste<'_> {
    fn past(&self) -> Past<'_> {
        match self {
            Self::Known(user, history) => Past { user: Some(*user), history: *history },
            Self::Own { items, ds, weights, events } => {
                Past { user: None, history: History { items, ds, weights, events } }
            }
        }
    }
}

struct Way<'a> {
    engine: &'a Engine,
    serving: &'a Serving,
    items: &'a Items,
    request: &'a Request<'a>,
    /// Positions of the request's items.
    context: Vec<u32>,
    /// The user in the model.
    user: Option<u32>,
    /// The user's last events, those of the model first.
    past: Vec<Kept>,
    /// Whether some of them are newer than the model.
    newer: bool,
    /// The events of the session.
    session: Vec<Kept>,
    /// What may still come into the list.
    open: ItemSet,
    found: Vec<Candidate>,
    stages: u32,
    wanted: usize,
}

pub(super) fn answer(engine: &Engine, request: &Request<'_>) -> Result<Answer> {
    let n_max = engine.settings.n_max;
    if !(1..=n_max).contains(&request.n) {
        return Err(Error::Invalid(format!("{} items are asked for; 1 to {n_max} may be", request.n)));
    }
    request.rerank.check()?;
    // The model before the table, so that the table has all of the model's items.
    let serving = engine.serving();
    let items = engine.items();
    let mut way = Way::new(engine, &serving, &items, request)?;
    way.candidates()?;
    way.complete()?;
    let order = way.order()?;
    way.told(&order)
}

impl<'a> Way<'a> {
    fn new(
        engine: &'a Engine,
        serving: &'a Serving,
        items: &'a Items,
        request: &'a Request<'a>,
    ) -> Result<Self> {
        let mut context: Vec<u32> = Vec::new();
        for id in request.items {
            if let Some(at) = items.ids().find(id).filter(|at| !context.contains(at)) {
                context.push(at);
            }
        }
        let (mut user, mut past, mut newer, mut session) = (None, vec![], false, vec![]);
        if request.personal {
            if let Some(name) = request.user {
                user = serving.model.known().users().find(name);
                serving.tail(name, engine.settings.history_max, &mut past);
                let n_known = past.len();
                past = merged(past, &engine.live.user(name));
                newer = past.len() > n_known;
            }
            session = match request.session {
                Some(name) => engine.live.session(name, request.now),
                None => {
                    let mut last = past.clone();
                    engine.live.last_session(&mut last, request.now);
                    last
                }
            };
        }
        let pool = if request.rerank.needs_pool() { request.rerank.pool } else { 1 };
        let mut way = Self {
            engine,
            serving,
            items,
            request,
            context,
            user,
            past,
            newer,
            session,
            open: ItemSet::default(),
            found: vec![],
            stages: 0,
            wanted: (request.n * pool).min(POOL_MAX.max(request.n)),
        };
        way.open = way.allowed()?;
        Ok(way)
    }

    /// What the filters leave.
    fn allowed(&self) -> Result<ItemSet> {
        let (filters, items) = (&self.request.filters, self.items);
        let mut open = items.open().clone();
        if filters.in_stock {
            open.keep(items.in_stock());
        }
        for rule in self.engine.settings.rules.iter().map(String::as_str).chain(filters.rule) {
            open.keep(&*self.engine.rules.set(rule, items)?);
        }
        if !filters.categories.is_empty() {
            let mut names: Vec<String> = filters.categories.iter().map(|c| quoted(c)).collect();
            names.sort_unstable();
            open.keep(&*self.engine.rules.set(&format!("category in [{}]", names.join(",")), items)?);
        }
        if let Some(region) = filters.region {
            open.keep(&*self.engine.rules.set(&format!("sold_in({})", quoted(region)), items)?);
        }
        if filters.price_min.is_some() || filters.price_max.is_some() {
            let (min, max) = (filters.price_min, filters.price_max);
            open.keep(&items.priced(min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY)));
        }
        filters.exclude.iter().filter_map(|id| items.ids().find(id)).for_each(|at| open.remove(at));
        let ranks = matches!(self.request.surface, Surface::RankThese | Surface::SearchRerank);
        if ranks {
            let mut given = ItemSet::none(items.len());
            self.context.iter().for_each(|at| given.insert(*at));
            open.keep(&given);
        } else {
            self.context.iter().for_each(|at| open.remove(*at));
        }
        let fresh =
            matches!(self.request.surface, Surface::ForYou | Surface::NextInSession | Surface::CartAddOns);
        if !filters.allow_seen.unwrap_or(!fresh) {
            if let Some(user) = self.user {
                let known = self.serving.model.known().history(user).items;
                known.iter().for_each(|m| open.remove(self.serving.to_table[*m as usize]));
            }
            self.past.iter().chain(&self.session).for_each(|e| open.remove(e.item));
        }
        if filters.bought_within > 0 {
            let since = self.request.now.saturating_sub(filters.bought_within);
            if let Some(user) = self.user {
                let h = self.serving.model.known().history(user);
                let bought = (0..h.len())
                    .filter(|k| h.ds[*k] >= since && self.serving.purchase[usize::from(h.events[*k])]);
                bought.for_each(|k| open.remove(self.serving.to_table[h.items[k] as usize]));
            }
            let newer = self.past.iter().chain(&self.session).filter(|e| e.purchase && e.ds >= since);
            newer.for_each(|e| open.remove(e.item));
        }
        Ok(open)
    }

    /// The candidates of the surface itself.
    fn candidates(&mut self) -> Result<()> {
        let recent = |events: &[Kept]| -> Vec<(u32, f32)> {
            let newest = events.iter().rev().filter(|e| e.weight > 0.0).take(RECENT);
            newest.enumerate().map(|(k, e)| (e.item, RECENT_DECAY.powi(k as i32))).collect()
        };
        let given: Vec<(u32, f32)> = self.context.iter().map(|at| (*at, 1.0)).collect();
        match self.request.surface {
            Surface::ForYou => {
                self.for_taste(&self.taste())?;
                let sources = recent(&self.past);
                self.counted(&sources, false);
            }
            Surface::NextInSession => {
                let mut events = self.session.clone();
                events.extend(self.context.iter().map(|at| self.as_event(*at)));
                let taste = self.own_taste(&events);
                let sources = recent(&events);
                if self.serving.ordered {
                    self.for_taste(&taste)?;
                    self.counted(&sources, false);
                } else {
                    self.counted(&sources, false);
                    self.for_taste(&taste)?;
                }
            }
            Surface::Similar => {
                self.similar()?;
                self.counted(&given, false);
            }
            Surface::BoughtTogether => {
                self.counted(&given, true);
                self.similar()?;
                self.counted(&given, false);
            }
            Surface::CartAddOns => {
                self.counted(&given, true);
                self.counted(&given, false);
                let mut events = self.past.clone();
                events.extend(self.context.iter().map(|at| self.as_event(*at)));
                self.for_taste(&self.own_taste(&events))?;
            }
            Surface::Trending => {}
            Surface::RankThese => self.ranked()?,
            Surface::SearchRerank => self.search_order()?,
        }
        Ok(())
    }

    /// An item of the request as if the user met it now.
    fn as_event(&self, item: u32) -> Kept {
        Kept { item, ds: self.request.now, weight: 1.0, kind: 0, purchase: false, known: true }
    }

    /// The user's history as the model takes it.
    fn taste(&self) -> Option<Taste<'a>> {
        match self.user.filter(|_| !self.newer) {
            Some(user) => {
                let history = self.serving.model.known().history(user);
                (!history.is_empty()).then_some(Taste::Known(user, history))
            }
            None => self.own_taste(&self.past),
        }
    }

    fn own_taste(&self, events: &[Kept]) -> Option<Taste<'a>> {
        let start = events.len().saturating_sub(self.engine.settings.history_max);
        let names = self.engine.live.kind_names();
        let kinds = self.serving.model.known().events();
        let (mut items, mut ds, mut weights, mut of_kind) = (vec![], vec![], vec![], vec![]);
        for e in &events[start..] {
            let Some(item) = self.serving.in_model(e.item) else { continue };
            items.push(item);
            ds.push(e.ds);
            weights.push(e.weight);
            let kind = match e.known {
                true => e.kind,
                false => names
                    .get(usize::from(e.kind))
                    .and_then(|name| kinds.iter().position(|k| k == name))
                    .map_or(0, |at| at as u8),
            };
            of_kind.push(kind);
        }
        (!items.is_empty()).then_some(Taste::Own { items, ds, weights, events: of_kind })
    }

    fn room(&self) -> usize {
        self.wanted.saturating_sub(self.found.len())
    }

    /// Takes in candidates, best first, as far as there is room.
    fn take(&mut self, step: Step, list: impl IntoIterator<Item = (u32, f32, Cause)>) {
        let before = self.found.len();
        for (item, score, cause) in list {
            if self.room() == 0 {
                break;
            }
            if self.open.contains(item) {
                self.open.remove(item);
                self.found.push(Candidate { item, score, step, stage: self.stages, cause });
            }
        }
        self.stages += u32::from(self.found.len() > before);
    }

    /// The open items in the model's positions.
    fn open_in_model(&self) -> ItemSet {
        if self.serving.same {
            return self.open.clone();
        }
        let mut out = ItemSet::none(self.serving.to_table.len());
        self.open.iter().filter_map(|at| self.serving.in_model(at)).for_each(|m| out.insert(m));
        out
    }

    fn for_taste(&mut self, taste: &Option<Taste<'_>>) -> Result<()> {
        let Some(taste) = taste.as_ref().filter(|_| self.room() > 0) else { return Ok(()) };
        let open = self.open_in_model();
        let list = self.serving.model.top_for(&taste.past(), self.room(), Some(&open))?;
        let to_table = &self.serving.to_table;
        let list: Vec<_> = list.into_iter().map(|(m, s)| (to_table[m as usize], s, Cause::History)).collect();
        self.take(Step::Model, list);
        Ok(())
    }

    /// What is like the items of the request: of several ones the sum counts, and the likest is the cause.
    fn similar(&mut self) -> Result<()> {
        if self.room() == 0 {
            return Ok(());
        }
        let open = self.open_in_model();
        let mut sums = Sums::default();
        for at in &self.context {
            let Some(m) = self.serving.in_model(*at) else { continue };
            // Somewhat more than wanted, since what is only second for each may be first for all.
            let n = if self.context.len() > 1 { self.room() * 3 } else { self.room() };
            for (j, s) in self.serving.model.top_similar(m, n, Some(&open))? {
                sums.add(self.serving.to_table[j as usize], s, s, Cause::Like(*at));
            }
        }
        self.take(Step::Model, sums.best());
        Ok(())
    }

    /// What was counted after the sources, or bought together with them.
    fn counted(&mut self, sources: &[(u32, f32)], together: bool) {
        if self.room() == 0 {
            return;
        }
        let mut sums = Sums::default();
        for (source, weight) in sources {
            let mut look = |row: &Row| {
                for k in 0..row.items.len() {
                    if self.open.contains(row.items[k]) {
                        let often = row.counts[k] - row.over[k];
                        let cause = if together {
                            Cause::Together(*source, often)
                        } else {
                            Cause::After(*source, often)
                        };
                        let share = weight * row.counts[k] / (row.total + 1.0);
                        sums.add(row.items[k], share, share, cause);
                    }
                }
            };
            match together {
                true => self.engine.live.together(*source, &mut look),
                false => self.engine.live.after(*source, &mut look),
            };
        }
        self.take(Step::Session, sums.best());
    }

    fn ranked(&mut self) -> Result<()> {
        self.scored()?;
        let levels = self.context.iter().filter_map(|at| {
            self.engine.live.popularity().level(*at).map(|l| (*at, l as f32, Cause::Popular))
        });
        let mut levels: Vec<_> = levels.collect();
        levels.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.take(Step::Popular, levels);
        let given: Vec<_> = self.context.iter().map(|at| (*at, 0.0, Cause::Nothing)).collect();
        self.take(Step::Given, given);
        Ok(())
    }

    /// The model's scores of the request's items.
    fn model_scores(&self) -> Result<Vec<(u32, f32)>> {
        let Some(taste) = self.taste() else { return Ok(vec![]) };
        let asked: Vec<(u32, u32)> = self
            .context
            .iter()
            .filter(|at| self.open.contains(**at))
            .filter_map(|at| self.serving.in_model(*at).map(|m| (*at, m)))
            .collect();
        let places: Vec<u32> = asked.iter().map(|a| a.1).collect();
        let scores = self.serving.model.scores_of(&taste.past(), &places)?;
        Ok(asked.iter().zip(scores).map(|(a, s)| (a.0, s)).collect())
    }

    fn scored(&mut self) -> Result<()> {
        let mut scores = self.model_scores()?;
        // The same for all is no opinion.
        if scores.len() > 1 && scores.iter().all(|s| s.1 == scores[0].1) {
            scores.clear();
        }
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.take(Step::Model, scores.into_iter().map(|(at, s)| (at, s, Cause::History)).collect::<Vec<_>>());
        Ok(())
    }

    /// The order of the search, moved by the model.
    fn search_order(&mut self) -> Result<()> {
        let scores: HashMap<u32, f32> = self.model_scores()?.into_iter().collect();
        let (low, high) = scores.values().fold((f32::MAX, f32::MIN), |m, s| (m.0.min(*s), m.1.max(*s)));
        let personal = high > low;
        let weight = if personal { self.engine.settings.search_weight } else { 0.0 };
        let n = self.context.len().max(1) as f32;
        let mut list: Vec<(u32, f32, Cause)> = self
            .context
            .iter()
            .enumerate()
            .map(|(k, at)| {
                let search = 1.0 - k as f32 / n;
                // An item that the model does not know is moved neither way.
                let taste =
                    scores.get(at).map_or(search, |s| (s - low) / (high - low).max(f32::MIN_POSITIVE));
                (*at, (1.0 - weight) * search + weight * taste, Cause::Found)
            })
            .collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.take(if personal { Step::Model } else { Step::Given }, list);
        Ok(())
    }

    /// Goes on along the chain until the list can be full.
    fn complete(&mut self) -> Result<()> {
        if matches!(self.request.surface, Surface::RankThese | Surface::SearchRerank) {
            return Ok(());
        }
        let n = self.request.n;
        if let Some(fair) = self.request.rerank.fair {
            for (value, share) in fair.shares {
                let of_group = self.engine.rules.set(&group_rule(fair.attribute, value), self.items)?;
                let there = self.found.iter().filter(|c| of_group.contains(c.item)).count();
                let due = (share * n as f32 + 1e-4).floor() as usize;
                if there < due {
                    self.fill(due - there, Some(&of_group));
                }
            }
        }
        let cap = self.request.rerank.category_max;
        let mut missing = n.saturating_sub(self.servable(cap));
        if cap == 0 {
            self.fill(missing, None);
            return Ok(());
        }
        // Categories that are full already bring nothing; every round fills at least one more, or finds nothing.
        while missing > 0 {
            let mut of_category: HashMap<u32, usize> = HashMap::new();
            self.found.iter().for_each(|c| *of_category.entry(self.items.category(c.item)).or_default() += 1);
            of_category.retain(|c, k| *c != NO_CATEGORY && *k >= cap);
            let mut among = self.open.clone();
            self.open
                .iter()
                .filter(|at| of_category.contains_key(&self.items.category(*at)))
                .for_each(|at| among.remove(at));
            let before = self.found.len();
            self.fill(missing, Some(&among));
            if self.found.len() == before {
                break;
            }
            missing = n.saturating_sub(self.servable(cap));
        }
        Ok(())
    }

    /// How many of the candidates the cap lets into the list.
    fn servable(&self, cap: usize) -> usize {
        if cap == 0 {
            return self.found.len();
        }
        let (mut of_category, mut free) = (HashMap::<u32, usize>::new(), 0);
        for c in &self.found {
            match self.items.category(c.item) {
                NO_CATEGORY => free += 1,
                category => *of_category.entry(category).or_default() += 1,
            }
        }
        free + of_category.values().map(|k| (*k).min(cap)).sum::<usize>()
    }

    /// `n` more: what rises, what is popular, what is new, anything.
    fn fill(&mut self, n: usize, among: Option<&ItemSet>) {
        self.wanted = self.found.len() + n;
        if n == 0 {
            return;
        }
        let now = self.request.now;
        let mut open = self.open.clone();
        if let Some(among) = among {
            open.keep(among);
        }
        let categories = self.categories();
        let popularity = self.engine.live.popularity();
        let (mut rising, mut popular, mut newest) = (Best::new(n), Best::new(2 * n), Best::new(3 * n));
        for at in open.iter() {
            if (categories.is_empty() || categories.contains(&self.items.category(at)))
                && let Some(rise) = popularity.rise(at, now)
            {
                rising.offer(at, rise);
            }
            if let Some(level) = popularity.level(at) {
                popular.offer(at, level);
            }
            // What is to come is not new yet.
            if let Some(created) = self.items.created(at).filter(|c| *c <= now) {
                newest.offer(at, created as f64);
            }
        }
        self.take(Step::TrendingInCategory, rising.list(Cause::Rising));
        let counts = popular.list(Cause::Popular);
        let counts: Vec<_> =
            counts.into_iter().map(|e| (e.0, popularity.count(e.0, now) as f32, e.2)).collect();
        self.take(Step::Popular, counts);
        self.take(Step::Newest, newest.list(Cause::New));
        let rest: Vec<_> = open.iter().map(|at| (at, 0.0, Cause::Nothing)).collect();
        self.take(Step::Anything, rest);
    }

    /// The categories at hand: those asked for, those of the items given, those of the last events.
    fn categories(&self) -> Vec<u32> {
        let asked = &self.request.filters.categories;
        let of = |items: &mut dyn Iterator<Item = u32>| -> Vec<u32> {
            items.map(|at| self.items.category(at)).filter(|c| *c != NO_CATEGORY).collect()
        };
        if !asked.is_empty() {
            return asked.iter().filter_map(|c| self.items.categories().find(c)).collect();
        }
        if !self.context.is_empty() {
            return of(&mut self.context.iter().copied());
        }
        if self.request.surface == Surface::Trending {
            return vec![];
        }
        of(&mut self.past.iter().chain(&self.session).rev().take(5).map(|e| e.item))
    }

    /// The answer with its reasons.
    fn told(&self, order: &[(usize, f32)]) -> Result<Answer> {
        let reasons = if self.request.explain { self.reasons(order)? } else { vec![None; order.len()] };
        let items = order.iter().zip(reasons).map(|((place, score), reason)| {
            let c = &self.found[*place];
            Shown { item: self.items.ids().name(c.item).to_owned(), score: *score, step: c.step, reason }
        });
        let items: Vec<Shown> = items.collect();
        Ok(Answer { answered_by: items.first().map(|s| s.step), items })
    }

    fn reasons(&self, order: &[(usize, f32)]) -> Result<Vec<Option<Reason>>> {
        let from_history: Vec<u32> = order
            .iter()
            .map(|o| &self.found[o.0])
            .filter(|c| matches!(c.cause, Cause::History | Cause::Found))
            .map(|c| c.item)
            .collect();
        let causes = self.causes(&from_history)?;
        let name = |at: u32| self.items.ids().name(at).to_owned();
        // Popular in a category is said only where the list is limited to it.
        let limited = !self.request.filters.categories.is_empty();
        let popularity = self.engine.live.popularity();
        Ok(order
            .iter()
            .map(|(place, _)| {
                let c = &self.found[*place];
                match c.cause {
                    Cause::History | Cause::Found => match causes.get(&c.item) {
                        Some((cause, true)) => Some(Reason::Bought(name(*cause))),
                        Some((cause, false)) => Some(Reason::Met(name(*cause))),
                        None if c.cause == Cause::Found => Some(Reason::Found),
                        None => popularity
                            .rise(c.item, self.request.now)
                            .map(|_| Reason::Rising(self.items.at(c.item).category.clone())),
                    },
                    Cause::After(source, often) => (often >= OFTEN).then(|| Reason::Follows(name(source))),
                    Cause::Together(source, often) => {
                        (often >= OFTEN).then(|| Reason::BoughtWith(name(source)))
                    }
                    Cause::Like(source) => Some(Reason::Like(name(source))),
                    Cause::Rising => Some(Reason::Rising(self.items.at(c.item).category.clone())),
                    Cause::Popular => {
                        Some(Reason::Popular(self.items.at(c.item).category.clone().filter(|_| limited)))
                    }
                    Cause::New => Some(Reason::New(self.items.at(c.item).category.clone())),
                    Cause::Nothing => None,
                }
            })
            .collect())
    }

    /// For each of these items the event of the history that speaks most for it, and whether it was a purchase.
    fn causes(&self, wanted: &[u32]) -> Result<HashMap<u32, (u32, bool)>> {
        let mut out = HashMap::new();
        if wanted.is_empty() {
            return Ok(out);
        }
        let mut events = match self.request.surface {
            Surface::NextInSession => self.session.clone(),
            _ => self.past.clone(),
        };
        // What the request names is a cause too, though nobody bought it yet.
        if matches!(self.request.surface, Surface::NextInSession | Surface::CartAddOns) {
            events.extend(self.context.iter().map(|at| self.as_event(*at)));
        }
        events.retain(|e| self.serving.in_model(e.item).is_some());
        let most = CAUSES_MAX.min(self.engine.settings.history_max);
        events.drain(..events.len().saturating_sub(most));
        let bought = |item: u32| events.iter().any(|e| e.item == item && e.purchase && e.weight > 0.0);
        let Some(taste) = self.own_taste(&events) else { return Ok(out) };
        let past = taste.past();
        let places: Vec<(u32, u32)> =
            wanted.iter().filter_map(|at| self.serving.in_model(*at).map(|m| (*at, m))).collect();
        let asked: Vec<u32> = places.iter().map(|p| p.1).collect();
        let words = self.serving.model.contributions(&past, &asked)?;
        for (k, (item, _)) in places.iter().enumerate() {
            if let Some(own) = events.iter().rev().find(|e| e.item == *item && e.weight > 0.0) {
                // What was taken before speaks for itself.
                out.insert(*item, (own.item, bought(own.item)));
                continue;
            }
            let Some(row) = words.chunks_exact(past.history.len()).nth(k) else { continue };
            let mut best: Option<(f32, usize)> = None;
            for (at, word) in row.iter().enumerate() {
                if *word > 0.0 && best.is_none_or(|b| *word > b.0) {
                    best = Some((*word, at));
                }
            }
            if let Some((_, at)) = best {
                out.insert(*item, (events[at].item, bought(events[at].item)));
            }
        }
        Ok(out)
    }
}

fn group_rule(attribute: &str, value: &str) -> String {
    match attribute {
        "category" => format!("category == {}", quoted(value)),
        other => format!("attributes.{} == {}", quoted(other), quoted(value)),
    }
}

/// Sums by item, with the cause that brings most.
#[derive(Default)]
struct Sums(HashMap<u32, (f32, f32, Option<Cause>)>);

impl Sums {
    fn add(&mut self, item: u32, value: f32, weight: f32, cause: Cause) {
        let sum = self.0.entry(item).or_insert((0.0, f32::NEG_INFINITY, None));
        sum.0 += value;
        if weight > sum.1 {
            (sum.1, sum.2) = (weight, Some(cause));
        }
    }

    fn best(self) -> Vec<(u32, f32, Cause)> {
        let mut out: Vec<_> =
            self.0.into_iter().filter_map(|(item, (sum, _, cause))| cause.map(|c| (item, sum, c))).collect();
        out.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        out
    }
}

/// The best few of many, best first; of equal ones the earlier.
struct Best {
    n: usize,
    kept: Vec<(u32, f64)>,
}

impl Best {
    fn new(n: usize) -> Self {
        Self { n, kept: Vec::new() }
    }

    fn offer(&mut self, item: u32, value: f64) {
        if self.kept.len() == self.n && self.kept.last().is_some_and(|last| last.1 >= value) {
            return;
        }
        let place = self.kept.partition_point(|e| e.1 >= value);
        self.kept.insert(place, (item, value));
        self.kept.truncate(self.n);
    }

    fn list(self, cause: Cause) -> Vec<(u32, f32, Cause)> {
        self.kept.into_iter().map(|(item, value)| (item, value as f32, cause)).collect()
    }
}
