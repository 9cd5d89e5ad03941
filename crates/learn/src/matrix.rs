//! A table of numbers: the matrix that every estimator reads, and the data set of matrix, target and weights.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tradewind_core::{Error, Result};

/// A dense matrix of `n_rows × n_cols` numbers, row after row.
///
/// Invariant: the values are exactly `n_rows * n_cols` many. They may be NaN; what cannot use missing values says so
/// through [`Matrix::check_finite`].
///
/// ```
/// use tradewind_learn::Matrix;
/// let m = Matrix::from_rows(&[[1.0, 2.0], [3.0, 4.0]]).unwrap();
/// assert_eq!(m.row(1), [3.0, 4.0]);
/// assert_eq!(m.column(0), vec![1.0, 3.0]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawMatrix", into = "RawMatrix")]
pub struct Matrix {
    n_rows: usize,
    n_cols: usize,
    values: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct RawMatrix {
    n_rows: usize,
    n_cols: usize,
    values: Vec<f64>,
}

impl TryFrom<RawMatrix> for Matrix {
    type Error = Error;
    fn try_from(m: RawMatrix) -> Result<Self> {
        Self::new(m.n_rows, m.n_cols, m.values)
    }
}

impl From<Matrix> for RawMatrix {
    fn from(m: Matrix) -> Self {
        Self { n_rows: m.n_rows, n_cols: m.n_cols, values: m.values }
    }
}

impl Matrix {
    /// A matrix of `values`, row after row. Fails when their number is not `n_rows * n_cols`.
    pub fn new(n_rows: usize, n_cols: usize, values: Vec<f64>) -> Result<Self> {
        if n_rows.checked_mul(n_cols) != Some(values.len()) {
            return Err(Error::Invalid(format!(
                "a matrix of {n_rows} rows and {n_cols} columns cannot hold {} values",
                values.len()
            )));
        }
        Ok(Self { n_rows, n_cols, values })
    }

    /// All zeros.
    pub fn zeros(n_rows: usize, n_cols: usize) -> Self {
        Self { n_rows, n_cols, values: vec![0.0; n_rows.saturating_mul(n_cols)] }
    }

    /// From rows of one length. No rows give a matrix of 0 × 0.
    pub fn from_rows<R: AsRef<[f64]>>(rows: &[R]) -> Result<Self> {
        let n_cols = rows.first().map_or(0, |r| r.as_ref().len());
        let mut values = Vec::with_capacity(rows.len() * n_cols);
        for (i, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            if row.len() != n_cols {
                return Err(Error::Invalid(format!(
                    "row {i} has {} values where row 0 has {n_cols}",
                    row.len()
                )));
            }
            values.extend_from_slice(row);
        }
        Ok(Self { n_rows: rows.len(), n_cols, values })
    }

    /// From columns of one length. No columns give a matrix of 0 × 0.
    pub fn from_columns<C: AsRef<[f64]>>(columns: &[C]) -> Result<Self> {
        let n_rows = columns.first().map_or(0, |c| c.as_ref().len());
        for (j, c) in columns.iter().enumerate() {
            if c.as_ref().len() != n_rows {
                let got = c.as_ref().len();
                return Err(Error::Invalid(format!(
                    "column {j} has {got} values where column 0 has {n_rows}"
                )));
            }
        }
        let mut m = Self::zeros(n_rows, columns.len());
        for (j, c) in columns.iter().enumerate() {
            m.set_column(j, c.as_ref());
        }
        Ok(m)
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All values, row after row, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Row `i`. Panics, as a slice would, when there is no such row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.n_cols..(i + 1) * self.n_cols]
    }

