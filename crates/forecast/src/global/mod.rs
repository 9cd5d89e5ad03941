//! One model of trees for all series of a panel.
//!
//! A row is what is known at an origin of a step so many places ahead: last values, means over windows, the same phase
//! of earlier seasons, the same time a year ago, the sums of the series' groups, calendar, prices and promotions planned,
//! static columns. For every known value of the last years one row is made, at an origin drawn from 1 to `horizon` steps
//! before it, so that one model answers every step ahead directly and nothing it said is fed back to it. Counts (never
//! negative, and zero now and then) are learnt by a Tweedie loss, other values by absolute error in units of the series'
//! level.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `calendar` | `plain` | calendar features | none, plain, CN, US, GB, DE, JP, FR |
//! | `horizon` | by frequency | the furthest step that is learnt | 1 to 1000 |
//! | `learner` | `boosting` | which trees | boosting, random_forest, extra_trees |
//! | `objective` | `auto` | what is minimised; auto: tweedie for counts, else absolute | auto, squared, absolute, poisson, tweedie |
//! | `tweedie_power` | 1.1 | power of the Tweedie variance | 1.001 to 1.999 |
//! | `scaling` | `auto` | what values are divided by | auto, none, level |
//! | `n_rounds` | 150 | trees | 1 to 10000 |
//! | `learning_rate` | 0.1 | share of each tree that is added | 0.001 to 1 |
//! | `n_leaves` | 31 | most leaves of a tree | 2 to 4096 |
//! | `min_child_samples` | 40 | fewest rows in a leaf | 1 to 1000000 |
//! | `feature_fraction` | 0.5 | share of columns each tree sees | 0.01 to 1 |
//! | `bagging_fraction` | 0.7 | share of rows each tree sees | 0.01 to 1 |
//! | `l2` | 1 | penalty on the squares of leaf values | 0 to 1000000 |
//! | `history` | by frequency | steps back from the end whose values are learnt; 0: all | 0 to 10000000 |
//! | `max_rows` | 200000 | rows learnt from at most, drawn at random | 1000 to 100000000 |
//! | `stride` | 0 | steps told at a time and then taken in as if they had come (1: recursive); 0: the whole horizon at once (direct) | 0 to 1000 |
//! | `mixed` | false | whether what is told by strides is averaged with what is told at once | true, false |
//! | `by_series` | true | whether each series is a category of its own | true, false |
//! | `leading` | true | whether columns known only up to the origin (views, searches, competitors' prices) are looked at for what runs ahead | true, false |
//!
//! Quantiles come from the errors on rows that were held out, by how large the forecast is and how far ahead.
//!
//! Telling all steps at once is the default: on six windows of the M5 slice's training part strides of a week had the same
//! error, and recursion step by step more (`docs/benchmarks`).
//!
//! Source: Montero-Manso and Hyndman (2021) on global models; Makridakis et al. (2022) for what won the M5 competition.

mod explain;
pub(crate) mod fitted;
pub(crate) mod history;
pub(crate) mod leading;
pub(crate) mod rows;
pub(crate) mod spread;

use crate::draws::{mix, unit};
use crate::local::{SEASON_LENGTH, map_series, never_negative, season_of};
use crate::regression::CALENDAR;
pub use explain::{ExplainedStep, FeaturePart, Link};
pub use fitted::FittedGlobal;
use history::History;
use leading::Leading;
use rows::{Member, Members, Plan};
use serde::{Deserialize, Serialize};
use serde_json::json;
use spread::Spread;
use tradewind_core::calendar::Region;
use tradewind_core::freq::Unit;
use tradewind_core::{
    Error, FittedForecaster, Forecaster, ForecasterEntry, Freq, Needs, Panel, ParamKind, ParamSpec, Params, Result, Run,
};
use tradewind_learn::ensemble;
use tradewind_learn::{Dataset, Matrix, Task};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "global",
    summary: "Boosted trees learnt across all series from history, season, year, calendar, prices and promotions.",
    summary_zh: "跨序列学习的提升树：以历史、季节、去年同期、日历、价格与促销为特征。",
    source: "Montero-Manso & Hyndman 2021; Makridakis et al. 2022",
    params: PARAMS,
    needs: Needs { min_observations: 8, min_seasons: 0, positive: false, uses_covariates: true },
    build: |params| Ok(Box::new(ENTRY.read::<Global>(params)?)),
    load: |state| {
        let fitted: FittedGlobal = serde_json::from_value(state)
            .map_err(|source| Error::Saved { what: ENTRY.name.to_owned(), source })?;
        fitted.check()?;
        Ok(Box::new(fitted))
    },
};

