//! What is wrong with the data themselves: missing values, new names, values never seen, wrong types.

use super::{DriftSettings, Verdict};
use crate::monitor::sketch::{Column, Profile, Values};
use serde::{Deserialize, Serialize};
use tradewind_core::distribution::{incomplete_beta, normal_cdf};

/// New names that a finding shows.
const NAMES_SHOWN: usize = 10;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityKind {
    /// The reference has the column and the current data do not.
    Gone,
    /// The current data have a column that the reference does not.
    Added,
    /// The column's values are of another kind than in the reference.
    OtherKind,
    /// More rows without a value.
    Missing,
    /// Values of the wrong type.
    WrongType,
    /// Infinite numbers.
    Infinite,
    /// Numbers outside the reference's range.
    OutOfRange,
    /// Numbers below zero where there were none.
    Negative,
    /// Empty texts.
    Empty,
    /// Names that the reference does not have.
    NewNames,
    /// One value alone where there were several.
    Constant,
}

/// Something that is wrong with a column's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityFinding {
    /// The column.
    pub column: String,
    /// What is wrong.
    pub kind: QualityKind,
    /// How bad it is.
    pub verdict: Verdict,
    /// The share of rows in the reference.
    pub reference: f64,
    /// The share of rows now.
    pub current: f64,
    /// What is seen: new names, the range left.
    pub details: Vec<String>,
}

/// Every finding, the worst first. A share is a finding when it rose by a percentage point (a tenth of a point for what
/// was never there) and chance does so once in ten thousand; by ten points it is a major one.
pub(super) fn findings(
    reference: &Profile,
    current: &Profile,
    settings: &DriftSettings,
) -> Vec<QualityFinding> {
    let mut out = Vec::new();
    let whole = |column: &str, kind, verdict, reference, current| QualityFinding {
        column: column.to_owned(),
        kind,
        verdict,
        reference,
        current,
        details: Vec::new(),
    };
    for r in reference.columns() {
        match current.column(&r.name) {
            None => out.push(whole(&r.name, QualityKind::Gone, Verdict::Major, 1.0, 0.0)),
            Some(c) if c.kind() != r.kind() => {
                out.push(QualityFinding {
                    details: vec![r.kind().name().to_owned(), c.kind().name().to_owned()],
                    ..whole(&r.name, QualityKind::OtherKind, Verdict::Major, 0.0, 1.0)
                });
            }
            Some(c) => of_column(r, c, settings, &mut out),
        }
    }
    for c in current.columns().iter().filter(|c| reference.column(&c.name).is_none()) {
        out.push(whole(&c.name, QualityKind::Added, Verdict::Moderate, 0.0, 1.0));
    }
    out.sort_by(|a, b| {
        b.verdict
            .cmp(&a.verdict)
            .then((b.current - b.reference).abs().total_cmp(&(a.current - a.reference).abs()))
            .then(a.column.cmp(&b.column))
            .then(a.kind.cmp(&b.kind))
    });
    out
}

fn of_column(r: &Column, c: &Column, settings: &DriftSettings, out: &mut Vec<QualityFinding>) {
    if r.rows == 0 || c.rows == 0 {
        return;
    }
    let mut rose = |kind, before: u64, now: u64, details: Vec<String>| {
        if let Some(verdict) = risen((before, r.rows), (now, c.rows)) {
            out.push(QualityFinding {
                column: r.name.clone(),
                kind,
                verdict,
                reference: before as f64 / r.rows as f64,
                current: now as f64 / c.rows as f64,
                details,
            });
        }
    };
    rose(QualityKind::Missing, r.missing, c.missing, Vec::new());
    rose(QualityKind::WrongType, r.faults, c.faults, Vec::new());
    let mut constant = false;
    match (&r.values, &c.values) {
        (
            Values::Number { infinite: i, negatives: n, moments: rm, .. },
            Values::Number { infinite, negatives, moments: cm, quantiles, .. },
        ) => {
            rose(QualityKind::Infinite, *i, *infinite, Vec::new());
            if *n == 0 {
                rose(QualityKind::Negative, 0, *negatives, Vec::new());
            }
            if rm.n > 0 && cm.n > 0 {
                let ranked = quantiles.ranked();
                let share = ranked.share_below(rm.min) + (1.0 - ranked.cdf(rm.max));
                let outside = (share * cm.n as f64).round() as u64;
                let range = format!("{} to {}", super::shown(rm.min), super::shown(rm.max));
                let now = format!("{} to {}", super::shown(cm.min), super::shown(cm.max));
                rose(QualityKind::OutOfRange, 0, outside, vec![range, now]);
                constant = rm.min < rm.max && cm.min == cm.max;
            }
        }
        (Values::Category { empty: e, frequent: rf }, Values::Category { empty, frequent: cf }) => {
            rose(QualityKind::Empty, *e, *empty, Vec::new());
            // Where the reference could not count all its names, one that is missing there may have come this often.
            let hidden = rf.missed() as f64 / rf.n().max(1) as f64;
            let new: Vec<(&str, u64)> = cf
                .top(usize::MAX)
                .into_iter()
                .filter(|(name, count)| rf.count(name) == 0 && *count as f64 / cf.n() as f64 > hidden * 2.0)
                .collect();
            let rows = new.iter().map(|(_, count)| count).sum();
            let names = new.iter().take(NAMES_SHOWN).map(|(name, _)| (*name).to_owned()).collect();
            rose(QualityKind::NewNames, 0, rows, names);
            constant = rf.len() > 1 && cf.len() == 1;
        }
        _ => {}
    }
    if constant && c.present() >= settings.rows_min {
        out.push(QualityFinding {
            column: r.name.clone(),
            kind: QualityKind::Constant,
            verdict: Verdict::Major,
            reference: 0.0,
            current: 1.0,
            details: Vec::new(),
        });
    }
}

/// Whether a share rose by more than chance and by more than matters.
fn risen((before, n): (u64, u64), (now, m): (u64, u64)) -> Option<Verdict> {
    const SHARE_MIN: f64 = 0.01;
    const SHARE_NEW_MIN: f64 = 0.001;
    const SHARE_MAJOR: f64 = 0.1;
    const P_MAX: f64 = 1e-4;
    const COUNT_MAX: f64 = 10_000.0;
    let (n, m) = (n as f64, m as f64);
    let (p, q) = (before as f64 / n, now as f64 / m);
    let rise = q - p;
    if rise < if before == 0 { SHARE_NEW_MIN } else { SHARE_MIN } {
        return None;
    }
    // How likely so many of all cases fall to the current rows if they fall anywhere alike.
    let (cases, part) = ((before + now) as f64, m / (n + m));
    let chance = if cases <= COUNT_MAX {
        incomplete_beta(part, 1.0 - part, now as f64, before as f64 + 1.0)
    } else {
        normal_cdf((cases * part - now as f64) / (cases * part * (1.0 - part)).sqrt())
    };
    if chance > P_MAX {
        return None;
    }
    Some(if rise >= SHARE_MAJOR { Verdict::Major } else { Verdict::Moderate })
}
