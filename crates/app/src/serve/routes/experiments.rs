//! `/v1/experiments`: several ways tried on a shop's users side by side, and what came of it.
//!
//! `assign` says which arms a user is in and notes the exposure in the event log; events and sales of the same user are
//! counted from then on. A look reads the figures, keeps the reading, and stops the experiment where a guard is broken.

use super::recommendations;
use super::wire::{PageQuery, hundredths, usual_page};
use crate::serve::changes::{change, write_down};
use crate::serve::door::{Caller, Door, Limits};
use crate::serve::extract::{Body, Path, Query};
use crate::serve::follow;
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::stamp;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tradewind::ErrorKind;
use tradewind::event_log::ShopEvent;
use tradewind::experiments::{self, EXPOSURE, METRICS};
use tradewind::ingest::event_log::Event;
use tradewind::ops::access::{Principal, Role, Scope};
use tradewind::ops::experiment::{
    Arm, Assigned, Definition, Experiment as Kept, KeptLook, Method, Purpose, State as Stands, Step,
};
use tradewind::ops::registry::Page;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// How long a look may take: it reads the events of all users in the experiment.
const LOOK_TIME_MAX: Duration = Duration::from_secs(600);
const USER_BYTES_MAX: usize = 256;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Experiments));
    let analyst = Door::Key(Role::Analyst, Some(Scope::Experiments));
    let operator = Door::Key(Role::Operator, Some(Scope::Experiments));
    let long = Limits { time: Some(LOOK_TIME_MAX), ..Limits::USUAL };
    routes
        .at(viewer, routes!(list))
        .at(operator, routes!(draft))
        .at(viewer, routes!(metrics))
        .at(analyst, routes!(assign))
        .at(viewer, routes!(show))
        .at(viewer, routes!(history))
        .at(viewer, routes!(looks))
        .limited(analyst, long, routes!(look))
        .at(operator, routes!(start))
        .at(operator, routes!(ramp))
        .at(operator, routes!(stop))
        .at(operator, routes!(decide))
}

/// A way that is tried.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentArm {
    /// Its name.
    #[schema(pattern = "^[a-z][a-z0-9_-]{0,62}$", example = "short_form")]
    name: String,
    /// Its share of the experiment's users in percent, to a hundredth; all sum to 100.
    #[schema(minimum = 0, maximum = 100, example = 50.0)]
    percent: f64,
    /// The version of a model of recommendations that answers users of the arm; left out: the one that answers everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "recommendations@3")]
    version: Option<String>,
    /// Settings for whoever shows it, told with each assignment.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    settings: Value,
}

/// What a metric is for.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PurposeWord {
    /// It decides.
    Primary,
    /// It explains.
    Secondary,
    /// It must not get worse: the experiment stops when it does.
    Guard,
}

/// Something that is measured.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentMetric {
    /// One of `GET /v1/experiments/metrics`.
    #[schema(example = "conversion")]
    name: String,
    /// What it is for.
    purpose: PurposeWord,
    /// For guards: how much worse, in percent of the control's figure, is borne.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100)]
    margin_percent: f64,
    /// Values of a user above this count as this.
    #[serde(default)]
    cap: Option<f64>,
}

/// How an experiment is judged.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JudgedWord {
    /// Once, when each arm has `users`; looks before that say nothing.
    Fixed,
    /// At any time, every look being valid; sharpest at `users` in all.
    Sequential,
}

