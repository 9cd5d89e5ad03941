//! How accurate a model is before the truth is known, from what it says of itself.
//!
//! A classifier whose probabilities are calibrated tells its own accuracy: of the cases said to be positive with
//! probability `p`, a share `p` are. A forecast with quantiles tells its own pinball loss. Both hold while calibration
//! holds, so they see a change of the inputs and not a change of what inputs mean; compare with the real error when it
//! comes.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tradewind_core::ErrorKind;

/// The measures of a classifier of two classes, estimated from its probabilities (confidence-based performance
/// estimation, as in NannyML).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassEstimate {
    /// Cases.
    pub n: u64,
    /// The share of right answers.
    pub accuracy: f64,
    /// The standard error of the accuracy, from the chance of the cases.
    pub accuracy_error: f64,
    /// Of those said to be positive, the share that are; 0 when none are said to be.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub precision: f64,
    /// Of the positive ones, the share that is found.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub f1: f64,
    /// The chance that a positive case has a higher probability than a negative one.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub auc: f64,
    /// The mean of the squared error of the probabilities.
    pub brier: f64,
}

/// Estimates the measures of a classifier that answers "positive" from `threshold` on.
///
/// With calibrated `p`: expected true positives `Σ p` over answers "positive", and so on; AUC by the same weights over
/// all pairs, ties half.
///
/// ```
/// use tradewind_ops::monitor::error_watch::estimate_classes;
/// let e = estimate_classes(&[0.9, 0.8, 0.3, 0.1], 0.5).unwrap();
/// assert!((e.accuracy - (0.9 + 0.8 + 0.7 + 0.9) / 4.0).abs() < 1e-12);
/// assert!((e.precision - 0.85).abs() < 1e-12);
/// ```
///
/// # Errors
/// No probability, one outside 0 to 1.
pub fn estimate_classes(probabilities: &[f64], threshold: f64) -> Result<ClassEstimate> {
    if let Some(p) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::asked(
            ErrorKind::InvalidInput,
            format!("a probability of {p}"),
            "give calibrated probabilities between 0 and 1",
        ));
    }
    if probabilities.is_empty() {
        return Err(Error::asked(ErrorKind::NotEnoughData, "no probability", "give one or more"));
    }
    let n = probabilities.len() as f64;
    let (mut right, mut spread, mut hit, mut said, mut positive, mut brier) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for p in probabilities {
        let yes = *p >= threshold;
        right += if yes { *p } else { 1.0 - p };
        spread += p * (1.0 - p);
        hit += if yes { *p } else { 0.0 };
        said += f64::from(yes);
        positive += p;
        brier += p * (1.0 - p);
    }
    let mut sorted = probabilities.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (mut won, mut negatives_below) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a == b) {
        let (p, count) = (tied[0], tied.len() as f64);
        let negatives = (1.0 - p) * count;
        // Within a tie a case is not paired with itself.
        won += p * count * negatives_below + 0.5 * p * (1.0 - p) * count * (count - 1.0);
        negatives_below += negatives;
    }
    let pairs = positive * (n - positive) - spread;
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let (precision, recall) = (ratio(hit, said), ratio(hit, positive));
    Ok(ClassEstimate {
        n: probabilities.len() as u64,
        accuracy: right / n,
        accuracy_error: spread.sqrt() / n,
        precision,
        recall,
        f1: ratio(2.0 * precision * recall, precision + recall),
        auc: if pairs > 0.0 { won / pairs } else { f64::NAN },
        brier: brier / n,
    })
}

/// The pinball loss that a forecast expects of itself, averaged over its levels: its quantiles are taken for the law of
/// what comes, straight between levels and flat beyond the outermost.
///
/// With quantiles `q(u)`: `E ρ_τ(Y − q(τ)) = ∫ ρ_τ(q(u) − q(τ)) du`, exactly for straight pieces.
///
/// ```
/// use tradewind_ops::monitor::error_watch::expected_pinball;
/// // Uniform between 0 and 1: τ(1 − τ)/2 at each level, here with flat ends beyond 1 % and 99 %.
/// let levels: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
/// let loss = expected_pinball(&levels, &levels).unwrap();
/// let exact = levels.iter().map(|t| t * (1.0 - t) / 2.0).sum::<f64>() / 99.0;
/// assert!((loss - exact).abs() < 1e-4);
/// ```
///
/// # Errors
/// No level, levels that do not rise between 0 and 1, quantiles that cross or are not as many.
pub fn expected_pinball(levels: &[f64], quantiles: &[f64]) -> Result<f64> {
    let rising = levels.windows(2).all(|w| w[0] < w[1]) && levels.iter().all(|l| *l > 0.0 && *l < 1.0);
    let ordered = quantiles.windows(2).all(|w| w[0] <= w[1]) && quantiles.iter().all(|q| q.is_finite());
    if levels.is_empty() || levels.len() != quantiles.len() || !rising || !ordered {
        return Err(Error::asked(
            ErrorKind::InvalidInput,
            format!("{} levels and {} quantiles", levels.len(), quantiles.len()),
            "give levels that rise between 0 and 1, and one quantile for each, none below the one before",
        ));
    }
    // The pieces of q(u): from, to, value at from, value at to.
    let mut pieces = vec![(0.0, levels[0], quantiles[0], quantiles[0])];
    for i in 1..levels.len() {
        pieces.push((levels[i - 1], levels[i], quantiles[i - 1], quantiles[i]));
    }
    let last = quantiles[quantiles.len() - 1];
    pieces.push((levels[levels.len() - 1], 1.0, last, last));
    let mut sum = 0.0;
    for (level, quantile) in levels.iter().zip(quantiles) {
        for (from, to, low, high) in &pieces {
            // Pieces lie wholly below or above the level, so the loss is straight on each.
            let middle = 0.5 * (low + high) - quantile;
            let weight = if *from >= *level { *level } else { *level - 1.0 };
            sum += weight * middle * (to - from);
        }
    }
    Ok(sum / levels.len() as f64)
}

