//! Algorithm of k-means that skip most rows (Hamerly 2010): a row whose distance to its own centre is surely below its
//! distance to every other keeps its cluster unseen. The answer is that of Lloyd's rounds.

use super::lloyd::{Rows, Sums};
use crate::cluster::tiles::{self, LANES, Tiles, square_distance};
use crate::matrix::Matrix;
use rayon::prelude::*;
use tradewind_core::Result;

/// What is known of every row between rounds, one place per lane.
pub(crate) struct Bounds {
    /// At least the distance to the own centre.
    upper: Vec<f64>,
    /// At most the distance to the nearest other centre.
    lower: Vec<f64>,
}

/// Bounds grow by additions that round; a row is skipped only when this much surer than needed.
const SURE: f64 = 1.0 + 1e-9;

impl Bounds {
    /// Nothing known: the first round looks at every row.
    pub(crate) fn unknown(lanes: usize) -> Self {
        Self { upper: vec![f64::INFINITY; lanes], lower: vec![0.0; lanes] }
    }

    /// Moves every row to its nearest centre, as [`super::lloyd::assign`] does, but does not sum the inertia.
    pub(crate) fn assign(
        &mut self,
        rows: &Rows<'_>,
        centers: &[f64],
        k: usize,
        label: &mut [u32],
    ) -> Result<Sums> {
        let d = rows.tiles.n_cols();
        let matrix = Matrix::new(k, d, centers.to_vec())?;
        let center_tiles = Tiles::of(&matrix, &vec![0.0; d]);
        let half_gap: Vec<f64> = (0..k)
            .map(|a| {
                let others = (0..k).filter(|&b| b != a);
                others
                    .map(|b| square_distance(matrix.row(a), matrix.row(b)))
                    .fold(f64::INFINITY, f64::min)
                    .sqrt()
                    / 2.0
            })
            .collect();
        let chunk_tiles = rows.chunk_tiles(k);
        let parts: Vec<Sums> = label
            .par_chunks_mut(chunk_tiles * LANES)
            .zip(self.upper.par_chunks_mut(chunk_tiles * LANES))
            .zip(self.lower.par_chunks_mut(chunk_tiles * LANES))
            .enumerate()
            .map(|(c, ((label, upper), lower))| {
                let mut sums = Sums::new(k, d);
                let mut row = vec![0.0; d];
                let mut far = vec![0.0; center_tiles.n_tiles() * LANES];
                for t in 0..label.len() / LANES {
                    let tile_idx = c * chunk_tiles + t;
                    let live = LANES.min(rows.tiles.n_rows() - tile_idx * LANES);
                    for i in t * LANES..t * LANES + live {
                        let own = label[i] as usize;
                        let bound = half_gap[own].max(lower[i]);
                        if upper[i] * SURE < bound {
                            continue;
                        }
                        rows.tiles.read_row(tile_idx * LANES + i - t * LANES, &mut row);
                        if upper[i].is_finite() {
                            upper[i] = square_distance(&row, matrix.row(own)).sqrt();
                            if upper[i] * SURE < bound {
                                continue;
                            }
                        }
                        tiles::from_row(center_tiles.span(0, center_tiles.n_tiles()), &row, &mut far);
                        let (mut best, mut first, mut second) = (0, f64::INFINITY, f64::INFINITY);
                        for (b, &f) in far[..k].iter().enumerate() {
                            if f < first {
                                (best, second, first) = (b, first, f);
                            } else if f < second {
                                second = f;
                            }
                        }
                        upper[i] = first.sqrt();
                        lower[i] = second.sqrt();
                        sums.changed |= best != own;
                        label[i] = best as u32;
                    }
                    let tile = rows.tiles.span(tile_idx, tile_idx + 1);
                    let at = t * LANES..t * LANES + live;
                    let weight = &rows.weight[tile_idx * LANES..tile_idx * LANES + live];
                    sums.add_tile(tile, &label[at], weight, d, rows.unweighted);
                }
                sums
            })
            .collect();
        Ok(Sums::total(&parts))
    }

    /// Loosens the bounds by the way that the centres went.
    pub(crate) fn follow(&mut self, old: &[f64], new: &[f64], k: usize, label: &[u32]) {
        let d = old.len() / k;
        let way: Vec<f64> = (0..k)
            .map(|c| square_distance(&old[c * d..(c + 1) * d], &new[c * d..(c + 1) * d]).sqrt())
            .collect();
        let far = (0..k).fold(0, |b, c| if way[c] > way[b] { c } else { b });
        let second = (0..k).filter(|&c| c != far).map(|c| way[c]).fold(0.0, f64::max);
        self.upper.par_iter_mut().zip(&mut self.lower).zip(label).with_min_len(4096).for_each(
            |((upper, lower), &c)| {
                *upper += way[c as usize];
                *lower -= if c as usize == far { second } else { way[far] };
            },
        );
    }
}
