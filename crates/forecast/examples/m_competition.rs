//! One method on one set of series with a known continuation: accuracy, time and coverage, as in the M competitions;
//! `docs/benchmarks/m_competition.sh` writes the files.
//!   m_competition FILE SEASON HORIZON MODEL [PARAMS] [held] [forecasts]
//! Each line of FILE is `id`, the history and the continuation, with tabs between the three and commas inside. PARAMS is
//! JSON. `held` leaves the continuation alone and scores the last HORIZON values of each history instead, which is what
//! choices of design are made on. `forecasts` prints the forecasts (id, step, mean) instead of figures.
//! Prints one JSON line: sMAPE, MASE, OWA against Naive2, CPU milliseconds a series of fit and prediction on one thread,
//! and the coverage of 80 and 95 % intervals of the model's own formula and of its past errors (conformal), with the
//! CPU milliseconds of the latter.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use serde_json::json;
use std::time::Instant;
use tradewind_core::{Forecast, Panel, Params, Run};
use tradewind_forecast::seasonality::centred_average;
use tradewind_forecast::{Intervals, Options, forecast};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Case {
    id: String,
    history: Vec<f64>,
    truth: Vec<f64>,
}

fn read(path: &str, horizon: usize, held: bool) -> Vec<Case> {
    let numbers = |s: &str| s.split(',').map(|v| v.parse().unwrap()).collect::<Vec<f64>>();
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| {
            let mut parts = line.split('\t');
            let id = parts.next().unwrap().to_owned();
            let mut history = numbers(parts.next().unwrap());
            let mut truth = numbers(parts.next().unwrap());
            if held {
                let cut = history.len().saturating_sub(horizon);
                truth = history.split_off(cut);
            }
            Case { id, history, truth }
        })
        .filter(|c| c.history.len() >= 3)
        .collect()
}

/// The naive method on the series without its season (ratios to the centred average), where the autocorrelation at the
/// season is significant at 90 %: the yardstick of the M4 competition.
fn naive2(y: &[f64], m: usize, horizon: usize) -> Vec<f64> {
    let n = y.len();
    let last = y[n - 1];
    if m < 2 || n < 3 * m {
        return vec![last; horizon];
    }
    let mean = y.iter().sum::<f64>() / n as f64;
    let total: f64 = y.iter().map(|v| (v - mean) * (v - mean)).sum();
    let r = |lag: usize| (lag..n).map(|t| (y[t] - mean) * (y[t - lag] - mean)).sum::<f64>() / total;
    let limit = 1.645 * ((1.0 + 2.0 * (1..m).map(|l| r(l) * r(l)).sum::<f64>()) / n as f64).sqrt();
    if total <= 0.0 || r(m).abs() <= limit {
        return vec![last; horizon];
    }
    let trend = centred_average(y, m);
    let mut sums = vec![(0.0, 0.0); m];
    for t in (0..n).filter(|t| trend[*t].is_finite()) {
        sums[t % m].0 += y[t] / trend[t];
        sums[t % m].1 += 1.0;
    }
    let mut season: Vec<f64> = sums.iter().map(|(s, k)| s / k).collect();
    let mean = season.iter().sum::<f64>() / m as f64;
    season.iter_mut().for_each(|s| *s /= mean);
    let level = last / season[(n - 1) % m];
    (0..horizon).map(|h| level * season[(n + h) % m]).collect()
}

fn smape(y: &[f64], f: &[f64]) -> f64 {
    y.iter().zip(f).map(|(y, f)| 200.0 * (y - f).abs() / (y.abs() + f.abs() + 1e-300)).sum::<f64>()
        / y.len() as f64
}

fn mae(y: &[f64], f: &[f64]) -> f64 {
    y.iter().zip(f).map(|(y, f)| (y - f).abs()).sum::<f64>() / y.len() as f64
}

