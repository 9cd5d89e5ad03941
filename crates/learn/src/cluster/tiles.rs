//! Rows in tiles of eight, so that one instruction works on eight rows, and the distances computed on them.
//!
//! Every distance is `Σⱼ (xⱼ − cⱼ)²`, added in the order of the columns and without fused operations. Wider registers
//! therefore give the same bits as narrow ones, and a row has the same distance wherever it stands.

use crate::matrix::Matrix;
use rayon::prelude::*;

/// Rows of one tile.
pub(crate) const LANES: usize = 8;

/// Points compared with a tile at once; their running sums fill the registers.
const POINTS: usize = 4;

/// Rows as tiles: the eight values of one column lie together, tile after tile.
///
/// Invariant: `values` holds `n_tiles * n_cols * LANES` numbers; the lanes behind the last row repeat it.
pub(crate) struct Tiles {
    n_rows: usize,
    n_cols: usize,
    values: Vec<f64>,
}

impl Tiles {
    /// The rows of `x` less `shift`.
    pub(crate) fn of(x: &Matrix, shift: &[f64]) -> Self {
        let (n_rows, n_cols) = (x.n_rows(), x.n_cols());
        let size = n_cols * LANES;
        let mut values = vec![0.0; n_rows.div_ceil(LANES) * size];
        if size > 0 {
            // 64 tiles at a time keep the cost of handing out work small.
            values.par_chunks_mut(64 * size).enumerate().for_each(|(c, chunk)| {
                for (t, tile) in chunk.chunks_exact_mut(size).enumerate() {
                    let first = (c * 64 + t) * LANES;
                    for lane in 0..LANES {
                        let row = x.row((first + lane).min(n_rows - 1));
                        for j in 0..n_cols {
                            tile[j * LANES + lane] = row[j] - shift[j];
                        }
                    }
                }
            });
        }
        Self { n_rows, n_cols, values }
    }

    /// Rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns.
    pub(crate) fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Tiles.
    pub(crate) fn n_tiles(&self) -> usize {
        self.n_rows.div_ceil(LANES)
    }

    /// The values of the tiles `from..to`.
    pub(crate) fn span(&self, from: usize, to: usize) -> &[f64] {
        let size = self.n_cols * LANES;
        &self.values[from * size..to * size]
    }

    /// Copies row `i` into `out`.
    pub(crate) fn read_row(&self, i: usize, out: &mut [f64]) {
        let at = i / LANES * self.n_cols * LANES + i % LANES;
        for (j, v) in out.iter_mut().enumerate() {
            *v = self.values[at + j * LANES];
        }
    }

    /// Puts `row` in the place of row `i`.
    pub(crate) fn write_row(&mut self, i: usize, row: &[f64]) {
        let at = i / LANES * self.n_cols * LANES + i % LANES;
        for (j, v) in row.iter().enumerate() {
            self.values[at + j * LANES] = *v;
        }
    }

    /// The rows named, one after the other.
    pub(crate) fn rows(&self, which: &[usize]) -> Vec<f64> {
        let mut out = vec![0.0; which.len() * self.n_cols];
        for (k, &i) in which.iter().enumerate() {
            self.read_row(i, &mut out[k * self.n_cols..(k + 1) * self.n_cols]);
        }
        out
    }
}

/// Points to compare tiles with, in blocks of [`POINTS`] whose columns lie together. Places without a point are
/// infinitely far.
pub(crate) struct Points {
    n: usize,
    n_cols: usize,
    blocks: Vec<f64>,
}

impl Points {
    /// From `n` points of `n_cols` numbers, one after the other.
    pub(crate) fn new(points: &[f64], n: usize, n_cols: usize) -> Self {
        let mut blocks = vec![f64::INFINITY; n.div_ceil(POINTS) * n_cols * POINTS];
        for c in 0..n {
            let at = c / POINTS * n_cols * POINTS + c % POINTS;
            for j in 0..n_cols {
                blocks[at + j * POINTS] = points[c * n_cols + j];
            }
        }
        Self { n, n_cols, blocks }
    }
}

type Distances = [[f64; LANES]; POINTS];

