//! How good a prediction is. Points and intervals in [`point`], directions and probabilities in [`class`].

pub mod class;
pub mod point;
