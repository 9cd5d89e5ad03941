//! Counting, and training the networks.

use super::earned::{FOLDS, Shown};
use super::{ClickRate, Field, FittedClickRate, Rows};
use crate::learner::Task as Learns;
use crate::matrix::{ColumnKind, Dataset};
use crate::transform::mean_sd;
use rand::RngExt;
use tradewind_core::{Error, Result, Run};
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::click::{Click, ClickParams};
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::schedule::Schedule;
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Noise, Weights, losses};

const WHAT: &str = "a click rate";
/// Fewer rows teach nothing that could be told from chance.
const ROWS_MIN: usize = 10;
/// Rows of a score at a time where they are held back.
const ROWS_AT_A_TIME: usize = 4_096;
/// The random streams of the parts that are counted apart, and of rows held back and first weights of each network.
const PARTS: u64 = 41;
const HELD: u64 = 42;
const FIRST: u64 = 43;

struct Training<'a> {
    params: ClickParams,
    rows: &'a Rows,
    truth: &'a Truth,
    seen: Vec<usize>,
    held: Held<'a>,
    /// Where networks are trained.
    device: Device,
}

/// What became of rows, and what each counts.
struct Truth {
    clicks: Vec<f32>,
    weights: Vec<f32>,
}

/// What tells when to stop.
struct Held<'a> {
    rows: &'a Rows,
    truth: &'a Truth,
    of: Vec<usize>,
}

impl Truth {
    fn of(data: &Dataset) -> Self {
        let weights = data.weights();
        let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
        Self {
            clicks: data.y().iter().map(|y| *y as f32).collect(),
            weights: weights.into_iter().map(|w| (w / mean) as f32).collect(),
        }
    }

    fn rate(&self) -> f64 {
        let all = self.clicks.iter().zip(&self.weights);
        let (clicks, mass) = all.fold((0.0, 0.0), |(c, m), (click, w)| {
            (c + f64::from(*click) * f64::from(*w), m + f64::from(*w))
        });
        clicks / mass
    }
}

impl Task for Training<'_> {
    type Network = Click;

    fn rows(&self) -> usize {
        self.seen.len()
    }

    fn loss(&self, network: &Click, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let rows: Vec<usize> = rows.iter().map(|r| self.seen[*r]).collect();
        let device = self.device.clone().autodiff();
        let (codes, numbers) = self.rows.of(&rows);
        let n = rows.len();
        let column = |of: &[f32]| {
            let of: Vec<f32> = rows.iter().map(|r| of[*r]).collect();
            Tensor::<2>::from_data(TensorData::new(of, [n, 1]), &device)
        };
        let numbers = (self.rows.width > 0)
            .then(|| Tensor::<2>::from_data(TensorData::new(numbers, [n, self.rows.width]), &device));
        let told = network.forward(&codes, numbers, noise)?;
        let even = self.truth.weights.iter().all(|w| *w == 1.0);
        let weights = (!even).then(|| column(&self.truth.weights));
        Ok(losses::bce(told, column(&self.truth.clicks), weights))
    }

    fn validate(&self, network: &Click) -> Result<Option<f64>> {
        let held = &self.held;
        if held.of.is_empty() {
            return Ok(None);
        }
        let network = network.frozen(&self.params)?;
        let (mut sum, mut mass) = (0.0, 0.0);
        for part in held.of.chunks(ROWS_AT_A_TIME) {
            let (codes, numbers) = held.rows.of(part);
            for (row, score) in part.iter().zip(network.scores(&codes, &numbers)?) {
                let signed =
                    if held.truth.clicks[*row] == 1.0 { f64::from(score) } else { -f64::from(score) };
                let weight = f64::from(held.truth.weights[*row]);
                // ln(1 + e^-x), from the side where nothing overflows.
                sum += weight * ((-signed.abs()).exp().ln_1p() + (-signed).max(0.0));
                mass += weight;
            }
        }
        Ok(Some(sum / mass))
    }
}

