//! The columns of a dynamic regression: those known ahead, days that count, and waves.

use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::ops::Range;
use tradewind_core::calendar::{Calendar, CalendarTable, Region};
use tradewind_core::freq::Unit;
use tradewind_core::{Covariate, Freq, Panel, Result, Stamp};

/// Which columns there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Design {
    pub(super) freq: Freq,
    /// Columns known ahead.
    pub(super) covariates: Vec<String>,
    regions: Option<Vec<Region>>,
    /// Columns of the calendar, by name.
    pub(super) days: Vec<String>,
    /// Steps of the season told by waves; 0 for none.
    pub(super) long_season: f64,
}

impl Design {
    pub(super) fn new(panel: &Panel, long_season: f64, calendar: &str) -> Result<Self> {
        let freq = panel.freq();
        let regions = match calendar {
            "none" => None,
            "plain" => Some(vec![]),
            code => Some(vec![Region::try_from(code.to_owned())?]),
        };
        let days = regions.as_ref().map_or(Vec::new(), |r| {
            let table = CalendarTable::new(&Calendar::new(r), freq, 0, 0);
            table.names().iter().filter(|n| counts(n, freq)).cloned().collect()
        });
        let covariates = panel.covariates().iter().filter(|c| c.known_ahead).map(|c| c.name.clone()).collect();
        Ok(Self { freq, covariates, regions, days, long_season })
    }

    /// The names of the columns without the waves.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.covariates.iter().chain(&self.days)
    }

    /// The columns of the steps `at` of a series, counted from its first; unknown values are NaN. What is asked in
    /// `future` takes the place of what the panel has behind the series' end.
    pub(super) fn columns(&self, panel: &Panel, i: usize, future: Option<&[Covariate]>, at: Range<usize>) -> Vec<Vec<f64>> {
        let s = panel.series(i);
        let n = s.y.len();
        let value = |name: &str, t: usize| {
            let of = |c: &Covariate| (i + 1 < c.offsets.len()).then(|| c.of(i).get(t).copied()).flatten();
            let asked = future.and_then(|f| f.iter().find(|c| c.name == name)).filter(|_| t >= n).and_then(of);
            asked.filter(|v| v.is_finite()).or_else(|| panel.covariate(name).and_then(of)).unwrap_or(f64::NAN)
        };
        let mut out: Vec<Vec<f64>> = self.covariates.iter().map(|c| at.clone().map(|t| value(c, t)).collect()).collect();
        out.extend(self.of_days(s.ds(at.start), at.len()));
        out
    }

    /// The columns of the calendar for `n` steps from `start` on.
    fn of_days(&self, start: Stamp, n: usize) -> Vec<Vec<f64>> {
        let Some(regions) = self.regions.as_ref().filter(|_| !self.days.is_empty()) else { return Vec::new() };
        let table = CalendarTable::new(&Calendar::new(regions), self.freq, start, n);
        let places = self.days.iter().map(|d| table.names().iter().position(|n| n == d));
        places.map(|p| (0..n).map(|t| p.and_then(|p| table.row(t).get(p).copied()).unwrap_or(f64::NAN)).collect()).collect()
    }

    /// `pairs` of waves of the long season over the steps `at` of a series that begins at `start`: sine, cosine, sine…
    pub(super) fn waves(&self, start: Stamp, at: Range<usize>, pairs: usize) -> Vec<Vec<f64>> {
        // Counted from a fixed stamp, so that all series are in phase.
        let origin = self.freq.steps(0, start).unwrap_or(0) as f64;
        let wave = |k: usize, t: usize| {
            let turns = ((origin + t as f64) / self.long_season).fract() * (k / 2 + 1) as f64;
            if k.is_multiple_of(2) { (TAU * turns).sin() } else { (TAU * turns).cos() }
        };
        (0..2 * pairs).map(|k| at.clone().map(|t| wave(k, t)).collect()).collect()
    }
}

/// Whether a column of the calendar tells a day that counts, not a position that a season tells as well.
fn counts(name: &str, freq: Freq) -> bool {
    match name {
        "holiday" | "workday_adjusted" | "festival" | "run_up" => true,
        "weekend" | "workday" | "n_days" => !matches!(freq.unit, Unit::Day | Unit::Hour | Unit::Minute),
        _ => name.ends_with(":during") || name.ends_with(":ahead"),
    }
}
