//! Which one of many: the output layer over a vocabulary (words, items) and its loss, in one operation.
//!
//! ```text
//! score(t, v) = h_t · w_v + b_v        loss = mean_t (ln Σ_v e^score(t, v) - score(t, target_t))
//! ```
//!
//! The scores of a few tokens at a time are worked out, made to gradients where they lie, and forgotten, so the memory is
//! that of the weights and not that of tokens times vocabulary (as in Wijmans et al., *Cut your losses in large-vocabulary
//! language models*, 2024). With [`Candidates`] the sum goes over a sample of the vocabulary (Jean et al. 2015), corrected
//! by how often each is drawn.

use crate::activation::exp;
use crate::transformer::rows;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor, TensorData};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::sync::Arc;
use tradewind_core::{Error, Result};

/// Scores that are worked out at once, about.
const SCORES: usize = 1 << 18;
/// Gradients of the weights that are summed side by side, and numbers of them together, at most.
const LANES: usize = 8;
const NUMBERS: usize = 1 << 24;

/// A sample of the vocabulary that stands for all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    ids: Arc<[u32]>,
    corrections: Arc<[f32]>,
}

impl Candidates {
    /// Of ids, each with its chance of being drawn once; `ids` are as many draws.
    ///
    /// # Errors
    /// An id without a chance, or with one that is not above zero.
    pub fn new(ids: Vec<u32>, chances: &[f64]) -> Result<Self> {
        let n = ids.len() as f64;
        let of = |id: &u32| {
            let chance = chances.get(*id as usize).copied().filter(|c| c.is_finite() && *c > 0.0);
            let none =
                || Error::Invalid(format!("candidate {id} is never drawn: give each a chance above zero"));
            Ok(-(n * chance.ok_or_else(none)?).ln() as f32)
        };
        let corrections = ids.iter().map(of).collect::<Result<_>>()?;
        Ok(Self { ids: ids.into(), corrections })
    }
}

/// What the operation is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    targets: Arc<[u32]>,
    candidates: Option<Candidates>,
}

/// The mean loss of telling `targets`, one for each row of `hidden` (`[tokens, width]`), by weights of `[vocabulary, width]`
/// and a bias for each of the vocabulary.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let (hidden, weight) = (Tensor::<2>::zeros([3, 4], &device), Tensor::<2>::ones([10, 4], &device));
/// let bias = Tensor::<1>::zeros([10], &device);
/// let loss = tradewind_nn::vocabulary::loss(hidden, weight, bias, &[7, 0, 9], None).unwrap();
/// assert!((loss.into_scalar::<f32>() - 10.0_f32.ln()).abs() < 1e-6);
/// ```
///
/// # Errors
/// Sizes that do not fit; targets or candidates that are not in the vocabulary.
pub fn loss(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    targets: &[u32],
    candidates: Option<&Candidates>,
) -> Result<Tensor<1>> {
    let ([n, d], [v, e], [b]) = (hidden.dims(), weight.dims(), bias.dims());
    let within = |ids: &[u32]| ids.iter().all(|id| (*id as usize) < v);
    let fits = n == targets.len()
        && n > 0
        && d > 0
        && d == e
        && b == v
        && within(targets)
        && candidates.is_none_or(|c| within(&c.ids) && !c.ids.is_empty());
    if !fits {
        return Err(Error::Invalid(format!(
            "a vocabulary of {v} by {e} with {b} biases got {n} tokens of {d} numbers and {} targets, of which the largest is {}",
            targets.len(),
            targets.iter().max().copied().unwrap_or(0)
        )));
    }
    if crate::is_cpu(&hidden.device()) {
        let asked = Asked { targets: targets.into(), candidates: candidates.cloned() };
        let told = <Dispatch as VocabularyOps>::vocabulary_loss(
            hidden.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
            asked,
        );
        return Ok(Tensor::from_dispatch(told));
    }
    Ok(by_operations(hidden, weight, bias, targets, candidates))
}

