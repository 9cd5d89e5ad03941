//! Sales lines: repeats, prices, returns, outliers, currencies and units.

use super::question::{Answer, EXAMPLES, Questions, day_of, day_text, number_text};
use super::{Finding, FindingCode, QualityReport, Severity};
use crate::error::Result;
use tradewind_core::tables::TABLES;

/// Lines that are plain sales.
pub(crate) const SOLD: &str =
    "(quantity > 0 AND (status IS NULL OR (status <> 'returned' AND status <> 'cancelled')))";

/// Days of sales a product needs before one of them can be called unusual.
const OUTLIER_DAYS_MIN: usize = 10;

/// A day is unusual when its ratio to the product's median is beyond the usual ratio (the median of all days' ratios)
/// to this power. On a logarithmic scale that is 8 median absolute deviations: 5.4 robust standard deviations.
const OUTLIER_POWER: usize = 8;

/// The usual ratio is taken to be at least this, so that a day must be 1.3⁸ ≈ 8 times the median of a product that
/// sells the same every day.
const RATIO_MIN: f64 = 1.3;

/// A price is off when it is this many times the product's median price, or this part of it.
const PRICE_RATIO: f64 = 8.0;

/// Off prices of a product from which on they are a break of its level rather than slips.
const BREAK_LINES: usize = 3;

/// Counts the lines that a look at each line by itself finds.
pub(crate) fn lines(q: &Questions, report: &mut QualityReport) -> Result<()> {
    use FindingCode::{Cancellations, NegativePrices, Returns, ZeroPrices};
    let rows = report.rows("sales");
    if rows == 0 {
        report.findings.push(Finding::new(FindingCode::NoSales, Severity::Error, "sales", 0));
    } else {
        let cases = [
            (NegativePrices, Severity::Error, "unit_price < 0", "unit_price"),
            (
                ZeroPrices,
                Severity::Warning,
                "unit_price = 0 AND (quantity IS NULL OR quantity > 0)",
                "quantity",
            ),
            (
                Returns,
                Severity::Info,
                "(quantity < 0 OR status = 'returned') AND coalesce(status, '') <> 'cancelled'",
                "quantity",
            ),
            (Cancellations, Severity::Info, "status = 'cancelled'", "quantity"),
        ];
        count_cases(q, report, "sales", &cases)?;
    }
    for (table, column) in [("prices", "price"), ("products", "price")] {
        if report.rows(table) > 0 {
            let (below, zero) = (format!("{column} < 0"), format!("{column} = 0"));
            let cases = [
                (NegativePrices, Severity::Error, below.as_str(), column),
                (ZeroPrices, Severity::Warning, zero.as_str(), column),
            ];
            count_cases(q, report, table, &cases)?;
        }
    }
    Ok(())
}

/// One pass that counts all cases, and one more for the examples of each that occurs.
pub(crate) fn count_cases(
    q: &Questions,
    report: &mut QualityReport,
    table: &str,
    cases: &[(FindingCode, Severity, &str, &str)],
) -> Result<()> {
    let counts: Vec<_> =
        cases.iter().enumerate().map(|(i, c)| format!("count(*) FILTER (WHERE {}) AS n{i}", c.2)).collect();
    let answer = q.ask(&format!("SELECT {} FROM \"{table}\"", counts.join(", ")))?;
    let time = TABLES.iter().find(|t| t.name == table).and_then(|t| t.time);
    for (i, (code, severity, condition, shown)) in cases.iter().enumerate() {
        let n = answer.count(&format!("n{i}"), 0)?;
        if n == 0 {
            continue;
        }
        let day = time.map_or("CAST(NULL AS BIGINT)".to_owned(), day_of);
        let examples = q
            .ask(&format!(
                "SELECT product_id, {day} AS day, \"{shown}\" AS shown FROM \"{table}\" WHERE {condition} \
                 ORDER BY \"{shown}\", product_id, day LIMIT {EXAMPLES}"
            ))?
            .lines(|a, row| {
                let shown = a.number("shown", row)?.map_or(String::new(), number_text);
                let day = time.map_or(Ok(String::new()), |_| {
                    a.whole("day", row).map(|d| format!(" {}", day_text(d)))
                })?;
                Ok(format!("{}{day}: {shown}", a.text("product_id", row)?.unwrap_or_default()))
            })?;
        report
            .findings
            .push(Finding::new(*code, *severity, table, n).of(report.rows(table)).examples(examples));
    }
    Ok(())
}

