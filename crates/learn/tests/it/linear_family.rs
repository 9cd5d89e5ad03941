//! The linear family: reference values (`reference/linear_family.py` names their source) and laws.

use proptest::prelude::*;
use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::elastic_net::{AlphaRule, ElasticNet};
use tradewind_learn::glm::{FittedGlm, Gamma, Poisson, Tweedie};
use tradewind_learn::linear::Ridge;
use tradewind_learn::logistic::{ClassWeight, Extras, FittedLogistic, Logistic};
use tradewind_learn::polynomial::PolynomialRegression;
use tradewind_learn::ridge_cv::RidgeCv;
use tradewind_learn::{Dataset, Matrix};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/linear_family.json")).unwrap()
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn matrix(v: &Value) -> Matrix {
    Matrix::from_rows(&v.as_array().unwrap().iter().map(list).collect::<Vec<_>>()).unwrap()
}

fn data(r: &Value, target: &str) -> Dataset {
    Dataset::new(matrix(&r["x"]), list(&r[target]), vec![]).unwrap()
}

fn weighted(r: &Value, target: &str) -> Dataset {
    data(r, target).with_weight(list(&r["w"])).unwrap()
}

/// Relative to values above 1, absolute below.
#[track_caller]
fn near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{what} {i}: got {g}, reference {w}");
    }
}

fn check_glm(name: &str, model: &FittedGlm, r: &Value) {
    assert!(model.converged(), "{name}");
    let table = model.table();
    near(name, &table.iter().map(|c| c.value).collect::<Vec<_>>(), &list(&r["coef"]), 1e-5);
    let errors: Vec<f64> = table.iter().map(|c| c.std_error.unwrap()).collect();
    near(name, &errors, &list(&r["std_error"]), 1e-5);
    near(name, &table.iter().map(|c| c.p.unwrap()).collect::<Vec<_>>(), &list(&r["p"]), 1e-5);
    near(name, &[model.deviance()], &[r["deviance"].as_f64().unwrap()], 1e-8);
    near(name, &[model.null_deviance()], &[r["null_deviance"].as_f64().unwrap()], 1e-6);
    near(name, &[model.dispersion().unwrap()], &[r["scale"].as_f64().unwrap()], 1e-6);
}

#[test]
fn poisson_gamma_and_tweedie_as_statsmodels() {
    let (r, run) = (reference(), Run::new(0));
    let offset = list(&r["offset"]);
    let poisson = Poisson::default().fit_offset(&run, &weighted(&r, "counts"), &offset).unwrap();
    check_glm("poisson", &poisson, &r["poisson"]);
    let gamma = Gamma::default().fit_offset(&run, &weighted(&r, "amounts"), &offset).unwrap();
    check_glm("gamma", &gamma, &r["gamma"]);
    let params = Tweedie { power: 1.6, ..Tweedie::default() };
    let tweedie = params.fit_offset(&run, &weighted(&r, "mixed"), &offset).unwrap();
    check_glm("tweedie", &tweedie, &r["tweedie"]);
}

#[test]
fn penalised_poisson_and_tweedie_as_scikit_learn() {
    let (r, run) = (reference(), Run::new(0));
    let poisson = Poisson { alpha: 0.3, ..Poisson::default() };
    let tweedie = Tweedie { power: 1.6, alpha: 0.3, ..Tweedie::default() };
    for (name, model) in [
        ("poisson_l2", poisson.fit(&run, &weighted(&r, "counts")).unwrap()),
        ("tweedie_l2", tweedie.fit(&run, &weighted(&r, "mixed")).unwrap()),
    ] {
        near(name, model.line().coef(), &list(&r[name]["coef"]), 1e-5);
        near(name, &[model.line().intercept()], &[r[name]["intercept"].as_f64().unwrap()], 1e-4);
        assert!(model.table().iter().all(|c| c.std_error.is_none()));
    }
}

