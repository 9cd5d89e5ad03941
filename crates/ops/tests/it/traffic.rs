//! Splits: shares come out, users stay, ramps move no more than they must.

use crate::databases;
use crate::registry::{artifact, change, new, open};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::Clock;
use tradewind_ops::registry::{Expect, Page, Reference};
use tradewind_ops::traffic::{Arm, Plan, Shadow, Split, Traffic, WHOLE};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn plan(weights: &[(&str, u32)]) -> Plan {
    let arm =
        |&(name, weight): &(&str, u32)| Arm { name: name.into(), reference: reference("weekly@1"), weight };
    Plan { arms: weights.iter().map(arm).collect(), shadows: Vec::new(), salt: None }
}

/// Chi-square of the shares of `n` users against the weights.
fn chi_square(split: &Split, n: u32, anonymous: bool) -> f64 {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for id in 0..n {
        let id = format!("shopper-{id}");
        let user = if anonymous { None } else { Some(id.as_str()) };
        *counts.entry(split.assign(user, &id).arm.name.as_str()).or_default() += 1;
    }
    let term = |arm: &Arm| {
        let expected = f64::from(n) * f64::from(arm.weight) / f64::from(WHOLE);
        (f64::from(counts.get(arm.name.as_str()).copied().unwrap_or(0)) - expected).powi(2) / expected
    };
    split.arms().iter().map(term).sum()
}

#[test]
fn shares_are_those_of_the_weights() {
    let plan = plan(&[("a", 5_000), ("b", 3_000), ("c", 1_500), ("d", 500)]);
    for (salt, route) in [("s1", "trends"), ("s2", "trends"), ("s1", "prices")] {
        let split = Split::of(route, &plan, salt).unwrap();
        for anonymous in [false, true] {
            // Three degrees of freedom: 16.27 is passed by chance once in a thousand.
            let value = chi_square(&split, 50_000, anonymous);
            assert!(value < 16.27, "{route} {salt} {anonymous}: {value}");
        }
    }
    // A measure that would let anything pass is none: other weights are seen.
    let other =
        Split::of("trends", &self::plan(&[("a", 5_100), ("b", 2_900), ("c", 1_500), ("d", 500)]), "s1")
            .unwrap();
    let mut shifted = 0.0;
    for arm in other.arms() {
        let expected =
            50_000.0 * f64::from(plan.arms.iter().find(|a| a.name == arm.name).unwrap().weight) / 10_000.0;
        let got = (0..50_000)
            .filter(|n| other.assign(Some(&format!("shopper-{n}")), "").arm.name == arm.name)
            .count();
        shifted += (got as f64 - expected).powi(2) / expected;
    }
    assert!(shifted > 16.27, "{shifted}");
}

#[test]
fn routes_and_salts_deal_independently() {
    let plan = plan(&[("a", 5_000), ("b", 5_000)]);
    let splits =
        [("trends", "s1"), ("prices", "s1"), ("trends", "s2")].map(|(r, s)| Split::of(r, &plan, s).unwrap());
    let arm = |split: &Split, n: u32| split.assign(Some(&format!("u{n}")), "").arm.name.clone();
    for other in &splits[1..] {
        let same = (0..10_000).filter(|&n| arm(&splits[0], n) == arm(other, n)).count();
        // Half, within four standard deviations of 50.
        assert!((4_800..=5_200).contains(&same), "{same}");
    }
    // Who a user is counts, not which request; a user and a request of one name are two things.
    let split = &splits[0];
    assert_eq!(split.assign(Some("u"), "1"), split.assign(Some("u"), "2"));
    let differ = (0..1_000).filter(|n| {
        let id = n.to_string();
        split.assign(Some(&id), "").slot != split.assign(None, &id).slot
    });
    assert!(differ.count() > 900);
}

#[test]
fn shadows_see_their_share_of_every_arm() {
    let mut plan = plan(&[("a", 5_000), ("b", 5_000)]);
    plan.shadows.push(Shadow { name: "next".into(), reference: reference("weekly@2"), share: 2_500 });
    plan.shadows.push(Shadow { name: "none".into(), reference: reference("weekly@2"), share: 0 });
    plan.shadows.push(Shadow { name: "all".into(), reference: reference("weekly@2"), share: WHOLE });
    let split = Split::of("trends", &plan, "s").unwrap();
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    for n in 0..20_000 {
        let given = split.assign(Some(&format!("u{n}")), "");
        for shadow in given.shadows {
            *seen.entry((given.arm.name.clone(), shadow.name.clone())).or_default() += 1;
        }
    }
    assert!(seen.keys().all(|(_, shadow)| shadow != "none"));
    for arm in ["a", "b"] {
        let next = seen[&(arm.to_owned(), "next".to_owned())];
        // 2,500 of 20,000, within five standard deviations of 47.
        assert!((2_265..=2_735).contains(&next), "{next}");
    }
    assert_eq!(seen[&("a".into(), "all".into())] + seen[&("b".into(), "all".into())], 20_000);
}

