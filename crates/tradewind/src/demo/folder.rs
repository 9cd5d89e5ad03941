//! The simulated shop as a shop's folder.

use super::{DemoSettings, DemoShop, simulate};
use crate::error::{Error, Result};
use serde_json::json;
use std::path::Path;
use tradewind_core::Run;
use tradewind_core::tables::TableSpec;
use tradewind_warehouse::{Begun, ImportSource, Shop, files};

/// The file that tells what really drives the demo shop. Its presence marks the folder as a demo that may be made anew.
pub const TRUTH_FILE: &str = "truth.parquet";

/// Simulates a shop and writes it to `dir`, with the truth beside it. An earlier demo there is replaced; any other
/// folder that is not empty is left alone.
///
/// # Errors
/// Settings out of range; a folder that holds something else; faults of the disk; cancellation.
pub fn make(run: &Run, dir: &Path, settings: &DemoSettings) -> Result<(Shop, DemoShop)> {
    let demo = simulate(run, settings)?;
    if dir.join(TRUTH_FILE).is_file() && dir.join("tradewind.toml").is_file() {
        std::fs::remove_dir_all(dir).map_err(|e| Error::file(dir, e))?;
    }
    let shop = Shop::init(dir)?;
    let source = ImportSource {
        name: "demo".into(),
        fingerprint: format!(
            "demo-{}-{}-{}-{}",
            run.seed, settings.n_products, settings.days, settings.end_date
        ),
        preset: "demo".into(),
        mapping: String::new(),
    };
    if let Begun::New(mut import) = shop.begin_import(&source)? {
        for (name, batch) in demo.tables() {
            run.check()?;
            let spec = TableSpec::named(name).ok_or_else(|| {
                tradewind_core::Error::Invalid(format!("the demo has no table `{name}` to fill"))
            })?;
            import.append(spec, batch.clone())?;
        }
        import.commit(json!({ "files": [] }))?;
    }
    files::write_table(&dir.join(TRUTH_FILE), std::slice::from_ref(demo.truth_batch()))?;
    Ok((shop, demo))
}
