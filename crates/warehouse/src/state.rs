//! The shop's state: which imports there are and which Parquet files they brought, and planners' overrides (see
//! [`crate::overrides`]), in one SQLite file.
//!
//! A Parquet file is part of the shop exactly when a row of `parts` names it. The rows of an import are inserted in one
//! transaction, so that an import is visible whole or not at all.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row, SqlitePool};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The newest format of a shop folder that this crate reads, and the one it writes.
pub(crate) const FORMAT: i64 = 2;

/// How long a statement waits for another process that is writing.
const BUSY_WAIT: Duration = Duration::from_secs(30);

static MIGRATIONS: Migrator = sqlx::migrate!();

/// A Parquet file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its path, relative to the shop, with `/` between names.
    pub path: String,
    /// The import that brought it.
    pub import_id: i64,
    /// The table.
    pub table: String,
    /// The schema version of the table when it was written.
    pub schema_version: u32,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The earliest time in milliseconds since 1970, if the table has a column of time.
    pub ds_min_ms: Option<i64>,
    /// The latest time.
    pub ds_max_ms: Option<i64>,
    /// BLAKE3 of the file, in hex.
    pub blake3: String,
}

/// Rows that an import brought to a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCount {
    /// The table.
    pub table: String,
    /// The rows.
    pub rows: u64,
}

/// An import that is in the shop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportRecord {
    /// Its number; later imports have larger ones, and numbers are not used again.
    pub id: i64,
    /// What was imported, as people call it: a file or folder.
    pub name: String,
    /// The preset or mapping that was used.
    pub preset: String,
    /// The fingerprint of the source's content.
    pub fingerprint: String,
    /// When it ended, in milliseconds since 1970, UTC.
    pub finished_ms: i64,
    /// Rows by table.
    pub tables: Vec<TableCount>,
    /// What the importer said about it: counts, rejects by reason, encodings.
    pub summary: serde_json::Value,
}

/// A row of `imports` to be published.
pub(crate) struct NewImport<'a> {
    pub(crate) id: i64,
    pub(crate) identity: &'a str,
    pub(crate) name: &'a str,
    pub(crate) preset: &'a str,
    pub(crate) fingerprint: &'a str,
    pub(crate) finished_ms: i64,
    pub(crate) summary: &'a serde_json::Value,
}

pub(crate) struct State {
    path: PathBuf,
    pool: SqlitePool,
}

