//! Products of a few rows with a matrix that stays in the cache: those that each step of a recurrent layer takes with the
//! hidden state and the input, and those of layers that answer row by row.
//!
//! Products for matrices of any size first copy both sides into an order of their own, which here would cost as much as
//! the product: the weights are put in order once for all steps instead. Each sum is taken over `k` in its order, so a
//! row's answer does not depend on the rows beside it.
//!
//! ```text
//! b [k, m] ─→ panels of 32 columns, each [k, 32] in one piece: it stays nearest to the processor while rows pass by
//! ```

use pulp::{Arch, Simd, WithSimd};

/// Columns of a panel.
const PANEL: usize = 32;

/// A matrix `[k, m]` in panels; the last one is filled up with zeros.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panels {
    k: usize,
    m: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Of `[k, m]`, row by row.
    pub(crate) fn of(b: &[f32], m: usize) -> Self {
        let k = b.len() / m.max(1);
        let mut values = vec![0.0; k * m.next_multiple_of(PANEL)];
        for (panel, to) in values.chunks_exact_mut((k * PANEL).max(1)).enumerate() {
            let columns = panel * PANEL..m.min((panel + 1) * PANEL);
            for (to, row) in to.chunks_exact_mut(PANEL).zip(b.chunks_exact(m)) {
                to[..columns.len()].copy_from_slice(&row[columns.clone()]);
            }
        }
        Self { k, m, values }
    }

    /// Of the transpose of `[m, k]`, row by row.
    pub(crate) fn of_transposed(b: &[f32], k: usize) -> Self {
        let m = b.len() / k.max(1);
        let mut values = vec![0.0; k * m.next_multiple_of(PANEL)];
        let panels = values.chunks_exact_mut((k * PANEL).max(1));
        for (to, rows) in panels.zip(b.chunks(PANEL * k.max(1))) {
            // Eight columns at a time are written together.
            let mut eights = rows.chunks_exact(8 * k.max(1));
            for (eight, of) in (&mut eights).enumerate() {
                let of: [&[f32]; 8] = std::array::from_fn(|c| &of[c * k..][..k]);
                for (p, to) in to.chunks_exact_mut(PANEL).enumerate() {
                    let columns: [f32; 8] = std::array::from_fn(|c| of[c][p]);
                    to[eight * 8..][..8].copy_from_slice(&columns);
                }
            }
            let first = rows.len() / k.max(1) / 8 * 8;
            for (column, row) in eights.remainder().chunks_exact(k.max(1)).enumerate() {
                to[first + column..].iter_mut().step_by(PANEL).zip(row).for_each(|(t, v)| *t = *v);
            }
        }
        Self { k, m, values }
    }
}

/// `n` rows of values, so many apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) apart: usize,
}

/// `out += a · b` for `n` rows; those of `out` are `apart` values from each other.
pub(crate) fn add_product(arch: Arch, out: (&mut [f32], usize), a: Rows<'_>, n: usize, b: &Panels) {
    sum(arch, out, None, [(a, b)], n, false);
}

/// `out = start + Σ a · b` over pairs with as many columns, for `n` rows; those of `out` are `apart` values from each other.
/// Without a `start` it is what `out` holds. Each sum is taken pair by pair, over `k` in its order.
///
/// With `back` the panels are gone over from the last to the first, which changes no bit: who goes over the same panels
/// again and again by turns finds those nearest to the processor that were the last to be used.
pub(crate) fn sum<const N: usize>(
    arch: Arch,
    (out, apart): (&mut [f32], usize),
    start: Option<&[f32]>,
    pairs: [(Rows<'_>, &Panels); N],
    n: usize,
    back: bool,
) {
    let m = pairs.first().map_or(0, |(_, b)| b.m);
    if n > 0 && m > 0 {
        arch.dispatch(Sum { out, apart, start, pairs, n, m, back });
    }
}

struct Sum<'a, const N: usize> {
    out: &'a mut [f32],
    apart: usize,
    start: Option<&'a [f32]>,
    pairs: [(Rows<'a>, &'a Panels); N],
    n: usize,
    m: usize,
    back: bool,
}

impl<const N: usize> WithSimd for Sum<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Sums of all rows and columns of a block stay in registers, beside what comes in.
        match S::F32_LANES {
            16 => self.blocks::<S, 8, 2, 2>(simd),
            8 => self.blocks::<S, 4, 2, 2>(simd),
            4 => self.blocks::<S, 4, 2, 1>(simd),
            _ => self.blocks::<S, 1, 8, 1>(simd),
        }
    }
}

impl<'a, const N: usize> Sum<'a, N> {
    /// Panel `p` of each pair, and the `P` panels from there on.
    #[inline(always)]
    fn panels<const P: usize>(&self, p: usize) -> [&'a [f32]; N] {
        self.pairs.map(|(_, b)| &b.values[p * b.k * PANEL..][..P * b.k * PANEL])
    }

