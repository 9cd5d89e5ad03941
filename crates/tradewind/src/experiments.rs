//! Experiments on a shop's users: what the users of each arm did, from the rows of the shop.
//!
//! ```text
//! exposures (events `exposure`, `query` = experiment/arm) ─→ first exposure of each user ─┐
//! events, sales of the same users, before and after it ───────────────────────────────────┴─→ Observed ─→ a reading
//! ```
//!
//! Every exposed user counts once, with all that came after the first exposure; the 28 days before it adjust the figures
//! (CUPED). Users seen in two arms count in neither.
//!
//! Where products are dealt to arms and not users (a rule of prices or of orders), an exposure names the product in place
//! of the user; `inventory_turnover` is for these.

use crate::error::{Error, Result};
use crate::event_log::ShopClock;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use tradewind_core::Run;
use tradewind_ops::experiment::{Experiment, Metric, MetricKind, Observed, Purpose, Unit};
use tradewind_warehouse::Shop;

/// The kind of event that tells that a user was shown an arm.
pub const EXPOSURE: &str = "exposure";

/// What can be measured.
#[derive(Clone, Copy, Debug)]
pub struct MetricSpec {
    /// Its name.
    pub name: &'static str,
    /// How it is tested.
    pub kind: MetricKind,
    /// What it is, in English.
    pub en: &'static str,
    /// What it is, in Chinese.
    pub zh: &'static str,
}

/// Every metric of users.
pub const METRICS: &[MetricSpec] = &[
    MetricSpec {
        name: "conversion",
        kind: MetricKind::Conversion,
        en: "share of users who bought",
        zh: "购买用户占比",
    },
    MetricSpec {
        name: "cart_rate",
        kind: MetricKind::Conversion,
        en: "share of users who put something into the cart",
        zh: "加购用户占比",
    },
    MetricSpec {
        name: "click_through",
        kind: MetricKind::Ratio,
        en: "clicks for each view",
        zh: "点击次数与浏览次数之比",
    },
    MetricSpec {
        name: "orders", kind: MetricKind::Mean, en: "orders of a user", zh: "每位用户订单数"
    },
    MetricSpec {
        name: "revenue",
        kind: MetricKind::Mean,
        en: "money taken from a user",
        zh: "每位用户销售额",
    },
    MetricSpec {
        name: "average_order_value",
        kind: MetricKind::Ratio,
        en: "money taken for each order",
        zh: "客单价",
    },
    MetricSpec {
        name: "rating", kind: MetricKind::Rating, en: "mean of the stars given", zh: "平均评分"
    },
    MetricSpec {
        name: "inventory_turnover",
        kind: MetricKind::Ratio,
        en: "units sold for each unit on hand, where products are dealt to arms",
        zh: "库存周转率（销量与平均库存之比，适用于按商品分组的实验）",
    },
];

/// A metric by its name.
///
/// # Errors
/// A name that no metric has.
pub fn metric(name: &str, purpose: Purpose) -> Result<Metric> {
    let found = METRICS.iter().find(|m| m.name == name).ok_or_else(|| {
        let shown: String = name.chars().take(63).collect();
        let known: Vec<&str> = METRICS.iter().map(|m| m.name).collect();
        Error::asked(format!("there is no metric `{shown}`"), format!("there are: {}", known.join(", ")))
    })?;
    Ok(Metric::new(found.name, found.kind, purpose))
}

/// How an exposure names its arm.
pub fn place(experiment: &str, arm: &str) -> String {
    format!("{experiment}/{arm}")
}

