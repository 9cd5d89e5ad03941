//! How a training went: the loss of each round on the rows that are learnt from and on rows held back, and what that says.
//!
//! What is trained in rounds (a network) carries its curves beside what it has learnt; [`TrainingCurve::fit`] judges them by
//! stated rules. Let `t_k` and `v_k` be the losses of round `k` of `n` on the rows learnt from and on those held back, `b` the
//! round of the least `v`, `c` the loss of a constant answer on the rows held back. Losses are compared by shares of their
//! size, since their unit is the model's own.
//!
//! | rule, the first that holds | judgement |
//! |---|---|
//! | `t_1 - t_n` is at most 1 % of `t_1`, over two rounds or more | underfitting: it does not learn even what it sees |
//! | `v_b` is above 98 % of `c` | underfitting: on new rows it is hardly better than a constant |
//! | the mean of `v` over the last rounds after `b` (three at most) is over 5 % above `v_b`, while `t_n < t_b` | overfitting: new rows get worse while rows it sees get better |
//! | `b = n ≥ 3` and `v` fell by over 1 % in the last round; without rows held back the same of `t` | unfinished: more rounds would help |
//! | else | sound |
//!
//! Where training stops early the weights of round `b` are the ones that are kept, so an overfitting curve says that the
//! model was saved from it, and that stronger regularisation or more rows may take it further.

use serde::{Deserialize, Serialize};

/// The share of the first loss that training has to gain.
const GAIN: f64 = 0.01;
/// A held-back loss above this share of a constant's is no knowledge.
const CONSTANT: f64 = 0.98;
/// A rise of the held-back loss by more than this share of its best is no chance.
const RISE: f64 = 0.05;
/// A last round that still gains this share is not the last that would.
const FALL: f64 = 0.01;
/// Rounds after the best whose mean is looked at: one alone may be chance.
const LAST: usize = 3;

/// One round of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The mean loss of its batches, as they were learnt from: with dropout, and with weights that still changed.
    pub training: f64,
    /// The loss on data that training does not see.
    pub validation: Option<f64>,
    /// The learning rate of its last step.
    pub rate: f64,
    /// The largest norm of the gradients before they were clipped.
    pub norm: f64,
}

/// What a curve says; the rules are those of the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The loss still falls: more rounds would help.
    Unfinished,
    /// The loss on new rows rises while that of rows seen falls: it learns by heart.
    Overfitting,
    /// It hardly gets better than at the beginning, or than a constant.
    Underfitting,
    /// None of these.
    Sound,
}

impl Fit {
    /// In English, with what to do.
    pub fn english(self) -> &'static str {
        match self {
            Self::Unfinished => {
                "unfinished: the loss still fell in the last round; give it more rounds or a higher rate"
            }
            Self::Overfitting => {
                "overfitting: rounds after the one kept got worse on new rows and better on those seen; more dropout, more \
                 decay, a smaller network or more rows may take it further"
            }
            Self::Underfitting => {
                "underfitting: it hardly got better than a constant answer; give it better columns, a larger network, a \
                 higher rate or less dropout"
            }
            Self::Sound => "sound: neither underfitted nor overfitted",
        }
    }

    /// In Chinese, with what to do.
    pub fn chinese(self) -> &'static str {
        match self {
            Self::Unfinished => "尚未收敛：最后一轮损失仍在下降；请增加轮数或提高学习率",
            Self::Overfitting => {
                "过拟合：所保留的一轮之后，新数据上变差而训练数据上变好；可增加 dropout、权重衰减、缩小网络或增加数据"
            }
            Self::Underfitting => {
                "欠拟合：几乎不比常数预测好；请增加有用的特征、加大网络、提高学习率或减少 dropout"
            }
            Self::Sound => "拟合适中：既未欠拟合，也未过拟合",
        }
    }
}

/// The course of one training.
///
/// ```
/// use tradewind_core::training_curve::{Epoch, Fit, TrainingCurve};
/// let round = |training, validation| Epoch { training, validation: Some(validation), rate: 1e-3, norm: 1.0 };
/// let curve = TrainingCurve {
///     name: "1".into(),
///     loss: "log loss".into(),
///     epochs: vec![round(0.69, 0.66), round(0.50, 0.55), round(0.30, 0.62), round(0.15, 0.74)],
///     best: 1,
///     constant: Some(0.69),
/// };
/// assert_eq!(curve.fit(), Fit::Overfitting);
/// assert_eq!(curve.kept().unwrap().validation, Some(0.55));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingCurve {
    /// Which part of the model it is of, where a model has several; may be empty.
    pub name: String,
    /// What was made small, as `log loss`.
    pub loss: String,
    /// The rounds.
    pub epochs: Vec<Epoch>,
    /// The round whose weights were kept, from 0.
    pub best: usize,
    /// The loss of a constant answer on the data that training does not see, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<f64>,
}

impl TrainingCurve {
    /// What it says. A curve without rounds says nothing and is sound.
    pub fn fit(&self) -> Fit {
        fit(&self.epochs, self.constant)
    }

