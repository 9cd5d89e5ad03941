//! What is learnt of the many series of a panel, for one question after the other.

use super::evaluate::{Replay, TrendEvaluation};
use super::trees::Grove;
use super::windows::Grid;
use super::{Past, TrendReport, TrendSettings, check_freq};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tradewind_core::calendar::Calendar;
use tradewind_core::freq::Stamp;
use tradewind_core::{Error, Panel, Result, Run};

/// First stamp, steps and cutoffs of what was learnt from.
type Asked = (Stamp, usize, Vec<usize>);

/// Predicts and replays the trends of products, and of categories, shops or words beside them, all by trees that are
/// grown once on the products: growing them is most of the work. What it says of each is what
/// [`predict_with`](super::predict_with) and [`evaluate_with`](super::evaluate_with) say.
///
/// ```
/// use tradewind_core::{Freq, Panel, Run, calendar::Calendar};
/// use tradewind_forecast::trend::{Trainer, TrendSettings};
/// let wave = |p: usize, d: usize| (20.0 + 12.0 * ((d + 30 * p) as f64 / 58.0).sin()).round();
/// let series = (0..12).map(|p| (format!("p{p:02}"), 0, (0..730).map(|d| wave(p, d)).collect()));
/// let all = (0..730).map(|d| (0..12).map(|p| wave(p, d)).sum()).collect();
/// let products = Panel::from_series(Freq::DAILY, series.collect()).unwrap();
/// let shop = Panel::from_series(Freq::DAILY, vec![("shop".into(), 0, all)]).unwrap();
/// let (settings, calendar, run) = (TrendSettings::default(), Calendar::default(), Run::new(1));
/// let trainer = Trainer::new(&products, &settings, &calendar).unwrap();
/// assert_eq!(trainer.predict(&run, None, None).unwrap().trends.len(), 12);
/// assert_eq!(trainer.predict(&run, Some(&shop), None).unwrap().trends.len(), 1);
/// ```
pub struct Trainer<'a> {
    train: &'a Panel,
    settings: &'a TrendSettings,
    calendar: &'a Calendar,
    groves: Mutex<BTreeMap<Asked, Arc<Grove>>>,
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("series", &self.train.len())
            .field("settings", self.settings)
            .finish_non_exhaustive()
    }
}

impl<'a> Trainer<'a> {
    /// Before anything is learnt.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn new(train: &'a Panel, settings: &'a TrendSettings, calendar: &'a Calendar) -> Result<Self> {
        settings.check()?;
        Ok(Self { train, settings, calendar, groves: Mutex::default() })
    }

    pub(super) fn settings(&self) -> &TrendSettings {
        self.settings
    }

    pub(super) fn calendar(&self) -> &Calendar {
        self.calendar
    }

    /// The cases of trees for a question, made unless they are there.
    pub(super) fn grove(&self, asked: Asked, make: impl FnOnce() -> Result<Grove>) -> Result<Arc<Grove>> {
        let groves = || self.groves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = groves().get(&asked) {
            return Ok(there.clone());
        }
        let grove = Arc::new(make()?);
        groves().insert(asked, grove.clone());
        Ok(grove)
    }

    /// The trends of `target`, or of the series learnt from, as [`predict_with`](super::predict_with) tells them.
    ///
    /// # Errors
    /// As [`predict_with`](super::predict_with).
    pub fn predict(&self, run: &Run, target: Option<&Panel>, cutoff: Option<Stamp>) -> Result<TrendReport> {
        check_freq(self.train, target)?;
        let (train, target) = match cutoff {
            Some(c) => (&self.train.as_of(c), target.map(|t| t.as_of(c))),
            None => (self.train, target.cloned()),
        };
        run.install(|| {
            let past = Past::new(run, train, target.as_ref(), self, &[])?;
            past.report(run, target.as_ref().unwrap_or(train), past.market.n, self.settings)
        })
    }

    /// Replays these dates, as [`evaluate_with`](super::evaluate_with) does.
    ///
    /// # Errors
    /// As [`evaluate_with`](super::evaluate_with).
    pub fn evaluate(&self, run: &Run, target: Option<&Panel>, cutoffs: &[Stamp]) -> Result<TrendEvaluation> {
        let (train, settings) = (self.train, self.settings);
        check_freq(train, target)?;
        if cutoffs.is_empty() {
            return Err(Error::Invalid("no date was given to replay".into()));
        }
        run.install(|| {
            let Some(base) =
                [train.first_stamp(), target.and_then(Panel::first_stamp)].into_iter().flatten().min()
            else {
                return Err(Error::Invalid("the panel has no observations".into()));
            };
            let grid = Grid { freq: train.freq(), base };
            let mut ends: Vec<usize> = cutoffs.iter().map(|c| grid.steps_until(*c)).collect();
            ends.sort_unstable();
            ends.dedup();
            // Features of an origin see nothing after it, so one table of all origins serves every date.
            let past = Past::new(run, train, target, self, &ends)?;
            let n = past.market.n;
            if let Some(end) = ends.iter().find(|e| **e + settings.horizon > n || **e == 0) {
                return Err(Error::Invalid(format!(
                    "{} cannot be replayed: it is not followed by {} known steps (the data end at {})",
                    grid.freq.format(grid.stamp(end.max(&1) - 1)),
                    settings.horizon,
                    grid.freq.format(grid.stamp(n - 1)),
                )));
            }
            let panel = target.unwrap_or(train);
            let mut replay = Replay::default();
            run.progress().begin("replay", ends.len() as u64);
            for end in &ends {
                run.check()?;
                replay.date(&run.quiet(), &past, panel, *end)?;
                run.progress().advance(1);
            }
            run.progress().end();
            replay.finish(&past, ends.iter().map(|e| grid.stamp(e - 1)).collect())
        })
    }
}
