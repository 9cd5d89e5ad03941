//! Search by a Gaussian process (Jones, Schonlau and Welch 1998; Snoek, Larochelle and Adams 2012).
//!
//! The losses so far are seen as a draw of a Gaussian process with a Matérn kernel of smoothness 5/2 and one length per
//! parameter,
//!
//! ```text
//! k(a, b) = s (1 + √5 r + 5/3 r²) exp(−√5 r),   r² = Σⱼ wⱼ (aⱼ − bⱼ)²
//! ```
//!
//! on the unit cube; words are at distance 1 from one another. Scale `s`, weights `w` and noise maximise the marginal
//! likelihood times priors: log-normal for lengths, growing with the number of parameters (Hvarfner, Hellsten and Nardi
//! 2024), gamma for scale and noise. The next point has the largest logarithm of expected improvement (Ament, Daulton,
//! Eriksson, Balandat and Bakshy 2023), or is the best of one draw from the posterior (Thompson 1933).
//!
//! Losses are often skewed (a few settings are far worse than all others), and a process fitted to them sees only the
//! bad ones; they are warped by a logarithm first when that makes them more like a normal sample.

use super::random::at_shares;
use super::space::Space;
use super::study::{Seen, SeenState};
use super::tpe::standard_normal;
use crate::lbfgs;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Params, Result, Run};

/// What makes a point worth trying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acquisition {
    /// The logarithm of the expected improvement over the best point so far.
    #[default]
    LogExpectedImprovement,
    /// One draw from the posterior; its lowest point is tried.
    Thompson,
}

/// Parameters of the search by Gaussian process.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_startup` | 10 | 2 to 1000 | trials that fill the space evenly before the first fit |
/// | `acquisition` | `log_expected_improvement` | | or `thompson` |
/// | `n_candidates` | 512 | 16 to 100000 | points looked at before the best of them are improved |
/// | `n_trials_max` | 300 | 10 to 2000 | the process sees this many trials: the best half and the newest; its time grows with the cube |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianProcess {
    /// Trials that fill the space at the beginning.
    pub n_startup: usize,
    /// What makes a point worth trying.
    pub acquisition: Acquisition,
    /// Points looked at.
    pub n_candidates: usize,
    /// Trials that the process sees at most.
    pub n_trials_max: usize,
}

impl Default for GaussianProcess {
    fn default() -> Self {
        Self { n_startup: 10, acquisition: Acquisition::default(), n_candidates: 512, n_trials_max: 300 }
    }
}

