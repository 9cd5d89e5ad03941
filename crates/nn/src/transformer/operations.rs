//! The parts of a layer from operations of the backend, with sequences padded to the longest.

use super::{Activation, Packed};
use crate::noise::Noise;
use burn::module::Param;
use burn::tensor::activation::{gelu, relu, silu, softmax};
use burn::tensor::{Int, Tensor, TensorData};

/// `x wᵀ + b`.
pub(super) fn dense(x: Tensor<2>, w: Tensor<2>, b: Tensor<1>) -> Tensor<2> {
    x.matmul(w.transpose()) + b.unsqueeze()
}

pub(super) fn activate<const D: usize>(x: Tensor<D>, by: Activation) -> Tensor<D> {
    match by {
        Activation::Relu => relu(x),
        Activation::Gelu => gelu(x),
        Activation::Silu => silu(x),
    }
}

/// All the numbers of a weight.
pub(super) fn flat(of: &Param<Tensor<2>>) -> Tensor<1> {
    let of = of.val();
    let n = of.dims().iter().product::<usize>();
    of.reshape([n])
}

/// Where each place of the padded batch is among the tokens; padding: anywhere.
fn padded(packed: &Packed) -> (Vec<usize>, usize, Vec<i64>) {
    let offsets = packed.offsets();
    let lengths: Vec<usize> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
    let (n, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
    let place = |s: usize, t: usize| if t < lengths[s] { offsets[s] + t } else { 0 };
    let of = (0..n * longest).map(|k| place(k / longest, k % longest) as i64).collect();
    (lengths, longest, of)
}

/// How heads attend.
#[derive(Clone, Copy)]
pub(super) struct Attend {
    pub(super) heads: usize,
    pub(super) causal: bool,
    pub(super) dropout: f64,
}

/// Attention of the tokens of `queries` to those of `keys`, `[tokens, width]` each, sequence by sequence.
pub(super) fn attend(
    [q, k, v]: [Tensor<2>; 3],
    queries: &Packed,
    keys: &Packed,
    how: Attend,
    noise: &mut Noise,
) -> Tensor<2> {
    let device = q.device();
    let plain = device.clone().without_autodiff();
    let (d, heads) = (q.dims()[1], how.heads);
    let (lengths, longest, place) = padded(queries);
    let (seen, most, place_of_key) = padded(keys);
    let n = lengths.len();
    let back: Vec<i64> =
        (0..n).flat_map(|s| (0..lengths[s]).map(move |t| (s * longest + t) as i64)).collect();
    let whole = |of: Vec<i64>| {
        let n = of.len();
        Tensor::<1, Int>::from_data(TensorData::new(of, [n]), &device)
    };
    let mut hidden = vec![0.0_f32; n * longest * most];
    for (at, value) in hidden.iter_mut().enumerate() {
        let (s, query, key) = (at / (longest * most), at / most % longest, at % most);
        if key >= seen[s] || (how.causal && key > query) {
            *value = -1e9;
        }
    }
    let hidden = Tensor::<4>::from_data(TensorData::new(hidden, [n, 1, longest, most]), &plain);
    let part = |of: Tensor<2>, place: &[i64], longest: usize| {
        of.select(0, whole(place.to_vec())).reshape([n, longest, heads, d / heads]).swap_dims(1, 2)
    };
    let (q, k, v) = (part(q, &place, longest), part(k, &place_of_key, most), part(v, &place_of_key, most));
    let scale = 1.0 / ((d / heads) as f64).sqrt();
    let scores = q.matmul(k.swap_dims(2, 3)) * scale + hidden;
    let weights = noise.dropout(softmax(scores, 3), how.dropout);
    let told = weights.matmul(v).swap_dims(1, 2).reshape([n * longest, d]);
    told.select(0, whole(back))
}

/// The parts, side by side, of rows of `parts` times `width` numbers.
pub(super) fn split<const N: usize>(of: Tensor<2>, width: usize) -> [Tensor<2>; N] {
    let n = of.dims()[0];
    std::array::from_fn(|k| of.clone().slice([0..n, k * width..(k + 1) * width]))
}
