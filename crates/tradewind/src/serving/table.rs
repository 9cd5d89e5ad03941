//! Which versions answer which route, changed whole while requests go on.
//!
//! A request takes the [`Table`] of its moment and keeps it to its end, so that a change is never seen in half and the
//! versions taken out live as long as somebody asks them. New versions are loaded, and caught up with the events that
//! came since they were fitted, before the table that names them takes its place.

use super::{Identity, Kind, Loaded, load};
use crate::error::{Error, Result};
use arc_swap::{ArcSwap, Guard};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tradewind_ops::traffic::Split;
use tradewind_recommend::live::{Event, Taken};

/// Events kept to catch up versions that are loaded later.
const RECENT_MAX: usize = 200_000;

/// An event of a visitor, as serving keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveEvent {
    /// The event's own name: one that came lately is not counted a second time.
    pub id: Option<String>,
    /// Who, if that is known.
    pub user: Option<String>,
    /// In which session, if that is known.
    pub session: Option<String>,
    /// The item.
    pub item: String,
    /// When, in seconds since 1970.
    pub ds: i64,
    /// What was done: view, cart, purchase.
    pub event: String,
    /// How much it counts, before the weight of its kind.
    pub weight: f64,
}

impl LiveEvent {
    fn event(&self) -> Event<'_> {
        Event {
            user: self.user.as_deref(),
            session: self.session.as_deref(),
            item: &self.item,
            ds: self.ds,
            event: &self.event,
            weight: self.weight,
            id: self.id.as_deref(),
        }
    }
}

/// The versions of one route, all of one kind.
#[derive(Clone, Debug)]
pub struct Route {
    kind: Kind,
    /// Who answers whom; without one, the only arm does.
    split: Option<Split>,
    /// As many as the split has arms, at least one, in their order.
    arms: Vec<Arc<Loaded>>,
    /// As many as the split has shadows, in their order.
    shadows: Vec<Arc<Loaded>>,
}

/// Who answers one request.
#[derive(Clone, Debug)]
pub struct Assigned<'a> {
    /// The version that answers.
    pub loaded: &'a Arc<Loaded>,
    /// The versions that are asked as well.
    pub shadows: Vec<&'a Arc<Loaded>>,
}

impl Route {
    /// One version that answers everything.
    pub fn single(loaded: Arc<Loaded>) -> Self {
        Self { kind: loaded.kind(), split: None, arms: vec![loaded], shadows: vec![] }
    }

    /// Several versions that share the requests as a split says, and others that are asked in their shadow: a version
    /// for each arm and shadow of the split, in its order.
    ///
    /// # Errors
    /// Other numbers of versions than the split has arms and shadows, versions of several kinds.
    pub fn split(split: Split, arms: Vec<Arc<Loaded>>, shadows: Vec<Arc<Loaded>>) -> Result<Self> {
        let fits = arms.len() == split.arms().len() && shadows.len() == split.shadows().len();
        let Some(first) = arms.first().filter(|_| fits) else {
            return Err(Error::asked(
                format!(
                    "the split of {} has {} arms and {} shadows; {} and {} versions were given",
                    split.route(),
                    split.arms().len(),
                    split.shadows().len(),
                    arms.len(),
                    shadows.len()
                ),
                "load a version for each of them",
            ));
        };
        let kind = first.kind();
        if let Some(other) = arms.iter().chain(&shadows).find(|l| l.kind() != kind) {
            return Err(Error::asked(
                format!("{} is of the kind {}, {} of {kind}", other.identity, other.kind(), first.identity),
                "split the requests of a route between versions of one kind",
            ));
        }
        Ok(Self { kind, split: Some(split), arms, shadows })
    }

    /// The kind of its versions.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who answers: always the same version for a user while the split stands; without a user, by the request's name.
    pub fn assign(&self, user: Option<&str>, request: &str) -> Assigned<'_> {
        let Some(split) = &self.split else {
            return Assigned { loaded: &self.arms[0], shadows: vec![] };
        };
        let assigned = split.assign(user, request);
        // Names are unique within a split.
        let arm = split.arms().iter().position(|a| a.name == assigned.arm.name).unwrap_or(0);
        let asked = split.shadows().iter().zip(&self.shadows);
        let shadows =
            asked.filter(|(s, _)| assigned.shadows.iter().any(|a| a.name == s.name)).map(|(_, l)| l);
        Assigned { loaded: &self.arms[arm], shadows: shadows.collect() }
    }

    /// The version with the largest share.
    pub fn main(&self) -> &Arc<Loaded> {
        let Some(split) = &self.split else { return &self.arms[0] };
        let weights = split.arms().iter().map(|a| a.weight);
        // Of equal ones the first.
        let best = weights.enumerate().max_by_key(|(at, weight)| (*weight, std::cmp::Reverse(*at)));
        &self.arms[best.map_or(0, |(at, _)| at)]
    }

    /// The split, where there is one.
    pub fn split_of(&self) -> Option<&Split> {
        self.split.as_ref()
    }

    /// All versions, those with a share first.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.arms.iter().chain(&self.shadows)
    }
}

/// All routes of one moment.
#[derive(Clone, Debug, Default)]
pub struct Table {
    generation: u64,
    routes: BTreeMap<String, Route>,
}

