//! The join and the store held against a plain model, and against each other, over random histories.

use super::as_of::as_of;
use super::definition::{Aggregation, Feature, FeatureView, Source, Span, Window};
use super::layout::{Kind, Layout, Value, time_field};
use super::online::OnlineStore;
use super::tally::number_mark;
use crate::shop::Shop;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMillisecondType};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use futures::StreamExt;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

/// A row of history. Values are quarters, so that the model's plain sums are exact.
#[derive(Clone, Debug)]
struct Row {
    entity: u8,
    time: i64,
    quarters: Option<i32>,
    word: Option<u8>,
    tie: Option<u8>,
    /// How many steps later than in time it comes to the warehouse.
    late: usize,
    /// Whether it is taken out of the warehouse again.
    gone: bool,
}

impl Row {
    fn number(&self) -> Option<f64> {
        self.quarters.map(|q| f64::from(q) / 4.0)
    }

    fn text(&self) -> Option<String> {
        self.word.map(|w| format!("w{w}"))
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0_u8..3,
        0_i64..60,
        prop::option::weighted(0.8, -20_i32..20),
        prop::option::weighted(0.8, 0_u8..4),
        prop::option::weighted(0.5, 0_u8..2),
        0_usize..3,
        prop::bool::weighted(0.1),
    );
    let row = row.prop_map(|(entity, time, quarters, word, tie, late, gone)| Row {
        entity,
        time,
        quarters,
        word,
        tie,
        late,
        gone,
    });
    prop::collection::vec(row, 0..60)
}

fn views() -> impl Strategy<Value = FeatureView> {
    (0_u32..6, prop::option::of(6_u32..40), 0_u32..20, 1_u32..25, 1_u32..25).prop_map(
        |(delay, ttl, lateness, a, b)| {
            let (a, b) = (Window::Last(Span::millis(a)), Window::Last(Span::millis(b)));
            use Aggregation::{Count, DistinctCount, Last, Max, Mean, Min, Sum};
            let features = vec![
                Feature::new("last", Last, "value", Window::All),
                Feature::new("last_word", Last, "query", a),
                Feature::count("rows", Window::All),
                Feature::count("rows_a", a),
                Feature::new("values_b", Count, "value", b),
                Feature::new("words", Count, "query", Window::All),
                Feature::new("sum_a", Sum, "value", a),
                Feature::new("sum", Sum, "value", Window::All),
                Feature::new("mean_b", Mean, "value", b),
                Feature::new("min_a", Min, "value", a),
                Feature::new("max", Max, "value", Window::All),
                Feature::new("words_a", DistinctCount, "query", a),
                Feature::new("words_all", DistinctCount, "query", Window::All),
                Feature::new("different_b", DistinctCount, "value", b),
            ];
            let mut view = FeatureView::of_table("probe", &["product_id"], "events", "ds", features);
            view.ttl = ttl.map(Span::millis);
            view.available_after = Span::millis(delay);
            view.lateness = Span::millis(lateness);
            view.tie_break = Some("n".into());
            view
        },
    )
}

fn layout(view: &FeatureView) -> Arc<Layout> {
    Arc::new(Layout::new(view, vec![Kind::Number, Kind::Text]))
}

/// The values of one entity at one time, from the definition's words alone.
fn model(view: &FeatureView, rows: &[Row], entity: u8, now: i64) -> (Vec<Value>, Option<i64>) {
    let delay = view.available_after.as_millis();
    let known: Vec<&Row> = rows.iter().filter(|r| r.entity == entity && r.time + delay <= now).collect();
    let order = |r: &&&Row| (r.time, r.tie, r.quarters, r.word);
    let newest =
        known.iter().max_by_key(order).filter(|r| view.ttl.is_none_or(|t| now - r.time <= t.as_millis()));
    let Some(newest) = newest else { return (vec![Value::Null; view.features.len()], None) };
    let number = |x: Option<f64>| x.map_or(Value::Null, Value::Number);
    let value = |feature: &Feature| {
        let inside = |r: &Row| feature.window.width().is_none_or(|w| r.time + delay > now - w);
        let rows: Vec<&&Row> = known.iter().filter(|r| inside(r)).collect();
        let numbers: Vec<f64> = rows.iter().filter_map(|r| r.number()).collect();
        let text = feature.expression.as_deref() == Some("query");
        let texts: HashSet<String> = rows.iter().filter_map(|r| r.text()).collect();
        match feature.aggregation {
            Aggregation::Last if !inside(newest) => Value::Null,
            Aggregation::Last if text => newest.text().map_or(Value::Null, Value::Text),
            Aggregation::Last => number(newest.number()),
            Aggregation::Count if text => {
                Value::Number(rows.iter().filter(|r| r.word.is_some()).count() as f64)
            }
            Aggregation::Count if feature.expression.is_some() => Value::Number(numbers.len() as f64),
            Aggregation::Count => Value::Number(rows.len() as f64),
            Aggregation::Sum => Value::Number(numbers.iter().sum::<f64>() + 0.0),
            Aggregation::Mean if numbers.is_empty() => Value::Null,
            Aggregation::Mean => Value::Number((numbers.iter().sum::<f64>() + 0.0) / numbers.len() as f64),
            Aggregation::Min => number(numbers.iter().copied().reduce(f64::min)),
            Aggregation::Max => number(numbers.iter().copied().reduce(f64::max)),
            Aggregation::DistinctCount if text => Value::Number(texts.len() as f64),
            Aggregation::DistinctCount => Value::Number(
                numbers.iter().map(|x| number_mark(x + 0.0)).collect::<HashSet<_>>().len() as f64,
            ),
        }
    };
    (view.features.iter().map(value).collect(), Some(newest.time))
}

