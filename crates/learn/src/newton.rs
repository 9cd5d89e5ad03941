//! Minimising smooth convex losses over rows, with or without a penalty on absolute values.
//!
//! Curvature costs far more than a gradient, and need not be exact: only the gradient decides where the search ends.
//! So the search first runs by Newton's method on an evenly spaced part of the rows, which brings it within sampling
//! error of the answer, and then on all rows with the part's curvature as the metric (Byrd, Chin, Neveitt and Nocedal
//! 2011): L-BFGS where all is smooth, and coordinate descent on the quadratic model where absolute values are penalised
//! (the proximal Newton method; Friedman, Hastie and Tibshirani 2010; Lee, Sun and Saunders 2014). Data of few rows are
//! the part themselves.

use crate::faer_call::faer_call;
use crate::lbfgs::{self, Minimum, dot};
use crate::smooth::{RowLoss, Smooth};
use faer::linalg::solvers::Llt;
use faer::prelude::Solve;
use faer::{Mat, Side};
use tradewind_core::{Result, Run};

/// Rows whose curvature serves for all, at least; and rows for each number sought.
const PART_ROWS: usize = 20_000;
const PART_ROWS_PER_DIM: usize = 64;

/// Numbers sought, beyond which several logits no longer get one matrix of second derivatives but one each.
const DENSE_MAX: usize = 2048;

/// Where the search on the part ends; it only has to come near.
const PART_TOLERANCE: f64 = 1e-3;

/// Steps on the part at most.
const PART_STEPS: usize = 15;

/// Every how many rows are taken for the part.
pub(crate) fn stride<L: RowLoss>(f: &Smooth<'_, L>) -> usize {
    (f.design.n_rows() / PART_ROWS.max(PART_ROWS_PER_DIM * f.n_dims())).max(1)
}

/// Minimises `f` from `start` until the largest part of the gradient is below `tolerance`.
pub(crate) fn minimise<L: RowLoss>(
    run: &Run,
    f: &Smooth<'_, L>,
    start: Vec<f64>,
    tolerance: f64,
    max_iter: usize,
) -> Result<Minimum> {
    if f.loss.n_logits() > 1 && f.n_dims() > DENSE_MAX {
        return by_blocks(run, f, start, tolerance, max_iter);
    }
    let stride = stride(f);
    let (near, steps) =
        if stride == 1 { (tolerance, max_iter) } else { (tolerance.max(PART_TOLERANCE), PART_STEPS) };
    let mut found = by_newton(run, f, start.clone(), near, steps, stride)?;
    if stride == 1 && found.converged {
        return Ok(found);
    }
    if stride > 1 {
        // A part may mislead (a class that it does not hold); then its answer is worse than the start.
        let mut g = vec![0.0; start.len()];
        let (at_start, at_part) = (f.value(&start, &mut g, 1), f.value(&found.x, &mut g, 1));
        if !at_part.is_finite() || at_part > at_start {
            found.x = start;
        }
    }
    let metric = Metric::new(f.hessian(&found.x, stride), f.loss.n_logits(), stride > 1);
    let value = |v: &[f64], g: &mut [f64]| f.value(v, g, 1);
    let left = max_iter.saturating_sub(found.n_iter).max(1);
    let mut last = lbfgs::minimise(run, found.x, tolerance, left, value, |g| metric.apply(g))?;
    last.n_iter += found.n_iter;
    Ok(last)
}

/// L-BFGS with the curvature of each class at the start as the metric, as if the classes stood alone.
fn by_blocks<L: RowLoss>(
    run: &Run,
    f: &Smooth<'_, L>,
    start: Vec<f64>,
    tolerance: f64,
    max_iter: usize,
) -> Result<Minimum> {
    let width = f.design.n_cols() + 1;
    let gram = f.gram((f.design.n_rows() / PART_ROWS).max(1));
    let mut share: Vec<f64> = start.chunks_exact(width).map(|block| block[width - 1]).collect();
    crate::logistic::softmax(&mut share);
    let metrics: Vec<Metric> = share
        .iter()
        .map(|s| {
            let c = (s * (1.0 - s)).max(1e-12);
            let penalty = |i: usize, j: usize| if i == j && i + 1 < width { f.penalty[i] } else { 0.0 };
            Metric::new(Mat::from_fn(width, width, |i, j| c * gram[(i, j)] + penalty(i, j)), 1, true)
        })
        .collect();
    let value = |v: &[f64], g: &mut [f64]| f.value(v, g, 1);
    let precondition =
        |g: &mut [f64]| g.chunks_exact_mut(width).zip(&metrics).for_each(|(g, metric)| metric.apply(g));
    lbfgs::minimise(run, start, tolerance, max_iter, value, precondition)
}

