//! A recurrent network that learns to tell the sum of what it was shown.

use rand::RngExt;
use std::cell::RefCell;
use tradewind_core::{ErrorKind, Fault, Result, Run};
use tradewind_nn::burn::module::{Module, Param};
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::optimise::{Method, OptimiserParams};
use tradewind_nn::recurrent::{Recurrence, Recurrent, RecurrentParams};
use tradewind_nn::schedule::Schedule;
use tradewind_nn::train::{Fit, Task, TrainParams, Trained, train};
use tradewind_nn::{Checkpoint, Noise, Weights, losses};

const STEPS: usize = 6;

#[derive(Module, Debug)]
struct Summing {
    memory: Recurrent,
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

struct Sums {
    x: Vec<f32>,
    y: Vec<f32>,
    rows: usize,
    device: Device,
}

impl Sums {
    fn new(rows: usize) -> Self {
        let mut rng = Run::new(3).rng(0);
        let x: Vec<f32> = (0..(rows + 64) * STEPS).map(|_| rng.random_range(-1.0..1.0)).collect();
        let y = x.chunks(STEPS).map(|row| row.iter().sum()).collect();
        Self { x, y, rows, device: Device::flex().autodiff() }
    }

    fn network(&self, dropout: f64) -> Summing {
        let mut rng = Run::new(5).rng(0);
        let params =
            RecurrentParams { hidden: 16, layers: 2, dropout, ..RecurrentParams::new(Recurrence::Gru, 1) };
        let ends: Vec<f32> = (0..16).map(|_| rng.random_range(-0.2..0.2)).collect();
        Summing {
            memory: params.init(&self.device, &mut rng).unwrap(),
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(ends, [16, 1]), &self.device)),
            bias: Param::from_tensor(Tensor::from_data(TensorData::new(vec![0.0_f32], [1]), &self.device)),
        }
    }

    fn loss_of(&self, network: &Summing, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let x: Vec<f32> = rows.iter().flat_map(|r| &self.x[r * STEPS..(r + 1) * STEPS]).copied().collect();
        let y: Vec<f32> = rows.iter().map(|r| self.y[*r]).collect();
        let x = Tensor::<3>::from_data(TensorData::new(x, [rows.len(), STEPS, 1]), &self.device);
        let y = Tensor::<2>::from_data(TensorData::new(y, [rows.len(), 1]), &self.device);
        let told = network.memory.forward(x, None, None, noise)?;
        let last = told.states.last().unwrap().h.clone();
        let answer = last.matmul(network.weight.val()) + network.bias.val().unsqueeze();
        Ok(losses::mse(answer, y, None))
    }
}

impl Task for Sums {
    type Network = Summing;

    fn rows(&self) -> usize {
        self.rows
    }

    fn loss(&self, network: &Summing, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        self.loss_of(network, rows, noise)
    }

    fn validate(&self, network: &Summing) -> Result<Option<f64>> {
        let rows: Vec<usize> = (self.rows..self.rows + 64).collect();
        self.loss_of(network, &rows, &mut Noise::none()).map(|loss| Some(losses::value(&loss)))
    }
}

fn params() -> TrainParams {
    TrainParams {
        epochs: 8,
        batch: 32,
        optimiser: OptimiserParams { rate: 0.01, ..OptimiserParams::default() },
        ..TrainParams::default()
    }
}

fn trained(task: &Sums, params: &TrainParams, run: &Run) -> Trained<Summing> {
    train(run, task, task.network(0.1), params, None, &mut |_| Ok(true)).unwrap()
}

#[test]
fn a_network_learns_with_every_optimiser() {
    let task = Sums::new(512);
    let (beta1, beta2) = (0.9, 0.999);
    for (method, rate) in [
        (Method::Sgd { momentum: 0.0, nesterov: false }, 0.3),
        (Method::Sgd { momentum: 0.9, nesterov: false }, 0.05),
        (Method::Sgd { momentum: 0.9, nesterov: true }, 0.05),
        (Method::Adam { beta1, beta2 }, 0.01),
        (Method::AdamW { beta1, beta2 }, 0.01),
    ] {
        let optimiser = OptimiserParams { method, rate, ..OptimiserParams::default() };
        let told = trained(&task, &TrainParams { optimiser, ..params() }, &Run::new(1));
        let (first, best) = (&told.curve[0], &told.curve[told.best]);
        // Sums of six numbers vary by 2.
        assert!(best.validation.unwrap() < 0.3, "{method:?}: {:?}", told.curve);
        assert!(best.training < first.training);
        assert!(told.fit() != Fit::Underfitting);
    }
}

