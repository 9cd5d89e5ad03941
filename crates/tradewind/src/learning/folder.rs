//! A learnt model on disk.
//!
//! ```text
//! model/
//!   manifest.json   name, task, target, classes, columns, parameters, seed, measures, where the data came from
//!   recipe.json     the fitted preparation
//!   learner.json    what was learnt
//! ```

use super::{Manifest, Model};
use crate::error::Result;
use crate::model_folder::{ModelFolder, hash, json};
use std::path::Path;
use tradewind_learn::ensemble::load_fitted;
use tradewind_learn::prepare::FittedRecipe;

/// The format that this version writes; older ones keep opening.
pub(super) const FORMAT: u32 = 1;

const RECIPE: &str = "recipe.json";
const LEARNER: &str = "learner.json";

fn folder(dir: &Path) -> ModelFolder<'_> {
    ModelFolder { dir, written_by: "tradewind learn fit --output" }
}

impl Model {
    /// Writes the model to a folder; a model that is there already is replaced.
    ///
    /// # Errors
    /// A place that cannot be written, or that holds something else than a model.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let recipe = json(&self.recipe)?;
        let learner = json(&self.learner.save()?)?;
        let manifest =
            Manifest { recipe_hash: hash(&recipe), learner_hash: hash(&learner), ..self.manifest.clone() };
        folder(dir).write(&manifest, &[(RECIPE, &recipe), (LEARNER, &learner)])
    }

    /// Opens a model's folder.
    ///
    /// # Errors
    /// A folder that is no model, one written by a newer version, files that do not belong to the manifest.
    pub fn open(dir: &Path) -> Result<Self> {
        let folder = folder(dir);
        let manifest: Manifest = folder.manifest(FORMAT, |m: &Manifest| m.format)?;
        Ok(Self {
            recipe: folder.read(RECIPE, &manifest.recipe_hash)?,
            learner: load_fitted(&manifest.model, folder.read(LEARNER, &manifest.learner_hash)?)?,
            manifest,
        })
    }

    /// The fitted preparation and what was learnt, as JSON.
    ///
    /// # Errors
    /// A learner that cannot be saved.
    pub(crate) fn states(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok((json(&self.recipe)?, json(&self.learner.save()?)?))
    }

    /// Back from [`Model::states`] and a manifest.
    ///
    /// # Errors
    /// A learner that is not in the catalogue, or a state that is not its own.
    pub(crate) fn of_states(
        manifest: Manifest,
        recipe: FittedRecipe,
        learner: serde_json::Value,
    ) -> Result<Self> {
        Ok(Self { recipe, learner: load_fitted(&manifest.model, learner)?, manifest })
    }
}
