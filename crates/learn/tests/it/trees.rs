//! Trees: contributions against other implementations and their laws, saving, and models of other libraries.

use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;
use tradewind_core::Run;
use tradewind_learn::explain::{
    DependenceParams, PermutationParams, dependence, permutation_importance, summary, waterfall,
};
use tradewind_learn::import::Imported;
use tradewind_learn::tree::{Ensemble, Link, Missing, Node, Split, Tree, shap};
use tradewind_learn::{ColumnKind, Dataset, FittedLearner, Matrix};

static REFERENCE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../reference/imported_models.json")).unwrap());

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn matrix(v: &Value) -> Matrix {
    Matrix::from_rows(&v.as_array().unwrap().iter().map(list).collect::<Vec<_>>()).unwrap()
}

fn cases() -> impl Iterator<Item = (&'static str, &'static Value)> {
    REFERENCE["cases"].as_array().unwrap().iter().map(|case| (case["name"].as_str().unwrap(), case))
}

fn import(case: &Value) -> tradewind_core::Result<Imported> {
    let text = case["model"].as_str().unwrap();
    match case["library"].as_str() {
        Some("lightgbm") => Imported::from_lightgbm(text),
        _ => Imported::from_xgboost(text),
    }
}

fn case(name: &str) -> &'static Value {
    cases().find(|(n, _)| *n == name).unwrap().1
}

/// Relative to values above 1, absolute below.
#[track_caller]
fn near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{what} {i}: got {g}, reference {w}");
    }
}

/// XGBoost adds up 32-bit floats, so its answers have seven digits.
fn tolerance(name: &str) -> f64 {
    if name.starts_with("xgboost") { 1e-6 } else { 1e-12 }
}

#[test]
fn imported_models_predict_as_lightgbm_and_xgboost() {
    let x = matrix(&REFERENCE["x"]);
    let mut seen = 0;
    for (name, case) in cases().filter(|(_, case)| case["predict"].is_array()) {
        let model = import(case).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        near(name, model.ensemble().scores(&x).unwrap().values(), &list(&case["raw"]), tolerance(name));
        let answers = model.predict(&x).unwrap();
        let want = list(&case["predict"]);
        // Two classes have two columns here and one there.
        let both = answers.n_cols() == 2 && want.len() == x.n_rows();
        let got = if both { answers.column(1) } else { answers.values().to_vec() };
        near(name, &got, &want, tolerance(name));
        seen += 1;
    }
    assert_eq!(seen, 40);
}

