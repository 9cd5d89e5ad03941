//! What the cleaning step did with every line.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An account of the sales lines of one cleaning: every raw line is in exactly one of the counts of
/// [`CleanReport::classes`], so these add up to [`CleanReport::rows`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CleanReport {
    /// Raw lines in the table.
    pub rows: u64,
    /// Lines that count as sales.
    pub used: u64,
    /// Sales that were themselves returned or cancelled (a status beside a positive quantity); they count for nothing.
    pub undone: u64,
    /// Return lines that were taken wholly off the sale they undo: same customer, product and price.
    pub returns_matched: u64,
    /// Return lines of which a part or all was taken off their own day, or the days before, since the sale was not found.
    pub returns_on_day: u64,
    /// Return lines left out, as the settings say.
    pub returns_dropped: u64,
    /// Return lines that count as negative sales, as the settings say.
    pub returns_kept: u64,
    /// Corrections of the stock: less than nothing, for nothing, to nobody.
    pub adjustments: u64,
    /// Lines that repeat another in every column.
    pub duplicates: u64,
    /// Lines that are no products: postage, charges, vouchers.
    pub excluded: u64,
    /// Lines sold for nothing that were left out.
    pub zero_price: u64,
    /// Lines whose quantity is no number.
    pub unreadable: u64,
    /// Lines before or after the days asked for.
    pub outside: u64,
    /// Units of the lines that count, before returns.
    pub units_sold: f64,
    /// Units taken off the sales they undo.
    pub units_matched: f64,
    /// Units taken off their own day.
    pub units_on_day: f64,
    /// Of those, units that their own day had not sold and that were taken off the days before.
    pub units_carried_back: f64,
    /// Of those, units for which no earlier sale is there at all; they count for nothing.
    pub units_without_sale: f64,
    /// Lines sold for nothing that count.
    pub zero_price_kept: u64,
    /// Lines by the product that is none.
    pub excluded_products: BTreeMap<String, u64>,
    /// The first day of the lines that were looked at, as `2024-03-01`.
    pub first_day: Option<String>,
    /// The last day of the lines that were looked at.
    pub last_day: Option<String>,
    /// Days between them on which the whole shop sold nothing.
    pub closed_days: u64,
    /// Series of the panel whose first full period has not ended yet; they are not in it.
    pub series_too_new: u64,
    /// Values of the panel that are unknown because the product was out of stock.
    pub stock_out_values: u64,
    /// Values of the panel that were capped or marked as outliers.
    pub outliers: u64,
}

impl CleanReport {
    /// The counts that add up to the raw lines, with their names, in the order in which people read them.
    pub fn classes(&self) -> [(&'static str, u64); 12] {
        [
            ("used", self.used),
            ("undone", self.undone),
            ("returns_matched", self.returns_matched),
            ("returns_on_day", self.returns_on_day),
            ("returns_dropped", self.returns_dropped),
            ("returns_kept", self.returns_kept),
            ("adjustments", self.adjustments),
            ("duplicates", self.duplicates),
            ("excluded", self.excluded),
            ("zero_price", self.zero_price),
            ("unreadable", self.unreadable),
            ("outside", self.outside),
        ]
    }

    /// Whether every raw line is accounted for.
    pub fn adds_up(&self) -> bool {
        self.classes().iter().map(|(_, n)| n).sum::<u64>() == self.rows
    }
}
