//! What one logged policy would have earned, from the log of another, as `docs/benchmarks/off_policy.sh` asks.
//!
//! `off_policy LOG OTHER [--weight-max W]`
//!
//! Both are `day item position click propensity` with tabs and a header. The mean reward of OTHER's policy is estimated
//! from LOG and set beside what OTHER really earned. OTHER's chances are its propensities where they are all equal, and
//! otherwise how often it showed an item at a position on a day. The model of DR is each item's click rate, drawn
//! towards that of all, from the half of LOG in which the decision is not.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use tradewind_recommend::evaluate::{Estimate, Logged, off_policy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

struct Shown {
    day: String,
    item: String,
    position: String,
    click: f64,
    propensity: f64,
}

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [log, other, options @ ..] = given.as_slice() else {
        return Err("usage: off_policy LOG OTHER [--weight-max W]".into());
    };
    let weight_max = match options {
        [] => f64::INFINITY,
        [flag, w] if flag == "--weight-max" => w.parse()?,
        _ => return Err("usage: off_policy LOG OTHER [--weight-max W]".into()),
    };
    let (log, other) = (read(log)?, read(other)?);
    let clicks: Vec<f64> = other.iter().map(|s| s.click).collect();
    let truth = Estimate::of(&clicks);

    let items: BTreeSet<&str> = log.iter().map(|s| s.item.as_str()).collect();
    let first = other.first().ok_or("OTHER is empty")?.propensity;
    let even = other.iter().all(|s| (s.propensity - first).abs() < 1e-9);
    let mut shown: BTreeMap<(&str, &str), BTreeMap<&str, f64>> = BTreeMap::new();
    for s in &other {
        *shown.entry((&s.position, &s.day)).or_default().entry(&s.item).or_default() += 1.0;
    }
    let chance = |s: &Shown, item: &str| match (even, shown.get(&(s.position.as_str(), s.day.as_str()))) {
        (true, _) => first,
        (false, Some(of)) => of.get(item).copied().unwrap_or(0.0) / of.values().sum::<f64>(),
        (false, None) => 0.0,
    };
    let rates = [rates(&log, 1), rates(&log, 0)];
    let decisions: Vec<Logged> = log
        .iter()
        .enumerate()
        .map(|(k, s)| {
            let rate = |item: &str| rates[k % 2].0.get(item).copied().unwrap_or(rates[k % 2].1);
            Logged {
                reward: s.click,
                propensity: s.propensity,
                target: chance(s, &s.item).min(1.0),
                predicted: rate(&s.item),
                predicted_target: items.iter().map(|i| chance(s, i) * rate(i)).sum(),
            }
        })
        .collect();
    let told = off_policy(&decisions, weight_max)?;
    let own: Vec<f64> = log.iter().map(|s| s.click).collect();
    let own = Estimate::of(&own);
    println!("log {} decisions, {:.5} ±{:.5}", log.len(), own.mean, own.half_width);
    println!("truth  {:.5} ±{:.5}", truth.mean, truth.half_width);
    for (name, e) in [("direct", told.direct), ("ips", told.ips), ("snips", told.snips), ("dr", told.dr)] {
        let off = (e.mean - truth.mean) / truth.mean;
        println!("{name:6} {:.5} ±{:.5}  relative error {:+.1} %", e.mean, e.half_width, 100.0 * off);
    }
    println!(
        "weights: mean {:.4}, effective n {:.0}, cut {:.4}",
        told.weight_mean, told.effective_n, told.cut
    );
    Ok(())
}

/// The click rate of every item in one half of the log, as if it had been shown 200 times more at the rate of all.
fn rates(log: &[Shown], half: usize) -> (BTreeMap<&str, f64>, f64) {
    const DRAWN: f64 = 200.0;
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for s in log.iter().skip(half).step_by(2) {
        let of = sums.entry(&s.item).or_default();
        *of = (of.0 + s.click, of.1 + 1.0);
    }
    let (clicks, n) = sums.values().fold((0.0, 0.0), |a, v| (a.0 + v.0, a.1 + v.1));
    let all = if n > 0.0 { clicks / n } else { 0.0 };
    (sums.into_iter().map(|(i, (c, n))| (i, (c + DRAWN * all) / (n + DRAWN))).collect(), all)
}

fn read(path: &str) -> Answer<Vec<Shown>> {
    let text = std::fs::read_to_string(path)?;
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [day, item, position, click, propensity] = cells[..] else {
            return Err(format!("{path} line {}: five cells are needed", i + 1).into());
        };
        let (day, item, position) = (day.to_owned(), item.to_owned(), position.to_owned());
        out.push(Shown { day, item, position, click: click.parse()?, propensity: propensity.parse()? });
    }
    Ok(out)
}
