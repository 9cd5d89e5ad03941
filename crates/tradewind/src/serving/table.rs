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

/// A version with its share of a route's requests.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its share, compared with those of the other arms; 0 or more.
    pub weight: f64,
    /// The version.
    pub loaded: Arc<Loaded>,
}

/// The versions of one route, all of one kind.
#[derive(Clone, Debug)]
pub struct Route {
    kind: Kind,
    salt: String,
    arms: Vec<Arm>,
    shadows: Vec<Arc<Loaded>>,
    total: f64,
}

impl Route {
    /// One version that answers everything.
    pub fn single(loaded: Arc<Loaded>) -> Self {
        Self {
            kind: loaded.kind(),
            salt: String::new(),
            arms: vec![Arm { weight: 1.0, loaded }],
            shadows: vec![],
            total: 1.0,
        }
    }

    /// Several versions that share the requests, and others that are asked in their shadow.
    ///
    /// # Errors
    /// No version with a share, a share below zero, versions of several kinds.
    pub fn split(arms: Vec<Arm>, shadows: Vec<Arc<Loaded>>, salt: impl Into<String>) -> Result<Self> {
        if let Some(arm) = arms.iter().find(|a| !(a.weight >= 0.0 && a.weight.is_finite())) {
            return Err(Error::asked(
                format!("{} has the share {}", arm.loaded.identity, arm.weight),
                "give shares of 0 and more",
            ));
        }
        let total: f64 = arms.iter().map(|a| a.weight).sum();
        let Some(first) = arms.first().filter(|_| total > 0.0) else {
            return Err(Error::asked("no version has a share of the requests", "give one a share above 0"));
        };
        let kind = first.loaded.kind();
        let all = arms.iter().map(|a| &a.loaded).chain(&shadows);
        if let Some(other) = all.clone().find(|l| l.kind() != kind) {
            return Err(Error::asked(
                format!(
                    "{} is of the kind {}, {} of {kind}",
                    other.identity,
                    other.kind(),
                    first.loaded.identity
                ),
                "split the requests of a route between versions of one kind",
            ));
        }
        Ok(Self { kind, salt: salt.into(), arms, shadows, total })
    }

    /// The kind of its versions.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The versions that share the requests.
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// The versions that are asked in the shadow of the answers.
    pub fn shadows(&self) -> &[Arc<Loaded>] {
        &self.shadows
    }

    /// The version that answers `key`: a user, or a request that has none. The same key always gets the same version as
    /// long as the shares stay, and of a share that grows nobody is taken away.
    pub fn choose(&self, key: &str) -> &Arc<Loaded> {
        let mut left = share_of(&self.salt, key) * self.total;
        for arm in &self.arms {
            if left < arm.weight {
                return &arm.loaded;
            }
            left -= arm.weight;
        }
        // Rounding alone leads here: the last arm with a share.
        let last = self.arms.iter().rev().find(|a| a.weight > 0.0);
        &last.unwrap_or(&self.arms[0]).loaded
    }

    /// The version with the largest share.
    pub fn main(&self) -> &Arc<Loaded> {
        let best = |a: &&Arm, b: &&Arm| a.weight.total_cmp(&b.weight);
        &self.arms.iter().rev().max_by(best).unwrap_or(&self.arms[0]).loaded
    }

    /// All versions, those with a share first.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.arms.iter().map(|a| &a.loaded).chain(&self.shadows)
    }
}

/// A number from 0 to below 1 that a key always has.
fn share_of(salt: &str, key: &str) -> f64 {
    let mut hash = blake3::Hasher::new();
    hash.update(&(salt.len() as u64).to_le_bytes());
    hash.update(salt.as_bytes());
    hash.update(key.as_bytes());
    let mut first = [0; 8];
    hash.finalize_xof().fill(&mut first);
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
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

/// Routes and their versions, shared by all requests; see the [module](self).
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
