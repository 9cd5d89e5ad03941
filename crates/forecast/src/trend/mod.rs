//! Product trends: which series will rise, which will fall, how much, and why.
//!
//! The question: will the next `horizon` steps sell more, about the same, or less than the last `horizon` steps? More
//! means `ln((next + 1) / (last + 1)) > ln(1 + threshold)`, less the same below zero. Windows with fewer than
//! `min_units` units in both together have no direction; every probability here is given that there are as many.
//!
//! The answer comes from one model learnt across all series on *rolling origins*: at each past date the features of
//! every series are computed as they would have been then, and what came afterwards is what the model learns.
//!
//! ```text
//! Panel ─→ features at past origins ─→ spline logistic regression ─┬→ probabilities, drivers
//!      │                          ├─→ boosted trees               ─┘
//!      │                          └─→ ridge regression            ──→ growth, units, interval
//!      │        latest origins held out: calibration, interval widths, quality beside naive answers
//!      └─→ rules for the stage of life, PELT for change points
//! ```
//!
//! Columns that are used when the panel has them: the text column `category`; `price`, `price_plan`, `promotion`,
//! `stock_out`, `views`, `carts`, `searches`. Future values are used only of columns that are known ahead.
//!
//! Steps after a series' last observation, up to the panel's last stamp, count as steps without sales. NaN inside a
//! series is unknown and never counts as zero.
//!
//! ```
//! use tradewind_core::{Direction, Freq, Panel, Run, calendar::Calendar};
//! use tradewind_forecast::trend::{self, TrendSettings};
//! // Two years of twelve products; each has its own good season.
//! let series = (0..12)
//!     .map(|p| {
//!         let y = (0..730).map(|d| (20.0 + 12.0 * ((d + 30 * p) as f64 / 58.0).sin()).round()).collect();
//!         (format!("p{p:02}"), 0, y)
//!     })
//!     .collect();
//! let panel = Panel::from_series(Freq::DAILY, series).unwrap();
//! let settings = TrendSettings { horizon: 28, ..TrendSettings::default() };
//! let report = trend::predict(&Run::new(1), &panel, &settings, None, &Calendar::default()).unwrap();
//! assert_eq!(report.trends.len(), 12);
//! let best = report.top(Direction::Rising, 1)[0];
//! assert!(best.probabilities[2] > 0.5 && best.growth > 0.0);
//! ```

mod calibration;
mod design;
mod drivers;
mod evaluate;
mod features;
mod market;
mod model;
mod scores;
mod softmax;
mod splits;
mod stage;
mod table;
mod track;
mod trainer;
mod trees;
mod windows;

pub use calibration::Calibration;
pub use evaluate::{TrendEvaluation, TrendOutcome, cutoffs, evaluate, evaluate_with};
pub use scores::{CurvePoint, DirectionScores, NaiveScores, Scores};
pub use trainer::Trainer;

use crate::changepoint::change_points;
use market::{CATEGORY, Market, Scene};
use model::{Learnt, Model};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use table::Table;
use tradewind_core::calendar::Calendar;
use tradewind_core::freq::Stamp;
use tradewind_core::{Basis, Direction, Error, Panel, ParamCheck, Result, Run, Trend};
use trees::Grove;
use windows::{Grid, Windows};

/// What learns from the features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learner {
    /// Boosted trees and the spline logistic regression, mixed as later origins than they learnt from say. With fewer
    /// than 4,000 past cases the splines alone.
    #[default]
    Blend,
    /// Multinomial logistic regression on natural splines.
    SplineLogistic,
}

