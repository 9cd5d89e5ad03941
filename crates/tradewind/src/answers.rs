//! Answers as tables: what is written to files and handed to other programs.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Date32Type, Field, Float64Type, Int64Type, Schema, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;
use tradewind_core::freq::{DAY, Unit};
use tradewind_core::{Direction, Error, Forecast, Freq, Result, Stamp, Trend};
use tradewind_forecast::anomalies::Anomaly;
use tradewind_forecast::global::{ExplainedStep, Link};
use tradewind_forecast::relations::{Relations, Source};
use tradewind_forecast::scenarios::Scenarios;

/// Stamps as a column: dates for days and longer, times for hours and minutes, whole numbers for counted steps.
fn stamps(freq: Freq, values: Vec<Stamp>) -> ArrayRef {
    match freq.unit {
        Unit::Step => Arc::new(Int64Array::from(values)),
        Unit::Minute | Unit::Hour => Arc::new(TimestampMillisecondArray::from_iter_values(
            values.into_iter().map(|s| s.saturating_mul(1000)),
        )),
        _ => Arc::new(Date32Array::from_iter_values(
            values.into_iter().map(|s| i32::try_from(s.div_euclid(DAY)).unwrap_or(i32::MAX)),
        )),
    }
}

/// Columns as a table.
pub(crate) fn batch(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, a)| Field::new(name, a.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|c| c.1).collect())
        .map_err(|e| Error::Invalid(format!("the answer does not form a table: {e}")))
}

/// Numbers as a column.
pub(crate) fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    // Unknown is null in files, since not every reader knows NaN.
    Arc::new(values.map(|v| v.is_finite().then_some(v)).collect::<Float64Array>())
}

/// Texts as a column.
pub(crate) fn texts<S: AsRef<str>>(values: impl Iterator<Item = S>) -> ArrayRef {
    // Collected first: the builder wants to know how many there are, which a flattened iterator cannot say.
    Arc::new(StringArray::from_iter_values(values.collect::<Vec<S>>()))
}

/// The name of a quantile's column: level 0.1 is `q10`, 0.975 is `q97.5`.
pub fn quantile_column(level: f64) -> String {
    format!("q{}", (level * 1e6).round() / 1e4)
}

/// Forecasts of one frequency as rows `unique_id, ds, model, mean` and one column per quantile level (`q10`, `q90`).
/// A level that a forecast does not hold is null in its rows. Where a model says the likeliest values, as that of prices
/// does, they stand in a column `mode`.
pub fn forecast_table(forecasts: &[Forecast]) -> Result<RecordBatch> {
    let freq = forecasts.first().map_or(Freq::DAILY, Forecast::freq);
    let mut levels: Vec<f64> = forecasts.iter().flat_map(|f| f.levels().iter().copied()).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let rows = || {
        forecasts
            .iter()
            .flat_map(|f| (0..f.len()).flat_map(move |i| (0..f.horizon()).map(move |k| (f, i, k))))
    };
    let mut columns = vec![
        ("unique_id".to_owned(), texts(rows().map(|(f, i, _)| &f.ids()[i]))),
        ("ds".to_owned(), stamps(freq, rows().map(|(f, i, k)| f.ds(i, k)).collect())),
        ("model".to_owned(), texts(rows().map(|(f, _, _)| f.model()))),
        ("mean".to_owned(), floats(rows().map(|(f, i, k)| f.mean(i)[k]))),
    ];
    if forecasts.iter().any(|f| !f.modes().is_empty()) {
        let modes = rows().map(|(f, i, k)| f.mode(i).map_or(f64::NAN, |m| m[k]));
        columns.push(("mode".to_owned(), floats(modes)));
    }
    for level in levels {
        let values = rows().map(|(f, i, k)| f.quantile(i, k, level).unwrap_or(f64::NAN));
        columns.push((quantile_column(level), floats(values)));
    }
    batch(columns)
}

