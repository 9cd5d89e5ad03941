//! Matrix factorisation for events without ratings, by alternating least squares.
//!
//! Users and items get vectors of `factors` numbers that minimise
//!
//! ```text
//! Σ_(u,i seen) (1 + alpha r_ui) (1 − x_u·y_i)² + Σ_(u,i not seen) (x_u·y_i)² + Σ_u λ_u |x_u|² + Σ_i λ_i |y_i|²
//! λ_u = regularization × (n_u + |items| / (1 + alpha))^frequency_power
//! ```
//!
//! and alike for items (Hu, Koren & Volinsky, *Collaborative filtering for implicit feedback datasets*, ICDM 2008; the
//! scaled penalty of Rendle et al., *Revisiting the performance of iALS on item recommendation benchmarks*, RecSys
//! 2022; with `frequency_power` 0 it is the plain penalty). Given the items' vectors each user's is a linear system
//! with the matrix `Σ_i y_i y_iᵀ + Σ_seen alpha r y_i y_iᵀ + λ`, solved by a few steps of conjugate gradients from where
//! the vector stood (Takács, Pilászy & Tikk 2011).
//!
//! The items begin at the leading directions of the matrix divided by the roots of its sums (`spectral`),
//! `y_i = √d_i (Nᵀ Z)_i`: from there three rounds rank better than ten, or thirty, from random numbers.
//!
//! A user's vector follows from the history and the items' vectors alone, so someone new, or who went on since, is
//! folded in at once.

use crate::fitted::{Learnt, Model, build, load};
use crate::search::{Quantised, product};
use crate::spectral::{Leading, leading};
use crate::wide::{LANES, Panels, add, add_scaled, dot, folded, wide};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ItemSet, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "ials",
    summary: "Matrix factorisation for events without ratings, by alternating least squares.",
    summary_zh: "隐式反馈矩阵分解（交替最小二乘）。",
    source: "Hu, Koren & Volinsky, Collaborative filtering for implicit feedback datasets, ICDM 2008",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "64",
            summary: "Numbers in each vector.",
        },
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "2",
            summary: "How much more a seen place counts than one not seen, for each unit of weight.",
        },
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "15",
            summary: "Penalty on the squares of the vectors.",
        },
        ParamSpec {
            name: "frequency_power",
            kind: ParamKind::Number { min: 0.0, max: 2.0 },
            default: "0",
            summary: "How much the penalty grows with the number of events; 0: not at all.",
        },
        ParamSpec {
            name: "iterations",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "3",
            summary: "Rounds over users and items.",
        },
        ParamSpec {
            name: "steps",
            kind: ParamKind::Integer { min: 1, max: 100 },
            default: "2",
            summary: "Steps of conjugate gradients a round.",
        },
    ],
    ordered: false,
    build: build::<Ials>,
    load: load::<Ials>,
};

/// Matrix factorisation by alternating least squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ials {
    /// Numbers in each vector.
    pub factors: usize,
    /// How much more a seen place counts than one not seen, for each unit of weight.
    pub alpha: f64,
    /// Penalty on the squares of the vectors.
    pub regularization: f64,
    /// How much the penalty grows with the number of events; 0: not at all.
    pub frequency_power: f64,
    /// Rounds over users and items.
    pub iterations: usize,
    /// Steps of conjugate gradients a round.
    pub steps: usize,
}

impl Default for Ials {
    fn default() -> Self {
        Self {
            factors: 64,
            alpha: 2.0,
            regularization: 15.0,
            frequency_power: 0.0,
            iterations: 3,
            steps: 2,
        }
    }
}

/// Products that lead to the vectors from which rounds begin.
const TURNS: usize = 5;
/// Steps that fold in a history from nothing: enough to agree with the solution to three digits.
const FOLD_STEPS: usize = 8;

/// The vectors of users and items.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Factors {
    params: Ials,
    /// Numbers in a vector, filled up with zeros to whole lanes.
    width: usize,
    #[serde(with = "tradewind_core::packed")]
    users: Vec<f32>,
    #[serde(with = "tradewind_core::packed")]
    items: Vec<f32>,
    /// From `items`: how the scores are made.
    #[serde(skip)]
    panels: Panels,
    #[serde(skip)]
    gram: Vec<f32>,
    #[serde(skip)]
    index: Quantised,
    /// Of the items' vectors at length 1.
    #[serde(skip)]
    angles: Quantised,
}

impl Ials {
    fn penalty(&self, seen: usize, others: usize) -> f32 {
        let mass = seen as f64 + others as f64 / (1.0 + self.alpha);
        (self.regularization * mass.max(1.0).powf(self.frequency_power)) as f32
    }

