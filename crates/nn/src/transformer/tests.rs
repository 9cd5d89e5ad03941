#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::*;
use burn::tensor::TensorData;
use rand::RngExt;
use tradewind_core::Run;

/// Sequences of which some are longer than a block of queries, one is empty, and all are more than a part.
const LENGTHS: [usize; 9] = [1, 70, 130, 0, 3, 200, 64, 65, 128];

fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Run::new(5).rng(stream);
    (0..n).map(|_| rng.random_range(-1.0_f32..1.0)).collect()
}

fn encoder(params: EncoderParams, device: &Device) -> Encoder {
    let encoder = params.init(device, &mut Run::new(2).rng(0)).unwrap();
    // First weights would leave much at zero.
    let mut weights = crate::Weights::of(&encoder);
    let names: Vec<String> = weights.of.keys().cloned().collect();
    for (k, name) in names.iter().enumerate() {
        let of: Vec<f32> = weights.get(name).unwrap().to_vec();
        let noise = numbers(of.len(), 100 + k as u64);
        weights.set(name, of.iter().zip(noise).map(|(w, e)| w + 0.3 * e).collect()).unwrap();
    }
    weights.put_into(encoder).unwrap()
}

fn plain(encoder: &Encoder, x: Tensor<2>, packed: &Packed) -> Tensor<2> {
    let shape = encoder.shape;
    let mut x = x;
    for layer in &encoder.layers {
        x = layer.by_operations(x, &shape, packed, 0.0, &mut Noise::none());
    }
    encoder.norm.as_ref().map_or(x.clone(), |norm| norm.by_operations(x))
}

/// The answer, and the gradients of the input and of all weights, of a weighted sum of the answers.
fn told(
    encoder: &Encoder,
    x: &[f32],
    answer: impl Fn(Tensor<2>) -> Tensor<2>,
) -> (Vec<f32>, Vec<f32>, Vec<Vec<f32>>) {
    let device = Device::flex().autodiff();
    let d = encoder.shape.width;
    let n = x.len() / d;
    let x = Tensor::<2>::from_data(TensorData::new(x.to_vec(), [n, d]), &device).require_grad();
    let weights = Tensor::<2>::from_data(TensorData::new(numbers(n * d, 9), [n, d]), &device);
    let y = answer(x.clone());
    let values = crate::values(y.clone().inner());
    let slopes = (y * weights).sum().backward();
    let of_x = crate::values(x.grad(&slopes).unwrap());
    let collected = crate::optimise::Collected::of(encoder, slopes);
    let of =
        crate::Weights::of(encoder).of.keys().map(|name| collected.get(name).unwrap().to_vec()).collect();
    (values, of_x, of)
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
    let packed = Packed::of_lengths(&LENGTHS);
    let x = numbers(packed.tokens() * 12, 1);
    for norm_before in [true, false] {
        for (causal, activation) in
            [(true, Activation::Gelu), (false, Activation::Silu), (false, Activation::Relu)]
        {
            let params = EncoderParams {
                heads: 3,
                inner: 20,
                norm_before,
                causal,
                activation,
                dropout: 0.0,
                ..EncoderParams::new(12)
            };
            let encoder = encoder(params, &device);
            let fused = told(&encoder, &x, |x| encoder.forward(x, &packed, &mut Noise::none()).unwrap());
            let plain = told(&encoder, &x, |x| plain(&encoder, x, &packed));
            near(&fused.0, &plain.0, "answer");
            near(&fused.1, &plain.1, "input");
            for (k, (a, b)) in fused.2.iter().zip(&plain.2).enumerate() {
                near(a, b, &format!("weight {k} ({params:?})"));
            }
        }
    }
}

#[test]
fn dropout_leaves_out_the_same_on_the_way_back() {
    let device = Device::flex().autodiff();
    let packed = Packed::of_lengths(&[5, 70]);
    for norm_before in [true, false] {
        let params = EncoderParams { norm_before, layers: 1, dropout: 0.3, ..EncoderParams::new(8) };
        let encoder = encoder(params, &device);
        let noise = || Noise::of(Run::new(4).rng(1));
        let x = numbers(75 * 8, 1);
        let (values, of_x, _) = told(&encoder, &x, |x| encoder.forward(x, &packed, &mut noise()).unwrap());
        let (still, ..) = told(&encoder, &x, |x| encoder.forward(x, &packed, &mut Noise::none()).unwrap());
        assert!(values.iter().zip(&still).any(|(a, b)| (a - b).abs() > 0.05), "nothing was left out");
        let weights = numbers(75 * 8, 9);
        for k in [0, 17, 100, 301, 599] {
            let at = |by: f32| {
                let mut x = x.clone();
                x[k] += by;
                let x = Tensor::<2>::from_data(TensorData::new(x, [75, 8]), &Device::flex());
                let still = crate::Weights::of(&encoder);
                let plain = params.init(&Device::flex(), &mut Run::new(2).rng(0)).unwrap();
                let y = still.put_into(plain).unwrap().forward(x, &packed, &mut noise()).unwrap();
                crate::values(y).iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum::<f64>()
            };
            let slope = (at(4e-3) - at(-4e-3)) / 8e-3;
            assert!((slope - f64::from(of_x[k])).abs() < 2e-2 * (1.0 + slope.abs()), "{slope} {}", of_x[k]);
        }
    }
}

#[test]
fn a_share_is_left_out_and_the_rest_makes_up_for_it() {
    let dropout = Dropout::new(0.25, 8);
    let mut values = vec![1.0_f32; 3 << 20];
    dropout.apply(&mut values, 1, 77);
    let out = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len() as f64;
    assert!((out - 0.25).abs() < 2e-3, "{out}");
    assert!(values.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
    // The same places, whatever part is worked on.
    let mut part = vec![1.0_f32; 1000];
    dropout.apply(&mut part, 1, 77 + (1 << 20));
    assert_eq!(part, values[1 << 20..(1 << 20) + 1000]);
}

#[test]
fn sequences_do_not_see_each_other_nor_the_number_of_threads() {
    let device = Device::flex();
    let encoder = encoder(EncoderParams { causal: true, dropout: 0.0, ..EncoderParams::new(8) }, &device);
    let answer = |lengths: &[usize], x: &[f32]| {
        let packed = Packed::of_lengths(lengths);
        let x = Tensor::<2>::from_data(TensorData::new(x.to_vec(), [packed.tokens(), 8]), &device);
        crate::values(encoder.forward(x, &packed, &mut Noise::none()).unwrap())
    };
    let x = numbers(900 * 8, 3);
    let all = Run::new(1).with_threads(3).install(|| answer(&[300, 200, 400], &x));
    assert_eq!(all, Run::new(1).with_threads(1).install(|| answer(&[300, 200, 400], &x)));
    let second = answer(&[200], &x[300 * 8..500 * 8]);
    near(&all[300 * 8..500 * 8], &second, "alone");
    // Nor does a token see what comes after it.
    let begun = answer(&[50], &x[..50 * 8]);
    near(&all[..50 * 8], &begun, "before");
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    let device = Device::flex();
    let bad = EncoderParams { heads: 3, dropout: 1.0, ..EncoderParams::new(8) };
    let told = bad.check().unwrap_err().to_string();
    assert!(told.contains("heads") && told.contains("dropout"), "{told}");
    let encoder = encoder(EncoderParams::new(8), &device);
    let x = Tensor::<2>::zeros([4, 8], &device);
    let told = encoder.forward(x, &Packed::of_lengths(&[3]), &mut Noise::none()).unwrap_err().to_string();
    assert!(told.contains("width 8"), "{told}");
}
