//! The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl 2011; joint form: Falkner, Klein and
//! Hutter 2018; the choices below as Watanabe 2023 recommends and Optuna has them).
//!
//! The trials so far are parted into the best few and the rest. Each part becomes a density, a mixture of one kernel
//! per trial and one wide kernel for what is not known: `l` of the good, `g` of the rest. Of some candidates drawn from
//! `l` the one with the largest `l/g` is tried, which is the one of largest expected improvement.

use super::space::{Dimension, Domain, Space};
use super::study::{Seen, SeenState};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{ParamCheck, Params, Result};

/// Parameters of the tree-structured Parzen estimator.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_startup` | 10 | 1 to 10000 | trials by chance before the first density |
/// | `n_candidates` | 24 | 1 to 10000 | candidates drawn for each suggestion |
/// | `multivariate` | true | | whether parameters that matter together share one density; else each has its own |
///
/// Conditional parameters form groups: those with the same condition are drawn together, from the trials in which they
/// mattered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tpe {
    /// Trials by chance at the beginning.
    pub n_startup: usize,
    /// Candidates for each suggestion.
    pub n_candidates: usize,
    /// One density for parameters that matter together.
    pub multivariate: bool,
}

impl Default for Tpe {
    fn default() -> Self {
        Self { n_startup: 10, n_candidates: 24, multivariate: true }
    }
}

/// How many trials count as good: a tenth, at most 25.
fn n_good(n: usize) -> usize {
    n.div_ceil(10).clamp(1, 25)
}

impl Tpe {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((1..=10_000).contains(&self.n_startup), "n_startup", self.n_startup, "1 to 10000")
            .require(
                (1..=10_000).contains(&self.n_candidates),
                "n_candidates",
                self.n_candidates,
                "1 to 10000",
            )
            .finish()
    }

    /// The next point. `seen` is in the order of the trials.
    pub(crate) fn suggest(&self, space: &Space, seen: &[Seen<'_>], rng: &mut impl Rng) -> Params {
        let n_finished = seen.iter().filter(|s| s.state != SeenState::Pending).count();
        if n_finished < self.n_startup {
            return space.draw(rng);
        }
        let (good, rest) = part(seen, n_good(n_finished));
        let dimensions = space.dimensions();
        let mut point = Params::new();
        let mut done = vec![false; dimensions.len()];
        // A dimension and those after it with the same condition form a group; conditions only look back, so the
        // walk in order knows for each group whether it matters.
        for at in 0..dimensions.len() {
            if done[at] || !space.is_active(at, &point) {
                continue;
            }
            let group: Vec<usize> = (at..dimensions.len())
                .filter(|&j| j == at || self.multivariate && dimensions[j].when == dimensions[at].when)
                .collect();
            group.iter().for_each(|&j| done[j] = true);
            let members: Vec<&Dimension> = group.iter().map(|&j| &dimensions[j]).collect();
            let (l, g) = (Mixture::of(&members, &good), Mixture::of(&members, &rest));
            let mut best: Option<(f64, Vec<f64>)> = None;
            for _ in 0..self.n_candidates {
                let candidate = l.draw(&members, rng);
                let ratio = l.log_density(&members, &candidate) - g.log_density(&members, &candidate);
                if best.as_ref().is_none_or(|(b, _)| ratio > *b) {
                    best = Some((ratio, candidate));
                }
            }
            for (member, coordinate) in members.iter().zip(best.map_or_else(Vec::new, |(_, c)| c)) {
                point.insert(member.name.clone(), member.domain.at(coordinate));
            }
        }
        // In the order of the space, so that equal points are equal texts.
        space.fill(|d| point.get(&d.name).cloned().unwrap_or(Value::Null))
    }
}