fn name(entity: u8) -> String {
    format!("p{entity}")
}

/// Rows as the sorted stream of a view has them.
fn row_batch(rows: &[Row]) -> RecordBatch {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|r| (r.entity, r.time));
    let entity = StringArray::from_iter_values(rows.iter().map(|r| name(r.entity)));
    let times = Int64Array::from_iter_values(rows.iter().map(|r| r.time));
    let ties = Float64Array::from_iter(rows.iter().map(|r| r.tie.map(f64::from)));
    let values = Float64Array::from_iter(rows.iter().map(|r| r.number()));
    let words = StringArray::from_iter(rows.iter().map(|r| r.text()));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("e0", Arc::new(entity), true),
        ("t", Arc::new(times), true),
        ("tie", Arc::new(ties), true),
        ("v0", Arc::new(values), true),
        ("v1", Arc::new(words), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The batch cut into pieces, empty ones among them.
fn pieces(batch: &RecordBatch, size: usize) -> Vec<RecordBatch> {
    let n = batch.num_rows();
    let mut out: Vec<RecordBatch> =
        (0..n.div_ceil(size)).map(|i| batch.slice(i * size, size.min(n - i * size))).collect();
    out.insert(out.len() / 2, batch.slice(0, 0));
    out
}

/// What the join answers to labels, which come in any order.
fn joined(
    view: &FeatureView,
    rows: &[Row],
    labels: &[(Option<u8>, Option<i64>)],
    size: usize,
) -> Vec<(Vec<Value>, Option<i64>)> {
    let layout = layout(view);
    let mut fields = vec![Field::new("place", DataType::Int64, false), time_field(view)];
    fields.extend((0..view.features.len()).map(|i| layout.field(view, i)));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|i| labels[*i]);
    let sorted = RecordBatch::try_from_iter_with_nullable([
        (
            "e0",
            Arc::new(StringArray::from_iter(order.iter().map(|i| labels[*i].0.map(name)))) as ArrayRef,
            true,
        ),
        ("t", Arc::new(Int64Array::from_iter(order.iter().map(|i| labels[*i].1))), true),
        ("place", Arc::new(Int64Array::from_iter_values(order.iter().map(|i| *i as i64))), true),
    ])
    .unwrap();
    let stream = |batch: RecordBatch| {
        let parts = pieces(&batch, size).into_iter().map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter(parts)))
    };
    let rows = row_batch(rows);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches: Vec<RecordBatch> = runtime.block_on(async {
        let mut builder = RecordBatchReceiverStream::builder(schema.clone(), 2);
        let out = builder.tx();
        builder.spawn(as_of(stream(sorted), stream(rows), 1, layout, schema, out));
        builder.build().map(|b| b.unwrap()).collect().await
    });
    let mut out = vec![(vec![], None); labels.len()];
    for batch in batches {
        for i in 0..batch.num_rows() {
            let place = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(i) as usize;
            let times = batch.column(1).as_primitive::<TimestampMillisecondType>();
            let values = batch.columns()[2..].iter().map(|c| value(c, i)).collect();
            out[place] = (values, times.is_valid(i).then(|| times.value(i)));
        }
    }
    out
}

fn value(column: &ArrayRef, i: usize) -> Value {
    if column.is_null(i) {
        Value::Null
    } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        Value::Number(numbers.value(i))
    } else {
        Value::Text(column.as_string::<i32>().value(i).to_owned())
    }
}

static SHOP: LazyLock<(tempfile::TempDir, Shop)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::init(&folder.path().join("shop")).unwrap();
    (folder, shop)
});

