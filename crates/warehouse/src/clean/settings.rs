//! What the cleaning step does: the `[clean]` part of `tradewind.toml`.

use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Result};

/// The settings of the cleaning step. Their defaults stand in the template of `tradewind.toml` and nowhere else.
///
/// | key | values | meaning |
/// | --- | --- | --- |
/// | `duplicates` | `drop`, `keep` | what becomes of a line that repeats another in every column |
/// | `returns` | `net`, `drop`, `keep` | what becomes of returned and cancelled lines |
/// | `zero_price` | `keep`, `drop` | what becomes of lines sold for nothing |
/// | `exclude_products` | list of patterns | lines that are no products: postage, charges, vouchers |
/// | `missing_sales` | `zero`, `unknown` | what a day without a line means |
/// | `stock_outs` | `unknown`, `keep` | what a day without stock means |
/// | `outliers` | `keep`, `cap`, `mark` | what becomes of outliers |
/// | `outlier_method` | `hampel`, `seasonal` | how outliers are found |
/// | `outlier_window` | 1 to 365 | steps on each side that a value is compared with |
/// | `outlier_threshold` | 1 to 100 | robust standard deviations beyond which a value is an outlier |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanSettings {
    /// What becomes of a line that repeats another in every column.
    pub duplicates: Duplicates,
    /// What becomes of returned and cancelled lines.
    pub returns: Returns,
    /// What becomes of lines sold for nothing.
    pub zero_price: ZeroPrice,
    /// Products that are none. `*` stands for any text; upper and lower case are alike.
    pub exclude_products: Vec<String>,
    /// What a day without a line means.
    pub missing_sales: MissingSales,
    /// What a day without stock means.
    pub stock_outs: StockOuts,
    /// What becomes of outliers.
    pub outliers: Outliers,
    /// How outliers are found.
    pub outlier_method: OutlierMethod,
    /// Steps on each side that a value is compared with, 1 to 365.
    pub outlier_window: usize,
    /// Robust standard deviations (1.4826 × the median absolute deviation) beyond which a value is an outlier, 1 to 100.
    pub outlier_threshold: f64,
}

/// What becomes of a line that repeats another in every column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// It counts once.
    Drop,
    /// It counts as often as it stands there.
    Keep,
}

/// What becomes of returned and cancelled lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// They are taken off the sale that they undo; where that is not found, off the day they name, and what this day
    /// did not sell off the days before.
    Net,
    /// They are left out; the sales they undo stay.
    Drop,
    /// They count as negative sales of the day they name.
    Keep,
}

/// What becomes of lines sold for nothing. A line without any price is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroPrice {
    /// They count: gifts are demand too.
    Keep,
    /// They are left out: they are corrections of the stock.
    Drop,
}

/// What a day without a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingSales {
    /// Nothing was sold.
    Zero,
    /// It is not known what was sold.
    Unknown,
}

/// What a day without stock means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockOuts {
    /// It is not known what would have been sold.
    Unknown,
    /// Nothing was sold.
    Keep,
}

/// What becomes of outliers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outliers {
    /// They are found and told, and stay.
    Keep,
    /// They are moved to the nearest value that is none.
    Cap,
    /// They stay, and the column `outlier` is 1 where they are.
    Mark,
}

/// How outliers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutlierMethod {
    /// The Hampel filter: rolling median and median absolute deviation.
    Hampel,
    /// The same filter after the season (weekdays of daily series, months of monthly ones) was taken off.
    Seasonal,
}

impl Default for CleanSettings {
    /// What the template of `tradewind.toml` holds.
    fn default() -> Self {
        crate::settings::Settings::defaults().clean
    }
}

impl CleanSettings {
    /// Whether an id names a product, and no postage, charge or correction (`exclude_products`).
    pub fn is_product(&self, id: &str) -> bool {
        !self.exclude_products.iter().any(|p| super::lines::matches(p, id))
    }

    /// Names every value that is out of its range.
    ///
    /// # Errors
    /// [`tradewind_core::Error::Params`] with all faults.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(
            (1..=365).contains(&self.outlier_window),
            "outlier_window",
            self.outlier_window,
            "1 to 365",
        );
        check.require(
            (1.0..=100.0).contains(&self.outlier_threshold),
            "outlier_threshold",
            self.outlier_threshold,
            "1 to 100",
        );
        check.require(
            self.exclude_products.iter().all(|p| p.chars().any(|c| c != '*')),
            "exclude_products",
            format!("{:?}", self.exclude_products),
            "patterns with at least one character beside `*`",
        );
        check.finish()
    }
}
