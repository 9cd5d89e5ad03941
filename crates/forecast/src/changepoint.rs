//! Change points: the dates at which the level of a series changed for good.
//!
//! [`pelt`] finds the segmentation of least squared error plus a penalty for each change, exactly and in about linear
//! time (Killick, Fearnhead and Eckley, *Optimal detection of changepoints with a linear computational cost*, JASA 107,
//! 2012). [`change_points`] prepares a series of sales for it: days become weeks, counts become square roots (so that
//! busy and quiet times vary alike; Anscombe, Biometrika 35, 1948), and the penalty is three log-lengths of the noise
//! variance (the modified BIC of Zhang and Siegmund, Biometrics 63, 2007, without its small term for the lengths of the
//! segments), where the noise is measured by the median step and widened by what neighbouring weeks have in common.

use tradewind_core::freq::Unit;
use tradewind_core::{ChangePoint, Series};

/// More blocks than this are joined, so that long series cost no more.
const BLOCKS_MAX: usize = 600;

/// Fewest blocks between two changes.
const SEGMENT_MIN: usize = 4;

/// The starts of the segments after the first one, under squared error and `penalty` per change, with at least
/// `min_size` values in each segment. Values must be finite.
///
/// ```
/// use tradewind_forecast::changepoint::pelt;
/// assert_eq!(pelt(&[1.0, 1.1, 0.9, 1.0, 5.0, 5.1, 4.9, 5.0], 2, 1.0), [4]);
/// assert!(pelt(&[1.0, 1.1, 0.9, 1.0], 2, 1.0).is_empty());
/// ```
pub fn pelt(x: &[f64], min_size: usize, penalty: f64) -> Vec<usize> {
    let (n, min) = (x.len(), min_size.max(1));
    if n < 2 * min {
        return Vec::new();
    }
    // Around the mean, so that squares of large levels do not swallow the differences.
    let mean = x.iter().sum::<f64>() / n as f64;
    let (mut sum, mut squares) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    for (i, v) in x.iter().enumerate() {
        sum[i + 1] = sum[i] + (v - mean);
        squares[i + 1] = squares[i] + (v - mean).powi(2);
    }
    let cost = |a: usize, b: usize| {
        let s = sum[b] - sum[a];
        (squares[b] - squares[a] - s * s / (b - a) as f64).max(0.0)
    };
    let mut best = vec![f64::INFINITY; n + 1];
    let mut from = vec![0_usize; n + 1];
    best[0] = -penalty;
    // Candidates for the start of the last segment, with the end from which they can no longer be the best.
    let mut candidates: Vec<(usize, usize)> = vec![(0, usize::MAX)];
    for end in min..=n {
        if end >= 2 * min {
            candidates.push((end - min, usize::MAX));
        }
        candidates.retain(|(_, dead)| *dead > end);
        let mut value = (f64::INFINITY, 0);
        for (start, _) in &candidates {
            let v = best[*start] + cost(*start, end) + penalty;
            if v < value.0 {
                value = (v, *start);
            }
        }
        (best[end], from[end]) = value;
        for (start, dead) in &mut candidates {
            // Whoever is beaten here by a change at `end` is beaten at every later end, as soon as a segment fits in.
            if *dead == usize::MAX && best[*start] + cost(*start, end) > best[end] {
                *dead = end + min;
            }
        }
    }
    let mut out = Vec::new();
    let mut at = from[n];
    while at > 0 {
        out.push(at);
        at = from[at];
    }
    out.reverse();
    out
}

/// The change points of a series of sales, oldest first. Series shorter than eight blocks (weeks, for days) since their
/// first sale have none. Unknown observations (NaN) are left out.
///
/// On noise without a change about one series in twenty shows one; the tests state the rate.
///
/// ```
/// use tradewind_core::Series;
/// use tradewind_forecast::changepoint::change_points;
/// let sales: Vec<f64> = (0..80).map(|t| if t < 50 { 4.0 } else { 9.0 } + (t * 7 % 3) as f64).collect();
/// let found = change_points(&Series::counted(&sales));
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].ds, 51);
/// assert!(found[0].after > 2.0 * found[0].before - 3.0);
/// ```
pub fn change_points(series: &Series<'_>) -> Vec<ChangePoint> {
    let Some(s) = segments(series) else { return Vec::new() };
    (0..s.starts.len())
        .map(|k| ChangePoint {
            ds: series.ds(s.blocks[s.starts[k]].0),
            before: s.level(k),
            after: s.level(k + 1),
        })
        .collect()
}

