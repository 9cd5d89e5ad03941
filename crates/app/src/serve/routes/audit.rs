//! `/v1/audit`: the log of changes, read and checked by an admin.

use crate::serve::door::Door;
use crate::serve::extract::Query;
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use crate::serve::time::{parse, stamp};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tradewind::ErrorKind;
use tradewind::ops::access::audit::{AuditFilter, AuditRow, Head, PAGE_MAX};
use tradewind::ops::access::{Role, Scope};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let admin = Door::Key(Role::Admin, Some(Scope::Audit));
    routes.at(admin, routes!(list)).at(admin, routes!(verify))
}

/// A row of the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Row {
    /// Its number, without gaps.
    sequence: i64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Who.
    actor: String,
    /// What was done.
    action: String,
    /// To what.
    object: String,
    /// `done`, `denied` or `failed`.
    outcome: String,
    /// What else.
    #[schema(value_type = Object)]
    details: serde_json::Value,
    /// The hash of the row before.
    previous: String,
    /// This row's hash.
    hash: String,
}

impl Row {
    pub(crate) fn of(row: AuditRow) -> Self {
        Self {
            sequence: row.sequence,
            at: stamp(row.at_ms),
            actor: row.actor,
            action: row.action,
            object: row.object,
            outcome: row.outcome,
            details: serde_json::from_str(&row.details).unwrap_or(serde_json::Value::String(row.details)),
            previous: row.previous,
            hash: row.hash,
        }
    }
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// Latest first.
    rows: Vec<Row>,
    /// What to give as `before` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only this actor, as `key:<id>`.
    actor: Option<String>,
    /// Only this action; with a full stop at its end all that begin so, as `keys.`.
    action: Option<String>,
    /// Only about this object.
    object: Option<String>,
    /// Only with this outcome: `done`, `denied` or `failed`.
    outcome: Option<String>,
    /// Only from this time on.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Only before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// The `next` of the page before.
    before: Option<i64>,
    /// Rows of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

fn usual_page() -> u32 {
    100
}

/// The log of changes.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "A page of the log", body = AuditPage))
)]
async fn list(
    State(server): State<Server>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    if !(1..=PAGE_MAX).contains(&query.limit) {
        let detail = format!("a whole number from 1 to {PAGE_MAX}");
        return Err(Problem::new(ErrorKind::InvalidParams, format!("`limit` must be {detail}"))
            .field("limit", detail));
    }
    for (name, text) in [("actor", &query.actor), ("action", &query.action), ("object", &query.object)] {
        if text.as_ref().is_some_and(|t| t.contains('\0') || t.chars().count() > 191) {
            let detail = "at most 191 characters, none of them NUL";
            return Err(Problem::new(ErrorKind::InvalidParams, format!("`{name}` must have {detail}"))
                .field(name, detail));
        }
    }
    let outcome =
        query.outcome.as_deref().map(str::parse).transpose().map_err(|e: tradewind::ops::Error| {
            let text = e.to_string();
            Problem::of(&e).field("outcome", text)
        })?;
    let filter = AuditFilter {
        actor: query.actor,
        action: query.action,
        object: query.object,
        outcome,
        from_ms: query.from.as_deref().map(|t| parse("from", t)).transpose()?,
        to_ms: query.to.as_deref().map(|t| parse("to", t)).transpose()?,
    };
    let rows = server.access.audit(&filter, query.before, query.limit).await?;
    let next =
        rows.last().filter(|r| rows.len() == query.limit as usize && r.sequence > 1).map(|r| r.sequence);
    Ok(Json(AuditPage { rows: rows.into_iter().map(Row::of).collect(), next }))
}

/// What the check found.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditChecked {
    /// Whether the chain is whole.
    whole: bool,
    /// Rows read.
    rows: i64,
    /// The end of the chain, worth noting elsewhere.
    head: String,
    /// Where it is broken.
    breaks: Vec<AuditBreak>,
}

/// Where the chain is broken.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditBreak {
    /// The number of the row at which it shows.
    sequence: i64,
    /// What is wrong there.
    what: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VerifyQuery {
    /// A head noted before; the chain must still hold its row.
    head: Option<String>,
}

/// Check the whole chain.
#[utoipa::path(
    get, path = "/v1/audit/verify", tag = "audit", params(VerifyQuery),
    responses((status = 200, description = "What was found", body = AuditChecked))
)]
async fn verify(
    State(server): State<Server>,
    Query(query): Query<VerifyQuery>,
) -> Result<Json<AuditChecked>, Problem> {
    let noted: Option<Head> =
        query.head.as_deref().map(str::parse).transpose().map_err(|e: tradewind::ops::Error| {
            let text = e.to_string();
            Problem::of(&e).field("head", text)
        })?;
    let checked = server.access.verify_audit(noted.as_ref()).await?;
    Ok(Json(AuditChecked {
        whole: checked.is_whole(),
        rows: checked.rows,
        head: checked.head.to_string(),
        breaks: checked
            .breaks
            .into_iter()
            .map(|b| AuditBreak { sequence: b.sequence, what: b.what })
            .collect(),
    }))
}
