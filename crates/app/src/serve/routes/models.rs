//! `/v1/models`: what is registered, which version is in production, who said so; promoted and rolled back by operators.
//!
//! Each change is a line of the registry's own history and a row of the audit log.

use super::wire::{PageQuery, usual_page};
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
use std::collections::BTreeMap;
use tradewind::ops::access::{Principal, Role, Scope};
use tradewind::ops::registry::{
    Comparison, Expect, Kind, ModelSummary, Notes, Page, Promotion, Reference, Version, VersionFilter,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Models));
    let operator = Door::Key(Role::Operator, Some(Scope::Models));
    routes
        .at(viewer, routes!(list))
        .at(viewer, routes!(versions))
        .at(viewer, routes!(version))
        .at(viewer, routes!(history))
        .at(viewer, routes!(compare))
        .at(operator, routes!(promote, remove))
        .at(operator, routes!(roll_back))
        .at(operator, routes!(annotate))
        .at(operator, routes!(archive))
        .at(operator, routes!(restore))
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(crate) struct Model {
    /// Its name.
    name: String,
    /// How many versions there are, archived ones included.
    versions: u64,
    /// When the first was registered.
    #[schema(format = DateTime)]
    created_at: String,
    /// Where its aliases point: the version's number by alias.
    aliases: BTreeMap<String, u64>,
}

impl Model {
    fn of(model: ModelSummary) -> Self {
        Self {
            name: model.name,
            versions: model.versions,
            created_at: stamp(model.created_ms),
            aliases: model.aliases.into_iter().map(|a| (a.name, a.number)).collect(),
        }
    }
}

/// A page of models.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelPage {
    /// By name.
    models: Vec<Model>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The models.
#[utoipa::path(
    get, path = "/v1/models", tag = "models", params(PageQuery),
    responses((status = 200, description = "A page of models", body = ModelPage))
)]
async fn list(
    State(server): State<Server>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ModelPage>, Problem> {
    let listed = server.registry.models(&query.into()).await?;
    Ok(Json(ModelPage { models: listed.items.into_iter().map(Model::of).collect(), next: listed.next }))
}

/// A version of a model; it never changes.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelVersion {
    /// The model.
    name: String,
    /// The number, from 1 on.
    number: u64,
    /// What it answers: `trends`, `forecasts`, `prices`, `recommendations` or `learn`.
    kind: String,
    /// What stands for the artifact: the same fit has the same.
    artifact_hash: String,
    /// The fingerprint of the data it was fitted on.
    data_fingerprint: String,
    /// The parameters it was fitted with.
    #[schema(value_type = Object)]
    params: Value,
    /// The seed of its run.
    seed: u64,
    /// How well it did, by measure.
    metrics: BTreeMap<String, f64>,
    /// The version of the program that made it.
    code_version: String,
    /// Where it comes from: parents, job, run, origin.
    #[schema(value_type = Object)]
    lineage: Value,
    /// Bytes of its files.
    bytes: u64,
    /// When it was registered.
    #[schema(format = DateTime)]
    created_at: String,
    /// Who registered it.
    created_by: String,
    /// When it was archived.
    #[schema(format = DateTime)]
    archived_at: Option<String>,
    /// Labels.
    tags: BTreeMap<String, String>,
    /// Remarks.
    notes: String,
}

