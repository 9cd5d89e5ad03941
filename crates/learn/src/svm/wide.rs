//! The hot loops of the solver, compiled twice: for every processor, and for those with AVX2 (four numbers at a time).
//!
//! Both give the same bits, since each lane does the same IEEE operations in the same order and no multiplication is
//! fused with an addition.

/// Numbers worked on side by side.
pub(super) const LANES: usize = 16;

/// Makes `$name` out of a body that is compiled for the plain and for the AVX2 processor.
macro_rules! wide {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $kind),*) $(-> $out)? {
            #[inline(always)]
            fn plain($($arg: $kind),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $kind),*) $(-> $out)? {
                    plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    #[expect(unsafe_code, reason = "the fit spends its time here, and AVX2 halves it")]
                    // SAFETY: the processor has AVX2, as the line above has found; the function is safe code otherwise.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

wide! {
    /// The products of `q` with the [`LANES`] rows of every panel of `panels`, which hold them column by column.
    fn products(panels: &[f64], q: &[f64], out: &mut [f64]) {
        let size = q.len() * LANES;
        if size == 0 {
            out.fill(0.0);
            return;
        }
        for (panel, out) in panels.chunks_exact(size).zip(out.chunks_exact_mut(LANES)) {
            let mut sums = [0.0; LANES];
            for (column, q) in panel.chunks_exact(LANES).zip(q) {
                for l in 0..LANES {
                    sums[l] += q * column[l];
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}

wide! {
    /// From products to `exp(−gamma |q − x|²)`, in place.
    fn gaussians(products: &mut [f64], norms: &[f64], q_norm: f64, gamma: f64) {
        for (v, n) in products.iter_mut().zip(norms) {
            let square = q_norm + n - 2.0 * *v;
            // Rounding may leave a little below zero.
            *v = exp(-gamma * if square > 0.0 { square } else { 0.0 });
        }
    }
}

wide! {
    /// Algorithm to single precision, as the rows of products are kept.
    fn shorten(values: &[f64], out: &mut [f32]) {
        for (o, v) in out.iter_mut().zip(values) {
            *o = *v as f32;
        }
    }
}

wide! {
    /// `v[k] += a · row_a[k] + b · row_b[k]`.
    fn add_two(v: &mut [f64], row_a: &[f32], a: f64, row_b: &[f32], b: f64) {
        for ((v, ra), rb) in v.iter_mut().zip(row_a).zip(row_b) {
            *v += f64::from(*ra) * a + f64::from(*rb) * b;
        }
    }
}

wide! {
    /// `v[k] += a · row[k]`.
    fn add_one(v: &mut [f64], row: &[f32], a: f64) {
        for (v, r) in v.iter_mut().zip(row) {
            *v += a * f64::from(*r);
        }
    }
}

wide! {
    /// The largest of `offset[k] − v[k]` and the last place that has it. Offsets are 0 or minus infinity.
    fn last_largest(v: &[f64], offset: &[f64]) -> (f64, usize) {
        let mut best = [f64::NEG_INFINITY; LANES];
        // Places as numbers of the same width as the values, so that both are chosen side by side.
        let mut place = [0u64; LANES];
        let whole = v.len() / LANES * LANES;
        for (block, (v, offset)) in v.chunks_exact(LANES).zip(offset.chunks_exact(LANES)).enumerate() {
            for l in 0..LANES {
                let value = offset[l] - v[l];
                let better = value >= best[l];
                best[l] = if better { value } else { best[l] };
                place[l] = if better { block as u64 } else { place[l] };
            }
        }
        let (mut top, mut at) = (f64::NEG_INFINITY, usize::MAX);
        for l in 0..LANES {
            let k = place[l] as usize * LANES + l;
            if best[l] > top || (best[l] == top && top > f64::NEG_INFINITY && k > at) {
                (top, at) = (best[l], k);
            }
        }
        for k in whole..v.len() {
            let value = offset[k] - v[k];
            if value >= top && value > f64::NEG_INFINITY {
                (top, at) = (value, k);
            }
        }
        (top, at)
    }
}

wide! {
    /// The partner of second order: the last place with the largest `g²/q`, where `g = top + v[k] + offset[k] > 0` and
    /// `q = diagonal_i + diagonal[k] − 2 row[k]`; and the largest `v[k] + offset[k]`.
    fn best_partner(
        v: &[f64], offset: &[f64], row: &[f32], diagonal: &[f64], top: f64, diagonal_i: f64, tiny: f64,
    ) -> (f64, usize) {
        let mut best = [0.0; LANES];
        let mut place = [u64::MAX; LANES];
        let mut largest = [f64::NEG_INFINITY; LANES];
        let whole = v.len() / LANES * LANES;
        let gain = |v: f64, offset: f64, row: f32, diagonal: f64| {
            let value = v + offset;
            let q = diagonal_i + diagonal - 2.0 * f64::from(row);
            let q = if q > 0.0 { q } else { tiny };
            let g = top + value;
            let g = if g > 0.0 { g } else { 0.0 };
            (value, g * g / q)
        };
        let blocks = v
            .chunks_exact(LANES)
            .zip(offset.chunks_exact(LANES))
            .zip(row.chunks_exact(LANES))
            .zip(diagonal.chunks_exact(LANES));
        for (block, (((v, offset), row), diagonal)) in blocks.enumerate() {
            for l in 0..LANES {
                let (value, gain) = gain(v[l], offset[l], row[l], diagonal[l]);
                largest[l] = if value >= largest[l] { value } else { largest[l] };
                let better = gain >= best[l];
                best[l] = if better { gain } else { best[l] };
                place[l] = if better { block as u64 } else { place[l] };
            }
        }
        let (mut top_gain, mut at, mut most) = (0.0, usize::MAX, f64::NEG_INFINITY);
        for l in 0..LANES {
            most = if largest[l] > most { largest[l] } else { most };
            let k = (place[l] as usize).saturating_mul(LANES).saturating_add(l);
            if best[l] > 0.0 && (best[l] > top_gain || (best[l] == top_gain && k > at)) {
                (top_gain, at) = (best[l], k);
            }
        }
        for k in whole..v.len() {
            let (value, gain) = gain(v[k], offset[k], row[k], diagonal[k]);
            most = if value > most { value } else { most };
            if gain > 0.0 && gain >= top_gain {
                (top_gain, at) = (gain, k);
            }
        }
        (most, at)
    }
}

/// `e^x` for `x` not above 0, to about one unit of the last place, without branches: `x = n ln 2 + r`, a polynomial of
/// `r`, and `2ⁿ` written into the exponent.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // Adding it leaves the nearest whole number in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let inside = if x > -708.0 { x } else { -708.0 };
    let t = inside * std::f64::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    let r = (inside - n * LN2_HIGH) - n * LN2_LOW;
    let mut sum = 1.0 / 479_001_600.0;
    sum = sum * r + 1.0 / 39_916_800.0;
    sum = sum * r + 1.0 / 3_628_800.0;
    sum = sum * r + 1.0 / 362_880.0;
    sum = sum * r + 1.0 / 40_320.0;
    sum = sum * r + 1.0 / 5_040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    let power = f64::from_bits(t.to_bits().wrapping_add(1023) << 52);
    if x > -708.0 { sum * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_as_the_standard_library() {
        for i in 0..20_000 {
            let x = -f64::from(i) * 0.0353;
            let (got, want) = (exp(x), x.exp());
            assert!((got - want).abs() <= 4e-16 * want, "{x}: {got} {want}");
        }
        assert_eq!((exp(0.0), exp(-0.0), exp(f64::NEG_INFINITY), exp(f64::NAN)), (1.0, 1.0, 0.0, 0.0));
    }

    #[test]
    fn the_last_of_equals_is_chosen() {
        let v: Vec<f64> = (0..53).map(|k| f64::from(k % 5)).collect();
        let none = vec![0.0; 53];
        assert_eq!(last_largest(&v, &none), (0.0, 50));
        assert_eq!(last_largest(&v[..50], &none), (0.0, 45));
        assert_eq!(last_largest(&v, &[f64::NEG_INFINITY; 53]).1, usize::MAX);
        let (row, diagonal) = (vec![0.0f32; 53], vec![1.0; 53]);
        assert_eq!(best_partner(&v, &none, &row, &diagonal, 0.5, 1.0, 1e-12), (4.0, 49));
        assert_eq!(best_partner(&v, &none, &row, &diagonal, -9.0, 1.0, 1e-12), (4.0, usize::MAX));
    }
}
