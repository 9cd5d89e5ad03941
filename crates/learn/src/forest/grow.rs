//! Growing one deep tree.
//!
//! The drawn rows lie in one list. A node is a stretch of it, and a split parts its stretch in place, so that a tree of
//! any depth needs no more room. At a node the columns drawn are summed up by bin, one cell each. Large nodes scan all
//! bins; small ones, which are most, remember in 256 bits which bins they touched and scan and clear only those.

use super::bins::{BinValues, Binned};
use super::criterion::Criterion;
use crate::tree::{Missing, Node, Split, Tree};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use tradewind_core::{Result, Run};

/// Nodes of fewer rows remember the bins they touch.
const SMALL_NODE: usize = 192;

/// Bins a byte can tell apart.
const BYTE: usize = 256;

/// When growing ends, and how splits are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Columns looked at per node.
    pub n_features: usize,
    pub max_depth: usize,
    pub min_samples_leaf: f64,
    pub min_samples_split: f64,
    pub max_leaf_nodes: Option<usize>,
    /// In units of the worth, that is times the total weight.
    pub min_decrease: f64,
    /// One random cut per column in place of the best.
    pub random_cut: bool,
}

/// A set of bins.
type BinSet = [u64; 4];

#[inline(always)]
fn holds(set: &BinSet, bin: u8) -> bool {
    set[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1
}

#[inline(always)]
fn put(set: &mut BinSet, bin: u8) {
    set[usize::from(bin >> 6)] |= 1 << (bin & 63);
}

/// The bins `0..=last`.
fn up_to(last: u8) -> BinSet {
    let mut set = [0; 4];
    for (word, bits) in set.iter_mut().enumerate() {
        let from = word * 64;
        let last = usize::from(last);
        *bits = match last {
            _ if last >= from + 63 => u64::MAX,
            _ if last >= from => (1 << (last - from + 1)) - 1,
            _ => 0,
        };
    }
    set
}

/// The best split of a node so far.
#[derive(Clone, Copy)]
struct Found {
    feature: u32,
    left: BinSet,
    /// The cut between values, unless the column holds categories.
    threshold: f64,
    missing_left: bool,
    /// Worth of both sides.
    worth: f64,
}

/// A node that has a split and waits to be parted.
struct Waiting {
    from: u32,
    to: u32,
    depth: u32,
    /// Where the child's number is to be written: parent and side.
    parent: Option<(u32, bool)>,
    found: Found,
    /// How much the worth rises.
    gain: f64,
    weight: f64,
}

/// What waits: the newest first, or the one of most gain first.
enum Frontier {
    Depth(Vec<Waiting>),
    Best(BinaryHeap<ByGain>),
}

struct ByGain(Waiting);

impl Ord for ByGain {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.gain.total_cmp(&other.0.gain).then(other.0.from.cmp(&self.0.from))
    }
}

impl PartialOrd for ByGain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByGain {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByGain {}

impl Frontier {
    fn push(&mut self, waiting: Waiting) {
        match self {
            Self::Depth(list) => list.push(waiting),
            Self::Best(heap) => heap.push(ByGain(waiting)),
        }
    }