/// What the users of an experiment did until now, or until it was stopped.
///
/// # Errors
/// Faults of the disk and of queries; cancellation.
pub fn observe(run: &Run, shop: &Shop, experiment: &Experiment) -> Result<Observed> {
    let definition = &experiment.definition;
    let clock = ShopClock::of(shop)?;
    let until = match experiment.stopped_ms {
        Some(ms) => format!("AND r.ds < to_timestamp_millis({})", clock.local_ms(ms)),
        None => String::new(),
    };
    let since = format!("to_timestamp_millis({})", clock.local_ms(experiment.started_ms.unwrap_or(0)));
    // Names of experiments are `[a-z][a-z0-9_-]*`, so none can leave its quotes.
    let query = QUERY
        .replace("{name}", &definition.name)
        .replace("{since}", &since)
        .replace("{until}", &until)
        .replace("{after}", AFTER)
        .replace("{before}", BEFORE);
    let mut observed = Observed::default();
    let mut fault = None;
    shop.snapshot()?.each(&query, |batch| {
        if fault.is_none() && run.check().is_ok() {
            fault = rows(definition, &batch, &mut observed).err();
        }
        Ok(())
    })?;
    run.check()?;
    match fault {
        Some(fault) => Err(fault),
        None => Ok(observed),
    }
}

/// A row counts when it came after the first exposure. Sales that only name their day count on the day of it.
const AFTER: &str =
    "(r.ds >= s.first OR (r.ds = date_trunc('day', r.ds) AND r.ds = date_trunc('day', s.first)))";
/// A row tells of the time before.
const BEFORE: &str = "r.ds < date_trunc('day', s.first) AND r.ds >= s.first - INTERVAL '28' DAY";

const QUERY: &str = "
WITH seen AS (
    SELECT user_id, MIN(ds) AS first, MIN(query) AS place, COUNT(DISTINCT query) AS places
    FROM events
    WHERE event = 'exposure' AND user_id IS NOT NULL AND starts_with(query, '{name}/') AND ds >= {since}
    GROUP BY user_id
), did AS (
    SELECT s.user_id AS user_id,
        SUM(CASE WHEN r.event = 'view' AND {after} {until} THEN 1 ELSE 0 END) AS views,
        SUM(CASE WHEN r.event = 'click' AND {after} {until} THEN 1 ELSE 0 END) AS clicks,
        SUM(CASE WHEN r.event = 'cart' AND {after} {until} THEN 1 ELSE 0 END) AS carts,
        SUM(CASE WHEN r.event = 'purchase' AND {after} {until} THEN 1 ELSE 0 END) AS purchases,
        SUM(CASE WHEN r.event = 'rating' AND {after} {until} THEN r.value ELSE 0 END) AS stars,
        SUM(CASE WHEN r.event = 'rating' AND {after} {until} THEN 1 ELSE 0 END) AS ratings,
        SUM(CASE WHEN r.event = 'click' AND {before} THEN 1 ELSE 0 END) AS clicks_before,
        SUM(CASE WHEN r.event = 'cart' AND {before} THEN 1 ELSE 0 END) AS carts_before,
        SUM(CASE WHEN r.event = 'purchase' AND {before} THEN 1 ELSE 0 END) AS purchases_before
    FROM seen s JOIN events r ON r.user_id = s.user_id
    WHERE r.event <> 'exposure'
    GROUP BY s.user_id
), bought AS (
    SELECT s.user_id AS user_id,
        SUM(CASE WHEN {after} {until} THEN COALESCE(r.revenue, 0) ELSE 0 END) AS revenue,
        COUNT(DISTINCT CASE WHEN {after} {until} THEN r.order_id END) AS orders,
        SUM(CASE WHEN {before} THEN COALESCE(r.revenue, 0) ELSE 0 END) AS revenue_before,
        COUNT(DISTINCT CASE WHEN {before} THEN r.order_id END) AS orders_before
    FROM seen s JOIN sales r ON r.customer_id = s.user_id
    WHERE r.status IS NULL OR r.status = 'sold'
    GROUP BY s.user_id
), sold AS (
    SELECT s.user_id AS user_id,
        SUM(CASE WHEN {after} {until} THEN COALESCE(r.quantity, 0) ELSE 0 END) AS sold,
        SUM(CASE WHEN {before} THEN COALESCE(r.quantity, 0) ELSE 0 END) AS sold_before
    FROM seen s JOIN sales r ON r.product_id = s.user_id
    WHERE r.status IS NULL OR r.status = 'sold'
    GROUP BY s.user_id
), counted AS (
    SELECT user_id, AVG(on_hand) AS on_hand
    FROM (
        SELECT s.user_id AS user_id, r.ds AS ds, SUM(r.on_hand) AS on_hand
        FROM seen s JOIN stock r ON r.product_id = s.user_id
        WHERE {after} {until}
        GROUP BY s.user_id, r.ds
    )
    GROUP BY user_id
)
SELECT s.place,
    CAST(s.places AS DOUBLE), CAST(COALESCE(d.views, 0) AS DOUBLE), CAST(COALESCE(d.clicks, 0) AS DOUBLE),
    CAST(COALESCE(d.carts, 0) AS DOUBLE), CAST(COALESCE(d.purchases, 0) AS DOUBLE),
    CAST(COALESCE(d.stars, 0) AS DOUBLE), CAST(COALESCE(d.ratings, 0) AS DOUBLE),
    CAST(COALESCE(d.clicks_before, 0) AS DOUBLE), CAST(COALESCE(d.carts_before, 0) AS DOUBLE),
    CAST(COALESCE(d.purchases_before, 0) AS DOUBLE), CAST(COALESCE(b.revenue, 0) AS DOUBLE),
    CAST(COALESCE(b.orders, 0) AS DOUBLE), CAST(COALESCE(b.revenue_before, 0) AS DOUBLE),
    CAST(COALESCE(b.orders_before, 0) AS DOUBLE), CAST(COALESCE(t.sold, 0) AS DOUBLE),
    CAST(COALESCE(t.sold_before, 0) AS DOUBLE), CAST(COALESCE(c.on_hand, 0) AS DOUBLE)