impl GaussianProcess {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((2..=1000).contains(&self.n_startup), "n_startup", self.n_startup, "2 to 1000")
            .require(
                (16..=100_000).contains(&self.n_candidates),
                "n_candidates",
                self.n_candidates,
                "16 to 100000",
            )
            .require(
                (10..=2000).contains(&self.n_trials_max),
                "n_trials_max",
                self.n_trials_max,
                "10 to 2000",
            )
            .finish()
    }

    /// The next point, or none while there are too few trials.
    pub(crate) fn suggest(
        &self,
        run: &Run,
        space: &Space,
        seen: &[Seen<'_>],
        rng: &mut impl Rng,
    ) -> Result<Option<Params>> {
        let finished: Vec<&Seen<'_>> = seen.iter().filter(|s| s.state == SeenState::Complete).collect();
        if finished.len() < self.n_startup {
            return Ok(None);
        }
        let kept = self.kept(&finished);
        let encode = |p: &Params| encode(space, p);
        let x: Vec<Vec<f64>> = kept.iter().map(|s| encode(s.point)).collect();
        let y = warp(&kept.iter().map(|s| s.loss).collect::<Vec<_>>());
        let is_word: Vec<bool> = space.dimensions().iter().map(|d| !d.domain.is_ordered()).collect();
        let mut process = Process::fit(run, &is_word, x, y)?;
        // What is being tried is taken to come out as expected, so that its surroundings promise little.
        for pending in seen.iter().filter(|s| s.state == SeenState::Pending) {
            let at = encode(pending.point);
            let (mean, _) = process.posterior(&at);
            process.add(at, mean);
        }
        let mut order: Vec<usize> = (0..kept.len()).collect();
        order.sort_by(|&a, &b| kept[a].loss.total_cmp(&kept[b].loss).then(a.cmp(&b)));
        let best: Vec<Vec<f64>> = order.iter().take(5).map(|&i| shares(space, kept[i].point)).collect();
        let candidates = self.candidates(space, &best, rng);
        let shares = match self.acquisition {
            Acquisition::LogExpectedImprovement => self.improve(space, &process, candidates, rng),
            Acquisition::Thompson => process.thompson(space, candidates, rng),
        };
        Ok(Some(at_shares(space, &shares)))
    }

    /// The best half and the newest of the trials, in their order.
    fn kept<'s, 'p>(&self, finished: &[&'s Seen<'p>]) -> Vec<&'s Seen<'p>> {
        let n = finished.len();
        if n <= self.n_trials_max {
            return finished.to_vec();
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| finished[a].loss.total_cmp(&finished[b].loss).then(a.cmp(&b)));
        let mut keep = vec![false; n];
        order.iter().take(self.n_trials_max / 2).for_each(|&i| keep[i] = true);
        let mut left = self.n_trials_max - self.n_trials_max / 2;
        for i in (0..n).rev() {
            if left == 0 {
                break;
            }
            if !keep[i] {
                keep[i] = true;
                left -= 1;
            }
        }
        (0..n).filter(|&i| keep[i]).map(|i| finished[i]).collect()
    }

    /// Points by chance and points around the best ones, near and nearer.
    fn candidates(&self, space: &Space, best: &[Vec<f64>], rng: &mut impl Rng) -> Vec<Vec<f64>> {
        let d = space.dimensions().len();
        let near = self.n_candidates / 2;
        let mut out: Vec<Vec<f64>> =
            (near..self.n_candidates).map(|_| (0..d).map(|_| rng.random::<f64>()).collect()).collect();
        for i in 0..near {
            let scale = [0.2, 0.05, 0.01, 0.002][i % 4];
            let mut at = best[i / 4 % best.len()].clone();
            for (j, v) in at.iter_mut().enumerate() {
                if !space.dimensions()[j].domain.is_ordered() {
                    if rng.random::<f64>() < 0.1 {
                        *v = rng.random::<f64>();
                    }
                } else {
                    *v = (*v + scale * standard_normal(rng)).clamp(0.0, 1.0);
                }
            }
            out.push(at);
        }
        out
    }

    /// The best candidates, each moved uphill until no small step helps; the highest end is the answer.
    fn improve(
        &self,
        space: &Space,
        process: &Process,
        candidates: Vec<Vec<f64>>,
        rng: &mut impl Rng,
    ) -> Vec<f64> {
        let best = process.lowest();
        let value = |shares: &[f64]| {
            let (mean, sd) = process.posterior(&encode(space, &at_shares(space, shares)));
            sd.ln() + log_improvement((best - mean) / sd)
        };
        let mut scored: Vec<(f64, Vec<f64>)> = candidates.into_iter().map(|c| (value(&c), c)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.truncate(6);
        for (height, at) in &mut scored {
            climb(space, height, at, &value, rng);
        }
        // The first of equals.
        scored.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a }).map_or_else(Vec::new, |(_, at)| at)
    }
}

