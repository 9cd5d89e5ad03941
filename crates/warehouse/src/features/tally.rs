//! What windows add up, the same for training and serving.
//!
//! Sums are kept in two doubles (106 bits), so that of ordinary amounts no bit is lost and a sum does not depend on the
//! order in which it was made: that is why the online store, which adds in another order, gives the same value to the
//! last bit. Windows never subtract: a value that left leaves no rounding behind.

use std::collections::{HashMap, HashSet, VecDeque};

/// Count, sum, smallest and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, high: 0.0, low: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Tally {
    /// Adds a finite value.
    #[inline]
    pub(crate) fn add(&mut self, x: f64) {
        self.count += 1;
        (self.high, self.low) = add_two(self.high, self.low, x, 0.0);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        (self.high, self.low) = add_two(self.high, self.low, other.high, other.low);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The sum; no number when it is beyond 64 bits.
    pub(crate) fn sum(&self) -> Option<f64> {
        // Adding zero makes a negative zero positive.
        Some(self.high + 0.0).filter(|s| s.is_finite())
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        if self.count == 0 { None } else { self.sum().map(|s| s / self.count as f64) }
    }

    pub(crate) fn min(&self) -> Option<f64> {
        if self.count == 0 { None } else { Some(self.min) }
    }

    pub(crate) fn max(&self) -> Option<f64> {
        if self.count == 0 { None } else { Some(self.max) }
    }
}

/// The sum of two numbers of two doubles each (Dekker 1971, Knuth's exact sum of two).
#[inline]
fn add_two(a: f64, a_low: f64, b: f64, b_low: f64) -> (f64, f64) {
    let (s, e) = exact_sum(a, b);
    let (t, f) = exact_sum(a_low, b_low);
    let (s, e) = quick_sum(s, e + t);
    quick_sum(s, e + f)
}

#[inline]
fn exact_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let v = s - a;
    (s, (a - (s - v)) + (b - v))
}

#[inline]
fn quick_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    (s, b - (s - a))
}

/// A tally of a window that only moves on, by two stacks: every value is added twice at most.
#[derive(Debug)]
pub(crate) struct Sliding {
    width: i64,
    /// Values that came since the last turn, with their times, and their tally.
    back: Vec<(i64, f64)>,
    back_tally: Tally,
    /// Older values, newest first; each with the tally of itself and all newer ones in this stack.
    front: Vec<(i64, Tally)>,
}

impl Sliding {
    pub(crate) fn new(width: i64) -> Self {
        Self { width, back: vec![], back_tally: Tally::default(), front: vec![] }
    }

    pub(crate) fn clear(&mut self) {
        self.back.clear();
        self.back_tally = Tally::default();
        self.front.clear();
    }

    pub(crate) fn push(&mut self, known: i64, x: f64) {
        self.back.push((known, x));
        self.back_tally.add(x);
    }

    /// The tally of what became known after `now - width`. `now` must not go back.
    pub(crate) fn at(&mut self, now: i64) -> Tally {
        let bound = now.saturating_sub(self.width);
        loop {
            match self.front.last() {
                Some((known, _)) if *known <= bound => {
                    self.front.pop();
                }
                Some((_, tally)) => {
                    let mut whole = *tally;
                    whole.merge(&self.back_tally);
                    return whole;
                }
                None if self.back.first().is_some_and(|(known, _)| *known <= bound) => self.turn(bound),
                None => return self.back_tally,
            }
        }
    }

    fn turn(&mut self, bound: i64) {
        let mut tally = Tally::default();
        for (known, x) in self.back.drain(..).rev() {
            if known <= bound {
                break;
            }
            tally.add(x);
            self.front.push((known, tally));
        }
        self.back_tally = Tally::default();
    }
}

/// How many different values are in a window that only moves on.
#[derive(Debug)]
pub(crate) struct SlidingDistinct {
    width: i64,
    rows: VecDeque<(i64, u64)>,
    counts: HashMap<u64, u32>,
}

impl SlidingDistinct {
    pub(crate) fn new(width: i64) -> Self {
        Self { width, rows: VecDeque::new(), counts: HashMap::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.counts.clear();
    }

    pub(crate) fn push(&mut self, known: i64, mark: u64) {
        self.rows.push_back((known, mark));
        *self.counts.entry(mark).or_default() += 1;
    }

    pub(crate) fn at(&mut self, now: i64) -> u64 {
        let bound = now.saturating_sub(self.width);
        while let Some((_, mark)) = self.rows.pop_front_if(|(known, _)| *known <= bound) {
            if let Some(n) = self.counts.get_mut(&mark) {
                *n -= 1;
                if *n == 0 {
                    self.counts.remove(&mark);
                }
            }
        }
        self.counts.len() as u64
    }
}

/// Marks of different values.
pub(crate) type Marks = HashSet<u64>;

/// The mark of a number: equal numbers have equal marks, different ones different marks.
pub(crate) fn number_mark(x: f64) -> u64 {
    x.to_bits()
}

/// The mark of a text: 64 bits of BLAKE3, kept in the online store. Two of a million texts share one with probability 3e-8.
pub(crate) fn text_mark(text: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// A number as features see it: what is not finite is absent (NaN stands for it), and zero has no sign.
#[inline]
pub(crate) fn plain_number(x: f64) -> f64 {
    if x.is_finite() { x + 0.0 } else { f64::NAN }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sliding_tally_equals_one_made_anew(
            steps in prop::collection::vec((0_i64..6, -10_000_i64..10_000, any::<bool>()), 1..200),
            width in 1_i64..20,
        ) {
            let (mut now, mut all) = (0, vec![]);
            let (mut sliding, mut distinct) = (Sliding::new(width), SlidingDistinct::new(width));
            for (gap, cents, ask) in steps {
                now += gap;
                let x = plain_number(cents as f64 / 100.0);
                all.push((now, x));
                sliding.push(now, x);
                distinct.push(now, number_mark(x));
                if ask {
                    let inside: Vec<f64> = all.iter().filter(|(k, _)| *k > now - width).map(|(_, x)| *x).collect();
                    let mut anew = Tally::default();
                    // The other way round: the order must not matter.
                    inside.iter().rev().for_each(|x| anew.add(*x));
                    let got = sliding.at(now);
                    prop_assert_eq!(got.sum(), anew.sum());
                    prop_assert_eq!((got.count, got.min(), got.max()), (anew.count, anew.min(), anew.max()));
                    let marks: Marks = inside.iter().map(|x| number_mark(*x)).collect();
                    prop_assert_eq!(distinct.at(now), marks.len() as u64);
                }
            }
        }
    }

    #[test]
    fn sums_are_exact_beyond_a_double() {
        let mut t = Tally::default();
        for x in [1e16, 1.0, 1.0, -1e16] {
            t.add(x);
        }
        assert_eq!(t.sum(), Some(2.0));
        let mut t = Tally::default();
        (0..10).for_each(|_| t.add(0.1));
        assert_eq!(t.sum(), Some(1.0));
        let mut t = Tally::default();
        [1e308, 1e308].iter().for_each(|x| t.add(*x));
        assert_eq!((t.sum(), t.mean()), (None, None));
    }
}
