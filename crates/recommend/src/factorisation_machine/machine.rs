//! The machine itself: weights and vectors of features, and learning from plain rows.

use crate::wide::{LANES, add_scaled, dot};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run, SparseRows};

/// Features with a weight and a vector each, and how far each has moved (AdaGrad, one sum a feature).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) width: usize,
    #[serde(with = "tradewind_core::packed")]
    pub(super) vectors: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    pub(super) weights: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    moved: Vec<f32>,
}

/// The longest step of a feature: a large one must not lead further away than vectors are long.
const STEP_MAX: f32 = 1.0;

/// How steps are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) learning_rate: f32,
    pub(super) regularization: f32,
}

impl Block {
    /// Small vectors by chance.
    pub(super) fn new(n: usize, width: usize, factors: usize, rng: &mut impl RngExt) -> Self {
        let mut out = Self { width, ..Self::default() };
        out.grow(n);
        let scale = 0.1 / (factors as f32).sqrt();
        for vector in out.vectors.chunks_exact_mut(width) {
            vector[..factors].iter_mut().for_each(|v| *v = scale * rng.random_range(-1.7_f32..1.7));
        }
        out
    }

    /// More features, all zero.
    pub(super) fn grow(&mut self, n: usize) {
        self.vectors.resize(n * self.width, 0.0);
        self.weights.resize(n, 0.0);
        self.moved.resize(n, 0.0);
    }

    /// Whether all weights and vectors are still numbers.
    pub(super) fn is_finite(&self) -> bool {
        self.vectors.iter().chain(&self.weights).all(|v| v.is_finite())
    }

    pub(super) fn fits(&self, n: usize, width: usize) -> bool {
        self.width == width && [self.weights.len(), self.moved.len(), self.vectors.len() / width] == [n; 3]
    }

    pub(super) fn vector(&self, f: usize) -> &[f32] {
        &self.vectors[f * self.width..(f + 1) * self.width]
    }

    /// One step of a feature down its slopes.
    pub(super) fn step(&mut self, f: usize, of_weight: f32, of_vector: &[f32], pace: Pace) {
        let length = of_weight * of_weight + dot(of_vector, of_vector);
        self.moved[f] += length / (self.width + 1) as f32;
        let stride = pace.learning_rate / (self.moved[f] + 1e-8).sqrt();
        let shorter = (STEP_MAX / (stride * length.sqrt()).max(STEP_MAX)) * stride;
        // The penalty is taken at the new place, so that no size of it throws a vector over the other side.
        let kept = 1.0 / (1.0 + stride * pace.regularization);
        self.weights[f] = (self.weights[f] - shorter * of_weight) * kept;
        let vector = &mut self.vectors[f * self.width..(f + 1) * self.width];
        for (v, slope) in vector.iter_mut().zip(of_vector) {
            *v = (*v - shorter * slope) * kept;
        }
    }
}

/// Σ x v of a row of features into `sum`; gives `Σ x w + ½ (|Σ x v|² − Σ x² |v|²)`.
pub(super) fn of_row(block: &Block, columns: &[u32], values: &[f32], sum: &mut [f32]) -> f32 {
    sum.fill(0.0);
    let (mut weights, mut squares) = (0.0, 0.0);
    for (f, x) in columns.iter().zip(values) {
        let vector = block.vector(*f as usize);
        add_scaled(sum, *x, vector);
        weights += x * block.weights[*f as usize];
        squares += x * x * dot(vector, vector);
    }
    weights + 0.5 * (dot(sum, sum) - squares)
}

/// A factorisation machine on plain rows, for 0 or 1 as answer: `p = 1 / (1 + e^−y)` with
/// `y = w₀ + Σ x_f w_f + Σ_{f<g} x_f x_g v_f·v_g`, learnt on the log loss by AdaGrad.
///
/// ```
/// use tradewind_core::{Run, SparseRows};
/// use tradewind_recommend::factorisation_machine::RowMachine;
/// // 1 where exactly one of the features 0 and 1 is there: no sum of weights could tell.
/// let rows = (0..400_u32).flat_map(|r| {
///     [(r, r % 2, 1.0), (r, 2 + r / 2 % 2, 1.0)]
/// });
/// let y: Vec<f32> = (0..400_u32).map(|r| if r % 2 == r / 2 % 2 { 1.0 } else { 0.0 }).collect();
/// let rows = SparseRows::from_entries(400, 4, rows.collect());
/// let fitted = RowMachine { epochs: 60, ..RowMachine::default() }.fit(&Run::new(1), &rows, &y).unwrap();
/// let p = fitted.predict(&rows).unwrap();
/// assert!(p.iter().zip(&y).all(|(p, y)| (p - y).abs() < 0.2));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowMachine {
    /// Numbers in each vector.
    pub factors: usize,
    /// Times all rows are gone through.
    pub epochs: usize,
    /// The size of steps.
    pub learning_rate: f64,
    /// How much weights and vectors are drawn to 0.
    pub regularization: f64,
}

impl Default for RowMachine {
    fn default() -> Self {
        Self { factors: 16, epochs: 15, learning_rate: 0.1, regularization: 0.003 }
    }
}

/// What [`RowMachine`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedRowMachine {
    bias: f32,
    features: Block,
}

