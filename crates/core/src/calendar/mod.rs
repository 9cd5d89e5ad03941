//! Holidays, shopping festivals and a shop's own events, and the features that models see of them.
//!
//! A [`Calendar`] is made for some regions. It tells which events fall into a time ([`Calendar::occurrences`]), whether
//! a day is worked, and gives one row of features for any stamp of any frequency ([`CalendarTable`]); training and
//! prediction both take these. Dates with a Chinese name come from the lunar calendar ([`lunar`]).
//!
//! It covers the years 1600 to 2400; lunar events 1900 to 2100; Chinese adjusted workdays 2004 to 2026, as the State
//! Council announced them. What is by rule where an announcement is missing is marked
//! [`estimated`](Occurrence::estimated).

mod china;
mod dates;
pub mod events;
mod features;
mod festivals;
mod holidays;
pub mod lunar;

pub use dates::easter;
pub use events::{EVENTS, EventSpec};
pub use features::{CalendarFeatures, CalendarTable, WindowEvent, window_effect};

use crate::error::{Error, Result};
use chrono::{Datelike, NaiveDate};
use dates::Gather;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The first and last year with events.
const YEARS: std::ops::RangeInclusive<i32> = 1600..=2400;

/// A region with its own holidays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Region {
    /// China (mainland).
    Cn,
    /// United States.
    Us,
    /// United Kingdom: England and Wales.
    Gb,
    /// Germany: what all states keep.
    De,
    /// Japan.
    Jp,
    /// France.
    Fr,
}

impl Region {
    /// All regions.
    pub const ALL: [Self; 6] = [Self::Cn, Self::Us, Self::Gb, Self::De, Self::Jp, Self::Fr];

    /// The ISO 3166 code, as `CN`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cn => "CN",
            Self::Us => "US",
            Self::Gb => "GB",
            Self::De => "DE",
            Self::Jp => "JP",
            Self::Fr => "FR",
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Region {
    type Err = Error;

    /// Reads the ISO code in either case; `UK` is read as `GB`.
    fn from_str(s: &str) -> Result<Self> {
        let code = s.trim().to_ascii_uppercase();
        let code = if code == "UK" { "GB" } else { code.as_str() };
        Self::ALL.into_iter().find(|r| r.code() == code).ok_or_else(|| Error::NotFound {
            what: "holiday region",
            name: s.into(),
            known: Self::ALL.map(Self::code).join(", "),
        })
    }
}

impl TryFrom<String> for Region {
    type Error = Error;
    fn try_from(s: String) -> Result<Self> {
        s.parse()
    }
}

impl From<Region> for String {
    fn from(r: Region) -> Self {
        r.code().into()
    }
}

/// What sort of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A public holiday: not worked.
    Holiday,
    /// A shopping festival or a feast: worked as usual.
    Festival,
    /// A Saturday or Sunday that is worked in exchange for a day off.
    Workday,
    /// A shop's own event.
    Event,
    /// The shop is closed.
    Closed,
}

impl FromStr for Kind {
    type Err = Error;

    /// Reads the words of the calendar table: `holiday`, `festival`, `event`, `closed`.
    fn from_str(s: &str) -> Result<Self> {
        match s.trim().to_ascii_lowercase().as_str() {
            "" | "event" => Ok(Self::Event),
            "holiday" => Ok(Self::Holiday),
            "festival" => Ok(Self::Festival),
            "closed" => Ok(Self::Closed),
            "workday" => Ok(Self::Workday),
            _ => Err(Error::NotFound {
                what: "kind of event",
                name: s.into(),
                known: "holiday, festival, event, closed, workday".into(),
            }),
        }
    }
}

/// One time at which an event happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The event's stable name; `own:` and the name for own events.
    pub key: Cow<'static, str>,
    /// English name.
    pub name_en: Cow<'static, str>,
    /// Chinese name.
    pub name_zh: Cow<'static, str>,
    /// What sort.
    pub kind: Kind,
    /// Which of the calendar's regions keep it on these days; empty for own events that hold everywhere.
    pub regions: Vec<Region>,
    /// The day it is named after or peaks on.
    pub day: NaiveDate,
    /// Its first day.
    pub first: NaiveDate,
    /// Its last day.
    pub last: NaiveDate,
    /// Days before the first in which shoppers already behave differently.
    pub run_up_days: u32,
    /// Whether it is the day off in place of one that fell on a weekend.
    pub observed: bool,
    /// Whether its dates are by rule where an announcement would be needed to know.
    pub estimated: bool,
}

impl Occurrence {
    /// Whether the day lies in it.
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.first <= day && day <= self.last
    }

    /// Whether the day lies in its run-up.
    pub fn leads(&self, day: NaiveDate) -> bool {
        day < self.first && (self.first - day).num_days() <= i64::from(self.run_up_days)
    }
}

/// An event of the shop itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEvent {
    /// Its name. Events of one name are occurrences of one event.
    pub name: String,
    /// What sort.
    pub kind: Kind,
    /// Its first day.
    pub first: NaiveDate,
    /// Its last day; a last day before the first is read as the first.
    pub last: NaiveDate,
    /// Where it holds; everywhere when empty. An event of a region that the calendar does not have is left out.
    pub region: Option<Region>,
    /// Days of run-up.
    pub run_up_days: u32,
}

