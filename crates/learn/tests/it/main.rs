//! The tests of the tabular engine: laws, reference values, and the battery that every estimator passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod battery;
mod battery_clustering;
mod boosting;
mod click_rate;
mod clusters;
mod curves;
mod ensemble;
mod forest;
mod laws;
mod linear_family;
mod measures;
mod mlp;
mod nearest_and_bayes;
mod neighbours;
mod prepare;
mod reference;
mod search;
mod svm;
mod trees;