/// An experiment as it is planned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExperimentAsked {
    /// Its name.
    #[schema(pattern = "^[a-z][a-z0-9_-]{0,62}$", example = "checkout")]
    name: String,
    /// What is believed and why.
    #[serde(default)]
    #[schema(max_length = 2000)]
    hypothesis: String,
    /// The layer: a user is in one experiment of a layer at most, and in those of different layers independently.
    #[serde(default = "usual_layer")]
    #[schema(default = "main")]
    layer: String,
    /// The share of the layer's users in percent.
    #[serde(default = "everybody")]
    #[schema(minimum = 0, maximum = 100, default = 100.0)]
    percent: f64,
    /// The arms; the first is the control.
    #[schema(min_items = 2, max_items = 16)]
    arms: Vec<ExperimentArm>,
    /// What is measured; one or more are primary.
    #[schema(min_items = 1, max_items = 50)]
    metrics: Vec<ExperimentMetric>,
    /// How it is judged.
    judged: JudgedWord,
    /// Users that are planned: of each arm where it is judged once, in all where it is judged at any time.
    #[schema(minimum = 1, example = 10000)]
    users: u64,
    /// The chance of a false alarm over all arms and primary metrics.
    #[serde(default = "usual_alpha")]
    #[schema(default = 0.05)]
    alpha: f64,
    /// Why now.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

fn usual_layer() -> String {
    "main".to_owned()
}

fn everybody() -> f64 {
    100.0
}

fn usual_alpha() -> f64 {
    0.05
}

/// An experiment.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentTold {
    /// Its name.
    name: String,
    /// `draft`, `running`, `stopped` or `decided`.
    state: String,
    /// How often it was changed.
    revision: u64,
    /// How often it was read.
    looks: u64,
    /// What is believed and why.
    hypothesis: String,
    /// The layer.
    layer: String,
    /// The share of the layer's users in percent.
    percent: f64,
    /// The arms; the first is the control.
    arms: Vec<ExperimentArm>,
    /// What is measured.
    metrics: Vec<ExperimentMetric>,
    /// `fixed`, `sequential` or `bandit`.
    judged: String,
    /// Users that are planned; none for a bandit.
    users: Option<u64>,
    /// The arm that was taken, once it is decided for one.
    decision: Option<String>,
    /// When it was drafted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was started.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it was stopped.
    #[schema(format = DateTime)]
    stopped_at: Option<String>,
}

impl ExperimentTold {
    fn of(kept: Kept) -> Self {
        let d = kept.definition;
        let (judged, users) = match d.method {
            Method::Fixed { units_per_arm } => ("fixed", Some(units_per_arm)),
            Method::Sequential { planned_units } => ("sequential", Some(planned_units)),
            Method::Bandit(_) => ("bandit", None),
        };
        let purpose = |p| match p {
            Purpose::Primary => PurposeWord::Primary,
            Purpose::Secondary => PurposeWord::Secondary,
            Purpose::Guard => PurposeWord::Guard,
        };
        Self {
            name: d.name,
            state: kept.state.name().to_owned(),
            revision: kept.revision,
            looks: kept.looks,
            hypothesis: d.hypothesis,
            layer: d.layer,
            percent: f64::from(d.exposure) / 100.0,
            arms: d
                .arms
                .into_iter()
                .map(|a| ExperimentArm {
                    name: a.name,
                    percent: f64::from(a.weight) / 100.0,
                    version: a.reference.map(|reference| reference.to_string()),
                    settings: a.settings,
                })
                .collect(),
            metrics: d
                .metrics
                .into_iter()
                .map(|m| ExperimentMetric {
                    name: m.name,
                    purpose: purpose(m.purpose),
                    margin_percent: m.margin * 100.0,
                    cap: m.cap,
                })
                .collect(),
            judged: judged.to_owned(),
            users,
            decision: kept.decision,
            created_at: stamp(kept.created_ms),
            started_at: kept.started_ms.map(stamp),
            stopped_at: kept.stopped_ms.map(stamp),
        }
    }
}

/// A page of experiments.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentPage {
    /// By name.
    experiments: Vec<ExperimentTold>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A step of an experiment's life.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentStep {
    /// Its place: 1, 2, … without holes.
    revision: u64,
    /// `draft`, `revise`, `start`, `ramp`, `weigh`, `stop` or `decide`.
    step: String,
    /// What came of it.
    detail: Value,
    /// Who.
    actor: String,
    /// Why.
    reason: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl ExperimentStep {
    fn of(step: Step) -> Self {
        Self {
            revision: step.revision,
            step: step.step,
            detail: step.detail,
            actor: step.change.actor,
            reason: step.change.reason,
            at: stamp(step.at_ms),
        }
    }
}

