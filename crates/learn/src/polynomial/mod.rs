//! Polynomial features (powers and products of columns, with names), and regression on them.

mod regression;

pub use regression::{DegreeTried, ENTRY, FittedPolynomialRegression, PolynomialRegression};

use crate::matrix::{Matrix, column_name};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// Columns that a basis may have at most; more is a slip of parameters.
const MAX_COLUMNS: usize = 100_000;

/// All products of up to `degree` columns, in the order of scikit-learn: by degree, then by column numbers
/// (`a, b, a², ab, b²`). The constant is left out, since linear models have their intercept.
///
/// ```
/// use tradewind_learn::{Matrix, polynomial::Polynomial};
/// let basis = Polynomial { degree: 2, interaction_only: false }.fit(2).unwrap();
/// assert_eq!(basis.names(&["a".into(), "b".into()]), ["a", "b", "a^2", "a b", "b^2"]);
/// let x = Matrix::from_rows(&[[2.0, 3.0]]).unwrap();
/// assert_eq!(basis.transform(&x).unwrap().row(0), [2.0, 3.0, 4.0, 6.0, 9.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Polynomial {
    /// The highest degree, 1 to 10 (default 2).
    pub degree: usize,
    /// Only products of different columns, no powers (default false).
    pub interaction_only: bool,
}

impl Default for Polynomial {
    fn default() -> Self {
        Self { degree: 2, interaction_only: false }
    }
}

/// The products that [`Polynomial`] forms of a given number of columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedPolynomial {
    n_cols: usize,
    /// The columns multiplied for each basis column, in rising order; a power names its column several times.
    terms: Vec<Vec<usize>>,
}

impl Polynomial {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new().require((1..=10).contains(&self.degree), "degree", self.degree, "1 to 10").finish()
    }

    /// The basis of `n_cols` columns. Fails when it would have more than 100,000 columns.
    pub fn fit(&self, n_cols: usize) -> Result<FittedPolynomial> {
        self.check()?;
        let mut terms: Vec<Vec<usize>> = Vec::new();
        let mut before: Vec<Vec<usize>> = vec![Vec::new()];
        for _ in 0..self.degree {
            let mut of_degree = Vec::new();
            for term in &before {
                let from = match term.last() {
                    None => 0,
                    Some(last) => last + usize::from(self.interaction_only),
                };
                if terms.len() + of_degree.len() + n_cols.saturating_sub(from) > MAX_COLUMNS {
                    return Err(Error::Invalid(format!(
                        "polynomial features of degree {} of {n_cols} columns are more than {MAX_COLUMNS}; \
                         lower the degree or choose columns",
                        self.degree
                    )));
                }
                of_degree.extend((from..n_cols).map(|j| [term.as_slice(), &[j]].concat()));
            }
            terms.extend(of_degree.iter().cloned());
            before = of_degree;
        }
        Ok(FittedPolynomial { n_cols, terms })
    }
}

impl FittedPolynomial {
    /// The products of every row. Fails on another width, and where a product is too large for a number.
    pub fn transform(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.n_cols, "the polynomial basis")?;
        x.check_finite(&[])?;
        let mut out = Matrix::zeros(x.n_rows(), self.terms.len());
        for i in 0..x.n_rows() {
            let row = x.row(i);
            for (o, term) in out.row_mut(i).iter_mut().zip(&self.terms) {
                *o = term.iter().map(|&j| row[j]).product();
            }
        }
        out.check_finite(&self.names(&[]))?;
        Ok(out)
    }

    /// The columns multiplied for each basis column.
    pub fn terms(&self) -> &[Vec<usize>] {
        &self.terms
    }

    /// Names such as `price`, `price^2`, `price stock`.
    pub fn names(&self, names: &[String]) -> Vec<String> {
        self.terms
            .iter()
            .map(|term| {
                let mut parts: Vec<String> = Vec::new();
                let mut at = 0;
                while at < term.len() {
                    let power = term[at..].iter().take_while(|j| **j == term[at]).count();
                    let name = column_name(names, term[at]);
                    parts.push(if power == 1 { name } else { format!("{name}^{power}") });
                    at += power;
                }
                parts.join(" ")
            })
            .collect()
    }
}
