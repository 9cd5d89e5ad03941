//! Faults as callers see them: problem details (RFC 9457) with a stable code.
//!
//! A fault of ours, or of something this server leans on, is told to the log in full and to the caller in general terms.

use crate::status;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use tradewind::{ErrorKind, Fault};
use utoipa::ToSchema;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The sort of problem as a URI: `urn:tradewind:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:tradewind:problem:not_found")]
    kind: String,
    /// The sort of problem in words.
    title: String,
    /// The HTTP status.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    status: u16,
    /// The stable code to program against.
    #[schema(example = "not_found")]
    code: String,
    /// What went wrong this time.
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldFault>,
    /// The request, as the log names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip)]
    retry_after: Option<u64>,
    #[serde(skip)]
    challenge: Option<&'static str>,
}

/// One field at fault.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FieldFault {
    /// Which, as `items[2].price`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) detail: String,
}

/// Problems that are of HTTP and not of any crate below. Their codes are a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    Malformed,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    PreconditionFailed,
    TooLarge,
    UriTooLong,
    UnsupportedMediaType,
    RateLimited,
    HeadersTooLarge,
    Overloaded,
    TimedOut,
}

impl Http {
    pub(crate) fn status(self) -> StatusCode {
        self.line().0
    }

    fn line(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid key is needed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This route has other methods")
            }
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not_acceptable", "There is no such form"),
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request came too slowly")
            }
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "precondition_failed", "The thing has changed meanwhile")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large"),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "uri_too_long", "The address is too long"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body has another type")
            }
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                "The headers are too large",
            ),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too much is asked at once"),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed_out", "The answer took too long"),
        }
    }

    const ALL: [Self; 14] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Overloaded,
        Self::TimedOut,
    ];
}

fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput => "The data are not valid",
        ErrorKind::InvalidParams => "The parameters are not valid",
        ErrorKind::NotFound => "There is no such thing",
        ErrorKind::Conflict => "It is so already, or somebody else holds it",
        ErrorKind::NotEnoughData => "There are too few data",
        ErrorKind::NotConverged => "The method did not come to an end with these data",
        ErrorKind::Denied => "Not allowed",
        ErrorKind::Unavailable => "Something this server needs does not answer",
        ErrorKind::Interrupted => "The work was stopped",
        ErrorKind::Internal => "A fault of the server",
    }
}

impl Problem {
    fn made(status: StatusCode, code: &str, title: &str, detail: String) -> Self {
        Self {
            kind: format!("urn:tradewind:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail,
            hint: None,
            errors: Vec::new(),
            request_id: None,
            retry_after: None,
            challenge: None,
        }
    }

    /// A problem of HTTP.
    pub(crate) fn http(what: Http, detail: impl Into<String>) -> Self {
        let (status, code, title) = what.line();
        Self::made(status, code, title, detail.into())
    }

    /// A problem of this kind.
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self::made(status::of(kind), kind.code(), title(kind), detail.into())
    }

    /// The problem that a bare status stands for.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        if let Some(what) = Http::ALL.into_iter().find(|w| w.status() == status) {
            let (_, _, title) = what.line();
            return Self::http(what, title);
        }
        let kind = match status {
            StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::CONFLICT => ErrorKind::Conflict,
            StatusCode::UNPROCESSABLE_ENTITY => ErrorKind::InvalidInput,
            s if s.is_client_error() => {
                return Self::made(s, "malformed", "The request cannot be answered", s.to_string());
            }
            _ => ErrorKind::Internal,
        };
        let mut problem = Self::new(kind, title(kind));
        problem.status = status.as_u16();
        problem
    }

    /// With what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a field at fault.
    pub(crate) fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldFault { field: field.into(), detail: detail.into() });
        self
    }

    /// With the time after which to try again.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs_f64().ceil().max(1.0) as u64);
        self
    }

    /// With the challenge that 401 needs.
    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// With the request's name.
    pub(crate) fn request_id(mut self, id: &str) -> Self {
        self.request_id = Some(id.to_owned());
        self
    }

    /// The code, for logs and metrics.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// What a fault of a crate below is to a caller.
    pub(crate) fn of(fault: &dyn Fault) -> Self {
        match fault.kind() {
            kind @ (ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::Interrupted) => {
                let mut text = fault.to_string();
                let mut cause = std::error::Error::source(fault);
                while let Some(c) = cause {
                    text = format!("{text}: {c}");
                    cause = c.source();
                }
                tracing::error!(kind = kind.code(), "{text}");
                Self::new(kind, title(kind)).hint("the server's log tells more under this request's id")
            }
            kind => {
                let mut problem = Self::new(kind, fault.to_string());
                problem.hint = fault.hint();
                problem
            }
        }
    }
}

impl From<tradewind::Error> for Problem {
    fn from(fault: tradewind::Error) -> Self {
        Self::of(&fault)
    }
}

impl From<tradewind::ops::Error> for Problem {
    fn from(fault: tradewind::ops::Error) -> Self {
        Self::of(&fault)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (retry_after, challenge) = (self.retry_after, self.challenge);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // The outermost layer writes it again with the request's id.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_promise() {
        let codes: Vec<String> =
            Http::ALL.iter().map(|w| format!("{} {}", w.status().as_u16(), w.line().1)).collect();
        assert_eq!(
            codes,
            [
                "400 malformed",
                "401 unauthorized",
                "404 not_found",
                "405 method_not_allowed",
                "406 not_acceptable",
                "408 request_timeout",
                "412 precondition_failed",
                "413 too_large",
                "414 uri_too_long",
                "415 unsupported_media_type",
                "429 rate_limited",
                "431 headers_too_large",
                "503 overloaded",
                "504 timed_out",
            ]
        );
    }

    #[test]
    fn faults_of_ours_are_not_told_to_callers() {
        let fault =
            tradewind::ops::Error::asked(ErrorKind::Unavailable, "db.internal:5432 is away", "look there");
        let told = serde_json::to_string(&Problem::of(&fault)).unwrap();
        assert!(!told.contains("db.internal") && told.contains("unavailable"), "{told}");
        let fault = tradewind::ops::Error::asked(ErrorKind::NotFound, "there is no key `x`", "list them");
        let told = serde_json::to_string(&Problem::of(&fault)).unwrap();
        assert!(told.contains("there is no key `x`") && told.contains("list them"), "{told}");
    }

    #[test]
    fn any_status_has_its_problem() {
        for status in (400..600).filter_map(|s| StatusCode::from_u16(s).ok()) {
            assert_eq!(Problem::of_status(status).into_response().status(), status);
        }
    }
}