    /// A row of each pair.
    #[inline(always)]
    fn rows(&self, row: usize) -> [&'a [f32]; N] {
        self.pairs.map(|(a, b)| &a.values[row * a.apart..][..b.k])
    }

    /// Blocks of `R` rows and `V` vectors; of a row alone, all vectors of `P` panels.
    #[inline(always)]
    fn blocks<S: Simd, const R: usize, const V: usize, const P: usize>(mut self, simd: S) {
        let (n, m, apart) = (self.n, self.m, self.apart);
        let (whole, blocked) = (m / PANEL, if n == 1 { 0 } else { n - n % R });
        let out = std::mem::take(&mut self.out);
        let columns = |p: usize| p * PANEL..m.min((p + 1) * PANEL);
        let in_order = |k: usize, of: usize| if self.back { of - 1 - k } else { k };
        // A panel that is not whole is worked on beside, and so is what it starts from.
        let mut beside = [[0.0; PANEL]; R];
        let mut start_beside = [0.0; PANEL];
        if let Some(start) = self.start.map(|s| &s[whole * PANEL..m]) {
            start_beside[..start.len()].copy_from_slice(start);
        }
        let start = |p: usize| match self.start {
            Some(start) if p < whole => Some(&start[columns(p)]),
            Some(_) => Some(&start_beside[..]),
            None => None,
        };
        let n_panels = m.div_ceil(PANEL);
        for p in (0..n_panels).map(|k| in_order(k, n_panels)) {
            if blocked == 0 {
                break;
            }
            let panels = self.panels::<1>(p);
            for first in (0..blocked).step_by(R) {
                let rows: [[&[f32]; R]; N] = std::array::from_fn(|pair| {
                    let (a, b) = self.pairs[pair];
                    std::array::from_fn(|r| &a.values[(first + r) * a.apart..][..b.k])
                });
                if p < whole {
                    let out = &mut out[first * apart + p * PANEL..];
                    block::<S, R, V, N>(simd, out, apart, start(p), rows, panels);
                    continue;
                }
                for (r, beside) in beside.iter_mut().enumerate() {
                    let row = &out[(first + r) * apart..][columns(p)];
                    beside[..row.len()].copy_from_slice(row);
                }
                block::<S, R, V, N>(simd, beside.as_flattened_mut(), PANEL, start(p), rows, panels);
                for (r, beside) in beside.iter().enumerate() {
                    out[(first + r) * apart..][columns(p)].copy_from_slice(&beside[..columns(p).len()]);
                }
            }
        }
        for row in blocked..n {
            let (out, a) = (&mut out[row * apart..][..m], self.rows(row));
            let groups = whole / P;
            for p in (0..groups).map(|k| in_order(k, groups) * P) {
                let start = self.start.map(|s| &s[p * PANEL..][..P * PANEL]);
                single::<S, P, N>(simd, &mut out[p * PANEL..][..P * PANEL], start, a, self.panels::<P>(p));
            }
            for p in groups * P..whole {
                single::<S, 1, N>(simd, &mut out[columns(p)], start(p), a, self.panels::<1>(p));
            }
            if whole < n_panels {
                let out = &mut out[columns(whole)];
                let mut beside = [0.0; PANEL];
                beside[..out.len()].copy_from_slice(out);
                single::<S, 1, N>(simd, &mut beside, start(whole), a, self.panels::<1>(whole));
                out.copy_from_slice(&beside[..out.len()]);
            }
        }
    }
}

