//! What planners ask of a forecast: levels that add up, what-ifs, their own figures, a look back.

use super::{day, fails, noise, ok};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// `n_days` of sales of four products in two shops of two regions, from day `from` on; cheap days sell twice as much.
fn sales(from: u64, n_days: u64) -> String {
    let mut out = String::from("product_id,ds,quantity,unit_price,store_id,region,category\n");
    for t in from..from + n_days {
        for (p, category) in ["tea", "tea", "mugs", "mugs"].iter().enumerate() {
            for (store, region) in [("north", "CN"), ("south", "US")] {
                let cheap = t % 10 < 3;
                let q = (4.0 + p as f64) * if cheap { 2.0 } else { 1.0 } + 2.0 * noise(t * 31 + p as u64 * 7);
                let price = if cheap { 7.5 } else { 9.9 };
                out.push_str(&format!(
                    "sku{p},{},{},{price},{store},{region},{category}\n",
                    day(t),
                    q as u32
                ));
            }
        }
    }
    out
}

fn shop(d: &Path) {
    std::fs::write(d.join("sales.csv"), sales(0, 200)).unwrap();
    std::fs::write(
        d.join("products.csv"),
        "product_id,title,category\nsku0,green,tea\nsku1,black,tea\nsku2,small,mugs\nsku3,large,mugs\n",
    )
    .unwrap();
    let mut prices = String::from("product_id,ds,price\n");
    for t in 0..230_u64 {
        let price = if t % 10 < 3 { 7.5 } else { 9.9 };
        (0..4).for_each(|p| prices.push_str(&format!("sku{p},{},{price}\n", day(t))));
    }
    std::fs::write(d.join("prices.csv"), prices).unwrap();
    ok(d, &["init", "shop"]);
    ok(d, &["import", "--table", "sales", "sales.csv"]);
    ok(d, &["import", "--table", "products", "products.csv"]);
    ok(d, &["import", "--table", "prices", "prices.csv"]);
}

/// Rows of a CSV answer as maps from column to cell.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|l| names.iter().map(|n| (*n).to_owned()).zip(l.split(',').map(str::to_owned)).collect())
        .collect()
}

fn add_up(rows: &[BTreeMap<String, String>], levels: &[&str]) {
    let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for r in rows {
        let mean: f64 = r["mean"].parse().unwrap();
        assert!(mean >= 0.0);
        *sums.entry((&r["ds"], &r["level"])).or_default() += mean;
    }
    let dates: Vec<&str> = sums.keys().map(|k| k.0).collect();
    for ds in dates {
        for level in levels {
            let (total, sum) = (sums[&(ds, "total")], sums[&(ds, *level)]);
            assert!((total - sum).abs() < 1e-6 * total, "{ds} {level}: {total} {sum}");
        }
    }
}

