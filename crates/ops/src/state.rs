//! One database for everything that is not data of the shop: SQLite in the shop's folder, or PostgreSQL or MySQL
//! (MariaDB) by one line of settings.
//!
//! Statements are written once, in the SQL that the three have in common, with `?` for values; [`Database::sql`] gives
//! the text that the dialect wants. Times are milliseconds since 1970 in `BIGINT`, documents are JSON in text columns,
//! keys are text of at most 191 characters. Whoever needs tables adds a [`Migration`] to the list in this file.

use crate::clock::Clock;
use crate::error::{Error, Result};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Transaction};
use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

/// How long a statement waits for a connection, or for another writer of SQLite.
const WAIT: Duration = Duration::from_secs(30);

/// Connections to PostgreSQL or MySQL at most.
const CONNECTIONS_MAX: u32 = 8;

/// A step of the tables' format. Statements may use `{text}` for a long text, `{bytes}` for bytes and `{key}` for a text
/// that is a key; each statement can be run again after a fault in the middle (`CREATE … IF NOT EXISTS`), since MySQL
/// ends the transaction at every change of tables.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// What it brings, for the error that tells of a fault in it.
    pub name: &'static str,
    /// Its statements, in order.
    pub statements: &'static [&'static str],
}

/// Every step, in order; never changed once released, only added to. The format is their number.
const MIGRATIONS: &[Migration] = &[
    crate::registry::MIGRATION,
    crate::traffic::MIGRATION,
    crate::access::MIGRATION,
    crate::jobs::MIGRATION,
    crate::experiment::MIGRATION,
    crate::monitor::alerts::MIGRATION,
];

/// What the three databases call things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One file, in the shop's folder.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
}

impl Dialect {
    /// The name that people know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
        }
    }

    fn of(url: &str) -> Option<Self> {
        match url.split(':').next()? {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::Mysql),
            _ => None,
        }
    }

    fn lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_lock(7308332183)"),
            // Such a lock is the server's, so the name is the database's.
            Self::Mysql => Some("SELECT GET_LOCK(concat('tradewind-', database()), 60)"),
        }
    }

    fn unlock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_unlock(7308332183)"),
            Self::Mysql => Some("SELECT RELEASE_LOCK(concat('tradewind-', database()))"),
        }
    }

    fn columns(self, statement: &str) -> String {
        let (text, bytes, key) = match self {
            Self::Sqlite => ("TEXT", "BLOB", "TEXT"),
            Self::Postgres => ("TEXT", "BYTEA", "VARCHAR(191)"),
            Self::Mysql => (
                "LONGTEXT CHARACTER SET utf8mb4",
                "LONGBLOB",
                "VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            ),
        };
        statement.replace("{text}", text).replace("{bytes}", bytes).replace("{key}", key)
    }
}

/// The shared state. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
    /// The place, without user and password.
    place: String,
    clock: Clock,
}

impl Database {
    /// Opens `sqlite:PATH`, `sqlite::memory:`, `postgres://…` or `mysql://…` and brings its tables to the current format.
    ///
    /// # Errors
    /// An unknown kind of address, a database that does not answer, tables of a newer version.
    pub async fn open(url: &str, clock: Clock) -> Result<Self> {
        let place = place(url);
        let Some(dialect) = Dialect::of(url) else {
            return Err(Error::asked(
                tradewind_core::ErrorKind::InvalidParams,
                format!("{place} is no address of a database"),
                "begin it with sqlite:, postgres:// or mysql://",
            ));
        };
        sqlx::any::install_default_drivers();
        let url = match dialect {
            Dialect::Sqlite if !url.contains('?') && url != "sqlite::memory:" => format!("{url}?mode=rwc"),
            _ => url.replacen("mariadb:", "mysql:", 1),
        };
        let fault = |action| fault(&place, action);
        let options = AnyConnectOptions::from_str(&url)
            .map_err(fault("reading its address"))?
            // Statements may hold what people typed; they are not for a log.
            .disable_statement_logging();
        // A file of SQLite has one writer: one connection queues writers fairly, where several would collide.
        let connections = if dialect == Dialect::Sqlite { 1 } else { CONNECTIONS_MAX };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .min_connections(u32::from(dialect == Dialect::Sqlite))
            .idle_timeout(if dialect == Dialect::Sqlite { None } else { Some(Duration::from_secs(600)) })
            .max_lifetime(if dialect == Dialect::Sqlite { None } else { Some(Duration::from_secs(3600)) })
            .acquire_timeout(WAIT)
            .after_connect(move |connection, _| Box::pin(settle(connection, dialect)))
            .connect_with(options)
            .await
            .map_err(fault("opening it"))?;
        let this = Self { pool, dialect, place, clock };
        this.migrate(MIGRATIONS).await?;
        Ok(this)
    }