/// How trends are predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrendSettings {
    /// Steps of the next and of the last window (default 28; 1 to 10,000).
    pub horizon: usize,
    /// Growth beyond which a trend rises or falls, as a share (default 0.2; above 0, at most 10).
    pub threshold: f64,
    /// Coverage of the growth interval (default 0.8; above 0, below 1).
    pub level: f64,
    /// Fewest units in both windows together for a trend to have a direction (default 7; 0 or more).
    pub min_units: f64,
    /// Past origins learnt from, half a horizon apart, latest first (default 78: three years at 28 days; 1 to 1,000).
    pub origins: usize,
    /// Most cases learnt from; beyond, they are thinned evenly (default 80,000; 1,000 or more).
    pub cases_max: usize,
    /// Knots of a feature's spline (default 6; 3 to 20). Small panels take fewer.
    pub knots: usize,
    /// What learns.
    pub learner: Learner,
}

impl Default for TrendSettings {
    fn default() -> Self {
        Self {
            horizon: 28,
            threshold: 0.2,
            level: 0.8,
            min_units: 7.0,
            origins: 78,
            cases_max: 80_000,
            knots: 6,
            learner: Learner::default(),
        }
    }
}

impl TrendSettings {
    /// All faults of the settings.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((1..=10_000).contains(&self.horizon), "horizon", self.horizon, "1 to 10000 steps")
            .require(
                self.threshold > 0.0 && self.threshold <= 10.0,
                "threshold",
                self.threshold,
                "above 0, at most 10",
            )
            .require(self.level > 0.0 && self.level < 1.0, "level", self.level, "above 0, below 1")
            .require(
                self.min_units >= 0.0 && self.min_units.is_finite(),
                "min_units",
                self.min_units,
                "0 or more",
            )
            .require((1..=1_000).contains(&self.origins), "origins", self.origins, "1 to 1000")
            .require(self.cases_max >= 1_000, "cases_max", self.cases_max, "1000 or more")
            .require((3..=20).contains(&self.knots), "knots", self.knots, "3 to 20")
            .finish()
    }
}

/// How good the model was on the latest past origins, which it had not seen. Nothing here knows the future of the
/// cutoff.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendQuality {
    /// Past dates replayed.
    pub n_origins: usize,
    /// The earliest of these dates (the last stamp known then).
    pub from: Stamp,
    /// The latest.
    pub to: Stamp,
    /// Cases learnt from for this check.
    pub n_trained: usize,
    /// How probabilities are calibrated.
    pub calibration: Calibration,
    /// Figures of the model.
    pub scores: Scores,
    /// Figures of simple answers on the same cases.
    pub naive: Vec<NaiveScores>,
}

/// The trends of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendReport {
    /// The last stamp known.
    pub cutoff: Stamp,
    /// The settings.
    pub settings: TrendSettings,
    /// One trend for every series, in the panel's order.
    pub trends: Vec<Trend>,
    /// For each of them the chance, 0 to 1, that its last and next window together have the units that a direction
    /// needs; 0 for what was never sold. Probabilities of directions are given that they have.
    pub counted: Vec<f64>,
    /// How good the model was in the recent past; `None` when there is too little past to hold any out.
    pub quality: Option<TrendQuality>,
}

impl TrendReport {
    /// How many go in a direction, of those that will likely have the units that a direction needs.
    pub fn count(&self, direction: Direction) -> usize {
        let likely = self.trends.iter().zip(&self.counted).filter(|(_, p)| **p >= 0.5);
        likely.filter(|(t, _)| t.direction() == direction).count()
    }

    /// How many will rather sell too little for a direction, as products that are no longer sold.
    pub fn too_slow(&self) -> usize {
        self.counted.iter().filter(|p| **p < 0.5).count()
    }

