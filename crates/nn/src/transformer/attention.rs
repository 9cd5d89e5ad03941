//! Scaled dot-product attention of one sequence, block by block (Vaswani et al. 2017; blocks and the sums that are kept in
//! place of the weights as in Dao et al. 2022).

use super::pass::Plan;
use super::rows::{self, Dropout};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::Range;

/// Rows of queries that go together.
const BLOCK: usize = 64;

/// How the heads of a layer attend.
pub(super) struct Heads {
    heads: usize,
    /// Values of a head.
    size: usize,
    scale: f32,
    causal: bool,
    dropout: Dropout,
    stream: u32,
}

impl Heads {
    pub(super) fn of(plan: &Plan, stream: u32) -> Self {
        let size = plan.shape.width / plan.shape.heads;
        Self {
            heads: plan.shape.heads,
            size,
            scale: 1.0 / (size as f32).sqrt(),
            causal: plan.shape.causal,
            dropout: plan.dropout,
            stream,
        }
    }

    fn width(&self) -> usize {
        self.heads * self.size
    }

    /// Query, key or value (0, 1, 2) of a head, of the tokens `at`.
    fn of_qkv<'a>(&self, qkv: &'a [f32], at: Range<usize>, head: usize, which: usize) -> MatRef<'a, f32> {
        let (each, from) = (3 * self.width(), which * self.width() + head * self.size);
        self.view(qkv, at, each, from)
    }

    fn view<'a>(&self, of: &'a [f32], at: Range<usize>, each: usize, from: usize) -> MatRef<'a, f32> {
        let begin = at.start * each + from;
        let end = at.start.max(at.end.saturating_sub(1)) * each + from + self.size;
        MatRef::from_row_major_slice_with_stride(&of[begin..end], at.len(), self.size, each)
    }

    fn view_mut<'a>(&self, of: &'a mut [f32], at: Range<usize>, each: usize, from: usize) -> MatMut<'a, f32> {
        let begin = at.start * each + from;
        let end = at.start.max(at.end.saturating_sub(1)) * each + from + self.size;
        // The constructor for rows takes them for columns.
        MatMut::from_column_major_slice_with_stride_mut(&mut of[begin..end], self.size, at.len(), each)
            .transpose_mut()
    }

    /// The blocks of a sequence: queries, and the keys that any of them sees.
    fn blocks(&self, at: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let causal = self.causal;
        at.clone().step_by(BLOCK).map(move |q| {
            let queries = q..(q + BLOCK).min(at.end);
            let keys = at.start..if causal { queries.end } else { at.end };
            (queries, keys)
        })
    }

    /// How many of `keys` a query sees.
    fn seen(&self, query: usize, keys: &Range<usize>) -> usize {
        if self.causal { query + 1 - keys.start } else { keys.len() }
    }

    /// The number of a row of weights, for dropout.
    fn row(&self, first: usize, query: usize, head: usize) -> u64 {
        ((first + query) * self.heads + head) as u64
    }
}

/// Attends within the tokens `at`, of which the first of all is the batch's token `first`.
pub(super) fn forward(
    heads: &Heads,
    at: Range<usize>,
    first: usize,
    qkv: &[f32],
    attended: &mut [f32],
    sums: &mut [f32],
) {
    let mut weights = vec![0.0; BLOCK.min(at.len()) * at.len()];
    for head in 0..heads.heads {
        for (queries, keys) in heads.blocks(at.clone()) {
            let (n, m) = (queries.len(), keys.len());
            let weights = &mut weights[..n * m];
            matmul(
                MatMut::from_row_major_slice_mut(weights, n, m),
                Accum::Replace,
                heads.of_qkv(qkv, queries.clone(), head, 0),
                heads.of_qkv(qkv, keys.clone(), head, 1).transpose(),
                heads.scale,
                Par::Seq,
            );
            for (row, query) in weights.chunks_exact_mut(m).zip(queries.clone()) {
                let (seen, hidden) = row.split_at_mut(heads.seen(query, &keys));
                sums[query * heads.heads + head] = rows::softmax(seen);
                hidden.fill(0.0);
                heads.dropout.apply_row(seen, heads.stream, heads.row(first, query, head));
            }
            matmul(
                heads.view_mut(attended, queries, heads.width(), head * heads.size),
                Accum::Replace,
                MatRef::from_row_major_slice(weights, n, m),
                heads.of_qkv(qkv, keys, head, 2),
                1.0,
                Par::Seq,
            );
        }
    }
}

/// The way back of [`forward`]; `dqkv` comes as zeros.
#[expect(clippy::too_many_arguments, reason = "each is a slice of its own")]
pub(super) fn backward(
    heads: &Heads,
    at: Range<usize>,
    first: usize,
    qkv: &[f32],
    attended: &[f32],
    sums: &[f32],
    dattended: &[f32],
    dqkv: &mut [f32],
) {
    let (width, size) = (heads.width(), heads.size);
    let most = BLOCK.min(at.len()) * at.len();
    let (mut weights, mut slopes) = (vec![0.0; most], vec![0.0; most]);
    for head in 0..heads.heads {
        for (queries, keys) in heads.blocks(at.clone()) {
            let (n, m) = (queries.len(), keys.len());
            let (weights, slopes) = (&mut weights[..n * m], &mut slopes[..n * m]);
            let q = heads.of_qkv(qkv, queries.clone(), head, 0);
            let k = heads.of_qkv(qkv, keys.clone(), head, 1);
            let v = heads.of_qkv(qkv, keys.clone(), head, 2);
            let out = heads.view(dattended, queries.clone(), width, head * size);
            let over = Accum::Replace;
            matmul(
                MatMut::from_row_major_slice_mut(weights, n, m),
                over,
                q,
                k.transpose(),
                heads.scale,
                Par::Seq,
            );
            matmul(MatMut::from_row_major_slice_mut(slopes, n, m), over, out, v.transpose(), 1.0, Par::Seq);
            let both = weights.chunks_exact_mut(m).zip(slopes.chunks_exact_mut(m));
            for ((weights, slopes), query) in both.zip(queries.clone()) {
                let seen = heads.seen(query, &keys);
                let (weights, unseen) = weights.split_at_mut(seen);
                unseen.fill(0.0);
                let (slopes, unseen) = slopes.split_at_mut(seen);
                unseen.fill(0.0);
                let of = query * width + head * size;
                let told: f32 = rows::dot(&attended[of..of + size], &dattended[of..of + size]);
                let row = heads.row(first, query, head);
                heads.dropout.apply_row(slopes, heads.stream, row);
                rows::softmax_back(weights, slopes, sums[query * heads.heads + head], told);
                heads.dropout.apply_row(weights, heads.stream, row);
            }
            let weights = MatRef::from_row_major_slice(weights, n, m);
            let slopes = MatRef::from_row_major_slice(slopes, n, m);
            let mut add = |at: Range<usize>, which: usize, accum, a, b, by: f32| {
                let to = heads.view_mut(dqkv, at, 3 * width, which * width + head * size);
                matmul(to, accum, a, b, by, Par::Seq);
            };
            add(queries, 0, over, slopes, k, heads.scale);
            add(keys.clone(), 1, Accum::Add, slopes.transpose(), q, heads.scale);
            add(keys, 2, Accum::Add, weights.transpose(), out, 1.0);
        }
    }
}
