//! Whether live data still are what the model was trained on.
//!
//! [`compare`] takes two [`Profile`]s and gives a [`DriftReport`]: a verdict for each column, the worst first, and what is
//! wrong with the quality of the data. A column has drifted when the *effect* of a deciding measure is as large as its
//! threshold **and** chance is no likely cause; the p-value alone never decides, so that a large sample in which nothing
//! of note changed is not flagged, and the effect is without what chance adds, so that a small sample is not flagged for
//! its noise. Below [`DriftSettings::rows_min`] rows nothing is said.
//!
//! | measure | decides by default | moderate from | major from | what that is for a shift of normal values |
//! |---|---|---|---|---|
//! | PSI | yes | 0.1 | 0.25 | 0.32 and 0.5 standard deviations |
//! | Wasserstein / standard deviation | numbers | 0.2 | 0.5 | 0.2 and 0.5 |
//! | Kolmogorov–Smirnov | no | 0.1 | 0.2 | 0.25 and 0.5 |
//! | Jensen–Shannon | no | 0.1 | 0.2 | 0.24 and 0.48 |
//! | Cramér's V | names | 0.1 | 0.2 | |
//!
//! Columns of numbers are cut at the deciles of the reference, a value that fills a decile by itself being a cell of its
//! own; names are the reference's most frequent ones and all others together. Columns with personal data should not be
//! profiled: a report names frequent values.

mod measure;
mod quality;

pub use measure::{Distance, Shares, chi_square, jensen_shannon, kolmogorov_smirnov, psi, wasserstein};
pub use quality::{QualityFinding, QualityKind};

use super::sketch::{Column, Frequent, Profile, Quantiles, Ranked, ValueKind, Values};
use crate::correction::Correction;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::ErrorKind;

/// The version of the report's written form.
pub const DRIFT_FORMAT: u32 = 1;

/// Names of a column that are cells of their own; the others are one cell.
const NAMES_MAX: usize = 30;

/// A measure of distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// [`psi`].
    Psi,
    /// [`wasserstein`], in standard deviations; of numbers only.
    Wasserstein,
    /// [`kolmogorov_smirnov`]; of numbers only.
    KolmogorovSmirnov,
    /// [`jensen_shannon`].
    JensenShannon,
    /// Cramér's V of [`chi_square`].
    CramersV,
}

impl Measure {
    const ALL: [Self; 5] =
        [Self::Psi, Self::Wasserstein, Self::KolmogorovSmirnov, Self::JensenShannon, Self::CramersV];

    /// The word in reports and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::Wasserstein => "wasserstein",
            Self::KolmogorovSmirnov => "kolmogorov_smirnov",
            Self::JensenShannon => "jensen_shannon",
            Self::CramersV => "cramers_v",
        }
    }

    /// The effects from which a drift is moderate and major.
    pub fn usual_thresholds(self) -> Thresholds {
        let (moderate, major) = match self {
            Self::Psi => (0.1, 0.25),
            Self::Wasserstein => (0.2, 0.5),
            Self::KolmogorovSmirnov | Self::JensenShannon | Self::CramersV => (0.1, 0.2),
        };
        Thresholds { moderate, major }
    }
}

/// From which effect on a drift is called so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Worth a look.
    pub moderate: f64,
    /// Worth a new model.
    pub major: f64,
}

/// What a column is to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// What goes into the model.
    #[default]
    Feature,
    /// What it answers.
    Prediction,
    /// What came.
    Target,
}

/// How a comparison decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftSettings {
    /// The measures that decide on columns of numbers (PSI, Wasserstein).
    pub numbers: Vec<Measure>,
    /// The measures that decide on columns of names (PSI, Cramér's V).
    pub categories: Vec<Measure>,
    /// Thresholds other than [`Measure::usual_thresholds`].
    pub thresholds: BTreeMap<Measure, Thresholds>,
    /// Rows with a value that each side needs, 200; at least 20.
    pub rows_min: u64,
    /// The corrected p-value that chance must not exceed, 0.01.
    pub p_max: f64,
    /// How p-values are corrected for the number of columns.
    pub correction: Correction,
    /// What columns are to the model; others are features.
    pub roles: BTreeMap<String, ColumnRole>,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            numbers: vec![Measure::Psi, Measure::Wasserstein],
            categories: vec![Measure::Psi, Measure::CramersV],
            thresholds: BTreeMap::new(),
            rows_min: 200,
            p_max: 0.01,
            correction: Correction::Holm,
            roles: BTreeMap::new(),
        }
    }
}

