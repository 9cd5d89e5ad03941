//! The way into one route: whether there is room, who calls, and whether that caller may.
//!
//! A route is opened by [`Door`]; nothing but probes is [`Door::Open`].

use super::identity::is_token;
use super::layers::Client;
use super::problem::{Http, Problem};
use super::state::Server;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tradewind::ops::access::audit::{Entry, Outcome};
use tradewind::ops::access::{Principal, Refused, Role, Scope};
use tradewind::{ErrorKind, Fault};

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everybody: for probes alone.
    Open,
    /// Who has a key with this role or more, and with the scope where there is one.
    Key(Role, Option<Scope>),
    /// The same, and the key may also be the password of a browser (HTTP Basic). Only for pages that change nothing.
    Page(Role, Option<Scope>),
}

/// What holds for one route beside its door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long an answer may take; none for the server's setting.
    pub(crate) time: Option<Duration>,
    /// The longest body in bytes; none for the server's setting.
    pub(crate) body: Option<usize>,
}

impl Limits {
    /// Those of the settings.
    pub(crate) const USUAL: Self = Self { time: None, body: None };
}

/// What the door of one route knows.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) server: Server,
    pub(crate) door: Door,
    pub(crate) limits: Limits,
}

/// The caller, for handlers behind a door with a key.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(ErrorKind::Internal, "a route without a door asks for its caller"))
    }
}

/// The middleware of every route.
pub(crate) async fn enter(State(keeper): State<Keeper>, mut request: Request, next: Next) -> Response {
    let (role, scope, basic) = match keeper.door {
        Door::Open => return next.run(request).await,
        Door::Key(role, scope) => (role, scope, false),
        Door::Page(role, scope) => (role, scope, true),
    };
    let server = keeper.server.clone();
    let Ok(place) = server.places.try_acquire() else {
        metrics::counter!("tradewind_http_shed_total").increment(1);
        return Problem::http(Http::Overloaded, "as many requests as are allowed are worked on already")
            .retry_after(Duration::from_secs(1))
            .into_response();
    };
    let body_max = keeper.limits.body.unwrap_or(server.settings.body_kib_max << 10);
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let time = keeper.limits.time.unwrap_or(Duration::from_secs(server.settings.seconds_max));
    let knock = Knock::of(&request, basic);
    let work = async {
        let caller = match admit(&server, knock, role, scope).await {
            Ok(caller) => caller,
            Err(problem) => return problem.into_response(),
        };
        if announced.is_some_and(|n| n > body_max as u64) {
            return super::extract::too_large().into_response();
        }
        request.extensions_mut().insert(Caller(caller.clone()));
        let mut response = next.run(request).await;
        response.extensions_mut().insert(Caller(caller));
        response
    };
    let response = match tokio::time::timeout(time, work).await {
        Ok(response) => response,
        Err(_) => Problem::http(Http::TimedOut, format!("there was no answer within {} s", time.as_secs()))
            .into_response(),
    };
    drop(place);
    response
}

/// What the door needs to know of a request.
struct Knock {
    client: Client,
    key: Result<Option<String>, &'static str>,
    /// What a refusal asks for.
    challenge: &'static str,
    /// Method and pattern.
    route: String,
}

impl Knock {
    fn of(request: &Request, basic: bool) -> Self {
        Self {
            client: request.extensions().get::<Client>().map_or_else(Client::unknown, |c| *c),
            key: presented(request.headers(), basic),
            challenge: match basic {
                true => "Basic realm=\"tradewind: the key is the password\"",
                false => "Bearer realm=\"tradewind\"",
            },
            route: format!("{} {}", word_of(request.method()), super::layers::route_of(request)),
        }
    }
}

async fn admit(
    server: &Server,
    knock: Knock,
    role: Role,
    scope: Option<Scope>,
) -> Result<Arc<Principal>, Problem> {
    let Knock { client, key, challenge, route } = knock;
    let key = key.map_err(|detail| Problem::http(Http::Unauthorized, detail).challenge(challenge))?;
    let Some(key) = key else {
        refused("missing");
        return Err(Problem::http(Http::Unauthorized, "this route needs a key")
            .hint("send it as `Authorization: Bearer tw_…` or `X-API-Key: tw_…`; an admin makes keys")
            .challenge(challenge));
    };
    let caller = match &server.identity {
        Some(identity) if is_token(&key) => {
            identity.authenticate(&key).await.inspect_err(|_| refused("token"))?
        }
        _ => by_key(server, &key, client, challenge).await?,
    };
    if let Err(wait) = server.rates.take(&caller.key_id, Instant::now()) {
        refused("rate");
        return Err(
            Problem::http(Http::RateLimited, "this key asks more often than it may").retry_after(wait)
        );
    }
    if caller.may(role, scope) {
        return Ok(caller);
    }
    refused("denied");
    let detail = match scope {
        Some(scope) if !caller.scopes.has(scope) => format!("this key is not for {scope}"),
        _ => format!("this needs the role {role}, the key has {}", caller.role),
    };
    if role >= Role::Operator {
        write_down(server, &caller, &route).await;
    }
    Err(Problem::new(ErrorKind::Denied, detail).hint("an admin can make a key that may"))
}

