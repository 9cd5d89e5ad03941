//! The search for the best split of a leaf by one column.

use super::hist::{g_of, h_of};
use super::{GrowParams, Sums};

/// What a leaf's value may be, by monotone constraints above it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Smallest.
    pub lower: f64,
    /// Largest.
    pub upper: f64,
}

impl Bounds {
    pub(super) const NONE: Self = Self { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

    /// The nearest value allowed.
    pub fn clip(self, v: f64) -> f64 {
        v.max(self.lower).min(self.upper)
    }
}

/// Which bins go left.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    /// Bins up to this one.
    Below(usize),
    /// These bins, of categories.
    In(Vec<usize>),
}

/// A split that could be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) gain: f64,
    pub(super) feature: usize,
    pub(super) question: Question,
    pub(super) missing_left: bool,
    /// The word of the rows that go left.
    pub(super) left: i64,
    pub(super) left_value: f64,
    pub(super) right_value: f64,
}

/// A leaf as the search sees it.
pub(super) struct Leaf<'a> {
    pub(super) params: &'a GrowParams,
    pub(super) sums: Sums,
    /// The word of all its rows.
    pub(super) total: i64,
    pub(super) n_rows: usize,
    pub(super) bounds: Bounds,
}

/// The column that is looked at.
pub(super) struct Column<'a> {
    pub(super) feature: usize,
    /// The histogram: bins of values, then the bin of missing ones.
    pub(super) hist: &'a [i64],
    pub(super) is_category: bool,
    /// 1 where the answer must not fall, −1 where it must not rise.
    pub(super) monotone: i8,
}

/// Values computed side by side.
const LANES: usize = 8;

