//! What the imports said about themselves, and in which order they came.

use super::question::{EXAMPLES, Questions, compare, moment_text, shorten};
use super::{Finding, FindingCode, QualityReport, Severity};
use crate::error::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How importers call a date that is not written as the others of its column.
const NOT_A_DATE: &str = "not_a_date";

/// An import, as far as the report needs it.
///
/// The importer's summary is read for these keys: `rejects` (an object from reason to count, or a list of objects with
/// `reason` and `count`), `encodings` (a list of names; or `encoding`, one name) and `date_formats` (a list). Keys may
/// also stand in the elements of a list `files`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImportProfile {
    /// Its number.
    pub id: i64,
    /// What was imported.
    pub name: String,
    /// The preset or mapping.
    pub preset: String,
    /// When it ended, in milliseconds since 1970, UTC.
    pub finished_ms: i64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows refused, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// The encodings its text was decoded from.
    pub encodings: Vec<String>,
    /// The ways its dates were written.
    pub date_formats: Vec<String>,
}

/// Tells the imports, the rows they refused and the encodings they met.
pub(crate) fn imports(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for record in q.shop.imports()? {
        let scopes = || {
            std::iter::once(&record.summary).chain(record.summary["files"].as_array().into_iter().flatten())
        };
        let mut rejects: BTreeMap<String, u64> = BTreeMap::new();
        let (mut encodings, mut date_formats): (Vec<String>, Vec<String>) = (vec![], vec![]);
        for scope in scopes() {
            for (reason, n) in counts(&scope["rejects"]) {
                // The total of the whole import and those of its files may both be told.
                let known = rejects.entry(reason).or_default();
                *known = (*known).max(n);
            }
            for key in ["encoding", "encodings"] {
                add_names(&mut encodings, &scope[key]);
            }
            for key in ["date_format", "date_formats"] {
                add_names(&mut date_formats, &scope[key]);
            }
        }
        report.imports.push(ImportProfile {
            id: record.id,
            name: record.name,
            preset: record.preset,
            finished_ms: record.finished_ms,
            rows: record.tables.into_iter().map(|t| (t.table, t.rows)).collect(),
            rejects,
            encodings,
            date_formats,
        });
    }
    for import in report.imports.clone() {
        let name = &import.name;
        let refused: u64 = import.rejects.values().sum();
        let brought: u64 = import.rows.values().sum();
        if refused > 0 {
            let mut reasons: Vec<_> = import.rejects.iter().collect();
            reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let reasons =
                reasons.iter().take(2 * EXAMPLES).map(|(r, n)| format!("{name}: {n} × {r}")).collect();
            // One row in a hundred lost is more than a few odd ones.
            let severity =
                if refused.saturating_mul(100) > brought { Severity::Error } else { Severity::Warning };
            let finding =
                Finding::new(FindingCode::RejectedRows, severity, "", refused).of(refused + brought);
            report.findings.push(finding.examples(reasons));
        }
        let foreign: Vec<_> = import.encodings.iter().filter(|e| !is_unicode(e)).cloned().collect();
        if !foreign.is_empty() {
            let examples = foreign.iter().map(|e| format!("{name}: {e}")).collect();
            let finding = Finding::new(FindingCode::ConvertedEncoding, Severity::Info, "", brought);
            report.findings.push(finding.examples(examples));
        }
        let refused_dates: u64 =
            import.rejects.iter().filter(|(r, _)| r.starts_with(NOT_A_DATE)).map(|(_, n)| n).sum();
        if import.date_formats.len() > 1 || refused_dates > 0 {
            let mut examples: Vec<_> = import.date_formats.iter().map(|f| format!("{name}: {f}")).collect();
            let refused = import.rejects.iter().filter(|(r, _)| r.starts_with(NOT_A_DATE));
            examples.extend(refused.map(|(r, n)| format!("{name}: {n} × {r}")));
            examples.truncate(EXAMPLES);
            let finding = Finding::new(FindingCode::MixedDateFormats, Severity::Warning, "", refused_dates);
            report.findings.push(finding.examples(examples));
        }
    }
    Ok(())
}

/// Finds imports that brought days older than those that were there before them.
pub(crate) fn late_data(q: &Questions, report: &mut QualityReport) -> Result<()> {
    if report.imports.len() < 2 || report.rows("sales") == 0 {
        return Ok(());
    }
    // Dates that cannot be are findings of their own and make nothing late.
    let plausible = q.plausible("ds");
    let ends = q.ask(&format!(
        "SELECT _import AS id, min(CAST(ds AS BIGINT)) AS low, max(CAST(ds AS BIGINT)) AS high FROM sales \
         WHERE {plausible} GROUP BY _import ORDER BY _import"
    ))?;
    let mut newest: Option<i64> = None;
    let (mut rows, mut examples) = (0, vec![]);
    for row in 0..ends.rows() {
        let (id, low, high) = (ends.whole("id", row)?, ends.whole("low", row)?, ends.whole("high", row)?);
        if let Some(before) = newest.filter(|n| low < *n) {
            let late = compare("ds", "<", before);
            let answer = q.ask(&format!(
                "SELECT count(*) AS n FROM sales WHERE _import = {id} AND {late} AND {plausible}"
            ))?;
            let n = answer.count("n", 0)?;
            if n > 0 {
                let name =
                    report.imports.iter().find(|i| i.id == id).map_or(String::new(), |i| shorten(&i.name));
                rows += n;
                examples.push(format!("{name}: {n} < {}", moment_text(before)));
            }
        }
        newest = Some(newest.map_or(high, |n| n.max(high)));
    }
    if rows > 0 {
        examples.truncate(EXAMPLES);
        let total = report.rows("sales");
        report.findings.push(
            Finding::new(FindingCode::LateData, Severity::Info, "sales", rows).of(total).examples(examples),
        );
    }
    Ok(())
}

fn counts(value: &Value) -> Vec<(String, u64)> {
    match value {
        Value::Object(map) => map.iter().filter_map(|(k, v)| Some((shorten(k), v.as_u64()?))).collect(),
        Value::Array(list) => {
            let one = |v: &Value| Some((shorten(v["reason"].as_str()?), v["count"].as_u64()?));
            list.iter().filter_map(one).collect()
        }
        _ => vec![],
    }
}

fn add_names(out: &mut Vec<String>, value: &Value) {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    for name in list.iter().filter_map(Value::as_str).map(shorten) {
        if !name.is_empty() && !out.contains(&name) {
            out.push(name);
        }
    }
}

fn is_unicode(encoding: &str) -> bool {
    let e = encoding.to_ascii_lowercase();
    e.starts_with("utf-8") || e.starts_with("utf8") || e == "ascii" || e == "us-ascii" || e == "binary"
}
