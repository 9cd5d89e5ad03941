//! One file of the embedded log: a head, then frames.
//!
//! `<number of the first event, 20 digits>.log`; beside it, once it is full, `.index`: its length and where to begin
//! reading for a number. A lost index is made anew.

use super::error::{EventLogError, Result};
use super::frame::{self, HEAD_BYTES, Head, Record};
use bytes::Bytes;
use parking_lot::RwLock;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const SEGMENT_MAGIC: &[u8; 8] = b"TWSEG001";
const INDEX_MAGIC: &[u8; 8] = b"TWIDX001";
/// Bytes between two entries of the index.
const INDEX_STEP_BYTES: u64 = 256 * 1024;

/// How much of a segment is on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    /// Bytes, the head included.
    pub(crate) bytes: u64,
    /// The number behind the last event.
    pub(crate) next: u64,
    /// When the last event was appended.
    pub(crate) last_ms: i64,
    /// First number of a frame, and where it begins.
    pub(crate) index: Vec<(u64, u64)>,
}

/// A file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// The number of the first event it may hold.
    pub(crate) base: u64,
    pub(crate) created_ms: i64,
    /// How many events of each partition were in the log before.
    pub(crate) counts: Vec<u64>,
    pub(crate) extent: RwLock<Extent>,
}

/// A frame met on the way through a segment.
pub(crate) struct Met {
    pub(crate) head: Head,
    pub(crate) records: Vec<Record>,
    /// Where it begins.
    pub(crate) at: u64,
    /// Where the next one begins.
    pub(crate) end: u64,
}

impl Segment {
    /// Makes an empty segment: whole or not there.
    pub(crate) fn create(folder: &Path, base: u64, created_ms: i64, counts: &[u64]) -> Result<Self> {
        let segment = Self::unwritten(&folder.join(format!("{base:020}.log")), base, created_ms, counts);
        write_whole(&segment.path, &segment.head())?;
        Ok(segment)
    }

    /// A segment as it will be when it is written.
    pub(crate) fn unwritten(path: &Path, base: u64, created_ms: i64, counts: &[u64]) -> Self {
        let bytes = head_bytes(counts.len()) as u64;
        let extent = Extent { bytes, next: base, last_ms: created_ms, index: vec![] };
        Self { path: path.to_owned(), base, created_ms, counts: counts.to_vec(), extent: RwLock::new(extent) }
    }

