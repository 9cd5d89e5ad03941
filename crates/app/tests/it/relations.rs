//! Relations and anomalies, of files and of a shop.

use super::{day, fails, noise, ok};
use std::fmt::Write;
use std::path::Path;
use tradewind::core::Run;
use tradewind::ingest::TableOptions;
use tradewind::learn::frame::Column;
use tradewind::learning::read_frame;

/// Three products whose sales follow their views of four days before, with one great day and a pause.
fn viewed() -> String {
    let mut out = String::from("unique_id,ds,y,views,clicks\n");
    for p in 0..3_u64 {
        let views = |t: u64| 40.0 + 60.0 * noise(p * 7_919 + t);
        for t in 0..400_u64 {
            let mut y = (0.3 * views(t + 100 - 4) * (0.8 + 0.4 * noise(p * 31 + t * 17 + 5))).round();
            if p == 1 && t == 200 {
                y = 150.0;
            }
            if p == 2 && (300..312).contains(&t) {
                y = 0.0;
            }
            let clicks = (10.0 * noise(p + t * 1_000_003 + 9)).round();
            writeln!(out, "item {p},{},{y},{:.0},{clicks}", day(t), views(t + 100)).unwrap();
        }
    }
    out
}

#[test]
fn views_lead_and_clicks_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("s.csv"), viewed()).unwrap();
    let json =
        ok(d, &["forecast", "relations", "--input", "s.csv", "--freq", "D", "--json", "--output", "r.csv"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let all = value["found"]["relations"].as_array().unwrap();
    // Two columns and two other series for each of three.
    assert_eq!(all.len(), 12);
    for r in &all[..3] {
        assert_eq!((r["outside"].as_str(), r["lag"].as_u64()), (Some("views"), Some(4)), "{r}");
        assert!(r["q_value"].as_f64().unwrap() < 1e-6 && r["improvement"].as_f64().unwrap() > 0.3, "{r}");
    }
    let sure = all.iter().filter(|r| r["q_value"].as_f64().unwrap() <= 0.05).count();
    assert_eq!(sure, 3);
    let csv = std::fs::read_to_string(d.join("r.csv")).unwrap();
    let head = "series,outside,source,lag,correlation,p_value,q_value,significant,improvement,n";
    assert_eq!(csv.lines().next(), Some(head));
    assert_eq!(csv.lines().count(), 13);
    let told = ok(d, &["forecast", "relations", "--input", "s.csv", "--freq", "D"]);
    assert!(told.contains("3 relations hold") && told.contains("views"), "{told}");
    let told = ok(d, &["forecast", "relations", "--input", "s.csv", "--freq", "D", "--lang", "zh"]);
    assert!(told.contains("成立的关系有 3 个") && told.contains("滞后"), "{told}");
    let e = fails(d, 1, &["forecast", "relations", "--input", "s.csv", "--level", "1.5"]);
    assert!(e.contains("level"), "{e}");
}

#[test]
fn anomalies_are_told_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("s.csv"), viewed()).unwrap();
    let args = ["forecast", "anomalies", "--input", "s.csv", "--freq", "D", "--region", "CN"];
    let with = |more: &[&str]| ok(d, &[&args[..], more].concat());
    let json: serde_json::Value = serde_json::from_str(&with(&["--json", "--output", "a.csv"])).unwrap();
    let all = json["anomalies"].as_array().unwrap();
    let of = |id: &str| all.iter().find(|a| a["unique_id"] == id).unwrap_or_else(|| panic!("{json}"));
    assert_eq!(
        (of("item 1")["kind"].as_str(), of("item 1")["ds"].as_str()),
        (Some("spike"), Some("2023-07-20"))
    );
    let pause = of("item 2");
    assert_eq!(pause["kind"], "stock_out_like");
    assert_eq!((pause["ds"].as_str(), pause["until"].as_str()), (Some("2023-10-28"), Some("2023-11-08")));
    assert_eq!(all.len(), 2, "{json}");
    let csv = std::fs::read_to_string(d.join("a.csv")).unwrap();
    assert_eq!(csv.lines().next(), Some("unique_id,ds,until,y,expected,lower,upper,score,kind,causes"));
    for (lang, words) in [("en", ["spike", "like a stock-out"]), ("zh", ["突增", "疑似缺货"])] {
        let told = with(&["--lang", lang, "--html", "a.html"]);
        let page = std::fs::read_to_string(d.join("a.html")).unwrap();
        for word in words {
            assert!(told.contains(word) && page.contains(word), "{word}: {told}");
        }
        for outside in ["<script", "src=\"http", "href=\"http", "url(", "@import", "NaN"] {
            assert!(!page.contains(outside), "the page holds {outside}");
        }
        assert!(page.contains("<svg") && page.contains("<circle"));
    }
    let e = fails(d, 1, &["forecast", "anomalies", "--input", "s.csv", "--false-alarms", "0.7"]);
    assert!(e.contains("false_alarms"), "{e}");
}

