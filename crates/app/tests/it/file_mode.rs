//! Forecasts and trends of a file, without a shop.

use super::{command, fails, noise, ok, series_csv};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn forecasts_of_a_file_have_intervals_and_the_right_dates() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("sales.csv"), series_csv(3, 200)).unwrap();
    ok(
        d,
        &[
            "forecast",
            "--input",
            "sales.csv",
            "--freq",
            "D",
            "--horizon",
            "28",
            "--model",
            "theta,seasonal_naive",
            "--level",
            "80,95",
            "--output",
            "out.csv",
        ],
    );
    let out = std::fs::read_to_string(d.join("out.csv")).unwrap();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("unique_id,ds,model,mean,q2.5,q10,q90,q97.5"));
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 2 * 3 * 28);
    assert_eq!((rows[0][0], rows[0][1], rows[0][2]), ("item 000", "2023-07-20", "theta"));
    for row in &rows {
        let n: Vec<f64> = row[3..].iter().map(|v| v.parse().unwrap()).collect();
        assert!(n[1] <= n[2] && n[2] <= n[3] && n[3] <= n[4], "{row:?}");
        assert!(n[1] >= 0.0, "units are never below zero: {row:?}");
    }
}

#[test]
fn what_comes_after_as_of_is_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let all = series_csv(30, 400);
    let known: String = all
        .lines()
        .filter(|l| l.starts_with("unique") || l.split(',').nth(1).unwrap() <= "2023-12-01")
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(d.join("all.csv"), all).unwrap();
    std::fs::write(d.join("known.csv"), known).unwrap();
    for (input, output) in [("all.csv", "a.csv"), ("known.csv", "b.csv")] {
        ok(d, &["trends", "--input", input, "--freq", "D", "--as-of", "2023-12-01", "--output", output]);
    }
    let (a, b) = (
        std::fs::read_to_string(d.join("a.csv")).unwrap(),
        std::fs::read_to_string(d.join("b.csv")).unwrap(),
    );
    assert_eq!(a, b);
    assert!(a.starts_with("unique_id,cutoff,horizon,p_falling,p_steady,p_rising,direction,growth"));
    assert_eq!(a.lines().count(), 31);
}

#[test]
fn threads_do_not_change_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("s.csv"), series_csv(25, 300)).unwrap();
    for threads in ["1", "4"] {
        ok(d, &["trends", "--input", "s.csv", "--threads", threads, "--output", &format!("t{threads}.csv")]);
        ok(
            d,
            &["forecast", "--input", "s.csv", "--threads", threads, "--output", &format!("f{threads}.csv")],
        );
    }
    for kind in ["t", "f"] {
        let read = |n: &str| std::fs::read(d.join(format!("{kind}{n}.csv"))).unwrap();
        assert_eq!(read("1"), read("4"));
    }
}

#[test]
fn the_backtest_ranks_models_by_what_they_would_have_missed() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    // A pure week: whoever knows the week is exact, whoever does not is far off.
    let mut rows = String::from("unique_id,ds,y\n");
    for t in 0..120 {
        rows.push_str(&format!("a,{},{}\n", super::day(t), [10, 20, 30, 40, 50, 60, 70][(t % 7) as usize]));
    }
    std::fs::write(d.join("week.csv"), rows).unwrap();
    let json = ok(
        d,
        &[
            "forecast",
            "evaluate",
            "--input",
            "week.csv",
            "--freq",
            "D",
            "--horizon",
            "7",
            "--model",
            "naive,seasonal_naive",
            "--json",
        ],
    );
    let board: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(board["all"][0]["model"], "seasonal_naive");
    assert_eq!(board["all"][0]["scores"]["mae"], 0.0);
    assert!(board["all"][1]["scores"]["mae"].as_f64().unwrap() > 10.0);
}

