//! `/v1/trends`: what rises, holds and falls, and why.

use super::wire::{GroupParam, LanguageParam, ModelRef, json, next, page};
use crate::serve::domain::{Asked, Domain};
use crate::serve::door::Door;
use crate::serve::extract::{Path, Query};
use crate::serve::problem::Problem;
use crate::serve::table::Routes;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::{Loaded, TrendItem, TrendQuery, TrendSort, trend_reason};
use tradewind::wording::Language;
use tradewind::{Basis, ChangePoint, Direction, DriverKind, Freq, Result, Stage};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// The route's name in the table of versions.
pub(crate) const ROUTE: &str = "trends";

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DirectionParam {
    /// Fewer, beyond the threshold.
    Falling,
    /// About the same.
    Steady,
    /// More, beyond the threshold.
    Rising,
}

impl From<DirectionParam> for Direction {
    fn from(direction: DirectionParam) -> Self {
        match direction {
            DirectionParam::Falling => Self::Falling,
            DirectionParam::Steady => Self::Steady,
            DirectionParam::Rising => Self::Rising,
        }
    }
}

impl From<Direction> for DirectionParam {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Falling => Self::Falling,
            Direction::Steady => Self::Steady,
            Direction::Rising => Self::Rising,
        }
    }
}

/// The order of the list; all but `name` begin with the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SortParam {
    /// The chance of the direction asked for, of rising without one.
    #[default]
    Probability,
    /// Expected growth.
    Growth,
    /// Units expected.
    Units,
    /// Units moved up or down.
    Moved,
    /// The series' names.
    Name,
}

/// What trends are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrendsParams {
    /// What the series are of.
    by: GroupParam,
    /// Only those that most likely go this way and sell enough for a direction.
    direction: Option<DirectionParam>,
    /// Least probability of that direction, 0 to 1.
    #[param(minimum = 0, maximum = 1)]
    probability_min: Option<f64>,
    /// Only this category.
    category: Option<String>,
    /// Only series whose name or title holds this text.
    q: Option<String>,
    /// The order.
    #[param(inline)]
    sort: SortParam,
    /// The other way round.
    reverse: bool,
    /// Items to pass over.
    offset: Option<usize>,
    /// Items wanted, 1 to 1,000 (50 when not said).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Whether each item comes with its reason in words.
    reason: bool,
    /// The language of reasons.
    lang: Option<LanguageParam>,
}

/// How one trend is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrendParams {
    /// What the series is of.
    by: GroupParam,
    /// The language of the reason.
    lang: Option<LanguageParam>,
}

/// A date on which the level of a series changed for good.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangePointWire {
    /// The first date of the new level.
    ds: String,
    /// Mean units a step before.
    before: f64,
    /// Mean units a step after.
    after: f64,
}

/// One cause of a trend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriverWire {
    /// What sort of cause: season, holiday, price, promotion, momentum, level, category, shop, life_cycle, regularity,
    /// stock, interest.
    #[schema(value_type = String)]
    kind: DriverKind,
    /// Its share of all causes, 0 to 1.
    share: f64,
    /// Which way it pushes.
    toward: DirectionParam,
    /// What exactly, as the key of a festival.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// The trend of one series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrendWire {
    /// The product, category, store or word.
    id: String,
    /// The product's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// The likeliest direction.
    direction: DirectionParam,
    /// Probabilities of the three directions; they sum to 1.
    probabilities: ProbabilitiesWire,
    /// The chance that the series sells enough for a direction, 0 to 1.
    counted: f64,
    /// Expected growth of the next window over the last: 0.25 is a quarter more.
    growth: f64,
    /// Lower end of the growth interval.
    growth_lower: f64,
    /// Upper end of the growth interval.
    growth_upper: f64,
    /// Units of the last window.
    units_last: f64,
    /// Units expected in the next window.
    units_expected: f64,
    /// The stage of life: new, rising, peak, mature, falling, dormant, seasonal.
    #[schema(value_type = String)]
    stage: Stage,
    /// What the answer rests on: history, attributes.
    #[schema(value_type = String)]
    basis: Basis,
    /// When the level changed, oldest first.
    change_points: Vec<ChangePointWire>,
    /// Why, largest share first.
    drivers: Vec<DriverWire>,
    /// The answer with its causes in one sentence, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Probabilities of the three directions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProbabilitiesWire {
    /// Of falling.
    falling: f64,
    /// Of holding.
    steady: f64,
    /// Of rising.
    rising: f64,
}

impl TrendWire {
    fn of(item: &TrendItem, freq: Freq, reason: Option<Language>) -> Self {
        let t = &item.trend;
        let change =
            |c: &ChangePoint| ChangePointWire { ds: freq.format(c.ds), before: c.before, after: c.after };
        let drivers = t.drivers.iter().map(|d| DriverWire {
            kind: d.kind,
            share: d.share,
            toward: d.toward.into(),
            detail: d.detail.clone(),
            text: reason.map(|language| tradewind::wording::driver(language, d)),
        });
        let [falling, steady, rising] = t.probabilities;
        Self {
            id: t.unique_id.clone(),
            title: item.title.clone(),
            category: item.category.clone(),
            direction: t.direction().into(),
            probabilities: ProbabilitiesWire { falling, steady, rising },
            counted: item.counted,
            growth: t.growth,
            growth_lower: t.growth_lower,
            growth_upper: t.growth_upper,
            units_last: t.units_last,
            units_expected: t.units_expected,
            stage: t.stage,
            basis: t.basis,
            change_points: t.change_points.iter().map(change).collect(),
            drivers: drivers.collect(),
            reason: reason.map(|language| trend_reason(t, language)),
        }
    }
}

