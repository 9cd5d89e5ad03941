#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use crate::optimise::Collected;
use crate::{Weights, values};
use burn::tensor::TensorData;
use tradewind_core::Run;

/// Sequences of which some are longer than a block of queries, and one is empty.
const LENGTHS: [usize; 7] = [1, 70, 0, 130, 3, 200, 64];
const READ: [usize; 7] = [3, 150, 2, 1, 64, 65, 190];

fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Run::new(5).rng(stream);
    (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
}

fn decoder(params: DecoderParams, device: &Device) -> Decoder {
    let decoder = params.init(device, &mut Run::new(2).rng(0)).unwrap();
    // First weights would leave much at zero.
    let mut weights = Weights::of(&decoder);
    let names: Vec<String> = weights.paths().map(str::to_owned).collect();
    for (k, name) in names.iter().enumerate() {
        let of: Vec<f32> = weights.get(name).unwrap().to_vec();
        let noise = numbers(of.len(), 100 + k as u64);
        weights.set(name, of.iter().zip(noise).map(|(w, e)| w + 0.3 * e).collect()).unwrap();
    }
    weights.put_into(decoder).unwrap()
}

fn plain(decoder: &Decoder, x: Tensor<2>, memory: &Tensor<2>, of: [&Packed; 2]) -> Tensor<2> {
    let mut x = x;
    for layer in &decoder.layers {
        x = layer.by_operations(x, memory.clone(), of, &decoder.shape, 0.0, &mut Noise::none());
    }
    decoder.norm.as_ref().map_or(x.clone(), |norm| norm.by_operations(x))
}

/// The answer, and the gradients of the input, of the memory and of all weights, of a weighted sum of the answers.
fn told(
    decoder: &Decoder,
    [n, m]: [usize; 2],
    answer: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let d = decoder.shape.width;
    let of =
        |n: usize, stream| Tensor::<2>::from_data(TensorData::new(numbers(n * d, stream), [n, d]), &device);
    let (x, memory) = (of(n, 1).require_grad(), of(m, 2).require_grad());
    let y = answer(x.clone(), memory.clone());
    let mut out = vec![values(y.clone().inner())];
    let slopes = (y * of(n, 9)).sum().backward();
    out.extend([&x, &memory].map(|of| values(of.grad(&slopes).unwrap())));
    let collected = Collected::of(decoder, slopes);
    out.extend(Weights::of(decoder).paths().map(|name| collected.get(name).unwrap().to_vec()));
    out
}

fn near(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = (b.iter().map(|v| v * v).sum::<f32>() / b.len() as f32).sqrt();
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 2e-5 + 2e-4 * (size + b.abs()), "{what} {k}: {a} {b}");
    }
}

#[test]
fn a_fused_layer_and_its_slopes_are_those_of_burns_operations() {
    let device = Device::flex().autodiff();
    let (packed, read) = (Packed::of_lengths(&LENGTHS), Packed::of_lengths(&READ));
    let sizes = [packed.tokens(), read.tokens()];
    for (norm_before, activation) in
        [(true, Activation::Gelu), (false, Activation::Silu), (false, Activation::Relu)]
    {
        let params = DecoderParams {
            heads: 3,
            inner: 20,
            norm_before,
            activation,
            dropout: 0.0,
            ..DecoderParams::new(12)
        };
        let decoder = decoder(params, &device);
        let fused = told(&decoder, sizes, |x, memory| {
            decoder.forward(x, &packed, memory, &read, &mut Noise::none()).unwrap()
        });
        let plain = told(&decoder, sizes, |x, memory| plain(&decoder, x, &memory, [&packed, &read]));
        for (k, (a, b)) in fused.iter().zip(&plain).enumerate() {
            near(a, b, &format!("{k} ({params:?})"));
        }
        let threads = |n| {
            let answer = |x, memory| decoder.forward(x, &packed, memory, &read, &mut Noise::none()).unwrap();
            Run::new(1).with_threads(n).install(|| told(&decoder, sizes, answer))
        };
        assert_eq!(threads(1), threads(3));
    }
}

