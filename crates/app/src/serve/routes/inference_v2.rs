//! The open inference protocol, version 2: learnt models and forecasts as tensors, for platforms that speak it.
//!
//! | model | inputs | outputs |
//! |---|---|---|
//! | learnt | one tensor a column (`FP64`, `BYTES`, `BOOL`), or one `FP64` tensor of rows × columns where all hold numbers | `prediction`, `probabilities`, `score` or `cluster` |
//! | forecasts | `id` (`BYTES`); parameters `target`, `by` | `ds` (`BYTES`), `mean`, `quantiles` (`FP64`) |

use super::learn::learned;
use crate::serve::arms;
use crate::serve::domain::{Domain, fresh};
use crate::serve::door::{Door, Limits};
use crate::serve::extract::{Body, Path};
use crate::serve::layers::RequestId;
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tradewind::learn::Task;
use tradewind::learn::frame::Holds;
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::{Answers, Cells, ForecastQuery, Forecasts, Learned, Loaded, TargetKind};
use tradewind::trends::By;
use tradewind::{Error, ErrorKind, Result, Run};
use utoipa::ToSchema;
use utoipa_axum::routes;

/// Elements of all tensors of a request at most.
const ELEMENTS_MAX: usize = 2_000_000;
/// Tensors of a request at most.
const TENSORS_MAX: usize = 2_000;
/// Series asked for in one request at most.
const SERIES_MAX: usize = 1_000;

/// A tensor of a request.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TensorBody {
    /// Its name: a column of the model.
    name: String,
    /// Its shape; the first dimension is the rows.
    shape: Vec<u64>,
    /// BOOL, UINT8 … UINT64, INT8 … INT64, FP32, FP64 or BYTES.
    datatype: String,
    /// The elements in row-major order, flat or nested.
    #[schema(value_type = Vec<Object>)]
    data: Value,
}

/// An output that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct OutputBody {
    /// Its name.
    name: String,
}

/// A request for inference.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct InferBody {
    /// Given back with the answer.
    id: Option<String>,
    /// For forecasts `target` (units, revenue) and `by` (product, category, store).
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// The tensors.
    inputs: Vec<TensorBody>,
    /// The outputs wanted; all when not said.
    #[serde(default)]
    outputs: Vec<OutputBody>,
}

/// A tensor of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TensorWire {
    /// Its name.
    name: String,
    /// Its shape.
    shape: Vec<usize>,
    /// FP64 or BYTES.
    datatype: &'static str,
    /// The elements in row-major order.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
}

/// An answer to a request for inference.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InferAnswer {
    /// The model's name.
    model_name: String,
    /// The version's number.
    model_version: String,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The tensors.
    outputs: Vec<TensorWire>,
}

/// A tensor as metadata describes it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TensorMeta {
    /// Its name.
    name: String,
    /// Its element type.
    datatype: &'static str,
    /// Its shape; -1 is any size.
    shape: Vec<i64>,
}

/// What a model reads and answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelMetadata {
    /// The model's name.
    name: String,
    /// The versions that are loaded.
    versions: Vec<String>,
    /// What runs it, as `tradewind_learn`.
    platform: String,
    /// The tensors it reads.
    inputs: Vec<TensorMeta>,
    /// The tensors it answers.
    outputs: Vec<TensorMeta>,
}

fn fault(text: impl Into<String>, hint: &str) -> Error {
    Error::asked(text, hint)
}

fn datatype(holds: Holds) -> &'static str {
    match holds {
        Holds::Number => "FP64",
        Holds::Flag => "BOOL",
        Holds::Text | Holds::Date => "BYTES",
    }
}

