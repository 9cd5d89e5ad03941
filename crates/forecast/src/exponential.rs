//! Exponential smoothing in its error-correction form: the engine of [`ses`](crate::ses), [`holt`](crate::holt) and
//! [`holt_winters`](crate::holt_winters).
//!
//! ```text
//! q = ℓ + φ b,   ŷ = q + s  or  q · s,   e = y − ŷ
//! ℓ ← q + α e (/ s),   b ← φ b + α β e (/ s),   s ← s + γ e (/ q)
//! ```
//!
//! These are the classical recursions (Holt 1957, Winters 1960; damped: Gardner & McKenzie 1985) in the parameters of
//! their authors: `β` and `γ` are the shares by which trend and season follow, so `γ ≤ 1 − α` when it is estimated.
//! Parameters minimise the sum of squared errors, which is the likelihood of additive errors (Hyndman et al. 2008).
//! While nothing multiplies, forecasts are linear in the states before the first observation, and these are solved by
//! least squares instead of searched: without season inside every evaluation, with an additive season in turns.

use crate::local::Steps;
use crate::optimize::{minimize_on, nelder_mead};
use serde::{Deserialize, Serialize};

/// The form of the trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrendForm {
    /// None.
    None,
    /// A straight line.
    Additive,
    /// A line that flattens.
    Damped,
}

/// The form of the season.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeasonForm {
    /// None.
    None,
    /// Added.
    Additive,
    /// Multiplied.
    Multiplicative,
}

/// The form of a model and the steps of its season.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Form {
    /// Its trend.
    pub trend: TrendForm,
    /// Its season.
    pub season: SeasonForm,
    /// Steps of a season.
    pub m: usize,
}

/// Smoothing parameters that are given rather than estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub(crate) alpha: Option<f64>,
    pub(crate) beta: Option<f64>,
    pub(crate) gamma: Option<f64>,
    pub(crate) phi: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Weights {
    alpha: f64,
    beta: f64,
    gamma: f64,
    phi: f64,
}

/// A fitted model of exponential smoothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FittedExponential {
    form: Form,
    weights: Weights,
    level: f64,
    slope: f64,
    /// Season by season position; the next step has `season[next]`.
    season: Vec<f64>,
    next: usize,
    variance: f64,
    aicc: f64,
}

/// The smoothing shares that are searched.
const SHARE_MIN: f64 = 1e-4;
const SHARE_MAX: f64 = 0.9999;
/// The damping that is searched; weaker damping is no damping, stronger no trend (Hyndman et al. 2008).
const PHI_MIN: f64 = 0.8;
const PHI_MAX: f64 = 0.98;
/// The longest season whose starting states are solved by least squares; longer ones keep their first estimate.
const SOLVED_SEASON_MAX: usize = 60;

/// The states before the first observation.
#[derive(Clone, Debug)]
struct Start {
    level: f64,
    slope: f64,
    season: Vec<f64>,
}

/// Fits a model to at least one value without gaps. Forecasts one step ahead are appended to `in_sample`. A season needs
/// two whole seasons and, multiplied, values above zero: the caller sees to that.
pub(crate) fn fit(
    y: &[f64],
    form: Form,
    given: Given,
    in_sample: Option<&mut Vec<f64>>,
) -> FittedExponential {
    let scale = y.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
    let z: Vec<f64> = y.iter().map(|v| v / scale).collect();
    let mut search = Search { y: &z, form, given, buffer: vec![0.0; form.m.max(1)] };
    let (weights, start) = match form.season {
        SeasonForm::None => search.plain(),
        _ => search.seasonal(),
    };
    let mut fitted = FittedExponential {
        form,
        weights,
        level: start.level,
        slope: start.slope,
        season: start.season,
        next: 0,
        variance: 0.0,
        aicc: 0.0,
    };
    let mut sse = 0.0;
    let mut out = in_sample;
    for v in &z {
        let ahead = fitted.ahead();
        if let Some(out) = out.as_deref_mut() {
            out.push(ahead * scale);
        }
        sse += (v - ahead) * (v - ahead);
        fitted.advance(*v);
    }
    let n = z.len() as f64;
    let k =
        2.0 + match form.trend {
            TrendForm::None => 0.0,
            TrendForm::Additive => 2.0,
            TrendForm::Damped => 3.0,
        } + if form.season == SeasonForm::None { 0.0 } else { form.m as f64 };
    fitted.variance = (sse / (n - k).max(1.0) * scale * scale).min(f64::MAX);
    // One more parameter for the variance; beyond the range of the formula the penalty is as good as infinite.
    let p = k + 1.0;
    let correction = if n > p + 1.0 { 2.0 * p * (p + 1.0) / (n - p - 1.0) } else { 1e10 };
    fitted.aicc = n * (sse / n).max(1e-30).ln() + 2.0 * p + correction;
    fitted.level *= scale;
    fitted.slope *= scale;
    if form.season == SeasonForm::Additive {
        fitted.season.iter_mut().for_each(|s| *s *= scale);
    }
    fitted
}

