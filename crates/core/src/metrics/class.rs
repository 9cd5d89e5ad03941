//! Errors of directions and probabilities.
//!
//! Labels are class numbers from 0; probabilities come as rows of `k` numbers, one row a case. What is not defined on
//! the cases given (one class only, no case) is NaN.

/// Area under the ROC curve of `score` for the cases where `positive` is true (ties count half; Mann–Whitney).
pub fn roc_auc(positive: &[bool], score: &[f64]) -> f64 {
    let n_pos = positive.iter().filter(|p| **p).count();
    let n_neg = positive.len() - n_pos;
    if n_pos == 0 || n_neg == 0 {
        return f64::NAN;
    }
    let mut order: Vec<usize> = (0..positive.len()).collect();
    order.sort_by(|a, b| score[*a].total_cmp(&score[*b]));
    // Sum of the positives' mid-ranks.
    let (mut at, mut ranks) = (0, 0.0);
    while at < order.len() {
        let tied = order[at..].iter().take_while(|i| score[**i] == score[order[at]]).count().max(1);
        let mid = at as f64 + (tied as f64 + 1.0) / 2.0;
        ranks += mid * order[at..at + tied].iter().filter(|i| positive[**i]).count() as f64;
        at += tied;
    }
    (ranks - n_pos as f64 * (n_pos as f64 + 1.0) / 2.0) / (n_pos as f64 * n_neg as f64)
}

/// Mean negative log of the probability given to what happened. Probabilities are held above 1e-6, as the shared
/// scorers do.
pub fn log_loss(label: &[usize], p: &[f64], k: usize) -> f64 {
    let total: f64 = label
        .iter()
        .zip(p.chunks_exact(k))
        .map(|(y, row)| {
            let sum: f64 = row.iter().map(|v| v.clamp(1e-6, 1.0)).sum();
            -(row[*y].clamp(1e-6, 1.0) / sum).ln()
        })
        .sum();
    if label.is_empty() { f64::NAN } else { total / label.len() as f64 }
}

/// Multi-class Brier score: the mean squared distance of the probabilities from what happened, 0 to 2.
pub fn brier(label: &[usize], p: &[f64], k: usize) -> f64 {
    let total: f64 = label
        .iter()
        .zip(p.chunks_exact(k))
        .map(|(y, row)| row.iter().enumerate().map(|(c, v)| (v - f64::from(c == *y)).powi(2)).sum::<f64>())
        .sum();
    if label.is_empty() { f64::NAN } else { total / label.len() as f64 }
}

/// How many cases of each true class (row) were said to be of each class (column).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    k: usize,
    counts: Vec<usize>,
}

impl Confusion {
    /// Counts `said` against `label`.
    pub fn of(label: &[usize], said: &[usize], k: usize) -> Self {
        let mut counts = vec![0; k * k];
        for (y, c) in label.iter().zip(said) {
            counts[y * k + c] += 1;
        }
        Self { k, counts }
    }

    /// Cases of class `truth` said to be `said`.
    pub fn count(&self, truth: usize, said: usize) -> usize {
        self.counts[truth * self.k + said]
    }

    fn column(&self, c: usize) -> usize {
        (0..self.k).map(|t| self.count(t, c)).sum()
    }

    fn row(&self, t: usize) -> usize {
        (0..self.k).map(|c| self.count(t, c)).sum()
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> f64 {
        let n: usize = self.counts.iter().sum();
        (0..self.k).map(|c| self.count(c, c)).sum::<usize>() as f64 / n as f64
    }

    /// Of the cases said to be `c`, the share that are; 0 when nothing was said to be (as scikit-learn has it).
    pub fn precision(&self, c: usize) -> f64 {
        ratio(self.count(c, c), self.column(c))
    }

    /// Of the cases that are `c`, the share that was found; 0 when there are none.
    pub fn recall(&self, c: usize) -> f64 {
        ratio(self.count(c, c), self.row(c))
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self, c: usize) -> f64 {
        ratio(2 * self.count(c, c), self.column(c) + self.row(c))
    }

    /// Mean of F1 over the classes.
    pub fn macro_f1(&self) -> f64 {
        (0..self.k).map(|c| self.f1(c)).sum::<f64>() / self.k as f64
    }
}

fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// One bin of a calibration curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationBin {
    /// Mean probability said.
    pub said: f64,
    /// Share that happened.
    pub happened: f64,
    /// Cases.
    pub n: usize,
}

/// The calibration curve of one class in `bins` bins of equal count. Each bin tells what was said and what happened.
pub fn calibration(happened: &[bool], p: &[f64], bins: usize) -> Vec<CalibrationBin> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    let bins = bins.clamp(1, order.len().max(1));
    (0..bins)
        .map(|b| &order[b * order.len() / bins..(b + 1) * order.len() / bins])
        .filter(|part| !part.is_empty())
        .map(|part| CalibrationBin {
            said: part.iter().map(|i| p[*i]).sum::<f64>() / part.len() as f64,
            happened: part.iter().filter(|i| happened[**i]).count() as f64 / part.len() as f64,
            n: part.len(),
        })
        .collect()
}

/// Expected calibration error: the mean distance between said and happened over the bins, weighted by their cases.
pub fn calibration_error(bins: &[CalibrationBin]) -> f64 {
    let n: usize = bins.iter().map(|b| b.n).sum();
    bins.iter().map(|b| (b.said - b.happened).abs() * b.n as f64).sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn auc_counts_pairs_and_half_ties() {
        near(roc_auc(&[true, false, true, false], &[0.9, 0.1, 0.8, 0.3]), 1.0);
        near(roc_auc(&[true, false], &[0.5, 0.5]), 0.5);
        // Pairs won: (0.7 > 0.2), (0.7 > 0.6), (0.4 > 0.2), not (0.4 > 0.6).
        near(roc_auc(&[true, true, false, false], &[0.7, 0.4, 0.2, 0.6]), 0.75);
        assert!(roc_auc(&[true], &[0.5]).is_nan());
    }

    #[test]
    fn probabilities_by_hand() {
        let p = [0.7, 0.2, 0.1, 0.1, 0.3, 0.6];
        near(log_loss(&[0, 2], &p, 3), -(0.7_f64.ln() + 0.6_f64.ln()) / 2.0);
        near(brier(&[0, 2], &p, 3), ((0.09 + 0.04 + 0.01) + (0.01 + 0.09 + 0.16)) / 2.0);
        let bins = calibration(&[true, false, true, true], &[0.9, 0.1, 0.8, 0.2], 2);
        near(bins[0].said, 0.15);
        near(bins[0].happened, 0.5);
        near(calibration_error(&bins), (0.35 + 0.15) / 2.0);
    }

    #[test]
    fn confusion_by_hand() {
        let c = Confusion::of(&[0, 0, 1, 1, 2], &[0, 1, 1, 1, 0], 3);
        near(c.accuracy(), 0.6);
        near(c.precision(0), 0.5);
        near(c.recall(1), 1.0);
        near(c.f1(1), 0.8);
        near(c.f1(2), 0.0);
        near(c.macro_f1(), (0.5 + 0.8 + 0.0) / 3.0);
    }
}
