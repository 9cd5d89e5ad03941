//! Random forest, extremely randomised trees, and isolation forest.
//!
//! A forest is the mean of many deep trees. Each tree of a [random forest](RandomForest) sees rows drawn with
//! replacement and, at each node, the best cut over a few columns drawn (Breiman 2001); [extra trees](ExtraTrees) see
//! all rows and take one random cut per column (Geurts, Ernst, Wehenkel 2006). Both give a
//! [`tree::Ensemble`](crate::tree::Ensemble) whose leaves hold class shares or means. The
//! [isolation forest](isolation::IsolationForest) looks for rows that random cuts set apart early.
//!
//! Columns are cut once into at most 255 bins. Up to 255 distinct values that is exact; beyond, cuts lie between bins
//! of equal count. Missing values go to the side where they lower the impurity most; categories are split as sets.
//! Trees are grown in parallel, each with its own stream of random numbers, so the number of threads changes nothing.

mod bins;
mod criterion;
mod fit;
mod grow;
pub mod isolation;

pub use criterion::Purity;

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, save};
use crate::matrix::{Dataset, Matrix};
use crate::tree::{Ensemble, shap};
use fit::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// What the classes weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// As many as their rows.
    #[default]
    None,
    /// All the same: the rows of class `c` weigh `W / (k · W_c)`.
    Balanced,
}

/// Parameters of a random forest.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_trees` | 100 | 1 to 100,000 | trees |
/// | `max_features` | `√p` columns for classes, a third for numbers | 0 to 1 | share of the columns looked at per node, at least one; 0 stands for `√p` |
/// | `max_depth` | none | 1 to 10,000 | depth at which growing ends |
/// | `min_samples_leaf` | 1 | 1 and more | fewest draws in a leaf; a row drawn twice counts twice |
/// | `min_samples_split` | 2 | 2 and more | fewest draws in a node that is split |
/// | `max_leaf_nodes` | none | 2 and more | most leaves; nodes of most gain are then split first |
/// | `min_impurity_decrease` | 0 | 0 and more | least fall of the impurity, weighted by the node's share of the rows |
/// | `criterion` | `gini` | `gini`, `entropy` | impurity of classes; numbers use the squared error |
/// | `class_weight` | `none` | `none`, `balanced` | what the classes weigh |
/// | `bootstrap` | true | | rows are drawn with replacement |
/// | `max_samples` | 1 | above 0, to 1 | share of the rows drawn per tree |
/// | `max_bins` | 255 | 2 to 255 | most bins of a column |
/// | `oob` | false | | keeps the out-of-bag answers of the training rows |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, Task, forest::RandomForest};
/// let x = Matrix::from_columns(&[(0..100).map(f64::from).collect::<Vec<_>>()]).unwrap();
/// let y = (0..100).map(|i| f64::from(i / 50)).collect();
/// let data = Dataset::new(x, y, vec![]).unwrap();
/// let model = RandomForest { oob: true, ..RandomForest::default() }.fit(&Run::new(1), &data, Task::Binary).unwrap();
/// let p = model.predict(&Matrix::from_rows(&[[10.0], [90.0]]).unwrap()).unwrap();
/// assert!(p.get(0, 0) > 0.9 && p.get(1, 1) > 0.9);
/// assert!(model.oob_score().unwrap() > 0.9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomForest {
    /// Trees.
    pub n_trees: usize,
    /// Share of the columns looked at per node.
    pub max_features: Option<f64>,
    /// Depth at which growing ends.
    pub max_depth: Option<usize>,
    /// Fewest draws in a leaf.
    pub min_samples_leaf: usize,
    /// Fewest draws in a node that is split.
    pub min_samples_split: usize,
    /// Most leaves of a tree.
    pub max_leaf_nodes: Option<usize>,
    /// Least fall of the impurity.
    pub min_impurity_decrease: f64,
    /// Impurity of classes.
    pub criterion: Purity,
    /// What the classes weigh.
    pub class_weight: ClassWeight,
    /// Whether rows are drawn with replacement.
    pub bootstrap: bool,
    /// Share of the rows drawn per tree.
    pub max_samples: f64,
    /// Most bins of a column.
    pub max_bins: usize,
    /// Whether out-of-bag answers are kept.
    pub oob: bool,
}