    /// The `n` trends likeliest to go one way, likeliest first: by the chance that there will be enough units and that
    /// they go this way; of equals the one with more units moved. Left out are those that will rather not have the
    /// units that a direction needs, as products that are no longer sold.
    pub fn top(&self, direction: Direction, n: usize) -> Vec<&Trend> {
        let c = direction as usize;
        let mut out: Vec<(f64, &Trend)> = self
            .trends
            .iter()
            .zip(&self.counted)
            .filter(|(_, p)| **p >= 0.5)
            .map(|(t, p)| (t.probabilities[c] * p, t))
            .collect();
        let moved = |t: &Trend| (t.units_expected - t.units_last).abs();
        out.sort_by(|a, b| {
            b.0.total_cmp(&a.0)
                .then(moved(b.1).total_cmp(&moved(a.1)))
                .then(a.1.unique_id.cmp(&b.1.unique_id))
        });
        out.into_iter().take(n).map(|t| t.1).collect()
    }
}

/// The trend of every series of a panel from `cutoff` on (the last stamp of the panel when not given). Only what was
/// known at the cutoff is used, for learning too.
///
/// # Errors
/// Settings out of range; a cutoff before the data; too little past to learn from (about three horizons, and 24 past
/// windows over all series).
pub fn predict(
    run: &Run,
    panel: &Panel,
    settings: &TrendSettings,
    cutoff: Option<Stamp>,
    calendar: &Calendar,
) -> Result<TrendReport> {
    predict_with(run, panel, None, settings, cutoff, calendar)
}

/// As [`predict`], for the few series of `target` (categories, shops, words) with the model learnt on the many of
/// `train` and on the target's own past. Without a target the trends of `train` are predicted.
///
/// # Errors
/// As [`predict`]; also when the two panels differ in frequency.
pub fn predict_with(
    run: &Run,
    train: &Panel,
    target: Option<&Panel>,
    settings: &TrendSettings,
    cutoff: Option<Stamp>,
    calendar: &Calendar,
) -> Result<TrendReport> {
    Trainer::new(train, settings, calendar)?.predict(run, target, cutoff)
}

fn check_freq(train: &Panel, target: Option<&Panel>) -> Result<()> {
    match target.filter(|t| t.freq() != train.freq()) {
        Some(t) => Err(Error::Invalid(format!(
            "the panel to predict has the frequency {}, the one to learn from {}; bring both to one",
            t.freq(),
            train.freq()
        ))),
        None => Ok(()),
    }
}

/// Cases of the past of a panel, from which models of one or more cutoffs are learnt.
struct Past {
    market: Market,
    table: Table,
    /// The cases that trees learn from: of more origins; empty where trees are not wanted or cases are too few.
    grove: Arc<Grove>,
    settings: TrendSettings,
}

/// The origins a model may learn from at a cutoff, oldest first: windows that end at the cutoff or before, half a
/// horizon apart.
fn origins_before(cutoff: usize, windows: &Windows, settings: &TrendSettings) -> Vec<usize> {
    let h = windows.h;
    let step = (h / 2).max(1);
    let Some(last) = cutoff.checked_sub(h) else { return Vec::new() };
    // With years of history, what lacks a past year is left out; with less, two windows of past must do.
    let earliest = match windows.year {
        Some(y) if last >= y + h + 40 * step => y + h,
        _ => 2 * h,
    };
    let mut out: Vec<usize> = (0..settings.origins)
        .map_while(|k| last.checked_sub(k * step))
        .take_while(|t| *t >= earliest)
        .collect();
    out.reverse();
    out
}

/// The origins that trees may learn from at a cutoff, oldest first: a quarter of a horizon apart, as far back as two
/// windows, or a year and a window, are known. Trees gain from more cases where splines have seen enough.
fn dense_origins_before(cutoff: usize, windows: &Windows, settings: &TrendSettings) -> Vec<usize> {
    let sparse = origins_before(cutoff, windows, settings);
    let (Some(first), Some(last)) = (sparse.first(), sparse.last()) else { return Vec::new() };
    let h = windows.h;
    let step = (h / 4).max(1);
    // A year further than the splines, if there is one.
    let reach = first.saturating_sub(windows.year.unwrap_or(0));
    let earliest = windows.year.map_or(2 * h, |y| (y + h).min(*first)).max(reach);
    let mut out: Vec<usize> =
        (0..).map_while(|k| last.checked_sub(k * step)).take_while(|t| *t >= earliest).collect();
    out.reverse();
    out
}

