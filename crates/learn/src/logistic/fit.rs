//! The search for a logistic regression, and its standard errors.

use super::{ClassWeight, Extras, FittedLogistic, Logistic, softmax};
use crate::cholesky::Cholesky;
use crate::linear::Scaled;
use crate::matrix::{Dataset, Matrix};
use crate::newton;
use crate::smooth::{Design, LANES, RowLoss, Smooth, leave_out_dependent, standard_errors};
use tradewind_core::{Error, Result, Run};

/// Numbers sought at most where absolute values are penalised; the method holds their square.
const L1_MAX: usize = 4096;

/// The log loss of two classes.
struct TwoClasses<'a> {
    label: &'a [usize],
    weight: &'a [f64],
}

impl RowLoss for TwoClasses<'_> {
    fn weight(&self, i: usize) -> f64 {
        self.weight[i]
    }

    #[inline]
    fn slopes(&self, i: usize, r: usize, logits: &mut [[f64; LANES]]) -> f64 {
        // ln(1 + e^t) without overflow, with t the logit against the row's own class.
        let w = self.weight[i];
        let sign = if self.label[i] == 1 { -1.0 } else { 1.0 };
        let t = sign * logits[0][r];
        let small = (-t.abs()).exp();
        let p_wrong = if t > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
        logits[0][r] = sign * w * p_wrong;
        w * (t.max(0.0) + small.ln_1p())
    }

    #[inline]
    fn curvatures(&self, i: usize, logits: &mut [f64], out: &mut [f64]) {
        let small = (-logits[0].abs()).exp();
        out[0] = self.weight[i] * small / ((1.0 + small) * (1.0 + small));
    }
}

/// The log loss of several classes, one logit each.
struct Classes<'a> {
    label: &'a [usize],
    weight: &'a [f64],
    n_classes: usize,
}

impl RowLoss for Classes<'_> {
    fn n_logits(&self) -> usize {
        self.n_classes
    }

    fn weight(&self, i: usize) -> f64 {
        self.weight[i]
    }

    #[inline]
    fn slopes(&self, i: usize, r: usize, logits: &mut [[f64; LANES]]) -> f64 {
        let (label, w) = (self.label[i], self.weight[i]);
        let top = logits.iter().fold(f64::NEG_INFINITY, |m, v| m.max(v[r]));
        let own = logits[label][r];
        let mut sum = 0.0;
        for v in logits.iter_mut() {
            v[r] = (v[r] - top).exp();
            sum += v[r];
        }
        logits.iter_mut().for_each(|v| v[r] *= w / sum);
        logits[label][r] -= w;
        w * (sum.ln() + top - own)
    }

    #[inline]
    fn curvatures(&self, i: usize, logits: &mut [f64], out: &mut [f64]) {
        softmax(logits);
        let mut at = 0;
        for a in 0..logits.len() {
            for b in a + 1..logits.len() {
                out[at] = self.weight[i] * logits[a] * logits[b];
                at += 1;
            }
        }
    }
}

/// What was found on the scaled axes.
struct Found {
    x: Vec<f64>,
    converged: bool,
    n_iter: usize,
    /// The inverse of the second derivatives of the summed loss, of the numbers named.
    covariance: Option<(Vec<usize>, Vec<f64>)>,
}

pub(super) fn fit(
    params: &Logistic,
    run: &Run,
    data: &Dataset,
    label: &[usize],
    n_classes: usize,
    extras: &Extras<'_>,
) -> Result<FittedLogistic> {
    let mut weight = data.weights();
    let mut mass = vec![0.0; n_classes];
    label.iter().zip(&weight).for_each(|(&c, w)| mass[c] += w);
    if params.class_weight == ClassWeight::Balanced {
        let total: f64 = mass.iter().sum();
        let factor: Vec<f64> = mass.iter().map(|m| total / (n_classes as f64 * m)).collect();
        label.iter().zip(&mut weight).for_each(|(&c, w)| *w *= factor[c]);
        mass.fill(total / n_classes as f64);
    }
    let mut scaled = Scaled::weighted(data, &weight)?;
    let (p, width) = (data.x().n_cols(), data.x().n_cols() + 1);
    let logits = if n_classes == 2 { 1 } else { n_classes };
    let factor = factors(extras, p)?;
    let start = match extras.start {
        None => {
            let mut start = vec![0.0; logits * width];
            for k in 0..logits {
                start[k * width + p] =
                    if logits == 1 { (mass[1] / mass[0]).ln() } else { (mass[k] / scaled.total).ln() };
            }
            start
        }
        Some(model) => from_model(model, &scaled, logits)?,
    };
    let plain = params.l1 == 0.0 && (params.l2 == 0.0 || factor.iter().all(|f| *f == 0.0));
    if plain {
        leave_out_dependent(data, &weight, &mut scaled);
    }
    // All in terms of the mean loss, so that the tolerance means the same for any number of rows.
    let total = scaled.total;
    let squares = scaled.sds.iter().zip(&factor).map(|(s, f)| params.l2 * f / total / (s * s)).collect();
    let absolutes: Vec<f64> =
        scaled.sds.iter().zip(&factor).map(|(s, f)| params.l1 * f / total / s).chain([0.0]).collect();
    let l1: Vec<f64> = (0..logits).flat_map(|_| absolutes.iter().copied()).collect();
    let want_errors = plain && params.class_weight == ClassWeight::None;
    let search = Search { params, run, scaled: &scaled, l1: &l1, start, want_errors };
    let design = Design::new(data.x(), &scaled);
    let weight = &weight;
    let found = match logits {
        1 => search.run(Smooth { design, loss: TwoClasses { label, weight }, penalty: squares }),
        _ => search.run(Smooth { design, loss: Classes { label, weight, n_classes }, penalty: squares }),
    }?;
    let mut coef = Matrix::zeros(logits, p);
    let mut intercept = Vec::with_capacity(logits);
    for (k, block) in found.x.chunks_exact(width).enumerate() {
        let mut at_zero = block[p];
        for j in 0..p {
            let c = if scaled.live[j] { block[j] / scaled.sds[j] } else { 0.0 };
            coef.row_mut(k)[j] = c;
            at_zero -= c * scaled.means[j];
        }
        intercept.push(at_zero);
    }
    if !coef.values().iter().chain(&intercept).all(|c| c.is_finite()) {
        return Err(Error::NotConverged { what: "logistic regression".into(), iterations: found.n_iter });
    }
    let std_error = found.covariance.map(|(kept, c)| standard_errors(&scaled, &kept, &c, logits));
    Ok(FittedLogistic {
        coef,
        intercept,
        means: scaled.means,
        names: data.names().to_vec(),
        n_classes,
        converged: found.converged,
        n_iter: found.n_iter,
        std_error,
    })
}

