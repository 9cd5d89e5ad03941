//! What the server is and who the caller is: `/v1/version`, `/v1/me`, `/v1/openapi.json`, `/docs`, `/metrics`.

use crate::serve::answer;
use crate::serve::door::{Caller, Door};
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::stamp;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use tradewind::ops::access::{Role, Scope};
use utoipa::ToSchema;
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, None);
    routes
        .at(viewer, routes!(version))
        .at(viewer, routes!(me))
        .at(viewer, routes!(openapi))
        .at(Door::Page(Role::Viewer, None), routes!(docs))
        .at(Door::Key(Role::Viewer, Some(Scope::Monitor)), routes!(metrics))
}

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    /// The program.
    #[schema(example = "tradewind")]
    name: String,
    /// Its version.
    version: String,
}

/// What the server is.
#[utoipa::path(get, path = "/v1/version", tag = "about", responses((status = 200, description = "This", body = Version)))]
async fn version() -> Json<Version> {
    Json(Version { name: "tradewind".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The key's id.
    id: String,
    /// What the key is for.
    name: String,
    /// Its role: `viewer`, `analyst`, `operator` or `admin`.
    role: String,
    /// Its scopes; `*` stands for all.
    scopes: Vec<String>,
    /// When it ends (RFC 3339).
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// Who the caller is.
#[utoipa::path(get, path = "/v1/me", tag = "about", responses((status = 200, description = "This", body = Me)))]
async fn me(Caller(caller): Caller) -> Json<Me> {
    Json(Me {
        id: caller.key_id.to_string(),
        name: caller.name.to_string(),
        role: caller.role.name().to_owned(),
        scopes: caller.scopes.names().into_iter().map(str::to_owned).collect(),
        expires_at: caller.expires_ms.map(stamp),
    })
}

/// This description.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "about",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn openapi(State(server): State<Server>, headers: HeaderMap) -> Response {
    answer::cached(&headers, "application/json", server.openapi.clone().into_bytes(), 300)
}

/// The description as a page.
#[utoipa::path(
    get, path = "/docs", tag = "about",
    responses((status = 200, description = "A page", content_type = "text/html", body = String))
)]
async fn docs(State(server): State<Server>) -> Response {
    let nonce = nonce();
    // Inside a script element only `<` could end it.
    let json = server.openapi.replace('<', "\\u003c");
    let page = DOCS.replace("__NONCE__", &nonce).replace("__OPENAPI__", &json);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'none'"
    );
    let mut response = Html(page).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

const DOCS: &str = include_str!("../docs.html");

/// A word that nobody can know beforehand, so that only this page's own script runs in it.
pub(crate) fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8))
}

/// Counters and times for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "monitor",
    responses((status = 200, description = "The text form of Prometheus", content_type = "text/plain", body = String))
)]
async fn metrics(State(server): State<Server>) -> Response {
    exposition(&server)
}

/// The metrics as Prometheus reads them.
pub(crate) fn exposition(server: &Server) -> Response {
    let text = server.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_the_description_and_nothing_from_outside() {
        assert_eq!(DOCS.matches("__OPENAPI__").count(), 1);
        assert_eq!(DOCS.matches("<script nonce=\"__NONCE__\"").count(), DOCS.matches("<script").count());
        assert_ne!(nonce(), nonce());
        for outside in ["http://", "https://", "src=", "href=\"//", "@import", "innerHTML"] {
            assert!(!DOCS.contains(outside), "{outside}");
        }
    }
}
