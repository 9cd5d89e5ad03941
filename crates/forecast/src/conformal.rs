//! Conformal intervals: quantiles for any forecaster, with the coverage they promise.
//!
//! A model's own formula for its uncertainty trusts the model. Split conformal prediction trusts only the past: the
//! model forecasts some earlier windows that it was not shown, and the spread of those errors becomes the interval.
//!
//! One series alone has few such errors, so they are pooled. Each error `y − ŷ` at step `k` of series `s` is divided by
//! its own measure of size,
//!
//! ```text
//! score = (y − ŷ) / (b · m · g[k])
//! ```
//!
//! where `b` is the mean step from one observation (one season) to the next in what was known then, `g` how errors grow
//! with the step (averages made monotone), and `m` how much harder than others this series is to forecast: the mean of
//! its own errors at the *other* origins, drawn towards the class's mean by as much as serves the errors left out best.
//! Scores of one class of demand (smooth, erratic, intermittent, lumpy) are put together; their quantiles, with the
//! finite-sample correction `⌈(n + 1) τ⌉`, times the size of the series give its interval. They are signed, so that the
//! interval of a skewed series is skewed. `n` counts observations, not errors: windows that overlap check one
//! observation several times.
//!
//! Slow sellers need one more thing. Where 60 % of the days have no sale, the quantile at 10 % is 0 and the one at 90 %
//! leaves 10 % above, so that the interval between them holds 90 % and not 80 %. Quantiles asked for by level stay true
//! quantiles (a safety stock needs them). With [`ConformalSettings::exact_coverage`] the pair is taken as an interval
//! instead: where nothing can lie below its lower end, its upper end takes all of the miss, `[0, q(0.8)]`.
//!
//! Sources: Vovk, Gammerman and Shafer (2005), *Algorithmic Learning in a Random World*; Lei, G'Sell, Rinaldo,
//! Tibshirani and Wasserman (2018), *Distribution-free predictive inference for regression* (locally weighted scores);
//! the growth by steps and the pooling are ours. Coverage holds on average over series and origins as far as the coming
//! errors are like the past ones; it is not a promise for each single series.

use crate::backtest::{self, Backtest, BacktestResult, DemandClass};
use crate::normal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tradewind_core::metrics::point;
use tradewind_core::{
    Ahead, Error, FittedForecaster, Forecast, Forecaster, Panel, Result, Run, TrainingCurve,
};

/// Fewest scores that a class must have for quantiles of its own.
const OWN_CLASS_SCORES: usize = 300;
/// Errors below which a small panel is looked back on further.
const FEW_ERRORS: usize = 400;
/// How many origins it then gets at most.
const ORIGINS_MAX: usize = 24;
/// Fewest observations behind the recent half of a series' size.
const RECENT_MIN: usize = 56;
/// How many points of a class's mean error are mixed into a series' own; the best on the errors left out is taken.
const PRIOR_POINTS: [f64; 6] = [2.0, 6.0, 18.0, 54.0, 162.0, f64::INFINITY];

/// How the past errors for intervals are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConformalSettings {
    /// Steps ahead that errors are gathered for; later steps widen with the square root of the step.
    pub horizon: usize,
    /// Past origins at which the model is fitted and checked.
    pub n_origins: usize,
    /// Steps between origins; 0 means a third of the horizon.
    pub step: usize,
    /// The season; 0 means that of the panel's frequency.
    pub season_length: usize,
    /// No mean and no quantile below zero for series that never were below zero.
    pub nonnegative: bool,
    /// Takes the levels as ends of central intervals that are to hold exactly their coverage, instead of as quantiles.
    /// It matters for slow sellers only.
    pub exact_coverage: bool,
}

impl Default for ConformalSettings {
    fn default() -> Self {
        Self { horizon: 1, n_origins: 4, step: 0, season_length: 0, nonnegative: true, exact_coverage: false }
    }
}

