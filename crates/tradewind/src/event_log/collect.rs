//! From the log to the shop's table `events`: each event once, whatever is killed when.
//!
//! ```text
//! read (uncommitted) ─→ rows held ─→ one import, whole or absent, that names the places it holds ─→ commit the places
//! ```
//!
//! Whoever dies between the import and the commit is given the same events again; the places that the import names tell
//! that they are there.

use super::shop_event::{ShopClock, ShopEvent};
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::tables::TableSpec;
use tradewind_ingest::event_log::{Delivery, EventLog, Member, Start};
use tradewind_warehouse::{Begun, ImportRecord, ImportSource, Shop};

/// The group that collects.
pub const GROUP: &str = "warehouse";

/// What such imports are called.
pub const IMPORT: &str = "event log";

/// Rows of one import at most.
const ROWS_MAX: usize = 200_000;
/// Events read at once.
const READ_MAX: usize = 5_000;
/// How long the log may be silent before it counts as read to its end.
const SILENCE: Duration = Duration::from_millis(200);
/// Imports looked through for places that were taken.
const LOOK_BACK: usize = 200;

/// The places of a partition that an import holds: the first and the last, with the marks of their events, since a log
/// that was made anew begins with the same places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    first: u64,
    first_mark: String,
    last: u64,
    last_mark: String,
}

fn mark(id: &str) -> String {
    blake3::hash(id.as_bytes()).to_hex()[..16].to_owned()
}

/// What a round took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Rows that are in the table now.
    pub rows: u64,
    /// Events that an earlier import holds.
    pub known: u64,
    /// Events of the log that are no events of a shop; they are passed over.
    pub foreign: u64,
}

/// Takes events of a log into a shop. It stays a member of its group until it is dropped.
pub struct Collector {
    shop: Shop,
    clock: ShopClock,
    member: Box<dyn Member>,
    /// What was read and is not committed.
    held: Vec<Delivery>,
}

impl Collector {
    /// Joins the group.
    ///
    /// # Errors
    /// A log that does not answer, a time zone that there is not.
    pub async fn join(shop: &Shop, log: &dyn EventLog) -> Result<Self> {
        let clock = ShopClock::of(shop)?;
        let member = log.join(GROUP, Start::Earliest).await?;
        Ok(Self { shop: shop.clone(), clock, member, held: Vec::new() })
    }

    /// Takes what the log holds beyond what was taken before.
    ///
    /// # Errors
    /// A log that does not answer, another import under way, a full disk. What was read is held and taken by the next
    /// round.
    pub async fn collect(&mut self) -> Result<Collected> {
        let mut all = Collected::default();
        loop {
            let mut silent = false;
            while self.held.len() < ROWS_MAX && !silent {
                let batch = self.member.read(READ_MAX.min(ROWS_MAX - self.held.len()), SILENCE).await?;
                silent = batch.is_empty();
                self.held.extend(batch);
            }
            if self.held.is_empty() {
                return Ok(all);
            }
            let (shop, clock, held) = (self.shop.clone(), self.clock, std::mem::take(&mut self.held));
            let (held, took) = tokio::task::spawn_blocking(move || {
                let took = take(&shop, clock, &held);
                (held, took)
            })
            .await
            .map_err(|_| {
                Error::asked("collecting events was broken off", "see the log for what went wrong")
            })?;
            let took = took.inspect_err(|_| self.held = held)?;
            self.member.commit().await?;
            all.rows += took.rows;
            all.known += took.known;
            all.foreign += took.foreign;
            if silent {
                return Ok(all);
            }
        }
    }
}

