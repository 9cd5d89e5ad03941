//! Errors of directions and probabilities.
//!
//! Labels are class numbers from 0; probabilities come as rows of `k` numbers, one row a case. What is not defined on
//! the cases given (one class only, no case) is NaN. Curves and the areas under them, with weights, stand in
//! [`curve`](super::curve).

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

/// Mean negative log of the probability given to what happened, with weights of rows; as scikit-learn, probabilities are
/// held above 2.2e-16 and each row is brought to the sum 1. [`log_loss`] holds them above 1e-6.
pub fn cross_entropy(label: &[usize], p: &[f64], k: usize, weight: Option<&[f64]>) -> f64 {
    weighted_mean(
        weight,
        label.iter().zip(p.chunks_exact(k.max(1))).map(|(y, row)| {
            let held = |v: f64| v.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            let sum: f64 = row.iter().sum();
            -row.get(*y).map_or(f64::NAN, |v| held(v / sum).ln())
        }),
    )
}

/// Brier score with weights of rows. With two classes it is the mean squared error of the probability of class 1, 0 to 1
/// (as scikit-learn); with more the sum over the classes, 0 to 2.
pub fn brier_score(label: &[usize], p: &[f64], k: usize, weight: Option<&[f64]>) -> f64 {
    let scale = if k == 2 { 0.5 } else { 1.0 };
    weighted_mean(
        weight,
        label.iter().zip(p.chunks_exact(k.max(1))).map(|(y, row)| {
            scale * row.iter().enumerate().map(|(c, v)| (v - f64::from(c == *y)).powi(2)).sum::<f64>()
        }),
    )
}

fn weighted_mean(weight: Option<&[f64]>, values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, v) in values.enumerate() {
        let w = weight.map_or(1.0, |w| w[i]);
        if w > 0.0 {
            sum += w * v;
            total += w;
        }
    }
    if total > 0.0 { sum / total } else { f64::NAN }
}

/// How the classes' own measures become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Average {
    /// The measure of this class alone; class 1 is the positive one of two.
    Class(usize),
    /// The plain mean over the classes: rare classes count as much as frequent ones.
    Macro,
    /// Over all cases together. Where every case gets one class this is the accuracy.
    Micro,
    /// The mean over the classes, weighted by their cases.
    Weighted,
}

/// How many cases (or how much weight) of each true class (row) were said to be of each class (column).
///
/// Precision, recall and F1 of a class that has no case or was never said are 0, as scikit-learn has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    k: usize,
    /// Whole numbers where no weights were given, which `f64` holds exactly.
    mass: Vec<f64>,
}

impl Confusion {
    /// Counts `said` against `label`. Both must be below `k`.
    pub fn of(label: &[usize], said: &[usize], k: usize) -> Self {
        Self::weighted(label, said, k, None)
    }

    /// Adds up the weights of `said` against `label`.
    pub fn weighted(label: &[usize], said: &[usize], k: usize, weight: Option<&[f64]>) -> Self {
        let mut mass = vec![0.0; k * k];
        for (i, (y, c)) in label.iter().zip(said).enumerate() {
            mass[y * k + c] += weight.map_or(1.0, |w| w[i]);
        }
        Self { k, mass }
    }

    /// Classes.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Cases of class `truth` said to be `said`.
    pub fn count(&self, truth: usize, said: usize) -> usize {
        self.mass(truth, said) as usize
    }

    /// Weight of the cases of class `truth` said to be `said`.
    pub fn mass(&self, truth: usize, said: usize) -> f64 {
        self.mass[truth * self.k + said]
    }

    fn column(&self, c: usize) -> f64 {
        (0..self.k).map(|t| self.mass(t, c)).sum()
    }

    fn row(&self, t: usize) -> f64 {
        (0..self.k).map(|c| self.mass(t, c)).sum()
    }

    fn total(&self) -> f64 {
        self.mass.iter().sum()
    }

