//! Scores of many rows: the trees are laid out anew so that eight rows walk down a tree side by side without branches.

use super::{Ensemble, Missing, Node, Split, Tree, ZERO};
use crate::matrix::Matrix;
use rayon::prelude::*;
use tradewind_core::Result;

/// Rows predicted by one task.
const TASK_ROWS: usize = 2048;

/// Below so many rows, laying the trees out costs more than it saves.
const ROWS_MIN: usize = 32;

/// Rows that walk side by side. The processor follows their chains of loads at once.
const LANES: usize = 8;

/// The bits of [`Place::feature`] above the column's number.
const MISSING_RIGHT: u32 = 1 << 31;
const ZERO_IS_MISSING: u32 = 1 << 30;
const CATEGORIES: u32 = 1 << 29;
const FEATURE: u32 = CATEGORIES - 1;

/// One node. The right child stands behind the left one; a leaf is a node whose left child is itself and whose threshold
/// every value passes, so that rows already there stay while others go on.
#[derive(Clone, Copy)]
struct Place {
    /// For categories: the bits hold where the node's words begin and how many they are.
    threshold: f64,
    feature: u32,
    left: u32,
}

/// One tree's places, with the leaf that each stands for.
struct Walk {
    places: Vec<Place>,
    leaf: Vec<u32>,
    words: Vec<u32>,
    /// All nodes have thresholds, and only NaN is missing.
    plain: bool,
}

impl Walk {
    fn of(tree: &Tree) -> Self {
        let total = tree.nodes.len() + tree.n_leaves();
        let mut walk = Self {
            places: Vec::with_capacity(total),
            leaf: Vec::with_capacity(total),
            words: Vec::new(),
            plain: true,
        };
        let root = if tree.nodes.is_empty() { !0 } else { 0 };
        // The child number of each place, in the order of the places; the list grows as inner nodes are met.
        let mut queue = vec![root];
        let mut at = 0;
        while at < queue.len() {
            let child = queue[at];
            if child < 0 {
                walk.places.push(Place { threshold: f64::INFINITY, feature: 0, left: at as u32 });
                walk.leaf.push(!child as u32);
            } else {
                let node = &tree.nodes[child as usize];
                let place = walk.place(node, queue.len() as u32);
                walk.places.push(place);
                walk.leaf.push(0);
                queue.extend([node.left, node.right]);
            }
            at += 1;
        }
        walk
    }

    fn place(&mut self, node: &Node, left: u32) -> Place {
        // NaN read as zero goes where zero goes.
        let missing_left = match node.missing {
            Missing::None => node.goes_left(0.0),
            _ => node.missing_left,
        };
        let mut feature = node.feature;
        if !missing_left {
            feature |= MISSING_RIGHT;
        }
        if node.missing == Missing::Zero {
            feature |= ZERO_IS_MISSING;
            self.plain = false;
        }
        let threshold = match &node.split {
            Split::Below(threshold) => *threshold,
            Split::In(words) => {
                feature |= CATEGORIES;
                self.plain = false;
                let start = self.words.len() as u64;
                self.words.extend(words);
                f64::from_bits(start << 32 | words.len() as u64)
            }
        };
        Place { threshold, feature, left }
    }

    /// Where a row with this value goes from a place: 0 for left, 1 for right.
    #[inline(always)]
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not below goes right, NaN included")]
    fn turn<const PLAIN: bool>(&self, place: Place, value: f64) -> u32 {
        let present = u32::from(!value.is_nan());
        let missing_right = place.feature >> 31;
        if PLAIN || place.feature & (ZERO_IS_MISSING | CATEGORIES) == 0 {
            return u32::from(!(value <= place.threshold)) & (present | missing_right);
        }
        if value.is_nan() || (place.feature & ZERO_IS_MISSING != 0 && value.abs() <= ZERO) {
            return missing_right;
        }
        if place.feature & CATEGORIES == 0 {
            return u32::from(!(value <= place.threshold));
        }
        let bits = place.threshold.to_bits();
        let (start, len) = ((bits >> 32) as usize, (bits & 0xFFFF_FFFF) as usize);
        let word = (value / 32.0) as usize;
        let inside = value >= 0.0 && word < len && self.words[start + word] >> (value as u64 % 32) & 1 == 1;
        u32::from(!inside)
    }

