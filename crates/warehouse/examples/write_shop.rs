//! Writes the small shop that `tests/it/compat.rs` opens: one folder per format, kept for ever, so that shops of today
//! open in every Tradewind to come. Run it when the format is raised, and add the folder it makes beside the older ones:
//!
//! ```text
//! cargo run -p tradewind-warehouse --example write_shop -- crates/warehouse/tests/fixtures/format-2
//! ```
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use std::path::Path;
use std::sync::Arc;
use tradewind_core::tables::{ColumnSpec, ColumnType, TableSpec};
use tradewind_warehouse::{Begun, Figure, ImportSource, NewOverride, Shop, shop_format};

const fn column(name: &'static str, kind: ColumnType, required: bool) -> ColumnSpec {
    ColumnSpec { name, kind, required, unit: "", summary: "" }
}

/// Sales as a version before the first might have had them: without most columns.
static OLD_SALES: TableSpec = TableSpec {
    name: "sales",
    summary: "order lines",
    version: 0,
    columns: &[
        column("product_id", ColumnType::Text, true),
        column("ds", ColumnType::Time, true),
        column("quantity", ColumnType::Number, false),
    ],
    key: &[],
    time: Some("ds"),
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name the folder to make")?;
    let shop = Shop::init(Path::new(&path))?;
    let day = |d: i64| (19_723 + d) * 86_400_000;
    let texts = |v: [&str; 3]| Arc::new(StringArray::from_iter_values(v)) as ArrayRef;
    let numbers = |v: [f64; 3]| Arc::new(Float64Array::from_iter_values(v)) as ArrayRef;
    let days = || Arc::new(TimestampMillisecondArray::from_iter_values((0..3).map(day))) as ArrayRef;
    let old = RecordBatch::try_from_iter([
        ("product_id", texts(["tea", "cup", "茶"])),
        ("ds", days()),
        ("quantity", numbers([1.0, 2.0, 3.0])),
    ])?;
    let new = RecordBatch::try_from_iter([
        ("product_id", texts(["tea", "cup", "茶"])),
        ("ds", days()),
        ("quantity", numbers([10.0, 20.0, 30.0])),
        ("region", texts(["CN", "GB", "US"])),
    ])?;
    let stock = RecordBatch::try_from_iter([
        ("product_id", texts(["tea", "cup", "茶"])),
        ("ds", days()),
        ("on_hand", numbers([5.0, 0.0, 7.0])),
    ])?;
    let sales = TableSpec::named("sales").ok_or("no table sales")?;
    let stock_table = TableSpec::named("stock").ok_or("no table stock")?;
    for (name, rows) in [("old", vec![(&OLD_SALES, old)]), ("new", vec![(sales, new), (stock_table, stock)])]
    {
        let source = ImportSource {
            name: format!("{name}.csv"),
            fingerprint: name.into(),
            preset: "canonical".into(),
            mapping: String::new(),
        };
        let Begun::New(mut import) = shop.begin_import(&source)? else {
            return Err("it was there already".into());
        };
        for (table, rows) in rows {
            import.append(table, rows)?;
        }
        import.commit(serde_json::json!({ "rejects": { "not_a_date in `ds`": 1 } }))?;
    }
    for (author, figure) in [("Ann", Figure::Value(9.5)), ("李", Figure::Factor(1.25))] {
        shop.add_override(&NewOverride {
            author: author.into(),
            note: "茶会".into(),
            by: "product".into(),
            target: "units".into(),
            freq: "D".into(),
            unique_id: "tea".into(),
            first: 1_710_028_800,
            last: 1_710_115_200,
            figure,
            known: 1_709_942_400,
        })?;
    }
    shop.withdraw_override(2, "李", "off")?;
    println!("wrote a shop of format {} to {path}", shop_format());
    Ok(())
}
