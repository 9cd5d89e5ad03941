//! Scores equal to those of other implementations; `make_recommend.py` beside the values tells which.

use serde_json::{Value, json};
use tradewind_core::{
    Ask, Attributes, EventSettings, FittedRecommender, History, Interaction, Interactions, Params, Past,
    Ranking, Run,
};
use tradewind_recommend::evaluate::{measure, paired};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/recommend.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn data(reference: &Value) -> Interactions {
    let rows: Vec<(usize, usize, i64, f64)> = serde_json::from_value(reference["rows"].clone()).unwrap();
    let named: Vec<(String, String, i64, f64)> =
        rows.into_iter().map(|(u, i, t, w)| (format!("u{u:02}"), format!("i{i:02}"), t, w)).collect();
    let rows = named.iter().map(|(u, i, t, w)| Interaction { weight: *w, ..Interaction::plain(u, i, *t) });
    Interactions::build(rows, &EventSettings::default()).unwrap()
}

fn fit(name: &str, params: Value, data: &Interactions) -> Box<dyn FittedRecommender> {
    let params: Params = params.as_object().unwrap().clone();
    let model = (tradewind_recommend::entry(name).unwrap().build)(&params).unwrap();
    model.fit(&Run::new(1), data).unwrap()
}

/// The scores of every user's history, as of known users.
fn of_users(fitted: &dyn FittedRecommender, known: bool) -> Vec<Vec<f64>> {
    let data = fitted.known();
    let n = data.items().len();
    (0..data.users().len() as u32)
        .map(|u| {
            let past = Past { user: known.then_some(u), history: data.history(u) };
            let mut out = vec![0.0; n];
            fitted.scores(&[past], &mut out).unwrap();
            out.into_iter().map(f64::from).collect()
        })
        .collect()
}

/// The scores of a history of one item each: its row of similarities.
fn of_items(fitted: &dyn FittedRecommender) -> Vec<Vec<f64>> {
    let n = fitted.known().items().len();
    (0..n as u32)
        .map(|i| {
            let history = History { items: &[i], ds: &[0], weights: &[1.0], events: &[0] };
            let mut out = vec![0.0; n];
            fitted.scores(&[Past { user: None, history }], &mut out).unwrap();
            out.into_iter().map(f64::from).collect()
        })
        .collect()
}

fn close(what: &str, got: &[Vec<f64>], expected: &Value, tolerance: f64) {
    let expected = numbers(expected);
    assert_eq!(got.len(), expected.len(), "{what}");
    for (r, (got, expected)) in got.iter().zip(&expected).enumerate() {
        for (c, (g, e)) in got.iter().zip(expected).enumerate() {
            assert!(
                (g - e).abs() <= tolerance * (1.0 + e.abs()),
                "{what}: row {r}, column {c}: {g}, not {e}"
            );
        }
    }
}

#[test]
fn item_neighbours_work_like_implicit() {
    let reference = reference();
    let data = data(&reference);
    let cosine = json!({"similarity": "cosine", "k": 14, "shrink": 0, "meeting_power": 0});
    close("cosine", &of_items(&*fit("item_knn", cosine, &data)), &reference["cosine"], 1e-6);
    let bm25 = json!({"similarity": "bm25", "k": 14, "meeting_power": 0});
    close("bm25", &of_items(&*fit("item_knn", bm25, &data)), &reference["bm25"], 1e-5);
}

#[test]
fn other_similarities_work_like_numpy() {
    let reference = reference();
    let data = data(&reference);
    let jaccard = json!({"similarity": "jaccard", "k": 14, "shrink": 0, "meeting_power": 0});
    close("jaccard", &of_items(&*fit("item_knn", jaccard, &data)), &reference["jaccard"], 1e-6);
    let asymmetric = json!({"similarity": "asymmetric", "k": 14, "source_power": 0.3, "target_power": 0.6,
        "shrink": 2, "meeting_power": 0.5});
    close("asymmetric", &of_items(&*fit("item_knn", asymmetric, &data)), &reference["asymmetric"], 1e-6);
    let walk = json!({"alpha": 0.8, "beta": 0.3, "k": 14});
    close("rp3beta", &of_items(&*fit("rp3beta", walk, &data)), &reference["rp3beta"], 1e-6);
    let people = json!({"similarity": "cosine", "k": 40, "shrink": 0, "meeting_power": 0.5});
    close("user_knn", &of_users(&*fit("user_knn", people, &data), true), &reference["user_knn"], 1e-5);
}

#[test]
fn linear_models_work_like_numpy() {
    let reference = reference();
    let data = data(&reference);
    let ease = fit("ease", json!({"regularization": 5}), &data);
    close("ease", &of_users(&*ease, true), &reference["ease"], 1e-4);
    let slit = json!({"window": 4, "decay": 0.8, "regularization": 3, "target_power": 0.2});
    close("slit", &of_users(&*fit("slit", slit, &data), true), &reference["slit"], 1e-4);
}

#[test]
fn slim_works_like_scikit_learn() {
    let reference = reference();
    let params = json!({"l1": 1.5, "l2": 6, "candidates": 14, "iterations": 10_000});
    let fitted = fit("slim", params, &data(&reference));
    close("slim", &of_users(&*fitted, true), &reference["slim"], 1e-3);
}

#[test]
fn graphs_work_like_numpy() {
    let reference = reference();
    let data = data(&reference);
    let walk = json!({"restart": 0.25, "popularity_power": 0.5, "tolerance": 1e-6});
    close("random_walk", &of_users(&*fit("random_walk", walk, &data), true), &reference["random_walk"], 1e-5);
    let filter = json!({"factors": 1, "alpha": 0.3, "popularity_power": 0.4, "k": 14});
    close(
        "graph_filter",
        &of_users(&*fit("graph_filter", filter, &data), true),
        &reference["graph_filter"],
        1e-3,
    );
}

