//! `/v1/approvals`: challengers that a person is asked about.

use crate::serve::changes::{change, write_down};
use crate::serve::door::{Caller, Door};
use crate::serve::extract::{Body, Path, Query};
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::stamp;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tradewind::ops::access::{Principal, Role, Scope};
use tradewind::ops::monitor::gate::{Gate, Question};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Models));
    let operator = Door::Key(Role::Operator, Some(Scope::Models));
    routes.at(viewer, routes!(list)).at(operator, routes!(approve)).at(operator, routes!(reject))
}

/// A challenger that a person is asked about.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApprovalShown {
    /// Its id.
    id: String,
    /// The model.
    model: String,
    /// The version that answers; 0 where none does.
    champion: u64,
    /// The version that may take its place.
    challenger: u64,
    /// `pending`, `approved`, `rejected` or `replaced` (by a later question).
    #[schema(value_type = String)]
    state: Value,
    /// What the comparison says: verdict, pairs, improvement with its interval, p.
    #[schema(value_type = Object)]
    judgement: Value,
    /// When it was asked.
    #[schema(format = DateTime)]
    created: String,
    /// When it was answered.
    #[schema(format = DateTime)]
    decided: Option<String>,
    /// Who answered.
    actor: Option<String>,
    /// Why.
    reason: Option<String>,
}

impl ApprovalShown {
    fn of(q: Question) -> Self {
        let some = |text: String| Some(text).filter(|t| !t.is_empty());
        Self {
            id: q.id,
            model: q.model,
            champion: q.champion,
            challenger: q.challenger,
            state: json!(q.state),
            judgement: json!(q.judgement),
            created: stamp(q.created_ms),
            decided: q.decided_ms.map(stamp),
            actor: some(q.actor),
            reason: some(q.reason),
        }
    }
}

/// Questions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Approvals {
    /// The last first, 1,000 at most.
    items: Vec<ApprovalShown>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ApprovalsQuery {
    /// Only those that nobody has answered.
    #[serde(default)]
    #[param(default = false)]
    open: bool,
}

/// Challengers that a person is or was asked about, with what the comparison says.
#[utoipa::path(
    get, path = "/v1/approvals", tag = "models", params(ApprovalsQuery),
    responses((status = 200, description = "Questions, the last first", body = Approvals))
)]
async fn list(
    State(server): State<Server>,
    Query(asked): Query<ApprovalsQuery>,
) -> Result<Json<Approvals>, Problem> {
    let items = Gate::open(server.registry.clone()).questions(None, asked.open).await?;
    Ok(Json(Approvals { items: items.into_iter().map(ApprovalShown::of).collect() }))
}

/// An answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApprovalAnswer {
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

/// Writes an answer down, and shows the question as it stands.
async fn answered(
    server: &Server,
    caller: &Principal,
    action: &str,
    approval: &str,
    reason: &str,
) -> Result<Json<ApprovalShown>, Problem> {
    let details = json!({ "reason": reason });
    write_down(server, caller, action, &format!("approval:{approval}"), details).await?;
    Ok(Json(ApprovalShown::of(Gate::open(server.registry.clone()).question(approval).await?)))
}

/// Agree: the challenger becomes champion if the champion is still the one that it was compared with.
#[utoipa::path(
    post, path = "/v1/approvals/{approval}/approve", tag = "models",
    params(("approval" = String, Path, description = "The question's id")), request_body = ApprovalAnswer,
    responses((status = 200, description = "The question, answered", body = ApprovalShown))
)]
async fn approve(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(approval): Path<String>,
    Body(asked): Body<ApprovalAnswer>,
) -> Result<Json<ApprovalShown>, Problem> {
    let why = change(&caller, asked.reason, String::new());
    Gate::open(server.registry.clone()).approve(&approval, &why).await?;
    answered(&server, &caller, "models.approve", &approval, &why.reason).await
}

/// Disagree: the champion stays.
#[utoipa::path(
    post, path = "/v1/approvals/{approval}/reject", tag = "models",
    params(("approval" = String, Path, description = "The question's id")), request_body = ApprovalAnswer,
    responses((status = 200, description = "The question, answered", body = ApprovalShown))
)]
async fn reject(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(approval): Path<String>,
    Body(asked): Body<ApprovalAnswer>,
) -> Result<Json<ApprovalShown>, Problem> {
    let why = change(&caller, asked.reason, String::new());
    Gate::open(server.registry.clone()).reject(&approval, &why).await?;
    answered(&server, &caller, "models.reject", &approval, &why.reason).await
}
