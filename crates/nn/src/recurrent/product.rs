//! The product that each step takes with the hidden state: a few rows with a matrix that stays in the cache.
//!
//! Products for matrices of any size first copy both sides into an order of their own, which here would cost as much as
//! the product. Each sum is taken over `k` in its order, so a row's answer does not depend on the rows beside it.

use pulp::{Arch, Simd, WithSimd};

/// Rows that are summed up at once: with two vectors of columns they leave registers for what comes in.
const ROWS: usize = 4;

/// `out += a · b`, all row by row: `a` is `[rows, k]`, `b` `[k, m]`, `out` `[rows, m]`.
pub(super) fn add_product(arch: Arch, out: &mut [f32], a: &[f32], b: &[f32], (k, m): (usize, usize)) {
    if k > 0 && m > 0 {
        arch.dispatch(AddProduct { out, a, b, k, m });
    }
}

struct AddProduct<'a> {
    out: &'a mut [f32],
    a: &'a [f32],
    b: &'a [f32],
    k: usize,
    m: usize,
}

impl WithSimd for AddProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, a, b, k, m } = self;
        let mut out = out.chunks_exact_mut(ROWS * m);
        let mut a = a.chunks_exact(ROWS * k);
        for (out, a) in out.by_ref().zip(a.by_ref()) {
            rows::<S, ROWS>(simd, out, a, b, (k, m));
        }
        for (out, a) in out.into_remainder().chunks_exact_mut(m).zip(a.remainder().chunks_exact(k)) {
            rows::<S, 1>(simd, out, a, b, (k, m));
        }
    }
}

/// `R` rows.
#[inline(always)]
fn rows<S: Simd, const R: usize>(simd: S, out: &mut [f32], a: &[f32], b: &[f32], (k, m): (usize, usize)) {
    let lanes = S::F32_LANES;
    let mut at = 0;
    if R == 1 {
        // One row has registers left for more columns, and needs them to keep the processor at work.
        while at + 8 * lanes <= m {
            columns::<S, R, 8>(simd, out, a, b, (k, m), at);
            at += 8 * lanes;
        }
    }
    while at + 2 * lanes <= m {
        columns::<S, R, 2>(simd, out, a, b, (k, m), at);
        at += 2 * lanes;
    }
    while at < m {
        let end = m.min(at + lanes);
        let mut sum: [S::f32s; R] =
            std::array::from_fn(|r| simd.partial_load_f32s(&out[r * m + at..r * m + end]));
        for (p, b) in b.chunks_exact(m).enumerate() {
            let b = simd.partial_load_f32s(&b[at..end]);
            for (r, sum) in sum.iter_mut().enumerate() {
                *sum = simd.mul_add_e_f32s(simd.splat_f32s(a[r * k + p]), b, *sum);
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            simd.partial_store_f32s(&mut out[r * m + at..r * m + end], *sum);
        }
        at = end;
    }
}

/// `V` vectors of columns, from the column `at` on.
#[inline(always)]
fn columns<S: Simd, const R: usize, const V: usize>(
    simd: S,
    out: &mut [f32],
    a: &[f32],
    b: &[f32],
    (k, m): (usize, usize),
    at: usize,
) {
    let wide = V * S::F32_LANES;
    let of_row = |row: &[f32], v: usize| S::as_simd_f32s(row).0[v];
    let mut sum: [[S::f32s; V]; R] = std::array::from_fn(|r| {
        let row = &out[r * m + at..][..wide];
        std::array::from_fn(|v| of_row(row, v))
    });
    let a: [&[f32]; R] = std::array::from_fn(|r| &a[r * k..][..k]);
    for (p, b) in b.chunks_exact(m).enumerate() {
        let b = &b[at..at + wide];
        let b: [S::f32s; V] = std::array::from_fn(|v| of_row(b, v));
        for (a, sum) in a.iter().zip(&mut sum) {
            let w = simd.splat_f32s(a[p]);
            for (b, sum) in b.iter().zip(sum) {
                *sum = simd.mul_add_e_f32s(w, *b, *sum);
            }
        }
    }
    for (r, sum) in sum.iter().enumerate() {
        let row = &mut out[r * m + at..][..wide];
        S::as_mut_simd_f32s(row).0.copy_from_slice(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_what_its_sums_are_whatever_stands_beside_it() {
        for (n, k, m) in
            [(1, 5, 3), (3, 1, 64), (4, 7, 16), (6, 64, 256), (9, 3, 75), (32, 256, 64), (2, 8, 137)]
        {
            let number = |i: usize| ((i * 7919 % 1_001) as f32 / 500.0) - 1.0;
            let a: Vec<f32> = (0..n * k).map(number).collect();
            let b: Vec<f32> = (0..k * m).map(|i| number(i + 17)).collect();
            let mut out: Vec<f32> = (0..n * m).map(|i| number(i + 3)).collect();
            let before = out.clone();
            add_product(Arch::new(), &mut out, &a, &b, (k, m));
            for row in 0..n {
                let mut alone = before[row * m..][..m].to_vec();
                add_product(Arch::new(), &mut alone, &a[row * k..][..k], &b, (k, m));
                assert_eq!(alone, out[row * m..][..m], "{n} {k} {m}");
                for column in 0..m {
                    let exact: f64 = f64::from(before[row * m + column])
                        + (0..k)
                            .map(|p| f64::from(a[row * k + p]) * f64::from(b[p * m + column]))
                            .sum::<f64>();
                    assert!(
                        (f64::from(out[row * m + column]) - exact).abs() < 1e-5 * (1.0 + k as f64).sqrt()
                    );
                }
            }
        }
    }
}
