//! The tests of the crate as seen from outside, in one program.

#![expect(clippy::print_stdout, reason = "tests say what they skipped and what they measured")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod anomalies;
mod arima;
mod auto;
mod backtest;
mod battery;
mod conformal;
mod deep;
mod dynamic_regression;
mod features;
mod global;
mod hierarchy;
mod price;
mod reference;
mod regression;
mod relations;
mod trend;
