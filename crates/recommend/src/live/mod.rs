//! What events change at once: histories, sessions, pairs, transitions, popularity.
//!
//! Everything is bounded and every bound has a name in [`LiveSettings`]. Locks are split over many shards, so that
//! threads seldom meet.
//!
//! | file | holds |
//! |---|---|
//! | `histories` | the newest events of each user and session; those least recently active are forgotten first |
//! | `rows` | for each item what follows it and what is bought with it, the strongest few |
//! | `popularity` | decayed counts of two half-lives: what is popular, what rises |

mod histories;
mod popularity;
mod rows;

use histories::Histories;
pub(crate) use histories::Kept;
use popularity::Popularity;
pub(crate) use rows::Row;
use rows::Rows;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError, RwLock};
use tradewind_core::{Error, Interactions, ParamCheck, Result};

/// One event as it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Who, if that is known.
    pub user: Option<&'a str>,
    /// In which session, if that is known.
    pub session: Option<&'a str>,
    /// The item.
    pub item: &'a str,
    /// When.
    pub ds: i64,
    /// What was done: view, cart, purchase; may be empty.
    pub event: &'a str,
    /// How much it counts, before the weight of its kind; below zero speaks against the item.
    pub weight: f64,
    /// The event's own name: one that came lately is not counted a second time.
    pub id: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// A user's event without a kind that counts 1.
    pub fn of(user: &'a str, item: &'a str, ds: i64) -> Self {
        Self { user: Some(user), session: None, item, ds, event: "", weight: 1.0, id: None }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counted,
    /// An event with its id came before.
    Duplicate,
    /// Its kind or itself has a weight of 0.
    NoWeight,
    /// The item is new and there are as many new ones as may be.
    NoRoomForItem,
}

/// Bounds and half-lives; times are in units of `ds`, and the defaults are for seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveSettings {
    /// What one event of each kind counts; kinds that are not named count 1.
    pub event_weights: BTreeMap<String, f64>,
    /// Kinds of event that are purchases.
    pub purchases: Vec<String>,
    /// Users with events newer than the model at most.
    pub users_max: usize,
    /// Sessions at most.
    pub sessions_max: usize,
    /// Newest events kept of each user and session.
    pub user_events_max: usize,
    /// Events kept of all users at most, and again as many of all sessions.
    pub events_max: usize,
    /// Items that come while serving at most.
    pub new_items_max: usize,
    /// What is kept for each item of what follows it, and of what is bought with it.
    pub row_max: usize,
    /// Steps that a transition may span.
    pub window: usize,
    /// What a transition counts for each further step.
    pub decay: f64,
    /// Time after which a transition or pair counts half; 0: never.
    pub row_half_life: f64,
    /// Time between two purchases of a user that count as bought together.
    pub together_gap: i64,
    /// Time after which an event counts half for what is popular.
    pub popularity_half_life: f64,
    /// The same for what rises, which is what counts more now than popularity lets expect.
    pub trend_half_life: f64,
    /// Time without an event after which a session is over.
    pub session_gap: i64,
    /// Ids of events remembered.
    pub ids_max: usize,
}

impl Default for LiveSettings {
    fn default() -> Self {
        const DAY: i64 = 86_400;
        Self {
            event_weights: BTreeMap::new(),
            purchases: ["purchase", "buy", "order"].map(String::from).to_vec(),
            users_max: 250_000,
            sessions_max: 100_000,
            user_events_max: 64,
            events_max: 4_000_000,
            new_items_max: 100_000,
            row_max: 64,
            window: 10,
            decay: 0.8,
            row_half_life: 0.0,
            together_gap: DAY,
            popularity_half_life: (14 * DAY) as f64,
            trend_half_life: DAY as f64,
            session_gap: 1800,
            ids_max: 1_000_000,
        }
    }
}

