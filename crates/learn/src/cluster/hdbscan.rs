//! HDBSCAN (Campello, Moulavi and Sander 2013): clusters of several densities, without a distance to choose.
//!
//! Two rows are as far apart as the largest of their distance and the distances at which each has `min_rows` rows
//! (itself included) around it. The minimum spanning tree of these distances is a tree of clusters; branches of fewer
//! than `min_cluster_rows` rows only fall off. Of the branches left those are chosen that live longest, counted as
//! `Σ (1/d_leave − 1/d_birth)` over their rows (excess of mass), or the last ones (leaf). Rows in none get −1. The work
//! grows with the square of the rows, the memory with their number.
//!
//! Many edges of the tree are equally long, since a row's distance to its `min_rows`-th neighbour is the length of
//! several. They merge in the order in which the tree was found; another order (of the rows, or in another program) may
//! decide otherwise about a row on the brink of a smallest cluster.

use super::hierarchical::{Merge, in_order, prim, table};
use super::kd_tree::KdTree;
use super::tiles::square_distance;
use super::{check_data, check_new, label_column};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use tradewind_core::{ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Which branches become clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Those that live longest (excess of mass).
    #[default]
    Mass,
    /// The last ones: many small clusters.
    Leaf,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `min_cluster_rows` | 5 | 2 to 1,000,000 | rows of the smallest cluster |
/// | `min_rows` | as `min_cluster_rows` | 1 to 100,000 | rows around a row (itself included) that make it dense; more leave more rows alone |
/// | `choice` | mass | mass, leaf | which branches become clusters |
/// | `allow_single` | false | | whether all rows may be one cluster |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::hdbscan::Hdbscan};
/// let column: Vec<f64> = (0..40).map(|i| f64::from(i % 20) * if i < 20 { 0.1 } else { 1.0 } + f64::from(i / 20 * 90)).collect();
/// let data = Dataset::new(Matrix::from_columns(&[column]).unwrap(), vec![0.0; 40], vec![]).unwrap();
/// let model = Hdbscan::default().fit(&Run::new(0), &data).unwrap();
/// assert!(model.labels()[..20].iter().all(|l| *l == 0) && model.labels()[20..].iter().all(|l| *l == 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hdbscan {
    /// Rows of the smallest cluster.
    pub min_cluster_rows: usize,
    /// Rows around a row that make it dense; as `min_cluster_rows` where not given.
    pub min_rows: Option<usize>,
    /// Which branches become clusters.
    pub choice: Choice,
    /// Whether all rows may be one cluster.
    pub allow_single: bool,
}

impl Default for Hdbscan {
    fn default() -> Self {
        Self { min_cluster_rows: 5, min_rows: None, choice: Choice::Mass, allow_single: false }
    }
}

/// What [`Hdbscan`] learnt: clusters and their probabilities, and the rows, by which new ones find theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedHdbscan {
    labels: Vec<i64>,
    probability: Vec<f64>,
    /// The distance of every row to its `min_rows`-th nearest.
    core: Vec<f64>,
    /// The distance at which each cluster parted from its parent.
    birth: Vec<f64>,
    min_rows: usize,
    x: Matrix,
    names: Vec<String>,
}

impl Hdbscan {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let m = self.min_cluster_rows;
        check.require((2..=1_000_000).contains(&m), "min_cluster_rows", m, "2 to 1000000");
        if let Some(m) = self.min_rows {
            check.require((1..=100_000).contains(&m), "min_rows", m, "1 to 100000");
        }
        check.finish()
    }

    /// Fits. Weights of rows are not used. Fails on fewer than two rows or than `min_rows`, on missing values, and on
    /// values too large to be squared.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedHdbscan> {
        self.check()?;
        let min_rows = self.min_rows.unwrap_or(self.min_cluster_rows);
        run.install(|| {
            check_data(run, data, "HDBSCAN", min_rows.max(2))?;
            let (x, n) = (data.x(), data.n_rows());
            let tree = KdTree::new(x);
            let core: Vec<f64> = (0..n)
                .into_par_iter()
                .with_min_len(64)
                .map(|i| {
                    run.check()?;
                    Ok(tree.nearest(x.row(i), min_rows).last().map_or(f64::INFINITY, |f| f.0))
                })
                .collect::<Result<_>>()?;
            // Squares order as their roots do, so the tree can be found without a root for every pair.
            let mut edges = prim(run, x, |i, j, square| square.max(core[i]).max(core[j]))?;
            edges.iter_mut().for_each(|e| e.2 = e.2.sqrt());
            let condensed = Condensed::new(&table(edges, n), n, self.min_cluster_rows);
            let chosen = condensed.chosen(self.choice, self.allow_single);
            let (labels, probability, birth) = condensed.labels(&chosen);
            let core = core.into_iter().map(f64::sqrt).collect();
            let names = data.names().to_vec();
            Ok(FittedHdbscan { labels, probability, core, birth, min_rows, x: x.clone(), names })
        })
    }
}