    /// One half round: the vectors of `rows` from those of the columns.
    fn half(
        &self,
        run: &Run,
        rows: &SparseRows,
        vectors: &mut [f32],
        fixed: &[f32],
        width: usize,
    ) -> Result<()> {
        let gram = gram(fixed, width);
        const CHUNK: usize = 64;
        vectors.par_chunks_mut(width * CHUNK).enumerate().try_for_each_init(
            || Work::new(width),
            |work, (c, part)| {
                run.check()?;
                for (k, x) in part.chunks_exact_mut(width).enumerate() {
                    let (columns, values) = rows.row(c * CHUNK + k);
                    if columns.is_empty() {
                        x.fill(0.0);
                        continue;
                    }
                    work.gather(columns, values, fixed, self.alpha as f32);
                    solve(work, &gram, self.penalty(columns.len(), rows.n_columns()), self.steps, x);
                }
                Ok(())
            },
        )
    }

    fn fit(&self, run: &Run, users: &SparseRows) -> Result<(usize, Vec<f32>, Vec<f32>)> {
        let items = users.transposed();
        let Leading { width, items: mut of_items, item_sums } =
            leading(run, users, &items, self.factors, TURNS)?;
        let mut rng = run.rng(1);
        let mut squares = 0.0_f64;
        for (row, sum) in of_items.chunks_exact_mut(width).zip(&item_sums) {
            row.iter_mut().for_each(|v| *v *= sum.sqrt());
            squares += f64::from(dot(row, row));
        }
        let scale = (0.5 * items.n_rows() as f64 / squares.max(1e-30)).sqrt() as f32;
        // Some noise keeps those numbers alive for which there was no direction.
        let noise = 0.01 / (self.factors as f32).sqrt();
        for row in of_items.chunks_exact_mut(width) {
            row[..self.factors]
                .iter_mut()
                .for_each(|v| *v = *v * scale + noise * rng.random_range(-1.0_f32..1.0));
        }
        let mut of_users = vec![0.0; users.n_rows() * width];
        run.progress().begin(ENTRY.name, self.iterations as u64);
        for _ in 0..self.iterations {
            self.half(run, users, &mut of_users, &of_items, width)?;
            self.half(run, &items, &mut of_items, &of_users, width)?;
            run.progress().advance(1);
        }
        // Users last, so that known vectors are those that folding in would give.
        self.half(run, users, &mut of_users, &of_items, width)?;
        run.progress().end();
        Ok((width, of_users, of_items))
    }
}

/// `Σ y yᵀ`, over pieces of fixed size in f32 and between them in f64.
pub(crate) fn gram(vectors: &[f32], width: usize) -> Vec<f32> {
    const PIECE: usize = 512;
    let parts: Vec<Vec<f32>> = vectors
        .par_chunks(PIECE * width)
        .map(|rows| {
            let mut sums = vec![0.0; width * width];
            add_products(rows, width, &mut sums);
            sums
        })
        .collect();
    let mut sums = vec![0.0_f64; width * width];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(s, p)| *s += f64::from(p));
    }
    sums.into_iter().map(|v| v as f32).collect()
}

wide! {
    /// Adds `y yᵀ` of every row.
    fn add_products(rows: &[f32], width: usize, sums: &mut [f32]) {
        for row in rows.chunks_exact(width) {
            for (y, line) in row.iter().zip(sums.chunks_exact_mut(width)) {
                line.iter_mut().zip(row).for_each(|(s, r)| *s += y * r);
            }
        }
    }
}

/// Room for one system.
pub(crate) struct Work {
    width: usize,
    /// The vectors of the columns seen, one after the other.
    seen: Vec<f32>,
    /// `alpha r` of each.
    extra: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    image: Vec<f32>,
}

impl Work {
    fn new(width: usize) -> Self {
        let zeros = vec![0.0; width];
        Self {
            width,
            seen: Vec::new(),
            extra: Vec::new(),
            residual: zeros.clone(),
            direction: zeros.clone(),
            image: zeros,
        }
    }

    fn gather(&mut self, columns: &[u32], values: &[f32], fixed: &[f32], alpha: f32) {
        self.seen.clear();
        self.extra.clear();
        for (c, r) in columns.iter().zip(values) {
            let at = *c as usize * self.width;
            self.seen.extend_from_slice(&fixed[at..at + self.width]);
            self.extra.push(alpha * r);
        }
    }
}

/// `sums += a × b`, lane by lane.
#[inline(always)]
fn add_products_of(sums: &mut [f32; LANES], a: &[f32; LANES], b: &[f32; LANES]) {
    for l in 0..LANES {
        sums[l] += a[l] * b[l];
    }
}

