//! Which rows are nearest to a row: the index that nearest-neighbour models, density clustering and nearest imputation
//! share.
//!
//! Answers are exact. With few columns (up to [`TREE_COLUMNS`]) a k-d tree is searched (Bentley 1975; Friedman, Bentley
//! and Finkel 1977), whose boxes are skipped only when even their nearest corner is too far. With more columns, and
//! for the cosine, all rows are compared, in blocks: a matrix product gives `|q|² + |x|² − 2 q·x`, which may be wrong in
//! its last digits, so it only sorts out the rows that are certainly too far; the distances of the others are formed
//! from differences. Equal distances are ordered by row number.

use crate::faer_call::faer_call;
use crate::matrix::Matrix;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use tradewind_core::{Error, Result, Run};

/// Up to this many columns a tree is faster than comparing with every row.
pub const TREE_COLUMNS: usize = 15;

/// Rows compared side by side in a leaf of the tree.
const LANES: usize = 8;

/// Rows in a leaf of the tree, about.
const LEAF_ROWS: usize = 16;

/// Queries and rows of one block of the comparison with every row.
const BLOCK_QUERIES: usize = 32;
const BLOCK_ROWS: usize = 512;

/// How far apart two rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The root of the sum of squared differences.
    #[default]
    Euclidean,
    /// The sum of absolute differences.
    Manhattan,
    /// One minus the cosine of the angle between the rows; 1 where a row is all zeros.
    Cosine,
}

impl Metric {
    /// The words, as typed by people.
    pub const WORDS: &'static [&'static str] = &["euclidean", "manhattan", "cosine"];
}

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its number in the matrix that was indexed.
    pub row: usize,
    /// How far it is.
    pub distance: f64,
}

/// The index over the rows of a matrix.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::Matrix;
/// use tradewind_learn::neighbours::{Metric, Neighbours};
/// let x = Matrix::from_rows(&[[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]]).unwrap();
/// let index = Neighbours::new(&x, Metric::Euclidean).unwrap();
/// let found = index.nearest_to(&[0.0, 0.0], 2).unwrap();
/// assert_eq!((found[0].row, found[1].row, found[1].distance), (0, 2, 1.0));
/// let around = index.within(&Run::new(0), &x, 1.0).unwrap();
/// assert_eq!(around[1].len(), 1);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Neighbours {
    points: Matrix,
    metric: Metric,
    search: Search,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    points: Matrix,
    metric: Metric,
}

impl TryFrom<Saved> for Neighbours {
    type Error = Error;
    fn try_from(saved: Saved) -> Result<Self> {
        Self::new(&saved.points, saved.metric)
    }
}

impl From<Neighbours> for Saved {
    fn from(index: Neighbours) -> Self {
        Self { points: index.points, metric: index.metric }
    }
}

#[derive(Clone, Debug)]
enum Search {
    Tree(Tree),
    Flat(Flat),
}

impl Neighbours {
    /// Indexes the rows of `points`. Fails on NaN and infinite values.
    pub fn new(points: &Matrix, metric: Metric) -> Result<Self> {
        points.check_finite(&[])?;
        let in_tree = metric != Metric::Cosine && (1..=TREE_COLUMNS).contains(&points.n_cols());
        let search =
            if in_tree { Search::Tree(Tree::new(points)) } else { Search::Flat(Flat::new(points, metric)) };
        Ok(Self { points: points.clone(), metric, search })
    }

    /// The rows that were indexed.
    pub fn points(&self) -> &Matrix {
        &self.points
    }

    /// The distance that is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The `k` nearest rows of every row of `queries`, nearest first; all rows where there are no more than `k`. A query
    /// that was itself indexed finds itself.
    ///
    /// Fails on another width and on NaN or infinite values.
    pub fn nearest(&self, run: &Run, queries: &Matrix, k: usize) -> Result<Vec<Vec<Neighbour>>> {
        self.search(run, queries, Wanted::Nearest(k))
    }

    /// The rows no further than `radius` of every row of `queries`, in the order of their numbers.
    ///
    /// Fails on another width and on NaN or infinite values.
    pub fn within(&self, run: &Run, queries: &Matrix, radius: f64) -> Result<Vec<Vec<Neighbour>>> {
        self.search(run, queries, Wanted::Within(radius))
    }

    /// [`Neighbours::nearest`] of one row.
    pub fn nearest_to(&self, query: &[f64], k: usize) -> Result<Vec<Neighbour>> {
        let query = Matrix::new(1, query.len(), query.to_vec())?;
        Ok(self.search(&Run::default(), &query, Wanted::Nearest(k))?.pop().unwrap_or_default())
    }