const fn spec(name: &'static str, kind: ParamKind, default: &'static str, summary: &'static str) -> ParamSpec {
    ParamSpec { name, kind, default, summary }
}

const PARAMS: &[ParamSpec] = &[
    SEASON_LENGTH,
    CALENDAR,
    spec("horizon", ParamKind::Integer { min: 1, max: 1000 }, "", "the furthest step that is learnt; by the frequency when not given"),
    spec("learner", ParamKind::Choice(&["boosting", "random_forest", "extra_trees"]), "boosting", "which trees"),
    spec("objective", ParamKind::Choice(&["auto", "squared", "absolute", "poisson", "tweedie"]), "auto", "what is minimised; auto: tweedie for counts, else absolute"),
    spec("tweedie_power", ParamKind::Number { min: 1.001, max: 1.999 }, "1.1", "power of the Tweedie variance"),
    spec("scaling", ParamKind::Choice(&["auto", "none", "level"]), "auto", "what values are divided by; auto: nothing for counts, else the series' level"),
    spec("n_rounds", ParamKind::Integer { min: 1, max: 10_000 }, "150", "trees"),
    spec("learning_rate", ParamKind::Number { min: 0.001, max: 1.0 }, "0.1", "share of each tree that is added"),
    spec("n_leaves", ParamKind::Integer { min: 2, max: 4096 }, "31", "most leaves of a tree"),
    spec("min_child_samples", ParamKind::Integer { min: 1, max: 1_000_000 }, "40", "fewest rows in a leaf"),
    spec("feature_fraction", ParamKind::Number { min: 0.01, max: 1.0 }, "0.5", "share of columns each tree sees"),
    spec("bagging_fraction", ParamKind::Number { min: 0.01, max: 1.0 }, "0.7", "share of rows each tree sees"),
    spec("l2", ParamKind::Number { min: 0.0, max: 1e6 }, "1", "penalty on the squares of leaf values"),
    spec("history", ParamKind::Integer { min: 0, max: 10_000_000 }, "", "steps back from the end whose values are learnt; 0: all; two years when not given"),
    spec("max_rows", ParamKind::Integer { min: 1000, max: 100_000_000 }, "200000", "rows learnt from at most, drawn at random"),
    spec("stride", ParamKind::Integer { min: 0, max: 1000 }, "0", "steps told at a time and then taken in as if they had come; 0: the whole horizon at once"),
    spec("mixed", ParamKind::Flag, "false", "whether what is told by strides is averaged with what is told at once"),
    spec("by_series", ParamKind::Flag, "true", "whether each series is a category of its own"),
    spec("leading", ParamKind::Flag, "true", "whether columns known only up to the origin (views, searches, competitors' prices) are looked at for what runs ahead"),
];

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Global {
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Calendar features.
    pub calendar: String,
    /// The furthest step that is learnt.
    pub horizon: Option<usize>,
    /// Which trees.
    pub learner: String,
    /// What is minimised.
    pub objective: String,
    /// Power of the Tweedie variance.
    pub tweedie_power: f64,
    /// What values are divided by.
    pub scaling: String,
    /// Trees.
    pub n_rounds: usize,
    /// Share of each tree that is added.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub n_leaves: usize,
    /// Fewest rows in a leaf.
    pub min_child_samples: usize,
    /// Share of columns each tree sees.
    pub feature_fraction: f64,
    /// Share of rows each tree sees.
    pub bagging_fraction: f64,
    /// Penalty on the squares of leaf values.
    pub l2: f64,
    /// Steps back from the end whose values are learnt.
    pub history: Option<usize>,
    /// Rows learnt from at most.
    pub max_rows: usize,
    /// Steps told at a time and then taken in as if they had come; 0: the whole horizon at once.
    pub stride: usize,
    /// Whether what is told by strides is averaged with what is told at once.
    pub mixed: bool,
    /// Whether each series is a category of its own.
    pub by_series: bool,
    /// Whether columns known only up to the origin are looked at for what runs ahead.
    pub leading: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            season_length: None,
            calendar: "plain".into(),
            horizon: None,
            learner: "boosting".into(),
            objective: "auto".into(),
            tweedie_power: 1.1,
            scaling: "auto".into(),
            n_rounds: 150,
            learning_rate: 0.1,
            n_leaves: 31,
            min_child_samples: 40,
            feature_fraction: 0.5,
            bagging_fraction: 0.7,
            l2: 1.0,
            history: None,
            max_rows: 200_000,
            stride: 0,
            mixed: false,
            by_series: true,
            leading: true,
        }
    }
}

