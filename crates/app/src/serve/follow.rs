//! Keeps what is loaded as the registry has it: champions at the start, and every change of an alias or a split since.
//!
//! ```text
//! aliases, splits ─ every few seconds ─→ what each route should have ─→ fetch, check, load what is new ─→ swap
//!                                                                            └ a fault: the old stays, told once
//! ```
//!
//! A route is named by its kind (`trends`), learnt models by `learn/` and their name. A split of the registry decides for
//! its route; without one the champion answers: of several models of a kind that named like the route, else the first by
//! name.

use super::arms;
use super::domain::Domain;
use super::routes::learn;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tradewind::event_log::ShopEvent;
use tradewind::ingest::event_log::Start;
use tradewind::ops::experiment::Experiments;
use tradewind::ops::registry::{CHAMPION, Kind, Page, Reference, Registry, Version};
use tradewind::ops::traffic::{Split, Traffic};
use tradewind::serving::{Identity, LiveEvent, Loaded, Route};
use tradewind::{Error, Fault, Result};

/// What a route should have.
#[derive(Clone)]
enum Wanted {
    /// One version for everybody.
    Champion(Box<Version>),
    /// The arms and shadows of a split, in its order.
    Split { split: Split, arms: Vec<Version>, shadows: Vec<Version> },
}

impl Wanted {
    fn versions(&self) -> impl Iterator<Item = &Version> {
        let (one, arms, shadows): (Option<&Version>, &[Version], &[Version]) = match self {
            Self::Champion(version) => (Some(version.as_ref()), &[], &[]),
            Self::Split { arms, shadows, .. } => (None, arms, shadows),
        };
        one.into_iter().chain(arms).chain(shadows)
    }

    /// What tells one state of a route from another.
    fn mark(&self) -> String {
        let names: Vec<String> = self.versions().map(|v| format!("{}@{}", v.name, v.number)).collect();
        match self {
            Self::Champion(_) => names.join(" "),
            Self::Split { split, .. } => format!("{} {}", split.revision(), names.join(" ")),
        }
    }
}

/// Follows a registry.
pub(crate) struct Follower {
    registry: Registry,
    traffic: Traffic,
    experiments: Experiments,
    domain: Arc<Domain>,
    /// What each route was given last.
    marks: BTreeMap<String, String>,
    /// Faults told already, by route, so that the log is not filled with one.
    told: BTreeMap<String, String>,
}

