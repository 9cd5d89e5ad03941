//! The laws of the simulated shop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use tradewind_core::tables::TABLES;

const DAY_MS: i64 = 86_400_000;

fn settings() -> DemoSettings {
    DemoSettings { n_products: 120, days: 420, ..DemoSettings::default() }
}

/// One shop for all tests that only read it.
fn shop() -> &'static DemoShop {
    static SHOP: OnceLock<DemoShop> = OnceLock::new();
    SHOP.get_or_init(|| simulate(&Run::new(11), &settings()).expect("a shop"))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Vec<Option<&'a str>> {
    batch.column_by_name(name).expect("a column").as_string::<i32>().iter().collect()
}

fn number(batch: &RecordBatch, name: &str) -> Vec<f64> {
    let column = batch.column_by_name(name).expect("a column").as_primitive::<Float64Type>();
    column.iter().map(|v| v.unwrap_or(f64::NAN)).collect()
}

/// Days since 1970.
fn day(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name("ds").expect("a column").as_primitive::<TimestampMillisecondType>();
    column.values().iter().map(|v| v.div_euclid(DAY_MS)).collect()
}

fn epoch_day(text: &str) -> i64 {
    let date: NaiveDate = text.parse().expect("a date");
    tradewind_core::freq::stamp(date) / 86_400
}

#[test]
fn same_seed_same_shop_for_any_threads() {
    let settings = DemoSettings { n_products: 30, days: 100, ..settings() };
    let one = simulate(&Run::new(3).with_threads(1), &settings).expect("a shop");
    let two = simulate(&Run::new(3).with_threads(2), &settings).expect("a shop");
    let many = simulate(&Run::new(3), &settings).expect("a shop");
    assert!(one == two && two == many);
    let other = simulate(&Run::new(4), &settings).expect("a shop");
    assert_ne!(one.sales, other.sales);
}

#[test]
fn tables_are_canonical() {
    let shop = shop();
    for (name, batch) in shop.tables() {
        let spec = TABLES.iter().find(|t| t.name == name).expect("a canonical table");
        assert_eq!(batch.schema(), spec.schema(), "{name}");
        assert!(batch.num_rows() > 0, "{name} is empty");
        if spec.key.is_empty() {
            continue;
        }
        // No two rows have one key.
        let keys: Vec<Vec<String>> = (0..batch.num_rows())
            .map(|i| {
                let cell = |c: &str| {
                    let column = batch.column_by_name(c).expect("a key column");
                    arrow::util::display::array_value_to_string(column, i).expect("a text")
                };
                spec.key.iter().map(|c| cell(c)).collect()
            })
            .collect();
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{name} repeats a key");
    }
    let titles = text(&shop.products, "title");
    assert!(titles.iter().flatten().any(|t| t.chars().any(|c| c >= '\u{4e00}')));
    assert!(titles.iter().flatten().any(|t| t.is_ascii() || t.contains("model")));
}

#[test]
fn sums_agree() {
    let shop = shop();
    let truth = shop.truth_batch();
    let mut sold: HashMap<(String, i64), f64> = HashMap::new();
    let (ids, days) = (text(truth, "product_id"), day(truth));
    let (demand, kept, lost) = (number(truth, "demand"), number(truth, "sold"), number(truth, "lost"));
    for i in 0..ids.len() {
        if kept[i].is_nan() {
            assert!(lost[i].is_nan() && number_at(truth, "future", i) == 1.0);
            continue;
        }
        assert_eq!(kept[i] + lost[i], demand[i]);
        if kept[i] > 0.0 {
            sold.insert((ids[i].expect("an id").into(), days[i]), kept[i]);
        }
    }
    let sales = &shop.sales;
    let (ids, days, quantity) = (text(sales, "product_id"), day(sales), number(sales, "quantity"));
    let (status, order, revenue) = (text(sales, "status"), text(sales, "order_id"), number(sales, "revenue"));
    let price = number(sales, "unit_price");
    let mut lines: HashMap<(String, i64), f64> = HashMap::new();
    for i in 0..ids.len() {
        assert!((revenue[i] - price[i] * quantity[i]).abs() < 0.006);
        assert_eq!(status[i] == Some("returned"), quantity[i] < 0.0);
        assert!(order[i].is_some());
        if shop.duplicate_rows.contains(&i) {
            assert_eq!(sales.slice(i, 1), sales.slice(i - 1, 1));
        } else if status[i] != Some("returned") {
            *lines.entry((ids[i].expect("an id").into(), days[i])).or_default() += quantity[i];
        }
    }
    assert_eq!(lines, sold);
    assert!(!shop.duplicate_rows.is_empty());
    assert!(status.contains(&Some("cancelled")) && status.contains(&Some("returned")));
}

