//! Methods that look at one series at a time, carried over a whole panel.
//!
//! A method is a [`LocalModel`] (its parameters) with a [`FittedSeries`] (what it keeps of one series, small: a panel of
//! 30,000 series holds as many). [`Local`] makes a [`Forecaster`] of it: parallel over series, in the panel's order,
//! with progress and cancellation.
//!
//! One bad series never fails a panel. A series that the method cannot fit (too short, nothing known) is forecast by
//! its mean, one without a single known observation by zero; [`FittedLocal::fallbacks`] lists them with the reason.
//!
//! A series that has never been below zero (units, revenue, prices) is not forecast below zero: means and quantiles
//! stop there.

use crate::mean::FittedMean;
use crate::normal;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tradewind_core::{
    Ahead, Error, FittedForecaster, Forecast, Forecaster, ForecasterEntry, Freq, Panel, ParamCheck,
    ParamKind, ParamSpec, Params, Result, Run, Series, Stamp,
};

/// Means and standard deviations of the steps ahead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    /// One mean a step.
    pub mean: Vec<f64>,
    /// One standard deviation a step; quantiles are those of the normal distribution.
    pub sd: Vec<f64>,
}

impl Steps {
    /// `horizon` steps from a function of the step (from 1) that gives mean and standard deviation.
    pub fn of(horizon: usize, step: impl FnMut(usize) -> (f64, f64)) -> Self {
        let (mean, sd) = (1..=horizon).map(step).unzip();
        Self { mean, sd }
    }
}

/// A method with its parameters, for one series at a time.
pub trait LocalModel: Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What it keeps of a series.
    type Fitted: FittedSeries + Clone + Serialize + DeserializeOwned + 'static;

    /// Its place in the catalogue.
    fn entry() -> &'static ForecasterEntry;

    /// Rules between parameters, beyond the ranges in the entry.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Learns from one series. Where `in_sample` is given, it is filled with the forecasts one step ahead inside the
    /// history, one for each observation, NaN where there is none.
    ///
    /// `y` may hold NaN. An error means that the caller falls back.
    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<Self::Fitted>;

    /// Learns from one series.
    fn fit_series(&self, series: Series<'_>) -> Result<Self::Fitted> {
        self.fit_with(series, None)
    }

    /// The forecasts one step ahead inside the history, as [`LocalModel::fit_with`] tells.
    fn fitted_values(&self, series: Series<'_>) -> Result<Vec<f64>> {
        let mut out = Vec::with_capacity(series.y.len());
        self.fit_with(series, Some(&mut out))?;
        Ok(out)
    }
}

/// What a method keeps of one series. All numbers are finite, since JSON has no others.
pub trait FittedSeries: Send + Sync {
    /// Forecasts the next `horizon` steps.
    fn predict(&self, horizon: usize) -> Steps;
    /// Takes in observations that follow the known ones (NaN where unknown): the state moves on, parameters stay.
    fn update(&mut self, y: &[f64]);
}

/// A series that a simpler method had to take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fallback {
    /// The series.
    pub id: String,
    /// Why the method could not take it.
    pub reason: String,
}

/// Makes a [`Forecaster`] of a [`LocalModel`].
#[derive(Clone, Debug)]
pub struct Local<M>(M);

impl<M: LocalModel> Local<M> {
    /// Checks the parameters and wraps the method. All faults are told at once.
    pub fn new(model: M) -> Result<Self> {
        let written = serde_json::to_value(&model).map_err(|source| saved(M::entry(), source))?;
        let Value::Object(params) = written else {
            return Err(Error::Invalid(format!(
                "parameters of {} are not a list of names and values",
                M::entry().name
            )));
        };
        let model: M = M::entry().read(&params)?;
        model.check()?;
        Ok(Self(model))
    }