/// Damped Newton steps over every `stride`-th row.
fn by_newton<L: RowLoss>(
    run: &Run,
    f: &Smooth<'_, L>,
    mut x: Vec<f64>,
    tolerance: f64,
    max_iter: usize,
    stride: usize,
) -> Result<Minimum> {
    let mut g = vec![0.0; x.len()];
    let mut value = f.value(&x, &mut g, stride);
    for n_iter in 0..max_iter {
        run.check()?;
        if lbfgs::largest(&g) <= tolerance {
            return Ok(Minimum { x, converged: true, n_iter });
        }
        let mut step = g.clone();
        Metric::new(f.hessian(&x, stride), f.loss.n_logits(), stride > 1).apply(&mut step);
        let slope = dot(&step, &g);
        let mut length = 1.0;
        let mut next = vec![0.0; x.len()];
        let mut g_next = vec![0.0; x.len()];
        loop {
            next.iter_mut().zip(&x).zip(&step).for_each(|((n, x), s)| *n = x - length * s);
            let v = f.value(&next, &mut g_next, stride);
            // Near the minimum the values agree to the last digit, and the gradient tells better than they do.
            let flat =
                (v - value).abs() <= 1e-13 * value.abs() && lbfgs::largest(&g_next) < lbfgs::largest(&g);
            if v <= value - 1e-4 * length * slope || flat {
                value = v;
                break;
            }
            length /= 2.0;
            if length < 1e-6 {
                return Ok(Minimum { x, converged: false, n_iter });
            }
        }
        std::mem::swap(&mut x, &mut next);
        std::mem::swap(&mut g, &mut g_next);
    }
    let converged = lbfgs::largest(&g) <= tolerance;
    Ok(Minimum { x, converged, n_iter: max_iter })
}

/// A matrix of second derivatives, ready to be divided by.
struct Metric(Option<Llt<f64>>, Vec<f64>);

impl Metric {
    fn new(mut h: Mat<f64>, n_logits: usize, is_part: bool) -> Self {
        let typical = guard(&mut h, n_logits, is_part);
        let (d, width) = (h.nrows(), h.nrows() / n_logits);
        if n_logits > 1 {
            // Adding one vector to all classes changes nothing, so there the curvature is zero. Gradients have no part
            // in that direction; a curvature put there makes the matrix invertible and changes no step.
            for a in 0..n_logits {
                for b in 0..n_logits {
                    (0..width).for_each(|j| h[(a * width + j, b * width + j)] += typical / n_logits as f64);
                }
            }
        }
        // A trace of ridge keeps dependent columns invertible; it changes the path, not the answer.
        let mut trace = 1e-10 * typical;
        for _ in 0..4 {
            (0..d).for_each(|j| h[(j, j)] += trace);
            if let Ok(factor) = faer_call(|| h.llt(Side::Lower)) {
                return Self(Some(factor), Vec::new());
            }
            trace *= 1000.0;
        }
        Self(None, (0..d).map(|j| h[(j, j)].max(typical)).collect())
    }

    /// Turns a gradient into a Newton step.
    fn apply(&self, g: &mut [f64]) {
        match &self.0 {
            Some(factor) => {
                let solved = faer_call(|| factor.solve(Mat::from_fn(g.len(), 1, |j, _| g[j])));
                g.iter_mut().enumerate().for_each(|(j, g)| *g = solved[(j, 0)]);
            }
            None => g.iter_mut().zip(&self.1).for_each(|(g, h)| *g /= h),
        }
    }
}

/// Lifts diagonal entries that are zero (columns left out) or that the part has hardly seen (rare marks); gives the
/// typical curvature, which is that of the intercepts, as the columns have deviation 1.
fn guard(h: &mut Mat<f64>, n_logits: usize, is_part: bool) -> f64 {
    let width = h.nrows() / n_logits;
    let mean = (1..=n_logits).map(|k| h[(k * width - 1, k * width - 1)]).sum::<f64>() / n_logits as f64;
    let typical = if mean.is_finite() { mean.max(1e-280) } else { 1.0 };
    for k in 0..n_logits {
        let own = h[((k + 1) * width - 1, (k + 1) * width - 1)].max(1e-12 * typical);
        for j in k * width..(k + 1) * width {
            if h[(j, j)] <= 1e-14 * own || (is_part && h[(j, j)] < 0.25 * own) {
                h[(j, j)] = own;
            }
        }
    }
    typical
}

