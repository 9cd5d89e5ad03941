//! Registering: files first, then one transaction that makes the version visible.

use super::manifest::{FORMAT, FileEntry, Kind, Lineage, MANIFEST_BYTES_MAX, Manifest, scan};
use super::store::{Blob, Condition};
use super::{ATTEMPTS_MAX, Registry, Version, blocking, breathe, catalogue, gave_way, random_name};
use crate::error::{Error, Result};
use serde_json::Value;
use sqlx::AnyConnection;
use std::collections::BTreeMap;
use std::path::Path;
use tradewind_core::ErrorKind;

/// What is known of a version before it is registered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewVersion {
    /// The model's name: `[a-z][a-z0-9_.-]*`, 100 characters at most.
    pub name: String,
    /// What it answers.
    pub kind: Kind,
    /// The fingerprint of the data that it was fitted on.
    pub data_fingerprint: String,
    /// The parameters that it was fitted with.
    pub params: Value,
    /// The seed of its run.
    pub seed: u64,
    /// How well it did, by measure; all finite.
    pub metrics: BTreeMap<String, f64>,
    /// The version of the program that made it.
    pub code_version: String,
    /// Where it comes from.
    pub lineage: Lineage,
    /// Labels; no part of what the version is.
    pub tags: BTreeMap<String, String>,
    /// Remarks; no part of what the version is.
    pub notes: String,
    /// Who registers it.
    pub created_by: String,
    /// Whether an artifact that is registered already becomes another version.
    pub repeat: bool,
}

impl NewVersion {
    /// A version of this program, without parameters, metrics and lineage.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            data_fingerprint: String::new(),
            params: Value::Object(serde_json::Map::new()),
            seed: 0,
            metrics: BTreeMap::new(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            lineage: Lineage::default(),
            tags: BTreeMap::new(),
            notes: String::new(),
            created_by: String::new(),
            repeat: false,
        }
    }
}

enum Published {
    Version(Box<Version>),
    /// A file was collected as garbage while others were on their way.
    Collected,
}

