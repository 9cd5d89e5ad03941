//! Prices: which they will be, and on which point of its own ladder each will most likely stand.
//!
//! Prices move in steps, between a regular price and promotional ones. Seven answers are formed of each step ahead and
//! mixed by weights that served best on the last `6 × horizon` steps held out:
//!
//! - the median of the last eight prices;
//! - the way back from the present level to the usual one, that of the group whose members move together and the series'
//!   own within it, with the season of a year ago;
//! - boosted trees over all series, by absolute error: levels, promotion depth and how long ago, the state of the plan
//!   (columns known ahead) with the prices under the same state, the groups' movements and last reductions;
//! - of the ladder, where boosted trees give each price point a chance to be the next price: the median, the median of
//!   the chances sharpened, and the likeliest point;
//! - a network: long short-term memory over the last 52 steps (the price, the groups' movements, the plan, and columns known
//!   only up to the origin, as competitors' prices are) beside the row of the trees.
//!
//! The mean of the [`Forecast`](tradewind_core::Forecast) is that mixture. The likeliest point of the ladder is told by
//! [`FittedPrice::modes`]. Columns known ahead are the promotion plan: what is above zero counts as on.
//!
//! ```
//! use tradewind_core::{Ahead, Freq, Panel, Run};
//! use tradewind_forecast::price::Price;
//! // Six weeks at 3.19, then two at 1.99, over and over.
//! let y: Vec<f64> = (0..78).map(|t| if t % 8 < 6 { 3.19 } else { 1.99 }).collect();
//! let panel = Panel::from_series(Freq::WEEKLY, vec![("juice".into(), 0, y)]).unwrap();
//! let run = Run::new(1);
//! let fitted = Price { horizon: Some(4), ..Price::default() }.fit_panel(&run, &panel).unwrap();
//! let said = fitted.modes(&run, &Ahead::new(4, &[])).unwrap();
//! assert!(said.mode(0).iter().all(|p| *p == 3.19 || *p == 1.99));
//! ```
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `horizon` | by frequency | the furthest step that is learnt | 1 to 1000 |
//! | `tick` | 0.01 | prices that round to the same multiple are the same | 1e-6 to 1e6 |
//! | `n_rounds` | 200 | trees | 1 to 10000 |
//! | `learning_rate` | 0.06 | share of each tree that is added | 0.001 to 1 |
//! | `n_leaves` | 31 | most leaves of a tree | 2 to 4096 |
//! | `min_child_samples` | 40 | fewest rows in a leaf | 1 to 1000000 |
//! | `max_rows` | 60000 | rows learnt from at most, drawn at random | 1000 to 10000000 |
//! | `epochs` | 8 | rounds in which the network is trained, at most; 0: no network | 0 to 1000 |
//!
//! Quantiles come from the errors on the steps held out. What lies beyond a series' own range of prices by more than a
//! tenth of that range is not forecast, but for rungs of its group's ladder.

mod doubt;
mod fitted;
mod ladder;
mod memory;
mod reversion;
mod rows;

use crate::draws::{mix, unit};
use crate::local::map_series;
pub use fitted::{FittedPrice, PriceForecast};
use memory::Memory;
use reversion::{Reversion, Standing, Way};
pub(crate) use rows::median;
use rows::{Layout, Members};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tradewind_core::freq::Unit;
use tradewind_core::{
    Error, FittedForecaster, Forecaster, ForecasterEntry, Needs, Panel, ParamKind, ParamSpec, Result, Run,
};
use tradewind_learn::ensemble::Member;
use tradewind_learn::{ColumnKind, Dataset, Matrix, Task};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "price",
    summary: "Prices in steps: the ladder of price points, promotions planned, the way back to the usual level, trees across series.",
    summary_zh: "阶梯式价格：价格点、促销计划、回归常态水平与跨序列提升树的组合。",
    source: "Montero-Manso & Hyndman 2021; Kehoe & Midrigan 2015",
    params: PARAMS,
    needs: Needs { min_observations: 8, min_seasons: 0, positive: false, uses_covariates: true },
    build: |params| Ok(Box::new(ENTRY.read::<Price>(params)?)),
    load: |state| {
        let fitted: FittedPrice = serde_json::from_value(state)
            .map_err(|source| Error::Saved { what: ENTRY.name.to_owned(), source })?;
        fitted.check()?;
        Ok(Box::new(fitted))
    },
};

