//! What the days of each product tell: unusual days, silences, gaps.
//!
//! The daily totals of all products are grouped and sorted by the query engine, which spills to disk when it must, and
//! pass through here product by product, so memory holds the history of one product only.

use super::question::{EXAMPLES, Questions, day_of, day_text, number_text, shorten};
use super::sales::SOLD;
use super::{Finding, FindingCode, QualityReport, Severity};
use crate::error::{Error, Result};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};

/// Days of sales a product needs before one of them can be called unusual.
const OUTLIER_DAYS_MIN: usize = 10;

/// A day is unusual when its ratio to the product's median is beyond the usual ratio (the median of all days' ratios)
/// to this power. On a logarithmic scale that is 8 median absolute deviations: 5.4 robust standard deviations.
const OUTLIER_POWER: i32 = 8;

/// The usual ratio is taken to be at least this, so that a day must be 1.3⁸ ≈ 8 times the median of a product that
/// sells the same every day.
const RATIO_MIN: f64 = 1.3;

/// Days of sales a product needs to be called a steady seller.
const STEADY_DAYS_MIN: usize = 30;

/// The share of the shop's days on which a steady seller sells, outside its longest silence.
const STEADY_SHARE: f64 = 0.8;

/// Days of the shop that a steady seller must be silent for before it is suspicious.
const SILENT_DAYS_MIN: usize = 7;

/// Looks at the daily totals of each product.
pub(crate) fn histories(q: &Questions, report: &mut QualityReport) -> Result<()> {
    if report.rows("sales") == 0 {
        return Ok(());
    }
    let (day, plausible) = (day_of("ds"), q.plausible("ds"));
    let calendar =
        q.ask(&format!("SELECT {day} AS day FROM sales WHERE {plausible} GROUP BY {day} ORDER BY day"))?;
    let calendar = calendar.wholes("day")?;
    let mut found = Found { calendar, ..Found::default() };
    let mut product = Product::default();
    q.snapshot.each(
        &format!(
            "SELECT product_id, {day} AS day, coalesce(sum(quantity) FILTER (WHERE {SOLD}), 0.0) AS units FROM sales \
             WHERE {plausible} GROUP BY product_id, {day} ORDER BY product_id, day"
        ),
        |batch| {
            let lacking = || Error::Unexpected("an answer has other columns than asked for".into());
            let ids = batch.column(0).as_string_opt::<i32>().ok_or_else(lacking)?;
            let days = batch.column(1).as_primitive_opt::<Int64Type>().ok_or_else(lacking)?;
            let units = batch.column(2).as_primitive_opt::<Float64Type>().ok_or_else(lacking)?;
            for row in 0..batch.num_rows() {
                let id = if ids.is_valid(row) { ids.value(row) } else { "" };
                if product.id != id {
                    found.take(&product);
                    product = Product { id: id.to_owned(), days: vec![] };
                }
                product.days.push((days.value(row), units.value(row)));
            }
            Ok(())
        },
    )?;
    found.take(&product);
    found.tell(report);
    Ok(())
}

/// A product's days with a row, in order, each with the units sold.
#[derive(Default)]
struct Product {
    id: String,
    days: Vec<(i64, f64)>,
}

/// What all products together showed.
#[derive(Default)]
struct Found {
    /// The days on which the shop sold anything.
    calendar: Vec<i64>,
    products: u64,
    with_gaps: u64,
    missing: u64,
    span: u64,
    n_outliers: u64,
    /// Ratio to the median, product, day, units, median.
    outliers: Vec<(f64, String, i64, f64, f64)>,
    n_silences: u64,
    /// Days of the shop, product, first and last silent day.
    silences: Vec<(usize, String, i64, i64)>,
}

