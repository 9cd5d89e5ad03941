//! When a trial that reports on its way should be given up.
//!
//! A trial reports its score at rising steps: rounds of boosting, shares of the data, folds done. A pruner compares it
//! with the trials that finished in earlier batches; the best at a step is never given up.

use super::study::{Direction, Trial};
use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Result};

/// Rules for giving up trials early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pruner {
    /// Every trial runs to its end.
    #[default]
    None,
    /// A trial is given up when its best report so far is worse than the median of the others' at the same step
    /// (Golovin and others 2017).
    Median {
        /// Trials that must have reported the step first, 1 and more.
        n_startup: usize,
        /// Steps below this are never judged.
        n_warmup: u64,
    },
    /// At the rungs `min_resource`, `min_resource · reduction`, … only the best `1/reduction` of those that came there
    /// go on (Jamieson and Talwalkar 2016, without waiting: Li and others 2020).
    SuccessiveHalving {
        /// The first rung, 1 and more.
        min_resource: u64,
        /// 2 and more; usually 3 or 4.
        reduction: u64,
    },
    /// Successive halving in brackets that begin at different rungs, so that settings which start slowly have their
    /// chance (Li and others 2018). Trials are dealt to the brackets in Hyperband's shares.
    Hyperband {
        /// The first rung of the keenest bracket, 1 and more.
        min_resource: u64,
        /// The last step of a whole trial.
        max_resource: u64,
        /// 2 and more; usually 3 or 4.
        reduction: u64,
    },
}

/// The report by which a trial is judged at `rung`: the first at that step or later.
fn at_rung(reports: &[(u64, f64)], rung: u64) -> Option<f64> {
    reports.iter().find(|(step, _)| *step >= rung).map(|(_, v)| *v)
}

impl Pruner {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        match *self {
            Self::None => {}
            Self::Median { n_startup, .. } => {
                check.require(n_startup >= 1, "n_startup", n_startup, "1 and more");
            }
            Self::SuccessiveHalving { min_resource, reduction } => {
                check.require(min_resource >= 1, "min_resource", min_resource, "1 and more");
                check.require(reduction >= 2, "reduction", reduction, "2 and more");
            }
            Self::Hyperband { min_resource, max_resource, reduction } => {
                check.require(min_resource >= 1, "min_resource", min_resource, "1 and more");
                check.require(
                    max_resource >= min_resource,
                    "max_resource",
                    max_resource,
                    "`min_resource` and more",
                );
                check.require(reduction >= 2, "reduction", reduction, "2 and more");
            }
        }
        check.finish()
    }

    /// Whether trial `number`, which has just made the last of `reports`, should be given up. `others` are the trials
    /// it is compared with; those that failed do not count.
    pub fn gives_up(
        &self,
        number: u64,
        reports: &[(u64, f64)],
        others: &[&Trial],
        direction: Direction,
    ) -> bool {
        let Some(&(step, _)) = reports.last() else { return false };
        let loss = |v: f64| direction.loss(v);
        match *self {
            Self::None => false,
            Self::Median { n_startup, n_warmup } => {
                if step < n_warmup {
                    return false;
                }
                let mut at_step: Vec<f64> = others
                    .iter()
                    .filter_map(|t| t.reports.iter().find(|(s, _)| *s == step))
                    .map(|(_, v)| loss(*v))
                    .collect();
                if at_step.len() < n_startup.max(1) {
                    return false;
                }
                at_step.sort_by(f64::total_cmp);
                let n = at_step.len();
                let median = 0.5 * (at_step[(n - 1) / 2] + at_step[n / 2]);
                let best = reports.iter().map(|(_, v)| loss(*v)).fold(f64::INFINITY, f64::min);
                best > median
            }
            Self::SuccessiveHalving { min_resource, reduction } => {
                halves(min_resource, reduction, reports, others.iter().copied(), loss)
            }
            Self::Hyperband { min_resource, max_resource, reduction } => {
                let brackets = Brackets::of(min_resource, max_resource, reduction);
                let mine = brackets.of_trial(number);
                let first = min_resource.saturating_mul(reduction.saturating_pow(mine));
                let peers = others.iter().copied().filter(|t| brackets.of_trial(t.number) == mine);
                halves(first, reduction, reports, peers, loss)
            }
        }
    }
}

/// Whether the last report reaches a rung and lies behind the best `1/reduction` of those who came there.
fn halves<'t>(
    first: u64,
    reduction: u64,
    reports: &[(u64, f64)],
    others: impl Iterator<Item = &'t Trial>,
    loss: impl Fn(f64) -> f64,
) -> bool {
    let Some(&(step, value)) = reports.last() else { return false };
    let before = reports.len().checked_sub(2).map(|i| reports[i].0);
    // The highest rung that this report is the first to reach.
    let mut rung = None;
    let mut next = first.max(1);
    while next <= step {
        if before.is_none_or(|b| b < next) {
            rung = Some(next);
        }
        match next.checked_mul(reduction.max(2)) {
            Some(further) => next = further,
            None => break,
        }
    }
    let Some(rung) = rung else { return false };
    let (mut n, mut better) = (1_u64, 0_u64);
    for v in others.filter_map(|t| at_rung(&t.reports, rung)) {
        n += 1;
        better += u64::from(loss(v) < loss(value));
    }
    better >= (n / reduction.max(2)).max(1)
}

/// How Hyperband deals trials: bracket 0 begins at the first rung, bracket `n − 1` runs everything to the end.
struct Brackets {
    /// Trials of each bracket in one round.
    shares: Vec<u64>,
}

impl Brackets {
    fn of(min_resource: u64, max_resource: u64, reduction: u64) -> Self {
        let (mut n, mut resource) = (0_u32, min_resource.max(1));
        while let Some(next) = resource.checked_mul(reduction.max(2)).filter(|r| *r <= max_resource) {
            resource = next;
            n += 1;
        }
        // n_s = ⌈(s_max + 1) / (s + 1) · η^s⌉ with s = s_max for the keenest bracket.
        let share = |bracket: u32| {
            let s = n - bracket;
            (f64::from(n + 1) / f64::from(s + 1) * (reduction as f64).powi(s as i32)).ceil() as u64
        };
        Self { shares: (0..=n).map(share).collect() }
    }

    fn of_trial(&self, number: u64) -> u32 {
        // A hash instead of the number itself, so that brackets alternate.
        let mut h = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let total: u64 = self.shares.iter().sum();
        let mut left = (h ^ (h >> 31)) % total.max(1);
        for (bracket, share) in self.shares.iter().enumerate() {
            if left < *share {
                return bracket as u32;
            }
            left -= share;
        }
        0
    }
}
