//! What is known of a series before a step, with running sums so that every window costs the same.

/// How fast the two exponentially weighted means forget.
const FAST: f64 = 0.3;
const SLOW: f64 = 0.08;

/// A series with running sums. Place `o` is the first step that is not known yet: what is asked at `o` looks only at
/// the values before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    /// The values; unknown ones are filled in with that of a season before, or the last one.
    y: Vec<f64>,
    season: usize,
    /// Sums of the values before each place.
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// How many of the values before each place are not zero.
    active: Vec<f64>,
    /// Sums over the values a whole number of seasons before each value, itself included.
    phases: Vec<f64>,
    fast: Vec<f64>,
    slow: Vec<f64>,
    /// Steps since the last value that was not zero.
    pause: Vec<f64>,
}

impl History {
    /// Of a series from its first known value on.
    pub(crate) fn new(values: &[f64], season: usize) -> Self {
        let n = values.len();
        let season = season.max(1);
        let mut h = Self {
            y: Vec::with_capacity(n),
            season,
            sums: Vec::with_capacity(n + 1),
            squares: Vec::with_capacity(n + 1),
            active: Vec::with_capacity(n + 1),
            phases: Vec::with_capacity(n),
            fast: Vec::with_capacity(n + 1),
            slow: Vec::with_capacity(n + 1),
            pause: Vec::with_capacity(n + 1),
        };
        h.sums.push(0.0);
        h.squares.push(0.0);
        h.active.push(0.0);
        h.fast.push(f64::NAN);
        h.slow.push(f64::NAN);
        h.pause.push(0.0);
        values.iter().for_each(|v| h.push(*v));
        h
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.push_with(value, if value == 0.0 { 0.0 } else { 1.0 });
    }

    /// Appends an expected value, as if it had come true: what is counted of it, that it is not zero and ends a pause, is
    /// taken by its chance, which is that of a Poisson count with as many zeros as the last `w` values have.
    pub(crate) fn push_expected(&mut self, value: f64, w: usize) {
        let (o, level) = (self.len(), self.level(self.len(), w).abs());
        let zeros = (1.0 - self.activity(o, w)).max(0.5 / w.max(1) as f64);
        let chance = if zeros.is_finite() && level > 0.0 { 1.0 - zeros.powf((value / level).abs()) } else { 1.0 };
        self.push_with(value, chance);
    }

    fn push_with(&mut self, value: f64, chance: f64) {
        let i = self.y.len();
        let before = |k: usize| i.checked_sub(k).map(|at| self.y[at]);
        let v = match value.is_finite() {
            true => value,
            false => before(self.season).or(before(1)).unwrap_or(0.0),
        };
        self.y.push(v);
        self.sums.push(self.sums[i] + v);
        self.squares.push(self.squares[i] + v * v);
        self.active.push(self.active[i] + if v == 0.0 { 0.0 } else { chance });
        self.phases.push(v + i.checked_sub(self.season).map_or(0.0, |at| self.phases[at]));
        let step = |mean: f64, a: f64| if mean.is_nan() { v } else { mean + a * (v - mean) };
        self.fast.push(step(self.fast[i], FAST));
        self.slow.push(step(self.slow[i], SLOW));
        self.pause.push((self.pause[i] + 1.0) * (1.0 - if v == 0.0 { 0.0 } else { chance }));
    }

    pub(crate) fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are two values that differ.
    pub(crate) fn varies(&self) -> bool {
        self.y.windows(2).any(|w| w[0] != w[1])
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.y
    }

    /// The value so many steps before place `o`, the last known one being 1.
    pub(crate) fn back(&self, o: usize, k: usize) -> f64 {
        o.checked_sub(k).map_or(f64::NAN, |at| self.y[at])
    }

    /// The mean of the places from `from` up to `to`; NaN for none.
    fn between(&self, from: usize, to: usize) -> f64 {
        if from < to { (self.sums[to] - self.sums[from]) / (to - from) as f64 } else { f64::NAN }
    }

    /// The mean of the last `w` values before `o`; NaN where fewer than half of them are there.
    pub(crate) fn mean(&self, o: usize, w: usize) -> f64 {
        if 2 * o < w { f64::NAN } else { self.between(o.saturating_sub(w), o) }
    }

    /// The mean of the last values before `o`, `w` of them or as many as there are.
    pub(crate) fn level(&self, o: usize, w: usize) -> f64 {
        self.between(o.saturating_sub(w), o)
    }

    /// The mean of their sizes, whatever their signs.
    pub(crate) fn size(&self, o: usize, w: usize) -> f64 {
        let last = &self.y[o.saturating_sub(w)..o];
        last.iter().map(|v| v.abs()).sum::<f64>() / last.len().max(1) as f64
    }

