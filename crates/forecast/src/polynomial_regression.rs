//! Polynomial regression on features, learnt across all series: a line that may bend.
//!
//! Powers and products up to `degree` of the features that carry the level (rolling means, the last value, the same phase
//! of past seasons, how regular sales are, the columns known ahead) stand beside all features of
//! [`crate::linear_regression`]; so a promotion may do more in season than out of it. The fit is least squares with a
//! penalty.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `calendar` | `plain` | calendar features | none, plain, CN, US, GB, DE, JP, FR |
//! | `degree` | 2 | highest power | 1 to 3 |
//! | `penalty` | 1 | weight of the penalty against the sum of squares | 0 to 1e9 |
//!
//! Source: Hastie, Tibshirani & Friedman, *The Elements of Statistical Learning*, 2nd ed., chapter 5.

use crate::linear_regression::PENALTY;
use crate::local::SEASON_LENGTH;
use crate::regression::{self, CALENDAR, TableModel};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Run};
use tradewind_learn::linear::{FittedRidge, Ridge};
use tradewind_learn::polynomial::{FittedPolynomial, Polynomial};
use tradewind_learn::{Dataset, Matrix};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "polynomial_regression",
    summary: "A curve through past values, season, calendar, prices and promotions, learnt across all series.",
    summary_zh: "多项式回归：在线性回归的特征上加入高次项与交互项，跨序列学习。",
    source: "Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., chapter 5",
    params: &[
        SEASON_LENGTH,
        CALENDAR,
        ParamSpec {
            name: "degree",
            kind: ParamKind::Integer { min: 1, max: 3 },
            default: "2",
            summary: "highest power of a feature, or number of features multiplied",
        },
        PENALTY,
    ],
    needs: Needs { min_observations: 16, min_seasons: 2, positive: false, uses_covariates: true },
    build: regression::build::<PolynomialRegression>,
    load: regression::load::<PolynomialRegression>,
};

/// Features that are bent, at most; the others stay lines.
const BENT_MAX: usize = 12;
/// Numbers in the table of powers at most; of longer tables every so many rows are taken.
const VALUES_MAX: usize = 40_000_000;

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolynomialRegression {
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Calendar features.
    pub calendar: String,
    /// Highest power.
    pub degree: usize,
    /// Weight of the penalty.
    pub penalty: f64,
}

impl Default for PolynomialRegression {
    fn default() -> Self {
        Self { season_length: None, calendar: "plain".into(), degree: 2, penalty: 1.0 }
    }
}

/// What it has learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedCurve {
    n_columns: usize,
    bent: Vec<usize>,
    basis: FittedPolynomial,
    line: FittedRidge,
}

impl FittedCurve {
    /// The columns as they are, and the powers beside them.
    fn spread(n_columns: usize, bent: &[usize], basis: &FittedPolynomial, x: &Matrix) -> Result<Matrix> {
        x.check_width(n_columns, ENTRY.name)?;
        // First powers are there already.
        let powers = basis.transform(&x.select_columns(bent))?;
        let higher: Vec<usize> = (0..powers.n_cols()).filter(|j| basis.terms()[*j].len() > 1).collect();
        x.beside(&powers.select_columns(&higher))
    }
}

fn is_bent(name: &str) -> bool {
    name.starts_with("mean_")
        || matches!(name, "lag_1" | "same_phase" | "sale_share")
        || name.ends_with(":level")
        || name.ends_with(":change")
}

/// The same rows with the weights that `rows` have in `data`.
fn weighted(part: Dataset, data: &Dataset, rows: &[usize]) -> Result<Dataset> {
    match data.weight() {
        Some(w) => part.with_weight(rows.iter().map(|r| w[*r]).collect()),
        None => Ok(part),
    }
}

impl TableModel for PolynomialRegression {
    type Fitted = FittedCurve;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn season_length(&self) -> Option<usize> {
        self.season_length
    }

    fn calendar(&self) -> &str {
        &self.calendar
    }

    fn learn(&self, run: &Run, data: &Dataset) -> Result<FittedCurve> {
        let names = data.names();
        let bent: Vec<usize> = (0..names.len()).filter(|j| is_bent(&names[*j])).take(BENT_MAX).collect();
        let basis = Polynomial { degree: self.degree, interaction_only: false }.fit(bent.len())?;
        let n_columns = names.len();
        let width = n_columns + basis.terms().len();
        let every = data.n_rows().saturating_mul(width).div_ceil(VALUES_MAX).max(1);
        let rows: Vec<usize> = (0..data.n_rows()).step_by(every).collect();
        let x = FittedCurve::spread(n_columns, &bent, &basis, &data.x().select_rows(&rows))?;
        let y = rows.iter().map(|r| data.y()[*r]).collect();
        let line = Ridge { alpha: self.penalty }.fit(run, &weighted(Dataset::new(x, y, vec![])?, data, &rows)?)?;
        Ok(FittedCurve { n_columns, bent, basis, line })
    }

    fn answer(fitted: &FittedCurve, rows: &Matrix) -> Result<Vec<f64>> {
        fitted.line.predict(&FittedCurve::spread(fitted.n_columns, &fitted.bent, &fitted.basis, rows)?)
    }

    fn n_columns(fitted: &FittedCurve) -> usize {
        // State whose parts do not fit has no width that any features have.
        if fitted.bent.iter().all(|j| *j < fitted.n_columns) { fitted.n_columns } else { usize::MAX }
    }
}
