//! When a schedule fires: cron in a time zone.
//!
//! Two kinds of patterns stand for two wishes. One whose hours are listed (`30 2 * * *`, `0 8-18 * * *`) names times on
//! the wall: each is met once a day. Where the clock skips it in spring, it fires at the first moment after the gap; where
//! the clock repeats it in autumn, it fires the first time only. One whose hours are any or every n-th (`*/15 * * * *`,
//! `0 */6 * * *`) names a rhythm: it fires whenever the wall shows a fitting time, so a rhythm of minutes goes on through
//! the repeated hour. What is skipped in spring is left out then.

use crate::error::{Error, Result};
use chrono::{DateTime, Duration, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::Serialize;
use std::str::FromStr;
use tradewind_core::ErrorKind;

/// What becomes of times that passed while no worker was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The newest of them is made up for, the others are not.
    #[default]
    Once,
    /// They are left out.
    Skip,
}

impl Missed {
    /// The stable word for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Skip => "skip",
        }
    }

    /// The policy of this word.
    pub fn of(code: &str) -> Option<Self> {
        [Self::Once, Self::Skip].into_iter().find(|missed| missed.code() == code)
    }
}

/// A pattern in a time zone.
///
/// ```
/// use tradewind_ops::jobs::Schedule;
/// let nightly = Schedule::new("30 2 * * *", "Europe/Berlin").unwrap();
/// let ms = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_millis();
/// // 2:30 does not exist on the last Sunday in March: the clock goes from 2 to 3.
/// let fires = nightly.fires(ms("2026-03-28T12:00:00Z"), ms("2026-03-30T12:00:00Z"), 10);
/// assert_eq!(fires, [ms("2026-03-29T01:00:00Z"), ms("2026-03-30T00:30:00Z")]);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    /// Whether the hours are listed, so that each time on the wall is meant once.
    listed: bool,
}

impl Schedule {
    /// A pattern of five fields (minute, hour, day of the month, month, day of the week), or `@daily` and the like, in a
    /// zone of the IANA list such as `Asia/Shanghai`.
    ///
    /// # Errors
    /// A pattern that cannot be read, that never fires, or an unknown zone.
    pub fn new(pattern: &str, zone: &str) -> Result<Self> {
        let shown = |text: &str| text.chars().take(100).collect::<String>();
        let refuse = |text: String, hint: &str| Error::asked(ErrorKind::InvalidParams, text, hint);
        let zone = Tz::from_str(zone).map_err(|_| {
            refuse(
                format!("{:?} is no time zone", shown(zone)),
                "name one such as Asia/Shanghai or Europe/Berlin",
            )
        })?;
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(pattern)
            .map_err(|e| {
                refuse(
                    format!("{:?} is no cron pattern: {e}", shown(pattern)),
                    "give minute, hour, day, month and day of the week, as 30 2 * * *",
                )
            })?;
        let hour = pattern.split_whitespace().nth(1).unwrap_or_default();
        let listed = if pattern.trim_start().starts_with('@') {
            !pattern.trim().eq_ignore_ascii_case("@hourly")
        } else {
            !hour.contains('*')
        };
        let this = Self { cron, zone, listed };
        let now = Utc::now().naive_utc();
        if this.cron.find_next_occurrence(&now, false).is_err() {
            return Err(refuse(
                format!("{:?} never fires", shown(pattern)),
                "name a day that some month has",
            ));
        }
        Ok(this)
    }

    /// The zone's name.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The times in (`after_ms`, `until_ms`] at which it fires, oldest first, at most `limit`; milliseconds since 1970.
    pub fn fires(&self, after_ms: i64, until_ms: i64, limit: usize) -> Vec<i64> {
        let mut out = Vec::new();
        self.each(after_ms, |ms| {
            if ms > until_ms || out.len() == limit {
                return false;
            }
            out.push(ms);
            true
        });
        out
    }

    /// The newest time in (`after_ms`, `until_ms`] at which it fires.
    pub fn newest(&self, after_ms: i64, until_ms: i64) -> Option<i64> {
        // A long absence of a minutely schedule holds half a million times a year; most often the newest is near.
        let mut window_ms = 2 * 86_400_000_i64;
        loop {
            let from = after_ms.max(until_ms.saturating_sub(window_ms));
            let mut newest = None;
            self.each(from, |ms| {
                if ms > until_ms {
                    return false;
                }
                newest = Some(ms);
                true
            });
            if newest.is_some() || from == after_ms {
                return newest;
            }
            window_ms = window_ms.saturating_mul(16);
        }
    }

