//! The simulated shop as Arrow batches of the canonical tables, and the truth.

use super::catalogue::{CATEGORIES, ITEMS, Product};
use super::demand::stage;
use super::floor::{ProductRun, Status, poisson, search_interest};
use super::plan::{PLANNED_DAYS, Plan, stream};
use super::{DemoSettings, DemoShop};
use arrow::array::{
    ArrayRef, Float64Array, Float64Builder, StringArray, StringBuilder, TimestampMillisecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use chrono::{Days, NaiveDate};
use rand::RngExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tradewind_core::tables::TableSpec;
use tradewind_core::{Error, Result, Run, freq};

const CURRENCY: &str = "CNY";
const CHANNELS: [&str; 10] =
    ["tmall", "tmall", "tmall", "tmall", "tmall", "jd", "jd", "own site", "own site", "douyin"];
const REGIONS: [&str; 8] = ["广东", "浙江", "江苏", "上海", "北京", "四川", "山东", "湖北"];
const SELLERS: [&str; 3] = ["own", "Haifeng 海风", "Baisha 白沙"];

fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(values))
}

fn numbers(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn texts<S: AsRef<str>>(values: impl IntoIterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn same(value: &str, n: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec![value; n]))
}

/// Midnight of a day in milliseconds.
fn midnight(date: NaiveDate) -> i64 {
    freq::stamp(date) * 1000
}

