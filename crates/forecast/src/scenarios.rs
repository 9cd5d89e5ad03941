//! Scenario paths: whole futures of a series, for simulations of stock and cash.
//!
//! Quantiles tell of each step alone. What a stock must last for is a sum over steps, and how wide that is depends on
//! how the steps go together: errors of neighbouring days mostly have the same sign. A path is one future from the first
//! step to the last; many of them together have the forecast's quantiles at every step, and the order of past errors
//! across steps.
//!
//! ```text
//! e_w(k) = y(t_w + k) − level(t_w)                                past window w, step k = 1…h
//! level(t) = level(t − 1) + α (y(t) − level(t − 1))               α with the smallest errors of sums over windows
//! path p at step k = Q_k((rank of e_w(p)(k) among the windows drawn − ½) / n_paths)
//! ```
//!
//! with `Q_k` the forecast's quantile function, interpolated on the scale of the normal distribution. It is the Schaake
//! shuffle (Clark, Gangopadhyay, Hay, Rajagopalan & Wilby, *The Schaake shuffle: a method for reconstructing space–time
//! variability in forecasted precipitation and temperature fields*, Journal of Hydrometeorology 2004) with past
//! forecast errors in place of past weather, as in ensemble copula coupling (Schefzik, Thorarinsdottir & Gneiting 2013).
//! Windows begin a whole season apart where there are enough of them, so that a weekday is compared with itself. A series
//! too short for windows of its own borrows those of another; where no series has any, steps are independent.
//!
//! Where the sums of past windows spread wider than the paths' sums, all steps are stretched about their means until the
//! sums are as wide ([`ScenarioSettings::sums_of_past`]): intervals that hold four in five single days of a slow seller
//! are too narrow for its weeks, since a day without a sale is held by every interval that reaches down to zero.

use crate::draws::{mix, unit};
use crate::normal;
use rayon::prelude::*;
use tradewind_core::{Error, Forecast, Panel, ParamCheck, Result, Run};

/// Quantile levels that a forecast should hold to be made into paths: central intervals for
/// [`Options::coverages`](crate::Options).
pub const COVERAGES: &[f64] = &[0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98];

/// How fast a level may follow the series.
const RATES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 0.6];
/// How far steps may be stretched, and in how many rounds the factor is found.
const STRETCH_MAX: f64 = 4.0;
const STRETCH_ROUNDS: usize = 4;
/// Windows below which a series borrows those of another.
const WINDOWS_MIN: usize = 8;

/// How paths are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScenarioSettings {
    /// Paths of each series, 2 to 100,000.
    pub n_paths: usize,
    /// Steps of one season, as 7 for days; 1: none.
    pub season_length: usize,
    /// Whether steps are stretched until sums over the horizon spread as they did in the past, rather than keeping the
    /// forecast's quantiles at every step.
    pub sums_of_past: bool,
}

/// Paths of many series.
///
/// Invariant: `values.len() == n_series × n_paths × horizon`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenarios {
    n_paths: usize,
    horizon: usize,
    values: Vec<f32>,
    /// Series whose steps are independent, since nothing tells how they go together.
    pub independent: usize,
}

impl Scenarios {
    /// Paths of each series.
    pub fn n_paths(&self) -> usize {
        self.n_paths
    }

