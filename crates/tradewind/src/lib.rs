//! The facade: one import for the whole platform, and the road of the data through it.
