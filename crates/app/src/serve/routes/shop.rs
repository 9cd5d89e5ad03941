//! `/v1/overview`, `/v1/history`, `/v1/products`, `/v1/quality`: what the shop's own data say, without any model in
//! production.
//!
//! Answers are kept until an import or a setting changes what they were made from.

use super::wire::{json, listed};
use crate::serve::domain::{Domain, OfShop};
use crate::serve::door::{Door, Limits};
use crate::serve::extract::Query;
use crate::serve::problem::Problem;
use crate::serve::table::Routes;
use crate::serve::time::stamp;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tradewind::core::freq::{DAY, parse_stamp};
use tradewind::core::{ParamCheck, Stamp};
use tradewind::ops::access::{Role, Scope};
use tradewind::overview::{self, Measured};
use tradewind::warehouse::figures::{self, Part, ProductQuery};
use tradewind::warehouse::quality::{self, Bilingual, ColumnProfile, Finding, ImportProfile, TableProfile};
use tradewind::{Error, Freq, Result, Run, Shop};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// Products named in one question at most.
const IDS_MAX: usize = 200;
/// How long a look through all data may take; what it found is kept until they change.
const QUALITY_TIME_MAX: Duration = Duration::from_secs(600);

pub(super) fn add(routes: Routes) -> Routes {
    let door = Door::Key(Role::Viewer, Some(Scope::Shop));
    routes
        .at(door, routes!(show_overview))
        .at(door, routes!(show_history))
        .at(door, routes!(show_products))
        .limited(door, Limits { time: Some(QUALITY_TIME_MAX), ..Limits::USUAL }, routes!(show_quality))
}

/// A number that JSON can hold.
fn known(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The window that is looked at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverviewParams {
    /// Days of the window, 1 to 366.
    #[param(minimum = 1, maximum = 366, default = 28)]
    days: usize,
    /// Days ahead, 0 to 90.
    #[param(minimum = 0, maximum = 90, default = 14)]
    horizon: usize,
}

impl Default for OverviewParams {
    fn default() -> Self {
        Self { days: 28, horizon: 14 }
    }
}

/// A day ahead.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExpectedDayWire {
    /// The day.
    ds: String,
    /// The mean.
    mean: f64,
    /// The lower end of the interval.
    lower: f64,
    /// The upper end.
    upper: f64,
}

/// A measure of the shop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeasureWire {
    /// `revenue`, `units`, `orders`, `average_order` (revenue over orders), `visitors` (each once a day), `conversion`
    /// (visitors of a day who bought, as a share of all).
    name: String,
    /// Over the window.
    total: Option<f64>,
    /// Over as many days before it; null where the data do not reach that far.
    before: Option<f64>,
    /// Over the same days 52 weeks before.
    year_before: Option<f64>,
    /// Each day of the window; null where nothing is known.
    values: Vec<Option<f64>>,
    /// Each day of the window before; empty where the data do not reach that far.
    values_before: Vec<Option<f64>>,
    /// The days ahead.
    expected: Vec<ExpectedDayWire>,
}

impl MeasureWire {
    fn of(m: Measured) -> Self {
        Self {
            name: m.measure.name().to_owned(),
            total: m.total.and_then(known),
            before: m.before.and_then(known),
            year_before: m.year_before.and_then(known),
            values: m.values.into_iter().map(known).collect(),
            values_before: m.values_before.into_iter().map(known).collect(),
            expected: m
                .expected
                .into_iter()
                .map(|d| ExpectedDayWire {
                    ds: Freq::DAILY.format(d.ds),
                    mean: d.mean,
                    lower: d.lower,
                    upper: d.upper,
                })
                .collect(),
        }
    }
}

/// The shop at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewAnswer {
    /// The shop's name; may be empty.
    shop: String,
    /// The currency of money (ISO 4217), by the settings or else by the sales; empty where neither names one.
    currency: String,
    /// The last day of the shop's sales.
    as_of: String,
    /// The first day of the window.
    first: String,
    /// Days of the window.
    days: usize,
    /// The method of what is expected.
    method: String,
    /// The coverage of its intervals.
    coverage: f64,
    /// Those measures that the shop's data hold.
    measures: Vec<MeasureWire>,
}

fn overview_of(run: &Run, shop: &Shop, asked: &OverviewParams) -> Result<Vec<u8>> {
    let told = overview::overview(run, shop, asked.days, asked.horizon)?;
    json(&OverviewAnswer {
        shop: shop.settings().shop.name.clone(),
        currency: figures::currency(shop)?,
        as_of: Freq::DAILY.format(told.as_of),
        first: Freq::DAILY.format(told.first),
        days: asked.days,
        method: overview::METHOD.to_owned(),
        coverage: overview::COVERAGE,
        measures: told.measures.into_iter().map(MeasureWire::of).collect(),
    })
}