impl State {
    /// Opens the database; `create` makes it when it is not there. Older formats are brought to [`FORMAT`].
    pub(crate) async fn open(path: &Path, create: bool) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .foreign_keys(true)
            // One file without a log beside it: a copied folder is a moved shop, whenever it is copied.
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Extra)
            .busy_timeout(BUSY_WAIT);
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(BUSY_WAIT)
            .connect_with(options)
            .await
            .map_err(Error::state(path, "opening the shop's state"))?;
        let this = Self { path: path.to_owned(), pool };
        let found: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&this.pool)
            .await
            .map_err(this.fault("reading the format"))?;
        if found > FORMAT {
            let what = "the shop".to_owned();
            return Err(Error::NewerFormat { path: this.path, what, found, known: FORMAT });
        }
        if found < FORMAT {
            MIGRATIONS.run(&this.pool).await.map_err(|e| {
                this.fault("bringing the shop to the current format")(sqlx::Error::Migrate(Box::new(e)))
            })?;
        }
        Ok(this)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn imports(&self) -> Result<Vec<ImportRecord>> {
        // One statement is one snapshot: an import is never seen without its parts.
        let rows = sqlx::query(
            "SELECT i.id, i.name, i.preset, i.fingerprint, i.finished_ms, i.summary, p.table_name, \
             CAST(coalesce(sum(p.n_rows), 0) AS INTEGER) AS n_rows \
             FROM imports i LEFT JOIN parts p ON p.import_id = i.id \
             GROUP BY i.id, p.table_name ORDER BY i.id, p.table_name",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(self.fault("listing imports"))?;
        let mut out: Vec<ImportRecord> = vec![];
        for row in rows {
            let id: i64 = self.get(&row, "id")?;
            if out.last().is_none_or(|r| r.id != id) {
                let summary: String = self.get(&row, "summary")?;
                let summary = serde_json::from_str(&summary).map_err(|e| Error::StateContent {
                    path: self.path.clone(),
                    message: format!("the summary of import {id} is no JSON: {e}"),
                })?;
                out.push(ImportRecord {
                    id,
                    name: self.get(&row, "name")?,
                    preset: self.get(&row, "preset")?,
                    fingerprint: self.get(&row, "fingerprint")?,
                    finished_ms: self.get(&row, "finished_ms")?,
                    tables: vec![],
                    summary,
                });
            }
            let table: Option<String> = self.get(&row, "table_name")?;
            if let (Some(table), Some(record)) = (table, out.last_mut()) {
                record.tables.push(TableCount { table, rows: self.count(&row, "n_rows")? });
            }
        }
        Ok(out)
    }

    pub(crate) async fn import_with(&self, identity: &str) -> Result<Option<ImportRecord>> {
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM imports WHERE identity = ?")
            .bind(identity)
            .fetch_optional(&self.pool)
            .await
            .map_err(self.fault("looking up an import"))?;
        let Some(id) = id else { return Ok(None) };
        Ok(self.imports().await?.into_iter().find(|r| r.id == id))
    }

    pub(crate) async fn parts(&self) -> Result<Vec<Part>> {
        let rows = sqlx::query("SELECT * FROM parts ORDER BY import_id, path")
            .fetch_all(&self.pool)
            .await
            .map_err(self.fault("listing parts"))?;
        rows.iter()
            .map(|row| {
                Ok(Part {
                    path: self.get(row, "path")?,
                    import_id: self.get(row, "import_id")?,
                    table: self.get(row, "table_name")?,
                    schema_version: self.get(row, "schema_version")?,
                    rows: self.count(row, "n_rows")?,
                    bytes: self.count(row, "n_bytes")?,
                    ds_min_ms: self.get(row, "ds_min_ms")?,
                    ds_max_ms: self.get(row, "ds_max_ms")?,
                    blake3: self.get(row, "blake3")?,
                })
            })
            .collect()
    }

    /// The number that the next import gets. Whoever asks holds the import lock.
    pub(crate) async fn next_id(&self) -> Result<i64> {
        let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'imports'")
            .fetch_optional(&self.pool)
            .await
            .map_err(self.fault("numbering an import"))?;
        Ok(last.unwrap_or(0) + 1)
    }

    /// Makes an import and its parts visible, in one transaction.
    pub(crate) async fn publish(&self, import: &NewImport<'_>, parts: &[Part]) -> Result<()> {
        let fault = || self.fault("recording an import");
        let mut tx = self.pool.begin().await.map_err(fault())?;
        sqlx::query(
            "INSERT INTO imports (id, identity, name, preset, fingerprint, finished_ms, summary) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(import.id)
        .bind(import.identity)
        .bind(import.name)
        .bind(import.preset)
        .bind(import.fingerprint)
        .bind(import.finished_ms)
        .bind(import.summary.to_string())
        .execute(&mut *tx)
        .await
        .map_err(fault())?;
        for p in parts {
            sqlx::query(
                "INSERT INTO parts (path, import_id, table_name, schema_version, n_rows, n_bytes, ds_min_ms, \
                 ds_max_ms, blake3) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&p.path)
            .bind(p.import_id)
            .bind(&p.table)
            .bind(p.schema_version)
            .bind(i64::try_from(p.rows).unwrap_or(i64::MAX))
            .bind(i64::try_from(p.bytes).unwrap_or(i64::MAX))
            .bind(p.ds_min_ms)
            .bind(p.ds_max_ms)
            .bind(&p.blake3)
            .execute(&mut *tx)
            .await
            .map_err(fault())?;
        }
        tx.commit().await.map_err(fault())
    }

    /// Takes an import out; answers whether it was there.
    pub(crate) async fn remove(&self, id: i64) -> Result<bool> {
        let done = sqlx::query("DELETE FROM imports WHERE id = ?")
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(self.fault("removing an import"))?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(crate) fn fault(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        Error::state(&self.path, action)
    }

    pub(crate) fn get<'r, T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
        &self,
        row: &'r SqliteRow,
        column: &'static str,
    ) -> Result<T> {
        row.try_get(column).map_err(self.fault("reading the shop's state"))
    }

    fn count(&self, row: &SqliteRow, column: &'static str) -> Result<u64> {
        let n: i64 = self.get(row, column)?;
        u64::try_from(n).map_err(|_| Error::StateContent {
            path: self.path.clone(),
            message: format!("column `{column}` holds {n}, which is no count"),
        })
    }
}
