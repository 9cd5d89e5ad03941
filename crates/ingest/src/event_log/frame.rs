//! How events lie in a segment: frames of records, each frame with its length and checksum.
//!
//! ```text
//! frame  = "TWF1" · body length u32 · first number u64 · records u32 · append time i64 · on disk u64 · checksum [16] · body
//! record = id length u16 · id · key length u16 · key · time i64 · group length u8 · group · payload length u32 · payload
//! ```
//!
//! Numbers are little-endian. `on disk` is the number up to which everything was known to be on disk when the frame was
//! written: by it a torn tail is told from damage to what was acknowledged. The checksum is BLAKE3, cut to 16 bytes, of everything in the frame but itself.

use super::{Event, PAYLOAD_BYTES_MAX};
use bytes::Bytes;

/// Bytes of a frame before its body.
pub(crate) const HEAD_BYTES: usize = 52;
/// Longest body that is ever written or believed: a full frame and one event of the longest kind.
pub(crate) const BODY_BYTES_MAX: usize = FRAME_BYTES + PAYLOAD_BYTES_MAX + 4096;
/// A frame is closed when its body has reached this length.
pub(crate) const FRAME_BYTES: usize = 256 * 1024;
pub(crate) const MAGIC: [u8; 4] = *b"TWF1";

/// What stands before the records of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) body_bytes: usize,
    pub(crate) first: u64,
    pub(crate) records: u32,
    pub(crate) append_ms: i64,
    pub(crate) on_disk: u64,
    checksum: [u8; 16],
}

/// One event as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) event: Event,
    /// The only group that is meant, of an event replayed; empty: all.
    pub(crate) only_for: String,
}

/// Frames as they are written.
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    /// The first number of each frame, and where it begins.
    pub(crate) starts: Vec<(u64, usize)>,
    /// The number behind the last record.
    pub(crate) next: u64,
}

/// Frames being built, one behind the other.
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    start: usize,
    first: u64,
    records: u32,
    append_ms: i64,
    on_disk: u64,
    starts: Vec<(u64, usize)>,
}

impl FrameBuilder {
    pub(crate) fn new(first: u64, append_ms: i64, on_disk: u64) -> Self {
        Self { bytes: vec![0; HEAD_BYTES], start: 0, first, records: 0, append_ms, on_disk, starts: vec![] }
    }

    /// Adds a record. Lengths were checked before: see [`super::check`].
    pub(crate) fn push(&mut self, event: &Event, only_for: &str) {
        if self.bytes.len() - self.start >= FRAME_BYTES + HEAD_BYTES {
            self.close();
            self.start = self.bytes.len();
            self.first += u64::from(self.records);
            self.records = 0;
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        put_record(&mut self.bytes, event, only_for);
        self.records += 1;
    }

    /// All frames, and the number behind the last record.
    pub(crate) fn finish(mut self) -> Frames {
        let next = self.first + u64::from(self.records);
        if self.records > 0 {
            self.close();
        } else {
            self.bytes.truncate(self.start);
        }
        Frames { bytes: self.bytes, starts: self.starts, next }
    }

    fn close(&mut self) {
        let body = self.bytes.len() - self.start - HEAD_BYTES;
        let frame = &mut self.bytes[self.start..];
        frame[..4].copy_from_slice(&MAGIC);
        frame[4..8].copy_from_slice(&(body as u32).to_le_bytes());
        frame[8..16].copy_from_slice(&self.first.to_le_bytes());
        frame[16..20].copy_from_slice(&self.records.to_le_bytes());
        frame[20..28].copy_from_slice(&self.append_ms.to_le_bytes());
        frame[28..36].copy_from_slice(&self.on_disk.to_le_bytes());
        let sum = checksum(&frame[..36], &frame[HEAD_BYTES..]);
        frame[36..52].copy_from_slice(&sum);
        self.starts.push((self.first, self.start));
    }
}

/// A frame without records: numbers before `next` are missing for good.
pub(crate) fn gap(next: u64, append_ms: i64) -> Vec<u8> {
    let mut builder = FrameBuilder::new(next, append_ms, next);
    builder.close();
    builder.bytes
}

fn checksum(head: &[u8], body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    out
}

/// The head of a frame; why not, if these bytes are none.
pub(crate) fn head(bytes: &[u8; HEAD_BYTES]) -> Result<Head, &'static str> {
    let mut cursor = Cursor(bytes);
    if cursor.take(4) != Some(&MAGIC) {
        return Err("no frame begins here");
    }
    let read = |cursor: &mut Cursor<'_>| {
        Some(Head {
            body_bytes: cursor.u32()? as usize,
            first: cursor.u64()?,
            records: cursor.u32()?,
            append_ms: cursor.u64()? as i64,
            on_disk: cursor.u64()?,
            checksum: cursor.take(16)?.try_into().ok()?,
        })
    };
    let head = read(&mut cursor).ok_or("the head of a frame is cut off")?;
    if head.body_bytes > BODY_BYTES_MAX || head.first.checked_add(u64::from(head.records)).is_none() {
        return Err("the head of a frame is damaged");
    }
    Ok(head)
}

/// The records of a frame whose checksum is right; why not, if it is damaged.
pub(crate) fn records(
    head_bytes: &[u8; HEAD_BYTES],
    head: &Head,
    body: &Bytes,
) -> Result<Vec<Record>, &'static str> {
    if body.len() != head.body_bytes || checksum(&head_bytes[..36], body) != head.checksum {
        return Err("the checksum does not match");
    }
    let mut cursor = Cursor(body);
    let mut records = Vec::with_capacity((head.records as usize).min(body.len() / 19 + 1));
    for _ in 0..head.records {
        records.push(get_record(&mut cursor, body).ok_or("the records do not fill their frame")?);
    }
    if !cursor.0.is_empty() {
        return Err("the records do not fill their frame");
    }
    Ok(records)
}

