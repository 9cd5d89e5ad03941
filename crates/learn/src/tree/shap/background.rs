//! Contributions against given background rows.

use super::answer;
use crate::matrix::Matrix;
use crate::tree::{Ensemble, Tree};
use rayon::prelude::*;
use tradewind_core::{Error, Result, Run};

/// The mean over the background rows `b` of the Shapley values of the game in which a column is taken from the row `x`
/// when it is known and from `b` when it is not (Lundberg et al. 2020, "interventional"). Layout as in
/// [`contributions`](super::contributions); the constant is the mean raw score of the background rows.
///
/// On the way to one leaf, let `a` columns pass only by `x` and `c` only by `b`; then each of the first adds
/// `v (a − 1)! c! / (a + c)!` and each of the second `−v a! (c − 1)! / (a + c)!`. Costs rows times background rows times
/// the nodes that either of the two reaches.
///
/// Fails on another width than the trees were learnt on and on no background rows.
pub fn interventional(run: &Run, ensemble: &Ensemble, x: &Matrix, background: &Matrix) -> Result<Matrix> {
    x.check_width(ensemble.n_features, "the model of trees")?;
    if background.n_rows() == 0 {
        return Err(Error::NotEnoughData {
            what: "the background of contributions".into(),
            needed: 1,
            got: 0,
        });
    }
    let scores = ensemble.scores(background)?;
    let (p, k) = (ensemble.n_features, ensemble.n_outputs);
    let mut out = answer(x.n_rows(), k * (p + 1))?;
    if out.values().is_empty() {
        return Ok(out);
    }
    let n = background.n_rows() as f64;
    let constant: Vec<f64> =
        (0..k).map(|o| scores.values().iter().skip(o).step_by(k).sum::<f64>() / n).collect();
    let scale: Vec<f64> = (0..k).map(|o| ensemble.scale(o) / n).collect();
    run.progress().begin("contributions", x.n_rows() as u64);
    let done = run.install(|| {
        out.values_mut().par_chunks_mut(k * (p + 1)).enumerate().try_for_each(|(i, out)| {
            let mut pair = Pair { known: vec![Side::Both; p], a: 0, c: 0 };
            for (t, tree) in ensemble.trees.iter().enumerate() {
                run.check()?;
                let first = ensemble.output.get(t).map_or(0, |o| *o as usize);
                let width = if ensemble.output.is_empty() { k } else { 1 };
                for b in background.rows() {
                    pair.tree(tree, x.row(i), b, |leaf, feature, share| {
                        for nth in 0..width {
                            out[(first + nth) * (p + 1) + feature] += share * tree.leaves[leaf * width + nth];
                        }
                    });
                }
            }
            for (output, out) in out.chunks_exact_mut(p + 1).enumerate() {
                out[..p].iter_mut().for_each(|v| *v *= scale[output]);
                out[p] = constant[output];
            }
            run.progress().advance(1);
            Ok(())
        })
    });
    run.progress().end();
    done.map(|()| out)
}

/// By whom a column passes on the way so far.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Both,
    Row,
    Background,
}

struct Pair {
    known: Vec<Side>,
    /// Columns that pass by the row alone, and by the background alone.
    a: usize,
    c: usize,
}

/// What is still to be done, last first: go into a child, or let a column belong to a side again.
enum Step {
    Enter(i32),
    Set(usize, Side),
}

impl Pair {
    fn set(&mut self, feature: usize, side: Side) {
        let old = std::mem::replace(&mut self.known[feature], side);
        self.a = self.a + usize::from(side == Side::Row) - usize::from(old == Side::Row);
        self.c = self.c + usize::from(side == Side::Background) - usize::from(old == Side::Background);
    }

    fn tree(&mut self, tree: &Tree, x: &[f64], b: &[f64], mut add: impl FnMut(usize, usize, f64)) {
        let mut on_way: Vec<usize> = Vec::new();
        let mut steps = vec![Step::Enter(if tree.nodes.is_empty() { !0 } else { 0 })];
        while let Some(step) = steps.pop() {
            match step {
                Step::Set(feature, side) => {
                    if side == Side::Both {
                        on_way.pop();
                    } else if self.known[feature] == Side::Both {
                        on_way.push(feature);
                    }
                    self.set(feature, side);
                }
                Step::Enter(child) if child >= 0 => {
                    let node = &tree.nodes[child as usize];
                    let j = node.feature as usize;
                    let child_of = |v: f64| if node.goes_left(v) { node.left } else { node.right };
                    let (by_x, by_b) = (child_of(x[j]), child_of(b[j]));
                    match self.known[j] {
                        Side::Row => steps.push(Step::Enter(by_x)),
                        Side::Background => steps.push(Step::Enter(by_b)),
                        Side::Both if by_x == by_b => steps.push(Step::Enter(by_x)),
                        Side::Both => {
                            for (to, side) in [(by_x, Side::Row), (by_b, Side::Background)] {
                                steps.push(Step::Set(j, Side::Both));
                                steps.push(Step::Enter(to));
                                steps.push(Step::Set(j, side));
                            }
                        }
                    }
                }
                Step::Enter(child) => {
                    let (a, c) = (self.a, self.c);
                    let (for_row, for_background) = (weight(a, c), -weight(c, a));
                    for &j in &on_way {
                        let share = if self.known[j] == Side::Row { for_row } else { for_background };
                        add(!child as usize, j, share);
                    }
                }
            }
        }
    }
}

/// `(a − 1)! c! / (a + c)!`, without large numbers on the way; 0 where `a` is 0.
fn weight(a: usize, c: usize) -> f64 {
    if a == 0 {
        return 0.0;
    }
    // (a−1)! c! / (a+c)! = 1 / (a · C(a + c, c)).
    let choose: f64 = (1..=c).map(|i| (a + i) as f64 / i as f64).product();
    1.0 / (a as f64 * choose)
}
