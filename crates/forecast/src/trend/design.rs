//! From features to the columns of a linear model: splines, marks of what is missing, scales.

use super::features::{N, Origin, Row, SPECS, Scope, Shape};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{DriverKind, Result};
use tradewind_learn::Matrix;
use tradewind_learn::spline::{FittedSpline, SplineBasis, SplineParams};

/// What many series share is penalised so many times more than what is a series' own.
const SHARED_PENALTY: f64 = 30.0;

/// Rows of a chunk that is transformed at once.
const CHUNK: usize = 4_096;

/// One input of the design: a feature with its bounds and what stands in for it when it is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Input {
    feature: usize,
    low: f64,
    high: f64,
    stand_in: f64,
}

/// The columns of the model, learnt from training rows: an intercept, splines, plain columns, marks of missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Design {
    curved: Vec<Input>,
    straight: Vec<Input>,
    curves: FittedSpline,
    lines: FittedSpline,
    /// Inputs whose absence has a column: feature, mean of the mark, its deviation.
    marks: Vec<(usize, f64, f64)>,
    /// For each column the feature it belongs to; `N` for the intercept.
    feature: Vec<usize>,
    is_mark: Vec<bool>,
    /// What contributions are measured from, column by column.
    reference: Vec<f64>,
}

impl Design {
    /// Learns knots, scales and stand-ins. `young` takes the features that products just launched have.
    pub(crate) fn fit(rows: &[&Row], young: bool, n_knots: usize) -> Result<Self> {
        let n = rows.len().max(1) as f64;
        let (mut curved, mut straight, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for (j, spec) in SPECS.iter().enumerate() {
            if spec.shape == Shape::Split || young && !spec.young {
                continue;
            }
            let mut values: Vec<f64> = rows.iter().map(|r| r[j]).filter(|v| !v.is_nan()).collect();
            let missing = 1.0 - values.len() as f64 / n;
            // What hardly any case has cannot be learnt.
            if values.is_empty() || missing > 0.98 {
                continue;
            }
            values.sort_by(f64::total_cmp);
            let q = |p: f64| values[((values.len() - 1) as f64 * p).round() as usize];
            // Own features are held inside what training saw but for a hundredth; shared ones inside all of it.
            let (low, high) = if spec.shape == Shape::Spline { (q(0.01), q(0.99)) } else { (q(0.0), q(1.0)) };
            if missing > 0.002 {
                marks.push((j, missing, (missing * (1.0 - missing)).sqrt()));
            }
            if high - low < 1e-9 {
                continue;
            }
            let stand_in = if spec.origin == Origin::Zero { 0.0 } else { q(0.5) };
            let input = Input { feature: j, low, high, stand_in };
            if spec.shape == Shape::Spline { curved.push(input) } else { straight.push(input) }
        }
        // Marks that always come together are one mark.
        let mut seen: Vec<Vec<u32>> = Vec::new();
        marks.retain(|(j, ..)| {
            let at: Vec<u32> = (0..rows.len() as u32).filter(|i| rows[*i as usize][*j].is_nan()).collect();
            let new = !seen.contains(&at);
            if new {
                seen.push(at);
            }
            new
        });
        let basis = |inputs: &[Input], n_knots: usize| {
            SplineBasis::fit(&gather(inputs, rows)?, &SplineParams { n_knots })
        };
        let curves = basis(&curved, n_knots)?;
        let lines = basis(&straight, 2)?;
        let mut feature = vec![N];
        feature.extend(curves.source().iter().map(|s| curved[*s].feature));
        feature.extend(lines.source().iter().map(|s| straight[*s].feature));
        let mut is_mark = vec![false; feature.len()];
        feature.extend(marks.iter().map(|m| m.0));
        is_mark.resize(feature.len(), true);
        let mut design =
            Self { curved, straight, curves, lines, marks, feature, is_mark, reference: Vec::new() };
        // Standardised columns have the mean zero; those of changes are measured from no change.
        let zero = design.transform(&[&[0.0; N]])?;
        design.reference = design
            .feature
            .iter()
            .zip(&design.is_mark)
            .enumerate()
            .map(
                |(c, (f, mark))| {
                    if *f < N && !mark && SPECS[*f].origin == Origin::Zero { zero.row(0)[c] } else { 0.0 }
                },
            )
            .collect();
        Ok(design)
    }

    /// Columns, the intercept included.
    pub(crate) fn n_cols(&self) -> usize {
        self.feature.len()
    }

    /// The design of rows.
    pub(crate) fn transform(&self, rows: &[&Row]) -> Result<Matrix> {
        let p = self.n_cols();
        let parts: Vec<Vec<f64>> = rows
            .par_chunks(CHUNK)
            .map(|part| {
                let curves = self.curves.transform(&gather(&self.curved, part)?)?;
                let lines = self.lines.transform(&gather(&self.straight, part)?)?;
                let mut out = Vec::with_capacity(part.len() * p);
                for (i, row) in part.iter().enumerate() {
                    out.push(1.0);
                    out.extend_from_slice(curves.row(i));
                    out.extend_from_slice(lines.row(i));
                    out.extend(
                        self.marks.iter().map(|(j, m, sd)| (f64::from(u8::from(row[*j].is_nan())) - m) / sd),
                    );
                }
                Ok(out)
            })
            .collect::<Result<_>>()?;
        Matrix::new(rows.len(), p, parts.concat())
    }

    /// The penalty of each column for the penalty of an own feature; the intercept goes almost free.
    pub(crate) fn penalty(&self, own: f64) -> Vec<f64> {
        self.feature
            .iter()
            .map(|f| match SPECS.get(*f).map(|s| s.scope) {
                None => 1e-3,
                Some(Scope::Own) => own,
                Some(Scope::Group | Scope::Shop) => own * SHARED_PENALTY,
            })
            .collect()
    }

    /// What each feature adds to a linear score, measured from its reference: `weight[c] · (x[c] − reference[c])`, with
    /// the kind of cause it counts for.
    pub(crate) fn contributions<'a>(
        &'a self,
        row: &'a [f64],
        weight: impl Fn(usize) -> f64 + 'a,
    ) -> impl Iterator<Item = (usize, DriverKind, f64)> + 'a {
        (1..self.n_cols()).map(move |c| {
            let f = self.feature[c];
            // That something is missing tells of a short life.
            let kind = if self.is_mark[c] { DriverKind::LifeCycle } else { SPECS[f].kind };
            (f, kind, weight(c) * (row[c] - self.reference[c]))
        })
    }

    /// The design's row at which every contribution is zero.
    #[cfg(test)]
    pub(crate) fn reference(&self) -> Vec<f64> {
        let mut r = self.reference.clone();
        r[0] = 1.0;
        r
    }
}

fn gather(inputs: &[Input], rows: &[&Row]) -> Result<Matrix> {
    let mut values = Vec::with_capacity(rows.len() * inputs.len());
    for row in rows {
        values.extend(inputs.iter().map(|i| {
            let v = row[i.feature];
            if v.is_nan() { i.stand_in } else { v.clamp(i.low, i.high) }
        }));
    }
    Matrix::new(rows.len(), inputs.len(), values)
}
