//! Products, stock and text.

use super::profile::is_personal;
use super::question::{EXAMPLES, Questions, shorten};
use super::sales::count_cases;
use super::{Finding, FindingCode, QualityReport, Severity};
use crate::error::Result;
use arrow::array::{Array, AsArray};
use std::collections::{BTreeMap, BTreeSet};
use tradewind_core::tables::{ColumnType, TABLES};

/// What a wrong encoding leaves in text: the replacement character, GBK read from it, and UTF-8 read as Latin-1.
const DAMAGE: &[&str] = &["\u{FFFD}", "锟斤拷", "Ã©", "Ã¨", "Ã¤", "Ã¼", "Ã¶", "â€™", "â€œ"];

/// Finds products without sales, and sales of products that the catalogue lacks.
pub(crate) fn products(q: &Questions, report: &mut QualityReport) -> Result<()> {
    if report.rows("products") == 0 || report.rows("sales") == 0 {
        return Ok(());
    }
    let pairs = [
        ("products", "sales", FindingCode::ProductsWithoutSales, Severity::Info),
        ("sales", "products", FindingCode::SalesWithoutProduct, Severity::Warning),
    ];
    for (table, other, code, severity) in pairs {
        let answer = q.ask(&format!(
            "SELECT product_id, n, count(*) OVER () AS products FROM (SELECT t.product_id, count(*) AS n FROM {table} t \
             LEFT ANTI JOIN {other} o ON t.product_id = o.product_id GROUP BY t.product_id) \
             ORDER BY n DESC, product_id LIMIT {EXAMPLES}"
        ))?;
        if answer.rows() > 0 {
            let examples = answer.lines(|a, row| {
                let id = a.text("product_id", row)?.unwrap_or_default();
                Ok(if table == "sales" { format!("{id}: {}", a.whole("n", row)?) } else { id })
            })?;
            let total =
                q.ask(&format!("SELECT count(DISTINCT product_id) AS n FROM {table}"))?.count("n", 0)?;
            let n = answer.count("products", 0)?;
            report.findings.push(Finding::new(code, severity, table, n).of(total).examples(examples));
        }
    }
    Ok(())
}

/// Finds product ids that differ only in case, width or spaces.
pub(crate) fn near_duplicate_ids(q: &Questions, report: &mut QualityReport) -> Result<()> {
    let tables: Vec<_> = ["sales", "products"].into_iter().filter(|t| report.rows(t) > 0).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let union = tables.iter().map(|t| format!("SELECT DISTINCT product_id FROM {t}")).collect::<Vec<_>>();
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    q.snapshot.each(
        &format!("SELECT DISTINCT product_id FROM ({})", union.join(" UNION ALL ")),
        |batch| {
            for id in batch.column(0).as_string::<i32>().iter().flatten() {
                alike.entry(folded(id)).or_default().push(id.to_owned());
            }
            Ok(())
        },
    )?;
    let groups: Vec<_> = alike.into_values().filter(|ids| ids.len() > 1).collect();
    if !groups.is_empty() {
        let n = groups.iter().map(|ids| ids.len() as u64 - 1).sum();
        let examples = groups.into_iter().take(EXAMPLES).map(|mut ids| {
            ids.sort();
            ids.iter().map(|id| format!("`{}`", shorten(id))).collect::<Vec<_>>().join(" ")
        });
        let finding = Finding::new(FindingCode::NearDuplicateIds, Severity::Warning, tables[0], n);
        report.findings.push(finding.examples(examples.collect()));
    }
    Ok(())
}

/// An id without spaces, in lower case and half width.
fn folded(id: &str) -> String {
    let half = |c: char| match c {
        // The full-width forms mirror ASCII from `!` to `~`.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        c => c,
    };
    id.chars().filter(|c| !c.is_whitespace()).map(half).flat_map(char::to_lowercase).collect()
}

/// Finds products counted with no stock, and stock below zero.
pub(crate) fn stock(q: &Questions, report: &mut QualityReport) -> Result<()> {
    if report.rows("stock") == 0 {
        return Ok(());
    }
    let cases = [
        (FindingCode::StockOuts, Severity::Info, "on_hand <= 0", "on_hand"),
        (FindingCode::NegativeStock, Severity::Warning, "on_hand < 0", "on_hand"),
    ];
    count_cases(q, report, "stock", &cases)
}

/// Finds text that went through a wrong encoding.
pub(crate) fn damaged_text(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for spec in TABLES {
        let columns: Vec<_> = spec
            .columns
            .iter()
            .filter(|c| c.kind == ColumnType::Text && report.has(spec.name, c.name))
            .collect();
        if columns.is_empty() {
            continue;
        }
        let names: Vec<_> = columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        let mut total = 0;
        let mut found: Vec<(u64, Option<String>)> = vec![(0, None); columns.len()];
        q.snapshot.each(&format!("SELECT {} FROM \"{}\"", names.join(", "), spec.name), |batch| {
            let mut rows = BTreeSet::new();
            for (i, (count, shown)) in found.iter_mut().enumerate() {
                let values = batch.column(i).as_string::<i32>();
                // Damage is never ASCII, and most text is.
                if values.value_data().is_ascii() {
                    continue;
                }
                for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
                    let text = values.value(row);
                    if DAMAGE.iter().any(|d| text.contains(d)) {
                        *count += 1;
                        rows.insert(row);
                        // The smallest one, so that the order of batches does not matter.
                        if shown.as_deref().is_none_or(|s| text < s) {
                            *shown = Some(text.to_owned());
                        }
                    }
                }
            }
            total += rows.len() as u64;
            Ok(())
        })?;
        if total == 0 {
            continue;
        }
        let examples = columns.iter().zip(found).filter(|(_, (n, _))| *n > 0).map(|(c, (n, shown))| {
            let shown = shown.filter(|_| !is_personal(c)).map(|s| format!(" ({})", shorten(&s)));
            format!("`{}`: {n}{}", c.name, shown.unwrap_or_default())
        });
        let finding = Finding::new(FindingCode::DamagedText, Severity::Warning, spec.name, total);
        report.findings.push(finding.of(report.rows(spec.name)).examples(examples.collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn ids_that_look_alike_fold_to_one() {
        for id in ["85123a", "85123A ", " 85 123A", "８５１２３Ａ"] {
            assert_eq!(folded(id), "85123a");
        }
        assert_ne!(folded("茶-1"), folded("茶1"));
    }
}