impl Default for RandomForest {
    fn default() -> Self {
        Self {
            n_trees: 100,
            max_features: None,
            max_depth: None,
            min_samples_leaf: 1,
            min_samples_split: 2,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            criterion: Purity::Gini,
            class_weight: ClassWeight::None,
            bootstrap: true,
            max_samples: 1.0,
            max_bins: bins::BINS_MAX,
            oob: false,
        }
    }
}

/// Parameters of extremely randomised trees: those of the [`RandomForest`], but `bootstrap` is off by default, and for
/// numbers `max_features` is all columns, as its authors advise.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, Task, forest::ExtraTrees};
/// let x = Matrix::from_columns(&[(0..100).map(f64::from).collect::<Vec<_>>()]).unwrap();
/// let data = Dataset::new(x, (0..100).map(f64::from).collect(), vec![]).unwrap();
/// let model = ExtraTrees::default().fit(&Run::new(1), &data, Task::Regression).unwrap();
/// assert!((model.predict(&Matrix::from_rows(&[[30.5]]).unwrap()).unwrap().get(0, 0) - 30.5).abs() < 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtraTrees {
    /// Trees.
    pub n_trees: usize,
    /// Share of the columns looked at per node.
    pub max_features: Option<f64>,
    /// Depth at which growing ends.
    pub max_depth: Option<usize>,
    /// Fewest draws in a leaf.
    pub min_samples_leaf: usize,
    /// Fewest draws in a node that is split.
    pub min_samples_split: usize,
    /// Most leaves of a tree.
    pub max_leaf_nodes: Option<usize>,
    /// Least fall of the impurity.
    pub min_impurity_decrease: f64,
    /// Impurity of classes.
    pub criterion: Purity,
    /// What the classes weigh.
    pub class_weight: ClassWeight,
    /// Whether rows are drawn with replacement.
    pub bootstrap: bool,
    /// Share of the rows drawn per tree.
    pub max_samples: f64,
    /// Most bins of a column.
    pub max_bins: usize,
    /// Whether out-of-bag answers are kept.
    pub oob: bool,
}

impl Default for ExtraTrees {
    fn default() -> Self {
        Self::from(RandomForest { bootstrap: false, ..RandomForest::default() })
    }
}

impl From<RandomForest> for ExtraTrees {
    fn from(p: RandomForest) -> Self {
        Self {
            n_trees: p.n_trees,
            max_features: p.max_features,
            max_depth: p.max_depth,
            min_samples_leaf: p.min_samples_leaf,
            min_samples_split: p.min_samples_split,
            max_leaf_nodes: p.max_leaf_nodes,
            min_impurity_decrease: p.min_impurity_decrease,
            criterion: p.criterion,
            class_weight: p.class_weight,
            bootstrap: p.bootstrap,
            max_samples: p.max_samples,
            max_bins: p.max_bins,
            oob: p.oob,
        }
    }
}

impl From<ExtraTrees> for RandomForest {
    fn from(p: ExtraTrees) -> Self {
        Self {
            n_trees: p.n_trees,
            max_features: p.max_features,
            max_depth: p.max_depth,
            min_samples_leaf: p.min_samples_leaf,
            min_samples_split: p.min_samples_split,
            max_leaf_nodes: p.max_leaf_nodes,
            min_impurity_decrease: p.min_impurity_decrease,
            criterion: p.criterion,
            class_weight: p.class_weight,
            bootstrap: p.bootstrap,
            max_samples: p.max_samples,
            max_bins: p.max_bins,
            oob: p.oob,
        }
    }
}