#[test]
fn pairs_are_compared_like_scipy() {
    let reference = reference();
    let of = |key: &str| -> Vec<f64> { serde_json::from_value(reference["paired"][key].clone()).unwrap() };
    let told = paired(&Run::new(1), &of("a"), &of("b"), 20_000).unwrap();
    let expected = &reference["paired"];
    assert!((told.p_value - expected["p_value"].as_f64().unwrap()).abs() < 1e-7, "{told:?}");
    let (low, high) = (of("interval")[0], of("interval")[1]);
    assert!((told.interval.0 - low).abs() < 1e-7 && (told.interval.1 - high).abs() < 1e-7, "{told:?}");
    // The bootstrap agrees as far as 30 users allow.
    let width = high - low;
    assert!((told.bootstrap_interval.0 - low).abs() < 0.1 * width, "{told:?}");
    assert!((told.bootstrap_interval.1 - high).abs() < 0.1 * width, "{told:?}");
    assert!((told.bootstrap_p_value - told.p_value).abs() < 0.04, "{told:?}");
}

#[test]
fn transitions_work_like_numpy() {
    let reference = reference();
    let data = data(&reference);
    let params = json!({"window": 4, "decay": 0.8, "history": 3, "history_decay": 0.7, "shrink": 1,
        "target_power": 0.3, "backward": 0.2});
    close(
        "transitions",
        &of_users(&*fit("transitions", params, &data), true),
        &reference["transitions"],
        1e-6,
    );
}

#[test]
fn factors_reach_the_optimum_of_numpy_from_another_start() {
    let reference = reference();
    let data = data(&reference);
    let params = json!({"factors": 16, "alpha": 3, "regularization": 2, "frequency_power": 0.5,
        "iterations": 1000, "steps": 6});
    let fitted = fit("ials", params, &data);
    close("ials", &of_users(&*fitted, true), &reference["ials"], 2e-3);
    // Folding a history in gives what is known of its user.
    let (known, folded) = (of_users(&*fitted, true), of_users(&*fitted, false));
    for (k, f) in known.iter().flatten().zip(folded.iter().flatten()) {
        assert!((k - f).abs() < 2e-3, "{k} is known, {f} folded in");
    }
}

#[test]
fn measures_work_like_numpy() {
    let reference = reference();
    let lists: Vec<Vec<u32>> = serde_json::from_value(reference["lists"].clone()).unwrap();
    let held: Vec<Vec<u32>> = serde_json::from_value(reference["held"].clone()).unwrap();
    let mut ranking = Ranking::new();
    for list in &lists {
        let scored: Vec<(u32, f32)> = list.iter().enumerate().map(|(p, i)| (*i, -(p as f32))).collect();
        ranking.push(&scored, scored.len());
    }
    let told = measure(&ranking, &held, &[5, 10], &[1.0 / 14.0; 14]);
    for at in &told.at {
        let expected = &reference["measures"][at.k.to_string()];
        let pairs = [
            ("ndcg", at.ndcg),
            ("precision", at.precision),
            ("recall", at.recall),
            ("hit_rate", at.hit_rate),
            ("mrr", at.mrr),
            ("map", at.map),
        ];
        for (name, got) in pairs {
            let expected: (f64, f64) = serde_json::from_value(expected[name].clone()).unwrap();
            let off = (got.mean - expected.0).abs() + (got.half_width - expected.1).abs();
            assert!(off < 1e-7, "{name} at {}: {got:?}, not {expected:?}", at.k);
        }
        assert!((at.novelty_bits - 14.0_f64.log2()).abs() < 1e-12);
        assert_eq!(at.coverage, 1.0);
    }
    let one = Ask::new(1);
    assert_eq!((one.n, one.allow_seen), (1, false));
}

#[test]
fn content_works_like_scikit_learn() {
    let reference: Value = serde_json::from_str(include_str!("../reference/content.json")).unwrap();
    let rows: Vec<(usize, usize, f64)> = serde_json::from_value(reference["rows"].clone()).unwrap();
    let of_items: Vec<(usize, usize, f32)> = serde_json::from_value(reference["attributes"].clone()).unwrap();
    let rows: Vec<(String, String, f64)> =
        rows.into_iter().map(|(u, i, w)| (format!("u{u}"), format!("i{i:02}"), w)).collect();
    let of_items: Vec<(String, String, f32)> =
        of_items.into_iter().map(|(i, t, n)| (format!("i{i:02}"), format!("word={t}"), n)).collect();
    // All items have events or terms, and names in their order: positions are those of the reference once sorted.
    let names: Vec<String> =
        (0..reference["n_items"].as_u64().unwrap()).map(|i| format!("i{i:02}")).collect();
    let attributes =
        Attributes::build(of_items.iter().map(|(i, t, n)| (i.as_str(), t.as_str(), *n))).unwrap();
    let rows = rows.iter().map(|(u, i, w)| Interaction { weight: *w, ..Interaction::plain(u, i, 0) });
    let data = Interactions::build(rows, &EventSettings::default()).unwrap().with_items(attributes);
    let fitted = fit("content", json!({"items_min": 1}), &data);
    let place: Vec<usize> = names.iter().map(|n| data.items().find(n).unwrap() as usize).collect();
    let got: Vec<Vec<f64>> =
        of_users(&*fitted, true).into_iter().map(|row| place.iter().map(|p| row[*p]).collect()).collect();
    close("content", &got, &reference["scores"], 1e-5);
}
