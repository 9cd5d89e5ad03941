//! Contributions in sum over many rows, and in detail for one.

use crate::matrix::{Matrix, column_name};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result};

/// The contributions of all rows to one output, in sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputSummary {
    /// The constant: the score that is expected before any column is known.
    pub constant: f64,
    /// The columns, those that matter most first.
    pub columns: Vec<ColumnSummary>,
}

/// What one column contributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// The column.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// The mean size of its contribution, without sign.
    pub mean_abs: f64,
    /// The correlation of the column's value with its contribution, −1 to 1: positive where higher values raise the
    /// score. Absent where either does not vary. Says nothing for category codes.
    pub direction: Option<f64>,
    /// Value (absent where missing) and contribution of some rows, evenly picked, to be drawn.
    pub points: Vec<(Option<f64>, f64)>,
}

/// The contributions of one row to one output, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waterfall {
    /// Where it starts: the expected score.
    pub constant: f64,
    /// Where it ends: the row's raw score.
    pub score: f64,
    /// The steps, the largest first; the last one may stand for all columns that are left.
    pub steps: Vec<WaterfallStep>,
}

/// One step of a [`Waterfall`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaterfallStep {
    /// The column; absent for the sum of those that are left.
    pub column: Option<usize>,
    /// Its name; empty for the sum of those that are left.
    pub name: String,
    /// Its value in this row; absent where missing.
    pub value: Option<f64>,
    /// How many columns the step stands for.
    pub n_columns: usize,
    /// What it adds.
    pub part: f64,
    /// The score before.
    pub from: f64,
    /// The score after.
    pub to: f64,
}

/// Sums up [`contributions`](crate::FittedLearner::contributions) of the rows of `x`; `points` rows are kept to be drawn.
/// Fails where the two do not belong together.
///
/// ```
/// use tradewind_learn::Matrix;
/// use tradewind_learn::explain::summary;
/// let x = Matrix::from_rows(&[[0.0, 7.0], [1.0, 8.0]]).unwrap();
/// let parts = Matrix::from_rows(&[[-2.0, 0.5, 10.0], [2.0, 0.0, 10.0]]).unwrap();
/// let found = &summary(&x, &parts, &["price".into(), "stock".into()], 100).unwrap()[0];
/// assert_eq!((found.columns[0].name.as_str(), found.columns[0].mean_abs), ("price", 2.0));
/// assert!(found.columns[0].direction.is_some_and(|d| d > 0.999));
/// ```
pub fn summary(x: &Matrix, parts: &Matrix, names: &[String], points: usize) -> Result<Vec<OutputSummary>> {
    let n_outputs = outputs(x, parts)?;
    let (n, p) = (x.n_rows(), x.n_cols());
    let kept: Vec<usize> = (0..points.min(n)).map(|i| i * n / points.min(n)).collect();
    let of_output = |output: usize| {
        let at = |i: usize, j: usize| parts.get(i, output * (p + 1) + j);
        let mut columns: Vec<ColumnSummary> = (0..p)
            .map(|j| {
                let mean_abs = (0..n).map(|i| at(i, j).abs()).sum::<f64>() / n.max(1) as f64;
                let direction = correlation((0..n).map(|i| (x.get(i, j), at(i, j))));
                let present = |v: f64| (!v.is_nan()).then_some(v);
                let points = kept.iter().map(|&i| (present(x.get(i, j)), at(i, j))).collect();
                ColumnSummary { column: j, name: column_name(names, j), mean_abs, direction, points }
            })
            .collect();
        columns.sort_by(|a, b| b.mean_abs.total_cmp(&a.mean_abs));
        OutputSummary { constant: if n > 0 { at(0, p) } else { 0.0 }, columns }
    };
    Ok((0..n_outputs).map(of_output).collect())
}

/// The way from the expected score to the score of row `row`, in at most `steps` steps; the smallest contributions are
/// taken together in the last one.
///
/// ```
/// use tradewind_learn::Matrix;
/// use tradewind_learn::explain::waterfall;
/// let x = Matrix::from_rows(&[[0.0, 7.0, 3.0]]).unwrap();
/// let parts = Matrix::from_rows(&[[-0.5, 2.0, 0.25, 10.0]]).unwrap();
/// let names = ["price".to_owned(), "stock".to_owned(), "age".to_owned()];
/// let way = waterfall(&x, &parts, &names, 0, 0, 2).unwrap();
/// assert_eq!((way.constant, way.score), (10.0, 11.75));
/// assert_eq!((way.steps[0].name.as_str(), way.steps[0].to), ("stock", 12.0));
/// assert_eq!((way.steps[1].n_columns, way.steps[1].part), (2, -0.25));
/// ```
pub fn waterfall(
    x: &Matrix,
    parts: &Matrix,
    names: &[String],
    row: usize,
    output: usize,
    steps: usize,
) -> Result<Waterfall> {
    let n_outputs = outputs(x, parts)?;
    if row >= x.n_rows() || output >= n_outputs {
        return Err(Error::Invalid(format!(
            "there is no row {row} and output {output}; there are {} rows and {n_outputs} outputs",
            x.n_rows()
        )));
    }
    let p = x.n_cols();
    let parts = &parts.row(row)[output * (p + 1)..(output + 1) * (p + 1)];
    let mut order: Vec<usize> = (0..p).collect();
    order.sort_by(|a, b| parts[*b].abs().total_cmp(&parts[*a].abs()));
    let alone = if p <= steps { p } else { steps.saturating_sub(1) };
    let mut score = parts[p];
    let mut step = |column: Option<usize>, n_columns: usize, part: f64| {
        let from = score;
        score += part;
        let value = column.map(|j| x.get(row, j)).filter(|v| !v.is_nan());
        let name = column.map_or(String::new(), |j| column_name(names, j));
        WaterfallStep { column, name, value, n_columns, part, from, to: score }
    };
    let mut way: Vec<WaterfallStep> = order[..alone].iter().map(|&j| step(Some(j), 1, parts[j])).collect();
    if alone < p {
        way.push(step(None, p - alone, order[alone..].iter().map(|&j| parts[j]).sum()));
    }
    Ok(Waterfall { constant: parts[p], score, steps: way })
}

/// How many outputs the contributions are for.
fn outputs(x: &Matrix, parts: &Matrix) -> Result<usize> {
    let width = x.n_cols() + 1;
    if parts.n_rows() != x.n_rows() || !parts.n_cols().is_multiple_of(width) {
        return Err(Error::Invalid(format!(
            "contributions of {} rows and {} columns do not belong to {} rows of {} columns",
            parts.n_rows(),
            parts.n_cols(),
            x.n_rows(),
            x.n_cols()
        )));
    }
    Ok(parts.n_cols() / width)
}

/// Pearson's correlation over the pairs whose first number is present.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let pairs = pairs.filter(|(a, _)| !a.is_nan());
    let n = pairs.clone().count() as f64;
    let (sum_a, sum_b) = pairs.clone().fold((0.0, 0.0), |(sa, sb), (a, b)| (sa + a, sb + b));
    let (mean_a, mean_b) = (sum_a / n, sum_b / n);
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (a - mean_a, b - mean_b);
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    let r = ab / (aa.sqrt() * bb.sqrt());
    // Without spread, or with one that is rounding, there is no direction.
    let varies = aa.sqrt() > 1e-12 * mean_a.abs() * n.sqrt() && bb.sqrt() > 1e-12 * mean_b.abs() * n.sqrt();
    (r.is_finite() && varies).then(|| r.clamp(-1.0, 1.0))
}
