//! Any bytes, read in every way the importers know.
#![no_main]

#[path = "../../crates/ingest/tests/it/fuzzing.rs"]
mod fuzzing;
#[path = "../../crates/ingest/tests/it/workbook.rs"]
#[allow(dead_code)]
mod workbook;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::one(data));
