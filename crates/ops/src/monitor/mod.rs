//! What is served is watched: profiles of live data, drift, errors as actuals arrive, alerts, retraining.
//!
//! ```text
//! rows ─→ sketch (profiles) ─→ drift (against the reference) ─┐
//! actuals ─→ error_watch (segments, sequential alarm) ────────┼─→ alerts (rules, groups, silences) ─→ outbox ─→ sinks
//! any series ─→ anomaly ──────────────────────────────────────┘        │
//!                                                             triggers (retrain?) ─→ gate (challenger or champion?)
//! ```
//!
//! Everything but [`alerts`], [`triggers`], [`gate`] and [`records`] is arithmetic on values given; those keep their state in
//! the shop's [`Database`](crate::Database). Nothing here sends or trains: the facade does what is decided.

pub mod alerts;
pub mod anomaly;
pub mod drift;
pub mod error_watch;
pub mod gate;
pub mod records;
pub mod sketch;
pub mod triggers;
