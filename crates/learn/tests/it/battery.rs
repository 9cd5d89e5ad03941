//! What every estimator must bear: odd data give a clear error or the right answer, never a panic; threads change
//! nothing; saving and loading changes nothing.

use serde::{Serialize, de::DeserializeOwned};
use tradewind_core::{Error, Result, Run};
use tradewind_learn::elastic_net::{ElasticNet, FittedElasticNet};
use tradewind_learn::huber::{FittedHuber, Huber};
use tradewind_learn::linear::{FittedOls, FittedRidge, Ols, Ridge};
use tradewind_learn::logistic::{FittedLogistic, Logistic};
use tradewind_learn::quantile::{FittedQuantile, Quantile};
use tradewind_learn::{Dataset, Matrix};

/// One estimator as the battery sees it: what it predicts for new rows after a fit, and after save and load.
struct Case {
    name: &'static str,
    classes: bool,
    predict: fn(&Run, &Dataset, &Matrix) -> Result<Vec<f64>>,
    reload: fn(&Run, &Dataset, &Matrix) -> Result<Vec<f64>>,
}

fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(fitted: T) -> T {
    let loaded: T = serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap();
    assert_eq!(loaded, fitted);
    loaded
}

const GENTLE: Logistic = Logistic { l2: 1e-3, tolerance: 1e-8, max_iter: 500 };
const QUICK_LASSO: ElasticNet = ElasticNet { alpha: 1e-4, l1_ratio: 0.5, tolerance: 1e-9, max_iter: 100_000 };

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "ols",
            classes: false,
            predict: |run, d, x| Ols.fit(run, d)?.predict(x),
            reload: |run, d, x| again::<FittedOls>(Ols.fit(run, d)?).predict(x),
        },
        Case {
            name: "ridge",
            classes: false,
            predict: |run, d, x| Ridge { alpha: 1e-8 }.fit(run, d)?.predict(x),
            reload: |run, d, x| again::<FittedRidge>(Ridge { alpha: 1e-8 }.fit(run, d)?).predict(x),
        },
        Case {
            name: "quantile",
            classes: false,
            predict: |run, d, x| Quantile::default().fit(run, d)?.predict(x),
            reload: |run, d, x| again::<FittedQuantile>(Quantile::default().fit(run, d)?).predict(x),
        },
        Case {
            name: "huber",
            classes: false,
            predict: |run, d, x| Huber::default().fit(run, d)?.predict(x),
            reload: |run, d, x| again::<FittedHuber>(Huber::default().fit(run, d)?).predict(x),
        },
        Case {
            name: "elastic_net",
            classes: false,
            predict: |run, d, x| QUICK_LASSO.fit(run, d)?.predict(x),
            reload: |run, d, x| again::<FittedElasticNet>(QUICK_LASSO.fit(run, d)?).predict(x),
        },
        Case {
            name: "logistic",
            classes: true,
            predict: |run, d, x| Ok(GENTLE.fit(run, d)?.predict_proba(x)?.values().to_vec()),
            reload: |run, d, x| {
                Ok(again::<FittedLogistic>(GENTLE.fit(run, d)?).predict_proba(x)?.values().to_vec())
            },
        },
    ]
}

