//! The tests of the crate as seen from outside, in one program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod battery;
mod beyond;
mod evaluation;
mod interactions;
mod policies;
mod ranker;
mod ratings;
mod reference;
mod sequential;
mod serve;
mod tune;
