//! Gradient boosting of trees on histograms.
//!
//! Round after round a tree is fitted to the gradients of the loss at the scores so far, `f ← f + η · tree`, with leaf
//! values `−G / (H + l2)` from the sums of gradients and hessians (Friedman 2001; Chen and Guestrin 2016). Columns are
//! binned, trees grow leaf by leaf (Ke et al. 2017); gradients are rounded to whole numbers so finely that their sums
//! use 31 bits, and so the result does not depend on the number of threads. Missing values go to the side that gains
//! more, categories are split by sets.
//!
//! Where we differ from LightGBM: bins with zero are not treated apart; missing values that were never seen at a node go
//! with its larger side; several quantiles are learnt at once and their answers put in order, so that they never cross
//! (Chernozhukov et al. 2010).

mod fit;
mod objective;
mod params;
mod rank;
mod saved;

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{ColumnKind, Dataset, Matrix};
use crate::tree::grow::GrowParams;
pub use crate::tree::grow::Growth;
use crate::tree::{Ensemble, Link, shap};
pub use objective::Objective;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, Result, Run};

/// Which rows a tree is grown on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// All.
    #[default]
    All,
    /// Rows drawn at random, anew every `bagging_freq` rounds.
    Bagging,
    /// All rows of large gradient, and some others that count for more.
    Goss,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `objective` | auto | auto, squared, absolute, huber, quantile, quantiles, poisson, tweedie | what is minimised; auto: squared error, log loss, softmax or LambdaRank, by the task |
