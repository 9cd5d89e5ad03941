//! Two seconds of fuzzing with every test run; `TRADEWIND_FUZZ_SECONDS` makes it longer.

use crate::fuzzing::{fuzz, one, seeds};
use std::time::Duration;

#[test]
fn no_bytes_make_the_importers_panic() {
    let seconds = std::env::var("TRADEWIND_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let report = fuzz(0x7261_6465, Duration::from_secs(seconds));
    assert!(report.executions > 20, "{}", report.executions);
    let crashes: Vec<_> =
        report.crashes.iter().map(|(name, bytes)| (name, String::from_utf8_lossy(bytes))).collect();
    assert!(crashes.is_empty(), "{crashes:#?}");
}

#[test]
fn the_seeds_are_read_without_fault() {
    assert!(seeds().len() > 15);
    for text in ["", "\n\n", "\"", "a", "\u{feff}", "{", "{}", "PAR1", "PK\u{3}\u{4}", "a,b\n\"", "d_1\n1\n"]
    {
        one(text.as_bytes());
    }
}