/// Minimises `f` plus `Σ l1_j |x_j|` until no number's optimality is missed by more than `tolerance`.
pub(crate) fn minimise_l1<L: RowLoss>(
    run: &Run,
    f: &Smooth<'_, L>,
    l1: &[f64],
    start: Vec<f64>,
    tolerance: f64,
    max_iter: usize,
) -> Result<Minimum> {
    let stride = stride(f);
    if stride == 1 {
        return by_proximal_newton(run, f, l1, start, tolerance, max_iter, (1, 1));
    }
    let near = tolerance.max(PART_TOLERANCE);
    let part = by_proximal_newton(run, f, l1, start.clone(), near, PART_STEPS, (stride, stride))?;
    let mut g = vec![0.0; start.len()];
    let cost = |x: &[f64], g: &mut [f64]| f.value(x, g, 1) + absolute(l1, x);
    let worse = cost(&part.x, &mut g) > cost(&start, &mut g);
    let from = if worse || !part.x.iter().all(|v| v.is_finite()) { start } else { part.x };
    let mut last = by_proximal_newton(run, f, l1, from, tolerance, max_iter, (1, stride))?;
    last.n_iter += part.n_iter;
    Ok(last)
}

fn absolute(l1: &[f64], x: &[f64]) -> f64 {
    l1.iter().zip(x).map(|(l, x)| l * x.abs()).sum()
}

/// `strides` are those of the gradient and of the curvature.
fn by_proximal_newton<L: RowLoss>(
    run: &Run,
    f: &Smooth<'_, L>,
    l1: &[f64],
    mut x: Vec<f64>,
    tolerance: f64,
    max_iter: usize,
    strides: (usize, usize),
) -> Result<Minimum> {
    let n_logits = f.loss.n_logits();
    let mut g = vec![0.0; x.len()];
    let mut value = f.value(&x, &mut g, strides.0) + absolute(l1, &x);
    for n_iter in 0..max_iter {
        run.check()?;
        let missed = missed(&x, &g, l1);
        if missed <= tolerance {
            return Ok(Minimum { x, converged: true, n_iter });
        }
        let mut h = f.hessian(&x, strides.1);
        guard(&mut h, n_logits, strides.1 > 1);
        let aim = (0.05 * missed).min(missed * missed).max(0.1 * tolerance);
        let target = coordinate_descent(&h, &g, l1, &x, aim);
        let step: Vec<f64> = target.iter().zip(&x).map(|(t, x)| t - x).collect();
        let promised = dot(&g, &step) + absolute(l1, &target) - absolute(l1, &x);
        let mut length = 1.0;
        let mut g_next = vec![0.0; x.len()];
        loop {
            // The whole step ends at the target itself, whose zeros are exact.
            let next: Vec<f64> = match length {
                1.0 => target.clone(),
                _ => x.iter().zip(&step).map(|(x, s)| x + length * s).collect(),
            };
            let v = f.value(&next, &mut g_next, strides.0) + absolute(l1, &next);
            let flat = (v - value).abs() <= 1e-13 * value.abs();
            if v <= value + 1e-4 * length * promised || (flat && length == 1.0) {
                (x, value) = (next, v);
                std::mem::swap(&mut g, &mut g_next);
                break;
            }
            length /= 2.0;
            if length < 1e-6 {
                return Ok(Minimum { x, converged: missed <= tolerance.sqrt(), n_iter });
            }
        }
    }
    let converged = missed(&x, &g, l1) <= tolerance;
    Ok(Minimum { x, converged, n_iter: max_iter })
}

/// By how much the worst number misses its optimality.
fn missed(x: &[f64], g: &[f64], l1: &[f64]) -> f64 {
    let of =
        |x: f64, g: f64, l: f64| if x == 0.0 { (g.abs() - l).max(0.0) } else { (g + l * x.signum()).abs() };
    x.iter().zip(g).zip(l1).fold(0.0_f64, |m, ((x, g), l)| m.max(of(*x, *g, *l)))
}

/// The point that minimises `g·(u − x) + ½ (u − x)ᵀ H (u − x) + Σ l1 |u|`, by sweeps over the numbers that move.
fn coordinate_descent(h: &Mat<f64>, g: &[f64], l1: &[f64], x: &[f64], aim: f64) -> Vec<f64> {
    const SWEEPS: usize = 1000;
    let d = x.len();
    let mut u = x.to_vec();
    // The quadratic's gradient at u.
    let mut slope = g.to_vec();
    let mut only_active = false;
    for _ in 0..SWEEPS {
        let mut moved = 0.0_f64;
        for j in 0..d {
            if only_active && u[j] == 0.0 {
                continue;
            }
            let own = h[(j, j)];
            let new = crate::elastic_net::soft(own * u[j] - slope[j], l1[j]) / own;
            let step = new - u[j];
            if step != 0.0 && step.is_finite() {
                u[j] = new;
                slope.iter_mut().zip(h.col(j).iter()).for_each(|(s, h)| *s += h * step);
                moved = moved.max(step.abs() * own);
            }
        }
        if moved <= aim {
            if !only_active {
                break;
            }
            only_active = false;
        } else {
            only_active = true;
        }
    }
    u
}