/// Makes one import of what is not there yet.
fn take(shop: &Shop, clock: ShopClock, held: &[Delivery]) -> Result<Collected> {
    let mut took = Collected::default();
    let taken = taken(&shop.imports()?);
    let known = known(&taken, held);
    let mut places: BTreeMap<u32, Places> = BTreeMap::new();
    let mut rows = Vec::with_capacity(held.len());
    for (delivery, known) in held.iter().zip(known) {
        if known {
            took.known += 1;
            continue;
        }
        let (at, id) = (delivery.position, mark(&delivery.event.id));
        places
            .entry(at.partition)
            .and_modify(|p| (p.last, p.last_mark) = (at.offset, id.clone()))
            .or_insert_with(|| Places {
                first: at.offset,
                first_mark: id.clone(),
                last: at.offset,
                last_mark: id,
            });
        match ShopEvent::of_payload(&delivery.event.payload) {
            Some(event) => rows.push(event),
            None => took.foreign += 1,
        }
    }
    if rows.is_empty() {
        return Ok(took);
    }
    let places = json!(places);
    let source = ImportSource {
        name: IMPORT.to_owned(),
        fingerprint: blake3::hash(places.to_string().as_bytes()).to_hex().to_string(),
        preset: IMPORT.to_owned(),
        mapping: String::new(),
    };
    let Begun::New(mut import) = shop.begin_import(&source)? else {
        took.known += rows.len() as u64;
        return Ok(took);
    };
    let spec = TableSpec::named("events")
        .ok_or_else(|| Error::asked("there is no table of events", "report this as a bug"))?;
    import.append(spec, batch(&rows, clock)?)?;
    import.commit(json!({ "places": places, "foreign": took.foreign }))?;
    took.rows = rows.len() as u64;
    Ok(took)
}

/// Places that the latest imports hold, by partition, newest first.
fn taken(imports: &[ImportRecord]) -> BTreeMap<u32, Vec<Places>> {
    let mut out: BTreeMap<u32, Vec<Places>> = BTreeMap::new();
    for record in imports.iter().rev().filter(|r| r.name == IMPORT).take(LOOK_BACK) {
        let places: BTreeMap<u32, Places> =
            serde_json::from_value(record.summary["places"].clone()).unwrap_or_default();
        for (partition, places) in places {
            out.entry(partition).or_default().push(places);
        }
    }
    out
}

/// Which of the events an import holds already.
fn known(taken: &BTreeMap<u32, Vec<Places>>, held: &[Delivery]) -> Vec<bool> {
    // An import is of this log if a delivery at its first or last place is the very event.
    let mut of_this_log: BTreeMap<u32, Vec<&Places>> = BTreeMap::new();
    for delivery in held {
        let at = delivery.position;
        for places in taken.get(&at.partition).into_iter().flatten() {
            let expected = match at.offset {
                offset if offset == places.first => &places.first_mark,
                offset if offset == places.last => &places.last_mark,
                _ => continue,
            };
            if *expected == mark(&delivery.event.id) {
                of_this_log.entry(at.partition).or_default().push(places);
            }
        }
    }
    held.iter()
        .map(|delivery| {
            let at = delivery.position;
            of_this_log
                .get(&at.partition)
                .is_some_and(|all| all.iter().any(|p| (p.first..=p.last).contains(&at.offset)))
        })
        .collect()
}

