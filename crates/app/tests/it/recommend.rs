//! Recommendations as a person or a script asks for them.

use super::{day, fails, ok, text, tradewind};
use serde_json::Value;
use std::path::Path;

/// Two tastes of twelve items each; every user has eleven of their own. Users of the even taste are even.
fn tastes() -> String {
    let mut out = String::from("user\titem\tpos\n");
    for u in 0..40_usize {
        for k in 0..11 {
            let i = 2 * ((k + u / 2) % 12) + u % 2;
            out.push_str(&format!("{u:03}\t{i:03}\t{k}\n"));
        }
    }
    out
}

/// user → items, in the order of the file.
fn lists(path: &Path) -> Vec<(String, String, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("user\titem\tscore"));
    lines
        .map(|l| {
            let cells: Vec<&str> = l.split('\t').collect();
            (cells[0].to_owned(), cells[1].to_owned(), cells[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn a_file_of_events_becomes_a_file_of_lists() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("train.tsv"), tastes()).unwrap();
    std::fs::write(d.join("test.tsv"), "user\titem\n007\t000\n007\t001\n004\t000\nnobody\t000\n").unwrap();
    for model in ["item_knn", "ials", "ease", "hybrid"] {
        let args = [
            "recommend",
            "--input",
            "train.tsv",
            "--users",
            "test.tsv",
            "--k",
            "1",
            "--output",
            "p.tsv",
            "--model",
        ];
        ok(d, &[&args[..], &[model]].concat());
        let rows = lists(&d.join("p.tsv"));
        // Each user once, in the order of the file, ids with their zeros; the one item of the taste that is missing.
        let users: Vec<&str> = rows.iter().map(|r| r.0.as_str()).collect();
        assert_eq!(users, ["007", "004", "nobody"], "{model}");
        // User u lacks the item whose place is 11 + u / 2, counted round the twelve.
        assert_eq!((rows[0].1.as_str(), rows[1].1.as_str()), ("005", "002"), "{model}");
    }
    let train = std::fs::read_to_string(d.join("train.tsv")).unwrap();
    ok(d, &["recommend", "--input", "train.tsv", "--model", "item_knn", "--output", "all.tsv"]);
    for (user, item, _) in lists(&d.join("all.tsv")) {
        assert!(!train.contains(&format!("{user}\t{item}\t")), "{user} has {item} already");
    }
    ok(
        d,
        &["recommend", "--input", "train.tsv", "--model", "item_knn", "--allow-seen", "--output", "seen.tsv"],
    );
    assert!(lists(&d.join("seen.tsv")).iter().any(|(u, i, _)| train.contains(&format!("{u}\t{i}\t"))));
}

#[test]
fn faults_of_a_file_are_named_with_row_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let ask = ["recommend", "--model", "item_knn", "--output", "p.tsv", "--input"];
    for (file, content, words) in [
        ("empty.tsv", "", &["empty.tsv", "empty"][..]),
        ("head.tsv", "user\titem\n", &["no events"]),
        ("columns.tsv", "who\twhat\na\tb\n", &["columns.tsv", "users", "who", "user_id"]),
        ("gap.tsv", "user\titem\na\tb\n\tb\n", &["gap.tsv", "row 2", "`user`"]),
        ("time.tsv", "user\titem\tpos\na\tb\t1\na\tc\t1.5\n", &["time.tsv", "row 2", "`pos`", "1.5"]),
        ("weight.tsv", "user\titem\tweight\na\tb\t1\na\tc\t\n", &["weight.tsv", "row 2", "`weight`"]),
    ] {
        std::fs::write(d.join(file), content).unwrap();
        let out = tradewind(d, &[&ask[..], &[file]].concat());
        let told = text(&out.stderr);
        assert!(!out.status.success(), "{file} was taken");
        assert!(words.iter().all(|w| told.contains(w)), "{file}: {told}");
        assert!(!d.join("p.tsv").exists(), "{file}: something was written");
    }
    std::fs::write(d.join("train.tsv"), tastes()).unwrap();
    let told = fails(d, 1, &["recommend", "--model", "eas", "--output", "p.tsv", "--input", "train.tsv"]);
    assert!(told.contains("eas") && told.contains("ease"), "{told}");
    let told =
        fails(d, 1, &["recommend", "--event-weight", "cart", "--input", "train.tsv", "--output", "p.tsv"]);
    assert!(told.contains("KIND=WEIGHT"), "{told}");
    let told = fails(d, 1, &["recommend", "for", "007"]);
    assert!(told.contains("shop"), "{told}");
}

/// A shop whose customers buy tea with cups and coffee with pots, and a product that is out of stock.
fn shop(d: &Path) {
    let mut sales = String::from("product_id,ds,quantity,unit_price,order_id,customer_id\n");
    for c in 0..60_u64 {
        let pair = if c % 2 == 0 { ["tea", "cup"] } else { ["coffee", "pot"] };
        for (k, item) in pair.iter().enumerate() {
            // Ann (c 0) has not bought a cup, Bob (c 1) no pot.
            if !(c < 2 && k == 1) {
                sales.push_str(&format!("{item},{},1,5,o{c},c{c:02}\n", day(100 + c)));
            }
        }
        sales.push_str(&format!(
            "{},{},1,2,p{c},c{c:02}\n",
            ["biscuit", "POST"][(c % 2) as usize],
            day(120 + c)
        ));
    }
    std::fs::write(d.join("sales.csv"), sales).unwrap();
    std::fs::write(
        d.join("products.csv"),
        "product_id,title,category,price,cost\ntea,Green tea,drinks,5,2\ncup,Blue cup,china,9,3\ncoffee,Dark coffee,drinks,6,3\n\
         pot,Coffee pot,china,20,8\nbiscuit,Butter biscuit,food,2,1\nnew,Green tea tin,drinks,7,2\n",
    )
    .unwrap();
    std::fs::write(d.join("stock.csv"), "product_id,ds,on_hand\npot,2023-09-01,0\ncup,2023-09-01,5\n")
        .unwrap();
    ok(d, &["init", "shop"]);
    for table in ["sales", "products", "stock"] {
        ok(d, &["import", "--table", table, &format!("{table}.csv")]);
    }
}

fn answer(d: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(d, &[&["--json", "recommend"], args].concat())).unwrap()
}