fn cents(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// A batch of a canonical table; columns that are not given are empty.
fn canonical(table: &str, n: usize, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fault = |what: String| Error::Invalid(format!("the demo's table `{table}`: {what}"));
    let spec = TableSpec::named(table).ok_or_else(|| fault("no such table".into()))?;
    if let Some((name, _)) = columns.iter().find(|(name, _)| spec.column(name).is_none()) {
        return Err(fault(format!("no column `{name}`")));
    }
    let arrays = spec
        .columns
        .iter()
        .map(|c| {
            let given = columns.iter().find(|(name, _)| *name == c.name).map(|(_, a)| a.clone());
            given.unwrap_or_else(|| new_null_array(&c.kind.arrow(), n))
        })
        .collect();
    RecordBatch::try_new(spec.schema(), arrays).map_err(|e| fault(e.to_string()))
}

/// All tables of the shop.
pub(super) fn shop(
    run: &Run,
    settings: &DemoSettings,
    plan: &Plan,
    products: &[Product],
    simulated: &[ProductRun],
) -> Result<DemoShop> {
    let ((sales, events), rest) = run.install(|| {
        rayon::join(
            || {
                rayon::join(
                    || sales(run, plan, products, simulated),
                    || events(run, plan, products, simulated),
                )
            },
            || {
                rayon::join(
                    || truth(settings, plan, products, simulated),
                    || (stock(plan, products, simulated), prices(settings, plan, products, simulated)),
                )
            },
        )
    });
    run.check()?;
    let (sales, duplicate_rows) = sales?;
    let (truth, (stock, prices)) = rest;
    Ok(DemoShop {
        sales,
        products: catalogue(plan, products)?,
        events: events?,
        prices: prices?,
        stock: stock?,
        promotions: promotions(settings, plan, products)?,
        market: market(settings, plan)?,
        calendar: calendar(settings, plan)?,
        truth: truth?,
        duplicate_rows,
    })
}

/// Positions of lines (product, line) by day.
fn by_day(days: usize, simulated: &[ProductRun]) -> Vec<Vec<(usize, usize)>> {
    let mut out = vec![Vec::new(); days];
    for (p, one) in simulated.iter().enumerate() {
        for (l, line) in one.lines.iter().enumerate() {
            out[line.day].push((p, l));
        }
    }
    out
}

fn sales(
    run: &Run,
    plan: &Plan,
    products: &[Product],
    simulated: &[ProductRun],
) -> Result<(RecordBatch, Vec<usize>)> {
    let days = simulated.first().map_or(0, |s| s.sold.len());
    let n: usize = simulated.iter().map(|s| s.lines.len()).sum();
    let mut dirt = run.rng(stream::DIRT);
    let n_duplicates = n / 4000 + usize::from(n > 0);
    let repeated: HashSet<usize> = (0..n_duplicates).map(|_| dirt.random_range(0..n)).collect();
    let mut duplicate_rows = Vec::with_capacity(repeated.len());

    let mut order_of: Vec<Vec<u32>> = simulated.iter().map(|s| vec![0; s.lines.len()]).collect();
    let mut next_order = 100_000_000u32;
    let capacity = n + repeated.len();
    let mut product_id = StringBuilder::with_capacity(capacity, capacity * 6);
    let mut order_id = StringBuilder::with_capacity(capacity, capacity * 9);
    let mut customer_id = StringBuilder::with_capacity(capacity, capacity * 7);
    let (mut status, mut store, mut region) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ds, mut quantity, mut unit_price) = (Vec::new(), Vec::new(), Vec::new());
    let (mut revenue, mut discount) = (Vec::new(), Vec::new());
    let mut row = 0;
    for (day, positions) in by_day(days, simulated).into_iter().enumerate() {
        let start = midnight(plan.dates[day]);
        // What a customer buys on one day is one order.
        let mut basket: HashMap<u32, (u32, u32)> = HashMap::new();
        for (p, l) in positions {
            let one = &simulated[p];
            let line = &one.lines[l];
            let (bought, mut minute) =
                (if let Status::Returned { of } = line.status { of } else { l }, line.minute);
            let order = match (line.status, line.customer) {
                (Status::Returned { of }, _) => order_of[p][of],
                (_, Some(c)) => {
                    let (order, first_minute) = *basket.entry(c).or_insert_with(|| {
                        next_order += 1;
                        (next_order, line.minute)
                    });
                    minute = first_minute;
                    order
                }
                (_, None) => {
                    next_order += 1;
                    next_order
                }
            };
            order_of[p][l] = order;
            let bought_day = one.lines[bought].day;
            let (paid, list) = (one.demand.paid[bought_day], one.demand.list[bought_day]);
            let units = f64::from(line.quantity);
            for copy in 0..1 + usize::from(repeated.contains(&row)) {
                if copy > 0 {
                    duplicate_rows.push(ds.len());
                }
                product_id.append_value(&products[p].id);
                order_id.append_value(order.to_string());
                customer_id.append_option(line.customer.map(|c| format!("C{c:06}")));
                status.push(match line.status {
                    Status::Sold => "sold",
                    Status::Cancelled => "cancelled",
                    Status::Returned { .. } => "returned",
                });
                store.push(CHANNELS[line.channel]);
                region.push(REGIONS[line.customer.map_or(l, |c| c as usize) % REGIONS.len()]);
                ds.push(start + i64::from(minute) * 60_000);
                quantity.push(units);
                unit_price.push(paid);
                revenue.push(cents(paid * units));
                discount.push(cents((list - paid).max(0.0) * units.max(0.0)));
            }
            row += 1;
        }
    }
    let n = ds.len();
    let batch = canonical(
        "sales",
        n,
        vec![
            ("product_id", Arc::new(product_id.finish())),
            ("ds", times(ds)),
            ("quantity", numbers(quantity)),
            ("unit_price", numbers(unit_price)),
            ("revenue", numbers(revenue)),
            ("discount", numbers(discount)),
            ("currency", same(CURRENCY, n)),
            ("unit", same("piece", n)),
            ("order_id", Arc::new(order_id.finish())),
            ("status", Arc::new(StringArray::from(status))),
            ("customer_id", Arc::new(customer_id.finish())),
            ("store_id", Arc::new(StringArray::from(store))),
            ("region", Arc::new(StringArray::from(region))),
        ],
    )?;
    Ok((batch, duplicate_rows))
}