/// Values known before a row is worth learning from.
pub(crate) const WARM_UP: usize = 4;
/// One of so many rows is held out for the quantiles.
const HELD_OUT: f64 = 0.05;
/// The share of rows that ask no further than a stride ahead, where answers are fed back.
const NEAR_ROWS: f64 = 0.4;
/// Where some series are younger than a year, so many rows are made as if their series were as young, at least and at
/// most: series without a past are otherwise too rare to learn what to make of them.
const FORGETFUL_MIN: f64 = 0.05;
const FORGETFUL_MAX: f64 = 0.3;
/// Rows held out at most.
const HELD_OUT_MAX: usize = 40_000;
/// Panels with fewer rows are forecast by what [`crate::mean`] says.
const ROWS_MIN: usize = 30;
/// Series of panels of so many are told apart by name: fewer have too few rows to learn it from, more too many names.
pub(crate) const CODES: std::ops::RangeInclusive<usize> = 20..=60_000;
/// Values that are never negative and this often zero are taken for counts.
const ZEROS_OF_COUNTS: f64 = 0.01;

/// The furthest step that is learnt where none is asked for.
pub(crate) fn usual_horizon(freq: Freq) -> usize {
    match freq.unit {
        Unit::Day => 28,
        Unit::Week => 13,
        Unit::Month | Unit::MonthEnd => 12,
        Unit::Hour | Unit::Minute => 2 * freq.season_length(),
        Unit::Step => 12,
    }
}

/// The regions of a calendar by its word; `None`: no calendar at all.
pub(crate) fn regions_of(calendar: &str) -> Result<Option<Vec<Region>>> {
    Ok(match calendar {
        "none" => None,
        "plain" => Some(vec![]),
        code => Some(vec![Region::try_from(code.to_owned())?]),
    })
}

/// Steps back from the end whose values are learnt where it is not said: two years.
pub(crate) fn usual_history(freq: Freq, season: usize) -> usize {
    let years = freq.steps_per_year().map_or(0.0, |y| 2.0 * y) as usize;
    years.max(4 * season)
}

/// Whether values are never negative, and whether they are then zero now and then, as counts are.
pub(crate) fn counts(panel: &Panel) -> (bool, bool) {
    let nonnegative = panel.iter().all(|s| never_negative(s.y));
    let (mut zeros, mut known) = (0.0, 0.0);
    for v in panel.iter().flat_map(|s| s.y).filter(|v| v.is_finite()) {
        zeros += f64::from(*v == 0.0);
        known += 1.0;
    }
    (nonnegative, nonnegative && zeros / f64::max(known, 1.0) > ZEROS_OF_COUNTS)
}

/// The level of a series at place `o`, which values are divided by.
pub(crate) fn level_of(plan: &Plan, history: &History, o: usize) -> f64 {
    let near = history.level(o, plan.recent()).abs();
    let far = history.level(o, 8 * plan.recent()).abs();
    // What is above and below zero by turns has a mean of rounding errors. Where nothing is below, the level is larger.
    let size = history.size(o, 8 * plan.recent());
    let scale = near.max(0.2 * far).max(0.1 * size);
    if scale > 0.0 && scale.is_finite() { scale } else { 1.0 }
}

