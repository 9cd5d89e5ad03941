//! How a model lives: the state that jobs, the registry, access and experiments share.
//!
//! ```text
//! pipeline ─→ jobs (queue, leases, schedule) ─→ registry (versions, aliases, promotions) ─→ traffic (which version answers)
//!                      └───────────────┬────────────────┘                                       │
//!                             state (SQLite · PostgreSQL · MySQL)  ←──  access (keys, roles, audit)
//! ```
//!
//! Everything works on names, fingerprints and files; no model is known here. What a step of a pipeline does, and how an
//! artifact is read, is handed in by the facade.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use tradewind_ops::{Clock, Database};
//! let database = Database::open("sqlite::memory:", Clock::system()).await.unwrap();
//! assert_eq!(database.dialect().name(), "SQLite");
//! # });
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod access;
mod clock;
pub mod correction;
pub mod effect;
mod error;
pub mod experiment;
pub mod jobs;
pub mod monitor;
mod number;
pub mod registry;
pub mod state;
pub mod traffic;

/// The target of spans that are traces of work (OpenTelemetry) and no lines of a log.
pub const TRACES: &str = "tradewind::trace";

pub use clock::Clock;
pub use error::{Error, Result};
pub use state::Database;