fn number_at(batch: &RecordBatch, name: &str, i: usize) -> f64 {
    batch.column_by_name(name).expect("a column").as_primitive::<Float64Type>().value(i)
}

#[test]
fn expected_demand_is_the_product_of_its_effects_and_the_mean_of_what_is_wanted() {
    let truth = shop().truth_batch();
    let expected = number(truth, "expected");
    let mut product = vec![1.0; expected.len()];
    for name in ["level", "life", "weekly", "yearly", "festival", "promotion", "price", "common", "trend"] {
        for (p, e) in product.iter_mut().zip(number(truth, name)) {
            *p *= e;
        }
    }
    assert!(product.iter().zip(&expected).all(|(p, e)| (p - e).abs() <= 1e-9 * e.max(1e-9)));
    let (wanted, mean): (f64, f64) = (number(truth, "demand").iter().sum(), expected.iter().sum());
    assert!((wanted / mean - 1.0).abs() < 0.03, "wanted {wanted}, expected {mean}");
}

#[test]
fn noise_is_wider_than_poisson() {
    let truth = shop().truth_batch();
    let (expected, demand) = (number(truth, "expected"), number(truth, "demand"));
    let days = || expected.iter().zip(&demand).filter(|(e, _)| (2.0..10.0).contains(*e));
    let dispersion = days().map(|(e, d)| (d - e).powi(2) / e).sum::<f64>() / days().count() as f64;
    assert!(dispersion > 1.4, "variance over mean is {dispersion}");
}

#[test]
fn lower_prices_sell_more() {
    // Demand over what it would be without its price effect, on cheap and dear days of the same products: only the
    // realised demand is looked at, so an effect of the wrong sign or size would show.
    let truth = shop().truth_batch();
    let (expected, demand, price) =
        (number(truth, "expected"), number(truth, "demand"), number(truth, "price"));
    let ratio = |low: f64, high: f64| {
        let mut sums = (0.0, 0.0);
        for i in 0..expected.len() {
            if price[i] >= low && price[i] < high {
                sums.0 += demand[i];
                sums.1 += expected[i] / price[i];
            }
        }
        sums.0 / sums.1
    };
    let (dear, usual, cheap) = (ratio(0.0, 0.95), ratio(0.95, 1.05), ratio(1.3, 2.0));
    assert!(dear < 0.97 && (usual - 1.0).abs() < 0.05 && cheap > 1.25, "{dear} {usual} {cheap}");
    // And prices paid below the list are the ones with a discount in the promotions table.
    let discount = number(&shop().sales, "discount");
    assert!(discount.iter().all(|d| *d >= 0.0) && discount.iter().any(|d| *d > 0.0));
}