impl Global {
    fn learner_params(&self, objective: &str) -> Params {
        let made = match self.learner.as_str() {
            "boosting" => json!({
                "objective": objective, "tweedie_power": self.tweedie_power, "n_rounds": self.n_rounds,
                "learning_rate": self.learning_rate, "n_leaves": self.n_leaves, "l2": self.l2,
                "min_child_samples": self.min_child_samples, "feature_fraction": self.feature_fraction,
                "sampling": if self.bagging_fraction < 1.0 { "bagging" } else { "all" },
                "bagging_fraction": self.bagging_fraction, "cat_smooth": 20.0, "cat_l2": 20.0,
            }),
            _ => json!({
                "n_trees": self.n_rounds, "min_samples_leaf": self.min_child_samples, "max_features": self.feature_fraction,
            }),
        };
        made.as_object().cloned().unwrap_or_default()
    }

    /// Learns from the panel.
    pub fn fit_panel(&self, run: &Run, panel: &Panel) -> Result<FittedGlobal> {
        let season = panel.iter().next().map_or(1, |s| season_of(self.season_length, &s));
        let regions = regions_of(&self.calendar)?;
        let horizon = self.horizon.unwrap_or_else(|| usual_horizon(panel.freq()));
        let plan = Plan::new(panel, season, horizon, regions, self.by_series && CODES.contains(&panel.len()));
        let plan = match self.leading {
            true => plan.with_leading(Leading::choose(run, panel, season, horizon)?),
            false => plan,
        };
        let members = Members::new(&plan, panel, None);
        let (nonnegative, counts) = counts(panel);
        let objective = match self.objective.as_str() {
            "auto" if counts => "tweedie",
            "auto" => "absolute",
            other => other,
        };
        let positive = matches!(objective, "tweedie" | "poisson");
        if positive && !nonnegative {
            return Err(Error::Invalid(format!(
                "the objective {objective} is for values that are never negative, and there are such; choose squared or absolute"
            )));
        }
        let by_level = match self.scaling.as_str() {
            "auto" => !positive,
            other => other == "level",
        };
        let calendar = plan.calendar().and_then(|c| {
            let (first, last) = (panel.first_stamp()?, panel.last_stamp()?);
            let n = usize::try_from(plan.freq.steps(first, last)? + 1).ok()?;
            Some(tradewind_core::calendar::CalendarTable::new(&c, plan.freq, first, n))
        });
        let mut fitted = FittedGlobal::new(self.clone(), plan, panel, by_level);

        // How many rows there could be, and what share of them is wanted.
        let history = self.history.unwrap_or_else(|| usual_history(panel.freq(), season));
        let first_of = |n: usize| if history == 0 { WARM_UP } else { n.saturating_sub(history).max(WARM_UP) };
        let possible: usize = members.all.iter().map(|m| m.history.len().saturating_sub(first_of(m.history.len()))).sum();
        let share = (self.max_rows as f64 / possible.max(1) as f64).min(1.0);
        let held_out = if possible > 2000 { HELD_OUT } else { 0.2 };
        let seed = run.seed;
        let plan = &fitted.plan;
        // A year of fewer steps than rows need tells no new series from others.
        let n_new = match plan.year {
            year if year < WARM_UP => 0,
            year => members.all.iter().filter(|m| m.history.len() < year).count(),
        };
        let forgetful = match n_new {
            0 => 0.0,
            n => (n as f64 / members.all.len() as f64).clamp(FORGETFUL_MIN, FORGETFUL_MAX),
        };
        let tables: Vec<Rows> = map_series(run, ENTRY.name, panel.len(), |i| {
            let (m, skip) = (&members.all[i], panel.series(i).y.len() - members.all[i].history.len());
            let known = panel.series(i).y;
            let mut rows = Rows::default();
            for t in first_of(m.history.len())..m.history.len() {
                let dice = mix(seed ^ mix((i as u64) << 32 | t as u64));
                let (chosen, held) = (unit(dice), unit(mix(dice)));
                if !known[skip + t].is_finite() || chosen >= share {
                    continue;
                }
                // Where answers are fed back, near steps are asked about most.
                let near = self.stride > 0 && unit(mix(dice ^ 0x0dd)) < NEAR_ROWS;
                let furthest = if near { self.stride.min(horizon) } else { horizon };
                let ahead = 1 + (mix(dice ^ 0x5eed) % furthest as u64) as usize;
                let ahead = ahead.min(t + 1 - WARM_UP);
                let (mut m, mut o) = (m, t + 1 - ahead);
                let new: Member;
                if unit(mix(dice ^ 0xc01d)) < forgetful {
                    // As many as a new series may have, few rather than many.
                    let most = o.min(plan.year);
                    let keep = WARM_UP as f64 * (most as f64 / WARM_UP as f64).powf(unit(mix(dice ^ 0x0a9e)));
                    let keep = (keep as usize).clamp(WARM_UP, most);
                    new = m.forgetting(plan, o, keep, ahead);
                    (m, o) = (&new, keep);
                }
                let scale = fitted.scale(&m.history, o);
                let y = known[skip + t] / scale;
                if !y.is_finite() {
                    continue;
                }
                members.row_of(plan, m, o, ahead, scale, calendar.as_ref(), &mut rows.x);
                rows.y.push(y);
                rows.held.push(held < held_out);
                rows.scale.push(scale);
                rows.ahead.push(ahead);
                rows.level.push(m.history.level(o, plan.recent()).abs());
            }
            rows
        })?;
        let width = plan.names.len();
        let n: usize = tables.iter().map(|t| t.y.len()).sum();
        if n < ROWS_MIN.max(2) {
            return Ok(fitted);
        }
        let (mut x, mut y) = (Vec::with_capacity(n * width), Vec::with_capacity(n));
        let mut aside = Rows::default();
        for t in tables {
            for (k, row) in t.x.chunks_exact(width).enumerate() {
                if t.held[k] && aside.y.len() < HELD_OUT_MAX {
                    aside.x.extend(row);
                    aside.y.push(t.y[k]);
                    aside.scale.push(t.scale[k]);
                    aside.ahead.push(t.ahead[k]);
                    aside.level.push(t.level[k]);
                } else {
                    x.extend(row);
                    y.push(t.y[k]);
                }
            }
        }
        if y.len() < ROWS_MIN || (positive && y.iter().all(|v| *v == 0.0)) {
            return Ok(fitted);
        }
        x.iter_mut().for_each(|v: &mut f64| {
            if v.is_infinite() {
                *v = f64::NAN;
            }
        });
        let data = Dataset::with_missing(Matrix::new(y.len(), width, x)?, y, plan.names.clone())?.with_kinds(plan.kinds())?;
        let learner = tradewind_learn::entry(&self.learner)?.learner(Task::Regression, &self.learner_params(objective))?;
        let model = learner.fit(run, &data)?;
        drop(data);
        let held = Matrix::new(aside.y.len(), width, aside.x)?;
        let said = if aside.y.is_empty() { Vec::new() } else { model.predict(&held)?.column(0) };
        let mut errors = Spread::builder(horizon);
        for (k, f) in said.iter().enumerate() {
            errors.add(aside.ahead[k], f * aside.scale[k], aside.y[k] * aside.scale[k], aside.level[k]);
        }
        fitted.spread = errors.finish();
        fitted.set_model(ensemble::Member { name: self.learner.clone(), model });
        Ok(fitted)
    }
}

#[derive(Default)]
struct Rows {
    x: Vec<f64>,
    y: Vec<f64>,
    held: Vec<bool>,
    scale: Vec<f64>,
    ahead: Vec<usize>,
    level: Vec<f64>,
}

impl Forecaster for Global {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        Ok(Box::new(self.fit_panel(run, panel)?))
    }
}
