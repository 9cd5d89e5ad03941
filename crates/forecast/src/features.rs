//! Features of a series for learning from tables: one definition for fitting and for forecasting.
//!
//! A row tells what is known just before a step: recent values, rolling means, the same phase of earlier seasons, the
//! change over a season, how regular sales are, the calendar of the step, and columns known ahead. [`SeriesState`] holds
//! what rows are made of. Fitting walks it over the history (`row`, then `update` with what came); forecasting walks the
//! same object on (`row`, then `update` with the forecast), so that a feature cannot mean two things.
//!
//! Values are divided by the series' scale (its mean absolute value), so that one model serves large and small sellers.
//!
//! ```
//! use tradewind_core::{Freq, Panel};
//! use tradewind_forecast::features::{FeatureSettings, Features};
//! let y = (0..40).map(|t| f64::from(t % 7)).collect();
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
//! let features = Features::new(FeatureSettings::for_season(7), &panel);
//! let table = features.transform(&panel, 0);
//! let lag = features.names().iter().position(|n| n == "lag_7").unwrap();
//! let last = table.rows() - 1;
//! assert!((table.row(last)[lag] * table.state.scale() - 4.0).abs() < 1e-12); // observation 39 − 7
//! ```

use chrono::Datelike;
use serde::{Deserialize, Serialize};
use tradewind_core::calendar::{Calendar, CalendarTable, Region};
use tradewind_core::freq::{DAY, Unit, date};
use tradewind_core::{Covariate, Freq, Panel, Stamp};

/// Which features there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureSettings {
    /// Steps of a season; 1 for none.
    pub season: usize,
    /// Values so many steps back.
    pub lags: Vec<usize>,
    /// Means over so many last values.
    pub windows: Vec<usize>,
    /// Over how many earlier seasons the same phase is averaged.
    pub seasons_back: usize,
    /// The calendar's regions; `None` for no calendar features, an empty list for positions and weekends alone.
    pub calendar: Option<Vec<Region>>,
}

impl FeatureSettings {
    /// A usual set for a season: the last values, the same phase of the last two seasons, means over a step, half, one
    /// and four seasons, positions in the calendar.
    pub fn for_season(season: usize) -> Self {
        let m = season.max(1);
        let (mut lags, mut windows) = (vec![1, 2, 3], vec![4, 8, 16]);
        if m > 1 {
            lags.extend([m, m + 1, 2 * m]);
            windows = vec![m.div_ceil(2).max(2), m, 2 * m, if m <= 12 { 4 * m } else { 2 * m }];
        }
        lags.sort_unstable();
        lags.dedup();
        windows.sort_unstable();
        windows.dedup();
        Self { season: m, lags, windows, seasons_back: 4, calendar: Some(vec![]) }
    }

    /// How many past values rows look at.
    fn depth(&self) -> usize {
        let far = self.lags.iter().chain(&self.windows).copied().max().unwrap_or(1);
        let phases = if self.season > 1 { self.season * self.seasons_back } else { 1 };
        far.max(phases).max(self.season + 1).max(REGULARITY_STEPS)
    }

    /// Phases of the season that have a mark of their own: those of short seasons. Longer ones are told by the calendar.
    fn marked_phases(&self) -> usize {
        if (2..=PHASES_MAX).contains(&self.season) { self.season } else { 0 }
    }

    /// Values needed before a row is worth learning from: all lags are there.
    pub fn warm_up(&self) -> usize {
        self.lags.iter().copied().max().unwrap_or(1).max(1)
    }
}

/// Seasons of more steps have no marks for their phases.
const PHASES_MAX: usize = 24;
/// Steps over which the share of steps with a sale is taken.
const REGULARITY_STEPS: usize = 28;
/// Steps without a sale at which their feature is half way to its limit of 1.
const HALF_PAUSE: f64 = 10.0;

/// The features of a panel: their names, and what their columns need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Features {
    settings: FeatureSettings,
    freq: Freq,
    names: Vec<String>,
    /// Names of the columns known ahead.
    columns: Vec<String>,
}

/// The rows of one series.
#[derive(Clone, Debug)]
pub struct SeriesTable {
    width: usize,
    x: Vec<f64>,
    /// The target of each row: the observation over the series' scale.
    pub y: Vec<f64>,
    /// The position of each row in the series.
    pub at: Vec<usize>,
    /// The state after the last observation.
    pub state: SeriesState,
}

impl SeriesTable {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// A row, in the order of [`Features::names`].
    pub fn row(&self, i: usize) -> &[f64] {
        &self.x[i * self.width..(i + 1) * self.width]
    }
}

