//! Training the networks of a perceptron.

use super::columns::{Column, Rows};
use super::{FittedMlp, Mlp, Network};
use crate::learner::Task;
use crate::matrix::Dataset;
use rand::RngExt;
use rand::seq::SliceRandom;
use tradewind_core::{Error, Result, Run};
use tradewind_nn::burn::tensor::activation::{log_softmax, softplus};
use tradewind_nn::burn::tensor::{Int, Tensor, TensorData};
use tradewind_nn::mlp::Mlp as Net;
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::schedule::Schedule;
use tradewind_nn::train::{self, TrainParams, train};
use tradewind_nn::{Noise, Weights};

/// The random streams of the rows held back and of first weights; each network has its own.
const HELD: u64 = 0x6d6c_7000;
const FIRST: u64 = 0x6d6c_7800;
/// Fewer rows teach nothing that could be told from chance.
const ROWS_MIN: usize = 10;
/// Fewer rows held back cannot say when to stop.
const HELD_MIN: usize = 10;
/// The share of words that are hidden while training, so that the unknown one is learnt.
const HIDDEN: f64 = 0.02;

/// What the scores of a network say, and what they are learnt from.
struct Targets {
    task: Task,
    /// One a row: the class, or the number brought to mean 0 and deviation 1.
    y: Vec<f32>,
    /// One a row, of mean 1.
    weight: Vec<f32>,
    /// Scores that a network adds to.
    base: Vec<f64>,
}

impl Targets {
    /// The loss of a row from its scores: squared error, log loss.
    fn loss(&self, row: usize, scores: &[f32]) -> f64 {
        let s = |k: usize| self.base[k] + f64::from(scores[k]);
        let y = self.y[row];
        match self.task {
            Task::Binary => {
                let signed = if y > 0.5 { s(0) } else { -s(0) };
                // ln(1 + e^-x), from the side where nothing overflows.
                (-signed.abs()).exp().ln_1p() + (-signed).max(0.0)
            }
            Task::Multiclass => {
                let all: Vec<f64> = (0..self.base.len()).map(s).collect();
                let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                top + all.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - all[y as usize]
            }
            _ => (s(0) - f64::from(y)).powi(2),
        }
    }

    /// The mean loss of some rows, by their weights; `scores` are theirs, in their order.
    fn mean(&self, rows: &[usize], scores: &[f32]) -> f64 {
        let k = self.base.len();
        let (mut sum, mut mass) = (0.0, 0.0);
        for (row, scores) in rows.iter().zip(scores.chunks_exact(k)) {
            sum += f64::from(self.weight[*row]) * self.loss(*row, scores);
            mass += f64::from(self.weight[*row]);
        }
        sum / mass
    }

    /// The loss of the base alone.
    fn constant(&self, rows: &[usize]) -> f64 {
        self.mean(rows, &vec![0.0; rows.len() * self.base.len()])
    }
}

struct Training<'a> {
    rows: &'a Rows,
    targets: &'a Targets,
    seen: Vec<usize>,
    held: Held<'a>,
}

/// What tells when to stop.
struct Held<'a> {
    rows: &'a Rows,
    targets: &'a Targets,
    of: Vec<usize>,
}