    fn pop(&mut self) -> Option<Waiting> {
        match self {
            Self::Depth(list) => list.pop(),
            Self::Best(heap) => heap.pop().map(|w| w.0),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Depth(list) => list.len(),
            Self::Best(heap) => heap.len(),
        }
    }
}

/// Grows a tree on the rows drawn (row and how often, each row at most once).
pub(super) fn grow<C: Criterion>(
    run: &Run,
    criterion: &C,
    columns: &[Binned],
    limits: &Limits,
    drawn: impl Iterator<Item = (u32, u32)>,
    rng: &mut ChaCha8Rng,
) -> Result<Tree> {
    let items: Vec<C::Item> = drawn.map(|(row, count)| criterion.item(row, count)).collect();
    let lanes = criterion.lanes();
    let mut grower = Grower {
        criterion,
        columns,
        limits,
        scratch: items.clone(),
        items,
        cells: vec![0.0; BYTE * lanes],
        total: vec![0.0; lanes],
        left: vec![0.0; lanes],
        right: vec![0.0; lanes],
        both: vec![0.0; lanes],
        features: (0..columns.len() as u32).collect(),
        order: Vec::new(),
        tree: Tree { nodes: Vec::new(), leaves: Vec::new(), leaf_cover: Vec::new() },
        frontier: match limits.max_leaf_nodes {
            None => Frontier::Depth(Vec::new()),
            Some(_) => Frontier::Best(BinaryHeap::new()),
        },
    };
    grower.grow(run, rng)?;
    Ok(grower.tree)
}

struct Grower<'a, C: Criterion> {
    criterion: &'a C,
    columns: &'a [Binned],
    limits: &'a Limits,
    items: Vec<C::Item>,
    scratch: Vec<C::Item>,
    /// One cell per bin; all zero between uses.
    cells: Vec<f64>,
    total: Vec<f64>,
    left: Vec<f64>,
    right: Vec<f64>,
    both: Vec<f64>,
    /// A permutation of the columns, shuffled a little at every node.
    features: Vec<u32>,
    /// Bins of categories by score.
    order: Vec<(f64, u8)>,
    tree: Tree,
    frontier: Frontier,
}

