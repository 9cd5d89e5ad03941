//! Sales lines: repeats, prices, returns, currencies and units.

use super::question::{Answer, EXAMPLES, Questions, day_of, day_text, number_text, shorten};
use super::{Finding, FindingCode, QualityReport, Severity};
use crate::error::Result;
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use tradewind_core::tables::TABLES;

/// Lines that are plain sales.
pub(crate) const SOLD: &str =
    "(quantity > 0 AND (status IS NULL OR (status <> 'returned' AND status <> 'cancelled')))";

/// A price is off when it is this many times the product's median price, or this part of it.
const PRICE_RATIO: f64 = 8.0;

/// Off prices of a product from which on they are a break of its level rather than slips.
const BREAK_LINES: i64 = 3;

/// Lines with a price that a product needs before one of them can be called off.
const PRICE_LINES_MIN: i64 = 4;

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

/// Finds prices far from the product's usual one: slips, and levels that jump as by another unit or currency.
pub(crate) fn prices(q: &Questions, report: &mut QualityReport) -> Result<()> {
    for (table, column, seller) in
        [("sales", "unit_price", "''"), ("prices", "price", "coalesce(seller, '')")]
    {
        if !report.has(table, column) {
            continue;
        }
        let day = day_of("ds");
        let plausible = q.plausible("ds");
        let mut off = OffPrices::default();
        let mut product = PriceCounts::default();
        // Products have few different prices, so they are counted first and pass through here product by product.
        // Competitors have a level of their own.
        q.snapshot.each(
            &format!(
                "SELECT product_id, {seller} AS seller, {column} AS price, count(*) AS n, min({day}) AS day \
                 FROM \"{table}\" WHERE {column} > 0 AND {plausible} GROUP BY product_id, {seller}, {column} \
                 ORDER BY product_id, seller, price"
            ),
            |batch| {
                let lacking =
                    || crate::Error::Unexpected("an answer has other columns than asked for".into());
                let text = |i: usize| batch.column(i).as_string_opt::<i32>().ok_or_else(lacking);
                let whole = |i: usize| batch.column(i).as_primitive_opt::<Int64Type>().ok_or_else(lacking);
                let (ids, sellers, counts, days) = (text(0)?, text(1)?, whole(3)?, whole(4)?);
                let prices = batch.column(2).as_primitive_opt::<Float64Type>().ok_or_else(lacking)?;
                for row in 0..batch.num_rows() {
                    let (id, seller) = (ids.value(row), sellers.value(row));
                    if product.id != id || product.seller != seller {
                        off.take(&product);
                        product =
                            PriceCounts { id: id.to_owned(), seller: seller.to_owned(), prices: vec![] };
                    }
                    product.prices.push((prices.value(row), counts.value(row), days.value(row)));
                }
                Ok(())
            },
        )?;
        off.take(&product);
        if off.n_breaks > 0 {
            let finding = Finding::new(FindingCode::PriceBreaks, Severity::Error, table, off.n_breaks);
            report.findings.push(finding.examples(off.breaks.into_iter().map(|b| b.1).collect()));
        }
        if off.n_slips > 0 {
            let finding = Finding::new(FindingCode::PriceOutliers, Severity::Warning, table, off.n_slips);
            let examples = off.slips.into_iter().map(|s| s.1).collect();
            report.findings.push(finding.of(report.rows(table)).examples(examples));
        }
    }
    Ok(())
}

/// The prices of a product and seller in rising order: price, lines, first day.
#[derive(Default)]
struct PriceCounts {
    id: String,
    seller: String,
    prices: Vec<(f64, i64, i64)>,
}

/// What the prices of all products showed; the lists hold the number of lines and a text.
#[derive(Default)]
struct OffPrices {
    /// Products.
    n_breaks: u64,
    breaks: Vec<(i64, String)>,
    /// Lines.
    n_slips: u64,
    slips: Vec<(i64, String)>,
}

impl OffPrices {
    fn take(&mut self, product: &PriceCounts) {
        let lines: i64 = product.prices.iter().map(|p| p.1).sum();
        if lines < PRICE_LINES_MIN {
            return;
        }
        let mut before = 0;
        let middle = product.prices.iter().find(|p| {
            before += p.1;
            before * 2 >= lines
        });
        let Some(middle) = middle.map(|p| p.0) else { return };
        let ratio = |price: f64| if price > middle { price / middle } else { middle / price };
        let off: Vec<_> = product.prices.iter().filter(|p| ratio(p.0) >= PRICE_RATIO).collect();
        let n: i64 = off.iter().map(|p| p.1).sum();
        let worst = off.iter().map(|p| ratio(p.0)).fold(0.0, f64::max);
        let Some(day) = off.iter().map(|p| p.2).min() else { return };
        let line = format!("{} {}: ×{}, {n}", shorten(&product.id), day_text(day), likely_factor(worst));
        let list = if n >= BREAK_LINES {
            self.n_breaks += 1;
            &mut self.breaks
        } else {
            self.n_slips += n.unsigned_abs();
            &mut self.slips
        };
        list.push((n, line));
        list.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        list.truncate(EXAMPLES);
    }
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
