//! Scaling as fitted, invertible transforms that travel with the model.
//!
//! Each sees the training rows in `fit` and nothing else; test rows go through `transform`. All are monotone and
//! one-to-one, so `inverse` gives the value back (up to rounding).
//!
//! | transform | value | inverse |
//! |---|---|---|
//! | [`Transform::MinMax`] | `(x − min) / (max − min)` | `z · (max − min) + min` |
//! | [`Transform::Standard`] | `(x − mean) / sd` (sd over n, as scikit-learn) | `z · sd + mean` |
//! | [`Transform::Robust`] | `(x − median) / (q75 − q25)` | `z · iqr + median` |
//! | [`Transform::Log1p`] | `ln(1 + x)`, for `x > −1` | `e^z − 1` |
//!
//! A column without spread (constant, or a zero interquartile range) is only shifted.

use crate::matrix::{Matrix, check_finite, column_name};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result};

/// Which transform to fit. The table stands at the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// To 0 … 1 over the training rows.
    MinMax,
    /// The z-score.
    Standard,
    /// By median and interquartile range; outliers do not move it.
    Robust,
    /// The logarithm of one plus the value; for counts and amounts.
    Log1p,
}

/// A transform that has seen its training values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FittedTransform {
    /// `(x − shift) / scale`; the scale is positive.
    Affine {
        /// What is subtracted.
        shift: f64,
        /// What is divided by.
        scale: f64,
    },
    /// `ln(1 + x)`.
    Log1p,
}

impl Transform {
    /// Learns from the training values. Fails on none, on NaN or infinite ones, and for [`Transform::Log1p`] on
    /// values of −1 or less.
    ///
    /// ```
    /// use tradewind_learn::transform::Transform;
    /// let scale = Transform::MinMax.fit(&[10.0, 20.0, 30.0]).unwrap();
    /// assert_eq!(scale.transform(25.0).unwrap(), 0.75);
    /// assert_eq!(scale.inverse(0.75), 25.0);
    /// ```
    pub fn fit(self, values: &[f64]) -> Result<FittedTransform> {
        if values.is_empty() {
            return Err(Error::NotEnoughData { what: format!("{self:?} transform"), needed: 1, got: 0 });
        }
        check_finite("the column", values)?;
        let affine = |shift: f64, scale: f64| {
            if !(shift.is_finite() && scale.is_finite()) {
                return Err(Error::Invalid("the column's values are too large to be scaled".into()));
            }
            Ok(FittedTransform::Affine { shift, scale: if scale > 0.0 { scale } else { 1.0 } })
        };
        match self {
            Self::MinMax => {
                let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
                affine(low, high - low)
            }
            Self::Standard => {
                let (mean, sd) = mean_sd(values);
                affine(mean, sd)
            }
            Self::Robust => {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                affine(
                    quantile_sorted(&sorted, 0.5),
                    quantile_sorted(&sorted, 0.75) - quantile_sorted(&sorted, 0.25),
                )
            }
            Self::Log1p => match values.iter().position(|v| *v <= -1.0) {
                Some(i) => Err(too_small(values[i])),
                None => Ok(FittedTransform::Log1p),
            },
        }
    }
}

impl FittedTransform {
    /// The value on the new scale; NaN stays NaN. Fails where the logarithm does not exist.
    pub fn transform(&self, x: f64) -> Result<f64> {
        match *self {
            Self::Affine { shift, scale } => Ok((x - shift) / scale),
            Self::Log1p if x <= -1.0 => Err(too_small(x)),
            Self::Log1p => Ok(x.ln_1p()),
        }
    }

    /// The value on the old scale.
    pub fn inverse(&self, z: f64) -> f64 {
        match *self {
            Self::Affine { shift, scale } => z * scale + shift,
            Self::Log1p => z.exp_m1(),
        }
    }
}

fn too_small(x: f64) -> Error {
    Error::Invalid(format!(
        "log1p needs values above -1, got {x}; net or clip returns first, or use another scale"
    ))
}

