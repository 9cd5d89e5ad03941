//! Support vector machines against libsvm and liblinear (`reference/svm.py` names the version).

use crate::reference::{labels, list, matrix, near};
use proptest::prelude::*;
use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::calibrate::Platt;
use tradewind_learn::linear_svm::LinearSvm;
use tradewind_learn::svm::Svm;
use tradewind_learn::{Dataset, Matrix};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/svm.json")).unwrap()
}

fn data(r: &Value, case: &Value) -> Dataset {
    let target = list(&r[case["target"].as_str().unwrap()]);
    let data = Dataset::new(matrix(&r["x"]), target, vec![]).unwrap();
    if case["weighted"] == true { data.with_weight(list(&r["w"])).unwrap() } else { data }
}

/// Kernel rows are kept in single precision by both, which leaves about 1e-6 in the optimum.
const TOLERANCE: f64 = 2e-5;

#[test]
fn support_coefficients_and_decisions_as_libsvm() {
    let r = reference();
    let new = matrix(&r["new"]);
    for case in r["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        // The nu forms divide by a small multiplier, which magnifies what is left.
        let tolerance = match name {
            _ if name.contains("nu") => 2e-4,
            _ if name.contains("linear") => 1e-4,
            _ => TOLERANCE,
        };
        let svm: Svm = serde_json::from_value(case["params"].clone()).unwrap();
        let (data, run) = (data(&r, case), Run::new(0));
        let classes = case["target"] != "y";
        let model =
            if classes { svm.fit_classes(&run, &data) } else { svm.fit_numbers(&run, &data) }.unwrap();
        assert!(model.converged(), "{name}");
        near(name, &[model.gamma()], &[case["gamma"].as_f64().unwrap()], 1e-12);
        assert_eq!(model.support(), labels(&case["support"]), "{name}");
        assert_eq!(model.n_support(), labels(&case["n_support"]), "{name}");
        // Two classes are told with the other sign by scikit-learn, of its own making.
        let sign = if case["target"] == "binary" { -1.0 } else { 1.0 };
        let signed: Vec<f64> = model.dual().values().iter().map(|v| sign * v).collect();
        near(name, &signed, matrix(&case["dual"]).values(), tolerance);
        let intercept: Vec<f64> = model.rho().iter().map(|v| -sign * v).collect();
        near(name, &intercept, &list(&case["intercept"]), tolerance);
        near(name, model.decision(&new).unwrap().values(), matrix(&case["decision"]).values(), tolerance);
        if classes {
            assert_eq!(model.predict_class(&new).unwrap(), labels(&case["predict"]), "{name}");
        }
    }
}

#[test]
fn linear_coefficients_as_liblinear() {
    let r = reference();
    for case in r["linear"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let svm: LinearSvm = serde_json::from_value(case["params"].clone()).unwrap();
        let (data, run) = (data(&r, case), Run::new(0));
        let classes = case["target"] != "y";
        let model =
            if classes { svm.fit_classes(&run, &data) } else { svm.fit_numbers(&run, &data) }.unwrap();
        assert!(model.converged(), "{name}");
        let coef: Vec<f64> = model.lines().iter().flat_map(|line| line.coef().to_vec()).collect();
        near(name, &coef, matrix(&case["coef"]).values(), 1e-5);
        let intercept: Vec<f64> = model.lines().iter().map(|line| line.intercept()).collect();
        near(name, &intercept, &list(&case["intercept"]), 1e-5);
    }
}

#[test]
fn the_sigmoid_through_given_decisions_as_sklearn() {
    let r = reference();
    let happened: Vec<bool> = labels(&r["binary"]).iter().map(|c| *c == 1).collect();
    let platt = Platt.fit(&Run::new(0), &list(&r["sigmoid"]["score"]), &happened).unwrap();
    near("a", &[platt.a], &[r["sigmoid"]["a"].as_f64().unwrap()], 1e-4);
    near("b", &[platt.b], &[r["sigmoid"]["b"].as_f64().unwrap()], 1e-4);
}

