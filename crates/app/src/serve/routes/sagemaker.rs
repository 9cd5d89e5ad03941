//! The container contract of SageMaker: `/ping` and `/invocations` in JSON, JSON lines and CSV.

use super::learn::{learned, predicted};
use super::rows::{self, Form};
use super::{forecasts, learn};
use crate::serve::domain::{Domain, fresh};
use crate::serve::door::{Door, Limits};
use crate::serve::extract::whole_body;
use crate::serve::layers::RequestId;
use crate::serve::problem::{Http, Problem};
use crate::serve::table::Routes;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::{Answers, ForecastQuery, Loaded, TargetKind};
use tradewind::trends::By;
use tradewind::{Error, ErrorKind, Result, Run};
use utoipa_axum::routes;

/// Series asked for in one request at most.
const SERIES_MAX: usize = 1_000;

/// Predictions of a body in its form, in the form that is wanted. It may work for a while.
///
/// # Errors
/// A body that cannot be read, rows that do not fit the model.
pub(crate) fn invoke(run: &Run, version: &Loaded, body: &[u8], form: Form, wanted: Form) -> Result<Vec<u8>> {
    let predictions = match &version.answers {
        Answers::Learned(_) => {
            let model = learned(version)?;
            let frame = match form {
                Form::Csv => rows::of_csv(model, body)?,
                Form::JsonLines => rows::of_values(model, &rows::json_lines(body)?)?,
                Form::Json => rows::of_values(model, &instances(body)?)?,
            };
            predicted(run, model, &frame)?
        }
        Answers::Forecasts(_) => {
            let asked = match form {
                Form::JsonLines => rows::json_lines(body)?,
                Form::Json => instances(body)?,
                Form::Csv => {
                    return Err(Error::asked(
                        "forecasts are not asked for in CSV",
                        "send JSON or JSON lines",
                    ));
                }
            };
            series(version, asked)?
        }
        _ => {
            return Err(Error::asked(
                format!("{} is of the kind {}, which is not invoked", version.identity, version.kind()),
                "ask it under /v1; learnt models and forecasts answer here",
            ));
        }
    };
    match wanted {
        Form::Json => super::wire::json(&json!({ "predictions": predictions })),
        Form::JsonLines => {
            let mut out = Vec::new();
            for row in &predictions {
                out.extend(super::wire::json(row)?);
                out.push(b'\n');
            }
            Ok(out)
        }
        Form::Csv => Ok(csv(&predictions)),
    }
}

/// The rows of a body: a list, or the list under `instances`.
fn instances(body: &[u8]) -> Result<Vec<Value>> {
    let hint = "send a list of rows, or an object with the list under `instances`";
    let value: Value = serde_json::from_slice(body).map_err(|e| {
        Error::asked(format!("the body is no JSON (line {}, column {})", e.line(), e.column()), hint)
    })?;
    match value {
        Value::Array(rows) => Ok(rows),
        Value::Object(mut object) => match object.remove("instances") {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(Error::asked("the body has no list of rows", hint)),
        },
        _ => Err(Error::asked("the body has no list of rows", hint)),
    }
}

/// Forecasts of the series that rows name: `id`, and optionally `target`, `by`, `horizon`.
fn series(version: &Loaded, asked: Vec<Value>) -> Result<Vec<Map<String, Value>>> {
    let f = version.forecasts().ok_or_else(|| super::wrong_kind(version, "forecasts"))?;
    if asked.is_empty() || asked.len() > SERIES_MAX {
        return Err(Error::asked(format!("{} series", asked.len()), "ask for 1 to 1000"));
    }
    let mut out = Vec::with_capacity(asked.len());
    for (at, row) in asked.iter().enumerate() {
        let word = |name: &str, usual: &'static str| match row.get(name) {
            None => Ok(usual),
            Some(Value::String(word)) => Ok(word.as_str()),
            Some(_) => Err(Error::asked(format!("row {at}: `{name}` is no text"), "give it as a text")),
        };
        let Some(id) = row.get("id").and_then(Value::as_str) else {
            return Err(Error::asked(format!("row {at} names no series"), "give it as {\"id\": …}"));
        };
        let target = TargetKind::find(word("target", "units")?).ok_or_else(|| {
            Error::asked(format!("row {at}: there is no such target"), "give units or revenue")
        })?;
        let by = By::find(word("by", "product")?).ok_or_else(|| {
            Error::asked(format!("row {at}: there is no such group"), "give product, category or store")
        })?;
        let horizon = match row.get("horizon") {
            None => None,
            Some(h) => Some(h.as_u64().and_then(|h| usize::try_from(h).ok()).ok_or_else(|| {
                Error::asked(format!("row {at}: `horizon` is no whole number"), "give the number of steps")
            })?),
        };
        let said = f.series(&ForecastQuery { target, by, id, horizon, levels: None })?;
        let mut object = Map::new();
        object.insert("id".into(), json!(id));
        object.insert("ds".into(), said.steps.iter().map(|s| json!(f.freq().format(s.ds))).collect());
        object.insert("mean".into(), said.steps.iter().map(|s| json!(s.mean)).collect());
        for (k, level) in said.levels.iter().enumerate() {
            let values = said.steps.iter().map(|s| json!(s.quantiles[k])).collect();
            object.insert(tradewind::answers::quantile_column(*level), values);
        }
        out.push(object);
    }
    Ok(out)
}

