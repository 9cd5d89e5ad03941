//! Answers and gradients as PyTorch has them (the script is tests/reference/decoder.py), and a decoder that learns to say
//! again what it has read.

use rand::RngExt;
use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::{Result, Run};
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::optimise::{Collected, Optimiser, OptimiserParams};
use tradewind_nn::transformer::{
    Activation, Decoder, DecoderParams, Encoder, EncoderParams, Packed, Positions,
};
use tradewind_nn::{Noise, Weights, values, vocabulary};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    norm_before: bool,
    activation: Activation,
    lengths: Vec<usize>,
    read: Vec<usize>,
    x: Vec<f32>,
    memory: Vec<f32>,
    weight: Vec<f32>,
    y: Vec<f32>,
    d_x: Vec<f32>,
    d_memory: Vec<f32>,
    weights: BTreeMap<String, Vec<f32>>,
    d_weights: BTreeMap<String, Vec<f32>>,
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 5e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

/// The path of ours as PyTorch names it.
fn theirs(path: &str) -> String {
    path.replace("out_proj_", "out_proj.").replace("linear1_", "linear1.").replace("linear2_", "linear2.")
}

#[test]
fn transformer_decoders_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/decoder.json")).unwrap();
    assert_eq!(reference.cases.len(), 4);
    let device = Device::flex().autodiff();
    for case in &reference.cases {
        let params = DecoderParams {
            inner: 10,
            norm_before: case.norm_before,
            activation: case.activation,
            dropout: 0.0,
            ..DecoderParams::new(6)
        };
        let decoder = params.init(&device, &mut Run::new(1).rng(0)).unwrap();
        let mut weights = Weights::of(&decoder);
        let paths: Vec<String> = weights.paths().map(str::to_owned).collect();
        assert_eq!(paths.len(), case.weights.len());
        for path in &paths {
            weights.set(path, case.weights[&theirs(path)].clone()).unwrap();
        }
        let decoder = weights.put_into(decoder).unwrap();
        let (packed, read) = (Packed::of_lengths(&case.lengths), Packed::of_lengths(&case.read));
        let of = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len() / 6, 6]), &device)
        };
        let (x, memory) = (of(&case.x).require_grad(), of(&case.memory).require_grad());
        let y = decoder.forward(x.clone(), &packed, memory.clone(), &read, &mut Noise::none()).unwrap();
        near("y", &values(y.clone().inner()), &case.y);
        let slopes = (y * of(&case.weight)).sum().backward();
        near("d_x", &values(x.grad(&slopes).unwrap()), &case.d_x);
        near("d_memory", &values(memory.grad(&slopes).unwrap()), &case.d_memory);
        let slopes = Collected::of(&decoder, slopes);
        for path in &paths {
            near(path, slopes.get(path).unwrap(), &case.d_weights[&theirs(path)]);
        }
    }
}

/// The words, of which the last begins and ends a sequence.
const WORDS: usize = 8;
const END: usize = WORDS - 1;
const WIDTH: usize = 32;
const LONGEST: usize = 6;

#[derive(Module, Debug)]
struct Echo {
    words: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    read_places: Positions,
    written_places: Positions,
    encoder: Encoder,
    decoder: Decoder,
}

impl Echo {
    fn new(device: &Device) -> Result<Self> {
        let mut rng = Run::new(3).rng(0);
        Ok(Self {
            words: tradewind_nn::normal([WORDS, WIDTH], 0.3, device, &mut rng),
            bias: Param::from_tensor(Tensor::zeros([WORDS], device)),
            read_places: Positions::waves(WIDTH),
            written_places: Positions::learnt(LONGEST + 1, WIDTH, device, &mut rng),
            encoder: EncoderParams { layers: 1, dropout: 0.0, ..EncoderParams::new(WIDTH) }
                .init(device, &mut rng)?,
            decoder: DecoderParams { layers: 1, dropout: 0.0, ..DecoderParams::new(WIDTH) }
                .init(device, &mut rng)?,
        })
    }

    fn of_words(&self, sequences: &[Vec<usize>]) -> (Tensor<2>, Packed) {
        let ids: Vec<i64> = sequences.iter().flatten().map(|w| *w as i64).collect();
        let n = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), &self.words.device());
        let packed = Packed::of_lengths(&sequences.iter().map(Vec::len).collect::<Vec<_>>());
        (self.words.val().select(0, ids), packed)
    }

    fn read(&self, sequences: &[Vec<usize>]) -> Result<(Tensor<2>, Packed)> {
        let (x, packed) = self.of_words(sequences);
        let x = self.read_places.forward(x, &packed)?;
        Ok((self.encoder.forward(x, &packed, &mut Noise::none())?, packed))
    }

    /// What stands for the next word, at each word that is written.
    fn write(&self, written: &[Vec<usize>], memory: &(Tensor<2>, Packed)) -> Result<Tensor<2>> {
        let (x, packed) = self.of_words(written);
        let x = self.written_places.forward(x, &packed)?;
        self.decoder.forward(x, &packed, memory.0.clone(), &memory.1, &mut Noise::none())
    }

    /// The likeliest word, one after the other.
    fn greedy(&self, sequence: &[usize]) -> Result<Vec<usize>> {
        let memory = self.read(&[sequence.to_vec()])?;
        let mut written = vec![END];
        while written.len() <= LONGEST {
            let told = values(self.write(&[written.clone()], &memory)?);
            let (words, bias) = (values(self.words.val()), values(self.bias.val()));
            let last = &told[told.len() - WIDTH..];
            let score = |w: usize| {
                let word = &words[w * WIDTH..(w + 1) * WIDTH];
                bias[w] + last.iter().zip(word).map(|(a, b)| a * b).sum::<f32>()
            };
            match (0..WORDS).max_by(|a, b| score(*a).total_cmp(&score(*b))) {
                Some(END) | None => break,
                Some(word) => written.push(word),
            }
        }
        Ok(written.split_off(1))
    }
}

#[test]
fn a_decoder_learns_to_say_again_what_it_has_read() {
    let device = Device::flex().autodiff();
    let mut network = Echo::new(&device).unwrap();
    let params = OptimiserParams { rate: 3e-3, ..OptimiserParams::default() };
    let mut optimiser = Optimiser::new(params).unwrap();
    let mut rng = Run::new(5).rng(1);
    let mut drawn = |n: usize| -> Vec<Vec<usize>> {
        (0..n)
            .map(|_| {
                let n = rng.random_range(1..=LONGEST);
                (0..n).map(|_| rng.random_range(0..END)).collect()
            })
            .collect()
    };
    for _ in 0..400 {
        let batch = drawn(48);
        let memory = network.read(&batch).unwrap();
        let begun: Vec<Vec<usize>> =
            batch.iter().map(|s| [END].into_iter().chain(s.iter().copied()).collect()).collect();
        let targets: Vec<u32> =
            batch.iter().flat_map(|s| s.iter().copied().chain([END])).map(|w| w as u32).collect();
        let told = network.write(&begun, &memory).unwrap();
        let loss = vocabulary::loss(told, network.words.val(), network.bias.val(), &targets, None).unwrap();
        let gradients = Collected::of(&network, loss.backward());
        (network, _) = optimiser.step(network, gradients, 1.0).unwrap();
    }
    let plain = network.valid();
    let right = drawn(50).iter().filter(|s| plain.greedy(s).unwrap() == **s).count();
    assert!(right >= 45, "{right} of 50 said again");
}
