//! How a table is learned: preparation, estimators of every family, choosing among them, explaining them.
//!
//! A [`Dataset`] is a feature [`Matrix`] with target, weights and names. An estimator is a plain struct of parameters
//! ([`Ridge`](linear::Ridge), [`Logistic`](logistic::Logistic)); its `fit(run, data)` gives what was learnt
//! (`FittedRidge`, `FittedLogistic`), which predicts, explains itself and is saved through serde. Preparation
//! ([`transform`], [`spline`], [`polynomial`]) is fitted too, on training rows only. Every estimator also stands in the
//! list [`CATALOG`] and is then reached in one way, through [`Learner`] and [`FittedLearner`]. Parameters are chosen by
//! [`search`] on the splits of [`crossval`], several models become one in [`ensemble`], and [`auto`] does all of this
//! within a budget. Models of LightGBM and XGBoost come in through [`import`]; [`explain`] tells what any fitted model
//! goes by.
//!
//! ```
//! use tradewind_core::Run;
//! use tradewind_learn::{Dataset, Matrix, logistic::Logistic};
//! let x = Matrix::from_columns(&[[-2.0, -1.0, 0.5, -0.5, 1.0, 2.0]]).unwrap();
//! let data = Dataset::new(x, vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0], vec!["momentum".into()]).unwrap();
//! let model = Logistic::default().fit(&Run::new(1), &data).unwrap();
//! let p = model.predict_proba(&Matrix::from_rows(&[[3.0]]).unwrap()).unwrap();
//! assert!(p.get(0, 1) > 0.8);
//! ```
//!
//! What it refuses to do: read files, look at the clock, or give a result that depends on the number of threads:
//! sums run over chunks of fixed size and are added in order.

pub mod augment;
pub mod auto;
pub mod boosting;
pub mod calibrate;
pub mod calibrated;
mod cholesky;
pub mod click_rate;
pub mod cluster;
pub mod crossval;
pub mod curves;
pub mod elastic_net;
pub mod ensemble;
mod exp;
pub mod explain;
pub mod faer_call;
pub mod forest;
pub mod frame;
pub mod glm;
pub mod huber;
pub mod import;
pub mod knn;
mod lbfgs;
pub mod learner;
pub mod linear;
pub mod linear_svm;
pub mod logistic;
pub mod matrix;
pub mod measure;
pub mod mlp;
pub mod naive_bayes;
pub mod neighbours;
mod newton;
pub mod polynomial;
pub mod prepare;
mod qr;
pub mod quantile;
pub mod reduce;
pub mod ridge_cv;
pub mod search;
mod smooth;
pub mod spline;
pub mod svm;
pub mod transform;
pub mod tree;

pub use frame::Frame;
pub use learner::{Bears, FittedLearner, Learner, LearnerEntry, Task};
pub use matrix::{ColumnKind, Dataset, Matrix};
pub use measure::Measure;
/// Student's t, F and the normal distribution: they are core's, as experiments and monitoring need them too.
pub use tradewind_core::distribution as student;

use tradewind_core::{Error, Result};

/// All estimators, in the order in which they are shown.
pub const CATALOG: &[LearnerEntry] = &[
    boosting::ENTRY,
    forest::RANDOM_FOREST,
    forest::EXTRA_TREES,
    linear::OLS,
    linear::RIDGE,
    ridge_cv::ENTRY,
    elastic_net::LASSO,
    elastic_net::ENTRY,
    polynomial::ENTRY,
    huber::ENTRY,
    quantile::ENTRY,
    glm::POISSON,
    glm::GAMMA,
    glm::TWEEDIE,
    logistic::ENTRY,
    svm::ENTRY,
    linear_svm::ENTRY,
    naive_bayes::GAUSSIAN,
    naive_bayes::MULTINOMIAL,
    naive_bayes::COMPLEMENT,
    naive_bayes::BERNOULLI,
    knn::ENTRY,
    mlp::ENTRY,
    click_rate::ENTRY,
    forest::isolation::ENTRY,
    cluster::kmeans::ENTRY,
    cluster::mini_batch::ENTRY,
    cluster::hierarchical::ENTRY,
    cluster::dbscan::ENTRY,
    cluster::hdbscan::ENTRY,
    cluster::gaussian_mixture::ENTRY,
];

/// The catalogue entry of that name; the error lists all names.
///
/// ```
/// assert_eq!(tradewind_learn::entry("ridge").unwrap().name, "ridge");
/// assert!(tradewind_learn::entry("rigde").unwrap_err().to_string().contains("ridge"));
/// ```
pub fn entry(name: &str) -> Result<&'static LearnerEntry> {
    CATALOG.iter().find(|e| e.name == name).ok_or_else(|| Error::NotFound {
        what: "learner",
        name: name.to_owned(),
        known: CATALOG.iter().map(|e| e.name).collect::<Vec<_>>().join(", "),
    })
}