impl RandomForest {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let within = |v: usize, range: std::ops::RangeInclusive<usize>| range.contains(&v);
        check.require(within(self.n_trees, 1..=100_000), "n_trees", self.n_trees, "1 to 100000");
        if let Some(v) = self.max_features {
            check.require((0.0..=1.0).contains(&v), "max_features", v, "0 to 1");
        }
        if let Some(v) = self.max_depth {
            check.require(within(v, 1..=10_000), "max_depth", v, "1 to 10000");
        }
        let v = self.min_samples_leaf;
        check.require(within(v, 1..=1_000_000_000), "min_samples_leaf", v, "1 to 1000000000");
        let v = self.min_samples_split;
        check.require(within(v, 2..=1_000_000_000), "min_samples_split", v, "2 to 1000000000");
        if let Some(v) = self.max_leaf_nodes {
            check.require(within(v, 2..=1_000_000_000), "max_leaf_nodes", v, "2 to 1000000000");
        }
        let v = self.min_impurity_decrease;
        check.require((0.0..=1e12).contains(&v), "min_impurity_decrease", v, "0 to 1e12");
        let v = self.max_samples;
        check.require(v > 0.0 && v <= 1.0, "max_samples", v, "above 0, to 1");
        check.require(within(self.max_bins, 2..=bins::BINS_MAX), "max_bins", self.max_bins, "2 to 255");
        check.finish()
    }

    /// Grows the forest for regression, or for the classes of a binary or multi-class target.
    ///
    /// Fails without rows, and for classes on fewer than two of them or on a class without rows.
    pub fn fit(&self, run: &Run, data: &Dataset, task: Task) -> Result<FittedForest> {
        self.check()?;
        fit::fit(run, data, task, &Settings { params: self, name: "a random forest", random_cut: false })
    }
}

impl ExtraTrees {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        RandomForest::from(*self).check()
    }

    /// Grows the trees for regression, or for the classes of a binary or multi-class target.
    ///
    /// Fails without rows, and for classes on fewer than two of them or on a class without rows.
    pub fn fit(&self, run: &Run, data: &Dataset, task: Task) -> Result<FittedForest> {
        self.check()?;
        let params = &RandomForest::from(*self);
        fit::fit(run, data, task, &Settings { params, name: "extra trees", random_cut: true })
    }
}

/// What a [`RandomForest`] or [`ExtraTrees`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedForest {
    trees: Ensemble,
    importance: Vec<f64>,
    /// Out-of-bag answers of the training rows; a row that every tree drew has none.
    oob: Option<Vec<Option<Vec<f64>>>>,
    oob_score: Option<f64>,
}

impl FittedForest {
    /// One row per row of `x`: the mean of the trees, or the mean class shares. Fails on another width.
    pub fn predict(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.trees.n_features, "the forest")?;
        self.trees.scores(x)
    }

    /// The trees.
    pub fn trees(&self) -> &Ensemble {
        &self.trees
    }

    /// How much each column lowered the impurity, as shares of one; all zero when no tree has a split.
    pub fn impurity_importance(&self) -> &[f64] {
        &self.importance
    }

    /// The answers for each training row by the trees that did not draw it; `None` for a row that every tree drew.
    /// Absent unless `oob` was asked for.
    pub fn oob_predictions(&self) -> Option<&[Option<Vec<f64>>]> {
        self.oob.as_deref()
    }

    /// R² or accuracy of the out-of-bag answers, weighted; absent when `oob` was not asked for or no row has one.
    pub fn oob_score(&self) -> Option<f64> {
        self.oob_score
    }
}

impl FittedLearner for FittedForest {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict(x)
    }

    fn save(&self) -> Result<Value> {
        save("forest", self)
    }

    fn importance(&self) -> Option<Vec<f64>> {
        Some(self.importance.clone())
    }

    fn contributions(&self, run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(shap::contributions(run, &self.trees, x))
    }
}

fn read_back(saved: Value) -> Result<Box<dyn FittedLearner>> {
    let fitted: FittedForest =
        serde_json::from_value(saved).map_err(|source| Error::Saved { what: "forest".to_owned(), source })?;
    fitted.trees.check()?;
    if fitted.importance.len() != fitted.trees.n_features {
        return Err(Error::Invalid("a saved forest is broken: columns and importances do not agree".into()));
    }
    Ok(Box::new(fitted))
}

