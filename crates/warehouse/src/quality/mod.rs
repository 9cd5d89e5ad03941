//! Are the data clean? A report on everything that is strange in a shop, and what to do about it.
//!
//! [`check`] reads the raw tables by SQL, so that it holds for tens of millions of rows, and changes nothing. What it
//! finds comes with numbers and examples; the words ([`FindingCode::title`], meaning, remedy) are in English and Chinese.
//! Columns that hold personal data are counted and never shown.

mod catalogue;
mod days;
mod histories;
mod imports;
mod profile;
mod question;
mod sales;
mod words;

use crate::error::Result;
use crate::shop::Shop;
use question::Questions;
use serde::Serialize;
use tradewind_core::Run;

pub use imports::ImportProfile;
pub use profile::{ColumnProfile, TableProfile};
pub(crate) use sales::SOLD;
pub use words::Bilingual;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Answers will be wrong unless something is done.
    Error,
    /// Answers may be wrong; someone should look.
    Warning,
    /// Good to know; the cleaning step deals with it.
    Info,
}

/// What is strange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// There are no sales.
    NoSales,
    /// Rows were refused by imports.
    RejectedRows,
    /// Text was decoded from another encoding than UTF-8.
    ConvertedEncoding,
    /// Dates were written in more than one way.
    MixedDateFormats,
    /// Sales lines that repeat another in every column.
    Duplicates,
    /// Sales lines that an earlier import brought too.
    RepeatedAcrossImports,
    /// Days without any sale of any product.
    MissingDays,
    /// A weekday on which the shop never sells.
    ClosedWeekdays,
    /// Days without a row inside products' lives.
    ProductGaps,
    /// Steady sellers that suddenly sell nothing for long.
    ZeroRuns,
    /// Products counted with no stock.
    StockOuts,
    /// Stock below zero.
    NegativeStock,
    /// Prices below zero.
    NegativePrices,
    /// Prices of zero.
    ZeroPrices,
    /// Returned lines.
    Returns,
    /// Cancelled lines.
    Cancellations,
    /// Days far above what a product usually sells.
    Outliers,
    /// Single prices far from the product's usual one.
    PriceOutliers,
    /// Products whose price level jumps, as by another unit or currency.
    PriceBreaks,
    /// Several currencies in one table.
    MixedCurrencies,
    /// Several units for one product.
    MixedUnits,
    /// Products in the catalogue that were never sold.
    ProductsWithoutSales,
    /// Products sold that the catalogue lacks.
    SalesWithoutProduct,
    /// Imports that brought days older than those already there.
    LateData,
    /// Dates in the future.
    FutureDates,
    /// Dates before 1990.
    OldDates,
    /// Dates that stand for "unknown".
    PlaceholderDates,
    /// Text damaged by a wrong encoding.
    DamagedText,
    /// Product ids that differ only in case, width or spaces.
    NearDuplicateIds,
}

impl FindingCode {
    /// The code as in JSON, as `missing_days`.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// A few words that name it.
    pub fn title(self) -> Bilingual {
        words::words(self).title
    }

    /// What it means.
    pub fn meaning(self) -> Bilingual {
        words::words(self).meaning
    }

    /// What to do about it.
    pub fn remedy(self) -> Bilingual {
        words::words(self).remedy
    }
}

/// Something strange in the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// How bad.
    pub severity: Severity,
    /// In which table.
    pub table: String,
    /// How often, in the unit that the meaning says: rows, days or products.
    pub count: u64,
    /// Out of how many, where that makes sense.
    pub of: Option<u64>,
    /// A few cases: ids, dates, numbers. Never personal data.
    pub examples: Vec<String>,
    /// A few words that name it.
    pub title: Bilingual,
    /// What it means.
    pub meaning: Bilingual,
    /// What to do.
    pub remedy: Bilingual,
}

impl Finding {
    pub(crate) fn new(code: FindingCode, severity: Severity, table: &str, count: u64) -> Self {
        let words = words::words(code);
        Self {
            code,
            severity,
            table: table.to_owned(),
            count,
            of: None,
            examples: vec![],
            title: words.title,
            meaning: words.meaning,
            remedy: words.remedy,
        }
    }

    pub(crate) fn of(mut self, total: u64) -> Self {
        self.of = Some(total);
        self
    }

    pub(crate) fn examples(mut self, examples: Vec<String>) -> Self {
        self.examples = examples;
        self
    }
}

/// The answer of [`check`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityReport {
    /// The moment that counts as now, in milliseconds since 1970.
    pub as_of_ms: i64,
    /// Every table that has rows.
    pub tables: Vec<TableProfile>,
    /// Every import, oldest first.
    pub imports: Vec<ImportProfile>,
    /// What is strange: worst first.
    pub findings: Vec<Finding>,
}

impl QualityReport {
    /// The findings of one code.
    pub fn of(&self, code: FindingCode) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.code == code)
    }

    /// How many findings are of that severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }
}

/// Looks through the whole shop.
///
/// # Errors
/// Faults of the disk and of queries, and [`tradewind_core::Error::Interrupted`] when the run was cancelled.
pub fn check(run: &Run, shop: &Shop) -> Result<QualityReport> {
    check_as_of(run, shop, chrono::Local::now().naive_local().and_utc().timestamp_millis())
}

/// As [`check`], with the moment that counts as now given: milliseconds since 1970 in the shop's local time.
pub fn check_as_of(run: &Run, shop: &Shop, as_of_ms: i64) -> Result<QualityReport> {
    type Step = fn(&Questions, &mut QualityReport) -> Result<()>;
    const STEPS: &[Step] = &[
        profile::tables,
        imports::imports,
        imports::late_data,
        sales::lines,
        sales::repeated,
        sales::prices,
        sales::currencies_and_units,
        days::calendar,
        histories::histories,
        days::dates,
        catalogue::products,
        catalogue::near_duplicate_ids,
        catalogue::stock,
        catalogue::damaged_text,
    ];
    let questions = Questions::new(shop, as_of_ms)?;
    let mut report = QualityReport { as_of_ms, tables: vec![], imports: vec![], findings: vec![] };
    run.progress().begin("check", STEPS.len() as u64);
    for step in STEPS {
        run.check()?;
        step(&questions, &mut report)?;
        run.progress().advance(1);
    }
    run.progress().end();
    report.findings.sort_by(|a, b| (a.severity, a.code, &a.table).cmp(&(b.severity, b.code, &b.table)));
    Ok(report)
}
