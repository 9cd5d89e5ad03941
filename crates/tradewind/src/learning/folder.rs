//! A learnt model on disk: one folder with a manifest that people can read, the preparation and the learner.
//!
//! ```text
//! model/
//!   manifest.json   name, task, target, classes, columns, parameters, seed, measures, where the data came from
//!   recipe.json     the fitted preparation
//!   learner.json    what was learnt
//! ```
//!
//! The folder appears whole or not at all: it is written beside its place and renamed. The manifest holds the
//! fingerprints of the two other files, which are checked when the folder is opened.

use super::{Manifest, Model};
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::BufReader;
use std::path::Path;
use tradewind_learn::ensemble::load_fitted;
use tradewind_warehouse::files;

/// The format that this version writes; older ones keep opening.
pub(super) const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const RECIPE: &str = "recipe.json";
const LEARNER: &str = "learner.json";

impl Model {
    /// Writes the model to a folder; a model that is there already is replaced.
    ///
    /// # Errors
    /// A place that cannot be written, or that holds something else than a model.
    pub fn write(&self, dir: &Path) -> Result<()> {
        if dir.exists()
            && !dir.join(MANIFEST).is_file()
            && fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some())
        {
            return Err(Error::asked(
                format!("{} is there already and is no model", dir.display()),
                "name a folder that does not exist, or that holds an earlier model",
            ));
        }
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| Error::file(parent, e))?;
        let beside = |what: &str| parent.join(format!(".{name}.{}.{what}", std::process::id()));
        let (new, old) = (beside("new"), beside("old"));
        let written = (|| {
            fs::create_dir(&new).map_err(|e| Error::file(&new, e))?;
            let recipe = json(&self.recipe)?;
            let learner = json(&self.learner.save()?)?;
            let manifest = Manifest {
                recipe_hash: hash(&recipe),
                learner_hash: hash(&learner),
                ..self.manifest.clone()
            };
            files::write_bytes(&new.join(RECIPE), &recipe)?;
            files::write_bytes(&new.join(LEARNER), &learner)?;
            let text = serde_json::to_vec_pretty(&manifest).map_err(|e| Error::file(&new, e.into()))?;
            files::write_bytes(&new.join(MANIFEST), &text)?;
            if dir.exists() {
                fs::rename(dir, &old).map_err(|e| Error::file(dir, e))?;
            }
            fs::rename(&new, dir).map_err(|e| Error::file(dir, e))
        })();
        if written.is_err() && !dir.exists() && old.exists() {
            // The earlier model goes back to its place; the first error is the one that tells.
            let _ = fs::rename(&old, dir);
        }
        let _ = fs::remove_dir_all(&new);
        let _ = fs::remove_dir_all(&old);
        written
    }

    /// Opens a model's folder.
    ///
    /// # Errors
    /// A folder that is no model, one written by a newer version, files that do not belong to the manifest.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        if !path.is_file() {
            return Err(Error::asked(
                format!("{} holds no model", dir.display()),
                "name the folder that `tradewind learn fit --output` wrote",
            ));
        }
        let manifest: Manifest = read(&path)?;
        if manifest.format > FORMAT {
            return Err(Error::asked(
                format!("{} was written by a newer version (format {})", dir.display(), manifest.format),
                "update tradewind",
            ));
        }
        for (file, told) in [(RECIPE, &manifest.recipe_hash), (LEARNER, &manifest.learner_hash)] {
            let path = dir.join(file);
            let bytes = fs::read(&path).map_err(|e| Error::file(&path, e))?;
            if hash(&bytes) != *told {
                return Err(Error::asked(
                    format!("{} is not the file that the manifest tells of", path.display()),
                    "the model was changed or copied in part; copy the whole folder again, or fit it anew",
                ));
            }
        }
        Ok(Self {
            recipe: read(&dir.join(RECIPE))?,
            learner: load_fitted(&manifest.model, read(&dir.join(LEARNER))?)?,
            manifest,
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: "model".to_owned(), source }))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let file = fs::File::open(path).map_err(|e| Error::file(path, e))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|source| {
        Error::Core(tradewind_core::Error::Saved { what: path.display().to_string(), source })
    })
}

/// The fingerprint of some bytes, as text.
pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
