//! Decision trees as they lie in memory, and ensembles of them: what boosting, forests and imported models share.
//!
//! A tree is kept as arrays, one entry per inner node; children that are leaves are written as `!leaf`, the way
//! LightGBM keeps them. Rows go left when the value is at most the threshold, or, at a node of categories, when the
//! category is in the node's set.
//!
//! [`shap`] splits a score among the columns.

mod packed;
mod predict;
pub mod shap;

pub mod bins;
pub mod grow;

use crate::matrix::Matrix;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result};

/// What counts as zero at a node of [`Missing::Zero`]: LightGBM's limit, a `float` there.
pub(crate) const ZERO: f64 = 1e-35_f32 as f64;

/// The most columns an ensemble may have; memory for a row's answer grows with them, also for a file that lies.
pub const FEATURES_MAX: usize = 1 << 24;

/// Which values count as missing at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// NaN goes where the node sends missing values.
    #[default]
    Nan,
    /// NaN and zero do (|x| ≤ 1e-35 as a 32-bit float, as LightGBM counts).
    Zero,
    /// None does; NaN is read as zero.
    None,
}

/// The question at an inner node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Left when the value is at most this.
    Below(f64),
    /// Left when the category's bit is set: bit `c % 32` of word `c / 32`. Unknown categories go right.
    In(Vec<u32>),
}

/// One inner node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The column asked about.
    pub feature: u32,
    /// The question.
    pub split: Split,
    /// What counts as missing.
    pub missing: Missing,
    /// Whether missing values go left.
    pub missing_left: bool,
    /// The left child: an inner node, or `!leaf`.
    pub left: i32,
    /// The right child.
    pub right: i32,
    /// How much the split lowered the loss.
    pub gain: f64,
    /// Weight of the training rows that came here (for log-loss boosting the sum of hessians or the count; only
    /// proportions matter).
    pub cover: f64,
}

impl Node {
    /// Whether a row with this value goes left.
    #[inline]
    pub fn goes_left(&self, value: f64) -> bool {
        let value = match self.missing {
            Missing::Nan if value.is_nan() => return self.missing_left,
            Missing::Zero if value.is_nan() || value.abs() <= ZERO => return self.missing_left,
            Missing::None if value.is_nan() => 0.0,
            _ => value,
        };
        match &self.split {
            Split::Below(threshold) => value <= *threshold,
            Split::In(words) => {
                value >= 0.0
                    && words
                        .get((value / 32.0) as usize)
                        .is_some_and(|word| word >> (value as u64 % 32) & 1 == 1)
            }
        }
    }
}

/// A decision tree. A tree without inner nodes is its single leaf.
///
/// Invariants: children point to later inner nodes or to leaves that exist; `leaves` holds `n_outputs` values for each
/// leaf; every leaf is reached from the root by one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The inner nodes; the root is the first.
    pub nodes: Vec<Node>,
    /// The values of the leaves, leaf after leaf.
    pub leaves: Vec<f64>,
    /// Weight of the training rows in each leaf.
    pub leaf_cover: Vec<f64>,
}

impl Tree {
    /// A tree of one leaf.
    pub fn leaf(values: Vec<f64>, cover: f64) -> Self {
        Self { nodes: Vec::new(), leaves: values, leaf_cover: vec![cover] }
    }

    /// How many leaves.
    pub fn n_leaves(&self) -> usize {
        self.leaf_cover.len()
    }

    /// The leaf a row falls into.
    #[inline]
    pub fn leaf_of(&self, row: &[f64]) -> usize {
        if self.nodes.is_empty() {
            return 0;
        }
        let mut at = 0_i32;
        while at >= 0 {
            let node = &self.nodes[at as usize];
            at = if node.goes_left(row[node.feature as usize]) { node.left } else { node.right };
        }
        !at as usize
    }

    /// Fails unless the invariants hold, for trees from files.
    pub fn check(&self, n_features: usize, n_outputs: usize) -> Result<()> {
        let fault = |what: String| Err(Error::Invalid(format!("a tree is broken: {what}")));
        let (n, leaves) = (self.nodes.len(), self.n_leaves());
        if leaves != n + 1 || Some(self.leaves.len()) != leaves.checked_mul(n_outputs) {
            return fault(format!("{n} inner nodes, {leaves} leaves and {} values", self.leaves.len()));
        }
        if let Some(leaf) = self.leaves.iter().position(|v| !v.is_finite()) {
            return fault(format!("leaf value {leaf} is {}", self.leaves[leaf]));
        }
        let mut seen = vec![false; n + leaves];
        for (i, node) in self.nodes.iter().enumerate() {
            if node.feature as usize >= n_features {
                return fault(format!("node {i} asks about column {} of {n_features}", node.feature));
            }
            for child in [node.left, node.right] {
                let place = if child >= 0 { child as usize } else { n + !child as usize };
                if (child >= 0 && (child as usize <= i || child as usize >= n)) || place >= n + leaves {
                    return fault(format!("node {i} has a child {child} that cannot be"));
                }
                if std::mem::replace(&mut seen[place], true) {
                    return fault(format!("child {child} has two parents"));
                }
            }
        }
        Ok(())
    }
}

/// How raw scores become answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// As they are.
    #[default]
    Identity,
    /// `e^z`; for counts and amounts.
    Exp,
    /// Two probabilities from one score, by the logistic function.
    Logistic,
    /// Probabilities from one score per class.
    Softmax,
}

