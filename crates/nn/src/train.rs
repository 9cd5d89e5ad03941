//! The road from data to weights: epochs, batches, validation, early stopping, checkpoints.
//!
//! ```text
//! rows ─ shuffled by seed and epoch ─→ batches ─→ loss ─→ gradients ─ clipped ─→ optimiser ─→ weights
//!                                                                     each epoch: validation ─→ best kept, checkpoint
//! ```
//!
//! All chance comes from the seed, the epoch and the step, so a training that is taken up again from a checkpoint goes on
//! to the bit as if it had not been broken off.
//!
//! The losses of every epoch are kept ([`Trained::curve`]); [`tradewind_core::training_curve`] says by stated rules whether they
//! tell of under- or overfitting, and is what saved models carry.

use crate::checkpoint::{Checkpoint, origin};
use crate::noise::Noise;
use crate::optimise::{Collected, Optimiser, OptimiserParams};
use crate::schedule::{Plateau, Schedule};
use burn::module::Module;
use burn::tensor::Tensor;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
pub use tradewind_core::training_curve::{Epoch, Fit, fit};
use tradewind_core::{Error, ParamCheck, Result, Run, TrainingCurve};

/// The streams of chance: shuffling, and the noise of steps.
const SHUFFLE: u64 = 1 << 40;
const NOISE: u64 = 1 << 41;

/// What is trained on.
pub trait Task {
    /// The network.
    type Network: Module;

    /// Rows that training goes over.
    fn rows(&self) -> usize;

    /// The loss of some rows. `noise` is where dropout and augmentation draw from.
    ///
    /// # Errors
    /// Rows that the network cannot take.
    fn loss(&self, network: &Self::Network, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>>;

    /// The loss on data that training does not see; none: there are no such data, and the last weights are taken.
    ///
    /// # Errors
    /// As of [`Task::loss`].
    fn validate(&self, network: &Self::Network) -> Result<Option<f64>>;

    /// The length of a row, by which batches may be mixed; all are alike unless said.
    fn length(&self, row: usize) -> usize {
        let _ = row;
        0
    }
}

/// How training goes.
///
/// ```
/// use tradewind_nn::train::TrainParams;
/// let params = TrainParams { epochs: 5, ..TrainParams::default() };
/// assert!(params.check().is_ok());
/// assert!(TrainParams { batch: 0, ..params }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainParams {
    /// Times that all rows are gone over, 10.
    pub epochs: usize,
    /// Rows of a batch, 64; the last of an epoch may have one more.
    pub batch: usize,
    /// Batches whose gradients are added up before a step, 1.
    pub accumulate: usize,
    /// The optimiser.
    pub optimiser: OptimiserParams,
    /// The learning rate's course, half a cosine after 5 % of warm-up.
    pub schedule: Schedule,
    /// Epochs without a better validation loss after which training stops, 3; 0: never.
    pub patience: usize,
    /// Batches of rows of like length, so that little is padded.
    pub by_length: bool,
}

impl Default for TrainParams {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 64,
            accumulate: 1,
            optimiser: OptimiserParams::default(),
            schedule: Schedule::Cosine { warm_up: 0.05, floor: 0.0 },
            patience: 3,
            by_length: false,
        }
    }
}

impl TrainParams {
    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.epochs > 0, "epochs", self.epochs, "at least 1");
        check.require(self.batch > 0, "batch", self.batch, "at least 1");
        check.require(self.accumulate > 0, "accumulate", self.accumulate, "at least 1");
        self.optimiser.check(&mut check);
        self.schedule.check(&mut check);
        check.finish()?;
        Ok(())
    }
}

/// A trained network.
#[derive(Debug)]
pub struct Trained<N> {
    /// With the weights of the best epoch.
    pub network: N,
    /// The learning curve.
    pub curve: Vec<Epoch>,
    /// The epoch whose weights were taken, from 0.
    pub best: usize,
}

impl<N> Trained<N> {
    /// How the network has learnt, from its curve alone.
    pub fn fit(&self) -> Fit {
        fit(&self.curve, None)
    }

    /// The curve as it is kept beside a saved model: of the part called `name`, with the loss in words and that of a
    /// constant answer on the rows held back, where it is known.
    pub fn told(&self, name: &str, loss: &str, constant: Option<f64>) -> TrainingCurve {
        TrainingCurve {
            name: name.to_owned(),
            loss: loss.to_owned(),
            epochs: self.curve.clone(),
            best: self.best,
            constant,
        }
    }
}