    /// Their standard deviation.
    pub(crate) fn spread(&self, o: usize, w: usize) -> f64 {
        let from = o.saturating_sub(w);
        if 2 * o < w || o - from < 2 {
            return f64::NAN;
        }
        let n = (o - from) as f64;
        let mean = (self.sums[o] - self.sums[from]) / n;
        ((self.squares[o] - self.squares[from]) / n - mean * mean).max(0.0).sqrt()
    }

    /// The share of the last `w` values that are not zero.
    pub(crate) fn activity(&self, o: usize, w: usize) -> f64 {
        let from = o.saturating_sub(w);
        if from < o { (self.active[o] - self.active[from]) / (o - from) as f64 } else { f64::NAN }
    }

    /// The value at the phase of the step `ahead` places after `o` (1: the next), `k` seasons back (1: the latest known).
    pub(crate) fn phase(&self, o: usize, ahead: usize, k: usize) -> f64 {
        let back = self.season * (ahead.div_ceil(self.season) + k - 1);
        (o + ahead - 1).checked_sub(back).map_or(f64::NAN, |at| self.y[at])
    }

    /// The mean of the last `n` values at that phase, as many as there are; NaN for none.
    pub(crate) fn phase_mean(&self, o: usize, ahead: usize, n: usize) -> f64 {
        let back = self.season * ahead.div_ceil(self.season);
        let Some(last) = (o + ahead - 1).checked_sub(back) else { return f64::NAN };
        let n = n.min(last / self.season + 1);
        let rest = last.checked_sub(n * self.season).map_or(0.0, |at| self.phases[at]);
        (self.phases[last] - rest) / n as f64
    }

    /// The mean around the place a whole number of `year`s before the step `ahead` places after `o`, `half` places to
    /// each side, of what is known at `o`.
    pub(crate) fn around(&self, o: usize, ahead: usize, year: usize, half: usize) -> f64 {
        let back = year * ahead.div_ceil(year);
        let Some(at) = (o + ahead - 1).checked_sub(back) else { return f64::NAN };
        match at.checked_sub(half) {
            Some(from) => self.between(from, (at + half + 1).min(o)),
            None => f64::NAN,
        }
    }

    pub(crate) fn fast(&self, o: usize) -> f64 {
        self.fast[o]
    }

    pub(crate) fn slow(&self, o: usize) -> f64 {
        self.slow[o]
    }

    pub(crate) fn pause(&self, o: usize) -> f64 {
        self.pause[o]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_values() {
        let y: Vec<f64> = (0..60).map(|i| f64::from((i * 37 + 11) % 17 % 5)).collect();
        let h = History::new(&y, 7);
        for o in 1..y.len() {
            for w in [1, 3, 10, 28] {
                let part = &y[o.saturating_sub(w)..o];
                let mean = part.iter().sum::<f64>() / part.len() as f64;
                let var = part.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / part.len() as f64;
                assert!((h.level(o, w) - mean).abs() < 1e-9);
                if 2 * o >= w && part.len() > 1 {
                    assert!((h.spread(o, w) - var.sqrt()).abs() < 1e-6, "{o} {w}");
                }
                let active = part.iter().filter(|v| **v != 0.0).count() as f64 / part.len() as f64;
                assert!((h.activity(o, w) - active).abs() < 1e-12);
            }
            for ahead in [1, 5, 7, 8, 20] {
                let t = o + ahead - 1;
                let seen: Vec<f64> = (0..o).rev().filter(|i| (t - i) % 7 == 0).map(|i| y[i]).collect();
                for k in 1..=4 {
                    let want = seen.get(k - 1).copied();
                    let got = h.phase(o, ahead, k);
                    assert_eq!(want.is_none(), got.is_nan(), "{o} {ahead} {k}");
                    assert!(want.is_none_or(|w| w == got));
                    let few = &seen[..k.min(seen.len())];
                    let mean = h.phase_mean(o, ahead, k);
                    assert!(few.is_empty() == mean.is_nan());
                    assert!(few.is_empty() || (mean - few.iter().sum::<f64>() / few.len() as f64).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn what_is_unknown_is_that_of_a_season_before() {
        let h = History::new(&[1.0, 2.0, 3.0, f64::NAN, 5.0], 3);
        assert_eq!(h.values(), &[1.0, 2.0, 3.0, 1.0, 5.0]);
        assert_eq!(History::new(&[f64::NAN, 4.0, f64::NAN], 7).values(), &[0.0, 4.0, 4.0]);
    }
}
