//! Times on the wire: RFC 3339 in UTC, to the millisecond.

use super::problem::Problem;
use chrono::{DateTime, SecondsFormat, Utc};
use tradewind::ErrorKind;

/// Milliseconds since 1970 as text.
pub(crate) fn stamp(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Text as milliseconds since 1970.
pub(crate) fn parse(field: &str, text: &str) -> Result<i64, Problem> {
    DateTime::parse_from_rfc3339(text).map(|t| t.timestamp_millis()).map_err(|_| {
        let detail = "write the time as 2026-11-27T08:30:00Z";
        Problem::new(ErrorKind::InvalidParams, format!("`{field}` is no time; {detail}")).field(field, detail)
    })
}
