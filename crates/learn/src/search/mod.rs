//! Choosing parameters: spaces, samplers, early stopping of trials, and searches that can be stopped and taken up.
//!
//! A [`Space`] says what may be chosen, a [`Search`] how, a [`Study`] carries it out and keeps its [`Trial`]s in a
//! [`TrialStore`]. [`space_of`] has a sensible space for the estimators of the catalogue.

mod gaussian_process;
mod grid;
mod pruning;
mod random;
mod space;
mod spaces;
mod study;
mod tpe;

pub use gaussian_process::{Acquisition, GaussianProcess};
pub use grid::{GRID_MAX, grid};
pub use pruning::Pruner;
pub use random::halton;
pub use space::{Condition, Dimension, Domain, Space};
pub use spaces::space_of;
pub use study::{Attempt, Direction, MemoryStore, Sampler, Search, Study, Trial, TrialState, TrialStore};
pub use tpe::Tpe;
