//! Fitting one form: starting values, and the descent of Gauss and Newton within bounds.

use super::form::{Form, SeasonForm};
use super::kernel::{self, Layout, Now, Shares, Slopes, Weights};
use crate::optimize::solve_positive;
use crate::seasonality::classical_pattern;
use serde::{Deserialize, Serialize};

/// The smoothing shares that are searched.
pub(super) const SHARE_MIN: f64 = 1e-4;
pub(super) const SHARE_MAX: f64 = 0.9999;
/// The damping that is searched; weaker damping is no damping, stronger no trend (Hyndman et al. 2008).
const PHI_MIN: f64 = 0.8;
const PHI_MAX: f64 = 0.98;
/// The largest share of a change of the level that a calm slope takes up.
const CALM_MAX: f64 = 0.1;
/// Starts with a larger alpha are lively.
const LIVELY: f64 = 0.3;
/// The longest season whose states before the first observation are searched; longer ones keep their first estimate.
const SOLVED_SEASON_MAX: usize = 60;

/// Weights that are given rather than estimated, as shares: `β = α β*`, `γ` as in the recursions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub(crate) alpha: Option<f64>,
    pub(crate) beta: Option<f64>,
    pub(crate) gamma: Option<f64>,
    pub(crate) phi: Option<f64>,
}

/// Where weights may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    #[default]
    /// As `Usual`, with a slope that takes up at most a tenth of each change of the level: `β < α / 10`.
    Calm,
    /// Each weight a share of what the one above leaves: `0 < α < 1`, `0 < β < α`, `0 < γ < 1 − α`.
    Usual,
    /// Wherever old observations lose their weight.
    Admissible,
}

/// Numbers of one form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// As searched.
    pub(super) searched: Weights,
    pub(super) now: Now,
    /// The season before the first observation; empty without one.
    pub(super) season: Vec<f64>,
    pub(super) deviance: f64,
}

/// The series and the room to work in.
pub(super) struct Search<'a> {
    /// Scaled to a largest absolute value of 1; NaN where unknown.
    y: &'a [f64],
    /// The same with gaps filled.
    filled: &'a [f64],
    m: usize,
    given: Given,
    bounds: Bounds,
    slopes: Slopes,
    buffer: Vec<f64>,
    matrix: Vec<f64>,
    /// First estimates of level, slope and season by (trend, season).
    first: [Option<(Now, Vec<f64>)>; 3],
}

impl<'a> Search<'a> {
    pub(super) fn new(y: &'a [f64], filled: &'a [f64], m: usize, given: Given, bounds: Bounds) -> Self {
        Self {
            y,
            filled,
            m,
            given,
            bounds,
            slopes: Slopes::default(),
            buffer: Vec::new(),
            matrix: Vec::new(),
            first: [const { None }; 3],
        }
    }

    /// Weights of the recursions from those searched.
    pub(super) fn weights(&self, form: Form, x: &Weights) -> Weights {
        let plain = self.shares() == Shares::Plain;
        let trend = form.trend.is_some();
        let gamma = match self.given.gamma {
            Some(g) => g,
            None if plain => x.gamma,
            None => (1.0 - x.alpha) * x.gamma,
        };
        Weights {
            alpha: x.alpha,
            beta: if !trend {
                0.0
            } else if plain {
                x.beta
            } else {
                x.alpha * x.beta
            },
            gamma: if form.season == SeasonForm::None { 0.0 } else { gamma },
            phi: if trend { x.phi } else { 0.0 },
        }
    }

    fn shares(&self) -> Shares {
        if self.bounds == Bounds::Admissible { Shares::Plain } else { Shares::Nested }
    }

    /// How many indices of the season are searched; the last one is left alone, since moving all of them and the level
    /// changes no forecast.
    fn solved(&self, form: Form) -> usize {
        if form.season == SeasonForm::None || self.m > SOLVED_SEASON_MAX { 0 } else { self.m - 1 }
    }

