//! Natural cubic regression splines: smooth curves of a feature for linear models.
//!
//! Each column `x` with knots `ξ₁ < … < ξ_K` becomes `K − 1` columns: `x` itself and
//! `d_k(x) − d_{K−1}(x)` for `k = 1 … K − 2`, where `d_k(x) = ((x − ξ_k)₊³ − (x − ξ_K)₊³) / (ξ_K − ξ_k)`
//! (Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*, 2nd ed., 5.2.1, equations 5.4 and 5.5).
//! The curve is linear beyond the outer knots, so that an unseen extreme is extended and not exploded. Each basis
//! column is then standardised by its training mean and deviation, which keeps penalties fair and sums well scaled.
//!
//! Knots lie at quantiles of the training values, the outer ones at 10 % and 90 % for three knots, 5 % and 95 % for
//! four to six, 2.5 % and 97.5 % from seven on (Harrell, *Regression Modeling Strategies*, 2.4.6), the others evenly
//! between. Equal quantiles of a discrete column fall together; if fewer than three remain, quantiles of the distinct
//! values are taken. A column with fewer than three distinct knots stays linear.

use crate::matrix::{Matrix, column_name};
use crate::transform::{mean_sd, quantile_sorted};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// Parameters of the basis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplineParams {
    /// Knots per column, 2 to 50 (default 5); 2 means linear.
    pub n_knots: usize,
}

impl Default for SplineParams {
    fn default() -> Self {
        Self { n_knots: 5 }
    }
}

impl SplineParams {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((2..=50).contains(&self.n_knots), "n_knots", self.n_knots, "2 to 50")
            .finish()
    }
}

/// Makes a [`FittedSpline`] out of training rows.
#[derive(Clone, Copy, Debug)]
pub struct SplineBasis;

impl SplineBasis {
    /// Places the knots of every column by the training rows. Fails on no rows and on NaN or infinite values.
    ///
    /// ```
    /// use tradewind_learn::{Matrix, spline::{SplineBasis, SplineParams}};
    /// let column: Vec<f64> = (0..100).map(f64::from).collect();
    /// let train = Matrix::from_columns(&[column]).unwrap();
    /// let spline = SplineBasis::fit(&train, &SplineParams { n_knots: 5 }).unwrap();
    /// let basis = spline.transform(&train).unwrap();
    /// assert_eq!(basis.n_cols(), 4);
    /// assert_eq!(spline.source(), [0, 0, 0, 0]);
    /// ```
    pub fn fit(train: &Matrix, params: &SplineParams) -> Result<FittedSpline> {
        params.check()?;
        if train.n_rows() == 0 {
            return Err(Error::NotEnoughData { what: "spline basis".into(), needed: 1, got: 0 });
        }
        train.check_finite(&[])?;
        let mut columns = Vec::with_capacity(train.n_cols());
        let mut source = Vec::new();
        for j in 0..train.n_cols() {
            let values = train.column(j);
            let column = ColumnSpline::fit(&values, params.n_knots);
            source.extend(std::iter::repeat_n(j, column.width()));
            columns.push(column);
        }
        Ok(FittedSpline { columns, source })
    }
}

/// A basis with its knots placed and its scales learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedSpline {
    columns: Vec<ColumnSpline>,
    source: Vec<usize>,
}

impl FittedSpline {
    /// The basis columns of every row, those of one original column side by side, the linear one first.
    pub fn transform(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.columns.len(), "the spline basis")?;
        x.check_finite(&[])?;
        let mut out = Matrix::zeros(x.n_rows(), self.source.len());
        for i in 0..x.n_rows() {
            let mut at = 0;
            for (column, &v) in self.columns.iter().zip(x.row(i)) {
                let to = at + column.width();
                column.write(v, &mut out.row_mut(i)[at..to]);
                at = to;
            }
        }
        Ok(out)
    }

    /// For each basis column the original column it comes from; for attribution.
    pub fn source(&self) -> &[usize] {
        &self.source
    }

    /// The knots of original column `j`; fewer than three where the column stays linear.
    pub fn knots(&self, j: usize) -> &[f64] {
        self.columns.get(j).map_or(&[], |c| &c.knots)
    }

    /// Columns of the basis.
    pub fn n_cols(&self) -> usize {
        self.source.len()
    }

    /// Names of the basis columns: `price`, `price~1`, `price~2`, …
    pub fn names(&self, names: &[String]) -> Vec<String> {
        let mut out = Vec::with_capacity(self.source.len());
        for (j, column) in self.columns.iter().enumerate() {
            let name = column_name(names, j);
            out.extend(
                (0..column.width()).map(|b| if b == 0 { name.clone() } else { format!("{name}~{b}") }),
            );
        }
        out
    }

    /// Sums per original column what was attributed to the basis columns (as a row of contributions is).
    pub fn by_source(&self, contributions: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.columns.len()];
        for (&j, &c) in self.source.iter().zip(contributions) {
            sums[j] += c;
        }
        sums
    }
}

