//! Who works: workers count up their beats, and others see when one has stopped. The reasons stand in [`super`].

use super::process::Process;
use super::{Jobs, State, Turn};
use crate::error::Result;
use serde::Serialize;
use sqlx::Row;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A worker, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerRecord {
    /// Its name, made up when it began.
    pub id: String,
    /// Its process.
    pub pid: i64,
    /// Beats so far.
    pub beat: i64,
    /// Whether it has ended, by itself or since its beat stood still.
    pub ended: bool,
    /// When it began, by its own clock, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it last beat, by its own clock. For people to read; nothing is decided by it.
    pub beat_ms: i64,
    #[serde(skip)]
    process: Process,
}

/// What one worker has seen of the others' beats.
#[derive(Debug, Default)]
pub(super) struct Observed {
    beats: HashMap<String, Beat>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Beat {
    beat: i64,
    /// How long it has been watched standing still.
    still: Duration,
}

impl Observed {
    /// Notes the beats seen now and gives the workers whose beat stood still for `lease`. One look accounts for at most
    /// `step` of time: whoever did not look for long, since it was stopped itself, has not watched.
    pub(super) fn look(
        &mut self,
        now: Instant,
        beats: impl IntoIterator<Item = (String, i64)>,
        lease: Duration,
        step: Duration,
    ) -> Vec<(String, i64)> {
        let passed =
            self.looked.map_or(Duration::ZERO, |before| now.saturating_duration_since(before).min(step));
        self.looked = Some(now);
        let mut earlier = std::mem::take(&mut self.beats);
        let mut lapsed = Vec::new();
        for (id, beat) in beats {
            let still = match earlier.remove(&id) {
                Some(seen) if seen.beat == beat => seen.still + passed,
                _ => Duration::ZERO,
            };
            if still >= lease {
                lapsed.push((id.clone(), beat));
            }
            self.beats.insert(id, Beat { beat, still });
        }
        lapsed
    }

