//! Sends events for minutes and prints the memory every ten seconds, as `docs/benchmarks/serve_recommend.sh` asks.
//!
//! `live_soak [--minutes 10] [--events 10000000] [--users 1000000] [--items 100000]`
//!
//! The events are spread over the minutes and go on as fast as that asks; users and items by Zipf, a hundredth of the
//! items new. Every thousandth event is followed by an answer.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use rand::RngExt;
use std::error::Error;
use std::time::{Duration, Instant};
use tradewind_core::{EventSettings, Interaction, Interactions, Params, Run};
use tradewind_recommend::live::{Event, LiveSettings};
use tradewind_recommend::serve::{Engine, Items, Request, Settings, Surface};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut of = [("minutes", 10.0), ("events", 1e7), ("users", 1e6), ("items", 1e5)];
    let given: Vec<String> = std::env::args().skip(1).collect();
    for pair in given.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0]).into()) };
        let option = of.iter_mut().find(|o| name.strip_prefix("--") == Some(o.0));
        option.ok_or(format!("unknown option {name}"))?.1 = value.parse()?;
    }
    let [minutes, n_events, n_users, n_items] = of.map(|o| o.1);
    let run = Run::new(5);
    let mut rng = run.rng(1);
    let zipf = |n: f64, v: f64| (v * n.ln()).exp().min(n) as usize - 1;
    let rows: Vec<(String, String)> = (0..200_000)
        .map(|_| {
            let (u, i) = (rng.random_range(0.0..n_users), zipf(n_items, rng.random_range(0.0..1.0)));
            (format!("user{:07}", u as usize), format!("item{i:06}"))
        })
        .collect();
    let rows = rows.iter().enumerate().map(|(k, (u, i))| Interaction::plain(u, i, k as i64 / 100));
    let data = Interactions::build(rows, &EventSettings::default())?;
    let model = (tradewind_recommend::entry("item_knn")?.build)(&Params::new())?.fit(&run, &data)?;
    let live = LiveSettings {
        users_max: 100_000,
        sessions_max: 20_000,
        user_events_max: 32,
        events_max: 1_000_000,
        new_items_max: 10_000,
        row_max: 32,
        ids_max: 200_000,
        ..LiveSettings::default()
    };
    let engine = Engine::new(model, Items::of(data.items()), Settings { live, ..Settings::default() })?;
    drop(data);
    println!("seconds\tevents\tusers kept\tsessions kept\tresident MB");
    let (start, all) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let mut next_line = Duration::ZERO;
    let mut k = 0_u64;
    while k < n_events as u64 {
        let spent = start.elapsed();
        if spent >= next_line {
            let (users, sessions) = engine.live().size();
            println!("{:.0}\t{k}\t{users}\t{sessions}\t{:.1}", spent.as_secs_f64(), resident_mb());
            next_line += Duration::from_secs(10);
        }
        let due = (n_events * spent.as_secs_f64() / all.as_secs_f64().max(1e-9)) as u64;
        if k >= due {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        for _ in 0..1000 {
            // Half of the events are of few users, half of any.
            let u = match k % 2 {
                0 => zipf(n_users, rng.random_range(0.0..1.0)),
                _ => rng.random_range(0.0..n_users) as usize,
            };
            let i = zipf(n_items, rng.random_range(0.0..1.0));
            let (user, session, id) =
                (format!("user{u:07}"), format!("s{u}-{}", k / 1_000_000), format!("e{k}"));
            let item = if k % 100 == 7 { format!("fresh{i:06}") } else { format!("item{i:06}") };
            let ds = 2_000 + k as i64 / 1000;
            let event = Event {
                session: Some(&session),
                event: if k.is_multiple_of(5) { "purchase" } else { "view" },
                id: Some(&id),
                ..Event::of(&user, &item, ds)
            };
            engine.event(&event)?;
            if k.is_multiple_of(1000) {
                engine.answer(&Request { user: Some(&user), ..Request::new(Surface::ForYou, ds) })?;
            }
            k += 1;
        }
    }
    let (users, sessions) = engine.live().size();
    println!("{:.0}\t{k}\t{users}\t{sessions}\t{:.1}", start.elapsed().as_secs_f64(), resident_mb());
    Ok(())
}

fn resident_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