impl DriftSettings {
    /// The thresholds of a measure.
    pub fn thresholds_of(&self, measure: Measure) -> Thresholds {
        self.thresholds.get(&measure).copied().unwrap_or_else(|| measure.usual_thresholds())
    }

    fn check(&self) -> Result<()> {
        let wrong = |text: String, hint: &str| Err(Error::asked(ErrorKind::InvalidParams, text, hint));
        if self.rows_min < 20 {
            return wrong(format!("drift from {} rows on", self.rows_min), "give 20 rows or more");
        }
        if !(self.p_max > 0.0 && self.p_max < 1.0) {
            return wrong(format!("a p-value of {} at most", self.p_max), "give more than 0 and less than 1");
        }
        if self.categories.iter().any(|m| matches!(m, Measure::Wasserstein | Measure::KolmogorovSmirnov)) {
            return wrong(
                "names have no order, so Wasserstein and Kolmogorov-Smirnov cannot decide on them".to_owned(),
                "take psi, jensen_shannon or cramers_v",
            );
        }
        if self.numbers.is_empty() || self.categories.is_empty() {
            return wrong("no measure decides".to_owned(), "name one or more for numbers and for categories");
        }
        match self.thresholds.iter().find(|(_, t)| !(t.moderate > 0.0 && t.major >= t.moderate)) {
            Some((m, t)) => wrong(
                format!("thresholds {} and {} for {}", t.moderate, t.major, m.name()),
                "give two above 0, the second no smaller than the first",
            ),
            None => Ok(()),
        }
    }
}

/// What is said of a column, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Too few rows to say.
    TooFew,
    /// No change of note.
    Stable,
    /// A change worth a look.
    Moderate,
    /// A change worth a new model.
    Major,
}

/// One measure of a column.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub measure: Measure,
    /// Whether it decides.
    pub decides: bool,
    /// The distance; numbers that are not defined are null in JSON.
    #[serde(flatten)]
    pub distance: Distance,
    /// Its thresholds.
    pub thresholds: Thresholds,
}

/// The same cell in both profiles, for a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What lies in it: `≤ 4.5`, a name, `other`.
    pub label: String,
    /// The reference's share.
    pub reference: f64,
    /// The current share.
    pub current: f64,
}

/// A column in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// The share without a value.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub missing_share: f64,
    /// About how many different values.
    pub distinct: f64,
    /// Mean; of numbers.
    pub mean: Option<f64>,
    /// Standard deviation; of numbers.
    pub deviation: Option<f64>,
    /// Median; of numbers.
    pub median: Option<f64>,
}

/// What became of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// Its name.
    pub column: String,
    /// What it is to the model.
    pub role: ColumnRole,
    /// What its values are.
    pub kind: ValueKind,
    /// What is said of it.
    pub verdict: Verdict,
    /// The measure that decided: of the deciding ones that whose effect is largest against its threshold.
    pub by: Option<Measure>,
    /// The largest effect of a deciding measure over its moderate threshold: 1 and more is drift if chance is no cause.
    pub severity: f64,
    /// The p-value that guards against noise: of Kolmogorov–Smirnov for numbers, of χ² for names.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p: f64,
    /// The same, corrected for the number of columns.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p_adjusted: f64,
    /// Every measure.
    pub measures: Vec<Measured>,
    /// The reference in numbers.
    pub reference: Summary,
    /// The current data in numbers.
    pub current: Summary,
    /// Both in cells.
    pub cells: Vec<Cell>,
}

/// What changed between two profiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The version of this form, [`DRIFT_FORMAT`].
    pub format: u32,
    /// Rows of the reference.
    pub reference_rows: u64,
    /// Rows now.
    pub current_rows: u64,
    /// The columns that both have, the worst first.
    pub columns: Vec<ColumnDrift>,
    /// What is wrong with the data themselves, the worst first.
    pub quality: Vec<QualityFinding>,
}

impl DriftReport {
    /// Columns with at least this verdict.
    pub fn at_least(&self, verdict: Verdict) -> impl Iterator<Item = &ColumnDrift> {
        self.columns.iter().filter(move |c| c.verdict >= verdict)
    }

    /// The share of the columns on which something can be said that have drifted; 0 when there are none.
    pub fn drifted_share(&self) -> f64 {
        let told = self.at_least(Verdict::Stable).count();
        if told == 0 { 0.0 } else { self.at_least(Verdict::Moderate).count() as f64 / told as f64 }
    }
}

