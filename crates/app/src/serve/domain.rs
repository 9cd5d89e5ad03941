//! What the routes of trends, forecasts, prices, recommendations, learnt models and events are given: the versions that
//! answer, answers that were serialised already, room for work that takes a while, and the event log.

use super::answer::matches;
use super::layers::RequestId;
use super::problem::{Http, Problem};
use super::routes::cache::{AnswerCache, Cached, Key};
use super::routes::learn;
use super::state::Server;
use arc_swap::ArcSwapOption;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tradewind::event_log::ShopClock;
use tradewind::ingest::event_log::EventLog;
use tradewind::ops::experiment::Assigner;
use tradewind::serving::{Identity, Kind, Loaded, Serving, data_fingerprint};
use tradewind::{ErrorKind, Run, Shop};

/// Bytes of serialised answers kept.
const CACHE_BYTES: usize = 64 << 20;
/// Shadow calls that wait at most; more are passed over.
const SHADOWS_WAITING_MAX: usize = 1_024;
/// Work that waits for its turn, for each piece that is worked on.
const WAITING_FACTOR: usize = 8;

/// The header that tells which version answered.
const MODEL: HeaderName = HeaderName::from_static("x-tradewind-model");

/// A shadow call.
type Shadow = Box<dyn FnOnce() + Send>;

/// See the [module](self).
pub(crate) struct Domain {
    /// The versions that answer.
    pub(crate) serving: Arc<Serving>,
    /// The arms of running experiments as they were last seen.
    pub(crate) arms: ArcSwapOption<Assigner>,
    /// The event log; none where events are not taken.
    pub(crate) log: Option<Arc<dyn EventLog>>,
    /// The clock on the shop's wall.
    pub(crate) clock: ShopClock,
    /// The shop whose data are told; none in tests without one.
    shop: Option<Shop>,
    cache: AnswerCache,
    shadows: mpsc::Sender<Shadow>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl FromRef<Server> for Arc<Domain> {
    fn from_ref(server: &Server) -> Self {
        server.domain.clone()
    }
}

impl Domain {
    /// No version yet. Must be called inside a runtime.
    pub(crate) fn new(log: Option<Arc<dyn EventLog>>, clock: ShopClock) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (shadows, mut calls) = mpsc::channel::<Shadow>(SHADOWS_WAITING_MAX);
        // One at a time: a shadow never takes more than one processor from those that answer. It ends with the sender.
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                if tokio::task::spawn_blocking(call).await.is_err() {
                    metrics::counter!("tradewind_shadow_total", "outcome" => "panicked").increment(1);
                }
            }
        });
        Self {
            serving: Arc::default(),
            arms: ArcSwapOption::empty(),
            log,
            clock,
            shop: None,
            cache: AnswerCache::new(CACHE_BYTES),
            shadows,
            turns: Arc::new(Semaphore::new(threads)),
            waiting: AtomicUsize::new(0),
            waiting_max: threads * WAITING_FACTOR,
        }
    }

    /// The same with the shop whose data are told.
    pub(crate) fn with_shop(self, shop: Shop) -> Self {
        Self { shop: Some(shop), ..self }
    }

    /// The shop whose data are told.
    ///
    /// # Errors
    /// A server without one.
    pub(crate) fn shop(&self) -> Result<Shop, Problem> {
        self.shop.clone().ok_or_else(|| {
            Problem::new(ErrorKind::Unavailable, "this server has no shop").hint("serve a shop's folder")
        })
    }

    /// The version that answers, and those that are asked in its shadow.
    ///
    /// # Errors
    /// A route without a version.
    pub(crate) fn choose(
        &self,
        route: &str,
        user: Option<&str>,
        request: &str,
    ) -> Result<(Arc<Loaded>, Vec<Arc<Loaded>>), Problem> {
        let table = self.serving.table();
        let found = table.route(route).ok_or_else(|| self.nobody(route))?;
        let assigned = found.assign(user, request);
        Ok((assigned.loaded.clone(), assigned.shadows.into_iter().cloned().collect()))
    }

    /// The problem of a route without a version.
    pub(crate) fn nobody(&self, route: &str) -> Problem {
        if let Some(model) = route.strip_prefix(learn::PREFIX) {
            let table = self.serving.table();
            let known: Vec<&str> =
                table.routes().filter_map(|(r, _)| r.strip_prefix(learn::PREFIX)).collect();
            let shown: String = model.chars().take(100).collect();
            let hint = if known.is_empty() {
                "no learnt model is in production: register one and promote it to champion".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            return Problem::new(ErrorKind::NotFound, format!("there is no learnt model `{shown}`"))
                .hint(hint);
        }
        Problem::new(ErrorKind::Unavailable, format!("no version of {route} is in production"))
            .hint("make a version, register it and promote it to champion; it then answers within seconds")
            .retry_after(Duration::from_secs(10))
    }

    /// An answer of a loaded version that is the same for the same question: from those kept, or made now and kept.
    ///
    /// # Errors
    /// A route without a version, a question that the version cannot answer.
    pub(crate) fn kept(
        &self,
        route: &str,
        asked: &Asked,
        make: impl Fn(&Loaded) -> tradewind::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Response, Problem> {
        let (version, shadows) = self.choose(route, None, asked.id.text())?;
        let key = Key::of(&version.identity, asked.uri.path(), asked.uri.query().unwrap_or_default());
        let cached = match self.cache.get(key) {
            Some(cached) => {
                metrics::counter!("tradewind_answer_cache_total", "outcome" => "hit").increment(1);
                cached
            }
            None => {
                metrics::counter!("tradewind_answer_cache_total", "outcome" => "miss").increment(1);
                let cached = Cached::new(make(&version)?);
                self.cache.put(key, cached.clone());
                cached
            }
        };
        self.shadow(route, shadows, make);
        Ok(respond(&asked.known, &version, &cached))
    }

    /// An answer of the shop's data: from those kept while the data and the settings that matter are the same, or made
    /// now and kept.
    ///
    /// # Errors
    /// As `make`; too much that waits already; a server without a shop.
    pub(crate) async fn of_shop(
        &self,
        asked: &OfShop<'_>,
        make: impl FnOnce(&Run, &Shop) -> tradewind::Result<Vec<u8>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let shop = self.shop()?;
        let state = shop.clone();
        let artifact_hash = self.work(move |_| data_fingerprint(&state, Kind::Trends)).await?;
        let key = Key::of(
            &Identity { model: "shop".to_owned(), version: 0, artifact_hash },
            asked.path,
            asked.query,
        );
        let cached = match self.cache.get(key) {
            Some(cached) => cached,
            None => {
                let cached = Cached::new(self.work(move |run| make(run, &shop)).await?);
                self.cache.put(key, cached.clone());
                cached
            }
        };
        Ok(told(asked.headers, &cached))
    }

    /// Asks versions in the shadow of an answer; what they say is noted and thrown away.
    pub(crate) fn shadow(
        &self,
        route: &str,
        versions: Vec<Arc<Loaded>>,
        make: impl Fn(&Loaded) -> tradewind::Result<Vec<u8>> + Send + Sync + 'static,
    ) {
        if versions.is_empty() {
            return;
        }
        let (make, route) = (Arc::new(make), route.to_owned());
        for version in versions {
            let (make, route) = (make.clone(), route.clone());
            let call = Box::new(move || {
                let begun = Instant::now();
                let outcome = if make(&version).is_ok() { "answered" } else { "failed" };
                let seconds = begun.elapsed().as_secs_f64();
                let labels = [("route", route), ("version", version.identity.to_string())];
                metrics::histogram!("tradewind_shadow_seconds", &labels).record(seconds);
                metrics::counter!("tradewind_shadow_total", "outcome" => outcome).increment(1);
            });
            if self.shadows.try_send(call).is_err() {
                metrics::counter!("tradewind_shadow_total", "outcome" => "passed_over").increment(1);
            }
        }
    }

    /// Works for a request on a thread that answers nobody else, when its turn comes. When the request is broken off,
    /// the work is asked to stop.
    ///
    /// # Errors
    /// As `work`; too much that waits already.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Run) -> tradewind::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        /// Asks the work to stop when nobody waits for it any longer.
        struct Stop(Run);
        impl Drop for Stop {
            fn drop(&mut self) {
                self.0.cancel();
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        if before >= self.waiting_max {
            return Err(Problem::http(Http::Overloaded, "as much work as is allowed waits already")
                .retry_after(Duration::from_secs(2)));
        }
        let turn = self.turns.clone().acquire_owned().await;
        drop(waiting);
        let run = Run::new(0).with_threads(1);
        let stop = Stop(run.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&run)
        })
        .await;
        drop(stop);
        match done {
            Ok(done) => Ok(done?),
            Err(_) => Err(Problem::new(ErrorKind::Internal, "the work met a fault of the server")),
        }
    }
}

