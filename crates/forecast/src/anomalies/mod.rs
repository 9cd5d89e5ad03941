//! What was not to be expected in the past: single values that stand out, pauses that are too long for chance, and levels
//! that changed for good.
//!
//! 1. **Levels.** [`change_points`](crate::changepoint::change_points) finds where the level jumps, to the step; jumps that
//!    come every year are taken for the season and not told.
//! 2. **What was to be expected.** Between the jumps a running level times a pattern of the season, learnt in turns: what
//!    was surprising in one turn is not learnt from in the next.
//! 3. **How surprising.** Counts by a negative binomial law around it (so a product that sells once a week does not alarm
//!    on each sale), prices and other dense numbers by a normal law on a robust scale. A value stands out when its chance,
//!    on either side, is below half of `false_alarms`.
//! 4. **Pauses.** A run of zeros whose chance is below the same bound looks like a stock-out.
//! 5. **Likely causes**: promotions, prices, closed days and stock of the columns beside the series, and events of the
//!    calendar on that day or just ahead of it.
//!
//! | field | default | meaning | range |
//! | --- | --- | --- | --- |
//! | `false_alarms` | 0.0001 | share of values told wrongly where the law holds | 1e-9 to 0.05 |
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `shifts` | true | whether levels that changed are looked for | |
//!
//! On simulated series that follow the law the share told lies between a tenth of it and twice it (tested for counts from
//! 0.2 to 800 a day, prices and revenue; the law is estimated from the values themselves), and about one series in fifty
//! shows a level that did not change. Real sales scatter more than any law: expect more.
//!
//! ```
//! use tradewind_core::calendar::Calendar;
//! use tradewind_core::{Freq, Panel, Run};
//! use tradewind_forecast::anomalies::{AnomalySettings, Kind, anomalies};
//! let mut y: Vec<f64> = (0..200).map(|t| f64::from(t * 7 % 5) + 3.0).collect();
//! y[120] = 60.0;
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
//! let found = anomalies(&Run::new(1), &panel, &Calendar::new(&[]), &AnomalySettings::default()).unwrap();
//! assert_eq!(found.anomalies.len(), 1);
//! assert_eq!((found.anomalies[0].kind, found.anomalies[0].y), (Kind::Spike, 60.0));
//! ```

mod cause;
mod expected;
mod shifts;
mod spread;

pub use cause::Cause;
pub use expected::{Expected, expect};

use crate::local::map_series;
use cause::Causes;
use serde::{Deserialize, Serialize};
use shifts::{Shift, shifts};
use tradewind_core::calendar::Calendar;
use tradewind_core::{Panel, ParamCheck, Result, Run, Series, Stamp};

/// What is called an anomaly; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnomalySettings {
    /// Share of values told wrongly where the law holds.
    pub false_alarms: f64,
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Whether levels that changed are looked for.
    pub shifts: bool,
}

impl Default for AnomalySettings {
    fn default() -> Self {
        Self { false_alarms: 1e-4, season_length: None, shifts: true }
    }
}

impl AnomalySettings {
    /// All faults at once.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let season = self.season_length.unwrap_or(1);
        check
            .require(
                (1e-9..=0.05).contains(&self.false_alarms),
                "false_alarms",
                self.false_alarms,
                "0.000000001 to 0.05",
            )
            .require((1..=10_000).contains(&season), "season_length", season, "1 to 10000")
            .finish()
    }
}

/// What sort of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Far above what was to be expected.
    Spike,
    /// Far below.
    Drop,
    /// From here on more.
    LevelShiftUp,
    /// From here on less.
    LevelShiftDown,
    /// Nothing for longer than chance allows.
    StockOutLike,
}

impl Kind {
    /// The word in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Drop => "drop",
            Self::LevelShiftUp => "level_shift_up",
            Self::LevelShiftDown => "level_shift_down",
            Self::StockOutLike => "stock_out_like",
        }
    }
}

/// One anomaly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The series.
    pub unique_id: String,
    /// The step, or the first one of a pause or a new level.
    pub ds: Stamp,
    /// The last step of a pause; `ds` for others.
    pub until: Stamp,
    /// What came; the mean of a new level.
    pub y: f64,
    /// What was to be expected; the mean of the old level.
    pub expected: f64,
    /// Below this would be an anomaly.
    pub lower: f64,
    /// Above this would be an anomaly.
    pub upper: f64,
    /// How surprising, in standard deviations of a normal variable with the same chance; its sign is the direction.
    pub score: f64,
    /// What sort.
    pub kind: Kind,
    /// What may be behind it, the likeliest first.
    pub causes: Vec<Cause>,
}

/// The anomalies of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomalies {
    /// By series and time.
    pub anomalies: Vec<Anomaly>,
    /// Series that were judged.
    pub n_series: usize,
    /// Values that were judged.
    pub n_values: usize,
    /// Series with too few known values.
    pub too_short: Vec<String>,
    /// The share of false alarms that was asked for.
    pub false_alarms: f64,
}

impl Anomalies {
    /// The series from the one with the most surprising anomaly on, with that score.
    pub fn worst(&self) -> Vec<(&str, f64)> {
        let mut most: std::collections::BTreeMap<&str, f64> = std::collections::BTreeMap::new();
        for a in &self.anomalies {
            let score = most.entry(&a.unique_id).or_default();
            *score = score.max(a.score.abs());
        }
        let mut out: Vec<(&str, f64)> = most.into_iter().collect();
        out.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        out
    }
}

/// Known values that a series must have.
const OBSERVATIONS_MIN: usize = 20;

