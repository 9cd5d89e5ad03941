//! Regressions on features as forecasters: one model of a table, learnt across all series of a panel.
//!
//! [`crate::features`] turns histories into rows; a [`TableModel`] learns from the rows of all series together and
//! answers one row. Steps ahead are found one after the other: each forecast is taken in as if it had come, and the next
//! row is made of it (Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., section 7; Ben Taieb
//! and Hyndman (2014) on recursive strategies). Forecasts stay within twice the range a series has had, since what is
//! fed back could otherwise run away.
//!
//! Own quantiles are those of a normal distribution with the spread of the one-step errors, growing by a tenth of its
//! variance a step; [`crate::conformal`] gives better ones.

use crate::features::{FeatureSettings, Features, SeriesState};
use crate::local::FittedSeries;
use crate::local::{check_ahead, map_series, season_of};
use crate::mean::FittedMean;
use crate::normal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::calendar::{CalendarTable, Region};
use tradewind_core::metrics::point;
use tradewind_core::{
    Ahead, Error, FittedForecaster, Forecast, Forecaster, ForecasterEntry, Freq, Panel, ParamKind, ParamSpec,
    Params, Result, Run, Stamp,
};
use tradewind_learn::{Dataset, Matrix};

/// Rows to learn from at most; of longer panels each series gives its latest.
const ROWS_MAX: usize = 400_000;
/// Rows of a series that always count, however many series there are.
const ROWS_OF_SERIES_MIN: usize = 30;
/// By how much of the one-step variance each further step is less sure.
const VARIANCE_GROWTH: f64 = 0.1;

/// The parameter that every regression has beside its own.
pub const CALENDAR: ParamSpec = ParamSpec {
    name: "calendar",
    kind: ParamKind::Choice(&["none", "plain", "CN", "US", "GB", "DE", "JP", "FR"]),
    default: "plain",
    summary: "calendar features: none, positions and weekends alone, or also a country's holidays and festivals",
};

/// A model of a table with its parameters.
pub trait TableModel: Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What it has learnt.
    type Fitted: Clone + Send + Sync + Serialize + DeserializeOwned + 'static;

    /// Its place in the catalogue.
    fn entry() -> &'static ForecasterEntry;
    /// The season, when given.
    fn season_length(&self) -> Option<usize>;
    /// The word of [`CALENDAR`].
    fn calendar(&self) -> &str;
    /// Learns from rows and targets.
    fn learn(&self, run: &Run, data: &Dataset) -> Result<Self::Fitted>;
    /// One answer a row.
    fn answer(fitted: &Self::Fitted, rows: &Matrix) -> Result<Vec<f64>>;
    /// How many columns what was learnt reads, for state that was read back.
    fn n_columns(fitted: &Self::Fitted) -> usize;
}

/// Makes a [`Forecaster`] of a [`TableModel`].
#[derive(Clone, Debug)]
pub struct Regression<M>(M);

/// For [`ForecasterEntry::build`].
pub fn build<M: TableModel>(params: &Params) -> Result<Box<dyn Forecaster>> {
    Ok(Box::new(Regression(M::entry().read::<M>(params)?)))
}

/// For [`ForecasterEntry::load`].
pub fn load<M: TableModel>(state: Value) -> Result<Box<dyn FittedForecaster>> {
    let fitted: FittedRegression<M> =
        serde_json::from_value(state).map_err(|source| saved(M::entry(), source))?;
    let n = fitted.features.columns().len();
    let sound = fitted.series.windows(2).all(|w| w[0].id < w[1].id)
        && fitted.features.is_sound()
        && fitted.series.iter().all(|s| s.future.len() == n)
        && fitted.model.as_ref().is_none_or(|m| M::n_columns(m) == fitted.features.names().len());
    if !sound {
        return Err(Error::Invalid(format!("saved {} has parts that do not fit together", M::entry().name)));
    }
    Ok(Box::new(fitted))
}

