//! Recommends for the users of a test file from a training file, as `docs/benchmarks/recommend.sh` asks.
//!
//! `recommend_bench TRAIN TEST OUT [--model NAME] [--params JSON] [--seen] [--n 20] [--held last|random|PERIOD]`
//!
//! TRAIN is `user item pos` with tabs and a header, TEST `user item`; OUT gets `user item score`. With `--held` nothing is
//! read from TEST: a part of TRAIN is held back and the measures on it are printed instead, for choosing parameters.
//! Several models may be given, each by `--model` and `--params`; on the part held back each is compared with the first,
//! user by user.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;
use tradewind_core::{Ask, EventSettings, Interaction, Interactions, Params, Run};
use tradewind_recommend::evaluate::{self, Split};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, out, options @ ..] = given.as_slice() else {
        return Err("usage: recommend_bench TRAIN TEST OUT [--model NAME] [--params JSON] …".into());
    };
    let (mut models, mut seen, mut n, mut held): (Vec<(String, Params)>, _, _, _) = (vec![], false, 20, None);
    let (mut threads, mut settings) = (0, EventSettings::default());
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--model" => models.push((value()?.clone(), Params::new())),
            "--params" => {
                models.last_mut().ok_or("--params follows --model")?.1 = serde_json::from_str(value()?)?;
            }
            "--seen" => seen = true,
            "--keep-duplicates" => settings.drop_duplicates = false,
            "--n" => n = value()?.parse()?,
            "--threads" => threads = value()?.parse()?,
            "--held" => held = Some(value()?.clone()),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let run = Run::new(1).with_threads(threads);
    let text = std::fs::read_to_string(train)?;
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let mut cells = line.split('\t');
        let (Some(user), Some(item), Some(pos)) = (cells.next(), cells.next(), cells.next()) else {
            return Err(format!("{train} line {}: three cells are needed", i + 1).into());
        };
        rows.push(Interaction::plain(user, item, pos.parse()?));
    }
    let data = Interactions::build(rows, &settings)?;
    drop(text);
    let ask = Ask::new(n).with_seen(seen);
    let mut first: Option<Vec<f64>> = None;
    for (name, params) in &models {
        let model = (tradewind_recommend::entry(name)?.build)(params)?;
        if let Some(held) = &held {
            let Split { train, held } = match held.as_str() {
                "last" => evaluate::leave_last_out(&Run::new(5), &data, 3),
                "random" => evaluate::random(&Run::new(5), &data, 0.1),
                period => {
                    let from = data.end().unwrap_or(0) - period.parse::<i64>()? + 1;
                    evaluate::by_time(&data, from)
                }
            };
            let (start, cpu) = (Instant::now(), cpu_s());
            let fitted = model.fit(&run, &train)?;
            let (fit_s, fit_cpu_s) = (start.elapsed().as_secs_f64(), cpu_s() - cpu);
            let told = evaluate::evaluate(&run, &*fitted, &held, &[10, 20], &ask)?;
            let at = &told.at[0];
            println!(
                "{name} {} ndcg@10 {:.5} ±{:.5} recall@10 {:.4} hr@10 {:.4} recall@20 {:.4} coverage@10 {:.3} fit {fit_s:.2} s, {fit_cpu_s:.2} cpu-s",
                serde_json::to_string(params)?,
                at.ndcg.mean,
                at.ndcg.half_width,
                at.recall.mean,
                at.hit_rate.mean,
                told.at[1].recall.mean,
                at.coverage,
            );
            match &first {
                Some(first) => {
                    let p = evaluate::paired(&run, &told.ndcg_by_user, first, 2000)?;
                    println!(
                        "  beside the first: {:+.5}, 95 % from {:+.5} to {:+.5}, p {:.2e} (bootstrap {:+.5} to {:+.5}, p {:.4})",
                        p.difference,
                        p.interval.0,
                        p.interval.1,
                        p.p_value,
                        p.bootstrap_interval.0,
                        p.bootstrap_interval.1,
                        p.bootstrap_p_value
                    );
                }
                None => first = Some(told.ndcg_by_user.clone()),
            }
            if std::env::var_os("STATE").is_some() {
                println!("  {}", weights(&fitted.save()?));
            }
            continue;
        }
        let text = std::fs::read_to_string(test)?;
        let mut users: Vec<&str> = text.lines().skip(1).filter_map(|l| l.split('\t').next()).collect();
        users.sort_unstable();
        users.dedup();
        let (start, cpu) = (Instant::now(), cpu_s());
        let fitted = model.fit(&run, &data)?;
        let (fit_s, fit_cpu_s) = (start.elapsed().as_secs_f64(), cpu_s() - cpu);
        let cpu = cpu_s();
        let ranking = fitted.recommend(&run, &users, &ask)?;
        let recommend_cpu_s = cpu_s() - cpu;
        let mut lines = String::new();
        for (user, list) in users.iter().zip(ranking.iter()) {
            for (place, item) in list.items.iter().enumerate() {
                // By place: scores of what fills a list up are not those of the model.
                writeln!(lines, "{user}\t{}\t{}", data.items().name(*item), list.items.len() - place)?;
            }
        }
        std::fs::write(out, lines)?;
        println!(
            "{}",
            serde_json::json!({
                "model": name, "params": params, "fit_s": fit_s, "fit_cpu_s": fit_cpu_s,
                "users_per_cpu_s": users.len() as f64 / recommend_cpu_s, "peak_mb": peak_mb(),
            })
        );
    }
    Ok(())
}

/// The weights of a hybrid, for looking at.
fn weights(state: &serde_json::Value) -> String {
    let learnt = &state["learnt"];
    format!("{} {} inner ndcg {}", learnt["members"], learnt["weights"], learnt["ndcg"])
}

/// CPU seconds of this process, 0 where the system does not tell.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// The most memory this process has had, in MB.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
