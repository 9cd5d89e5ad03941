//! What is there: rows, ranges and shares of empty cells.

use super::QualityReport;
use super::question::{Questions, moment_text, number_text};
use crate::error::Result;
use serde::Serialize;
use tradewind_core::tables::{ColumnSpec, ColumnType, TABLES, TableSpec};

/// A table that has rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableProfile {
    /// Its name.
    pub table: String,
    /// Its rows; of tables with a key, those that count.
    pub rows: u64,
    /// Its Parquet files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Its columns.
    pub columns: Vec<ColumnProfile>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnProfile {
    /// Its name.
    pub column: String,
    /// Empty cells.
    pub nulls: u64,
    /// Their share, 0 to 1.
    pub null_share: f64,
    /// The smallest value as text; absent for personal data and empty columns.
    pub min: Option<String>,
    /// The largest value as text; absent for personal data and empty columns.
    pub max: Option<String>,
    /// About how many values differ (by HyperLogLog, within some 2 %); absent for numbers.
    pub distinct: Option<u64>,
}

/// Whether a column holds personal data, which never leave the warehouse.
pub(crate) fn is_personal(column: &ColumnSpec) -> bool {
    column.unit == "personal"
}

/// Fills in the profiles of all tables that have rows.
pub(crate) fn tables(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for spec in TABLES {
        let parts: Vec<_> = q.snapshot.parts().iter().filter(|p| p.table == spec.name).collect();
        if parts.is_empty() {
            continue;
        }
        let (rows, columns) = columns(q, spec)?;
        if rows > 0 {
            let bytes = parts.iter().map(|p| p.bytes).sum();
            report.tables.push(TableProfile {
                table: spec.name.into(),
                rows,
                files: parts.len(),
                bytes,
                columns,
            });
        }
    }
    Ok(())
}

fn columns(q: &Questions, spec: &TableSpec) -> Result<(u64, Vec<ColumnProfile>)> {
    let mut wanted = vec!["count(*) AS \"rows\"".to_owned()];
    for c in spec.columns {
        let name = c.name;
        wanted.push(format!("count(\"{name}\") AS \"{name}.there\""));
        let ends = if c.kind == ColumnType::Time {
            format!("CAST(\"{name}\" AS BIGINT)")
        } else {
            format!("\"{name}\"")
        };
        if !is_personal(c) {
            wanted.push(format!("min({ends}) AS \"{name}.min\", max({ends}) AS \"{name}.max\""));
        }
        if c.kind != ColumnType::Number {
            wanted.push(format!("approx_distinct(\"{name}\") AS \"{name}.distinct\""));
        }
    }
    let answer = q.ask(&format!("SELECT {} FROM \"{}\"", wanted.join(", "), spec.name))?;
    let rows = answer.count("rows", 0)?;
    let columns = spec.columns.iter().map(|c| {
        let there = answer.count(&format!("{}.there", c.name), 0)?;
        let end = |which: &str| -> Result<Option<String>> {
            let name = format!("{}.{which}", c.name);
            if is_personal(c) || there == 0 {
                return Ok(None);
            }
            Ok(match c.kind {
                ColumnType::Text => answer.text(&name, 0)?,
                ColumnType::Number => answer.number(&name, 0)?.map(number_text),
                ColumnType::Time => Some(moment_text(answer.whole(&name, 0)?)),
            })
        };
        Ok(ColumnProfile {
            column: c.name.into(),
            nulls: rows.saturating_sub(there),
            null_share: if rows == 0 { 0.0 } else { rows.saturating_sub(there) as f64 / rows as f64 },
            min: end("min")?,
            max: end("max")?,
            distinct: match c.kind {
                ColumnType::Number => None,
                _ => Some(answer.count(&format!("{}.distinct", c.name), 0)?),
            },
        })
    });
    Ok((rows, columns.collect::<Result<_>>()?))
}

impl QualityReport {
    /// Rows of a table.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables.iter().find(|t| t.table == table).map_or(0, |t| t.rows)
    }

    /// Whether a column of a table has a value anywhere.
    pub(crate) fn has(&self, table: &str, column: &str) -> bool {
        let table = self.tables.iter().find(|t| t.table == table);
        table.is_some_and(|t| t.columns.iter().any(|c| c.column == column && c.nulls < t.rows))
    }
}
