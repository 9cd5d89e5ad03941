//! Taking steps: which can begin, by order, limits and waits.

use super::record::{self, JobRun, State, StepRun};
use super::{Jobs, Outputs, Pipeline, Step, Turn};
use crate::error::Result;
use serde_json::{Map, Value};
use sqlx::Row;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// A step in a worker's hands.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) run: i64,
    pub(super) pipeline: Pipeline,
    pub(super) step: Step,
    pub(super) fence: i64,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) fresh: bool,
    pub(super) seed: i64,
    pub(super) parameters: Map<String, Value>,
    pub(super) before: BTreeMap<String, Outputs>,
}

/// What a worker may take.
pub(super) struct Reach<'a> {
    /// Whether it knows what the step of the pipeline does.
    pub(super) knows: &'a (dyn Fn(&str, &str) -> bool + Sync),
    /// Steps at once over all workers.
    pub(super) steps_at_once: u32,
}

/// Since when waits have been watched, by the monotonic clock: a wall clock that was set back holds no step up for ever.
#[derive(Debug, Default)]
pub(super) struct Waits(HashMap<(i64, String, u32), Instant>);

impl Waits {
    fn over(&mut self, step: &StepRun, now_ms: i64) -> bool {
        if step.wait_ms <= 0 || now_ms >= step.due_ms {
            return true;
        }
        // A step that waits was just left by someone; entries of steps that went on are few and go with the worker.
        if self.0.len() > 10_000 {
            self.0.clear();
        }
        let since = *self.0.entry((step.run, step.step.clone(), step.attempt)).or_insert_with(Instant::now);
        since.elapsed() >= Duration::from_millis(step.wait_ms.unsigned_abs())
    }
}

impl Jobs {
    /// Whether there is, at a glance, something to take; spares turns when there is not.
    pub(super) async fn something_to_take(
        &self,
        reach: &Reach<'_>,
        waits: &mut Waits,
        slots: usize,
    ) -> Result<bool> {
        let mut connection =
            self.database.pool().acquire().await.map_err(self.database.fault("looking for steps"))?;
        let found = ready(self, &mut connection, reach, waits, slots).await?;
        Ok(!found.is_empty())
    }

