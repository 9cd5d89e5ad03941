//! Croston's method for slow sellers: sizes and intervals of sales, smoothed apart.
//!
//! At each sale the size `z` and the steps since the last sale `p` are smoothed with `α`; the forecast is `z / p` a step
//! (Croston 1972, *Operational Research Quarterly* 23). It lies a little too high; [`sba`](crate::sba) takes that off.
//! `optimize` chooses `α` between 0.1 and 0.3 by the squared errors of sizes and intervals, one for each. The standard
//! deviation is the root mean squared error one step ahead, the same for every step. Unknown observations are passed
//! over as if their step had not been. A return (below zero) counts as a sale of its size.

use crate::local::{self, FittedSeries, LocalModel, Steps};
use crate::optimize::minimize_on;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "croston",
    summary: "Croston's method for slow sellers: size and interval of sales, smoothed apart.",
    summary_zh: "Croston 法（间歇需求）：分别平滑需求量与需求间隔。",
    source: "Croston (1972), Operational Research Quarterly 23",
    params: &[ALPHA, OPTIMIZE],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Croston>,
    load: local::load::<Croston>,
};

/// The smoothing of sizes and intervals.
pub(crate) const ALPHA: ParamSpec = ParamSpec {
    name: "alpha",
    kind: ParamKind::Number { min: 0.001, max: 1.0 },
    default: "0.1",
    summary: "how fast sizes and intervals follow",
};

/// Whether it is chosen.
pub(crate) const OPTIMIZE: ParamSpec = ParamSpec {
    name: "optimize",
    kind: ParamKind::Flag,
    default: "false",
    summary: "whether alpha is chosen by the error in sample, between 0.1 and 0.3",
};

/// Croston's method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Croston {
    /// How fast sizes and intervals follow, 0.001 to 1.
    pub alpha: f64,
    /// Whether alpha is chosen between 0.1 and 0.3.
    pub optimize: bool,
}

impl Default for Croston {
    fn default() -> Self {
        Self { alpha: 0.1, optimize: false }
    }
}

/// What [`Croston`] and [`Sba`](crate::sba::Sba) keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedCroston {
    size: f64,
    interval: f64,
    since: f64,
    alpha_size: f64,
    alpha_interval: f64,
    /// What the ratio is multiplied with.
    factor: f64,
    sold: bool,
    sd: f64,
}

impl FittedCroston {
    fn ahead(&self) -> f64 {
        if self.sold { self.factor * self.size / self.interval } else { 0.0 }
    }

    fn add(&mut self, y: f64) {
        self.since += 1.0;
        if y != 0.0 {
            if self.sold {
                self.size += self.alpha_size * (y - self.size);
                self.interval += self.alpha_interval * (self.since - self.interval);
            } else {
                (self.size, self.interval, self.sold) = (y, self.since, true);
            }
            self.since = 0.0;
        }
    }

    /// Fits; `factor` is a function of the smoothing of the intervals.
    pub(crate) fn fit(
        entry: &ForecasterEntry,
        y: &[f64],
        alpha: f64,
        optimize: bool,
        factor: impl Fn(f64) -> f64,
        in_sample: Option<&mut Vec<f64>>,
    ) -> Result<Self> {
        let known = y.iter().filter(|v| v.is_finite()).count();
        if known == 0 {
            return Err(Error::NotEnoughData { what: entry.name.into(), needed: 1, got: 0 });
        }
        let (mut alpha_size, mut alpha_interval) = (alpha, alpha);
        if optimize {
            let (sizes, intervals) = demand(y);
            alpha_size = best_alpha(&sizes);
            alpha_interval = best_alpha(&intervals);
        }
        let mut fitted = Self {
            size: 0.0,
            interval: 1.0,
            since: 0.0,
            alpha_size,
            alpha_interval,
            factor: factor(alpha_interval),
            sold: false,
            sd: 0.0,
        };
        let scale = y.iter().filter(|v| v.is_finite()).map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
        let mut squares = 0.0;
        let mut out = in_sample;
        if let Some(out) = out.as_deref_mut() {
            out.clear();
        }
        let mut before = false;
        for v in y {
            let ahead = fitted.ahead();
            if let Some(out) = out.as_deref_mut() {
                out.push(if before { ahead } else { f64::NAN });
            }
            if v.is_finite() {
                let e = if before { (v - ahead) / scale } else { 0.0 };
                squares += e * e;
                before = true;
                fitted.add(*v);
            }
        }
        fitted.sd = (squares / (known.max(2) - 1) as f64).sqrt() * scale;
        Ok(fitted)
    }
}

/// Sizes of the sales, and the steps from one to the next (the first counts from the beginning). Unknown steps are
/// passed over.
pub(crate) fn demand(y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut sizes, mut intervals, mut since) = (Vec::new(), Vec::new(), 0.0);
    for v in y.iter().filter(|v| v.is_finite()) {
        since += 1.0;
        if *v != 0.0 {
            sizes.push(*v);
            intervals.push(since);
            since = 0.0;
        }
    }
    (sizes, intervals)
}

/// The smoothing between 0.1 and 0.3 with the least squared error one step ahead, begun at the first value.
pub(crate) fn best_alpha(x: &[f64]) -> f64 {
    let scale = x.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
    minimize_on(0.1, 0.3, 5, 1e-6, |alpha| {
        let mut level = x.first().copied().unwrap_or(0.0) / scale;
        x.iter().skip(1).fold(0.0, |sse, v| {
            let e = v / scale - level;
            level += alpha * e;
            sse + e * e
        })
    })
}

impl LocalModel for Croston {
    type Fitted = FittedCroston;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedCroston> {
        FittedCroston::fit(&ENTRY, series.y, self.alpha, self.optimize, |_| 1.0, in_sample)
    }
}

impl FittedSeries for FittedCroston {
    fn predict(&self, horizon: usize) -> Steps {
        let mean = self.ahead();
        Steps::of(horizon, |_| (mean, self.sd))
    }

    fn update(&mut self, y: &[f64]) {
        y.iter().filter(|v| v.is_finite()).for_each(|v| self.add(*v));
    }
}