#[test]
fn logistic_errors_as_statsmodels() {
    let (r, run) = (reference(), Run::new(0));
    let free = Logistic { l2: 0.0, tolerance: 1e-9, ..Logistic::default() };
    for (name, target) in [("logit", "binary"), ("mnlogit", "multi")] {
        let table = free.fit(&run, &data(&r, target)).unwrap().table();
        near(name, &table.iter().map(|c| c.value).collect::<Vec<_>>(), &list(&r[name]["coef"]), 1e-5);
        let errors: Vec<f64> = table.iter().map(|c| c.std_error.unwrap()).collect();
        near(name, &errors, &list(&r[name]["std_error"]), 1e-5);
        if let Some(p) = r[name].get("p") {
            near(name, &table.iter().map(|c| c.p.unwrap()).collect::<Vec<_>>(), &list(p), 1e-6);
        }
    }
}

#[test]
fn penalties_on_absolute_values_as_scikit_learn() {
    let (r, run) = (reference(), Run::new(0));
    for (name, target, l1, l2) in [
        ("l1_binary", "binary", 10.0, 0.0),
        ("l1_multi", "multi", 5.0, 0.0),
        ("elastic_binary", "binary", 2.5, 2.5),
        ("elastic_multi", "multi", 2.5, 2.5),
    ] {
        let params = Logistic { l1, l2, tolerance: 1e-9, ..Logistic::default() };
        let model = params.fit(&run, &data(&r, target)).unwrap();
        assert!(model.converged(), "{name}");
        let want = matrix(&r[name]["coef"]);
        near(name, model.coef().values(), want.values(), 1e-4);
        near(name, model.intercept(), &list(&r[name]["intercept"]), 5e-3);
        for (got, want) in model.coef().values().iter().zip(want.values()) {
            assert_eq!(*got == 0.0, want.abs() < 1e-7, "{name}: {got} {want}");
        }
    }
}

#[test]
fn balanced_classes_as_scikit_learn() {
    let (r, run) = (reference(), Run::new(0));
    let params = Logistic { class_weight: ClassWeight::Balanced, tolerance: 1e-9, ..Logistic::default() };
    let model = params.fit(&run, &data(&r, "binary")).unwrap();
    near("balanced", model.coef().values(), &list(&r["balanced"]["coef"]), 1e-5);
    near("balanced", model.intercept(), &[r["balanced"]["intercept"].as_f64().unwrap()], 1e-4);
}

#[test]
fn chosen_ridge_as_scikit_learn() {
    let (r, run) = (reference(), Run::new(0));
    let params = RidgeCv { alphas: list(&r["ridge_cv"]["alphas"]), ..RidgeCv::default() };
    let model = params.fit(&run, &data(&r, "y")).unwrap();
    assert_eq!(model.alpha(), r["ridge_cv"]["alpha"].as_f64().unwrap());
    near("coef", model.line().coef(), &list(&r["ridge_cv"]["coef"]), 1e-8);
    let errors: Vec<f64> = model.tried().iter().map(|t| t.error).collect();
    near("errors", &errors, &list(&r["ridge_cv"]["errors"]), 1e-8);
}

#[test]
fn lasso_path_as_scikit_learn() {
    let (r, run) = (reference(), Run::new(0));
    let alphas = list(&r["lasso_path"]["alphas"]);
    let path = ElasticNet::default().path(&run, &data(&r, "y"), &alphas).unwrap();
    let want = matrix(&r["lasso_path"]["coef"]);
    for (k, model) in path.iter().enumerate() {
        near("path", model.line().coef(), want.row(k), 1e-6);
    }
}

#[test]
fn a_chosen_lasso_errs_as_its_folds_do() {
    let (r, run) = (reference(), Run::new(3));
    let data = data(&r, "y");
    let params = ElasticNet { n_folds: 4, ..ElasticNet::default() };
    let model = params.fit(&run, &data).unwrap();
    let tried = model.tried();
    // The same by hand, for one alpha.
    let point = tried[40];
    let folds = tradewind_learn::crossval::KFold { n_folds: 4, shuffle: true };
    let mut error = 0.0;
    for split in folds.split(&run, data.n_rows()).unwrap() {
        let train = data.select_rows(&split.train).unwrap();
        let test = data.select_rows(&split.test).unwrap();
        let fitted = ElasticNet { alpha: point.alpha, ..ElasticNet::default() }.fit(&run, &train).unwrap();
        let said = fitted.predict(test.x()).unwrap();
        let sum: f64 = said.iter().zip(test.y()).map(|(p, y)| (p - y) * (p - y)).sum();
        error += sum / test.n_rows() as f64 / 4.0;
    }
    near("error", &[point.error], &[error], 1e-6);
    let sparse = ElasticNet { rule: AlphaRule::OneStandardError, ..params }.fit(&run, &data).unwrap();
    assert!(sparse.alpha() > model.alpha() && sparse.n_used() <= model.n_used());
    assert!(tried.iter().all(|t| t.error >= tried.iter().find(|t| t.alpha == model.alpha()).unwrap().error));
}

