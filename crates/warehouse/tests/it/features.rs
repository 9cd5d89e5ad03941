//! Features over a shop's tables: training frames, the online store, and that the two agree.

use crate::rows::table as rows_of;
use crate::shops::{batch, import, numbers, text, times};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tradewind_core::freq::parse_stamp;
use tradewind_core::{ErrorKind, Fault};
use tradewind_warehouse::features::{
    Aggregation, Feature, FeatureView, Labels, OnlineStore, Source, Span, Value, Window,
};
use tradewind_warehouse::{Error, Shop};

const DAY: i64 = 86_400_000;

fn ms(text: &str) -> i64 {
    parse_stamp(text).unwrap() * 1000
}

const DEFINITIONS: &str = r#"
[[view]]
name = "product_sales"
entity = ["product_id"]
table = "sales"
ttl = "30d"
available_after = "1d"
lateness = "3d"

[[view.feature]]
name = "units_7d"
expression = "quantity"
aggregation = "sum"
window = "7d"

[[view.feature]]
name = "last_price"
expression = "unit_price"
aggregation = "last"
window = "all"

[[view.feature]]
name = "buyers_28d"
expression = "customer_id"
aggregation = "distinct_count"
window = "28d"

[[view]]
name = "customer_region"
entity = ["customer_id", "region"]
sql = "SELECT customer_id, region, ds, quantity * unit_price AS spent, status FROM sales WHERE region IS NOT NULL"
time = "ds"

[[view.feature]]
name = "spent"
expression = "spent"
aggregation = "sum"
window = "all"

[[view.feature]]
name = "status"
expression = "status"
aggregation = "last"
window = "all"
"#;

fn sales(rows: &[[&str; 7]]) -> RecordBatch {
    let columns = ["product_id", "ds", "quantity", "unit_price", "customer_id", "region", "status"];
    rows_of("sales", &columns, &rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>())
}

fn shop() -> (TempDir, Shop) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("shop");
    Shop::init(&path).unwrap();
    std::fs::write(path.join("features.toml"), DEFINITIONS).unwrap();
    std::fs::write(path.join("tradewind.toml"), "[run]\nthreads = 2\n").unwrap();
    let shop = Shop::open(&path).unwrap();
    let rows = sales(&[
        ["tea", "2024-03-01", "2", "5", "ann", "CN", "sold"],
        ["tea", "2024-03-02", "3", "6", "bob", "GB", ""],
        ["tea", "2024-03-08", "1", "7", "ann", "CN", "returned"],
        ["cup", "2024-03-05", "4", "2.5", "", "", ""],
    ]);
    import(&shop, "first", vec![("sales", rows)]).unwrap();
    (dir, shop)
}

fn labels(rows: &[(&str, &str, &str, &str)]) -> RecordBatch {
    let column = |i: usize| {
        let cells: Vec<&str> = rows.iter().map(|r| [r.0, r.1, r.2, r.3][i]).collect();
        if i == 3 { times(&cells) } else { text(&cells) }
    };
    let targets: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows.len() as i32));
    batch(vec![
        ("target", targets),
        ("product_id", column(0)),
        ("customer_id", column(1)),
        ("region", column(2)),
        ("at", column(3)),
    ])
}