/// The metadata of a version; `versions` are the numbers that are loaded of its model.
///
/// # Errors
/// A version that answers no tensors.
pub(crate) fn metadata(version: &Loaded, versions: &[u64]) -> Result<ModelMetadata> {
    let tensor =
        |name: &str, datatype, shape: Vec<i64>| TensorMeta { name: name.to_owned(), datatype, shape };
    let (inputs, outputs) = match &version.answers {
        Answers::Learned(l) => {
            let inputs =
                l.inputs().into_iter().map(|(name, holds)| tensor(name, datatype(holds), vec![-1])).collect();
            let m = l.manifest();
            let outputs = match m.task {
                Task::Binary | Task::Multiclass => vec![
                    tensor("prediction", "BYTES", vec![-1]),
                    tensor("probabilities", "FP64", vec![-1, m.classes.len() as i64]),
                ],
                task => vec![tensor(output_name(task), "FP64", vec![-1])],
            };
            (inputs, outputs)
        }
        Answers::Forecasts(f) => {
            let (h, q) = (f.horizon() as i64, f.levels().len() as i64);
            let outputs = vec![
                tensor("ds", "BYTES", vec![-1, h]),
                tensor("mean", "FP64", vec![-1, h]),
                tensor("quantiles", "FP64", vec![-1, h, q]),
                tensor("levels", "FP64", vec![q]),
            ];
            (vec![tensor("id", "BYTES", vec![-1])], outputs)
        }
        _ => return Err(no_tensors(version)),
    };
    Ok(ModelMetadata {
        name: version.identity.model.clone(),
        versions: versions.iter().map(u64::to_string).collect(),
        platform: format!("tradewind_{}", version.kind()),
        inputs,
        outputs,
    })
}

fn no_tensors(version: &Loaded) -> Error {
    fault(
        format!(
            "the model `{}` is of the kind {}, which has no tensors",
            version.identity.model,
            version.kind()
        ),
        "ask it under /v1; learnt models and forecasts answer here",
    )
}

fn output_name(task: Task) -> &'static str {
    match task {
        Task::Regression => "prediction",
        Task::Clustering => "cluster",
        _ => "score",
    }
}

/// The answer to a request, serialised. It may work for a while.
///
/// # Errors
/// Tensors that do not fit the model.
pub(crate) fn infer(run: &Run, version: &Loaded, asked: InferBody) -> Result<Vec<u8>> {
    if asked.inputs.is_empty() || asked.inputs.len() > TENSORS_MAX {
        return Err(fault(format!("{} tensors", asked.inputs.len()), "give 1 to 2000 input tensors"));
    }
    let mut outputs = match &version.answers {
        Answers::Learned(_) => of_learned(run, learned(version)?, asked.inputs)?,
        Answers::Forecasts(f) => of_forecasts(f, asked.inputs, &asked.parameters)?,
        _ => return Err(no_tensors(version)),
    };
    if !asked.outputs.is_empty() {
        let known: Vec<String> = outputs.iter().map(|o| o.name.clone()).collect();
        if let Some(o) = asked.outputs.iter().find(|o| !known.contains(&o.name)) {
            let name: String = o.name.chars().take(64).collect();
            return Err(fault(
                format!("there is no output `{name}`"),
                &format!("there are: {}", known.join(", ")),
            ));
        }
        outputs.retain(|o| asked.outputs.iter().any(|wanted| wanted.name == o.name));
    }
    super::wire::json(&InferAnswer {
        model_name: version.identity.model.clone(),
        model_version: version.identity.version.to_string(),
        id: asked.id,
        outputs,
    })
}

/// The elements of a tensor, flat, as many as its shape says.
fn elements(tensor: &TensorBody) -> Result<Vec<&Value>> {
    let name: String = tensor.name.chars().take(64).collect();
    let wanted = tensor
        .shape
        .iter()
        .try_fold(1_u64, |n, d| n.checked_mul(*d))
        .filter(|n| *n <= ELEMENTS_MAX as u64)
        .ok_or_else(|| fault(format!("the tensor `{name}` is too large"), "give up to 2000000 elements"))?;
    let mut out = Vec::new();
    let mut open = vec![&tensor.data];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter().rev()),
            plain => out.push(plain),
        }
        if out.len() as u64 > wanted {
            break;
        }
    }
    if out.len() as u64 != wanted || !tensor.data.is_array() {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        return Err(fault(
            format!("the data of the tensor `{name}` do not have the shape [{}]", shape.join(", ")),
            "give as many elements as the dimensions multiply to, in row-major order",
        ));
    }
    Ok(out)
}

