//! Generalised least squares over a hierarchy: the bottom series b that minimise (y − S b)ᵀ W⁻¹ (y − S b), free or not
//! below zero.
//!
//! W is a diagonal Λ, or Λ + ZᵀZ with few rows in Z.
//!
//! * **Λ on nested levels**: two passes over the trees ([`Forest::solve`](super::forest::Forest::solve)), exact.
//! * **Λ on crossed levels**: conjugate gradients on Sᵀ Λ⁻¹ S, preconditioned by the nested part; since the crossed
//!   aggregates are a change of low rank, there are at most as many iterations as those are, and mostly far fewer.
//! * **Λ + ZᵀZ**: the errors are those of Λ plus Zᵀ f with f of variance 1 for each row. Given f, b is the solution by Λ
//!   for y − Zᵀ f; and (I + Z Q Zᵀ) f = Z Q y with Q = Λ⁻¹ − Λ⁻¹ S (Sᵀ Λ⁻¹ S)⁻¹ Sᵀ Λ⁻¹. The matrix on the left is as large
//!   as Z has rows, and each of its columns is one solution by Λ.
//! * **Not below zero**: block principal pivoting. Series that come out negative are held at zero, held ones that pull
//!   upwards are let go, until neither is left: then the conditions of Karush, Kuhn and Tucker hold.

use super::Hierarchy;
use super::covariance::{Weights, dot, products};
use super::forest::Work;
use crate::local::map_series;
use faer::linalg::solvers::Llt;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::prelude::Solve;
use faer::{Mat, Par, Side};
use tradewind_core::{Error, Result, Run};
use tradewind_learn::faer_call::faer_call;

/// The error of conjugate gradients in the norm of the matrix, against the norm of all data: 1e-11, squared.
const TOLERANCE_SQUARED: f64 = 1e-22;
/// What is accepted where rounding stops conjugate gradients before: 1e-8, squared.
const TOLERANCE_SQUARED_WORST: f64 = 1e-16;
/// The error of factors' values while series are still exchanged: 1e-4, squared.
const TOLERANCE_SQUARED_ROUGH: f64 = 1e-8;
/// The most iterations of conjugate gradients.
const ITERATIONS_MAX: usize = 2_000;
/// The most exchanges of block pivoting.
const PIVOTS_MAX: usize = 2_000;
/// What counts as zero against the largest value.
const ZERO: f64 = 1e-10;

/// A hierarchy with its weights, made ready for many right-hand sides.
pub(super) struct Solver<'a> {
    h: &'a Hierarchy,
    weights: &'a Weights,
    low_rank: Option<LowRank>,
}

struct LowRank {
    /// The rows of Z Q.
    projected: Vec<f64>,
    /// I + Z Q Zᵀ.
    matrix: Llt<f64>,
}

/// Space that solutions use again.
#[derive(Default)]
struct Space {
    work: Work,
    all: Vec<f64>,
}

impl<'a> Solver<'a> {
    pub(super) fn new(run: &Run, h: &'a Hierarchy, weights: &'a Weights) -> Result<Self> {
        let mut solver = Self { h, weights, low_rank: None };
        let z = &weights.factors;
        if z.n_rows > 0 {
            let rows: Vec<&[f64]> = z.rows().collect();
            let projected = map_series(&run.quiet(), "factors", z.n_rows, |t| {
                let mut space = Space::default();
                let mut b = vec![0.0; h.n_bottom()];
                solver.by_diagonal(rows[t], None, &mut space, &mut b)?;
                Ok(solver.weighted_rest(rows[t], &b))
            })?;
            let projected = projected.into_iter().collect::<Result<Vec<_>>>()?.concat();
            run.check()?;
            let product = products(run, &z.values, &projected, z.n_rows);
            // Both halves are equal but for rounding.
            let matrix = Mat::from_fn(z.n_rows, z.n_rows, |i, j| {
                0.5 * (product[(i, j)] + product[(j, i)]) + if i == j { 1.0 } else { 0.0 }
            });
            let matrix = faer_call(|| matrix.llt(Side::Lower)).map_err(|_| {
                Error::Invalid(
                    "the covariance of the residuals is not positive definite: are they finite?".into(),
                )
            })?;
            solver.low_rank = Some(LowRank { projected, matrix });
        }
        Ok(solver)
    }

    /// The least-squares bottom series.
    pub(super) fn solve(&self, y: &[f64]) -> Result<Vec<f64>> {
        let mut b = vec![0.0; self.h.n_bottom()];
        let mut space = Space::default();
        match self.free_factors(y) {
            Some(f) => self.by_diagonal(&self.without(y, &f), None, &mut space, &mut b)?,
            None => self.by_diagonal(y, None, &mut space, &mut b)?,
        }
        Ok(b)
    }

