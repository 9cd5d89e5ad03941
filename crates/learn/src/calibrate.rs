//! Making probabilities mean what they say, fitted on held-out predictions.
//!
//! | method | for | form | source |
//! |---|---|---|---|
//! | [`Isotonic`] | one class, or any score → mean | rising steps with straight lines between | PAV; Zadrozny and Elkan 2002 |
//! | [`Platt`] | one class | `1 / (1 + e^{a·s + b})` | Platt 1999; Lin, Lin and Weng 2007 |
//! | [`Temperature`] | several classes | `softmax(logits / t)` | Guo et al. 2017 |
//! | [`VectorScaling`] | several classes | `softmax(w ∘ logits + b)` | Guo et al. 2017 |
//!
//! Fit them on rows that the model has not been fitted on; on its own training rows they learn that the model is
//! always right.

use crate::lbfgs::minimise;
use crate::logistic::softmax;
use crate::matrix::{Matrix, check_finite};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The lowest probability whose logarithm is taken.
const P_MIN: f64 = 1e-12;

/// Isotonic regression: the non-decreasing function nearest to the outcomes in weighted squares, by pooling adjacent
/// violators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isotonic;

/// What [`Isotonic`] learnt: points joined by straight lines, constant beyond the ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedIsotonic {
    score: Vec<f64>,
    value: Vec<f64>,
}

impl Isotonic {
    /// Fits outcomes (0 and 1, or any numbers) to scores. Rows of one score are first averaged. Weights may be left
    /// out (`None`). Fails on no rows and on NaN or infinite values.
    ///
    /// ```
    /// use tradewind_learn::calibrate::Isotonic;
    /// let fitted = Isotonic.fit(&[0.0, 0.25, 0.5, 0.75], &[0.0, 1.0, 0.0, 1.0], None).unwrap();
    /// assert_eq!(fitted.predict(&[-1.0, 0.375, 0.625, 2.0]), vec![0.0, 0.5, 0.75, 1.0]);
    /// ```
    pub fn fit(&self, score: &[f64], outcome: &[f64], weight: Option<&[f64]>) -> Result<FittedIsotonic> {
        check_pair("isotonic calibration", score, outcome, weight)?;
        let mut order: Vec<usize> = (0..score.len()).filter(|&i| weight.is_none_or(|w| w[i] > 0.0)).collect();
        order.sort_by(|&a, &b| score[a].total_cmp(&score[b]));
        // Blocks of one value: weight, weighted sum of outcomes, first and last score.
        let mut blocks: Vec<(f64, f64, f64, f64)> = Vec::new();
        let mut at = 0;
        while at < order.len() {
            let s = score[order[at]];
            let (mut w_sum, mut y_sum) = (0.0, 0.0);
            while at < order.len() && score[order[at]] == s {
                let i = order[at];
                let w = weight.map_or(1.0, |w| w[i]);
                w_sum += w;
                y_sum += w * outcome[i];
                at += 1;
            }
            let mut block = (w_sum, y_sum, s, s);
            while let Some(last) = blocks.last() {
                if last.1 / last.0 < block.1 / block.0 {
                    break;
                }
                block = (last.0 + block.0, last.1 + block.1, last.2, block.3);
                blocks.pop();
            }
            blocks.push(block);
        }
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for (w, sum, from, to) in blocks {
            x.push(from);
            y.push(sum / w);
            if to > from {
                x.push(to);
                y.push(sum / w);
            }
        }
        Ok(FittedIsotonic { score: x, value: y })
    }
}

impl FittedIsotonic {
    /// The value at each score; NaN stays NaN.
    pub fn predict(&self, score: &[f64]) -> Vec<f64> {
        score.iter().map(|&s| self.at(s)).collect()
    }

    fn at(&self, s: f64) -> f64 {
        if s.is_nan() {
            return s;
        }
        let above = self.score.partition_point(|&x| x < s);
        match (above.checked_sub(1).map(|b| (self.score[b], self.value[b])), self.score.get(above)) {
            (None, _) => self.value.first().copied().unwrap_or(f64::NAN),
            (Some((_, v)), None) => v,
            (Some((x0, v0)), Some(&x1)) => {
                let part = (s - x0) / (x1 - x0);
                v0 + part.clamp(0.0, 1.0) * (self.value[above] - v0)
            }
        }
    }
}

/// Platt scaling: a logistic curve through a score, with Platt's smoothed targets against overconfidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platt;

/// What [`Platt`] learnt: `p = 1 / (1 + e^{a·s + b})`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPlatt {
    /// The slope, negative where higher scores mean the class.
    pub a: f64,
    /// The offset.
    pub b: f64,
}

