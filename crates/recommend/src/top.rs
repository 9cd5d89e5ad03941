//! The best of many scores.

use crate::wide::wide;
use std::cmp::Ordering;
use tradewind_core::ItemSet;

/// Scores looked at together before any is compared alone.
const BLOCK: usize = 64;

/// The positions of the `n` largest scores above `floor`, best first; of equal scores the earlier position. Scores
/// that are no numbers count as absent.
pub(crate) fn best(scores: &[f32], n: usize, floor: f32) -> Vec<(u32, f32)> {
    best_among(scores, n, floor, None)
}

/// The same among the items of a set.
pub(crate) fn best_among(scores: &[f32], n: usize, floor: f32, among: Option<&ItemSet>) -> Vec<(u32, f32)> {
    let mut kept: Vec<(u32, f32)> = Vec::with_capacity(n.min(scores.len()) + 1);
    if n == 0 {
        return kept;
    }
    let mut bar = floor;
    for (b, block) in scores.chunks(BLOCK).enumerate() {
        if !any_above(block, bar) {
            continue;
        }
        for (i, score) in block.iter().enumerate() {
            let within = || among.is_none_or(|a| a.contains((b * BLOCK + i) as u32));
            if *score > bar && within() {
                let place = kept.partition_point(|e| e.1 >= *score);
                kept.insert(place, ((b * BLOCK + i) as u32, *score));
                if kept.len() > n {
                    kept.pop();
                }
                if kept.len() == n {
                    bar = kept[n - 1].1;
                }
            }
        }
    }
    kept
}

/// The best of sums to which only a few of `n_items` get anything: `add` is handed the function that adds. Sums above
/// zero alone count, and the work goes by what is added, not by the number of items.
pub(crate) fn best_of_few(
    n_items: usize,
    n: usize,
    among: Option<&ItemSet>,
    add: impl FnOnce(&mut dyn FnMut(u32, f32)),
) -> Vec<(u32, f32)> {
    thread_local! {
        /// Zeros between calls.
        static SUMS: std::cell::Cell<Vec<f32>> = const { std::cell::Cell::new(Vec::new()) };
    }
    let mut sums = SUMS.take();
    if sums.len() < n_items {
        sums.resize(n_items, 0.0);
    }
    let mut met: Vec<u32> = Vec::new();
    add(&mut |item, value| {
        let sum = &mut sums[item as usize];
        if *sum == 0.0 {
            met.push(item);
        }
        *sum += value;
    });
    // An item is met again where its sum had come back to zero; its sum is taken once.
    let all = met.into_iter().map(|i| (i, std::mem::take(&mut sums[i as usize])));
    let mut all: Vec<(u32, f32)> =
        all.filter(|e| e.1 > 0.0 && among.is_none_or(|a| a.contains(e.0))).collect();
    SUMS.set(sums);
    keep_largest(&mut all, n);
    all.sort_unstable_by(larger_first);
    all
}

/// Leaves the `n` entries with the largest values, in no order; of equal values those of the smaller index.
pub(crate) fn keep_largest(entries: &mut Vec<(u32, f32)>, n: usize) {
    if entries.len() > n && n > 0 {
        entries.select_nth_unstable_by(n - 1, larger_first);
    }
    entries.truncate(n);
}

fn larger_first(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

wide! {
    /// Whether any score lies above the bar.
    fn any_above(scores: &[f32], bar: f32) -> bool {
        let (lanes, rest) = scores.as_chunks::<16>();
        let mut above = [false; 16];
        for lane in lanes {
            for l in 0..16 {
                above[l] |= lane[l] > bar;
            }
        }
        above.iter().any(|a| *a) || rest.iter().any(|s| *s > bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            scores in prop::collection::vec(prop_oneof![8 => -3_i8..4, 1 => Just(100)], 0..300),
            n in 0_usize..40,
        ) {
            let scores: Vec<f32> = scores.into_iter().map(|s| if s == 100 { f32::NAN } else { s.into() }).collect();
            let mut order: Vec<u32> = (0..scores.len() as u32).filter(|i| scores[*i as usize] > -2.0).collect();
            order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
            order.truncate(n);
            let got: Vec<u32> = best(&scores, n, -2.0).into_iter().map(|e| e.0).collect();
            prop_assert_eq!(got, order);
        }
    }
}
