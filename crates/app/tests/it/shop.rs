//! A shop from its folder to its report.

use super::{command, day, fails, noise, ok};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn orders(n_days: u64) -> String {
    let mut out = String::from("order_id,product_id,ds,quantity,unit_price,title,category\n");
    let goods = ["red tea cup", "blue tea pot", "iced tea mug", "hiking boots", "rain boots", "rubber boots"];
    for t in 0..n_days {
        for (p, title) in goods.iter().enumerate() {
            let category = if p < 3 { "tea" } else { "boots" };
            let q = 1 + (4.0 * noise(t * 10 + p as u64)) as u32;
            out.push_str(&format!("o{t}-{p},sku{p},{},{q},19.5,{title},{category}\n", day(t)));
        }
    }
    out
}

fn checked(d: &Path) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(&ok(d, &["check", "--json"])).unwrap();
    // The moment of the check is part of the answer and differs from call to call.
    json["quality"]["as_of_ms"] = serde_json::Value::Null;
    json
}

#[test]
fn from_a_bare_folder_to_trends() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("orders.csv"), orders(300)).unwrap();
    std::fs::write(
        d.join("catalogue.jsonl"),
        (0..6)
            .map(|p| {
                let category = if p < 3 { "tea" } else { "boots" };
                format!(
                    "{{\"product_id\":\"sku{p}\",\"title\":\"tea cup {p}\",\"category\":\"{category}\"}}\n"
                )
            })
            .collect::<String>(),
    )
    .unwrap();
    let e = fails(d, 1, &["import", "orders.csv"]);
    assert!(e.contains("init"), "{e}");
    ok(d, &["init", "shop"]);
    let e = fails(d, 1, &["init", "shop"]);
    assert!(e.contains("shop"), "{e}");
    assert!(ok(d, &["init", "--if-absent", "shop"]).contains("nothing changed"));
    ok(d, &["import", "--preset", "canonical", "orders.csv", "catalogue.jsonl"]);
    let before = checked(d);
    let again = ok(d, &["import", "--preset", "canonical", "orders.csv"]);
    assert!(again.contains("nothing changed"), "{again}");
    assert_eq!(checked(d), before);

    let told = ok(d, &["trends", "--report", "r.html", "--csv", "t.csv"]);
    assert!(told.contains("Known up to 2023-10-27"), "{told}");
    assert_eq!(std::fs::read_to_string(d.join("t.csv")).unwrap().lines().count(), 7);
    assert!(std::fs::read_to_string(d.join("r.html")).unwrap().contains("How good these answers are"));
    ok(d, &["trends", "--by", "category", "--json"]);
    ok(d, &["trends", "--by", "word"]);
    let forecast =
        ok(d, &["forecast", "--model", "seasonal_naive", "--by", "category", "--horizon", "7", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&forecast).unwrap();
    let names: Vec<_> =
        json[0]["series"].as_array().unwrap().iter().map(|s| s["unique_id"].clone()).collect();
    assert_eq!(names, ["boots", "tea"]);

    // Taken back, the shop is empty; an unknown number is a mistake.
    ok(d, &["import", "--undo", "1"]);
    let e = fails(d, 1, &["import", "--undo", "77"]);
    assert!(e.contains("77"), "{e}");
    let e = fails(d, 1, &["trends"]);
    assert!(e.contains("sales"), "{e}");
}

#[cfg(unix)]
#[test]
fn killed_in_the_middle_of_an_import_the_shop_is_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("small.csv"), orders(60)).unwrap();
    let mut rows = String::from("product_id,ds,quantity\n");
    for i in 0..1_500_000_u64 {
        rows.push_str(&format!("sku{},{},1\n", i % 6, day(i % 60)));
    }
    std::fs::write(d.join("large.csv"), rows).unwrap();
    ok(d, &["init", "shop"]);
    ok(d, &["import", "--preset", "canonical", "small.csv"]);
    let before = checked(d);
    let mut killed = 0;
    for wait_ms in [30, 150, 400] {
        let mut child = command(d, &["import", "--preset", "canonical", "large.csv"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break; // Done before the blow: from here on the shop rightly differs.
        }
        killed += 1;
        assert_eq!(checked(d), before, "after {wait_ms} ms");
    }
    assert!(killed > 0, "no import lived long enough to be killed");
}

#[test]
fn settings_are_checked_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    ok(d, &["init", "shop"]);
    let file = d.join("shop/tradewind.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    assert!(settings.contains("horizon = 28"));
    std::fs::write(&file, settings.replace("horizon = 28", "horizon = 0")).unwrap();
    let e = fails(d, 1, &["check"]);
    assert!(e.contains("tradewind.toml") && e.contains("horizon") && e.contains('0'), "{e}");
    std::fs::write(&file, settings.replace("horizon = 28", "horizonn = 28")).unwrap();
    let e = fails(d, 1, &["check"]);
    assert!(e.contains("horizonn"), "{e}");
}

#[test]
fn the_real_gift_shop_goes_all_the_way() {
    let data =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/online_retail/transactions.parquet");
    if !data.is_file() {
        println!("skipped: ../shared/data/online_retail is not present");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    ok(d, &["init", "shop"]);
    let told = ok(d, &["import", "--preset", "online-retail", data.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    let s = &json["files"][0]["summary"];
    let n = |key: &str| s[key].as_u64().unwrap();
    assert_eq!(n("lines"), 541_909);
    assert_eq!(n("used") + n("rejected") + n("unused"), 541_909);
    let quality: serde_json::Value = serde_json::from_str(&ok(d, &["check", "--json"])).unwrap();
    assert_eq!(quality["cleaning"]["rows"], s["tables"]["sales"]);
}