fn names(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|i| i["item"].as_str().unwrap()).collect()
}

#[test]
fn a_shop_recommends_with_reasons_and_within_its_rules() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shop(d);
    ok(d, &["recommend", "fit", "--model", "item_knn", "-p", "shrink=0"]);
    assert!(d.join("shop/models/recommend/manifest.json").is_file());

    let ann = answer(d, &["for", "c00"]);
    assert_eq!(names(&ann)[0], "cup");
    assert_eq!(
        (ann["items"][0]["title"].as_str(), ann["answered_by"].as_str()),
        (Some("Blue cup"), Some("model"))
    );
    assert_eq!(ann["items"][0]["reason"]["text"], "because you bought Green tea");
    let shown = names(&ann);
    // What she has, what is out of stock, and postage, which is no product, stay away.
    assert!(["tea", "biscuit", "pot", "POST"].iter().all(|i| !shown.contains(i)), "{shown:?}");
    let chinese = ok(d, &["--lang", "zh", "recommend", "for", "c00"]);
    assert!(chinese.contains("因为您买过“Green tea”"), "{chinese}");

    assert_eq!(names(&answer(d, &["for", "c01", "--out-of-stock"]))[0], "pot");
    let cheap = answer(d, &["for", "c00", "--where", "price < 8 and category == \"drinks\""]);
    assert!(!names(&cheap).is_empty());
    assert!(names(&cheap).iter().all(|i| ["coffee", "new"].contains(i)), "{cheap}");
    let told = fails(d, 1, &["recommend", "for", "c00", "--where", "price <"]);
    assert!(told.contains("position 8") && told.contains("expected a value"), "{told}");
    // Somebody nobody knows gets an answer too, and it does not claim to be personal.
    let stranger = answer(d, &["for", "nobody"]);
    assert!(!names(&stranger).is_empty());
    assert_ne!(stranger["items"][0]["reason"]["kind"], "bought");

    // A sale that came after the fit changes the next answer.
    std::fs::write(
        d.join("late.csv"),
        format!("product_id,ds,quantity,unit_price,order_id,customer_id\ncup,{},1,5,late,c00\n", day(300)),
    )
    .unwrap();
    ok(d, &["import", "--table", "sales", "late.csv"]);
    assert!(!names(&answer(d, &["for", "c00"])).contains(&"cup"));

    let with_tea = answer(d, &["similar", "tea", "--bought-together"]);
    assert_eq!(names(&with_tea)[0], "cup");
    assert_eq!(with_tea["items"][0]["reason"]["text"], "often bought with Green tea");

    let why: Value = answer(d, &["explain", "c00", "cup"]);
    let of_tea = why["because_of"].as_array().unwrap().iter().find(|c| c["item"] == "tea").unwrap();
    assert!(of_tea["contribution"].as_f64().unwrap() > 0.0 && of_tea["n"] == 1, "{why}");
    let told = fails(d, 1, &["recommend", "explain", "nobody", "cup"]);
    assert!(told.contains("nobody"), "{told}");
}