    /// Learns from the panel, giving the full type with its [`FittedLocal::fallbacks`].
    pub fn fit_panel(&self, run: &Run, panel: &Panel) -> Result<FittedLocal<M>> {
        let states = map_series(run, M::entry().name, panel.len(), |i| self.fit_one(panel.series(i)))?;
        let next = panel.iter().map(|s| s.ds(s.y.len())).collect();
        let nonnegative = panel.iter().map(|s| never_negative(s.y)).collect();
        Ok(FittedLocal {
            params: self.0.clone(),
            freq: panel.freq(),
            ids: panel.ids().to_vec(),
            next,
            nonnegative,
            states,
        })
    }

    fn fit_one(&self, series: Series<'_>) -> State<M::Fitted> {
        let reason = match self.0.fit_series(series) {
            Ok(fitted) => {
                let first = fitted.predict(1);
                if first.mean.iter().chain(&first.sd).all(|v| v.is_finite()) {
                    return State::Fitted(fitted);
                }
                "the forecast is not a finite number".to_owned()
            }
            Err(e) => e.to_string(),
        };
        State::Fallback(FittedMean::of(series.y), reason)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State<F> {
    Fitted(F),
    Fallback(FittedMean, String),
}

impl<F: FittedSeries> State<F> {
    fn inner(&self) -> &dyn FittedSeries {
        match self {
            Self::Fitted(f) => f,
            Self::Fallback(f, _) => f,
        }
    }

    fn inner_mut(&mut self) -> &mut dyn FittedSeries {
        match self {
            Self::Fitted(f) => f,
            Self::Fallback(f, _) => f,
        }
    }
}

impl<M: LocalModel> Forecaster for Local<M> {
    fn name(&self) -> &str {
        M::entry().name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        Ok(Box::new(self.fit_panel(run, panel)?))
    }
}

/// What a [`LocalModel`] has learnt of a panel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct FittedLocal<M: LocalModel> {
    params: M,
    freq: Freq,
    ids: Vec<String>,
    next: Vec<Stamp>,
    nonnegative: Vec<bool>,
    states: Vec<State<M::Fitted>>,
}

impl<M: LocalModel> FittedLocal<M> {
    /// The parameters it was fitted with.
    pub fn params(&self) -> &M {
        &self.params
    }

    /// The series that the method could not take, with the reason.
    pub fn fallbacks(&self) -> Vec<Fallback> {
        self.ids
            .iter()
            .zip(&self.states)
            .filter_map(|(id, state)| match state {
                State::Fitted(_) => None,
                State::Fallback(_, reason) => Some(Fallback { id: id.clone(), reason: reason.clone() }),
            })
            .collect()
    }

    /// What was learnt of series `i`; `None` where it fell back.
    pub fn fitted(&self, i: usize) -> Option<&M::Fitted> {
        match self.states.get(i)? {
            State::Fitted(f) => Some(f),
            State::Fallback(..) => None,
        }
    }
}

impl<M: LocalModel> FittedForecaster for FittedLocal<M> {
    fn name(&self) -> &str {
        M::entry().name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let mut out = Forecast::new(self.name(), self.freq, ahead.horizon, ahead.quantiles);
        let z: Vec<f64> = out.levels().iter().map(|l| normal::quantile(*l)).collect();
        let rows = map_series(&run.quiet(), self.name(), self.states.len(), |i| {
            let state = self.states[i].inner();
            let mut steps = state.predict(ahead.horizon);
            make_finite(&mut steps);
            let low = if self.nonnegative[i] { 0.0 } else { f64::MIN };
            let mut quantiles = Vec::with_capacity(ahead.horizon * z.len());
            for (mean, sd) in steps.mean.iter().zip(&steps.sd) {
                quantiles.extend(z.iter().map(|z| (mean + z * sd).clamp(low, f64::MAX)));
            }
            steps.mean.iter_mut().for_each(|m| *m = m.max(low));
            (steps.mean, quantiles)
        })?;
        for (i, (mean, quantiles)) in rows.iter().enumerate() {
            out.push(&self.ids[i], self.next[i], mean, quantiles)?;
        }
        Ok(out)
    }