impl FittedExponential {
    fn trend_ahead(&self) -> f64 {
        self.level + self.weights.phi * self.slope
    }

    fn ahead(&self) -> f64 {
        let q = self.trend_ahead();
        match self.form.season {
            SeasonForm::None => q,
            SeasonForm::Additive => q + self.season[self.next],
            SeasonForm::Multiplicative => q * self.season[self.next],
        }
    }

    fn advance(&mut self, y: f64) {
        let Weights { alpha, beta, gamma, phi } = self.weights;
        let q = self.trend_ahead();
        let e = y - self.ahead();
        let mut level_error = e;
        match self.form.season {
            SeasonForm::None => {}
            SeasonForm::Additive => self.season[self.next] += gamma * e,
            SeasonForm::Multiplicative => {
                level_error = e / away_from_zero(self.season[self.next]);
                self.season[self.next] += gamma * e / away_from_zero(q);
            }
        }
        self.level = q + alpha * level_error;
        self.slope = phi * self.slope + alpha * beta * level_error;
        self.next = (self.next + 1) % self.form.m.max(1);
    }

    /// Forecasts. The standard deviations are those of the linear models (Hyndman et al. 2008, table 6.1); with a
    /// multiplied season they are those of the level times the season, which is close for moderate noise.
    pub(crate) fn predict(&self, horizon: usize) -> Steps {
        let Weights { alpha, beta, gamma, phi } = self.weights;
        let m = self.form.m.max(1);
        let typical = match self.form.season {
            SeasonForm::Multiplicative => {
                (self.season.iter().map(|s| s * s).sum::<f64>() / m as f64).sqrt().max(1e-9)
            }
            _ => 1.0,
        };
        let (mut damped, mut power, mut spread) = (0.0, 1.0, 1.0);
        Steps::of(horizon, |h| {
            power *= phi;
            damped += power;
            let trend = self.level + damped * self.slope;
            let sd = (self.variance * spread).sqrt();
            let c = alpha * (1.0 + beta * damped)
                + if self.form.season != SeasonForm::None && h % m == 0 { gamma } else { 0.0 };
            spread += c * c;
            let s = self.season.get((self.next + h - 1) % m).copied().unwrap_or(0.0);
            match self.form.season {
                SeasonForm::None => (trend, sd),
                SeasonForm::Additive => (trend + s, sd),
                SeasonForm::Multiplicative => (trend * s, sd * s.abs() / typical),
            }
        })
    }

    /// Moves on; an unknown observation counts as the one forecast.
    pub(crate) fn update(&mut self, y: &[f64]) {
        for v in y {
            let v = if v.is_finite() { *v } else { self.ahead() };
            self.advance(v);
        }
    }
}

fn away_from_zero(v: f64) -> f64 {
    if v.abs() < 1e-9 { 1e-9_f64.copysign(v) } else { v }
}

struct Search<'a> {
    y: &'a [f64],
    form: Form,
    given: Given,
    buffer: Vec<f64>,
}

