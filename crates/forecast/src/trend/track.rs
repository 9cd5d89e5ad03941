//! One series with running totals, so that any window costs two look-ups.

use tradewind_core::Series;

/// How fast the smoothed levels forget, as a share of the horizon per horizon: slow to fast.
pub(crate) const FORGETTING: [f64; 4] = [0.56, 1.4, 2.9, 6.2];

/// Running totals of one series on the common grid.
///
/// Steps before the series begins, and after it ends, count as steps without sales; NaN inside it is unknown and is
/// left out of every total. What came before the first sale is never part of a level.
pub(crate) struct Track {
    /// The step of the first sale; `n` when there was none.
    first: usize,
    sum: Vec<f64>,
    squares: Vec<f64>,
    known: Vec<u32>,
    zeros: Vec<u32>,
    /// One past the last step with a sale before this one; 0 when there was none.
    sold: Vec<usize>,
    /// Longest run of known steps without a sale that ends just before this step.
    run: Vec<u32>,
    smooth: [Vec<f64>; FORGETTING.len()],
    y: Vec<f64>,
    h: f64,
}

impl Track {
    /// `start` is the step of the series' first observation, `n` the steps of the grid.
    pub(crate) fn new(series: Series<'_>, start: usize, n: usize, h: usize) -> Self {
        let mut y = vec![0.0; n];
        for (k, v) in series.y.iter().enumerate() {
            if let Some(slot) = y.get_mut(start + k) {
                // Net sales below zero are returns of earlier sales; a level cannot be negative.
                *slot = if v.is_nan() { f64::NAN } else { v.max(0.0) };
            }
        }
        let first = y.iter().position(|v| *v > 0.0).unwrap_or(n);
        let mut t = Self {
            first,
            sum: vec![0.0; n + 1],
            squares: vec![0.0; n + 1],
            known: vec![0; n + 1],
            zeros: vec![0; n + 1],
            sold: vec![0; n + 1],
            run: vec![0; n + 1],
            smooth: std::array::from_fn(|_| vec![0.0; n + 1]),
            y,
            h: h as f64,
        };
        let alpha = FORGETTING.map(|f| 1.0 - (-f / t.h).exp());
        let (mut level, mut weight) = ([0.0; FORGETTING.len()], [0.0; FORGETTING.len()]);
        for k in 0..n {
            let v = t.y[k];
            let is_known = !v.is_nan();
            let x = if is_known { v } else { 0.0 };
            t.sum[k + 1] = t.sum[k] + x;
            t.squares[k + 1] = t.squares[k] + x * x;
            t.known[k + 1] = t.known[k] + u32::from(is_known);
            t.zeros[k + 1] = t.zeros[k] + u32::from(is_known && x == 0.0);
            t.sold[k + 1] = if x > 0.0 { k + 1 } else { t.sold[k] };
            t.run[k + 1] = if x > 0.0 { 0 } else { t.run[k] + u32::from(is_known) };
            for (i, a) in alpha.iter().enumerate() {
                if is_known && k >= first {
                    // Weights of exponential smoothing are made to sum to one from the first sale on.
                    level[i] = (1.0 - a) * level[i] + a * x;
                    weight[i] = (1.0 - a) * weight[i] + a;
                }
                t.smooth[i][k + 1] = if weight[i] > 0.0 { level[i] / weight[i] } else { 0.0 };
            }
        }
        t
    }

    /// Steps since the first sale at origin `t`; 0 when nothing was sold before.
    pub(crate) fn age(&self, t: usize) -> usize {
        t.saturating_sub(self.first)
    }

    fn clip(&self, lo: i64, hi: i64) -> (usize, usize) {
        let top = self.y.len() as i64;
        let hi = hi.clamp(0, top);
        let lo = lo.max(self.first as i64).clamp(0, hi);
        (lo as usize, hi as usize)
    }

    /// Mean units a step from `lo` up to `hi`, over the known steps since the first sale; NaN when these are fewer than
    /// `needed`.
    pub(crate) fn mean(&self, lo: i64, hi: i64, needed: usize) -> f64 {
        let (lo, hi) = self.clip(lo, hi);
        let n = self.known[hi] - self.known[lo];
        if n == 0 || (n as usize) < needed {
            return f64::NAN;
        }
        (self.sum[hi] - self.sum[lo]) / f64::from(n)
    }

    /// Units of a window as the definition of a trend counts them: steps before the first sale are steps without
    /// sales, unknown steps count like the known ones. NaN when more than half is unknown.
    pub(crate) fn units(&self, lo: usize, hi: usize) -> f64 {
        let hi = hi.min(self.y.len());
        let lo = lo.min(hi);
        let n = self.known[hi] - self.known[lo];
        if n == 0 || 2 * (n as usize) < hi - lo {
            return f64::NAN;
        }
        let total = self.sum[hi] - self.sum[lo];
        if n as usize == hi - lo { total } else { total * (hi - lo) as f64 / f64::from(n) }
    }