/// A record's bytes; lengths were checked before.
pub(crate) fn put_record(out: &mut Vec<u8>, event: &Event, only_for: &str) {
    out.extend_from_slice(&(event.id.len() as u16).to_le_bytes());
    out.extend_from_slice(event.id.as_bytes());
    out.extend_from_slice(&(event.key.len() as u16).to_le_bytes());
    out.extend_from_slice(event.key.as_bytes());
    out.extend_from_slice(&event.time_ms.to_le_bytes());
    out.push(only_for.len() as u8);
    out.extend_from_slice(only_for.as_bytes());
    out.extend_from_slice(&(event.payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&event.payload);
}

fn get_record(cursor: &mut Cursor<'_>, body: &Bytes) -> Option<Record> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let id_bytes = cursor.u16()? as usize;
    let id = text(cursor.take(id_bytes)?)?;
    let key_bytes = cursor.u16()? as usize;
    let key = text(cursor.take(key_bytes)?)?;
    let time_ms = cursor.u64()? as i64;
    let group_bytes = cursor.take(1)?[0] as usize;
    let only_for = text(cursor.take(group_bytes)?)?;
    let payload_bytes = cursor.u32()? as usize;
    let payload = body.slice_ref(cursor.take(payload_bytes)?);
    Some(Record { event: Event { id, key, time_ms, payload }, only_for })
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// The first whole frame in `bytes` at or behind `from`, with its place: how damage is told from a torn tail.
pub(crate) fn next_whole(bytes: &Bytes, from: usize) -> Option<(usize, Head)> {
    let mut at = from;
    while at + HEAD_BYTES <= bytes.len() {
        let here = bytes[at..].windows(4).position(|w| w == MAGIC)?;
        at += here;
        if let Some((head, _)) = whole(bytes, at) {
            return Some((at, head));
        }
        at += 1;
    }
    None
}

/// The frame that begins at `at`, if it is whole and right.
pub(crate) fn whole(bytes: &Bytes, at: usize) -> Option<(Head, Vec<Record>)> {
    let head_bytes: &[u8; HEAD_BYTES] = bytes.get(at..at.checked_add(HEAD_BYTES)?)?.try_into().ok()?;
    let head = head(head_bytes).ok()?;
    let body_start = at + HEAD_BYTES;
    let body_end = body_start.checked_add(head.body_bytes)?;
    if body_end > bytes.len() {
        return None;
    }
    let records = records(head_bytes, &head, &bytes.slice(body_start..body_end)).ok()?;
    Some((head, records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event =
            ("[a-z]{1,12}", "\\PC{0,8}", any::<i64>(), proptest::collection::vec(any::<u8>(), 0..600));
        proptest::collection::vec(
            event.prop_map(|(id, key, time, payload)| Event::new(id, key, time, payload)),
            1..40,
        )
    }

    fn all(bytes: &Bytes) -> Vec<(u64, Record)> {
        let (mut at, mut out) = (0, vec![]);
        while let Some((head, records)) = whole(bytes, at) {
            out.extend((head.first..).zip(records));
            at += HEAD_BYTES + head.body_bytes;
        }
        out
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(events in events(), first in 0..u64::MAX / 2) {
            let mut builder = FrameBuilder::new(first, 5, first);
            events.iter().for_each(|e| builder.push(e, "g"));
            let Frames { bytes, next, .. } = builder.finish();
            prop_assert_eq!(next, first + events.len() as u64);
            let got = all(&bytes.into());
            prop_assert_eq!(got.len(), events.len());
            for (i, (number, record)) in got.into_iter().enumerate() {
                prop_assert_eq!(number, first + i as u64);
                prop_assert_eq!(&record.event, &events[i]);
                prop_assert_eq!(&*record.only_for, "g");
            }
        }

        /// Flipped, cut, doubled or overwritten bytes: never a panic, and every record that is read was written, with its
        /// number.
        #[test]
        fn damage_never_yields_a_wrong_record(
            events in events(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..6),
            cut in any::<prop::sample::Index>(),
            shift in any::<prop::sample::Index>(),
        ) {
            let mut bytes = vec![];
            let mut next = 0;
            for batch in events.chunks(7) {
                let mut builder = FrameBuilder::new(next, 5, next);
                batch.iter().for_each(|e| builder.push(e, ""));
                let frames = builder.finish();
                bytes.extend(frames.bytes);
                next = frames.next;
            }
            for (at, mask) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let shift = shift.index(bytes.len());
            let doubled = [&bytes[shift..], &bytes[..]].concat();
            for bytes in [Bytes::from(bytes), Bytes::from(doubled)] {
                let mut from = 0;
                while let Some((at, head)) = next_whole(&bytes, from) {
                    let (_, records) = whole(&bytes, at).unwrap();
                    for (number, record) in (head.first..).zip(records) {
                        prop_assert_eq!(&record.event, &events[number as usize]);
                    }
                    from = at + 1;
                }
            }
        }
    }

    #[test]
    fn frames_are_closed_when_they_are_full() {
        let mut builder = FrameBuilder::new(10, 0, 0);
        let event = Event::new("id", "key", 1, vec![7u8; 100_000]);
        (0..10).for_each(|_| builder.push(&event, ""));
        let bytes = Bytes::from(builder.finish().bytes);
        let first = whole(&bytes, 0).unwrap().0;
        assert_eq!((first.first, first.records), (10, 3));
        assert_eq!(all(&bytes).len(), 10);
        assert!(FrameBuilder::new(1, 0, 0).finish().bytes.is_empty());
    }
}
