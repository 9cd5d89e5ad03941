//! What events change at once: histories, sessions, pairs, transitions, popularity.
//!
//! Everything is bounded and every bound has a name in [`LiveSettings`]. Locks are split over many shards, so that
//! threads seldom meet.
//!
//! | file | holds |
//! |---|---|
//! | `histories` | the newest events of each user and session; those least recently active are forgotten first |
//! | `rows` | for each item what follows it and what is bought with it, the strongest few |
//! | `popularity` | decayed counts of two half-lives: what is popular, what rises |

mod histories;
mod popularity;
mod rows;

pub(crate) use histories::Kept;
use histories::Histories;
use popularity::Popularity;
pub(crate) use rows::Row;
use rows::Rows;
use std::collections::BTreeMap;
use tradewind_core::{Error, Interactions, ParamCheck, Result};

/// One event as it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Who, if that is known.
    pub user: Option<&'a str>,
    /// In which session, if that is known.
    pub session: Option<&'a str>,
    /// The item.
    pub item: &'a str,
    /// When.
    pub ds: i64,
    /// What was done: view, cart, purchase; may be empty.
    pub event: &'a str,
    /// How much it counts, before the weight of its kind; below zero speaks against the item.
    pub weight: f64,
    /// The event's own name: one that came lately is not counted a second time.
    pub id: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// A user's event without a kind that counts 1.
    pub fn of(user: &'a str, item: &'a str, ds: i64) -> Self {
        Self { user: Some(user), session: None, item, ds, event: "", weight: 1.0, id: None }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counted,
    /// An event with its id came before.
    Duplicate,
    /// Its kind or itself has a weight of 0.
    NoWeight,
    /// The item is new and there are as many new ones as may be.
    NoRoomForItem,
}

/// Bounds and half-lives; times are in units of `ds`, and the defaults are for seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveSettings {
    /// What one event of each kind counts; kinds that are not named count 1.
    pub event_weights: BTreeMap<String, f64>,
    /// Kinds of event that are purchases.
    pub purchases: Vec<String>,
    /// Users with events newer than the model at most.
    pub users_max: usize,
    /// Sessions at most.
    pub sessions_max: usize,
    /// Newest events kept of each user and session.
    pub user_events_max: usize,
    /// Events kept of all users at most, and again as many of all sessions.
    pub events_max: usize,
    /// Items that come while serving at most.
    pub new_items_max: usize,
    /// What is kept for each item of what follows it, and of what is bought with it.
    pub row_max: usize,
    /// Steps that a transition may span.
    pub window: usize,
    /// What a transition counts for each further step.
    pub decay: f64,
    /// Time after which a transition or pair counts half; 0: never.
    pub row_half_life: f64,
    /// Time between two purchases of a user that count as bought together.
    pub together_gap: i64,
    /// Time after which an event counts half for what is popular.
    pub popularity_half_life: f64,
    /// The same for what rises, which is what counts more now than popularity lets expect.
    pub trend_half_life: f64,
    /// Time without an event after which a session is over.
    pub session_gap: i64,
    /// Ids of events remembered.
    pub ids_max: usize,
}

impl Default for LiveSettings {
    fn default() -> Self {
        const DAY: i64 = 86_400;
        Self {
            event_weights: BTreeMap::new(),
            purchases: ["purchase", "buy", "order"].map(String::from).to_vec(),
            users_max: 250_000,
            sessions_max: 100_000,
            user_events_max: 64,
            events_max: 4_000_000,
            new_items_max: 100_000,
            row_max: 64,
            window: 10,
            decay: 0.8,
            row_half_life: 0.0,
            together_gap: DAY,
            popularity_half_life: (14 * DAY) as f64,
            trend_half_life: DAY as f64,
            session_gap: 1800,
            ids_max: 1_000_000,
        }
    }
}

impl LiveSettings {
    /// All faults of the settings.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for weight in self.event_weights.values() {
            check.require(weight.abs() <= WEIGHT_MAX, "event_weights", weight, "-1e6 to 1e6");
        }
        let mut number = |name, value: usize, max: usize| {
            check.require((1..=max).contains(&value), name, value, format!("1 to {max}"));
        };
        number("users_max", self.users_max, 100_000_000);
        number("sessions_max", self.sessions_max, 100_000_000);
        number("user_events_max", self.user_events_max, 10_000);
        number("events_max", self.events_max, 1_000_000_000);
        number("new_items_max", self.new_items_max, 100_000_000);
        number("row_max", self.row_max, 10_000);
        number("window", self.window, 1000);
        number("ids_max", self.ids_max, 1_000_000_000);
        check.require((0.0..=1.0).contains(&self.decay), "decay", self.decay, "0 to 1");
        let row_ok = (0.0..=1e15).contains(&self.row_half_life);
        check.require(row_ok, "row_half_life", self.row_half_life, "0 to 1e15");
        for (name, value) in [
            ("popularity_half_life", self.popularity_half_life),
            ("trend_half_life", self.trend_half_life),
        ] {
            check.require(value > 0.0 && value <= 1e15, name, value, "above 0 to 1e15");
        }
        check.require(self.together_gap >= 0, "together_gap", self.together_gap, "0 or more");
        check.require(self.session_gap >= 0, "session_gap", self.session_gap, "0 or more");
        check.finish()
    }

    pub(crate) fn is_purchase(&self, event: &str) -> bool {
        self.purchases.iter().any(|p| p == event)
    }
}

/// The largest weight of an event or a kind.
const WEIGHT_MAX: f64 = 1e6;
