//! Outliers by the Hampel filter: a value far from the median of its neighbours, measured by their median absolute
//! deviation.
//!
//! Source: F. R. Hampel, "The influence curve and its role in robust estimation", JASA 69 (1974); as a filter of series
//! R. K. Pearson, "Outliers in process modeling and identification", IEEE Trans. Control Systems Technology 10 (2002).
//!
//! Two things differ from the plain filter. In a series that sells now and then, more than half of the neighbours are
//! equal (mostly zero), their deviation is zero, and the plain filter would call every sale an outlier: there a sale is
//! compared with the other sales in its window, by their usual size. And a value of a step with a promotion is never
//! called an outlier: its reason is known.

use super::settings::{CleanSettings, OutlierMethod, Outliers};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Covariate, Panel, Result, Run, Stamp};

/// Makes the median absolute deviation a standard deviation under the normal law: 1 / Φ⁻¹(3/4).
const NORMAL: f64 = 1.482_602_218_505_602;

/// Sales beside the one judged that a window must hold before their usual size says anything.
const SALES_MIN: usize = 3;

/// What the filter says about one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hampel {
    /// The median of the window; NaN where nothing is known.
    pub median: f64,
    /// How far from the median a value may lie; NaN where the window says nothing.
    pub limit: f64,
    /// Whether the value lies beyond it.
    pub outlier: bool,
}

/// A value that was found to be an outlier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlierMark {
    /// The series.
    pub unique_id: String,
    /// The stamp.
    pub ds: Stamp,
    /// The value as it came.
    pub value: f64,
    /// What was usual there.
    pub median: f64,
    /// The nearest value that would have passed.
    pub threshold: f64,
}

/// The Hampel filter over one series: each value against the median of the `2 × window + 1` values around it (fewer at
/// the ends, unknown ones left out), an outlier when it lies more than `threshold` scaled median absolute deviations
/// away. Takes O(n × window) time.
///
/// ```
/// use tradewind_warehouse::clean::hampel;
/// let found = hampel(&[5.0, 6.0, 5.0, 60.0, 4.0, 6.0, 5.0], 3, 3.0);
/// assert_eq!(found.iter().map(|h| h.outlier).collect::<Vec<_>>(), [false, false, false, true, false, false, false]);
/// // Sales now and then are no outliers for that.
/// assert!(hampel(&[0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 1.0], 4, 3.0).iter().all(|h| !h.outlier));
/// ```
pub fn hampel(y: &[f64], window: usize, threshold: f64) -> Vec<Hampel> {
    let mut sorted: Vec<f64> = Vec::with_capacity(2 * window + 1);
    let mut out = Vec::with_capacity(y.len());
    for &v in &y[..window.min(y.len())] {
        insert(&mut sorted, v);
    }
    for (i, &v) in y.iter().enumerate() {
        if let Some(&next) = y.get(i + window) {
            insert(&mut sorted, next);
        }
        if i > window {
            remove(&mut sorted, y[i - window - 1]);
        }
        out.push(judge(&sorted, v, threshold));
    }
    out
}

/// Outliers of every series, kept, capped or marked as the settings say. `y` of series that are not judged (all
/// unknown, or too short) stays. In every case the outliers found are told.
///
/// With the method `seasonal`, what the season does (the median of its step over the rolling median) is taken off first,
/// when the series is three seasons long at least.
///
/// # Errors
/// When the settings are out of range, the run was cancelled, or the panel has a column `outlier` already and another
/// is to be added.
pub fn outliers(run: &Run, panel: Panel, settings: &CleanSettings) -> Result<(Panel, Vec<OutlierMark>)> {
    settings.check()?;
    run.check()?;
    let season = match settings.outlier_method {
        OutlierMethod::Hampel => 1,
        OutlierMethod::Seasonal => panel.freq().season_length(),
    };
    let promotion = panel.covariate("promotion");
    // Positions and replacements by series, found in parallel and put together in the order of the series.
    let found: Vec<Vec<(usize, Hampel, f64)>> = run.install(|| {
        (0..panel.len())
            .into_par_iter()
            .map(|i| {
                let y = panel.series(i).y;
                let promoted = promotion.map(|c| c.of(i));
                of_series(y, season, settings)
                    .into_iter()
                    .filter(|(t, _, _)| promoted.is_none_or(|p| !p.get(*t).is_some_and(|v| *v > 0.0)))
                    .collect()
            })
            .collect()
    });
    run.check()?;
    let mut marks = Vec::new();
    for (i, list) in found.iter().enumerate() {
        let series = panel.series(i);
        for (t, h, threshold) in list {
            marks.push(OutlierMark {
                unique_id: series.id.to_owned(),
                ds: series.ds(*t),
                value: series.y[*t],
                median: h.median,
                threshold: *threshold,
            });
        }
    }
    let panel = match settings.outliers {
        Outliers::Keep => panel,
        Outliers::Cap => {
            let mut lists = found.iter();
            panel.map_y(|s| {
                let mut y = s.y.to_vec();
                for (t, _, threshold) in lists.next().into_iter().flatten() {
                    y[*t] = *threshold;
                }
                y
            })
        }
        Outliers::Mark => {
            let mut column = Covariate {
                name: "outlier".into(),
                known_ahead: false,
                offsets: vec![0],
                values: Vec::new(),
            };
            for (i, list) in found.iter().enumerate() {
                let begin = column.values.len();
                column.values.resize(begin + panel.series(i).y.len(), 0.0);
                for (t, _, _) in list {
                    column.values[begin + t] = 1.0;
                }
                column.offsets.push(column.values.len());
            }
            panel.with_covariate(column)?
        }
    };
    Ok((panel, marks))
}