/// Moves `at` uphill: along every axis, along chance directions, and to every other word.
fn climb(
    space: &Space,
    height: &mut f64,
    at: &mut Vec<f64>,
    value: &impl Fn(&[f64]) -> f64,
    rng: &mut impl Rng,
) {
    let dimensions = space.dimensions();
    let mut step = 0.1;
    let mut try_at = |next: Vec<f64>, at: &mut Vec<f64>| {
        let v = value(&next);
        let better = v > *height;
        if better {
            *height = v;
            *at = next;
        }
        better
    };
    // Each failure halves the step; successes are few, since each gains.
    for _ in 0..60 {
        let mut better = false;
        for (j, d) in dimensions.iter().enumerate() {
            match d.domain.n_values() {
                Some(n) if n <= 24 || !d.domain.is_ordered() => {
                    // Few values: all neighbours, or all words, whatever the step.
                    let here = (at[j] * n as f64).floor().min(n as f64 - 1.0);
                    for other in 0..n.min(64) {
                        let far = (other as f64 - here).abs();
                        if far > 0.0 && (far <= 1.0 || !d.domain.is_ordered()) {
                            let mut next = at.clone();
                            next[j] = (other as f64 + 0.5) / n as f64;
                            better |= try_at(next, at);
                        }
                    }
                }
                _ => {
                    for sign in [-1.0, 1.0] {
                        let mut next = at.clone();
                        next[j] = (next[j] + sign * step).clamp(0.0, 1.0);
                        if next[j] != at[j] {
                            better |= try_at(next, at);
                        }
                    }
                }
            }
        }
        for _ in 0..dimensions.len() {
            let mut next = at.clone();
            for (j, v) in next.iter_mut().enumerate() {
                if dimensions[j].domain.is_ordered() {
                    *v = (*v + step * standard_normal(rng)).clamp(0.0, 1.0);
                }
            }
            better |= try_at(next, at);
        }
        if !better {
            step *= 0.4;
            if step < 1e-5 {
                break;
            }
        }
    }
}

/// The coordinates that the kernel sees: shares of the axis, positions of words; what does not matter lies in the
/// middle.
fn encode(space: &Space, point: &Params) -> Vec<f64> {
    let dimensions = space.dimensions().iter();
    dimensions
        .map(|d| match point.get(&d.name) {
            None if d.domain.is_ordered() => 0.5,
            None => -1.0,
            Some(v) if d.domain.is_ordered() => d.domain.unit(v).unwrap_or(0.5),
            Some(v) => d.domain.coordinate(v).unwrap_or(-1.0),
        })
        .collect()
}

/// The share of the axis at which each value of a point lies.
fn shares(space: &Space, point: &Params) -> Vec<f64> {
    let dimensions = space.dimensions().iter();
    dimensions.map(|d| point.get(&d.name).and_then(|v| d.domain.unit(v)).unwrap_or(0.5)).collect()
}

/// Losses of mean 0 and deviation 1, after `ln(1 + (y − min) / c)` with `c` the median's distance from the least, where
/// that brings them nearer to a normal sample (by likelihood, as Box and Cox 1964 choose). A smaller `c` would let the
/// likelihood grow without limit while the least loss becomes an outlier.
fn warp(y: &[f64]) -> Vec<f64> {
    let mut sorted = y.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let low = sorted[0];
    let mut best = (likelihood(y, |_| 0.0), y.to_vec());
    let c = sorted[n / 2] - low;
    if c > 0.0 {
        let z: Vec<f64> = y.iter().map(|y| ((y - low) / c).ln_1p()).collect();
        let likely = likelihood(&z, |i| -(y[i] - low + c).ln());
        if likely > best.0 {
            best = (likely, z);
        }
    }
    let mut z = best.1;
    let mean = z.iter().sum::<f64>() / n as f64;
    let sd = (z.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n as f64).sqrt();
    z.iter_mut().for_each(|v| *v = if sd > 0.0 && sd.is_finite() { (*v - mean) / sd } else { 0.0 });
    z
}

/// The normal log likelihood of a warped sample, up to a constant, with the log slope of the warp at each value.
fn likelihood(z: &[f64], log_slope: impl Fn(usize) -> f64) -> f64 {
    let n = z.len() as f64;
    let mean = z.iter().sum::<f64>() / n;
    let variance = z.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    -0.5 * n * variance.max(1e-300).ln() + (0..z.len()).map(log_slope).sum::<f64>()
}