    /// The leaves of `LANES` rows, which lie behind each other in `rows`.
    #[inline(always)]
    fn leaves<const PLAIN: bool>(&self, rows: &[f64], n_cols: usize) -> [u32; LANES] {
        let mut at = [0_u32; LANES];
        loop {
            let mut moved = 0;
            for lane in 0..LANES {
                let place = self.places[at[lane] as usize];
                let value = rows[lane * n_cols + (place.feature & FEATURE) as usize];
                let next = place.left + self.turn::<PLAIN>(place, value);
                // A leaf's threshold holds back no number; NaN goes left there, too.
                moved |= next ^ at[lane];
                at[lane] = next;
            }
            if moved == 0 {
                return at.map(|place| self.leaf[place as usize]);
            }
        }
    }
}

impl Ensemble {
    /// The raw scores: one row per row of `x`, `n_outputs` columns. Missing values go where the nodes send them.
    /// Fails on another width than the trees were learnt on.
    pub fn scores(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.n_features, "the model of trees")?;
        let k = self.n_outputs;
        let mut out = Matrix::zeros(x.n_rows(), k);
        if k == 0 || x.n_rows() == 0 {
            return Ok(out);
        }
        let n_cols = x.n_cols();
        let fast = x.n_rows() >= ROWS_MIN && n_cols > 0 && n_cols <= FEATURE as usize;
        if !fast {
            for (i, scores) in out.values_mut().chunks_exact_mut(k).enumerate() {
                for (t, tree) in self.trees.iter().enumerate() {
                    self.add(t, tree.leaf_of(x.row(i)), scores);
                }
            }
        } else {
            let walks: Vec<Walk> = self.trees.iter().map(Walk::of).collect();
            // As many rows at once as fit into the first cache, so that a tree's places stay there, too.
            let block = (4096 / n_cols).clamp(4, 64) * LANES;
            out.values_mut().par_chunks_mut(TASK_ROWS * k).enumerate().for_each(|(task, out)| {
                for (b, out) in out.chunks_mut(block * k).enumerate() {
                    let first = task * TASK_ROWS + b * block;
                    let n = out.len() / k;
                    let rows = &x.values()[first * n_cols..(first + n) * n_cols];
                    for (t, walk) in walks.iter().enumerate() {
                        self.add_block(t, walk, rows, n_cols, out);
                    }
                }
            });
        }
        let scale: Vec<f64> = (0..k).map(|output| self.scale(output)).collect();
        for scores in out.values_mut().chunks_exact_mut(k) {
            for ((score, base), scale) in scores.iter_mut().zip(&self.base).zip(&scale) {
                *score = base + *score * scale;
            }
        }
        Ok(out)
    }

    fn add_block(&self, t: usize, walk: &Walk, rows: &[f64], n_cols: usize, out: &mut [f64]) {
        let k = self.n_outputs;
        let whole = out.len() / k / LANES * LANES;
        for first in (0..whole).step_by(LANES) {
            let eight = &rows[first * n_cols..(first + LANES) * n_cols];
            let leaves = match walk.plain {
                true => walk.leaves::<true>(eight, n_cols),
                false => walk.leaves::<false>(eight, n_cols),
            };
            let out = &mut out[first * k..(first + LANES) * k];
            for (leaf, scores) in leaves.into_iter().zip(out.chunks_exact_mut(k)) {
                self.add(t, leaf as usize, scores);
            }
        }
        for i in whole..out.len() / k {
            let leaf = self.trees[t].leaf_of(&rows[i * n_cols..(i + 1) * n_cols]);
            self.add(t, leaf, &mut out[i * k..(i + 1) * k]);
        }
    }

    #[inline(always)]
    fn add(&self, t: usize, leaf: usize, scores: &mut [f64]) {
        let values = &self.trees[t].leaves;
        match self.output.get(t) {
            Some(&output) => scores[output as usize] += values[leaf],
            None => {
                let k = scores.len();
                for (score, v) in scores.iter_mut().zip(&values[leaf * k..(leaf + 1) * k]) {
                    *score += v;
                }
            }
        }
    }
}
