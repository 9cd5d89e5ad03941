//! A fitted price model: the trees, the weights of the answers, and each series' history to ask them about.

use super::doubt::{Doubt, Miss};
use super::ladder;
use super::memory::Memory;
use super::reversion::{Reversion, Way};
use super::rows::{Layout, Member, Members, median};
use super::{ENTRY, Price, Trees};
use crate::local::{FittedSeries, check_ahead, map_series, never_negative};
use crate::mean::FittedMean;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Ahead, Error, FittedForecaster, Forecast, Panel, Result, Run, TrainingCurve};
use tradewind_learn::ensemble::Greedy;
use tradewind_learn::{Matrix, Measure, Task};

/// How many answers are mixed: median, way back, trees, the ladder's median and that of sharpened chances, its likeliest,
/// and the network that remembers.
const ANSWERS: usize = 7;
/// Chances are raised to this power where they are sharpened: each point of the ladder was judged for itself.
const SHARPER: f64 = 2.0;
/// Weights are parts of one over this.
const PARTS: usize = 20;
/// Held-out steps that decide the weights at most.
const WEIGHED_MAX: usize = 40_000;
/// Weights when nothing could be held out.
const USUAL_WEIGHTS: [f64; ANSWERS] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];

/// What [`Price`] has learnt of a panel.
#[derive(Serialize, Deserialize)]
pub struct FittedPrice {
    params: Price,
    layout: Layout,
    pub(super) horizon: usize,
    reversion: Reversion,
    /// One for each answer; models from before there was a network have one less.
    weights: Vec<f64>,
    pub(super) trees: Trees,
    #[serde(default)]
    pub(super) memory: Option<Memory>,
    doubt: Doubt,
    #[serde(with = "crate::global::fitted::kept")]
    panel: Panel,
}

impl std::fmt::Debug for FittedPrice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FittedPrice").field("params", &self.params).field("series", &self.panel.len()).finish_non_exhaustive()
    }
}

/// A forecast of prices with the likeliest price point of each step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriceForecast {
    /// Point forecasts and quantiles, in the unit of the prices.
    pub forecast: Forecast,
    modes: Vec<f64>,
    chances: Vec<f64>,
}

impl PriceForecast {
    /// The likeliest price of each step of series `i`: a point of its own ladder or of its group's; the last
    /// price where prices do not move in steps, 0 where none was ever known. Empty when there is no such series.
    pub fn mode(&self, i: usize) -> &[f64] {
        let h = self.forecast.horizon();
        self.modes.get(i * h..(i + 1) * h).unwrap_or(&[])
    }

    /// The chance of that price among the points considered, 0 to 1; 0 where no ladder was learnt.
    pub fn chance(&self, i: usize) -> &[f64] {
        let h = self.forecast.horizon();
        self.chances.get(i * h..(i + 1) * h).unwrap_or(&[])
    }
}

/// What is said of one step.
#[derive(Clone, Copy, Debug)]
struct Said {
    answers: [f64; ANSWERS],
    mode: f64,
    chance: f64,
}

/// A held-out step and what was said of it.
struct Case {
    origin: usize,
    group: usize,
    ahead: usize,
    truth: f64,
    scale: f64,
    said: Said,
}

impl FittedPrice {
    pub(super) fn new(params: Price, layout: Layout, panel: &Panel, horizon: usize, reversion: Reversion) -> Self {
        let market = layout.market.clone();
        Self {
            params,
            layout,
            horizon,
            reversion,
            weights: USUAL_WEIGHTS.to_vec(),
            trees: Trees::default(),
            memory: None,
            doubt: Doubt::default(),
            panel: panel.clone().keep_covariates(|c| c.known_ahead || market.contains(&c.name)),
        }
    }

    /// Whether what was read back fits together.
    pub(super) fn check(&self) -> Result<()> {
        let sound = self.horizon >= 1
            && self.layout.tick > 0.0
            && self.weights.iter().all(|w| (0.0..=1.0).contains(w))
            && self.reversion.keep.is_finite()
            && self.reversion.season.is_finite()
            && self.weights.len() <= ANSWERS
            && self.memory.as_ref().is_none_or(|m| m.is_sound(&self.layout))
            && self.doubt.is_sound();
        if sound { Ok(()) } else { Err(Error::Invalid("the saved price model has parts that do not fit together".into())) }
    }

    /// The parameters it was fitted with.
    pub fn params(&self) -> &Price {
        &self.params
    }

