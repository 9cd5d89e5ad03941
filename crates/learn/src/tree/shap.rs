//! What each column adds to a score: exact Shapley values of trees.
//!
//! [`contributions`] answers for the trees' own training rows (Lundberg, Erion and Lee 2018, "path-dependent"): a column
//! that is not known goes down both sides of a node in proportion to the training rows that did. [`interventional`]
//! takes unknown columns from given background rows instead; [`interactions`] splits the parts further, by pairs.
//!
//! For one leaf of value `v` let `oⱼ` be 1 when the row passes all of the path's nodes that ask about column `j`, else
//! 0, and `zⱼ` the share of training rows that pass them. The column's part is
//!
//! ```text
//! φᵢ = v (oᵢ − zᵢ) ∫₀¹ ∏_{j≠i} (q oⱼ + (1−q) zⱼ) dq
//! ```
//!
//! (Owen 1972). The product over a path of `d` columns is a polynomial of degree `d − 1`, so Gauss and Legendre's rule
//! with `⌈d/2⌉` points is exact, and for one point `q` all leaves are summed in one walk down the tree and one back: the
//! cost is nodes times points, as in Linear TreeSHAP (Yu et al. 2022), where Lundberg's is leaves times depth squared.
//! All terms have positive weights, so nothing cancels in deep trees. Eight rows are worked on side by side.

mod background;
mod pairs;

pub use background::interventional;
pub use pairs::interactions;

use super::{Ensemble, Missing, Node, Split, Tree};
use crate::matrix::Matrix;
use rayon::prelude::*;
use std::collections::HashMap;
use tradewind_core::{Error, Result, Run};

/// Rows worked on side by side.
const LANES: usize = 8;

/// The most rows of one task, and the most numbers that it copies.
const TASK_ROWS: usize = 256;
const TASK_VALUES: usize = 1 << 19;

/// The most numbers an answer may hold (16 GiB).
const ANSWER_MAX: usize = 1 << 31;

const NONE: u32 = u32::MAX;

type Lanes = [f64; LANES];

/// What each column adds to the raw score of each row: for every output the columns' parts and then the constant (the
/// expected score over the training rows), so `n_outputs * (n_features + 1)` numbers a row. The numbers of one output
/// add up to its raw score, to rounding.
///
/// Fails on another width than the trees were learnt on, and on an answer of more than 2³¹ numbers.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::Matrix;
/// use tradewind_learn::tree::{Ensemble, Missing, Node, Split, Tree, shap};
/// let node = Node {
///     feature: 1, split: Split::Below(0.0), missing: Missing::Nan, missing_left: true, left: !0, right: !1,
///     gain: 1.0, cover: 4.0,
/// };
/// let tree = Tree { nodes: vec![node], leaves: vec![-1.0, 3.0], leaf_cover: vec![3.0, 1.0] };
/// let ensemble =
///     Ensemble { n_features: 2, n_outputs: 1, base: vec![0.5], trees: vec![tree], output: vec![0], mean: false };
/// let x = Matrix::from_rows(&[[9.0, 1.0]]).unwrap();
/// let parts = shap::contributions(&Run::new(0), &ensemble, &x).unwrap();
/// // Expected: 0.5 + (3 · −1 + 3) / 4 = 0.5; the second column lifts it to 3.5.
/// assert!((parts.get(0, 1) - 3.0).abs() < 1e-12 && (parts.get(0, 2) - 0.5).abs() < 1e-12);
/// assert_eq!(parts.get(0, 0), 0.0);
/// ```
pub fn contributions(run: &Run, ensemble: &Ensemble, x: &Matrix) -> Result<Matrix> {
    x.check_width(ensemble.n_features, "the model of trees")?;
    let (p, k) = (ensemble.n_features, ensemble.n_outputs);
    let mut out = answer(x.n_rows(), k * (p + 1))?;
    if out.values().is_empty() {
        return Ok(out);
    }
    let shapes: Vec<Shape> = ensemble.trees.iter().map(Shape::of).collect();
    let constant = constants(ensemble);
    let scale: Vec<f64> = (0..k).map(|output| ensemble.scale(output)).collect();
    let most = shapes.iter().map(|s| s.n_points).max().unwrap_or(1);
    let rules: Vec<Vec<(f64, f64)>> = (0..=most).map(gauss_legendre).collect();
    let task = task_rows(p.saturating_mul(k + 1));
    run.progress().begin("contributions", x.n_rows() as u64);
    let done = run.install(|| {
        out.values_mut().par_chunks_mut(task * k * (p + 1)).enumerate().try_for_each(|(t, out)| {
            let n = out.len() / (k * (p + 1));
            let rows = &x.values()[t * task * p..(t * task + n) * p];
            let parts = task_parts(run, ensemble, &shapes, &rules, rows, n)?;
            for (i, row) in out.chunks_exact_mut(k * (p + 1)).enumerate() {
                for (output, row) in row.chunks_exact_mut(p + 1).enumerate() {
                    let from = (output * n.div_ceil(LANES) + i / LANES) * p;
                    for (to, lanes) in row.iter_mut().zip(&parts[from..from + p]) {
                        *to = lanes[i % LANES] * scale[output];
                    }
                    row[p] = constant[output];
                }
            }
            run.progress().advance(n as u64);
            Ok(())
        })
    });
    run.progress().end();
    done.map(|()| out)
}