impl Search<'_> {
    /// Weights from a point of the unit cube: alpha, beta, gamma, phi.
    fn weights(&self, x: &[f64; 4]) -> Weights {
        let share = |x: f64| SHARE_MIN + x * (SHARE_MAX - SHARE_MIN);
        let alpha = self.given.alpha.unwrap_or(share(x[0]));
        let trend = self.form.trend != TrendForm::None;
        Weights {
            alpha,
            beta: if trend { self.given.beta.unwrap_or(share(x[1])) } else { 0.0 },
            gamma: match self.form.season {
                SeasonForm::None => 0.0,
                _ => self.given.gamma.unwrap_or(share(x[2]) * (1.0 - alpha)),
            },
            phi: match self.form.trend {
                TrendForm::Damped => self.given.phi.unwrap_or(PHI_MIN + x[3] * (PHI_MAX - PHI_MIN)),
                TrendForm::Additive => 1.0,
                TrendForm::None => 0.0,
            },
        }
    }

    /// Which of the four weights are searched.
    fn free(&self) -> Vec<usize> {
        let trend = self.form.trend != TrendForm::None;
        let mut free = Vec::with_capacity(4);
        if self.given.alpha.is_none() {
            free.push(0);
        }
        if trend && self.given.beta.is_none() {
            free.push(1);
        }
        if self.form.season != SeasonForm::None && self.given.gamma.is_none() {
            free.push(2);
        }
        if self.form.trend == TrendForm::Damped && self.given.phi.is_none() {
            free.push(3);
        }
        free
    }

    /// The best point over the free weights, from `start`.
    fn over_weights(&self, start: [f64; 4], edge: f64, mut f: impl FnMut(&[f64; 4]) -> f64) -> [f64; 4] {
        let free = self.free();
        let mut go = |x: &[f64]| {
            let mut all = start;
            free.iter().zip(x).for_each(|(i, v)| all[*i] = *v);
            (f(&all), all)
        };
        match free[..] {
            [] => start,
            [_] => {
                let x = minimize_on(0.0, 1.0, 15, 1e-6, |x| go(&[x]).0);
                go(&[x]).1
            }
            [a, b] => {
                let (x, _) = nelder_mead([start[a], start[b]], edge, 1e-10, 400, |x| go(x).0);
                go(&x).1
            }
            [a, b, c] => {
                let (x, _) = nelder_mead([start[a], start[b], start[c]], edge, 1e-10, 500, |x| go(x).0);
                go(&x).1
            }
            _ => {
                let (x, _) = nelder_mead(start, edge, 1e-10, 600, |x| go(x).0);
                go(&x).1
            }
        }
    }

    /// Without season: the start is solved inside each evaluation.
    fn plain(&mut self) -> (Weights, Start) {
        let trend = self.form.trend != TrendForm::None;
        let y = self.y;
        let this = &*self;
        let solve = |w: Weights| plain_pass(y, w, trend);
        let search = |x: [f64; 4]| this.over_weights(x, 0.25, |x| solve(this.weights(x)).0);
        // Two starts, a calm and a lively one: the surface of the trend has often two valleys.
        let mut best = search([0.3, 0.1, 0.0, 0.9]);
        if trend && this.free().len() > 1 {
            let other = search([0.8, 0.05, 0.0, 0.5]);
            if solve(this.weights(&other)).0 < solve(this.weights(&best)).0 {
                best = other;
            }
        }
        let w = self.weights(&best);
        let (_, level, slope) = solve(w);
        (w, Start { level, slope, season: vec![0.0] })
    }

    /// With a season: weights and start in turns.
    fn seasonal(&mut self) -> (Weights, Start) {
        let mut start = self.first_season();
        let mut x = [0.2, 0.1, 0.1, 0.9];
        let additive = self.form.season == SeasonForm::Additive;
        let mut edge = 0.3;
        for _ in 0..3 {
            let mut buffer = std::mem::take(&mut self.buffer);
            x = self.over_weights(x, edge, |x| self.sse(self.weights(x), &start, &mut buffer));
            self.buffer = buffer;
            edge = 0.08;
            let w = self.weights(&x);
            let better = if additive { self.solved_start(w, &start) } else { self.searched_start(w, &start) };
            let Some(better) = better else { break };
            start = better;
        }
        (self.weights(&x), start)
    }

    fn sse(&self, w: Weights, start: &Start, season: &mut [f64]) -> f64 {
        season.copy_from_slice(&start.season);
        let (mut level, mut slope, mut at, mut sse) = (start.level, start.slope, 0, 0.0);
        let m = season.len();
        if self.form.season == SeasonForm::Multiplicative {
            for v in self.y {
                let q = level + w.phi * slope;
                let s = season[at];
                let e = v - q * s;
                sse += e * e;
                let e_level = e / away_from_zero(s);
                season[at] = s + w.gamma * e / away_from_zero(q);
                level = q + w.alpha * e_level;
                slope = w.phi * slope + w.alpha * w.beta * e_level;
                at = if at + 1 == m { 0 } else { at + 1 };
            }
        } else {
            for v in self.y {
                let q = level + w.phi * slope;
                let e = v - q - season[at];
                sse += e * e;
                season[at] += w.gamma * e;
                level = q + w.alpha * e;
                slope = w.phi * slope + w.alpha * w.beta * e;
                at = if at + 1 == m { 0 } else { at + 1 };
            }
        }
        sse
    }

    /// A first estimate: the season of classical decomposition over the first seasons, level and slope of a line
    /// through what is left.
    fn first_season(&self) -> Start {
        let m = self.form.m;
        let y = &self.y[..self.y.len().min((4 * m).max(2 * m + 1))];
        let multiplicative = self.form.season == SeasonForm::Multiplicative;
        let pattern = crate::seasonality::classical_pattern(y, m, multiplicative);
        let neutral = if multiplicative { 1.0 } else { 0.0 };
        let season = pattern.as_ref().map_or_else(|| vec![neutral; m], |p| p.indices.clone());
        let z: Vec<f64> =
            y.iter().enumerate().map(|(t, v)| pattern.as_ref().map_or(*v, |p| p.remove(*v, t))).collect();
        let n = z.len() as f64;
        let mean = z.iter().sum::<f64>() / n;
        if self.form.trend == TrendForm::None {
            return Start { level: mean, slope: 0.0, season };
        }
        let centre = (n + 1.0) / 2.0;
        let slope = z.iter().enumerate().map(|(t, v)| (t as f64 + 1.0 - centre) * v).sum::<f64>()
            / (n * (n * n - 1.0) / 12.0).max(1.0);
        Start { level: mean - slope * centre, slope, season }
    }

    /// Additive season: the start of least squares for these weights. `None` when it is no better.
    fn solved_start(&self, w: Weights, start: &Start) -> Option<Start> {
        let (m, n) = (self.form.m, self.y.len());
        let trend = usize::from(self.form.trend != TrendForm::None);
        // The season's last index is left alone: adding to the level what all indices lose changes nothing.
        let p = 1 + trend + m - 1;
        if m > SOLVED_SEASON_MAX || n < p + 2 {
            return None;
        }
        let run = |response: bool, from: &Start, out: &mut Vec<f64>| {
            out.clear();
            let mut season = from.season.clone();
            let (mut level, mut slope) = (from.level, from.slope);
            for (t, v) in self.y.iter().enumerate() {
                let q = level + w.phi * slope;
                let ahead = q + season[t % m];
                let e = if response { -ahead } else { v - ahead };
                out.push(if response { ahead } else { e });
                season[t % m] += w.gamma * e;
                level = q + w.alpha * e;
                slope = w.phi * slope + w.alpha * w.beta * e;
            }
        };
        let mut errors = Vec::with_capacity(n);
        run(false, start, &mut errors);
        let unit = |j: usize| {
            let mut s = Start { level: 0.0, slope: 0.0, season: vec![0.0; m] };
            match j {
                0 => s.level = 1.0,
                1 if trend == 1 => s.slope = 1.0,
                _ => s.season[j - 1 - trend] = 1.0,
            }
            s
        };
        let mut columns = vec![Vec::with_capacity(n); p];
        columns.iter_mut().enumerate().for_each(|(j, c)| run(true, &unit(j), c));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut a = vec![0.0; p * p];
        for i in 0..p {
            for j in 0..=i {
                a[i * p + j] = dot(&columns[i], &columns[j]);
            }
        }
        let mut b: Vec<f64> = columns.iter().map(|c| dot(c, &errors)).collect();
        solve_positive(&mut a, &mut b, p)?;
        let mut better = start.clone();
        better.level += b[0];
        if trend == 1 {
            better.slope += b[1];
        }
        (0..m - 1).for_each(|j| better.season[j] += b[1 + trend + j]);
        let mut buffer = vec![0.0; m];
        let gain = self.sse(w, start, &mut buffer) - self.sse(w, &better, &mut buffer);
        (gain > 1e-10 * gain.abs().max(dot(&errors, &errors))).then_some(better)
    }

    /// Multiplied season: level and slope searched near the first estimate. `None` when nothing better is found.
    fn searched_start(&self, w: Weights, start: &Start) -> Option<Start> {
        let mut buffer = vec![0.0; self.form.m];
        let width = start.level.abs().max(1e-6);
        let at = |x: &[f64; 2]| {
            let mut s = start.clone();
            s.level += (x[0] - 0.5) * width;
            if self.form.trend != TrendForm::None {
                s.slope += (x[1] - 0.5) * 0.2 * width;
            }
            s
        };
        let before = self.sse(w, start, &mut buffer);
        let (x, v) = nelder_mead([0.5, 0.5], 0.1, 1e-10, 120, |x| self.sse(w, &at(x), &mut buffer));
        (v < before * (1.0 - 1e-8)).then(|| at(&x))
    }
}