#[test]
fn dropout_leaves_out_the_same_on_the_way_back() {
    let device = Device::flex().autodiff();
    let (packed, read) = (Packed::of_lengths(&[5, 40]), Packed::of_lengths(&[30, 3]));
    for norm_before in [true, false] {
        let params = DecoderParams { norm_before, layers: 1, dropout: 0.3, ..DecoderParams::new(8) };
        let decoder = decoder(params, &device);
        let noise = || Noise::of(Run::new(4).rng(1));
        let of = told(&decoder, [45, 33], |x, memory| {
            decoder.forward(x, &packed, memory, &read, &mut noise()).unwrap()
        });
        let (x, memory, weights) = (numbers(45 * 8, 1), numbers(33 * 8, 2), numbers(45 * 8, 9));
        for (which, k) in [(1, 0), (1, 17), (1, 359), (2, 3), (2, 100), (2, 263)] {
            let at = |by: f32| {
                let mut of = [x.clone(), memory.clone()];
                of[which - 1][k] += by;
                let plain = params.init(&Device::flex(), &mut Run::new(2).rng(0)).unwrap();
                let plain = Weights::of(&decoder).put_into(plain).unwrap();
                let [x, memory] = of.map(|of| {
                    let n = of.len() / 8;
                    Tensor::<2>::from_data(TensorData::new(of, [n, 8]), &Device::flex())
                });
                let y = plain.forward(x, &packed, memory, &read, &mut noise()).unwrap();
                values(y).iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum::<f64>()
            };
            let (slope, told) = ((at(4e-3) - at(-4e-3)) / 8e-3, f64::from(of[which][k]));
            assert!((slope - told).abs() < 2e-2 * (1.0 + slope.abs()), "{which} {k}: {slope} {told}");
        }
    }
}

#[test]
fn a_token_sees_nothing_after_it_and_no_other_sequence() {
    let device = Device::flex();
    let decoder = decoder(DecoderParams { dropout: 0.0, ..DecoderParams::new(8) }, &device);
    let (x, memory) = (numbers(90 * 8, 1), numbers(70 * 8, 2));
    let answer = |x: &[f32], lengths: &[usize], memory: &[f32], read: &[usize]| {
        let of =
            |of: &[f32]| Tensor::<2>::from_data(TensorData::new(of.to_vec(), [of.len() / 8, 8]), &device);
        let (packed, read) = (Packed::of_lengths(lengths), Packed::of_lengths(read));
        values(decoder.forward(of(x), &packed, of(memory), &read, &mut Noise::none()).unwrap())
    };
    let all = answer(&x, &[40, 50], &memory, &[30, 40]);
    near(&all[40 * 8..], &answer(&x[40 * 8..], &[50], &memory[30 * 8..], &[40]), "alone");
    near(&all[..10 * 8], &answer(&x[..10 * 8], &[10], &memory[..30 * 8], &[30]), "begun");
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    let device = Device::flex();
    let bad = DecoderParams { heads: 3, dropout: 1.0, ..DecoderParams::new(8) };
    let told = bad.check().unwrap_err().to_string();
    assert!(told.contains("heads") && told.contains("dropout"), "{told}");
    let decoder = decoder(DecoderParams::new(8), &device);
    let of = |lengths: &[usize], read: &[usize], memory: usize| {
        let (packed, read) = (Packed::of_lengths(lengths), Packed::of_lengths(read));
        let x = Tensor::<2>::zeros([packed.tokens(), 8], &device);
        let memory = Tensor::<2>::zeros([memory, 8], &device);
        decoder.forward(x, &packed, memory, &read, &mut Noise::none())
    };
    assert!(of(&[3], &[2], 3).unwrap_err().to_string().contains("width 8"));
    assert!(of(&[3, 1], &[2], 2).is_err());
    let told = of(&[3, 1], &[2, 0], 2).unwrap_err().to_string();
    assert!(told.contains("sequence 1") && told.contains("no memory"), "{told}");
    // What writes nothing needs nothing to have been read.
    assert!(of(&[3, 0], &[2, 0], 2).is_ok());
    assert!(of(&[], &[], 0).is_err());
}