/// The expected raw score over the training rows: what [`contributions`] gives as the constant.
pub fn constants(ensemble: &Ensemble) -> Vec<f64> {
    let mut sums = vec![0.0; ensemble.n_outputs];
    for (t, tree) in ensemble.trees.iter().enumerate() {
        let share = shares_of_leaves(tree);
        match ensemble.output.get(t) {
            Some(&output) => {
                sums[output as usize] += share.iter().zip(&tree.leaves).map(|(s, v)| s * v).sum::<f64>();
            }
            None => {
                for (s, values) in share.iter().zip(tree.leaves.chunks_exact(ensemble.n_outputs.max(1))) {
                    sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += s * v);
                }
            }
        }
    }
    sums.iter()
        .zip(&ensemble.base)
        .enumerate()
        .map(|(o, (sum, base))| base + sum * ensemble.scale(o))
        .collect()
}

/// Rows of one task, a multiple of [`LANES`], so that its copies stay small.
fn task_rows(width: usize) -> usize {
    (TASK_VALUES / width.max(1)).clamp(LANES, TASK_ROWS) / LANES * LANES
}

fn answer(n_rows: usize, width: usize) -> Result<Matrix> {
    match n_rows.checked_mul(width) {
        Some(total) if total <= ANSWER_MAX => Ok(Matrix::zeros(n_rows, width)),
        _ => Err(Error::Invalid(format!(
            "contributions of {n_rows} rows are {width} numbers each, more than {ANSWER_MAX} together; \
             ask for fewer rows at a time"
        ))),
    }
}

/// The share of a node's training rows that went left; a node that no row reached parts them evenly.
fn left_share(tree: &Tree, node: &Node) -> f64 {
    let cover = |child: i32| {
        let cover =
            if child >= 0 { tree.nodes[child as usize].cover } else { tree.leaf_cover[!child as usize] };
        cover.max(0.0)
    };
    let (left, right) = (cover(node.left), cover(node.right));
    let share = left / (left + right);
    if share.is_finite() { share } else { 0.5 }
}

/// The share of training rows in each leaf, as the nodes on its way part them.
fn shares_of_leaves(tree: &Tree) -> Vec<f64> {
    let mut leaves = vec![1.0; tree.n_leaves()];
    let mut inner = vec![1.0; tree.nodes.len()];
    for (i, node) in tree.nodes.iter().enumerate() {
        let left = left_share(tree, node);
        for (child, share) in [(node.left, left), (node.right, 1.0 - left)] {
            let here = inner[i] * share;
            if child >= 0 { inner[child as usize] = here } else { leaves[!child as usize] = here }
        }
    }
    leaves
}

/// What the walk needs to know about one tree. Edge `2i` leads to the left child of node `i`, `2i + 1` to the right.
struct Shape {
    /// The edge into each node; [`NONE`] for the root.
    parent: Vec<u32>,
    /// The nearest edge above each node that belongs to the same column, or [`NONE`].
    same: Vec<u32>,
    /// The share of training rows on each edge, at its node alone.
    share: Vec<f64>,
    /// The share at all nodes of the edge's column down to it.
    joint: Vec<f64>,
    /// Points of the rule that is exact for this tree.
    n_points: usize,
    /// Whether each node is a threshold where NaN alone is missing or read as zero.
    plain: Vec<bool>,
}