    /// The least-squares bottom series among those nowhere below zero.
    pub(super) fn solve_nonnegative(&self, y: &[f64]) -> Result<Vec<f64>> {
        let h = self.h;
        let w = &self.weights.diagonal[h.n_aggregates()..];
        let zero = y.iter().fold(0.0_f64, |m, v| m.max(v.abs())) * ZERO;
        let mut pinned = vec![false; h.n_bottom()];
        let mut b = vec![0.0; h.n_bottom()];
        let mut space = Space::default();
        let mut pull = vec![0.0; h.n_bottom()];
        let mut factors = self.free_factors(y);
        let mut target = factors.as_ref().map_or_else(|| y.to_vec(), |f| self.without(y, f));
        self.by_diagonal(&target, None, &mut space, &mut b)?;
        // Whole blocks are exchanged while that lessens what is wrong (three failures are forgiven); after that one series
        // at a time, which is slow but ends (Kim & Park 2011).
        let (mut fewest, mut patience) = (usize::MAX, 3);
        // Which series to exchange is seen from roughly right factors; they are made exact before the end is believed.
        let mut exact = true;
        for _ in 0..PIVOTS_MAX {
            h.gather_into(&self.weighted_rest(&target, &b), &mut pull);
            let wrong: Vec<usize> = (0..b.len())
                .filter(|i| if pinned[*i] { pull[*i] * w[*i] > zero } else { b[*i] < -zero })
                .collect();
            let Some(last) = wrong.last() else {
                if let Some(f) = factors.as_mut().filter(|_| !exact) {
                    self.refine_factors(y, &pinned, f, TOLERANCE_SQUARED, &mut space)?;
                    target = self.without(y, f);
                    self.by_diagonal(&target, Some(&pinned), &mut space, &mut b)?;
                    exact = true;
                    continue;
                }
                b.iter_mut().for_each(|v| *v = v.max(0.0));
                return Ok(b);
            };
            if wrong.len() < fewest {
                (fewest, patience) = (wrong.len(), 3);
            } else {
                patience = usize::saturating_sub(patience, 1);
            }
            let exchange = if patience > 0 { &wrong[..] } else { std::slice::from_ref(last) };
            exchange.iter().for_each(|i| pinned[*i] = !pinned[*i]);
            if let Some(f) = &mut factors {
                // Single exchanges end only if each is decided exactly.
                exact = patience == 0;
                let tolerance = if exact { TOLERANCE_SQUARED } else { TOLERANCE_SQUARED_ROUGH };
                self.refine_factors(y, &pinned, f, tolerance, &mut space)?;
                target = self.without(y, f);
            }
            self.by_diagonal(&target, Some(&pinned), &mut space, &mut b)?;
        }
        Err(Error::NotConverged { what: "non-negative reconciliation".into(), iterations: PIVOTS_MAX })
    }

    /// The variances of all reconciled nodes, if W is the covariance of the base forecasts' errors. For hierarchies with
    /// crossed levels they are bounds from above: what crossed aggregates add is left out.
    pub(super) fn variances(&self, run: &Run) -> Result<Vec<f64>> {
        const BLOCK: usize = 256;
        let diagonal = &self.weights.diagonal;
        let n = diagonal.len();
        let mut out = self.h.forest.variances(diagonal);
        let Some(low) = &self.low_rank else { return Ok(out) };
        let z = &self.weights.factors;
        let more = map_series(&run.quiet(), "variances", n.div_ceil(BLOCK), |c| {
            let from = c * BLOCK;
            // The coherent part of each factor, S G Zᵀ, is Zᵀ less its rest.
            let mut part = Mat::from_fn(z.n_rows, BLOCK.min(n - from), |t, i| {
                z.values[t * n + from + i] - diagonal[from + i] * low.projected[t * n + from + i]
            });
            faer_call(|| solve_lower_triangular_in_place(low.matrix.L(), part.as_mut(), Par::Seq));
            part.col_iter().map(|c| c.iter().map(|v| v * v).sum::<f64>()).collect::<Vec<_>>()
        })?;
        out.iter_mut().zip(more.into_iter().flatten()).for_each(|(v, m)| *v += m);
        Ok(out)
    }

    /// y − Zᵀ f.
    fn without(&self, y: &[f64], f: &[f64]) -> Vec<f64> {
        let mut out = y.to_vec();
        self.weights.factors.add_transposed(f, -1.0, &mut out);
        out
    }

    /// Λ⁻¹ (y − S b).
    fn weighted_rest(&self, y: &[f64], b: &[f64]) -> Vec<f64> {
        let mut rest = vec![0.0; y.len()];
        self.h.sum_into(b, &mut rest);
        rest.iter_mut().zip(y).zip(&self.weights.diagonal).for_each(|((r, y), w)| *r = (y - *r) / w);
        rest
    }

    /// The factors' values where no series is held at zero.
    fn free_factors(&self, y: &[f64]) -> Option<Vec<f64>> {
        let low = self.low_rank.as_ref()?;
        let right: Vec<f64> = low.projected.chunks_exact(y.len()).map(|row| dot(row, y)).collect();
        Some(low.precondition(&right))
    }

