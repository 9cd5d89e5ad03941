//! What monitoring keeps between its runs: documents (alarms, sums of errors, the last report) and points of series.

use crate::error::{Error, Result};
use crate::registry::{breathe, end, gave_way, is_taken, select, shown, statement};
use crate::state::Database;
use serde::{Serialize, de::DeserializeOwned};
use tradewind_core::ErrorKind;

const NAME_CHARS_MAX: usize = 150;
const ATTEMPTS_MAX: u32 = 8;
/// Points that one question answers.
const POINTS_MAX: i64 = 100_000;
/// Bytes of one document.
const BYTES_MAX: usize = 16 << 20;

/// A document as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<T> {
    /// How often it was written; 0 if it never was.
    pub revision: u64,
    /// What it holds.
    pub body: T,
    /// When it was written, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The records in a database.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use tradewind_ops::monitor::records::Records;
/// use tradewind_ops::{Clock, Database};
/// let records = Records::open(Database::open("sqlite::memory:", Clock::at(7)).await.unwrap());
/// let written = records.put("alarm", "weekly", &vec![0.1, 0.2], None).await.unwrap();
/// assert_eq!(records.get::<Vec<f64>>("alarm", "weekly").await.unwrap().unwrap().revision, written);
/// records.add_point("drift/price", 7, 0.12).await.unwrap();
/// assert_eq!(records.points("drift/price", 0, 100).await.unwrap(), [(7, 0.12)]);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Records {
    database: Database,
}

impl Records {
    /// The records in a database.
    pub fn open(database: Database) -> Self {
        Self { database }
    }

    /// A document, if it was ever written.
    ///
    /// # Errors
    /// A database that does not answer, a document that holds something else.
    pub async fn get<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Result<Option<Document<T>>> {
        check(kind, name)?;
        let row: Option<(i64, String, i64)> = select(
            &self.database,
            "SELECT revision, body, at_ms FROM monitor_documents WHERE kind = ? AND name = ?",
        )
        .bind(kind.to_owned())
        .bind(name.to_owned())
        .fetch_optional(self.database.pool())
        .await
        .map_err(self.database.fault("reading a record"))?;
        let Some((revision, text, at_ms)) = row else { return Ok(None) };
        let body = serde_json::from_str(&text)
            .map_err(|e| self.database.content(format!("the record {kind}/{name} cannot be read: {e}")))?;
        Ok(Some(Document { revision: revision as u64, body, at_ms }))
    }

    /// Writes a document; its new revision is answered. `expect` is the revision that must stand, 0 for none.
    ///
    /// # Errors
    /// Another revision than expected; more than 16 MiB.
    pub async fn put<T: Serialize>(
        &self,
        kind: &str,
        name: &str,
        body: &T,
        expect: Option<u64>,
    ) -> Result<u64> {
        check(kind, name)?;
        let text = serde_json::to_string(body).map_err(|e| {
            Error::asked(ErrorKind::Internal, format!("a record is no JSON: {e}"), "report this as a bug")
        })?;
        if text.len() > BYTES_MAX {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!("the record {kind}/{name} has {} bytes", text.len()),
                format!("keep {BYTES_MAX} bytes at most"),
            ));
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.database.begin().await?;
            let done = self.put_in(&mut transaction, kind, name, &text, expect).await;
            match end(&self.database, transaction, done, "writing a record").await {
                Err(e) if (gave_way(&e) || is_taken(&e)) && attempt < ATTEMPTS_MAX => {
                    breathe(attempt).await?
                }
                done => return done,
            }
        }
    }

    async fn put_in(
        &self,
        connection: &mut sqlx::AnyConnection,
        kind: &str,
        name: &str,
        text: &str,
        expect: Option<u64>,
    ) -> Result<u64> {
        let fault = self.database.fault("writing a record");
        let now = self.database.now_ms();
        let written = statement(
            &self.database,
            "UPDATE monitor_documents SET revision = revision + 1, body = ?, at_ms = ? WHERE kind = ? AND name = ?",
        )
        .bind(text.to_owned())
        .bind(now)
        .bind(kind.to_owned())
        .bind(name.to_owned())
        .execute(&mut *connection)
        .await
        .map_err(&fault)?;
        if written.rows_affected() == 0 {
            statement(
                &self.database,
                "INSERT INTO monitor_documents (kind, name, revision, body, at_ms) VALUES (?, ?, 1, ?, ?)",
            )
            .bind(kind.to_owned())
            .bind(name.to_owned())
            .bind(text.to_owned())
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        }
        let (revision,): (i64,) =
            select(&self.database, "SELECT revision FROM monitor_documents WHERE kind = ? AND name = ?")
                .bind(kind.to_owned())
                .bind(name.to_owned())
                .fetch_one(connection)
                .await
                .map_err(&fault)?;
        let before = revision as u64 - 1;
        if expect.is_some_and(|expect| expect != before) {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("the record {kind}/{name} has revision {before}, not {}", expect.unwrap_or_default()),
                "another process wrote it: read it again",
            ));
        }
        Ok(revision as u64)
    }

    /// Adds a point to a series, or writes it anew; what is not finite is refused.
    ///
    /// # Errors
    /// A value that is not finite, a name that is none.
    pub async fn add_point(&self, series: &str, at_ms: i64, value: f64) -> Result<()> {
        check("series", series)?;
        if !value.is_finite() {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!("a point of {series} with the value {value}"),
                "leave points out that have no value",
            ));
        }
        let fault = self.database.fault("adding a point");
        let mut transaction = self.database.begin().await?;
        let done = async {
            statement(&self.database, "DELETE FROM monitor_points WHERE series = ? AND at_ms = ?")
                .bind(series.to_owned())
                .bind(at_ms)
                .execute(&mut *transaction)
                .await
                .map_err(&fault)?;
            statement(&self.database, "INSERT INTO monitor_points (series, at_ms, value) VALUES (?, ?, ?)")
                .bind(series.to_owned())
                .bind(at_ms)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(&fault)?;
            Ok(())
        }
        .await;
        end(&self.database, transaction, done, "adding a point").await
    }

    /// The points of a series from a time on and before another, in order; the last 100,000 at most.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn points(&self, series: &str, from_ms: i64, to_ms: i64) -> Result<Vec<(i64, f64)>> {
        let mut rows: Vec<(i64, f64)> = select(
            &self.database,
            "SELECT at_ms, value FROM monitor_points WHERE series = ? AND at_ms >= ? AND at_ms < ?
             ORDER BY at_ms DESC LIMIT ?",
        )
        .bind(series.to_owned())
        .bind(from_ms)
        .bind(to_ms)
        .bind(POINTS_MAX)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading points"))?;
        rows.reverse();
        Ok(rows)
    }

    /// Removes points before a time, of every series. How many.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn forget_points(&self, before_ms: i64) -> Result<u64> {
        let gone = statement(&self.database, "DELETE FROM monitor_points WHERE at_ms < ?")
            .bind(before_ms)
            .execute(self.database.pool())
            .await
            .map_err(self.database.fault("removing points"))?;
        Ok(gone.rows_affected())
    }
}

fn check(kind: &str, name: &str) -> Result<()> {
    let fits = |text: &str| (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.contains('\0');
    if fits(kind) && fits(name) {
        return Ok(());
    }
    Err(Error::asked(
        ErrorKind::InvalidParams,
        format!("`{}` of kind `{}` is no name of a record", shown(name), shown(kind)),
        format!("give 1 to {NAME_CHARS_MAX} characters"),
    ))
}
