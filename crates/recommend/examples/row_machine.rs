//! A factorisation machine on a table of categories, as `docs/benchmarks/row_machine.sh` asks.
//!
//! `row_machine TRAIN TEST [PARAMS]` reads tables with tabs and a header, the answer (0 or 1) first and categories behind it,
//! and prints the area under the curve and the log loss on TEST. With `-` for TEST the last tenth of TRAIN, in an order of
//! chance, is held back instead: there parameters are chosen. A category that training has not seen counts as absent.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use rand::seq::SliceRandom;
use std::error::Error;
use std::time::Instant;
use tradewind_core::{Ids, Run, SparseRows};
use tradewind_recommend::factorisation_machine::RowMachine;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

fn read(path: &str) -> Answer<Vec<(f32, Vec<String>)>> {
    let text = std::fs::read_to_string(path)?;
    let row = |line: &str| {
        let (y, rest) = line.split_once('\t').ok_or("two cells at least")?;
        let cells = rest.split('\t').enumerate().map(|(k, cell)| format!("{k}={cell}"));
        Ok((y.parse()?, cells.collect()))
    };
    text.lines().skip(1).map(row).collect()
}

fn features(rows: &[(f32, Vec<String>)], known: &Ids) -> SparseRows {
    let entries = rows.iter().enumerate().flat_map(|(r, (_, cells))| {
        cells.iter().filter_map(|c| known.find(c)).map(move |f| (r as u32, f, 1.0))
    });
    SparseRows::from_entries(rows.len(), known.len(), entries.collect())
}

/// The chance that a row of 1 stands above a row of 0; equal ones count half.
fn area(p: &[f32], y: &[f32]) -> f64 {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut below, mut above, mut sum) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| p[*a] == p[*b]) {
        let ones = tied.iter().filter(|r| y[**r] == 1.0).count() as f64;
        let zeros = tied.len() as f64 - ones;
        sum += ones * (below + zeros / 2.0);
        below += zeros;
        above += ones;
    }
    sum / (below * above)
}

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, params @ ..] = given.as_slice() else {
        return Err("usage: row_machine TRAIN TEST [PARAMS]".into());
    };
    let machine: RowMachine =
        params.first().map_or(Ok(RowMachine::default()), |p| serde_json::from_str(p))?;
    let run = Run::new(1);
    let mut train = read(train)?;
    let test = if test == "-" {
        train.shuffle(&mut run.rng(5));
        train.split_off(train.len() * 9 / 10)
    } else {
        read(test)?
    };
    let mut known = Ids::new();
    train.iter().flat_map(|(_, cells)| cells).for_each(|c| {
        known.insert(c);
    });
    let answers = |rows: &[(f32, Vec<String>)]| rows.iter().map(|r| r.0).collect::<Vec<f32>>();
    let start = Instant::now();
    let fitted = machine.fit(&run, &features(&train, &known), &answers(&train))?;
    let fit_s = start.elapsed().as_secs_f64();
    let (p, y) = (fitted.predict(&features(&test, &known))?, answers(&test));
    let loss =
        p.iter().zip(&y).map(|(p, y)| -f64::from(if *y == 1.0 { *p } else { 1.0 - p }).max(1e-15).ln());
    println!(
        "{} auc {:.4} log loss {:.4} fit {fit_s:.1} s",
        serde_json::to_string(&machine)?,
        area(&p, &y),
        loss.sum::<f64>() / y.len() as f64
    );
    Ok(())
}
