//! K-means by small batches (Sculley 2010), for tables of which a part tells enough.
//!
//! A step draws a batch of rows, finds their nearest centres, and moves each centre to the mean of all rows it was ever
//! given: `μ ← (m μ + Σ w x) / (m + Σ w)`, where `m` is the weight it was given before. Steps end when the smoothed
//! inertia of the batches has stopped falling. The inertia is a little above that of [`kmeans`](super::kmeans).

use super::check_data;
use super::kmeans::{CLUSTERS_MAX, FittedKMeans, Found, Table, lloyd_round, plus_plus};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load};
use crate::matrix::Dataset;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_clusters` | 8 | 1 to 100,000 | centres |
/// | `batch_rows` | 4,096 | 1 to 10,000,000 | rows of a step |
/// | `n_starts` | 3 | 1 to 1,000 | k-means++ starts, of which the best on a sample of three batches is kept |
/// | `max_passes` | 100 | 1 to 100,000 | steps before giving up, as passes over the data |
/// | `patience` | 10 | 1 to 100,000 | steps without a smaller smoothed inertia that end the search |
/// | `small` | 0.01 | 0 to 1 | a centre with less than this share of the largest weight is put on a drawn row |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::mini_batch::MiniBatchKMeans};
/// let x: Vec<[f64; 1]> = (0..500).map(|i| [f64::from(i % 2 * 100 + i % 5)]).collect();
/// let data = Dataset::new(Matrix::from_rows(&x).unwrap(), vec![0.0; 500], vec![]).unwrap();
/// let model = MiniBatchKMeans { n_clusters: 2, ..MiniBatchKMeans::default() }.fit(&Run::new(0), &data).unwrap();
/// let cluster = model.predict(data.x()).unwrap();
/// assert!(cluster[0] == cluster[2] && cluster[0] != cluster[1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiniBatchKMeans {
    /// Centres.
    pub n_clusters: usize,
    /// Rows of a step.
    pub batch_rows: usize,
    /// How many starts are tried.
    pub n_starts: usize,
    /// Steps before giving up, as passes over the data.
    pub max_passes: usize,
    /// Steps without a smaller smoothed inertia that end the search.
    pub patience: usize,
    /// Share of the largest weight below which a centre is moved to a drawn row.
    pub small: f64,
}

impl Default for MiniBatchKMeans {
    fn default() -> Self {
        Self { n_clusters: 8, batch_rows: 4096, n_starts: 3, max_passes: 100, patience: 10, small: 0.01 }
    }
}

/// The random stream of the starts and batches.
const BATCHES: u64 = 0x6d62_6b6d;

impl MiniBatchKMeans {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let k = self.n_clusters;
        check.require((1..=CLUSTERS_MAX).contains(&k), "n_clusters", k, "1 to 100000");
        check.require(
            (1..=10_000_000).contains(&self.batch_rows),
            "batch_rows",
            self.batch_rows,
            "1 to 10000000",
        );
        check.require((1..=1000).contains(&self.n_starts), "n_starts", self.n_starts, "1 to 1000");
        check.require((1..=100_000).contains(&self.max_passes), "max_passes", self.max_passes, "1 to 100000");
        check.require((1..=100_000).contains(&self.patience), "patience", self.patience, "1 to 100000");
        check.require((0.0..=1.0).contains(&self.small), "small", self.small, "0 to 1");
        check.finish()
    }

    /// Fits. Fails on fewer rows of positive weight than clusters, on missing values, and on values too large to be
    /// squared.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedKMeans> {
        self.check()?;
        run.install(|| self.fit_here(run, data))
    }

    fn fit_here(&self, run: &Run, data: &Dataset) -> Result<FittedKMeans> {
        let k = self.n_clusters;
        let means = check_data(run, data, "mini-batch k-means", k)?;
        let (n, d) = (data.n_rows(), data.x().n_cols());
        let mut rng = run.rng(BATCHES);
        let live: Vec<usize> = match data.weight() {
            None => (0..n).collect(),
            Some(w) => (0..n).filter(|&i| w[i] > 0.0).collect(),
        };
        let sample_rows = (3 * self.batch_rows).max(3 * k).min(live.len());
        let sample: Vec<usize> =
            rand::seq::index::sample(&mut rng, live.len(), sample_rows).iter().map(|i| live[i]).collect();
        let sample = Table::part(data, &sample, &means);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for _ in 0..self.n_starts {
            let chosen = plus_plus(run, &sample.tiles, &sample.weight, k, &mut rng)?;
            let centers = sample.tiles.rows(&chosen);
            let inertia = lloyd_round(&sample, &centers, k).0.inertia;
            if best.as_ref().is_none_or(|b| inertia < b.0) {
                best = Some((inertia, centers));
            }
        }
        let mut centers = best.expect("there is at least one start").1;
        let mut mass = vec![0.0; k];
        let batch_rows = self.batch_rows.min(live.len());
        let steps = (self.max_passes as u64).saturating_mul(n as u64).div_ceil(batch_rows as u64);
        // The weight of the last batch in the smoothed inertia, as in scikit-learn.
        let smooth = (2.0 * batch_rows as f64 / (n as f64 + 1.0)).min(1.0);
        let (mut ewa, mut least, mut worse) = (f64::NAN, f64::INFINITY, 0);
        let (mut step, mut seen) = (0_u64, 0);
        while step < steps && worse < self.patience {
            run.check()?;
            step += 1;
            let rows: Vec<usize> = (0..batch_rows).map(|_| live[rng.random_range(0..live.len())]).collect();
            let batch = Table::part(data, &rows, &means);
            let (sums, _) = lloyd_round(&batch, &centers, k);
            for c in (0..k).filter(|&c| sums.mass[c] > 0.0) {
                let total = mass[c] + sums.mass[c];
                for j in 0..d {
                    let at = c * d + j;
                    centers[at] = (centers[at] * mass[c] + sums.sums[at]) / total;
                }
                mass[c] = total;
            }
            seen += batch_rows;
            if seen >= 10 * k.max(batch_rows) {
                seen = 0;
                self.move_small(&batch, &mut centers, &mut mass, &mut rng);
            }
            let weight: f64 = batch.weight.iter().sum();
            let inertia = sums.inertia / weight;
            // The first step still has the starts' centres and would set the mark too low or too high.
            if step == 1 {
                continue;
            }
            ewa = if ewa.is_nan() { inertia } else { ewa * (1.0 - smooth) + inertia * smooth };
            if ewa < least {
                (least, worse) = (ewa, 0);
            } else {
                worse += 1;
            }
        }
        let all = Table::of(run, data, k)?;
        let (sums, _) = lloyd_round(&all, &centers, k);
        let found = Found {
            centers,
            sizes: sums.mass,
            inertia: sums.inertia,
            n_iter: usize::try_from(step).unwrap_or(usize::MAX),
            converged: worse >= self.patience,
        };
        found.finish(&all, data)
    }

    /// Puts centres that hardly any row chose on rows of the batch.
    fn move_small(&self, batch: &Table, centers: &mut [f64], mass: &mut [f64], rng: &mut impl Rng) {
        let d = batch.tiles.n_cols();
        let most = mass.iter().copied().fold(0.0, f64::max);
        let small: Vec<usize> = (0..mass.len()).filter(|&c| mass[c] < self.small * most).collect();
        let kept = mass.iter().copied().filter(|m| *m >= self.small * most).fold(f64::INFINITY, f64::min);
        // At most half of the batch, so that the others keep theirs.
        let n = small.len().min(batch.tiles.n_rows() / 2);
        let rows = rand::seq::index::sample(rng, batch.tiles.n_rows(), n);
        for (&c, i) in small.iter().zip(rows.iter()) {
            batch.tiles.read_row(i, &mut centers[c * d..(c + 1) * d]);
            mass[c] = kept;
        }
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "mini_batch_kmeans",
    summary: "K-means by small batches, for very many rows.",
    summary_zh: "小批量 K 均值聚类，适用于行数极多的表。",
    source: "Sculley 2010",
    tasks: &[Task::Clustering],
    params: &[
        ParamSpec {
            name: "n_clusters",
            kind: ParamKind::Integer { min: 1, max: CLUSTERS_MAX as i64 },
            default: "8",
            summary: "number of centres",
        },
        ParamSpec {
            name: "batch_rows",
            kind: ParamKind::Integer { min: 1, max: 10_000_000 },
            default: "4096",
            summary: "rows of a step",
        },
        ParamSpec {
            name: "n_starts",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "3",
            summary: "starts, of which the best on a sample is kept",
        },
        ParamSpec {
            name: "max_passes",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "100",
            summary: "steps before giving up, as passes over the data",
        },
        ParamSpec {
            name: "patience",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "10",
            summary: "steps without a smaller smoothed inertia that end the search",
        },
        ParamSpec {
            name: "small",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.01",
            summary: "a centre with less than this share of the largest weight is put on a drawn row",
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
        let params: MiniBatchKMeans = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedKMeans>("mini-batch k-means", saved),
};

impl Learner for MiniBatchKMeans {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}
