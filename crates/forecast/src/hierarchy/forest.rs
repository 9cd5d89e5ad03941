//! The nested part of a hierarchy, on which least squares with separate variances are solved exactly in two passes.

/// No parent.
const ROOT: u32 = u32::MAX;

/// The largest family of nested aggregates that is found by taking small ones first, as trees over the bottom series.
/// Nodes are numbered as in the hierarchy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Forest {
    n_aggregates: usize,
    /// One parent a node, `ROOT` where there is none.
    parent: Vec<u32>,
    /// The aggregates in the forest, children before parents.
    order: Vec<u32>,
    /// The children of `order[k]` are `children[offsets[k]..offsets[k + 1]]`.
    offsets: Vec<usize>,
    children: Vec<u32>,
    /// The aggregates that cross some of the forest's.
    crossed: Vec<u32>,
}

/// Space for [`Forest::solve`], to be used again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    estimate: Vec<f64>,
    variance: Vec<f64>,
    sums: Vec<(f64, f64)>,
}

impl Forest {
    pub(super) fn new(member_offsets: &[usize], members: &[u32], n_bottom: usize) -> Self {
        let n_aggregates = member_offsets.len() - 1;
        let n = n_aggregates + n_bottom;
        let of = |a: usize| &members[member_offsets[a]..member_offsets[a + 1]];
        let mut by_size: Vec<usize> = (0..n_aggregates).collect();
        // Of aggregates of the same members, the one of the upper level becomes the parent.
        by_size.sort_by_key(|a| (of(*a).len(), n_aggregates - a));
        let mut top: Vec<u32> = (n_aggregates..n).map(|i| i as u32).collect();
        let mut parent = vec![ROOT; n];
        let (mut order, mut offsets, mut children, mut crossed) = (vec![], vec![0], vec![], vec![]);
        for a in by_size {
            let mut below: Vec<u32> = of(a).iter().map(|b| top[*b as usize]).collect();
            below.sort_unstable();
            below.dedup();
            let covered: usize = below
                .iter()
                .map(|c| if (*c as usize) < n_aggregates { of(*c as usize).len() } else { 1 })
                .sum();
            if covered != of(a).len() {
                crossed.push(a as u32);
                continue;
            }
            below.iter().for_each(|c| parent[*c as usize] = a as u32);
            of(a).iter().for_each(|b| top[*b as usize] = a as u32);
            order.push(a as u32);
            children.extend(below);
            offsets.push(children.len());
        }
        crossed.sort_unstable();
        Self { n_aggregates, parent, order, offsets, children, crossed }
    }

    /// Aggregates that are not in the forest.
    pub(super) fn crossed(&self) -> &[u32] {
        &self.crossed
    }

    /// The nodes without a parent in the forest.
    pub(super) fn roots(&self) -> impl Iterator<Item = usize> + '_ {
        let crossed = |i: usize| self.crossed.binary_search(&(i as u32)).is_ok();
        (0..self.parent.len()).filter(move |i| self.parent[*i] == ROOT && !crossed(*i))
    }

    /// The forest's aggregates with their children, parents first.
    pub(super) fn downwards(&self) -> impl Iterator<Item = (usize, &[u32])> + '_ {
        (0..self.order.len()).rev().map(|k| (self.order[k] as usize, self.children_of(k)))
    }

    fn children_of(&self, k: usize) -> &[u32] {
        &self.children[self.offsets[k]..self.offsets[k + 1]]
    }

    /// Minimises Σ (yᵢ − (S b)ᵢ)² / wᵢ over the nodes of the forest. Leaves with `pinned` are held at zero. `bottom` gets
    /// the solution.
    ///
    /// Going up, what the children say of their parent (a sum with the sum of their variances) is averaged with the
    /// parent's own value by precision; going down, what is left over is shared out in proportion to variances. This is
    /// the exact solution, as Gaussian elimination in the order of the tree makes no new entries.
    pub(super) fn solve(
        &self,
        y: &[f64],
        w: &[f64],
        pinned: Option<&[bool]>,
        work: &mut Work,
        bottom: &mut [f64],
    ) {
        self.upward(y, w, pinned, work);
        for (k, &a) in self.order.iter().enumerate().rev() {
            let (sum, variance) = work.sums[k];
            if variance > 0.0 {
                let share = (work.estimate[a as usize] - sum) / variance;
                for &c in self.children_of(k) {
                    work.estimate[c as usize] += work.variance[c as usize] * share;
                }
            }
        }
        bottom.copy_from_slice(&work.estimate[self.n_aggregates..]);
    }

    fn upward(&self, y: &[f64], w: &[f64], pinned: Option<&[bool]>, work: &mut Work) {
        work.estimate.clear();
        work.estimate.extend(y);
        work.variance.clear();
        work.variance.extend(w);
        work.sums.resize(self.order.len(), (0.0, 0.0));
        if let Some(pinned) = pinned {
            for (b, _) in pinned.iter().enumerate().filter(|(_, p)| **p) {
                work.estimate[self.n_aggregates + b] = 0.0;
                work.variance[self.n_aggregates + b] = 0.0;
            }
        }
        for (k, &a) in self.order.iter().enumerate() {
            let a = a as usize;
            let (mut sum, mut variance) = (0.0, 0.0);
            for &c in self.children_of(k) {
                sum += work.estimate[c as usize];
                variance += work.variance[c as usize];
            }
            work.sums[k] = (sum, variance);
            let gain = variance / (variance + w[a]);
            work.estimate[a] = sum + gain * (y[a] - sum);
            work.variance[a] = w[a] * gain;
        }
    }

    /// The variance of each node's solution, had the yᵢ errors of variance wᵢ and independent of one another; for
    /// crossed aggregates their own wᵢ. In a hierarchy with crossed aggregates these are upper bounds, since those say
    /// something about the forest too.
    pub(super) fn variances(&self, w: &[f64]) -> Vec<f64> {
        let mut work = Work::default();
        self.upward(&vec![0.0; w.len()], w, None, &mut work);
        let mut out = work.variance;
        for (k, &a) in self.order.iter().enumerate().rev() {
            let total = work.sums[k].1;
            let learnt = (total - out[a as usize]).max(0.0);
            for &c in self.children_of(k) {
                let v = out[c as usize];
                out[c as usize] = if total > 0.0 { v - (v / total) * (v / total) * learnt } else { v };
            }
        }
        out
    }
}