/// Gives any forecaster quantiles from its own past errors.
///
/// Where no series is long enough to look back, the model's own quantiles are used.
///
/// ```
/// use tradewind_core::{Ahead, Forecaster, Freq, Panel, Run};
/// use tradewind_forecast::conformal::{Conformal, ConformalSettings};
/// let y = (0..80).map(|t| 20.0 + f64::from(t * 37 % 11)).collect();
/// let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
/// let model = (tradewind_forecast::entry("mean").unwrap().build)(&Default::default()).unwrap();
/// let conformal = Conformal::new(model, ConformalSettings { horizon: 7, ..Default::default() });
/// let fitted = conformal.fit(&Run::new(0), &panel).unwrap();
/// let forecast = fitted.predict(&Run::new(0), &Ahead::new(7, &[0.1, 0.9])).unwrap();
/// let (lower, upper) = forecast.interval(0, 0, 0.8).unwrap();
/// assert!(lower < forecast.mean(0)[0] && forecast.mean(0)[0] < upper);
/// ```
pub struct Conformal {
    inner: Arc<dyn Forecaster>,
    settings: ConformalSettings,
}

impl Conformal {
    /// Wraps a forecaster.
    pub fn new(inner: Box<dyn Forecaster>, settings: ConformalSettings) -> Self {
        Self { inner: inner.into(), settings }
    }
}

impl Forecaster for Conformal {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        let calibration = calibrate(run, panel, &*self.inner, &self.settings)?;
        let inner = self.inner.fit(run, panel)?;
        Ok(Box::new(FittedConformal { inner, calibration }))
    }
}

/// A fitted forecaster with the errors of its past.
pub struct FittedConformal {
    inner: Box<dyn FittedForecaster>,
    calibration: Option<Calibration>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    model: String,
    inner: Value,
    calibration: Option<Calibration>,
}

impl FittedConformal {
    /// Reads back what [`FittedForecaster::save`] gave.
    ///
    /// # Errors
    /// State that cannot be read, or a model that is not in the catalogue.
    pub fn load(value: Value) -> Result<Self> {
        let saved: Saved = serde_json::from_value(value)
            .map_err(|source| Error::Saved { what: "conformal forecast".into(), source })?;
        let entry = crate::entry(&saved.model)?;
        if let Some(c) = saved.calibration.as_ref().filter(|c| !c.fits(&c.ids)) {
            return Err(Error::Invalid(format!(
                "saved intervals of {} series do not fit together",
                c.ids.len()
            )));
        }
        Ok(Self { inner: (entry.load)(saved.inner)?, calibration: saved.calibration })
    }

    /// The errors behind the intervals; `None` when no series was long enough.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }
}

impl FittedForecaster for FittedConformal {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        match &self.calibration {
            None => self.inner.predict(run, ahead),
            Some(c) => {
                let f = self.inner.predict(run, &Ahead { quantiles: &[], ..ahead.clone() })?;
                c.widen(&f, ahead.quantiles)
            }
        }
    }

    fn update(&mut self, run: &Run, newer: &Panel) -> Result<()> {
        self.inner.update(run, newer)?;
        if let Some(c) = &mut self.calibration {
            c.note(newer);
        }
        Ok(())
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.inner.training_curves()
    }

    fn save(&self) -> Result<Value> {
        let saved = Saved {
            model: self.inner.name().to_owned(),
            inner: self.inner.save()?,
            calibration: self.calibration.clone(),
        };
        serde_json::to_value(&saved)
            .map_err(|source| Error::Saved { what: "conformal forecast".into(), source })
    }
}

/// Learns the calibration of `model` from a backtest on `panel`. `None` when no series is long enough.
///
/// # Errors
/// Those of [`backtest::run`] but for a lack of data.
pub fn calibrate(
    run: &Run,
    panel: &Panel,
    model: &dyn Forecaster,
    settings: &ConformalSettings,
) -> Result<Option<Calibration>> {
    let season =
        if settings.season_length == 0 { panel.freq().season_length() } else { settings.season_length };
    let Some(backtest) = look_back(panel, season, settings.horizon, settings.n_origins, settings.step) else {
        return Ok(None);
    };
    let result = backtest::run(run, panel, &[model], &backtest)?;
    let calibration = Calibration::learn(panel, season, settings.nonnegative, &Residuals::of(&result, 0));
    Ok(calibration.map(|c| c.covering(settings.exact_coverage)))
}

