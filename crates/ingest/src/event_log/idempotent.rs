//! Effects counted once, though events come more than once.

use super::error::{EventLogError, Result};
use super::segment::write_whole;
use super::window::Window;
use super::{Delivery, id_hash};
use std::path::Path;

const MAGIC: &[u8; 8] = b"TWIDS001";

/// The ids of the last events whose effects were kept.
///
/// It must be kept together with the effects, whole or not at all: [`Idempotent::to_bytes`] in the same transaction, or
/// [`Idempotent::save`] with small effects in one file. Then: read, skip what is not new, apply, record, save, commit. A
/// crash between save and commit makes events come again, which are known by then; a crash before save takes effects
/// and ids back together.
///
/// The window must be wider than the events read between two commits, and wider than what a producer may append before
/// it tries an old batch again.
///
/// ```
/// use tradewind_ingest::event_log::{Delivery, Event, Idempotent, Position};
/// let mut seen = Idempotent::new(1000);
/// let event = Event::new("order-1", "", 0, "");
/// let delivery = Delivery { position: Position { partition: 0, offset: 7 }, failures: 0, event };
/// assert!(seen.is_new(&delivery));
/// seen.record(&delivery);
/// let again = Idempotent::from_bytes(&seen.to_bytes(), 1000).unwrap();
/// assert!(!again.is_new(&delivery));
/// ```
#[derive(Debug)]
pub struct Idempotent {
    window: Window,
}

impl Idempotent {
    /// Nothing seen yet; the last `events_max` will be remembered, 16 bytes each when kept.
    pub fn new(events_max: usize) -> Self {
        Self { window: Window::new(events_max.max(1), u64::MAX) }
    }

    /// Whether the effects of an event are not kept yet, as far as the window tells.
    pub fn is_new(&self, delivery: &Delivery) -> bool {
        !self.window.holds(id_hash(&delivery.event.id))
    }

    /// Notes that the effects of an event are made. One that failed is not recorded, so that it may come again.
    pub fn record(&mut self, delivery: &Delivery) {
        let id = id_hash(&delivery.event.id);
        if !self.window.holds(id) {
            self.window.insert(id, 0);
        }
    }

    /// To be kept with the effects.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_effects(&[])
    }

    /// What [`Idempotent::to_bytes`] gave. `None` when the bytes are something else or damaged.
    pub fn from_bytes(bytes: &[u8], events_max: usize) -> Option<Self> {
        Self::read(bytes, events_max).map(|(seen, _)| seen)
    }

    /// Writes ids and effects as one file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; then the file is as it was.
    pub fn save(&self, path: &Path, effects: &[u8]) -> Result<()> {
        write_whole(path, &self.with_effects(effects))
    }

    /// What [`Idempotent::save`] wrote, with the effects; nothing seen and no effects when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn load(path: &Path, events_max: usize) -> Result<(Self, Vec<u8>)> {
        match std::fs::read(path) {
            Ok(bytes) => Self::read(&bytes, events_max).ok_or_else(|| EventLogError::Damaged {
                path: path.to_owned(),
                offset: 0,
                why: "these are no ids of events".to_owned(),
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok((Self::new(events_max), vec![])),
            Err(e) => Err(EventLogError::file(path, "read", e)),
        }
    }

    fn with_effects(&self, effects: &[u8]) -> Vec<u8> {
        let ids = self.window.ids();
        let mut bytes = Vec::with_capacity(32 + 16 * ids.len() + effects.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
        ids.for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
        bytes.extend_from_slice(effects);
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..16]);
        bytes
    }

    fn read(bytes: &[u8], events_max: usize) -> Option<(Self, Vec<u8>)> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
        if blake3::hash(content).as_bytes()[..16] != *sum {
            return None;
        }
        let rest = content.strip_prefix(MAGIC)?;
        let (count, rest) = rest.split_at_checked(8)?;
        let count = usize::try_from(u64::from_le_bytes(count.try_into().ok()?)).ok()?;
        let (ids, effects) = rest.split_at_checked(count.checked_mul(16)?)?;
        let mut seen = Self::new(events_max);
        for id in ids.chunks_exact(16) {
            seen.window.insert(u128::from_le_bytes(id.try_into().ok()?), 0);
        }
        Some((seen, effects.to_vec()))
    }
}