/// The best `n_good` points and the others, both in the order of the trials. Pruned trials stand behind finished ones,
/// those that went further first; pending ones count as bad, so that neighbours of what is being tried are avoided.
fn part<'a>(seen: &[Seen<'a>], n_good: usize) -> (Vec<&'a Params>, Vec<&'a Params>) {
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&seen[a], &seen[b]);
        let tier = |s: &Seen<'_>| match s.state {
            SeenState::Complete => (0, 0),
            SeenState::Pruned { step } => (1, u64::MAX - step),
            SeenState::Pending => (2, 0),
        };
        tier(a).cmp(&tier(b)).then(a.loss.total_cmp(&b.loss))
    });
    let mut is_good = vec![false; seen.len()];
    for &i in order.iter().take(n_good).filter(|i| seen[**i].state != SeenState::Pending) {
        is_good[i] = true;
    }
    let points =
        |good: bool| (0..seen.len()).filter(|&i| is_good[i] == good).map(|i| seen[i].point).collect();
    (points(true), points(false))
}

/// Weights of kernels by age: the newest 25 weigh fully, the others less the older they are.
fn weights(n: usize) -> Vec<f64> {
    const FULL: usize = 25;
    (0..n)
        .map(|i| {
            if i + FULL >= n {
                1.0
            } else {
                // From 1/n for the oldest to 1.
                let share = if n - FULL > 1 { i as f64 / (n - FULL - 1) as f64 } else { 0.0 };
                (1.0 - share) / n as f64 + share
            }
        })
        .collect()
}

/// One kernel on one axis.
enum Axis {
    /// Normal kernels cut off at the ends of the axis: means, deviations, and the log of the mass inside.
    Normal { low: f64, high: f64, mean: Vec<f64>, sd: Vec<f64>, log_mass: Vec<f64> },
    /// The probability of every word, kernel after kernel.
    Words { n_words: usize, p: Vec<f64> },
}

/// Products of kernels, one product per trial and one for the prior.
struct Mixture {
    weight: Vec<f64>,
    axes: Vec<Axis>,
}

impl Mixture {
    fn of(members: &[&Dimension], points: &[&Params]) -> Self {
        // Only the trials in which the group mattered.
        let rows: Vec<Vec<f64>> = points
            .iter()
            .filter_map(|p| {
                members
                    .iter()
                    .map(|d| p.get(&d.name).and_then(|v| d.domain.coordinate(v)))
                    .collect::<Option<_>>()
            })
            .collect();
        let mut weight = weights(rows.len());
        weight.push(1.0);
        let total: f64 = weight.iter().sum();
        weight.iter_mut().for_each(|w| *w /= total);
        let axes = members
            .iter()
            .enumerate()
            .map(|(j, d)| Axis::of(&d.domain, &rows.iter().map(|r| r[j]).collect::<Vec<_>>()))
            .collect();
        Self { weight, axes }
    }

    fn draw(&self, members: &[&Dimension], rng: &mut impl Rng) -> Vec<f64> {
        let mut left = rng.random::<f64>();
        let mut kernel = self.weight.len() - 1;
        for (i, w) in self.weight.iter().enumerate() {
            left -= w;
            if left < 0.0 {
                kernel = i;
                break;
            }
        }
        self.axes
            .iter()
            .zip(members)
            .map(|(axis, d)| {
                let at = axis.draw(kernel, rng);
                // Onto a value that exists.
                d.domain.coordinate(&d.domain.at(at)).unwrap_or(at)
            })
            .collect()
    }

    fn log_density(&self, members: &[&Dimension], at: &[f64]) -> f64 {
        let logs: Vec<f64> = (0..self.weight.len())
            .map(|k| {
                let axes = self.axes.iter().zip(members).zip(at);
                self.weight[k].ln()
                    + axes.map(|((axis, d), at)| axis.log_density(&d.domain, k, *at)).sum::<f64>()
            })
            .collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return largest;
        }
        largest + logs.iter().map(|l| (l - largest).exp()).sum::<f64>().ln()
    }
}

