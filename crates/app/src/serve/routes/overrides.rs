//! `/v1/overrides`: planners' figures beside the model's, each with who said so and why.

use super::forecasts::TargetParam;
use super::wire::GroupParam;
use crate::serve::changes::write_down;
use crate::serve::domain::Domain;
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
use serde_json::json;
use std::sync::Arc;
use tradewind::core::freq::parse_stamp;
use tradewind::ops::access::{Principal, Role, Scope};
use tradewind::warehouse::panel::Target;
use tradewind::warehouse::{Figure, NewOverride, Override};
use tradewind::{Error, Freq, Result, forecasts, overrides};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

pub(super) fn add(routes: Routes) -> Routes {
    let viewer = Door::Key(Role::Viewer, Some(Scope::Forecasts));
    let analyst = Door::Key(Role::Analyst, Some(Scope::Forecasts));
    routes.at(viewer, routes!(list)).at(analyst, routes!(set)).at(analyst, routes!(withdraw))
}

/// Which overrides are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct OverridesParams {
    /// Only of this series.
    id: Option<String>,
    /// Those that were taken back as well.
    withdrawn: bool,
}

/// A planner's figure.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverrideWire {
    /// Its number.
    number: i64,
    /// The series.
    id: String,
    /// What makes the series: `product`, `category` or `store`.
    by: String,
    /// What is forecast: `units` or `revenue`.
    target: String,
    /// The frequency, as `D`.
    freq: String,
    /// The first step it holds for.
    first: String,
    /// The last step it holds for.
    last: String,
    /// This value at each step.
    value: Option<f64>,
    /// The model's mean times this.
    factor: Option<f64>,
    /// Who said so.
    author: String,
    /// Why.
    note: String,
    /// When.
    #[schema(format = DateTime)]
    made_at: String,
    /// When it was taken back.
    #[schema(format = DateTime)]
    withdrawn_at: Option<String>,
    /// Who took it back.
    withdrawn_by: Option<String>,
    /// Why it was taken back.
    withdrawn_note: Option<String>,
}

impl OverrideWire {
    fn of(o: Override) -> Self {
        let freq: Freq = o.said.freq.parse().unwrap_or(Freq::DAILY);
        let (value, factor) = match o.said.figure {
            Figure::Value(v) => (Some(v), None),
            Figure::Factor(f) => (None, Some(f)),
        };
        let gone = o.withdrawn;
        Self {
            number: o.id,
            id: o.said.unique_id,
            by: o.said.by,
            target: o.said.target,
            freq: o.said.freq,
            first: freq.format(o.said.first),
            last: freq.format(o.said.last),
            value,
            factor,
            author: o.said.author,
            note: o.said.note,
            made_at: stamp(o.made_ms),
            withdrawn_at: gone.as_ref().map(|w| stamp(w.made_ms)),
            withdrawn_by: gone.as_ref().map(|w| w.author.clone()),
            withdrawn_note: gone.map(|w| w.note),
        }
    }
}

/// Planners' figures.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverridesAnswer {
    /// Oldest first.
    overrides: Vec<OverrideWire>,
}

/// Planners' figures beside the model's.
#[utoipa::path(
    get, path = "/v1/overrides", tag = "forecasts", params(OverridesParams),
    responses((status = 200, description = "The figures", body = OverridesAnswer))
)]
async fn list(
    State(domain): State<Arc<Domain>>,
    Query(asked): Query<OverridesParams>,
) -> Result<Json<OverridesAnswer>, Problem> {
    let shop = domain.shop()?;
    let all = domain.work(move |_| Ok(shop.overrides()?)).await?;
    let wanted = all
        .into_iter()
        .filter(|o| asked.withdrawn || o.withdrawn.is_none())
        .filter(|o| asked.id.as_deref().is_none_or(|id| o.said.unique_id == id));
    Ok(Json(OverridesAnswer { overrides: wanted.map(OverrideWire::of).collect() }))
}

