//! Real sets, where they are at hand beside the repository.
#![expect(clippy::print_stderr, reason = "what is skipped and how long it took is told")]

use crate::Outcome;
use std::path::PathBuf;
use std::time::Instant;
use tradewind_core::{Freq, Run};
use tradewind_ingest::{Input, PanelOptions, detect_file, read_panel};

fn file(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: {name} not present");
    }
    path.exists().then_some(path)
}

fn import(name: &str, expected: &str) -> Option<Outcome> {
    let path = file(name)?;
    let preset = detect_file(&path, &Default::default()).expect("a table").expect("a preset");
    assert_eq!(preset.name, expected);
    let at = Instant::now();
    let got = crate::import(expected, &[Input::File(path)]);
    eprintln!(
        "{name}: {} lines in {:.2} s; {:?}",
        got.summary.lines,
        at.elapsed().as_secs_f64(),
        got.summary.files[0].reasons
    );
    Some(got)
}

#[test]
fn online_retail_every_line_is_accounted_for() {
    let Some(got) = import("online_retail/transactions.parquet", "online-retail") else { return };
    let f = &got.summary.files[0];
    assert_eq!(f.lines, 541_909);
    assert_eq!(f.used + f.rejected, 541_909);
    // Counted with polars: fees, postage and the like are 2,912 lines, three of them also bookkeeping of bad debt.
    assert_eq!(f.returned, 1_336);
    assert_eq!((f.rejected, f.cancelled), (2_912, 8_704));
    assert_eq!(got.rows("products"), 3_913);
}

#[test]
fn tmall_listings() {
    let Some(got) = import("tmall_beauty_1111/listings.parquet", "tmall-listings") else { return };
    assert_eq!((got.summary.lines, got.rows("products")), (27_598, 3_497));
    assert!(got.rows("events") > 1_000);
}

#[test]
fn walmart_and_complete_journey() {
    if let Some(got) = import("walmart_weekly/sales.parquet", "walmart-weekly") {
        assert_eq!((got.summary.used, got.summary.rejected), (293_704, 0));
    }
    if let Some(got) = import("complete_journey/transactions.parquet", "complete-journey") {
        assert_eq!((got.summary.used, got.summary.rejected), (1_469_307, 0));
    }
    if let Some(got) = import("complete_journey/products.parquet", "complete-journey") {
        assert_eq!(got.summary.used, 92_331);
    }
}

#[test]
fn m5_slice_as_a_panel() {
    let Some(path) = file("m5_foods3_tx3/sales.parquet") else { return };
    let at = Instant::now();
    let panel = read_panel(&Run::new(0), &path, None, &PanelOptions::default()).expect("a panel");
    eprintln!("m5: {:.2} s", at.elapsed().as_secs_f64());
    assert_eq!((panel.len(), panel.freq()), (823, Freq::DAILY));
    assert_eq!(panel.iter().map(|s| s.y.len()).sum::<usize>(), 1_597_443);
}

#[test]
fn m3_counts_its_steps() {
    let Some(path) = file("m3/train.parquet") else { return };
    let panel = read_panel(&Run::new(0), &path, None, &PanelOptions::default()).expect("a panel");
    assert_eq!((panel.len(), panel.freq()), (3_003, Freq::STEP));
}