/// The elements of a tensor as cells of one kind.
fn cells(tensor: &TensorBody, elements: &[&Value]) -> Result<Cells> {
    let name: String = tensor.name.chars().take(64).collect();
    let unfit = |at: usize| {
        let datatype: String = tensor.datatype.chars().take(16).collect();
        fault(format!("element {at} of the tensor `{name}` is no {datatype}"), "correct it, or give null")
    };
    let known = elements.iter().map(|v| (!v.is_null()).then_some(*v)).enumerate();
    Ok(match tensor.datatype.as_str() {
        "BOOL" => Cells::Flags(
            known
                .map(|(at, v)| v.map(|v| v.as_bool().ok_or_else(|| unfit(at))).transpose())
                .collect::<Result<_>>()?,
        ),
        "BYTES" => Cells::Texts(
            known
                .map(|(at, v)| v.map(|v| v.as_str().map(str::to_owned).ok_or_else(|| unfit(at))).transpose())
                .collect::<Result<_>>()?,
        ),
        "FP32" | "FP64" => Cells::Numbers(
            known
                .map(|(at, v)| v.map(|v| v.as_f64().ok_or_else(|| unfit(at))).transpose())
                .collect::<Result<_>>()?,
        ),
        "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" => Cells::Numbers(
            known
                .map(|(at, v)| {
                    v.map(|v| v.as_f64().filter(|n| n.fract() == 0.0).ok_or_else(|| unfit(at))).transpose()
                })
                .collect::<Result<_>>()?,
        ),
        other => {
            let other: String = other.chars().take(16).collect();
            return Err(fault(
                format!("the tensor `{name}` has the datatype `{other}`"),
                "use BOOL, UINT8 to UINT64, INT8 to INT64, FP32, FP64 or BYTES",
            ));
        }
    })
}

/// The rows of a tensor that holds one column.
fn column(tensor: &TensorBody) -> Result<Cells> {
    match tensor.shape[..] {
        [_] | [_, 1] => cells(tensor, &elements(tensor)?),
        _ => {
            let name: String = tensor.name.chars().take(64).collect();
            Err(fault(format!("the tensor `{name}` is no column"), "give it the shape [rows] or [rows, 1]"))
        }
    }
}

fn of_learned(run: &Run, model: &Learned, inputs: Vec<TensorBody>) -> Result<Vec<TensorWire>> {
    let total = inputs.iter().try_fold(0_u64, |n, t| {
        let size = t.shape.iter().try_fold(1_u64, |n, d| n.checked_mul(*d))?;
        n.checked_add(size).filter(|n| *n <= ELEMENTS_MAX as u64)
    });
    if total.is_none() {
        return Err(fault("the tensors are too large", "give up to 2000000 elements together"));
    }
    let names: Vec<(String, Holds)> =
        model.inputs().into_iter().map(|(name, holds)| (name.to_owned(), holds)).collect();
    let columns: Vec<(String, Cells)> = match &inputs[..] {
        [matrix]
            if matches!(matrix.shape[..], [_, width] if width == names.len() as u64)
                && names.iter().all(|(name, holds)| *holds == Holds::Number && *name != matrix.name) =>
        {
            let all = elements(matrix)?;
            names
                .iter()
                .enumerate()
                .map(|(j, (name, _))| {
                    let column: Vec<&Value> = all.iter().skip(j).step_by(names.len()).copied().collect();
                    Ok((name.clone(), cells(matrix, &column)?))
                })
                .collect::<Result<_>>()?
        }
        _ => inputs.iter().map(|t| Ok((t.name.clone(), column(t)?))).collect::<Result<_>>()?,
    };
    let frame = model.frame(columns)?;
    if frame.n_rows() == 0 {
        return Err(fault("the tensors have no rows", "give at least one"));
    }
    let table = model.predict(run, &frame, false)?.answers;
    let columns = tradewind::answers::values(&table)?;
    let n = table.num_rows();
    let m = model.manifest();
    let bytes = |name: &str| if name == "prediction" && m.task.is_classes() { "BYTES" } else { "FP64" };
    let (chances, plain): (Vec<_>, Vec<_>) =
        columns.into_iter().partition(|(name, _)| name.starts_with("p_"));
    let mut out: Vec<TensorWire> = plain
        .into_iter()
        .map(|(name, data)| TensorWire { datatype: bytes(&name), name, shape: vec![n], data })
        .collect();
    if !chances.is_empty() {
        let data = (0..n).flat_map(|row| chances.iter().map(move |(_, c)| c[row].clone())).collect();
        out.push(TensorWire {
            name: "probabilities".into(),
            shape: vec![n, chances.len()],
            datatype: "FP64",
            data,
        });
    }
    Ok(out)
}

