//! The catalogue entries of the elastic net and the lasso.

use super::{AlphaRule, ElasticNet, FittedElasticNet};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::Coefficient;
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{ParamKind, ParamSpec, Result, Run};

const ALPHA: ParamSpec = ParamSpec {
    name: "alpha",
    kind: ParamKind::Number { min: 1e-12, max: 1e12 },
    default: "1",
    summary: "weight of the penalty; not used where n_folds chooses it",
};
const N_FOLDS: ParamSpec = ParamSpec {
    name: "n_folds",
    kind: ParamKind::Integer { min: 0, max: 100 },
    default: "0",
    summary: "2 and more choose alpha by cross-validation over so many folds",
};
const RULE: ParamSpec = ParamSpec {
    name: "rule",
    kind: ParamKind::Choice(&["min", "one_standard_error"]),
    default: "min",
    summary: "the alpha of least error, or the largest within one standard error of it",
};
const TOLERANCE: ParamSpec = ParamSpec {
    name: "tolerance",
    kind: ParamKind::Number { min: 1e-15, max: 0.5 },
    default: "1e-9",
    summary: "where the search ends",
};
const MAX_ITER: ParamSpec = ParamSpec {
    name: "max_iter",
    kind: ParamKind::Integer { min: 1, max: 10_000_000 },
    default: "100000",
    summary: "steps before giving up",
};

/// The parameters of the entry `lasso`: those of [`ElasticNet`] without `l1_ratio`, which is 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LassoParams {
    alpha: f64,
    n_folds: usize,
    rule: AlphaRule,
    tolerance: f64,
    max_iter: usize,
}

impl Default for LassoParams {
    fn default() -> Self {
        let ElasticNet { alpha, n_folds, rule, tolerance, max_iter, .. } = ElasticNet::default();
        Self { alpha, n_folds, rule, tolerance, max_iter }
    }
}

/// The catalogue entry of the lasso.
pub const LASSO: LearnerEntry = LearnerEntry {
    name: "lasso",
    summary: "Least squares that sets weak coefficients to zero.",
    summary_zh: "Lasso 回归：将弱系数压为零的最小二乘法。",
    source: "Tibshirani 1996; Friedman, Hastie and Tibshirani 2010",
    tasks: &[Task::Regression],
    params: &[ALPHA, N_FOLDS, RULE, TOLERANCE, MAX_ITER],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let LassoParams { alpha, n_folds, rule, tolerance, max_iter } = LASSO.read(params)?;
        let params = ElasticNet { alpha, l1_ratio: 1.0, n_folds, rule, tolerance, max_iter };
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedElasticNet>("lasso", saved),
};

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "elastic_net",
    summary: "Least squares that sets weak coefficients to zero; lasso with l1_ratio 1.",
    summary_zh: "弹性网回归：将弱系数压为零；l1_ratio 为 1 时即 Lasso。",
    source: "Zou and Hastie 2005",
    tasks: &[Task::Regression],
    params: &[
        ALPHA,
        ParamSpec {
            name: "l1_ratio",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "1",
            summary: "share of the penalty on absolute values",
        },
        N_FOLDS,
        RULE,
        TOLERANCE,
        MAX_ITER,
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let params: ElasticNet = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedElasticNet>("elastic_net", saved),
};

impl Learner for ElasticNet {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedElasticNet {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("elastic_net", self)
    }

    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.line.coefficients())
    }
}
