//! How far two samples lie apart, each measure with what it is when nothing changed.
//!
//! Every measure of distance is above zero for two samples of one source, the more so the smaller they are. So each
//! comes with its expectation under no change, which needs no resampling, and with the effect that remains without it:
//! that one does not grow with the sample when nothing changed, nor shrink into significance by size alone.
//!
//! With `n` and `m` values in `k` cells and `v = 1/n + 1/m`:
//!
//! | measure | statistic | expected without change | effect | p-value |
//! |---|---|---|---|---|
//! | [`psi`] | `Σ (q − p) ln(q/p)` | `(k − 1) v` (Yurdakul and Naranjo 2020) | statistic less expected | χ² of `PSI / v` |
//! | [`jensen_shannon`] | `√(JSD)` in bits | `√((k − 1) v / (8 ln 2))` | `√(JSD − expected²)` | χ² of `8 JSD ln 2 / v` |
//! | [`chi_square`] | Pearson's χ² of the table | `k − 1` | Cramér's V of two equally large samples, less its bias | χ² |
//! | [`kolmogorov_smirnov`] | `sup abs(F − G)` | `√(π/2) ln 2 √v` | `√(D² − expected²)` | Kolmogorov's, with Stephens' (1970) correction |
//! | [`wasserstein`] | `∫ abs(F − G)` | `√(2v/π) ∫ √(H(1 − H))`, H of both | `√(W² − expected²) / scale`, without the outermost percent | none |
//!
//! Effects are never below 0. All are NaN without values.

use crate::monitor::sketch::Ranked;
use serde::{Deserialize, Serialize};
use tradewind_core::distribution::{chi_square_p, kolmogorov_p};

/// A distance of two samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The measure as the books have it.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub statistic: f64,
    /// What it would be on average if nothing had changed.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub expected: f64,
    /// How large the change is, without what chance adds.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub effect: f64,
    /// How likely at least such a statistic is if nothing changed; NaN where no such law is known.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p: f64,
}

impl Distance {
    const NONE: Self = Self { statistic: f64::NAN, expected: f64::NAN, effect: f64::NAN, p: f64::NAN };
}

/// Shares of two samples in the same cells, and how many values they are shares of.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    reference: Vec<f64>,
    current: Vec<f64>,
    n: f64,
    m: f64,
}

impl Shares {
    /// From counts in the same cells; cells empty in both are left out.
    pub fn of_counts(reference: &[u64], current: &[u64]) -> Self {
        let pairs: Vec<(u64, u64)> =
            reference.iter().copied().zip(current.iter().copied()).filter(|(a, b)| a + b > 0).collect();
        let n = pairs.iter().map(|(a, _)| *a).sum::<u64>() as f64;
        let m = pairs.iter().map(|(_, b)| *b).sum::<u64>() as f64;
        Self {
            reference: pairs.iter().map(|(a, _)| *a as f64 / n).collect(),
            current: pairs.iter().map(|(_, b)| *b as f64 / m).collect(),
            n,
            m,
        }
    }

    /// From shares that sum to 1, and the numbers of values that they count as.
    pub(super) fn of_shares(reference: &[f64], current: &[f64], n: f64, m: f64) -> Self {
        let kept = || reference.iter().zip(current).filter(|(a, b)| **a > 0.0 || **b > 0.0);
        Self {
            reference: kept().map(|(a, _)| *a).collect(),
            current: kept().map(|(_, b)| *b).collect(),
            n,
            m,
        }
    }

    fn is_empty(&self) -> bool {
        !(self.n > 0.0 && self.m > 0.0)
    }

    fn v(&self) -> f64 {
        1.0 / self.n + 1.0 / self.m
    }

    fn cells(&self) -> f64 {
        self.reference.len() as f64
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.reference.iter().copied().zip(self.current.iter().copied())
    }
}

