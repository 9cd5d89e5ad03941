//! A dirty file with planted faults: the check names every one of them.

use super::{day, noise, ok};
use std::collections::BTreeMap;

/// Sales of 20 products over 200 days, with faults. GB18030, since a title is Chinese.
fn dirty_sales() -> Vec<u8> {
    let mut out = String::from("product_id,ds,quantity,unit_price,currency,order_id,title\n");
    for p in 0..20_u64 {
        for t in 0..200_u64 {
            if (60..64).contains(&t) {
                continue; // Four days on which the whole shop has no row.
            }
            let quantity = match (p, t) {
                (3, 150) => 900.0, // An outlier.
                _ => (5.0 + 6.0 * noise(p * 1_000 + t)).round(),
            };
            let price = if (p, t) == (4, 40) { "-9.90" } else { "9.90" };
            let currency = if (p, t) == (5, 41) { "USD" } else { "CNY" };
            let ds = if (p, t) == (6, 42) { "13.02.23 noon".to_owned() } else { day(t) };
            out.push_str(&format!("p{p},{ds},{quantity},{price},{currency},o{p}-{t},防晒衣 {p}\n"));
        }
    }
    let repeated: Vec<String> = out.lines().skip(5).take(3).map(str::to_owned).collect();
    for line in repeated {
        out.push_str(&line);
        out.push('\n');
    }
    encoding_rs::GB18030.encode(&out).0.into_owned()
}

#[test]
fn every_planted_fault_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("sales.csv"), dirty_sales()).unwrap();
    let mut stock = String::from("product_id,ds,on_hand\n");
    for t in 0..200 {
        stock.push_str(&format!("p1,{},{}\n", day(t), if (100..105).contains(&t) { 0 } else { 50 }));
    }
    std::fs::write(d.join("stock.csv"), stock).unwrap();
    ok(d, &["init", "shop"]);
    let told = ok(d, &["import", "--preset", "canonical", "sales.csv", "stock.csv"]);
    assert!(told.contains("gb18030") && told.contains("1 rejected"), "{told}");

    let json: serde_json::Value = serde_json::from_str(&ok(d, &["check", "--json"])).unwrap();
    let findings: BTreeMap<&str, &serde_json::Value> = json["quality"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["code"].as_str().unwrap(), f))
        .collect();
    for (code, count) in [
        ("duplicates", Some(3)),
        ("missing_days", Some(4)),
        ("negative_prices", Some(1)),
        ("converted_encoding", None),
        ("mixed_currencies", None),
        ("stock_outs", None),
        ("outliers", None),
        ("rejected_rows", Some(1)),
    ] {
        let finding =
            findings.get(code).unwrap_or_else(|| panic!("{code} is not among {:?}", findings.keys()));
        if let Some(count) = count {
            assert_eq!(finding["count"], count, "{finding}");
        }
    }
    let examples = |code: &str| findings[code]["examples"].to_string();
    assert!(examples("rejected_rows").contains("date"), "{}", examples("rejected_rows"));
    assert!(examples("outliers").contains("p3"), "{}", examples("outliers"));
    assert!(examples("stock_outs").contains("p1"), "{}", examples("stock_outs"));
    assert!(examples("mixed_currencies").contains("USD"), "{}", examples("mixed_currencies"));

    // The rejected row is told with its place, and the line is counted from the header.
    let rejects: Vec<_> =
        std::fs::read_dir(d.join("shop/rejects")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(rejects.len(), 1);
    let reject = std::fs::read_to_string(&rejects[0]).unwrap();
    assert!(
        reject.contains("sales.csv") && reject.contains("13.02.23 noon") && reject.contains(",ds,"),
        "{reject}"
    );
    assert!(reject.lines().nth(1).unwrap().contains(&format!(",{},", 1 + 6 * 196 + 42 + 1)), "{reject}");

    // People get the same on the terminal and on a page, in both languages.
    let page = d.join("q.html");
    let zh = ok(d, &["check", "--lang", "zh", "--html", "q.html"]);
    assert!(zh.contains("重复") && std::fs::read_to_string(page).unwrap().contains("重复"));
    let account = &json["cleaning"];
    let classes = [
        "used",
        "undone",
        "returns_matched",
        "returns_on_day",
        "returns_dropped",
        "returns_kept",
        "adjustments",
        "duplicates",
        "excluded",
        "zero_price",
        "unreadable",
        "outside",
    ];
    let sum: u64 = classes.iter().map(|c| account[c].as_u64().unwrap()).sum();
    assert_eq!(sum, account["rows"].as_u64().unwrap());
    assert_eq!(account["rows"], 20 * 196 - 1 + 3);
}