/// Adds `factor(extra, y·x) × y` of every vector seen to `to`. Vectors go four together, so that `x` and `to` are
/// fetched once for four.
#[inline(always)]
fn add_seen(seen: &[f32], extra: &[f32], x: &[f32], to: &mut [f32], factor: impl Fn(f32, f32) -> f32) {
    let width = x.len();
    let whole = extra.len() / 4 * 4;
    for (y, extra) in seen.chunks_exact(width * 4).zip(extra.chunks_exact(4)) {
        let (a, y) = y.split_at(width);
        let (b, y) = y.split_at(width);
        let (c, d) = y.split_at(width);
        let zeros = [0.0_f32; LANES];
        // Each sum has a name of its own, since only then do they stay in registers.
        let (mut sum_a, mut sum_b, mut sum_c, mut sum_d) = (zeros, zeros, zeros, zeros);
        let lanes = |row: &'_ [f32], t: usize| -> [f32; LANES] { row.as_chunks::<LANES>().0[t] };
        for t in 0..width / LANES {
            let x = lanes(x, t);
            add_products_of(&mut sum_a, &lanes(a, t), &x);
            add_products_of(&mut sum_b, &lanes(b, t), &x);
            add_products_of(&mut sum_c, &lanes(c, t), &x);
            add_products_of(&mut sum_d, &lanes(d, t), &x);
        }
        let (fa, fb) = (factor(extra[0], folded(sum_a)), factor(extra[1], folded(sum_b)));
        let (fc, fd) = (factor(extra[2], folded(sum_c)), factor(extra[3], folded(sum_d)));
        for (t, to) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sum = *to;
            add(&mut sum, fa, &lanes(a, t));
            add(&mut sum, fb, &lanes(b, t));
            add(&mut sum, fc, &lanes(c, t));
            add(&mut sum, fd, &lanes(d, t));
            *to = sum;
        }
    }
    for (y, extra) in seen[whole * width..].chunks_exact(width).zip(&extra[whole..]) {
        let factor = factor(*extra, dot(y, x));
        to.iter_mut().zip(y).for_each(|(t, y)| *t += factor * y);
    }
}

wide! {
    /// Moves `x` by conjugate gradients towards the solution of `(gram + penalty + Σ extra y yᵀ) x = Σ (1 + extra) y`.
    fn solve(work: &mut Work, gram: &[f32], penalty: f32, steps: usize, x: &mut [f32]) {
        let width = work.width;
        let Work { seen, extra, residual, direction, image, .. } = work;
        for (line, (r, x_own)) in gram.chunks_exact(width).zip(residual.iter_mut().zip(x.iter())) {
            *r = -(dot(line, x) + penalty * x_own);
        }
        add_seen(seen, extra, x, residual, |extra, product| 1.0 + extra - extra * product);
        direction.copy_from_slice(residual);
        let mut length = dot(residual, residual);
        for step in 0..steps {
            if length <= 1e-20 || length.is_nan() {
                break;
            }
            for (line, (image, own)) in gram.chunks_exact(width).zip(image.iter_mut().zip(direction.iter())) {
                *image = dot(line, direction) + penalty * own;
            }
            add_seen(seen, extra, direction, image, |extra, product| extra * product);
            let curvature = dot(direction, image);
            if curvature <= 0.0 || curvature.is_nan() {
                break;
            }
            let stride = length / curvature;
            x.iter_mut().zip(direction.iter()).for_each(|(x, d)| *x += stride * d);
            if step + 1 == steps {
                break;
            }
            residual.iter_mut().zip(image.iter()).for_each(|(r, i)| *r -= stride * i);
            let next = dot(residual, residual);
            let turn = next / length;
            direction.iter_mut().zip(residual.iter()).for_each(|(d, r)| *d = r + turn * *d);
            length = next;
        }
    }
}

impl Factors {
    /// Numbers in a vector, filled up with zeros.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The vectors of items, one after the other.
    pub(crate) fn items(&self) -> &[f32] {
        &self.items
    }

