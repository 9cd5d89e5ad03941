//! A search as a row of trials: asking for the next point, telling how it went, stopping and going on.
//!
//! The suggestion for a trial is a function of the seed, its number and the trials before its batch, and of nothing
//! else. So a search that was killed goes on with the very same suggestions, and trials of a batch may run at the same
//! time on any number of threads.

use super::gaussian_process::GaussianProcess;
use super::grid::grid;
use super::pruning::Pruner;
use super::random::{at_shares, halton};
use super::space::Space;
use super::tpe::Tpe;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tradewind_core::{Error, ParamCheck, Params, Result, Run};

/// The random stream of trial 0; trial `n` has the stream `n` further on.
const STREAM: u64 = 0x7365_6172_0000_0000;
/// The random stream of what all trials share.
const STREAM_SHARED: u64 = 0x7365_6172_ffff_ffff;

/// Whether small or large scores are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Small is good: errors and losses.
    #[default]
    Minimise,
    /// Large is good: shares and areas.
    Maximise,
}

impl Direction {
    /// The score turned so that small is good.
    pub fn loss(self, value: f64) -> f64 {
        match self {
            Self::Minimise => value,
            Self::Maximise => -value,
        }
    }
}

/// How points are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Every combination, with so many values of each continuous parameter; see [`grid`].
    Grid {
        /// Values of each continuous parameter, 1 to 1000.
        n_steps: usize,
    },
    /// Chance.
    Random,
    /// The shifted Halton sequence, which fills the space more evenly than chance.
    Halton,
    /// The tree-structured Parzen estimator: good with many trials, conditions and choices.
    Tpe(Tpe),
    /// A Gaussian process: best with few costly trials.
    GaussianProcess(GaussianProcess),
}

impl Default for Sampler {
    fn default() -> Self {
        Self::Tpe(Tpe::default())
    }
}

/// How one trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It has a score.
    Complete,
    /// It was given up early; its value is the last one reported.
    Pruned,
    /// It had a fault, or its score was not a finite number.
    Failed,
}

/// The record of one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 0, in the order of the suggestions.
    pub number: u64,
    /// The point.
    pub params: Params,
    /// How it ended.
    pub state: TrialState,
    /// The score; absent when it failed.
    pub value: Option<f64>,
    /// Scores on the way: step and value, steps rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<(u64, f64)>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, where the objective told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Where trials are kept. This crate knows memory only; files and databases are kept by others.
///
/// `append` may be called from several threads, and in another order than the trials' numbers.
pub trait TrialStore: Send + Sync {
    /// All trials, in any order.
    fn read(&self) -> Result<Vec<Trial>>;
    /// One trial more.
    fn append(&self, trial: &Trial) -> Result<()>;
}

/// Trials in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Vec<Trial>>);

impl MemoryStore {
    /// A store that begins with these trials.
    pub fn new(trials: Vec<Trial>) -> Self {
        Self(Mutex::new(trials))
    }
}

impl TrialStore for MemoryStore {
    fn read(&self) -> Result<Vec<Trial>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn append(&self, trial: &Trial) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(trial.clone());
        Ok(())
    }
}

/// What is searched, and how.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `direction` | `minimise` | | or `maximise` |
/// | `sampler` | `tpe` | | how points are chosen |
/// | `pruner` | `none` | | when trials are given up early |
/// | `n_trials` | 100 | 1 to 1000000 | trials at most |
/// | `batch_size` | 1 | 1 to 1000 | trials that may run at the same time; each sees only earlier batches |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Whether small or large scores are good.
    pub direction: Direction,
    /// How points are chosen.
    pub sampler: Sampler,
    /// When trials are given up early.
    pub pruner: Pruner,
    /// Trials at most.
    pub n_trials: u64,
    /// Trials that may run at the same time.
    pub batch_size: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            direction: Direction::default(),
            sampler: Sampler::default(),
            pruner: Pruner::default(),
            n_trials: 100,
            batch_size: 1,
        }
    }
}

