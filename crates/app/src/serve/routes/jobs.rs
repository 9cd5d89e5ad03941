//! `/v1/jobs`: runs of pipelines, listed, asked for, stopped, done again; and what happens to one, as it happens.

use crate::serve::changes::write_down;
use crate::serve::door::{Caller, Door};
use crate::serve::extract::{Body, Path, Query};
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::stamp;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tradewind::ErrorKind;
use tradewind::ops::access::{Role, Scope};
use tradewind::ops::jobs::{JobRun, NewRun, Rerun, RunFilter, State as JobState, StepRun};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// How long one stream of changes lasts; whoever follows asks again with the last id.
const FOLLOW_MAX: Duration = Duration::from_secs(600);

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Jobs));
    let operator = Door::Key(Role::Operator, Some(Scope::Jobs));
    routes
        .at(viewer, routes!(pipelines))
        .at(viewer, routes!(list))
        .at(operator, routes!(start))
        .at(viewer, routes!(show))
        .at(viewer, routes!(log))
        .at(viewer, routes!(follow))
        .at(operator, routes!(cancel))
        .at(operator, routes!(rerun))
}

/// A pipeline.
#[derive(Serialize, ToSchema)]
pub(crate) struct PipelineShown {
    /// Its name.
    name: String,
    /// Its steps in order.
    steps: Vec<String>,
    /// Pipelines after whose success it runs.
    after: Vec<String>,
    /// Runs under way at once.
    runs_at_once: u32,
}

/// The pipelines.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pipelines {
    /// By name.
    pipelines: Vec<PipelineShown>,
}

/// The pipelines that can be run.
#[utoipa::path(
    get, path = "/v1/pipelines", tag = "jobs",
    responses((status = 200, description = "All of them", body = Pipelines))
)]
async fn pipelines(State(server): State<Server>) -> Result<Json<Pipelines>, Problem> {
    let all = server.jobs.pipelines().await?;
    let pipelines = all
        .into_values()
        .map(|p| PipelineShown {
            name: p.name,
            steps: p.steps.into_iter().map(|s| s.name).collect(),
            after: p.after,
            runs_at_once: p.runs_at_once,
        })
        .collect();
    Ok(Json(Pipelines { pipelines }))
}

