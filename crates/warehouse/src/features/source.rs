//! Rows of a view: its expressions planned over the shop's tables.

use super::check::{DefinitionFaults, Faults, faults_of};
use super::definition::{FeatureView, Source};
use super::layout::{Kind, Layout, expressions};
use crate::error::{Error, Result};
use crate::store::{IMPORT_COLUMN, Snapshot, read_only};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility, cast, ident, lit, when};
use datafusion::prelude::{DataFrame, SessionContext};
use std::sync::Arc;

/// A view whose expressions fit the shop's tables.
#[derive(Clone, Debug)]
pub(crate) struct PlannedView {
    pub(crate) view: FeatureView,
    pub(crate) layout: Arc<Layout>,
    source: DataFrame,
    time: Expr,
    /// The time column itself, where it can be compared with bounds as it is stored.
    stored_time: Option<Expr>,
    columns: Vec<Expr>,
}

/// Plans views.
///
/// # Errors
/// [`Error::Definitions`] with the faults of all views, those of expressions included.
pub(crate) async fn plan(snapshot: &Snapshot, views: &[FeatureView]) -> Result<Vec<PlannedView>> {
    let mut faults = faults_of(views);
    let mut planned = vec![];
    if faults.is_empty() {
        for (i, view) in views.iter().enumerate() {
            planned.extend(plan_view(snapshot.context(), view, &mut Faults::of(view, i, &mut faults)).await);
        }
    }
    if faults.is_empty() {
        Ok(planned)
    } else {
        Err(Error::Definitions(DefinitionFaults { path: None, faults }))
    }
}

async fn plan_view(
    context: &SessionContext,
    view: &FeatureView,
    faults: &mut Faults<'_>,
) -> Option<PlannedView> {
    let source = match &view.source {
        Source::Table(name) => context.table(name.as_str()).await.map_err(|e| ("table", e)),
        Source::Sql(text) => context.sql_with_options(text, read_only()).await.map_err(|e| ("sql", e)),
    };
    let source = match source {
        Ok(source) => source,
        Err((key, e)) => {
            faults.view(key, reason(&e));
            return None;
        }
    };
    let compiled = compile(context, view, source.schema(), faults)?;
    Some(PlannedView {
        view: view.clone(),
        layout: compiled.layout,
        source,
        time: compiled.time,
        stored_time: compiled.stored_time,
        columns: compiled.columns,
    })
}

/// The expressions of a view over the columns of its source.
pub(crate) struct Compiled {
    pub(crate) layout: Arc<Layout>,
    /// Event time in milliseconds since 1970.
    time: Expr,
    stored_time: Option<Expr>,
    /// The columns of rows: the entity's `e0`…, `t`, `tie`, and `v0`… for the expressions.
    pub(crate) columns: Vec<Expr>,
}

