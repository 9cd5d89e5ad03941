//! Splits and evaluation.

use proptest::prelude::*;
use tradewind_core::{Ask, EventSettings, Interaction, Interactions, Params, Run};
use tradewind_recommend::evaluate::{self, Held, Split};

fn data(n_users: usize, n_items: usize, length: usize) -> Interactions {
    let named: Vec<(String, String, i64)> = (0..n_users)
        .flat_map(|u| {
            (0..1 + (u * 5) % length).map(move |k| {
                (format!("u{u:03}"), format!("i{:03}", (u * 3 + k * (1 + u % 4)) % n_items), k as i64)
            })
        })
        .collect();
    let rows = named.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    Interactions::build(rows, &EventSettings::default()).unwrap()
}

/// Nothing is lost and nothing is in both parts.
fn whole(data: &Interactions, split: &Split) {
    assert_eq!(split.train.users(), data.users());
    assert_eq!(split.train.items(), data.items());
    for (u, user) in data.users().iter().enumerate() {
        let (before, kept) = (data.history(u as u32).items, split.train.history(u as u32).items);
        let held: Vec<u32> = split
            .held
            .iter()
            .filter(|h| h.user == user)
            .flat_map(|h| &h.items)
            .map(|i| data.items().find(i).unwrap())
            .collect();
        let mut all: Vec<u32> = kept.iter().chain(&held).copied().collect();
        let mut before = before.to_vec();
        for list in [&mut all, &mut before] {
            list.sort_unstable();
            list.dedup();
        }
        assert_eq!(all, before);
    }
}

#[test]
fn the_last_of_each_is_held_back() {
    let data = data(50, 30, 9);
    let split = evaluate::leave_last_out(&Run::new(1), &data, 3);
    whole(&data, &split);
    for Held { user, items } in &split.held {
        let history = data.history(data.users().find(user).unwrap());
        assert!(history.len() >= 3);
        assert_eq!(items, &[data.items().name(*history.items.last().unwrap())]);
    }
    let long = data.histories().filter(|h| h.len() >= 3).count();
    assert_eq!(split.held.len(), long);
}

#[test]
fn of_one_time_any_is_held_back() {
    // Baskets of three, the last of which is told apart by nothing but names.
    let rows: Vec<(String, String, i64)> = (0..300)
        .flat_map(|u| (0..6).map(move |k| (format!("u{u:03}"), format!("i{}", (u + k) % 6), k as i64 / 3)))
        .collect();
    let rows = rows.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    let data = Interactions::build(rows, &EventSettings::default()).unwrap();
    let split = evaluate::leave_last_out(&Run::new(1), &data, 3);
    whole(&data, &split);
    let mut places = [0; 3];
    for Held { user, items } in &split.held {
        let history = data.history(data.users().find(user).unwrap());
        let item = data.items().find(&items[0]).unwrap();
        let at = history.items.iter().position(|i| *i == item).unwrap();
        assert_eq!(history.ds[at], 1);
        places[at - 3] += 1;
    }
    assert!(places.iter().all(|n| (70..130).contains(n)), "{places:?}");
    let again = evaluate::leave_last_out(&Run::new(1), &data, 3);
    assert_eq!(again.held, split.held);
}

#[test]
fn random_and_time_splits_are_whole() {
    let data = data(80, 30, 12);
    let split = evaluate::random(&Run::new(3), &data, 0.2);
    whole(&data, &split);
    let share = 1.0 - split.train.len() as f64 / data.len() as f64;
    assert!((0.1..0.3).contains(&share), "{share} held back");
    assert_eq!(split.train, evaluate::random(&Run::new(3), &data, 0.2).train);
    assert!(split.train.histories().all(|h| !h.is_empty()), "everybody keeps something");

    let split = evaluate::by_time(&data, 6);
    assert!(split.train.histories().all(|h| h.ds.iter().all(|t| *t < 6)));
    assert_eq!(
        split.train.len(),
        data.histories().map(|h| h.ds.iter().filter(|t| **t < 6).count()).sum::<usize>()
    );
    assert_eq!(split.held.len(), data.histories().filter(|h| h.ds.iter().any(|t| *t >= 6)).count());
}

#[test]
fn knowing_the_truth_scores_one_and_the_opposite_nothing() {
    // Everybody's held item is the most popular one that they have not seen.
    let rows: Vec<(String, &str, i64)> = (0..40)
        .flat_map(|u| {
            let last = if u % 4 == 0 { "c" } else { "b" };
            [(format!("u{u:02}"), "a", 0), (format!("u{u:02}"), last, 1)]
        })
        .collect();
    let rows = rows.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    let data = Interactions::build(rows, &EventSettings::default()).unwrap();
    let model = (tradewind_recommend::entry("popularity").unwrap().build)(&Params::new()).unwrap();
    let fitted = model.fit(&Run::new(1), &data).unwrap();
    // Users who had c lack b, the most popular one left; the others lack c.
    let held: Vec<Held> = (0..40)
        .map(|u| Held {
            user: format!("u{u:02}"),
            items: vec![if u % 4 == 0 { "b" } else { "c" }.to_owned()],
        })
        .collect();
    let told = evaluate::evaluate(&Run::new(1), &*fitted, &held, &[1], &Ask::new(1)).unwrap();
    assert_eq!((told.n_users, told.at[0].ndcg.mean, told.at[0].ndcg.half_width), (40, 1.0, 0.0));
    let wrong: Vec<Held> =
        held.into_iter().map(|h| Held { items: vec!["nothing that there is".into()], ..h }).collect();
    let told = evaluate::evaluate(&Run::new(1), &*fitted, &wrong, &[1, 2], &Ask::new(1)).unwrap();
    assert!(told.at.iter().all(|at| at.ndcg.mean == 0.0 && at.recall.mean == 0.0 && at.mrr.mean == 0.0));
    assert!(evaluate::evaluate(&Run::new(1), &*fitted, &wrong, &[], &Ask::new(1)).is_err());
}

