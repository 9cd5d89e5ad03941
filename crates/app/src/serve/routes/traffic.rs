//! `/v1/traffic`: which versions answer a route, for which share of the users, and which are asked in their shadow.
//!
//! A route without a split is answered by its champion. Names of routes with a slash, as `learn/churn`, are sent with
//! `%2F`. Each change is a line of the split's own history and a row of the audit log; servers follow within seconds.

use super::wire::{PageQuery, hundredths};
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
use tradewind::ErrorKind;
use tradewind::ops::access::{Principal, Role, Scope};
use tradewind::ops::registry::Reference;
use tradewind::ops::traffic::{Arm, Plan, Shadow, Split, SplitChange};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Models));
    let operator = Door::Key(Role::Operator, Some(Scope::Models));
    routes
        .at(viewer, routes!(list))
        .at(viewer, routes!(show))
        .at(operator, routes!(set, remove))
        .at(viewer, routes!(history))
        .at(operator, routes!(ramp))
        .at(operator, routes!(roll_back))
}

/// A version that answers a share of the users.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrafficArm {
    /// Its name in this split, by which it keeps its users when its share or version changes.
    #[schema(pattern = "^[a-z][a-z0-9_-]{0,62}$", example = "canary")]
    name: String,
    /// The version, as `trends@7`, `trends@champion` or `trends@latest`.
    #[schema(example = "trends@7")]
    version: String,
    /// Its share of the users in percent, to a hundredth; the shares of all arms sum to 100.
    #[schema(minimum = 0, maximum = 100, example = 5.0)]
    percent: f64,
}

/// What a split shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SplitAsked {
    /// Who answers.
    #[schema(min_items = 1, max_items = 64)]
    arms: Vec<TrafficArm>,
    /// Who is asked as well; what they say is measured and thrown away.
    #[serde(default)]
    #[schema(max_items = 64)]
    shadows: Vec<TrafficArm>,
    /// What the hash of users is keyed by; left out: as it is. Another one deals all users anew.
    #[schema(min_length = 1, max_length = 128)]
    salt: Option<String>,
    /// The revision that must stand now, 0 for a route that never had a split: otherwise nothing changes.
    expect: Option<u64>,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
    /// Who approved it or under which ticket.
    #[serde(default)]
    #[schema(max_length = 2000)]
    approval: String,
}

/// The split of a route.
#[derive(Serialize, ToSchema)]
pub(crate) struct TrafficSplit {
    /// The route, as `trends` or `learn/churn`.
    route: String,
    /// Its revision: 1, 2, … without holes.
    revision: u64,
    /// Who answers.
    arms: Vec<TrafficArm>,
    /// Who is asked as well.
    shadows: Vec<TrafficArm>,
}

impl TrafficSplit {
    pub(crate) fn of(split: &Split) -> Self {
        let percent = |hundredths: u32| f64::from(hundredths) / 100.0;
        Self {
            route: split.route().to_owned(),
            revision: split.revision(),
            arms: split
                .arms()
                .iter()
                .map(|a| TrafficArm {
                    name: a.name.clone(),
                    version: a.reference.to_string(),
                    percent: percent(a.weight),
                })
                .collect(),
            shadows: split
                .shadows()
                .iter()
                .map(|s| TrafficArm {
                    name: s.name.clone(),
                    version: s.reference.to_string(),
                    percent: percent(s.share),
                })
                .collect(),
        }
    }
}

/// The splits of all routes that have one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Splits {
    /// By route.
    splits: Vec<TrafficSplit>,
}

/// A line of a route's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct SplitMoved {
    /// Its place in the history.
    revision: u64,
    /// The split from then on; none where it was taken away.
    split: Option<TrafficSplit>,
    /// Who changed it.
    actor: String,
    /// In which role.
    role: String,
    /// Who approved it.
    approval: String,
    /// Why.
    reason: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl SplitMoved {
    fn of(line: SplitChange) -> Self {
        Self {
            revision: line.revision,
            split: line.split.as_ref().map(TrafficSplit::of),
            actor: line.change.actor,
            role: line.change.role,
            approval: line.change.approval,
            reason: line.change.reason,
            at: stamp(line.at_ms),
        }
    }
}

/// A page of a route's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct SplitHistory {
    /// The last change first.
    changes: Vec<SplitMoved>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn reference(field: &str, text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|e: tradewind::ops::Error| {
        let told = e.to_string();
        Problem::of(&e).field(field, told)
    })
}

fn plan(asked: &SplitAsked) -> Result<Plan, Problem> {
    let mut plan = Plan { salt: asked.salt.clone(), ..Plan::default() };
    for (k, arm) in asked.arms.iter().enumerate() {
        plan.arms.push(Arm {
            name: arm.name.clone(),
            reference: reference(&format!("arms[{k}].version"), &arm.version)?,
            weight: hundredths(&format!("arms[{k}].percent"), arm.percent)?,
        });
    }
    for (k, shadow) in asked.shadows.iter().enumerate() {
        plan.shadows.push(Shadow {
            name: shadow.name.clone(),
            reference: reference(&format!("shadows[{k}].version"), &shadow.version)?,
            share: hundredths(&format!("shadows[{k}].percent"), shadow.percent)?,
        });
    }
    Ok(plan)
}

fn object(route: &str) -> String {
    format!("route:{route}")
}

