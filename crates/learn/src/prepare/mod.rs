//! From a table of any columns to numbers, as a fitted transform that travels with the model.
//!
//! A [`Recipe`] is plain data (JSON): rules that tell which columns go through which steps, and steps on the whole matrix
//! after them. [`Recipe::fit_transform`] learns it from the training rows and nothing else; [`FittedRecipe::transform`]
//! brings new rows the same way and says what does not fit: a column that is gone, another type.
//!
//! | step | on | gives |
//! |---|---|---|
//! | [`Step::Keep`] | numbers, flags | the numbers as they are |
//! | [`Step::Impute`] | numbers, flags | gaps filled, with a column that marks them |
//! | [`Step::Cap`] | numbers | outliers set to a bound |
//! | [`Step::Scale`] | numbers | min-max, standard, robust or log scale |
//! | [`Step::YeoJohnson`] | numbers | a nearly normal column |
//! | [`Step::OneHot`] | anything | a 0/1 column per category |
//! | [`Step::Codes`] | anything | category codes, for trees |
//! | [`Step::Hash`] | anything | a fixed number of columns, however many categories |
//! | [`Step::Target`] | anything | the mean target of the category, out of fold for training rows |
//! | [`Step::Dates`] | dates | year, month, weekday, … |
//! | [`Step::Text`] | text | hashed words |
//!
//! Steps after an encoding see its columns as numbers. A column without a rule is left out.
//!
//! ```
//! use tradewind_core::Run;
//! use tradewind_learn::{Bears, frame::{Column, Frame}, prepare::Recipe};
//! let train = Frame::new(vec![
//!     ("price".into(), Column::Number(vec![1.0, f64::NAN, 3.0])),
//!     ("colour".into(), Column::text([Some("red"), Some("blue"), Some("red")])),
//! ])
//! .unwrap();
//! let recipe = Recipe::standard(&train, Bears::default(), false);
//! let (fitted, x) = recipe.fit_transform(&Run::new(1), &train, None).unwrap();
//! assert_eq!(x.names, ["price", "price_missing", "colour=blue", "colour=red"]);
//! let new = Frame::new(vec![("price".into(), Column::Number(vec![2.0]))]).unwrap();
//! assert!(fitted.transform(&new).unwrap_err().to_string().contains("`colour`"));
//! ```

mod date;
mod encode;
mod fitted;
mod numeric;
mod reading;
mod standard;
mod text;
mod whole;

pub use date::DatePart;
pub use fitted::{FittedRecipe, Prepared, Target};
pub use numeric::{FittedYeoJohnson, yeo_johnson};
pub use reading::Reading;
pub use text::{TextHook, Tokens, stable_hash};

use crate::frame::{Column, Frame, Holds};
use crate::matrix::CATEGORY_MAX;
use crate::polynomial::Polynomial;
use crate::transform::Transform;
use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Result};

/// Which columns a [`Rule`] is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// All.
    All,
    /// Those that hold this.
    Holds(Holds),
    /// Those of these names; each must be there.
    Names(Vec<String>),
}

impl Select {
    fn takes(&self, name: &str, column: &Column) -> bool {
        match self {
            Self::All => true,
            Self::Holds(holds) => column.holds() == *holds,
            Self::Names(names) => names.iter().any(|n| n == name),
        }
    }
}

/// What stands in for a missing value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The mean of the training rows.
    Mean,
    /// Their median.
    Median,
    /// Their most frequent value, the smallest where several are.
    Mode,
    /// This number.
    Constant(f64),
}

/// Beyond which bounds a value is an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// These two quantiles, as 0.01 and 0.99.
    Quantiles(f64, f64),
    /// This many interquartile ranges below the first and above the third quartile (Tukey 1977 takes 1.5).
    Iqr(f64),
    /// This many median absolute deviations (times 1.4826, which makes them standard deviations of normal data) from the
    /// median.
    Mad(f64),
}

