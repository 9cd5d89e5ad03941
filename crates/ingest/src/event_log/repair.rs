//! Makes a damaged log whole again, and tells what was lost.

use super::embedded::{lock, segment_files};
use super::error::{EventLogError, Result};
use super::frame::{HEAD_BYTES, gap, next_whole, whole};
use super::now_ms;
use super::partition_of;
use super::segment::{Segment, write_whole};
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Segments that were looked at.
    pub segments: usize,
    /// Events that are whole.
    pub events: u64,
    /// What is not there any more.
    pub lost: Vec<LostFrames>,
    /// Copies of the damaged files as they were.
    pub set_aside: Vec<PathBuf>,
}

/// A damaged stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFrames {
    /// The segment.
    pub file: PathBuf,
    /// Where the damage begins.
    pub offset: u64,
    /// How many bytes could not be read; 0 when a whole file is missing.
    pub bytes: u64,
    /// The first event lost.
    pub first: u64,
    /// The first event after it that is there; the same as `first` when only the end of the log is damaged, since nobody
    /// knows what was there.
    pub next: u64,
}

/// Repairs the log in `folder`, which nobody may have open. Damaged files are copied to `damaged/`, then written anew
/// without the damaged frames. Groups go on behind the gap.
///
/// # Errors
/// When the log is in use, is no log, or a file cannot be read or written.
pub fn repair(folder: &Path) -> Result<RepairReport> {
    let _lock = lock(folder)?;
    let mut report = RepairReport::default();
    let files = segment_files(folder)?;
    let bases: Vec<Option<u64>> =
        files.iter().map(|f| f.file_stem().and_then(|s| s.to_str()?.parse().ok())).collect();
    let mut totals: Vec<u64> = Vec::new();
    for (i, path) in files.iter().enumerate() {
        let bytes = Bytes::from(std::fs::read(path).map_err(|e| EventLogError::file(path, "read", e))?);
        let (head_right, segment) = match Segment::open(path) {
            Ok(segment) => (true, segment),
            Err(EventLogError::Damaged { .. }) => {
                let base = bases[i].ok_or_else(|| EventLogError::Damaged {
                    path: path.clone(),
                    offset: 0,
                    why: "neither its head nor its name tells where it belongs; move it away".to_owned(),
                })?;
                if totals.is_empty() {
                    totals = vec![0; partitions(folder)?];
                }
                (false, Segment::unwritten(path, base, now_ms(), &totals))
            }
            Err(e) => return Err(e),
        };
        totals.clone_from(&segment.counts);
        let partitions = totals.len() as u32;
        report.segments += 1;

        // All whole frames, in order; between them, and behind the last, what is damaged.
        let mut kept = segment.head();
        let mut damaged = !head_right;
        let mut at = segment.first_byte() as usize;
        let mut next = segment.base;
        while at < bytes.len() {
            let here = whole(&bytes, at).map(|(head, records)| (at, head, records));
            let found = here.filter(|(_, head, _)| head.first >= next).or_else(|| {
                let mut from = at + 1;
                loop {
                    let (found, head) = next_whole(&bytes, from)?;
                    if head.first >= next {
                        return whole(&bytes, found).map(|(head, records)| (found, head, records));
                    }
                    from = found + 1;
                }
            });
            let Some((found, head, records)) = found else {
                damaged = true;
                let following = bases.get(i + 1).copied().flatten().unwrap_or(next);
                report.lost.push(LostFrames {
                    file: path.clone(),
                    offset: at as u64,
                    bytes: (bytes.len() - at) as u64,
                    first: next,
                    next: following,
                });
                break;
            };
            if found > at || (head.first > next && head.records > 0) {
                damaged = true;
                report.lost.push(LostFrames {
                    file: path.clone(),
                    offset: at as u64,
                    bytes: (found - at) as u64,
                    first: next,
                    next: head.first,
                });
                if head.records > 0 && head.first > next {
                    kept.extend(gap(head.first, head.append_ms));
                }
            }
            for record in &records {
                totals[partition_of(&record.event.key, partitions) as usize] += 1;
            }
            report.events += records.len() as u64;
            next = head.first + u64::from(head.records);
            at = found + HEAD_BYTES + head.body_bytes;
            kept.extend_from_slice(&bytes[found..at]);
        }
        if let Some(following) = bases.get(i + 1).copied().flatten()
            && following > next
        {
            let told = report.lost.last().is_some_and(|l| l.file == *path && l.next == following);
            if !told {
                let (file, offset) = (path.clone(), bytes.len() as u64);
                report.lost.push(LostFrames { file, offset, bytes: 0, first: next, next: following });
            }
            damaged = true;
            kept.extend(gap(following, now_ms()));
        }
        if damaged {
            let folder = folder.join("damaged");
            std::fs::create_dir_all(&folder).map_err(|e| EventLogError::file(&folder, "make", e))?;
            let copy = folder.join(format!("{:020}-{}.bytes", segment.base, now_ms()));
            write_whole(&copy, &bytes)?;
            report.set_aside.push(copy);
            write_whole(path, &kept)?;
            remove(&segment.index_path())?;
        }
    }
    remove(&folder.join("closed"))?;
    Ok(report)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(EventLogError::file(path, "remove", e)),
    }
}

/// The number of partitions, as the log says.
fn partitions(folder: &Path) -> Result<usize> {
    let path = folder.join("log.json");
    let bytes = std::fs::read(&path).map_err(|e| EventLogError::file(&path, "read", e))?;
    let value: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let partitions = value.and_then(|v| v.get("partitions")?.as_u64()).filter(|p| (1..=64).contains(p));
    partitions.map(|p| p as usize).ok_or_else(|| EventLogError::Damaged {
        path,
        offset: 0,
        why: "it does not tell the number of partitions".to_owned(),
    })
}
