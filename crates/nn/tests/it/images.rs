//! A network of images that learns, and its batch statistics on the way through training.

use rand::RngExt;
use tradewind_core::{Result, Run};
use tradewind_nn::batch_norm::{BatchNorm, BatchNormParams};
use tradewind_nn::burn::module::Module;
use tradewind_nn::burn::tensor::activation::relu;
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::convolution::{Conv2d, Conv2dParams};
use tradewind_nn::dense::Dense;
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::pooling::{self, Window};
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Checkpoint, Noise, Weights, losses, values};

const SIDE: usize = 12;

#[derive(Module, Debug)]
struct Network {
    first: Conv2d,
    norm: BatchNorm,
    second: Conv2d,
    head: Dense,
}

impl Network {
    fn forward(&self, x: Tensor<4>, noise: &Noise) -> Result<Tensor<2>> {
        let x = self.norm.rectified(self.first.forward(x)?, noise)?;
        let x = pooling::largest(x, &Window::square(2))?;
        Ok(self.head.forward(pooling::global_mean(relu(self.second.forward(x)?))?))
    }
}

/// Images of noise with a bar that lies or stands.
struct Bars {
    images: Vec<f32>,
    standing: Vec<i64>,
    rows: usize,
    device: Device,
}

impl Bars {
    fn new(rows: usize) -> Self {
        let mut rng = Run::new(8).rng(0);
        let (mut images, mut standing) = (Vec::new(), Vec::new());
        for k in 0..rows + 100 {
            let mut image: Vec<f32> = (0..SIDE * SIDE).map(|_| rng.random_range(-1.0..1.0)).collect();
            let (row, column) = (rng.random_range(0..SIDE - 6), rng.random_range(0..SIDE - 6));
            let stands = k % 2 == 1;
            for along in 0..6 {
                let (down, right) = if stands { (along, 0) } else { (0, along) };
                image[(row + down) * SIDE + column + right] += 2.0;
            }
            images.extend(image);
            standing.push(i64::from(stands));
        }
        Self { images, standing, rows, device: Device::flex().autodiff() }
    }

    fn network(&self) -> Network {
        let (device, mut rng) = (&self.device, Run::new(2).rng(0));
        let of = |input, output| Conv2dParams { padding: [1, 1], ..Conv2dParams::new(input, output, [3, 3]) };
        Network {
            first: Conv2dParams { bias: false, ..of(1, 8) }.init(device, &mut rng).unwrap(),
            norm: BatchNormParams::new(8).init(device).unwrap(),
            second: of(8, 8).init(device, &mut rng).unwrap(),
            head: Dense::new(8, 2, device, &mut rng),
        }
    }

    fn told(&self, network: &Network, rows: &[usize], noise: &Noise) -> Result<(Tensor<2>, Vec<i64>)> {
        let each = SIDE * SIDE;
        let x: Vec<f32> = rows.iter().flat_map(|r| &self.images[r * each..(r + 1) * each]).copied().collect();
        let x = Tensor::<4>::from_data(TensorData::new(x, [rows.len(), 1, SIDE, SIDE]), &self.device);
        Ok((network.forward(x, noise)?, rows.iter().map(|r| self.standing[*r]).collect()))
    }

    fn loss_of(&self, network: &Network, rows: &[usize], noise: &Noise) -> Result<Tensor<1>> {
        let (told, truth) = self.told(network, rows, noise)?;
        let truth = Tensor::<1, Int>::from_data(TensorData::new(truth, [rows.len()]), &self.device);
        Ok(losses::cross_entropy(told, truth, 0.0))
    }
}

impl Task for Bars {
    type Network = Network;

    fn rows(&self) -> usize {
        self.rows
    }

    fn loss(&self, network: &Network, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        self.loss_of(network, rows, noise)
    }

    fn validate(&self, network: &Network) -> Result<Option<f64>> {
        let rows: Vec<usize> = (self.rows..self.rows + 100).collect();
        self.loss_of(network, &rows, &Noise::none()).map(|loss| Some(losses::value(&loss)))
    }
}

fn params() -> TrainParams {
    let optimiser = OptimiserParams { rate: 0.01, ..OptimiserParams::default() };
    TrainParams { epochs: 12, batch: 32, patience: 0, optimiser, ..TrainParams::default() }
}

#[test]
fn a_network_tells_bars_that_stand_from_those_that_lie() {
    let task = Bars::new(400);
    let trained = train(&Run::new(1), &task, task.network(), &params(), None, &mut |_| Ok(true)).unwrap();
    let rows: Vec<usize> = (400..500).collect();
    let (told, truth) = task.told(&trained.network, &rows, &Noise::none()).unwrap();
    let right = values(told).chunks(2).zip(truth).filter(|(s, t)| i64::from(s[1] > s[0]) == *t).count();
    assert!(right >= 93, "{right} of 100, {:?}", trained.curve);
    // The network that is given back has the statistics of its best epoch, and not those of the last one.
    let best = trained.curve[trained.best].validation.unwrap();
    assert_eq!(task.validate(&trained.network).unwrap().unwrap(), best);
}

#[test]
fn statistics_of_batches_go_on_to_the_bit_from_a_checkpoint() {
    let task = Bars::new(96);
    let params = TrainParams { epochs: 4, ..params() };
    let whole = train(&Run::new(1), &task, task.network(), &params, None, &mut |_| Ok(true)).unwrap();
    let mut kept = Vec::new();
    let keep = &mut |checkpoint: &Checkpoint| {
        kept = checkpoint.to_bytes()?;
        Ok(checkpoint.curve().len() < 2)
    };
    train(&Run::new(1), &task, task.network(), &params, None, keep).unwrap();
    let from = Checkpoint::from_bytes(&kept).unwrap();
    let run = Run::new(1).with_threads(3);
    let again =
        run.install(|| train(&run, &task, task.network(), &params, Some(&from), &mut |_| Ok(true))).unwrap();
    assert_eq!(again.curve, whole.curve);
    assert_eq!(Weights::of(&again.network), Weights::of(&whole.network));
}
