//! What is popular and what rises, without locks.
//!
//! A decayed count at time `t` is `Σ w 2^(−(t − ds) / h)`. What is kept is `L = log2 Σ w 2^(ds / h)`, which does not
//! depend on `t`: the count is `2^(L − t / h)`, items compare by `L` alone, and nothing need ever be decayed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Items of one piece of memory.
const SEGMENT: usize = 1 << 14;
/// Pieces at most: 67 million items.
const SEGMENTS: usize = 1 << 12;

struct Counter {
    slow: AtomicU64,
    fast: AtomicU64,
}

/// Decayed counts of two half-lives.
pub(crate) struct Popularity {
    segments: Vec<OnceLock<Box<[Counter]>>>,
    slow_half_life: f64,
    fast_half_life: f64,
}

/// What an item must count for, in the faster half-life, to be said to rise.
const RISING_MIN: f64 = 2.0;

impl Popularity {
    pub(crate) fn new(slow_half_life: f64, fast_half_life: f64) -> Self {
        let segments = (0..SEGMENTS).map(|_| OnceLock::new()).collect();
        Self { segments, slow_half_life, fast_half_life }
    }

    /// Counts an event; those that speak against an item do not make it less popular with others.
    pub(crate) fn add(&self, item: u32, weight: f64, ds: i64) {
        let Some(segment) = self.segments.get(item as usize / SEGMENT).filter(|_| weight > 0.0) else {
            return;
        };
        let segment = segment.get_or_init(|| {
            let none = || AtomicU64::new(f64::NEG_INFINITY.to_bits());
            (0..SEGMENT).map(|_| Counter { slow: none(), fast: none() }).collect()
        });
        let counter = &segment[item as usize % SEGMENT];
        grow(&counter.slow, weight.log2() + ds as f64 / self.slow_half_life);
        grow(&counter.fast, weight.log2() + ds as f64 / self.fast_half_life);
    }

    fn counter(&self, item: u32) -> Option<&Counter> {
        self.segments.get(item as usize / SEGMENT)?.get().map(|s| &s[item as usize % SEGMENT])
    }

    /// By which items compare in popularity, at any time; `None` where there was no event.
    pub(crate) fn level(&self, item: u32) -> Option<f64> {
        self.counter(item).map(|c| f64::from_bits(c.slow.load(Ordering::Relaxed))).filter(|l| l.is_finite())
    }

    /// The decayed count.
    pub(crate) fn count(&self, item: u32, now: i64) -> f64 {
        self.level(item).map_or(0.0, |l| (l - now as f64 / self.slow_half_life).exp2())
    }

    /// How far the faster count lies above what the slower lets expect, in standard deviations of a Poisson count; above
    /// 1 an item is said to rise. `None` where nothing much happens.
    pub(crate) fn rise(&self, item: u32, now: i64) -> Option<f64> {
        let counter = self.counter(item)?;
        let level = f64::from_bits(counter.fast.load(Ordering::Relaxed)) - now as f64 / self.fast_half_life;
        if level < RISING_MIN.log2() {
            return None;
        }
        let fast = level.exp2();
        let expected = self.count(item, now) * self.fast_half_life / self.slow_half_life;
        let rise = (fast - expected) / (expected + 1.0).sqrt();
        (rise > 1.0).then_some(rise)
    }
}

/// `L = log2(2^L + 2^more)`.
fn grow(level: &AtomicU64, more: f64) {
    let mut old = level.load(Ordering::Relaxed);
    loop {
        let l = f64::from_bits(old);
        let (high, low) = if l > more { (l, more) } else { (more, l) };
        let new = high + (low - high).exp2().ln_1p() * std::f64::consts::LOG2_E;
        match level.compare_exchange_weak(old, new.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => old = now,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn counts_are_those_of_the_definition() {
        let popularity = Popularity::new(100.0, 10.0);
        let events: Vec<(i64, f64)> = (0..200).map(|k| (k * 7 % 300, 0.5 + (k % 4) as f64)).collect();
        events.iter().for_each(|(ds, w)| popularity.add(3, *w, *ds));
        let sum: f64 = events.iter().map(|(ds, w)| w * (-(320 - ds) as f64 / 100.0).exp2()).sum();
        assert!((popularity.count(3, 320) / sum - 1.0).abs() < 1e-9);
        assert_eq!((popularity.level(4), popularity.count(90_000, 5)), (None, 0.0));
    }

    #[test]
    fn what_rises_is_what_counts_more_than_before() {
        let popularity = Popularity::new(1000.0, 50.0);
        for ds in 0..2000 {
            popularity.add(0, 1.0, ds); // Always the same.
            if ds > 1960 {
                popularity.add(1, 1.0, ds); // Begins at the end.
            }
            if ds < 500 {
                popularity.add(2, 5.0, ds); // Is over.
            }
        }
        assert!(popularity.rise(1, 2000).unwrap() > 3.0);
        assert_eq!(popularity.rise(2, 2000), None);
        assert!(popularity.rise(0, 2000).is_none_or(|r| r < popularity.rise(1, 2000).unwrap()));
    }
}