#[test]
fn contributions_as_lightgbm_and_xgboost() {
    let x = matrix(&REFERENCE["x"]);
    let mut seen = 0;
    for (name, case) in cases().filter(|(_, case)| case["contributions"].is_array()) {
        let parts = import(case).unwrap().contributions(&Run::new(0), &x).unwrap().unwrap();
        let tolerance = if name.starts_with("xgboost") { 5e-6 } else { 1e-11 };
        near(name, parts.values(), &list(&case["contributions"]), tolerance);
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn interactions_as_xgboost() {
    let x = matrix(&REFERENCE["x"]);
    let case = case("xgboost_interactions");
    let model = import(case).unwrap();
    let pairs = shap::interactions(&Run::new(0), model.ensemble(), &x).unwrap();
    near("interactions", pairs.values(), &list(&case["interactions"]), 5e-6);
}

#[test]
fn contributions_as_all_subsets() {
    let case = &REFERENCE["all_subsets"];
    let model = import(&serde_json::json!({"library": "lightgbm", "model": case["model"]})).unwrap();
    let parts = model.contributions(&Run::new(0), &matrix(&case["x"])).unwrap().unwrap();
    near("contributions", parts.values(), &list(&case["contributions"]), 1e-12);
}

#[test]
fn imported_models_say_where_they_come_from() {
    let model = import(case("lightgbm_regression")).unwrap();
    assert_eq!((model.library(), model.objective()), ("LightGBM", "regression"));
    assert_eq!(model.names(), ["price", "stock", "age", "brand", "promo"]);
    assert!(model.importance().unwrap()[0] > 0.0);
    assert_eq!(import(case("xgboost_binary")).unwrap().names()[4], "f4");
}

#[test]
fn linear_trees_and_linear_boosters_are_refused_by_name() {
    let fault = import(case("lightgbm_linear")).unwrap_err().to_string();
    assert!(fault.contains("line ") && fault.contains("linear_tree"), "{fault}");
    let json = case("xgboost_binary")["model"].as_str().unwrap();
    let fault =
        Imported::from_xgboost(&json.replace(r#""name":"gbtree""#, r#""name":"gblinear""#)).unwrap_err();
    assert!(fault.to_string().contains("gblinear"), "{fault}");
    let fault = Imported::from_xgboost(&json.replace("binary:logistic", "binary:other")).unwrap_err();
    assert!(fault.to_string().contains("binary:other"), "{fault}");
}

#[test]
fn broken_files_are_told_by_line_and_field() {
    let text = case("lightgbm_regression")["model"].as_str().unwrap();
    for (from, to, words) in [
        ("tree\n", "wood\n", &["line 1", "wood"][..]),
        ("max_feature_idx=4", "max_feature_idx=x", &["line", "max_feature_idx", "`x`"]),
        ("max_feature_idx=4", "max_feature_idx=9", &["5 names", "10 columns"]),
        ("num_leaves=7", "num_leaves=900000000000", &["line", "leaf_value", "900000000000"]),
        ("split_feature=", "split_feature=9 ", &["line", "split_feature", "7 numbers, not 6"]),
        ("left_child=", "left_children=", &["line", "`left_child`"]),
        ("objective=regression", "objective=astrology", &["line", "astrology"]),
        ("end of trees", "", &["cut short", "4 trees"]),
    ] {
        assert!(text.contains(from), "{from}");
        let fault = Imported::from_lightgbm(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(words.iter().all(|w| fault.contains(w)), "{from} → {to}: {fault}");
    }
    let json = case("xgboost_regression")["model"].as_str().unwrap();
    for (from, to, words) in [
        ("{", "", &["line 1"][..]),
        (r#""left_children":["#, r#""left_children":[7,"#, &["tree 0", "right_children"]),
        (r#""left_children":[1"#, r#""left_children":[0"#, &["tree 0", "two parents"]),
        (
            r#""num_feature":"5","num_target""#,
            r#""num_feature":"1","num_target""#,
            &["tree 0", "split_indices"],
        ),
        (
            r#""num_feature":"5","num_target""#,
            r#""num_feature":"99999999999","num_target""#,
            &["num_feature", "99999999999"],
        ),
        (r#""base_score":"["#, r#""base_score":"[x,"#, &["base_score", "x"]),
        (r#""tree_info":[0"#, r#""tree_info":[3"#, &["tree_info", "score 3 of 1"]),
        (r#""categories_nodes":["#, r#""categories_nodes":[999,"#, &["tree 0", "categories"]),
    ] {
        assert!(json.contains(from), "{from}");
        let fault = Imported::from_xgboost(&json.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(words.iter().all(|w| fault.contains(w)), "{from} → {to}: {fault}");
    }
}

/// Whatever is read can be used.
fn use_it(read: tradewind_core::Result<Imported>) {
    let Ok(model) = read else { return };
    let p = model.ensemble().n_features;
    if p > 1000 {
        return;
    }
    let x =
        Matrix::new(2, p, (0..2 * p).map(|i| if i % 5 == 4 { f64::NAN } else { i as f64 - 3.0 }).collect());
    let x = x.unwrap();
    assert_eq!(model.predict(&x).unwrap().n_rows(), 2);
    model.contributions(&Run::new(0).with_threads(1), &x).unwrap().unwrap();
    let saved = model.save().unwrap();
    assert_eq!(Imported::load(saved.clone()).unwrap().save().unwrap(), saved);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_files_never_panic(
        which in 0usize..41,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, any::<u8>()), 1..6),
        end in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let (_, case) = cases().nth(which).unwrap();
        let mut bytes = case["model"].as_str().unwrap().as_bytes().to_vec();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte & 0x7F,
                1 => bytes[at] = b'0' + byte % 10,
                2 => { bytes.remove(at); }
                3 => bytes.insert(at, b'0' + byte % 10),
                4 => bytes.insert(at, b'-'),
                _ => {
                    let to = (at + 1 + byte as usize).min(bytes.len());
                    let piece = bytes[at..to].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        let text = String::from_utf8_lossy(&bytes);
        match case["library"].as_str() {
            Some("lightgbm") => use_it(Imported::from_lightgbm(&text)),
            _ => use_it(Imported::from_xgboost(&text)),
        }
    }

    #[test]
    fn mutated_saves_never_panic(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), text in any::<bool>(),
    ) {
        let mut saved = import(case("lightgbm_multiclass")).unwrap().save().unwrap();
        let fields: Vec<String> =
            saved["ensemble"]["trees"].as_object().unwrap().keys().filter(|k| *k != "version").cloned().collect();
        let field = &fields[byte as usize % fields.len()];
        let value = &mut saved["ensemble"]["trees"][field.as_str()];
        let mut bytes = value.as_str().unwrap().as_bytes().to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            if text { bytes.truncate(at / 4 * 4) } else { bytes[at] = b'A' + byte % 26 }
        }
        *value = String::from_utf8(bytes).unwrap().into();
        if let Ok(model) = Imported::load(saved) {
            use_it(Ok(model));
        }
    }
}

/// A tree grown from random bytes: which leaf is parted, by which column and question.
fn grow(seeds: &[(u8, u8, f64, u16)], n_features: usize, n_outputs: usize) -> Tree {
    let mut tree = Tree::leaf(vec![], 0.0);
    tree.leaf_cover = vec![64.0];
    // The leaf's parent and side, to be hung on.
    let mut hangs: Vec<Option<(usize, bool)>> = vec![None];
    for &(place, column, threshold, bits) in seeds {
        let leaf = place as usize % hangs.len();
        let at = tree.nodes.len();
        let feature = u32::from(column) % n_features as u32;
        let split = match feature % 3 {
            2 => Split::In(vec![u32::from(bits) << 3, u32::from(bits)]),
            _ => Split::Below(threshold),
        };
        let missing = [Missing::Nan, Missing::Zero, Missing::None][bits as usize % 3];
        let cover = tree.leaf_cover[leaf];
        let part = (cover * f64::from(bits % 97) / 97.0).floor();
        if let Some((parent, right)) = hangs[leaf] {
            let to = if right { &mut tree.nodes[parent].right } else { &mut tree.nodes[parent].left };
            *to = at as i32;
        }
        let new = hangs.len();
        tree.nodes.push(Node {
            feature,
            split,
            missing,
            missing_left: bits & 64 != 0,
            left: !(leaf as i32),
            right: !(new as i32),
            gain: 1.0,
            cover,
        });
        hangs[leaf] = Some((at, false));
        hangs.push(Some((at, true)));
        tree.leaf_cover[leaf] = part;
        tree.leaf_cover.push(cover - part);
    }
    tree.leaves = (0..hangs.len() * n_outputs).map(|i| ((i * 7919 + 13) % 101) as f64 / 10.0 - 5.0).collect();
    tree
}

fn seeds(most: usize) -> impl Strategy<Value = Vec<(u8, u8, f64, u16)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), -2.0..2.0, any::<u16>()), 0..most)
}

fn values(n: usize) -> impl Strategy<Value = Vec<f64>> {
    let value =
        prop_oneof![4 => -3.0..3.0, 2 => (0u8..50).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(0.0)];
    prop::collection::vec(value, n)
}

/// One forest of trees that hold both outputs, or boosted trees that take turns.
fn ensemble(trees: &[Vec<(u8, u8, f64, u16)>], n_features: usize, mean: bool, apart: bool) -> Ensemble {
    let per_leaf = if apart { 1 } else { 2 };
    let trees: Vec<Tree> = trees.iter().map(|s| grow(s, n_features, per_leaf)).collect();
    let output = if apart { (0..trees.len()).map(|t| t as u32 % 2).collect() } else { vec![] };
    let e = Ensemble { n_features, n_outputs: 2, base: vec![0.5, -1.0], trees, output, mean };
    e.check().unwrap();
    e
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn contributions_add_up_to_the_score_and_predictions_are_those_of_the_nodes(
        trees in prop::collection::vec(seeds(40), 1..5), x in values(6 * 45),
        mean in any::<bool>(), apart in any::<bool>(),
    ) {
        let e = ensemble(&trees, 6, mean, apart);
        let x = Matrix::new(45, 6, x).unwrap();
        let scores = e.scores(&x).unwrap();
        let parts = shap::contributions(&Run::new(0), &e, &x).unwrap();
        let two = shap::contributions(&Run::new(0).with_threads(2), &e, &x).unwrap();
        prop_assert!(parts.values().iter().zip(two.values()).all(|(a, b)| a.to_bits() == b.to_bits()));
        for i in 0..45 {
            // Alone, a row walks node by node.
            let alone = e.scores(&x.select_rows(&[i])).unwrap();
            prop_assert_eq!(alone.row(0), scores.row(i));
            let mut by_hand = [0.0, 0.0];
            for (t, tree) in e.trees.iter().enumerate() {
                let leaf = tree.leaf_of(x.row(i));
                for (o, sum) in by_hand.iter_mut().enumerate() {
                    match e.output.get(t) {
                        Some(&output) if output as usize != o => {}
                        Some(_) => *sum += tree.leaves[leaf],
                        None => *sum += tree.leaves[2 * leaf + o],
                    }
                }
            }
            for o in 0..2 {
                let n = e.output.iter().filter(|t| **t as usize == o).count();
                let n = if apart { n.max(1) } else { e.trees.len() } as f64;
                let want = e.base[o] + if mean { by_hand[o] / n } else { by_hand[o] };
                prop_assert!((scores.get(i, o) - want).abs() < 1e-12 * want.abs().max(1.0));
                let sum: f64 = parts.row(i)[o * 7..(o + 1) * 7].iter().sum();
                prop_assert!((sum - want).abs() <= 1e-9 * want.abs().max(1.0), "{} {}", sum, want);
            }
        }
    }

    #[test]
    fn contributions_are_those_of_all_subsets_of_columns(tree in seeds(25), x in values(5)) {
        let tree = grow(&tree, 5, 1);
        let e = Ensemble {
            n_features: 5, n_outputs: 1, base: vec![0.0], trees: vec![tree.clone()], output: vec![0], mean: false,
        };
        let parts = shap::contributions(&Run::new(0), &e, &Matrix::from_rows(&[&x]).unwrap()).unwrap();
        near("contributions", parts.values(), &subsets(5, &|known| expected(&tree, 0, &x, known)), 1e-10);
        let background = Matrix::from_rows(&[[0.1, -0.4, 3.0, f64::NAN, 1.0], [1.0, 1.0, 40.0, -1.0, 0.0]]).unwrap();
        let x_row = Matrix::from_rows(&[&x]).unwrap();
        let parts = shap::interventional(&Run::new(0), &e, &x_row, &background).unwrap();
        let mixed = |known: u32| {
            background.rows().map(|b| {
                let row: Vec<f64> = (0..5).map(|j| if known >> j & 1 == 1 { x[j] } else { b[j] }).collect();
                tree.leaves[tree.leaf_of(&row)]
            }).sum::<f64>() / 2.0
        };
        near("interventional", parts.values(), &subsets(5, &mixed), 1e-10);
        // A row of the pairs adds up to the column's contribution, and the square is symmetric.
        let whole = shap::contributions(&Run::new(0), &e, &x_row).unwrap();
        let pairs = shap::interactions(&Run::new(0), &e, &x_row).unwrap();
        for a in 0..6 {
            let sum: f64 = pairs.values()[a * 6..(a + 1) * 6].iter().sum();
            prop_assert!((sum - whole.get(0, a)).abs() < 1e-10);
            (0..6).for_each(|b| assert_eq!(pairs.values()[a * 6 + b], pairs.values()[b * 6 + a]));
        }
    }

    #[test]
    fn an_unused_column_contributes_nothing_and_equal_columns_the_same(tree in seeds(30), v in -2.0..2.0) {
        // Columns 0 and 1 take each other's place in a second tree; column 7 is in none.
        let tree = grow(&tree, 7, 1);
        let mut swapped = tree.clone();
        for node in &mut swapped.nodes {
            node.feature = match node.feature { 0 => 1, 1 => 0, j => j };
        }
        let e = Ensemble {
            n_features: 8, n_outputs: 1, base: vec![0.0], trees: vec![tree, swapped], output: vec![0, 0], mean: false,
        };
        let x = Matrix::from_rows(&[[v, v, 4.0, 0.3, -0.2, 35.0, 1.0, 9.0]]).unwrap();
        let parts = shap::contributions(&Run::new(0), &e, &x).unwrap();
        prop_assert_eq!(parts.get(0, 7), 0.0);
        prop_assert!((parts.get(0, 0) - parts.get(0, 1)).abs() < 1e-12 * parts.get(0, 0).abs().max(1.0));
    }

    #[test]
    fn trees_are_saved_bit_for_bit(trees in prop::collection::vec(seeds(30), 0..4), apart in any::<bool>()) {
        let e = ensemble(&trees, 6, false, apart);
        let text = serde_json::to_string(&e).unwrap();
        let read: Ensemble = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &e);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}

/// The expected value of the tree when the columns in `known` are known.
fn expected(tree: &Tree, at: i32, x: &[f64], known: u32) -> f64 {
    if at < 0 || tree.nodes.is_empty() {
        return tree.leaves[if at < 0 { !at as usize } else { 0 }];
    }
    let node = &tree.nodes[at as usize];
    let j = node.feature as usize;
    let below = |child: i32| expected(tree, child, x, known);
    if known >> j & 1 == 1 {
        return below(if node.goes_left(x[j]) { node.left } else { node.right });
    }
    let cover = |c: i32| if c >= 0 { tree.nodes[c as usize].cover } else { tree.leaf_cover[!c as usize] };
    let (l, r) = (cover(node.left), cover(node.right));
    let share = if l + r > 0.0 { l / (l + r) } else { 0.5 };
    share * below(node.left) + (1.0 - share) * below(node.right)
}

/// Shapley values by their definition, and the value of the empty set behind them.
fn subsets(p: usize, value: &dyn Fn(u32) -> f64) -> Vec<f64> {
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    let mut parts = vec![0.0; p + 1];
    for (j, part) in parts.iter_mut().enumerate().take(p) {
        for set in (0..1u32 << p).filter(|s| s >> j & 1 == 0) {
            let s = set.count_ones() as usize;
            let weight = factorial(s) * factorial(p - s - 1) / factorial(p);
            *part += weight * (value(set | 1 << j) - value(set));
        }
    }
    parts[p] = value(0);
    parts
}

#[test]
fn a_chain_of_many_nodes_needs_no_deep_stack() {
    let n = 20_000;
    let nodes = (0..n)
        .map(|i| Node {
            feature: i as u32 % 3,
            split: Split::Below(i as f64 / n as f64),
            missing: Missing::Nan,
            missing_left: false,
            left: !i,
            right: if i + 1 < n { i + 1 } else { !n },
            gain: 0.0,
            cover: f64::from(n - i + 1),
        })
        .collect();
    let leaves = (0..=n).map(f64::from).collect();
    let tree = Tree { nodes, leaves, leaf_cover: vec![1.0; n as usize + 1] };
    let e = Ensemble {
        n_features: 3,
        n_outputs: 1,
        base: vec![0.0],
        trees: vec![tree],
        output: vec![0],
        mean: false,
    };
    e.check().unwrap();
    let x = Matrix::from_rows(&[[0.2, 0.5, 0.7]]).unwrap();
    let parts = shap::contributions(&Run::new(0), &e, &x).unwrap();
    let score = e.scores(&x).unwrap().get(0, 0);
    assert!((parts.values().iter().sum::<f64>() - score).abs() < 1e-9 * score, "{score}");
    shap::interventional(&Run::new(0), &e, &x, &x).unwrap();
}

#[test]
fn another_form_and_wrong_widths_are_told() {
    let e = import(case("lightgbm_regression")).unwrap();
    let mut saved = e.save().unwrap();
    saved["ensemble"]["trees"]["version"] = 9.into();
    let fault = Imported::load(saved).unwrap_err().to_string();
    assert!(fault.contains("form 9") && fault.contains("form 1"), "{fault}");
    let narrow = Matrix::zeros(1, 3);
    for fault in [
        e.predict(&narrow).unwrap_err(),
        e.contributions(&Run::new(0), &narrow).unwrap().unwrap_err(),
        shap::interventional(&Run::new(0), e.ensemble(), &narrow, &narrow).unwrap_err(),
    ] {
        assert!(fault.to_string().contains("5 columns") && fault.to_string().contains('3'), "{fault}");
    }
}

#[test]
fn a_cancelled_run_stops_contributions() {
    let model = import(case("lightgbm_regression")).unwrap();
    let run = Run::new(0);
    run.cancel();
    assert!(model.contributions(&run, &matrix(&REFERENCE["x"])).unwrap().is_err());
}

/// A model whose answer is known: twice column 0, and column 1 where column 2 holds category 3.
struct Known;

impl FittedLearner for Known {
    fn predict(&self, x: &Matrix) -> tradewind_core::Result<Matrix> {
        let f = |r: &[f64]| 2.0 * r[0] + if r[2] == 3.0 { r[1] } else { 0.0 };
        Matrix::new(x.n_rows(), 1, x.rows().map(f).collect())
    }
    fn save(&self) -> tradewind_core::Result<Value> {
        Ok(Value::Null)
    }
}

fn known_data(n: usize) -> Dataset {
    let x: Vec<[f64; 4]> = (0..n)
        .map(|i| [(i * 37 % n) as f64 / n as f64, (i * 11 % 7) as f64, (i % 4) as f64, (i * 5 % 3) as f64])
        .collect();
    let x = Matrix::from_rows(&x).unwrap();
    let y = Known.predict(&x).unwrap().values().to_vec();
    let kinds = vec![ColumnKind::Number, ColumnKind::Number, ColumnKind::Category, ColumnKind::Number];
    Dataset::new(x, y, vec![]).unwrap().with_kinds(kinds).unwrap()
}

#[test]
fn permutation_importance_finds_what_is_used_and_threads_change_nothing() {
    let data = known_data(200);
    let error = |d: &Dataset, answers: &Matrix| {
        let squares = d.y().iter().zip(answers.values()).map(|(y, p)| (y - p).powi(2));
        Ok(squares.sum::<f64>() / d.n_rows() as f64)
    };
    let params = PermutationParams { higher_is_better: false, repeats: 3, groups: vec![] };
    let of = |threads| {
        permutation_importance(&Run::new(4).with_threads(threads), &Known, &data, &error, &params).unwrap()
    };
    let found = of(1);
    assert_eq!(found, of(2));
    assert!(found[..3].iter().all(|f| f.mean > 0.1 && f.drops.len() == 3), "{found:?}");
    // Column 3 is not used; shuffling it changes nothing at all.
    assert_eq!((found[3].mean, found[3].sd), (0.0, 0.0));
    // E (2 x − 2 x')² = 8 Var(x) = 8/12 for an even spread.
    assert!((found[0].mean - 8.0 / 12.0).abs() < 0.15, "{}", found[0].mean);
    let together = PermutationParams { groups: vec![vec![1, 2], vec![3]], ..params.clone() };
    let found = permutation_importance(&Run::new(4), &Known, &data, &error, &together).unwrap();
    assert_eq!(found[0].name, "x1, x2");
    assert!(found[0].mean > 0.1 && found[1].mean == 0.0);
    let wrong = PermutationParams { groups: vec![vec![9]], ..params.clone() };
    assert!(permutation_importance(&Run::new(4), &Known, &data, &error, &wrong).is_err());
    let nan = |_: &Dataset, _: &Matrix| Ok(f64::NAN);
    assert!(permutation_importance(&Run::new(4), &Known, &data, &nan, &params).is_err());
}

#[test]
fn dependence_follows_the_known_answer() {
    let data = known_data(400);
    let params = DependenceParams { points: 5, low: 0.0, high: 1.0, rows: 1_000, individuals: 3 };
    let d = dependence(&Run::new(1), &Known, &data, 0, &params).unwrap();
    assert_eq!(d.grid.len(), 5);
    assert!((d.share.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    for k in 1..5 {
        let (step, moved) = (d.grid[k] - d.grid[0], d.mean[0][k] - d.mean[0][0]);
        assert!(step > 0.0 && (moved - 2.0 * step).abs() < 1e-9);
        assert!(d.individual[0].iter().all(|line| (line[k] - line[0] - 2.0 * step).abs() < 1e-9));
    }
    assert_eq!(d.individual[0].len(), 3);
    // Only category 3 lets column 1 in.
    let d = dependence(&Run::new(1), &Known, &data, 2, &params).unwrap();
    assert_eq!((d.kind, d.grid.as_slice()), (ColumnKind::Category, &[0.0, 1.0, 2.0, 3.0][..]));
    let mean = data.x().column(1).iter().sum::<f64>() / 400.0;
    assert!(
        (d.mean[0][3] - d.mean[0][0] - mean).abs() < 1e-9 && d.share.iter().all(|s| (s - 0.25).abs() < 1e-12)
    );
    assert!(dependence(&Run::new(1), &Known, &data, 4, &params).is_err());
    assert!(
        dependence(&Run::new(1), &Known, &data, 0, &DependenceParams { low: 0.9, high: 0.1, ..params })
            .is_err()
    );
}

#[test]
fn summary_and_waterfall_agree_with_the_contributions() {
    let x = matrix(&REFERENCE["x"]);
    let model = import(case("lightgbm_multiclass")).unwrap();
    let parts = model.contributions(&Run::new(0), &x).unwrap().unwrap();
    let found = summary(&x, &parts, model.names(), 4).unwrap();
    assert_eq!(found.len(), 3);
    for (o, output) in found.iter().enumerate() {
        assert!(output.columns.windows(2).all(|w| w[0].mean_abs >= w[1].mean_abs));
        let price = output.columns.iter().find(|c| c.name == "price").unwrap();
        let by_hand = (0..x.n_rows()).map(|i| parts.get(i, o * 6).abs()).sum::<f64>() / x.n_rows() as f64;
        assert!((price.mean_abs - by_hand).abs() < 1e-12 && price.points.len() == 4);
    }
    let scores = model.ensemble().scores(&x).unwrap();
    let way = waterfall(&x, &parts, model.names(), 2, 1, 3).unwrap();
    assert!((way.score - scores.get(2, 1)).abs() < 1e-12 && way.steps.len() == 3);
    assert_eq!(way.steps[2].n_columns, 3);
    assert_eq!(way.steps[0].from, way.constant);
    assert!(way.steps.windows(2).all(|w| w[0].to == w[1].from));
    // The plain data survive JSON, also with missing values.
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Vec<tradewind_learn::explain::OutputSummary>>(&text).unwrap(), found);
    assert!(waterfall(&x, &parts, model.names(), 99, 0, 3).is_err());
    assert!(summary(&Matrix::zeros(2, 5), &parts, &[], 4).is_err());
}

#[test]
fn classes_stay_probabilities_for_large_scores() {
    let scores = Matrix::from_rows(&[[800.0, -800.0, 0.0]]).unwrap();
    assert_eq!(Link::Softmax.apply(scores).values(), [1.0, 0.0, 0.0]);
}