impl Leaf<'_> {
    /// Fewest units of hessian on either side, from the fewest rows and the smallest sum. Rows are counted by their
    /// share in the hessian, as LightGBM does.
    fn least(&self, rows: usize) -> i32 {
        let per_row = f64::from(h_of(self.total)) / self.n_rows.max(1) as f64;
        let by_rows = ((rows as f64 - 0.5) * per_row).ceil();
        let by_sum = (self.params.min_sum_hessian / self.sums.h).ceil();
        by_rows.max(by_sum).clamp(1.0, f64::from(i32::MAX)) as i32
    }

    fn rows_of(&self, word: i64) -> f64 {
        f64::from(h_of(word)) * self.n_rows as f64 / f64::from(h_of(self.total).max(1))
    }

    /// The best value of a leaf with these sums, before constraints from above.
    pub(super) fn value(&self, word: i64, l2: f64) -> f64 {
        let g = shrink(f64::from(g_of(word)) * self.sums.g, self.params.l1);
        let v = -g / (f64::from(h_of(word)) * self.sums.h + l2);
        let most = self.params.max_delta_step;
        let v = if v.is_finite() { v } else { 0.0 };
        if most > 0.0 { v.clamp(-most, most) } else { v }
    }

    /// How much a leaf of this value lowers the loss (twice).
    fn gain_of(&self, word: i64, l2: f64, value: f64) -> f64 {
        let g = shrink(f64::from(g_of(word)) * self.sums.g, self.params.l1);
        -(2.0 * g * value + (f64::from(h_of(word)) * self.sums.h + l2) * value * value)
    }

    /// What the leaf is worth unsplit, with the smallest gain asked for. As in LightGBM, bounds from above do not count
    /// here: a split must be better than the leaf would be without them.
    fn bar(&self) -> f64 {
        let value = self.value(self.total, self.params.l2);
        self.gain_of(self.total, self.params.l2, value) + self.params.min_gain
    }

    /// The gain of a pair of leaves; absent where it would break the order asked for.
    fn pair_gain(&self, left: i64, l2: f64, monotone: i8) -> Option<f64> {
        let right = self.total.wrapping_sub(left);
        let (a, b) = (self.bounds.clip(self.value(left, l2)), self.bounds.clip(self.value(right, l2)));
        if (monotone > 0 && a > b) || (monotone < 0 && a < b) {
            return None;
        }
        Some(self.gain_of(left, l2, a) + self.gain_of(right, l2, b))
    }

    /// The best split by this column.
    pub(super) fn best(&self, column: &Column<'_>, scratch: &mut Vec<i64>) -> Option<Candidate> {
        if h_of(self.total) <= 0 {
            return None;
        }
        if column.is_category {
            self.best_of_categories(column)
        } else {
            self.best_of_numbers(column, scratch)
        }
    }

    fn candidate(
        &self,
        column: &Column<'_>,
        gain: f64,
        question: Question,
        missing_left: bool,
        left: i64,
        l2: f64,
    ) -> Candidate {
        let right = self.total.wrapping_sub(left);
        Candidate {
            gain,
            feature: column.feature,
            question,
            missing_left,
            left,
            left_value: self.bounds.clip(self.value(left, l2)),
            right_value: self.bounds.clip(self.value(right, l2)),
        }
    }

    fn best_of_numbers(&self, column: &Column<'_>, sums: &mut Vec<i64>) -> Option<Candidate> {
        let n = column.hist.len() - 1;
        let missing = column.hist[n];
        let least = self.least(self.params.min_child_samples);
        let h_total = h_of(self.total);
        if h_total / 2 < least && h_total < least.saturating_mul(2) {
            return None;
        }
        sums.clear();
        let mut sum = 0_i64;
        sums.extend(column.hist[..n].iter().map(|w| {
            sum = sum.wrapping_add(*w);
            sum
        }));
        let bar = self.bar();
        let mut best: Option<(f64, usize, bool, i64)> = None;
        let mut top = bar;
        // Without missing values in the leaf, one direction tells all.
        for missing_left in [false, true] {
            let plus = if missing_left { missing } else { 0 };
            if missing_left && h_of(missing) == 0 {
                break;
            }
            let begin = sums.partition_point(|w| h_of(w.wrapping_add(plus)) < least);
            let end = sums.partition_point(|w| h_total - h_of(w.wrapping_add(plus)) >= least);
            if begin >= end {
                continue;
            }
            let found = if self.is_plain() && column.monotone == 0 {
                self.scan_plain(&sums[begin..end], plus, top)
            } else {
                self.scan(&sums[begin..end], plus, column.monotone, top)
            };
            if let Some((gain, at)) = found {
                top = gain;
                best = Some((gain, begin + at, missing_left, sums[begin + at].wrapping_add(plus)));
            }
        }
        best.map(|(gain, bin, mut missing_left, left)| {
            if h_of(missing) == 0 {
                // Never seen missing here: with the larger side.
                missing_left = h_of(left) * 2 >= h_total;
            }
            let l2 = self.params.l2;
            self.candidate(column, gain - bar, Question::Below(bin), missing_left, left, l2)
        })
    }

    /// Whether values follow from sums by one division.
    fn is_plain(&self) -> bool {
        self.params.l1 == 0.0 && self.params.max_delta_step == 0.0 && self.bounds == Bounds::NONE
    }

    /// The best place above `top`; of equal ones the last, as in LightGBM.
    fn scan_plain(&self, sums: &[i64], plus: i64, mut top: f64) -> Option<(f64, usize)> {
        let (gs, hs, l2) = (self.sums.g, self.sums.h, self.params.l2);
        let g_all = f64::from(g_of(self.total)) * gs;
        let h_all = f64::from(h_of(self.total)) * hs + l2 + l2;
        let gain = |w: i64| {
            let w = w.wrapping_add(plus);
            let (g, h) = (f64::from(g_of(w)) * gs, f64::from(h_of(w)) * hs + l2);
            let (gr, hr) = (g_all - g, h_all - h);
            (g * g * hr + gr * gr * h) / (h * hr)
        };
        let mut best = None;
        let (whole, rest) = sums.as_chunks::<LANES>();
        for (k, words) in whole.iter().enumerate() {
            let mut gains = [0.0; LANES];
            for (to, w) in gains.iter_mut().zip(words) {
                *to = gain(*w);
            }
            for (lane, g) in gains.into_iter().enumerate() {
                if g >= top {
                    (top, best) = (g, Some(k * LANES + lane));
                }
            }
        }
        for (k, w) in rest.iter().enumerate() {
            let g = gain(*w);
            if g >= top {
                (top, best) = (g, Some(whole.len() * LANES + k));
            }
        }
        best.map(|at| (top, at))
    }

    fn scan(&self, sums: &[i64], plus: i64, monotone: i8, mut top: f64) -> Option<(f64, usize)> {
        let mut best = None;
        for (at, w) in sums.iter().enumerate() {
            if let Some(gain) = self.pair_gain(w.wrapping_add(plus), self.params.l2, monotone)
                && gain >= top
            {
                (top, best) = (gain, Some(at));
            }
        }
        best.map(|at| (top, at))
    }

    /// Few categories: one against the rest. Many: ordered by their statistics and cut from either end (Fisher 1958;
    /// the rule and its guards against overfitting are LightGBM's).
    fn best_of_categories(&self, column: &Column<'_>) -> Option<Candidate> {
        let p = self.params;
        let n = column.hist.len() - 1;
        let bar = self.bar();
        let h_total = h_of(self.total);
        let least = self.least(p.min_child_samples);
        let mut best: Option<Candidate> = None;
        let mut top = bar;
        if n < p.max_cat_to_onehot.max(1) {
            for bin in 0..n {
                let left = column.hist[bin];
                if h_of(left) < least || h_total - h_of(left) < least {
                    continue;
                }
                if let Some(gain) = self.pair_gain(left, p.l2, 0)
                    && gain > top
                {
                    top = gain;
                    best =
                        Some(self.candidate(column, gain - bar, Question::In(vec![bin]), false, left, p.l2));
                }
            }
            return best;
        }
        let l2 = p.l2 + p.cat_l2;
        let ratio =
            |w: i64| f64::from(g_of(w)) * self.sums.g / (f64::from(h_of(w)) * self.sums.h + p.cat_smooth);
        let mut order: Vec<usize> =
            (0..n).filter(|b| self.rows_of(column.hist[*b]).round() >= p.cat_smooth.max(1.0)).collect();
        order.sort_by(|a, b| ratio(column.hist[*a]).total_cmp(&ratio(column.hist[*b])).then(a.cmp(b)));
        let most = p.max_cat_threshold.min(order.len().div_ceil(2));
        let least_group = p.min_data_per_group as f64 - 0.5;
        for from_end in [false, true] {
            let (mut left, mut group) = (0_i64, 0.0);
            for taken in 0..most {
                let bin = order[if from_end { order.len() - 1 - taken } else { taken }];
                left = left.wrapping_add(column.hist[bin]);
                group += self.rows_of(column.hist[bin]);
                if h_of(left) < least {
                    continue;
                }
                let right = self.total.wrapping_sub(left);
                if h_of(right) < least || self.rows_of(right) < least_group {
                    break;
                }
                if group < least_group {
                    continue;
                }
                group = 0.0;
                if let Some(gain) = self.pair_gain(left, l2, 0)
                    && gain > top
                {
                    top = gain;
                    let set = match from_end {
                        false => order[..=taken].to_vec(),
                        true => order[order.len() - 1 - taken..].to_vec(),
                    };
                    best = Some(self.candidate(column, gain - bar, Question::In(set), false, left, l2));
                }
            }
        }
        best
    }
}

fn shrink(g: f64, l1: f64) -> f64 {
    if l1 == 0.0 { g } else { g.signum() * (g.abs() - l1).max(0.0) }
}
