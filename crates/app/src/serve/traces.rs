//! Traces for an OpenTelemetry collector (OTLP over HTTP): a span for each request, which continues that of the caller
//! where it sent a `traceparent` (W3C Trace Context), and one for each step that the server's own worker does.
//!
//! Spans of the target [`TARGET`] are traces and nothing else; the log does not show them. They hold the route's pattern,
//! never a path, a key or a body.

use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;
use tradewind::warehouse::settings::ServeSettings;
use tradewind::{Error, Result};

pub(crate) use tradewind::ops::TRACES as TARGET;

const TIME_MAX: Duration = Duration::from_secs(10);

/// What sends spans away, in batches and from a thread of its own.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// That of the settings; none where they name no collector. Must be called outside a runtime.
    ///
    /// # Errors
    /// Something that is no http or https address.
    pub(crate) fn open(settings: &ServeSettings) -> Result<Option<Self>> {
        let address = settings.traces.trim();
        if address.is_empty() {
            return Ok(None);
        }
        let hint = "write it as http://collector:4318/v1/traces, or \"\" for no traces";
        let url = reqwest::Url::parse(address).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Error::asked("[serve] traces is no web address", hint))?;
        let client = reqwest::blocking::Client::builder()
            .timeout(TIME_MAX)
            .build()
            .map_err(|e| Error::asked(format!("no traces can be sent: {}", e.without_url()), hint))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Carrier { client, failed: AtomicBool::new(false) })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .with_timeout(TIME_MAX)
            .build()
            .map_err(|e| Error::asked(format!("no traces can be sent: {e}"), hint))?;
        let resource = Resource::builder()
            .with_service_name("tradewind")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        // Whoever calls with a trace has decided already whether it is kept.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.traces_share)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Some(Self(provider)))
    }

    /// What turns spans into traces.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OpenTelemetryLayer<S, SdkTracer> {
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracer(self.0.tracer("tradewind"))
    }

    /// Sends what waits. Must be called outside a runtime.
    pub(crate) fn close(self) {
        if let Err(e) = self.0.shutdown_with_timeout(TIME_MAX) {
            tracing::warn!("the last traces were not sent: {e}");
        }
    }
}

/// The span of a request; nothing where traces are not asked for.
pub(crate) fn of_request(method: &str, route: &str, headers: &HeaderMap) -> Span {
    let name = format_args!("{method} {route}");
    let span = tracing::info_span!(
        target: TARGET, "request", otel.name = %name, otel.kind = "server", otel.status_code = tracing::field::Empty,
        http.request.method = method, http.route = route, http.response.status_code = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let told = TraceContextPropagator::new().extract(&Sent(headers));
        if told.span().span_context().is_valid() {
            let _ = span.set_parent(told);
        }
    }
    span
}

/// Notes how a request ended, and gives its trace where there is one.
pub(crate) fn ended(span: &Span, status: u16) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_sampled().then(|| context.trace_id().to_string())
}

/// The headers of a request, for who looks for a trace in them.
struct Sent<'a>(&'a HeaderMap);

impl Extractor for Sent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// The client of the house, for spans; it is used by the exporter's own thread alone.
#[derive(Debug)]
struct Carrier {
    client: reqwest::blocking::Client,
    /// Whether the last batch was lost, so that a collector that is away is told of once.
    failed: AtomicBool,
}

impl Carrier {
    fn carry(&self, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let sent = self
            .client
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body)
            .send()
            .map_err(reqwest::Error::without_url)?;
        let mut answer = Response::builder().status(sent.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(sent.headers());
        }
        Ok(answer.body(sent.bytes().map_err(reqwest::Error::without_url)?)?)
    }
}

impl HttpClient for Carrier {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self.carry(request);
            let fault = match &answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(answer.status().to_string()),
                Err(e) => Some(e.to_string()),
            };
            let failed = fault.is_some();
            if let Some(fault) = fault
                && !self.failed.load(Ordering::Relaxed)
            {
                tracing::warn!("the collector of traces does not take them: {fault}");
            }
            self.failed.store(failed, Ordering::Relaxed);
            answer
        })
    }
}
