//! The tree of merges: nearest-neighbour chain for Ward, average and complete linkage, minimum spanning tree for
//! single.

use crate::cluster::tiles::{self, LANES, Tiles, square_distance};
use crate::matrix::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result, Run};

/// How the distance between clusters is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linkage {
    /// By the growth of the sum of squares (Ward 1963): round clusters of like size.
    #[default]
    Ward,
    /// Mean distance of their rows.
    Average,
    /// Largest distance of their rows: compact clusters.
    Complete,
    /// Smallest distance of their rows: chains.
    Single,
}

/// One merge of the tree, as a row of scipy's linkage table.
///
/// Rows are the clusters 0 to n − 1; merge `i` makes cluster `n + i`. `left < right`, and the heights never fall.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// The cluster with the smaller number.
    pub left: usize,
    /// The other.
    pub right: usize,
    /// The distance at which they merge.
    pub height: f64,
    /// Rows of the new cluster.
    pub size: usize,
}

/// Most rows for average and complete linkage, which keep all distances in memory (3.6 GB at this number).
pub const PAIRS_ROWS_MAX: usize = 30_000;

/// The merges of all rows, lowest first.
pub(crate) fn merges(run: &Run, x: &Matrix, linkage: Linkage) -> Result<Vec<Merge>> {
    let edges = match linkage {
        Linkage::Single => spanning_tree(run, x)?,
        Linkage::Ward => chain(run, &mut Centers::new(x), x.n_rows())?,
        Linkage::Average | Linkage::Complete => {
            if x.n_rows() > PAIRS_ROWS_MAX {
                return Err(Error::Invalid(format!(
                    "this linkage keeps the distances of all pairs in memory and takes at most {PAIRS_ROWS_MAX} rows, \
                     not {}; use ward or single linkage, or cluster the centres of k-means",
                    x.n_rows()
                )));
            }
            chain(run, &mut Pairs::new(run, x, linkage == Linkage::Average)?, x.n_rows())?
        }
    };
    Ok(table(edges, x.n_rows()))
}

/// The edges sorted by height (equal ones in the order found) as a table of merges.
pub(crate) fn table(mut edges: Vec<(usize, usize, f64)>, n: usize) -> Vec<Merge> {
    edges.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut sets = Sets::new(n);
    let mut name: Vec<usize> = (0..n).collect();
    let mut size = vec![1; n];
    let mut out = Vec::with_capacity(edges.len());
    for (i, (a, b, height)) in edges.into_iter().enumerate() {
        let (a, b) = (sets.root(a), sets.root(b));
        let (left, right) = (name[a].min(name[b]), name[a].max(name[b]));
        let root = sets.join(a, b);
        size[root] = size[a] + size[b];
        name[root] = n + i;
        out.push(Merge { left, right, height, size: size[root] });
    }
    out
}

/// Disjoint sets of rows.
pub(crate) struct Sets(Vec<usize>);

impl Sets {
    pub(crate) fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    pub(crate) fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    /// Joins two sets given by their roots; the root of both is the smaller one.
    pub(crate) fn join(&mut self, a: usize, b: usize) -> usize {
        let (root, other) = (a.min(b), a.max(b));
        self.0[other] = root;
        root
    }
}

/// Clusters that know how far they are from each other.
trait Clusters {
    /// The distances of `i` to all places, in `out`; those of places without a cluster do not matter.
    fn distances(&self, i: usize, out: &mut [f64]);
    /// Puts the rows of `i` into `j`, which `height` lies away.
    fn merge(&mut self, i: usize, j: usize, height: f64, live: &[bool]);
}