    /// The connections.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The time, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The clock that [`Database::now_ms`] reads.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A statement as the dialect wants it: `?` becomes `$1`, `$2`, … for PostgreSQL. Statements hold no other `?`.
    pub fn sql<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        if self.dialect != Dialect::Postgres || !statement.contains('?') {
            return Cow::Borrowed(statement);
        }
        let mut out = String::with_capacity(statement.len() + 16);
        for (n, piece) in statement.split('?').enumerate() {
            if n > 0 {
                out.push('$');
                out.push_str(&n.to_string());
            }
            out.push_str(piece);
        }
        Cow::Owned(out)
    }

    /// Turns an error of the database into one that says what was tried.
    pub fn fault(&self, action: &'static str) -> impl Fn(sqlx::Error) -> Error + '_ {
        fault(&self.place, action)
    }

    /// An error that says that the database holds something else than this crate wrote.
    pub fn content(&self, message: impl Into<String>) -> Error {
        Error::Content { database: self.place.clone(), message: message.into() }
    }

    /// Asks whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        let one: i64 = sqlx::query_scalar("SELECT count(*) FROM ops_format")
            .fetch_one(&self.pool)
            .await
            .map_err(self.fault("asking whether it answers"))?;
        debug_assert!(one > 0, "opening writes the format");
        Ok(())
    }

    /// Waits until no statement runs and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction that will write. SQLite takes the file at once: two that began by reading could not both go
    /// on to write, and one of them would fail.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>> {
        match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            _ => self.pool.begin().await,
        }
        .map_err(self.fault("beginning a transaction"))
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<()> {
        let fault = self.fault("bringing it to the current format");
        let mut connection = self.pool.acquire().await.map_err(&fault)?;
        // One process at a time; the lock goes with the connection if the process dies. SQLite locks by its transactions.
        if let Some(lock) = self.dialect.lock() {
            sqlx::query(lock).execute(&mut *connection).await.map_err(&fault)?;
        }
        let done = self.migrate_alone(&mut connection, migrations).await;
        if let Some(unlock) = self.dialect.unlock() {
            sqlx::query(unlock).execute(&mut *connection).await.map_err(&fault)?;
        }
        done
    }

    async fn migrate_alone(&self, connection: &mut AnyConnection, migrations: &[Migration]) -> Result<()> {
        let fault = self.fault("bringing it to the current format");
        let create = self
            .dialect
            .columns("CREATE TABLE IF NOT EXISTS ops_format (step BIGINT PRIMARY KEY, name {text} NOT NULL)");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut *connection).await.map_err(&fault)?;
        loop {
            let begin = if self.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
            let mut transaction = connection.begin_with(begin).await.map_err(&fault)?;
            let found: Option<i64> = sqlx::query_scalar("SELECT max(step) FROM ops_format")
                .fetch_one(&mut *transaction)
                .await
                .map_err(&fault)?;
            let (found, known) = (found.unwrap_or(0), migrations.len() as i64);
            if found > known {
                return Err(Error::NewerFormat { database: self.place.clone(), found, known });
            }
            let Some(migration) = migrations.get(found as usize) else { return Ok(()) };
            for statement in migration.statements {
                let text = self.dialect.columns(statement);
                sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut *transaction).await.map_err(&fault)?;
            }
            let insert = self.sql("INSERT INTO ops_format (step, name) VALUES (?, ?)").into_owned();
            sqlx::query(sqlx::AssertSqlSafe(insert))
                .bind(found + 1)
                .bind(migration.name)
                .execute(&mut *transaction)
                .await
                .map_err(&fault)?;
            transaction.commit().await.map_err(&fault)?;
        }
    }
}

/// What every connection is told first.
async fn settle(connection: &mut AnyConnection, dialect: Dialect) -> sqlx::Result<()> {
    let statements: &[&str] = match dialect {
        // Extra: a commit that was acknowledged is on the disk, the folder's entry included.
        Dialect::Sqlite => &[
            "PRAGMA journal_mode = DELETE",
            "PRAGMA synchronous = EXTRA",
            "PRAGMA foreign_keys = ON",
            "PRAGMA busy_timeout = 30000",
        ],
        Dialect::Postgres => &["SET synchronous_commit = on", "SET lock_timeout = '30s'"],
        Dialect::Mysql => {
            &["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET SESSION time_zone = '+00:00'"]
        }
    };
    for statement in statements {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    connection.ping().await
}

fn fault(place: &str, action: &'static str) -> impl Fn(sqlx::Error) -> Error {
    let database = place.to_owned();
    move |source| Error::Database { database: database.clone(), action, source: Box::new(source) }
}

/// An address without user, password and parameters.
fn place(url: &str) -> String {
    match url.split_once("://") {
        None => url.split('?').next().unwrap_or_default().to_owned(),
        Some((scheme, rest)) => {
            let rest = rest.split('?').next().unwrap_or_default();
            // The last @ ends the password, which may hold an @ itself.
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{rest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn place_tells_no_secret() {
        for (url, told) in [
            ("postgres://me:s3cr@t@db.shop/ops?sslmode=require", "postgres://db.shop/ops"),
            ("mysql://root@127.0.0.1:3306/test", "mysql://127.0.0.1:3306/test"),
            ("sqlite:/shop/ops.db?mode=rwc", "sqlite:/shop/ops.db"),
        ] {
            assert_eq!(place(url), told);
        }
    }
}
