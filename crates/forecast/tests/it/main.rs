//! The tests of the crate as seen from outside, in one program.

mod battery;
mod reference;
