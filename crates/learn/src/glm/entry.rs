//! The catalogue entries of the generalised linear models.

use super::{FittedGlm, Gamma, Poisson, Tweedie};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::Coefficient;
use crate::matrix::{Dataset, Matrix};
use serde_json::Value;
use tradewind_core::{ParamKind, ParamSpec, Result, Run};

const ALPHA: ParamSpec = ParamSpec {
    name: "alpha",
    kind: ParamKind::Number { min: 0.0, max: 1e12 },
    default: "0",
    summary: "weight of the penalty on squares against half the mean deviance",
};
const TOLERANCE: ParamSpec = ParamSpec {
    name: "tolerance",
    kind: ParamKind::Number { min: 1e-15, max: 0.5 },
    default: "1e-7",
    summary: "where the search ends",
};
const MAX_ITER: ParamSpec = ParamSpec {
    name: "max_iter",
    kind: ParamKind::Integer { min: 1, max: 100_000 },
    default: "200",
    summary: "steps before giving up",
};
const BEARS: Bears = Bears {
    missing: false,
    categories: false,
    any_scale: true,
    weights: true,
    negative: true,
    many_categories: false,
};

/// The catalogue entry of [`Poisson`].
pub const POISSON: LearnerEntry = LearnerEntry {
    name: "poisson",
    summary: "Regression of counts, with a log link.",
    summary_zh: "泊松回归：计数目标，对数连接。",
    source: "Nelder and Wedderburn 1972",
    tasks: &[Task::Regression],
    params: &[ALPHA, TOLERANCE, MAX_ITER],
    bears: BEARS,
    build: |_, params| {
        let params: Poisson = POISSON.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedGlm>("poisson", saved),
};

/// The catalogue entry of [`Gamma`].
pub const GAMMA: LearnerEntry = LearnerEntry {
    name: "gamma",
    summary: "Regression of positive amounts whose spread grows with their mean, with a log link.",
    summary_zh: "伽马回归：正数金额目标，离散随均值增大，对数连接。",
    source: "Nelder and Wedderburn 1972",
    tasks: &[Task::Regression],
    params: &[ALPHA, TOLERANCE, MAX_ITER],
    bears: BEARS,
    build: |_, params| {
        let params: Gamma = GAMMA.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedGlm>("gamma", saved),
};

/// The catalogue entry of [`Tweedie`].
pub const TWEEDIE: LearnerEntry = LearnerEntry {
    name: "tweedie",
    summary: "Regression of amounts of which many are zero, with a log link.",
    summary_zh: "Tweedie 回归：含大量零值的金额目标，对数连接。",
    source: "Jørgensen 1987",
    tasks: &[Task::Regression],
    params: &[
        ParamSpec {
            name: "power",
            kind: ParamKind::Number { min: 1.0, max: 2.0 },
            default: "1.5",
            summary: "how the variance grows with the mean; 1 is Poisson, 2 is gamma",
        },
        ALPHA,
        TOLERANCE,
        MAX_ITER,
    ],
    bears: BEARS,
    build: |_, params| {
        let params: Tweedie = TWEEDIE.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedGlm>("tweedie", saved),
};

impl Learner for Poisson {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl Learner for Gamma {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl Learner for Tweedie {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedGlm {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("generalised linear model", self)
    }

    /// Of the log of the mean, which is the raw score.
    fn contributions(&self, _run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(self.line.all_contributions(x))
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.table())
    }
}
