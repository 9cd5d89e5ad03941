//! Folds in time with training rows on both sides of the test part.

use super::{Split, check_folds, need};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// Folds that are stretches of time, with what overlaps the test part purged from training (López de Prado 2018,
/// chapter 7).
///
/// A row at time `t` has a target that looks `horizon` units ahead, so it knows the times `t` to `t + horizon`. Training
/// rows whose stretch meets that of a test row are left out, and so are those of the `embargo` units after it, whose
/// features still remember the test part.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_folds` | 5 | 2 to 1000 | stretches of nearly equal numbers of rows |
/// | `horizon` | 0 | 0 to 1000000000 | units of time that the target looks ahead |
/// | `embargo` | 0 | 0 to 1000000000 | units of time left out after the test part |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PurgedKFold {
    /// How many folds.
    pub n_folds: usize,
    /// Units of time that the target looks ahead.
    pub horizon: i64,
    /// Units of time left out after the test part.
    pub embargo: i64,
}

impl Default for PurgedKFold {
    fn default() -> Self {
        Self { n_folds: 5, horizon: 0, embargo: 0 }
    }
}

impl PurgedKFold {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        check_folds(self.n_folds)?;
        let most = 1_000_000_000;
        ParamCheck::new()
            .require((0..=most).contains(&self.horizon), "horizon", self.horizon, "0 to 1000000000")
            .require((0..=most).contains(&self.embargo), "embargo", self.embargo, "0 to 1000000000")
            .finish()
    }

    /// The folds of rows at these times, the earliest first; rows of one time stay together. Fails when a fold would
    /// have no test or no training row.
    pub fn split(&self, time: &[i64]) -> Result<Vec<Split>> {
        self.check()?;
        need("purged cross-validation", self.n_folds, time.len())?;
        let mut sorted: Vec<i128> = time.iter().map(|t| i128::from(*t)).collect();
        sorted.sort_unstable();
        let n = sorted.len();
        // Fold f holds the times from starts[f] to before starts[f + 1].
        let mut starts: Vec<i128> = (0..self.n_folds).map(|f| sorted[f * n / self.n_folds]).collect();
        starts.push(sorted[n - 1] + 1);
        let (horizon, embargo) = (i128::from(self.horizon), i128::from(self.embargo));
        let mut splits = Vec::with_capacity(self.n_folds);
        for f in 0..self.n_folds {
            let (from, to) = (starts[f], starts[f + 1]);
            let test: Vec<usize> = (0..n).filter(|&i| (from..to).contains(&i128::from(time[i]))).collect();
            // The last test row, whose target ends last.
            let last = test.iter().map(|&i| i128::from(time[i])).max().unwrap_or(from);
            let train: Vec<usize> = (0..n)
                .filter(|&i| {
                    let t = i128::from(time[i]);
                    t + horizon < from || t > last + horizon + embargo
                })
                .collect();
            if test.is_empty() || train.is_empty() {
                return Err(Error::Invalid(format!(
                    "purged fold {} of {} has {} training and {} test rows; use fewer folds, a smaller horizon or a \
                     smaller embargo",
                    f + 1,
                    self.n_folds,
                    train.len(),
                    test.len()
                )));
            }
            splits.push(Split { train, test });
        }
        Ok(splits)
    }
}
