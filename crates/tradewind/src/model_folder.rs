//! A model on disk: one folder with a manifest that people can read, and the files that it names.
//!
//! The folder appears whole or not at all: it is written beside its place and renamed. The manifest holds the
//! fingerprints of the other files, which are checked when they are read.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tradewind_warehouse::files;

const MANIFEST: &str = "manifest.json";

/// The place of a model's folder, and the command that writes such folders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelFolder<'a> {
    pub(crate) dir: &'a Path,
    /// For hints, as `tradewind learn fit --output`.
    pub(crate) written_by: &'static str,
}

impl ModelFolder<'_> {
    /// Writes the manifest and the files; a model that is there already is replaced.
    ///
    /// # Errors
    /// A place that cannot be written, or that holds something else than a model.
    pub(crate) fn write(&self, manifest: &impl Serialize, contents: &[(&str, &[u8])]) -> Result<()> {
        let dir = self.dir;
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
            for (file, bytes) in contents {
                files::write_bytes(&new.join(file), bytes)?;
            }
            let text = serde_json::to_vec_pretty(manifest).map_err(|e| Error::file(&new, e.into()))?;
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

    /// Reads the manifest; `format` tells the format that it names, which must not be newer than `format_max`.
    ///
    /// # Errors
    /// A folder that holds no model, or one written by a newer version.
    pub(crate) fn manifest<M: DeserializeOwned>(
        &self,
        format_max: u32,
        format: impl Fn(&M) -> u32,
    ) -> Result<M> {
        let path = self.dir.join(MANIFEST);
        if !path.is_file() {
            return Err(Error::asked(
                format!("{} holds no model", self.dir.display()),
                format!("name the folder that `{}` wrote", self.written_by),
            ));
        }
        let manifest: M = read(&path)?;
        let found = format(&manifest);
        if found > format_max {
            return Err(Error::asked(
                format!("{} was written by a newer version (format {found})", self.dir.display()),
                "update tradewind",
            ));
        }
        Ok(manifest)
    }

    /// Reads one of the files, which must have the fingerprint that the manifest tells of.
    ///
    /// # Errors
    /// A file that cannot be read or is another one.
    pub(crate) fn read<T: DeserializeOwned>(&self, file: &str, told: &str) -> Result<T> {
        let path = self.dir.join(file);
        let bytes = fs::read(&path).map_err(|e| Error::file(&path, e))?;
        if hash(&bytes) != told {
            return Err(Error::asked(
                format!("{} is not the file that the manifest tells of", path.display()),
                "the model was changed or copied in part; copy the whole folder again, or fit it anew",
            ));
        }
        serde_json::from_slice(&bytes).map_err(|e| unreadable(&path, e))
    }
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: "model".to_owned(), source }))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let file = fs::File::open(path).map_err(|e| Error::file(path, e))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, source: serde_json::Error) -> Error {
    Error::Core(tradewind_core::Error::Saved { what: PathBuf::from(path).display().to_string(), source })
}

/// The fingerprint of some bytes, as text.
pub(crate) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