/// A question whose answer may be kept.
pub(crate) struct Asked {
    uri: Uri,
    /// What of its headers matters: what the caller has already.
    known: HeaderMap,
    id: RequestId,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let id = parts.extensions.get::<RequestId>().cloned();
        let id = id.ok_or_else(|| Problem::new(ErrorKind::Internal, "a request without a name"))?;
        let mut known = HeaderMap::new();
        for value in parts.headers.get_all(header::IF_NONE_MATCH) {
            known.append(header::IF_NONE_MATCH, value.clone());
        }
        Ok(Self { uri: parts.uri.clone(), known, id })
    }
}

/// A question about the shop's data.
pub(crate) struct OfShop<'a> {
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> OfShop<'a> {
    /// The question of a request.
    pub(crate) fn new(uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self { path: uri.path(), query: uri.query().unwrap_or_default(), headers }
    }
}

/// The header with the version that answered.
pub(crate) fn model_header(version: &Loaded) -> (HeaderName, HeaderValue) {
    let text = version.identity.to_string();
    (MODEL, HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unnamed")))
}

/// A kept answer of a version as a response.
fn respond(headers: &HeaderMap, version: &Loaded, cached: &Cached) -> Response {
    let mut response = told(headers, cached);
    let (name, value) = model_header(version);
    response.headers_mut().insert(name, value);
    response
}

/// A kept answer as a response, or 304 for who has it already.
fn told(headers: &HeaderMap, cached: &Cached) -> Response {
    let known = headers.contains_key(header::IF_NONE_MATCH)
        && matches(headers, cached.etag.to_str().unwrap_or_default());
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => cached.body.clone().into_response(),
    };
    let out = response.headers_mut();
    if !known {
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    out.insert(header::ETAG, cached.etag.clone());
    // Whoever keeps it asks again each time: another version may answer by then.
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    out.insert(header::VARY, HeaderValue::from_static("authorization, x-api-key, accept-encoding"));
    response
}

/// A fresh answer as a response.
pub(crate) fn fresh(version: &Loaded, media_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = bytes::Bytes::from(body).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let (name, value) = model_header(version);
    out.insert(name, value);
    response
}
