//! The life of a model against real databases.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stderr, reason = "what is left out is said")]

mod access;
mod databases;
mod experiment;
mod experiment_statistics;
mod jobs;
mod jobs_faults;
mod monitor;
mod registry;
mod registry_bundle;
mod registry_faults;
mod registry_s3;
mod state;
mod traffic;