/// Merges in the order of the chain of nearest neighbours (Murtagh 1983; the scan order is scipy's).
fn chain(run: &Run, clusters: &mut impl Clusters, n: usize) -> Result<Vec<(usize, usize, f64)>> {
    let mut live = vec![true; n];
    let mut chain: Vec<usize> = Vec::new();
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    let mut far = vec![0.0; n.div_ceil(LANES) * LANES];
    run.progress().begin("merges", n.saturating_sub(1) as u64);
    while edges.len() + 1 < n {
        if edges.len() % 64 == 0 {
            run.check()?;
        }
        if chain.is_empty() {
            chain.extend(live.iter().position(|l| *l));
        }
        let (x, y, height) = loop {
            let x = chain[chain.len() - 1];
            clusters.distances(x, &mut far);
            // The one before in the chain wins ties, so that the chain ends.
            let (mut y, mut least) = match chain.len() {
                1 => (usize::MAX, f64::INFINITY),
                len => (chain[len - 2], far[chain[len - 2]]),
            };
            for i in 0..n {
                if live[i] && i != x && far[i] < least {
                    (y, least) = (i, far[i]);
                }
            }
            if chain.len() > 1 && y == chain[chain.len() - 2] {
                break (x, y, least);
            }
            if y == usize::MAX {
                // Every distance is infinite; `check_data` makes this impossible, but a chain must end.
                return Err(Error::Invalid("distances between rows are too large".into()));
            }
            chain.push(y);
        };
        chain.truncate(chain.len() - 2);
        // Into the larger place, as scipy does.
        let (x, y) = (x.min(y), x.max(y));
        edges.push((x, y, height));
        live[x] = false;
        clusters.merge(x, y, height, &live);
        run.progress().advance(1);
    }
    run.progress().end();
    Ok(edges)
}

/// Ward's clusters: means and sizes suffice, `d² = 2 |a| |b| / (|a| + |b|) · |μₐ − μ_b|²`.
struct Centers {
    tiles: Tiles,
    size: Vec<f64>,
}

impl Centers {
    fn new(x: &Matrix) -> Self {
        let means = crate::cluster::means(x, None);
        Self { tiles: Tiles::of(x, &means), size: vec![1.0; x.n_rows()] }
    }
}

impl Clusters for Centers {
    fn distances(&self, i: usize, out: &mut [f64]) {
        let row = self.tiles.rows(&[i]);
        let own = self.size[i];
        let one = |first: usize, out: &mut [f64]| {
            tiles::from_row(self.tiles.span(first, first + out.len() / LANES), &row, out);
            let sizes = &self.size[first * LANES..];
            for (far, size) in out.iter_mut().zip(sizes) {
                *far = (2.0 * own * size / (own + size) * *far).sqrt();
            }
        };
        // Handing out less than this costs more than it saves.
        let chunk = (65_536 / self.tiles.n_cols().max(1)).max(1024).next_multiple_of(LANES);
        if out.len() <= chunk {
            one(0, out);
        } else {
            out.par_chunks_mut(chunk).enumerate().for_each(|(c, out)| one(c * chunk / LANES, out));
        }
    }

    fn merge(&mut self, i: usize, j: usize, _height: f64, _live: &[bool]) {
        let (a, b) = (self.size[i], self.size[j]);
        let rows = self.tiles.rows(&[i, j]);
        let d = self.tiles.n_cols();
        let mean: Vec<f64> = (0..d).map(|c| (a * rows[c] + b * rows[d + c]) / (a + b)).collect();
        self.tiles.write_row(j, &mean);
        self.size[j] = a + b;
    }
}

/// Average and complete linkage: the distances of all pairs, kept up by the formulas of Lance and Williams.
struct Pairs {
    n: usize,
    /// The pairs `i < j` row after row.
    far: Vec<f64>,
    size: Vec<f64>,
    average: bool,
}

impl Pairs {
    fn new(run: &Run, x: &Matrix, average: bool) -> Result<Self> {
        let n = x.n_rows();
        let mut far = vec![0.0; n * n.saturating_sub(1) / 2];
        // Rows of the triangle as slices, so that they can be filled in parallel.
        let mut rest = far.as_mut_slice();
        let mut rows = Vec::with_capacity(n);
        for i in 0..n {
            let (row, next) = rest.split_at_mut(n - 1 - i);
            rows.push(row);
            rest = next;
        }
        rows.into_par_iter().enumerate().try_for_each(|(i, row)| {
            run.check()?;
            for (k, far) in row.iter_mut().enumerate() {
                *far = square_distance(x.row(i), x.row(i + 1 + k)).sqrt();
            }
            Ok::<_, Error>(())
        })?;
        Ok(Self { n, far, size: vec![1.0; n], average })
    }

