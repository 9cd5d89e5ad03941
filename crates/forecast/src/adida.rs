//! ADIDA: slow sales added up over a mean interval, forecast, and spread out again.
//!
//! Steps are gathered into buckets as long as the mean interval between sales, counted back from the end; the buckets
//! are forecast by simple exponential smoothing (`α` between 0.1 and 0.3 by squared error, begun at the first bucket) and
//! divided by their length (Nikolopoulos, Syntetos, Boylan, Petropoulos & Assimakopoulos 2011, *Journal of the
//! Operational Research Society* 62). The standard deviation of one step is that of the observations about the forecast
//! rate. Unknown observations are passed over; newer ones fill buckets of their own.

use crate::croston::{best_alpha, demand};
use crate::local::{self, FittedSeries, LocalModel, Steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "adida",
    summary: "Slow sales added up over their mean interval, smoothed, and spread out again.",
    summary_zh: "ADIDA 法（间歇需求）：按平均间隔聚合、平滑后再分摊。",
    source: "Nikolopoulos et al. (2011), Journal of the Operational Research Society 62",
    params: &[],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Adida>,
    load: local::load::<Adida>,
};

/// ADIDA; it has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Adida {}

/// One length of buckets, smoothed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Buckets {
    length: usize,
    alpha: f64,
    level: f64,
    /// Sum and count of the bucket that newer observations are filling.
    sum: f64,
    count: usize,
}

impl Buckets {
    fn of(y: &[f64], length: usize) -> Self {
        let length = length.clamp(1, y.len().max(1));
        let sums: Vec<f64> = y[y.len() % length..].chunks_exact(length).map(|c| c.iter().sum()).collect();
        let alpha = best_alpha(&sums);
        let level = sums.iter().copied().reduce(|level, v| level + alpha * (v - level)).unwrap_or(0.0);
        Self { length, alpha, level, sum: 0.0, count: 0 }
    }

    fn rate(&self) -> f64 {
        self.level / self.length as f64
    }

    fn add(&mut self, y: f64) {
        self.sum += y;
        self.count += 1;
        if self.count == self.length {
            self.level += self.alpha * (self.sum - self.level);
            (self.sum, self.count) = (0.0, 0);
        }
    }
}

/// What [`Adida`] and [`Imapa`](crate::imapa::Imapa) keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedBuckets {
    buckets: Vec<Buckets>,
    sd: f64,
}

impl FittedBuckets {
    /// Buckets of the mean interval's length, or of every length up to it.
    pub(crate) fn fit(
        entry: &ForecasterEntry,
        y: &[f64],
        every_length: bool,
        in_sample: Option<&mut Vec<f64>>,
    ) -> Result<Self> {
        let known: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
        if known.is_empty() {
            return Err(Error::NotEnoughData { what: entry.name.into(), needed: 1, got: 0 });
        }
        let (_, intervals) = demand(&known);
        let mean = intervals.iter().sum::<f64>() / intervals.len().max(1) as f64;
        let longest = (mean.round_ties_even() as usize).max(1);
        let lengths = if every_length { 1..=longest } else { longest..=longest };
        let mut fitted = Self { buckets: lengths.map(|l| Buckets::of(&known, l)).collect(), sd: 0.0 };
        let rate = fitted.rate();
        let scale = known.iter().map(|v| v.abs()).fold(rate.abs(), f64::max).max(1e-300);
        let squares: f64 = known.iter().map(|v| ((v - rate) / scale) * ((v - rate) / scale)).sum();
        fitted.sd = (squares / (known.len().max(2) - 1) as f64).sqrt() * scale;
        if let Some(out) = in_sample {
            // One step ahead inside the history, each bucket's level as it was before the step.
            out.clear();
            let mut going = fitted.clone();
            for b in &mut going.buckets {
                let first = &known[known.len() % b.length..][..b.length];
                b.level = first.iter().sum();
                // The steps before the first whole bucket, and that bucket itself, have no forecast of their own.
                b.count = b.length - known.len() % b.length;
                if b.count == b.length {
                    b.count = 0;
                }
                b.sum = b.level * b.count as f64 / b.length as f64;
            }
            let lead = going.buckets.iter().map(|b| b.length).max().unwrap_or(1);
            let mut seen = 0;
            for v in y {
                out.push(if seen >= lead { going.rate() } else { f64::NAN });
                if v.is_finite() {
                    going.buckets.iter_mut().for_each(|b| b.add(*v));
                    seen += 1;
                }
            }
        }
        Ok(fitted)
    }

    fn rate(&self) -> f64 {
        self.buckets.iter().map(Buckets::rate).sum::<f64>() / self.buckets.len().max(1) as f64
    }
}

impl LocalModel for Adida {
    type Fitted = FittedBuckets;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedBuckets> {
        FittedBuckets::fit(&ENTRY, series.y, false, in_sample)
    }
}

impl FittedSeries for FittedBuckets {
    fn predict(&self, horizon: usize) -> Steps {
        let rate = self.rate();
        Steps::of(horizon, |_| (rate, self.sd))
    }

    fn update(&mut self, y: &[f64]) {
        for v in y.iter().filter(|v| v.is_finite()) {
            self.buckets.iter_mut().for_each(|b| b.add(*v));
        }
    }
}