/// One pass without season: the sum of squared errors with the best start, and that start.
fn plain_pass(y: &[f64], w: Weights, trend: bool) -> (f64, f64, f64) {
    let keep = 1.0 - w.alpha;
    let origin = y.first().copied().unwrap_or(0.0);
    if !trend {
        let (mut level, mut u) = (origin, 1.0);
        let (mut uu, mut ur, mut rr) = (0.0, 0.0, 0.0);
        for v in y {
            let r = v - level;
            uu += u * u;
            ur += u * r;
            rr += r * r;
            level += w.alpha * r;
            u *= keep;
        }
        let d = ur / uu.max(1e-300);
        return ((rr - d * ur).max(0.0), origin + d, 0.0);
    }
    // Besides the series itself, the responses to a unit of level and of slope before the first observation.
    let (mut level, mut slope) = (origin, 0.0);
    let (mut l1, mut b1, mut l2, mut b2) = (1.0, 0.0, 0.0, 1.0);
    let (mut s11, mut s12, mut s22, mut r1, mut r2, mut rr) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    let follow = w.alpha * w.beta;
    for v in y {
        let q = level + w.phi * slope;
        let e = v - q;
        let (u1, u2) = (l1 + w.phi * b1, l2 + w.phi * b2);
        s11 += u1 * u1;
        s12 += u1 * u2;
        s22 += u2 * u2;
        r1 += u1 * e;
        r2 += u2 * e;
        rr += e * e;
        level = q + w.alpha * e;
        slope = w.phi * slope + follow * e;
        (l1, b1) = (keep * u1, w.phi * b1 - follow * u1);
        (l2, b2) = (keep * u2, w.phi * b2 - follow * u2);
    }
    let det = s11 * s22 - s12 * s12;
    let (d1, d2) = if det > 1e-12 * s11 * s22 {
        ((s22 * r1 - s12 * r2) / det, (s11 * r2 - s12 * r1) / det)
    } else {
        (r1 / s11.max(1e-300), 0.0)
    };
    let sse = rr - 2.0 * (d1 * r1 + d2 * r2) + d1 * d1 * s11 + 2.0 * d1 * d2 * s12 + d2 * d2 * s22;
    (sse.max(0.0), origin + d1, d2)
}

