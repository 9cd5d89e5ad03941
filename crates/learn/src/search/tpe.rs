//! The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl 2011; joint form: Falkner, Klein and
//! Hutter 2018; Watanabe 2023 compares the choices that it leaves open).
//!
//! The trials so far are parted into the best few and the rest. Each part becomes a density, a mixture of one kernel
//! per trial and one wide kernel for what is not known: `l` of the good, `g` of the rest. Of some candidates drawn from
//! `l` the one with the largest `l/g` is tried, which is the one of largest expected improvement.
//!
//! | choice | here | Optuna 5.0 |
//! |---|---|---|
//! | good trials | 15 %, at most 25 | 10 %, at most 25 |
//! | weights of the good | falling with the logarithm of the rank | all the same |
//! | weights of the rest | the newest 25 fully, older ones less | the same |
//! | kernel's width | the distance to the further neighbour | the same |
//! | narrowest kernel, as a share of the range | 1/(n+2)^1.2, not below 1/200 (good) and 1/40 (rest) | 1/min(n+2, 100) for both |
//! | candidates | 64 | 24 |
//! | categories | the trial's own word gets one, every word 1/(n+1) more | the same |
//!
//! Narrow kernels of the good let the search close in on a minimum; wider ones of the rest keep single bad trials from
//! digging holes beside it. The choices were made on eight functions (narrow valleys, bowls, many minima, conditions,
//! words, noise), the examples that `docs/benchmarks/search.sh` runs among them.

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
/// | `n_candidates` | 64 | 1 to 10000 | candidates drawn for each suggestion; more are greedier |
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
        Self { n_startup: 10, n_candidates: 64, multivariate: true }
    }
}

/// How many trials count as good: 15 of 100, at most 25.
fn n_good(n: usize) -> usize {
    n.saturating_mul(3).div_ceil(20).clamp(1, 25)
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
            let (l, g) = (Mixture::of(&members, &good, Side::Good), Mixture::of(&members, &rest, Side::Rest));
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

/// The best `n_good` points, best first, and the others in the order of the trials. Pruned trials stand behind finished
/// ones, those that went further first; pending ones count as bad, so that neighbours of what is being tried are
/// avoided.
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
    order.truncate(n_good);
    order.retain(|i| seen[*i].state != SeenState::Pending);
    let mut is_good = vec![false; seen.len()];
    order.iter().for_each(|i| is_good[*i] = true);
    let rest = seen.iter().zip(&is_good).filter(|(_, good)| !**good).map(|(s, _)| s.point).collect();
    (order.into_iter().map(|i| seen[i].point).collect(), rest)
}

/// Which trials a density is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Good,
    Rest,
}

impl Side {
    /// The weight of each of `n` kernels.
    fn weights(self, n: usize) -> Vec<f64> {
        match self {
            Self::Good => by_rank(n),
            Self::Rest => by_age(n),
        }
    }

    /// The least width of a kernel among `n`, as a share of the axis. Else it would draw the same place again and again.
    fn narrowest(self, n: usize) -> f64 {
        let least = match self {
            Self::Good => 1.0 / 200.0,
            Self::Rest => 1.0 / 40.0,
        };
        (n as f64 + 2.0).powf(-1.2).max(least)
    }
}

/// Weights of kernels whose trials come best first: they fall with the logarithm of the rank, as those of the parents in
/// the evolution strategy of Hansen and Ostermeier (2001), and sum to `n`.
fn by_rank(n: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..n).map(|rank| (n as f64 + 0.5).ln() - (rank as f64 + 1.0).ln()).collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w * n as f64 / total).collect()
}

/// Weights of kernels by age: the newest 25 weigh fully, the others less the older they are.
fn by_age(n: usize) -> Vec<f64> {
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
    fn of(members: &[&Dimension], points: &[&Params], side: Side) -> Self {
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
        let mut weight = side.weights(rows.len());
        weight.push(1.0);
        let total: f64 = weight.iter().sum();
        weight.iter_mut().for_each(|w| *w /= total);
        let axes = members
            .iter()
            .enumerate()
            .map(|(j, d)| Axis::of(&d.domain, &rows.iter().map(|r| r[j]).collect::<Vec<_>>(), side))
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
    fn of(domain: &Domain, seen: &[f64], side: Side) -> Self {
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
        // A kernel reaches to the further of its neighbours, but never gets narrower than the number of trials allows.
        let narrowest = range * side.narrowest(n);
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
