//! Quantiles of a stream in bounded memory: the sketch of Karnin, Lang and Liberty (2016), "Optimal Quantile
//! Approximation in Streams".
//!
//! Values come into level 0. A level that is too full is sorted and every second value goes one level up, where it
//! stands for twice as many; which half goes up is a coin that a counter and the level decide, so the same stream gives
//! the same sketch. Level 0 holds `k` values, the highest level `k` and each one below it two thirds of the next, so all
//! together stay below `4 k` values. Up to `k` values nothing is thrown away and every answer is exact.
//!
//! Against values that are given (DDSketch) the error is one of rank, whatever the values are: years, prices and
//! timestamps alike.

use serde::{Deserialize, Serialize};

/// Levels at most: 2⁴⁸ values for each of level 0, more than any shop has.
const LEVELS_MAX: usize = 49;
/// No level holds less.
const LEVEL_MIN: usize = 8;
/// The smallest and largest `k`.
pub(super) const K_RANGE: std::ops::RangeInclusive<usize> = 16..=65_536;

/// Quantiles of a stream of finite numbers; see the head of this file for how.
///
/// The rank of any answer is off by at most [`Quantiles::rank_error`] with 99 % certainty, also after merges.
///
/// ```
/// use tradewind_ops::monitor::sketch::Quantiles;
/// let mut sketch = Quantiles::new(1024).unwrap();
/// sketch.extend((0..1_000_000).map(f64::from));
/// let median = sketch.ranked().quantile(0.5);
/// assert!((median / 1e6 - 0.5).abs() < sketch.rank_error());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    k: usize,
    n: u64,
    /// How often a level was thinned; the coin's counter.
    thinned: u64,
    /// Invariant: a value of level `h` stands for 2ʰ, and these sum to `n`. Levels above 0 are sorted.
    levels: Vec<Vec<f64>>,
}

impl Quantiles {
    /// An empty sketch. `k` is 16 to 65,536; 1024 gives ranks to half a percent in 32 KiB.
    ///
    /// # Errors
    /// A `k` outside its range.
    pub fn new(k: usize) -> crate::Result<Self> {
        if !K_RANGE.contains(&k) {
            return Err(super::wrong(
                format!("a quantile sketch of size {k}"),
                format!("give {} to {}", K_RANGE.start(), K_RANGE.end()),
            ));
        }
        Ok(Self { k, n: 0, thinned: 0, levels: vec![Vec::new()] })
    }

    /// Values seen.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The size it was made with.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Values kept.
    pub fn kept(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    /// The largest error of a rank, as a share of `n`, that 99 of 100 answers keep: `2.3 / k^0.9`; 0 while nothing was
    /// thrown away.
    pub fn rank_error(&self) -> f64 {
        if self.levels.len() == 1 { 0.0 } else { 2.3 / (self.k as f64).powf(0.9) }
    }

    /// Takes one finite number in; others are left out, for the caller counts them.
    pub fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.levels[0].push(value);
        self.n += 1;
        if self.levels[0].len() >= self.k {
            self.thin();
        }
    }

