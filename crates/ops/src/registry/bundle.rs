//! A version as one file: a tar compressed by zstd, the manifest first, then each content once under its hash.
//!
//! The names inside are hashes, not paths: where a file goes is said by the manifest alone, which is checked before
//! anything is written. The same version gives the same bytes with the same Tradewind.

use super::cache::{corrupt, is_entry};
use super::manifest::{FileEntry, MANIFEST_BYTES_MAX, Manifest};
use super::store::sync_folder;
use super::{NewVersion, Reference, Registry, Version, blocking, random_name};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use tradewind_core::ErrorKind;

/// Bytes that an imported version may take unpacked, unless told otherwise: 16 GiB.
pub const IMPORT_BYTES_MAX: u64 = 16 << 30;

const MANIFEST_NAME: &str = "manifest.json";
const LEVEL: i32 = 9;
/// The window of the decoder at most (128 MiB), which bounds its memory.
const WINDOW_LOG_MAX: u32 = 27;

/// How a version is taken in from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSettings {
    /// The model's name here; nothing keeps the name in the file.
    pub name: Option<String>,
    /// Who imports it.
    pub created_by: String,
    /// Bytes that it may take unpacked.
    pub bytes_max: u64,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self { name: None, created_by: String::new(), bytes_max: IMPORT_BYTES_MAX }
    }
}

impl Registry {
    /// Writes a version to one file, which is there whole or not at all; a file of that name is replaced.
    ///
    /// # Errors
    /// No such version, a file of it that the store lost or damaged, a place that cannot be written.
    pub async fn export(&self, reference: &Reference, to: &Path) -> Result<Version> {
        let version = self.version(reference).await?;
        let folder = self.fetch(&version).await?;
        let (written, to) = (version.clone(), to.to_owned());
        blocking(move || write(&written, &folder, &to)).await?;
        Ok(version)
    }

    /// Registers the version in a file that [`Registry::export`] wrote, under the next number. An artifact that is
    /// registered already is not registered again.
    ///
    /// # Errors
    /// A file that is not exactly what its manifest says, or larger than allowed; nothing is registered then.
    pub async fn import(&self, from: &Path, settings: &ImportSettings) -> Result<Version> {
        let new = self.workshop().await?;
        let (folder, file, bytes_max) = (new.clone(), from.to_owned(), settings.bytes_max);
        let read = blocking(move || read(&file, &folder, bytes_max)).await;
        let done = match read {
            Ok(manifest) => {
                let version = imported(manifest, settings);
                self.register(version, &new.join("files")).await
            }
            Err(e) => Err(e),
        };
        blocking(move || {
            let _ = fs::remove_dir_all(new);
            Ok(())
        })
        .await?;
        done
    }
}

fn imported(manifest: Manifest, settings: &ImportSettings) -> NewVersion {
    let origin = format!("{}@{}", manifest.name, manifest.number);
    let mut lineage = manifest.lineage;
    lineage.origin.get_or_insert(origin);
    NewVersion {
        name: settings.name.clone().unwrap_or(manifest.name),
        kind: manifest.kind,
        data_fingerprint: manifest.data_fingerprint,
        params: manifest.params,
        seed: manifest.seed,
        metrics: manifest.metrics,
        code_version: manifest.code_version,
        lineage,
        created_by: settings.created_by.clone(),
        tags: Default::default(),
        notes: String::new(),
        repeat: false,
    }
}

