//! Fits linear models to tables written by another program, against the clock: `linear_bench FOLDER
//! [MODEL…]`, where the folder holds the files that `docs/benchmarks/linear.sh` writes. Without a folder it fits the largest size the trend model
//! needs, on generated data.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figures it prints"
)]

use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::elastic_net::ElasticNet;
use tradewind_learn::glm::Poisson;
use tradewind_learn::huber::Huber;
use tradewind_learn::linear::{Ols, Ridge};
use tradewind_learn::logistic::Logistic;
use tradewind_learn::quantile::Quantile;
use tradewind_learn::ridge_cv::RidgeCv;
use tradewind_learn::spline::{SplineBasis, SplineParams};
use tradewind_learn::{Dataset, Matrix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Little-endian numbers, as numpy's `tofile` writes them.
fn numbers(path: &str) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn data(folder: &str, name: &str) -> Dataset {
    let y = numbers(&format!("{folder}/{name}.y"));
    let x = numbers(&format!("{folder}/{name}.x"));
    Dataset::new(Matrix::new(y.len(), x.len() / y.len(), x).unwrap(), y, vec![]).unwrap()
}

/// Runs `fit` three times, prints the quickest, and writes the coefficients beside the data.
fn timed(folder: &str, name: &str, fit: impl Fn(&Run) -> Vec<f64>) {
    let mut only = std::env::args().skip(2).peekable();
    if only.peek().is_some() && !only.any(|o| o == name) {
        return;
    }
    let run = Run::new(0);
    let mut best = f64::INFINITY;
    let mut coef = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        coef = fit(&run);
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{name} {best:.4}");
    let bytes: Vec<u8> = coef.iter().flat_map(|c| c.to_le_bytes()).collect();
    std::fs::write(format!("{folder}/{name}.coef"), bytes).unwrap();
}

fn main() {
    let Some(folder) = std::env::args().nth(1) else { return trend_size() };
    let classes = data(&folder, "binary");
    timed(&folder, "logistic", |run| {
        Logistic::default().fit(run, &classes).unwrap().coef().values().to_vec()
    });
    timed(&folder, "logistic_l1", |run| {
        let params = Logistic { l2: 0.0, l1: 20.0, ..Logistic::default() };
        params.fit(run, &classes).unwrap().coef().values().to_vec()
    });
    let counts = data(&folder, "counts");
    timed(&folder, "poisson", |run| {
        Poisson { alpha: 1e-4, ..Poisson::default() }.fit(run, &counts).unwrap().line().coef().to_vec()
    });
    let robust = data(&folder, "robust");
    timed(&folder, "huber", |run| Huber::default().fit(run, &robust).unwrap().line().coef().to_vec());
    timed(&folder, "quantile", |run| Quantile::default().fit(run, &robust).unwrap().line().coef().to_vec());
    let wide = data(&folder, "million");
    timed(&folder, "ols", |run| Ols.fit(run, &wide).unwrap().coef().to_vec());
    timed(&folder, "ridge", |run| Ridge { alpha: 1.0 }.fit(run, &wide).unwrap().coef().to_vec());
    timed(&folder, "lasso", |run| {
        ElasticNet { alpha: 0.05, ..ElasticNet::default() }.fit(run, &wide).unwrap().line().coef().to_vec()
    });
    timed(&folder, "ridge_cv", |run| {
        let params = RidgeCv { alphas: vec![0.1, 1.0, 10.0], ..RidgeCv::default() };
        params.fit(run, &wide).unwrap().line().coef().to_vec()
    });
}

fn trend_size() {
    use rand::RngExt;
    let (n, raw) = (100_000, 75);
    let mut rng = Run::new(1).rng(1);
    let mut x = Matrix::zeros(n, raw);
    x.values_mut().iter_mut().for_each(|v| *v = rng.random::<f64>().powi(2));
    let y = (0..n)
        .map(|i| {
            let row = x.row(i);
            let z = (6.0 * row[0]).sin() + row[1] - row[2] + rng.random::<f64>();
            if z > 1.2 {
                2.0
            } else if z > 0.3 {
                1.0
            } else {
                0.0
            }
        })
        .collect();
    let basis = SplineBasis::fit(&x, &SplineParams { n_knots: 5 }).unwrap().transform(&x).unwrap();
    let data = Dataset::new(basis, y, vec![]).unwrap();
    let start = Instant::now();
    let model = Logistic::default().fit(&Run::new(0), &data).unwrap();
    println!(
        "{} columns: {:.2} s, {} steps",
        data.x().n_cols(),
        start.elapsed().as_secs_f64(),
        model.n_iter()
    );
    assert!(model.converged());
}
