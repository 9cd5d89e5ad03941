//! The machine in the catalogue.

use super::{FittedSvm, Kernel, Svm};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::matrix::{Dataset, Matrix};
use serde_json::Value;
use tradewind_core::{ParamKind, ParamSpec, Result, Run};

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "svm",
    summary: "Support vector machine with kernels, for classes and numbers.",
    summary_zh: "支持向量机（核方法）：用于分类与回归。",
    source: "Cortes and Vapnik 1995; Chang and Lin 2011 (libsvm)",
    tasks: &[Task::Regression, Task::Binary, Task::Multiclass],
    params: &[
        ParamSpec {
            name: "kind",
            kind: ParamKind::Choice(&["standard", "nu"]),
            default: "standard",
            summary: "C-SVC and epsilon-SVR, or nu-SVC and nu-SVR",
        },
        ParamSpec {
            name: "kernel",
            kind: ParamKind::Choice(Kernel::WORDS),
            default: "rbf",
            summary: "how alike two rows are",
        },
        ParamSpec {
            name: "c",
            kind: ParamKind::Number { min: 1e-12, max: 1e12 },
            default: "1",
            summary: "weight of the errors against the width of the margin",
        },
        ParamSpec {
            name: "nu",
            kind: ParamKind::Number { min: 1e-12, max: 1.0 },
            default: "0.5",
            summary: "nu form: share of rows that may lie inside the margin or outside the tube",
        },
        ParamSpec {
            name: "epsilon",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "0.1",
            summary: "numbers: errors up to this cost nothing",
        },
        ParamSpec {
            name: "gamma",
            kind: ParamKind::Number { min: 1e-300, max: 1e300 },
            default: "",
            summary: "how fast likeness falls with distance",
        },
        ParamSpec {
            name: "gamma_rule",
            kind: ParamKind::Choice(&["scale", "auto"]),
            default: "scale",
            summary: "gamma when it is not given: 1/(columns times variance) or 1/columns",
        },
        ParamSpec {
            name: "degree",
            kind: ParamKind::Integer { min: 1, max: 20 },
            default: "3",
            summary: "power of the polynomial kernel",
        },
        ParamSpec {
            name: "coef0",
            kind: ParamKind::Number { min: -1e12, max: 1e12 },
            default: "0",
            summary: "constant in the polynomial and sigmoid kernels",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 1e-15, max: 0.5 },
            default: "1e-3",
            summary: "where the search ends",
        },
        ParamSpec {
            name: "shrinking",
            kind: ParamKind::Flag,
            default: "true",
            summary: "set variables aside that stay at a bound",
        },
        ParamSpec {
            name: "cache_mb",
            kind: ParamKind::Number { min: 1.0, max: 1e6 },
            default: "200",
            summary: "memory for kernel rows, megabytes",
        },
        ParamSpec {
            name: "probability",
            kind: ParamKind::Flag,
            default: "true",
            summary: "learn probabilities, which costs five more fits",
        },
        ParamSpec {
            name: "class_weight",
            kind: ParamKind::Numbers { min: 1e-12, max: 1e12 },
            default: "",
            summary: "factor on c of each class",
        },
        ParamSpec {
            name: "balanced",
            kind: ParamKind::Flag,
            default: "false",
            summary: "factor on c inverse to the share of the class",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |task, params| {
        let params: Svm = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: |saved| load::<FittedSvm>("svm", saved),
};

struct ForTask {
    task: Task,
    params: Svm,
}

impl Learner for ForTask {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(match self.task.is_classes() {
            true => self.params.fit_classes(run, data)?,
            false => self.params.fit_numbers(run, data)?,
        }))
    }
}

impl FittedLearner for FittedSvm {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        match self.n_classes {
            0 => one_column(self.predict_number(x)?),
            _ => self.predict_proba(x),
        }
    }

    fn save(&self) -> Result<Value> {
        save("svm", self)
    }
}