/// Population stability index. Where a cell is empty in one sample, half a value is added to every cell of both, for an
/// empty cell has no logarithm.
///
/// ```
/// use tradewind_ops::monitor::drift::{Shares, psi};
/// let d = psi(&Shares::of_counts(&[500, 500], &[600, 400]));
/// assert!((d.statistic - (0.1 * 1.2_f64.ln() - 0.1 * 0.8_f64.ln())).abs() < 1e-12);
/// ```
pub fn psi(shares: &Shares) -> Distance {
    if shares.is_empty() {
        return Distance::NONE;
    }
    let k = shares.cells();
    let half = if shares.pairs().any(|(p, q)| p == 0.0 || q == 0.0) { 0.5 } else { 0.0 };
    let statistic: f64 = shares
        .pairs()
        .map(|(p, q)| {
            let p = (p * shares.n + half) / (shares.n + half * k);
            let q = (q * shares.m + half) / (shares.m + half * k);
            (q - p) * (q / p).ln()
        })
        .sum();
    let expected = (k - 1.0) * shares.v();
    Distance {
        statistic,
        expected,
        effect: (statistic - expected).max(0.0),
        p: tail(statistic / shares.v(), k - 1.0),
    }
}

/// Jensen–Shannon distance with logarithms to base 2: 0 for equal shares, 1 for shares that have nothing in common.
pub fn jensen_shannon(shares: &Shares) -> Distance {
    if shares.is_empty() {
        return Distance::NONE;
    }
    let part = |p: f64, middle: f64| if p > 0.0 { p * (p / middle).ln() } else { 0.0 };
    let nats: f64 = shares
        .pairs()
        .map(|(p, q)| 0.5 * (part(p, 0.5 * (p + q)) + part(q, 0.5 * (p + q))))
        .sum::<f64>()
        .max(0.0);
    let df = shares.cells() - 1.0;
    let expected = df * shares.v() / 8.0;
    let bits = |nats: f64| (nats / std::f64::consts::LN_2).max(0.0).sqrt();
    Distance {
        statistic: bits(nats),
        expected: bits(expected),
        effect: bits(nats - expected),
        p: tail(8.0 * nats / shares.v(), df),
    }
}

/// Pearson's χ² of the two samples' table, without Yates' correction. The effect is Cramér's V as two equally large
/// samples would have it, `√(½ Σ (p − q)²/(p + q))`, less its bias (Bergsma 2013): the usual V falls when the reference is
/// much larger than the current sample.
pub fn chi_square(shares: &Shares) -> Distance {
    if shares.is_empty() {
        return Distance::NONE;
    }
    let (n, m) = (shares.n, shares.m);
    let df = shares.cells() - 1.0;
    let statistic: f64 = shares
        .pairs()
        .map(|(p, q)| {
            let pooled = (n * p + m * q) / (n + m);
            (p - q) * (p - q) / pooled * (n * m / (n + m))
        })
        .sum();
    let squared: f64 = shares.pairs().map(|(p, q)| 0.5 * (p - q) * (p - q) / (p + q)).sum();
    Distance {
        statistic,
        expected: df,
        effect: (squared - df * shares.v() / 4.0).max(0.0).sqrt(),
        p: tail(statistic, df),
    }
}

fn tail(statistic: f64, df: f64) -> f64 {
    if df < 1.0 { 1.0 } else { chi_square_p(statistic, df) }
}

/// The largest distance of the two distribution functions. `n` and `m` are the values they count as, which for sketches
/// of very many values is less than they saw.
pub fn kolmogorov_smirnov(reference: &Ranked, current: &Ranked, n: f64, m: f64) -> Distance {
    if reference.n() == 0 || current.n() == 0 {
        return Distance::NONE;
    }
    let statistic = steps(reference, current).map(|s| (s.f - s.g).abs()).fold(0.0, f64::max);
    let root = (n * m / (n + m)).sqrt();
    // The mean of Kolmogorov's law.
    let expected = (std::f64::consts::FRAC_PI_2).sqrt() * std::f64::consts::LN_2 / root;
    Distance {
        statistic,
        expected,
        effect: (statistic * statistic - expected * expected).max(0.0).sqrt(),
        p: kolmogorov_p(statistic * (root + 0.12 + 0.11 / root)),
    }
}