impl ClickRate {
    pub(super) fn fit_rows(
        &self,
        run: &Run,
        data: &Dataset,
        watch: Option<&Dataset>,
    ) -> Result<FittedClickRate> {
        self.check()?;
        run.check()?;
        data.need_rows(WHAT, ROWS_MIN)?;
        let k = data.classes(WHAT)?.1;
        if k > 2 {
            return Err(Error::Invalid(format!(
                "{WHAT} is learnt from two classes, 1 for a click and 0 for none; {k} were given"
            )));
        }
        let data = data.weighty()?;
        let watch = match watch {
            Some(watch) => {
                watch.x().check_width(data.x().n_cols(), WHAT)?;
                watch.x().check_not_infinite(watch.names())?;
                if let Some(i) = watch.y().iter().position(|y| *y != 0.0 && *y != 1.0) {
                    return Err(Error::Invalid(format!(
                        "row {i} of the rows that are watched has {}; give 1 for a click and 0 for none",
                        watch.y()[i]
                    )));
                }
                Some(watch.weighty()?).filter(|w| w.n_rows() > 0)
            }
            None => None,
        };
        let truth = Truth::of(&data);
        let mut fitted = FittedClickRate {
            params: self.clone(),
            names: data.names().to_vec(),
            columns: (0..data.x().n_cols()).map(|j| field(&data, j)).collect(),
            earned: vec![],
            rate: truth.rate(),
            networks: vec![],
            curves: vec![],
        };
        let (codes, words) = (fitted.codes(data.x()), fitted.words());
        let mut rng = run.rng(PARTS);
        let fold: Vec<u8> = (0..data.n_rows()).map(|_| rng.random_range(0..FOLDS as u8)).collect();
        let shown = Shown {
            words: &words,
            codes: &codes,
            clicks: &truth.clicks,
            weights: &truth.weights,
            fold: &fold,
            rate: fitted.rate,
        };
        let counted = run.install(|| shown.count(run, self.pairs))?;
        run.check()?;
        let (earned, told): (Vec<_>, Vec<_>) = counted.into_iter().unzip();
        fitted.earned = earned;
        let rows = fitted.rows(data.x(), codes, &told);
        if rows.width + rows.fields == 0 {
            return Ok(fitted);
        }
        let watched = watch.as_ref().map(|watch| (fitted.read(watch.x()), Truth::of(watch)));
        let device = tradewind_nn::device::of(run)?;
        let params = fitted.shape();
        for seed in 0..self.networks as u64 {
            let (held, seen) = match &watched {
                Some((rows, truth)) => {
                    (Held { rows, truth, of: (0..rows.n).collect() }, (0..data.n_rows()).collect())
                }
                None => {
                    let mut rng = run.rng(HELD + 3 * seed);
                    let (of, seen) =
                        (0..data.n_rows()).partition(|_| rng.random_bool(self.validation_fraction));
                    (Held { rows: &rows, truth: &truth, of }, seen)
                }
            };
            let batch = self.batch.unwrap_or_else(|| (seen.len() / 64).next_power_of_two().clamp(16, 512));
            let task = Training {
                params: params.clone(),
                rows: &rows,
                truth: &truth,
                seen,
                held,
                device: device.clone(),
            };
            let network = params.init(&device.clone().autodiff(), &mut run.rng(FIRST + 3 * seed))?;
            let training = TrainParams {
                epochs: self.epochs,
                batch,
                patience: self.patience,
                schedule: Schedule::Constant { warm_up: 0.0 },
                optimiser: OptimiserParams { rate: self.learning_rate, ..OptimiserParams::default() },
                ..TrainParams::default()
            };
            let mut own = run.clone();
            own.seed = run.seed.wrapping_add(seed);
            let trained = run.install(|| train(&own, &task, network, &training, None, &mut |_| Ok(true)))?;
            let name = if self.networks > 1 { (seed + 1).to_string() } else { String::new() };
            fitted.curves.push(trained.told(&name, "log loss", None));
            fitted.put(Weights::of(&trained.network))?;
        }
        Ok(fitted)
    }
}

/// What is known of a column.
fn field(data: &Dataset, j: usize) -> Field {
    let values = data.x().column(j);
    match data.kinds()[j] {
        ColumnKind::Number => {
            let known: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
            let (mean, deviation) = mean_sd(&known);
            let usable = deviation > 1e-12 * mean.abs() && deviation.is_finite() && mean.is_finite();
            match usable {
                true => Field::Number { mean, deviation },
                false => Field::Number { mean: 0.0, deviation: 0.0 },
            }
        }
        ColumnKind::Category => {
            let mut codes: Vec<u32> = values.iter().filter(|v| !v.is_nan()).map(|v| *v as u32).collect();
            codes.sort_unstable();
            codes.dedup();
            Field::Words { codes }
        }
    }
}

/// The task that it learns.
pub(super) const TASKS: &[Learns] = &[Learns::Binary];