async fn by_key(
    server: &Server,
    key: &str,
    client: Client,
    challenge: &'static str,
) -> Result<Arc<Principal>, Problem> {
    server.access.authenticate(key, client.0).await.map_err(|refusal| match &refusal {
        Refused::Limited { retry_after } => {
            refused("limited");
            Problem::http(Http::RateLimited, refusal.to_string()).retry_after(*retry_after)
        }
        Refused::Unavailable(fault) => {
            refused("unavailable");
            Problem::of(fault).retry_after(Duration::from_secs(2))
        }
        Refused::Invalid | Refused::Expired | Refused::Revoked => {
            refused("invalid");
            let problem = Problem::http(Http::Unauthorized, refusal.to_string()).challenge(challenge);
            match refusal.hint() {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        }
    })
}

/// Writes a refused change to the audit log, not more often than now and then for one key: the log only grows.
async fn write_down(server: &Server, caller: &Principal, route: &str) {
    if server.refusals.take(&caller.key_id, Instant::now()).is_err() {
        return;
    }
    let object = format!("route:{route}");
    let entry = Entry {
        actor: &caller.actor(),
        action: "access.denied",
        object: &object,
        outcome: Outcome::Denied,
        details: serde_json::json!({ "role": caller.role }),
    };
    if let Err(e) = server.access.record(entry).await {
        tracing::warn!("a refusal was not written to the audit log: {e}");
    }
}

/// A method's word; for those that are made up one word, so that strangers do not choose what is written.
pub(crate) fn word_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

fn refused(reason: &'static str) {
    metrics::counter!("tradewind_access_refused_total", "reason" => reason).increment(1);
}

/// The key that the headers present: one, in one way.
fn presented(headers: &HeaderMap, basic: bool) -> Result<Option<String>, &'static str> {
    let mut keys: Vec<String> = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| "the header Authorization cannot be read")?;
        let (scheme, rest) = text.split_once(' ').ok_or("the header Authorization names no scheme")?;
        if scheme.eq_ignore_ascii_case("bearer") {
            keys.push(rest.trim().to_owned());
        } else if basic && scheme.eq_ignore_ascii_case("basic") {
            keys.push(password(rest.trim()).ok_or("the header Authorization cannot be read")?);
        } else {
            return Err("the header Authorization must be `Bearer` and the key");
        }
    }
    for value in headers.get_all("x-api-key") {
        keys.push(value.to_str().map_err(|_| "the header X-API-Key cannot be read")?.trim().to_owned());
    }
    match keys.len() {
        0 | 1 => Ok(keys.pop()),
        _ => Err("more than one key was sent"),
    }
}

fn password(basic: &str) -> Option<String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(basic).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, value) in lines {
            out.append(*name, value.parse().unwrap());
        }
        out
    }

    #[test]
    fn one_key_in_one_way() {
        let one = |lines: &[(&'static str, &'static str)], basic| presented(&headers(lines), basic);
        assert_eq!(one(&[], false), Ok(None));
        assert_eq!(one(&[("authorization", "Bearer k")], false), Ok(Some("k".into())));
        assert_eq!(one(&[("authorization", "bEARER  k ")], false), Ok(Some("k".into())));
        assert_eq!(one(&[("x-api-key", "k")], false), Ok(Some("k".into())));
        assert!(one(&[("x-api-key", "k"), ("authorization", "Bearer k")], false).is_err());
        assert!(one(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], false).is_err());
        assert!(one(&[("authorization", "k")], false).is_err());
        // eDprZXk= is `x:key`
        assert!(one(&[("authorization", "Basic eDprZXk=")], false).is_err(), "only pages take a password");
        assert_eq!(one(&[("authorization", "Basic eDprZXk=")], true), Ok(Some("key".into())));
        assert!(one(&[("authorization", "Basic ???")], true).is_err());
    }
}
