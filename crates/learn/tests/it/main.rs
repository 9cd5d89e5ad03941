//! The tests of the tabular engine: laws, reference values, and the battery that every estimator passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod battery;
mod forest;
mod ensemble;
mod boosting;
mod battery_clustering;
mod clusters;
mod curves;
mod laws;
mod nearest_and_bayes;
mod neighbours;
mod measures;
mod prepare;
mod linear_family;
mod reference;
mod search;
mod trees;
mod svm;