#[test]
fn own_price_elasticity_is_found_again() {
    // ln of demand over all other effects, regressed on ln price, over the days of products that sell much.
    let shop = shop();
    let truth = shop.truth_batch();
    let (ids, days) = (text(truth, "product_id"), day(truth));
    let (expected, effect) = (number(truth, "expected"), number(truth, "price"));
    let mut paid: HashMap<&str, BTreeMap<i64, f64>> = HashMap::new();
    let prices = &shop.prices;
    let (p_ids, p_days, p_price) = (text(prices, "product_id"), day(prices), number(prices, "price"));
    for (i, seller) in text(prices, "seller").into_iter().enumerate() {
        if seller == Some("own") {
            paid.entry(p_ids[i].expect("an id")).or_default().insert(p_days[i], p_price[i]);
        }
    }
    let mut by_product: HashMap<&str, Vec<(f64, f64)>> = HashMap::new();
    for i in 0..ids.len() {
        let id = ids[i].expect("an id");
        if let Some((_, price)) = paid.get(id).and_then(|c| c.range(..=days[i]).next_back())
            && expected[i] > 0.0
        {
            by_product.entry(id).or_default().push((price.ln(), effect[i].ln()));
        }
    }
    let (mut right, mut all) = (0, 0);
    for points in by_product.values() {
        let n = points.len() as f64;
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
        let (mx, my) = (mean(&|p| p.0), mean(&|p| p.1));
        let (sxy, sxx) = (mean(&|p| (p.0 - mx) * (p.1 - my)), mean(&|p| (p.0 - mx).powi(2)));
        if sxx > 1e-4 {
            all += 1;
            right += usize::from((-4.6..-0.5).contains(&(sxy / sxx)));
        }
    }
    assert!(all > 80 && right * 100 >= all * 95, "{right} of {all} slopes lie where they should");
}

#[test]
fn stock_outs_lose_sales() {
    let shop = shop();
    let (ids, days, hand) =
        (text(&shop.stock, "product_id"), day(&shop.stock), number(&shop.stock, "on_hand"));
    let on_hand: HashMap<(&str, i64), f64> =
        (0..ids.len()).map(|i| ((ids[i].expect("an id"), days[i]), hand[i])).collect();
    let truth = shop.truth_batch();
    let (ids, days, lost) = (text(truth, "product_id"), day(truth), number(truth, "lost"));
    let mut total = 0.0;
    for i in 0..ids.len() {
        if lost[i] > 0.0 {
            assert_eq!(
                on_hand[&(ids[i].expect("an id"), days[i])],
                0.0,
                "sales are lost only when nothing is left"
            );
            total += lost[i];
        }
    }
    let demand: f64 = number(truth, "demand").iter().sum();
    assert!(total > 0.005 * demand && total < 0.15 * demand, "{total} of {demand} lost");
}

#[test]
fn festivals_show_in_the_sales() {
    let shop = shop();
    let (days, quantity) = (day(&shop.sales), number(&shop.sales, "quantity"));
    let mut units: HashMap<i64, f64> = HashMap::new();
    for (d, q) in days.iter().zip(&quantity) {
        *units.entry(*d).or_default() += q.max(0.0);
    }
    let mean = |from: &str, to: &str| {
        let (a, b) = (epoch_day(from), epoch_day(to));
        (a..=b).map(|d| units.get(&d).copied().unwrap_or(0.0)).sum::<f64>() / (b - a + 1) as f64
    };
    let usual = mean("2025-10-01", "2025-10-19");
    assert!(mean("2025-11-11", "2025-11-11") > 2.0 * usual);
    assert!(mean("2026-02-16", "2026-02-21") < 0.7 * usual);
    assert_eq!(mean("2026-07-01", "2026-07-02"), 0.0, "closed for stock-taking");
}

