//! Every fault that is planted in a shop is named by the check, with its count; a clean shop has none.

use crate::shops::{batch, begin, numbers, table, text, times};
use tradewind_core::freq::{DAY, Freq, parse_stamp};
use tradewind_core::{Fault, Run};
use tradewind_warehouse::Shop;
use tradewind_warehouse::quality::{FindingCode, QualityReport, Severity, check_as_of};

/// A sales line: product, time, quantity, price, status, currency, unit, customer.
#[derive(Clone)]
struct Line(&'static str, String, f64, f64, &'static str, &'static str, &'static str, &'static str);

fn line(product: &'static str, ds: &str, quantity: f64, price: f64) -> Line {
    Line(product, ds.into(), quantity, price, "", "CNY", "", "secret-customer")
}

fn put(shop: &Shop, name: &str, lines: &[Line], summary: serde_json::Value) {
    let mut import = begin(shop, name);
    let of = |f: fn(&Line) -> &str| text(&lines.iter().map(f).collect::<Vec<_>>());
    let rows = batch(vec![
        ("product_id", of(|l| l.0)),
        ("ds", times(&lines.iter().map(|l| l.1.clone()).collect::<Vec<_>>())),
        ("quantity", numbers(&lines.iter().map(|l| l.2).collect::<Vec<_>>())),
        ("unit_price", numbers(&lines.iter().map(|l| l.3).collect::<Vec<_>>())),
        ("status", of(|l| l.4)),
        ("currency", of(|l| l.5)),
        ("unit", of(|l| l.6)),
        ("customer_id", of(|l| l.7)),
    ]);
    import.append(table("sales"), rows).expect("appends");
    import.commit(summary).expect("commits");
}

/// A hundred days of three products, from 2024-01-01: tea and pen sell the same every day, cups a little up and down.
fn clean_lines() -> Vec<Line> {
    let first = parse_stamp("2024-01-01").expect("a date");
    let mut out = vec![];
    for i in 0..100 {
        let ds = Freq::DAILY.format(first + i * DAY);
        out.push(line("tea", &ds, 5.0, 9.5));
        out.push(line("cup", &ds, if i % 2 == 0 { 4.0 } else { 6.0 }, 9.5));
        out.push(line("pen", &ds, 3.0, 2.0));
    }
    out
}

fn products(shop: &Shop, rows: &[(&str, &str)]) {
    let mut import = begin(shop, "products");
    let of = |f: fn(&(&'static str, &'static str)) -> &'static str, rows: &[(&'static str, &'static str)]| {
        text(&rows.iter().map(f).collect::<Vec<_>>())
    };
    let rows: Vec<(&'static str, &'static str)> =
        rows.iter().map(|(a, b)| (&*String::from(*a).leak(), &*String::from(*b).leak())).collect();
    import
        .append(
            table("products"),
            batch(vec![("product_id", of(|r| r.0, &rows)), ("title", of(|r| r.1, &rows))]),
        )
        .expect("appends");
    import.commit(serde_json::Value::Null).expect("commits");
}

fn checked(shop: &Shop) -> QualityReport {
    let now = parse_stamp("2024-05-01 12:00:00").expect("a time") * 1000;
    check_as_of(&Run::new(1), shop, now).expect("checks")
}

fn new_shop() -> (tempfile::TempDir, Shop) {
    let dir = tempfile::tempdir().expect("a folder");
    let shop = Shop::init(&dir.path().join("shop")).expect("a shop");
    (dir, shop)
}

#[test]
fn a_clean_shop_has_no_finding() {
    let (_dir, shop) = new_shop();
    put(&shop, "sales", &clean_lines(), serde_json::json!({ "rejects": {}, "encoding": "utf-8" }));
    products(&shop, &[("tea", "Tea 茶"), ("cup", "Cup"), ("pen", "Pen")]);
    let report = checked(&shop);
    assert_eq!(report.findings, []);
    let sales = &report.tables[0];
    assert_eq!((sales.table.as_str(), sales.rows, sales.files), ("sales", 300, 1));
    let column = |name: &str| sales.columns.iter().find(|c| c.column == name).expect("a column");
    let ends = |name: &str| {
        (column(name).min.clone().unwrap_or_default(), column(name).max.clone().unwrap_or_default())
    };
    assert_eq!(ends("ds"), ("2024-01-01".into(), "2024-04-09".into()));
    assert_eq!(ends("quantity"), ("3".into(), "6".into()));
    assert_eq!(column("product_id").distinct, Some(3));
    assert_eq!(ends("customer_id"), (String::new(), String::new()), "personal data are not shown");
    assert_eq!((column("region").nulls, column("region").null_share), (300, 1.0));
}

