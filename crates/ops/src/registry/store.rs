//! Where the files of versions lie: a folder, or an S3-compatible store.
//!
//! A file is kept once, under its hash and the generation of its upload. Reading goes through `object_store`. Writing to
//! a folder does not: `object_store` 0.13 renames without fsync, and a version must never be visible in the database
//! before its files are on the disk; so a file is written beside its place, synced, renamed, and the folders are synced.

use super::blocking;
use super::manifest::hash_file;
use crate::error::{Error, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tradewind_core::ErrorKind;

/// Files up to this size go to S3 in one piece; parts of larger ones have it.
const PART_BYTES: u64 = 8 << 20;

/// Parts that S3 takes of one file at most.
const PARTS_MAX: u64 = 10_000;

/// How long one request to S3 is repeated while the store does not answer.
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRIES_MAX: usize = 5;

/// A place for the files of versions. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The folder, unless the store is S3.
    folder: Option<PathBuf>,
    prefix: Key,
    /// The place, for messages.
    place: String,
}

/// One kept file: its content, and which upload of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Blob {
    pub(super) hash: String,
    pub(super) generation: String,
}

/// What the store holds in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Sound,
    Missing,
    Damaged,
}

impl Store {
    /// Opens a folder (`/shop/registry`, `file:///shop/registry`), which is made if it is not there, or
    /// `s3://bucket/prefix`. For S3, endpoint, region and credentials are taken from the usual variables of the
    /// environment (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …); an endpoint
    /// without TLS needs `AWS_ALLOW_HTTP=true`.
    ///
    /// # Errors
    /// An address of another kind, a folder that cannot be made, settings of S3 that do not fit together.
    pub fn open(url: &str) -> Result<Self> {
        let variables =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::open_with(url, variables)
    }

