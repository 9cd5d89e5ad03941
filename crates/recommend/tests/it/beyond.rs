//! Diversity, calibration, popularity, groups of users, comparison of methods.

use proptest::prelude::*;
use tradewind_core::{
    Ask, EventSettings, History, Interaction, Interactions, Params, Ranking, Run, SparseRows,
};
use tradewind_recommend::evaluate::{self, calibration, diversity, evaluate, gini, paired, popularity_lift};

fn ranking(lists: &[&[u32]]) -> Ranking {
    let mut out = Ranking::new();
    for list in lists {
        let scored: Vec<(u32, f32)> = list.iter().map(|i| (*i, 1.0)).collect();
        out.push(&scored, scored.len());
    }
    out
}

fn history<'a>(items: &'a [u32], weights: &'a [f32]) -> History<'a> {
    History { items, ds: &[], weights, events: &[] }
}

#[test]
fn diversity_is_the_mean_distance_of_pairs() {
    // Items alike when they leave the same rest by 2; the pairs of 0, 2, 3: one alike, two not at all.
    let alike = |i: u32, j: u32| if i % 2 == j % 2 { 1.0 } else { 0.25 };
    let told = diversity(&ranking(&[&[0, 2, 3], &[1, 2], &[5]]), 10, alike);
    assert!((told.mean - (0.5 + 0.75) / 2.0).abs() < 1e-12, "{told:?}");
    let first_two = diversity(&ranking(&[&[0, 2, 3]]), 2, alike);
    assert_eq!(first_two.mean, 0.0);
}

#[test]
fn calibration_is_steck_s_divergence() {
    // Items 0 to 3: two of category 0, one of category 1, one of both with weights 1 and 3.
    let categories =
        SparseRows::from_entries(4, 2, vec![(0, 0, 1.0), (1, 0, 1.0), (2, 1, 1.0), (3, 0, 1.0), (3, 1, 3.0)]);
    let told = |list: &[u32], past: History<'_>| {
        calibration(&ranking(&[list]), 10, &[past], &categories).unwrap().mean
    };
    // 0.7 of category 0 and 0.3 of 1: Steck's own example, 70 dramas and 30 comedies.
    let past = history(&[0, 2], &[0.7, 0.3]);
    let by_hand = |q: f64| {
        let of = |p: f64, q: f64| p * (p / (0.99 * q + 0.01 * p)).ln();
        of(0.7, q) + of(0.3, 1.0 - q)
    };
    assert!((told(&[1], past) - by_hand(1.0)).abs() < 1e-6);
    assert!((told(&[1, 2], past) - by_hand(0.5)).abs() < 1e-6);
    assert!((told(&[3], past) - by_hand(0.25)).abs() < 1e-6);
    let mirrored = told(&[0, 1, 2], history(&[0, 0, 2], &[1.0; 3]));
    assert!(mirrored.abs() < 1e-9, "{mirrored}");
    assert!(calibration(&ranking(&[&[9]]), 10, &[past], &categories).is_err());
    assert!(calibration(&ranking(&[&[0]]), 10, &[], &categories).is_err());
}

#[test]
fn popularity_is_told_beside_histories() {
    let shares = [0.5, 0.3, 0.1, 0.1];
    let told = |list: &[u32]| {
        popularity_lift(&ranking(&[list]), 2, &[history(&[1, 2], &[1.0; 2])], &shares).unwrap()
    };
    assert!((told(&[0, 1, 3]).lift - 1.0).abs() < 1e-12, "only the first two are shown");
    assert!((told(&[2, 3]).lift + 0.5).abs() < 1e-12);
    assert!((told(&[1, 2]).lift).abs() < 1e-12);
    assert!(popularity_lift(&ranking(&[&[7]]), 2, &[history(&[1], &[1.0])], &shares).is_err());
}

#[test]
fn exposure_of_one_item_alone_and_of_all_alike() {
    assert!((gini(&ranking(&[&[0], &[0], &[0]]), 1, 4) - 0.75).abs() < 1e-12, "1 − 1 / n");
    assert_eq!(gini(&ranking(&[&[0, 1], &[2, 3]]), 2, 4), 0.0);
    assert_eq!(gini(&ranking(&[&[0, 1], &[2, 3]]), 1, 4), 0.5);
    assert_eq!(gini(&ranking(&[]), 1, 4), 0.0);
}