/// `R` rows of one panel of each pair, `V` vectors at a time.
#[inline(always)]
fn block<S: Simd, const R: usize, const V: usize, const N: usize>(
    simd: S,
    out: &mut [f32],
    apart: usize,
    start: Option<&[f32]>,
    a: [[&[f32]; R]; N],
    panels: [&[f32]; N],
) {
    let wide = V * S::F32_LANES;
    for at in (0..PANEL).step_by(wide) {
        let mut sum: [[S::f32s; V]; R] = std::array::from_fn(|r| {
            let from = match start {
                Some(start) => &start[at..][..wide],
                None => &out[r * apart + at..][..wide],
            };
            let from = S::as_simd_f32s(from).0;
            std::array::from_fn(|v| from[v])
        });
        for (a, panel) in a.iter().zip(panels) {
            // All as long as the panel, told so that no step asks again.
            let k = panel.len() / PANEL;
            let a = a.map(|a| &a[..k]);
            for p in 0..k {
                let b = S::as_simd_f32s(&panel[p * PANEL + at..][..wide]).0;
                let b: [S::f32s; V] = std::array::from_fn(|v| b[v]);
                for (a, sum) in a.iter().zip(&mut sum) {
                    let w = simd.splat_f32s(a[p]);
                    for (b, sum) in b.iter().zip(sum) {
                        *sum = simd.mul_add_e_f32s(w, *b, *sum);
                    }
                }
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            let row = &mut out[r * apart + at..][..wide];
            S::as_mut_simd_f32s(row).0.copy_from_slice(sum);
        }
    }
}

/// One row of `P` panels of each pair.
#[inline(always)]
fn single<S: Simd, const P: usize, const N: usize>(
    simd: S,
    out: &mut [f32],
    start: Option<&[f32]>,
    a: [&[f32]; N],
    panels: [&[f32]; N],
) {
    match S::F32_LANES {
        16 => vectors::<S, P, 2, N>(simd, out, start, a, panels),
        8 => vectors::<S, P, 4, N>(simd, out, start, a, panels),
        4 => vectors::<S, P, 8, N>(simd, out, start, a, panels),
        _ => vectors::<S, P, PANEL, N>(simd, out, start, a, panels),
    }
}

/// One row of `P` panels of `V` vectors each.
#[inline(always)]
fn vectors<S: Simd, const P: usize, const V: usize, const N: usize>(
    simd: S,
    out: &mut [f32],
    start: Option<&[f32]>,
    a: [&[f32]; N],
    panels: [&[f32]; N],
) {
    let mut sum: [[S::f32s; V]; P] = std::array::from_fn(|p| {
        let from = match start {
            Some(start) => &start[p * PANEL..][..PANEL],
            None => &out[p * PANEL..][..PANEL],
        };
        let from = S::as_simd_f32s(from).0;
        std::array::from_fn(|v| from[v])
    });
    for (a, panels) in a.into_iter().zip(panels) {
        let each = a.len() * PANEL;
        let panels: [&[f32]; P] = std::array::from_fn(|p| &panels[p * each..][..each]);
        for (k, a) in a.iter().enumerate() {
            let w = simd.splat_f32s(*a);
            for (panel, sum) in panels.iter().zip(&mut sum) {
                let b = S::as_simd_f32s(&panel[k * PANEL..][..PANEL]).0;
                for (v, sum) in sum.iter_mut().enumerate() {
                    *sum = simd.mul_add_e_f32s(w, b[v], *sum);
                }
            }
        }
    }
    for (p, sum) in sum.iter().enumerate() {
        S::as_mut_simd_f32s(&mut out[p * PANEL..][..PANEL]).0.copy_from_slice(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_what_its_sums_are_whatever_stands_beside_it() {
        for (n, k, m) in [
            (1, 5, 3),
            (3, 1, 64),
            (4, 7, 16),
            (6, 64, 256),
            (9, 3, 75),
            (32, 256, 64),
            (2, 8, 137),
            (1, 9, 300),
            (19, 16, 32),
        ] {
            let number = |i: usize| ((i * 7919 % 1_001) as f32 / 500.0) - 1.0;
            let (a_apart, apart) = (k + 3, m + 5);
            let a: Vec<f32> = (0..n * a_apart).map(number).collect();
            let b: Vec<f32> = (0..k * m).map(|i| number(i + 17)).collect();
            let mut out: Vec<f32> = (0..n * apart).map(|i| number(i + 3)).collect();
            let before = out.clone();
            let panels = Panels::of(&b, m);
            let turned: Vec<f32> = (0..m * k).map(|i| b[(i % k) * m + i / k]).collect();
            assert_eq!(panels.values, Panels::of_transposed(&turned, k).values);
            let rows = Rows { values: &a, apart: a_apart };
            add_product(Arch::new(), (&mut out, apart), rows, n, &panels);
            for row in 0..n {
                let mut alone = before[row * apart..][..m].to_vec();
                let this = Rows { values: &a[row * a_apart..][..k], apart: k };
                add_product(Arch::new(), (&mut alone, m), this, 1, &panels);
                assert_eq!(alone, out[row * apart..][..m], "{n} {k} {m}");
                // The same in two pairs, from a start, the other way round.
                let cut = k / 3;
                let halves = [Panels::of(&b[..cut * m], m), Panels::of(&b[cut * m..], m)];
                let rows = |from: usize| Rows { values: &a[from..], apart: a_apart };
                let pairs = [(rows(0), &halves[0]), (rows(cut), &halves[1])];
                let start = &before[row * apart..][..m];
                let mut summed = vec![f32::NAN; n * apart];
                sum(Arch::new(), (&mut summed, apart), Some(start), pairs, n, true);
                assert_eq!(alone, summed[row * apart..][..m], "{n} {k} {m} in pairs");
                assert_eq!(
                    before[row * apart + m..(row + 1) * apart],
                    out[row * apart + m..(row + 1) * apart]
                );
                for column in 0..m {
                    let exact: f64 = f64::from(before[row * apart + column])
                        + (0..k)
                            .map(|p| f64::from(a[row * a_apart + p]) * f64::from(b[p * m + column]))
                            .sum::<f64>();
                    assert!(
                        (f64::from(out[row * apart + column]) - exact).abs() < 1e-5 * (1.0 + k as f64).sqrt()
                    );
                }
            }
        }
    }
}
