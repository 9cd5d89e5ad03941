//! The time that jobs, leases and histories go by.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where the time comes from: the system, or a test that sets it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `ms` until [`Clock::set`] moves it, forwards or backwards; copies share the time.
    pub fn at(ms: i64) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(ms))))
    }

    /// Milliseconds since 1970, UTC.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => chrono::Utc::now().timestamp_millis(),
            Source::Set(ms) => ms.load(Ordering::SeqCst),
        }
    }

    /// Moves a clock made by [`Clock::at`]; the system's clock is left as it is.
    pub fn set(&self, to_ms: i64) {
        if let Source::Set(ms) = &self.0 {
            ms.store(to_ms, Ordering::SeqCst);
        }
    }
}