    /// The shares of the median of eight, the way back to the usual level, the trees, the ladder's median, that of its
    /// sharpened chances, its likeliest point, and the network that remembers; their sum is 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// What is said of the steps 1 to `horizon` after the first `o(series)` steps of every series with known values.
    fn say(&self, run: &Run, members: &Members, horizon: usize, o: impl Fn(&Member) -> usize + Sync) -> Result<Vec<Vec<Said>>> {
        let width = self.layout.names().0.len();
        let ladder_width = ladder::names(&self.layout).0.len();
        let remembered = match &self.memory {
            Some(memory) => memory.answers(run, members, horizon, |i| o(&members.all[i]))?,
            None => Vec::new(),
        };
        map_series(run, ENTRY.name, members.all.len(), |i| {
            let m = &members.all[i];
            let o = o(m);
            let past = m.last(o, usize::MAX);
            let Some(last) = past.last() else { return Ok(Vec::new()) };
            let low = past.iter().copied().fold(f64::INFINITY, f64::min);
            let high = past.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let room = 0.1 * high - 0.1 * low;
            let within = |v: f64| if v.is_finite() { v.clamp(low - room, high + room) } else { f64::NAN };
            let (anchor, scale) = (m.anchor(o), m.scale(o));
            let points = ladder::points(members, i, o);
            let way = Way::of(Reversion::USUAL, members, i, o);
            let own_way = Way::of(self.reversion, members, i, o);
            let (mut x, mut rungs) = (Vec::new(), Vec::new());
            for ahead in 1..=horizon {
                if self.trees.level.is_some() {
                    members.row(i, o, ahead, &way, &mut x);
                }
                if self.trees.ladder.is_some() {
                    ladder::rows(members, i, o, ahead, &points, &way, &mut rungs);
                }
            }
            let level = match &self.trees.level {
                Some(trees) => answer(&trees.model.predict(&Matrix::new(horizon, width, x)?)?, 1)?,
                None => Vec::new(),
            };
            let chances = match &self.trees.ladder {
                Some(trees) if !points.is_empty() => {
                    let rungs = Matrix::new(horizon * points.len(), ladder_width, rungs)?;
                    answer(&trees.model.predict(&rungs)?, 2)?
                }
                _ => Vec::new(),
            };
            Ok((1..=horizon)
                .map(|ahead| {
                    let usual = anchor.clamp(low, high);
                    let back = within(own_way.at(members, ahead));
                    let back = if back.is_finite() { back } else { usual };
                    let trees = level.get(ahead - 1).map_or(usual, |f| within(anchor + f * scale));
                    let trees = if trees.is_finite() { trees } else { usual };
                    let memory = remembered.get(i).map_or(f64::NAN, |f| within(anchor + f[ahead - 1] * scale));
                    let memory = if memory.is_finite() { memory } else { usual };
                    let chances = chances.get((ahead - 1) * points.len()..ahead * points.len()).unwrap_or(&[]);
                    let total: f64 = chances.iter().sum();
                    let best = (0..chances.len()).max_by(|a, b| chances[*a].total_cmp(&chances[*b]).then(b.cmp(a)));
                    let finite = |v: f64| if v.is_finite() { v } else { usual };
                    let sharper: Vec<f64> = chances.iter().map(|c| c.powf(SHARPER)).collect();
                    let (of_ladder, mode, chance) = match best {
                        Some(k) if total > 0.0 => {
                            let middles = [chances, &sharper].map(|c| finite(ladder::middle(&points, c)));
                            ([middles[0], middles[1], points[k].price], points[k].price, chances[k].min(1.0))
                        }
                        _ => ([usual; 3], *last, 0.0),
                    };
                    let [middle, sharp, likeliest] = of_ladder;
                    Said { answers: [usual, back, trees, middle, sharp, likeliest, memory], mode, chance }
                })
                .collect())
        })?
        .into_iter()
        .collect()
    }

    fn mixed(&self, said: &Said) -> f64 {
        self.weights.iter().zip(said.answers).map(|(w, a)| w * a).sum()
    }

    /// What was said of the `step` steps after each origin, so many steps before the end, and what came.
    fn cases(&self, run: &Run, members: &Members, origins: &[usize], step: usize) -> Result<Vec<Case>> {
        let mut cases: Vec<Case> = Vec::new();
        for (origin, back) in origins.iter().enumerate() {
            let said = self.say(run, members, step, |m| m.y.len().saturating_sub(*back))?;
            for (m, said) in members.all.iter().zip(said) {
                let Some(o) = m.y.len().checked_sub(*back) else { continue };
                let scale = m.scale(o);
                let known = said.into_iter().enumerate().filter(|(k, _)| m.y[o + k].is_finite());
                cases.extend(known.map(|(k, said)| Case { origin, group: members.group(m), ahead: k + 1, truth: m.y[o + k], scale, said }));
            }
        }
        Ok(cases)
    }

    /// Keeps the errors of the `step` steps after each origin; the origins span so many horizons as `freedom` says.
    pub(super) fn judge(&mut self, run: &Run, members: &Members, origins: &[usize], step: usize, freedom: f64) -> Result<()> {
        let cases = self.cases(run, members, origins, step)?;
        if cases.len() < 30 {
            return Ok(());
        }
        let misses: Vec<Miss> = cases
            .iter()
            .map(|c| Miss { origin: c.origin, group: c.group, ahead: c.ahead, forecast: self.mixed(&c.said), truth: c.truth, scale: c.scale })
            .collect();
        self.doubt = Doubt::of(&misses, origins.len(), freedom, self.horizon);
        Ok(())
    }

