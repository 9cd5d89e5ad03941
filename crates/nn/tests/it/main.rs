//! Training as those who use the crate see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod click;
mod convolution;
mod decoder;
mod graph;
mod images;
mod losses;
mod mlp;
mod recurrent;
mod train;
mod transformer;
