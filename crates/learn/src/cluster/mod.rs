//! Groups of rows without a target: k-means, hierarchies, densities, mixtures, and the measures that judge them.
//!
//! | method | shape of a cluster | number of clusters | rows it is meant for |
//! |---|---|---|---|
//! | [`kmeans`], [`mini_batch`] | round, of like size | given, or [`choose`] | millions |
//! | [`hierarchical`] | by linkage | by number or height, afterwards | thousands |
//! | [`dbscan`] | any, of one density | found | hundreds of thousands |
//! | [`hdbscan`] | any, of several densities | found | tens of thousands |
//! | [`gaussian_mixture`] | ellipses, soft | given, or by BIC | hundreds of thousands |
//!
//! All compare rows by Euclidean distance, so columns should be brought to one scale first. The target of the data set
//! is ignored.

pub mod choose;
pub mod dbscan;
pub mod gaussian_mixture;
pub mod hdbscan;
pub mod hierarchical;
mod kd_tree;
pub mod kmeans;
pub mod measures;
pub mod mini_batch;
pub(crate) mod tiles;

use crate::matrix::{Dataset, Matrix};
use tradewind_core::{Error, Result, Run};

/// Checks what all clusterings ask of the data, and gives the weighted means of the columns.
///
/// Fails on no columns, on missing values and categories, on fewer than `rows` rows of positive weight, and on values whose squared
/// distances would not be finite.
pub(crate) fn check_data(run: &Run, data: &Dataset, what: &str, rows: usize) -> Result<Vec<f64>> {
    run.check()?;
    data.need_numbers(what)?;
    if data.x().n_cols() == 0 {
        return Err(Error::NotEnoughData { what: format!("{what}: columns"), needed: 1, got: 0 });
    }
    data.need_rows(what, rows)?;
    let means = means(data.x(), data.weight());
    // The largest squared distance of two rows is at most four times the sum over the columns' largest gaps.
    let mut widest = vec![0.0_f64; means.len()];
    for row in data.x().rows() {
        for ((w, v), m) in widest.iter_mut().zip(row).zip(&means) {
            *w = w.max((v - m).abs());
        }
    }
    let total: f64 = widest.iter().map(|w| w * w).sum::<f64>() * 4.0 * data.n_rows() as f64;
    if !total.is_finite() || means.iter().any(|m| !m.is_finite()) {
        let j = (0..means.len()).fold(0, |b, j| if widest[j] > widest[b] { j } else { b });
        return Err(Error::Invalid(format!(
            "column `{}` has values too large to be squared and summed; give it in larger units",
            data.names()[j]
        )));
    }
    Ok(means)
}

/// The weighted means of the columns, summed over chunks in order.
pub(crate) fn means(x: &Matrix, weight: Option<&[f64]>) -> Vec<f64> {
    use rayon::prelude::*;
    let (n, p) = (x.n_rows(), x.n_cols());
    let parts: Vec<(Vec<f64>, f64)> = (0..n.div_ceil(MEAN_ROWS))
        .into_par_iter()
        .map(|c| {
            let (mut sums, mut mass) = (vec![0.0; p], 0.0);
            for i in c * MEAN_ROWS..((c + 1) * MEAN_ROWS).min(n) {
                let w = weight.map_or(1.0, |w| w[i]);
                mass += w;
                for (s, v) in sums.iter_mut().zip(x.row(i)) {
                    *s += w * v;
                }
            }
            (sums, mass)
        })
        .collect();
    let (mut sums, mut mass) = (vec![0.0; p], 0.0);
    for (part, w) in &parts {
        mass += w;
        sums.iter_mut().zip(part).for_each(|(s, v)| *s += v);
    }
    sums.iter_mut().for_each(|s| *s /= mass);
    sums
}

/// Rows per chunk of a mean; fixed, since the rounding of the result depends on it.
const MEAN_ROWS: usize = 4096;

/// A list of clusters as the one column that [`FittedLearner::predict`](crate::FittedLearner::predict) gives.
pub(crate) fn label_column(labels: &[i64]) -> Result<Matrix> {
    crate::learner::one_column(labels.iter().map(|l| *l as f64).collect())
}

/// Fails on another width than was fitted and on NaN or infinite values; for `predict`.
pub(crate) fn check_new(x: &Matrix, names: &[String], what: &str) -> Result<()> {
    x.check_width(names.len(), what)?;
    x.check_finite(names)
}