    /// Takes many numbers in.
    pub fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        for value in values {
            self.push(value);
        }
    }

    /// Adds what another sketch saw. The answer is that of one pass over both, within [`Quantiles::rank_error`]; sketches
    /// of two sizes give one of the smaller.
    pub fn merge(&mut self, other: &Self) {
        self.k = self.k.min(other.k);
        self.n += other.n;
        self.thinned = self.thinned.wrapping_add(other.thinned);
        while self.levels.len() < other.levels.len() {
            self.levels.push(Vec::new());
        }
        for (h, theirs) in other.levels.iter().enumerate() {
            if h == 0 {
                self.levels[0].extend_from_slice(theirs);
            } else {
                merge_sorted(&mut self.levels[h], theirs);
            }
        }
        if self.levels[0].len() >= self.k {
            self.thin();
        }
        self.settle();
    }

    /// The values in order, ready to be asked.
    pub fn ranked(&self) -> Ranked {
        let mut pairs: Vec<(f64, u64)> = Vec::with_capacity(self.kept());
        for (h, level) in self.levels.iter().enumerate() {
            pairs.extend(level.iter().map(|v| (*v, 1_u64 << h)));
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut out = Ranked { values: Vec::new(), below: Vec::new(), n: self.n };
        let mut sum = 0;
        for (value, weight) in pairs {
            sum += weight;
            // Minus zero and zero are one value.
            if out.values.last().is_some_and(|last| *last == value) {
                if let Some(last) = out.below.last_mut() {
                    *last = sum;
                }
            } else {
                out.values.push(value);
                out.below.push(sum);
            }
        }
        out
    }

    /// Whether what was read from outside is a sketch.
    pub(super) fn is_whole(&self) -> bool {
        let weight = self.levels.iter().enumerate().map(|(h, l)| (l.len() as u128) << h).sum::<u128>();
        K_RANGE.contains(&self.k)
            && !self.levels.is_empty()
            && self.levels.len() <= LEVELS_MAX
            && weight == u128::from(self.n)
            && self.levels.iter().flatten().all(|v| v.is_finite())
            && self.levels.iter().skip(1).all(|l| l.is_sorted())
            && self.kept() <= 4 * self.k + LEVELS_MAX * LEVEL_MIN
    }

    fn room(&self, level: usize) -> usize {
        let depth = self.levels.len() - 1 - level;
        ((self.k as f64 * (2.0_f64 / 3.0).powi(depth as i32)).ceil() as usize).max(LEVEL_MIN)
    }

    /// Thins level 0, then every level that is too full.
    fn thin(&mut self) {
        self.levels[0].sort_unstable_by(f64::total_cmp);
        self.raise(0);
        self.settle();
    }

    fn settle(&mut self) {
        let mut level = 1;
        while level < self.levels.len() {
            if self.levels[level].len() > self.room(level) {
                self.raise(level);
            }
            level += 1;
        }
    }

    /// Moves every second value of a sorted level up; an odd one stays.
    fn raise(&mut self, level: usize) {
        if level + 1 >= LEVELS_MAX {
            return;
        }
        if level + 1 == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let mut values = std::mem::take(&mut self.levels[level]);
        let stays = if values.len() % 2 == 1 { values.pop() } else { None };
        self.thinned = self.thinned.wrapping_add(1);
        let coin = (super::mixed(self.thinned ^ ((level as u64) << 56)) & 1) as usize;
        let up: Vec<f64> = values.iter().skip(coin).step_by(2).copied().collect();
        values.clear();
        values.extend(stays);
        self.levels[level] = values;
        merge_sorted(&mut self.levels[level + 1], &up);
    }
}

fn merge_sorted(into: &mut Vec<f64>, other: &[f64]) {
    let mine = std::mem::take(into);
    into.reserve(mine.len() + other.len());
    let (mut a, mut b) = (mine.iter().peekable(), other.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        if x.total_cmp(y).is_le() {
            into.extend(a.next());
        } else {
            into.extend(b.next());
        }
    }
    into.extend(a);
    into.extend(b);
}

/// Values in order, each with how many are at most that large.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    values: Vec<f64>,
    below: Vec<u64>,
    n: u64,
}