    /// Row `i`, to be changed in place.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.n_cols..(i + 1) * self.n_cols]
    }

    /// The rows in order (also of a matrix without columns, which gives empty rows).
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> + '_ {
        (0..self.n_rows).map(|i| self.row(i))
    }

    /// The value of row `i` and column `j`.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.row(i)[j]
    }

    /// A copy of column `j`.
    pub fn column(&self, j: usize) -> Vec<f64> {
        assert!(j < self.n_cols, "column {j} of {}", self.n_cols);
        self.values.iter().skip(j).step_by(self.n_cols).copied().collect()
    }

    /// The rows named by `rows`, in that order; a row may come twice.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.n_cols);
        for &i in rows {
            values.extend_from_slice(self.row(i));
        }
        Self { n_rows: rows.len(), n_cols: self.n_cols, values }
    }

    /// The columns named by `columns`, in that order.
    pub fn select_columns(&self, columns: &[usize]) -> Self {
        let mut values = Vec::with_capacity(columns.len() * self.n_rows);
        for row in self.rows() {
            values.extend(columns.iter().map(|&j| row[j]));
        }
        Self { n_rows: self.n_rows, n_cols: columns.len(), values }
    }

    /// This matrix with the columns of `right` behind its own. Fails when the rows differ in number.
    pub fn beside(&self, right: &Self) -> Result<Self> {
        if self.n_rows != right.n_rows {
            return Err(Error::Invalid(format!(
                "matrices of {} and {} rows cannot stand side by side",
                self.n_rows, right.n_rows
            )));
        }
        let mut values = Vec::with_capacity(self.values.len() + right.values.len());
        for i in 0..self.n_rows {
            values.extend_from_slice(self.row(i));
            values.extend_from_slice(right.row(i));
        }
        Ok(Self { n_rows: self.n_rows, n_cols: self.n_cols + right.n_cols, values })
    }

    /// Fails on the first NaN or infinite value, naming its column and row. Where `names` is shorter than the width,
    /// the column's number stands for its name.
    pub fn check_finite(&self, names: &[String]) -> Result<()> {
        match self.values.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(at) => {
                let (row, j) = (at / self.n_cols, at % self.n_cols);
                match self.values[at].is_nan() {
                    true => Err(missing_value(names, row, j)),
                    false => Err(infinite_value(names, row, j, self.values[at])),
                }
            }
        }
    }

    /// Fails on the first infinite value, naming its column and row; gives the place of the first NaN.
    pub fn check_not_infinite(&self, names: &[String]) -> Result<Option<(usize, usize)>> {
        if let Some(at) = self.values.iter().position(|v| v.is_infinite()) {
            return Err(infinite_value(names, at / self.n_cols, at % self.n_cols, self.values[at]));
        }
        Ok(self.first_missing())
    }

    fn first_missing(&self) -> Option<(usize, usize)> {
        let at = self.values.iter().position(|v| v.is_nan())?;
        Some((at / self.n_cols, at % self.n_cols))
    }

    /// Fails unless the matrix has `n_cols` columns, the width `what` was fitted on.
    pub fn check_width(&self, n_cols: usize, what: &str) -> Result<()> {
        if self.n_cols == n_cols {
            return Ok(());
        }
        Err(Error::Invalid(format!("{what} was fitted on {n_cols} columns and was given {}", self.n_cols)))
    }

    pub(crate) fn set_column(&mut self, j: usize, column: &[f64]) {
        let n_cols = self.n_cols;
        for (i, v) in column.iter().enumerate() {
            self.values[i * n_cols + j] = *v;
        }
    }
}

fn missing_value(names: &[String], row: usize, j: usize) -> Error {
    Error::Invalid(format!(
        "column `{}` has NaN in row {row}; fill or drop missing values before fitting or predicting",
        column_name(names, j)
    ))
}

fn infinite_value(names: &[String], row: usize, j: usize, value: f64) -> Error {
    Error::Invalid(format!(
        "column `{}` has {value} in row {row}; put a finite number or leave it missing",
        column_name(names, j)
    ))
}

/// The sizes of the groups that `rows` keeps, whole and in order.
fn groups_of(sizes: &[usize], rows: &[usize]) -> Result<Vec<usize>> {
    let mut starts = vec![0];
    for size in sizes {
        starts.push(starts[starts.len() - 1] + size);
    }
    let mut kept = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let group = starts.partition_point(|s| *s <= rows[at]) - 1;
        let whole = starts[group]..starts[group + 1];
        let part = rows.get(at..at + whole.len());
        if !part.is_some_and(|part| part.iter().copied().eq(whole.clone())) {
            return Err(Error::Invalid(format!(
                "row {} belongs to a group of {} rows, which must be selected as a whole",
                rows[at],
                whole.len()
            )));
        }
        kept.push(whole.len());
        at += whole.len();
    }
    Ok(kept)
}

/// The name of column `j`, or `x<j>` where none was given.
pub(crate) fn column_name(names: &[String], j: usize) -> String {
    names.get(j).cloned().unwrap_or_else(|| format!("x{j}"))
}

/// What the numbers of a column are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Quantities: order and distance mean something.
    #[default]
    Number,
    /// Codes of categories, 0, 1, 2, …: neither order nor distance mean anything.
    Category,
}

/// The highest code of a category; more distinct values are text to be hashed or target-encoded.
pub const CATEGORY_MAX: usize = 65_534;

