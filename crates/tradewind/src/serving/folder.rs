//! An artifact's folder: what is written in it, and how it is read back and checked.
//!
//! ```text
//! <artifact>/
//!   artifact.json     format, kind, seed, every other file with its size and fingerprint, what the kind says of itself
//!   *.parquet, *.json what the version answers from
//! ```
//!
//! Nothing in it tells when or where it was written, so the same data, parameters and seed give the same bytes. The
//! folder appears whole or not at all. Reading checks every file against the header before anything of it is used.

use super::Kind;
use crate::error::{Error, Result};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tradewind_warehouse::files;

/// The format that this version writes; older ones keep opening.
pub(super) const FORMAT: u32 = 1;

/// The header of an artifact.
pub(super) const HEADER: &str = "artifact.json";

/// Bytes of a header that are read at most.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// A file of the artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    blake3: String,
}

/// What `artifact.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    format: u32,
    kind: Kind,
    /// The version of Tradewind that wrote it.
    tradewind: String,
    seed: u64,
    files: BTreeMap<String, FileEntry>,
    about: Value,
}

/// The part of a header that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Writes an artifact; what is not finished leaves nothing behind.
pub(super) struct Writer {
    dir: PathBuf,
    temporary: PathBuf,
    files: BTreeMap<String, FileEntry>,
}

