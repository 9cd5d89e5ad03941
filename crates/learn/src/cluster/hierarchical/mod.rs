//! Hierarchical clustering: rows merge into ever larger clusters, and the tree of merges is cut by number or height.
//!
//! The table of merges is that of scipy's `linkage`. Ward's linkage runs on means and needs memory for the rows only;
//! single linkage is the minimum spanning tree; average and complete linkage keep the distances of all pairs. The work
//! grows with the square of the rows.

mod linkage;

pub use linkage::{Linkage, Merge, PAIRS_ROWS_MAX};
pub(crate) use linkage::{Sets, prim, table};

use super::tiles::{LANES, Points, Tiles, nearest};
use super::{check_data, check_new, label_column};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `linkage` | ward | ward, average, complete, single | how the distance between clusters is counted |
/// | `n_clusters` | 8 | 1 to 1,000,000 | clusters after the cut; not used when `height` is given |
/// | `height` | none | 0 and more | merges above this distance are undone |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::hierarchical::Hierarchical};
/// let x = Matrix::from_columns(&[[0.0, 1.0, 10.0, 12.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 4], vec![]).unwrap();
/// let model = Hierarchical { n_clusters: 2, ..Hierarchical::default() }.fit(&Run::new(0), &data).unwrap();
/// assert_eq!(model.labels(), [0, 0, 1, 1]);
/// assert_eq!(model.merges()[1].height, 2.0);
/// assert_eq!(model.cut_height(1.5), [0, 0, 1, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hierarchical {
    /// How the distance between clusters is counted.
    pub linkage: Linkage,
    /// Clusters after the cut.
    pub n_clusters: usize,
    /// Merges above this distance are undone; takes the place of `n_clusters`.
    pub height: Option<f64>,
}

impl Default for Hierarchical {
    fn default() -> Self {
        Self { linkage: Linkage::Ward, n_clusters: 8, height: None }
    }
}

/// What [`Hierarchical`] learnt: the tree, the clusters of its cut, and the rows, by which new ones find their place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedHierarchical {
    merges: Vec<Merge>,
    labels: Vec<usize>,
    x: Matrix,
    names: Vec<String>,
}

/// One bracket of a drawn tree: two legs and the bar that joins them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bracket {
    /// Where the legs stand; leaf `i` of the order stands at `10 i + 5`, as in scipy.
    pub x: [f64; 2],
    /// Where the legs begin.
    pub foot: [f64; 2],
    /// The height of the bar.
    pub height: f64,
}

/// A tree ready to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dendrogram {
    /// The rows from left to right.
    pub order: Vec<usize>,
    /// One bracket per merge, in the order of the merges.
    pub brackets: Vec<Bracket>,
}

impl Hierarchical {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let k = self.n_clusters;
        check.require((1..=1_000_000).contains(&k), "n_clusters", k, "1 to 1000000");
        if let Some(height) = self.height {
            check.require(height.is_finite() && height >= 0.0, "height", height, "0 and more");
        }
        check.finish()
    }

    /// Fits. Weights of rows are not used. Fails on fewer rows than clusters, on missing values, on values too large
    /// to be squared, and for average and complete linkage on more than [`PAIRS_ROWS_MAX`] rows.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedHierarchical> {
        self.check()?;
        let needed = if self.height.is_some() { 1 } else { self.n_clusters };
        run.install(|| {
            check_data(run, data, "hierarchical clustering", needed)?;
            if data.n_rows() < needed {
                let what = "hierarchical clustering".to_owned();
                return Err(Error::NotEnoughData { what, needed, got: data.n_rows() });
            }
            let merges = linkage::merges(run, data.x(), self.linkage)?;
            let (x, names) = (data.x().clone(), data.names().to_vec());
            let mut fitted = FittedHierarchical { merges, labels: Vec::new(), x, names };
            fitted.labels = match self.height {
                Some(height) => fitted.cut_height(height),
                None => fitted.cut(self.n_clusters)?,
            };
            Ok(fitted)
        })
    }
}

impl FittedHierarchical {
    /// The merges, lowest first, as scipy's linkage table.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The cluster of every training row after the cut that was asked for, numbered in the order of the rows.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The clusters when the tree is cut into `n_clusters`. Fails unless there are that many rows.
    pub fn cut(&self, n_clusters: usize) -> Result<Vec<usize>> {
        let n = self.x.n_rows();
        if n_clusters == 0 || n_clusters > n {
            return Err(Error::Invalid(format!("{n} rows cannot be cut into {n_clusters} clusters")));
        }
        Ok(self.after(n - n_clusters))
    }