#[test]
fn replayed_trends_tell_how_right_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("s.csv"), series_csv(60, 700)).unwrap();
    let json = ok(d, &["trends", "evaluate", "--input", "s.csv", "--origins", "2", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(value.is_object());
    let told = ok(d, &["trends", "evaluate", "--input", "s.csv", "--origins", "2"]);
    for word in ["AUC", "log loss", "Brier", "F1"] {
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    std::fs::write(d.join("short.csv"), series_csv(5, 60)).unwrap();
    let e = fails(d, 1, &["trends", "evaluate", "--input", "short.csv"]);
    assert!(e.contains("at least"), "{e}");
}

#[test]
fn a_known_season_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    // Two groups whose years are opposite: at the cutoff one is about to rise, the other to fall.
    let mut rows = String::from("unique_id,ds,y\n");
    for p in 0..80_u64 {
        let phase = if p % 2 == 0 { 0.0 } else { std::f64::consts::PI };
        for t in 0..900_u64 {
            let year = 1.0 + 0.8 * (std::f64::consts::TAU * t as f64 / 365.25 + phase).sin();
            let y = (20.0 * year * (0.8 + 0.4 * noise(p * 7919 + t))).round();
            rows.push_str(&format!(
                "{}{p:02},{},{y}\n",
                if p % 2 == 0 { "up" } else { "down" },
                super::day(t)
            ));
        }
    }
    std::fs::write(d.join("s.csv"), rows).unwrap();
    // 2025-01-15: the sine has just begun to climb, the other to sink.
    ok(d, &["trends", "--input", "s.csv", "--as-of", "2025-01-15", "--output", "t.csv"]);
    let out = std::fs::read_to_string(d.join("t.csv")).unwrap();
    let right = out
        .lines()
        .skip(1)
        .filter(|l| {
            let c: Vec<&str> = l.split(',').collect();
            (c[0].starts_with("up") && c[6] == "rising") || (c[0].starts_with("down") && c[6] == "falling")
        })
        .count();
    assert!(right >= 72, "{right} of 80 are right\n{out}");
}

#[cfg(unix)]
#[test]
fn a_large_forecast_that_was_killed_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("s.csv"), series_csv(2_600, 60)).unwrap();
    let args = |output: &'static str| {
        ["forecast", "--input", "s.csv", "--horizon", "7", "--model", "theta,holt", "--output", output]
    };
    let files = || std::fs::read_dir(d.join("b.parquet.parts")).map_or(0, Iterator::count);
    ok(d, &args("a.parquet"));
    assert!(!d.join("a.parquet.parts").exists());
    let mut kills = 0;
    // Each time it is killed as soon as another part is there; signals: Ctrl-C, then -9.
    for signal in ["-INT", "-KILL", "-KILL"] {
        let before = files();
        let mut child =
            command(d, &args("b.parquet")).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while files() <= before.max(1) && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(300), "no part within five minutes");
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        let out = child.wait_with_output().unwrap();
        if out.status.success() {
            break; // Done before the blow.
        }
        assert!(sent.unwrap().success());
        kills += 1;
        assert!(!d.join("b.parquet").exists() && files() > 1);
        if signal == "-INT" {
            assert_eq!(out.status.code(), Some(130));
            assert!(super::text(&out.stderr).contains("b.parquet.parts"));
        }
    }
    assert!(kills > 0, "it was always done before the blow");
    ok(d, &args("b.parquet"));
    let read = |name: &str| std::fs::read(d.join(name)).unwrap();
    assert!(read("a.parquet") == read("b.parquet"));
    assert!(!d.join("b.parquet.parts").exists());
}

#[test]
fn prices_are_forecast_with_the_likeliest_one() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let mut rows = String::from("unique_id,ds,y\n");
    for p in 0..12_u64 {
        for t in 0..160_u64 {
            // Two prices on the shelf: the usual one and, every fourth week, one below it.
            let y = if (t / 7 + p) % 4 == 3 { 7.99 } else { 9.99 };
            rows.push_str(&format!("p{p:02},{},{y}\n", super::day(t)));
        }
    }
    std::fs::write(d.join("prices.csv"), rows).unwrap();
    let asked = ["forecast", "--input", "prices.csv", "--target", "price", "--horizon", "7"];
    ok(d, &[&asked[..], &["--output", "out.csv"]].concat());
    let out = std::fs::read_to_string(d.join("out.csv")).unwrap();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("unique_id,ds,model,mean,mode,q10,q90"));
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[2], "price");
        assert!(["7.99", "9.99"].contains(&cells[4]), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&ok(d, &[&asked[..], &["--json"]].concat())).unwrap();
    assert!(json[0]["series"][0]["steps"][0]["mode"].is_number());
    assert!(ok(d, &asked).contains("likeliest"));
}

#[test]
fn futures_of_a_series_are_about_its_forecast() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("sales.csv"), series_csv(2, 200)).unwrap();
    let args = ["forecast", "--input", "sales.csv", "--freq", "D", "--horizon", "7", "--model", "theta"];
    ok(d, &[&args[..], &["--scenarios", "paths.csv", "--paths", "50", "--output", "out.csv"]].concat());
    let paths = std::fs::read_to_string(d.join("paths.csv")).unwrap();
    let mut lines = paths.lines();
    assert_eq!(lines.next(), Some("unique_id,model,path,ds,y"));
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 2 * 50 * 7);
    let out = std::fs::read_to_string(d.join("out.csv")).unwrap();
    let names: Vec<&str> = out.lines().next().unwrap().split(',').collect();
    let q90 = names.iter().position(|n| *n == "q90").unwrap();
    for line in out.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let above = rows
            .iter()
            .filter(|r| r[0] == cells[0] && r[3] == cells[1])
            .filter(|r| r[4].parse::<f64>().unwrap() > cells[q90].parse::<f64>().unwrap() + 1e-4)
            .count();
        // One in ten lies above the 90 % quantile, or more where past sums spread wider.
        assert!((5..=13).contains(&above), "{above}: {line}");
    }
    fails(d, 1, &[&args[..], &["--scenarios", "paths.csv", "--paths", "1"]].concat());
    fails(d, 1, &[&args[..], &["--scenarios", "paths.doc"]].concat());
}