    fn right(&self) -> f64 {
        (0..self.k).map(|c| self.mass(c, c)).sum()
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> f64 {
        self.right() / self.total()
    }

    /// The mean of the recalls of the classes that have cases: what accuracy would be if all were equally frequent.
    pub fn balanced_accuracy(&self) -> f64 {
        let present: Vec<usize> = (0..self.k).filter(|&c| self.row(c) > 0.0).collect();
        present.iter().map(|&c| self.recall(c)).sum::<f64>() / present.len() as f64
    }

    /// Of the cases said to be `c`, the share that are; 0 when nothing was said to be (as scikit-learn has it).
    pub fn precision(&self, c: usize) -> f64 {
        ratio(self.mass(c, c), self.column(c))
    }

    /// Of the cases that are `c`, the share that was found; 0 when there are none.
    pub fn recall(&self, c: usize) -> f64 {
        ratio(self.mass(c, c), self.row(c))
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self, c: usize) -> f64 {
        ratio(2.0 * self.mass(c, c), self.column(c) + self.row(c))
    }

    /// Mean of F1 over the classes.
    pub fn macro_f1(&self) -> f64 {
        (0..self.k).map(|c| self.f1(c)).sum::<f64>() / self.k as f64
    }

    /// Precision over the classes.
    pub fn precision_of(&self, average: Average) -> f64 {
        self.averaged(average, Self::precision)
    }

    /// Recall over the classes.
    pub fn recall_of(&self, average: Average) -> f64 {
        self.averaged(average, Self::recall)
    }

    /// F1 over the classes.
    pub fn f1_of(&self, average: Average) -> f64 {
        self.averaged(average, Self::f1)
    }

    /// Classes that neither have cases nor were said do not count, as scikit-learn takes only labels it has seen.
    fn averaged(&self, average: Average, of: fn(&Self, usize) -> f64) -> f64 {
        let seen: Vec<usize> = (0..self.k).filter(|&c| self.row(c) + self.column(c) > 0.0).collect();
        match average {
            Average::Class(c) if c < self.k => of(self, c),
            Average::Class(_) => f64::NAN,
            Average::Macro => seen.iter().map(|&c| of(self, c)).sum::<f64>() / seen.len() as f64,
            Average::Micro => self.accuracy(),
            Average::Weighted => seen.iter().map(|&c| self.row(c) * of(self, c)).sum::<f64>() / self.total(),
        }
    }

    /// Matthews' correlation of truth and answer, −1 to 1 (Matthews 1975; several classes: Gorodkin 2004); 0 when one
    /// of them is constant.
    pub fn mcc(&self) -> f64 {
        let (n, right) = (self.total(), self.right());
        let (mut both, mut said, mut truth) = (0.0, 0.0, 0.0);
        for c in 0..self.k {
            let (p, t) = (self.column(c), self.row(c));
            both += p * t;
            said += p * p;
            truth += t * t;
        }
        let scale = (n * n - said).max(0.0).sqrt() * (n * n - truth).max(0.0).sqrt();
        match scale > 0.0 {
            true => (right * n - both) / scale,
            false if n > 0.0 => 0.0,
            false => f64::NAN,
        }
    }

    /// Cohen's kappa: how far the agreement goes beyond chance, 1 at most; NaN when chance alone agrees everywhere.
    pub fn kappa(&self) -> f64 {
        let n = self.total();
        let chance = (0..self.k).map(|c| self.column(c) * self.row(c)).sum::<f64>() / (n * n);
        if chance < 1.0 { (self.accuracy() - chance) / (1.0 - chance) } else { f64::NAN }
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// One bin of a calibration curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// The calibration curve of one class in `bins` bins of equal width over 0 to 1; bins without cases are left out.
pub fn calibration_by_width(happened: &[bool], p: &[f64], bins: usize) -> Vec<CalibrationBin> {
    let bins = bins.max(1);
    let (mut said, mut is, mut n) = (vec![0.0; bins], vec![0_usize; bins], vec![0_usize; bins]);
    for (p, h) in p.iter().zip(happened).filter(|(p, _)| !p.is_nan()) {
        // A probability on an edge belongs to the bin below, as in scikit-learn and in Guo et al. 2017.
        let b = ((p * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        said[b] += p;
        is[b] += usize::from(*h);
        n[b] += 1;
    }
    (0..bins)
        .filter(|&b| n[b] > 0)
        .map(|b| CalibrationBin {
            said: said[b] / n[b] as f64,
            happened: is[b] as f64 / n[b] as f64,
            n: n[b],
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
