//! `/v1/monitor`: whether the shop's newest data are still like those before.

use crate::serve::domain::Domain;
use crate::serve::door::{Door, Limits};
use crate::serve::extract::Query;
use crate::serve::problem::Problem;
use crate::serve::table::Routes;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tradewind::Freq;
use tradewind::monitoring::{self, TableDrift};
use tradewind::ops::access::{Role, Scope};
use tradewind::ops::monitor::drift::{ColumnDrift, DriftSettings};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// How long a look through two windows of a table may take.
const DRIFT_TIME_MAX: Duration = Duration::from_secs(600);

pub(super) fn add(routes: Routes) -> Routes {
    let door = Door::Key(Role::Viewer, Some(Scope::Monitor));
    routes.limited(door, Limits { time: Some(DRIFT_TIME_MAX), ..Limits::USUAL }, routes!(drift))
}

/// What is compared with what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DriftParams {
    /// The table: sales, events, prices, stock or another whose rows have a time.
    #[serde(default = "usual_table")]
    #[param(default = "sales")]
    table: String,
    /// The newest days.
    #[serde(default = "usual_days")]
    #[param(minimum = 1, maximum = 3660, default = 28)]
    days: usize,
    /// The days before them.
    #[serde(default = "usual_reference")]
    #[param(minimum = 1, maximum = 3660, default = 180)]
    reference_days: usize,
}

fn usual_table() -> String {
    "sales".to_owned()
}

fn usual_days() -> usize {
    28
}

fn usual_reference() -> usize {
    180
}

/// What became of a column.
#[derive(Serialize, ToSchema)]
pub(crate) struct DriftColumn {
    /// Its name.
    column: String,
    /// `number` or `category`.
    kind: String,
    /// `too_few` (rows to say), `stable`, `moderate` (worth a look) or `major` (worth a new model).
    #[schema(value_type = String)]
    verdict: Value,
    /// The measure that decided: `psi`, `wasserstein`, `cramers_v` and so on.
    #[schema(value_type = Option<String>)]
    by: Value,
    /// The largest effect over its moderate threshold: 1 and more is drift if chance is no cause.
    severity: f64,
    /// How likely chance alone does that, corrected for the number of columns; null where it is not known.
    p: Option<f64>,
    /// Every measure with its effect and thresholds.
    #[schema(value_type = Vec<Object>)]
    measures: Value,
    /// The days before in numbers.
    #[schema(value_type = Object)]
    reference: Value,
    /// The newest days in numbers.
    #[schema(value_type = Object)]
    current: Value,
    /// Shares of rows in cells, for a picture.
    #[schema(value_type = Vec<Object>)]
    cells: Value,
}

impl DriftColumn {
    fn of(c: ColumnDrift) -> Self {
        Self {
            column: c.column,
            kind: c.kind.name().to_owned(),
            verdict: json!(c.verdict),
            by: json!(c.by),
            severity: if c.severity.is_finite() { c.severity } else { 0.0 },
            p: c.p_adjusted.is_finite().then_some(c.p_adjusted),
            measures: json!(c.measures),
            reference: json!(c.reference),
            current: json!(c.current),
            cells: json!(c.cells),
        }
    }
}

/// What changed in a table.
#[derive(Serialize, ToSchema)]
pub(crate) struct DriftAnswer {
    /// The table.
    table: String,
    /// The first of the days before.
    reference_from: String,
    /// The first of the newest days.
    from: String,
    /// The newest row.
    until: String,
    /// Rows of the days before.
    reference_rows: u64,
    /// Rows of the newest days.
    current_rows: u64,
    /// The share of columns, of those on which something can be said, that drifted.
    drifted_share: f64,
    /// The columns, the worst first.
    columns: Vec<DriftColumn>,
    /// What is wrong with the data themselves: more missing values, new names, values out of range.
    #[schema(value_type = Vec<Object>)]
    quality: Value,
}

impl DriftAnswer {
    fn of(told: TableDrift) -> Self {
        Self {
            table: told.table.to_owned(),
            reference_from: Freq::DAILY.format(told.reference_from),
            from: Freq::DAILY.format(told.from),
            until: Freq::DAILY.format(told.until),
            reference_rows: told.report.reference_rows,
            current_rows: told.report.current_rows,
            drifted_share: told.report.drifted_share(),
            quality: json!(told.report.quality),
            columns: told.report.columns.into_iter().map(DriftColumn::of).collect(),
        }
    }
}

/// What changed in a table's newest days against those before, by the size of the change and not by its rareness alone.
#[utoipa::path(
    get, path = "/v1/monitor/drift", tag = "monitor", params(DriftParams),
    responses((status = 200, description = "The columns, the worst first", body = DriftAnswer))
)]
async fn drift(
    State(domain): State<Arc<Domain>>,
    Query(asked): Query<DriftParams>,
) -> Result<Json<DriftAnswer>, Problem> {
    let shop = domain.shop()?;
    let work = move |run: &tradewind::Run| {
        let settings = DriftSettings::default();
        monitoring::drift(run, &shop, &asked.table, asked.days, asked.reference_days, &settings)
    };
    Ok(Json(DriftAnswer::of(domain.work(work).await?)))
}
