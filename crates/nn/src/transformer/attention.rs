//! Scaled dot-product attention of one sequence to itself or to another, block by block (Vaswani et al. 2017; blocks and the sums that are kept in
//! place of the weights as in Dao et al. 2022).

use super::Shape;
use super::rows::{self, Dropout};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::Range;

/// Rows of queries that go together.
const BLOCK: usize = 64;

/// Where queries, keys or values lie: numbers of a row, and where in it those of the first head begin.
#[derive(Clone, Copy)]
struct Lie {
    each: usize,
    from: usize,
}

/// How the heads of a layer attend.
pub(super) struct Heads {
    heads: usize,
    /// Values of a head.
    size: usize,
    scale: f32,
    causal: bool,
    dropout: Dropout,
    stream: u32,
    query: Lie,
    key: Lie,
    value: Lie,
}

impl Heads {
    /// Of tokens among themselves: query, key and value of a token lie side by side.
    pub(super) fn of(shape: &Shape, dropout: Dropout, stream: u32) -> Self {
        let d = shape.width;
        let [query, key, value] = [0, d, 2 * d].map(|from| Lie { each: 3 * d, from });
        Self::new(shape, shape.causal, dropout, stream, [query, key, value])
    }

    /// Of tokens to those of other sequences: queries lie by themselves, key and value side by side.
    pub(super) fn across(shape: &Shape, dropout: Dropout, stream: u32) -> Self {
        let d = shape.width;
        let query = Lie { each: d, from: 0 };
        let [key, value] = [0, d].map(|from| Lie { each: 2 * d, from });
        Self::new(shape, false, dropout, stream, [query, key, value])
    }

    fn new(
        shape: &Shape,
        causal: bool,
        dropout: Dropout,
        stream: u32,
        [query, key, value]: [Lie; 3],
    ) -> Self {
        let size = shape.width / shape.heads;
        let scale = 1.0 / (size as f32).sqrt();
        Self { heads: shape.heads, size, scale, causal, dropout, stream, query, key, value }
    }

    fn width(&self) -> usize {
        self.heads * self.size
    }

    /// What a head has of the tokens `at`.
    fn part<'a>(&self, of: &'a [f32], at: Range<usize>, head: usize, lie: Lie) -> MatRef<'a, f32> {
        self.view(of, at, lie.each, lie.from + head * self.size)
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
    fn blocks(&self, among: &Among) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (causal, at, seen) = (self.causal, among.queries.clone(), among.keys.clone());
        at.clone().step_by(BLOCK).map(move |q| {
            let queries = q..(q + BLOCK).min(at.end);
            let keys = seen.start..if causal { queries.end } else { seen.end };
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

/// The tokens that attend and those that are attended to; the first of the queries is the batch's token `first`, less where
/// they begin.
pub(super) struct Among {
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    pub(super) first: usize,
}

impl Among {
    /// The tokens of a sequence among themselves.
    pub(super) fn themselves(at: Range<usize>, first: usize) -> Self {
        Self { queries: at.clone(), keys: at, first }
    }
}

/// Attends; `q` holds the queries, `kv` keys and values.
pub(super) fn forward(
    heads: &Heads,
    among: &Among,
    q: &[f32],
    kv: &[f32],
    attended: &mut [f32],
    sums: &mut [f32],
) {
    let mut weights = vec![0.0; BLOCK.min(among.queries.len()) * among.keys.len()];
    for head in 0..heads.heads {
        for (queries, keys) in heads.blocks(among) {
            let (n, m) = (queries.len(), keys.len());
            let weights = &mut weights[..n * m];
            matmul(
                MatMut::from_row_major_slice_mut(weights, n, m),
                Accum::Replace,
                heads.part(q, queries.clone(), head, heads.query),
                heads.part(kv, keys.clone(), head, heads.key).transpose(),
                heads.scale,
                Par::Seq,
            );
            for (row, query) in weights.chunks_exact_mut(m).zip(queries.clone()) {
                let (seen, hidden) = row.split_at_mut(heads.seen(query, &keys));
                sums[query * heads.heads + head] = rows::softmax(seen);
                hidden.fill(0.0);
                heads.dropout.apply_row(seen, heads.stream, heads.row(among.first, query, head));
            }
            matmul(
                heads.view_mut(attended, queries, heads.width(), head * heads.size),
                Accum::Replace,
                MatRef::from_row_major_slice(weights, n, m),
                heads.part(kv, keys, head, heads.value),
                1.0,
                Par::Seq,
            );
        }
    }
}

/// The way back of [`forward`]; `dq` and `dkv` come as zeros. Without `dkv` all three lie in `dq`.
#[expect(clippy::too_many_arguments, reason = "each is a slice of its own")]
pub(super) fn backward(
    heads: &Heads,
    among: &Among,
    q: &[f32],
    kv: &[f32],
    attended: &[f32],
    sums: &[f32],
    dattended: &[f32],
    dq: &mut [f32],
    mut dkv: Option<&mut [f32]>,
) {
    let (width, size) = (heads.width(), heads.size);
    let most = BLOCK.min(among.queries.len()) * among.keys.len();
    let (mut weights, mut slopes) = (vec![0.0; most], vec![0.0; most]);
    for head in 0..heads.heads {
        for (queries, keys) in heads.blocks(among) {
            let (n, m) = (queries.len(), keys.len());
            let (weights, slopes) = (&mut weights[..n * m], &mut slopes[..n * m]);
            let own = heads.part(q, queries.clone(), head, heads.query);
            let k = heads.part(kv, keys.clone(), head, heads.key);
            let v = heads.part(kv, keys.clone(), head, heads.value);
            let out = heads.view(dattended, queries.clone(), width, head * size);
            let over = Accum::Replace;
            matmul(
                MatMut::from_row_major_slice_mut(weights, n, m),
                over,
                own,
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
                let row = heads.row(among.first, query, head);
                heads.dropout.apply_row(slopes, heads.stream, row);
                rows::softmax_back(weights, slopes, sums[query * heads.heads + head], told);
                heads.dropout.apply_row(weights, heads.stream, row);
            }
            let weights = MatRef::from_row_major_slice(weights, n, m);
            let slopes = MatRef::from_row_major_slice(slopes, n, m);
            let add = |to: &mut [f32], at: Range<usize>, lie: Lie, accum, a, b, by: f32| {
                let to = heads.view_mut(to, at, lie.each, lie.from + head * size);
                matmul(to, accum, a, b, by, Par::Seq);
            };
            add(dq, queries, heads.query, over, slopes, k, heads.scale);
            let dkv = dkv.as_deref_mut().unwrap_or(&mut *dq);
            add(dkv, keys.clone(), heads.key, Accum::Add, slopes.transpose(), own, heads.scale);
            add(dkv, keys, heads.value, Accum::Add, weights.transpose(), out, 1.0);
        }
    }
}