impl train::Task for Training<'_> {
    type Network = Net;

    fn rows(&self) -> usize {
        self.seen.len()
    }

    fn loss(&self, network: &Net, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let rows: Vec<usize> = rows.iter().map(|r| self.seen[*r]).collect();
        let (numbers, mut codes) = self.rows.of(&rows);
        if let Some(rng) = noise.rng() {
            codes.iter_mut().for_each(|c| *c = if rng.random_bool(HIDDEN) { 0 } else { *c });
        }
        let n = rows.len();
        let told = network.forward(&numbers, &codes, noise)?;
        let device = told.device().without_autodiff();
        let t = self.targets;
        let base: Vec<f32> = t.base.iter().map(|b| *b as f32).collect();
        let told = told + Tensor::<1>::from_floats(&base[..], &device).unsqueeze();
        let column = |of: Vec<f32>| Tensor::<2>::from_data(TensorData::new(of, [n, 1]), &device);
        let weight = column(rows.iter().map(|r| t.weight[*r]).collect());
        let each = match t.task {
            Task::Multiclass => {
                let classes: Vec<i64> = rows.iter().map(|r| t.y[*r] as i64).collect();
                let classes = Tensor::<2, Int>::from_data(TensorData::new(classes, [n, 1]), &device);
                log_softmax(told, 1).gather(1, classes).neg()
            }
            task => {
                let y = column(rows.iter().map(|r| t.y[*r]).collect());
                match task {
                    // max(s, 0) - s·y + ln(1 + e^-|s|)
                    Task::Binary => softplus(told.clone(), 1.0) - told * y,
                    _ => {
                        let off = told - y;
                        off.clone() * off
                    }
                }
            }
        };
        Ok((each * weight).mean())
    }

    fn validate(&self, network: &Net) -> Result<Option<f64>> {
        let held = &self.held;
        if held.of.is_empty() {
            return Ok(None);
        }
        let (numbers, codes) = held.rows.of(&held.of);
        let scores = network.frozen()?.scores(&numbers, &codes)?;
        Ok(Some(held.targets.mean(&held.of, &scores)))
    }
}

impl Mlp {
    pub(super) fn fit_rows(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        watch: Option<&Dataset>,
    ) -> Result<FittedMlp> {
        const WHAT: &str = "a multilayer perceptron";
        self.check()?;
        run.check()?;
        let k = match task {
            Task::Binary | Task::Multiclass => data.classes(WHAT)?.1,
            _ => 1,
        };
        if task == Task::Binary && k > 2 {
            return Err(Error::Invalid(format!(
                "{WHAT} for two classes was given {k}; choose the task multiclass"
            )));
        }
        data.need_rows(WHAT, ROWS_MIN)?;
        let data = data.weighty()?;
        let watch = match watch {
            Some(watch) => {
                watch.x().check_width(data.x().n_cols(), WHAT)?;
                watch.x().check_not_infinite(watch.names())?;
                Some(watch.weighty()?)
            }
            None => None,
        };
        let columns = Column::all(&data, self.bins);
        let (centre, scale) = if task.is_classes() { (0.0, 1.0) } else { centre_and_scale(&data) };
        let mut fitted = FittedMlp {
            params: self.clone(),
            task,
            names: data.names().to_vec(),
            columns,
            base: base(task, k, &data),
            centre,
            scale,
            networks: vec![],
            curves: vec![],
        };
        let rows = Column::read_all(&fitted.columns, data.x());
        // Nothing to go by, or nothing to learn.
        if rows.width + rows.fields == 0 || (!task.is_classes() && scale == 0.0) {
            return Ok(fitted);
        }
        let targets = fitted.targets(&data)?;
        let watched = match &watch {
            Some(watch) if watch.n_rows() > 0 => {
                Some((Column::read_all(&fitted.columns, watch.x()), fitted.targets(watch)?))
            }
            _ => None,
        };
        let loss = if task.is_classes() { "log loss" } else { "squared error over variance" };
        let device = tradewind_nn::device::of(run)?.autodiff();
        for number in 0..self.networks as u64 {
            let (held, seen) = match &watched {
                Some((rows, targets)) => {
                    (Held { rows, targets, of: (0..rows.n).collect() }, (0..data.n_rows()).collect())
                }
                None => {
                    let (of, seen) = self.split(run, task, &data, number);
                    (Held { rows: &rows, targets: &targets, of }, seen)
                }
            };
            let constant = (!held.of.is_empty()).then(|| held.targets.constant(&held.of));
            let training = Training { rows: &rows, targets: &targets, seen, held };
            let network = fitted.shape().init(&device, &mut run.rng(FIRST + number))?;
            let mut own = run.clone();
            own.seed = run.seed.wrapping_add(number);
            let params = self.training(training.seen.len());
            let trained =
                run.install(|| train(&own, &training, network, &params, None, &mut |_| Ok(true)))?;
            let name = if self.networks > 1 { (number + 1).to_string() } else { String::new() };
            fitted.curves.push(trained.told(&name, loss, constant));
            fitted.networks.push(Network::of(&fitted.shape(), Weights::of(&trained.network))?);
        }
        Ok(fitted)
    }