    /// The bytes of its head.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(head_bytes(self.counts.len()));
        head.extend_from_slice(SEGMENT_MAGIC);
        head.extend_from_slice(&self.base.to_le_bytes());
        head.extend_from_slice(&self.created_ms.to_le_bytes());
        head.extend_from_slice(&(self.counts.len() as u32).to_le_bytes());
        self.counts.iter().for_each(|c| head.extend_from_slice(&c.to_le_bytes()));
        seal(&mut head);
        head
    }

    /// Reads the head of a segment; nothing is known yet of what it holds.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let damaged =
            |why: &str| EventLogError::Damaged { path: path.to_owned(), offset: 0, why: why.to_owned() };
        let file = File::open(path).map_err(|e| EventLogError::file(path, "open", e))?;
        let mut head = Vec::new();
        file.take(head_bytes(64) as u64)
            .read_to_end(&mut head)
            .map_err(|e| EventLogError::file(path, "read", e))?;
        let word =
            |at: usize| -> Option<u64> { Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?)) };
        let partitions = match head.get(24..28).map(<[u8; 4]>::try_from) {
            Some(Ok(bytes)) => u32::from_le_bytes(bytes) as usize,
            _ => return Err(damaged("the head of the segment is cut off")),
        };
        if head.get(..8) != Some(SEGMENT_MAGIC) || !(1..=64).contains(&partitions) {
            return Err(damaged("this is no segment of an event log"));
        }
        let bytes = head_bytes(partitions);
        if !head.get(..bytes).is_some_and(sealed) {
            return Err(damaged("the checksum of the segment's head does not match"));
        }
        let counts = (0..partitions).map(|p| word(28 + 8 * p)).collect::<Option<Vec<_>>>();
        let (Some(base), Some(created_ms), Some(counts)) = (word(8), word(16), counts) else {
            return Err(damaged("the head of the segment is cut off"));
        };
        Ok(Self::unwritten(path, base, created_ms as i64, &counts))
    }

    /// Where the first frame begins.
    pub(crate) fn first_byte(&self) -> u64 {
        head_bytes(self.counts.len()) as u64
    }

    /// Where to begin reading for the event with a number.
    pub(crate) fn byte_of(&self, number: u64) -> u64 {
        let extent = self.extent.read();
        let behind = extent.index.partition_point(|(first, _)| *first <= number);
        if behind == 0 { self.first_byte() } else { extent.index[behind - 1].1 }
    }

    /// Goes through the frames from byte `from` to byte `to`, where frames begin and end.
    ///
    /// # Errors
    /// At the first frame that is damaged.
    pub(crate) fn scan(
        &self,
        from: u64,
        to: u64,
        visit: &mut dyn FnMut(Met) -> ControlFlow<()>,
    ) -> Result<()> {
        let fault = |e| EventLogError::file(&self.path, "read", e);
        let damaged = |offset: u64, why: &str| EventLogError::Damaged {
            path: self.path.clone(),
            offset,
            why: why.to_owned(),
        };
        let mut file = File::open(&self.path).map_err(|e| EventLogError::file(&self.path, "open", e))?;
        file.seek(SeekFrom::Start(from)).map_err(fault)?;
        let mut file = BufReader::with_capacity(128 * 1024, file);
        let mut at = from;
        let mut expected = if from == self.first_byte() { Some(self.base) } else { None };
        while at < to {
            let mut head_bytes = [0; HEAD_BYTES];
            read_exact(&mut file, &mut head_bytes)
                .map_err(fault)?
                .ok_or_else(|| damaged(at, "the frame is cut off"))?;
            let head = frame::head(&head_bytes).map_err(|why| damaged(at, why))?;
            let end = at + (HEAD_BYTES + head.body_bytes) as u64;
            if end > to {
                return Err(damaged(at, "the frame is cut off"));
            }
            let mut body = vec![0; head.body_bytes];
            read_exact(&mut file, &mut body)
                .map_err(fault)?
                .ok_or_else(|| damaged(at, "the frame is cut off"))?;
            let records =
                frame::records(&head_bytes, &head, &Bytes::from(body)).map_err(|why| damaged(at, why))?;
            let gap = head.records == 0;
            if expected.is_some_and(|n| head.first != n && !(gap && head.first > n)) {
                return Err(damaged(at, "frames before it are missing"));
            }
            expected = Some(head.first + u64::from(head.records));
            if visit(Met { head, records, at, end }).is_break() {
                return Ok(());
            }
            at = end;
        }
        Ok(())
    }

    /// Takes notice of frames that are on disk now.
    pub(crate) fn grow(&self, frames: &[(u64, u64)], bytes: u64, next: u64, last_ms: i64) {
        let mut extent = self.extent.write();
        for (first, at) in frames {
            if extent.index.last().is_none_or(|(_, last)| at - last >= INDEX_STEP_BYTES) {
                extent.index.push((*first, *at));
            }
        }
        (extent.bytes, extent.next, extent.last_ms) = (bytes, next, last_ms.max(extent.last_ms));
    }

    /// Writes the index of a full segment.
    pub(crate) fn save_index(&self) -> Result<()> {
        let extent = self.extent.read();
        let mut bytes = Vec::with_capacity(48 + 16 * extent.index.len());
        bytes.extend_from_slice(INDEX_MAGIC);
        for word in [extent.bytes, extent.next, extent.last_ms as u64, extent.index.len() as u64] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for (first, at) in &extent.index {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        seal(&mut bytes);
        write_whole(&self.index_path(), &bytes)
    }

    /// Reads the index of a full segment; false if there is none that can be believed.
    pub(crate) fn load_index(&self) -> bool {
        let Ok(bytes) = std::fs::read(self.index_path()) else { return false };
        if bytes.len() < 56 || bytes[..8] != *INDEX_MAGIC || !sealed(&bytes) {
            return false;
        }
        let words: Vec<u64> = bytes[8..bytes.len() - 16]
            .chunks_exact(8)
            .map(|c| u64::from_le_bytes(c.try_into().unwrap_or_default()))
            .collect();
        if (words.len() as u64).checked_sub(4) != words[3].checked_mul(2) {
            return false;
        }
        let index = words[4..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        *self.extent.write() = Extent { bytes: words[0], next: words[1], last_ms: words[2] as i64, index };
        true
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }
}

fn head_bytes(partitions: usize) -> usize {
    28 + 8 * partitions + 16
}

fn seal(bytes: &mut Vec<u8>) {
    let sum = blake3::hash(bytes);
    bytes.extend_from_slice(&sum.as_bytes()[..16]);
}

fn sealed(bytes: &[u8]) -> bool {
    bytes.len() >= 16 && {
        let (content, sum) = bytes.split_at(bytes.len() - 16);
        blake3::hash(content).as_bytes()[..16] == *sum
    }
}

/// Fills `out`; `None` when the file ends before.
fn read_exact(file: &mut impl Read, out: &mut [u8]) -> std::io::Result<Option<()>> {
    match file.read_exact(out) {
        Ok(()) => Ok(Some(())),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let done = write().map_err(|e| EventLogError::file(&temporary, "write", e)).and_then(|()| {
        std::fs::rename(&temporary, path).map_err(|e| EventLogError::file(path, "write", e))?;
        sync_folder(path)
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    done
}

/// Makes the entry of a file in its folder durable.
pub(crate) fn sync_folder(file: &Path) -> Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    // Folders cannot be opened as files everywhere; where they cannot, renames are durable by themselves.
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| EventLogError::file(folder, "sync", e))?;
    }
    Ok(())
}
