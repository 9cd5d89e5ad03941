//! Questions: which runs there are, how far they are, what they said.

use super::queue::no_run;
use super::record::{self, Attempt, JobRun, Line, State, StepRun};
use super::work::Level;
use super::{Jobs, Outputs};
use crate::error::{Error, Result};
use sqlx::Row;
use std::time::Duration;
use tradewind_core::ErrorKind;

/// Which runs to list, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFilter {
    /// Only of this pipeline; empty: of any.
    pub pipeline: String,
    /// Only in this state.
    pub state: Option<State>,
    /// Only with smaller numbers than this; `i64::MAX`: from the newest.
    pub before: i64,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { pipeline: String::new(), state: None, before: i64::MAX, limit: 50 }
    }
}

impl Jobs {
    /// One run.
    ///
    /// # Errors
    /// An unknown run, a database that does not answer.
    pub async fn run(&self, id: i64) -> Result<JobRun> {
        let row = self
            .query_of(format!("SELECT {} FROM jobs_run WHERE id = ?", record::RUN))
            .bind(id)
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("reading a run"))?;
        record::run(&self.database, &row.ok_or_else(|| no_run(id))?)
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<JobRun>> {
        let mut statement = format!("SELECT {} FROM jobs_run WHERE id < ?", record::RUN);
        if !filter.pipeline.is_empty() {
            statement.push_str(" AND pipeline = ?");
        }
        if filter.state.is_some() {
            statement.push_str(" AND state = ?");
        }
        statement.push_str(" ORDER BY id DESC LIMIT ?");
        let mut query = self.query_of(statement).bind(filter.before);
        if !filter.pipeline.is_empty() {
            query = query.bind(filter.pipeline.clone());
        }
        if let Some(state) = filter.state {
            query = query.bind(state.code());
        }
        let rows = query
            .bind(i64::from(filter.limit.clamp(1, 1_000)))
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading runs"))?;
        rows.iter().map(|row| record::run(&self.database, row)).collect()
    }

    /// The steps of a run, in the order of its definition.
    ///
    /// # Errors
    /// An unknown run, a database that does not answer.
    pub async fn steps(&self, run: i64) -> Result<Vec<StepRun>> {
        let rows = self
            .query_of(format!("SELECT {} FROM jobs_step WHERE run = ? ORDER BY place", record::STEP))
            .bind(run)
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading steps"))?;
        if rows.is_empty() {
            return Err(no_run(run));
        }
        rows.iter().map(|row| record::step(&self.database, row)).collect()
    }

    /// What a step left, if it succeeded.
    ///
    /// # Errors
    /// An unknown run or step, a database that does not answer.
    pub async fn outputs(&self, run: i64, step: &str) -> Result<Option<Outputs>> {
        let steps = self.steps(run).await?;
        let found = steps.into_iter().find(|record| record.step == step).ok_or_else(|| no_step(run, step))?;
        Ok(found.state.is_success().then(|| self.outputs_of(&found)))
    }

    pub(super) fn outputs_of(&self, step: &StepRun) -> Outputs {
        Outputs {
            fingerprint: super::Fingerprint::known(step.output.clone()),
            data: step.data.clone(),
            folder: (!step.folder.is_empty()).then(|| self.results.join(&step.folder)),
        }
    }

    /// The attempts at a step, first to newest.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn attempts(&self, run: i64, step: &str) -> Result<Vec<Attempt>> {
        let fault = self.database.fault("reading attempts");
        let rows = self
            .query(
                "SELECT attempt, worker, ending, error, started_ms, finished_ms FROM jobs_attempt
                 WHERE run = ? AND step = ? ORDER BY attempt",
            )
            .bind(run)
            .bind(step.to_owned())
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        rows.iter()
            .map(|row| {
                Ok(Attempt {
                    attempt: u32::try_from(row.try_get::<i64, _>("attempt")?).unwrap_or(u32::MAX),
                    worker: row.try_get("worker")?,
                    ending: row.try_get("ending")?,
                    error: row.try_get("error")?,
                    started_ms: row.try_get("started_ms")?,
                    finished_ms: row.try_get("finished_ms")?,
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(&fault)
    }

    /// Lines of a step's log after line `after`, at most `limit`.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn lines(&self, run: i64, step: &str, after: i64, limit: u32) -> Result<Vec<Line>> {
        let fault = self.database.fault("reading a log");
        let rows = self
            .query(
                "SELECT line, attempt, at_ms, level, message FROM jobs_line
                 WHERE run = ? AND step = ? AND line > ? ORDER BY line LIMIT ?",
            )
            .bind(run)
            .bind(step.to_owned())
            .bind(after)
            .bind(i64::from(limit.clamp(1, 10_000)))
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        rows.iter()
            .map(|row| {
                Ok(Line {
                    line: row.try_get("line")?,
                    attempt: u32::try_from(row.try_get::<i64, _>("attempt")?).unwrap_or(u32::MAX),
                    at_ms: row.try_get("at_ms")?,
                    level: Level::of(&row.try_get::<String, _>("level")?),
                    text: row.try_get("message")?,
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(&fault)
    }

    /// Waits until a run has ended; a database that is away for a while is waited for.
    ///
    /// # Errors
    /// An unknown run.
    pub async fn wait(&self, run: i64) -> Result<JobRun> {
        let mut bell = self.bell();
        loop {
            bell.borrow_and_update();
            match self.run(run).await {
                Ok(record) if record.state.is_final() => return Ok(record),
                Ok(_) | Err(Error::Database { .. }) => {}
                Err(fault) => return Err(fault),
            }
            // Other processes do not ring here.
            let _ = tokio::time::timeout(Duration::from_millis(250), bell.changed()).await;
        }
    }
}

pub(super) fn no_step(run: i64, step: &str) -> Error {
    let shown: String = step.chars().take(super::NAME_MAX).collect();
    Error::asked(ErrorKind::NotFound, format!("run {run} has no step {shown:?}"), "see its steps")
}