    /// Chooses the weights by the absolute error of the `step` steps after each origin, so many steps before the end.
    pub(super) fn weigh(&mut self, run: &Run, members: &Members, origins: &[usize], step: usize) -> Result<()> {
        let cases = self.cases(run, members, origins, step)?;
        if cases.len() < 30 {
            return Ok(());
        }
        // Errors count as shares of the panel's middle level, so that prices of one unit count as they are.
        let every = cases.len().div_ceil(WEIGHED_MAX);
        let used: Vec<&Case> = cases.iter().step_by(every).collect();
        let unit = median(&cases.iter().map(|c| c.scale).collect::<Vec<f64>>());
        let fair = |scale: f64| if scale > 20.0 * unit || scale * 20.0 < unit { scale } else { unit };
        let truth: Vec<f64> = used.iter().map(|c| c.truth / fair(c.scale)).collect();
        let usable = |k: usize| match k {
            2 => self.trees.level.is_some(),
            6 => self.memory.is_some(),
            3.. => self.trees.ladder.is_some(),
            _ => true,
        };
        let members: Vec<usize> = (0..ANSWERS).filter(|k| usable(*k)).collect();
        let answers: Vec<Matrix> = members
            .iter()
            .map(|k| Matrix::new(used.len(), 1, used.iter().map(|c| c.said.answers[*k] / fair(c.scale)).collect()))
            .collect::<Result<_>>()?;
        let greedy = Greedy { n_rounds: PARTS, n_bags: 1, bag_share: 1.0 };
        let chosen = greedy.choose(run, Task::Regression, Measure::Mae, &answers, &truth, None)?;
        self.weights = vec![0.0; ANSWERS];
        for (k, w) in members.iter().zip(chosen.weights) {
            self.weights[*k] = w;
        }
        Ok(())
    }

    /// The forecast with the likeliest price point of each step.
    pub fn modes(&self, run: &Run, ahead: &Ahead<'_>) -> Result<PriceForecast> {
        check_ahead(ahead)?;
        let h = ahead.horizon;
        let mut forecast = Forecast::new(ENTRY.name, self.panel.freq(), h, ahead.quantiles);
        let members = Members::new(&self.layout, &self.panel, ahead.future);
        let said = self.say(run, &members, h, |m| m.y.len())?;
        let levels = forecast.levels().to_vec();
        let (mut modes, mut chances) = (Vec::new(), Vec::new());
        for (i, said) in said.iter().enumerate() {
            let (s, m) = (self.panel.series(i), &members.all[i]);
            let nonnegative = never_negative(s.y);
            let bound = |v: f64| if nonnegative { v.max(0.0) } else { v }.clamp(f64::MIN, f64::MAX);
            let usual = FittedMean::of(s.y).predict(h);
            let scale = m.scale(m.y.len());
            let (mut means, mut quantiles) = (Vec::with_capacity(h), Vec::with_capacity(h * levels.len()));
            for k in 0..h {
                let mean = bound(said.get(k).map_or(0.0, |s| self.mixed(s)));
                means.push(mean);
                for p in &levels {
                    let q = if self.doubt.is_empty() {
                        mean + crate::normal::quantile(*p) * usual.sd[k]
                    } else {
                        self.doubt.quantile(k + 1, mean, scale, *p)
                    };
                    quantiles.push(if said.is_empty() { 0.0 } else { bound(q) });
                }
                modes.push(said.get(k).map_or(0.0, |s| s.mode));
                chances.push(said.get(k).map_or(0.0, |s| s.chance));
            }
            forecast.push(s.id, s.ds(s.y.len()), &means, &quantiles)?;
        }
        Ok(PriceForecast { forecast, modes, chances })
    }
}

impl FittedForecaster for FittedPrice {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        let said = self.modes(run, ahead)?;
        said.forecast.with_modes(said.modes)
    }

    fn update(&mut self, _run: &Run, newer: &Panel) -> Result<()> {
        self.panel = self.panel.followed_by(newer)?;
        Ok(())
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.memory.iter().filter_map(|m| m.curve.clone()).collect()
    }

    fn save(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|source| Error::Saved { what: ENTRY.name.to_owned(), source })
    }
}

/// The last of `width` columns. Fails where a saved model answers otherwise.
fn answer(said: &Matrix, width: usize) -> Result<Vec<f64>> {
    match said.n_cols() == width {
        true => Ok(said.column(width - 1)),
        false => Err(Error::Invalid(format!(
            "the saved trees give {} answers a row, not {width}; they are not those of a price model",
            said.n_cols()
        ))),
    }
}
