//! Values learnt by other implementations (`reference/linear_models.py` names them and their versions).

use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::calibrate::{Isotonic, Platt, Temperature};
use tradewind_learn::elastic_net::ElasticNet;
use tradewind_learn::huber::Huber;
use tradewind_learn::linear::{Ols, Ridge};
use tradewind_learn::logistic::Logistic;
use tradewind_learn::polynomial::Polynomial;
use tradewind_learn::quantile::Quantile;
use tradewind_learn::spline::{SplineBasis, SplineParams};
use tradewind_learn::{Dataset, Matrix};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/linear_models.json")).unwrap()
}

pub(crate) fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

pub(crate) fn labels(v: &Value) -> Vec<usize> {
    list(v).iter().map(|v| *v as usize).collect()
}

pub(crate) fn matrix(v: &Value) -> Matrix {
    Matrix::from_rows(&v.as_array().unwrap().iter().map(list).collect::<Vec<_>>()).unwrap()
}

fn data(r: &Value, target: &str) -> Dataset {
    let data = Dataset::new(matrix(&r["x"]), list(&r[target]), vec![]).unwrap();
    data.with_weight(list(&r["w"])).unwrap()
}

/// Relative to values above 1, absolute below.
#[track_caller]
pub(crate) fn near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{what} {i}: got {g}, reference {w}");
    }
}

#[test]
fn ols_table_as_statsmodels() {
    let r = reference();
    let model = Ols.fit(&Run::new(0), &data(&r, "y")).unwrap();
    let column =
        |f: fn(&tradewind_learn::linear::Coefficient) -> f64| model.table().iter().map(f).collect::<Vec<_>>();
    near("coef", &column(|c| c.value), &list(&r["ols"]["coef"]), 1e-9);
    near("std_error", &column(|c| c.std_error.unwrap()), &list(&r["ols"]["std_error"]), 1e-9);
    near("t", &column(|c| c.t.unwrap()), &list(&r["ols"]["t"]), 1e-9);
    near("p", &column(|c| c.p.unwrap()), &list(&r["ols"]["p"]), 1e-9);
    near("r_squared", &[model.r_squared()], &[r["ols"]["r_squared"].as_f64().unwrap()], 1e-9);
    near("coef()", model.coef(), &list(&r["ols"]["coef"])[1..], 1e-9);
    near("intercept()", &[model.intercept()], &list(&r["ols"]["coef"])[..1], 1e-9);
}

#[test]
fn ridge_as_sklearn() {
    let r = reference();
    let model = Ridge { alpha: 2.5 }.fit(&Run::new(0), &data(&r, "y")).unwrap();
    near("coef", model.coef(), &list(&r["ridge"]["coef"]), 1e-9);
    near("intercept", &[model.intercept()], &[r["ridge"]["intercept"].as_f64().unwrap()], 1e-9);
}

/// The reference solves the linear programme by simplex; the interior point ends within 1e-9 of its loss.
#[test]
fn quantile_as_sklearn() {
    let r = reference();
    for level in ["0.1", "0.5", "0.9"] {
        let params = Quantile { level: level.parse().unwrap(), ..Quantile::default() };
        let model = params.fit(&Run::new(0), &data(&r, "y")).unwrap();
        near(level, model.line().coef(), &list(&r["quantile"][level]["coef"]), 1e-5);
        near(
            level,
            &[model.line().intercept()],
            &[r["quantile"][level]["intercept"].as_f64().unwrap()],
            1e-4,
        );
    }
}

#[test]
fn huber_as_sklearn() {
    let r = reference();
    let model = Huber::default().fit(&Run::new(0), &data(&r, "y")).unwrap();
    near("coef", model.line().coef(), &list(&r["huber"]["coef"]), 1e-3);
    near("scale", &[model.scale()], &[r["huber"]["scale"].as_f64().unwrap()], 1e-3);
}