impl Axis {
    fn of(domain: &Domain, seen: &[f64]) -> Self {
        let n = seen.len();
        if !domain.is_ordered() {
            let n_words = domain.n_values().unwrap_or(1) as usize;
            let each = 1.0 / (n + 1) as f64;
            let whole = 1.0 + each * n_words as f64;
            let mut p = vec![each / whole; n * n_words];
            for (i, at) in seen.iter().enumerate() {
                p[i * n_words + *at as usize] += 1.0 / whole;
            }
            p.extend(std::iter::repeat_n(1.0 / n_words as f64, n_words));
            return Self::Words { n_words, p };
        }
        let (low, high) = domain.axis();
        let range = high - low;
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| seen[a].total_cmp(&seen[b]));
        // A kernel reaches to the further of its neighbours, but never gets narrower than the number of trials allows:
        // else it would draw the same place again and again.
        let narrowest = range / (n as f64 + 2.0).min(100.0);
        let mut sd = vec![0.0; n];
        for (rank, &i) in order.iter().enumerate() {
            let left = rank.checked_sub(1).map(|r| seen[i] - seen[order[r]]);
            let right = order.get(rank + 1).map(|&r| seen[r] - seen[i]);
            let reach = match (left, right) {
                (Some(l), Some(r)) => l.max(r),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => (seen[i] - low).max(high - seen[i]),
            };
            sd[i] = reach.clamp(narrowest, range.max(narrowest));
        }
        let mut mean = seen.to_vec();
        mean.push(0.5 * (low + high));
        sd.push(range);
        // An axis of one value: any positive deviation does.
        sd.iter_mut().for_each(|s| *s = if *s > 0.0 { *s } else { 1.0 });
        let log_mass =
            mean.iter().zip(&sd).map(|(m, s)| normal_mass((low - m) / s, (high - m) / s).ln()).collect();
        Self::Normal { low, high, mean, sd, log_mass }
    }

    fn draw(&self, kernel: usize, rng: &mut impl Rng) -> f64 {
        match self {
            Self::Normal { low, high, mean, sd, .. } => {
                if low == high {
                    return *low;
                }
                // The mean lies inside and the deviation is at most the range, so at least a third of the draws hits.
                for _ in 0..200 {
                    let v = mean[kernel] + sd[kernel] * standard_normal(rng);
                    if (*low..=*high).contains(&v) {
                        return v;
                    }
                }
                mean[kernel]
            }
            Self::Words { n_words, p } => {
                let mut left = rng.random::<f64>();
                let row = &p[kernel * n_words..(kernel + 1) * n_words];
                row.iter()
                    .position(|p| {
                        left -= p;
                        left < 0.0
                    })
                    .unwrap_or(n_words - 1) as f64
            }
        }
    }

    fn log_density(&self, domain: &Domain, kernel: usize, at: f64) -> f64 {
        match self {
            Self::Normal { mean, sd, log_mass, low, high } => {
                if low == high {
                    return 0.0;
                }
                let (m, s) = (mean[kernel], sd[kernel]);
                match domain.cell(at) {
                    Some((from, to)) => normal_mass((from - m) / s, (to - m) / s).ln() - log_mass[kernel],
                    None => {
                        let z = (at - m) / s;
                        -0.5 * z * z - s.ln() - 0.5 * std::f64::consts::TAU.ln() - log_mass[kernel]
                    }
                }
            }
            Self::Words { n_words, p } => p[kernel * n_words + at as usize].ln(),
        }
    }
}

/// A number of the standard normal distribution (Box and Muller 1958).
pub(crate) fn standard_normal(rng: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random::<f64>();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The mass of the standard normal distribution between `a` and `b`, with full relative accuracy in both tails.
fn normal_mass(a: f64, b: f64) -> f64 {
    let upper = |z: f64| 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
    if a > 0.0 {
        upper(a) - upper(b)
    } else if b < 0.0 {
        upper(-b) - upper(-a)
    } else {
        1.0 - upper(-a) - upper(b)
    }
}
