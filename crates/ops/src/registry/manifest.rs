//! What a version is made of, and the hash that stands for all of it.

use super::reference::{check_model, shown};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use tradewind_core::ErrorKind;

/// The newest format of manifests that this version reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// Files of one version at most.
pub const FILES_MAX: usize = 10_000;

/// Characters of a file's path inside a version at most.
pub const PATH_CHARS_MAX: usize = 180;

/// Bytes of a manifest as JSON at most: parameters, metrics, lineage and the list of files together.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

const FOLDERS_DEEP_MAX: usize = 16;
const TEXT_CHARS_MAX: usize = 191;
const PARENTS_MAX: usize = 100;

/// What a version answers, and so what can load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// Rankings of what is trending.
    Trends,
    /// Forecasts of series.
    Forecasts,
    /// Prices and elasticities.
    Prices,
    /// Recommendations.
    Recommendations,
    /// A learner over a table.
    Learn,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Trends, Self::Forecasts, Self::Prices, Self::Recommendations, Self::Learn];

    /// The word that settings, addresses and manifests use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trends => "trends",
            Self::Forecasts => "forecasts",
            Self::Prices => "prices",
            Self::Recommendations => "recommendations",
            Self::Learn => "learn",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            Error::asked(
                ErrorKind::InvalidParams,
                format!("`{}` is no kind of model", shown(text)),
                format!("kinds are: {}", Self::ALL.map(Self::name).join(", ")),
            )
        })
    }
}

/// Where a version comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The versions that it was made from, as `trends@3`.
    pub parents: Vec<String>,
    /// The job that made it.
    pub job: Option<String>,
    /// The run of the pipeline that made it.
    pub run: Option<String>,
    /// Name and number where it was exported, if it was imported here.
    pub origin: Option<String>,
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path inside the version, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its content, in hexadecimal.
    pub blake3: String,
}