impl ModelVersion {
    fn of(version: Version) -> Self {
        let bytes = version.manifest.bytes();
        let m = version.manifest;
        Self {
            name: version.name,
            number: version.number,
            kind: version.kind.name().to_owned(),
            artifact_hash: version.artifact_hash,
            data_fingerprint: m.data_fingerprint,
            params: m.params,
            seed: m.seed,
            metrics: m.metrics,
            code_version: m.code_version,
            lineage: json!(m.lineage),
            bytes,
            created_at: stamp(version.created_ms),
            created_by: version.created_by,
            archived_at: version.archived_ms.map(stamp),
            tags: version.tags,
            notes: version.notes,
        }
    }
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionPage {
    /// Newest first.
    versions: Vec<ModelVersion>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VersionsQuery {
    /// Only this kind.
    kind: Option<String>,
    /// Archived ones as well.
    #[serde(default)]
    archived: bool,
    /// The `next` of the page before.
    after: Option<String>,
    /// Entries of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// The versions of a model.
#[utoipa::path(
    get, path = "/v1/models/{model}/versions", tag = "models",
    params(("model" = String, Path, description = "The model's name"), VersionsQuery),
    responses((status = 200, description = "A page of versions", body = VersionPage))
)]
async fn versions(
    State(server): State<Server>,
    Path(model): Path<String>,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<VersionPage>, Problem> {
    let kind: Option<Kind> = query.kind.as_deref().map(str::parse).transpose().map_err(in_field("kind"))?;
    let filter = VersionFilter { kind, archived: query.archived };
    let page = Page { after: query.after, limit: query.limit };
    let listed = server.registry.versions(&model, filter, &page).await?;
    let versions = listed.items.into_iter().map(ModelVersion::of).collect();
    Ok(Json(VersionPage { versions, next: listed.next }))
}

fn in_field(field: &'static str) -> impl Fn(tradewind::ops::Error) -> Problem {
    move |e| {
        let text = e.to_string();
        Problem::of(&e).field(field, text)
    }
}

/// What a number, an alias or `latest` behind a model means.
fn reference(model: &str, version: &str) -> Result<Reference, Problem> {
    format!("{model}@{version}").parse().map_err(|e: tradewind::ops::Error| Problem::of(&e))
}

/// One version, by number, alias or `latest`.
#[utoipa::path(
    get, path = "/v1/models/{model}/versions/{version}", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("version" = String, Path, description = "A number, an alias or `latest`"),
    ),
    responses((status = 200, description = "The version", body = ModelVersion))
)]
async fn version(
    State(server): State<Server>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelVersion>, Problem> {
    let found = server.registry.version(&reference(&model, &version)?).await?;
    Ok(Json(ModelVersion::of(found)))
}

/// A line of a model's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct Moved {
    /// Its place within the model, without holes.
    sequence: u64,
    /// The alias that moved.
    alias: String,
    /// `promote`, `roll_back` or `remove`.
    kind: String,
    /// The version before.
    from: Option<u64>,
    /// The version after.
    to: Option<u64>,
    /// Who.
    actor: String,
    /// In which role; may be empty.
    role: String,
    /// Who approved it or under which ticket; may be empty.
    approval: String,
    /// Why.
    reason: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl Moved {
    fn of(line: Promotion) -> Self {
        Self {
            sequence: line.sequence,
            alias: line.alias,
            kind: line.kind.name().to_owned(),
            from: line.from,
            to: line.to,
            actor: line.change.actor,
            role: line.change.role,
            approval: line.change.approval,
            reason: line.change.reason,
            at: stamp(line.at_ms),
        }
    }
}

/// A page of a model's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// Latest first.
    moves: Vec<Moved>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Only of this alias.
    alias: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Lines of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// Who was in production when, and who said so.
#[utoipa::path(
    get, path = "/v1/models/{model}/history", tag = "models",
    params(("model" = String, Path, description = "The model's name"), HistoryQuery),
    responses((status = 200, description = "A page of the history", body = HistoryPage))
)]
async fn history(
    State(server): State<Server>,
    Path(model): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<HistoryPage>, Problem> {
    let page = Page { after: query.after, limit: query.limit };
    let listed = server.registry.history(&model, query.alias.as_deref(), &page).await?;
    Ok(Json(HistoryPage { moves: listed.items.into_iter().map(Moved::of).collect(), next: listed.next }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CompareQuery {
    /// A number, an alias or `latest`.
    left: String,
    /// A number, an alias or `latest`.
    right: String,
}

/// How two versions differ.
#[derive(Serialize, ToSchema)]
pub(crate) struct Compared {
    /// The first version's number.
    left: u64,
    /// The second version's number.
    right: u64,
    /// Whether they are the same artifact.
    same_artifact: bool,
    /// Whether they were fitted on the same data.
    same_data: bool,
    /// Every metric that one of them has.
    metrics: Vec<MetricPair>,
    /// The parameters that differ.
    params: Vec<ParamPair>,
    /// The files that differ, by path.
    files: Vec<String>,
}

/// A metric of two versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetricPair {
    /// Its name.
    name: String,
    /// Of the first.
    left: Option<f64>,
    /// Of the second.
    right: Option<f64>,
    /// The second minus the first.
    change: Option<f64>,
}

/// A parameter of two versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct ParamPair {
    /// Where it stands, as a JSON pointer.
    path: String,
    /// In the first.
    #[schema(value_type = Option<Object>)]
    left: Option<Value>,
    /// In the second.
    #[schema(value_type = Option<Object>)]
    right: Option<Value>,
}

impl Compared {
    fn of(c: Comparison) -> Self {
        Self {
            left: c.left.number,
            right: c.right.number,
            same_artifact: c.same_artifact,
            same_data: c.same_data,
            metrics: c
                .metrics
                .into_iter()
                .map(|m| MetricPair { change: m.change(), name: m.name, left: m.left, right: m.right })
                .collect(),
            params: c
                .params
                .into_iter()
                .map(|p| ParamPair { path: p.path, left: p.left, right: p.right })
                .collect(),
            files: c.files.into_iter().map(|f| f.path).collect(),
        }
    }
}

/// Two versions of a model side by side.
#[utoipa::path(
    get, path = "/v1/models/{model}/compare", tag = "models",
    params(("model" = String, Path, description = "The model's name"), CompareQuery),
    responses((status = 200, description = "How they differ", body = Compared))
)]
async fn compare(
    State(server): State<Server>,
    Path(model): Path<String>,
    Query(query): Query<CompareQuery>,
) -> Result<Json<Compared>, Problem> {
    let (left, right) = (reference(&model, &query.left)?, reference(&model, &query.right)?);
    Ok(Json(Compared::of(server.registry.compare(&left, &right).await?)))
}