/// Rows as events of the canonical table.
fn events(rows: &[&Row]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("product_id", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| name(r.entity))))),
        ("ds", Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.time)))),
        ("value", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.number())))),
        ("query", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.text())))),
        ("n", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.tie.map(f64::from))))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Brings `store` through materialisations up to the last of `steps` and applies what is later as events; answers the
/// rows that count in the end.
fn bring_up(store: &OnlineStore, view: &FeatureView, rows: &[Row], steps: &[i64]) -> Vec<Row> {
    let lateness = view.lateness.as_millis();
    let step_of = |r: &Row| steps.iter().position(|s| r.time <= *s);
    // Later than its lateness a row is not seen: such rows are left out here, and have a test of their own.
    let in_time = |r: &&Row| {
        let Some(natural) = step_of(r) else { return true };
        let comes = natural + r.late;
        comes < steps.len() && (r.late == 0 || r.time > steps[comes - 1] - lateness)
    };
    let rows: Vec<Row> = rows.iter().filter(in_time).cloned().collect();
    let last = steps.len() - 1;
    let is_out = |r: &Row| r.gone && last > 0 && step_of(r).is_some() && r.time > steps[last - 1] - lateness;
    for (step, until) in steps.iter().enumerate() {
        let there = |r: &&Row| {
            step_of(r).is_some_and(|natural| natural + r.late <= step) && !(step == last && is_out(r))
        };
        let there: Vec<Row> = rows.iter().filter(there).cloned().collect();
        // Twice, and once more up to an earlier time: it must not matter.
        for until in [*until, *until, until - 3] {
            store.replace_for_test("probe", until, |after, until| {
                let new = |r: &&Row| after.is_none_or(|a| r.time > a) && r.time <= until;
                pieces(&row_batch(&there.iter().filter(new).cloned().collect::<Vec<_>>()), 7)
            });
        }
        // What is to come is known already as live events, which each materialisation then replaces.
        if step < last {
            let ahead: Vec<&Row> = rows.iter().filter(|r| r.time > *until && !r.gone).collect();
            let ids: Vec<String> = ahead.iter().map(|r| format!("{r:?}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            store.apply("events", &events(&ahead[..ahead.len() / 2]), &ids[..ahead.len() / 2]).unwrap();
        }
    }
    let live: Vec<&Row> = rows.iter().filter(|r| step_of(r).is_none()).collect();
    let ids: Vec<String> = live.iter().map(|r| format!("{:p}", *r)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    store.clear_live_for_test("probe");
    let (half, n) = (live.len() / 2, live.len() as u64);
    let first = store.apply("events", &events(&live[half..]), &ids[half..]).unwrap();
    let both = store.apply("events", &events(&live), &ids).unwrap();
    assert_eq!((first.added + both.added, both.repeated), (n, n - half as u64));
    rows.into_iter().filter(|r| !is_out(r)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

    #[test]
    fn the_join_is_what_the_definition_says_and_nothing_later_changes_it(
        view in views(),
        rows in rows(),
        labels in prop::collection::vec((prop::option::weighted(0.95, 0_u8..4), prop::option::weighted(0.95, -5_i64..80)), 0..40),
        later in prop::collection::vec((0_u8..3, 0_i64..40, -20_i32..20), 0..20),
        size in 1_usize..20,
    ) {
        let expected: Vec<_> = labels.iter().map(|(entity, now)| match (entity, now) {
            (Some(entity), Some(now)) => model(&view, &rows, *entity, *now),
            _ => (vec![Value::Null; view.features.len()], None),
        }).collect();
        prop_assert_eq!(&joined(&view, &rows, &labels, size), &expected);

        // Rows that become known after the last label leave every answer as it was, in whatever order rows come.
        let end = labels.iter().filter_map(|l| l.1).max().unwrap_or(0);
        let first = end - view.available_after.as_millis() + 1;
        let later = later.into_iter().map(|(entity, gap, quarters)| Row {
            entity, time: first + gap, quarters: Some(quarters), word: None, tie: None, late: 0, gone: false,
        });
        let with_later: Vec<Row> = rows.iter().rev().cloned().chain(later).collect();
        prop_assert_eq!(&joined(&view, &with_later, &labels, 5), &expected);
    }
}

proptest! {
    // Each case opens a store and plans a view, which is slow without optimisation.
    #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

    #[test]
    fn the_store_answers_as_the_frame(
        view in views(),
        rows in rows(),
        gaps in prop::collection::vec(1_i64..25, 1..4),
        asked in prop::collection::vec((0_u8..4, -10_i64..60), 1..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = SHOP.1.snapshot().unwrap();
        let path = folder.path().join("online.redb");
        let steps: Vec<i64> = gaps.iter().scan(0, |sum, gap| { *sum += gap; Some(*sum) }).collect();
        let store = OnlineStore::open(&path, &snapshot, std::slice::from_ref(&view)).unwrap();
        let rows = bring_up(&store, &view, &rows, &steps);
        drop(store);
        let store = OnlineStore::open(&path, &snapshot, std::slice::from_ref(&view)).unwrap();
        prop_assert_eq!(store.rebuilt(), Vec::<String>::new());
        let watermark = *steps.last().unwrap();
        prop_assert_eq!(store.watermark("probe").unwrap(), Some(watermark));
        let oldest = watermark - view.lateness.as_millis();
        for (entity, after) in asked {
            let now = oldest + after;
            let frame = joined(&view, &rows, &[(Some(entity), Some(now))], 8).remove(0);
            match store.read("probe", &[&name(entity)], now) {
                Ok(online) => prop_assert_eq!((online.values, online.event_time_ms), frame, "at {}", now),
                Err(e) => prop_assert!(now < oldest, "{e} at {now}, oldest {oldest}"),
            }
        }
    }
}

#[test]
fn a_row_later_than_its_lateness_is_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = SHOP.1.snapshot().unwrap();
    let mut view = FeatureView::of_table(
        "probe",
        &["product_id"],
        "events",
        "ds",
        vec![Feature::count("rows", Window::All)],
    );
    view.lateness = Span::millis(5);
    let store = OnlineStore::open(&folder.path().join("x"), &snapshot, &[view]).unwrap();
    let row = |time| Row { entity: 0, time, quarters: None, word: None, tie: None, late: 0, gone: false };
    let count = |rows: &[Row], until: i64| {
        store.replace_for_test("probe", until, |after, until| {
            let new = |r: &&Row| after.is_none_or(|a| r.time > a) && r.time <= until;
            let batch = row_batch(&rows.iter().filter(new).cloned().collect::<Vec<_>>());
            vec![batch.project(&[0, 1, 2]).unwrap()]
        });
        store.read("probe", &["p0"], until).unwrap().values[0].clone()
    };
    assert_eq!(count(&[row(1), row(10)], 10), Value::Number(2.0));
    assert_eq!(count(&[row(1), row(10), row(5), row(6)], 20), Value::Number(3.0));
    let early = store.read("probe", &["p0"], 0).unwrap_err().to_string();
    assert!(early.contains("answers from"), "{early}");
}

#[test]
fn a_view_over_a_query_is_planned_and_its_faults_are_told() {
    let snapshot = SHOP.1.snapshot().unwrap();
    let shop = &SHOP.1;
    let faults = |change: &dyn Fn(&mut FeatureView)| {
        let mut view = FeatureView::of_table(
            "a",
            &["product_id"],
            "events",
            "ds",
            vec![Feature::new("x", Aggregation::Sum, "value", Window::All)],
        );
        change(&mut view);
        match shop.wait(super::source::plan(&snapshot, &[view])) {
            Ok(_) => String::new(),
            Err(e) => e.to_string(),
        }
    };
    let with = |text: &str| {
        let text = text.to_owned();
        faults(&move |v: &mut FeatureView| v.features[0].expression = Some(text.clone()))
    };
    assert_eq!(faults(&|_| ()), "");
    assert_eq!(with("value * n"), "");
    assert_eq!(with("event = 'purchase'"), "");
    for (expression, part) in [
        ("valeu", "No field named valeu"),
        ("value +", "view `a`, feature `x`, `expression`"),
        ("sum(value)", "choose an `aggregation`"),
        ("row_number() OVER ()", "choose a `window`"),
        ("(SELECT max(value) FROM events)", "holds a query"),
        ("value * random()", "`random` depends on more than the row"),
        ("query", "`query` is text, of which there is no sum"),
        ("value; DROP TABLE events", "`expression`"),
    ] {
        let got = with(expression);
        assert!(got.contains(part), "{expression}: {got}");
    }
    let sql = |text: &str| {
        let text = text.to_owned();
        faults(&move |v: &mut FeatureView| v.source = Source::Sql(text.clone()))
    };
    assert_eq!(sql("SELECT product_id, ds, value FROM events"), "");
    for (text, part) in [
        ("SELECT ds, value FROM events", "the source has no column `product_id`; it has: ds, value"),
        ("SELECT value AS product_id, ds, value FROM events", "`product_id` is Float64"),
        ("SELECT product_id, event AS ds, value FROM events", "`ds` is Utf8; it must be a date"),
        ("DROP TABLE events", "view `a`, `sql`"),
        ("SELECT product_id FROM nowhere", "nowhere"),
    ] {
        let got = sql(text);
        assert!(got.contains(part), "{text}: {got}");
    }
}