/// Scenario paths of a forecast as rows `unique_id, model, path, ds, y`.
pub fn scenario_table(f: &Forecast, paths: &Scenarios) -> Result<RecordBatch> {
    let (n, h) = (paths.n_paths(), f.horizon());
    let rows = || (0..f.len()).flat_map(move |i| (0..n).flat_map(move |p| (0..h).map(move |k| (i, p, k))));
    let numbers: Int64Array = rows().map(|(_, p, _)| p as i64).collect();
    batch(vec![
        ("unique_id".to_owned(), texts(rows().map(|(i, _, _)| &f.ids()[i]))),
        ("model".to_owned(), texts(rows().map(|_| f.model()))),
        ("path".to_owned(), Arc::new(numbers)),
        ("ds".to_owned(), stamps(f.freq(), rows().map(|(i, _, k)| f.ds(i, k)).collect())),
        ("y".to_owned(), floats(rows().map(|(i, p, k)| f64::from(paths.path(i, p)[k])))),
    ])
}

/// Features told of each step.
const FEATURES_TOLD: usize = 12;

/// What features add to forecasts as rows: `unique_id, ds, ahead, forecast, base, link, rank, feature, value, part`; the
/// weightiest features of each step, the rest together as `(others)`. With the link `product` base and parts are
/// multiplied, with `sum` they are added.
pub fn explanation_table(steps: &[ExplainedStep], freq: Freq) -> Result<RecordBatch> {
    let mut rows: Vec<(&ExplainedStep, usize, &str, f64, f64)> = Vec::new();
    for s in steps {
        let (told, others) = s.parts.split_at(FEATURES_TOLD.min(s.parts.len()));
        rows.extend(told.iter().enumerate().map(|(k, p)| (s, k + 1, p.feature.as_str(), p.value, p.part)));
        if !others.is_empty() {
            let together = match s.link {
                Link::Sum => others.iter().map(|p| p.part).sum(),
                Link::Product => others.iter().map(|p| p.part).product(),
            };
            rows.push((s, FEATURES_TOLD + 1, "(others)", f64::NAN, together));
        }
    }
    let whole = |v: &mut dyn Iterator<Item = usize>| -> ArrayRef {
        Arc::new(v.map(|n| i64::try_from(n).unwrap_or(i64::MAX)).collect::<Int64Array>())
    };
    let link = |l: Link| match l {
        Link::Sum => "sum",
        Link::Product => "product",
    };
    batch(vec![
        ("unique_id".into(), texts(rows.iter().map(|r| &r.0.unique_id))),
        ("ds".into(), stamps(freq, rows.iter().map(|r| r.0.ds).collect())),
        ("ahead".into(), whole(&mut rows.iter().map(|r| r.0.ahead))),
        ("forecast".into(), floats(rows.iter().map(|r| r.0.forecast))),
        ("base".into(), floats(rows.iter().map(|r| r.0.base))),
        ("link".into(), texts(rows.iter().map(|r| link(r.0.link)))),
        ("rank".into(), whole(&mut rows.iter().map(|r| r.1))),
        ("feature".into(), texts(rows.iter().map(|r| r.2))),
        ("value".into(), floats(rows.iter().map(|r| r.3))),
        ("part".into(), floats(rows.iter().map(|r| r.4))),
    ])
}

/// Relations as rows: `series, outside, source, lag, correlation, p_value, q_value, significant, improvement, n`.
pub fn relation_table(found: &Relations) -> Result<RecordBatch> {
    let all = || found.relations.iter();
    let whole = |v: &mut dyn Iterator<Item = usize>| -> ArrayRef {
        Arc::new(v.map(|n| i64::try_from(n).unwrap_or(i64::MAX)).collect::<Int64Array>())
    };
    batch(vec![
        ("series".into(), texts(all().map(|r| &r.series))),
        ("outside".into(), texts(all().map(|r| &r.outside))),
        ("source".into(), texts(all().map(|r| source_word(r.source)))),
        ("lag".into(), whole(&mut all().map(|r| r.lag))),
        ("correlation".into(), floats(all().map(|r| r.correlation))),
        ("p_value".into(), floats(all().map(|r| r.p_value))),
        ("q_value".into(), floats(all().map(|r| r.q_value))),
        (
            "significant".into(),
            Arc::new(all().map(|r| Some(r.q_value <= found.level)).collect::<BooleanArray>()),
        ),
        ("improvement".into(), floats(all().map(|r| r.improvement))),
        ("n".into(), whole(&mut all().map(|r| r.n))),
    ])
}

