//! Minimising a smooth function by L-BFGS (Nocedal and Wright, *Numerical Optimization*, 2nd ed., algorithms 7.4, 3.5
//! and 3.6), with a preconditioner in place of the usual scaled identity.

use std::collections::VecDeque;
use tradewind_core::{Result, Run};

/// Steps remembered.
const MEMORY: usize = 12;

/// Where the search ended.
pub(crate) struct Minimum {
    pub(crate) x: Vec<f64>,
    /// Whether the gradient fell below the tolerance.
    pub(crate) converged: bool,
    pub(crate) n_iter: usize,
}

/// Minimises `f`, which writes the gradient and gives the value, from `x`. `precondition` turns a gradient into an
/// approximate Newton step (positive definite, fixed). It ends when the largest part of the gradient is below
/// `tolerance`, when no step lowers the value any more, or after `max_iter` steps.
pub(crate) fn minimise(
    run: &Run,
    mut x: Vec<f64>,
    tolerance: f64,
    max_iter: usize,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
    precondition: impl Fn(&mut [f64]),
) -> Result<Minimum> {
    let n = x.len();
    let mut g = vec![0.0; n];
    let mut value = f(&x, &mut g);
    let mut past: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::with_capacity(MEMORY);
    let mut next = vec![0.0; n];
    let mut g_next = vec![0.0; n];
    for n_iter in 0..max_iter {
        run.check()?;
        if largest(&g) <= tolerance {
            return Ok(Minimum { x, converged: true, n_iter });
        }
        let mut direction = two_loop(&g, &past, &precondition);
        let mut slope = dot(&direction, &g);
        if slope >= 0.0 || !slope.is_finite() {
            past.clear();
            direction = two_loop(&g, &past, &precondition);
            slope = dot(&direction, &g);
        }
        let mut at = |step: f64, next: &mut [f64], g_next: &mut [f64]| {
            for ((o, x), d) in next.iter_mut().zip(&x).zip(&direction) {
                *o = x + step * d;
            }
            let v = f(next, g_next);
            (v, dot(g_next, &direction))
        };
        let Some(v) = line_search(value, slope, &mut next, &mut g_next, &mut at) else {
            if past.is_empty() {
                // The plain preconditioned gradient gives no lower value: all digits are used up. It counts as
                // converged when the gradient is small beside its tolerance's square root.
                let converged = largest(&g) <= tolerance.sqrt();
                return Ok(Minimum { x, converged, n_iter });
            }
            past.clear();
            continue;
        };
        let s: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = g_next.iter().zip(&g).map(|(a, b)| a - b).collect();
        let sy = dot(&s, &y);
        if sy > 1e-300 && sy.is_finite() {
            if past.len() == MEMORY {
                past.pop_front();
            }
            past.push_back((s, y, 1.0 / sy));
        }
        std::mem::swap(&mut x, &mut next);
        std::mem::swap(&mut g, &mut g_next);
        value = v;
    }
    let converged = largest(&g) <= tolerance;
    Ok(Minimum { x, converged, n_iter: max_iter })
}

/// The direction `−H g` by the two-loop recursion.
fn two_loop(
    g: &[f64],
    past: &VecDeque<(Vec<f64>, Vec<f64>, f64)>,
    precondition: impl Fn(&mut [f64]),
) -> Vec<f64> {
    let mut q = g.to_vec();
    let mut alphas = Vec::with_capacity(past.len());
    for (s, y, rho) in past.iter().rev() {
        let a = rho * dot(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= a * y);
        alphas.push(a);
    }
    precondition(&mut q);
    for ((s, y, rho), a) in past.iter().zip(alphas.iter().rev()) {
        let b = rho * dot(y, &q);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (a - b) * s);
    }
    q.iter_mut().for_each(|q| *q = -*q);
    q
}

/// A step that meets the strong Wolfe conditions; the point and gradient are left in `next` and `g_next`. None when
/// no lower value is found.
fn line_search(
    value: f64,
    slope: f64,
    next: &mut [f64],
    g_next: &mut [f64],
    at: &mut impl FnMut(f64, &mut [f64], &mut [f64]) -> (f64, f64),
) -> Option<f64> {
    const ARMIJO: f64 = 1e-4;
    const CURVATURE: f64 = 0.9;
    let (mut low, mut low_value, mut low_slope) = (0.0, value, slope);
    let mut high: Option<(f64, f64)> = None;
    let mut step = 1.0;
    for _ in 0..30 {
        let (v, d) = at(step, next, g_next);
        // Near the minimum the values agree to the last digit, and the slope tells better than they do.
        let flat = (v - value).abs() <= 1e-13 * value.abs() && d.abs() <= slope.abs();
        if !v.is_finite()
            || (v > value + ARMIJO * step * slope && !flat)
            || (v >= low_value && low > 0.0 && !flat)
        {
            high = Some((step, v));
        } else if d.abs() <= CURVATURE * slope.abs() {
            return Some(v);
        } else if d >= 0.0 {
            high = Some((step, v));
        } else {
            (low, low_value, low_slope) = (step, v, d);
        }
        step = match high {
            None => step * 2.0,
            Some((h, v)) => {
                // The lowest point of the parabola through both ends, kept away from the ends.
                let width = h - low;
                let curve = (v - low_value - low_slope * width) / (width * width);
                let guess = low - low_slope / (2.0 * curve);
                let (from, to) = (low + 0.1 * width, h - 0.1 * width);
                if guess.is_finite() && curve > 0.0 {
                    guess.clamp(from.min(to), to.max(from))
                } else {
                    low + 0.5 * width
                }
            }
        };
        if step <= 1e-20 {
            break;
        }
    }
    // No step met both conditions; one that lowered the value serves.
    if low > 0.0 && low_value < value {
        let (v, _) = at(low, next, g_next);
        return Some(v);
    }
    None
}

pub(crate) fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0_f64, |m, a| if a.is_nan() { f64::INFINITY } else { m.max(a.abs()) })
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight sums side by side: the compiler may not reorder one sum, but it may run eight at once.
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    let mut sums = [0.0; 8];
    for (x, y) in a8.zip(b8) {
        for k in 0..8 {
            sums[k] += x[k] * y[k];
        }
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}
