//! Product trends on a table of daily sales, against the clock:
//! `trend_bench PANEL START HORIZON SETTINGS OUT CUTOFF...` predicts the trends at each cutoff (steps known then), writes
//! the probabilities of falling, steady and rising (little-endian f64; cutoffs, then series) to OUT and prints the
//! seconds of each prediction and its own figures of quality as JSON.
//!
//! The panel is a little-endian file: series and steps as u64, then the units series by series as f64. START is the day
//! of the first step. SETTINGS is a JSON object as in the shop's settings; the calendar is that of the United States.
//! `docs/benchmarks/m5_trends.py` writes such a file of the M5 slice and scores the answers.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::time::Instant;
use tradewind_core::calendar::{Calendar, Region};
use tradewind_core::freq::{DAY, parse_stamp};
use tradewind_core::{Error, Freq, Panel, Result, Run, Stamp};
use tradewind_forecast::trend::{TrendSettings, predict};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn fault(path: &str, e: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("{path}: {e}"))
}

fn panel(path: &str, start: Stamp) -> Result<Panel> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(|e| fault(path, e))?);
    let mut word = [0; 8];
    let mut next = || file.read_exact(&mut word).map(|()| word).map_err(|e| fault(path, e));
    let n = u64::from_le_bytes(next()?) as usize;
    let steps = u64::from_le_bytes(next()?) as usize;
    let series = (0..n)
        .map(|i| {
            let y = (0..steps).map(|_| next().map(f64::from_le_bytes)).collect::<Result<_>>()?;
            Ok((format!("s{i:06}"), start, y))
        })
        .collect::<Result<_>>()?;
    Panel::from_series(Freq::DAILY, series)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [path, start, horizon, settings, out_path] = args.get(1..6).unwrap_or_default() else {
        return Err(Error::Invalid("usage: trend_bench PANEL START HORIZON SETTINGS OUT CUTOFF...".into()));
    };
    let first = parse_stamp(start).ok_or_else(|| Error::Invalid(format!("START is a day, not `{start}`")))?;
    let panel = panel(path, first)?;
    let mut settings: TrendSettings = serde_json::from_str(settings).map_err(|e| fault("SETTINGS", e))?;
    settings.horizon = horizon.parse().map_err(|e| fault("HORIZON", e))?;
    let calendar = Calendar::new(&[Region::Us]);
    let run = Run::new(1).with_threads(2);
    let mut out = BufWriter::new(File::create(out_path).map_err(|e| fault(out_path, e))?);
    for cutoff in &args[6..] {
        let steps: i64 = cutoff.parse().map_err(|e| fault("CUTOFF", e))?;
        let clock = Instant::now();
        let report = predict(&run, &panel, &settings, Some(first + (steps - 1) * DAY), &calendar)?;
        let seconds = clock.elapsed().as_secs_f64();
        for v in report.trends.iter().flat_map(|t| t.probabilities) {
            out.write_all(&v.to_le_bytes()).map_err(|e| fault(out_path, e))?;
        }
        let quality = report.quality.map(|q| (q.scores.log_loss, q.calibration));
        println!("{}", serde_json::json!({"cutoff": steps, "seconds": seconds, "quality": quality}));
    }
    out.flush().map_err(|e| fault(out_path, e))
}
