//! Measures the import of a file without storing it:
//! `cargo run --release -p tradewind-ingest --example import_rate -- FILE [PRESET] [THREADS]`.
#![expect(clippy::print_stdout, reason = "its report is its output")]

use std::path::PathBuf;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_ingest::{ImportOptions, ReadSettings, Result, detect_file, preset, read};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().unwrap_or_else(|| "orders.csv".into()));
    let mapping = match args.next() {
        Some(name) => preset(&name)?.mapping.clone(),
        None => match detect_file(&path, &ReadSettings::default())? {
            Some(found) => found.mapping.clone(),
            None => preset("canonical")?.mapping.clone(),
        },
    };
    let threads = args.next().and_then(|a| a.parse().ok()).unwrap_or(0);
    let begin = Instant::now();
    let mut bytes = 0;
    let summary = read(
        &Run::new(0).with_threads(threads),
        &[path],
        &mapping,
        &ImportOptions::default(),
        &mut |_, batch| {
            bytes += batch.get_array_memory_size();
            Ok(())
        },
        &mut |_| Ok(()),
    )?;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{}: {} lines in {seconds:.2} s = {:.2} million lines a second; {} used, {} rejected; {:?}; {} MB of rows",
        mapping.name,
        summary.lines,
        summary.lines as f64 / seconds / 1e6,
        summary.used,
        summary.rejected,
        summary.tables,
        bytes / 1_000_000
    );
    if let Some(peak) = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| s.lines().find(|l| l.starts_with("VmHWM")).map(str::to_owned))
    {
        println!("{peak}");
    }
    Ok(())
}
