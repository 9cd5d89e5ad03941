//! Errors of predicted numbers in a table, with weights of rows.
//!
//! Every function takes the truth, the predictions and, where given, a weight per row (a row of weight 2 counts as two
//! rows); all of one length. What is not defined on the rows given (no weight at all, a scale of zero, a value outside
//! the domain of a deviance) is NaN, never a made-up number. Values agree with scikit-learn's functions of the same
//! meaning except where noted.
//!
//! | function | formula | range, best |
//! |---|---|---|
//! | [`mae`] | `Σ w·abs(y − f) / Σ w` | 0 to ∞, 0 |
//! | [`rmse`] | `√(Σ w·(y − f)² / Σ w)` | 0 to ∞, 0 |
//! | [`mape`] | `Σ w·abs(y − f)/abs(y) / Σ w`, over rows with `y ≠ 0` | 0 to ∞, 0 |
//! | [`smape`] | `200 · Σ w·abs(y − f)/(abs(y) + abs(f)) / Σ w` | 0 to 200, 0 |
//! | [`wape`] | `Σ w·abs(y − f) / Σ w·abs(y)` | 0 to ∞, 0 |
//! | [`median_ae`] | the weighted median of `abs(y − f)` | 0 to ∞, 0 |
//! | [`r2`] | `1 − Σ w·(y − f)² / Σ w·(y − ȳ)²` | −∞ to 1, 1 |
//! | [`explained_variance`] | `1 − Var(y − f) / Var(y)` | −∞ to 1, 1 |
//! | [`pinball`] | mean of `max(q·(y − f), (q − 1)·(y − f))` | 0 to ∞, 0 |
//! | [`tweedie_deviance`] | see there | 0 to ∞, 0 |

/// Weighted mean in the order of the rows.
fn mean(y: &[f64], f: &[f64], weight: Option<&[f64]>, of: impl Fn(f64, f64) -> f64) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, (y, f)) in y.iter().zip(f).enumerate() {
        let w = weight.map_or(1.0, |w| w[i]);
        // A row of no weight does not count, also where its value is not defined.
        if w > 0.0 {
            sum += w * of(*y, *f);
            total += w;
        }
    }
    if total > 0.0 { sum / total } else { f64::NAN }
}

/// Mean absolute error.
pub fn mae(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    mean(y, f, weight, |y, f| (y - f).abs())
}

/// Mean squared error.
pub fn mse(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    mean(y, f, weight, |y, f| (y - f) * (y - f))
}

/// Root of the mean squared error.
pub fn rmse(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    mse(y, f, weight).sqrt()
}

/// Root of the mean squared error of `ln(1 + value)`, for amounts that span scales; values of −1 or less give NaN.
pub fn rmsle(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    mean(y, f, weight, |y, f| (y.ln_1p() - f.ln_1p()).powi(2)).sqrt()
}

/// Mean absolute percentage error as a share (0.1 is 10 %). Rows whose truth is zero have no percentage and do not
/// count; scikit-learn gives them an error near 10¹⁶ instead.
pub fn mape(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, (y, f)) in y.iter().zip(f).enumerate().filter(|(_, (y, _))| **y != 0.0) {
        let w = weight.map_or(1.0, |w| w[i]);
        sum += w * ((y - f) / y).abs();
        total += w;
    }
    if total > 0.0 { sum / total } else { f64::NAN }
}

/// Symmetric mean absolute percentage error as in the M competitions, in percent (0 to 200). A pair of zeros is no
/// error.
pub fn smape(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    200.0
        * mean(y, f, weight, |y, f| {
            let scale = y.abs() + f.abs();
            if scale == 0.0 { 0.0 } else { (y - f).abs() / scale }
        })
}

/// Weighted absolute percentage error as a share: the sum of absolute errors over the sum of absolute truths.
pub fn wape(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    let scale = mean(y, f, weight, |y, _| y.abs());
    if scale > 0.0 { mae(y, f, weight) / scale } else { f64::NAN }
}

/// The median of the absolute errors. With weights, the mean of the lower and the upper weighted median, which is the
/// plain median when all weights are equal.
pub fn median_ae(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    let mut errors: Vec<(f64, f64)> = y
        .iter()
        .zip(f)
        .enumerate()
        .map(|(i, (y, f))| ((y - f).abs(), weight.map_or(1.0, |w| w[i])))
        .filter(|(_, w)| *w > 0.0)
        .collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = errors.iter().map(|e| e.1).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (at, (error, w)) in errors.iter().enumerate() {
        below += w;
        if below > half {
            return *error;
        }
        if below == half {
            return errors.get(at + 1).map_or(*error, |next| 0.5 * (error + next.0));
        }
    }
    errors.last().map_or(f64::NAN, |e| e.0)
}