/// The outliers of one series: position, what the filter said (in the series' own units), the value to cap to.
fn of_series(y: &[f64], season: usize, settings: &CleanSettings) -> Vec<(usize, Hampel, f64)> {
    let offset = seasonal_offset(y, season, settings.outlier_window);
    let judged = match &offset {
        None => hampel(y, settings.outlier_window, settings.outlier_threshold),
        Some(offset) => {
            let rest: Vec<f64> = y.iter().zip(offset).map(|(v, o)| v - o).collect();
            let mut judged = hampel(&rest, settings.outlier_window, settings.outlier_threshold);
            for (h, o) in judged.iter_mut().zip(offset) {
                h.median += o;
            }
            judged
        }
    };
    let floor = if y.iter().all(|v| v.is_nan() || *v >= 0.0) { 0.0 } else { f64::NEG_INFINITY };
    judged
        .into_iter()
        .enumerate()
        .filter(|(_, h)| h.outlier)
        .map(|(t, h)| {
            let bound = if y[t] > h.median { h.median + h.limit } else { h.median - h.limit };
            // Sales that were never below zero are not capped to something below zero.
            (t, h, bound.max(floor))
        })
        // A limit that floating-point or the floor moved beyond the value itself is no limit.
        .filter(|(t, h, bound)| if y[*t] > h.median { y[*t] > *bound } else { y[*t] < *bound })
        .collect()
}

/// What the season adds to each step: the median, over all steps of the same place in the season, of the distance to
/// the rolling median. `None` for series without season, shorter than three seasons, or that mostly sell nothing.
fn seasonal_offset(y: &[f64], season: usize, window: usize) -> Option<Vec<f64>> {
    let known = y.iter().filter(|v| !v.is_nan()).count();
    let zeros = y.iter().filter(|v| **v == 0.0).count();
    if season < 2 || known < 3 * season || 2 * zeros > known {
        return None;
    }
    let level = hampel(y, window.max(season / 2), 1.0);
    let by_place: Vec<f64> = (0..season)
        .map(|place| {
            let mut away: Vec<f64> = (place..y.len())
                .step_by(season)
                .map(|t| y[t] - level[t].median)
                .filter(|d| d.is_finite())
                .collect();
            away.sort_unstable_by(f64::total_cmp);
            if away.is_empty() { 0.0 } else { median(&away) }
        })
        .collect();
    Some((0..y.len()).map(|t| by_place[t % season]).collect())
}

fn insert(sorted: &mut Vec<f64>, v: f64) {
    if !v.is_nan() {
        let at = sorted.partition_point(|x| *x < v);
        sorted.insert(at, v);
    }
}

fn remove(sorted: &mut Vec<f64>, v: f64) {
    if !v.is_nan() {
        let at = sorted.partition_point(|x| *x < v);
        if at < sorted.len() {
            sorted.remove(at);
        }
    }
}

/// The median of sorted values; there must be one at least.
fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]) }
}