    /// Series of which `newer` has nothing stay as they are. A gap between the known and the newer observations counts
    /// as unknown; observations before the end of the known ones are an error, and then nothing has changed.
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
        for series in newer.iter().filter(|s| !s.y.is_empty()) {
            let Ok(i) = self.ids.binary_search_by(|id| id.as_str().cmp(series.id)) else {
                return Err(Error::Invalid(format!(
                    "{} was not fitted on series `{}`; fit again to take it in",
                    self.name(),
                    series.id
                )));
            };
            let gap = self.freq.steps(self.next[i], series.start).and_then(|k| usize::try_from(k).ok());
            let Some(gap) = gap.filter(|g| *g <= GAP_STEPS_MAX) else {
                return Err(Error::Invalid(format!(
                    "series `{}` goes on at {}, but the newer observations begin at {}",
                    series.id,
                    self.freq.format(self.next[i]),
                    self.freq.format(series.start)
                )));
            };
            plan.push((i, gap, series));
        }
        for (i, gap, series) in plan {
            let state = self.states[i].inner_mut();
            if gap > 0 {
                state.update(&vec![f64::NAN; gap]);
            }
            state.update(series.y);
            self.next[i] = series.ds(series.y.len());
            self.nonnegative[i] &= never_negative(series.y);
        }
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|source| saved(M::entry(), source))
    }
}

/// The longest gap between known and newer observations that [`FittedForecaster::update`] bridges, in steps.
const GAP_STEPS_MAX: usize = 1_000_000;

/// For [`ForecasterEntry::build`]: reads, checks and wraps a method.
pub fn build<M: LocalModel>(params: &Params) -> Result<Box<dyn Forecaster>> {
    let model: M = M::entry().read(params)?;
    model.check()?;
    Ok(Box::new(Local(model)))
}

/// For [`ForecasterEntry::load`]: reads back what a wrapped method saved.
pub fn load<M: LocalModel>(state: Value) -> Result<Box<dyn FittedForecaster>> {
    let fitted: FittedLocal<M> = serde_json::from_value(state).map_err(|source| saved(M::entry(), source))?;
    let n = fitted.ids.len();
    let fits = [fitted.next.len(), fitted.nonnegative.len(), fitted.states.len()].iter().all(|m| *m == n);
    if !fits || fitted.ids.windows(2).any(|w| w[0] >= w[1]) {
        return Err(Error::Invalid(format!("saved {} has series that do not fit together", M::entry().name)));
    }
    Ok(Box::new(fitted))
}

/// An error that lists what is wrong with a question: no step ahead, a quantile level outside (0, 1).
pub fn check_ahead(ahead: &Ahead<'_>) -> Result<()> {
    let mut check = ParamCheck::new();
    check.require((1..=HORIZON_MAX).contains(&ahead.horizon), "horizon", ahead.horizon, "1 to 100000");
    for level in ahead.quantiles {
        check.require(*level > 0.0 && *level < 1.0, "quantiles", level, "above 0 and below 1");
    }
    check.finish()
}

/// The furthest step that can be asked for.
const HORIZON_MAX: usize = 100_000;

/// Does `work` for series 0 to `n` on the run's threads and gives the results in order. Progress is told and
/// cancellation looked at once for every few series.
pub fn map_series<T: Send>(
    run: &Run,
    name: &str,
    n: usize,
    work: impl Fn(usize) -> T + Sync + Send,
) -> Result<Vec<T>> {
    const CHUNK: usize = 16;
    run.progress().begin(name, n as u64);
    let chunks = run.install(|| {
        (0..n.div_ceil(CHUNK))
            .into_par_iter()
            .map(|c| {
                run.check()?;
                let part = c * CHUNK..n.min((c + 1) * CHUNK);
                let len = part.len() as u64;
                let out: Vec<T> = part.map(&work).collect();
                run.progress().advance(len);
                Ok(out)
            })
            .collect::<Result<Vec<Vec<T>>>>()
    });
    run.progress().end();
    Ok(chunks?.into_iter().flatten().collect())
}

