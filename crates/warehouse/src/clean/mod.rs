//! The cleaning step: from raw sales lines to demand, and from a panel with faults to one without.
//!
//! Cleaning reads and never writes: the raw tables stay as they came, and the same settings on the same data give the
//! same result. What was done with every line is told by a [`CleanReport`], whose counts add up to the raw rows.
//!
//! * [`CleanSettings`] say what to do (`[clean]` in `tradewind.toml`).
//! * [`CleanReport`] says what was done.
//! * [`outliers`] finds values far from their neighbours by the Hampel filter, and keeps, caps or marks them.
//! * [`fill`] does the same steps for a panel that came from a file rather than from a shop.
//!
//! Lines of a shop are cleaned while a panel is made from them: see [`crate::panel::shop_panel`].

pub(crate) mod fill;
mod hampel;
pub(crate) mod lines;
mod report;
pub(crate) mod returns;
mod settings;

pub use fill::fill;
pub use hampel::{Hampel, OutlierMark, hampel, outliers};
pub use report::CleanReport;
pub use settings::{
    CleanSettings, Duplicates, MissingSales, OutlierMethod, Outliers, Returns, StockOuts, ZeroPrice,
};
