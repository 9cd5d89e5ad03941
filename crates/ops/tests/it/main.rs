//! The life of a model against real databases.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on should stop and say why"
)]

mod databases;
mod jobs;
mod jobs_faults;
mod state;