fn column(frame: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    frame.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn a_frame_has_what_was_known_at_each_label_in_the_labels_order() {
    let (_dir, shop) = shop();
    let views = shop.feature_views().unwrap();
    let rows = [
        ("tea", "ann", "CN", "2024-03-09"),
        ("tea", "ann", "CN", "2024-03-08T23:59:59"),
        ("tea", "bob", "GB", "2024-03-02"),
        ("cup", "ann", "GB", "2024-03-06"),
        ("tea", "ann", "CN", "2024-03-09"),
        ("pot", "", "CN", "2024-03-09"),
        ("tea", "ann", "CN", "2024-04-08"),
        ("tea", "ann", "CN", ""),
    ];
    let all = labels(&rows);
    let whole = Labels::new(vec![all.clone()], "at").unwrap();
    let frame = shop.snapshot().unwrap().training_frame(&whole, &views).unwrap();
    let names: Vec<String> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(
        names[5..],
        [
            "product_sales__units_7d",
            "product_sales__last_price",
            "product_sales__buyers_28d",
            "customer_region__spent",
            "customer_region__status",
        ]
    );
    let (got, built) = frame.collect().unwrap();
    assert_eq!(
        got.column_by_name("target").unwrap().as_ref(),
        all.column(0).as_ref(),
        "order and repeats stay"
    );
    let some = |v: [f64; 3]| v.map(Some);
    // On the 9th the sale of the 8th has just become known, and that of the 1st, known on the 2nd, has left the window.
    let expected = [
        some([4.0, 7.0, 2.0]),
        some([5.0, 6.0, 2.0]),
        some([2.0, 5.0, 1.0]),
        some([4.0, 2.5, 0.0]),
        some([4.0, 7.0, 2.0]),
        [None; 3],
        [None; 3],
        [None; 3],
    ];
    for (i, name) in ["units_7d", "last_price", "buyers_28d"].iter().enumerate() {
        let want: Vec<Option<f64>> = expected.iter().map(|e| e[i]).collect();
        assert_eq!(column(&got, &format!("product_sales__{name}")), want, "{name}");
    }
    assert_eq!(
        column(&got, "customer_region__spent"),
        [Some(17.0), Some(17.0), Some(18.0), None, Some(17.0), None, Some(17.0), None]
    );
    let status = got.column_by_name("customer_region__status").unwrap();
    let status: Vec<Option<&str>> = status.as_string::<i32>().iter().collect();
    let returned = Some("returned");
    assert_eq!(status, [returned, returned, None, None, returned, None, returned, None]);

    // Cut otherwise, from a file, with finer times: the same frame.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("labels.parquet");
    tradewind_warehouse::files::write_table(&path, &[all.slice(0, 3), all.slice(3, 5)]).unwrap();
    let file = Labels::parquet(&path, "at").unwrap();
    let again = shop.snapshot().unwrap().training_frame(&file, &views).unwrap();
    let out = dir.path().join("frame.parquet");
    assert_eq!(again.write_parquet(&out).unwrap(), built);
    let pieces = Labels::new(vec![all.slice(0, 1), all.slice(1, 0), all.slice(1, 7)], "at").unwrap();
    let (pieces, print) =
        shop.snapshot().unwrap().training_frame(&pieces, &views).unwrap().collect().unwrap();
    assert_eq!((pieces, &print), (got.clone(), &built));

    // The fingerprint tells another definition, other data and other labels.
    let mut other = views.clone();
    other[0].ttl = Some(Span::days(31));
    let other = shop.snapshot().unwrap().training_frame(&whole, &other).unwrap().collect().unwrap().1;
    assert_ne!(other.fingerprint, built.fingerprint);
    let fewer = Labels::new(vec![all.slice(0, 7)], "at").unwrap();
    let fewer = shop.snapshot().unwrap().training_frame(&fewer, &views).unwrap().collect().unwrap().1;
    assert_ne!(fewer.fingerprint, built.fingerprint);
    let late = sales(&[["tea", "2024-03-07", "10", "9", "cid", "CN", ""]]);
    import(&shop, "late", vec![("sales", late)]).unwrap();
    let (changed, print) =
        shop.snapshot().unwrap().training_frame(&whole, &views).unwrap().collect().unwrap();
    assert_ne!(print.fingerprint, built.fingerprint);
    assert_eq!(column(&changed, "product_sales__units_7d")[0], Some(14.0));
    // A snapshot taken before does not see it.
    assert_eq!(frame.collect().unwrap().1, built);
}

#[test]
fn labels_that_do_not_fit_are_told() {
    let (_dir, shop) = shop();
    let views = shop.feature_views().unwrap();
    let fault = |labels: Result<Labels, Error>| {
        let snapshot = shop.snapshot().unwrap();
        labels.and_then(|l| snapshot.training_frame(&l, &views).map(|_| ())).unwrap_err().to_string()
    };
    let good = labels(&[("tea", "ann", "CN", "2024-03-09")]);
    let without = |name: &str| {
        let keep: Vec<usize> = (0..5).filter(|i| good.schema().field(*i).name() != name).collect();
        good.project(&keep).unwrap()
    };
    assert!(fault(Labels::new(vec![], "at")).contains("there is no batch"));
    assert!(fault(Labels::new(vec![good.clone()], "when")).contains("no column `when`"));
    assert!(fault(Labels::new(vec![good.clone()], "product_id")).contains("must be a date or a timestamp"));
    assert!(
        fault(Labels::new(vec![without("region")], "at"))
            .contains("no column `region`, which view `customer_region`")
    );
    let floats = batch(vec![
        ("product_id", numbers(&[1.0])),
        ("customer_id", text(&["a"])),
        ("region", text(&["a"])),
        ("at", times(&["2024-01-01"])),
    ]);
    assert!(fault(Labels::new(vec![floats], "at")).contains("`product_id` is Float64"));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("product_sales__units_7d", numbers(&[1.0]))];
    columns.extend([
        ("product_id", text(&["a"])),
        ("customer_id", text(&["a"])),
        ("region", text(&["a"])),
        ("at", times(&["2024-01-01"])),
    ]);
    assert!(fault(Labels::new(vec![batch(columns)], "at")).contains("has the name of a feature"));
    // No rows are a frame too.
    let empty = Labels::new(vec![good.slice(0, 0)], "at").unwrap();
    let (frame, built) = shop.snapshot().unwrap().training_frame(&empty, &views).unwrap().collect().unwrap();
    assert_eq!((frame.num_rows(), frame.num_columns(), built.rows), (0, 10, 0));
}

