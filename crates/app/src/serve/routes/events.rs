//! `/v1/events`: what visitors do. An event is acknowledged once it is durable in the event log and shown to the versions
//! that learn from events; sent again under its id it counts once.

use super::rows::Form;
use crate::serve::domain::Domain;
use crate::serve::door::{Door, Limits};
use crate::serve::extract::{from_json, too_large};
use crate::serve::problem::{Http, Problem};
use crate::serve::table::Routes;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tradewind::ErrorKind;
use tradewind::event_log::{ShopClock, ShopEvent};
use tradewind::ingest::event_log::Event;
use tradewind::ops::access::{Role, Scope};
use tradewind::serving::LiveEvent;
use utoipa::ToSchema;
use utoipa_axum::routes;

/// Events of one body at most; streams have no bound.
pub(crate) const EVENTS_MAX: usize = 10_000;
/// Bytes of one line of a stream at most.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;
/// Faults told one by one.
pub(crate) const FAULTS_MAX: usize = 100;
/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 256;
/// Bytes of a search at most.
const QUERY_BYTES_MAX: usize = 1_024;
/// Seconds that an event may lie in the future: clocks differ.
const AHEAD_MAX: i64 = 86_400;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
    /// A product was looked at.
    View,
    /// Words were searched for.
    Search,
    /// A product was clicked in a list.
    Click,
    /// A product was put into the cart.
    Cart,
    /// A product was bought.
    Purchase,
    /// A product was rated.
    Rating,
    /// A product was sent back.
    Return,
}

impl EventKind {
    fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Search => "search",
            Self::Click => "click",
            Self::Cart => "cart",
            Self::Purchase => "purchase",
            Self::Rating => "rating",
            Self::Return => "return",
        }
    }
}

/// When something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TimeWire {
    /// Milliseconds since 1970, UTC.
    Milliseconds(i64),
    /// A date and time, as `2026-11-01T13:00:00+08:00`; without an offset on the shop's clock.
    Text(String),
}

/// An event, in the words of the table `events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBody {
    /// The event's own name, 1 to 256 bytes: sent again under it, it counts once.
    pub(crate) event_id: String,
    /// When; the time of arrival when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ds: Option<TimeWire>,
    /// What was done.
    pub(crate) event: EventKind,
    /// Who, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<String>,
    /// In which visit, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
    /// With which product; all but searches need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) product_id: Option<String>,
    /// The words searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<String>,
    /// The quantity bought or put into the cart, or the stars given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
}

/// Several events.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsBody {
    /// The events, 1 to 10,000.
    pub(crate) events: Vec<EventBody>,
}

/// One event or several.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "only described: bodies are told apart by hand, so that faults name the field")]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// Several.
    Many(EventsBody),
    /// One.
    One(EventBody),
}

/// An event that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventFault {
    /// Its place, from 0; in a stream its line, from 1.
    pub(crate) at: usize,
    /// What is wrong with it.
    pub(crate) detail: String,
}

/// What became of the events.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct EventsAnswer {
    /// Events that are durable now and were not before.
    pub(crate) accepted: usize,
    /// Events that came before under the same id.
    pub(crate) duplicates: usize,
    /// Events that were not taken.
    pub(crate) rejected: usize,
    /// Why, for the first hundred.
    pub(crate) faults: Vec<EventFault>,
}

/// An event that is right: how it is kept, and what versions that learn from events see of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checked {
    /// The event's own name.
    pub(crate) id: String,
    /// What keeps its order: events of one visitor.
    pub(crate) key: String,
    /// When, in milliseconds since 1970.
    pub(crate) time_ms: i64,
    /// The event as it is kept, JSON.
    pub(crate) payload: Vec<u8>,
    /// What versions see; none where it names no product.
    pub(crate) live: Option<LiveEvent>,
}

