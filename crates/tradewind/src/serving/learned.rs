//! Versions of the kind `learn`: what a learnt table says of new rows, and why.
//!
//! ```text
//! artifact.json   the estimator, task, target, classes, columns, the query that gave the rows
//! recipe.json     the fitted preparation
//! learner.json    what was learnt
//! ```

use super::Findings;
use super::folder::{Reader, Writer};
use crate::error::{Error, Result};
use crate::learning::{self, FitRequest, Manifest, Material, Model, hold_out, likeliest, read_query};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use tradewind_core::freq::parse_stamp;
use tradewind_core::{Params, Run};
use tradewind_learn::Task;
use tradewind_learn::explain::{Waterfall, waterfall};
use tradewind_learn::frame::{Column, Frame, Holds};
use tradewind_warehouse::Shop;

const RECIPE: &str = "recipe.json";
const LEARNER: &str = "learner.json";
/// Columns named one by one in a reason; the others are one step.
const STEPS: usize = 8;

/// What is to be learnt from a shop's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnRequest {
    /// The rows: a query over the shop's tables. Their order does not matter.
    pub query: String,
    /// The estimator's name in the catalogue.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// What is to be learnt; found from the target when not said.
    pub task: Option<Task>,
    /// The column to learn; none for clustering and anomalies.
    pub target: Option<String>,
    /// The column of weights.
    pub weight: Option<String>,
    /// The column that tells which rows belong together.
    pub group: Option<String>,
    /// The column that orders the rows in time; the latest are then held out.
    pub time: Option<String>,
    /// Columns that are not looked at.
    pub ignore: Vec<String>,
    /// The share of rows held out to be measured on, 0 (none) to 0.9.
    pub held_out: f64,
}

impl Default for LearnRequest {
    fn default() -> Self {
        Self {
            query: String::new(),
            model: "boosting".into(),
            params: Params::new(),
            task: None,
            target: None,
            weight: None,
            group: None,
            time: None,
            ignore: vec![],
            held_out: 0.2,
        }
    }
}

impl LearnRequest {
    fn fit(&self) -> FitRequest {
        FitRequest {
            model: self.model.clone(),
            params: self.params.clone(),
            task: self.task,
            target: self.target.clone(),
            weight: self.weight.clone(),
            group: self.group.clone(),
            time: self.time.clone(),
            ignore: self.ignore.clone(),
            validation: 0.0,
            recipe: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct About {
    manifest: Manifest,
    query: String,
}

/// Fits and writes.
pub(super) fn make(
    run: &Run,
    shop: &Shop,
    request: &LearnRequest,
    writer: &mut Writer,
    findings: &mut Findings,
) -> Result<Value> {
    if !(0.0..=0.9).contains(&request.held_out) {
        return Err(Error::asked(
            format!("a share of {} cannot be held out", request.held_out),
            "give held_out between 0 and 0.9",
        ));
    }
    let fit = request.fit();
    let frame = ordered(read_query(shop, &request.query)?, &fit)?;
    if request.held_out > 0.0 && fit.target.is_some() {
        let (train, held) = hold_out(run, &frame, &fit, request.held_out)?;
        // A model that saw neither the rows held out nor their preparation.
        let blind = learning::fit(run, &Material::of(train, &fit)?, &fit)?;
        let past = blind.evaluate(&held, request.weight.as_deref(), request.group.as_deref())?;
        for m in past.measures {
            findings.measure(m.name, m.value);
        }
        findings.measure("rows_held_out", held.n_rows() as f64);
    }
    let model = learning::fit(run, &Material::of(frame, &fit)?, &fit)?;
    let (recipe, learner) = model.states()?;
    writer.bytes(RECIPE, &recipe)?;
    writer.bytes(LEARNER, &learner)?;
    // How long the fit took is no part of what was learnt.
    let manifest = Manifest { fit_seconds: 0.0, ..model.manifest };
    serde_json::to_value(&About { manifest, query: request.query.clone() })
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: "learnt".to_owned(), source }))
}

