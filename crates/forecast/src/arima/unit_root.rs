//! How often to difference: the test of level stationarity and the strength of the season.

use crate::stl::{StlParams, decompose};

/// The strength of a season from which it is differenced (Wang, Smith & Hyndman 2006; Hyndman's limit).
const STRENGTH: f64 = 0.64;

/// The statistic of Kwiatkowski, Phillips, Schmidt & Shin (1992, *Journal of Econometrics* 54) for stationarity about a
/// level, with Bartlett's weights over `lags` lags. Above 0.463 it is rejected at 5 %.
///
/// 0 where the series has no variance.
pub(crate) fn kpss(y: &[f64], lags: usize) -> f64 {
    let n = y.len();
    let mean = y.iter().sum::<f64>() / n.max(1) as f64;
    let e: Vec<f64> = y.iter().map(|v| v - mean).collect();
    let mut long = e.iter().map(|v| v * v).sum::<f64>();
    if long.is_nan() || long <= 0.0 {
        return 0.0;
    }
    for l in 1..=lags.min(n.saturating_sub(1)) {
        let together: f64 = (l..n).map(|t| e[t] * e[t - l]).sum();
        long += 2.0 * (1.0 - l as f64 / (lags as f64 + 1.0)) * together;
    }
    let mut sum = 0.0;
    let partial: f64 = e
        .iter()
        .map(|v| {
            sum += v;
            sum * sum
        })
        .sum();
    partial / (n as f64 * long)
}

/// Differences until the test no longer rejects stationarity at 5 %, at most `max`.
pub(crate) fn differences(y: &[f64], max: usize) -> usize {
    let mut w = y.to_vec();
    let mut d = 0;
    while d < max && w.len() > 3 && !is_constant(&w) {
        let lags = (3.0 * (w.len() as f64).sqrt() / 13.0) as usize;
        if kpss(&w, lags) <= 0.463 {
            break;
        }
        w = difference(&w, 1);
        d += 1;
    }
    d
}

/// Whether the season is strong enough to be differenced: by STL, `1 − var(remainder) / var(remainder + season)` above
/// 0.64.
pub(crate) fn season_is_strong(y: &[f64], m: usize) -> bool {
    strength(y, m) > STRENGTH
}

/// The strength of the season, 0 to 1; 0 for a series without two whole seasons.
pub(crate) fn strength(y: &[f64], m: usize) -> f64 {
    if m < 2 || y.len() <= 2 * m || is_constant(y) {
        return 0.0;
    }
    // A season that may change follows noise where there are few of them, so it is held the same.
    let steady = StlParams::new(m).with_season_window(20 * y.len() + 1);
    let params = StlParams { season_degree: 0, jump: (m / 10).max(1), ..steady };
    let Ok(parts) = decompose(y, &params) else { return 0.0 };
    let variance = |v: &dyn Fn(usize) -> f64| {
        let n = y.len() as f64;
        let mean = (0..y.len()).map(v).sum::<f64>() / n;
        (0..y.len()).map(|t| (v(t) - mean) * (v(t) - mean)).sum::<f64>()
    };
    let rest = variance(&|t| parts.remainder[t]);
    let both = variance(&|t| parts.remainder[t] + parts.season[t]);
    if both > 0.0 { (1.0 - rest / both).clamp(0.0, 1.0) } else { 0.0 }
}

/// Differences at a lag.
pub(crate) fn difference(y: &[f64], lag: usize) -> Vec<f64> {
    (lag..y.len()).map(|t| y[t] - y[t - lag]).collect()
}

/// Whether all values agree but for rounding.
pub(crate) fn is_constant(y: &[f64]) -> bool {
    let Some(first) = y.first() else { return true };
    let size = y.iter().map(|v| v.abs()).fold(0.0, f64::max);
    y.iter().all(|v| (v - first).abs() <= 1e-10 * size)
}
