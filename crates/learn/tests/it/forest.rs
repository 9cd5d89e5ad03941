//! Forests: trees and scores as scikit-learn has them (`reference/forest.py`), and laws that hold for any data.

use proptest::prelude::*;
use serde_json::Value;
use tradewind_core::{Params, Run};
use tradewind_learn::forest::isolation::{IsolationForest, Scoring, mean_depth};
use tradewind_learn::forest::{ClassWeight, ExtraTrees, FittedForest, RandomForest};
use tradewind_learn::tree::Split;
use tradewind_learn::{ColumnKind, Dataset, Matrix, Task};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/forest.json")).unwrap()
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn matrix(v: &Value) -> Matrix {
    Matrix::from_rows(&v.as_array().unwrap().iter().map(list).collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance, "{what} {i}: got {g}, reference {w}");
    }
}

/// One tree that sees all rows and columns, with the other parameters of the reference.
fn one_tree(given: &Value) -> RandomForest {
    let mut params: Params = serde_json::from_value(given.clone()).unwrap();
    params.insert("n_trees".into(), 1.into());
    params.insert("bootstrap".into(), false.into());
    params.insert("max_features".into(), 1.into());
    params.remove("random_state");
    serde_json::from_value(Value::Object(params)).unwrap()
}

#[track_caller]
fn trees_agree(group: &str, x: &str, new: &str, target: &str, task: Task) {
    let r = reference();
    let d = &r["data"];
    for case in r["trees"][group].as_array().unwrap() {
        let data = Dataset::with_missing(matrix(&d[x]), list(&d[target]), vec![]).unwrap();
        let data = if case["weighted"] == true { data.with_weight(list(&d["w"])).unwrap() } else { data };
        let model = one_tree(&case["params"]).fit(&Run::new(0), &data, task).unwrap();
        let what = format!("{group} {}", case["params"]);
        assert_eq!(model.trees().trees[0].n_leaves() as u64, case["leaves"].as_u64().unwrap(), "{what}");
        let p = model.predict(&matrix(&d[new])).unwrap();
        near(&what, p.values(), matrix(&case["predict"]).values(), 1e-9);
        near(&what, model.impurity_importance(), &list(&case["importance"]), 1e-9);
    }
}

#[test]
fn regression_trees_as_scikit_learn() {
    trees_agree("numbers", "x", "new", "y", Task::Regression);
}

#[test]
fn class_trees_as_scikit_learn() {
    trees_agree("classes", "x", "new", "c", Task::Multiclass);
}

#[test]
fn trees_of_missing_values_as_scikit_learn() {
    trees_agree("holed", "holed", "holed_new", "y", Task::Regression);
}

#[test]
fn out_of_bag_answers_as_scikit_learn() {
    let r = &reference()["forest"];
    let numbers = Dataset::new(matrix(&r["x"]), list(&r["y"]), vec![]).unwrap();
    let classes = Dataset::new(matrix(&r["x"]), list(&r["c"]), vec![]).unwrap();
    let params = RandomForest { n_trees: 500, oob: true, ..RandomForest::default() };
    // Both forests are samples of the same law; over other seeds the scores of each spread by about 0.005.
    let close = |what: &str, got: Option<f64>, want: &Value| {
        let (got, want) = (got.unwrap(), want.as_f64().unwrap());
        assert!((got - want).abs() < 0.02, "{what}: got {got}, reference {want}");
    };
    let model = params.fit(&Run::new(1), &numbers, Task::Regression).unwrap();
    close("r2", model.oob_score(), &r["oob_r2"]);
    near("importance", model.impurity_importance(), &list(&r["importance"]), 0.03);
    let model = params.fit(&Run::new(1), &classes, Task::Binary).unwrap();
    close("accuracy", model.oob_score(), &r["oob_accuracy"]);
    let share: Vec<f64> = model.oob_predictions().unwrap().iter().map(|p| p.as_ref().unwrap()[1]).collect();
    let want = list(&r["oob_share"]);
    let apart = share.iter().zip(&want).map(|(a, b)| (a - b).abs()).sum::<f64>() / 400.0;
    assert!(apart < 0.03, "shares are {apart} apart");
    let extra = ExtraTrees { n_trees: 500, bootstrap: true, oob: true, ..ExtraTrees::default() };
    let model = extra.fit(&Run::new(1), &classes, Task::Binary).unwrap();
    close("extra", model.oob_score(), &r["extra_oob_accuracy"]);
}

