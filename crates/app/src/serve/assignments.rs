//! Which arms of running experiments a user is in, as known for a few seconds, and which exposures were noted already.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tradewind::ops::experiment::{Assigner, Experiments};

/// How old the knowledge of running experiments may be.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// Exposures remembered; when there are more, they are noted once more.
const EXPOSURES_MAX: usize = 1_000_000;

/// See the [module](self).
pub(crate) struct Assignments {
    pub(crate) experiments: Experiments,
    known: tokio::sync::Mutex<Option<(Instant, Assigner)>>,
    noted: Mutex<HashSet<u128>>,
}

impl Assignments {
    pub(crate) fn new(experiments: Experiments) -> Self {
        Self { experiments, known: tokio::sync::Mutex::new(None), noted: Mutex::default() }
    }

    /// Deals users to the arms of all running experiments. While the state is away, what was known stays.
    ///
    /// # Errors
    /// A state that does not answer before anything was known.
    pub(crate) async fn assigner(&self) -> tradewind::Result<Assigner> {
        let mut known = self.known.lock().await;
        if let Some((at, assigner)) = &*known
            && at.elapsed() < FRESH_FOR
        {
            return Ok(assigner.clone());
        }
        match (self.experiments.assigner().await, &*known) {
            (Ok(assigner), _) => {
                *known = Some((Instant::now(), assigner.clone()));
                Ok(assigner)
            }
            (Err(e), Some((_, assigner))) => {
                tracing::warn!("running experiments are those of a while ago: {e}");
                Ok(assigner.clone())
            }
            (Err(e), None) => Err(e.into()),
        }
    }

    /// What names an exposure, if it was not noted before.
    pub(crate) fn unnoted(&self, place: &str, user: &str) -> Option<String> {
        let name = name(place, user);
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        (!noted.contains(&mark(&name))).then_some(name)
    }

    /// Remembers exposures that are in the log.
    pub(crate) fn note(&self, names: impl IntoIterator<Item = String>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if noted.len() >= EXPOSURES_MAX {
                noted.clear();
            }
            noted.insert(mark(&name));
        }
    }
}

/// The name of the event: it does not hold the user, who may have a name of any length.
fn name(place: &str, user: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.as_bytes()).update(&[0]).update(user.as_bytes());
    format!("exposure-{}", &hasher.finalize().to_hex()[..32])
}

fn mark(name: &str) -> u128 {
    let hash = blake3::hash(name.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}
