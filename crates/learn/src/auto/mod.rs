//! Choosing an estimator and its parameters by cross-validation within a budget.
//!
//! Every estimator of the catalogue that can learn the task is tried with its defaults first, the cheap ones before the
//! dear ones, so that there is an answer early. Then the tree-structured Parzen estimator chooses between estimators and
//! parameters together (Thornton, Hutter, Hoos and Leyton-Brown 2013). At the end the best are blended greedily, as far
//! as this helps on rows not seen, and fitted on all rows given (Feurer and others 2015).

mod prepared;

pub use prepared::{CATEGORIES_MAX, FittedPrepared, Prepared};

use crate::crossval::{GroupKFold, Split, TimeSeriesSplit, gather, predict_folds, same_width, score_rows};
use crate::ensemble::{FittedBlend, Greedy, Member, PREPARED, folds_for};
use crate::learner::{LearnerEntry, Task};
use crate::matrix::{Dataset, Matrix};
use crate::measure::Measure;
use crate::search::{
    Attempt, Condition, Dimension, Direction, Domain, MemoryStore, Pruner, Sampler, Search, Space, Study,
    Tpe, Trial, TrialState, TrialStore, space_of,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tradewind_core::{Error, ParamCheck, ParamKind, Params, Result, Run};

/// The parameter that names the estimator.
const LEARNER: &str = "learner";

/// Parameters of the choice.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `measure` | by task | | what is chosen by; see [`Measure::default_for`] |
/// | `learners` | all | names of the catalogue | which estimators are tried |
/// | `n_trials` | 60 | 1 to 100000 | settings tried at most |
/// | `n_folds` | 5 | 2 to 100 | folds of the cross-validation |
/// | `n_members_max` | 8 | 1 to 100 | settings that may be blended; 1 takes the best alone |
/// | `seconds_max` | none | 0 and more | budget on the caller's clock |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auto {
    /// What is chosen by.
    pub measure: Option<Measure>,
    /// Which estimators are tried; empty for all that can learn the task.
    pub learners: Vec<String>,
    /// Settings tried at most.
    pub n_trials: u64,
    /// Folds.
    pub n_folds: usize,
    /// Settings that may be blended.
    pub n_members_max: usize,
    /// Budget on the caller's clock. Time for the last fit is kept back; one setting is tried in any case.
    pub seconds_max: Option<f64>,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            measure: None,
            learners: Vec::new(),
            n_trials: 60,
            n_folds: 5,
            n_members_max: 8,
            seconds_max: None,
        }
    }
}