/// Solves `a x = b` for a symmetric positive `a` (lower half, row by row) by Cholesky; `x` takes the place of `b`. A
/// little is added to the diagonal, so that directions without data stay where they are.
fn solve_positive(a: &mut [f64], b: &mut [f64], p: usize) -> Option<()> {
    let ridge = 1e-10 * (0..p).map(|i| a[i * p + i]).fold(0.0, f64::max);
    for i in 0..p {
        a[i * p + i] += ridge;
        for j in 0..=i {
            let s: f64 = a[i * p + j] - (0..j).map(|k| a[i * p + k] * a[j * p + k]).sum::<f64>();
            if i == j {
                if !(s > 0.0 && s.is_finite()) {
                    return None;
                }
                a[i * p + i] = s.sqrt();
            } else {
                a[i * p + j] = s / a[j * p + j];
            }
        }
    }
    for i in 0..p {
        b[i] = (b[i] - (0..i).map(|k| a[i * p + k] * b[k]).sum::<f64>()) / a[i * p + i];
    }
    for i in (0..p).rev() {
        b[i] = (b[i] - (i + 1..p).map(|k| a[k * p + i] * b[k]).sum::<f64>()) / a[i * p + i];
    }
    b.iter().all(|v| v.is_finite()).then_some(())
}