/// Compares the current profile with the reference.
///
/// ```
/// use tradewind_ops::monitor::drift::{DriftSettings, Verdict, compare};
/// use tradewind_ops::monitor::sketch::{ColumnSpec, ProfileSettings, Profiler};
/// let profile = |shift: f64| {
///     let mut p = Profiler::new(vec![ColumnSpec::number("price")], ProfileSettings::default()).unwrap();
///     let prices: Vec<f64> = (0..5_000).map(|i| f64::from(i * 37 % 1_000) + shift).collect();
///     p.push_numbers("price", &prices).unwrap();
///     p.finish()
/// };
/// let report = compare(&profile(0.0), &profile(200.0), &DriftSettings::default()).unwrap();
/// assert_eq!(report.columns[0].verdict, Verdict::Major);
/// ```
///
/// # Errors
/// Settings outside their range.
pub fn compare(reference: &Profile, current: &Profile, settings: &DriftSettings) -> Result<DriftReport> {
    settings.check()?;
    let mut columns: Vec<ColumnDrift> = reference
        .columns()
        .iter()
        .filter_map(|r| {
            let c = current.column(&r.name).filter(|c| c.kind() == r.kind())?;
            Some(measured(r, c, settings))
        })
        .collect();
    // Columns of too few rows are no tests.
    let p: Vec<f64> =
        columns.iter().map(|c| if c.verdict == Verdict::TooFew { f64::NAN } else { c.p }).collect();
    for (column, p) in columns.iter_mut().zip(settings.correction.adjust(&p)) {
        column.p_adjusted = p;
        decide(column, settings);
    }
    columns.sort_by(|a, b| {
        b.verdict.cmp(&a.verdict).then(b.severity.total_cmp(&a.severity)).then(a.column.cmp(&b.column))
    });
    Ok(DriftReport {
        format: DRIFT_FORMAT,
        reference_rows: reference.rows(),
        current_rows: current.rows(),
        columns,
        quality: quality::findings(reference, current, settings),
    })
}

fn decide(column: &mut ColumnDrift, settings: &DriftSettings) {
    let worst = column
        .measures
        .iter()
        .filter(|m| m.decides && m.distance.effect.is_finite())
        .max_by(|a, b| severity(a).total_cmp(&severity(b)));
    let Some(worst) = worst else { return };
    column.by = Some(worst.measure);
    column.severity = severity(worst);
    if column.verdict == Verdict::TooFew {
        return;
    }
    let deciding = column.measures.iter().filter(|m| m.decides);
    let over = |of: fn(&Thresholds) -> f64| deciding.clone().any(|m| m.distance.effect >= of(&m.thresholds));
    column.verdict = match column.p_adjusted <= settings.p_max {
        true if over(|t| t.major) => Verdict::Major,
        true if over(|t| t.moderate) => Verdict::Moderate,
        _ => Verdict::Stable,
    };
}

fn severity(measured: &Measured) -> f64 {
    measured.distance.effect / measured.thresholds.moderate
}

/// Everything but the verdict, which needs all columns.
fn measured(reference: &Column, current: &Column, settings: &DriftSettings) -> ColumnDrift {
    let (cells, shares, numbers) = match (&reference.values, &current.values) {
        (Values::Number { quantiles: r, .. }, Values::Number { quantiles: c, .. }) => {
            let (n, m) = (counted(r), counted(c));
            let (r, c) = (r.ranked(), c.ranked());
            let cells = number_cells(&r, &c);
            let shares = shares(&cells, n, m);
            let ks = kolmogorov_smirnov(&r, &c, n, m);
            (cells, shares, Some((ks, wasserstein(&r, &c, n, m))))
        }
        (Values::Category { frequent: r, .. }, Values::Category { frequent: c, .. }) => {
            let cells = name_cells(r, c);
            let shares = shares(&cells, r.n() as f64, c.n() as f64);
            (cells, shares, None)
        }
        _ => (Vec::new(), Shares::of_counts(&[], &[]), None),
    };
    let decides = match reference.kind() {
        ValueKind::Number => &settings.numbers,
        ValueKind::Category => &settings.categories,
    };
    let chi = chi_square(&shares);
    let measures = Measure::ALL
        .into_iter()
        .filter_map(|measure| {
            let distance = match measure {
                Measure::Psi => psi(&shares),
                Measure::JensenShannon => jensen_shannon(&shares),
                Measure::CramersV => chi,
                Measure::KolmogorovSmirnov => numbers?.0,
                Measure::Wasserstein => numbers?.1,
            };
            let thresholds = settings.thresholds_of(measure);
            Some(Measured { measure, decides: decides.contains(&measure), distance, thresholds })
        })
        .collect();
    let few = reference.present().min(current.present()) < settings.rows_min;
    ColumnDrift {
        column: reference.name.clone(),
        role: settings.roles.get(&reference.name).copied().unwrap_or_default(),
        kind: reference.kind(),
        verdict: if few { Verdict::TooFew } else { Verdict::Stable },
        by: None,
        severity: 0.0,
        p: numbers.map_or(chi.p, |(ks, _)| ks.p),
        p_adjusted: f64::NAN,
        measures,
        reference: summary(reference),
        current: summary(current),
        cells,
    }
}