impl Past {
    /// The cases that models of these cutoffs (steps; the panel's end when empty) learn from.
    fn new(
        run: &Run,
        train: &Panel,
        target: Option<&Panel>,
        trainer: &Trainer<'_>,
        cutoffs: &[usize],
    ) -> Result<Self> {
        let (settings, calendar) = (trainer.settings(), trainer.calendar());
        let h = settings.horizon;
        let firsts = [train.first_stamp(), target.and_then(Panel::first_stamp)];
        let lasts = [train.last_stamp(), target.and_then(Panel::last_stamp)];
        let (Some(base), Some(last)) =
            (firsts.into_iter().flatten().min(), lasts.into_iter().flatten().max())
        else {
            return Err(Error::NotEnoughData { what: "trends at this cutoff".into(), needed: 3 * h, got: 0 });
        };
        let n = Grid { freq: train.freq(), base }.steps_until(last);
        if n < 3 * h {
            return Err(Error::NotEnoughData {
                what: format!("a trend over {h} steps"),
                needed: 3 * h,
                got: n,
            });
        }
        let mut market = Market::new(train, base, n, h, calendar);
        market.threshold = settings.threshold;
        let ends: &[usize] = if cutoffs.is_empty() { &[n] } else { cutoffs };
        let all = |of: fn(usize, &Windows, &TrendSettings) -> Vec<usize>| {
            let mut origins: Vec<usize> =
                ends.iter().flat_map(|c| of(*c, &market.windows, settings)).collect();
            origins.sort_unstable();
            origins.dedup();
            origins
        };
        let table = cases(run, train, target, &market, settings, &all(origins_before), settings.cases_max)?;
        let grove = trainer.grove((base, n, ends.to_vec()), || {
            let origins = all(dense_origins_before);
            Ok(if settings.learner == Learner::Blend && train.len() * origins.len() >= trees::CASES_MIN {
                Grove::new(cases(run, train, None, &market, settings, &origins, 2 * settings.cases_max)?)
            } else {
                Grove::default()
            })
        })?;
        Ok(Self { market, table, grove, settings: settings.clone() })
    }

    /// The model at a cutoff.
    fn model(&self, run: &Run, cutoff: usize) -> Result<Model> {
        let origins = origins_before(cutoff, &self.market.windows, &self.settings);
        let dense = dense_origins_before(cutoff, &self.market.windows, &self.settings);
        let learnt =
            Learnt { table: &self.table, origins: &origins, grove: &self.grove, dense_origins: &dense };
        let grid = self.market.grid;
        Model::fit(run, &learnt, self.market.windows.h, &self.settings, |t| grid.stamp(t.max(1) - 1))
    }