impl Registry {
    /// Registers the files of `dir` as the next version of a model and answers once it is durable and visible. The same
    /// artifact again gives the version that is there, its files mended if the store lost or damaged some.
    ///
    /// # Errors
    /// A name, path, tag or metric outside its range, an empty folder, files that change meanwhile, a store or database
    /// that does not answer. Nothing is visible then.
    pub async fn register(&self, new: NewVersion, dir: &Path) -> Result<Version> {
        catalogue::check_tags(&new.tags)?;
        catalogue::check_notes(&new.notes)?;
        catalogue::check_actor(&new.created_by)?;
        let folder = dir.to_owned();
        let files = blocking(move || scan(&folder)).await?;
        let mut manifest = Manifest {
            format: FORMAT,
            name: new.name,
            number: 0,
            kind: new.kind,
            artifact_hash: String::new(),
            data_fingerprint: new.data_fingerprint,
            params: new.params,
            seed: new.seed,
            metrics: new.metrics,
            code_version: new.code_version,
            lineage: new.lineage,
            files,
        };
        manifest.check()?;
        manifest.artifact_hash = manifest.hash();
        let size = json(&manifest)?.len();
        if size > MANIFEST_BYTES_MAX {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!("the manifest of {} takes {size} bytes", manifest.name),
                format!("keep parameters, metrics and the list of files under {MANIFEST_BYTES_MAX} bytes"),
            ));
        }
        let version = Version {
            name: manifest.name.clone(),
            number: 0,
            kind: manifest.kind,
            artifact_hash: manifest.artifact_hash.clone(),
            manifest,
            created_ms: 0,
            created_by: new.created_by,
            archived_ms: None,
            tags: new.tags,
            notes: new.notes,
        };
        if !new.repeat
            && let Some(number) = self.identical(&version).await?
        {
            let found = self.numbered(&version.name, number).await?;
            self.mend(&found, dir).await?;
            return Ok(found);
        }
        self.ensure_model(&version.name).await?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let published = match self.announce(&version.manifest.files).await {
                Ok(blobs) => {
                    for (hash, blob) in &blobs {
                        self.upload(blob, entry(&version.manifest.files, hash), dir).await?;
                    }
                    self.publish(&version, &blobs, new.repeat).await
                }
                Err(e) => Err(e),
            };
            match published {
                Ok(Published::Version(version)) => {
                    tracing::info!(version = %version.reference(), artifact = version.artifact_hash, "registered");
                    return Ok(*version);
                }
                Ok(Published::Collected) if attempt < ATTEMPTS_MAX => {}
                Err(e) if gave_way(&e) && attempt < ATTEMPTS_MAX => breathe(attempt).await?,
                Ok(Published::Collected) => {
                    return Err(Error::asked(
                        ErrorKind::Conflict,
                        format!("files of {} were collected as garbage while they were stored", version.name),
                        "let garbage collection spare files for longer than the storing takes",
                    ));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// The number of the version of this model with the same artifact.
    async fn identical(&self, version: &Version) -> Result<Option<u64>> {
        let found: Option<(i64,)> = self
            .select(
                "SELECT number FROM registry_versions WHERE model = ? AND artifact_hash = ? ORDER BY number LIMIT 1",
            )
            .bind(version.name.clone())
            .bind(version.artifact_hash.clone())
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("looking for the same artifact"))?;
        Ok(found.map(|(number,)| number as u64))
    }

    /// Puts back those files of a version that the store lost or damaged.
    async fn mend(&self, version: &Version, dir: &Path) -> Result<()> {
        for (hash, blob) in self.blobs_of(version).await? {
            self.upload(&blob, entry(&version.manifest.files, &hash), dir).await?;
        }
        Ok(())
    }

    async fn upload(&self, blob: &Blob, file: Option<&FileEntry>, dir: &Path) -> Result<()> {
        let Some(file) = file else {
            return Err(self.database.content(format!("the file {} belongs to no version", blob.hash)));
        };
        match self.store.condition(blob, file.bytes).await? {
            Condition::Sound => Ok(()),
            Condition::Missing | Condition::Damaged => {
                self.store.put(blob, file.bytes, &dir.join(&file.path)).await
            }
        }
    }

    /// The row of the model, from which numbers are taken. Without versions it is not seen.
    async fn ensure_model(&self, name: &str) -> Result<()> {
        let fault = self.database.fault("making room for a model");
        let found: Option<(i64,)> = self
            .select("SELECT last_number FROM registry_models WHERE name = ?")
            .bind(name.to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(&fault)?;
        if found.is_some() {
            return Ok(());
        }
        let added = self
            .statement("INSERT INTO registry_models (name, last_number, last_sequence, created_ms) VALUES (?, 0, 0, ?)")
            .bind(name.to_owned())
            .bind(self.database.now_ms())
            .execute(self.database.pool())
            .await;
        match added {
            // Somebody else was first.
            Err(e) if e.as_database_error().is_some_and(|e| e.is_unique_violation()) => Ok(()),
            added => added.map(drop).map_err(fault),
        }
    }

    /// Writes down which files will come, before they come: a crash leaves rows by which they are found again.
    async fn announce(&self, files: &[FileEntry]) -> Result<BTreeMap<String, Blob>> {
        let sizes: BTreeMap<&str, u64> = files.iter().map(|f| (f.blake3.as_str(), f.bytes)).collect();
        let fault = self.database.fault("announcing files");
        let mut transaction = self.database.begin().await?;
        let mut out = BTreeMap::new();
        for (hash, bytes) in sizes {
            let kept: Option<(String,)> = self
                .select(
                    "SELECT generation FROM registry_blobs WHERE hash = ? AND doomed = 0 ORDER BY generation LIMIT 1",
                )
                .bind(hash.to_owned())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(&fault)?;
            if let Some((generation,)) = kept {
                let blob = Blob { hash: hash.to_owned(), generation };
                if self.touch(&mut transaction, &blob, false).await? {
                    out.insert(hash.to_owned(), blob);
                    continue;
                }
            }
            let blob = Blob { hash: hash.to_owned(), generation: random_name()? };
            self.statement(
                "INSERT INTO registry_blobs (hash, generation, bytes, refs, uses, touched_ms, doomed)
                 VALUES (?, ?, ?, 0, 1, ?, 0)",
            )
            .bind(blob.hash.clone())
            .bind(blob.generation.clone())
            .bind(bytes as i64)
            .bind(self.database.now_ms())
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
            out.insert(hash.to_owned(), blob);
        }
        transaction.commit().await.map_err(&fault)?;
        Ok(out)
    }

    /// Notes that a file is wanted, and counts the version that names it. False: it is being removed.
    async fn touch(&self, connection: &mut AnyConnection, blob: &Blob, named: bool) -> Result<bool> {
        let done = self
            .statement(
                "UPDATE registry_blobs SET uses = uses + 1, refs = refs + ?, touched_ms = ?
                 WHERE hash = ? AND generation = ? AND doomed = 0",
            )
            .bind(i64::from(named))
            .bind(self.database.now_ms())
            .bind(blob.hash.clone())
            .bind(blob.generation.clone())
            .execute(connection)
            .await
            .map_err(self.database.fault("noting a file"))?;
        Ok(done.rows_affected() > 0)
    }

    async fn publish(
        &self,
        version: &Version,
        blobs: &BTreeMap<String, Blob>,
        repeat: bool,
    ) -> Result<Published> {
        let mut transaction = self.database.begin().await?;
        match self.publish_in(&mut transaction, version, blobs, repeat).await {
            Ok(Some(published)) => {
                transaction.commit().await.map_err(self.database.fault("registering a version"))?;
                Ok(Published::Version(Box::new(published)))
            }
            Ok(None) => {
                transaction.rollback().await.map_err(self.database.fault("registering a version"))?;
                // Either another process registered the same artifact meanwhile, or a file was collected.
                match self.identical(version).await? {
                    Some(number) if !repeat => {
                        Ok(Published::Version(Box::new(self.numbered(&version.name, number).await?)))
                    }
                    _ => Ok(Published::Collected),
                }
            }
            Err(e) => {
                let _ = transaction.rollback().await;
                Err(e)
            }
        }
    }

    async fn publish_in(
        &self,
        connection: &mut AnyConnection,
        version: &Version,
        blobs: &BTreeMap<String, Blob>,
        repeat: bool,
    ) -> Result<Option<Version>> {
        let fault = self.database.fault("registering a version");
        self.statement("UPDATE registry_models SET last_number = last_number + 1 WHERE name = ?")
            .bind(version.name.clone())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let (number,): (i64,) = self
            .select("SELECT last_number FROM registry_models WHERE name = ?")
            .bind(version.name.clone())
            .fetch_one(&mut *connection)
            .await
            .map_err(&fault)?;
        let known: Option<(i64,)> = self
            .select(
                "SELECT number FROM registry_versions WHERE model = ? AND artifact_hash = ? AND repeated = 0",
            )
            .bind(version.name.clone())
            .bind(version.artifact_hash.clone())
            .fetch_optional(&mut *connection)
            .await
            .map_err(&fault)?;
        if known.is_some() && !repeat {
            return Ok(None);
        }
        for blob in blobs.values() {
            if !self.touch(connection, blob, true).await? {
                return Ok(None);
            }
        }
        let mut out = version.clone();
        out.number = number as u64;
        out.manifest.number = out.number;
        out.created_ms = self.database.now_ms();
        self.statement(
            "INSERT INTO registry_versions
             (model, number, kind, artifact_hash, repeated, manifest, created_ms, created_by, archived_ms, tags, notes)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        )
        .bind(out.name.clone())
        .bind(number)
        .bind(out.kind.name())
        .bind(out.artifact_hash.clone())
        .bind(if known.is_some() { number } else { 0 })
        .bind(json(&out.manifest)?)
        .bind(out.created_ms)
        .bind(out.created_by.clone())
        .bind(json(&out.tags)?)
        .bind(out.notes.clone())
        .execute(&mut *connection)
        .await
        .map_err(&fault)?;
        for blob in blobs.values() {
            self.statement(
                "INSERT INTO registry_files (model, number, hash, generation) VALUES (?, ?, ?, ?)",
            )
            .bind(out.name.clone())
            .bind(number)
            .bind(blob.hash.clone())
            .bind(blob.generation.clone())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        }
        Ok(Some(out))
    }

    /// The kept files of a version, by hash.
    pub(super) async fn blobs_of(&self, version: &Version) -> Result<BTreeMap<String, Blob>> {
        let rows: Vec<(String, String)> = self
            .select("SELECT hash, generation FROM registry_files WHERE model = ? AND number = ?")
            .bind(version.name.clone())
            .bind(version.number as i64)
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading the files of a version"))?;
        Ok(rows.into_iter().map(|(hash, generation)| (hash.clone(), Blob { hash, generation })).collect())
    }
}

fn entry<'a>(files: &'a [FileEntry], hash: &str) -> Option<&'a FileEntry> {
    files.iter().find(|file| file.blake3 == hash)
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| {
        Error::asked(ErrorKind::Internal, format!("a value is no JSON: {e}"), "report this as a bug")
    })
}
