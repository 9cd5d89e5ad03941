//! The recipe after it has seen the training rows.

use crate::frame::{Column, Frame, Holds, Words};
use crate::learner::Task;
use crate::matrix::{ColumnKind, Dataset, Matrix, check_finite};
use crate::prepare::encode::{FittedCodes, FittedOneHot, FittedTarget, column_of_word, hashed};
use crate::prepare::numeric::{FittedImpute, FittedYeoJohnson, bounds, present};
use crate::prepare::text::{self, TextHook, Tokens};
use crate::prepare::whole::FittedWhole;
use crate::prepare::{DatePart, Reading, Recipe, Step, date};
use crate::transform::FittedTransform;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{Error, Result, Run, Stamp};

/// What is to be learnt, for encodings that look at it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Regression, binary or multiclass.
    pub task: Task,
    /// One value per row, classes as 0, 1, 2, …
    pub y: &'a [f64],
}

impl Target<'_> {
    /// The columns of the target encoding of column `name`, with the numbers to be averaged.
    pub(super) fn outputs(&self, name: &str) -> Result<Vec<(String, Vec<f64>)>> {
        if self.task != Task::Multiclass {
            return Ok(vec![(format!("{name}_target"), self.y.to_vec())]);
        }
        if let Some(i) = self.y.iter().position(|y| !(*y >= 0.0 && *y <= 1000.0 && y.fract() == 0.0)) {
            return Err(Error::Invalid(format!(
                "target encoding needs classes numbered 0, 1, 2, … (up to 1000); row {i} has {}",
                self.y[i]
            )));
        }
        let k = self.y.iter().fold(0.0, |m, y| f64::max(m, *y)) as usize + 1;
        let share = |c: usize| self.y.iter().map(|y| f64::from(u8::from(*y == c as f64))).collect();
        Ok((0..k).map(|c| (format!("{name}_target_{c}"), share(c))).collect())
    }
}

/// A matrix with what its columns are.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The numbers.
    pub x: Matrix,
    /// The columns' names.
    pub names: Vec<String>,
    /// What the columns' numbers are.
    pub kinds: Vec<ColumnKind>,
}

impl Prepared {
    /// With the target, as estimators read it.
    pub fn dataset(self, y: Vec<f64>) -> Result<Dataset> {
        Dataset::with_missing(self.x, y, self.names)?.with_kinds(self.kinds)
    }
}

/// One column on its way.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    pub(super) values: Vec<f64>,
}

impl Part {
    pub(super) fn number(name: String, values: Vec<f64>) -> Self {
        Self { name, kind: ColumnKind::Number, values }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FittedStep {
    Keep,
    Impute { by: Option<String>, parts: Vec<FittedImpute> },
    Cap(Vec<(f64, f64)>),
    Scale(Vec<FittedTransform>),
    YeoJohnson(Vec<FittedYeoJohnson>),
    OneHot(FittedOneHot),
    Codes(FittedCodes),
    Hash(usize),
    Target(FittedTarget),
    Dates { parts: Vec<DatePart>, first: Stamp },
    Text { tokens: Tokens, columns: usize },
}

/// A source column with its fitted steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FittedColumn {
    name: String,
    holds: Holds,
    steps: Vec<FittedStep>,
}

/// A [`Recipe`] that has seen the training rows. Saved and read back, it gives the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedRecipe {
    columns: Vec<FittedColumn>,
    whole: Vec<FittedWhole>,
    names: Vec<String>,
    kinds: Vec<ColumnKind>,
}

/// A column as it stands between two steps.
enum Work {
    Raw(Column),
    Parts(Vec<Part>),
}

impl Recipe {
    /// Learns the steps from the training rows. The same as [`Recipe::fit_transform`] without its matrix.
    pub fn fit(&self, run: &Run, train: &Frame, target: Option<Target<'_>>) -> Result<FittedRecipe> {
        Ok(self.fit_transform(run, train, target)?.0)
    }