/// How many values a sketch may count as. Its error is not that of chance and does not shrink with more rows, so a
/// sketch with rank error ε counts as no more than `1/(4ε²)` values, whose own error is as large.
fn counted(quantiles: &Quantiles) -> f64 {
    let (n, error) = (quantiles.n() as f64, quantiles.rank_error());
    if error > 0.0 { n.min(0.25 / (error * error)) } else { n }
}

fn shares(cells: &[Cell], n: f64, m: f64) -> Shares {
    let (r, c): (Vec<f64>, Vec<f64>) = cells.iter().map(|cell| (cell.reference, cell.current)).unzip();
    if r.iter().all(|s| s.is_finite()) && c.iter().all(|s| s.is_finite()) {
        Shares::of_shares(&r, &c, n, m)
    } else {
        Shares::of_counts(&[], &[])
    }
}

/// Cells between the deciles of the reference. A value that two deciles share is a cell of its own.
fn number_cells(reference: &Ranked, current: &Ranked) -> Vec<Cell> {
    if reference.n() == 0 || current.n() == 0 {
        return Vec::new();
    }
    let deciles: Vec<f64> = (1..10).map(|i| reference.quantile(f64::from(i) / 10.0)).collect();
    let mut cells = Vec::new();
    let (mut r_before, mut c_before) = (0.0, 0.0);
    let mut cut = |label: String, r: f64, c: f64| {
        cells.push(Cell { label, reference: r - r_before, current: c - c_before });
        (r_before, c_before) = (r, c);
    };
    let mut i = 0;
    while i < deciles.len() {
        let x = deciles[i];
        let same = deciles[i..].iter().take_while(|d| **d == x).count();
        if same > 1 {
            cut(format!("< {}", shown(x)), reference.share_below(x), current.share_below(x));
            cut(format!("= {}", shown(x)), reference.cdf(x), current.cdf(x));
        } else {
            cut(format!("≤ {}", shown(x)), reference.cdf(x), current.cdf(x));
        }
        i += same;
    }
    cut(format!("> {}", shown(deciles[8])), 1.0, 1.0);
    cells.retain(|cell| cell.reference > 0.0 || cell.current > 0.0);
    cells
}

/// A number in few digits.
fn shown(x: f64) -> String {
    let text = format!("{x:.4e}");
    let short: f64 = text.parse().unwrap_or(x);
    short.to_string()
}

fn name_cells(reference: &Frequent, current: &Frequent) -> Vec<Cell> {
    if reference.n() == 0 || current.n() == 0 {
        return Vec::new();
    }
    let (n, m) = (reference.n() as f64, current.n() as f64);
    let mut cells: Vec<Cell> = reference
        .top(NAMES_MAX)
        .into_iter()
        .map(|(name, count)| Cell {
            label: name.to_owned(),
            reference: count as f64 / n,
            current: current.count(name) as f64 / m,
        })
        .collect();
    let rest = |of: fn(&Cell) -> f64| (1.0 - cells.iter().map(of).sum::<f64>()).max(0.0);
    // What rounding leaves of nothing is nothing.
    let small = |share: f64, count: f64| if share * count < 0.5 { 0.0 } else { share };
    let (r, c) = (small(rest(|c| c.reference), n), small(rest(|c| c.current), m));
    if r > 0.0 || c > 0.0 {
        cells.push(Cell { label: "other".to_owned(), reference: r, current: c });
    }
    cells
}

fn summary(column: &Column) -> Summary {
    let numbers = match &column.values {
        Values::Number { moments, quantiles, .. } if moments.n > 0 => Some((moments, quantiles)),
        _ => None,
    };
    Summary {
        rows: column.rows,
        missing_share: column.missing_share(),
        distinct: column.distinct.estimate().round(),
        mean: numbers.map(|(m, _)| m.mean),
        deviation: numbers.map(|(m, _)| m.deviation()).filter(|d| d.is_finite()),
        median: numbers.map(|(_, q)| q.ranked().quantile(0.5)),
    }
}

#[cfg(test)]
mod tests;