#[test]
fn times_finer_than_a_millisecond_leak_nothing_and_whole_numbers_name_things() {
    let (_dir, shop) = shop();
    let sql = "SELECT * FROM (VALUES (7, arrow_cast(1000001, 'Timestamp(Microsecond, None)'), 1.0), \
               (7, arrow_cast(-1999, 'Timestamp(Microsecond, None)'), 2.0)) AS t(shelf, seen, x)";
    let mut view = FeatureView::of_table(
        "shelf",
        &["shelf"],
        "sales",
        "seen",
        vec![Feature::new("x", Aggregation::Last, "x", Window::All)],
    );
    view.source = Source::Sql(sql.into());
    let at = |micros: Vec<i64>| {
        let n = micros.len();
        let shelf: ArrayRef = Arc::new(Int64Array::from(vec![7; n]));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros));
        let labels = Labels::new(vec![batch(vec![("shelf", shelf), ("t", times)])], "t").unwrap();
        let frame = shop.snapshot().unwrap().training_frame(&labels, std::slice::from_ref(&view)).unwrap();
        column(&frame.collect().unwrap().0, "shelf__x")
    };
    // Rows are known from the next whole millisecond on (1001 and -1), labels ask from the one before.
    assert_eq!(
        at(vec![1_000_999, 1_001_000, -1_001, -1_000, -2_000]),
        [Some(2.0), Some(1.0), None, Some(2.0), None]
    );
}

/// What the frame says of one product at one time.
fn offline(shop: &Shop, view: &FeatureView, product: &str, now: i64) -> (Vec<Value>, Option<i64>) {
    let at: ArrayRef = Arc::new(arrow::array::TimestampMillisecondArray::from(vec![now]));
    let labels = Labels::new(vec![batch(vec![("product_id", text(&[product])), ("at", at)])], "at").unwrap();
    let frame = shop.snapshot().unwrap().training_frame(&labels, std::slice::from_ref(view)).unwrap();
    let (row, _) = frame.with_event_times().collect().unwrap();
    let time = row.column(2).as_primitive::<TimestampMillisecondType>();
    let values = row.columns()[3..].iter().map(|c| match c.as_primitive_opt::<Float64Type>() {
        _ if c.is_null(0) => Value::Null,
        Some(x) => Value::Number(x.value(0)),
        None => Value::Text(c.as_string::<i32>().value(0).to_owned()),
    });
    (values.collect(), time.is_valid(0).then(|| time.value(0)))
}

fn assert_equal(shop: &Shop, store: &OnlineStore, view: &FeatureView, now: i64) {
    for product in ["tea", "cup", "pot"] {
        let online = store.read(&view.name, &[product], now).unwrap();
        assert_eq!(
            (online.values, online.event_time_ms),
            offline(shop, view, product, now),
            "{product} at {now}"
        );
    }
}

