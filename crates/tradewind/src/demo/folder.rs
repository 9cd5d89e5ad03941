//! The simulated shop as a shop's folder.

use super::{DemoSettings, DemoShop, simulate};
use crate::error::{Error, Result};
use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMillisecondType;
use arrow::record_batch::RecordBatch;
use chrono::{Days, NaiveDate};
use serde_json::json;
use std::path::Path;
use tradewind_core::Run;
use tradewind_core::tables::TableSpec;
use tradewind_warehouse::{Begun, ImportSource, Shop, files};

/// The file that tells what really drives the demo shop. Its presence marks the folder as a demo that may be made anew.
pub const TRUTH_FILE: &str = "truth.parquet";

/// How often the events of a shop that is watched are collected.
const COLLECT_SECONDS: u64 = 15;

/// The tables whose rows come day by day; the others are known beforehand.
const DAILY: [&str; 5] = ["sales", "events", "prices", "stock", "market"];

/// Simulates a shop and writes it to `dir`, with the truth beside it. An earlier demo there is replaced; any other
/// folder that is not empty is left alone.
///
/// # Errors
/// Settings out of range; a folder that holds something else; faults of the disk; cancellation.
pub fn make(run: &Run, dir: &Path, settings: &DemoSettings) -> Result<(Shop, DemoShop)> {
    let demo = simulate(run, settings)?;
    let shop = furnish(dir, &demo)?;
    import(run, &shop, &part(run, settings, "whole"), &demo.tables().map(|(name, b)| (name, b.clone())))?;
    Ok((shop, demo))
}

/// The same shop, `days` before it is whole, and the rows of those days, to be taken in by [`Arrivals::take_in`]. It is
/// one to be watched while it is served: events that stream in become rows every 15 seconds.
///
/// # Errors
/// Those of [`make`]; fewer than 14 days would be left.
pub fn make_behind(
    run: &Run,
    dir: &Path,
    settings: &DemoSettings,
    days: usize,
) -> Result<(Shop, DemoShop, Arrivals)> {
    if days + 14 > settings.days {
        return Err(Error::asked(
            format!("a history of {} days cannot wait for its last {days}", settings.days),
            "make the history longer",
        ));
    }
    let demo = simulate(run, settings)?;
    let shop = in_haste(furnish(dir, &demo)?)?;
    let next = settings.end_date - Days::new(days as u64) + Days::new(1);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (name, batch) in demo.tables() {
        if DAILY.contains(&name) {
            let (early, late) = split(batch, next)?;
            before.push((name, early));
            after.push((name, late));
        } else {
            before.push((name, batch.clone()));
        }
    }
    import(run, &shop, &part(run, settings, &format!("before {next}")), &before)?;
    let arrivals = Arrivals { source: part(run, settings, &format!("since {next}")), tables: after };
    Ok((shop, demo, arrivals))
}

/// Rows of a demo shop that have not come yet.
#[derive(Clone, Debug)]
pub struct Arrivals {
    source: ImportSource,
    tables: Vec<(&'static str, RecordBatch)>,
}

impl Arrivals {
    /// Takes them into the shop, in one import, and says how many lines of sales came.
    ///
    /// # Errors
    /// Faults of the disk, another import under way, cancellation.
    pub fn take_in(&self, run: &Run, shop: &Shop) -> Result<usize> {
        import(run, shop, &self.source, &self.tables)?;
        Ok(self.tables.iter().filter(|(name, _)| *name == "sales").map(|(_, b)| b.num_rows()).sum())
    }
}

fn part(run: &Run, settings: &DemoSettings, which: &str) -> ImportSource {
    let DemoSettings { n_products, days, end_date, .. } = settings;
    ImportSource {
        name: "demo".into(),
        fingerprint: format!("demo-{}-{n_products}-{days}-{end_date}-{which}", run.seed),
        preset: "demo".into(),
        mapping: String::new(),
    }
}

/// The folder of the shop, without rows.
fn furnish(dir: &Path, demo: &DemoShop) -> Result<Shop> {
    if dir.join(TRUTH_FILE).is_file() && dir.join("tradewind.toml").is_file() {
        std::fs::remove_dir_all(dir).map_err(|e| Error::file(dir, e))?;
    }
    let shop = Shop::init(dir)?;
    files::write_table(&dir.join(TRUTH_FILE), std::slice::from_ref(demo.truth_batch()))?;
    Ok(shop)
}

/// The shop with settings for somebody who watches: what streams in becomes rows within seconds.
fn in_haste(shop: Shop) -> Result<Shop> {
    let path = shop.root().join("tradewind.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
    let usual = format!("collect_seconds = {}", shop.settings().events.collect_seconds);
    let hasty = text.replace(&usual, &format!("collect_seconds = {COLLECT_SECONDS}"));
    if hasty == text {
        return Err(Error::asked("the settings of the demo name no collect_seconds", "report this as a bug"));
    }
    files::write_bytes(&path, hasty.as_bytes())?;
    let root = shop.root().to_owned();
    drop(shop);
    Ok(Shop::open(&root)?)
}

fn import(
    run: &Run,
    shop: &Shop,
    source: &ImportSource,
    tables: &[(&'static str, RecordBatch)],
) -> Result<()> {
    let Begun::New(mut import) = shop.begin_import(source)? else { return Ok(()) };
    for (name, batch) in tables {
        run.check()?;
        let spec = TableSpec::named(name).ok_or_else(|| {
            tradewind_core::Error::Invalid(format!("the demo has no table `{name}` to fill"))
        })?;
        import.append(spec, batch.clone())?;
    }
    import.commit(json!({ "files": [] }))?;
    Ok(())
}

/// The rows of a table before a day, and those from it on.
fn split(batch: &RecordBatch, next: NaiveDate) -> Result<(RecordBatch, RecordBatch)> {
    let odd =
        |e: String| Error::asked(format!("the demo cannot be cut at {next}: {e}"), "report this as a bug");
    let times = batch.column_by_name("ds").and_then(|c| c.as_primitive_opt::<TimestampMillisecondType>());
    let times = times.ok_or_else(|| odd("a table has no times".to_owned()))?;
    let cut = tradewind_core::freq::stamp(next) * 1000;
    let early: BooleanArray = times.values().iter().map(|t| Some(*t < cut)).collect();
    let late: BooleanArray = times.values().iter().map(|t| Some(*t >= cut)).collect();
    let cut = |mask| filter_record_batch(batch, mask).map_err(|e| odd(e.to_string()));
    Ok((cut(&early)?, cut(&late)?))
}