/// One line of the condensed tree: `child` (a row, or a cluster from `n` on) leaves `parent` at density `lambda`.
struct Leave {
    parent: usize,
    child: usize,
    lambda: f64,
    size: usize,
}

/// The tree of clusters that are large enough. Cluster `c` stands at `c − n`; the root is `n`.
struct Condensed {
    n: usize,
    leaves: Vec<Leave>,
    /// Where each cluster parted from its parent, as distance and density.
    birth: Vec<(f64, f64)>,
    parent: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Condensed {
    fn new(merges: &[Merge], n: usize, min_rows: usize) -> Self {
        // Equal rows merge at distance 0, whose density is infinite; a density twice the largest finite one keeps all
        // sums finite and all orders right.
        let least = merges.iter().map(|m| m.height).filter(|h| *h > 0.0).fold(f64::INFINITY, f64::min);
        let most = if least.is_finite() { 2.0 / least } else { 1.0 };
        let density = |height: f64| if height > 0.0 { (1.0 / height).min(most) } else { most };
        let size = |c: usize| if c < n { 1 } else { merges[c - n].size };
        let mut tree = Self {
            n,
            leaves: Vec::new(),
            birth: vec![(f64::INFINITY, 0.0)],
            parent: vec![n],
            children: vec![Vec::new()],
        };
        // Merges still to be looked at, with the cluster that they are part of.
        let mut open = VecDeque::from([(n + merges.len() - 1, n)]);
        let mut below = Vec::new();
        while let Some((node, cluster)) = open.pop_front() {
            let merge = merges[node - n];
            let lambda = density(merge.height);
            let sides = [merge.left, merge.right];
            let large = sides.map(|c| size(c) >= min_rows);
            for (side, is_large) in sides.into_iter().zip(large) {
                if large == [true, true] {
                    let child = n + tree.parent.len();
                    tree.leaves.push(Leave { parent: cluster, child, lambda, size: size(side) });
                    tree.birth.push((merge.height, lambda));
                    tree.parent.push(cluster);
                    tree.children.push(Vec::new());
                    tree.children[cluster - n].push(child);
                    if side >= n {
                        open.push_back((side, child));
                    }
                } else if is_large {
                    open.push_back((side, cluster));
                } else {
                    below.push(side);
                    while let Some(c) = below.pop() {
                        match c.checked_sub(n) {
                            None => tree.leaves.push(Leave { parent: cluster, child: c, lambda, size: 1 }),
                            Some(m) => below.extend([merges[m].right, merges[m].left]),
                        }
                    }
                }
            }
        }
        tree
    }

    /// Which clusters are chosen.
    fn chosen(&self, choice: Choice, allow_single: bool) -> Vec<bool> {
        let n_clusters = self.parent.len();
        let mut chosen = vec![false; n_clusters];
        let first = usize::from(!allow_single);
        match choice {
            Choice::Leaf => {
                for c in 0..n_clusters {
                    chosen[c] = self.children[c].is_empty() && (c > 0 || allow_single);
                }
            }
            Choice::Mass => {
                let mut mass = vec![0.0; n_clusters];
                for l in &self.leaves {
                    let c = l.parent - self.n;
                    mass[c] += (l.lambda - self.birth[c].1) * l.size as f64;
                }
                // Children have larger numbers than their parents.
                for c in (first..n_clusters).rev() {
                    let of_children: f64 = self.children[c].iter().map(|b| mass[b - self.n]).sum();
                    if of_children > mass[c] {
                        mass[c] = of_children;
                    } else {
                        chosen[c] = true;
                    }
                }
                // The uppermost ones stay.
                let mut covered = vec![false; n_clusters];
                for c in 1..n_clusters {
                    let above = self.parent[c] - self.n;
                    covered[c] = covered[above] || chosen[above];
                }
                (0..n_clusters).for_each(|c| chosen[c] &= !covered[c]);
            }
        }
        chosen
    }

    /// The cluster and probability of every row, and where the clusters were born.
    fn labels(&self, chosen: &[bool]) -> (Vec<i64>, Vec<f64>, Vec<f64>) {
        let n_clusters = self.parent.len();
        // The chosen cluster that each is in.
        let mut home: Vec<Option<usize>> = vec![None; n_clusters];
        for c in 0..n_clusters {
            home[c] =
                if chosen[c] { Some(c) } else { (c > 0).then(|| home[self.parent[c] - self.n]).flatten() };
        }
        let mut death = vec![0.0_f64; n_clusters];
        let mut row: Vec<(Option<usize>, f64)> = vec![(None, 0.0); self.n];
        for l in &self.leaves {
            let c = l.parent - self.n;
            death[c] = death[c].max(l.lambda);
            if l.child < self.n {
                row[l.child] = (home[c], l.lambda);
            }
        }
        // Numbered in the order of the rows.
        let members: Vec<usize> = (0..self.n).filter(|&i| row[i].0.is_some()).collect();
        let numbers = in_order(members.iter().filter_map(|&i| row[i].0));
        let (mut labels, mut probability) = (vec![-1; self.n], vec![0.0; self.n]);
        let mut birth = vec![0.0; numbers.iter().max().map_or(0, |m| m + 1)];
        for (&i, number) in members.iter().zip(numbers) {
            if let (Some(c), lambda) = row[i] {
                labels[i] = number as i64;
                probability[i] = if death[c] > 0.0 { (lambda / death[c]).min(1.0) } else { 1.0 };
                birth[number] = self.birth[c].0.min(f64::MAX);
            }
        }
        (labels, probability, birth)
    }
}

impl FittedHdbscan {
    /// The cluster of every training row, numbered in the order of the rows; −1 for none.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// How surely each training row belongs to its cluster: 1 for the last to leave it, 0 for rows in none.
    pub fn probabilities(&self) -> &[f64] {
        &self.probability
    }

