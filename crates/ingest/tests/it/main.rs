//! The import seen from outside: bytes and files in, rows and reports out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stderr, reason = "what is left out or went wrong is said")]

mod event_log;
mod formats;
mod fuzz;
mod fuzzing;
mod panel;
mod presets;
mod real_data;
mod rejects;
mod table;
mod workbook;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use tradewind_core::Run;
use tradewind_ingest::{ImportOptions, ImportSummary, Input, Mapping, Reject, Result, preset, read_inputs};

/// All that an import gave.
struct Outcome {
    summary: ImportSummary,
    tables: BTreeMap<&'static str, Vec<RecordBatch>>,
    rejects: Vec<Reject>,
}

impl Outcome {
    /// A column of a table as texts; empty for null.
    fn column(&self, table: &str, name: &str) -> Vec<String> {
        let mut out = vec![];
        for batch in self.tables.get(table).into_iter().flatten() {
            let array = cast(batch.column_by_name(name).expect("a column of the table"), &DataType::Utf8)
                .expect("text");
            out.extend(array.as_string::<i32>().iter().map(|t| t.unwrap_or("").to_owned()));
        }
        out
    }

    fn rows(&self, table: &str) -> usize {
        self.tables.get(table).into_iter().flatten().map(RecordBatch::num_rows).sum()
    }

    /// Line, column, value and code of each reject.
    fn told(&self) -> Vec<(u64, &str, &str, &str)> {
        self.rejects.iter().map(|r| (r.line, &*r.column, &*r.value, r.reason.code())).collect()
    }
}

fn import_with(inputs: &[Input], mapping: &Mapping, options: &ImportOptions) -> Result<Outcome> {
    let mut tables: BTreeMap<&'static str, Vec<RecordBatch>> = BTreeMap::new();
    let mut rejects = vec![];
    let summary = read_inputs(
        &Run::new(0),
        inputs,
        mapping,
        options,
        &mut |table, batch| {
            assert_eq!(batch.schema(), table.schema());
            assert!(batch.num_rows() <= tradewind_ingest::BATCH_ROWS_MAX);
            for (column, spec) in batch.columns().iter().zip(table.columns) {
                assert!(!spec.required || column.null_count() == 0);
            }
            tables.entry(table.name).or_default().push(batch);
            Ok(())
        },
        &mut |reject| {
            rejects.push(reject.clone());
            Ok(())
        },
    )?;
    assert_eq!(summary.lines, summary.used + summary.rejected + summary.unused);
    for f in &summary.files {
        assert_eq!(f.lines, f.used + f.rejected + f.unused, "{f:?}");
    }
    Ok(Outcome { summary, tables, rejects })
}

fn import(preset_name: &str, inputs: &[Input]) -> Outcome {
    import_with(inputs, &preset(preset_name).expect("a preset").mapping, &ImportOptions::default())
        .expect("an import")
}
