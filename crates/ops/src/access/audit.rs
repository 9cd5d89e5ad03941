//! The audit log: who did what, when, to what, and how it ended. Rows are only added, and each holds the hash of the one
//! before, so that a row changed, removed or moved is found.
//!
//! ```text
//! hash(n) = BLAKE3("tradewind-audit-v1", n, time, actor, action, object, outcome, details, hash(n − 1))
//! ```
//!
//! Every part goes in with its length before it, numbers as eight bytes, lowest first. The head (the last number and its
//! hash) is kept beside the rows: rows cut off at the end are missed by it. Whoever may write to the database could write
//! a whole new chain; a head noted elsewhere ([`Checked::head`], `tradewind audit verify --head`) finds that too.

use super::Access;
use crate::error::{Error, Result};
use crate::state::Database;
use sqlx::{Any, Row, Transaction};
use std::fmt;
use std::str::FromStr;
use tradewind_core::ErrorKind;

/// Rows of one page at most.
pub const PAGE_MAX: u32 = 1_000;

/// Characters of an actor, an action or an object; what is longer is cut.
const NAME_MAX: usize = 180;

/// Bytes of the details of a row.
const DETAILS_MAX: usize = 64 << 10;

/// The hash before the first row.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Denied,
    /// It was tried and failed.
    Failed,
}

impl Outcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for Outcome {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Done, Self::Denied, Self::Failed].into_iter().find(|o| o.name() == text).ok_or_else(|| {
            Error::asked(
                ErrorKind::InvalidParams,
                format!("`{}` is no outcome", super::role::shown(text)),
                "choose one of done, denied, failed",
            )
        })
    }
}

/// What is to be written down. Neither secrets nor personal data belong in it.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Who: `key:<id>`, `local:<user>` or `system`.
    pub actor: &'a str,
    /// What was done, as `keys.create`.
    pub action: &'a str,
    /// To what, as `model:sales@3`.
    pub object: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// What else is worth knowing, at most 64 KiB of JSON.
    pub details: serde_json::Value,
}

/// A row as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number: 1, 2, 3, … without a gap.
    pub sequence: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// How it ended, as [`Outcome::name`] says it.
    pub outcome: String,
    /// What else, as JSON.
    pub details: String,
    /// The hash of the row before.
    pub previous: String,
    /// This row's hash.
    pub hash: String,
}

