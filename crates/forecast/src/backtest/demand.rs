//! The classes of demand after Syntetos and Boylan.

use serde::{Deserialize, Serialize};

/// Mean steps between sales above which demand is slow.
const SLOW_INTERVAL: f64 = 1.32;
/// Squared coefficient of variation of the sizes above which they are uneven.
const UNEVEN_SIZES: f64 = 0.49;

/// How a series sells: how often, and how evenly.
///
/// With the mean interval between sales `p` and the squared coefficient of variation of their sizes `v²`:
///
/// | | `v² < 0.49` | `v² ≥ 0.49` |
/// |---|---|---|
/// | `p < 1.32` | smooth | erratic |
/// | `p ≥ 1.32` | intermittent | lumpy |
///
/// Source: Syntetos, Boylan and Croston (2005), *On the categorization of demand patterns*.
///
/// ```
/// use tradewind_forecast::backtest::DemandClass;
/// assert_eq!(DemandClass::of(&[5.0, 6.0, 5.0, 4.0]), DemandClass::Smooth);
/// assert_eq!(DemandClass::of(&[5.0, 0.0, 0.0, 5.0, 0.0, 6.0]), DemandClass::Intermittent);
/// assert_eq!(DemandClass::of(&[1.0, 0.0, 0.0, 50.0, 0.0, 2.0]), DemandClass::Lumpy);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemandClass {
    /// Sells nearly every step, in even amounts.
    Smooth,
    /// Sells nearly every step, in uneven amounts.
    Erratic,
    /// Sells now and then, in even amounts.
    Intermittent,
    /// Sells now and then, in uneven amounts.
    Lumpy,
}

impl DemandClass {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Smooth, Self::Erratic, Self::Intermittent, Self::Lumpy];

    /// The class of a history, counted from its first sale on. Unknown values do not count; a history without a sale
    /// is intermittent.
    pub fn of(history: &[f64]) -> Self {
        let sold = |v: &&f64| !v.is_nan() && **v != 0.0;
        let from = history.iter().position(|v| sold(&v)).unwrap_or(history.len());
        let known = history[from..].iter().filter(|v| !v.is_nan()).count() as f64;
        let sizes: Vec<f64> = history[from..].iter().filter(sold).copied().collect();
        let n = sizes.len() as f64;
        if sizes.is_empty() {
            return Self::Intermittent;
        }
        let mean = sizes.iter().sum::<f64>() / n;
        let variance = sizes.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let slow = known / n >= SLOW_INTERVAL;
        let uneven = variance >= UNEVEN_SIZES * mean * mean && variance > 0.0;
        match (slow, uneven) {
            (false, false) => Self::Smooth,
            (false, true) => Self::Erratic,
            (true, false) => Self::Intermittent,
            (true, true) => Self::Lumpy,
        }
    }

    /// Its English name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Erratic => "erratic",
            Self::Intermittent => "intermittent",
            Self::Lumpy => "lumpy",
        }
    }

    /// Its Chinese name.
    pub fn name_zh(self) -> &'static str {
        match self {
            Self::Smooth => "平稳型",
            Self::Erratic => "波动型",
            Self::Intermittent => "间歇型",
            Self::Lumpy => "块状型",
        }
    }

    /// Whether steps without a sale are common.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::Intermittent | Self::Lumpy)
    }
}