/// The rows in an order of their own: queries run on many threads and may give them in any.
fn ordered(frame: Frame, request: &FitRequest) -> Result<Frame> {
    // Groups stay together, and times in order, whatever the other columns hold.
    let first = request.group.iter().chain(&request.time);
    let mut keys: Vec<&Column> = first.map(|name| frame.column(name)).collect::<Result<_, _>>()?;
    keys.extend(frame.columns().iter().map(|(_, c)| c));
    let mut rows: Vec<usize> = (0..frame.n_rows()).collect();
    rows.sort_by(|a, b| {
        keys.iter().map(|c| compare(c, *a, *b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    });
    Ok(frame.select_rows(&rows)?)
}

fn compare(column: &Column, a: usize, b: usize) -> Ordering {
    match column {
        Column::Number(v) => v[a].total_cmp(&v[b]),
        Column::Text(words) => words.get(a).cmp(&words.get(b)),
        Column::Date(v) => v[a].cmp(&v[b]),
        Column::Flag(v) => v[a].cmp(&v[b]),
    }
}

/// The cells of one column as they come in from outside; what is missing is `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Numbers.
    Numbers(Vec<Option<f64>>),
    /// Texts; dates are texts too.
    Texts(Vec<Option<String>>),
    /// Yes or no.
    Flags(Vec<Option<bool>>),
}

impl Cells {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(v) => v.len(),
            Self::Texts(v) => v.len(),
            Self::Flags(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Answers for some rows.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// As [`Model::predict`] gives them: `prediction` (with `p_<class>`), `score` or `cluster`.
    pub answers: RecordBatch,
    /// For each row what its columns add to the answer, where that was asked for and the estimator can tell.
    pub reasons: Option<Vec<Waterfall>>,
}

/// A learnt model in memory.
pub struct Learned {
    model: Model,
    query: String,
}

impl std::fmt::Debug for Learned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learned").field("model", &self.model.manifest.model).finish_non_exhaustive()
    }
}

impl Learned {
    pub(super) fn read(reader: &Reader) -> Result<Self> {
        let About { manifest, query } = reader.about()?;
        let model = Model::of_states(manifest, reader.json(RECIPE)?, reader.json(LEARNER)?)?;
        Ok(Self { model, query })
    }

    /// What the model says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.model.manifest
    }

    /// The query that gave the rows it was fitted on.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The columns it reads, with what they hold.
    pub fn inputs(&self) -> Vec<(&str, Holds)> {
        self.model.recipe().inputs().collect()
    }

    /// Columns from outside as the model reads them. Columns that it does not read are passed over; a date may be a text
    /// or a number of seconds since 1970.
    ///
    /// # Errors
    /// A column that is missing or of another length, a cell that does not fit its column; with the row from 0.
    pub fn frame(&self, columns: Vec<(String, Cells)>) -> Result<Frame> {
        let rows = columns.first().map_or(0, |(_, c)| c.len());
        if let Some((name, c)) = columns.iter().find(|(_, c)| c.len() != rows) {
            return Err(Error::asked(
                format!("the column `{name}` has {} values where the first one has {rows}", c.len()),
                "give every column a value for each row",
            ));
        }
        let mut given: std::collections::HashMap<String, Cells> = columns.into_iter().collect();
        let mut out = Vec::new();
        for (name, holds) in self.inputs() {
            let cells = given.remove(name).ok_or_else(|| self.missing(name))?;
            out.push((name.to_owned(), fitting(name, cells, holds)?));
        }
        Ok(Frame::new(out)?)
    }

    /// Rows as objects, as the model reads them; a key that a row lacks, and null, are missing values.
    ///
    /// # Errors
    /// A column that no row has, a cell that does not fit its column; with the row from 0.
    pub fn frame_of_rows(&self, rows: &[Map<String, Value>]) -> Result<Frame> {
        let mut columns = Vec::new();
        for (name, holds) in self.inputs() {
            if !rows.is_empty() && rows.iter().all(|r| !r.contains_key(name)) {
                return Err(self.missing(name));
            }
            let cells = rows.iter().map(|r| r.get(name).filter(|v| !v.is_null()));
            columns.push((name.to_owned(), cells_of_json(name, cells, holds)?));
        }
        self.frame(columns)
    }

    fn missing(&self, name: &str) -> Error {
        let known: Vec<_> = self.inputs().iter().map(|(n, h)| format!("{n} ({h})")).collect();
        Error::asked(
            format!("the column `{name}` is missing, which the model reads"),
            format!("the model reads: {}; a value that is not known may be null", known.join(", ")),
        )
    }

    /// The answers for some rows, with reasons on request.
    ///
    /// # Errors
    /// Rows that do not fit the model.
    pub fn predict(&self, run: &Run, frame: &Frame, explain: bool) -> Result<Predicted> {
        let answers = self.model.predict(frame, &[])?;
        let reasons = if explain { self.reasons(run, frame)? } else { None };
        Ok(Predicted { answers, reasons })
    }

    /// For each row what its columns add to its answer (for classes: to the likeliest one's score).
    fn reasons(&self, run: &Run, frame: &Frame) -> Result<Option<Vec<Waterfall>>> {
        let prepared = self.model.prepared(frame)?;
        let Some(parts) = self.model.learner().contributions(run, &prepared.x) else { return Ok(None) };
        let parts = parts?;
        let outputs = parts.n_cols() / (prepared.x.n_cols() + 1);
        let said = self.model.learner().predict(&prepared.x)?;
        let reasons = (0..frame.n_rows()).map(|row| {
            let output = if outputs > 1 { likeliest(said.row(row)).min(outputs - 1) } else { 0 };
            waterfall(&prepared.x, &parts, &prepared.names, row, output, STEPS)
        });
        Ok(Some(reasons.collect::<Result<_, _>>()?))
    }
}