impl<M: TableModel> Forecaster for Regression<M> {
    fn name(&self) -> &str {
        M::entry().name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        let season = panel.iter().next().map_or(1, |s| season_of(self.0.season_length(), &s));
        let longest = panel.iter().map(|s| s.y.len()).max().unwrap_or(0);
        let mut settings = FeatureSettings::for_season(season);
        if longest < 3 * season {
            // Too short to see a season twice.
            settings = FeatureSettings { season: 1, ..FeatureSettings::for_season(1) };
        }
        settings.calendar = match self.0.calendar() {
            "none" => None,
            "plain" => Some(vec![]),
            code => Some(vec![Region::try_from(code.to_owned())?]),
        };
        let features = Features::new(settings, panel);
        let shared = match (panel.first_stamp(), panel.last_stamp()) {
            (Some(first), Some(last)) => {
                let n = panel.freq().steps(first, last).and_then(|n| usize::try_from(n + 1).ok());
                n.and_then(|n| features.calendar(first, n))
            }
            _ => None,
        };
        let quiet = run.quiet();
        let tables = map_series(run, M::entry().name, panel.len(), |i| {
            features.transform_with(panel, i, shared.as_ref())
        })?;

        let per_series = (ROWS_MAX / tables.len().max(1)).max(ROWS_OF_SERIES_MIN);
        let width = features.names().len();
        let (mut x, mut y, mut weight) = (Vec::new(), Vec::new(), Vec::new());
        for (i, table) in tables.iter().enumerate() {
            let w = trust(panel.series(i).y, season, table.state.scale());
            for r in table.rows().saturating_sub(per_series)..table.rows() {
                if table.row(r).iter().chain([&table.y[r]]).all(|v| v.is_finite()) {
                    x.extend(table.row(r));
                    y.push(table.y[r]);
                    weight.push(w);
                }
            }
        }
        // With fewer rows than columns a regression would only repeat them.
        let model = if y.len() > width.max(10) {
            let data = Dataset::new(Matrix::new(y.len(), width, x)?, y, features.names().to_vec())?
                .with_weight(weight)?;
            match self.0.learn(&quiet, &data) {
                Ok(model) => Some(model),
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                // The mean answers for what cannot be learnt; the panel is not failed.
                Err(_) => None,
            }
        } else {
            None
        };

        let spread = |i: usize| -> Option<f64> {
            let (model, table) = (model.as_ref()?, &tables[i]);
            let from = table.rows().saturating_sub(per_series);
            let x: Vec<f64> = (from..table.rows()).flat_map(|r| table.row(r).to_vec()).collect();
            let said = M::answer(model, &Matrix::new(table.rows() - from, width, x).ok()?).ok()?;
            let squares: Vec<f64> = said
                .iter()
                .zip(&table.y[from..])
                .map(|(f, y)| (f - y) * (f - y))
                .filter(|v| v.is_finite())
                .collect();
            (!squares.is_empty()).then(|| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
        };
        let spreads = map_series(&quiet, M::entry().name, panel.len(), spread)?;
        let known: Vec<f64> = spreads.iter().flatten().copied().collect();
        let usual = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };

        let series = tables
            .into_iter()
            .enumerate()
            .map(|(i, table)| {
                let s = panel.series(i);
                let ends =
                    s.y.iter()
                        .filter(|v| v.is_finite())
                        .fold((f64::INFINITY, f64::NEG_INFINITY), |e, v| (e.0.min(*v), e.1.max(*v)));
                OneSeries {
                    id: s.id.to_owned(),
                    next: s.ds(s.y.len()),
                    n: s.y.len(),
                    lowest: if ends.0.is_finite() { ends.0 } else { 0.0 },
                    highest: if ends.1.is_finite() { ends.1 } else { 0.0 },
                    spread: spreads[i].unwrap_or(usual),
                    mean: FittedMean::of(s.y),
                    future: features
                        .columns()
                        .iter()
                        .map(|c| {
                            panel.covariate(c).map_or(vec![], |c| {
                                c.of(i)
                                    .get(s.y.len()..)
                                    .unwrap_or(&[])
                                    .iter()
                                    .map(|v| v.is_finite().then_some(*v))
                                    .collect()
                            })
                        })
                        .collect(),
                    state: table.state,
                }
            })
            .collect();
        Ok(Box::new(FittedRegression::<M> {
            params: self.0.clone(),
            freq: panel.freq(),
            features,
            model,
            series,
        }))
    }
}