    /// The vectors of these users: of those known as they are, of others from their histories.
    pub(crate) fn of_users(&self, pasts: &[Past<'_>]) -> Vec<f32> {
        let width = self.width;
        let mut x = vec![0.0; pasts.len() * width];
        let mut work = Work::new(width);
        for (past, x) in pasts.iter().zip(x.chunks_exact_mut(width)) {
            self.vector(&mut work, past, x);
        }
        x
    }

    fn prepared(mut self) -> Self {
        self.prepare();
        self
    }

    fn prepare(&mut self) {
        self.panels = Panels::new(&self.items, self.width);
        self.gram = gram(&self.items, self.width);
        self.index = Quantised::new(&self.items, self.width);
        let mut units = self.items.clone();
        units.chunks_exact_mut(self.width).for_each(to_unit);
        self.angles = Quantised::new(&units, self.width);
    }

    /// The vector of a past: that of a known user, or one folded in.
    fn vector(&self, work: &mut Work, past: &Past<'_>, x: &mut [f32]) {
        let width = self.width;
        match past.user {
            Some(u) => x.copy_from_slice(&self.users[u as usize * width..(u as usize + 1) * width]),
            None => {
                let (columns, values) = as_row(past.history);
                self.fold(work, &columns, &values, x);
            }
        }
    }

    /// The cosine of the angle between two items.
    fn angle(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.row(a), self.row(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    }

    fn row(&self, item: u32) -> &[f32] {
        &self.items[item as usize * self.width..(item as usize + 1) * self.width]
    }

    /// The vector of a history, from nothing.
    fn fold(&self, work: &mut Work, columns: &[u32], values: &[f32], x: &mut [f32]) {
        x.fill(0.0);
        if columns.is_empty() {
            return;
        }
        work.gather(columns, values, &self.items, self.params.alpha as f32);
        let penalty = self.params.penalty(columns.len(), self.items.len() / self.width);
        solve(work, &self.gram, penalty, FOLD_STEPS, x);
    }
}

/// A history as a row: items ascending, weights of equal ones added, those above zero.
pub(crate) fn as_row(history: tradewind_core::History<'_>) -> (Vec<u32>, Vec<f32>) {
    let mut row: Vec<(u32, f32)> =
        history.items.iter().copied().zip(history.weights.iter().copied()).collect();
    row.sort_by_key(|e| e.0);
    row.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    row.into_iter().filter(|e| e.1 > 0.0).unzip()
}

impl Model for Ials {
    type Learnt = Factors;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Factors> {
        let (width, users, items) = self.fit(run, &data.matrix())?;
        let params = self.clone();
        Ok(Factors { params, width, users, items, panels: Panels::default(), gram: vec![], index: Quantised::default(), angles: Quantised::default() }
            .prepared())
    }

    fn restore(&self, learnt: &mut Factors, known: &Interactions) -> Result<()> {
        let width = self.factors.div_ceil(LANES) * LANES;
        let fits = learnt.width == width
            && learnt.items.len() == known.items().len() * width
            && learnt.users.len() == known.users().len() * width;
        if !fits {
            return Err(Error::Invalid("saved factors do not fit their users and items".into()));
        }
        learnt.prepare();
        Ok(())
    }
}

impl Learnt for Factors {
    const SPARSE: bool = false;

    fn score(&self, _known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        self.panels.products(&self.of_users(pasts), out);
    }

    /// The angle between the vectors.
    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        out.iter_mut().zip(0..).for_each(|(out, i)| *out = self.angle(item, i));
    }

    fn top_similar(&self, item: u32, n: usize, among: Option<&ItemSet>) -> Option<Vec<(u32, f32)>> {
        let mut x = self.row(item).to_vec();
        to_unit(&mut x);
        if x.iter().all(|v| *v == 0.0) {
            return Some(vec![]);
        }
        let mut out = self.angles.top(&x, n + 1, among, |i| self.angle(item, i));
        out.retain(|e| e.0 != item);
        out.truncate(n);
        Some(out)
    }

    /// Items of the newer events are solved for given the users, then the users given the items; both from nothing.
    fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        newer: &Interactions,
        users: &[u32],
    ) -> Result<()> {
        let width = self.width;
        let known_items = self.items.len() / width;
        self.users.resize(known.users().len() * width, 0.0);
        self.items.resize(known.items().len() * width, 0.0);
        let mut work = Work::new(width);
        // Items that nobody had before get a vector; those known keep theirs until the next fit.
        let matrix = known.matrix();
        let of_items = matrix.transposed();
        let fresh: Vec<u32> = newer
            .items()
            .iter()
            .filter_map(|i| known.items().find(i))
            .filter(|i| *i as usize >= known_items)
            .collect();
        self.prepare();
        let mut solve_users = |factors: &mut Self| -> Result<()> {
            for u in users {
                run.check()?;
                let (columns, values) = matrix.row(*u as usize);
                let mut x = vec![0.0; width];
                factors.fold(&mut work, columns, values, &mut x);
                factors.users[*u as usize * width..(*u as usize + 1) * width].copy_from_slice(&x);
            }
            Ok(())
        };
        solve_users(self)?;
        if !fresh.is_empty() {
            let gram = gram(&self.users, width);
            let mut work = Work::new(width);
            for i in fresh {
                let (columns, values) = of_items.row(i as usize);
                let mut y = vec![0.0; width];
                work.gather(columns, values, &self.users, self.params.alpha as f32);
                let penalty = self.params.penalty(columns.len(), known.users().len());
                solve(&mut work, &gram, penalty, FOLD_STEPS, &mut y);
                self.items[i as usize * width..(i as usize + 1) * width].copy_from_slice(&y);
            }
            self.prepare();
            solve_users(self)?;
        }
        Ok(())
    }