    /// Lowest and highest value of a searched number.
    fn range(&self, form: Form, layout: &Layout, i: usize) -> (f64, f64) {
        let fixed = |v: Option<f64>, low: f64, high: f64| v.map_or((low, high), |v| (v, v));
        let usual = self.bounds != Bounds::Admissible;
        if i == 0 {
            return fixed(self.given.alpha, SHARE_MIN, if usual { SHARE_MAX } else { 2.0 });
        }
        if form.trend.is_some() && i == layout.beta {
            let (low, high) = match self.bounds {
                Bounds::Calm => (SHARE_MIN, CALM_MAX),
                Bounds::Usual => (SHARE_MIN, SHARE_MAX),
                Bounds::Admissible => (0.0, 4.0),
            };
            return fixed(self.given.beta, low, high);
        }
        if form.trend.is_some() && i == layout.phi {
            let free = if form.trend.is_damped() { self.given.phi } else { Some(1.0) };
            return fixed(free, PHI_MIN, PHI_MAX);
        }
        if form.season != SeasonForm::None && i == layout.gamma {
            return match self.given.gamma {
                Some(_) => (0.0, 0.0),
                None => (if usual { SHARE_MIN } else { 0.0 }, if usual { SHARE_MAX } else { 2.0 }),
            };
        }
        (f64::NEG_INFINITY, f64::INFINITY)
    }