    /// The clusters when merges above `height` are undone.
    pub fn cut_height(&self, height: f64) -> Vec<usize> {
        self.after(self.merges.partition_point(|m| m.height <= height))
    }

    /// The clusters after the first merges.
    fn after(&self, n_merges: usize) -> Vec<usize> {
        let n = self.x.n_rows();
        let mut sets = Sets::new(n);
        // A row of every cluster of the table.
        let mut row: Vec<usize> = (0..n).collect();
        for m in &self.merges[..n_merges] {
            let (a, b) = (sets.root(row[m.left]), sets.root(row[m.right]));
            row.push(sets.join(a, b));
        }
        in_order((0..n).map(|i| sets.root(i)))
    }

    /// The tree as drawn: order of the leaves and brackets, as scipy's `dendrogram` gives them.
    pub fn dendrogram(&self) -> Dendrogram {
        let n = self.x.n_rows();
        let mut order = Vec::with_capacity(n);
        let mut open = vec![(2 * n).saturating_sub(2)];
        while let Some(c) = open.pop() {
            match c.checked_sub(n) {
                None if n > 0 => order.push(c),
                None => {}
                Some(i) => open.extend([self.merges[i].right, self.merges[i].left]),
            }
        }
        // Where each cluster's leg stands and begins.
        let mut top = vec![(0.0, 0.0); n];
        for (place, &row) in order.iter().enumerate() {
            top[row].0 = 10.0 * place as f64 + 5.0;
        }
        let mut brackets = Vec::with_capacity(self.merges.len());
        for m in &self.merges {
            let (l, r) = (top[m.left], top[m.right]);
            brackets.push(Bracket { x: [l.0, r.0], foot: [l.1, r.1], height: m.height });
            top.push((f64::midpoint(l.0, r.0), m.height));
        }
        Dendrogram { order, brackets }
    }

    /// The cluster of the nearest training row (the first of equals). Fails on another width, and on NaN or infinite
    /// values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<usize>> {
        check_new(x, &self.names, "hierarchical clustering")?;
        Ok(nearest_rows(&self.x, x)?.into_iter().map(|i| self.labels[i]).collect())
    }
}

/// Names clusters 0, 1, 2, … in the order in which they first come.
pub(crate) fn in_order(clusters: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut names = std::collections::HashMap::new();
    clusters
        .map(|c| {
            let next = names.len();
            *names.entry(c).or_insert(next)
        })
        .collect()
}

/// For every row of `x` the nearest row of `known`, which must not be empty.
pub(crate) fn nearest_rows(known: &Matrix, x: &Matrix) -> Result<Vec<usize>> {
    let (n, d) = (x.n_rows(), x.n_cols());
    let tiles = Tiles::of(x, &vec![0.0; d]);
    let points = Points::new(known.values(), known.n_rows(), d);
    let (mut label, mut far) = (vec![0_u32; tiles.n_tiles() * LANES], vec![0.0; tiles.n_tiles() * LANES]);
    label.par_chunks_mut(8 * LANES).zip(far.par_chunks_mut(8 * LANES)).enumerate().for_each(
        |(c, (label, far))| {
            nearest(tiles.span(c * 8, c * 8 + label.len() / LANES), &points, label, far);
        },
    );
    match far[..n].iter().position(|f| !f.is_finite()) {
        None => Ok(label[..n].iter().map(|i| *i as usize).collect()),
        Some(i) => Err(Error::Invalid(format!(
            "row {i} has values too large to be squared and summed, so no training row is nearest"
        ))),
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "hierarchical",
    summary: "A tree of merges, cut into clusters by number or height.",
    summary_zh: "层次聚类：逐步合并成树，再按数量或高度切分。",
    source: "Ward 1963; Murtagh 1983; Müllner 2011",
    tasks: &[Task::Clustering],
    params: &[
        ParamSpec {
            name: "linkage",
            kind: ParamKind::Choice(&["ward", "average", "complete", "single"]),
            default: "ward",
            summary: "how the distance between clusters is counted",
        },
        ParamSpec {
            name: "n_clusters",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "8",
            summary: "clusters after the cut",
        },
        ParamSpec {
            name: "height",
            kind: ParamKind::Number { min: 0.0, max: 1e300 },
            default: "",
            summary: "merges above this distance are undone; takes the place of n_clusters",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: false,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let params: Hierarchical = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedHierarchical>("hierarchical clustering", saved),
};

impl Learner for Hierarchical {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedHierarchical {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        label_column(&self.predict(x)?.into_iter().map(|c| c as i64).collect::<Vec<_>>())
    }

    fn save(&self) -> Result<Value> {
        save("hierarchical clustering", self)
    }
}