proptest! {
    #[test]
    fn inequality_lies_between_nothing_and_one(
        lists in prop::collection::vec(prop::collection::vec(0_u32..20, 1..8), 1..30),
    ) {
        let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        let told = gini(&ranking(&lists), 8, 20);
        prop_assert!((-1e-12..=0.95 + 1e-12).contains(&told), "{}", told);
    }
}

fn shop() -> Interactions {
    let rows: Vec<(String, String, i64)> = (0..60)
        .flat_map(|u| {
            (0..4 + u % 5).map(move |k| (format!("u{u:02}"), format!("i{:02}", (u * 3 + k * k) % 25), k))
        })
        .collect();
    let rows = rows.iter().map(|(u, i, t)| Interaction::plain(u, i, *t));
    Interactions::build(rows, &EventSettings::default()).unwrap()
}

#[test]
fn groups_are_told_apart_and_make_up_the_whole() {
    let split = evaluate::leave_last_out(&Run::new(1), &shop(), 3);
    let model = (tradewind_recommend::entry("item_knn").unwrap().build)(&Params::new()).unwrap();
    let fitted = model.fit(&Run::new(1), &split.train).unwrap();
    let labels: Vec<&str> = (0..split.held.len()).map(|k| if k % 3 == 0 { "new" } else { "old" }).collect();
    let run = Run::new(1);
    let told = evaluate::by_segment(&run, &*fitted, &split.held, &labels, &[5, 10], &Ask::new(1)).unwrap();
    let whole = evaluate(&run, &*fitted, &split.held, &[5, 10], &Ask::new(1)).unwrap();
    assert_eq!(told.keys().collect::<Vec<_>>(), ["new", "old"]);
    let (new, old) = (&told["new"], &told["old"]);
    assert_eq!(new.n_users + old.n_users, whole.n_users);
    for k in 0..2 {
        let of = |e: &evaluate::Evaluation| e.at[k].ndcg.mean * e.n_users as f64;
        assert!((of(new) + of(old) - of(&whole)).abs() < 1e-9);
    }
    assert!(evaluate::by_segment(&run, &*fitted, &split.held, &["a"], &[5], &Ask::new(1)).is_err());
}

#[test]
fn a_real_difference_is_found_and_none_is_not() {
    let run = Run::new(2);
    let base: Vec<f64> = (0..200).map(|u| f64::from(u * 37 % 101) / 101.0).collect();
    let noise = |u: usize| ((u * 7919) % 211) as f64 / 211.0 - 0.5;
    let better: Vec<f64> = base.iter().enumerate().map(|(u, b)| b + 0.05 + 0.2 * noise(u)).collect();
    let told = paired(&run, &better, &base, 2000).unwrap();
    assert!(told.p_value < 1e-6 && told.bootstrap_p_value < 0.001 && told.interval.0 > 0.0, "{told:?}");
    assert!(told.bootstrap_interval.0 > 0.0 && told.wins > 0.6 && told.wins + told.losses <= 1.0, "{told:?}");
    let other: Vec<f64> = base.iter().enumerate().map(|(u, b)| b + 0.2 * noise(u)).collect();
    let told = paired(&run, &other, &base, 2000).unwrap();
    assert!(told.p_value > 0.1 && told.interval.0 < 0.0 && told.interval.1 > 0.0, "{told:?}");
    let same = paired(&run, &base, &base, 100).unwrap();
    assert_eq!((same.p_value, same.difference, same.bootstrap_p_value), (1.0, 0.0, 1.0));
    let threads = |n| paired(&Run::new(2).with_threads(n), &better, &base, 500).unwrap();
    assert_eq!(threads(1), threads(4));
    assert!(paired(&run, &base, &base[1..], 100).is_err());
    assert!(paired(&run, &base[..1], &base[..1], 100).is_err());
    assert!(paired(&run, &base, &base, 0).is_err());
    assert!(paired(&run, &[f64::NAN, 1.0], &[0.0, 1.0], 10).is_err());
}