async fn changed(
    server: &Server,
    caller: &Principal,
    action: &str,
    split: Split,
    reason: String,
) -> Result<Json<TrafficSplit>, Problem> {
    let told = TrafficSplit::of(&split);
    let arms: Vec<Value> = told
        .arms
        .iter()
        .map(|a| json!({ "name": a.name, "version": a.version, "percent": a.percent }))
        .collect();
    let details = json!({ "revision": told.revision, "arms": arms, "reason": reason });
    write_down(server, caller, action, &object(split.route()), details).await?;
    Ok(Json(told))
}

/// The splits of all routes that have one.
#[utoipa::path(
    get, path = "/v1/traffic", tag = "traffic",
    responses((status = 200, description = "The splits, by route", body = Splits))
)]
async fn list(State(server): State<Server>) -> Result<Json<Splits>, Problem> {
    let splits = server.traffic.splits().await?;
    Ok(Json(Splits { splits: splits.iter().map(TrafficSplit::of).collect() }))
}

/// The split of a route.
#[utoipa::path(
    get, path = "/v1/traffic/{route}", tag = "traffic",
    params(("route" = String, Path, description = "The route, as `trends` or `learn%2Fchurn`")),
    responses((status = 200, description = "The split", body = TrafficSplit))
)]
async fn show(
    State(server): State<Server>,
    Path(route): Path<String>,
) -> Result<Json<TrafficSplit>, Problem> {
    match server.traffic.split(&route).await? {
        Some(split) => Ok(Json(TrafficSplit::of(&split))),
        None => Err(Problem::new(ErrorKind::NotFound, "this route has no split: its champion answers")
            .hint("PUT one, or see GET /v1/traffic for those that have")),
    }
}

/// Set the split of a route. As few users as can be change their arm.
#[utoipa::path(
    put, path = "/v1/traffic/{route}", tag = "traffic",
    params(("route" = String, Path, description = "The route, as `trends` or `learn%2Fchurn`")),
    request_body = SplitAsked,
    responses((status = 200, description = "The split as it stands now", body = TrafficSplit))
)]
async fn set(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(route): Path<String>,
    Body(asked): Body<SplitAsked>,
) -> Result<Json<TrafficSplit>, Problem> {
    let plan = plan(&asked)?;
    let change = change(&caller, asked.reason.clone(), asked.approval);
    let split = server.traffic.set(&route, &plan, asked.expect, &change).await?;
    changed(&server, &caller, "traffic.set", split, asked.reason).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Why.
    reason: String,
    /// The revision that must stand now.
    expect: Option<u64>,
}

/// Take the split of a route away: its champion answers everybody again.
#[utoipa::path(
    delete, path = "/v1/traffic/{route}", tag = "traffic",
    params(("route" = String, Path, description = "The route"), RemoveQuery),
    responses((status = 204, description = "There is no split any longer"))
)]
async fn remove(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(route): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    let change = change(&caller, query.reason.clone(), String::new());
    server.traffic.remove(&route, query.expect, &change).await?;
    write_down(&server, &caller, "traffic.remove", &object(&route), json!({ "reason": query.reason }))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who split the route how, when and why.
#[utoipa::path(
    get, path = "/v1/traffic/{route}/history", tag = "traffic",
    params(("route" = String, Path, description = "The route"), PageQuery),
    responses((status = 200, description = "A page of the history", body = SplitHistory))
)]
async fn history(
    State(server): State<Server>,
    Path(route): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<SplitHistory>, Problem> {
    let listed = server.traffic.history(&route, &query.into()).await?;
    let changes = listed.items.into_iter().map(SplitMoved::of).collect();
    Ok(Json(SplitHistory { changes, next: listed.next }))
}

/// Which share an arm is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ramp {
    /// The arm.
    arm: String,
    /// Its new share in percent; the other arms share the rest as they share it now.
    #[schema(minimum = 0, maximum = 100)]
    percent: f64,
    /// The revision that must stand now.
    expect: Option<u64>,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

/// Give an arm a larger or smaller share.
#[utoipa::path(
    post, path = "/v1/traffic/{route}/ramp", tag = "traffic",
    params(("route" = String, Path, description = "The route")),
    request_body = Ramp,
    responses((status = 200, description = "The split as it stands now", body = TrafficSplit))
)]
async fn ramp(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(route): Path<String>,
    Body(asked): Body<Ramp>,
) -> Result<Json<TrafficSplit>, Problem> {
    let weight = hundredths("percent", asked.percent)?;
    let change = change(&caller, asked.reason.clone(), String::new());
    let split = server.traffic.ramp(&route, &asked.arm, weight, asked.expect, &change).await?;
    changed(&server, &caller, "traffic.ramp", split, asked.reason).await
}

/// Which split is to come back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SplitRollBack {
    /// The revision whose split comes back, with the same users in the same arms.
    revision: u64,
    /// The revision that must stand now.
    expect: Option<u64>,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
}

/// Put an earlier split back.
#[utoipa::path(
    post, path = "/v1/traffic/{route}/rollback", tag = "traffic",
    params(("route" = String, Path, description = "The route")),
    request_body = SplitRollBack,
    responses((status = 200, description = "The split as it stands now", body = TrafficSplit))
)]
async fn roll_back(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(route): Path<String>,
    Body(asked): Body<SplitRollBack>,
) -> Result<Json<TrafficSplit>, Problem> {
    let change = change(&caller, asked.reason.clone(), String::new());
    let split = server.traffic.roll_back(&route, asked.revision, asked.expect, &change).await?;
    changed(&server, &caller, "traffic.rollback", split, asked.reason).await
}
