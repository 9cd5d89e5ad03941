//! ARIMA against other programs: the exact likelihood at its maximum, and chosen orders.

use serde_json::Value;
use std::path::Path;
use tradewind_core::{Freq, Panel, Params, Run, Series};
use tradewind_forecast::arima::{Arima, FittedArima};
use tradewind_forecast::auto_arima::AutoArima;
use tradewind_forecast::local::{FittedSeries, LocalModel};

fn read(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name);
    serde_json::from_str(&std::fs::read_to_string(file).expect("readable")).expect("JSON")
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().expect("a list").iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
}

#[test]
fn the_largest_likelihood_equals_that_of_statsmodels() {
    for case in read("arima_likelihood.json")["likelihoods"].as_array().expect("cases") {
        let model: Arima = serde_json::from_value(case["params"].clone()).expect("parameters");
        let y = numbers(&case["y"]);
        let fitted = model.fit_series(Series::counted(&y)).expect("long enough");
        let want = case["log_likelihood"].as_f64().expect("a number");
        let got = fitted.log_likelihood();
        // Both searches end at the same maximum.
        assert!((got - want).abs() < 1e-4, "{}: {got}, statsmodels {want}", case["name"]);
    }
}

#[test]
fn chosen_orders_are_as_good_as_those_of_statsforecast() {
    for case in read("auto_arima_orders.json")["orders"].as_array().expect("cases") {
        let y = numbers(&case["y"]);
        let m = case["season_length"].as_u64().expect("a count") as usize;
        let model = AutoArima { season_length: Some(m), ..AutoArima::default() };
        let fitted = model.fit_series(Series::counted(&y)).expect("long enough");
        let order = fitted.order();
        let want: Vec<u64> =
            case["order"].as_array().expect("three").iter().filter_map(Value::as_u64).collect();
        let seasonal: Vec<u64> =
            case["seasonal"].as_array().expect("three").iter().filter_map(Value::as_u64).collect();
        let same_differences = (order.d as u64, order.seasonal_d as u64) == (want[1], seasonal[1]);
        let aicc = case["aicc"].as_f64().expect("a number");
        // With the same differences the criteria can be compared, and ours is about as low.
        assert!(same_differences, "{}: {order}, statsforecast {want:?} {seasonal:?}", case["name"]);
        assert!(
            fitted.aicc() < aicc + 0.2,
            "{}: {order} {}, statsforecast {want:?} {seasonal:?} {aicc}",
            case["name"],
            fitted.aicc()
        );
    }
}

/// A process whose parameters are known.
fn simulated(n: usize) -> Vec<f64> {
    let mut state = 12_345_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let e: Vec<f64> = (0..n + 100).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect();
    let mut y = vec![0.0; n + 100];
    for t in 1..n + 100 {
        y[t] = 0.7 * y[t - 1] + e[t] + 0.4 * e[t - 1];
    }
    y[100..].iter().map(|v| v + 50.0).collect()
}

#[test]
fn known_coefficients_are_found_again() {
    let y = simulated(4000);
    let model = Arima { p: 1, d: 0, q: 1, seasonal_d: 0, seasonal_q: 0, ..Arima::default() };
    let fitted = model.fit_series(Series::counted(&y)).expect("long");
    assert!((fitted.ar()[0] - 0.7).abs() < 0.05 && (fitted.ma()[0] - 0.4).abs() < 0.06, "{fitted:?}");
    assert!((fitted.variance() - 1.0).abs() < 0.06 && (fitted.constant() - 50.0).abs() < 0.4);
    let far = fitted.predict(200);
    assert!((far.mean[199] - fitted.constant()).abs() < 1e-6);
    // The variance of the process: 1 + (φ + θ)² / (1 − φ²).
    let (a, b) = (fitted.ar()[0], fitted.ma()[0]);
    let want = (fitted.variance() * (1.0 + (a + b) * (a + b) / (1.0 - a * a))).sqrt();
    assert!((far.sd[199] - want).abs() < 1e-6 * want);
}

#[test]
fn an_update_is_what_the_filter_would_have_said() {
    let y = simulated(300);
    let model = Arima { p: 1, d: 1, q: 1, seasonal_d: 0, seasonal_q: 0, ..Arima::default() };
    let mut said = Vec::new();
    let whole: FittedArima = model.fit_with(Series::counted(&y), Some(&mut said)).expect("long enough");
    assert_eq!(said.len(), y.len());
    assert!(said[0].is_nan() && said[1..].iter().all(|v| v.is_finite()));
    // From the same parameters: cut the end off by going on step by step.
    let mut fitted = model.fit_series(Series::counted(&y[..250])).expect("long enough");
    for v in &y[250..] {
        fitted.update(&[*v]);
    }
    for (a, b) in fitted.predict(5).mean.iter().zip(whole.predict(5).mean) {
        assert!((a - b).abs() < 0.2, "{a} {b}");
    }
}

#[test]
fn gaps_widen_what_follows() {
    let y = simulated(200);
    let mut fitted = Arima { seasonal_d: 0, seasonal_q: 0, ..Arima::default() }
        .fit_series(Series::counted(&y))
        .expect("long");
    let before = fitted.predict(4);
    fitted.update(&[f64::NAN, f64::NAN]);
    let after = fitted.predict(2);
    for k in 0..2 {
        assert!(
            (after.mean[k] - before.mean[k + 2]).abs() < 1e-9
                && (after.sd[k] - before.sd[k + 2]).abs() < 1e-9
        );
    }
}

#[test]
fn fitted_models_are_reached_through_the_panel() {
    let panel = Panel::from_series(Freq::STEP, vec![("a".into(), 0, simulated(120))]).expect("one");
    let params = Params::new();
    let model = tradewind_forecast::entry("auto_arima").expect("there");
    let fitted = (model.build)(&params).expect("defaults").fit(&Run::new(1), &panel).expect("fits");
    assert!(fitted.save().is_ok());
}