    /// [`Store::open`] with these variables in place of the environment.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(url: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        match url.split_once("://") {
            Some(("s3", rest)) => Self::open_s3(rest, variables),
            Some(("file", path)) => Self::open_folder(Path::new(path)),
            None if !url.is_empty() => Self::open_folder(Path::new(url)),
            _ => Err(Error::asked(
                ErrorKind::InvalidParams,
                format!(
                    "{} is no place for a registry",
                    super::reference::shown(url.split('@').next_back().unwrap_or_default())
                ),
                "give a folder or s3://bucket/prefix",
            )),
        }
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let fault = |source| Error::File { path: folder.to_owned(), action: "make", source };
        fs::create_dir_all(folder).map_err(fault)?;
        let folder = fs::canonicalize(folder).map_err(fault)?;
        for inner in ["blobs", "incoming"] {
            make_folder(&folder.join(inner))?;
        }
        sync_folder(&folder)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        let place = folder.display().to_string();
        let objects =
            LocalFileSystem::new_with_prefix(&folder).map_err(|e| store_fault(&place, "open", &e))?;
        Ok(Self { objects: Arc::new(objects), folder: Some(folder), prefix: Key::default(), place })
    }

    fn open_s3(rest: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let wrong = |text: String, hint: &str| Error::asked(ErrorKind::InvalidParams, text, hint);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(wrong(
                "the address of the registry names no bucket".to_owned(),
                "write s3://bucket/prefix; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        }
        let place = format!("s3://{bucket}/{prefix}");
        let prefix = Key::parse(prefix.trim_matches('/')).map_err(|_| {
            wrong(format!("{place} has no plain prefix"), "use letters, digits, `-`, `_` and `/`")
        })?;
        let mut builder = AmazonS3Builder::new();
        let (mut endpoint, mut http) = (None, false);
        for (name, value) in variables {
            if !name.starts_with("AWS_") || value.is_empty() {
                continue;
            }
            match name.as_str() {
                "AWS_ENDPOINT" | "AWS_ENDPOINT_URL" | "AWS_ENDPOINT_URL_S3" => endpoint = Some(value.clone()),
                "AWS_ALLOW_HTTP" => http = value.eq_ignore_ascii_case("true") || value == "1",
                _ => {}
            }
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        if !http && endpoint.is_some_and(|e| e.starts_with("http://")) {
            return Err(wrong(
                format!("the endpoint of {place} is without TLS"),
                "use an https endpoint, or set AWS_ALLOW_HTTP=true where the way to it is safe",
            ));
        }
        let retry =
            RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
        let objects =
            builder.with_allow_http(http).with_bucket_name(bucket).with_retry(retry).build().map_err(
                |e| wrong(format!("{place}: {}", reason(&e)), "see the AWS_… variables of the environment"),
            )?;
        Ok(Self { objects: Arc::new(objects), folder: None, prefix, place })
    }

    /// The folder or address, without credentials.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The folder, unless the store is S3.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where a kept file lies, for messages.
    pub(super) fn place_of(&self, blob: &Blob) -> String {
        format!("{}/{}", self.place.trim_end_matches('/'), relative(blob))
    }

    /// Puts a file in its place and reads it back; what is there already is replaced.
    pub(super) async fn put(&self, blob: &Blob, bytes: u64, from: &Path) -> Result<()> {
        match &self.folder {
            Some(folder) => {
                let (folder, blob, from) = (folder.clone(), blob.clone(), from.to_owned());
                blocking(move || put_durably(&folder, &blob, bytes, &from)).await?;
            }
            None => self.put_s3(blob, bytes, from).await?,
        }
        match self.condition(blob, bytes).await? {
            Condition::Sound => Ok(()),
            _ => Err(changed(from)),
        }
    }

    async fn put_s3(&self, blob: &Blob, bytes: u64, from: &Path) -> Result<()> {
        let key = self.key(blob);
        if bytes <= PART_BYTES {
            let content = tokio::fs::read(from).await.map_err(|e| read_fault(from, e))?;
            return match self.objects.put(&key, PutPayload::from(Bytes::from(content))).await {
                Ok(_) => Ok(()),
                Err(e) => Err(self.fault("write to", &e)),
            };
        }
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX - 1));
        let mut upload = self.objects.put_multipart(&key).await.map_err(|e| self.fault("write to", &e))?;
        let sent: Result<()> = async {
            let mut file = File::open(from).map_err(|e| read_fault(from, e))?;
            loop {
                let mut part = Vec::new();
                let (back, path) = (file, from.to_owned());
                (file, part) = blocking(move || {
                    let mut file = back;
                    Read::by_ref(&mut file)
                        .take(part_bytes)
                        .read_to_end(&mut part)
                        .map_err(|e| read_fault(&path, e))?;
                    Ok((file, part))
                })
                .await?;
                if part.is_empty() {
                    break;
                }
                upload
                    .put_part(PutPayload::from(Bytes::from(part)))
                    .await
                    .map_err(|e| self.fault("write to", &e))?;
            }
            upload.complete().await.map_err(|e| self.fault("write to", &e))?;
            Ok(())
        }
        .await;
        if sent.is_err() {
            // Parts left behind cost money; the first error is the one that tells.
            let _ = upload.abort().await;
        }
        sent
    }

    /// Reads a kept file through and compares it with its name and size.
    pub(super) async fn condition(&self, blob: &Blob, bytes: u64) -> Result<Condition> {
        let mut hasher = blake3::Hasher::new();
        let mut left = bytes;
        let found = match self.objects.get(&self.key(blob)).await {
            Ok(found) if found.meta.size != bytes => return Ok(Condition::Damaged),
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Condition::Missing),
            Err(e) => return Err(self.fault("read", &e)),
        };
        let mut stream = found.into_stream();
        while let Some(piece) = stream.try_next().await.map_err(|e| self.fault("read", &e))? {
            let Some(rest) = left.checked_sub(piece.len() as u64) else { return Ok(Condition::Damaged) };
            left = rest;
            hasher.update(&piece);
        }
        let sound = left == 0 && hasher.finalize().to_hex().as_str() == blob.hash;
        Ok(if sound { Condition::Sound } else { Condition::Damaged })
    }

    /// Copies a kept file to `to`, which must not exist. What was written is what the hash tells of, or the answer is
    /// another condition.
    pub(super) async fn copy_to(&self, blob: &Blob, bytes: u64, to: &Path) -> Result<Condition> {
        let write_fault = |source| Error::File { path: to.to_owned(), action: "write", source };
        let found = match self.objects.get(&self.key(blob)).await {
            Ok(found) if found.meta.size != bytes => return Ok(Condition::Damaged),
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Condition::Missing),
            Err(e) => return Err(self.fault("read", &e)),
        };
        let mut file = tokio::fs::File::create_new(to).await.map_err(write_fault)?;
        let mut hasher = blake3::Hasher::new();
        let mut left = bytes;
        let mut stream = found.into_stream();
        while let Some(piece) = stream.try_next().await.map_err(|e| self.fault("read", &e))? {
            let Some(rest) = left.checked_sub(piece.len() as u64) else { return Ok(Condition::Damaged) };
            left = rest;
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(write_fault)?;
        }
        file.flush().await.map_err(write_fault)?;
        let sound = left == 0 && hasher.finalize().to_hex().as_str() == blob.hash;
        Ok(if sound { Condition::Sound } else { Condition::Damaged })
    }

    /// Removes a kept file; one that is not there is no fault.
    pub(super) async fn remove(&self, blob: &Blob) -> Result<()> {
        match self.objects.delete(&self.key(blob)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.fault("remove from", &e)),
        }
    }

    /// Every kept file that is named as one.
    pub(super) async fn blobs(&self) -> Result<Vec<Blob>> {
        let under = self.prefix.clone().join("blobs");
        let mut out = Vec::new();
        let mut listed = self.objects.list(Some(&under));
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(|e| self.fault("list", &e))?;
            if let Some((hash, generation)) = meta.location.filename().and_then(|name| name.split_once('-')) {
                out.push(Blob { hash: hash.to_owned(), generation: generation.to_owned() });
            }
        }
        Ok(out)
    }

    /// Removes what a writer that died left half written, if it is older than `grace`.
    pub(super) async fn clear_incoming(&self, grace: Duration) -> Result<()> {
        let Some(folder) = self.folder.as_deref().map(|f| f.join("incoming")) else { return Ok(()) };
        blocking(move || {
            let fault = |source| Error::File { path: folder.clone(), action: "read", source };
            for entry in fs::read_dir(&folder).map_err(fault)? {
                let entry = entry.map_err(fault)?;
                let age =
                    entry.metadata().and_then(|m| m.modified()).map(|m| SystemTime::now().duration_since(m));
                if matches!(age, Ok(Ok(age)) if age >= grace) {
                    // Its writer may be finishing it just now: then it is gone, or will write it anew.
                    let _ = fs::remove_file(entry.path());
                }
            }
            Ok(())
        })
        .await
    }

    fn key(&self, blob: &Blob) -> Key {
        relative(blob).split('/').fold(self.prefix.clone(), |key, part| key.join(part))
    }

    fn fault(&self, action: &'static str, error: &object_store::Error) -> Error {
        store_fault(&self.place, action, error)
    }
}