impl LiveSettings {
    /// All faults of the settings.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for weight in self.event_weights.values() {
            check.require(weight.abs() <= WEIGHT_MAX, "event_weights", weight, "-1e6 to 1e6");
        }
        for (name, value, max, allowed) in [
            ("users_max", self.users_max, 100_000_000, "1 to 100000000"),
            ("sessions_max", self.sessions_max, 100_000_000, "1 to 100000000"),
            ("user_events_max", self.user_events_max, 10_000, "1 to 10000"),
            ("events_max", self.events_max, 1_000_000_000, "1 to 1000000000"),
            ("new_items_max", self.new_items_max, 50_000_000, "1 to 50000000"),
            ("row_max", self.row_max, 10_000, "1 to 10000"),
            ("window", self.window, 1000, "1 to 1000"),
            ("ids_max", self.ids_max, 1_000_000_000, "1 to 1000000000"),
        ] {
            check.require((1..=max).contains(&value), name, value, allowed);
        }
        check.require((0.0..=1.0).contains(&self.decay), "decay", self.decay, "0 to 1");
        let row_ok = (0.0..=1e15).contains(&self.row_half_life);
        check.require(row_ok, "row_half_life", self.row_half_life, "0 to 1e15");
        for (name, value) in
            [("popularity_half_life", self.popularity_half_life), ("trend_half_life", self.trend_half_life)]
        {
            check.require(value > 0.0 && value <= 1e15, name, value, "above 0 to 1e15");
        }
        check.require(self.together_gap >= 0, "together_gap", self.together_gap, "0 or more");
        check.require(self.session_gap >= 0, "session_gap", self.session_gap, "0 or more");
        check.finish()
    }

    pub(crate) fn is_purchase(&self, event: &str) -> bool {
        self.purchases.iter().any(|p| p == event)
    }
}

/// The largest weight of an event or a kind.
const WEIGHT_MAX: f64 = 1e6;

/// Ids of the events that came lately.
struct Seen {
    shards: Vec<Mutex<(HashSet<u64>, VecDeque<u64>)>>,
    shard_max: usize,
}

/// Locks of [`Seen`].
const SEEN_SHARDS: usize = 32;

impl Seen {
    fn new(ids_max: usize) -> Self {
        let n = (ids_max / 16).clamp(1, SEEN_SHARDS);
        Self { shards: (0..n).map(|_| Mutex::default()).collect(), shard_max: ids_max / n }
    }

    /// Whether the id is new. Ids are told apart by 64 bits of their hash: of a million, a new one meets one once in
    /// some fifty thousand years of a million events a day.
    fn is_new(&self, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let hash = hasher.finish();
        let shard = &self.shards[(hash >> 32) as usize % self.shards.len()];
        let (set, order) = &mut *shard.lock().unwrap_or_else(PoisonError::into_inner);
        if !set.insert(hash) {
            return false;
        }
        order.push_back(hash);
        if order.len() > self.shard_max
            && let Some(old) = order.pop_front()
        {
            set.remove(&old);
        }
        true
    }
}

/// A kind of event.
#[derive(Clone, Debug)]
struct EventKind {
    name: String,
    weight: f64,
    purchase: bool,
}

/// Kinds of event that can be told apart.
const KINDS_MAX: usize = 255;

/// What is counted and kept while events come in.
pub struct Live {
    settings: LiveSettings,
    kinds: RwLock<Vec<EventKind>>,
    seen: Seen,
    users: Histories,
    sessions: Histories,
    after: Rows,
    together: Rows,
    popularity: Popularity,
    items_max: usize,
    by_lag: Vec<f32>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Live {
    /// Nothing counted yet, with `n_items` known items.
    pub(crate) fn new(settings: LiveSettings, n_items: usize) -> Result<Self> {
        settings.check()?;
        let by_lag = (0..=settings.window).map(|l| settings.decay.powi(l.saturating_sub(1) as i32) as f32);
        Ok(Self {
            kinds: RwLock::default(),
            seen: Seen::new(settings.ids_max),
            users: Histories::new(settings.users_max, settings.events_max, settings.user_events_max),
            sessions: Histories::new(settings.sessions_max, settings.events_max, settings.user_events_max),
            after: Rows::new(settings.row_max, settings.row_half_life),
            together: Rows::new(settings.row_max, settings.row_half_life),
            popularity: Popularity::new(settings.popularity_half_life, settings.trend_half_life),
            items_max: n_items + settings.new_items_max,
            by_lag: by_lag.collect(),
            settings,
        })
    }

    pub(crate) fn items_max(&self) -> usize {
        self.items_max
    }

    /// Users with events, and sessions.
    pub fn size(&self) -> (usize, usize) {
        (self.users.size().0, self.sessions.size().0)
    }

    pub(crate) fn check_event(&self, event: &Event<'_>) -> Result<()> {
        if event.weight.is_nan() || event.weight.abs() > WEIGHT_MAX {
            return Err(Error::Invalid(format!(
                "event of item `{}`: weight {} is not a number from -1e6 to 1e6",
                event.item, event.weight
            )));
        }
        if event.item.is_empty() {
            return Err(Error::Invalid("an event names no item".into()));
        }
        Ok(())
    }

    /// The place of a kind with what it counts. Kinds beyond the bound share the last place.
    fn kind(&self, name: &str) -> (u8, f64, bool) {
        let find = |kinds: &[EventKind]| {
            kinds
                .iter()
                .position(|k| k.name == name)
                .map(|at| (at as u8, kinds[at].weight, kinds[at].purchase))
        };
        if let Some(found) = find(&self.kinds.read().unwrap_or_else(PoisonError::into_inner)) {
            return found;
        }
        let weight = self.settings.event_weights.get(name).copied().unwrap_or(1.0);
        let purchase = self.settings.is_purchase(name);
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find(&kinds) {
            return found;
        }
        if kinds.len() >= KINDS_MAX {
            return (KINDS_MAX as u8 - 1, weight, purchase);
        }
        kinds.push(EventKind { name: name.to_owned(), weight, purchase });
        (kinds.len() as u8 - 1, weight, purchase)
    }

    /// The names of kinds by their places.
    pub(crate) fn kind_names(&self) -> Vec<String> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().map(|k| k.name.clone()).collect()
    }

