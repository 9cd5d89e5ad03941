//! Naive Bayes and nearest neighbours against scikit-learn (`reference/nearest_and_bayes.py` names the version).

use crate::reference::{labels, list, matrix, near};
use proptest::prelude::*;
use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::knn::Knn;
use tradewind_learn::naive_bayes::{Bernoulli, Complement, Counts, Gaussian, NaiveBayes};
use tradewind_learn::{Dataset, Matrix};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/nearest_and_bayes.json")).unwrap()
}

#[test]
fn log_probabilities_as_sklearn() {
    let r = reference();
    for case in r["bayes"].as_array().unwrap() {
        let name = case["form"].to_string();
        let form: NaiveBayes = serde_json::from_value(case["form"].clone()).unwrap();
        let x = matrix(&r[case["columns"].as_str().unwrap()]);
        let data = Dataset::new(x, list(&r["label"]), vec![]).unwrap().with_weight(list(&r["w"])).unwrap();
        let run = Run::new(0);
        let first = data.x().select_rows(&(0..9).collect::<Vec<_>>());
        let (joint, proba) = (matrix(&case["joint"]), matrix(&case["proba"]));
        let whole = form.fit(&run, &data).unwrap();
        // In two parts, the second added later.
        let (a, b) = ((0..50).collect::<Vec<_>>(), (50..80).collect::<Vec<_>>());
        let mut parts = form.fit(&run, &data.select_rows(&a).unwrap()).unwrap();
        parts.update(&run, &data.select_rows(&b).unwrap()).unwrap();
        // The largest variance is that of all weighted rows with us and of unweighted rows there: 1e-9 of it is added.
        let tolerance = if name.contains("0.01") { 0.05 } else { 1e-7 };
        for model in [whole, parts] {
            near(&name, model.joint_log_likelihood(&first).unwrap().values(), joint.values(), tolerance);
            near(&name, model.predict_proba(&first).unwrap().values(), proba.values(), tolerance);
        }
    }
}

#[test]
fn neighbours_shares_and_means_as_sklearn() {
    let r = reference();
    for case in r["nearest"].as_array().unwrap() {
        let name = format!("{} {}", case["params"], case["tiles"]);
        let wide = |m: Matrix| {
            (1..case["tiles"].as_u64().unwrap()).fold(m.clone(), |all, _| all.beside(&m).unwrap())
        };
        let (x, new) = (wide(matrix(&r["measures"])), wide(matrix(&r["new"])));
        let knn: Knn = serde_json::from_value(case["params"].clone()).unwrap();
        let classes = Dataset::new(x.clone(), list(&r["label"]), vec![]).unwrap();
        let numbers = Dataset::new(x, list(&r["y"]), vec![]).unwrap();
        let run = Run::new(0);
        let model = knn.fit_classes(&run, &classes).unwrap();
        for (i, found) in model.neighbours(&new).unwrap().iter().enumerate() {
            let rows: Vec<usize> = found.iter().map(|n| n.row).collect();
            assert_eq!(rows, labels(&case["rows"][i]), "{name} {i}");
            // The reference forms distances from products and rounds off what lies far from zero.
            let distance: Vec<f64> = found.iter().map(|n| n.distance).collect();
            near(&name, &distance, &list(&case["distance"][i]), 1e-5);
        }
        // Where it rounds an exact hit away from zero, that row's shares by distance differ too.
        let tolerance = 1e-4;
        near(&name, model.predict_proba(&new).unwrap().values(), matrix(&case["proba"]).values(), tolerance);
        let model = knn.fit_numbers(&run, &numbers).unwrap();
        near(&name, &model.predict_number(&new).unwrap(), &list(&case["numbers"]), tolerance);
    }
}

#[test]
fn negative_counts_and_new_classes_are_told() {
    let x = Matrix::from_rows(&[[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]]).unwrap();
    let names = vec!["views".to_owned(), "returns".to_owned()];
    let data = Dataset::new(x, vec![0.0, 1.0, 1.0], names).unwrap();
    let run = Run::new(0);
    for form in [NaiveBayes::Multinomial(Counts::default()), NaiveBayes::Complement(Complement::default())] {
        let fault = form.fit(&run, &data).unwrap_err().to_string();
        assert!(fault.contains("`returns` has -1 in row 2"), "{fault}");
        let good = data.select_rows(&[0, 1]).unwrap();
        let mut model = form.fit(&run, &good).unwrap();
        let before = model.clone();
        assert!(model.update(&run, &data).is_err());
        let fault = model.update(&run, &good.with_target(vec![0.0, 2.0]).unwrap()).unwrap_err().to_string();
        assert!(fault.contains("row 1 has class 2"), "{fault}");
        assert_eq!(model, before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// A row of weight 2 is two rows.
    #[test]
    fn weights_count_as_rows(values in proptest::collection::vec(0u8..6, 60)) {
        let x = Matrix::new(20, 3, values.iter().map(|v| f64::from(*v)).collect()).unwrap();
        let y = (0..20).map(|i| f64::from(i % 3)).collect();
        let data = Dataset::new(x, y, vec![]).unwrap();
        let twice: Vec<usize> = (0..20).chain(0..7).collect();
        let weight: Vec<f64> = (0..20).map(|i| if i < 7 { 2.0 } else { 1.0 }).collect();
        let run = Run::new(0);
        for form in [
            NaiveBayes::Gaussian(Gaussian { var_smoothing: 1e-3, ..Gaussian::default() }),
            NaiveBayes::Multinomial(Counts::default()),
            NaiveBayes::Complement(Complement::default()),
            NaiveBayes::Bernoulli(Bernoulli { threshold: 2.0, ..Bernoulli::default() }),
        ] {
            let a = form.fit(&run, &data.select_rows(&twice).unwrap()).unwrap();
            let b = form.fit(&run, &data.clone().with_weight(weight.clone()).unwrap()).unwrap();
            let (a, b) = (a.predict_proba(data.x()).unwrap(), b.predict_proba(data.x()).unwrap());
            near("weights", a.values(), b.values(), 1e-8);
        }
    }
}