/// What a [`TableModel`] has learnt of a panel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct FittedRegression<M: TableModel> {
    params: M,
    freq: Freq,
    features: Features,
    /// `None` when there was too little to learn from; then series are forecast by their mean.
    model: Option<M::Fitted>,
    series: Vec<OneSeries>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OneSeries {
    id: String,
    next: Stamp,
    n: usize,
    lowest: f64,
    highest: f64,
    /// Root mean squared one-step error over the scale.
    spread: f64,
    mean: FittedMean,
    state: SeriesState,
    /// Values of the columns known ahead, from the next step on.
    future: Vec<Vec<Option<f64>>>,
}

impl OneSeries {
    /// Between the ends of what the series has been, with as much room again on both sides; counts stay counts.
    fn tame(&self, v: f64) -> f64 {
        let room = self.highest - self.lowest;
        let low = if self.lowest >= 0.0 { (self.lowest - room).max(0.0) } else { self.lowest - room };
        let high = self.highest + room;
        if v.is_finite() {
            v.clamp(low.max(f64::MIN), high.min(f64::MAX))
        } else {
            self.mean.predict(1).mean[0]
        }
    }
}

impl<M: TableModel> FittedRegression<M> {
    fn one(&self, i: usize, ahead: &Ahead<'_>, shared: Option<&CalendarTable>) -> (Vec<f64>, Vec<f64>) {
        let s = &self.series[i];
        let h = ahead.horizon;
        let Some(model) = self.model.as_ref().filter(|_| !s.state.is_empty()) else {
            let steps = s.mean.predict(h);
            return (steps.mean, steps.sd);
        };
        let own = match shared {
            Some(c) if c.at(s.next).is_none() || c.at(self.freq.add(s.next, h as i64 - 1)).is_none() => {
                self.features.calendar(s.next, h)
            }
            _ => None,
        };
        let calendar = own.as_ref().or(shared);
        let mut state = s.state.clone();
        let mut mean = Vec::with_capacity(h);
        let columns: Vec<&str> = self.features.columns().iter().map(String::as_str).collect();
        for k in 0..h {
            let values: Vec<f64> = columns
                .iter()
                .enumerate()
                .map(|(j, name)| {
                    let asked = ahead.future.and_then(|f| f.iter().find(|c| c.name == *name));
                    let asked =
                        asked.filter(|c| i + 1 < c.offsets.len()).and_then(|c| c.of(i).get(s.n + k).copied());
                    let planned = || s.future[j].get(k).copied().flatten().unwrap_or(f64::NAN);
                    asked.filter(|v| v.is_finite()).unwrap_or_else(planned)
                })
                .collect();
            let mut row = Vec::with_capacity(self.features.names().len());
            let stamp = self.freq.add(s.next, k as i64);
            let cal = calendar.and_then(|c| c.at(stamp)).unwrap_or(&[]);
            state.row(&self.features, stamp, &values, cal, &mut row);
            row.resize(self.features.names().len(), 0.0);
            let said = Matrix::new(1, row.len(), row).and_then(|row| M::answer(model, &row));
            let value =
                s.tame(said.ok().and_then(|v| v.first().copied()).unwrap_or(f64::NAN) * state.scale());
            mean.push(value);
            state.update(&self.features, value, &values);
        }
        let sd = |k: usize| s.spread * s.state.scale() * (1.0 + VARIANCE_GROWTH * k as f64).sqrt();
        (mean, (0..h).map(sd).collect())
    }
}

impl<M: TableModel> FittedForecaster for FittedRegression<M> {
    fn name(&self) -> &str {
        M::entry().name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let mut out = Forecast::new(self.name(), self.freq, ahead.horizon, ahead.quantiles);
        let z: Vec<f64> = out.levels().iter().map(|l| normal::quantile(*l)).collect();
        let first = self.series.iter().map(|s| s.next).min();
        let last = self.series.iter().map(|s| s.next).max();
        // One calendar for all, unless the series end so far apart that it would be mostly empty.
        let shared = match (first, last) {
            (Some(a), Some(b)) => {
                let n = self.freq.steps(a, b).and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(10_000);
                self.features.calendar(a, n + ahead.horizon)
            }
            _ => None,
        };
        let rows = map_series(&run.quiet(), self.name(), self.series.len(), |i| {
            self.one(i, ahead, shared.as_ref())
        })?;
        for (s, (mean, sd)) in self.series.iter().zip(rows) {
            let floor = if s.lowest >= 0.0 { 0.0 } else { f64::MIN };
            let quantiles: Vec<f64> = mean
                .iter()
                .zip(&sd)
                .flat_map(|(m, sd)| z.iter().map(move |z| (m + z * sd).clamp(floor, f64::MAX)))
                .collect();
            out.push(&s.id, s.next, &mean, &quantiles)?;
        }
        Ok(out)
    }