    /// [`Neighbours::within`] of one row.
    pub fn within_of(&self, query: &[f64], radius: f64) -> Result<Vec<Neighbour>> {
        let query = Matrix::new(1, query.len(), query.to_vec())?;
        Ok(self.search(&Run::default(), &query, Wanted::Within(radius))?.pop().unwrap_or_default())
    }

    fn search(&self, run: &Run, queries: &Matrix, wanted: Wanted) -> Result<Vec<Vec<Neighbour>>> {
        queries.check_width(self.points.n_cols(), "the neighbour index")?;
        queries.check_finite(&[])?;
        let squared = self.metric == Metric::Euclidean;
        let starts: Vec<usize> = (0..queries.n_rows()).step_by(BLOCK_QUERIES).collect();
        let block = |&from: &usize| {
            run.check()?;
            let rows = from..(from + BLOCK_QUERIES).min(queries.n_rows());
            let mut found: Vec<Found> = rows.clone().map(|_| Found::new(wanted, squared)).collect();
            match &self.search {
                Search::Tree(tree) => {
                    for (found, i) in found.iter_mut().zip(rows) {
                        match self.metric {
                            Metric::Manhattan => tree.visit::<true>(0, queries.row(i), found),
                            _ => tree.visit::<false>(0, queries.row(i), found),
                        }
                    }
                }
                Search::Flat(flat) => flat.compare(queries, rows.start, &mut found),
            }
            Ok(found.into_iter().map(|f| f.finish(squared)).collect::<Vec<_>>())
        };
        let blocks: Vec<Result<Vec<Vec<Neighbour>>>> = match starts.len() {
            // One block is not worth waking threads for.
            0 | 1 => starts.iter().map(block).collect(),
            _ => run.install(|| starts.par_iter().map(block).collect()),
        };
        let mut out = Vec::with_capacity(queries.n_rows());
        for block in blocks {
            out.extend(block?);
        }
        Ok(out)
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Nearest(usize),
    Within(f64),
}

/// A row and its measure (the squared distance, where that orders alike), ordered by measure and then by row.
#[derive(Clone, Copy, PartialEq)]
struct Candidate {
    measure: f64,
    row: usize,
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.measure.total_cmp(&other.measure).then(self.row.cmp(&other.row))
    }
}

/// What was found so far for one query.
struct Found {
    wanted: Wanted,
    heap: BinaryHeap<Candidate>,
    list: Vec<Candidate>,
    /// The measure above which nothing is wanted any more.
    limit: f64,
}

impl Found {
    fn new(wanted: Wanted, squared: bool) -> Self {
        let limit = match wanted {
            Wanted::Nearest(0) => -1.0,
            Wanted::Nearest(_) => f64::INFINITY,
            // A little more than the square, so that rounding loses no row; `finish` looks again.
            Wanted::Within(r) => (if squared { r * r } else { r }) * (1.0 + 1e-12),
        };
        Self { wanted, heap: BinaryHeap::new(), list: Vec::new(), limit }
    }

    /// Callers offer only what is not above the limit.
    fn offer(&mut self, measure: f64, row: usize) {
        let candidate = Candidate { measure, row };
        match self.wanted {
            Wanted::Within(_) => self.list.push(candidate),
            Wanted::Nearest(k) if self.heap.len() < k => {
                self.heap.push(candidate);
                if self.heap.len() == k {
                    self.limit = self.heap.peek().map_or(f64::INFINITY, |c| c.measure);
                }
            }
            Wanted::Nearest(_) => {
                if let Some(mut worst) = self.heap.peek_mut()
                    && candidate < *worst
                {
                    *worst = candidate;
                }
                self.limit = self.heap.peek().map_or(-1.0, |c| c.measure);
            }
        }
    }

    fn finish(self, squared: bool) -> Vec<Neighbour> {
        let distance = |c: &Candidate| if squared { c.measure.sqrt() } else { c.measure };
        let neighbour = |c: &Candidate| Neighbour { row: c.row, distance: distance(c) };
        match self.wanted {
            Wanted::Nearest(_) => self.heap.into_sorted_vec().iter().map(neighbour).collect(),
            Wanted::Within(radius) => {
                let mut list: Vec<Neighbour> =
                    self.list.iter().map(neighbour).filter(|n| n.distance <= radius).collect();
                list.sort_unstable_by_key(|n| n.row);
                list
            }
        }
    }
}

