//! Where bytes come from: files, folders and memory, unpacked on the way.

use crate::error::{IngestError, Result};
use bytes::Bytes;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

/// The most that is unpacked into memory, for formats that cannot be read piece by piece from a packed stream.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 512 << 20;

/// Name endings that a folder import takes, without `.gz` and `.zst`.
pub const EXTENSIONS: &[&str] = &[
    "csv", "tsv", "tab", "psv", "txt", "jsonl", "ndjson", "json", "parquet", "pq", "xlsx", "xlsm", "xls",
    "ods",
];

/// A source of bytes with a name.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file on disk.
    File(PathBuf),
    /// Bytes in memory, as an upload or a test has them.
    Bytes {
        /// What it is called in messages.
        name: String,
        /// The bytes.
        data: Bytes,
    },
}

/// How a file is packed; told by its first bytes, never by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not packed.
    None,
    /// gzip, also of several members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// The packing that these first bytes tell.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl Input {
    /// Bytes in memory called `name`.
    pub fn bytes(name: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self::Bytes { name: name.into(), data: Bytes::from(data.into()) }
    }

    /// Its name in messages: the path as given.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes { name, .. } => name.clone(),
        }
    }

    /// Its file name without folders and without any ending: `a/calendar.csv.gz` gives `calendar`.
    pub fn stem(&self) -> String {
        let name = self.name();
        let last = name.rsplit(['/', '\\']).next().unwrap_or(&name);
        last.split('.').next().unwrap_or(last).to_lowercase()
    }

    pub(crate) fn read_fault(&self, source: std::io::Error) -> IngestError {
        match (self, source.kind()) {
            (Self::File(path), std::io::ErrorKind::NotFound) => IngestError::NotFound { path: path.clone() },
            _ => IngestError::Read { file: self.name(), source },
        }
    }

    /// How many bytes it has as it lies there, if that can be told.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::File(path) => std::fs::metadata(path).ok().map(|m| m.len()),
            Self::Bytes { data, .. } => Some(data.len() as u64),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The bytes as they lie there.
    pub fn raw(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::File(path) => Box::new(File::open(path).map_err(|e| self.read_fault(e))?),
            Self::Bytes { data, .. } => Box::new(Cursor::new(data.clone())),
        })
    }

    /// How it is packed.
    pub fn packing(&self) -> Result<Packing> {
        let mut head = Vec::with_capacity(4);
        self.raw()?.take(4).read_to_end(&mut head).map_err(|e| self.read_fault(e))?;
        Ok(Packing::of(&head))
    }

    /// The bytes, unpacked.
    pub fn reader(&self) -> Result<Box<dyn Read + Send>> {
        let raw = self.raw()?;
        Ok(match self.packing()? {
            Packing::None => raw,
            Packing::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 17, raw)))
            }
            Packing::Zstd => Box::new(
                zstd::stream::read::Decoder::new(raw)
                    .and_then(|mut d| d.window_log_max(27).map(|()| d))
                    .map_err(|e| self.read_fault(e))?,
            ),
        })
    }

    /// The first `n` bytes, unpacked; fewer when there are fewer.
    pub fn head(&self, n: u64) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        self.reader()?.take(n).read_to_end(&mut head).map_err(|e| self.read_fault(e))?;
        Ok(head)
    }

    /// All bytes, unpacked, when they are at most `UNPACKED_BYTES_MAX`.
    pub fn whole(&self) -> Result<Bytes> {
        if let Self::Bytes { data, .. } = self
            && self.packing()? == Packing::None
        {
            return Ok(data.clone());
        }
        let mut all = Vec::new();
        self.reader()?.take(UNPACKED_BYTES_MAX + 1).read_to_end(&mut all).map_err(|e| self.read_fault(e))?;
        if all.len() as u64 > UNPACKED_BYTES_MAX {
            return Err(IngestError::TooLarge {
                file: self.name(),
                what: "its unpacked size".into(),
                limit: format!("{} MiB", UNPACKED_BYTES_MAX >> 20),
            });
        }
        Ok(Bytes::from(all))
    }
}

/// The files behind `paths`: files as given; folders with everything in them that can be imported, subfolders too,
/// in the order of their names, so that two imports of one folder see one order.
///
/// # Errors
/// A path that does not exist, and a folder without a file that can be imported.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, &mut found, 0)?;
            if found.len() == before {
                return Err(IngestError::NoFiles { path: path.clone() });
            }
        } else if path.exists() {
            found.push(Input::File(path.clone()));
        } else {
            return Err(IngestError::NotFound { path: path.clone() });
        }
    }
    Ok(found)
}

/// Folders deeper than this are not entered; links may lead in circles.
const FOLDER_DEPTH_MAX: usize = 16;

fn walk(folder: &Path, found: &mut Vec<Input>, depth: usize) -> Result<()> {
    let fault = |source| IngestError::Read { file: folder.display().to_string(), source };
    let mut entries = std::fs::read_dir(folder)
        .map_err(fault)?
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(fault)?;
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        if name.starts_with('.') || name.starts_with("~$") {
            continue;
        }
        if path.is_dir() {
            if depth < FOLDER_DEPTH_MAX {
                walk(&path, found, depth + 1)?;
            }
        } else if has_known_ending(&name) {
            found.push(Input::File(path));
        }
    }
    Ok(())
}

fn has_known_ending(name: &str) -> bool {
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    name.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && EXTENSIONS.contains(&end))
}

/// What a file holds, as a number that changes whenever its bytes do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    /// How many bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes, in hexadecimal.
    pub blake3: String,
}

/// The fingerprint of a file's bytes as they lie on disk. Reads the file once, piece by piece.
///
/// # Errors
/// When the file cannot be read.
pub fn fingerprint(path: &Path) -> Result<Fingerprint> {
    Input::File(path.to_owned()).fingerprint()
}

impl Input {
    /// The fingerprint of its bytes as they lie there.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        let mut hasher = blake3::Hasher::new();
        let mut raw = self.raw()?;
        let mut chunk = vec![0; 1 << 18];
        let mut bytes = 0;
        loop {
            match raw.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&chunk[..n]);
                    bytes += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.read_fault(e)),
            }
        }
        Ok(Fingerprint { bytes, blake3: hasher.finalize().to_hex().to_string() })
    }
}
