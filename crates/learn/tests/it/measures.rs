//! Measures against scikit-learn (`reference/measures.py` names the version).

use serde_json::Value;
use tradewind_core::metrics::class::{Average, Confusion, calibration_by_width};
use tradewind_core::metrics::curve::{pr_curve, roc_curve};
use tradewind_learn::measure::{Measure, said};
use tradewind_learn::{Matrix, Task};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/measures.json")).unwrap()
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn matrix(v: &Value) -> Matrix {
    Matrix::from_rows(&v.as_array().unwrap().iter().map(list).collect::<Vec<_>>()).unwrap()
}

fn one_column(values: Vec<f64>) -> Matrix {
    Matrix::new(values.len(), 1, values).unwrap()
}

#[track_caller]
fn near(what: &str, got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{what}: got {got}, reference {want}");
}

/// Every number of the reference whose key is a measure's name, plain and weighted.
fn check(task: Task, truth: &[f64], answers: &Matrix, r: &Value) -> usize {
    let w = list(&reference()["w"]);
    let mut seen = 0;
    for (which, weight) in [("plain", None), ("weighted", Some(w.as_slice()))] {
        for (name, want) in r[which].as_object().unwrap().iter().filter(|(_, v)| v.is_number()) {
            let measure: Measure = name.parse().unwrap();
            let got = measure.score(task, truth, answers, weight, None).unwrap();
            near(&format!("{which} {name}"), got, want.as_f64().unwrap());
            seen += 1;
        }
    }
    seen
}

#[test]
fn numbers_as_scikit_learn() {
    for (part, n) in [("regression", 21), ("counts", 6)] {
        let r = &reference()[part];
        assert_eq!(check(Task::Regression, &list(&r["y"]), &one_column(list(&r["f"])), r), n);
    }
}

#[test]
fn classes_as_scikit_learn() {
    for (part, task, n) in [("binary", Task::Binary, 42), ("multiclass", Task::Multiclass, 34)] {
        let r = &reference()[part];
        assert_eq!(check(task, &list(&r["y"]), &matrix(&r["p"]), r), n, "{part}");
    }
}

#[test]
fn curves_and_tables_as_scikit_learn() {
    let all = reference();
    let (r, w) = (&all["binary"], list(&all["w"]));
    let label: Vec<usize> = list(&r["y"]).iter().map(|v| *v as usize).collect();
    let positive: Vec<bool> = label.iter().map(|c| *c == 1).collect();
    let p = matrix(&r["p"]);
    for (which, weight) in [("plain", None), ("weighted", Some(w.as_slice()))] {
        let roc = roc_curve(&positive, &p.column(1), weight);
        assert_eq!(roc.len(), list(&r[which]["fpr"]).len());
        for (i, point) in roc.iter().enumerate() {
            near("fpr", point.false_positive_rate, list(&r[which]["fpr"])[i]);
            near("tpr", point.true_positive_rate, list(&r[which]["tpr"])[i]);
        }
        // The reference goes from the lowest threshold up and adds the point (0, 1).
        let pr = pr_curve(&positive, &p.column(1), weight);
        let (precision, recall) = (list(&r[which]["pr_precision"]), list(&r[which]["pr_recall"]));
        assert_eq!(pr.len() + 1, precision.len());
        for (i, point) in pr.iter().rev().enumerate() {
            near("precision", point.precision, precision[i]);
            near("recall", point.recall, recall[i]);
        }
        let table = Confusion::weighted(&label, &said(&p), 2, weight);
        for (truth, row) in matrix(&r[which]["confusion"]).rows().enumerate() {
            row.iter().enumerate().for_each(|(c, want)| near("confusion", table.mass(truth, c), *want));
        }
    }
    let bins = calibration_by_width(&positive, &p.column(1), 10);
    let (happened, said) = (list(&all["calibration"]["happened"]), list(&all["calibration"]["said"]));
    assert_eq!(bins.len(), said.len());
    for (i, bin) in bins.iter().enumerate() {
        near("happened", bin.happened, happened[i]);
        near("said", bin.said, said[i]);
    }
}

#[test]
fn orders_as_scikit_learn() {
    let r = &reference()["ranking"];
    let grade = list(&r["grade"]);
    let sizes: Vec<usize> = list(&r["sizes"]).iter().map(|v| *v as usize).collect();
    for (name, scores) in
        [("ndcg@3", "score"), ("ndcg@10", "score"), ("ndcg@100", "score"), ("map@100", "untied")]
    {
        let measure: Measure = name.parse().unwrap();
        let answers = one_column(list(&r[scores]));
        let got = measure.score(Task::Ranking, &grade, &answers, None, Some(&sizes)).unwrap();
        near(name, got, r[name].as_f64().unwrap());
    }
}

#[test]
fn every_name_reads_back() {
    for measure in Measure::ALL {
        assert_eq!(measure.to_string().parse::<Measure>().unwrap(), measure);
        assert!(!measure.tasks().is_empty() && !measure.name_zh().is_empty());
    }
    assert_eq!("recall_weighted".parse::<Measure>().unwrap().to_string(), "recall_weighted");
    assert_eq!("auc".parse::<Measure>().unwrap(), Measure::RocAuc);
    let json = serde_json::to_string(&Measure::Ndcg(5)).unwrap();
    assert_eq!(json, "\"ndcg@5\"");
    assert_eq!(serde_json::from_str::<Measure>(&json).unwrap(), Measure::Ndcg(5));
    for wrong in ["rmsee", "pinball@1.5", "ndcg@0", "rmse@3", "tweedie@0.5", "ndcg@", ""] {
        assert!(wrong.parse::<Measure>().is_err(), "{wrong}");
    }
    for task in Task::ALL {
        if let Some(measure) = Measure::default_for(task) {
            assert!(measure.tasks().contains(&task));
        }
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    let p = Matrix::from_rows(&[[0.4, 0.6], [0.3, 0.7]]).unwrap();
    let score = |m: Measure, task, truth: &[f64], a: &Matrix| m.score(task, truth, a, None, None);
    let text = |r: tradewind_core::Result<f64>| r.unwrap_err().to_string();
    assert!(text(score(Measure::RocAuc, Task::Binary, &[1.0, 1.0], &p)).contains("no two classes"));
    assert!(text(score(Measure::Rmse, Task::Binary, &[1.0, 1.0], &p)).contains("does not measure binary"));
    assert!(text(score(Measure::LogLoss, Task::Binary, &[1.0, 2.0], &p)).contains("row 1 has 2"));
    assert!(text(score(Measure::LogLoss, Task::Binary, &[1.0], &p)).contains("2 rows of answers, 1 truths"));
    let nan = one_column(vec![1.0, f64::NAN]);
    assert!(text(score(Measure::Rmse, Task::Regression, &[1.0, 2.0], &nan)).contains("NaN in row 1"));
    let f = one_column(vec![1.0, -1.0]);
    assert!(text(score(Measure::Poisson, Task::Regression, &[1.0, 2.0], &f)).contains("above 0"));
    assert!(text(score(Measure::R2, Task::Regression, &[2.0, 2.0], &f)).contains("constant"));
    let none = Matrix::zeros(0, 1);
    assert!(text(score(Measure::Rmse, Task::Regression, &[], &none)).contains("no rows"));
    // A class that was neither seen nor said does not lower the mean.
    let table = Confusion::of(&[0, 1], &[0, 1], 3);
    assert_eq!(table.f1_of(Average::Macro), 1.0);
    assert_eq!(table.f1_of(Average::Class(9)).to_bits(), f64::NAN.to_bits());
}