fn generated(n: usize, p: usize) -> Dataset {
    let rows: Vec<Vec<f64>> =
        (0..n).map(|i| (0..p).map(|j| ((i * (2 * j + 3) + j) as f64 * 0.7153).sin()).collect()).collect();
    let y = rows.iter().enumerate().map(|(i, r)| {
        let noise = ((i * i) as f64 * 0.37).sin();
        f64::from(u8::from(r[0] + 0.5 * r[1] + noise > 0.1)) + f64::from(u8::from(r[2] + noise > 0.9))
    });
    let y = y.collect();
    Dataset::new(Matrix::from_rows(&rows).unwrap(), y, vec![]).unwrap()
}

fn binary(data: &Dataset) -> Dataset {
    data.with_target(data.y().iter().map(|y| y.min(1.0)).collect()).unwrap()
}

/// The gradient of the penalised loss on the scale of the data, by plain sums.
fn gradient(data: &Dataset, model: &FittedLogistic, l2: &[f64]) -> Vec<f64> {
    let proba = model.predict_proba(data.x()).unwrap();
    let logits = model.intercept().len();
    let first = model.n_classes() - logits;
    let mut out = Vec::new();
    for k in 0..logits {
        let mut g: Vec<f64> = model.coef().row(k).iter().zip(l2).map(|(c, l)| c * l).collect();
        for (i, row) in data.x().rows().enumerate() {
            let miss = proba.get(i, first + k) - f64::from(u8::from(data.y()[i] == (first + k) as f64));
            g.iter_mut().zip(row).for_each(|(g, x)| *g += miss * x);
        }
        out.extend(g);
    }
    out
}

/// So many rows that the search starts on a part of them.
#[test]
fn the_gradient_vanishes_on_many_rows() {
    let data = generated(50_000, 4);
    let run = Run::new(0);
    let factor = [1.0, 0.0, 30.0, 1.0];
    for data in [binary(&data), data] {
        let extras = Extras { penalty_factor: Some(&factor), ..Extras::default() };
        let params = Logistic { l2: 10.0, tolerance: 1e-9, ..Logistic::default() };
        let model = params.fit_with(&run, &data, &extras).unwrap();
        assert!(model.converged());
        let g = gradient(&data, &model, &factor.map(|f| 10.0 * f));
        assert!(g.iter().all(|g| g.abs() < 1e-3), "{g:?}");
        // From its own answer the search ends at once.
        let extras = Extras { start: Some(&model), ..extras };
        let again = params.fit_with(&run, &data, &extras).unwrap();
        near("again", again.coef().values(), model.coef().values(), 1e-6);
        // Optimality with absolute values: the gradient equals the penalty where a coefficient moves.
        let lasso = Logistic { l1: 400.0, l2: 0.0, tolerance: 1e-9, ..Logistic::default() };
        let sparse = lasso.fit(&run, &data).unwrap();
        assert!(sparse.converged() && sparse.coef().values().contains(&0.0));
        for (g, c) in gradient(&data, &sparse, &[0.0; 4]).iter().zip(sparse.coef().values()) {
            let missed = if *c == 0.0 { (g.abs() - 400.0).max(0.0) } else { (g + 400.0 * c.signum()).abs() };
            assert!(missed < 1e-2, "{g} {c}");
        }
    }
}