const fn spec(name: &'static str, kind: ParamKind, default: &'static str, summary: &'static str) -> ParamSpec {
    ParamSpec { name, kind, default, summary }
}

const PARAMS: &[ParamSpec] = &[
    spec("horizon", ParamKind::Integer { min: 1, max: 1000 }, "", "the furthest step that is learnt; by the frequency when not given"),
    spec("tick", ParamKind::Number { min: 1e-6, max: 1e6 }, "0.01", "prices that round to the same multiple are the same"),
    spec("n_rounds", ParamKind::Integer { min: 1, max: 10_000 }, "200", "trees"),
    spec("learning_rate", ParamKind::Number { min: 0.001, max: 1.0 }, "0.06", "share of each tree that is added"),
    spec("n_leaves", ParamKind::Integer { min: 2, max: 4096 }, "31", "most leaves of a tree"),
    spec("min_child_samples", ParamKind::Integer { min: 1, max: 1_000_000 }, "40", "fewest rows in a leaf"),
    spec("max_rows", ParamKind::Integer { min: 1000, max: 10_000_000 }, "60000", "rows learnt from at most, drawn at random"),
    spec("epochs", ParamKind::Integer { min: 0, max: 1000 }, "8", "rounds in which the network is trained, at most; 0: no network"),
];

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Price {
    /// The furthest step that is learnt.
    pub horizon: Option<usize>,
    /// Prices that round to the same multiple of this are the same.
    pub tick: f64,
    /// Trees.
    pub n_rounds: usize,
    /// Share of each tree that is added.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub n_leaves: usize,
    /// Fewest rows in a leaf.
    pub min_child_samples: usize,
    /// Rows learnt from at most.
    pub max_rows: usize,
    /// Rounds in which the network is trained, at most; 0: no network.
    pub epochs: usize,
}

impl Default for Price {
    fn default() -> Self {
        Self {
            horizon: None,
            tick: 0.01,
            n_rounds: 200,
            learning_rate: 0.06,
            n_leaves: 31,
            min_child_samples: 40,
            max_rows: 60_000,
            epochs: 8,
        }
    }
}

/// The trees of both tables.
const LEARNER: &str = "boosting";
/// Values known before a row is worth learning from.
const WARM_UP: usize = 8;
/// Fewest rows from which trees are learnt.
const ROWS_MIN: usize = 200;
/// Of so many rows one is used for the ladder, which has a row for each point.
const LADDER_SHARE: f64 = 0.3;
/// Most origins that are drawn for one value.
const ORIGINS: usize = 4;
/// Shares that may be left of a way back after a step.
const KEEPS: [f64; 7] = [1.0, 0.97, 0.94, 0.9, 0.86, 0.8, 0.65];
/// What a value may weigh less in the present level than the one after it.
const FADES: [f64; 2] = [0.35, 0.7];
/// Horizons held out for the weights and quantiles.
const HELD_OUT: usize = 6;

/// Both models of trees; absent when there was too little to learn from.
#[derive(Default, Serialize, Deserialize)]
struct Trees {
    level: Option<Member>,
    ladder: Option<Member>,
}

impl Price {
    fn horizon_of(&self, panel: &Panel) -> usize {
        self.horizon.unwrap_or(match panel.freq().unit {
            Unit::Day => 28,
            Unit::Week => 13,
            _ => 12,
        })
    }

    fn learner(&self, task: Task, objective: &str) -> Result<Box<dyn tradewind_learn::Learner>> {
        let made = json!({
            "objective": objective, "n_rounds": self.n_rounds, "learning_rate": self.learning_rate,
            "n_leaves": self.n_leaves, "min_child_samples": self.min_child_samples, "feature_fraction": 0.5,
            "sampling": "bagging", "bagging_fraction": 0.7, "l2": 1.0, "cat_smooth": 20.0, "cat_l2": 20.0,
        });
        tradewind_learn::entry(LEARNER)?.learner(task, &made.as_object().cloned().unwrap_or_default())
    }