/// Anomalies as rows: `unique_id, ds, until, y, expected, lower, upper, score, kind, causes`; causes are parted by `;`.
pub fn anomaly_table(found: &[Anomaly], freq: Freq) -> Result<RecordBatch> {
    let all = || found.iter();
    batch(vec![
        ("unique_id".into(), texts(all().map(|a| &a.unique_id))),
        ("ds".into(), stamps(freq, all().map(|a| a.ds).collect())),
        ("until".into(), stamps(freq, all().map(|a| a.until).collect())),
        ("y".into(), floats(all().map(|a| a.y))),
        ("expected".into(), floats(all().map(|a| a.expected))),
        ("lower".into(), floats(all().map(|a| a.lower))),
        ("upper".into(), floats(all().map(|a| a.upper))),
        ("score".into(), floats(all().map(|a| a.score))),
        ("kind".into(), texts(all().map(|a| a.kind.word()))),
        (
            "causes".into(),
            texts(all().map(|a| a.causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(";"))),
        ),
    ])
}

/// The word of a source in files.
fn source_word(source: Source) -> &'static str {
    match source {
        Source::Column => "column",
        Source::Series => "series",
        Source::Market => "market",
    }
}

/// Rows of [`forecast_table`] for the nodes of a hierarchy, with the column `level` behind `unique_id`; `levels` has the
/// level of each series, forecast by forecast.
pub fn level_table(forecasts: &[Forecast], levels: &[&[String]]) -> Result<RecordBatch> {
    let names = forecasts
        .iter()
        .zip(levels)
        .flat_map(|(f, levels)| levels.iter().flat_map(|l| std::iter::repeat_n(l, f.horizon())));
    with_column(&forecast_table(forecasts)?, 1, "level", texts(names))
}

/// Rows of [`forecast_table`] with the column `mean_without` behind `mean`: what was said with nothing changed. Both lists
/// speak of the same series.
pub fn what_if_table(with: &[Forecast], without: &[Forecast]) -> Result<RecordBatch> {
    let means = without.iter().flat_map(|f| (0..f.len()).flat_map(|i| f.mean(i).iter().copied()));
    with_column(&forecast_table(with)?, 4, "mean_without", floats(means))
}

/// Rows of [`forecast_table`] with the column `planner` behind `mean`: the planners' figures, forecast by forecast as
/// [`crate::overrides::figures`] gives them; empty where nobody said anything.
pub fn planner_table(forecasts: &[Forecast], figures: &[Vec<f64>]) -> Result<RecordBatch> {
    with_column(&forecast_table(forecasts)?, 4, "planner", floats(figures.iter().flatten().copied()))
}

/// A table with one more column at a place.
pub(crate) fn with_column(
    table: &RecordBatch,
    at: usize,
    name: &str,
    values: ArrayRef,
) -> Result<RecordBatch> {
    let mut columns: Vec<(String, ArrayRef)> = table
        .schema()
        .fields()
        .iter()
        .zip(table.columns())
        .map(|(f, a)| (f.name().clone(), a.clone()))
        .collect();
    columns.insert(at.min(columns.len()), (name.to_owned(), values));
    batch(columns)
}

/// Back from rows of [`forecast_table`] of one forecast without modes: `horizon` rows a series, and these levels.
pub(crate) fn forecast_of_table(
    table: &[RecordBatch],
    model: &str,
    freq: Freq,
    horizon: usize,
    levels: &[f64],
) -> Result<Forecast> {
    let mut out = Forecast::new(model, freq, horizon, levels);
    let broken = || Error::Invalid(format!("rows of a forecast by {model} do not fit together"));
    let Some(first) = table.first() else { return Ok(out) };
    let table = arrow::compute::concat_batches(&first.schema(), table)
        .map_err(|e| Error::Invalid(format!("rows of a forecast by {model}: {e}")))?;
    let column = |name: &str| table.column_by_name(name).ok_or_else(broken);
    let numbers = |name: &str| -> Result<Float64Array> {
        column(name)?.as_primitive_opt::<Float64Type>().cloned().ok_or_else(broken)
    };
    let ids = column("unique_id")?.as_string_opt::<i32>().ok_or_else(broken)?;
    let ds = column("ds")?;
    let (mean, quantiles) = (
        numbers("mean")?,
        out.levels().iter().map(|l| numbers(&quantile_column(*l))).collect::<Result<Vec<_>>>()?,
    );
    if horizon == 0 || table.num_rows() % horizon != 0 {
        return Err(broken());
    }
    for row in (0..table.num_rows()).step_by(horizon) {
        let start = match freq.unit {
            Unit::Step => ds.as_primitive_opt::<Int64Type>().map(|a| a.value(row)),
            Unit::Minute | Unit::Hour => {
                ds.as_primitive_opt::<TimestampMillisecondType>().map(|a| a.value(row).div_euclid(1000))
            }
            _ => ds.as_primitive_opt::<Date32Type>().map(|a| i64::from(a.value(row)) * DAY),
        };
        let steps = row..row + horizon;
        // Unknown is null in files.
        let known =
            |values: &Float64Array, r: usize| if values.is_null(r) { f64::NAN } else { values.value(r) };
        let means: Vec<f64> = steps.clone().map(|r| known(&mean, r)).collect();
        let spread: Vec<f64> = steps.flat_map(|r| quantiles.iter().map(move |q| known(q, r))).collect();
        out.push(ids.value(row), start.ok_or_else(broken)?, &means, &spread)?;
    }
    Ok(out)
}

