//! Sequential minimal optimisation: the quadratic programmes of all support vector machines, two variables at a time.
//!
//! Minimises `½ αᵀQα + pᵀα` with `Q_ij = y_i y_j K(x_i, x_j)`, `yᵀα` fixed and `0 ≤ α_i ≤ C_i`; the nu forms also fix
//! `Σα` of each side. As in libsvm: pairs are chosen by second-order information (Fan, Chen and Lin 2005), variables
//! that stay at a bound are set aside (shrinking), kernels are kept in single precision, and the search ends when
//! the largest violation of optimality is below the tolerance. Choices and arithmetic follow libsvm step by step, so that
//! the same support vectors come out.
//!
//! Kept is `v_i = y_i ∂f/∂α_i` in place of the gradient, whose change is a sum of plain kernels; signs are exact.

use super::kernel::Gram;
use super::wide;
use tradewind_core::{Result, Run};

/// Stands for a curvature that is not positive.
const TINY: f64 = 1e-12;

/// Steps between two looks at the variables to be set aside, at most.
const SHRINK_EVERY: usize = 1000;

pub(super) struct Programme {
    /// +1 or −1.
    pub(super) y: Vec<f64>,
    pub(super) linear: Vec<f64>,
    pub(super) c: Vec<f64>,
    pub(super) start: Vec<f64>,
    /// Whether the sum of each side is fixed.
    pub(super) nu: bool,
}

pub(super) struct Limits {
    pub(super) tolerance: f64,
    pub(super) shrinking: bool,
}

#[derive(Debug)]
pub(super) struct Optimum {
    pub(super) alpha: Vec<f64>,
    pub(super) rho: f64,
    /// The second multiplier of the nu forms.
    pub(super) r: f64,
    pub(super) n_iter: usize,
    pub(super) converged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Lower,
    Upper,
    Between,
}

struct Solver<'a> {
    gram: &'a mut Gram,
    nu: bool,
    tolerance: f64,
    /// Variables still looked at: the first `active` positions.
    active: usize,
    unshrunk: bool,
    /// Which variable stands at each position.
    order: Vec<usize>,
    y: Vec<f64>,
    linear: Vec<f64>,
    c: Vec<f64>,
    alpha: Vec<f64>,
    at: Vec<At>,
    v: Vec<f64>,
    /// The part of `v` that comes from variables at their upper bound.
    v_bar: Vec<f64>,
    diagonal: Vec<f64>,
    /// 0 where `y α` can grow, else minus infinity.
    up: Vec<f64>,
    /// 0 where `y α` can fall, else minus infinity.
    down: Vec<f64>,
}

pub(super) fn solve(run: &Run, gram: &mut Gram, programme: Programme, limits: &Limits) -> Result<Optimum> {
    let n = programme.y.len();
    let mut s = Solver {
        nu: programme.nu,
        tolerance: limits.tolerance,
        active: n,
        unshrunk: false,
        order: (0..n).collect(),
        at: vec![At::Between; n],
        v: programme.y.iter().zip(&programme.linear).map(|(y, p)| y * p).collect(),
        v_bar: vec![0.0; n],
        diagonal: gram.diagonal(),
        up: vec![0.0; n],
        down: vec![0.0; n],
        y: programme.y,
        linear: programme.linear,
        c: programme.c,
        alpha: programme.start,
        gram,
    };
    let (n_iter, converged) = s.run(run, limits.shrinking)?;
    let (rho, r) = s.multipliers();
    let mut alpha = vec![0.0; n];
    for (k, &i) in s.order.iter().enumerate() {
        alpha[i] = s.alpha[k];
    }
    Ok(Optimum { alpha, rho, r, n_iter, converged })
}