impl Platt {
    /// Fits to scores (best logits) and whether the class happened. Fails on no rows and on NaN or infinite scores.
    pub fn fit(&self, run: &Run, score: &[f64], happened: &[bool]) -> Result<FittedPlatt> {
        let outcome: Vec<f64> = happened.iter().map(|&h| f64::from(u8::from(h))).collect();
        check_pair("Platt calibration", score, &outcome, None)?;
        let positive = outcome.iter().sum::<f64>();
        let negative = outcome.len() as f64 - positive;
        let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
        let target: Vec<f64> = happened.iter().map(|&h| if h { high } else { low }).collect();
        // Scores are centred and scaled, so that one starting point and step serve every scale.
        let (shift, sd) = crate::transform::mean_sd(score);
        let scale = if sd > 0.0 { sd } else { 1.0 };
        let n = score.len() as f64;
        let loss = |v: &[f64], g: &mut [f64]| {
            g.fill(0.0);
            let mut sum = 0.0;
            for (s, t) in score.iter().zip(&target) {
                let z = (s - shift) / scale;
                let f = v[0] * z + v[1];
                // −t ln p − (1 − t) ln(1 − p) with p = 1/(1+e^f) is ln(1+e^f) − (1−t) f.
                sum += f.max(0.0) + (-f.abs()).exp().ln_1p() - (1.0 - t) * f;
                let r = (1.0 - t) - 1.0 / (1.0 + (-f).exp());
                g[0] -= r * z / n;
                g[1] -= r / n;
            }
            sum / n
        };
        let start = vec![0.0, ((negative + 1.0) / (positive + 1.0)).ln()];
        let found = minimise(run, start, 1e-9, 500, loss, |g| g.iter_mut().for_each(|g| *g *= 4.0))?;
        converged("Platt calibration", found.converged, found.n_iter)?;
        let a = found.x[0] / scale;
        Ok(FittedPlatt { a, b: found.x[1] - a * shift })
    }
}

impl FittedPlatt {
    /// The probability at each score.
    pub fn predict(&self, score: &[f64]) -> Vec<f64> {
        score.iter().map(|s| 1.0 / (1.0 + (self.a * s + self.b).exp())).collect()
    }
}

/// Temperature scaling: one number that sharpens or softens all probabilities and leaves their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Temperature;

/// What [`Temperature`] learnt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedTemperature {
    /// Above 1 softens, below 1 sharpens; between 0.01 and 100.
    pub temperature: f64,
}

impl Temperature {
    /// Fits to held-out probabilities (one row per row, one column per class) and the classes that happened.
    pub fn fit(&self, proba: &Matrix, label: &[usize]) -> Result<FittedTemperature> {
        check_proba("temperature scaling", proba, label)?;
        // The mean loss is convex in β = 1/t, so its slope Σ (E_p[logit] − logit_y) has one root; bisection in ln β
        // finds it to the last digit.
        let log = log_proba(proba);
        let slope = |ln_beta: f64| -> f64 {
            let beta = ln_beta.exp();
            let mut p = vec![0.0; proba.n_cols()];
            let mut sum = 0.0;
            for (row, &c) in log.rows().zip(label) {
                p.iter_mut().zip(row).for_each(|(p, l)| *p = beta * l);
                softmax(&mut p);
                sum += p.iter().zip(row).map(|(p, l)| p * l).sum::<f64>() - row[c];
            }
            sum
        };
        let (mut low, mut high) = (-(100.0_f64.ln()), 100.0_f64.ln());
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if slope(middle) < 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(FittedTemperature { temperature: (-0.5 * (low + high)).exp() })
    }
}

impl FittedTemperature {
    /// The calibrated probabilities.
    pub fn predict(&self, proba: &Matrix) -> Result<Matrix> {
        check_values(proba)?;
        Ok(rescale(proba, |_, l| l / self.temperature))
    }
}

/// Vector scaling: every class has its own weight and offset on the logarithm of its probability, held near those of
/// no change by a small penalty.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `l2` | 1 | 0 and more | penalty on weight − 1 and on the offset, against the sum of losses |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorScaling {
    /// Weight of the penalty.
    pub l2: f64,
}

impl Default for VectorScaling {
    fn default() -> Self {
        Self { l2: 1.0 }
    }
}

/// What [`VectorScaling`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedVectorScaling {
    /// One per class.
    pub weight: Vec<f64>,
    /// One per class; they sum to zero.
    pub offset: Vec<f64>,
}

