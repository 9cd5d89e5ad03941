//! Estimation by exact likelihood.

use super::filter::{Filter, solve};
use super::polynomial::{differencing, expand, from_partial};
use super::{Order, UNKNOWN_MAX};
use tradewind_core::{Error, Result};

/// The largest partial autocorrelation that is looked at. A value of 1 would be a further difference.
const PARTIAL_MAX: f64 = 0.9999;

/// How exactly a maximum is sought.
#[derive(Clone, Copy)]
pub(super) struct Precision {
    /// What is left of the start's influence where the filter takes its short way, as a share.
    pub(super) steady: f64,
    /// A further gain of twice the log likelihood that is not worth a step.
    pub(super) gain: f64,
    /// Steps at most.
    pub(super) steps: usize,
}

/// For comparing orders.
pub(super) const SEARCH: Precision = Precision { steady: 1e-4, gain: 1e-2, steps: 12 };
/// For the model that is kept.
pub(super) const FINAL: Precision = Precision { steady: 1e-10, gain: 1e-8, steps: 100 };

/// Coefficients of the four polynomials, with the signs of `w = Σ φ w + ε + Σ θ ε`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Coefficients {
    pub(super) ar: Vec<f64>,
    pub(super) ma: Vec<f64>,
    pub(super) seasonal_ar: Vec<f64>,
    pub(super) seasonal_ma: Vec<f64>,
}

impl Coefficients {
    /// From unbounded numbers, in this order: one for each partial autocorrelation.
    fn of(order: &Order, u: &[f64]) -> Self {
        let mut rest = u;
        let mut next = |k: usize, sign: f64| {
            let (own, others) = rest.split_at(k);
            rest = others;
            let partial: Vec<f64> = own.iter().map(|v| PARTIAL_MAX * v.tanh()).collect();
            let mut out = vec![0.0; k];
            from_partial(&partial, &mut out);
            out.iter_mut().for_each(|v| *v *= sign);
            out
        };
        let (ar, ma) = (next(order.p, 1.0), next(order.q, -1.0));
        Self { ar, ma, seasonal_ar: next(order.seasonal_p, 1.0), seasonal_ma: next(order.seasonal_q, -1.0) }
    }

    /// All lags multiplied out: autoregression and moving average.
    pub(super) fn expanded(&self, m: usize) -> (Vec<f64>, Vec<f64>) {
        let mut phi = vec![0.0; self.ar.len() + m * self.seasonal_ar.len()];
        expand(&self.ar, &self.seasonal_ar, m, &mut phi);
        let negative = |v: &[f64]| v.iter().map(|x| -x).collect::<Vec<f64>>();
        let mut theta = vec![0.0; self.ma.len() + m * self.seasonal_ma.len()];
        expand(&negative(&self.ma), &negative(&self.seasonal_ma), m, &mut theta);
        (phi, negative(&theta))
    }
}

/// A differenced series with what is regressed out of it.
pub(super) struct Problem {
    /// The differenced series over `scale`, then the columns: unknown observations, constant, regressors.
    columns: Vec<f64>,
    n: usize,
    n_unknown: usize,
    n_columns: usize,
    scale: f64,
    /// Which observations were unknown.
    unknown: Vec<usize>,
    /// No variance is left: every difference is the constant.
    pub(super) exact: bool,
}

/// What a maximum of the likelihood is.
#[derive(Clone)]
pub(super) struct Estimate {
    pub(super) u: Vec<f64>,
    /// −2 log likelihood of the differenced series.
    pub(super) deviance: f64,
    /// Sum of squared standardised innovations.
    pub(super) squares: f64,
    /// Observations that count: differences less unknown observations.
    pub(super) n: usize,
    /// Constant and regressors.
    pub(super) beta: Vec<f64>,
    /// Values of the unknown observations, as differences from what stands in for them.
    unknown: Vec<f64>,
}

impl Problem {
    /// Differences `y` (finite; `unknown` tells which values only stand in for unknown ones, at most
    /// [`UNKNOWN_MAX`]) and the regressors `x` by the order's differences.
    pub(super) fn new(y: &[f64], unknown: &[usize], x: &[Vec<f64>], order: &Order) -> Result<Self> {
        let lags = differencing(order.d, order.seasonal_d, order.m());
        let skip = lags.len();
        let n = y.len().saturating_sub(skip);
        let unknown = &unknown[unknown.len().saturating_sub(UNKNOWN_MAX)..];
        let needed = skip + order.n_coefficients() + usize::from(order.constant) + x.len() + unknown.len() + 3;
        if y.len() < needed {
            return Err(Error::NotEnoughData { what: format!("{order}"), needed, got: y.len() });
        }
        let difference = |v: &dyn Fn(usize) -> f64, t: usize| {
            v(t + skip) - lags.iter().enumerate().map(|(i, c)| if *c == 0.0 { 0.0 } else { c * v(t + skip - 1 - i) }).sum::<f64>()
        };
        let mut columns: Vec<f64> = (0..n).map(|t| difference(&|s| y[s], t)).collect();
        let mean = columns.iter().sum::<f64>() / n as f64;
        let off = if order.constant { mean } else { 0.0 };
        let spread = (columns.iter().map(|w| (w - off) * (w - off)).sum::<f64>() / n as f64).sqrt();
        let size = y.iter().map(|v| v.abs()).fold(0.0, f64::max);
        let exact = spread <= 1e-10 * size || !spread.is_finite();
        if !spread.is_finite() || !size.is_finite() {
            return Err(Error::Invalid(format!("{order}: the numbers are too large to be squared")));
        }
        let scale = if exact { size.max(1e-300) } else { spread };
        columns.iter_mut().for_each(|w| *w /= scale);
        for s in unknown {
            columns.extend((0..n).map(|t| difference(&|k| f64::from(u8::from(k == *s)), t)));
        }
        if order.constant {
            columns.extend(std::iter::repeat_n(1.0, n));
        }
        for column in x {
            columns.extend((0..n).map(|t| difference(&|s| column[s], t)));
        }
        let n_columns = unknown.len() + usize::from(order.constant) + x.len();
        Ok(Self { columns, n, n_unknown: unknown.len(), n_columns, scale, unknown: unknown.to_vec(), exact })
    }