    /// Learns both models from the values up to `held` steps before each series' end.
    fn trees(&self, run: &Run, members: &Members, horizon: usize, held: usize) -> Result<Trees> {
        let layout = &members.layout;
        let usable = |n: usize| n.saturating_sub(held);
        let possible: usize = members.all.iter().map(|m| m.count(usable(m.y.len())).saturating_sub(WARM_UP)).sum();
        if possible < ROWS_MIN {
            return Ok(Trees::default());
        }
        let origins = (self.max_rows / possible).clamp(1, ORIGINS.min(horizon));
        let share = (self.max_rows as f64 / (possible * origins) as f64).min(1.0);
        let seed = run.seed;
        let tables = map_series(run, ENTRY.name, members.all.len(), |i| {
            let m = &members.all[i];
            let mut t = Table::default();
            for place in m.known[..m.count(usable(m.y.len()))].iter().skip(WARM_UP) {
                for draw in 0..origins {
                    let dice = mix(seed ^ mix((i as u64) << 32 | (*place as u64) << 3 | draw as u64));
                    if unit(dice) >= share {
                        continue;
                    }
                    let ahead = 1 + (mix(dice ^ 0x5eed) % horizon as u64) as usize;
                    let Some(o) = (place + 1).checked_sub(ahead).filter(|o| m.count(*o) >= WARM_UP / 2) else { continue };
                    let y = (m.y[*place] - m.anchor(o)) / m.scale(o);
                    if !y.is_finite() {
                        continue;
                    }
                    let way = Way::of(Reversion::USUAL, members, i, o);
                    members.row(i, o, ahead, &way, &mut t.x);
                    t.y.push(y);
                    if unit(mix(dice ^ 0xface)) < LADDER_SHARE {
                        let points = ladder::points(members, i, o);
                        ladder::rows(members, i, o, ahead, &points, &way, &mut t.ladder);
                        t.hit.extend(points.iter().map(|p| f64::from(p.rung == layout.rung(m.y[*place]))));
                    }
                }
            }
            t
        })?;
        let (mut x, mut y, mut points, mut hit) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for t in tables {
            x.extend(t.x);
            y.extend(t.y);
            points.extend(t.ladder);
            hit.extend(t.hit);
        }
        let mut out = Trees::default();
        if y.len() >= ROWS_MIN {
            let (names, categories) = layout.names();
            let data = Dataset::with_missing(Matrix::new(y.len(), names.len(), x)?, y, names)?.with_kinds(kinds(&categories))?;
            let model = self.learner(Task::Regression, "absolute")?.fit(run, &data)?;
            out.level = Some(Member { name: LEARNER.into(), model });
        }
        let hits = hit.iter().filter(|h| **h > 0.5).count();
        if hit.len() >= ROWS_MIN && hits > 0 && hits < hit.len() {
            let (names, categories) = ladder::names(layout);
            let data = Dataset::with_missing(Matrix::new(hit.len(), names.len(), points)?, hit, names)?.with_kinds(kinds(&categories))?;
            let model = self.learner(Task::Binary, "auto")?.fit(run, &data)?;
            out.ladder = Some(Member { name: LEARNER.into(), model });
        }
        Ok(out)
    }

    /// Learns from the panel.
    pub fn fit_panel(&self, run: &Run, panel: &Panel) -> Result<FittedPrice> {
        run.check()?;
        let horizon = self.horizon_of(panel);
        let layout = Layout::new(panel, self.tick);
        let members = Members::new(&layout, panel, None);
        let longest = members.all.iter().map(|m| m.y.len()).max().unwrap_or(0);
        // Never more than a third of the longest history; whole horizons, where they fit, that overlap if they must.
        let most = (longest / 3).max(1);
        let step = horizon.min(most);
        let held = (HELD_OUT * step).min(most);
        let gap = ((held - step) / (HELD_OUT - 1)).max(1);
        let origins: Vec<usize> = (0..HELD_OUT).map(|k| step + k * gap).filter(|back| *back <= held).rev().collect();
        let freedom = held as f64 / step as f64;
        // The weights are chosen where many origins tell, each for fewer steps.
        let near = horizon.min(longest / (3 * HELD_OUT)).max(1);
        let near_origins: Vec<usize> = (1..=HELD_OUT).map(|k| k * near).collect();
        let reversion = self.reversion(run, &members, horizon.min(longest / 6).max(1))?;
        let mut fitted = FittedPrice::new(self.clone(), layout, panel, horizon, reversion);
        self.learn(&mut fitted, run, &members, HELD_OUT * near)?;
        fitted.weigh(run, &members, &near_origins, near)?;
        if held != HELD_OUT * near {
            self.learn(&mut fitted, run, &members, held)?;
        }
        fitted.judge(run, &members, &origins, step, freedom)?;
        self.learn(&mut fitted, run, &members, 0)?;
        Ok(fitted)
    }