    /// Takes in an event of the item at a position of the table; `base` gives the last events that the model knows of a
    /// user.
    pub(crate) fn take(&self, event: &Event<'_>, item: u32, base: impl Fn(&str, &mut Vec<Kept>)) -> Taken {
        let (kind, factor, purchase) = self.kind(event.event);
        let weight = event.weight * factor;
        if weight == 0.0 {
            return Taken::NoWeight;
        }
        if event.id.is_some_and(|id| !self.seen.is_new(id)) {
            return Taken::Duplicate;
        }
        let kept = Kept { item, ds: event.ds, weight: weight as f32, kind, purchase, known: false };
        self.popularity.add(item, weight, event.ds);
        let mut before = Vec::new();
        if let Some(session) = event.session {
            self.sessions.push(session, kept, &mut before);
        }
        if let Some(user) = event.user {
            self.users.push(user, kept, &mut before);
            let mut known = Vec::new();
            base(user, &mut known);
            before = merged(known, &before);
        }
        self.count_pairs(&before, kept);
        Taken::Counted
    }

    /// Counts a new event with those of the same user or session, which are in the order of time.
    fn count_pairs(&self, others: &[Kept], new: Kept) {
        if new.weight <= 0.0 {
            return;
        }
        let (before, after) = others.split_at(others.partition_point(|e| e.ds <= new.ds));
        self.count_away(before.iter().rev(), new, |e| (e.item, new.item, new.ds));
        self.count_away(after.iter(), new, |e| (new.item, e.item, e.ds));
    }

    /// Counts a new event with others, which come by their distance; `ordered` tells which item of the two came first,
    /// which later, and when.
    fn count_away<'k>(
        &self,
        others: impl Iterator<Item = &'k Kept>,
        new: Kept,
        ordered: impl Fn(&Kept) -> (u32, u32, i64),
    ) {
        let (mut lag, mut last) = (0, new.ds);
        for e in others {
            lag += usize::from(e.ds != last);
            last = e.ds;
            let gap = new.ds.saturating_sub(e.ds).saturating_abs();
            let near = purchase_pair(e, &new) && gap <= self.settings.together_gap;
            if lag > self.settings.window && !near {
                break;
            }
            if e.item == new.item || e.weight <= 0.0 {
                continue;
            }
            let (first, later, ds) = ordered(e);
            if lag <= self.settings.window {
                self.after.add(first, later, self.by_lag[lag], ds);
                if lag == 0 {
                    self.after.add(later, first, 1.0, ds);
                }
            }
            if near {
                self.together.add(first, later, 1.0, ds);
                self.together.add(later, first, 1.0, ds);
            }
        }
    }

    /// Counts what a model knows: popularity, and with `pairs` transitions and pairs.
    pub(crate) fn replay(&self, known: &Interactions, to_table: &[u32], pairs: bool) {
        let purchase: Vec<bool> = known.events().iter().map(|e| self.settings.is_purchase(e)).collect();
        let mut before: Vec<Kept> = Vec::new();
        for history in known.histories() {
            before.clear();
            for k in 0..history.len() {
                let kept = Kept {
                    item: to_table[history.items[k] as usize],
                    ds: history.ds[k],
                    weight: history.weights[k],
                    kind: history.events[k],
                    purchase: purchase[usize::from(history.events[k])],
                    known: true,
                };
                self.popularity.add(kept.item, f64::from(kept.weight), kept.ds);
                if pairs {
                    let start = before.len().saturating_sub(self.settings.user_events_max);
                    self.count_pairs(&before[start..], kept);
                    before.push(kept);
                }
            }
        }
    }

    /// What the last events of a user were, newer than the model or not yet in it.
    pub(crate) fn user(&self, name: &str) -> Vec<Kept> {
        self.users.of(name)
    }

    /// The events of a session that is not over yet.
    pub(crate) fn session(&self, name: &str, now: i64) -> Vec<Kept> {
        let mut events = self.sessions.of(name);
        self.last_session(&mut events, now);
        events
    }

    /// Keeps the events since the last pause.
    pub(crate) fn last_session(&self, events: &mut Vec<Kept>, now: i64) {
        let (mut start, mut next) = (events.len(), now);
        while start > 0 && next.saturating_sub(events[start - 1].ds) <= self.settings.session_gap {
            start -= 1;
            next = events[start].ds;
        }
        events.drain(..start);
    }

    /// What is counted after an item.
    pub(crate) fn after<T>(&self, item: u32, look: impl FnOnce(&Row) -> T) -> Option<T> {
        self.after.with(item, look)
    }

    /// What is bought together with an item.
    pub(crate) fn together<T>(&self, item: u32, look: impl FnOnce(&Row) -> T) -> Option<T> {
        self.together.with(item, look)
    }

    pub(crate) fn popularity(&self) -> &Popularity {
        &self.popularity
    }
}