pub(crate) fn compile(
    context: &SessionContext,
    view: &FeatureView,
    schema: &DFSchema,
    faults: &mut Faults<'_>,
) -> Option<Compiled> {
    let names = || schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
    let mut columns = vec![];
    for (i, name) in view.entity.iter().enumerate() {
        match schema.qualified_field_with_unqualified_name(name) {
            Ok(found) => match entity_text(Expr::Column(Column::from(found)), found.1.data_type()) {
                Some(e) => columns.push(e.alias(entity_column(i))),
                None => {
                    let kind = found.1.data_type();
                    let message =
                        format!("`{name}` is {kind}; text or whole numbers can name a thing, so cast it");
                    faults.view("entity", message);
                }
            },
            Err(_) => {
                faults.view("entity", format!("the source has no column `{name}`; it has: {}", names()))
            }
        }
    }
    let mut time = None;
    match schema.qualified_field_with_unqualified_name(&view.time) {
        Ok(found) => {
            let column = Expr::Column(Column::from(found));
            let kind = found.1.data_type();
            match milliseconds(column.clone(), kind, Rounding::Up) {
                Some(t) => {
                    let stored = matches!(kind, DataType::Timestamp(TimeUnit::Millisecond, None));
                    time = Some((t, stored.then_some(column)));
                }
                None => {
                    let message = format!(
                        "`{}` is {kind}; it must be a date or a timestamp without zone, so cast it in `sql`",
                        view.time
                    );
                    faults.view("time", message);
                }
            }
        }
        Err(_) => {
            faults.view("time", format!("the source has no column `{}`; it has: {}", view.time, names()));
        }
    }
    let tie = match (&view.tie_break, &view.source) {
        (Some(text), _) => match expression(context, text, schema) {
            Ok((e, Kind::Number)) => Some(e),
            Ok((_, Kind::Text)) => {
                faults.view("tie_break", format!("`{text}` is text; it must be a number"));
                None
            }
            Err(message) => {
                faults.view("tie_break", message);
                None
            }
        },
        (None, Source::Table(_)) if schema.has_column_with_unqualified_name(IMPORT_COLUMN) => {
            Some(cast(ident(IMPORT_COLUMN), DataType::Float64))
        }
        _ => Some(lit(ScalarValue::Float64(None))),
    };
    let mut slots = vec![];
    let mut values = vec![];
    let texts = expressions(view);
    for (slot, text) in texts.iter().enumerate() {
        let users =
            || (0..view.features.len()).filter(|i| view.features[*i].expression.as_ref() == Some(text));
        match expression(context, text, schema) {
            Ok((e, kind)) => {
                for i in
                    users().filter(|i| kind == Kind::Text && view.features[*i].aggregation.numbers_only())
                {
                    let name = view.features[i].aggregation.name();
                    let message = format!(
                        "`{text}` is text, of which there is no {name}; take last, count or distinct_count"
                    );
                    faults.feature(i, "expression", message);
                }
                slots.push(kind);
                values.push(e.alias(format!("v{slot}")));
            }
            Err(message) => users().for_each(|i| faults.feature(i, "expression", message.clone())),
        }
    }
    let (time, stored_time) = time?;
    if columns.len() != view.entity.len() || values.len() != texts.len() {
        return None;
    }
    columns.push(time.clone().alias("t"));
    columns.push(tie?.alias("tie"));
    columns.extend(values);
    Some(Compiled { layout: Arc::new(Layout::new(view, slots)), time, stored_time, columns })
}

impl PlannedView {
    /// The columns of the entity as they are named in rows.
    pub(crate) fn entity_columns(&self) -> Vec<String> {
        (0..self.view.entity.len()).map(entity_column).collect()
    }

    /// The schema of the source.
    pub(crate) fn source_schema(&self) -> &DFSchema {
        self.source.schema()
    }

    /// Rows with an entity and an event time after `after` and not after `until`.
    pub(crate) fn rows(&self, after: Option<i64>, until: Option<i64>) -> Result<DataFrame> {
        let time = self.stored_time.as_ref().unwrap_or(&self.time);
        let bound = |ms: i64| match &self.stored_time {
            Some(_) => lit(ScalarValue::TimestampMillisecond(Some(ms), None)),
            None => lit(ms),
        };
        let mut keep = time.clone().is_not_null();
        for name in &self.view.entity {
            keep = keep.and(Expr::Column(column(self.source.schema(), name)?).is_not_null());
        }
        if let Some(ms) = after {
            keep = keep.and(time.clone().gt(bound(ms)));
        }
        if let Some(ms) = until {
            keep = keep.and(time.clone().lt_eq(bound(ms)));
        }
        Ok(self.source.clone().filter(keep)?.select(self.columns.clone())?)
    }
}

pub(crate) fn entity_column(i: usize) -> String {
    format!("e{i}")
}

/// A column by its plain name, whatever table it is of.
pub(crate) fn column(schema: &DFSchema, name: &str) -> Result<Column> {
    Ok(Column::from(schema.qualified_field_with_unqualified_name(name)?))
}

