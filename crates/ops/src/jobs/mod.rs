//! Jobs: pipelines of steps that run, resume, repeat and are scheduled.
//!
//! A [`Pipeline`] says which steps there are and what stands between them; a [`Work`] says what a step does. [`Jobs`]
//! takes orders and tells what happened; a [`Worker`] does the steps. Any number of workers, in any number of processes
//! and on any number of machines, work on one database.
//!
//! # What is promised
//! - A step is held by one worker at a time, and only the holder's result counts. Each time a step is taken its *fence*
//!   goes up; a worker whose lease lapsed finds another fence and throws its result away.
//! - A step that succeeded does not run again in its run. A process that dies at any moment costs at most the steps it
//!   was in the middle of.
//! - A step whose version, parameters, inputs and steps before are those of an earlier success is not run: the earlier
//!   result takes its place, if it is still there.
//! - The files of a step appear whole or not at all.
//!
//! # Leases and clocks
//! Wall clocks jump and differ between machines, so none is asked whether a worker lives. A worker counts up its `beat` in
//! the database. Whoever else is at work watches the beats and adds up, by its own monotonic clock, how long a beat has
//! stood still; time in which it could not look (the database was away, the process was stopped) does not count. A beat
//! that stood still for the lease's length is ended in one statement that names the beat it saw, so a worker that beats in
//! the same moment is not ended. A worker on the same machine whose process is gone is ended at once.
//! Waiting before another attempt goes by the wall clock or by the monotonic clock of whoever watches, whichever comes
//! first, so a clock that was set back holds nothing up.
//!
//! # One writer at a time
//! Every change begins by counting up one row, which makes writers queue and numbers the changes in the order in which
//! they become visible. So limits hold over all processes, and a reader that knows a number misses nothing after it.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use std::sync::Arc;
//! use tradewind_ops::jobs::{Blocking, Fingerprint, Jobs, Made, NewRun, Pipeline, State, Step, Worker, Works};
//! use tradewind_ops::{Clock, Database};
//!
//! let database = Database::open("sqlite::memory:", Clock::system()).await?;
//! let results = tempfile::tempdir().unwrap();
//! let jobs = Jobs::new(database, results.path());
//! jobs.define(&Pipeline::new("shop", vec![Step::new("count", &[])])).await?;
//!
//! let mut works = Works::default();
//! works.add("shop", "count", Arc::new(Blocking::new(
//!     |_| Ok(Fingerprint::of_bytes(b"orders.csv")),
//!     |_| Ok(Made::data(serde_json::json!({"orders": 3}))),
//! )));
//! let run = jobs.enqueue(NewRun::of("shop")).await?;
//! Worker::new(jobs.clone(), works).run_until_idle().await?;
//! assert_eq!(jobs.run(run).await?.state, State::Succeeded);
//! assert_eq!(jobs.steps(run).await?[0].data["orders"], 3);
//! # Ok::<(), tradewind_ops::Error>(())
//! # }).unwrap();
//! ```

mod attempt;
mod fingerprint;
mod firing;
mod lease;
mod pipeline;
mod process;
mod queue;
mod read;
mod record;
mod repeat;
mod results;
mod schedule;
mod tables;
mod take;
mod watch;
mod work;
mod worker;

pub use fingerprint::Fingerprint;
pub use firing::{NewSchedule, ScheduleRecord};
pub use lease::WorkerRecord;
pub use pipeline::{Backoff, NAME_MAX, Pipeline, STEPS_MAX, Step};
pub use queue::NewRun;
pub use read::RunFilter;
pub use record::{Attempt, JobRun, Line, State, StepRun};
pub use repeat::{Backfill, DATES_MAX, Rerun};
pub use results::Swept;
pub use schedule::{Missed, Schedule};
pub(crate) use tables::MIGRATION;
pub use watch::{Change, Watch};
pub use work::{Blocking, Context, Level, Made, Outputs, StepFault, Work};
pub use worker::{Stop, Worker, WorkerSettings, Works};

use crate::error::Result;
use crate::state::Database;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The queue, its history and its schedule. Clones are the same.
#[derive(Clone, Debug)]
pub struct Jobs {
    pub(super) database: Database,
    /// Where steps leave files.
    pub(super) results: Arc<PathBuf>,
    /// Rings with the number of the newest change made in this process.
    bell: Arc<tokio::sync::watch::Sender<i64>>,
}

impl Jobs {
    /// Jobs in `database`; files of steps go beneath the folder `results`, which all workers must reach.
    pub fn new(database: Database, results: impl Into<PathBuf>) -> Self {
        Self {
            database,
            results: Arc::new(results.into()),
            bell: Arc::new(tokio::sync::watch::Sender::new(0)),
        }
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Where steps leave files.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// Rings when something changed in this process.
    pub(super) fn bell(&self) -> tokio::sync::watch::Receiver<i64> {
        self.bell.subscribe()
    }

    pub(super) fn query(&self, statement: &'static str) -> Query<'static, Any, AnyArguments> {
        sqlx::query(sqlx::AssertSqlSafe(self.database.sql(statement).into_owned()))
    }

    /// A statement whose text is put together of constants of this module.
    pub(super) fn query_of(&self, statement: String) -> Query<'static, Any, AnyArguments> {
        sqlx::query(sqlx::AssertSqlSafe(self.database.sql(&statement).into_owned()))
    }

    /// Waits for this writer's turn.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let fault = self.database.fault("waiting for the turn to write jobs");
        let mut transaction = self.database.begin().await?;
        self.query("UPDATE jobs_sequence SET value = value + 1 WHERE name = 'change'")
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        let row = self
            .query("SELECT value FROM jobs_sequence WHERE name = 'change'")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&fault)?;
        let seq: i64 = row.try_get("value").map_err(&fault)?;
        Ok(Turn { transaction, seq, now_ms: self.database.now_ms(), jobs: self.clone() })
    }
}

/// The right to write, for the time of one transaction.
pub(super) struct Turn {
    pub(super) transaction: Transaction<'static, Any>,
    /// The number of the change.
    pub(super) seq: i64,
    pub(super) now_ms: i64,
    pub(super) jobs: Jobs,
}

impl Turn {
    /// Goes on under the next number.
    pub(super) async fn number(&mut self) -> Result<()> {
        let jobs = self.jobs.clone();
        jobs.query("UPDATE jobs_sequence SET value = value + 1 WHERE name = 'change'")
            .execute(&mut *self.transaction)
            .await
            .map_err(jobs.database.fault("numbering a change"))?;
        self.seq += 1;
        Ok(())
    }

    /// Makes the changes last and visible, and rings the bell.
    pub(super) async fn commit(self) -> Result<()> {
        let fault = self.jobs.database.fault("committing a change of jobs");
        self.transaction.commit().await.map_err(fault)?;
        self.jobs.bell.send_modify(|newest| *newest = self.seq.max(*newest));
        Ok(())
    }
}
