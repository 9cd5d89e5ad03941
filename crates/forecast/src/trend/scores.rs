//! Figures of direction forecasts, and the naive answers they stand beside.

use super::table::Case;
use serde::{Deserialize, Serialize};
use tradewind_core::metrics::class::{Confusion, brier, calibration, calibration_error, log_loss, roc_auc};

/// How well directions were told. Figures that the cases do not define (one direction only) are `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Cases.
    pub n: usize,
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean of F1 over the three directions.
    pub macro_f1: f64,
    /// Per direction, in the order falling, steady, rising.
    pub directions: [DirectionScores; 3],
    /// Mean negative log of the probability given to what happened; less is better.
    pub log_loss: f64,
    /// Mean squared distance of the probabilities from what happened, 0 to 2; less is better.
    pub brier: f64,
    /// Mean distance between what was said and what happened, over ten bins and the three directions, 0 to 1.
    pub calibration_error: f64,
    /// The largest distance of any direction's mean probability from its share, 0 to 1.
    pub calibration_gap: f64,
    /// Share that rose among the 50 likeliest to rise (of fewer cases, all).
    pub precision_top50_rising: f64,
    /// Share that fell among the 50 likeliest to fall.
    pub precision_top50_falling: f64,
}

/// Figures of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionScores {
    /// Cases that went this way.
    pub n: usize,
    /// Of those said to go this way, the share that did.
    pub precision: f64,
    /// Of those that did, the share that was said to.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Area under the ROC curve of this direction's probability; 0.5 is chance. `None` when all or none went this way.
    pub auc: Option<f64>,
}

/// The figures of a simple answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NaiveScores {
    /// Which answer: `last_change` (goes on as it went), `year_ago` (as in the same weeks a year ago), `base_rates` (as
    /// often as in the past).
    pub name: String,
    /// Its figures.
    pub scores: Scores,
}

/// One bin of a calibration curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Mean probability said.
    pub said: f64,
    /// Share that happened.
    pub happened: f64,
    /// Cases.
    pub n: usize,
}

/// The likeliest class; a tie goes to steady.
pub(crate) fn likeliest(p: &[f64; 3]) -> usize {
    if p[1] >= p[0] && p[1] >= p[2] {
        1
    } else if p[2] >= p[0] {
        2
    } else {
        0
    }
}

impl Scores {
    /// Figures of probabilities against what happened.
    pub(crate) fn of(class: &[u8], p: &[[f64; 3]]) -> Self {
        let label: Vec<usize> = class.iter().map(|c| usize::from(*c)).collect();
        let said: Vec<usize> = p.iter().map(likeliest).collect();
        let flat = p.concat();
        let confusion = Confusion::of(&label, &said, 3);
        let column = |c: usize| p.iter().map(|p| p[c]).collect::<Vec<f64>>();
        let is = |c: usize| label.iter().map(|l| *l == c).collect::<Vec<bool>>();
        let n = label.len();
        let share = |c: usize| is(c).iter().filter(|v| **v).count() as f64 / n as f64;
        let top = |c: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| p[*b][c].total_cmp(&p[*a][c]).then(a.cmp(b)));
            order.truncate(50);
            order.iter().filter(|i| label[**i] == c).count() as f64 / order.len().max(1) as f64
        };
        Self {
            n,
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            directions: [0, 1, 2].map(|c| {
                let auc = roc_auc(&is(c), &column(c));
                DirectionScores {
                    n: is(c).iter().filter(|v| **v).count(),
                    precision: confusion.precision(c),
                    recall: confusion.recall(c),
                    f1: confusion.f1(c),
                    auc: (!auc.is_nan()).then_some(auc),
                }
            }),
            log_loss: log_loss(&label, &flat, 3),
            brier: brier(&label, &flat, 3),
            calibration_error: (0..3)
                .map(|c| calibration_error(&calibration(&is(c), &column(c), 10)))
                .sum::<f64>()
                / 3.0,
            calibration_gap: (0..3)
                .map(|c| (column(c).iter().sum::<f64>() / n as f64 - share(c)).abs())
                .fold(0.0, f64::max),
            precision_top50_rising: top(2),
            precision_top50_falling: top(0),
        }
    }
}

