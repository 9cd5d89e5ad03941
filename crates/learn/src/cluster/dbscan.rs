//! DBSCAN (Ester, Kriegel, Sander and Xu 1996): clusters are regions where rows stand close together; what stands alone
//! is in none.
//!
//! A row is a *core row* when at least `min_rows` rows (itself included, or that much weight) lie within `eps`. Core
//! rows within `eps` of each other are in one cluster; other rows within `eps` of a core row are at the border and join
//! the first cluster that reaches them, as in scikit-learn; the rest get −1.

use super::hierarchical::{Sets, in_order};
use super::kd_tree::KdTree;
use super::{check_data, check_new, label_column};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `eps` | 0.5 | above 0 | the distance within which rows are neighbours |
/// | `min_rows` | 5 | 1 to 1,000,000 | neighbours (itself included) that make a core row |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::dbscan::Dbscan};
/// let x = Matrix::from_columns(&[[0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 20.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 7], vec![]).unwrap();
/// let model = Dbscan { eps: 0.3, min_rows: 3 }.fit(&Run::new(0), &data).unwrap();
/// assert_eq!(model.labels(), [0, 0, 0, 1, 1, 1, -1]);
/// assert_eq!(model.predict(&Matrix::from_rows(&[[5.3], [9.0]]).unwrap()).unwrap(), [1, -1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dbscan {
    /// The distance within which rows are neighbours.
    pub eps: f64,
    /// Neighbours that make a core row.
    pub min_rows: usize,
}

impl Default for Dbscan {
    fn default() -> Self {
        Self { eps: 0.5, min_rows: 5 }
    }
}

/// What [`Dbscan`] learnt: the cluster of every row, and the core rows, by which new ones find theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedDbscan {
    eps: f64,
    labels: Vec<i64>,
    core: Vec<usize>,
    core_x: Matrix,
    names: Vec<String>,
}

/// Rows whose neighbours are found at once; limits the memory for neighbours.
const BLOCK_ROWS: usize = 4096;

impl Dbscan {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.eps > 0.0 && self.eps <= 1e150, "eps", self.eps, "above 0, up to 1e150");
        let m = self.min_rows;
        check.require((1..=1_000_000).contains(&m), "min_rows", m, "1 to 1000000");
        check.finish()
    }

    /// Fits. A weight counts as that many rows. Fails on no rows, on missing values, and on values too large to be
    /// squared.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedDbscan> {
        self.check()?;
        run.install(|| {
            check_data(run, data, "DBSCAN", 1)?;
            self.fit_here(run, data)
        })
    }

    fn fit_here(&self, run: &Run, data: &Dataset) -> Result<FittedDbscan> {
        let (x, n) = (data.x(), data.n_rows());
        let tree = KdTree::new(x);
        let limit = self.eps * self.eps;
        let weights = data.weight();
        let is_core: Vec<bool> = (0..n)
            .into_par_iter()
            .with_min_len(64)
            .map(|i| {
                run.check()?;
                // Counted in whole rows, so that the order in which they are found cannot matter; weights are added
                // in the order of the rows.
                match weights {
                    None => {
                        let mut count = 0_usize;
                        tree.within(x.row(i), limit, |_, _| count += 1);
                        Ok(count >= self.min_rows)
                    }
                    Some(w) => {
                        let mut near = Vec::new();
                        tree.within(x.row(i), limit, |k, _| near.push(k));
                        near.sort_unstable();
                        Ok(near.iter().map(|&k| w[k]).sum::<f64>() >= self.min_rows as f64)
                    }
                }
            })
            .collect::<Result<_>>()?;
        let core: Vec<usize> = (0..n).filter(|&i| is_core[i]).collect();
        let mut sets = Sets::new(n);
        for block in core.chunks(BLOCK_ROWS) {
            run.check()?;
            let near: Vec<Vec<usize>> = block
                .par_iter()
                .map(|&i| {
                    let mut near = Vec::new();
                    tree.within(x.row(i), limit, |k, _| {
                        if k < i && is_core[k] {
                            near.push(k);
                        }
                    });
                    near
                })
                .collect();
            for (&i, near) in block.iter().zip(&near) {
                for &k in near {
                    let (a, b) = (sets.root(i), sets.root(k));
                    if a != b {
                        sets.join(a, b);
                    }
                }
            }
        }
        let mut labels = vec![-1_i64; n];
        for (&i, c) in core.iter().zip(in_order(core.iter().map(|&i| sets.root(i)))) {
            labels[i] = c as i64;
        }
        let border: Vec<(usize, i64)> = (0..n)
            .into_par_iter()
            .with_min_len(64)
            .filter(|&i| !is_core[i])
            .map(|i| {
                run.check()?;
                let mut first = i64::MAX;
                tree.within(x.row(i), limit, |k, _| {
                    if is_core[k] {
                        first = first.min(labels[k]);
                    }
                });
                Ok((i, if first == i64::MAX { -1 } else { first }))
            })
            .collect::<Result<_>>()?;
        border.into_iter().for_each(|(i, c)| labels[i] = c);
        let core_x = x.select_rows(&core);
        Ok(FittedDbscan { eps: self.eps, labels, core, core_x, names: data.names().to_vec() })
    }
}

impl FittedDbscan {
    /// The cluster of every training row, numbered in the order of their first core rows; −1 for none.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The core rows.
    pub fn core_rows(&self) -> &[usize] {
        &self.core
    }

    /// Clusters found.
    pub fn n_clusters(&self) -> usize {
        self.labels.iter().max().map_or(0, |m| usize::try_from(m + 1).unwrap_or(0))
    }

    /// The cluster of the nearest core row (the first of equals) where that lies within `eps`, else −1. A training row
    /// at the border of two clusters may get the other one here. Fails on another width, and on NaN or infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<i64>> {
        check_new(x, &self.names, "DBSCAN")?;
        let tree = KdTree::new(&self.core_x);
        let limit = self.eps * self.eps;
        Ok((0..x.n_rows())
            .into_par_iter()
            .map(|i| match tree.nearest(x.row(i), 1).first() {
                Some((far, k)) if *far <= limit => self.labels[self.core[*k]],
                _ => -1,
            })
            .collect())
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "dbscan",
    summary: "Regions where rows stand close together; rows that stand alone are in no cluster.",
    summary_zh: "DBSCAN 密度聚类：行密集的区域成簇，孤立的行不属于任何簇。",
    source: "Ester, Kriegel, Sander and Xu 1996",
    tasks: &[Task::Clustering],
    params: &[
        ParamSpec {
            name: "eps",
            kind: ParamKind::Number { min: 1e-150, max: 1e150 },
            default: "0.5",
            summary: "the distance within which rows are neighbours",
        },
        ParamSpec {
            name: "min_rows",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "5",
            summary: "neighbours (itself included) that make a core row",
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
    build: |_, params| {
        let params: Dbscan = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedDbscan>("DBSCAN", saved),
};

impl Learner for Dbscan {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedDbscan {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        label_column(&self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("DBSCAN", self)
    }
}