    /// Learns the steps from the training rows and gives them prepared. With target encoding, fit the estimator on this
    /// matrix and not on a `transform` of the same rows: here no row has seen its own target.
    ///
    /// Fails on no rows, on parameters outside their range, on a step that its column cannot take, and on target
    /// encoding without a target.
    pub fn fit_transform(
        &self,
        run: &Run,
        train: &Frame,
        target: Option<Target<'_>>,
    ) -> Result<(FittedRecipe, Prepared)> {
        self.fit_transform_with(run, train, target, None)
    }

    /// As [`Recipe::fit_transform`], with the caller's cutter of texts for [`Tokens::Own`].
    pub fn fit_transform_with(
        &self,
        run: &Run,
        train: &Frame,
        target: Option<Target<'_>>,
        hook: Option<TextHook<'_>>,
    ) -> Result<(FittedRecipe, Prepared)> {
        self.check()?;
        self.check_names(train)?;
        if train.n_rows() == 0 {
            return Err(Error::NotEnoughData { what: "preparation".into(), needed: 1, got: 0 });
        }
        if let Some(t) = target {
            if t.y.len() != train.n_rows() {
                let (n, m) = (train.n_rows(), t.y.len());
                return Err(Error::Invalid(format!("{n} rows of features but {m} targets")));
            }
            check_finite("the target", t.y)?;
        }
        let (mut columns, mut parts) = (Vec::new(), Vec::new());
        for (name, column) in train.columns() {
            run.check()?;
            let Some(steps) = self.steps_of(name, column) else { continue };
            let mut work = Work::Raw(column.clone());
            let mut fitted = Vec::with_capacity(steps.len());
            for step in steps {
                let (one, next) = fit_step(run, step, name, work, train, target, hook)?;
                fitted.push(one);
                work = next;
            }
            parts.extend(numbers(name, work)?);
            columns.push(FittedColumn { name: name.clone(), holds: column.holds(), steps: fitted });
        }
        let mut data = joined(train.n_rows(), parts)?;
        let mut whole = Vec::with_capacity(self.whole.len());
        for step in &self.whole {
            let fitted = FittedWhole::fit(step, &data)?;
            data = fitted.apply(run, data)?;
            whole.push(fitted);
        }
        let (names, kinds) = (data.names.clone(), data.kinds.clone());
        Ok((FittedRecipe { columns, whole, names, kinds }, data))
    }
}

impl FittedRecipe {
    /// New rows, prepared as the training rows were. Columns that were not fitted are passed over.
    ///
    /// Fails on a column that is gone, on one that holds something else than it did (one that is missing in every row
    /// may hold anything), and on values outside the domain of a step, naming column, row and value.
    pub fn transform(&self, frame: &Frame) -> Result<Prepared> {
        self.transform_with(&Run::new(0), frame, None)
    }

    /// As [`FittedRecipe::transform`], on this run's threads and with the caller's cutter of texts.
    pub fn transform_with(&self, run: &Run, frame: &Frame, hook: Option<TextHook<'_>>) -> Result<Prepared> {
        let mut parts = Vec::new();
        for fitted in &self.columns {
            run.check()?;
            let mut work = Work::Raw(fitted.read(frame)?);
            for step in &fitted.steps {
                work = apply_step(step, &fitted.name, work, frame, hook)?;
            }
            parts.extend(numbers(&fitted.name, work)?);
        }
        let data = joined(frame.n_rows(), parts)?;
        self.whole.iter().try_fold(data, |data, step| step.apply(run, data))
    }

    /// The names of the columns it gives.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the columns it gives are.
    pub fn kinds(&self) -> &[ColumnKind] {
        &self.kinds
    }