/// The spline of one column. Values are first brought to units of the outer knots' distance, so that cubes neither
/// overflow nor vanish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ColumnSpline {
    knots: Vec<f64>,
    shift: f64,
    scale: f64,
    means: Vec<f64>,
    sds: Vec<f64>,
}

impl ColumnSpline {
    fn fit(values: &[f64], n_knots: usize) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut knots = place(&sorted, n_knots);
        if knots.len() < n_knots.min(3) {
            // Most of the mass lies on one value: the quantiles of the distinct values still see the tail.
            sorted.dedup();
            knots = place(&sorted, n_knots);
        }
        if knots.len() < 3 {
            knots.clear();
        }
        let (shift, scale) = match (knots.first(), knots.last()) {
            (Some(low), Some(high)) => (*low, high - low),
            // The ends are halved first: their difference may lie beyond what a number can hold.
            _ => {
                let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
                let half = high / 2.0 - low / 2.0;
                (low, if half > 0.0 { (2.0 * half).min(f64::MAX) } else { 1.0 })
            }
        };
        let mut column = Self { knots, shift, scale, means: Vec::new(), sds: Vec::new() };
        let width = column.width();
        column.means = vec![0.0; width];
        column.sds = vec![1.0; width];
        let mut basis = vec![vec![0.0; values.len()]; width];
        let mut one = vec![0.0; width];
        for (i, &v) in values.iter().enumerate() {
            column.write(v, &mut one);
            for (b, &z) in basis.iter_mut().zip(&one) {
                b[i] = z;
            }
        }
        for (b, column_values) in basis.iter().enumerate() {
            let (mean, sd) = mean_sd(column_values);
            column.means[b] = mean;
            column.sds[b] = if sd > 0.0 { sd } else { 1.0 };
        }
        column
    }

    fn width(&self) -> usize {
        self.knots.len().saturating_sub(2) + 1
    }

    fn write(&self, x: f64, out: &mut [f64]) {
        // Dividing each part keeps the difference finite for values of opposite sign at the edge of the range.
        let z = x / self.scale - self.shift / self.scale;
        out[0] = z;
        if let Some(last) = self.knots.len().checked_sub(1) {
            let knot = |k: usize| (self.knots[k] - self.shift) / self.scale;
            let d_before = natural(z, knot(last - 1));
            for k in 0..last - 1 {
                out[k + 1] = natural(z, knot(k)) - d_before;
            }
        }
        for ((o, mean), sd) in out.iter_mut().zip(&self.means).zip(&self.sds) {
            *o = (*o - mean) / sd;
        }
    }
}

/// `d_k` for the last knot at 1. Beyond it the two cubes cancel to a straight line plus what all `d_k` share:
/// `d_k(z) = c + 3(z−1)² + …`; the shared quadratic and cubic are left out, since only differences of `d` are used.
/// What stays is `(1−ξ)² + 3(1−ξ)(z−1)`, exactly linear and without cancellation.
fn natural(z: f64, knot: f64) -> f64 {
    let h = 1.0 - knot;
    if z <= knot {
        0.0
    } else if z <= 1.0 {
        let u = z - knot;
        u * u * u / h
    } else {
        h * h + 3.0 * h * (z - 1.0)
    }
}

/// Distinct quantiles of sorted values.
fn place(sorted: &[f64], n_knots: usize) -> Vec<f64> {
    let outer = match n_knots {
        0..=3 => 0.10,
        4..=6 => 0.05,
        _ => 0.025,
    };
    let gaps = n_knots.saturating_sub(1).max(1) as f64;
    let mut knots: Vec<f64> = (0..n_knots)
        .map(|k| quantile_sorted(sorted, outer + (1.0 - 2.0 * outer) * k as f64 / gaps))
        .collect();
    // Knots nearer than a millionth of their span are one knot; between them the basis would be all rounding.
    let span = knots.last().zip(knots.first()).map_or(0.0, |(high, low)| high - low);
    if !span.is_finite() {
        return Vec::new();
    }
    knots.dedup_by(|next, kept| *next - *kept <= 1e-6 * span);
    knots
}
