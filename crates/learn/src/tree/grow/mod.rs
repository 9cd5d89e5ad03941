//! Growing one tree on binned columns: leaf by leaf or level by level, by histograms.
//!
//! Of two sibling leaves only the smaller one's histogram is added up; the other's is the parent's less that (Ke et
//! al. 2017). Gradients and hessians are rounded to whole numbers, at random so that sums stay right on average (Shi
//! et al. 2022), but finely: their sums use 31 bits. Sums of whole numbers do not depend on the order, and so neither
//! does the tree on the number of threads.

mod hist;
mod split;

use crate::tree::bins::{Bin, Binned, Bins, ColumnBins, Store};
use crate::tree::{Missing, Node, Split, Tree};
use hist::{GROUP, Kernel, Part, h_of, word};
use rand::seq::SliceRandom;
use rayon::prelude::*;
pub use split::Bounds;
use split::{Candidate, Column, Leaf, Question};
use std::ops::Range;
use tradewind_core::{Result, Run};

/// Rows worked on by one task.
const CHUNK_ROWS: usize = 16_384;

/// The largest sum of rounded gradients, and of hessians; with one for each row it stays below 2³¹.
const SUM_MAX: f64 = (1_u32 << 30) as f64;

/// In which order leaves are split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// The leaf that gains most comes next.
    #[default]
    Leaf,
    /// All leaves of a level come before the next level.
    Level,
}

/// How a tree grows.
#[derive(Clone, Debug, PartialEq)]
pub struct GrowParams {
    /// The order of splits.
    pub growth: Growth,
    /// Most leaves.
    pub n_leaves: usize,
    /// Most splits from root to leaf; 0: any.
    pub max_depth: usize,
    /// Fewest rows in a leaf.
    pub min_child_samples: usize,
    /// Smallest sum of hessians in a leaf.
    pub min_sum_hessian: f64,
    /// Smallest gain of a split.
    pub min_gain: f64,
    /// Penalty on the sizes of leaf values.
    pub l1: f64,
    /// Penalty on their squares.
    pub l2: f64,
    /// Largest leaf value; 0: any.
    pub max_delta_step: f64,
    /// Added to the hessian when categories are ordered; also the fewest rows of a category.
    pub cat_smooth: f64,
    /// Penalty on squares at splits by categories.
    pub cat_l2: f64,
    /// Most categories on the smaller side.
    pub max_cat_threshold: usize,
    /// Columns with at most this many categories are split one against the rest.
    pub max_cat_to_onehot: usize,
    /// Fewest rows of a group of categories.
    pub min_data_per_group: usize,
    /// Per column 1 (never falls), −1 (never rises) or 0; empty: all 0.
    pub monotone: Vec<i8>,
    /// Per column the number of its group: columns of different groups do not meet on one path. Empty: no limit.
    pub interaction: Vec<i64>,
    /// Share of columns each node looks at.
    pub node_fraction: f64,
}

impl Default for GrowParams {
    fn default() -> Self {
        Self {
            growth: Growth::Leaf,
            n_leaves: 31,
            max_depth: 0,
            min_child_samples: 20,
            min_sum_hessian: 1e-3,
            min_gain: 0.0,
            l1: 0.0,
            l2: 0.0,
            max_delta_step: 0.0,
            cat_smooth: 10.0,
            cat_l2: 10.0,
            max_cat_threshold: 32,
            max_cat_to_onehot: 4,
            min_data_per_group: 100,
            monotone: Vec::new(),
            interaction: Vec::new(),
            node_fraction: 1.0,
        }
    }
}

/// What one unit of the rounded sums is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    /// Of gradients.
    pub g: f64,
    /// Of hessians.
    pub h: f64,
}

/// A gradient and a hessian as they are before rounding.
#[inline(always)]
pub fn pair(g: f32, h: f32) -> i64 {
    (i64::from(g.to_bits()) << 32) | i64::from(h.to_bits())
}

