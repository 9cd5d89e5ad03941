//! Learning curves, made-up rows and calibrated estimators: verdicts on data whose answer is evident.

use tradewind_core::{Params, Run};
use tradewind_learn::augment::{class_weights, mixup, noise, oversample, smote, undersample};
use tradewind_learn::calibrated::{Calibrated, Method, load_calibrated};
use tradewind_learn::crossval::KFold;
use tradewind_learn::curves::{LearningCurve, Verdict, learning_curve, validation_curve};
use tradewind_learn::measure::Measure;
use tradewind_learn::{ColumnKind, Dataset, Learner, Matrix, Task, entry};

fn random(i: usize, k: usize) -> f64 {
    let mut h = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (k as u64 + 7).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((h ^ (h >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// `n` rows of `p` columns; the target follows the first by `signal`, with noise.
fn numbers(n: usize, p: usize, signal: f64) -> Dataset {
    let columns: Vec<Vec<f64>> = (0..p).map(|k| (0..n).map(|i| random(i, k)).collect()).collect();
    let y = (0..n).map(|i| signal * columns[0][i] + random(i, 999)).collect();
    Dataset::new(Matrix::from_columns(&columns).unwrap(), y, vec![]).unwrap()
}

fn verdict(data: &Dataset, shares: &[f64]) -> LearningCurve {
    let run = Run::new(3);
    let learner = entry("ols").unwrap().learner(Task::Regression, &Params::new()).unwrap();
    let splits = KFold::default().split(&run, data.n_rows()).unwrap();
    learning_curve(&run, &*learner, Task::Regression, data, &splits, shares, Measure::Rmse).unwrap()
}

#[test]
fn learning_curves_name_what_is_wrong() {
    let noise_only = verdict(&numbers(400, 3, 0.0), &[0.5, 1.0]);
    assert_eq!(noise_only.verdict, Verdict::Underfitting);
    let fine = verdict(&numbers(2000, 3, 3.0), &[0.25, 0.5, 1.0]);
    assert_eq!(fine.verdict, Verdict::Balanced);
    assert_eq!(fine.points[2].at, 1600.0);
    assert_eq!(fine.points[0].validation.len(), 5);
    // Nearly as many columns as rows, with one size of training part only: the gap alone is seen.
    assert_eq!(verdict(&numbers(100, 50, 3.0), &[1.0]).verdict, Verdict::Overfitting);
    // The same with half the rows beside it: the error falls steeply.
    assert_eq!(verdict(&numbers(100, 50, 3.0), &[0.75, 1.0]).verdict, Verdict::MoreData);
    let text = serde_json::to_string(&fine).unwrap();
    assert_eq!(serde_json::from_str::<LearningCurve>(&text).unwrap(), fine);
    for v in [Verdict::Underfitting, Verdict::Overfitting, Verdict::MoreData, Verdict::Balanced] {
        assert!(!v.english().is_empty() && !v.chinese().is_empty());
    }
}

#[test]
fn learning_curves_refuse_odd_questions() {
    let (run, data) = (Run::new(0), numbers(20, 1, 1.0));
    let learner = entry("ols").unwrap().learner(Task::Regression, &Params::new()).unwrap();
    let splits = KFold::default().split(&run, 20).unwrap();
    let of = |splits: &[_], shares: &[f64]| {
        learning_curve(&run, &*learner, Task::Regression, &data, splits, shares, Measure::Rmse)
            .unwrap_err()
            .to_string()
    };
    assert!(of(&splits, &[0.5, 0.2]).contains("rising"));
    assert!(of(&[], &[1.0]).contains("at least one split"));
    run.cancel();
    assert!(of(&splits, &[1.0]).contains("interrupted"));
}

#[test]
fn validation_curves_find_the_middle() {
    let (run, data) = (Run::new(1), numbers(60, 35, 2.0));
    let splits = KFold::default().split(&run, 60).unwrap();
    let values = [1e-8, 3.0, 1e6].map(serde_json::Value::from);
    let curve = validation_curve(
        &run,
        entry("ridge").unwrap(),
        Task::Regression,
        &Params::new(),
        ("alpha", &values),
        &data,
        &splits,
        Measure::Rmse,
    )
    .unwrap();
    assert_eq!(curve.best, 1);
    assert_eq!(curve.verdicts, [Verdict::Overfitting, Verdict::Balanced, Verdict::Underfitting]);
}

/// 90 rows of class 0 and 10 of class 1, with a number, a category and a constant.
fn rare() -> Dataset {
    let y: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i % 10 == 0))).collect();
    let rows: Vec<[f64; 3]> = (0..100).map(|i| [y[i] * 5.0 + random(i, 1), (i % 3) as f64, 7.0]).collect();
    let data = Dataset::new(Matrix::from_rows(&rows).unwrap(), y, vec![]).unwrap();
    data.with_kinds(vec![ColumnKind::Number, ColumnKind::Category, ColumnKind::Number]).unwrap()
}

fn count(data: &Dataset) -> [usize; 2] {
    [0.0, 1.0].map(|c| data.y().iter().filter(|y| **y == c).count())
}

#[test]
fn rare_classes_are_balanced() {
    let (run, data) = (Run::new(5), rare());
    let more = smote(&run, &data, 5, 1.0).unwrap();
    assert_eq!(count(&more), [90, 90]);
    assert_eq!(more.x().select_rows(&(0..100).collect::<Vec<_>>()), *data.x());
    let own: Vec<f64> = (0..100).filter(|i| i % 10 == 0).map(|i| data.x().get(i, 0)).collect();
    let (low, high) = own.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    for i in 100..180 {
        // Between the rows of the class, and a category that exists.
        assert!((low..=high).contains(&more.x().get(i, 0)) && !own.contains(&more.x().get(i, 0)));
        assert!([0.0, 1.0, 2.0].contains(&more.x().get(i, 1)));
        assert_eq!(more.x().get(i, 2), 7.0);
    }
    assert_eq!(smote(&run, &data, 5, 1.0).unwrap(), more);
    assert_ne!(smote(&Run::new(6), &data, 5, 1.0).unwrap(), more);
    assert_eq!(count(&oversample(&run, &data, 0.5).unwrap()), [90, 45]);
    assert_eq!(count(&undersample(&run, &data, 0.5).unwrap()), [20, 10]);
    let balanced = class_weights(&data).unwrap();
    let mass = |c: f64| -> f64 {
        balanced.weight().unwrap().iter().zip(data.y()).filter(|(_, y)| **y == c).map(|(w, _)| w).sum()
    };
    assert!((mass(0.0) - 50.0).abs() < 1e-9 && (mass(1.0) - 50.0).abs() < 1e-9);
}

#[test]
fn made_up_rows_lie_where_they_should() {
    let (run, data) = (Run::new(2), rare());
    let noisy = noise(&run, &data, 40, 0.1).unwrap();
    let moved: Vec<f64> = (100..4100).map(|i| noisy.x().get(i, 0) - data.x().get(i % 100, 0)).collect();
    let sd = (moved.iter().map(|v| v * v).sum::<f64>() / 4000.0).sqrt();
    let column = data.x().column(0);
    let centre = column.iter().sum::<f64>() / 100.0;
    let of_column = (column.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / 100.0).sqrt();
    assert!((sd / of_column - 0.1).abs() < 0.005, "{sd} {of_column}");
    assert!((100..4100).all(|i| noisy.x().row(i)[1..] == data.x().row(i % 100)[1..]));
    // A straight line stays one when its points are mixed.
    let line = Dataset::new(
        Matrix::from_columns(&[(0..50).map(f64::from).collect::<Vec<_>>()]).unwrap(),
        (0..50).map(|i| 2.0 * f64::from(i) + 1.0).collect(),
        vec![],
    )
    .unwrap();
    for alpha in [0.2, 1.0, 4.0] {
        let mixed = mixup(&run, &line, 3000, alpha, false).unwrap();
        assert!((50..3050).all(|i| (mixed.y()[i] - 2.0 * mixed.x().get(i, 0) - 1.0).abs() < 1e-9));
        let between = (50..3050).filter(|i| mixed.x().get(*i, 0).fract() != 0.0).count();
        assert!(between > 1500, "{alpha}: {between}");
    }
    let classes = mixup(&run, &data, 50, 1.0, true).unwrap();
    assert!(classes.y().iter().all(|y| *y == 0.0 || *y == 1.0));
    // What must not be made up.
    let holes =
        Dataset::with_missing(Matrix::from_rows(&[[f64::NAN], [1.0]]).unwrap(), vec![0.0, 1.0], vec![])
            .unwrap();
    assert!(smote(&run, &holes, 5, 1.0).unwrap_err().to_string().contains("x0"));
    let grouped = data.clone().with_groups(vec![50, 50]).unwrap();
    assert!(noise(&run, &grouped, 1, 0.1).is_err() && oversample(&run, &grouped, 1.0).is_err());
    assert!(
        smote(&run, &data, 0, 2.0).unwrap_err().to_string().contains("k = 0 (allowed: 1 to 100); ratio = 2")
    );
}

#[test]
fn calibrated_models_save_load_and_mean_what_they_say() {
    let run = Run::new(4);
    let x: Vec<f64> = (0..900).map(|i| 2.0 * random(i, 1)).collect();
    let truth = |v: f64| 1.0 / (1.0 + (-2.0 * v).exp());
    for k in [2, 3] {
        let y: Vec<f64> = (0..900)
            .map(|i| {
                let hit = 0.5 * (random(i, 2) + 1.0) < truth(x[i]);
                f64::from(u8::from(hit)) + f64::from(u8::from(k == 3 && hit && random(i, 3) > 0.0))
            })
            .collect();
        let data = Dataset::new(Matrix::from_columns(std::slice::from_ref(&x)).unwrap(), y, vec![]).unwrap();
        let task = if k == 2 { Task::Binary } else { Task::Multiclass };
        for method in [Method::Isotonic, Method::Platt, Method::Temperature] {
            // So strong a penalty pulls all probabilities to the middle, which calibration undoes.
            let params = serde_json::from_str(r#"{"l2": 300.0}"#).unwrap();
            let calibrated = Calibrated { params, method, ..Calibrated::default() };
            let plain = entry("logistic")
                .unwrap()
                .learner(task, &calibrated.params)
                .unwrap()
                .fit(&run, &data)
                .unwrap();
            let fitted = calibrated.learner(task).unwrap().fit(&run, &data).unwrap();
            let loss = |p: Matrix| Measure::Brier.score(task, data.y(), &p, None, None).unwrap();
            let p = fitted.predict(data.x()).unwrap();
            assert!(p.rows().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
            let (after, before) = (loss(p.clone()), loss(plain.predict(data.x()).unwrap()));
            assert!(after < before, "{k} {method:?}: {before} to {after}");
            let text = fitted.save().unwrap().to_string();
            let loaded = load_calibrated(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(loaded.predict(data.x()).unwrap(), p);
        }
    }
    assert!(Calibrated::default().learner(Task::Regression).is_err());
}