impl RowMachine {
    /// Learns from rows of features and their answers, 0 or 1.
    pub fn fit(&self, run: &Run, rows: &SparseRows, y: &[f32]) -> Result<FittedRowMachine> {
        let mut check = ParamCheck::new();
        check.require((1..=2048).contains(&self.factors), "factors", self.factors, "1 to 2048");
        check.require((1..=10_000).contains(&self.epochs), "epochs", self.epochs, "1 to 10000");
        let rate = self.learning_rate;
        check.require((1e-6..=1.0).contains(&rate), "learning_rate", rate, "1e-6 to 1");
        let regularization = self.regularization;
        check.require((0.0..=1e3).contains(&regularization), "regularization", regularization, "0 to 1000");
        check.finish()?;
        let finite = (0..rows.n_rows()).all(|r| rows.row(r).1.iter().all(|v| v.is_finite()));
        if y.len() != rows.n_rows() || y.iter().any(|y| *y != 0.0 && *y != 1.0) || !finite {
            return Err(Error::Invalid(format!(
                "{} answers for {} rows; there must be one each, 0 or 1, and all features finite",
                y.len(),
                rows.n_rows()
            )));
        }
        let width = self.factors.div_ceil(LANES) * LANES;
        let mut rng = run.rng(31);
        let mut features = Block::new(rows.n_columns(), width, self.factors, &mut rng);
        let pace =
            Pace { learning_rate: self.learning_rate as f32, regularization: self.regularization as f32 };
        let share = y.iter().map(|y| f64::from(*y)).sum::<f64>() / y.len().max(1) as f64;
        let share = share.clamp(1e-6, 1.0 - 1e-6);
        let mut bias = (share / (1.0 - share)).ln() as f32;
        let mut bias_moved = 0.0_f32;
        let mut order: Vec<usize> = (0..rows.n_rows()).collect();
        let (mut sum, mut slope) = (vec![0.0; width], vec![0.0; width]);
        for _ in 0..self.epochs {
            order.shuffle(&mut rng);
            for (k, r) in order.iter().enumerate() {
                if k % 4096 == 0 {
                    run.check()?;
                }
                let (columns, values) = rows.row(*r);
                let score = bias + of_row(&features, columns, values, &mut sum);
                let wrong = sigmoid(score) - y[*r];
                bias_moved += wrong * wrong;
                bias -= pace.learning_rate * wrong / (bias_moved + 1e-8).sqrt();
                for (f, x) in columns.iter().zip(values) {
                    for (slope, (sum, v)) in slope.iter_mut().zip(sum.iter().zip(features.vector(*f as usize))) {
                        *slope = wrong * x * (sum - x * v);
                    }
                    features.step(*f as usize, wrong * x, &slope, pace);
                }
            }
        }
        // Steps that are too large lead away instead of near.
        if !features.is_finite() || !bias.is_finite() {
            return Err(Error::NotConverged {
                what: "factorisation machine (a smaller learning_rate may help)".into(),
                iterations: self.epochs,
            });
        }
        Ok(FittedRowMachine { bias, features })
    }
}

impl FittedRowMachine {
    /// The chance of 1 for every row.
    pub fn predict(&self, rows: &SparseRows) -> Result<Vec<f32>> {
        let n = self.features.weights.len();
        if rows.n_columns() != n {
            return Err(Error::Invalid(format!("rows of {} features where {n} were learnt", rows.n_columns())));
        }
        let mut sum = vec![0.0; self.features.width];
        Ok((0..rows.n_rows())
            .map(|r| {
                let (columns, values) = rows.row(r);
                sigmoid(self.bias + of_row(&self.features, columns, values, &mut sum))
            })
            .collect())
    }
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rendle's equation 1, pair by pair, against the linear form.
    #[test]
    fn scores_are_those_of_all_pairs() {
        let (n, width) = (9, 16);
        let mut block = Block::new(n, width, 5, &mut Run::new(3).rng(1));
        block.weights.iter_mut().enumerate().for_each(|(f, w)| *w = f as f32 * 0.1 - 0.3);
        block.vectors.iter_mut().for_each(|v| *v *= 20.0);
        let (columns, values) = ([0_u32, 3, 4, 8], [1.0_f32, -0.5, 2.0, 0.25]);
        let mut by_pairs = 0.0;
        for (k, (f, x)) in columns.iter().zip(values).enumerate() {
            by_pairs += x * block.weights[*f as usize];
            for (g, z) in columns.iter().zip(values).skip(k + 1) {
                by_pairs += x * z * dot(block.vector(*f as usize), block.vector(*g as usize));
            }
        }
        let score = of_row(&block, &columns, &values, &mut vec![0.0; width]);
        assert!((score - by_pairs).abs() < 1e-5 && score.abs() > 0.1, "{score} {by_pairs}");
    }

    #[test]
    fn bad_rows_are_refused() {
        let rows = SparseRows::from_entries(2, 1, vec![(0, 0, 1.0)]);
        let fit = |y: &[f32]| RowMachine::default().fit(&Run::new(1), &rows, y);
        assert!(fit(&[1.0]).is_err() && fit(&[1.0, 2.0]).is_err());
        let fitted = fit(&[1.0, 0.0]).expect("good rows");
        assert!(fitted.predict(&SparseRows::from_entries(1, 2, vec![])).is_err());
        assert!(RowMachine { factors: 0, ..RowMachine::default() }.fit(&Run::new(1), &rows, &[1.0, 0.0]).is_err());
    }
}