impl EventBody {
    /// Checks an event that arrives at `now_ms`; times without an offset stand on `clock`.
    ///
    /// # Errors
    /// In words, without what it holds: that may be a person's.
    pub(crate) fn check(self, now_ms: i64, clock: ShopClock) -> Result<Checked, String> {
        for (name, value, bytes_max) in [
            ("event_id", Some(&self.event_id), NAME_BYTES_MAX),
            ("user_id", self.user_id.as_ref(), NAME_BYTES_MAX),
            ("session_id", self.session_id.as_ref(), NAME_BYTES_MAX),
            ("product_id", self.product_id.as_ref(), NAME_BYTES_MAX),
            ("query", self.query.as_ref(), QUERY_BYTES_MAX),
        ] {
            let Some(value) = value else { continue };
            if value.is_empty() || value.len() > bytes_max {
                return Err(format!("{name} has {} bytes; 1 to {bytes_max} are allowed", value.len()));
            }
            if value.contains(char::is_control) {
                return Err(format!("{name} holds a control character"));
            }
        }
        match (&self.product_id, self.event) {
            (None, EventKind::Search) if self.query.is_none() => {
                return Err("a search needs its query".to_owned());
            }
            (None, kind) if kind != EventKind::Search => {
                return Err(format!("a {} needs a product_id", kind.word()));
            }
            _ => {}
        }
        if let Some(value) = self.value {
            let range = if self.event == EventKind::Rating { 0.0..=5.0 } else { 0.0..=1e6 };
            if !range.contains(&value) {
                return Err(format!("value is {value}; {} to {} are allowed", range.start(), range.end()));
            }
        }
        if self.event == EventKind::Rating && self.value.is_none() {
            return Err("a rating needs its value, 0 to 5".to_owned());
        }
        let time_ms = match &self.ds {
            None => now_ms,
            Some(TimeWire::Milliseconds(ms)) => *ms,
            Some(TimeWire::Text(text)) => clock
                .parse_ms(text)
                .ok_or("ds is no time; write it as 2026-11-01T13:00:00 or in milliseconds since 1970")?,
        };
        if time_ms < 0 || time_ms > now_ms.saturating_add(AHEAD_MAX * 1_000) {
            return Err("ds lies before 1970 or more than a day ahead".to_owned());
        }
        let event = ShopEvent {
            event_id: self.event_id,
            ds: time_ms,
            event: self.event.word().to_owned(),
            user_id: self.user_id,
            session_id: self.session_id,
            product_id: self.product_id,
            query: self.query,
            value: self.value,
        };
        let payload = serde_json::to_vec(&event).map_err(|_| "cannot be kept".to_owned())?;
        let visitor = event.user_id.as_ref().or(event.session_id.as_ref()).or(event.product_id.as_ref());
        let key = visitor.cloned().unwrap_or_default();
        let live = event.live(clock);
        Ok(Checked { id: event.event_id, key, time_ms, payload, live })
    }
}

impl EventsAnswer {
    /// Notes an event that was not taken.
    pub(crate) fn reject(&mut self, at: usize, detail: impl Into<String>) {
        self.rejected += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(EventFault { at, detail: detail.into() });
        }
    }
}

pub(super) fn add(routes: Routes) -> Routes {
    let limits = Limits { time: Some(STREAM_TIME_MAX), body: Some(STREAM_BYTES_MAX) };
    routes.limited(Door::Key(Role::Analyst, Some(Scope::Events)), limits, routes!(take_events))
}

/// How long a stream may take.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3_600);
/// Bytes of a stream at most.
const STREAM_BYTES_MAX: usize = 1 << 40;
/// Bytes of a body that is no stream at most.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Events of a stream that are made durable together.
const STREAM_BATCH: usize = 1_000;

/// What visitors do. One event or several as JSON, or a stream of one event a line (`application/x-ndjson`). What is
/// answered as accepted is durable; whatever fails may be sent again, since events count once under their `event_id`.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    request_body(content((OneOrMany = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "What became of them", body = EventsAnswer),
        (status = 422, description = "None of the events was right", content_type = "application/problem+json",
            body = Problem),
    )
)]
async fn take_events(
    State(domain): State<Arc<Domain>>,
    request: Request,
) -> Result<Json<EventsAnswer>, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let answer = match media_type.and_then(Form::of_media_type) {
        Some(Form::Json) => {
            let bytes =
                axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| too_large())?;
            take_body(&domain, &bytes).await?
        }
        Some(Form::JsonLines) => take_stream(&domain, request.into_body()).await?,
        _ => {
            return Err(Problem::http(
                Http::UnsupportedMediaType,
                "the body must be application/json or application/x-ndjson",
            ));
        }
    };
    if answer.accepted + answer.duplicates == 0 && answer.rejected > 0 {
        let mut problem = Problem::new(ErrorKind::InvalidInput, "none of the events was right");
        for fault in answer.faults {
            problem = problem.field(format!("events[{}]", fault.at), fault.detail);
        }
        return Err(problem);
    }
    Ok(Json(answer))
}

