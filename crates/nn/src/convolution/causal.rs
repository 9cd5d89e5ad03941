//! Convolution over steps, where a step sees itself and those before it.

use super::op::ConvolutionOps;
use super::pass::{Plan, Steps};
use crate::init;
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

/// A causal, dilated convolution (van den Oord et al. 2016). The weight lies as PyTorch's `Conv1d`, `[output, input, kernel]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::convolution::Causal;
/// let device = Device::flex();
/// let layer = Causal::new(2, 6, 3, 4, &device, &mut Run::new(1).rng(0));
/// assert_eq!(layer.forward(Tensor::<3>::ones([5, 9, 2], &device)).dims(), [5, 9, 6]);
/// ```
#[derive(Module, Debug)]
pub struct Causal {
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
    dilation: usize,
}

impl Causal {
    /// From `input` to `output` numbers a step, over `kernel` steps that lie `dilation` apart; weights evenly between
    /// `-1/√(input · kernel)` and its opposite.
    pub fn new(
        input: usize,
        output: usize,
        kernel: usize,
        dilation: usize,
        device: &Device,
        rng: &mut impl Rng,
    ) -> Self {
        let end = 1.0 / ((input * kernel).max(1) as f32).sqrt();
        Self {
            weight: init::even([output, input, kernel], end, device, rng),
            bias: init::even([output], end, device, rng),
            dilation,
        }
    }