    fn training(&self, rows: usize) -> TrainParams {
        // Small tables need steps more than they need wide ones.
        let batch = self.batch.unwrap_or_else(|| (rows / 64).next_power_of_two().clamp(16, 512));
        TrainParams {
            epochs: self.epochs,
            batch,
            patience: self.patience,
            schedule: Schedule::Cosine { warm_up: 0.05, floor: 0.01 },
            optimiser: OptimiserParams {
                rate: self.learning_rate,
                decay: self.decay,
                ..OptimiserParams::default()
            },
            ..TrainParams::default()
        }
    }

    /// The rows that tell when to stop, and those that are learnt from. Of each class the share is held back that is asked
    /// for, so that none is left without rows to learn from.
    fn split(&self, run: &Run, task: Task, data: &Dataset, number: u64) -> (Vec<usize>, Vec<usize>) {
        let n = data.n_rows();
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut run.rng(HELD + number));
        if task.is_classes() {
            // The order within a class stays.
            order.sort_by(|&a, &b| data.y()[a].total_cmp(&data.y()[b]));
        }
        let same = |a: &usize, b: &usize| !task.is_classes() || data.y()[*a] == data.y()[*b];
        let (mut held, mut seen) = (Vec::new(), Vec::new());
        for class in order.chunk_by(same) {
            let many = (class.len() as f64 * self.validation_fraction).floor() as usize;
            held.extend(&class[..many]);
            seen.extend(&class[many..]);
        }
        if held.len() < HELD_MIN {
            seen.append(&mut held);
        }
        held.sort_unstable();
        seen.sort_unstable();
        (held, seen)
    }
}

impl FittedMlp {
    fn targets(&self, data: &Dataset) -> Result<Targets> {
        let y = match self.task.is_classes() {
            true => {
                let k = self.n_classes();
                let odd = data.y().iter().position(|y| *y < 0.0 || y.fract() != 0.0 || *y >= k as f64);
                if let Some(i) = odd {
                    return Err(Error::Invalid(format!(
                        "row {i} of the rows that are watched has class {}; the classes learnt are 0 to {}",
                        data.y()[i],
                        k - 1
                    )));
                }
                data.y().iter().map(|y| *y as f32).collect()
            }
            false => {
                data.y().iter().map(|y| ((y / self.scale) - (self.centre / self.scale)) as f32).collect()
            }
        };
        let weight = data.weights();
        let mean = weight.iter().sum::<f64>() / weight.len().max(1) as f64;
        let weight = weight.into_iter().map(|w| (w / mean) as f32).collect();
        Ok(Targets { task: self.task, y, weight, base: self.base.clone() })
    }
}

/// The log odds of the classes' shares; a network says what differs from them.
fn base(task: Task, k: usize, data: &Dataset) -> Vec<f64> {
    if !task.is_classes() {
        return vec![0.0];
    }
    let mut mass = vec![0.0; k];
    let weight = data.weights();
    data.y().iter().zip(&weight).for_each(|(y, w)| mass[*y as usize] += w);
    let total: f64 = mass.iter().sum();
    match task {
        Task::Binary => vec![(mass[1] / mass[0]).ln()],
        _ => mass.iter().map(|m| (m / total).ln()).collect(),
    }
}

/// Mean and deviation of the target, by weight; a deviation of 0 where it is always the same.
fn centre_and_scale(data: &Dataset) -> (f64, f64) {
    let weight = data.weights();
    // By the largest first, so that squares of very large numbers are numbers.
    let size = data.y().iter().fold(0.0_f64, |m, y| m.max(y.abs())).max(f64::MIN_POSITIVE);
    let mass: f64 = weight.iter().sum();
    let mean = data.y().iter().zip(&weight).map(|(y, w)| w / mass * (y / size)).sum::<f64>();
    let square = |(y, w): (&f64, &f64)| w / mass * (y / size - mean).powi(2);
    let deviation = data.y().iter().zip(&weight).map(square).sum::<f64>().sqrt();
    let usable = deviation > 1e-12 * mean.abs() && deviation * size > 0.0;
    (mean * size, if usable { deviation * size } else { 0.0 })
}
