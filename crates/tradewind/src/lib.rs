//! The facade of Tradewind 信风: one import for the whole platform, and the road of the data through it.
//!
//! ```text
//! files ─ import ─→ Shop ─ Matter::of_shop ─→ Panel ─ predict ─→ trends::Answer ─ answers::trend_table ─→ file
//!                     └──── forecasts::panel_of_shop ─→ Panel ─ forecast::forecast ─→ Forecast
//! ```
//!
//! The trends of a few series, without a shop:
//!
//! ```
//! use tradewind::core::calendar::Calendar;
//! use tradewind::trends::{By, Matter};
//! use tradewind::{Freq, Panel, Run, TrendSettings};
//!
//! // Sixty products over a year, half of which grow towards the end.
//! let series = (0..60)
//!     .map(|i| {
//!         let y = (0..400).map(|t| f64::from((t * 7 + i * 13) % 5) + if i % 2 == 0 { f64::from(t) / 100.0 } else { 2.0 });
//!         (format!("product {i:02}"), 0, y.collect())
//!     })
//!     .collect();
//! let panel = Panel::from_series(Freq::DAILY, series).unwrap();
//! let matter = Matter::of_panel(panel, By::Product).unwrap();
//! let answer = matter.predict(&Run::new(1), &TrendSettings::default(), None, &Calendar::new(&[])).unwrap();
//! assert_eq!(answer.report.trends.len(), 60);
//! ```
//!
//! It refuses to know terminals, pages and exit codes: that is the app's.

pub mod answers;
pub mod demo;
mod error;
pub mod event_log;
mod events;
pub mod experiments;
pub mod files;
pub mod forecasts;
pub mod hierarchies;
pub mod import;
pub mod large;
pub mod learning;
mod model_folder;
pub mod monitoring;
pub mod operations;
pub mod overrides;
pub mod overview;
pub mod pipelines;
pub mod recommending;
pub mod serving;
pub mod trends;
pub mod watching;
pub mod what_if;
mod word_panel;
pub mod wording;

pub use error::{Error, Result};

pub use tradewind_core as core;
pub use tradewind_forecast as forecast;
pub use tradewind_ingest as ingest;
pub use tradewind_learn as learn;
pub use tradewind_ops as ops;
pub use tradewind_recommend as recommend;
pub use tradewind_text as text;
pub use tradewind_warehouse as warehouse;

pub use tradewind_core::{
    Basis, ChangePoint, Device, Direction, Driver, DriverKind, ErrorKind, Fault, Forecast, Freq, Panel,
    Progress, Run, Stage, Stamp, Trend,
};
pub use tradewind_forecast::trend::TrendSettings;
pub use tradewind_warehouse::Shop;