/// How rows hang together, which says how they may be parted.
#[derive(Clone, Copy, Debug, Default)]
pub enum Folds<'a> {
    /// Not at all: folds by chance, with every class having its share.
    #[default]
    Random,
    /// Rows of one group stay together.
    Groups(&'a [u64]),
    /// Later rows are predicted from earlier ones.
    Time {
        /// The time of each row.
        time: &'a [i64],
        /// Units of time between training and test; at least what the target looks ahead.
        gap: i64,
    },
    /// These.
    Given(&'a [Split]),
}

/// One row of the leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The number of the trial.
    pub trial: u64,
    /// The estimator.
    pub learner: String,
    /// Its parameters; those not named have their defaults.
    pub params: Params,
    /// The mean score over the folds; absent when the trial failed.
    pub score: Option<f64>,
    /// The scores' standard deviation over the folds.
    pub sd: Option<f64>,
    /// Seconds of fitting and predicting all folds, on the caller's clock.
    pub seconds: Option<f64>,
    /// How the trial ended; one given up has the score of the folds it did.
    pub state: TrialState,
    /// Its weight in the model; 0 for those not in it.
    pub weight: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What [`Auto`] chose.
#[derive(Debug)]
pub struct Chosen {
    /// The model, fitted on all rows given. It is saved as a blend of prepared estimators.
    pub model: FittedBlend,
    /// All trials, the best first, those given up and failed last.
    pub leaderboard: Vec<Standing>,
    /// What was chosen by.
    pub measure: Measure,
    /// The score of the model's members together on rows that they had not seen. Their weights were chosen by it, so it
    /// flatters a little.
    pub score: f64,
}

impl Auto {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let seconds = self.seconds_max.unwrap_or(0.0);
        ParamCheck::new()
            .require((1..=100_000).contains(&self.n_trials), "n_trials", self.n_trials, "1 to 100000")
            .require((2..=100).contains(&self.n_folds), "n_folds", self.n_folds, "2 to 100")
            .require((1..=100).contains(&self.n_members_max), "n_members_max", self.n_members_max, "1 to 100")
            .require(seconds >= 0.0, "seconds_max", seconds, "0 and more")
            .finish()
    }

    /// Chooses and fits. `clock` gives the seconds since some moment; it is looked at only for the budget and for what
    /// the leaderboard tells.
    ///
    /// ```
    /// use tradewind_core::Run;
    /// use tradewind_learn::{Dataset, FittedLearner, Matrix, Task, auto::{Auto, Folds}};
    /// let x: Vec<f64> = (0..60).map(|i| f64::from(i % 17)).collect();
    /// let y = x.iter().map(|v| 3.0 * v - 1.0).collect();
    /// let data = Dataset::new(Matrix::from_columns(&[x]).unwrap(), y, vec![]).unwrap();
    /// let auto = Auto { n_trials: 6, n_folds: 3, learners: vec!["ols".into(), "ridge".into()], ..Auto::default() };
    /// let chosen = auto.fit(&Run::new(1), Task::Regression, &data, Folds::Random, &|| 0.0).unwrap();
    /// assert!(chosen.score < 1e-6 && chosen.leaderboard.len() == 6);
    /// assert_eq!(chosen.model.predict(data.x()).unwrap().n_rows(), 60);
    /// ```
    pub fn fit(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        folds: Folds<'_>,
        clock: &(dyn Fn() -> f64 + Sync),
    ) -> Result<Chosen> {
        self.fit_stored(run, task, data, folds, clock, &MemoryStore::default())
    }

    /// [`Auto::fit`] with the trials kept in `store`: a choice that was killed goes on where it was.
    pub fn fit_stored(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        folds: Folds<'_>,
        clock: &(dyn Fn() -> f64 + Sync),
        store: &dyn TrialStore,
    ) -> Result<Chosen> {
        self.check()?;
        let measure = match self.measure.or_else(|| Measure::default_for(task)) {
            Some(measure) if task == Task::Regression || task.is_classes() => measure,
            _ => {
                return Err(Error::Invalid(format!(
                    "auto learns regression, binary and multiclass, not {task}"
                )));
            }
        };
        data.need_rows("auto", 2 * self.n_folds)?;
        let entries = self.entries(task, data)?;
        let splits = self.splits(run, task, data, folds)?;
        let (space, first) = whole_space(task, &entries)?;
        let start = clock();
        let ctx = Context {
            run,
            task,
            data,
            splits: &splits,
            measure,
            kept: Mutex::default(),
            clock,
            n_kept: self.n_members_max,
        };
        let search = Search {
            direction: if measure.higher_is_better() { Direction::Maximise } else { Direction::Minimise },
            sampler: Sampler::Tpe(Tpe { n_startup: first.len() + 4, ..Tpe::default() }),
            pruner: Pruner::Median { n_startup: 6, n_warmup: 0 },
            n_trials: self.n_trials,
            batch_size: 1,
        };
        let mut study = Study::open(run, space, search, store)?.with_first(first)?;
        for trial in study.trials() {
            ctx.note(trial);
        }
        let should_stop = || match self.seconds_max {
            Some(budget) => ctx.has_one() && clock() - start + ctx.seconds_of_last_fit() >= budget,
            None => false,
        };
        study.optimise(
            |attempt| {
                let outcome = ctx.attempt(attempt);
                if outcome.is_ok() && attempt.is_alive() {
                    ctx.note_score(
                        attempt.number(),
                        outcome.as_ref().copied().unwrap_or(f64::NAN),
                        attempt.seconds,
                    );
                }
                outcome
            },
            &should_stop,
        )?;
        self.finish(&ctx, &study)
    }

    fn entries(&self, task: Task, data: &Dataset) -> Result<Vec<&'static LearnerEntry>> {
        for name in &self.learners {
            crate::entry(name)?;
        }
        let mut entries: Vec<&'static LearnerEntry> = crate::CATALOG
            .iter()
            .filter(|e| self.learners.is_empty() || self.learners.iter().any(|name| name == e.name))
            .filter(|e| e.tasks.contains(&task) && (e.bears.weights || data.weight().is_none()))
            .collect();
        entries.sort_by_key(|e| dearness(e.name));
        if entries.is_empty() {
            return Err(Error::Invalid(format!(
                "none of the estimators asked for learns {task} from such data"
            )));
        }
        Ok(entries)
    }

    fn splits(&self, run: &Run, task: Task, data: &Dataset, folds: Folds<'_>) -> Result<Vec<Split>> {
        let same = |n: usize, what: &str| match n == data.n_rows() {
            true => Ok(()),
            false => Err(Error::Invalid(format!("{n} {what} for {} rows", data.n_rows()))),
        };
        match folds {
            Folds::Random => folds_for(run, task, data, self.n_folds),
            Folds::Groups(group) => {
                same(group.len(), "groups")?;
                GroupKFold { n_folds: self.n_folds }.split(group)
            }
            Folds::Time { time, gap } => {
                same(time.len(), "times")?;
                let (first, last) = (time.iter().min().copied(), time.iter().max().copied());
                let span = first.zip(last).map_or(0, |(a, b)| b.saturating_sub(a).saturating_add(1));
                // The earliest test part has as much before it as two test parts are long.
                let test_size = ((span - gap) / (self.n_folds as i64 + 2)).max(1);
                let split = TimeSeriesSplit { n_splits: self.n_folds, test_size, gap, train_size_max: 0 };
                split.split(time)
            }
            Folds::Given(splits) => Ok(splits.to_vec()),
        }
    }

    fn finish(&self, ctx: &Context<'_>, study: &Study<'_>) -> Result<Chosen> {
        let measure = ctx.measure;
        let mut complete: Vec<&Trial> =
            study.trials().filter(|t| t.state == TrialState::Complete && t.value.is_some()).collect();
        let loss = |t: &Trial| measure.loss(t.value.unwrap_or(f64::NAN));
        complete.sort_by(|a, b| loss(a).total_cmp(&loss(b)).then(a.number.cmp(&b.number)));
        if complete.is_empty() {
            let why = study.trials().find_map(|t| t.error.clone()).unwrap_or_else(|| "none was tried".into());
            return Err(Error::Invalid(format!("no estimator could be fitted; the first fault: {why}")));
        }
        // Equal settings, and settings that answer alike, are members once.
        let mut members: Vec<&Trial> = Vec::new();
        let mut answers: Vec<Matrix> = Vec::new();
        for trial in complete.iter().take(self.n_members_max) {
            let own = ctx.answers_of(trial)?;
            if !answers.contains(&own) {
                members.push(trial);
                answers.push(own);
            }
        }
        let rows = ctx.tested_rows();
        let seen = ctx.data.select_rows(&rows)?;
        let greedy = Greedy { n_bags: 5, ..Greedy::default() };
        let choice = greedy.choose(ctx.run, ctx.task, measure, &answers, seen.y(), seen.weight())?;
        let mut fitted = Vec::new();
        let mut weights = Vec::new();
        let mut weight_of: BTreeMap<u64, f64> = BTreeMap::new();
        let mut fault = None;
        for (trial, weight) in members.iter().zip(&choice.weights).filter(|(_, w)| **w > 0.0) {
            match ctx.prepared(&trial.params).and_then(|p| p.fit(&ctx.run.quiet(), ctx.data)) {
                Ok(model) => {
                    fitted.push(Member { name: PREPARED.into(), model: Box::new(model) });
                    weights.push(*weight);
                    weight_of.insert(trial.number, *weight);
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                // What worked on the folds and not on all rows is left out.
                Err(e) => fault = Some(e),
            }
        }
        let total: f64 = weights.iter().sum();
        if let (true, Some(fault)) = (weights.is_empty(), fault) {
            return Err(fault);
        }
        weights.iter_mut().for_each(|w| *w /= total);
        weight_of.values_mut().for_each(|w| *w /= total);
        let mut leaderboard: Vec<Standing> = study.trials().map(|t| standing(t, &weight_of)).collect();
        leaderboard.sort_by(|a, b| {
            let tier = |s: &Standing| match s.state {
                TrialState::Complete => 0,
                TrialState::Pruned => 1,
                TrialState::Failed => 2,
            };
            let loss = |s: &Standing| measure.loss(s.score.unwrap_or(f64::NAN));
            tier(a).cmp(&tier(b)).then(loss(a).total_cmp(&loss(b))).then(a.trial.cmp(&b.trial))
        });
        Ok(Chosen { model: FittedBlend::new(fitted, weights)?, leaderboard, measure, score: choice.score })
    }
}

