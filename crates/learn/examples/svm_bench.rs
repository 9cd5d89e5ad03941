//! The support vector machine on the rows of a file, against the clock; `docs/benchmarks/svm.sh` makes the file and
//! compares. The file holds two numbers (rows, columns), the rows and their classes, all 8 bytes, little endian.
//!
//! `svm_bench FILE OUT`: writes the support vectors' row numbers and the decisions to `OUT`, one a line.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::svm::Svm;
use tradewind_learn::{Dataset, Matrix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let bytes = std::fs::read(&args[1]).unwrap();
    let numbers: Vec<f64> =
        bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    let (n, p) = (numbers[0] as usize, numbers[1] as usize);
    let x = Matrix::new(n, p, numbers[2..2 + n * p].to_vec()).unwrap();
    let data = Dataset::new(x, numbers[2 + n * p..].to_vec(), vec![]).unwrap();
    let svm = Svm { probability: false, ..Svm::default() };
    let run = Run::new(0).with_threads(1);
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let model = svm.fit_classes(&run, &data).unwrap();
        times.push(start.elapsed().as_secs_f64());
        assert!(model.converged());
    }
    times.sort_by(f64::total_cmp);
    let model = svm.fit_classes(&run, &data).unwrap();
    let start = Instant::now();
    let decision = model.decision(data.x()).unwrap();
    println!(
        "ours fit {:.4} predict {:.4} steps {}",
        times[2],
        start.elapsed().as_secs_f64(),
        model.n_iter()
    );
    let lines = model.support().iter().map(|i| i.to_string());
    let decisions = decision.values().iter().map(|d| format!("{d:e}"));
    let text: Vec<String> =
        std::iter::once(model.support().len().to_string()).chain(lines).chain(decisions).collect();
    std::fs::write(&args[2], text.join("\n")).unwrap();
}