/// Finds lines that repeat another in every column, within one import and across imports.
pub(crate) fn repeated(q: &Questions, report: &mut QualityReport) -> Result<()> {
    let Some(sales) = report.tables.iter().find(|t| t.table == "sales") else { return Ok(()) };
    let rows = sales.rows;
    // A column without any value cannot tell lines apart.
    let columns: Vec<_> =
        sales.columns.iter().filter(|c| c.nulls < rows).map(|c| format!("\"{}\"", c.column)).collect();
    // A line that stands in two imports counts once as repeated across them, and its other copies as duplicates.
    let answer = q.ask(&format!(
        "SELECT product_id, day, n, sum(across) OVER () AS across, sum(n - 1 - across) OVER () AS extra FROM ( \
           SELECT product_id, {day} AS day, count(*) AS n, \
             CASE WHEN min(_import) < max(_import) THEN 1 ELSE 0 END AS across \
           FROM sales GROUP BY {columns} HAVING count(*) > 1) \
         ORDER BY n DESC, product_id, day LIMIT {EXAMPLES}",
        day = day_of("ds"),
        columns = columns.join(", "),
    ))?;
    if answer.rows() == 0 {
        return Ok(());
    }
    let examples = |a: &Answer| {
        a.lines(|a, row| {
            let id = a.text("product_id", row)?.unwrap_or_default();
            Ok(format!("{id} {}: × {}", day_text(a.whole("day", row)?), a.whole("n", row)?))
        })
    };
    let extra = answer.count("extra", 0)?;
    let across = answer.count("across", 0)?;
    if extra > 0 {
        let finding = Finding::new(FindingCode::Duplicates, Severity::Warning, "sales", extra);
        report.findings.push(finding.of(rows).examples(examples(&answer)?));
    }
    if across > 0 {
        let finding = Finding::new(FindingCode::RepeatedAcrossImports, Severity::Warning, "sales", across);
        report.findings.push(finding.of(rows).examples(examples(&answer)?));
    }
    Ok(())
}

/// Finds days on which a product sold far more than it usually does.
pub(crate) fn outliers(q: &Questions, report: &mut QualityReport) -> Result<()> {
    if report.rows("sales") == 0 {
        return Ok(());
    }
    let power = vec!["usual"; OUTLIER_POWER].join(" * ");
    let answer = q.ask(&format!(
        "WITH daily AS (SELECT product_id, {day} AS day, sum(quantity) AS units FROM sales \
           WHERE {SOLD} AND {plausible} GROUP BY product_id, {day}), \
         middle AS (SELECT product_id, median(units) AS middle FROM daily GROUP BY product_id \
           HAVING count(*) >= {OUTLIER_DAYS_MIN}), \
         ratios AS (SELECT d.product_id, d.day, d.units, m.middle, CASE WHEN d.units > m.middle \
           THEN (d.units + 1) / (m.middle + 1) ELSE (m.middle + 1) / (d.units + 1) END AS ratio \
           FROM daily d JOIN middle m ON d.product_id = m.product_id), \
         usual AS (SELECT product_id, CASE WHEN median(ratio) > {RATIO_MIN} THEN median(ratio) ELSE {RATIO_MIN} END \
           AS usual FROM ratios GROUP BY product_id) \
         SELECT r.product_id, r.day, r.units, r.middle, count(*) OVER () AS n FROM ratios r \
           JOIN usual u ON r.product_id = u.product_id WHERE r.units > r.middle AND r.ratio > {power} \
         ORDER BY r.ratio DESC, r.product_id, r.day LIMIT {EXAMPLES}",
        day = day_of("ds"),
        plausible = q.plausible("ds"),
    ))?;
    if answer.rows() > 0 {
        let examples = answer.lines(|a, row| {
            let number = |c: &str| Ok::<_, crate::Error>(number_text(a.number(c, row)?.unwrap_or_default()));
            let id = a.text("product_id", row)?.unwrap_or_default();
            let day = day_text(a.whole("day", row)?);
            Ok(format!("{id} {day}: {} (median {})", number("units")?, number("middle")?))
        })?;
        let finding = Finding::new(FindingCode::Outliers, Severity::Warning, "sales", answer.count("n", 0)?);
        report.findings.push(finding.examples(examples));
    }
    Ok(())
}

