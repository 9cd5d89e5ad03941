//! The life of a model against real databases.

mod databases;
mod state;
