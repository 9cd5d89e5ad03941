//! Who may do what: keys with a role and scopes, slowed guesses, and a log of everything that was changed.
//!
//! ```text
//! tw_<id>_<secret> ─→ verified before? (BLAKE3 under a key of this process) ─→ Principal
//!                          │ no
//!                          └─→ wait? (by address, by id) ─→ argon2id against the kept hash ─→ remembered
//! ```
//!
//! A revoked key is refused by this process at once, and by every other within [`AccessSettings::recheck`]. While the
//! database does not answer, a key verified before stays good for [`AccessSettings::unchecked_max`] at most; then nothing is.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use tradewind_ops::access::{Access, NewKey, Role, Scope, Scopes};
//! use tradewind_ops::{Clock, Database};
//! let database = Database::open("sqlite::memory:", Clock::system()).await.unwrap();
//! let access = Access::open(database).await.unwrap();
//! let new = NewKey { name: "till".into(), role: Role::Analyst, scopes: Scopes::All, expires_ms: None };
//! let (key, secret) = access.create_key("local:me", new).await.unwrap();
//! let caller = access.authenticate(secret.expose(), "127.0.0.1".parse().unwrap()).await.unwrap();
//! assert!(caller.may(Role::Viewer, Some(Scope::Forecasts)) && !caller.may(Role::Admin, None));
//! access.revoke("local:me", &key.id).await.unwrap();
//! assert!(access.authenticate(secret.expose(), "127.0.0.1".parse().unwrap()).await.is_err());
//! # });
//! ```

pub mod audit;
mod authenticate;
mod keys;
mod limit;
mod role;
mod secret;
mod token;

pub use authenticate::{Principal, Refused};
pub use keys::{KeyRecord, KeyState, NewKey};
pub use limit::BackOff;
pub use role::{Role, Scope, Scopes};
pub use secret::Secret;
pub use token::{TokenRefused, TokenSettings, Tokens};

use crate::error::Result;
use crate::state::{Database, Migration};
use authenticate::Verified;
use limit::Limiter;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The tables of access.
pub(crate) const MIGRATION: Migration = Migration {
    name: "access",
    statements: &[
        "CREATE TABLE IF NOT EXISTS access_keys (id {key} PRIMARY KEY, name {text} NOT NULL, role {key} NOT NULL, \
         scopes {text} NOT NULL, hash {text} NOT NULL, created_ms BIGINT NOT NULL, created_by {text} NOT NULL, \
         expires_ms BIGINT, revoked_ms BIGINT, revoked_by {text}, successor {key}, last_used_ms BIGINT)",
        "CREATE TABLE IF NOT EXISTS access_audit (sequence BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, \
         actor {key} NOT NULL, action {key} NOT NULL, object {key} NOT NULL, outcome {key} NOT NULL, \
         details {text} NOT NULL, previous_hash {key} NOT NULL, hash {key} NOT NULL)",
        "CREATE TABLE IF NOT EXISTS access_audit_head (one BIGINT PRIMARY KEY, sequence BIGINT NOT NULL, hash {key} NOT NULL)",
        "INSERT INTO access_audit_head (one, sequence, hash) \
         SELECT 1, 0, '0000000000000000000000000000000000000000000000000000000000000000' FROM (SELECT 1 AS base) AS b \
         WHERE NOT EXISTS (SELECT 1 FROM access_audit_head)",
    ],
};

/// How keys are checked.
#[derive(Clone, Copy, Debug)]
pub struct AccessSettings {
    /// How old the knowledge of a key may be before its row is read again: the longest time in which a key revoked by
    /// another process is still taken.
    pub recheck: Duration,
    /// How old it may be while the database does not answer.
    pub unchecked_max: Duration,
    /// Keys remembered as verified at most; of more, those used longest ago are verified anew.
    pub verified_max: usize,
    /// How often the time of last use is written, at most.
    pub last_used_every: Duration,
    /// Verifications at the same time at most; each takes 19 MiB and some 20 ms of a processor.
    pub verifying_max: usize,
    /// How failures of one address are answered.
    pub per_address: BackOff,
    /// How failures at one key are answered. A key that this process has verified is not held up by them.
    pub per_key: BackOff,
}

impl Default for AccessSettings {
    fn default() -> Self {
        let per_address = BackOff {
            free: 10,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(15 * 60),
            remembered_max: 65_536,
        };
        Self {
            recheck: Duration::from_secs(2),
            unchecked_max: Duration::from_secs(120),
            verified_max: 4_096,
            last_used_every: Duration::from_secs(600),
            verifying_max: std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
            per_address,
            per_key: BackOff { free: 20, remembered_max: 16_384, ..per_address },
        }
    }
}

/// Keys, callers and the audit log. Shared by reference or `Arc`.
#[derive(Debug)]
pub struct Access {
    database: Database,
    settings: AccessSettings,
    /// Under which secrets are hashed for the table of the verified: known to no other process.
    process_key: [u8; 32],
    /// A hash that no key has: what an unknown id is checked against, so that it takes as long as a known one.
    nobody: String,
    verified: Mutex<Verified>,
    /// Counts revocations: a verification begun before one is not remembered after it.
    revocations: AtomicU64,
    verifying: Semaphore,
    by_address: Mutex<Limiter<IpAddr>>,
    by_key: Mutex<Limiter<String>>,
}

impl Access {
    /// Keys and the log of `database`, checked as [`AccessSettings::default`] says.
    ///
    /// # Errors
    /// A system without random numbers.
    pub async fn open(database: Database) -> Result<Self> {
        Self::open_with(database, AccessSettings::default()).await
    }

    /// As [`Access::open`], with settings.
    ///
    /// # Errors
    /// As [`Access::open`].
    pub async fn open_with(database: Database, settings: AccessSettings) -> Result<Self> {
        let (process_key, nobody) = tokio::task::spawn_blocking(|| -> Result<_> {
            let mut process_key = [0_u8; 32];
            getrandom::fill(&mut process_key).map_err(secret::no_random)?;
            Ok((process_key, secret::hash(Secret::new(&secret::new_id()?)?.expose())?))
        })
        .await
        .map_err(|e| {
            crate::Error::asked(
                tradewind_core::ErrorKind::Internal,
                format!("hashing was broken off: {e}"),
                "try again",
            )
        })??;
        Ok(Self {
            database,
            settings,
            process_key,
            nobody,
            verified: Mutex::new(Verified::new(settings.verified_max)),
            revocations: AtomicU64::new(0),
            verifying: Semaphore::new(settings.verifying_max.max(1)),
            by_address: Mutex::new(Limiter::new(settings.per_address)),
            by_key: Mutex::new(Limiter::new(settings.per_key)),
        })
    }

    /// The database that holds them.
    pub fn database(&self) -> &Database {
        &self.database
    }
}