/// | `n_rounds` | 100 | 1 to 100000 | trees per output |
/// | `learning_rate` | 0.1 | 1e-06 to 1 | share of each tree that is added |
/// | `n_leaves` | 31 | 2 to 131072 | most leaves of a tree |
/// | `max_depth` | 0 | 0 to 1000 | most splits from root to leaf; 0: any |
/// | `growth` | leaf | leaf, level | which leaf is split next: the one that gains most, or level by level |
/// | `max_bins` | 255 | 2 to 65535 | most bins of a column of numbers |
/// | `min_data_in_bin` | 3 | 1 to 1000000 | fewest sampled rows in a bin |
/// | `min_child_samples` | 20 | 1 to 1000000000 | fewest rows in a leaf |
/// | `min_sum_hessian` | 0.001 | 0 to 1e+12 | smallest sum of hessians in a leaf |
/// | `min_gain` | 0 | 0 to 1e+12 | smallest gain of a split |
/// | `l1` | 0 | 0 to 1e+12 | penalty on the sizes of leaf values |
/// | `l2` | 0 | 0 to 1e+12 | penalty on the squares of leaf values |
/// | `max_delta_step` | 0 | 0 to 1e+12 | largest leaf value before the learning rate; 0: any |
/// | `cat_smooth` | 10 | 0 to 1e+09 | smoothing where categories are ordered, and fewest rows of a category |
/// | `cat_l2` | 10 | 0 to 1e+12 | penalty on squares at splits by categories |
/// | `max_cat_threshold` | 32 | 1 to 65535 | most categories on the smaller side of a split |
/// | `max_cat_to_onehot` | 4 | 1 to 65535 | up to so many categories are split one against the rest |
/// | `min_data_per_group` | 100 | 1 to 1000000000 | fewest rows of a group of categories |
/// | `feature_fraction` | 1 | 1e-06 to 1 | share of columns each tree sees |
/// | `node_fraction` | 1 | 1e-06 to 1 | share of these columns each leaf sees |
/// | `sampling` | all | all, bagging, goss | which rows a tree is grown on |
/// | `bagging_fraction` | 0.8 | 1e-06 to 1 | share of rows drawn by bagging |
/// | `bagging_freq` | 1 | 1 to 100000 | rounds between two draws of bagging |
/// | `top_rate` | 0.2 | 0.001 to 0.999 | share of rows of large gradient that goss keeps |
/// | `other_rate` | 0.1 | 0.001 to 0.999 | share of rows goss draws from the others; with top_rate at most 1 |
/// | `dart` | false | true, false | whether earlier trees are left out at random while a tree is grown |
/// | `drop_rate` | 0.1 | 0 to 1 | share of earlier rounds that dart leaves out |
/// | `skip_drop` | 0.5 | 0 to 1 | chance that dart leaves out none |
/// | `max_drop` | 50 | 1 to 100000 | most rounds that dart leaves out |
/// | `monotone` | [] | -1 to 1 | per column 1: the answer never falls with it, -1: never rises, 0: free |
/// | `interaction` | [] | 0 to 1e+09 | per column the number of its group; columns of different groups do not meet in one path |
/// | `alpha` | 0.9 | 1e-06 to 1e+09 | level of the quantile (below 1), or where Huber's loss becomes straight |
/// | `quantiles` | [0.1, 0.5, 0.9] | 1e-06 to 0.999999 | levels of the objective quantiles, ascending |
/// | `tweedie_power` | 1.5 | 1.001 to 1.999 | power of the Tweedie variance |
/// | `ranking_top` | 30 | 1 to 100000 | pairs count when one of them is among the first so many |
/// | `balanced` | false | true, false | whether rows weigh by the rarity of their class |
/// | `scale_pos_weight` | 1 | 1e-09 to 1e+09 | weight of class 1 in binary tasks |
/// | `boost_from_average` | true | true, false | whether scores start from the best constant |
/// | `patience` | 0 | 0 to 100000 | rounds without better validation loss before stopping; 0: never stop early |
/// | `validation_fraction` | 0 | 0 to 0.9 | share of rows held out for early stopping where no validation part is given |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, Task, boosting::Boosting};
/// let x = Matrix::from_columns(&[(0..200).map(f64::from).collect::<Vec<_>>()]).unwrap();
/// let y = (0..200).map(|i| if i < 100 { 1.0 } else { 5.0 }).collect();
/// let data = Dataset::new(x, y, vec!["day".into()]).unwrap();
/// let model = Boosting::default().fit(&Run::new(1), Task::Regression, &data).unwrap();
/// let p = model.predict(&Matrix::from_rows(&[[20.0], [180.0]]).unwrap()).unwrap();
/// assert!((p.get(0, 0) - 1.0).abs() < 0.01 && (p.get(1, 0) - 5.0).abs() < 0.01);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boosting {
    /// What is minimised; auto: squared error, log loss, softmax or LambdaRank, by the task.
    pub objective: Objective,
    /// Trees per output.
    pub n_rounds: usize,
    /// Share of each tree that is added.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub n_leaves: usize,
    /// Most splits from root to leaf; 0: any.
    pub max_depth: usize,
    /// Which leaf is split next: the one that gains most, or level by level.
    pub growth: Growth,
    /// Most bins of a column of numbers.
    pub max_bins: usize,
    /// Fewest sampled rows in a bin.
    pub min_data_in_bin: usize,
    /// Fewest rows in a leaf.
    pub min_child_samples: usize,
    /// Smallest sum of hessians in a leaf.
    pub min_sum_hessian: f64,
    /// Smallest gain of a split.
    pub min_gain: f64,
    /// Penalty on the sizes of leaf values.
    pub l1: f64,
    /// Penalty on the squares of leaf values.
    pub l2: f64,
    /// Largest leaf value before the learning rate; 0: any.
    pub max_delta_step: f64,
    /// Smoothing where categories are ordered, and fewest rows of a category.
    pub cat_smooth: f64,
    /// Penalty on squares at splits by categories.
    pub cat_l2: f64,
    /// Most categories on the smaller side of a split.
    pub max_cat_threshold: usize,
    /// Up to so many categories are split one against the rest.
    pub max_cat_to_onehot: usize,
    /// Fewest rows of a group of categories.
    pub min_data_per_group: usize,
    /// Share of columns each tree sees.
    pub feature_fraction: f64,
    /// Share of these columns each leaf sees.
    pub node_fraction: f64,
    /// Which rows a tree is grown on.
    pub sampling: Sampling,
    /// Share of rows drawn by bagging.
    pub bagging_fraction: f64,
    /// Algorithm between two draws of bagging.
    pub bagging_freq: usize,
    /// Share of rows of large gradient that goss keeps.
    pub top_rate: f64,
    /// Share of rows goss draws from the others; with top_rate at most 1.
    pub other_rate: f64,
    /// Whether earlier trees are left out at random while a tree is grown.
    pub dart: bool,
    /// Share of earlier rounds that dart leaves out.
    pub drop_rate: f64,
    /// Chance that dart leaves out none.
    pub skip_drop: f64,
    /// Most rounds that dart leaves out.
    pub max_drop: usize,
    /// Per column 1: the answer never falls with it, -1: never rises, 0: free.
    pub monotone: Vec<i8>,
    /// Per column the number of its group; columns of different groups do not meet in one path.
    pub interaction: Vec<i64>,
    /// Level of the quantile (below 1), or where Huber's loss becomes straight.
    pub alpha: f64,
    /// Levels of the objective quantiles, ascending.
    pub quantiles: Vec<f64>,
    /// Power of the Tweedie variance.
    pub tweedie_power: f64,
    /// Pairs count when one of them is among the first so many.
    pub ranking_top: usize,
    /// Whether rows weigh by the rarity of their class.
    pub balanced: bool,
    /// Weight of class 1 in binary tasks.
    pub scale_pos_weight: f64,
    /// Whether scores start from the best constant.
    pub boost_from_average: bool,
    /// Algorithm without better validation loss before stopping; 0: never stop early.
    pub patience: usize,
    /// Share of rows held out for early stopping where no validation part is given.
    pub validation_fraction: f64,
}