/// One step of a column. The table stands at the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The numbers as they are; flags as 0 and 1.
    Keep,
    /// Fills gaps. A column that is missing in every training row is filled with 0.
    Impute {
        /// What with.
        with: Fill,
        /// The column whose categories each have their own fill (a category without values takes that of all rows).
        #[serde(default)]
        by: Option<String>,
        /// Whether a column `…_missing` of 0 and 1 tells where gaps were; it comes only where training rows had some.
        #[serde(default)]
        mark: bool,
    },
    /// Sets outliers to the bound.
    Cap(Bound),
    /// Brings to a scale; missing values stay.
    Scale(Transform),
    /// The power transform of Yeo and Johnson (2000) whose lambda is the likeliest, then standardised; missing values stay.
    YeoJohnson,
    /// A 0/1 column per category; missing and unknown values are 0 in all.
    OneHot {
        /// At most this many columns, 1 to 10,000; the most frequent categories have one of their own.
        limit: usize,
        /// Categories with fewer training rows than this share the column `…=(rare)`, with those beyond the limit.
        #[serde(default)]
        rare: usize,
    },
    /// Category codes for estimators that split them natively, in the order of the names; missing and unknown values are
    /// missing.
    Codes {
        /// At most this many, 1 to 65,535; the most frequent have a code.
        limit: usize,
    },
    /// Signed feature hashing (Weinberger et al. 2009) of the category into this many columns, 1 to 100,000.
    Hash {
        /// Columns.
        columns: usize,
    },
    /// The mean target of the category, drawn to the mean of all rows: `(Σ y + m·ȳ) / (n + m)` (Micci-Barreca 2001). Of
    /// several classes, one column per class with its share. Missing is a category; an unknown one gets the mean of all.
    /// Training rows get values from the other folds only, so that no row sees its own target.
    Target {
        /// `m`, the rows that the mean of all counts for, 0 and more.
        smoothing: f64,
        /// Folds, 2 to 1000.
        n_folds: usize,
    },
    /// Parts of the date.
    Dates(Vec<DatePart>),
    /// Hashed words of a text: counts, scaled to length 1 per row.
    Text {
        /// How a text is cut.
        tokens: Tokens,
        /// Columns, 1 to 100,000.
        columns: usize,
    },
}

/// Columns and the steps they go through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which columns.
    pub select: Select,
    /// The steps, in order; each learns from what the one before gives.
    pub steps: Vec<Step>,
}

/// A step on the whole matrix, after the columns' own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Whole {
    /// Fills gaps of number columns with the mean of the nearest training rows that have the value, by the distance over
    /// the columns that both rows have (Troyanskaya et al. 2001; as scikit-learn's `KNNImputer`). Bring columns to one
    /// scale first.
    ImputeNearest {
        /// Neighbours, 1 to 1000.
        k: usize,
        /// At most this many training rows are kept, evenly over the table, 1 to 1,000,000.
        rows_max: usize,
    },
    /// Leaves out columns that are the same in all training rows (missing everywhere counts as the same).
    DropConstant,
    /// Powers and products; needs complete numbers.
    Polynomial(Polynomial),
}

/// What is done to which columns. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// For each column the first rule that takes it.
    pub columns: Vec<Rule>,
    /// Then these on the whole.
    pub whole: Vec<Whole>,
}

impl Recipe {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut c = ParamCheck::new();
        for step in self.columns.iter().flat_map(|r| &r.steps) {
            match step {
                Step::Impute { with: Fill::Constant(v), .. } => {
                    c.require(v.is_finite(), "constant", v, "a finite number");
                }
                Step::Cap(Bound::Quantiles(low, high)) => {
                    let ok = (0.0..=1.0).contains(low) && (0.0..=1.0).contains(high) && low < high;
                    c.require(ok, "quantiles", format!("{low}, {high}"), "two rising levels from 0 to 1");
                }
                Step::Cap(Bound::Iqr(k) | Bound::Mad(k)) => {
                    c.require(k.is_finite() && *k > 0.0, "cap", k, "above 0");
                }
                Step::OneHot { limit, .. } => {
                    c.require((1..=10_000).contains(limit), "limit", limit, "1 to 10000");
                }
                Step::Codes { limit } => {
                    let max = CATEGORY_MAX + 1;
                    c.require((1..=max).contains(limit), "limit", limit, "1 to 65535");
                }
                Step::Hash { columns } | Step::Text { columns, .. } => {
                    c.require((1..=100_000).contains(columns), "columns", columns, "1 to 100000");
                }
                Step::Target { smoothing, n_folds } => {
                    let ok = smoothing.is_finite() && *smoothing >= 0.0;
                    c.require(ok, "smoothing", smoothing, "0 and more");
                    c.require((2..=1000).contains(n_folds), "n_folds", n_folds, "2 to 1000");
                }
                _ => {}
            }
        }
        for whole in &self.whole {
            match whole {
                Whole::ImputeNearest { k, rows_max } => {
                    c.require((1..=1000).contains(k), "k", k, "1 to 1000");
                    let ok = (1..=1_000_000).contains(rows_max);
                    c.require(ok, "rows_max", rows_max, "1 to 1000000");
                }
                Whole::Polynomial(p) => p.check()?,
                Whole::DropConstant => {}
            }
        }
        c.finish()
    }

    /// With one more rule for these columns.
    pub fn with(mut self, select: Select, steps: Vec<Step>) -> Self {
        self.columns.push(Rule { select, steps });
        self
    }

    /// The steps of a column; `None` where no rule takes it.
    fn steps_of(&self, name: &str, column: &Column) -> Option<&[Step]> {
        self.columns.iter().find(|r| r.select.takes(name, column)).map(|r| r.steps.as_slice())
    }

    /// Fails when a rule names a column that is not there.
    fn check_names(&self, frame: &Frame) -> Result<()> {
        for rule in &self.columns {
            if let Select::Names(names) = &rule.select {
                names.iter().try_for_each(|n| frame.column(n).map(drop))?;
            }
        }
        Ok(())
    }
}