/// Trees that add up, or are averaged, to one or several scores.
///
/// Invariants: each tree has either one value per leaf, added to output `output[t]`, or `n_outputs` values per leaf.
///
/// Saved, the trees are arrays in base64 rather than lists of numbers, so that a forest is written and read quickly and
/// bit for bit; reading checks every invariant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawEnsemble")]
pub struct Ensemble {
    /// Columns the trees were learnt on.
    pub n_features: usize,
    /// Scores per row.
    pub n_outputs: usize,
    /// What every score starts from.
    pub base: Vec<f64>,
    /// The trees.
    #[serde(with = "packed")]
    pub trees: Vec<Tree>,
    /// Which output each tree adds to; empty when every leaf holds all outputs.
    pub output: Vec<u32>,
    /// Whether a score is the mean of the trees that add to it rather than their sum.
    pub mean: bool,
}

#[derive(Deserialize)]
struct RawEnsemble {
    n_features: usize,
    n_outputs: usize,
    base: Vec<f64>,
    #[serde(with = "packed")]
    trees: Vec<Tree>,
    output: Vec<u32>,
    mean: bool,
}

impl TryFrom<RawEnsemble> for Ensemble {
    type Error = Error;
    fn try_from(e: RawEnsemble) -> Result<Self> {
        let RawEnsemble { n_features, n_outputs, base, trees, output, mean } = e;
        let ensemble = Self { n_features, n_outputs, base, trees, output, mean };
        ensemble.check()?;
        Ok(ensemble)
    }
}

impl Ensemble {
    /// What the sum over the trees of an output is multiplied by.
    pub(crate) fn scale(&self, output: usize) -> f64 {
        if !self.mean {
            return 1.0;
        }
        let all = if self.output.is_empty() {
            self.trees.len()
        } else {
            self.output.iter().filter(|o| **o as usize == output).count()
        };
        1.0 / all.max(1) as f64
    }

    /// Total gain of each column over all trees.
    pub fn gain_importance(&self) -> Vec<f64> {
        let mut gain = vec![0.0; self.n_features];
        for node in self.trees.iter().flat_map(|t| &t.nodes) {
            gain[node.feature as usize] += node.gain.max(0.0);
        }
        gain
    }

    /// Fails unless all invariants hold, for ensembles from files.
    pub fn check(&self) -> Result<()> {
        let per_leaf = if self.output.is_empty() { self.n_outputs } else { 1 };
        let fits = self.base.len() == self.n_outputs
            && (self.output.is_empty() || self.output.len() == self.trees.len())
            && self.output.iter().all(|o| (*o as usize) < self.n_outputs);
        if self.n_features > FEATURES_MAX {
            return Err(Error::Invalid(format!(
                "an ensemble is broken: {} columns, where {FEATURES_MAX} are the most",
                self.n_features
            )));
        }
        if let Some(output) = self.base.iter().position(|b| !b.is_finite()) {
            return Err(Error::Invalid(format!(
                "an ensemble is broken: the base of output {output} is {}",
                self.base[output]
            )));
        }
        if !fits {
            return Err(Error::Invalid(
                "an ensemble is broken: outputs, bases and trees do not agree".into(),
            ));
        }
        self.trees.iter().try_for_each(|t| t.check(self.n_features, per_leaf))
    }
}

impl Link {
    /// Answers from raw scores; [`Link::Logistic`] turns one column into two.
    pub fn apply(self, scores: Matrix) -> Matrix {
        match self {
            Self::Identity => scores,
            Self::Exp => {
                let mut out = scores;
                out.values_mut().iter_mut().for_each(|v| *v = v.exp());
                out
            }
            Self::Logistic => {
                let mut out = Matrix::zeros(scores.n_rows(), 2);
                for (i, score) in scores.values().iter().enumerate() {
                    let p = 1.0 / (1.0 + (-score).exp());
                    out.row_mut(i).copy_from_slice(&[1.0 - p, p]);
                }
                out
            }
            Self::Softmax => {
                let mut out = scores;
                for i in 0..out.n_rows() {
                    let row = out.row_mut(i);
                    let top = row.iter().copied().fold(f64::MIN, f64::max);
                    row.iter_mut().for_each(|v| *v = (*v - top).exp());
                    let sum: f64 = row.iter().sum();
                    row.iter_mut().for_each(|v| *v /= sum);
                }
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stump(split: Split, missing_left: bool) -> Tree {
        Tree {
            nodes: vec![Node {
                feature: 0,
                split,
                missing: Missing::Nan,
                missing_left,
                left: !0,
                right: !1,
                gain: 1.0,
                cover: 2.0,
            }],
            leaves: vec![-1.0, 1.0],
            leaf_cover: vec![1.0, 1.0],
        }
    }

    #[test]
    fn rows_go_where_the_nodes_send_them() {
        let tree = stump(Split::Below(2.0), true);
        assert_eq!([1.0, 2.0, 2.1, f64::NAN].map(|v| tree.leaf_of(&[v])), [0, 0, 1, 0]);
        let tree = stump(Split::In(vec![0b10, 0b1]), false);
        assert_eq!(
            [1.0, 32.0, 0.0, 33.0, 64.0, -1.0, 1e30, f64::NAN].map(|v| tree.leaf_of(&[v])),
            [0, 0, 1, 1, 1, 1, 1, 1]
        );
    }

    #[test]
    fn broken_trees_are_refused() {
        assert!(stump(Split::Below(0.0), true).check(1, 1).is_ok());
        assert!(stump(Split::Below(0.0), true).check(0, 1).is_err());
        let mut circle = stump(Split::Below(0.0), true);
        circle.nodes[0].left = 0;
        assert!(circle.check(1, 1).is_err());
        circle.nodes[0].left = !1;
        assert!(circle.check(1, 1).is_err());
    }
}