/// `ln(φ(z) + z Φ(z))`, exact far into the tail.
fn log_improvement(z: f64) -> f64 {
    let log_phi = -0.5 * z * z - 0.5 * std::f64::consts::TAU.ln();
    if z > -1.0 {
        let cdf = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
        return (log_phi.exp() + z * cdf).ln();
    }
    // φ (1 − |z| M) with Mills' ratio M = Φ(z)/φ(z), whose series 1/|z| − 1/|z|³ + 3/|z|⁵ … serves beyond erfc's range.
    let a = -z;
    let left = if a < 30.0 {
        let mills = 0.5 * libm::erfc(a * std::f64::consts::FRAC_1_SQRT_2) / log_phi.exp();
        1.0 - a * mills
    } else {
        let s = 1.0 / (a * a);
        s * (1.0 - 3.0 * s * (1.0 - 5.0 * s))
    };
    log_phi + left.max(1e-300).ln()
}

/// A fitted process.
struct Process {
    is_word: Vec<bool>,
    /// Inverse squared lengths.
    w: Vec<f64>,
    scale: f64,
    noise: f64,
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    /// The lower triangle of the Cholesky factor, row after row, each of full width `x.len()`.
    chol: Vec<f64>,
    /// `K⁻¹ y`.
    alpha: Vec<f64>,
}

/// Noise is never taken to be less than this share of the losses' variance.
const NOISE_MIN: f64 = 1e-6;

impl Process {
    fn fit(run: &Run, is_word: &[bool], x: Vec<Vec<f64>>, y: Vec<f64>) -> Result<Self> {
        let (n, d) = (x.len(), is_word.len());
        // Squared distances per parameter, pairs (i, j < i) one after the other.
        let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
        let distance: Vec<Vec<f64>> = (0..d)
            .map(|k| pairs.iter().map(|&(i, j)| squared(is_word[k], x[i][k], x[j][k])).collect())
            .collect();
        let mean_log_length = std::f64::consts::SQRT_2 + 0.5 * (d.max(1) as f64).ln();
        // θ: log inverse squared lengths, log scale, log noise above its floor.
        let objective = |theta: &[f64], g: &mut [f64]| -> f64 {
            let (w, scale) = (&theta[..d], theta[d].exp());
            let noise = theta[d + 1].exp() + NOISE_MIN;
            if theta.iter().any(|t| t.is_nan() || t.abs() > 40.0) {
                return f64::INFINITY;
            }
            let w: Vec<f64> = w.iter().map(|t| t.exp()).collect();
            let mut k = vec![0.0; n * n];
            let mut slope = vec![0.0; pairs.len()];
            for (p, &(i, j)) in pairs.iter().enumerate() {
                let r2: f64 = (0..d).map(|q| w[q] * distance[q][p]).sum();
                let (value, by_r2) = matern(r2);
                k[i * n + j] = scale * value;
                slope[p] = scale * by_r2;
            }
            (0..n).for_each(|i| k[i * n + i] = scale + noise);
            let kernel = k.clone();
            if !cholesky(&mut k, n) {
                return f64::INFINITY;
            }
            let inverse = inverse_of(&k, n);
            let alpha: Vec<f64> =
                (0..n).map(|i| (0..n).map(|j| symmetric(&inverse, n, i, j) * y[j]).sum()).collect();
            let fit: f64 = alpha.iter().zip(&y).map(|(a, y)| a * y).sum();
            let log_det: f64 = (0..n).map(|i| k[i * n + i].ln()).sum();
            let mut value = 0.5 * fit + log_det;
            // d/dθ of the negative log likelihood: ½ Σ (K⁻¹ − α αᵀ) dK/dθ; off the diagonal every pair counts twice.
            g.fill(0.0);
            for (p, &(i, j)) in pairs.iter().enumerate() {
                let q = inverse[i * n + j] - alpha[i] * alpha[j];
                for k in 0..d {
                    g[k] += q * slope[p] * w[k] * distance[k][p];
                }
                g[d] += q * kernel[i * n + j];
            }
            for i in 0..n {
                let q = 0.5 * (inverse[i * n + i] - alpha[i] * alpha[i]);
                g[d] += q * scale;
                g[d + 1] += q * theta[d + 1].exp();
            }
            // Priors. Lengths: ln ℓ = −θ/2 is normal with deviation √3.
            for k in 0..d {
                let off = -0.5 * theta[k] - mean_log_length;
                value += off * off / 6.0;
                g[k] -= off / 6.0;
            }
            // Scale: gamma(2, 1). Noise: gamma(1.1, 30).
            value += scale - theta[d];
            g[d] += scale - 1.0;
            value += 30.0 * noise - 0.1 * noise.ln();
            g[d + 1] += theta[d + 1].exp() * (30.0 - 0.1 / noise);
            value
        };
        let mut best: Option<(f64, Vec<f64>)> = None;
        // Two beginnings: everything matters a little with some noise, and half as long with hardly any.
        for (length, noise) in [(0.5_f64, 1e-2_f64), (0.25, 1e-4)] {
            let mut start = vec![-2.0 * length.ln(); d];
            start.extend([0.0, noise.ln()]);
            let end = lbfgs::minimise(run, start, 1e-3, 60, objective, |g| {
                g.iter_mut().for_each(|v| *v /= n as f64)
            })?
            .x;
            let value = objective(&end, &mut vec![0.0; d + 2]);
            if value.is_finite() && best.as_ref().is_none_or(|(b, _)| value < *b) {
                best = Some((value, end));
            }
        }
        let theta = best.map_or_else(
            || {
                let mut theta = vec![0.0; d];
                theta.extend([0.0, -2.0]);
                theta
            },
            |(_, theta)| theta,
        );
        let mut process = Self {
            is_word: is_word.to_vec(),
            w: theta[..d].iter().map(|t| t.exp()).collect(),
            scale: theta[d].exp(),
            noise: theta[d + 1].exp() + NOISE_MIN,
            x,
            y,
            chol: Vec::new(),
            alpha: Vec::new(),
        };
        process.factor();
        Ok(process)
    }