/// A run of a pipeline.
#[derive(Serialize, ToSchema)]
pub(crate) struct Job {
    /// Its number.
    id: i64,
    /// The pipeline.
    pipeline: String,
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled`, `cached` or `skipped`.
    state: String,
    /// What the steps are handed.
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// What random numbers come from.
    seed: i64,
    /// Higher ones are taken first.
    priority: i64,
    /// Who or what asked for it.
    asked_by: String,
    /// Why.
    reason: String,
    /// The run that this one repeats a part of.
    origin: Option<i64>,
    /// Whether it was asked to stop.
    cancel: bool,
    /// Why it failed.
    error: Option<String>,
    /// When it was asked for.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its first step began.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When its last step ended.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

fn time(ms: i64) -> Option<String> {
    (ms != 0).then(|| stamp(ms))
}

impl Job {
    fn of(run: JobRun) -> Self {
        Self {
            id: run.id,
            pipeline: run.pipeline.name,
            state: run.state.code().to_owned(),
            parameters: run.parameters,
            seed: run.seed,
            priority: run.priority,
            asked_by: run.asked_by,
            reason: run.reason,
            origin: (run.origin != 0).then_some(run.origin),
            cancel: run.cancel,
            error: Some(run.error).filter(|e| !e.is_empty()),
            created_at: stamp(run.created_ms),
            started_at: time(run.started_ms),
            finished_at: time(run.finished_ms),
        }
    }
}

/// A step of a run.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobStep {
    /// Its name.
    name: String,
    /// How far it is, in the words of runs.
    state: String,
    /// Attempts begun.
    attempt: u32,
    /// Attempts that failed.
    failures: u32,
    /// Units done.
    done: i64,
    /// Units in all; 0: unknown.
    total: i64,
    /// What it is at.
    message: String,
    /// Why it failed.
    error: Option<String>,
    /// Its small result.
    #[schema(value_type = Option<Object>)]
    data: Value,
    /// When its newest attempt began.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

impl JobStep {
    fn of(step: StepRun) -> Self {
        Self {
            name: step.step,
            state: step.state.code().to_owned(),
            attempt: step.attempt,
            failures: step.failures,
            done: step.done,
            total: step.total,
            message: step.message,
            error: Some(step.error).filter(|e| !e.is_empty()),
            data: step.data,
            started_at: time(step.started_ms),
            finished_at: time(step.finished_ms),
        }
    }
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobPage {
    /// Newest first.
    jobs: Vec<Job>,
    /// What to give as `before` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Only of this pipeline.
    pipeline: Option<String>,
    /// Only in this state.
    state: Option<String>,
    /// The `next` of the page before.
    before: Option<i64>,
    /// Runs of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

fn usual_page() -> u32 {
    100
}

fn wrong(field: &'static str, allowed: &str) -> Problem {
    Problem::new(ErrorKind::InvalidParams, format!("`{field}` must be {allowed}")).field(field, allowed)
}

/// The runs.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, description = "A page of runs", body = JobPage))
)]
async fn list(
    State(server): State<Server>,
    Query(query): Query<JobsQuery>,
) -> Result<Json<JobPage>, Problem> {
    if !(1..=1000).contains(&query.limit) {
        return Err(wrong("limit", "a whole number from 1 to 1000"));
    }
    let pipeline = query.pipeline.unwrap_or_default();
    if pipeline.contains('\0') || pipeline.chars().count() > 191 {
        return Err(wrong("pipeline", "at most 191 characters, none of them NUL"));
    }
    let state = match &query.state {
        None => None,
        Some(word) => Some(JobState::of(word).ok_or_else(|| {
            wrong("state", &JobState::ALL.map(JobState::code).join(", ").replace("cached, ", "cached or "))
        })?),
    };
    let filter = RunFilter { pipeline, state, before: query.before.unwrap_or(i64::MAX), limit: query.limit };
    let runs = server.jobs.runs(&filter).await?;
    let next = runs.last().filter(|r| runs.len() == query.limit as usize && r.id > 1).map(|r| r.id);
    Ok(Json(JobPage { jobs: runs.into_iter().map(Job::of).collect(), next }))
}

/// A run with its steps.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobShown {
    /// The run.
    job: Job,
    /// Its steps in order.
    steps: Vec<JobStep>,
}

async fn shown(server: &Server, id: i64) -> Result<JobShown, Problem> {
    let run = server.jobs.run(id).await?;
    let steps = server.jobs.steps(id).await?;
    Ok(JobShown { job: Job::of(run), steps: steps.into_iter().map(JobStep::of).collect() })
}

/// One run with its steps.
#[utoipa::path(
    get, path = "/v1/jobs/{job}", tag = "jobs", params(("job" = i64, Path, description = "The run's number")),
    responses((status = 200, description = "The run", body = JobShown))
)]
async fn show(State(server): State<Server>, Path(job): Path<i64>) -> Result<Json<JobShown>, Problem> {
    Ok(Json(shown(&server, job).await?))
}

/// What is to be run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobAsked {
    /// The pipeline.
    pipeline: String,
    /// What the steps are handed; it is kept as text, so no secrets.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// What random numbers come from.
    #[serde(default = "usual_seed")]
    #[schema(default = 42)]
    seed: i64,
    /// Higher ones are taken first.
    #[serde(default)]
    #[schema(minimum = -1000, maximum = 1000, default = 0)]
    priority: i64,
    /// Why.
    #[serde(default)]
    reason: String,
    /// Whether steps run even if an equal success is known.
    #[serde(default)]
    fresh: bool,
    /// A name of the order: asked for twice, there is one run.
    #[serde(default)]
    once: String,
}

fn usual_seed() -> i64 {
    42
}

fn object(id: i64) -> String {
    format!("job:{id}")
}

/// Ask for a run. It is done by a worker; follow it by its number.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", request_body = JobAsked,
    responses((status = 202, description = "The run, queued", body = JobShown))
)]
async fn start(
    State(server): State<Server>,
    Caller(caller): Caller,
    Body(asked): Body<JobAsked>,
) -> Result<(StatusCode, Json<JobShown>), Problem> {
    let details = json!({ "pipeline": asked.pipeline, "reason": asked.reason });
    let new = NewRun {
        pipeline: asked.pipeline,
        parameters: asked.parameters,
        seed: asked.seed,
        priority: asked.priority,
        asked_by: caller.actor(),
        reason: asked.reason,
        fresh: asked.fresh,
        once: asked.once,
    };
    let id = server.jobs.enqueue(new).await?;
    write_down(&server, &caller, "jobs.start", &object(id), details).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(&server, id).await?)))
}

/// Stop a run; what is under way ends where nothing is half-written.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/cancel", tag = "jobs", params(("job" = i64, Path, description = "The run's number")),
    responses((status = 200, description = "The run", body = JobShown))
)]
async fn cancel(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(job): Path<i64>,
) -> Result<Json<JobShown>, Problem> {
    server.jobs.cancel(job).await?;
    write_down(&server, &caller, "jobs.cancel", &object(job), json!({})).await?;
    Ok(Json(shown(&server, job).await?))
}

/// What is to be done again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RerunAsked {
    /// The step to begin with; left out: all that did not succeed.
    #[serde(default)]
    from: String,
    /// Only that step, not those that follow it.
    #[serde(default)]
    only: bool,
    /// Why.
    #[serde(default)]
    reason: String,
}

/// Do a part of a run again, as a run of its own.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/rerun", tag = "jobs", params(("job" = i64, Path, description = "The run's number")),
    request_body = RerunAsked,
    responses((status = 202, description = "The new run", body = JobShown))
)]
async fn rerun(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(job): Path<i64>,
    Body(asked): Body<RerunAsked>,
) -> Result<(StatusCode, Json<JobShown>), Problem> {
    let details = json!({ "of": job, "from": asked.from, "only": asked.only, "reason": asked.reason });
    let again = Rerun {
        run: job,
        from: asked.from,
        only: asked.only,
        asked_by: caller.actor(),
        reason: asked.reason,
    };
    let id = server.jobs.rerun(&again).await?;
    write_down(&server, &caller, "jobs.rerun", &object(id), details).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(&server, id).await?)))
}

/// A line of a step's log.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// Its number within the step.
    line: i64,
    /// The attempt that wrote it.
    attempt: u32,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// `info`, `warning` or `error`.
    #[schema(value_type = String)]
    level: Value,
    /// The text.
    text: String,
}

/// Part of a step's log.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogPage {
    /// Oldest first.
    lines: Vec<LogLine>,
    /// What to give as `after` for the next part; the log may still grow.
    next: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// The `next` of the part before.
    #[serde(default)]
    #[param(minimum = 0, default = 0)]
    after: i64,
    /// Lines of a part.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// The log of a step.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/steps/{step}/log", tag = "jobs",
    params(
        ("job" = i64, Path, description = "The run's number"),
        ("step" = String, Path, description = "The step's name"),
        LogQuery,
    ),
    responses((status = 200, description = "Part of the log", body = LogPage))
)]
async fn log(
    State(server): State<Server>,
    Path((job, step)): Path<(i64, String)>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>, Problem> {
    if !(1..=1000).contains(&query.limit) {
        return Err(wrong("limit", "a whole number from 1 to 1000"));
    }
    if !server.jobs.run(job).await?.pipeline.steps.iter().any(|s| s.name == step) {
        return Err(Problem::new(ErrorKind::NotFound, format!("run {job} has no such step")));
    }
    let lines = server.jobs.lines(job, &step, query.after, query.limit).await?;
    let next = lines.last().map_or(query.after, |l| l.line);
    let lines = lines
        .into_iter()
        .map(|l| LogLine {
            line: l.line,
            attempt: l.attempt,
            at: stamp(l.at_ms),
            level: json!(l.level),
            text: l.text,
        })
        .collect();
    Ok(Json(LogPage { lines, next }))
}

/// An event of the stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described: the stream is written field by field")]
struct JobEvent {
    /// Its number, for `Last-Event-ID`.
    id: String,
    /// `change`.
    event: String,
    /// The change, as JSON text.
    data: String,
}

/// What happens to a run, as server-sent events: each `data` is a JSON object with `run`, `step` (empty: the run itself),
/// `state`, `attempt`, `done`, `total` and `message`; its `id` goes into `Last-Event-ID` to go on from there. The stream
/// ends with the run, with the server, and after ten minutes.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/events", tag = "jobs",
    params(
        ("job" = i64, Path, description = "The run's number"),
        ("Last-Event-ID" = Option<i64>, Header, description = "The id of the last event known"),
    ),
    responses((status = 200, description = "Events", content_type = "text/event-stream",
        body = JobEvent))
)]
async fn follow(
    State(server): State<Server>,
    Path(job): Path<i64>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    // An unknown run is a problem, not an empty stream.
    server.jobs.run(job).await?;
    let since = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
    let watch = server.jobs.watch(since, Some(job));
    let mut end = server.readiness.end();
    let changes = stream::unfold((watch, false), async |(mut watch, over)| {
        if over {
            return None;
        }
        let (events, over) = match watch.next().await {
            Ok(changes) => {
                let over = changes.iter().any(|c| c.step.is_empty() && c.state.is_final());
                let events: Vec<Event> = changes
                    .iter()
                    .map(|c| {
                        Event::default().id(c.seq.to_string()).event("change").data(json!(c).to_string())
                    })
                    .collect();
                (events, over)
            }
            Err(e) => {
                tracing::warn!("a stream of changes ends: {e}");
                (Vec::new(), true)
            }
        };
        Some((stream::iter(events.into_iter().map(Ok)), (watch, over)))
    });
    let over = async move {
        let ended = end.wait_for(|ended| *ended);
        let _ = tokio::time::timeout(FOLLOW_MAX, ended).await;
    };
    let events = changes.flatten().take_until(Box::pin(over));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
