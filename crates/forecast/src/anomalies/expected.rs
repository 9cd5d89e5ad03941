//! What was to be expected at each step of a series, and how surprising what came is.

use super::spread::Spread;

/// A season of more steps is left to the level, which then moves faster.
const PHASES_MAX: usize = 24;
/// Turns: what was surprising in one is left out of level, season and spread in the next.
const TURNS: usize = 5;
/// The share of values that lies furthest out and is not learnt from in the first turn.
const TRIM: f64 = 0.01;
/// From this share of zeros on, a median says nothing of the level.
const ZEROS_FOR_MEANS: f64 = 0.3;

/// A series as it was to be expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Level times season; NaN where nothing near is known.
    pub mean: Vec<f64>,
    /// How far values lie from it, in normal standard deviations of the same chance; NaN where unknown.
    pub score: Vec<f64>,
    /// Whether the value is beyond the rate of false alarms.
    pub beyond: Vec<bool>,
    spread: Spread,
    rate: f64,
}

impl Expected {
    /// The bounds between which all but the rate of false alarms of the values at step `t` lie.
    pub fn bounds(&self, t: usize) -> (f64, f64) {
        self.spread.bounds(self.mean[t], self.rate / 2.0)
    }

    /// Stretches of zeros whose chance is below that of a single value that stands out.
    pub(super) fn pauses(&self, y: &[f64]) -> Vec<std::ops::Range<usize>> {
        let limit = (self.rate / 2.0).ln();
        let mut runs = zero_runs(y);
        runs.retain(|run| run.clone().map(|t| self.ln_zero(t)).sum::<f64>() < limit);
        runs
    }

    /// The logarithm of the chance of a zero at step `t`.
    pub(super) fn ln_zero(&self, t: usize) -> f64 {
        self.spread.ln_zero(self.mean[t])
    }
}

/// Steps to each side that tell the level.
fn half_window(season: usize) -> usize {
    match season {
        m if (2..=7).contains(&m) => 4 * m,
        m if (8..=PHASES_MAX).contains(&m) => 2 * m,
        _ => 8,
    }
}

/// Finds what was to be expected. `edges` are the steps at which the level jumps; no level looks across one.
///
/// The level is a running median in the first turn (a running mean for series that mostly sell nothing) and a running
/// mean of what was not surprising in the next ones; the season is what each of its steps sells over the level.
pub fn expect(y: &[f64], season: usize, edges: &[usize], rate: f64) -> Expected {
    let n = y.len();
    let m = if season <= PHASES_MAX && n >= 3 * season { season.max(1) } else { 1 };
    let half = half_window(season);
    let spread = Spread::of(y);
    let known: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
    let zeros = known.iter().filter(|v| **v == 0.0).count() as f64 / known.len().max(1) as f64;
    let multiplied = known.iter().all(|v| *v >= 0.0);
    let mut used: Vec<bool> = y.iter().map(|v| v.is_finite()).collect();
    let mut index = vec![if multiplied { 1.0 } else { 0.0 }; m];
    let mut out =
        Expected { mean: vec![f64::NAN; n], score: vec![f64::NAN; n], beyond: vec![false; n], spread, rate };
    for turn in 0..TURNS {
        let robust = turn == 0 && zeros < ZEROS_FOR_MEANS;
        // Level and season in turns: the season of a level that knew none is a first guess of it.
        for _ in 0..2 {
            let level = level(y, &used, &index, multiplied, edges, half, robust);
            if m > 1 {
                index = indices(y, &used, &level, m, multiplied);
            }
            for t in 0..n {
                let s = index[t % m];
                out.mean[t] = if multiplied { level[t] * s } else { level[t] + s };
            }
        }
        out.spread.learn(y, &out.mean, &used, if turn == 0 { TRIM } else { 0.0 });
        for t in 0..n {
            out.score[t] = out.spread.score(y[t], out.mean[t], rate);
            out.beyond[t] = out.score[t].abs() >= -crate::normal::quantile(rate / 2.0);
            used[t] = y[t].is_finite() && !out.beyond[t];
        }
        if turn + 1 < TURNS {
            // A pause that is too long to be chance must not pull the level down to itself.
            for run in out.pauses(y) {
                used[run].fill(false);
            }
        }
    }
    out
}

