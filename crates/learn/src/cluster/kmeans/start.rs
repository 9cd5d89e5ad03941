//! Where k-means starts: k-means++ (Arthur and Vassilvitskii 2007) in its greedy form, or random rows.

use crate::cluster::tiles::{self, LANES, MAX_CANDIDATES, Points, Tiles};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use tradewind_core::{Result, Run};

/// Rows per chunk of the sums; fixed, since the rounding of the result depends on it.
const CHUNK_TILES: usize = 512;

/// The rows that k-means++ chooses.
///
/// The first is drawn by weight. Every further one is the best of `2 + ln k` candidates drawn in proportion to weight
/// times squared distance to the nearest row chosen so far; best is the one that leaves the smallest sum of these.
/// `weight` has one place per lane, 0 behind the last row.
pub(crate) fn plus_plus(
    run: &Run,
    rows: &Tiles,
    weight: &[f64],
    k: usize,
    rng: &mut impl Rng,
) -> Result<Vec<usize>> {
    let n_trials = 2 + (k as f64).ln() as usize;
    let first = draw(weight, &chunk_sums(weight, weight, |_, w| w), rng, |i| weight[i]);
    let mut chosen = vec![first];
    let mut closest = vec![f64::INFINITY; weight.len()];
    keep_closer(rows, first, &mut closest);
    while chosen.len() < k {
        run.check()?;
        let sums = chunk_sums(&closest, weight, |d, w| d * w);
        let candidates: Vec<usize> = match sums.iter().sum::<f64>() > 0.0 {
            true => (0..n_trials).map(|_| draw(weight, &sums, rng, |i| closest[i] * weight[i])).collect(),
            // All rows stand where a row was already chosen.
            false => vec![rng.random_range(0..rows.n_rows())],
        };
        let mut best = (f64::INFINITY, candidates[0]);
        for few in candidates.chunks(MAX_CANDIDATES) {
            let points = Points::new(&rows.rows(few), few.len(), rows.n_cols());
            for (potential, &row) in potentials(rows, &points, &closest, weight).iter().zip(few) {
                if *potential < best.0 {
                    best = (*potential, row);
                }
            }
        }
        keep_closer(rows, best.1, &mut closest);
        chosen.push(best.1);
    }
    Ok(chosen)
}

/// `k` different rows, each as likely as any other (by weight: those of weight 0 never while others are left).
pub(crate) fn random_rows(n_rows: usize, weight: &[f64], k: usize, rng: &mut impl Rng) -> Vec<usize> {
    let live: Vec<usize> = (0..n_rows).filter(|&i| weight[i] > 0.0).collect();
    rand::seq::index::sample(rng, live.len(), k.min(live.len())).iter().map(|i| live[i]).collect()
}

fn chunk_sums(a: &[f64], b: &[f64], value: impl Fn(f64, f64) -> f64 + Sync) -> Vec<f64> {
    a.par_chunks(CHUNK_TILES * LANES)
        .zip(b.par_chunks(CHUNK_TILES * LANES))
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| if *b > 0.0 { value(*a, *b) } else { 0.0 }).sum())
        .collect()
}

/// A row drawn in proportion to `value`, whose sums over chunks are given. Rows of weight 0 are never drawn.
fn draw(weight: &[f64], sums: &[f64], rng: &mut impl Rng, value: impl Fn(usize) -> f64) -> usize {
    let mut rest = rng.random::<f64>() * sums.iter().sum::<f64>();
    let mut last = None;
    for (c, sum) in sums.iter().enumerate() {
        // Rounding may leave a little behind the last chunk that has anything; it then gives its last row.
        let is_last = sums[c + 1..].iter().all(|s| *s <= 0.0);
        if rest >= *sum && !is_last {
            rest -= sum;
            continue;
        }
        for i in c * CHUNK_TILES * LANES..((c + 1) * CHUNK_TILES * LANES).min(weight.len()) {
            if weight[i] > 0.0 && value(i) > 0.0 {
                last = Some(i);
                rest -= value(i);
                if rest < 0.0 {
                    return i;
                }
            }
        }
        if let Some(i) = last {
            return i;
        }
    }
    weight.iter().position(|w| *w > 0.0).unwrap_or(0)
}

fn potentials(rows: &Tiles, points: &Points, closest: &[f64], weight: &[f64]) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = closest
        .par_chunks(CHUNK_TILES * LANES)
        .zip(weight.par_chunks(CHUNK_TILES * LANES))
        .enumerate()
        .map(|(c, (closest, weight))| {
            let from = c * CHUNK_TILES;
            tiles::potentials(rows.span(from, from + closest.len() / LANES), points, closest, weight)
        })
        .collect();
    let mut total = parts[0].clone();
    for part in &parts[1..] {
        total.iter_mut().zip(part).for_each(|(t, v)| *t += v);
    }
    total
}

fn keep_closer(rows: &Tiles, row: usize, closest: &mut [f64]) {
    let points = Points::new(&rows.rows(&[row]), 1, rows.n_cols());
    closest.par_chunks_mut(CHUNK_TILES * LANES).enumerate().for_each(|(c, closest)| {
        let (mut label, mut far) = (vec![0; closest.len()], vec![0.0; closest.len()]);
        let from = c * CHUNK_TILES;
        tiles::nearest(rows.span(from, from + closest.len() / LANES), &points, &mut label, &mut far);
        closest.iter_mut().zip(&far).for_each(|(c, f)| *c = c.min(*f));
    });
}
