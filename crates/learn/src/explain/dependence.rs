//! Partial dependence and individual conditional expectation.

use crate::learner::FittedLearner;
use crate::matrix::{ColumnKind, Dataset, Matrix};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The stream of random numbers that draws rows.
const STREAM: u64 = 0x6465_7065_6e64;

/// How [`dependence`] looks at a column.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `points` | 30 | 2 to 1000 | values of the grid, at most; of categories, the most frequent ones |
/// | `low`, `high` | 0.01, 0.99 | 0 to 1 | quantiles between which the grid lies |
/// | `rows` | 1000 | 1 to 1,000,000 | rows over which the mean is taken, drawn when there are more |
/// | `individuals` | 50 | 0 to 10,000 | rows whose own lines are kept |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DependenceParams {
    /// Values of the grid, at most.
    pub points: usize,
    /// Where the grid begins.
    pub low: f64,
    /// Where the grid ends.
    pub high: f64,
    /// Rows over which the mean is taken.
    pub rows: usize,
    /// Rows whose own lines are kept.
    pub individuals: usize,
}

impl Default for DependenceParams {
    fn default() -> Self {
        Self { points: 30, low: 0.01, high: 0.99, rows: 1000, individuals: 50 }
    }
}

impl DependenceParams {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((2..=1000).contains(&self.points), "points", self.points, "2 to 1000")
            .require((0.0..1.0).contains(&self.low), "low", self.low, "0 to below `high`")
            .require(self.high > self.low && self.high <= 1.0, "high", self.high, "above `low` to 1")
            .require((1..=1_000_000).contains(&self.rows), "rows", self.rows, "1 to 1000000")
            .require(self.individuals <= 10_000, "individuals", self.individuals, "0 to 10000")
            .finish()
    }
}

/// How the answer moves with one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependence {
    /// The column.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// What its numbers are.
    pub kind: ColumnKind,
    /// The values put in, ascending.
    pub grid: Vec<f64>,
    /// How much of the (weighted) data lies in each value's share: between the middles to its neighbours; of categories,
    /// that very code.
    pub share: Vec<f64>,
    /// For each column of the answer, its mean at each value of the grid.
    pub mean: Vec<Vec<f64>>,
    /// For each column of the answer and some rows, that row's answer at each value of the grid.
    pub individual: Vec<Vec<Vec<f64>>>,
}