fn of_forecasts(
    f: &Forecasts,
    inputs: Vec<TensorBody>,
    parameters: &Map<String, Value>,
) -> Result<Vec<TensorWire>> {
    let word = |name: &str, usual: &'static str| match parameters.get(name) {
        None => Ok(usual.to_owned()),
        Some(Value::String(word)) => Ok(word.clone()),
        Some(_) => Err(fault(format!("the parameter `{name}` is no text"), "give it as a text")),
    };
    let unknown = |name: &str, hint: &str| fault(format!("the parameter `{name}` has no such value"), hint);
    let target = TargetKind::find(&word("target", "units")?)
        .ok_or_else(|| unknown("target", "give units or revenue"))?;
    let by =
        By::find(&word("by", "product")?).ok_or_else(|| unknown("by", "give product, category or store"))?;
    let Some(Cells::Texts(ids)) = inputs.iter().find(|t| t.name == "id").map(column).transpose()? else {
        return Err(fault("there is no tensor `id` of the datatype BYTES", "name the series in it"));
    };
    if ids.is_empty() || ids.len() > SERIES_MAX {
        return Err(fault(format!("{} series", ids.len()), "ask for 1 to 1000"));
    }
    let (mut ds, mut mean, mut quantiles) = (Vec::new(), Vec::new(), Vec::new());
    for (row, id) in ids.iter().enumerate() {
        let id = id.as_deref().ok_or_else(|| fault(format!("series {row} has no name"), "name it"))?;
        let said = f.series(&ForecastQuery { target, by, id, horizon: None, levels: None })?;
        for step in said.steps {
            ds.push(json!(f.freq().format(step.ds)));
            mean.push(json!(step.mean));
            quantiles.extend(step.quantiles.into_iter().map(Value::from));
        }
    }
    let (n, h, q) = (ids.len(), f.horizon(), f.levels().len());
    let levels = f.levels().iter().copied().map(Value::from).collect();
    let tensor =
        |name: &str, datatype, shape, data| TensorWire { name: name.to_owned(), shape, datatype, data };
    Ok(vec![
        tensor("ds", "BYTES", vec![n, h], ds),
        tensor("mean", "FP64", vec![n, h], mean),
        tensor("quantiles", "FP64", vec![n, h, q], quantiles),
        tensor("levels", "FP64", vec![q], levels),
    ])
}

pub(super) fn add(routes: Routes) -> Routes {
    let door = Door::Key(Role::Viewer, Some(Scope::Learn));
    let limits = Limits { body: Some(BODY_BYTES_MAX), ..Limits::USUAL };
    routes
        .at(Door::Open, routes!(live))
        .at(Door::Open, routes!(ready))
        .at(Door::Key(Role::Viewer, None), routes!(server_metadata))
        .at(door, routes!(model_metadata))
        .at(door, routes!(version_metadata))
        .at(door, routes!(model_ready))
        .at(door, routes!(version_ready))
        .limited(door, limits, routes!(infer_model))
        .limited(door, limits, routes!(infer_version))
}

/// Bytes of a body with tensors at most.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Whether the server lives.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    live: bool,
}

/// Whether something is ready.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    ready: bool,
}

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerMetadata {
    /// The program.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// Extensions of the protocol.
    #[schema(value_type = Vec<String>)]
    extensions: [&'static str; 0],
}

/// Whether the server lives.
#[utoipa::path(get, path = "/v2/health/live", tag = "inference", responses((status = 200, description = "It answers", body = Live)))]
async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether all that was asked to be loaded is loaded.
#[utoipa::path(
    get, path = "/v2/health/ready", tag = "inference",
    responses((status = 200, description = "Yes", body = Ready), (status = 503, description = "No", body = Ready))
)]
async fn ready(State(server): State<Server>) -> (StatusCode, Json<Ready>) {
    let ready = server.readiness.is_ready();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(Ready { ready }))
}

