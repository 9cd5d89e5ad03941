//! The serving path: always an answer, filters that hold, reasons that are true, events seen at once.

use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;
use tradewind_core::{EventSettings, FittedRecommender, Interaction, Interactions, Params, Run};
use tradewind_recommend::live::{Event, LiveSettings, Taken};
use tradewind_recommend::serve::{
    Answer, Boost, Engine, FairShares, Filters, Item, Items, Mix, Reason, Request, Rerank, Settings, Step,
    Surface, Value,
};

const NOW: i64 = 1_000_000;
const N_ITEMS: usize = 60;
const CATEGORIES: [&str; 4] = ["tea", "cups", "pots", "pens"];

fn id(i: usize) -> String {
    format!("i{i:02}")
}

/// Users like one of three kinds of items; every third event is a purchase.
fn interactions() -> Interactions {
    let mut rows = vec![];
    for u in 0..90_usize {
        for k in 0..4 + u % 7 {
            let i = u % 3 + (u * u * 7 + k * 11 + u * k) % 18 * 3;
            let event = if (u + k).is_multiple_of(3) { "purchase" } else { "view" };
            rows.push((format!("u{u:02}"), id(i), NOW - 5000 + (k * 60 + u) as i64, event));
        }
    }
    let rows = rows.iter().map(|(u, i, ds, event)| Interaction { event, ..Interaction::plain(u, i, *ds) });
    Interactions::build(rows, &EventSettings::default()).unwrap()
}

fn table() -> Items {
    let mut items = Items::new();
    // Not in the order of the model, so that positions differ.
    for i in (0..N_ITEMS).rev() {
        let mut item = Item {
            title: Some(format!("Item {i}")),
            category: (!i.is_multiple_of(11)).then(|| CATEGORIES[i % 4].to_owned()),
            price: (!i.is_multiple_of(13)).then_some(i as f64),
            stock: (!i.is_multiple_of(5)).then_some(f64::from(u8::from(!i.is_multiple_of(7)))),
            regions: if i.is_multiple_of(6) { vec!["fr".into()] } else { vec![] },
            created: (!i.is_multiple_of(4)).then_some(NOW - i as i64 * 1000),
            margin: Some(i as f64 / 100.0),
            tags: if i.is_multiple_of(9) { vec!["adult".into()] } else { vec![] },
            blocked: i.is_multiple_of(17),
            ..Item::default()
        };
        item.attributes.insert("brand".into(), Value::Text(["own", "other", "third"][i % 3].into()));
        items.set(&id(i), item).unwrap();
    }
    items
}

fn fitted(name: &str, data: &Interactions) -> Box<dyn FittedRecommender> {
    (tradewind_recommend::entry(name).unwrap().build)(&Params::new())
        .unwrap()
        .fit(&Run::new(1), data)
        .unwrap()
}

fn engine(model: &str) -> Engine {
    Engine::new(fitted(model, &interactions()), table(), Settings::default()).unwrap()
}

fn surfaces() -> impl Iterator<Item = Surface> {
    Surface::NAMES.iter().map(|e| e.1)
}

fn ranks(surface: Surface) -> bool {
    matches!(surface, Surface::RankThese | Surface::SearchRerank)
}

fn request(surface: Surface) -> Request<'static> {
    Request { items: &["i03", "i04"], n: 8, ..Request::new(surface, NOW) }
}

/// Whether an item may be shown, by the table alone.
fn may(engine: &Engine, name: &str, filters: &Filters<'_>) -> bool {
    let item = engine.item(name).unwrap();
    let priced = |f: &dyn Fn(f64) -> bool| item.price.is_some_and(f);
    !item.blocked
        && (!filters.in_stock || item.stock.is_none_or(|s| s > 0.0))
        && (filters.categories.is_empty()
            || item.category.as_deref().is_some_and(|c| filters.categories.contains(&c)))
        && filters.price_min.is_none_or(|min| priced(&|p| p >= min))
        && filters.price_max.is_none_or(|max| priced(&|p| p <= max))
        && filters.region.is_none_or(|r| item.regions.is_empty() || item.regions.iter().any(|o| o == r))
        && !filters.exclude.contains(&name)
        && (filters.rule.is_none() || !item.tags.contains(&"adult".to_owned()))
}