/// Seconds of processor that this process has used, in hundredths; of the clock where the system does not tell.
fn cpu_seconds(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    match (fields.get(11).map(|v| v.parse::<f64>()), fields.get(12).map(|v| v.parse::<f64>())) {
        (Some(Ok(user)), Some(Ok(system))) => (user + system) / 100.0,
        _ => start.elapsed().as_secs_f64(),
    }
}

fn coverage(cases: &[Case], f: &Forecast, level: f64) -> f64 {
    let (mut inside, mut all) = (0.0, 0.0);
    for (i, case) in cases.iter().enumerate() {
        for (k, y) in case.truth.iter().enumerate() {
            let (low, high) = f.interval(i, k, level).unwrap();
            inside += f64::from(low <= *y && *y <= high);
            all += 1.0;
        }
    }
    inside / all
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (season, horizon): (usize, usize) = (args[2].parse().unwrap(), args[3].parse().unwrap());
    let model = args[4].as_str();
    let flag = |name: &str| args[5..].iter().any(|a| a == name);
    let mut params: Params = args
        .get(5)
        .filter(|p| p.starts_with('{'))
        .map(|p| serde_json::from_str(p).unwrap())
        .unwrap_or_default();
    let entry = tradewind_forecast::entry(model).unwrap();
    if entry.params.iter().any(|p| p.name == "season_length") {
        params.insert("season_length".into(), json!(season));
    }
    let mut cases = read(&args[1], horizon, flag("held"));
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    // Methods with several seasons take them from the frequency; the others have the competition's own season.
    let freq = match (season, horizon) {
        (12, _) => "MS",
        (4, _) => "QS",
        (24, _) => "h",
        (1, 13) => "W",
        _ => "1",
    };
    let named = cases.iter().map(|c| (c.id.clone(), 0, c.history.clone())).collect();
    let panel = Panel::from_series(freq.parse().unwrap(), named).unwrap();
    let run = Run::new(1).with_threads(1);
    let start = Instant::now();
    let timed = |options: &Options<'_>| {
        let before = cpu_seconds(start);
        let f = forecast(&run, &panel, model, &params, options).unwrap();
        (f, (cpu_seconds(start) - before) * 1000.0 / cases.len() as f64)
    };
    let own = Options { intervals: Intervals::Model, ..Options::new(horizon, &[0.8, 0.95]) };
    let (f, ms) = timed(&own);
    if flag("forecasts") {
        for (i, case) in cases.iter().enumerate() {
            for (k, mean) in f.mean(i).iter().enumerate() {
                println!("{},{},{mean}", case.id, case.history.len() + k + 1);
            }
        }
        return;
    }
    let (mut s, mut s2, mut a, mut a2) = (vec![], vec![], vec![], vec![]);
    for (i, case) in cases.iter().enumerate() {
        let (x, y) = (&case.history, &case.truth);
        let (ours, naive) = (&f.mean(i)[..y.len()], naive2(x, season, y.len()));
        s.push(smape(y, ours));
        s2.push(smape(y, &naive));
        let steps = x.len().saturating_sub(season);
        let size = (0..steps).map(|t| (x[t + season] - x[t]).abs()).sum::<f64>() / steps as f64;
        if size > 0.0 {
            a.push(mae(y, ours) / size);
            a2.push(mae(y, &naive) / size);
        }
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let round = |v: f64| (v * 1e4).round() / 1e4;
    let mut out = json!({
        "model": model,
        "n": cases.len(),
        "sMAPE": round(mean(&s)),
        "MASE": round(mean(&a)),
        "OWA": round(0.5 * (mean(&s) / mean(&s2) + mean(&a) / mean(&a2))),
        "cpu_ms": round(ms),
    });
    if !flag("quick") {
        let (conformal, conformal_ms) = timed(&Options::new(horizon, &[0.8, 0.95]));
        for (name, f) in [("model", &f), ("conformal", &conformal)] {
            for level in [0.8, 0.95] {
                out[format!("{name}_{}", (level * 100.0) as u32)] = json!(round(coverage(&cases, f, level)));
            }
        }
        out["conformal_cpu_ms"] = json!(round(conformal_ms));
    }
    println!("{out}");
}
