//! Gaussian mixture: the rows come from `k` normal distributions, each with its weight, mean and covariance.
//!
//! `p(x) = Σ_c π_c N(x; μ_c, C_c)`, fitted by expectation and maximisation (Dempster, Laird and Rubin 1977) from a
//! start by k-means. Steps end when the mean log density grows by less than the tolerance. All densities are kept as
//! logs. A prediction gives the probability of every part.

mod density;

use super::kmeans::KMeans;
use super::{check_data, check_new};
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use density::{Parts, to_shares};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// The shape of the covariances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covariance {
    /// Every part its own ellipse.
    #[default]
    Full,
    /// One ellipse for all parts.
    Tied,
    /// Every part its own ellipse along the axes.
    Diagonal,
    /// Every part its own circle.
    Spherical,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_clusters` | 2 | 1 to 10,000 | parts of the mixture |
/// | `covariance` | full | full, tied, diagonal, spherical | the shape of the parts |
/// | `n_starts` | 1 | 1 to 1,000 | starts, of which the likeliest end is kept |
/// | `max_iter` | 100 | 1 to 100,000 | steps before giving up |
/// | `tolerance` | 1e-3 | 0 to 1 | growth of the mean log density that ends the steps |
/// | `floor` | 1e-6 | 0 to 1e9 | added to every variance, so that no part shrinks to a point |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, cluster::gaussian_mixture::GaussianMixture};
/// let x = Matrix::from_columns(&[[0.0, 0.2, -0.2, 0.1, 9.0, 9.3, 8.8, 9.1]]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 8], vec![]).unwrap();
/// let model = GaussianMixture::default().fit(&Run::new(0), &data).unwrap();
/// let p = model.predict_proba(&Matrix::from_rows(&[[0.05]]).unwrap()).unwrap();
/// assert!(p.row(0).iter().any(|p| *p > 0.999));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianMixture {
    /// Parts.
    pub n_clusters: usize,
    /// Their shape.
    pub covariance: Covariance,
    /// How many starts are tried.
    pub n_starts: usize,
    /// Steps before giving up.
    pub max_iter: usize,
    /// Where the steps end.
    pub tolerance: f64,
    /// Added to every variance.
    pub floor: f64,
}

impl Default for GaussianMixture {
    fn default() -> Self {
        Self {
            n_clusters: 2,
            covariance: Covariance::Full,
            n_starts: 1,
            max_iter: 100,
            tolerance: 1e-3,
            floor: 1e-6,
        }
    }
}

/// What [`GaussianMixture`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedGaussianMixture {
    parts: Parts,
    /// The training rows' mean log density and weight.
    mean_log_density: f64,
    total: f64,
    n_iter: usize,
    converged: bool,
    names: Vec<String>,
}

impl GaussianMixture {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let k = self.n_clusters;
        check.require((1..=10_000).contains(&k), "n_clusters", k, "1 to 10000");
        check.require((1..=1000).contains(&self.n_starts), "n_starts", self.n_starts, "1 to 1000");
        check.require((1..=100_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 100000");
        check.require((0.0..=1.0).contains(&self.tolerance), "tolerance", self.tolerance, "0 to 1");
        check.require((0.0..=1e9).contains(&self.floor), "floor", self.floor, "0 to 1e9");
        check.finish()
    }

    /// Fits. Fails on fewer rows than parts (and on fewer than two), on missing values, on values too large to be
    /// squared, and when a part shrinks so far that its covariance has no root. Not reaching the tolerance is no error
    /// but the flag [`FittedGaussianMixture::converged`].
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedGaussianMixture> {
        self.check()?;
        let k = self.n_clusters;
        run.install(|| {
            check_data(run, data, "a Gaussian mixture", k.max(2))?;
            let mut best: Option<FittedGaussianMixture> = None;
            for s in 0..self.n_starts {
                // On this run's threads, which are installed already.
                let mut start = run.quiet().with_threads(0);
                start.seed = run.seed.wrapping_add(s as u64);
                let centers = KMeans { n_clusters: k, ..KMeans::default() }.fit(&start, data)?;
                let label = centers.predict(data.x())?;
                let found = self.steps(run, data, &one_hot(&label, k)?)?;
                if best.as_ref().is_none_or(|b| found.mean_log_density > b.mean_log_density) {
                    best = Some(found);
                }
            }
            Ok(best.expect("there is at least one start"))
        })
    }

    /// Fits from the part that each row starts in; labels run from 0 and must be below `n_clusters`.
    ///
    /// Fails as [`GaussianMixture::fit`] does, and on labels that do not fit.
    pub fn fit_from(&self, run: &Run, data: &Dataset, label: &[usize]) -> Result<FittedGaussianMixture> {
        self.check()?;
        if label.len() != data.n_rows() {
            return Err(Error::Invalid(format!("{} rows but {} labels", data.n_rows(), label.len())));
        }
        run.install(|| {
            check_data(run, data, "a Gaussian mixture", self.n_clusters.max(2))?;
            self.steps(run, data, &one_hot(label, self.n_clusters)?)
        })
    }

    fn steps(&self, run: &Run, data: &Dataset, start: &[f64]) -> Result<FittedGaussianMixture> {
        let (x, weight, k) = (data.x(), data.weight(), self.n_clusters);
        let total = weight.map_or(data.n_rows() as f64, |w| w.iter().sum());
        let improve = |share: &[f64]| Parts::from_shares(x, weight, share, k, self.covariance, self.floor);
        let mut parts = improve(start)?;
        let (mut n_iter, mut converged, mut before) = (0, false, f64::NEG_INFINITY);
        while n_iter < self.max_iter && !converged {
            run.check()?;
            n_iter += 1;
            let expected = parts.expect(x, weight);
            parts = improve(&expected.share)?;
            let now = expected.log_likelihood / total;
            converged = (now - before).abs() < self.tolerance;
            before = now;
        }
        let mean_log_density = parts.expect(x, weight).log_likelihood / total;
        let names = data.names().to_vec();
        Ok(FittedGaussianMixture { parts, mean_log_density, total, n_iter, converged, names })
    }
}

fn one_hot(label: &[usize], k: usize) -> Result<Vec<f64>> {
    let mut share = vec![0.0; label.len() * k];
    for (i, &c) in label.iter().enumerate() {
        if c >= k {
            return Err(Error::Invalid(format!("row {i} starts in part {c} of {k}; parts count from 0")));
        }
        share[i * k + c] = 1.0;
    }
    Ok(share)
}

impl FittedGaussianMixture {
    /// The weights of the parts; they sum to 1.
    pub fn shares(&self) -> &[f64] {
        &self.parts.share
    }

    /// The means, one per row.
    pub fn means(&self) -> &Matrix {
        &self.parts.means
    }

    /// The covariances: full, `d × d` numbers per part; tied, once `d × d`; diagonal, `d` per part; spherical, one per
    /// part.
    pub fn covariances(&self) -> &[f64] {
        &self.parts.covariance
    }

    /// Steps of the start that was kept.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// Whether the steps ended by the tolerance and not by their number.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// The mean log density of the training rows.
    pub fn mean_log_density(&self) -> f64 {
        self.mean_log_density
    }

    /// Free parameters.
    pub fn n_parameters(&self) -> usize {
        let (k, d) = (self.parts.share.len(), self.parts.means.n_cols());
        let covariance = match self.parts.shape {
            Covariance::Full => k * d * (d + 1) / 2,
            Covariance::Tied => d * (d + 1) / 2,
            Covariance::Diagonal => k * d,
            Covariance::Spherical => k,
        };
        covariance + k * d + k - 1
    }

    /// Schwarz 1978: `p ln n − 2 ln L` of the training rows; the smaller, the better.
    pub fn bic(&self) -> f64 {
        self.n_parameters() as f64 * self.total.ln() - 2.0 * self.total * self.mean_log_density
    }

    /// Akaike 1974: `2 p − 2 ln L` of the training rows; the smaller, the better.
    pub fn aic(&self) -> f64 {
        2.0 * self.n_parameters() as f64 - 2.0 * self.total * self.mean_log_density
    }

    /// The probability of every part, one row per row of `x`. Fails on another width, and on NaN or infinite values.
    pub fn predict_proba(&self, x: &Matrix) -> Result<Matrix> {
        Ok(self.look(x)?.0)
    }

    /// The log density of every row; lower is more unusual.
    pub fn log_density(&self, x: &Matrix) -> Result<Vec<f64>> {
        Ok(self.look(x)?.1)
    }

    /// The likeliest part of every row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<usize>> {
        let best = |row: &[f64]| (0..row.len()).fold(0, |b, c| if row[c] > row[b] { c } else { b });
        Ok(self.predict_proba(x)?.rows().map(best).collect())
    }

    fn look(&self, x: &Matrix) -> Result<(Matrix, Vec<f64>)> {
        check_new(x, &self.names, "the Gaussian mixture")?;
        let mut out = Matrix::zeros(x.n_rows(), self.parts.share.len());
        let mut gap = vec![0.0; x.n_cols()];
        let log = (0..x.n_rows())
            .map(|i| {
                let row = out.row_mut(i);
                self.parts.log_joint(x.row(i), &mut gap, row);
                // Squares of extreme rows overflow; they are then infinitely unlikely everywhere.
                row.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f64::NEG_INFINITY);
                to_shares(row)
            })
            .collect();
        Ok((out, log))
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "gaussian_mixture",
    summary: "A mixture of normal distributions; gives the probability of every cluster.",
    summary_zh: "高斯混合模型：给出每个簇的概率。",
    source: "Dempster, Laird and Rubin 1977",
    tasks: &[Task::Clustering],
    params: &[
        ParamSpec {
            name: "n_clusters",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "2",
            summary: "parts of the mixture",
        },
        ParamSpec {
            name: "covariance",
            kind: ParamKind::Choice(&["full", "tied", "diagonal", "spherical"]),
            default: "full",
            summary: "the shape of the parts",
        },
        ParamSpec {
            name: "n_starts",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "1",
            summary: "starts, of which the likeliest end is kept",
        },
        ParamSpec {
            name: "max_iter",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "100",
            summary: "steps before giving up",
        },
        ParamSpec {
            name: "tolerance",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "1e-3",
            summary: "growth of the mean log density that ends the steps",
        },
        ParamSpec {
            name: "floor",
            kind: ParamKind::Number { min: 0.0, max: 1e9 },
            default: "1e-6",
            summary: "added to every variance, so that no part shrinks to a point",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: true,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let params: GaussianMixture = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedGaussianMixture>("Gaussian mixture", saved),
};

impl Learner for GaussianMixture {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedGaussianMixture {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict_proba(x)
    }

    fn save(&self) -> Result<Value> {
        save("Gaussian mixture", self)
    }
}