/// Trends as rows: `unique_id, cutoff, horizon, p_falling, p_steady, p_rising, direction, growth, growth_lower,
/// growth_upper, units_last, units_expected, stage, basis, change_points, drivers`. Change points and drivers are
/// lists parted by `;`: `2024-03-04` and `momentum:+0.42` (the share, with the sign of its push).
pub fn trend_table(trends: &[Trend], freq: Freq) -> Result<RecordBatch> {
    let p = |k: usize| floats(trends.iter().map(move |t| t.probabilities[k]));
    batch(vec![
        ("unique_id".to_owned(), texts(trends.iter().map(|t| &t.unique_id))),
        ("cutoff".to_owned(), stamps(freq, trends.iter().map(|t| t.cutoff).collect())),
        (
            "horizon".to_owned(),
            Arc::new(Int64Array::from_iter_values(trends.iter().map(|t| t.horizon as i64))),
        ),
        ("p_falling".to_owned(), p(0)),
        ("p_steady".to_owned(), p(1)),
        ("p_rising".to_owned(), p(2)),
        ("direction".to_owned(), texts(trends.iter().map(|t| word(&t.direction())))),
        ("growth".to_owned(), floats(trends.iter().map(|t| t.growth))),
        ("growth_lower".to_owned(), floats(trends.iter().map(|t| t.growth_lower))),
        ("growth_upper".to_owned(), floats(trends.iter().map(|t| t.growth_upper))),
        ("units_last".to_owned(), floats(trends.iter().map(|t| t.units_last))),
        ("units_expected".to_owned(), floats(trends.iter().map(|t| t.units_expected))),
        ("stage".to_owned(), texts(trends.iter().map(|t| word(&t.stage)))),
        ("basis".to_owned(), texts(trends.iter().map(|t| word(&t.basis)))),
        (
            "change_points".to_owned(),
            texts(
                trends
                    .iter()
                    .map(|t| t.change_points.iter().map(|c| freq.format(c.ds)).collect::<Vec<_>>().join(";")),
            ),
        ),
        (
            "drivers".to_owned(),
            texts(trends.iter().map(|t| {
                let one = |d: &tradewind_core::Driver| {
                    let sign = if d.toward == Direction::Falling { '-' } else { '+' };
                    let detail = d.detail.as_deref().map(|x| format!("({x})")).unwrap_or_default();
                    format!("{}{detail}:{sign}{:.2}", word(&d.kind), d.share)
                };
                t.drivers.iter().map(one).collect::<Vec<_>>().join(";")
            })),
        ),
    ])
}

/// The columns of a table as values of JSON, name by name; what is null or not a number is null.
///
/// # Errors
/// A column that holds neither numbers, texts, flags nor whole numbers.
pub fn values(table: &RecordBatch) -> Result<Vec<(String, Vec<serde_json::Value>)>> {
    let mut out = Vec::with_capacity(table.num_columns());
    for (field, array) in table.schema().fields().iter().zip(table.columns()) {
        let values = if let Some(a) = array.as_primitive_opt::<Float64Type>() {
            a.iter().map(serde_json::Value::from).collect()
        } else if let Some(a) = array.as_primitive_opt::<Int64Type>() {
            a.iter().map(serde_json::Value::from).collect()
        } else if let Some(a) = array.as_string_opt::<i32>() {
            a.iter().map(serde_json::Value::from).collect()
        } else if let Some(a) = array.as_boolean_opt() {
            a.iter().map(serde_json::Value::from).collect()
        } else {
            let kind = field.data_type();
            return Err(Error::Invalid(format!("the column `{}` of type {kind} has no JSON", field.name())));
        };
        out.push((field.name().clone(), values));
    }
    Ok(out)
}

