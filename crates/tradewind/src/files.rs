//! Files without a shop: series in `unique_id, ds, y`, and own events.

use crate::error::Result;
use crate::events::own_events;
use arrow::record_batch::RecordBatch;
use std::path::Path;
use tradewind_core::calendar::{Calendar, OwnEvent, Region};
use tradewind_core::{Freq, Panel, Run};
use tradewind_ingest::{ImportOptions, PanelOptions, RejectLimit, preset, read};
use tradewind_warehouse::Shop;

/// Reads series from a file of any format the import knows: `unique_id, ds, y` and further columns. The frequency is
/// found from the dates when it is not given.
///
/// # Errors
/// A file that cannot be read, a missing column, a value that is none, with its line.
pub fn read_panel(run: &Run, path: &Path, freq: Option<Freq>) -> Result<Panel> {
    Ok(tradewind_ingest::read_panel(run, path, freq, &PanelOptions::default())?)
}

/// Own events from a file with the columns of the table `calendar`: `ds`, `name`, and optionally `ends`, `kind`,
/// `region`.
///
/// # Errors
/// A file that cannot be read or a row that is no event: a calendar with a hole would mislead silently.
pub fn read_events(run: &Run, path: &Path) -> Result<Vec<OwnEvent>> {
    let mapping = preset("canonical")?.mapping.clone().only("calendar")?;
    let options = ImportOptions { max_rejects: Some(RejectLimit::Rows(0)), ..ImportOptions::default() };
    let mut batches: Vec<RecordBatch> = Vec::new();
    read(
        run,
        &[path.to_owned()],
        &mapping,
        &options,
        &mut |_, batch| {
            batches.push(batch);
            Ok(())
        },
        &mut |_| Ok(()),
    )?;
    own_events(&batches)
}

/// The events in the shop's table `calendar`.
///
/// # Errors
/// Faults of the shop, and a kind or region that does not exist.
pub fn shop_events(shop: &Shop) -> Result<Vec<OwnEvent>> {
    own_events(&shop.read_table("calendar")?)
}

/// The calendar of a shop: that of its regions, with its own events.
///
/// # Errors
/// As [`shop_events`].
pub fn shop_calendar(shop: &Shop) -> Result<Calendar> {
    let regions: Vec<Region> = shop
        .settings()
        .shop
        .regions
        .iter()
        .map(|r| r.parse())
        .collect::<Result<_, tradewind_core::Error>>()?;
    Ok(Calendar::new(&regions).with_events(shop_events(shop)?))
}