/// Predictions as comma-separated lines, without names as the contract has it; the first column is the prediction.
fn csv(predictions: &[Map<String, Value>]) -> Vec<u8> {
    let mut out = String::new();
    for row in predictions {
        let cells: Vec<String> = row.values().map(rows::csv_cell).collect();
        out.push_str(&cells.join(","));
        out.push('\n');
    }
    out.into_bytes()
}

/// Only where the container contract is switched on; `/ping` stands among the probes.
pub(super) fn add(routes: Routes) -> Routes {
    let limits = Limits { body: Some(BODY_BYTES_MAX), ..Limits::USUAL };
    routes.limited(Door::Key(Role::Viewer, Some(Scope::Learn)), limits, routes!(invocations))
}

/// Bytes of a body at most: as many as the platform sends.
const BODY_BYTES_MAX: usize = 6 << 20;

/// The header that names one of several models.
const TARGET: &str = "x-amzn-sagemaker-target-model";

/// The route that answers: the model that the header names, else the only learnt model, else forecasts.
fn target(domain: &Domain, headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(named) = headers.get(TARGET).and_then(|v| v.to_str().ok()) {
        let model = named.trim_start_matches('/').trim_end_matches(".tar.gz");
        return Ok(if model == forecasts::ROUTE { model.to_owned() } else { learn::route(model) });
    }
    let table = domain.serving.table();
    let learnt: Vec<&str> = table.routes().map(|(r, _)| r).filter(|r| r.starts_with(learn::PREFIX)).collect();
    match learnt[..] {
        [one] => Ok(one.to_owned()),
        [] => Ok(forecasts::ROUTE.to_owned()),
        _ => Err(Problem::new(ErrorKind::InvalidParams, "several models are loaded and none is named")
            .hint(format!("name it in the header X-Amzn-SageMaker-Target-Model: {}", learnt.join(", ")))),
    }
}

/// The form of the body, and the one that is wanted.
fn forms(headers: &HeaderMap) -> Result<(Form, Form), Problem> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let form = Form::of_media_type(text(header::CONTENT_TYPE)).ok_or_else(|| {
        Problem::http(
            Http::UnsupportedMediaType,
            "the body must be application/json, application/jsonlines or text/csv",
        )
    })?;
    let wanted = text(header::ACCEPT).split(',').find_map(Form::of_media_type).ok_or_else(|| {
        Problem::http(Http::NotAcceptable, "answers are application/json, application/jsonlines or text/csv")
    })?;
    Ok((form, wanted))
}

/// Predictions as the SageMaker runtime asks for them: JSON, JSON lines or CSV in and out.
#[utoipa::path(
    post, path = "/invocations", tag = "inference",
    params(("X-Amzn-SageMaker-Target-Model" = Option<String>, Header, description = "One of several models")),
    request_body(content(
        (Object = "application/json"),
        (String = "application/jsonlines"),
        (String = "text/csv"),
    )),
    responses((status = 200, description = "A prediction a row", body = Object))
)]
async fn invocations(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let (form, wanted) = forms(request.headers())?;
    let route = target(&domain, request.headers())?;
    let (version, _) = domain.choose(&route, None, id.text())?;
    let bytes = whole_body(request, &()).await?;
    let asks = version.clone();
    let body = domain.work(move |run| invoke(run, &asks, &bytes, form, wanted)).await?;
    Ok(fresh(&version, wanted.media_type(), body))
}