/// The shop at a glance: its measures over a window, beside the window before and the year before, and what is expected.
#[utoipa::path(
    get, path = "/v1/overview", tag = "shop", params(OverviewParams),
    responses(
        (status = 200, description = "The measures", body = OverviewAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn show_overview(
    State(domain): State<Arc<Domain>>,
    uri: Uri,
    headers: HeaderMap,
    Query(asked): Query<OverviewParams>,
) -> Result<Response, Problem> {
    domain.of_shop(&OfShop::new(&uri, &headers), move |run, shop| overview_of(run, shop, &asked)).await
}

/// What days are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartParam {
    /// The whole shop.
    #[default]
    Shop,
    /// One product.
    Product,
    /// One category.
    Category,
    /// One store or channel.
    Store,
}

/// Whose days are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// What the days are of.
    by: PartParam,
    /// The product, category or store; nothing for the whole shop.
    id: Option<String>,
    /// The first day, as `2026-01-31`; the first that sold when not said.
    #[param(format = Date)]
    from: Option<String>,
}

/// The days of one part of the shop. Lists have an entry a day, from `first` on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryAnswer {
    /// What the days are of.
    by: PartParam,
    /// The product, category or store.
    id: Option<String>,
    /// The currency of money (ISO 4217), by the settings or else by the sales; empty where neither names one.
    currency: String,
    /// The first day.
    first: String,
    /// The last day of the shop's sales.
    as_of: String,
    /// Units after returns.
    units: Vec<f64>,
    /// Money taken after returns; empty where the sales have none.
    revenue: Vec<f64>,
    /// Mean price paid for a unit; null on days without a priced sale.
    price: Vec<Option<f64>>,
}

fn history_of(run: &Run, shop: &Shop, asked: &HistoryParams) -> Result<Vec<u8>> {
    let id = asked.id.clone().filter(|id| !id.is_empty());
    let part = match (asked.by, &id) {
        (PartParam::Shop, None) => Part::Shop,
        (PartParam::Product, Some(id)) => Part::Product(id.clone()),
        (PartParam::Category, Some(id)) => Part::Category(id.clone()),
        (PartParam::Store, Some(id)) => Part::Store(id.clone()),
        (PartParam::Shop, Some(_)) => {
            return Err(Error::asked(
                "`id` names a part, `by` does not say of what",
                "add by=product, category or store",
            ));
        }
        (_, None) => return Err(Error::asked("`id` is missing", "name the product, category or store")),
    };
    let from: Option<Stamp> = match asked.from.as_deref() {
        None => None,
        Some(text) => Some(
            parse_stamp(text)
                .ok_or_else(|| Error::asked("`from` is no day", "write it as from=2026-01-31"))?,
        ),
    };
    let days = figures::sales(run, shop, &part, from)?;
    json(&HistoryAnswer {
        by: asked.by,
        id,
        currency: figures::currency(shop)?,
        first: Freq::DAILY.format(days.first),
        as_of: Freq::DAILY.format(days.first + (days.units.len() as i64 - 1) * DAY),
        units: days.units,
        revenue: days.revenue,
        price: days.price.into_iter().map(known).collect(),
    })
}

/// What a product, category, store or the whole shop sold each day, cleaned as models see it.
#[utoipa::path(
    get, path = "/v1/history", tag = "shop", params(HistoryParams),
    responses(
        (status = 200, description = "The days", body = HistoryAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn show_history(
    State(domain): State<Arc<Domain>>,
    uri: Uri,
    headers: HeaderMap,
    Query(asked): Query<HistoryParams>,
) -> Result<Response, Problem> {
    domain.of_shop(&OfShop::new(&uri, &headers), move |run, shop| history_of(run, shop, &asked)).await
}

/// Which products are looked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProductsParams {
    /// Only these, up to 200 with commas between them.
    id: Option<String>,
    /// Only those whose id or title holds this text.
    q: Option<String>,
    /// Only this category.
    category: Option<String>,
    /// Products wanted, 1 to 1,000 (50 when not said).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A product of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductWire {
    /// Its id.
    id: String,
    /// Its title.
    title: Option<String>,
    /// Its category.
    category: Option<String>,
    /// Its brand.
    brand: Option<String>,
    /// Its list price.
    price: Option<f64>,
}

/// A name with how many things bear it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedCount {
    /// The name.
    name: String,
    /// How many.
    n: u64,
}

/// Some products, and what the catalogue can be narrowed to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductsAnswer {
    /// The products by id.
    products: Vec<ProductWire>,
    /// All categories with their products.
    categories: Vec<NamedCount>,
    /// All stores and channels with their sales lines.
    stores: Vec<NamedCount>,
}

fn products_of(shop: &Shop, asked: &ProductsParams) -> Result<Vec<u8>> {
    let (_, limit) = super::wire::page(None, asked.limit)?;
    let ids: Vec<String> =
        asked.id.as_deref().map(|t| listed(t).map(str::to_owned).collect()).unwrap_or_default();
    let mut check = ParamCheck::new();
    check.require(ids.len() <= IDS_MAX, "id", format!("{} products", ids.len()), "up to 200").finish()?;
    let text = asked.q.as_deref().map(str::trim).filter(|q| !q.is_empty()).map(str::to_owned);
    let query = ProductQuery { ids, text, category: asked.category.clone().filter(|c| !c.is_empty()), limit };
    let counts =
        |list: Vec<(String, u64)>| list.into_iter().map(|(name, n)| NamedCount { name, n }).collect();
    let products = figures::products(shop, &query)?.into_iter().map(|p| ProductWire {
        id: p.id,
        title: p.title,
        category: p.category,
        brand: p.brand,
        price: p.price,
    });
    json(&ProductsAnswer {
        products: products.collect(),
        categories: counts(figures::categories(shop)?),
        stores: counts(figures::stores(shop)?),
    })
}