/// A backtest that fits into the panel's history: as long as asked where enough series are, else shorter. `None` when
/// even one step cannot be held back.
pub fn look_back(
    panel: &Panel,
    season: usize,
    horizon: usize,
    n_origins: usize,
    step: usize,
) -> Option<Backtest> {
    let mut lengths: Vec<usize> = panel.iter().map(|s| s.y.len()).collect();
    lengths.sort_unstable();
    // The length that a quarter of the series falls short of: most series should take part.
    let typical = *lengths.get(lengths.len() / 4)?;
    let longest = *lengths.last()?;
    let n = if typical >= 4 { typical } else { longest };
    if n < 4 {
        return None;
    }
    let horizon = horizon.max(1).min((n / 3).max(1));
    let room = n - horizon;
    let min_train = [2 * season + 1, season + 1, 3].into_iter().find(|m| *m <= room).unwrap_or(2);
    let mut spare = room - min_train.min(room);
    let mut stride = if step == 0 { horizon.div_ceil(3) } else { step };
    let mut wanted = n_origins.max(1);
    if step == 0 && lengths.len() * wanted * horizon < FEW_ERRORS {
        // A few series must look back further for as many errors, but not so far that the model is another one.
        wanted = FEW_ERRORS.div_ceil(lengths.len() * horizon).min(ORIGINS_MAX);
        spare = spare.min(n / 2);
        stride = horizon;
    }
    let median = lengths[lengths.len() / 2];
    if step == 0 && median >= 2 * horizon + min_train {
        // Windows side by side tell more than windows that overlap; shorter series take part in the later ones only.
        stride = horizon;
        spare = spare.max(longest - horizon - min_train);
    } else if wanted > 1 {
        // Origins closer together rather than fewer, when the history is short.
        stride = stride.min((spare / (wanted - 1)).max(1));
    }
    let n_origins = wanted.min(1 + spare / stride);
    Some(Backtest {
        horizon,
        n_origins,
        step: stride,
        season_length: season,
        min_train,
        ..Backtest::default()
    })
}

/// Past errors of one series at one origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Residuals {
    /// The position of the series in the panel.
    pub series: usize,
    /// The origin.
    pub origin: usize,
    /// Observations known then.
    pub n_train: usize,
    /// Actual less forecast, by step; NaN where unknown.
    pub errors: Vec<f64>,
}

impl Residuals {
    /// The errors of model `m` of a backtest.
    pub fn of(result: &BacktestResult, m: usize) -> Vec<Self> {
        result
            .windows()
            .iter()
            .enumerate()
            .map(|(w, window)| Self {
                series: window.series,
                origin: window.origin,
                n_train: window.n_train,
                errors: result.actual(w).iter().zip(result.mean(m, w)).map(|(y, f)| y - f).collect(),
            })
            .collect()
    }
}

/// What turns means into quantiles: a size for each series, its growth with the step, and scores by class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    ids: Vec<String>,
    /// `b · m` of each series.
    size: Vec<f64>,
    /// The pool of each series.
    pool_of: Vec<usize>,
    nonnegative: Vec<bool>,
    /// The share of zeros in each series since its first sale.
    zero_share: Vec<f64>,
    exact_coverage: bool,
    pools: Vec<Pool>,
}

/// Scores of one class of demand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pool {
    growth: Vec<f64>,
    scores: Vec<f64>,
    /// Observations behind the scores.
    n_observations: usize,
}