/// Which transforms each column goes through, in order. Columns not named stay as they are.
///
/// ```
/// use tradewind_learn::{Matrix, transform::{Columns, Transform}};
/// let train = Matrix::from_columns(&[[0.0, 9.0, 99.0], [1.0, 2.0, 3.0]]).unwrap();
/// let columns = Columns::default().with(0, &[Transform::Log1p, Transform::Standard]);
/// let fitted = columns.fit(&train).unwrap();
/// let scaled = fitted.transform(&train).unwrap();
/// assert_eq!(scaled.column(1), vec![1.0, 2.0, 3.0]);
/// assert!((fitted.inverse(&scaled).unwrap().get(1, 0) - 9.0).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Column number and its steps. A column named twice goes through both lists, in order.
    pub steps: Vec<(usize, Vec<Transform>)>,
}

impl Columns {
    /// Every one of `n_cols` columns through the same steps.
    pub fn all(n_cols: usize, steps: &[Transform]) -> Self {
        Self { steps: (0..n_cols).map(|j| (j, steps.to_vec())).collect() }
    }

    /// With column `j` through `steps`.
    pub fn with(mut self, j: usize, steps: &[Transform]) -> Self {
        self.steps.push((j, steps.to_vec()));
        self
    }

    /// Learns every step from the training rows; each step sees what the step before it gives.
    pub fn fit(&self, train: &Matrix) -> Result<FittedColumns> {
        let mut chains = vec![Vec::new(); train.n_cols()];
        for (j, steps) in &self.steps {
            let Some(chain) = chains.get_mut(*j) else {
                return Err(Error::Invalid(format!(
                    "there is no column {j}: the matrix has {}",
                    train.n_cols()
                )));
            };
            let mut values = train.column(*j);
            let named = |e| in_column(e, *j);
            for step in chain.iter() {
                apply(step, &mut values).map_err(named)?;
            }
            for step in steps {
                let fitted = step.fit(&values).map_err(named)?;
                apply(&fitted, &mut values).map_err(named)?;
                chain.push(fitted);
            }
        }
        Ok(FittedColumns { chains })
    }
}

fn apply(step: &FittedTransform, values: &mut [f64]) -> Result<()> {
    for v in values {
        *v = step.transform(*v)?;
    }
    Ok(())
}

fn in_column(e: Error, j: usize) -> Error {
    match e {
        Error::Invalid(text) => Error::Invalid(format!("column {}: {text}", column_name(&[], j))),
        other => other,
    }
}

/// [`Columns`] that have seen the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedColumns {
    chains: Vec<Vec<FittedTransform>>,
}

impl FittedColumns {
    /// The matrix on the new scales.
    pub fn transform(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.chains.len(), "the transform")?;
        let mut out = x.clone();
        for i in 0..out.n_rows() {
            for (j, (v, chain)) in out.row_mut(i).iter_mut().zip(&self.chains).enumerate() {
                for step in chain {
                    *v = step.transform(*v).map_err(|e| in_column(e, j))?;
                }
            }
        }
        Ok(out)
    }

    /// The matrix on the old scales.
    pub fn inverse(&self, z: &Matrix) -> Result<Matrix> {
        z.check_width(self.chains.len(), "the transform")?;
        let mut out = z.clone();
        for i in 0..out.n_rows() {
            for (v, chain) in out.row_mut(i).iter_mut().zip(&self.chains) {
                *v = chain.iter().rev().fold(*v, |z, step| step.inverse(z));
            }
        }
        Ok(out)
    }

    /// The steps of column `j`.
    pub fn steps(&self, j: usize) -> &[FittedTransform] {
        self.chains.get(j).map_or(&[], Vec::as_slice)
    }
}

/// Mean and standard deviation over n, in two passes; a spread that is only rounding counts as none.
pub(crate) fn mean_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let var = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    let sd = var.sqrt();
    (mean, if sd > 1e-13 * mean.abs() { sd } else { 0.0 })
}

/// The quantile at `level` of sorted values, linear between neighbours (type 7, as numpy).
pub(crate) fn quantile_sorted(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = level.clamp(0.0, 1.0) * last as f64;
    let low = at.floor() as usize;
    let part = at - low as f64;
    if part == 0.0 { sorted[low] } else { sorted[low] + part * (sorted[(low + 1).min(last)] - sorted[low]) }
}