fn noise(i: usize, k: usize) -> f64 {
    // A plain hash spread over −1 … 1; enough for data that no line fits exactly.
    let mut h =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (k as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^= h >> 31;
    (h >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn columns(n: usize, p: usize) -> Vec<Vec<f64>> {
    (0..p).map(|k| (0..n).map(|i| noise(i, k + 1)).collect()).collect()
}

fn data_of(columns: &[Vec<f64>], classes: bool) -> Dataset {
    let n = columns.first().map_or(30, Vec::len);
    let y = (0..n)
        .map(|i| {
            let z = columns.first().map_or(2.0 * noise(i, 98), |c| 2.0 * c[i])
                + if classes { 1.5 } else { 0.4 } * noise(i, 99);
            if classes { f64::from(u8::from(z > 0.5)) + f64::from(u8::from(z > -0.5)) } else { z + 3.0 }
        })
        .collect();
    let x = if columns.is_empty() { Matrix::zeros(n, 0) } else { Matrix::from_columns(columns).unwrap() };
    Dataset::new(x, y, vec![]).unwrap()
}

fn bits(v: &[f64]) -> Vec<u64> {
    v.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn no_rows_are_too_few() {
    for case in cases() {
        let empty = Dataset::new(Matrix::zeros(0, 3), vec![], vec![]).unwrap();
        let fault = (case.predict)(&Run::new(0), &empty, &Matrix::zeros(1, 3)).unwrap_err();
        assert!(matches!(fault, Error::NotEnoughData { got: 0, .. }), "{}: {fault}", case.name);
    }
}

#[test]
fn one_row_predicts_itself_or_is_too_few() {
    for case in cases() {
        let data = Dataset::new(Matrix::from_rows(&[[1.0, 2.0]]).unwrap(), vec![5.0], vec![]).unwrap();
        match (case.predict)(&Run::new(0), &data, data.x()) {
            Ok(p) => assert!(!case.classes && (p[0] - 5.0).abs() < 1e-6, "{}: {p:?}", case.name),
            Err(fault) => {
                assert!(matches!(fault, Error::NotEnoughData { got: 1, .. }), "{}: {fault}", case.name)
            }
        }
    }
}

#[test]
fn no_columns_predict_the_middle() {
    for case in cases() {
        let data = data_of(&[], case.classes);
        let p = (case.predict)(&Run::new(0), &data, &Matrix::zeros(2, 0)).unwrap();
        assert!(p.iter().all(|v| v.is_finite()), "{}: {p:?}", case.name);
        assert_eq!(p[..p.len() / 2], p[p.len() / 2..], "{}", case.name);
    }
}

#[test]
fn a_constant_target_is_predicted() {
    for case in cases().into_iter().filter(|c| !c.classes) {
        let x = Matrix::from_columns(&columns(40, 3)).unwrap();
        let data = Dataset::new(x, vec![7.5; 40], vec![]).unwrap();
        let p = (case.predict)(&Run::new(0), &data, data.x()).unwrap();
        assert!(p.iter().all(|v| (v - 7.5).abs() < 1e-6), "{}: {p:?}", case.name);
    }
}

#[test]
fn constant_and_duplicate_columns_change_nothing() {
    for case in cases() {
        let plain = columns(80, 2);
        let mut more = plain.clone();
        more.push(vec![1e6 + 0.1; 80]);
        more.push(plain[0].clone());
        let (a, b) = (data_of(&plain, case.classes), data_of(&more, case.classes));
        let run = Run::new(0);
        let (p, q) = ((case.predict)(&run, &a, a.x()).unwrap(), (case.predict)(&run, &b, b.x()).unwrap());
        // A penalty is shared by equal columns, which lets them weigh a little more together.
        let tolerance = if matches!(case.name, "logistic" | "elastic_net") { 0.01 } else { 1e-5 };
        for (p, q) in p.iter().zip(&q) {
            assert!((p - q).abs() <= tolerance, "{}: {p} {q}", case.name);
        }
    }
}

#[test]
fn faults_name_column_and_row() {
    let mut rows = vec![[0.5, 1.0]; 6];
    rows[4][1] = f64::INFINITY;
    let names = vec!["price".to_owned(), "stock".to_owned()];
    let fault = Dataset::new(Matrix::from_rows(&rows).unwrap(), vec![0.0; 6], names).unwrap_err().to_string();
    assert!(fault.contains("`stock`") && fault.contains("inf") && fault.contains("row 4"), "{fault}");
    for case in cases() {
        let data = data_of(&columns(40, 2), case.classes);
        let run = Run::new(0);
        let nan = Matrix::from_rows(&[[0.0, 0.0], [f64::NAN, 0.0]]).unwrap();
        let fault = (case.predict)(&run, &data, &nan).unwrap_err().to_string();
        assert!(fault.contains("`x0`") && fault.contains("row 1"), "{}: {fault}", case.name);
        let fault = (case.predict)(&run, &data, &Matrix::zeros(1, 3)).unwrap_err().to_string();
        assert!(fault.contains("2 columns") && fault.contains('3'), "{}: {fault}", case.name);
    }
}

#[test]
fn classes_that_cannot_be_learnt_are_told() {
    let x = Matrix::from_columns(&columns(4, 1)).unwrap();
    for (y, word) in [
        (vec![1.0; 4], "only 1"),
        (vec![0.0, 2.0, 0.0, 2.0], "class 1"),
        (vec![0.0, 0.5, 1.0, 1.0], "row 1 has 0.5"),
        (vec![0.0, -1.0, 1.0, 1.0], "row 1 has -1"),
    ] {
        let data = Dataset::new(x.clone(), y, vec![]).unwrap();
        let fault = Logistic::default().fit(&Run::new(0), &data).unwrap_err().to_string();
        assert!(fault.contains(word), "{fault}");
    }
}

#[test]
fn parted_classes_without_penalty_still_predict() {
    let x = Matrix::from_columns(&[[-2.0, -1.0, 1.0, 2.0]]).unwrap();
    let data = Dataset::new(x, vec![0.0, 0.0, 1.0, 1.0], vec![]).unwrap();
    let model = Logistic { l2: 0.0, ..Logistic::default() }.fit(&Run::new(0), &data).unwrap();
    let p = model.predict_proba(data.x()).unwrap();
    assert!(p.get(0, 0) > 0.999 && p.get(3, 1) > 0.999);
}

#[test]
fn extreme_values_never_panic() {
    for case in cases() {
        for scale in [1e-300, 1e-12, 1e12, 1e155, 1e300] {
            let wide: Vec<Vec<f64>> =
                columns(30, 2).into_iter().map(|c| c.into_iter().map(|v| v * scale).collect()).collect();
            let y = data_of(&columns(30, 2), case.classes).y().to_vec();
            let data = Dataset::new(Matrix::from_columns(&wide).unwrap(), y, vec![]).unwrap();
            if let Ok(p) = (case.predict)(&Run::new(0), &data, data.x()) {
                assert!(p.iter().all(|v| v.is_finite()), "{} at {scale}: {p:?}", case.name);
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    for case in cases() {
        // Several chunks of rows.
        let data = data_of(&columns(5000, 7), case.classes);
        let few = data.x().select_rows(&[0, 1, 2, 4999]);
        let one = (case.predict)(&Run::new(0).with_threads(1), &data, &few).unwrap();
        let four = (case.predict)(&Run::new(0).with_threads(4), &data, &few).unwrap();
        assert_eq!(bits(&one), bits(&four), "{}", case.name);
    }
}

#[test]
fn saving_and_loading_changes_nothing() {
    for case in cases() {
        let data = data_of(&columns(300, 4), case.classes);
        let run = Run::new(0);
        let p = (case.predict)(&run, &data, data.x()).unwrap();
        let q = (case.reload)(&run, &data, data.x()).unwrap();
        assert_eq!(bits(&p), bits(&q), "{}", case.name);
    }
}

#[test]
fn all_faulty_parameters_are_told_and_cancelled_runs_stop() {
    let data = data_of(&columns(10, 1), true);
    let bad = Logistic { l2: -1.0, tolerance: 0.0, max_iter: 0 };
    let Err(Error::Params(faults)) = bad.fit(&Run::new(0), &data) else { panic!("accepted") };
    assert_eq!(faults.iter().map(|f| f.name).collect::<Vec<_>>(), ["l2", "tolerance", "max_iter"]);
    let run = Run::new(0);
    run.cancel();
    assert!(matches!(Logistic::default().fit(&run, &data), Err(Error::Interrupted)));
}