fn catalogue(plan: &Plan, products: &[Product]) -> Result<RecordBatch> {
    let n = products.len();
    let column = |f: &dyn Fn(&Product) -> String| texts(products.iter().map(|p| Some(f(p))));
    let launched = |p: &Product| {
        let days = Days::new(p.launch.unsigned_abs());
        let first = plan.dates[0];
        let date = if p.launch < 0 { first.checked_sub_days(days) } else { first.checked_add_days(days) };
        midnight(date.unwrap_or(first))
    };
    canonical(
        "products",
        n,
        vec![
            ("product_id", column(&|p| p.id.clone())),
            ("title", column(&|p| p.title.clone())),
            ("category", column(&|p| CATEGORIES[p.item.category].name_zh.into())),
            ("subcategory", column(&|p| p.item.name_zh.into())),
            ("brand", column(&|p| p.brand.into())),
            ("price", numbers(products.iter().map(|p| p.list_price).collect())),
            ("cost", numbers(products.iter().map(|p| p.cost).collect())),
            ("currency", same(CURRENCY, n)),
            ("unit", same("piece", n)),
            ("launched", times(products.iter().map(launched).collect())),
            (
                "attributes",
                column(&|p| {
                    serde_json::json!({
                        "category_en": CATEGORIES[p.item.category].name_en,
                        "subcategory_en": p.item.name_en,
                        "style": p.style_en,
                    })
                    .to_string()
                }),
            ),
        ],
    )
}

/// One event row: milliseconds, what, product, customer, query, how many alike.
struct EventColumns {
    ds: Vec<i64>,
    event: Vec<&'static str>,
    event_id: StringBuilder,
    user_id: StringBuilder,
    session_id: StringBuilder,
    product_id: StringBuilder,
    query: StringBuilder,
    value: Float64Builder,
    n: Vec<f64>,
}

fn events(run: &Run, plan: &Plan, products: &[Product], simulated: &[ProductRun]) -> Result<RecordBatch> {
    let days = simulated.first().map_or(0, |s| s.sold.len());
    let mut rng = run.rng(stream::SEARCHES);
    let mut wanted = vec![vec![0.0; days]; ITEMS.len()];
    for (product, one) in products.iter().zip(simulated) {
        for (t, sum) in wanted[product.item_idx].iter_mut().enumerate() {
            *sum += search_interest(&one.interest, t) / product.conversion * 0.15;
        }
    }
    let mut carts: Vec<Vec<(usize, usize)>> = vec![Vec::new(); days];
    for (p, one) in simulated.iter().enumerate() {
        for (l, line) in one.lines.iter().enumerate() {
            if let Some((before, _)) = line.cart {
                carts[line.day.saturating_sub(before)].push((p, l));
            }
        }
    }
    let mut c = EventColumns {
        ds: Vec::new(),
        event: Vec::new(),
        event_id: StringBuilder::new(),
        user_id: StringBuilder::new(),
        session_id: StringBuilder::new(),
        product_id: StringBuilder::new(),
        query: StringBuilder::new(),
        value: Float64Builder::new(),
        n: Vec::new(),
    };
    for day in 0..days {
        let start = midnight(plan.dates[day]);
        let mut total = |event: &'static str, product: Option<&str>, query: Option<&str>, n: u32| {
            if n > 0 {
                c.ds.push(start);
                c.event.push(event);
                c.event_id.append_null();
                c.user_id.append_null();
                c.session_id.append_null();
                c.product_id.append_option(product);
                c.query.append_option(query);
                c.value.append_null();
                c.n.push(f64::from(n));
            }
        };
        for (product, one) in products.iter().zip(simulated) {
            total("view", Some(&product.id), None, one.views[day]);
        }
        for (item, wanted) in ITEMS.iter().zip(&wanted) {
            total("search", None, Some(item.name_zh), poisson(wanted[day] * 0.85, &mut rng));
            total("search", None, Some(item.name_en), poisson(wanted[day] * 0.15, &mut rng));
        }
        for (p, l) in &carts[day] {
            let line = &simulated[*p].lines[*l];
            let Some((before, minutes)) = line.cart else { continue };
            let at = if before == 0 { line.minute.saturating_sub(minutes) } else { line.minute };
            c.ds.push(start + i64::from(at) * 60_000);
            c.event.push("cart");
            c.event_id.append_value(format!("cart-{p}-{l}"));
            c.user_id.append_option(line.customer.map(|u| format!("C{u:06}")));
            c.session_id.append_option(line.customer.map(|u| format!("{day}-{u}")));
            c.product_id.append_value(&products[*p].id);
            c.query.append_null();
            c.value.append_value(f64::from(line.quantity));
            c.n.push(1.0);
        }
    }
    canonical(
        "events",
        c.ds.len(),
        vec![
            ("ds", times(c.ds)),
            ("event", Arc::new(StringArray::from(c.event))),
            ("event_id", Arc::new(c.event_id.finish())),
            ("user_id", Arc::new(c.user_id.finish())),
            ("session_id", Arc::new(c.session_id.finish())),
            ("product_id", Arc::new(c.product_id.finish())),
            ("query", Arc::new(c.query.finish())),
            ("value", Arc::new(c.value.finish())),
            ("n", numbers(c.n)),
        ],
    )
}

