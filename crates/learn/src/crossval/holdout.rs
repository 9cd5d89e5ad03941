//! Rows set aside once: for training, for choosing, and for the last test.

use super::{STREAM, need};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// Shares of rows for choosing and for the last test; the rest is for training.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `validation` | 0.2 | 0 to below 1 | share for choosing between models; 0 for none |
/// | `test` | 0.2 | 0 to below 1 | share for the last test; 0 for none |
///
/// Both together must leave something for training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Holdout {
    /// Share for choosing.
    pub validation: f64,
    /// Share for the last test.
    pub test: f64,
}

impl Default for Holdout {
    fn default() -> Self {
        Self { validation: 0.2, test: 0.2 }
    }
}

/// The rows of each part, in rising order; no row is in two of them, and all are in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to choose by.
    pub validation: Vec<usize>,
    /// Rows for the last test.
    pub test: Vec<usize>,
}

impl Holdout {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        ParamCheck::new()
            .require(share(self.validation), "validation", self.validation, "0 to below 1")
            .require(share(self.test), "test", self.test, "0 to below 1")
            .require(
                self.validation + self.test < 1.0,
                "validation + test",
                self.validation + self.test,
                "below 1",
            )
            .finish()
    }

    /// Parts by chance (the run's seed). Fails when a part asked for would be empty.
    pub fn random(&self, run: &Run, n_rows: usize) -> Result<Parts> {
        self.check()?;
        let mut order: Vec<usize> = (0..n_rows).collect();
        order.shuffle(&mut run.rng(STREAM));
        let n_test = (self.test * n_rows as f64).round() as usize;
        let n_validation = (self.validation * n_rows as f64).round() as usize;
        let mut part = vec![0; n_rows];
        order.iter().take(n_test).for_each(|&i| part[i] = 2);
        order.iter().skip(n_test).take(n_validation).for_each(|&i| part[i] = 1);
        self.parts(&part)
    }

    /// Parts by time: training first, then validation, then test. Rows of one time stay together, so shares are met
    /// as nearly as times allow. Fails when a part asked for would be empty.
    ///
    /// ```
    /// use tradewind_learn::crossval::Holdout;
    /// let parts = Holdout { validation: 0.25, test: 0.25 }.by_time(&[7, 1, 3, 5]).unwrap();
    /// assert_eq!((parts.train, parts.validation, parts.test), (vec![1, 2], vec![3], vec![0]));
    /// ```
    pub fn by_time(&self, time: &[i64]) -> Result<Parts> {
        self.check()?;
        let mut sorted = time.to_vec();
        sorted.sort_unstable();
        let n = sorted.len() as f64;
        let cut = |share: f64| sorted.get((n * (1.0 - share)).round() as usize).copied();
        let (from_validation, from_test) = (cut(self.validation + self.test), cut(self.test));
        let part: Vec<u8> = time
            .iter()
            .map(|t| match (from_validation, from_test) {
                (_, Some(cut)) if *t >= cut && self.test > 0.0 => 2,
                (Some(cut), _) if *t >= cut && self.validation > 0.0 => 1,
                _ => 0,
            })
            .collect();
        self.parts(&part)
    }

    /// Parts by a hash of each row's id (a user, an order): rows of one id stay together, and an id stays in its part
    /// when rows are added later. Shares are met on average. Another `salt` gives other parts.
    pub fn by_hash(&self, ids: &[impl AsRef<[u8]>], salt: u64) -> Result<Parts> {
        self.check()?;
        let part: Vec<u8> = ids
            .iter()
            .map(|id| {
                let share = share_of(id.as_ref(), salt);
                if share < self.test {
                    2
                } else if share < self.test + self.validation {
                    1
                } else {
                    0
                }
            })
            .collect();
        self.parts(&part)
    }

    fn parts(&self, part: &[u8]) -> Result<Parts> {
        need("a holdout split", 1, part.len())?;
        let rows = |p: u8| (0..part.len()).filter(|&i| part[i] == p).collect::<Vec<_>>();
        let parts = Parts { train: rows(0), validation: rows(1), test: rows(2) };
        for (name, rows, share) in [
            ("training", &parts.train, 1.0),
            ("validation", &parts.validation, self.validation),
            ("test", &parts.test, self.test),
        ] {
            if rows.is_empty() && share > 0.0 {
                return Err(Error::Invalid(format!(
                    "the holdout split of {} rows leaves none for {name}; change the shares or give more rows",
                    part.len()
                )));
            }
        }
        Ok(parts)
    }
}

/// A hash of the bytes as a share from 0 to below 1: FNV-1a (Fowler, Noll and Vo), mixed as splitmix64 does. It must
/// never change, or rows that were for training would come into the test.
fn share_of(bytes: &[u8], salt: u64) -> f64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for b in salt.to_le_bytes().iter().chain(bytes) {
        h = (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((h ^ (h >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
