//! `/v1/monitor`: whether the shop's newest data are still like those before, and how far off forecasts were.

use crate::serve::domain::Domain;
use crate::serve::door::{Door, Limits};
use crate::serve::extract::Query;
use crate::serve::problem::Problem;
use crate::serve::state::Server;
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
use tradewind::ops::monitor::error_watch::{FitVerdict, SegmentError};
use tradewind::watching::{self, Earned, ForecastErrors, WeekError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// How long a look through two windows of a table may take.
const DRIFT_TIME_MAX: Duration = Duration::from_secs(600);

pub(super) fn add(routes: Routes) -> Routes {
    let door = Door::Key(Role::Viewer, Some(Scope::Monitor));
    let limits = Limits { time: Some(DRIFT_TIME_MAX), ..Limits::USUAL };
    routes.limited(door, limits, routes!(drift)).limited(door, limits, routes!(errors)).limited(
        door,
        limits,
        routes!(effects),
    )
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

/// Forecasts of a week against what came.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorWeek {
    /// Its first day.
    from: String,
    /// Its last day.
    until: String,
    /// The version whose forecasts they were.
    version: u64,
    /// Forecasts.
    n: u64,
    /// The sum of absolute errors over the sum of what came; null where nothing came.
    wape: Option<f64>,
    /// The sum of errors over the sum of what came; above 0: too much was forecast.
    bias: Option<f64>,
    /// How often what came lay in the central interval of 80 %.
    coverage: Option<f64>,
    /// The share of weeks before, those of the backtest included, that were at least as bad.
    p: Option<f64>,
    /// The alarm's sum as a share of its limit: 1 and more is an alarm.
    level: Option<f64>,
    /// Whether the alarm rang in this week.
    alarm: bool,
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|v| v.is_finite())
}

impl ErrorWeek {
    fn of(freq: Freq, week: &WeekError) -> Self {
        Self {
            from: freq.format(week.from),
            until: freq.format(week.until),
            version: week.version,
            n: week.sums.n,
            wape: finite(week.sums.wape()),
            bias: finite(week.sums.bias()),
            coverage: finite(week.sums.coverage()),
            p: week.step.map(|s| s.p),
            level: week.step.map(|s| s.level),
            alarm: week.step.is_some_and(|s| s.alarm),
        }
    }
}

/// Forecasts of a category in the newest weeks.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorSegment {
    /// The segment, as `category=tea`.
    segment: String,
    /// Forecasts.
    n: u64,
    /// The sum of absolute errors over the sum of what came.
    wape: Option<f64>,
    /// The sum of errors over the sum of what came.
    bias: Option<f64>,
    /// How often what came lay in the central interval of 80 %.
    coverage: Option<f64>,
    /// The usual error of all products.
    expected_wape: Option<f64>,
    /// The error over the usual one.
    ratio: Option<f64>,
}

impl ErrorSegment {
    fn of(s: &SegmentError) -> Self {
        Self {
            segment: s.segment.clone(),
            n: s.sums.n,
            wape: finite(s.wape),
            bias: finite(s.bias),
            coverage: finite(s.coverage),
            expected_wape: s.expected.and_then(|e| finite(e.wape)),
            ratio: finite(s.ratio),
        }
    }
}

/// What is usual.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsualError {
    /// The sum of absolute errors over the sum of what came.
    wape: Option<f64>,
    /// How often what came lay in the central interval of 80 %.
    coverage: Option<f64>,
}

/// What is to be expected before what forecasts are about has come.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComingError {
    /// The first day.
    from: String,
    /// The last day.
    until: String,
    /// Forecasts.
    n: u64,
    /// The sum of absolute errors over the sum of what will come, as expected: the error of the newest weeks, in proportion
    /// to the width of intervals.
    wape: f64,
    /// The width of intervals over that of the newest weeks: 1.3 says that the version is 30 % less sure.
    ratio: f64,
}

/// Whether the version in production learnt enough, and whether that still holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct FitShown {
    /// `sound`; `underfitted` (no better than a simple method); `overfitted` (it knows by heart what it learnt from);
    /// `stale` (it was good and is no longer); `too_few` (forecasts to say more).
    verdict: &'static str,
    /// The errors that decided, one over the other.
    ratio: Option<f64>,
}

impl FitShown {
    fn of(fit: FitVerdict) -> Self {
        let (verdict, ratio) = match fit {
            FitVerdict::Sound => ("sound", None),
            FitVerdict::Underfitted { ratio } => ("underfitted", Some(ratio)),
            FitVerdict::Overfitted { ratio } => ("overfitted", Some(ratio)),
            FitVerdict::Stale { ratio } => ("stale", Some(ratio)),
            FitVerdict::TooFew => ("too_few", None),
        };
        Self { verdict, ratio: ratio.and_then(finite) }
    }
}

