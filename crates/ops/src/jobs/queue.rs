//! Orders: define a pipeline, ask for a run, stop one.

use super::pipeline::name_fault;
use super::record::{self, State};
use super::{Jobs, Pipeline, Turn};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use tradewind_core::ErrorKind;

/// Longest parameters of a run, as text in bytes.
const PARAMETERS_MAX: usize = 64 * 1024;

/// Priorities go from -1,000 to 1,000.
const PRIORITY_MAX: i64 = 1_000;

/// A run to be asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewRun {
    /// The pipeline, defined before.
    pub pipeline: String,
    /// What the steps are handed, the same for all. Kept as text: no secrets.
    pub parameters: Map<String, Value>,
    /// What random numbers come from.
    pub seed: i64,
    /// Higher ones are taken first, -1,000 to 1,000.
    pub priority: i64,
    /// Who or what asks, for the history.
    pub asked_by: String,
    /// Why, in words.
    pub reason: String,
    /// Whether steps run even if an equal success is known.
    pub fresh: bool,
    /// A name of the order: asked for twice, there is one run. Empty: every order is another.
    pub once: String,
}

impl NewRun {
    /// A run of `pipeline` without parameters.
    pub fn of(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), ..Self::default() }
    }
}

/// What a step of a new run begins as.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// It waits; `fresh` leaves the cache aside.
    Queued { fresh: bool },
    /// It was not asked for.
    Skipped,
    /// What another run left takes its place.
    Taken(Box<record::StepRun>),
}

impl Jobs {
    /// Makes a pipeline known, or its newer definition; runs asked for earlier keep theirs.
    ///
    /// # Errors
    /// Faults of the definition, pipelines that would wait for each other, a database that does not answer.
    pub async fn define(&self, pipeline: &Pipeline) -> Result<()> {
        pipeline.check()?;
        let fingerprint = pipeline.fingerprint();
        // Most often nothing has changed, and no turn is needed to see that.
        let fault = self.database.fault("reading a pipeline");
        let known = self
            .query("SELECT fingerprint FROM jobs_pipeline WHERE name = ?")
            .bind(pipeline.name.as_str())
            .fetch_optional(self.database.pool())
            .await
            .map_err(&fault)?;
        if known
            .is_some_and(|row| row.try_get::<String, _>(0).is_ok_and(|known| known == fingerprint.as_str()))
        {
            return Ok(());
        }
        let fault = self.database.fault("defining a pipeline");
        let definition = serde_json::to_string(pipeline)
            .map_err(|e| self.database.content(format!("pipeline {} is no JSON: {e}", pipeline.name)))?;
        let mut turn = self.turn().await?;
        let mut all = turn.pipelines().await?;
        all.insert(pipeline.name.clone(), pipeline.clone());
        if let Some(circle) = circle_of(&all) {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("pipelines would wait for each other: {}", circle.join(", ")),
                "let one of them follow none of the others",
            ));
        }
        self.query("DELETE FROM jobs_pipeline WHERE name = ?")
            .bind(pipeline.name.as_str())
            .execute(&mut *turn.transaction)
            .await
            .map_err(&fault)?;
        self.query(
            "INSERT INTO jobs_pipeline (name, definition, fingerprint, defined_ms) VALUES (?, ?, ?, ?)",
        )
        .bind(pipeline.name.as_str())
        .bind(definition)
        .bind(fingerprint.as_str())
        .bind(turn.now_ms)
        .execute(&mut *turn.transaction)
        .await
        .map_err(&fault)?;
        turn.commit().await
    }

    /// The pipelines that are known, by name.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn pipelines(&self) -> Result<BTreeMap<String, Pipeline>> {
        let fault = self.database.fault("reading pipelines");
        let rows = self
            .query("SELECT name, definition FROM jobs_pipeline")
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        rows.iter().map(|row| self.definition(row)).collect()
    }

    /// Asks for a run and gives its number.
    ///
    /// # Errors
    /// An unknown pipeline, wrong parameters, a database that does not answer; then no run was asked for, or (when the
    /// connection broke at the very end) one was: give [`NewRun::once`] a name to ask again safely.
    pub async fn enqueue(&self, new: NewRun) -> Result<i64> {
        let mut turn = self.turn().await?;
        let id = turn.enqueue(&new, 0, |_| Begin::Queued { fresh: new.fresh }).await?;
        turn.commit().await?;
        Ok(id)
    }

    /// Stops a run: steps that wait are cancelled, steps under way are asked to stop.
    ///
    /// # Errors
    /// An unknown run, one that has ended, a database that does not answer.
    pub async fn cancel(&self, run: i64) -> Result<()> {
        let mut turn = self.turn().await?;
        let record = turn.run(run).await?;
        if record.state.is_final() {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("run {run} has ended already: {}", record.state),
                "there is nothing to stop",
            ));
        }
        let fault = self.database.fault("cancelling a run");
        self.query("UPDATE jobs_run SET cancel = 1, seq = ? WHERE id = ?")
            .bind(turn.seq)
            .bind(run)
            .execute(&mut *turn.transaction)
            .await
            .map_err(&fault)?;
        turn.settle(run).await?;
        turn.commit().await
    }

    fn definition(&self, row: &sqlx::any::AnyRow) -> Result<(String, Pipeline)> {
        let fault = self.database.fault("reading pipelines");
        let name: String = row.try_get("name").map_err(&fault)?;
        let definition: String = row.try_get("definition").map_err(&fault)?;
        let pipeline = serde_json::from_str(&definition).map_err(|_| {
            self.database.content(format!("the definition of pipeline {name} cannot be read"))
        })?;
        Ok((name, pipeline))
    }
}

