//! Profiles many rows in one pass and says how long that took and how much memory it needed.
//!
//! `cargo run --release -p tradewind-ops --example profile_bench [ROWS]`: ten million rows of eight columns by default. Rows
//! are made on the way, batch by batch, and their making is timed apart. The second half has other prices; the report on
//! it against the first half is made at the end.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tradewind_core::Run;
use tradewind_ops::monitor::drift::{DriftSettings, compare};
use tradewind_ops::monitor::sketch::{ProfileSettings, Profiler};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 65_536;

/// SplitMix64: quick, and good enough to make rows.
fn mixed(x: u64) -> u64 {
    let mut z = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn batch(from: u64, rows: u64, dearer: f64) -> RecordBatch {
    let uniform = |i: u64, column: u64| (mixed(i ^ (column << 56)) >> 11) as f64 / (1_u64 << 53) as f64;
    let range = || from..from + rows;
    let price = Float64Array::from_iter(
        range().map(|i| (i % 97 != 0).then(|| dearer * (1.0 - uniform(i, 1)).powf(-0.7).min(1e4))),
    );
    let amount = Float64Array::from_iter_values(range().map(|i| -(1.0 - uniform(i, 2)).ln() * 40.0));
    let quantity = Int64Array::from_iter_values(range().map(|i| (uniform(i, 3).powi(4) * 30.0) as i64));
    let stars = Int32Array::from_iter(range().map(|i| (i % 5 == 0).then_some((mixed(i) % 5) as i32 + 1)));
    let at = TimestampMillisecondArray::from_iter_values(range().map(|i| 1_700_000_000_000 + i as i64 * 911));
    let user = StringArray::from_iter_values(range().map(|i| format!("u{}", mixed(i) % 2_000_000)));
    let names = ["web", "app", "shop", "market", "partner"];
    let codes = Int32Array::from_iter_values(range().map(|i| (uniform(i, 4).powi(2) * 5.0) as i32));
    let channel = DictionaryArray::new(codes, Arc::new(StringArray::from(names.to_vec())));
    let paid = BooleanArray::from_iter(range().map(|i| Some(mixed(i ^ 77) % 10 < 7)));
    let columns: [(&str, ArrayRef); 8] = [
        ("price", Arc::new(price)),
        ("amount", Arc::new(amount)),
        ("quantity", Arc::new(quantity)),
        ("stars", Arc::new(stars)),
        ("at", Arc::new(at)),
        ("user", Arc::new(user)),
        ("channel", Arc::new(channel)),
        ("paid", Arc::new(paid)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(10_000_000), |text| text.parse())?;
    let run = Run::new(0);
    let schema = batch(0, 1, 1.0).schema();
    let mut halves = Vec::new();
    let (mut made, mut profiled) = (Duration::ZERO, Duration::ZERO);
    for half in 0..2_u64 {
        let mut profiler = Profiler::of_schema(&schema, ProfileSettings::default())?;
        let (from, to) = (half * rows / 2, (half + 1) * rows / 2);
        let mut at = from;
        while at < to {
            let count = BATCH.min(to - at);
            let begin = Instant::now();
            let batch = batch(at, count, 1.0 + 0.5 * half as f64);
            made += begin.elapsed();
            let begin = Instant::now();
            profiler.push_batch(&run, &batch)?;
            profiled += begin.elapsed();
            at += count;
        }
        halves.push(profiler.finish());
    }
    let begin = Instant::now();
    let report = compare(&halves[0], &halves[1], &DriftSettings::default())?;
    let compared = begin.elapsed();
    let mut whole = halves.remove(0);
    whole.merge(&halves[0])?;
    let (kept, json) = (whole.to_bytes()?, serde_json::to_vec(&report)?);
    println!("{} rows of {} columns", whole.rows(), whole.columns().len());
    println!("making the rows {:.2} s, profiling them {:.2} s", made.as_secs_f64(), profiled.as_secs_f64());
    println!("comparing the halves {:.4} s", compared.as_secs_f64());
    println!("profile {:.1} KiB, report {:.1} KiB", kept.len() as f64 / 1024.0, json.len() as f64 / 1024.0);
    if let Some(peak) = peak_mib() {
        println!("peak memory {peak:.0} MiB");
    }
    for column in &report.columns {
        println!(
            "{:10} {:?} (severity {:.2}, p {:.2e})",
            column.column, column.verdict, column.severity, column.p
        );
    }
    Ok(())
}
