//! Access tokens of an identity provider (OpenID Connect): whom a token stands for.
//!
//! A token is a JWT (RFC 7519) that the provider signed with one of the keys of its key set (RFC 7517). It is checked here
//! without asking anybody: signature (RS, PS, ES or EdDSA; never `none` and never a shared secret), issuer, audience, times,
//! and the claim that holds the role. What fetches the key set stands elsewhere.
//!
//! ```
//! use tradewind_ops::access::{TokenRefused, TokenSettings, Tokens};
//! let settings = TokenSettings {
//!     issuer: "https://id.example.com/realms/shop".into(),
//!     audience: "tradewind".into(),
//!     role_claim: "realm_access.roles".into(),
//! };
//! let tokens = Tokens::new(settings).unwrap();
//! assert!(tokens.put(br#"{"keys": []}"#).is_err(), "a set without a key that can be used");
//! assert!(matches!(tokens.verify("eyJhbGciOiJub25lIn0.e30."), Err(TokenRefused::Invalid(_))));
//! ```

use super::{Principal, Role, Scopes};
use crate::error::{Error, Result};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind as JwtFault;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, PublicKeyUse};
use jsonwebtoken::signature::{Error as SignatureFault, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Validation};
use parking_lot::RwLock;
use ring::signature as checks;
use serde_json::Value;
use std::sync::Arc;
use tradewind_core::{ErrorKind, Fault};

/// Seconds by which the clocks of provider and server may differ.
const LEEWAY_SECONDS: u64 = 60;
const SUBJECT_CHARS_MAX: usize = 200;
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// How every token is signed that is taken.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Whose tokens are taken, and where they say what their bearer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The provider, as the claim `iss` names it.
    pub issuer: String,
    /// For whom a token must have been made, as the claim `aud` names it.
    pub audience: String,
    /// The claim with the role: `role`, a path as `realm_access.roles`, or a JSON pointer as `/https:~1~1shop~1role`. Its
    /// value, or one of its values, is `viewer`, `analyst`, `operator` or `admin`, with or without `tradewind-` before it;
    /// of several the highest counts.
    pub role_claim: String,
}

/// Why a token was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// Malformed, of another issuer, for somebody else, not signed by a known key.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Signed by a key that is not in the key set: it may be new.
    #[error("the token is signed by a key that its issuer is not known to have")]
    UnknownKey,
    /// No key set yet.
    #[error("tokens cannot be checked now: the keys of their issuer are not known yet")]
    NoKeys,
    /// A good token that gives no role.
    #[error("the token gives no role here")]
    NoRole,
}

impl Fault for TokenRefused {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoKeys => ErrorKind::Unavailable,
            _ => ErrorKind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Invalid(_) | Self::UnknownKey => {
                    "ask the identity provider for a token for this server"
                }
                Self::Expired => "ask the identity provider for a new one",
                Self::NoKeys => "try again in a few seconds; the server's log says why",
                Self::NoRole => {
                    "ask for one of the roles viewer, analyst, operator, admin at the identity provider"
                }
            }
            .to_owned(),
        )
    }
}

/// A public key of the provider.
struct TokenKey {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// Checks tokens of one provider. Shared by reference or `Arc`.
pub struct Tokens {
    settings: TokenSettings,
    keys: RwLock<Arc<Vec<TokenKey>>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Knows no key yet.
    ///
    /// # Errors
    /// A setting that is empty.
    pub fn new(settings: TokenSettings) -> Result<Self> {
        for (name, value) in [
            ("issuer", &settings.issuer),
            ("audience", &settings.audience),
            ("role claim", &settings.role_claim),
        ] {
            if value.trim().is_empty() {
                return Err(Error::asked(
                    ErrorKind::InvalidParams,
                    format!("tokens are to be taken and their {name} is empty"),
                    "name issuer, audience and role claim, or none of them",
                ));
            }
        }
        // Another part of the process may have been first; its provider serves as well.
        let _ = PROVIDER.install_default();
        Ok(Self { settings, keys: RwLock::default() })
    }