/// Stretches of zeros, two long at least.
fn zero_runs(y: &[f64]) -> Vec<std::ops::Range<usize>> {
    let mut out = Vec::new();
    let mut from = 0;
    for part in y.chunk_by(|a, b| (*a == 0.0) == (*b == 0.0)) {
        if part[0] == 0.0 && part.len() > 1 {
            out.push(from..from + part.len());
        }
        from += part.len();
    }
    out
}

/// The level around each step, of values without their season.
fn level(
    y: &[f64],
    used: &[bool],
    index: &[f64],
    multiplied: bool,
    edges: &[usize],
    half: usize,
    robust: bool,
) -> Vec<f64> {
    let (n, m) = (y.len(), index.len());
    let mut cuts = vec![0];
    cuts.extend(edges.iter().copied().filter(|e| *e > 0 && *e < n));
    cuts.push(n);
    // Of a step with a tiny index the value says little of the level; sums of values over sums of indices weigh it so.
    let (mut sums, mut weights) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    for t in 0..n {
        let s = index[t % m];
        let (v, w) = match (used[t], multiplied) {
            (false, _) => (0.0, 0.0),
            (true, true) => (y[t], s),
            (true, false) => (y[t] - s, 1.0),
        };
        sums[t + 1] = sums[t] + v;
        weights[t + 1] = weights[t] + w;
    }
    let mut out = vec![f64::NAN; n];
    for part in cuts.windows(2) {
        let mut near: Vec<f64> = Vec::with_capacity(2 * half + 1);
        for t in part[0]..part[1] {
            let (from, to) = (t.saturating_sub(half).max(part[0]), (t + half + 1).min(part[1]));
            if robust {
                near.clear();
                near.extend((from..to).filter(|k| used[*k]).filter_map(|k| {
                    let s = index[k % m];
                    match multiplied {
                        true => (s > 0.05).then(|| y[k] / s),
                        false => Some(y[k] - s),
                    }
                }));
                out[t] = median(&mut near);
            } else {
                let w = weights[to] - weights[from];
                out[t] = if w > 1e-9 { (sums[to] - sums[from]) / w } else { f64::NAN };
            }
        }
        // Where a whole window was surprising, the nearest level of the stretch holds.
        let mut last = f64::NAN;
        for t in (part[0]..part[1]).chain((part[0]..part[1]).rev()) {
            if out[t].is_finite() { last = out[t] } else { out[t] = last }
        }
    }
    out
}

/// What each step of the season sells over the level: factors about 1, or additions about 0.
fn indices(y: &[f64], used: &[bool], level: &[f64], m: usize, multiplied: bool) -> Vec<f64> {
    let mut out: Vec<f64> = (0..m)
        .map(|p| {
            let at = || (p..y.len()).step_by(m).filter(|t| used[*t] && level[*t].is_finite());
            if multiplied {
                // One more season at the level: seldom sold steps are not taken for never sold ones.
                let base: f64 = at().map(|t| level[t]).sum::<f64>();
                let usual = base / at().count().max(1) as f64;
                let sold: f64 = at().map(|t| y[t]).sum();
                if base > 0.0 { (sold + usual) / (base + usual) } else { 1.0 }
            } else {
                median(&mut at().map(|t| y[t] - level[t]).collect::<Vec<f64>>())
            }
        })
        .map(|v: f64| if v.is_finite() { v } else { f64::from(u8::from(multiplied)) })
        .collect();
    let mean = out.iter().sum::<f64>() / m as f64;
    if multiplied && mean > 0.0 {
        out.iter_mut().for_each(|v| *v /= mean);
    } else if !multiplied {
        out.iter_mut().for_each(|v| *v -= mean);
    }
    out
}

/// The median (the upper one of an even number); NaN of nothing.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let k = values.len() / 2;
    if values.is_empty() { f64::NAN } else { *values.select_nth_unstable_by(k, f64::total_cmp).1 }
}