fn write(version: &Version, folder: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = parent.join(format!(".{name}.{}", random_name()?));
    let fault = |source| Error::File { path: to.to_owned(), action: "write", source };
    let written = (|| {
        let file = File::create_new(&beside).map_err(fault)?;
        let mut encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL).map_err(fault)?;
        encoder.include_checksum(true).map_err(fault)?;
        let mut archive = tar::Builder::new(encoder);
        let manifest = serde_json::to_vec_pretty(&version.manifest).map_err(|e| fault(e.into()))?;
        archive.append(&header(MANIFEST_NAME, manifest.len() as u64)?, manifest.as_slice()).map_err(fault)?;
        for file in contents(&version.manifest.files) {
            if !is_entry(folder, file) {
                // It was sound when it was fetched: somebody writes to the cache.
                return Err(corrupt(version, file, "damaged", folder.display().to_string()));
            }
            let path = folder.join(&file.path);
            let content = File::open(&path).map_err(|source| Error::File { path, action: "read", source })?;
            archive.append(&header(&inside(file), file.bytes)?, content.take(file.bytes)).map_err(fault)?;
        }
        let encoder = archive.into_inner().map_err(fault)?;
        let mut out = encoder.finish().map_err(fault)?;
        out.flush().map_err(fault)?;
        out.get_ref().sync_all().map_err(fault)?;
        fs::rename(&beside, to).map_err(fault)?;
        sync_folder(parent)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A header without times and owners.
fn header(name: &str, bytes: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(|e| {
        Error::asked(
            ErrorKind::Internal,
            format!("{name} is no name in an archive: {e}"),
            "report this as a bug",
        )
    })?;
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

fn inside(file: &FileEntry) -> String {
    format!("blobs/{}", file.blake3)
}

/// One file for each content, in the order of the manifest.
fn contents(files: &[FileEntry]) -> impl Iterator<Item = &FileEntry> {
    let mut seen = BTreeSet::new();
    files.iter().filter(move |file| seen.insert(file.blake3.as_str()))
}

/// Unpacks a file into `folder/files`, which holds exactly what the manifest says, or fails.
fn read(from: &Path, folder: &Path, bytes_max: u64) -> Result<Manifest> {
    let refused = |what: String| {
        Error::asked(
            ErrorKind::InvalidInput,
            format!("{} is no exported version: {what}", from.display()),
            "export the version again and copy the whole file",
        )
    };
    let read_fault = |source: std::io::Error| match source.kind() {
        // What zstd and tar find wrong comes as an error of reading.
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
            Error::File { path: from.to_owned(), action: "read", source }
        }
        _ => refused(source.to_string()),
    };
    let file = File::open(from).map_err(read_fault)?;
    let mut decoder = zstd::Decoder::new(BufReader::new(file)).map_err(read_fault)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(read_fault)?;
    let mut archive = tar::Archive::new(decoder);
    // Raw: extensions of the format (long names, links, sparse files) are entries to be refused, not followed.
    let mut entries = archive.entries().map_err(read_fault)?.raw(true);
    let mut next = |wanted: &str| {
        let entry = match entries.next() {
            None => return Err(refused(format!("it ends before {wanted}"))),
            Some(entry) => entry.map_err(read_fault)?,
        };
        let name = entry.path_bytes().into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular || name != wanted.as_bytes() {
            let name = super::shown(&String::from_utf8_lossy(&name));
            return Err(refused(format!("`{name}` stands where {wanted} should")));
        }
        Ok(entry)
    };
    let mut entry = next(MANIFEST_NAME)?;
    if entry.size() > MANIFEST_BYTES_MAX as u64 * 2 {
        return Err(refused(format!("its manifest takes {} bytes", entry.size())));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(read_fault)?;
    drop(entry);
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|e| refused(format!("its manifest: {e}")))?;
    manifest.check()?;
    if manifest.hash() != manifest.artifact_hash {
        return Err(refused("its manifest was changed (another artifact hash)".to_owned()));
    }
    if manifest.bytes() > bytes_max {
        return Err(Error::asked(
            ErrorKind::InvalidInput,
            format!("{} holds {} bytes, more than the {bytes_max} allowed", from.display(), manifest.bytes()),
            "see where it comes from; allow more if you trust it",
        ));
    }
    let files = folder.join("files");
    for (place, file) in contents(&manifest.files).enumerate() {
        let mut entry = next(&inside(file))?;
        if entry.size() != file.bytes {
            return Err(refused(format!(
                "{} has {} bytes in place of {}",
                file.path,
                entry.size(),
                file.bytes
            )));
        }
        let content = folder.join(format!("content-{place}"));
        lay(&mut entry, file, &content, &refused)?;
        let mut same: Vec<PathBuf> =
            manifest.files.iter().filter(|f| f.blake3 == file.blake3).map(|f| files.join(&f.path)).collect();
        let last = same.pop();
        for to in &same {
            make_room(to)?;
            fs::copy(&content, to).map_err(|source| Error::File {
                path: to.clone(),
                action: "write",
                source,
            })?;
        }
        if let Some(to) = last {
            make_room(&to)?;
            fs::rename(&content, &to).map_err(|source| Error::File { path: to, action: "write", source })?;
        }
    }
    match entries.next() {
        None => Ok(manifest),
        Some(_) => Err(refused("it holds more than its manifest says".to_owned())),
    }
}

fn make_room(to: &Path) -> Result<()> {
    let Some(parent) = to.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| Error::File {
        path: parent.to_owned(),
        action: "make",
        source,
    })
}

/// Writes one entry, which must be the content that the manifest tells of.
fn lay(entry: &mut impl Read, file: &FileEntry, to: &Path, refused: &impl Fn(String) -> Error) -> Result<()> {
    let fault = |source| Error::File { path: to.to_owned(), action: "write", source };
    let mut out = File::create_new(to).map_err(fault)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut left = file.bytes;
    loop {
        let n = entry.read(&mut buffer).map_err(|e| refused(e.to_string()))?;
        if n == 0 {
            break;
        }
        left = left
            .checked_sub(n as u64)
            .ok_or_else(|| refused(format!("{} is longer than told", file.path)))?;
        hasher.update(&buffer[..n]);
        out.write_all(&buffer[..n]).map_err(fault)?;
    }
    if left > 0 || hasher.finalize().to_hex().as_str() != file.blake3 {
        return Err(refused(format!("{} is not the file that the manifest tells of", file.path)));
    }
    Ok(())
}