#[test]
fn the_store_follows_the_warehouse_and_events() {
    let (_dir, shop) = shop();
    let views = shop.feature_views().unwrap();
    let view = &views[0];
    let store = shop.online_store().unwrap();
    assert_eq!(store.read("product_sales", &["tea"], ms("2024-03-09")).unwrap().values, vec![Value::Null; 3]);

    let done = store.materialise(&shop.snapshot().unwrap(), "product_sales", ms("2024-03-08")).unwrap();
    assert_eq!((done.rows, done.entities, done.watermark_ms), (4, 2, ms("2024-03-08")));
    for day in 5..40 {
        assert_equal(&shop, &store, view, ms("2024-03-01") + day * DAY);
    }
    // Again: only what lies within the lateness is read, and nothing changes.
    let done = store.materialise(&shop.snapshot().unwrap(), "product_sales", ms("2024-03-08")).unwrap();
    assert_eq!((done.rows, done.entities), (1, 1));
    assert_equal(&shop, &store, view, ms("2024-03-12"));

    // An event is known at once, counts once, and gives way to the warehouse's row.
    let now = sales(&[["tea", "2024-03-10", "5", "8", "dan", "GB", ""]]);
    let applied = store.apply("sales", &now, &["order 1"]).unwrap();
    assert_eq!((applied.added, applied.covered), (1, 0));
    let applied = store.apply("sales", &now, &["order 1"]).unwrap();
    assert_eq!((applied.added, applied.repeated), (0, 1));
    let tea = store.read("product_sales", &["tea"], ms("2024-03-11")).unwrap();
    assert_eq!(tea.values, [Value::Number(6.0), Value::Number(8.0), Value::Number(3.0)]);
    assert_eq!(tea.event_time_ms, Some(ms("2024-03-10")));
    let late = sales(&[["cup", "2024-03-08", "1", "3", "dan", "GB", ""]]);
    assert_eq!(store.apply("sales", &late, &["order 2"]).unwrap().covered, 1);
    import(&shop, "second", vec![("sales", now), ("sales", late)]).unwrap();
    assert_equal(&shop, &store, view, ms("2024-03-07"));
    let done = store.materialise(&shop.snapshot().unwrap(), "product_sales", ms("2024-03-10")).unwrap();
    assert_eq!((done.rows, done.entities), (3, 2));
    for day in 6..42 {
        assert_equal(&shop, &store, view, ms("2024-03-01") + day * DAY);
    }

    // A removed import leaves the store with the next materialisation.
    shop.remove_import(shop.imports().unwrap()[1].id).unwrap();
    store.materialise(&shop.snapshot().unwrap(), "product_sales", ms("2024-03-10")).unwrap();
    assert_equal(&shop, &store, view, ms("2024-03-11"));

    // A view over a query takes events that have its columns.
    let event = batch(vec![
        ("customer_id", text(&["eve"])),
        ("region", text(&["JP"])),
        ("ds", times(&["2024-03-10"])),
        ("spent", numbers(&[12.5])),
        ("status", text(&["sold"])),
    ]);
    assert_eq!(store.apply_to("customer_region", &event, &["x"]).unwrap().added, 1);
    let both = store
        .read_many(&[("customer_region", &["eve", "JP"]), ("product_sales", &["tea"])], ms("2024-03-11"))
        .unwrap();
    assert_eq!(both[0].values, [Value::Number(12.5), Value::Text("sold".into())]);
    assert_eq!(both[1].values.len(), 3);

    // Mistakes are told.
    let kind =
        |r: Result<_, Error>| r.map(|_: tradewind_warehouse::features::OnlineValues| ()).unwrap_err().kind();
    assert_eq!(kind(store.read("nothing", &["tea"], 0)), ErrorKind::NotFound);
    assert_eq!(kind(store.read("product_sales", &["tea", "CN"], 0)), ErrorKind::InvalidInput);
    let wrong = batch(vec![("product_id", text(&["tea"])), ("ds", text(&["yesterday"]))]);
    assert!(store.apply("sales", &wrong, &["y"]).unwrap_err().to_string().contains("column `ds`"));
    assert!(store.apply("sales", &wrong, &[]).is_err());
    let busy = shop.online_store().unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Unavailable);
    assert!(busy.hint().unwrap().contains("other process"), "{busy}");

    // Another definition begins anew; the other view stays.
    drop(store);
    let mut changed = views.clone();
    changed[0].ttl = None;
    let store = shop.snapshot().unwrap().online_store(&changed).unwrap();
    assert_eq!(store.rebuilt(), ["product_sales"]);
    assert_eq!(store.watermark("product_sales").unwrap(), None);
    assert_eq!(
        store.read("customer_region", &["eve", "JP"], ms("2024-03-11")).unwrap().values[0],
        Value::Number(12.5)
    );
}

