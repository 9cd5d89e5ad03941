//! Rolling-origin backtests: how good would each model have been in the past?
//!
//! The clock is set back to several *origins*. At each one every model learns from what was known then, forecasts
//! `horizon` steps, and is scored on what came. No model ever sees a value beyond its origin: it is handed a panel from
//! which the later observations are gone.
//!
//! ```text
//! origin 0   ██████████████░░▒▒▒▒            █ learnt   ░ gap   ▒ scored
//! origin 1   ██████████████████░░▒▒▒▒
//! origin 2   ██████████████████████░░▒▒▒▒
//! ```
//!
//! ```
//! use tradewind_core::{Freq, Panel, Params, Run};
//! use tradewind_forecast::backtest::{self, Backtest, Group};
//! use tradewind_forecast::entry;
//! let y: Vec<f64> = (0..60).map(|t| 10.0 + f64::from(t)).collect();
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
//! let naive = (entry("naive").unwrap().build)(&Params::new()).unwrap();
//! let mean = (entry("mean").unwrap().build)(&Params::new()).unwrap();
//! let settings = Backtest { horizon: 7, n_origins: 3, ..Backtest::default() };
//! let result = backtest::run(&Run::new(0), &panel, &[&*naive, &*mean], &settings).unwrap();
//! let best = &result.leaderboard(Group::All)[0];
//! assert_eq!((best.model.as_str(), best.scores.mae), ("naive", 4.0));
//! ```

mod demand;
mod scores;

pub use demand::DemandClass;
pub use scores::{Group, Interval, LeaderboardRow, Scores};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::metrics::point;
use tradewind_core::{
    Ahead, Covariate, Device, Error, FittedForecaster, Forecast, Forecaster, Panel, ParamCheck, Result, Run,
};

/// Whether models learn anew at each origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refit {
    /// At every origin.
    #[default]
    Every,
    /// At the first one only; later origins take in what came since by [`FittedForecaster::update`]. Series that are
    /// too short at the first origin are left out.
    Once,
}

/// From where origins are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// From the end of each series, so that every series is scored on its own last steps.
    #[default]
    Ends,
    /// From the latest stamp of the panel: all series share the date of an origin. A series that ended before it is
    /// left out.
    Dates,
}

/// The settings of a backtest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Steps scored at each origin; at least 1.
    pub horizon: usize,
    /// How many origins; at least 1.
    pub n_origins: usize,
    /// Steps between origins; 0 means `horizon`, so that no step is scored twice.
    pub step: usize,
    /// Steps between an origin and the first one scored: the time it takes to act.
    pub gap: usize,
    /// Coverages of the central intervals to score, as 0.8; may be empty.
    pub coverages: Vec<f64>,
    /// Whether to learn anew at each origin.
    pub refit: Refit,
    /// From where origins are counted.
    pub align: Align,
    /// The season of the MASE's scale; 0 means that of the panel's frequency.
    pub season_length: usize,
    /// Fewest observations that a series must have at an origin, else it is left out of that origin.
    pub min_train: usize,
}

impl Default for Backtest {
    fn default() -> Self {
        Self {
            horizon: 1,
            n_origins: 3,
            step: 0,
            gap: 0,
            coverages: vec![],
            refit: Refit::Every,
            align: Align::Ends,
            season_length: 0,
            min_train: 2,
        }
    }
}

impl Backtest {
    /// All faults of the settings at once.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check
            .require((1..=100_000).contains(&self.horizon), "horizon", self.horizon, "1 to 100000")
            .require((1..=10_000).contains(&self.n_origins), "n_origins", self.n_origins, "1 to 10000")
            .require(self.step <= 100_000, "step", self.step, "0 to 100000")
            .require(self.gap <= 100_000, "gap", self.gap, "0 to 100000");
        for c in &self.coverages {
            check.require(*c > 0.0 && *c < 1.0, "coverages", c, "above 0 and below 1");
        }
        check.finish()
    }

    /// Steps between origins.
    pub fn stride(&self) -> usize {
        if self.step == 0 { self.horizon } else { self.step }
    }

    /// Observations hidden at origin `o` (0 is the oldest).
    fn hidden(&self, o: usize) -> usize {
        self.horizon + self.gap + (self.n_origins - 1 - o) * self.stride()
    }
}