/// Products of the catalogue, and the categories and stores there are.
#[utoipa::path(
    get, path = "/v1/products", tag = "shop", params(ProductsParams),
    responses(
        (status = 200, description = "The products", body = ProductsAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn show_products(
    State(domain): State<Arc<Domain>>,
    uri: Uri,
    headers: HeaderMap,
    Query(asked): Query<ProductsParams>,
) -> Result<Response, Problem> {
    domain.of_shop(&OfShop::new(&uri, &headers), move |_, shop| products_of(shop, &asked)).await
}

/// The same text in two languages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BilingualWire {
    /// English.
    en: String,
    /// Chinese.
    zh: String,
}

impl From<Bilingual> for BilingualWire {
    fn from(text: Bilingual) -> Self {
        Self { en: text.en.to_owned(), zh: text.zh.to_owned() }
    }
}

/// Something strange in the data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingWire {
    /// What, as `missing_days`.
    code: String,
    /// `error`, `warning` or `info`.
    #[schema(value_type = String)]
    severity: quality::Severity,
    /// In which table.
    table: String,
    /// How often, in the unit that the meaning says.
    count: u64,
    /// Out of how many, where that makes sense.
    of: Option<u64>,
    /// A few cases; never personal data.
    examples: Vec<String>,
    /// A few words that name it.
    title: BilingualWire,
    /// What it means.
    meaning: BilingualWire,
    /// What to do.
    remedy: BilingualWire,
}

impl From<Finding> for FindingWire {
    fn from(f: Finding) -> Self {
        Self {
            code: f.code.name(),
            severity: f.severity,
            table: f.table,
            count: f.count,
            of: f.of,
            examples: f.examples,
            title: f.title.into(),
            meaning: f.meaning.into(),
            remedy: f.remedy.into(),
        }
    }
}

/// A column of a table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnProfileWire {
    /// Its name.
    name: String,
    /// The share of empty cells, 0 to 1.
    null_share: f64,
    /// The smallest value; null for personal data and empty columns.
    min: Option<String>,
    /// The largest value; null for personal data and empty columns.
    max: Option<String>,
    /// About how many values differ; null for numbers.
    distinct: Option<u64>,
}

impl From<ColumnProfile> for ColumnProfileWire {
    fn from(c: ColumnProfile) -> Self {
        Self { name: c.column, null_share: c.null_share, min: c.min, max: c.max, distinct: c.distinct }
    }
}

/// A table that has rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TableProfileWire {
    /// Its name.
    name: String,
    /// Its rows.
    rows: u64,
    /// Bytes of its files.
    bytes: u64,
    /// Its columns.
    columns: Vec<ColumnProfileWire>,
}

impl From<TableProfile> for TableProfileWire {
    fn from(t: TableProfile) -> Self {
        let columns = t.columns.into_iter().map(Into::into).collect();
        Self { name: t.table, rows: t.rows, bytes: t.bytes, columns }
    }
}

/// An import.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportWire {
    /// Its number.
    id: i64,
    /// What was imported.
    name: String,
    /// The preset or mapping.
    preset: String,
    /// When it ended.
    #[schema(format = DateTime)]
    finished_at: String,
    /// Rows by table.
    rows: BTreeMap<String, u64>,
    /// Rows refused, by reason.
    rejects: BTreeMap<String, u64>,
}

impl From<ImportProfile> for ImportWire {
    fn from(i: ImportProfile) -> Self {
        let finished_at = stamp(i.finished_ms);
        Self { id: i.id, name: i.name, preset: i.preset, finished_at, rows: i.rows, rejects: i.rejects }
    }
}

/// Whether the data are clean.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityAnswer {
    /// What is strange, worst first.
    findings: Vec<FindingWire>,
    /// Every table that has rows.
    tables: Vec<TableProfileWire>,
    /// Every import, oldest first.
    imports: Vec<ImportWire>,
}

fn quality_of(run: &Run, shop: &Shop) -> Result<Vec<u8>> {
    let report = quality::check(run, shop)?;
    json(&QualityAnswer {
        findings: report.findings.into_iter().map(Into::into).collect(),
        tables: report.tables.into_iter().map(Into::into).collect(),
        imports: report.imports.into_iter().map(Into::into).collect(),
    })
}

/// Whether the data are clean: what is strange in them, what it means and what to do.
#[utoipa::path(
    get, path = "/v1/quality", tag = "shop",
    responses(
        (status = 200, description = "The report", body = QualityAnswer),
        (status = 304, description = "It is as the caller has it"),
    )
)]
async fn show_quality(
    State(domain): State<Arc<Domain>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    domain.of_shop(&OfShop::new(&uri, &headers), quality_of).await
}