/// Which version an alias is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Promote {
    /// A number, an alias or `latest`.
    version: String,
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
    /// Who approved it or under which ticket.
    #[serde(default)]
    #[schema(max_length = 2000)]
    approval: String,
    /// The version that must stand there now, 0 for none: if another does, somebody else was first and nothing moves.
    expect: Option<u64>,
}

/// Why an alias moves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RollBack {
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    reason: String,
    /// Who approved it or under which ticket.
    #[serde(default)]
    #[schema(max_length = 2000)]
    approval: String,
    /// The version that must stand there now, 0 for none.
    expect: Option<u64>,
}

fn expected(number: Option<u64>) -> Expect {
    match number {
        None => Expect::Anybody,
        Some(0) => Expect::Nobody,
        Some(number) => Expect::Version(number),
    }
}

async fn moved(
    server: &Server,
    caller: &Principal,
    model: &str,
    line: Promotion,
) -> Result<Json<Moved>, Problem> {
    let details =
        json!({ "from": line.from, "to": line.to, "reason": line.change.reason, "sequence": line.sequence });
    let action = format!("models.{}", line.kind.name());
    write_down(server, caller, &action, &format!("model:{model}@{}", line.alias), details).await?;
    Ok(Json(Moved::of(line)))
}

/// Give an alias to a version.
#[utoipa::path(
    put, path = "/v1/models/{model}/aliases/{alias}", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("alias" = String, Path, description = "The alias, as `champion`"),
    ),
    request_body = Promote,
    responses((status = 200, description = "The line of the history", body = Moved))
)]
async fn promote(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path((model, alias)): Path<(String, String)>,
    Body(asked): Body<Promote>,
) -> Result<Json<Moved>, Problem> {
    let reference = reference(&model, &asked.version)?;
    let change = change(&caller, asked.reason, asked.approval);
    let line = server.registry.promote(&reference, &alias, expected(asked.expect), &change).await?;
    moved(&server, &caller, &model, line).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Why.
    reason: String,
    /// The version that must stand there now.
    expect: Option<u64>,
}