fn purchase_pair(a: &Kept, b: &Kept) -> bool {
    a.purchase && b.purchase && a.item != b.item
}

/// What the model knows of a user with what came since; an event that stands in both counts once.
pub(crate) fn merged(known: Vec<Kept>, newer: &[Kept]) -> Vec<Kept> {
    let Some(end) = known.last().map(|e| e.ds) else { return newer.to_vec() };
    let mut out = known;
    let n_known = out.len();
    for e in newer {
        let there = e.ds <= end
            && out[..n_known]
                .iter()
                .rev()
                .take_while(|k| k.ds >= e.ds)
                .any(|k| (k.ds, k.item, k.purchase) == (e.ds, e.item, e.purchase));
        if !there {
            out.push(*e);
        }
    }
    // Stable: of equal times the known ones stay in front.
    if out[n_known..].first().is_some_and(|e| e.ds < end) {
        out.sort_by_key(|e| e.ds);
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use proptest::prelude::*;
    use tradewind_core::{Ask, EventSettings, FittedRecommender, Interaction, Params, Run};

    fn data(rows: &[(u32, u32, i64, bool)]) -> Interactions {
        let rows: Vec<(String, String, i64, bool)> =
            rows.iter().map(|r| (format!("u{}", r.0), format!("i{:02}", r.1), r.2, r.3)).collect();
        let rows = rows.iter().map(|(u, i, ds, bought)| Interaction {
            event: if *bought { "purchase" } else { "view" },
            ..Interaction::plain(u, i, *ds)
        });
        Interactions::build(rows, &EventSettings::default()).unwrap()
    }

    fn fit(name: &str, params: &str, data: &Interactions) -> Box<dyn FittedRecommender> {
        let params: Params = serde_json::from_str(params).unwrap();
        (crate::entry(name).unwrap().build)(&params).unwrap().fit(&Run::new(1), data).unwrap()
    }

    /// All events of `data`, one by one in the order of time.
    fn stream(live: &Live, data: &Interactions) {
        let mut events = vec![];
        for (u, h) in data.histories().enumerate() {
            (0..h.len()).for_each(|k| events.push((h.ds[k], u as u32, k, h)));
        }
        events.sort_by_key(|e| (e.0, e.1, e.2));
        for (ds, user, k, h) in events {
            let event = Event {
                event: &data.events()[usize::from(h.events[k])],
                ..Event::of(data.users().name(user), "-", ds)
            };
            assert_eq!(live.take(&event, h.items[k], |_, _| ()), Taken::Counted);
        }
    }

    fn sorted(row: &Row) -> Vec<(u32, f32)> {
        let mut out: Vec<(u32, f32)> = row.items.iter().copied().zip(row.counts.iter().copied()).collect();
        out.sort_by_key(|e| e.0);
        out
    }

    proptest! {
        #[test]
        fn counting_on_is_the_same_as_fitting_on_all(
            rows in prop::collection::vec((0_u32..8, 0_u32..20, 0_i64..60, any::<bool>()), 1..250),
        ) {
            let data = data(&rows);
            let to_table: Vec<u32> = (0..data.items().len() as u32).collect();
            let settings = LiveSettings {
                row_max: 20, user_events_max: 1000, popularity_half_life: 10.0, together_gap: 5,
                ..LiveSettings::default()
            };
            let live = Live::new(settings.clone(), data.items().len()).unwrap();
            stream(&live, &data);
            let replayed = Live::new(settings, data.items().len()).unwrap();
            replayed.replay(&data, &to_table, true);

            let transitions = fit("transitions", r#"{"window": 10, "decay": 0.8, "shrink": 1, "target_power": 0}"#, &data);
            let popular = fit("popularity", r#"{"half_life": 10, "distinct": false}"#, &data);
            let past = tradewind_core::Past::default();
            let scores = popular.scores_of(&past, &to_table).unwrap();
            let end = data.end().unwrap();
            for item in 0..data.items().len() as u32 {
                let all = Ask::new(100).with_seen(true);
                let fitted = transitions.similar_items(&Run::new(1), &[data.items().name(item)], &all).unwrap();
                let mut fitted: Vec<(u32, f32)> =
                    fitted.list(0).items.iter().copied().zip(fitted.list(0).scores.iter().copied()).collect();
                fitted.sort_by_key(|e| e.0);
                for of in [&live, &replayed] {
                    let row = of.after(item, Row::clone).unwrap_or_default();
                    let mut counted = sorted(&row);
                    counted.iter_mut().for_each(|e| e.1 /= row.total + 1.0);
                    prop_assert_eq!(counted.len(), fitted.len());
                    for (a, b) in counted.iter().zip(&fitted) {
                        prop_assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-4 * b.1, "{:?} {:?}", a, b);
                    }
                    let count = of.popularity().count(item, end);
                    prop_assert!((count - f64::from(scores[item as usize])).abs() < 1e-4 * count.max(1e-6));
                }
                // Pairs of purchases by their definition.
                let mut together: BTreeMap<u32, f32> = BTreeMap::new();
                for h in data.histories() {
                    let bought = |k: &usize| data.events()[usize::from(h.events[*k])] == "purchase";
                    for a in (0..h.len()).filter(bought).filter(|k| h.items[*k] == item) {
                        for b in (0..h.len()).filter(bought).filter(|k| h.items[*k] != item) {
                            if (h.ds[a] - h.ds[b]).abs() <= 5 {
                                *together.entry(h.items[b]).or_default() += 1.0;
                            }
                        }
                    }
                }
                let together: Vec<(u32, f32)> = together.into_iter().collect();
                for of in [&live, &replayed] {
                    prop_assert_eq!(&of.together(item, sorted).unwrap_or_default(), &together);
                }
            }
            for (u, name) in data.users().iter().enumerate() {
                let kept: Vec<(i64, u32)> = live.user(name).iter().map(|e| (e.ds, e.item)).collect();
                let h = data.history(u as u32);
                let truth: Vec<(i64, u32)> = h.ds.iter().copied().zip(h.items.iter().copied()).collect();
                prop_assert_eq!(kept, truth);
            }
        }
    }

    #[test]
    fn an_event_counts_once_and_the_window_of_ids_is_bounded() {
        let live = Live::new(LiveSettings { ids_max: 64, ..LiveSettings::default() }, 5).unwrap();
        let take = |id: &str| {
            let event = Event { id: Some(id), ..Event::of("ann", "tea", 5) };
            live.take(&event, 0, |_, _| ())
        };
        assert_eq!((take("a"), take("a"), take("b")), (Taken::Counted, Taken::Duplicate, Taken::Counted));
        (0..1000).for_each(|k| assert_eq!(take(&format!("n{k}")), Taken::Counted));
        let remembered: usize = live.seen.shards.iter().map(|s| s.lock().unwrap().1.len()).sum();
        assert!(remembered <= 64);
        assert_eq!(take("a"), Taken::Counted, "forgotten by now");
    }

    #[test]
    fn known_and_newer_events_count_once() {
        let kept = |item, ds, known| Kept { item, ds, weight: 1.0, kind: 0, purchase: false, known };
        let known = vec![kept(1, 1, true), kept(2, 5, true)];
        let newer = [kept(9, 0, false), kept(2, 5, false), kept(3, 5, false), kept(2, 6, false)];
        let all: Vec<(i64, u32)> = merged(known, &newer).iter().map(|e| (e.ds, e.item)).collect();
        assert_eq!(all, [(0, 9), (1, 1), (5, 2), (5, 3), (6, 2)]);
    }

    #[test]
    fn a_session_ends_with_a_pause() {
        let live = Live::new(LiveSettings::default(), 5).unwrap();
        for ds in [0, 100, 5000, 5100] {
            let event = Event { user: None, session: Some("s"), ..Event::of("", "tea", ds) };
            live.take(&event, 0, |_, _| ());
        }
        let times = |now| live.session("s", now).iter().map(|e| e.ds).collect::<Vec<_>>();
        assert_eq!(times(5200), [5000, 5100]);
        assert!(times(50_000).is_empty());
    }
}
