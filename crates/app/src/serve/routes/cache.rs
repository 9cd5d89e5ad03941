//! Answers that were serialised already: the same question to the same version is answered with the same bytes.

use crate::serve::answer::tag_of;
use axum::http::HeaderValue;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tradewind::serving::Identity;

/// Locks of the cache; threads seldom meet.
const SHARDS: usize = 16;
/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 160;

/// Which question to which version; 128 bits of a hash, so that two never meet by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// The key of a question: the version, the route's path, and the query as it came.
    pub(crate) fn of(identity: &Identity, path: &str, query: &str) -> Self {
        let mut hash = blake3::Hasher::new();
        for text in [identity.model.as_str(), identity.artifact_hash.as_str(), path, query] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&identity.version.to_le_bytes());
        let mut out = [0; 16];
        hash.finalize_xof().fill(&mut out);
        Self(out)
    }
}

/// An answer as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    /// The body, JSON.
    pub(crate) body: Bytes,
    /// Its entity tag.
    pub(crate) etag: HeaderValue,
}

impl Cached {
    /// A body with its tag.
    pub(crate) fn new(body: Vec<u8>) -> Self {
        let etag = HeaderValue::from_str(&tag_of(&body)).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self { body: Bytes::from(body), etag }
    }

    fn bytes(&self) -> usize {
        self.body.len() + ENTRY_BYTES
    }
}

/// Entries of two ages: those asked for lately, and those that go next.
#[derive(Default)]
struct Shard {
    young: HashMap<Key, Cached>,
    old: HashMap<Key, Cached>,
    young_bytes: usize,
}

/// A bounded cache of answers.
pub(crate) struct AnswerCache {
    shards: Vec<Mutex<Shard>>,
    /// Bytes of the young entries of a shard at which they become the old ones.
    turn_bytes: usize,
}

impl AnswerCache {
    /// A cache that holds `bytes_max` bytes at most.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, turn_bytes: bytes_max / (2 * SHARDS) }
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[usize::from(key.0[0]) % SHARDS]
    }

    /// The answer, where it is kept.
    pub(crate) fn get(&self, key: Key) -> Option<Cached> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = shard.young.get(&key) {
            return Some(found.clone());
        }
        let found = shard.old.remove(&key)?;
        self.keep(&mut shard, key, found.clone());
        Some(found)
    }

    /// Keeps an answer; one that would fill the cache alone is not kept.
    pub(crate) fn put(&self, key: Key, answer: Cached) {
        if answer.bytes() > self.turn_bytes {
            return;
        }
        self.keep(&mut self.shard(key).lock().unwrap_or_else(PoisonError::into_inner), key, answer);
    }

    fn keep(&self, shard: &mut Shard, key: Key, answer: Cached) {
        let bytes = answer.bytes();
        if shard.young_bytes + bytes > self.turn_bytes {
            shard.old = std::mem::take(&mut shard.young);
            shard.young_bytes = 0;
        }
        if let Some(before) = shard.young.insert(key, answer) {
            shard.young_bytes -= before.bytes();
        }
        shard.young_bytes += bytes;
    }

    /// Bytes kept.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.values().chain(shard.old.values()).map(Cached::bytes).sum::<usize>()
        };
        self.shards.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(version: u64) -> Identity {
        Identity { model: "forecasts".into(), version, artifact_hash: "abc".into() }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let cache = AnswerCache::new(1 << 20);
        let key = |k: usize| Key::of(&identity(1), "/v1/forecasts", &format!("id={k}"));
        let answer = |k: usize| Cached::new(format!("{k:01000}").into_bytes());
        for k in 0..100_000 {
            cache.put(key(k), answer(k));
            assert!(cache.get(key(0)).is_some(), "{k}");
            if k % 1000 == 0 {
                assert!(cache.bytes() <= 1 << 20);
            }
        }
        assert!(cache.bytes() <= 1 << 20 && cache.bytes() > 1 << 18);
        assert!(cache.get(key(1)).is_none());
        let found = cache.get(key(99_999)).expect("the newest");
        assert_eq!(found.body, answer(99_999).body);
        assert_eq!(found.etag, answer(99_999).etag);
        assert_ne!(found.etag, answer(0).etag);
        cache.put(key(7), Cached::new(vec![0; 1 << 20]));
        assert!(cache.get(key(7)).is_none());
    }

    #[test]
    fn versions_and_queries_do_not_mix() {
        let keys = [
            Key::of(&identity(1), "/v1/trends", "a=1"),
            Key::of(&identity(2), "/v1/trends", "a=1"),
            Key::of(&identity(1), "/v1/trends", "a=2"),
            Key::of(&identity(1), "/v1/trend", "sa=1"),
            Key::of(&Identity { artifact_hash: "abd".into(), ..identity(1) }, "/v1/trends", "a=1"),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|b| a != b));
        }
    }
}
