//! Forests on tables written by `docs/benchmarks/forest.sh`, against the clock.
//!
//! A table is a little-endian file: rows and columns as u64, then the features row by row and the target, all f64.
//! Its kinds may follow as one byte per column (1: category codes).

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program run by hand for the figures it prints"
)]

use std::time::Instant;
use tradewind_core::Run;
use tradewind_core::metrics::class::roc_auc;
use tradewind_learn::forest::{ExtraTrees, FittedForest, RandomForest};
use tradewind_learn::{ColumnKind, Dataset, Matrix, Task, entry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn table(path: &str) -> Dataset {
    let bytes = std::fs::read(path).unwrap();
    let (head, rest) = bytes.split_at(16);
    let whole = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap()) as usize;
    let (n, p) = (whole(&head[..8]), whole(&head[8..]));
    let (numbers, kinds) = rest.split_at((n * p + n) * 8);
    let mut x: Vec<f64> =
        numbers.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    let y = x.split_off(n * p);
    let kinds = (0..p).map(|j| match kinds.get(j) {
        Some(1) => ColumnKind::Category,
        _ => ColumnKind::Number,
    });
    let data = Dataset::with_missing(Matrix::new(n, p, x).unwrap(), y, vec![]).unwrap();
    data.with_kinds(kinds.collect()).unwrap()
}

fn accuracy(model: &FittedForest, test: &Dataset) -> f64 {
    let p = model.predict(test.x()).unwrap();
    let right = (0..test.n_rows()).filter(|&i| {
        let row = p.row(i);
        let said = (1..row.len()).fold(0, |b, c| if row[c] > row[b] { c } else { b });
        said == test.y()[i] as usize
    });
    right.count() as f64 / test.n_rows() as f64
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        // Fits 100 trees and scores the test table.
        ["forest" | "extra", train, test, threads] => {
            let (train, test) = (table(train), table(test));
            let run = Run::new(1).with_threads(threads.parse().unwrap());
            let start = Instant::now();
            let model = match args[0] {
                "forest" => RandomForest::default().fit(&run, &train, Task::Binary),
                _ => ExtraTrees::default().fit(&run, &train, Task::Binary),
            }
            .unwrap();
            let fit_s = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let accuracy = accuracy(&model, &test);
            let predict_s = start.elapsed().as_secs_f64();
            let leaves: usize = model.trees().trees.iter().map(|t| t.n_leaves()).sum();
            println!(
                "{{\"fit_s\": {fit_s:.4}, \"predict_s\": {predict_s:.4}, \"accuracy\": {accuracy:.5}, \"leaves\": {leaves}}}"
            );
        }
        // Fits without the target and writes one score per test row.
        ["isolation", train, test, scores, params] => {
            let (train, test) = (table(train), table(test));
            let learner = entry("isolation_forest").unwrap();
            let params = serde_json::from_str(params).unwrap();
            let start = Instant::now();
            let model = learner.learner(Task::Anomaly, &params).unwrap().fit(&Run::new(1), &train).unwrap();
            let fit_s = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let p = model.predict(test.x()).unwrap();
            let predict_s = start.elapsed().as_secs_f64();
            let bytes: Vec<u8> = p.values().iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(scores, bytes).unwrap();
            println!("{{\"fit_s\": {fit_s:.4}, \"predict_s\": {predict_s:.4}}}");
        }
        // The mean area under the ROC curve over folds; the last column of the table is the fold of the row.
        ["folds", path, params] => {
            let all = table(path);
            let p = all.x().n_cols() - 1;
            let fold = all.x().column(p);
            let x = all.x().select_columns(&(0..p).collect::<Vec<_>>());
            let data = Dataset::with_missing(x, all.y().to_vec(), vec![]).unwrap();
            let data = data.with_kinds(all.kinds()[..p].to_vec()).unwrap();
            let params: RandomForest = serde_json::from_str(params).unwrap();
            let folds = fold.iter().fold(0.0_f64, |m, v| m.max(*v)) as usize + 1;
            let mut total = 0.0;
            for f in 0..folds {
                let part = |inside: bool| -> Vec<usize> {
                    (0..data.n_rows()).filter(|&i| (fold[i] as usize == f) == inside).collect()
                };
                let train = data.select_rows(&part(false)).unwrap();
                let test = data.select_rows(&part(true)).unwrap();
                let model = params.fit(&Run::new(f as u64), &train, Task::Binary).unwrap();
                let score = model.predict(test.x()).unwrap().column(1);
                let positive: Vec<bool> = test.y().iter().map(|y| *y == 1.0).collect();
                total += roc_auc(&positive, &score);
            }
            println!("{{\"auc\": {:.5}}}", total / folds as f64);
        }
        _ => println!(
            "forest|extra TRAIN TEST THREADS, isolation TRAIN TEST SCORES PARAMS, or folds TABLE PARAMS"
        ),
    }
}
