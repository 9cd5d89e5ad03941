//! `/v1/forecasts`: what will sell; from the loaded version, or fitted on series of the request.

use super::wire::{GroupParam, ModelRef, json, listed, next, numbers, page};
use crate::serve::domain::{Asked, Domain};
use crate::serve::door::Door;
use crate::serve::door::Limits;
use crate::serve::extract::{Body, Query};
use crate::serve::problem::Problem;
use crate::serve::table::Routes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tradewind::core::freq::parse_stamp;
use tradewind::core::{ParamCheck, Params};
use tradewind::forecast::{Options, forecast};
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::{ForecastQuery, Loaded, SeriesForecast, TargetKind};
use tradewind::{Error, Forecast, Freq, Panel, Result, Run};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// The route's name in the table of versions.
pub(crate) const ROUTE: &str = "forecasts";

/// Series named in one question at most.
const IDS_MAX: usize = 200;
/// Series of a request that is fitted at once at most.
pub(crate) const SERIES_MAX: usize = 500;
/// Values of all its series together at most.
pub(crate) const VALUES_MAX: usize = 200_000;
/// Steps ahead at most.
const HORIZON_MAX: usize = 1_000;
/// Methods that learn too long for a request; they belong into a job.
const TOO_SLOW: &[&str] =
    &["auto", "global", "mlp", "lstm", "gru", "cnn_gru", "tcn", "patch_transformer", "price", "auto_arima"];

/// What is forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetParam {
    /// Units sold.
    #[default]
    Units,
    /// Money taken.
    Revenue,
}

impl From<TargetParam> for TargetKind {
    fn from(target: TargetParam) -> Self {
        match target {
            TargetParam::Units => Self::Units,
            TargetParam::Revenue => Self::Revenue,
        }
    }
}

/// What forecasts are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ForecastsParams {
    /// The series, up to 200 with commas between them; all, in parts, when not said.
    id: Option<String>,
    /// What is forecast.
    target: TargetParam,
    /// What the series are of.
    by: GroupParam,
    /// The first so many steps; all that the version holds when not said.
    #[param(minimum = 1)]
    horizon: Option<usize>,
    /// Quantile levels inside those that the version holds, as `0.1,0.5,0.9`; those held when not said.
    levels: Option<String>,
    /// Series to pass over, without `id`.
    offset: Option<usize>,
    /// Series wanted, 1 to 1,000 (50 when not said), without `id`.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// One step ahead.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepWire {
    /// The date or step.
    ds: String,
    /// The mean.
    mean: f64,
    /// The quantiles, in the order of the answer's `levels`.
    quantiles: Vec<f64>,
}

/// The forecast of one series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesWire {
    /// The series.
    id: String,
    /// The product's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// The steps, the nearest first.
    steps: Vec<StepWire>,
}

impl SeriesWire {
    fn of(s: SeriesForecast<'_>, freq: Freq) -> Self {
        Self {
            id: s.id.into(),
            title: s.title.map(str::to_owned),
            category: s.category.map(str::to_owned),
            steps: s
                .steps
                .into_iter()
                .map(|s| StepWire { ds: freq.format(s.ds), mean: s.mean, quantiles: s.quantiles })
                .collect(),
        }
    }
}

/// Forecasts of some series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForecastsAnswer {
    /// Which version answered.
    model: ModelRef,
    /// The method that made the version.
    method: String,
    /// What is forecast.
    target: TargetParam,
    /// What the series are of.
    by: GroupParam,
    /// The last date known.
    as_of: Option<String>,
    /// The spacing of the steps, as `D`.
    freq: String,
    /// The levels of the quantiles.
    levels: Vec<f64>,
    /// Series there are.
    total: usize,
    /// The offset of the next part; null at the end.
    next: Option<usize>,
    /// The series.
    items: Vec<SeriesWire>,
}