struct ForTask<P> {
    task: Task,
    params: P,
}

impl Learner for ForTask<RandomForest> {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.params.fit(run, data, self.task)?))
    }
}

impl Learner for ForTask<ExtraTrees> {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.params.fit(run, data, self.task)?))
    }
}

const fn spec(
    name: &'static str,
    kind: ParamKind,
    default: &'static str,
    summary: &'static str,
) -> ParamSpec {
    ParamSpec { name, kind, default, summary }
}

const fn whole(min: i64, max: i64) -> ParamKind {
    ParamKind::Integer { min, max }
}

/// The parameters, with the default of `bootstrap`.
const fn specs(bootstrap: &'static str) -> [ParamSpec; 13] {
    let share = ParamKind::Number { min: 0.0, max: 1.0 };
    [
        spec("n_trees", whole(1, 100_000), "100", "Trees."),
        spec(
            "max_features",
            share,
            "",
            "Share of the columns looked at per node; 0 stands for the square root.",
        ),
        spec("max_depth", whole(1, 10_000), "", "Depth at which growing ends."),
        spec("min_samples_leaf", whole(1, 1_000_000_000), "1", "Fewest draws in a leaf."),
        spec("min_samples_split", whole(2, 1_000_000_000), "2", "Fewest draws in a node that is split."),
        spec("max_leaf_nodes", whole(2, 1_000_000_000), "", "Most leaves of a tree, best splits first."),
        spec(
            "min_impurity_decrease",
            ParamKind::Number { min: 0.0, max: 1e12 },
            "0",
            "Least fall of the impurity, weighted by the node's share of the rows.",
        ),
        spec("criterion", ParamKind::Choice(&["gini", "entropy"]), "gini", "Impurity of classes."),
        spec("class_weight", ParamKind::Choice(&["none", "balanced"]), "none", "What the classes weigh."),
        spec("bootstrap", ParamKind::Flag, bootstrap, "Whether rows are drawn with replacement."),
        spec("max_samples", share, "1", "Share of the rows drawn per tree."),
        spec("max_bins", whole(2, bins::BINS_MAX as i64), "255", "Most bins of a column."),
        spec("oob", ParamKind::Flag, "false", "Keeps the out-of-bag answers of the training rows."),
    ]
}

const TASKS: &[Task] = &[Task::Regression, Task::Binary, Task::Multiclass];

const BEARS: Bears = Bears {
    missing: true,
    categories: true,
    any_scale: true,
    weights: true,
    negative: true,
    many_categories: false,
};

/// The catalogue entry of the random forest.
pub const RANDOM_FOREST: LearnerEntry = LearnerEntry {
    name: "random_forest",
    summary: "The mean of many deep trees, each grown on rows drawn anew and a few columns per node.",
    summary_zh: "随机森林：对随机抽取的样本与特征生长多棵深树并取平均。",
    source: "Breiman (2001), Random forests, Machine Learning 45",
    tasks: TASKS,
    params: &specs("true"),
    bears: BEARS,
    build: |task, params| {
        let params: RandomForest = RANDOM_FOREST.read(params)?;
        params.check()?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: read_back,
};

/// The catalogue entry of extra trees.
pub const EXTRA_TREES: LearnerEntry = LearnerEntry {
    name: "extra_trees",
    summary: "The mean of many deep trees whose cuts are drawn at random; smoother than a random forest and quicker.",
    summary_zh: "极端随机树：分裂点随机抽取的多棵深树取平均，比随机森林更平滑、更快。",
    source: "Geurts, Ernst, Wehenkel (2006), Extremely randomized trees, Machine Learning 63",
    tasks: TASKS,
    params: &specs("false"),
    bears: BEARS,
    build: |task, params| {
        let params: ExtraTrees = EXTRA_TREES.read(params)?;
        params.check()?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: read_back,
};