/// How far off forecasts were.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorsAnswer {
    /// The model.
    model: String,
    /// The version in production; null while there never was one.
    version: Option<u64>,
    /// Whole weeks, oldest first.
    weeks: Vec<ErrorWeek>,
    /// What is usual for the version in production, by its backtest.
    expected: Option<UsualError>,
    /// The newest four weeks of the version in production by category, the largest part of the error first.
    segments: Vec<ErrorSegment>,
    /// The error of these weeks over the usual one.
    error_ratio: Option<f64>,
    /// Whether the alarm rang since the version is in production.
    alarm: bool,
    /// What is to be expected of the days that have not come; null before a whole week of the
    /// version has come.
    coming: Option<ComingError>,
    /// Whether the version learnt enough; null while there never was one.
    fit: Option<FitShown>,
    /// What cannot be said yet, and why.
    note: Option<String>,
}

impl ErrorsAnswer {
    fn of(told: Option<ForecastErrors>) -> Self {
        let model = watching::MODEL.to_owned();
        let Some(told) = told else {
            let note = Some("no version of forecasts was ever in production".to_owned());
            return Self {
                model,
                version: None,
                weeks: vec![],
                expected: None,
                segments: vec![],
                error_ratio: None,
                alarm: false,
                coming: None,
                fit: None,
                note,
            };
        };
        Self {
            model,
            version: Some(told.version),
            weeks: told.weeks.iter().map(|w| ErrorWeek::of(told.freq, w)).collect(),
            expected: told
                .expected
                .map(|e| UsualError { wape: finite(e.wape), coverage: finite(e.coverage) }),
            segments: told.recent.iter().flat_map(|r| &r.segments).map(ErrorSegment::of).collect(),
            error_ratio: told.ratio(),
            alarm: told.alarm,
            coming: told.coming.map(|c| ComingError {
                from: told.freq.format(c.from),
                until: told.freq.format(c.until),
                n: c.n,
                wape: c.wape,
                ratio: c.ratio,
            }),
            fit: Some(FitShown::of(told.fit)),
            note: told.note,
        }
    }
}

/// How far off the forecasts of products' units were, week by week, as what they were about came in: for each day the
/// newest version that was in production and did not know it.
#[utoipa::path(
    get, path = "/v1/monitor/errors", tag = "monitor",
    responses((status = 200, description = "Weeks, segments and the alarm", body = ErrorsAnswer))
)]
async fn errors(State(server): State<Server>) -> Result<Json<ErrorsAnswer>, Problem> {
    let shop = server.domain.shop()?;
    let versions = watching::reigned(&server.registry).await?;
    let alarm = watching::alarm_settings(&shop.settings().monitor);
    let work = move |run: &tradewind::Run| watching::forecast_errors(run, &shop, &versions, alarm);
    Ok(Json(ErrorsAnswer::of(server.domain.work(work).await?)))
}

/// What a version's forecasts earned.
#[derive(Serialize, ToSchema)]
pub(crate) struct EarnedShown {
    /// The version.
    version: u64,
    /// The one before it.
    before: u64,
    /// The first day that both told beforehand.
    from: Option<String>,
    /// The last one.
    until: Option<String>,
    /// Its sum of absolute errors on these days, in units.
    actual: Option<f64>,
    /// That of the version before it.
    expected: Option<f64>,
    /// The error that was avoided: the difference.
    earned: Option<f64>,
    /// The lower end of its 95 % interval, by products as cases.
    low: Option<f64>,
    /// Its upper end.
    high: Option<f64>,
    /// The error avoided as a share of that of the version before.
    lift: Option<f64>,
    /// How likely chance alone does as well.
    p: Option<f64>,
    /// Why nothing can be told.
    why_not: Option<String>,
}

impl EarnedShown {
    fn of(e: Earned) -> Self {
        let day = |d: i64| Freq::DAILY.format(d);
        let j = e.judgement.as_ref();
        Self {
            version: e.version,
            before: e.before,
            from: e.days.map(|d| day(d.0)),
            until: e.days.map(|d| day(d.1)),
            actual: j.map(|_| e.actual),
            expected: j.map(|_| e.expected),
            earned: j.map(|_| e.expected - e.actual),
            low: j.and_then(|j| finite(j.low * e.expected)),
            high: j.and_then(|j| finite(j.high * e.expected)),
            lift: j.and_then(|j| finite(j.improvement)),
            p: j.and_then(|j| finite(j.p)),
            why_not: match j {
                Some(_) => None,
                None => Some("no day has come yet that both versions told beforehand".to_owned()),
            },
        }
    }
}

/// What versions of forecasts earned.
#[derive(Serialize, ToSchema)]
pub(crate) struct EffectsAnswer {
    /// What is forecast.
    target: String,
    /// Every version but the first, oldest first.
    versions: Vec<EarnedShown>,
}

/// What each version of forecasts earned: the error that the forecasts of the version before it would have had on the same
/// days, less its own.
#[utoipa::path(
    get, path = "/v1/monitor/effects", tag = "monitor",
    responses((status = 200, description = "Versions, oldest first", body = EffectsAnswer))
)]
async fn effects(State(server): State<Server>) -> Result<Json<EffectsAnswer>, Problem> {
    let shop = server.domain.shop()?;
    let versions = watching::reigned(&server.registry).await?;
    let work = move |run: &tradewind::Run| watching::forecasts_earned(run, &shop, &versions);
    let versions = server.domain.work(work).await?.into_iter().map(EarnedShown::of).collect();
    Ok(Json(EffectsAnswer { target: "units".to_owned(), versions }))
}
