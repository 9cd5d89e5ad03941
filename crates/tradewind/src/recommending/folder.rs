//! A fitted recommender on disk.
//!
//! ```text
//! recommender/
//!   manifest.json      the recommender, parameters, what events counted, seed, how much it was fitted on
//!   recommender.json   what was learnt, with the events
//! ```

use super::{Manifest, Model};
use crate::error::Result;
use crate::model_folder::{ModelFolder, hash, json};
use std::path::Path;

/// The format that this version writes; older ones keep opening.
pub(super) const FORMAT: u32 = 1;

const RECOMMENDER: &str = "recommender.json";

fn folder(dir: &Path) -> ModelFolder<'_> {
    ModelFolder { dir, written_by: "tradewind recommend fit" }
}

impl Model {
    /// Writes the model to a folder; a model that is there already is replaced.
    ///
    /// # Errors
    /// A place that cannot be written, or that holds something else than a model.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let state = json(&self.fitted.save()?)?;
        let manifest = Manifest { model_hash: hash(&state), ..self.manifest.clone() };
        folder(dir).write(&manifest, &[(RECOMMENDER, &state)])
    }

    /// Opens a model's folder.
    ///
    /// # Errors
    /// A folder that is no model, one written by a newer version, a file that does not belong to the manifest.
    pub fn open(dir: &Path) -> Result<Self> {
        let folder = folder(dir);
        let manifest: Manifest = folder.manifest(FORMAT, |m: &Manifest| m.format)?;
        let load = tradewind_recommend::entry(&manifest.model)?.load;
        let fitted = load(folder.read(RECOMMENDER, &manifest.model_hash)?)?;
        Ok(Self { manifest, fitted })
    }
}