/// One series at one origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The position of the series in the panel.
    pub series: usize,
    /// The origin, 0 is the oldest.
    pub origin: usize,
    /// Observations known at the origin.
    pub n_train: usize,
    /// Mean absolute error of the seasonal naive forecast inside what was known: the scale of the MASE. NaN when the
    /// history is too short.
    pub scale: f64,
    /// Root mean squared one-step naive error from the first sale on: the scale of the RMSSE.
    pub scale_squared: f64,
}

/// What a model said about every window.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResult {
    /// The model's name.
    pub model: String,
    /// Windows that the model gave no forecast for.
    pub n_left_out: usize,
    /// Why the first of them was left out.
    pub reason: Option<String>,
    mean: Vec<f64>,
    quantiles: Vec<f64>,
}

/// What came and what was said: windows × steps, for each model.
#[derive(Clone, Debug)]
pub struct BacktestResult {
    settings: Backtest,
    ids: Vec<String>,
    classes: Vec<DemandClass>,
    levels: Vec<f64>,
    windows: Vec<Window>,
    actual: Vec<f64>,
    models: Vec<ModelResult>,
    too_short: Vec<usize>,
}

impl BacktestResult {
    /// The settings it was made with.
    pub fn settings(&self) -> &Backtest {
        &self.settings
    }

    /// The series' names, in the panel's order.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The class of each series, by what was known at the last origin.
    pub fn classes(&self) -> &[DemandClass] {
        &self.classes
    }

    /// Every series at every origin that it is long enough for; by origin, then by series.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// How many series were too short for each origin, oldest first.
    pub fn too_short(&self) -> &[usize] {
        &self.too_short
    }

    /// The models in the order given.
    pub fn models(&self) -> &[ModelResult] {
        &self.models
    }

    /// What came in window `w`; NaN where unknown.
    pub fn actual(&self, w: usize) -> &[f64] {
        let h = self.settings.horizon;
        &self.actual[w * h..(w + 1) * h]
    }

    /// What model `m` expected in window `w`; NaN when it gave no forecast.
    pub fn mean(&self, m: usize, w: usize) -> &[f64] {
        let h = self.settings.horizon;
        &self.models[m].mean[w * h..(w + 1) * h]
    }

    /// The quantile levels held.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// The quantiles of step `k` of window `w` by model `m`, in the order of [`BacktestResult::levels`].
    pub fn quantiles(&self, m: usize, w: usize, k: usize) -> &[f64] {
        let q = self.levels.len();
        &self.models[m].quantiles[(w * self.settings.horizon + k) * q..][..q]
    }
}