    /// The scale by which the series was divided.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// Puts the estimated values in place of the unknown ones.
    pub(super) fn fill(&self, y: &mut [f64], found: &Estimate) {
        for (t, v) in self.unknown.iter().zip(&found.unknown) {
            y[*t] -= v * self.scale;
        }
    }

    /// Innovations (not standardised, in the units of the series) under `found`, and the filter at the end.
    pub(super) fn innovations(&self, order: &Order, found: &Estimate) -> (Vec<f64>, Vec<f64>) {
        let mut w = self.columns[..self.n].to_vec();
        for (c, b) in found.unknown.iter().chain(&found.beta).enumerate() {
            let column = &self.columns[(c + 1) * self.n..(c + 2) * self.n];
            w.iter_mut().zip(column).for_each(|(w, x)| *w -= b * x);
        }
        let (phi, theta) = Coefficients::of(order, &found.u).expanded(order.m());
        let mut filter = Filter::new(FINAL.steady);
        let mut out = vec![0.0; self.n];
        if filter.set(&phi, &theta) {
            filter.run(&w, self.n, 1, true, &mut out);
        }
        out.iter_mut().for_each(|e| *e *= self.scale);
        let state = filter.state(0).iter().map(|s| s * self.scale).collect();
        (out, state)
    }
}

/// Memory of a search, so that a step of it allocates nothing large.
#[derive(Default)]
pub(super) struct Work {
    filter: Filter,
    filtered: Vec<f64>,
    gram: Vec<f64>,
    right: Vec<f64>,
    residuals: Vec<f64>,
    trial: Vec<f64>,
    jacobian: Vec<f64>,
}

struct Value {
    deviance: f64,
    squares: f64,
    log_size: f64,
}

impl Work {
    /// −2 log likelihood at `u`, with the regression coefficients at their best; residuals, whose squares' sum `s` has
    /// `n log s` as the deviance but for a constant, go into `self.trial`.
    fn value(&mut self, problem: &Problem, order: &Order, u: &[f64]) -> Option<Value> {
        let (phi, theta) = Coefficients::of(order, u).expanded(order.m());
        if !self.filter.set(&phi, &theta) {
            return None;
        }
        let (n, k) = (problem.n, problem.n_columns);
        self.filtered.resize(n * (k + 1), 0.0);
        self.filter.run(&problem.columns, n, k + 1, false, &mut self.filtered);
        let mut log_size = self.filter.log_variances;
        self.trial.clear();
        self.trial.extend_from_slice(&self.filtered[..n]);
        self.right.clear();
        if k > 0 {
            self.gram.clear();
            self.gram.resize(k * k, 0.0);
            for i in 0..k {
                let a = &self.filtered[(i + 1) * n..(i + 2) * n];
                for j in 0..=i {
                    self.gram[i * k + j] = dot(a, &self.filtered[(j + 1) * n..(j + 2) * n]);
                }
                self.right.push(dot(a, &self.trial));
            }
            log_size += solve(&mut self.gram, &mut self.right, k, problem.n_unknown)?;
            for (i, b) in self.right.iter().enumerate() {
                let column = &self.filtered[(i + 1) * n..(i + 2) * n];
                self.trial.iter_mut().zip(column).for_each(|(r, x)| *r -= b * x);
            }
        }
        let known = (n - problem.n_unknown) as f64;
        let squares = dot(&self.trial, &self.trial).max(1e-20 * known);
        let deviance = known * ((squares / known).ln() + 1.0 + (2.0 * std::f64::consts::PI).ln())
            + log_size
            + 2.0 * known * problem.scale.ln();
        deviance.is_finite().then_some(Value { deviance, squares, log_size })
    }

    /// The value at `u`, residuals scaled so that their squares alone tell the likelihood.
    fn scaled(&mut self, problem: &Problem, order: &Order, u: &[f64]) -> Option<Value> {
        let value = self.value(problem, order, u)?;
        let size = (value.log_size / (2.0 * (problem.n - problem.n_unknown) as f64)).exp();
        self.trial.iter_mut().for_each(|r| *r *= size);
        Some(value)
    }