/// The penalty factors, or ones.
fn factors(extras: &Extras<'_>, p: usize) -> Result<Vec<f64>> {
    let Some(factor) = extras.penalty_factor else { return Ok(vec![1.0; p]) };
    if factor.len() != p {
        return Err(Error::Invalid(format!("{p} columns but {} penalty factors", factor.len())));
    }
    match factor.iter().position(|f| !(f.is_finite() && *f >= 0.0)) {
        None => Ok(factor.to_vec()),
        Some(j) => {
            Err(Error::Invalid(format!("the penalty factor of column {j} is {}; give 0 or more", factor[j])))
        }
    }
}

/// A fitted model's coefficients on the scaled axes.
fn from_model(model: &FittedLogistic, scaled: &Scaled, logits: usize) -> Result<Vec<f64>> {
    let p = scaled.sds.len();
    if model.names.len() != p || model.intercept.len() != logits {
        return Err(Error::Invalid(format!(
            "the start has {} columns and {} logits; the data have {p} columns and need {logits} logits",
            model.names.len(),
            model.intercept.len()
        )));
    }
    let mut start = Vec::with_capacity(logits * (p + 1));
    for k in 0..logits {
        let coef = model.coef.row(k);
        start.extend((0..p).map(|j| if scaled.live[j] { coef[j] * scaled.sds[j] } else { 0.0 }));
        start.push(model.intercept[k] + crate::lbfgs::dot(coef, &scaled.means));
    }
    Ok(start)
}

struct Search<'a> {
    params: &'a Logistic,
    run: &'a Run,
    scaled: &'a Scaled,
    l1: &'a [f64],
    start: Vec<f64>,
    want_errors: bool,
}

impl Search<'_> {
    fn run<L: RowLoss>(self, f: Smooth<'_, L>) -> Result<Found> {
        let Logistic { l1, tolerance, max_iter, .. } = *self.params;
        let logits = f.loss.n_logits();
        let found = if l1 > 0.0 {
            if f.n_dims() > L1_MAX {
                return Err(Error::Invalid(format!(
                    "logistic regression with l1 takes {L1_MAX} numbers (columns times logits) at most; these data need \
                     {}; choose columns, or use l2",
                    f.n_dims()
                )));
            }
            newton::minimise_l1(self.run, &f, self.l1, self.start, tolerance, max_iter)?
        } else {
            newton::minimise(self.run, &f, self.start, tolerance, max_iter)?
        };
        let mut x = found.x;
        let width = self.scaled.sds.len() + 1;
        if logits > 1 {
            // Adding one vector to all classes leaves the probabilities; zero sums are the ones with least penalty on
            // squares. Absolute values choose for themselves, all but the intercepts.
            for j in if l1 > 0.0 { width - 1..width } else { 0..width } {
                let mean = (0..logits).map(|k| x[k * width + j]).sum::<f64>() / logits as f64;
                (0..logits).for_each(|k| x[k * width + j] -= mean);
            }
        }
        let covariance = (self.want_errors && found.converged).then(|| {
            let mut h = f.hessian(&x, 1);
            let n = h.nrows();
            if logits > 1 {
                // The common direction has no curvature. With some put there, the inverse is that of the rest plus a
                // known part, taken off again below.
                for a in 0..logits {
                    for b in 0..logits {
                        (0..width).for_each(|j| h[(a * width + j, b * width + j)] += 1.0);
                    }
                }
            }
            for j in 0..n {
                if j % width + 1 < width && !self.scaled.live[j % width] {
                    (0..n).for_each(|i| (h[(i, j)], h[(j, i)]) = (0.0, 0.0));
                }
            }
            let triangle = Cholesky::new(&h);
            let mut inverse = triangle.inverse();
            let kept = triangle.kept;
            let rank = kept.len();
            if logits > 1 {
                let common = 1.0 / (logits * logits) as f64;
                for a in 0..rank {
                    for b in 0..rank {
                        if kept[a] % width == kept[b] % width {
                            inverse[a * rank + b] -= common;
                        }
                    }
                }
            }
            inverse.iter_mut().for_each(|v| *v /= self.scaled.total);
            (kept, inverse)
        });
        Ok(Found { x, converged: found.converged, n_iter: found.n_iter, covariance })
    }
}