    /// Whether any run of a known pipeline has not ended.
    pub(super) async fn is_open(&self, reach: &Reach<'_>) -> Result<bool> {
        let fault = self.database.fault("looking for runs");
        let rows = self
            .query("SELECT id, definition FROM jobs_run WHERE state = 'running' OR state = 'queued'")
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        for row in rows {
            let definition: String = row.try_get("definition").map_err(&fault)?;
            let Ok(pipeline) = serde_json::from_str::<Pipeline>(&definition) else { continue };
            if pipeline.steps.iter().any(|step| (reach.knows)(&pipeline.name, &step.name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Turn {
    /// Takes up to `slots` steps for `worker`.
    pub(super) async fn take(
        &mut self,
        worker: &str,
        reach: &Reach<'_>,
        waits: &mut Waits,
        slots: usize,
    ) -> Result<Vec<Taken>> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("taking a step");
        // A worker that was ended in the meantime takes nothing.
        let alive = jobs
            .query("SELECT id FROM jobs_worker WHERE id = ? AND ended = 0")
            .bind(worker.to_owned())
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        if alive.is_none() {
            return Ok(Vec::new());
        }
        let found = ready(&jobs, &mut self.transaction, reach, waits, slots).await?;
        let mut out = Vec::new();
        for (run, step, before) in found {
            let (fence, attempt) = (step.fence + 1, step.attempt + 1);
            jobs.query(
                "UPDATE jobs_step SET state = 'running', owner = ?, fence = ?, attempt = ?, error = '', done = 0, total = 0,
                    message = '', started_ms = ?, finished_ms = 0, seq = ? WHERE run = ? AND step = ?",
            )
            .bind(worker.to_owned())
            .bind(fence)
            .bind(i64::from(attempt))
            .bind(self.now_ms)
            .bind(self.seq)
            .bind(run.id)
            .bind(step.step.clone())
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
            jobs.query(
                "INSERT INTO jobs_attempt (run, step, attempt, fence, worker, ending, error, started_ms, finished_ms)
                 VALUES (?, ?, ?, ?, ?, '', '', ?, 0)",
            )
            .bind(run.id)
            .bind(step.step.clone())
            .bind(i64::from(attempt))
            .bind(fence)
            .bind(worker.to_owned())
            .bind(self.now_ms)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
            jobs.query("UPDATE jobs_run SET state = 'running', started_ms = ?, seq = ? WHERE id = ? AND state = 'queued'")
                .bind(self.now_ms)
                .bind(self.seq)
                .bind(run.id)
                .execute(&mut *self.transaction)
                .await
                .map_err(&fault)?;
            let Some(definition) = run.pipeline.step(&step.step).cloned() else { continue };
            out.push(Taken {
                run: run.id,
                step: definition,
                fence,
                attempt,
                failures: step.failures,
                fresh: step.fresh,
                seed: run.seed,
                parameters: run.parameters.clone(),
                before,
                pipeline: run.pipeline,
            });
        }
        Ok(out)
    }
}

type Ready = (JobRun, StepRun, BTreeMap<String, Outputs>);

/// Steps that can begin now, most urgent first, at most `slots`, within all limits.
async fn ready(
    jobs: &Jobs,
    connection: &mut sqlx::AnyConnection,
    reach: &Reach<'_>,
    waits: &mut Waits,
    slots: usize,
) -> Result<Vec<Ready>> {
    if slots == 0 {
        return Ok(Vec::new());
    }
    let open = open_runs(jobs, connection, slots).await?;
    // Limits: those of the definitions in use, the smallest for each group.
    let mut limits: BTreeMap<&str, u32> = BTreeMap::new();
    let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
    let mut running = 0;
    for (run, steps) in &open {
        for (group, &limit) in &run.pipeline.groups {
            let known = limits.entry(group).or_insert(limit);
            *known = limit.min(*known);
        }
        for step in steps.iter().filter(|step| step.state == State::Running) {
            running += 1;
            if let Some(group) = run.pipeline.step(&step.step).and_then(|step| step.group.as_deref()) {
                *groups.entry(group).or_default() += 1;
            }
        }
    }
    let now_ms = jobs.database.now_ms();
    let mut out = Vec::new();
    for (run, steps) in &open {
        if run.cancel {
            continue;
        }
        for record in steps.iter().filter(|step| step.state == State::Queued) {
            if out.len() == slots || running >= reach.steps_at_once {
                return Ok(out);
            }
            let Some(step) = run.pipeline.step(&record.step) else { continue };
            let before = |name: &String| steps.iter().find(|s| s.step == *name && s.state.is_success());
            if !step.after.iter().all(|name| before(name).is_some())
                || !(reach.knows)(&run.pipeline.name, &step.name)
                || !waits.over(record, now_ms)
            {
                continue;
            }
            if let Some(group) = step.group.as_deref() {
                let count = groups.entry(group).or_default();
                if limits.get(group).is_some_and(|limit| *count >= *limit) {
                    continue;
                }
                *count += 1;
            }
            running += 1;
            let outputs = step
                .after
                .iter()
                .filter_map(|name| before(name).map(|found| (name.clone(), jobs.outputs_of(found))))
                .collect();
            out.push((run.clone(), record.clone(), outputs));
        }
    }
    Ok(out)
}

/// Runs under way, and those that may begin beside them, most urgent first.
async fn open_runs(
    jobs: &Jobs,
    connection: &mut sqlx::AnyConnection,
    slots: usize,
) -> Result<Vec<(JobRun, Vec<StepRun>)>> {
    let fault = jobs.database.fault("looking for steps");
    let rows = jobs
        .query_of(format!("SELECT {} FROM jobs_run WHERE state = 'running'", record::RUN))
        .fetch_all(&mut *connection)
        .await
        .map_err(&fault)?;
    let mut runs: Vec<JobRun> =
        rows.iter().map(|row| record::run(&jobs.database, row)).collect::<Result<_>>()?;
    let waiting = jobs
        .query("SELECT DISTINCT pipeline FROM jobs_run WHERE state = 'queued'")
        .fetch_all(&mut *connection)
        .await
        .map_err(&fault)?;
    for row in waiting {
        let pipeline: String = row.try_get("pipeline").map_err(&fault)?;
        let busy = runs.iter().filter(|run| run.pipeline.name == pipeline).count();
        let rows = jobs
            .query_of(format!(
                "SELECT {} FROM jobs_run WHERE state = 'queued' AND pipeline = ? ORDER BY urgency, id LIMIT ?",
                record::RUN
            ))
            .bind(pipeline)
            .bind(slots as i64)
            .fetch_all(&mut *connection)
            .await
            .map_err(&fault)?;
        for (n, row) in rows.iter().enumerate() {
            let run = record::run(&jobs.database, row)?;
            if busy + n >= run.pipeline.runs_at_once as usize {
                break;
            }
            runs.push(run);
        }
    }
    runs.sort_by_key(|run| (-run.priority, run.id));
    let mut out = Vec::with_capacity(runs.len());
    for run in runs {
        let statement = format!("SELECT {} FROM jobs_step WHERE run = ? ORDER BY place", record::STEP);
        let rows = jobs.query_of(statement).bind(run.id).fetch_all(&mut *connection).await.map_err(&fault)?;
        let steps = rows.iter().map(|row| record::step(&jobs.database, row)).collect::<Result<_>>()?;
        out.push((run, steps));
    }
    Ok(out)
}