#[test]
fn interest_runs_ahead_of_sales() {
    // In the last days before Double 11 people look and wait: more views for each unit sold than after it.
    let shop = shop();
    let events = &shop.events;
    let (kind, days, n) = (text(events, "event"), day(events), number(events, "n"));
    let mut views: HashMap<i64, f64> = HashMap::new();
    let mut kinds: HashMap<&str, f64> = HashMap::new();
    for i in 0..days.len() {
        *kinds.entry(kind[i].expect("an event")).or_default() += n[i];
        if kind[i] == Some("view") {
            *views.entry(days[i]).or_default() += n[i];
        }
    }
    let mut units: HashMap<i64, f64> = HashMap::new();
    for (d, q) in day(&shop.sales).into_iter().zip(number(&shop.sales, "quantity")) {
        *units.entry(d).or_default() += q.max(0.0);
    }
    let rate = |from: &str, to: &str| {
        let span = epoch_day(from)..=epoch_day(to);
        let sum =
            |m: &HashMap<i64, f64>| span.clone().map(|d| m.get(&d).copied().unwrap_or(0.0)).sum::<f64>();
        sum(&views) / sum(&units)
    };
    assert!(rate("2025-10-29", "2025-10-31") > 1.3 * rate("2025-11-11", "2025-11-13"));
    assert!(kinds["view"] > kinds["search"] && kinds["search"] > kinds["cart"]);
    let query = text(events, "query");
    assert!(
        query.iter().flatten().any(|q| *q == "防晒衣") && query.iter().flatten().any(|q| *q == "Down jacket")
    );
}

#[test]
fn lives_begin_and_end() {
    let shop = shop();
    let truth = shop.truth_batch();
    let mut stages: HashMap<&str, usize> = HashMap::new();
    for s in text(truth, "stage").into_iter().flatten() {
        *stages.entry(s).or_default() += 1;
    }
    for s in ["new", "rising", "peak", "falling", "mature", "seasonal", "dormant"] {
        assert!(stages.contains_key(s), "no day is {s}: {stages:?}");
    }
    // Nothing is sold, counted or told before the launch.
    let launched = shop.products.column_by_name("launched").expect("a column");
    let launched = launched.as_primitive::<TimestampMillisecondType>();
    let launch: HashMap<&str, i64> = text(&shop.products, "product_id")
        .into_iter()
        .flatten()
        .zip(launched.values().iter().map(|v| v.div_euclid(DAY_MS)))
        .collect();
    for batch in [&shop.sales, &shop.stock, truth] {
        let (ids, days) = (text(batch, "product_id"), day(batch));
        assert!(ids.iter().zip(&days).all(|(id, d)| launch[id.expect("an id")] <= *d));
    }
}

#[test]
fn nothing_but_plans_lies_after_the_end() {
    let shop = shop();
    let end = epoch_day("2026-10-31");
    for (name, batch) in shop.tables() {
        if matches!(name, "products" | "promotions" | "calendar") {
            continue;
        }
        assert!(day(batch).iter().all(|d| *d <= end), "{name} looks into the future");
    }
    assert!(day(&shop.promotions).iter().any(|d| *d > end), "promotions are planned ahead");
    let future = number(shop.truth_batch(), "future");
    for (d, f) in day(shop.truth_batch()).iter().zip(&future) {
        assert_eq!(*d > end, *f == 1.0);
    }
}

#[test]
fn odd_sizes_work_and_wrong_ones_are_told_together() {
    let tiny = DemoSettings { n_products: 1, days: 14, future_days: 0, ..DemoSettings::default() };
    for seed in 0..20 {
        let shop = simulate(&Run::new(seed), &tiny).expect("a tiny shop");
        assert_eq!(shop.products.num_rows(), 1);
    }
    let wrong = DemoSettings { n_products: 0, days: 1, future_days: 9999, ..DemoSettings::default() };
    let text = simulate(&Run::new(0), &wrong).expect_err("a fault").to_string();
    for name in ["n_products", "days", "future_days"] {
        assert!(text.contains(name), "{text}");
    }
    let run = Run::new(0);
    run.cancel();
    assert!(simulate(&run, &tiny).is_err());
}

