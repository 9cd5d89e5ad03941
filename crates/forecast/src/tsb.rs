//! The method of Teunter, Syntetos and Babai for slow sellers that may stop selling.
//!
//! The probability of a sale is smoothed at every step, the size at every sale; the forecast is their product. Unlike
//! Croston's it sinks while nothing is sold, so dying products are seen (Teunter, Syntetos & Babai 2011, *European
//! Journal of Operational Research* 214). The standard deviation is the root mean squared error one step ahead, the same
//! for every step. Unknown observations are passed over. A return (below zero) counts as a sale of its size.

use crate::croston::{best_alpha, demand};
use crate::local::{self, FittedSeries, LocalModel, Steps};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "tsb",
    summary: "Probability and size of sales, smoothed apart; sinks when a product stops selling.",
    summary_zh: "TSB 法（间歇需求）：分别平滑需求概率与需求量，滞销时预测会下降。",
    source: "Teunter, Syntetos & Babai (2011), European Journal of Operational Research 214",
    params: &[
        ParamSpec {
            name: "alpha_size",
            kind: ParamKind::Number { min: 0.001, max: 1.0 },
            default: "0.1",
            summary: "how fast the size of a sale follows",
        },
        ParamSpec {
            name: "alpha_probability",
            kind: ParamKind::Number { min: 0.001, max: 1.0 },
            default: "0.1",
            summary: "how fast the probability of a sale follows",
        },
        crate::croston::OPTIMIZE,
    ],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Tsb>,
    load: local::load::<Tsb>,
};

/// The method of Teunter, Syntetos and Babai.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tsb {
    /// How fast the size of a sale follows, 0.001 to 1.
    pub alpha_size: f64,
    /// How fast the probability of a sale follows, 0.001 to 1.
    pub alpha_probability: f64,
    /// Whether both are chosen between 0.1 and 0.3.
    pub optimize: bool,
}

impl Default for Tsb {
    fn default() -> Self {
        Self { alpha_size: 0.1, alpha_probability: 0.1, optimize: false }
    }
}

/// What [`Tsb`] keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedTsb {
    size: f64,
    probability: f64,
    alpha_size: f64,
    alpha_probability: f64,
    begun: bool,
    sold: bool,
    sd: f64,
}

impl FittedTsb {
    fn ahead(&self) -> f64 {
        self.probability * self.size
    }

    fn add(&mut self, y: f64) {
        let sale = f64::from(u8::from(y != 0.0));
        self.probability = if self.begun {
            self.probability + self.alpha_probability * (sale - self.probability)
        } else {
            sale
        };
        self.begun = true;
        if y != 0.0 {
            self.size = if self.sold { self.size + self.alpha_size * (y - self.size) } else { y };
            self.sold = true;
        }
    }
}

impl LocalModel for Tsb {
    type Fitted = FittedTsb;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedTsb> {
        let known: Vec<f64> = series.y.iter().copied().filter(|v| v.is_finite()).collect();
        if known.is_empty() {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 1, got: 0 });
        }
        let (mut alpha_size, mut alpha_probability) = (self.alpha_size, self.alpha_probability);
        if self.optimize {
            alpha_size = best_alpha(&demand(&known).0);
            alpha_probability =
                best_alpha(&known.iter().map(|v| f64::from(u8::from(*v != 0.0))).collect::<Vec<_>>());
        }
        let mut fitted = FittedTsb {
            size: 0.0,
            probability: 0.0,
            alpha_size,
            alpha_probability,
            begun: false,
            sold: false,
            sd: 0.0,
        };
        let scale = known.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
        let mut squares = 0.0;
        let mut inside = Vec::new();
        for v in series.y {
            let ahead = fitted.ahead();
            if in_sample.is_some() {
                inside.push(if fitted.begun { ahead } else { f64::NAN });
            }
            if v.is_finite() {
                let e = if fitted.begun { (v - ahead) / scale } else { 0.0 };
                squares += e * e;
                fitted.add(*v);
            }
        }
        if let Some(out) = in_sample {
            *out = inside;
        }
        fitted.sd = (squares / (known.len().max(2) - 1) as f64).sqrt() * scale;
        Ok(fitted)
    }
}

impl FittedSeries for FittedTsb {
    fn predict(&self, horizon: usize) -> Steps {
        let mean = self.ahead();
        Steps::of(horizon, |_| (mean, self.sd))
    }

    fn update(&mut self, y: &[f64]) {
        y.iter().filter(|v| v.is_finite()).for_each(|v| self.add(*v));
    }
}
