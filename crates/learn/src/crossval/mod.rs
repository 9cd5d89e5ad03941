//! Ways to split rows into training and test, as plain lists of row numbers, and measuring an estimator on them.
//!
//! In every split no row stands on both sides. In [`KFold`], [`StratifiedKFold`], [`GroupKFold`] and [`PurgedKFold`]
//! every row is in the test part of exactly one fold, in [`RepeatedKFold`] of one fold per repeat; in
//! [`TimeSeriesSplit`] every training row lies before every test row, with a gap between. [`Holdout`] sets rows aside
//! once.

mod holdout;
mod purged;
mod repeated;
mod validate;

pub use holdout::{Holdout, Parts};
pub use purged::PurgedKFold;
pub use repeated::RepeatedKFold;
pub use validate::{CrossValidated, cross_validate};
pub(crate) use validate::{gather, predict_folds, same_width, score_rows};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The random stream of the shuffles here.
const STREAM: u64 = 0x6376;

/// One way to part the rows. Both lists are in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to measure on.
    pub test: Vec<usize>,
}

/// Folds of nearly equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KFold {
    /// How many, 2 to 1000 (default 5).
    pub n_folds: usize,
    /// Whether rows are dealt by chance (the run's seed) and not in blocks of neighbours.
    pub shuffle: bool,
}

impl Default for KFold {
    fn default() -> Self {
        Self { n_folds: 5, shuffle: true }
    }
}

impl KFold {
    /// The folds of `n_rows` rows. Fails on fewer rows than folds.
    ///
    /// ```
    /// use tradewind_core::Run;
    /// use tradewind_learn::crossval::KFold;
    /// let folds = KFold { n_folds: 3, shuffle: false }.split(&Run::new(0), 7).unwrap();
    /// assert_eq!(folds[0].test, [0, 1, 2]);
    /// assert_eq!(folds[2].train, [0, 1, 2, 3, 4]);
    /// ```
    pub fn split(&self, run: &Run, n_rows: usize) -> Result<Vec<Split>> {
        check_folds(self.n_folds)?;
        need("k-fold cross-validation", self.n_folds, n_rows)?;
        let mut order: Vec<usize> = (0..n_rows).collect();
        if self.shuffle {
            order.shuffle(&mut run.rng(STREAM));
        }
        let mut fold = vec![0; n_rows];
        let (size, more) = (n_rows / self.n_folds, n_rows % self.n_folds);
        let mut at = 0;
        for f in 0..self.n_folds {
            let end = at + size + usize::from(f < more);
            order[at..end].iter().for_each(|&i| fold[i] = f);
            at = end;
        }
        Ok(by_fold(&fold, self.n_folds))
    }
}

/// Folds in which every class has nearly its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StratifiedKFold {
    /// How many, 2 to 1000 (default 5).
    pub n_folds: usize,
    /// Whether rows of a class are dealt by chance (the run's seed).
    pub shuffle: bool,
}

impl Default for StratifiedKFold {
    fn default() -> Self {
        Self { n_folds: 5, shuffle: true }
    }
}

impl StratifiedKFold {
    /// The folds of rows with these classes: per class, folds differ by at most one row. Fails on fewer rows than
    /// folds. A class with fewer rows than folds is absent from some test parts.
    pub fn split(&self, run: &Run, label: &[usize]) -> Result<Vec<Split>> {
        check_folds(self.n_folds)?;
        need("stratified cross-validation", self.n_folds, label.len())?;
        // Sorted by class, rows are dealt to the folds like cards; the dealing goes on from class to class, so that
        // the folds' sizes too differ by at most one.
        let mut order: Vec<usize> = (0..label.len()).collect();
        if self.shuffle {
            order.shuffle(&mut run.rng(STREAM));
        }
        order.sort_by_key(|&i| label[i]);
        let mut fold = vec![0; label.len()];
        for (at, &i) in order.iter().enumerate() {
            fold[i] = at % self.n_folds;
        }
        Ok(by_fold(&fold, self.n_folds))
    }
}

/// Folds in which all rows of one group (a product, a user) stand on the same side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupKFold {
    /// How many, 2 to 1000 (default 5).
    pub n_folds: usize,
}

impl Default for GroupKFold {
    fn default() -> Self {
        Self { n_folds: 5 }
    }
}

impl GroupKFold {
    /// The folds of rows of these groups; the largest group goes first, each to the fold that has the fewest rows.
    /// Fails on fewer groups than folds.
    pub fn split(&self, group: &[u64]) -> Result<Vec<Split>> {
        check_folds(self.n_folds)?;
        let mut sizes: HashMap<u64, usize> = HashMap::new();
        group.iter().for_each(|g| *sizes.entry(*g).or_default() += 1);
        need("grouped cross-validation (groups counted)", self.n_folds, sizes.len())?;
        let mut groups: Vec<(u64, usize)> = sizes.into_iter().collect();
        groups.sort_by_key(|&(g, size)| (std::cmp::Reverse(size), g));
        let mut filled = vec![0; self.n_folds];
        let mut fold_of: HashMap<u64, usize> = HashMap::new();
        for (g, size) in groups {
            let f = (0..self.n_folds).min_by_key(|&f| (filled[f], f)).unwrap_or(0);
            filled[f] += size;
            fold_of.insert(g, f);
        }
        let fold: Vec<usize> = group.iter().map(|g| fold_of[g]).collect();
        Ok(by_fold(&fold, self.n_folds))
    }
}

