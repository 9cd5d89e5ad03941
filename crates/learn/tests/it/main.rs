//! The tests of the tabular engine: laws, reference values, and the battery that every estimator passes.

mod battery;
mod laws;
mod reference;
