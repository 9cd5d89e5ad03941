//! How good a prediction is: points and intervals of series in [`point`], numbers in a table in [`regression`],
//! directions and probabilities in [`class`], thresholds in [`curve`], orders in [`rank`].

pub mod class;
pub mod curve;
pub mod point;
pub mod rank;
pub mod regression;
