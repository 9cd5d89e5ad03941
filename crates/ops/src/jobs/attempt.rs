//! One attempt at a step: inputs, cache, work, commit.

use super::record::{self, State, StepRun};
use super::results::{self, Finished};
use super::take::Taken;
use super::work::{self, Context, StepFault, Work};
use super::{Fingerprint, Jobs, Turn};
use crate::error::{Error, Result};
use sqlx::Row;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::Instrument;
use tracing::field::Empty;
use tradewind_core::ErrorKind;

/// Lines kept of one step's log; the oldest go.
const LINES_MAX: i64 = 1_000;

/// How often a step that runs looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ending {
    Done { key: Fingerprint, finished: Finished },
    Cached { key: Fingerprint, earlier: Box<StepRun> },
    Failed(StepFault),
}

/// Whether the result counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    Yes,
    /// Someone else has the step.
    Fenced,
}

/// Does the step, within its time; asked to stop, it has `grace` to do so.
pub(super) async fn perform(
    jobs: Jobs,
    taken: Arc<Taken>,
    work: Arc<dyn Work>,
    context: Context,
    grace: Duration,
) -> Ending {
    let began = Instant::now();
    let timeout = (taken.step.timeout_s > 0.0).then(|| Duration::from_secs_f64(taken.step.timeout_s));
    let cancel = context.cancel_flag();
    let left = results::unfinished(&jobs.results, taken.run, &taken.step.name, taken.fence);
    // A trace of its own: who asked for a run has long had the answer.
    let span = tracing::info_span!(
        target: crate::TRACES, parent: None, "step",
        otel.name = %format_args!("{} {}", taken.pipeline.name, taken.step.name), otel.status_code = Empty,
        run = taken.run, attempt = taken.attempt, ending = Empty,
    );
    let mut task = tokio::spawn(once(jobs, taken.clone(), work, context).instrument(span.clone()));
    let mut asked: Option<Instant> = None;
    let mut out_of_time = false;
    let ending = loop {
        if let Ok(joined) = tokio::time::timeout(LOOK, &mut task).await {
            break match joined {
                Ok(Ok(ending)) => ending,
                Ok(Err(fault)) => Ending::Failed(fault),
                Err(_) => Ending::Failed(StepFault::panicked()),
            };
        }
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) && !out_of_time {
            out_of_time = true;
            cancel.store(true, Ordering::Relaxed);
        }
        if cancel.load(Ordering::Relaxed) && asked.get_or_insert_with(Instant::now).elapsed() >= grace {
            // A thread cannot be stopped from outside; what it still does is thrown away.
            task.abort();
            break Ending::Failed(StepFault::cancelled());
        }
    };
    if matches!(ending, Ending::Failed(_)) {
        // What it had written is of no use; a thread that still writes leaves it to the sweep.
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(left)).await;
    }
    span.record(
        "ending",
        match &ending {
            Ending::Done { .. } => "done",
            Ending::Cached { .. } => "cached",
            Ending::Failed(_) => "failed",
        },
    );
    if matches!(ending, Ending::Failed(_)) {
        span.record("otel.status_code", "ERROR");
    }
    match ending {
        Ending::Failed(_) if out_of_time => Ending::Failed(StepFault {
            kind: ErrorKind::Unavailable,
            text: format!("it took longer than {} s", taken.step.timeout_s),
            retry: true,
        }),
        ending => ending,
    }
}

