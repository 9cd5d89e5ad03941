//! Profiles of live data: one pass, bounded memory, merged from any parts.
//!
//! | sketch | tells | merged parts against one pass | bytes |
//! |---|---|---|---|
//! | [`Quantiles`] | quantiles, shares below a value | same rank within [`Quantiles::rank_error`] | 32 Ki |
//! | [`Moments`] | mean, variance, least, largest | the same to rounding | 40 |
//! | [`Distinct`] | how many different values | equal | 4 Ki |
//! | [`Frequent`] | the most frequent values | counts within [`Frequent::missed`] | some 60 Ki |
//!
//! A [`Profile`] has these for every column, with what is missing, zero, negative, infinite or of the wrong type. It is
//! made by a [`Profiler`] from Arrow batches or plain columns, and written by [`Profile::to_bytes`].

mod column;
mod distinct;
mod frequent;
mod moments;
mod profile;
mod quantiles;

pub use column::{Column, Values};
pub use distinct::Distinct;
pub use frequent::Frequent;
pub use moments::Moments;
pub use profile::{ColumnSpec, PROFILE_FORMAT, Profile, ProfileSettings, Profiler, ValueKind};
pub use quantiles::{Quantiles, Ranked};

use crate::error::Error;
use std::hash::{BuildHasher, Hasher};
use tradewind_core::ErrorKind;

fn wrong(text: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::asked(ErrorKind::InvalidParams, text, hint)
}

/// A number whose bits are all mixed (SplitMix64, Steele and others 2014).
pub(crate) fn mixed(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A hash of bytes that is the same on every machine and in every version: profiles are kept. Words of eight bytes are
/// folded by 128-bit products, as in wyhash; it is quick and well mixed, and no defence against an enemy.
fn hashed(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = 0x2d35_8dcc_aa6c_78a5 ^ (bytes.len() as u64);
    for word in words {
        hash = folded(hash ^ u64::from_le_bytes(*word), 0x8bb8_4b93_962e_acc9);
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    mixed(folded(hash ^ u64::from_le_bytes(last), 0x4b33_a62e_d433_d4a3))
}

/// The hasher of maps whose order shall not change from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seedless;

impl BuildHasher for Seedless {
    type Hasher = Mixing;

    fn build_hasher(&self) -> Mixing {
        Mixing(0)
    }
}

struct Mixing(u64);

impl Hasher for Mixing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = folded(self.0 ^ hashed(bytes), 0x9e37_79b9_7f4a_7c15 | 1);
    }

    // The mark that ends a text adds nothing where a key is one text.
    fn write_u8(&mut self, _: u8) {}
}
