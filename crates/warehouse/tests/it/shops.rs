//! Rows and shops that the tests share.

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use std::sync::Arc;
use tradewind_core::freq::parse_stamp;
use tradewind_core::tables::TableSpec;
use tradewind_warehouse::{Begun, Import, ImportRecord, ImportSource, Result, Shop};

pub(crate) fn table(name: &str) -> &'static TableSpec {
    TableSpec::named(name).expect("a canonical table")
}

pub(crate) fn source(name: &str) -> ImportSource {
    ImportSource {
        name: format!("{name}.csv"),
        fingerprint: format!("fingerprint of {name}"),
        preset: "canonical".into(),
        mapping: String::new(),
    }
}

pub(crate) fn text<S: AsRef<str>>(values: &[S]) -> ArrayRef {
    Arc::new(StringArray::from_iter(values.iter().map(|v| Some(v.as_ref()).filter(|v| !v.is_empty()))))
}

pub(crate) fn numbers(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from_iter(values.iter().map(|v| Some(*v).filter(|v| !v.is_nan()))))
}

pub(crate) fn times<S: AsRef<str>>(values: &[S]) -> ArrayRef {
    let ms = |t: &S| parse_stamp(t.as_ref()).map(|s| s * 1000);
    Arc::new(TimestampMillisecondArray::from_iter(values.iter().map(ms)))
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// Sales of `n` products in a row, one a day from 2024-01-01.
pub(crate) fn sales(from: usize, n: usize) -> RecordBatch {
    let ids: Vec<String> = (from..from + n).map(|i| format!("p{}", i % 100)).collect();
    let first = parse_stamp("2024-01-01").expect("a date");
    let ms = (from..from + n).map(|i| (first + (i as i64 / 100) * 86_400) * 1000);
    batch(vec![
        ("product_id", text(&ids)),
        ("ds", Arc::new(TimestampMillisecondArray::from_iter_values(ms))),
        ("quantity", numbers(&(from..from + n).map(|i| (i % 7) as f64).collect::<Vec<_>>())),
        ("unit_price", numbers(&vec![9.5; n])),
    ])
}

pub(crate) fn begin(shop: &Shop, name: &str) -> Import {
    match shop.begin_import(&source(name)).expect("begins") {
        Begun::New(import) => import,
        Begun::AlreadyThere(record) => panic!("{name} is there as import {}", record.id),
    }
}

pub(crate) fn import(shop: &Shop, name: &str, rows: Vec<(&str, RecordBatch)>) -> Result<ImportRecord> {
    let mut import = begin(shop, name);
    for (name, rows) in rows {
        import.append(table(name), rows)?;
    }
    import.commit(serde_json::json!({ "rows": { "read": 3 } }))
}

pub(crate) fn one_number(shop: &Shop, query: &str) -> i64 {
    let batches = shop.sql(query).expect("answers");
    let column = batches[0].column(0).as_any().downcast_ref::<Int64Array>().expect("a whole number").clone();
    assert_eq!(column.len(), 1, "{query}");
    column.value(0)
}

/// The first column of a query's answer as text.
pub(crate) fn texts(shop: &Shop, query: &str) -> Vec<String> {
    let batches = shop.sql(query).expect("answers");
    batches
        .iter()
        .flat_map(|b| {
            let format = arrow::util::display::ArrayFormatter::try_new(b.column(0), &Default::default())
                .expect("formats");
            (0..b.num_rows()).map(|i| format.value(i).to_string()).collect::<Vec<_>>()
        })
        .collect()
}
