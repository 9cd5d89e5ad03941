//! `/v1/alerts`, `/v1/retrains`: what needs attention, who silenced what, and what was trained anew and why.

use crate::serve::changes::{change, write_down};
use crate::serve::door::{Caller, Door};
use crate::serve::extract::{Body, Path, Query};
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::stamp;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tradewind::ops::access::{Role, Scope};
use tradewind::ops::monitor::alerts::{AlertState, Alerts, Line, Rule, Silence};
use tradewind::ops::monitor::triggers::{Triggered, Triggers};
use tradewind::ops::registry::Page;
use tradewind::{ErrorKind, watching};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// How far back the log of alerts is told.
const LOG_MS: i64 = 90 * 86_400_000;
/// Lines of it at most.
const LINES_MAX: usize = 500;
const HOUR_MS: f64 = 3_600_000.0;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Monitor));
    let operator = Door::Key(Role::Operator, Some(Scope::Monitor));
    routes
        .at(viewer, routes!(list))
        .at(viewer, routes!(silences))
        .at(operator, routes!(silence))
        .at(operator, routes!(lift))
        .at(viewer, routes!(retrains))
}

fn alerts(server: &Server) -> Result<Alerts, Problem> {
    let settings = watching::alert_settings(&server.domain.shop()?.settings().monitor);
    Ok(Alerts::open(server.registry.database().clone(), settings)?)
}

/// An alert that is on, or about to be.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertShown {
    /// The rule: `forecast_alarm`, `forecast_error`, `underfitted`, `drift`, `data_faults`.
    rule: String,
    /// What it is about: a model or a table.
    subject: String,
    /// `pending` or `firing`.
    #[schema(value_type = String)]
    state: Value,
    /// `info`, `warning` or `critical`.
    #[schema(value_type = String)]
    severity: Value,
    /// The newest value of what the rule looks at.
    value: Option<f64>,
    /// More about it.
    details: String,
    /// What it says, in English.
    text: String,
    /// What it says, in Chinese.
    text_zh: String,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// When it was last looked at.
    #[schema(format = DateTime)]
    seen: String,
}

/// What began, went on or ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertLine {
    /// `firing`, `still` or `resolved`.
    #[schema(value_type = String)]
    kind: Value,
    /// The rule.
    rule: String,
    /// What it is about.
    subject: String,
    /// `info`, `warning` or `critical`.
    #[schema(value_type = String)]
    severity: Value,
    /// The value then.
    value: Option<f64>,
    /// What it says, in English.
    text: String,
    /// What it says, in Chinese.
    text_zh: String,
    /// More about it.
    details: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl AlertLine {
    fn of(line: Line) -> Self {
        Self {
            kind: json!(line.kind),
            rule: line.rule,
            subject: line.subject,
            severity: json!(line.severity),
            value: Some(line.value).filter(|v| v.is_finite()),
            text: line.text,
            text_zh: line.text_zh,
            details: line.details,
            at: stamp(line.at_ms),
        }
    }
}

/// What needs attention, and what did.
#[derive(Serialize, ToSchema)]
pub(crate) struct AlertsAnswer {
    /// Alerts that are on or about to be.
    active: Vec<AlertShown>,
    /// What began and ended in the last 90 days, the newest first, 500 lines at most.
    log: Vec<AlertLine>,
}

/// What needs attention now, and what began and ended in the last 90 days.
#[utoipa::path(
    get, path = "/v1/alerts", tag = "monitor",
    responses((status = 200, description = "Alerts", body = AlertsAnswer))
)]
async fn list(State(server): State<Server>) -> Result<Json<AlertsAnswer>, Problem> {
    let alerts = alerts(&server)?;
    let rules = &alerts.settings().rules;
    let rule = |name: &str| rules.iter().find(|r| r.name == name);
    let text = |name: &str, of: fn(&Rule) -> &String| rule(name).map(of).cloned().unwrap_or_default();
    let mut active: Vec<AlertShown> = alerts
        .active()
        .await?
        .into_iter()
        .filter(|a| a.state != AlertState::Quiet)
        .map(|a| AlertShown {
            state: json!(a.state),
            severity: json!(rule(&a.rule).map(|r| r.severity)),
            value: Some(a.value).filter(|v| v.is_finite()),
            details: a.details,
            text: text(&a.rule, |r| &r.text),
            text_zh: text(&a.rule, |r| &r.text_zh),
            since: stamp(a.since_ms),
            seen: stamp(a.seen_ms),
            rule: a.rule,
            subject: a.subject,
        })
        .collect();
    active.sort_by(|a, b| (&a.rule, &a.subject).cmp(&(&b.rule, &b.subject)));
    let since = server.registry.database().now_ms() - LOG_MS;
    let mut lines = alerts.log(since).await?;
    lines.sort_by_key(|line| std::cmp::Reverse(line.at_ms));
    lines.truncate(LINES_MAX);
    Ok(Json(AlertsAnswer { active, log: lines.into_iter().map(AlertLine::of).collect() }))
}