impl Default for Boosting {
    fn default() -> Self {
        Self {
            objective: Objective::Auto,
            n_rounds: 100,
            learning_rate: 0.1,
            n_leaves: 31,
            max_depth: 0,
            growth: Growth::Leaf,
            max_bins: 255,
            min_data_in_bin: 3,
            min_child_samples: 20,
            min_sum_hessian: 0.001,
            min_gain: 0.0,
            l1: 0.0,
            l2: 0.0,
            max_delta_step: 0.0,
            cat_smooth: 10.0,
            cat_l2: 10.0,
            max_cat_threshold: 32,
            max_cat_to_onehot: 4,
            min_data_per_group: 100,
            feature_fraction: 1.0,
            node_fraction: 1.0,
            sampling: Sampling::All,
            bagging_fraction: 0.8,
            bagging_freq: 1,
            top_rate: 0.2,
            other_rate: 0.1,
            dart: false,
            drop_rate: 0.1,
            skip_drop: 0.5,
            max_drop: 50,
            monotone: Vec::new(),
            interaction: Vec::new(),
            alpha: 0.9,
            quantiles: vec![0.1, 0.5, 0.9],
            tweedie_power: 1.5,
            ranking_top: 30,
            balanced: false,
            scale_pos_weight: 1.0,
            boost_from_average: true,
            patience: 0,
            validation_fraction: 0.0,
        }
    }
}

