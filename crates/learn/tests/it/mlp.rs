//! The multilayer perceptron beyond the battery: what it reads of columns, when it stops, what it keeps.

use tradewind_core::{Device, Params, Run};
use tradewind_learn::mlp::Mlp;
use tradewind_learn::{ColumnKind, Dataset, Matrix, Task, entry};

fn noise(i: usize, k: usize) -> f64 {
    let mut h =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (k as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h ^= h >> 31;
    (h >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn quick() -> Mlp {
    Mlp { width: 64, networks: 1, ..Mlp::default() }
}

/// Forty shops of which every other sells twice as much, a price that matters, and holes.
fn shops(n: usize) -> Dataset {
    let (mut rows, mut y) = (Vec::new(), Vec::new());
    for i in 0..n {
        let shop = (noise(i, 1).abs() * 40.0) as usize;
        let price = noise(i, 2);
        // What is missing was cheap.
        let seen = if i % 9 == 4 { f64::NAN } else { price };
        let told = if i % 9 == 4 { -1.0 } else { price };
        rows.push([shop as f64, seen]);
        y.push(if shop.is_multiple_of(2) { 2.0 } else { 1.0 } - told + 0.1 * noise(i, 3));
    }
    let names = vec!["shop".to_owned(), "price".to_owned()];
    let data = Dataset::with_missing(Matrix::from_rows(&rows).unwrap(), y, names).unwrap();
    data.with_kinds(vec![ColumnKind::Category, ColumnKind::Number]).unwrap()
}

#[test]
fn categories_of_many_values_and_holes_are_learnt() {
    let data = shops(2_000);
    let (train, test) = (0..1_600, 1_600..2_000);
    let part = |rows: std::ops::Range<usize>| data.select_rows(&rows.collect::<Vec<_>>()).unwrap();
    let (train, test) = (part(train), part(test));
    let model = quick().fit(&Run::new(1), Task::Regression, &train).unwrap();
    let told = model.predict(test.x()).unwrap();
    let error: f64 =
        told.values().iter().zip(test.y()).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / test.n_rows() as f64;
    // Noise alone has 0.0033.
    assert!(error < 0.02, "{error}");
    // A shop that was never seen is one of the middle, a hole is cheap.
    let odd = Matrix::from_rows(&[[99.0, 0.0], [4.0, f64::NAN], [4.0, 0.9]]).unwrap();
    let told = model.predict(&odd).unwrap();
    assert!((told.get(0, 0) - 1.5).abs() < 0.4, "{told:?}");
    assert!(told.get(1, 0) > told.get(2, 0) + 1.2, "{told:?}");
}

#[test]
fn weights_decide_where_rows_contradict_each_other() {
    let x = Matrix::from_rows(&(0..400).map(|i| [f64::from(i % 2)]).collect::<Vec<_>>()).unwrap();
    // Each row twice, with either answer; the first of both weighs nine times as much.
    let y = (0..400).map(|i| f64::from(u8::from((i % 2 == 0) == (i < 200)))).collect();
    let weight = (0..400).map(|i| if i < 200 { 9.0 } else { 1.0 }).collect();
    let data = Dataset::new(x, y, vec![]).unwrap().with_weight(weight).unwrap();
    let model = quick().fit(&Run::new(1), Task::Binary, &data).unwrap();
    let told = model.predict(&Matrix::from_rows(&[[0.0], [1.0]]).unwrap()).unwrap();
    assert!((told.get(0, 1) - 0.9).abs() < 0.07 && (told.get(1, 1) - 0.1).abs() < 0.07, "{told:?}");
    // Rows of no weight are no rows.
    let rows: Vec<usize> = (0..300).collect();
    let weight = (0..400).map(|i| if i < 300 { 1.0 } else { 0.0 }).collect();
    let none = quick().fit(&Run::new(1), Task::Binary, &data.clone().with_weight(weight).unwrap()).unwrap();
    let few = data.select_rows(&rows).unwrap().with_weight(vec![1.0; 300]).unwrap();
    let few = quick().fit(&Run::new(1), Task::Binary, &few).unwrap();
    assert_eq!(none.predict(data.x()).unwrap(), few.predict(data.x()).unwrap());
}

#[test]
fn it_stops_by_the_rows_watched_and_keeps_its_curves() {
    let data = shops(600);
    let watch = shops(900).select_rows(&(600..900).collect::<Vec<_>>()).unwrap();
    let learner = entry("mlp").unwrap();
    let params: Params =
        serde_json::from_str(r#"{"width": 64, "networks": 2, "patience": 2, "epochs": 30}"#).unwrap();
    let built = learner.learner(Task::Regression, &params).unwrap();
    let fitted = built.fit_validated(&Run::new(2), &data, &watch).unwrap();
    let curves = fitted.training_curves();
    assert_eq!(curves.len(), 2);
    for (k, curve) in curves.iter().enumerate() {
        assert_eq!(curve.name, (k + 1).to_string());
        let best = curve.kept().unwrap().validation.unwrap();
        assert!(curve.epochs.iter().all(|e| e.validation.unwrap() >= best));
        assert!(curve.epochs.len() <= curve.best + 3, "two rounds without gain end it");
        assert!(best < 0.5 * curve.constant.unwrap(), "{curve:?}");
    }
    let loaded = (learner.load)(fitted.save().unwrap()).unwrap();
    assert_eq!(loaded.training_curves(), curves);
    // Rows that are watched must be of the classes learnt.
    let classes = data.with_target((0..600).map(|i| f64::from(i % 2)).collect()).unwrap();
    let other = watch.with_target(vec![2.0; 300]).unwrap();
    let fault = quick().fit_validated(&Run::new(1), Task::Binary, &classes, &other).unwrap_err().to_string();
    assert!(fault.contains("class 2"), "{fault}");
    let three = data.with_target((0..600).map(|i| f64::from(i % 3)).collect()).unwrap();
    let fault = quick().fit(&Run::new(1), Task::Binary, &three).unwrap_err().to_string();
    assert!(fault.contains("multiclass"), "{fault}");
}

#[test]
fn saved_parts_that_do_not_fit_are_told() {
    let data = shops(60);
    let learner = entry("mlp").unwrap();
    let params: Params = serde_json::from_str(r#"{"width": 8, "epochs": 1}"#).unwrap();
    let fitted = learner.learner(Task::Regression, &params).unwrap().fit(&Run::new(2), &data).unwrap();
    let saved = fitted.save().unwrap();
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut saved = saved.clone();
        change(&mut saved);
        (learner.load)(saved).is_err()
    };
    assert!(!broken(&|_| {}));
    assert!(broken(&|s| s["format"] = 9.into()));
    assert!(broken(&|s| s["names"] = serde_json::json!(["shop"])));
    assert!(broken(&|s| s["base"] = serde_json::json!([])));
    assert!(broken(&|s| s["task"] = "ranking".into()));
    assert!(broken(&|s| s["params"]["width"] = 16.into()));
    assert!(broken(&|s| s["params"]["width"] = 0.into()));
    assert!(broken(&|s| s["networks"][0] = "AAAA".into()));
    assert!(broken(&|s| s["columns"][1]["number"]["scale"] = (-1.0).into()));
}

#[test]
#[allow(clippy::print_stdout, reason = "what is left out is said")]
fn where_there_is_no_card_it_says_so() {
    let run = Run::new(1).with_device(Device::Gpu);
    if tradewind_nn::device::of(&run).is_ok() {
        println!("left out: a card is here");
        return;
    }
    let Err(told) = quick().fit(&run, Task::Regression, &shops(100)) else {
        panic!("trained without a card")
    };
    assert!(told.to_string().contains("cpu"), "{told}");
}
