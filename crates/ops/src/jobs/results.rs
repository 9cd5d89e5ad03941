//! Files that steps leave: written beside, made visible whole, looked for before they are used again.

use super::{Fingerprint, Jobs, Made, Outputs};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tradewind_core::ErrorKind;

/// Where files lie until their step has succeeded.
const UNFINISHED: &str = ".unfinished";

/// Longest small result of a step, as text in bytes.
const DATA_MAX: usize = 64 * 1024;

/// Files of one step at most.
const FILES_MAX: usize = 100_000;

/// A file of a step's folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its path within the folder, parts divided by `/`.
    path: String,
    bytes: u64,
    blake3: String,
}

/// What a step left, ready to be committed.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    pub(super) fingerprint: Fingerprint,
    pub(super) data: String,
    /// Beneath the folder of results; empty: no files.
    pub(super) folder: String,
    pub(super) files: String,
}

/// What [`Jobs::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Runs.
    pub runs: u64,
    /// Folders.
    pub folders: u64,
}

/// The folder that a step writes to; its name holds the fence, so two holders never share one.
pub(super) fn unfinished(results: &Path, run: i64, step: &str, fence: i64) -> PathBuf {
    results.join(UNFINISHED).join(format!("{run}.{step}.{fence}"))
}

/// Removes what earlier holders of the step left unfinished.
pub(super) fn clear(results: &Path, run: i64, step: &str, fence: i64) {
    let begin = format!("{run}.{step}.");
    let Ok(entries) = fs::read_dir(results.join(UNFINISHED)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let earlier =
            name.to_str().and_then(|name| name.strip_prefix(&begin)).and_then(|f| f.parse::<i64>().ok());
        if earlier.is_some_and(|earlier| earlier < fence) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes the files of a step last and gives their folder its name. Nobody looks there before the database names it.
pub(super) fn finish(
    results: &Path,
    pipeline: &str,
    (run, step, fence): (i64, &str, i64),
    made: &Made,
) -> Result<Finished> {
    let data = if made.data.is_null() { String::new() } else { made.data.to_string() };
    if data.len() > DATA_MAX {
        return Err(Error::asked(
            ErrorKind::InvalidInput,
            format!("the small result of step {step} is {} bytes long; allowed are {DATA_MAX}", data.len()),
            "write it to a file in the step's folder",
        ));
    }
    let from = unfinished(results, run, step, fence);
    let mut files = Vec::new();
    if from.is_dir() {
        keep(&from, &from, &mut files)?;
        files.sort();
    }
    let folder = if files.is_empty() { String::new() } else { format!("{pipeline}/{step}/{run}.{fence}") };
    if !folder.is_empty() {
        let to = results.join(&folder);
        let above = to.parent().unwrap_or(results).to_path_buf();
        act(&above, "make the folder", fs::create_dir_all)?;
        fs::rename(&from, &to).map_err(|source| Error::File {
            path: to,
            action: "move a result to",
            source,
        })?;
        // The entries on the way to it, too, are on the disk.
        for folder in [above.as_path(), &results.join(pipeline), results] {
            sync(folder)?;
        }
    }
    let listed = serde_json::to_value(&files).unwrap_or_default();
    let fingerprint = made.fingerprint.clone().unwrap_or_else(|| {
        Fingerprint::of_json(&serde_json::json!({"data": made.data, "files": listed.clone()}))
    });
    let files = if files.is_empty() { String::new() } else { listed.to_string() };
    Ok(Finished { fingerprint, data, folder, files })
}

fn keep(top: &Path, folder: &Path, out: &mut Vec<Kept>) -> Result<()> {
    let listing = |source| Error::File { path: folder.to_path_buf(), action: "list", source };
    for entry in fs::read_dir(folder).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(listing)?;
        let name = path.strip_prefix(top).ok().and_then(Path::to_str).map(|name| name.replace('\\', "/"));
        let Some(name) = name.filter(|_| kind.is_dir() || kind.is_file()) else {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!("{} is neither a file nor a folder with a readable name", path.display()),
                "let the step write only such",
            ));
        };
        if kind.is_dir() {
            keep(top, &path, out)?;
            continue;
        }
        if out.len() == FILES_MAX {
            return Err(Error::asked(
                ErrorKind::InvalidInput,
                format!("the step left more than {FILES_MAX} files"),
                "write fewer, larger ones",
            ));
        }
        let mut file = act(&path, "open", File::open)?;
        let mut hasher = blake3::Hasher::new();
        let bytes = std::io::copy(&mut file, &mut hasher).map_err(|source| Error::File {
            path: path.clone(),
            action: "read",
            source,
        })?;
        sync(&path)?;
        out.push(Kept { path: name, bytes, blake3: hasher.finalize().to_hex().to_string() });
    }
    sync(folder)
}

/// Whether the files of an earlier result are there, with their sizes.
pub(super) fn there(results: &Path, folder: &str, files: &str) -> bool {
    if folder.is_empty() {
        return true;
    }
    let Ok(files) = serde_json::from_str::<Vec<Kept>>(files) else { return false };
    files.iter().all(|file| {
        fs::metadata(results.join(folder).join(&file.path))
            .is_ok_and(|found| found.is_file() && found.len() == file.bytes)
    })
}

