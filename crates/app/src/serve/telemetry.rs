//! The log and the metrics.
//!
//! A line of the log holds the route's pattern and never its path, the key's id and never its secret.

use super::traces::{self, Traces};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use tradewind::warehouse::settings::LogFormat;
use tradewind::{Error, Result};

/// Bounds of the histogram of times, in seconds.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Begins the log on standard error, and the traces.
pub(crate) fn log(format: LogFormat, from: LevelFilter, traces: Option<&Traces>) {
    // Per layer: what is a trace is not a line of the log, and the other way round.
    let lines = EnvFilter::new(format!(
        "{from},sqlx=warn,hyper=warn,h2=warn,rustls=warn,datafusion=warn,{}=off",
        traces::TARGET
    ));
    let shown = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let spans = traces.map(|traces| {
        traces.layer().with_filter(Targets::new().with_target(traces::TARGET, LevelFilter::INFO))
    });
    // A second server in the process goes on with the first one's log.
    let _ = match format {
        LogFormat::Text => {
            let shown = shown.with_ansi(std::io::stderr().is_terminal());
            tracing_subscriber::registry().with(spans).with(shown.with_filter(lines)).try_init()
        }
        LogFormat::Json => {
            let shown = shown.json().flatten_event(true).with_current_span(true).with_span_list(false);
            tracing_subscriber::registry().with(spans).with(shown.with_filter(lines)).try_init()
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let payload = panic.payload();
        let text = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(place, "a fault of ours: {text}");
    }));
}

/// Begins the metrics.
pub(crate) fn metrics() -> Result<PrometheusHandle> {
    let asked = |e: &dyn std::fmt::Display| Error::asked(format!("metrics cannot begin: {e}"), "report it");
    let recorder = PrometheusBuilder::new().set_buckets(&SECONDS).map_err(|e| asked(&e))?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|e| asked(&e))?;
    describe();
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("tradewind_http_requests_total", "Requests answered, by method, route and status");
    describe_histogram!(
        "tradewind_http_request_seconds",
        Unit::Seconds,
        "Time to the head of the answer, by route"
    );
    describe_gauge!("tradewind_http_in_flight", "Requests under way");
    describe_counter!("tradewind_http_shed_total", "Requests refused since too many were under way");
    describe_counter!("tradewind_http_panics_total", "Requests that met a fault of ours");
    describe_counter!("tradewind_access_refused_total", "Requests refused for want of a good key, by reason");
    metrics::gauge!("tradewind_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
