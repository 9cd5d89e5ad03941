//! Tests at a horizon fixed beforehand: Welch's t, two proportions, ratios by the delta method, each also with the
//! variance that the time before the experiment explains taken out (CUPED).

use super::Sums;
use serde::{Deserialize, Serialize};
use tradewind_core::distribution::{normal_quantile, t_quantile, two_sided_normal_p, two_sided_p};

/// What a metric measures, which decides how it is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// The share of units that did something: conversion. Two-proportion z-test, Newcombe's (1998) interval.
    Conversion,
    /// The mean of an amount per unit: revenue, orders. Welch's t-test.
    Mean,
    /// The ratio of two sums that vary among units: click-through rate, average order value, turnover of stock. Delta
    /// method.
    Ratio,
    /// The mean of ratings, of which a unit may give several: as a ratio.
    Rating,
}

/// A figure of one arm with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Units.
    pub n: u64,
    /// The figure.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub value: f64,
    /// The variance of the figure, not of the units.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub variance: f64,
}

impl Estimate {
    /// The figure of an arm as it is: mean value over mean weight.
    pub fn raw(sums: &Sums) -> Self {
        let weight = sums.mean_weight();
        Self {
            n: sums.n(),
            value: sums.mean(),
            variance: sums.variance_of_rest() / (sums.n() as f64 * weight * weight),
        }
    }

    fn adjusted(sums: &Sums, theta: f64, before: f64) -> Self {
        let weight = sums.mean_weight();
        let variance = (sums.variance_of_rest() - 2.0 * theta * sums.covariance_before()
            + theta * theta * sums.variance_before())
        .max(0.0);
        Self {
            n: sums.n(),
            value: sums.mean() - theta * (sums.mean_before() - before) / weight,
            variance: variance / (sums.n() as f64 * weight * weight),
        }
    }
}

/// The figures of arms less what the time before the experiment explains: CUPED (Deng, Xu, Kohavi and Walker 2013), with
/// one `θ = cov(Y, X)/var(X)` pooled within arms. Their means keep their meaning: adjusted to the units' common past.
/// Nothing where nothing is known from before.
pub fn adjusted(arms: &[&Sums]) -> Option<Vec<Estimate>> {
    let within = |of: fn(&Sums) -> f64| -> f64 {
        arms.iter().filter(|s| s.n() > 1).map(|s| of(s) * (s.n() - 1) as f64).sum()
    };
    let variance = within(Sums::variance_before);
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let theta = within(Sums::covariance_before) / variance;
    let n: f64 = arms.iter().map(|s| s.n() as f64).sum();
    let before = arms.iter().filter(|s| s.n() > 0).map(|s| s.mean_before() * s.n() as f64).sum::<f64>() / n;
    Some(arms.iter().map(|sums| Estimate::adjusted(sums, theta, before)).collect())
}

/// Ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub low: f64,
    /// The upper end.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub high: f64,
}

impl Interval {
    /// Around a middle.
    pub(super) fn around(middle: f64, half: f64) -> Self {
        Self { low: middle - half, high: middle + half }
    }
}

/// An arm against the control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The control.
    pub control: Estimate,
    /// The arm.
    pub arm: Estimate,
    /// The arm less the control.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub difference: f64,
    /// The interval of the difference.
    pub interval: Interval,
    /// The difference over the control's figure; 0.05 is 5 % more.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub lift: f64,
    /// The interval of the lift, by the delta method.
    pub lift_interval: Interval,
    /// The test's statistic: t or z.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub statistic: f64,
    /// The two-sided p-value.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p: f64,
}

/// Compares an arm with the control at the level `alpha` (0.05: intervals of 95 %).
///
/// ```
/// use tradewind_ops::experiment::{Estimate, MetricKind, Sums, Unit, contrast};
/// let arm = |sales: &[f64]| {
///     let mut sums = Sums::default();
///     sales.iter().for_each(|v| assert!(sums.push(Unit::value(*v))));
///     Estimate::raw(&sums)
/// };
/// let c = contrast(MetricKind::Mean, arm(&[1.0, 2.0, 3.0, 4.0]), arm(&[3.0, 5.0, 4.0, 6.0]), 0.05);
/// assert_eq!(c.difference, 2.0);
/// assert!((c.p - 0.07099).abs() < 1e-4);
/// ```
pub fn contrast(kind: MetricKind, control: Estimate, arm: Estimate, alpha: f64) -> Contrast {
    let difference = arm.value - control.value;
    let variance = control.variance + arm.variance;
    let error = variance.sqrt();
    let (statistic, p, interval) = match kind {
        MetricKind::Mean => {
            // Welch and Satterthwaite.
            let df = variance * variance
                / (control.variance.powi(2) / (control.n as f64 - 1.0)
                    + arm.variance.powi(2) / (arm.n as f64 - 1.0));
            let t = difference / error;
            let half = t_quantile(1.0 - alpha / 2.0, df) * error;
            (t, two_sided_p(t, df), Interval::around(difference, half))
        }
        MetricKind::Conversion => {
            let (n, m) = (control.n as f64, arm.n as f64);
            let pooled = (control.value * n + arm.value * m) / (n + m);
            let z = difference / (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
            (z, two_sided_normal_p(z), newcombe(control, arm, alpha))
        }
        MetricKind::Ratio | MetricKind::Rating => {
            let z = difference / error;
            let half = normal_quantile(1.0 - alpha / 2.0) * error;
            (z, two_sided_normal_p(z), Interval::around(difference, half))
        }
    };
    let same = difference == 0.0 && error == 0.0;
    let lift = difference / control.value;
    let lift_error = lift_variance(control, arm).sqrt();
    Contrast {
        control,
        arm,
        difference,
        interval,
        lift,
        lift_interval: Interval::around(lift, normal_quantile(1.0 - alpha / 2.0) * lift_error),
        statistic: if same { 0.0 } else { statistic },
        // Nobody bought in either arm: nothing speaks against equality.
        p: if same { 1.0 } else { p },
    }
}

/// An adjusted share is no count of successes, so it is tested as a mean.
pub(super) fn kind_adjusted(kind: MetricKind) -> MetricKind {
    if kind == MetricKind::Conversion { MetricKind::Mean } else { kind }
}

/// The variance of `arm/control − 1`.
pub(super) fn lift_variance(control: Estimate, arm: Estimate) -> f64 {
    let c = control.value;
    arm.variance / (c * c) + arm.value * arm.value * control.variance / c.powi(4)
}

/// Newcombe's hybrid score interval of the difference of two shares.
fn newcombe(control: Estimate, arm: Estimate, alpha: f64) -> Interval {
    let z = normal_quantile(1.0 - alpha / 2.0);
    let wilson = |e: Estimate| {
        let n = e.n as f64;
        let middle = (e.value + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (e.value * (1.0 - e.value) / n + z * z / (4.0 * n * n)).sqrt();
        (middle - half, middle + half)
    };
    let ((c_low, c_high), (a_low, a_high)) = (wilson(control), wilson(arm));
    let difference = arm.value - control.value;
    Interval {
        low: difference - ((arm.value - a_low).powi(2) + (c_high - control.value).powi(2)).sqrt(),
        high: difference + ((a_high - arm.value).powi(2) + (control.value - c_low).powi(2)).sqrt(),
    }
}
