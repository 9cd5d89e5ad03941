//! The life of a model against real databases.

mod access;
mod databases;
mod state;