async fn take_body(domain: &Domain, bytes: &[u8]) -> Result<EventsAnswer, Problem> {
    let value: serde_json::Value = from_json(bytes)?;
    // Told apart by hand, so that faults name the field.
    let events = if value.get("events").is_some() {
        from_json::<EventsBody>(bytes)?.events
    } else {
        vec![from_json::<EventBody>(bytes)?]
    };
    if events.is_empty() || events.len() > EVENTS_MAX {
        return Err(Problem::new(ErrorKind::InvalidInput, format!("{} events in one body", events.len()))
            .hint("send 1 to 10000 in one body, or a stream of lines"));
    }
    let (mut answer, mut right, now) = (EventsAnswer::default(), Vec::new(), now_ms());
    for (at, event) in events.into_iter().enumerate() {
        match event.check(now, domain.clock) {
            Ok(checked) => right.push(checked),
            Err(fault) => answer.reject(at, fault),
        }
    }
    keep(domain, right, &mut answer).await?;
    Ok(answer)
}

/// Lines as they come. Memory is bounded by a batch and a line, however long the stream is.
async fn take_stream(domain: &Domain, body: Body) -> Result<EventsAnswer, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut answer, mut right) = (EventsAnswer::default(), Vec::new());
    let mut lines = Lines::default();
    loop {
        let chunk = match chunks.next().await {
            Some(Ok(chunk)) => Some(chunk),
            // What came whole is kept; the rest was never promised.
            Some(Err(_)) => {
                keep(domain, std::mem::take(&mut right), &mut answer).await?;
                return Err(Problem::http(Http::Malformed, "the stream broke off")
                    .hint("send it again from its start"));
            }
            None => None,
        };
        let ended = chunk.is_none();
        let now = now_ms();
        for (at, line) in lines.take(chunk) {
            let event = line.and_then(|line| {
                serde_json::from_slice::<EventBody>(&line)
                    .map_err(|e| plain_fault(&e))
                    .and_then(|e| e.check(now, domain.clock))
            });
            match event {
                Ok(checked) => right.push(checked),
                Err(fault) => answer.reject(at, fault),
            }
            if right.len() >= STREAM_BATCH {
                keep(domain, std::mem::take(&mut right), &mut answer).await?;
            }
        }
        if ended {
            keep(domain, right, &mut answer).await?;
            return Ok(answer);
        }
    }
}

/// A fault of JSON without what the line holds.
fn plain_fault(e: &serde_json::Error) -> String {
    if e.is_data() {
        let text = e.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
        // Values of the wrong type are told with what they are; those may be a person's.
        return text.split(": ").next().map_or_else(
            || "is no event".to_owned(),
            |kind| match kind {
                "invalid type" | "invalid value" => format!("is no event: {kind}"),
                _ => format!("is no event: {text}"),
            },
        );
    }
    format!("is no JSON (column {})", e.column())
}

/// A stream of bytes cut into lines.
#[derive(Default)]
struct Lines {
    rest: BytesMut,
    /// Bytes of it that were looked through already.
    scanned: usize,
    /// Lines begun so far.
    n: usize,
    /// Whether the present line is too long and passed over up to its end.
    skipping: bool,
}

impl Lines {
    /// The lines that a chunk ends, each with its number from 1; at the end of the stream (`None`) the last one.
    fn take(&mut self, chunk: Option<Bytes>) -> Vec<(usize, Result<Bytes, String>)> {
        let mut out = Vec::new();
        match &chunk {
            Some(chunk) => self.rest.extend_from_slice(chunk),
            None if !self.rest.is_empty() || self.skipping => self.rest.extend_from_slice(b"\n"),
            None => {}
        }
        // What was looked through before holds no end of a line.
        let mut from = std::mem::take(&mut self.scanned);
        while let Some(end) = self.rest[from..].iter().position(|b| *b == b'\n') {
            let line = self.rest.split_to(from + end + 1).freeze();
            from = 0;
            self.n += 1;
            let line = line.slice(..line.len() - 1);
            if std::mem::take(&mut self.skipping) || line.len() > LINE_BYTES_MAX {
                out.push((self.n, Err(format!("is longer than {LINE_BYTES_MAX} bytes"))));
            } else if !line.trim_ascii().is_empty() {
                out.push((self.n, Ok(line)));
            }
        }
        if self.rest.len() > LINE_BYTES_MAX {
            self.rest.clear();
            self.skipping = true;
        }
        self.scanned = self.rest.len();
        out
    }
}