    /// Clusters found.
    pub fn n_clusters(&self) -> usize {
        self.birth.len()
    }

    /// The cluster of the nearest training row, in the distance of this method, where that is near enough for the row
    /// to have been in the cluster when it parted from its parent; else −1. A row equal to a training row gets that
    /// row's cluster. Fails on another width, and on NaN or infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<i64>> {
        check_new(x, &self.names, "HDBSCAN")?;
        let tree = KdTree::new(&self.x);
        Ok((0..x.n_rows()).into_par_iter().map(|i| self.predict_row(&tree, x.row(i))).collect())
    }

    fn predict_row(&self, tree: &KdTree, row: &[f64]) -> i64 {
        // The new row itself is one of the rows around it.
        let near = tree.nearest(row, self.min_rows.max(2));
        let Some(&(first, nearest)) = near.first() else { return -1 };
        if first == 0.0 {
            return self.labels[nearest];
        }
        let core = match self.min_rows {
            1 => 0.0,
            m => near.get(m - 2).map_or(f64::INFINITY, |f| f.0.sqrt()),
        };
        let reach = |k: usize| square_distance(self.x.row(k), row).sqrt().max(core).max(self.core[k]);
        let best = near
            .iter()
            .map(|&(_, k)| (reach(k), k))
            .fold((f64::INFINITY, nearest), |b, r| if r.0 < b.0 { r } else { b });
        match usize::try_from(self.labels[best.1]) {
            Ok(c) if best.0 <= self.birth[c] => c as i64,
            _ => -1,
        }
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "hdbscan",
    summary: "Dense regions of several densities; rows that stand alone are in no cluster.",
    summary_zh: "HDBSCAN 层次密度聚类：自动识别不同密度的区域。",
    source: "Campello, Moulavi and Sander 2013",
    tasks: &[Task::Clustering],
    params: &[
        ParamSpec {
            name: "min_cluster_rows",
            kind: ParamKind::Integer { min: 2, max: 1_000_000 },
            default: "5",
            summary: "rows of the smallest cluster",
        },
        ParamSpec {
            name: "min_rows",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "",
            summary: "rows around a row that make it dense; as min_cluster_rows where not given",
        },
        ParamSpec {
            name: "choice",
            kind: ParamKind::Choice(&["mass", "leaf"]),
            default: "mass",
            summary: "which branches become clusters: those that live longest, or the last ones",
        },
        ParamSpec {
            name: "allow_single",
            kind: ParamKind::Flag,
            default: "false",
            summary: "whether all rows may be one cluster",
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
        let params: Hdbscan = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedHdbscan>("HDBSCAN", saved),
};

impl Learner for Hdbscan {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedHdbscan {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        label_column(&self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("HDBSCAN", self)
    }
}