impl Shape {
    fn of(tree: &Tree) -> Self {
        /// What is still to be done, last first.
        enum Step {
            Enter(i32),
            Set(u32, u32),
            Restore(u32, Option<u32>),
        }
        let n = tree.nodes.len();
        let mut shape = Self {
            parent: vec![NONE; n],
            same: vec![NONE; n],
            share: vec![0.0; 2 * n],
            joint: vec![0.0; 2 * n],
            n_points: 1,
            plain: tree
                .nodes
                .iter()
                .map(|n| matches!(n.split, Split::Below(_)) && n.missing != Missing::Zero)
                .collect(),
        };
        // The last edge of every column on the way down; a stack of its own, as trees may be deeper than ours.
        let mut last: HashMap<u32, u32> = HashMap::new();
        let mut steps = if n > 0 { vec![Step::Enter(0)] } else { vec![] };
        while let Some(step) = steps.pop() {
            match step {
                Step::Set(feature, edge) => {
                    last.insert(feature, edge);
                }
                Step::Restore(feature, Some(edge)) => {
                    last.insert(feature, edge);
                }
                Step::Restore(feature, None) => {
                    last.remove(&feature);
                }
                Step::Enter(child) if child < 0 => {
                    shape.n_points = shape.n_points.max(last.len().div_ceil(2));
                }
                Step::Enter(child) => {
                    let i = child as usize;
                    let node = &tree.nodes[i];
                    let same = last.get(&node.feature).copied();
                    let above = same.map_or(1.0, |edge| shape.joint[edge as usize]);
                    shape.same[i] = same.unwrap_or(NONE);
                    let left = left_share(tree, node);
                    let sides = [(node.left, left), (node.right, 1.0 - left)];
                    for (side, (child, share)) in sides.into_iter().enumerate() {
                        let edge = 2 * i + side;
                        shape.share[edge] = share;
                        shape.joint[edge] = above * share;
                        if child >= 0 {
                            shape.parent[child as usize] = edge as u32;
                        }
                        steps.push(Step::Restore(node.feature, same));
                        steps.push(Step::Enter(child));
                        steps.push(Step::Set(node.feature, edge as u32));
                    }
                }
            }
        }
        shape
    }
}

/// One node's numbers at one point `q`, for its left and right edge. With `f(o, z) = q o + (1 − q) z` of an edge's
/// column and the dash for the same column one edge above (`o' = z' = 1` without one), the product over the path grows
/// by `f / f'`, and the column's part by `w ((o − z) / f − (o' − z') / f')` of what lies below the edge: the second term
/// takes back what the edge above counted for these leaves.
struct Factors {
    /// `f / f'` for o = 1.
    pass: [f64; 2],
    /// For o = 0 and o' = 1.
    fail: [f64; 2],
    /// For o' = 0.
    gone: [f64; 2],
    /// The part's factor for o = 1; for o = 0 and o' = 1; it is 0 for o' = 0.
    part_pass: [f64; 2],
    part_fail: f64,
}

/// Which of eight rows, one bit each, go left at a node, and which passed all nodes of its column above.
#[derive(Clone, Copy)]
struct Marks {
    left: u8,
    above: u8,
}

