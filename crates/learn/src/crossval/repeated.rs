//! The same folds dealt anew several times.

use super::{KFold, Split, StratifiedKFold};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Result, Run};

/// The random stream of the repeats' seeds.
const STREAM: u64 = 0x6376_7270;

/// k-fold cross-validation repeated with other folds, for scores that depend less on the luck of the deal.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_folds` | 5 | 2 to 1000 | folds of each repeat |
/// | `n_repeats` | 3 | 1 to 1000 | how often |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepeatedKFold {
    /// Folds of each repeat.
    pub n_folds: usize,
    /// How often.
    pub n_repeats: usize,
}

impl Default for RepeatedKFold {
    fn default() -> Self {
        Self { n_folds: 5, n_repeats: 3 }
    }
}

impl RepeatedKFold {
    fn repeat(&self, run: &Run, mut folds: impl FnMut(&Run) -> Result<Vec<Split>>) -> Result<Vec<Split>> {
        let ok = (1..=1000).contains(&self.n_repeats);
        ParamCheck::new().require(ok, "n_repeats", self.n_repeats, "1 to 1000").finish()?;
        let mut seeds = run.rng(STREAM);
        let mut out = Vec::new();
        for _ in 0..self.n_repeats {
            let mut repeat = run.clone();
            repeat.seed = seeds.random();
            out.extend(folds(&repeat)?);
        }
        Ok(out)
    }

    /// The folds of all repeats, one repeat after the other. Fails on fewer rows than folds.
    pub fn split(&self, run: &Run, n_rows: usize) -> Result<Vec<Split>> {
        let folds = KFold { n_folds: self.n_folds, shuffle: true };
        self.repeat(run, |run| folds.split(run, n_rows))
    }

    /// The same with every class having nearly its share in each fold.
    pub fn split_stratified(&self, run: &Run, label: &[usize]) -> Result<Vec<Split>> {
        let folds = StratifiedKFold { n_folds: self.n_folds, shuffle: true };
        self.repeat(run, |run| folds.split(run, label))
    }
}