/// The median absolute deviation of sorted values from their median: distances grow from the middle to both ends, so
/// walking outwards from the middle meets them in order.
fn deviation(sorted: &[f64], middle: f64) -> f64 {
    let n = sorted.len();
    let (mut left, mut right) = (sorted.partition_point(|x| *x < middle), 0);
    right += left;
    let (mut before, mut last) = (0.0, 0.0);
    for _ in 0..=n / 2 {
        before = last;
        let down = if left > 0 { middle - sorted[left - 1] } else { f64::INFINITY };
        let up = if right < n { sorted[right] - middle } else { f64::INFINITY };
        if down < up {
            last = down;
            left -= 1;
        } else {
            last = up;
            right += 1;
        }
    }
    if n % 2 == 1 { last } else { 0.5 * (before + last) }
}

fn judge(sorted: &[f64], v: f64, threshold: f64) -> Hampel {
    if sorted.is_empty() {
        return Hampel { median: f64::NAN, limit: f64::NAN, outlier: false };
    }
    let middle = median(sorted);
    let spread = NORMAL * deviation(sorted, middle);
    if spread > 0.0 {
        let limit = threshold * spread;
        return Hampel { median: middle, limit, outlier: (v - middle).abs() > limit };
    }
    // More than half of the window is equal. The other sales say what size a sale usually has.
    let mut others: Vec<f64> = sorted.iter().copied().filter(|x| *x != 0.0).collect();
    let at = others.partition_point(|x| *x < v);
    if others.get(at) == Some(&v) {
        others.remove(at);
    }
    if v.is_nan() || v == 0.0 || others.len() < SALES_MIN {
        return Hampel { median: middle, limit: f64::NAN, outlier: false };
    }
    let usual = median(&others);
    // At least the usual size itself is a normal distance: single sales are counts, and counts scatter.
    let limit = threshold * (NORMAL * deviation(&others, usual)).max(usual.abs());
    Hampel { median: usual, limit, outlier: (v - usual).abs() > limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filter written as its definition reads, for values whose windows have some spread.
    fn naive(y: &[f64], window: usize) -> Vec<(f64, f64)> {
        let med = |mut v: Vec<f64>| {
            v.sort_by(f64::total_cmp);
            median(&v)
        };
        (0..y.len())
            .map(|i| {
                let near: Vec<f64> = y[i.saturating_sub(window)..(i + window + 1).min(y.len())]
                    .iter()
                    .copied()
                    .filter(|v| !v.is_nan())
                    .collect();
                if near.is_empty() {
                    return (f64::NAN, f64::NAN);
                }
                let m = med(near.clone());
                (m, med(near.iter().map(|v| (v - m).abs()).collect()))
            })
            .collect()
    }

    #[test]
    fn medians_and_deviations_are_those_of_the_definition() {
        let mut x = 7u64;
        let y: Vec<f64> = (0..500)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match (x >> 33) % 11 {
                    0 => f64::NAN,
                    1 => -4.0,
                    k => ((x >> 40) % 90) as f64 / k as f64,
                }
            })
            .collect();
        for window in [1, 2, 5, 15, 600] {
            for (h, (m, mad)) in hampel(&y, window, 3.0).iter().zip(naive(&y, window)) {
                if mad > 0.0 {
                    assert_eq!(h.median, m);
                    assert!((h.limit - 3.0 * NORMAL * mad).abs() < 1e-12, "{} {}", h.limit, mad);
                } else if mad.is_nan() {
                    assert!(h.median.is_nan() && !h.outlier);
                }
            }
        }
    }

    #[test]
    fn short_and_empty_series_pass() {
        assert!(hampel(&[], 3, 3.0).is_empty());
        assert!(!hampel(&[9.0], 3, 3.0)[0].outlier);
        assert!(hampel(&[f64::NAN; 4], 3, 3.0).iter().all(|h| !h.outlier));
        assert!(hampel(&[1.0, 900.0], 1000, 3.0).iter().all(|h| !h.outlier));
    }

    #[test]
    fn a_tall_sale_among_rare_ones_is_found() {
        let mut y = vec![0.0; 60];
        for (i, v) in [(3, 2.0), (9, 1.0), (17, 3.0), (22, 2.0), (30, 1.0), (31, 400.0), (40, 2.0), (52, 1.0)]
        {
            y[i] = v;
        }
        let found: Vec<usize> = (0..60).filter(|i| hampel(&y, 30, 3.0)[*i].outlier).collect();
        assert_eq!(found, [31]);
    }
}
