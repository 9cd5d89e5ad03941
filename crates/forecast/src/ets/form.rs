//! The thirty forms of exponential smoothing, of which eighteen are stable enough to be fitted.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How the error joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorForm {
    /// Added; its size does not depend on the level.
    Additive,
    /// A share of what is expected; grows with the level.
    Multiplicative,
}

/// The form of the trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendForm {
    /// None.
    None,
    /// A straight line.
    Additive,
    /// A line that flattens.
    Damped,
    /// Growth by a factor.
    Multiplicative,
    /// Growth by a factor that fades.
    MultiplicativeDamped,
}

impl TrendForm {
    /// Whether there is a trend at all.
    pub fn is_some(self) -> bool {
        self != Self::None
    }

    /// Whether the trend fades.
    pub fn is_damped(self) -> bool {
        matches!(self, Self::Damped | Self::MultiplicativeDamped)
    }

    /// Whether the trend is a factor.
    pub fn is_multiplicative(self) -> bool {
        matches!(self, Self::Multiplicative | Self::MultiplicativeDamped)
    }
}

/// The form of the season.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeasonForm {
    /// None.
    None,
    /// Added.
    Additive,
    /// Multiplied.
    Multiplicative,
}

/// One form: error, trend and season.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// How the error joins.
    pub error: ErrorForm,
    /// The trend.
    pub trend: TrendForm,
    /// The season.
    pub season: SeasonForm,
}

impl Form {
    /// Whether the form is among those that are tried: an error that is added to a factor makes variances that are
    /// infinite or forecasts that explode (Hyndman et al. 2008, section 15.2).
    pub fn is_stable(&self) -> bool {
        let factor = self.trend.is_multiplicative() || self.season == SeasonForm::Multiplicative;
        match self.error {
            ErrorForm::Additive => !factor,
            ErrorForm::Multiplicative => {
                !(self.trend.is_multiplicative() && self.season == SeasonForm::Additive)
            }
        }
    }

    /// Whether it needs observations above zero.
    pub fn needs_positive(&self) -> bool {
        self.error == ErrorForm::Multiplicative
            || self.trend.is_multiplicative()
            || self.season == SeasonForm::Multiplicative
    }

    /// How many numbers are learnt with a season of `m` steps and `given` weights known: weights, states before the
    /// first observation, and the variance.
    pub fn n_params(&self, m: usize, given: usize) -> usize {
        let trend = match self.trend {
            TrendForm::None => 0,
            t => 2 + usize::from(t.is_damped()),
        };
        let season = if self.season == SeasonForm::None { 0 } else { m };
        (3 + trend + season).saturating_sub(given)
    }
}

impl fmt::Display for Form {
    /// As in the literature: `ETS(M,Ad,M)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = if self.error == ErrorForm::Additive { "A" } else { "M" };
        let trend = match self.trend {
            TrendForm::None => "N",
            TrendForm::Additive => "A",
            TrendForm::Damped => "Ad",
            TrendForm::Multiplicative => "M",
            TrendForm::MultiplicativeDamped => "Md",
        };
        let season = match self.season {
            SeasonForm::None => "N",
            SeasonForm::Additive => "A",
            SeasonForm::Multiplicative => "M",
        };
        write!(f, "ETS({error},{trend},{season})")
    }
}
