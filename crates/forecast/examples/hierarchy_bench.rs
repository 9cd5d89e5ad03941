//! Reconciliation of large generated hierarchies: time, how well sums are kept, and the least value;
//! `docs/benchmarks/hierarchy.sh` runs it. With a file it forecasts real series instead and tells the error by level.
//!   hierarchy_bench [NODES]
//!   hierarchy_bench FILE LEVELS HORIZON MODEL
//! NODES: 10000 (default) or more. Each line of FILE is `id`, its values of the columns, and the history, with tabs
//! between the three and commas inside; the first line names the columns. LEVELS is as `store,dept,store+dept`. The last
//! HORIZON values are held out; the error of a node is its mean squared one against that of the naive method one step
//! ahead inside the history (RMSSE), and the figure of a level the mean over its nodes.
//! Prints one JSON line for each method. Left out, as they take minutes: the shrunk covariance beyond 20,000 nodes, and
//! on crossed levels with nothing below zero.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use serde_json::json;
use std::time::Instant;
use tradewind_core::{Forecast, Freq, Panel, Params, Run, StaticColumn, StaticValues};
use tradewind_forecast::hierarchy::{
    Evidence, Gaps, Hierarchy, Method, Reconciliation, Residuals, aggregate,
};
use tradewind_forecast::{Options, forecast};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers between -0.5 and 0.5, the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }
}

/// CPU seconds of this process on all threads; 0 where the system does not tell.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|v| v.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Levels of about 1, 30, 300 and 9/10 of the nodes; crossed with 40 brands where asked.
fn generated(nodes: usize, crossed: bool) -> Hierarchy {
    let n = nodes * 9 / 10 / 300 * 300;
    let level = |name: &str, parts: usize| {
        let list = (0..parts).map(|p| {
            let members = (n * p / parts..n * (p + 1) / parts).map(|b| b as u32).collect();
            (format!("{name} {p}"), members)
        });
        (name.to_owned(), list.collect::<Vec<_>>())
    };
    let mut levels = vec![level("total", 1), level("category", 30), level("brand", nodes - n - 31 - 40)];
    if crossed {
        let shops = (0..40).map(|s| (format!("shop {s}"), (0..n as u32).filter(|b| b % 40 == s).collect()));
        levels.push(("shop".to_owned(), shops.collect()));
    }
    Hierarchy::from_members((0..n).map(|b| format!("item {b:07}")).collect(), levels).unwrap()
}

fn large(nodes: usize) {
    const HORIZON: usize = 28;
    const STEPS: usize = 200;
    for crossed in [false, true] {
        let h = generated(nodes, crossed);
        let mut noise = Noise(1);
        let size = |i: usize| h.members(i).len().max(1) as f64;
        let mut base = Forecast::new("base", Freq::DAILY, HORIZON, &[0.1, 0.9]);
        for (i, id) in h.ids().iter().enumerate() {
            // About a tenth of the products sells next to nothing, so that many come out below zero.
            let level = if i % 10 == 0 { 0.05 } else { 1.0 };
            let mean: Vec<f64> =
                (0..HORIZON).map(|_| size(i) * level + 3.0 * size(i).sqrt() * noise.next()).collect();
            let quantiles: Vec<f64> =
                mean.iter().flat_map(|m| [m - size(i).sqrt(), m + size(i).sqrt()]).collect();
            base.push(id, 0, &mean, &quantiles).unwrap();
        }
        let common: Vec<f64> = (0..STEPS).map(|_| noise.next()).collect();
        let rows: Vec<Vec<f64>> = (0..h.len())
            .map(|i| (0..STEPS).map(|t| size(i).sqrt() * noise.next() + 0.3 * size(i) * common[t]).collect())
            .collect();
        let residuals = Residuals::new(&h, rows).unwrap();
        let evidence = Evidence { history: None, residuals: Some(&residuals) };
        for method in ["bottom_up", "mint_ols", "mint_structure", "mint_variance", "mint_shrinkage"] {
            for nonnegative in [false, true] {
                let shrunk = method == "mint_shrinkage";
                if shrunk && (nodes > 20_000 || crossed && nonnegative) {
                    continue;
                }
                let (start, cpu) = (Instant::now(), cpu_s());
                let how = Reconciliation::new(method.parse().unwrap()).nonnegative(nonnegative);
                let f = how.apply(&Run::new(0), &h, &base, &evidence).unwrap();
                let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), cpu_s() - cpu);
                let mut furthest = 0.0_f64;
                for k in 0..HORIZON {
                    let bottom: Vec<f64> = (h.n_aggregates()..h.len()).map(|i| f.mean(i)[k]).collect();
                    for (i, sum) in h.sum(&bottom).unwrap().iter().enumerate() {
                        furthest = furthest.max((f.mean(i)[k] - sum).abs() / sum.abs().max(1.0));
                    }
                }
                let least = (0..f.len()).flat_map(|i| f.mean(i)).copied().fold(f64::INFINITY, f64::min);
                assert!(furthest <= 1e-6 && (!nonnegative || least >= 0.0));
                let line = json!({
                    "nodes": h.len(), "crossed": crossed, "method": method, "nonnegative": nonnegative,
                    "steps_ahead": HORIZON, "residuals": STEPS, "wall_s": wall_s, "cpu_s": cpu_s,
                    "sums_differ_by": furthest, "least": least,
                });
                println!("{line}");
            }
        }
    }
}

