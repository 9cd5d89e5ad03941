//! What every recommender of the catalogue must stand, on data whose right answer is evident.

use tradewind_core::{
    Ask, Attributes, Embeddings, EventSettings, FittedRecommender, History, Interaction, Interactions,
    ItemSet, ParamKind, Params, Past, Ranking, RecommenderEntry, Run,
};
use tradewind_recommend::CATALOG;

/// Methods whose answer is the same for everybody, or knows only what was bought before, how it was rated, or which one
/// item comes next.
const NOT_OF_TASTE: [&str; 6] = ["popularity", "buy_again", "svdpp", "sasrec", "bert4rec", "gru4rec"];
/// Methods that count everything anew when something comes in.
const REFITTED: [&str; 9] = [
    "popularity",
    "item_knn",
    "user_knn",
    "rp3beta",
    "random_walk",
    "graph_filter",
    "transitions",
    "session_knn",
    "content",
];

fn build(rows: &[(String, String, i64, f64)]) -> Interactions {
    let rows = rows.iter().map(|(user_id, item_id, ds, weight)| Interaction {
        weight: *weight,
        ..Interaction::plain(user_id, item_id, *ds)
    });
    Interactions::build(rows, &EventSettings::default()).unwrap()
}

fn user(u: usize) -> String {
    format!("u{u:03}")
}

fn item(i: usize) -> String {
    format!("i{i:03}")
}

/// Users of two tastes, one for the even and one for the odd items. Each has all but `missing` items of their own
/// taste, in an order that differs from user to user. The attributes of items and users say the same as the events.
fn checkerboard(n_users: usize, n_items: usize, missing: usize) -> Interactions {
    let mut rows = Vec::new();
    for u in 0..n_users {
        let own: Vec<usize> = (0..n_items).filter(|i| i % 2 == u % 2).collect();
        for k in 0..own.len() - missing {
            rows.push((user(u), item(own[(k + u / 2) % own.len()]), k as i64, 1.0));
        }
    }
    let colours = ["colour=even", "colour=odd"];
    let attributes = |n: usize, name: fn(usize) -> String| {
        let names: Vec<String> = (0..n).map(name).collect();
        let rows = names.iter().enumerate().flat_map(|(i, name)| {
            let shelf = if i % 3 == 0 { "shelf=high" } else { "shelf=low" };
            [(name.as_str(), colours[i % 2], 1.0), (name.as_str(), shelf, 0.2)]
        });
        Attributes::build(rows).unwrap()
    };
    build(&rows).with_items(attributes(n_items, item)).with_users(attributes(n_users, user))
}

/// [`checkerboard`] without attributes.
fn bare(data: &Interactions) -> Interactions {
    let mut rows = Vec::new();
    for (name, h) in data.users().iter().zip(data.histories()) {
        let events = h.items.iter().zip(h.ds).zip(h.weights);
        rows.extend(
            events
                .map(|((i, ds), w)| (name.to_owned(), data.items().name(*i).to_owned(), *ds, f64::from(*w))),
        );
    }
    build(&rows)
}

/// Histories of every length that share some structure.
fn mixed(seed: usize) -> Interactions {
    let mut rows = Vec::new();
    for u in 0..60 {
        for k in 0..3 + (u * 7 + seed) % 9 {
            let i = (u % 5 * 6 + k * (1 + u % 3) + (u * k) % 4) % 40;
            rows.push((user(u), item(i), k as i64 + 1, 1.0 + ((u + k) % 3) as f64));
        }
    }
    let data = build(&rows);
    // Every seventh item has no attribute; every eleventh has a vector.
    let names: Vec<&str> = data.items().iter().collect();
    let words: Vec<String> = (0..names.len()).map(|i| format!("word={}", i % 6)).collect();
    let with_words =
        (0..names.len()).filter(|i| i % 7 > 0).map(|i| (names[i], words[i].as_str(), 1.0 + (i % 2) as f32));
    let vectors = (0..names.len()).filter(|i| i % 11 == 0).map(|i| (names[i], [1.0, (i % 4) as f32 - 1.0]));
    let items = Attributes::build(with_words).unwrap().with_vectors(Embeddings::new(vectors).unwrap());
    let people: Vec<&str> = data.users().iter().collect();
    let towns = ["town=york", "town=bath"];
    let users =
        Attributes::build(people.iter().enumerate().map(|(u, name)| (*name, towns[u % 2], 1.0))).unwrap();
    data.with_items(items.with_number("price", |name| name.len() as f32)).with_users(users)
}