/// A part of the list of trends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrendsAnswer {
    /// Which version answered.
    model: ModelRef,
    /// What the series are of.
    by: GroupParam,
    /// The last date known.
    as_of: String,
    /// Steps of the next and of the last window.
    horizon: usize,
    /// The spacing of the steps, as `D`.
    freq: String,
    /// Growth beyond which a trend rises or falls.
    threshold: f64,
    /// Series that the filters leave.
    total: usize,
    /// Series passed over.
    offset: usize,
    /// The offset of the next part; null at the end.
    next: Option<usize>,
    /// The series.
    items: Vec<TrendWire>,
}

/// One trend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrendAnswer {
    /// Which version answered.
    model: ModelRef,
    /// What the series is of.
    by: GroupParam,
    /// The last date known.
    as_of: String,
    /// Steps of the next and of the last window.
    horizon: usize,
    /// The spacing of the steps, as `D`.
    freq: String,
    /// The trend, with its reason.
    trend: TrendWire,
    /// How good such answers were on past dates that the model had not seen; null where the past is too short.
    #[schema(value_type = Object)]
    quality: serde_json::Value,
}

/// A part of the list, serialised.
pub(crate) fn list(version: &Loaded, asked: &TrendsParams) -> Result<Vec<u8>> {
    let trends = version.trends().ok_or_else(|| super::wrong_kind(version, ROUTE))?;
    let (offset, limit) = page(asked.offset, asked.limit)?;
    let probability_min = asked.probability_min.unwrap_or(0.0);
    let mut check = tradewind::core::ParamCheck::new();
    let ok = (0.0..=1.0).contains(&probability_min);
    check.require(ok, "probability_min", probability_min, "0 to 1").finish()?;
    let query = TrendQuery {
        direction: asked.direction.map(Into::into),
        probability_min,
        category: asked.category.as_deref(),
        text: asked.q.as_deref().filter(|q| !q.is_empty()),
        sort: match asked.sort {
            SortParam::Probability => TrendSort::Probability,
            SortParam::Growth => TrendSort::Growth,
            SortParam::Units => TrendSort::Units,
            SortParam::Moved => TrendSort::Moved,
            SortParam::Name => TrendSort::Name,
        },
        reverse: asked.reverse,
        offset,
        limit,
        ..TrendQuery::of(asked.by.into())
    };
    let found = trends.page(&query)?;
    let freq = trends.freq();
    let reason = asked.reason.then(|| asked.lang.map_or(Language::En, Into::into));
    json(&TrendsAnswer {
        model: (&version.identity).into(),
        by: asked.by,
        as_of: freq.format(trends.quality(asked.by.into())?.0),
        horizon: trends.settings().horizon,
        freq: freq.to_string(),
        threshold: trends.settings().threshold,
        total: found.total,
        offset,
        next: next(offset, found.items.len(), found.total),
        items: found.items.iter().map(|t| TrendWire::of(t, freq, reason)).collect(),
    })
}

/// One trend, serialised.
pub(crate) fn one(version: &Loaded, id: &str, asked: &TrendParams) -> Result<Vec<u8>> {
    let trends = version.trends().ok_or_else(|| super::wrong_kind(version, ROUTE))?;
    let item = trends.item(asked.by.into(), id)?;
    let (cutoff, quality) = trends.quality(asked.by.into())?;
    let freq = trends.freq();
    json(&TrendAnswer {
        model: (&version.identity).into(),
        by: asked.by,
        as_of: freq.format(cutoff),
        horizon: trends.settings().horizon,
        freq: freq.to_string(),
        trend: TrendWire::of(item, freq, Some(asked.lang.map_or(Language::En, Into::into))),
        quality: quality.clone(),
    })
}

pub(super) fn add(routes: Routes) -> Routes {
    let door = Door::Key(Role::Viewer, Some(Scope::Trends));
    routes.at(door, routes!(list_trends)).at(door, routes!(one_trend))
}

/// What rises, holds and falls.
#[utoipa::path(
    get, path = "/v1/trends", tag = "trends", params(TrendsParams),
    responses(
        (status = 200, description = "A part of the list", body = TrendsAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn list_trends(
    State(domain): State<Arc<Domain>>,
    question: Asked,
    Query(asked): Query<TrendsParams>,
) -> Result<Response, Problem> {
    domain.kept(ROUTE, &question, move |version| list(version, &asked))
}

/// One trend, with its change points, causes and reason.
#[utoipa::path(
    get, path = "/v1/trends/{id}", tag = "trends",
    params(("id" = String, Path, description = "The product, category, store or word"), TrendParams),
    responses(
        (status = 200, description = "The trend", body = TrendAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn one_trend(
    State(domain): State<Arc<Domain>>,
    question: Asked,
    Path(series): Path<String>,
    Query(asked): Query<TrendParams>,
) -> Result<Response, Problem> {
    domain.kept(ROUTE, &question, move |version| one(version, &series, &asked))
}
