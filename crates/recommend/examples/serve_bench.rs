//! Times one answer at a time from a large model, in process, as `docs/benchmarks/serve_recommend.sh` asks.
//!
//! `serve_bench [--items 100000] [--users 1000000] [--factors 64] [--requests 20000] [--skew 3] [--model ials]`
//!
//! Users draw 4 to 20 items each out of one of 200 tastes, by popularity; a model is fitted on that. With `--skew s` the
//! first share `q` of the items gets `q^(1/s)` of the events: 1 is flat, 3 gives the first fifth 58 of 100; 0 is Zipf's
//! law, which gives it 86. Requests come from random known users, with a rule, the stock filter and reasons; every fourth
//! user had an event since the fit and is folded in. One thread asks. Beside it stands the plain scan: all scores in
//! single precision, and the best of them.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use rand::RngExt;
use std::error::Error;
use std::time::Instant;
use tradewind_core::{EventSettings, Interaction, Interactions, ItemSet, Params, Past, Run};
use tradewind_recommend::live::Event;
use tradewind_recommend::serve::{
    Boost, Engine, Filters, Item, Items, Mix, Request, Rerank, Settings, Surface,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

const NOW: i64 = 1_700_000_000;
const RULE: &str =
    r#"category in ["c1", "c2", "c3", "c5", "c8", "c13"] and price <= 80 and not tag("adult")"#;

fn main() -> Answer<()> {
    let mut of = [
        ("items", 100_000),
        ("users", 1_000_000),
        ("factors", 64),
        ("requests", 20_000),
        ("iterations", 2),
        ("skew", 3),
    ];
    let mut model_name = "ials".to_owned();
    let given: Vec<String> = std::env::args().skip(1).collect();
    for pair in given.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0]).into()) };
        match of.iter_mut().find(|o| name.strip_prefix("--") == Some(o.0)) {
            Some(option) => option.1 = value.parse()?,
            None if name == "--model" => model_name.clone_from(value),
            None => return Err(format!("unknown option {name}").into()),
        }
    }
    let [n_items, n_users, factors, n_requests, iterations, skew] = of.map(|o| o.1);
    let run = Run::new(7);
    let start = Instant::now();
    let data = events(&run, n_users, n_items, skew)?;
    println!("{} events of {n_users} users, {:.0} s", data.len(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut params = Params::new();
    if model_name == "ials" {
        params.insert("factors".into(), factors.into());
        params.insert("iterations".into(), iterations.into());
    }
    let model = (tradewind_recommend::entry(&model_name)?.build)(&params)?.fit(&run, &data)?;
    println!("{model_name} fitted in {:.0} s", start.elapsed().as_secs_f64());
    drop(data);

    let start = Instant::now();
    let engine = Engine::new(model, table(&run, n_items)?, Settings::default())?;
    println!("engine made in {:.0} s; resident {:.0} MB", start.elapsed().as_secs_f64(), resident_mb());

    let mut rng = run.rng(3);
    let asked: Vec<String> = (0..n_requests).map(|_| user(rng.random_range(0..n_users))).collect();
    for name in asked.iter().step_by(4) {
        let item = item(rng.random_range(0..n_items));
        engine.event(&Event { event: "purchase", ..Event::of(name, &item, NOW - 60) })?;
    }
    let filters = Filters { rule: Some(RULE), ..Filters::default() };
    let boosts = [Boost { rule: "margin > 0.3", factor: 1.2 }];
    let mixed =
        Rerank { mix: Mix::Mmr(0.7), category_max: 4, freshness: 0.2, boosts: &boosts, ..Rerank::default() };
    let base = |surface, rerank| Request { filters, rerank, n: 10, ..Request::new(surface, NOW) };
    let plain = Rerank::default();
    let bare = Request { explain: false, filters: Filters::default(), ..base(Surface::ForYou, plain) };
    for (title, request) in [
        ("for you: rule, stock, reasons", base(Surface::ForYou, plain)),
        ("for you: no rule, no reasons", bare),
        ("for you: the same, mixed (MMR, caps, boosts)", base(Surface::ForYou, mixed)),
        ("similar", base(Surface::Similar, plain)),
        ("bought together", base(Surface::BoughtTogether, plain)),
        ("next in session", base(Surface::NextInSession, plain)),
        ("trending", base(Surface::Trending, plain)),
        ("cart add-ons", base(Surface::CartAddOns, plain)),
    ] {
        let items: Vec<String> = (0..n_requests).map(|_| item(rng.random_range(0..n_items))).collect();
        let mut times = Vec::with_capacity(n_requests);
        let (mut shown, mut by_model, mut reasons) = (0, 0, 0);
        for (user, item) in asked.iter().zip(&items) {
            let at: &[&str] = if request.surface == Surface::ForYou { &[] } else { &[item] };
            let request = Request { user: Some(user), items: at, ..request };
            let start = Instant::now();
            let answer = engine.answer(&request)?;
            times.push(start.elapsed());
            shown += answer.items.len();
            by_model +=
                answer.items.iter().filter(|s| s.step == tradewind_recommend::serve::Step::Model).count();
            reasons += answer.items.iter().filter(|s| s.reason.is_some()).count();
        }
        tell(title, times);
        println!("    items shown {shown}, of the model {by_model}, with a reason {reasons}");
    }

    // The plain scan beside it, and whether the answers are the same.
    let model = engine.model();
    let among = ItemSet::of(model.known().items(), |name| {
        engine.item(name).is_some_and(|i| i.stock.is_none_or(|s| s > 0.0))
    });
    let (mut quick, mut scan, mut same, mut scores) =
        (vec![], vec![], 0, vec![0.0; model.known().items().len()]);
    let some: Vec<&String> = asked.iter().take(1000).collect();
    for name in &some {
        let Some(u) = model.known().users().find(name) else { continue };
        let past = Past { user: Some(u), history: model.known().history(u) };
        let start = Instant::now();
        let top = model.top_for(&past, 200, Some(&among))?;
        quick.push(start.elapsed());
        let start = Instant::now();
        model.scores(&[past], &mut scores)?;
        let mut order: Vec<u32> = (0..scores.len() as u32).filter(|i| among.contains(*i)).collect();
        let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        let n = order.len().min(200);
        if n < order.len() {
            order.select_nth_unstable_by(n, by_score);
        }
        order.truncate(n);
        order.sort_unstable_by(by_score);
        scan.push(start.elapsed());
        same += top.iter().map(|e| e.0).zip(&order).filter(|(a, b)| a == *b).count();
    }
    let all = some.len() * 200;
    tell("top 200 by the index", quick);
    tell("top 200 by a plain scan in single precision", scan);
    println!("    the same item at the same place: {same} of {all}");
    Ok(())
}

fn user(u: usize) -> String {
    format!("user{u:07}")
}

fn item(i: usize) -> String {
    format!("item{i:06}")
}

/// Users of 200 tastes; each taste likes its own part of the items, by popularity.
fn events(run: &Run, n_users: usize, n_items: usize, skew: usize) -> Answer<Interactions> {
    const TASTES: usize = 200;
    let mut rng = run.rng(1);
    let items: Vec<String> = (0..n_items).map(item).collect();
    let mut rows: Vec<(u32, u32, i64)> = vec![];
    let whole = (n_items as f64).ln();
    for u in 0..n_users {
        let taste = rng.random_range(0..TASTES);
        for _ in 0..rng.random_range(4..=20) {
            // By the inverse of the distribution; of Zipf's law it is n^v.
            let v: f64 = rng.random_range(0.0..1.0);
            let rank = match skew {
                0 => ((v * whole).exp() as usize).min(n_items) - 1,
                skew => ((n_items as f64 * v.powi(skew as i32)) as usize).min(n_items - 1),
            };
            // Two of three of one's own taste: the nearest rank that is of it.
            let own = rng.random_range(0..3) > 0;
            let i = if own { (rank / TASTES * TASTES + taste).min(n_items - 1) } else { rank };
            // Items are not in the order of popularity.
            let i = i * 7919 % n_items;
            rows.push((u as u32, i as u32, NOW - rng.random_range(0..30 * 86_400)));
        }
    }
    let names: Vec<String> = (0..n_users).map(user).collect();
    let rows = rows.iter().enumerate().map(|(k, (u, i, ds))| Interaction {
        event: if k.is_multiple_of(4) { "purchase" } else { "view" },
        ..Interaction::plain(&names[*u as usize], &items[*i as usize], *ds)
    });
    Ok(Interactions::build(rows, &EventSettings::default())?)
}

fn table(run: &Run, n_items: usize) -> Answer<Items> {
    let mut rng = run.rng(2);
    let mut items = Items::new();
    for i in 0..n_items {
        let item_of = Item {
            title: Some(format!("Title of {i}")),
            category: Some(format!("c{}", rng.random_range(0..15))),
            price: Some(rng.random_range(1.0..100.0)),
            stock: Some(f64::from(rng.random_range(0..10_u8))),
            created: Some(NOW - rng.random_range(0..400 * 86_400)),
            margin: Some(rng.random_range(0.0..0.5)),
            tags: if rng.random_range(0..20) == 0 { vec!["adult".into()] } else { vec![] },
            ..Item::default()
        };
        items.set(&item(i), item_of)?;
    }
    Ok(items)
}

fn tell(title: &str, mut times: Vec<std::time::Duration>) {
    times.sort_unstable();
    let at = |p: f64| times[((times.len() as f64 * p) as usize).min(times.len() - 1)].as_secs_f64() * 1e3;
    let (p50, p95, p99) = (at(0.5), at(0.95), at(0.99));
    println!("{title}: p50 {p50:.3} ms, p95 {p95:.3} ms, p99 {p99:.3} ms");
}

fn resident_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