    /// The database could not be asked: what was seen before says nothing any more, since the others could not beat either.
    pub(super) fn forget(&mut self) {
        self.beats.clear();
        self.looked = None;
    }
}

impl Jobs {
    /// Workers that have not ended, and the newest that have.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.read_workers(
            "SELECT id, host, pid, process_start, beat, ended, started_ms, beat_ms FROM jobs_worker
             ORDER BY ended, started_ms DESC, id LIMIT 200",
        )
        .await
    }

    pub(super) async fn live_workers(&self) -> Result<Vec<WorkerRecord>> {
        self.read_workers(
            "SELECT id, host, pid, process_start, beat, ended, started_ms, beat_ms FROM jobs_worker WHERE ended = 0",
        )
        .await
    }

    async fn read_workers(&self, statement: &'static str) -> Result<Vec<WorkerRecord>> {
        let fault = self.database.fault("reading workers");
        let rows = self.query(statement).fetch_all(self.database.pool()).await.map_err(&fault)?;
        rows.iter()
            .map(|row| {
                Ok(WorkerRecord {
                    id: row.try_get("id")?,
                    pid: row.try_get("pid")?,
                    beat: row.try_get("beat")?,
                    ended: row.try_get::<i64, _>("ended")? != 0,
                    started_ms: row.try_get("started_ms")?,
                    beat_ms: row.try_get("beat_ms")?,
                    process: Process {
                        host: row.try_get("host")?,
                        pid: row.try_get("pid")?,
                        start: row.try_get("process_start")?,
                    },
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(&fault)
    }

    /// Enters a worker of this process.
    pub(super) async fn enter(&self, id: &str) -> Result<()> {
        let process = Process::this();
        let now_ms = self.database.now_ms();
        self.query(
            "INSERT INTO jobs_worker (id, host, pid, process_start, beat, ended, started_ms, beat_ms)
             VALUES (?, ?, ?, ?, 0, 0, ?, ?)",
        )
        .bind(id.to_owned())
        .bind(process.host)
        .bind(process.pid)
        .bind(process.start)
        .bind(now_ms)
        .bind(now_ms)
        .execute(self.database.pool())
        .await
        .map_err(self.database.fault("entering a worker"))?;
        Ok(())
    }

    /// Counts up a worker's beat; false if others have ended it.
    pub(super) async fn beat(&self, id: &str) -> Result<bool> {
        let done = self
            .query("UPDATE jobs_worker SET beat = beat + 1, beat_ms = ? WHERE id = ? AND ended = 0")
            .bind(self.database.now_ms())
            .bind(id.to_owned())
            .execute(self.database.pool())
            .await
            .map_err(self.database.fault("keeping a lease"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends a worker and lets go of what it held. With `beat`, only if that is still its beat.
    pub(super) async fn end_worker(&self, id: &str, beat: Option<i64>, why: &str) -> Result<bool> {
        let fault = self.database.fault("ending a worker");
        let mut turn = self.turn().await?;
        let statement = match beat {
            Some(_) => "UPDATE jobs_worker SET ended = 1 WHERE id = ? AND ended = 0 AND beat = ?",
            None => "UPDATE jobs_worker SET ended = 1 WHERE id = ? AND ended = 0",
        };
        let mut query = self.query(statement).bind(id.to_owned());
        if let Some(beat) = beat {
            query = query.bind(beat);
        }
        let done = query.execute(&mut *turn.transaction).await.map_err(&fault)?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        turn.release(id, &[], why, beat.is_some()).await?;
        turn.commit().await?;
        Ok(true)
    }

    /// Ends workers whose beat stood still, and those of this machine whose process is gone.
    pub(super) async fn judge(
        &self,
        observed: &mut Observed,
        own: &str,
        lease: Duration,
        step: Duration,
    ) -> Result<u32> {
        let workers = match self.live_workers().await {
            Ok(workers) => workers,
            Err(fault) => {
                observed.forget();
                return Err(fault);
            }
        };
        let mut ended = 0;
        let beats = workers.iter().filter(|w| w.id != own).map(|w| (w.id.clone(), w.beat));
        let lapsed = observed.look(Instant::now(), beats, lease, step);
        for worker in workers.iter().filter(|worker| worker.id != own) {
            let gone = worker.process.is_gone();
            let lapsed = lapsed.iter().any(|(id, _)| *id == worker.id);
            if gone || lapsed {
                let why = if gone {
                    format!("process {} of the worker is gone", worker.pid)
                } else {
                    format!("the worker (process {}) gave no sign of life", worker.pid)
                };
                tracing::warn!(worker = %worker.id, pid = worker.pid, gone, "a worker has ended; its steps are free");
                ended += u32::from(self.end_worker(&worker.id, Some(worker.beat), &why).await?);
            }
        }
        Ok(ended)
    }
}

impl Turn {
    /// Lets go of all steps that `worker` holds but does not know of (`held` has run, step and fence of those it does);
    /// `lost`: they may be the reason why it went.
    pub(super) async fn release(
        &mut self,
        worker: &str,
        held: &[(i64, String, i64)],
        why: &str,
        lost: bool,
    ) -> Result<()> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("letting go of steps");
        let rows = jobs
            .query(
                "SELECT s.run, s.step, s.fence, s.attempt, s.losses, r.cancel FROM jobs_step s
                 JOIN jobs_run r ON r.id = s.run WHERE s.owner = ? AND s.state = 'running'",
            )
            .bind(worker.to_owned())
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        for row in rows {
            let run: i64 = row.try_get("run").map_err(&fault)?;
            let step: String = row.try_get("step").map_err(&fault)?;
            let fence: i64 = row.try_get("fence").map_err(&fault)?;
            let attempt: i64 = row.try_get("attempt").map_err(&fault)?;
            let losses: i64 = row.try_get::<i64, _>("losses").map_err(&fault)? + i64::from(lost);
            let cancel = row.try_get::<i64, _>("cancel").map_err(&fault)? != 0;
            if held.iter().any(|(r, s, f)| *r == run && *s == step && *f == fence) {
                continue;
            }
            // What kills every process that touches it is given up.
            let (state, error) = if cancel {
                (State::Cancelled, String::new())
            } else if lost && losses >= LOSSES_MAX {
                (State::Failed, format!("{losses} workers went away in the middle of it; the last: {why}"))
            } else {
                (State::Queued, why.to_owned())
            };
            jobs.query(
                "UPDATE jobs_step SET state = ?, fence = fence + 1, owner = '', losses = ?, error = ?, wait_ms = 0,
                    due_ms = 0, done = 0, total = 0, message = '', finished_ms = ?, seq = ? WHERE run = ? AND step = ?",
            )
            .bind(state.code())
            .bind(losses)
            .bind(error)
            .bind(if state.is_final() { self.now_ms } else { 0 })
            .bind(self.seq)
            .bind(run)
            .bind(step.clone())
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
            jobs.query(
                "UPDATE jobs_attempt SET ending = 'lost', error = ?, finished_ms = ?
                 WHERE run = ? AND step = ? AND attempt = ?",
            )
            .bind(why.to_owned())
            .bind(self.now_ms)
            .bind(run)
            .bind(step)
            .bind(attempt)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
            self.settle(run).await?;
        }
        Ok(())
    }
}

/// Attempts of one step that may end with their worker, before it is given up.
const LOSSES_MAX: i64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const STEP: Duration = Duration::from_secs(2);

    fn one(beat: i64) -> Vec<(String, i64)> {
        vec![("w".to_owned(), beat)]
    }

    #[test]
    fn a_beat_that_stands_still_lapses_after_the_lease_and_not_before() {
        let (start, mut observed) = (Instant::now(), Observed::default());
        for s in 0..30 {
            assert!(observed.look(start + Duration::from_secs(s), one(4), LEASE, STEP).is_empty(), "{s}");
        }
        assert_eq!(observed.look(start + LEASE, one(4), LEASE, STEP), one(4));
    }

    #[test]
    fn a_beat_in_between_begins_anew() {
        let (start, mut observed) = (Instant::now(), Observed::default());
        for s in 0..200 {
            assert!(
                observed.look(start + Duration::from_secs(s), one(s as i64 / 29), LEASE, STEP).is_empty(),
                "{s}"
            );
        }
    }

    #[test]
    fn time_without_looking_does_not_count() {
        let (start, mut observed) = (Instant::now(), Observed::default());
        observed.look(start, one(1), LEASE, STEP);
        // Stopped for an hour, as was perhaps the worker.
        assert!(observed.look(start + Duration::from_secs(3600), one(1), LEASE, STEP).is_empty());
        // The database was away for an hour.
        observed.forget();
        for s in 0..30 {
            let now = start + Duration::from_secs(7200 + s);
            assert!(observed.look(now, one(1), LEASE, STEP).is_empty(), "{s}");
        }
    }
}