#[test]
fn words_of_titles_find_what_nobody_bought_yet() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shop(d);
    ok(d, &["recommend", "fit", "--model", "content", "--output", "by-words"]);
    // The tin shares its words with the tea that Ann bought.
    let ann = answer(d, &["for", "c00", "--model", "by-words", "--n", "1"]);
    assert_eq!(names(&ann), ["new"]);
}

#[test]
fn recommenders_are_measured_on_what_was_held_back() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("train.tsv"), tastes()).unwrap();
    let args = [
        "evaluate",
        "--input",
        "train.tsv",
        "--model",
        "item_knn:k=50",
        "--model",
        "popularity",
        "-k",
        "1,3",
    ];
    let board = answer(d, &args);
    let models = board["models"].as_array().unwrap();
    assert_eq!(
        (models[0]["model"].as_str(), models[0]["params"]["k"].as_u64()),
        (Some("item_knn"), Some(50))
    );
    let ndcg = |m: &Value, k: usize| m["evaluation"]["at"][k]["ndcg"]["mean"].as_f64().unwrap();
    // Two items of the own taste are unseen: the one held back is among three of the right taste, seldom of popularity.
    assert!(ndcg(&models[0], 1) > 0.6 && ndcg(&models[0], 1) > ndcg(&models[1], 1) + 0.2, "{board}");
    let shown = ok(d, &["recommend", "evaluate", "--input", "train.tsv", "--model", "popularity"]);
    assert!(shown.contains("NDCG") && shown.contains("popularity"), "{shown}");
    let told = fails(
        d,
        1,
        &["recommend", "evaluate", "--input", "train.tsv", "--held-back", "time", "--length", "-1"],
    );
    assert!(told.contains("-1"), "{told}");
}

#[test]
fn parameters_are_searched_and_a_search_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("train.tsv"), tastes()).unwrap();
    let args = ["tune", "--input", "train.tsv", "--model", "item_knn", "--space", "k=int(1,30)", "--trials"];
    let few = answer(d, &[&args[..], &["3"]].concat());
    let more = answer(d, &[&args[..], &["5"]].concat());
    let lines = std::fs::read_to_string(d.join("recommend.trials.jsonl")).unwrap().lines().count();
    assert_eq!(
        (few["tuned"]["n_complete"].as_u64(), more["tuned"]["n_complete"].as_u64()),
        (Some(3), Some(5))
    );
    assert!(lines >= 5, "{lines}");
    assert!(more["tuned"]["ndcg"].as_f64() >= few["tuned"]["ndcg"].as_f64());
    let told = fails(
        d,
        1,
        &["recommend", "tune", "--input", "train.tsv", "--model", "item_knn", "--space", "q=int(1,3)"],
    );
    assert!(told.contains('q') && told.contains("shrink"), "{told}");
}
