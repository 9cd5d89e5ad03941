//! The shop's own data watched: what changed in a table's newest days against those before.
//!
//! ```text
//! table ─┬─ the days before ─→ profile ─┐
//!        └─ the newest days ─→ profile ─┴─→ compare ─→ columns that drifted, the worst first; faults of the data
//! ```
//!
//! Names of things (`…_id`) and personal columns are left out: new ones come every day, and that is no drift.

use crate::error::{Error, Result};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use tradewind_core::tables::{ColumnType, TABLES, TableSpec};
use tradewind_core::{ParamCheck, Run, Stamp};
use tradewind_ops::monitor::drift::{DriftReport, DriftSettings, compare};
use tradewind_ops::monitor::sketch::{ColumnSpec, Profile, ProfileSettings, Profiler};
use tradewind_warehouse::Shop;

/// Longest window in days.
pub const DAYS_MAX: usize = 3_660;
const DAY_MS: i64 = 86_400_000;

/// What changed in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDrift {
    /// The table.
    pub table: &'static str,
    /// The first moment of the days before, in seconds since 1970 on the shop's clock.
    pub reference_from: Stamp,
    /// The first moment of the newest days, which ends the days before.
    pub from: Stamp,
    /// The newest row.
    pub until: Stamp,
    /// What changed.
    pub report: DriftReport,
}

/// The tables that can be watched: those whose rows have a time.
pub fn tables() -> impl Iterator<Item = &'static TableSpec> {
    TABLES.iter().filter(|t| t.time.is_some() && !watched(t).is_empty())
}

/// The columns that are watched.
fn watched(table: &TableSpec) -> Vec<ColumnSpec> {
    table
        .columns
        .iter()
        .filter(|c| Some(c.name) != table.time && c.unit != "personal")
        .filter(|c| !c.name.ends_with("_id") || c.name == "store_id")
        .filter_map(|c| match c.kind {
            ColumnType::Number => Some(ColumnSpec::number(c.name)),
            // Free text has a new value in every row.
            ColumnType::Text if matches!(c.name, "query" | "title" | "attributes" | "image") => None,
            ColumnType::Text => Some(ColumnSpec::category(c.name)),
            ColumnType::Time => None,
        })
        .collect()
}