fn standing(trial: &Trial, weight_of: &BTreeMap<u64, f64>) -> Standing {
    let (learner, params) = own_params(&trial.params);
    // Reports are running means; the scores of the folds follow from them.
    let mut scores = Vec::new();
    let mut before = 0.0;
    for (at, (_, mean)) in trial.reports.iter().enumerate() {
        let sum = mean * (at + 1) as f64;
        scores.push(sum - before);
        before = sum;
    }
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let sd = (scores.len() > 1)
        .then(|| (scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / (n - 1.0)).sqrt());
    Standing {
        trial: trial.number,
        learner,
        params,
        score: trial.value,
        sd,
        seconds: trial.seconds,
        state: trial.state,
        weight: weight_of.get(&trial.number).copied().unwrap_or(0.0),
        error: trial.error.clone(),
    }
}

/// The estimator's name and its own parameters, out of a point of the whole space.
fn own_params(point: &Params) -> (String, Params) {
    let learner = point.get(LEARNER).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = point
        .iter()
        .filter_map(|(name, v)| Some((name.strip_prefix(&learner)?.strip_prefix('.')?.to_owned(), v.clone())))
        .collect();
    (learner, own)
}

/// One space for all estimators, each parameter named `estimator.parameter` and mattering only for it; and the point of
/// each estimator's defaults, in order.
fn whole_space(task: Task, entries: &[&'static LearnerEntry]) -> Result<(Space, Vec<Params>)> {
    let mut dimensions = vec![Dimension {
        name: LEARNER.into(),
        domain: Domain::Choice(entries.iter().map(|e| e.name.to_owned()).collect()),
        when: None,
    }];
    let mut first = Vec::new();
    for entry in entries {
        let mut point = Params::new();
        point.insert(LEARNER.into(), entry.name.into());
        for d in space_of(entry.name, task)?.dimensions() {
            // A space may name what this version of the estimator does not have.
            let Some(spec) = entry.params.iter().find(|p| p.name == d.name) else { continue };
            let name = format!("{}.{}", entry.name, d.name);
            point.insert(name.clone(), default_in(&d.domain, spec.default));
            let when = Some(Condition { on: LEARNER.into(), is: vec![entry.name.into()] });
            dimensions.push(Dimension { name, domain: fitting(&d.domain, spec.kind), when });
        }
        first.push(point);
    }
    Ok((Space::new(dimensions)?, first))
}

/// The domain cut to the range that the estimator allows.
fn fitting(domain: &Domain, kind: ParamKind) -> Domain {
    match (domain, kind) {
        (Domain::Float { low, high, log }, ParamKind::Number { min, max }) => {
            Domain::Float { low: low.clamp(min, max), high: high.clamp(min, max), log: *log }
        }
        (Domain::Int { low, high, step, log }, ParamKind::Integer { min, max }) => Domain::Int {
            low: *low.max(&min).min(&max),
            high: *high.max(&min).min(&max),
            step: *step,
            log: *log,
        },
        (other, _) => other.clone(),
    }
}

/// The default, as near as the domain has it; the middle where the estimator's default is chosen from the data.
fn default_in(domain: &Domain, default: &str) -> Value {
    let number = default.parse::<f64>().ok();
    match (domain, number) {
        (Domain::Float { log: true, .. } | Domain::Int { log: true, .. }, Some(v)) if v > 0.0 => {
            domain.at(v.ln())
        }
        (Domain::Float { .. } | Domain::Int { .. }, Some(v)) => {
            let (low, _) = domain.axis();
            domain.at(if v > 0.0 { v } else { low })
        }
        (Domain::Choice(words), _) if words.iter().any(|w| w == default) => Value::from(default),
        (Domain::Flag, _) => Value::from(default == "true"),
        _ => domain.at_unit(0.5),
    }
}

/// Where an estimator stands in the order of first trials.
fn dearness(name: &str) -> usize {
    const ORDER: [&str; 16] = [
        "ols",
        "ridge",
        "naive_bayes",
        "gaussian_nb",
        "logistic",
        "elastic_net",
        "huber",
        "boosting",
        "extra_trees",
        "random_forest",
        "quantile",
        "knn",
        "mlp",
        "click_rate",
        "svm",
        "svc",
    ];
    ORDER.iter().position(|n| *n == name).unwrap_or(ORDER.len())
}

/// What a trial needs and leaves behind.
struct Context<'a> {
    run: &'a Run,
    task: Task,
    data: &'a Dataset,
    splits: &'a [Split],
    measure: Measure,
    kept: Mutex<Kept>,
    clock: &'a (dyn Fn() -> f64 + Sync),
    n_kept: usize,
}

