//! K-means: `k` centres, every row in the cluster of the nearest, the sum of squared distances as small as can be
//! found.
//!
//! Minimises `Σᵢ wᵢ · min_c |xᵢ − μ_c|²`, the *inertia*. A round moves every row to its nearest centre and every centre
//! to the mean of its rows; rounds end when no row moves or the centres have moved less than the tolerance, by
//! scikit-learn's rule, so that equal starts end at equal inertia. Rows are worked on eight at a time; where centres are
//! many, bounds spare most rows the search. Sums run over chunks of fixed size and are added in order, so the number of
//! threads changes nothing.

mod hamerly;
mod lloyd;
mod start;

pub(crate) use lloyd::{Rows, distances};
pub(crate) use start::plus_plus;

use super::tiles::{LANES, Tiles};
use super::{check_data, check_new, label_column};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Where the centres start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Rows far apart, drawn by squared distance (k-means++, greedy).
    #[default]
    PlusPlus,
    /// Any rows.
    Random,
}

/// How a round finds the nearest centres. All give the same clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// By the number of centres and columns.
    #[default]
    Auto,
    /// Every row against every centre.
    Lloyd,
    /// With bounds that skip rows.
    Hamerly,
}

/// From this many columns and this many centres on, bounds pay. Measured on groups that overlap a little: with 32 columns
/// they took 0.7 of Lloyd's CPU time at 16 centres and 0.4 at 64; with 8 columns 1.5 at 16 and 1.3 at 64.
const HAMERLY_FROM: usize = 16;