/// Fits every form and gives the one of the least corrected AIC; of equals the first.
pub(crate) fn best_of(
    y: &[f64],
    forms: &[Form],
    given: Given,
    in_sample: Option<&mut Vec<f64>>,
) -> FittedExponential {
    let fallback = [Form { trend: TrendForm::None, season: SeasonForm::None, m: 1 }];
    let mut best: Option<(FittedExponential, Vec<f64>)> = None;
    let keep = in_sample.is_some();
    for form in if forms.is_empty() { &fallback[..] } else { forms } {
        let mut inside = Vec::new();
        let fitted = fit(y, *form, given, keep.then_some(&mut inside));
        if best.as_ref().is_none_or(|(b, _)| fitted.aicc < b.aicc) {
            best = Some((fitted, inside));
        }
    }
    // The list is never empty, so something was fitted.
    let (fitted, inside) = best.unwrap_or_else(|| (fit(y, fallback[0], given, None), vec![]));
    if let Some(out) = in_sample {
        out.extend(inside);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavy(n: usize) -> Vec<f64> {
        (0..n)
            .map(|t| {
                50.0 + 0.4 * t as f64 + [5.0, -2.0, -8.0, 5.0][t % 4] + ((t * 37 % 11) as f64 - 5.0) * 0.3
            })
            .collect()
    }

    #[test]
    fn solved_starts_are_the_best() {
        // Neither a nudge of the start nor of the weights lowers the error.
        let y = wavy(40);
        let w = Weights { alpha: 0.4, beta: 0.2, gamma: 0.0, phi: 0.9 };
        let (sse, level, slope) = plain_pass(&y, w, true);
        let direct = |level: f64, slope: f64| {
            let form = Form { trend: TrendForm::Damped, season: SeasonForm::None, m: 1 };
            let search = Search { y: &y, form, given: Given::default(), buffer: vec![0.0] };
            search.sse(w, &Start { level, slope, season: vec![0.0] }, &mut [0.0])
        };
        assert!((direct(level, slope) - sse).abs() < 1e-8 * sse);
        for (a, b) in [(0.1, 0.0), (-0.1, 0.0), (0.0, 0.05), (0.0, -0.05)] {
            assert!(direct(level + a, slope + b) > sse);
        }
    }

    #[test]
    fn seasons_are_followed() {
        for season in [SeasonForm::Additive, SeasonForm::Multiplicative] {
            let y = wavy(48);
            let f =
                fit(&y, Form { trend: TrendForm::Additive, season, m: 4 }, Given::default(), None).predict(8);
            let truth = |t: usize| 50.0 + 0.4 * t as f64 + [5.0, -2.0, -8.0, 5.0][t % 4];
            for h in 0..8 {
                assert!(
                    (f.mean[h] - truth(48 + h)).abs() < 2.5,
                    "{season:?} {h}: {} {}",
                    f.mean[h],
                    truth(48 + h)
                );
            }
            assert!(f.sd.windows(2).all(|w| w[1] >= w[0] * 0.7) && f.sd[7] > 0.0);
        }
    }
}
