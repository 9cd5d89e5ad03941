//! A table as it comes from a file: named columns of numbers, words, dates and flags, any of them with gaps.
//!
//! A [`Frame`] is what people have; a [`Matrix`](crate::Matrix) is what estimators read. [`prepare`](crate::prepare)
//! leads from one to the other.

use std::collections::{BTreeMap, HashMap};
use tradewind_core::{Error, Result, Stamp};

/// The code of a missing word.
pub const MISSING: u32 = u32::MAX;

/// Words by number: each row has the place of its word in the list, or [`MISSING`].
///
/// Invariant: every code is a place in the list or [`MISSING`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    codes: Vec<u32>,
    words: Vec<String>,
}

impl Words {
    /// Codes with their words, as dictionary columns of files give them. Fails on a code without a word.
    pub fn new(codes: Vec<u32>, words: Vec<String>) -> Result<Self> {
        match codes.iter().position(|c| *c != MISSING && *c as usize >= words.len()) {
            None => Ok(Self { codes, words }),
            Some(i) => Err(Error::Invalid(format!(
                "row {i} has the word number {} of a list of {}",
                codes[i],
                words.len()
            ))),
        }
    }

    /// One word, or none, a row.
    ///
    /// ```
    /// use tradewind_learn::frame::Words;
    /// let colour = Words::of([Some("red"), None, Some("red")]);
    /// assert_eq!(colour.words(), ["red"]);
    /// assert_eq!(colour.get(1), None);
    /// ```
    pub fn of<S: AsRef<str>>(rows: impl IntoIterator<Item = Option<S>>) -> Self {
        let mut places: HashMap<String, u32> = HashMap::new();
        let (mut codes, mut words) = (Vec::new(), Vec::new());
        for row in rows {
            let Some(word) = row else {
                codes.push(MISSING);
                continue;
            };
            let word = word.as_ref();
            let code = places.get(word).copied().unwrap_or_else(|| {
                let next = words.len() as u32;
                places.insert(word.to_owned(), next);
                words.push(word.to_owned());
                next
            });
            codes.push(code);
        }
        Self { codes, words }
    }

    /// The number of each row's word.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The words; some may stand in no row, and after [`Words::new`] one may stand here twice.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Row `i`; `None` where it is missing.
    pub fn get(&self, i: usize) -> Option<&str> {
        self.words.get(*self.codes.get(i)? as usize).map(String::as_str)
    }
}

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; NaN is missing.
    Number(Vec<f64>),
    /// Words and texts.
    Text(Words),
    /// Points in time, seconds since 1970 without a time zone.
    Date(Vec<Option<Stamp>>),
    /// Yes or no.
    Flag(Vec<Option<bool>>),
}

/// What a [`Column`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Numbers.
    Number,
    /// Words and texts.
    Text,
    /// Points in time.
    Date,
    /// Yes or no.
    Flag,
}

impl std::fmt::Display for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "numbers",
            Self::Text => "text",
            Self::Date => "dates",
            Self::Flag => "flags",
        })
    }
}

impl Column {
    /// One word, or none, a row.
    pub fn text<S: AsRef<str>>(rows: impl IntoIterator<Item = Option<S>>) -> Self {
        Self::Text(Words::of(rows))
    }