    /// The maximum of the likelihood near `start`.
    ///
    /// `−2 log L = n log S` with `S = Σ ẽ²(u)`, where the innovations are scaled by the geometric mean of their standard
    /// deviations (Box & Jenkins 1976, section 7.1.5): a sum of squares, whose minimum Levenberg's and Marquardt's steps
    /// find in a few turns. Derivatives of the innovations are taken by forward differences.
    pub(super) fn maximize(
        &mut self,
        problem: &Problem,
        order: &Order,
        start: &[f64],
        precision: Precision,
    ) -> Option<Estimate> {
        self.filter.steady = precision.steady;
        let k = start.len();
        let mut u = start.to_vec();
        let mut now = self.scaled(problem, order, &u)?;
        let mut sum = dot(&self.trial, &self.trial);
        std::mem::swap(&mut self.residuals, &mut self.trial);
        let known = (problem.n - problem.n_unknown) as f64;
        let mut damping = 1e-3;
        let mut normal = vec![0.0; k * k];
        let mut step = vec![0.0; k];
        'steps: for _ in 0..if k == 0 { 0 } else { precision.steps } {
            self.jacobian.resize(k * problem.n, 0.0);
            for i in 0..k {
                // Away from the ends, where the hyperbolic tangent is flat.
                let h = if u[i] > 0.0 { -1e-6 } else { 1e-6 } * u[i].abs().max(1.0);
                let kept = u[i];
                u[i] += h;
                let there = self.scaled(problem, order, &u);
                u[i] = kept;
                there?;
                let column = &mut self.jacobian[i * problem.n..(i + 1) * problem.n];
                for ((c, a), b) in column.iter_mut().zip(&self.trial).zip(&self.residuals) {
                    *c = (a - b) / h;
                }
            }
            let column = |i: usize| &self.jacobian[i * problem.n..(i + 1) * problem.n];
            let products: Vec<f64> =
                (0..k * k).map(|ij| if ij % k <= ij / k { dot(column(ij / k), column(ij % k)) } else { 0.0 }).collect();
            let slope: Vec<f64> = (0..k).map(|i| dot(column(i), &self.residuals)).collect();
            let largest = (0..k).map(|i| products[i * k + i]).fold(0.0, f64::max);
            for _ in 0..12 {
                normal.copy_from_slice(&products);
                for i in 0..k {
                    normal[i * k + i] += damping * (products[i * k + i] + 1e-6 * largest) + 1e-300;
                    step[i] = -slope[i];
                }
                if solve(&mut normal, &mut step, k, 0).is_none() {
                    damping = (damping * 10.0).max(1e-6);
                    continue;
                }
                let longest = step.iter().fold(0.0_f64, |a, s| a.max(s.abs()));
                let shorten = if longest > 1.5 { 1.5 / longest } else { 1.0 };
                let next: Vec<f64> = u.iter().zip(&step).map(|(u, s)| (u + shorten * s).clamp(-9.0, 9.0)).collect();
                let there = self.scaled(problem, order, &next);
                let new_sum = if there.is_some() { dot(&self.trial, &self.trial) } else { f64::INFINITY };
                if let Some(value) = there.filter(|_| new_sum < sum) {
                    let gain = known * (sum / new_sum).ln();
                    (u, now, sum) = (next, value, new_sum);
                    std::mem::swap(&mut self.residuals, &mut self.trial);
                    damping = (damping * 0.1).max(1e-9);
                    if gain < precision.gain {
                        break 'steps;
                    }
                    continue 'steps;
                }
                // A step that would gain next to nothing is not worth shortening.
                let promised: f64 = -step.iter().zip(&slope).map(|(s, g)| s * g).sum::<f64>();
                if known * promised / sum < 0.1 * precision.gain {
                    break 'steps;
                }
                damping *= 8.0;
            }
            break;
        }
        // The regression at the maximum.
        now = self.value(problem, order, &u).unwrap_or(now);
        let (unknown, beta) = self.right.split_at(problem.n_unknown.min(self.right.len()));
        Some(Estimate {
            u,
            deviance: now.deviance,
            squares: now.squares,
            n: problem.n - problem.n_unknown,
            beta: beta.to_vec(),
            unknown: unknown.to_vec(),
        })
    }
}

/// Coefficients at an estimate.
pub(super) fn coefficients(order: &Order, found: &Estimate) -> Coefficients {
    Coefficients::of(order, &found.u)
}

/// The start that an estimate of another order gives: partial autocorrelations that both have stay, others are zero.
pub(super) fn carried_over(from: &Order, u: &[f64], to: &Order) -> Vec<f64> {
    let sizes = |o: &Order| [o.p, o.q, o.seasonal_p, o.seasonal_q];
    let mut out = Vec::with_capacity(to.n_coefficients());
    let mut at = 0;
    for (have, want) in sizes(from).into_iter().zip(sizes(to)) {
        out.extend((0..want).map(|i| if i < have { u[at + i].clamp(-2.5, 2.5) } else { 0.0 }));
        at += have;
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