impl Calibration {
    /// Learns from past errors. `None` when there is none that can be measured.
    pub fn learn(panel: &Panel, season: usize, nonnegative: bool, residuals: &[Residuals]) -> Option<Self> {
        let horizon = residuals.iter().map(|r| r.errors.len()).max()?;
        let class: Vec<DemandClass> = panel.iter().map(|s| DemandClass::of(s.y)).collect();
        // Errors over the size that was known at the origin.
        let measured: Vec<(&Residuals, Vec<f64>)> = residuals
            .par_iter()
            .filter_map(|r| {
                let b = base_size(&panel.series(r.series).y[..r.n_train], season);
                (b > 0.0).then(|| (r, r.errors.iter().map(|e| e / b).collect()))
            })
            .collect();
        let known = |e: &[f64]| e.iter().filter(|v| v.is_finite()).count();
        if measured.iter().all(|(_, e)| known(e) == 0) {
            return None;
        }

        // The pool of everything stands last and serves the classes that are too small for their own.
        let mut pools = Vec::new();
        let mut pool_by_class = [usize::MAX; 4];
        for c in DemandClass::ALL {
            let own: Vec<_> = measured.iter().filter(|(r, _)| class[r.series] == c).collect();
            if own.iter().map(|(_, e)| known(e)).sum::<usize>() >= OWN_CLASS_SCORES {
                pool_by_class[c as usize] = pools.len();
                pools.push(own);
            }
        }
        pools.push(measured.iter().collect());
        let pool_of: Vec<usize> =
            class.iter().map(|c| pool_by_class[*c as usize].min(pools.len() - 1)).collect();

        let mut size: Vec<f64> = panel.iter().map(|s| base_size(s.y, season)).collect();
        let last = pools.len() - 1;
        let mut made = Vec::with_capacity(pools.len());
        for (p, pool) in pools.into_iter().enumerate() {
            let growth = growth(&pool, horizon);
            let own = OwnErrors::gather(&pool, &growth, panel.len());
            let prior = own.best_prior();
            let mut scores = own.scores(prior);
            scores.sort_by(f64::total_cmp);
            for (s, size) in size.iter_mut().enumerate() {
                // The pool of everything scales only the series that draw from it.
                if pool_of[s] == p || (p == last && pool_of[s] == last) {
                    *size *= own.hardness(s, None, prior);
                }
            }
            made.push(Pool { growth, scores, n_observations: observations(&pool) });
        }
        Some(Self {
            ids: panel.ids().to_vec(),
            size,
            pool_of,
            nonnegative: panel
                .iter()
                .map(|s| nonnegative && s.y.iter().all(|v| v.is_nan() || *v >= 0.0))
                .collect(),
            zero_share: panel.iter().map(|s| zero_share(s.y)).collect(),
            exact_coverage: false,
            pools: made,
        })
    }

    /// The same, with levels taken as [`ConformalSettings::exact_coverage`] tells.
    pub fn covering(self, exact_coverage: bool) -> Self {
        Self { exact_coverage, ..self }
    }

    /// The distance from the mean of series `i` to its quantile at `level`, `k` steps ahead (from 0).
    pub fn distance(&self, i: usize, k: usize, level: f64) -> f64 {
        let pool = &self.pools[self.pool_of[i]];
        let h = pool.growth.len();
        let beyond = if k < h { 1.0 } else { ((k + 1) as f64 / h as f64).sqrt() };
        self.size[i] * pool.growth[k.min(h - 1)] * beyond * quantile(&pool.scores, pool.n_observations, level)
    }

    /// The quantile of series `i` at `level`, `k` steps ahead, about `mean`.
    fn value(&self, i: usize, k: usize, mean: f64, level: f64) -> f64 {
        if !self.nonnegative[i] {
            return mean + self.distance(i, k, level);
        }
        let lower = level.min(1.0 - level);
        if level < self.zero_share[i] && level < 0.5 {
            return 0.0;
        }
        // See the head of this file: an upper end whose lower end cannot be missed.
        let level = if self.exact_coverage && level > 0.5 && lower < self.zero_share[i] {
            2.0 * level - 1.0
        } else {
            level
        };
        if level < self.zero_share[i] { 0.0 } else { (mean + self.distance(i, k, level)).max(0.0) }
    }

    /// The same forecast with quantiles, and without negative values where the history has none.
    ///
    /// # Errors
    /// A series that was not known when the calibration was learnt.
    pub fn widen(&self, f: &Forecast, levels: &[f64]) -> Result<Forecast> {
        let mut out = Forecast::new(f.model(), f.freq(), f.horizon(), levels);
        let levels = out.levels().to_vec();
        for (n, id) in f.ids().iter().enumerate() {
            let i = self.position(id).ok_or_else(|| Error::NotFound {
                what: "series",
                name: id.clone(),
                known: format!("{} others", self.ids.len()),
            })?;
            let mean: Vec<f64> =
                f.mean(n).iter().map(|v| if self.nonnegative[i] { v.max(0.0) } else { *v }).collect();
            let quantiles: Vec<f64> = mean
                .iter()
                .enumerate()
                .flat_map(|(k, m)| levels.iter().map(move |l| self.value(i, k, *m, *l)))
                .collect();
            out.push(id, f.ds(n, 0), &mean, &quantiles)?;
        }
        out.with_modes(f.modes().to_vec())
    }

