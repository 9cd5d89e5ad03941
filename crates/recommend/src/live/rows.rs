//! For each item the items it is counted with, the strongest few.
//!
//! A row holds `row_max` items. One that comes when the row is full takes the place of the least and its count
//! (Metwally, Agrawal & El Abbadi, *Efficient computation of frequent and top-k elements in data streams*, ICDT 2005):
//! no count is too small, and none is too large by more than the row's total over `row_max`. Counts halve with every
//! half-life; a row is decayed when it is touched.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks.
const SHARDS: usize = 128;

/// What one item is counted with, as of `ds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    ds: i64,
    pub(crate) items: Vec<u32>,
    pub(crate) counts: Vec<f32>,
    /// How much of each count may be that of items which stood in its place before.
    pub(crate) over: Vec<f32>,
    /// All that was ever counted, decayed.
    pub(crate) total: f32,
}

/// The rows of all items.
pub(crate) struct Rows {
    shards: Vec<Mutex<Vec<Row>>>,
    row_max: usize,
    half_life: f64,
}

/// A count below this share of its row's total is as good as none, and makes room.
const SHARE_MIN: f32 = 1e-9;

impl Row {
    fn add(&mut self, item: u32, weight: f32, ds: i64, row_max: usize, half_life: f64) {
        let mut weight = weight;
        if half_life > 0.0 && ds != self.ds {
            let fade =
                |late: i64, early: i64| (-(late.saturating_sub(early)) as f64 / half_life).exp2() as f32;
            if self.items.is_empty() {
                self.ds = ds;
            } else if ds > self.ds {
                let factor = fade(ds, self.ds);
                self.counts.iter_mut().chain(&mut self.over).for_each(|c| *c *= factor);
                self.total *= factor;
                self.ds = ds;
            } else {
                weight *= fade(self.ds, ds);
            }
        }
        self.total += weight;
        match self.items.iter().position(|i| *i == item) {
            Some(at) => self.counts[at] += weight,
            None if self.items.len() < row_max => {
                if self.items.len() == self.items.capacity() {
                    let more = self.items.len().max(4).min(row_max - self.items.len());
                    self.items.reserve_exact(more);
                    self.counts.reserve_exact(more);
                    self.over.reserve_exact(more);
                }
                self.items.push(item);
                self.counts.push(weight);
                self.over.push(0.0);
            }
            None => {
                let mut least = 0;
                for (k, count) in self.counts.iter().enumerate() {
                    if *count < self.counts[least] {
                        least = k;
                    }
                }
                self.items[least] = item;
                let old = if self.counts[least] < self.total * SHARE_MIN { 0.0 } else { self.counts[least] };
                self.counts[least] = old + weight;
                self.over[least] = old;
            }
        }
    }
}

impl Rows {
    pub(crate) fn new(row_max: usize, half_life: f64) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), row_max, half_life }
    }

    fn shard(&self, item: u32) -> MutexGuard<'_, Vec<Row>> {
        self.shards[item as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `with` for `item`.
    pub(crate) fn add(&self, item: u32, with: u32, weight: f32, ds: i64) {
        let mut shard = self.shard(item);
        let at = item as usize / SHARDS;
        if at >= shard.len() {
            shard.resize_with(at + 1, Row::default);
        }
        shard[at].add(with, weight, ds, self.row_max, self.half_life);
    }

    /// Hands over the row of an item, if there is one.
    pub(crate) fn with<T>(&self, item: u32, look: impl FnOnce(&Row) -> T) -> Option<T> {
        let shard = self.shard(item);
        shard.get(item as usize / SHARDS).filter(|r| !r.items.is_empty()).map(look)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_never_too_small_nor_far_too_large(
            stream in prop::collection::vec((0_u32..30, 1_u8..5), 1..300),
            row_max in 1_usize..40,
        ) {
            let rows = Rows::new(row_max, 0.0);
            let mut truth = [0.0_f32; 30];
            for (item, weight) in &stream {
                rows.add(7, *item, f32::from(*weight), 0);
                truth[*item as usize] += f32::from(*weight);
            }
            let row = rows.with(7, Row::clone).unwrap();
            let total: f32 = truth.iter().sum();
            prop_assert!(row.items.len() <= row_max && row.items.capacity() <= row_max.max(4));
            prop_assert_eq!(row.total, total);
            for ((item, count), over) in row.items.iter().zip(&row.counts).zip(&row.over) {
                prop_assert!(*count >= truth[*item as usize]);
                prop_assert!(count - over <= truth[*item as usize] + 1e-3);
                prop_assert!(*count <= truth[*item as usize] + total / row_max as f32 + 1e-3);
            }
            // Whatever counts for more than its share is there.
            for (item, count) in truth.iter().enumerate() {
                if *count > total / row_max as f32 {
                    prop_assert!(row.items.contains(&(item as u32)));
                }
            }
        }

        #[test]
        fn decay_is_that_of_the_definition(stream in prop::collection::vec((0_u32..9, 0_i64..100), 1..60)) {
            let rows = Rows::new(10, 20.0);
            stream.iter().for_each(|(item, ds)| rows.add(0, *item, 1.0, *ds));
            let last = stream.iter().map(|s| s.1).max().unwrap();
            let row = rows.with(0, Row::clone).unwrap();
            for (item, count) in row.items.iter().zip(&row.counts) {
                let sum: f64 = stream
                    .iter()
                    .filter(|s| s.0 == *item)
                    .map(|s| (-(last - s.1) as f64 / 20.0).exp2())
                    .sum();
                prop_assert!((f64::from(*count) / sum - 1.0).abs() < 1e-4, "{count} {sum}");
            }
        }
    }
}
