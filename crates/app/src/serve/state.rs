//! What every handler is given: the shop's settings, keys, readiness, rates.

use super::assignments::Assignments;
use super::domain::Domain;
use super::identity::Identity;
use super::rates::Rates;
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tradewind::ops::access::Access;
use tradewind::ops::experiment::Experiments;
use tradewind::ops::jobs::Jobs;
use tradewind::ops::registry::Registry;
use tradewind::ops::traffic::Traffic;
use tradewind::warehouse::settings::ServeSettings;

/// For how long the state may be away before this server says that it is not ready: until then keys that it knows are
/// still good, so that answers that need no state still go out.
const STATE_AWAY_MAX: Duration = Duration::from_secs(120);

/// The server's state. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) settings: ServeSettings,
    pub(crate) access: Access,
    /// The provider whose tokens are taken beside keys.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) registry: Registry,
    pub(crate) jobs: Jobs,
    pub(crate) traffic: Traffic,
    /// Experiments, and who is in which arm.
    pub(crate) assignments: Assignments,
    pub(crate) metrics: PrometheusHandle,
    /// Places for requests worked on at the same time.
    pub(crate) places: Semaphore,
    pub(crate) rates: Rates,
    /// How often a refusal of one key is written to the audit log.
    pub(crate) refusals: Rates,
    pub(crate) openapi: String,
    pub(crate) readiness: Readiness,
    /// What answers of models are made from.
    pub(crate) domain: Arc<Domain>,
}

impl std::ops::Deref for Server {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Server {
    pub(crate) fn new(
        settings: ServeSettings,
        access: Access,
        identity: Option<Arc<Identity>>,
        registry: Registry,
        jobs: Jobs,
        traffic: Traffic,
        metrics: PrometheusHandle,
        openapi: String,
        domain: Arc<Domain>,
    ) -> Self {
        Self(Arc::new(Inner {
            places: Semaphore::new(settings.requests_at_once_max),
            rates: Rates::new(settings.rate_per_second.into(), settings.rate_burst.into()),
            refusals: Rates::new(0.1, 5.0),
            assignments: Assignments::new(Experiments::open(access.database().clone())),
            settings,
            access,
            identity,
            registry,
            jobs,
            traffic,
            metrics,
            openapi,
            readiness: Readiness::new(),
            domain,
        }))
    }
}

/// Whether the server is ready, and when it ends.
pub(crate) struct Readiness {
    /// Conditions by name: each must hold. Parts of the server that load something set theirs.
    conditions: Mutex<BTreeMap<&'static str, bool>>,
    started: AtomicBool,
    /// When the state last answered.
    state: Mutex<Option<Instant>>,
    draining: watch::Sender<bool>,
}

/// One condition of readiness, as probes tell it.
pub(crate) struct Condition {
    pub(crate) name: &'static str,
    pub(crate) holds: bool,
}

impl Readiness {
    fn new() -> Self {
        Self {
            conditions: Mutex::new(BTreeMap::new()),
            started: AtomicBool::new(false),
            state: Mutex::new(None),
            draining: watch::Sender::new(false),
        }
    }

    /// Says whether a condition holds; one never named is none.
    pub(crate) fn set(&self, name: &'static str, holds: bool) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, holds);
    }

    /// Notes that the state answered.
    pub(crate) fn state_answered(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Every condition, in the order of names.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        let last = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = vec![
            Condition { name: "not_draining", holds: !self.is_draining() },
            Condition { name: "state", holds: last.is_some_and(|at| at.elapsed() < STATE_AWAY_MAX) },
        ];
        let own = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend(own.iter().map(|(name, holds)| Condition { name, holds: *holds }));
        out
    }

    /// Whether all of them hold.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = self.conditions().iter().all(|c| c.holds);
        if ready {
            self.started.store(true, Ordering::Relaxed);
        }
        ready
    }

    /// Whether all of them have held at some time.
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed) || self.is_ready()
    }

    /// Begins the end.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits for the end; for answers that would go on for ever.
    pub(crate) fn end(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}