#[inline(always)]
fn unpair(bits: i64) -> (f64, f64) {
    (f64::from(f32::from_bits((bits >> 32) as u32)), f64::from(f32::from_bits(bits as u32)))
}

/// Algorithm [`pair`]s in place. Where all hessians are one number (`constant`) they count rows exactly. `seed` chooses
/// how halves fall.
pub fn quantise(pairs: &mut [i64], constant: bool, seed: u64) -> Sums {
    let parts: Vec<(f64, f64)> = pairs
        .par_chunks(CHUNK_ROWS)
        .map(|chunk| {
            chunk.iter().fold((0.0, 0.0), |(a, b), p| {
                let (g, h) = unpair(*p);
                (a + g.abs(), b + h)
            })
        })
        .collect();
    let (g, h) = parts.iter().fold((0.0, 0.0), |(a, b), (g, h)| (a + g, b + h));
    let positive = |v: f64| if v > 0.0 && v.is_finite() { v } else { 1.0 };
    let g_scale = positive(g / SUM_MAX);
    let h_scale = match constant {
        true => positive(pairs.first().map_or(1.0, |p| unpair(*p).1)),
        false => positive(h / SUM_MAX),
    };
    let (g_inverse, h_inverse) = (1.0 / g_scale, 1.0 / h_scale);
    pairs.par_chunks_mut(CHUNK_ROWS).enumerate().for_each(|(c, chunk)| {
        for (k, p) in chunk.iter_mut().enumerate() {
            let (g, h) = unpair(*p);
            let (u, v) = halves((c * CHUNK_ROWS + k) as u64 ^ seed);
            let h = if constant { 1 } else { floor(h * h_inverse + v) };
            *p = word(floor(g * g_inverse + u), h);
        }
    });
    Sums { g: g_scale, h: h_scale }
}

#[inline(always)]
fn floor(v: f64) -> i32 {
    let whole = v as i32;
    whole - i32::from(f64::from(whole) > v)
}

/// Two numbers from 0 up to 1.
#[inline(always)]
fn halves(key: u64) -> (f64, f64) {
    let mut z = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    z ^= z >> 32;
    let part = |bits: u32| f64::from(bits) * (1.0 / 4_294_967_296.0);
    (part((z >> 32) as u32), part(z as u32))
}

/// A grown tree with the rows of its leaves.
pub struct Grown {
    /// The tree; leaf values are not yet multiplied by a learning rate.
    pub tree: Tree,
    /// Per leaf its place in the rows.
    pub ranges: Vec<Range<usize>>,
    /// What each leaf's value may be.
    pub bounds: Vec<Bounds>,
    /// Per inner node, the bins that go left.
    pub tables: Vec<Vec<bool>>,
}

struct State {
    range: Range<usize>,
    total: i64,
    value: f64,
    bounds: Bounds,
    depth: usize,
    hist: Option<Vec<i64>>,
    best: Option<Candidate>,
    /// The node above and whether this is its left child.
    above: Option<(usize, bool)>,
    /// The group of columns on the way here.
    group: Option<i64>,
}

/// Grows trees one after another on the same rows, keeping its memory.
pub struct Grower<'a> {
    binned: &'a Binned,
    params: GrowParams,
    offsets: Vec<usize>,
    /// Tasks: columns, cut into groups.
    spans: Vec<Vec<Range<usize>>>,
    rows: Vec<u32>,
    aside: Vec<u32>,
    pool: Vec<Vec<i64>>,
}

impl<'a> Grower<'a> {
    /// Ready to grow on all rows.
    pub fn new(binned: &'a Binned, params: GrowParams) -> Self {
        let n_bins: Vec<usize> = binned.columns.iter().map(|c| c.n_values() + 1).collect();
        let offsets = match binned.bins {
            Bins::Narrow(_) => u8::offsets(&n_bins),
            Bins::Wide(_) => u16::offsets(&n_bins),
        };
        let spans = spans(n_bins.len(), rayon::current_num_threads());
        Self { binned, params, offsets, spans, rows: Vec::new(), aside: Vec::new(), pool: Vec::new() }
    }

