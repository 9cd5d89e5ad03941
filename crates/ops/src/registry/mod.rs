//! The registry: versions of models that never change, what they are made of, and which of them is in production.
//!
//! ```text
//! register: hash ─→ announce (rows) ─→ upload, read back ─→ one transaction: number, manifest, files   (visible)
//! promote:  one transaction: alias, line of history                                                    (champion)
//! fetch:    alias ─→ version ─→ files from the store, each checked ─→ a local folder
//! ```
//!
//! A version's [`artifact hash`](Manifest::hash) stands for files, kind, parameters, seed, data and code: the same fit
//! has the same hash, and registering it again gives the version that is there.
//! Numbers of a model run from 1 without holes, whoever registers at the same time.
//! Aliases (`champion`, `challenger`, …) move by compare-and-set, and each move is a line of a history that is only added
//! to and is ordered by its sequence, not by clocks.
//!
//! A crash leaves either the whole version or files that nothing names, which [`Registry::collect_garbage`] removes.
//! What is refused: changing a version, files that are links, archives that are not exactly what their manifest says.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use tradewind_ops::registry::{Change, Expect, Kind, NewVersion, Registry, Store};
//! use tradewind_ops::{Clock, Database};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let fitted = dir.path().join("fitted");
//! std::fs::create_dir(&fitted).unwrap();
//! std::fs::write(fitted.join("model.json"), "{}").unwrap();
//!
//! let database = Database::open("sqlite::memory:", Clock::system()).await.unwrap();
//! let store = Store::open(dir.path().join("registry").to_str().unwrap()).unwrap();
//! let registry = Registry::open(database, store).await.unwrap();
//! let version = registry.register(NewVersion::new("weekly", Kind::Trends), &fitted).await.unwrap();
//! assert_eq!(version.number, 1);
//!
//! let change = Change::new("ann", "better on the last four weeks");
//! registry.promote(&version.reference(), "champion", Expect::Nobody, &change).await.unwrap();
//! let champion = registry.version(&"weekly@champion".parse().unwrap()).await.unwrap();
//! let folder = registry.fetch(&champion).await.unwrap();
//! assert!(folder.join("model.json").is_file());
//! # });
//! ```

mod bundle;
mod cache;
mod catalogue;
mod check;
mod compare;
mod garbage;
mod manifest;
mod promotion;
mod reference;
mod register;
mod store;

pub use bundle::{IMPORT_BYTES_MAX, ImportSettings};
pub use catalogue::{Listed, ModelSummary, Notes, Page, VersionFilter};
pub use check::{Finding, Report};
pub use compare::{Comparison, FileDifference, MetricDifference, ParamDifference};
pub use garbage::Collected;
pub use manifest::{
    FILES_MAX, FORMAT, FileEntry, Kind, Lineage, MANIFEST_BYTES_MAX, Manifest, PATH_CHARS_MAX,
};
pub use promotion::{Alias, Change, Expect, Move, Promotion};
pub use reference::{CHAMPION, Reference, Select};
pub use register::NewVersion;
pub use store::Store;

pub(crate) use catalogue::end;
pub(crate) use promotion::may_answer;
pub(crate) use reference::shown;

use crate::error::{Error, Result};
use crate::state::{Database, Migration};
use sqlx::any::AnyArguments;
use sqlx::any::AnyRow;
use sqlx::query::{Query, QueryAs};
use sqlx::{Any, AnyConnection, AssertSqlSafe, FromRow};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tradewind_core::ErrorKind;

