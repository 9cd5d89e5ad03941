//! K-means on rows and starts read from files; `docs/benchmarks/kmeans.sh` writes them and runs scikit-learn on the same.
//!   kmeans_bench ROWS.f64 COLUMNS STARTS.f64 THREADS REPEATS [auto|lloyd|hamerly|mini_batch|plus_plus]
//! Prints one JSON line: the seconds of each fit, inertia, rounds.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figure it prints"
)]

use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::cluster::kmeans::{Algorithm, KMeans};
use tradewind_learn::cluster::mini_batch::MiniBatchKMeans;
use tradewind_learn::{Dataset, Matrix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn read(path: &str, n_cols: usize) -> Matrix {
    let bytes = std::fs::read(path).unwrap();
    let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
    Matrix::new(values.len() / n_cols, n_cols, values).unwrap()
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n_cols: usize = args[2].parse().unwrap();
    let (x, starts) = (read(&args[1], n_cols), read(&args[3], n_cols));
    let run = Run::new(1).with_threads(args[4].parse().unwrap());
    let how = args.get(6).map_or("auto", String::as_str);
    let n = x.n_rows();
    let data = Dataset::new(x, vec![0.0; n], vec![]).unwrap();
    let algorithm = match how {
        "lloyd" => Algorithm::Lloyd,
        "hamerly" => Algorithm::Hamerly,
        _ => Algorithm::Auto,
    };
    let params = KMeans { n_clusters: starts.n_rows(), algorithm, ..KMeans::default() };
    let (mut seconds, mut model) = (Vec::new(), None);
    for _ in 0..args[5].parse::<usize>().unwrap() {
        let start = Instant::now();
        model = Some(match how {
            "mini_batch" => {
                MiniBatchKMeans { n_clusters: starts.n_rows(), ..Default::default() }.fit(&run, &data)
            }
            "plus_plus" => params.fit(&run, &data),
            _ => params.fit_from(&run, &data, &starts),
        });
        seconds.push(format!("{:.4}", start.elapsed().as_secs_f64()));
    }
    let model = model.unwrap().unwrap();
    println!(
        "{{\"fit_s\": [{}], \"inertia\": {}, \"n_iter\": {}}}",
        seconds.join(", "),
        model.inertia(),
        model.n_iter()
    );
}