impl Boosting {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for (name, v, min, max) in [
            ("n_rounds", self.n_rounds, 1, 100000),
            ("n_leaves", self.n_leaves, 2, 131072),
            ("max_depth", self.max_depth, 0, 1000),
            ("max_bins", self.max_bins, 2, 65535),
            ("min_data_in_bin", self.min_data_in_bin, 1, 1000000),
            ("min_child_samples", self.min_child_samples, 1, 1000000000),
            ("max_cat_threshold", self.max_cat_threshold, 1, 65535),
            ("max_cat_to_onehot", self.max_cat_to_onehot, 1, 65535),
            ("min_data_per_group", self.min_data_per_group, 1, 1000000000),
            ("bagging_freq", self.bagging_freq, 1, 100000),
            ("max_drop", self.max_drop, 1, 100000),
            ("ranking_top", self.ranking_top, 1, 100000),
            ("patience", self.patience, 0, 100000),
        ] {
            check.require((min..=max).contains(&v), name, v, &format!("{min} to {max}"));
        }
        for (name, v, min, max) in [
            ("learning_rate", self.learning_rate, 1e-06, 1.0),
            ("min_sum_hessian", self.min_sum_hessian, 0.0, 1000000000000.0),
            ("min_gain", self.min_gain, 0.0, 1000000000000.0),
            ("l1", self.l1, 0.0, 1000000000000.0),
            ("l2", self.l2, 0.0, 1000000000000.0),
            ("max_delta_step", self.max_delta_step, 0.0, 1000000000000.0),
            ("cat_smooth", self.cat_smooth, 0.0, 1000000000.0),
            ("cat_l2", self.cat_l2, 0.0, 1000000000000.0),
            ("feature_fraction", self.feature_fraction, 1e-06, 1.0),
            ("node_fraction", self.node_fraction, 1e-06, 1.0),
            ("bagging_fraction", self.bagging_fraction, 1e-06, 1.0),
            ("top_rate", self.top_rate, 0.001, 0.999),
            ("other_rate", self.other_rate, 0.001, 0.999),
            ("drop_rate", self.drop_rate, 0.0, 1.0),
            ("skip_drop", self.skip_drop, 0.0, 1.0),
            ("alpha", self.alpha, 1e-06, 1000000000.0),
            ("tweedie_power", self.tweedie_power, 1.001, 1.999),
            ("scale_pos_weight", self.scale_pos_weight, 1e-09, 1000000000.0),
            ("validation_fraction", self.validation_fraction, 0.0, 0.9),
        ] {
            check.require((min..=max).contains(&v), name, v, &format!("{min} to {max}"));
        }
        let level = self.objective != Objective::Quantile || self.alpha < 1.0;
        check.require(level, "alpha", self.alpha, "below 1 for a quantile");
        let levels = &self.quantiles;
        let ascending = levels.windows(2).all(|w| w[0] < w[1]);
        let inside = levels.iter().all(|l| *l > 0.0 && *l < 1.0);
        check.require(
            ascending && inside && !levels.is_empty(),
            "quantiles",
            format!("{levels:?}"),
            "between 0 and 1, ascending, at least one",
        );
        let signs = self.monotone.iter().all(|m| (-1..=1).contains(m));
        check.require(signs, "monotone", format!("{:?}", self.monotone), "-1, 0 or 1");
        check.require(
            self.top_rate + self.other_rate <= 1.0,
            "other_rate",
            self.other_rate,
            "with top_rate at most 1",
        );
        // Trees that change later cannot be cut off at the best round.
        check.require(!(self.dart && self.patience > 0), "patience", self.patience, "0 with dart");
        check.finish()
    }

    /// Fits. Fails on no rows, on targets that do not suit the objective, and on one class only.
    pub fn fit(&self, run: &Run, task: Task, data: &Dataset) -> Result<FittedBoosting> {
        self.run_rounds(run, task, data, None, None)
    }

    /// Fits, and with `patience` above 0 stops where the loss on `validation` no longer falls; the best round counts.
    pub fn fit_validated(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        validation: &Dataset,
    ) -> Result<FittedBoosting> {
        self.run_rounds(run, task, data, Some(validation), None)
    }

    fn grow_params(&self) -> GrowParams {
        GrowParams {
            growth: self.growth,
            n_leaves: self.n_leaves,
            max_depth: self.max_depth,
            min_child_samples: self.min_child_samples,
            min_sum_hessian: self.min_sum_hessian,
            min_gain: self.min_gain,
            l1: self.l1,
            l2: self.l2,
            max_delta_step: self.max_delta_step,
            cat_smooth: self.cat_smooth,
            cat_l2: self.cat_l2,
            max_cat_threshold: self.max_cat_threshold,
            max_cat_to_onehot: self.max_cat_to_onehot,
            min_data_per_group: self.min_data_per_group,
            monotone: self.monotone.clone(),
            interaction: self.interaction.clone(),
            node_fraction: self.node_fraction,
        }
    }
}