impl Search {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new()
            .require((1..=1_000_000).contains(&self.n_trials), "n_trials", self.n_trials, "1 to 1000000")
            .require((1..=1000).contains(&self.batch_size), "batch_size", self.batch_size, "1 to 1000")
            .finish()?;
        match &self.sampler {
            Sampler::Grid { n_steps } => ParamCheck::new()
                .require((1..=1000).contains(n_steps), "n_steps", n_steps, "1 to 1000")
                .finish()?,
            Sampler::Random | Sampler::Halton => {}
            Sampler::Tpe(tpe) => tpe.check()?,
            Sampler::GaussianProcess(process) => process.check()?,
        }
        self.pruner.check()
    }
}

/// What a sampler sees of a trial.
pub(crate) struct Seen<'a> {
    pub(crate) point: &'a Params,
    /// Small is good; not used where pending.
    pub(crate) loss: f64,
    pub(crate) state: SeenState,
}

/// How far a seen trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeenState {
    Complete,
    Pruned { step: u64 },
    Pending,
}

/// A trial that runs: its point, and the way to report.
pub struct Attempt<'a> {
    number: u64,
    params: Params,
    reports: Vec<(u64, f64)>,
    pruner: Pruner,
    direction: Direction,
    others: &'a [&'a Trial],
    pruned: bool,
    fault: Option<String>,
    /// How long it took, to be set by the objective: this crate does not look at the clock.
    pub seconds: Option<f64>,
}