/// A page of an experiment's life.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentHistory {
    /// The last first.
    steps: Vec<ExperimentStep>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A reading of an experiment.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentLook {
    /// Its place: 1, 2, …
    look: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Users seen in more than one arm; they count in none.
    crossed: u64,
    /// The figures, raw and adjusted by the time before, with intervals and p-values; the check of the arms' shares; what
    /// to do.
    #[schema(value_type = Object)]
    reading: Value,
    /// The same in plain English.
    en: Vec<String>,
    /// The same in plain Chinese.
    zh: Vec<String>,
}

impl ExperimentLook {
    fn of(kept: KeptLook) -> Self {
        let mut reading = json!(kept.reading);
        if let Some(fields) = reading.as_object_mut() {
            fields.remove("words");
        }
        Self {
            look: kept.look,
            at: stamp(kept.at_ms),
            crossed: kept.observed.crossed,
            reading,
            en: kept.reading.words.en,
            zh: kept.reading.words.zh,
        }
    }
}

/// A page of readings.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExperimentLooks {
    /// The last first.
    looks: Vec<ExperimentLook>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn definition(asked: ExperimentAsked) -> Result<Definition, Problem> {
    let mut arms = Vec::with_capacity(asked.arms.len());
    for (k, arm) in asked.arms.into_iter().enumerate() {
        let weight = hundredths(&format!("arms[{k}].percent"), arm.percent)?;
        let reference = match arm.version {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let detail = "a version, as recommendations@3";
                let field = format!("arms[{k}].version");
                Problem::new(ErrorKind::InvalidParams, format!("`{field}` must be {detail}"))
                    .field(field, detail)
            })?),
        };
        arms.push(Arm { name: arm.name, weight, reference, settings: arm.settings });
    }
    let mut metrics = Vec::with_capacity(asked.metrics.len());
    for (k, m) in asked.metrics.into_iter().enumerate() {
        let purpose = match m.purpose {
            PurposeWord::Primary => Purpose::Primary,
            PurposeWord::Secondary => Purpose::Secondary,
            PurposeWord::Guard => Purpose::Guard,
        };
        let mut metric = experiments::metric(&m.name, purpose).map_err(|e| {
            let told = e.to_string();
            Problem::of(&e).field(format!("metrics[{k}].name"), told)
        })?;
        metric.margin = m.margin_percent / 100.0;
        metric.cap = m.cap;
        metrics.push(metric);
    }
    Ok(Definition {
        name: asked.name,
        hypothesis: asked.hypothesis,
        layer: asked.layer,
        exposure: hundredths("percent", asked.percent)?,
        arms,
        shadows: Vec::new(),
        metrics,
        method: match asked.judged {
            JudgedWord::Fixed => Method::Fixed { units_per_arm: asked.users },
            JudgedWord::Sequential => Method::Sequential { planned_units: asked.users },
        },
        alpha: asked.alpha,
        correction: tradewind::ops::correction::Correction::Holm,
    })
}

