//! A k-d tree (Bentley 1975): rows within a distance, and the distance of the k-th nearest row.

use super::tiles::square_distance;
use crate::matrix::Matrix;

/// Rows of a leaf.
const LEAF_ROWS: usize = 24;

pub(crate) struct KdTree {
    n_cols: usize,
    /// The rows' numbers and values in the order of the leaves.
    order: Vec<u32>,
    values: Vec<f64>,
    nodes: Vec<Node>,
    /// The lowest and highest corner of every node's box.
    corners: Vec<f64>,
}

struct Node {
    from: usize,
    to: usize,
    /// The right child; the left one follows its parent. 0 for a leaf.
    right: usize,
}

impl KdTree {
    pub(crate) fn new(x: &Matrix) -> Self {
        let mut tree = Self {
            n_cols: x.n_cols(),
            order: (0..x.n_rows() as u32).collect(),
            values: Vec::with_capacity(x.values().len()),
            nodes: Vec::new(),
            corners: Vec::new(),
        };
        if x.n_rows() > 0 {
            let mut order = std::mem::take(&mut tree.order);
            tree.split(x, &mut order, 0);
            tree.values.extend(order.iter().flat_map(|&i| x.row(i as usize)));
            tree.order = order;
        }
        tree
    }

    /// Depth is the logarithm of the rows, since every split is at the middle.
    fn split(&mut self, x: &Matrix, rows: &mut [u32], from: usize) {
        let (d, node) = (self.n_cols, self.nodes.len());
        self.nodes.push(Node { from, to: from + rows.len(), right: 0 });
        let at = self.corners.len();
        self.corners.extend_from_slice(x.row(rows[0] as usize));
        self.corners.extend_from_slice(x.row(rows[0] as usize));
        for &i in rows.iter() {
            for (j, v) in x.row(i as usize).iter().enumerate() {
                self.corners[at + j] = self.corners[at + j].min(*v);
                self.corners[at + d + j] = self.corners[at + d + j].max(*v);
            }
        }
        if rows.len() <= LEAF_ROWS {
            return;
        }
        let width = |j: usize| self.corners[at + d + j] - self.corners[at + j];
        let widest = (0..d).fold(0, |b, j| if width(j) > width(b) { j } else { b });
        if d == 0 || width(widest) <= 0.0 {
            return;
        }
        let middle = rows.len() / 2;
        let value = |i: &u32| x.get(*i as usize, widest);
        rows.select_nth_unstable_by(middle, |a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
        let (left, right) = rows.split_at_mut(middle);
        self.split(x, left, from);
        self.nodes[node].right = self.nodes.len();
        self.split(x, right, from + middle);
    }

    /// The squared distance from a row to a node's box.
    fn to_box(&self, node: usize, row: &[f64]) -> f64 {
        let d = self.n_cols;
        let (low, high) = self.corners[node * 2 * d..(node + 1) * 2 * d].split_at(d);
        row.iter()
            .zip(low.iter().zip(high))
            .map(|(v, (low, high))| {
                let gap = (low - v).max(v - high).max(0.0);
                gap * gap
            })
            .sum()
    }

    /// Calls `look(row, squared distance)` for rows that may be nearer than `limit()`, nearer nodes first.
    fn search(&self, row: &[f64], open: &mut Vec<(f64, usize)>, mut look: impl FnMut(usize, f64) -> f64) {
        open.clear();
        let mut limit = f64::INFINITY;
        if !self.nodes.is_empty() {
            open.push((self.to_box(0, row), 0));
        }
        while let Some((far, node)) = open.pop() {
            // The box's distance is rounded, so a little more is looked at.
            if far > limit * (1.0 + 1e-12) {
                continue;
            }
            let Node { from, to, right } = self.nodes[node];
            if right == 0 {
                for k in from..to {
                    let known = &self.values[k * self.n_cols..(k + 1) * self.n_cols];
                    limit = look(self.order[k] as usize, square_distance(known, row));
                }
                continue;
            }
            let (l, r) = ((self.to_box(node + 1, row), node + 1), (self.to_box(right, row), right));
            if l.0 <= r.0 {
                open.extend([r, l]);
            } else {
                open.extend([l, r]);
            }
        }
    }

    /// Calls `look` for every row whose squared distance is at most `limit`, in no order that matters.
    pub(crate) fn within(&self, row: &[f64], limit: f64, mut look: impl FnMut(usize, f64)) {
        self.search(row, &mut Vec::with_capacity(64), |i, far| {
            if far <= limit {
                look(i, far);
            }
            limit
        });
    }

    /// The `k` smallest squared distances to `row` with their rows, nearest first, of equals the first row first.
    pub(crate) fn nearest(&self, row: &[f64], k: usize) -> Vec<(f64, usize)> {
        let mut found: Vec<(f64, usize)> = Vec::with_capacity(k + 1);
        self.search(row, &mut Vec::with_capacity(64), |i, far| {
            let full = found.len() == k;
            if k > 0 && (!full || (far, i) < found[k - 1]) {
                let at = found.partition_point(|f| *f < (far, i));
                if full {
                    found.pop();
                }
                found.insert(at, (far, i));
            }
            if found.len() == k { found[k - 1].0 } else { f64::INFINITY }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The tree finds what looking at all rows finds, also among equal ones.
        #[test]
        fn a_tree_finds_what_a_scan_finds(
            values in proptest::collection::vec(-4_i8..4, 200 * 2),
            k in 1_usize..40,
            limit in 0_u8..20,
        ) {
            let x = Matrix::new(200, 2, values.iter().map(|v| f64::from(*v)).collect()).expect("200 rows of 2");
            let tree = KdTree::new(&x);
            for q in 0..5 {
                let mut all: Vec<(f64, usize)> =
                    (0..200).map(|i| (square_distance(x.row(i), x.row(q)), i)).collect();
                let mut within = Vec::new();
                tree.within(x.row(q), f64::from(limit), |i, _| within.push(i));
                within.sort_unstable();
                let want: Vec<usize> = all.iter().filter(|a| a.0 <= f64::from(limit)).map(|a| a.1).collect();
                prop_assert_eq!(within, want);
                all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
                prop_assert_eq!(tree.nearest(x.row(q), k), &all[..k]);
            }
        }
    }
}