const MODELS: [&str; 5] = ["item_knn", "ials", "transitions", "popularity", "hybrid"];

#[test]
fn there_is_always_an_answer_for_everybody_on_every_surface() {
    for model in MODELS {
        let engine = engine(model);
        for surface in surfaces() {
            for user in [None, Some("u05"), Some("nobody")] {
                for personal in [true, false] {
                    for items in [&["i03", "i04"][..], &["nowhere"], &[]] {
                        let request = Request { user, personal, items, ..request(surface) };
                        let answer = engine.answer(&request).unwrap();
                        let given = items.iter().filter(|i| engine.item(i).is_some()).count();
                        let expected = if ranks(surface) { given } else { 8 };
                        assert_eq!(answer.items.len(), expected, "{model} {surface:?} {user:?}");
                        assert_eq!(answer.answered_by, answer.items.first().map(|s| s.step));
                        let distinct: HashSet<&str> = answer.names().into_iter().collect();
                        assert_eq!(distinct.len(), answer.items.len());
                    }
                }
            }
        }
    }
}

#[test]
fn without_persons_all_get_the_same() {
    let engine = engine("ials");
    for (k, user) in ["u01", "u02"].into_iter().enumerate() {
        for n in 0..4 {
            engine.event(&Event::of(user, &id(k * 7 + n), NOW)).unwrap();
        }
    }
    for surface in surfaces() {
        let of = |user, session| {
            let request = Request { user, session, personal: false, ..request(surface) };
            engine.answer(&request).unwrap()
        };
        assert_eq!(of(Some("u01"), Some("s")), of(Some("u02"), None), "{surface:?}");
        let causes: Vec<Reason> = of(None, None).items.into_iter().filter_map(|s| s.reason).collect();
        assert!(
            causes.iter().all(|r| !matches!(r, Reason::Bought(_) | Reason::Met(_))),
            "{surface:?}: {causes:?}"
        );
    }
}