impl Turn {
    pub(super) async fn pipelines(&mut self) -> Result<BTreeMap<String, Pipeline>> {
        let jobs = self.jobs.clone();
        let rows = jobs
            .query("SELECT name, definition FROM jobs_pipeline")
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(jobs.database.fault("reading pipelines"))?;
        rows.iter().map(|row| jobs.definition(row)).collect()
    }

    pub(super) async fn run(&mut self, id: i64) -> Result<record::JobRun> {
        let jobs = self.jobs.clone();
        let row = jobs
            .query_of(format!("SELECT {} FROM jobs_run WHERE id = ?", record::RUN))
            .bind(id)
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(jobs.database.fault("reading a run"))?;
        match row {
            Some(row) => record::run(&jobs.database, &row),
            None => Err(no_run(id)),
        }
    }

    pub(super) async fn steps(&mut self, run: i64) -> Result<Vec<record::StepRun>> {
        let jobs = self.jobs.clone();
        let rows = jobs
            .query_of(format!("SELECT {} FROM jobs_step WHERE run = ? ORDER BY place", record::STEP))
            .bind(run)
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(jobs.database.fault("reading steps"))?;
        rows.iter().map(|row| record::step(&jobs.database, row)).collect()
    }

    /// Asks for a run by the current definition.
    pub(super) async fn enqueue(
        &mut self,
        new: &NewRun,
        origin: i64,
        begin: impl Fn(&str) -> Begin,
    ) -> Result<i64> {
        let known = self.pipelines().await?;
        let Some(pipeline) = known.get(&new.pipeline) else {
            let shown: String = new.pipeline.chars().take(super::NAME_MAX).collect();
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(Error::asked(
                ErrorKind::NotFound,
                format!("there is no pipeline {shown:?}"),
                if names.is_empty() {
                    "none is defined".to_owned()
                } else {
                    format!("known are {}", names.join(", "))
                },
            ));
        };
        self.insert(pipeline, new, origin, begin).await
    }