    /// Learns trees and network from the values up to `held` steps before each series' end.
    fn learn(&self, fitted: &mut FittedPrice, run: &Run, members: &Members, held: usize) -> Result<()> {
        fitted.trees = self.trees(run, members, fitted.horizon, held)?;
        fitted.memory = match self.epochs {
            0 => None,
            epochs => Memory::fit(run, members, fitted.horizon, held, epochs)?,
        };
        Ok(())
    }

    /// The way back that served best from origins of the last year.
    fn reversion(&self, run: &Run, members: &Members, horizon: usize) -> Result<Reversion> {
        let year = if members.layout.year > 0 { members.layout.year } else { 8 * horizon };
        let gap = horizon.div_ceil(2);
        let seasons: &[f64] = if members.layout.year > 0 { &[0.0, 0.25, 0.5, 0.75] } else { &[0.0] };
        let mut choices = Vec::new();
        for (fade, grouping) in FADES.iter().flat_map(|f| std::iter::once(None).chain((0..members.n_groupings()).map(Some)).map(move |g| (*f, g))) {
            for (season, keep) in seasons.iter().flat_map(|s| KEEPS.map(|k| (*s, k))) {
                let of = |keep_group| Reversion { keep, season, grouping, keep_group, fade };
                match grouping {
                    None => choices.push(of(1.0)),
                    Some(_) => choices.extend(KEEPS.map(of)),
                }
            }
        }
        // Of very many series some tell as much as all.
        let every = members.all.len().div_ceil(400).max(1);
        let sums = map_series(&run.quiet(), ENTRY.name, members.all.len(), |i| {
            let (m, mut sums) = (&members.all[i], vec![0.0; choices.len()]);
            if i % every > 0 {
                return sums;
            }
            for back in (horizon..=year).step_by(gap) {
                let Some(o) = m.y.len().checked_sub(back).filter(|o| m.count(*o) >= WARM_UP) else { continue };
                let scale = m.scale(o);
                let steps: Vec<usize> = (1..=horizon).step_by(horizon.div_ceil(6)).collect();
                let seasons: Vec<(f64, f64)> = steps.iter().map(|ahead| Reversion::seasons(members, i, o, *ahead)).collect();
                let mut standing: Option<(Option<usize>, f64, Standing)> = None;
                for (sum, r) in sums.iter_mut().zip(&choices) {
                    let known = standing.filter(|s| s.0 == r.grouping && s.1 == r.fade);
                    let at = known.map_or_else(|| Standing::of(members, i, o, r.grouping, r.fade), |s| s.2);
                    standing = Some((r.grouping, r.fade, at));
                    for (ahead, season) in steps.iter().zip(&seasons) {
                        let off = ((m.y[o + ahead - 1] - r.from(at, *season, *ahead)) / scale).abs();
                        *sum += if off.is_finite() { off.min(1e6) } else { 0.0 };
                    }
                }
            }
            sums
        })?;
        let total = |k: usize| sums.iter().map(|s| s[k]).sum::<f64>();
        let best = (0..choices.len()).map(|k| (total(k), k)).min_by(|a, b| a.0.total_cmp(&b.0));
        Ok(best.filter(|b| b.0 > 0.0).map_or(Reversion::USUAL, |b| choices[b.1]))
    }
}

fn kinds(categories: &[bool]) -> Vec<ColumnKind> {
    categories.iter().map(|c| if *c { ColumnKind::Category } else { ColumnKind::Number }).collect()
}

#[derive(Default)]
struct Table {
    x: Vec<f64>,
    y: Vec<f64>,
    ladder: Vec<f64>,
    hit: Vec<f64>,
}

impl Forecaster for Price {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        Ok(Box::new(self.fit_panel(run, panel)?))
    }
}
