//! What an outside series is worth: the error of an autoregression with it against that without it, on steps that neither
//! has seen.

use super::least_squares::LeastSquares;
use super::whiten::{best_order, carried, on_scale, order_max, rows, season_columns};

/// The share of the squared error, one step ahead, that `x` of `lag` steps before takes away from an autoregression of `y`
/// with its season, on the last `windows` windows of `window` steps; both are fitted again before each window, on what lies
/// before it. Below 0 where it does harm; NaN where there is too little to tell.
///
/// `x` stands beside `y` (the same step at the same place) and may be longer.
pub(super) fn improvement(
    y: &[f64],
    x: &[f64],
    lag: usize,
    season: usize,
    windows: usize,
    window: usize,
) -> f64 {
    let n = y.len();
    let Some(begin) = n.checked_sub(windows * window).filter(|b| *b > 20) else { return f64::NAN };
    let (z, w) = (on_scale(y), on_scale(x));
    let past = carried(&z);
    let mut beside = season_columns(n, season);
    let lagged: Vec<f64> =
        (0..n).map(|t| t.checked_sub(lag).and_then(|s| w.get(s)).copied().unwrap_or(f64::NAN)).collect();
    // The order is chosen without the outside series, on what lies before the first window.
    let max = order_max(begin, season);
    let (at, columns) = rows(&z, &past, &beside, max, |t| t < begin);
    if at.len() < beside.len() + max + 10 {
        return f64::NAN;
    }
    let target: Vec<f64> = at.iter().map(|t| z[*t]).collect();
    let fit = LeastSquares::new(columns, &target);
    let order = best_order(at.len(), max, |p| fit.rss(beside.len() + p));
    // The outside column is put last, so that one fit answers with and without it.
    let alone = beside.len() + order;
    beside.push(lagged);
    let (mut without, mut with, mut seen) = (0.0, 0.0, 0);
    for k in 0..windows {
        let (from, to) = (begin + k * window, begin + (k + 1) * window);
        let arrange = |t_from: usize, t_to: usize| {
            let (at, mut columns) = rows(&z, &past, &beside, order, |t| (t_from..t_to).contains(&t));
            let outside = columns.remove(alone - order);
            columns.push(outside);
            (at, columns)
        };
        let (at, columns) = arrange(0, from);
        if at.len() < alone + 10 {
            return f64::NAN;
        }
        let target: Vec<f64> = at.iter().map(|t| z[*t]).collect();
        let fit = LeastSquares::new(columns, &target);
        let answers = [fit.coefficients(alone), fit.coefficients(alone + 1)];
        let (at, columns) = arrange(from, to);
        for (i, t) in at.iter().enumerate() {
            let miss = |(intercept, coef): &(f64, Vec<f64>)| {
                let said = intercept + coef.iter().zip(&columns).map(|(c, x)| c * x[i]).sum::<f64>();
                (z[*t] - said) * (z[*t] - said)
            };
            without += miss(&answers[0]);
            with += miss(&answers[1]);
            seen += 1;
        }
    }
    if seen < windows * window / 2 || without <= 0.0 { f64::NAN } else { 1.0 - with / without }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{mix, unit};

    fn noise(seed: u64, t: usize) -> f64 {
        crate::normal::quantile(unit(mix(mix(seed) ^ t as u64)).clamp(1e-9, 1.0 - 1e-9))
    }

    #[test]
    fn a_leader_helps_and_a_stranger_does_not() {
        let n = 400;
        let x: Vec<f64> = (0..n).map(|t| noise(1, t)).collect();
        let other: Vec<f64> = (0..n).map(|t| noise(2, t)).collect();
        let y: Vec<f64> = (0..n).map(|t| noise(3, t) + if t >= 4 { 2.0 * x[t - 4] } else { 0.0 }).collect();
        // Four of five parts of the variance come from the leader.
        let gain = improvement(&y, &x, 4, 7, 3, 26);
        assert!((gain - 0.8).abs() < 0.1, "{gain}");
        assert!(improvement(&y, &other, 4, 7, 3, 26).abs() < 0.06);
        assert!(improvement(&y, &x, 3, 7, 3, 26) < 0.1, "the wrong lag");
        assert!(improvement(&y[..25], &x, 4, 7, 3, 5).is_nan());
        assert!(improvement(&y, &x[..100], 4, 7, 3, 26).is_nan(), "the leader ends before the windows");
    }

    #[test]
    fn the_windows_are_not_learnt_from() {
        let n = 300;
        let x: Vec<f64> = (0..n).map(|t| noise(5, t)).collect();
        // The leader led only before the windows, and pushes the other way in them.
        let sign = |t: usize| if t < 240 { 1.0 } else { -1.0 };
        let y: Vec<f64> =
            (0..n).map(|t| noise(6, t) + if t > 0 { sign(t) * x[t - 1] } else { 0.0 }).collect();
        let gain = improvement(&y, &x, 1, 1, 3, 20);
        assert!(gain < -0.5, "{gain}");
    }
}