    /// The rows of the last tree, leaf after leaf.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Grows a tree on the rows `bag` (all when absent) and columns `used`. `words` are rounded pairs, one per row.
    pub fn grow(
        &mut self,
        run: &Run,
        words: &[i64],
        sums: Sums,
        bag: Option<&[u32]>,
        used: &[bool],
        stream: u64,
    ) -> Result<Grown> {
        self.rows.clear();
        match bag {
            Some(bag) => self.rows.extend_from_slice(bag),
            None => self.rows.extend(0..self.binned.n_rows as u32),
        }
        self.aside.resize(self.rows.len(), 0);
        match &self.binned.bins {
            Bins::Narrow(store) => self.grow_on(run, store, words, sums, used, stream),
            Bins::Wide(store) => self.grow_on(run, store, words, sums, used, stream),
        }
    }

    fn grow_on<T: Kernel>(
        &mut self,
        run: &Run,
        store: &Store<T>,
        words: &[i64],
        sums: Sums,
        used: &[bool],
        stream: u64,
    ) -> Result<Grown> {
        let total = self
            .rows
            .par_chunks(CHUNK_ROWS)
            .map(|rows| rows.iter().fold(0_i64, |a, i| a.wrapping_add(words[*i as usize])))
            .reduce(|| 0, i64::wrapping_add);
        let root = Leaf { params: &self.params, sums, total, n_rows: self.rows.len(), bounds: Bounds::NONE };
        let mut leaves = vec![State {
            range: 0..self.rows.len(),
            total,
            value: root.value(total, self.params.l2),
            bounds: Bounds::NONE,
            depth: 0,
            hist: None,
            best: None,
            above: None,
            group: None,
        }];
        let (mut nodes, mut tables) = (Vec::<Node>::new(), Vec::new());
        if self.params.n_leaves > 1 && self.may_split(&leaves[0]) {
            self.search(run, store, words, sums, used, stream, None, &mut leaves, &[0]);
        }
        while leaves.len() < self.params.n_leaves {
            run.check()?;
            let candidates = (0..leaves.len()).filter_map(|l| leaves[l].best.as_ref().map(|c| (l, c.gain)));
            let next = match self.params.growth {
                Growth::Leaf => candidates.fold(None, |b: Option<(usize, f64)>, c| match b {
                    Some(b) if b.1 >= c.1 => Some(b),
                    _ => Some(c),
                }),
                Growth::Level => candidates.min_by_key(|c| leaves[c.0].depth),
            };
            let Some((l, _)) = next else { break };
            let Some(best) = leaves[l].best.take() else { break };
            let table = self.table(&best);
            let range = leaves[l].range.clone();
            let n_left = partition(
                &store.columns[best.feature],
                &table,
                &mut self.rows[range.clone()],
                &mut self.aside[range.clone()],
            );
            let node = self.node(&best, nodes.len(), l, leaves.len(), &leaves[l], sums);
            if let Some((above, is_left)) = leaves[l].above {
                let child = nodes.len() as i32;
                if is_left { nodes[above].left = child } else { nodes[above].right = child }
            }
            let (left, right) = self.children(&mut leaves[l], &best, n_left, nodes.len());
            let parent_hist = leaves[l].hist.take();
            nodes.push(node);
            tables.push(table);
            leaves[l] = left;
            leaves.push(right);
            let r = leaves.len() - 1;
            let wanted: Vec<usize> = if leaves.len() >= self.params.n_leaves {
                Vec::new()
            } else {
                [l, r].into_iter().filter(|k| self.may_split(&leaves[*k])).collect()
            };
            match parent_hist {
                Some(hist) if wanted.is_empty() => self.pool.push(hist),
                parent => self.search(run, store, words, sums, used, stream, parent, &mut leaves, &[l, r]),
            }
        }
        let mut tree = Tree { nodes, leaves: Vec::new(), leaf_cover: Vec::new() };
        let (mut ranges, mut bounds) = (Vec::new(), Vec::new());
        for leaf in leaves {
            self.pool.extend(leaf.hist);
            tree.leaves.push(leaf.value);
            tree.leaf_cover.push(f64::from(h_of(leaf.total)) * sums.h);
            ranges.push(leaf.range);
            bounds.push(leaf.bounds);
        }
        Ok(Grown { tree, ranges, bounds, tables })
    }