/// Makes events durable, then shows them to the versions that learn from events.
async fn keep(domain: &Domain, events: Vec<Checked>, answer: &mut EventsAnswer) -> Result<(), Problem> {
    if events.is_empty() {
        return Ok(());
    }
    let Some(log) = &domain.log else {
        return Err(Problem::new(ErrorKind::Unavailable, "this server takes no events: it has no event log"));
    };
    let (mut kept, mut live) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
    for e in events {
        kept.push(Event::new(e.id, e.key, e.time_ms, e.payload));
        live.extend(e.live);
    }
    let appended = log.append(&kept).await.map_err(|fault| {
        Problem::of(&fault)
            .hint("nothing of this batch was acknowledged; send it again")
            .retry_after(Duration::from_secs(2))
    })?;
    answer.accepted += appended.written;
    answer.duplicates += appended.duplicates;
    metrics::counter!("tradewind_events_total", "outcome" => "accepted").increment(appended.written as u64);
    metrics::counter!("tradewind_events_total", "outcome" => "duplicate")
        .increment(appended.duplicates as u64);
    let serving = domain.serving.clone();
    let shown = tokio::task::spawn_blocking(move || {
        for event in live {
            // It is durable; a version that cannot use it answers without it.
            if serving.event(event).is_err() {
                metrics::counter!("tradewind_events_total", "outcome" => "not_shown").increment(1);
            }
        }
    });
    if shown.await.is_err() {
        tracing::error!(
            "events were kept, but showing them to the versions that learn from them was broken off"
        );
    }
    Ok(())
}

/// The present, in milliseconds since 1970.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000_000;

    fn event(changes: serde_json::Value) -> Result<Checked, String> {
        let mut body = json!({ "event_id": "e1", "event": "view", "user_id": "ann", "product_id": "tea" });
        for (name, value) in changes.as_object().expect("an object") {
            body[name] = value.clone();
        }
        serde_json::from_value::<EventBody>(body).map_err(|e| e.to_string())?.check(NOW, ShopClock::UTC)
    }

    #[test]
    fn right_events_are_kept_and_shown() {
        let checked = event(json!({})).expect("right");
        assert_eq!((checked.id.as_str(), checked.key.as_str(), checked.time_ms), ("e1", "ann", NOW));
        let live = checked.live.clone().expect("a product");
        assert_eq!((live.item.as_str(), live.ds, live.event.as_str()), ("tea", NOW / 1000, "view"));
        let kept = ShopEvent::of_payload(&checked.payload).expect("an event");
        assert_eq!(kept.live(ShopClock::UTC), checked.live);
        let rated =
            event(json!({ "event": "rating", "value": 5.0 })).expect("right").live.expect("a product");
        assert_eq!(rated.weight, 1.0);
        let at = event(json!({ "ds": "2026-11-01T00:00:01" })).expect("right");
        assert_eq!(at.time_ms, 1_793_491_201_000);
        let search = event(json!({ "event": "search", "product_id": null, "query": "tea" })).expect("right");
        assert_eq!((search.live, search.key.as_str()), (None, "ann"));
    }

    #[test]
    fn streams_are_cut_into_lines_however_they_come() {
        let text = format!("a\n\n  \nbb\n{}\nccc", "x".repeat(LINE_BYTES_MAX * 3));
        for size in [1, 2, 7, 1000, text.len()] {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            let chunks = text.as_bytes().chunks(size).map(|c| Some(Bytes::copy_from_slice(c)));
            for chunk in chunks.chain([None]) {
                found.extend(lines.take(chunk));
                assert!(lines.rest.len() <= LINE_BYTES_MAX);
            }
            let told: Vec<(usize, Option<&[u8]>)> =
                found.iter().map(|(n, line)| (*n, line.as_deref().ok())).collect();
            let expected: [(usize, Option<&[u8]>); 4] =
                [(1, Some(b"a")), (4, Some(b"bb")), (5, None), (6, Some(b"ccc"))];
            assert_eq!(told, expected, "{size}");
        }
    }

    #[test]
    fn wrong_events_are_told_without_what_they_hold() {
        for (changes, part) in [
            (json!({ "event_id": "" }), "event_id has 0 bytes"),
            (json!({ "user_id": "secret".repeat(100) }), "user_id has 600 bytes"),
            (json!({ "user_id": "sec\u{0}ret" }), "control"),
            (json!({ "product_id": null }), "needs a product_id"),
            (json!({ "event": "search", "product_id": null }), "needs its query"),
            (json!({ "event": "rating" }), "needs its value"),
            (json!({ "event": "rating", "value": 6 }), "0 to 5"),
            (json!({ "value": -1 }), "0 to 1000000"),
            (json!({ "ds": "secret" }), "no time"),
            (json!({ "ds": -5 }), "before 1970"),
            (json!({ "ds": NOW + 90_000_000 }), "a day ahead"),
            (json!({ "event": "steal" }), "unknown variant"),
            (json!({ "colour": 1 }), "unknown field"),
        ] {
            let fault = event(changes).expect_err("wrong");
            assert!(fault.contains(part) && !fault.contains("secret"), "{fault}");
        }
    }
}