    fn at(&self, i: usize, j: usize) -> usize {
        let (i, j) = (i.min(j), i.max(j));
        i * (2 * self.n - i - 1) / 2 + j - i - 1
    }
}

impl Clusters for Pairs {
    fn distances(&self, i: usize, out: &mut [f64]) {
        for k in 0..i {
            out[k] = self.far[self.at(k, i)];
        }
        let from = if i + 1 < self.n { self.at(i, i + 1) } else { self.far.len() };
        out[i + 1..self.n].copy_from_slice(&self.far[from..from + self.n - 1 - i]);
    }

    fn merge(&mut self, i: usize, j: usize, _height: f64, live: &[bool]) {
        let (a, b) = (self.size[i], self.size[j]);
        for k in (0..self.n).filter(|&k| live[k] && k != j) {
            let (to, from) = (self.at(k, j), self.at(k, i));
            self.far[to] = match self.average {
                true => (a * self.far[from] + b * self.far[to]) / (a + b),
                false => self.far[from].max(self.far[to]),
            };
        }
        self.size[j] = a + b;
    }
}

/// The minimum spanning tree by Prim's method, from row 0.
fn spanning_tree(run: &Run, x: &Matrix) -> Result<Vec<(usize, usize, f64)>> {
    prim(run, x, |_, _, square| square.sqrt())
}

/// Prim's minimum spanning tree over all pairs of rows, from row 0, in the order in which rows join; of equally near
/// rows the first. `length(i, j, squared distance)` is the length of an edge.
pub(crate) fn prim(
    run: &Run,
    x: &Matrix,
    length: impl Fn(usize, usize, f64) -> f64 + Sync,
) -> Result<Vec<(usize, usize, f64)>> {
    let n = x.n_rows();
    let means = crate::cluster::means(x, None);
    let tiles = Tiles::of(x, &means);
    let lanes = tiles.n_tiles() * LANES;
    // Of every row not yet joined: the way to the tree and where it ends.
    let mut way: Vec<(f64, u32)> = vec![(f64::INFINITY, 0); lanes];
    let mut joined = vec![false; lanes];
    joined[n.min(lanes)..].fill(true);
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    let mut now = 0;
    let chunk = (65_536 / x.n_cols().max(1)).max(1024).next_multiple_of(LANES);
    run.progress().begin("spanning tree", n.saturating_sub(1) as u64);
    while edges.len() + 1 < n {
        if edges.len() % 64 == 0 {
            run.check()?;
        }
        joined[now] = true;
        let row = tiles.rows(&[now]);
        let one = |c: usize, way: &mut [(f64, u32)], far: &mut [f64]| {
            let first = c * chunk;
            let far = &mut far[..way.len()];
            tiles::from_row(tiles.span(first / LANES, (first + far.len()) / LANES), &row, far);
            let mut best = (f64::INFINITY, usize::MAX);
            for (k, (way, far)) in way.iter_mut().zip(far.iter()).enumerate() {
                let i = first + k;
                if joined[i] {
                    continue;
                }
                let far = length(now, i, *far);
                if far < way.0 {
                    *way = (far, now as u32);
                }
                if way.0 < best.0 {
                    best = (way.0, i);
                }
            }
            best
        };
        let best = if lanes <= chunk {
            one(0, &mut way, &mut vec![0.0; lanes])
        } else {
            let bests: Vec<(f64, usize)> = way
                .par_chunks_mut(chunk)
                .enumerate()
                .map_init(|| vec![0.0; chunk], |far, (c, way)| one(c, way, far))
                .collect();
            bests.into_iter().fold((f64::INFINITY, usize::MAX), |b, v| if v.0 < b.0 { v } else { b })
        };
        if best.1 == usize::MAX {
            return Err(Error::Invalid("distances between rows are too large".into()));
        }
        edges.push((way[best.1].1 as usize, best.1, best.0));
        now = best.1;
        run.progress().advance(1);
    }
    run.progress().end();
    Ok(edges)
}