impl Solver<'_> {
    fn run(&mut self, run: &Run, shrinking: bool) -> Result<(usize, bool)> {
        let n = self.y.len();
        for i in 0..n {
            self.note(i);
        }
        for i in 0..n {
            if self.at[i] == At::Lower {
                continue;
            }
            self.gram.load(0, i, n);
            wide::add_one(&mut self.v, self.gram.get(0), self.alpha[i] * self.y[i]);
            if self.at[i] == At::Upper {
                wide::add_one(&mut self.v_bar, self.gram.get(0), self.c[i] * self.y[i]);
            }
        }
        let most = 10_000_000.max(n.saturating_mul(100));
        let mut until_shrink = n.min(SHRINK_EVERY) + 1;
        let mut n_iter = 0;
        while n_iter < most {
            if n_iter.is_multiple_of(64) {
                run.check()?;
            }
            until_shrink -= 1;
            if until_shrink == 0 {
                until_shrink = n.min(SHRINK_EVERY);
                if shrinking {
                    self.shrink();
                }
            }
            let mut pair = self.choose();
            if pair.is_none() {
                // Optimal among those still looked at; look at all.
                self.restore();
                self.active = n;
                pair = self.choose();
                if pair.is_none() {
                    return Ok((n_iter, true));
                }
                until_shrink = 1;
            }
            if let Some((i, j)) = pair {
                self.step(i, j);
            }
            n_iter += 1;
        }
        self.restore();
        self.active = n;
        Ok((n_iter, false))
    }

    /// Notes at which bound variable `i` stands.
    fn note(&mut self, i: usize) {
        self.at[i] = if self.alpha[i] >= self.c[i] {
            At::Upper
        } else if self.alpha[i] <= 0.0 {
            At::Lower
        } else {
            At::Between
        };
        let positive = self.y[i] > 0.0;
        let (can_grow, can_fall) = (self.at[i] != At::Upper, self.at[i] != At::Lower);
        let open = |yes: bool| if yes { 0.0 } else { f64::NEG_INFINITY };
        self.up[i] = open(if positive { can_grow } else { can_fall });
        self.down[i] = open(if positive { can_fall } else { can_grow });
    }

    /// The pair to change, first ready in slot 0; none when the largest violation is below the tolerance.
    fn choose(&mut self) -> Option<(usize, usize)> {
        if self.nu {
            return self.choose_nu();
        }
        let n = self.active;
        let (top, i) = wide::last_largest(&self.v[..n], &self.up[..n]);
        if i == usize::MAX {
            return None;
        }
        self.gram.load(0, i, n);
        let (most, j) = wide::best_partner(
            &self.v[..n],
            &self.down[..n],
            &self.gram.get(0)[..n],
            &self.diagonal[..n],
            top,
            self.diagonal[i],
            TINY,
        );
        // Written so that NaN ends the search.
        let violated = top + most >= self.tolerance;
        (violated && j != usize::MAX).then_some((i, j))
    }

    /// The same with both variables on one side.
    fn choose_nu(&mut self) -> Option<(usize, usize)> {
        let n = self.active;
        let mut first = [(f64::NEG_INFINITY, usize::MAX); 2];
        for k in 0..n {
            let side = usize::from(self.y[k] < 0.0);
            let value = self.up[k] - self.v[k];
            if value >= first[side].0 && value > f64::NEG_INFINITY {
                first[side] = (value, k);
            }
        }
        for side in 0..2 {
            if first[side].1 != usize::MAX {
                self.gram.load(side, first[side].1, n);
            }
        }
        let mut most = [f64::NEG_INFINITY; 2];
        let (mut best, mut j) = (0.0, usize::MAX);
        for k in 0..n {
            let side = usize::from(self.y[k] < 0.0);
            let (top, i) = first[side];
            if i == usize::MAX || self.down[k] < 0.0 {
                continue;
            }
            most[side] = most[side].max(self.v[k]);
            let g = top + self.v[k];
            if g > 0.0 {
                let q = self.diagonal[i] + self.diagonal[k] - 2.0 * f64::from(self.gram.get(side)[k]);
                let gain = g * g / if q > 0.0 { q } else { TINY };
                if gain >= best {
                    (best, j) = (gain, k);
                }
            }
        }
        let violated = (first[0].0 + most[0]).max(first[1].0 + most[1]) >= self.tolerance;
        if !violated || j == usize::MAX {
            return None;
        }
        let i = first[usize::from(self.y[j] < 0.0)].1;
        self.gram.load(0, i, n);
        Some((i, j))
    }

    fn step(&mut self, i: usize, j: usize) {
        let n = self.active;
        self.gram.load(1, j, n);
        let k_ij = f64::from(self.gram.get(0)[j]);
        let q = self.diagonal[i] + self.diagonal[j] - 2.0 * k_ij;
        let q = if q > 0.0 { q } else { TINY };
        let (c_i, c_j) = (self.c[i], self.c[j]);
        let (old_i, old_j) = (self.alpha[i], self.alpha[j]);
        let (g_i, g_j) = (self.y[i] * self.v[i], self.y[j] * self.v[j]);
        let (mut a_i, mut a_j);
        if self.y[i] != self.y[j] {
            let delta = (-g_i - g_j) / q;
            let difference = old_i - old_j;
            (a_i, a_j) = (old_i + delta, old_j + delta);
            if difference > 0.0 {
                if a_j < 0.0 {
                    (a_j, a_i) = (0.0, difference);
                }
            } else if a_i < 0.0 {
                (a_i, a_j) = (0.0, -difference);
            }
            if difference > c_i - c_j {
                if a_i > c_i {
                    (a_i, a_j) = (c_i, c_i - difference);
                }
            } else if a_j > c_j {
                (a_j, a_i) = (c_j, c_j + difference);
            }
        } else {
            let delta = (g_i - g_j) / q;
            let sum = old_i + old_j;
            (a_i, a_j) = (old_i - delta, old_j + delta);
            if sum > c_i {
                if a_i > c_i {
                    (a_i, a_j) = (c_i, sum - c_i);
                }
            } else if a_j < 0.0 {
                (a_j, a_i) = (0.0, sum);
            }
            if sum > c_j {
                if a_j > c_j {
                    (a_j, a_i) = (c_j, sum - c_j);
                }
            } else if a_i < 0.0 {
                (a_i, a_j) = (0.0, sum);
            }
        }
        self.alpha[i] = a_i;
        self.alpha[j] = a_j;
        wide::add_two(
            &mut self.v[..n],
            &self.gram.get(0)[..n],
            self.y[i] * (a_i - old_i),
            &self.gram.get(1)[..n],
            self.y[j] * (a_j - old_j),
        );
        let was = [self.at[i] == At::Upper, self.at[j] == At::Upper];
        self.note(i);
        self.note(j);
        for (slot, k) in [i, j].into_iter().enumerate() {
            let is = self.at[k] == At::Upper;
            if was[slot] != is {
                let all = self.y.len();
                self.gram.load(slot, k, all);
                let sign = if is { 1.0 } else { -1.0 };
                wide::add_one(&mut self.v_bar, self.gram.get(slot), sign * self.c[k] * self.y[k]);
            }
        }
    }

    /// The largest `−v` of those that can grow and the largest `v` of those that can fall, of each side.
    fn extremes(&self) -> [[f64; 2]; 2] {
        let mut out = [[f64::NEG_INFINITY; 2]; 2];
        for k in 0..self.active {
            let side = usize::from(self.nu && self.y[k] < 0.0);
            if self.up[k] == 0.0 {
                out[side][0] = out[side][0].max(-self.v[k]);
            }
            if self.down[k] == 0.0 {
                out[side][1] = out[side][1].max(self.v[k]);
            }
        }
        out
    }

    /// Sets aside what stands at a bound and will likely stay.
    fn shrink(&mut self) {
        let extremes = self.extremes();
        let gap = (extremes[0][0] + extremes[0][1]).max(extremes[1][0] + extremes[1][1]);
        if !self.unshrunk && gap <= self.tolerance * 10.0 {
            self.unshrunk = true;
            self.restore();
            self.active = self.y.len();
        }
        let mut k = 0;
        while k < self.active {
            if self.stays(k, &extremes) {
                self.active -= 1;
                while self.active > k {
                    if !self.stays(self.active, &extremes) {
                        self.swap(k, self.active);
                        break;
                    }
                    self.active -= 1;
                }
            }
            k += 1;
        }
    }

    fn stays(&self, k: usize, extremes: &[[f64; 2]; 2]) -> bool {
        let [grow, fall] = extremes[usize::from(self.nu && self.y[k] < 0.0)];
        match self.at[k] {
            At::Between => false,
            // It can only fall.
            _ if self.up[k] < 0.0 => -self.v[k] > grow,
            _ => self.v[k] > fall,
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.gram.swap(a, b);
        self.order.swap(a, b);
        self.at.swap(a, b);
        for list in [
            &mut self.y,
            &mut self.linear,
            &mut self.c,
            &mut self.alpha,
            &mut self.v,
            &mut self.v_bar,
            &mut self.diagonal,
            &mut self.up,
            &mut self.down,
        ] {
            list.swap(a, b);
        }
    }

    /// Brings `v` of what was set aside up to date.
    fn restore(&mut self) {
        let (active, n) = (self.active, self.y.len());
        if active == n {
            return;
        }
        for k in active..n {
            self.v[k] = self.v_bar[k] + self.y[k] * self.linear[k];
        }
        let free: Vec<usize> = (0..active).filter(|&k| self.at[k] == At::Between).collect();
        if free.len() * n > 2 * active * (n - active) {
            for k in active..n {
                self.gram.load(0, k, active);
                let row = self.gram.get(0);
                for &f in &free {
                    self.v[k] += self.alpha[f] * self.y[f] * f64::from(row[f]);
                }
            }
        } else {
            for &f in &free {
                self.gram.load(0, f, n);
                wide::add_one(&mut self.v[active..], &self.gram.get(0)[active..n], self.alpha[f] * self.y[f]);
            }
        }
    }

    /// The offset of the decision and, for the nu forms, the second multiplier.
    fn multipliers(&self) -> (f64, f64) {
        let mut side_r = [0.0; 2];
        for (side, r) in side_r.iter_mut().enumerate() {
            let (mut upper, mut lower) = (f64::INFINITY, f64::NEG_INFINITY);
            let (mut sum, mut n_free) = (0.0, 0usize);
            for k in 0..self.active {
                if self.nu && (self.y[k] < 0.0) != (side == 1) {
                    continue;
                }
                // The nu forms bound the gradient, the others its product with y.
                let value = if self.nu { self.y[k] * self.v[k] } else { self.v[k] };
                let positive = self.nu || self.y[k] > 0.0;
                match self.at[k] {
                    At::Between => {
                        n_free += 1;
                        sum += value;
                    }
                    At::Upper if positive => lower = lower.max(value),
                    At::Upper => upper = upper.min(value),
                    At::Lower if positive => upper = upper.min(value),
                    At::Lower => lower = lower.max(value),
                }
            }
            *r = if n_free > 0 { sum / n_free as f64 } else { (upper + lower) / 2.0 };
        }
        if self.nu {
            ((side_r[0] - side_r[1]) / 2.0, (side_r[0] + side_r[1]) / 2.0)
        } else {
            (side_r[0], 0.0)
        }
    }
}