#[test]
fn lasso_and_elastic_net_as_sklearn() {
    let r = reference();
    for (name, alpha, l1_ratio) in [("lasso", 0.3, 1.0), ("elastic_net", 0.5, 0.4)] {
        let params = ElasticNet { alpha, l1_ratio, ..ElasticNet::default() };
        let data = data(&r, "y");
        let model = params.fit(&Run::new(0), &data).unwrap();
        near(name, model.line().coef(), &list(&r[name]["coef"]), 1e-6);
        near(name, &[model.line().intercept()], &[r[name]["intercept"].as_f64().unwrap()], 1e-6);
        let path = params.path(&Run::new(0), &data, &[5.0, 1.0, alpha]).unwrap();
        near("warm start", path[2].line().coef(), model.line().coef(), 1e-7);
    }
}

#[test]
fn logistic_as_sklearn() {
    let r = reference();
    for (name, target, l2) in [
        ("logistic_binary", "binary", 2.0),
        ("logistic_multi", "multi", 0.5),
        ("logistic_free", "multi", 0.0),
    ] {
        let data = data(&r, target);
        let params = Logistic { l2, tolerance: 1e-8, ..Logistic::default() };
        let model = params.fit(&Run::new(0), &data).unwrap();
        assert!(model.converged(), "{name} after {}", model.n_iter());
        near(name, model.coef().values(), matrix(&r[name]["coef"]).values(), 1e-4);
        near(name, model.intercept(), &list(&r[name]["intercept"]), 1e-4);
        let proba = model.predict_proba(&data.x().select_rows(&[0, 1, 2, 3, 4])).unwrap();
        near(name, proba.values(), matrix(&r[name]["proba"]).values(), 1e-5);
        // The default tolerance already gives four digits.
        let quick = Logistic { l2, ..Logistic::default() }.fit(&Run::new(0), &data).unwrap();
        near(name, quick.coef().values(), matrix(&r[name]["coef"]).values(), 1e-4);
    }
}

#[test]
fn polynomial_as_sklearn() {
    let r = reference();
    let x = matrix(&r["x"]).select_rows(&[0, 1, 2]).select_columns(&[0, 1, 2]);
    let basis = Polynomial { degree: 3, interaction_only: false }.fit(3).unwrap();
    near("products", basis.transform(&x).unwrap().values(), matrix(&r["polynomial"]).values(), 1e-12);
}

#[test]
fn isotonic_as_sklearn() {
    let r = reference();
    let (score, grid) = (list(&r["isotonic"]["score"]), list(&r["isotonic"]["grid"]));
    let fitted = Isotonic.fit(&score, &list(&r["binary"]), Some(&list(&r["w"]))).unwrap();
    near("isotonic", &fitted.predict(&grid), &list(&r["isotonic"]["value"]), 1e-6);
}

#[test]
fn platt_as_sklearn() {
    let r = reference();
    let happened: Vec<bool> = labels(&r["binary"]).iter().map(|c| *c == 1).collect();
    let fitted = Platt.fit(&Run::new(0), &list(&r["isotonic"]["score"]), &happened).unwrap();
    near("a", &[fitted.a], &[r["platt"]["a"].as_f64().unwrap()], 1e-3);
    near("b", &[fitted.b], &[r["platt"]["b"].as_f64().unwrap()], 1e-3);
}

#[test]
fn temperature_as_scipy() {
    let r = &reference()["temperature"];
    let fitted = Temperature.fit(&matrix(&r["proba"]), &labels(&r["label"])).unwrap();
    near("temperature", &[fitted.temperature], &[r["value"].as_f64().unwrap()], 1e-5);
}

/// A natural spline made by scipy through the same knots must be found exactly, also far outside.
#[test]
fn spline_spans_natural_splines_of_scipy() {
    let r = &reference()["spline"];
    let train = Matrix::from_columns(&[list(&r["x"])]).unwrap();
    let spline = SplineBasis::fit(&train, &SplineParams { n_knots: 5 }).unwrap();
    near("knots", spline.knots(0), &list(&r["knots"]), 1e-12);
    let data = Dataset::new(spline.transform(&train).unwrap(), list(&r["y"]), vec![]).unwrap();
    let model = Ols.fit(&Run::new(0), &data).unwrap();
    near("inside", &model.predict(data.x()).unwrap(), &list(&r["y"]), 1e-9);
    let far = spline.transform(&Matrix::from_columns(&[list(&r["far"])]).unwrap()).unwrap();
    near("far", &model.predict(&far).unwrap(), &list(&r["far_y"]), 1e-7);
}