fn batch(rows: &[ShopEvent], clock: ShopClock) -> Result<RecordBatch> {
    let text = |of: fn(&ShopEvent) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let ds: TimestampMillisecondArray = rows.iter().map(|e| Some(clock.local_ms(e.ds))).collect();
    let value: Float64Array = rows.iter().map(|e| e.value).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("ds", Arc::new(ds) as ArrayRef, false),
        ("event", text(|e| Some(&e.event)), false),
        ("event_id", text(|e| Some(&e.event_id)), true),
        ("user_id", text(|e| e.user_id.as_deref()), true),
        ("session_id", text(|e| e.session_id.as_deref()), true),
        ("product_id", text(|e| e.product_id.as_deref()), true),
        ("query", text(|e| e.query.as_deref()), true),
        ("value", Arc::new(value), true),
    ])
    .map_err(|e| Error::asked(format!("events make no table: {e}"), "report this as a bug"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use tradewind_ingest::event_log::{self, Event, EventLogSettings};

    fn events(from: usize, to: usize) -> Vec<Event> {
        (from..to)
            .map(|k| {
                let event = ShopEvent {
                    event_id: format!("e{k}"),
                    ds: 1_793_491_200_000 + k as i64 * 1_000,
                    event: "view".into(),
                    user_id: Some(format!("u{}", k % 17)),
                    session_id: None,
                    product_id: Some("tea".into()),
                    query: None,
                    value: None,
                };
                let payload = serde_json::to_vec(&event).unwrap();
                Event::new(event.event_id, format!("u{}", k % 17), event.ds, payload)
            })
            .collect()
    }

    /// Rows and different ids of the table.
    fn counts(shop: &Shop) -> (i64, i64) {
        let batches = shop
            .sql("SELECT COUNT(*), COUNT(DISTINCT event_id) FROM events WHERE product_id = 'tea'")
            .unwrap();
        let at = |k: usize| {
            let column = batches[0].column(k);
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(column).value(0)
        };
        (at(0), at(1))
    }

    async fn shop(dir: &std::path::Path, settings: &str) -> Shop {
        let (root, settings) = (dir.join("shop"), settings.to_owned());
        tokio::task::spawn_blocking(move || {
            drop(Shop::init(&root).unwrap());
            std::fs::write(root.join("tradewind.toml"), settings).unwrap();
            Shop::open(&root).unwrap()
        })
        .await
        .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_event_is_a_row_once_whatever_breaks_off() {
        let dir = tempfile::tempdir().unwrap();
        let shop = shop(dir.path(), "[shop]\ntime_zone = \"Asia/Shanghai\"\n").await;
        let log = event_log::open(&EventLogSettings::default(), &dir.path().join("log")).await.unwrap();
        log.append(&events(0, 100)).await.unwrap();
        log.append(&[Event::new("x", "k", 1, "no JSON")]).await.unwrap();
        let mut collector = Collector::join(&shop, &*log).await.unwrap();
        let took = collector.collect().await.unwrap();
        assert_eq!(took, Collected { rows: 100, known: 0, foreign: 1 });
        assert_eq!(collector.collect().await.unwrap(), Collected::default());
        drop(collector);

        // Imported and not committed, as a kill leaves it; more events come before the next round.
        log.append(&events(100, 150)).await.unwrap();
        {
            let mut member = log.join(GROUP, Start::Earliest).await.unwrap();
            let mut held = Vec::new();
            while held.len() < 50 {
                held.extend(member.read(1_000, SILENCE).await.unwrap());
            }
            let shop = shop.clone();
            let took = tokio::task::spawn_blocking(move || take(&shop, ShopClock::UTC, &held)).await.unwrap();
            assert_eq!(took.unwrap().rows, 50);
        }
        log.append(&events(150, 180)).await.unwrap();
        let mut collector = Collector::join(&shop, &*log).await.unwrap();
        let took = collector.collect().await.unwrap();
        assert_eq!(took, Collected { rows: 30, known: 50, foreign: 0 });
        assert_eq!(counts(&shop), (180, 180));

        // Times stand as the shop's clock shows them.
        let first = shop.sql("SELECT CAST(ds AS VARCHAR) FROM events WHERE event_id = 'e0'").unwrap();
        let text = arrow::util::display::array_value_to_string(first[0].column(0), 0).unwrap();
        assert!(text.starts_with("2026-11-01T08:00:00"), "{text}");

        // While another import is written, what was read waits.
        log.append(&events(180, 200)).await.unwrap();
        let source = ImportSource {
            name: "another".into(),
            fingerprint: "f".into(),
            preset: "p".into(),
            mapping: String::new(),
        };
        let Begun::New(other) = shop.begin_import(&source).unwrap() else { panic!("it is new") };
        collector.collect().await.unwrap_err();
        drop(other);
        assert_eq!(collector.collect().await.unwrap().rows, 20);
        assert_eq!(counts(&shop), (200, 200));
        drop(collector);

        // A log that was made anew begins with the same places and other events.
        log.close().await.unwrap();
        drop(log);
        let log = event_log::open(&EventLogSettings::default(), &dir.path().join("other")).await.unwrap();
        log.append(&events(1_000, 1_060)).await.unwrap();
        let mut collector = Collector::join(&shop, &*log).await.unwrap();
        assert_eq!(collector.collect().await.unwrap().rows, 60);
        assert_eq!(counts(&shop), (260, 260));
        drop(collector);
        tokio::task::spawn_blocking(move || drop(shop)).await.unwrap();
    }
}
