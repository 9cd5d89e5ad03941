//! Requests and steps of jobs as traces, at a collector that reads them by the standard's own schema.

use super::ServedShop;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A collector: its address, and the spans that come.
fn collector() -> (String, mpsc::Receiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, spans) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = BufReader::new(socket.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while socket.read_line(&mut line).unwrap_or(0) > 2 {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            socket.read_exact(&mut body).unwrap();
            let told = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            for span in told.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans) {
                let _ = sender.send(span);
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.get_mut().write_all(answer).unwrap();
        }
    });
    (address, spans)
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone());
    found.map_or_else(String::new, |value| format!("{:?}", value.value))
}

#[test]
fn a_request_continues_the_trace_of_its_caller() {
    let (address, spans) = collector();
    let mut shop = ServedShop::new(&format!("[serve]\ntraces = \"{address}\"\ntraces_share = 0.0\n"));
    let key = shop.key("viewer", &[]);
    let served = shop.serve();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    // Of requests that bring no trace none is kept here, nor of those whose caller keeps none.
    assert_eq!(served.get("/v1/version", &key).send().unwrap().status(), 200);
    let of_caller = |flags: &str, path: &str| {
        let told = format!("00-{trace}-00f067aa0ba902b7-{flags}");
        served.get(path, &key).header("traceparent", told).send().unwrap().status()
    };
    assert_eq!(of_caller("00", "/v1/version"), 200);
    assert_eq!(of_caller("01", "/v1/trends/secret-name"), 503);
    let span = spans.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(span.name, "GET /v1/trends/{id}");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        (hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()),
        (trace, "00f067aa0ba902b7")
    );
    assert!(attribute(&span, "http.response.status_code").contains("503"), "{span:?}");
    assert!(attribute(&span, "http.route").contains("/v1/trends/{id}"), "{span:?}");
    assert!(!format!("{span:?}").contains("secret-name") && !format!("{span:?}").contains("tw_"), "{span:?}");
    assert_eq!(spans.recv_timeout(Duration::from_secs(7)).err(), Some(mpsc::RecvTimeoutError::Timeout));
    // The line of the log names the trace.
    let begun = Instant::now();
    while !served.log().contains(trace) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", served.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_step_of_the_servers_own_worker_is_a_trace() {
    let (address, spans) = collector();
    let mut shop = ServedShop::new(&format!("[serve]\ntraces = \"{address}\"\ntraces_share = 1.0\n"));
    let key = shop.key("operator", &[]);
    let served = shop.serve_as(&["--work", "1"], &[]);
    let answer = served.post("/v1/jobs", &key, r#"{"pipeline": "watch"}"#);
    assert!(answer.status().is_success(), "{}", answer.text().unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    let span = loop {
        let span = spans.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap();
        if span.name.starts_with("watch ") {
            break span;
        }
    };
    assert!(
        span.parent_span_id.is_empty() && span.end_time_unix_nano > span.start_time_unix_nano,
        "{span:?}"
    );
    assert!(attribute(&span, "ending").contains("done"), "{span:?}");
    assert!(attribute(&span, "run").contains('1'), "{span:?}");
}