    /// What the numbers of the columns it gives stand for, one for each of [`FittedRecipe::names`]: the words of codes and
    /// of one-hot columns. Codes that a later step moved (as a scale) are numbers.
    pub fn readings(&self) -> Vec<Reading> {
        // By name and whether it is a category.
        let mut known: HashMap<(String, bool), Reading> = HashMap::new();
        for column in &self.columns {
            let Some((first, later)) = column.steps.split_first() else { continue };
            let stays = later
                .iter()
                .all(|s| matches!(s, FittedStep::Keep | FittedStep::Impute { .. } | FittedStep::Cap(_)));
            match first {
                FittedStep::Codes(codes) if stays => {
                    known.insert((column.name.clone(), true), Reading::Words(codes.words.clone()));
                }
                FittedStep::OneHot(one_hot) => known.extend(one_hot.titles().map(|word| {
                    let key = (column_of_word(&column.name, word), false);
                    (key, Reading::Is { of: column.name.clone(), word: word.to_owned() })
                })),
                _ => {}
            }
        }
        let columns = self.names.iter().zip(&self.kinds);
        columns
            .map(|(name, kind)| {
                known.remove(&(name.clone(), *kind == ColumnKind::Category)).unwrap_or_default()
            })
            .collect()
    }

    /// The names of the columns it needs.
    pub fn needs(&self) -> Vec<&str> {
        self.columns.iter().map(|c| c.name.as_str()).collect()
    }

    /// The columns it needs with what they hold.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, Holds)> + '_ {
        self.columns.iter().map(|c| (c.name.as_str(), c.holds))
    }
}

impl FittedColumn {
    fn read(&self, frame: &Frame) -> Result<Column> {
        let column = frame.column(&self.name).map_err(|_| {
            Error::Invalid(format!(
                "column `{}` is missing, which the model was fitted with; add it (empty cells are allowed) or fit anew. \
                 There are: {}",
                self.name,
                frame.columns().iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
            ))
        })?;
        if column.holds() == self.holds {
            return Ok(column.clone());
        }
        let n = column.len();
        match (0..n).find(|i| !column.is_missing(*i)) {
            // Readers cannot know what an empty column would have held.
            None => Ok(match self.holds {
                Holds::Number => Column::Number(vec![f64::NAN; n]),
                Holds::Text => Column::Text(Words::of(vec![None::<&str>; n])),
                Holds::Date => Column::Date(vec![None; n]),
                Holds::Flag => Column::Flag(vec![None; n]),
            }),
            Some(first) => {
                // The row that made the reader take it for text is a better pointer than the first one.
                let bad = (first..n).find(|i| {
                    self.holds == Holds::Number && column.show(*i).is_some_and(|s| s.parse::<f64>().is_err())
                });
                let row = bad.unwrap_or(first);
                Err(Error::Invalid(format!(
                    "column `{}` holds {} where the model was fitted on {}; row {row} has `{}`; correct the value or \
                     leave it empty",
                    self.name,
                    column.holds(),
                    self.holds,
                    column.show(row).unwrap_or_default()
                )))
            }
        }
    }
}

/// The rows' groups for imputation by group.
fn groups(by: Option<&String>, frame: &Frame) -> Result<Option<Vec<Option<String>>>> {
    let Some(by) = by else { return Ok(None) };
    let column = frame.column(by)?;
    Ok(Some((0..column.len()).map(|i| column.show(i)).collect()))
}

