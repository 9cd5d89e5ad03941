//! Cases: one series at one origin, with its features and, where the next window is known, what happened.

use super::features::{Row, Subject};
use super::market::{Market, Scene};
use rayon::prelude::*;
use tradewind_core::{Direction, Panel, Result, Run};

/// What is known of a case beside its features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// The series' position in its panel.
    pub(crate) series: usize,
    /// The origin.
    pub(crate) t: usize,
    /// Steps since the first sale.
    pub(crate) age: usize,
    /// Units of the last window.
    pub(crate) last: f64,
    /// Units of the next window; NaN where it is not known whole.
    pub(crate) next: f64,
    /// Log change in the same windows a year ago, for the naive answer.
    pub(crate) year_ago: f64,
    /// Units of the window before the last.
    pub(crate) before: f64,
    /// How much the case counts.
    pub(crate) weight: f64,
    /// Whether it is of the few series that are asked about beside the many learnt from.
    pub(crate) beside: bool,
}

impl Case {
    /// The class of what happened: 0 falling, 1 steady, 2 rising.
    pub(crate) fn class(&self, threshold: f64) -> u8 {
        Direction::of(self.last, self.next, threshold) as u8
    }

    /// Log growth of what happened.
    pub(crate) fn growth(&self) -> f64 {
        ((self.next + 1.0) / (self.last + 1.0)).ln()
    }

    /// Whether the trend of the case is defined: both windows known and enough units in them.
    pub(crate) fn counts(&self, min_units: f64) -> bool {
        self.last + self.next >= min_units
    }
}

/// Cases with their features, in the order of series and origins.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) cases: Vec<Case>,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// The cases of all series at `scenes`. Series not sold before an origin have no case there, unless `all`. Of every
    /// `stride` cases one is kept, in a pattern that treats series and origins alike.
    pub(crate) fn build(
        run: &Run,
        panel: &Panel,
        market: &Market,
        scenes: &[Scene],
        stride: usize,
        weight: f64,
        all: bool,
    ) -> Result<Self> {
        let h = market.windows.h;
        run.progress().begin("features", panel.len() as u64);
        let parts: Vec<Vec<(Case, Row)>> = (0..panel.len())
            .into_par_iter()
            .map(|i| {
                run.check()?;
                let subject = Subject::new(panel, i, market);
                let track = &subject.track;
                let mut out = Vec::new();
                for (k, scene) in scenes.iter().enumerate() {
                    let t = scene.t;
                    if !all && (track.age(t) == 0 || (i + k) % stride != 0) {
                        continue;
                    }
                    let change = |at: Option<usize>| {
                        at.filter(|at| *at >= h).map_or(f64::NAN, |at| {
                            ((track.units(at, at + h) + 1.0) / (track.units(at - h, at) + 1.0)).ln()
                        })
                    };
                    let year_back = market.windows.year.and_then(|y| t.checked_sub(y));
                    let last = track.units(t.saturating_sub(h), t);
                    let case = Case {
                        series: i,
                        t,
                        age: track.age(t),
                        last,
                        next: if t + h <= market.n { track.units(t, t + h) } else { f64::NAN },
                        year_ago: if year_back.is_some_and(|y| track.first() + h <= y) {
                            change(year_back)
                        } else {
                            f64::NAN
                        },
                        before: if t >= 2 * h { track.units(t - 2 * h, t - h) } else { f64::NAN },
                        weight,
                        beside: false,
                    };
                    out.push((case, subject.row(scene)));
                }
                run.progress().advance(1);
                Ok(out)
            })
            .collect::<Result<_>>()?;
        run.progress().end();
        let (cases, rows) = parts.into_iter().flatten().unzip();
        Ok(Self { cases, rows })
    }

    /// This table with the cases of series beside its own.
    pub(crate) fn append(&mut self, other: Self) {
        self.cases.extend(other.cases.into_iter().map(|case| Case { beside: true, ..case }));
        self.rows.extend(other.rows);
    }

    /// Positions of the cases for which `keep` is true.
    pub(crate) fn select(&self, keep: impl Fn(&Case) -> bool) -> Vec<usize> {
        (0..self.cases.len()).filter(|i| keep(&self.cases[*i])).collect()
    }

    /// The rows at these positions.
    pub(crate) fn rows_at(&self, at: &[usize]) -> Vec<&Row> {
        at.iter().map(|i| &self.rows[*i]).collect()
    }
}
