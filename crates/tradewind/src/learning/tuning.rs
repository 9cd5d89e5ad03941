//! Choosing parameters, or the estimator itself, on the rows given.

use super::{FitRequest, Material, Model, manifest};
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tradewind_core::{Params, Run};
use tradewind_learn::auto::{Auto, Folds, Standing};
use tradewind_learn::crossval::{GroupKFold, KFold, Split, StratifiedKFold, TimeSeriesSplit};
use tradewind_learn::ensemble;
use tradewind_learn::measure::Measure;
use tradewind_learn::prepare::Recipe;
use tradewind_learn::search::{
    Dimension, Direction, Sampler, Search, Space, Study, Trial, TrialStore, space_of,
};
use tradewind_learn::{Bears, Dataset, Task};

/// What is searched, and how.
#[derive(Clone, Debug)]
pub struct TuneRequest {
    /// The space; the estimator's usual one when not said.
    pub space: Option<Space>,
    /// `tpe`, `gp`, `random` or `grid`.
    pub search: String,
    /// Sets of parameters to try.
    pub trials: u64,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// When to stop.
    pub budget: Option<Duration>,
    /// What is chosen by.
    pub measure: Option<Measure>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// What was chosen by.
    pub measure: Measure,
    /// The best parameters, those held fixed included.
    pub best: Params,
    /// Their mean score over the folds.
    pub score: f64,
    /// All trials.
    pub trials: Vec<Trial>,
}

/// Searches for the parameters that score best in cross-validation; preparation is fitted within each fold. A search
/// whose trials are in `store` goes on where it was.
///
/// # Errors
/// Those of a fit; a space with a parameter the estimator does not have; a store of another search.
pub fn tune(
    run: &Run,
    material: &Material,
    request: &FitRequest,
    tune: &TuneRequest,
    store: &dyn TrialStore,
) -> Result<Tuned> {
    let entry = tradewind_learn::entry(&request.model)?;
    let task = material.task;
    entry.learner(task, &request.params)?;
    let measure = chosen_measure(task, tune.measure)?;
    let mut space = match &tune.space {
        Some(space) => space.clone(),
        None => space_of(entry.name, task)?,
    };
    let fixed = |d: &Dimension| request.params.contains_key(&d.name);
    space = Space::new(space.dimensions().iter().filter(|d| !fixed(d)).cloned().collect())?;
    if let Some(d) = space.dimensions().iter().find(|d| entry.params.iter().all(|p| p.name != d.name)) {
        return Err(Error::asked(
            format!("{} has no parameter `{}` to search", entry.name, d.name),
            format!("`tradewind models {} --learn` lists its parameters", entry.name),
        ));
    }
    if space.is_empty() {
        return Err(Error::asked("there is nothing to search", "name the parameters with --space"));
    }
    let recipe = match &request.recipe {
        Some(recipe) => recipe.clone(),
        None => Recipe::standard(&material.inputs, entry.bears, task.has_target()),
    };
    let folds = folds(run, material, &recipe, tune.folds)?;
    let search = Search {
        direction: if measure.higher_is_better() { Direction::Maximise } else { Direction::Minimise },
        sampler: sampler(&tune.search)?,
        n_trials: tune.trials,
        ..Search::default()
    };
    let started = Instant::now();
    let over = || tune.budget.is_some_and(|b| started.elapsed() >= b);
    let mut study = Study::open(run, space, search, store)?;
    study.optimise(
        |attempt| {
            let began = Instant::now();
            let mut params = request.params.clone();
            params.extend(attempt.params().clone());
            let learner = entry.learner(task, &params)?;
            let mut total = 0.0;
            for (k, (train, test)) in folds.iter().enumerate() {
                let fitted = learner.fit(&run.quiet(), train)?;
                let answers = fitted.predict(test.x())?;
                total += measure.score(task, test.y(), &answers, test.weight(), test.groups())?;
                if !attempt.report(k as u64, total / (k + 1) as f64) {
                    break;
                }
            }
            attempt.seconds = Some(began.elapsed().as_secs_f64());
            Ok(total / folds.len() as f64)
        },
        &over,
    )?;
    let trials: Vec<Trial> = study.trials().cloned().collect();
    let Some((best, score)) = study.best().and_then(|t| Some((t.params.clone(), t.value?))) else {
        let why =
            trials.iter().find_map(|t| t.error.clone()).unwrap_or_else(|| "the time was too short".into());
        return Err(Error::asked(format!("no trial succeeded: {why}"), "widen the space or give more time"));
    };
    let mut params = request.params.clone();
    params.extend(best);
    Ok(Tuned { measure, best: params, score, trials })
}

fn chosen_measure(task: Task, asked: Option<Measure>) -> Result<Measure> {
    asked.or_else(|| Measure::default_for(task)).ok_or_else(|| {
        Error::asked(format!("{task} has no measure to choose by"), "only tasks with a target can be tuned")
    })
}

