//! The settings of an event log.

use super::error::{EventLogError, Result};

/// When the embedded log asks the disk to keep what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before an append returns. Appends that wait at the same time share one call.
    Always,
    /// After at most so many milliseconds, 1 to 60,000: an append returns when it is written, and a power cut (not the
    /// death of the process) may take the events of that time. Members see events once they are on disk.
    Every {
        /// Milliseconds.
        ms: u64,
    },
}

/// How a log is kept. Sizes in bytes, times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLogSettings {
    /// Empty: in a folder; `nats://[user:password@]host:port[,…]` (or `tls://`): NATS JetStream;
    /// `kafka://host:port[,…]`: Kafka.
    pub address: String,
    /// The stream, or prefix of topics, at a broker: 1 to 64 of `a-z A-Z 0-9 _ -`.
    pub name: String,
    /// When the embedded log syncs.
    pub fsync: Fsync,
    /// How many members of a group can work at once: 1 to 64. A log keeps the number it was made with.
    pub partitions: u32,
    /// Failures after which an event becomes a dead letter: 1 to 1,000.
    pub deliveries_max: u32,
    /// Dead letters kept for each group by the embedded log: 1 to 1,000,000. When they are full, the group waits.
    pub dead_letters_max: usize,
    /// Ids the embedded log remembers, to drop duplicates: 0 to 100,000,000; each takes some 60 bytes of memory.
    pub dedup_events: usize,
    /// How long the embedded log and NATS remember an id: 100 to 604,800,000 (seven days).
    pub dedup_ms: u64,
    /// Bytes of events kept; 0: no limit; else at least 1,048,576.
    pub retention_bytes: u64,
    /// How long events are kept; 0: for ever; else at least 1,000.
    pub retention_ms: u64,
    /// Size at which the embedded log begins another file: 65,536 to 4,294,967,296.
    pub segment_bytes: u64,
    /// With a broker: how long a member may be silent before others take its partitions: 1,000 to 3,600,000.
    pub lease_ms: u64,
}

impl Default for EventLogSettings {
    fn default() -> Self {
        Self {
            address: String::new(),
            name: "tradewind-events".to_owned(),
            fsync: Fsync::Always,
            partitions: 4,
            deliveries_max: 5,
            dead_letters_max: 100_000,
            dedup_events: 1_000_000,
            dedup_ms: 600_000,
            retention_bytes: 10 << 30,
            retention_ms: 30 * 86_400_000,
            segment_bytes: 64 << 20,
            lease_ms: 30_000,
        }
    }
}

impl EventLogSettings {
    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<()> {
        let address_fits = self.address.is_empty()
            || ["nats://", "tls://", "kafka://"].iter().any(|scheme| {
                self.address.strip_prefix(scheme).is_some_and(|rest| {
                    !rest.is_empty() && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
                })
            });
        if !address_fits {
            // What stands before an @ may be a password.
            let got = self.address.rsplit('@').next().unwrap_or_default();
            return Err(EventLogError::Setting {
                name: "address",
                got: format!("{got:?}"),
                allowed: "\"\", \"nats://host:port\" or \"kafka://host:port\"".to_owned(),
            });
        }
        super::check_group(&self.name).map_err(|_| EventLogError::Setting {
            name: "name",
            got: format!("{:?}", self.name.chars().take(80).collect::<String>()),
            allowed: "1 to 64 of a-z, A-Z, 0-9, _ and -".to_owned(),
        })?;
        let interval = match self.fsync {
            Fsync::Always => 1,
            Fsync::Every { ms } => ms,
        };
        let ranges: [(&'static str, u64, u64, u64, bool); 10] = [
            ("fsync_interval_ms", interval, 1, 60_000, false),
            ("partitions", self.partitions.into(), 1, 64, false),
            ("deliveries_max", self.deliveries_max.into(), 1, 1000, false),
            ("dead_letters_max", self.dead_letters_max as u64, 1, 1_000_000, false),
            ("dedup_events", self.dedup_events as u64, 0, 100_000_000, false),
            ("dedup_ms", self.dedup_ms, 100, 604_800_000, false),
            ("retention_bytes", self.retention_bytes, 1 << 20, i64::MAX as u64, true),
            ("retention_ms", self.retention_ms, 1000, 1 << 42, true),
            ("segment_bytes", self.segment_bytes, 1 << 16, 1 << 32, false),
            ("lease_ms", self.lease_ms, 1000, 3_600_000, false),
        ];
        for (name, got, least, most, zero) in ranges {
            if !((least..=most).contains(&got) || zero && got == 0) {
                let or_zero = if zero { "0, or " } else { "" };
                return Err(EventLogError::Setting {
                    name,
                    got: got.to_string(),
                    allowed: format!("{or_zero}{least} to {most}"),
                });
            }
        }
        Ok(())
    }

    /// The servers of a broker's address: without the scheme, and without user and password.
    pub(crate) fn shown_address(&self) -> String {
        let rest = self.address.split_once("://").map_or(self.address.as_str(), |(_, rest)| rest);
        rest.split(',')
            .map(|server| {
                let server = server.split_once("://").map_or(server, |(_, rest)| rest);
                server.rsplit('@').next().unwrap_or_default()
            })
            .collect::<Vec<_>>()
            .join(",")
    }
}