    /// Takes the provider's key set, as JSON, in place of the one before. How many keys of it can be used.
    ///
    /// # Errors
    /// No key set, or none of its keys can be used; what was known stays.
    pub fn put(&self, key_set: &[u8]) -> Result<usize> {
        let wrong = |text: String| {
            Error::asked(
                ErrorKind::InvalidInput,
                text,
                "the address must answer a JSON Web Key Set (RFC 7517)",
            )
        };
        let set: JwkSet =
            serde_json::from_slice(key_set).map_err(|e| wrong(format!("the key set cannot be read: {e}")))?;
        let mut keys = Vec::with_capacity(set.keys.len());
        for jwk in &set.keys {
            let for_signatures =
                !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)));
            // A shared secret in a public set would let everybody sign.
            let public = !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
            let algorithm = jwk.common.key_algorithm.as_ref().map(|a| a.to_string().parse::<Algorithm>());
            let algorithm = match algorithm {
                None => None,
                Some(Ok(a)) if ALGORITHMS.contains(&a) => Some(a),
                Some(_) => continue,
            };
            if for_signatures
                && public
                && let Ok(key) = DecodingKey::from_jwk(jwk)
            {
                keys.push(TokenKey { id: jwk.common.key_id.clone(), algorithm, key });
            }
        }
        if keys.is_empty() {
            return Err(wrong("the key set holds no key that can check signatures".to_owned()));
        }
        let n = keys.len();
        *self.keys.write() = Arc::new(keys);
        Ok(n)
    }

    /// Whom a token stands for.
    ///
    /// # Errors
    /// See [`TokenRefused`].
    pub fn verify(&self, token: &str) -> Result<Arc<Principal>, TokenRefused> {
        use TokenRefused::{Expired, Invalid, NoKeys, NoRole, UnknownKey};
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Invalid("it is no JSON Web Token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Invalid("the way it is signed is not taken"));
        }
        let keys = self.keys.read().clone();
        if keys.is_empty() {
            return Err(NoKeys);
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let mut tried = false;
        for key in keys.iter() {
            let fits = key.key.family() == family(header.alg)
                && key.algorithm.is_none_or(|a| a == header.alg)
                && match (&header.kid, &key.id) {
                    (Some(wanted), Some(id)) => wanted == id,
                    _ => true,
                };
            if !fits {
                continue;
            }
            tried = true;
            match jsonwebtoken::decode::<Value>(token, &key.key, &validation) {
                Ok(read) => return self.principal(&read.claims).ok_or(NoRole),
                Err(e) => match e.kind() {
                    // Without a `kid` another key may be the one.
                    JwtFault::InvalidSignature => {}
                    JwtFault::ExpiredSignature => return Err(Expired),
                    JwtFault::ImmatureSignature => return Err(Invalid("its time has not come")),
                    JwtFault::InvalidIssuer => return Err(Invalid("it is of another issuer")),
                    JwtFault::InvalidAudience => return Err(Invalid("it was made for another server")),
                    JwtFault::MissingRequiredClaim(_) => {
                        return Err(Invalid("it lacks one of exp, iss, aud and sub"));
                    }
                    _ => return Err(Invalid("it cannot be read")),
                },
            }
        }
        Err(if tried { Invalid("its signature is wrong") } else { UnknownKey })
    }

    fn principal(&self, claims: &Value) -> Option<Arc<Principal>> {
        let role = role_of(claims, &self.settings.role_claim)?;
        let subject = claims["sub"].as_str()?;
        let subject: String = subject.chars().filter(|c| !c.is_control()).take(SUBJECT_CHARS_MAX).collect();
        let seconds = claims["exp"].as_f64()?;
        Some(Arc::new(Principal {
            key_id: format!("{SUBJECT}{subject}").into(),
            name: "identity provider".into(),
            role,
            scopes: Scopes::All,
            expires_ms: Some((seconds * 1_000.0) as i64),
        }))
    }
}

/// What the id of a principal begins with that comes from a token.
pub(super) const SUBJECT: &str = "user:";

/// The highest role that the claim names.
fn role_of(claims: &Value, claim: &str) -> Option<Role> {
    let found = match claim.starts_with('/') {
        true => claims.pointer(claim)?,
        // A claim may have points in its own name.
        false => match claims.get(claim) {
            Some(value) => value,
            None => claim.split('.').try_fold(claims, |at, name| at.get(name))?,
        },
    };
    let read = |value: &Value| -> Option<Role> {
        let word = value.as_str()?;
        word.strip_prefix("tradewind-").unwrap_or(word).parse().ok()
    };
    match found {
        Value::Array(several) => several.iter().filter_map(read).max(),
        one => read(one),
    }
}

