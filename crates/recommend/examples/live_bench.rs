//! Times events taken in while answers are read, in process, as `docs/benchmarks/serve_recommend.sh` asks.
//!
//! `live_bench [--events 2000000] [--users 200000] [--items 50000] [--writers 1] [--readers 1]`
//!
//! Writers send events of users by Zipf, each of users of its own; after every 500th the sender asks for an answer and checks that the item just
//! met does not come back. Readers ask without a pause. All threads share the machine; the time of the writers on the
//! processor is told too, which others on the machine do not lengthen.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use rand::RngExt;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tradewind_core::{EventSettings, Interaction, Interactions, Params, Run};
use tradewind_recommend::live::{Event, LiveSettings};
use tradewind_recommend::serve::{Engine, Items, Request, Settings, Surface};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut of =
        [("events", 2_000_000), ("users", 200_000), ("items", 50_000), ("writers", 1), ("readers", 1)];
    let given: Vec<String> = std::env::args().skip(1).collect();
    for pair in given.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0]).into()) };
        let option = of.iter_mut().find(|o| name.strip_prefix("--") == Some(o.0));
        option.ok_or(format!("unknown option {name}"))?.1 = value.parse()?;
    }
    let [n_events, n_users, n_items, writers, readers] = of.map(|o| o.1);
    let run = Run::new(5);
    let mut rng = run.rng(1);
    let items: Vec<String> = (0..n_items).map(|i| format!("item{i:06}")).collect();
    let users: Vec<String> = (0..n_users).map(|u| format!("user{u:07}")).collect();
    let zipf = |n: usize, v: f64| ((v * (n as f64).ln()).exp() as usize).min(n) - 1;
    let rows: Vec<(usize, usize, i64)> = (0..n_users)
        .flat_map(|u| (0..5).map(move |k| (u, k)))
        .map(|(u, k)| (u, zipf(n_items, rng.random_range(0.0..1.0)), k as i64 * 600))
        .collect();
    let rows = rows.iter().map(|(u, i, ds)| Interaction::plain(&users[*u], &items[*i], *ds));
    let data = Interactions::build(rows, &EventSettings::default())?;
    let mut params = Params::new();
    params.insert("iterations".into(), 1.into());
    let model = (tradewind_recommend::entry("ials")?.build)(&params)?.fit(&run, &data)?;
    let settings = Settings {
        live: LiveSettings { row_half_life: 7.0 * 86_400.0, ..LiveSettings::default() },
        ..Settings::default()
    };
    let engine = Engine::new(model, Items::of(data.items()), settings)?;
    drop(data);

    let (done, asked, checked) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let busy = AtomicU64::new(0);
    let start = Instant::now();
    let seconds = std::thread::scope(|scope| -> Result<f64, Box<dyn Error + Send + Sync>> {
        let (engine, users, items, done, asked, checked, busy, run) =
            (&engine, &users, &items, &done, &asked, &checked, &busy, &run);
        let writing: Vec<_> = (0..writers)
            .map(|w| {
                scope.spawn(move || -> Result<(), tradewind_core::Error> {
                    let mut rng = run.rng(10 + w as u64);
                    for k in 0..n_events / writers {
                        let user = &users[zipf(n_users / writers, rng.random_range(0.0..1.0)) * writers + w];
                        let item = &items[zipf(n_items, rng.random_range(0.0..1.0))];
                        let ds = 10_000 + (k * writers) as i64 / 100;
                        let id = format!("{w}-{k}");
                        let kind = if k.is_multiple_of(5) { "purchase" } else { "view" };
                        engine.event(&Event { event: kind, id: Some(&id), ..Event::of(user, item, ds) })?;
                        if k.is_multiple_of(500) {
                            let request = Request { user: Some(user), ..Request::new(Surface::ForYou, ds) };
                            let answer = engine.answer(&request)?;
                            assert!(
                                !answer.names().contains(&item.as_str()),
                                "an event is seen in the next answer"
                            );
                            checked.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    busy.fetch_add(on_processor_ns(), Ordering::Relaxed);
                    Ok(())
                })
            })
            .collect();
        for r in 0..readers {
            scope.spawn(move || {
                let mut rng = run.rng(100 + r as u64);
                while !done.load(Ordering::Relaxed) {
                    let user = &users[zipf(n_users, rng.random_range(0.0..1.0))];
                    let request = Request { user: Some(user), ..Request::new(Surface::ForYou, 30_000) };
                    if engine.answer(&request).is_ok() {
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut out = Ok(());
        for thread in writing {
            out = out.and(thread.join().map_err(|_| "a writer stopped")?.map_err(|e| e.to_string()));
        }
        let seconds = start.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        out?;
        Ok(seconds)
    })
    .map_err(|e| e.to_string())?;
    println!(
        "{:.0} events/s by {writers} writers, {:.0} answers/s by {readers} readers beside; {} answers checked",
        n_events as f64 / seconds,
        asked.load(Ordering::Relaxed) as f64 / seconds,
        checked.load(Ordering::Relaxed)
    );
    let us = busy.load(Ordering::Relaxed) as f64 / 1e3 / n_events as f64;
    println!("{us:.2} us of a processor an event, its making and a five hundredth of an answer included");
    Ok(())
}

/// How long this thread was on a processor, in nanoseconds; 0 where the system does not tell.
fn on_processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