/// What intervals say of errors to come, against those of the backtest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalEstimate {
    /// The mean width of intervals over the mean size of forecasts, now.
    pub sharpness: f64,
    /// The WAPE to be expected: the backtest's, in proportion to the sharpness.
    pub wape: f64,
    /// Sharpness over that of the backtest: 1.3 says that the model is 30 % less sure.
    pub ratio: f64,
}

/// Estimates the error of forecasts whose actuals have not come, from the width of their intervals: where intervals kept
/// their coverage, errors grow as they do. `backtest` is the sharpness (mean width over mean size of forecasts) and WAPE
/// at training.
///
/// ```
/// use tradewind_ops::monitor::error_watch::estimate_intervals;
/// let e = estimate_intervals(&[10.0, 20.0], &[(7.0, 13.0), (14.0, 26.0)], (0.4, 0.15)).unwrap();
/// assert!((e.sharpness - 0.6).abs() < 1e-12 && (e.wape - 0.225).abs() < 1e-12);
/// ```
///
/// # Errors
/// No forecast, ends that are not as many or lie the wrong way round, a backtest without figures.
pub fn estimate_intervals(
    forecasts: &[f64],
    intervals: &[(f64, f64)],
    backtest: (f64, f64),
) -> Result<IntervalEstimate> {
    let size: f64 = forecasts.iter().map(|f| f.abs()).sum();
    let width: f64 = intervals.iter().map(|(low, high)| high - low).sum();
    let ordered = intervals.iter().all(|(low, high)| low <= high);
    let known = backtest.0 > 0.0 && backtest.1 >= 0.0;
    let fits = forecasts.len() == intervals.len() && size > 0.0 && width.is_finite();
    if !(fits && ordered && known) {
        return Err(Error::asked(
            ErrorKind::InvalidInput,
            format!("{} forecasts and {} intervals", forecasts.len(), intervals.len()),
            "give an interval for each forecast, lower end first, forecasts that are not all zero, and the backtest's figures",
        ));
    }
    let sharpness = width / size;
    let ratio = sharpness / backtest.0;
    Ok(IntervalEstimate { sharpness, wape: backtest.1 * ratio, ratio })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sketch::mixed;

    #[test]
    fn estimates_are_what_comes_when_probabilities_are_calibrated() {
        let uniform = |i: u64| ((mixed(i) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        // Rounded, so that there are ties.
        let p: Vec<f64> = (0..40_000).map(|i| (uniform(i).powi(2) * 50.0).round() / 50.0).collect();
        let truth: Vec<bool> =
            p.iter().enumerate().map(|(i, p)| uniform(i as u64 + 1_000_000) < *p).collect();
        let e = estimate_classes(&p, 0.4).unwrap();
        let share = |of: &dyn Fn(usize) -> bool, among: &dyn Fn(usize) -> bool| {
            let all: Vec<usize> = (0..p.len()).filter(|i| among(*i)).collect();
            all.iter().filter(|i| of(**i)).count() as f64 / all.len() as f64
        };
        let accuracy = share(&|i| (p[i] >= 0.4) == truth[i], &|_| true);
        assert!((e.accuracy - accuracy).abs() < 4.0 * e.accuracy_error, "{e:?} {accuracy}");
        assert!((e.precision - share(&|i| truth[i], &|i| p[i] >= 0.4)).abs() < 0.015);
        assert!((e.recall - share(&|i| p[i] >= 0.4, &|i| truth[i])).abs() < 0.015);
        let auc = tradewind_core::metrics::class::roc_auc(&truth, &p);
        assert!((e.auc - auc).abs() < 0.01, "{} {auc}", e.auc);
        assert!(estimate_classes(&[1.2], 0.5).is_err() && estimate_classes(&[], 0.5).is_err());
        assert!(estimate_classes(&[1.0, 1.0], 0.5).unwrap().auc.is_nan());
    }

    #[test]
    fn pinball_refuses_what_is_no_forecast() {
        for (levels, quantiles) in [
            (&[][..], &[][..]),
            (&[0.5, 0.1], &[1.0, 2.0]),
            (&[0.1, 0.5], &[2.0, 1.0]),
            (&[0.1], &[1.0, 2.0]),
        ] {
            assert!(expected_pinball(levels, quantiles).is_err());
        }
        assert_eq!(expected_pinball(&[0.5], &[3.0]).unwrap(), 0.0);
        assert!(estimate_intervals(&[1.0], &[(2.0, 1.0)], (0.4, 0.1)).is_err());
    }
}