fn prices(
    settings: &DemoSettings,
    plan: &Plan,
    products: &[Product],
    simulated: &[ProductRun],
) -> Result<RecordBatch> {
    let rows: Vec<_> = products
        .iter()
        .zip(simulated)
        .flat_map(|(p, s)| s.demand.changes.iter().map(move |c| (p, c)))
        .filter(|(_, c)| c.day < settings.days)
        .collect();
    let n = rows.len();
    canonical(
        "prices",
        n,
        vec![
            ("product_id", texts(rows.iter().map(|(p, _)| Some(&p.id)))),
            ("ds", times(rows.iter().map(|(_, c)| midnight(plan.dates[c.day])).collect())),
            ("price", numbers(rows.iter().map(|(_, c)| c.price).collect())),
            ("seller", texts(rows.iter().map(|(_, c)| Some(SELLERS[c.seller])))),
            ("list_price", numbers(rows.iter().map(|(_, c)| c.list_price).collect())),
            ("currency", same(CURRENCY, n)),
        ],
    )
}

fn stock(plan: &Plan, products: &[Product], simulated: &[ProductRun]) -> Result<RecordBatch> {
    let mut product_id = StringBuilder::new();
    let (mut ds, mut on_hand) = (Vec::new(), Vec::new());
    for (product, one) in products.iter().zip(simulated) {
        for (t, hand) in one.on_hand.iter().enumerate() {
            if let Some(hand) = hand {
                product_id.append_value(&product.id);
                ds.push(midnight(plan.dates[t]));
                on_hand.push(f64::from(*hand));
            }
        }
    }
    let columns = vec![
        ("product_id", Arc::new(product_id.finish()) as ArrayRef),
        ("ds", times(ds)),
        ("on_hand", numbers(on_hand)),
    ];
    let n = columns.first().map_or(0, |(_, a)| a.len());
    canonical("stock", n, columns)
}

/// What has begun or is planned at the end of history.
fn promotions(settings: &DemoSettings, plan: &Plan, products: &[Product]) -> Result<RecordBatch> {
    let known: Vec<_> = plan.promotions.iter().filter(|p| p.first < settings.days + PLANNED_DAYS).collect();
    let at =
        |t: usize| midnight(plan.dates[0].checked_add_days(Days::new(t as u64)).unwrap_or(plan.dates[0]));
    canonical(
        "promotions",
        known.len(),
        vec![
            ("ds", times(known.iter().map(|p| at(p.first)).collect())),
            ("ends", times(known.iter().map(|p| at(p.last)).collect())),
            ("promotion_id", texts(known.iter().map(|p| Some(&p.id)))),
            ("product_id", texts(known.iter().map(|p| p.product.map(|i| &products[i].id)))),
            ("category", texts(known.iter().map(|p| p.category.map(|c| CATEGORIES[c].name_zh)))),
            ("kind", texts(known.iter().map(|p| Some(p.kind)))),
            ("discount", numbers(known.iter().map(|p| cents(p.discount)).collect())),
        ],
    )
}

