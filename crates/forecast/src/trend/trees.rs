//! Boosted trees beside the spline logistic regression.
//!
//! Trees find what holds only together (a gap now, of a product that sells daily), splines what is smooth; the score is a
//! mean of both, weighed by what they say of later origins than they learnt from. Trees need cases: below
//! [`CASES_MIN`] the splines stay alone.

use super::TrendSettings;
use super::drivers::Cause;
use super::features::{Feature, N, Origin, Row, SPECS};
use super::table::Table;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tradewind_core::{Result, Run};
use tradewind_learn::boosting::{Boosting, FittedBoosting, Sampling};
use tradewind_learn::tree::shap;
use tradewind_learn::{Dataset, Matrix, Task};

/// Fewest cases with a direction from which trees are learnt.
pub(crate) const CASES_MIN: usize = 4_000;

/// Fewest cases of each direction.
const CLASS_MIN: usize = 100;

/// What all series share tells origins apart, and trees would learn origins by heart; splines hold such features short.
const LEFT_TO_SPLINES: [Feature; 4] =
    [Feature::ShopChange, Feature::ShopQuarter, Feature::ShopLong, Feature::ShopLongest];

/// Shares of the trees in the score that are tried. Splines always keep a part: they alone see what the shop does.
pub(crate) const SHARES: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

/// Trees by the last origin that they learnt from and the step where its window ends; `None`: too few cases.
type Grown = BTreeMap<(usize, usize), Option<Arc<Trees>>>;

/// The cases that trees learn from, with what was grown on them. They are those of the many series alone, so that the
/// same trees serve whatever few series are asked about.
#[derive(Default)]
pub(crate) struct Grove {
    pub(crate) table: Table,
    grown: Mutex<Grown>,
}

impl Grove {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, ..Self::default() }
    }

    /// The trees of the cases at `origins` (sorted) whose next window of `h` steps ends at `end` or before. `None` where
    /// these are too few.
    pub(crate) fn trees(
        &self,
        run: &Run,
        origins: &[usize],
        end: usize,
        h: usize,
        settings: &TrendSettings,
    ) -> Result<Option<Arc<Trees>>> {
        let Some(last) = origins.last() else { return Ok(None) };
        // The last origin tells all of them.
        let key = (*last, end);
        if let Some(grown) = self.grown.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(grown.clone());
        }
        let at = self.table.select(|c| {
            c.t + h <= end
                && c.age >= h
                && origins.binary_search(&c.t).is_ok()
                && !c.next.is_nan()
                && !c.last.is_nan()
        });
        let trees = Trees::fit(run, &self.table, &at, settings.threshold, settings.min_units)?.map(Arc::new);
        self.grown.lock().unwrap_or_else(PoisonError::into_inner).insert(key, trees.clone());
        Ok(trees)
    }
}

/// Trees for the three directions, over the features that training saw.
pub(crate) struct Trees {
    model: FittedBoosting,
    /// The features that are columns.
    used: Vec<usize>,
}

impl Trees {
    /// Learns from the cases at `at` that count. `None` when they are too few.
    pub(crate) fn fit(
        run: &Run,
        table: &Table,
        at: &[usize],
        threshold: f64,
        min_units: f64,
    ) -> Result<Option<Self>> {
        let at: Vec<usize> = at.iter().copied().filter(|i| table.cases[*i].counts(min_units)).collect();
        let class: Vec<u8> = at.iter().map(|i| table.cases[*i].class(threshold)).collect();
        let of = |c: u8| class.iter().filter(|k| **k == c).count();
        if at.len() < CASES_MIN || (0..3).any(|c| of(c) < CLASS_MIN) {
            return Ok(None);
        }
        let rows = table.rows_at(&at);
        // What is never known, or always the same, is no column.
        let used: Vec<usize> = (0..N)
            .filter(|j| !LEFT_TO_SPLINES.iter().any(|f| *f as usize == *j))
            .filter(|j| {
                let mut known = rows.iter().map(|r| r[*j]).filter(|v| !v.is_nan());
                known.next().is_some_and(|first| known.any(|v| v != first))
            })
            .collect();
        if used.is_empty() {
            return Ok(None);
        }
        let weight: Vec<f64> = at.iter().map(|i| table.cases[*i].weight).collect();
        let target = class.into_iter().map(f64::from).collect();
        let data = Dataset::with_missing(columns(&used, &rows)?, target, vec![])?.with_weight(weight)?;
        let params = Boosting {
            n_rounds: 200,
            learning_rate: 0.05,
            n_leaves: 15,
            // Neighbouring origins say nearly the same, so leaves need many cases.
            min_child_samples: (at.len() / 250).clamp(40, 400),
            feature_fraction: 0.5,
            sampling: Sampling::Bagging,
            bagging_fraction: 0.7,
            l2: 5.0,
            max_bins: 63,
            ..Boosting::default()
        };
        let model = params.fit(&run.quiet(), Task::Multiclass, &data)?;
        Ok(Some(Self { model, used }))
    }

    /// The logits of rows, those of steady being zero.
    pub(crate) fn logits(&self, rows: &[&Row]) -> Result<Vec<[f64; 3]>> {
        let scores = self.model.ensemble().scores(&columns(&self.used, rows)?)?;
        Ok(scores.rows().map(|z| [z[0] - z[1], 0.0, z[2] - z[1]]).collect())
    }

    /// For each row what each feature adds to `logit(rising) − logit(falling)`, exactly (TreeSHAP), with the kind of
    /// cause it counts for; and what the sum is measured from.
    ///
    /// Features measured from no change give what they add more than they would had nothing changed: that there is no
    /// promotion is no cause.
    pub(crate) fn contributions(&self, run: &Run, rows: &[&Row]) -> Result<Vec<(Vec<Cause>, f64)>> {
        let run = &run.quiet();
        let zero = |j: &usize| SPECS[*j].origin == Origin::Zero;
        let still: Vec<Row> = rows
            .iter()
            .map(|row| {
                let mut still = **row;
                // What is not known stays so, and adds nothing.
                for j in self.used.iter().filter(|j| zero(j) && !row[**j].is_nan()) {
                    still[*j] = 0.0;
                }
                still
            })
            .collect();
        let parts =
            |rows: &[&Row]| shap::contributions(run, self.model.ensemble(), &columns(&self.used, rows)?);
        let (now, still) = (parts(rows)?, parts(&still.iter().collect::<Vec<_>>())?);
        let width = self.used.len() + 1;
        let push = |row: &[f64], c: usize| row[2 * width + c] - row[c];
        Ok(now
            .rows()
            .zip(still.rows())
            .map(|(now, still)| {
                let mut reference = push(now, self.used.len());
                let parts = self
                    .used
                    .iter()
                    .enumerate()
                    .map(|(c, j)| {
                        let from = if zero(j) { push(still, c) } else { 0.0 };
                        reference += from;
                        (*j, SPECS[*j].kind, push(now, c) - from)
                    })
                    .collect();
                (parts, reference)
            })
            .collect())
    }
}

/// The features `used` of rows, as columns.
fn columns(used: &[usize], rows: &[&Row]) -> Result<Matrix> {
    let mut values = Vec::with_capacity(rows.len() * used.len());
    for row in rows {
        values.extend(used.iter().map(|j| row[*j]));
    }
    Matrix::new(rows.len(), used.len(), values)
}

/// Logits of the two learners, mixed.
pub(crate) fn mix(share: f64, trees: [f64; 3], splines: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|k| share * trees[k] + (1.0 - share) * splines[k])
}