#[test]
fn the_chain_says_which_step_answered() {
    let data = interactions();
    let engine = Engine::new(fitted("item_knn", &data), table(), Settings::default()).unwrap();
    let step = |request: &Request<'_>| engine.answer(request).unwrap().answered_by;
    let for_you = Request { user: Some("u05"), ..Request::new(Surface::ForYou, NOW) };
    assert_eq!(step(&for_you), Some(Step::Model));
    // Two days later nothing rises any more; what was popular still is.
    let later = Request { user: None, ..Request::new(Surface::ForYou, NOW + 30 * 86_400) };
    assert_eq!(step(&later), Some(Step::Popular));
    // Items nobody had yet: the newest, and without a date anything.
    let rule = |rule| Request { filters: Filters { rule: Some(rule), ..Filters::default() }, ..later };
    assert_eq!(step(&rule(r#"id in ["i55", "i57"]"#)), Some(Step::Newest));
    engine.set_item("plain", Item::default()).unwrap();
    assert_eq!(step(&rule(r#"id == "plain""#)), Some(Step::Anything));
    assert_eq!(step(&rule(r#"id == "no such""#)), None);
    // A user the model does not know, one event later.
    let newcomer = Request { user: Some("newcomer"), ..for_you };
    let before = engine.answer(&newcomer).unwrap();
    assert_ne!(before.answered_by, Some(Step::Model));
    engine.event(&Event::of("newcomer", "i03", NOW)).unwrap();
    assert_eq!(step(&newcomer), Some(Step::Model));
}

#[test]
fn an_event_changes_the_next_answer() {
    for model in ["item_knn", "ials", "transitions", "ease"] {
        let engine = engine(model);
        let filters = Filters { in_stock: false, ..Filters::default() };
        let ask = |user| Request { user: Some(user), n: 20, filters, ..Request::new(Surface::ForYou, NOW) };
        for user in ["u05", "newcomer"] {
            let before = engine.answer(&ask(user)).unwrap();
            let first = before.items[0].item.clone();
            engine.event(&Event { event: "purchase", ..Event::of(user, &first, NOW) }).unwrap();
            let after = engine.answer(&ask(user)).unwrap();
            assert!(!after.names().contains(&first.as_str()), "{model} {user}: seen now");
            let own = |a: &Answer| -> Vec<(String, f32)> {
                let own = a.items.iter().filter(|s| s.step == Step::Model && s.item != first);
                own.map(|s| (s.item.clone(), s.score)).collect()
            };
            assert_ne!(own(&before), own(&after), "{model} {user}: the rest moves too");
            assert_eq!(after.answered_by, Some(Step::Model), "{model} {user}");
        }
        // Anonymous, by session alone.
        let session = Request { session: Some("s1"), ..Request::new(Surface::NextInSession, NOW) };
        let before = engine.answer(&session).unwrap();
        engine.event(&Event { user: None, session: Some("s1"), ..Event::of("", "i06", NOW) }).unwrap();
        let after = engine.answer(&session).unwrap();
        assert_ne!(before, after, "{model}");
        assert!(matches!(after.answered_by, Some(Step::Model | Step::Session)), "{model}: {after:?}");
    }
}

#[test]
fn what_is_new_and_what_rises_is_shown_at_once() {
    let engine = engine("item_knn");
    for k in 0..40 {
        let user = format!("w{k}");
        let event = Event { event: "purchase", ..Event::of(&user, "brand new", NOW + k) };
        assert_eq!(engine.event(&event).unwrap(), Taken::Counted);
        let with = Event { event: "purchase", ..Event::of(&user, "i03", NOW + k) };
        engine.event(&with).unwrap();
    }
    let now = NOW + 100;
    let answer = engine.answer(&Request::new(Surface::Trending, now)).unwrap();
    let shown = answer.items.iter().find(|s| s.item == "brand new").unwrap();
    assert_eq!(shown.reason, Some(Reason::Rising(None)));
    let pair = Request { items: &["i03"], ..Request::new(Surface::BoughtTogether, now) };
    let answer = engine.answer(&pair).unwrap();
    assert_eq!(answer.names()[0], "brand new");
    assert_eq!(answer.items[0].reason, Some(Reason::BoughtWith("i03".into())));
}

#[test]
fn ids_make_events_count_once_and_odd_events_are_told() {
    let settings = Settings {
        live: LiveSettings { new_items_max: 1, ..LiveSettings::default() },
        ..Settings::default()
    };
    let engine = Engine::new(fitted("item_knn", &interactions()), table(), settings).unwrap();
    let event = Event { id: Some("e1"), ..Event::of("u01", "i10", NOW) };
    assert_eq!(engine.event(&event).unwrap(), Taken::Counted);
    assert_eq!(engine.event(&event).unwrap(), Taken::Duplicate);
    assert_eq!(engine.event(&Event { weight: 0.0, ..event }).unwrap(), Taken::NoWeight);
    assert!(engine.event(&Event { weight: f64::NAN, ..event }).is_err());
    assert!(engine.event(&Event { item: "", ..event }).is_err());
    assert_eq!(engine.event(&Event::of("u01", "new 1", NOW)).unwrap(), Taken::Counted);
    assert_eq!(engine.event(&Event::of("u01", "new 2", NOW)).unwrap(), Taken::NoRoomForItem);
}

#[test]
fn what_was_bought_lately_stays_away() {
    let engine = engine("item_knn");
    engine.event(&Event { event: "purchase", ..Event::of("u05", "i08", NOW - 1000) }).unwrap();
    let has = |bought_within| {
        let filters =
            Filters { bought_within, allow_seen: Some(true), in_stock: false, ..Filters::default() };
        let request = Request { user: Some("u05"), n: 60, filters, ..Request::new(Surface::ForYou, NOW) };
        engine.answer(&request).unwrap().names().contains(&"i08")
    };
    assert!(has(0) && has(999) && !has(1000) && !has(i64::MAX));
    // Known purchases of the model count too.
    let data = interactions();
    let user = data.users().find("u05").unwrap();
    let history = data.history(user);
    let filters = Filters { bought_within: 100_000, allow_seen: Some(true), ..Filters::default() };
    let request = Request { user: Some("u05"), n: 60, filters, ..Request::new(Surface::ForYou, NOW) };
    let answer = engine.answer(&request).unwrap();
    for k in (0..history.len()).filter(|k| data.events()[usize::from(history.events[*k])] == "purchase") {
        assert!(!answer.names().contains(&data.items().name(history.items[k])));
    }
}

#[test]
fn a_new_model_takes_over_and_no_event_counts_twice() {
    let data = interactions();
    let engine = Engine::new(fitted("ials", &data), table(), Settings::default()).unwrap();
    let rows = [("u05", "i09", NOW + 1), ("zoe", "i12", NOW + 2), ("zoe", "fresh", NOW + 3)];
    for (user, item, ds) in rows {
        engine.event(&Event { event: "view", ..Event::of(user, item, ds) }).unwrap();
    }
    // The nightly fit on everything.
    let newer = Interactions::build(
        rows.map(|(u, i, ds)| Interaction { event: "view", ..Interaction::plain(u, i, ds) }),
        &EventSettings::default(),
    )
    .unwrap();
    let mut all = data.clone();
    all.append(&newer).unwrap();
    engine.replace(fitted("ials", &all));
    let fresh = Engine::new(fitted("ials", &all), table(), Settings::default()).unwrap();
    for user in ["u05", "zoe", "u11"] {
        let request = Request { user: Some(user), ..Request::new(Surface::ForYou, NOW + 10) };
        assert_eq!(engine.answer(&request).unwrap(), fresh.answer(&request).unwrap(), "{user}");
    }
    assert_eq!(engine.model().known(), &all);
}

#[test]
fn reads_writes_and_replacements_go_together() {
    let data = interactions();
    let engine = Arc::new(Engine::new(fitted("item_knn", &data), table(), Settings::default()).unwrap());
    std::thread::scope(|scope| {
        for t in 0..3 {
            let engine = engine.clone();
            scope.spawn(move || {
                for k in 0..2000 {
                    let (user, item) = (format!("t{t}"), id(k % N_ITEMS));
                    engine.event(&Event::of(&user, &item, NOW + k as i64)).unwrap();
                    // Seen by the one who sent it.
                    let filters = Filters { in_stock: false, ..Filters::default() };
                    let ask = Request {
                        user: Some(&user),
                        filters,
                        ..Request::new(Surface::ForYou, NOW + k as i64)
                    };
                    let answer = engine.answer(&ask).unwrap();
                    assert!(!answer.names().contains(&item.as_str()));
                }
            });
        }
        let engine = engine.clone();
        let data = &data;
        scope.spawn(move || {
            for k in 0..30 {
                engine.replace(fitted(["item_knn", "transitions"][k % 2], data));
                engine.change_item(&id(k), |i| i.stock = Some(k as f64)).unwrap();
            }
        });
    });
}

#[test]
fn given_items_are_ranked_and_searches_moved() {
    let engine = engine("ials");
    let given = ["i30", "i31", "i32", "i33", "i36", "nowhere", "i30"];
    let user = Some("u03"); // Likes what a multiple of three names.
    let filters = Filters { in_stock: false, ..Filters::default() };
    let ask = |surface, personal| {
        let request = Request { user, personal, items: &given, filters, ..Request::new(surface, NOW) };
        engine.answer(&request).unwrap()
    };
    let ranked = ask(Surface::RankThese, true);
    assert_eq!(ranked.answered_by, Some(Step::Model));
    let mut top = ranked.names()[..3].to_vec();
    top.sort_unstable();
    assert_eq!(top, ["i30", "i33", "i36"]);
    assert_eq!(ranked.items.len(), 5);
    let search = ask(Surface::SearchRerank, false);
    assert_eq!(
        search.names(),
        ["i30", "i31", "i32", "i33", "i36"],
        "without a person the search's own order"
    );
    assert_eq!(search.answered_by, Some(Step::Given));
    let moved = ask(Surface::SearchRerank, true);
    let place = |a: &Answer, i: &str| a.names().iter().position(|n| *n == i).unwrap();
    assert!(place(&moved, "i33") < place(&search, "i33"));
    assert_eq!(ask(Surface::RankThese, false).answered_by, Some(Step::Popular));
}

#[test]
fn caps_shares_and_boosts_do_what_they_say() {
    let engine = engine("ials");
    let filters = Filters { in_stock: false, ..Filters::default() };
    let of = |rerank| {
        let request =
            Request { user: Some("u03"), n: 12, filters, rerank, ..Request::new(Surface::ForYou, NOW) };
        engine.answer(&request).unwrap()
    };
    for mix in [Mix::Relevance, Mix::Mmr(0.6), Mix::Dpp(0.5)] {
        for category_max in 1..4 {
            let answer = of(Rerank { mix, category_max, ..Rerank::default() });
            let mut free = 0;
            let mut count = std::collections::BTreeMap::new();
            for name in answer.names() {
                match engine.item(name).unwrap().category {
                    Some(c) => *count.entry(c).or_insert(0) += 1,
                    None => free += 1,
                }
            }
            assert!(count.values().all(|k| *k <= category_max), "{count:?}");
            // All that the cap allows is used: four categories, and the items without one.
            assert!(answer.items.len() == 12 || count.values().sum::<usize>() == 4 * category_max, "{free}");
        }
    }
    let shares = [("other", 0.4), ("third", 0.3)];
    let fair = Some(FairShares { attribute: "brand", shares: &shares });
    let answer = of(Rerank { fair, ..Rerank::default() });
    for k in 1..=12 {
        for (brand, share) in shares {
            let value = Some(Value::Text(brand.to_owned()));
            let has = answer.names()[..k]
                .iter()
                .filter(|n| engine.item(n).unwrap().attributes.get("brand").cloned() == value)
                .count();
            // Where both fall due at once, one comes a place later.
            assert!(
                has + 1 >= (share * (k as f32)) as usize,
                "{brand} in the first {k}: {:?}",
                answer.names()
            );
        }
    }
    // A large factor brings what a rule names to the front of the candidates.
    let plain = of(Rerank { pool: 4, ..Rerank::default() });
    let last = plain.names()[11].to_owned();
    let rule = format!("id == \"{last}\"");
    let boosts = [Boost { rule: &rule, factor: 100.0 }];
    assert_eq!(of(Rerank { boosts: &boosts, pool: 4, ..Rerank::default() }).names()[0], last);
    let hold = [Boost { rule: "true", factor: 0.5 }];
    let held = of(Rerank { boosts: &hold, pool: 4, ..Rerank::default() });
    assert_eq!(held.names(), plain.names(), "what holds for all changes no order");
    for wrong in [
        Rerank { novelty: 9.0, ..Rerank::default() },
        Rerank { mix: Mix::Mmr(1.5), ..Rerank::default() },
        Rerank { boosts: &[Boost { rule: "true", factor: 0.0 }], ..Rerank::default() },
        Rerank { boosts: &[Boost { rule: "price <", factor: 2.0 }], ..Rerank::default() },
        Rerank {
            fair: Some(FairShares { attribute: "brand", shares: &[("a", 0.7), ("b", 0.7)] }),
            ..Rerank::default()
        },
    ] {
        let request = Request { user: Some("u03"), rerank: wrong, ..Request::new(Surface::ForYou, NOW) };
        assert!(engine.answer(&request).is_err(), "{wrong:?}");
    }
}

/// An error where a named cause is not what it is said to be.
fn check_reasons(engine: &Engine, request: &Request<'_>, events: &[(&str, &str, &str)]) {
    let data = interactions();
    let answer = engine.answer(request).unwrap();
    let met = |item: &str, bought: bool| {
        let of_model = request.user.and_then(|u| data.users().find(u)).is_some_and(|u| {
            let h = data.history(u);
            (0..h.len()).any(|k| {
                data.items().name(h.items[k]) == item
                    && (!bought || data.events()[usize::from(h.events[k])] == "purchase")
            })
        });
        of_model
            || events
                .iter()
                .any(|e| request.user == Some(e.0) && e.1 == item && (!bought || e.2 == "purchase"))
            || (!bought && request.items.contains(&item))
    };
    for shown in &answer.items {
        let item = engine.item(&shown.item).unwrap();
        match &shown.reason {
            Some(Reason::Bought(cause)) => assert!(met(cause, true), "{shown:?}"),
            Some(Reason::Met(cause)) => assert!(met(cause, false), "{shown:?}"),
            Some(Reason::Follows(cause)) => assert!(met(cause, false), "{shown:?}"),
            Some(Reason::BoughtWith(cause)) => {
                assert!(request.items.contains(&cause.as_str()), "{shown:?}");
                let bought = |user: u32, of: &str| {
                    let h = data.history(user);
                    (0..h.len()).any(|k| {
                        data.items().name(h.items[k]) == of
                            && data.events()[usize::from(h.events[k])] == "purchase"
                    })
                };
                let known =
                    (0..data.users().len() as u32).filter(|u| bought(*u, cause) && bought(*u, &shown.item));
                assert!(known.count() >= 2 || !events.is_empty(), "{shown:?}");
            }
            Some(Reason::Like(cause)) => assert!(request.items.contains(&cause.as_str()), "{shown:?}"),
            Some(Reason::Rising(c)) => {
                assert_eq!(*c, item.category);
                assert!(matches!(shown.step, Step::TrendingInCategory | Step::Model), "{shown:?}");
                assert!(
                    data.histories().any(|h| h.items.iter().any(|i| data.items().name(*i) == shown.item))
                );
            }
            Some(Reason::Popular(c)) => {
                assert!(c.is_none() || *c == item.category);
                assert!(
                    data.histories().any(|h| h.items.iter().any(|i| data.items().name(*i) == shown.item))
                );
            }
            Some(Reason::New(c)) => {
                assert_eq!(*c, item.category);
                assert!(item.created.is_some_and(|c| c <= request.now), "{shown:?}");
            }
            Some(Reason::Found) => assert!(request.items.contains(&shown.item.as_str())),
            None => {}
        }
    }
}

#[test]
fn reasons_are_true() {
    for model in MODELS {
        let engine = engine(model);
        let mut named = 0;
        for surface in surfaces() {
            for u in 0..90 {
                let user = format!("u{u:02}");
                let request = Request { user: Some(&user), n: 15, ..request(surface) };
                check_reasons(&engine, &request, &[]);
                let answer = engine.answer(&request).unwrap();
                named += answer
                    .items
                    .iter()
                    .filter(|s| s.reason.as_ref().is_some_and(|r| r.item().is_some()))
                    .count();
            }
        }
        assert!(named > 1000 || model == "popularity", "{model}: reasons are given, {named}");
        // The same after events.
        let events =
            [("u03", "i05", "purchase"), ("newcomer", "i09", "view"), ("newcomer", "i12", "purchase")];
        for (k, (user, item, event)) in events.iter().enumerate() {
            engine.event(&Event { event, ..Event::of(user, item, NOW + k as i64) }).unwrap();
        }
        for surface in surfaces() {
            for user in ["u03", "newcomer"] {
                let request = Request { user: Some(user), n: 15, now: NOW + 5, ..request(surface) };
                check_reasons(&engine, &request, &events);
            }
        }
    }
}

#[test]
fn faults_of_requests_are_told() {
    let engine = engine("item_knn");
    let ask = |n, rule| {
        let filters = Filters { rule, ..Filters::default() };
        engine.answer(&Request { n, filters, ..Request::new(Surface::ForYou, NOW) })
    };
    assert!(ask(0, None).is_err() && ask(1_000_000, None).is_err());
    assert!(ask(5, Some("price <")).unwrap_err().to_string().contains("position 8"));
    let settings = Settings { rules: vec!["no such".into()], ..Settings::default() };
    assert!(Engine::new(fitted("item_knn", &interactions()), table(), settings).is_err());
    // No item at all is no fault.
    let empty = Interactions::build([], &EventSettings::default()).unwrap();
    let nothing = Engine::new(fitted("ials", &empty), Items::new(), Settings::default()).unwrap();
    for surface in surfaces() {
        assert!(nothing.answer(&request(surface)).unwrap().items.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn filters_hold_on_every_surface(
        surface in 0..Surface::NAMES.len(),
        user in prop::sample::select(vec![None, Some("u05"), Some("u44"), Some("nobody")]),
        in_stock in any::<bool>(),
        categories in prop::sample::subsequence(CATEGORIES.to_vec(), 0..3),
        price in (prop::option::of(0.0_f64..40.0), prop::option::of(20.0_f64..60.0)),
        region in prop::option::of(prop::sample::select(vec!["fr", "cn"])),
        exclude in prop::sample::subsequence(vec!["i03", "i10", "i21", "i22"], 0..4),
        with_rule in any::<bool>(),
        mix in prop::sample::select(vec![Mix::Relevance, Mix::Mmr(0.5), Mix::Dpp(0.7)]),
        novelty in prop::sample::select(vec![0.0_f32, 0.5]),
        n in 1_usize..70,
        allow_seen in any::<bool>(),
    ) {
        thread_local! {
            static ENGINE: Engine = engine("ials");
        }
        let (surface, filters) = (Surface::NAMES[surface].1, Filters {
            in_stock,
            allow_seen: Some(allow_seen),
            categories: &categories,
            price_min: price.0,
            price_max: price.1,
            region,
            exclude: &exclude,
            rule: with_rule.then_some("not tag(\"adult\")"),
            ..Filters::default()
        });
        let rerank = Rerank { mix, novelty, freshness: novelty, margin: novelty, ..Rerank::default() };
        let request = Request { user, n, filters, rerank, ..request(surface) };
        ENGINE.with(|engine| {
            let answer = engine.answer(&request).unwrap();
            for name in answer.names() {
                assert!(may(engine, name, &filters), "{name} {filters:?}");
                assert!(ranks(surface) == request.items.contains(&name));
            }
            let data = interactions();
            let history: HashSet<&str> = user
                .and_then(|u| data.users().find(u))
                .map(|u| data.history(u).items.iter().map(|i| data.items().name(*i)).collect())
                .unwrap_or_default();
            let seen = |name: &str| !allow_seen && history.contains(name);
            assert!(answer.names().iter().all(|name| !seen(name)));
            // The list is as long as the filters allow.
            let left = (0..N_ITEMS).map(id).filter(|i| {
                may(engine, i, &filters) && !seen(i) && ranks(surface) == request.items.contains(&i.as_str())
            });
            assert_eq!(answer.items.len(), left.count().min(n));
        });
    }
}