/// Most clusters.
pub const CLUSTERS_MAX: usize = 100_000;

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_clusters` | 8 | 1 to 100,000 | centres |
/// | `start` | plus_plus | plus_plus, random | where the centres start |
/// | `n_starts` | 1 | 1 to 1,000 | starts, of which the one with the smallest inertia is kept |
/// | `max_iter` | 300 | 1 to 100,000 | rounds before giving up |
/// | `tolerance` | 1e-4 | 0 to 1 | squared way of the centres, against the columns' mean variance, that ends the rounds |
/// | `algorithm` | auto | auto, lloyd, hamerly | how a round finds the nearest centres |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::kmeans::KMeans};
/// let x = Matrix::from_rows(&[[1.0, 1.0], [1.2, 0.8], [8.0, 9.0], [8.2, 9.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 4], vec![]).unwrap();
/// let model = KMeans { n_clusters: 2, ..KMeans::default() }.fit(&Run::new(0), &data).unwrap();
/// let cluster = model.predict(data.x()).unwrap();
/// assert!(cluster[0] == cluster[1] && cluster[2] == cluster[3] && cluster[0] != cluster[2]);
/// assert!((model.inertia() - 0.06).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeans {
    /// Centres.
    pub n_clusters: usize,
    /// Where they start.
    pub start: Start,
    /// How many starts are tried.
    pub n_starts: usize,
    /// Algorithm before giving up.
    pub max_iter: usize,
    /// Where the rounds end.
    pub tolerance: f64,
    /// How a round finds the nearest centres.
    pub algorithm: Algorithm,
}

impl Default for KMeans {
    fn default() -> Self {
        Self {
            n_clusters: 8,
            start: Start::PlusPlus,
            n_starts: 1,
            max_iter: 300,
            tolerance: 1e-4,
            algorithm: Algorithm::Auto,
        }
    }
}

/// What [`KMeans`] and [`MiniBatchKMeans`](super::mini_batch::MiniBatchKMeans) learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedKMeans {
    centers: Matrix,
    sizes: Vec<f64>,
    inertia: f64,
    n_iter: usize,
    converged: bool,
    names: Vec<String>,
}

/// The random stream of the starts.
const STARTS: u64 = 0x6b6d_6561_6e73;

impl KMeans {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(
            (1..=CLUSTERS_MAX).contains(&self.n_clusters),
            "n_clusters",
            self.n_clusters,
            "1 to 100000",
        );
        check.require((1..=1000).contains(&self.n_starts), "n_starts", self.n_starts, "1 to 1000");
        check.require((1..=100_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 100000");
        check.require((0.0..=1.0).contains(&self.tolerance), "tolerance", self.tolerance, "0 to 1");
        check.finish()
    }

    /// Fits. Fails on fewer rows of positive weight than clusters, on missing values, and on values too large to be
    /// squared. Equal rows can leave clusters without rows; their size is then 0.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedKMeans> {
        self.check()?;
        let k = self.n_clusters;
        run.install(|| {
            let table = Table::of(run, data, k)?;
            let mut rng = run.rng(STARTS);
            let mut best: Option<Found> = None;
            run.progress().begin("k-means", self.n_starts as u64);
            for _ in 0..self.n_starts {
                let chosen = match self.start {
                    Start::PlusPlus => plus_plus(run, &table.tiles, &table.weight, k, &mut rng)?,
                    Start::Random => start::random_rows(table.tiles.n_rows(), &table.weight, k, &mut rng),
                };
                let found = self.rounds_from(run, &table, table.tiles.rows(&chosen))?;
                if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
                    best = Some(found);
                }
                run.progress().advance(1);
            }
            run.progress().end();
            best.expect("there is at least one start").finish(&table, data)
        })
    }

    /// Fits from the centres given, one per row of `centers`; their number takes the place of `n_clusters`.
    ///
    /// Fails as [`KMeans::fit`] does, on centres of another width than the data, and on centres that are not finite.
    pub fn fit_from(&self, run: &Run, data: &Dataset, centers: &Matrix) -> Result<FittedKMeans> {
        let k = centers.n_rows();
        Self { n_clusters: k, ..*self }.check()?;
        centers.check_finite(data.names())?;
        if centers.n_cols() != data.x().n_cols() {
            return Err(Error::Invalid(format!(
                "the starting centres have {} columns and the data {}",
                centers.n_cols(),
                data.x().n_cols()
            )));
        }
        run.install(|| {
            let table = Table::of(run, data, k)?;
            let start = centers.rows().flat_map(|row| row.iter().zip(&table.means).map(|(v, m)| v - m));
            self.rounds_from(run, &table, start.collect())?.finish(&table, data)
        })
    }

    fn rounds_from(&self, run: &Run, table: &Table, start: Vec<f64>) -> Result<Found> {
        let d = table.tiles.n_cols();
        let k = start.len().checked_div(d).unwrap_or(self.n_clusters);
        let rows = table.rows();
        let enough = self.tolerance * table.variance;
        let by_bounds = match self.algorithm {
            Algorithm::Auto => k >= HAMERLY_FROM && d >= HAMERLY_FROM,
            Algorithm::Lloyd => false,
            Algorithm::Hamerly => true,
        };
        let mut centers = start;
        // No row is in a cluster before the first round, so that it counts as a change.
        let mut label = vec![u32::MAX; table.weight.len()];
        let mut bounds = by_bounds.then(|| hamerly::Bounds::unknown(label.len()));
        let (mut n_iter, mut converged) = (0, false);
        while n_iter < self.max_iter && !converged {
            run.check()?;
            n_iter += 1;
            let mut sums = match &mut bounds {
                None => lloyd::assign(&rows, &centers, k, &mut label, true),
                Some(bounds) => {
                    if n_iter == 1 {
                        label.fill(0);
                    }
                    bounds.assign(&rows, &centers, k, &mut label)?
                }
            };
            let changed = sums.changed || n_iter == 1;
            let new = lloyd::means(&rows, &centers, k, &mut sums);
            converged = !changed || lloyd::shift(&centers, &new) <= enough;
            if let (Some(bounds), true) = (&mut bounds, d > 0) {
                bounds.follow(&centers, &new, k, &label);
            }
            centers = new;
        }
        let last = lloyd::assign(&rows, &centers, k, &mut label, true);
        Ok(Found { centers, sizes: last.mass, inertia: last.inertia, n_iter, converged })
    }
}

/// The rows made ready: centred, in tiles, with weights.
pub(crate) struct Table {
    pub(crate) tiles: Tiles,
    /// One per lane; 0 behind the last row.
    pub(crate) weight: Vec<f64>,
    pub(crate) means: Vec<f64>,
    unweighted: bool,
    /// The mean variance of the columns, each row counting once (scikit-learn's scale of the tolerance).
    variance: f64,
}

impl Table {
    pub(crate) fn of(run: &Run, data: &Dataset, k: usize) -> Result<Self> {
        let means = check_data(run, data, "k-means", k)?;
        let tiles = Tiles::of(data.x(), &means);
        let n = tiles.n_rows();
        let mut weight = vec![0.0; tiles.n_tiles() * LANES];
        match data.weight() {
            Some(w) => weight[..n].copy_from_slice(w),
            None => weight[..n].fill(1.0),
        }
        let unweighted = weight[..n].iter().all(|w| *w == 1.0);
        let variance = mean_variance(&tiles);
        Ok(Self { tiles, weight, means, unweighted, variance })
    }

    /// The rows named, without checks; for batches. A row may come twice.
    pub(crate) fn part(data: &Dataset, which: &[usize], means: &[f64]) -> Self {
        let tiles = Tiles::of(&data.x().select_rows(which), means);
        let mut weight = vec![0.0; tiles.n_tiles() * LANES];
        for (w, &i) in weight.iter_mut().zip(which) {
            *w = data.weight().map_or(1.0, |weight| weight[i]);
        }
        let unweighted = data.weight().is_none();
        Self { tiles, weight, means: means.to_vec(), unweighted, variance: 0.0 }
    }

    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows { tiles: &self.tiles, weight: &self.weight, unweighted: self.unweighted }
    }
}

/// One look at all rows: the sums of the clusters and the label of every lane.
pub(crate) fn lloyd_round(table: &Table, centers: &[f64], k: usize) -> (lloyd::Sums, Vec<u32>) {
    let mut label = vec![0; table.weight.len()];
    let sums = lloyd::assign(&table.rows(), centers, k, &mut label, true);
    (sums, label)
}

fn mean_variance(tiles: &Tiles) -> f64 {
    use rayon::prelude::*;
    let (n, d) = (tiles.n_rows(), tiles.n_cols());
    if d == 0 {
        return 0.0;
    }
    let whole = n / LANES;
    let parts: Vec<Vec<f64>> = (0..tiles.n_tiles().div_ceil(512))
        .into_par_iter()
        .map(|c| {
            let mut sums = vec![[[0.0; LANES]; 2]; d];
            let (from, to) = (c * 512, ((c + 1) * 512).min(tiles.n_tiles()));
            for t in from..to {
                let live = if t < whole { LANES } else { n % LANES };
                let columns = tiles.span(t, t + 1).as_chunks::<LANES>().0;
                for (s, x) in sums.iter_mut().zip(columns) {
                    for l in 0..live {
                        s[0][l] += x[l];
                        s[1][l] += x[l] * x[l];
                    }
                }
            }
            sums.iter().flatten().map(|lanes| lanes.iter().sum()).collect()
        })
        .collect();
    let mut total = vec![0.0; 2 * d];
    for part in &parts {
        total.iter_mut().zip(part).for_each(|(t, v)| *t += v);
    }
    let n = n as f64;
    total.chunks_exact(2).map(|s| s[1] / n - (s[0] / n).powi(2)).sum::<f64>().max(0.0) / d as f64
}

/// Where the rounds from one start ended.
pub(crate) struct Found {
    pub(crate) centers: Vec<f64>,
    pub(crate) sizes: Vec<f64>,
    pub(crate) inertia: f64,
    pub(crate) n_iter: usize,
    pub(crate) converged: bool,
}

impl Found {
    pub(crate) fn finish(self, table: &Table, data: &Dataset) -> Result<FittedKMeans> {
        let k = self.sizes.len();
        let mut centers = Matrix::new(k, table.means.len(), self.centers)?;
        for c in 0..k {
            centers.row_mut(c).iter_mut().zip(&table.means).for_each(|(v, m)| *v += m);
        }
        Ok(FittedKMeans {
            centers,
            sizes: self.sizes,
            inertia: self.inertia,
            n_iter: self.n_iter,
            converged: self.converged,
            names: data.names().to_vec(),
        })
    }
}

impl FittedKMeans {
    /// The centres, one per row.
    pub fn centers(&self) -> &Matrix {
        &self.centers
    }

    /// The weight of the training rows of each cluster; without weights their number.
    pub fn sizes(&self) -> &[f64] {
        &self.sizes
    }

    /// The weighted sum of squared distances of the training rows to their centres.
    pub fn inertia(&self) -> f64 {
        self.inertia
    }

    /// Algorithm of the start that was kept (steps, of mini-batch k-means).
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// Whether the rounds ended by the tolerance and not by their number.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// The nearest centre of every row, the first of equals. Fails on another width, and on NaN or infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<usize>> {
        Ok(self.nearest(x)?.0.into_iter().map(|c| c as usize).collect())
    }

    /// The squared distance of every row to its nearest centre.
    pub fn square_distances(&self, x: &Matrix) -> Result<Vec<f64>> {
        Ok(self.nearest(x)?.1)
    }

    fn nearest(&self, x: &Matrix) -> Result<(Vec<u32>, Vec<f64>)> {
        check_new(x, &self.names, "k-means")?;
        let tiles = Tiles::of(x, &vec![0.0; x.n_cols()]);
        let weight = vec![1.0; tiles.n_tiles() * LANES];
        let rows = Rows { tiles: &tiles, weight: &weight, unweighted: true };
        let (mut label, mut far) = distances(&rows, self.centers.values(), self.sizes.len());
        label.truncate(x.n_rows());
        far.truncate(x.n_rows());
        match far.iter().position(|f| !f.is_finite()) {
            None => Ok((label, far)),
            Some(i) => Err(Error::Invalid(format!(
                "row {i} has values too large to be squared and summed, so no centre is nearest"
            ))),
        }
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "kmeans",
    summary: "K-means: a given number of centres, every row with the nearest.",
    summary_zh: "K 均值聚类：给定数量的中心，每行归入最近的中心。",
    source: "Lloyd 1982; Arthur and Vassilvitskii 2007; Hamerly 2010",
    tasks: &[Task::Clustering],
    params: &[
        ParamSpec {
            name: "n_clusters",
            kind: ParamKind::Integer { min: 1, max: CLUSTERS_MAX as i64 },
            default: "8",
            summary: "number of centres",
        },
        ParamSpec {
            name: "start",
            kind: ParamKind::Choice(&["plus_plus", "random"]),
            default: "plus_plus",
            summary: "where the centres start: rows far apart, or any rows",
        },
        ParamSpec {
            name: "n_starts",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "1",
            summary: "starts, of which the best is kept",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "300",
            summary: "rounds before giving up",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "1e-4",
            summary: "squared way of the centres, against the columns' mean variance, that ends the rounds",
        },
        ParamSpec {
            name: "algorithm",
            kind: ParamKind::Choice(&["auto", "lloyd", "hamerly"]),
            default: "auto",
            summary: "how a round finds the nearest centres; the clusters are the same",
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
        let params: KMeans = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedKMeans>("kmeans", saved),
};

impl Learner for KMeans {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedKMeans {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        label_column(&self.predict(x)?.into_iter().map(|c| c as i64).collect::<Vec<_>>())
    }

    fn save(&self) -> Result<Value> {
        save("kmeans", self)
    }
}