    /// Rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Number(v) => v.len(),
            Self::Text(v) => v.codes.len(),
            Self::Date(v) => v.len(),
            Self::Flag(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it holds.
    pub fn holds(&self) -> Holds {
        match self {
            Self::Number(_) => Holds::Number,
            Self::Text(_) => Holds::Text,
            Self::Date(_) => Holds::Date,
            Self::Flag(_) => Holds::Flag,
        }
    }

    /// Whether row `i` is missing.
    pub fn is_missing(&self, i: usize) -> bool {
        match self {
            Self::Number(v) => v[i].is_nan(),
            Self::Text(v) => v.get(i).is_none(),
            Self::Date(v) => v[i].is_none(),
            Self::Flag(v) => v[i].is_none(),
        }
    }

    /// Row `i` as text, for messages and as the name of a category; `None` where it is missing.
    pub fn show(&self, i: usize) -> Option<String> {
        match self {
            Self::Number(v) => (!v[i].is_nan()).then(|| v[i].to_string()),
            Self::Text(v) => v.get(i).map(str::to_owned),
            Self::Date(v) => v[i].map(|s| tradewind_core::freq::datetime(s).to_string()),
            Self::Flag(v) => v[i].map(|b| b.to_string()),
        }
    }

    /// The values as categories: each row's category number, and the categories in the order of their names.
    pub(crate) fn categories(&self) -> (Vec<Option<u32>>, Vec<String>) {
        // Only words that stand in a row count, and words that stand twice in a list are one.
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        let shown: Vec<Option<String>> = match self {
            Self::Text(w) => {
                w.codes.iter().filter(|c| **c != MISSING).for_each(|c| {
                    let word = &w.words[*c as usize];
                    if !names.contains_key(word) {
                        names.insert(word.clone(), 0);
                    }
                });
                Vec::new()
            }
            other => {
                let shown: Vec<Option<String>> = (0..other.len()).map(|i| other.show(i)).collect();
                shown.iter().flatten().for_each(|s| {
                    names.insert(s.clone(), 0);
                });
                shown
            }
        };
        names.values_mut().enumerate().for_each(|(at, place)| *place = at as u32);
        let codes = match self {
            Self::Text(w) => {
                let of_word: Vec<Option<u32>> = w.words.iter().map(|word| names.get(word).copied()).collect();
                w.codes.iter().map(|c| of_word.get(*c as usize).copied().flatten()).collect()
            }
            _ => shown.iter().map(|s| s.as_ref().and_then(|s| names.get(s).copied())).collect(),
        };
        (codes, names.into_keys().collect())
    }

    /// The rows named by `rows`, in that order.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        match self {
            Self::Number(v) => Self::Number(rows.iter().map(|&i| v[i]).collect()),
            Self::Text(v) => Self::Text(Words {
                codes: rows.iter().map(|&i| v.codes[i]).collect(),
                words: v.words.clone(),
            }),
            Self::Date(v) => Self::Date(rows.iter().map(|&i| v[i]).collect()),
            Self::Flag(v) => Self::Flag(rows.iter().map(|&i| v[i]).collect()),
        }
    }
}

/// Named columns of one length.
///
/// Invariants: the columns have the same number of rows, and no two one name; no number is infinite.
///
/// ```
/// use tradewind_learn::frame::{Column, Frame};
/// let frame = Frame::new(vec![
///     ("price".into(), Column::Number(vec![9.9, f64::NAN])),
///     ("colour".into(), Column::text([Some("red"), Some("blue")])),
/// ])
/// .unwrap();
/// assert_eq!(frame.n_rows(), 2);
/// assert!(frame.column("prise").unwrap_err().to_string().contains("price, colour"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    columns: Vec<(String, Column)>,
    n_rows: usize,
}

impl Frame {
    /// Checked columns. Fails on columns of other lengths, on a name that comes twice, and on infinite numbers.
    pub fn new(columns: Vec<(String, Column)>) -> Result<Self> {
        let n_rows = columns.first().map_or(0, |(_, c)| c.len());
        for (j, (name, column)) in columns.iter().enumerate() {
            if columns[..j].iter().any(|(other, _)| other == name) {
                return Err(Error::Invalid(format!(
                    "two columns are named `{name}`; rename one before reading the table"
                )));
            }
            if column.len() != n_rows {
                return Err(Error::Invalid(format!(
                    "column `{name}` has {} rows where `{}` has {n_rows}",
                    column.len(),
                    columns[0].0
                )));
            }
            if let Column::Number(v) = column
                && let Some(i) = v.iter().position(|v| v.is_infinite())
            {
                return Err(Error::Invalid(format!(
                    "column `{name}` has {} in row {i}; put a finite number or leave it missing",
                    v[i]
                )));
            }
        }
        Ok(Self { columns, n_rows })
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Names and values in the order of the file.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// The column of that name; the error lists all.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, c)| c).ok_or_else(|| Error::NotFound {
            what: "column",
            name: name.to_owned(),
            known: self.columns.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Takes the column of that name out, as the target before features are prepared.
    pub fn take(&mut self, name: &str) -> Result<Column> {
        self.column(name)?;
        let at = self.columns.iter().position(|(n, _)| n == name).unwrap_or(0);
        Ok(self.columns.remove(at).1)
    }

    /// The rows named by `rows`, in that order; a row may come twice. Fails where there is no such row.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        if let Some(i) = rows.iter().find(|i| **i >= self.n_rows) {
            return Err(Error::Invalid(format!("there is no row {i}: the table has {}", self.n_rows)));
        }
        let columns = self.columns.iter().map(|(n, c)| (n.clone(), c.select_rows(rows))).collect();
        Ok(Self { columns, n_rows: rows.len() })
    }
}