/// The registry's tables.
pub(crate) const MIGRATION: Migration = Migration {
    name: "registry",
    statements: &[
        // The row of a model is what changes of that model wait for.
        "CREATE TABLE IF NOT EXISTS registry_models (
            name {key} NOT NULL PRIMARY KEY,
            last_number BIGINT NOT NULL,
            last_sequence BIGINT NOT NULL,
            created_ms BIGINT NOT NULL
        )",
        // `repeated` is 0, or the number where the same artifact was wanted once more.
        "CREATE TABLE IF NOT EXISTS registry_versions (
            model {key} NOT NULL,
            number BIGINT NOT NULL,
            kind {key} NOT NULL,
            artifact_hash {key} NOT NULL,
            repeated BIGINT NOT NULL,
            manifest {text} NOT NULL,
            created_ms BIGINT NOT NULL,
            created_by {key} NOT NULL,
            archived_ms BIGINT NOT NULL,
            tags {text} NOT NULL,
            notes {text} NOT NULL,
            PRIMARY KEY (model, number),
            UNIQUE (model, artifact_hash, repeated)
        )",
        // A kept file. `refs` counts the versions that name it, `uses` every touch; `doomed` is 1 once it is being
        // removed, and never turns back.
        "CREATE TABLE IF NOT EXISTS registry_blobs (
            hash {key} NOT NULL,
            generation {key} NOT NULL,
            bytes BIGINT NOT NULL,
            refs BIGINT NOT NULL,
            uses BIGINT NOT NULL,
            touched_ms BIGINT NOT NULL,
            doomed BIGINT NOT NULL,
            PRIMARY KEY (hash, generation)
        )",
        "CREATE TABLE IF NOT EXISTS registry_files (
            model {key} NOT NULL,
            number BIGINT NOT NULL,
            hash {key} NOT NULL,
            generation {key} NOT NULL,
            PRIMARY KEY (model, number, hash)
        )",
        "CREATE TABLE IF NOT EXISTS registry_aliases (
            model {key} NOT NULL,
            alias {key} NOT NULL,
            number BIGINT NOT NULL,
            sequence BIGINT NOT NULL,
            PRIMARY KEY (model, alias)
        )",
        // Only added to. Numbers are 0 where there was or is no version.
        "CREATE TABLE IF NOT EXISTS registry_promotions (
            model {key} NOT NULL,
            sequence BIGINT NOT NULL,
            alias {key} NOT NULL,
            kind {key} NOT NULL,
            from_number BIGINT NOT NULL,
            to_number BIGINT NOT NULL,
            actor {key} NOT NULL,
            role {key} NOT NULL,
            approval {text} NOT NULL,
            reason {text} NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (model, sequence)
        )",
    ],
};

/// How often a transaction is begun again that the database gave up because another went first.
const ATTEMPTS_MAX: u32 = 8;

/// Versions, aliases and their history. Clones share everything.
#[derive(Clone, Debug)]
pub struct Registry {
    database: Database,
    store: Store,
    cache: PathBuf,
}

/// A registered version.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The model's name.
    pub name: String,
    /// The version's number, from 1 on.
    pub number: u64,
    /// What it answers.
    pub kind: Kind,
    /// What stands for the artifact; see [`Manifest::hash`].
    pub artifact_hash: String,
    /// What it is made of.
    pub manifest: Manifest,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: i64,
    /// Who registered it.
    pub created_by: String,
    /// When it was archived, if it is.
    pub archived_ms: Option<i64>,
    /// Labels, which may change.
    pub tags: BTreeMap<String, String>,
    /// Remarks, which may change.
    pub notes: String,
}

impl Version {
    /// The reference by number.
    pub fn reference(&self) -> Reference {
        Reference::number(&self.name, self.number)
            .unwrap_or_else(|_| unreachable!("a registered name is a name"))
    }
}

impl Registry {
    /// Opens the registry of a database and a store. Folders of fetched versions are kept beside the files of a local
    /// store, else in the user's cache folder.
    ///
    /// # Errors
    /// A cache folder that cannot be made.
    pub async fn open(database: Database, store: Store) -> Result<Self> {
        let cache = match store.folder() {
            Some(folder) => folder.join("cache"),
            None => user_cache()?,
        };
        Ok(Self { database, store, cache })
    }

