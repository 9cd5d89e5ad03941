//! A lifelike simulated shop whose truth is known.
//!
//! Expected demand of a product on a day is the product of named effects (level, life cycle, week, year, festivals,
//! promotions, prices against competitors, category and market, fashion); what is wanted scatters around it by a
//! negative binomial law; stock that arrives late cuts it to what is sold; and views, searches and carts run ahead of it.
//! The tables are those of [`core::tables`](tradewind_core::tables); the truth stands beside them, so that a forecast,
//! a trend or an estimate of a price effect can be scored.
//!
//! Nothing is written here: all are values, the same for any number of threads.
//!
//! ```
//! use tradewind::demo::{self, DemoSettings};
//! use tradewind_core::Run;
//! let settings = DemoSettings { n_products: 20, days: 90, ..DemoSettings::default() };
//! let shop = demo::simulate(&Run::new(7), &settings).unwrap();
//! assert_eq!(shop.products.num_rows(), 20);
//! assert!(shop.sales.num_rows() > 500);
//! assert_eq!(shop.truth_batch().schema().field(0).name(), "product_id");
//! ```

mod catalogue;
mod demand;
mod floor;
mod folder;
mod plan;
mod tables;
#[cfg(test)]
mod tests;
mod visitors;

pub use folder::{Arrivals, TRUTH_FILE, make, make_behind};
pub use visitors::{Act, Visit, Visitors};

use arrow::record_batch::RecordBatch;
use chrono::{Datelike, Days, NaiveDate};
use plan::{Plan, stream};
use rayon::prelude::*;
use tradewind_core::error::ParamCheck;
use tradewind_core::{Result, Run};

/// How large the demo shop is and when it ends. Its seed is the run's.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoSettings {
    /// Products in the catalogue, 1 to 20,000.
    pub n_products: usize,
    /// Days of history, 14 to 3,650.
    pub days: usize,
    /// The last day of history; from 2005 to 2090.
    pub end_date: NaiveDate,
    /// Days after the end for which the truth is told too, 0 to 366: what forecasts are scored against.
    pub future_days: usize,
}

impl Default for DemoSettings {
    /// 200 products over two years up to the end of October 2026, just before Double 11, with four weeks of truth after.
    fn default() -> Self {
        Self {
            n_products: 200,
            days: 730,
            end_date: NaiveDate::from_ymd_opt(2026, 10, 31).unwrap_or_default(),
            future_days: 28,
        }
    }
}

impl DemoSettings {
    /// All faults of these settings at once.
    ///
    /// # Errors
    /// [`Error::Params`](tradewind_core::Error::Params) with every value out of its range.
    pub fn check(&self) -> Result<()> {
        let mut c = ParamCheck::new();
        c.require((1..=20_000).contains(&self.n_products), "n_products", self.n_products, "1 to 20000");
        c.require((14..=3_650).contains(&self.days), "days", self.days, "14 to 3650");
        c.require((2005..=2090).contains(&self.end_date.year()), "end_date", self.end_date, "2005 to 2090");
        c.require(self.future_days <= 366, "future_days", self.future_days, "0 to 366");
        c.finish()
    }

    /// The first day of history.
    pub fn first_date(&self) -> NaiveDate {
        let back = Days::new(self.days.saturating_sub(1) as u64);
        self.end_date.checked_sub_days(back).unwrap_or(self.end_date)
    }
}

/// The simulated shop: canonical tables, and the truth behind them.
///
/// Sums agree by construction: over the lines that are not `returned`, duplicates left out, the quantity of a product
/// and day is its `sold` in the truth, and `sold` + `lost` is `demand`.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoShop {
    /// Order lines: sold, returned, cancelled, and a few that came twice.
    pub sales: RecordBatch,
    /// The catalogue.
    pub products: RecordBatch,
    /// Views of each product and searches for each word as totals of a day, carts one by one.
    pub events: RecordBatch,
    /// Changes of the own price and of two competitors'.
    pub prices: RecordBatch,
    /// Units on hand at the end of each day.
    pub stock: RecordBatch,
    /// Promotions, past and planned.
    pub promotions: RecordBatch,
    /// Consumer prices, consumer confidence and the trade's volume, as they became known.
    pub market: RecordBatch,
    /// The shop's own events.
    pub calendar: RecordBatch,
    truth: RecordBatch,
    /// Positions of the rows of `sales` that repeat the row before them.
    pub duplicate_rows: Vec<usize>,
}

impl DemoShop {
    /// The canonical tables by name, in the order of the canonical list.
    pub fn tables(&self) -> [(&'static str, &RecordBatch); 8] {
        [
            ("sales", &self.sales),
            ("products", &self.products),
            ("events", &self.events),
            ("prices", &self.prices),
            ("stock", &self.stock),
            ("promotions", &self.promotions),
            ("market", &self.market),
            ("calendar", &self.calendar),
        ]
    }

    /// The truth, a row for each product and day it was on sale, history and future: `product_id`, `ds`, `expected`
    /// (mean demand in units; the product of the nine effects after it), `level`, `life`, `weekly`, `yearly`, `festival`,
    /// `promotion`, `price`, `common`, `trend`, `stage`, `demand` (units wanted), `sold`, `lost` (both empty in the
    /// future) and `future` (0 or 1).
    pub fn truth_batch(&self) -> &RecordBatch {
        &self.truth
    }
}

/// Simulates a shop.
///
/// # Errors
/// Settings out of range, or the run was cancelled.
pub fn simulate(run: &Run, settings: &DemoSettings) -> Result<DemoShop> {
    settings.check()?;
    let products = catalogue::products(settings, &mut run.rng(stream::CATALOGUE));
    let plan = Plan::new(run, settings, &products);
    run.progress().begin("demo", products.len() as u64);
    let n_customers = u32::try_from(settings.n_products * 60).unwrap_or(u32::MAX).max(500);
    let simulated: Vec<floor::ProductRun> = run.install(|| {
        products
            .par_iter()
            .enumerate()
            .map(|(p, product)| {
                run.check()?;
                let (days, future_days) = (settings.days, settings.future_days);
                let one = floor::simulate(run, &plan, p, product, days, future_days, n_customers);
                run.progress().advance(1);
                Ok(one)
            })
            .collect::<Result<_>>()
    })?;
    run.progress().end();
    tables::shop(run, settings, &plan, &products, &simulated)
}