fn relative(blob: &Blob) -> String {
    format!("blobs/{}/{}-{}", &blob.hash[..2], blob.hash, blob.generation)
}

fn put_durably(folder: &Path, blob: &Blob, bytes: u64, from: &Path) -> Result<()> {
    let to = folder.join(relative(blob));
    let shelf = to.parent().unwrap_or(folder);
    make_folder(shelf)?;
    let incoming = folder.join("incoming").join(super::random_name()?);
    let fault = |source| Error::File { path: incoming.clone(), action: "write", source };
    let written = (|| {
        let mut source = File::open(from).map_err(|e| read_fault(from, e))?;
        let mut file = File::create_new(&incoming).map_err(fault)?;
        let mut buffer = vec![0; 256 << 10];
        let mut hasher = blake3::Hasher::new();
        let mut total = 0;
        loop {
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(read_fault(from, e)),
            };
            hasher.update(&buffer[..n]);
            total += n as u64;
            file.write_all(&buffer[..n]).map_err(fault)?;
        }
        if total != bytes || hasher.finalize().to_hex().as_str() != blob.hash {
            return Err(changed(from));
        }
        file.sync_all().map_err(fault)?;
        fs::rename(&incoming, &to).map_err(|source| Error::File {
            path: to.clone(),
            action: "write",
            source,
        })?;
        // The shelf may be new, made by us or by someone who died before syncing it.
        sync_folder(shelf)?;
        sync_folder(&folder.join("blobs"))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&incoming);
    }
    written
}

pub(super) fn make_folder(folder: &Path) -> Result<()> {
    match fs::create_dir(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::File { path: folder.to_owned(), action: "make", source: e })
        }
        _ => Ok(()),
    }
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    // Only Unix can open a folder as a file; elsewhere the rename itself is as durable as it gets.
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(|source| Error::File {
            path: folder.to_owned(),
            action: "sync",
            source,
        })?;
    }
    Ok(())
}

/// Whether a file on the disk is the one that the hash tells of.
pub(super) fn same_file(path: &Path, bytes: u64, hash: &str) -> bool {
    hash_file(path).is_ok_and(|found| found == (bytes, hash.to_owned()))
}

fn read_fault(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), action: "read", source }
}

fn changed(path: &Path) -> Error {
    Error::asked(
        ErrorKind::Conflict,
        format!("{} changed while it was stored", path.display()),
        "register the folder when nothing writes to it any more",
    )
}

fn store_fault(place: &str, action: &'static str, error: &object_store::Error) -> Error {
    Error::Store { place: place.to_owned(), action, reason: reason(error) }
}

/// Why, in one line. What a server answered goes no further than its first word: an answer may repeat the request.
fn reason(error: &object_store::Error) -> String {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => "it is not there".to_owned(),
        E::PermissionDenied { .. } => "the store refused (no permission)".to_owned(),
        E::Unauthenticated { .. } => "the store refused (no or wrong credentials)".to_owned(),
        E::Generic { source, .. } => {
            let mut last: &(dyn std::error::Error + 'static) = source.as_ref();
            while let Some(deeper) = last.source() {
                last = deeper;
            }
            let text = last.to_string();
            let text = text.split(['<', '\n']).next().unwrap_or_default().trim();
            text.chars().take(200).collect()
        }
        _ => "the store answered with an error".to_owned(),
    }
}