/// The coefficient of determination: 1 is perfect, 0 is no better than the mean of the truth. NaN for a constant
/// truth.
pub fn r2(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    let centre = mean(y, f, weight, |y, _| y);
    let spread = mean(y, f, weight, |y, _| (y - centre) * (y - centre));
    if spread > 0.0 { 1.0 - mse(y, f, weight) / spread } else { f64::NAN }
}

/// The share of variance explained: as [`r2`], but a constant bias does not count as an error.
pub fn explained_variance(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    let (centre, bias) = (mean(y, f, weight, |y, _| y), mean(y, f, weight, |y, f| y - f));
    let spread = mean(y, f, weight, |y, _| (y - centre) * (y - centre));
    let left = mean(y, f, weight, |y, f| (y - f - bias) * (y - f - bias));
    if spread > 0.0 { 1.0 - left / spread } else { f64::NAN }
}

/// Pinball loss of predicted quantiles at `level`.
pub fn pinball(y: &[f64], q: &[f64], level: f64, weight: Option<&[f64]>) -> f64 {
    mean(y, q, weight, |y, q| if y >= q { level * (y - q) } else { (1.0 - level) * (q - y) })
}

/// Mean Poisson deviance `2·(y·ln(y/f) − y + f)`; for counts `y ≥ 0` and `f > 0`.
pub fn poisson_deviance(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    tweedie_deviance(y, f, 1.0, weight)
}

/// Mean gamma deviance `2·(ln(f/y) + y/f − 1)`; for amounts `y > 0` and `f > 0`.
pub fn gamma_deviance(y: &[f64], f: &[f64], weight: Option<&[f64]>) -> f64 {
    tweedie_deviance(y, f, 2.0, weight)
}

/// Mean Tweedie deviance of `power`: 0 is the squared error, 1 Poisson, between 1 and 2 sums of gamma amounts (many
/// zeros, then positive), 2 gamma, 3 inverse Gaussian.
///
/// `2·(max(y,0)^{2−p} / ((1−p)(2−p)) − y·f^{1−p}/(1−p) + f^{2−p}/(2−p))`. Defined for `f > 0` (any `f` for power 0),
/// `y ≥ 0` for powers from 1 below 2 and `y > 0` from 2 on; NaN outside, and for powers between 0 and 1, which no
/// distribution has.
pub fn tweedie_deviance(y: &[f64], f: &[f64], power: f64, weight: Option<&[f64]>) -> f64 {
    let p = power;
    if p == 0.0 {
        return mse(y, f, weight);
    }
    if p.is_nan() || (p > 0.0 && p < 1.0) {
        return f64::NAN;
    }
    mean(y, f, weight, |y, f| {
        if f <= 0.0 || (p >= 1.0 && y < 0.0) || (p >= 2.0 && y <= 0.0) {
            f64::NAN
        } else if p == 1.0 {
            2.0 * (if y > 0.0 { y * (y / f).ln() } else { 0.0 } - y + f)
        } else if p == 2.0 {
            2.0 * ((f / y).ln() + y / f - 1.0)
        } else {
            2.0 * (y.max(0.0).powf(2.0 - p) / ((1.0 - p) * (2.0 - p)) - y * f.powf(1.0 - p) / (1.0 - p)
                + f.powf(2.0 - p) / (2.0 - p))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_is_nan() {
        assert!(mae(&[], &[], None).is_nan());
        assert!(mae(&[1.0], &[2.0], Some(&[0.0])).is_nan());
        assert!(mape(&[0.0], &[1.0], None).is_nan());
        assert!(r2(&[2.0, 2.0], &[2.0, 2.0], None).is_nan());
        assert!(poisson_deviance(&[1.0], &[0.0], None).is_nan());
        assert!(gamma_deviance(&[0.0], &[1.0], None).is_nan());
        assert!(tweedie_deviance(&[1.0], &[1.0], 0.5, None).is_nan());
    }

    #[test]
    fn a_weight_of_two_is_two_rows() {
        let (y, f, w) = ([1.0, 2.0, 4.0], [1.5, 2.5, 3.0], [2.0, 1.0, 1.0]);
        let (y2, f2) = ([1.0, 1.0, 2.0, 4.0], [1.5, 1.5, 2.5, 3.0]);
        type Of = fn(&[f64], &[f64], Option<&[f64]>) -> f64;
        let all: [Of; 9] =
            [mae, rmse, mape, smape, wape, median_ae, r2, explained_variance, poisson_deviance];
        for (k, of) in all.iter().enumerate() {
            let (a, b) = (of(&y, &f, Some(&w)), of(&y2, &f2, None));
            assert!((a - b).abs() < 1e-14, "{k}: {a} {b}");
        }
    }
}