async fn once(
    jobs: Jobs,
    taken: Arc<Taken>,
    work: Arc<dyn Work>,
    context: Context,
) -> Result<Ending, StepFault> {
    let results = jobs.results.clone();
    let (run, step, fence) = (taken.run, taken.step.name.clone(), taken.fence);
    let _ = tokio::task::spawn_blocking(move || results::clear(&results, run, &step, fence)).await;
    let inputs = work.inputs(&context).await?;
    context.check()?;
    let key = record::cache_key(
        &taken.pipeline,
        &taken.step,
        &taken.parameters,
        taken.seed,
        &taken.before,
        &inputs,
    );
    if taken.step.cached && !taken.fresh {
        let cancel = context.cancel_flag();
        let earlier = patiently(&cancel, || jobs.earlier(&key)).await?;
        if let Some(earlier) = earlier
            && work.still_there(&context, &jobs.outputs_of(&earlier)).await?
        {
            return Ok(Ending::Cached { key, earlier: Box::new(earlier) });
        }
    }
    let made = work.run(&context).await?;
    let results = jobs.results.clone();
    let finished = tokio::task::spawn_blocking(move || {
        results::finish(&results, &taken.pipeline.name, (taken.run, &taken.step.name, taken.fence), &made)
    })
    .await
    .map_err(|_| StepFault::panicked())??;
    Ok(Ending::Done { key, finished })
}

