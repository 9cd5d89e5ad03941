//! What is to be learnt: the target column as numbers, and its classes by name.

use crate::error::{Error, Result};
use tradewind_learn::Task;
use tradewind_learn::frame::{Column, Frame};

/// The most classes a target may have.
const CLASSES_MAX: usize = 1_000;

/// The target of every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What kind of target it is.
    pub task: Task,
    /// The value, or the number of the class.
    pub y: Vec<f64>,
    /// The classes' names in the order of their numbers; empty for regression and ranking.
    pub classes: Vec<String>,
}

impl Target {
    /// Reads the column `name`. The task is found from the values when it is not said: two distinct values are two
    /// classes, texts are classes, other numbers are a regression.
    ///
    /// # Errors
    /// No such column, a missing value, a column that does not fit the task.
    pub fn of(frame: &Frame, name: &str, task: Option<Task>) -> Result<Self> {
        let column = column(frame, name, "target")?;
        let labels = labels(name, column)?;
        let task = task.unwrap_or_else(|| match (&labels, distinct(&labels)) {
            (_, 2) => Task::Binary,
            (Labels::Texts(_), _) => Task::Multiclass,
            (Labels::Numbers(_), _) => Task::Regression,
        });
        if !task.is_classes() {
            return match labels {
                Labels::Numbers(y) => Ok(Self { task, y, classes: vec![] }),
                Labels::Texts(_) => Err(Error::asked(
                    format!("the target `{name}` holds texts, which {task} cannot learn"),
                    "choose a column of numbers, or --task binary or multiclass",
                )),
            };
        }
        let classes = names(&labels);
        let wanted = if task == Task::Binary { 2..=2 } else { 2..=CLASSES_MAX };
        if !wanted.contains(&classes.len()) {
            return Err(Error::asked(
                format!("the target `{name}` has {} classes, which {task} cannot learn", classes.len()),
                "binary needs two classes, multiclass 2 to 1,000; a column of many numbers is --task regression",
            ));
        }
        Self::in_classes(name, &labels, task, classes)
    }

    /// Reads the column as the classes a model knows, for evaluation.
    ///
    /// # Errors
    /// As [`Target::of`], and a class that the model does not know.
    pub fn known(frame: &Frame, name: &str, task: Task, classes: &[String]) -> Result<Self> {
        if !task.is_classes() {
            return Self::of(frame, name, Some(task));
        }
        let labels = labels(name, column(frame, name, "target")?)?;
        Self::in_classes(name, &labels, task, classes.to_vec())
    }

    fn in_classes(name: &str, labels: &Labels, task: Task, classes: Vec<String>) -> Result<Self> {
        let texts = labels.texts();
        let mut y = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            match classes.iter().position(|c| c == text) {
                Some(class) => y.push(class as f64),
                None => {
                    return Err(Error::asked(
                        format!("row {row} of the target `{name}` has a class that the model does not know"),
                        format!("the model knows: {}", classes.join(", ")),
                    ));
                }
            }
        }
        Ok(Self { task, y, classes })
    }
}

enum Labels {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl Labels {
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Numbers(values) => values.iter().map(f64::to_string).collect(),
            Self::Texts(texts) => texts.clone(),
        }
    }
}

fn distinct(labels: &Labels) -> usize {
    match labels {
        Labels::Numbers(values) => {
            let mut seen: Vec<u64> = Vec::new();
            for v in values {
                // Minus zero is zero.
                let bits = (v + 0.0).to_bits();
                if !seen.contains(&bits) {
                    seen.push(bits);
                    if seen.len() > CLASSES_MAX {
                        break;
                    }
                }
            }
            seen.len()
        }
        Labels::Texts(_) => names(labels).len(),
    }
}

/// The distinct classes: numbers by size, texts in the order of their characters.
fn names(labels: &Labels) -> Vec<String> {
    match labels {
        Labels::Numbers(values) => {
            let mut known = values.clone();
            known.sort_by(f64::total_cmp);
            known.dedup();
            known.iter().map(f64::to_string).collect()
        }
        Labels::Texts(texts) => {
            let mut known = texts.clone();
            known.sort();
            known.dedup();
            known
        }
    }
}

fn labels(name: &str, column: &Column) -> Result<Labels> {
    let missing = |row: usize| {
        Error::asked(
            format!("the target `{name}` is missing in row {row}"),
            "leave out the rows whose target is not known",
        )
    };
    match column {
        Column::Number(values) => match values.iter().position(|v| !v.is_finite()) {
            Some(row) => Err(missing(row)),
            None => Ok(Labels::Numbers(values.clone())),
        },
        Column::Text(words) => {
            let texts: Result<Vec<String>> = (0..words.codes().len())
                .map(|row| words.get(row).map(str::to_owned).ok_or_else(|| missing(row)))
                .collect();
            Ok(Labels::Texts(texts?))
        }
        Column::Flag(values) => {
            let numbers: Result<Vec<f64>> = values
                .iter()
                .enumerate()
                .map(|(row, flag)| flag.map(|f| f64::from(u8::from(f))).ok_or_else(|| missing(row)))
                .collect();
            Ok(Labels::Numbers(numbers?))
        }
        Column::Date(_) => Err(Error::asked(
            format!("the target `{name}` holds times"),
            "choose a column of numbers or of classes",
        )),
    }
}

/// The column of that name.
pub(super) fn column<'a>(frame: &'a Frame, name: &str, role: &str) -> Result<&'a Column> {
    frame.column(name).map_err(|_| {
        let known: Vec<&str> = frame.columns().iter().take(40).map(|(n, _)| n.as_str()).collect();
        Error::asked(
            format!("there is no column `{name}` for the {role}"),
            format!("the table has: {}", known.join(", ")),
        )
    })
}

/// A column of numbers, such as weights.
pub(super) fn number_column<'a>(frame: &'a Frame, name: &str, role: &str) -> Result<&'a [f64]> {
    match column(frame, name, role)? {
        Column::Number(values) => Ok(values),
        _ => Err(Error::asked(
            format!("the column `{name}` for the {role} does not hold numbers"),
            "choose a column of numbers",
        )),
    }
}