#[inline(always)]
fn block_distances(tile: &[f64], block: &[f64]) -> Distances {
    let mut sums = [[0.0; LANES]; POINTS];
    for (x, c) in tile.as_chunks::<LANES>().0.iter().zip(block.as_chunks::<POINTS>().0) {
        for p in 0..POINTS {
            for l in 0..LANES {
                let gap = x[l] - c[p];
                sums[p][l] += gap * gap;
            }
        }
    }
    sums
}

/// For every row of the tiles the nearest point (the first of equals) and the squared distance to it.
#[inline(always)]
fn nearest_body(tiles: &[f64], points: &Points, label: &mut [u32], distance: &mut [f64]) {
    let (size, block) = (points.n_cols * LANES, points.n_cols * POINTS);
    let places = label.as_chunks_mut::<LANES>().0.iter_mut().zip(distance.as_chunks_mut::<LANES>().0);
    for (t, (label, distance)) in places.enumerate() {
        let tile = &tiles[t * size..(t + 1) * size];
        let mut best = [f64::INFINITY; LANES];
        // As floats, so that they are chosen by the same mask as the distances.
        let mut which = [0.0; LANES];
        for b in 0..points.n.div_ceil(POINTS) {
            let sums = block_distances(tile, &points.blocks[b * block..(b + 1) * block]);
            for p in 0..POINTS {
                let name = (b * POINTS + p) as f64;
                for l in 0..LANES {
                    let closer = sums[p][l] < best[l];
                    best[l] = if closer { sums[p][l] } else { best[l] };
                    which[l] = if closer { name } else { which[l] };
                }
            }
        }
        for l in 0..LANES {
            label[l] = which[l] as u32;
        }
        *distance = best;
    }
}

/// What a row counts for each of up to [`POINTS`] candidates: the smaller of its distance so far and that to the
/// candidate, summed over lanes and tiles into `sums[candidate * LANES + lane]`.
#[inline(always)]
fn potential_body(tiles: &[f64], points: &Points, closest: &[f64], weight: &[f64], sums: &mut [f64]) {
    let size = points.n_cols * LANES;
    let mut total = [[0.0; LANES]; POINTS];
    let rows = closest.as_chunks::<LANES>().0.iter().zip(weight.as_chunks::<LANES>().0);
    for (t, (closest, weight)) in rows.enumerate() {
        let far = block_distances(&tiles[t * size..(t + 1) * size], &points.blocks[..points.n_cols * POINTS]);
        for p in 0..POINTS {
            for l in 0..LANES {
                total[p][l] += weight[l] * if far[p][l] < closest[l] { far[p][l] } else { closest[l] };
            }
        }
    }
    for p in 0..points.n {
        sums[p * LANES..(p + 1) * LANES].copy_from_slice(&total[p]);
    }
}

/// The squared distances of one row to rows that stand in tiles, lane by lane: the other way around, for searches
/// that look at few rows.
#[inline(always)]
fn from_row_body(tiles: &[f64], row: &[f64], out: &mut [f64]) {
    let size = row.len() * LANES;
    // Four tiles at a time, so that one addition need not wait for the one before.
    for (b, out) in out.chunks_mut(POINTS * LANES).enumerate() {
        let block = &tiles[b * POINTS * size..];
        if let Ok(out) = <&mut [f64; POINTS * LANES]>::try_from(&mut *out) {
            let mut sums = [0.0; POINTS * LANES];
            for (j, x) in row.iter().enumerate() {
                for p in 0..POINTS {
                    let column = &block[p * size + j * LANES..p * size + (j + 1) * LANES];
                    for l in 0..LANES {
                        let gap = x - column[l];
                        sums[p * LANES + l] += gap * gap;
                    }
                }
            }
            *out = sums;
            continue;
        }
        for (p, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            for (x, column) in row.iter().zip(block[p * size..].as_chunks::<LANES>().0) {
                for l in 0..LANES {
                    let gap = x - column[l];
                    sums[l] += gap * gap;
                }
            }
            *out = sums;
        }
    }
}

