//! How many clusters k-means should have: by the silhouette, or by the gap statistic.

use super::kmeans::KMeans;
use super::measures::sampled_silhouette;
use crate::matrix::{Dataset, Matrix};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tradewind_core::{ParamCheck, Result, Run};

/// The rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The largest mean silhouette (Rousseeuw 1987); cannot say that there is but one cluster.
    #[default]
    Silhouette,
    /// The first `k` whose gap is at least the next one's less its error (Tibshirani, Walther and Hastie 2001).
    Gap,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `k_min` | 2 | 1 to `k_max` (2 for the silhouette) | fewest clusters tried |
/// | `k_max` | 10 | up to 1,000 | most clusters tried |
/// | `rule` | silhouette | silhouette, gap | what decides |
/// | `sample_rows` | 5,000 | 10 to 1,000,000 | rows on which the silhouette is counted; exact when there are no more |
/// | `n_references` | 10 | 2 to 1,000 | even data sets that the gap is counted against |
/// | `kmeans` | three starts | | how each clustering is made; `n_clusters` is not used |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::choose::ChooseK};
/// let column: Vec<f64> = (0..90).map(|i| f64::from(i % 3 * 100 + i % 7)).collect();
/// let data = Dataset::new(Matrix::from_columns(&[column]).unwrap(), vec![0.0; 90], vec![]).unwrap();
/// let choice = ChooseK { k_max: 6, ..ChooseK::default() }.choose(&Run::new(0), &data).unwrap();
/// assert_eq!(choice.k, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChooseK {
    /// Fewest clusters tried.
    pub k_min: usize,
    /// Most clusters tried.
    pub k_max: usize,
    /// What decides.
    pub rule: Rule,
    /// Rows on which the silhouette is counted.
    pub sample_rows: usize,
    /// Even data sets that the gap is counted against.
    pub n_references: usize,
    /// How each clustering is made.
    pub kmeans: KMeans,
}

impl Default for ChooseK {
    fn default() -> Self {
        Self {
            k_min: 2,
            k_max: 10,
            rule: Rule::Silhouette,
            sample_rows: 5000,
            n_references: 10,
            kmeans: KMeans { n_starts: 3, ..KMeans::default() },
        }
    }
}

/// What was seen for one number of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Clusters.
    pub k: usize,
    /// The inertia of k-means.
    pub inertia: f64,
    /// The mean silhouette, where that is the rule.
    pub silhouette: Option<f64>,
    /// The gap and its error, where that is the rule.
    pub gap: Option<(f64, f64)>,
}

/// The number chosen, and all that were tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Clusters to take.
    pub k: usize,
    /// One line per number tried.
    pub tried: Vec<Tried>,
}

/// The random stream of the even data sets.
const EVEN: u64 = 0x6761_7073;