/// The calibration curve of each direction in ten bins.
pub(crate) fn curves(class: &[u8], p: &[[f64; 3]]) -> [Vec<CurvePoint>; 3] {
    [0_u8, 1, 2].map(|c| {
        let is: Vec<bool> = class.iter().map(|k| *k == c).collect();
        let said: Vec<f64> = p.iter().map(|p| p[usize::from(c)]).collect();
        calibration(&is, &said, 10)
            .into_iter()
            .map(|b| CurvePoint { said: b.said, happened: b.happened, n: b.n })
            .collect()
    })
}

/// What a naive answer says of each class, learnt as frequencies: the simple rule gives a direction, and the past tells
/// how often that direction came true. So its log loss and calibration are as good as the rule can have them.
pub(crate) struct Naive {
    /// Frequencies of what happened by what the rule said (the last row: the rule had nothing to say).
    rates: [[[f64; 3]; 4]; 3],
}

/// The rules.
const RULES: [&str; 3] = ["last_change", "year_ago", "base_rates"];

impl Naive {
    /// What each rule says of a case: a class, or 3 when it has nothing to say.
    fn said(rule: usize, case: &Case, threshold: f64) -> usize {
        let g = match rule {
            0 => ((case.last + 1.0) / (case.before + 1.0)).ln(),
            1 => case.year_ago,
            _ => f64::NAN,
        };
        let limit = (1.0 + threshold).ln();
        if g.is_nan() {
            3
        } else if g > limit {
            2
        } else {
            usize::from(g >= -limit)
        }
    }

    /// Counts the past.
    pub(crate) fn fit(cases: &[&Case], threshold: f64) -> Self {
        let mut base = [1.0; 3];
        for c in cases {
            base[usize::from(c.class(threshold))] += 1.0;
        }
        let total: f64 = base.iter().sum();
        let base = base.map(|b| b / total);
        let rates = [0, 1, 2].map(|rule| {
            // Each row begins as ten cases at the base rates.
            let mut counts = [base.map(|b| 10.0 * b); 4];
            for c in cases {
                counts[Self::said(rule, c, threshold)][usize::from(c.class(threshold))] += 1.0;
            }
            counts.map(|row| {
                let s: f64 = row.iter().sum();
                row.map(|v| v / s)
            })
        });
        Self { rates }
    }

    /// Scores every rule on cases. The direction said is the rule's own; where it has none, the likeliest.
    pub(crate) fn score(&self, cases: &[&Case], threshold: f64) -> Vec<NaiveScores> {
        let class: Vec<u8> = cases.iter().map(|c| c.class(threshold)).collect();
        RULES
            .iter()
            .enumerate()
            .map(|(rule, name)| {
                let said: Vec<usize> = cases.iter().map(|c| Self::said(rule, c, threshold)).collect();
                let p: Vec<[f64; 3]> = said.iter().map(|s| self.rates[rule][*s]).collect();
                let mut scores = Scores::of(&class, &p);
                let hard: Vec<[f64; 3]> = said
                    .iter()
                    .zip(&p)
                    .map(|(s, p)| {
                        let c = if *s < 3 { *s } else { likeliest(p) };
                        std::array::from_fn(|k| f64::from(u8::from(k == c)))
                    })
                    .collect();
                let rule_says = Scores::of(&class, &hard);
                scores.accuracy = rule_says.accuracy;
                scores.macro_f1 = rule_says.macro_f1;
                for (d, h) in scores.directions.iter_mut().zip(rule_says.directions) {
                    *d = DirectionScores { auc: h.auc, ..h };
                }
                NaiveScores { name: (*name).to_owned(), scores }
            })
            .collect()
    }
}