    /// `[batch, steps, input]` to `[batch, steps, output]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, steps, input] = x.dims();
        let [output, wanted, kernel] = self.weight.dims();
        // Steps of another width are left to burn, which says so.
        let odd = batch * steps * input * output * kernel == 0 || input != wanted;
        if odd || !crate::is_cpu(&x.device()) {
            return self.by_operations(x);
        }
        let plan = Plan::Steps(Steps { batch, steps, input, output, kernel, dilation: self.dilation });
        let told = <Dispatch as ConvolutionOps>::convolution(
            x.into_dispatch(),
            self.weight.val().into_dispatch(),
            self.bias.val().into_dispatch(),
            plan,
        );
        Tensor::from_dispatch(told)
    }

    /// The same from burn's operations.
    fn by_operations(&self, x: Tensor<3>) -> Tensor<3> {
        let ([batch, steps, input], device) = (x.dims(), x.device());
        let [output, _, kernel] = self.weight.dims();
        // Each step beside those it sees, so that one product does all.
        let taps: Vec<Tensor<3>> = (0..kernel)
            .map(|k| {
                let back = (kernel - 1 - k) * self.dilation;
                if back == 0 {
                    return x.clone();
                }
                let nothing = Tensor::<3>::zeros([batch, back.min(steps), input], &device);
                if back >= steps {
                    return nothing;
                }
                Tensor::cat(vec![nothing, x.clone().slice([0..batch, 0..steps - back, 0..input])], 1)
            })
            .collect();
        let seen = Tensor::cat(taps, 2).reshape([batch * steps, kernel * input]);
        let weight = self.weight.val().swap_dims(1, 2).reshape([output, kernel * input]);
        let y = seen.matmul(weight.transpose()) + self.bias.val().unsqueeze();
        y.reshape([batch, steps, output])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use crate::{Weights, values};
    use burn::tensor::TensorData;
    use rand::RngExt;
    use tradewind_core::Run;

    #[test]
    fn a_step_is_the_sum_over_what_it_sees() {
        let device = Device::flex();
        let (batch, steps, input, output, kernel) = (2, 7, 3, 4, 3);
        for dilation in [1, 2, 9] {
            let mut rng = Run::new(3).rng(dilation as u64);
            let layer = Causal::new(input, output, kernel, dilation, &device, &mut rng);
            let x: Vec<f32> = (0..batch * steps * input).map(|_| rng.random_range(-1.0..1.0)).collect();
            let told =
                layer.forward(Tensor::from_data(TensorData::new(x.clone(), [batch, steps, input]), &device));
            let told = values(told);
            let weights = Weights::of(&layer);
            let (w, b) = (weights.get("weight").unwrap(), weights.get("bias").unwrap());
            for (r, t, o) in
                (0..batch).flat_map(|r| (0..steps).flat_map(move |t| (0..output).map(move |o| (r, t, o))))
            {
                let mut sum = b[o];
                for k in 0..kernel {
                    let Some(from) = t.checked_sub((kernel - 1 - k) * dilation) else { continue };
                    for i in 0..input {
                        sum += w[(o * input + i) * kernel + k] * x[(r * steps + from) * input + i];
                    }
                }
                assert!((told[(r * steps + t) * output + o] - sum).abs() < 1e-5, "{dilation} {r} {t} {o}");
            }
        }
    }

    /// The answer and the gradients, of the steps, the weight and the bias, of a weighted sum of the answers.
    fn told(layer: &Causal, dims: [usize; 3], burn: bool) -> [Vec<f32>; 4] {
        let device = Device::flex().autodiff();
        let numbers = |dims: [usize; 3], stream| {
            let mut rng = Run::new(7).rng(stream);
            let values: Vec<f32> = (0..dims.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
            Tensor::<3>::from_data(TensorData::new(values, dims), &device)
        };
        let x = numbers(dims, 1).require_grad();
        let y = if burn { layer.by_operations(x.clone()) } else { layer.forward(x.clone()) };
        let by = numbers(y.dims(), 2);
        let slopes = (y.clone() * by).sum().backward();
        let of_x = values(x.grad(&slopes).unwrap());
        let slopes = crate::optimise::Collected::of(layer, slopes);
        let of = |path| slopes.get(path).unwrap().to_vec();
        [values(y.inner()), of_x, of("weight"), of("bias")]
    }

    /// Layers and what they are given: many short sequences, of which the last go together in a smaller block; few long
    /// ones; taps beyond the first step.
    fn cases() -> Vec<(Causal, [usize; 3])> {
        let device = Device::flex().autodiff();
        let case = |input, output, kernel, dilation, batch, steps| {
            let layer = Causal::new(input, output, kernel, dilation, &device, &mut Run::new(3).rng(0));
            (layer, [batch, steps, input])
        };
        vec![
            case(16, 12, 3, 1, 301, 26),
            case(5, 3, 2, 7, 3, 400),
            case(40, 7, 4, 3, 2, 300),
            case(2, 3, 3, 9, 4, 7),
            case(1, 1, 1, 1, 1, 1),
        ]
    }

    #[test]
    fn answers_and_slopes_are_those_of_burn() {
        for (layer, dims) in cases() {
            for (k, (a, b)) in told(&layer, dims, false).iter().zip(told(&layer, dims, true)).enumerate() {
                assert_eq!(a.len(), b.len());
                let size = (b.iter().map(|v| v * v).sum::<f32>() / b.len() as f32).sqrt();
                for (a, b) in a.iter().zip(&b) {
                    assert!((a - b).abs() <= 1e-5 * (1.0 + size + b.abs()), "{dims:?} {k}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for (layer, dims) in cases() {
            let on = |threads| Run::new(1).with_threads(threads).install(|| told(&layer, dims, false));
            assert_eq!(on(1), on(3), "{dims:?}");
        }
    }

    #[test]
    fn nothing_is_answered_with_nothing() {
        let device = Device::flex();
        let layer = Causal::new(2, 3, 3, 1, &device, &mut Run::new(3).rng(0));
        assert_eq!(layer.forward(Tensor::zeros([0, 5, 2], &device)).dims(), [0, 5, 3]);
    }

    #[test]
    fn gradients_are_slopes() {
        let device = Device::flex().autodiff();
        let mut rng = Run::new(5).rng(0);
        let layer = Causal::new(2, 3, 3, 2, &device, &mut rng);
        let x: Vec<f32> = (0..2 * 6 * 2).map(|_| rng.random_range(-1.0..1.0)).collect();
        let score = |layer: &Causal, x: &[f32]| {
            let x = Tensor::<3>::from_data(TensorData::new(x.to_vec(), [2, 6, 2]), &device);
            let y = layer.forward(x);
            (y.clone() * y).mean()
        };
        let told = crate::optimise::Collected::of(&layer, score(&layer, &x).backward());
        let weights = Weights::of(&layer);
        for path in ["weight", "bias"] {
            let n = weights.get(path).unwrap().len();
            for k in 0..n {
                let moved = |by: f32| {
                    let mut weights = weights.clone();
                    weights.of.get_mut(path).unwrap().1[k] += by;
                    crate::losses::value(&score(&weights.put_into(layer.clone()).unwrap(), &x))
                };
                let slope = (moved(0.01) - moved(-0.01)) / 0.02;
                let told = f64::from(told.get(path).unwrap()[k]);
                assert!((slope - told).abs() < 1e-3, "{path} {k}: {told} and {slope}");
            }
        }
    }
}