#[test]
fn isolation_scores_as_scikit_learn() {
    let r = &reference();
    let iso = &r["isolation"];
    let depths: Vec<f64> = list(&iso["sizes"]).into_iter().map(mean_depth).collect();
    near("mean depth", &depths, &list(&iso["mean_depth"]), 1e-9);
    let mut rows: Vec<Vec<f64>> = r["forest"]["x"].as_array().unwrap()[..255].iter().map(list).collect();
    rows.push(list(&iso["far"]));
    let data = Dataset::new(Matrix::from_rows(&rows).unwrap(), vec![0.0; 256], vec![]).unwrap();
    let params = IsolationForest { n_trees: 500, ..IsolationForest::default() };
    let scores = params.fit(&Run::new(2), &data).unwrap().scores(data.x()).unwrap();
    near("scores", &scores, &list(&iso["score"]), 0.025);
    assert!(scores[..255].iter().all(|s| *s < scores[255]));
}

fn small() -> impl Strategy<Value = (Vec<[f64; 3]>, Vec<f64>)> {
    prop::collection::vec((prop::array::uniform3(-4i32..5), -3i32..4), 6..40).prop_map(|rows| {
        let x = rows.iter().map(|(x, _)| x.map(f64::from)).collect();
        (x, rows.iter().map(|(_, y)| f64::from(*y)).collect())
    })
}

fn whole_tree() -> RandomForest {
    RandomForest { n_trees: 1, bootstrap: false, max_features: Some(1.0), ..RandomForest::default() }
}

fn data(x: &[[f64; 3]], y: &[f64]) -> Dataset {
    Dataset::with_missing(Matrix::from_rows(x).unwrap(), y.to_vec(), vec![]).unwrap()
}