    fn may_split(&self, leaf: &State) -> bool {
        (self.params.max_depth == 0 || leaf.depth < self.params.max_depth)
            && leaf.range.len() >= 2 * self.params.min_child_samples.max(1)
    }

    /// Per bin of the column, whether it goes left.
    fn table(&self, best: &Candidate) -> Vec<bool> {
        let n = self.binned.columns[best.feature].n_values();
        let mut table = vec![false; n + 1];
        match &best.question {
            Question::Below(bin) => table[..=*bin].fill(true),
            Question::In(bins) => bins.iter().for_each(|b| table[*b] = true),
        }
        table[n] = best.missing_left;
        table
    }

    fn node(&self, best: &Candidate, at: usize, l: usize, r: usize, leaf: &State, sums: Sums) -> Node {
        let _ = at;
        let split = match (&self.binned.columns[best.feature], &best.question) {
            (ColumnBins::Numbers { edges, .. }, Question::Below(bin)) => {
                Split::Below(edges.get(*bin).copied().unwrap_or(f64::MAX))
            }
            (ColumnBins::Categories { codes, .. }, Question::In(bins)) => {
                let mut words = Vec::new();
                for code in bins.iter().map(|b| codes[*b] as usize) {
                    if words.len() <= code / 32 {
                        words.resize(code / 32 + 1, 0);
                    }
                    words[code / 32] |= 1_u32 << (code % 32);
                }
                Split::In(words)
            }
            // The search asks each kind of column its own kind of question.
            _ => Split::In(Vec::new()),
        };
        Node {
            feature: best.feature as u32,
            split,
            missing: Missing::Nan,
            missing_left: best.missing_left,
            left: !(l as i32),
            right: !(r as i32),
            gain: best.gain,
            cover: f64::from(h_of(leaf.total)) * sums.h,
        }
    }

    fn children(&self, leaf: &mut State, best: &Candidate, n_left: usize, node: usize) -> (State, State) {
        let middle = leaf.range.start + n_left;
        let (mut lower, mut upper) = (leaf.bounds, leaf.bounds);
        let half = f64::midpoint(best.left_value, best.right_value);
        match self.params.monotone.get(best.feature) {
            Some(1) => (lower.upper, upper.lower) = (half, half),
            Some(-1) => (lower.lower, upper.upper) = (half, half),
            _ => {}
        }
        let group = self.params.interaction.get(best.feature).copied().or(leaf.group);
        let child = |range: Range<usize>, total, value, bounds, is_left| State {
            range,
            total,
            value,
            bounds,
            depth: leaf.depth + 1,
            hist: None,
            best: None,
            above: Some((node, is_left)),
            group,
        };
        let right = leaf.total.wrapping_sub(best.left);
        (
            child(leaf.range.start..middle, best.left, best.left_value, lower, true),
            child(middle..leaf.range.end, right, best.right_value, upper, false),
        )
    }

