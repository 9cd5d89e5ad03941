//! Learning from tables, from a file to a model, its predictions and its reasons.

use super::{fails, noise, ok, text, tradewind};
use std::fmt::Write;
use std::path::Path;

/// Orders that are returned the more often the dearer they are, and more often shoes than hats.
fn orders(path: &Path, n: u64, with_target: bool) {
    let mut out = String::from(if with_target {
        "order,price,kind,placed,returned\n"
    } else {
        "order,price,kind,placed\n"
    });
    for i in 0..n {
        let price = 10.0 + 90.0 * noise(i);
        let kind = ["hat", "shoe", "coat"][(noise(i + 50_000) * 3.0) as usize];
        let score =
            price / 50.0 - 1.5 + if kind == "shoe" { 1.5 } else { 0.0 } + 1.2 * (noise(i + 90_000) - 0.5);
        let gap = if i % 17 == 3 { String::new() } else { format!("{price:.2}") };
        let _ = write!(out, "o{i:06},{gap},{kind},2024-{:02}-{:02}", 1 + i % 12, 1 + i % 28);
        let _ = if with_target {
            writeln!(out, ",{}", if score > 0.0 { "yes" } else { "no" })
        } else {
            writeln!(out)
        };
    }
    std::fs::write(path, out).unwrap();
}

#[test]
fn a_table_becomes_a_model_that_predicts_evaluates_and_explains() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    orders(&d.join("train.csv"), 900, true);
    orders(&d.join("test.csv"), 1_300, true);
    for (model, params) in
        [("boosting", "n_rounds=40"), ("random_forest", "n_trees=30"), ("logistic", "l2=1")]
    {
        let args = ["learn", "fit", "--input", "train.csv", "--target", "returned", "--ignore", "order"];
        ok(d, &[&args[..], &["--model", model, "-p", params, "--output", model]].concat());
        let told = ok(d, &["learn", "evaluate", "--model", model, "--input", "test.csv", "--json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let auc = told["measures"].as_array().unwrap().iter().find(|m| m["name"] == "roc_auc").unwrap();
        assert!(auc["value"].as_f64().unwrap() > 0.9, "{model}: {auc}");
        assert_eq!(told["classes"], serde_json::json!(["no", "yes"]));

        let predict = ["learn", "predict", "--model", model, "--input", "test.csv", "--keep", "order"];
        ok(d, &[&predict[..], &["--output", "p.csv"]].concat());
        let rows = std::fs::read_to_string(d.join("p.csv")).unwrap();
        assert!(rows.starts_with("order,prediction,p_no,p_yes\n"), "{rows:.60}");
        assert_eq!(rows.lines().count(), 1_301);

        let explain = ["learn", "explain", "--model", model, "--input", "test.csv", "--rows", "200"];
        let told = ok(d, &[&explain[..], &["--row", "7", "--html", "e.html", "--json"]].concat());
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let first = told["importance"][0]["name"].as_str().unwrap();
        assert!(first.starts_with("price") || first.starts_with("kind"), "{model}: {first}");
        let page = std::fs::read_to_string(d.join("e.html")).unwrap();
        assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("NaN"), "{model}");
    }
}

#[test]
fn a_network_tells_and_draws_how_it_was_trained() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    orders(&d.join("t.csv"), 600, true);
    let args = [
        "learn", "fit", "--input", "t.csv", "--target", "returned", "--ignore", "order", "--curves", "c.html",
    ];
    let network = ["--model", "mlp", "-p", "width=32", "-p", "networks=2", "--json"];
    let told = ok(d, &[&args[..], &network[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["training"].as_array().unwrap().len(), 2);
    assert_eq!(told["training"][0]["loss"], "log loss");
    let page = std::fs::read_to_string(d.join("c.html")).unwrap();
    assert!(page.matches("<svg").count() == 2 && !page.contains("NaN"));
    ok(d, &["learn", "explain", "--model", "model", "--input", "t.csv", "--rows", "100", "--html", "e.html"]);
    assert!(std::fs::read_to_string(d.join("e.html")).unwrap().contains("How it was trained"));
    // What is not trained in rounds is fitted all the same, and says why there is no page.
    std::fs::remove_file(d.join("c.html")).unwrap();
    let out = tradewind(d, &[&args[..], &["--model", "logistic"]].concat());
    let told = text(&out.stderr);
    assert!(out.status.success() && told.contains("not trained in rounds"), "{told}");
    assert!(!d.join("c.html").exists() && d.join("model/learner.json").exists());
}

#[test]
fn the_same_table_gives_the_same_model_whatever_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    orders(&d.join("t.csv"), 600, true);
    for threads in ["1", "4"] {
        let fit = ["learn", "fit", "--input", "t.csv", "--target", "returned", "--ignore", "order"];
        ok(d, &[&fit[..], &["-p", "n_rounds=20", "--threads", threads, "--output", threads]].concat());
    }
    let learner = |n: &str| std::fs::read(d.join(n).join("learner.json")).unwrap();
    assert!(learner("1") == learner("4"), "the models differ");
}

