//! One round of k-means: every row to its nearest centre, every centre to the mean of its rows.

use crate::cluster::tiles::{self, LANES, Points, Tiles, square_distance};
use rayon::prelude::*;

/// Tiles per chunk while the centres are small; fixed, since the rounding of the result depends on it.
const CHUNK_TILES: usize = 512;

/// Tiles whose labels are found at once, on the stack.
const SPAN: usize = 32;

/// The rows, their weights, and the clusters they are in.
pub(crate) struct Rows<'a> {
    pub(crate) tiles: &'a Tiles,
    /// One per lane; 0 behind the last row.
    pub(crate) weight: &'a [f64],
    /// Whether all weights of rows are 1.
    pub(crate) unweighted: bool,
}

impl Rows<'_> {
    /// Tiles per chunk: many small sums would take more memory than the data.
    pub(crate) fn chunk_tiles(&self, k: usize) -> usize {
        match k * self.tiles.n_cols() <= 4096 {
            true => CHUNK_TILES,
            false => CHUNK_TILES.max(self.tiles.n_tiles().div_ceil(32)),
        }
    }
}

/// The sums that a round gives.
#[derive(Clone)]
pub(crate) struct Sums {
    /// Weighted sums of the rows of each cluster.
    pub(crate) sums: Vec<f64>,
    /// Weight of each cluster.
    pub(crate) mass: Vec<f64>,
    /// Weighted sum of squared distances to the nearest centre.
    pub(crate) inertia: f64,
    /// Whether a row changed its cluster.
    pub(crate) changed: bool,
}

impl Sums {
    pub(crate) fn new(k: usize, n_cols: usize) -> Self {
        Self { sums: vec![0.0; k * n_cols], mass: vec![0.0; k], inertia: 0.0, changed: false }
    }

    /// Adds the chunks' sums in order.
    pub(crate) fn total(parts: &[Self]) -> Self {
        let mut total = parts[0].clone();
        for part in &parts[1..] {
            total.sums.iter_mut().zip(&part.sums).for_each(|(t, v)| *t += v);
            total.mass.iter_mut().zip(&part.mass).for_each(|(t, v)| *t += v);
            total.inertia += part.inertia;
            total.changed |= part.changed;
        }
        total
    }

    /// Adds the rows of one tile to the sums of their clusters.
    #[inline(always)]
    pub(crate) fn add_tile(
        &mut self,
        tile: &[f64],
        label: &[u32],
        weight: &[f64],
        n_cols: usize,
        ones: bool,
    ) {
        for lane in 0..label.len() {
            let (c, w) = (label[lane] as usize, weight[lane]);
            let sums = &mut self.sums[c * n_cols..(c + 1) * n_cols];
            if ones {
                for (s, x) in sums.iter_mut().zip(tile.as_chunks::<LANES>().0) {
                    *s += x[lane];
                }
            } else {
                for (s, x) in sums.iter_mut().zip(tile.as_chunks::<LANES>().0) {
                    *s += w * x[lane];
                }
            }
            self.mass[c] += w;
        }
    }
}