impl AuditRow {
    /// The hash that the row should have.
    fn hashed(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(b"tradewind-audit-v1");
        part(&self.sequence.to_le_bytes());
        part(&self.at_ms.to_le_bytes());
        for text in [&self.actor, &self.action, &self.object, &self.outcome, &self.details, &self.previous] {
            part(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The end of the chain: its text form is `<number>:<hash>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last row; 0 while there is none.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once(':')
            .and_then(|(n, hash)| {
                let hex = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
                let sequence: i64 = n.parse().ok()?;
                (hex && sequence >= 0).then(|| Self { sequence, hash: hash.to_ascii_lowercase() })
            })
            .ok_or_else(|| {
                Error::asked(
                    ErrorKind::InvalidParams,
                    format!("`{}` is no head of the audit log", super::role::shown(text)),
                    "give it as `tradewind audit verify` prints it: the number, a colon, 64 hexadecimal digits",
                )
            })
    }
}

/// Which rows are asked for; everything left out matches all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only this action; with a full stop at its end all that begin so, as `keys.`.
    pub action: Option<String>,
    /// Only about this object.
    pub object: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only from this time on, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Only before this time.
    pub to_ms: Option<i64>,
}

/// A break of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The number of the row at which it shows.
    pub sequence: i64,
    /// What is wrong there.
    pub what: String,
}

/// What a check of the chain found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Rows read.
    pub rows: i64,
    /// The end of the chain as kept beside the rows: worth noting elsewhere.
    pub head: Head,
    /// Where the chain is broken, at most [`Checked::BREAKS_MAX`]; empty if it is whole.
    pub breaks: Vec<Break>,
}

impl Checked {
    /// Breaks that are told.
    pub const BREAKS_MAX: usize = 100;

    /// Whether the chain is whole.
    pub fn is_whole(&self) -> bool {
        self.breaks.is_empty()
    }

    fn broken(&mut self, sequence: i64, what: impl Into<String>) {
        if self.breaks.len() < Self::BREAKS_MAX {
            self.breaks.push(Break { sequence, what: what.into() });
        }
    }
}

const COLUMNS: &str = "sequence, at_ms, actor, action, object, outcome, details, previous_hash, hash";

fn row(database: &Database, row: &sqlx::any::AnyRow) -> Result<AuditRow> {
    let read = || -> sqlx::Result<AuditRow> {
        Ok(AuditRow {
            sequence: row.try_get(0)?,
            at_ms: row.try_get(1)?,
            actor: row.try_get(2)?,
            action: row.try_get(3)?,
            object: row.try_get(4)?,
            outcome: row.try_get(5)?,
            details: row.try_get(6)?,
            previous: row.try_get(7)?,
            hash: row.try_get(8)?,
        })
    };
    read().map_err(database.fault("reading the audit log"))
}

/// A name as the table takes it: without control characters (which could forge lines where it is printed), not too long.
fn named(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut out: String = chars.by_ref().take(NAME_MAX).collect();
    if chars.next().is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// Adds a row inside a transaction begun by [`Database::begin`]: what is written down stands or falls with what it tells of.
///
/// # Errors
/// A database that does not answer; details over 64 KiB.
pub async fn append(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    entry: Entry<'_>,
) -> Result<Head> {
    let fault = database.fault("writing to the audit log");
    // Changing the head first takes its lock: whoever else appends waits here until this transaction has ended.
    let taken = sqlx::query("UPDATE access_audit_head SET sequence = sequence + 1 WHERE one = 1")
        .execute(&mut **transaction)
        .await
        .map_err(&fault)?
        .rows_affected();
    if taken != 1 {
        return Err(database.content("the audit log has lost its head; `tradewind audit verify` tells more"));
    }
    let head = sqlx::query("SELECT sequence, hash FROM access_audit_head WHERE one = 1")
        .fetch_one(&mut **transaction)
        .await
        .map_err(&fault)?;
    let details = entry.details.to_string();
    if details.len() > DETAILS_MAX {
        return Err(Error::asked(
            ErrorKind::InvalidInput,
            format!("details of {} bytes are too long for the audit log", details.len()),
            format!("keep them under {DETAILS_MAX} bytes"),
        ));
    }
    let mut row = AuditRow {
        sequence: head.try_get(0).map_err(&fault)?,
        at_ms: database.now_ms(),
        actor: named(entry.actor),
        action: named(entry.action),
        object: named(entry.object),
        outcome: entry.outcome.name().to_owned(),
        details,
        previous: head.try_get(1).map_err(&fault)?,
        hash: String::new(),
    };
    row.hash = row.hashed();
    let insert = database.sql(
        "INSERT INTO access_audit (sequence, at_ms, actor, action, object, outcome, details, previous_hash, hash) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    sqlx::query(sqlx::AssertSqlSafe(insert.into_owned()))
        .bind(row.sequence)
        .bind(row.at_ms)
        .bind(&row.actor)
        .bind(&row.action)
        .bind(&row.object)
        .bind(&row.outcome)
        .bind(&row.details)
        .bind(&row.previous)
        .bind(&row.hash)
        .execute(&mut **transaction)
        .await
        .map_err(&fault)?;
    let update = database.sql("UPDATE access_audit_head SET hash = ? WHERE one = 1");
    sqlx::query(sqlx::AssertSqlSafe(update.into_owned()))
        .bind(&row.hash)
        .execute(&mut **transaction)
        .await
        .map_err(&fault)?;
    Ok(Head { sequence: row.sequence, hash: row.hash })
}

impl Access {
    /// Adds a row to the audit log, in a transaction of its own.
    ///
    /// # Errors
    /// As [`append`].
    pub async fn record(&self, entry: Entry<'_>) -> Result<Head> {
        let mut transaction = self.database.begin().await?;
        let head = append(&self.database, &mut transaction, entry).await?;
        transaction.commit().await.map_err(self.database.fault("writing to the audit log"))?;
        Ok(head)
    }

    /// Rows of the audit log that match, latest first: at most `limit` (1 to [`PAGE_MAX`]) of those whose number is below
    /// `before`.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>> {
        let mut statement = format!("SELECT {COLUMNS} FROM access_audit WHERE sequence < ?");
        let outcome = filter.outcome.map(|o| o.name().to_owned());
        let mut texts: Vec<String> = Vec::new();
        for (column, text) in [("actor", &filter.actor), ("object", &filter.object), ("outcome", &outcome)] {
            if let Some(text) = text {
                statement.push_str(&format!(" AND {column} = ?"));
                texts.push(text.clone());
            }
        }
        if let Some(action) = &filter.action {
            if action.ends_with('.') {
                // Not LIKE: what a stranger typed would be a pattern.
                statement.push_str(&format!(" AND substr(action, 1, {}) = ?", action.chars().count()));
            } else {
                statement.push_str(" AND action = ?");
            }
            texts.push(action.clone());
        }
        for (column, time) in [("at_ms >=", filter.from_ms), ("at_ms <", filter.to_ms)] {
            if time.is_some() {
                statement.push_str(&format!(" AND {column} ?"));
            }
        }
        statement.push_str(" ORDER BY sequence DESC LIMIT ?");
        let statement = self.database.sql(&statement).into_owned();
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(before.unwrap_or(i64::MAX));
        for text in texts {
            query = query.bind(text);
        }
        for time in [filter.from_ms, filter.to_ms].into_iter().flatten() {
            query = query.bind(time);
        }
        let rows = query
            .bind(i64::from(limit.clamp(1, PAGE_MAX)))
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading the audit log"))?;
        rows.iter().map(|r| row(&self.database, r)).collect()
    }

    /// Reads the whole chain and says where it is broken; with `noted` also whether it still holds the row that was the
    /// head then. Rows that are added meanwhile do no harm.
    ///
    /// # Errors
    /// A database that does not answer. A broken chain is an answer, not an error.
    pub async fn verify_audit(&self, noted: Option<&Head>) -> Result<Checked> {
        let fault = self.database.fault("reading the audit log");
        // The head is read first: rows beyond it were added after.
        let kept = sqlx::query("SELECT sequence, hash FROM access_audit_head WHERE one = 1")
            .fetch_optional(self.database.pool())
            .await
            .map_err(&fault)?;
        let head = match &kept {
            Some(r) => Head { sequence: r.try_get(0).map_err(&fault)?, hash: r.try_get(1).map_err(&fault)? },
            None => Head { sequence: 0, hash: START.to_owned() },
        };
        let mut checked = Checked { rows: 0, head, breaks: Vec::new() };
        if kept.is_none() {
            checked.broken(0, "the head is gone");
        }
        let page = self
            .database
            .sql(
                "SELECT sequence, at_ms, actor, action, object, outcome, details, previous_hash, hash \
                  FROM access_audit WHERE sequence > ? ORDER BY sequence LIMIT 1000",
            )
            .into_owned();
        let (mut last, mut last_hash) = (0_i64, START.to_owned());
        let (mut hash_at_head, mut hash_at_noted) = (None, None);
        loop {
            let rows = sqlx::query(sqlx::AssertSqlSafe(page.clone()))
                .bind(last)
                .fetch_all(self.database.pool())
                .await
                .map_err(&fault)?;
            if rows.is_empty() {
                break;
            }
            for r in &rows {
                let row = row(&self.database, r)?;
                if row.sequence != last + 1 {
                    let missing = match row.sequence - last - 1 {
                        1 => format!("row {} is missing", last + 1),
                        _ => format!("rows {} to {} are missing", last + 1, row.sequence - 1),
                    };
                    checked.broken(row.sequence, missing);
                }
                if row.hash != row.hashed() {
                    checked.broken(row.sequence, "the row is not as it was written");
                } else if row.previous != last_hash && row.sequence == last + 1 {
                    checked.broken(row.sequence, "the row does not follow the one before it");
                }
                if row.sequence == checked.head.sequence {
                    hash_at_head = Some(row.hash.clone());
                }
                if noted.is_some_and(|n| n.sequence == row.sequence) {
                    hash_at_noted = Some(row.hash.clone());
                }
                (last, last_hash) = (row.sequence, row.hash);
                checked.rows += 1;
            }
        }
        let Head { sequence, hash } = checked.head.clone();
        if sequence > last {
            checked.broken(sequence, format!("the log ends with row {last}, its head says {sequence}"));
        } else if (sequence > 0 && hash_at_head.as_ref() != Some(&hash)) || (sequence == 0 && hash != START) {
            checked.broken(sequence, "the row is not the one that the head tells of");
        } else if self.rows_without_head(sequence, last).await? {
            checked.broken(last, format!("rows after {sequence} were not written by way of the head"));
        }
        if let Some(noted) = noted
            && noted.sequence > 0
            && hash_at_noted.as_ref() != Some(&noted.hash)
        {
            checked.broken(noted.sequence, "the row is not the one that was noted");
        }
        Ok(checked)
    }

    /// Whether the head still stands at `sequence` though rows go up to `last`: added by hand, not by another process.
    async fn rows_without_head(&self, sequence: i64, last: i64) -> Result<bool> {
        if last == sequence {
            return Ok(false);
        }
        let now: Option<i64> = sqlx::query_scalar("SELECT sequence FROM access_audit_head WHERE one = 1")
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("reading the audit log"))?;
        Ok(now.is_none_or(|now| now < last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_row_is_in_its_hash() {
        let row = AuditRow {
            sequence: 3,
            at_ms: 17,
            actor: "key:abc".into(),
            action: "keys.create".into(),
            object: "key:def".into(),
            outcome: "done".into(),
            details: "{}".into(),
            previous: START.into(),
            hash: String::new(),
        };
        let changed = [
            AuditRow { sequence: 4, ..row.clone() },
            AuditRow { at_ms: 18, ..row.clone() },
            AuditRow { actor: "key:ab".into(), ..row.clone() },
            // The border between two parts is part of it.
            AuditRow { actor: "key:abckeys".into(), action: ".create".into(), ..row.clone() },
            AuditRow { object: "key:deg".into(), ..row.clone() },
            AuditRow { outcome: "denied".into(), ..row.clone() },
            AuditRow { details: "{ }".into(), ..row.clone() },
            AuditRow { previous: START.replace("00", "01"), ..row.clone() },
        ];
        for other in changed {
            assert_ne!(other.hashed(), row.hashed(), "{other:?}");
        }
        // A promise: logs written today verify with every later version.
        assert_eq!(row.hashed(), "1ba02442b8ddfe7080d2d1bd680eda25d3ed461e37ae42a0fd8c0923b6765988");
    }

    #[test]
    fn names_cannot_forge_lines() {
        assert_eq!(named("a\nb\u{0}"), "a\u{fffd}b\u{fffd}");
        let long = named(&"长".repeat(500));
        assert_eq!(long.chars().count(), NAME_MAX);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_head_parses_back() {
        let head = Head { sequence: 12, hash: START.to_owned() };
        assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        for text in ["", "12", "-1:00", "12:zz", &format!("x:{START}")] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
    }
}