#[test]
fn a_shop_that_is_behind_becomes_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(3);
    let settings = DemoSettings { n_products: 12, days: 120, ..DemoSettings::default() };
    let counts = |shop: &tradewind_warehouse::Shop| -> Vec<String> {
        ["sales", "events", "prices", "stock", "market", "products", "promotions", "calendar"]
            .iter()
            .map(|table| {
                let batches = shop.sql(&format!("SELECT COUNT(*) AS n FROM {table}")).unwrap();
                arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap()
            })
            .collect()
    };
    let (whole, made) = make(&run, &dir.path().join("whole"), &settings).unwrap();
    let (behind, same, arrivals) = make_behind(&run, &dir.path().join("behind"), &settings, 28).unwrap();
    assert_eq!(made, same);
    assert_eq!(behind.settings().events.collect_seconds, 15);
    let newest = |shop: &tradewind_warehouse::Shop| {
        let batches = shop.sql("SELECT CAST(MAX(ds) AS DATE) FROM sales").unwrap();
        arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap()
    };
    assert_eq!(newest(&behind), "2026-10-03");
    let lines = arrivals.take_in(&run, &behind).unwrap();
    assert!(lines > 0);
    assert_eq!(counts(&behind), counts(&whole));
    assert_eq!(newest(&behind), newest(&whole));
    // Once is enough.
    arrivals.take_in(&run, &behind).unwrap();
    assert_eq!(counts(&behind), counts(&whole));
    make_behind(&run, &dir.path().join("short"), &settings, 110).unwrap_err();
}

#[test]
fn visitors_click_what_is_of_their_taste() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(3);
    let settings = DemoSettings { n_products: 40, days: 120, ..DemoSettings::default() };
    let (shop, _) = make(&run, &dir.path().join("shop"), &settings).unwrap();
    let batches = shop.sql("SELECT product_id, category FROM products ORDER BY product_id").unwrap();
    let mut shelf: HashMap<String, String> = HashMap::new();
    for batch in &batches {
        let text =
            |k: usize, row: usize| arrow::util::display::array_value_to_string(batch.column(k), row).unwrap();
        for row in 0..batch.num_rows() {
            shelf.insert(text(0, row), text(1, row));
        }
    }
    let shown: Vec<String> = shelf.keys().cloned().collect();
    let mut visitors = Visitors::of(&run, &shop).unwrap();
    let mut sizes: HashMap<&str, f64> = HashMap::new();
    shelf.values().for_each(|category| *sizes.entry(category).or_default() += 1.0);
    let mut clicks: HashMap<(usize, &str), f64> = HashMap::new();
    let (mut counted, mut of_taste, mut guests) = (HashMap::<&str, usize>::new(), HashMap::new(), 0);
    for _ in 0..4_000 {
        let visit = visitors.arrive();
        guests += usize::from(visit.user_id.starts_with("guest-"));
        *of_taste.entry(visit.taste).or_insert(0) += 1;
        for act in visitors.walk(&visit, &shown) {
            *counted.entry(act.event).or_default() += 1;
            if act.event == "click" {
                let category = &*shelf[act.product_id.as_ref().unwrap()];
                *clicks.entry((visit.taste, category)).or_default() += 1.0 / sizes[category];
            }
        }
    }
    assert!((450..750).contains(&guests), "{guests}");
    for (taste, visits) in of_taste.into_iter().filter(|(_, visits)| *visits > 150) {
        let mut rates: Vec<f64> = sizes
            .keys()
            .map(|c| clicks.get(&(taste, *c)).copied().unwrap_or(0.0) / f64::from(visits))
            .collect();
        rates.sort_by(f64::total_cmp);
        // One shelf is liked, the others are not.
        let (liked, next) = (rates[rates.len() - 1], rates[rates.len() - 2]);
        assert!((0.09..0.18).contains(&liked) && next < 0.06, "{taste}: {rates:?}");
    }
    for (earlier, later) in [("view", "cart"), ("cart", "purchase"), ("purchase", "rating")] {
        assert!(counted[earlier] > counted[later] && counted[later] > 0, "{counted:?}");
    }
    let mut again = Visitors::of(&run, &shop).unwrap();
    let mut first = Visitors::of(&run, &shop).unwrap();
    let (a, b) = (again.arrive(), first.arrive());
    assert_eq!((again.walk(&a, &shown), a), (first.walk(&b, &shown), b));
}