impl Writer {
    /// Begins a folder that will appear at `dir`.
    ///
    /// # Errors
    /// A place that cannot be written, or that holds something else than an artifact.
    pub(super) fn begin(dir: &Path) -> Result<Self> {
        let taken = fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some());
        if taken && !dir.join(HEADER).is_file() {
            return Err(Error::asked(
                format!("{} is there already and is no artifact", dir.display()),
                "name a folder that does not exist, or that holds an earlier artifact",
            ));
        }
        let parent = folder_of(dir);
        fs::create_dir_all(parent).map_err(|e| Error::file(parent, e))?;
        let temporary = beside(dir, "new");
        fs::create_dir(&temporary).map_err(|e| Error::file(&temporary, e))?;
        Ok(Self { dir: dir.to_owned(), temporary, files: BTreeMap::new() })
    }

    /// Adds a file.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        files::write_bytes(&self.temporary.join(name), bytes)?;
        self.note(name, bytes);
        Ok(())
    }

    /// Adds a value as JSON.
    pub(super) fn json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.bytes(name, &json(name, value)?)
    }

    /// Adds a table as Parquet.
    pub(super) fn table(&mut self, name: &str, batch: &RecordBatch) -> Result<()> {
        let path = self.temporary.join(name);
        files::write_table(&path, std::slice::from_ref(batch))?;
        let bytes = fs::read(&path).map_err(|e| Error::file(&path, e))?;
        self.note(name, &bytes);
        Ok(())
    }

    fn note(&mut self, name: &str, bytes: &[u8]) {
        let entry = FileEntry { bytes: bytes.len() as u64, blake3: hash(bytes) };
        self.files.insert(name.to_owned(), entry);
    }

    /// Writes the header and puts the folder into its place. Answers the artifact's fingerprint, which is that of the
    /// header: it names all other files.
    pub(super) fn finish(mut self, kind: Kind, seed: u64, about: &impl Serialize) -> Result<String> {
        let saved = |source| tradewind_core::Error::Saved { what: format!("artifact of {kind}"), source };
        let header = Header {
            format: FORMAT,
            kind,
            tradewind: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            files: std::mem::take(&mut self.files),
            about: serde_json::to_value(about).map_err(saved)?,
        };
        let text = serde_json::to_vec_pretty(&header).map_err(saved)?;
        files::write_bytes(&self.temporary.join(HEADER), &text)?;
        let old = beside(&self.dir, "old");
        let had_one = self.dir.exists();
        if had_one {
            fs::rename(&self.dir, &old).map_err(|e| Error::file(&self.dir, e))?;
        }
        if let Err(e) = fs::rename(&self.temporary, &self.dir) {
            // The earlier artifact goes back to its place; this error is the one that tells.
            if had_one {
                let _ = fs::rename(&old, &self.dir);
            }
            return Err(Error::file(&self.dir, e));
        }
        let parent = folder_of(&self.dir);
        if cfg!(unix) {
            fs::File::open(parent).and_then(|f| f.sync_all()).map_err(|e| Error::file(parent, e))?;
        }
        if had_one {
            let _ = fs::remove_dir_all(&old);
        }
        Ok(hash(&text))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a success it is no longer there.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// An artifact whose header is read; its files are checked when they are taken.
pub(super) struct Reader {
    dir: PathBuf,
    header: Header,
    /// The artifact's own fingerprint.
    pub(super) hash: String,
}

impl Reader {
    /// Reads the header of an artifact.
    ///
    /// # Errors
    /// A folder that holds no artifact, one that a newer version wrote, a header that is none.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(HEADER);
        let size = match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => meta.len(),
            Ok(_) => return Err(no_artifact(dir)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(no_artifact(dir)),
            Err(e) => return Err(Error::file(path, e)),
        };
        if size > HEADER_BYTES_MAX {
            return Err(corrupt(&path, &format!("has {size} bytes, more than any header")));
        }
        let text = fs::read(&path).map_err(|e| Error::file(&path, e))?;
        // The format first: a newer header may hold what this version cannot read.
        let Format { format } =
            serde_json::from_slice(&text).map_err(|e| corrupt(&path, &format!("cannot be read: {e}")))?;
        if format > FORMAT {
            return Err(Error::asked(
                format!(
                    "{} was written by a newer version (format {format}; this one reads up to {FORMAT})",
                    dir.display()
                ),
                "update tradewind",
            ));
        }
        let header: Header =
            serde_json::from_slice(&text).map_err(|e| corrupt(&path, &format!("cannot be read: {e}")))?;
        if let Some(name) = header.files.keys().find(|n| !is_plain(n)) {
            return Err(corrupt(&path, &format!("names the file `{name}`, which lies outside")));
        }
        Ok(Self { dir: dir.to_owned(), hash: hash(&text), header })
    }

    /// What kind of artifact it is.
    pub(super) fn kind(&self) -> Kind {
        self.header.kind
    }

    /// What the kind says of itself.
    pub(super) fn about<T: DeserializeOwned>(&self) -> Result<T> {
        let path = self.dir.join(HEADER);
        serde_json::from_value(self.header.about.clone())
            .map_err(|e| corrupt(&path, &format!("does not tell what {} need: {e}", self.header.kind)))
    }

    /// A file's bytes, which are those that the header tells of.
    ///
    /// # Errors
    /// A file that is missing, cannot be read, or has other bytes.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.dir.join(name);
        let Some(entry) = self.header.files.get(name) else {
            return Err(corrupt(&path, "is not named in the header"));
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(corrupt(&path, "is missing")),
            Err(e) => return Err(Error::file(path, e)),
        };
        if bytes.len() as u64 != entry.bytes || hash(&bytes) != entry.blake3 {
            return Err(corrupt(&path, "is not the file that the header tells of"));
        }
        Ok(bytes)
    }

    /// A file of JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.bytes(name)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| corrupt(&self.dir.join(name), &format!("cannot be read: {e}")))
    }

    /// A file of Parquet, as batches.
    pub(super) fn table(&self, name: &str) -> Result<Vec<RecordBatch>> {
        let bytes = Bytes::from(self.bytes(name)?);
        let fault = |e: String| corrupt(&self.dir.join(name), &format!("cannot be read: {e}"));
        ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(|b| b.build())
            .map_err(|e| fault(e.to_string()))?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| fault(e.to_string()))
    }

    /// A fault of what a file holds.
    pub(super) fn fault(&self, name: &str, what: &str) -> Error {
        corrupt(&self.dir.join(name), what)
    }
}

/// The fingerprint of the artifact in a folder.
///
/// # Errors
/// A folder that holds no artifact that this version reads.
pub fn artifact_hash(dir: &Path) -> Result<String> {
    Ok(Reader::open(dir)?.hash)
}

/// A value as JSON.
pub(super) fn json(what: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: what.to_owned(), source }))
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Whether a name is that of a file in the folder itself.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(std::path::Component::Normal(_))) && parts.next().is_none() && name != HEADER
}

fn corrupt(path: &Path, what: &str) -> Error {
    Error::Artifact { path: path.to_owned(), what: what.to_owned() }
}

fn no_artifact(dir: &Path) -> Error {
    Error::Artifact { path: dir.to_owned(), what: format!("holds no artifact (there is no {HEADER})") }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name beside `dir` that nobody else uses.
fn beside(dir: &Path, what: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    folder_of(dir).join(format!(".{name}.{}.{count}.{what}", std::process::id()))
}
