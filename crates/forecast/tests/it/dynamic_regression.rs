//! Dynamic regression: coefficients against exact maximum likelihood, planted effects, and what is planned ahead.

use serde_json::{Value, json};
use std::path::Path;
use tradewind_core::{Ahead, Covariate, FittedForecaster as _, Freq, Panel, Params, Run};
use tradewind_forecast::dynamic_regression::DynamicRegression;

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn column(name: &str, values: Vec<f64>) -> Covariate {
    Covariate { name: name.into(), known_ahead: true, offsets: vec![0, values.len()], values }
}

fn plain() -> DynamicRegression {
    DynamicRegression { calendar: "none".into(), long_season: Some(0.0), ..DynamicRegression::default() }
}

/// By statsmodels' SARIMAX, each within its own standard error, although the errors are whitened by an autoregression
/// here and are ARIMA of a known order there.
#[test]
fn coefficients_are_those_of_the_largest_likelihood() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/dynamic_regression.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("readable")).expect("JSON");
    for case in kept["cases"].as_array().expect("cases") {
        let mut panel =
            Panel::from_series(Freq::STEP, vec![("a".into(), 0, numbers(&case["y"]))]).expect("a panel");
        for (j, x) in case["x"].as_array().expect("columns").iter().enumerate() {
            panel = panel.with_covariate(column(&format!("x{j}"), numbers(x))).expect("fits");
        }
        let season = case["season_length"].as_u64().expect("a count") as usize;
        let model = DynamicRegression { season_length: Some(season), penalty: 0.01, ..plain() };
        let fitted = model.fit_panel(&Run::new(0), &panel).expect("fits");
        let got = fitted.coefficients(0);
        for ((name, b), (want, se)) in
            got.iter().zip(numbers(&case["beta"]).iter().zip(numbers(&case["std_error"])))
        {
            assert!((b - want).abs() < se, "{} {name}: {b}, statsmodels {want} ± {se}", case["name"]);
        }
    }
}

#[test]
fn a_plan_moves_the_forecast_by_its_effect() {
    let on = |t: usize| f64::from(u8::from(t % 11 == 3 || t % 17 == 8));
    let y: Vec<f64> = (0..200)
        .map(|t| {
            80.0 + 25.0 * on(t) + [6.0, 2.0, 0.0, -1.0, -3.0, -4.0, 0.0][t % 7] + (t * 31 % 13) as f64 * 0.1
        })
        .collect();
    let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).expect("a panel");
    let panel = panel.with_covariate(column("promotion", (0..214).map(on).collect())).expect("fits");
    let run = Run::new(1);
    for transform in ["none", "log1p"] {
        for errors in ["ets", "auto_arima", "theta"] {
            let model = DynamicRegression {
                errors: errors.into(),
                transform: transform.into(),
                ..DynamicRegression::default()
            };
            let fitted = model.fit_panel(&run, &panel).expect("fits");
            let asked = |values: [f64; 2]| {
                let mut all: Vec<f64> = (0..200).map(on).collect();
                all.extend(values);
                vec![column("promotion", all)]
            };
            let mean = |future: Vec<Covariate>| {
                let ahead = Ahead { future: Some(&future), ..Ahead::new(2, &[]) };
                fitted.predict(&run, &ahead).expect("predicts").mean(0).to_vec()
            };
            let (without, with) = (mean(asked([0.0, 0.0])), mean(asked([0.0, 1.0])));
            assert!((without[0] - with[0]).abs() < 1e-9, "{errors} {transform}");
            assert!(
                (with[1] - without[1] - 25.0).abs() < 2.0,
                "{errors} {transform}: {}",
                with[1] - without[1]
            );
        }
    }
}

#[test]
fn waves_carry_a_year_and_saved_state_goes_on() {
    let year = |t: usize| 30.0 * (std::f64::consts::TAU * t as f64 / 365.25).sin();
    let y: Vec<f64> =
        (0..900).map(|t| 100.0 + year(t) + 0.02 * t as f64 + (t * 7919 % 101) as f64 * 0.05).collect();
    let panel = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, y[..700].to_vec())]).expect("a panel");
    let entry = tradewind_forecast::entry("dynamic_regression").expect("is there");
    let params: Params =
        serde_json::from_value(json!({"calendar": "none", "errors": "ets"})).expect("parameters");
    let run = Run::new(1);
    let mut fitted = (entry.build)(&params).expect("builds").fit(&run, &panel).expect("fits");
    let ahead = Ahead::new(200, &[0.1, 0.9]);
    let off = |f: &tradewind_core::Forecast, from: usize| {
        (0..900 - from).map(|k| (f.mean(0)[k] - y[from + k]).abs()).sum::<f64>() / (900 - from) as f64
    };
    let said = fitted.predict(&run, &ahead).expect("predicts");
    assert!(off(&said, 700) < 5.0, "{}", off(&said, 700));
    let plain = (tradewind_forecast::entry("ets").expect("is there").build)(&Params::new()).expect("builds");
    let flat = plain.fit(&run, &panel).expect("fits").predict(&run, &ahead).expect("predicts");
    assert!(off(&said, 700) < 0.5 * off(&flat, 700), "{} {}", off(&said, 700), off(&flat, 700));
    let newer =
        Panel::from_series(Freq::DAILY, vec![("a".into(), panel.series(0).ds(700), y[700..800].to_vec())])
            .expect("a panel");
    fitted.update(&run, &newer).expect("goes on");
    let mut again = (entry.load)(fitted.save().expect("saves")).expect("loads");
    let (a, b) =
        (fitted.predict(&run, &ahead).expect("predicts"), again.predict(&run, &ahead).expect("predicts"));
    assert_eq!(a.mean(0), b.mean(0));
    assert!(off(&a, 800) < 5.0, "{}", off(&a, 800));
    assert!(again.update(&run, &panel).is_err(), "what is known already is refused");
}
