//! The largest size the trend model needs, against the clock. Run it with
//! `cargo run --release -p tradewind-learn --example speed`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::logistic::Logistic;
use tradewind_learn::spline::{SplineBasis, SplineParams};
use tradewind_learn::{Dataset, Matrix};

fn main() {
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
