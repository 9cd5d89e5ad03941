//! Chance that belongs to a place: the same seed and place give the same draw, in whatever order places are visited.

/// A number that looks random of another (the finaliser of SplitMix64, Steele et al. 2014).
pub(crate) fn mix(v: u64) -> u64 {
    let mut z = v.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// From 0 up to 1.
pub(crate) fn unit(v: u64) -> f64 {
    (v >> 11) as f64 / (1_u64 << 53) as f64
}