#[test]
fn a_search_keeps_its_trials_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    orders(&d.join("t.csv"), 400, true);
    let tune = |trials: &str| {
        let args =
            ["learn", "tune", "--input", "t.csv", "--target", "returned", "--ignore", "order", "--json"];
        let more =
            ["--model", "logistic", "--space", "l2=log(0.001,100)", "--trials", trials, "--folds", "3"];
        serde_json::from_str::<serde_json::Value>(&ok(d, &[&args[..], &more[..]].concat())).unwrap()
    };
    let half = tune("4");
    let whole = tune("9");
    assert_eq!(whole["trials"].as_array().unwrap()[..4], half["trials"].as_array().unwrap()[..]);
    let file = std::fs::read_to_string(d.join("model.trials.jsonl")).unwrap();
    assert_eq!(file.lines().count(), 9);
    std::fs::remove_file(d.join("model.trials.jsonl")).unwrap();
    assert_eq!(tune("9")["best"], whole["best"], "an unbroken search finds the same");
    // A line cut off by a crash is dropped, a broken one is told.
    std::fs::write(d.join("model.trials.jsonl"), format!("{file}{{\"number\": 9, \"par")).unwrap();
    assert_eq!(tune("9")["best"], whole["best"]);
    std::fs::write(d.join("model.trials.jsonl"), "no trial\n").unwrap();
    let args =
        ["learn", "tune", "--input", "t.csv", "--target", "returned", "--model", "logistic", "--trials", "3"];
    assert!(fails(d, 1, &args).contains("line 1"));
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    orders(&d.join("t.csv"), 200, true);
    orders(&d.join("new.csv"), 20, false);
    fn fit<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["learn", "fit", "--input", "t.csv"][..], more].concat()
    }
    assert!(fails(d, 1, &fit(&["--target", "price_tag"])).contains("price_tag"));
    assert!(fails(d, 1, &fit(&[])).contains("--target"));
    assert!(fails(d, 1, &fit(&["--target", "returned", "--model", "no_such"])).contains("boosting"));
    assert!(fails(d, 1, &fit(&["--target", "returned", "-p", "n_rounds=-3"])).contains("n_rounds"));
    assert!(
        fails(d, 1, &fit(&["--target", "returned", "--model", "ridge"])).contains("does not learn binary")
    );
    assert!(
        fails(d, 1, &["learn", "predict", "--model", "none", "--input", "new.csv", "-o", "p.csv"])
            .contains("no model")
    );
    ok(d, &fit(&["--target", "returned", "--ignore", "order", "--model", "logistic"]));
    // New rows without a column that the model reads; a model whose file was changed.
    std::fs::write(d.join("short.csv"), "order,kind\no1,hat\n").unwrap();
    assert!(fails(d, 1, &["learn", "predict", "--input", "short.csv", "-o", "p.csv"]).contains("price"));
    ok(d, &["learn", "predict", "--input", "new.csv", "-o", "p.csv"]);
    std::fs::write(d.join("model/learner.json"), "{}").unwrap();
    assert!(fails(d, 1, &["learn", "predict", "--input", "new.csv", "-o", "p.csv"]).contains("learner.json"));
    std::fs::create_dir(d.join("full")).unwrap();
    std::fs::write(d.join("full/mine.txt"), "keep").unwrap();
    assert!(fails(d, 1, &fit(&["--target", "returned", "--output", "full"])).contains("no model"));
    assert_eq!(std::fs::read_to_string(d.join("full/mine.txt")).unwrap(), "keep");
}

#[test]
fn tasks_without_a_target_and_the_automatic_choice_work_too() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    orders(&d.join("t.csv"), 300, true);
    fn fit<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["learn", "fit", "--input", "t.csv", "--ignore", "order"][..], more].concat()
    }
    ok(d, &fit(&["--task", "clustering", "--model", "kmeans", "-p", "n_clusters=3", "-o", "c"]));
    ok(d, &["learn", "predict", "--model", "c", "--input", "t.csv", "-o", "c.csv"]);
    assert!(std::fs::read_to_string(d.join("c.csv")).unwrap().starts_with("cluster\n"));
    ok(d, &fit(&["--task", "anomaly", "--model", "isolation_forest", "-o", "a"]));
    ok(d, &["learn", "predict", "--model", "a", "--input", "t.csv", "-o", "a.csv"]);
    assert!(std::fs::read_to_string(d.join("a.csv")).unwrap().starts_with("score\n"));
    let told =
        ok(d, &fit(&["--target", "returned", "--model", "auto", "--budget", "3s", "-o", "b", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(!told["leaderboard"].as_array().unwrap().is_empty());
    let told = ok(d, &["learn", "evaluate", "--model", "b", "--input", "t.csv", "--json"]);
    assert!(told.contains("roc_auc"));
}
