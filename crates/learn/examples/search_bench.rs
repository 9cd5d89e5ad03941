//! How near samplers come to the minimum of two functions. Run by `docs/benchmarks/search.sh` beside Optuna:
//! `search_bench <n_trials> <n_seeds>` prints, for each function and sampler, the median of the best values and the
//! seconds of all seeds together.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use rayon::prelude::*;
use std::time::Instant;
use tradewind_core::{Result, Run};
use tradewind_learn::search::{Attempt, GaussianProcess, MemoryStore, Sampler, Search, Space, Study, Tpe};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rosenbrock's valley with a whole number beside it.
fn rosenbrock(t: &mut Attempt<'_>) -> Result<f64> {
    let (x, y, k) = (t.number_of("x")?, t.number_of("y")?, t.number_of("k")?);
    Ok((1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2) + (k - 3.0).powi(2))
}

/// A bowl in four parameters and the logarithm of a fifth.
fn separable(t: &mut Attempt<'_>) -> Result<f64> {
    let mut sum = (t.number_of("l")?.log10() + 2.0).powi(2);
    for (i, c) in [0.3, -0.7, 0.5, -0.2].iter().enumerate() {
        sum += (t.number_of(&format!("x{i}"))? - c).powi(2);
    }
    Ok(sum)
}

type Function = fn(&mut Attempt<'_>) -> Result<f64>;

const FUNCTIONS: [(&str, &str, Function); 2] = [
    ("rosenbrock", "x=float(-4,4) y=float(-4,4) k=int(1,10)", rosenbrock),
    ("separable", "x0=float(-5,5) x1=float(-5,5) x2=float(-5,5) x3=float(-5,5) l=log(0.0001,1)", separable),
];

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (n_trials, n_seeds) = (args.next().unwrap_or(150), args.next().unwrap_or(20));
    let mut samplers = vec![("random", Sampler::Random), ("tpe", Sampler::Tpe(Tpe::default()))];
    // The process's time grows with the cube of the trials, and it is meant for few.
    if n_trials <= 100 {
        samplers.push(("gaussian_process", Sampler::GaussianProcess(GaussianProcess::default())));
    }
    for (name, space, function) in FUNCTIONS {
        let space: Space = space.parse().unwrap();
        for (label, sampler) in &samplers {
            let start = Instant::now();
            let mut best: Vec<f64> = (0..n_seeds)
                .into_par_iter()
                .map(|seed| {
                    let store = MemoryStore::default();
                    let search = Search { sampler: *sampler, n_trials, ..Search::default() };
                    let mut study = Study::open(&Run::new(seed), space.clone(), search, &store).unwrap();
                    study.optimise(function, &|| false).unwrap();
                    study.best().and_then(|t| t.value).unwrap()
                })
                .collect();
            best.sort_by(f64::total_cmp);
            let median = 0.5 * (best[(best.len() - 1) / 2] + best[best.len() / 2]);
            println!(
                "{name} {label} {n_trials} trials: median best {median:.4}, {:.2} s",
                start.elapsed().as_secs_f64()
            );
        }
    }
}