/// Puts each value of a grid into the column, in all rows, and asks the model: the mean answer is the partial dependence
/// (Friedman 2001), the single rows' answers are their individual conditional expectation (Goldstein et al. 2015).
///
/// The grid holds quantiles of the column (all its values when they are few), or its most frequent category codes. Means
/// are weighted as the data. Fails on a column that is not there or that is missing in every row.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::explain::{DependenceParams, dependence};
/// use tradewind_learn::{Dataset, Matrix, linear::Ols};
/// let x = Matrix::from_columns(&[[1.0, 2.0, 3.0, 4.0], [5.0, 1.0, 0.0, 1.0]]).unwrap();
/// let data = Dataset::new(x, vec![2.0, 4.0, 6.0, 8.0], vec!["price".into(), "stock".into()]).unwrap();
/// let model = Ols.fit(&Run::new(0), &data).unwrap();
/// let d = dependence(&Run::new(0), &model, &data, 0, &DependenceParams::default()).unwrap();
/// assert_eq!(d.grid, [1.0, 2.0, 3.0, 4.0]);
/// assert!((d.mean[0][3] - d.mean[0][0] - 6.0).abs() < 1e-9);
/// ```
pub fn dependence(
    run: &Run,
    model: &dyn FittedLearner,
    data: &Dataset,
    column: usize,
    params: &DependenceParams,
) -> Result<Dependence> {
    params.check()?;
    let (n, p) = (data.n_rows(), data.x().n_cols());
    if column >= p {
        return Err(Error::Invalid(format!("there is no column {column}; there are {p}")));
    }
    let (name, kind) = (data.names()[column].clone(), data.kinds()[column]);
    let weight = |i: usize| data.weight().map_or(1.0, |w| w[i]);
    let mut values: Vec<(f64, f64)> = (0..n)
        .map(|i| (data.x().get(i, column), weight(i)))
        .filter(|(v, w)| !v.is_nan() && *w > 0.0)
        .collect();
    if values.is_empty() {
        return Err(Error::Invalid(format!(
            "column `{name}` is missing in every row; there is nothing to vary"
        )));
    }
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Each different value with its weight.
    let mut distinct: Vec<(f64, f64)> = Vec::new();
    for &(v, w) in &values {
        match distinct.last_mut() {
            Some(last) if last.0 == v => last.1 += w,
            _ => distinct.push((v, w)),
        }
    }
    let total: f64 = distinct.iter().map(|d| d.1).sum();
    let grid = match kind {
        ColumnKind::Category => most_frequent(&distinct, params.points),
        ColumnKind::Number => quantiles(&distinct, total, params),
    };
    let mut share = vec![0.0; grid.len()];
    for &(v, w) in &distinct {
        let above = grid.partition_point(|g| *g < v);
        let at = match kind {
            ColumnKind::Category if grid.get(above) == Some(&v) => above,
            ColumnKind::Category => continue,
            ColumnKind::Number if above == grid.len() => above - 1,
            ColumnKind::Number if above > 0 && v - grid[above - 1] < grid[above] - v => above - 1,
            ColumnKind::Number => above,
        };
        share[at] += w / total;
    }
    // The rows, drawn by the seed and then in their order.
    let mut rows: Vec<usize> = (0..n).filter(|i| weight(*i) > 0.0).collect();
    rows.shuffle(&mut run.rng(STREAM));
    rows.truncate(params.rows);
    let n_lines = params.individuals.min(rows.len());
    let mut lines = rows[..n_lines].to_vec();
    lines.sort_unstable();
    rows.sort_unstable();
    let x = data.x().select_rows(&rows);
    let weights: Vec<f64> = rows.iter().map(|i| weight(*i)).collect();
    let weight_sum: f64 = weights.iter().sum();
    let line_at: Vec<usize> = lines.iter().map(|i| rows.partition_point(|r| r < i)).collect();
    run.progress().begin("dependence", grid.len() as u64);
    let answers = run.install(|| {
        grid.par_iter()
            .map(|&v| {
                run.check()?;
                let mut changed = x.clone();
                (0..changed.n_rows()).for_each(|i| changed.row_mut(i)[column] = v);
                let answers = model.predict(&changed)?;
                run.progress().advance(1);
                Ok(at_one_value(&answers, &weights, weight_sum, &line_at))
            })
            .collect::<Result<Vec<_>>>()
    });
    run.progress().end();
    let answers = answers?;
    let width = answers.first().map_or(0, |a| a.0.len());
    let mean = (0..width).map(|o| answers.iter().map(|a| a.0[o]).collect()).collect();
    let individual = (0..width)
        .map(|o| (0..n_lines).map(|l| answers.iter().map(|a| a.1[l * width + o]).collect()).collect())
        .collect();
    Ok(Dependence { column, name, kind, grid, share, mean, individual })
}

/// The mean of each column of the answers, and the answers of the rows that are kept.
fn at_one_value(answers: &Matrix, weights: &[f64], total: f64, kept: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let mut mean = vec![0.0; answers.n_cols()];
    for (row, w) in answers.rows().zip(weights) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += w * v);
    }
    mean.iter_mut().for_each(|m| *m /= total);
    (mean, kept.iter().flat_map(|&i| answers.row(i).to_vec()).collect())
}

fn most_frequent(distinct: &[(f64, f64)], points: usize) -> Vec<f64> {
    let mut by_weight = distinct.to_vec();
    by_weight.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
    by_weight.truncate(points);
    let mut codes: Vec<f64> = by_weight.into_iter().map(|d| d.0).collect();
    codes.sort_by(f64::total_cmp);
    codes
}

/// Values at evenly spaced shares of the weight, each once.
fn quantiles(distinct: &[(f64, f64)], total: f64, params: &DependenceParams) -> Vec<f64> {
    if distinct.len() <= params.points {
        return distinct.iter().map(|d| d.0).collect();
    }
    let mut grid: Vec<f64> = Vec::with_capacity(params.points);
    let (mut at, mut below) = (0, 0.0);
    for i in 0..params.points {
        let share = params.low + (params.high - params.low) * i as f64 / (params.points - 1) as f64;
        while at + 1 < distinct.len() && below + distinct[at].1 < share * total {
            below += distinct[at].1;
            at += 1;
        }
        if grid.last() != Some(&distinct[at].0) {
            grid.push(distinct[at].0);
        }
    }
    grid
}