    /// Histograms and best splits of a new leaf (the root), or of two siblings given their parent's histogram.
    fn search<T: Kernel>(
        &mut self,
        run: &Run,
        store: &Store<T>,
        words: &[i64],
        sums: Sums,
        used: &[bool],
        stream: u64,
        parent: Option<Vec<i64>>,
        leaves: &mut [State],
        which: &[usize],
    ) {
        let small = match which {
            [l, r] if leaves[*r].range.len() < leaves[*l].range.len() => *r,
            [l, ..] => *l,
            [] => return,
        };
        let large = which.iter().copied().find(|k| *k != small);
        let size = self.offsets.last().copied().unwrap_or(0);
        let mut hist = self.pool.pop().unwrap_or_else(|| vec![0; size]);
        let mut rest = parent.unwrap_or_default();
        let p = self.binned.columns.len();
        let looks: Vec<(usize, Vec<bool>)> = which
            .iter()
            .map(|&l| (l, self.looked_at(run, used, stream.wrapping_mul(4096) + l as u64, leaves[l].group)))
            .collect();
        // The halves of both histograms that each task works on.
        let mut tasks = Vec::new();
        {
            let (mut hist, mut rest) = (&mut hist[..], &mut rest[..]);
            for span in &self.spans {
                let (first, last) = (span[0].start, span[span.len() - 1].end);
                let n = self.offsets[last] - self.offsets[first];
                let (a, b) = hist.split_at_mut(n);
                let (c, d) = rest.split_at_mut(if large.is_some() { n } else { 0 });
                (hist, rest) = (b, d);
                tasks.push((span, a, c));
            }
        }
        let this = &*self;
        let states = &*leaves;
        let found: Vec<Vec<Option<Candidate>>> = tasks
            .into_par_iter()
            .with_max_len(1)
            .map(|(span, hist, rest)| {
                hist.fill(0);
                let used_of: Vec<Vec<u32>> = span
                    .iter()
                    .map(|g| g.clone().filter(|j| used[*j]).map(|j| (j - g.start) as u32).collect())
                    .collect();
                let parts: Vec<Part<'_, T>> = span
                    .iter()
                    .zip(&used_of)
                    .map(|(g, used)| Part {
                        rows: &store.rows,
                        stride: p,
                        first: g.start,
                        width: g.len(),
                        offsets: &this.offsets[g.start..=g.end],
                        used,
                    })
                    .collect();
                hist::add(&parts, &this.rows[states[small].range.clone()], words, hist);
                rest.iter_mut().zip(&*hist).for_each(|(r, h)| *r = r.wrapping_sub(*h));
                let mut scratch = Vec::new();
                looks
                    .iter()
                    .map(|(l, look)| {
                        let state = &states[*l];
                        if !this.may_split(state) {
                            return None;
                        }
                        let hist = if *l == small { &*hist } else { &*rest };
                        let leaf = Leaf {
                            params: &this.params,
                            sums,
                            total: state.total,
                            n_rows: state.range.len(),
                            bounds: state.bounds,
                        };
                        let base = this.offsets[span[0].start];
                        let columns = span[0].start..span[span.len() - 1].end;
                        let mut best: Option<Candidate> = None;
                        for j in columns.filter(|j| look[*j]) {
                            let begin = this.offsets[j] - base;
                            let bins = &this.binned.columns[j];
                            let column = Column {
                                feature: j,
                                hist: &hist[begin..=begin + bins.n_values()],
                                is_category: matches!(bins, ColumnBins::Categories { .. }),
                                monotone: this.params.monotone.get(j).copied().unwrap_or(0),
                            };
                            if let Some(c) = leaf.best(&column, &mut scratch) {
                                best = better(best, c);
                            }
                        }
                        best
                    })
                    .collect()
            })
            .collect();
        for per_task in found {
            for ((l, _), candidate) in looks.iter().zip(per_task) {
                if let Some(c) = candidate {
                    let best = leaves[*l].best.take();
                    leaves[*l].best = better(best, c);
                }
            }
        }
        leaves[small].hist = Some(hist);
        match large {
            Some(large) => leaves[large].hist = Some(rest),
            None => debug_assert!(rest.is_empty()),
        }
        // A leaf that cannot be split gives its memory to the next.
        for l in which {
            if leaves[*l].best.is_none() {
                self.pool.extend(leaves[*l].hist.take());
            }
        }
    }