/// Finds prices far from the product's usual one: slips, and levels that jump as by another unit or currency.
pub(crate) fn prices(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for (table, column, scope) in [("sales", "unit_price", ""), ("prices", "price", ", seller")] {
        if !report.has(table, column) {
            continue;
        }
        // Competitors have their own level, so their prices are compared with their own median.
        let same_seller = if scope.is_empty() { "" } else { "AND p.seller IS NOT DISTINCT FROM m.seller" };
        let condition = format!("{column} > 0 AND {}", q.plausible("ds"));
        let answer = q.ask(&format!(
            "WITH m AS (SELECT product_id{scope}, median({column}) AS middle FROM \"{table}\" WHERE {condition} \
               GROUP BY product_id{scope} HAVING count(*) >= 4), \
             off AS (SELECT p.product_id, count(*) AS n, \
               max(CASE WHEN p.{column} > m.middle THEN p.{column} / m.middle ELSE m.middle / p.{column} END) AS ratio, \
               min({day}) AS day FROM (SELECT * FROM \"{table}\" WHERE {condition}) p \
               JOIN m ON p.product_id = m.product_id {same_seller} \
               WHERE p.{column} >= {PRICE_RATIO} * m.middle OR p.{column} * {PRICE_RATIO} <= m.middle \
               GROUP BY p.product_id) \
             SELECT product_id, n, ratio, day, n >= {BREAK_LINES} AS breaks FROM off ORDER BY n DESC, product_id",
            day = day_of("ds").replace("\"ds\"", "p.\"ds\""),
        ))?;
        let (mut slips, mut breaks) = ((0, vec![]), (0, vec![]));
        for row in 0..answer.rows() {
            let n = answer.count("n", row)?;
            let ratio = answer.number("ratio", row)?.unwrap_or_default();
            let id = answer.text("product_id", row)?.unwrap_or_default();
            let line =
                format!("{id} {}: ×{}, {n}", day_text(answer.whole("day", row)?), likely_factor(ratio));
            let (total, list) =
                if answer.whole("breaks", row)? == 1 { (1, &mut breaks) } else { (n, &mut slips) };
            list.0 += total;
            if list.1.len() < EXAMPLES {
                list.1.push(line);
            }
        }
        if breaks.0 > 0 {
            let finding = Finding::new(FindingCode::PriceBreaks, Severity::Error, table, breaks.0);
            report.findings.push(finding.examples(breaks.1));
        }
        if slips.0 > 0 {
            let finding = Finding::new(FindingCode::PriceOutliers, Severity::Warning, table, slips.0);
            report.findings.push(finding.of(report.rows(table)).examples(slips.1));
        }
    }
    Ok(())
}

/// A ratio as text: the factor of a usual mistake (a ten, a dozen, a hundred, cents) when it is near one.
fn likely_factor(ratio: f64) -> String {
    let near = [10.0, 12.0, 24.0, 100.0, 144.0, 1000.0].into_iter().find(|f| (ratio / f - 1.0).abs() < 0.08);
    near.map_or_else(|| number_text((ratio * 10.0).round() / 10.0), |f| format!("{f}"))
}

/// Finds tables with several currencies, and products with several units.
pub(crate) fn currencies_and_units(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for table in ["sales", "products", "prices"] {
        if !report.has(table, "currency") {
            continue;
        }
        let answer = q.ask(&format!(
            "SELECT currency, count(*) AS n FROM \"{table}\" WHERE currency IS NOT NULL GROUP BY currency \
             ORDER BY n DESC, currency"
        ))?;
        let own = &q.shop.settings().shop.currency;
        let first = answer.text("currency", 0)?.unwrap_or_default();
        if answer.rows() > 1 || (!own.is_empty() && first != *own) {
            let mut examples = answer.lines(|a, row| {
                Ok(format!("{}: {}", a.text("currency", row)?.unwrap_or_default(), a.count("n", row)?))
            })?;
            examples.truncate(2 * EXAMPLES);
            let n = answer.rows() as u64;
            report.findings.push(
                Finding::new(FindingCode::MixedCurrencies, Severity::Error, table, n).examples(examples),
            );
        }
    }
    for table in ["sales"] {
        if !report.has(table, "unit") {
            continue;
        }
        let answer = q.ask(&format!(
            "SELECT product_id, count(DISTINCT unit) AS units, min(unit) AS a, max(unit) AS b, count(*) OVER () AS n \
             FROM \"{table}\" WHERE unit IS NOT NULL GROUP BY product_id HAVING count(DISTINCT unit) > 1 \
             ORDER BY units DESC, product_id LIMIT {EXAMPLES}"
        ))?;
        if answer.rows() > 0 {
            let examples = answer.lines(|a, row| {
                let text = |c: &str| Ok::<_, crate::Error>(a.text(c, row)?.unwrap_or_default());
                Ok(format!("{}: {}, {}", text("product_id")?, text("a")?, text("b")?))
            })?;
            let n = answer.count("n", 0)?;
            report
                .findings
                .push(Finding::new(FindingCode::MixedUnits, Severity::Error, table, n).examples(examples));
        }
    }
    Ok(())
}