/// Weights of arms `a` to `e`, those of 0 left out at random.
fn weights() -> impl Strategy<Value = Vec<(&'static str, u32)>> {
    (prop::collection::vec(0..1000_u32, 5), any::<[bool; 5]>()).prop_filter_map(
        "some weight",
        |(parts, kept)| {
            let names = ["a", "b", "c", "d", "e"];
            let mut arms: Vec<_> =
                names.into_iter().zip(parts).zip(kept).filter(|(_, k)| *k).map(|(a, _)| a).collect();
            let total: u32 = arms.iter().map(|a| a.1).sum();
            if total == 0 {
                return None;
            }
            let mut left = WHOLE;
            for arm in &mut arms {
                arm.1 = arm.1 * WHOLE / total;
                left -= arm.1;
            }
            arms[0].1 += left;
            Some(arms)
        },
    )
}

/// The arm of every slot.
fn deal(split: &Split) -> BTreeMap<u32, String> {
    (0..WHOLE).map(|slot| (slot, split.arm_at(slot).unwrap().name.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn changes_move_only_to_arms_that_grew_and_no_more_than_must(steps in prop::collection::vec(weights(), 2..5)) {
        let mut split = Split::of("trends", &plan(&steps[0]), "s").unwrap();
        let mut before = deal(&split);
        let mut old: BTreeMap<&str, u32> = steps[0].iter().copied().collect();
        for step in &steps[1..] {
            split = split.changed(&plan(step)).unwrap();
            let after = deal(&split);
            let now: BTreeMap<&str, u32> = step.iter().copied().collect();
            let grown = |name: &str| now.get(name).copied().unwrap_or(0).saturating_sub(old.get(name).copied().unwrap_or(0));
            let moved: Vec<_> = before.iter().filter(|(slot, arm)| after[slot] != **arm).collect();
            prop_assert!(moved.iter().all(|(slot, _)| grown(&after[slot]) > 0));
            prop_assert_eq!(moved.len() as u32, now.keys().map(|name| grown(name)).sum::<u32>());
            for (name, weight) in &now {
                prop_assert_eq!(after.values().filter(|arm| arm == name).count() as u32, *weight);
            }
            (before, old) = (after, now);
        }
    }
}

#[test]
fn a_ramp_taken_back_puts_the_same_users_back() {
    let mut split = Split::of("trends", &plan(&[("stable", 9_500), ("canary", 500)]), "s").unwrap();
    let mut seen = vec![deal(&split)];
    for canary in [1_000, 2_500, 5_000] {
        split = split.changed(&plan(&[("stable", WHOLE - canary), ("canary", canary)])).unwrap();
        seen.push(deal(&split));
    }
    for canary in [2_500, 1_000, 500] {
        seen.pop();
        split = split.changed(&plan(&[("stable", WHOLE - canary), ("canary", canary)])).unwrap();
        assert!(deal(&split) == *seen.last().unwrap(), "{canary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_are_kept_with_their_history() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::at(5)).await;
        for own in ["a", "b"] {
            registry.register(new("weekly"), &artifact(dir.path(), own)).await.unwrap();
        }
        let traffic = Traffic::open(registry.database().clone());
        assert!(traffic.split("trends").await.unwrap().is_none());
        let canary = Plan::canary(reference("weekly@1"), reference("weekly@2"), 5.0).unwrap();
        let first = traffic.set("trends", &canary, Some(0), &change()).await.unwrap();
        assert_eq!((first.revision(), first.arms()[1].weight), (1, 500));
        let ramped = traffic.ramp("trends", "canary", 2_000, None, &change()).await.unwrap();
        assert_eq!((ramped.revision(), ramped.arms()[0].weight), (2, 8_000));
        // Another process sees the same.
        let read = Traffic::open(open(&fresh.url, dir.path(), Clock::at(5)).await.database().clone());
        let read = read.split("trends").await.unwrap().unwrap();
        assert!(deal(&read) == deal(&ramped));
        let stale = traffic.set("trends", &canary, Some(1), &change()).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Conflict);
        let back = traffic.roll_back("trends", 1, Some(2), &change()).await.unwrap();
        assert!(deal(&back) == deal(&first) && back.revision() == 3);

        // What answers cannot be archived, and what is archived or not there cannot answer.
        assert_eq!(registry.archive(&reference("weekly@2")).await.unwrap_err().kind(), ErrorKind::Conflict);
        traffic.set("trends", &Plan::whole(reference("weekly@1")), None, &change()).await.unwrap();
        registry.archive(&reference("weekly@2")).await.unwrap();
        assert_eq!(
            traffic.set("trends", &canary, None, &change()).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        for absent in ["weekly@9", "weekly@champion", "other"] {
            let fault =
                traffic.set("trends", &Plan::whole(reference(absent)), None, &change()).await.unwrap_err();
            assert_eq!(fault.kind(), ErrorKind::NotFound, "{absent}");
        }
        registry.promote(&reference("weekly@1"), "champion", Expect::Nobody, &change()).await.unwrap();
        traffic.set("trends", &Plan::whole(reference("weekly@champion")), None, &change()).await.unwrap();
        let removed = registry.remove_alias("weekly", "champion", Expect::Anybody, &change()).await;
        assert_eq!(removed.unwrap_err().kind(), ErrorKind::Conflict);

        traffic.remove("trends", None, &change()).await.unwrap();
        assert!(
            traffic.split("trends").await.unwrap().is_none() && traffic.splits().await.unwrap().is_empty()
        );
        assert_eq!(traffic.remove("trends", None, &change()).await.unwrap_err().kind(), ErrorKind::NotFound);
        let history = traffic.history("trends", &Page::default()).await.unwrap().items;
        assert_eq!(history.iter().map(|l| l.revision).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1]);
        assert!(history[0].split.is_none() && history[5].change == change() && history[5].at_ms == 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_change_a_split_at_once() {
    for fresh in databases::every().await {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&fresh.url, dir.path(), Clock::system()).await;
        registry.register(new("weekly"), &artifact(dir.path(), "a")).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8_u32 {
            let traffic =
                Traffic::open(open(&fresh.url, dir.path(), Clock::system()).await.database().clone());
            tasks.spawn(async move {
                for step in 0..3 {
                    let canary = n * 100 + step;
                    let plan = plan(&[("stable", WHOLE - canary), ("canary", canary)]);
                    traffic.set("trends", &plan, None, &change()).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let traffic = Traffic::open(registry.database().clone());
        let history = traffic.history("trends", &Page::default()).await.unwrap().items;
        assert_eq!(
            history.iter().map(|l| l.revision).collect::<Vec<_>>(),
            (1..=24).rev().collect::<Vec<_>>()
        );
        assert_eq!(
            history[0].split.as_ref().unwrap().plan(),
            traffic.split("trends").await.unwrap().unwrap().plan()
        );
    }
}

#[test]
fn plans_outside_their_range_are_refused() {
    let long = "x".repeat(64);
    let bad = [
        plan(&[]),
        plan(&[("a", 9_999)]),
        plan(&[("a", 10_001)]),
        plan(&[("a", u32::MAX), ("b", 10_001)]),
        plan(&[("a", 5_000), ("a", 5_000)]),
        plan(&[("A", WHOLE)]),
        plan(&[(&long, WHOLE)]),
        Plan { salt: Some(String::new()), ..plan(&[("a", WHOLE)]) },
        Plan {
            shadows: vec![Shadow { name: "a".into(), reference: reference("m@1"), share: 1 }],
            ..plan(&[("a", WHOLE)])
        },
        Plan {
            shadows: vec![Shadow { name: "s".into(), reference: reference("m@1"), share: WHOLE + 1 }],
            ..plan(&[("a", WHOLE)])
        },
    ];
    for plan in bad {
        assert_eq!(Split::of("trends", &plan, "s").unwrap_err().kind(), ErrorKind::InvalidParams, "{plan:?}");
    }
    for route in ["", "Trends", "a b", "a?b"] {
        assert!(Split::of(route, &plan(&[("a", WHOLE)]), "s").is_err(), "{route}");
    }
    for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        assert!(Plan::canary(reference("m@1"), reference("m@2"), percent).is_err());
    }
}
