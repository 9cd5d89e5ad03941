//! Keys: made, listed, revoked, replaced. Each change and its row of the audit log are one transaction.

use super::audit::{Entry, Outcome, append};
use super::role::shown;
use super::secret::{self, Secret};
use super::{Access, Role, Scopes};
use crate::error::{Error, Result};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tradewind_core::ErrorKind;

/// Characters of a key's name.
const NAME_MAX: usize = 100;

/// The longest time for which the old key goes on beside its successor: 90 days.
const OVERLAP_MAX: Duration = Duration::from_secs(90 * 86_400);

/// What a key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is for, in 1 to 100 characters: a place or a program, not a person.
    pub name: String,
    /// How much it may do.
    pub role: Role,
    /// For which routes.
    pub scopes: Scopes,
    /// When it ends, in milliseconds since 1970; none for no end.
    pub expires_ms: Option<i64>,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecord {
    /// Its id, the middle part of its text.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// How much it may do.
    pub role: Role,
    /// For which routes.
    pub scopes: Scopes,
    /// When it was made, in milliseconds since 1970, as all times here.
    pub created_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// When it ends.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// The id of the key that takes its place.
    pub successor: Option<String>,
    /// When it was last used, to about ten minutes.
    pub last_used_ms: Option<i64>,
}

