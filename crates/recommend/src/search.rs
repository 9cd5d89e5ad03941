//! The exact best of many vectors: a scan in 8 bits with proven bounds, then exact products of the few that are left.
//!
//! Each row `y` is kept as 8-bit numbers with a scale of its own, `ŷ`, with the length of `y` and of what was lost,
//! `|y − ŷ|`; the question `x` becomes `x̂` of up to 16 bits. Then
//!
//! ```text
//! |x·y − x̂·ŷ| ≤ |x| |y − ŷ| + |x − x̂| |ŷ|
//! ```
//!
//! so that a row whose upper bound lies below the `n`-th best lower bound cannot be among the best. Rows stand in the
//! order of their lengths, and the scan ends where `|x| |y|` cannot reach the bar any more (Teflioudi, Gemulla & Mykytiuk,
//! *LEMP: fast retrieval of large entries in a matrix product*, SIGMOD 2015). What is left, some hundred rows, is
//! multiplied exactly: the answer is that of a scan in full precision, a quarter of the memory is read, and there is no
//! recall to lose. An approximate graph (HNSW) is not here: at 100,000 vectors the scan takes a tenth of a millisecond, and
//! the graphs that crates build on many threads are not the same twice.

use crate::wide::{LANES, wide};
use tradewind_core::ItemSet;

/// Rows looked at together.
const BLOCK: usize = 64;
/// Below this part of all rows the allowed ones are multiplied one by one.
const FEW: usize = 12;

/// Rows in 8 bits; the rows themselves stay with their owner, who hands them in again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quantised {
    width: usize,
    /// Positions of the rows, the longest first.
    order: Vec<u32>,
    /// In that order, as is all below.
    values: Vec<i8>,
    scale: Vec<f32>,
    length: Vec<f32>,
    lost: Vec<f32>,
}

impl Quantised {
    /// Of vectors row after row, `width` numbers each, a multiple of [`LANES`].
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        debug_assert!(width.is_multiple_of(LANES));
        let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt() as f32;
        let lengths: Vec<f32> = rows.chunks_exact(width.max(1)).map(norm).collect();
        let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
        order.sort_by(|a, b| lengths[*b as usize].total_cmp(&lengths[*a as usize]).then(a.cmp(b)));
        let mut out = Self { width, ..Self::default() };
        let mut rest = vec![0.0; width];
        for at in &order {
            let row = &rows[*at as usize * width..(*at as usize + 1) * width];
            let top = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let scale = top / 127.0;
            let over = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            for (value, rest) in row.iter().zip(&mut rest) {
                let small = (value * over).round().clamp(-127.0, 127.0) as i8;
                *rest = value - f32::from(small) * scale;
                out.values.push(small);
            }
            out.scale.push(scale);
            out.length.push(lengths[*at as usize]);
            out.lost.push(norm(&rest));
        }
        out.order = order;
        out
    }

    /// The `n` rows with the largest products with `x`, best first; of equal ones the earlier. `exact` gives the product
    /// of `x` with a row in full precision.
    pub(crate) fn top(
        &self,
        x: &[f32],
        n: usize,
        among: Option<&ItemSet>,
        exact: impl Fn(u32) -> f32,
    ) -> Vec<(u32, f32)> {
        let width = self.width;
        if n == 0 || self.order.is_empty() || x.iter().any(|v| !v.is_finite()) {
            return vec![];
        }
        if let Some(among) = among.filter(|a| a.len() * FEW < self.order.len()) {
            let all = among.iter().filter(|i| (*i as usize) < self.order.len());
            return best(all.map(|i| (i, exact(i))).collect(), n);
        }
        let question = Question::new(x);
        // The `n` largest lower bounds, best first, and what may be among the best, with its upper bound.
        let mut lower: Vec<f32> = Vec::with_capacity(n + 1);
        let mut left: Vec<(u32, f32)> = Vec::new();
        let mut bar = f32::NEG_INFINITY;
        let (mut dots, mut high, mut low) = ([0_i32; BLOCK], [0.0_f32; BLOCK], [0.0_f32; BLOCK]);
        for (b, values) in self.values.chunks(BLOCK * width).enumerate() {
            let part = b * BLOCK..(b * BLOCK + values.len() / width);
            // The first of a block is its longest.
            if question.length * self.length[part.start] * (1.0 + SLACK) < bar {
                break;
            }
            let m = part.len();
            products8(values, &question.values, &mut dots[..m]);
            let (scale, length, lost) =
                (&self.scale[part.clone()], &self.length[part.clone()], &self.lost[part.clone()]);
            bounds(&dots[..m], scale, length, lost, &question.as_numbers(), &mut low[..m], &mut high[..m]);
            for k in 0..m {
                if high[k] < bar {
                    continue;
                }
                let item = self.order[part.start + k];
                if among.is_some_and(|a| !a.contains(item)) {
                    continue;
                }
                left.push((item, high[k]));
                if low[k] > bar || lower.len() < n {
                    let place = lower.partition_point(|l| *l >= low[k]);
                    lower.insert(place, low[k]);
                    lower.truncate(n);
                    if lower.len() == n {
                        bar = lower[n - 1];
                    }
                }
            }
        }
        left.retain(|e| e.1 >= bar);
        best(left.into_iter().map(|(i, _)| (i, exact(i))).collect(), n)
    }
}