/// Scores `models` on the past of `panel`.
///
/// A model that cannot learn from the panel of an origin as a whole (because one of its series is too short for it,
/// say) is tried series by series; series that it refuses are left out of its scores and counted. Models run one after
/// the other, each parallel inside; its origins too, where the model does not ask for them side by side.
///
/// # Errors
/// Settings out of range, no series long enough for any origin, parameters that a model refuses, or cancellation.
pub fn run(
    run: &Run,
    panel: &Panel,
    models: &[&dyn Forecaster],
    settings: &Backtest,
) -> Result<BacktestResult> {
    settings.check()?;
    let (h, o_n) = (settings.horizon, settings.n_origins);
    let season =
        if settings.season_length == 0 { panel.freq().season_length() } else { settings.season_length };
    let levels = Forecast::levels_of(&settings.coverages);

    let heads: Vec<Panel> = (0..o_n).map(|o| head(panel, settings, o)).collect();
    let mut windows = Vec::new();
    let mut actual = Vec::new();
    let mut too_short = Vec::with_capacity(o_n);
    for (origin, head) in heads.iter().enumerate() {
        too_short.push(panel.len() - head.len());
        for s in head.iter() {
            let series = panel.position(s.id).expect("a head holds series of its panel");
            let n_train = s.y.len();
            let first_sale = s.y.iter().position(|v| *v > 0.0).unwrap_or(n_train);
            let live = &s.y[first_sale..];
            let scale_squared =
                if live.len() < 2 { f64::NAN } else { point::rmse(&live[1..], &live[..live.len() - 1]) };
            windows.push(Window {
                series,
                origin,
                n_train,
                scale: point::naive_mae(s.y, season),
                scale_squared,
            });
            let y = panel.series(series).y;
            actual.extend((0..h).map(|k| y.get(n_train + settings.gap + k).copied().unwrap_or(f64::NAN)));
        }
    }
    if windows.is_empty() {
        let longest = panel.iter().map(|s| s.y.len()).max().unwrap_or(0);
        return Err(Error::NotEnoughData {
            what: format!("a backtest with {h} steps and a gap of {}", settings.gap),
            needed: settings.min_train.max(1) + h + settings.gap,
            got: longest,
        });
    }

    run.progress().begin("backtest", (models.len() * o_n) as u64);
    let quiet = run.quiet();
    let mut results = Vec::with_capacity(models.len());
    for model in models {
        let mut said = Said::new(model.name(), windows.len(), h, levels.len(), settings.gap);
        let mut at = 0;
        let mut kept: Option<(Box<dyn FittedForecaster>, usize)> = None;
        let ahead = Ahead::new(h + settings.gap, &levels);
        let side_by_side = model.side_by_side() && run.device == Device::Cpu;
        if side_by_side && matches!(settings.refit, Refit::Every) {
            // Within the pool of all origins; each would make one of its own otherwise.
            let inside = quiet.clone().with_threads(0);
            let told: Vec<Result<Told>> = run.install(|| {
                let told = |head: &Panel| {
                    let told = Told::by(&inside, *model, head, &ahead);
                    run.progress().advance(1);
                    told
                };
                heads.par_iter().map(told).collect()
            });
            for (told, head) in told.into_iter().zip(&heads) {
                said.take_all(told?, head, at);
                at += head.len();
            }
            results.push(said.finish());
            continue;
        }
        for (o, head) in heads.iter().enumerate() {
            run.check()?;
            if !head.is_empty() {
                match settings.refit {
                    Refit::Every => said.take_all(Told::by(&quiet, *model, head, &ahead)?, head, at),
                    Refit::Once => match &mut kept {
                        None => {
                            let fitted = model.fit(&quiet, head)?;
                            said.take(&fitted.predict(&quiet, &ahead)?, head, at);
                            kept = Some((fitted, o));
                        }
                        Some((fitted, first)) => {
                            let newer = between(&heads[o - 1], head, &heads[*first])?;
                            fitted.update(&quiet, &newer)?;
                            said.take(&fitted.predict(&quiet, &ahead)?, head, at);
                        }
                    },
                }
            }
            at += head.len();
            run.progress().advance(1);
        }
        results.push(said.finish());
    }
    run.progress().end();
    Ok(BacktestResult {
        settings: settings.clone(),
        ids: panel.ids().to_vec(),
        classes: classes(panel, settings),
        levels,
        windows,
        actual,
        models: results,
        too_short,
    })
}

/// What was known at origin `o`, without the series that are too short for it.
fn head(panel: &Panel, settings: &Backtest, o: usize) -> Panel {
    let hidden = settings.hidden(o);
    let min = settings.min_train.max(1);
    match settings.align {
        Align::Ends => panel.split_last(hidden).0.filter(|_, s| s.y.len() >= min),
        Align::Dates => {
            let Some(last) = panel.last_stamp() else { return Panel::empty(panel.freq()) };
            let cutoff = panel.freq().add(last, -(hidden as i64));
            let known = panel.as_of(cutoff);
            known.filter(|_, s| {
                // A series whose last value is known at the origin has nothing left to be scored on.
                let all = panel.position(s.id).map_or(0, |i| panel.series(i).y.len());
                s.y.len() >= min && all > s.y.len() + settings.gap
            })
        }
    }
}

/// The observations of `newer` that `older` lacks, for the series that `first` knows.
fn between(older: &Panel, newer: &Panel, first: &Panel) -> Result<Panel> {
    let mut series = Vec::new();
    let mut from = Vec::new();
    for (i, s) in newer.iter().enumerate() {
        let Some(k) = older.position(s.id).filter(|_| first.position(s.id).is_some()) else { continue };
        let n = older.series(k).y.len();
        if s.y.len() > n {
            series.push((s.id.to_owned(), s.ds(n), s.y[n..].to_vec()));
            from.push((i, n));
        }
    }
    let mut out = Panel::from_series(newer.freq(), series)?;
    for c in newer.covariates() {
        let mut column =
            Covariate { name: c.name.clone(), known_ahead: c.known_ahead, offsets: vec![0], values: vec![] };
        for &(i, n) in &from {
            column.values.extend(&c.of(i)[n..]);
            column.offsets.push(column.values.len());
        }
        out = out.with_covariate(column)?;
    }
    Ok(out)
}