/// Of the best trials: score (as loss), seconds and answers out of fold.
#[derive(Default)]
struct Kept {
    best: Vec<(f64, u64, f64)>,
    answers: BTreeMap<u64, Matrix>,
}

impl Context<'_> {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self, point: &Params) -> Result<Prepared> {
        let (name, params) = own_params(point);
        Prepared::of(&name, self.task, &params)
    }

    /// The mean score over the folds. The first fold is done alone and reported, so that hopeless settings cost one
    /// fold; the others run at the same time.
    fn attempt(&self, attempt: &mut Attempt<'_>) -> Result<f64> {
        let start = (self.clock)();
        let learner = self.prepared(attempt.params())?;
        let mut folds: Vec<Matrix> = Vec::with_capacity(self.splits.len());
        let mut sum = 0.0;
        for part in [&self.splits[..1], &self.splits[1..]] {
            if part.is_empty() {
                continue;
            }
            let done = predict_folds(self.run, self.data, part, |run, train, _| {
                Ok(Box::new(learner.fit(run, train)?))
            })?;
            for (split, answers) in part.iter().zip(done) {
                sum += score_rows(self.measure, self.task, self.data, &split.test, &answers)?;
                folds.push(answers);
                attempt.seconds = Some((self.clock)() - start);
                if !attempt.report(folds.len() as u64, sum / folds.len() as f64) {
                    return Ok(f64::NAN);
                }
            }
        }
        same_width(&mut folds)?;
        let (all, _) = gather(self.data.n_rows(), self.splits, &folds)?;
        self.kept().answers.insert(attempt.number(), all.select_rows(&self.tested_rows()));
        Ok(sum / self.splits.len() as f64)
    }

    fn note(&self, trial: &Trial) {
        if let (TrialState::Complete, Some(value)) = (trial.state, trial.value) {
            self.note_score(trial.number, value, trial.seconds);
        }
    }

    /// Keeps the answers of the best trials only: all of them would not fit in memory.
    fn note_score(&self, number: u64, value: f64, seconds: Option<f64>) {
        let mut kept = self.kept();
        kept.best.push((self.measure.loss(value), number, seconds.unwrap_or(0.0)));
        kept.best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        kept.best.truncate(self.n_kept);
        let Kept { best, answers } = &mut *kept;
        answers.retain(|number, _| best.iter().any(|(_, n, _)| n == number));
    }

    fn has_one(&self) -> bool {
        !self.kept().best.is_empty()
    }

    /// What fitting the members on all rows will take at most, judged by their folds: a fold has (k − 1)/k of the rows.
    fn seconds_of_last_fit(&self) -> f64 {
        let k = self.splits.len().max(2) as f64;
        self.kept().best.iter().map(|(_, _, seconds)| seconds / (k - 1.0)).sum()
    }

    /// Answers out of fold for the rows tested; of a trial that was read from the store they are made again.
    fn answers_of(&self, trial: &Trial) -> Result<Matrix> {
        if let Some(answers) = self.kept().answers.get(&trial.number) {
            return Ok(answers.clone());
        }
        let learner = self.prepared(&trial.params)?;
        let folds = predict_folds(self.run, self.data, self.splits, |run, train, _| {
            Ok(Box::new(learner.fit(run, train)?))
        })?;
        let (all, rows) = gather(self.data.n_rows(), self.splits, &folds)?;
        Ok(all.select_rows(&rows))
    }

    fn tested_rows(&self) -> Vec<usize> {
        let mut tested = vec![false; self.data.n_rows()];
        self.splits.iter().flat_map(|s| &s.test).for_each(|&i| tested[i] = true);
        (0..tested.len()).filter(|&i| tested[i]).collect()
    }
}
