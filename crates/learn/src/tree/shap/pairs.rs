//! Parts of pairs of columns.

use super::{Shape, answer, constants, gauss_legendre};
use crate::matrix::Matrix;
use crate::tree::{Ensemble, Tree};
use rayon::prelude::*;
use tradewind_core::{Result, Run};

/// Splits [`contributions`](super::contributions) by pairs of columns (the Shapley interaction index of Grabisch and
/// Roubens 1999, shared evenly by the two): for every output a square of `n_features + 1` rows and columns, row after
/// row. The place (i, j) is what the columns do only together, (i, i) what column i does by itself; a row of the square
/// adds up to the column's contribution. The last row and column are 0 but for the constant at their corner.
///
/// Costs leaves times the square of depth for each row and tree, and `(n_features + 1)²` numbers a row. Fails as
/// [`contributions`](super::contributions) does.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::Matrix;
/// use tradewind_learn::tree::{Ensemble, Tree, shap};
/// let ensemble = Ensemble {
///     n_features: 1, n_outputs: 1, base: vec![0.0], trees: vec![Tree::leaf(vec![2.0], 5.0)], output: vec![0], mean: false,
/// };
/// let x = Matrix::from_rows(&[[0.3]]).unwrap();
/// assert_eq!(shap::interactions(&Run::new(0), &ensemble, &x).unwrap().values(), [0.0, 0.0, 0.0, 2.0]);
/// ```
pub fn interactions(run: &Run, ensemble: &Ensemble, x: &Matrix) -> Result<Matrix> {
    let parts = super::contributions(run, ensemble, x)?;
    let (p, k) = (ensemble.n_features, ensemble.n_outputs);
    let square = (p + 1).saturating_mul(p + 1);
    let mut out = answer(x.n_rows(), square.saturating_mul(k))?;
    if out.values().is_empty() {
        return Ok(out);
    }
    let constant = constants(ensemble);
    let plans: Vec<Plan> = ensemble.trees.iter().map(Plan::of).collect();
    run.install(|| {
        out.values_mut().par_chunks_mut(square * k).enumerate().try_for_each(|(i, out)| {
            run.check()?;
            let row = x.row(i);
            for (t, (tree, plan)) in ensemble.trees.iter().zip(&plans).enumerate() {
                let outputs = match ensemble.output.get(t) {
                    Some(&output) => output as usize..output as usize + 1,
                    None => 0..k,
                };
                add_tree(tree, plan, row, |leaf, a, b, share| {
                    let width = outputs.len();
                    for (nth, output) in outputs.clone().enumerate() {
                        let add = share * tree.leaves[leaf * width + nth] * ensemble.scale(output);
                        out[output * square + a * (p + 1) + b] += add;
                        out[output * square + b * (p + 1) + a] += add;
                    }
                });
            }
            for output in 0..k {
                let out = &mut out[output * square..(output + 1) * square];
                for a in 0..p {
                    let pairs: f64 = out[a * (p + 1)..a * (p + 1) + p].iter().sum();
                    out[a * (p + 1) + a] = parts.get(i, output * (p + 1) + a) - pairs;
                }
                out[square - 1] = constant[output];
            }
            Ok(())
        })
    })?;
    Ok(out)
}

/// The paths of a tree.
struct Plan {
    shape: Shape,
    /// The edge into each leaf.
    into_leaf: Vec<u32>,
    rule: Vec<(f64, f64)>,
}

impl Plan {
    fn of(tree: &Tree) -> Self {
        let shape = Shape::of(tree);
        let mut into_leaf = vec![super::NONE; tree.n_leaves()];
        for (i, node) in tree.nodes.iter().enumerate() {
            for (side, child) in [node.left, node.right].into_iter().enumerate() {
                if child < 0 {
                    into_leaf[!child as usize] = (2 * i + side) as u32;
                }
            }
        }
        let rule = gauss_legendre(shape.n_points);
        Self { shape, into_leaf, rule }
    }
}

/// Calls `add(leaf, column, column, half of the pair's share of the leaf's value)` for every pair on every path.
fn add_tree(tree: &Tree, plan: &Plan, row: &[f64], mut add: impl FnMut(usize, usize, usize, f64)) {
    let left: Vec<bool> = tree.nodes.iter().map(|n| n.goes_left(row[n.feature as usize])).collect();
    // Column, whether the row passes, and share of training rows.
    let mut path: Vec<(usize, bool, f64)> = Vec::new();
    for (leaf, &into) in plan.into_leaf.iter().enumerate() {
        path.clear();
        let mut edge = into;
        while edge != super::NONE {
            let i = edge as usize / 2;
            let passes = left[i] == (edge % 2 == 0);
            let feature = tree.nodes[i].feature as usize;
            match path.iter_mut().find(|(f, ..)| *f == feature) {
                Some(seen) => seen.1 &= passes,
                // From the leaf upwards, so the first edge of a column holds the joint share.
                None => path.push((feature, passes, plan.shape.joint[edge as usize])),
            }
            edge = plan.shape.parent[i];
        }
        for a in 0..path.len() {
            for b in 0..a {
                let (mut sum, (fa, oa, za), (fb, ob, zb)) = (0.0, path[a], path[b]);
                for &(q, w) in &plan.rule {
                    let others = path.iter().enumerate().filter(|(i, _)| *i != a && *i != b);
                    sum += w * others
                        .map(|(_, (_, o, z))| f64::from(u8::from(*o)) * q + (1.0 - q) * z)
                        .product::<f64>();
                }
                let share = 0.5 * sum * (f64::from(u8::from(oa)) - za) * (f64::from(u8::from(ob)) - zb);
                if share != 0.0 {
                    add(leaf, fa, fb, share);
                }
            }
        }
    }
}
