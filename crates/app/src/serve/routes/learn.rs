//! `/v1/learn/{model}/predict`: what a learnt table says of new rows, and why.

use super::rows::{self, Form};
use super::wire::{ModelRef, json};
use crate::serve::domain::{Domain, fresh};
use crate::serve::door::{Door, Limits};
use crate::serve::extract::{Path, from_json, whole_body};
use crate::serve::layers::RequestId;
use crate::serve::problem::{Http, Problem};
use crate::serve::table::Routes;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use axum::{Extension, Json};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tradewind::learn::Task;
use tradewind::learn::explain::Waterfall;
use tradewind::learn::frame::Frame;
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::{Learned, Loaded, Predicted};
use tradewind::{Result, Run};
use utoipa::ToSchema;
use utoipa_axum::routes;

/// Where learnt models stand in the table of versions: this and the model's name.
pub(crate) const PREFIX: &str = "learn/";

/// The route of a learnt model in the table of versions.
pub(crate) fn route(model: &str) -> String {
    format!("{PREFIX}{model}")
}

/// Rows explained in one answer at most.
const EXPLAINED_MAX: usize = 1_000;

/// Rows to predict.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictBody {
    /// The rows, 1 to 100,000: objects with the model's columns, or lists in the order of its columns.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// Whether each answer comes with what the columns add to it; for up to 1,000 rows.
    #[serde(default)]
    reason: bool,
}

/// One step of a reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonStepWire {
    /// The prepared column; empty for all others together.
    column: String,
    /// Its value as the estimator sees it; null where missing.
    value: Option<f64>,
    /// How many columns the step stands for.
    n_columns: usize,
    /// What it adds to the score.
    part: f64,
}

/// Why an answer is what it is: the score is the constant and all parts together.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LearnReasonWire {
    /// The score of a row of which nothing is known.
    constant: f64,
    /// The score of this row, on the scale in which the parts add up.
    score: f64,
    /// What moves it, largest first.
    steps: Vec<ReasonStepWire>,
}

impl From<Waterfall> for LearnReasonWire {
    fn from(fall: Waterfall) -> Self {
        let step = |s: tradewind::learn::explain::WaterfallStep| ReasonStepWire {
            column: s.name,
            value: s.value,
            n_columns: s.n_columns,
            part: s.part,
        };
        Self { constant: fall.constant, score: fall.score, steps: fall.steps.into_iter().map(step).collect() }
    }
}

/// Predictions of some rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PredictAnswer {
    /// Which version answered.
    model: ModelRef,
    /// What the model learnt: regression, binary, multiclass, ranking, anomaly, clustering.
    #[schema(value_type = String)]
    task: Task,
    /// For each row `prediction` (for classes the likeliest, with `p_<class>` for each), `score` or `cluster`.
    #[schema(value_type = Vec<Object>)]
    predictions: Vec<Map<String, Value>>,
    /// For each row why, on request and where the estimator can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<LearnReasonWire>>,
}

/// Rows as a body holds them.
enum Rows {
    /// JSON, with what else is asked for.
    Asked(PredictBody),
    /// Rows and nothing else.
    Plain(Form, Bytes),
}

/// Predictions of a body, serialised. It may work for a while.
fn predict(run: &Run, version: &Loaded, asked: &Rows) -> Result<Vec<u8>> {
    let learned = learned(version)?;
    let (frame, reason) = match asked {
        Rows::Asked(body) => (rows::of_values(learned, &body.rows)?, body.reason),
        Rows::Plain(Form::Csv, bytes) => (rows::of_csv(learned, bytes)?, false),
        Rows::Plain(_, bytes) => (rows::of_values(learned, &rows::json_lines(bytes)?)?, false),
    };
    if reason {
        let mut check = tradewind::core::ParamCheck::new();
        let n = frame.n_rows();
        check.require(n <= EXPLAINED_MAX, "rows", n, "up to 1000 where reasons are wanted").finish()?;
    }
    let said = learned.predict(run, &frame, reason)?;
    let predictions = objects(&said)?;
    let reasons = said.reasons.map(|all| all.into_iter().map(Into::into).collect());
    json(&PredictAnswer {
        model: (&version.identity).into(),
        task: learned.manifest().task,
        predictions,
        reasons,
    })
}