/// Finds the anomalies of every series of the panel.
///
/// # Errors
/// Settings out of range, or cancellation. Short series are no error: they are listed.
pub fn anomalies(
    run: &Run,
    panel: &Panel,
    calendar: &Calendar,
    settings: &AnomalySettings,
) -> Result<Anomalies> {
    settings.check()?;
    let causes = Causes::new(panel, calendar);
    let judged = map_series(run, "anomalies", panel.len(), |i| judge(panel.series(i), i, settings, &causes))?;
    let mut out = Anomalies {
        anomalies: Vec::new(),
        n_series: 0,
        n_values: 0,
        too_short: Vec::new(),
        false_alarms: settings.false_alarms,
    };
    for (i, found) in judged.into_iter().enumerate() {
        match found {
            Some((list, n)) => {
                out.anomalies.extend(list);
                out.n_series += 1;
                out.n_values += n;
            }
            None => out.too_short.push(panel.ids()[i].clone()),
        }
    }
    Ok(out)
}

/// What was to be expected of a series as [`anomalies`] sees it, with the step at which it begins; `None` where it is too
/// short to be judged.
pub fn expectation(series: &Series<'_>, settings: &AnomalySettings) -> Option<(usize, Expected)> {
    let seen = Seen::of(series, settings)?;
    Some((seen.first, seen.expected))
}

/// A series as it is judged.
struct Seen {
    /// The step with which it begins.
    first: usize,
    shifts: Vec<Shift>,
    expected: Expected,
}

impl Seen {
    fn of(series: &Series<'_>, settings: &AnomalySettings) -> Option<Self> {
        let first = begin(series, settings)?;
        let y = &series.y[first..];
        let (m, rate) = (season(series, settings), settings.false_alarms);
        let alone = expect(y, m, &[], rate);
        if !settings.shifts {
            return Some(Self { first, shifts: vec![], expected: alone });
        }
        // What stands out by itself, and pauses, must not pass for a change of the level.
        let mut plain = series.y.to_vec();
        (0..y.len()).filter(|t| alone.beyond[*t]).for_each(|t| plain[first + t] = f64::NAN);
        for pause in alone.pauses(y) {
            plain[first + pause.start..first + pause.end].fill(f64::NAN);
        }
        let mut shifts = shifts(&Series { y: &plain, ..*series }, rate);
        let limit = -crate::normal::quantile(rate / 2.0);
        shifts.retain(|s| s.score.abs() >= limit);
        if shifts.is_empty() {
            return Some(Self { first, shifts, expected: alone });
        }
        let edges: Vec<usize> = shifts.iter().filter_map(|s| s.at.checked_sub(first)).collect();
        let expected = expect(y, m, &edges, rate);
        Some(Self { first, shifts, expected })
    }
}

/// The first sale, or known value, if there are enough values from there on.
fn begin(series: &Series<'_>, settings: &AnomalySettings) -> Option<usize> {
    let first = series
        .y
        .iter()
        .position(|v| v.is_finite() && *v != 0.0)
        .or_else(|| series.y.iter().position(|v| v.is_finite()))?;
    let known = series.y[first..].iter().filter(|v| v.is_finite()).count();
    let season = season(series, settings);
    let least = if season <= 24 { OBSERVATIONS_MIN.max(3 * season) } else { OBSERVATIONS_MIN };
    (known >= least).then_some(first)
}

fn season(series: &Series<'_>, settings: &AnomalySettings) -> usize {
    settings.season_length.unwrap_or_else(|| series.freq.season_length()).max(1)
}

/// The anomalies of one series and how many values were judged.
fn judge(
    series: Series<'_>,
    i: usize,
    settings: &AnomalySettings,
    causes: &Causes<'_>,
) -> Option<(Vec<Anomaly>, usize)> {
    let Seen { first, shifts, expected: e } = Seen::of(&series, settings)?;
    let y = &series.y[first..];
    let mut out = Vec::new();
    let make = |t: usize, kind: Kind, score: f64| {
        let (lower, upper) = e.bounds(t);
        Anomaly {
            unique_id: series.id.to_owned(),
            ds: series.ds(first + t),
            until: series.ds(first + t),
            y: y[t],
            expected: e.mean[t],
            lower,
            upper,
            score,
            kind,
            causes: causes.of(i, first + t, kind == Kind::Spike),
        }
    };
    // Pauses come first: their steps are then no drops of their own.
    let mut covered = vec![false; y.len()];
    let pauses = e.pauses(y);
    for run in &pauses {
        covered[run.clone()].fill(true);
        let chance: f64 = run.clone().map(|t| e.ln_zero(t)).sum();
        let mut a = make(run.start, Kind::StockOutLike, crate::normal::quantile(chance.exp().max(1e-300)));
        a.until = series.ds(first + run.end - 1);
        if let Some(cause) = run.clone().find_map(|t| causes.of(i, first + t, false).into_iter().next()) {
            a.causes = vec![cause];
        }
        out.push(a);
    }
    for t in (0..y.len()).filter(|t| e.beyond[*t] && !covered[*t]) {
        let kind = if e.score[t] > 0.0 { Kind::Spike } else { Kind::Drop };
        out.push(make(t, kind, e.score[t]));
    }
    for s in shifts.iter().filter(|s| !s.yearly) {
        let up = s.after > s.before;
        out.push(Anomaly {
            unique_id: series.id.to_owned(),
            ds: s.ds,
            until: s.ds,
            y: s.after,
            expected: s.before,
            lower: s.lower,
            upper: s.upper,
            score: s.score,
            kind: if up { Kind::LevelShiftUp } else { Kind::LevelShiftDown },
            causes: causes.of_shift(i, s.at, up),
        });
    }
    out.sort_by(|a, b| a.ds.cmp(&b.ds).then(a.kind.cmp(&b.kind)));
    Some((out, y.iter().filter(|v| v.is_finite()).count()))
}