fn family(algorithm: Algorithm) -> AlgorithmFamily {
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => AlgorithmFamily::Hmac,
        _ => AlgorithmFamily::Rsa,
    }
}

/// Signatures are checked by `ring`, as those of TLS are; nothing is signed here.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(JwtFault::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        let check: &'static (dyn Checks + Sync) = match algorithm {
            Algorithm::RS256 => &checks::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &checks::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &checks::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &checks::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &checks::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &checks::RSA_PSS_2048_8192_SHA512,
            Algorithm::ES256 => &checks::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &checks::ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDSA => &checks::ED25519,
            _ => return Err(JwtFault::UnsupportedAlgorithm.into()),
        };
        if key.family() != family(*algorithm) {
            return Err(JwtFault::InvalidKeyFormat.into());
        }
        Ok(Box::new(ByRing { algorithm: *algorithm, key: key.clone(), check }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// What `ring` checks a signature with: RSA keys come as two numbers, all others as bytes.
trait Checks {
    fn check(&self, key: &DecodingKeyKind, message: &[u8], signature: &[u8]) -> Result<(), SignatureFault>;
}

impl Checks for checks::RsaParameters {
    fn check(&self, key: &DecodingKeyKind, message: &[u8], signature: &[u8]) -> Result<(), SignatureFault> {
        match key {
            DecodingKeyKind::RsaModulusExponent { n, e } => checks::RsaPublicKeyComponents { n, e }
                .verify(self, message, signature)
                .map_err(|_| SignatureFault::new()),
            DecodingKeyKind::SecretOrDer(_) => Err(SignatureFault::new()),
        }
    }
}

macro_rules! checks_bytes {
    ($($of:ty),*) => {$(
        impl Checks for $of {
            fn check(
                &self,
                key: &DecodingKeyKind,
                message: &[u8],
                signature: &[u8],
            ) -> Result<(), SignatureFault> {
                match key {
                    DecodingKeyKind::SecretOrDer(bytes) => {
                        let by: &dyn checks::VerificationAlgorithm = self;
                        by.verify(bytes.as_slice().into(), message.into(), signature.into())
                            .map_err(|_| SignatureFault::new())
                    }
                    DecodingKeyKind::RsaModulusExponent { .. } => Err(SignatureFault::new()),
                }
            }
        }
    )*};
}

checks_bytes!(checks::EcdsaVerificationAlgorithm, checks::EdDSAParameters);

struct ByRing {
    algorithm: Algorithm,
    key: DecodingKey,
    check: &'static (dyn Checks + Sync),
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureFault> {
        self.check.check(self.key.kind(), message, signature)
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn now() -> i64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
    }

    /// A provider with one key of each kind that can be made here.
    struct Provider {
        ed: Ed25519KeyPair,
        ec: EcdsaKeyPair,
    }

    impl Provider {
        fn new() -> Self {
            let random = SystemRandom::new();
            let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            Self {
                ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
                ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap(),
            }
        }

        fn key_set(&self) -> Value {
            let point = self.ec.public_key().as_ref();
            json!({ "keys": [
                { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "alg": "EdDSA",
                  "x": b64(self.ed.public_key().as_ref()) },
                { "kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
                { "kty": "oct", "kid": "secret", "k": b64(b"everybody knows this secret, it is public") },
                { "kty": "RSA", "kid": "wrapping", "use": "enc", "n": b64(&[200; 256]), "e": "AQAB" },
                { "kty": "of a kind that comes later", "kid": "later" },
            ] })
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let text =
                format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
            let signature = match header["alg"].as_str() {
                Some("ES256") => {
                    self.ec.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec()
                }
                _ => self.ed.sign(text.as_bytes()).as_ref().to_vec(),
            };
            format!("{text}.{}", b64(&signature))
        }

        fn token(&self, claims: &Value) -> String {
            self.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), claims)
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example.com", "aud": ["shop", "tradewind"], "sub": "7f3a", "exp": now() + 300,
            "realm_access": { "roles": ["offline", "tradewind-analyst", "viewer"] },
        })
    }

    fn tokens(provider: &Provider) -> Tokens {
        let tokens = Tokens::new(TokenSettings {
            issuer: "https://id.example.com".into(),
            audience: "tradewind".into(),
            role_claim: "realm_access.roles".into(),
        })
        .unwrap();
        assert!(matches!(tokens.verify(&provider.token(&claims())), Err(TokenRefused::NoKeys)));
        assert_eq!(tokens.put(provider.key_set().to_string().as_bytes()).unwrap(), 2);
        tokens
    }

    #[test]
    fn a_good_token_is_its_subject_with_the_highest_role() {
        let provider = Provider::new();
        let tokens = tokens(&provider);
        for header in [json!({ "alg": "EdDSA", "kid": "ed" }), json!({ "alg": "ES256", "kid": "ec" })] {
            let principal = tokens.verify(&provider.sign(&header, &claims())).unwrap();
            assert_eq!((principal.role, principal.actor().as_str()), (Role::Analyst, "user:7f3a"));
            assert_eq!(principal.expires_ms, Some(claims()["exp"].as_i64().unwrap() * 1_000));
        }
        // Without a name of its key every key that fits is tried.
        assert!(tokens.verify(&provider.sign(&json!({ "alg": "ES256" }), &claims())).is_ok());
    }

    #[test]
    fn whatever_is_wrong_is_refused() {
        let provider = Provider::new();
        let tokens = tokens(&provider);
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            tokens.verify(&provider.token(&claims))
        };
        assert!(matches!(with("exp", json!(now() - 120)), Err(TokenRefused::Expired)));
        assert!(with("exp", json!(now() - 30)).is_ok(), "clocks differ a little");
        for (name, value) in [
            ("exp", json!("tomorrow")),
            ("exp", Value::Null),
            ("nbf", json!(now() + 600)),
            ("nbf", json!("yesterday")),
            ("iss", json!("https://other.example.com")),
            ("iss", Value::Null),
            ("aud", json!("somebody")),
            ("aud", json!([])),
            ("sub", Value::Null),
        ] {
            let got = with(name, value.clone());
            assert!(matches!(got, Err(TokenRefused::Invalid(_))), "{name} {value}: {got:?}");
        }
        assert!(matches!(with("realm_access", json!({ "roles": ["root"] })), Err(TokenRefused::NoRole)));
        assert!(matches!(with("realm_access", json!({})), Err(TokenRefused::NoRole)));
    }

    #[test]
    fn forged_signatures_are_refused() {
        let (provider, other) = (Provider::new(), Provider::new());
        let tokens = tokens(&provider);
        assert!(matches!(tokens.verify(&other.token(&claims())), Err(TokenRefused::Invalid(_))));
        let unknown = provider.sign(&json!({ "alg": "EdDSA", "kid": "newer" }), &claims());
        assert!(matches!(tokens.verify(&unknown), Err(TokenRefused::UnknownKey)));
        for alg in ["none", "HS256", "RS256", "ES384"] {
            let token = provider.sign(&json!({ "alg": alg, "kid": "ed" }), &claims());
            assert!(tokens.verify(&token).is_err(), "{alg}");
        }
        // Every changed letter is noticed.
        let good = provider.token(&claims());
        assert!(tokens.verify(&good).is_ok());
        let signed = good.rfind('.').unwrap();
        for at in (0..signed).step_by(7) {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(text == good || tokens.verify(&text).is_err(), "{at}");
            }
        }
        for text in ["", ".", "..", "a.b.c", &"x".repeat(20_000), "eyJ.eyJ.", "é.é.é"] {
            assert!(tokens.verify(text).is_err());
        }
    }

    #[test]
    fn a_set_that_is_none_leaves_the_keys_that_are_known() {
        let provider = Provider::new();
        let tokens = tokens(&provider);
        for text in ["", "{}", "[]", "<html>", r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#] {
            assert!(tokens.put(text.as_bytes()).is_err(), "{text}");
        }
        assert!(tokens.verify(&provider.token(&claims())).is_ok());
    }

    #[test]
    fn roles_are_found_by_name_path_and_pointer() {
        let claims = json!({
            "role": "operator", "a": { "b": ["viewer", 3, "tradewind-admin"] }, "https://shop/role": "viewer",
            "a.b": "analyst", "c": { "d": "none" },
        });
        for (claim, role) in [
            ("role", Some(Role::Operator)),
            ("a.b", Some(Role::Analyst)),
            ("/a/b", Some(Role::Admin)),
            ("/https:~1~1shop~1role", Some(Role::Viewer)),
            ("https://shop/role", Some(Role::Viewer)),
            ("c.d", None),
            ("x.y", None),
        ] {
            assert_eq!(role_of(&claims, claim), role, "{claim}");
        }
    }
}