fn sampler(name: &str) -> Result<Sampler> {
    Ok(match name {
        "tpe" => Sampler::Tpe(Default::default()),
        "gp" => Sampler::GaussianProcess(Default::default()),
        "random" => Sampler::Random,
        "grid" => Sampler::Grid { n_steps: 5 },
        other => {
            return Err(Error::asked(
                format!("there is no search called `{other}`"),
                "choose tpe, gp, random or grid",
            ));
        }
    })
}

fn folds(run: &Run, material: &Material, recipe: &Recipe, n_folds: usize) -> Result<Vec<(Dataset, Dataset)>> {
    let n = material.n_rows();
    let splits: Vec<Split> = if let Some(time) = &material.time {
        // By how many rows are earlier, so that test parts hold about as many rows however dense the times are.
        let mut sorted = time.clone();
        sorted.sort_unstable();
        let earlier: Vec<i64> = time.iter().map(|t| sorted.partition_point(|s| s < t) as i64).collect();
        let test_size = (n / (n_folds + 1)).max(1) as i64;
        TimeSeriesSplit { n_splits: n_folds, test_size, ..TimeSeriesSplit::default() }.split(&earlier)?
    } else if let Some((_, keys)) = &material.groups {
        GroupKFold { n_folds }.split(keys)?
    } else if material.task.is_classes() {
        let label: Vec<usize> = material.y.iter().map(|v| *v as usize).collect();
        StratifiedKFold { n_folds, shuffle: true }.split(run, &label)?
    } else {
        KFold { n_folds, shuffle: true }.split(run, n)?
    };
    splits
        .into_iter()
        .map(|s| {
            let (fitted, train) = material.fitted(run, recipe, Some(&s.train))?;
            Ok((train, material.prepared(&fitted, &s.test)?))
        })
        .collect()
}

/// How long to look, and by what to choose.
#[derive(Clone, Debug)]
pub struct AutoRequest {
    /// How long.
    pub budget: Duration,
    /// What is chosen by.
    pub measure: Option<Measure>,
}

/// Chooses among all estimators within a time budget, and fits a blend of the best.
///
/// # Errors
/// Those of a fit; tasks other than regression, binary and multiclass.
pub fn fit_auto(
    run: &Run,
    material: &Material,
    request: &FitRequest,
    auto: &AutoRequest,
) -> Result<(Model, Vec<Standing>)> {
    // Members prepare their columns themselves, so here categories stay codes and gaps stay gaps.
    let bears = Bears { missing: true, categories: true, any_scale: true, ..Bears::default() };
    let recipe = Recipe::standard(&material.inputs, bears, true);
    let (recipe, data) = material.fitted(run, &recipe, None)?;
    let folds = match (&material.time, &material.groups) {
        (Some(time), _) => Folds::Time { time, gap: 0 },
        (None, Some((_, keys))) => Folds::Groups(keys),
        (None, None) => Folds::Random,
    };
    let started = Instant::now();
    let settings = Auto {
        measure: auto.measure,
        n_trials: 1_000,
        seconds_max: Some(auto.budget.as_secs_f64()),
        ..Auto::default()
    };
    let clock = || started.elapsed().as_secs_f64();
    let chosen = settings.fit(run, material.task, &data, folds, &clock)?;
    let seconds = started.elapsed().as_secs_f64();
    let mut manifest = manifest(run, request, material, &recipe, &data, seconds, vec![]);
    manifest.model = ensemble::BLEND.to_owned();
    Ok((Model { manifest, recipe, learner: Box::new(chosen.model) }, chosen.leaderboard))
}

/// Trials in a file of JSON lines, so that a search that was killed goes on.
///
/// A line is written at once and synced; a last line that was cut off by a crash is dropped when the file is opened.
pub struct TrialFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl TrialFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// A place that cannot be written; a line that is no trial.
    pub fn open(path: &Path) -> Result<Self> {
        let fault = |e| Error::file(path, e);
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(fault)?;
        }
        let file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(fault)?;
        // What a crash cut off has no line break.
        let text = std::fs::read(path).map_err(fault)?;
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(fault)?;
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }
}

impl TrialStore for TrialFile {
    fn read(&self) -> tradewind_core::Result<Vec<Trial>> {
        let fault = |what: String| tradewind_core::Error::Invalid(format!("{}: {what}", self.path.display()));
        let file = File::open(&self.path).map_err(|e| fault(e.to_string()))?;
        BufReader::new(file)
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let line = line.map_err(|e| fault(e.to_string()))?;
                serde_json::from_str(&line).map_err(|e| fault(format!("line {} is no trial: {e}", at + 1)))
            })
            .collect()
    }

    fn append(&self, trial: &Trial) -> tradewind_core::Result<()> {
        let fault = |e: std::io::Error| {
            tradewind_core::Error::Invalid(format!("{} cannot be written: {e}", self.path.display()))
        };
        let mut line = serde_json::to_vec(trial).map_err(|e| fault(e.into()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(fault)
    }
}