    /// Share of known steps without a sale; NaN when there is no known step.
    pub(crate) fn zero_share(&self, lo: i64, hi: i64) -> f64 {
        let (lo, hi) = self.clip(lo, hi);
        let n = self.known[hi] - self.known[lo];
        if n == 0 { f64::NAN } else { f64::from(self.zeros[hi] - self.zeros[lo]) / f64::from(n) }
    }

    /// Standard deviation over mean (plus a tenth of a unit).
    pub(crate) fn variation(&self, lo: i64, hi: i64) -> f64 {
        let (lo, hi) = self.clip(lo, hi);
        let n = f64::from(self.known[hi] - self.known[lo]);
        if n < 2.0 {
            return f64::NAN;
        }
        let m = (self.sum[hi] - self.sum[lo]) / n;
        let v = ((self.squares[hi] - self.squares[lo]) / n - m * m).max(0.0);
        v.sqrt() / (m + 0.1)
    }

    /// Known steps without a sale just before `t`.
    pub(crate) fn run(&self, t: usize) -> f64 {
        f64::from(self.run[t])
    }

    /// Steps since the last sale before `t`, unknown ones included; `None` when nothing was sold.
    pub(crate) fn since_sale(&self, t: usize) -> Option<usize> {
        (self.sold[t] > 0).then(|| t - self.sold[t])
    }

    /// The longest run without a sale that has a step in the window. What lies further back than `reach` steps before
    /// the window is not counted.
    pub(crate) fn longest_run(&self, lo: i64, hi: i64, reach: usize) -> f64 {
        let (lo, hi) = self.clip(lo, hi);
        let mut best = 0;
        for k in lo..hi {
            // The run can not be longer than what lies in sight.
            best = best.max(self.run[k + 1].min((k + 1 - lo + reach) as u32));
        }
        f64::from(best)
    }

    /// Mean units a step from `lo` up to `hi` without the gaps, the share of steps in gaps, and whether one lasts at the
    /// end. A gap is a run without sales in which more than three units were missed at `rate` units a step, as far as it
    /// is known at `hi`. NaN where nothing is left.
    pub(crate) fn without_gaps(&self, lo: i64, hi: i64, rate: f64) -> (f64, f64, bool) {
        let (lo, hi) = self.clip(lo, hi);
        let (mut sum, mut kept, mut gone, mut run, mut now) = (0.0, 0_u32, 0_u32, 0_u32, false);
        for k in (lo..hi).rev() {
            let y = self.y[k];
            // Going back, the first step of a run tells its whole length.
            run = if y > 0.0 { 0 } else { run.max(self.run[k + 1]) };
            let in_gap = f64::from(run) * rate > 3.0;
            now |= in_gap && k + 1 == hi;
            if in_gap {
                gone += 1;
            } else if !y.is_nan() {
                sum += y;
                kept += 1;
            }
        }
        let mean = if kept == 0 { f64::NAN } else { sum / f64::from(kept) };
        (mean, f64::from(gone) / f64::from((gone + kept).max(1)), now)
    }

    /// The largest step's share of a window's units.
    pub(crate) fn top_share(&self, lo: i64, hi: i64) -> f64 {
        let (lo, hi) = self.clip(lo, hi);
        let top = self.y[lo..hi].iter().copied().filter(|v| !v.is_nan()).fold(0.0, f64::max);
        top / (self.sum[hi] - self.sum[lo] + 1.0)
    }

    /// The smoothed level (units of a horizon) at speed `i` of [`FORGETTING`].
    pub(crate) fn smoothed(&self, i: usize, t: usize) -> f64 {
        self.smooth[i][t] * self.h
    }

    /// The step of the first sale.
    pub(crate) fn first(&self) -> usize {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_leave_out_the_unknown_and_what_came_before_the_first_sale() {
        let y = [0.0, 0.0, 4.0, f64::NAN, 2.0, 0.0, 0.0, -1.0];
        let t = Track::new(Series::counted(&y), 1, 10, 4);
        assert_eq!((t.first(), t.age(5), t.age(2)), (3, 2, 0));
        assert_eq!(t.mean(0, 6, 1), 3.0);
        assert!(t.mean(0, 6, 3).is_nan());
        assert_eq!(t.units(2, 6), 8.0);
        assert_eq!(t.units(0, 3), 0.0);
        assert_eq!(t.since_sale(9), Some(3));
        assert_eq!(t.run(9), 3.0);
        assert_eq!(t.longest_run(7, 9, 0), 2.0);
        assert_eq!(t.longest_run(7, 9, 9), 3.0);
        assert_eq!(t.zero_share(3, 9), 0.6);
        // The run of three steps at the end missed 3 · 1.5 units; that of one step 1.5.
        assert_eq!(t.without_gaps(0, 9, 1.5), (3.0, 0.6, true));
        assert_eq!(t.without_gaps(0, 9, 0.5), (1.2, 0.0, false));
    }
}