#[test]
fn what_follows_is_told_by_order_where_taste_cannot() {
    // Everybody walks round the same circle of 24 items; only the order tells what is next.
    let rows: Vec<(String, String, i64)> = (0..96)
        .flat_map(|u| (0..10).map(move |k| (format!("u{u:02}"), format!("i{:02}", (u + k) % 24), k)))
        .collect();
    let rows = rows.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    let data = Interactions::build(rows, &EventSettings::default()).unwrap();
    let split = evaluate::leave_last_out(&Run::new(1), &data, 3);
    let first = |name: &str| {
        let model = (tradewind_recommend::entry(name).unwrap().build)(&Params::new()).unwrap();
        let fitted = model.fit(&Run::new(1), &split.train).unwrap();
        if ["sasrec", "bert4rec", "gru4rec"].contains(&name) {
            // How it was trained is kept, and tells that order says more than how often items are taken.
            let curves = fitted.training_curves();
            let held = curves[0].kept().unwrap().validation.unwrap();
            assert!(curves.len() == 1 && held < 0.5 * curves[0].constant.unwrap(), "{name}: {curves:?}");
            let loaded = (tradewind_recommend::entry(name).unwrap().load)(fitted.save().unwrap()).unwrap();
            assert_eq!(loaded.training_curves(), curves, "{name}");
        }
        evaluate::evaluate(&Run::new(1), &*fitted, &split.held, &[1], &Ask::new(1)).unwrap().at[0]
            .hit_rate
            .mean
    };
    for name in ["transitions", "slit", "sasrec", "gru4rec", "session_knn", "hybrid"] {
        assert_eq!(first(name), 1.0, "{name}");
    }
    assert!(first("bert4rec") > 0.9, "{}", first("bert4rec"));
    assert!(first("item_knn") < 0.9);
}

#[test]
fn a_rhythm_is_learnt() {
    // Half of the items are bought every 4 days, half every 12; all were bought of late by somebody.
    let mut rows = Vec::new();
    for u in 0..150_i64 {
        for i in 0..8_i64 {
            let every = if i % 2 == 0 { 4 } else { 12 };
            let start = (u * 7 + i * 5) % every;
            rows.extend(
                (0..)
                    .map(|k| start + k * every)
                    .take_while(|t| *t < 120)
                    .map(|t| (format!("u{u:03}"), format!("i{i}"), t)),
            );
        }
    }
    let rows = rows.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    let data = Interactions::build(rows, &EventSettings::default()).unwrap();
    // What comes within the next 3 days is known exactly.
    let split = evaluate::by_time(&data, 117);
    let params: Params = serde_json::from_str(r#"{"period": 3}"#).unwrap();
    let model = (tradewind_recommend::entry("buy_again").unwrap().build)(&params).unwrap();
    let fitted = model.fit(&Run::new(1), &split.train).unwrap();
    let ask = Ask::new(1).with_seen(true);
    let told = evaluate::evaluate(&Run::new(1), &*fitted, &split.held, &[3], &ask).unwrap();
    assert!(told.at[0].ndcg.mean > 0.97, "{:?}", told.at[0].ndcg);
}

proptest! {
    #[test]
    fn measures_lie_between_nothing_and_one(seed in 0_u64..500, k in 1_usize..30) {
        let data = data(30, 20, 7);
        let split = evaluate::random(&Run::new(seed), &data, 0.4);
        let model = (tradewind_recommend::entry("item_knn").unwrap().build)(&Params::new()).unwrap();
        let fitted = model.fit(&Run::new(seed), &split.train).unwrap();
        let told = evaluate::evaluate(&Run::new(1), &*fitted, &split.held, &[k], &Ask::new(1)).unwrap();
        let at = &told.at[0];
        for m in [at.ndcg, at.precision, at.recall, at.hit_rate, at.mrr, at.map] {
            prop_assert!((0.0..=1.0).contains(&m.mean) && m.half_width >= 0.0);
        }
        prop_assert!(at.ndcg.mean <= at.hit_rate.mean + 1e-12 && at.mrr.mean <= at.hit_rate.mean + 1e-12);
        prop_assert!((0.0..=1.0).contains(&at.coverage) && at.novelty_bits >= 0.0);
    }
}
