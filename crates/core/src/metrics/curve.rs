//! What a score can do at every threshold: the ROC curve, the precision-recall curve, and the areas under them.
//!
//! Cases come as whether they are positive, the score (higher means positive) and, where given, a weight. Cases of one
//! score stand on the same side of every threshold. What is not defined (no positive or no negative case) is NaN or an
//! empty curve. Agrees with scikit-learn.

use serde::{Deserialize, Serialize};

/// A point of the ROC curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Cases of this score and above are said to be positive; infinite at the start, where none is.
    pub threshold: f64,
    /// Of the negative cases, the share said to be positive.
    pub false_positive_rate: f64,
    /// Of the positive cases, the share said to be positive.
    pub true_positive_rate: f64,
}

/// A point of the precision-recall curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrPoint {
    /// Cases of this score and above are said to be positive.
    pub threshold: f64,
    /// Of the cases said to be positive, the share that are.
    pub precision: f64,
    /// Of the positive cases, the share that was found.
    pub recall: f64,
}

/// The weight of positive and negative cases at each distinct score and above, the highest first.
fn cumulated(positive: &[bool], score: &[f64], weight: Option<&[f64]>) -> Vec<(f64, f64, f64)> {
    let mut order: Vec<usize> = (0..positive.len().min(score.len())).collect();
    order.sort_by(|a, b| score[*b].total_cmp(&score[*a]));
    let mut steps: Vec<(f64, f64, f64)> = Vec::new();
    let (mut hits, mut misses) = (0.0, 0.0);
    for (at, &i) in order.iter().enumerate() {
        let w = weight.map_or(1.0, |w| w[i]);
        match positive[i] {
            true => hits += w,
            false => misses += w,
        }
        if order.get(at + 1).is_none_or(|&next| score[next] != score[i]) {
            steps.push((score[i], hits, misses));
        }
    }
    steps
}

/// The ROC curve from (0, 0) to (1, 1), one point for each distinct score; empty unless there is weight on both sides.
pub fn roc_curve(positive: &[bool], score: &[f64], weight: Option<&[f64]>) -> Vec<RocPoint> {
    let steps = cumulated(positive, score, weight);
    let Some(&(_, hits, misses)) = steps.last().filter(|s| s.1 > 0.0 && s.2 > 0.0) else { return Vec::new() };
    let start = RocPoint { threshold: f64::INFINITY, false_positive_rate: 0.0, true_positive_rate: 0.0 };
    let points = steps.iter().map(|&(threshold, h, m)| RocPoint {
        threshold,
        false_positive_rate: m / misses,
        true_positive_rate: h / hits,
    });
    std::iter::once(start).chain(points).collect()
}

/// Area under the ROC curve: the chance that a positive case scores above a negative one, ties counted half. With weights
/// the pairs count by their product.
pub fn roc_auc(positive: &[bool], score: &[f64], weight: Option<&[f64]>) -> f64 {
    let steps = cumulated(positive, score, weight);
    let Some(&(_, hits, misses)) = steps.last().filter(|s| s.1 > 0.0 && s.2 > 0.0) else { return f64::NAN };
    let (mut area, mut h0, mut m0) = (0.0, 0.0, 0.0);
    for &(_, h, m) in &steps {
        area += (m - m0) * 0.5 * (h + h0);
        (h0, m0) = (h, m);
    }
    area / (hits * misses)
}

/// The precision-recall curve, one point for each distinct score, the highest threshold first; empty when no case is
/// positive.
pub fn pr_curve(positive: &[bool], score: &[f64], weight: Option<&[f64]>) -> Vec<PrPoint> {
    let steps = cumulated(positive, score, weight);
    let Some(&(_, hits, _)) = steps.last().filter(|s| s.1 > 0.0) else { return Vec::new() };
    steps
        .iter()
        .filter(|(_, h, m)| h + m > 0.0)
        .map(|&(threshold, h, m)| PrPoint { threshold, precision: h / (h + m), recall: h / hits })
        .collect()
}

/// Average precision, the area under the precision-recall curve by steps: `Σ (recallₙ − recallₙ₋₁) · precisionₙ`. A score
/// that tells nothing gives the share of positive cases.
///
/// ```
/// use tradewind_core::metrics::curve::average_precision;
/// let ap = average_precision(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8], None);
/// assert!((ap - 0.8333333333333333).abs() < 1e-15);
/// ```
pub fn average_precision(positive: &[bool], score: &[f64], weight: Option<&[f64]>) -> f64 {
    let curve = pr_curve(positive, score, weight);
    if curve.is_empty() {
        return f64::NAN;
    }
    let mut before = 0.0;
    let mut area = 0.0;
    for point in curve {
        area += (point.recall - before) * point.precision;
        before = point.recall;
    }
    area
}

/// Kolmogorov and Smirnov's distance: the widest gap between the true and the false positive rate over all thresholds, 0
/// to 1; the usual measure of credit scores.
pub fn ks(positive: &[bool], score: &[f64], weight: Option<&[f64]>) -> f64 {
    let curve = roc_curve(positive, score, weight);
    curve.iter().map(|p| p.true_positive_rate - p.false_positive_rate).fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_weights_and_of_repeated_rows_agree() {
        let (positive, score) = ([true, false, true, false], [0.8, 0.8, 0.3, 0.1]);
        let weight = [2.0, 1.0, 1.0, 3.0];
        let (mut p2, mut s2) = (Vec::new(), Vec::new());
        for (i, w) in weight.iter().enumerate() {
            p2.extend(std::iter::repeat_n(positive[i], *w as usize));
            s2.extend(std::iter::repeat_n(score[i], *w as usize));
        }
        let (a, b) = (roc_auc(&positive, &score, Some(&weight)), roc_auc(&p2, &s2, None));
        assert!((a - b).abs() < 1e-15);
        assert!((b - crate::metrics::class::roc_auc(&p2, &s2)).abs() < 1e-15);
        let (a, b) = (average_precision(&positive, &score, Some(&weight)), average_precision(&p2, &s2, None));
        assert!((a - b).abs() < 1e-15);
    }

    #[test]
    fn one_side_only_has_no_curve() {
        assert!(roc_curve(&[true, true], &[0.1, 0.2], None).is_empty());
        assert!(roc_auc(&[false], &[0.1], None).is_nan());
        assert!(average_precision(&[false], &[0.1], None).is_nan());
        assert_eq!(average_precision(&[true], &[0.1], None), 1.0);
        assert!(ks(&[], &[], None).is_nan());
    }
}