/// A k-d tree. The rows lie leaf by leaf, [`LANES`] rows column by column, so that a leaf is compared lane by lane.
#[derive(Clone, Debug)]
struct Tree {
    p: usize,
    nodes: Vec<Node>,
    /// Lowest and highest value of every column, node by node.
    boxes: Vec<f64>,
    panels: Vec<f64>,
    /// The row numbers of the panels' lanes; `usize::MAX` for empty lanes.
    rows: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// The left child stands next to its parent.
    Inner { right: usize },
    /// Its panels.
    Leaf { from: usize, to: usize },
}

impl Tree {
    fn new(points: &Matrix) -> Self {
        let p = points.n_cols();
        let mut tree = Self { p, nodes: vec![], boxes: vec![], panels: vec![], rows: vec![] };
        let mut order: Vec<usize> = (0..points.n_rows()).collect();
        tree.grow(points, &mut order);
        tree
    }

    fn grow(&mut self, points: &Matrix, order: &mut [usize]) {
        let (p, at, base) = (self.p, self.nodes.len(), self.boxes.len());
        self.boxes.resize(base + p, f64::INFINITY);
        self.boxes.resize(base + 2 * p, f64::NEG_INFINITY);
        let (lo, hi) = self.boxes[base..].split_at_mut(p);
        for &i in order.iter() {
            for (j, &v) in points.row(i).iter().enumerate() {
                lo[j] = lo[j].min(v);
                hi[j] = hi[j].max(v);
            }
        }
        let widest = (0..p).fold(0, |best, j| if hi[j] - lo[j] > hi[best] - lo[best] { j } else { best });
        if order.len() <= LEAF_ROWS || hi[widest] <= lo[widest] {
            let from = self.rows.len() / LANES;
            for lanes in order.chunks(LANES) {
                let panel = self.panels.len();
                self.panels.resize(panel + p * LANES, 0.0);
                for l in 0..LANES {
                    self.rows.push(lanes.get(l).copied().unwrap_or(usize::MAX));
                }
                for (l, &i) in lanes.iter().enumerate() {
                    for (j, &v) in points.row(i).iter().enumerate() {
                        self.panels[panel + j * LANES + l] = v;
                    }
                }
            }
            self.nodes.push(Node::Leaf { from, to: self.rows.len() / LANES });
            return;
        }
        let middle = order.len() / 2;
        order.select_nth_unstable_by(middle, |&a, &b| {
            points.get(a, widest).total_cmp(&points.get(b, widest)).then(a.cmp(&b))
        });
        self.nodes.push(Node::Inner { right: 0 });
        let (left, right) = order.split_at_mut(middle);
        self.grow(points, left);
        self.nodes[at] = Node::Inner { right: self.nodes.len() };
        self.grow(points, right);
    }

    /// The measure to the nearest point of a node's box. Terms are formed and added as in [`Tree::scan`]; since rounding
    /// never turns an order around, it is not above the measure of any row inside, to the last bit.
    fn bound<const MANHATTAN: bool>(&self, node: usize, q: &[f64]) -> f64 {
        let corners = &self.boxes[node * 2 * self.p..(node + 1) * 2 * self.p];
        let (lo, hi) = corners.split_at(self.p);
        let mut sum = 0.0;
        for j in 0..self.p {
            let d = (lo[j] - q[j]).max(q[j] - hi[j]).max(0.0);
            sum += if MANHATTAN { d } else { d * d };
        }
        sum
    }

    fn visit<const MANHATTAN: bool>(&self, node: usize, q: &[f64], found: &mut Found) {
        match self.nodes[node] {
            Node::Leaf { from, to } => {
                for panel in from..to {
                    let measures = self.scan::<MANHATTAN>(panel, q);
                    for l in 0..LANES {
                        let row = self.rows[panel * LANES + l];
                        if measures[l] <= found.limit && row != usize::MAX {
                            found.offer(measures[l], row);
                        }
                    }
                }
            }
            Node::Inner { right } => {
                let left = node + 1;
                let (to_left, to_right) =
                    (self.bound::<MANHATTAN>(left, q), self.bound::<MANHATTAN>(right, q));
                let children = if to_left <= to_right {
                    [(to_left, left), (to_right, right)]
                } else {
                    [(to_right, right), (to_left, left)]
                };
                for (bound, child) in children {
                    if bound <= found.limit {
                        self.visit::<MANHATTAN>(child, q, found);
                    }
                }
            }
        }
    }