/// The earth mover's distance, in the unit of the values; the effect is in standard deviations of the reference. The
/// effect leaves out what lies outside the pooled 1st and 99th percentile, and so does the deviation, so that a few
/// extreme values (and the sketch's error at the ends) do not decide; those are found as values out of range.
pub fn wasserstein(reference: &Ranked, current: &Ranked, n: f64, m: f64) -> Distance {
    if reference.n() == 0 || current.n() == 0 {
        return Distance::NONE;
    }
    const OUTSIDE: f64 = 0.01;
    let v = 1.0 / n + 1.0 / m;
    let low = reference.quantile(OUTSIDE).min(current.quantile(OUTSIDE));
    let high = reference.quantile(1.0 - OUTSIDE).max(current.quantile(1.0 - OUTSIDE));
    let (mut whole, mut inside, mut chance, mut chance_inside) = (0.0, 0.0, 0.0, 0.0);
    for s in steps(reference, current) {
        let Some(next) = s.next else { break };
        let both = (s.f * n + s.g * m) / (n + m);
        let spread = (both * (1.0 - both)).max(0.0).sqrt();
        whole += (s.f - s.g).abs() * (next - s.x);
        chance += spread * (next - s.x);
        let width = (next.min(high) - s.x.max(low)).max(0.0);
        inside += (s.f - s.g).abs() * width;
        chance_inside += spread * width;
    }
    let factor = (2.0 * v / std::f64::consts::PI).sqrt();
    let beyond = (inside * inside - (factor * chance_inside).powi(2)).max(0.0).sqrt();
    Distance {
        statistic: whole,
        expected: factor * chance,
        effect: beyond / scale(reference, OUTSIDE),
        p: f64::NAN,
    }
}

/// The standard deviation with values beyond the outer quantiles set to these; where it is zero, the size of the value,
/// or 1.
fn scale(reference: &Ranked, outside: f64) -> f64 {
    let (low, high) = (reference.quantile(outside), reference.quantile(1.0 - outside));
    let (mut sum, mut squares, mut before) = (0.0, 0.0, 0.0);
    // Around the median, so that large offsets do not cancel.
    let middle = reference.quantile(0.5);
    for x in reference.values() {
        let f = reference.cdf(*x);
        let value = x.clamp(low, high) - middle;
        sum += value * (f - before);
        squares += value * value * (f - before);
        before = f;
    }
    let deviation = (squares - sum * sum).max(0.0).sqrt();
    if deviation > 0.0 {
        deviation
    } else if middle != 0.0 {
        middle.abs()
    } else {
        1.0
    }
}

/// The two distribution functions from `x` on, up to the next value.
struct Step {
    x: f64,
    next: Option<f64>,
    f: f64,
    g: f64,
}