/// Whether a key opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl KeyState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl KeyRecord {
    /// Whether it opens anything at `now_ms`.
    pub fn state(&self, now_ms: i64) -> KeyState {
        if self.revoked_ms.is_some() {
            KeyState::Revoked
        } else if self.expires_ms.is_some_and(|end| end <= now_ms) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

const COLUMNS: &str =
    "id, name, role, scopes, created_ms, created_by, expires_ms, revoked_ms, successor, last_used_ms, hash";

impl Access {
    /// Makes a key. The secret is told here and never again.
    ///
    /// # Errors
    /// A name that is empty or too long, an end that is past, a database that does not answer.
    pub async fn create_key(&self, actor: &str, new: NewKey) -> Result<(KeyRecord, Secret)> {
        let now = self.database.now_ms();
        check(&new, now)?;
        let (key, secret, hash) = self.made(actor, new, now).await?;
        let mut transaction = self.database.begin().await?;
        self.insert(&mut transaction, &key, &hash).await?;
        let details = json!({
            "name": key.name, "role": key.role, "scopes": key.scopes.names(), "expires_ms": key.expires_ms,
        });
        self.write_down(&mut transaction, actor, "keys.create", &key.id, details).await?;
        transaction.commit().await.map_err(self.database.fault("making a key"))?;
        Ok((key, secret))
    }

    /// Every key, oldest first, those that no longer open anything included.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>> {
        let statement = format!("SELECT {COLUMNS} FROM access_keys ORDER BY created_ms, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading the keys"))?;
        rows.iter().map(|r| Ok(self.read_key(r)?.0)).collect()
    }

    /// The key with this id.
    ///
    /// # Errors
    /// No such key; a database that does not answer.
    pub async fn key(&self, id: &str) -> Result<KeyRecord> {
        self.kept_key(id).await?.map(|(key, _)| key).ok_or_else(|| unknown(id))
    }

    /// Revokes a key: at once in this process, within [`super::AccessSettings::recheck`] in every other. A key that is
    /// revoked already stays as it is.
    ///
    /// # Errors
    /// No such key; a database that does not answer.
    pub async fn revoke(&self, actor: &str, id: &str) -> Result<KeyRecord> {
        if !secret::is_id(id) {
            return Err(unknown(id));
        }
        let mut transaction = self.database.begin().await?;
        let now = self.database.now_ms();
        let statement = self
            .database
            .sql("UPDATE access_keys SET revoked_ms = ?, revoked_by = ? WHERE id = ? AND revoked_ms IS NULL")
            .into_owned();
        let changed = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(now)
            .bind(actor)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(self.database.fault("revoking a key"))?
            .rows_affected();
        if changed == 0 {
            drop(transaction);
            let key = self.key(id).await?;
            self.forget(id);
            return Ok(key);
        }
        self.write_down(&mut transaction, actor, "keys.revoke", id, json!({})).await?;
        // Forgotten on both sides of the commit: whatever verifies meanwhile reads the row again.
        self.forget(id);
        transaction.commit().await.map_err(self.database.fault("revoking a key"))?;
        self.forget(id);
        self.key(id).await
    }

    /// Makes a key that takes the place of another: same name, role, scopes and end. The old one goes on for `overlap`
    /// (at most 90 days), so that its users can change over.
    ///
    /// # Errors
    /// No such key; one that is revoked, expired or has a successor already; a longer overlap; a database that does not
    /// answer.
    pub async fn rotate(&self, actor: &str, id: &str, overlap: Duration) -> Result<(KeyRecord, Secret)> {
        if overlap > OVERLAP_MAX {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("an overlap of {} days is too long", overlap.as_secs() / 86_400),
                "choose at most 90 days",
            ));
        }
        let old = self.key(id).await?;
        let now = self.database.now_ms();
        let state = old.state(now);
        if state != KeyState::Active {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("key {id} is {}", state.name()),
                "make a new key instead",
            ));
        }
        let new = NewKey {
            name: old.name.clone(),
            role: old.role,
            scopes: old.scopes.clone(),
            expires_ms: old.expires_ms,
        };
        let (key, secret, hash) = self.made(actor, new, now).await?;
        let end = now.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
        let end = old.expires_ms.map_or(end, |expires| expires.min(end));
        let mut transaction = self.database.begin().await?;
        let statement = self
            .database
            .sql(
                "UPDATE access_keys SET successor = ?, expires_ms = ? \
                 WHERE id = ? AND revoked_ms IS NULL AND successor IS NULL",
            )
            .into_owned();
        let changed = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&key.id)
            .bind(end)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(self.database.fault("replacing a key"))?
            .rows_affected();
        if changed == 0 {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("key {id} has been replaced or revoked already"),
                "replace its successor, or make a new key",
            ));
        }
        self.insert(&mut transaction, &key, &hash).await?;
        let details = json!({ "successor": key.id, "ends_ms": end });
        self.write_down(&mut transaction, actor, "keys.rotate", id, details).await?;
        transaction.commit().await.map_err(self.database.fault("replacing a key"))?;
        self.forget(id);
        Ok((key, secret))
    }

    async fn made(&self, actor: &str, new: NewKey, now: i64) -> Result<(KeyRecord, Secret, String)> {
        let id = secret::new_id()?;
        let secret = Secret::new(&id)?;
        let text = secret.clone();
        let hash =
            tokio::task::spawn_blocking(move || secret::hash(text.expose())).await.map_err(|e| {
                Error::asked(ErrorKind::Internal, format!("hashing was broken off: {e}"), "try again")
            })??;
        let key = KeyRecord {
            id,
            name: new.name,
            role: new.role,
            scopes: new.scopes,
            created_ms: now,
            created_by: actor.to_owned(),
            expires_ms: new.expires_ms,
            revoked_ms: None,
            successor: None,
            last_used_ms: None,
        };
        Ok((key, secret, hash))
    }

    async fn insert(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &KeyRecord,
        hash: &str,
    ) -> Result<()> {
        let statement = self
            .database
            .sql(
                "INSERT INTO access_keys (id, name, role, scopes, hash, created_ms, created_by, expires_ms) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .into_owned();
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&key.id)
            .bind(&key.name)
            .bind(key.role.name())
            .bind(key.scopes.kept())
            .bind(hash)
            .bind(key.created_ms)
            .bind(&key.created_by)
            .bind(key.expires_ms)
            .execute(&mut **transaction)
            .await
            .map_err(self.database.fault("making a key"))?;
        Ok(())
    }

    async fn write_down(
        &self,
        transaction: &mut Transaction<'static, Any>,
        actor: &str,
        action: &str,
        id: &str,
        details: serde_json::Value,
    ) -> Result<()> {
        let object = format!("key:{id}");
        let entry = Entry { actor, action, object: &object, outcome: Outcome::Done, details };
        append(&self.database, transaction, entry).await?;
        Ok(())
    }

    /// A key with the hash of its secret.
    pub(super) async fn kept_key(&self, id: &str) -> Result<Option<(KeyRecord, String)>> {
        if !secret::is_id(id) {
            return Ok(None);
        }
        let statement = format!("SELECT {COLUMNS} FROM access_keys WHERE id = ?");
        let row = sqlx::query(sqlx::AssertSqlSafe(self.database.sql(&statement).into_owned()))
            .bind(id)
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("reading a key"))?;
        row.as_ref().map(|r| self.read_key(r)).transpose()
    }

    fn read_key(&self, row: &AnyRow) -> Result<(KeyRecord, String)> {
        let fault = self.database.fault("reading a key");
        let role: String = row.try_get(2).map_err(&fault)?;
        let scopes: String = row.try_get(3).map_err(&fault)?;
        let key = KeyRecord {
            id: row.try_get(0).map_err(&fault)?,
            name: row.try_get(1).map_err(&fault)?,
            role: role.parse().map_err(|_| self.database.content(format!("a key has the role `{role}`")))?,
            scopes: Scopes::of_kept(&scopes),
            created_ms: row.try_get(4).map_err(&fault)?,
            created_by: row.try_get(5).map_err(&fault)?,
            expires_ms: row.try_get(6).map_err(&fault)?,
            revoked_ms: row.try_get(7).map_err(&fault)?,
            successor: row.try_get(8).map_err(&fault)?,
            last_used_ms: row.try_get(9).map_err(&fault)?,
        };
        Ok((key, row.try_get(10).map_err(&fault)?))
    }

    fn forget(&self, id: &str) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.verified.lock().forget(id);
    }
}

fn check(new: &NewKey, now: i64) -> Result<()> {
    let length = new.name.chars().count();
    if new.name.trim().is_empty() || length > NAME_MAX || new.name.chars().any(char::is_control) {
        return Err(Error::asked(
            ErrorKind::InvalidParams,
            format!("`{}` is no name of a key", shown(&new.name)),
            format!("give 1 to {NAME_MAX} characters, none of them a control character"),
        ));
    }
    if let Some(end) = new.expires_ms
        && end <= now
    {
        return Err(Error::asked(
            ErrorKind::InvalidParams,
            "the key would end in the past",
            "let it end later, or leave the end out",
        ));
    }
    Ok(())
}

fn unknown(id: &str) -> Error {
    Error::asked(
        ErrorKind::NotFound,
        format!("there is no key `{}`", shown(id)),
        "`tradewind keys list` shows the ids",
    )
}