    /// Series.
    pub fn len(&self) -> usize {
        self.values.len() / (self.n_paths * self.horizon).max(1)
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Path `p` of series `i`, one value a step. Panics, as a slice would, when there is none.
    pub fn path(&self, i: usize, p: usize) -> &[f32] {
        &self.values[(i * self.n_paths + p) * self.horizon..][..self.horizon]
    }

    /// The share of paths of series `i` whose first `steps` values add up to at most `total`: the chance that so much
    /// stock lasts so long.
    pub fn lasts(&self, i: usize, steps: usize, total: f64) -> f64 {
        let sums = (0..self.n_paths)
            .filter(|p| self.path(i, *p).iter().take(steps).map(|v| f64::from(*v)).sum::<f64>() <= total);
        sums.count() as f64 / self.n_paths as f64
    }

    /// What the first `steps` values of series `i` add up to at most in the share `level` of the paths.
    pub fn sum_quantile(&self, i: usize, steps: usize, level: f64) -> f64 {
        let mut sums: Vec<f64> = (0..self.n_paths)
            .map(|p| self.path(i, p).iter().take(steps).map(|v| f64::from(*v)).sum())
            .collect();
        sums.sort_by(f64::total_cmp);
        let place = (level.clamp(0.0, 1.0) * sums.len() as f64).ceil() as usize;
        sums[place.clamp(1, sums.len()) - 1]
    }
}

/// Makes paths of a forecast of the panel's series, in the forecast's order.
///
/// # Errors
/// A number of paths out of range, a forecast without quantiles on both sides of the middle, one of a series that the
/// panel does not hold.
///
/// ```
/// use tradewind_core::{Freq, Panel, Params, Run};
/// use tradewind_forecast::scenarios::{COVERAGES, ScenarioSettings, scenarios};
/// use tradewind_forecast::{Options, forecast};
/// let y = (0..200).map(|t| f64::from(10 + t % 7 + (t * t) % 5)).collect();
/// let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
/// let run = Run::new(1);
/// let told = forecast(&run, &panel, "seasonal_naive", &Params::new(), &Options::new(14, COVERAGES)).unwrap();
/// let paths = scenarios(&run, &panel, &told, &ScenarioSettings { n_paths: 100, season_length: 7, sums_of_past: true }).unwrap();
/// assert_eq!((paths.len(), paths.path(0, 99).len()), (1, 14));
/// // Stock for two weeks in nineteen futures of twenty.
/// assert!(paths.sum_quantile(0, 14, 0.95) > told.mean(0).iter().sum::<f64>());
/// ```
pub fn scenarios(
    run: &Run,
    panel: &Panel,
    forecast: &Forecast,
    settings: &ScenarioSettings,
) -> Result<Scenarios> {
    let mut check = ParamCheck::new();
    check
        .require((2..=100_000).contains(&settings.n_paths), "paths", settings.n_paths, "2 to 100000")
        .require(settings.season_length > 0, "season_length", settings.season_length, "1 and more")
        .finish()?;
    let levels = forecast.levels();
    if !(levels.first().is_some_and(|l| *l < 0.5) && levels.last().is_some_and(|l| *l > 0.5)) {
        return Err(Error::Invalid(format!(
            "the forecast by {} has no quantiles on both sides of the middle; ask for intervals",
            forecast.model()
        )));
    }
    let positions: Vec<usize> = forecast
        .ids()
        .iter()
        .map(|id| panel.position(id).ok_or_else(|| Error::Invalid(format!("the panel has no series `{id}`"))))
        .collect::<Result<_>>()?;
    let (h, n) = (forecast.horizon(), settings.n_paths);
    let scores: Vec<f64> = levels.iter().map(|l| normal::quantile(*l)).collect();
    // The first series that have windows lend them to those that have none.
    let lenders: Vec<usize> = (0..panel.len())
        .filter(|i| Windows::of(panel.series(*i).y, h, settings.season_length).starts.len() >= WINDOWS_MIN)
        .take(64)
        .collect();
    let mut values = vec![0.0_f32; positions.len() * n * h];
    let independent = run.install(|| {
        values
            .par_chunks_mut((n * h).max(1))
            .zip(positions.par_iter().enumerate())
            .map(|(out, (i, position))| {
                run.check()?;
                let seed = mix(run.seed ^ mix(i as u64 + 1));
                let y = panel.series(*position).y;
                let own = Windows::of(y, h, settings.season_length);
                let windows = if own.starts.len() >= WINDOWS_MIN {
                    Some(own)
                } else {
                    let lender = lenders.get((mix(seed ^ 3) % lenders.len().max(1) as u64) as usize);
                    lender.map(|l| Windows::of(panel.series(*l).y, h, settings.season_length))
                };
                let nonnegative = y.iter().all(|v| v.is_nan() || *v >= 0.0);
                let order = order(windows.as_ref(), h, n, seed);
                for k in 0..h {
                    let quantiles: Vec<f64> =
                        levels.iter().map(|l| forecast.quantile(i, k, *l).unwrap_or(f64::NAN)).collect();
                    for p in 0..n {
                        let level = (f64::from(order[k * n + p]) + 0.5) / n as f64;
                        let value = at(&scores, &quantiles, normal::quantile(level));
                        out[p * h + k] = if nonnegative { value.max(0.0) } else { value } as f32;
                    }
                }
                if let Some(windows) =
                    windows.as_ref().filter(|w| settings.sums_of_past && std::ptr::eq(w.y, y))
                {
                    stretch(out, h, windows.spread_of_sums(h), nonnegative);
                }
                Ok(usize::from(windows.is_none()))
            })
            .collect::<Result<Vec<usize>>>()
            .map(|n| n.into_iter().sum())
    })?;
    Ok(Scenarios { n_paths: n, horizon: h, values, independent })
}

/// The quantile at a normal score, straight lines between those held and beyond the outermost ones.
fn at(scores: &[f64], quantiles: &[f64], score: f64) -> f64 {
    let right = scores.partition_point(|s| *s < score).clamp(1, scores.len() - 1);
    let (a, b) = (right - 1, right);
    let share = (score - scores[a]) / (scores[b] - scores[a]);
    quantiles[a] + share * (quantiles[b] - quantiles[a])
}

/// Stretches of the past of which every value is known.
struct Windows<'a> {
    y: &'a [f64],
    /// The place of the first step, and the level before it.
    starts: Vec<(usize, f64)>,
}