impl Found {
    fn take(&mut self, product: &Product) {
        let (Some(first), Some(last)) = (product.days.first(), product.days.last()) else { return };
        let span = self.place(last.0) - self.place(first.0) + 1;
        self.products += 1;
        self.span += span as u64;
        self.missing += span.saturating_sub(product.days.len()) as u64;
        self.with_gaps += u64::from(span > product.days.len());
        let sold: Vec<(i64, f64)> = product.days.iter().copied().filter(|d| d.1 > 0.0).collect();
        self.take_outliers(&product.id, &sold);
        self.take_silence(&product.id, &sold);
    }

    /// Where a day stands among the days of the shop.
    fn place(&self, day: i64) -> usize {
        self.calendar.partition_point(|d| *d < day)
    }

    fn take_outliers(&mut self, id: &str, sold: &[(i64, f64)]) {
        if sold.len() < OUTLIER_DAYS_MIN {
            return;
        }
        let middle = median(sold.iter().map(|d| d.1).collect());
        let ratio = |units: f64| ((units + 1.0) / (middle + 1.0)).max((middle + 1.0) / (units + 1.0));
        let usual = median(sold.iter().map(|d| ratio(d.1)).collect()).max(RATIO_MIN);
        for (day, units) in sold.iter().filter(|d| d.1 > middle && ratio(d.1) > usual.powi(OUTLIER_POWER)) {
            self.n_outliers += 1;
            self.outliers.push((ratio(*units), id.to_owned(), *day, *units, middle));
        }
        self.outliers.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (&a.1, a.2).cmp(&(&b.1, b.2))));
        self.outliers.truncate(EXAMPLES);
    }

    fn take_silence(&mut self, id: &str, sold: &[(i64, f64)]) {
        let steps = || sold.windows(2).map(|w| (self.place(w[1].0) - self.place(w[0].0), w[0].0, w[1].0));
        // Of equal silences the first.
        let longest = steps().rev().max_by_key(|s| s.0);
        let Some((step, before, after)) = longest.filter(|s| s.0 > SILENT_DAYS_MIN) else { return };
        let span = self.place(sold[sold.len() - 1].0) - self.place(sold[0].0) + 1;
        let steady =
            sold.len() >= STEADY_DAYS_MIN && sold.len() as f64 >= STEADY_SHARE * (span - (step - 1)) as f64;
        if steady {
            self.n_silences += 1;
            self.silences.push((step - 1, id.to_owned(), before + 1, after - 1));
            self.silences.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (&a.1, a.2).cmp(&(&b.1, b.2))));
            self.silences.truncate(EXAMPLES);
        }
    }

    fn tell(self, report: &mut QualityReport) {
        if self.missing > 0 {
            let examples = vec![format!("{} / {}", self.with_gaps, self.products)];
            let finding = Finding::new(FindingCode::ProductGaps, Severity::Info, "sales", self.missing);
            report.findings.push(finding.of(self.span).examples(examples));
        }
        if self.n_outliers > 0 {
            let line = |(_, id, day, units, middle): (f64, String, i64, f64, f64)| {
                let (id, day) = (shorten(&id), day_text(day));
                format!("{id} {day}: {} (median {})", number_text(units), number_text(middle))
            };
            let finding = Finding::new(FindingCode::Outliers, Severity::Warning, "sales", self.n_outliers);
            report.findings.push(finding.examples(self.outliers.into_iter().map(line).collect()));
        }
        if self.n_silences > 0 {
            let line = |(days, id, first, last): (usize, String, i64, i64)| {
                format!("{} {} … {}: {days}", shorten(&id), day_text(first), day_text(last))
            };
            let finding = Finding::new(FindingCode::ZeroRuns, Severity::Warning, "sales", self.n_silences);
            report.findings.push(finding.examples(self.silences.into_iter().map(line).collect()));
        }
    }
}

/// The median; the mean of the two in the middle for an even number. 0 for none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half)) {
        (_, None) => 0.0,
        (1, Some(m)) => *m,
        (_, Some(m)) => (values[half - 1] + m) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