    /// Asks for a run by `pipeline`.
    pub(super) async fn insert(
        &mut self,
        pipeline: &Pipeline,
        new: &NewRun,
        origin: i64,
        begin: impl Fn(&str) -> Begin,
    ) -> Result<i64> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("asking for a run");
        let parameters = Value::Object(new.parameters.clone()).to_string();
        if parameters.len() > PARAMETERS_MAX {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("the parameters are {} bytes long; allowed are {PARAMETERS_MAX}", parameters.len()),
                "name a file in them instead",
            ));
        }
        if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&new.priority) {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("priority {} is outside -{PRIORITY_MAX} to {PRIORITY_MAX}", new.priority),
                "give one inside",
            ));
        }
        if new.once.len() > 160 {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                "the name of the order is longer than 160 bytes",
                "give a shorter one",
            ));
        }
        if !new.once.is_empty() {
            let known = jobs
                .query("SELECT id FROM jobs_run WHERE once = ?")
                .bind(format!("={}", new.once))
                .fetch_optional(&mut *self.transaction)
                .await
                .map_err(&fault)?;
            if let Some(row) = known {
                return row.try_get("id").map_err(&fault);
            }
        }
        jobs.query("UPDATE jobs_sequence SET value = value + 1 WHERE name = 'run'")
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        let id: i64 = jobs
            .query("SELECT value FROM jobs_sequence WHERE name = 'run'")
            .fetch_one(&mut *self.transaction)
            .await
            .and_then(|row| row.try_get("value"))
            .map_err(&fault)?;
        let definition = serde_json::to_string(pipeline)
            .map_err(|e| jobs.database.content(format!("pipeline {} is no JSON: {e}", pipeline.name)))?;
        jobs.query(
            "INSERT INTO jobs_run (id, pipeline, definition, parameters, seed, urgency, state, asked_by, reason, origin,
                once, cancel, error, created_ms, started_ms, finished_ms, seq)
             VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, 0, '', ?, 0, 0, ?)",
        )
        .bind(id)
        .bind(pipeline.name.as_str())
        .bind(definition)
        .bind(parameters)
        .bind(new.seed)
        .bind(-new.priority)
        .bind(super::work::bounded(&new.asked_by))
        .bind(super::work::bounded(&new.reason))
        .bind(origin)
        .bind(if new.once.is_empty() { format!("#{id}") } else { format!("={}", new.once) })
        .bind(self.now_ms)
        .bind(self.seq)
        .execute(&mut *self.transaction)
        .await
        .map_err(&fault)?;
        for (place, step) in pipeline.steps.iter().enumerate() {
            self.insert_step(id, place, &step.name, begin(&step.name)).await?;
        }
        // A part of a run may already be all there is to it.
        self.settle(id).await?;
        Ok(id)
    }

    async fn insert_step(&mut self, run: i64, place: usize, name: &str, begin: Begin) -> Result<()> {
        let jobs = self.jobs.clone();
        let (state, fresh, earlier) = match begin {
            Begin::Queued { fresh } => (State::Queued, fresh, None),
            Begin::Skipped => (State::Skipped, false, None),
            Begin::Taken(earlier) => (State::Cached, false, Some(earlier)),
        };
        let text = |pick: fn(&record::StepRun) -> String| earlier.as_deref().map(pick).unwrap_or_default();
        let taken_from =
            earlier.as_deref().map_or(0, |e| if e.taken_from == 0 { e.run } else { e.taken_from });
        let ended = if state.is_final() { self.now_ms } else { 0 };
        jobs.query(
            "INSERT INTO jobs_step (run, step, place, state, attempt, failures, losses, fresh, wait_ms, due_ms, fence,
                owner, cache_key, output, data, folder, files, taken_from, error, done, total, message, started_ms,
                finished_ms, seq)
             VALUES (?, ?, ?, ?, 0, 0, 0, ?, 0, 0, 0, '', ?, ?, ?, ?, ?, ?, '', 0, 0, '', 0, ?, ?)",
        )
        .bind(run)
        .bind(name.to_owned())
        .bind(place as i64)
        .bind(state.code())
        .bind(i64::from(fresh))
        .bind(text(|e| e.cache_key.clone()))
        .bind(text(|e| e.output.clone()))
        .bind(text(|e| e.data.to_string()))
        .bind(text(|e| e.folder.clone()))
        .bind(text(|e| e.files.clone()))
        .bind(taken_from)
        .bind(ended)
        .bind(self.seq)
        .execute(&mut *self.transaction)
        .await
        .map_err(jobs.database.fault("asking for a run"))?;
        Ok(())
    }

    /// Draws the conclusions of a change of a run's steps: what can no longer begin, whether the run has ended, and which
    /// pipelines follow.
    pub(super) async fn settle(&mut self, id: i64) -> Result<()> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("settling a run");
        let run = self.run(id).await?;
        if run.state.is_final() {
            return Ok(());
        }
        let steps = self.steps(id).await?;
        let mut states = steps.iter().map(|step| (step.step.clone(), step.state)).collect();
        let (changed, end) = record::settle(&run.pipeline, &mut states, run.cancel);
        for (step, state) in changed {
            jobs.query("UPDATE jobs_step SET state = ?, finished_ms = ?, seq = ? WHERE run = ? AND step = ?")
                .bind(state.code())
                .bind(self.now_ms)
                .bind(self.seq)
                .bind(id)
                .bind(step)
                .execute(&mut *self.transaction)
                .await
                .map_err(&fault)?;
        }
        let Some(end) = end else { return Ok(()) };
        let error = steps
            .iter()
            .find(|step| step.state == State::Failed)
            .map(|step| format!("{}: {}", step.step, step.error))
            .unwrap_or_default();
        jobs.query("UPDATE jobs_run SET state = ?, error = ?, finished_ms = ?, seq = ? WHERE id = ?")
            .bind(end.code())
            .bind(error)
            .bind(self.now_ms)
            .bind(self.seq)
            .bind(id)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        if end.is_success() { self.follow(&run).await } else { Ok(()) }
    }

    /// Asks for runs of the pipelines that follow `done` and for which nothing else is missing.
    async fn follow(&mut self, done: &record::JobRun) -> Result<()> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("asking for the pipelines that follow");
        for (name, pipeline) in self.pipelines().await? {
            if !pipeline.after.contains(&done.pipeline.name) {
                continue;
            }
            let changed = jobs
                .query("UPDATE jobs_following SET newest = ? WHERE before_it = ? AND pipeline = ?")
                .bind(done.id)
                .bind(done.pipeline.name.as_str())
                .bind(name.as_str())
                .execute(&mut *self.transaction)
                .await
                .map_err(&fault)?;
            if changed.rows_affected() == 0 {
                jobs.query(
                    "INSERT INTO jobs_following (pipeline, before_it, newest, taken) VALUES (?, ?, ?, 0)",
                )
                .bind(name.as_str())
                .bind(done.pipeline.name.as_str())
                .bind(done.id)
                .execute(&mut *self.transaction)
                .await
                .map_err(&fault)?;
            }
            let rows = jobs
                .query("SELECT before_it FROM jobs_following WHERE pipeline = ? AND newest > taken")
                .bind(name.as_str())
                .fetch_all(&mut *self.transaction)
                .await
                .map_err(&fault)?;
            let new: BTreeSet<String> = rows
                .iter()
                .map(|row| row.try_get("before_it"))
                .collect::<sqlx::Result<_>>()
                .map_err(&fault)?;
            if !pipeline.after.iter().all(|before| new.contains(before)) {
                continue;
            }
            jobs.query("UPDATE jobs_following SET taken = newest WHERE pipeline = ?")
                .bind(name.as_str())
                .execute(&mut *self.transaction)
                .await
                .map_err(&fault)?;
            // The date goes along, so that a backfill of one is a backfill of the other.
            let parameters = done.parameters.get("date").map(|date| ("date".to_owned(), date.clone()));
            let order = NewRun {
                pipeline: name.clone(),
                parameters: parameters.into_iter().collect(),
                seed: done.seed,
                priority: done.priority,
                asked_by: format!("pipeline {}", done.pipeline.name),
                reason: format!("run {} succeeded", done.id),
                fresh: false,
                once: format!("after:{}:{name}", done.id),
            };
            Box::pin(self.insert(&pipeline, &order, 0, |_| Begin::Queued { fresh: false })).await?;
        }
        Ok(())
    }
}

pub(super) fn no_run(id: i64) -> Error {
    Error::asked(ErrorKind::NotFound, format!("there is no run {id}"), "see which there are")
}

/// Refuses a name that cannot be one.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    match name_fault(what, name) {
        None => Ok(()),
        Some(text) => Err(Error::asked(ErrorKind::InvalidParams, text, "choose another name")),
    }
}

/// Pipelines that follow each other in a circle.
fn circle_of(all: &BTreeMap<String, Pipeline>) -> Option<Vec<String>> {
    let mut left: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    loop {
        let free: Vec<&str> = left
            .iter()
            .copied()
            .filter(|name| !all[*name].after.iter().any(|before| left.contains(before.as_str())))
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            left.remove(name);
        }
    }
    (!left.is_empty()).then(|| left.into_iter().map(str::to_owned).collect())
}
