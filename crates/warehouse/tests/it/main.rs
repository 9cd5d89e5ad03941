//! One program for all integration tests of this crate, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod clean;
mod compat;
mod features;
mod outputs;
mod overrides;
mod panel;
mod quality;
mod rows;
mod shops;
mod store;