impl VectorScaling {
    /// Fits to held-out probabilities and the classes that happened. A class that never happened is allowed when the
    /// penalty is above zero.
    pub fn fit(&self, run: &Run, proba: &Matrix, label: &[usize]) -> Result<FittedVectorScaling> {
        let ok = self.l2.is_finite() && self.l2 >= 0.0;
        ParamCheck::new().require(ok, "l2", self.l2, "0 and more").finish()?;
        check_proba("vector scaling", proba, label)?;
        let (n, k) = (proba.n_rows() as f64, proba.n_cols());
        let log = log_proba(proba);
        let loss = |v: &[f64], g: &mut [f64]| {
            g.fill(0.0);
            let mut sum = 0.0;
            let mut p = vec![0.0; k];
            for (row, &c) in log.rows().zip(label) {
                for j in 0..k {
                    p[j] = v[j] * row[j] + v[k + j];
                }
                let own = p[c];
                let top = p.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
                sum += top + p.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - own;
                softmax(&mut p);
                p[c] -= 1.0;
                for j in 0..k {
                    g[j] += p[j] * row[j] / n;
                    g[k + j] += p[j] / n;
                }
            }
            let mut loss = sum / n;
            for j in 0..2 * k {
                let away = v[j] - if j < k { 1.0 } else { 0.0 };
                loss += 0.5 * self.l2 / n * away * away;
                g[j] += self.l2 / n * away;
            }
            loss
        };
        let start: Vec<f64> = (0..2 * k).map(|j| if j < k { 1.0 } else { 0.0 }).collect();
        let found = minimise(run, start, 1e-8, 1000, loss, |_| ())?;
        converged("vector scaling", found.converged, found.n_iter)?;
        let mean = found.x[k..].iter().sum::<f64>() / k as f64;
        Ok(FittedVectorScaling {
            weight: found.x[..k].to_vec(),
            offset: found.x[k..].iter().map(|b| b - mean).collect(),
        })
    }
}

impl FittedVectorScaling {
    /// The calibrated probabilities. Fails on another number of classes.
    pub fn predict(&self, proba: &Matrix) -> Result<Matrix> {
        proba.check_width(self.weight.len(), "vector scaling")?;
        check_values(proba)?;
        Ok(rescale(proba, |j, l| self.weight[j] * l + self.offset[j]))
    }
}

fn converged(what: &str, converged: bool, iterations: usize) -> Result<()> {
    if converged { Ok(()) } else { Err(Error::NotConverged { what: what.into(), iterations }) }
}

fn log_proba(proba: &Matrix) -> Matrix {
    let mut log = proba.clone();
    log.values_mut().iter_mut().for_each(|v| *v = v.max(P_MIN).ln());
    log
}

fn rescale(proba: &Matrix, f: impl Fn(usize, f64) -> f64) -> Matrix {
    let mut out = log_proba(proba);
    for i in 0..out.n_rows() {
        let row = out.row_mut(i);
        for (j, v) in row.iter_mut().enumerate() {
            *v = f(j, *v);
        }
        softmax(row);
    }
    out
}

fn check_pair(what: &str, score: &[f64], outcome: &[f64], weight: Option<&[f64]>) -> Result<()> {
    if score.is_empty() {
        return Err(Error::NotEnoughData { what: what.into(), needed: 1, got: 0 });
    }
    if score.len() != outcome.len() || weight.is_some_and(|w| w.len() != score.len()) {
        let n_weights = weight.map_or(score.len(), <[f64]>::len);
        let (n, m) = (score.len(), outcome.len());
        return Err(Error::Invalid(format!(
            "{what} was given {n} scores, {m} outcomes and {n_weights} weights"
        )));
    }
    check_finite("the score", score)?;
    check_finite("the outcome", outcome)?;
    if let Some(w) = weight {
        check_finite("the weight", w)?;
        if w.iter().any(|w| *w < 0.0) || w.iter().sum::<f64>() <= 0.0 {
            return Err(Error::Invalid(format!("{what} needs weights of 0 and more with a positive sum")));
        }
    }
    Ok(())
}

fn check_values(proba: &Matrix) -> Result<()> {
    proba.check_finite(&[])?;
    match proba.values().iter().position(|p| !(0.0..=1.0).contains(p)) {
        None => Ok(()),
        Some(at) => Err(Error::Invalid(format!(
            "row {} has the probability {}, outside 0 to 1",
            at / proba.n_cols(),
            proba.values()[at]
        ))),
    }
}

fn check_proba(what: &str, proba: &Matrix, label: &[usize]) -> Result<()> {
    if proba.n_rows() == 0 {
        return Err(Error::NotEnoughData { what: what.into(), needed: 1, got: 0 });
    }
    if proba.n_rows() != label.len() {
        let (n, m) = (proba.n_rows(), label.len());
        return Err(Error::Invalid(format!("{what} was given {n} rows of probabilities and {m} classes")));
    }
    if proba.n_cols() < 2 {
        return Err(Error::Invalid(format!("{what} needs at least two classes, got {}", proba.n_cols())));
    }
    check_values(proba)?;
    match label.iter().position(|c| *c >= proba.n_cols()) {
        None => Ok(()),
        Some(i) => Err(Error::Invalid(format!(
            "row {i} is of class {} but there are probabilities for {} classes only",
            label[i],
            proba.n_cols()
        ))),
    }
}