/// A series cut where its level changed.
pub(crate) struct Segments {
    /// Steps of a block.
    pub(crate) block: usize,
    /// Of each block the step at which it starts and its mean a step.
    pub(crate) blocks: Vec<(usize, f64)>,
    /// Square roots of the blocks' sums, on which changes are looked for.
    pub(crate) x: Vec<f64>,
    /// Their variance without changes, widened by what neighbours have in common.
    pub(crate) variance: f64,
    /// The block with which each segment but the first one starts.
    pub(crate) starts: Vec<usize>,
}

impl Segments {
    /// The blocks of segment `k`.
    pub(crate) fn of(&self, k: usize) -> std::ops::Range<usize> {
        let from = if k == 0 { 0 } else { self.starts[k - 1] };
        from..self.starts.get(k).copied().unwrap_or(self.x.len())
    }

    /// The mean of segment `k`, a step.
    fn level(&self, k: usize) -> f64 {
        let part = &self.blocks[self.of(k)];
        part.iter().map(|b| b.1).sum::<f64>() / part.len() as f64
    }
}

/// Cuts a series; `None` where it is too short or does not change at all.
pub(crate) fn segments(series: &Series<'_>) -> Option<Segments> {
    let first = series.y.iter().position(|v| *v > 0.0)?;
    let n = series.y.len() - first;
    let season = match series.freq.unit {
        Unit::Day | Unit::Hour | Unit::Minute => series.freq.season_length(),
        _ => 1,
    };
    let block = season * n.div_ceil(season * BLOCKS_MAX).max(1);
    // Blocks end with the series; what is left over at its start is not used.
    let skip = first + n % block;
    let mut blocks: Vec<(usize, f64)> = Vec::with_capacity(n / block);
    for start in (skip..series.y.len()).step_by(block) {
        let known: Vec<f64> = series.y[start..start + block]
            .iter()
            .copied()
            .filter(|v| !v.is_nan())
            .map(|v| v.max(0.0))
            .collect();
        if !known.is_empty() {
            blocks.push((start, known.iter().sum::<f64>() / known.len() as f64));
        }
    }
    let size = block as f64;
    let x: Vec<f64> = blocks.iter().map(|(_, m)| (m * size + 0.375).sqrt()).collect();
    if x.len() < 2 * SEGMENT_MIN {
        return None;
    }
    let variance = noise(&x);
    if variance <= 0.0 {
        return None;
    }
    let starts = pelt(&x, SEGMENT_MIN, 3.0 * (x.len() as f64).ln() * variance);
    Some(Segments { block, blocks, x, variance, starts })
}