/// The learnt model of a version.
pub(crate) fn learned(version: &Loaded) -> Result<&Learned> {
    version.learned().ok_or_else(|| super::wrong_kind(version, "learn"))
}

/// Predictions of rows that were read already, as objects.
pub(crate) fn predicted(run: &Run, learned: &Learned, frame: &Frame) -> Result<Vec<Map<String, Value>>> {
    objects(&learned.predict(run, frame, false)?)
}

/// The rows of answers as objects.
fn objects(said: &Predicted) -> Result<Vec<Map<String, Value>>> {
    let columns = tradewind::answers::values(&said.answers)?;
    let n = said.answers.num_rows();
    let mut out: Vec<Map<String, Value>> = vec![Map::new(); n];
    for (name, values) in columns {
        for (row, value) in out.iter_mut().zip(values) {
            row.insert(name.clone(), value);
        }
    }
    Ok(out)
}

/// What a model reads and answers, for those who must know before they ask.
pub(crate) fn described(learned: &Learned) -> Value {
    let m = learned.manifest();
    let inputs: Vec<Value> =
        learned.inputs().into_iter().map(|(name, holds)| json!({ "name": name, "holds": holds })).collect();
    json!({ "estimator": m.model, "task": m.task, "target": m.target, "classes": m.classes, "inputs": inputs, "rows": m.rows })
}

pub(super) fn add(routes: Routes) -> Routes {
    let limits = Limits { body: Some(BODY_BYTES_MAX), ..Limits::USUAL };
    let door = Door::Key(Role::Viewer, Some(Scope::Learn));
    routes.at(door, routes!(describe_model)).limited(door, limits, routes!(predict_rows))
}

/// Bytes of a body with rows at most.
const BODY_BYTES_MAX: usize = 32 << 20;

/// What a learnt model reads and answers.
#[utoipa::path(
    get, path = "/v1/learn/{model}", tag = "learn",
    params(("model" = String, Path, description = "The model's name in the registry")),
    responses((status = 200, description = "Its columns, task and classes", body = Object))
)]
async fn describe_model(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path(model): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (version, _) = domain.choose(&route(&model), None, id.text())?;
    let mut told = described(learned(&version)?);
    told["model"] = json!(ModelRef::from(&version.identity));
    Ok(Json(told))
}

/// What a learnt model says of new rows. The body is JSON, JSON lines (an object or list a line) or CSV.
#[utoipa::path(
    post, path = "/v1/learn/{model}/predict", tag = "learn",
    params(("model" = String, Path, description = "The model's name in the registry")),
    request_body(content(
        (PredictBody = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    )),
    responses((status = 200, description = "An answer a row", body = PredictAnswer))
)]
async fn predict_rows(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path(model): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let form = media_type.and_then(Form::of_media_type).ok_or_else(|| {
        Problem::http(
            Http::UnsupportedMediaType,
            "the body must be application/json, application/x-ndjson or text/csv",
        )
    })?;
    let name = route(&model);
    let (version, shadows) = domain.choose(&name, None, id.text())?;
    let bytes = whole_body(request, &()).await?;
    let rows = match form {
        Form::Json => Rows::Asked(from_json(&bytes)?),
        form => Rows::Plain(form, bytes),
    };
    let rows = Arc::new(rows);
    let (asks, of) = (version.clone(), rows.clone());
    let body = domain.work(move |run| predict(run, &asks, &of)).await?;
    domain.shadow(&name, shadows, move |version| predict(&Run::new(0).with_threads(1), version, &rows));
    Ok(fresh(&version, "application/json", body))
}