/// The parts of one task's rows: for each output, block of rows and column one number a row.
fn task_parts(
    run: &Run,
    ensemble: &Ensemble,
    shapes: &[Shape],
    rules: &[Vec<(f64, f64)>],
    rows: &[f64],
    n: usize,
) -> Result<Vec<Lanes>> {
    let (p, k) = (ensemble.n_features, ensemble.n_outputs);
    let blocks = n.div_ceil(LANES);
    let mut columns = vec![[0.0; LANES]; blocks * p];
    for (i, row) in rows.chunks_exact(p.max(1)).enumerate() {
        let block = &mut columns[i / LANES * p..(i / LANES + 1) * p];
        block.iter_mut().zip(row).for_each(|(lanes, v)| lanes[i % LANES] = *v);
    }
    let mut parts = vec![[0.0; LANES]; k * blocks * p];
    let (mut marks, mut factors, mut edges) = (Vec::new(), Vec::new(), Vec::new());
    for (t, (tree, shape)) in ensemble.trees.iter().zip(shapes).enumerate() {
        let nodes = tree.nodes.len();
        if nodes == 0 {
            continue;
        }
        run.check()?;
        marks.clear();
        for block in columns.chunks_exact(p) {
            mark(tree, shape, block, &mut marks);
        }
        edges.resize(edges.len().max(2 * nodes), [0.0; LANES]);
        let outputs = match ensemble.output.get(t) {
            Some(&output) => output as usize..output as usize + 1,
            None => 0..k,
        };
        let values = outputs.len();
        for (nth, output) in outputs.enumerate() {
            let parts = &mut parts[output * blocks * p..(output + 1) * blocks * p];
            for &(q, w) in &rules[shape.n_points] {
                run.check()?;
                factors_at(tree, shape, q, w, |leaf| tree.leaves[leaf * values + nth], &mut factors);
                for (marks, parts) in marks.chunks_exact(nodes).zip(parts.chunks_exact_mut(p)) {
                    walk(tree, shape, &factors, marks, &mut edges[..2 * nodes], parts);
                }
            }
        }
    }
    Ok(parts)
}

fn mark(tree: &Tree, shape: &Shape, block: &[Lanes], marks: &mut Vec<Marks>) {
    let start = marks.len();
    for (i, node) in tree.nodes.iter().enumerate() {
        let values = &block[node.feature as usize];
        let mut left = 0_u8;
        match &node.split {
            Split::Below(threshold) if shape.plain[i] => {
                let missing = node.goes_left(f64::NAN);
                for (lane, v) in values.iter().enumerate() {
                    left |= u8::from((v <= threshold) | (v.is_nan() & missing)) << lane;
                }
            }
            _ => {
                for (lane, v) in values.iter().enumerate() {
                    left |= u8::from(node.goes_left(*v)) << lane;
                }
            }
        }
        let above = match shape.same[i] {
            NONE => u8::MAX,
            edge => {
                let same: Marks = marks[start + edge as usize / 2];
                same.above & if edge % 2 == 0 { same.left } else { !same.left }
            }
        };
        marks.push(Marks { left, above });
    }
}

fn factors_at(
    tree: &Tree,
    shape: &Shape,
    q: f64,
    w: f64,
    value: impl Fn(usize) -> f64,
    factors: &mut Vec<Factors>,
) {
    factors.clear();
    for (i, node) in tree.nodes.iter().enumerate() {
        let z_above = match shape.same[i] {
            NONE => 1.0,
            edge => shape.joint[edge as usize],
        };
        let f_above = q + (1.0 - q) * z_above;
        let part_above = (1.0 - z_above) / f_above;
        let mut f = Factors {
            pass: [0.0; 2],
            fail: [0.0; 2],
            gone: [0.0; 2],
            part_pass: [0.0; 2],
            part_fail: w * (-1.0 / (1.0 - q) - part_above),
        };
        for (side, child) in [node.left, node.right].into_iter().enumerate() {
            let z = shape.joint[2 * i + side];
            // A leaf's value is multiplied in on the last edge.
            let v = if child >= 0 { 1.0 } else { value(!child as usize) };
            let passed = q + (1.0 - q) * z;
            f.pass[side] = passed / f_above * v;
            f.fail[side] = (1.0 - q) * z / f_above * v;
            f.gone[side] = shape.share[2 * i + side] * v;
            f.part_pass[side] = w * ((1.0 - z) / passed - part_above);
        }
        factors.push(f);
    }
}

/// Goes down and up one tree for eight rows at one point, by the widest instructions there are; the bits of the result
/// are the same with all of them, as nothing is fused.
fn walk(
    tree: &Tree,
    shape: &Shape,
    factors: &[Factors],
    marks: &[Marks],
    edges: &mut [Lanes],
    parts: &mut [Lanes],
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn wide(
            tree: &Tree,
            shape: &Shape,
            f: &[Factors],
            m: &[Marks],
            edges: &mut [Lanes],
            parts: &mut [Lanes],
        ) {
            walk_lanes(tree, shape, f, m, edges, parts);
        }
        #[target_feature(enable = "avx2")]
        fn middle(
            tree: &Tree,
            shape: &Shape,
            f: &[Factors],
            m: &[Marks],
            edges: &mut [Lanes],
            parts: &mut [Lanes],
        ) {
            walk_lanes(tree, shape, f, m, edges, parts);
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            #[expect(unsafe_code, reason = "twice as quick as without the instructions")]
            // SAFETY: the processor has the instructions, as was just asked.
            unsafe {
                wide(tree, shape, factors, marks, edges, parts);
            }
            return;
        }
        if is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "twice as quick as without the instructions")]
            // SAFETY: the processor has the instructions, as was just asked.
            unsafe {
                middle(tree, shape, factors, marks, edges, parts);
            }
            return;
        }
    }
    walk_lanes(tree, shape, factors, marks, edges, parts);
}