fn unfit(name: &str, row: usize, got: &str, holds: Holds) -> Error {
    Error::asked(
        format!("row {row}: the column `{name}` has {got} where the model reads {holds}"),
        "correct the value, or give null where it is not known",
    )
}

/// The cells of one column of rows of JSON.
fn cells_of_json<'a>(
    name: &str,
    values: impl Iterator<Item = Option<&'a Value>>,
    holds: Holds,
) -> Result<Cells> {
    let (mut numbers, mut texts, mut flags) = (Vec::new(), Vec::new(), Vec::new());
    for (row, value) in values.enumerate() {
        let got = match value {
            Some(Value::Array(_) | Value::Object(_)) => {
                return Err(unfit(name, row, "a list or object", holds));
            }
            other => other,
        };
        match holds {
            Holds::Number => numbers.push(match got {
                None => None,
                Some(Value::Number(n)) => n.as_f64(),
                Some(Value::Bool(b)) => Some(f64::from(u8::from(*b))),
                Some(other) => return Err(unfit(name, row, &shown(other), holds)),
            }),
            Holds::Flag => flags.push(match got {
                None => None,
                Some(Value::Bool(b)) => Some(*b),
                Some(other) => return Err(unfit(name, row, &shown(other), holds)),
            }),
            // A date in seconds goes the way of texts, which both know.
            Holds::Text | Holds::Date => texts.push(got.map(|v| match v {
                Value::String(s) => s.clone(),
                other => other.to_string(),
            })),
        }
    }
    Ok(match holds {
        Holds::Number => Cells::Numbers(numbers),
        Holds::Flag => Cells::Flags(flags),
        Holds::Text | Holds::Date => Cells::Texts(texts),
    })
}

/// A value in an error: what sort it is and a short beginning.
fn shown(value: &Value) -> String {
    match value {
        // What customers typed does not belong in errors.
        Value::String(_) => "a text".to_owned(),
        other => other.to_string(),
    }
}

/// Cells as a column that holds what the model reads.
fn fitting(name: &str, cells: Cells, holds: Holds) -> Result<Column> {
    let number = |v: f64| if v.fract() == 0.0 && v.abs() < 1e15 { format!("{v:.0}") } else { v.to_string() };
    Ok(match (holds, cells) {
        (Holds::Number, Cells::Numbers(v)) => {
            Column::Number(v.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
        }
        (Holds::Number, Cells::Flags(v)) => {
            Column::Number(v.into_iter().map(|v| v.map_or(f64::NAN, |b| f64::from(u8::from(b)))).collect())
        }
        (Holds::Text, Cells::Texts(v)) => Column::text(v.into_iter().map(|t| t.filter(|t| !t.is_empty()))),
        (Holds::Text, Cells::Numbers(v)) => Column::text(v.into_iter().map(|v| v.map(number))),
        (Holds::Text, Cells::Flags(v)) => Column::text(v.into_iter().map(|v| v.map(|b| b.to_string()))),
        (Holds::Flag, Cells::Flags(v)) => Column::Flag(v),
        (Holds::Date, Cells::Texts(v)) => {
            let date = |(row, text): (usize, Option<String>)| match text.filter(|t| !t.trim().is_empty()) {
                None => Ok(None),
                Some(t) => match parse_stamp(&t).or_else(|| t.trim().parse().ok()) {
                    Some(stamp) => Ok(Some(stamp)),
                    None => Err(unfit(name, row, "a text that is no date", holds)),
                },
            };
            Column::Date(v.into_iter().enumerate().map(date).collect::<Result<_>>()?)
        }
        (Holds::Date, Cells::Numbers(v)) => {
            Column::Date(v.into_iter().map(|v| v.filter(|v| v.is_finite()).map(|v| v as i64)).collect())
        }
        (holds, cells) => {
            let (row, got) = match &cells {
                Cells::Numbers(v) => (v.iter().position(Option::is_some), "a number"),
                Cells::Texts(v) => (v.iter().position(Option::is_some), "a text"),
                Cells::Flags(v) => (v.iter().position(Option::is_some), "yes or no"),
            };
            match row {
                Some(row) => return Err(unfit(name, row, got, holds)),
                // A column of nothing but missing values fits any.
                None => fitting(name, empty(holds, cells.len()), holds)?,
            }
        }
    })
}

fn empty(holds: Holds, n: usize) -> Cells {
    match holds {
        Holds::Number => Cells::Numbers(vec![None; n]),
        Holds::Text | Holds::Date => Cells::Texts(vec![None; n]),
        Holds::Flag => Cells::Flags(vec![None; n]),
    }
}