    /// Takes notice of newer observations: a series that goes below zero may be forecast below zero.
    pub fn note(&mut self, newer: &Panel) {
        for s in newer.iter() {
            if let Some(i) = self.position(s.id) {
                self.nonnegative[i] &= s.y.iter().all(|v| v.is_nan() || *v >= 0.0);
            }
        }
    }

    /// Whether its parts fit together and to these series, for state that was read back.
    pub(crate) fn fits(&self, ids: &[String]) -> bool {
        let n = self.ids.len();
        self.ids == ids
            && self.size.len() == n
            && self.pool_of.len() == n
            && self.nonnegative.len() == n
            && self.zero_share.len() == n
            && self.pool_of.iter().all(|p| *p < self.pools.len())
            && self.pools.iter().all(|p| !p.growth.is_empty() && !p.scores.is_empty())
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.ids.binary_search_by(|x| x.as_str().cmp(id)).ok()
    }
}

/// The mean absolute step of a series over one season (over one observation, when the history is short), half from all
/// of it and half from its last part, since the size of a product's sales changes over its life.
fn base_size(history: &[f64], season: usize) -> f64 {
    let from = history.iter().position(|v| *v != 0.0 && !v.is_nan()).unwrap_or(0);
    let live = &history[from..];
    let of = |y: &[f64]| {
        let seasonal = if y.len() > 2 * season { point::naive_mae(y, season) } else { f64::NAN };
        if seasonal > 0.0 { seasonal } else { point::naive_mae(y, 1) }
    };
    let all = of(live);
    let recent = of(&live[live.len().saturating_sub((4 * season).max(RECENT_MIN))..]);
    match (all > 0.0, recent.is_nan()) {
        (true, false) => 0.5 * (all + recent),
        (true, true) => all,
        _ => 0.0,
    }
}

/// The share of zeros since the first sale, half from all of that and half from its last part.
fn zero_share(history: &[f64]) -> f64 {
    let from = history.iter().position(|v| *v != 0.0 && !v.is_nan()).unwrap_or(0);
    let of = |y: &[f64]| {
        let known = y.iter().filter(|v| !v.is_nan()).count();
        y.iter().filter(|v| **v == 0.0).count() as f64 / known.max(1) as f64
    };
    let live = &history[from..];
    0.5 * (of(live) + of(&live[live.len().saturating_sub(RECENT_MIN)..]))
}

/// How many distinct observations the errors of a pool were measured on.
fn observations(pool: &[&(&Residuals, Vec<f64>)]) -> usize {
    let mut seen: Vec<(usize, usize)> = pool
        .iter()
        .flat_map(|(r, e)| (0..e.len()).filter(|k| e[*k].is_finite()).map(|k| (r.series, r.n_train + k)))
        .collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len()
}

/// The mean absolute measured error by step, made non-decreasing by pooling neighbours.
fn growth(pool: &[&(&Residuals, Vec<f64>)], horizon: usize) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(horizon);
    for k in 0..horizon {
        let (mut sum, mut n) = (0.0, 0.0);
        for (_, e) in pool {
            if let Some(v) = e.get(k).filter(|v| v.is_finite()) {
                sum += v.abs();
                n += 1.0;
            }
        }
        blocks.push((sum, n, 1));
        while let [.., (s1, n1, w1), (s2, n2, w2)] = blocks[..] {
            // A step without errors joins the one before it.
            if n1 > 0.0 && n2 > 0.0 && s2 / n2 >= s1 / n1 {
                break;
            }
            blocks.truncate(blocks.len() - 2);
            blocks.push((s1 + s2, n1 + n2, w1 + w2));
        }
    }
    let overall = blocks.iter().map(|b| b.0).sum::<f64>() / blocks.iter().map(|b| b.1).sum::<f64>().max(1.0);
    let floor = if overall > 0.0 { overall * 1e-3 } else { 1.0 };
    blocks
        .iter()
        .flat_map(|&(s, n, w)| std::iter::repeat_n(if n > 0.0 { (s / n).max(floor) } else { floor }, w))
        .collect()
}

