//! Points by chance, and points that fill the space more evenly than chance.

use super::space::Space;
use rand::{Rng, RngExt};
use tradewind_core::Params;

/// The first primes: one base for each parameter.
const PRIMES: [u32; 40] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173,
];

/// Point `index` of the Halton sequence in `n_dims` dimensions, shifted around the unit cube by `rng` (Cranley and
/// Patterson 1976); equal generators give one sequence. Dimensions beyond the fortieth are plain chance.
pub fn halton(index: u64, n_dims: usize, rng: &mut impl Rng) -> Vec<f64> {
    let shift: Vec<f64> = (0..n_dims).map(|_| rng.random::<f64>()).collect();
    (0..n_dims)
        .map(|d| match PRIMES.get(d) {
            Some(&base) => (radical_inverse(index + 1, u64::from(base)) + shift[d]).fract(),
            None => {
                // Another number for every index, from the shift alone.
                let mixed = (shift[d].to_bits() ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                    .wrapping_mul(0xBF58_476D_1CE4_E5B9);
                ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
            }
        })
        .collect()
}

/// The digits of `index` in `base`, mirrored behind the point.
fn radical_inverse(mut index: u64, base: u64) -> f64 {
    let (mut inverse, mut scale) = (0.0, 1.0 / base as f64);
    while index > 0 {
        inverse += (index % base) as f64 * scale;
        index /= base;
        scale /= base as f64;
    }
    inverse
}

/// A point of the space from one share (0 to 1) for each of its parameters.
pub(crate) fn at_shares(space: &Space, shares: &[f64]) -> Params {
    let mut point = Params::new();
    for (at, d) in space.dimensions().iter().enumerate() {
        if space.is_active(at, &point) {
            point.insert(d.name.clone(), d.domain.at_unit(shares[at]));
        }
    }
    point
}
