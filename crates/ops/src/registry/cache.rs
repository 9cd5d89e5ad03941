//! Local folders of fetched versions, checked at every load.

use super::manifest::{FileEntry, scan};
use super::store::{Blob, Condition, same_file};
use super::{Registry, Version, blocking, is_folder, random_name};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a fetched folder is spared by [`Registry::trim_cache`], so that whoever fetched it can load it.
const SPARED: Duration = Duration::from_secs(3600);

/// What a folder that is being written or thrown away is named with.
const BESIDE: &str = ".part-";

impl Registry {
    /// A local folder with exactly the files of a version. Every file is hashed at every call: a folder that was damaged
    /// or changed is replaced from the store. The folder is shared and not to be written to.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the store lost or damaged a file; a store, database or disk that does not answer.
    pub async fn fetch(&self, version: &Version) -> Result<PathBuf> {
        let folder = self.cache.join(&version.artifact_hash);
        if self.cached(version, &folder).await? {
            return Ok(folder);
        }
        if is_folder(&folder) {
            tracing::warn!(version = %version.reference(), folder = %folder.display(), "a fetched folder was changed; fetching it again");
        }
        let blobs = self.blobs_of(version).await?;
        let new = self.cache.join(format!("{BESIDE}{}", random_name()?));
        let laid = self.lay_down(version, &blobs, &new).await;
        let placed = match laid {
            Ok(()) => self.place(version, &new, &folder).await,
            Err(e) => Err(e),
        };
        let leftover = new.clone();
        // Gone already if it was put in its place.
        blocking(move || {
            let _ = fs::remove_dir_all(leftover);
            Ok(())
        })
        .await?;
        placed.map(|()| folder)
    }

    /// Whether the folder holds exactly the files of the version.
    async fn cached(&self, version: &Version, folder: &Path) -> Result<bool> {
        let (folder, files) = (folder.to_owned(), version.manifest.files.clone());
        blocking(move || {
            let sound = is_cached(&folder, &files);
            if sound {
                // The time of the last use, by which old folders are told from new ones. A read-only cache has none.
                let _ = File::open(&folder).and_then(|f| f.set_modified(SystemTime::now()));
            }
            Ok(sound)
        })
        .await
    }

    async fn lay_down(&self, version: &Version, blobs: &BTreeMap<String, Blob>, new: &Path) -> Result<()> {
        let fault = |path: &Path, source| Error::File { path: path.to_owned(), action: "make", source };
        tokio::fs::create_dir_all(new).await.map_err(|e| fault(new, e))?;
        for file in &version.manifest.files {
            let to = new.join(&file.path);
            if let Some(parent) = to.parent() {
                tokio::fs::create_dir_all(parent).await.map_err(|e| fault(parent, e))?;
            }
            let Some(blob) = blobs.get(&file.blake3) else {
                return Err(corrupt(version, file, "missing", "the database".to_owned()));
            };
            match self.store.copy_to(blob, file.bytes, &to).await? {
                Condition::Sound => {}
                Condition::Missing => {
                    return Err(corrupt(version, file, "missing", self.store.place_of(blob)));
                }
                Condition::Damaged => {
                    return Err(corrupt(version, file, "damaged", self.store.place_of(blob)));
                }
            }
        }
        Ok(())
    }

    /// Renames a finished folder to its place, where another process may have been first or a damaged one may lie.
    async fn place(&self, version: &Version, new: &Path, folder: &Path) -> Result<()> {
        let old = self.cache.join(format!("{BESIDE}{}", random_name()?));
        let (new, folder, cache) = (new.to_owned(), folder.to_owned(), self.cache.clone());
        let files = version.manifest.files.clone();
        blocking(move || {
            let fault = |source| Error::File { path: folder.clone(), action: "write", source };
            // One at a time: else a folder that another has just put there would be taken for the damaged one.
            let _held = hold(&cache)?;
            if is_cached(&folder, &files) {
                return Ok(());
            }
            if fs::symlink_metadata(&folder).is_ok() {
                // Whoever has files of the old folder open keeps them.
                fs::rename(&folder, &old).map_err(fault)?;
            }
            fs::rename(&new, &folder).map_err(fault)?;
            // What cannot be removed now is removed when the cache is trimmed.
            let _ = if is_folder(&old) { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            Ok(())
        })
        .await
    }

    /// Removes fetched folders, the longest unused first, until those left take `bytes_max` at most; such as were used
    /// within the last hour stay. Returns the bytes that are left.
    ///
    /// # Errors
    /// A folder that cannot be read or removed.
    pub async fn trim_cache(&self, bytes_max: u64) -> Result<u64> {
        let cache = self.cache.clone();
        blocking(move || {
            let fault = |source| Error::File { path: cache.clone(), action: "trim", source };
            if !is_folder(&cache) {
                return Ok(0);
            }
            let _held = hold(&cache)?;
            let now = SystemTime::now();
            let mut folders = Vec::new();
            for entry in fs::read_dir(&cache).map_err(fault)? {
                let entry = entry.map_err(fault)?;
                if !is_folder(&entry.path()) {
                    continue;
                }
                let used = entry.metadata().and_then(|m| m.modified()).unwrap_or(now);
                folders.push((used, folder_bytes(&entry.path()), entry.path()));
            }
            folders.sort();
            let mut left: u64 = folders.iter().map(|(_, bytes, _)| bytes).sum();
            for (used, bytes, path) in folders {
                let unfinished = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(BESIDE));
                if (left <= bytes_max && !unfinished) || now.duration_since(used).unwrap_or_default() < SPARED
                {
                    continue;
                }
                fs::remove_dir_all(&path).map_err(fault)?;
                left -= bytes;
            }
            Ok(left)
        })
        .await
    }

    /// The cache folder, made if it is not there.
    pub(super) async fn workshop(&self) -> Result<PathBuf> {
        let new = self.cache.join(format!("{BESIDE}{}", random_name()?));
        let made = tokio::fs::create_dir_all(&new).await;
        made.map_err(|source| Error::File { path: new.clone(), action: "make", source })?;
        Ok(new)
    }
}

pub(super) fn corrupt(version: &Version, file: &FileEntry, problem: &'static str, place: String) -> Error {
    Error::Corrupt { version: version.reference().to_string(), file: file.path.clone(), problem, place }
}

/// Whether a folder's file is the one that the manifest tells of.
pub(super) fn is_entry(folder: &Path, file: &FileEntry) -> bool {
    same_file(&folder.join(&file.path), file.bytes, &file.blake3)
}

/// Whether the folder holds exactly these files.
fn is_cached(folder: &Path, files: &[FileEntry]) -> bool {
    is_folder(folder) && scan(folder).is_ok_and(|found| found == files)
}

/// Keeps other processes from changing which folders the cache has, until the file is closed.
fn hold(cache: &Path) -> Result<File> {
    let path = cache.join(".lock");
    let opened = File::options().create(true).append(true).open(&path);
    let held = opened.and_then(|file| file.lock().map(|()| file));
    held.map_err(|source| Error::File { path, action: "lock", source })
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => folder_bytes(&entry.path()),
            _ => entry.metadata().map_or(0, |m| m.len()),
        })
        .sum()
}