/// The widest registers that the processor has.
#[derive(Clone, Copy)]
enum Width {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

fn width() -> Width {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return Width::Avx512;
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return Width::Avx2;
        }
    }
    Width::Plain
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Points, from_row_body, nearest_body, potential_body};

    #[target_feature(enable = "avx512f")]
    pub(super) fn from_row_avx512(tiles: &[f64], row: &[f64], out: &mut [f64]) {
        from_row_body(tiles, row, out);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn from_row_avx2(tiles: &[f64], row: &[f64], out: &mut [f64]) {
        from_row_body(tiles, row, out);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn nearest_avx512(tiles: &[f64], points: &Points, label: &mut [u32], distance: &mut [f64]) {
        nearest_body(tiles, points, label, distance);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn nearest_avx2(tiles: &[f64], points: &Points, label: &mut [u32], distance: &mut [f64]) {
        nearest_body(tiles, points, label, distance);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn potential_avx512(t: &[f64], points: &Points, closest: &[f64], w: &[f64], sums: &mut [f64]) {
        potential_body(t, points, closest, w, sums);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn potential_avx2(t: &[f64], points: &Points, closest: &[f64], w: &[f64], sums: &mut [f64]) {
        potential_body(t, points, closest, w, sums);
    }
}

/// For every row of `tiles` the nearest point (the first of equals) and its squared distance; `label` and `distance`
/// have one place per lane.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the wide registers are found at run time"))]
pub(crate) fn nearest(tiles: &[f64], points: &Points, label: &mut [u32], distance: &mut [f64]) {
    match width() {
        // SAFETY: `width` names a register width only after the processor was asked for it.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { wide::nearest_avx512(tiles, points, label, distance) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { wide::nearest_avx2(tiles, points, label, distance) },
        Width::Plain => nearest_body(tiles, points, label, distance),
    }
}

/// The squared distances of `row` to all rows of `tiles`, one place of `out` per lane.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the wide registers are found at run time"))]
pub(crate) fn from_row(tiles: &[f64], row: &[f64], out: &mut [f64]) {
    match width() {
        // SAFETY: `width` names a register width only after the processor was asked for it.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { wide::from_row_avx512(tiles, row, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { wide::from_row_avx2(tiles, row, out) },
        Width::Plain => from_row_body(tiles, row, out),
    }
}

/// The weighted sum over the rows of the smaller of `closest` and the squared distance to each candidate. At most
/// [`MAX_CANDIDATES`] candidates.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the wide registers are found at run time"))]
pub(crate) fn potentials(tiles: &[f64], points: &Points, closest: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; points.n * LANES];
    match width() {
        // SAFETY: `width` names a register width only after the processor was asked for it.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { wide::potential_avx512(tiles, points, closest, weight, &mut sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { wide::potential_avx2(tiles, points, closest, weight, &mut sums) },
        Width::Plain => potential_body(tiles, points, closest, weight, &mut sums),
    }
    sums.chunks_exact(LANES).map(|lanes| lanes.iter().sum()).collect()
}

/// Candidates that [`potentials`] takes at once.
pub(crate) const MAX_CANDIDATES: usize = POINTS;

/// The squared distance of two rows, with the bits that the tiles give.
pub(crate) fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever registers are used, the bits are those of the plain loop.
        #[test]
        fn wide_registers_give_the_bits_of_narrow_ones(
            values in proptest::collection::vec(-1e3_f64..1e3, 33 * 3),
            centers in proptest::collection::vec(-1e3_f64..1e3, 5 * 3),
        ) {
            let x = Matrix::new(33, 3, values).expect("33 rows of 3");
            let tiles = Tiles::of(&x, &[0.0; 3]);
            let points = Points::new(&centers, 5, 3);
            let span = tiles.span(0, tiles.n_tiles());
            let (mut label, mut far) = ([0; 40], [0.0; 40]);
            nearest(span, &points, &mut label, &mut far);
            let (mut plain_label, mut plain_far) = ([0; 40], [0.0; 40]);
            nearest_body(span, &points, &mut plain_label, &mut plain_far);
            prop_assert_eq!(label, plain_label);
            prop_assert_eq!(far.map(f64::to_bits), plain_far.map(f64::to_bits));
            for i in 0..33 {
                let row: Vec<f64> = centers.chunks_exact(3).map(|c| square_distance(x.row(i), c)).collect();
                let best = row.iter().copied().fold(f64::INFINITY, f64::min);
                prop_assert_eq!(best.to_bits(), far[i].to_bits());
                let mut back = [0.0; 40];
                from_row(span, x.row(i), &mut back);
                let want: Vec<f64> = (0..33).map(|k| square_distance(x.row(i), x.row(k))).collect();
                prop_assert_eq!(&back[..33], &want[..]);
            }
        }
    }
}
