//! Choosing parameters of methods.

use serde_json::json;
use tradewind_core::{EventSettings, Interaction, Interactions, Run};
use tradewind_learn::search::{MemoryStore, Sampler, TrialStore};
use tradewind_recommend::tune::{HoldBack, Tuning, space_of, tune};
use tradewind_recommend::{CATALOG, entry};

/// Everybody walks through items in steps of one, now and then of another length.
fn walks() -> Interactions {
    let rows: Vec<(String, String, i64)> = (0..80)
        .flat_map(|u| {
            (0..8).map(move |k| {
                let jump = if (u * 5 + k) % 7 == 0 { 13 } else { 0 };
                (format!("u{u:02}"), format!("i{:02}", (u + k + jump) % 30), k as i64)
            })
        })
        .collect();
    let rows = rows.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    Interactions::build(rows, &EventSettings::default()).unwrap()
}

#[test]
fn every_method_has_a_space_that_holds_its_defaults() {
    let data = walks();
    for e in CATALOG.iter().filter(|e| e.name != "hybrid") {
        let space = space_of(e).unwrap_or_else(|f| panic!("{}: {f}", e.name));
        if space.is_empty() {
            continue;
        }
        let mut tuning = Tuning::new(space);
        tuning.search.n_trials = 3;
        if e.params.iter().any(|p| p.name == "iterations") {
            tuning.fixed.insert("iterations".into(), 2.into());
        }
        let store = MemoryStore::default();
        let told = tune(&Run::new(1), e, &data, &tuning, &store, &|| false)
            .unwrap_or_else(|f| panic!("{}: {f}", e.name));
        let trials = store.read().unwrap();
        assert_eq!((told.n_complete, told.n_failed), (3, 0), "{}: {trials:?}", e.name);
        let of_defaults = told.ndcg_of_defaults.unwrap_or_else(|| panic!("{}: no defaults", e.name));
        assert!(told.ndcg >= of_defaults, "{}", e.name);
        (e.build)(&told.params).unwrap_or_else(|f| panic!("{}: {f}", e.name));
    }
}

#[test]
fn what_the_model_finds_right_by_itself_is_not_searched() {
    for name in ["sasrec", "gru4rec", "bert4rec"] {
        let space = space_of(entry(name).unwrap()).unwrap();
        let of: Vec<&str> = space.dimensions().iter().map(|d| &d.name[..]).collect();
        assert!(of.contains(&"width") && of.contains(&"dropout"), "{name}: {of:?}");
        assert!(!of.contains(&"epochs") && !of.contains(&"negatives"), "{name}: {of:?}");
    }
}

#[test]
fn what_matters_is_found_and_the_same_with_the_same_seed() {
    let data = walks();
    // The last event alone tells what comes next; a history that counts back blindly is worse.
    let mut tuning =
        Tuning::new("history=int(1,8) history_decay=float(0,1) backward=float(0,1)".parse().unwrap());
    tuning.search.n_trials = 30;
    tuning.k = 1;
    tuning.fixed = serde_json::from_value(json!({"window": 3})).unwrap();
    let search = |run: &Run, store: &MemoryStore| {
        tune(run, entry("transitions").unwrap(), &data, &tuning, store, &|| false).unwrap()
    };
    let store = MemoryStore::default();
    let told = search(&Run::new(4), &store);
    assert_eq!(told.params["window"], 3);
    let worst = store.read().unwrap().iter().filter_map(|t| t.value).fold(f64::INFINITY, f64::min);
    assert!(told.ndcg > worst + 0.1, "{} and {worst}: the parameters matter", told.ndcg);
    assert_eq!(told, search(&Run::new(4).with_threads(1), &MemoryStore::default()));
    // Stopped after ten trials and taken up again, the search is the same.
    let all = store.read().unwrap();
    let first: Vec<_> = all.iter().filter(|t| t.number < 10).cloned().collect();
    assert_eq!(told, search(&Run::new(4), &MemoryStore::new(first)));
}

#[test]
fn faults_are_told() {
    let data = walks();
    let ease = entry("ease").unwrap();
    let run = Run::new(1);
    let told = |tuning: &Tuning, data: &Interactions| {
        tune(&run, ease, data, tuning, &MemoryStore::default(), &|| false).unwrap_err().to_string()
    };
    assert!(told(&Tuning::default(), &data).contains("space is empty"));
    assert!(told(&Tuning::new("no_such=float(0,1)".parse().unwrap()), &data).contains("no_such"));
    let good = Tuning::new("regularization=log(1,100)".parse().unwrap());
    let empty = Interactions::build([], &EventSettings::default()).unwrap();
    assert!(told(&good, &empty).contains("held back"));
    assert!(told(&Tuning { hold_back: HoldBack::Random(1.0), ..good.clone() }, &data).contains("hold_back"));
    // A range beyond what the method allows makes failed trials, and the reason is told.
    let mut wrong = Tuning::new("regularization=float(-2,-1)".parse().unwrap());
    wrong.search.n_trials = 2;
    wrong.search.sampler = Sampler::Random;
    assert!(told(&wrong, &data).contains("regularization"));
    let never = tune(&run, ease, &data, &good, &MemoryStore::default(), &|| true);
    assert!(never.unwrap_err().to_string().contains("stopped"));
}
