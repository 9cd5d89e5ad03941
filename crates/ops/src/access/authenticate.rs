//! From the text that a caller presents to who it is.

use super::limit::network_of;
use super::secret::{self, id_of};
use super::token::SUBJECT;
use super::{Access, KeyRecord, KeyState, Role, Scope, Scopes};
use crate::error::Error;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tradewind_core::{ErrorKind, Fault};

/// How long a caller waits for its turn to be verified, and for a key's row to be read again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// The key's id; `user:` and the subject where a token of an identity provider was presented.
    pub key_id: Arc<str>,
    /// What the key is for.
    pub name: Arc<str>,
    /// How much it may do.
    pub role: Role,
    /// For which routes.
    pub scopes: Scopes,
    /// When the key ends, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

impl Principal {
    /// Whether it may do what needs `role`, and `scope` where there is one.
    pub fn may(&self, role: Role, scope: Option<Scope>) -> bool {
        self.role >= role && scope.is_none_or(|s| self.scopes.has(s))
    }

    /// The name under which it stands in the audit log.
    pub fn actor(&self) -> String {
        match self.key_id.starts_with(SUBJECT) {
            true => self.key_id.to_string(),
            false => format!("key:{}", self.key_id),
        }
    }

    fn of(key: &KeyRecord) -> Self {
        Self {
            key_id: key.id.as_str().into(),
            name: key.name.as_str().into(),
            role: key.role,
            scopes: key.scopes.clone(),
            expires_ms: key.expires_ms,
        }
    }
}

/// Why a caller was not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not a key, an unknown one, or the wrong secret: which of them is not told.
    #[error("the key is not valid")]
    Invalid,
    /// The right secret of a key whose time is over.
    #[error("the key has expired")]
    Expired,
    /// The right secret of a key that was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// Too many failures.
    #[error("too many failed attempts; try again in {} s", .retry_after.as_secs_f64().ceil())]
    Limited {
        /// After this time it may be tried again.
        retry_after: Duration,
    },
    /// The key could not be checked.
    #[error("keys cannot be checked now: {0}")]
    Unavailable(#[from] Error),
}

impl Fault for Refused {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(e) => e.kind(),
            _ => ErrorKind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid | Self::Expired | Self::Revoked => {
                Some("ask an admin for a key (`tradewind keys create`)".to_owned())
            }
            Self::Limited { .. } => None,
            Self::Unavailable(e) => e.hint(),
        }
    }
}

/// A key whose secret was right.
#[derive(Clone, Debug)]
struct Remembered {
    principal: Arc<Principal>,
    /// When its row was last read.
    checked: Instant,
    /// Until when nobody else reads it again.
    next: Instant,
    used: Instant,
    /// When its last use was last written down.
    written: Option<Instant>,
}

/// The table of verified keys, by the BLAKE3 of the whole text under the process's key.
#[derive(Debug)]
pub(super) struct Verified {
    keys: HashMap<[u8; 32], Remembered>,
    max: usize,
}

impl Verified {
    pub(super) fn new(max: usize) -> Self {
        Self { keys: HashMap::new(), max: max.max(1) }
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.keys.retain(|_, r| &*r.principal.key_id != id);
    }

    fn insert(&mut self, hash: [u8; 32], remembered: Remembered) {
        if self.keys.len() >= self.max
            && !self.keys.contains_key(&hash)
            && let Some(oldest) = self.keys.iter().min_by_key(|(_, r)| r.used).map(|(h, _)| *h)
        {
            self.keys.remove(&oldest);
        }
        self.keys.insert(hash, remembered);
    }
}

/// What is known of a presented key without asking the database.
enum Known {
    Good(Arc<Principal>),
    /// Good when last looked at; the row has to be read again.
    Stale(Arc<Principal>, Instant),
    Nothing,
}