/// Splits that respect time: the training part grows, the test part lies after it with a gap.
///
/// Times are whole numbers (days, or positions); several rows may share one, and stay together. The last test part
/// ends at the last time, the others lie before it, `test_size` times long and back to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeSeriesSplit {
    /// How many splits, 1 to 1000 (default 5).
    pub n_splits: usize,
    /// Units of time in each test part, 1 and more (default 1).
    pub test_size: i64,
    /// Units of time left out between training and test, 0 and more (default 0): at least the horizon of the target,
    /// or the target of the last training rows has seen the test part.
    pub gap: i64,
    /// Units of time kept for training; 0 (default) keeps all (expanding), else the window slides.
    pub train_size_max: i64,
}

impl Default for TimeSeriesSplit {
    fn default() -> Self {
        Self { n_splits: 5, test_size: 1, gap: 0, train_size_max: 0 }
    }
}

impl TimeSeriesSplit {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require((1..=1000).contains(&self.n_splits), "n_splits", self.n_splits, "1 to 1000");
        check.require(
            (1..=1_000_000_000).contains(&self.test_size),
            "test_size",
            self.test_size,
            "1 to 1000000000",
        );
        check.require((0..=1_000_000_000).contains(&self.gap), "gap", self.gap, "0 to 1000000000");
        let window = self.train_size_max;
        check.require((0..=1_000_000_000).contains(&window), "train_size_max", window, "0 to 1000000000");
        check.finish()
    }

    /// The splits of rows at these times, the earliest first. Fails when the earliest would have no training row, and
    /// when a test part is empty.
    ///
    /// ```
    /// use tradewind_learn::crossval::TimeSeriesSplit;
    /// let times: Vec<i64> = (0..10).collect();
    /// let splits = TimeSeriesSplit { n_splits: 2, test_size: 2, gap: 1, train_size_max: 0 }.split(&times).unwrap();
    /// assert_eq!(splits[0].train, [0, 1, 2, 3, 4]);
    /// assert_eq!(splits[0].test, [6, 7]);
    /// assert_eq!(splits[1].test, [8, 9]);
    /// ```
    pub fn split(&self, time: &[i64]) -> Result<Vec<Split>> {
        self.check()?;
        let (Some(&first), Some(&last)) = (time.iter().min(), time.iter().max()) else {
            return need("time-series cross-validation", 2, 0).map(|()| Vec::new());
        };
        // In wide numbers, since times may be nanoseconds near the end of their range.
        let (first, last) = (i128::from(first), i128::from(last));
        let n_splits = self.n_splits as i128;
        let (size, gap, window) =
            (i128::from(self.test_size), i128::from(self.gap), i128::from(self.train_size_max));
        let needed = n_splits * size + gap + 1;
        let span = last - first + 1;
        if span < needed {
            return Err(Error::NotEnoughData {
                what: "time-series cross-validation (units of time counted)".into(),
                needed: usize::try_from(needed).unwrap_or(usize::MAX),
                got: usize::try_from(span).unwrap_or(usize::MAX),
            });
        }
        let mut splits = Vec::with_capacity(self.n_splits);
        for s in 0..n_splits {
            let from = last + 1 - (n_splits - s) * size;
            let train_end = from - gap;
            let train_from = if window == 0 { first } else { train_end - window };
            let within = |a: i128, b: i128| -> Vec<usize> {
                (0..time.len()).filter(|&i| (a..b).contains(&i128::from(time[i]))).collect()
            };
            let split = Split { train: within(train_from, train_end), test: within(from, from + size) };
            if split.train.is_empty() || split.test.is_empty() {
                return Err(Error::Invalid(format!(
                    "time-series split {} of {} has {} training and {} test rows; use fewer splits or a larger test_size",
                    s + 1,
                    self.n_splits,
                    split.train.len(),
                    split.test.len()
                )));
            }
            splits.push(split);
        }
        Ok(splits)
    }
}

fn check_folds(n_folds: usize) -> Result<()> {
    ParamCheck::new().require((2..=1000).contains(&n_folds), "n_folds", n_folds, "2 to 1000").finish()
}

fn need(what: &str, needed: usize, got: usize) -> Result<()> {
    if got < needed { Err(Error::NotEnoughData { what: what.into(), needed, got }) } else { Ok(()) }
}

fn by_fold(fold: &[usize], n_folds: usize) -> Vec<Split> {
    (0..n_folds)
        .map(|f| {
            let (test, train) = (0..fold.len()).partition(|&i| fold[i] == f);
            Split { train, test }
        })
        .collect()
}
