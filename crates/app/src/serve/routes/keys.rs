//! `/v1/keys`: keys made, listed, revoked, replaced by an admin.

use crate::serve::door::{Caller, Door};
use crate::serve::extract::{Body, Path, Query};
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::{parse, stamp};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tradewind::ErrorKind;
use tradewind::ops::access::{KeyRecord, NewKey, Role, Scope, Scopes};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let admin = Door::Key(Role::Admin, Some(Scope::Keys));
    routes.at(admin, routes!(list, create)).at(admin, routes!(show, revoke)).at(admin, routes!(rotate))
}

/// The role of a key; each may do all that the ones before it may.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleWord {
    /// Asks for answers.
    Viewer,
    /// Also sends data in.
    Analyst,
    /// Also changes what runs.
    Operator,
    /// Also gives and takes keys.
    Admin,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Analyst => Self::Analyst,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
        }
    }
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Analyst => Self::Analyst,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    /// Its id, the middle part of its text.
    id: String,
    /// What it is for.
    name: String,
    /// How much it may do.
    role: RoleWord,
    /// For which routes; `*` stands for all.
    scopes: Vec<String>,
    /// `active`, `expired` or `revoked`.
    state: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// Who made it.
    created_by: String,
    /// When it ends.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// The id of the key that takes its place.
    successor: Option<String>,
    /// When it was last used, to about ten minutes.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

impl Key {
    pub(crate) fn of(key: KeyRecord, now_ms: i64) -> Self {
        Self {
            state: key.state(now_ms).name().to_owned(),
            role: key.role.into(),
            scopes: key.scopes.names().into_iter().map(str::to_owned).collect(),
            created_at: stamp(key.created_ms),
            created_by: key.created_by,
            expires_at: key.expires_ms.map(stamp),
            revoked_at: key.revoked_ms.map(stamp),
            successor: key.successor,
            last_used_at: key.last_used_ms.map(stamp),
            id: key.id,
            name: key.name,
        }
    }
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyPage {
    /// Oldest first.
    keys: Vec<Key>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next` of the page before.
    after: Option<String>,
    /// Keys of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
}

fn usual_page() -> usize {
    100
}

/// The keys, those that no longer open anything included.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", params(ListQuery),
    responses((status = 200, description = "A page of keys", body = KeyPage))
)]
async fn list(
    State(server): State<Server>,
    Query(query): Query<ListQuery>,
) -> Result<Json<KeyPage>, Problem> {
    if !(1..=1000).contains(&query.limit) {
        let detail = "a whole number from 1 to 1000";
        return Err(Problem::new(ErrorKind::InvalidParams, format!("`limit` must be {detail}"))
            .field("limit", detail));
    }
    let now = server.access.database().now_ms();
    let all = server.access.keys().await?;
    let start = match &query.after {
        None => 0,
        Some(id) => all.iter().position(|k| k.id == *id).map(|p| p + 1).ok_or_else(|| {
            Problem::new(ErrorKind::InvalidParams, "`after` is no key's id")
                .field("after", "no key has this id")
        })?,
    };
    let more = all.len() > start + query.limit;
    let keys: Vec<Key> = all.into_iter().skip(start).take(query.limit).map(|k| Key::of(k, now)).collect();
    let next = keys.last().filter(|_| more).map(|k| k.id.clone());
    Ok(Json(KeyPage { keys, next }))
}

/// What a key is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyAsked {
    /// What it is for: a place or a program, not a person.
    #[schema(min_length = 1, max_length = 100, example = "till 1")]
    name: String,
    /// How much it may do.
    role: RoleWord,
    /// For which routes; left out: for all.
    #[schema(example = json!(["forecasts", "recommendations"]))]
    scopes: Option<Vec<String>>,
    /// When it ends; left out: never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyMade {
    /// The key.
    key: Key,
    /// Its whole text. It is told this once and kept nowhere.
    secret: String,
}

fn made(key: Key, secret: &str) -> Response {
    let location = HeaderValue::from_str(&format!("/v1/keys/{}", key.id));
    let answer = KeyMade { key, secret: secret.to_owned() };
    let mut response = (StatusCode::CREATED, Json(answer)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Make a key. Its secret is told in this answer and never again.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", request_body = KeyAsked,
    responses((status = 201, description = "The key with its secret", body = KeyMade))
)]
async fn create(
    State(server): State<Server>,
    Caller(caller): Caller,
    Body(asked): Body<KeyAsked>,
) -> Result<Response, Problem> {
    let scopes = match &asked.scopes {
        None => Scopes::All,
        Some(names) => Scopes::of_names(names).map_err(|e| {
            let text = e.to_string();
            Problem::of(&e).field("scopes", text)
        })?,
    };
    let expires_ms = asked.expires_at.as_deref().map(|t| parse("expires_at", t)).transpose()?;
    let new = NewKey { name: asked.name, role: asked.role.into(), scopes, expires_ms };
    let (key, secret) = server.access.create_key(&caller.actor(), new).await?;
    let now = server.access.database().now_ms();
    Ok(made(Key::of(key, now), secret.expose()))
}

/// One key.
#[utoipa::path(
    get, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key", body = Key))
)]
async fn show(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<Key>, Problem> {
    let key = server.access.key(&id).await?;
    Ok(Json(Key::of(key, server.access.database().now_ms())))
}

/// Revoke a key: at once in the process that answers, within two seconds in every other.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key, revoked", body = Key))
)]
async fn revoke(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Key>, Problem> {
    let key = server.access.revoke(&caller.actor(), &id).await?;
    Ok(Json(Key::of(key, server.access.database().now_ms())))
}

/// How a key is replaced.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// For how long the old key goes on, in seconds.
    #[schema(minimum = 0, maximum = 7776000)]
    overlap_seconds: u64,
}

/// Make a key that takes the place of this one, which goes on for the overlap.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", tag = "keys", params(("id" = String, Path, description = "The key's id")),
    request_body = Rotation,
    responses((status = 201, description = "The new key with its secret", body = KeyMade))
)]
async fn rotate(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Body(rotation): Body<Rotation>,
) -> Result<Response, Problem> {
    let overlap = Duration::from_secs(rotation.overlap_seconds);
    let (key, secret) = server.access.rotate(&caller.actor(), &id, overlap).await?;
    let now = server.access.database().now_ms();
    Ok(made(Key::of(key, now), secret.expose()))
}