fn fit(entry: &RecommenderEntry, run: &Run, data: &Interactions) -> Box<dyn FittedRecommender> {
    let model =
        (entry.build)(&Params::new()).unwrap_or_else(|e| panic!("{}: defaults are refused: {e}", entry.name));
    assert_eq!(model.name(), entry.name);
    let fitted = model.fit(run, data).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
    assert_eq!(fitted.name(), entry.name);
    fitted
}

fn for_all(entry: &RecommenderEntry, fitted: &dyn FittedRecommender, ask: &Ask<'_>) -> Ranking {
    let users: Vec<&str> = fitted.known().users().iter().collect();
    let ranking = fitted
        .recommend(&Run::new(1).with_threads(1), &users, ask)
        .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
    assert_eq!(ranking.len(), users.len(), "{}", entry.name);
    for list in ranking.iter() {
        assert!(list.items.len() <= ask.n && list.by_model <= list.items.len(), "{}", entry.name);
        assert!(list.scores.iter().all(|s| s.is_finite()), "{}: {:?}", entry.name, list.scores);
        let own = &list.scores[..list.by_model];
        assert!(own.windows(2).all(|w| w[0] >= w[1]), "{}: not in order: {own:?}", entry.name);
        let mut distinct = list.items.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), list.items.len(), "{}: an item twice", entry.name);
    }
    ranking
}

fn each(check: impl Fn(&RecommenderEntry)) {
    assert!(CATALOG.len() > 5);
    CATALOG.iter().for_each(check);
}

#[test]
fn names_are_distinct_and_told_in_both_languages() {
    for (i, e) in CATALOG.iter().enumerate() {
        assert!(CATALOG[..i].iter().all(|o| o.name != e.name), "{} twice", e.name);
        assert!(!e.summary.is_empty() && !e.summary_zh.is_empty() && !e.source.is_empty(), "{}", e.name);
    }
}

#[test]
fn taste_follows_the_checkerboard() {
    let data = checkerboard(60, 40, 4);
    each(|e| {
        if NOT_OF_TASTE.contains(&e.name) {
            return;
        }
        let ranking = for_all(e, &*fit(e, &Run::new(3), &data), &Ask::new(4));
        let mut wrong = 0;
        for (u, list) in ranking.iter().enumerate() {
            assert_eq!(list.items.len(), 4, "{}", e.name);
            wrong += list.items.iter().filter(|i| **i as usize % 2 != u % 2).count();
        }
        assert_eq!(wrong, 0, "{}: {wrong} of 240 are not of the user's taste", e.name);
    });
}