    fn update(&mut self, _run: &Run, newer: &Panel) -> Result<()> {
        if newer.freq() != self.freq {
            return Err(Error::Invalid(format!(
                "{} was fitted on {} data and cannot take in {} data",
                self.name(),
                self.freq,
                newer.freq()
            )));
        }
        let mut plan = Vec::with_capacity(newer.len());
        for (k, s) in newer.iter().enumerate().filter(|(_, s)| !s.y.is_empty()) {
            let Ok(i) = self.series.binary_search_by(|o| o.id.as_str().cmp(s.id)) else {
                return Err(Error::Invalid(format!(
                    "{} was not fitted on series `{}`; fit again to take it in",
                    self.name(),
                    s.id
                )));
            };
            let next = self.series[i].next;
            let gap = self.freq.steps(next, s.start).and_then(|g| usize::try_from(g).ok());
            let Some(gap) = gap.filter(|g| *g <= 1_000_000) else {
                return Err(Error::Invalid(format!(
                    "series `{}` goes on at {}, but the newer observations begin at {}",
                    s.id,
                    self.freq.format(next),
                    self.freq.format(s.start)
                )));
            };
            plan.push((i, k, gap));
        }
        for (i, k, gap) in plan {
            let s = newer.series(k);
            let one = &mut self.series[i];
            for t in 0..gap + s.y.len() {
                let value = t.checked_sub(gap).map_or(f64::NAN, |t| s.y[t]);
                let columns: Vec<f64> = self
                    .features
                    .columns()
                    .iter()
                    .enumerate()
                    .map(|(j, name)| {
                        let came =
                            t.checked_sub(gap).and_then(|t| newer.covariate(name)?.of(k).get(t).copied());
                        let planned = || one.future[j].get(t).copied().flatten().unwrap_or(f64::NAN);
                        came.filter(|v| v.is_finite()).unwrap_or_else(planned)
                    })
                    .collect();
                if one.state.is_empty() && value.is_finite() {
                    // A series of which nothing was known gets its scale now.
                    one.state = SeriesState::new(s.y);
                }
                one.state.update(&self.features, value, &columns);
                one.mean.update(&[value]);
                if value.is_finite() {
                    one.lowest = one.lowest.min(value);
                    one.highest = one.highest.max(value);
                }
            }
            for (j, name) in self.features.columns().iter().enumerate() {
                let planned =
                    newer.covariate(name).map_or(&[][..], |c| c.of(k).get(s.y.len()..).unwrap_or(&[]));
                let past = (gap + s.y.len()).min(one.future[j].len());
                one.future[j].drain(..past);
                for (t, v) in planned.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                    if one.future[j].len() <= t {
                        one.future[j].resize(t + 1, None);
                    }
                    one.future[j][t] = Some(*v);
                }
            }
            one.n += gap + s.y.len();
            one.next = s.ds(s.y.len());
        }
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|source| saved(M::entry(), source))
    }
}

/// The weight of a series' rows: the inverse of the variance of its seasonal steps over its scale, so that calm series
/// are not drowned by wild ones (weighted least squares).
fn trust(y: &[f64], season: usize, scale: f64) -> f64 {
    let step = if y.len() > 2 * season { point::naive_mae(y, season) } else { point::naive_mae(y, 1) };
    let noise = if step.is_finite() { step / scale } else { 1.0 };
    1.0 / (NOISE_FLOOR * NOISE_FLOOR + noise * noise)
}

/// Steps below this share of a series' scale earn no more weight.
const NOISE_FLOOR: f64 = 0.05;

fn saved(entry: &ForecasterEntry, source: serde_json::Error) -> Error {
    Error::Saved { what: entry.name.to_owned(), source }
}
