//! Forecasts that other implementations gave for the same series.
//!
//! Every `tests/reference/*.json` is one file of cases; a new one needs no edit here. A file holds `model`, `library`
//! (name and version), `made_by` (the script beside it), and `cases`, each with `name`, `params`, `freq`, `y` (`null`
//! where unknown), `mean`, optionally `sd`, the relative tolerance `rtol` and, where it is wide, `why`.

use serde_json::Value;
use std::path::Path;
use tradewind_core::{Ahead, Freq, Panel, Params, Run};
use tradewind_forecast::entry;
use tradewind_forecast::stl::{StlParams, decompose};

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().expect("a list").iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
}

#[test]
fn forecasts_equal_those_of_other_libraries() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of references")
        .map(|f| f.expect("readable").path())
        .filter(|f| f.extension().is_some_and(|x| x == "json"))
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("readable");
        let doc: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let Some(model) = doc["model"].as_str() else { continue };
        assert!(doc["library"].is_string(), "{}: no library", file.display());
        assert!(
            folder.join(doc["made_by"].as_str().expect("made_by")).is_file(),
            "{}: no script",
            file.display()
        );
        for case in doc["cases"].as_array().expect("cases") {
            cases += 1;
            let name = format!("{model} / {}", case["name"].as_str().expect("a name"));
            if let Err(e) = check(model, case) {
                wrong.push(format!("{name}: {e}"));
            }
        }
    }
    assert!(cases > 0, "no reference was found");
    assert!(wrong.is_empty(), "{} of {cases} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn stl_parts_equal_those_of_statsmodels() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/stl_parts.json");
    let doc: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("readable")).expect("JSON");
    let parts = doc["parts"].as_array().expect("parts");
    assert!(parts.len() > 2);
    for p in parts {
        let whole = |name: &str| p[name].as_u64().expect("a count") as usize;
        let params = StlParams::new(whole("season_length"))
            .with_season_window(whole("season_window"))
            .with_robust(p["robust"] == true);
        let stl = decompose(&numbers(&p["y"]), &params).expect("long enough");
        // Sums are taken in another order there; the robust turns carry that on.
        for (name, ours, tolerance) in
            [("trend", &stl.trend, 1e-8), ("season", &stl.season, 1e-8), ("weights", &stl.weights, 1e-7)]
        {
            for (t, (a, b)) in ours.iter().zip(numbers(&p[name])).enumerate() {
                assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{} {name} {t}: {a} {b}", p["name"]);
            }
        }
    }
}

fn check(model: &str, case: &Value) -> Result<(), String> {
    let params: Params = case["params"].as_object().cloned().unwrap_or_default();
    let freq: Freq = case["freq"].as_str().unwrap_or("1").parse().map_err(|e| format!("{e}"))?;
    let rtol = case["rtol"].as_f64().ok_or("no rtol")?;
    if rtol > 1e-5 && !case["why"].is_string() {
        return Err("a wide tolerance needs its reason in `why`".into());
    }
    let panel =
        Panel::from_series(freq, vec![("x".into(), 0, numbers(&case["y"]))]).map_err(|e| e.to_string())?;
    let run = Run::new(0).with_threads(1);
    let built = (entry(model).map_err(|e| e.to_string())?.build)(&params).map_err(|e| e.to_string())?;
    let fitted = built.fit(&run, &panel).map_err(|e| e.to_string())?;
    let mean = numbers(&case["mean"]);
    // One standard deviation above the mean.
    let level = 0.841_344_746_068_542_9;
    let f = fitted.predict(&run, &Ahead::new(mean.len(), &[level])).map_err(|e| e.to_string())?;
    let scale = numbers(&case["y"]).iter().filter(|v| !v.is_nan()).map(|v| v.abs()).fold(0.0, f64::max);
    let close = |a: f64, b: f64, tol: f64| (a - b).abs() <= tol * b.abs().max(1e-3 * scale);
    for (k, want) in mean.iter().enumerate() {
        let got = f.mean(0)[k];
        if !close(got, *want, rtol) {
            return Err(format!("step {k}: mean {got}, reference {want}"));
        }
    }
    if !case["sd"].is_null() {
        let rtol_sd = case["rtol_sd"].as_f64().unwrap_or(rtol);
        for (k, want) in numbers(&case["sd"]).iter().enumerate() {
            let got = f.quantile(0, k, level).ok_or("no quantile")? - f.mean(0)[k];
            if !close(got, *want, rtol_sd) {
                return Err(format!("step {k}: standard deviation {got}, reference {want}"));
            }
        }
    }
    Ok(())
}