/// A planner's figure for days to come: a value or a factor, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OverrideAsked {
    /// The series.
    id: String,
    /// What makes the series; words have no forecasts.
    #[serde(default)]
    by: GroupParam,
    /// What is forecast.
    #[serde(default)]
    target: TargetParam,
    /// The first day it holds for.
    #[schema(format = Date)]
    first: String,
    /// The last day it holds for; the first when not said.
    #[schema(format = Date)]
    last: Option<String>,
    /// This value each day.
    value: Option<f64>,
    /// The model's mean times this, as 1.2.
    factor: Option<f64>,
    /// Why, so that it can be judged later.
    note: String,
}

fn day(field: &str, text: &str) -> Result<i64> {
    parse_stamp(text).ok_or_else(|| Error::asked(format!("`{field}` is no day"), "write it as 2026-01-31"))
}

/// The name under which a key stands beside its figures.
fn author(caller: &Principal) -> String {
    if caller.name.trim().is_empty() { caller.actor() } else { caller.name.to_string() }
}

/// Set a figure beside the model's. Forecasts themselves stay as they are; both are shown and later judged.
#[utoipa::path(
    post, path = "/v1/overrides", tag = "forecasts", request_body = OverrideAsked,
    responses((status = 201, description = "The figure", body = OverrideWire))
)]
async fn set(
    State(server): State<Server>,
    Caller(caller): Caller,
    Body(asked): Body<OverrideAsked>,
) -> Result<(StatusCode, Json<OverrideWire>), Problem> {
    let shop = server.domain.shop()?;
    let author = author(&caller);
    let kept = server
        .domain
        .work(move |run| {
            let figure = match (asked.value, asked.factor) {
                (Some(v), None) => Figure::Value(v),
                (None, Some(f)) => Figure::Factor(f),
                _ => {
                    return Err(Error::asked("a figure is one number", "give `value` or `factor`, not both"));
                }
            };
            let (by, target) = match (asked.by, asked.target) {
                (GroupParam::Word, _) => {
                    return Err(Error::asked("words have no forecasts", "name a product, category or store"));
                }
                (by, TargetParam::Units) => (by, Target::Units),
                (by, TargetParam::Revenue) => (by, Target::Revenue),
            };
            let first = day("first", &asked.first)?;
            let last = asked.last.as_deref().map_or(Ok(first), |l| day("last", l))?;
            let panel = forecasts::panel_of_shop(run, &shop, by.into(), target, Freq::DAILY)?;
            let said = NewOverride {
                author,
                note: asked.note,
                by: word(&by),
                target: word(&asked.target),
                freq: Freq::DAILY.to_string(),
                unique_id: asked.id,
                first,
                last,
                figure,
                known: panel.last_stamp().unwrap_or(0),
            };
            overrides::add(&shop, &panel, said)
        })
        .await?;
    let details = json!({ "by": kept.said.by, "target": kept.said.target, "note": kept.said.note });
    write_down(&server, &caller, "overrides.set", &object(kept.id), details).await?;
    Ok((StatusCode::CREATED, Json(OverrideWire::of(kept))))
}

/// The word of a parameter.
fn word(param: &impl Serialize) -> String {
    json!(param).as_str().unwrap_or_default().to_owned()
}

/// Why a figure is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WithdrawAsked {
    /// Why.
    note: String,
}

/// Take a figure back; it stays in the list of those taken back.
#[utoipa::path(
    post, path = "/v1/overrides/{number}/withdraw", tag = "forecasts",
    params(("number" = i64, Path, description = "The figure's number")), request_body = WithdrawAsked,
    responses((status = 200, description = "The figure, taken back", body = OverrideWire))
)]
async fn withdraw(
    State(server): State<Server>,
    Caller(caller): Caller,
    Path(number): Path<i64>,
    Body(asked): Body<WithdrawAsked>,
) -> Result<Json<OverrideWire>, Problem> {
    let shop = server.domain.shop()?;
    let (author, note) = (author(&caller), asked.note.clone());
    let gone = server.domain.work(move |_| Ok(shop.withdraw_override(number, &author, &note)?)).await?;
    write_down(&server, &caller, "overrides.withdraw", &object(number), json!({ "note": asked.note }))
        .await?;
    Ok(Json(OverrideWire::of(gone)))
}

fn object(number: i64) -> String {
    format!("override:{number}")
}
