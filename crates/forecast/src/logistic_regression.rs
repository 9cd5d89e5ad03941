//! Logistic regression on features with a line for the size: whether there is a sale, times how large it is.
//!
//! For slow sellers a line alone is pulled between the steps without a sale and the sales. Here the logistic regression
//! tells the probability of a sale and a line, learnt from steps with one, its size:
//!
//! ```text
//! ŷ(t+1) = p(sale | x(t)) · s · (β₀ + β · x(t)),   p = 1 / (1 + e^−(γ₀ + γ · x(t)))
//! ```
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `calendar` | `plain` | calendar features | none, plain, CN, US, GB, DE, JP, FR |
//! | `penalty` | 1 | weight of the penalty against the sum of losses, in both parts | 0 to 1e9 |
//!
//! Where every step has a sale the probability is 1, and the method is [`crate::linear_regression`].
//!
//! Source: Cragg (1971), *Some statistical models for limited dependent variables* (the two parts); Kolassa (2016) on
//! slow sellers in retail.

use crate::linear_regression::PENALTY;
use crate::local::SEASON_LENGTH;
use crate::regression::{self, CALENDAR, TableModel};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, Result, Run};
use tradewind_learn::linear::{FittedRidge, Ridge};
use tradewind_learn::logistic::{FittedLogistic, Logistic};
use tradewind_learn::{Dataset, Matrix};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "logistic_regression",
    summary: "The probability of a sale times its size, both from features, learnt across all series; for slow sellers.",
    summary_zh: "逻辑回归两段模型：售出概率乘以售出数量，适合慢销商品，跨序列学习。",
    source: "Cragg (1971), Econometrica 39",
    params: &[SEASON_LENGTH, CALENDAR, PENALTY],
    needs: Needs { min_observations: 16, min_seasons: 2, positive: false, uses_covariates: true },
    build: regression::build::<LogisticRegression>,
    load: regression::load::<LogisticRegression>,
};

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogisticRegression {
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Calendar features.
    pub calendar: String,
    /// Weight of the penalty.
    pub penalty: f64,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { season_length: None, calendar: "plain".into(), penalty: 1.0 }
    }
}

/// What it has learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedHurdle {
    /// `None` when steps have a sale always, or never.
    sale: Option<FittedLogistic>,
    size: FittedRidge,
}

impl TableModel for LogisticRegression {
    type Fitted = FittedHurdle;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn season_length(&self) -> Option<usize> {
        self.season_length
    }

    fn calendar(&self) -> &str {
        &self.calendar
    }

    fn learn(&self, run: &Run, data: &Dataset) -> Result<FittedHurdle> {
        let with_sale: Vec<usize> = (0..data.n_rows()).filter(|r| data.y()[*r] != 0.0).collect();
        let line = Ridge { alpha: self.penalty };
        if with_sale.len() == data.n_rows() || with_sale.is_empty() {
            return Ok(FittedHurdle { sale: None, size: line.fit(run, data)? });
        }
        let sold = data.y().iter().map(|y| f64::from(*y != 0.0)).collect();
        let mut labelled = Dataset::new(data.x().clone(), sold, data.names().to_vec())?;
        if let Some(w) = data.weight() {
            labelled = labelled.with_weight(w.to_vec())?;
        }
        let sale = Logistic { l2: self.penalty, ..Logistic::default() }.fit(run, &labelled)?;
        let size = line.fit(run, &data.select_rows(&with_sale)?)?;
        Ok(FittedHurdle { sale: Some(sale), size })
    }

    fn answer(fitted: &FittedHurdle, rows: &Matrix) -> Result<Vec<f64>> {
        let mut out = fitted.size.predict(rows)?;
        if let Some(sale) = &fitted.sale {
            let p = sale.predict_proba(rows)?;
            out.iter_mut().enumerate().for_each(|(i, v)| *v *= p.get(i, 1));
        }
        Ok(out)
    }

    fn n_columns(fitted: &FittedHurdle) -> usize {
        fitted.size.coef().len()
    }
}