impl Outputs {
    /// Reads a file of the step's folder.
    ///
    /// # Errors
    /// The step left no files, or this one cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let Some(folder) = &self.folder else {
            return Err(Error::asked(
                ErrorKind::NotFound,
                format!("the step left no file {name}"),
                "see what it does",
            ));
        };
        act(&folder.join(name), "read", fs::read)
    }
}

impl Jobs {
    /// Forgets what is old: results that nobody took from the cache since `before_ms`, runs that ended before then (but for
    /// those whose results the cache knows), workers that went before then, and folders that no run names any more.
    ///
    /// # Errors
    /// A database that does not answer, folders that cannot be read.
    pub async fn sweep(&self, before_ms: i64) -> Result<Swept> {
        // Listed before the turn: a folder that appears later is not looked at, and one listed here belongs to a step that
        // is running, to one that a row names, or to nobody.
        let results = self.results.clone();
        let listed = tokio::task::spawn_blocking(move || result_folders(&results))
            .await
            .map_err(|_| self.database.content("the folders of results could not be listed"))??;
        let fault = self.database.fault("forgetting old runs");
        let mut turn = self.turn().await?;
        for statement in [
            "DELETE FROM jobs_result WHERE made_ms < ?",
            "DELETE FROM jobs_worker WHERE ended = 1 AND beat_ms < ?",
        ] {
            self.query(statement).bind(before_ms).execute(&mut *turn.transaction).await.map_err(&fault)?;
        }
        let old = "SELECT id FROM jobs_run WHERE finished_ms > 0 AND finished_ms < ?
                   AND id NOT IN (SELECT run FROM jobs_result)";
        let rows = self.query(old).bind(before_ms).fetch_all(&mut *turn.transaction).await.map_err(&fault)?;
        let mut swept = Swept::default();
        for row in rows {
            let id: i64 = row.try_get("id").map_err(&fault)?;
            for statement in [
                "DELETE FROM jobs_line WHERE run = ?",
                "DELETE FROM jobs_attempt WHERE run = ?",
                "DELETE FROM jobs_step WHERE run = ?",
                "DELETE FROM jobs_run WHERE id = ?",
            ] {
                self.query(statement).bind(id).execute(&mut *turn.transaction).await.map_err(&fault)?;
            }
            swept.runs += 1;
        }
        let rows = self
            .query("SELECT run, step, fence, state, folder FROM jobs_step WHERE folder <> '' OR state = 'running'")
            .fetch_all(&mut *turn.transaction)
            .await
            .map_err(&fault)?;
        let mut needed = BTreeSet::new();
        for row in rows {
            let folder: String = row.try_get("folder").map_err(&fault)?;
            needed.insert(folder);
            let (run, step, fence): (i64, String, i64) = (
                row.try_get("run").map_err(&fault)?,
                row.try_get("step").map_err(&fault)?,
                row.try_get("fence").map_err(&fault)?,
            );
            needed.insert(format!("{run}.{step}.{fence}"));
        }
        turn.commit().await?;
        swept.folders = tokio::task::spawn_blocking(move || remove_others(listed, &needed))
            .await
            .map_err(|_| self.database.content("the folders of results could not be removed"))??;
        Ok(swept)
    }
}

/// Every folder of a step: its path, its name in the database, and what it is called while its step runs.
type Listed = (PathBuf, String, String);

fn result_folders(results: &Path) -> Result<Vec<Listed>> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut out = Vec::new();
    for pipeline in folders(results)? {
        for step in folders(&pipeline)? {
            if name(&pipeline) == UNFINISHED {
                out.push((step.clone(), String::from("?"), name(&step)));
                continue;
            }
            for result in folders(&step)? {
                let last = name(&result);
                let (run, fence) = last.split_once('.').unwrap_or_default();
                let kept = format!("{}/{}/{last}", name(&pipeline), name(&step));
                out.push((result.clone(), kept, format!("{run}.{}.{fence}", name(&step))));
            }
        }
    }
    Ok(out)
}

fn remove_others(listed: Vec<Listed>, needed: &BTreeSet<String>) -> Result<u64> {
    let mut removed = 0;
    for (path, kept, running) in listed {
        if !needed.contains(&kept) && !needed.contains(&running) {
            act(&path, "remove", fs::remove_dir_all)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let listing = |source| Error::File { path: path.to_path_buf(), action: "list", source };
    let mut out = Vec::new();
    for entry in fs::read_dir(path).map_err(listing)? {
        let path = entry.map_err(listing)?.path();
        if path.is_dir() {
            out.push(path);
        }
    }
    Ok(out)
}

fn act<T>(path: &Path, action: &'static str, call: impl FnOnce(PathBuf) -> std::io::Result<T>) -> Result<T> {
    call(path.to_path_buf()).map_err(|source| Error::File { path: path.to_path_buf(), action, source })
}

fn sync(path: &Path) -> Result<()> {
    act(path, "write to disk", |path| File::open(path)?.sync_all())
}