/// Writes a change to the audit log and tells the experiment as it stands.
async fn changed(
    server: &Server,
    caller: &Principal,
    action: &str,
    kept: Kept,
) -> Result<Json<ExperimentTold>, Problem> {
    let object = format!("experiment:{}", kept.definition.name);
    let details = json!({ "revision": kept.revision, "state": kept.state.name() });
    write_down(server, caller, action, &object, details).await?;
    Ok(Json(ExperimentTold::of(kept)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only of this state: `draft`, `running`, `stopped` or `decided`.
    state: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Entries of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// The experiments, by name.
#[utoipa::path(
    get, path = "/v1/experiments", tag = "experiments", params(ListQuery),
    responses((status = 200, description = "A page of experiments", body = ExperimentPage))
)]
async fn list(
    State(server): State<Server>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ExperimentPage>, Problem> {
    let state = query.state.as_deref().map(str::parse::<Stands>).transpose().map_err(|_| {
        let detail = "one of draft, running, stopped and decided";
        Problem::new(ErrorKind::InvalidParams, format!("`state` must be {detail}")).field("state", detail)
    })?;
    let page = Page { after: query.after, limit: query.limit };
    let listed = server.assignments.experiments.list(state, &page).await?;
    let experiments = listed.items.into_iter().map(ExperimentTold::of).collect();
    Ok(Json(ExperimentPage { experiments, next: listed.next }))
}

/// Plan an experiment; nobody is in it yet.
#[utoipa::path(
    post, path = "/v1/experiments", tag = "experiments", request_body = ExperimentAsked,
    responses((status = 201, description = "The draft", body = ExperimentTold))
)]
async fn draft(
    State(server): State<Server>,
    Caller(caller): Caller,
    Body(asked): Body<ExperimentAsked>,
) -> Result<(StatusCode, Json<ExperimentTold>), Problem> {
    let change = change(&caller, asked.reason.clone(), String::new());
    let definition = definition(asked)?;
    for (k, arm) in definition.arms.iter().enumerate() {
        let Some(reference) = &arm.reference else { continue };
        let field = format!("arms[{k}].version");
        let version = server.registry.version(reference).await.map_err(|e| {
            let told = e.to_string();
            Problem::of(&e).field(field.clone(), told)
        })?;
        // Arms deal users, and of all routes only that of recommendations knows its users.
        if follow::route_of(&version) != recommendations::ROUTE {
            let detail = format!("a version of recommendations; {reference} is one of {}", version.kind);
            return Err(Problem::new(ErrorKind::InvalidParams, format!("`{field}` must be {detail}"))
                .field(field, detail));
        }
    }
    let kept = server.assignments.experiments.draft(&definition, &change).await?;
    Ok((StatusCode::CREATED, changed(&server, &caller, "experiments.draft", kept).await?))
}

/// What can be measured.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetricTold {
    /// Its name.
    name: &'static str,
    /// `conversion`, `mean`, `ratio` or `rating`: how it is tested.
    #[schema(value_type = String)]
    kind: Value,
    /// What it is, in English.
    en: &'static str,
    /// What it is, in Chinese.
    zh: &'static str,
}

/// The metrics that experiments can have.
#[utoipa::path(
    get, path = "/v1/experiments/metrics", tag = "experiments",
    responses((status = 200, description = "Every metric", body = Vec<MetricTold>))
)]
async fn metrics() -> Json<Vec<MetricTold>> {
    let told = METRICS.iter().map(|m| MetricTold { name: m.name, kind: json!(m.kind), en: m.en, zh: m.zh });
    Json(told.collect())
}

/// Who is to be shown something.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AssignAsked {
    /// The user, under the name that the events have.
    #[schema(min_length = 1, max_length = 256)]
    user_id: String,
}

/// A user's arm.
#[derive(Serialize, ToSchema)]
pub(crate) struct AssignedArm {
    /// The experiment.
    experiment: String,
    /// The arm.
    arm: String,
    /// The arm's settings.
    #[schema(value_type = Option<Object>)]
    settings: Value,
}

/// A user's arms.
#[derive(Serialize, ToSchema)]
pub(crate) struct AssignedArms {
    /// One for each experiment that the user is in.
    arms: Vec<AssignedArm>,
}

