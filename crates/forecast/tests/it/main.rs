//! The tests of the crate as seen from outside, in one program.

mod auto;
mod backtest;
mod battery;
mod conformal;
mod features;
mod reference;
mod regression;
mod trend;