/// A feature matrix with its target, and what goes with them.
///
/// Invariants: one target and, where given, one weight per row; one name and kind per column; no value infinite; no
/// weight negative and their sum positive; category codes are whole and from 0 to [`CATEGORY_MAX`]; the groups' sizes
/// add up to the rows. For classification the target holds the class as 0, 1, 2, …
///
/// [`Dataset::new`] refuses missing values (NaN), [`Dataset::with_missing`] lets them in; estimators that cannot use
/// them, or cannot use categories, say so when they fit.
///
/// ```
/// use tradewind_learn::{Dataset, Matrix};
/// let x = Matrix::from_columns(&[[1.0, 2.0, f64::NAN]]).unwrap();
/// let fault = Dataset::new(x.clone(), vec![0.0; 3], vec!["price".into()]).unwrap_err();
/// assert!(fault.to_string().contains("column `price` has NaN in row 2"));
/// assert!(Dataset::with_missing(x, vec![0.0; 3], vec!["price".into()]).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    x: Matrix,
    y: Vec<f64>,
    weight: Option<Vec<f64>>,
    names: Vec<String>,
    kinds: Vec<ColumnKind>,
    groups: Option<Vec<usize>>,
    /// Row and column of the first missing value.
    missing: Option<(usize, usize)>,
}

impl Dataset {
    /// Checked data without missing values. Empty `names` become `x0`, `x1`, …
    pub fn new(x: Matrix, y: Vec<f64>, names: Vec<String>) -> Result<Self> {
        let data = Self::with_missing(x, y, names)?;
        data.need_complete()?;
        Ok(data)
    }

    /// Checked data whose features may be missing (NaN). Empty `names` become `x0`, `x1`, …
    pub fn with_missing(x: Matrix, y: Vec<f64>, names: Vec<String>) -> Result<Self> {
        if y.len() != x.n_rows() {
            return Err(Error::Invalid(format!("{} rows of features but {} targets", x.n_rows(), y.len())));
        }
        let names = if names.is_empty() { (0..x.n_cols()).map(|j| format!("x{j}")).collect() } else { names };
        if names.len() != x.n_cols() {
            return Err(Error::Invalid(format!("{} columns but {} names", x.n_cols(), names.len())));
        }
        let missing = x.check_not_infinite(&names)?;
        check_finite("the target", &y)?;
        let kinds = vec![ColumnKind::Number; x.n_cols()];
        Ok(Self { x, y, weight: None, names, kinds, groups: None, missing })
    }

    /// The same data with what each column's numbers are. Fails on a category code that is not whole, below 0 or
    /// above [`CATEGORY_MAX`].
    pub fn with_kinds(mut self, kinds: Vec<ColumnKind>) -> Result<Self> {
        if kinds.len() != self.x.n_cols() {
            return Err(Error::Invalid(format!("{} columns but {} kinds", self.x.n_cols(), kinds.len())));
        }
        for j in (0..kinds.len()).filter(|&j| kinds[j] == ColumnKind::Category) {
            for (i, row) in self.x.rows().enumerate() {
                let v = row[j];
                let is_code = (0.0..=CATEGORY_MAX as f64).contains(&v) && v.fract() == 0.0;
                if !is_code && !v.is_nan() {
                    return Err(Error::Invalid(format!(
                        "column `{}` holds categories, coded 0 to {CATEGORY_MAX}; row {i} has {v}",
                        self.names[j]
                    )));
                }
            }
        }
        self.kinds = kinds;
        Ok(self)
    }

    /// The same data cut into groups for ranking: the first `sizes[0]` rows are one query, and so on.
    pub fn with_groups(mut self, sizes: Vec<usize>) -> Result<Self> {
        let total: usize = sizes.iter().sum();
        if total != self.n_rows() || sizes.contains(&0) {
            return Err(Error::Invalid(format!(
                "the groups must not be empty and hold all {} rows; they hold {total}",
                self.n_rows()
            )));
        }
        self.groups = Some(sizes);
        Ok(self)
    }

    /// The same data with a weight for each row; a row of weight 2 counts as two rows.
    pub fn with_weight(mut self, weight: Vec<f64>) -> Result<Self> {
        if weight.len() != self.y.len() {
            return Err(Error::Invalid(format!("{} rows but {} weights", self.y.len(), weight.len())));
        }
        check_finite("the weight", &weight)?;
        if let Some(i) = weight.iter().position(|w| *w < 0.0) {
            return Err(Error::Invalid(format!("the weight of row {i} is negative: {}", weight[i])));
        }
        if !weight.is_empty() && weight.iter().sum::<f64>() <= 0.0 {
            return Err(Error::Invalid("all weights are zero".into()));
        }
        self.weight = Some(weight);
        Ok(self)
    }

    /// The features.
    pub fn x(&self) -> &Matrix {
        &self.x
    }

