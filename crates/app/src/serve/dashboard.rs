//! The dashboard: the files that the build script made of `web/`, under `/`.
//!
//! They hold no data and need no key; what a page shows it asks of `/v1` with the key that was typed in. Paths that no
//! file has are pages of the dashboard when a browser goes there, and no routes otherwise.

use super::answer::matches;
use super::problem::{Http, Problem};
use super::routes::nonce;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// A file of the dashboard in its forms.
pub(crate) struct File {
    /// Its path without the first `/`.
    path: &'static str,
    /// Its media type.
    media_type: &'static str,
    /// Its entity tag.
    etag: &'static str,
    /// Its bytes.
    plain: &'static [u8],
    /// The same, compressed with gzip; empty where that is no gain.
    gzip: &'static [u8],
    /// The same, compressed with Brotli; empty where that is no gain.
    brotli: &'static [u8],
}

// `FILES` by path, empty without a dashboard, and `REASON`: why there is none.
include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// What the pages may do: run and look like their own files, and ask this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// First words of paths that are never pages: those of the API and of probes.
const NO_PAGES: &[&str] =
    &["v1", "v2", "docs", "metrics", "livez", "readyz", "startupz", "ping", "invocations", "assets"];

/// Answers what is no route of the table.
pub(crate) async fn answer(request: Request<Body>) -> Response {
    let (path, headers) = (request.uri().path().trim_start_matches('/'), request.headers());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return no_route().into_response();
    }
    if let Some(file) = find(path) {
        return sent(file, headers);
    }
    if !is_page(path, headers) {
        return no_route().into_response();
    }
    match find("index.html") {
        Some(page) => {
            let mut response = sent(page, headers);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            response
        }
        None => absent(),
    }
}

fn no_route() -> Problem {
    Problem::http(Http::NotFound, "there is no such route").hint("GET /v1/openapi.json lists the routes")
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|f| f.path == path)
}

/// Whether a browser asks for a page: the beginning, or an address without an ending that a browser goes to.
fn is_page(path: &str, headers: &HeaderMap) -> bool {
    if path.is_empty() || path == "index.html" {
        return true;
    }
    let (first, last) =
        (path.split('/').next().unwrap_or_default(), path.rsplit('/').next().unwrap_or_default());
    let wants_html =
        headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    wants_html && !last.contains('.') && !NO_PAGES.contains(&first)
}

/// A file in the smallest form that the caller reads, or 304 for who has it already.
fn sent(file: &'static File, headers: &HeaderMap) -> Response {
    let reads = |coding: &str| {
        let mut lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
        lines.any(|l| l.split(',').any(|one| accepts(one, coding)))
    };
    let (bytes, coding) = if !file.brotli.is_empty() && reads("br") {
        (file.brotli, Some("br"))
    } else if !file.gzip.is_empty() && reads("gzip") {
        (file.gzip, Some("gzip"))
    } else {
        (file.plain, None)
    };
    let mut response = if matches(headers, file.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = bytes.into_response();
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
        if let Some(coding) = coding {
            out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    };
    let out = response.headers_mut();
    out.insert(header::ETAG, HeaderValue::from_static(file.etag));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // The names under `assets/` change with what they hold; all others are asked for again each time.
    let kept =
        if file.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    response
}

/// Whether an entry of Accept-Encoding, as `gzip;q=0.5`, takes a coding.
fn accepts(entry: &str, coding: &str) -> bool {
    let mut parts = entry.split(';').map(str::trim);
    let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
    named && !parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0)))
}

/// The page of a server that was built without a dashboard: how to get it.
fn absent() -> Response {
    let nonce = nonce();
    let page =
        include_str!("dashboard_absent.html").replace("__NONCE__", &nonce).replace("__REASON__", REASON);
    let policy =
        format!("default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'");
    let mut response = Html(page).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    async fn ask(method: &str, path: &str, lines: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let response = answer(request.body(Body::empty()).unwrap()).await;
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, to_bytes(body, 1 << 24).await.unwrap().to_vec())
    }

    const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

    #[tokio::test]
    async fn browsers_get_pages_and_programs_get_problems() {
        for path in ["/", "/trends", "/trends/P-001", "/models/forecasts/compare"] {
            let (status, headers, body) = ask("GET", path, &[BROWSER]).await;
            assert_eq!(status, 200, "{path}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            assert!(String::from_utf8_lossy(&body).contains("Tradewind"), "{path}");
        }
        for path in ["/v1/nothing", "/v2/x", "/docs/x", "/assets/gone.js", "/favicon.png", "/v1"] {
            assert_eq!(ask("GET", path, &[BROWSER]).await.0, 404, "{path}");
        }
        assert_eq!(ask("GET", "/trends", &[("accept", "application/json")]).await.0, 404);
        assert_eq!(ask("POST", "/", &[BROWSER]).await.0, 404);
    }

    #[tokio::test]
    async fn files_are_compressed_kept_and_known_again() {
        for file in FILES {
            let path = format!("/{}", file.path);
            let (status, headers, body) = ask("GET", &path, &[("accept-encoding", "gzip;q=0.5, br")]).await;
            assert_eq!(status, 200, "{path}");
            if !file.brotli.is_empty() {
                assert_eq!(
                    (headers["content-encoding"].as_bytes(), body.len()),
                    (&b"br"[..], file.brotli.len())
                );
            }
            let (_, plain, body) = ask("GET", &path, &[("accept-encoding", "br;q=0")]).await;
            assert!(!plain.contains_key("content-encoding") && body == file.plain, "{path}");
            let immutable = headers["cache-control"].to_str().unwrap().contains("immutable");
            assert_eq!(immutable, path.starts_with("/assets/"), "{path}");
            assert_eq!(ask("GET", &path, &[("if-none-match", file.etag)]).await.0, 304, "{path}");
        }
    }

    #[test]
    fn a_page_without_the_dashboard_says_how_to_get_it() {
        let page = include_str!("dashboard_absent.html");
        for word in ["npm", "cargo build --release", "TRADEWIND_SKIP_WEB", "__REASON__"] {
            assert!(page.contains(word), "{word}");
        }
        assert!(REASON.is_empty() != FILES.is_empty(), "{REASON}");
    }

    #[test]
    fn codings_with_weight_zero_are_refused() {
        assert!(accepts(" br", "br") && accepts("GZIP;q=0.1", "gzip") && accepts("br; q=1", "br"));
        assert!(!accepts("br;q=0", "br") && !accepts("br; q=0.0", "br") && !accepts("brx", "br"));
    }
}