    fn top(
        &self,
        _known: &Interactions,
        past: &Past<'_>,
        n: usize,
        among: Option<&ItemSet>,
    ) -> Option<Vec<(u32, f32)>> {
        let mut x = vec![0.0; self.width];
        self.vector(&mut Work::new(self.width), past, &mut x);
        // No vector, no opinion.
        if x.iter().all(|v| *v == 0.0) {
            return Some(vec![]);
        }
        Some(self.index.top(&x, n, among, |i| product(&x, self.row(i))))
    }

    fn scores_of(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Option<Vec<f32>> {
        let mut x = vec![0.0; self.width];
        self.vector(&mut Work::new(self.width), past, &mut x);
        Some(items.iter().map(|i| product(&x, self.row(*i))).collect())
    }

    /// The score of an item is `Σ_i (1 + extra_i) y_i·z` over the history, `z` solving `A z = y` of the item with the
    /// matrix `A` that gives the user's vector: each addend is what one item of the history brings (Hu et al. 2008,
    /// section 5).
    fn contributions(&self, _known: &Interactions, past: &Past<'_>, items: &[u32]) -> Vec<f32> {
        let (columns, values) = as_row(past.history);
        let alpha = self.params.alpha as f32;
        let penalty = self.params.penalty(columns.len(), self.items.len() / self.width);
        let mut lower = self.gram.clone();
        (0..self.width).for_each(|k| lower[k * self.width + k] += penalty);
        for (i, r) in columns.iter().zip(&values) {
            let y = self.row(*i);
            for (line, own) in lower.chunks_exact_mut(self.width).zip(y) {
                add_scaled(line, alpha * r * own, y);
            }
        }
        cholesky(&mut lower, self.width);
        let mut out = Vec::with_capacity(items.len() * past.history.len());
        let mut z = vec![0.0; self.width];
        for item in items {
            z.copy_from_slice(self.row(*item));
            solve_lower(&lower, self.width, &mut z);
            let brings: Vec<f32> =
                columns.iter().zip(&values).map(|(i, r)| (1.0 + alpha * r) * dot(self.row(*i), &z)).collect();
            // Several events of one item share what it brings by their weights.
            out.extend(past.history.items.iter().zip(past.history.weights).map(|(i, w)| {
                columns.binary_search(i).map_or(0.0, |at| brings[at] * w / values[at])
            }));
        }
        out
    }

    fn alike(&self, a: u32, b: u32) -> Option<f32> {
        Some(self.angle(a, b))
    }
}

/// The vector at length 1, or zeros.
fn to_unit(row: &mut [f32]) {
    let length = dot(row, row).sqrt();
    let over = if length > 0.0 { 1.0 / length } else { 0.0 };
    row.iter_mut().for_each(|v| *v *= over);
}

wide! {
    /// The lower triangle `L` of `L Lᵀ`, in place; what stands above it is not read. A diagonal that rounding made not
    /// positive is taken as tiny.
    fn cholesky(m: &mut [f32], n: usize) {
        for i in 0..n {
            let (above, line) = m.split_at_mut(i * n);
            let line = &mut line[..n];
            for j in 0..i {
                let other = &above[j * n..(j + 1) * n];
                line[j] = (line[j] - dot(&line[..j], &other[..j])) / other[j];
            }
            line[i] = (line[i] - dot(&line[..i], &line[..i])).max(1e-12).sqrt();
        }
    }
}

wide! {
    /// Solves `L Lᵀ x = b`, with `b` in `x`.
    fn solve_lower(lower: &[f32], n: usize, x: &mut [f32]) {
        for i in 0..n {
            x[i] = (x[i] - dot(&lower[i * n..i * n + i], &x[..i])) / lower[i * n + i];
        }
        for i in (0..n).rev() {
            let value = x[i] / lower[i * n + i];
            x[i] = value;
            x[..i].iter_mut().zip(&lower[i * n..i * n + i]).for_each(|(x, l)| *x -= value * l);
        }
    }
}