    /// The trends of all series of `panel`, whose last known step is the one before `cutoff`.
    fn report(
        &self,
        run: &Run,
        panel: &Panel,
        cutoff: usize,
        settings: &TrendSettings,
    ) -> Result<TrendReport> {
        let model = self.model(run, cutoff)?;
        let scene = self.market.scene(cutoff);
        let now = Table::build(run, panel, &self.market, std::slice::from_ref(&scene), 1, 1.0, true)?;
        let answers = model.answers(&now)?;
        let causes = drivers::causes(run, &model, &now, &answers)?;
        let stamp = self.market.grid.stamp(cutoff.max(1) - 1);
        let trends = (0..panel.len())
            .into_par_iter()
            .map(|i| {
                run.check()?;
                let (answer, _, own) = &answers[i];
                let (case, row, series) = (&now.cases[i], &now.rows[i], panel.series(i));
                let subject = features::Subject::new(panel, i, &self.market);
                Ok(Trend {
                    unique_id: series.id.to_owned(),
                    cutoff: stamp,
                    horizon: settings.horizon,
                    probabilities: answer.p,
                    growth: answer.growth,
                    growth_lower: answer.lower,
                    growth_upper: answer.upper,
                    units_last: if case.last.is_nan() { 0.0 } else { case.last },
                    units_expected: answer.expected,
                    stage: stage::stage(&subject.track, cutoff, &self.market.windows, settings.threshold),
                    change_points: change_points(&series),
                    drivers: drivers::drivers(
                        &causes[i],
                        row,
                        &self.market,
                        &scene,
                        panel.static_text(CATEGORY, i),
                    ),
                    basis: if *own { Basis::History } else { Basis::Attributes },
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let counted = answers.iter().map(|a| a.0.counted).collect();
        Ok(TrendReport { cutoff: stamp, settings: settings.clone(), trends, counted, quality: model.quality })
    }
}

/// The cases of the series of `train`, and of those of `target`, at these origins.
fn cases(
    run: &Run,
    train: &Panel,
    target: Option<&Panel>,
    market: &Market,
    settings: &TrendSettings,
    origins: &[usize],
    most: usize,
) -> Result<Table> {
    let scenes: Vec<Scene> = origins.iter().map(|t| market.scene(*t)).collect();
    let stride = (train.len() * origins.len()).div_ceil(most).max(1);
    let mut table = Table::build(run, train, market, &scenes, stride, 1.0, false)?;
    if let Some(target) = target {
        // The few series that are asked for count for more, up to five cases each.
        let few = (target.len() * origins.len()).max(1);
        let stride = few.div_ceil(settings.cases_max).max(1);
        let weight = (0.3 * table.cases.len() as f64 / few as f64).clamp(1.0, 5.0);
        table.append(Table::build(run, target, market, &scenes, stride, weight, false)?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Freq;

    /// A model of made-up products and the cases it was learnt from.
    fn model_of(products: usize, days: usize) -> (Model, Table) {
        let series = (0..products)
            .map(|p| {
                let y = (0..days)
                    .map(|d| {
                        let wave = ((d + 23 * p) as f64 / 40.0).sin();
                        let noise = ((d * 7919 + p * 104_729) % 97) as f64 / 97.0;
                        (8.0 + 5.0 * wave + 6.0 * noise).round()
                    })
                    .collect();
                (format!("p{p:03}"), 0, y)
            })
            .collect();
        let panel = Panel::from_series(Freq::DAILY, series).expect("a panel");
        let settings = TrendSettings { horizon: 14, ..TrendSettings::default() };
        let calendar = Calendar::default();
        let trainer = Trainer::new(&panel, &settings, &calendar).expect("settings that are right");
        let past = Past::new(&Run::new(1), &panel, None, &trainer, &[]).expect("a past");
        (past.model(&Run::new(1), past.market.n).expect("a model"), past.table)
    }

    /// A model of twenty products.
    pub(super) fn small_model() -> (Model, Table) {
        model_of(20, 500)
    }

    /// A model of so many products that trees are grown.
    pub(super) fn grown_model() -> (Model, Table) {
        model_of(110, 500)
    }

    #[test]
    fn origins_end_before_the_cutoff() {
        let w = Windows::new(Freq::DAILY, 28);
        let s = TrendSettings::default();
        let o = origins_before(1829, &w, &s);
        assert_eq!((o.len(), o[0], o[o.len() - 1]), (78, 723, 1801));
        assert_eq!(origins_before(100, &w, &s), [58, 72]);
        assert!(origins_before(20, &w, &s).is_empty());
    }

    #[test]
    fn all_faults_of_the_settings_are_told() {
        let bad = TrendSettings { horizon: 0, level: 1.0, threshold: f64::NAN, ..TrendSettings::default() };
        let text = bad.check().expect_err("faults").to_string();
        assert!(["horizon", "level", "threshold"].iter().all(|n| text.contains(n)), "{text}");
    }
}