    /// The same as a part of something larger: `part` stands before its name.
    #[must_use]
    pub fn within(mut self, part: &str) -> Self {
        let name = if self.name.is_empty() { part.to_owned() } else { format!("{part} {}", self.name) };
        self.name = name;
        self
    }

    /// The round whose weights were kept.
    pub fn kept(&self) -> Option<&Epoch> {
        self.epochs.get(self.best)
    }
}

/// Judges a curve; `constant` is the loss of a constant answer on the rows held back, where it is known.
pub fn fit(epochs: &[Epoch], constant: Option<f64>) -> Fit {
    let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else { return Fit::Sound };
    let n = epochs.len();
    if n > 1 && first.training - last.training <= GAIN * first.training.abs() {
        return Fit::Underfitting;
    }
    let seen: Vec<(usize, f64)> = epochs
        .iter()
        .enumerate()
        .filter_map(|(k, e)| e.validation.filter(|v| v.is_finite()).map(|v| (k, v)))
        .collect();
    let falls = |before: f64, now: f64| n >= 3 && before - now > FALL * now.abs();
    let Some(&(at, best)) = seen.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
        let before = epochs[n.saturating_sub(2)].training;
        return if falls(before, last.training) { Fit::Unfinished } else { Fit::Sound };
    };
    // A constant's loss at or below zero is no size to take a share of.
    if constant.is_some_and(|c| c > 0.0 && best > CONSTANT * c) {
        return Fit::Underfitting;
    }
    let after: Vec<f64> = seen.iter().filter(|(k, _)| *k > at).map(|(_, v)| *v).collect();
    let after = &after[after.len().saturating_sub(LAST)..];
    let mean = after.iter().sum::<f64>() / after.len() as f64;
    if mean > best + RISE * best.abs() && last.training < epochs[at].training {
        return Fit::Overfitting;
    }
    let before = seen.len().checked_sub(2).map(|k| seen[k].1);
    if at + 1 == n && before.is_some_and(|before| falls(before, best)) {
        return Fit::Unfinished;
    }
    Fit::Sound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rounds: &[(f64, Option<f64>)], constant: Option<f64>) -> Fit {
        let epochs: Vec<Epoch> = rounds
            .iter()
            .map(|(training, validation)| Epoch {
                training: *training,
                validation: *validation,
                rate: 1e-3,
                norm: 1.0,
            })
            .collect();
        fit(&epochs, constant)
    }

    fn held(rounds: &[(f64, f64)]) -> Vec<(f64, Option<f64>)> {
        rounds.iter().map(|(t, v)| (*t, Some(*v))).collect()
    }

    #[test]
    fn curves_are_judged_by_the_rules_that_are_told() {
        let flat = held(&[(0.69, 0.69), (0.69, 0.69), (0.688, 0.69)]);
        assert_eq!(judged(&flat, None), Fit::Underfitting);
        // It learns by heart from the first round on, and never beats a constant.
        let useless = held(&[(0.69, 0.70), (0.5, 0.8), (0.2, 1.1)]);
        assert_eq!(judged(&useless, Some(0.69)), Fit::Underfitting);
        assert_eq!(judged(&useless, None), Fit::Overfitting);
        let heart = held(&[(0.69, 0.6), (0.5, 0.5), (0.4, 0.55), (0.3, 0.6)]);
        assert_eq!(judged(&heart, Some(0.69)), Fit::Overfitting);
        // One bad round at the end, after many that were as good as the best, is chance.
        let chance = held(&[(0.69, 0.6), (0.5, 0.5), (0.45, 0.501), (0.44, 0.502), (0.43, 0.53)]);
        assert_eq!(judged(&chance, Some(0.69)), Fit::Sound);
        // Held-back loss rises, but so does the other: not by heart, but astray.
        let astray = held(&[(0.69, 0.6), (0.4, 0.4), (0.5, 0.6)]);
        assert_eq!(judged(&astray, None), Fit::Sound);
        let young = held(&[(0.69, 0.65), (0.5, 0.5), (0.4, 0.4)]);
        assert_eq!(judged(&young, Some(0.69)), Fit::Unfinished);
        let ripe = held(&[(0.69, 0.65), (0.5, 0.45), (0.4, 0.401), (0.398, 0.4)]);
        assert_eq!(judged(&ripe, Some(0.69)), Fit::Sound);
    }

    #[test]
    fn odd_curves_are_judged_without_a_panic() {
        assert_eq!(judged(&[], None), Fit::Sound);
        assert_eq!(judged(&[(1.0, None)], Some(0.0)), Fit::Sound);
        assert_eq!(judged(&[(1.0, None), (0.5, None), (0.3, None)], None), Fit::Unfinished);
        assert_eq!(judged(&[(1.0, None), (0.5, None), (0.499, None)], None), Fit::Sound);
        assert_eq!(judged(&[(1.0, Some(f64::NAN)), (0.5, Some(f64::NAN)), (0.499, None)], None), Fit::Sound);
        // Likelihoods may lie below zero.
        assert_eq!(judged(&held(&[(1.0, 0.5), (-1.0, -1.0), (-2.0, -0.5)]), Some(-0.2)), Fit::Overfitting);
    }
}