/// The inner folds hold other rows than libsvm's, so only the shape can agree.
#[test]
fn probabilities_have_the_shape_of_libsvm() {
    let r = reference();
    let new = matrix(&r["new"]);
    for target in ["binary", "multi"] {
        let data = Dataset::new(matrix(&r["x"]), list(&r[target]), vec![]).unwrap();
        let model = Svm::default().fit_classes(&Run::new(0), &data).unwrap();
        let p = model.predict_proba(&new).unwrap();
        let want = matrix(&r[format!("proba_{target}")]);
        let mean = p.values().iter().zip(want.values()).map(|(p, w)| (p - w).abs()).sum::<f64>()
            / p.values().len() as f64;
        assert!(mean < 0.05, "{target}: {mean}");
        p.rows().for_each(|row| assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }
}

fn noisy(n: usize, p: usize, seed: u64) -> Dataset {
    use rand::RngExt;
    let mut rng = Run::new(seed).rng(0);
    let x = Matrix::new(n, p, (0..n * p).map(|_| rng.random::<f64>() * 2.0 - 1.0).collect()).unwrap();
    let y = x.rows().map(|r| f64::from(u8::from(r[0] * r[1] + 0.3 * (rng.random::<f64>() - 0.5) > 0.0)));
    let y = y.collect();
    Dataset::new(x, y, vec![]).unwrap()
}

#[test]
fn cache_size_and_shrinking_change_no_optimum() {
    let data = noisy(1500, 4, 5);
    let svm = Svm { probability: false, c: 20.0, tolerance: 1e-5, ..Svm::default() };
    let run = Run::new(0);
    let whole = svm.fit_classes(&run, &data).unwrap();
    // One megabyte holds 174 of the 1500 rows: rows are dropped and formed again, to the same bits.
    let small = Svm { cache_mb: 1.0, ..svm.clone() }.fit_classes(&run, &data).unwrap();
    assert_eq!(whole, small);
    let plain = Svm { shrinking: false, ..svm }.fit_classes(&run, &data).unwrap();
    let (a, b) = (whole.decision(data.x()).unwrap(), plain.decision(data.x()).unwrap());
    near("without shrinking", a.values(), b.values(), 1e-3);
}

#[test]
fn a_nu_that_cannot_be_is_told() {
    let x = Matrix::new(10, 1, (0..10).map(f64::from).collect()).unwrap();
    let mut y = vec![0.0; 10];
    y[9] = 1.0;
    let svm = Svm { kind: tradewind_learn::svm::Kind::Nu, nu: 0.9, probability: false, ..Svm::default() };
    let fault = svm.fit_classes(&Run::new(0), &Dataset::new(x, y, vec![]).unwrap()).unwrap_err().to_string();
    assert!(fault.contains("at most 0.2"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// The conditions of Karush, Kuhn and Tucker, which make the optimum: rows outside the margin have no coefficient,
    /// rows inside have the whole bound, and the coefficients of both sides have one sum.
    #[test]
    fn the_optimum_obeys_its_conditions(seed in 0u64..1000, c in 0.1f64..10.0) {
        let data = noisy(120, 3, seed);
        let svm = Svm { c, probability: false, tolerance: 1e-6, ..Svm::default() };
        let model = svm.fit_classes(&Run::new(0), &data).unwrap();
        let decision = model.decision(data.x()).unwrap();
        let mut coef = vec![0.0; 120];
        model.support().iter().zip(model.dual().values()).for_each(|(&i, a)| coef[i] = -a);
        prop_assert!(coef.iter().sum::<f64>().abs() < 1e-9 * c * 120.0);
        for i in 0..120 {
            let side = 2.0 * data.y()[i] - 1.0;
            let (margin, alpha) = (side * decision.get(i, 0), side * coef[i]);
            prop_assert!((-1e-12..=c * (1.0 + 1e-12)).contains(&alpha));
            prop_assert!(margin > 1.0 - 1e-4 || alpha > c * (1.0 - 1e-9), "{} {}", margin, alpha);
            prop_assert!(margin < 1.0 + 1e-4 || alpha < 1e-9, "{} {}", margin, alpha);
        }
    }
}
