//! Answers that may be kept: an ETag of their bytes, and 304 for who has them already.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An answer that its receiver may keep for `seconds` and ask for again by its ETag.
pub(crate) fn cached(
    headers: &HeaderMap,
    media_type: &'static str,
    bytes: impl Into<bytes::Bytes>,
    seconds: u32,
) -> Response {
    let bytes = bytes.into();
    let tag = tag_of(&bytes);
    let mut response = if matches(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = bytes.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    };
    let kept = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&tag) {
        kept.insert(header::ETAG, value);
    }
    // Private: what one key may see, another may not.
    if let Ok(value) = HeaderValue::from_str(&format!("private, max-age={seconds}")) {
        kept.insert(header::CACHE_CONTROL, value);
    }
    kept.insert(header::VARY, HeaderValue::from_static("authorization, x-api-key, accept-encoding"));
    response
}

/// The ETag of an answer. Weak, since compression changes the bytes and not the answer.
pub(crate) fn tag_of(bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes).to_hex();
    format!("W/\"{}\"", &hash.as_str()[..32])
}

/// Whether If-None-Match names the tag.
pub(crate) fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let strong = |t: &str| t.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|t| t.trim() == "*" || strong(t) == strong(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_already_gets_304() {
        let ask = |tag: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(tag) = tag {
                headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
            }
            cached(&headers, "application/json", "{}", 60)
        };
        let first = ask(None);
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = [
            "\"other\", ".to_owned() + &tag,
            tag.clone(),
            tag.trim_start_matches("W/").to_owned(),
            "*".into(),
        ];
        for tag in again {
            let second = ask(Some(&tag));
            assert_eq!(second.status(), StatusCode::NOT_MODIFIED, "{tag}");
            assert_eq!(second.headers()[header::ETAG], first.headers()[header::ETAG]);
        }
        assert_eq!(ask(Some("\"other\"")).status(), StatusCode::OK);
    }
}