    /// The first time after `after_ms` at which it fires.
    pub fn next(&self, after_ms: i64) -> Option<i64> {
        let mut first = None;
        self.each(after_ms, |ms| {
            first = Some(ms);
            false
        });
        first
    }

    /// Hands on the times after `after_ms` until `take` says that it is enough.
    fn each(&self, after_ms: i64, mut take: impl FnMut(i64) -> bool) {
        let Some(after) = DateTime::<Utc>::from_timestamp_millis(after_ms) else { return };
        if !self.listed {
            let mut at = after.with_timezone(&self.zone);
            while let Ok(next) = self.cron.find_next_occurrence(&at, false) {
                if next.timestamp_millis() > after_ms && !take(next.timestamp_millis()) {
                    return;
                }
                at = next;
            }
            return;
        }
        // Times on the wall, from a day before: one that lies in a gap fires after it, and no gap is longer.
        let mut at = after.with_timezone(&self.zone).naive_local() - Duration::days(1);
        let mut newest = after_ms;
        while let Ok(next) = self.cron.find_next_occurrence(&at, false) {
            at = next;
            let Some(ms) = self.moment(next) else { continue };
            // Several times in one gap are one moment.
            if ms > newest {
                newest = ms;
                if !take(ms) {
                    return;
                }
            }
        }
    }