    /// The deviance of a point.
    pub(super) fn deviance(&mut self, form: Form, point: &Point) -> f64 {
        let w = self.weights(form, &point.searched);
        if self.bounds == Bounds::Admissible && !is_admissible(&w, form, self.m) {
            return f64::INFINITY;
        }
        if form.season == SeasonForm::Multiplicative && point.season.iter().any(|s| *s <= 1e-6)
            || form.trend.is_multiplicative() && point.now.slope <= 1e-3
        {
            return f64::INFINITY;
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(&point.season);
        let mut now = point.now;
        kernel::pass(self.y, form, &w, &mut now, &mut self.buffer, |_| {}).deviance()
    }

    /// A first estimate of the states: the season of classical decomposition over four seasons, level and slope of a line
    /// through the first observations without it.
    fn first_states(&mut self, form: Form) -> (Now, Vec<f64>) {
        let kind = form.season as usize;
        if self.first[kind].is_none() {
            let m = self.m;
            let multiplied = form.season == SeasonForm::Multiplicative;
            let begin = &self.filled[..self.filled.len().min(4 * m + 1)];
            let pattern = (form.season != SeasonForm::None).then(|| classical_pattern(begin, m, multiplied)).flatten();
            let season = match (&pattern, form.season) {
                (_, SeasonForm::None) => vec![],
                (Some(p), _) => p.indices.clone(),
                (None, _) => vec![if multiplied { 1.0 } else { 0.0 }; m],
            };
            let n = self.filled.len().min((2 * m).max(10));
            let z: Vec<f64> = (0..n).map(|t| pattern.as_ref().map_or(self.filled[t], |p| p.remove(self.filled[t], t))).collect();
            let n = n as f64;
            let mean = z.iter().sum::<f64>() / n;
            let centre = (n + 1.0) / 2.0;
            let slope = z.iter().enumerate().map(|(t, v)| (t as f64 + 1.0 - centre) * v).sum::<f64>()
                / (n * (n * n - 1.0) / 12.0).max(1.0);
            self.first[kind] = Some((Now { level: mean, slope, s: 0.0 }, season));
        }
        let (now, season) = self.first[kind].clone().unwrap_or_default();
        if !form.trend.is_some() {
            return (Now { slope: 0.0, ..now }, season);
        }
        let n = self.filled.len().min((2 * self.m).max(10)) as f64;
        let level = now.level - now.slope * (n + 1.0) / 2.0;
        if form.trend.is_multiplicative() {
            let level = if level > 0.05 * now.level { level } else { now.level };
            return (Now { level, slope: (1.0 + now.slope / level).clamp(0.8, 1.25), s: 0.0 }, season);
        }
        // A line that would begin below zero says nothing of what is above.
        let level = if level > 0.0 || now.level <= 0.0 { level } else { now.level };
        (Now { level, slope: now.slope, s: 0.0 }, season)
    }

    /// The best points of a coarse grid of weights with the first estimate of the states: one with a calm level and one
    /// with a lively one, the better first.
    pub(super) fn starts(&mut self, form: Form) -> [Point; 2] {
        let (now, season) = self.first_states(form);
        let usual = self.bounds != Bounds::Admissible;
        let trend = form.trend.is_some();
        let mut point = Point {
            searched: Weights { alpha: 0.2, beta: 0.1, gamma: 0.1, phi: 1.0 },
            now,
            season,
            deviance: f64::INFINITY,
        };
        let one = |v: Option<f64>, all: &'static [f64]| v.map_or(all.to_vec(), |v| vec![v]);
        let alphas = one(self.given.alpha, &[0.05, 0.15, 0.4, 0.8]);
        let betas = if trend { one(self.given.beta, if self.bounds == Bounds::Calm { &[0.02, 0.08] } else { &[0.02, 0.2] }) } else { vec![0.0] };
        let gammas = if form.season == SeasonForm::None || self.given.gamma.is_some() { vec![0.0] } else { vec![0.05, 0.3] };
        let phis = if form.trend.is_damped() { one(self.given.phi, &[0.9]) } else { vec![1.0] };
        let mut best = [point.clone(), point.clone()];
        best.iter_mut().for_each(|b| {
            b.searched = Weights { alpha: alphas[0], beta: betas[0], gamma: gammas[0], phi: phis[0] };
        });
        for &alpha in &alphas {
            let best = &mut best[usize::from(alpha > LIVELY)];
            for &beta in &betas {
                for &gamma in &gammas {
                    for &phi in &phis {
                        point.searched = Weights {
                            alpha,
                            beta: if usual { beta } else { beta * alpha },
                            gamma: if usual { gamma } else { gamma * (1.0 - alpha) },
                            phi,
                        };
                        point.deviance = self.deviance(form, &point);
                        if point.deviance < best.deviance {
                            best.searched = point.searched;
                            best.deviance = point.deviance;
                        }
                    }
                }
            }
        }
        if best[1].deviance < best[0].deviance {
            best.swap(0, 1);
        }
        best
    }

    /// Another form's point as a start for this one; `None` where the seasons differ in kind.
    pub(super) fn adapt(&mut self, from: Form, to: Form, point: &Point) -> Option<Point> {
        if from.season != to.season || from.trend.is_multiplicative() != to.trend.is_multiplicative() && from.trend.is_some() {
            return None;
        }
        let mut p = point.clone();
        let usual = self.bounds != Bounds::Admissible;
        if to.trend.is_some() && !from.trend.is_some() {
            p.searched.beta = self.given.beta.unwrap_or(if usual { 0.02 } else { 0.02 * p.searched.alpha });
            p.now.slope = if to.trend.is_multiplicative() { 1.0 } else { 0.0 };
        }
        if !to.trend.is_some() {
            p.now.slope = 0.0;
        }
        if to.trend.is_damped() {
            if !from.trend.is_damped() {
                p.searched.phi = self.given.phi.unwrap_or(0.95);
            }
        } else {
            p.searched.phi = 1.0;
        }
        p.deviance = self.deviance(to, &p);
        Some(p)
    }

    /// Goes down from `point` until a round gains less than `tolerance` of deviance, after `rounds_max`, or where `enough`
    /// is out of reach: the deviance beyond which the form does not matter.
    pub(super) fn descend(&mut self, form: Form, point: &mut Point, tolerance: f64, rounds_max: usize, enough: f64) {
        if !point.deviance.is_finite() {
            return;
        }
        let (mut slopes, mut matrix) = (std::mem::take(&mut self.slopes), std::mem::take(&mut self.matrix));
        self.descend_in(form, point, tolerance, rounds_max, enough, &mut slopes, &mut matrix);
        (self.slopes, self.matrix) = (slopes, matrix);
    }

    fn descend_in(
        &mut self,
        form: Form,
        point: &mut Point,
        tolerance: f64,
        rounds_max: usize,
        enough: f64,
        slopes: &mut Slopes,
        matrix: &mut Vec<f64>,
    ) {
        let solved = self.solved(form);
        let layout = Layout::of(form, solved);
        let len = layout.len;
        let ranges: Vec<(f64, f64)> = (0..len).map(|i| self.range(form, &layout, i)).collect();
        let mut x = vec![0.0; len];
        let (mut d, mut free, mut bound) = (vec![0.0; len], Vec::with_capacity(len), Vec::with_capacity(len));
        let mut right = Vec::with_capacity(len);
        let mut trial = point.clone();
        let mut damping = 1e-3;
        for _ in 0..rounds_max {
            let w = self.weights(form, &point.searched);
            self.buffer.clear();
            self.buffer.extend_from_slice(&point.season);
            let sums = kernel::derive(
                self.y,
                form,
                self.shares(),
                &point.searched,
                &w,
                point.now,
                &mut self.buffer,
                solved,
                slopes,
            );
            gather(form, &layout, point, &mut x);
            let before = point.deviance;
            let errs = sums.squares > sums.n * 1e-24;
            if !errs {
                return;
            }
            let (g, h) = (&slopes.g, &slopes.h);
            let at = |i: usize, j: usize| if i >= j { h[i * len + j] } else { h[j * len + i] };
            let mut taken = false;
            let mut first = true;
            for _ in 0..7 {
                free.clear();
                bound.clear();
                for i in 0..len {
                    let (low, high) = ranges[i];
                    d[i] = 0.0;
                    if low < high && !(x[i] <= low && g[i] > 0.0) && !(x[i] >= high && g[i] < 0.0) && at(i, i) > 0.0 {
                        free.push(i);
                    }
                }
                // Numbers that would leave their range stop at its end, and the others are solved again.
                for _ in 0..4 {
                    let p = free.len();
                    matrix.clear();
                    matrix.resize(p * p, 0.0);
                    right.clear();
                    for (a, &i) in free.iter().enumerate() {
                        for (b, &j) in free[..=a].iter().enumerate() {
                            matrix[a * p + b] = at(i, j);
                        }
                        matrix[a * p + a] *= 1.0 + damping;
                        right.push(-g[i] - bound.iter().map(|&j: &usize| at(i, j) * d[j]).sum::<f64>());
                    }
                    if p == 0 || solve_positive(matrix, &mut right, p).is_none() {
                        break;
                    }
                    free.iter().zip(&right).for_each(|(i, v)| d[*i] = *v);
                    let n_bound = bound.len();
                    free.retain(|&i| {
                        let (low, high) = ranges[i];
                        let inside = x[i] + d[i] >= low && x[i] + d[i] <= high;
                        if !inside {
                            d[i] = if x[i] + d[i] < low { low - x[i] } else { high - x[i] };
                            bound.push(i);
                        }
                        inside
                    });
                    if bound.len() == n_bound {
                        break;
                    }
                }
                if first {
                    first = false;
                    // What the quadratic promises, as deviance.
                    let promised: f64 = (0..len)
                        .map(|i| -d[i] * (g[i] + 0.5 * (0..len).map(|j| at(i, j) * d[j]).sum::<f64>()))
                        .sum();
                    let gain = 2.0 * sums.n * promised / sums.squares;
                    if before - PROMISE * gain > enough {
                        return;
                    }
                }
                trial.searched = point.searched;
                trial.now = point.now;
                trial.season.clone_from(&point.season);
                scatter(form, &layout, &x, &d, &ranges, &mut trial);
                trial.deviance = self.deviance(form, &trial);
                if trial.deviance < before {
                    std::mem::swap(point, &mut trial);
                    damping = f64::max(damping * 0.1, 1e-9);
                    taken = true;
                    break;
                }
                damping = f64::max(damping * 8.0, 1e-4);
            }
            if !taken || before - point.deviance < tolerance {
                return;
            }
        }
    }
}

/// How many times more than the quadratic promises a round may at most gain.
const PROMISE: f64 = 4.0;

fn gather(form: Form, layout: &Layout, point: &Point, x: &mut [f64]) {
    x[layout.level] = point.now.level;
    x[0] = point.searched.alpha;
    if form.season != SeasonForm::None {
        x[layout.gamma] = point.searched.gamma;
        let solved = layout.len - layout.season;
        x[layout.season..].copy_from_slice(&point.season[..solved]);
    }
    if form.trend.is_some() {
        x[layout.beta] = point.searched.beta;
        x[layout.phi] = point.searched.phi;
        x[layout.slope] = point.now.slope;
    }
}

fn scatter(form: Form, layout: &Layout, x: &[f64], d: &[f64], ranges: &[(f64, f64)], point: &mut Point) {
    let to = |i: usize| (x[i] + d[i]).clamp(ranges[i].0, ranges[i].1);
    point.searched.alpha = to(0);
    point.now.level = to(layout.level);
    if form.season != SeasonForm::None {
        point.searched.gamma = to(layout.gamma);
        for (j, s) in point.season[..layout.len - layout.season].iter_mut().enumerate() {
            *s = to(layout.season + j);
        }
    }
    if form.trend.is_some() {
        point.searched.beta = to(layout.beta);
        point.searched.phi = to(layout.phi);
        point.now.slope = to(layout.slope);
    }
}

/// Whether old observations lose their weight: the roots of the recursion's characteristic polynomial lie inside the
/// unit circle (Hyndman et al. 2008, chapter 10), seen without finding them by the recursion of Schur and Cohn.
pub(super) fn is_admissible(w: &Weights, form: Form, m: usize) -> bool {
    let Weights { alpha, beta, gamma, .. } = *w;
    let trend = form.trend.is_some();
    let phi = if trend { w.phi } else { 1.0 };
    if form.season == SeasonForm::None {
        return if trend {
            alpha > 1.0 - 1.0 / phi
                && alpha < 1.0 + 1.0 / phi
                && beta > alpha * (phi - 1.0)
                && beta < (1.0 + phi) * (2.0 - alpha)
        } else {
            alpha > 0.0 && alpha < 2.0
        };
    }
    // From the highest power down.
    let through = alpha + beta - alpha * phi;
    let mut p = vec![1.0, alpha + beta - phi];
    p.extend(std::iter::repeat_n(through, m.saturating_sub(2)));
    p.push(through + gamma - 1.0);
    p.push(phi * (1.0 - alpha - gamma));
    if !trend {
        // Without trend one root is exactly 1, that of a slope which is never there.
        let mut carry = 0.0;
        for c in &mut p {
            carry += *c;
            *c = carry;
        }
        p.pop();
    }
    while p.len() > 1 {
        let (first, last) = (p[0], p[p.len() - 1]);
        // A little outside is let pass, since weights on the border are common.
        if last.abs() >= first.abs() * (1.0 + 1e-10) {
            return false;
        }
        let n = p.len() - 1;
        let k = last / first;
        let next: Vec<f64> = (0..n).map(|i| p[i] - k * p[n - i]).collect();
        p = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ets::form::{ErrorForm, TrendForm};

    #[test]
    fn weights_that_forget_are_admissible() {
        let form = |trend, season| Form { error: ErrorForm::Additive, trend, season };
        let w = |alpha, beta, gamma, phi| Weights { alpha, beta, gamma, phi };
        let ok = |w: Weights, trend, season| is_admissible(&w, form(trend, season), 4);
        use SeasonForm::{Additive as Season, None as Without};
        use TrendForm::{Additive as Line, Damped, None as Level};
        assert!(ok(w(1.9, 0.0, 0.0, 1.0), Level, Without) && !ok(w(2.1, 0.0, 0.0, 1.0), Level, Without));
        assert!(ok(w(0.5, 1.0, 0.0, 1.0), Line, Without) && !ok(w(0.5, 3.1, 0.0, 1.0), Line, Without));
        // Usual weights are admissible with a season too, and those beyond are not.
        assert!(ok(w(0.5, 0.2, 0.3, 0.9), Damped, Season) && ok(w(0.5, 0.2, 0.3, 1.0), Line, Season));
        assert!(ok(w(0.5, 0.0, 0.3, 1.0), Level, Season) && !ok(w(0.5, 0.0, 1.8, 1.0), Level, Season));
        assert!(!ok(w(0.5, 2.9, 0.3, 1.0), Line, Season));
    }
}