impl<C: Criterion> Grower<'_, C> {
    fn grow(&mut self, run: &Run, rng: &mut ChaCha8Rng) -> Result<()> {
        self.child(0, self.items.len(), 0, None, rng);
        while let Some(at) = self.frontier.pop() {
            if at.to - at.from > 4096 {
                run.check()?;
            }
            let full = self
                .limits
                .max_leaf_nodes
                .is_some_and(|max| self.tree.n_leaves() + self.frontier.len() + 1 >= max);
            if full {
                self.sum_up(at.from as usize, at.to as usize);
                self.leaf(at.parent);
                continue;
            }
            let node = self.tree.nodes.len() as i32;
            self.hang(at.parent, node);
            self.tree.nodes.push(self.node(&at));
            let middle = at.from as usize + self.part(&at);
            // The right side first, so that the left one is taken up next, while its rows are at hand.
            self.child(middle, at.to as usize, at.depth + 1, Some((node as u32, false)), rng);
            self.child(at.from as usize, middle, at.depth + 1, Some((node as u32, true)), rng);
        }
        Ok(())
    }

    /// Writes a child's number into its parent.
    fn hang(&mut self, parent: Option<(u32, bool)>, child: i32) {
        if let Some((parent, is_left)) = parent {
            let parent = &mut self.tree.nodes[parent as usize];
            if is_left {
                parent.left = child;
            } else {
                parent.right = child;
            }
        }
    }

    /// Makes a leaf of what `total` holds.
    fn leaf(&mut self, parent: Option<(u32, bool)>) {
        let leaf = self.tree.n_leaves() as i32;
        self.hang(parent, !leaf);
        self.criterion.leaf(&self.total, &mut self.tree.leaves);
        self.tree.leaf_cover.push(self.criterion.weight(&self.total));
    }

    fn sum_up(&mut self, from: usize, to: usize) {
        self.total.fill(0.0);
        for item in &self.items[from..to] {
            self.criterion.add(&mut self.total, item);
        }
    }

    /// Looks at a stretch of rows: it becomes a leaf or waits with its split.
    fn child(
        &mut self,
        from: usize,
        to: usize,
        depth: u32,
        parent: Option<(u32, bool)>,
        rng: &mut ChaCha8Rng,
    ) {
        self.sum_up(from, to);
        let limits = self.limits;
        let count = self.criterion.count(&self.total);
        let done = depth as usize >= limits.max_depth
            || count < limits.min_samples_split
            || count < 2.0 * limits.min_samples_leaf
            || self.criterion.is_pure(&self.items[from..to], &self.total);
        let found = if done { None } else { self.find(from, to, rng) };
        let Some(found) = found else { return self.leaf(parent) };
        // Rounding may leave a split without use a little below zero.
        let gain = (found.worth - self.criterion.worth(&self.total)).max(0.0);
        if gain < limits.min_decrease {
            return self.leaf(parent);
        }
        let weight = self.criterion.weight(&self.total);
        self.frontier.push(Waiting { from: from as u32, to: to as u32, depth, parent, found, gain, weight });
    }

    fn node(&self, at: &Waiting) -> Node {
        let Found { feature, left, threshold, missing_left, .. } = at.found;
        let split = match &self.columns[feature as usize].values {
            BinValues::Numbers { .. } => Split::Below(threshold),
            BinValues::Codes(codes) => {
                let mut words = Vec::new();
                for (_, codes) in codes.iter().enumerate().filter(|(bin, _)| holds(&left, *bin as u8)) {
                    for &code in codes {
                        let word = code as usize / 32;
                        if words.len() <= word {
                            words.resize(word + 1, 0);
                        }
                        words[word] |= 1 << (code % 32);
                    }
                }
                Split::In(words)
            }
        };
        let (missing, cover) = (Missing::Nan, at.weight);
        Node { feature, split, missing, missing_left, left: 0, right: 0, gain: at.gain, cover }
    }

    /// Parts a stretch by its split; how many rows went left.
    fn part(&mut self, at: &Waiting) -> usize {
        let column = &self.columns[at.found.feature as usize];
        let mut goes_left = [false; BYTE];
        (0..BYTE).for_each(|bin| goes_left[bin] = holds(&at.found.left, bin as u8));
        let items = &mut self.items[at.from as usize..at.to as usize];
        let scratch = &mut self.scratch[..items.len()];
        let (mut n_left, mut n_right) = (0, 0);
        // Both places are written and one is kept: no branch to guess wrong.
        for i in 0..items.len() {
            let item = items[i];
            let left = goes_left[usize::from(column.bins[C::row(&item)])];
            items[n_left] = item;
            scratch[n_right] = item;
            n_left += usize::from(left);
            n_right += usize::from(!left);
        }
        items[n_left..].copy_from_slice(&scratch[..n_right]);
        n_left
    }

    /// The best split of a stretch over columns drawn; `None` when nothing can part it.
    fn find(&mut self, from: usize, to: usize, rng: &mut ChaCha8Rng) -> Option<Found> {
        let mut best: Option<Found> = None;
        let n = self.features.len();
        for drawn in 0..n {
            // Columns that cannot part the node do not end the search, as in scikit-learn.
            if drawn >= self.limits.n_features && best.is_some() {
                break;
            }
            let pick = if self.limits.n_features < n { rng.random_range(drawn..n) } else { drawn };
            self.features.swap(drawn, pick);
            self.look_at(self.features[drawn], from, to, &mut best, rng);
        }
        let found = best.as_mut()?;
        if found.missing_left
            && let Some(bin) = self.columns[found.feature as usize].missing
        {
            put(&mut found.left, bin);
        }
        best
    }

    /// Sums a column up by bin and looks for a better split.
    fn look_at(
        &mut self,
        feature: u32,
        from: usize,
        to: usize,
        best: &mut Option<Found>,
        rng: &mut ChaCha8Rng,
    ) {
        let column = &self.columns[feature as usize];
        let lanes = self.criterion.lanes();
        let items = &self.items[from..to];
        let (bins, cells) = (&column.bins[..], &mut self.cells[..BYTE * lanes]);
        let mut touched: BinSet = [0; 4];
        if items.len() < SMALL_NODE {
            for item in items {
                let bin = bins[C::row(item)];
                put(&mut touched, bin);
                self.criterion.add(&mut cells[usize::from(bin) * lanes..][..lanes], item);
            }
        } else {
            for item in items {
                let bin = usize::from(bins[C::row(item)]);
                self.criterion.add(&mut cells[bin * lanes..][..lanes], item);
            }
            for bin in 0..=(column.n_bins.min(BYTE - 1) as u8) {
                if self.criterion.count(&cells[usize::from(bin) * lanes..][..lanes]) > 0.0 {
                    put(&mut touched, bin);
                }
            }
        }
        // The missing rows are set aside in `both`.
        let mut missing = false;
        if let Some(bin) = column.missing
            && holds(&touched, bin)
        {
            missing = true;
            touched[usize::from(bin >> 6)] &= !(1 << (bin & 63));
            let cell = &mut cells[usize::from(bin) * lanes..][..lanes];
            self.both.copy_from_slice(cell);
            cell.fill(0.0);
        }
        match (&column.values, self.limits.random_cut) {
            (BinValues::Numbers { low, high }, false) => {
                self.scan_numbers(feature, &touched, low, high, missing, best);
            }
            (BinValues::Numbers { low, high }, true) => {
                self.cut_numbers(feature, &touched, low, high, missing, best, rng);
            }
            (BinValues::Codes(_), random) => self.scan_codes(feature, &touched, missing, random, best, rng),
        }
    }

    /// Offers a cut whose left side, without the missing rows, is in `left`; whether it became the best.
    #[inline(always)]
    fn offer(&mut self, missing: bool, best: &mut Option<Found>) -> Option<bool> {
        let mut better = None;
        let mut top = best.as_ref().map_or(f64::NEG_INFINITY, |b| b.worth);
        let c = self.criterion;
        // First with the missing rows on the right, then on the left.
        for missing_left in [false, true] {
            if missing_left {
                if !missing {
                    break;
                }
                self.left.iter_mut().zip(&self.both).for_each(|(l, b)| *l += b);
            }
            for ((right, total), left) in self.right.iter_mut().zip(&self.total).zip(&self.left) {
                *right = total - left;
            }
            let least = self.limits.min_samples_leaf;
            if c.count(&self.left) >= least && c.count(&self.right) >= least {
                let worth = c.worth(&self.left) + c.worth(&self.right);
                if worth > top && worth.is_finite() {
                    top = worth;
                    better = Some(missing_left);
                }
            }
            if missing_left {
                self.left.iter_mut().zip(&self.both).for_each(|(l, b)| *l -= b);
            }
        }
        if let Some(missing_left) = better {
            // Where no row is missing, unknown values go with the many.
            let heavier = c.weight(&self.left) > c.weight(&self.total) / 2.0;
            let missing_left = if missing { missing_left } else { heavier };
            *best = Some(Found { feature: 0, left: [0; 4], threshold: 0.0, missing_left, worth: top });
        }
        better
    }

    /// All cuts between bins that hold rows.
    fn scan_numbers(
        &mut self,
        feature: u32,
        touched: &BinSet,
        low: &[f64],
        high: &[f64],
        missing: bool,
        best: &mut Option<Found>,
    ) {
        let lanes = self.criterion.lanes();
        self.left.fill(0.0);
        let mut last: Option<u8> = None;
        for (word, bits) in touched.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let bin = (word * 64) as u8 + bits.trailing_zeros() as u8;
                bits &= bits - 1;
                if let Some(last) = last
                    && self.offer(missing, best).is_some()
                    && let Some(best) = best
                {
                    best.feature = feature;
                    best.left = up_to(last);
                    best.threshold = between(high[usize::from(last)], low[usize::from(bin)]);
                }
                last = Some(bin);
                let cell = &mut self.cells[usize::from(bin) * lanes..][..lanes];
                for (left, v) in self.left.iter_mut().zip(cell) {
                    *left += *v;
                    *v = 0.0;
                }
            }
        }
        if missing {
            self.offer_present(feature, best);
        }
    }

    /// One cut at random between the least and the greatest value (Geurts, Ernst, Wehenkel 2006).
    fn cut_numbers(
        &mut self,
        feature: u32,
        touched: &BinSet,
        low: &[f64],
        high: &[f64],
        missing: bool,
        best: &mut Option<Found>,
        rng: &mut ChaCha8Rng,
    ) {
        let lanes = self.criterion.lanes();
        let first = (0..BYTE).find(|b| holds(touched, *b as u8));
        let last = (0..BYTE).rev().find(|b| holds(touched, *b as u8));
        let (Some(first), Some(last)) = (first, last) else { return self.clear(touched) };
        let mut threshold = f64::NAN;
        let mut edge = first as u8;
        if first < last {
            let share: f64 = rng.random();
            threshold = low[first] * (1.0 - share) + high[last] * share;
        }
        self.left.fill(0.0);
        let mut next = last;
        for bin in first..=last {
            if !holds(touched, bin as u8) {
                continue;
            }
            // The first bin goes left and the last right, whatever was drawn.
            let goes_left = first < last && (bin == first || (bin < last && low[bin] <= threshold));
            let cell = &mut self.cells[bin * lanes..][..lanes];
            if goes_left {
                edge = bin as u8;
                self.left.iter_mut().zip(&*cell).for_each(|(left, v)| *left += v);
            } else if next == last {
                next = bin;
            }
            cell.fill(0.0);
        }
        if first < last {
            let (high, low) = (high[usize::from(edge)], low[next]);
            if !(high..low).contains(&threshold) {
                threshold = between(high, low);
            }
            if self.offer(missing, best).is_some()
                && let Some(best) = best
            {
                best.feature = feature;
                best.left = up_to(edge);
                best.threshold = threshold;
            }
        } else if missing {
            self.left.iter_mut().zip(&self.total).zip(&self.both).for_each(|((l, t), b)| *l = t - b);
            self.offer_present(feature, best);
        }
    }

    fn clear(&mut self, touched: &BinSet) {
        let lanes = self.criterion.lanes();
        for bin in (0..BYTE).filter(|b| holds(touched, *b as u8)) {
            self.cells[bin * lanes..][..lanes].fill(0.0);
        }
    }

    /// The split between rows with a value, which are in `left`, and rows without.
    fn offer_present(&mut self, feature: u32, best: &mut Option<Found>) {
        if self.criterion.count(&self.left) > 0.0
            && self.offer(false, best).is_some()
            && let Some(best) = best
        {
            best.feature = feature;
            best.left = [u64::MAX; 4];
            // The bin of missing values is the last of its column.
            if let Some(bin) = self.columns[feature as usize].missing {
                best.left[usize::from(bin >> 6)] &= !(1 << (bin & 63));
            }
            best.threshold = f64::MAX;
            best.missing_left = false;
        }
    }

    /// Cuts of the categories in the order of their scores, which holds the best of all sets for two classes and for
    /// means (Fisher 1958; Breiman et al. 1984); or one set at random.
    fn scan_codes(
        &mut self,
        feature: u32,
        touched: &BinSet,
        missing: bool,
        random: bool,
        best: &mut Option<Found>,
        rng: &mut ChaCha8Rng,
    ) {
        let lanes = self.criterion.lanes();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for bin in (0..BYTE).filter(|b| holds(touched, *b as u8)) {
            let cell = &self.cells[bin * lanes..][..lanes];
            let score = if random { rng.random() } else { self.criterion.score(cell, &self.total) };
            order.push((score, bin as u8));
        }
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // A random order cut at a random place.
        let only = if random && order.len() > 1 { Some(rng.random_range(1..order.len())) } else { None };
        self.left.fill(0.0);
        let mut set: BinSet = [0; 4];
        for (i, (_, bin)) in order.iter().enumerate() {
            if i > 0
                && only.is_none_or(|only| only == i)
                && let Some(missing_left) = self.offer(missing, best)
                && let Some(best) = best
            {
                best.feature = feature;
                // Unknown categories go right, so the heavier side goes there too.
                let heavier = self.criterion.weight(&self.left) > self.criterion.weight(&self.total) / 2.0;
                best.left = set;
                best.missing_left = missing && missing_left;
                if heavier {
                    best.left = [0; 4];
                    order[i..].iter().for_each(|(_, bin)| put(&mut best.left, *bin));
                    best.missing_left = missing && !missing_left;
                }
            }
            put(&mut set, *bin);
            let cell = &mut self.cells[usize::from(*bin) * lanes..][..lanes];
            for (left, v) in self.left.iter_mut().zip(cell) {
                *left += *v;
                *v = 0.0;
            }
        }
        if missing {
            self.offer_present(feature, best);
            if let Some(best) = best
                && best.feature == feature
                && best.threshold == f64::MAX
            {
                best.left = set;
            }
        }
        self.order = order;
    }
}

/// The middle of two values, never the greater itself.
fn between(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    if middle >= high || middle < low { low } else { middle }
}