#[test]
fn a_training_that_was_broken_off_goes_on_to_the_bit() {
    let task = Sums::new(200);
    let params =
        TrainParams { accumulate: 2, schedule: Schedule::Plateau { patience: 1, factor: 0.5 }, ..params() };
    let whole = trained(&task, &params, &Run::new(9));
    let mut kept = Vec::new();
    let broken = train(&Run::new(9), &task, task.network(0.1), &params, None, &mut |checkpoint| {
        kept = checkpoint.to_bytes()?;
        Ok(checkpoint.curve().len() < 3)
    });
    assert_eq!(broken.unwrap().curve.len(), 3);
    let from = Checkpoint::from_bytes(&kept).unwrap();
    // With other weights to begin with, which the checkpoint takes the place of; on another number of threads.
    let run = Run::new(9).with_threads(3);
    let again = run
        .install(|| train(&run, &task, task.network(0.1), &params, Some(&from), &mut |_| Ok(true)).unwrap());
    assert_eq!(again.curve, whole.curve);
    assert_eq!(Weights::of(&again.network), Weights::of(&whole.network));
    assert!(Checkpoint::from_bytes(&kept[..kept.len() - 9]).is_err());
    // Another training does not go on from it; a longer one does.
    let keep = &mut |_: &Checkpoint| Ok(true);
    let mut go_on = |seed, task: &Sums, params: &TrainParams| {
        train(&Run::new(seed), task, task.network(0.1), params, Some(&from), keep).map(|t| t.curve.len())
    };
    let sgd = OptimiserParams {
        method: Method::Sgd { momentum: 0.9, nesterov: false },
        ..OptimiserParams::default()
    };
    for fault in [
        go_on(8, &task, &params),
        go_on(9, &Sums::new(199), &params),
        go_on(9, &task, &TrainParams { batch: params.batch + 1, ..params.clone() }),
        go_on(9, &task, &TrainParams { optimiser: sgd, ..params.clone() }),
    ] {
        assert!(fault.unwrap_err().to_string().contains("another training"));
    }
    let longer = TrainParams { epochs: params.epochs + 1, patience: 0, ..params.clone() };
    assert_eq!(go_on(9, &task, &longer).unwrap(), params.epochs + 1);
}

#[test]
fn a_checkpoint_is_read_whatever_the_schedule() {
    // With all but the plateau's schedule a number that was not finite stood in it.
    let task = Sums::new(64);
    let constant = TrainParams { schedule: Schedule::Constant { warm_up: 0.0 }, ..params() };
    for params in [params(), constant] {
        let params = TrainParams { epochs: 2, ..params };
        let mut kept = Vec::new();
        let keep = &mut |checkpoint: &Checkpoint| {
            kept = checkpoint.to_bytes()?;
            Ok(true)
        };
        let told = train(&Run::new(1), &task, task.network(0.0), &params, None, keep).unwrap();
        assert_eq!(Checkpoint::from_bytes(&kept).unwrap().curve(), told.curve);
    }
}

#[test]
fn no_row_is_a_batch_by_itself() {
    struct Sizes(Sums, RefCell<Vec<usize>>);
    impl Task for Sizes {
        type Network = Summing;
        fn rows(&self) -> usize {
            self.0.rows
        }
        fn loss(&self, network: &Summing, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
            self.1.borrow_mut().push(rows.len());
            self.0.loss(network, rows, noise)
        }
        fn validate(&self, _: &Summing) -> Result<Option<f64>> {
            Ok(None)
        }
    }
    for (rows, batch, sizes) in [
        (65, 32, vec![32, 33]),
        (66, 32, vec![32, 32, 2]),
        (64, 32, vec![32, 32]),
        (33, 32, vec![33]),
        (5, 32, vec![5]),
        (1, 32, vec![1]),
        (3, 1, vec![1, 1, 1]),
    ] {
        let task = Sizes(Sums::new(rows), RefCell::default());
        let params = TrainParams { epochs: 1, batch, ..params() };
        let network = task.0.network(0.0);
        train(&Run::new(1), &task, network, &params, None, &mut |_| Ok(true)).unwrap();
        assert_eq!(task.1.into_inner(), sizes, "{rows} rows by {batch}");
    }
}

#[test]
fn what_is_frozen_stays_and_what_is_not_moves() {
    let task = Sums::new(64);
    let optimiser = OptimiserParams { rates: vec![("memory".into(), 0.0)], ..OptimiserParams::default() };
    let before = Weights::of(&task.network(0.0));
    let told = trained(&task, &TrainParams { optimiser, epochs: 1, ..params() }, &Run::new(1));
    let after = Weights::of(&told.network);
    let (before, _) =
        Weights::from_safetensors(&before.to_safetensors(&Default::default()).unwrap()).unwrap();
    assert_eq!(before.numbers(), after.numbers());
    for path in ["memory.layers.0.weight_hh", "memory.layers.1.bias_ih"] {
        assert_eq!(before.get(path), after.get(path), "{path}");
    }
    assert_ne!(before.get("weight").unwrap(), after.get("weight").unwrap());
}

#[test]
fn what_cannot_be_learnt_is_an_error_with_its_remedy() {
    let mut task = Sums::new(64);
    task.x[100] = f32::NAN;
    let keep = &mut |_: &Checkpoint| Ok(true);
    let fault = train(&Run::new(1), &task, task.network(0.0), &params(), None, keep).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::NotConverged);
    assert!(fault.to_string().contains("NaN in the data"), "{fault}");
    let run = Run::new(1);
    run.cancel();
    let task = Sums::new(64);
    let fault = train(&run, &task, task.network(0.0), &params(), None, keep).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Interrupted);
    let none = TrainParams { epochs: 0, ..params() };
    assert!(train(&Run::new(1), &task, task.network(0.0), &none, None, keep).is_err());
    // Weights of a network of another form.
    let of_memory = Weights::of(&task.network(0.0).memory);
    let fault = of_memory.put_into(task.network(0.0)).unwrap_err().to_string();
    assert!(fault.contains("missing"), "{fault}");
}