/// Alerts that are not told for a while.
#[derive(Serialize, ToSchema)]
pub(crate) struct SilenceShown {
    /// Its id.
    id: String,
    /// The rule, where `*` stands for anything.
    rule: String,
    /// What it is about, where `*` stands for anything.
    subject: String,
    /// From when.
    #[schema(format = DateTime)]
    from: String,
    /// Until when.
    #[schema(format = DateTime)]
    until: String,
    /// Who silenced it.
    actor: String,
    /// Why.
    reason: String,
}

impl SilenceShown {
    fn of(s: Silence) -> Self {
        Self {
            id: s.id,
            rule: s.rule,
            subject: s.subject,
            from: stamp(s.from_ms),
            until: stamp(s.until_ms),
            actor: s.actor,
            reason: s.reason,
        }
    }
}

/// Silences.
#[derive(Serialize, ToSchema)]
pub(crate) struct Silences {
    /// Those that stand.
    items: Vec<SilenceShown>,
}

/// The silences that stand.
#[utoipa::path(
    get, path = "/v1/alerts/silences", tag = "monitor",
    responses((status = 200, description = "Silences", body = Silences))
)]
async fn silences(State(server): State<Server>) -> Result<Json<Silences>, Problem> {
    let items = alerts(&server)?.silences().await?;
    Ok(Json(Silences { items: items.into_iter().map(SilenceShown::of).collect() }))
}

/// What is not to be told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SilenceAsked {
    /// The rule, where `*` stands for anything.
    #[schema(min_length = 1, max_length = 180, example = "drift")]
    rule: String,
    /// What it is about, where `*` stands for anything.
    #[schema(min_length = 1, max_length = 180, example = "*")]
    subject: String,
    /// For how long, in hours from now.
    #[schema(exclusive_minimum = 0, maximum = 9600, example = 24.0)]
    hours: f64,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

/// Keep alerts from being told for a while; they are still watched.
#[utoipa::path(
    post, path = "/v1/alerts/silences", tag = "monitor", request_body = SilenceAsked,
    responses((status = 201, description = "The silence", body = SilenceShown))
)]
async fn silence(
    State(server): State<Server>,
    Caller(caller): Caller,
    Body(asked): Body<SilenceAsked>,
) -> Result<(StatusCode, Json<SilenceShown>), Problem> {
    if !(asked.hours > 0.0 && asked.hours <= 9_600.0) {
        let text = "`hours` must be above 0 and at most 9600";
        return Err(Problem::new(ErrorKind::InvalidParams, text).field("hours", "above 0, at most 9600"));
    }
    let until = server.registry.database().now_ms() + (asked.hours * HOUR_MS) as i64;
    let why = change(&caller, asked.reason.clone(), String::new());
    let made = alerts(&server)?.silence(&asked.rule, &asked.subject, until, &why).await?;
    let details =
        json!({ "rule": made.rule, "subject": made.subject, "hours": asked.hours, "reason": made.reason });
    write_down(&server, &caller, "alerts.silence", &format!("silence:{}", made.id), details).await?;
    Ok((StatusCode::CREATED, Json(SilenceShown::of(made))))
}

/// End a silence before its time.
#[utoipa::path(
    delete, path = "/v1/alerts/silences/{silence}", tag = "monitor",
    params(("silence" = String, Path, description = "Its id")),
    responses((status = 204, description = "Ended"))
)]
async fn lift(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(silence): Path<String>,
) -> Result<StatusCode, Problem> {
    alerts(&server)?.lift_silence(&silence).await?;
    write_down(&server, &caller, "alerts.lift", &format!("silence:{silence}"), json!({})).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RetrainsQuery {
    /// Entries of the answer.
    #[serde(default = "usual_limit")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
}

fn usual_limit() -> u32 {
    50
}

/// A training that was asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetrainShown {
    /// The model that asked for it.
    model: String,
    /// Its number.
    sequence: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Why: each with its `because` (`schedule`, `drift`, `error`, `alarm` or `volume`) and figures.
    #[schema(value_type = Vec<Object>)]
    because: Value,
}

impl RetrainShown {
    fn of(model: &str, t: Triggered) -> Self {
        Self { model: model.to_owned(), sequence: t.sequence, at: stamp(t.at_ms), because: json!(t.because) }
    }
}

/// Trainings that were asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct Retrains {
    /// The newest first.
    items: Vec<RetrainShown>,
}

/// When models were trained anew because of what was seen, and why.
#[utoipa::path(
    get, path = "/v1/retrains", tag = "monitor", params(RetrainsQuery),
    responses((status = 200, description = "Trainings, the newest first", body = Retrains))
)]
async fn retrains(
    State(server): State<Server>,
    Query(asked): Query<RetrainsQuery>,
) -> Result<Json<Retrains>, Problem> {
    let page = Page { after: None, limit: asked.limit };
    let listed = Triggers::open(server.registry.database().clone()).history(watching::MODEL, &page).await?;
    let items = listed.items.into_iter().map(|t| RetrainShown::of(watching::MODEL, t)).collect();
    Ok(Json(Retrains { items }))
}