    fn kernel(&self, a: &[f64], b: &[f64]) -> f64 {
        let r2: f64 = (0..a.len()).map(|k| self.w[k] * squared(self.is_word[k], a[k], b[k])).sum();
        self.scale * matern(r2).0
    }

    fn factor(&mut self) {
        let n = self.x.len();
        loop {
            let mut k = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..i {
                    k[i * n + j] = self.kernel(&self.x[i], &self.x[j]);
                }
                k[i * n + i] = self.scale + self.noise;
            }
            if cholesky(&mut k, n) {
                self.chol = k;
                break;
            }
            // Equal points without noise; ends, since a large diagonal always factors.
            self.noise *= 10.0;
        }
        let mut alpha = self.y.clone();
        forward(&self.chol, n, &mut alpha);
        for i in (0..n).rev() {
            alpha[i] /= self.chol[i * n + i];
            for j in 0..i {
                alpha[j] -= self.chol[i * n + j] * alpha[i];
            }
        }
        self.alpha = alpha;
    }

    fn add(&mut self, x: Vec<f64>, y: f64) {
        self.x.push(x);
        self.y.push(y);
        self.factor();
    }

    /// Mean and standard deviation, without noise.
    fn posterior(&self, at: &[f64]) -> (f64, f64) {
        let n = self.x.len();
        let mut k: Vec<f64> = self.x.iter().map(|x| self.kernel(x, at)).collect();
        let mean = k.iter().zip(&self.alpha).map(|(k, a)| k * a).sum();
        forward(&self.chol, n, &mut k);
        let variance = self.scale - k.iter().map(|v| v * v).sum::<f64>();
        (mean, variance.max(1e-12 * self.scale).sqrt())
    }

    /// The lowest loss seen.
    fn lowest(&self) -> f64 {
        self.y.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The candidate that is lowest in one draw from the posterior.
    fn thompson(&self, space: &Space, mut candidates: Vec<Vec<f64>>, rng: &mut impl Rng) -> Vec<f64> {
        // The draw costs the cube of the candidates.
        candidates.reverse();
        candidates.truncate(400);
        let (n, m) = (self.x.len(), candidates.len());
        let at: Vec<Vec<f64>> = candidates.iter().map(|c| encode(space, &at_shares(space, c))).collect();
        let mut means = Vec::with_capacity(m);
        let mut half: Vec<Vec<f64>> = Vec::with_capacity(m);
        for a in &at {
            let mut k: Vec<f64> = self.x.iter().map(|x| self.kernel(x, a)).collect();
            means.push(k.iter().zip(&self.alpha).map(|(k, a)| k * a).sum::<f64>());
            forward(&self.chol, n, &mut k);
            half.push(k);
        }
        let mut c = vec![0.0; m * m];
        for i in 0..m {
            for j in 0..=i {
                let shared: f64 = half[i].iter().zip(&half[j]).map(|(a, b)| a * b).sum();
                c[i * m + j] = self.kernel(&at[i], &at[j]) - shared;
            }
            c[i * m + i] += 1e-6 * self.scale;
        }
        let z: Vec<f64> = (0..m).map(|_| standard_normal(rng)).collect();
        let draw: Vec<f64> = if cholesky(&mut c, m) {
            (0..m).map(|i| means[i] + (0..=i).map(|j| c[i * m + j] * z[j]).sum::<f64>()).collect()
        } else {
            means
        };
        let lowest = (0..m).fold(0, |b, i| if draw[i] < draw[b] { i } else { b });
        candidates.swap_remove(lowest)
    }
}

