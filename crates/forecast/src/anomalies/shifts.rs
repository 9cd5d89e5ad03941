//! Levels that changed for good: the change points of a series, to the step, less those that come every year.

use crate::changepoint::{Segments, segments};
use crate::normal::quantile;
use tradewind_core::{Series, Stamp};

/// Blocks to each side of a change that are compared with those of a year before and after.
const NEAR: usize = 8;
/// A change of another year that is at least this share of it makes it one of the season.
const ALIKE: f64 = 0.5;

/// A level that changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shift {
    /// The first step of the new level.
    pub(super) at: usize,
    pub(super) ds: Stamp,
    pub(super) before: f64,
    pub(super) after: f64,
    /// Bounds of the mean of the new stretch, had nothing changed.
    pub(super) lower: f64,
    pub(super) upper: f64,
    /// The change in standard deviations of the difference of means.
    pub(super) score: f64,
    /// Whether the same weeks of another year changed alike.
    pub(super) yearly: bool,
}

/// The changes of a series, oldest first.
pub(super) fn shifts(series: &Series<'_>, rate: f64) -> Vec<Shift> {
    let Some(s) = segments(series) else { return vec![] };
    let mean = |k: usize, of: &dyn Fn(usize) -> f64| {
        let part = s.of(k);
        let n = part.len() as f64;
        part.map(of).sum::<f64>() / n
    };
    (0..s.starts.len())
        .map(|k| {
            let (n_before, n_after) = (s.of(k).len() as f64, s.of(k + 1).len() as f64);
            let sd = (s.variance * (1.0 / n_before + 1.0 / n_after)).sqrt();
            let root = mean(k, &|b| s.x[b]);
            // Square roots of sums of a block back to a step.
            let back = |r: f64| ((r.max(0.0).powi(2) - 0.375) / s.block as f64).max(0.0);
            let before = mean(k, &|b| s.blocks[b].1);
            // The mean of roots lies below the root of the mean; bounds are told of the mean.
            let higher = if back(root) > 0.0 { before / back(root) } else { 1.0 };
            let reach = -quantile(rate / 2.0) * sd;
            let at = refined(series, &s, k);
            Shift {
                at,
                ds: series.ds(at),
                before,
                after: mean(k + 1, &|b| s.blocks[b].1),
                lower: back(root - reach) * higher,
                upper: back(root + reach) * higher,
                score: (mean(k + 1, &|b| s.x[b]) - root) / sd,
                yearly: yearly(series, &s, s.starts[k]),
            }
        })
        .collect()
}

/// The step at which segment `k + 1` begins: within a block of its first one, where square roots of the values split best.
fn refined(series: &Series<'_>, s: &Segments, k: usize) -> usize {
    let start = s.blocks[s.starts[k]].0;
    if s.block == 1 {
        return start;
    }
    let (from, to) = (start.saturating_sub(2 * s.block), (start + 2 * s.block).min(series.y.len()));
    let near: Vec<f64> = series.y[from..to]
        .iter()
        .map(|v| if v.is_finite() { (v.max(0.0) + 0.375).sqrt() } else { f64::NAN })
        .collect();
    // Whole seasons lie to each side of the range, so that a weekend does not pass for a change.
    let squares = |part: &[f64]| {
        let known = || part.iter().filter(|v| v.is_finite());
        let n = known().count() as f64;
        let mean = known().sum::<f64>() / n;
        if n > 0.0 { known().map(|v| (v - mean) * (v - mean)).sum::<f64>() } else { 0.0 }
    };
    let lowest = (start - from).saturating_sub(s.block);
    let highest = (start - from + s.block).min(near.len().saturating_sub(1));
    (lowest.max(1)..=highest)
        .min_by(|a, b| {
            let cost = |c: usize| squares(&near[..c]) + squares(&near[c..]);
            cost(*a).total_cmp(&cost(*b))
        })
        .map_or(start, |c| from + c)
}

/// Whether the blocks a year before or after changed in the same direction, at least half as much.
fn yearly(series: &Series<'_>, s: &Segments, at: usize) -> bool {
    let Some(per_year) = series.freq.steps_per_year() else { return false };
    let year = (per_year / s.block as f64).round() as usize;
    // At the ends of the series fewer blocks are there to compare.
    let near = NEAR.min(year / 4).min(at).min(s.x.len() - at);
    if near < 2 {
        return false;
    }
    let change = |at: usize| {
        let (from, to) = (at.checked_sub(near)?, at + near);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (a, b) = (mean(s.x.get(from..at)?), mean(s.x.get(at..to)?));
        Some((b / a).ln())
    };
    let Some(now) = change(at) else { return false };
    [at.checked_sub(year), at.checked_add(year)]
        .into_iter()
        .flatten()
        .filter_map(change)
        .any(|then| then * now > 0.0 && then.abs() >= ALIKE * now.abs())
}