    /// When the wall shows this time: the first of two, or the end of the gap that it lies in.
    fn moment(&self, wall: NaiveDateTime) -> Option<i64> {
        match self.zone.from_local_datetime(&wall) {
            chrono::LocalResult::Single(at) => Some(at.timestamp_millis()),
            chrono::LocalResult::Ambiguous(first, _) => Some(first.timestamp_millis()),
            chrono::LocalResult::None => {
                // The gap's end is the moment at which the offset changes: between the readings of the wall by the offset
                // before and by the one after.
                let offset = |at: DateTime<Utc>| self.zone.offset_from_utc_datetime(&at.naive_utc()).fix();
                let mut low = (wall - Duration::days(2)).and_utc();
                let mut high = (wall + Duration::days(2)).and_utc();
                let before = offset(low);
                while high - low > Duration::seconds(1) {
                    let middle = low + (high - low) / 2;
                    if offset(middle) == before { low = middle } else { high = middle }
                }
                // Changes of offset lie on whole seconds.
                Some(high.timestamp() * 1000)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_millis()
    }

    fn shown(fires: &[i64]) -> Vec<String> {
        fires
            .iter()
            .map(|&ms| DateTime::<Utc>::from_timestamp_millis(ms).unwrap().format("%m-%dT%H:%M").to_string())
            .collect()
    }

    #[test]
    fn fires_through_the_changes_of_the_clock() {
        type Case = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);
        // In UTC. Berlin: 2026-03-29 01:00Z and 2026-10-25 01:00Z; New York: 2026-03-08 07:00Z and 2026-11-01 06:00Z.
        let cases: &[Case] = &[
            // In the gap: once, at its end.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T01:30:00Z",
                "2026-03-30T00:30:00Z",
                &["03-29T01:00", "03-30T00:30"],
            ),
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-07T08:00:00Z",
                "2026-03-09T07:00:00Z",
                &["03-08T07:00", "03-09T06:30"],
            ),
            // Repeated: the first time only.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T00:30:00Z",
                "2026-10-26T01:30:00Z",
                &["10-25T00:30", "10-26T01:30"],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-10-31T06:00:00Z",
                "2026-11-02T06:30:00Z",
                &["11-01T05:30", "11-02T06:30"],
            ),
            // Several hours listed: each once.
            (
                "15 2,14 * * *",
                "Europe/Berlin",
                "2026-03-28T20:00:00Z",
                "2026-03-29T20:00:00Z",
                &["03-29T01:00", "03-29T12:15"],
            ),
            (
                "15 2,14 * * *",
                "Europe/Berlin",
                "2026-10-24T20:00:00Z",
                "2026-10-25T20:00:00Z",
                &["10-25T00:15", "10-25T13:15"],
            ),
            // Several times in the gap, and one at its end: one moment.
            (
                "*/20 2,3 * * *",
                "Europe/Berlin",
                "2026-03-29T00:59:00Z",
                "2026-03-29T01:50:00Z",
                &["03-29T01:00", "03-29T01:20", "03-29T01:40"],
            ),
            // A rhythm goes on: 01:30 CET, 03:00 CEST …; both 02:00 in autumn.
            (
                "0 * * * *",
                "Europe/Berlin",
                "2026-03-28T23:30:00Z",
                "2026-03-29T02:30:00Z",
                &["03-29T00:00", "03-29T01:00", "03-29T02:00"],
            ),
            (
                "0 * * * *",
                "Europe/Berlin",
                "2026-10-24T23:30:00Z",
                "2026-10-25T02:30:00Z",
                &["10-25T00:00", "10-25T01:00", "10-25T02:00"],
            ),
            (
                "@hourly",
                "America/New_York",
                "2026-11-01T04:30:00Z",
                "2026-11-01T07:30:00Z",
                &["11-01T05:00", "11-01T06:00", "11-01T07:00"],
            ),
            (
                "@daily",
                "America/New_York",
                "2026-10-31T12:00:00Z",
                "2026-11-02T12:00:00Z",
                &["11-01T04:00", "11-02T05:00"],
            ),
            // No changes there since 1991.
            (
                "0 3 * * 1",
                "Asia/Shanghai",
                "2026-03-01T00:00:00Z",
                "2026-03-16T00:00:00Z",
                &["03-01T19:00", "03-08T19:00", "03-15T19:00"],
            ),
            // The last day of the month, and a day most years lack.
            (
                "0 0 L * *",
                "Asia/Shanghai",
                "2026-01-15T00:00:00Z",
                "2026-03-01T00:00:00Z",
                &["01-30T16:00", "02-27T16:00"],
            ),
            (
                "0 12 29 2 *",
                "Asia/Shanghai",
                "2026-01-01T00:00:00Z",
                "2029-01-01T00:00:00Z",
                &["02-29T04:00"],
            ),
        ];
        for (pattern, zone, after, until, expected) in cases {
            let schedule = Schedule::new(pattern, zone).unwrap();
            let fires = schedule.fires(ms(after), ms(until), 100);
            assert_eq!(&shown(&fires), expected, "{pattern} in {zone} from {after}");
            assert_eq!(schedule.newest(ms(after), ms(until)), fires.last().copied(), "{pattern} in {zone}");
            assert_eq!(schedule.next(ms(after)), fires.first().copied(), "{pattern} in {zone}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (pattern, zone) in [
            ("* * * * * *", "Asia/Shanghai"),
            ("61 * * * *", "Asia/Shanghai"),
            ("0 0 31 2 *", "Asia/Shanghai"),
            ("", "Asia/Shanghai"),
            ("@sometimes", "Asia/Shanghai"),
            ("0 0 * * *", "Europe/Nowhere"),
            ("风 * * * *", "UTC"),
        ] {
            let fault = Schedule::new(pattern, zone).unwrap_err();
            assert_eq!(tradewind_core::Fault::kind(&fault), ErrorKind::InvalidParams, "{pattern} {zone}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        // Looking in pieces, wherever they are cut, gives the same times as looking once: none twice, none left out.
        #[test]
        fn pieces_give_the_same_times(
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"]),
            pattern in prop::sample::select(vec!["30 2 * * *", "*/7 1-3 * * *", "0 * * * *", "*/15 */2 * * *", "0 0,2,3 * * *"]),
            start_minutes in 0_i64..525_600,
            cuts in prop::collection::vec(1_i64..2_880, 1..12),
        ) {
            let schedule = Schedule::new(pattern, zone).unwrap();
            let start = ms("2026-01-01T00:00:00Z") + start_minutes * 60_000;
            let (mut at, mut pieces) = (start, Vec::new());
            for cut in &cuts {
                let to = at + cut * 60_000 + 17;
                pieces.extend(schedule.fires(at, to, usize::MAX));
                at = to;
            }
            let whole = schedule.fires(start, at, usize::MAX);
            prop_assert_eq!(&pieces, &whole);
            prop_assert!(whole.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(schedule.newest(start, at), whole.last().copied());
        }

        // A daily time fires on every day of the wall, once.
        #[test]
        fn a_daily_time_fires_every_day_once(
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"]),
            hour in 0_u32..24,
            minute in 0_u32..60,
        ) {
            let schedule = Schedule::new(&format!("{minute} {hour} * * *"), zone).unwrap();
            let tz: Tz = zone.parse().unwrap();
            let fires = schedule.fires(ms("2025-12-31T12:00:00Z"), ms("2027-01-02T12:00:00Z"), usize::MAX);
            let days: Vec<_> = fires
                .iter()
                .map(|&ms| DateTime::<Utc>::from_timestamp_millis(ms).unwrap().with_timezone(&tz).date_naive())
                .collect();
            for pair in days.windows(2) {
                prop_assert_eq!(pair[1], pair[0].succ_opt().unwrap());
            }
        }
    }
}