    /// The same registry with another folder for fetched versions. It is made at the first fetch; several processes may
    /// share it.
    #[must_use]
    pub fn with_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = folder.into();
        self
    }

    /// The database under it.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The store of its files.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn statement(&self, text: &'static str) -> Query<'static, Any, AnyArguments> {
        statement(&self.database, text)
    }

    fn select<T: for<'r> FromRow<'r, AnyRow>>(
        &self,
        text: &'static str,
    ) -> QueryAs<'static, Any, T, AnyArguments> {
        select(&self.database, text)
    }

    /// Makes other changes of this model wait until the transaction ends. False: there is no such model.
    async fn hold(&self, connection: &mut AnyConnection, model: &str) -> Result<bool> {
        hold(&self.database, connection, model).await
    }
}

/// A statement as the database wants it.
pub(crate) fn statement(database: &Database, text: &'static str) -> Query<'static, Any, AnyArguments> {
    sqlx::query(AssertSqlSafe(database.sql(text).into_owned()))
}

/// A question as the database wants it.
pub(crate) fn select<T: for<'r> FromRow<'r, AnyRow>>(
    database: &Database,
    text: &'static str,
) -> QueryAs<'static, Any, T, AnyArguments> {
    sqlx::query_as(AssertSqlSafe(database.sql(text).into_owned()))
}

/// Locks the row of a model. False: there is no such model.
pub(crate) async fn hold(database: &Database, connection: &mut AnyConnection, model: &str) -> Result<bool> {
    let held = statement(
        database,
        "UPDATE registry_models SET last_number = last_number WHERE name = ? AND last_number > 0",
    )
    .bind(model.to_owned())
    .execute(connection)
    .await
    .map_err(database.fault("waiting for a model"))?;
    Ok(held.rows_affected() > 0)
}

/// Whether the database gave a transaction up for another one: beginning it again is right.
pub(crate) fn gave_way(error: &Error) -> bool {
    let Error::Database { source, .. } = error else { return false };
    let Some(fault) = source.as_database_error() else { return false };
    // PostgreSQL: serialization, deadlock; MySQL: deadlock (as SQL state); SQLite: busy, locked.
    fault
        .code()
        .is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01" | "1213" | "1020" | "5" | "6" | "517"))
}

/// Whether two made the same row at once: the second begins again and finds it.
pub(crate) fn is_taken(error: &Error) -> bool {
    let Error::Database { source, .. } = error else { return false };
    source.as_database_error().is_some_and(|e| e.is_unique_violation())
}

/// A wait before beginning again, longer each time and not the same for all.
pub(crate) async fn breathe(attempt: u32) -> Result<()> {
    let mut random = [0_u8; 1];
    fill_random(&mut random)?;
    tokio::time::sleep(Duration::from_millis((5 << attempt.min(6)) + u64::from(random[0]) / 8)).await;
    Ok(())
}

/// Runs work that waits for disks where it does not hold up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Error::asked(
            ErrorKind::Internal,
            format!("reading or writing files stopped: {e}"),
            "report this as a bug",
        ))
    })
}

/// A name that nobody else has.
pub(crate) fn random_name() -> Result<String> {
    let mut random = [0_u8; 12];
    fill_random(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn fill_random(out: &mut [u8]) -> Result<()> {
    getrandom::fill(out).map_err(|e| {
        Error::asked(
            ErrorKind::Unavailable,
            format!("the system gives no random numbers: {e}"),
            "see whether /dev/urandom can be read",
        )
    })
}

/// The folder for fetched versions where the store is no folder.
fn user_cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    // Without a home, a folder that nobody else could have prepared.
    base.map_or_else(
        || Ok(std::env::temp_dir().join(format!("tradewind-registry-{}", random_name()?))),
        |base| Ok(base.join("tradewind").join("registry")),
    )
}

/// The error of a model or version that is not there.
pub(crate) fn absent(reference: &Reference) -> Error {
    Error::asked(
        ErrorKind::NotFound,
        format!("there is no version {reference}"),
        "look at the registry's list of models, versions and aliases",
    )
}

fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}
