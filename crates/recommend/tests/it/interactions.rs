//! How rows become interactions.

use proptest::prelude::*;
use tradewind_core::{Attributes, EventSettings, Interaction, Interactions};

fn row<'a>(user_id: &'a str, item_id: &'a str, ds: i64, event: &'a str, weight: f64) -> Interaction<'a> {
    Interaction { user_id, item_id, ds, event, weight }
}

#[test]
fn kinds_weigh_and_equal_places_add_up() {
    let settings = EventSettings {
        event_weights: [
            ("view".into(), 1.0),
            ("buy".into(), 5.0),
            ("return".into(), -5.0),
            ("ad".into(), 0.0),
        ]
        .into(),
        ..EventSettings::default()
    };
    let rows = [
        row("b", "tea", 1, "view", 1.0),
        row("b", "tea", 2, "buy", 2.0),
        row("b", "cup", 2, "buy", 1.0),
        row("b", "cup", 9, "return", 1.0),
        row("b", "pot", 3, "ad", 1.0),
        row("a", "tea", 4, "other", 1.0),
    ];
    let data = Interactions::build(rows, &settings).unwrap();
    assert_eq!(data.users().iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(data.items().iter().collect::<Vec<_>>(), ["cup", "tea"]);
    assert_eq!(data.left_out().without_weight, 1);
    let matrix = data.matrix();
    assert_eq!(matrix.row(1), (&[1][..], &[11.0][..]), "bought and returned is nothing");
    assert_eq!(data.history(1).ds, [1, 2, 2, 9]);
    assert_eq!(data.history(1).items, [1, 0, 1, 0], "equal times stand in the order of items");
}

#[test]
fn duplicates_robots_and_rare_ones_are_left_out() {
    let mut rows = vec![row("a", "x", 1, "", 1.0), row("a", "x", 1, "", 1.0), row("a", "x", 2, "", 1.0)];
    let robot: Vec<String> = (0..50).map(|i| format!("r{i}")).collect();
    rows.extend(robot.iter().map(|i| row("robot", i, 1, "", 1.0)));
    rows.extend([row("b", "x", 1, "", 1.0), row("b", "y", 1, "", 1.0), row("c", "z", 1, "", 1.0)]);
    let plain = Interactions::build(rows.clone(), &EventSettings::default()).unwrap();
    assert_eq!((plain.left_out().duplicates, plain.len()), (1, 55));
    let kept = EventSettings { drop_duplicates: false, ..EventSettings::default() };
    assert_eq!(Interactions::build(rows.clone(), &kept).unwrap().len(), 56);
    let strict = EventSettings {
        user_events_max: 20,
        user_events_min: 2,
        item_events_min: 2,
        ..EventSettings::default()
    };
    let data = Interactions::build(rows, &strict).unwrap();
    // Without y, which only b has, b has one row left and goes too.
    assert_eq!(data.users().iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(data.items().iter().collect::<Vec<_>>(), ["x"]);
    assert_eq!((data.left_out().robots, data.left_out().rare), (50, 3));
}

#[test]
fn age_halves() {
    let settings = EventSettings { half_life: 10.0, ..EventSettings::default() };
    let data =
        Interactions::build([row("a", "x", 0, "", 8.0), row("a", "y", 20, "", 1.0)], &settings).unwrap();
    assert_eq!(data.history(0).weights, [2.0, 1.0]);
}

#[test]
fn newer_rows_stand_behind() {
    let settings = EventSettings::default();
    let mut data = Interactions::build([row("b", "tea", 5, "view", 1.0)], &settings).unwrap();
    let newer =
        [row("a", "ant", 1, "buy", 1.0), row("b", "ant", 3, "view", 1.0), row("b", "tea", 9, "buy", 1.0)];
    data.append(&Interactions::build(newer, &settings).unwrap()).unwrap();
    assert_eq!(data.users().iter().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(data.items().iter().collect::<Vec<_>>(), ["tea", "ant"]);
    assert_eq!((data.history(0).items, data.history(0).ds), (&[1, 0, 0][..], &[3, 5, 9][..]));
    let kinds: Vec<&str> =
        data.history(0).events.iter().map(|e| data.events()[usize::from(*e)].as_str()).collect();
    assert_eq!(kinds, ["view", "view", "buy"]);
}

#[test]
fn wrong_rows_are_named() {
    for weight in [f64::NAN, f64::INFINITY, 1e7] {
        let rows = [row("a", "x", 0, "", 1.0), row("a", "x", 0, "", weight)];
        let fault = Interactions::build(rows, &EventSettings::default()).unwrap_err().to_string();
        assert!(fault.starts_with("row 2: weight"), "{fault}");
        assert!(!fault.contains('a') || !fault.contains("\"a\""));
    }
    let kinds: Vec<String> = (0..300).map(|k| k.to_string()).collect();
    let rows = kinds.iter().map(|k| row("a", "x", 0, k, 1.0));
    assert!(Interactions::build(rows, &EventSettings::default()).unwrap_err().to_string().contains("kinds"));
    let settings = EventSettings { half_life: -1.0, ..EventSettings::default() };
    assert!(Interactions::build([], &settings).is_err());
}

#[test]
fn saved_columns_that_do_not_fit_are_refused() {
    let data = Interactions::build([row("a", "x", 0, "", 1.0)], &EventSettings::default()).unwrap();
    let state = serde_json::to_value(&data).unwrap();
    assert_eq!(serde_json::from_value::<Interactions>(state.clone()).unwrap(), data);
    for (key, value) in
        [("item", "AQAAAA=="), ("ds", ""), ("weight", "AADAfw=="), ("offsets", "AAAAAAAAAAA=")]
    {
        let mut spoilt = state.clone();
        spoilt[key] = value.into();
        assert!(serde_json::from_value::<Interactions>(spoilt).is_err(), "{key}");
    }
}

#[test]
fn attributes_bring_in_items_and_users_and_stay() {
    let settings = EventSettings::default();
    let plain =
        Interactions::build([row("b", "tea", 5, "", 1.0), row("c", "cup", 6, "", 1.0)], &settings).unwrap();
    assert!(
        !serde_json::to_string(&plain).unwrap().contains("attributes"),
        "saved as ever where there are none"
    );
    let items = Attributes::build([("tea", "kind=leaf", 1.0), ("pot", "kind=iron", 2.0)]).unwrap();
    let users = Attributes::build([("a", "town=york", 1.0), ("b", "town=bath", 1.0)]).unwrap();
    let mut data = plain.clone().with_items(items).with_users(users);
    assert_eq!(data.items().iter().collect::<Vec<_>>(), ["cup", "tea", "pot"]);
    assert_eq!(data.users().iter().collect::<Vec<_>>(), ["b", "c", "a"]);
    assert!(data.history(2).is_empty() && data.history(0).items == [1]);
    let state = serde_json::to_value(&data).unwrap();
    assert_eq!(serde_json::from_value::<Interactions>(state.clone()).unwrap(), data);
    let mut spoilt = state;
    spoilt["items"] = serde_json::json!(["cup", "tea", "pan"]);
    assert!(serde_json::from_value::<Interactions>(spoilt).is_err(), "pot is no item");
    assert_eq!(data.filter(|u, _| u == 0).item_attributes(), data.item_attributes());

    let pan = Attributes::build([("pan", "kind=iron", 1.0), ("pot", "kind=clay", 1.0)]).unwrap();
    let newer = Interactions::build([row("d", "tea", 7, "", 1.0)], &settings).unwrap().with_items(pan);
    data.append(&newer).unwrap();
    assert_eq!(data.items().iter().collect::<Vec<_>>(), ["cup", "tea", "pot", "pan"]);
    let known = data.item_attributes().unwrap();
    let rows = known.aligned(data.items());
    let terms = |i: usize| rows.row(i).0.iter().map(|t| known.terms().name(*t)).collect::<Vec<_>>();
    assert_eq!(
        (terms(0), terms(1), terms(2), terms(3)),
        (vec![], vec!["kind=leaf"], vec!["kind=clay"], vec!["kind=iron"])
    );
    assert_eq!(data.user_attributes().unwrap().names().len(), 2);
}

proptest! {
    #[test]
    fn appended_rows_stand_as_if_all_had_come_together(
        rows in prop::collection::vec((0..6, 0..9, 0_i64..8, 0..3, 1_u8..4), 0..80),
        cut in 0_usize..80,
    ) {
        let rows: Vec<(String, String, i64, String, f64)> = rows
            .into_iter()
            .map(|(u, i, ds, e, w)| (format!("u{u}"), format!("i{i}"), ds, format!("e{e}"), f64::from(w)))
            .collect();
        let keep = EventSettings { drop_duplicates: false, ..EventSettings::default() };
        let of = |rows: &[(String, String, i64, String, f64)]| {
            Interactions::build(rows.iter().map(|r| row(&r.0, &r.1, r.2, &r.3, r.4)), &keep).unwrap()
        };
        let cut = cut.min(rows.len());
        let mut got = of(&rows[..cut]);
        let before = got.clone();
        got.append(&of(&rows[cut..])).unwrap();
        let all = of(&rows);
        prop_assert_eq!(got.len(), all.len());
        prop_assert!(before.users().iter().zip(got.users().iter()).all(|(a, b)| a == b), "positions stay");
        for (u, name) in got.users().iter().enumerate() {
            let told = |data: &Interactions, u: u32| {
                let h = data.history(u);
                let at = |k: usize| {
                    (h.ds[k], data.items().name(h.items[k]).to_owned(), &data.events()[usize::from(h.events[k])],
                        h.weights[k].to_string())
                };
                (0..h.len()).map(|k| { let (a, b, c, d) = at(k); (a, b, c.clone(), d) }).collect::<Vec<_>>()
            };
            let (mut own, mut other) = (told(&got, u as u32), told(&all, all.users().find(name).unwrap()));
            prop_assert!(own.windows(2).all(|w| w[0].0 <= w[1].0), "in the order of time");
            own.sort();
            other.sort();
            prop_assert_eq!(own, other);
        }
    }
}