/// What a version is made of; never changed once registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this manifest.
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// The version's number, from 1 on.
    pub number: u64,
    /// What it answers.
    pub kind: Kind,
    /// [`Manifest::hash`] of the rest.
    pub artifact_hash: String,
    /// The fingerprint of the data that it was fitted on.
    pub data_fingerprint: String,
    /// The parameters that it was fitted with.
    pub params: Value,
    /// The seed of its run.
    pub seed: u64,
    /// How well it did, by measure.
    pub metrics: BTreeMap<String, f64>,
    /// The version of the program that made it.
    pub code_version: String,
    /// Where it comes from.
    pub lineage: Lineage,
    /// Its files, ordered by path.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The hash that stands for the artifact: of files, kind, parameters, seed, data and code, and of nothing else, so
    /// that the same fit gives the same hash whenever, by whomever and under whatever name it is made.
    pub fn hash(&self) -> String {
        // Every field goes in with its length, so that no two manifests run into the same bytes.
        let mut hasher = blake3::Hasher::new_derive_key("tradewind 2026 artifact hash 1");
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.kind.name().as_bytes());
        field(self.code_version.as_bytes());
        field(self.data_fingerprint.as_bytes());
        field(&self.seed.to_le_bytes());
        field(canonical(&self.params).as_bytes());
        for file in &self.files {
            field(file.path.as_bytes());
            field(&file.bytes.to_le_bytes());
            field(file.blake3.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, f| sum.saturating_add(f.bytes))
    }

    /// What every manifest must keep to, whoever wrote it.
    pub(super) fn check(&self) -> Result<()> {
        if self.format == 0 || self.format > FORMAT {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!(
                    "the manifest has format {}; this Tradewind reads formats up to {FORMAT}",
                    self.format
                ),
                "update tradewind",
            ));
        }
        check_model(&self.name)?;
        let short = |what: &str, text: &str| {
            if text.chars().count() <= TEXT_CHARS_MAX && !text.contains(char::is_control) {
                return Ok(());
            }
            Err(refused(
                format!("{what} of {} is not a short line: `{}`", self.name, shown(text)),
                format!("give {TEXT_CHARS_MAX} characters at most, without control characters"),
            ))
        };
        short("the data fingerprint", &self.data_fingerprint)?;
        short("the code version", &self.code_version)?;
        let lineage = &self.lineage;
        if lineage.parents.len() > PARENTS_MAX {
            return Err(refused(
                format!("{} has {} parents", self.name, lineage.parents.len()),
                format!("name {PARENTS_MAX} at most"),
            ));
        }
        let said = lineage.parents.iter().chain(&lineage.job).chain(&lineage.run).chain(&lineage.origin);
        for text in said {
            short("the lineage", text)?;
        }
        for (name, value) in &self.metrics {
            short("the name of a metric", name)?;
            if !value.is_finite() {
                return Err(refused(
                    format!("the metric `{}` of {} is {value}", shown(name), self.name),
                    "leave out metrics that have no value",
                ));
            }
        }
        self.check_files()
    }

    fn check_files(&self) -> Result<()> {
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return Err(refused(
                format!("a version of {} with {} files", self.name, self.files.len()),
                format!("a version has 1 to {FILES_MAX} files"),
            ));
        }
        let mut seen = BTreeSet::new();
        let mut total = 0_u64;
        for pair in self.files.windows(2) {
            if pair[0].path >= pair[1].path {
                return Err(refused(
                    format!("the files of {} are not in order at `{}`", self.name, shown(&pair[1].path)),
                    "let the registry write manifests",
                ));
            }
        }
        for file in &self.files {
            check_path(&file.path)?;
            if file.blake3.len() != 64
                || !file.blake3.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            {
                return Err(refused(
                    format!("`{}` has no BLAKE3 in the manifest of {}", shown(&file.path), self.name),
                    "let the registry write manifests",
                ));
            }
            total = total.checked_add(file.bytes).filter(|&t| t <= i64::MAX as u64).ok_or_else(|| {
                refused(
                    format!("the sizes in the manifest of {} are absurd", self.name),
                    "see where it comes from",
                )
            })?;
            // A folder that holds `A` and `a`, or a file and a folder of one name, cannot be laid down everywhere.
            let folded = file.path.to_lowercase();
            let under = |other: &str| other.strip_prefix(folded.as_str()).is_some_and(|r| r.starts_with('/'));
            if seen.iter().any(|other: &String| under(other)) || !seen.insert(folded.clone()) {
                return Err(refused(
                    format!(
                        "two files of {} differ by case alone or lie in one another: `{}`",
                        self.name, file.path
                    ),
                    "rename one of them",
                ));
            }
            let mut parent = folded.as_str();
            while let Some((up, _)) = parent.rsplit_once('/') {
                if seen.contains(up) {
                    return Err(refused(
                        format!("`{}` of {} is both a file and a folder", shown(up), self.name),
                        "rename one of them",
                    ));
                }
                parent = up;
            }
        }
        Ok(())
    }
}

fn refused(text: String, hint: impl Into<String>) -> Error {
    Error::asked(ErrorKind::InvalidInput, text, hint)
}

/// A path inside a version: relative, plain, and the same file on every system.
fn check_path(path: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.ends_with(['.', ' '])
            && !part.contains(|c: char| {
                c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
            })
    };
    if path.len() <= PATH_CHARS_MAX
        && path.split('/').all(part)
        && path.split('/').count() <= FOLDERS_DEEP_MAX
    {
        return Ok(());
    }
    Err(refused(
        format!("`{}` cannot be the path of a file in a version", shown(path)),
        format!(
            "paths are relative, {PATH_CHARS_MAX} bytes at most, without `..`, `\\`, `:` and control characters"
        ),
    ))
}

/// JSON with the keys of every object in order: the same parameters are the same text, however they were written.
fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let ordered: BTreeMap<_, _> = map.iter().collect();
                Value::Object(ordered.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            plain => plain.clone(),
        }
    }
    sorted(value).to_string()
}