/// An entity's column as text; of other types there is none that is sure to be equal on both sides.
pub(crate) fn entity_text(column: Expr, kind: &DataType) -> Option<Expr> {
    let kind = match kind {
        DataType::Dictionary(_, value) => value,
        kind => kind,
    };
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(cast(column, DataType::Utf8)),
        kind if kind.is_integer() => Some(cast(column, DataType::Utf8)),
        _ => None,
    }
}

/// Which way times finer than a millisecond go. Rows go up and labels down, so that nothing is known too early.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Up,
    Down,
}

/// A column of time as milliseconds since 1970.
pub(crate) fn milliseconds(column: Expr, kind: &DataType, rounding: Rounding) -> Option<Expr> {
    let millisecond = DataType::Timestamp(TimeUnit::Millisecond, None);
    match kind {
        DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, None) => {
            Some(cast(cast(column, millisecond), DataType::Int64))
        }
        DataType::Timestamp(unit, None) => {
            let parts = lit(if *unit == TimeUnit::Microsecond { 1_000_i64 } else { 1_000_000 });
            let x = cast(column, DataType::Int64);
            let whole = x.clone() / parts.clone();
            // Division cuts towards zero.
            let (condition, moved) = match rounding {
                Rounding::Up => (x.clone().gt(lit(0_i64)), (x - lit(1_i64)) / parts + lit(1_i64)),
                Rounding::Down => (x.clone().lt(lit(0_i64)), (x + lit(1_i64)) / parts - lit(1_i64)),
            };
            when(condition, moved).otherwise(whole).ok()
        }
        _ => None,
    }
}

/// A feature's expression as a number or text, or why it cannot be one.
fn expression(context: &SessionContext, text: &str, schema: &DFSchema) -> Result<(Expr, Kind), String> {
    let state = context.state();
    let mut expr = state.create_logical_expr(text, schema).map_err(|e| reason(&e))?;
    if let Expr::Alias(alias) = expr {
        expr = *alias.expr;
    }
    only_of_its_row(&expr)?;
    let kind = expr.get_type(schema).map_err(|e| reason(&e))?;
    // What cannot be computed is found now and not with the first row.
    state.create_physical_expr(expr.clone(), schema).map_err(|e| reason(&e))?;
    let inner = match &kind {
        DataType::Dictionary(_, value) => value.as_ref(),
        kind => kind,
    };
    match inner {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Ok((cast(expr, DataType::Utf8), Kind::Text))
        }
        DataType::Boolean => Ok((cast(cast(expr, DataType::Int8), DataType::Float64), Kind::Number)),
        kind if kind.is_numeric() => Ok((cast(expr, DataType::Float64), Kind::Number)),
        kind => match milliseconds(expr, kind, Rounding::Up) {
            Some(ms) => Ok((cast(ms, DataType::Float64), Kind::Number)),
            None => Err(format!("`{text}` is {kind}; it must be a number, a truth value, text or a time")),
        },
    }
}

/// A value must follow from its row alone, or training and serving would differ.
fn only_of_its_row(expr: &Expr) -> Result<(), String> {
    let mut fault = None;
    let walked = expr.apply(|e| {
        fault = match e {
            Expr::AggregateFunction(_) => {
                Some("it aggregates; write the value of one row and choose an `aggregation`".to_owned())
            }
            Expr::WindowFunction(_) => {
                Some("it looks at other rows; choose a `window`, or compute it in `sql`".to_owned())
            }
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => {
                Some("it holds a query; compute it in `sql`".to_owned())
            }
            Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                Some(format!("`{}` depends on more than the row; leave it out", f.name()))
            }
            _ => None,
        };
        Ok(if fault.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|e| reason(&e))?;
    fault.map_or(Ok(()), Err)
}

/// The first line of what DataFusion says.
fn reason(e: &DataFusionError) -> String {
    e.strip_backtrace().lines().next().unwrap_or_default().to_owned()
}