fn splits(model: &FittedForest) -> usize {
    model.trees().trees.iter().map(|t| t.nodes.len()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_weight_is_a_repetition(
        (x, _) in small(),
        y in prop::collection::vec(-3.0f64..3.0, 40),
        times in prop::collection::vec(0usize..4, 40),
    ) {
        let times = &times[..x.len()];
        prop_assume!(times.iter().sum::<usize>() > 0);
        let again: Vec<usize> = (0..x.len()).flat_map(|i| vec![i; times[i]]).collect();
        let plain = data(&x, &y[..x.len()]);
        let repeated = plain.select_rows(&again).unwrap();
        let weighted = plain.with_weight(times.iter().map(|t| *t as f64).collect()).unwrap();
        let params = RandomForest { max_depth: Some(3), ..whole_tree() };
        let run = Run::new(0);
        let a = params.fit(&run, &repeated, Task::Regression).unwrap();
        let b = params.fit(&run, &weighted, Task::Regression).unwrap();
        let (p, q) = (a.predict(repeated.x()).unwrap(), b.predict(repeated.x()).unwrap());
        prop_assert!(p.values().iter().zip(q.values()).all(|(p, q)| (p - q).abs() < 1e-9));
    }

    #[test]
    fn a_whole_tree_tells_every_row_its_mean((x, y) in small(), holes in prop::collection::vec(0usize..120, 0..9)) {
        let mut x = x;
        let n = x.len();
        holes.iter().for_each(|h| x[h / 3 % n][h % 3] = f64::NAN);
        let d = data(&x, &y);
        let model = whole_tree().fit(&Run::new(0), &d, Task::Regression).unwrap();
        let p = model.predict(d.x()).unwrap();
        let bits = |row: &[f64; 3]| row.map(f64::to_bits);
        for i in 0..x.len() {
            let same: Vec<f64> =
                (0..x.len()).filter(|&k| bits(&x[k]) == bits(&x[i])).map(|k| y[k]).collect();
            let mean = same.iter().sum::<f64>() / same.len() as f64;
            prop_assert!((p.get(i, 0) - mean).abs() < 1e-9, "row {} has {} not {}", i, p.get(i, 0), mean);
        }
        model.trees().check().unwrap();
    }

    #[test]
    fn forests_keep_their_limits(
        (x, y) in small(),
        depth in 1usize..5,
        leaf in 1usize..6,
        leaves in 2usize..9,
        random in any::<bool>(),
    ) {
        let d = data(&x, &y);
        let params = RandomForest {
            n_trees: 5,
            max_depth: Some(depth),
            min_samples_leaf: leaf,
            max_leaf_nodes: Some(leaves),
            ..RandomForest::default()
        };
        let model = match random {
            true => ExtraTrees::from(params).fit(&Run::new(3), &d, Task::Regression).unwrap(),
            false => params.fit(&Run::new(3), &d, Task::Regression).unwrap(),
        };
        model.trees().check().unwrap();
        let total: f64 = model.impurity_importance().iter().sum();
        prop_assert!((total - f64::from(u8::from(splits(&model) > 0))).abs() < 1e-9);
        for tree in &model.trees().trees {
            prop_assert!(tree.n_leaves() <= leaves);
            prop_assert!(tree.leaf_cover.iter().all(|c| *c >= leaf as f64));
            prop_assert_eq!(tree.leaf_cover.iter().sum::<f64>(), x.len() as f64);
            let mut depths = vec![0; tree.nodes.len()];
            for (i, node) in tree.nodes.iter().enumerate() {
                prop_assert!(depths[i] < depth);
                for child in [node.left, node.right].into_iter().filter(|c| *c >= 0) {
                    depths[child as usize] = depths[i] + 1;
                }
            }
        }
        let (low, high) = y.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let p = model.predict(d.x()).unwrap();
        prop_assert!(p.values().iter().all(|v| (low - 1e-9..=high + 1e-9).contains(v)));
    }
}

#[test]
fn categories_are_parted_as_sets() {
    // Odd categories are high: no single cut between codes tells them apart.
    let n = 400;
    let code = |i: usize| (i * 7 % 40) as f64;
    let x = Matrix::from_columns(&[(0..n).map(code).collect::<Vec<_>>()]).unwrap();
    let y: Vec<f64> = (0..n).map(|i| code(i) % 2.0).collect();
    for (task, k) in [(Task::Regression, 1), (Task::Binary, 2)] {
        let data = Dataset::new(x.clone(), y.clone(), vec![]).unwrap();
        let data = data.with_kinds(vec![ColumnKind::Category]).unwrap();
        let params = RandomForest { max_depth: Some(1), ..whole_tree() };
        let model = params.fit(&Run::new(0), &data, task).unwrap();
        let said = model.predict(&x).unwrap();
        (0..n).for_each(|i| assert_eq!(said.get(i, k - 1), y[i]));
        assert!(matches!(model.trees().trees[0].nodes[0].split, Split::In(_)));
    }
    // Three classes: the categories of each are parted from the others in two steps.
    let y: Vec<f64> = (0..n).map(|i| code(i) % 3.0).collect();
    let data = Dataset::new(x.clone(), y.clone(), vec![]).unwrap();
    let data = data.with_kinds(vec![ColumnKind::Category]).unwrap();
    let model = whole_tree().fit(&Run::new(0), &data, Task::Multiclass).unwrap();
    let said = model.predict(&x).unwrap();
    (0..n).for_each(|i| assert_eq!(said.get(i, y[i] as usize), 1.0));
}

#[test]
fn missing_values_are_a_signal() {
    let x: Vec<f64> = (0..200).map(|i| if i % 3 == 0 { f64::NAN } else { f64::from(i % 7) }).collect();
    let y: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
    let data = Dataset::with_missing(Matrix::from_columns(&[x]).unwrap(), y.clone(), vec![]).unwrap();
    for task in [Task::Regression, Task::Binary] {
        let params = RandomForest { max_depth: Some(1), ..whole_tree() };
        let p = params.fit(&Run::new(0), &data, task).unwrap().predict(data.x()).unwrap();
        near(task.word(), &p.column(p.n_cols() - 1), &y, 1e-12);
    }
    let p =
        ExtraTrees::default().fit(&Run::new(0), &data, Task::Regression).unwrap().predict(data.x()).unwrap();
    near("extra trees", p.values(), &y, 1e-9);
}

#[test]
fn balanced_classes_weigh_the_same() {
    let x = Matrix::from_columns(&[vec![0.0; 100]]).unwrap();
    let y = (0..100).map(|i| f64::from(u8::from(i < 10))).collect();
    let data = Dataset::new(x, y, vec![]).unwrap();
    let params = RandomForest { class_weight: ClassWeight::Balanced, ..whole_tree() };
    let p = params.fit(&Run::new(0), &data, Task::Binary).unwrap().predict(data.x()).unwrap();
    near("shares", p.row(0), &[0.5, 0.5], 1e-12);
}

#[test]
fn isolation_finds_what_is_far_by_every_scoring() {
    let mut rows: Vec<[f64; 2]> =
        (0..400).map(|i| [f64::from(i * 37 % 101) / 101.0, f64::from(i * 53 % 97) / 97.0]).collect();
    rows.push([5.0, -4.0]);
    let data = Dataset::new(Matrix::from_rows(&rows).unwrap(), vec![0.0; 401], vec![]).unwrap();
    for scoring in [Scoring::Depth, Scoring::AdjustedDepth, Scoring::Density] {
        for gain in [0.0, 1.0] {
            let params = IsolationForest { scoring, gain, n_try: 2, ..IsolationForest::default() };
            let scores = params.fit(&Run::new(0), &data).unwrap().scores(data.x()).unwrap();
            assert!(scores[..400].iter().all(|s| *s < scores[400]), "{scoring:?} {gain}");
        }
    }
    let params = IsolationForest { contamination: Some(0.1), ..IsolationForest::default() };
    let model = params.fit(&Run::new(0), &data).unwrap();
    let unusual = model.is_unusual(data.x()).unwrap();
    assert_eq!(unusual.iter().filter(|u| **u).count(), 40);
    assert!(unusual[400] && model.threshold().is_some());
    let plain = IsolationForest::default().fit(&Run::new(0), &data).unwrap();
    assert!(plain.is_unusual(data.x()).unwrap_err().to_string().contains("contamination"));
}

#[test]
fn a_heavy_row_is_drawn_more_often() {
    // Of two lonely rows one weighs so much that it is in every sample; the other is in few, and is then not known.
    let mut values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
    values.extend([5.0, -4.0]);
    let mut weight = vec![1.0; 1002];
    weight[1000] = 1e6;
    let data = Dataset::new(Matrix::from_columns(&[values]).unwrap(), vec![0.0; 1002], vec![]).unwrap();
    let params = IsolationForest { max_samples: 16, ..IsolationForest::default() };
    let model = params.fit(&Run::new(0), &data.with_weight(weight).unwrap()).unwrap();
    let scores = model.scores(&Matrix::from_rows(&[[5.0], [-4.0]]).unwrap()).unwrap();
    assert!(scores[0] > 0.7 && scores[1] < 0.6, "{scores:?}");
}