#[test]
fn every_planted_fault_is_named() {
    use FindingCode as F;
    let (_dir, shop) = new_shop();
    let mut lines = clean_lines();
    lines.retain(|l| !["2024-02-10", "2024-02-11"].contains(&l.1.as_str()));
    lines.retain(|l| !(l.0 == "cup" && ("2024-03-01".."2024-03-11").contains(&l.1.as_str())));
    lines.push(line("tea", "2024-01-05", 5.0, 9.5));
    lines.push(line("fix", "2024-01-07", 1.0, -3.0));
    lines.push(line("gift", "2024-01-08", 1.0, 0.0));
    lines.push(Line("tea", "2024-01-09".into(), -1.0, 9.5, "returned", "CNY", "", ""));
    lines.push(Line("tea", "2024-01-10".into(), -2.0, 9.5, "cancelled", "CNY", "", ""));
    lines.push(line("tea", "2024-03-20", 795.0, 9.4));
    lines.push(line("cup", "2024-03-21", 1.0, 950.0));
    for l in lines.iter_mut().filter(|l| l.0 == "pen" && l.1.as_str() >= "2024-03-31") {
        l.3 = 20.0;
    }
    lines.push(Line("pen", "2024-01-11".into(), 2.0, 2.0, "", "GBP", "box", ""));
    lines.push(Line("pen", "2024-01-11".into(), 2.5, 2.0, "", "CNY", "piece", ""));
    lines.push(line("tea", "2030-01-01", 1.0, 9.5));
    lines.push(line("tea", "1970-01-01", 1.0, 9.5));
    lines.push(line("tea", "1924-01-01", 1.0, 9.5));
    lines.push(line("TEA ", "2024-01-12", 1.0, 9.5));
    let told = serde_json::json!({ "files": [
        { "rejects": { "not_a_date in `ds`": 4, "missing in `product_id`": 1 }, "encoding": "gb18030" },
        { "rejects": {}, "encoding": "UTF-8" },
    ] });
    put(&shop, "first", &lines, told);
    let late = [
        line("tea", "2023-12-20", 5.0, 9.5),
        line("tea", "2024-01-02", 5.0, 9.5),
        line("tea", "2024-04-10", 5.0, 9.5),
    ];
    put(&shop, "second", &late, serde_json::Value::Null);
    products(&shop, &[("tea", "茶\u{FFFD}"), ("cup", "Cup"), ("pen", "cafÃ©"), ("unsold", "New")]);
    let mut import = begin(&shop, "stock");
    let stock = batch(vec![
        ("product_id", text(&["tea", "cup", "pen"])),
        ("ds", times(&["2024-01-15", "2024-01-15", "2024-01-15"])),
        ("on_hand", numbers(&[0.0, -3.0, 8.0])),
    ]);
    import.append(table("stock"), stock).expect("appends");
    import.commit(serde_json::Value::Null).expect("commits");

    let report = checked(&shop);
    // Code, table, count, and a part of the examples.
    let expected: &[(F, &str, u64, &str)] = &[
        (F::RejectedRows, "", 5, "first.csv: 4 × not_a_date in `ds`"),
        (F::ConvertedEncoding, "", lines.len() as u64, "first.csv: gb18030"),
        (F::MixedDateFormats, "", 4, "first.csv: 4 × not_a_date in `ds`"),
        (F::Duplicates, "sales", 1, "tea 2024-01-05: × 2"),
        (F::RepeatedAcrossImports, "sales", 1, "tea 2024-01-02: × 2"),
        (F::MissingDays, "sales", 13, "2023-12-21 … 2023-12-31: 11|2024-02-10 … 2024-02-11: 2"),
        (F::ProductGaps, "sales", 10, "1 / 6"),
        (F::ZeroRuns, "sales", 1, "cup 2024-03-01 … 2024-03-10: 10"),
        (F::StockOuts, "stock", 2, "cup 2024-01-15: -3|tea 2024-01-15: 0"),
        (F::NegativeStock, "stock", 1, "cup 2024-01-15: -3"),
        (F::NegativePrices, "sales", 1, "fix 2024-01-07: -3"),
        (F::ZeroPrices, "sales", 1, "gift 2024-01-08: 1"),
        (F::Returns, "sales", 1, "tea 2024-01-09: -1"),
        (F::Cancellations, "sales", 1, "tea 2024-01-10: -2"),
        (F::Outliers, "sales", 1, "tea 2024-03-20: 800 (median 5)"),
        (F::PriceOutliers, "sales", 1, "cup 2024-03-21: ×100, 1"),
        (F::PriceBreaks, "sales", 1, "pen 2024-03-31: ×10, 10"),
        (F::MixedCurrencies, "sales", 2, "CNY: |GBP: 1"),
        (F::MixedUnits, "sales", 1, "pen: box, piece"),
        (F::ProductsWithoutSales, "products", 1, "unsold"),
        (F::SalesWithoutProduct, "sales", 3, "TEA : 1|fix: 1|gift: 1"),
        (F::LateData, "sales", 2, "second.csv: 2 < 2024-04-09"),
        (F::FutureDates, "sales", 1, "2030-01-01: 1"),
        (F::OldDates, "sales", 1, "1924-01-01: 1"),
        (F::PlaceholderDates, "sales", 1, "1970-01-01: 1"),
        (F::DamagedText, "products", 2, "`title`: 2 (cafÃ©)"),
        (F::NearDuplicateIds, "sales", 1, "`TEA ` `tea`"),
    ];
    let mut wrong = vec![];
    for (code, table, count, part) in expected {
        let found: Vec<_> = report.of(*code).collect();
        let fits = found.len() == 1
            && found[0].table == *table
            && found[0].count == *count
            && part.split('|').all(|p| found[0].examples.join("|").contains(p));
        if !fits {
            wrong.push(format!(
                "{code:?}: expected {table} {count} {part}\n   found {:?}",
                found.iter().map(|f| (&f.table, f.count, &f.examples)).collect::<Vec<_>>()
            ));
        }
    }
    let unexpected: Vec<_> =
        report.findings.iter().filter(|f| !expected.iter().any(|e| e.0 == f.code)).collect();
    assert!(wrong.is_empty() && unexpected.is_empty(), "{}\n{unexpected:#?}", wrong.join("\n"));
    assert!(report.findings.is_sorted_by_key(|f| f.severity));
    assert_eq!(report.findings[0].severity, Severity::Error);
    let json = serde_json::to_string(&report).expect("JSON");
    assert!(!json.contains("secret-customer"), "personal data stay in the warehouse");
    assert!(json.contains("\"code\":\"missing_days\"") && json.contains("整店缺失的日期"));
    assert_eq!(FindingCode::MissingDays.name(), "missing_days");
    // The same shop gives the same report.
    assert_eq!(report, checked(&shop));
}