#[test]
fn a_shop_tells_what_runs_ahead_and_what_stood_out() {
    let dir = tempfile::tempdir().unwrap();
    ok(dir.path(), &["demo", "--products", "40", "--days", "500"]);
    let d = dir.path().join("demo-shop");
    let json: serde_json::Value =
        serde_json::from_str(&ok(&d, &["forecast", "relations", "--peers", "0", "--json"])).unwrap();
    let all = json["found"]["relations"].as_array().unwrap();
    // The simulated visitors search, look and fill carts before they buy.
    let leads = |name: &str| {
        all.iter()
            .filter(|r| r["outside"] == name && r["q_value"].as_f64().unwrap() <= 0.05)
            .filter(|r| r["correlation"].as_f64().unwrap() > 0.0)
            .count()
    };
    println!(
        "views lead {} products, carts {}, searches {}",
        leads("views"),
        leads("carts"),
        leads("searches")
    );
    let together = leads("views") + leads("carts") + leads("searches");
    assert!(together >= 8, "{together}");
    let told = ok(&d, &["forecast", "anomalies", "--html", "page.html", "--top", "5"]);
    assert!(told.contains("spikes"), "{told}");
    assert!(std::fs::read_to_string(d.join("page.html")).unwrap().contains("<svg"));
}

/// Weekly orange juice of 83 stores and 11 brands as series `store/brand`, with the prices of all brands.
fn orange_juice(stores: usize) -> Option<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dominicks_oj/sales.parquet");
    if !file.is_file() {
        println!("skipped: ../shared/data/dominicks_oj is not present");
        return None;
    }
    let table = read_frame(&Run::new(1), &file, &TableOptions::default()).unwrap();
    let number = |name: &str| match table.column(name).unwrap() {
        Column::Number(v) => v.clone(),
        other => panic!("{name} holds {}", other.holds()),
    };
    let [store, brand, week, moved, deal] = ["store", "brand", "week", "logmove", "deal"].map(number);
    let prices: Vec<Vec<f64>> = (1..=11).map(|k| number(&format!("price{k}"))).collect();
    let mut kept = store.clone();
    kept.sort_by(f64::total_cmp);
    kept.dedup();
    kept.truncate(stores);
    let mut units = String::from("unique_id,ds,y,deal");
    let mut price = String::from("unique_id,ds,y");
    for k in 1..=11 {
        write!(units, ",price{k}").unwrap();
        write!(price, ",price{k}").unwrap();
    }
    for i in (0..store.len()).filter(|i| kept.contains(&store[*i])) {
        let id = format!("{}/{}", store[i], brand[i]);
        write!(units, "\n{id},{},{:.0},{}", week[i], moved[i].exp(), deal[i]).unwrap();
        write!(price, "\n{id},{},{}", week[i], prices[brand[i] as usize - 1][i]).unwrap();
        for p in &prices {
            write!(units, ",{}", p[i]).unwrap();
            write!(price, ",{}", p[i]).unwrap();
        }
    }
    Some((units, price))
}

#[test]
fn real_orange_juice_is_looked_at_without_false_finds() {
    let Some((units, price)) = orange_juice(10) else { return };
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("units.csv"), units).unwrap();
    std::fs::write(d.join("price.csv"), price).unwrap();
    let ask = |file: &str| -> serde_json::Value {
        let args = [
            "forecast",
            "relations",
            "--input",
            file,
            "--freq",
            "1",
            "--max-lag",
            "4",
            "--peers",
            "0",
            "--json",
        ];
        serde_json::from_str(&ok(d, &args)).unwrap()
    };
    for (file, columns) in [("price.csv", 11), ("units.csv", 12)] {
        let found = &ask(file)["found"];
        let all = found["relations"].as_array().unwrap();
        let sure = all.iter().filter(|r| r["q_value"].as_f64().unwrap() <= 0.05).count();
        println!("{file}: {sure} of {} pairs; left out {}", all.len(), found["left_out"]);
        // Every pair is looked at or left out with its reason.
        let series = found["n_series"].as_u64().unwrap() as usize;
        let out = found["left_out"].as_array().unwrap();
        let count = |led: bool| {
            out.iter().filter(|l| l["led"] == led).map(|l| l["n"].as_u64().unwrap() as usize).sum::<usize>()
        };
        assert_eq!(all.len() + count(false), columns * (series - count(true)));
        // Of prices, the own one is known as a copy of the series.
        let copies = out.iter().find(|l| l["reason"] == "copy").map_or(0, |l| l["n"].as_u64().unwrap());
        assert_eq!(copies > 0, file == "price.csv");
        // A hundred weeks of one store tell little beyond its own past: few relations hold among so many looked at.
        assert!(sure * 20 <= all.len(), "{sure} of {}", all.len());
    }
}