/// `a` for the lanes whose bit is set, else `b`.
#[inline(always)]
fn pick(bits: u8, a: f64, b: f64) -> Lanes {
    std::array::from_fn(|lane| if bits & (1 << lane) != 0 { a } else { b })
}

#[inline(always)]
fn walk_lanes(
    tree: &Tree,
    shape: &Shape,
    factors: &[Factors],
    marks: &[Marks],
    edges: &mut [Lanes],
    parts: &mut [Lanes],
) {
    let n = tree.nodes.len();
    let (factors, marks, parent, edges) =
        (&factors[..n], &marks[..n], &shape.parent[..n], &mut edges[..2 * n]);
    // Down: the product over the path to each edge, from the root on, as children stand behind their parents.
    for i in 0..n {
        let (f, m) = (&factors[i], marks[i]);
        let above = match parent[i] {
            NONE => [1.0; LANES],
            edge => edges[edge as usize],
        };
        let (mut left, mut right) = (pick(m.left, f.pass[0], f.fail[0]), pick(!m.left, f.pass[1], f.fail[1]));
        if m.above != u8::MAX {
            for lane in 0..LANES {
                if m.above & (1 << lane) == 0 {
                    left[lane] = f.gone[0];
                    right[lane] = f.gone[1];
                }
            }
        }
        for lane in 0..LANES {
            left[lane] *= above[lane];
            right[lane] *= above[lane];
        }
        edges[2 * i] = left;
        edges[2 * i + 1] = right;
    }
    // Up: the sum over the leaves below each edge, and with it the column's part.
    for i in (0..n).rev() {
        let (f, m) = (&factors[i], marks[i]);
        let (left, right) = (edges[2 * i], edges[2 * i + 1]);
        let (mut of_left, mut of_right) =
            (pick(m.left, f.part_pass[0], f.part_fail), pick(!m.left, f.part_pass[1], f.part_fail));
        if m.above != u8::MAX {
            for lane in 0..LANES {
                if m.above & (1 << lane) == 0 {
                    of_left[lane] = 0.0;
                    of_right[lane] = 0.0;
                }
            }
        }
        let part = &mut parts[tree.nodes[i].feature as usize];
        for lane in 0..LANES {
            part[lane] += left[lane] * of_left[lane] + right[lane] * of_right[lane];
        }
        if parent[i] != NONE {
            let sum = &mut edges[parent[i] as usize];
            for lane in 0..LANES {
                sum[lane] = left[lane] + right[lane];
            }
        }
    }
}

/// Points and weights on 0 … 1 of the rule that is exact for polynomials up to degree `2 n − 1`.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let degree = n as f64;
    (0..n)
        .map(|i| {
            // Newton's steps from the usual guess; the polynomial by its recurrence.
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (degree + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut now, mut before) = (1.0, 0.0);
                for j in 1..=n {
                    let j = j as f64;
                    (now, before) = (((2.0 * j - 1.0) * x * now - (j - 1.0) * before) / j, now);
                }
                slope = degree * (x * now - before) / (x * x - 1.0);
                let step = now / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            ((1.0 + x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_integrates_powers_exactly() {
        for n in [1, 2, 3, 5, 10, 40] {
            let rule = gauss_legendre(n);
            for power in 0..2 * n as i32 {
                let sum: f64 = rule.iter().map(|(q, w)| w * q.powi(power)).sum();
                let exact = 1.0 / f64::from(power + 1);
                assert!((sum - exact).abs() < 1e-14, "{n} {power}: {sum} {exact}");
            }
        }
    }
}
