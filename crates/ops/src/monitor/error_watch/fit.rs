//! Whether a model learnt too much, too little, or what is no longer so: its errors in training, in validation and live.

use serde::{Deserialize, Serialize};

/// From which ratios on something is said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FitSettings {
    /// Validation over training error from which a model is overfitted, 1.5.
    pub overfitted: f64,
    /// Training error over that of the naive method from which it is underfitted, 0.95.
    pub underfitted: f64,
    /// Live over validation error from which it is stale, 1.25.
    pub stale: f64,
    /// Live forecasts that are needed, 100.
    pub live_min: u64,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self { overfitted: 1.5, underfitted: 0.95, stale: 1.25, live_min: 100 }
    }
}

/// What the errors say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum FitVerdict {
    /// As it should be.
    Sound,
    /// It knows the training data by heart: the error outside them is so many times larger, both in validation and, where
    /// known, live.
    Overfitted {
        /// Validation over training error.
        ratio: f64,
    },
    /// It is no better than the naive method even on the training data.
    Underfitted {
        /// Training error over the naive one.
        ratio: f64,
    },
    /// It was good and is no longer: the data changed, or validation saw what it should not have.
    Stale {
        /// Live over validation error.
        ratio: f64,
    },
    /// Too few live forecasts to say more than training and validation do.
    TooFew,
}

/// Judges errors of one measure (as WAPE). `naive` is the error of the naive method on the training data; `live` is the
/// error with the number of forecasts behind it. What is NaN or not above zero says nothing. Staleness goes before
/// overfitting: it is what can be mended now.
///
/// ```
/// use tradewind_ops::monitor::error_watch::{FitSettings, FitVerdict, fit_verdict};
/// let settings = FitSettings::default();
/// assert_eq!(fit_verdict(0.18, 0.20, 0.30, (0.21, 5_000), &settings), FitVerdict::Sound);
/// assert!(matches!(fit_verdict(0.05, 0.20, 0.30, (0.21, 5_000), &settings), FitVerdict::Overfitted { .. }));
/// assert!(matches!(fit_verdict(0.30, 0.31, 0.30, (0.31, 5_000), &settings), FitVerdict::Underfitted { .. }));
/// assert!(matches!(fit_verdict(0.18, 0.20, 0.30, (0.40, 5_000), &settings), FitVerdict::Stale { .. }));
/// ```
pub fn fit_verdict(
    training: f64,
    validation: f64,
    naive: f64,
    live: (f64, u64),
    settings: &FitSettings,
) -> FitVerdict {
    let over = |a: f64, b: f64| if b > 0.0 { a / b } else { f64::NAN };
    let enough = live.1 >= settings.live_min;
    let (stale, gap, naive) = (over(live.0, validation), over(validation, training), over(training, naive));
    if enough && stale >= settings.stale {
        FitVerdict::Stale { ratio: stale }
    } else if naive >= settings.underfitted {
        FitVerdict::Underfitted { ratio: naive }
    } else if gap >= settings.overfitted {
        FitVerdict::Overfitted { ratio: gap }
    } else if enough {
        FitVerdict::Sound
    } else {
        FitVerdict::TooFew
    }
}