impl Ranked {
    /// All values of a sample, exactly; what is not finite is left out.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let mut out = Self { values: Vec::new(), below: Vec::new(), n: sorted.len() as u64 };
        for (i, value) in sorted.into_iter().enumerate() {
            if out.values.last().is_some_and(|last| *last == value) {
                out.below.pop();
            } else {
                out.values.push(value);
            }
            out.below.push(i as u64 + 1);
        }
        out
    }

    /// How many values it stands for.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The different values that are kept, in order.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The share of values at most the `i`-th kept one.
    pub(crate) fn cdf_at(&self, i: usize) -> f64 {
        self.below[i] as f64 / self.n as f64
    }

    /// The share of values at most `x`; NaN when there are none.
    pub fn cdf(&self, x: f64) -> f64 {
        if self.n == 0 {
            return f64::NAN;
        }
        match self.values.partition_point(|v| *v <= x) {
            0 => 0.0,
            i => self.below[i - 1] as f64 / self.n as f64,
        }
    }

    /// The share of values below `x`; NaN when there are none.
    pub fn share_below(&self, x: f64) -> f64 {
        if self.n == 0 {
            return f64::NAN;
        }
        match self.values.partition_point(|v| *v < x) {
            0 => 0.0,
            i => self.below[i - 1] as f64 / self.n as f64,
        }
    }

    /// The smallest kept value that a share `q` (0 to 1) of all values does not exceed; NaN when there are none.
    pub fn quantile(&self, q: f64) -> f64 {
        if self.n == 0 || !(0.0..=1.0).contains(&q) {
            return f64::NAN;
        }
        let rank = (q * self.n as f64).ceil().max(1.0) as u64;
        let at = self.below.partition_point(|b| *b < rank).min(self.values.len() - 1);
        self.values[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skewed(n: u64, seed: u64) -> Vec<f64> {
        (0..n)
            .map(|i| {
                let u = (super::super::mixed(i ^ (seed << 40)) >> 11) as f64 / (1_u64 << 53) as f64;
                (-(1.0 - u).ln()).powf(3.0)
            })
            .collect()
    }

    /// The largest error of rank over 999 cuts.
    fn worst(sketch: &Quantiles, values: &[f64]) -> f64 {
        let (exact, got) = (Ranked::of(values), sketch.ranked());
        (1..1000)
            .map(|i| exact.quantile(f64::from(i) / 1000.0))
            .map(|x| (exact.cdf(x) - got.cdf(x)).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn ranks_stay_within_the_stated_error() {
        for k in [64, 256, 1024] {
            for seed in 0..10 {
                let values = skewed(100_000, seed);
                let mut sketch = Quantiles::new(k).unwrap();
                sketch.extend(values.iter().copied());
                let worst = worst(&sketch, &values);
                assert!(worst < sketch.rank_error(), "k {k} seed {seed}: {worst}");
                assert!(sketch.is_whole() && sketch.kept() <= 4 * k);
            }
        }
    }

    #[test]
    fn merged_parts_answer_as_one_pass() {
        let values = skewed(200_000, 3);
        // Many small parts, and parts of very different sizes.
        for cuts in [vec![1_000; 200], vec![10, 150_000, 7, 49_983], vec![100_000, 100_000]] {
            let mut at = 0;
            let mut all = Quantiles::new(1024).unwrap();
            for cut in cuts {
                let mut part = Quantiles::new(1024).unwrap();
                part.extend(values[at..at + cut].iter().copied());
                all.merge(&part);
                at += cut;
            }
            assert_eq!(all.n(), 200_000);
            assert!(all.is_whole(), "{}", all.kept());
            assert!(worst(&all, &values) < all.rank_error());
        }
    }

    #[test]
    fn small_samples_and_ordered_ones_are_exact_or_near() {
        let mut sketch = Quantiles::new(64).unwrap();
        sketch.extend([3.0, 1.0, f64::NAN, 2.0, 2.0, f64::INFINITY]);
        let ranked = sketch.ranked();
        assert_eq!((sketch.n(), sketch.rank_error()), (4, 0.0));
        assert_eq!(ranked.cdf(2.0), 0.75);
        assert_eq!(ranked.share_below(2.0), 0.25);
        assert_eq!(ranked.quantile(0.5), 2.0);
        assert_eq!((ranked.quantile(0.0), ranked.quantile(1.0)), (1.0, 3.0));
        let mut constant = Quantiles::new(64).unwrap();
        constant.extend(std::iter::repeat_n(7.0, 100_000));
        assert_eq!(constant.ranked().values(), [7.0]);
        assert_eq!(constant.ranked().cdf(7.0), 1.0);
        assert!(Quantiles::new(64).unwrap().ranked().quantile(0.5).is_nan());
        assert!(Quantiles::new(3).is_err());
    }
}
