//! `/v1/prices`: at what price products will sell, and on which of their own price points.

use super::wire::{ModelRef, json, listed, next, page};
use crate::serve::domain::{Asked, Domain};
use crate::serve::door::Door;
use crate::serve::extract::Query;
use crate::serve::problem::Problem;
use crate::serve::table::Routes;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tradewind::core::ParamCheck;
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::{Loaded, PriceForecast};
use tradewind::{Freq, Result};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// The route's name in the table of versions.
pub(crate) const ROUTE: &str = "prices";

/// Products named in one question at most.
const IDS_MAX: usize = 200;

/// What prices are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PricesParams {
    /// The products, up to 200 with commas between them; all, in parts, when not said.
    id: Option<String>,
    /// The first so many steps; all that the version holds when not said.
    #[param(minimum = 1)]
    horizon: Option<usize>,
    /// Products to pass over, without `id`.
    offset: Option<usize>,
    /// Products wanted, 1 to 1,000 (50 when not said), without `id`.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// One step ahead.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceStepWire {
    /// The date.
    ds: String,
    /// The price expected.
    mean: f64,
    /// The likeliest of the product's own price points.
    likeliest: f64,
    /// The chance of that point, 0 to 1; 0 where prices were too few to learn it.
    chance: f64,
    /// The quantiles, in the order of the answer's `levels`.
    quantiles: Vec<f64>,
}

/// The prices of one product.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceWire {
    /// The product.
    id: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// The last price known.
    last: Option<f64>,
    /// The steps, the nearest first.
    steps: Vec<PriceStepWire>,
}

impl PriceWire {
    fn of(p: PriceForecast<'_>, freq: Freq) -> Self {
        let step = |s: tradewind::serving::PriceStep| PriceStepWire {
            ds: freq.format(s.ds),
            mean: s.mean,
            likeliest: s.mode,
            chance: s.chance,
            quantiles: s.quantiles,
        };
        Self {
            id: p.id.to_owned(),
            title: p.title.map(str::to_owned),
            category: p.category.map(str::to_owned),
            last: p.last,
            steps: p.steps.into_iter().map(step).collect(),
        }
    }
}

/// Prices of some products.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PricesAnswer {
    /// Which version answered.
    model: ModelRef,
    /// The last date known.
    as_of: Option<String>,
    /// The spacing of the steps, as `D`.
    freq: String,
    /// The levels of the quantiles.
    levels: Vec<f64>,
    /// Products there are.
    total: usize,
    /// The offset of the next part; null at the end.
    next: Option<usize>,
    /// The products.
    items: Vec<PriceWire>,
}

/// Prices of the loaded version, serialised.
pub(crate) fn list(version: &Loaded, asked: &PricesParams) -> Result<Vec<u8>> {
    let prices = version.prices().ok_or_else(|| super::wrong_kind(version, ROUTE))?;
    let all = prices.ids();
    let (ids, following): (Vec<&str>, Option<usize>) = match asked.id.as_deref() {
        Some(id) => {
            let ids: Vec<&str> = match all.iter().any(|known| known == id) {
                true => vec![id],
                false => listed(id).collect(),
            };
            let mut check = ParamCheck::new();
            let n = format!("{} products", ids.len());
            check.require((1..=IDS_MAX).contains(&ids.len()), "id", n, "1 to 200 products").finish()?;
            (ids, None)
        }
        None => {
            let (offset, limit) = page(asked.offset, asked.limit)?;
            let ids: Vec<&str> = all.iter().skip(offset).take(limit).map(String::as_str).collect();
            let following = next(offset, ids.len(), all.len());
            (ids, following)
        }
    };
    let freq = prices.freq();
    let items = ids
        .into_iter()
        .map(|id| Ok(PriceWire::of(prices.series(id, asked.horizon)?, freq)))
        .collect::<Result<_>>()?;
    json(&PricesAnswer {
        model: (&version.identity).into(),
        as_of: prices.cutoff().map(|ds| freq.format(ds)),
        freq: freq.to_string(),
        levels: prices.levels().to_vec(),
        total: all.len(),
        next: following,
        items,
    })
}

pub(super) fn add(routes: Routes) -> Routes {
    routes.at(Door::Key(Role::Viewer, Some(Scope::Prices)), routes!(list_prices))
}

/// At what price products will sell.
#[utoipa::path(
    get, path = "/v1/prices", tag = "prices", params(PricesParams),
    responses(
        (status = 200, description = "Prices of the version in production", body = PricesAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn list_prices(
    State(domain): State<Arc<Domain>>,
    question: Asked,
    Query(asked): Query<PricesParams>,
) -> Result<Response, Problem> {
    domain.kept(ROUTE, &question, move |version| list(version, &asked))
}