/// Not a test by itself: the process that [`killed_materialisations_leave_one_state_or_the_other`] kills.
#[test]
fn child_that_materialises() {
    let Ok(root) = std::env::var("TRADEWIND_TEST_FEATURES") else { return };
    let shop = Shop::open(Path::new(&root)).unwrap();
    let store = shop.snapshot().unwrap().online_store(&[many_view()]).unwrap();
    println!("open");
    for until in [DAY, 2 * DAY, 3 * DAY] {
        store.materialise(&shop.snapshot().unwrap(), "many", until).unwrap();
    }
}

fn many_view() -> FeatureView {
    let features = vec![
        Feature::count("rows", Window::All),
        Feature::new("sum_1d", Aggregation::Sum, "quantity", Window::Last(Span::days(1))),
    ];
    let mut view = FeatureView::of_table("many", &["product_id"], "sales", "ds", features);
    view.lateness = Span::hours(6);
    view
}

#[cfg(unix)]
#[test]
fn killed_materialisations_leave_one_state_or_the_other() {
    let dir = TempDir::new().unwrap();
    let shop = Shop::init(&dir.path().join("shop")).unwrap();
    let root = shop.root().to_owned();
    let n = 6_000_i64;
    let ids: Vec<String> = (0..n).map(|i| format!("p{}", i % 1_500)).collect();
    let at: ArrayRef =
        Arc::new(arrow::array::TimestampMillisecondArray::from_iter_values((0..n).map(|i| i * 3 * DAY / n)));
    let quantity: ArrayRef = Arc::new(Float64Array::from_iter_values((0..n).map(|i| (i % 7) as f64)));
    import(
        &shop,
        "many",
        vec![("sales", batch(vec![("product_id", text(&ids)), ("ds", at), ("quantity", quantity)]))],
    )
    .unwrap();
    drop(shop);
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["features::child_that_materialises", "--exact", "--nocapture"]);
        command.env("TRADEWIND_TEST_FEATURES", &root).stdout(Stdio::null());
        command
    };
    let file = root.join("online.redb");
    let start = std::time::Instant::now();
    assert!(child().status().unwrap().success());
    let whole = start.elapsed();
    let answers = |store: &OnlineStore| -> Vec<Value> {
        (0..1_500).flat_map(|i| store.read("many", &[&format!("p{i}")], 3 * DAY).unwrap().values).collect()
    };
    let shop = Shop::open(&root).unwrap();
    let open = || shop.snapshot().unwrap().online_store(&[many_view()]).unwrap();
    let expected = answers(&open());
    let count = |values: &[Value]| -> f64 {
        values.iter().step_by(2).map(|v| if let Value::Number(x) = v { *x } else { 0.0 }).sum()
    };
    assert_eq!(count(&expected), n as f64);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..10 {
        std::fs::remove_file(&file).unwrap();
        let mut process = child().spawn().unwrap();
        std::thread::sleep(whole.mul_f64(0.3 + 0.07 * f64::from(round)) + Duration::from_millis(2));
        // SIGKILL: nothing in the process can tidy up.
        process.kill().unwrap();
        process.wait().unwrap();
        let store = open();
        let watermark = store.watermark("many").unwrap();
        let there = (0..n).filter(|i| watermark.is_some_and(|w| i * 3 * DAY / n <= w)).count();
        assert_eq!(
            count(&answers(&store)),
            there as f64,
            "round {round}: what the watermark says and no more"
        );
        seen.insert(watermark);
        store.materialise(&shop.snapshot().unwrap(), "many", 3 * DAY).unwrap();
        assert_eq!(answers(&store), expected, "round {round}: taken up again");
    }
    println!("watermarks found: {seen:?}");
    assert!(seen.len() > 1, "the kills came at one moment only: {seen:?}");
}
