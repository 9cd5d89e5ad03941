//! `e^x` of many values at once.
//!
//! The standard library calls out for each value; this is a straight line of arithmetic that the compiler turns into the
//! widest vector instructions that the processor has. No step is fused, so every processor gives the same bits.

/// Replaces each value by its exponential, within two units in the last place; beyond ±708, where doubles end, by that of
/// ±708. NaN stays NaN.
pub(crate) fn exp(values: &mut [f64]) {
    pulp::Arch::new().dispatch(All(values));
}

/// A closure in its place would be compiled for the vectors that every processor has.
struct All<'a>(&'a mut [f64]);

impl pulp::NullaryFnOnce for All<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for v in self.0 {
            *v = one(*v);
        }
    }
}

/// `e^x = 2^n · e^r` with `|r| ≤ ln 2 / 2`, and the series of `e^r` up to where it no longer counts.
#[inline(always)]
fn one(x: f64) -> f64 {
    let x = x.clamp(-708.0, 708.0);
    // Adding 1.5 · 2^52 leaves the nearest whole number in the lowest bits.
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    let shifted = x * std::f64::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    // ln 2 in two parts, of which the first has so few digits that n times it is exact.
    let r = (x - n * 0.693_147_180_369_123_8) - n * 1.908_214_929_270_587_7e-10;
    // 1/13! to 1/2!.
    let mut p = 1.605_904_383_682_161_5e-10;
    p = p * r + 2.087_675_698_786_81e-9;
    p = p * r + 2.505_210_838_544_172e-8;
    p = p * r + 2.755_731_922_398_589e-7;
    p = p * r + 2.755_731_922_398_589_3e-6;
    p = p * r + 2.480_158_730_158_73e-5;
    p = p * r + 1.984_126_984_126_984e-4;
    p = p * r + 1.388_888_888_888_889e-3;
    p = p * r + 8.333_333_333_333_333e-3;
    p = p * r + 4.166_666_666_666_666_4e-2;
    p = p * r + 1.666_666_666_666_666_6e-1;
    p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    e * f64::from_bits((shifted.to_bits() << 52).wrapping_add(0x3ff0_0000_0000_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_standard_library_to_two_units() {
        let at: Vec<f64> = (-200_000..=200_000).map(|i| f64::from(i) * 3.53e-3).collect();
        let mut values = at.clone();
        exp(&mut values);
        for (x, v) in at.iter().zip(&values) {
            let exact = x.exp();
            assert!((v - exact).abs() <= 2.0 * f64::EPSILON * exact, "{x}: {v} for {exact}");
        }
        let mut ends = [0.0, -0.0, f64::NEG_INFINITY, f64::NAN, f64::INFINITY];
        exp(&mut ends);
        assert!(ends[0] == 1.0 && ends[1] == 1.0 && ends[2] < 1e-307 && ends[3].is_nan() && ends[4] > 1e307);
    }
}
