//! Integration tests of the core crate.

#![allow(clippy::unwrap_used, reason = "tests may stop at the first fault")]

mod calendar;
