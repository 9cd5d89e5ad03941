//! HTTP status: one table from kinds of fault to what a caller sees.

use axum::http::StatusCode;
use tradewind::ErrorKind;

/// The status of a kind of fault.
pub(crate) fn of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput
        | ErrorKind::InvalidParams
        | ErrorKind::NotEnoughData
        | ErrorKind::NotConverged => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable | ErrorKind::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_a_promise() {
        for (kind, status) in [
            (ErrorKind::InvalidInput, 422),
            (ErrorKind::InvalidParams, 422),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Conflict, 409),
            (ErrorKind::NotEnoughData, 422),
            (ErrorKind::NotConverged, 422),
            (ErrorKind::Denied, 403),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Interrupted, 503),
            (ErrorKind::Internal, 500),
        ] {
            assert_eq!(of(kind).as_u16(), status);
        }
    }
}