/// The events of some regions and of the shop.
///
/// ```
/// use chrono::NaiveDate;
/// use tradewind_core::calendar::{Calendar, Region};
/// let calendar = Calendar::new(&[Region::Cn]);
/// let day = |m, d| NaiveDate::from_ymd_opt(2024, m, d).unwrap();
/// let november = calendar.occurrences(day(11, 1), day(11, 30));
/// assert_eq!(november[0].key, "double_11");
/// assert_eq!(november[0].last, day(11, 11));
/// // Sunday, 4 February 2024 was worked, in exchange for a longer Spring Festival.
/// assert!(calendar.is_workday(Region::Cn, day(2, 4)));
/// assert_eq!(calendar.holiday(day(2, 12)).unwrap().key, "spring_festival");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    regions: Vec<Region>,
    own: Vec<Occurrence>,
}

impl Calendar {
    /// The calendar of these regions; with none, only own events are in it.
    pub fn new(regions: &[Region]) -> Self {
        let mut regions = regions.to_vec();
        regions.sort_unstable();
        regions.dedup();
        Self { regions, own: Vec::new() }
    }

    /// The same calendar with own events beside those it has.
    pub fn with_events(mut self, events: Vec<OwnEvent>) -> Self {
        for e in events {
            if e.region.is_some_and(|r| !self.regions.contains(&r)) {
                continue;
            }
            self.own.push(Occurrence {
                key: format!("own:{}", e.name).into(),
                name_en: e.name.clone().into(),
                name_zh: e.name.into(),
                kind: e.kind,
                regions: e.region.into_iter().collect(),
                day: e.first,
                first: e.first,
                last: e.last.max(e.first),
                run_up_days: e.run_up_days,
                observed: false,
                estimated: false,
            });
        }
        self.own.sort_by(|a, b| (a.first, &a.key).cmp(&(b.first, &b.key)));
        self
    }

    /// The regions, sorted.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Keys of all events this calendar may have, in a fixed order: the built-in ones of its regions, then its own by
    /// name. Adjusted workdays are not among them; they are a mark of a day rather than an event.
    pub fn keys(&self) -> Vec<Cow<'static, str>> {
        let mut own: Vec<_> = self.own.iter().map(|o| o.key.clone()).collect();
        own.sort_unstable();
        own.dedup();
        let built_in = EVENTS
            .iter()
            .filter(|e| e.kind != Kind::Workday && e.regions.iter().any(|r| self.regions.contains(r)))
            .map(|e| Cow::Borrowed(e.key));
        built_in.chain(own).collect()
    }

    /// What happens from `from` to `to`, both included: every occurrence with at least a day in it (its run-up does not
    /// count), by first day and key. Regions that keep an event on the same days share an occurrence.
    pub fn occurrences(&self, from: NaiveDate, to: NaiveDate) -> Vec<Occurrence> {
        let mut gathered = Vec::new();
        for region in &self.regions {
            gathered.extend(region_events(*region, from, to));
        }
        gathered.extend(self.own.iter().filter(|o| o.first <= to && o.last >= from).cloned());
        gathered.sort_by(|a, b| {
            (a.first, &a.key, a.last, a.observed, &a.regions)
                .cmp(&(b.first, &b.key, b.last, b.observed, &b.regions))
        });
        let mut out: Vec<Occurrence> = Vec::with_capacity(gathered.len());
        for o in gathered {
            match out.last_mut() {
                Some(p) if (&p.key, p.first, p.last, p.observed) == (&o.key, o.first, o.last, o.observed) => {
                    p.regions.extend(
                        o.regions.iter().filter(|r| !p.regions.contains(r)).copied().collect::<Vec<_>>(),
                    );
                }
                _ => out.push(o),
            }
        }
        out
    }

    /// Whether people work on that day: a weekday that is no public holiday, or a weekend day that is worked in exchange.
    /// Own holidays and closed days are not worked.
    pub fn is_workday(&self, region: Region, date: NaiveDate) -> bool {
        let mut of_day = gather(region, date, date, false);
        let own = self
            .own
            .iter()
            .filter(|o| o.contains(date) && (o.regions.is_empty() || o.regions.contains(&region)));
        of_day.extend(own.cloned());
        let has = |k: Kind| of_day.iter().any(|o| o.kind == k);
        if has(Kind::Closed) {
            return false;
        }
        has(Kind::Workday) || !has(Kind::Holiday) && !dates::is_weekend(date)
    }

    /// The public or own holiday that covers the day, if there is one; of several the one named after that day.
    pub fn holiday(&self, date: NaiveDate) -> Option<Occurrence> {
        let mut off = self.occurrences(date, date);
        off.retain(|o| o.kind == Kind::Holiday);
        let named = off.iter().position(|o| o.day == date).unwrap_or(0);
        (!off.is_empty()).then(|| off.swap_remove(named))
    }

    /// The features of one stamp. For many stamps make a [`CalendarTable`]; its rows are the same.
    pub fn features(&self, freq: crate::Freq, stamp: crate::Stamp) -> CalendarFeatures {
        CalendarTable::new(self, freq, stamp, 1).into_features(0)
    }
}

/// The events of one region with a day in the time.
fn region_events(region: Region, from: NaiveDate, to: NaiveDate) -> Vec<Occurrence> {
    gather(region, from, to, true)
}

/// No event of the catalogue has a day further than this from the day whose year it is gathered for.
const REACH_DAYS: i64 = 45;

fn gather(region: Region, from: NaiveDate, to: NaiveDate, with_festivals: bool) -> Vec<Occurrence> {
    let mut out = Vec::new();
    let first = dates::plus(from, -REACH_DAYS).year().max(*YEARS.start());
    let last = dates::plus(to, REACH_DAYS).year().min(*YEARS.end());
    for year in first..=last {
        let mut g = Gather { region, out: &mut out };
        if region == Region::Cn {
            china::gather(year, &mut g);
        } else {
            holidays::gather(year, &mut g);
        }
        if with_festivals {
            festivals::gather(year, &mut g);
        }
    }
    out.retain(|o| o.first <= to && o.last >= from);
    out
}