/// Forecasts of the loaded version, serialised.
pub(crate) fn list(version: &Loaded, asked: &ForecastsParams) -> Result<Vec<u8>> {
    let forecasts = version.forecasts().ok_or_else(|| super::wrong_kind(version, ROUTE))?;
    let (target, by) = (asked.target.into(), asked.by.into());
    let all = forecasts.ids(target, by)?;
    let levels = asked.levels.as_deref().map(|l| numbers("levels", l)).transpose()?;
    let (ids, following): (Vec<&str>, Option<usize>) = match asked.id.as_deref() {
        Some(id) => {
            // A name may hold a comma itself.
            let whole = [id];
            let ids: Vec<&str> = match all.iter().any(|known| known == id) {
                true => whole.to_vec(),
                false => listed(id).collect(),
            };
            let mut check = ParamCheck::new();
            let allowed = "1 to 200 series";
            check.require((1..=IDS_MAX).contains(&ids.len()), "id", format!("{} series", ids.len()), allowed);
            check.finish()?;
            (ids, None)
        }
        None => {
            let (offset, limit) = page(asked.offset, asked.limit)?;
            let ids: Vec<&str> = all.iter().skip(offset).take(limit).map(String::as_str).collect();
            let following = next(offset, ids.len(), all.len());
            (ids, following)
        }
    };
    let freq = forecasts.freq();
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        let query = ForecastQuery { target, by, id, horizon: asked.horizon, levels: levels.as_deref() };
        items.push(SeriesWire::of(forecasts.series(&query)?, freq));
    }
    json(&ForecastsAnswer {
        model: (&version.identity).into(),
        method: forecasts.method().into(),
        target: asked.target,
        by: asked.by,
        as_of: forecasts.cutoff(target, by)?.map(|ds| freq.format(ds)),
        freq: freq.to_string(),
        levels: levels.unwrap_or_else(|| forecasts.levels().to_vec()),
        total: all.len(),
        next: following,
        items,
    })
}

/// A series of the request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenSeries {
    /// Its name.
    id: String,
    /// The date of its first value, as `2026-01-31`; for counted steps a whole number.
    start: StartWire,
    /// Its values in order; null where unknown.
    values: Vec<Option<f64>>,
}

/// Where a series begins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum StartWire {
    /// A counted step.
    Step(i64),
    /// A date or time.
    Date(String),
}

/// Series to fit a method on, and what to forecast of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FitForecasts {
    /// The series, 1 to 500, together up to 200,000 values.
    series: Vec<GivenSeries>,
    /// The spacing of the values, as `D`, `W`, `MS`, `h`, or `1` for counted steps.
    #[serde(default = "daily")]
    freq: String,
    /// Steps ahead, 1 to 1,000.
    horizon: usize,
    /// The method's name in the catalogue; those that learn long belong into a job.
    #[serde(default = "theta")]
    method: String,
    /// Its parameters.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Coverages of central intervals, as 0.8.
    #[serde(default = "eighty")]
    coverages: Vec<f64>,
}

fn daily() -> String {
    "D".to_owned()
}

fn theta() -> String {
    "theta".to_owned()
}

fn eighty() -> Vec<f64> {
    vec![0.8]
}

/// Forecasts fitted for the request alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FittedAnswer {
    /// The method.
    method: String,
    /// The spacing of the steps.
    freq: String,
    /// The levels of the quantiles.
    levels: Vec<f64>,
    /// The series.
    items: Vec<SeriesWire>,
}