#[test]
fn levels_of_a_shop_and_of_a_file_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shop(d);
    let ask = ["forecast", "--model", "theta", "--horizon", "7", "--hierarchy"];
    ok(d, &[&ask[..], &["category/product,region/store", "--output", "h.csv"]].concat());
    let told = rows(&d.join("h.csv"));
    let levels = ["category", "category/product", "region", "bottom"];
    add_up(&told, &levels);
    let named = |id: &str| told.iter().find(|r| r["unique_id"] == id).map(|r| r["level"].clone());
    assert_eq!(named("category=tea/product=sku1").as_deref(), Some("category/product"));
    assert_eq!(named("region=CN").as_deref(), Some("region"));
    assert_eq!(named("sku1/south").as_deref(), Some("bottom"));
    // Without stores the products themselves are added up.
    ok(d, &[&ask[..], &["category/product", "--reconcile", "bottom_up", "--output", "p.csv"]].concat());
    add_up(&rows(&d.join("p.csv")), &["category", "bottom"]);
    let e = fails(d, 1, &[&ask[..], &["colour"]].concat());
    assert!(e.contains("colour") && e.contains("category"), "{e}");
    let e = fails(d, 1, &[&ask[..], &["category", "--target", "price"]].concat());
    assert!(e.contains("prices do not add up"), "{e}");
    let e = fails(d, 1, &[&ask[..], &["category", "--reconcile", "magic"]].concat());
    assert!(e.contains("mint_shrinkage"), "{e}");

    let mut file = String::from("unique_id,ds,y,store,dept\n");
    for (i, (store, dept)) in [("a", "x"), ("a", "z"), ("b", "x"), ("b", "z")].iter().enumerate() {
        for t in 0..120 {
            let y = 10.0 + i as f64 + (10.0 * noise(t * 13 + i as u64)).round();
            file.push_str(&format!("{store}{dept},{},{y},{store},{dept}\n", day(t)));
        }
    }
    std::fs::write(d.join("f.csv"), file).unwrap();
    let json = ok(d, &[&ask[..], &["store,dept", "--input", "f.csv", "--json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let series = json[0]["series"].as_array().unwrap();
    assert_eq!(series.len(), 1 + 2 + 2 + 4);
    assert_eq!((series[0]["level"].as_str(), series[8]["level"].as_str()), (Some("total"), Some("bottom")));
    let zh = ok(d, &[&ask[..], &["store,dept", "--input", "f.csv", "--lang", "zh"]].concat());
    assert!(zh.contains("层级") && zh.contains("store=a"), "{zh}");
}

#[test]
fn a_price_can_be_tried() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shop(d);
    let ask = ["forecast", "--horizon", "14", "--set"];
    ok(d, &[&ask[..], &["price=7.5", "--output", "w.csv"]].concat());
    let told = rows(&d.join("w.csv"));
    assert_eq!(told.len(), 4 * 14);
    let number = |r: &BTreeMap<String, String>, c: &str| -> f64 { r[c].parse().unwrap() };
    let sum = |c: &str| told.iter().map(|r| number(r, c)).sum::<f64>();
    assert!(sum("mean") > 1.15 * sum("mean_without"), "{} {}", sum("mean"), sum("mean_without"));
    let span = format!("price=7.5@{}..{}", day(205), day(208));
    ok(d, &[&ask[..], &[&span, "--output", "s.csv"]].concat());
    for r in rows(&d.join("s.csv")) {
        let inside = (day(205)..=day(208)).contains(&r["ds"]);
        // The day before a change sees it coming.
        let near = r["ds"] == day(204) || r["ds"] == day(209);
        assert!(inside || near || number(&r, "mean") == number(&r, "mean_without"), "{r:?}");
    }
    let told = ok(d, &[&ask[..], &["price=-20%"]].concat());
    assert!(told.contains("without") && told.contains("change"), "{told}");
    let e = fails(d, 1, &[&ask[..], &["price=1", "--model", "theta"]].concat());
    assert!(e.contains("theta") && e.contains("global"), "{e}");
    let e = fails(d, 1, &[&ask[..], &["weather=1"]].concat());
    assert!(e.contains("weather") && e.contains("price_plan"), "{e}");
}

#[test]
fn planners_have_their_say_and_are_judged_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shop(d);
    let set = |more: &[&str]| {
        let base = ["forecast", "override", "--series", "sku0", "--note", "school order"];
        ok(d, &[&base[..], more].concat())
    };
    set(&["--from", &day(201), "--to", &day(203), "--value", "40", "--author", "Ann"]);
    set(&["--from", &day(202), "--factor", "3", "--author", "Bo"]);
    set(&["--from", &day(204), "--value", "1", "--author", "Bo"]);
    let ask = ["forecast", "--model", "seasonal_naive", "--horizon", "7"];
    ok(d, &[&ask[..], &["--output", "f.csv"]].concat());
    let figures: Vec<String> = rows(&d.join("f.csv")).iter().map(|r| r["planner"].clone()).collect();
    let mean: f64 = rows(&d.join("f.csv"))[2]["mean"].parse().unwrap();
    assert_eq!(figures[1], "40.0");
    assert!((figures[2].parse::<f64>().unwrap() - 3.0 * mean).abs() < 1e-9);
    assert!(figures[0].is_empty() && figures[7..].iter().all(String::is_empty));
    let e = fails(
        d,
        1,
        &["forecast", "override", "--series", "skuX", "--from", &day(201), "--value", "1", "--note", "n"],
    );
    assert!(e.contains("skuX") && e.contains("sku0"), "{e}");
    let e = fails(
        d,
        1,
        &["forecast", "override", "--series", "sku0", "--from", &day(20), "--value", "1", "--note", "n"],
    );
    assert!(e.contains("known already"), "{e}");
    fails(d, 1, &["forecast", "override", "--series", "sku0", "--from", &day(201), "--note", "n"]);

    ok(d, &["forecast", "override", "withdraw", "3", "--note", "mistyped"]);
    let listed = ok(d, &["forecast", "override", "list"]);
    assert!(listed.contains("school order") && listed.contains("mistyped"), "{listed}");
    assert!(ok(d, &["forecast", "override", "score"]).contains("no override has an outcome yet"));

    // What came: 40 a day, as Ann said.
    let mut later = String::from("product_id,ds,quantity,unit_price\n");
    (200..207).for_each(|t| later.push_str(&format!("sku0,{},40,9.9\n", day(t))));
    std::fs::write(d.join("later.csv"), later).unwrap();
    ok(d, &["import", "--table", "sales", "later.csv"]);
    let json = ok(d, &["forecast", "override", "score", "--model", "seasonal_naive", "--json"]);
    let scores: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((scores[0]["author"].as_str(), scores[0]["planner_mae"].as_f64()), (Some("Ann"), Some(0.0)));
    assert_eq!((scores[0]["n_steps"].as_u64(), scores[0]["planner_nearer"].as_u64()), (Some(3), Some(3)));
    assert_eq!(scores[1]["author"], "Bo");
    assert_eq!((scores[2]["author"].as_str(), scores[2]["n_overrides"].as_u64()), (Some(""), Some(2)));
    let told = ok(d, &["forecast", "override", "score", "--model", "seasonal_naive", "--lang", "zh"]);
    assert!(told.contains("计划员更近") && told.contains("Ann"), "{told}");
}

#[test]
fn the_page_of_a_backtest_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("s.csv"), super::series_csv(30, 250)).unwrap();
    let ask = [
        "forecast",
        "evaluate",
        "--input",
        "s.csv",
        "--horizon",
        "7",
        "--model",
        "theta,seasonal_naive,mean",
    ];
    for (lang, words) in [("en", ["The worst series", "Calibration"]), ("zh", ["最差的序列", "区间校准"])]
    {
        ok(d, &[&ask[..], &["--html", "r.html", "--lang", lang]].concat());
        let page = std::fs::read_to_string(d.join("r.html")).unwrap();
        for outside in ["<script", "src=\"http", "href=\"http", "url(", "@import", "NaN"] {
            assert!(!page.contains(outside), "the page holds {outside}");
        }
        for word in words.iter().chain(&["theta", "item 0", "class=\"outcome\""]) {
            assert!(page.contains(word), "{word} is missing");
        }
    }
    // Intervals are those that a forecast gives: calibrated.
    let json: Value =
        serde_json::from_str(&ok(d, &[&ask[..], &["--level", "80", "--json"]].concat())).unwrap();
    for row in json["all"].as_array().unwrap() {
        let held = row["scores"]["intervals"][0]["coverage"].as_f64().unwrap();
        assert!((0.6..0.95).contains(&held), "{row}");
    }
}