/// What the server is.
#[utoipa::path(get, path = "/v2", tag = "inference", responses((status = 200, description = "This", body = ServerMetadata)))]
async fn server_metadata() -> Json<ServerMetadata> {
    Json(ServerMetadata { name: "tradewind", version: env!("CARGO_PKG_VERSION"), extensions: [] })
}

/// The loaded versions of a model, and the route that splits its requests.
struct Found {
    route: String,
    versions: Vec<u64>,
    loaded: Option<Arc<Loaded>>,
}

/// A model by its name in the registry; `number` asks for one version, else the split of its route decides.
fn find(domain: &Domain, model: &str, number: Option<&str>, request: &str) -> Result<Found, Problem> {
    let table = domain.serving.table();
    let of_model = |l: &Arc<Loaded>| l.identity.model == model;
    // A route that an arm of an experiment holds is for the users of the arm.
    let routes = || table.routes().filter(|(name, _)| !arms::is_held(name));
    let route = routes().find(|(_, route)| of_model(route.main()));
    let route = route.or_else(|| routes().find(|(_, route)| route.versions().any(of_model)));
    let Some((name, route)) = route else {
        let mut known: Vec<&str> = routes().map(|(_, r)| r.main().identity.model.as_str()).collect();
        known.dedup();
        let shown: String = model.chars().take(100).collect();
        return Err(Problem::new(
            ErrorKind::NotFound,
            format!("no version of the model `{shown}` is loaded"),
        )
        .hint(format!("loaded are: {}", known.join(", "))));
    };
    let mut versions: Vec<u64> =
        route.versions().filter(|l| of_model(l)).map(|l| l.identity.version).collect();
    versions.sort_unstable();
    versions.dedup();
    let loaded = match number {
        None => {
            let assigned = route.assign(None, request).loaded;
            let own =
                if of_model(assigned) { Some(assigned) } else { route.versions().find(|l| of_model(l)) };
            own.cloned()
        }
        Some(number) => {
            let number = number.parse::<u64>().ok();
            let one = route.versions().find(|l| of_model(l) && Some(l.identity.version) == number).cloned();
            if one.is_none() {
                let known: Vec<String> = versions.iter().map(u64::to_string).collect();
                let text = "this version of the model is not loaded";
                return Err(
                    Problem::new(ErrorKind::NotFound, text).hint(format!("loaded are: {}", known.join(", ")))
                );
            }
            one
        }
    };
    Ok(Found { route: name.to_owned(), versions, loaded })
}

fn told(
    domain: &Domain,
    model: &str,
    number: Option<&str>,
    id: &RequestId,
) -> Result<Json<ModelMetadata>, Problem> {
    let found = find(domain, model, number, id.text())?;
    let loaded = found.loaded.ok_or_else(|| domain.nobody(&found.route))?;
    Ok(Json(metadata(&loaded, &found.versions)?))
}

/// What a model reads and answers.
#[utoipa::path(
    get, path = "/v2/models/{model}", tag = "inference",
    params(("model" = String, Path, description = "The model's name in the registry")),
    responses((status = 200, description = "Its tensors", body = ModelMetadata))
)]
async fn model_metadata(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path(model): Path<String>,
) -> Result<Json<ModelMetadata>, Problem> {
    told(&domain, &model, None, &id)
}

/// What a version reads and answers.
#[utoipa::path(
    get, path = "/v2/models/{model}/versions/{version}", tag = "inference",
    params(
        ("model" = String, Path, description = "The model's name in the registry"),
        ("version" = String, Path, description = "The version's number"),
    ),
    responses((status = 200, description = "Its tensors", body = ModelMetadata))
)]
async fn version_metadata(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelMetadata>, Problem> {
    told(&domain, &model, Some(&version), &id)
}

/// Whether a model is loaded.
#[utoipa::path(
    get, path = "/v2/models/{model}/ready", tag = "inference",
    params(("model" = String, Path, description = "The model's name in the registry")),
    responses((status = 200, description = "Yes", body = Ready))
)]
async fn model_ready(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path(model): Path<String>,
) -> Result<Json<Ready>, Problem> {
    find(&domain, &model, None, id.text()).map(|_| Json(Ready { ready: true }))
}

