//! What holds for every answer: its id, its line in the log, its headers, and that a problem is told as a problem.

use super::door::{Caller, word_of};
use super::problem::{Http, MEDIA_TYPE, Problem};
use super::state::Server;
use super::traces;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Instrument;
use tradewind::ErrorKind;

/// Bytes of an address with its query at most.
const URI_MAX: usize = 8 << 10;

/// Bytes of all headers at most.
pub(crate) const HEADERS_MAX: usize = 32 << 10;

/// The header with the request's name.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the request came from, as far as the proxies in front can be believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

impl Client {
    /// For a request that came from nowhere: all such count as one.
    pub(crate) fn unknown() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn of(request: &Request, proxies: usize) -> Self {
        let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
            return Self::unknown();
        };
        Self(forwarded(request.headers(), proxies).unwrap_or_else(|| peer.ip()))
    }
}

/// The address that the outermost of `proxies` trusted proxies saw: the last but so many. What stands before it was sent
/// by the caller and may be anything.
fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    if proxies == 0 {
        return None;
    }
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    lines.iter().flat_map(|l| l.split(',')).rev().nth(proxies - 1)?.trim().parse().ok()
}

/// The request's name, for handlers.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    fn of(headers: &HeaderMap) -> Self {
        let well_formed = |v: &&HeaderValue| {
            (1..=64).contains(&v.len())
                && v.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        };
        Self(headers.get(&REQUEST_ID).filter(well_formed).cloned().unwrap_or_else(fresh_id))
    }
}

/// A name that no other request has: the process's random start, and a count.
fn fresh_id() -> HeaderValue {
    static START: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::process::id())
    });
    let text = format!("{start:016x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// The route's pattern; never the path itself, which may hold anything.
pub(crate) fn route_of(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or_else(|| "(none)".to_owned(), |p| p.as_str().to_owned())
}

/// The outermost layer.
pub(crate) async fn outermost(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = RequestId::of(request.headers());
    let (method, route) = (word_of(request.method()), route_of(&request));
    let client = Client::of(&request, server.settings.proxies);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(client);
    let trace = traces::of_request(method, &route, request.headers());
    let span = tracing::info_span!(parent: &trace, "request", id = id.text());
    let in_flight = InFlight::begin();
    let mut response = match refused(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).instrument(span.clone()).await,
    };
    drop(in_flight);
    told_as_problem(&mut response, &id);
    let tls = !server.settings.tls_certificate.is_empty();
    dress(response.headers_mut(), &id, tls);

    let (status, seconds) = (response.status(), begun.elapsed().as_secs_f64());
    let labels =
        [("method", method.to_owned()), ("route", route.clone()), ("status", status.as_u16().to_string())];
    metrics::counter!("tradewind_http_requests_total", &labels).increment(1);
    metrics::histogram!("tradewind_http_request_seconds", "route" => route.clone()).record(seconds);
    let code = response.extensions().get::<Problem>().map(|p| p.code().to_owned());
    let key = response.extensions().get::<Caller>().map(|c| c.0.key_id.clone());
    let (ms, status) = ((seconds * 1e6).round() / 1e3, status.as_u16());
    let (code, key) = (code.as_deref().unwrap_or_default(), key.as_deref().unwrap_or_default());
    let trace = traces::ended(&trace, status);
    span.in_scope(|| tracing::info!(target: "access", method, route, status, ms, key, code, trace));
    response
}

/// Counts requests under way, those that are broken off included.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!("tradewind_http_in_flight").increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!("tradewind_http_in_flight").decrement(1.0);
    }
}

fn refused(request: &Request) -> Option<Problem> {
    let uri = request.uri();
    let uri_length = uri.path().len() + uri.query().map_or(0, str::len);
    if uri_length > URI_MAX {
        let detail = format!("an address has at most {URI_MAX} bytes, this one {uri_length}");
        return Some(Problem::http(Http::UriTooLong, detail));
    }
    let headers: usize = request.headers().iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    if headers > HEADERS_MAX {
        let detail = format!("headers have at most {HEADERS_MAX} bytes, these {headers}");
        return Some(Problem::http(Http::HeadersTooLarge, detail));
    }
    None
}

/// A problem gets the request's id; a bare status of the router becomes a problem.
fn told_as_problem(response: &mut Response, id: &RequestId) {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return;
    }
    let known = response.extensions().get::<Problem>().cloned();
    // Probes answer 503 with JSON of their own.
    let is_told = response.headers().get(header::CONTENT_TYPE).is_some_and(|t| {
        [MEDIA_TYPE, "application/json"].iter().any(|told| t.as_bytes().starts_with(told.as_bytes()))
    });
    let problem = match known {
        Some(problem) => problem,
        None if is_told => return,
        None => {
            let problem = Problem::of_status(status);
            match response.headers().get(header::ALLOW).and_then(|a| a.to_str().ok()) {
                Some(allow) if status == StatusCode::METHOD_NOT_ALLOWED => {
                    problem.hint(format!("this route takes {allow}"))
                }
                _ => problem,
            }
        }
    };
    let told = problem.request_id(id.text()).into_response();
    let (parts, body) = told.into_parts();
    for (name, value) in &parts.headers {
        response.headers_mut().insert(name, value.clone());
    }
    for stale in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG] {
        response.headers_mut().remove(stale);
    }
    response.extensions_mut().extend(parts.extensions);
    *response.body_mut() = body;
}

fn dress(headers: &mut HeaderMap, id: &RequestId, tls: bool) {
    headers.insert(REQUEST_ID, id.0.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// What a handler that panicked answers; the hook of panics has written the rest to the log.
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    metrics::counter!("tradewind_http_panics_total").increment(1);
    Problem::new(ErrorKind::Internal, "the request met a fault of the server")
        .hint("the server's log tells more under this request's id")
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6, 10.0.0.1"));
        headers.append("x-forwarded-for", HeaderValue::from_static("10.0.0.2"));
        assert_eq!(forwarded(&headers, 0), None);
        assert_eq!(forwarded(&headers, 1), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(forwarded(&headers, 2), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(forwarded(&headers, 9), None);
    }

    #[test]
    fn ids_are_taken_if_well_formed_and_fresh_ones_differ() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            RequestId::of(&headers).text().to_owned()
        };
        assert_eq!(of("a-1_b.c"), "a-1_b.c");
        for bad in ["", "a b", "a;b", "a\tb", "<script>"] {
            assert_ne!(of(bad), bad);
        }
        assert_ne!(fresh_id(), fresh_id());
    }
}
