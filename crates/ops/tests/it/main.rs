//! The life of a model against real databases.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stderr, reason = "what is left out is said")]

mod access;
mod databases;
mod jobs;
mod jobs_faults;
mod registry;
mod registry_bundle;
mod registry_faults;
mod state;
mod traffic;