fn fit_step(
    run: &Run,
    step: &Step,
    name: &str,
    work: Work,
    frame: &Frame,
    target: Option<Target<'_>>,
    hook: Option<TextHook<'_>>,
) -> Result<(FittedStep, Work)> {
    let fitted = match step {
        Step::Keep => FittedStep::Keep,
        Step::Impute { with, by, mark } => {
            let parts = numbers(name, work)?;
            let group = groups(by.as_ref(), frame)?;
            let fit = |p: &Part| FittedImpute::fit(*with, &p.values, group.as_deref(), *mark);
            let fitted = FittedStep::Impute { by: by.clone(), parts: parts.iter().map(fit).collect() };
            let next = apply_step(&fitted, name, Work::Parts(parts), frame, hook)?;
            return Ok((fitted, next));
        }
        Step::Cap(_) | Step::Scale(_) | Step::YeoJohnson => {
            let parts = numbers(name, work)?;
            let fitted = match step {
                Step::Cap(b) => FittedStep::Cap(parts.iter().map(|p| bounds(*b, &p.values)).collect()),
                Step::Scale(t) => FittedStep::Scale(
                    parts
                        .iter()
                        .map(|p| match present(&p.values) {
                            there if there.is_empty() => t.fit(&[0.0]),
                            there => t.fit(&there).map_err(|e| named(&p.name, e)),
                        })
                        .collect::<Result<_>>()?,
                ),
                _ => FittedStep::YeoJohnson(
                    parts
                        .iter()
                        .map(|p| FittedYeoJohnson::fit(&p.values).map_err(|e| named(&p.name, e)))
                        .collect::<Result<_>>()?,
                ),
            };
            let next = apply_step(&fitted, name, Work::Parts(parts), frame, hook)?;
            return Ok((fitted, next));
        }
        Step::OneHot { limit, rare } => {
            FittedStep::OneHot(FittedOneHot::fit(raw(name, &work, None)?, *limit, *rare))
        }
        Step::Codes { limit } => FittedStep::Codes(FittedCodes::fit(raw(name, &work, None)?, *limit)),
        Step::Hash { columns } => FittedStep::Hash(*columns),
        Step::Target { smoothing, n_folds } => {
            let Some(target) = target else {
                return Err(Error::Invalid(format!(
                    "column `{name}` is to be encoded by the target, and there is none; give the target or take another \
                     encoding (as hash)"
                )));
            };
            if !target.task.has_target() || frame.n_rows() < 2 {
                return Err(Error::NotEnoughData {
                    what: format!("target encoding of column `{name}`"),
                    needed: 2,
                    got: frame.n_rows(),
                });
            }
            let column = raw(name, &work, None)?;
            let (fitted, parts) = FittedTarget::fit(run, name, column, target, *smoothing, *n_folds)?;
            return Ok((FittedStep::Target(fitted), Work::Parts(parts)));
        }
        Step::Dates(parts) => {
            let first = match raw(name, &work, Some(Holds::Date))? {
                Column::Date(dates) => dates.iter().flatten().min().copied().unwrap_or(0),
                _ => 0,
            };
            FittedStep::Dates { parts: parts.clone(), first }
        }
        Step::Text { tokens, columns } => FittedStep::Text { tokens: *tokens, columns: *columns },
    };
    let next = apply_step(&fitted, name, work, frame, hook)?;
    Ok((fitted, next))
}

fn apply_step(
    step: &FittedStep,
    name: &str,
    work: Work,
    frame: &Frame,
    hook: Option<TextHook<'_>>,
) -> Result<Work> {
    Ok(Work::Parts(match step {
        FittedStep::Keep => numbers(name, work)?,
        FittedStep::Impute { by, parts } => {
            let group = groups(by.as_ref(), frame)?;
            let mut out = Vec::new();
            for (mut part, fitted) in numbers(name, work)?.into_iter().zip(parts) {
                let gaps = part.values.iter().map(|v| f64::from(u8::from(v.is_nan()))).collect();
                let mark = fitted.mark.then(|| Part::number(format!("{}_missing", part.name), gaps));
                fitted.apply(&mut part.values, group.as_deref());
                out.push(part);
                out.extend(mark);
            }
            out
        }
        FittedStep::Cap(bounds) => each(name, work, bounds, |v, (low, high)| Ok(v.clamp(*low, *high)))?,
        FittedStep::Scale(scales) => each(name, work, scales, |v, scale| scale.transform(v))?,
        FittedStep::YeoJohnson(powers) => each(name, work, powers, |v, power| Ok(power.transform(v)))?,
        FittedStep::OneHot(f) => f.apply(name, raw(name, &work, None)?),
        FittedStep::Codes(f) => f.apply(name, raw(name, &work, None)?),
        FittedStep::Hash(columns) => hashed(name, raw(name, &work, None)?, *columns),
        FittedStep::Target(f) => f.apply(name, raw(name, &work, None)?),
        FittedStep::Dates { parts, first } => {
            date::parts_of(name, raw(name, &work, Some(Holds::Date))?, parts, *first)
        }
        FittedStep::Text { tokens, columns } => {
            let column = raw(name, &work, Some(Holds::Text))?;
            let cut: TextHook<'_> = match (tokens, hook) {
                (Tokens::Words, _) => &text::hashes,
                (Tokens::Own, Some(hook)) => hook,
                (Tokens::Own, None) => {
                    return Err(Error::Invalid(format!(
                        "column `{name}` is to be cut by the caller's own hook, and none was given"
                    )));
                }
            };
            text::parts_of(name, column, *columns, cut)
        }
    }))
}