/// The same from operations of the backend.
fn by_operations(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    targets: &[u32],
    candidates: Option<&Candidates>,
) -> Tensor<1> {
    let device = hidden.device();
    let plain = device.clone().without_autodiff();
    let whole = |of: &[u32]| {
        let of: Vec<i64> = of.iter().map(|v| i64::from(*v)).collect();
        let n = of.len();
        Tensor::<1, Int>::from_data(TensorData::new(of, [n]), &device)
    };
    let Some(candidates) = candidates else {
        return crate::losses::cross_entropy(
            hidden.matmul(weight.transpose()) + bias.unsqueeze(),
            whole(targets),
            0.0,
        );
    };
    let (n, m) = (targets.len(), candidates.ids.len());
    let hit = (hidden.clone() * weight.clone().select(0, whole(targets))).sum_dim(1)
        + bias.clone().select(0, whole(targets)).unsqueeze_dim(1);
    let corrections = Tensor::<1>::from_data(TensorData::new(candidates.corrections.to_vec(), [m]), &plain);
    let others = hidden.matmul(weight.select(0, whole(&candidates.ids)).transpose())
        + (bias.select(0, whole(&candidates.ids)) + corrections).unsqueeze();
    let mut same = vec![0.0_f32; n * m];
    for (row, target) in same.chunks_exact_mut(m).zip(targets) {
        row.iter_mut()
            .zip(candidates.ids.iter())
            .for_each(|(s, id)| *s = if id == target { -1e9 } else { 0.0 });
    }
    let others = others + Tensor::<2>::from_data(TensorData::new(same, [n, m]), &plain);
    let all = Tensor::cat(vec![hit, others], 1);
    crate::losses::cross_entropy(all, whole(&vec![0; n]), 0.0)
}

/// The operation: a tensor of one number.
#[backend_extension(Flex, Autodiff)]
trait VocabularyOps: Backend {
    fn vocabulary_loss(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        asked: Asked,
    ) -> FloatTensor<Self>;
}

/// The halves of it, on backends whose values can be read.
trait VocabularyPass: Backend {
    /// The loss and the gradients of what goes in.
    fn vocabulary_pass(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        asked: &Asked,
    ) -> (FloatTensor<Self>, [FloatTensor<Self>; 3]);

    /// Gradients times the one that comes back.
    fn vocabulary_back(of: [FloatTensor<Self>; 3], outer: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

type FlexTensor = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.shape()))
}

fn values(of: &FlexTensor) -> &[f32] {
    of.as_slice().unwrap_or_default()
}

impl VocabularyOps for Flex {
    fn vocabulary_loss(hidden: FlexTensor, weight: FlexTensor, bias: FlexTensor, asked: Asked) -> FlexTensor {
        let (hidden, weight) = (hidden.to_contiguous(), weight.to_contiguous());
        let told = pass(values(&hidden), values(&weight), values(&bias.to_contiguous()), &asked, false);
        FlexTensor::from_data(TensorData::new(vec![told.loss], [1]))
    }
}

impl VocabularyPass for Flex {
    fn vocabulary_pass(
        hidden: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        asked: &Asked,
    ) -> (FlexTensor, [FlexTensor; 3]) {
        let (hidden, weight, bias) = (hidden.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let told = pass(values(&hidden), values(&weight), values(&bias), asked, true);
        let of = [tensor(told.hidden, &hidden), tensor(told.weight, &weight), tensor(told.bias, &bias)];
        (FlexTensor::from_data(TensorData::new(vec![told.loss], [1])), of)
    }

    fn vocabulary_back(of: [FlexTensor; 3], outer: FlexTensor) -> [FlexTensor; 3] {
        let by = values(&outer.to_contiguous()).first().copied().unwrap_or(1.0);
        if by == 1.0 {
            return of;
        }
        of.map(|of| tensor(values(&of).iter().map(|v| v * by).collect(), &of))
    }
}

#[derive(Debug)]
struct VocabularyBack;

impl<B: VocabularyPass> Backward<B, 3> for VocabularyBack {
    type State = [FloatTensor<B>; 3];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let outer = grads.consume::<B>(&ops.node);
        for (parent, grad) in ops.parents.into_iter().zip(B::vocabulary_back(ops.state, outer)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: VocabularyPass + VocabularyOps, C: CheckpointStrategy> VocabularyOps for Autodiff<B, C> {
    fn vocabulary_loss(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        asked: Asked,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node(), weight.node(), bias.node()];
        let [hidden, weight, bias] = [hidden, weight, bias].map(|t| t.into_primitive());
        match VocabularyBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (told, of) = B::vocabulary_pass(hidden, weight, bias, &asked);
                prep.finish(of, told)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::vocabulary_loss(hidden, weight, bias, asked)),
        }
    }
}