/// The parameter that every seasonal method has.
pub const SEASON_LENGTH: ParamSpec = ParamSpec {
    name: "season_length",
    kind: ParamKind::Integer { min: 1, max: 10_000 },
    default: "",
    summary: "steps of a season; by the frequency when not given (7 for days, 12 for months), 1 for no season",
};

/// The season in steps: as asked, else the frequency's usual one.
pub fn season_of(asked: Option<usize>, series: &Series<'_>) -> usize {
    asked.unwrap_or_else(|| series.freq.season_length()).max(1)
}

/// The history from its first known observation on, with gaps inside filled along a straight line and unknown values
/// at the end carried forward from the last known one. Also how many unknown values were cut off in front. `None`
/// when nothing is known.
pub fn filled(y: &[f64]) -> Option<(usize, Cow<'_, [f64]>)> {
    let first = y.iter().position(|v| v.is_finite())?;
    let y = &y[first..];
    if y.iter().all(|v| v.is_finite()) {
        return Some((first, Cow::Borrowed(y)));
    }
    let mut out = y.to_vec();
    let mut last = 0;
    for i in 1..out.len() {
        if out[i].is_finite() {
            let (from, to, width) = (out[last], out[i], (i - last) as f64);
            for k in last + 1..i {
                let w = (k - last) as f64 / width;
                out[k] = from * (1.0 - w) + to * w;
            }
            last = i;
        }
    }
    let end = out[last];
    out[last + 1..].fill(end);
    Some((first, Cow::Owned(out)))
}

/// Begins the forecasts inside the history with the NaN of the values that [`filled`] cut off.
pub fn cut_off(in_sample: Option<&mut Vec<f64>>, first: usize) -> Option<&mut Vec<f64>> {
    let out = in_sample?;
    out.clear();
    out.resize(first, f64::NAN);
    Some(out)
}

/// [`filled`], with an error for fewer than `needed` observations (filled ones count).
pub fn filled_at_least<'a>(
    entry: &ForecasterEntry,
    y: &'a [f64],
    needed: usize,
) -> Result<(usize, Cow<'a, [f64]>)> {
    match filled(y) {
        Some((first, y)) if y.len() >= needed => Ok((first, y)),
        short => Err(Error::NotEnoughData {
            what: entry.name.to_owned(),
            needed,
            got: short.map_or(0, |(_, y)| y.len()),
        }),
    }
}

pub(crate) fn never_negative(y: &[f64]) -> bool {
    y.iter().all(|v| v.is_nan() || *v >= 0.0)
}

/// A step that overflowed repeats the one before it.
fn make_finite(steps: &mut Steps) {
    for values in [&mut steps.mean, &mut steps.sd] {
        let mut last = 0.0;
        for v in values {
            if v.is_finite() { last = *v } else { *v = last }
        }
    }
}

fn saved(entry: &ForecasterEntry, source: serde_json::Error) -> Error {
    Error::Saved { what: entry.name.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_bridged() {
        let n = f64::NAN;
        assert_eq!(filled(&[n, 1.0, n, n, 4.0, n]).expect("known").1[..], [1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(filled(&[1.0, 2.0]).expect("known").0, 0);
        assert!(filled(&[n, n]).is_none() && filled(&[]).is_none());
    }

    #[test]
    fn work_stops_when_cancelled() {
        let run = Run::new(0);
        assert_eq!(map_series(&run, "t", 100, |i| i).expect("runs"), (0..100).collect::<Vec<_>>());
        run.cancel();
        assert!(matches!(map_series(&run, "t", 100, |i| i), Err(Error::Interrupted)));
    }
}