impl ChooseK {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let (least, allowed) = match self.rule {
            Rule::Silhouette => (2, "2 to k_max"),
            Rule::Gap => (1, "1 to k_max"),
        };
        check.require((least..=self.k_max).contains(&self.k_min), "k_min", self.k_min, allowed);
        check.require((1..=1000).contains(&self.k_max), "k_max", self.k_max, "1 to 1000");
        check.require(
            (10..=1_000_000).contains(&self.sample_rows),
            "sample_rows",
            self.sample_rows,
            "10 to 1000000",
        );
        check.require(
            (2..=1000).contains(&self.n_references),
            "n_references",
            self.n_references,
            "2 to 1000",
        );
        check.finish()?;
        KMeans { n_clusters: self.k_max, ..self.kmeans }.check()
    }

    /// Tries all numbers and chooses one. Fails on fewer rows than `k_max` (one more for the silhouette), and as
    /// k-means does.
    pub fn choose(&self, run: &Run, data: &Dataset) -> Result<Chosen> {
        self.check()?;
        let spare = usize::from(self.rule == Rule::Silhouette);
        data.need_rows("choosing the number of clusters", self.k_max + spare)?;
        let inner = run.quiet();
        let fit = |data: &Dataset, k: usize| KMeans { n_clusters: k, ..self.kmeans }.fit(&inner, data);
        let references = match self.rule {
            Rule::Silhouette => Vec::new(),
            Rule::Gap => self.references(run, data)?,
        };
        let mut tried = Vec::new();
        run.progress().begin("number of clusters", (self.k_max - self.k_min + 1) as u64);
        for k in self.k_min..=self.k_max {
            let model = fit(data, k)?;
            let mut line = Tried { k, inertia: model.inertia(), silhouette: None, gap: None };
            match self.rule {
                Rule::Silhouette => {
                    let labels: Vec<i64> = model.predict(data.x())?.into_iter().map(|c| c as i64).collect();
                    line.silhouette = Some(self.silhouette(&inner, data.x(), &labels)?);
                }
                Rule::Gap => {
                    let logs: Vec<f64> = references
                        .iter()
                        .map(|even| Ok(log(fit(even, k)?.inertia())))
                        .collect::<Result<_>>()?;
                    let n = logs.len() as f64;
                    let mean = logs.iter().sum::<f64>() / n;
                    let sd = (logs.iter().map(|l| (l - mean) * (l - mean)).sum::<f64>() / n).sqrt();
                    line.gap = Some((mean - log(model.inertia()), sd * (1.0 + 1.0 / n).sqrt()));
                }
            }
            tried.push(line);
            run.progress().advance(1);
        }
        run.progress().end();
        let k = match self.rule {
            Rule::Silhouette => {
                tried.iter().fold(tried[0], |b, t| if t.silhouette > b.silhouette { *t } else { b }).k
            }
            Rule::Gap => tried
                .windows(2)
                .find_map(|w| match (w[0].gap, w[1].gap) {
                    (Some(here), Some(next)) if here.0 >= next.0 - next.1 => Some(w[0].k),
                    _ => None,
                })
                .unwrap_or(self.k_max),
        };
        Ok(Chosen { k, tried })
    }

    /// The silhouette, or −1 where equal rows leave fewer than two clusters.
    fn silhouette(&self, run: &Run, x: &Matrix, labels: &[i64]) -> Result<f64> {
        match labels.iter().all(|l| *l == labels[0]) {
            true => Ok(-1.0),
            false => {
                sampled_silhouette(run, x, labels, self.sample_rows).or_else(|fault| match run.check() {
                    // The sample fell into one cluster.
                    Ok(()) => Ok(-1.0),
                    Err(_) => Err(fault),
                })
            }
        }
    }

    /// Rows spread evenly over the box of the data.
    fn references(&self, run: &Run, data: &Dataset) -> Result<Vec<Dataset>> {
        let x = data.x();
        let mut box_of = vec![(f64::INFINITY, f64::NEG_INFINITY); x.n_cols()];
        for row in x.rows() {
            for (b, v) in box_of.iter_mut().zip(row) {
                *b = (b.0.min(*v), b.1.max(*v));
            }
        }
        let mut rng = run.rng(EVEN);
        (0..self.n_references)
            .map(|_| {
                let mut even = Matrix::zeros(x.n_rows(), x.n_cols());
                for i in 0..x.n_rows() {
                    for (v, (low, high)) in even.row_mut(i).iter_mut().zip(&box_of) {
                        *v = low + (high - low) * rng.random::<f64>();
                    }
                }
                let even = Dataset::new(even, data.y().to_vec(), data.names().to_vec())?;
                match data.weight() {
                    None => Ok(even),
                    Some(w) => even.with_weight(w.to_vec()),
                }
            })
            .collect()
    }
}

/// The log of an inertia, finite also for clusters of equal rows.
fn log(inertia: f64) -> f64 {
    inertia.max(f64::MIN_POSITIVE).ln()
}
