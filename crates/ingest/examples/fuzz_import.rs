//! Fuzzes the importers for as long as one likes, on stable Rust:
//! `cargo run -p tradewind-ingest --example fuzz_import -- SECONDS [SEED]`.
//!
//! Bytes that make a panic are written to `fuzz-crash-N.bin`, slow ones to `fuzz-slow-N.bin`, in the working folder, and the exit code is 1.
#![expect(clippy::print_stdout, reason = "its report is its output")]

#[path = "../tests/it/fuzzing.rs"]
mod fuzzing;
#[path = "../tests/it/workbook.rs"]
#[allow(dead_code, reason = "the fuzzer uses a part of it")]
mod workbook;

use std::time::Duration;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|a| a.parse().ok()).unwrap_or(60);
    let seed = args.next().and_then(|a| a.parse().ok()).unwrap_or(1);
    // Decoders of strangers may panic inside and are caught there; only what gets out is of interest.
    std::panic::set_hook(Box::new(|_| {}));
    let report = fuzzing::fuzz(seed, Duration::from_secs(seconds));
    let _ = std::panic::take_hook();
    println!(
        "{} executions in {seconds} s, slowest {:.2} s, {} panics, {} slower than 2 s",
        report.executions,
        report.slowest.as_secs_f64(),
        report.crashes.len(),
        report.slow.len()
    );
    let crashes = report.crashes.iter().map(|c| ("crash", c));
    for (n, (what, (name, bytes))) in crashes.chain(report.slow.iter().map(|c| ("slow", c))).enumerate() {
        let path = format!("fuzz-{what}-{n}.bin");
        println!("{path}: from {name}, {} bytes", bytes.len());
        if let Err(e) = std::fs::write(&path, bytes) {
            println!("{path}: {e}");
        }
    }
    if report.crashes.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::from(1) }
}
