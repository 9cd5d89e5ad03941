//! The shop's log of events that stream in, where its settings say, and how its events become rows of the shop.

mod collect;
mod shop_event;

pub use collect::{Collected, Collector, GROUP, IMPORT};
pub use shop_event::{ShopClock, ShopEvent};

use crate::error::Result;
use std::sync::Arc;
use tradewind_ingest::event_log::{self, EventLog, EventLogSettings, Fsync};
use tradewind_warehouse::Shop;
use tradewind_warehouse::settings::{EventsSettings, FsyncPolicy};

/// The folder of the embedded log in a shop.
pub const FOLDER: &str = "log";

/// Opens the log of a shop. The embedded log is open in one process at a time.
///
/// # Errors
/// When it is in use or damaged, or the broker does not answer.
pub async fn open(shop: &Shop) -> Result<Arc<dyn EventLog>> {
    Ok(event_log::open(&settings(&shop.settings().events), &shop.root().join(FOLDER)).await?)
}

/// The settings of a shop as the log takes them.
pub fn settings(events: &EventsSettings) -> EventLogSettings {
    EventLogSettings {
        address: events.address.clone(),
        name: events.name.clone(),
        fsync: match events.fsync {
            FsyncPolicy::Always => Fsync::Always,
            FsyncPolicy::Interval => Fsync::Every { ms: events.fsync_interval_ms },
        },
        partitions: events.partitions,
        deliveries_max: events.deliveries_max,
        dedup_events: events.dedup_events,
        dedup_ms: events.dedup_minutes * 60_000,
        retention_bytes: events.retention_mib << 20,
        retention_ms: events.retention_days * 86_400_000,
        segment_bytes: events.segment_mib << 20,
        ..EventLogSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tradewind_warehouse::Settings;

    #[test]
    fn the_defaults_of_the_shop_are_those_of_the_log() {
        assert_eq!(settings(&Settings::defaults().events), EventLogSettings::default());
    }

    #[test]
    fn whatever_the_settings_allow_the_log_takes() {
        let least = "partitions = 1\ndeliveries_max = 1\ndedup_minutes = 1\ndedup_events = 0\nretention_mib = 0\n\
                     retention_days = 0\nsegment_mib = 1\nfsync_interval_ms = 1\nfsync = \"interval\"";
        let most = "partitions = 64\ndeliveries_max = 1000\ndedup_minutes = 10080\ndedup_events = 100000000\n\
                    retention_mib = 1000000000\nretention_days = 36500\nsegment_mib = 4096\nfsync_interval_ms = 60000\n\
                    fsync = \"interval\"\naddress = \"nats://127.0.0.1:4222\"\nname = \"a\"";
        for text in [least, most] {
            let shop =
                Settings::parse(&format!("[events]\n{text}"), Path::new("tradewind.toml")).expect("settings");
            settings(&shop.events).check().expect("settings of a log");
        }
    }
}