    /// The columns a leaf looks at.
    fn looked_at(&self, run: &Run, used: &[bool], stream: u64, group: Option<i64>) -> Vec<bool> {
        let p = self.binned.columns.len();
        let mut look: Vec<bool> = (0..p)
            .map(|j| used[j] && group.is_none_or(|g| self.params.interaction.get(j).is_none_or(|i| *i == g)))
            .collect();
        if self.params.node_fraction < 1.0 {
            let mut left: Vec<usize> = (0..p).filter(|j| look[*j]).collect();
            let keep = ((left.len() as f64 * self.params.node_fraction).round() as usize).max(1);
            left.shuffle(&mut run.rng(stream ^ 0x6e6f_6465_0000_0000));
            left.iter().skip(keep).for_each(|j| look[*j] = false);
        }
        look
    }
}

/// The candidate of larger gain; of equal ones the earlier. Gains that are only rounding are none.
fn better(best: Option<Candidate>, next: Candidate) -> Option<Candidate> {
    if !(next.gain > 1e-12 && next.gain.is_finite()) {
        return best;
    }
    match best {
        Some(best) if best.gain >= next.gain => Some(best),
        _ => Some(next),
    }
}

/// Columns cut into tasks, and those into groups of nearly equal width.
fn spans(p: usize, threads: usize) -> Vec<Vec<Range<usize>>> {
    let tasks = threads.clamp(1, p.div_ceil(4).max(1));
    let even = |range: Range<usize>, parts: usize| {
        (0..parts)
            .map(move |k| range.start + range.len() * k / parts..range.start + range.len() * (k + 1) / parts)
            .filter(|r| !r.is_empty())
            .collect::<Vec<_>>()
    };
    even(0..p, tasks).into_iter().map(|t| even(t.clone(), t.len().div_ceil(GROUP))).collect()
}

/// Parts rows by the bin of a column, keeping their order: those that go left come first. Gives their number.
fn partition<T: Bin>(column: &[T], table: &[bool], rows: &mut [u32], aside: &mut [u32]) -> usize {
    let part = |rows: &mut [u32], aside: &mut [u32]| {
        let (mut l, mut r) = (0, 0);
        for k in 0..rows.len() {
            let i = rows[k];
            let left = usize::from(table[column[i as usize].at()]);
            rows[l] = i;
            aside[r] = i;
            l += left;
            r += 1 - left;
        }
        l
    };
    if rows.len() <= CHUNK_ROWS {
        let l = part(rows, aside);
        let n = rows.len();
        rows[l..].copy_from_slice(&aside[..n - l]);
        return l;
    }
    let lefts: Vec<usize> = rows
        .par_chunks_mut(CHUNK_ROWS)
        .zip(aside.par_chunks_mut(CHUNK_ROWS))
        .map(|(rows, aside)| part(rows, aside))
        .collect();
    let mut at = 0;
    for (c, l) in lefts.iter().enumerate() {
        rows.copy_within(c * CHUNK_ROWS..c * CHUNK_ROWS + l, at);
        at += l;
    }
    let total = at;
    for (c, l) in lefts.iter().enumerate() {
        let n = CHUNK_ROWS.min(rows.len() - c * CHUNK_ROWS) - l;
        rows[at..at + n].copy_from_slice(&aside[c * CHUNK_ROWS..c * CHUNK_ROWS + n]);
        at += n;
    }
    total
}

/// Where rows fall in a tree, by their bins.
pub(crate) fn leaves_of(
    binned: &Binned,
    grown: &Grown,
    rows: &[u32],
    each: impl Fn(usize, u32, usize) + Sync,
) {
    fn go<T: Bin>(store: &Store<T>, grown: &Grown, i: u32) -> usize {
        let mut at = if grown.tree.nodes.is_empty() { !0 } else { 0_i32 };
        while at >= 0 {
            let node = &grown.tree.nodes[at as usize];
            let bin = store.columns[node.feature as usize][i as usize].at();
            at = if grown.tables[at as usize][bin] { node.left } else { node.right };
        }
        !at as usize
    }
    rows.par_iter().enumerate().with_min_len(1024).for_each(|(k, &i)| {
        let leaf = match &binned.bins {
            Bins::Narrow(store) => go(store, grown, i),
            Bins::Wide(store) => go(store, grown, i),
        };
        each(k, i, leaf);
    });
}