impl Attempt<'_> {
    /// The trial's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The point to try.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// A number among the parameters. Fails when there is none of that name, or it does not matter here.
    pub fn number_of(&self, name: &str) -> Result<f64> {
        self.params.get(name).and_then(serde_json::Value::as_f64).ok_or_else(|| Error::NotFound {
            what: "number in this trial",
            name: name.to_owned(),
            known: self.params.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Reports the score at a step, steps rising. When the answer is false the trial is given up: the objective
    /// returns, and what it returns is not used.
    #[must_use = "a trial that is given up should return"]
    pub fn report(&mut self, step: u64, value: f64) -> bool {
        if !value.is_finite() {
            self.fault = Some(format!("the objective reported {value} at step {step}"));
            return false;
        }
        if self.reports.last().is_some_and(|(last, _)| *last >= step) {
            self.fault = Some(format!("the objective reported step {step} after a step as high"));
            return false;
        }
        self.reports.push((step, value));
        self.pruned = self.pruner.gives_up(self.number, &self.reports, self.others, self.direction);
        !self.pruned
    }

    /// Whether nothing has ended the trial yet.
    pub fn is_alive(&self) -> bool {
        !self.pruned && self.fault.is_none()
    }

    fn finish(self, outcome: Result<f64>) -> Result<Trial> {
        let (number, params, reports, seconds) = (self.number, self.params, self.reports, self.seconds);
        let (state, value, error) = match (self.fault, outcome) {
            (_, Err(Error::Interrupted)) => return Err(Error::Interrupted),
            (Some(fault), _) => (TrialState::Failed, None, Some(fault)),
            (None, _) if self.pruned => (TrialState::Pruned, reports.last().map(|(_, v)| *v), None),
            (None, Ok(v)) if v.is_finite() => (TrialState::Complete, Some(v), None),
            (None, Ok(v)) => (TrialState::Failed, None, Some(format!("the objective gave {v}"))),
            (None, Err(fault)) => (TrialState::Failed, None, Some(fault.to_string())),
        };
        Ok(Trial { number, params, state, value, reports, error, seconds })
    }
}

/// A search under way.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::search::{MemoryStore, Search, Study};
/// let store = MemoryStore::default();
/// let space = "x=float(-5,5)".parse().unwrap();
/// let search = Search { n_trials: 40, ..Search::default() };
/// let mut study = Study::open(&Run::new(1), space, search, &store).unwrap();
/// study.optimise(|trial| Ok((trial.number_of("x")? - 1.0).powi(2)), &|| false).unwrap();
/// assert!(study.best().unwrap().value.unwrap() < 0.1);
/// ```
pub struct Study<'s> {
    run: Run,
    space: Space,
    search: Search,
    store: &'s dyn TrialStore,
    trials: BTreeMap<u64, Trial>,
    /// Asked for and not told yet.
    pending: BTreeMap<u64, Params>,
    grid: Vec<Params>,
    first: Vec<Params>,
}

impl<'s> Study<'s> {
    /// A new search, or the search that the store's trials began. Fails when they do not fit the space.
    pub fn open(run: &Run, space: Space, search: Search, store: &'s dyn TrialStore) -> Result<Self> {
        search.check()?;
        let grid = match search.sampler {
            Sampler::Grid { n_steps } => grid(&space, n_steps)?,
            _ => Vec::new(),
        };
        let mut trials = BTreeMap::new();
        for trial in store.read()? {
            let number = trial.number;
            space.check_point(&trial.params).map_err(|fault| {
                Error::Invalid(format!("stored trial {number} is of another search: {fault}"))
            })?;
            if trials.insert(number, trial).is_some() {
                return Err(Error::Invalid(format!("trial {number} is stored twice")));
            }
        }
        Ok(Self {
            run: run.clone(),
            space,
            search,
            store,
            trials,
            pending: BTreeMap::new(),
            grid,
            first: Vec::new(),
        })
    }

    /// The same search with points that are tried before the sampler chooses: defaults, and what did well elsewhere.
    pub fn with_first(mut self, first: Vec<Params>) -> Result<Self> {
        first.iter().try_for_each(|point| self.space.check_point(point))?;
        self.first = first;
        Ok(self)
    }

    /// The next point and its number; none when all trials, or the whole grid, are given out.
    pub fn ask(&mut self) -> Result<Option<(u64, Params)>> {
        let mut number = 0;
        while self.trials.contains_key(&number) || self.pending.contains_key(&number) {
            number += 1;
        }
        if number >= self.n_trials() {
            return Ok(None);
        }
        let params = self.suggest(number)?;
        self.pending.insert(number, params.clone());
        Ok(Some((number, params)))
    }

    /// Records how a trial ended, which was asked for. A score that is not finite makes it a failed one.
    pub fn tell(&mut self, number: u64, outcome: Result<f64>) -> Result<()> {
        let Some(params) = self.pending.remove(&number) else {
            return Err(Error::Invalid(format!("trial {number} was not asked for, or was told already")));
        };
        let trial = self.attempt(number, params, &[]).finish(outcome)?;
        self.store.append(&trial)?;
        self.trials.insert(number, trial);
        Ok(())
    }

    /// Runs trials until all are done or `should_stop` says so. Faults of the objective make failed trials; only an
    /// interruption and faults of the store end the search, after what finished was recorded.
    pub fn optimise(
        &mut self,
        objective: impl Fn(&mut Attempt<'_>) -> Result<f64> + Sync,
        should_stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<()> {
        let total = self.n_trials();
        self.run.progress().begin("search", total);
        let outcome = self.run_batches(&objective, should_stop, total);
        self.run.progress().end();
        outcome
    }

    fn run_batches(
        &mut self,
        objective: &(impl Fn(&mut Attempt<'_>) -> Result<f64> + Sync),
        should_stop: &(dyn Fn() -> bool + Sync),
        total: u64,
    ) -> Result<()> {
        let mut start = 0;
        while start < total {
            self.run.check()?;
            if should_stop() {
                return Ok(());
            }
            let end = (start + self.search.batch_size).min(total);
            let mut batch = Vec::new();
            for number in (start..end).filter(|n| !self.trials.contains_key(n)) {
                let params = match self.pending.get(&number) {
                    Some(params) => params.clone(),
                    None => self.suggest(number)?,
                };
                self.pending.insert(number, params.clone());
                batch.push((number, params));
            }
            let others: Vec<&Trial> = self.finished_before(start).collect();
            let one = |(number, params): (u64, Params)| -> Result<Option<Trial>> {
                self.run.check()?;
                if should_stop() {
                    return Ok(None);
                }
                let mut attempt = self.attempt(number, params, &others);
                let outcome = objective(&mut attempt);
                let trial = attempt.finish(outcome)?;
                self.store.append(&trial)?;
                self.run.progress().advance(1);
                Ok(Some(trial))
            };
            let done: Vec<Result<Option<Trial>>> = if batch.len() > 1 {
                self.run.install(|| batch.into_par_iter().with_max_len(1).map(one).collect())
            } else {
                batch.into_iter().map(one).collect()
            };
            let mut fault = Ok(());
            for trial in done {
                match trial {
                    Ok(Some(trial)) => {
                        self.pending.remove(&trial.number);
                        self.trials.insert(trial.number, trial);
                    }
                    Ok(None) => {}
                    Err(e) => fault = fault.and(Err(e)),
                }
            }
            fault?;
            start = end;
        }
        Ok(())
    }

    fn attempt<'a>(&self, number: u64, params: Params, others: &'a [&'a Trial]) -> Attempt<'a> {
        Attempt {
            number,
            params,
            reports: Vec::new(),
            pruner: self.search.pruner,
            direction: self.search.direction,
            others,
            pruned: false,
            fault: None,
            seconds: None,
        }
    }

    fn n_trials(&self) -> u64 {
        match self.search.sampler {
            Sampler::Grid { .. } => self.search.n_trials.min(self.grid.len() as u64),
            _ => self.search.n_trials,
        }
    }

    /// Trials before `start` that did not fail.
    fn finished_before(&self, start: u64) -> impl Iterator<Item = &Trial> {
        self.trials.range(..start).map(|(_, t)| t).filter(|t| t.state != TrialState::Failed)
    }

    fn suggest(&self, number: u64) -> Result<Params> {
        if let Some(point) = usize::try_from(number).ok().and_then(|n| self.first.get(n)) {
            return Ok(point.clone());
        }
        let start = number - number % self.search.batch_size;
        let mut seen: Vec<(u64, Seen<'_>)> = self
            .finished_before(start)
            .filter_map(|t| {
                let state = match t.state {
                    TrialState::Complete => SeenState::Complete,
                    _ => SeenState::Pruned { step: t.reports.last()?.0 },
                };
                Some((t.number, Seen { point: &t.params, loss: self.search.direction.loss(t.value?), state }))
            })
            .collect();
        // Of its own batch, and of those that were given out and not told, only the points are known.
        let pending = |point| Seen { point, loss: f64::INFINITY, state: SeenState::Pending };
        seen.extend(self.trials.range(start..number).map(|(n, t)| (*n, pending(&t.params))));
        seen.extend(self.pending.range(..number).map(|(n, p)| (*n, pending(p))));
        seen.sort_by_key(|(n, _)| *n);
        let seen: Vec<Seen<'_>> = seen.into_iter().map(|(_, s)| s).collect();
        let mut rng = self.run.rng(STREAM.wrapping_add(number));
        let halton = || {
            let shares = halton(number, self.space.dimensions().len(), &mut self.run.rng(STREAM_SHARED));
            at_shares(&self.space, &shares)
        };
        Ok(match &self.search.sampler {
            Sampler::Grid { .. } => self.grid[number as usize].clone(),
            Sampler::Random => self.space.draw(&mut rng),
            Sampler::Halton => halton(),
            Sampler::Tpe(tpe) => tpe.suggest(&self.space, &seen, &mut rng),
            Sampler::GaussianProcess(process) => {
                process.suggest(&self.run, &self.space, &seen, &mut rng)?.unwrap_or_else(halton)
            }
        })
    }

    /// The space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The trials so far, in order.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        self.trials.values()
    }

    /// The best finished trial; of equals the first.
    pub fn best(&self) -> Option<&Trial> {
        let loss = |t: &Trial| self.search.direction.loss(t.value.unwrap_or(f64::NAN));
        self.trials
            .values()
            .filter(|t| t.state == TrialState::Complete)
            .reduce(|a, b| if loss(b) < loss(a) { b } else { a })
    }
}