/// What [`Boosting`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "saved::Saved", try_from = "saved::Saved")]
pub struct FittedBoosting {
    params: Boosting,
    task: Task,
    link: Link,
    /// Whether the answers of a row are put in order.
    sorts: bool,
    names: Vec<String>,
    categories: Vec<bool>,
    ensemble: Ensemble,
}

impl FittedBoosting {
    /// Answers; see [`FittedLearner::predict`] for the columns.
    pub fn predict(&self, x: &Matrix) -> Result<Matrix> {
        let mut out = self.link.apply(self.ensemble.scores(x)?);
        if self.sorts {
            let k = out.n_cols();
            out.values_mut().chunks_exact_mut(k).for_each(|row| row.sort_unstable_by(f64::total_cmp));
        }
        Ok(out)
    }

    /// The trees.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// How many rounds were kept.
    pub fn n_rounds(&self) -> usize {
        self.ensemble.trees.len() / self.ensemble.n_outputs.max(1)
    }

    /// Adds `n_rounds` more rounds, learnt on rows that were not seen before. Fails on other columns or unknown classes.
    pub fn update(&mut self, run: &Run, newer: &Dataset) -> Result<()> {
        newer.x().check_width(self.names.len(), "boosting")?;
        let category = |k: &ColumnKind| *k == ColumnKind::Category;
        if let Some(j) = (0..self.names.len()).find(|&j| category(&newer.kinds()[j]) != self.categories[j]) {
            return Err(Error::Invalid(format!(
                "column `{}` was {} when the model was fitted and is not now",
                self.names[j],
                if self.categories[j] { "one of categories" } else { "one of numbers" }
            )));
        }
        *self = self.params.run_rounds(run, self.task, newer, None, Some(self))?;
        Ok(())
    }
}

/// [`Boosting`] with the task it is for.
struct ForTask {
    task: Task,
    params: Boosting,
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "boosting",
    summary: "Gradient boosting of trees on histograms.",
    summary_zh: "基于直方图的梯度提升树。",
    source: "Friedman 2001; Ke et al. 2017",
    tasks: &[Task::Regression, Task::Binary, Task::Multiclass, Task::Ranking],
    params: params::PARAMS,
    bears: Bears {
        missing: true,
        categories: true,
        any_scale: true,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |task, params| {
        let params: Boosting = ENTRY.read(params)?;
        params.check()?;
        params.loss(task, 2)?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: |saved| load::<FittedBoosting>("boosting", saved),
};

impl Learner for ForTask {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.params.fit(run, self.task, data)?))
    }

    fn fit_validated(
        &self,
        run: &Run,
        data: &Dataset,
        validation: &Dataset,
    ) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.params.fit_validated(run, self.task, data, validation)?))
    }
}

impl FittedLearner for FittedBoosting {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict(x)
    }

    fn save(&self) -> Result<Value> {
        save("boosting", self)
    }

    fn importance(&self) -> Option<Vec<f64>> {
        Some(self.ensemble.gain_importance())
    }

    fn contributions(&self, run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        // Quantiles that were put in order are no sums of trees any more.
        (!self.sorts).then(|| shap::contributions(run, &self.ensemble, x))
    }

    fn update(&mut self, run: &Run, newer: &Dataset) -> Result<()> {
        self.update(run, newer)
    }
}
