//! A training that can be taken up again.

use crate::optimise::Optimiser;
use crate::schedule::Plateau;
use crate::train::{Epoch, TrainParams};
use crate::weights::Weights;
use burn::module::Module;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{Error, Result};

const LATEST: &str = "latest.";
const BEST: &str = "best.";
const STATE: &str = "state.";
/// The remark that says where a training stands.
const ABOUT: &str = "tradewind.training";

/// What a training is told by, as JSON: another one cannot go on from its checkpoint. How long it goes on may change.
pub(crate) fn origin(params: &TrainParams, seed: u64, rows: usize) -> Result<String> {
    let params = TrainParams { epochs: 0, patience: 0, ..params.clone() };
    serde_json::to_string(&serde_json::json!({ "seed": seed, "rows": rows, "params": params })).map_err(saved)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    of: String,
    steps: u64,
    curve: Vec<Epoch>,
    plateau: Plateau,
}

/// All that a training needs to go on: weights, the best ones so far, moments, the curve. As bytes it is one safetensors
/// file.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    about: About,
    all: Weights,
}

impl Checkpoint {
    pub(crate) fn of<M: Module>(
        of: &str,
        network: &M,
        best: &M,
        optimiser: &Optimiser,
        curve: &[Epoch],
        plateau: Plateau,
    ) -> Self {
        let mut all = Weights::default();
        for (prefix, network) in [(LATEST, network), (BEST, best)] {
            all.of.extend(
                Weights::of(network).of.into_iter().map(|(path, of)| (format!("{prefix}{path}"), of)),
            );
        }
        for (name, values) in optimiser.states() {
            all.of.insert(format!("{STATE}{name}"), (vec![values.len()], values.to_vec()));
        }
        Self {
            about: About { of: of.to_owned(), steps: optimiser.steps(), curve: curve.to_vec(), plateau },
            all,
        }
    }

    fn part(&self, prefix: &str) -> Weights {
        let of = self
            .all
            .of
            .iter()
            .filter_map(|(name, of)| Some((name.strip_prefix(prefix)?.to_owned(), of.clone())));
        Weights { of: of.collect() }
    }

    pub(crate) fn weights<M: Module>(&self, network: M) -> Result<M> {
        self.part(LATEST).put_into(network)
    }

    /// Puts the best weights so far into a network of the same form.
    ///
    /// # Errors
    /// A network of another form.
    pub fn best_weights<M: Module>(&self, network: M) -> Result<M> {
        self.part(BEST).put_into(network)
    }

    /// # Errors
    /// A checkpoint of a training of other parameters, seed or number of rows.
    pub(crate) fn check(&self, of: &str) -> Result<()> {
        if self.about.of == of {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "the checkpoint is of another training, {}, and this one is {of}: go on as it was, or begin anew",
            self.about.of
        )))
    }

    pub(crate) fn resume(&self, optimiser: &mut Optimiser) {
        optimiser.resume(
            self.about.steps,
            self.part(STATE).of.into_iter().map(|(name, (_, values))| (name, values)),
        );
    }

    /// The learning curve so far.
    pub fn curve(&self) -> &[Epoch] {
        &self.about.curve
    }

    pub(crate) fn plateau(&self) -> Plateau {
        self.about.plateau
    }

    /// One file.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let about = serde_json::to_string(&self.about).map_err(saved)?;
        self.all.to_safetensors(&HashMap::from([(ABOUT.to_owned(), about)]))
    }

    /// Reads what [`Checkpoint::to_bytes`] made.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (all, remarks) = Weights::from_safetensors(bytes)?;
        let about = remarks
            .get(ABOUT)
            .ok_or_else(|| Error::Invalid("these are weights, and no checkpoint of a training".to_owned()))?;
        Ok(Self { about: serde_json::from_str(about).map_err(saved)?, all })
    }
}

fn saved(source: serde_json::Error) -> Error {
    Error::Saved { what: "checkpoint".to_owned(), source }
}