/// The variance that the sum of a stretch has per value: that of single values, from the median absolute difference of
/// neighbours, widened by their correlation around a running median (held between 0 and 0.6).
fn noise(x: &[f64]) -> f64 {
    let differences: Vec<f64> = x.windows(2).map(|w| w[1] - w[0]).collect();
    let mut sizes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let mad = sizes[sizes.len() / 2] / 0.674_489_750_196_081_7;
    let plain = differences.iter().map(|d| d * d).sum::<f64>() / differences.len() as f64;
    // Slow sellers stand still most of the time; then the median says nothing.
    let step = if mad * mad > 0.05 * plain { mad * mad } else { plain };
    let residual: Vec<f64> = (0..x.len())
        .map(|i| {
            let mut near = x[i.saturating_sub(6)..(i + 7).min(x.len())].to_vec();
            near.sort_by(f64::total_cmp);
            x[i] - near[near.len() / 2]
        })
        .collect();
    let total: f64 = residual.iter().map(|r| r * r).sum();
    let paired: f64 = residual.windows(2).map(|w| w[0] * w[1]).sum();
    let rho = if total > 0.0 { (paired / total + 1.0 / 13.0).clamp(0.0, 0.6) } else { 0.0 };
    // Differences of neighbours have the variance 2 σ² (1 − ρ).
    step / (2.0 * (1.0 - rho)) * (1.0 + rho) / (1.0 - rho)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Freq;

    fn normal(rng: &mut impl FnMut() -> f64) -> f64 {
        (0..12).map(|_| rng()).sum::<f64>() - 6.0
    }

    fn uniform(seed: u64) -> impl FnMut() -> f64 {
        let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Optimal partitioning without pruning.
    fn brute(x: &[f64], min: usize, penalty: f64) -> (f64, Vec<usize>) {
        let n = x.len();
        let cost = |a: usize, b: usize| {
            let m = x[a..b].iter().sum::<f64>() / (b - a) as f64;
            x[a..b].iter().map(|v| (v - m).powi(2)).sum::<f64>()
        };
        let mut best = vec![(f64::INFINITY, 0); n + 1];
        best[0].0 = -penalty;
        for end in min..=n {
            for start in (0..=end - min).filter(|s| *s == 0 || *s >= min) {
                let v = best[start].0 + cost(start, end) + penalty;
                if v < best[end].0 {
                    best[end] = (v, start);
                }
            }
        }
        let mut out = Vec::new();
        let mut at = best[n].1;
        while at > 0 {
            out.push(at);
            at = best[at].1;
        }
        out.reverse();
        (best[n].0, out)
    }

    #[test]
    fn pruning_loses_nothing() {
        for seed in 1..60 {
            let mut rng = uniform(seed);
            let n = 12 + (seed as usize * 7) % 60;
            let x: Vec<f64> = (0..n).map(|i| normal(&mut rng) + if i > n / 2 { 1.5 } else { 0.0 }).collect();
            for min in [1, 2, 4] {
                for penalty in [0.5, 2.0, 6.0] {
                    assert_eq!(pelt(&x, min, penalty), brute(&x, min, penalty).1, "seed {seed} min {min}");
                }
            }
        }
    }

    #[test]
    fn noise_shows_a_change_in_at_most_one_series_of_ten() {
        let mut found = 0;
        for seed in 1..=300 {
            let mut rng = uniform(seed);
            let y: Vec<f64> = (0..728).map(|_| (20.0 + 4.5 * normal(&mut rng)).max(0.0).round()).collect();
            let s = Series { id: "noise", freq: Freq::DAILY, start: 0, y: &y };
            found += usize::from(!change_points(&s).is_empty());
        }
        assert!(found <= 30, "{found} of 300");
    }

    #[test]
    fn planted_changes_are_found_within_two_weeks() {
        let mut right = 0;
        for seed in 1..=100 {
            let mut rng = uniform(seed);
            let y: Vec<f64> = (0..728_u16)
                .map(|k| {
                    let level: f64 = if k < 280 {
                        10.0
                    } else if k < 504 {
                        16.0
                    } else {
                        7.0
                    };
                    (level + level.sqrt() * normal(&mut rng)).max(0.0).round()
                })
                .collect();
            let s = Series { id: "planted", freq: Freq::DAILY, start: 0, y: &y };
            let found = change_points(&s);
            let day = tradewind_core::freq::DAY;
            let near = |k: usize, at: i64| found.get(k).is_some_and(|c| (c.ds / day - at).abs() <= 14);
            right += usize::from(found.len() == 2 && near(0, 280) && near(1, 504));
        }
        assert!(right >= 90, "{right} of 100");
    }

    #[test]
    fn odd_series_have_none() {
        for y in [vec![], vec![0.0; 300], vec![f64::NAN; 300], vec![5.0; 300], vec![1.0, 9.0, 1.0]] {
            assert!(change_points(&Series { id: "s", freq: Freq::DAILY, start: 0, y: &y }).is_empty());
        }
    }
}
