//! Where data live and whether they are clean: shop folders, canonical tables, cleaning, quality.
//!
//! A [`Shop`] is one folder. An [`Import`] brings rows into its tables, whole or not at all; a [`Snapshot`] reads them
//! by SQL. Raw rows are never changed: cleaning is a step on the way out, with its own settings.
//!
//! Reads and writes are blocking; nothing here needs an asynchronous caller.

pub mod clean;
pub mod error;
pub mod features;
pub mod figures;
pub mod files;
mod overrides;
pub mod panel;
pub mod quality;
pub mod settings;
mod shop;
mod state;
mod store;

pub use error::{Error, Result};
pub use overrides::{Figure, NewOverride, Override, Withdrawal};
pub use settings::Settings;
pub use shop::{Shop, shop_format};
pub use state::{ImportRecord, Part, TableCount};
pub use store::{Begun, IMPORT_COLUMN, Import, ImportSource, Snapshot};
