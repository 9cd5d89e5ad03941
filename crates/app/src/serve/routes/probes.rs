//! `/livez`, `/readyz`, `/startupz` (and `/ping` for SageMaker): the only routes without a key. They tell no more than
//! whether the server works.

use crate::serve::door::Door;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub(super) fn add(routes: Routes, sagemaker: bool) -> Routes {
    let routes = routes
        .at(Door::Open, routes!(livez))
        .at(Door::Open, routes!(readyz))
        .at(Door::Open, routes!(startupz));
    if sagemaker { routes.at(Door::Open, routes!(ping)) } else { routes }
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `unavailable`.
    status: String,
    /// Each condition and whether it holds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    conditions: BTreeMap<String, bool>,
}

fn health(good: bool, conditions: BTreeMap<String, bool>) -> (StatusCode, Json<Health>) {
    let (code, status) = match good {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    (code, Json(Health { status: status.to_owned(), conditions }))
}

fn conditions(server: &Server) -> BTreeMap<String, bool> {
    server.readiness.conditions().into_iter().map(|c| (c.name.to_owned(), c.holds)).collect()
}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "probes", responses((status = 200, description = "It answers", body = Health)))]
async fn livez() -> (StatusCode, Json<Health>) {
    health(true, BTreeMap::new())
}

/// Whether requests should be sent here.
#[utoipa::path(
    get, path = "/readyz", tag = "probes",
    responses((status = 200, description = "Yes", body = Health), (status = 503, description = "No", body = Health))
)]
async fn readyz(State(server): State<Server>) -> (StatusCode, Json<Health>) {
    health(server.readiness.is_ready(), conditions(&server))
}

/// Whether the server has been ready once.
#[utoipa::path(
    get, path = "/startupz", tag = "probes",
    responses((status = 200, description = "Yes", body = Health), (status = 503, description = "No", body = Health))
)]
async fn startupz(State(server): State<Server>) -> (StatusCode, Json<Health>) {
    health(server.readiness.has_started(), conditions(&server))
}

/// Whether requests should be sent here, as SageMaker asks it.
#[utoipa::path(
    get, path = "/ping", tag = "probes",
    responses((status = 200, description = "Yes", body = Health), (status = 503, description = "No", body = Health))
)]
async fn ping(State(server): State<Server>) -> (StatusCode, Json<Health>) {
    health(server.readiness.is_ready(), BTreeMap::new())
}