/// Whether a version is loaded.
#[utoipa::path(
    get, path = "/v2/models/{model}/versions/{version}/ready", tag = "inference",
    params(
        ("model" = String, Path, description = "The model's name in the registry"),
        ("version" = String, Path, description = "The version's number"),
    ),
    responses((status = 200, description = "Yes", body = Ready))
)]
async fn version_ready(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Ready>, Problem> {
    find(&domain, &model, Some(&version), id.text()).map(|_| Json(Ready { ready: true }))
}

async fn inferred(
    domain: &Domain,
    model: &str,
    number: Option<&str>,
    id: &RequestId,
    asked: InferBody,
) -> Result<Response, Problem> {
    let found = find(domain, model, number, id.text())?;
    let loaded = found.loaded.ok_or_else(|| domain.nobody(&found.route))?;
    let asks = loaded.clone();
    let body = domain.work(move |run| infer(run, &asks, asked)).await?;
    Ok(fresh(&loaded, "application/json", body))
}

/// Inference by the version in production.
#[utoipa::path(
    post, path = "/v2/models/{model}/infer", tag = "inference",
    params(("model" = String, Path, description = "The model's name in the registry")),
    request_body = InferBody,
    responses((status = 200, description = "The tensors", body = InferAnswer))
)]
async fn infer_model(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path(model): Path<String>,
    Body(asked): Body<InferBody>,
) -> Result<Response, Problem> {
    inferred(&domain, &model, None, &id, asked).await
}

/// Inference by one version.
#[utoipa::path(
    post, path = "/v2/models/{model}/versions/{version}/infer", tag = "inference",
    params(
        ("model" = String, Path, description = "The model's name in the registry"),
        ("version" = String, Path, description = "The version's number"),
    ),
    request_body = InferBody,
    responses((status = 200, description = "The tensors", body = InferAnswer))
)]
async fn infer_version(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Path((model, version)): Path<(String, String)>,
    Body(asked): Body<InferBody>,
) -> Result<Response, Problem> {
    inferred(&domain, &model, Some(&version), &id, asked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64], datatype: &str, data: Value) -> TensorBody {
        TensorBody { name: "x".into(), shape: shape.to_vec(), datatype: datatype.into(), data }
    }

    #[test]
    fn tensors_have_the_shape_they_say() {
        let flat = tensor(&[2, 3], "FP64", json!([1, 2, 3, 4, 5, 6]));
        let nested = tensor(&[2, 3], "FP64", json!([[1, 2, 3], [4, 5, 6]]));
        assert_eq!(elements(&flat).expect("six"), elements(&nested).expect("six"));
        for (shape, data) in [
            (&[2, 3][..], json!([1, 2, 3])),
            (&[1], json!([1, 2])),
            (&[1], json!(1)),
            (&[u64::MAX, 2], json!([1])),
            (&[3_000_000], json!([1])),
        ] {
            assert!(elements(&tensor(shape, "FP64", data)).is_err());
        }
        assert!(elements(&tensor(&[0], "FP64", json!([]))).expect("none").is_empty());
    }

    #[test]
    fn elements_are_of_their_type() {
        let of = |datatype: &str, data: Value| {
            let t = tensor(&[2], datatype, data);
            cells(&t, &elements(&t).expect("two"))
        };
        assert_eq!(of("FP32", json!([1.5, null])).expect("numbers"), Cells::Numbers(vec![Some(1.5), None]));
        assert_eq!(
            of("INT64", json!([1, -2])).expect("numbers"),
            Cells::Numbers(vec![Some(1.0), Some(-2.0)])
        );
        assert_eq!(
            of("BOOL", json!([true, false])).expect("flags"),
            Cells::Flags(vec![Some(true), Some(false)])
        );
        let texts = Cells::Texts(vec![Some("a".into()), None]);
        assert_eq!(of("BYTES", json!(["a", null])).expect("texts"), texts);
        for (datatype, data) in [
            ("INT8", json!([1.5, 1])),
            ("BOOL", json!([1, true])),
            ("BYTES", json!([1, "a"])),
            ("FP64", json!(["1", 2])),
            ("FP128", json!([1, 2])),
        ] {
            assert!(of(datatype, data).is_err(), "{datatype}");
        }
    }
}