    /// The target, one per row.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// The weights, where given.
    pub fn weight(&self) -> Option<&[f64]> {
        self.weight.as_deref()
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the numbers of each column are.
    pub fn kinds(&self) -> &[ColumnKind] {
        &self.kinds
    }

    /// The sizes of the groups, in the order of the rows, where given.
    pub fn groups(&self) -> Option<&[usize]> {
        self.groups.as_deref()
    }

    /// Whether a feature is missing somewhere.
    pub fn has_missing(&self) -> bool {
        self.missing.is_some()
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    /// Without the rows of no weight, which count for nothing.
    pub(crate) fn weighty(&self) -> Result<Cow<'_, Self>> {
        match &self.weight {
            Some(w) if w.contains(&0.0) => {
                let rows: Vec<usize> = (0..w.len()).filter(|&i| w[i] > 0.0).collect();
                self.select_rows(&rows).map(Cow::Owned)
            }
            _ => Ok(Cow::Borrowed(self)),
        }
    }

    /// The rows named by `rows`, in that order, as a split gives them.
    ///
    /// Fails when the rows left have no positive weight, and when the data have groups and the rows do not keep them
    /// whole and in order.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        let x = self.x.select_rows(rows);
        let missing = self.missing.and_then(|_| x.first_missing());
        let part = Self {
            missing,
            x,
            y: rows.iter().map(|&i| self.y[i]).collect(),
            weight: None,
            names: self.names.clone(),
            kinds: self.kinds.clone(),
            groups: self.groups.as_deref().map(|sizes| groups_of(sizes, rows)).transpose()?,
        };
        match &self.weight {
            None => Ok(part),
            Some(w) => part.with_weight(rows.iter().map(|&i| w[i]).collect()),
        }
    }

    /// The same rows with another target, for models of residuals and for one class against the rest.
    pub fn with_target(&self, y: Vec<f64>) -> Result<Self> {
        if y.len() != self.n_rows() {
            return Err(Error::Invalid(format!(
                "{} rows of features but {} targets",
                self.n_rows(),
                y.len()
            )));
        }
        check_finite("the target", &y)?;
        Ok(Self { y, ..self.clone() })
    }

    /// The weights, or ones.
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.weight.clone().unwrap_or_else(|| vec![1.0; self.n_rows()])
    }

    /// Fails on a missing value, naming its column and row.
    fn need_complete(&self) -> Result<()> {
        match self.missing {
            None => Ok(()),
            Some((row, j)) => Err(missing_value(&self.names, row, j)),
        }
    }

    /// Fails unless every column holds numbers and none is missing.
    pub(crate) fn need_numbers(&self, what: &str) -> Result<()> {
        if let Some(j) = self.kinds.iter().position(|k| *k == ColumnKind::Category) {
            return Err(Error::Invalid(format!(
                "column `{}` holds categories, which {what} cannot use; encode it first (one-hot or target encoding)",
                self.names[j]
            )));
        }
        self.need_complete()
    }

    /// Fails when there are fewer than `needed` rows with a positive weight.
    pub(crate) fn need_rows(&self, what: &str, needed: usize) -> Result<()> {
        let got = match &self.weight {
            None => self.n_rows(),
            Some(w) => w.iter().filter(|w| **w > 0.0).count(),
        };
        if got < needed { Err(Error::NotEnoughData { what: what.into(), needed, got }) } else { Ok(()) }
    }

    /// The classes as numbers from 0, and how many there are.
    ///
    /// Fails when a target is not a whole number from 0, when there is only one class, or when a class below the
    /// highest has no row (its probability could not be learnt).
    pub(crate) fn classes(&self, what: &str) -> Result<(Vec<usize>, usize)> {
        self.need_rows(what, 2)?;
        let mut label = Vec::with_capacity(self.y.len());
        for (i, &y) in self.y.iter().enumerate() {
            if y < 0.0 || y.fract() != 0.0 || y > 1000.0 {
                return Err(Error::Invalid(format!(
                    "{what} needs classes numbered 0, 1, 2, … (up to 1000); row {i} has {y}"
                )));
            }
            label.push(y as usize);
        }
        let k = label.iter().max().map_or(0, |m| m + 1);
        let mut mass = vec![0.0; k];
        for (i, &c) in label.iter().enumerate() {
            mass[c] += self.weight.as_ref().map_or(1.0, |w| w[i]);
        }
        let seen = mass.iter().filter(|m| **m > 0.0).count();
        if seen < 2 {
            return Err(Error::Invalid(format!(
                "{what} needs at least two classes; the target has only {seen}"
            )));
        }
        if let Some(c) = mass.iter().position(|m| *m <= 0.0) {
            return Err(Error::Invalid(format!(
                "{what} finds no row of class {c} though there are classes above it"
            )));
        }
        Ok((label, k))
    }
}

/// Fails on the first NaN or infinite value of a plain list, naming its row.
pub(crate) fn check_finite(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(Error::Invalid(format!("{what} has {} in row {i}", values[i]))),
    }
}
