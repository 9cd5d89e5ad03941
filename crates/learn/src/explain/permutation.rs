//! Permutation importance.

use crate::learner::FittedLearner;
use crate::matrix::{Dataset, Matrix};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The stream of random numbers; each shuffle has one of its own from here on.
const STREAM: u64 = 0x7065_726d_0000_0000;

/// How [`permutation_importance`] shuffles.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `repeats` | 5 | 1 to 1000 | shuffles of each column |
/// | `higher_is_better` | true | | whether the measure is a score (true) or an error (false) |
/// | `groups` | none | | columns that are shuffled together, such as the parts of one date; empty: each alone |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PermutationParams {
    /// Shuffles of each column.
    pub repeats: usize,
    /// Whether the measure is a score.
    pub higher_is_better: bool,
    /// Columns that are shuffled together.
    pub groups: Vec<Vec<usize>>,
}

impl Default for PermutationParams {
    fn default() -> Self {
        Self { repeats: 5, higher_is_better: true, groups: Vec::new() }
    }
}

impl PermutationParams {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let ok = (1..=1000).contains(&self.repeats);
        ParamCheck::new().require(ok, "repeats", self.repeats, "1 to 1000").finish()
    }
}

/// What shuffling one column, or columns together, costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnImportance {
    /// The columns.
    pub columns: Vec<usize>,
    /// Their names, joined by `, `.
    pub name: String,
    /// How much worse the measure became, on average; negative where the column misleads.
    pub mean: f64,
    /// The standard deviation over the repeats (0 for one).
    pub sd: f64,
    /// How much worse in each repeat.
    pub drops: Vec<f64>,
}

/// How much worse the model's answers become when a column is shuffled (Breiman 2001; Fisher, Rudin and Dominici 2019),
/// in the unit of the measure. Give data that the model has not seen, and note that of two columns that say the same each
/// may look needless; `groups` shuffles them together.
///
/// `measure(data, answers)` gets the data with the true target and weights, and the model's answers. Rows are shuffled
/// by the run's seed, the same for any number of threads. Fails on fewer than two rows, on a column that is not there, on
/// what the model or the measure refuses, and where the measure is not a number.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::explain::{PermutationParams, permutation_importance};
/// use tradewind_learn::{Dataset, Matrix, linear::Ols};
/// let x = Matrix::from_columns(&[[1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 2.0, 1.0, 1.0]]).unwrap();
/// let data = Dataset::new(x, vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![]).unwrap();
/// let model = Ols.fit(&Run::new(0), &data).unwrap();
/// let squares = |data: &Dataset, answers: &Matrix| {
///     Ok(data.y().iter().zip(answers.values()).map(|(y, p)| (y - p).powi(2)).sum::<f64>())
/// };
/// let params = PermutationParams { higher_is_better: false, ..PermutationParams::default() };
/// let found = permutation_importance(&Run::new(0), &model, &data, &squares, &params).unwrap();
/// assert!(found[0].mean > 1.0 && found[1].mean.abs() < 1e-9);
/// ```
pub fn permutation_importance(
    run: &Run,
    model: &dyn FittedLearner,
    data: &Dataset,
    measure: &(dyn Fn(&Dataset, &Matrix) -> Result<f64> + Sync),
    params: &PermutationParams,
) -> Result<Vec<ColumnImportance>> {
    params.check()?;
    let (n, p) = (data.n_rows(), data.x().n_cols());
    if n < 2 {
        return Err(Error::NotEnoughData { what: "permutation importance".into(), needed: 2, got: n });
    }
    let groups: Vec<Vec<usize>> = match params.groups.is_empty() {
        true => (0..p).map(|j| vec![j]).collect(),
        false => params.groups.clone(),
    };
    if let Some(j) = groups.iter().flatten().find(|j| **j >= p) {
        return Err(Error::Invalid(format!("there is no column {j} to shuffle; there are {p}")));
    }
    let measured = |answers: &Matrix| {
        let value = measure(data, answers)?;
        match value.is_finite() {
            true => Ok(value),
            false => {
                Err(Error::Invalid(format!("the measure is {value}; permutation importance needs a number")))
            }
        }
    };
    run.check()?;
    let base = measured(&model.predict(data.x())?)?;
    let sign = if params.higher_is_better { 1.0 } else { -1.0 };
    let repeats = params.repeats;
    run.progress().begin("permutation importance", (groups.len() * repeats) as u64);
    let drops = run.install(|| {
        (0..groups.len() * repeats)
            .into_par_iter()
            .map(|task| {
                run.check()?;
                let mut order: Vec<usize> = (0..n).collect();
                order.shuffle(&mut run.rng(STREAM + task as u64));
                let mut x = data.x().clone();
                for &j in &groups[task / repeats] {
                    for (i, &from) in order.iter().enumerate() {
                        x.row_mut(i)[j] = data.x().get(from, j);
                    }
                }
                let drop = sign * (base - measured(&model.predict(&x)?)?);
                run.progress().advance(1);
                Ok(drop)
            })
            .collect::<Result<Vec<f64>>>()
    });
    run.progress().end();
    let drops = drops?;
    Ok(groups
        .into_iter()
        .zip(drops.chunks_exact(repeats))
        .map(|(columns, drops)| {
            let mean = drops.iter().sum::<f64>() / repeats as f64;
            let squares: f64 = drops.iter().map(|d| (d - mean).powi(2)).sum();
            let sd = if repeats > 1 { (squares / (repeats - 1) as f64).sqrt() } else { 0.0 };
            let name = columns.iter().map(|j| data.names()[*j].as_str()).collect::<Vec<_>>().join(", ");
            ColumnImportance { columns, name, mean, sd, drops: drops.to_vec() }
        })
        .collect())
}