/// Fits and forecasts. It works for a while: not on a thread that answers others.
pub(crate) fn fit(run: &Run, asked: &FitForecasts) -> Result<Vec<u8>> {
    let n_values: usize = asked.series.iter().map(|s| s.values.len()).sum();
    let mut check = ParamCheck::new();
    let n = asked.series.len();
    check.require((1..=SERIES_MAX).contains(&n), "series", n, "1 to 500 series");
    check.require(
        (1..=VALUES_MAX).contains(&n_values),
        "values",
        n_values,
        "1 to 200000 values in all series",
    );
    check.require((1..=HORIZON_MAX).contains(&asked.horizon), "horizon", asked.horizon, "1 to 1000");
    let steps = n.saturating_mul(asked.horizon);
    check.require(
        steps <= VALUES_MAX,
        "horizon",
        format!("{steps} steps of all series"),
        "up to 200000 together",
    );
    for c in &asked.coverages {
        check.require(*c > 0.0 && *c < 1.0, "coverages", c, "above 0 and below 1");
    }
    check.require(asked.coverages.len() <= 20, "coverages", asked.coverages.len(), "up to 20");
    check.finish()?;
    if TOO_SLOW.contains(&asked.method.as_str()) || asked.method == "combination" {
        return Err(Error::asked(
            format!("`{}` learns too long for a request", asked.method),
            "choose a method as theta, ets, mstl or croston, or let a job fit it",
        ));
    }
    let freq: Freq = asked.freq.parse()?;
    let series = asked.series.iter().map(|s| given(s, freq)).collect::<Result<Vec<_>>>()?;
    let panel = Panel::from_series(freq, series)?;
    let params: Params = asked.params.clone();
    let options = Options::new(asked.horizon, &asked.coverages);
    let f: Forecast = forecast(run, &panel, &asked.method, &params, &options)?;
    let levels = f.levels().to_vec();
    let steps = |i: usize| {
        let step = |k: usize| StepWire {
            ds: freq.format(f.ds(i, k)),
            mean: f.mean(i)[k],
            quantiles: levels.iter().map(|l| f.quantile(i, k, *l).unwrap_or(f64::NAN)).collect(),
        };
        (0..f.horizon()).map(step).collect()
    };
    let items = f
        .ids()
        .iter()
        .enumerate()
        .map(|(i, id)| SeriesWire { id: id.clone(), title: None, category: None, steps: steps(i) })
        .collect();
    json(&FittedAnswer {
        method: asked.method.clone(),
        freq: freq.to_string(),
        levels: levels.clone(),
        items,
    })
}

/// The furthest a counted step may lie from 0, so that no sum of steps overflows.
const STEP_MAX: i64 = 1 << 40;

fn given(s: &GivenSeries, freq: Freq) -> Result<(String, i64, Vec<f64>)> {
    let fault = |hint: &str| Error::asked("the `start` of a series does not fit its frequency", hint);
    let start = match &s.start {
        StartWire::Step(step) if !freq.is_dated() && step.abs() <= STEP_MAX => *step,
        StartWire::Date(date) if freq.is_dated() => {
            parse_stamp(date).ok_or_else(|| fault("write it as 2026-01-31 or 2026-01-31T13:00:00"))?
        }
        _ => return Err(fault("give a date for dated frequencies, a whole number for counted steps")),
    };
    if let Some(k) = s.values.iter().flatten().position(|v| v.is_nan() || v.abs() > 1e15) {
        return Err(Error::asked(format!("value {k} of a series is beyond 1e15"), "scale the series down"));
    }
    Ok((s.id.clone(), start, s.values.iter().map(|v| v.unwrap_or(f64::NAN)).collect()))
}

pub(super) fn add(routes: Routes) -> Routes {
    let limits = Limits { body: Some(BODY_BYTES_MAX), ..Limits::USUAL };
    routes.at(Door::Key(Role::Viewer, Some(Scope::Forecasts)), routes!(list_forecasts)).limited(
        Door::Key(Role::Analyst, Some(Scope::Forecasts)),
        limits,
        routes!(fit_forecasts),
    )
}

/// Bytes of a body with series at most.
const BODY_BYTES_MAX: usize = 8 << 20;

/// What will sell.
#[utoipa::path(
    get, path = "/v1/forecasts", tag = "forecasts", params(ForecastsParams),
    responses(
        (status = 200, description = "Forecasts of the version in production", body = ForecastsAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn list_forecasts(
    State(domain): State<Arc<Domain>>,
    question: Asked,
    Query(asked): Query<ForecastsParams>,
) -> Result<Response, Problem> {
    domain.kept(ROUTE, &question, move |version| list(version, &asked))
}

/// What series of the request will do, by a method fitted on them now.
#[utoipa::path(
    post, path = "/v1/forecasts", tag = "forecasts", request_body = FitForecasts,
    responses((status = 200, description = "Forecasts of the series", body = FittedAnswer))
)]
async fn fit_forecasts(
    State(domain): State<Arc<Domain>>,
    Body(asked): Body<FitForecasts>,
) -> Result<Response, Problem> {
    let body = domain.work(move |run| fit(run, &asked)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