    /// The factors' values where the `pinned` series are zero, by conjugate gradients from `f`, with the matrix of free
    /// series as the preconditioner.
    fn refine_factors(
        &self,
        y: &[f64],
        pinned: &[bool],
        f: &mut [f64],
        tolerance_squared: f64,
        space: &mut Space,
    ) -> Result<()> {
        let Some(low) = &self.low_rank else { return Ok(()) };
        let z = &self.weights.factors;
        let mut b = vec![0.0; self.h.n_bottom()];
        let mut project = |v: &[f64]| -> Result<Vec<f64>> {
            self.by_diagonal(v, Some(pinned), space, &mut b)?;
            Ok(z.times(&self.weighted_rest(v, &b)))
        };
        // Z Q (y − Zᵀ f) − f is the residual.
        let mut r = project(&self.without(y, f))?;
        r.iter_mut().zip(f.iter()).for_each(|(r, f)| *r -= f);
        let mut s = low.precondition(&r);
        let mut rs = dot(&r, &s);
        let scale = dot(f, f).max(rs).max(f64::MIN_POSITIVE);
        let mut p = s.clone();
        for _ in 0..ITERATIONS_MAX {
            if rs <= tolerance_squared * scale {
                return Ok(());
            }
            let mut back = vec![0.0; y.len()];
            z.add_transposed(&p, 1.0, &mut back);
            let mut q = project(&back)?;
            q.iter_mut().zip(&p).for_each(|(q, p)| *q += p);
            let step = rs / dot(&p, &q);
            f.iter_mut().zip(&p).for_each(|(f, p)| *f += step * p);
            r.iter_mut().zip(&q).for_each(|(r, q)| *r -= step * q);
            s = low.precondition(&r);
            let next = dot(&r, &s);
            let turn = next / rs;
            p.iter_mut().zip(&s).for_each(|(p, s)| *p = s + turn * *p);
            rs = next;
        }
        Err(Error::NotConverged { what: "reconciliation".into(), iterations: ITERATIONS_MAX })
    }

    /// The solution for W = Λ, with `pinned` series at zero.
    fn by_diagonal(
        &self,
        y: &[f64],
        pinned: Option<&[bool]>,
        space: &mut Space,
        b: &mut [f64],
    ) -> Result<()> {
        let (h, w) = (self.h, &self.weights.diagonal);
        h.forest.solve(y, w, pinned, &mut space.work, b);
        if h.is_tree() {
            return Ok(());
        }
        let (n_aggregates, m) = (h.n_aggregates(), b.len());
        let free = |r: &mut [f64]| {
            if let Some(pinned) = pinned {
                r.iter_mut().zip(pinned).filter(|(_, p)| **p).for_each(|(r, _)| *r = 0.0);
            }
        };
        // What solves the nested part for any right-hand side: the same passes, with the bottom series' values chosen so.
        let precondition = |r: &[f64], space: &mut Space, out: &mut [f64]| {
            space.all.clear();
            space.all.resize(n_aggregates + m, 0.0);
            for (i, r) in r.iter().enumerate() {
                space.all[n_aggregates + i] = r * w[n_aggregates + i];
            }
            h.forest.solve(&space.all, w, pinned, &mut space.work, out);
        };
        let energy: f64 = y.iter().zip(w).map(|(y, w)| y * y / w).sum();
        let mut r = vec![0.0; m];
        h.gather_into(&self.weighted_rest(y, b), &mut r);
        free(&mut r);
        let mut s = vec![0.0; m];
        precondition(&r, space, &mut s);
        let mut rs = dot(&r, &s);
        let mut p = s.clone();
        let mut q = vec![0.0; m];
        let (mut best, mut since) = (f64::INFINITY, 0);
        for _ in 0..ITERATIONS_MAX {
            if rs <= TOLERANCE_SQUARED * energy {
                return Ok(());
            }
            if rs < best {
                (best, since) = (rs, 0);
            } else {
                since += 1;
            }
            if since > 50 && best <= TOLERANCE_SQUARED_WORST * energy {
                return Ok(());
            }
            space.all.clear();
            space.all.resize(n_aggregates + m, 0.0);
            h.sum_into(&p, &mut space.all);
            space.all.iter_mut().zip(w).for_each(|(v, w)| *v /= w);
            h.gather_into(&space.all, &mut q);
            free(&mut q);
            let curvature = dot(&p, &q);
            if curvature <= 0.0 {
                break;
            }
            let step = rs / curvature;
            b.iter_mut().zip(&p).for_each(|(b, p)| *b += step * p);
            r.iter_mut().zip(&q).for_each(|(r, q)| *r -= step * q);
            precondition(&r, space, &mut s);
            let next = dot(&r, &s);
            let turn = next / rs;
            p.iter_mut().zip(&s).for_each(|(p, s)| *p = s + turn * *p);
            rs = next;
        }
        Err(Error::NotConverged { what: "reconciliation".into(), iterations: ITERATIONS_MAX })
    }
}

impl LowRank {
    fn precondition(&self, r: &[f64]) -> Vec<f64> {
        let mut x = Mat::from_fn(r.len(), 1, |i, _| r[i]);
        faer_call(|| self.matrix.solve_in_place(x.as_mut()));
        x.col(0).iter().copied().collect()
    }
}