/// The files of a folder with their hashes, ordered by path. Links and other special files are refused: what they point
/// to is not the folder's.
pub(super) fn scan(dir: &Path) -> Result<Vec<FileEntry>> {
    let mut out = Vec::new();
    scan_into(dir, "", 1, &mut out)?;
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

fn scan_into(dir: &Path, prefix: &str, deep: usize, out: &mut Vec<FileEntry>) -> Result<()> {
    let fault = |source| Error::File { path: dir.to_owned(), action: "read", source };
    if deep > FOLDERS_DEEP_MAX {
        return Err(refused(
            format!("{} lies more than {FOLDERS_DEEP_MAX} folders deep", dir.display()),
            "put the files of a version nearer to its folder",
        ));
    }
    for entry in fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|_| {
            refused(format!("{} has a name that is no text", path.display()), "rename the file")
        })?;
        let inside = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(fault)?;
        if kind.is_dir() {
            scan_into(&path, &inside, deep + 1, out)?;
        } else if kind.is_file() {
            if out.len() >= FILES_MAX {
                return Err(refused(
                    format!("{} holds more than {FILES_MAX} files", dir.display()),
                    "pack small files into larger ones",
                ));
            }
            let (bytes, blake3) = hash_file(&path)?;
            out.push(FileEntry { path: inside, bytes, blake3 });
        } else {
            return Err(refused(
                format!("{} is neither a file nor a folder", path.display()),
                "put the file itself in place of a link",
            ));
        }
    }
    Ok(())
}

/// Size and BLAKE3 of a file.
pub(super) fn hash_file(path: &Path) -> Result<(u64, String)> {
    let fault = |source| Error::File { path: path.to_owned(), action: "read", source };
    let mut file = File::open(path).map_err(fault)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fault(e)),
        }
    }
    Ok((bytes, hasher.finalize().to_hex().to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(files: &[&str]) -> Manifest {
        let files =
            files.iter().map(|&path| FileEntry { path: path.into(), bytes: 1, blake3: "a".repeat(64) });
        Manifest {
            format: FORMAT,
            name: "trends".into(),
            number: 1,
            kind: Kind::Trends,
            artifact_hash: String::new(),
            data_fingerprint: "d".into(),
            params: json!({"b": 1, "a": {"y": 0.5, "x": [1, 2]}}),
            seed: 7,
            metrics: BTreeMap::new(),
            code_version: "0.1.0".into(),
            lineage: Lineage::default(),
            files: files.collect(),
        }
    }

    #[test]
    fn hash_depends_on_the_fit_alone() {
        let first = manifest(&["a", "b"]);
        let mut same = first.clone();
        same.name = "other".into();
        same.number = 9;
        same.metrics.insert("wape".into(), 0.2);
        same.lineage.job = Some("7".into());
        same.params = json!({"a": {"x": [1, 2], "y": 0.5}, "b": 1});
        assert_eq!(first.hash(), same.hash());
        let changes: [fn(&mut Manifest); 8] = [
            |m| m.kind = Kind::Learn,
            |m| m.data_fingerprint = "e".into(),
            |m| m.params = json!({"b": 2}),
            |m| m.params = json!({"b": 1, "a": {"y": 0.5, "x": [2, 1]}}),
            |m| m.seed = 8,
            |m| m.code_version = "0.1.1".into(),
            |m| m.files[0].blake3 = "b".repeat(64),
            |m| m.files[0].path = "a0".into(),
        ];
        let mut seen = BTreeSet::from([first.hash()]);
        for change in changes {
            let mut other = first.clone();
            change(&mut other);
            assert!(seen.insert(other.hash()));
        }
    }

    #[test]
    fn refuses_paths_that_lead_elsewhere() {
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "a/.",
            "a\\b",
            "c:a",
            "a\0",
            "a\n",
            "a/",
            "a.",
            "nul?",
        ] {
            assert!(manifest(&[path]).check().is_err(), "{path:?}");
        }
        for files in [&["a", "a"][..], &["b", "a"], &["A", "a"], &["a", "a/b"], &["A/b", "a"]] {
            assert!(manifest(files).check().is_err(), "{files:?}");
        }
        manifest(&["a/b/c.bin", "a/d", "模型.json"]).check().unwrap();
    }
}