impl Features {
    /// The features that `panel` has under these settings. Only columns known ahead count: the others are unknown at
    /// the steps to forecast.
    pub fn new(settings: FeatureSettings, panel: &Panel) -> Self {
        let freq = panel.freq();
        let columns: Vec<String> =
            panel.covariates().iter().filter(|c| c.known_ahead).map(|c| c.name.clone()).collect();
        let mut names: Vec<String> = settings.lags.iter().map(|l| format!("lag_{l}")).collect();
        names.extend(settings.windows.iter().map(|w| format!("mean_{w}")));
        if settings.season > 1 {
            names.extend(["same_phase".into(), "season_change".into()]);
        }
        names.extend(["sale_share".into(), "pause".into()]);
        names.extend((0..settings.marked_phases()).map(|p| format!("phase_{p}")));
        names.extend(columns.iter().flat_map(|c| [format!("{c}:level"), format!("{c}:change")]));
        if let Some(calendar) = settings.calendar() {
            names.extend(CalendarTable::new(&calendar, freq, 0, 0).names().iter().cloned());
        }
        Self { settings, freq, names, columns }
    }

    /// The names, in the order of a row.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The settings.
    pub fn settings(&self) -> &FeatureSettings {
        &self.settings
    }

    /// The rows of series `i` of the panel that these features were made for, from the first one whose lags are all
    /// known, one for each known observation.
    pub fn transform(&self, panel: &Panel, i: usize) -> SeriesTable {
        self.transform_with(panel, i, self.calendar(panel.series(i).start, panel.series(i).y.len()).as_ref())
    }

    /// [`Features::transform`] with a calendar that many series share.
    pub fn transform_with(&self, panel: &Panel, i: usize, calendar: Option<&CalendarTable>) -> SeriesTable {
        let s = panel.series(i);
        let columns: Vec<&Covariate> = self.columns.iter().filter_map(|c| panel.covariate(c)).collect();
        let mut state = SeriesState::new(s.y);
        let width = self.names.len();
        let (mut x, mut y, mut at) = (Vec::new(), Vec::new(), Vec::new());
        // The series' own calendar, where the shared one is on another grid.
        let own = match calendar {
            Some(c) if !s.y.is_empty() && c.at(s.ds(0)).is_none() => self.calendar(s.start, s.y.len()),
            _ => None,
        };
        let calendar = own.as_ref().or(calendar);
        let warm_up = self.settings.warm_up();
        for (t, value) in s.y.iter().enumerate() {
            let given = |c: &Covariate, t: usize| c.of(i).get(t).copied().unwrap_or(f64::NAN);
            let values: Vec<f64> = columns.iter().map(|c| given(c, t)).collect();
            // Rows without a target, or before the lags are there, are no example to learn from.
            let learn = state.n >= warm_up && value.is_finite();
            if learn {
                let stamp = s.ds(t);
                let cal = calendar.and_then(|c| c.at(stamp)).unwrap_or(&[]);
                state.row(self, stamp, &values, cal, &mut x);
                x.resize((y.len() + 1) * width, 0.0);
                y.push(value / state.scale);
                at.push(t);
            }
            state.update(self, *value, &values);
        }
        SeriesTable { width, x, y, at, state }
    }

    /// The calendar of `n` stamps from `first` on; `None` when there are no calendar features.
    pub fn calendar(&self, first: Stamp, n: usize) -> Option<CalendarTable> {
        let calendar = self.settings.calendar()?;
        Some(CalendarTable::new(&calendar, self.freq, first, n)).filter(|c| !c.names().is_empty())
    }

    /// The columns known ahead that rows are made with.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether what was read back fits together.
    pub(crate) fn is_sound(&self) -> bool {
        let s = &self.settings;
        s.season >= 1
            && s.seasons_back >= 1
            && s.lags.iter().chain(&s.windows).all(|l| (1..=1_000_000).contains(l))
    }
}

impl FeatureSettings {
    fn calendar(&self) -> Option<Calendar> {
        self.calendar.as_ref().map(|regions| Calendar::new(regions))
    }
}

/// What rows of one series are made of: its last values, over its scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesState {
    scale: f64,
    /// The last values, oldest first; at most twice as many as rows look at.
    recent: Vec<f64>,
    /// Known values so far, with those filled in.
    n: usize,
    pause: usize,
    /// Sum and count of each column known ahead, and its last value.
    columns: Vec<(f64, usize, f64)>,
}

impl SeriesState {
    /// Before the first observation of a history; its scale is taken from all of it.
    pub fn new(history: &[f64]) -> Self {
        let known: Vec<f64> = history.iter().filter(|v| v.is_finite()).map(|v| v.abs()).collect();
        let mean = known.iter().map(|v| v / known.len() as f64).sum::<f64>();
        Self {
            scale: if mean > 0.0 && mean.is_finite() { mean } else { 1.0 },
            recent: Vec::new(),
            n: 0,
            pause: 0,
            columns: Vec::new(),
        }
    }