impl<'a> Windows<'a> {
    fn of(y: &'a [f64], h: usize, season: usize) -> Self {
        let with = |stride: usize| {
            let mut starts = Vec::new();
            let mut end = y.len();
            // A whole season comes before the first window, so that its level is known.
            while end >= 2 * h.max(season) {
                if y[end - h..end].iter().all(|v| v.is_finite()) {
                    starts.push(end - h);
                }
                end -= stride.min(end);
            }
            starts
        };
        let mut starts = with(season);
        if starts.len() < 2 * WINDOWS_MIN && season > 1 {
            starts = with(1);
        }
        let sums: Vec<f64> = starts.iter().map(|s| y[*s..s + h].iter().sum()).collect();
        let best = RATES
            .iter()
            .map(|rate| {
                let levels = levels(y, *rate, season);
                let of_sum = |(start, sum): (&usize, &f64)| (sum - h as f64 * levels[*start]).powi(2);
                (starts.iter().zip(&sums).map(of_sum).sum::<f64>(), levels)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let levels = best.map(|b| b.1).unwrap_or_default();
        Self { y, starts: starts.into_iter().map(|s| (s, levels[s])).collect() }
    }
}

impl Windows<'_> {
    /// The standard deviation of the errors' sums.
    fn spread_of_sums(&self, h: usize) -> f64 {
        let sums: Vec<f64> = self
            .starts
            .iter()
            .map(|(s, level)| self.y[*s..s + h].iter().sum::<f64>() - h as f64 * level)
            .collect();
        spread(&sums)
    }
}

fn spread(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt()
}

/// Moves all steps away from their means until the paths' sums spread so much; never nearer, and at most four times as far.
fn stretch(paths: &mut [f32], h: usize, wanted: f64, nonnegative: bool) {
    let n = paths.len() / h.max(1);
    let told: Vec<f32> = paths.to_vec();
    let means: Vec<f64> = (0..h)
        .map(|k| told.iter().skip(k).step_by(h).map(|v| f64::from(*v)).sum::<f64>() / n as f64)
        .collect();
    let mut factor = 1.0_f64;
    // What is cut off at zero makes sums narrower again: a few rounds find the factor.
    for _ in 0..STRETCH_ROUNDS {
        let sums: Vec<f64> = paths.chunks_exact(h).map(|p| p.iter().map(|v| f64::from(*v)).sum()).collect();
        let now = spread(&sums);
        if now <= 0.0 || wanted <= now * 1.01 {
            return;
        }
        factor = (factor * wanted / now).min(STRETCH_MAX);
        for (path, told) in paths.chunks_exact_mut(h).zip(told.chunks_exact(h)) {
            for k in 0..h {
                let value = means[k] + factor * (f64::from(told[k]) - means[k]);
                path[k] = if nonnegative { value.max(0.0) } else { value } as f32;
            }
        }
        // Cut off at zero the mean has grown: it is brought back.
        for k in 0..h {
            let mean = paths.iter().skip(k).step_by(h).map(|v| f64::from(*v)).sum::<f64>() / n as f64;
            if nonnegative && mean > 0.0 {
                let back = (means[k] / mean) as f32;
                paths.iter_mut().skip(k).step_by(h).for_each(|v| *v *= back);
            }
        }
    }
}

/// The level known before each place, from the mean of the first season on.
fn levels(y: &[f64], rate: f64, season: usize) -> Vec<f64> {
    let first: Vec<f64> = y.iter().filter(|v| v.is_finite()).take(season).copied().collect();
    let mut level = first.iter().sum::<f64>() / first.len().max(1) as f64;
    y.iter()
        .map(|v| {
            let known = level;
            if v.is_finite() {
                level += rate * (v - level);
            }
            known
        })
        .collect()
}

/// For each step (outer) and path (inner) the rank of the path's value among the paths, from 0.
fn order(windows: Option<&Windows<'_>>, h: usize, n: usize, seed: u64) -> Vec<u32> {
    let chance = |k: usize, p: usize| mix(seed ^ mix((k * n + p) as u64 ^ 0x5eed));
    // Windows in an order drawn by chance, again and again where there are fewer than paths.
    let mut drawn: Vec<usize> = (0..windows.map_or(0, |w| w.starts.len())).collect();
    drawn.sort_by_key(|w| mix(seed ^ mix(*w as u64 ^ 0xd0)));
    let mut out = vec![0; h * n];
    let mut keyed: Vec<(f64, f64, u32)> = Vec::with_capacity(n);
    for k in 0..h {
        keyed.clear();
        keyed.extend((0..n).map(|p| {
            let error = windows.map_or(0.0, |w| {
                let (start, level) = w.starts[drawn[p % drawn.len()]];
                w.y[start + k] - level
            });
            // Equal errors, as of days without a sale, are ordered by chance.
            (error, unit(chance(k, p)), p as u32)
        }));
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (rank, (_, _, p)) in keyed.iter().enumerate() {
            out[k * n + *p as usize] = rank as u32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, forecast};
    use tradewind_core::{Freq, Params};

    /// A sum of many draws is as good as normal.
    fn noise(t: u64) -> f64 {
        (0..12).map(|k| unit(mix(t * 12 + k))).sum::<f64>() - 6.0
    }

    /// Errors that stay for a while, or do not.
    fn series(persistence: f64, n: u64) -> Vec<f64> {
        let mut state = 0.0;
        (0..n)
            .map(|t| {
                state = persistence * state + (1.0 - persistence * persistence).sqrt() * noise(t + 1);
                50.0 + 5.0 * state
            })
            .collect()
    }

    fn made(y: Vec<f64>, n_paths: usize, threads: usize) -> (Forecast, Scenarios) {
        let run = Run::new(3).with_threads(threads);
        let panel = Panel::from_series(Freq::STEP, vec![("a".into(), 0, y)]).expect("a panel");
        let told = forecast(&run, &panel, "mean", &Params::new(), &Options::new(8, COVERAGES)).expect("fits");
        let settings = ScenarioSettings { n_paths, season_length: 1, sums_of_past: false };
        let paths = scenarios(&run, &panel, &told, &settings).expect("paths");
        (told, paths)
    }

    #[test]
    fn every_step_has_the_quantiles_of_the_forecast() {
        let (told, paths) = made(series(0.8, 600), 200, 1);
        for k in 0..8 {
            let mut at: Vec<f32> = (0..200).map(|p| paths.path(0, p)[k]).collect();
            at.sort_by(f32::total_cmp);
            for level in [0.1, 0.3, 0.7, 0.9] {
                let (below, wanted) = ((level * 200.0) as usize, told.quantile(0, k, level).expect("held"));
                let (low, high) = (f64::from(at[below - 1]), f64::from(at[below]));
                assert!(
                    (low - 1e-3..=high + 1e-3).contains(&wanted),
                    "step {k}, {level}: {low} {wanted} {high}"
                );
            }
        }
    }

    #[test]
    fn steps_go_together_as_errors_did() {
        // The variance of a sum of 8 steps, over that of independent ones: 1 for noise, for an AR(1) of .8 about 1 + 2 Σ
        // (1 − k/8) .8^k = 4.9, less what the level takes away.
        let spread = |persistence: f64| {
            let (_, paths) = made(series(persistence, 3_000), 2_000, 2);
            let sums: Vec<f64> =
                (0..2_000).map(|p| paths.path(0, p).iter().map(|v| f64::from(*v)).sum()).collect();
            let variance = |v: &[f64]| {
                let mean = v.iter().sum::<f64>() / v.len() as f64;
                v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / v.len() as f64
            };
            let alone: f64 = (0..8)
                .map(|k| variance(&(0..2_000).map(|p| f64::from(paths.path(0, p)[k])).collect::<Vec<_>>()))
                .sum();
            variance(&sums) / alone
        };
        let (noise, persistent) = (spread(0.0), spread(0.8));
        assert!((0.8..1.4).contains(&noise), "{noise}");
        assert!((3.0..6.0).contains(&persistent), "{persistent}");
    }

    #[test]
    fn sums_spread_as_they_did() {
        // Two of five days without a sale, and a level that wanders: intervals of single days tell little of the weeks.
        let y: Vec<f64> = (0..1_400_u64)
            .map(|t| {
                let level = 4.0 + 3.0 * (t as f64 / 90.0).sin();
                if unit(mix(t ^ 7)) < 0.4 { 0.0 } else { (level * 2.0 * unit(mix(t + 99))).round() }
            })
            .collect();
        let run = Run::new(3);
        let panel = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, y.clone())]).expect("a panel");
        let told =
            forecast(&run, &panel, "theta", &Params::new(), &Options::new(28, COVERAGES)).expect("fits");
        let spread_with = |sums_of_past| {
            let settings = ScenarioSettings { n_paths: 400, season_length: 7, sums_of_past };
            let paths = scenarios(&run, &panel, &told, &settings).expect("paths");
            let sums: Vec<f64> =
                (0..400).map(|p| paths.path(0, p).iter().map(|v| f64::from(*v)).sum()).collect();
            (spread(&sums), sums.iter().sum::<f64>() / 400.0)
        };
        let wanted = Windows::of(&y, 28, 7).spread_of_sums(28);
        let ((plain, mean), (stretched, mean_after)) = (spread_with(false), spread_with(true));
        assert!(stretched >= plain, "{stretched} {plain}");
        assert!(stretched > 0.93 * wanted, "{stretched} where {wanted} was seen, {plain} before");
        assert!((mean_after / mean - 1.0).abs() < 0.02, "{mean_after} {mean}");
    }

    #[test]
    fn short_series_borrow_and_nothing_depends_on_threads() {
        let (_, one) = made(series(0.5, 300), 50, 1);
        let (_, two) = made(series(0.5, 300), 50, 2);
        assert_eq!(one, two);
        let run = Run::new(1);
        let series = vec![("long".into(), 0, series(0.8, 300)), ("short".into(), 0, vec![3.0, 4.0, 5.0])];
        let panel = Panel::from_series(Freq::STEP, series).expect("a panel");
        let told = forecast(&run, &panel, "mean", &Params::new(), &Options::new(4, COVERAGES)).expect("fits");
        let settings = ScenarioSettings { n_paths: 40, season_length: 1, sums_of_past: true };
        let paths = scenarios(&run, &panel, &told, &settings).expect("paths");
        assert_eq!((paths.len(), paths.independent), (2, 0));
        let alone =
            Panel::from_series(Freq::STEP, vec![("short".into(), 0, vec![3.0, 4.0, 5.0])]).expect("a panel");
        let told = forecast(&run, &alone, "mean", &Params::new(), &Options::new(4, COVERAGES)).expect("fits");
        assert_eq!(scenarios(&run, &alone, &told, &settings).expect("paths").independent, 1);
        // Counts never go below zero, however wide the forecast.
        let (_, paths) = made((0..300).map(|t| if t % 9 == 0 { 20.0 } else { 0.0 }).collect(), 60, 1);
        assert!((0..60).all(|p| paths.path(0, p).iter().all(|v| *v >= 0.0)));
    }

    #[test]
    fn a_forecast_without_quantiles_is_refused() {
        let run = Run::new(1);
        let panel = Panel::from_series(Freq::STEP, vec![("a".into(), 0, series(0.5, 50))]).expect("a panel");
        let told = forecast(&run, &panel, "mean", &Params::new(), &Options::new(4, &[])).expect("fits");
        let settings = ScenarioSettings { n_paths: 10, season_length: 1, sums_of_past: true };
        assert!(scenarios(&run, &panel, &told, &settings).is_err());
        let none = ScenarioSettings { n_paths: 1, ..settings };
        assert!(scenarios(&run, &panel, &told, &none).expect_err("too few").to_string().contains("paths"));
    }
}