    fn scan<const MANHATTAN: bool>(&self, panel: usize, q: &[f64]) -> [f64; LANES] {
        let size = self.p * LANES;
        let mut sums = [0.0; LANES];
        for (column, q) in self.panels[panel * size..(panel + 1) * size].chunks_exact(LANES).zip(q) {
            for l in 0..LANES {
                let d = q - column[l];
                sums[l] += if MANHATTAN { d.abs() } else { d * d };
            }
        }
        sums
    }
}

/// Comparison with every row.
#[derive(Clone, Debug)]
struct Flat {
    metric: Metric,
    /// The rows; for the cosine of length one.
    points: Matrix,
    /// Their squared lengths.
    norms: Vec<f64>,
}

impl Flat {
    fn new(points: &Matrix, metric: Metric) -> Self {
        let mut points = points.clone();
        if metric == Metric::Cosine {
            (0..points.n_rows()).for_each(|i| to_unit(points.row_mut(i)));
        }
        let norms = points.rows().map(|row| summed(row, row, |a, b| a * b)).collect();
        Self { metric, points, norms }
    }

    fn compare(&self, queries: &Matrix, first: usize, found: &mut [Found]) {
        let (p, n, m) = (self.points.n_cols(), self.points.n_rows(), found.len());
        let mut q = queries.values()[first * p..(first + m) * p].to_vec();
        if self.metric == Metric::Cosine && p > 0 {
            q.chunks_exact_mut(p).for_each(to_unit);
        }
        let row_of = |r: usize| &q[r * p..(r + 1) * p];
        if self.metric == Metric::Manhattan || p == 0 {
            for (r, found) in found.iter_mut().enumerate() {
                for i in 0..n {
                    let measure = measure(self.metric, row_of(r), self.points.row(i));
                    if measure <= found.limit {
                        found.offer(measure, i);
                    }
                }
            }
            return;
        }
        let q_norms: Vec<f64> = (0..m).map(|r| row_of(r).iter().map(|v| v * v).sum()).collect();
        let mut products = Mat::<f64>::zeros(BLOCK_ROWS, m);
        for from in (0..n).step_by(BLOCK_ROWS) {
            let to = (from + BLOCK_ROWS).min(n);
            let block = MatRef::from_row_major_slice(&self.points.values()[from * p..to * p], to - from, p);
            let queries = MatRef::from_row_major_slice(&q, m, p);
            let out = products.as_mut().subrows_mut(0, to - from);
            faer_call(|| matmul(out, Accum::Replace, block, queries.transpose(), 1.0, Par::Seq));
            for (r, found) in found.iter_mut().enumerate() {
                for i in from..to {
                    let product = products[(i - from, r)];
                    let (size, rough) = match self.metric {
                        Metric::Cosine => (2.0, 1.0 - product),
                        _ => {
                            let size = q_norms[r] + self.norms[i];
                            (size, size - 2.0 * product)
                        }
                    };
                    // A bound on the rounding of the products. Not a number (after an overflow) counts as near.
                    let slack = (4.0 * p as f64 + 16.0) * f64::EPSILON * size;
                    if rough - slack > found.limit {
                        continue;
                    }
                    let measure = measure(self.metric, row_of(r), self.points.row(i));
                    if measure <= found.limit {
                        found.offer(measure, i);
                    }
                }
            }
        }
    }
}

/// To length one; rows of zeros stay. First divided by the largest part, so that nothing overflows.
fn to_unit(row: &mut [f64]) {
    let top = row.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if top > 0.0 {
        row.iter_mut().for_each(|v| *v /= top);
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= length);
    }
}

/// The squared distance, the sum of differences, or one minus the product of rows of length one; with eight running
/// sums, which the processor adds side by side.
fn measure(metric: Metric, a: &[f64], b: &[f64]) -> f64 {
    match metric {
        Metric::Euclidean => summed(a, b, |a, b| (a - b) * (a - b)),
        Metric::Manhattan => summed(a, b, |a, b| (a - b).abs()),
        Metric::Cosine => (1.0 - summed(a, b, |a, b| a * b)).clamp(0.0, 2.0),
    }
}

fn summed(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let whole = a.len() / LANES * LANES;
    let mut sums = [0.0; LANES];
    for (a, b) in a[..whole].chunks_exact(LANES).zip(b[..whole].chunks_exact(LANES)) {
        for l in 0..LANES {
            sums[l] += term(a[l], b[l]);
        }
    }
    let rest: f64 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| term(*a, *b)).sum();
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}