/// Moves every row to its nearest centre; `label` has one place per lane. `want_sums` is false for the last look.
pub(crate) fn assign(rows: &Rows<'_>, centers: &[f64], k: usize, label: &mut [u32], want_sums: bool) -> Sums {
    let n_cols = rows.tiles.n_cols();
    let points = Points::new(centers, k, n_cols);
    let chunk_tiles = rows.chunk_tiles(k);
    let parts: Vec<Sums> = label
        .par_chunks_mut(chunk_tiles * LANES)
        .enumerate()
        .map(|(c, label)| {
            let mut sums = Sums::new(k, n_cols);
            let mut new = [0_u32; SPAN * LANES];
            let mut far = [0.0; SPAN * LANES];
            let mut inertia = [0.0; LANES];
            for (s, label) in label.chunks_mut(SPAN * LANES).enumerate() {
                let first = c * chunk_tiles + s * SPAN;
                let n = label.len();
                let span = rows.tiles.span(first, first + n / LANES);
                tiles::nearest(span, &points, &mut new[..n], &mut far[..n]);
                sums.changed |= *label != new[..n];
                label.copy_from_slice(&new[..n]);
                let weight = &rows.weight[first * LANES..first * LANES + n];
                for (far, w) in far[..n].as_chunks::<LANES>().0.iter().zip(weight.as_chunks::<LANES>().0) {
                    for l in 0..LANES {
                        inertia[l] += w[l] * far[l];
                    }
                }
                if want_sums {
                    for t in 0..n / LANES {
                        let live = LANES.min(rows.tiles.n_rows() - (first + t) * LANES);
                        let tile = &span[t * n_cols * LANES..(t + 1) * n_cols * LANES];
                        let at = t * LANES..t * LANES + live;
                        sums.add_tile(tile, &new[at.clone()], &weight[at], n_cols, rows.unweighted);
                    }
                }
            }
            sums.inertia = inertia.iter().sum();
            sums
        })
        .collect();
    Sums::total(&parts)
}

/// The squared distance of every row to the nearest centre, with the rows' places; for what is rarely needed.
pub(crate) fn distances(rows: &Rows<'_>, centers: &[f64], k: usize) -> (Vec<u32>, Vec<f64>) {
    let points = Points::new(centers, k, rows.tiles.n_cols());
    let (mut label, mut far) = (vec![0; rows.weight.len()], vec![0.0; rows.weight.len()]);
    label
        .par_chunks_mut(CHUNK_TILES * LANES)
        .zip(far.par_chunks_mut(CHUNK_TILES * LANES))
        .enumerate()
        .for_each(|(c, (label, far))| {
            let from = c * CHUNK_TILES;
            tiles::nearest(rows.tiles.span(from, from + label.len() / LANES), &points, label, far);
        });
    (label, far)
}

/// The new centres: the means of the sums. A cluster that lost all its rows takes the row that lies farthest from its
/// own centre (as scikit-learn does), unless every row lies on a centre; then it stays where it is.
pub(crate) fn means(rows: &Rows<'_>, old: &[f64], k: usize, sums: &mut Sums) -> Vec<f64> {
    let d = rows.tiles.n_cols();
    let empty: Vec<usize> = (0..k).filter(|&c| sums.mass[c] <= 0.0).collect();
    if !empty.is_empty() {
        let (label, far) = distances(rows, old, k);
        let mut order: Vec<usize> =
            (0..rows.tiles.n_rows()).filter(|&i| rows.weight[i] > 0.0 && far[i] > 0.0).collect();
        // Of equally far rows the first.
        order.sort_by(|&a, &b| far[b].total_cmp(&far[a]).then(a.cmp(&b)));
        let mut row = vec![0.0; d];
        let mut order = order.into_iter();
        for &c in &empty {
            // A cluster must not lose its only row.
            let spare = |i: &usize| sums.mass[label[*i] as usize] > 1.000_001 * rows.weight[*i];
            let Some(i) = order.find(spare) else { break };
            rows.tiles.read_row(i, &mut row);
            let (w, from) = (rows.weight[i], label[i] as usize);
            for j in 0..d {
                sums.sums[from * d + j] -= w * row[j];
                sums.sums[c * d + j] = w * row[j];
            }
            sums.mass[from] -= w;
            sums.mass[c] = w;
        }
    }
    let mut new = old.to_vec();
    for c in (0..k).filter(|&c| sums.mass[c] > 0.0) {
        for j in 0..d {
            new[c * d + j] = sums.sums[c * d + j] / sums.mass[c];
        }
    }
    new
}

/// The sum over the centres of the squared way each went.
pub(crate) fn shift(old: &[f64], new: &[f64]) -> f64 {
    square_distance(old, new)
}