impl Table {
    /// A number that grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A route's versions.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.get(name)
    }

    /// All routes by name.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.routes.iter().map(|(name, route)| (name.as_str(), route))
    }

    /// Every version that is loaded, once.
    pub fn versions(&self) -> Vec<&Arc<Loaded>> {
        let mut out: Vec<&Arc<Loaded>> = Vec::new();
        for version in self.routes.values().flat_map(Route::versions) {
            if !out.iter().any(|v| Arc::ptr_eq(v, version)) {
                out.push(version);
            }
        }
        out
    }

    /// The loaded version with this identity.
    pub fn find(&self, identity: &Identity) -> Option<&Arc<Loaded>> {
        self.routes.values().flat_map(Route::versions).find(|v| v.identity == *identity)
    }
}

/// The newest events, each with its number.
#[derive(Default)]
struct Recent {
    next: u64,
    events: VecDeque<(u64, LiveEvent)>,
}

impl Recent {
    fn push(&mut self, event: LiveEvent) {
        self.events.push_back((self.next, event));
        self.next += 1;
        if self.events.len() > RECENT_MAX {
            self.events.pop_front();
        }
    }

    /// Up to so many events from a number on, and the number after them.
    fn from(&self, number: u64, n: usize) -> (Vec<LiveEvent>, u64) {
        let start = self.events.partition_point(|(at, _)| *at < number);
        let part: Vec<LiveEvent> = self.events.range(start..).take(n).map(|(_, e)| e.clone()).collect();
        let next = match part.len() {
            0 => self.next,
            n => self.events[start + n - 1].0 + 1,
        };
        (part, next)
    }
}

/// Routes and their versions, shared by all requests.
pub struct Serving {
    table: ArcSwap<Table>,
    /// Held for reading while an event is applied, for writing while a table takes its place: no event falls between
    /// two tables.
    gate: RwLock<()>,
    recent: Mutex<Recent>,
    /// One change at a time.
    change: Mutex<()>,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::default()),
            gate: RwLock::new(()),
            recent: Mutex::default(),
            change: Mutex::new(()),
        }
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("table", &*self.table()).finish_non_exhaustive()
    }
}

impl Serving {
    /// No route yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of this moment. Whoever keeps it keeps its versions alive.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// A loaded version with this identity, or the one in the folder; every file of it is checked.
    ///
    /// # Errors
    /// As [`load`]; nothing of what answers now is changed.
    pub fn version(
        &self,
        identity: &Identity,
        folder: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<Arc<Loaded>> {
        if let Some(loaded) = self.table().find(identity) {
            return Ok(loaded.clone());
        }
        Ok(Arc::new(load(&folder()?, identity.clone())?))
    }

    /// Changes the routes and puts the new table in place, once the versions that are new know the newest events.
    /// Answers the table's number.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Route>)) -> u64 {
        let _one_at_a_time = lock(&self.change);
        let old = self.table.load_full();
        let mut routes = old.routes.clone();
        change(&mut routes);
        let table = Arc::new(Table { generation: old.generation + 1, routes });
        let new: Vec<&Arc<Loaded>> = table
            .versions()
            .into_iter()
            .filter(|v| !old.versions().iter().any(|o| Arc::ptr_eq(o, v)))
            .collect();
        let mut number = 0;
        // Most of the way beside the events that go on coming in, the rest while they wait.
        loop {
            let (part, next) = lock(&self.recent).from(number, 4096);
            number = next;
            if part.is_empty() {
                break;
            }
            catch_up(&new, &part);
        }
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let (rest, _) = lock(&self.recent).from(number, usize::MAX);
        catch_up(&new, &rest);
        let generation = table.generation;
        self.table.store(table);
        generation
    }

    /// Puts one route's versions in place.
    pub fn put(&self, name: impl Into<String>, route: Route) -> u64 {
        self.change(|routes| {
            routes.insert(name.into(), route);
        })
    }

    /// Takes a route out.
    pub fn remove(&self, name: &str) -> u64 {
        self.change(|routes| {
            routes.remove(name);
        })
    }

    /// Shows an event to every version that learns from events; the next answer knows it. What became of it in the
    /// version with the largest share is answered; `None` where no version learns.
    ///
    /// # Errors
    /// An event whose values are out of range; it counts nowhere then.
    pub fn event(&self, event: LiveEvent) -> Result<Option<Taken>> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load();
        let mut first = None;
        for version in table.versions() {
            let Some(engine) = version.recommendations() else { continue };
            // All engines check in the same way, so that the first refusal is that of all.
            let taken = engine.event(&event.event())?;
            first.get_or_insert(taken);
        }
        if first != Some(Taken::Duplicate) {
            lock(&self.recent).push(event);
        }
        Ok(first)
    }

    /// How many of the newest events are kept for versions to come.
    pub fn recent_len(&self) -> usize {
        lock(&self.recent).events.len()
    }
}

/// Shows events to versions that do not know them yet.
fn catch_up(versions: &[&Arc<Loaded>], events: &[LiveEvent]) {
    for engine in versions.iter().filter_map(|v| v.recommendations()) {
        let until = engine.until().unwrap_or(i64::MIN);
        for event in events.iter().filter(|e| e.ds > until) {
            // It was checked when it came in; an engine that cannot take it answers without it.
            let _ = engine.event(&event.event());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
