//! How good a clustering is: by itself, and against known groups.
//!
//! Labels are whole numbers; what they are called does not matter. The measures of a clustering by itself look at
//! Euclidean distances; leave rows without a cluster (−1) out before asking.

use super::tiles::{self, LANES, Tiles, square_distance};
use crate::matrix::Matrix;
use rayon::prelude::*;
use std::collections::BTreeMap;
use tradewind_core::{Error, Result, Run};

/// The labels as 0, 1, 2, … in order of their value, and how many there are.
fn ranked(labels: &[i64]) -> (Vec<usize>, usize) {
    let mut names: BTreeMap<i64, usize> = labels.iter().map(|l| (*l, 0)).collect();
    names.values_mut().enumerate().for_each(|(rank, v)| *v = rank);
    (labels.iter().map(|l| names[l]).collect(), names.len())
}

/// Checks what the inner measures need: one label per row, finite values, and from 2 to n − 1 clusters.
fn checked(x: &Matrix, labels: &[i64], what: &str) -> Result<(Vec<usize>, usize)> {
    if labels.len() != x.n_rows() {
        return Err(Error::Invalid(format!("{} rows but {} labels", x.n_rows(), labels.len())));
    }
    x.check_finite(&[])?;
    let (label, k) = ranked(labels);
    if k < 2 || k >= labels.len() {
        return Err(Error::Invalid(format!(
            "{what} needs from 2 to one less clusters than rows; there are {k} clusters of {} rows",
            labels.len()
        )));
    }
    Ok((label, k))
}

/// The silhouette of every row (Rousseeuw 1987): `(b − a) / max(a, b)`, where `a` is the mean distance to the other
/// rows of its cluster and `b` the smallest mean distance to the rows of another; 0 for the only row of a cluster.
/// From −1 (wrong cluster) to 1. The work grows with the square of the rows; see [`sampled_silhouette`].
///
/// Fails on fewer than two clusters or as many as rows, and on values that are not finite.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Matrix, cluster::measures::silhouettes};
/// let x = Matrix::from_columns(&[[0.0, 1.0, 10.0, 11.0]]).unwrap();
/// let s = silhouettes(&Run::new(0), &x, &[0, 0, 1, 1]).unwrap();
/// assert!((s[0] - 9.5 / 10.5).abs() < 1e-12);
/// ```
pub fn silhouettes(run: &Run, x: &Matrix, labels: &[i64]) -> Result<Vec<f64>> {
    let (label, k) = checked(x, labels, "the silhouette")?;
    let mut size = vec![0_usize; k];
    label.iter().for_each(|&c| size[c] += 1);
    // Rows of one cluster together, so that a cluster's distances are one plain sum.
    let mut order: Vec<usize> = (0..label.len()).collect();
    order.sort_by_key(|&i| label[i]);
    let clusters: Vec<Tiles> = order
        .chunk_by(|a, b| label[*a] == label[*b])
        .map(|rows| Tiles::of(&x.select_rows(rows), &vec![0.0; x.n_cols()]))
        .collect();
    run.install(|| {
        (0..label.len())
            .into_par_iter()
            .with_min_len(16)
            .map(|i| {
                run.check()?;
                let own = label[i];
                if size[own] == 1 {
                    return Ok(0.0);
                }
                let mut far = Vec::new();
                let mut mean = |c: usize| {
                    let tiles = &clusters[c];
                    far.resize(tiles.n_tiles() * LANES, 0.0);
                    tiles::from_row(tiles.span(0, tiles.n_tiles()), x.row(i), &mut far);
                    far[..size[c]].iter().map(|f| f.sqrt()).sum::<f64>()
                };
                let a = mean(own) / (size[own] - 1) as f64;
                let b = (0..k)
                    .filter(|&c| c != own)
                    .map(|c| mean(c) / size[c] as f64)
                    .fold(f64::INFINITY, f64::min);
                let top = a.max(b);
                Ok(if top > 0.0 && top.is_finite() { (b - a) / top } else { 0.0 })
            })
            .collect()
    })
}

/// The mean of [`silhouettes`].
pub fn silhouette(run: &Run, x: &Matrix, labels: &[i64]) -> Result<f64> {
    let all = silhouettes(run, x, labels)?;
    Ok(all.iter().sum::<f64>() / all.len() as f64)
}

/// The mean silhouette of `rows` rows drawn without replacement, among themselves; of all when there are no more.
///
/// Fails as [`silhouettes`] does, also when the rows drawn hold fewer than two clusters.
pub fn sampled_silhouette(run: &Run, x: &Matrix, labels: &[i64], rows: usize) -> Result<f64> {
    if labels.len() != x.n_rows() || rows >= x.n_rows() {
        return silhouette(run, x, labels);
    }
    let mut drawn = rand::seq::index::sample(&mut run.rng(SAMPLE), x.n_rows(), rows).into_vec();
    drawn.sort_unstable();
    let labels: Vec<i64> = drawn.iter().map(|&i| labels[i]).collect();
    silhouette(run, &x.select_rows(&drawn), &labels)
}

/// The random stream of the sample.
const SAMPLE: u64 = 0x7369_6c68;