#[test]
fn taste_needs_no_attributes() {
    let data = bare(&checkerboard(60, 40, 4));
    each(|e| {
        if NOT_OF_TASTE.contains(&e.name) {
            return;
        }
        let ranking = for_all(e, &*fit(e, &Run::new(3), &data), &Ask::new(4));
        // What goes by attributes alone has no opinion then and says so.
        if e.name == "content" {
            assert!(ranking.iter().all(|l| l.by_model == 0 && l.items.len() == 4));
            return;
        }
        let odd =
            |(u, l): (usize, tradewind_core::Ranked<'_>)| l.items.iter().any(|i| *i as usize % 2 != u % 2);
        assert!(!ranking.iter().enumerate().any(odd), "{}", e.name);
    });
}

/// Items that nobody has and users without a history, known by their attributes alone.
#[test]
fn attributes_warm_what_is_cold() {
    let names: Vec<String> = (0..40).chain(100..110).map(item).collect();
    let colours = ["colour=even", "colour=odd"];
    let rows = names.iter().enumerate().map(|(i, n)| (n.as_str(), colours[i % 2], 1.0));
    let people: Vec<String> = (0..60).chain(200..204).map(user).collect();
    let of_users = people.iter().enumerate().map(|(u, n)| (n.as_str(), colours[u % 2], 1.0));
    let data = checkerboard(60, 40, 4)
        .with_items(Attributes::build(rows).unwrap())
        .with_users(Attributes::build(of_users).unwrap());
    let cold = ItemSet::of(data.items(), |name| name >= "i100");
    for name in ["content", "cold_factors", "factorisation_machine"] {
        let e = tradewind_recommend::entry(name).unwrap();
        let fitted = fit(e, &Run::new(3), &data);
        let new_items = for_all(e, &*fitted, &Ask::new(5).among(&cold));
        for (u, list) in new_items.iter().enumerate().take(60) {
            assert!(list.by_model >= 5, "{name}: {list:?}");
            assert!(list.items.iter().all(|i| *i as usize % 2 == u % 2), "{name}: user {u}: {list:?}");
        }
        let new_users = for_all(e, &*fitted, &Ask::new(5));
        for (u, list) in new_users.iter().enumerate().skip(60) {
            assert!(
                list.by_model == 5 && list.items.iter().all(|i| *i as usize % 2 == u % 2),
                "{name}: {list:?}"
            );
        }
        let alike = fitted.similar_items(&Run::new(1), &["i104"], &Ask::new(5)).unwrap();
        assert!(alike.list(0).items.len() == 5 && alike.list(0).items.iter().all(|i| i % 2 == 0), "{name}");
        // An item that comes in with an update is placed by its words at once.
        let mut fitted = fitted;
        let late = Attributes::build([("i999", "colour=odd", 1.0)]).unwrap();
        let newer = Interactions::build([], &EventSettings::default()).unwrap().with_items(late);
        fitted.update(&Run::new(1), &newer).unwrap();
        let late = fitted.known().items().find("i999").unwrap();
        let alone = ItemSet::of(fitted.known().items(), |n| n == "i999" || n == "i100");
        let list = fitted.recommend(&Run::new(1), &["u001"], &Ask::new(1).among(&alone)).unwrap();
        assert_eq!(list.list(0).items, [late], "{name}");
    }
}

#[test]
fn similar_items_are_of_the_same_colour() {
    let data = checkerboard(60, 40, 4);
    let items: Vec<&str> = data.items().iter().collect();
    each(|e| {
        if NOT_OF_TASTE.contains(&e.name) {
            return;
        }
        let fitted = fit(e, &Run::new(3), &data);
        let alike = fitted.similar_items(&Run::new(1), &items, &Ask::new(5)).unwrap();
        for (i, list) in alike.iter().enumerate() {
            assert!(!list.items.is_empty(), "{}", e.name);
            assert!(list.items.iter().all(|j| *j as usize % 2 == i % 2), "{}: item {i}: {list:?}", e.name);
            assert!(!list.items.contains(&(i as u32)), "{}: an item is not like itself", e.name);
        }
        let unknown = fitted.similar_items(&Run::new(1), &["nowhere"], &Ask::new(5)).unwrap();
        assert!(unknown.list(0).items.is_empty(), "{}", e.name);
    });
}

#[test]
fn what_is_seen_stays_away_unless_it_is_allowed() {
    let data = mixed(1);
    each(|e| {
        let fitted = fit(e, &Run::new(2), &data);
        let ranking = for_all(e, &*fitted, &Ask::new(40));
        for (u, list) in ranking.iter().enumerate() {
            let history = data.history(u as u32);
            assert!(list.items.iter().all(|i| !history.items.contains(i)), "{}: user {u}", e.name);
            let mut distinct = history.items.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            let left = data.items().len() - distinct.len();
            assert_eq!(list.items.len(), left, "{}: a list is filled up", e.name);
        }
        let all = for_all(e, &*fitted, &Ask::new(1000).with_seen(true));
        assert!(all.iter().all(|l| l.items.len() == data.items().len()), "{}", e.name);
    });
}

#[test]
fn filters_hold() {
    let data = mixed(2);
    let third = ItemSet::of(data.items(), |name| name.ends_with(['0', '3', '6', '9']));
    let none = ItemSet::of(data.items(), |_| false);
    each(|e| {
        let fitted = fit(e, &Run::new(2), &data);
        let ranking = for_all(e, &*fitted, &Ask::new(40).among(&third));
        assert!(ranking.iter().all(|l| l.items.iter().all(|i| third.contains(*i))), "{}", e.name);
        let ranking = for_all(e, &*fitted, &Ask::new(40).among(&none).with_seen(true));
        assert!(ranking.iter().all(|l| l.items.is_empty()), "{}", e.name);
    });
}

#[test]
fn strangers_get_what_is_popular() {
    let data = mixed(3);
    each(|e| {
        let fitted = fit(e, &Run::new(2), &data);
        let run = Run::new(1);
        let stranger = fitted.recommend(&run, &["nobody"], &Ask::new(5)).unwrap();
        let empty = fitted.recommend_next(&run, &[History::default()], &Ask::new(5)).unwrap();
        assert_eq!(stranger, empty, "{}", e.name);
        assert_eq!(stranger.list(0).items.len(), 5, "{}", e.name);
        if e.name == "popularity" {
            return; // Its own answer goes by weights, not by numbers of users.
        }
        assert_eq!(stranger.list(0).by_model, 0, "{}", e.name);
        let counts = data.matrix().column_counts();
        let least = stranger.list(0).items.iter().map(|i| counts[*i as usize]).min().unwrap();
        let above = counts.iter().filter(|c| **c > least).count();
        assert!(above < 5, "{}: {above} items are more popular than one of the five", e.name);
    });
}

#[test]
fn ties_stand_in_the_order_of_items() {
    let rows: Vec<_> = (0..30).map(|i| (user(i % 10), item(i), 0, 1.0)).collect();
    let data = build(&rows);
    let popularity = &CATALOG[0];
    let ranking = for_all(popularity, &*fit(popularity, &Run::new(1), &data), &Ask::new(30));
    assert!(ranking.iter().all(|l| l.items.windows(2).all(|w| w[0] < w[1])));
}

#[test]
fn threads_and_repeats_change_no_bit() {
    let data = mixed(4);
    each(|e| {
        let of = |threads| for_all(e, &*fit(e, &Run::new(7).with_threads(threads), &data), &Ask::new(12));
        let once = of(1);
        assert_eq!(once, of(1), "{}: a second run differs", e.name);
        assert_eq!(once, of(4), "{}: four threads differ", e.name);
    });
}

#[test]
fn one_by_one_is_the_same_as_together() {
    let data = mixed(5);
    each(|e| {
        let fitted = fit(e, &Run::new(7), &data);
        let together = for_all(e, &*fitted, &Ask::new(9));
        for (name, list) in data.users().iter().zip(together.iter()) {
            let alone = fitted.recommend(&Run::new(7).with_threads(3), &[name], &Ask::new(9)).unwrap();
            assert_eq!(alone.list(0), list, "{}: {name}", e.name);
        }
    });
}

#[test]
fn order_of_rows_does_not_matter() {
    let mut rows: Vec<(String, String, i64, f64)> =
        (0..300).map(|k| (user(k * 7 % 23), item(k * 11 % 31), (k * 13 % 17) as i64, 1.0)).collect();
    let straight = build(&rows);
    rows.sort_by_key(|r| (r.2 * 31 % 7, r.1.clone(), r.0.clone()));
    let turned = build(&rows);
    assert_eq!(straight, turned);
    each(|e| {
        let of = |data| for_all(e, &*fit(e, &Run::new(1), data), &Ask::new(8));
        assert_eq!(of(&straight), of(&turned), "{}", e.name);
    });
}

#[test]
fn saved_models_answer_as_before() {
    let data = mixed(6);
    each(|e| {
        let fitted = fit(e, &Run::new(5), &data);
        let text = fitted.save().unwrap().to_string();
        let back =
            (e.load)(serde_json::from_str(&text).unwrap()).unwrap_or_else(|f| panic!("{}: {f}", e.name));
        let ask = Ask::new(15).with_seen(true);
        assert_eq!(for_all(e, &*fitted, &ask), for_all(e, &*back, &ask), "{}", e.name);
        assert_eq!(back.known(), &data, "{}", e.name);
        // Somebody new is answered alike too.
        let past = History { items: &[3, 5], ds: &[1, 2], weights: &[1.0, 1.0], events: &[0, 0] };
        let next = |f: &dyn FittedRecommender| f.recommend_next(&Run::new(1), &[past], &Ask::new(6)).unwrap();
        assert_eq!(next(&*fitted), next(&*back), "{}", e.name);
    });
}

#[test]
fn spoilt_state_is_an_error() {
    let data = mixed(6);
    each(|e| {
        assert!((e.load)(serde_json::Value::Null).is_err(), "{}", e.name);
        let state = fit(e, &Run::new(5), &data).save().unwrap();
        for key in ["params", "known", "learnt"] {
            let mut less = state.clone();
            less.as_object_mut().unwrap().shift_remove(key);
            assert!((e.load)(less).is_err(), "{}: without {key}", e.name);
        }
        // The state of other items: refused, or answered without a panic where nothing depends on their number.
        let mut other = state.clone();
        other["known"] = serde_json::to_value(checkerboard(4, 10, 1)).unwrap();
        if let Ok(fitted) = (e.load)(other) {
            for_all(e, &*fitted, &Ask::new(5));
        }
    });
}

#[test]
fn an_update_is_seen_in_the_next_answer() {
    let data = mixed(7);
    let newer = build(&[
        (user(900), item(4), 50, 1.0),
        (user(900), item(6), 51, 1.0),
        (user(1), item(700), 52, 1.0),
        (user(1), item(4), 53, 1.0),
    ]);
    let mut all = data.clone();
    all.append(&newer).unwrap();
    each(|e| {
        let mut fitted = fit(e, &Run::new(5), &data);
        fitted.update(&Run::new(5), &newer).unwrap();
        assert_eq!(fitted.known(), &all, "{}", e.name);
        let after = for_all(e, &*fitted, &Ask::new(60));
        let new_user = fitted.known().users().find("u900").unwrap() as usize;
        let new_item = fitted.known().items().find("i700").unwrap();
        assert!(!after.list(1).items.contains(&new_item), "{}: just seen", e.name);
        assert!(!after.list(new_user).items.contains(&4), "{}: just seen", e.name);
        assert!(after.list(0).items.contains(&new_item), "{}: the new item is there for others", e.name);
        if REFITTED.contains(&e.name) {
            let anew = for_all(e, &*fit(e, &Run::new(5), &all), &Ask::new(60));
            assert_eq!(after, anew, "{}: an update is a new fit", e.name);
        }
        // What was saved after an update comes back.
        let back = (e.load)(fitted.save().unwrap()).unwrap();
        assert_eq!(for_all(e, &*back, &Ask::new(60)), after, "{}", e.name);
    });
}

#[test]
fn odd_input_is_borne() {
    let one = build(&[(user(0), item(0), 0, 1.0)]);
    let against = build(&[
        (user(0), item(0), 0, -1.0),
        (user(0), item(1), 1, -2.0),
        (user(1), item(1), 0, 1.0),
        (user(1), item(0), 5, -1.0),
    ]);
    let large: Vec<_> = (0..60).map(|k| (user(k % 7), item(k % 11), i64::MAX - k as i64, 1e6)).collect();
    let far: Vec<_> = (0..60)
        .map(|k| (user(k % 7), item(k % 11), if k % 2 == 0 { i64::MIN } else { i64::MAX }, 1e-6))
        .collect();
    let same: Vec<_> = (0..60).map(|k| (user(k % 7), item(k % 11), 3, 1.0)).collect();
    let sets = [build(&[]), one, against, build(&large), build(&far), build(&same)];
    each(|e| {
        for (k, data) in sets.iter().enumerate() {
            let fitted = fit(e, &Run::new(1), data);
            for_all(e, &*fitted, &Ask::new(4));
            for_all(e, &*fitted, &Ask::new(4).with_seen(true));
            let names: Vec<&str> = data.items().iter().collect();
            fitted.similar_items(&Run::new(1), &names, &Ask::new(3)).unwrap();
            let nobody = fitted.recommend(&Run::new(1), &["x"], &Ask::new(3)).unwrap();
            assert_eq!(nobody.len(), 1, "{}: set {k}", e.name);
            fitted.save().unwrap();
        }
        let fitted = fit(e, &Run::new(1), &sets[5]);
        assert!(fitted.recommend(&Run::new(1), &["u001"], &Ask::new(0)).is_err(), "{}: no list of 0", e.name);
        let past = History { items: &[99], ds: &[0], weights: &[1.0], events: &[0] };
        assert!(fitted.recommend_next(&Run::new(1), &[past], &Ask::new(3)).is_err(), "{}", e.name);
        let short = History { items: &[1], ds: &[], weights: &[1.0], events: &[0] };
        assert!(fitted.scores(&[Past { user: None, history: short }], &mut [0.0; 11]).is_err(), "{}", e.name);
        assert!(fitted.scores(&[Past::default()], &mut [0.0; 3]).is_err(), "{}", e.name);
    });
}

#[test]
fn parameters_out_of_range_are_refused_and_ends_of_ranges_work() {
    let data = mixed(8);
    each(|e| {
        let given = |name: &str, value: serde_json::Value| {
            let mut params = Params::new();
            params.insert(name.into(), value);
            params
        };
        assert!((e.build)(&given("no_such", 1.into())).is_err(), "{}", e.name);
        for spec in e.params {
            // Sizes of work are not tried at their largest.
            let sizes = [
                "iterations",
                "steps",
                "factors",
                "cutoffs",
                "rounds",
                "width",
                "layers",
                "epochs",
                "patience",
                "negatives",
            ];
            let (low, high, beyond): (serde_json::Value, serde_json::Value, serde_json::Value) =
                match spec.kind {
                    ParamKind::Integer { min, max } if sizes.contains(&spec.name) => {
                        (min.into(), (min + 2).into(), (max + 1).into())
                    }
                    ParamKind::Integer { min, max } => (min.into(), max.into(), (max + 1).into()),
                    ParamKind::Number { min, max } => (min.into(), max.into(), (max * 2.0 + 1.0).into()),
                    ParamKind::Choice(words) => {
                        (words[0].into(), words[words.len() - 1].into(), "no such".into())
                    }
                    ParamKind::Flag => (false.into(), true.into(), "perhaps".into()),
                    ParamKind::Numbers { .. } => continue,
                };
            assert!((e.build)(&given(spec.name, beyond)).is_err(), "{}: {}", e.name, spec.name);
            for value in [low, high] {
                let mut params = given(spec.name, value.clone());
                if spec.name != "epochs" && e.params.iter().any(|p| p.name == "epochs") {
                    params.insert("epochs".into(), 2.into());
                }
                let model =
                    (e.build)(&params).unwrap_or_else(|f| panic!("{}: {} = {value}: {f}", e.name, spec.name));
                let fitted = model.fit(&Run::new(1), &data).unwrap();
                for_all(e, &*fitted, &Ask::new(5));
            }
        }
    });
}

#[test]
fn a_cancelled_run_stops() {
    let data = mixed(9);
    let run = Run::new(1);
    run.cancel();
    for name in [
        "ials",
        "item_knn",
        "ease",
        "slim",
        "bpr",
        "light_gcn",
        "svdpp",
        "graph_filter",
        "transitions",
        "two_tower",
        "hybrid",
    ] {
        let model = (tradewind_recommend::entry(name).unwrap().build)(&Params::new()).unwrap();
        assert!(model.fit(&run, &data).is_err(), "{name}");
        // An update that fails changes nothing.
        let mut fitted = model.fit(&Run::new(1), &data).unwrap();
        let before = fitted.save().unwrap();
        assert!(fitted.update(&run, &build(&[(user(900), item(900), 50, 1.0)])).is_err(), "{name}");
        assert_eq!(fitted.save().unwrap(), before, "{name}");
    }
}

#[test]
fn what_is_trained_in_rounds_keeps_its_curve() {
    let data = mixed(9);
    for name in ["sasrec", "gru4rec", "bert4rec", "two_tower"] {
        let entry = tradewind_recommend::entry(name).unwrap();
        let fitted = (entry.build)(&Params::new()).unwrap().fit(&Run::new(1), &data).unwrap();
        let curves = fitted.training_curves();
        assert_eq!(curves.len(), 1, "{name}");
        assert!(curves[0].epochs.len() > 1 && curves[0].constant.is_some(), "{name}: {curves:?}");
        assert_eq!((entry.load)(fitted.save().unwrap()).unwrap().training_curves(), curves, "{name}");
    }
}

#[test]
fn one_answer_at_a_time_is_the_same_answer() {
    let data = mixed(10);
    let n = data.items().len();
    let half = ItemSet::of(data.items(), |name| name.ends_with(['0', '2', '4', '6', '8']));
    each(|e| {
        let fitted = fit(e, &Run::new(5), &data);
        let run = Run::new(1).with_threads(1);
        for (u, name) in data.users().iter().enumerate() {
            let past = Past { user: Some(u as u32), history: data.history(u as u32) };
            let scores = {
                let mut out = vec![0.0; n];
                fitted.scores(&[past], &mut out).unwrap();
                out
            };
            for among in [None, Some(&half)] {
                let ask = Ask { n: 7, allow_seen: true, among };
                let lists = fitted.recommend(&run, &[name], &ask).unwrap();
                let list = lists.list(0);
                let own: Vec<(u32, f32)> =
                    list.items.iter().copied().zip(list.scores.iter().copied()).take(list.by_model).collect();
                assert_eq!(fitted.top_for(&past, 7, among).unwrap(), own, "{}: {name}", e.name);
                let item = u as u32 % n as u32;
                let lists = fitted.similar_items(&run, &[data.items().name(item)], &ask).unwrap();
                let list = lists.list(0);
                let alike: Vec<(u32, f32)> =
                    list.items.iter().copied().zip(list.scores.iter().copied()).collect();
                assert_eq!(fitted.top_similar(item, 7, among).unwrap(), alike, "{}: {item}", e.name);
            }
            let asked = [3_u32, 0, n as u32 - 1];
            let of: Vec<f32> = asked.iter().map(|i| scores[*i as usize]).collect();
            assert_eq!(fitted.scores_of(&past, &asked).unwrap(), of, "{}", e.name);
        }
        let empty = Past::default();
        if e.name != "popularity" {
            assert!(
                fitted.top_for(&empty, 5, None).unwrap().is_empty(),
                "{}: no history, no opinion",
                e.name
            );
        }
        assert!(
            fitted.scores_of(&empty, &[n as u32]).is_err() && fitted.contributions(&empty, &[9999]).is_err()
        );
        assert!(fitted.top_similar(n as u32, 3, None).unwrap().is_empty(), "{}", e.name);
        assert_eq!(fitted.alike(n as u32, 0), None, "{}", e.name);
    });
}

#[test]
fn contributions_add_up_to_the_score() {
    let data = mixed(11);
    let items: Vec<u32> = (0..data.items().len() as u32).collect();
    for name in ["ials", "light_gcn", "ease", "item_knn", "rp3beta", "transitions"] {
        let fitted = fit(tradewind_recommend::entry(name).unwrap(), &Run::new(5), &data);
        for u in [0_u32, 7, 33] {
            // Without the user, so that factors are folded in from the history.
            let past = Past { user: None, history: data.history(u) };
            let scores = fitted.scores_of(&past, &items).unwrap();
            let words = fitted.contributions(&past, &items).unwrap();
            let most = scores.iter().fold(0.0_f32, |m, s| m.max(s.abs()));
            assert!(most > 0.0, "{name}");
            for (score, row) in scores.iter().zip(words.chunks_exact(past.history.len())) {
                let sum: f32 = row.iter().sum();
                assert!((sum - score).abs() < 2e-3 * most, "{name}: {sum} is not {score}");
            }
        }
    }
}
