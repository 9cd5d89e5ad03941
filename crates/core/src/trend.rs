//! What trend prediction answers.

use crate::freq::Stamp;
use serde::{Deserialize, Serialize};

/// Where a product goes: its units of the next window against those of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Fewer, beyond the threshold.
    Falling,
    /// About the same.
    Steady,
    /// More, beyond the threshold.
    Rising,
}

impl Direction {
    /// All three, in the order of [`Trend::probabilities`].
    pub const ALL: [Self; 3] = [Self::Falling, Self::Steady, Self::Rising];

    /// The direction of `units_next` against `units_last`: `g = ln((next + 1) / (last + 1))` beyond ± `ln(1 + threshold)`.
    pub fn of(units_last: f64, units_next: f64, threshold: f64) -> Self {
        let g = ((units_next + 1.0) / (units_last + 1.0)).ln();
        let t = (1.0 + threshold).ln();
        if g > t {
            Self::Rising
        } else if g < -t {
            Self::Falling
        } else {
            Self::Steady
        }
    }
}

/// The stage of a product's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// On sale for a short time only.
    New,
    /// Its level grows.
    Rising,
    /// At its highest level, no longer growing.
    Peak,
    /// Neither grows nor shrinks.
    Mature,
    /// Its level shrinks.
    Falling,
    /// Not sold for long.
    Dormant,
    /// Comes and goes with the year.
    Seasonal,
}

/// A date at which the level of a series changed for good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The first stamp of the new level.
    pub ds: Stamp,
    /// Mean units a step before, back to the change point before it.
    pub before: f64,
    /// Mean units a step after.
    pub after: f64,
}

/// What moves a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverKind {
    /// The time of the year, and what the same weeks of past years did.
    Season,
    /// A holiday or shopping festival inside the coming window, or one just gone.
    Holiday,
    /// A change of price.
    Price,
    /// A promotion that begins or ends.
    Promotion,
    /// Its own recent movement.
    Momentum,
    /// Where its recent sales stand against its usual level, to which they tend to return.
    Level,
    /// What its category does.
    Category,
    /// What the whole shop does.
    Shop,
    /// How long it has been on sale, and how long since the last sale.
    LifeCycle,
    /// How regular its sales are.
    Regularity,
    /// Stock-outs.
    Stock,
    /// The interest shown before: views, carts, searches.
    Interest,
}

/// One cause of a trend with its part in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Driver {
    /// What sort of cause.
    pub kind: DriverKind,
    /// Its share of all causes' weight, 0 to 1. The shares of one trend sum to 1.
    pub share: f64,
    /// Whether it pushes up (`Rising`) or down (`Falling`).
    pub toward: Direction,
    /// What exactly, as the name of a festival; a key or a proper name, never a sentence.
    pub detail: Option<String>,
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The product's own history.
    History,
    /// Its attributes and category, since its own history is too short.
    Attributes,
}

/// The trend of one product, category, shop or word, `horizon` steps from `cutoff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// The product, category, shop or word.
    pub unique_id: String,
    /// The last stamp known.
    pub cutoff: Stamp,
    /// Steps ahead (and back) that are compared.
    pub horizon: usize,
    /// Probabilities of falling, steady, rising; they sum to 1.
    pub probabilities: [f64; 3],
    /// Expected growth of the next window over the last: 0.25 is a quarter more.
    pub growth: f64,
    /// Lower end of the growth interval.
    pub growth_lower: f64,
    /// Upper end of the growth interval.
    pub growth_upper: f64,
    /// Units of the last window.
    pub units_last: f64,
    /// Units expected in the next window.
    pub units_expected: f64,
    /// The stage of life.
    pub stage: Stage,
    /// When the level changed, oldest first.
    pub change_points: Vec<ChangePoint>,
    /// Why, largest share first.
    pub drivers: Vec<Driver>,
    /// What the answer rests on.
    pub basis: Basis,
}

impl Trend {
    /// The likeliest direction.
    pub fn direction(&self) -> Direction {
        let p = &self.probabilities;
        // A tie goes to steady, the claim that promises least.
        if p[1] >= p[0] && p[1] >= p[2] {
            Direction::Steady
        } else if p[2] >= p[0] {
            Direction::Rising
        } else {
            Direction::Falling
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_open() {
        assert_eq!(Direction::of(9.0, 11.0, 0.2), Direction::Steady);
        assert_eq!(Direction::of(9.0, 11.1, 0.2), Direction::Rising);
        assert_eq!(Direction::of(11.1, 9.0, 0.2), Direction::Falling);
        assert_eq!(Direction::of(0.0, 0.0, 0.2), Direction::Steady);
    }
}
