//! Tokens of an identity provider (OpenID Connect) beside keys: where the provider's public keys come from, and when they
//! are fetched again. What a token must hold is decided in `ops::access`.

use super::problem::{Http, Problem};
use crate::cause::innermost;
use reqwest::Url;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tradewind::ops::access::{Principal, TokenRefused, TokenSettings, Tokens};
use tradewind::warehouse::settings::ServeSettings;
use tradewind::{Error, ErrorKind, Fault, Result, Shop};

/// How often the key set is fetched anew.
const REFRESH_EVERY: Duration = Duration::from_secs(3_600);
/// How often it is tried while there is none.
const RETRY_EVERY: Duration = Duration::from_secs(10);
/// How often an unknown key may have it fetched: anybody can send one.
const UNKNOWN_EVERY: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where the key set is.
enum Source {
    File(PathBuf),
    Address(Url),
    /// Where the issuer's own description says.
    Discovered(Url),
}

/// The provider whose tokens are taken.
pub(crate) struct Identity {
    tokens: Tokens,
    issuer: String,
    source: Source,
    client: reqwest::Client,
    /// When the key set was last asked for.
    asked: Mutex<Option<Instant>>,
}

/// What looks like a token, and never like a key.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|b| *b == b'.').count() == 2
}

impl Identity {
    /// The provider of the settings, if they name one.
    ///
    /// # Errors
    /// An address that is none, or that would carry keys over an open network.
    pub(crate) fn of(shop: &Shop, settings: &ServeSettings) -> Result<Option<Arc<Self>>> {
        if settings.oidc_issuer.is_empty() {
            return Ok(None);
        }
        let source = match settings.oidc_keys.as_str() {
            "" => {
                let text = settings.oidc_issuer.trim_end_matches('/');
                Source::Discovered(address(
                    "oidc_issuer",
                    &format!("{text}/.well-known/openid-configuration"),
                )?)
            }
            text if text.contains("://") => Source::Address(address("oidc_keys", text)?),
            path => Source::File(shop.root().join(path)),
        };
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| {
                Error::asked(format!("no HTTP client: {e}"), "see whether certificates are there")
            })?;
        let tokens = Tokens::new(TokenSettings {
            issuer: settings.oidc_issuer.clone(),
            audience: settings.oidc_audience.clone(),
            role_claim: settings.oidc_role_claim.clone(),
        })?;
        let issuer = settings.oidc_issuer.clone();
        Ok(Some(Arc::new(Self { tokens, issuer, source, client, asked: Mutex::new(None) })))
    }

    /// Keeps the key set fresh until the future is dropped. What was known stays good while the provider is away.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut away = false;
        loop {
            *self.asked.lock().await = Some(Instant::now());
            let pause = match self.fetch().await {
                Ok(keys) => {
                    tracing::info!(issuer = self.issuer, keys, "keys of the identity provider");
                    away = false;
                    REFRESH_EVERY
                }
                Err(e) => {
                    if !away {
                        let hint = e.hint().map(|h| format!(" ({h})")).unwrap_or_default();
                        tracing::warn!("the keys of the identity provider were not fetched: {e}{hint}");
                    }
                    away = true;
                    RETRY_EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Whom a token stands for. A key that the provider is not known to have is looked for once.
    ///
    /// # Errors
    /// A token that is not taken, as a problem.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Arc<Principal>, Problem> {
        let refused = match self.tokens.verify(token) {
            Err(TokenRefused::UnknownKey) if self.may_ask().await => {
                if let Err(e) = self.fetch().await {
                    tracing::warn!("the keys of the identity provider were not fetched: {e}");
                }
                self.tokens.verify(token)
            }
            other => other,
        };
        refused.map_err(|refused| {
            let problem = match &refused {
                TokenRefused::NoKeys => Problem::of(&refused).retry_after(RETRY_EVERY),
                TokenRefused::NoRole => Problem::new(ErrorKind::Denied, refused.to_string()),
                _ => Problem::http(Http::Unauthorized, refused.to_string())
                    .challenge("Bearer realm=\"tradewind\", error=\"invalid_token\""),
            };
            match refused.hint() {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        })
    }

    async fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().await;
        let may = asked.is_none_or(|at| at.elapsed() >= UNKNOWN_EVERY);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }

    async fn fetch(&self) -> Result<usize> {
        let set = match &self.source {
            Source::File(path) => tokio::fs::read(path).await.map_err(|e| Error::file(path, e))?,
            Source::Address(url) => self.get(url.clone()).await?,
            Source::Discovered(url) => {
                let described = self.get(url.clone()).await?;
                let described: serde_json::Value = serde_json::from_slice(&described).map_err(|e| {
                    Error::asked(format!("{url} does not answer JSON: {e}"), "see [serve] oidc_issuer")
                })?;
                if described["issuer"].as_str() != Some(self.issuer.as_str()) {
                    return Err(Error::asked(
                        format!("{url} describes another issuer"),
                        "[serve] oidc_issuer must be written exactly as the provider writes it",
                    ));
                }
                let place = described["jwks_uri"].as_str().unwrap_or_default();
                self.get(address("the provider's jwks_uri", place)?).await?
            }
        };
        Ok(self.tokens.put(&set)?)
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>> {
        let told = url.to_string();
        let fault = |what: String| {
            Error::asked(
                format!("{told}: {what}"),
                "see [serve] oidc_issuer and oidc_keys, and whether the provider is reached from here",
            )
        };
        let mut answer = self.client.get(url).send().await.map_err(|e| fault(innermost(&e.without_url())))?;
        if !answer.status().is_success() {
            return Err(fault(format!("it answers {}", answer.status())));
        }
        let mut out = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| fault(innermost(&e.without_url())))? {
            if out.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(fault("its answer is too long".to_owned()));
            }
            out.extend_from_slice(&chunk);
        }
        Ok(out)
    }
}

/// An address that keys may be fetched from: whoever can change them on the way can sign anything.
fn address(name: &str, text: &str) -> Result<Url> {
    let url: Url = text.parse().map_err(|e| {
        Error::asked(format!("{name} `{text}` is no address: {e}"), "give one as https://id.example.com")
    })?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err(Error::asked(
            format!("{name} `{text}` is not fetched over HTTPS"),
            "give an https:// address; http:// is taken for this machine alone",
        )),
    }
}