/// Changes every number that is there; an error gets the column's name and the row.
fn each<F>(name: &str, work: Work, fitted: &[F], of: impl Fn(f64, &F) -> Result<f64>) -> Result<Vec<Part>> {
    let mut parts = numbers(name, work)?;
    for (part, f) in parts.iter_mut().zip(fitted) {
        for (i, v) in part.values.iter_mut().enumerate().filter(|(_, v)| !v.is_nan()) {
            *v = of(*v, f).map_err(|e| match e {
                Error::Invalid(text) => Error::Invalid(format!("column `{}` in row {i}: {text}", part.name)),
                other => other,
            })?;
            if v.is_infinite() {
                return Err(Error::Invalid(format!(
                    "column `{}` has a value in row {i} too far from the training rows to be scaled; correct or cap it",
                    part.name
                )));
            }
        }
    }
    Ok(parts)
}

fn named(name: &str, e: Error) -> Error {
    match e {
        Error::Invalid(text) => Error::Invalid(format!("column `{name}`: {text}")),
        other => other,
    }
}

/// The column as it came, for steps that must stand first.
fn raw<'a>(name: &str, work: &'a Work, holds: Option<Holds>) -> Result<&'a Column> {
    match work {
        Work::Raw(column) if holds.is_none_or(|h| column.holds() == h) => Ok(column),
        Work::Raw(column) => Err(Error::Invalid(format!(
            "column `{name}` holds {} and a step for {} was asked for; change the recipe or the column's type",
            column.holds(),
            holds.unwrap_or(column.holds())
        ))),
        Work::Parts(_) => Err(Error::Invalid(format!(
            "column `{name}`: encodings, date parts and text must be the first step of a column"
        ))),
    }
}

/// The numbers of a column.
fn numbers(name: &str, work: Work) -> Result<Vec<Part>> {
    match work {
        Work::Parts(parts) => Ok(parts),
        Work::Raw(Column::Number(values)) => Ok(vec![Part::number(name.to_owned(), values)]),
        Work::Raw(Column::Flag(values)) => {
            let values = values.iter().map(|v| v.map_or(f64::NAN, |b| f64::from(u8::from(b)))).collect();
            Ok(vec![Part::number(name.to_owned(), values)])
        }
        Work::Raw(column) => Err(Error::Invalid(format!(
            "column `{name}` holds {}, which are no numbers; put an encoding (one_hot, codes, target, hash) or dates or \
             text first among its steps",
            column.holds()
        ))),
    }
}

fn joined(n_rows: usize, parts: Vec<Part>) -> Result<Prepared> {
    let mut x = Matrix::zeros(n_rows, parts.len());
    for (j, part) in parts.iter().enumerate() {
        x.set_column(j, &part.values);
    }
    let kinds = parts.iter().map(|p| p.kind).collect();
    Ok(Prepared { x, names: parts.into_iter().map(|p| p.name).collect(), kinds })
}