/// The loss and, where they are asked for, its gradients.
#[derive(Default)]
struct Told {
    loss: f32,
    hidden: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// What a lane of tokens sums up.
#[derive(Default)]
struct Lane {
    loss: f64,
    /// Of the rows that scores go over: all, or the candidates.
    rows: Vec<f32>,
    bias: Vec<f32>,
    /// Of the targets, where scores go over candidates: token by token.
    targets: Vec<f32>,
}

fn pass(hidden: &[f32], weight: &[f32], bias: &[f32], asked: &Asked, slopes: bool) -> Told {
    let n = asked.targets.len();
    let d = hidden.len() / n;
    // What scores go over.
    let gathered: Option<(Vec<f32>, Vec<f32>)> = asked.candidates.as_ref().map(|c| {
        let rows = c.ids.iter().flat_map(|id| &weight[*id as usize * d..][..d]).copied().collect();
        let biases = c.ids.iter().zip(c.corrections.iter()).map(|(id, c)| bias[*id as usize] + c).collect();
        (rows, biases)
    });
    let (over, over_bias) =
        gathered.as_ref().map_or((weight, bias), |(rows, biases)| (&rows[..], &biases[..]));
    let m = over_bias.len();
    let chunk = (SCORES / m).clamp(8, 256);
    // Neither depends on the number of threads, so that it changes no bit.
    let lanes = (NUMBERS / (m * d).max(1)).clamp(2, LANES);
    let each = n.div_ceil(lanes).next_multiple_of(chunk);
    let mut dhidden = vec![0.0; if slopes { n * d } else { 0 }];
    let mut outs: Vec<&mut [f32]> = dhidden.chunks_mut(each * d).collect();
    outs.resize_with(n.div_ceil(each), Default::default);
    let scale = 1.0 / n as f32;
    let done: Vec<Lane> = outs
        .into_par_iter()
        .enumerate()
        .map(|(lane, out)| {
            let (first, end) = (lane * each, n.min((lane + 1) * each));
            let mut sums = Lane::default();
            if slopes {
                sums.rows = vec![0.0; m * d];
                sums.bias = vec![0.0; m];
                sums.targets = vec![0.0; if asked.candidates.is_some() { end - first } else { 0 }];
            }
            let mut scores = vec![0.0; chunk.min(end - first) * m];
            for at in (first..end).step_by(chunk) {
                let to = end.min(at + chunk);
                let h = &hidden[at * d..to * d];
                let scores = &mut scores[..(to - at) * m];
                scores.chunks_exact_mut(m).for_each(|row| row.copy_from_slice(over_bias));
                matmul(
                    MatMut::from_row_major_slice_mut(scores, to - at, m),
                    Accum::Add,
                    MatRef::from_row_major_slice(h, to - at, d),
                    MatRef::from_row_major_slice(over, m, d).transpose(),
                    1.0,
                    Par::Seq,
                );
                for (row, t) in scores.chunks_exact_mut(m).zip(at..to) {
                    let target = asked.targets[t] as usize;
                    match &asked.candidates {
                        None => {
                            let hit = row[target];
                            sums.loss += f64::from(rows::softmax(row) - hit);
                            row[target] -= 1.0;
                        }
                        Some(candidates) => {
                            let own = &hidden[t * d..][..d];
                            let hit = rows::dot(own, &weight[target * d..][..d]) + bias[target];
                            for (score, id) in row.iter_mut().zip(candidates.ids.iter()) {
                                if *id as usize == target {
                                    *score = f32::MIN;
                                }
                            }
                            let others = rows::softmax(row);
                            // The chance of the target against all others together.
                            let against = others - hit;
                            let told = 1.0 / (1.0 + exp(against));
                            sums.loss +=
                                f64::from(if against > 30.0 { against } else { (1.0 + exp(against)).ln() });
                            row.iter_mut().for_each(|p| *p *= 1.0 - told);
                            if slopes {
                                sums.targets[t - first] = (told - 1.0) * scale;
                            }
                        }
                    }
                    if slopes {
                        row.iter_mut().for_each(|p| *p *= scale);
                    }
                }
                if !slopes {
                    continue;
                }
                let slope = MatRef::from_row_major_slice(&*scores, to - at, m);
                matmul(
                    MatMut::from_row_major_slice_mut(
                        &mut out[(at - first) * d..(to - first) * d],
                        to - at,
                        d,
                    ),
                    Accum::Replace,
                    slope,
                    MatRef::from_row_major_slice(over, m, d),
                    1.0,
                    Par::Seq,
                );
                matmul(
                    MatMut::from_row_major_slice_mut(&mut sums.rows, m, d),
                    Accum::Add,
                    slope.transpose(),
                    MatRef::from_row_major_slice(h, to - at, d),
                    1.0,
                    Par::Seq,
                );
                rows::add_rows(&mut sums.bias, scores);
            }
            sums
        })
        .collect();
    let loss = done.iter().map(|l| l.loss).sum::<f64>() / n as f64;
    let mut told = Told { loss: loss as f32, ..Told::default() };
    if !slopes {
        return told;
    }
    let (mut over_rows, mut over_biases, mut of_targets) = (Vec::new(), Vec::new(), Vec::new());
    for lane in done {
        over_rows.push(lane.rows);
        over_biases.push(lane.bias);
        of_targets.extend(lane.targets);
    }
    let (over_rows, over_biases) = (rows::summed(over_rows, m * d), rows::summed(over_biases, m));
    match &asked.candidates {
        None => (told.weight, told.bias) = (over_rows, over_biases),
        Some(candidates) => {
            (told.weight, told.bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
            for ((id, row), b) in candidates.ids.iter().zip(over_rows.chunks_exact(d)).zip(&over_biases) {
                let id = *id as usize;
                rows::add(&mut told.weight[id * d..][..d], row);
                told.bias[id] += b;
            }
            let tokens = asked.targets.iter().zip(&of_targets).zip(hidden.chunks_exact(d));
            for (((target, slope), h), out) in tokens.zip(dhidden.chunks_exact_mut(d)) {
                let id = *target as usize;
                told.bias[id] += slope;
                let row = &mut told.weight[id * d..][..d];
                row.iter_mut().zip(h).for_each(|(w, h)| *w += slope * h);
                out.iter_mut().zip(&weight[id * d..][..d]).for_each(|(o, w)| *o += slope * w);
            }
        }
    }
    told.hidden = dhidden;
    told
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use burn::tensor::Device;
    use rand::RngExt;
    use tradewind_core::Run;

    fn numbers(n: usize, stream: u64) -> Vec<f32> {
        let mut rng = Run::new(11).rng(stream);
        (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
    }

    #[test]
    fn the_fused_loss_and_its_slopes_are_those_of_burns_operations() {
        // More than a chunk, and more than a lane.
        let (n, d, v) = (300, 6, 40);
        let device = Device::flex().autodiff();
        let targets: Vec<u32> = (0..n as u32).map(|t| t * 7 % v as u32).collect();
        let chances = vec![1.0 / v as f64; v];
        // An id twice, and some that are targets.
        let sampled = Candidates::new(vec![3, 3, 14, 21, 0, 39], &chances).unwrap();
        for candidates in [None, Some(&sampled)] {
            let made = |fused: bool| {
                let of = |count: usize, stream, shape: [usize; 2]| {
                    let data = TensorData::new(numbers(count, stream), shape);
                    Tensor::<2>::from_data(data, &device).require_grad()
                };
                let (h, w) = (of(n * d, 1, [n, d]), of(v * d, 2, [v, d]));
                let b = Tensor::<1>::from_data(TensorData::new(numbers(v, 3), [v]), &device).require_grad();
                let told = if fused {
                    loss(h.clone(), w.clone(), b.clone(), &targets, candidates).unwrap()
                } else {
                    by_operations(h.clone(), w.clone(), b.clone(), &targets, candidates)
                };
                // Not one, so that the way back has to multiply.
                let value: f32 = told.clone().into_scalar::<f32>();
                let slopes = (told * 3.0).backward();
                let of = [
                    crate::values(h.grad(&slopes).unwrap()),
                    crate::values(w.grad(&slopes).unwrap()),
                    crate::values(b.grad(&slopes).unwrap()),
                ];
                (value, of)
            };
            let ((a, fused), (b, plain)) = (made(true), made(false));
            assert!((a - b).abs() < 1e-5, "{a} {b}");
            for (a, b) in fused.iter().flatten().zip(plain.iter().flatten()) {
                assert!((a - b).abs() < 2e-6 + 1e-4 * b.abs(), "{a} {b}");
            }
        }
    }

    #[test]
    fn candidates_need_chances() {
        for (ids, chances) in [(vec![5], vec![0.2; 5]), (vec![0], vec![0.0]), (vec![0], vec![f64::NAN])] {
            assert!(Candidates::new(ids, &chances).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let device = Device::flex();
        let (h, w) = (Tensor::<2>::zeros([2, 3], &device), Tensor::<2>::zeros([5, 3], &device));
        let b = Tensor::<1>::zeros([5], &device);
        let told = loss(h, w, b, &[1, 5], None).unwrap_err().to_string();
        assert!(told.contains("largest is 5"), "{told}");
    }
}