fn steps<'a>(a: &'a Ranked, b: &'a Ranked) -> impl Iterator<Item = Step> + 'a {
    let (mut i, mut j) = (0, 0);
    let (mut f, mut g) = (0.0, 0.0);
    std::iter::from_fn(move || {
        let at = |i: usize, j: usize| match (a.values().get(i), b.values().get(j)) {
            (Some(x), Some(y)) => Some(x.min(*y)),
            (x, y) => x.or(y).copied(),
        };
        let x = at(i, j)?;
        if a.values().get(i) == Some(&x) {
            f = a.cdf_at(i);
            i += 1;
        }
        if b.values().get(j) == Some(&x) {
            g = b.cdf_at(j);
            j += 1;
        }
        Some(Step { x, next: at(i, j), f, g })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sketch::mixed;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Reference {
        numbers: Vec<Numbers>,
        counts: Vec<Counts>,
    }

    #[derive(Deserialize)]
    struct Numbers {
        a: Vec<f64>,
        b: Vec<f64>,
        ks: f64,
        ks_p: f64,
        wasserstein: f64,
    }

    #[derive(Deserialize)]
    struct Counts {
        a: Vec<u64>,
        b: Vec<u64>,
        psi: f64,
        jensen_shannon: f64,
        chi_square: f64,
        chi_square_p: f64,
    }

    fn near(got: f64, want: f64, what: &str) {
        assert!((got - want).abs() <= 1e-12 * (1.0 + want.abs()), "{what}: {got} against {want}");
    }

    #[test]
    fn distances_as_scipy() {
        let file: Reference =
            serde_json::from_str(include_str!("../../../tests/reference/drift.json")).unwrap();
        for case in &file.numbers {
            let (a, b) = (Ranked::of(&case.a), Ranked::of(&case.b));
            let (n, m) = (case.a.len() as f64, case.b.len() as f64);
            let ks = kolmogorov_smirnov(&a, &b, n, m);
            near(ks.statistic, case.ks, "KS");
            // Stephens' correction is an approximation of the exact law that scipy computes.
            assert!((ks.p - case.ks_p).abs() < 0.02 + 0.05 * case.ks_p, "{} {}", ks.p, case.ks_p);
            near(wasserstein(&a, &b, n, m).statistic, case.wasserstein, "Wasserstein");
        }
        for case in &file.counts {
            let shares = Shares::of_counts(&case.a, &case.b);
            near(psi(&shares).statistic, case.psi, "PSI");
            near(jensen_shannon(&shares).statistic, case.jensen_shannon, "Jensen-Shannon");
            let chi = chi_square(&shares);
            near(chi.statistic, case.chi_square, "chi-square");
            assert!((chi.p - case.chi_square_p).abs() <= 1e-9 * case.chi_square_p, "{}", chi.p);
        }
    }

    fn sample(n: u64, seed: u64, shift: f64) -> Vec<f64> {
        let uniform = |i: u64| (mixed(i ^ (seed << 32)) >> 11) as f64 / (1_u64 << 53) as f64;
        (0..n).map(|i| shift + tradewind_core::distribution::normal_quantile(uniform(i).max(1e-15))).collect()
    }

    /// Means of effect and statistic/expected over many pairs of samples of one source.
    #[test]
    fn expectations_hold_when_nothing_changed() {
        let (n, m, runs) = (400, 900, 400);
        let mut sums = [0.0; 5];
        let mut low_p = [0_u32; 4];
        let cuts: Vec<f64> =
            (1..10).map(|i| tradewind_core::distribution::normal_quantile(f64::from(i) / 10.0)).collect();
        let counts = |v: &[f64]| {
            let mut out = vec![0_u64; 10];
            v.iter().for_each(|x| out[cuts.partition_point(|c| c < x)] += 1);
            out
        };
        for run in 0..runs {
            let (a, b) = (sample(n, 2 * run + 1, 0.0), sample(m, 2 * run + 2, 0.0));
            let shares = Shares::of_counts(&counts(&a), &counts(&b));
            let (x, y) = (Ranked::of(&a), Ranked::of(&b));
            let all = [
                psi(&shares),
                chi_square(&shares),
                jensen_shannon(&shares),
                kolmogorov_smirnov(&x, &y, n as f64, m as f64),
                wasserstein(&x, &y, n as f64, m as f64),
            ];
            for (i, d) in all.iter().enumerate() {
                sums[i] += d.statistic / d.expected;
                if i < 4 {
                    low_p[i] += u32::from(d.p <= 0.05);
                }
            }
        }
        for sum in sums {
            assert!((sum / runs as f64 - 1.0).abs() < 0.1, "{sums:?}");
        }
        // 20 of 400 on average, standard deviation 4.4.
        assert!(low_p.iter().all(|p| (6..=36).contains(p)), "{low_p:?}");
    }

    #[test]
    fn effects_tell_the_change_whatever_the_size() {
        for n in [500, 5_000, 50_000] {
            let (a, b) = (sample(n, 1, 0.0), sample(n, 2, 0.5));
            let (x, y) = (Ranked::of(&a), Ranked::of(&b));
            let w = wasserstein(&x, &y, n as f64, n as f64);
            // A shift of half a deviation; the deviation without the outermost percents is 0.98.
            assert!((w.effect - 0.5).abs() < 0.13, "{n}: {w:?}");
            let ks = kolmogorov_smirnov(&x, &y, n as f64, n as f64);
            assert!((ks.effect - 0.197).abs() < 0.07, "{n}: {ks:?}");
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        let none = Ranked::of(&[]);
        assert!(kolmogorov_smirnov(&none, &none, 0.0, 0.0).statistic.is_nan());
        assert!(psi(&Shares::of_counts(&[], &[])).statistic.is_nan());
        let one = Shares::of_counts(&[5], &[7]);
        assert_eq!((psi(&one).statistic, psi(&one).p, chi_square(&one).p), (0.0, 1.0, 1.0));
        let constant = Ranked::of(&[3.0; 10]);
        assert_eq!(wasserstein(&constant, &constant, 10.0, 10.0).effect, 0.0);
    }
}
