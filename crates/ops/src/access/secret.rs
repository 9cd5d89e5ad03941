//! The text of a key: `tw_<key id>_<secret>`.
//!
//! The id is told in lists and logs; the secret is 32 random characters of base62 (190 bits), shown once and kept only
//! as an argon2id hash.

use crate::error::{Error, Result};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::fmt;
use tradewind_core::ErrorKind;

/// Characters of a key's id: 71 random bits, so that ids do not meet by chance.
const ID_LENGTH: usize = 12;

/// Characters of a secret: 190 random bits.
const SECRET_LENGTH: usize = 32;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Memory of the hash, in KiB, its passes and its lanes (OWASP's first choice for argon2id).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A whole key, as its owner keeps it. It is not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(id: &str) -> Result<Self> {
        Ok(Self(format!("tw_{id}_{}", random(SECRET_LENGTH)?)))
    }

    /// The text, for the one time that it is shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A fresh id.
pub(super) fn new_id() -> Result<String> {
    random(ID_LENGTH)
}

/// The id inside a well-formed key; none for anything else.
pub(super) fn id_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("tw_")?;
    let (id, secret) = rest.split_once('_')?;
    (is_base62(id, ID_LENGTH) && is_base62(secret, SECRET_LENGTH)).then_some(id)
}

/// Whether `text` could be an id. What could not is not asked of a database, which may refuse its characters.
pub(super) fn is_id(text: &str) -> bool {
    is_base62(text, ID_LENGTH)
}

fn is_base62(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The hash that is kept, with its parameters and its salt, in the PHC form.
pub(super) fn hash(text: &str) -> Result<String> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(no_random)?;
    hasher()
        .hash_password_with_salt(text.as_bytes(), &salt)
        .map(|h| h.to_string())
        .map_err(|e| Error::asked(ErrorKind::Internal, format!("a key cannot be hashed: {e}"), "report it"))
}

/// Whether `text` is the key of `kept`; the parameters are those of `kept`, so that old hashes stay good.
pub(super) fn matches(text: &str, kept: &str) -> bool {
    let Ok(kept) = PasswordHash::new(kept) else { return false };
    hasher().verify_password(text.as_bytes(), &kept).is_ok()
}

fn hasher() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constant parameters within their ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// `length` characters of base62, each equally likely.
fn random(length: usize) -> Result<String> {
    let mut out = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while out.len() < length {
        getrandom::fill(&mut bytes).map_err(no_random)?;
        // 248 is the largest multiple of 62 below 256: bytes above it would favour the first characters.
        for b in bytes.iter().filter(|b| **b < 248) {
            if out.len() < length {
                out.push(char::from(BASE62[usize::from(*b) % 62]));
            }
        }
    }
    Ok(out)
}

pub(super) fn no_random(e: getrandom::Error) -> Error {
    Error::asked(
        ErrorKind::Unavailable,
        format!("the system gives no random numbers: {e}"),
        "see whether /dev/urandom can be read",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_names_its_id_and_only_its_own_hash_fits() {
        let id = new_id().unwrap();
        let (one, other) = (Secret::new(&id).unwrap(), Secret::new(&id).unwrap());
        assert_eq!(id_of(one.expose()), Some(id.as_str()));
        assert_ne!(one, other);
        let kept = hash(one.expose()).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(matches(one.expose(), &kept));
        assert!(!matches(other.expose(), &kept));
        assert!(!matches(one.expose(), "no hash"));
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn characters_are_spread_evenly() {
        let text = random(62_000).unwrap();
        for c in BASE62 {
            let n = text.bytes().filter(|b| b == c).count();
            // 1,000 expected, deviation 31: six deviations either way.
            assert!((800..1_200).contains(&n), "{} came {n} times", char::from(*c));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at_without_a_fault(text in "\\PC{0,80}") {
            prop_assert!(id_of(&text).is_none());
        }

        #[test]
        fn near_misses_are_no_keys(cut in 0_usize..47) {
            let key = format!("tw_{}_{}", "a".repeat(ID_LENGTH), "B".repeat(SECRET_LENGTH));
            prop_assert!(id_of(&key).is_some());
            prop_assert!(id_of(&key[..cut]).is_none());
            let longer = key + "x";
            prop_assert!(id_of(&longer).is_none());
        }
    }
}