impl Access {
    /// Who presents `text` from `client`.
    ///
    /// A key that this process verified costs a microsecond. Any other costs an argon2id hash (an unknown one as much as
    /// a known one), and failures are slowed by address and by key.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn authenticate(&self, text: &str, client: IpAddr) -> Result<Arc<Principal>, Refused> {
        let hash = *blake3::keyed_hash(&self.process_key, text.as_bytes()).as_bytes();
        match self.known(&hash) {
            Known::Good(principal) => self.unexpired(principal),
            Known::Stale(principal, checked) => self.look_again(hash, principal, checked).await,
            Known::Nothing => self.verify(text, hash, client).await,
        }
    }

    fn known(&self, hash: &[u8; 32]) -> Known {
        let now = Instant::now();
        let mut verified = self.verified.lock();
        let Some(r) = verified.keys.get_mut(hash) else { return Known::Nothing };
        r.used = now;
        if now < r.next {
            return Known::Good(r.principal.clone());
        }
        // One caller reads the row; those beside it go on with what is known, as long as that is not too old.
        if now.saturating_duration_since(r.checked) + PATIENCE < self.settings.unchecked_max {
            r.next = now + PATIENCE.min(self.settings.recheck);
        }
        Known::Stale(r.principal.clone(), r.checked)
    }

    fn unexpired(&self, principal: Arc<Principal>) -> Result<Arc<Principal>, Refused> {
        match principal.expires_ms {
            Some(end) if end <= self.database.now_ms() => Err(Refused::Expired),
            _ => Ok(principal),
        }
    }

    /// Reads the row of a verified key again. If the database does not answer, what was known stays good for a while.
    async fn look_again(
        &self,
        hash: [u8; 32],
        principal: Arc<Principal>,
        checked: Instant,
    ) -> Result<Arc<Principal>, Refused> {
        let revocations = self.revocations.load(Ordering::SeqCst);
        let begun = Instant::now();
        let fault = match tokio::time::timeout(PATIENCE, self.kept_key(&principal.key_id)).await {
            Ok(Ok(Some((key, _)))) => {
                self.state(&key).inspect_err(|_| self.verified.lock().forget(&key.id))?;
                let principal = Arc::new(Principal::of(&key));
                let write = {
                    let mut verified = self.verified.lock();
                    match verified.keys.get_mut(&hash) {
                        Some(r) if self.revocations.load(Ordering::SeqCst) == revocations => {
                            r.principal = principal.clone();
                            (r.checked, r.next) = (begun, begun + self.settings.recheck);
                            self.due(r, begun)
                        }
                        _ => false,
                    }
                };
                if write {
                    self.write_last_use(&key.id).await;
                }
                return Ok(principal);
            }
            Ok(Ok(None)) => {
                self.verified.lock().forget(&principal.key_id);
                return Err(Refused::Invalid);
            }
            Ok(Err(fault)) => fault,
            Err(_) => late(),
        };
        if begun.saturating_duration_since(checked) >= self.settings.unchecked_max {
            return Err(Refused::Unavailable(fault));
        }
        tracing::warn!(key = &*principal.key_id, "the key's row could not be read again: {fault}");
        self.unexpired(principal)
    }

    async fn verify(&self, text: &str, hash: [u8; 32], client: IpAddr) -> Result<Arc<Principal>, Refused> {
        let client = network_of(client);
        if let Some(retry_after) = self.by_address.lock().wait(&client, Instant::now()) {
            return Err(Refused::Limited { retry_after });
        }
        let Some(id) = id_of(text) else {
            self.failed(client, None);
            return Err(Refused::Invalid);
        };
        let id = id.to_owned();
        if let Some(retry_after) = self.by_key.lock().wait(&id, Instant::now()) {
            return Err(Refused::Limited { retry_after });
        }
        let revocations = self.revocations.load(Ordering::SeqCst);
        let checked = Instant::now();
        let found = match tokio::time::timeout(PATIENCE, self.kept_key(&id)).await {
            Ok(found) => found?,
            Err(_) => return Err(late().into()),
        };
        // An unknown id takes the same way with a hash that nothing matches.
        let kept = found.as_ref().map_or_else(|| self.nobody.clone(), |(_, kept)| kept.clone());
        let turn = match tokio::time::timeout(PATIENCE, self.verifying.acquire()).await {
            Ok(Ok(turn)) => turn,
            _ => return Err(late().into()),
        };
        // Those that waited for their turn while others failed wait on.
        if let Some(retry_after) = self.by_address.lock().wait(&client, Instant::now()) {
            return Err(Refused::Limited { retry_after });
        }
        let presented = text.to_owned();
        let right = tokio::task::spawn_blocking(move || secret::matches(&presented, &kept))
            .await
            .map_err(|_| Refused::Unavailable(late()))?;
        drop(turn);
        let (Some((key, _)), true) = (found, right) else {
            self.failed(client, Some(id));
            return Err(Refused::Invalid);
        };
        self.by_address.lock().succeeded(&client);
        self.by_key.lock().succeeded(&id);
        self.state(&key)?;
        let principal = Arc::new(Principal::of(&key));
        {
            let mut verified = self.verified.lock();
            // Revoked meanwhile: the next request reads the row anew.
            if self.revocations.load(Ordering::SeqCst) == revocations {
                let remembered = Remembered {
                    principal: principal.clone(),
                    checked,
                    next: checked + self.settings.recheck,
                    used: Instant::now(),
                    written: Some(checked),
                };
                verified.insert(hash, remembered);
            } else {
                drop(verified);
                return match self.kept_key(&id).await? {
                    Some((key, _)) => self.state(&key).map(|()| Arc::new(Principal::of(&key))),
                    None => Err(Refused::Invalid),
                };
            }
        }
        self.write_last_use(&key.id).await;
        Ok(principal)
    }

    fn state(&self, key: &KeyRecord) -> Result<(), Refused> {
        match key.state(self.database.now_ms()) {
            KeyState::Active => Ok(()),
            KeyState::Expired => Err(Refused::Expired),
            KeyState::Revoked => Err(Refused::Revoked),
        }
    }

    fn failed(&self, client: IpAddr, id: Option<String>) {
        let now = Instant::now();
        if self.by_address.lock().failed(&client, now) {
            tracing::warn!(client = %client, "an address has presented too many wrong keys and has to wait");
        }
        if let Some(id) = id
            && self.by_key.lock().failed(&id, now)
        {
            tracing::warn!(key = id, "a key has met too many wrong secrets; only those who hold it go on");
        }
    }

    fn due(&self, r: &mut Remembered, now: Instant) -> bool {
        let due = r.written.is_none_or(|w| now.saturating_duration_since(w) >= self.settings.last_used_every);
        if due {
            r.written = Some(now);
        }
        due
    }

    /// Writes the time of last use. It is told to people, nothing rests on it: a fault is no reason to refuse.
    async fn write_last_use(&self, id: &str) {
        let now = self.database.now_ms();
        let statement = self
            .database
            .sql("UPDATE access_keys SET last_used_ms = ? WHERE id = ? AND (last_used_ms IS NULL OR last_used_ms < ?)")
            .into_owned();
        let write = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(now)
            .bind(id)
            .bind(now)
            .execute(self.database.pool());
        match tokio::time::timeout(PATIENCE, write).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => tracing::debug!(key = id, "the time of last use was not written: {e}"),
            Err(_) => tracing::debug!(key = id, "the time of last use was not written in time"),
        }
    }
}

fn late() -> Error {
    Error::asked(ErrorKind::Unavailable, "checking a key took too long", "try again in a few seconds")
}
