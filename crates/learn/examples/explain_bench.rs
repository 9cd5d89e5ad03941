//! Prediction and contributions of a LightGBM model against the clock, and how far they are from LightGBM's own.
//! `docs/benchmarks/explain.sh` makes the files and runs it:
//! `explain_bench DIR COLUMNS CONTRIBUTION_ROWS THREADS`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use std::path::Path;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::import::Imported;
use tradewind_learn::{FittedLearner, Matrix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn numbers(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
}

/// The shortest of `times` runs, in seconds, and the last result.
fn best<T>(times: usize, work: impl Fn() -> T) -> (f64, T) {
    let mut shortest = f64::INFINITY;
    let mut timed = || {
        let start = Instant::now();
        let result = work();
        shortest = shortest.min(start.elapsed().as_secs_f64());
        result
    };
    (1..times).for_each(|_| drop(timed()));
    let result = timed();
    (shortest, result)
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = Path::new(&args[0]);
    let [columns, rows, threads] = [1, 2, 3].map(|i| args[i].parse::<usize>().unwrap());
    let text = std::fs::read_to_string(dir.join("model.txt")).unwrap();
    let (read, model) = best(3, || Imported::from_lightgbm(&text).unwrap());
    println!("import_s {read:.4}");
    let (saved_s, saved) = best(3, || model.save().unwrap().to_string());
    let (loaded_s, _) = best(3, || Imported::load(serde_json::from_str(&saved).unwrap()).unwrap());
    println!("save_s {saved_s:.4}\nload_s {loaded_s:.4}");
    let values = numbers(&dir.join("x.bin"));
    let x = Matrix::new(values.len() / columns, columns, values).unwrap();
    let run = Run::new(0).with_threads(threads);
    let (predict, answers) = best(5, || run.install(|| model.predict(&x).unwrap()));
    println!("predict_s {predict:.4}");
    println!("predict_furthest {:e}", furthest(answers.values(), &numbers(&dir.join("predict.bin"))));
    let few = x.select_rows(&(0..rows).collect::<Vec<_>>());
    let (parts_s, parts) = best(3, || model.contributions(&run, &few).unwrap().unwrap());
    println!("contributions_s {parts_s:.4}");
    println!(
        "contributions_furthest {:e}",
        furthest(parts.values(), &numbers(&dir.join("contributions.bin")))
    );
}