    /// What values are divided by: the mean absolute value of the history.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Values taken in so far.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether nothing was taken in yet.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Appends the row of the next step, at `stamp`, to `out`: `columns` are the values known ahead of that step, in the order of
    /// [`Features::columns`], `calendar` its calendar features.
    pub fn row(
        &self,
        features: &Features,
        stamp: Stamp,
        columns: &[f64],
        calendar: &[f64],
        out: &mut Vec<f64>,
    ) {
        let settings = &features.settings;
        let known = self.recent.len();
        let mean = |w: usize| {
            let part = &self.recent[known.saturating_sub(w)..];
            if part.is_empty() { 0.0 } else { part.iter().sum::<f64>() / part.len() as f64 }
        };
        // What lies before the history is taken as its mean.
        let back = |l: usize| known.checked_sub(l).map_or_else(|| mean(known), |k| self.recent[k]);
        out.extend(settings.lags.iter().map(|l| back(*l)));
        out.extend(settings.windows.iter().map(|w| mean(*w)));
        if settings.season > 1 {
            let m = settings.season;
            let phases: Vec<f64> =
                (1..=settings.seasons_back).filter(|k| k * m <= known).map(|k| back(k * m)).collect();
            out.push(if phases.is_empty() {
                mean(m)
            } else {
                phases.iter().sum::<f64>() / phases.len() as f64
            });
            out.push(if known > m { back(1) - back(m + 1) } else { 0.0 });
        }
        let last = &self.recent[known.saturating_sub(REGULARITY_STEPS)..];
        out.push(last.iter().filter(|v| **v != 0.0).count() as f64 / last.len().max(1) as f64);
        out.push(self.pause as f64 / (self.pause as f64 + HALF_PAUSE));
        let phases = settings.marked_phases();
        let now = phase(features.freq, stamp, phases.max(1));
        out.extend((0..phases).map(|p| f64::from(p == now)));
        for (j, value) in columns.iter().enumerate() {
            let (sum, count, before) = self.columns.get(j).copied().unwrap_or((0.0, 0, 0.0));
            let usual = sum / count.max(1) as f64;
            let now = if value.is_finite() {
                *value
            } else if count > 0 {
                before
            } else {
                0.0
            };
            // Relative to the column's own past, so that the prices of cheap and dear products are alike.
            let size = if usual.abs() > 1e-12 { usual.abs() } else { 1.0 };
            let level = if count > 0 { (now - usual) / size } else { 0.0 };
            let change = if count > 0 { (now - before) / size } else { 0.0 };
            out.extend([level, change].map(|v| if v.is_finite() { v.clamp(-10.0, 10.0) } else { 0.0 }));
        }
        out.extend(calendar);
    }

    /// Takes in the value of the next step (its forecast, where it has not come yet) and the columns of that step. An
    /// unknown value is filled in with that of a season before, or the last one.
    pub fn update(&mut self, features: &Features, value: f64, columns: &[f64]) {
        for (j, value) in columns.iter().enumerate() {
            if self.columns.len() <= j {
                self.columns.push((0.0, 0, 0.0));
            }
            if value.is_finite() {
                let c = &mut self.columns[j];
                *c = (c.0 + value, c.1 + 1, *value);
            }
        }
        let m = features.settings.season;
        let known = self.recent.len();
        let value = if value.is_finite() {
            value / self.scale
        } else if m > 1 && known >= m {
            self.recent[known - m]
        } else {
            match self.recent.last() {
                Some(last) => *last,
                // Nothing is known yet: the series has not begun.
                None => return,
            }
        };
        self.pause = if value == 0.0 { self.pause + 1 } else { 0 };
        self.recent.push(value);
        self.n += 1;
        let depth = features.settings.depth();
        if self.recent.len() >= 2 * depth {
            self.recent.drain(..self.recent.len() - depth);
        }
    }
}

/// Which step of a season of `m` steps a stamp is, counted alike for all series: weekdays, months, hours.
pub(crate) fn phase(freq: Freq, stamp: Stamp, m: usize) -> usize {
    let n = i64::from(freq.n.max(1));
    let count = match freq.unit {
        Unit::Step => stamp.div_euclid(n),
        Unit::Minute => stamp.div_euclid(60 * n),
        Unit::Hour => stamp.div_euclid(3600 * n),
        Unit::Day => stamp.div_euclid(DAY * n),
        Unit::Week => stamp.div_euclid(7 * DAY * n),
        Unit::Month | Unit::MonthEnd => {
            let day = date(stamp);
            (i64::from(day.year()) * 12 + i64::from(day.month0())).div_euclid(n)
        }
    };
    usize::try_from(count.rem_euclid(m as i64)).unwrap_or(0)
}
