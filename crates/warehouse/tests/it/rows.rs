//! Small shops for tests: rows written as values, brought in by an import.

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Field, Schema};
use std::sync::Arc;
use tempfile::TempDir;
use tradewind_core::Stamp;
use tradewind_core::freq::parse_stamp;
use tradewind_core::tables::{ColumnType, TableSpec};
use tradewind_warehouse::{Begun, ImportSource, Shop};

/// A sales line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) product: String,
    pub(crate) ds: String,
    pub(crate) quantity: Option<f64>,
    pub(crate) price: Option<f64>,
    pub(crate) discount: Option<f64>,
    pub(crate) order: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) store: Option<String>,
}

pub(crate) fn day(text: &str) -> Stamp {
    parse_stamp(text).unwrap()
}

/// Rows of any canonical table, as texts by column; an empty text is null.
pub(crate) fn table(name: &str, columns: &[&str], rows: &[Vec<&str>]) -> RecordBatch {
    let spec = TableSpec::named(name).unwrap();
    let mut fields = vec![];
    let mut arrays: Vec<ArrayRef> = vec![];
    for (i, column) in columns.iter().enumerate() {
        let kind = spec.column(column).unwrap().kind;
        let cells = rows.iter().map(|r| Some(r[i]).filter(|t| !t.is_empty()));
        arrays.push(match kind {
            ColumnType::Text => Arc::new(cells.collect::<StringArray>()),
            ColumnType::Number => {
                Arc::new(cells.map(|c| c.map(|t| t.parse::<f64>().unwrap())).collect::<Float64Array>())
            }
            ColumnType::Time => {
                Arc::new(cells.map(|c| c.map(|t| day(t) * 1000)).collect::<TimestampMillisecondArray>())
            }
        });
        fields.push(Field::new(*column, kind.arrow(), true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub(crate) fn sales(lines: &[Line]) -> RecordBatch {
    let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    let rows: Vec<[String; 9]> = lines
        .iter()
        .map(|l| {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            [
                l.product.clone(),
                l.ds.clone(),
                number(l.quantity),
                number(l.price),
                number(l.discount),
                text(&l.order),
                text(&l.status),
                text(&l.customer),
                text(&l.store),
            ]
        })
        .collect();
    let rows: Vec<Vec<&str>> = rows.iter().map(|r| r.iter().map(String::as_str).collect()).collect();
    let columns = [
        "product_id",
        "ds",
        "quantity",
        "unit_price",
        "discount",
        "order_id",
        "status",
        "customer_id",
        "store_id",
    ];
    table("sales", &columns, &rows)
}

/// Brings batches of tables into a shop.
pub(crate) fn import(shop: &Shop, name: &str, tables: Vec<(&str, RecordBatch)>) {
    let source = ImportSource {
        name: name.into(),
        fingerprint: name.into(),
        preset: "test".into(),
        mapping: String::new(),
    };
    let Begun::New(mut import) = shop.begin_import(&source).unwrap() else {
        panic!("{name} is there already")
    };
    for (table, batch) in tables {
        import.append(TableSpec::named(table).unwrap(), batch).unwrap();
    }
    import.commit(serde_json::Value::Null).unwrap();
}

/// A new shop with these sales; the folder lives as long as the first value.
pub(crate) fn shop_with(lines: &[Line]) -> (TempDir, Shop) {
    let dir = TempDir::new().unwrap();
    let shop = Shop::init(&dir.path().join("shop")).unwrap();
    import(&shop, "sales", vec![("sales", sales(lines))]);
    (dir, shop)
}

/// The UCI Online Retail set as a shop, with the few columns that cleaning needs.
pub(crate) fn online_retail(file: &std::path::Path) -> (TempDir, Shop) {
    let dir = TempDir::new().unwrap();
    let shop = Shop::init(&dir.path().join("shop")).unwrap();
    let sql = "SELECT arrow_cast(sku, 'Utf8') AS product_id, arrow_cast(ts, 'Timestamp(Millisecond, None)') AS ds, \
               CAST(qty AS DOUBLE) AS quantity, unit_price, arrow_cast(invoice, 'Utf8') AS order_id, \
               CASE WHEN invoice LIKE 'C%' THEN 'cancelled' WHEN qty < 0 THEN 'returned' END AS status, \
               CAST(customer_id AS VARCHAR) AS customer_id, arrow_cast(country, 'Utf8') AS region FROM lines";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = runtime.block_on(async {
        let mut config = datafusion::prelude::SessionConfig::new();
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let context = datafusion::prelude::SessionContext::new_with_config(config);
        context.register_parquet("lines", file.to_str().unwrap(), Default::default()).await.unwrap();
        context.sql(sql).await.unwrap().collect().await.unwrap()
    });
    import(&shop, "online retail", batches.into_iter().map(|b| ("sales", b)).collect());
    (dir, shop)
}
