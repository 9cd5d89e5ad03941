//! What data, parameters and results are recognised by.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A BLAKE3 hash in hexadecimal: equal content, equal fingerprint.
///
/// ```
/// use tradewind_ops::jobs::Fingerprint;
/// let a = Fingerprint::of_json(&serde_json::json!({"a": 1, "b": 2}));
/// let b = Fingerprint::of_json(&serde_json::json!({"b": 2, "a": 1}));
/// assert_eq!(a, b);
/// assert_ne!(a, Fingerprint::of_parts(["a", "b"]));
/// assert_ne!(Fingerprint::of_parts(["ab", ""]), Fingerprint::of_parts(["a", "b"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// One that was made elsewhere: a hash of a registry, of a panel, of files.
    pub fn known(hash: impl Into<String>) -> Self {
        Self(hash.into())
    }

    /// That of bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }

    /// That of several texts, one after the other; where one ends matters.
    pub fn of_parts<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            let part = part.as_ref();
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().to_hex().to_string())
    }

    /// That of a JSON value; the order of keys does not matter.
    pub fn of_json(value: &Value) -> Self {
        let mut hasher = blake3::Hasher::new();
        feed(&mut hasher, value);
        Self(hasher.finalize().to_hex().to_string())
    }

    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    let mut text = |tag: &[u8], text: &[u8]| {
        hasher.update(tag);
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    match value {
        Value::Null => text(b"n", b""),
        Value::Bool(v) => text(b"b", &[u8::from(*v)]),
        Value::Number(v) => text(b"d", v.to_string().as_bytes()),
        Value::String(v) => text(b"s", v.as_bytes()),
        Value::Array(items) => {
            text(b"a", &(items.len() as u64).to_le_bytes());
            for item in items {
                feed(hasher, item);
            }
        }
        Value::Object(map) => {
            text(b"o", &(map.len() as u64).to_le_bytes());
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                hasher.update(&(key.len() as u64).to_le_bytes());
                hasher.update(key.as_bytes());
                feed(hasher, &map[key]);
            }
        }
    }
}
