//! Dead letters of the embedded log: one file each, a line of JSON and the event as a frame.

use super::error::{EventLogError, Result};
use super::frame::{FrameBuilder, whole};
use super::segment::write_whole;
use super::{DeadLetter, Position};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The folder of dead letters.
pub(crate) struct DeadLetters {
    folder: PathBuf,
    letters_max: usize,
    /// Letters are added one at a time, so that their number stays bounded.
    adding: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Said {
    partition: u32,
    offset: u64,
    failures: u32,
    reason: String,
    dead_ms: i64,
}

impl DeadLetters {
    pub(crate) fn new(folder: PathBuf, letters_max: usize) -> Self {
        Self { folder, letters_max, adding: Mutex::new(()) }
    }

    fn path(&self, group: &str, number: u64) -> PathBuf {
        self.folder.join(group).join(format!("{number:020}.letter"))
    }

    /// Keeps a letter; the same letter again is one.
    pub(crate) fn add(&self, letter: &DeadLetter) -> Result<()> {
        let _adding = self.adding.lock();
        let path = self.path(&letter.group, letter.number);
        let kept = self.count(&letter.group)?;
        if kept >= self.letters_max && !path.exists() {
            return Err(EventLogError::DeadLettersFull { group: letter.group.clone(), kept });
        }
        let folder = self.folder.join(&letter.group);
        std::fs::create_dir_all(&folder).map_err(|e| EventLogError::file(&folder, "make", e))?;
        super::segment::sync_folder(&folder)?;
        let said = Said {
            partition: letter.position.partition,
            offset: letter.position.offset,
            failures: letter.failures,
            reason: letter.reason.clone(),
            dead_ms: letter.dead_ms,
        };
        let mut bytes = serde_json::to_vec(&said)
            .map_err(|e| EventLogError::file(&path, "write", std::io::Error::other(e)))?;
        bytes.push(b'\n');
        let mut frame = FrameBuilder::new(letter.number, letter.dead_ms, 0);
        frame.push(&letter.event, &letter.group);
        bytes.extend(frame.finish().bytes);
        write_whole(&path, &bytes)
    }

    pub(crate) fn count(&self, group: &str) -> Result<usize> {
        Ok(self.numbers(group)?.len())
    }

    /// The numbers of a group's letters, oldest first.
    fn numbers(&self, group: &str) -> Result<Vec<u64>> {
        let folder = self.folder.join(group);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => return Err(EventLogError::file(&folder, "list", e)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| EventLogError::file(&folder, "list", e))?.path();
            if path.extension().is_some_and(|e| e == "letter") {
                numbers.extend(path.file_stem().and_then(|s| s.to_str()?.parse::<u64>().ok()));
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn list(&self, group: &str, letters_max: usize) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for number in self.numbers(group)?.into_iter().take(letters_max) {
            // One may be replayed meanwhile.
            letters.extend(self.read(group, number)?);
        }
        Ok(letters)
    }

    pub(crate) fn read(&self, group: &str, number: u64) -> Result<Option<DeadLetter>> {
        let path = self.path(group, number);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(EventLogError::file(&path, "read", e)),
        };
        let read = || {
            let line = bytes.iter().position(|b| *b == b'\n')?;
            let said: Said = serde_json::from_slice(&bytes[..line]).ok()?;
            let record = whole(&bytes, line + 1)?.1.pop()?;
            Some(DeadLetter {
                number,
                group: group.to_owned(),
                position: Position { partition: said.partition, offset: said.offset },
                failures: said.failures,
                reason: said.reason,
                dead_ms: said.dead_ms,
                event: record.event,
            })
        };
        read().map(Some).ok_or_else(|| EventLogError::Damaged {
            path: path.clone(),
            offset: 0,
            why: "this is no dead letter any more; delete it to go on".to_owned(),
        })
    }

    /// Removes a letter; false if it was not there.
    pub(crate) fn delete(&self, group: &str, number: u64) -> Result<bool> {
        let path: &Path = &self.path(group, number);
        match std::fs::remove_file(path) {
            Ok(()) => super::segment::sync_folder(path).map(|()| true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(EventLogError::file(path, "remove", e)),
        }
    }
}