/// Asks the database again and again while it is away, until `give_up`.
pub(super) async fn patiently<T, F>(give_up: &AtomicBool, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut wait = Duration::from_millis(50);
    loop {
        match ask().await {
            Err(fault @ Error::Database { .. }) => {
                if give_up.load(Ordering::Relaxed) {
                    return Err(fault);
                }
                tracing::warn!(%fault, "the state of jobs is away; waiting");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            other => return other,
        }
    }
}

impl Jobs {
    /// An earlier success with these inputs whose files are still there.
    async fn earlier(&self, key: &Fingerprint) -> Result<Option<StepRun>> {
        let fault = self.database.fault("looking for an earlier result");
        let row = self
            .query("SELECT run, step FROM jobs_result WHERE cache_key = ?")
            .bind(key.as_str().to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(&fault)?;
        let Some(row) = row else { return Ok(None) };
        let (run, step): (i64, String) =
            (row.try_get("run").map_err(&fault)?, row.try_get("step").map_err(&fault)?);
        let row = self
            .query_of(format!("SELECT {} FROM jobs_step WHERE run = ? AND step = ?", record::STEP))
            .bind(run)
            .bind(step)
            .fetch_optional(self.database.pool())
            .await
            .map_err(&fault)?;
        let Some(row) = row else { return Ok(None) };
        let earlier = record::step(&self.database, &row)?;
        if !earlier.state.is_success() || earlier.cache_key != key.as_str() {
            return Ok(None);
        }
        let (results, folder, files) = (self.results.clone(), earlier.folder.clone(), earlier.files.clone());
        let there = tokio::task::spawn_blocking(move || results::there(&results, &folder, &files)).await;
        Ok(there.unwrap_or(false).then_some(earlier))
    }

    /// Writes down how an attempt ended, if its fence still stands. Safe to call again when the answer was lost.
    pub(super) async fn commit(
        &self,
        taken: &Taken,
        ending: &Ending,
        context: &Context,
    ) -> Result<Committed> {
        let fault = self.database.fault("committing a step");
        let _writing = context.0.writing.lock().await;
        let mut turn = self.turn().await?;
        let row = self
            .query(
                "SELECT s.state, s.fence, r.cancel FROM jobs_step s JOIN jobs_run r ON r.id = s.run
                 WHERE s.run = ? AND s.step = ?",
            )
            .bind(taken.run)
            .bind(taken.step.name.clone())
            .fetch_optional(&mut *turn.transaction)
            .await
            .map_err(&fault)?;
        let Some(row) = row else { return Ok(Committed::Fenced) };
        let state: String = row.try_get("state").map_err(&fault)?;
        let fence: i64 = row.try_get("fence").map_err(&fault)?;
        let cancel = row.try_get::<i64, _>("cancel").map_err(&fault)? != 0;
        if fence != taken.fence {
            return Ok(Committed::Fenced);
        }
        if state != State::Running.code() {
            // The commit went through before, and only its answer was lost.
            return Ok(Committed::Yes);
        }
        let lines = turn.write_live(taken.run, &taken.step.name, taken.fence, taken.attempt, context).await?;
        turn.end(taken, ending, cancel).await?;
        turn.settle(taken.run).await?;
        turn.commit().await?;
        drop_lines(context, lines);
        Ok(Committed::Yes)
    }

    /// Writes down what steps have told since the last time.
    pub(super) async fn write_live(&self, steps: &[(i64, String, i64, u32, Context)]) -> Result<()> {
        let changed: Vec<_> = steps.iter().filter(|(.., context)| context.0.live.lock().changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        // Nobody else writes these lines before they are known as written. The turn comes after, here as at the end of a
        // step, so that neither waits for what the other has.
        let mut writing = Vec::with_capacity(changed.len());
        for (.., context) in &changed {
            writing.push(context.0.writing.lock().await);
        }
        let mut turn = self.turn().await?;
        let mut written = Vec::new();
        for (run, step, fence, attempt, context) in changed {
            let lines = turn.write_live(*run, step, *fence, *attempt, context).await?;
            written.push((context, lines));
        }
        turn.commit().await?;
        for (context, lines) in written {
            drop_lines(context, lines);
        }
        Ok(())
    }
}

/// Lines that are written down need not wait any more.
fn drop_lines(context: &Context, mut lines: u64) {
    let mut live = context.0.live.lock();
    // Lines that went for want of room in the meantime were among those written.
    let gone = live.dropped.min(lines);
    live.dropped -= gone;
    lines -= gone;
    for _ in 0..lines {
        live.lines.pop_front();
    }
    live.changed = !live.lines.is_empty();
}

impl Turn {
    /// Writes progress and lines of a step, and gives how many lines that waited.
    async fn write_live(
        &mut self,
        run: i64,
        step: &str,
        fence: i64,
        attempt: u32,
        context: &Context,
    ) -> Result<u64> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("writing down progress");
        let (done, total, message, waiting, lines) = {
            let mut live = context.0.live.lock();
            live.changed = false;
            let waiting = live.lines.len() as u64;
            let mut lines: Vec<_> = live.lines.iter().cloned().collect();
            if live.dropped > 0 {
                lines.insert(0, (work::Level::Warning, format!("{} lines were left out here", live.dropped)));
                live.dropped = 0;
            }
            (live.done, live.total, live.message.clone(), waiting, lines)
        };
        let kept = jobs
            .query(
                "UPDATE jobs_step SET done = ?, total = ?, message = ?, seq = ?
                 WHERE run = ? AND step = ? AND fence = ? AND state = 'running'",
            )
            .bind(done)
            .bind(total)
            .bind(message)
            .bind(self.seq)
            .bind(run)
            .bind(step.to_owned())
            .bind(fence)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        if kept.rows_affected() == 0 || lines.is_empty() {
            return Ok(waiting);
        }
        let newest: i64 = jobs
            .query("SELECT COALESCE(max(line), 0) AS newest FROM jobs_line WHERE run = ? AND step = ?")
            .bind(run)
            .bind(step.to_owned())
            .fetch_one(&mut *self.transaction)
            .await
            .and_then(|row| row.try_get("newest"))
            .map_err(&fault)?;
        let count = lines.len();
        for (n, (level, text)) in lines.into_iter().enumerate() {
            jobs.query(
                "INSERT INTO jobs_line (run, step, line, attempt, at_ms, level, message) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(run)
            .bind(step.to_owned())
            .bind(newest + n as i64 + 1)
            .bind(i64::from(attempt))
            .bind(self.now_ms)
            .bind(level.code())
            .bind(text)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        }
        jobs.query("DELETE FROM jobs_line WHERE run = ? AND step = ? AND line <= ?")
            .bind(run)
            .bind(step.to_owned())
            .bind(newest + count as i64 - LINES_MAX)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        Ok(waiting)
    }

    async fn end(&mut self, taken: &Taken, ending: &Ending, cancel: bool) -> Result<()> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("committing a step");
        let step = taken.step.name.clone();
        let (state, error) = match ending {
            Ending::Done { key, finished } => {
                self.keep(
                    taken,
                    key,
                    (&finished.fingerprint, &finished.data),
                    (&finished.folder, &finished.files),
                    0,
                )
                .await?;
                self.remember(key, taken.run, &step).await?;
                (State::Succeeded, String::new())
            }
            Ending::Cached { key, earlier } => {
                let from = if earlier.taken_from == 0 { earlier.run } else { earlier.taken_from };
                let output = Fingerprint::known(earlier.output.clone());
                let data = if earlier.data.is_null() { String::new() } else { earlier.data.to_string() };
                self.keep(taken, key, (&output, &data), (&earlier.folder, &earlier.files), from).await?;
                // The row of the cache moves along to the newest run that knows the result, so old ones can go.
                self.remember(key, taken.run, &step).await?;
                (State::Cached, String::new())
            }
            Ending::Failed(_) if cancel => (State::Cancelled, String::new()),
            Ending::Failed(told) => {
                let again = told.retry && taken.failures < taken.step.retries;
                (if again { State::Queued } else { State::Failed }, work::bounded(&told.text))
            }
        };
        let wait_ms = match state {
            State::Queued => taken.step.backoff.wait_ms(taken.seed ^ taken.run, &step, taken.failures + 1),
            _ => 0,
        };
        let failed = matches!(ending, Ending::Failed(_)) && state != State::Cancelled;
        jobs.query(
            "UPDATE jobs_step SET state = ?, failures = ?, error = ?, wait_ms = ?, due_ms = ?, finished_ms = ?, seq = ?
             WHERE run = ? AND step = ?",
        )
        .bind(state.code())
        .bind(i64::from(taken.failures) + i64::from(failed))
        .bind(error.clone())
        .bind(wait_ms)
        .bind(self.now_ms.saturating_add(wait_ms))
        .bind(if state.is_final() { self.now_ms } else { 0 })
        .bind(self.seq)
        .bind(taken.run)
        .bind(step.clone())
        .execute(&mut *self.transaction)
        .await
        .map_err(&fault)?;
        jobs.query(
            "UPDATE jobs_attempt SET ending = ?, error = ?, finished_ms = ? WHERE run = ? AND step = ? AND attempt = ?",
        )
        .bind(if failed { State::Failed.code() } else { state.code() })
        .bind(error)
        .bind(self.now_ms)
        .bind(taken.run)
        .bind(step)
        .bind(i64::from(taken.attempt))
        .execute(&mut *self.transaction)
        .await
        .map_err(&fault)?;
        Ok(())
    }

    async fn keep(
        &mut self,
        taken: &Taken,
        key: &Fingerprint,
        (output, data): (&Fingerprint, &str),
        (folder, files): (&str, &str),
        taken_from: i64,
    ) -> Result<()> {
        let jobs = self.jobs.clone();
        jobs.query(
            "UPDATE jobs_step SET cache_key = ?, output = ?, data = ?, folder = ?, files = ?, taken_from = ?
             WHERE run = ? AND step = ?",
        )
        .bind(key.as_str().to_owned())
        .bind(output.as_str().to_owned())
        .bind(data.to_owned())
        .bind(folder.to_owned())
        .bind(files.to_owned())
        .bind(taken_from)
        .bind(taken.run)
        .bind(taken.step.name.clone())
        .execute(&mut *self.transaction)
        .await
        .map_err(jobs.database.fault("committing a step"))?;
        Ok(())
    }

    async fn remember(&mut self, key: &Fingerprint, run: i64, step: &str) -> Result<()> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("remembering a result");
        jobs.query("DELETE FROM jobs_result WHERE cache_key = ?")
            .bind(key.as_str().to_owned())
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        jobs.query("INSERT INTO jobs_result (cache_key, run, step, made_ms) VALUES (?, ?, ?, ?)")
            .bind(key.as_str().to_owned())
            .bind(run)
            .bind(step.to_owned())
            .bind(self.now_ms)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        Ok(())
    }
}
