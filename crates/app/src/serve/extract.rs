//! What a request holds, read strictly: a body of the right type and no unknown fields, with faults that name the field.
//!
//! Types that are read here are marked `#[serde(deny_unknown_fields)]`.

use super::problem::{Http, Problem};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use tradewind::ErrorKind;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if !media_type.is_some_and(is_json) {
            return Err(Problem::http(
                Http::UnsupportedMediaType,
                "the body must be JSON, with the header `Content-Type: application/json`",
            ));
        }
        let bytes = whole_body(request, state).await?;
        from_json(&bytes).map(Self)
    }
}

/// The whole body, up to the route's limit.
pub(crate) async fn whole_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|e| match e {
        BytesRejection::FailedToBufferBody(e) if e.status() == Http::TooLarge.status() => too_large(),
        _ => Problem::http(Http::Malformed, "the body did not arrive whole"),
    })
}

/// The problem of a body beyond the route's limit.
pub(crate) fn too_large() -> Problem {
    Problem::http(Http::TooLarge, "the body is longer than this route takes")
        .hint("send it in parts; `[serve] body_kib_max` sets the limit")
}

/// Reads JSON; faults name line and column, and the field where there is one.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        let fault = e.into_inner();
        let place = format!("line {}, column {}", fault.line(), fault.column());
        // A number where a name is wanted is a fault of syntax to serde_json, though the body is JSON.
        if fault.is_data() || serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
            let text = fault.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
            Problem::new(
                ErrorKind::InvalidInput,
                format!("the body is not as this route takes it ({place}): {text}"),
            )
            .field(field_of(&path, text), text)
        } else {
            Problem::http(Http::Malformed, format!("the body is not JSON ({place}): {fault}"))
        }
    })?;
    reader.end().map_err(|e| {
        Problem::http(
            Http::Malformed,
            format!("the body goes on after its end (line {}, column {})", e.line(), e.column()),
        )
    })?;
    Ok(value)
}

/// The field of a fault: the path, and for a missing or unknown field its own name behind it.
fn field_of(path: &str, text: &str) -> String {
    let named = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|start| text.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    match (path, named) {
        ("." | "?", Some(name)) => name.to_owned(),
        // The path may end with the unknown field already.
        (path, Some(name)) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        (path, Some(name)) => format!("{path}.{name}"),
        (path, None) => path.to_owned(),
    }
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The parameters after `?`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|q| Self(q.0)).map_err(|e| {
            let text = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            let (path, said) = text.split_once(": ").unwrap_or((".", text.as_str()));
            let field = field_of(path, said);
            Problem::new(ErrorKind::InvalidParams, format!("the query is not as this route takes it: {text}"))
                .field(field, said)
        })
    }
}

/// The parameters of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|p| Self(p.0))
            .map_err(|e| Problem::http(Http::Malformed, format!("the path cannot be read: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[expect(dead_code, reason = "only read")]
        price: f64,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Basket {
        #[expect(dead_code, reason = "only read")]
        items: Vec<Item>,
    }

    fn told(body: &str) -> String {
        serde_json::to_string(&from_json::<Basket>(body.as_bytes()).unwrap_err()).unwrap()
    }

    #[test]
    fn faults_name_field_line_and_column() {
        from_json::<Basket>(b" {\"items\": [{\"price\": 1}]}\n").unwrap();
        for (body, status, parts) in [
            ("{\"items\": [{\"price\": 1}, {\"price\": \"x\"}]}", 422, ["items[1].price", "line 1, column"]),
            ("{\"items\": [], \"colour\": 1}", 422, ["\"field\":\"colour\"", "unknown field"]),
            ("{\"items\": [{}]}", 422, ["\"field\":\"items[0].price\"", "missing field"]),
            ("{}", 422, ["\"field\":\"items\"", "missing field"]),
            ("{\n\"items\": [}", 400, ["line 2", "malformed"]),
            ("", 400, ["line 1", "malformed"]),
            ("{\"items\": []} x", 400, ["goes on after its end", "column"]),
            ("[]", 422, ["invalid", "line 1"]),
        ] {
            let told = told(body);
            assert!(told.contains(&format!("\"status\":{status}")), "{body}: {told}");
            for part in parts {
                assert!(told.contains(part), "{body}: {told}");
            }
        }
    }

    #[test]
    fn json_goes_by_several_names() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/ld+json"] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["text/json", "application/x-www-form-urlencoded", "", "json"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