/// Errors of one pool over size and growth, gathered by series.
struct OwnErrors {
    /// For each series, for each of its origins: observations known then, steps checked, and the errors.
    by_series: Vec<Vec<(usize, usize, Vec<f64>)>>,
    mean: f64,
}

impl OwnErrors {
    fn gather(pool: &[&(&Residuals, Vec<f64>)], growth: &[f64], n_series: usize) -> Self {
        let mut by_series = vec![Vec::new(); n_series];
        let (mut sum, mut n) = (0.0, 0.0);
        for (r, e) in pool {
            let z: Vec<f64> = e.iter().zip(growth).map(|(e, g)| e / g).filter(|z| z.is_finite()).collect();
            sum += z.iter().map(|z| z.abs()).sum::<f64>();
            n += z.len() as f64;
            if !z.is_empty() {
                by_series[r.series].push((r.n_train, e.len(), z));
            }
        }
        Self { by_series, mean: if n > 0.0 && sum > 0.0 { sum / n } else { 1.0 } }
    }

    /// How large the errors of series `s` are against the pool's, drawn to the pool's mean by `prior` points; by its
    /// origins but those whose windows share an observation with that of origin `without`.
    fn hardness(&self, s: usize, without: Option<usize>, prior: f64) -> f64 {
        if prior.is_infinite() {
            return self.mean;
        }
        let (mut sum, mut n) = (0.0, 0.0);
        let apart = |n_train: usize| {
            without.is_none_or(|o| {
                let (at, len, _) = &self.by_series[s][o];
                n_train.abs_diff(*at) >= *len
            })
        };
        for (_, _, z) in self.by_series[s].iter().filter(|w| apart(w.0)) {
            sum += z.iter().map(|z| z.abs()).sum::<f64>();
            n += z.len() as f64;
        }
        (sum + prior * self.mean) / (n + prior)
    }

    /// The prior under which errors left out are likeliest, taking them as Laplace distributed about zero.
    fn best_prior(&self) -> f64 {
        let cost = |prior: f64| -> f64 {
            let mut cost = 0.0;
            for (s, origins) in self.by_series.iter().enumerate().filter(|(_, o)| o.len() > 1) {
                for (o, (_, _, z)) in origins.iter().enumerate() {
                    let m = self.hardness(s, Some(o), prior);
                    cost += z.len() as f64 * m.ln() + z.iter().map(|z| z.abs()).sum::<f64>() / m;
                }
            }
            cost
        };
        let mut best = (f64::INFINITY, f64::INFINITY);
        for prior in PRIOR_POINTS.into_iter().rev() {
            let c = cost(prior);
            if c < best.0 {
                best = (c, prior);
            }
        }
        best.1
    }

    fn scores(&self, prior: f64) -> Vec<f64> {
        let mut out = Vec::new();
        for (s, origins) in self.by_series.iter().enumerate() {
            for (o, (_, _, z)) in origins.iter().enumerate() {
                let m = self.hardness(s, Some(o), prior);
                out.extend(z.iter().map(|z| z / m));
            }
        }
        out
    }
}

/// The quantile of sorted scores that stand for `n` observations, with the finite-sample correction. Levels that so few
/// cannot tell are reached by the ratio of normal quantiles from the outermost level that can.
fn quantile(sorted: &[f64], n: usize, level: f64) -> f64 {
    if sorted.is_empty() || n == 0 {
        return 0.0;
    }
    let n = n as f64;
    // Both tails by one rule: the lower one is the upper one of the scores with their signs changed.
    let upper = level >= 0.5;
    let tail = if upper { level } else { 1.0 - level };
    let corrected = (tail * (n + 1.0) - 1e-9).ceil() / n;
    let at = |share: f64| {
        let rank = ((share * sorted.len() as f64 - 1e-9).ceil() as usize).clamp(1, sorted.len());
        sorted[if upper { rank - 1 } else { sorted.len() - rank }]
    };
    if corrected <= 1.0 {
        return at(corrected);
    }
    let known = normal::quantile(n / (n + 1.0)).max(0.1);
    let reach = (normal::quantile(tail) / known).max(1.0);
    if upper { at(1.0).max(0.0) * reach } else { at(1.0).min(0.0) * reach }
}
