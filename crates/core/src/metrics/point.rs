//! Errors of point forecasts and intervals.
//!
//! Every function takes actual values and forecasts of one length; pairs with an unknown actual (NaN) do not count. A
//! measure that is not defined on what is given (no pairs, a scale of zero) is NaN, never a made-up number.

/// Pairs that count.
fn pairs<'a>(y: &'a [f64], f: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    y.iter().copied().zip(f.iter().copied()).filter(|(y, f)| !y.is_nan() && !f.is_nan())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut n, mut sum) = (0_usize, 0.0);
    for v in values {
        n += 1;
        sum += v;
    }
    if n == 0 { f64::NAN } else { sum / n as f64 }
}

/// Mean absolute error.
pub fn mae(y: &[f64], f: &[f64]) -> f64 {
    mean(pairs(y, f).map(|(y, f)| (y - f).abs()))
}

/// Root of the mean squared error.
pub fn rmse(y: &[f64], f: &[f64]) -> f64 {
    mean(pairs(y, f).map(|(y, f)| (y - f).powi(2))).sqrt()
}

/// Weighted absolute percentage error: the sum of absolute errors over the sum of absolute actuals.
pub fn wape(y: &[f64], f: &[f64]) -> f64 {
    let (e, s) = pairs(y, f).fold((0.0, 0.0), |(e, s), (y, f)| (e + (y - f).abs(), s + y.abs()));
    if s == 0.0 { f64::NAN } else { e / s }
}

/// Symmetric mean absolute percentage error as in the M competitions, in percent (0 to 200). A pair of zeros is no
/// error.
pub fn smape(y: &[f64], f: &[f64]) -> f64 {
    200.0
        * mean(pairs(y, f).map(|(y, f)| {
            let scale = y.abs() + f.abs();
            if scale == 0.0 { 0.0 } else { (y - f).abs() / scale }
        }))
}

/// Mean error over mean actual: above zero when forecasts are too high.
pub fn bias(y: &[f64], f: &[f64]) -> f64 {
    let (e, s) = pairs(y, f).fold((0.0, 0.0), |(e, s), (y, f)| (e + f - y, s + y));
    if s == 0.0 { f64::NAN } else { e / s }
}

/// Mean absolute error of the seasonal naive forecast inside the history: the scale of [`mase`].
pub fn naive_mae(history: &[f64], season: usize) -> f64 {
    let m = season.max(1);
    if history.len() <= m {
        return f64::NAN;
    }
    mae(&history[m..], &history[..history.len() - m])
}

/// Mean absolute scaled error (Hyndman and Koehler 2006).
pub fn mase(y: &[f64], f: &[f64], history: &[f64], season: usize) -> f64 {
    let scale = naive_mae(history, season);
    if scale > 0.0 { mae(y, f) / scale } else { f64::NAN }
}

/// Root mean squared scaled error (M5): scaled by the naive one-step error of the history from its first sale on.
pub fn rmsse(y: &[f64], f: &[f64], history: &[f64]) -> f64 {
    let from = history.iter().position(|v| *v > 0.0).unwrap_or(history.len());
    let h = &history[from..];
    if h.len() < 2 {
        return f64::NAN;
    }
    let scale = rmse(&h[1..], &h[..h.len() - 1]);
    if scale > 0.0 { rmse(y, f) / scale } else { f64::NAN }
}

/// Share of forecasts within ± `tolerance` (as 0.1) of the actual value.
pub fn hit_rate(y: &[f64], f: &[f64], tolerance: f64) -> f64 {
    mean(pairs(y, f).map(|(y, f)| f64::from((y - f).abs() <= tolerance * y.abs() + 1e-12)))
}

/// Share of forecasts that equal the actual value to the hundredth.
pub fn exact_rate(y: &[f64], f: &[f64]) -> f64 {
    mean(pairs(y, f).map(|(y, f)| f64::from((y - f).abs() < 0.005)))
}

/// Pinball loss of a quantile forecast at `level`.
pub fn pinball(y: &[f64], q: &[f64], level: f64) -> f64 {
    mean(pairs(y, q).map(|(y, q)| if y >= q { level * (y - q) } else { (1.0 - level) * (q - y) }))
}

/// Share of actual values inside `[lower, upper]`.
pub fn coverage(y: &[f64], lower: &[f64], upper: &[f64]) -> f64 {
    mean(
        y.iter()
            .zip(lower.iter().zip(upper))
            .filter(|(y, (l, u))| !y.is_nan() && !l.is_nan() && !u.is_nan())
            .map(|(y, (l, u))| f64::from(l <= y && y <= u)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    const NAN: f64 = f64::NAN;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn values_by_hand() {
        let (y, f) = ([1.0, 2.0, 4.0, NAN], [2.0, 2.0, 2.0, 9.0]);
        near(mae(&y, &f), 1.0);
        near(rmse(&y, &f), (5.0_f64 / 3.0).sqrt());
        near(wape(&y, &f), 3.0 / 7.0);
        near(smape(&y, &f), 200.0 * (1.0 / 3.0 + 0.0 + 2.0 / 6.0) / 3.0);
        near(bias(&y, &f), -1.0 / 7.0);
        near(mase(&y, &f, &[1.0, 3.0, 1.0], 1), 0.5);
        near(mase(&y, &f, &[1.0, 3.0, 2.0], 2), 1.0);
        near(rmsse(&y, &f, &[0.0, 0.0, 1.0, 3.0]), (5.0_f64 / 3.0).sqrt() / 2.0);
        near(hit_rate(&[10.0, 10.0, 10.0], &[11.0, 9.0, 11.1], 0.1), 2.0 / 3.0);
        near(exact_rate(&[1.99, 2.5], &[1.99, 2.49]), 0.5);
        near(pinball(&[10.0, 10.0], &[8.0, 12.0], 0.9), (1.8 + 0.2) / 2.0);
        near(coverage(&[1.0, 5.0, NAN], &[0.0, 0.0, 0.0], &[2.0, 2.0, 2.0]), 0.5);
    }

    #[test]
    fn undefined_is_nan() {
        assert!(mae(&[], &[]).is_nan());
        assert!(wape(&[0.0], &[1.0]).is_nan());
        assert!(mase(&[1.0], &[1.0], &[1.0, 1.0], 1).is_nan());
        assert!(mase(&[1.0], &[1.0], &[1.0], 1).is_nan());
        assert!(rmsse(&[1.0], &[1.0], &[0.0, 0.0]).is_nan());
        near(smape(&[0.0], &[0.0]), 0.0);
    }
}