fn squared(is_word: bool, a: f64, b: f64) -> f64 {
    if is_word { f64::from(u8::from(a != b)) } else { (a - b) * (a - b) }
}

/// The Matérn kernel of smoothness 5/2 at a squared distance, and its slope by it.
fn matern(r2: f64) -> (f64, f64) {
    let root = (5.0 * r2).sqrt();
    let e = (-root).exp();
    ((1.0 + root + 5.0 / 3.0 * r2) * e, -5.0 / 6.0 * (1.0 + root) * e)
}

/// The Cholesky factor of the lower triangle, in place; false when the matrix is not positive definite.
fn cholesky(a: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        for j in 0..i {
            let other = &above[j * n..j * n + j];
            let sum: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - sum) / above[j * n + j];
        }
        let sum: f64 = row[..i].iter().map(|v| v * v).sum();
        let pivot = row[i] - sum;
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        row[i] = pivot.sqrt();
    }
    true
}

/// Solves `L v = b` in place.
fn forward(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        let row = &l[i * n..i * n + i];
        let sum: f64 = row.iter().zip(b.iter()).map(|(l, b)| l * b).sum();
        b[i] = (b[i] - sum) / l[i * n + i];
    }
}

/// The lower triangle of `(L Lᵀ)⁻¹`.
fn inverse_of(l: &[f64], n: usize) -> Vec<f64> {
    // Row i of `inv` is column i of L⁻¹, which begins at i.
    let mut inv = vec![0.0; n * n];
    for c in 0..n {
        let column = &mut inv[c * n..(c + 1) * n];
        column[c] = 1.0 / l[c * n + c];
        for i in c + 1..n {
            let sum: f64 = l[i * n + c..i * n + i].iter().zip(&column[c..i]).map(|(l, v)| l * v).sum();
            column[i] = -sum / l[i * n + i];
        }
    }
    let mut out = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            // Both columns are zero above i.
            let (a, b) = (&inv[i * n + i..(i + 1) * n], &inv[j * n + i..(j + 1) * n]);
            out[i * n + j] = a.iter().zip(b).map(|(a, b)| a * b).sum();
        }
    }
    out
}

fn symmetric(a: &[f64], n: usize, i: usize, j: usize) -> f64 {
    if i >= j { a[i * n + j] } else { a[j * n + i] }
}