/// Notes that a user was shown what is different in these arms, once each.
pub(super) async fn expose(server: &Server, user: &str, assigned: &[Assigned<'_>]) -> Result<(), Problem> {
    let mut exposures = Vec::new();
    let now_ms = server.access.database().now_ms();
    for a in assigned {
        let place = experiments::place(&a.experiment.name, &a.arm.name);
        let Some(event_id) = server.assignments.unnoted(&place, user) else { continue };
        let event = ShopEvent {
            event_id: event_id.clone(),
            ds: now_ms,
            event: EXPOSURE.to_owned(),
            user_id: Some(user.to_owned()),
            session_id: None,
            product_id: None,
            query: Some(place),
            value: None,
        };
        let payload = serde_json::to_vec(&event)
            .map_err(|_| Problem::new(ErrorKind::Internal, "the exposure cannot be kept"))?;
        exposures.push(Event::new(event_id, user, now_ms, payload));
    }
    if !exposures.is_empty() {
        let Some(log) = &server.domain.log else {
            return Err(Problem::new(
                ErrorKind::Unavailable,
                "exposures cannot be noted: there is no event log",
            ));
        };
        log.append(&exposures).await.map_err(|e| Problem::of(&e).retry_after(Duration::from_secs(2)))?;
        server.assignments.note(exposures.into_iter().map(|e| e.id));
    }
    Ok(())
}

/// Which arms a user is in. The exposure is noted, so ask when the user is shown the difference, not before.
#[utoipa::path(
    post, path = "/v1/experiments/assign", tag = "experiments", request_body = AssignAsked,
    responses((status = 200, description = "The user's arms", body = AssignedArms))
)]
async fn assign(
    State(server): State<Server>,
    Body(asked): Body<AssignAsked>,
) -> Result<Json<AssignedArms>, Problem> {
    let user = asked.user_id;
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains(char::is_control) {
        let detail = format!("1 to {USER_BYTES_MAX} bytes without control characters");
        return Err(Problem::new(ErrorKind::InvalidInput, format!("`user_id` must have {detail}"))
            .field("user_id", detail));
    }
    let assigner = server.assignments.assigner().await?;
    let assigned = assigner.assign(&user);
    expose(&server, &user, &assigned).await?;
    let arms = assigned
        .into_iter()
        .map(|a| AssignedArm {
            experiment: a.experiment.name.clone(),
            arm: a.arm.name.clone(),
            settings: a.arm.settings.clone(),
        })
        .collect();
    Ok(Json(AssignedArms { arms }))
}

/// One experiment.
#[utoipa::path(
    get, path = "/v1/experiments/{experiment}", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name")),
    responses((status = 200, description = "The experiment", body = ExperimentTold))
)]
async fn show(
    State(server): State<Server>,
    Path(name): Path<String>,
) -> Result<Json<ExperimentTold>, Problem> {
    Ok(Json(ExperimentTold::of(server.assignments.experiments.get(&name).await?)))
}

/// What was done to an experiment, by whom and why.
#[utoipa::path(
    get, path = "/v1/experiments/{experiment}/history", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name"), PageQuery),
    responses((status = 200, description = "A page of its life", body = ExperimentHistory))
)]
async fn history(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ExperimentHistory>, Problem> {
    let listed = server.assignments.experiments.history(&name, &query.into()).await?;
    let steps = listed.items.into_iter().map(ExperimentStep::of).collect();
    Ok(Json(ExperimentHistory { steps, next: listed.next }))
}

/// The readings of an experiment.
#[utoipa::path(
    get, path = "/v1/experiments/{experiment}/looks", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name"), PageQuery),
    responses((status = 200, description = "A page of readings", body = ExperimentLooks))
)]
async fn looks(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ExperimentLooks>, Problem> {
    let listed = server.assignments.experiments.looks(&name, &query.into()).await?;
    let looks = listed.items.into_iter().map(ExperimentLook::of).collect();
    Ok(Json(ExperimentLooks { looks, next: listed.next }))
}

/// Read an experiment now: count what its users did, keep the reading, stop where a guard is broken.
#[utoipa::path(
    post, path = "/v1/experiments/{experiment}/looks", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name")),
    responses((status = 201, description = "The reading", body = ExperimentLook))
)]
async fn look(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<ExperimentLook>), Problem> {
    let experiments = &server.assignments.experiments;
    let kept = experiments.get(&name).await?;
    let (shop, experiment) = (server.domain.shop()?, kept.clone());
    let observed = server.domain.work(move |run| experiments::observe(run, &shop, &experiment)).await?;
    let look = experiments.look(&tradewind::Run::new(0), &name, &observed).await?;
    let after = experiments.get(&name).await?;
    if after.state != kept.state {
        let _ = changed(&server, &caller, "experiments.guarded", after).await?;
    }
    Ok((StatusCode::CREATED, Json(ExperimentLook::of(look))))
}

