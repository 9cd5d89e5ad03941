//! Models of trees that other libraries have learnt, read from their own files.
//!
//! | library | file | read by |
//! |---|---|---|
//! | LightGBM 2 to 4 | text (`save_model`, `model_to_string`) | [`Imported::from_lightgbm`] |
//! | XGBoost 1 to 3 | JSON (`save_model("….json")`, `save_raw("json")`) | [`Imported::from_xgboost`] |
//!
//! Answers are those of the library: rows take the same way at every node (XGBoost compares 32-bit floats with `<`, which
//! is turned into the `≤` of [`Split::Below`](crate::tree::Split) exactly), sums are 64-bit. All trees of the file are
//! used. A file that is cut short or broken gives an error that names the line or the tree and field, and needs memory
//! in proportion to its length.

mod lightgbm;
mod xgboost;

use crate::learner::FittedLearner;
use crate::matrix::Matrix;
use crate::tree::{Ensemble, Link, Node, Tree, shap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, Result, Run};

/// How an imported model's raw scores become answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// As our own models do.
    Link(Link),
    /// Two probabilities by the logistic function of `slope` times the score.
    Logistic {
        /// LightGBM's `sigmoid`.
        slope: f64,
    },
    /// One number between 0 and 1 for each score, by the logistic function of `slope` times the score: shares, and one
    /// class against the rest, which do not add up to 1.
    Share {
        /// LightGBM's `sigmoid`.
        slope: f64,
    },
    /// The square of the score with its sign.
    SignedSquare,
    /// `ln(1 + eᶻ)`.
    LogOnePlusExp,
    /// Class 1 when the score is above zero, as probabilities 0 and 1.
    Hinge,
}

impl Answer {
    fn apply(self, scores: Matrix) -> Matrix {
        let each = |mut scores: Matrix, f: fn(f64, f64) -> f64, a: f64| {
            scores.values_mut().iter_mut().for_each(|z| *z = f(*z, a));
            scores
        };
        match self {
            Self::Link(link) => link.apply(scores),
            Self::Logistic { slope } => Link::Logistic.apply(each(scores, |z, a| z * a, slope)),
            Self::Share { slope } => each(scores, |z, a| 1.0 / (1.0 + (-a * z).exp()), slope),
            Self::SignedSquare => each(scores, |z, _| z * z.abs(), 0.0),
            Self::LogOnePlusExp => each(scores, |z, _| if z > 30.0 { z } else { z.exp().ln_1p() }, 0.0),
            Self::Hinge => {
                let mut out = Matrix::zeros(scores.n_rows(), 2);
                for (i, z) in scores.values().iter().enumerate() {
                    out.row_mut(i)[usize::from(*z > 0.0)] = 1.0;
                }
                out
            }
        }
    }

    /// Whether it turns exactly one score into the answer.
    fn needs_one_score(self) -> bool {
        matches!(self, Self::Link(Link::Logistic) | Self::Logistic { .. } | Self::Hinge)
    }
}

/// A model that another library has learnt.
///
/// Invariants: the ensemble's own; one name for each column; the answer fits the number of scores.
///
/// ```
/// use tradewind_learn::import::Imported;
/// use tradewind_learn::{FittedLearner, Matrix};
/// let text = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\n\
///     feature_names=price\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nsplit_gain=1\nthreshold=0.5\n\
///     decision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=1 2\nleaf_count=3 1\ninternal_count=4\n\nend of trees\n";
/// let model = Imported::from_lightgbm(text).unwrap();
/// assert_eq!(model.names(), ["price"]);
/// assert_eq!(model.predict(&Matrix::from_rows(&[[0.5], [0.6]]).unwrap()).unwrap().values(), [1.0, 2.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawImported")]
pub struct Imported {
    library: String,
    objective: String,
    names: Vec<String>,
    answer: Answer,
    ensemble: Ensemble,
}

#[derive(Deserialize)]
struct RawImported {
    library: String,
    objective: String,
    names: Vec<String>,
    answer: Answer,
    ensemble: Ensemble,
}

