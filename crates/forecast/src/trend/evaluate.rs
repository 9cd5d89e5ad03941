//! Replaying past dates: what would have been said then, and what came.

use super::scores::{CurvePoint, Naive, NaiveScores, Scores, curves};
use super::table::{Case, Table};
use super::windows::{Grid, Windows};
use super::{Past, Trainer, TrendSettings, origins_before};
use serde::{Deserialize, Serialize};
use tradewind_core::calendar::Calendar;
use tradewind_core::freq::Stamp;
use tradewind_core::{Direction, Error, Panel, Result, Run};

/// What was said of one series at one past date, and what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendOutcome {
    /// The series.
    pub unique_id: String,
    /// The last stamp known then.
    pub cutoff: Stamp,
    /// Probabilities of falling, steady, rising.
    pub probabilities: [f64; 3],
    /// Expected growth with its interval.
    pub growth: f64,
    /// Lower end.
    pub growth_lower: f64,
    /// Upper end.
    pub growth_upper: f64,
    /// Units of the last window.
    pub units_last: f64,
    /// Units of the next window, as they came.
    pub units_next: f64,
    /// Which way it went; `None` when both windows had too few units.
    pub direction: Option<Direction>,
}

/// The quality of trend prediction over past dates. At each date the model was learnt anew from data before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendEvaluation {
    /// The settings.
    pub settings: TrendSettings,
    /// The dates replayed (the last stamp known), oldest first.
    pub cutoffs: Vec<Stamp>,
    /// Figures of the model.
    pub scores: Scores,
    /// Figures of the model at each date.
    pub by_cutoff: Vec<Scores>,
    /// The calibration curve of each direction (falling, steady, rising).
    pub calibration: [Vec<CurvePoint>; 3],
    /// Figures of simple answers.
    pub naive: Vec<NaiveScores>,
    /// Share of growth that came inside its interval (of the cases with a direction).
    pub coverage: f64,
    /// Every single prediction.
    pub outcomes: Vec<TrendOutcome>,
}

/// The latest `n` dates that can be replayed, a horizon apart, oldest first: their next windows end at the panel's last
/// stamp or before, and at least three origins lie before each to learn from.
pub fn cutoffs(panel: &Panel, settings: &TrendSettings, n: usize) -> Result<Vec<Stamp>> {
    settings.check()?;
    let h = settings.horizon;
    let too_short =
        |got: usize| Error::NotEnoughData { what: "a replay of past trends".into(), needed: 5 * h, got };
    let (Some(base), Some(last)) = (panel.first_stamp(), panel.last_stamp()) else {
        return Err(too_short(0));
    };
    let grid = Grid { freq: panel.freq(), base };
    let steps = grid.steps_until(last);
    let windows = Windows::new(panel.freq(), h);
    let mut out: Vec<Stamp> = (1..=n)
        .map_while(|k| steps.checked_sub(k * h))
        .take_while(|t| origins_before(*t, &windows, settings).len() >= 3)
        .map(|t| grid.stamp(t - 1))
        .collect();
    out.reverse();
    if out.is_empty() { Err(too_short(steps)) } else { Ok(out) }
}

/// Replays these dates on a panel. See [`cutoffs`] for dates that can be replayed.
///
/// # Errors
/// As [`predict`](super::predict); also a date that is not followed by a whole window.
pub fn evaluate(
    run: &Run,
    panel: &Panel,
    settings: &TrendSettings,
    cutoffs: &[Stamp],
    calendar: &Calendar,
) -> Result<TrendEvaluation> {
    evaluate_with(run, panel, None, settings, cutoffs, calendar)
}

/// As [`evaluate`], for the series of `target` with models learnt on `train` and on the target's past.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with(
    run: &Run,
    train: &Panel,
    target: Option<&Panel>,
    settings: &TrendSettings,
    cutoffs: &[Stamp],
    calendar: &Calendar,
) -> Result<TrendEvaluation> {
    Trainer::new(train, settings, calendar)?.evaluate(run, target, cutoffs)
}

/// What has been replayed so far.
#[derive(Default)]
pub(super) struct Replay {
    outcomes: Vec<TrendOutcome>,
    class: Vec<u8>,
    p: Vec<[f64; 3]>,
    cases: Vec<Case>,
    by_cutoff: Vec<Scores>,
    inside: usize,
    naive: Option<Naive>,
}

impl Replay {
    pub(super) fn date(&mut self, run: &Run, past: &Past, panel: &Panel, end: usize) -> Result<()> {
        let settings = &past.settings;
        let model = past.model(run, end)?;
        if self.naive.is_none() {
            // The frequencies behind the naive answers come from before the first date.
            let h = settings.horizon;
            let at = past.table.select(|c| c.t + h <= end && c.counts(settings.min_units));
            let cases: Vec<&Case> = at.iter().map(|i| &past.table.cases[*i]).collect();
            self.naive = Some(Naive::fit(&cases, settings.threshold));
        }
        let scene = past.market.scene(end);
        let now = Table::build(run, panel, &past.market, std::slice::from_ref(&scene), 1, 1.0, true)?;
        let answers = model.answers(&now)?;
        let from = self.class.len();
        for (case, (answer, _, _)) in now.cases.iter().zip(&answers) {
            let series = panel.series(case.series);
            // A series that had not begun then was not there to be asked about.
            if case.next.is_nan() || series.start > past.market.grid.stamp(end - 1) {
                continue;
            }
            let counts = case.counts(settings.min_units);
            self.outcomes.push(TrendOutcome {
                unique_id: series.id.to_owned(),
                cutoff: past.market.grid.stamp(end - 1),
                probabilities: answer.p,
                growth: answer.growth,
                growth_lower: answer.lower,
                growth_upper: answer.upper,
                units_last: if case.last.is_nan() { 0.0 } else { case.last },
                units_next: case.next,
                direction: counts.then(|| Direction::of(case.last, case.next, settings.threshold)),
            });
            if counts {
                self.class.push(case.class(settings.threshold));
                self.p.push(answer.p);
                self.cases.push(*case);
                let g = case.growth().exp() - 1.0;
                self.inside += usize::from(answer.lower - 1e-9 <= g && g <= answer.upper + 1e-9);
            }
        }
        self.by_cutoff.push(Scores::of(&self.class[from..], &self.p[from..]));
        Ok(())
    }

    pub(super) fn finish(self, past: &Past, cutoffs: Vec<Stamp>) -> Result<TrendEvaluation> {
        if self.class.is_empty() {
            return Err(Error::Invalid(format!(
                "no series had {} units or more in two windows at these dates; lower min_units or take a longer horizon",
                past.settings.min_units
            )));
        }
        let cases: Vec<&Case> = self.cases.iter().collect();
        Ok(TrendEvaluation {
            settings: past.settings.clone(),
            cutoffs,
            scores: Scores::of(&self.class, &self.p),
            by_cutoff: self.by_cutoff,
            calibration: curves(&self.class, &self.p),
            naive: self.naive.map_or_else(Vec::new, |n| n.score(&cases, past.settings.threshold)),
            coverage: self.inside as f64 / self.class.len() as f64,
            outcomes: self.outcomes,
        })
    }
}