/// Why an experiment is changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExperimentReason {
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
    /// The revision that must stand now.
    expect: Option<u64>,
}

/// Deal users to the arms from now on.
#[utoipa::path(
    post, path = "/v1/experiments/{experiment}/start", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name")),
    request_body = ExperimentReason,
    responses((status = 200, description = "The experiment", body = ExperimentTold))
)]
async fn start(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    Body(asked): Body<ExperimentReason>,
) -> Result<Json<ExperimentTold>, Problem> {
    let change = change(&caller, asked.reason, String::new());
    let kept = server.assignments.experiments.start(&name, asked.expect, &change).await?;
    changed(&server, &caller, "experiments.start", kept).await
}

/// Which share of the layer an experiment is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExperimentRamp {
    /// The share of the layer's users in percent.
    #[schema(minimum = 0, maximum = 100)]
    percent: f64,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
    /// The revision that must stand now.
    expect: Option<u64>,
}

/// Give an experiment a larger or smaller share of its layer; who is in stays while it grows.
#[utoipa::path(
    post, path = "/v1/experiments/{experiment}/ramp", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name")),
    request_body = ExperimentRamp,
    responses((status = 200, description = "The experiment", body = ExperimentTold))
)]
async fn ramp(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    Body(asked): Body<ExperimentRamp>,
) -> Result<Json<ExperimentTold>, Problem> {
    let exposure = hundredths("percent", asked.percent)?;
    let change = change(&caller, asked.reason, String::new());
    let kept = server.assignments.experiments.ramp(&name, exposure, asked.expect, &change).await?;
    changed(&server, &caller, "experiments.ramp", kept).await
}

/// Deal nobody to an experiment any more.
#[utoipa::path(
    post, path = "/v1/experiments/{experiment}/stop", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name")),
    request_body = ExperimentReason,
    responses((status = 200, description = "The experiment", body = ExperimentTold))
)]
async fn stop(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    Body(asked): Body<ExperimentReason>,
) -> Result<Json<ExperimentTold>, Problem> {
    let change = change(&caller, asked.reason, String::new());
    let kept = server.assignments.experiments.stop(&name, asked.expect, &change).await?;
    changed(&server, &caller, "experiments.stop", kept).await
}

/// What became of an experiment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExperimentDecision {
    /// The arm that is taken; left out: none.
    arm: Option<String>,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
    /// The revision that must stand now.
    expect: Option<u64>,
}

/// Settle what became of a stopped experiment.
#[utoipa::path(
    post, path = "/v1/experiments/{experiment}/decide", tag = "experiments",
    params(("experiment" = String, Path, description = "The experiment's name")),
    request_body = ExperimentDecision,
    responses((status = 200, description = "The experiment", body = ExperimentTold))
)]
async fn decide(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    Body(asked): Body<ExperimentDecision>,
) -> Result<Json<ExperimentTold>, Problem> {
    let change = change(&caller, asked.reason, String::new());
    let experiments = &server.assignments.experiments;
    let kept = experiments.decide(&name, asked.arm.as_deref(), asked.expect, &change).await?;
    changed(&server, &caller, "experiments.decide", kept).await
}