/// Trains a network. `from` is a checkpoint of the same training that was broken off; `keep` is given a checkpoint after
/// each epoch, writes it whole or not at all, and says whether another epoch may begin (where time is short).
///
/// # Errors
/// Parameters out of range, no rows, a loss that is no longer finite, a checkpoint of something else; cancellation; whatever
/// `keep` cannot do.
pub fn train<T: Task>(
    run: &Run,
    task: &T,
    network: T::Network,
    params: &TrainParams,
    from: Option<&Checkpoint>,
    keep: &mut dyn FnMut(&Checkpoint) -> Result<bool>,
) -> Result<Trained<T::Network>> {
    params.check()?;
    let n = task.rows();
    if n == 0 {
        return Err(Error::NotEnoughData { what: "training a network".to_owned(), needed: 1, got: 0 });
    }
    let batches = batches_of(n, params.batch);
    let steps = (batches.div_ceil(params.accumulate) * params.epochs) as u64;
    let mut optimiser = Optimiser::new(params.optimiser.clone())?;
    let (mut network, mut curve, mut plateau) = (network, Vec::<Epoch>::new(), Plateau::default());
    let mut best_network = None;
    let origin = origin(params, run.seed, n)?;
    if let Some(from) = from {
        from.check(&origin)?;
        network = from.weights(network)?;
        best_network = Some(from.best_weights(network.clone())?);
        (curve, plateau) = (from.curve().to_vec(), from.plateau());
        from.resume(&mut optimiser);
    }
    let better = |curve: &[Epoch]| {
        let best =
            (0..curve.len()).filter(|k| curve[*k].validation.is_some_and(f64::is_finite)).min_by(|a, b| {
                curve[*a].validation.partial_cmp(&curve[*b].validation).unwrap_or(std::cmp::Ordering::Equal)
            });
        best.unwrap_or(curve.len().saturating_sub(1))
    };
    run.progress().begin("training", (params.epochs * batches) as u64);
    run.progress().advance((curve.len() * batches) as u64);
    for epoch in curve.len()..params.epochs {
        let stopped = params.patience > 0 && curve.len() > better(&curve) + params.patience;
        if stopped && !curve.is_empty() {
            break;
        }
        let order = order(run, task, n, params, epoch);
        let (mut sum, mut count, mut rate, mut largest) = (0.0, 0.0, 0.0, 0.0_f64);
        for group in order.chunks(params.accumulate) {
            let rows: usize = group.iter().map(Vec::len).sum();
            let mut gradients = Collected::default();
            for (k, batch) in group.iter().enumerate() {
                run.check()?;
                let stream = NOISE + optimiser.steps() * params.accumulate as u64 + k as u64;
                let loss = task.loss(&network, batch, &mut Noise::of(run.rng(stream)))?;
                let value = crate::losses::value(&loss);
                if !value.is_finite() {
                    return Err(Error::NotConverged {
                        what: format!(
                            "training (the loss is {value} in epoch {}: take a smaller rate, or look for NaN in the data)",
                            epoch + 1
                        ),
                        iterations: optimiser.steps() as usize,
                    });
                }
                let share = batch.len() as f64 / rows as f64;
                let mut of = Collected::of(&network, loss.backward());
                if group.len() > 1 {
                    of.scale(share as f32);
                }
                gradients.add(of);
                sum += value * batch.len() as f64;
                count += batch.len() as f64;
                run.progress().advance(1);
            }
            let share = params.schedule.share(optimiser.steps(), steps) * plateau.share;
            rate = share * params.optimiser.rate;
            let norm;
            (network, norm) = optimiser.step(network, gradients, share)?;
            largest = largest.max(norm);
        }
        let validation = task.validate(&network)?;
        plateau.observe(&params.schedule, validation.unwrap_or(sum / count));
        curve.push(Epoch { training: sum / count, validation, rate, norm: largest });
        if better(&curve) == epoch {
            best_network = Some(network.clone());
        }
        let best = best_network.as_ref().unwrap_or(&network);
        if !keep(&Checkpoint::of(&origin, &network, best, &optimiser, &curve, plateau))? {
            break;
        }
    }
    run.progress().end();
    Ok(Trained { network: best_network.unwrap_or(network), best: better(&curve), curve })
}

/// Batches of an epoch. A row that would be left over by itself goes with the last: it has no spread that a layer could bring
/// to one.
fn batches_of(n: usize, batch: usize) -> usize {
    let alone = batch > 1 && n > batch && n % batch == 1;
    n.div_ceil(batch) - usize::from(alone)
}

/// The batches of an epoch.
fn order<T: Task>(run: &Run, task: &T, n: usize, params: &TrainParams, epoch: usize) -> Vec<Vec<usize>> {
    let mut rng = run.rng(SHUFFLE + epoch as u64);
    let mut rows: Vec<usize> = (0..n).collect();
    rows.shuffle(&mut rng);
    if params.by_length {
        // Like lengths side by side, still in another order each epoch; then whole batches are shuffled.
        rows.sort_by_key(|row| task.length(*row));
    }
    let whole = (batches_of(n, params.batch) - 1) * params.batch;
    let (before, last) = rows.split_at(whole);
    let mut batches: Vec<Vec<usize>> = before.chunks(params.batch).map(<[usize]>::to_vec).collect();
    batches.push(last.to_vec());
    if params.by_length {
        batches.shuffle(&mut rng);
    }
    batches
}