/// A value of an enum as its word in JSON.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(s)) => s,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use tradewind_core::{Basis, ChangePoint, Driver, DriverKind, Stage};

    #[test]
    fn forecasts_become_rows() {
        let mut a = Forecast::new("naive", Freq::DAILY, 2, &[0.1, 0.9]);
        a.push("x", 0, &[1.0, 2.0], &[0.5, 1.5, f64::NAN, 2.5]).expect("fits");
        let mut b = Forecast::new("theta", Freq::DAILY, 2, &[0.025]);
        b.push("x", 0, &[3.0, 4.0], &[1.0, 2.0]).expect("fits");
        let t = forecast_table(&[a, b]).expect("a table");
        assert_eq!(t.num_rows(), 4);
        let names: Vec<_> = t.schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["unique_id", "ds", "model", "mean", "q2.5", "q10", "q90"]);
        assert_eq!(t.column(1).data_type(), &DataType::Date32);
        let low = t.column(4).as_primitive::<Float64Type>();
        assert!(low.is_null(0) && !low.is_null(2));
        assert_eq!(t.column(3).as_primitive::<Float64Type>().value(3), 4.0);
    }

    #[test]
    fn rows_become_the_forecast_they_were() {
        for freq in ["D", "h", "MS", "ME", "W", "1"].map(|f| f.parse::<Freq>().expect("a frequency")) {
            let mut f = Forecast::new("theta", freq, 2, &[0.1, 0.975]);
            // The first of February and of March, or the days before.
            let day = if freq.unit == Unit::MonthEnd { -1 } else { 0 };
            f.push("x", DAY * (31 + day), &[0.1 + 0.2, 2.0 / 3.0], &[0.1, 1e-300, 0.3, 1e300]).expect("fits");
            f.push("茶", DAY * (59 + day), &[1.0, 2.0], &[0.0, 1.5, 1.5, 2.5]).expect("fits");
            let table = forecast_table(std::slice::from_ref(&f)).expect("a table");
            let halves = [table.slice(0, 3), table.slice(3, 1)];
            let back = forecast_of_table(&halves, "theta", freq, 2, f.levels()).expect("a forecast");
            assert_eq!(back, f);
            assert!(forecast_of_table(&halves[..1], "theta", freq, 2, f.levels()).is_err());
            assert!(forecast_of_table(&halves, "theta", freq, 2, &[0.3]).is_err());
        }
    }

    #[test]
    fn likeliest_values_have_a_column() {
        let mut a = Forecast::new("price", Freq::DAILY, 1, &[]);
        a.push("x", 0, &[9.5], &[]).expect("fits");
        let a = a.with_modes(vec![9.9]).expect("fits");
        let mut b = Forecast::new("naive", Freq::DAILY, 1, &[]);
        b.push("x", 0, &[9.5], &[]).expect("fits");
        let table = forecast_table(&[a, b]).expect("a table");
        let mode = table.column_by_name("mode").expect("a column").as_primitive::<Float64Type>();
        assert_eq!((mode.value(0), mode.is_null(1)), (9.9, true));
    }

    #[test]
    fn trends_become_rows() {
        let trend = Trend {
            unique_id: "tea".into(),
            cutoff: DAY,
            horizon: 28,
            probabilities: [0.1, 0.2, 0.7],
            growth: 0.3,
            growth_lower: 0.1,
            growth_upper: 0.6,
            units_last: 10.0,
            units_expected: 13.0,
            stage: Stage::Rising,
            change_points: vec![ChangePoint { ds: 0, before: 1.0, after: 2.0 }],
            drivers: vec![Driver {
                kind: DriverKind::Holiday,
                share: 1.0,
                toward: Direction::Rising,
                detail: Some("double_11".into()),
            }],
            basis: Basis::History,
        };
        let t = trend_table(&[trend], Freq::DAILY).expect("a table");
        let text =
            |name: &str| t.column_by_name(name).expect("the column").as_string::<i32>().value(0).to_owned();
        assert_eq!(text("direction"), "rising");
        assert_eq!(text("stage"), "rising");
        assert_eq!(text("change_points"), "1970-01-01");
        assert_eq!(text("drivers"), "holiday(double_11):+1.00");
    }
}