/// The means of the clusters and their sizes.
fn centers(x: &Matrix, label: &[usize], k: usize) -> (Matrix, Vec<f64>) {
    let (mut sums, mut size) = (Matrix::zeros(k, x.n_cols()), vec![0.0; k]);
    for (row, &c) in x.rows().zip(label) {
        size[c] += 1.0;
        sums.row_mut(c).iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    for c in 0..k {
        sums.row_mut(c).iter_mut().for_each(|s| *s /= size[c]);
    }
    (sums, size)
}

/// Caliński and Harabasz 1974: spread between clusters over spread within, each per degree of freedom. Higher is
/// better; infinite where the rows of every cluster are equal.
pub fn calinski_harabasz(x: &Matrix, labels: &[i64]) -> Result<f64> {
    let (label, k) = checked(x, labels, "the Calinski-Harabasz index")?;
    let (means, size) = centers(x, &label, k);
    let middle = super::means(x, None);
    let within: f64 = x.rows().zip(&label).map(|(row, &c)| square_distance(row, means.row(c))).sum();
    let between: f64 = (0..k).map(|c| size[c] * square_distance(means.row(c), &middle)).sum();
    Ok(between / (k - 1) as f64 / (within / (label.len() - k) as f64))
}

/// Davies and Bouldin 1979: the mean over clusters of the worst `(sₐ + s_b) / d(a, b)`, where `s` is the mean distance
/// to the centre. Lower is better. Two clusters with one centre count as infinitely bad.
pub fn davies_bouldin(x: &Matrix, labels: &[i64]) -> Result<f64> {
    let (label, k) = checked(x, labels, "the Davies-Bouldin index")?;
    let (means, size) = centers(x, &label, k);
    let mut spread = vec![0.0; k];
    for (row, &c) in x.rows().zip(&label) {
        spread[c] += square_distance(row, means.row(c)).sqrt() / size[c];
    }
    let worst = |a: usize| {
        (0..k)
            .filter(|&b| b != a)
            .map(|b| {
                let sum = spread[a] + spread[b];
                // Clusters of equal rows have no spread and are not bad, wherever they stand.
                if sum > 0.0 { sum / square_distance(means.row(a), means.row(b)).sqrt() } else { 0.0 }
            })
            .fold(0.0, f64::max)
    };
    Ok((0..k).map(worst).sum::<f64>() / k as f64)
}

/// How often each pair of labels comes together, and how often each label comes.
struct Pairs {
    both: BTreeMap<(usize, usize), f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    n: f64,
}

fn pairs(a: &[i64], b: &[i64]) -> Result<Pairs> {
    if a.len() != b.len() {
        return Err(Error::Invalid(format!("{} labels against {}", a.len(), b.len())));
    }
    if a.is_empty() {
        return Err(Error::NotEnoughData { what: "comparing clusterings".into(), needed: 1, got: 0 });
    }
    let ((a, n_a), (b, n_b)) = (ranked(a), ranked(b));
    let mut pairs = Pairs { both: BTreeMap::new(), a: vec![0.0; n_a], b: vec![0.0; n_b], n: a.len() as f64 };
    for (&a, &b) in a.iter().zip(&b) {
        *pairs.both.entry((a, b)).or_default() += 1.0;
        pairs.a[a] += 1.0;
        pairs.b[b] += 1.0;
    }
    Ok(pairs)
}

/// The adjusted Rand index (Hubert and Arabie 1985): the share of pairs of rows on which both clusterings agree, less
/// what chance gives. 1 for equal clusterings, about 0 for unrelated ones. Fails on no rows or different numbers of
/// them.
///
/// ```
/// use tradewind_learn::cluster::measures::adjusted_rand;
/// assert_eq!(adjusted_rand(&[0, 0, 1, 1], &[7, 7, 3, 3]).unwrap(), 1.0);
/// assert!((adjusted_rand(&[0, 0, 1, 2], &[0, 0, 1, 1]).unwrap() - 4.0 / 7.0).abs() < 1e-12);
/// ```
pub fn adjusted_rand(a: &[i64], b: &[i64]) -> Result<f64> {
    let p = pairs(a, b)?;
    let two = |counts: &mut dyn Iterator<Item = f64>| counts.map(|c| c * (c - 1.0) / 2.0).sum::<f64>();
    let both = two(&mut p.both.values().copied());
    let (in_a, in_b) = (two(&mut p.a.iter().copied()), two(&mut p.b.iter().copied()));
    let all = p.n * (p.n - 1.0) / 2.0;
    let expected = if all > 0.0 { in_a * in_b / all } else { 0.0 };
    let most = f64::midpoint(in_a, in_b);
    // Both put all rows together or each alone: they are equal.
    Ok(if most - expected == 0.0 { 1.0 } else { (both - expected) / (most - expected) })
}

/// Normalised mutual information: `I(a; b) / ((H(a) + H(b)) / 2)`, from 0 to 1. Fails on no rows or different numbers
/// of them.
pub fn normalised_mutual_information(a: &[i64], b: &[i64]) -> Result<f64> {
    let p = pairs(a, b)?;
    if p.a.len() == 1 && p.b.len() == 1 {
        return Ok(1.0);
    }
    let information: f64 =
        p.both.iter().map(|((a, b), c)| c / p.n * (c * p.n / (p.a[*a] * p.b[*b])).ln()).sum();
    let entropy = |counts: &[f64]| -counts.iter().map(|c| c / p.n * (c / p.n).ln()).sum::<f64>();
    let mean = f64::midpoint(entropy(&p.a), entropy(&p.b));
    Ok(if information <= f64::EPSILON { 0.0 } else { (information / mean).clamp(0.0, 1.0) })
}