impl Follower {
    /// Nothing is loaded yet.
    pub(crate) fn new(
        registry: Registry,
        traffic: Traffic,
        experiments: Experiments,
        domain: Arc<Domain>,
    ) -> Self {
        Self { registry, traffic, experiments, domain, marks: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// Looks once, and loads and swaps what changed. A route whose new versions cannot be loaded keeps the old ones.
    /// Whether all routes are as they should be.
    ///
    /// # Errors
    /// A registry that does not answer; everything stays as it is then.
    pub(crate) async fn look(&mut self) -> Result<bool> {
        let wanted = self.wanted().await?;
        let mut whole = true;
        for (route, wanted) in &wanted {
            let mark = wanted.mark();
            if self.marks.get(route) == Some(&mark) {
                continue;
            }
            match self.load(wanted).await {
                Ok(loaded) => {
                    let told: Vec<String> = loaded.versions().map(|v| v.identity.to_string()).collect();
                    let (domain, name) = (self.domain.clone(), route.clone());
                    // The newest events are shown to the new versions first, which takes a while.
                    let put = tokio::task::spawn_blocking(move || domain.serving.put(name, loaded)).await;
                    if put.is_err() {
                        whole = false;
                        self.fault(route, "putting versions in place was broken off".to_owned());
                        continue;
                    }
                    tracing::info!(route, versions = told.join(" "), "versions answer");
                    metrics::counter!("tradewind_swaps_total", "route" => route.clone(), "outcome" => "done")
                        .increment(1);
                    self.marks.insert(route.clone(), mark);
                    self.told.remove(route);
                }
                Err(e) => {
                    whole = false;
                    let hint = e.hint().map(|h| format!(" ({h})")).unwrap_or_default();
                    self.fault(route, format!("{e}{hint}"));
                }
            }
        }
        let gone: Vec<String> = self.marks.keys().filter(|r| !wanted.contains_key(*r)).cloned().collect();
        for route in gone {
            tracing::info!(route, "no version answers any longer");
            self.domain.serving.remove(&route);
            self.marks.remove(&route);
        }
        Ok(whole)
    }

    /// Looks again and again until the future is dropped.
    pub(crate) async fn follow(mut self, every: Duration) {
        let mut away = false;
        loop {
            tokio::time::sleep(every).await;
            match self.look().await {
                Ok(_) => away = false,
                // What is loaded goes on answering while the registry is away.
                Err(e) if !away => {
                    away = true;
                    tracing::warn!("the registry does not answer; loaded versions go on: {e}");
                }
                Err(_) => {}
            }
        }
    }

    fn fault(&mut self, route: &str, text: String) {
        metrics::counter!("tradewind_swaps_total", "route" => route.to_owned(), "outcome" => "failed")
            .increment(1);
        if self.told.get(route) != Some(&text) {
            tracing::error!(route, "new versions were refused, the old ones go on answering: {text}");
            self.told.insert(route.to_owned(), text);
        }
    }

    /// What each route should have now.
    async fn wanted(&self) -> Result<BTreeMap<String, Wanted>> {
        let mut out = BTreeMap::new();
        for split in self.traffic.splits().await? {
            match self.split(&split).await {
                Ok(wanted) => {
                    out.insert(split.route().to_owned(), wanted);
                }
                // One split that names what is no longer there must not take the others away.
                Err(e) => tracing::warn!(route = split.route(), "a split cannot be followed: {e}"),
            }
        }
        let mut champions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        let mut page = Page::default();
        loop {
            let listed = self.registry.models(&page).await?;
            for model in &listed.items {
                if model.aliases.iter().any(|a| a.name == CHAMPION) {
                    let version = self.registry.version(&Reference::alias(&model.name, CHAMPION)?).await?;
                    champions.entry(route_of(&version)).or_default().push(version);
                }
            }
            match listed.next {
                Some(after) => page.after = Some(after),
                None => break,
            }
        }
        let assigner = self.experiments.assigner().await?;
        for (experiment, arm, reference) in arms::naming(assigner.running()) {
            match self.registry.version(reference).await {
                Ok(version) => {
                    let route = arms::held(&route_of(&version), experiment, arm);
                    out.insert(route, Wanted::Champion(Box::new(version)));
                }
                Err(e) => tracing::warn!(experiment, arm, "the version of an arm is not there: {e}"),
            }
        }
        for (route, versions) in champions {
            let own = versions.iter().position(|v| v.name == route).unwrap_or(0);
            let Some(version) = versions.into_iter().nth(own) else { continue };
            out.entry(route).or_insert(Wanted::Champion(Box::new(version)));
        }
        self.domain.arms.store(Some(Arc::new(assigner)));
        Ok(out)
    }

    async fn split(&self, split: &Split) -> Result<Wanted> {
        let mut arms = Vec::with_capacity(split.arms().len());
        for arm in split.arms() {
            arms.push(self.registry.version(&arm.reference).await?);
        }
        let mut shadows = Vec::with_capacity(split.shadows().len());
        for shadow in split.shadows() {
            shadows.push(self.registry.version(&shadow.reference).await?);
        }
        Ok(Wanted::Split { split: split.clone(), arms, shadows })
    }

    /// Loads what is not loaded yet, every file checked.
    async fn load(&self, wanted: &Wanted) -> Result<Route> {
        let mut loaded: BTreeMap<(String, u64), Arc<Loaded>> = BTreeMap::new();
        for version in wanted.versions() {
            let key = (version.name.clone(), version.number);
            if loaded.contains_key(&key) {
                continue;
            }
            let identity = Identity::of(version);
            let known = self.domain.serving.table().find(&identity).cloned();
            let one = match known {
                Some(known) => known,
                None => {
                    let folder = self.registry.fetch(version).await?;
                    let work = move || tradewind::serving::load(&folder, identity);
                    let one = tokio::task::spawn_blocking(work).await.map_err(|_| {
                        Error::asked("loading a version was broken off", "see the log for what went wrong")
                    })??;
                    Arc::new(one)
                }
            };
            loaded.insert(key, one);
        }
        let of = |version: &Version| {
            loaded.get(&(version.name.clone(), version.number)).cloned().ok_or_else(|| {
                Error::asked(format!("{}@{} is not loaded", version.name, version.number), "try again")
            })
        };
        match wanted {
            Wanted::Champion(version) => Ok(Route::single(of(version)?)),
            Wanted::Split { split, arms, shadows } => Route::split(
                split.clone(),
                arms.iter().map(of).collect::<Result<_>>()?,
                shadows.iter().map(of).collect::<Result<_>>()?,
            ),
        }
    }
}

/// The group under which a starting server reads the log.
const GROUP: &str = "serving";
/// Events read at once.
const BATCH: usize = 2_000;
/// How long the log may be silent before it counts as read to its end.
const SILENCE: Duration = Duration::from_millis(200);

/// Shows the versions that learn from events what the log holds beyond their own data, so that an event that was
/// acknowledged before the server ended counts after it. What all of them know already is committed and not read again;
/// the rest stays for the next start.
///
/// # Errors
/// A log that cannot be read.
pub(crate) async fn replay(domain: &Domain) -> Result<()> {
    let Some(log) = &domain.log else { return Ok(()) };
    let known = {
        let table = domain.serving.table();
        let ends = table.versions().into_iter().filter_map(|v| v.recommendations());
        ends.map(|r| r.until().unwrap_or(i64::MIN)).min()
    };
    let Some(known) = known else { return Ok(()) };
    let mut member = log.join(GROUP, Start::Earliest).await?;
    let (mut shown, mut all_known) = (0_usize, true);
    loop {
        let batch = member.read(BATCH, SILENCE).await?;
        if batch.is_empty() {
            break;
        }
        let events: Vec<LiveEvent> = batch
            .into_iter()
            .filter_map(|d| ShopEvent::of_payload(&d.event.payload)?.live(domain.clock))
            .collect();
        // Both stand on the shop's clock.
        all_known &= events.iter().all(|e| e.ds <= known);
        if all_known {
            member.commit().await?;
            continue;
        }
        let newer: Vec<LiveEvent> = events.into_iter().filter(|e| e.ds > known).collect();
        shown += newer.len();
        let serving = domain.serving.clone();
        let work = move || {
            for event in newer {
                // A version that cannot use it answers without it.
                let _ = serving.event(event);
            }
        };
        if tokio::task::spawn_blocking(work).await.is_err() {
            return Err(Error::asked("showing events was broken off", "see the log for what went wrong"));
        }
    }
    if shown > 0 {
        tracing::info!(events = shown, "events of the log were shown to the versions that learn from them");
    }
    Ok(())
}

/// The route that a champion answers.
pub(crate) fn route_of(version: &Version) -> String {
    match version.kind {
        Kind::Learn => learn::route(&version.name),
        kind => kind.name().to_owned(),
    }
}