fn classes(panel: &Panel, settings: &Backtest) -> Vec<DemandClass> {
    panel
        .iter()
        .map(|s| {
            let n = s.y.len().saturating_sub(settings.horizon + settings.gap);
            DemandClass::of(if n == 0 { s.y } else { &s.y[..n] })
        })
        .collect()
}

/// What one model says at one origin.
#[derive(Default)]
struct Told {
    whole: Option<Forecast>,
    /// Of single series, where the model cannot learn from all together.
    each: Vec<(usize, Forecast)>,
    reason: Option<String>,
}

impl Told {
    /// Fits the model to `head`, as a whole or, where that fails, series by series.
    fn by(run: &Run, model: &dyn Forecaster, head: &Panel, ahead: &Ahead<'_>) -> Result<Self> {
        run.check()?;
        if head.is_empty() {
            return Ok(Self::default());
        }
        let whole = match model.fit(run, head).and_then(|fitted| fitted.predict(run, ahead)) {
            Ok(whole) => return Ok(Self { whole: Some(whole), ..Self::default() }),
            Err(e @ (Error::Interrupted | Error::Params(_) | Error::UnknownParam { .. })) => return Err(e),
            Err(whole) => whole,
        };
        let of = |i| {
            let one = head.filter(|k, _| k == i);
            model.fit(run, &one)?.predict(run, ahead)
        };
        let each: Vec<Result<Forecast>> = run.install(|| (0..head.len()).into_par_iter().map(of).collect());
        run.check()?;
        let mut told = Self::default();
        for (i, f) in each.into_iter().enumerate() {
            match f {
                Ok(f) => told.each.push((i, f)),
                Err(e) => {
                    told.reason.get_or_insert_with(|| format!("{}: {e}", head.ids()[i]));
                }
            }
        }
        told.reason.get_or_insert_with(|| whole.to_string());
        Ok(told)
    }
}

/// Gathers what one model says.
struct Said {
    model: String,
    horizon: usize,
    gap: usize,
    n_levels: usize,
    mean: Vec<f64>,
    quantiles: Vec<f64>,
    reason: Option<String>,
}

impl Said {
    fn new(model: &str, n_windows: usize, horizon: usize, n_levels: usize, gap: usize) -> Self {
        Self {
            model: model.to_owned(),
            horizon,
            gap,
            n_levels,
            mean: vec![f64::NAN; n_windows * horizon],
            quantiles: vec![f64::NAN; n_windows * horizon * n_levels],
            reason: None,
        }
    }

    /// Takes what was told of a head whose windows begin at `at`.
    fn take_all(&mut self, told: Told, head: &Panel, at: usize) {
        if let Some(whole) = &told.whole {
            self.take(whole, head, at);
        }
        for (i, f) in told.each {
            self.put(&f, 0, at + i);
        }
        self.reason = self.reason.take().or(told.reason);
    }

    /// Takes a forecast of (some of) the head's series, whose windows begin at `at`.
    fn take(&mut self, f: &Forecast, head: &Panel, at: usize) {
        for (i, id) in f.ids().iter().enumerate() {
            if let Some(k) = head.position(id) {
                self.put(f, i, at + k);
            }
        }
    }

    fn put(&mut self, f: &Forecast, i: usize, window: usize) {
        let (h, q) = (self.horizon, self.n_levels);
        self.mean[window * h..(window + 1) * h].copy_from_slice(&f.mean(i)[self.gap..self.gap + h]);
        for k in 0..h {
            for (j, level) in f.levels().iter().enumerate().take(q) {
                if let Some(v) = f.quantile(i, self.gap + k, *level) {
                    self.quantiles[(window * h + k) * q + j] = v;
                }
            }
        }
    }

    fn finish(self) -> ModelResult {
        let n_left_out = self.mean.chunks(self.horizon).filter(|w| w.iter().any(|v| v.is_nan())).count();
        ModelResult {
            model: self.model,
            n_left_out,
            // A model that managed every series alone has left nothing out.
            reason: self.reason.filter(|_| n_left_out > 0),
            mean: self.mean,
            quantiles: self.quantiles,
        }
    }
}
