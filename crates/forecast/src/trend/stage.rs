//! The stage of a product's life, by rule.

use super::market::median;
use super::track::Track;
use super::windows::Windows;
use tradewind_core::Stage;

/// Share of a year's units in its four strongest twelfths from which a product counts as seasonal (even sales: 0.33).
const SEASONAL_SHARE: f64 = 0.6;

/// Fewest units of a year for that.
const SEASONAL_UNITS: f64 = 24.0;

/// The first of these rules that holds, with `h` the horizon:
///
/// 1. `New`: first sold fewer than three horizons ago (or never yet).
/// 2. `Seasonal`: in each of the last two years the four strongest twelfths hold at least 60 % of the units (of at least
///    24), and the twelfths of both years go together (correlation 0.7 or more).
/// 3. `Dormant`: nothing sold for two horizons, or for one in which five units or more would have been usual.
/// 4. `Rising`, `Falling`: the last two horizons against the two before differ by more than the threshold, and by more
///    than twice what chance would do (Poisson, widened by the series' own dispersion).
/// 5. `Peak`: the last two horizons reach 95 % of the highest such level of the past year, which is at least 1.3 times
///    the median one.
/// 6. `Mature` otherwise.
pub(crate) fn stage(track: &Track, t: usize, w: &Windows, threshold: f64) -> Stage {
    let age = track.age(t);
    if age < 3 * w.h {
        return Stage::New;
    }
    if is_seasonal(track, t, w) {
        return Stage::Seasonal;
    }
    let ti = t as i64;
    let mean = |lag: usize, n: usize| {
        let hi = ti - lag as i64;
        track.mean(hi - n as i64, hi, n.div_ceil(2))
    };
    let since = track.since_sale(t).unwrap_or(t);
    let usual = track.mean(ti - w.longest as i64, ti - since as i64, 1);
    if since >= 2 * w.h || since >= w.h && usual * since as f64 >= 5.0 {
        return Stage::Dormant;
    }
    let n = 2 * w.h;
    let (now, before) = (mean(0, n), mean(n, n));
    if !now.is_nan() && !before.is_nan() {
        let (a, b) = (now * n as f64, before * n as f64);
        let g = ((a + 1.0) / (b + 1.0)).ln();
        let variation = track.variation(ti - 2 * n as i64, ti);
        let m = (now + before) / 2.0;
        // Variance over mean; 1 for Poisson sales.
        let dispersion = if variation.is_nan() {
            1.0
        } else {
            ((variation * (m + 0.1)).powi(2) / m.max(1e-9)).clamp(1.0, 25.0)
        };
        let chance = ((a + b).max(1.0) * dispersion).sqrt();
        if g.abs() > (1.0 + threshold).ln() && (a - b).abs() > 2.0 * chance {
            return if g > 0.0 { Stage::Rising } else { Stage::Falling };
        }
    }
    let span = w.year.unwrap_or(w.longest).max(w.longest).min(age);
    let mut levels: Vec<f64> = (0..)
        .map(|k| k * w.h)
        .take_while(|lag| lag + n <= span)
        .map(|lag| mean(lag, n))
        .filter(|v| !v.is_nan())
        .collect();
    let top = levels.iter().copied().fold(0.0, f64::max);
    if levels.len() >= 4 && now >= 0.95 * top && top >= 1.3 * median(&mut levels) && top > 0.0 {
        return Stage::Peak;
    }
    Stage::Mature
}

fn is_seasonal(track: &Track, t: usize, w: &Windows) -> bool {
    let Some(year) = w.year.filter(|y| *y >= 12 && 2 * y <= track.age(t) + w.h) else { return false };
    let twelfths = |back: usize| -> Option<Vec<f64>> {
        let from = t.checked_sub(back)?;
        Some((0..12).map(|k| track.units(from + k * year / 12, from + (k + 1) * year / 12)).collect())
    };
    let (Some(a), Some(b)) = (twelfths(2 * year), twelfths(year)) else { return false };
    let strong = |v: &[f64]| {
        let total: f64 = v.iter().sum();
        let mut s = v.to_vec();
        s.sort_by(|x, y| y.total_cmp(x));
        total >= SEASONAL_UNITS && s[..4].iter().sum::<f64>() >= SEASONAL_SHARE * total
    };
    strong(&a) && strong(&b) && correlation(&a, &b) >= 0.7
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    ab / (aa * bb).sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::{Freq, Series};

    fn of(y: &[f64]) -> Stage {
        let w = Windows::new(Freq::DAILY, 28);
        let s = Series { id: "s", freq: Freq::DAILY, start: 0, y };
        stage(&Track::new(s, 0, y.len(), 28), y.len(), &w, 0.2)
    }

    #[test]
    fn evident_lives() {
        let year = |f: &dyn Fn(f64) -> f64, n: usize| -> Vec<f64> {
            (0..n).map(|k| f(k as f64) + (k % 7) as f64 * 0.5).collect()
        };
        assert_eq!(of(&year(&|_| 5.0, 60)), Stage::New);
        assert_eq!(of(&vec![0.0; 400]), Stage::New);
        assert_eq!(of(&year(&|_| 5.0, 800)), Stage::Mature);
        assert_eq!(of(&year(&|k| if k > 740.0 { 15.0 } else { 5.0 }, 800)), Stage::Rising);
        assert_eq!(of(&year(&|k| if k > 740.0 { 1.0 } else { 9.0 }, 800)), Stage::Falling);
        assert_eq!(of(&year(&|k| if k > 560.0 { 12.0 } else { 5.0 }, 690)), Stage::Peak);
        let mut dead = year(&|_| 5.0, 800);
        dead[740..].fill(0.0);
        assert_eq!(of(&dead), Stage::Dormant);
        let summer = |k: f64| if (k % 364.0 - 180.0).abs() < 40.0 { 20.0 } else { 0.2 };
        let mut y: Vec<f64> = (0..800).map(|k| summer(f64::from(k))).collect();
        assert_eq!(of(&y), Stage::Seasonal);
        // Out of season it is at rest, not dead.
        y.extend(vec![0.0; 80]);
        assert_eq!(of(&y), Stage::Seasonal);
    }
}