#[test]
fn faults_of_extras_and_targets_are_told() {
    let data = binary(&generated(60, 3));
    let run = Run::new(0);
    let short = Extras { penalty_factor: Some(&[1.0]), ..Extras::default() };
    let fault = Logistic::default().fit_with(&run, &data, &short).unwrap_err().to_string();
    assert!(fault.contains("3 columns but 1 penalty factors"), "{fault}");
    let negative = data.with_target(vec![-1.0; 60]).unwrap();
    let fault = Poisson::default().fit(&run, &negative).unwrap_err().to_string();
    assert!(fault.contains("row 0 has -1"), "{fault}");
    let fault = Gamma::default().fit(&run, &data).unwrap_err().to_string();
    assert!(fault.contains("above 0"), "{fault}");
    let zeros = data.with_target(vec![0.0; 60]).unwrap();
    assert!(Poisson::default().fit(&run, &zeros).is_err());
    assert!(Poisson::default().fit_offset(&run, &data, &[0.0]).is_err());
}

#[test]
fn the_degree_of_a_polynomial_is_found() {
    let data = generated(300, 3);
    let run = Run::new(1);
    let y = |degree: usize| {
        data.x()
            .rows()
            .enumerate()
            .map(|(i, r)| {
                let noise = 0.05 * ((i * 31) as f64 * 1.9).sin();
                match degree {
                    1 => r[0] - r[1] + noise,
                    2 => r[0] * r[1] + r[2] * r[2] + noise,
                    _ => r[0] * r[1] * r[2] + noise,
                }
            })
            .collect()
    };
    for degree in 1..=3 {
        let params = PolynomialRegression { degree: 0, degree_max: 4, ..PolynomialRegression::default() };
        let model = params.fit(&run, &data.with_target(y(degree)).unwrap()).unwrap();
        assert_eq!(model.degree(), degree);
        assert_eq!(model.tried().iter().map(|t| t.n_terms).collect::<Vec<_>>(), [3, 9, 19, 34]);
        let products = PolynomialRegression { interaction_only: true, ..params };
        let model = products.fit(&run, &data.with_target(y(3)).unwrap()).unwrap();
        assert_eq!((model.degree(), model.table().len()), (3, 8));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The intercept makes the predicted total the total seen (under a log link, of Poisson).
    #[test]
    fn poisson_keeps_the_total(counts in prop::collection::vec(0u8..30, 8..60)) {
        prop_assume!(counts.iter().any(|c| *c > 0));
        let n = counts.len();
        let x: Vec<f64> = (0..n).map(|i| (i as f64 * 1.3).sin()).collect();
        let y: Vec<f64> = counts.iter().map(|c| f64::from(*c)).collect();
        let total: f64 = y.iter().sum();
        let data = Dataset::new(Matrix::from_columns(&[x]).unwrap(), y, vec![]).unwrap();
        let model = Poisson { alpha: 0.1, ..Poisson::default() }.fit(&Run::new(0), &data).unwrap();
        let said: f64 = model.predict(data.x()).unwrap().iter().sum();
        prop_assert!((said - total).abs() < 1e-5 * total);
    }

    /// Leaving each row out by hand gives the error that one pass gives.
    #[test]
    fn rows_left_out_by_hand(values in prop::collection::vec((-3.0f64..3.0, -3.0f64..3.0, -5.0f64..5.0), 5..12)) {
        let rows: Vec<[f64; 2]> = values.iter().map(|v| [v.0, v.1]).collect();
        let y: Vec<f64> = values.iter().map(|v| v.2).collect();
        let n = y.len();
        let data = Dataset::new(Matrix::from_rows(&rows).unwrap(), y, vec![]).unwrap();
        let run = Run::new(0);
        let params = RidgeCv { alphas: vec![0.7], ..RidgeCv::default() };
        let quick = params.fit(&run, &data).unwrap().tried()[0].error;
        let mut slow = 0.0;
        for out in 0..n {
            let rest: Vec<usize> = (0..n).filter(|i| *i != out).collect();
            let model = Ridge { alpha: 0.7 }.fit(&run, &data.select_rows(&rest).unwrap()).unwrap();
            let said = model.predict(&data.x().select_rows(&[out])).unwrap()[0];
            slow += (said - data.y()[out]).powi(2) / n as f64;
        }
        prop_assert!((quick - slow).abs() < 1e-8 * slow.max(1.0), "{quick} {slow}");
    }
}