fn real(path: &str, levels: &str, horizon: usize, model: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut rows: Vec<(String, Vec<String>, Vec<f64>)> = lines
        .map(|line| {
            let parts: Vec<&str> = line.split('\t').collect();
            let history = parts[2].split(',').map(|v| v.parse().unwrap()).collect();
            (parts[0].to_owned(), parts[1].split(',').map(str::to_owned).collect(), history)
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let series = |from: usize, to: usize| {
        let list = rows.iter().map(|(id, _, y)| (id.clone(), 0, y[y.len() - from..y.len() - to].to_vec()));
        Panel::from_series(Freq::WEEKLY, list.collect()).unwrap()
    };
    let length = rows.iter().map(|r| r.2.len()).min().unwrap();
    let mut known = series(length, horizon);
    for (c, name) in names.iter().enumerate() {
        let values = StaticValues::Text(rows.iter().map(|r| Some(r.1[c].clone())).collect());
        known = known.with_static(StaticColumn { name: (*name).to_owned(), values }).unwrap();
    }
    let sets: Vec<Vec<&str>> = levels.split(',').map(|l| l.split('+').collect()).collect();
    let sets: Vec<&[&str]> = sets.iter().map(Vec::as_slice).collect();
    let h = Hierarchy::grouped(&known, &sets).unwrap();
    let nodes = aggregate(&known, &h, Gaps::AddNothing).unwrap();
    let truth = aggregate(&series(horizon, 0), &h, Gaps::AddNothing).unwrap();
    let (run, params) = (Run::new(0), Params::new());
    let options = Options { allow_negative: true, ..Options::new(horizon, &[0.8]) };
    let base = forecast(&run, &nodes, model, &params, &options).unwrap();
    let residuals = Residuals::of_model(&run, model, &params, &nodes, &h).unwrap();
    let evidence = Evidence { history: Some(&known), residuals: Some(&residuals) };
    let tell = |method: &str, f: &Forecast, seconds: f64| {
        let mut line = json!({ "method": method, "nodes": h.len(), "wall_s": seconds });
        let mut all = 0.0;
        for level in h.levels() {
            let (mut sum, mut inside) = (0.0, 0);
            for id in &h.ids()[level.nodes.clone()] {
                let past = nodes.series(nodes.position(id).unwrap()).y;
                let y = truth.series(truth.position(id).unwrap()).y;
                let i = f.ids().iter().position(|x| x == id).unwrap();
                let naive =
                    past.windows(2).map(|w| (w[1] - w[0]).powi(2)).sum::<f64>() / (past.len() - 1) as f64;
                let mse = y.iter().zip(f.mean(i)).map(|(y, m)| (y - m).powi(2)).sum::<f64>() / horizon as f64;
                sum += (mse / naive.max(1e-9)).sqrt();
                inside += (0..horizon)
                    .filter(|k| {
                        let (low, high) = f.interval(i, *k, 0.8).unwrap();
                        low <= y[*k] && y[*k] <= high
                    })
                    .count();
            }
            let n = level.nodes.len() as f64;
            all += sum / n / h.levels().len() as f64;
            line[&level.name] =
                json!({ "rmsse": sum / n, "coverage_80": inside as f64 / n / horizon as f64 });
        }
        line["mean_rmsse"] = json!(all);
        println!("{line}");
    };
    tell("base", &base, 0.0);
    for method in [
        "bottom_up",
        "top_down_average_proportions",
        "mint_ols",
        "mint_structure",
        "mint_variance",
        "mint_shrinkage",
    ] {
        let start = Instant::now();
        let how = Reconciliation::new(method.parse::<Method>().unwrap()).nonnegative(true);
        tell(method, &how.apply(&run, &h, &base, &evidence).unwrap(), start.elapsed().as_secs_f64());
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [file, levels, horizon, model] => real(file, levels, horizon.parse().unwrap(), model),
        [nodes] => large(nodes.parse::<usize>().unwrap().max(10_000)),
        _ => large(10_000),
    }
}