/// Compares the last `days` days of a table with the `reference_days` before them.
///
/// # Errors
/// No such table or one without times, an empty one, lengths out of range; cancellation, faults of the disk.
pub fn drift(
    run: &Run,
    shop: &Shop,
    table: &str,
    days: usize,
    reference_days: usize,
    settings: &DriftSettings,
) -> Result<TableDrift> {
    let mut check = ParamCheck::new();
    check.require((1..=DAYS_MAX).contains(&days), "days", days, "1 to 3660");
    check.require((1..=DAYS_MAX).contains(&reference_days), "reference_days", reference_days, "1 to 3660");
    check.finish()?;
    let Some(spec) = tables().find(|t| t.name == table) else {
        let shown: String = table.chars().take(60).collect();
        let known: Vec<&str> = tables().map(|t| t.name).collect();
        return Err(Error::asked(
            format!("`{shown}` is no table that can be watched"),
            format!("there are: {}", known.join(", ")),
        ));
    };
    let time = spec.time.unwrap_or_default();
    let snapshot = shop.snapshot()?;
    let newest = snapshot.sql(&format!("SELECT CAST(MAX({time}) AS BIGINT) FROM \"{}\"", spec.name))?;
    let newest = newest.first().and_then(|batch| {
        let column = batch.column(0).as_primitive_opt::<Int64Type>()?;
        (column.len() == 1 && column.is_valid(0)).then(|| column.value(0))
    });
    let Some(newest) = newest else {
        return Err(Error::asked(
            format!("the table {} has no rows yet", spec.name),
            "import some, or watch another table",
        ));
    };
    // Whole days, the newest one included.
    let end = newest.div_euclid(DAY_MS) * DAY_MS + DAY_MS;
    let from = end - days as i64 * DAY_MS;
    let reference_from = from - reference_days as i64 * DAY_MS;
    let columns = watched(spec);
    let names: Vec<String> = columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
    let profile = |from: i64, to: i64| -> Result<Profile> {
        let query = format!(
            "SELECT {} FROM \"{}\" WHERE {time} >= to_timestamp_millis({from}) AND {time} < to_timestamp_millis({to})",
            names.join(", "),
            spec.name
        );
        let mut profiler = Profiler::new(columns.clone(), ProfileSettings::default())?;
        let mut fault = None;
        snapshot.each(&query, |batch| {
            if fault.is_none() {
                fault = profiler.push_batch(run, &batch).err();
            }
            Ok(())
        })?;
        run.check()?;
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok(profiler.finish()),
        }
    };
    let report = compare(&profile(reference_from, from)?, &profile(from, end)?, settings)?;
    Ok(TableDrift {
        table: spec.name,
        reference_from: reference_from.div_euclid(1_000),
        from: from.div_euclid(1_000),
        until: newest.div_euclid(1_000),
        report,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};
    use arrow::record_batch::RecordBatch;
    use std::sync::Arc;
    use tradewind_ops::monitor::drift::Verdict;
    use tradewind_warehouse::{Begun, ImportSource};

    /// 200 days of 40 sales; the last 28 cost `dearer` times as much.
    fn shop(dir: &std::path::Path, dearer: f64) -> Shop {
        let shop = Shop::init(&dir.join("shop")).unwrap();
        let source = ImportSource {
            name: "sales".into(),
            fingerprint: "sales".into(),
            preset: "test".into(),
            mapping: String::new(),
        };
        let Begun::New(mut import) = shop.begin_import(&source).unwrap() else { panic!("it is new") };
        let n = 200 * 40;
        let day = |i: i64| i / 40;
        let ds: TimestampMillisecondArray =
            (0..n).map(|i| Some(1_760_000_000_000 + day(i) * DAY_MS)).collect();
        let price: Float64Array = (0..n)
            .map(|i| Some((10 + i * 37 % 23) as f64 * if day(i) >= 172 { dearer } else { 1.0 }))
            .collect();
        let ids: StringArray = (0..n).map(|i| Some(format!("p{}", i % 50))).collect();
        let stores: StringArray = (0..n).map(|i| Some(["north", "south"][i as usize % 2])).collect();
        let batch = RecordBatch::try_from_iter([
            ("ds", Arc::new(ds) as ArrayRef),
            ("product_id", Arc::new(ids) as ArrayRef),
            ("unit_price", Arc::new(price) as ArrayRef),
            ("store_id", Arc::new(stores) as ArrayRef),
        ])
        .unwrap();
        import.append(TableSpec::named("sales").unwrap(), batch).unwrap();
        import.commit(serde_json::json!({})).unwrap();
        shop
    }

    #[test]
    fn dearer_days_are_noticed_and_equal_ones_are_not() {
        for (dearer, expected) in [(1.0, Verdict::Stable), (1.6, Verdict::Major)] {
            let dir = tempfile::tempdir().unwrap();
            let shop = shop(dir.path(), dearer);
            let run = Run::new(1);
            let told = drift(&run, &shop, "sales", 28, 120, &DriftSettings::default()).unwrap();
            assert_eq!((told.report.current_rows, told.report.reference_rows), (28 * 40, 120 * 40));
            let of = |name: &str| told.report.columns.iter().find(|c| c.column == name).unwrap().verdict;
            assert_eq!(of("unit_price"), expected);
            assert_eq!(of("store_id"), Verdict::Stable);
            assert!(
                told.report.columns.iter().all(|c| c.column != "product_id" && c.column != "customer_id")
            );
            assert!(drift(&run, &shop, "products", 28, 120, &DriftSettings::default()).is_err());
            assert!(drift(&run, &shop, "events", 28, 120, &DriftSettings::default()).is_err());
            assert!(drift(&run, &shop, "sales", 0, 120, &DriftSettings::default()).is_err());
        }
    }
}