fn market(settings: &DemoSettings, plan: &Plan) -> Result<RecordBatch> {
    let known: Vec<_> = plan.market.iter().filter(|m| m.known <= settings.end_date).collect();
    canonical(
        "market",
        known.len(),
        vec![
            ("series", texts(known.iter().map(|m| Some(m.series)))),
            ("ds", times(known.iter().map(|m| midnight(m.known)).collect())),
            ("value", numbers(known.iter().map(|m| m.value).collect())),
            ("unit", texts(known.iter().map(|m| Some(m.unit)))),
            ("region", same("CN", known.len())),
        ],
    )
}

fn calendar(settings: &DemoSettings, plan: &Plan) -> Result<RecordBatch> {
    // Own events are planned as far ahead as the truth is told.
    let last = plan.dates[(settings.days + settings.future_days).min(plan.dates.len()) - 1];
    let own: Vec<_> = plan.own_events.iter().filter(|e| e.first <= last).collect();
    canonical(
        "calendar",
        own.len(),
        vec![
            ("ds", times(own.iter().map(|e| midnight(e.first)).collect())),
            ("name", texts(own.iter().map(|e| Some(&e.name)))),
            ("ends", times(own.iter().map(|e| midnight(e.last)).collect())),
            (
                "kind",
                texts(own.iter().map(|e| {
                    Some(if e.kind == tradewind_core::calendar::Kind::Closed { "closed" } else { "event" })
                })),
            ),
        ],
    )
}

fn truth(
    settings: &DemoSettings,
    plan: &Plan,
    products: &[Product],
    simulated: &[ProductRun],
) -> Result<RecordBatch> {
    const EFFECTS: [&str; 9] =
        ["level", "life", "weekly", "yearly", "festival", "promotion", "price", "common", "trend"];
    let mut product_id = StringBuilder::new();
    let (mut ds, mut expected, mut stages) = (Vec::new(), Vec::new(), Vec::new());
    let (mut wanted, mut future) = (Vec::new(), Vec::new());
    let mut effects: [Vec<f64>; 9] = Default::default();
    let (mut sold, mut lost) = (Float64Builder::new(), Float64Builder::new());
    for (product, one) in products.iter().zip(simulated) {
        let begin = usize::try_from(product.launch.max(0)).unwrap_or(0);
        for t in begin..settings.days + settings.future_days {
            let e = &one.demand.effects[t];
            product_id.append_value(&product.id);
            ds.push(midnight(plan.dates[t]));
            expected.push(e.expected());
            let values =
                [e.level, e.life, e.weekly, e.yearly, e.festival, e.promotion, e.price, e.common, e.trend];
            for (column, value) in effects.iter_mut().zip(values) {
                column.push(value);
            }
            stages.push(stage(product, t as f64));
            wanted.push(f64::from(one.wanted[t]));
            sold.append_option(one.sold.get(t).map(|s| f64::from(*s)));
            lost.append_option(one.sold.get(t).map(|s| f64::from(one.wanted[t] - s)));
            future.push(f64::from(t >= settings.days));
        }
    }
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("product_id", Arc::new(product_id.finish())),
        ("ds", times(ds)),
        ("expected", numbers(expected)),
    ];
    columns.extend(EFFECTS.into_iter().zip(effects.map(numbers)));
    columns.extend([
        ("stage", Arc::new(StringArray::from(stages)) as ArrayRef),
        ("demand", numbers(wanted)),
        ("sold", Arc::new(sold.finish())),
        ("lost", Arc::new(lost.finish())),
        ("future", numbers(future)),
    ]);
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, a)| {
            let kind = if *name == "ds" {
                DataType::Timestamp(TimeUnit::Millisecond, None)
            } else {
                a.data_type().clone()
            };
            Field::new(*name, kind, matches!(*name, "sold" | "lost"))
        })
        .collect();
    let arrays = columns.into_iter().map(|(_, a)| a).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::Invalid(format!("the demo's truth: {e}")))
}