/// Room for the rounding of single precision in bounds, as a part of `|x| |y|`.
const SLACK: f32 = 2e-5;

/// The question in whole numbers.
struct Question {
    values: Vec<i16>,
    scale: f32,
    length: f32,
    lost: f32,
}

impl Question {
    fn new(x: &[f32]) -> Self {
        // As large as sums of products in 32 bits allow.
        let most = (f64::from(i32::MAX) / (127.0 * x.len() as f64)).min(32_000.0) as f32;
        let top = x.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let scale = top / most.floor();
        let over = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let values: Vec<i16> = x.iter().map(|v| (v * over).round() as i16).collect();
        let norm = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>().sqrt() as f32;
        let length = norm(&mut x.iter().map(|v| f64::from(*v)));
        let rest = |(v, w): (&f32, &i16)| f64::from(*v) - f64::from(*w) * f64::from(scale);
        let lost = norm(&mut x.iter().zip(&values).map(rest));
        Self { values, scale, length, lost }
    }

    fn as_numbers(&self) -> [f32; 3] {
        [self.scale, self.length, self.lost + SLACK * self.length]
    }
}

/// The product, component after component, as [`Panels`](crate::wide::Panels) does: the same bits.
pub(crate) fn product(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).fold(0.0, |sum, (x, y)| sum + x * y)
}

fn best(mut all: Vec<(u32, f32)>, n: usize) -> Vec<(u32, f32)> {
    let by_score = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if all.len() > n {
        all.select_nth_unstable_by(n - 1, by_score);
        all.truncate(n);
    }
    all.sort_unstable_by(by_score);
    all
}

wide! {
    /// The products of rows of 8-bit numbers with `x`, whose length is a multiple of 16.
    fn products8(rows: &[i8], x: &[i16], out: &mut [i32]) {
        let x = x.as_chunks::<LANES>().0;
        for (row, out) in rows.chunks_exact(x.len() * LANES).zip(out) {
            let mut sum = 0_i32;
            for (y, x) in row.as_chunks::<LANES>().0.iter().zip(x) {
                for l in 0..LANES {
                    sum += i32::from(y[l]) * i32::from(x[l]);
                }
            }
            *out = sum;
        }
    }
}

wide! {
    /// Lower and upper bounds of the exact products.
    fn bounds(
        dots: &[i32],
        scale: &[f32],
        length: &[f32],
        lost: &[f32],
        question: &[f32; 3],
        low: &mut [f32],
        high: &mut [f32],
    ) {
        let [x_scale, x_length, x_lost] = *question;
        for k in 0..dots.len() {
            let about = dots[k] as f32 * (x_scale * scale[k]);
            // |ŷ| ≤ |y| + |y − ŷ|
            let error = x_length * lost[k] + x_lost * (length[k] + lost[k]);
            low[k] = about - error;
            high[k] = about + error;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_hand(rows: &[f32], x: &[f32], n: usize, among: Option<&ItemSet>) -> Vec<(u32, f32)> {
        let all = rows.chunks_exact(x.len()).enumerate().map(|(i, y)| (i as u32, product(x, y)));
        let mut all: Vec<(u32, f32)> = all.filter(|e| among.is_none_or(|a| a.contains(e.0))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(n);
        all
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_a_full_scan(
            seed in 0_u64..1000,
            n_rows in 1_usize..900,
            lanes in 1_usize..5,
            n in 1_usize..60,
            keep in 1_u32..20,
            kind in 0..4,
        ) {
            let mut state = seed;
            let mut number = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            };
            let width = lanes * LANES;
            let mut rows = Vec::new();
            for i in 0..n_rows {
                let size = match kind {
                    0 => 1.0,
                    1 => 1.0 / (1.0 + i as f32),
                    2 => if i.is_multiple_of(3) { 0.0 } else { 1e-20 },
                    _ => if i.is_multiple_of(50) { 1e6 } else { 1.0 },
                };
                (0..width).for_each(|_| rows.push(size * number()));
            }
            let x: Vec<f32> = (0..width).map(|_| number()).collect();
            let index = Quantised::new(&rows, width);
            let mut among = ItemSet::none(n_rows);
            (0..n_rows as u32).filter(|i| i.is_multiple_of(keep)).for_each(|i| among.insert(i));
            let exact = |i: u32| product(&x, &rows[i as usize * width..][..width]);
            prop_assert_eq!(index.top(&x, n, None, exact), by_hand(&rows, &x, n, None));
            prop_assert_eq!(index.top(&x, n, Some(&among), exact), by_hand(&rows, &x, n, Some(&among)));
        }
    }

    #[test]
    fn odd_questions_are_borne() {
        let rows = vec![1.0; LANES * 3];
        let index = Quantised::new(&rows, LANES);
        let top = |value: f32, n| index.top(&[value; LANES], n, None, |_| value * LANES as f32);
        assert_eq!(top(0.0, 2), [(0, 0.0), (1, 0.0)]);
        assert!(top(f32::NAN, 2).is_empty());
        assert!(Quantised::new(&[], LANES).top(&[1.0; LANES], 2, None, |_| 0.0).is_empty());
        assert_eq!(top(-1.0, 9).len(), 3);
    }
}