impl TryFrom<RawImported> for Imported {
    type Error = Error;
    fn try_from(raw: RawImported) -> Result<Self> {
        let RawImported { library, objective, names, answer, ensemble } = raw;
        if names.len() != ensemble.n_features {
            return Err(Error::Invalid(format!(
                "an imported model is broken: {} names for {} columns",
                names.len(),
                ensemble.n_features
            )));
        }
        if answer.needs_one_score() && ensemble.n_outputs != 1 {
            return Err(Error::Invalid(format!(
                "an imported model is broken: {objective} turns one score into the answer, and there are {}",
                ensemble.n_outputs
            )));
        }
        Ok(Self { library, objective, names, answer, ensemble })
    }
}

impl Imported {
    /// Reads LightGBM's text model: every objective it has, random forests, DART, categories, all kinds of missing
    /// values. Fails on linear trees.
    pub fn from_lightgbm(text: &str) -> Result<Self> {
        lightgbm::read(text).map_err(|fault| Error::Invalid(format!("LightGBM model: {fault}")))?.try_into()
    }

    /// Reads XGBoost's JSON model: `gbtree` and `dart`, categories, several targets. `multi:softmax` gives probabilities
    /// rather than the likeliest class, so that it is used as every other model of classes. Fails on `gblinear` and on
    /// trees whose leaves hold several targets.
    pub fn from_xgboost(json: &str) -> Result<Self> {
        xgboost::read(json).map_err(|fault| Error::Invalid(format!("XGBoost model: {fault}")))?.try_into()
    }

    /// Reads back what [`FittedLearner::save`] gave.
    pub fn load(saved: Value) -> Result<Self> {
        serde_json::from_value(saved)
            .map_err(|source| Error::Saved { what: "imported model".to_owned(), source })
    }

    /// The library that learnt it.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// What it was learnt for, in the library's words.
    pub fn objective(&self) -> &str {
        &self.objective
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The trees.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// How raw scores become answers.
    pub fn answer(&self) -> Answer {
        self.answer
    }
}

impl FittedLearner for Imported {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        Ok(self.answer.apply(self.ensemble.scores(x)?))
    }

    fn save(&self) -> Result<Value> {
        crate::learner::save("imported model", self)
    }

    fn importance(&self) -> Option<Vec<f64>> {
        Some(self.ensemble.gain_importance())
    }

    fn contributions(&self, run: &Run, x: &Matrix) -> Option<Result<Matrix>> {
        Some(shap::contributions(run, &self.ensemble, x))
    }
}

/// A node as a file numbers it.
enum Raw {
    /// The node (its children are still to be set) and the numbers of its children.
    Inner(Node, usize, usize),
    /// Value and cover.
    Leaf(f64, f64),
}

/// A tree in our order from nodes numbered below `n` in any order; 0 is the root. Fails where a number is out of range
/// or comes twice.
fn assemble(n: usize, mut node: impl FnMut(usize) -> Result<Raw, String>) -> Result<Tree, String> {
    let mut tree = Tree { nodes: Vec::new(), leaves: Vec::new(), leaf_cover: Vec::new() };
    let mut seen = vec![false; n];
    // Each number with the node whose child it is, and whether the right one.
    let mut open: Vec<(usize, Option<(usize, bool)>)> = vec![(0, None)];
    while let Some((number, parent)) = open.pop() {
        match seen.get_mut(number) {
            None => return Err(format!("node {number} is asked for, and there are {n}")),
            Some(seen) if *seen => return Err(format!("node {number} has two parents")),
            Some(seen) => *seen = true,
        }
        let child = match node(number)? {
            Raw::Inner(node, left, right) => {
                let at = tree.nodes.len();
                tree.nodes.push(node);
                open.push((right, Some((at, true))));
                open.push((left, Some((at, false))));
                at as i32
            }
            Raw::Leaf(value, cover) => {
                tree.leaves.push(value);
                tree.leaf_cover.push(cover);
                !(tree.leaf_cover.len() as i32 - 1)
            }
        };
        match parent {
            Some((at, true)) => tree.nodes[at].right = child,
            Some((at, false)) => tree.nodes[at].left = child,
            None => {}
        }
    }
    Ok(tree)
}