FROM seen s LEFT JOIN did d ON d.user_id = s.user_id LEFT JOIN bought b ON b.user_id = s.user_id
    LEFT JOIN sold t ON t.user_id = s.user_id LEFT JOIN counted c ON c.user_id = s.user_id";

/// Takes the users of a batch in.
fn rows(
    definition: &tradewind_ops::experiment::Definition,
    batch: &RecordBatch,
    observed: &mut Observed,
) -> Result<()> {
    let odd = || Error::asked("the rows of an experiment have another form", "report this as a bug");
    let places = arrow::compute::cast(batch.column(0), &DataType::Utf8)
        .map_err(|e| Error::asked(e.to_string(), ""))?;
    let places = places.as_string_opt::<i32>().ok_or_else(odd)?;
    let mut numbers = Vec::with_capacity(batch.num_columns());
    for column in batch.columns().iter().skip(1) {
        numbers.push(column.as_primitive_opt::<Float64Type>().ok_or_else(odd)?);
    }
    for k in 0..batch.num_rows() {
        let Some((_, arm)) = places.value(k).split_once('/').filter(|_| places.is_valid(k)) else { continue };
        let row: Vec<f64> = numbers.iter().map(|n| n.value(k)).collect();
        let &[
            arms,
            views,
            clicks,
            carts,
            purchases,
            stars,
            ratings,
            clicks_before,
            carts_before,
            purchases_before,
            revenue,
            orders,
            revenue_before,
            orders_before,
            sold,
            sold_before,
            on_hand,
        ] = row.as_slice()
        else {
            return Err(odd());
        };
        if arms > 1.0 {
            observed.crossed += 1;
            continue;
        }
        // An arm that a later revision no longer has.
        if !definition.arms.iter().any(|a| a.name == arm) {
            continue;
        }
        let did = |count: f64| f64::from(count > 0.0);
        let units = definition.metrics.iter().filter_map(|m| {
            let unit = match m.name.as_str() {
                "conversion" => {
                    Unit::value(did(purchases + orders)).with_before(did(purchases_before + orders_before))
                }
                "cart_rate" => Unit::value(did(carts)).with_before(did(carts_before)),
                "click_through" => Unit::ratio(clicks, views).with_before(clicks_before),
                "orders" => Unit::value(orders).with_before(orders_before),
                "revenue" => Unit::value(revenue).with_before(revenue_before),
                "average_order_value" => Unit::ratio(revenue, orders).with_before(revenue_before),
                "rating" => Unit::ratio(stars, ratings),
                // A product whose stock nobody counted has no turnover.
                "inventory_turnover" if on_hand > 0.0 => Unit::ratio(sold, on_hand).with_before(sold_before),
                "inventory_turnover" => Unit::ratio(0.0, 0.0),
                _ => return None,
            };
            Some((m.name.as_str(), unit))
        });
        let units: Vec<(&str, Unit)> = units.collect();
        observed.push(definition, arm, &units)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};
    use std::sync::Arc;
    use tradewind_core::tables::TableSpec;
    use tradewind_ops::experiment::{Definition, State};
    use tradewind_warehouse::{Begun, ImportSource};

    const DAY: i64 = 86_400_000;
    const START: i64 = 1_793_491_200_000;

    fn put(shop: &Shop, table: &str, columns: Vec<(&str, ArrayRef)>) {
        let source = ImportSource {
            name: table.into(),
            fingerprint: table.into(),
            preset: "test".into(),
            mapping: String::new(),
        };
        let Begun::New(mut import) = shop.begin_import(&source).unwrap() else { panic!("it is new") };
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        import.append(TableSpec::named(table).unwrap(), batch).unwrap();
        import.commit(serde_json::json!({})).unwrap();
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn products_that_are_dealt_to_arms_have_a_turnover() {
        let dir = tempfile::tempdir().unwrap();
        let shop = Shop::init(&dir.path().join("shop")).unwrap();
        let stamps = |days: &[i64]| -> ArrayRef {
            Arc::new(days.iter().map(|d| Some(START + d * DAY)).collect::<TimestampMillisecondArray>())
        };
        let numbers = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        put(
            &shop,
            "events",
            vec![
                ("ds", stamps(&[1, 1, 1])),
                ("event", texts(&[Some(EXPOSURE); 3])),
                ("user_id", texts(&[Some("tea"), Some("cup"), Some("pot")])),
                ("query", texts(&[Some("reorder/control"), Some("reorder/short"), Some("reorder/short")])),
            ],
        );
        put(
            &shop,
            "sales",
            vec![
                ("product_id", texts(&[Some("tea"), Some("tea"), Some("cup"), Some("pot")])),
                ("ds", stamps(&[-3, 2, 2, 3])),
                ("quantity", numbers(&[50.0, 6.0, 9.0, 4.0])),
            ],
        );
        // Two stores have tea; what was counted before does not count; nobody counted pots.
        put(
            &shop,
            "stock",
            vec![
                ("product_id", texts(&[Some("tea"), Some("tea"), Some("tea"), Some("tea"), Some("cup")])),
                ("ds", stamps(&[-1, 2, 2, 3, 2])),
                ("on_hand", numbers(&[900.0, 10.0, 20.0, 10.0, 3.0])),
                ("store_id", texts(&[Some("a"), Some("a"), Some("b"), Some("a"), None])),
            ],
        );
        let mut definition =
            Definition::ab("reorder", "control", "short", "conversion", MetricKind::Conversion);
        definition.metrics.push(metric("inventory_turnover", Purpose::Secondary).unwrap());
        let experiment = Experiment {
            definition,
            state: State::Running,
            revision: 2,
            looks: 0,
            decision: None,
            created_ms: START,
            started_ms: Some(START),
            stopped_ms: None,
        };
        let seen = observe(&Run::new(1), &shop, &experiment).unwrap();
        let mean = |arm: &str| seen.arms[arm].metrics["inventory_turnover"].mean();
        assert_eq!((mean("control"), mean("short")), (6.0 / 20.0, 9.0 / 3.0));
    }

    #[test]
    fn users_count_once_with_what_came_after_their_first_exposure() {
        let dir = tempfile::tempdir().unwrap();
        let shop = Shop::init(&dir.path().join("shop")).unwrap();
        // (days after the start, kind, user, query, value)
        type Row = (f64, &'static str, &'static str, Option<&'static str>, Option<f64>);
        let events: Vec<Row> = vec![
            (1.0, EXPOSURE, "ann", Some("form/control"), None),
            (1.5, EXPOSURE, "ann", Some("form/control"), None),
            (0.5, "view", "ann", None, None),
            (1.1, "view", "ann", None, None),
            (1.2, "click", "ann", None, None),
            (1.3, "rating", "ann", None, Some(4.0)),
            (-3.0, "purchase", "ann", None, None),
            (1.0, EXPOSURE, "bob", Some("form/short"), None),
            (1.4, "purchase", "bob", None, None),
            (9.0, "cart", "bob", None, None),
            (1.0, EXPOSURE, "cat", Some("form/short"), None),
            (2.0, EXPOSURE, "cat", Some("form/control"), None),
            (1.0, EXPOSURE, "dan", Some("form/short"), None),
            // Another experiment whose name begins alike, and one before the start.
            (1.0, EXPOSURE, "eve", Some("form2/short"), None),
            (-1.0, EXPOSURE, "fay", Some("form/short"), None),
        ];
        let ds: TimestampMillisecondArray =
            events.iter().map(|e| Some(START + (e.0 * DAY as f64) as i64)).collect();
        let values: Float64Array = events.iter().map(|e| e.4).collect();
        put(
            &shop,
            "events",
            vec![
                ("ds", Arc::new(ds) as ArrayRef),
                ("event", texts(&events.iter().map(|e| Some(e.1)).collect::<Vec<_>>())),
                ("user_id", texts(&events.iter().map(|e| Some(e.2)).collect::<Vec<_>>())),
                ("query", texts(&events.iter().map(|e| e.3).collect::<Vec<_>>())),
                ("value", Arc::new(values)),
            ],
        );
        // Sales name their day alone: that of ann's exposure counts, the one before adjusts.
        let days = [START + DAY, START, START + 2 * DAY];
        let stamps: TimestampMillisecondArray = days.iter().map(|d| Some(*d)).collect();
        put(
            &shop,
            "sales",
            vec![
                ("product_id", texts(&[Some("tea"); 3])),
                ("ds", Arc::new(stamps)),
                ("revenue", Arc::new(Float64Array::from(vec![10.0, 7.0, 5.0]))),
                ("order_id", texts(&[Some("o1"), Some("o0"), Some("o2")])),
                ("customer_id", texts(&[Some("ann"), Some("ann"), Some("dan")])),
            ],
        );
        let mut definition = Definition::ab("form", "control", "short", "conversion", MetricKind::Conversion);
        for name in ["cart_rate", "click_through", "orders", "revenue", "average_order_value", "rating"] {
            definition.metrics.push(metric(name, Purpose::Secondary).unwrap());
        }
        let mut experiment = Experiment {
            definition,
            state: State::Running,
            revision: 2,
            looks: 0,
            decision: None,
            created_ms: START,
            started_ms: Some(START),
            stopped_ms: None,
        };
        let seen = observe(&Run::new(1), &shop, &experiment).unwrap();
        assert_eq!((seen.crossed, seen.arms["control"].units, seen.arms["short"].units), (1, 1, 2));
        let mean = |arm: &str, metric: &str| seen.arms[arm].metrics[metric].mean();
        assert_eq!(mean("control", "conversion"), 1.0);
        assert_eq!(mean("control", "revenue"), 10.0);
        assert_eq!(mean("short", "conversion"), 1.0, "bob by an event, dan by a sale");
        assert_eq!(mean("short", "revenue"), 2.5);
        assert_eq!(mean("short", "cart_rate"), 0.5);
        // Stopped before the cart, which counts no longer.
        experiment.stopped_ms = Some(START + 5 * DAY);
        let seen = observe(&Run::new(1), &shop, &experiment).unwrap();
        assert_eq!(seen.arms["short"].metrics["cart_rate"].mean(), 0.0);
        assert!(metric("happiness", Purpose::Primary).is_err());
    }
}