/// Take an alias away.
#[utoipa::path(
    delete, path = "/v1/models/{model}/aliases/{alias}", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("alias" = String, Path, description = "The alias"),
        RemoveQuery,
    ),
    responses((status = 200, description = "The line of the history", body = Moved))
)]
async fn remove(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path((model, alias)): Path<(String, String)>,
    Query(query): Query<RemoveQuery>,
) -> Result<Json<Moved>, Problem> {
    let change = change(&caller, query.reason, String::new());
    let line = server.registry.remove_alias(&model, &alias, expected(query.expect), &change).await?;
    moved(&server, &caller, &model, line).await
}

/// Put an alias back to the version that stood before.
#[utoipa::path(
    post, path = "/v1/models/{model}/aliases/{alias}/rollback", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("alias" = String, Path, description = "The alias"),
    ),
    request_body = RollBack,
    responses((status = 200, description = "The line of the history", body = Moved))
)]
async fn roll_back(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path((model, alias)): Path<(String, String)>,
    Body(asked): Body<RollBack>,
) -> Result<Json<Moved>, Problem> {
    let change = change(&caller, asked.reason, asked.approval);
    let line = server.registry.roll_back(&model, &alias, expected(asked.expect), &change).await?;
    moved(&server, &caller, &model, line).await
}

/// What is written to a version; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Annotation {
    /// The notes, in place of those before.
    #[schema(max_length = 10000)]
    notes: Option<String>,
    /// Tags beside those before.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Names of tags to take away.
    #[serde(default)]
    untag: Vec<String>,
}

/// Write notes and tags to a version; the version itself never changes.
#[utoipa::path(
    patch, path = "/v1/models/{model}/versions/{version}", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("version" = String, Path, description = "A number, an alias or `latest`"),
    ),
    request_body = Annotation,
    responses((status = 200, description = "The version", body = ModelVersion))
)]
async fn annotate(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path((model, version)): Path<(String, String)>,
    Body(asked): Body<Annotation>,
) -> Result<Json<ModelVersion>, Problem> {
    let mut tags: Vec<&String> = asked.tags.keys().chain(&asked.untag).collect();
    tags.sort();
    let details = json!({ "notes": asked.notes.is_some(), "tags": tags });
    let change = Notes { text: asked.notes.clone(), set: asked.tags.clone(), unset: asked.untag.clone() };
    let found = server.registry.annotate(&reference(&model, &version)?, &change).await?;
    write_down(&server, &caller, "models.annotate", &format!("model:{model}@{}", found.number), details)
        .await?;
    Ok(Json(ModelVersion::of(found)))
}

/// Put a version into the archive: it is kept and no longer offered.
#[utoipa::path(
    post, path = "/v1/models/{model}/versions/{version}/archive", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("version" = String, Path, description = "A number"),
    ),
    responses((status = 200, description = "The version", body = ModelVersion))
)]
async fn archive(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelVersion>, Problem> {
    let found = server.registry.archive(&reference(&model, &version)?).await?;
    write_down(&server, &caller, "models.archive", &format!("model:{model}@{}", found.number), json!({}))
        .await?;
    Ok(Json(ModelVersion::of(found)))
}

/// Take a version out of the archive.
#[utoipa::path(
    post, path = "/v1/models/{model}/versions/{version}/restore", tag = "models",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("version" = String, Path, description = "A number"),
    ),
    responses((status = 200, description = "The version", body = ModelVersion))
)]
async fn restore(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelVersion>, Problem> {
    let found = server.registry.restore(&reference(&model, &version)?).await?;
    write_down(&server, &caller, "models.restore", &format!("model:{model}@{}", found.number), json!({}))
        .await?;
    Ok(Json(ModelVersion::of(found)))
}