#[test]
fn weekly_and_monthly_sales_have_no_gaps_and_closed_weekdays_are_told() {
    let (_dir, shop) = new_shop();
    let first = parse_stamp("2023-01-02").expect("a Monday");
    let weeks: Vec<_> = (0..60)
        .filter(|i| *i != 30)
        .map(|i| line("tea", &Freq::DAILY.format(first + i * 7 * DAY), 5.0, 1.0))
        .collect();
    put(&shop, "weekly", &weeks, serde_json::Value::Null);
    let gaps: Vec<_> = checked(&shop).of(FindingCode::MissingDays).map(|f| (f.count, f.of)).collect();
    assert_eq!(gaps, [(1, Some(60))]);
    shop.remove_import(1).expect("removes");
    let months: Vec<_> = (0..24)
        .map(|i| {
            line(
                "tea",
                &Freq::MONTHLY.format(Freq::MONTHLY.add(parse_stamp("2022-01-01").expect("a date"), i)),
                5.0,
                1.0,
            )
        })
        .collect();
    put(&shop, "monthly", &months, serde_json::Value::Null);
    assert_eq!(checked(&shop).findings, []);
    shop.remove_import(2).expect("removes");
    let open: Vec<_> = (0..100)
        .filter(|i| i % 7 != 5)
        .map(|i| line("tea", &Freq::DAILY.format(first + i * DAY), 5.0, 1.0))
        .collect();
    put(&shop, "daily", &open, serde_json::Value::Null);
    let report = checked(&shop);
    assert_eq!(
        report.findings.iter().map(|f| (f.code, f.examples.join(""))).collect::<Vec<_>>(),
        [(FindingCode::ClosedWeekdays, "Saturday 周六".to_owned())]
    );
}

#[test]
fn an_empty_shop_says_so_and_a_cancelled_run_ends() {
    let (_dir, shop) = new_shop();
    let report = checked(&shop);
    assert_eq!(report.findings.iter().map(|f| f.code).collect::<Vec<_>>(), [FindingCode::NoSales]);
    let run = Run::new(1);
    run.cancel();
    let e = check_as_of(&run, &shop, 0).expect_err("cancelled");
    assert_eq!(e.kind(), tradewind_core::ErrorKind::Interrupted);
}
