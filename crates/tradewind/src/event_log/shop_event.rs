//! One event of a visitor, as the log keeps it.

use crate::error::{Error, Result};
use crate::serving::LiveEvent;
use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tradewind_core::freq::parse_stamp;
use tradewind_warehouse::Shop;

/// The stars that speak neither for a product nor against it; five stars count 1.
const RATING_MIDDLE: f64 = 2.5;

/// What a visitor did, in the words of the table `events`. It is the payload of an event of the log, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShopEvent {
    /// The event's own name.
    pub event_id: String,
    /// When, in milliseconds since 1970, UTC.
    pub ds: i64,
    /// What was done: view, search, click, cart, purchase, rating, return.
    pub event: String,
    /// Who, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// In which visit, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// With which product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// The words searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The quantity, or the stars given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl ShopEvent {
    /// Back from the log; nothing where it is no such event.
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// What versions that learn from events see of it, on the shop's clock; nothing where it names no product.
    pub fn live(&self, clock: ShopClock) -> Option<LiveEvent> {
        let weight = match (self.event.as_str(), self.value) {
            ("rating", Some(stars)) => (stars - RATING_MIDDLE) / RATING_MIDDLE,
            _ => 1.0,
        };
        Some(LiveEvent {
            id: Some(self.event_id.clone()),
            user: self.user_id.clone(),
            session: self.session_id.clone(),
            item: self.product_id.clone()?,
            ds: clock.local_ms(self.ds).div_euclid(1_000),
            event: self.event.clone(),
            weight,
        })
    }
}

/// The clock on the shop's wall: tables hold its times, the log holds instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShopClock(Tz);

impl ShopClock {
    /// UTC.
    pub const UTC: Self = Self(Tz::UTC);

    /// The clock of the zone that the settings name; UTC where they name none.
    ///
    /// # Errors
    /// A zone that there is not.
    pub fn of(shop: &Shop) -> Result<Self> {
        Self::named(&shop.settings().shop.time_zone)
    }

    fn named(name: &str) -> Result<Self> {
        if name.trim().is_empty() {
            return Ok(Self::UTC);
        }
        name.trim().parse().map(Self).map_err(|_| {
            Error::asked(
                format!("[shop] time_zone `{name}` is no time zone"),
                "give one of the IANA names, as \"Asia/Shanghai\" or \"Europe/London\"",
            )
        })
    }

    /// What the clock shows at an instant, both in milliseconds since 1970.
    pub fn local_ms(self, utc_ms: i64) -> i64 {
        match self.0.timestamp_millis_opt(utc_ms) {
            chrono::LocalResult::Single(at) => at.naive_local().and_utc().timestamp_millis(),
            _ => utc_ms,
        }
    }

    /// The instant at which the clock shows a time: the first where it shows it twice; where it shows it never,
    /// as if it had not leapt.
    pub fn utc_ms(self, local_ms: i64) -> i64 {
        let Some(local) = DateTime::from_timestamp_millis(local_ms).map(|t| t.naive_utc()) else {
            return local_ms;
        };
        let earliest =
            |at: NaiveDateTime| self.0.from_local_datetime(&at).earliest().map(|t| t.timestamp_millis());
        // Clocks leap by less than three hours.
        let leap = TimeDelta::hours(3);
        earliest(local)
            .or_else(|| Some(earliest(local.checked_sub_signed(leap)?)? + leap.num_milliseconds()))
            .unwrap_or(local_ms)
    }

    /// Reads a time as an instant in milliseconds since 1970: with an offset (RFC 3339) it is one, without it stands on
    /// this clock.
    pub fn parse_ms(self, text: &str) -> Option<i64> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text.trim()) {
            return Some(at.timestamp_millis());
        }
        Some(self.utc_ms(parse_stamp(text)?.checked_mul(1_000)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_shops_time() {
        let shanghai = ShopClock::named("Asia/Shanghai").expect("a zone");
        // 2026-11-01 00:00 UTC is 08:00 there.
        let utc = 1_793_491_200_000;
        assert_eq!(shanghai.local_ms(utc), utc + 8 * 3_600_000);
        assert_eq!(shanghai.utc_ms(utc + 8 * 3_600_000), utc);
        assert_eq!(shanghai.parse_ms("2026-11-01T08:00:00"), Some(utc));
        assert_eq!(shanghai.parse_ms("2026-11-01T01:00:00+01:00"), Some(utc));
        assert_eq!(shanghai.parse_ms("2026-11-01T00:00:00Z"), Some(utc));
        assert_eq!(ShopClock::named(" ").expect("UTC").local_ms(utc), utc);
        assert!(ShopClock::named("Mars/Olympus").is_err());
        assert_eq!(shanghai.parse_ms("soon"), None);
    }

    #[test]
    fn leaps_of_the_clock_lose_no_order() {
        let london = ShopClock::named("Europe/London").expect("a zone");
        let at = |text: &str| london.parse_ms(text).expect("a time");
        // On 2026-03-29 the clock leaps from 01:00 to 02:00; on 2026-10-25 it shows 01:00 to 02:00 twice.
        assert_eq!(at("2026-03-29T01:30:00"), at("2026-03-29T00:30:00Z") + 3_600_000);
        assert_eq!(at("2026-03-29T02:30:00"), at("2026-03-29T01:30:00Z"));
        assert_eq!(at("2026-10-25T01:30:00"), at("2026-10-25T00:30:00Z"));
        for hour in 0..48 {
            let utc = at("2026-03-28T12:00:00Z") + hour * 3_600_000;
            assert_eq!(london.utc_ms(london.local_ms(utc)), utc, "{hour}");
        }
    }

    #[test]
    fn payloads_read_back() {
        let event = ShopEvent {
            event_id: "e".into(),
            ds: 1_000,
            event: "rating".into(),
            user_id: None,
            session_id: Some("s".into()),
            product_id: Some("tea".into()),
            query: None,
            value: Some(5.0),
        };
        let payload = serde_json::to_vec(&event).expect("JSON");
        assert_eq!(ShopEvent::of_payload(&payload), Some(event.clone()));
        let live = event.live(ShopClock::UTC).expect("a product");
        assert_eq!((live.ds, live.weight, live.item.as_str()), (1, 1.0, "tea"));
        assert_eq!(ShopEvent { product_id: None, ..event }.live(ShopClock::UTC), None);
        assert_eq!(ShopEvent::of_payload(b"{}"), None);
    }
}
